"""What the battery's voltage says of its charge: bounds of it, and the low-voltage floor."""

import math
from bisect import bisect_right
from collections.abc import Sequence

from publisher.config.battery import NO_MOST, BatterySettings
from publisher.rules.charge_state import Charge
from publisher.rules.currents import smooth
from publisher.rules.level import Level

#: The time over which the voltage is smoothed, and the time between two uses of its bounds.
SMOOTH_S, BOUNDS_S = 60.0, 60.0
#: A voltage this far above the floor or lower, of a 12 V battery, may collapse within a minute.
COLLAPSE_V = 0.6
#: A load that ends after this time at the floor has been cut off.
SUNK_S = 20.0
#: How much less certain the floor is under a load beyond the moderate one, for each C.
FLOOR_DOUBT = 4.0
#: Time for which the voltage recovers after a larger load.
RECOVERY_S = 300.0
#: Time at rest after which the voltage tells the charge, and how exactly.
REST_S, REST_BOUND = 4 * 3600.0, 0.12


class Voltage:
    """Corrects a battery's level by what its voltage rules out."""

    def __init__(self, battery: BatterySettings, charge: Charge, level: Level) -> None:
        """Continue from `charge`."""
        self._charge = charge
        self._level = level
        self._kind = battery.kind
        self._nameplate_ah = battery.capacity_ah or 0.0
        self._scale = battery.nominal_v / 12
        self._hold_s = battery.full_hold_s
        self._idle_a = battery.idle_a
        self._calm_a = battery.kind.calm_c * self._nameplate_ah
        self._charged_v = battery.effective("charged_v")
        self._floor_v = battery.effective("floor_v")
        self._floor = battery.effective("floor_pct") / 100
        self._smooth_v: float | None = None
        self._smooth_a: float | None = None
        self._sunk_s = 0.0  # time at the floor up to now
        self._calm_s = self._rest_s = self._low_s = self._high_s = self._bounds_s = 0.0

    def apply(self, current_a: float, voltage_v: float, step_s: float) -> None:
        """Take current (positive while charging) and voltage, `step_s` after the last ones.

        Whether the battery is charged is a matter of the net current: it may change its sign within seconds.
        """
        part = step_s / (SMOOTH_S + step_s)
        if self._sunk_s >= SUNK_S and abs(current_a) <= self._idle_a:
            self._cut_off()
        sunk = current_a < -self._idle_a and self._eased_v(current_a, voltage_v) <= self._floor_v
        self._sunk_s = self._sunk_s + step_s if sunk else 0.0
        self._smooth_v = smooth(self._smooth_v, voltage_v, part)
        self._smooth_a = smooth(self._smooth_a, current_a, part)
        if self._smooth_a > self._idle_a:
            self._judge_charging(current_a, voltage_v, step_s)
        else:
            self._judge_floor(self._smooth_a, self._smooth_v, step_s)
            self._judge_calm(self._smooth_a, self._smooth_v, step_s)

    def lose(self) -> None:
        """Note that the voltage is gone: if it was low, a protection has cut the empty battery off."""
        if self._smooth_v is None or self._smooth_a is None:
            return
        eased_v = self._eased_v(self._smooth_a, self._smooth_v)
        if eased_v <= self._floor_v + COLLAPSE_V * self._scale:
            self._cut_off()

    def _cut_off(self) -> None:
        """Use that a load on a battery at its floor has ended at once: it gives no more."""
        if not self._charge.low_told and self._smooth_a is not None:
            self._tell_low(self._smooth_a, self._floor / 2)

    def interrupt(self) -> None:
        """Forget what only an unbroken series of readings shows."""
        self._smooth_v = self._smooth_a = None
        self._sunk_s = 0.0
        self._calm_s = self._rest_s = self._low_s = self._high_s = 0.0

    def _judge_charging(self, current_a: float, voltage_v: float, step_s: float) -> None:
        """Use that a battery that takes little current at a high voltage is nearly full."""
        self._calm_s = self._rest_s = self._low_s = 0.0
        ending = current_a > self._idle_a and voltage_v >= self._charged_v
        self._high_s = self._high_s + step_s if ending else 0.0
        if self._high_s >= self._hold_s:
            self._high_s = 0.0
            least_a = max(current_a, self._smooth_a or 0.0)
            least = _interpolate(self._kind.ending, least_a / self._nameplate_ah)
            self._level.confine(least, NO_MOST)

    def _judge_floor(self, current_a: float, smooth_v: float, step_s: float) -> None:
        """Use that a battery at its floor is practically empty; a load makes it less certain."""
        low = self._eased_v(current_a, smooth_v) <= self._floor_v
        self._low_s = self._low_s + step_s if low else 0.0
        if self._low_s >= SMOOTH_S and not self._charge.low_told:
            self._tell_low(current_a, self._floor)

    def _eased_v(self, current_a: float, smooth_v: float) -> float:
        drop_v = -current_a * self._kind.floor_ohm_ah / self._nameplate_ah * self._scale
        return smooth_v + max(0.0, drop_v)

    def _tell_low(self, current_a: float, level: float) -> None:
        self._charge.low_told = True
        beyond_c = max(0.0, -current_a - self._calm_a) / self._nameplate_ah
        sigma = self._kind.floor_sigma * (1 + FLOOR_DOUBT * beyond_c)
        self._level.measure(level, sigma**2)

    def _judge_calm(self, current_a: float, smooth_v: float, step_s: float) -> None:
        """Use what the voltage rules out at rest and under a moderate load."""
        kind = self._kind
        self._high_s = 0.0
        rests, calm = current_a >= -self._idle_a, current_a >= -self._calm_a
        self._rest_s = self._rest_s + step_s if rests else 0.0
        self._calm_s = (
            self._calm_s + step_s if calm else min(self._calm_s, kind.calm_s - RECOVERY_S)
        )
        self._bounds_s += step_s
        if self._bounds_s < BOUNDS_S or self._calm_s < kind.calm_s:
            return
        self._bounds_s = 0.0
        volts = smooth_v / self._scale
        eased_v = volts - current_a * kind.ohm_ah / self._nameplate_ah
        least, most = _interpolate(kind.least, volts), _interpolate(kind.most, eased_v)
        self._level.confine(least, most)
        if kind.rest and self._rest_s >= REST_S:
            level = _interpolate(kind.rest, volts)
            self._level.confine(level - REST_BOUND, level + REST_BOUND)


def _interpolate(curve: Sequence[tuple[float, float]], x: float) -> float:
    """Return the value of a piecewise linear curve at `x`; beyond its ends, the value at the end."""
    place = bisect_right(curve, (x, math.inf))
    if place in (0, len(curve)):
        return curve[max(0, place - 1)][1]
    (x0, y0), (x1, y1) = curve[place - 1 : place + 1]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
