"""Intervals: the monotonic clock, which the simulation can run faster than life."""

import time


class Monotonic:
    """Monotonic seconds that pass `speed` times as fast as real ones (1 on a real unit)."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._start_s = time.monotonic()

    def now_s(self) -> float:
        """Return the present, in seconds since an arbitrary point."""
        real_s = time.monotonic()
        return self._start_s + (real_s - self._start_s) * self.speed

    @staticmethod
    def beat_after(at_s: float, period_s: float) -> float:
        """Return the next multiple of `period_s` after `at_s`.

        What is due every so often is due for all at the same moment: a processor that wakes up once
        for many does less than one that wakes up for each.
        """
        return (at_s // period_s + 1) * period_s

    def real_s(self, interval_s: float) -> float:
        """Return how many real seconds `interval_s` of this clock take, for a blocking call."""
        return max(0.0, interval_s) / self.speed
