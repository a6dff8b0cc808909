"""The SQLite file: it is opened, or set aside and replaced if it is damaged.

Whatever can be read of a damaged file and has a right checksum goes into the new one.
"""

import contextlib
import logging
import os
import sqlite3
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from publisher.files import make_way, sync_directory
from publisher.notify import notify
from publisher.store import faults, rows, schema
from publisher.store.boots import newest_boot
from publisher.store.faults import FAULTS, Damaged
from publisher.store.ledger import Ledger, read_ledger, write_ledger
from publisher.store.outbox import Held, Limits, Outbox
from publisher.store.rows import BATCH_ROWS, KEYED_TABLES
from publisher.store.troubles import OTHER_OWNER, StoreTrouble, trouble_of

log = logging.getLogger("tentwatch.store")

FILE = "tentwatch.db"
#: A new file has this name until it is complete.
NEW_FILE = "tentwatch.db-new"
#: How long to wait for another program that holds the file, in seconds.
BUSY_S = 0.5
#: Number of damaged files that are kept for an investigation.
MAX_SET_ASIDE = 3
#: Sizes in SQLite's write-ahead log.
LOG_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
#: How many rows are kept in memory while the file cannot be written.
MEMORY_ROWS = 5000


class Loaded(NamedTuple):
    """The open file's outbox, its ledger, blank if there is none that can be read, and its highest boot."""

    outbox: Outbox
    ledger: Ledger
    newest_boot: int  # of all that can be read in it


