"""A simulated kernel for a unit of many lives: its boot, its uptime, and what its time service claims.

The bench writes a small file, and the unit's clock reads it: so the clock of a running unit can lie, and a
boot can outlast the process.
"""

import json
import random
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from publisher.clock import Clock, Now

#: Uptime at which the first process of a boot can be started, in seconds.
FIRST_UPTIME_S = 20.0


@dataclass(frozen=True)
class Kernel:
    """What the kernel knows. `began_s` is the real monotonic second of FIRST_UPTIME_S."""

    speed: float
    boot_id: str
    began_s: float
    true_began: str  # ISO: the true time of day at uptime 0
    error_s: float = 0.0  # of the time that it shows
    synced: bool = True

    @classmethod
    def first(cls, speed: float) -> "Kernel":
        """Return a kernel that has just booted, now."""
        return cls(speed, "boot-0", time.monotonic(), datetime.now(UTC).isoformat())

    def booted_again(self, number: int, off_s: float) -> "Kernel":
        """Return the kernel of the next boot, which begins `off_s` seconds after this one's end."""
        at = self.true_at(self.uptime_s(time.monotonic())) + timedelta(seconds=off_s)
        began = at - timedelta(seconds=FIRST_UPTIME_S)
        return replace(
            self, boot_id=f"boot-{number}", began_s=time.monotonic(), true_began=began.isoformat()
        )

    def uptime_s(self, real_s: float) -> float:
        """Return the uptime at a second of the real monotonic clock."""
        return FIRST_UPTIME_S + (real_s - self.began_s) * self.speed

    def real_s(self, uptime_s: float) -> float:
        """Return the second of the real monotonic clock."""
        return self.began_s + (uptime_s - FIRST_UPTIME_S) / self.speed

    def true_at(self, uptime_s: float) -> datetime:
        """Return the true time of day."""
        return datetime.fromisoformat(self.true_began) + timedelta(seconds=uptime_s)

    def write(self, path: Path) -> None:
        """Put it into a file, as a whole."""
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)))
        new.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Kernel":
        """Return the kernel that a file describes."""
        return cls(**json.loads(path.read_text()))


class KernelClock(Clock):
    """The unit's real clock on a simulated kernel."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._kernel = Kernel.read(path)
        self.speed = self._kernel.speed

    @property
    def kernel(self) -> Kernel:
        """What the file says now."""
        stat = self._path.stat()
        if (stat.st_ino, stat.st_mtime_ns) != self._seen:
            self._kernel = Kernel.read(self._path)
            self._seen = stat.st_ino, stat.st_mtime_ns
        return self._kernel

    def uptime_at(self, at_s: float) -> float:
        """Return the uptime that belongs to a second of this clock."""
        return self.kernel.uptime_s(self._start_s + (at_s - self._start_s) / self.speed)

    def _read(self) -> Now:
        now_s, kernel = self.now_s(), self.kernel
        uptime_s = self.uptime_at(now_s)
        wall = kernel.true_at(uptime_s) + timedelta(seconds=kernel.error_s)
        return Now(now_s, uptime_s, wall, kernel.synced)


#: What a wrong time service may show: years that cannot be, and times that can.
ABSURD_YEARS = (1970, 1999, 2201)
JUMPS_S = (-90_000.0, -3_700.0, -45.0, 45.0, 3_700.0, 90_000.0, 4e9)


def absurd_error_s(kernel: Kernel, chance: random.Random) -> float:
    """Return an error with which the kernel shows a time that cannot be."""
    true = datetime.fromisoformat(kernel.true_began)
    return (datetime(chance.choice(ABSURD_YEARS), 3, 1, tzinfo=UTC) - true).total_seconds()
