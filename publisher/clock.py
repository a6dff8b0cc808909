"""The time of day, and how far it can be trusted. No other module reads it."""

import ctypes
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sensors.clock import Monotonic

#: The software's own date, and the end of the time that it is made for: a clock that shows an earlier time or
#: a later one is wrong, whoever vouches for it. (Boot numbers are counted from the first, too.)
EPOCH, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
#: Saved times and dates are believed within these years; the second is the first that is not. They are wider
#: than the clock's: a boot starts before its records, and a local date may be a day later.
FIRST_YEAR, YEAR_LIMIT = 2000, 2201
#: No uptime is longer, in seconds: 300 years.
LONGEST_UPTIME_S = 1e10
#: The kernel's clock is synchronised while its error is below this, in microseconds: without a time service
#: the kernel lets it grow up to here (NTP_PHASE_LIMIT in linux/timex.h). `timedatectl` judges by it, too.
MAX_ERROR_US = 16_000_000


@dataclass(frozen=True, slots=True)
class Now:
    """One instant on every clock of the unit.

    `wall` is None where the time of day is not known. With `synced` False it is an estimate. With `held`
    it is a good estimate: it counts on from a synchronised clock, earlier in this boot.
    """

    monotonic_s: float
    uptime_s: float
    wall: datetime | None
    synced: bool
    held: bool = False

    @property
    def is_certain(self) -> bool:
        """Whether the time of day is known well enough to say which day it is."""
        return self.wall is not None and (self.synced or self.held)

    def back_to(self, monotonic_s: float) -> "Now":
        """Return the instant at an earlier monotonic second; itself if that second is later."""
        passed_s = max(0.0, self.monotonic_s - monotonic_s)
        return replace(
            self,
            monotonic_s=self.monotonic_s - passed_s,
            uptime_s=self.uptime_s - passed_s,
            wall=None if self.wall is None else self.wall - timedelta(seconds=passed_s),
        )

    @property
    def began(self) -> datetime | None:
        """The time of day at uptime 0, where it is certain. It dates every uptime of this boot."""
        if self.wall is None or not self.is_certain:
            return None
        return self.wall - timedelta(seconds=self.uptime_s)


class _Timex(ctypes.Structure):
    """`struct timex` up to its status word, and room for what the kernel writes behind that."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


_libc = ctypes.CDLL(None)


def kernel_is_synced() -> bool:
    """Ask the kernel whether a time service sets its clock (adjtimex(2)).

    The flag STA_UNSYNC does not say so: chrony leaves it set unless it has `rtcsync`, because without it the
    kernel would set the clock chip itself.
    """
    timex = _Timex()
    if _libc.adjtimex(ctypes.byref(timex)) < 0:
        return False
    return bool(timex.maxerror < MAX_ERROR_US)


class Clock(Monotonic):
    """The unit's clocks.

    A time of day that was never synchronised in this boot is a guess, such as the file system's time of
    the last shutdown. It counts only if it is later than all times that are known to be past. A clock
    that was synchronised and is no longer is not read again, since anybody may set it: from then on the
    time counts on by the uptime, which nobody can set.
    """

    def __init__(self) -> None:
        super().__init__()
        self._not_before = EPOCH
        self._began: datetime | None = None  # the time of day at uptime 0, once it was known

    def trust_from(self, earliest: datetime) -> None:
        """Note that `earliest` is past: the store holds a record of that time."""
        self._not_before = max(self._not_before, earliest)

    def hold(self, began: datetime | None) -> None:
        """Note the time of day at uptime 0, where an earlier run in this boot knew it."""
        self._began = began or self._began

    def now(self) -> Now:
        """Return the present. Its `wall` is a time that can be, or None."""
        kernel = self._read()
        if not _can_be(kernel.wall):
            kernel = replace(kernel, wall=None, synced=False)
        if kernel.synced:
            self._began = kernel.began
            return kernel
        held = None
        if self._began is not None:
            held = self._began + timedelta(seconds=kernel.uptime_s)
        if _can_be(held):
            return replace(kernel, wall=held, held=True)
        if kernel.wall is not None and kernel.wall < self._not_before:
            return replace(kernel, wall=None)  # a Pi without a clock chip wakes up in the past
        return kernel

    def _read(self) -> Now:
        """Return the kernel's clocks, trusted or not."""
        uptime_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        return Now(self.now_s(), uptime_s, datetime.now(UTC), kernel_is_synced())


def _can_be(wall: datetime | None) -> bool:
    """Return whether a clock that is right can show this time."""
    return wall is not None and EPOCH <= wall < END


class DemoClock(Clock):
    """A synchronised clock that starts at the present and runs `speed` times as fast."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self.speed = speed
        self._wall = datetime.now(UTC)
        self._uptime_s = time.clock_gettime(time.CLOCK_BOOTTIME)

    def _read(self) -> Now:
        now_s = self.now_s()
        passed_s = now_s - self._start_s
        wall = self._wall + timedelta(seconds=passed_s)
        return Now(now_s, self._uptime_s + passed_s, wall, synced=True)

    def uptime_at(self, at_s: float) -> float:
        """Return the uptime that belongs to a monotonic second."""
        return self._uptime_s + at_s - self._start_s


def boot_id() -> str:
    """Return the kernel's random name of this boot; empty where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def instant(text: str) -> datetime | None:
    """Return the instant that an ISO text names; None where it names none, or none in these years.

    A damaged file may say anything, and Python cannot calculate near the end of its calendar.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    is_sane = found.tzinfo is not None and FIRST_YEAR <= found.year < YEAR_LIMIT
    return found if is_sane else None


def timestamp(wall: datetime | None) -> str | None:
    """Return a wall time as the contract writes it, in UTC with milliseconds."""
    if wall is None:
        return None
    return wall.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
