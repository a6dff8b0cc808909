"""The outbox: records that wait for the broker, and what lies beside them, in one database.

That is the file, or memory while the file cannot be used.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from typing import Any

from publisher.clock import Now
from publisher.store import boots, rows
from publisher.store.faults import FAULTS, Damaged
from publisher.store.ledger import Ledger, write_ledger
from publisher.store.rows import BESIDE, ID_LIMIT, NOTHING, Beside, Row

#: Commands whose answers are kept, to tell a repeated one from a new one.
MAX_ANSWERS = 200

_LENGTH = "coalesce(length(CAST(body AS BLOB)), 0)"  # NULL where the row is damaged


class Outbox:
    """Rows in a database, and what is to be done to them with the next transaction.

    Each method raises one of FAULTS where the database cannot be read or written. Whoever uses it from
    several threads locks.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        max_rows: int,
        max_bytes: int,
        *,
        held: tuple[int, int] | None = None,
    ) -> None:
        """Take up a database of the present version.

        `held` says how many rows it holds and how many bytes their bodies have: to count them would
        mean to read them all, which a card may need seconds for.
        """
        self.db = db
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self.rows, self.size = held or self._count()
        [(last_id,)] = db.execute("SELECT coalesce(max(id), 0) FROM outbox")
        if type(last_id) is not int or not 0 <= last_id < ID_LIMIT:
            raise Damaged(f"the last record is {last_id!r}")
        self.next_id = last_id + 1
        #: Rows that the broker has: the next transaction deletes them.
        self.confirmed: set[int] = set()
        #: Rows that were given up, which the next transaction counts.
        self.given_up = 0
        self._noted: boots.Noted | None = None

    @property
    def waiting(self) -> int:
        """How many rows the broker has not confirmed."""
        return max(0, self.rows - len(self.confirmed))

    def backlog(self, after_id: int, until_id: int, max_bytes: int) -> list[Row]:
        """Return unconfirmed rows in ]after_id, until_id], oldest first.

        Their bodies fill at most `max_bytes`, but one row is returned whatever its size.
        """
        found: list[Row] = []
        size = 0
        with contextlib.closing(rows.records(self.db, after_id, until_id)) as records:
            for row, is_whole in records:
                if row.id in self.confirmed:
                    continue
                if not is_whole:
                    self.give_up(row.id)
                    continue
                size += row.room
                if found and size > max_bytes:
                    break
                found.append(row)
        return found

    def give_up(self, row_id: int) -> None:
        """Take note that a row cannot be sent."""
        self.confirmed.add(row_id)
        self.given_up += 1

    def holds(self, row_id: int) -> bool:
        """Say whether a row is in the database."""
        query = "SELECT 1 FROM outbox WHERE id = ?"
        return self.db.execute(query, (row_id,)).fetchone() is not None

    def pairs(self, table: str, which: str, *values: Any) -> list[tuple[Any, str]]:
        """Return rows (key, text) of a table beside the records whose checksums hold."""
        return rows.pairs(self.db, table, which, *values)

    def beside(self) -> Beside:
        """Return what lies beside the records, as far as it can be read. Raises nothing."""
        found: dict[str, list[tuple[Any, str]]] = {}
        for table in BESIDE:
            with contextlib.suppress(*FAULTS):
                found[table] = self.pairs(table, "ORDER BY rowid")
        return found

    def commit(
        self,
        ledger: Ledger,
        new: Sequence[Row],
        now: Now,
        own_boots: Set[int],
        beside: Beside = NOTHING,
    ) -> Ledger:
        """Write rows and ledger, and delete what is confirmed or above the limits: all or nothing.

        Returns the ledger as it is written: it counts the rows. `own_boots` are the numbers that
        this boot of the unit has had.
        """
        with rows.transaction(self.db):
            gone, freed = self._delete(self.confirmed)
            for row in new:
                rows.insert(self.db, row)
            count = self.rows - gone + len(new)
            size = self.size - freed + sum(len(row.body.encode()) for row in new)
            dropped, freed = self._trim(count, size)
            written = replace(
                ledger,
                rows=count - dropped,
                size=size - freed,
                dropped=ledger.dropped + self.given_up + dropped,
            )
            write_ledger(self.db, written.text())
            for table, pairs in beside.items():
                rows.upsert(self.db, table, pairs)
            if beside.get("answers"):
                self.db.execute(
                    "DELETE FROM answers WHERE rowid NOT IN"
                    " (SELECT rowid FROM answers ORDER BY rowid DESC LIMIT ?)",
                    (MAX_ANSWERS,),
                )
            noted = boots.note_began(self.db, own_boots, now, self._noted)
        self.rows, self.size = count - dropped, size - freed
        self.confirmed, self.given_up, self._noted = set(), 0, noted
        if new:
            self.next_id = max(self.next_id, new[-1].id + 1)
        return written

    def take_over(self, before: "Outbox") -> None:
        """Go on where the outbox stood whose rows were copied into this one."""
        self.next_id = max(self.next_id, before.next_id)
        self.confirmed, self.given_up = before.confirmed, before.given_up

    def close(self) -> None:
        """Close the database. Raises nothing."""
        with contextlib.suppress(*FAULTS):
            self.db.close()

    def _count(self) -> tuple[int, int]:
        query = f"SELECT count(*), coalesce(sum({_LENGTH}), 0) FROM outbox"
        [(count, size)] = self.db.execute(query)
        return count, size

    def _delete(self, ids: Iterable[int]) -> tuple[int, int]:
        """Delete rows; return how many there were, and the bytes of their bodies."""
        count = size = 0
        for row_id in ids:
            for (length,) in self.db.execute(
                f"DELETE FROM outbox WHERE id = ? RETURNING {_LENGTH}", (row_id,)
            ):
                count, size = count + 1, size + length
        return count, size

    def _trim(self, count: int, size: int) -> tuple[int, int]:
        """Delete the oldest rows above the limits; return how many rows and bytes went."""
        gone = freed = 0
        while count - gone > self._max_rows or (
            size - freed > self._max_bytes and count - gone > 1
        ):
            query = f"SELECT id, {_LENGTH} FROM outbox ORDER BY id LIMIT 1"
            oldest = self.db.execute(query).fetchone()
            if oldest is None:
                break
            self.db.execute("DELETE FROM outbox WHERE id = ?", (oldest[0],))
            gone, freed = gone + 1, freed + oldest[1]
        return gone, freed
