"""The tables of the store's file, and the steps that migrate a file of an older version.

To change the tables, add a step. A new file takes all steps, an older one those that it lacks.
"""

import re
import sqlite3
from collections.abc import Callable

from publisher.notify import notify
from publisher.store.faults import Damaged
from publisher.store.rows import BATCH_ROWS, can_be, checksum, readable, salvaged, transaction

_MAKES_TABLE = re.compile(r"CREATE (TABLE|(UNIQUE )?INDEX) ", re.I)


def _begin(db: sqlite3.Connection) -> None:
    db.execute(
        """CREATE TABLE outbox (
            id INTEGER PRIMARY KEY,     -- order of recording
            kind TEXT NOT NULL,         -- state or event
            boot INTEGER NOT NULL,
            uptime_s REAL NOT NULL,
            stamped INTEGER NOT NULL,   -- 1 where the clock was synchronised
            body TEXT NOT NULL          -- the message as JSON
        )"""
    )
    db.execute(
        """CREATE TABLE ledger (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            body TEXT NOT NULL          -- identity, counters and totals as JSON
        )"""
    )


def _add_checksums_days_boots_answers(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE outbox ADD COLUMN crc INTEGER")
    db.execute("ALTER TABLE ledger ADD COLUMN crc INTEGER")
    db.execute(
        """CREATE TABLE days (
            date TEXT PRIMARY KEY,      -- of the tent's own calendar
            body TEXT NOT NULL,         -- the visitor log of a closed day as JSON
            crc INTEGER NOT NULL
        )"""
    )
    db.execute(
        """CREATE TABLE boots (
            boot INTEGER PRIMARY KEY,
            began TEXT NOT NULL,        -- the time of day at uptime 0, ISO in UTC
            crc INTEGER NOT NULL
        )"""
    )
    db.execute(
        """CREATE TABLE answers (
            cid TEXT PRIMARY KEY,       -- of a command that was carried out; oldest: least rowid
            body TEXT NOT NULL,         -- the answer as JSON
            crc INTEGER NOT NULL
        )"""
    )
    for (body,) in db.execute("SELECT body FROM ledger").fetchall():
        db.execute("UPDATE ledger SET crc = ?", (checksum(body),))
    after_id, which = -1, f"WHERE id > ? ORDER BY id LIMIT {BATCH_ROWS}"
    while batch := [row for row, _ in salvaged(db, which, after_id)]:
        for row in filter(can_be, batch):
            db.execute("UPDATE outbox SET crc = ? WHERE id = ?", (row.crc, row.id))
        after_id = batch[-1].id
        notify("WATCHDOG=1")


def _add_marks(db: sqlite3.Connection) -> None:
    """Add the mark of confirmed records: all in the file still wait, since others were deleted."""
    # The time at which it was noted, in seconds since publisher.clock.EPOCH, 0 if unknown; NULL: it waits.
    db.execute("ALTER TABLE outbox ADD COLUMN confirmed INTEGER")


#: Each step migrates a file from the version of its index to the next; version 0 is an empty file.
STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _begin,
    _add_checksums_days_boots_answers,
    _add_marks,
)


def newest() -> int:
    """Return the version of this program's files."""
    return len(STEPS)


def check(db: sqlite3.Connection) -> int:
    """Return a file's version.

    Raises Damaged if it is of a later version, or holds objects that no version has made, and another of
    FAULTS if it cannot be read.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > newest():
        raise Damaged(f"it is of version {version}; this program knows {newest()}")
    if odd := not_tables(db):  # a view in place of a table could have endless rows
        raise Damaged(f"it holds what is no table: {', '.join(odd)}")
    return version


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Migrate a file of an older version, or an empty one. Raises one of FAULTS."""
    if version < newest():
        with transaction(db):
            for step in STEPS[version:]:
                step(db)
            db.execute(f"PRAGMA user_version = {newest()}")


def not_tables(db: sqlite3.Connection) -> list[str]:
    """Return the names of objects that are neither tables nor indexes, by their SQL."""
    made = readable(db, "SELECT name, sql FROM sqlite_master")
    return [
        ascii(name)
        for name, sql in made
        if sql and not (isinstance(sql, str) and _MAKES_TABLE.match(sql))
    ]
