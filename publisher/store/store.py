"""The outbox and the totals: one SQLite file that survives power cuts.

A record and the totals that it changes go in one transaction. A row leaves when the broker has
confirmed it, and that deletion rides along with the next record, so that a quiet unit writes once a
record and not twice. All methods may be called from any thread.

Where the file cannot be written (disk full, card gone read-only) the store goes on in memory and
tries the file again later; `failure` says so meanwhile. What is numbered in memory could be numbered
again after a crash, so it is numbered under a boot of its own.

A file that is damaged is set aside; what can still be read of it and has a right checksum goes into
a new one. The totals have a second place outside of the file (`publisher.store.ledger`); the newer of the
two counts, whole, never a mix.
"""

import contextlib
import errno
import logging
import os
import random
import re
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from publisher.clock import EPOCH, Now, boot_id, instant, timestamp
from publisher.files import make_way, sync_directory
from publisher.notify import notify
from publisher.store.ledger import BOOT_LIMIT, LONGEST_S, SCHEMA, Ledger, SecondPlace, checksum
from sensors.json_in import parsed

log = logging.getLogger("tentwatch.store")

FILE = "tentwatch.db"
#: How long another program may hold the file before the store goes on without it.
BUSY_S = 0.5
#: Records that are read at once from a file at rest, and those of a damaged one that are carried over
#: between two signs of life.
CARRIED = 1000
#: A new file is made under this name, until it is whole.
NEW_FILE = "tentwatch.db-new"
#: Damaged files that are kept, for whoever wants to know.
MOST_SET_ASIDE = 3
#: After so many retries a file that cannot be read is set aside as if it were damaged.
MOST_REFUSALS = 10
#: Rows kept in memory while the file cannot be written.
MEMORY_ROWS = 5000
#: Ids given in memory begin at the boot number times this: above all that the file can hold.
IDS_PER_BOOT = 1 << 30
#: No record has such an id, or a larger one.
ID_LIMIT = 1 << 62
#: Boot numbers among which chance chooses where the time of day cannot.
BOOT_CHANCE = 10_000
#: By how much a boot's number is above the last one at most. A card that has forgotten its last boots
#: (worn out, or put back from an image) would count the same numbers again if it were always by one.
BOOT_STEP = 1000
#: By how many bytes a row at most grows when it is stamped.
STAMP_BYTES = 24
#: Confirmed rows that may wait for the next record before they are deleted on their own.
MOST_CONFIRMED = 500
#: Connection numbers are set aside in blocks, so that a connection costs no write.
CONN_BLOCK = 1000

#: Bytes of a store that are copied to be looked at.
LARGEST_COPY = 64 << 20
#: Commands whose answers are kept, to tell a repeated one from a new one.
MOST_ANSWERS = 200
#: Boots whose beginning is remembered for longer than they have records waiting.
MOST_BOOTS = 1000
#: What the time of day of a boot's beginning may be off before it is written again.
BEGAN_S = 1.0

# `crc` is a CRC-32 of the rest of the row, and beside the records of the table's name: SQLite itself
# does not see a flipped bit in a value, nor a table that has got another one's pages.
#: What makes a file of the next version of one of this version; one of version 0 is empty.
_STEPS = {
    0: (
        """CREATE TABLE outbox (
            id INTEGER PRIMARY KEY,     -- order of recording
            kind TEXT NOT NULL,         -- state or event
            boot INTEGER NOT NULL,
            uptime_s REAL NOT NULL,
            stamped INTEGER NOT NULL,   -- 1 where the clock was synchronised
            body TEXT NOT NULL          -- the message as JSON
        )""",
        """CREATE TABLE ledger (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            body TEXT NOT NULL          -- identity, counters and totals as JSON
        )""",
    ),
    1: (
        "ALTER TABLE outbox ADD COLUMN crc INTEGER",
        "ALTER TABLE ledger ADD COLUMN crc INTEGER",
        """CREATE TABLE days (
            date TEXT PRIMARY KEY,      -- of the tent's own calendar
            body TEXT NOT NULL,         -- the visitor log of a closed day as JSON
            crc INTEGER NOT NULL
        )""",
        """CREATE TABLE boots (
            boot INTEGER PRIMARY KEY,
            began TEXT NOT NULL,        -- the time of day at uptime 0, ISO in UTC
            crc INTEGER NOT NULL
        )""",
        """CREATE TABLE answers (
            cid TEXT PRIMARY KEY,       -- of a command that was carried out; oldest: least rowid
            body TEXT NOT NULL,         -- the answer as JSON
            crc INTEGER NOT NULL
        )""",
    ),
}


class Row(NamedTuple):
    """A record in the outbox."""

    id: int
    kind: str
    boot: int
    uptime_s: float
    stamped: int
    body: str

    @property
    def room(self) -> int:
        """Bytes that it takes at most in a history message."""
        return len(self.body.encode()) + 1 + (0 if self.stamped else STAMP_BYTES)

    @property
    def crc(self) -> int:
        """The checksum that stands beside it in the file."""
        values = (self.id, self.kind, self.boot, float(self.uptime_s), self.stamped, self.body)
        return checksum(*values)


#: Makes records (kind, body) when it is told the boot and the first seq to write into them.
Records = Callable[[int, int], Sequence[tuple[str, str]]]


#: What lies beside the records: of each table (key, text) pairs, oldest first.
Beside = Mapping[str, Sequence[tuple[Any, str]]]
_NOTHING: Beside = {}
#: What lies beside the records, and how it is read; by name, for a damaged file may lack a column.
BESIDE = {
    "days": "SELECT date, body, crc FROM days",
    "boots": "SELECT boot, began, crc FROM boots",
    "answers": "SELECT cid, body, crc FROM answers",
}
_LENGTH = "coalesce(length(CAST(body AS BLOB)), 0)"  # NULL where the row is damaged
_MAKES_TABLE = re.compile(r"CREATE (TABLE|(UNIQUE )?INDEX) ", re.I)
_ROWS = "SELECT id, kind, boot, uptime_s, stamped, body, crc FROM outbox"


