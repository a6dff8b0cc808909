"""An engine that hunts: its frequency swings on and on under the same load."""

from collections import deque
from itertools import pairwise

from publisher.config.generator import GeneratorSettings
from publisher.rules.held import Held
from publisher.rules.load_steps import LEAST_CHANGE_W

#: So much of its power may change, by the swing of the voltage, while the load is the same.
SAME_LOAD = 0.10
#: The share of readings that must lie within the width of a swing; the rest may be dents by small motors.
INSIDE = 0.8
#: Fewer readings do not tell a width.
LEAST_READINGS = 10


#: Least number of times that a swing crosses its mean within `fuel_window_s`; a change of speed crosses
#: it once.
LEAST_CROSSINGS = 2


class Hunting:
    """Measures how wide the frequency swings, whatever the swing's period.

    Readings between two changes of load are compared with their own mean. So a load that is switched
    often is not seen as a swing, and a swing is seen between the switchings. The period does not matter,
    unless the meter's readings keep step with it.
    """

    def __init__(self, settings: GeneratorSettings) -> None:
        """Begin with nothing remembered."""
        self._settings = settings
        self._held = Held(settings.hunting_hold_s, 0.0)
        self._past: deque[tuple[float, float, int]] = deque()  # when, hertz, of which stretch
        self._stretch = 0
        self._powers: tuple[int, float] = (0, 0.0)  # of the stretch: how many, their mean
        self._quiet_until_s: float | None = None
        self._spacing_s = settings.fuel_window_s / 60
        self._crossings = 0
        #: Four fifths of the readings lie within this width; None while too few are known.
        self.width_hz: float | None = None

    def forget(self) -> None:
        """Clear the memory."""
        self._past.clear()
        self._powers = (0, 0.0)
        self._quiet_until_s = self.width_hz = None
        self._held.set(False)

    def apply(self, frequency_hz: float, power_w: float, at_s: float, *, disturbed: bool) -> bool:
        """Take a reading of the monotonic second `at_s`; return whether the engine hunts."""
        past = self._past
        number, mean_w = self._powers
        changed = number and abs(power_w - mean_w) > max(LEAST_CHANGE_W, SAME_LOAD * mean_w)
        if disturbed or changed:
            if changed or number:
                self._stretch += 1
                # The frequency may have been read a moment before the power.
                while past and at_s - past[-1][0] < 2:
                    past.pop()
            self._powers = (0, 0.0)
            if changed:
                self._quiet_until_s = at_s + self._settings.load_step_settle_s
        if self._quiet_until_s is not None and at_s >= self._quiet_until_s:
            self._quiet_until_s = None
        if disturbed or self._quiet_until_s is not None:
            return self._held.on
        number, mean_w = self._powers
        self._powers = (number + 1, mean_w + (power_w - mean_w) / (number + 1))
        if not past or at_s - past[-1][0] >= self._spacing_s:
            past.append((at_s, frequency_hz, self._stretch))
        while at_s - past[0][0] > self._settings.fuel_window_s:
            past.popleft()
        self._measure()
        wide = (
            self.width_hz is not None
            and self.width_hz > self._settings.hunting_hz
            and self._crossings >= LEAST_CROSSINGS
        )
        return self._held.apply(wide, not wide, at_s)

    def _measure(self) -> None:
        self.width_hz = None
        if len(self._past) < LEAST_READINGS:
            return
        sums: dict[int, tuple[float, int]] = {}
        for _, hz, stretch in self._past:
            total, number = sums.get(stretch, (0.0, 0))
            sums[stretch] = total + hz, number + 1
        means = {stretch: total / number for stretch, (total, number) in sums.items()}
        off = [(hz - means[stretch], stretch) for _, hz, stretch in self._past]
        self.width_hz = 2 * sorted(abs(hz) for hz, _ in off)[int(INSIDE * (len(off) - 1))]
        least_hz = self._settings.hunting_hz / 4
        sides = [(hz > 0, stretch) for hz, stretch in off if abs(hz) > least_hz]
        self._crossings = sum(a != b and s == t for (a, s), (b, t) in pairwise(sides))
