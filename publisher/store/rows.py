"""Rows of the store's tables: what a record is, how rows are read and written, and their checksums.

Each row has a CRC-32 of its other columns, which in the tables with keys includes the table's name. SQLite
itself notices neither a flipped bit in a value nor a table that has got the pages of another.
"""

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from publisher.clock import LONGEST_UPTIME_S
from publisher.store.faults import FAULTS, Damaged
from sensors.json_in import parsed

#: Ids of records are below this.
ID_LIMIT = 1 << 62
#: Boot numbers are below this: seconds until the year 2162.
BOOT_LIMIT = 1 << 32
#: How many bytes a time stamp adds to a record at most.
STAMP_BYTES = 24
#: Rows per query of a damaged or older file, and per watchdog ping meanwhile.
BATCH_ROWS = 1000

#: Makes records (kind, body), given the boot and the first seq to write into them.
Records = Callable[[int, int], Sequence[tuple[str, str]]]
#: Table → (key, text) pairs, oldest first.
KeyedRows = Mapping[str, Sequence[tuple[Any, str]]]
NO_ROWS: KeyedRows = {}

#: Tables with a key and a text, and the query for each. It names the columns: a damaged file may lack one.
KEYED_TABLES = {
    "days": "SELECT date, body, crc FROM days",
    "boots": "SELECT boot, began, crc FROM boots",
    "answers": "SELECT cid, body, crc FROM answers",
}
_RECORD = "id, kind, boot, uptime_s, stamped, body"
#: A row's checksum rises by that of its mark: so a record is marked without reading it.
_CRC_RANGE = 1 << 32


class Row(NamedTuple):
    """A record in the outbox. `confirmed_s` is its mark: when it was noted that the broker has it."""

    id: int
    kind: str
    boot: int
    uptime_s: float
    stamped: int
    body: str
    confirmed_s: int | None = (
        None  # seconds since EPOCH; None while it waits, 0 if the time is unknown
    )

    @property
    def room(self) -> int:
        """How many bytes it takes in a history message at most."""
        return len(self.body.encode()) + 1 + (0 if self.stamped else STAMP_BYTES)

    @property
    def crc(self) -> int:
        """Its checksum in the file."""
        values = (self.id, self.kind, self.boot, float(self.uptime_s), self.stamped, self.body)
        mark = 0 if self.confirmed_s is None else mark_crc(self.confirmed_s)
        return (checksum(*values) + mark) % _CRC_RANGE


def mark_crc(confirmed_s: int) -> int:
    """Return by how much a mark raises its row's checksum."""
    return checksum("confirmed", confirmed_s)


def checksum(*values: Any) -> int:
    """Return the CRC-32 of some values."""
    return zlib.crc32(" ".join(map(str, values)).encode("utf-8", "replace"))


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit all statements of the block, or none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def text(raw: bytes) -> str:
    """Decode a text of the file; bad bytes are replaced, and fail the checksum."""
    return raw.decode("utf-8", "replace")


# Records


def records(
    db: sqlite3.Connection,
    after_id: int = -1,
    until_id: int = ID_LIMIT,
    *,
    waiting_only: bool = False,
) -> Generator[tuple[Row, bool], None, None]:
    """Yield the records in ]after_id, until_id], oldest first, each with whether it is intact.

    `waiting_only` leaves out those that are marked as confirmed. Raises one of FAULTS.
    """
    mark = _mark(db)
    which = f"id > ? AND id <= ?{f' AND {mark} IS NULL' if waiting_only else ''}"
    cursor = db.execute(
        f"SELECT {_RECORD}, {mark}, crc FROM outbox WHERE {which} ORDER BY id", (after_id, until_id)
    )
    try:
        for *values, crc in cursor:
            row = Row._make(values)
            if type(row.id) is not int or row.id <= after_id:
                raise Damaged(f"record {row.id!r} comes after {after_id}")
            after_id = row.id
            yield row, is_whole(row, crc)
    finally:
        with contextlib.suppress(sqlite3.ProgrammingError):  # the database was closed meanwhile
            cursor.close()


def salvaged(
    db: sqlite3.Connection, which: str = "ORDER BY id", *values: Any
) -> Iterator[tuple[Row, int | None]]:
    """Yield records of a damaged file with their checksums, up to the damage."""
    mark = "NULL"
    with contextlib.suppress(*FAULTS):
        mark = _mark(db)
    query = f"SELECT {_RECORD}, {mark}, crc FROM outbox {which}"
    for *found, crc in readable(db, query, *values):
        yield Row._make(found), crc


def insert(db: sqlite3.Connection, row: Row) -> None:
    """Write a record."""
    db.execute(
        f"INSERT INTO outbox ({_RECORD}, confirmed, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, row.crc),
    )


def mark(db: sqlite3.Connection, row_id: int, confirmed_s: int) -> bool:
    """Mark a record as confirmed; return whether it was there and was not marked."""
    done = db.execute(
        "UPDATE outbox SET confirmed = ?1, crc = (crc + ?2) % ?3 WHERE id = ?4 AND confirmed IS NULL",
        (confirmed_s, mark_crc(confirmed_s), _CRC_RANGE, row_id),
    )
    return done.rowcount > 0


def _mark(db: sqlite3.Connection) -> str:
    """Return the expression for a record's mark; a file of an older version knows none."""
    columns = [column for _, column, *_ in db.execute("PRAGMA table_info(outbox)")]
    return "confirmed" if "confirmed" in columns else "NULL"


def is_whole(row: Row, crc: int | None) -> bool:
    """Return whether a record is as it was written."""
    return can_be(row) and crc == row.crc


def can_be(row: Row) -> bool:
    """Return whether it is a record at all: anything else would break the message that contains it."""
    *content, confirmed_s = row
    if [*map(type, content)] != [int, str, int, float, int, str]:
        return False
    if confirmed_s is not None and (type(confirmed_s) is not int or confirmed_s < 0):
        return False
    limits = ((row.id, ID_LIMIT), (row.boot, BOOT_LIMIT), (row.uptime_s, LONGEST_UPTIME_S))
    if not all(0 <= value < limit for value, limit in limits):
        return False
    try:
        return isinstance(parsed(row.body, parse_constant=_refuse), dict)
    except ValueError:
        return False


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON does not know {constant}")


# Tables with keys


def pairs(db: sqlite3.Connection, table: str, which: str, *values: Any) -> list[tuple[Any, str]]:
    """Return the intact rows (key, text) of a table. Raises one of FAULTS."""
    return _checked(table, db.execute(f"{KEYED_TABLES[table]} {which}", values))


def salvaged_keyed(db: sqlite3.Connection, table: str) -> list[tuple[Any, str]]:
    """Return the intact rows (key, text) of a damaged file's table, up to the damage."""
    return _checked(table, readable(db, f"{KEYED_TABLES[table]} ORDER BY rowid"))


def upsert(db: sqlite3.Connection, table: str, written: Iterable[tuple[Any, str]]) -> None:
    """Write rows (key, text); they replace those with the same keys."""
    for key, body in written:
        values = (key, body, checksum(table, key, body))
        db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", values)


def readable(db: sqlite3.Connection, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a damaged file up to the damage."""
    with contextlib.suppress(*FAULTS):
        yield from db.execute(query, values)


def _checked(table: str, found: Iterable[Any]) -> list[tuple[Any, str]]:
    kind = int if table == "boots" else str
    return [
        (key, body)
        for key, body, crc in found
        if type(key) is kind and type(body) is str and crc == checksum(table, key, body)
    ]
