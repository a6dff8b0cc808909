"""Reading the store while no agent runs: it is neither changed nor locked."""

import contextlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from publisher.clock import boot_id
from publisher.store import boots, faults, rows, schema
from publisher.store.faults import FAULTS, Damaged
from publisher.store.file import BUSY_S, FILE
from publisher.store.ledger import Ledger, SecondPlace, read_ledger
from publisher.store.rows import Row
from publisher.store.troubles import (
    ABSENT,
    DENIED,
    UNREADABLE,
    StoreTrouble,
    Unreadable,
    trouble_of,
)

#: A store with a log is checked only up to this size, since it is copied.
MAX_COPY_BYTES = 64 << 20


class AtRest:
    """A store that no agent uses. An agent that starts meanwhile does not have to wait."""

    def __init__(self, directory: Path) -> None:
        """Open the file. Raises Unreadable."""
        self._path = directory / FILE
        self._open = contextlib.ExitStack()
        self._db: sqlite3.Connection | None = None
        try:
            where = self._open.enter_context(_readable_uri(directory))
            self._db = sqlite3.connect(where, uri=True, isolation_level=None)
            self._db.text_factory = rows.text
            self.ledger = read_ledger(self._db) or Ledger()
        except (OSError, *FAULTS) as error:
            self.close()
            raise self._unreadable(error) from error
        second = SecondPlace(directory).read()
        if second is not None and second.is_newer_than(self.ledger):
            self.ledger = second

    def close(self) -> None:
        """Close the file, and remove the copy."""
        db, self._db = self._db, None
        if db is not None:
            db.close()
        self._open.close()

    @property
    def boot(self) -> int:
        """The number of this boot; 0 if no agent has run in it."""
        this = boot_id()
        return self.ledger.boot if this and this == self.ledger.boot_id else 0

    def days(self, since: str = "") -> list[tuple[str, str]]:
        """Return the visitor log from the day `since` (ISO) on: (date, JSON). Raises Unreadable."""
        with self._reading() as db:
            return rows.pairs(db, "days", "WHERE date >= ? ORDER BY date", since)

    def began(self, boot: int) -> datetime | None:
        """Return what `Store.began` does. Raises Unreadable."""
        with self._reading() as db:
            return boots.began(db, boot)

    def began_after(self, boot: int) -> datetime | None:
        """Return what `Store.began_after` does. Raises Unreadable."""
        with self._reading() as db:
            return boots.began_after(db, boot)

    def rows(self) -> Iterator[Row]:
        """Yield the records that wait for the broker, oldest first. Raises Unreadable."""
        with self._reading() as db:
            for row, is_whole in rows.records(db, waiting_only=True):
                if is_whole:
                    yield row

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        assert self._db is not None, "the store is closed"
        try:
            yield self._db
        except FAULTS as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> Unreadable:
        if isinstance(error, FileNotFoundError):
            return Unreadable(ABSENT, file=str(self._path))
        if isinstance(error, PermissionError):
            return Unreadable(DENIED, file=str(error.filename))
        return Unreadable(UNREADABLE, file=str(self._path), reason=faults.reason(error))


def inspect(directory: Path, limit_s: float) -> StoreTrouble | None:
    """Return the trouble with a store that no agent uses; None if there is none.

    Nothing is changed: if a power cut has left a log, a copy is read. A file that takes longer than
    `limit_s`, or is too large to be copied, counts as intact.
    """
    path, wal = directory / FILE, directory / f"{FILE}-wal"
    try:
        size = path.stat().st_size
        if not size and path.is_file():
            return None  # a first start was cut off: the next one begins it
        if wal.exists() and size + wal.stat().st_size > MAX_COPY_BYTES:
            return None
        with contextlib.ExitStack() as stack:
            where = stack.enter_context(_readable_uri(directory))
            db = sqlite3.connect(where, uri=True, timeout=BUSY_S)
            stack.callback(db.close)
            limit = time.monotonic() + limit_s
            db.set_progress_handler(lambda: time.monotonic() > limit, 10_000)
            _check(db)
    except FileNotFoundError:
        return None
    except (OSError, *FAULTS) as error:
        return None if faults.is_interrupted(error) else trouble_of(error, path)
    return None


def _check(db: sqlite3.Connection) -> None:
    """Raise one of FAULTS if an agent would not use the file as it is."""
    if schema.check(db) == schema.newest():
        read_ledger(db)
    verdict = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    if verdict != "ok":
        raise Damaged(verdict)


@contextlib.contextmanager
def _readable_uri(directory: Path) -> Iterator[str]:
    """Yield the URI under which the store can be read.

    If there is a log, it is that of a copy: SQLite reads file and log together only if it may write.
    Raises OSError.
    """
    path, wal = directory / FILE, directory / f"{FILE}-wal"
    for part in (path, wal):
        if part.exists() and not part.is_file():  # SQLite would wait for a pipe forever
            raise OSError("it is no file")
    with path.open("rb"):
        pass  # SQLite does not say why it cannot open a file
    if not wal.exists():
        yield f"{path.resolve().as_uri()}?immutable=1"
        return
    # Not in /tmp, which is often in memory: a month without a broker is some 100 MB.
    with tempfile.TemporaryDirectory(prefix="tentwatch-", dir="/var/tmp") as copy:
        before = wal.stat().st_mtime_ns
        for part in (path, wal):
            shutil.copyfile(part, Path(copy) / part.name)
        if wal.stat().st_mtime_ns != before:
            raise OSError("tentwatch has just been started: try again")
        yield (Path(copy) / FILE).as_uri()
