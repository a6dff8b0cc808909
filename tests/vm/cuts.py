"""Power cuts at hundreds of moments, and the data that survives them.

A virtual machine runs the unit in a busy tent while each write and flush of its disk is logged
(`cut_guest`, `cut_unit`). Afterwards the disk is rebuilt as after a cut at some moment (`cut_log`),
mounted, and opened by the agent's own store. The store's data is compared with the data shown by then
(`cut_witness`).
"""

import contextlib
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from publisher.clock import DemoClock
from publisher.in_memory import forget
from publisher.rules.totals import Totals
from publisher.store.file import FILE
from publisher.store.store import Store
from tests.vm import cut_log
from tests.vm.cut_witness import (
    LONGEST_LOSS_S,
    ROOM,
    Found,
    Name,
    Shown,
    decode,
    names_of,
    totals_in,
    totals_of,
)
from tests.vm.image import Image
from tests.vm.machine import Machine

ROOT = Path(__file__).parents[2]
#: Size of the file system; behind it is space for two witnesses.
FS_BYTES = 32 << 20
DISK_BYTES = FS_BYTES + 2 * ROOM
#: Largest size of the log, a sparse file.
LOG_BYTES = 4 << 30
#: The unit's state directory on that disk.
STATE = "tentwatch"
#: After one cut in this many a whole agent is started too, with a broker and a subscriber.
AGENT_EVERY = 40
#: Longest write of a record in the emulator, in seconds, after the second that it may have to wait.
EMULATED_S = 0.5
#: Number of entries before the mark of a checkpoint that may be part of the checkpoint.
CHECKPOINT_ENTRIES = 30
#: Modules that run in the machine beside the unit's own packages.
GUEST_FILES = ("__init__.py", "cut_guest.py", "cut_unit.py", "cut_witness.py")
GUEST_PATIENCE_S = 300.0
JOB = """
set -eu
systemctl is-system-running --wait || true
systemctl stop tentwatch
mkdir /run/unit /run/state
cp -r "$(/opt/tentwatch/bin/python -c 'import publisher; print(publisher.__path__[0])')" /run/unit
sed -i 's/synchronous = FULL/synchronous = {synchronous}/' /run/unit/publisher/store/file.py
grep -q 'synchronous = {synchronous}' /run/unit/publisher/store/file.py
mount -o noatime /dev/disk/by-id/virtio-state /run/state
cd /host
PYTHONPATH=/run/unit /opt/tentwatch/bin/python -m tests.vm.cut_guest \\
  /run/state/{state} /dev/disk/by-id/virtio-state {offset} {seconds} {seed}
"""


class Recording(NamedTuple):
    """The initial contents of a file system, the log of writes, and the marks in it."""

    first: bytes
    entries: Sequence[cut_log.Entry]
    marks: Sequence[tuple[int, dict[str, Any]]]  # with the number of their entry


@dataclass
class Figures:
    """Results of the cuts."""

    checkpoints: int = 0  # of SQLite's log into its file, while the disk's writes were logged
    cuts: int = 0
    running: int = 0  # cuts at which the unit ran, so that it must report them
    agents: int = 0  # cuts after which a whole agent was started
    repaired: int = 0  # disks that e2fsck had to repair before they could be mounted
    unmountable: int = 0
    corrupt: int = 0
    unreadable: int = 0
    losing: int = 0  # cuts that lost shown data
    late: int = 0  # cuts that lost passages older than the bar
    unreported: int = 0
    worst_passages: int = 0
    worst_passages_s: float = 0.0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.cuts} cuts, {self.running} of a running unit, {self.checkpoints} checkpoints: "
            f"{self.corrupt} corrupt, {self.unreadable} unreadable, {self.unmountable} unmountable "
            f"({self.repaired} repaired), "
            f"{self.losing} lost what had been shown, {self.unreported} unreported; of passages at most "
            f"{self.worst_passages} lost, the oldest {self.worst_passages_s:.2f} s before the cut; "
            f"{self.agents} taken up by a whole agent; {self.seconds:.0f} s"
        )

    def note(self, what: str, fault: str) -> None:
        """Count a failure, and record the reason."""
        setattr(self, what, getattr(self, what) + 1)
        self.faults.append(fault)


# Recording


def empty_disk() -> bytes:
    """Return a disk with an empty file system and room for the witnesses behind it."""
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(DISK_BYTES)
        make = ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
        subprocess.run([*make, file.name, str(FS_BYTES >> 10)], check=True)
        return Path(file.name).read_bytes()


