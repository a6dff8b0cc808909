"""The ledger: the store's own state with the totals, and its second place beside the database."""

import contextlib
import json
import logging
import os
import sqlite3
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from publisher.clock import LONGEST_UPTIME_S, instant
from publisher.files import beginning, make_way, move_away, sync_directory
from publisher.store import schema
from publisher.store.faults import Damaged
from publisher.store.rows import BOOT_LIMIT, ID_LIMIT, checksum
from publisher.store.troubles import SECOND_PLACE, StoreTrouble
from sensors.json_in import LARGEST_EXACT, parsed

log = logging.getLogger("tentwatch.ledger")

FILE = "ledger"
#: Older versions kept the highest boot in a file of this name.
BOOT_FILE = "boot"
SLOT_BYTES = 8192
#: The query for the database's ledger: its text and checksum.
LEDGER = "SELECT body, crc FROM ledger"
_HEAD_BYTES = 18
#: Why totals began anew: there were none before, or those before are lost in both places.
NEW, LOST = "new_unit", "store_lost"


@dataclass(slots=True)
class Ledger:
    """The store's own state and the totals; written with every record."""

    count: int = 0  # how many times it was written
    installed: str | None = None  # the first certain time of day since then
    reset: str | None = None  # why the totals began anew, if no record reports it yet
    boot: int = 0
    boot_id: str = ""
    seq: int = 0
    previous: dict[str, int] | None = None  # the last pair of the boot before, where it is certain
    conn: int = 0  # connection numbers up to this one may have been used
    dropped: int = 0
    rows: int | None = None  # rows that wait for the broker; None if not counted
    size: int = 0  # size of all rows' bodies, in bytes
    kept: int = 0  # rows that the broker has confirmed, and that are kept for `resend`
    first: int = 0  # id of the first row that may wait for the broker
    clean: bool = True
    cut: dict[str, Any] | None = None  # detail of a `power_cut` that no record reports yet
    #: Files that were set aside (None: it was gone) and that no record has reported yet.
    set_aside: list[str | None] = field(default_factory=list)
    uptime_s: float = 0.0
    wall: str | None = None
    totals: dict[str, Any] | None = None
    schema: int = 0  # version of its file; 0 if it does not say so
    #: Of a run in memory whose file could not be read at the start: the ledger that it began with instead.
    #: The totals include that one's, and lack whatever the file has counted beyond it.
    stand_in: dict[str, Any] | None = None
    serial: str = ""  # names the unit: made by chance when its totals began
    traced: bool = False  # whether it has a trace outside of the state directory as well

    def began_with(self) -> "Ledger | None":
        """Return the ledger that stood in for the file's, None if the file was read."""
        return None if self.stand_in is None else Ledger(**self.stand_in)

    def belong_to(self, other: "Ledger") -> None:
        """Take over the serial with the totals of another ledger; an earlier version's has none."""
        if other.serial:
            self.serial, self.installed, self.reset = other.serial, other.installed, other.reset

    def begin_boot(self, *, is_certain: bool = True) -> None:
        """Number records from 1 again; remember the last pair if it is certain."""
        if not is_certain:
            self.previous = None
        elif self.seq:
            self.previous = {"boot": self.boot, "seq": self.seq}
        self.seq = self.conn = 0

    def standing_in(self) -> dict[str, Any]:
        """Return what a run in memory must remember of the ledger that stands in for the file's."""
        kept = ("count", "boot", "rows", "dropped", "totals")
        return {name: getattr(self, name) for name in kept}

    def is_newer_than(self, other: "Ledger") -> bool:
        """Return whether it was written later: in a later boot, or more times in the same one.

        A ledger that was never written, with only a boot from an older version's file, does not count.
        """
        return self.count > 0 and (self.boot, self.count) > (other.boot, other.count)

    def lacks(self, in_file: "Ledger") -> bool:
        """Return whether the file's ledger has totals that this one, which stood in for it, lacks."""
        return in_file.totals is not None and (self.totals is None or in_file.count > self.count)

    def text(self, **changed: Any) -> str:
        """Return it as JSON (ASCII), with some values changed, and with the present version."""
        saved = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(saved | {"schema": schema.newest()} | changed)

    @classmethod
    def parse(cls, text: object, crc: object) -> "Ledger":
        """Return a ledger from its text. Raises Damaged if it is not what was written."""
        ledger = cls()
        if not isinstance(text, str) or crc != checksum(text):
            raise Damaged("the ledger is damaged: its checksum is wrong")
        try:
            saved = parsed(text)
        except ValueError as error:
            raise Damaged(f"the ledger is damaged: {error}") from None
        if not isinstance(saved, dict):
            raise Damaged("the ledger is damaged: it is no object")
        for name in cls.__slots__:
            if name in saved:
                setattr(ledger, name, _checked(name, saved[name], getattr(ledger, name)))
        return ledger


