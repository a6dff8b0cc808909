"""The SQLite file: opened, begun anew where it is damaged, and set aside.

What can still be read of a damaged file and has a right checksum goes into the new one.
"""

import contextlib
import logging
import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from publisher.files import make_way, sync_directory
from publisher.notify import notify
from publisher.store import faults, rows, schema
from publisher.store.faults import FAULTS, Damaged
from publisher.store.ledger import Ledger, read_ledger, write_ledger
from publisher.store.outbox import Outbox
from publisher.store.rows import BATCH_ROWS, BESIDE
from publisher.store.troubles import ANOTHERS, StoreTrouble, trouble_of

log = logging.getLogger("tentwatch.store")

FILE = "tentwatch.db"
#: A new file is made under this name, until it is whole.
NEW_FILE = "tentwatch.db-new"
#: How long another program may hold the file before the store goes on without it.
BUSY_S = 0.5
#: Damaged files that are kept, for whoever wants to know.
MAX_SET_ASIDE = 3
#: Of SQLite's log, and of each frame in it.
LOG_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
#: Rows kept in memory while the file cannot be written.
MEMORY_ROWS = 5000


class Loaded(NamedTuple):
    """The file, opened, and the ledger in it; a blank one where it holds none that can be read."""

    outbox: Outbox
    ledger: Ledger


