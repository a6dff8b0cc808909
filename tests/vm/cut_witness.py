"""The data that the unit had shown by the moment of a power cut, and must still know afterwards.

Every observer of the unit (a subscriber, `status`, the broker's PUBACK, a person in the door) writes a
mark to the unit's own disk, behind the file system. It is not flushed: only its place in the log of the
disk's writes matters, between the writes of the unit.
"""

import json
import math
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

_MAGIC = b"tentmark"
_HEADER = struct.Struct("<8sI")
_BLOCK = 512
#: Bytes behind the file system for each witness.
ROOM = 1 << 20
#: Greatest age in seconds of a passage that a cut may lose.
LONGEST_LOSS_S = 1.0

Name = tuple[int, int]  # a record's boot and seq


class Marks:
    """Writes marks to a disk, past all caches of the machine."""

    def __init__(self, device: Path, offset: int) -> None:
        """Write all marks to `device` at byte `offset`."""
        self._file = os.open(device, os.O_RDWR | os.O_DIRECT)
        self._offset = offset
        self._memory = mmap.mmap(-1, ROOM)  # O_DIRECT needs whole pages
        self._lock = threading.Lock()

    def write(self, what: str, **details: Any) -> None:
        """Write one mark, with the monotonic time; it is in the log when this returns."""
        with self._lock:
            mark = {"what": what, "t": round(time.monotonic(), 4), **details}
            body = encode(mark)
            self._memory[: len(body)] = body
            os.pwrite(self._file, memoryview(self._memory)[: len(body)], self._offset)