#: What SQLite's module raises on files; UnicodeError where damage is quoted in a message of SQLite.
FAULTS = (sqlite3.Error, UnicodeError)
#: What besides can come of a file whose values nobody has foreseen.
_ODDITIES = (*FAULTS, ValueError, TypeError, OverflowError)
#: What does not mean that the file is damaged: it only cannot be read or written now.
_PASSING = (
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
)

#: Of these what would mean damage if it lasted: on a disk that is well a new file can be made.
_REFUSALS = (
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
)


class _Damaged(sqlite3.DatabaseError):
    """The file can be read, and what it says makes no sense."""


class Opened(NamedTuple):
    """What opening the store found: the totals, and what there is to report.

    Totals are None where there never were any, and empty where they are lost or out of reach.
    `lost` counts records that were to be sent and are nowhere any more, or are above the limits.
    """

    totals: dict[str, Any] | None
    power_cut: dict[str, Any] | None
    lost: int = 0


class Unread(NamedTuple):
    """Totals that nobody had read; the present ones already count what `counted` says."""

    totals: dict[str, Any]
    counted: dict[str, Any]


class Store:
    """See the module. `open` comes first; then `append`, `backlog` and `confirm`."""

    def __init__(self, directory: Path, max_rows: int, max_bytes: int) -> None:
        """Use `directory`, which is made where it can be, and keep at most so many records."""
        self._path = directory / FILE
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._ledger = Ledger()
        self._confirmed: set[int] = set()
        self._rows = 0
        self._bytes = 0
        self._next_id = 1
        self._conn_limit = 0
        self._boots: set[int] = set()  # numbers that this boot of the unit has had
        self._began: tuple[datetime, set[int]] | None = None  # noted for which of them
        self._now: Now | None = None
        self._second = SecondPlace(directory)
        self._identity: tuple[int, int] | None = None  # of the open file on its disk
        self._aside: list[str | None] = []  # files that were set aside, of which no record tells
        self._told = 0  # so many of them, the first ones, the caller knows
        self.failure: str | None = None
        # Of the file, while the store works in memory:
        self._unread: Ledger | None = None  # its own has never been read; this one stood in
        self._existed = False  # there is one, or was
        self._is_new = False  # it was empty when it was opened
        self._refusals = 0  # retries that it did not let itself be read
        self._damage: str | None = None  # why it is to be set aside
        self._rows_in_file = 0  # unconfirmed rows in it
        self._to_delete: set[int] = set()  # rows in it that are to be deleted
        self._memory_from = 0  # ids from here on are not in it

    def open(self, boot_id: str, now: Now) -> Opened:
        """Open or begin the file, take up its totals, and settle this boot's number."""
        with self._lock:
            self._now = now
            second = self._second.read() or Ledger()
            self._existed = second.boot > 0
            aside, failed = None, None
            try:
                aside = self._load(second)
            except _ODDITIES as error:
                failed, self._ledger = error, Ledger()
            found = self._ledger
            is_found = found.boot > 0 and found.count >= second.count
            newest = replace(found if is_found else second)
            is_anew = aside is not None or (not failed and not found.boot and self._existed)
            if is_anew and aside is None:
                log.error("%s was gone or empty: begun anew", self._path)
                self._aside.append(None)
            self._aside = newest.set_aside + self._aside
            totals = newest.totals
            if totals is None and (is_anew or failed):
                totals = {}
            before = replace(newest)
            self._ledger = newest
            if failed:
                self._unread = second
                self._rows = second.rows or 0
                self._fail(failed)  # which takes a fresh boot
            else:
                newest.dropped += max(0, (newest.rows or 0) - self._rows)
                # The second place knows the highest boot: a damaged file may be old, and one that
                # is whole knows nothing of a run that ended while it worked in memory.
                known = max(found.boot, second.boot)
                if not second.boot and (is_anew or not known):
                    newest.boot = _fresh_boot(known, now)
                elif is_anew or newest.boot_id != boot_id or second.boot > found.boot:
                    newest.boot = known + random.randrange(1, BOOT_STEP)
                if newest.boot != known:
                    newest.seq = newest.conn = 0
            # One that is known already was hidden by the next one, which came before any record.
            if (
                before.cut is None
                and before.boot
                and before.boot_id != boot_id
                and not before.clean
            ):
                newest.cut = _gap(before, self.began(before.boot), now)
            newest.boot_id = boot_id
            newest.clean = False
            self._conn_limit = newest.conn
            self._write(now, None, sync=True)
            lost = self._ledger.dropped - before.dropped
            return Opened(totals, newest.cut, lost)

    @property
    def second_failure(self) -> str | None:
        """Why the totals' second place cannot be written."""
        return self._second.failure

    def set_aside(self) -> list[str | None]:
        """Return, once, the names of damaged files that were set aside; None for one that was gone.

        The next record is to tell of them. Where a power cut comes first, the next run hears of them.
        """
        with self._lock:
            news, self._told = self._aside[self._told :], len(self._aside)
            return news

    @property
    def boot(self) -> int:
        """The number of this boot."""
        return self._ledger.boot

    @property
    def earliest(self) -> datetime | None:
        """The newest time of day ever recorded: it is later than that now."""
        return None if self._ledger.wall is None else datetime.fromisoformat(self._ledger.wall)

    def next_conn(self, now: Now) -> int:
        """Return a connection number that this boot has not had before."""
        with self._lock:
            if self._ledger.conn >= self._conn_limit:
                self._conn_limit = self._ledger.conn + CONN_BLOCK
                self._write(now, None)
            self._ledger.conn += 1
            return self._ledger.conn

    def append(
        self,
        records: Records | None,
        totals: dict[str, Any],
        now: Now,
        *,
        days: Sequence[tuple[str, str]] = (),
        answers: Sequence[tuple[str, str]] = (),
    ) -> list[Row]:
        """Number and write records, if any, and the totals with them: all or nothing.

        So are lines of the visitor log (date, JSON) and answers to commands (cid, JSON), which take
        the place of older ones of the same day or command.
        """
        with self._lock:
            self._ledger.totals = totals
            return self._write(now, records, {"days": days, "answers": answers})

    def days(self, since: str = "") -> list[tuple[str, str]]:
        """Return the visitor log from the day `since` (ISO) on, oldest first: (date, JSON)."""
        return self._pairs("days", "WHERE date >= ? ORDER BY date", since)

    def answers(self) -> list[tuple[str, str]]:
        """Return the newest answers to commands, oldest first: (cid, JSON)."""
        return self._pairs("answers", "ORDER BY rowid")

    def began(self, boot: int) -> datetime | None:
        """Return the time of day at uptime 0 of a boot; None where its clock was never set."""
        found = self._pairs("boots", "WHERE boot = ?", boot)
        return instant(found[0][1]) if found else None

    def began_after(self, boot: int) -> datetime | None:
        """Return the time of day at uptime 0 of the first later boot whose clock was set, if any."""
        found = self._pairs("boots", "WHERE boot > ? ORDER BY boot LIMIT 1", boot)
        return instant(found[0][1]) if found else None

    def _pairs(self, table: str, which: str, *values: Any) -> list[tuple[str, str]]:
        """Return the rows (key, text) whose checksums hold."""
        with self._lock:
            if self._db is None:
                return []
            try:
                rows = self._db.execute(f"{BESIDE[table]} {which}", values)
                return _checked_pairs(table, rows)
            except FAULTS as error:
                if self.failure is not None:
                    raise
                self._fail(error)
                return []

    def confirm(self, ids: Iterable[int]) -> None:
        """Take note that the broker has these rows; they are deleted with the next record."""
        with self._lock:
            if self._db is None:
                return
            sent = set(ids)
            if self.failure is not None:
                in_file = {i for i in sent if i < self._memory_from}
                self._rows_in_file = max(0, self._rows_in_file - len(in_file - self._to_delete))
                self._to_delete |= in_file
                sent -= in_file
            self._confirmed |= sent
            if len(self._confirmed) >= MOST_CONFIRMED:
                self._write(self._now, None)

    def give_up(self, row_id: int) -> None:
        """Take note that a row cannot be sent: it is deleted with the next record, and counted."""
        with self._lock:
            self._ledger.dropped += 1
            self.confirm([row_id])

    def backlog(self, after_id: int, until_id: int, max_bytes: int) -> list[Row]:
        """Return unconfirmed rows after `after_id` up to `until_id`, oldest first.

        Their bodies fill at most `max_bytes`, but one row is returned whatever its size.
        """
        with self._lock:
            if self._db is None:
                return []
            try:
                return self._select(self._db, after_id, until_id, max_bytes)
            except FAULTS as error:
                if self.failure is not None:
                    raise
                self._fail(error)
                return []

    def _select(
        self, db: sqlite3.Connection, after_id: int, until_id: int, max_bytes: int
    ) -> list[Row]:
        found: list[Row] = []
        size = 0
        cursor = db.execute(_ROWS + " WHERE id > ? AND id <= ? ORDER BY id", (after_id, until_id))
        with contextlib.closing(cursor):
            for *values, crc in cursor:
                row = Row._make(values)
                if row.id <= after_id:
                    raise _Damaged(f"record {row.id} comes after {after_id}")
                after_id = row.id
                if row.id in self._confirmed:
                    continue
                if not _is_record(row, crc):  # a bad spot on the card: it may say anything now
                    self._confirmed.add(row.id)
                    self._ledger.dropped += 1
                    continue
                size += row.room
                if found and size > max_bytes:
                    break
                found.append(row)
        return found

    def last_id(self) -> int:
        """Return the id of the newest record."""
        return self._next_id - 1

    def buffer(self, now: Now) -> dict[str, int]:
        """Return the contract's `buffer`: what waits for the broker, and what was given up."""
        with self._lock:
            oldest_s = 0
            waits = self._rows > len(self._confirmed)
            oldest = self.backlog(0, self._next_id, 0) if waits else []
            waits = self._rows > len(self._confirmed)
            if waits and not oldest and self.failure is None:
                self._fail(_Damaged("records have vanished from the file"))
            rows = max(0, self._rows - len(self._confirmed)) + self._rows_in_file
            if rows:
                if oldest and oldest[0].boot == self.boot:
                    oldest_s = max(0, round(now.uptime_s - oldest[0].uptime_s))
                elif oldest:
                    began = self.began(oldest[0].boot)
                    oldest_s = _age_s(oldest[0], began, now)
            return {"rows": rows, "oldest_s": oldest_s, "dropped": self._ledger.dropped}

    def close(self, now: Now, totals: dict[str, Any]) -> None:
        """Write the last totals, mark the stop as a clean one, and close the file."""
        with self._lock:
            if self._db is None:
                return
            self._ledger.clean = True
            self._ledger.totals = totals
            self._write(now, None, sync=True)
            self._second.close()
            self._disconnect()

    def retry(self, now: Now) -> Unread | None:
        """Try the file again after a failure; `failure` is None afterwards if it works.

        Returns totals that the file held and nobody had read: what they count more than was known
        is to be added to the present ones.
        """
        with self._lock:
            if self.failure is None:
                return None
            unread = self._try_file(now, damage=self._damage)
            if self.failure is not None and self._refusals >= MOST_REFUSALS:
                # It may be the file and not the disk: then a new one can be made.
                why = f"it could not be read {self._refusals} times"
                unread = self._try_file(now, damage=why)
            return unread

    def _try_file(self, now: Now, *, damage: str | None) -> Unread | None:
        memory, ledger, next_id = self._db, self._ledger, self._next_id
        waiting, confirmed = self.backlog(0, next_id, sys.maxsize), self._confirmed
        beside, began = self._beside(), self._began
        unread = None
        try:
            aside = self._load(damage=damage)
            found, base = self._ledger, self._unread
            was_gone = aside is None and not found.boot and self._existed
            boot = max(ledger.boot, found.boot + 1)
            kept = self._rows - sum(map(self._holds, self._to_delete))
            self._ledger = replace(
                ledger,
                count=max(ledger.count, found.count),
                boot=boot,
                seq=ledger.seq if boot == ledger.boot else 0,
                wall=ledger.wall or found.wall,
                dropped=ledger.dropped + max(0, self._rows_in_file - kept),
            )
            is_newer = base is None or base.totals is None or found.count > base.count
            if base is not None and found.totals is not None and is_newer:
                # The caller adds them up; until then no power cut may take them away.
                self._ledger.totals = found.totals
                unread = Unread(found.totals, base.totals or {})
                self._ledger.dropped += max(0, found.dropped - base.dropped)
            self._next_id = max(next_id, self._next_id)
            self._confirmed = self._to_delete
            self._began = None
            self._second.close()  # it may have gone with the file
            self._commit(waiting, now, beside, new=False, sync=True)
        except _ODDITIES as error:
            self._give_up(error)
            self._disconnect()
            self._db, self._ledger, self._next_id = memory, ledger, next_id
            self._confirmed, self._began = confirmed, began
            self._count_rows()
            return None
        self.failure, self._unread, self._damage, self._refusals = None, None, None, 0
        self._existed = True
        self._rows_in_file, self._to_delete = 0, set()
        if memory is not None:
            memory.close()
        if was_gone:
            log.error("%s was gone: begun anew", self._path)
            self._aside.append(None)
        return unread

    def _holds(self, row_id: int) -> bool:
        assert self._db is not None
        found = self._db.execute("SELECT 1 FROM outbox WHERE id = ?", (row_id,)).fetchone()
        return found is not None

    def _give_up(self, error: Exception) -> None:
        """Take note of a retry that failed, and make the next one more likely to succeed."""
        self.failure = _why(error)
        if self._damage is None and _is_damage(error):
            self._damage = _said(error)
        code = _code(error)
        if self._not_ours():
            self.failure += self._not_ours()
        elif code in _REFUSALS:
            self._refusals += 1
        elif code == sqlite3.SQLITE_FULL:  # records are worth more than what is damaged
            self._forget_set_aside(0)

    # The file

    def _load(self, second: Ledger | None = None, *, damage: str | None = None) -> str | None:
        """Open and read the file; set one that is damaged aside and begin a new one.

        So is one that is behind the second place: it has lost what had been written. Returns the
        name given to it. Raises one of FAULTS.
        """
        self._db, self._ledger = None, Ledger()
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._finish_new(is_needed=not self._path.exists())
        try:
            self._connect(self._path)
            self._read()
            if second is not None and second.boot == self._ledger.boot:
                missing = second.count - self._ledger.count
                if missing > 0 and self._ledger.count:
                    raise _Damaged(f"it lacks the last {missing} transactions")
            if damage is not None:
                raise _Damaged(damage)
            return None
        except _ODDITIES as error:
            is_held = _code(error) == sqlite3.SQLITE_BUSY
            if is_held or (damage is None and not _is_damage(error)):
                raise
            return self._begin_anew(_said(error))

    def _finish_new(self, *, is_needed: bool) -> None:
        """Take up a new file, or do away with one, whose making was cut short. Raises OSError."""
        for suffix in ("", "-wal", "-journal"):
            part = self._path.with_name(NEW_FILE + suffix)
            make_way(part)
            if part.exists():
                part.rename(self._path.with_name(FILE + suffix)) if is_needed else part.unlink()

    def _begin_anew(self, why: str) -> str | None:
        """Put a new file in the place of the open one; return the name given to the old one.

        What can be read of the old one and has a right checksum goes into the new one, unless
        somebody has put into it what is no table: asking that may never end. Raises one of
        FAULTS, and then the old one still lies in its place unless its name was all that changed.
        """
        is_odd = self._db is not None and bool(_not_tables(self._db))
        if not self._ledger.boot and self._db is not None and not is_odd:
            with contextlib.suppress(*FAULTS):
                self._read_ledger()
        # The version in the header may be the damage: the ledger, which has a checksum, decides.
        later = self._ledger.schema > SCHEMA
        ledger = replace(self._ledger)
        old, self._db = self._db, None
        new = self._path.with_name(NEW_FILE)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._finish_new(is_needed=False)
            self._connect(new)
            assert self._db is not None
            with _transaction(self._db):
                if old is not None and not is_odd:
                    _carry_over(old, self._db)
                rows, size, _ = self._sum_up()
                _write_ledger(self._db, ledger.text(rows=rows, size=size))
            notify("WATCHDOG=1")
            self._disconnect()
            notify("WATCHDOG=1")
            if new.with_name(f"{NEW_FILE}-wal").exists():
                raise sqlite3.OperationalError(f"{new} cannot be completed")
            if old is not None:
                with contextlib.suppress(*FAULTS):
                    old.close()
            old = None
            self._forget_set_aside(MOST_SET_ASIDE - 1)
            aside = self._move_aside(f"version-{self._ledger.schema}" if later else "corrupt")
            new.rename(self._path)
            sync_directory(self._path.parent)
        except OSError as error:
            raise sqlite3.OperationalError(f"{self._path}: {error.strerror}") from error
        finally:
            if old is not None:
                with contextlib.suppress(*FAULTS):
                    old.close()
        log.error(
            "%s cannot be used (%s): %s; begun anew with %d records out of %s",
            self._path,
            why,
            "it is gone" if aside is None else f"set aside as {aside}",
            rows,
            "those in it" if ledger.rows is None else ledger.rows,
        )
        self._aside.append(aside)
        self._damage = None
        self._second.close()  # it may be gone, too
        self._connect(self._path)
        self._read()
        self._ledger = replace(ledger)
        return aside

    def _not_ours(self) -> str:
        """Say what to do where files belong to another user: that is no damage; else nothing."""
        for path in (self._path, self._path.with_name(f"{FILE}-wal"), self._path.parent):
            with contextlib.suppress(OSError):
                if path.stat().st_uid != os.geteuid() and not os.access(path, os.R_OK | os.W_OK):
                    directory = self._path.parent
                    return f"; files belong to another user: sudo chown -R tentwatch: {directory}"
        return ""

    def _is_in_place(self) -> bool:
        """Say whether the open file is still the one under its name."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _connect(self, path: Path | str) -> None:
        """Open a file, or begin it; one that is damaged is left open to read what can be read.

        Raises one of FAULTS.
        """
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        self._db = db
        db.text_factory = _text
        # Nobody else needs the file, and the memory that it would be shared through is written out
        # as well: 22.7 kB a record at the device, and 13.3 kB without (the second place adds 5.2 kB).
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise _Damaged(f"it is of version {version}; this program knows {SCHEMA}")
        if odd := _not_tables(db):  # as a view, a table could have rows without end
            raise _Damaged(f"it holds what is no table: {', '.join(odd)}")
        # A record is about 1 KiB: small pages make a commit small (they hold for new files).
        db.execute("PRAGMA page_size = 2048")
        db.execute("PRAGMA journal_mode = WAL")
        if isinstance(path, Path):  # a program that shared the file may have left it
            with contextlib.suppress(OSError):
                path.with_name(f"{path.name}-shm").unlink()
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -512")
        db.execute("PRAGMA temp_store = MEMORY")
        self._is_new = version == 0
        if version < SCHEMA:
            _migrate(db, version)
        if isinstance(path, Path):
            with contextlib.suppress(OSError):
                found = path.stat()
                self._identity = (found.st_dev, found.st_ino)

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(*FAULTS):
                db.close()

    def _read(self) -> None:
        self._read_ledger()
        assert self._db is not None
        pages = [n for (n,) in self._db.execute("SELECT rootpage FROM sqlite_master")]
        if len(set(pages)) < len(pages):
            raise _Damaged("two tables have the same pages")
        if self._ledger.rows is None:
            self._next_id = self._count_rows() + 1
            return
        # Counting them would mean to read them all, which a card may need seconds for.
        self._rows, self._bytes = self._ledger.rows, self._ledger.size
        last_id = self._db.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()[0]
        self._next_id = _checked_id(last_id) + 1

    def _read_ledger(self) -> None:
        assert self._db is not None
        found = self._db.execute("SELECT body, crc FROM ledger").fetchone()
        if found is not None:
            try:
                self._ledger = Ledger.parse(*found)
            except (ValueError, TypeError) as error:
                raise _Damaged(str(error)) from error
        elif self._existed and not self._is_new:
            raise _Damaged("the ledger is missing")

    def _count_rows(self) -> int:
        """Set the figures of the outbox from its rows; return the last id."""
        if self._db is None:
            return 0
        self._rows, self._bytes, last_id = self._sum_up()
        return last_id

    def _sum_up(self) -> tuple[int, int, int]:
        assert self._db is not None
        rows, size, last_id = self._db.execute(
            f"SELECT count(*), coalesce(sum({_LENGTH}), 0), coalesce(max(id), 0) FROM outbox"
        ).fetchone()
        return int(rows), int(size), _checked_id(last_id)

    def _move_aside(self, why: str) -> str | None:
        """Rename the file, with what SQLite keeps beside it; return its new name, if it was there.

        Raises OSError.
        """
        number = 1
        while (aside := self._path.with_suffix(f".{why}-{number}")).exists():
            number += 1
        is_there = self._path.exists()
        if is_there:
            self._path.rename(aside)
        for suffix in ("-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            with contextlib.suppress(OSError):
                part.rename(aside.with_name(aside.name + suffix)) if is_there else part.unlink()
        return aside.name if is_there else None

    def _forget_set_aside(self, most: int) -> None:
        """Delete the oldest damaged files but so many; those of later versions stay."""
        ages: list[tuple[float, int, Path]] = []
        for path in self._path.parent.glob(f"{self._path.stem}.corrupt-*"):
            with contextlib.suppress(OSError, ValueError):
                number = int(path.name.rpartition("-")[2])  # not what SQLite keeps beside one
                ages.append((path.stat().st_ctime, number, path))
        for _, _, path in sorted(ages)[: max(0, len(ages) - most)]:
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    path.with_name(path.name + suffix).unlink()

    def _fail(self, error: Exception) -> None:
        """Go on in memory, under a boot number of its own."""
        assert self._now is not None, "the store is not open"
        self.failure = _why(error) + self._not_ours()
        self._damage = _said(error) if _is_damage(error) else None
        if _code(error) == sqlite3.SQLITE_FULL:
            self._forget_set_aside(0)
        self._rows_in_file = max(0, self._rows - len(self._confirmed))
        self._to_delete, self._confirmed = self._confirmed, set()
        self._ledger.boot = _fresh_boot(self._ledger.boot, self._now)
        self._ledger.seq = self._ledger.conn = self._conn_limit = 0
        self._ledger.count += 1
        text = self._ledger.text(rows=self._rows_in_file, set_aside=self._aside)
        self._second.write(text, sync=True)
        self._next_id = max(self._next_id, self._ledger.boot * IDS_PER_BOOT)
        self._memory_from = self._next_id
        beside = self._beside()
        self._disconnect()
        self._connect(":memory:")
        self._rows = self._bytes = 0
        assert self._db is not None
        for table, pairs in beside.items():
            _upsert(self._db, table, pairs)

    def _beside(self) -> Beside:
        """Return what lies beside the records, as far as it can be read."""
        found: dict[str, list[tuple[Any, str]]] = {}
        for table, query in BESIDE.items():
            with contextlib.suppress(*FAULTS):
                if self._db is not None:
                    found[table] = _checked_pairs(
                        table, self._db.execute(f"{query} ORDER BY rowid")
                    )
        return found

    def _write(
        self,
        now: Now | None,
        records: Records | None,
        beside: Beside = _NOTHING,
        *,
        sync: bool = False,
    ) -> list[Row]:
        """Commit records, ledger and deletions; fall back on memory where the file refuses."""
        self._now = now or self._now
        if self.failure is None and not self._is_in_place():
            self._replace_lost()
        rows = self._number(records)
        try:
            return self._commit(rows, self._now, beside, sync=sync)
        except FAULTS as error:
            if self.failure is not None:
                raise
            self._fail(error)
            # A commit whose fsync failed may stand in the file all the same.
            self._to_delete.update(row.id for row in rows)
            return self._commit(self._number(records), self._now, beside)

    def _replace_lost(self) -> None:
        """Begin a new file where the open one was deleted; that one can still be read."""
        ledger, next_id = self._ledger, self._next_id
        try:
            self._begin_anew("it was deleted")
        except FAULTS as error:
            self._ledger, self._next_id = ledger, next_id
            self._fail(error)
        else:
            self._ledger, self._next_id = ledger, next_id

    def _number(self, records: Records | None) -> list[Row]:
        if records is None:
            return []
        assert self._now is not None, "the store is not open"
        now, boot = self._now, self._ledger.boot
        return [
            Row(self._next_id + i, kind, boot, now.uptime_s, int(now.synced), body)
            for i, (kind, body) in enumerate(records(boot, self._ledger.seq + 1))
        ]

    def _commit(
        self,
        rows: list[Row],
        now: Now | None,
        beside: Beside = _NOTHING,
        *,
        new: bool = True,
        sync: bool = False,
    ) -> list[Row]:
        db, ledger = self._db, self._ledger
        assert db is not None, "the store is closed"
        if now is not None:
            ledger.uptime_s = round(now.uptime_s, 3)
            if now.is_certain and now.wall is not None:
                ledger.wall = now.wall.isoformat()
        seq = ledger.seq + (len(rows) if new else 0)
        aside = self._aside[self._told :] if rows and new else self._aside
        with _transaction(db):
            gone = self._delete(db, self._confirmed)
            for row in rows:
                db.execute("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, row.crc))
            added = sum(len(row.body.encode()) for row in rows)
            count, size = self._rows - gone[0] + len(rows), self._bytes - gone[1] + added
            in_memory = self.failure is not None and new
            max_rows = min(self._max_rows, MEMORY_ROWS) if in_memory else self._max_rows
            dropped = self._trim(db, count, size, max_rows)
            body = ledger.text(
                count=ledger.count + 1,
                seq=seq,
                cut=None if rows else ledger.cut,
                set_aside=aside,
                dropped=ledger.dropped + dropped[0],
                conn=max(self._conn_limit, ledger.conn),
                rows=count - dropped[0] + (self._rows_in_file if in_memory else 0),
                size=size - dropped[1],
            )
            _write_ledger(db, body)
            for table, pairs in beside.items():
                _upsert(db, table, pairs)
            if beside.get("answers"):
                db.execute(
                    "DELETE FROM answers WHERE rowid NOT IN"
                    " (SELECT rowid FROM answers ORDER BY rowid DESC LIMIT ?)",
                    (MOST_ANSWERS,),
                )
            began = self._note_began(db, now)
        self._second.write(body, sync=sync)
        self._existed = self._existed or self.failure is None
        self._began = began
        ledger.count += 1
        ledger.seq = seq
        ledger.cut = None if rows else ledger.cut
        ledger.set_aside = aside
        self._told -= len(self._aside) - len(aside)
        self._aside = aside
        ledger.dropped += dropped[0]
        self._next_id = max(self._next_id, rows[-1].id + 1) if rows else self._next_id
        self._rows, self._bytes = count - dropped[0], size - dropped[1]
        self._confirmed = set()
        return rows

    def _note_began(
        self, db: sqlite3.Connection, now: Now | None
    ) -> tuple[datetime, set[int]] | None:
        """Write when this boot began if that is news; return what is written now."""
        self._boots.add(self._ledger.boot)
        if now is None or not now.synced or now.wall is None:
            return self._began
        began = now.wall.astimezone(UTC) - timedelta(seconds=now.uptime_s)
        if self._began is not None:
            noted, boots = self._began
            if boots >= self._boots and abs((began - noted).total_seconds()) <= BEGAN_S:
                return self._began
        _upsert(db, "boots", [(boot, began.isoformat()) for boot in sorted(self._boots)])
        db.execute(
            "DELETE FROM boots WHERE boot <="
            " (SELECT boot FROM boots ORDER BY boot DESC LIMIT 1 OFFSET ?)"
            " AND boot NOT IN (SELECT boot FROM outbox)",
            (MOST_BOOTS,),
        )
        return began, set(self._boots)

    @staticmethod
    def _delete(db: sqlite3.Connection, ids: Iterable[int]) -> tuple[int, int]:
        rows = size = 0
        for row_id in ids:
            for (length,) in db.execute(
                f"DELETE FROM outbox WHERE id = ? RETURNING {_LENGTH}", (row_id,)
            ):
                rows, size = rows + 1, size + length
        return rows, size

    def _trim(
        self, db: sqlite3.Connection, count: int, size: int, max_rows: int
    ) -> tuple[int, int]:
        """Delete the oldest rows above the limits; return how many rows and bytes went."""
        rows = freed = 0
        while count - rows > max_rows or (size - freed > self._max_bytes and count - rows > 1):
            oldest = db.execute(f"SELECT id, {_LENGTH} FROM outbox ORDER BY id LIMIT 1").fetchone()
            if oldest is None:
                break
            db.execute("DELETE FROM outbox WHERE id = ?", (oldest[0],))
            rows, freed = rows + 1, freed + oldest[1]
        return rows, freed


@contextlib.contextmanager
def _lying(directory: Path) -> Iterator[str]:
    """Yield the URI under which a store that no agent has open can be read: it is neither changed nor locked.

    What a power cut has left in SQLite's log is read as well, from a copy, since SQLite reads both
    together only where it may write. Raises OSError.
    """
    path, wal = directory / FILE, directory / f"{FILE}-wal"
    for part in (path, wal):
        if part.exists() and not part.is_file():  # SQLite would wait at a pipe for ever
            raise OSError("it is no file")
    with path.open("rb"):
        pass  # SQLite does not say why it cannot open a file
    if not wal.exists():
        yield f"{path.resolve().as_uri()}?immutable=1"
        return
    # Not in memory, where /tmp often is: a month without a broker is some 100 MB.
    with tempfile.TemporaryDirectory(prefix="tentwatch-", dir="/var/tmp") as copy:
        before = wal.stat().st_mtime_ns
        for part in (path, wal):
            shutil.copyfile(part, Path(copy) / part.name)
        if wal.stat().st_mtime_ns != before:
            raise OSError("tentwatch has just been started: try again")
        yield (Path(copy) / FILE).as_uri()


class Unreadable(Exception):
    """The store cannot be read as it lies there; the message says what to do."""


class AtRest:
    """The store as it lies there while no agent runs, to be read. One that starts meanwhile does not wait."""

    def __init__(self, directory: Path) -> None:
        """Open the file. Raises Unreadable."""
        self._path = directory / FILE
        self._open = contextlib.ExitStack()
        self._db: sqlite3.Connection | None = None
        try:
            where = self._open.enter_context(_lying(directory))
            self._db = sqlite3.connect(where, uri=True, isolation_level=None)
            self._db.text_factory = _text
            found = self._db.execute("SELECT body, crc FROM ledger").fetchone()
            self.ledger = Ledger.parse(*found) if found else Ledger()
        except FileNotFoundError as error:
            self.close()
            raise Unreadable(
                f"{self._path} does not exist: tentwatch has not run yet, or --state-dir is another"
            ) from error
        except PermissionError as error:
            self.close()
            raise Unreadable(f"{error.filename} may not be read: use sudo") from error
        except (OSError, *_ODDITIES) as error:
            self.close()
            raise self._unreadable(error) from error
        second = SecondPlace(directory).read()
        if second is not None and second.count > self.ledger.count:
            self.ledger = second

    def _unreadable(self, error: Exception) -> Unreadable:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        cure = "start tentwatch, which saves what can be read of a damaged store"
        return Unreadable(f"{self._path} cannot be read ({why}): {cure}")

    def close(self) -> None:
        """Close the file, and remove the copy."""
        db, self._db = self._db, None
        if db is not None:
            db.close()
        self._open.close()

    @property
    def boot(self) -> int:
        """The number of this boot, 0 where no agent has run in it."""
        this = boot_id()
        return self.ledger.boot if this and this == self.ledger.boot_id else 0

    def days(self, since: str = "") -> list[tuple[str, str]]:
        """Return the visitor log from the day `since` (ISO) on: (date, JSON). Raises Unreadable."""
        return self._pairs("days", "WHERE date >= ? ORDER BY date", since)

    def began(self, boot: int) -> datetime | None:
        """Return what `Store.began` does. Raises Unreadable."""
        found = self._pairs("boots", "WHERE boot = ?", boot)
        return instant(found[0][1]) if found else None

    def began_after(self, boot: int) -> datetime | None:
        """Return what `Store.began_after` does. Raises Unreadable."""
        found = self._pairs("boots", "WHERE boot > ? ORDER BY boot LIMIT 1", boot)
        return instant(found[0][1]) if found else None

    def rows(self) -> Iterator[Row]:
        """Yield the records that no broker has confirmed, oldest first. Raises Unreadable."""
        after_id = -1
        while found := self._select(f"{_ROWS} WHERE id > ? ORDER BY id LIMIT {CARRIED}", after_id):
            for *values, crc in found:
                row = Row._make(values)
                if row.id <= after_id:
                    raise self._unreadable(_Damaged(f"record {row.id} comes after {after_id}"))
                after_id = row.id
                if _is_record(row, crc):
                    yield row

    def _pairs(self, table: str, which: str, *values: Any) -> list[tuple[str, str]]:
        return _checked_pairs(table, self._select(f"{BESIDE[table]} {which}", *values))

    def _select(self, query: str, *values: Any) -> list[Any]:
        assert self._db is not None, "the store is closed"
        try:
            return self._db.execute(query, values).fetchall()
        except _ODDITIES as error:
            raise self._unreadable(error) from error


def inspect(directory: Path, limit_s: float) -> str | None:
    """Say what is wrong with a store that no agent has open, and what to do; None where nothing is.

    Nothing is changed: what a power cut has left beside the file is read from a copy. A file that takes
    longer than `limit_s`, or is too large to be copied, counts as whole as far as it was read.
    """
    path, wal = directory / FILE, directory / f"{FILE}-wal"
    try:
        size = path.stat().st_size
        if not size and path.is_file():
            return None  # as after a first start that was cut off: it is begun then
        if wal.exists() and size + wal.stat().st_size > LARGEST_COPY:
            return None
        with contextlib.ExitStack() as stack:
            where = stack.enter_context(_lying(directory))
            db = sqlite3.connect(where, uri=True, timeout=BUSY_S)
            stack.callback(db.close)
            limit = time.monotonic() + limit_s
            db.set_progress_handler(lambda: time.monotonic() > limit, 10_000)
            return _flaw(db)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{error.strerror or error}: see that tentwatch may write there, or replace the card"
    except _ODDITIES as error:
        return None if _code(error) == sqlite3.SQLITE_INTERRUPT else _why(error)


def _flaw(db: sqlite3.Connection) -> str | None:
    """Return what keeps an agent from taking the file up as it is. Raises one of _ODDITIES."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise _Damaged(f"it is of version {version}; this program knows {SCHEMA}")
    if odd := _not_tables(db):
        raise _Damaged(f"it holds what is no table: {', '.join(odd)}")
    found = db.execute("SELECT * FROM ledger").fetchone()
    if version == SCHEMA and found is not None:
        Ledger.parse(*found[1:3])
    said = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    if said != "ok":
        raise _Damaged(said)
    return None


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _migrate(db: sqlite3.Connection, version: int) -> None:
    """Make an empty file, or one of an older version, one of the present version."""
    with _transaction(db):
        for step in range(version, SCHEMA):
            for statement in _STEPS[step]:
                db.execute(statement)
        if version == 1:  # it knew no checksums
            for (body,) in db.execute("SELECT body FROM ledger").fetchall():
                db.execute("UPDATE ledger SET crc = ?", (checksum(body),))
            after_id: int | None = -1
            while after_id is not None:
                after_id = _vouch(db, after_id)
        db.execute(f"PRAGMA user_version = {SCHEMA}")


