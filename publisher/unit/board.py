"""The unit's own computer: its supply, its heat and its disk.

All of it is in small files of the kernel. A Raspberry Pi's firmware watches the supply. The kernel's
driver asks the firmware every 2 s and clears its memory each time. So

- `in0_lcrit_alarm` of the hwmon device `rpi_volt` says whether the voltage was too low within the
  last 2 s;
- `get_throttled`, which Raspberry Pi's own kernels have, repeats the whole answer, in hexadecimal:
  bit 0 too low a voltage now, 1 frequency capped, 2 throttled, 3 soft temperature limit. Without that
  driver nobody renews it, and a 0 there says nothing.

Whatever is absent, unreadable or makes no sense is None. On a PC most of it is.
"""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

#: The kernel asks the firmware as often, so no dip of the voltage stays unseen. Heat and disk change
#: more slowly.
LOOK_S, SLOW_LOOK_S = 2.0, 10.0
#: How often files that are missing are looked for: a driver may be loaded after we have started.
SEARCH_S = 60.0
#: An alert is cleared when all has been well for this long.
CALM_S = 60.0
#: A Pi slows itself down between 80 and 85 °C.
HOT_C, COOL_C = 80.0, 75.0
#: The store may want 200 MiB for its records (`max_mib`).
LOW_DISK_MB, ENOUGH_DISK_MB = 200, 250

UNDERVOLTAGE, OVERHEATING, DISK_LOW = "unit_undervoltage", "unit_overheating", "unit_disk_low"

_LOW_VOLTAGE, _SLOWED = 0b0001, 0b1110
_CPU_ZONES = {"cpu-thermal", "cpu_thermal", "bcm2835_thermal", "x86_pkg_temp"}
_THROTTLED_PATHS = (
    "sys/devices/platform/soc*/*firmware/get_throttled",  # soc:firmware, soc@107c000000:firmware
    "sys/devices/platform/*firmware/get_throttled",
)
#: The kernel counts a disk's writes in this unit, whatever the size of the disk's own blocks.
_SECTOR_BYTES = 512
_MB = 1e6
_MAX_BYTES = 512


class Look(NamedTuple):
    """What the last look has found."""

    undervoltage: bool | None = None
    throttled: bool | None = None
    cpu_c: float | None = None
    disk_free_mb: int | None = None
    #: Written since the boot by all programs, to the whole disk that holds the state directory.
    disk_written_mb: int | None = None