def encode(mark: dict[str, Any]) -> bytes:
    """Return a mark as whole blocks of a disk."""
    body = json.dumps(mark, separators=(",", ":")).encode()
    size = _HEADER.size + len(body)
    return (_HEADER.pack(_MAGIC, len(body)) + body).ljust(-(-size // _BLOCK) * _BLOCK, b"\0")


def decode(data: bytes) -> dict[str, Any] | None:
    """Return the mark in a block, or None if there is none."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        return None
    _, size = _HEADER.unpack_from(data)
    mark: dict[str, Any] = json.loads(data[_HEADER.size : _HEADER.size + size])
    return mark


def records_in(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records in a message."""
    return [record for record in content.get("records", [content]) if "seq" in record]


def names_of(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the names of records, and the boots whose power cut they report."""
    return {
        "records": [(record["boot"], record["seq"]) for record in records],
        "cuts": [r["detail"]["boot"] for r in records if r.get("event") == "power_cut"],
    }


def totals_of(shown: dict[str, Any]) -> dict[str, float]:
    """Return the totals since installation in a state or an answer of `status`."""
    capacity, generator = shown["capacity"], shown["power"]["generator"]
    return {
        "entered": capacity["entered_total"],
        "left": capacity["left_total"],
        "generator_h": generator["hours_total"],
        "generator_starts": generator["starts_total"],
    }


def totals_in(saved: dict[str, Any]) -> dict[str, float]:
    """Return the same from the totals of a store, rounded as they are shown."""
    return {
        "entered": saved["occupancy"]["entered_total"],
        "left": saved["occupancy"]["left_total"],
        "generator_h": round(saved["generator_s"] / 3600, 2),
        "generator_starts": saved["generator_starts"],
    }


@dataclass
class Found:
    """The unit's data after a restart."""

    boot: int  # the new boot
    totals: dict[str, float]
    waiting: set[Name]  # records in its outbox
    reported: set[int]  # boots whose power cut they report
    power_cut: dict[str, Any] | None  # the cut that it is about to report itself


@dataclass
class Shown:
    """The data shown by a moment; `take` advances it by one mark."""

    t: float = 0.0  # of the newest mark
    boot: int = 0  # of the unit that runs, or ran last
    is_running: bool = False  # from when its store was open until it was asked to stop
    is_waking: bool = False  # it restarts after a cut: its next boot may have begun
    received: set[Name] = field(default_factory=set)  # records that a subscriber has received
    confirmed: set[Name] = field(default_factory=set)  # records that the broker has confirmed
    totals: dict[str, float] = field(default_factory=dict)
    #: Times of passages in each direction, oldest first.
    passages: dict[str, list[float]] = field(default_factory=lambda: {"entered": [], "left": []})
    owed: set[int] = field(default_factory=set)  # boots that ended by a cut before this run
    reported: set[int] = field(default_factory=set)  # boots whose power cut a subscriber has seen
    is_over: bool = False

    def take(self, mark: dict[str, Any]) -> None:
        """Update from a mark. Raises ValueError if a restart has lost passages."""
        self.t = mark["t"]
        what = mark["what"]
        if what in ("received", "confirmed"):
            self.reported.update(mark["cuts"])
        if what == "received":
            self.received.update(map(_name, mark["records"]))
            self._raise_totals(mark["totals"])
        elif what == "confirmed":
            self.confirmed.update(map(_name, mark["records"]))
        elif what == "status":
            self._raise_totals([mark["totals"]])
        elif what == "passed":
            self.passages[mark["way"]].append(mark["at"])
        elif what == "up":
            self._come_up(mark)
        elif what == "stopping":
            self.is_running = False
        elif what == "over":
            self.is_over = True

    def _raise_totals(self, shown: Iterable[dict[str, float]]) -> None:
        for totals in shown:
            for name, value in totals.items():
                self.totals[name] = max(value, self.totals.get(name, 0))

    def _come_up(self, mark: dict[str, Any]) -> None:
        for way, times in self.passages.items():
            if mark[way] != len(times):
                raise ValueError(f"{len(times)} {way}, and after a restart {mark[way]}")
        self.boot = mark["boot"]
        self.is_running, self.is_waking = True, False

    def wake(self, found: Found) -> "Shown":
        """Return the shown data at the beginning of the boot after a cut that left `found`.

        Data that the cut was allowed to lose is dropped; the rest must never be lost.
        """
        passages = {way: [-math.inf] * int(found.totals[way]) for way in self.passages}
        return replace(
            self,
            received=set(self.received),
            confirmed=set(self.confirmed),
            totals=dict(self.totals),
            passages=passages,
            owed=self.owed | ({self.boot} if self.is_running else set()),
            reported=set(self.reported),
            is_waking=self.is_running,
            is_over=False,
        )

    def lost(self, found: Found) -> list[str]:
        """Describe each piece of shown data that is lost."""
        faults = []
        for name, value in self.totals.items():
            if found.totals.get(name, 0) < value:
                faults.append(f"{name} was shown as {value} and is {found.totals.get(name)}")
        missing = self._missing(found.waiting)
        if missing:
            faults.append(f"records {missing[:5]} (of {len(missing)}) are nowhere")
        if self.received and found.boot <= max(self.received)[0]:
            faults.append(f"boot {found.boot} has been before")
        return faults

    def _missing(self, waiting: set[Name]) -> list[Name]:
        """Return records that are missing everywhere although later ones of their boot exist."""
        have = self.received | self.confirmed | waiting
        newest: dict[int, int] = {}
        for boot, seq in have:
            newest[boot] = max(seq, newest.get(boot, 0))
        return [
            (boot, seq)
            for boot, last in sorted(newest.items())
            for seq in range(1, last + 1)
            if (boot, seq) not in have
        ]

    def lost_passages(self, found: Found) -> tuple[int, float]:
        """Return the number of lost passages, and the seconds from the first of them to the cut."""
        count, longest_s = 0, 0.0
        for way, times in self.passages.items():
            gone = times[int(found.totals.get(way, 0)) :]
            count += len(gone)
            if gone:
                longest_s = max(longest_s, self.t - gone[0])
        return count, longest_s

    def power_cut_fault(self, found: Found) -> str | None:
        """Return the fault of the report of this cut or an earlier one, or None."""
        ended = None if found.power_cut is None else found.power_cut["boot"]
        forgotten = self.owed - self.reported - found.reported - {ended}
        if forgotten:
            return f"no report of the power cut that ended boot {min(forgotten)}"
        if not self.is_running:
            return None
        if ended is None:
            return "the power cut is not reported"
        if ended != self.boot and not (self.is_waking and ended > self.boot):
            return f"the power cut is said to have ended boot {ended}"
        return None


def _name(pair: list[int]) -> Name:
    return pair[0], pair[1]
