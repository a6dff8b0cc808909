"""The outbox: records that wait for the broker, and those that it has; and the tables with keys.

A record that the broker has confirmed is marked, and kept for a while for `resend`. Everything that is said
to wait is unmarked.

The database is the file, or memory while the file cannot be used.
"""

import contextlib
import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from publisher.clock import EPOCH, Now
from publisher.store import boots, rows
from publisher.store.faults import FAULTS, Damaged
from publisher.store.ledger import Ledger, write_ledger
from publisher.store.rows import ID_LIMIT, KEYED_TABLES, NO_ROWS, KeyedRows, Row

#: How many commands' answers are kept, to recognise a repeated command.
MAX_ANSWERS = 200

#: Confirmed rows are pruned this often, in monotonic seconds, and at most this many in a transaction.
PRUNE_S, PRUNE_ROWS = 3600.0, 500

_LENGTH = "coalesce(length(CAST(body AS BLOB)), 0)"  # NULL if the row is damaged


class Limits(NamedTuple):
    """How much is held: rows and bytes in all, and for how long a confirmed row is kept."""

    rows: int
    bytes: int
    keep_s: float


@dataclass(slots=True)
class Held:
    """What a database holds: rows that wait, rows that are kept, and the bytes of all their bodies."""

    rows: int = 0
    kept: int = 0
    size: int = 0
    first: int = 0  # id of the first row that may wait


