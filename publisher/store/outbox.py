"""The outbox: records that wait for the broker, and the tables with keys, in one database.

The database is the file, or memory while the file cannot be used.
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
from publisher.store.rows import ID_LIMIT, KEYED_TABLES, NO_ROWS, KeyedRows, Row

#: How many commands' answers are kept, to recognise a repeated command.
MAX_ANSWERS = 200

_LENGTH = "coalesce(length(CAST(body AS BLOB)), 0)"  # NULL if the row is damaged


class Outbox:
    """A database's rows, and the changes that wait for the next transaction.

    Each method raises one of FAULTS if the database cannot be read or written. Threads must lock.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        max_rows: int,
        max_bytes: int,
        *,
        held: tuple[int, int] | None = None,
    ) -> None:
        """Use a database of the newest version.

        `held` is how many rows it has, and the bytes of their bodies. Without it they are counted, which
        means to read them all: a card may take seconds for that.
        """
        self.db = db
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self.rows, self.size = held or self._count()
        [(last_id,)] = db.execute("SELECT coalesce(max(id), 0) FROM outbox")
        if type(last_id) is not int or not 0 <= last_id < ID_LIMIT:
            raise Damaged(f"the last record is {last_id!r}")
        self.next_id = last_id + 1
        #: Rows that the broker has confirmed: the next transaction deletes them.
        self.confirmed: set[int] = set()
        #: How many rows were given up: the next transaction counts them as dropped.
        self.given_up = 0
        self._noted: boots.Noted | None = None

    @property
    def waiting(self) -> int:
        """How many rows wait for the broker."""
        return max(0, self.rows - len(self.confirmed))

    def backlog(self, after_id: int, until_id: int, max_bytes: int) -> list[Row]:
        """Return unconfirmed rows in ]after_id, until_id], oldest first.

        Together they take at most `max_bytes` in a message; the first one is returned whatever its size.
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
        """Mark a row that cannot be sent, to be deleted and counted."""
        self.confirmed.add(row_id)
        self.given_up += 1

    def holds(self, row_id: int) -> bool:
        """Return whether a row is in the database."""
        query = "SELECT 1 FROM outbox WHERE id = ?"
        return self.db.execute(query, (row_id,)).fetchone() is not None

    def pairs(self, table: str, which: str, *values: Any) -> list[tuple[Any, str]]:
        """Return the intact rows (key, text) of a table with keys."""
        return rows.pairs(self.db, table, which, *values)

    def keyed_rows(self) -> KeyedRows:
        """Return the rows of all tables with keys, as far as they can be read. Raises nothing."""
        found: dict[str, list[tuple[Any, str]]] = {}
        for table in KEYED_TABLES:
            with contextlib.suppress(*FAULTS):
                found[table] = self.pairs(table, "ORDER BY rowid")
        return found

    def commit(
        self,
        ledger: Ledger,
        new: Sequence[Row],
        now: Now,
        own_boots: Set[int],
        keyed: KeyedRows = NO_ROWS,
    ) -> Ledger:
        """Write rows and ledger and delete confirmed rows and those above the limits, in one transaction.

        Returns the ledger as it was written, with the rows counted. `own_boots` are the numbers that this
        boot of the unit has had.
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
            for table, pairs in keyed.items():
                rows.upsert(self.db, table, pairs)
            if keyed.get("answers"):
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
        """Continue for the outbox whose rows were copied into this one."""
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