class StoreFile:
    """The store's file in its directory, which is created if it can be.

    Each method raises one of FAULTS if the file cannot be used, unless it says otherwise.
    """

    def __init__(self, directory: Path, limits: Limits) -> None:
        self.path = directory / FILE
        self._limits = limits
        #: Whether a file was written before: an empty one has lost its content.
        self.is_expected = False
        #: Names of files that were set aside (None: it was gone), for the store to take.
        self.set_aside: list[str | None] = []
        self._identity: tuple[int, int] | None = None  # of the open file on its disk

    def load(self, second: Ledger | None = None, *, damage: str | None = None) -> Loaded:
        """Open and read the file; if it is damaged, set it aside and begin a new one.

        It also counts as damaged if it is behind the `second` place's ledger, because it has lost
        transactions, and if `damage` says why.
        """
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._finish_new(is_needed=not self.path.exists())
        with contextlib.ExitStack() as opened:
            db, ledger = None, None
            try:
                db = _connect(self.path)
                opened.callback(_close, db)
                was_empty = _prepare(db, self.path) == 0
                ledger = read_ledger(db)
                if ledger is None and self.is_expected and not was_empty:
                    raise Damaged("the ledger is missing")
                loaded = self._take_up(db, ledger)
                if second is not None and ledger is not None and second.boot == ledger.boot:
                    missing = second.count - ledger.count
                    if missing > 0 and ledger.count:
                        raise Damaged(f"it lacks the last {missing} transactions")
                if damage is not None:
                    raise Damaged(damage)
                opened.pop_all()
                return loaded
            except FAULTS as error:
                if faults.code(error) == sqlite3.SQLITE_BUSY:
                    raise
                if damage is None and not faults.is_damage(error):
                    raise
                why = faults.reason(error)
            return self.begin_anew(why, db, ledger)

    def begin_anew(self, why: str, old: sqlite3.Connection | None, known: Ledger | None) -> Loaded:
        """Set the file aside and put a new one in its place. `old` is its open connection.

        Rows that can be read and have a right checksum are copied. Nothing is copied from a file with
        other things than tables: reading a view may never end. `known` is the old file's ledger, if it
        was read. If this fails, the old file stays in its place, or has only been renamed.
        """
        is_odd = old is not None and bool(schema.not_tables(old))
        if known is None and old is not None and not is_odd:
            with contextlib.suppress(*FAULTS):
                known = read_ledger(old)
        ledger = known or Ledger(boot=0 if old is None or is_odd else newest_boot(old))
        # The version in the header may be the damage. The ledger has a checksum: it decides.
        is_later = ledger.schema > schema.newest()
        new = self.path.with_name(NEW_FILE)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._finish_new(is_needed=False)
            count = self._fill(new, None if is_odd else old, ledger)
            if new.with_name(f"{NEW_FILE}-wal").exists():
                raise sqlite3.OperationalError(f"{new} cannot be completed")
            if old is not None:
                _close(old)
            self._forget_set_aside(MAX_SET_ASIDE - 1)
            aside = self._move_aside(f"version-{ledger.schema}" if is_later else "corrupt")
            new.rename(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            raise sqlite3.OperationalError(f"{self.path}: {error.strerror}") from error
        finally:
            if old is not None:
                _close(old)
        log.error(
            "%s cannot be used (%s): %s; begun anew with %d records out of %s",
            self.path,
            why,
            "it is gone" if aside is None else f"set aside as {aside}",
            count,
            "those in it" if ledger.rows is None else ledger.rows + ledger.kept,
        )
        self.set_aside.append(aside)
        with contextlib.ExitStack() as opened:
            db = _connect(self.path)
            opened.callback(_close, db)
            _prepare(db, self.path)
            loaded = self._take_up(db, read_ledger(db))
            opened.pop_all()
        return loaded._replace(ledger=replace(ledger))

    def in_memory(self) -> Outbox:
        """Return an outbox in memory, to stand in for the file."""
        db = _connect(":memory:")
        _prepare(db)
        return Outbox(db, self._limits._replace(rows=min(self._limits.rows, MEMORY_ROWS)))

    def is_in_place(self) -> bool:
        """Return whether the open file still has its name. Raises nothing."""
        return self._identity is not None and _identity(self.path) == self._identity

    def is_complete(self, db: sqlite3.Connection, *, lost_power: bool) -> bool:
        """Return whether SQLite has read every transaction in its log that was committed.

        SQLite silently ignores the log from the first damaged frame on: the file then looks intact and
        lacks the last transactions. Frames since the last reset of the log carry the salts of its header,
        and the last frame of a transaction has a size where the others have 0
        (https://www.sqlite.org/fileformat2.html#walformat). Behind the part that was read, a kill leaves no
        such frame, and no part of a page. A power cut may leave anything of the transaction that was being
        written; the one before it was on the disk by then. Raises nothing.
        """
        with contextlib.suppress(*FAULTS, OSError):
            [(_, frames, _)] = db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            [(page_bytes,)] = db.execute("PRAGMA page_size")
            with self.path.with_name(f"{FILE}-wal").open("rb") as wal:
                salts = wal.read(LOG_HEADER_BYTES)[16:24]
                wal.seek(LOG_HEADER_BYTES + frames * (FRAME_HEADER_BYTES + page_bytes))
                commits, is_torn = 0, False
                while header := wal.read(FRAME_HEADER_BYTES):
                    page = wal.read(page_bytes)
                    commits += header[8:16] == salts and header[4:8] != bytes(4)
                    is_torn |= len(header) < FRAME_HEADER_BYTES or 0 < len(page) < page_bytes
                is_left_by = commits <= 1 if lost_power else not (commits or is_torn)
                return bool(frames > 0) and is_left_by
        return False

    def has_other_owner(self) -> bool:
        """Return whether files belong to another user, which is no damage. Raises nothing."""
        for path in (self.path, self.path.with_name(f"{FILE}-wal"), self.path.parent):
            with contextlib.suppress(OSError):
                if path.stat().st_uid != os.geteuid() and not os.access(path, os.R_OK | os.W_OK):
                    return True
        return False

    def trouble(self, error: Exception) -> StoreTrouble:
        """Return the trouble that an error of this file means. Raises nothing."""
        if self.has_other_owner():
            return StoreTrouble(OTHER_OWNER, directory=str(self.path.parent))
        return trouble_of(error, self.path)

    def make_room(self) -> None:
        """Delete the damaged files: on a full disk, records are worth more. Raises nothing."""
        self._forget_set_aside(0)

    def _take_up(self, db: sqlite3.Connection, ledger: Ledger | None) -> Loaded:
        """Read the file's counts, and check its tables."""
        pages = [page for (page,) in db.execute("SELECT rootpage FROM sqlite_master")]
        if len(set(pages)) < len(pages):
            raise Damaged("two tables have the same pages")
        ledger = ledger or Ledger()
        held = None
        if ledger.rows is not None:
            held = Held(ledger.rows, ledger.kept, ledger.size, ledger.first)
        outbox = Outbox(db, self._limits, held=held)
        self._identity = _identity(self.path)
        return Loaded(outbox, ledger, max(ledger.boot, newest_boot(db)))

    def _fill(self, new: Path, old: sqlite3.Connection | None, ledger: Ledger) -> int:
        """Make a new file of what can be read of the old one; return its number of records."""
        with contextlib.closing(_connect(new)) as db:
            _prepare(db, new)
            with rows.transaction(db):
                if old is not None:
                    _salvage(old, db)
                outbox = Outbox(db, self._limits)
                write_ledger(db, ledger.text(**asdict(outbox.held)))
            notify("WATCHDOG=1")
        notify("WATCHDOG=1")
        return outbox.rows + outbox.held.kept

    def _finish_new(self, *, is_needed: bool) -> None:
        """Rename a new file that was cut off before it was renamed, or delete it. Raises OSError."""
        for suffix in ("", "-wal", "-journal"):
            part = self.path.with_name(NEW_FILE + suffix)
            make_way(part)
            if part.exists():
                part.rename(self.path.with_name(FILE + suffix)) if is_needed else part.unlink()

    def _move_aside(self, why: str) -> str | None:
        """Rename the file and SQLite's files beside it; return its new name, None if it was gone.

        Raises OSError.
        """
        number = 1
        while (aside := self.path.with_suffix(f".{why}-{number}")).exists():
            number += 1
        is_there = self.path.exists()
        if is_there:
            self.path.rename(aside)
        for suffix in ("-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            with contextlib.suppress(OSError):
                part.rename(aside.with_name(aside.name + suffix)) if is_there else part.unlink()
        return aside.name if is_there else None

    def _forget_set_aside(self, spared: int) -> None:
        """Delete the oldest damaged files but for `spared`; files of later versions stay."""
        ages: list[tuple[float, int, Path]] = []
        for path in self.path.parent.glob(f"{self.path.stem}.corrupt-*"):
            with contextlib.suppress(OSError, ValueError):
                number = int(path.name.rpartition("-")[2])  # SQLite's own files have none
                ages.append((path.stat().st_ctime, number, path))
        for _, _, path in sorted(ages)[: max(0, len(ages) - spared)]:
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    path.with_name(path.name + suffix).unlink()


def _connect(path: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
    db.text_factory = rows.text
    return db


def _close(db: sqlite3.Connection) -> None:
    with contextlib.suppress(*FAULTS):
        db.close()


def _prepare(db: sqlite3.Connection, path: Path | None = None) -> int:
    """Set a database up and migrate it; return the version that it had."""
    # Nobody else needs the file. Sharing it would write its shared memory to the disk too: 9.4 kB more
    # per record at the device.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    version = schema.check(db)
    # A record is about 1 KiB: small pages make commits small, 13.9 kB per record at the device, where pages
    # of 2 KiB cost 19.7. (This works on new files only: a file keeps the pages that it was begun with.)
    db.execute("PRAGMA page_size = 1024")
    db.execute("PRAGMA journal_mode = WAL")
    if path is not None:  # left by a program that shared the file
        with contextlib.suppress(OSError):
            path.with_name(f"{path.name}-shm").unlink()
    db.execute("PRAGMA synchronous = FULL")
    # Debian's SQLite overwrites freed pages with zeros, each of which would be written to the card.
    db.execute("PRAGMA secure_delete = OFF")
    db.execute("PRAGMA cache_size = -512")
    db.execute("PRAGMA temp_store = MEMORY")
    schema.migrate(db, version)
    return version


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _salvage(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Copy whatever can be read of a file and has a right checksum."""
    seen: set[int] = set()
    for order in ("ASC", "DESC"):  # from both ends up to the damage
        for row, crc in rows.salvaged(old, f"ORDER BY id {order}"):
            if row.id in seen:
                break
            seen.add(row.id)
            if len(seen) % BATCH_ROWS == 0:  # a month of records on a slow card takes minutes
                notify("WATCHDOG=1")
            if rows.is_whole(row, crc):
                rows.insert(new, row)
    for table in KEYED_TABLES:
        rows.upsert(new, table, rows.salvaged_keyed(old, table))