class Outbox:
    """A database's rows, and the changes that wait for the next transaction.

    Each method raises one of FAULTS if the database cannot be read or written. Threads must lock.
    """

    def __init__(self, db: sqlite3.Connection, limits: Limits, *, held: Held | None = None) -> None:
        """Use a database of the newest version.

        `held` is what it holds. Without it the rows are counted, which means to read them all: a card may
        take seconds for that.
        """
        self.db = db
        self._limits = limits
        self.held = held or self._count()
        [(last_id,)] = db.execute("SELECT coalesce(max(id), 0) FROM outbox")
        if type(last_id) is not int or not 0 <= last_id < ID_LIMIT:
            raise Damaged(f"the last record is {last_id!r}")
        self.next_id = last_id + 1
        #: Rows that the broker has confirmed: the next transaction marks them.
        self.confirmed: set[int] = set()
        #: Waiting rows that the next transaction deletes.
        self.to_delete: set[int] = set()
        #: How many rows were given up: the next transaction counts them as dropped.
        self.given_up = 0
        self._noted: boots.Noted | None = None
        self._kept_from = 0  # no row before this id is kept
        self._prune_due_s = -math.inf

    @property
    def rows(self) -> int:
        """How many rows waited after the last transaction."""
        return self.held.rows

    @property
    def waiting(self) -> int:
        """How many rows wait for the broker."""
        return max(0, self.rows - len(self.confirmed | self.to_delete))

    def backlog(self, after_id: int, until_id: int, max_bytes: int) -> list[Row]:
        """Return unconfirmed rows in ]after_id, until_id], oldest first.

        Together they take at most `max_bytes` in a message; the first one is returned whatever its size.
        """
        after_id = max(after_id, self.held.first - 1)
        waiting = rows.records(self.db, after_id, until_id, waiting_only=True)
        with contextlib.closing(waiting) as records:
            return _fitting(self._unconfirmed(records), max_bytes)

    def _unconfirmed(self, records: Iterable[tuple[Row, bool]]) -> Iterator[Row]:
        for row, is_whole in records:
            if row.id in self.confirmed or row.id in self.to_delete:
                continue
            if is_whole:
                yield row
            else:
                self.give_up(row.id)

    def held_rows(self, after_id: int, until_id: int, max_bytes: int) -> list[Row]:
        """Return intact rows in ]after_id, until_id], confirmed or not, in as many bytes as `backlog`."""
        with contextlib.closing(rows.records(self.db, after_id, until_id)) as records:
            return _fitting((row for row, is_whole in records if is_whole), max_bytes)

    def give_up(self, row_id: int) -> None:
        """Note that a waiting row cannot be sent, to be deleted and counted."""
        if row_id not in self.to_delete:
            self.to_delete.add(row_id)
            self.given_up += 1

    def all(self) -> list[Row]:
        """Return all intact rows, oldest first."""
        with contextlib.closing(rows.records(self.db)) as records:
            return [row for row, is_whole in records if is_whole and row.id not in self.to_delete]

    def is_waiting(self, row_id: int) -> bool:
        """Return whether a row is in the database without a mark."""
        query = "SELECT 1 FROM outbox WHERE id = ? AND confirmed IS NULL"
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
        """Write rows and ledger, mark confirmed rows, and delete those that are too old or above the limits.

        All that is one transaction.

        Returns the ledger as it was written, with the rows counted. `own_boots` are the numbers that this
        boot of the unit has had.
        """
        with rows.transaction(self.db):
            held, kept_from = replace(self.held), self._kept_from
            self._delete(held, self.to_delete)
            for row in new:
                rows.insert(self.db, row)
                held.rows += row.confirmed_s is None
                held.kept += row.confirmed_s is not None
                held.size += len(row.body.encode())
            marked_s = _seconds(now)
            for row_id in sorted(self.confirmed):
                if rows.mark(self.db, row_id, marked_s):
                    held.rows, held.kept = held.rows - 1, held.kept + 1
                    kept_from = min(kept_from, row_id)
            kept_from = self._prune(held, kept_from, now)
            dropped, kept_from = self._trim(held, kept_from)
            held.first = self._first_waiting(held, new)
            written = replace(
                ledger,
                rows=held.rows,
                kept=held.kept,
                size=held.size,
                first=held.first,
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
        self.held, self._kept_from = held, kept_from
        self.confirmed, self.to_delete, self.given_up, self._noted = set(), set(), 0, noted
        if new:
            self.next_id = max(self.next_id, new[-1].id + 1)
        return written

    def take_over(self, before: "Outbox") -> None:
        """Continue for the outbox whose rows were copied into this one."""
        self.next_id = max(self.next_id, before.next_id)
        self.confirmed, self.to_delete = before.confirmed, before.to_delete
        self.given_up = before.given_up

    def close(self) -> None:
        """Close the database. Raises nothing."""
        with contextlib.suppress(*FAULTS):
            self.db.close()

    def _count(self) -> Held:
        query = f"SELECT count(*), count(confirmed), coalesce(sum({_LENGTH}), 0) FROM outbox"
        [(count, kept, size)] = self.db.execute(query)
        return Held(count - kept, kept, size)

    def _delete(self, held: Held, ids: Iterable[int]) -> int:
        """Delete rows; return how many of them waited."""
        waited = 0
        query = f"DELETE FROM outbox WHERE id = ? RETURNING confirmed IS NULL, {_LENGTH}"
        for row_id in ids:
            for is_waiting, length in self.db.execute(query, (row_id,)):
                held.rows -= is_waiting
                held.kept -= not is_waiting
                held.size -= length
                waited += is_waiting
        return waited

    def _prune(self, held: Held, kept_from: int, now: Now) -> int:
        """Delete rows that were kept for long enough, from time to time; return where kept ones begin now.

        A row that was marked while the time was unknown goes with the next one that was marked later.
        """
        if not held.kept or not now.is_certain or now.monotonic_s < self._prune_due_s:
            return kept_from
        kept = self._kept(kept_from, PRUNE_ROWS)
        limit_s = _seconds(now) - self._limits.keep_s
        due = [i for i, (_, marked_s) in enumerate(kept) if 0 < marked_s <= limit_s]
        old = {
            row_id for row_id, marked_s in kept[: due[-1] + 1 if due else 0] if marked_s <= limit_s
        }
        self._delete(held, sorted(old))
        is_last = len(old) < PRUNE_ROWS
        self._prune_due_s = now.monotonic_s + PRUNE_S if is_last else -math.inf
        left = [row_id for row_id, _ in kept if row_id not in old]
        return left[0] if left else kept[-1][0] + 1 if kept else self.next_id

    def _kept(self, from_id: int, most: int) -> list[tuple[int, int]]:
        """Return the oldest kept rows from an id on: (id, mark)."""
        query = (
            "SELECT id, confirmed FROM outbox WHERE id >= ? AND confirmed IS NOT NULL"
            " ORDER BY id LIMIT ?"
        )
        found = self.db.execute(query, (from_id, most)).fetchall()
        # A damaged mark is no time. The limits delete its row.
        return [(i, mark if type(mark) is int and mark >= 0 else ID_LIMIT) for i, mark in found]

    def _trim(self, held: Held, kept_from: int) -> tuple[int, int]:
        """Delete rows above the limits: kept ones first, oldest first.

        Returns how many of them waited, and where the kept ones begin now.
        """
        dropped = 0
        while held.rows + held.kept > self._limits.rows or (
            held.size > self._limits.bytes and held.rows + held.kept > 1
        ):
            kept = self._kept(kept_from, 1) if held.kept else []
            oldest = kept[0] if kept else self._oldest()
            if oldest is None:
                break
            dropped += self._delete(held, oldest[:1])
            kept_from = oldest[0] + 1 if kept else kept_from
        return dropped, kept_from

    def _oldest(self) -> tuple[int] | None:
        found: tuple[int] | None = self.db.execute(
            "SELECT id FROM outbox ORDER BY id LIMIT 1"
        ).fetchone()
        return found

    def _first_waiting(self, held: Held, new: Sequence[Row]) -> int:
        """Return the id of the first row that waits; if none does, one above all."""
        query = "SELECT id FROM outbox WHERE id >= ? AND confirmed IS NULL ORDER BY id LIMIT 1"
        found = self.db.execute(query, (held.first,)).fetchone() if held.rows else None
        if found is not None:
            return int(found[0])
        return max(self.next_id, new[-1].id + 1 if new else 0)


def _fitting(found: Iterable[Row], max_bytes: int) -> list[Row]:
    """Return the first rows that fit together, and one in any case."""
    fitting: list[Row] = []
    size = 0
    for row in found:
        size += row.room
        if fitting and size > max_bytes:
            break
        fitting.append(row)
    return fitting


def _seconds(now: Now) -> int:
    """Return the seconds since EPOCH; 0 if the time is not certain."""
    if not now.is_certain or now.wall is None:
        return 0
    return max(0, int((now.wall - EPOCH).total_seconds()))