def record(
    image: Image, folder: Path, first: bytes, seconds: float, seed: int, synchronous: str = "FULL"
) -> Recording:
    """Run the unit in a virtual machine on a disk with the contents `first`, and log all writes.

    `synchronous` is the unit's SQLite setting; the shipped store uses FULL.
    """
    folder.mkdir(parents=True)
    disk, log = folder / "state.img", folder / "state.log"
    disk.write_bytes(first)
    with log.open("wb") as file:
        file.truncate(LOG_BYTES)
    machine = Machine(
        image,
        folder / "machine",
        *("-blockdev", f"driver=file,node-name=disk,filename={disk},cache.no-flush=on"),
        *("-blockdev", f"driver=file,node-name=log,filename={log},cache.no-flush=on"),
        *("-blockdev", "driver=blklogwrites,node-name=logged,file=disk,log=log"),
        *("-device", "virtio-blk-pci,drive=logged,write-cache=on,serial=state,addr=8"),
    )
    package = machine.shared / "tests" / "vm"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    for name in GUEST_FILES:
        shutil.copy(ROOT / "tests" / "vm" / name, package)
    job = JOB.format(
        state=STATE, offset=FS_BYTES, seconds=seconds, seed=seed, synchronous=synchronous
    )
    try:
        machine.start()
        machine.run(job, seconds + GUEST_PATIENCE_S)
    finally:
        machine.cut()
    with log.open("rb") as file:
        recording = as_recording(first, cut_log.read(file))
    log.unlink()
    return recording


def as_recording(first: bytes, entries: Sequence[cut_log.Entry]) -> Recording:
    """Find the marks among the writes. Raises ValueError if the run did not finish."""
    marks = [
        (i, mark)
        for i, entry in enumerate(entries)
        if entry.offset >= FS_BYTES and (mark := decode(entry.data)) is not None
    ]
    if not marks or marks[-1][1]["what"] != "over":
        raise ValueError("the log ends before the run: is there room for it?")
    return Recording(first[:FS_BYTES], entries[: marks[-1][0]], marks)


# Cuts