class StoreFile:
    """The store's file in its directory, which is made where it can be.

    Each method raises one of FAULTS where the file cannot be used, unless it says something else.
    """

    def __init__(self, directory: Path, max_rows: int, max_bytes: int) -> None:
        self.path = directory / FILE
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        #: There is one, or was: an empty one has lost what it held.
        self.is_expected = False
        #: Names of files that were set aside (None: it was gone), of which the store does not know.
        self.set_aside: list[str | None] = []
        self._identity: tuple[int, int] | None = None  # of the open file on its disk

    def load(self, second: Ledger | None = None, *, damage: str | None = None) -> Loaded:
        """Open and read the file; set one that is damaged aside and begin a new one.

        It is damaged, too, where it is behind the `second` place's ledger, since it has lost what
        had been written, or where `damage` says why.
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
                why = faults.what(error)
            return self.begin_anew(why, db, ledger)

    def begin_anew(self, why: str, old: sqlite3.Connection | None, known: Ledger | None) -> Loaded:
        """Put a new file in the place of the `old` one, which is open, and set that aside.

        What can be read of the old one and has a right checksum goes into the new one, unless
        somebody has put into it what is no table: asking that may never end. `known` is the old
        one's ledger, if it was read. Where this fails, the old one still lies in its place unless
        its name was all that changed.
        """
        is_odd = old is not None and bool(schema.not_tables(old))
        if known is None and old is not None and not is_odd:
            with contextlib.suppress(*FAULTS):
                known = read_ledger(old)
        ledger = known or Ledger()
        # The version in the header may be the damage: the ledger, which has a checksum, decides.
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
            "those in it" if ledger.rows is None else ledger.rows,
        )
        self.set_aside.append(aside)
        with contextlib.ExitStack() as opened:
            db = _connect(self.path)
            opened.callback(_close, db)
            _prepare(db, self.path)
            outbox = self._take_up(db, read_ledger(db)).outbox
            opened.pop_all()
        return Loaded(outbox, replace(ledger))

    def in_memory(self) -> Outbox:
        """Return an outbox that stands in for the file."""
        db = _connect(":memory:")
        _prepare(db)
        return Outbox(db, min(self._max_rows, MEMORY_ROWS), self._max_bytes)

    def is_in_place(self) -> bool:
        """Say whether the open file is still the one under its name. Raises nothing."""
        return self._identity is not None and _identity(self.path) == self._identity

    def is_complete(self, db: sqlite3.Connection) -> bool:
        """Say whether SQLite has read all that was written into its log, as after a kill.

        From the first damaged frame on it passes over the log in silence: the file is whole then, and
        lacks the last transactions. Frames that were written since the log was last begun have its
        salts (https://www.sqlite.org/fileformat2.html#walformat). Raises nothing.
        """
        with contextlib.suppress(*FAULTS, OSError):
            [(_, frames, _)] = db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            [(page_bytes,)] = db.execute("PRAGMA page_size")
            with self.path.with_name(f"{FILE}-wal").open("rb") as log:
                salts = log.read(LOG_HEADER_BYTES)[16:24]
                log.seek(LOG_HEADER_BYTES + frames * (FRAME_HEADER_BYTES + page_bytes))
                while header := log.read(FRAME_HEADER_BYTES):
                    if len(header) < FRAME_HEADER_BYTES or header[8:16] == salts:
                        return False
                    log.seek(page_bytes, os.SEEK_CUR)
                return bool(frames > 0)
        return False

    def is_anothers(self) -> bool:
        """Say whether files belong to another user, which is no damage. Raises nothing."""
        for path in (self.path, self.path.with_name(f"{FILE}-wal"), self.path.parent):
            with contextlib.suppress(OSError):
                if path.stat().st_uid != os.geteuid() and not os.access(path, os.R_OK | os.W_OK):
                    return True
        return False

    def trouble(self, error: Exception) -> StoreTrouble:
        """Return what an error means that this file has raised. Raises nothing."""
        if self.is_anothers():
            return StoreTrouble(ANOTHERS, directory=str(self.path.parent))
        return trouble_of(error, self.path)

    def make_room(self) -> None:
        """Delete damaged files: on a full disk, records are worth more. Raises nothing."""
        self._forget_set_aside(0)

    def _take_up(self, db: sqlite3.Connection, ledger: Ledger | None) -> Loaded:
        """Read what the file says of its rows."""
        pages = [page for (page,) in db.execute("SELECT rootpage FROM sqlite_master")]
        if len(set(pages)) < len(pages):
            raise Damaged("two tables have the same pages")
        ledger = ledger or Ledger()
        held = None if ledger.rows is None else (ledger.rows, ledger.size)
        outbox = Outbox(db, self._max_rows, self._max_bytes, held=held)
        self._identity = _identity(self.path)
        return Loaded(outbox, ledger)

    def _fill(self, new: Path, old: sqlite3.Connection | None, ledger: Ledger) -> int:
        """Make a new file with what can be read of the old one; return how many records that is."""
        with contextlib.closing(_connect(new)) as db:
            _prepare(db, new)
            with rows.transaction(db):
                if old is not None:
                    _salvage(old, db)
                outbox = Outbox(db, self._max_rows, self._max_bytes)
                write_ledger(db, ledger.text(rows=outbox.rows, size=outbox.size))
            notify("WATCHDOG=1")
        notify("WATCHDOG=1")
        return outbox.rows

    def _finish_new(self, *, is_needed: bool) -> None:
        """Take up a new file, or do away with one, whose making was cut short. Raises OSError."""
        for suffix in ("", "-wal", "-journal"):
            part = self.path.with_name(NEW_FILE + suffix)
            make_way(part)
            if part.exists():
                part.rename(self.path.with_name(FILE + suffix)) if is_needed else part.unlink()

    def _move_aside(self, why: str) -> str | None:
        """Rename the file, with what SQLite keeps beside it; return its new name, if it was there.

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

    def _forget_set_aside(self, kept: int) -> None:
        """Delete the oldest damaged files except for `kept`; those of later versions stay."""
        ages: list[tuple[float, int, Path]] = []
        for path in self.path.parent.glob(f"{self.path.stem}.corrupt-*"):
            with contextlib.suppress(OSError, ValueError):
                number = int(path.name.rpartition("-")[2])  # not what SQLite keeps beside one
                ages.append((path.stat().st_ctime, number, path))
        for _, _, path in sorted(ages)[: max(0, len(ages) - kept)]:
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
    """Set a database up, and make its tables those of the present version; return the one it had."""
    # Nobody else needs the file, and the memory that it would be shared through is written out as
    # well: a shared file costs 9.4 kB more a record at the device.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    version = schema.check(db)
    # A record is about 1 KiB: small pages make a commit small (they hold for new files).
    db.execute("PRAGMA page_size = 2048")
    db.execute("PRAGMA journal_mode = WAL")
    if path is not None:  # a program that shared the file may have left it
        with contextlib.suppress(OSError):
            path.with_name(f"{path.name}-shm").unlink()
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA cache_size = -512")
    db.execute("PRAGMA temp_store = MEMORY")
    schema.migrate(db, version)
    return version


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another under the same name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _salvage(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Copy what can be read of a file and has a right checksum."""
    seen: set[int] = set()
    for order in ("ASC", "DESC"):  # from both ends up to the damage
        for row, crc in rows.salvaged(old, f"ORDER BY id {order}"):
            if row.id in seen:
                break
            seen.add(row.id)
            if len(seen) % BATCH_ROWS == 0:  # a month on a slow card takes long
                notify("WATCHDOG=1")
            if rows.is_whole(row, crc):
                rows.insert(new, row)
    for table in BESIDE:
        rows.upsert(new, table, rows.salvaged_pairs(old, table))
