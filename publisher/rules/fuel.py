"""Too little fuel: a generator's frequency sinks although its load has not risen."""

from collections import deque
from typing import NamedTuple

from publisher.config.generator import GeneratorSettings

#: Smaller changes of power do not change a generator's frequency, whatever their share of its power.
LEAST_CHANGE_W = 50.0
#: The most readings that are remembered. Faster readings are evaluated but not remembered.
MOST_REMEMBERED = 120


class Verdict(NamedTuple):
    """The conclusion from a reading: fuel suspected, or steady, or neither."""

    is_suspected: bool
    is_steady: bool


class Fuel:
    """Detects a lack of fuel from frequency and power.

    Every engine runs slower under more load. So a frequency is compared only with those in the window
    that were read at the same power or more. A load step clears the window, because the frequency
    overshoots after it. An engine that stalls under too much load also delivers less and less power:
    only the rated power distinguishes the two.
    """

    def __init__(self, settings: GeneratorSettings) -> None:
        """Begin with nothing remembered."""
        self._settings = settings
        self._spacing_s = settings.fuel_window_s / MOST_REMEMBERED
        self._past: deque[tuple[float, float, float]] = deque(maxlen=MOST_REMEMBERED + 1)
        self._power_w: float | None = None
        self._quiet_until_s: float | None = None
        self._first_fall_s = 0.0  # start of the present series of falls
        self._last_fall_s: float | None = None

    def forget(self) -> None:
        """Clear the window."""
        self._past.clear()
        self._power_w = self._quiet_until_s = self._last_fall_s = None

    def apply(
        self, at_s: float, frequency_hz: float, power_w: float, *, overloaded: bool
    ) -> Verdict | None:
        """Apply a reading of the monotonic second `at_s`; None if it cannot be evaluated."""
        settings, past = self._settings, self._past
        before_w, self._power_w = self._power_w, power_w
        if overloaded or (before_w is not None and self._is_step(before_w, power_w)):
            past.clear()
            self._last_fall_s = None  # the frequency may have been read a moment before the power
            self._quiet_until_s = at_s + settings.load_step_settle_s
        if self._quiet_until_s is not None:
            if at_s < self._quiet_until_s:
                return None
            self._quiet_until_s = None
        while past and at_s - past[0][0] > settings.fuel_window_s:
            past.popleft()
        flat_w = power_w - max(LEAST_CHANGE_W, settings.fuel_flat_pct / 100 * power_w)
        fall_hz = max((f for _, f, p in past if p >= flat_w), default=frequency_hz) - frequency_hz
        if not past or at_s - past[-1][0] >= self._spacing_s:
            past.append((at_s, frequency_hz, power_w))
        falls = self._recurs(fall_hz > settings.fuel_swing_hz, at_s)
        return Verdict(falls, fall_hz < settings.fuel_steady_hz)

    def _is_step(self, before_w: float, power_w: float) -> bool:
        share_w = self._settings.load_step_pct / 100 * max(before_w, power_w)
        return abs(power_w - before_w) > max(LEAST_CHANGE_W, share_w)

    def _recurs(self, is_low: bool, at_s: float) -> bool:
        """Say whether it is low now and was low some time ago: a swing is low only in its troughs."""
        if not is_low:
            return False
        if self._last_fall_s is None or at_s - self._last_fall_s > self._settings.fuel_window_s:
            self._first_fall_s = at_s
        self._last_fall_s = at_s
        return at_s - self._first_fall_s >= self._settings.fuel_hold_s