def try_cuts(
    recording: Recording,
    count: int,
    seed: int,
    begin: Shown | None = None,
    agent_every: int = AGENT_EVERY,
) -> Figures:
    """Cut the power at `count` random moments.

    A quarter of them are before the unit is up, a quarter at checkpoints.
    """
    chance = random.Random(seed)
    figures, began_s = Figures(), time.monotonic()
    moments = cut_log.moments(recording.entries, FS_BYTES)
    up = next(number for number, mark in recording.marks if mark["what"] == "up")
    early = [after for after in moments if after <= up]
    checkpoints = [number for number, mark in recording.marks if mark["what"] == "checkpoint"]
    figures.checkpoints = len(checkpoints)
    near = [m for m in moments if any(c - CHECKPOINT_ENTRIES < m <= c for c in checkpoints)]
    chosen = chance.choices(early, k=count // 4) + chance.choices(near or moments, k=count // 4)
    chosen += chance.choices(moments, k=count - len(chosen))
    disk, shown = cut_log.Disk(recording.first, recording.entries), begin or Shown()
    marks = iter(recording.marks)
    mark = next(marks, None)
    with tempfile.TemporaryDirectory(prefix="tentwatch-cuts-", dir=_memory()) as directory:
        for after in sorted(chosen):
            while mark is not None and mark[0] < after:
                shown.take(mark[1])
                mark = next(marks, None)
            figures.cuts += 1
            figures.running += shown.is_running
            with_agent = agent_every > 0 and figures.cuts % agent_every == 0
            left = disk.cut(after, chance)
            _judge(left, Path(directory), shown, figures, f"cut {after}", with_agent)
    figures.seconds = round(time.monotonic() - began_s, 1)
    return figures


def wake(recording: Recording, seed: int) -> tuple[bytes, Shown]:
    """Return the disk after a cut in the middle of the run, and the data shown by then."""
    moments = cut_log.moments(recording.entries, FS_BYTES)
    disk, shown, marks = cut_log.Disk(recording.first, recording.entries), Shown(), 0
    for after in moments[len(moments) // 2 :]:
        while recording.marks[marks][0] < after:
            shown.take(recording.marks[marks][1])
            marks += 1
        if shown.is_running:
            break
    left = bytes(disk.cut(after, random.Random(seed)))
    with (
        tempfile.TemporaryDirectory(dir=_memory()) as directory,
        mounted(left, Path(directory), Figures()) as root,
    ):
        found = reopen(root / STATE)
    assert isinstance(found, Found), found
    return left.ljust(DISK_BYTES, b"\0"), shown.wake(found)


def _judge(
    left: bytes | bytearray, work: Path, shown: Shown, figures: Figures, cut: str, with_agent: bool
) -> None:
    try:
        with mounted(left, work, figures) as root:
            state = root / STATE
            if with_agent and shown.is_running:
                figures.agents += 1
                if (fault := agent_fault(state, work, shown)) is not None:
                    figures.note("losing", f"{cut}, by an agent: {fault}")
            if (fault := damage_in(state, work)) is not None:
                figures.note("corrupt", f"{cut}: {fault}")
            found = reopen(state)
    except Unmountable as error:
        figures.note("unmountable", f"{cut}: {error}")
        return
    if isinstance(found, str):
        figures.note("unreadable", f"{cut}: {found}")
        return
    if faults := shown.lost(found):
        figures.note("losing", f"{cut}: {'; '.join(faults)}")
    if (fault := shown.power_cut_fault(found)) is not None:
        figures.note("unreported", f"{cut}: {fault}")
    gone, age_s = shown.lost_passages(found)
    figures.worst_passages = max(figures.worst_passages, gone)
    figures.worst_passages_s = round(max(figures.worst_passages_s, age_s), 3)
    if age_s > LONGEST_LOSS_S + EMULATED_S:
        figures.note("late", f"{cut}: {gone} passages up to {age_s:.3f} s old are gone")


class Unmountable(Exception):
    """The file system is beyond repair."""


@contextlib.contextmanager
def mounted(left: bytes | bytearray, work: Path, figures: Figures) -> Iterator[Path]:
    """Mount a disk's contents; the kernel replays the file system's journal. Raises Unmountable."""
    image, root = work / "disk.img", work / "root"
    image.write_bytes(left)
    root.mkdir(exist_ok=True)
    mount = ["mount", "-o", "loop,noatime", str(image), str(root)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        # The superblock, two sectors, is written at a mount and may be torn. Raspberry Pi OS
        # (fsck.repair=yes) repairs it from its copy as it boots.
        figures.repaired += 1
        subprocess.run(["e2fsck", "-y", str(image)], capture_output=True)
        done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        raise Unmountable(done.stderr.strip())
    try:
        yield root
    finally:
        subprocess.run(["umount", str(root)], check=True)


def damage_in(state: Path, work: Path) -> str | None:
    """Return the fault that SQLite finds in a copy of the store, or None."""
    copy = _emptied(work / "copy")
    for suffix in ("", "-wal"):
        part = state / (FILE + suffix)
        if part.exists():
            shutil.copy(part, copy)
    if not (copy / FILE).exists():
        return None
    try:
        with contextlib.closing(sqlite3.connect(copy / FILE)) as db:
            said = str(db.execute("PRAGMA integrity_check").fetchone()[0])
    except sqlite3.Error as error:
        said = str(error)
    return None if said == "ok" else said


def reopen(state: Path) -> Found | str:
    """Open the disk's state with the agent's store; return its data, or the reason why it cannot."""
    state.mkdir(exist_ok=True)  # as the agent does
    now = DemoClock(1.0).now()
    store = Store(state, max_rows=50_000, max_bytes=64 << 20)
    opened = store.open("the boot after the cut", now)
    failure, aside = store.failure, store.set_aside()
    records = [json.loads(row.body) for row in store.backlog(0, store.last_id(), sys.maxsize)]
    saved = Totals.restore(opened.totals or {}).as_dict()
    store.close(now, saved)
    if failure is not None or aside:
        return str(failure or f"set aside as {aside}")
    totals = totals_in(saved)
    for record in records:  # a record and the totals that it changes are one transaction
        if "capacity" in record and any(v > totals[k] for k, v in totals_of(record).items()):
            return f"the totals {totals} are older than record {record['boot']}/{record['seq']}"
    return Found(store.boot, totals, *_names(records), opened.power_cut)


def agent_fault(state: Path, work: Path, shown: Shown) -> str | None:
    """Start a whole agent on a copy of the state: it must report the cut and send all waiting records."""
    from tests.conftest import Broker, Subscriber, Unit, wait_for

    copy = _emptied(work / "agent")
    for part in state.iterdir():
        if part.is_file():
            shutil.copy(part, copy)
    forget(copy)  # the copy of another cut was at this place before
    broker = Broker(_emptied(work / "broker"), "allow_anonymous true").start()
    subscriber, unit = Subscriber(broker.port), Unit(copy, broker.port)

    def reports() -> list[dict[str, Any]]:
        return [r for r in subscriber.records() if r.get("event") == "power_cut"]

    try:
        unit.start()
        wait_for(lambda: bool(reports()), "the event power_cut")
        wait_for(lambda: unit.status()["buffer"]["rows"] == 0, "the backlog to be sent")
        unit.stop()
        subscriber.check()
        records, report = subscriber.records(), reports()[-1]
        totals = totals_of(next(r for r in reversed(records) if "capacity" in r))
        found = Found(report["boot"], totals, *_names(records), report["detail"])
        return "; ".join(shown.lost(found)) or shown.power_cut_fault(found)
    except AssertionError as fault:
        return str(fault)
    finally:
        unit.close()
        subscriber.close()
        broker.stop()


def _names(records: list[dict[str, Any]]) -> tuple[set[Name], set[int]]:
    names = names_of(records)
    return set(names["records"]), set(names["cuts"])


def _emptied(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def _memory() -> str | None:
    """Return a directory in memory for the test disks, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
