"""An engine whose speed sinks slowly under the same load, as it does when its fuel runs out."""

from collections import deque

from publisher.config.generator import GeneratorSettings
from publisher.rules.load_steps import LEAST_CHANGE_W

#: Frequencies are means over this time: most hunting and noise is averaged out.
MEAN_S = 10.0
#: A mean over less than this says nothing.
LEAST_S = 5.0


class Sinking:
    """How far the mean frequency lies below what it was at the same power or more.

    A governor gives each load a frequency of its own, and always the same. So what was read at a load
    some minutes ago holds still, whatever was switched in between.
    """

    def __init__(self, settings: GeneratorSettings) -> None:
        """Begin with nothing remembered."""
        self._settings = settings
        self._now: deque[tuple[float, float, float]] = (
            deque()
        )  # the last readings: when, hertz, watts
        self._past: deque[tuple[float, float, float]] = deque()  # means, each of MEAN_S
        self._spacing_s = MEAN_S / 40

    def forget(self) -> None:
        """Clear the memory."""
        self._now.clear()
        self._past.clear()

    def apply(self, frequency_hz: float, power_w: float, at_s: float, *, disturbed: bool) -> float:
        """Take a reading of the monotonic second `at_s`; return by how many hertz it has sunk."""
        now, past, settings = self._now, self._past, self._settings
        if disturbed:
            now.clear()
            return 0.0
        if not now or at_s - now[-1][0] >= self._spacing_s:
            now.append((at_s, frequency_hz, power_w))
        while at_s - now[0][0] > MEAN_S:
            now.popleft()
        while past and at_s - past[0][0] > settings.fuel_slow_window_s:
            past.popleft()
        if at_s - now[0][0] < LEAST_S:
            return 0.0
        mean_hz = sum(hz for _, hz, _ in now) / len(now)
        mean_w = sum(watts for _, _, watts in now) / len(now)
        flat_w = mean_w - max(LEAST_CHANGE_W, settings.fuel_flat_pct / 100 * mean_w)
        highest_hz = max((hz for _, hz, watts in past if watts >= flat_w), default=mean_hz)
        if at_s - now[0][0] >= 0.8 * MEAN_S and (not past or at_s - past[-1][0] >= MEAN_S):
            past.append((at_s, mean_hz, mean_w))
        return highest_hz - mean_hz