class Board:
    """Reads the computer's figures, and raises alerts."""

    def __init__(self, state_dir: Path, root: Path = Path("/")) -> None:
        """Watch the disk that holds `state_dir`; the kernel's files are below `root`."""
        self._state_dir = state_dir
        self._root = root
        self._alarm: Path | None = None
        self._word: Path | None = None
        self._zone: Path | None = None
        self._disk: Path | None = None
        self._search_due_s = self._slow_due_s = -math.inf
        self._alerts = {name: _Alert() for name in (UNDERVOLTAGE, OVERHEATING, DISK_LOW)}
        self.seen = Look()
        #: How often each has begun since this process began; None while it is not known.
        self.undervoltages: int | None = None
        self.throttlings: int | None = None

    def look(self, now_s: float) -> None:
        """Read everything that is due, without waiting. `now_s` is monotonic."""
        if now_s >= self._search_due_s:
            self._search_due_s = now_s + SEARCH_S
            self._search()
        before, (undervoltage, throttled) = self.seen, self._supply()
        self.seen = before._replace(undervoltage=undervoltage, throttled=throttled)
        self.undervoltages = _count(self.undervoltages, before.undervoltage, undervoltage)
        self.throttlings = _count(self.throttlings, before.throttled, throttled)
        self._alerts[UNDERVOLTAGE].apply(undervoltage, now_s)
        if now_s >= self._slow_due_s:
            self._slow_due_s = now_s + SLOW_LOOK_S
            self._look_at_heat_and_disk(now_s)

    def _look_at_heat_and_disk(self, now_s: float) -> None:
        cpu_c, free_mb = self._cpu_c(), self._disk_free_mb()
        self.seen = self.seen._replace(
            cpu_c=cpu_c, disk_free_mb=free_mb, disk_written_mb=self._disk_written_mb()
        )
        hot_c = COOL_C if self._alerts[OVERHEATING].on else HOT_C
        low_mb = ENOUGH_DISK_MB if self._alerts[DISK_LOW].on else LOW_DISK_MB
        self._alerts[OVERHEATING].apply(None if cpu_c is None else cpu_c >= hot_c, now_s)
        self._alerts[DISK_LOW].apply(None if free_mb is None else free_mb < low_mb, now_s)

    @property
    def alerts(self) -> Mapping[str, bool]:
        """Every alert by its name, and whether it is on."""
        return {name: alert.on for name, alert in self._alerts.items()}

    def _search(self) -> None:
        if self._alarm is None:
            named = self._root.glob("sys/class/hwmon/hwmon*/name")
            found = (name for name in named if _text(name) == "rpi_volt")
            self._alarm = _beside(found, "in0_lcrit_alarm")
        if self._word is None:
            words = (word for path in _THROTTLED_PATHS for word in self._root.glob(path))
            self._word = next(words, None)
        if self._zone is None:
            types = sorted(self._root.glob("sys/class/thermal/thermal_zone*/type"))
            self._zone = _beside((t for t in types if _text(t) in _CPU_ZONES), "temp")
        if self._disk is None:
            with contextlib.suppress(OSError):
                device = self._state_dir.stat().st_dev
                number = f"{os.major(device)}:{os.minor(device)}"
                disk = (self._root / "sys/dev/block" / number).resolve()
                # All partitions wear the same card.
                self._disk = (disk.parent if (disk / "partition").exists() else disk) / "stat"

    def _supply(self) -> tuple[bool | None, bool | None]:
        """Return whether the voltage is too low, and whether the processor is slowed down."""
        alarm, word = {"0": False, "1": True}.get(_text(self._alarm)), _number(self._word, 16)
        if alarm is None:
            self._alarm = None  # it is gone: search again
        if word is None or word < 0:
            self._word = word = None
        unknown = None if alarm is None else False  # a 0 that nobody renews says nothing
        if word is None:
            return alarm, None
        return (
            True if alarm or word & _LOW_VOLTAGE else unknown,
            True if word & _SLOWED else unknown,
        )

    def _cpu_c(self) -> float | None:
        millidegrees = _number(self._zone)
        if millidegrees is None:
            self._zone = None
        elif -40_000 <= millidegrees <= 150_000:
            return round(millidegrees / 1000, 1)
        return None

    def _disk_free_mb(self) -> int | None:
        try:
            disk = os.statvfs(self._state_dir)
        except OSError:
            return None
        return int(disk.f_bavail * disk.f_frsize / _MB)

    def _disk_written_mb(self) -> int | None:
        fields = _text(self._disk).split()
        if len(fields) < 7 or not fields[6].isdecimal():  # sectors written: the seventh
            self._disk = None
            return None
        return int(int(fields[6]) * _SECTOR_BYTES / _MB)

    def own_written_mb(self) -> float | None:
        """Return what this process has written to disk."""
        for line in _text(self._root / "proc/self/io").splitlines():
            name, _, value = line.partition(": ")
            if name == "write_bytes" and value.isdecimal():
                return round(int(value) / _MB, 1)
        return None


class _Alert:
    """On at once, and off after CALM_S in which all was well. Unknown is not well."""

    def __init__(self) -> None:
        self.on = False
        self._bad_s = 0.0

    def apply(self, bad: bool | None, now_s: float) -> None:
        if bad or (bad is None and self.on):
            self.on, self._bad_s = True, now_s
        elif self.on and now_s - self._bad_s >= CALM_S:
            self.on = False


def _count(number: int | None, before: bool | None, now: bool | None) -> int | None:
    """Return how often something has begun; `number` is the count so far."""
    if now is None:
        return number
    return (number or 0) + (now and not before)


def _beside(files: Iterator[Path], name: str) -> Path | None:
    file = next(files, None)
    return None if file is None else file.with_name(name)


def _number(path: Path | None, base: int = 10) -> int | None:
    try:
        return int(_text(path), base)
    except ValueError:
        return None


def _text(path: Path | None) -> str:
    """Return the text of a small file; empty where it cannot be read. Never waits, not for a FIFO."""
    if path is None:
        return ""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(file, _MAX_BYTES).decode("ascii", "replace").strip()
        finally:
            os.close(file)
    except OSError:
        return ""
