"""Intervals: the monotonic clock, which a simulation can run faster than real time."""

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

        All periodic work is due at such multiples, at the same moments: the processor wakes up once for
        many tasks instead of once for each.
        """
        return (at_s // period_s + 1) * period_s

    def real_s(self, interval_s: float) -> float:
        """Return the real seconds that `interval_s` of this clock take, for a blocking call."""
        return max(0.0, interval_s) / self.speed