def _vouch(db: sqlite3.Connection, after_id: int) -> int | None:
    """Give some records of version 1 their checksums; return the last one's id, if there is any."""
    query = f"{_ROWS} WHERE id > {after_id} ORDER BY id LIMIT {CARRIED}"
    notify("WATCHDOG=1")
    last = None
    for *values, _ in [*_readable(db, query)]:
        row = Row._make(values)
        last = row.id
        if _can_be(row):
            db.execute("UPDATE outbox SET crc = ? WHERE id = ?", (row.crc, row.id))
    return last


def _write_ledger(db: sqlite3.Connection, text: str) -> None:
    db.execute("INSERT OR REPLACE INTO ledger VALUES (1, ?, ?)", (text, checksum(text)))


def _carry_over(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Copy what can be read of a file and has a right checksum."""
    seen: set[int] = set()
    for order in ("ASC", "DESC"):  # from both ends up to the damage
        for *values, crc in _readable(old, _ROWS + f" ORDER BY id {order}"):
            row = Row._make(values)
            if row.id in seen:
                break
            seen.add(row.id)
            if (
                len(seen) % CARRIED == 0
            ):  # a month on a slow card takes longer than the watchdog waits
                notify("WATCHDOG=1")
            if _is_record(row, crc):
                new.execute("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, crc))
    for table, query in BESIDE.items():
        _upsert(new, table, _checked_pairs(table, _readable(old, f"{query} ORDER BY rowid")))


def _not_tables(db: sqlite3.Connection) -> list[str]:
    """Return the names of what is neither a table nor an index; SQLite goes by what made it."""
    made = _readable(db, "SELECT name, sql FROM sqlite_master")
    return [ascii(name) for name, sql in made if sql and not _MAKES_TABLE.match(sql)]


def _checked_id(last_id: Any) -> int:
    if type(last_id) is not int or not 0 <= last_id < ID_LIMIT:
        raise _Damaged(f"the last record is {last_id!r}")
    return last_id


def _readable(db: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a damaged file up to the damage."""
    with contextlib.suppress(*FAULTS):
        yield from db.execute(query)


def _upsert(db: sqlite3.Connection, table: str, pairs: Iterable[tuple[Any, str]]) -> None:
    for key, text in pairs:
        values = (key, text, checksum(table, key, text))
        db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", values)


def _checked_pairs(table: str, rows: Iterable[Any]) -> list[tuple[Any, str]]:
    kind = int if table == "boots" else str
    return [
        (key, text)
        for key, text, crc in rows
        if type(key) is kind and type(text) is str and crc == checksum(table, key, text)
    ]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")  # a bad spot on the card is no reason to fail


def _is_record(row: Row, crc: int | None) -> bool:
    return _can_be(row) and crc == row.crc


def _can_be(row: Row) -> bool:
    """Say whether it is a record at all: one that is none would break the message around it."""
    if [*map(type, row)] != [int, str, int, float, int, str]:
        return False
    limits = ((row.id, ID_LIMIT), (row.boot, BOOT_LIMIT), (row.uptime_s, LONGEST_S))
    if not all(0 <= value < limit for value, limit in limits):
        return False
    try:
        return isinstance(parsed(row.body, parse_constant=_no_json), dict)
    except ValueError:
        return False


def _no_json(constant: str) -> None:
    raise ValueError(f"JSON does not know {constant}")


def _fresh_boot(known: int, now: Now) -> int:
    """Return a boot number that nobody has seen: larger than `known` and than any of the past.

    It is taken from the time of day, in seconds, so that a unit whose card was replaced does not
    use its old numbers again. A clock that is not synchronised may repeat a past second, and boots
    counted on from `known` may come to a second that is near: chance keeps such numbers apart.
    """
    since = 0 if now.wall is None else int((now.wall - EPOCH).total_seconds())
    if now.synced and known < since < BOOT_LIMIT:
        return since
    since = since if 0 <= since < BOOT_LIMIT else 0
    return max(known, since) + random.randrange(1, BOOT_CHANCE)


def _gap(before: Ledger, began: datetime | None, now: Now) -> dict[str, Any]:
    """Return the detail of `power_cut`: the last sign of life, and how long ago that was.

    `began` is the time of day at uptime 0 of the boot that was cut, if its clock was ever set.
    """
    last = None if began is None else began + timedelta(seconds=before.uptime_s)
    off_s = None
    if last is not None and now.is_certain and now.wall is not None:
        off_s = max(0, round((now.wall - last).total_seconds()))
    return {
        "boot": before.boot,
        "uptime_s": before.uptime_s,
        "last": timestamp(last),
        "off_s": off_s,
    }


def _age_s(row: Row, began: datetime | None, now: Now) -> int:
    """Return the age of a record of an earlier boot; at least this boot's where it is not known."""
    if began is not None and now.wall is not None:
        at = began + timedelta(seconds=row.uptime_s)
        return max(0, round((now.wall - at).total_seconds()))
    return round(now.uptime_s)


def _why(error: Exception) -> str:
    """Say for a technician what is wrong, and what to do."""
    said = _said(error)
    code, cause = _code(error), getattr(error.__cause__, "errno", None)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"another program has {FILE} open ({said}): stop that program"
    if code == sqlite3.SQLITE_FULL or cause in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({said}): free space on it"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR) or cause in (errno.EROFS, errno.EIO):
        return f"the card cannot be written ({said}): replace it"
    if _is_damage(error):
        return f"{FILE} is damaged ({said}): nothing to do, it is soon begun anew"
    return f"{said}: see that tentwatch may write in the state directory, or replace the card"


def _said(error: Exception) -> str:
    """Return an error's text as a log can show it: SQLite quotes what lies in the file."""
    text = str(error)
    return text if text.isprintable() else ascii(text)


def _is_damage(error: Exception) -> bool:
    """Tell a file that is broken from one that only cannot be read or written now.

    Our statements are always the same: one that makes no sense to SQLite (a table is missing, a key
    comes twice) meets a file that is not as it was made.
    """
    if isinstance(error, _Damaged) or not isinstance(error, sqlite3.Error):
        return True
    code = _code(error)
    return code is not None and code not in _PASSING


def _code(error: Exception) -> int | None:
    """Return SQLite's code; errors of Python's own module have none."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