def boot_in(text: object, crc: object) -> int:
    """Return the boot number in a ledger whose other values cannot be; 0 if it cannot be read either."""
    with contextlib.suppress(ValueError):
        saved = parsed(text) if isinstance(text, str) and crc == checksum(text) else None
        boot = saved.get("boot") if isinstance(saved, dict) else None
        if type(boot) is int and 0 < boot < BOOT_LIMIT:
            return boot
    return 0


def read_ledger(db: sqlite3.Connection) -> Ledger | None:
    """Return the database's ledger; None if it has none. Raises one of FAULTS."""
    found = db.execute(LEDGER).fetchone()
    return None if found is None else Ledger.parse(*found)


def write_ledger(db: sqlite3.Connection, text: str) -> None:
    """Replace the ledger in a database."""
    db.execute("INSERT OR REPLACE INTO ledger VALUES (1, ?, ?)", (text, checksum(text)))


class SecondPlace:
    """A copy of the ledger in a file of its own, for when the database is lost or cannot be read.

    Two slots are written in turn, in place. This works on a full disk, and if a write is cut short, the
    other slot is complete. Important writes are flushed; the kernel writes the others later (after half
    a minute on Linux).
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._file: FileIO | None = None  # closed when its owner is collected
        self._turn = 0
        self.failure: StoreTrouble | None = None  # why the last write failed

    def read(self) -> Ledger | None:
        """Return the newest undamaged ledger.

        Where none is, return one with only the boot: from a ledger whose other values cannot be, or from
        an older version's file.
        """
        newest = None
        content, boot = b"", 0
        with contextlib.suppress(OSError):
            content = beginning(self._path, 2 * SLOT_BYTES)
        for slot in (0, 1):
            part = content[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES]
            with contextlib.suppress(ValueError, Damaged):
                crc, length = int(part[:8], 16), int(part[9 : _HEAD_BYTES - 1])
                body = part[_HEAD_BYTES : _HEAD_BYTES + length].decode("ascii")
                boot = max(boot, boot_in(body, crc))
                ledger = Ledger.parse(body, crc)
                if newest is None or ledger.count > newest.count:
                    newest, self._turn = ledger, 1 - slot
        if newest is None:
            with contextlib.suppress(OSError, ValueError):
                boot = max(
                    boot, min(int(beginning(self._path.with_name(BOOT_FILE), 40)), BOOT_LIMIT)
                )
            newest = Ledger(boot=boot) if boot else None
        return newest

    def write(self, text: str, *, sync: bool) -> None:
        """Write a ledger over the older slot; with `sync` into both, one after the other, each flushed
        to the disk.
        """
        content = f"{checksum(text):08x} {len(text):08d}\n{text}".encode("ascii")
        if len(content) > SLOT_BYTES:
            self._fail(f"{len(content)} bytes, of which it holds {SLOT_BYTES}")
            return
        try:
            if self._file is not None and os.fstat(self._file.fileno()).st_nlink == 0:
                self.close()  # somebody has deleted it
            if self._file is None:
                self._file = self._open()
            file = self._file.fileno()
            for _ in range(2 if sync else 1):
                os.pwrite(file, content, self._turn * SLOT_BYTES)
                self._turn = 1 - self._turn
                if sync:
                    os.fsync(file)
            if sync:
                with contextlib.suppress(OSError):  # then it stays; the newer file counts
                    self._path.with_name(BOOT_FILE).unlink(missing_ok=True)
        except OSError as error:
            self._fail(error.strerror or str(error))
            self.close()
        else:
            self.failure = None

    def _fail(self, why: str) -> None:
        trouble = StoreTrouble(SECOND_PLACE, reason=why, directory=str(self._path.parent))
        if self.failure is None:  # logged once, and again after a success
            log.warning("%s", trouble)
        self.failure = trouble

    def _open(self) -> FileIO:
        make_way(self._path)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            number = os.open(self._path, flags, 0o640)
        except (PermissionError, FileNotFoundError):  # another user's file, or a dangling link
            move_away(self._path)
            number = os.open(self._path, flags, 0o640)
        file = FileIO(number, "r+")
        missing = 2 * SLOT_BYTES - os.fstat(number).st_size
        if missing < 0:
            os.ftruncate(number, 2 * SLOT_BYTES)
        if missing > 0:  # reserve the space now, for a full disk later
            os.pwrite(number, bytes(missing), 2 * SLOT_BYTES - missing)
            os.fsync(number)
            sync_directory(self._path.parent)
        return file

    def close(self) -> None:
        """Close the file; `write` opens it again."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _checked(name: str, value: Any, default: Any) -> Any:
    """Return a value of a ledger whose checksum is right; a time that is not believed is None.

    Such a time is worth no totals: a clock may be wrong. Raises Damaged if another value cannot be.
    """
    kinds = {
        "installed": (str,),
        "reset": (str,),
        "rows": (int,),
        "cut": (dict,),
        "previous": (dict,),
        "uptime_s": (int, float),
        "wall": (str,),
        "totals": (dict,),
        "stand_in": (dict,),
    }
    if type(value) not in kinds.get(name, (type(default),)) and value is not default:
        raise Damaged(f"the ledger is damaged: {name} is {value!r}")
    limits = {"boot": BOOT_LIMIT, "uptime_s": LONGEST_UPTIME_S, "first": ID_LIMIT}
    is_number = type(value) in (int, float)
    if (
        (is_number and not 0 <= value <= limits.get(name, LARGEST_EXACT))
        or (name == "cut" and value is not None and not _is_cut(value))
        or (name == "previous" and value is not None and not _is_pair(value))
        or (name == "stand_in" and value is not None and not _is_stand_in(value))
        or (name == "set_aside" and not all(f is None or isinstance(f, str) for f in value))
    ):
        raise Damaged(f"the ledger is damaged: {name} is {value!r}, which cannot be")
    if name in ("wall", "installed") and value is not None:
        return value if instant(value) is not None else None
    if name == "cut" and value is not None and instant(value["last"] or "") is None:
        return value | {"last": None}
    return value


def _is_stand_in(saved: dict[str, Any]) -> bool:
    """Say whether this is what `Ledger.standing_in` returns. Raises Damaged if a value cannot be."""
    blank = Ledger()
    if saved.keys() != blank.standing_in().keys():
        return False
    return all(_checked(n, value, getattr(blank, n)) is value for n, value in saved.items())


def _is_pair(pair: dict[str, Any]) -> bool:
    """Say whether this is the number of a record."""
    limits = {"boot": BOOT_LIMIT, "seq": LARGEST_EXACT}
    return pair.keys() == limits.keys() and all(
        type(n) is int and 0 < n <= limits[name] for name, n in pair.items()
    )


def _is_cut(detail: dict[str, Any]) -> bool:
    """Say whether this is a detail of `power_cut` as the store makes it."""
    if detail.keys() != {"boot", "uptime_s", "last", "off_s"}:
        return False
    last, off_s = detail["last"], detail["off_s"]
    numbers = (detail["boot"], detail["uptime_s"], 0 if off_s is None else off_s)
    return all(type(n) in (int, float) and 0 <= n <= LARGEST_EXACT for n in numbers) and (
        last is None or isinstance(last, str)
    )
