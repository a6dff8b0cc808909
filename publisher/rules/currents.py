"""The battery's mean current since its last step, and its typical load and charging current."""

from publisher.config.battery import BatterySettings
from publisher.rules.charge_state import Charge

#: The mean looks back over this time at most, and is reported from the shorter one on.
MEAN_S, SHORTEST_MEAN_S = 3600.0, 20.0
#: The present current is smoothed over this time.
PRESENT_S = 10.0
#: The current has made a step when it has been beside the mean for STEP_HOLD_S, by SWINGS times the usual
#: deviation and by STEP_SHARE of the mean. A step makes the usual deviation larger, by a part of itself: what
#: steps often is no step.
STEP_HOLD_S, SWINGS, STEP_SHARE, SWING_PART = 20.0, 3.0, 0.1, 0.125
#: The usual deviation looks back over this time.
SWING_S = 1800.0
#: The typical load and charging current look back over this much time with a load or a charge that has
#: lasted for STEADY_S.
TYPICAL_S, STEADY_S = 6 * 3600.0, 60.0


class Currents:
    """Means of the current, positive while charging. Their state is in the `Charge` and survives with it.

    The mean is net: a current that changes its sign within seconds has one, too. It looks back to the last
    step of the current, so it follows a step within half a minute, and smooths what varies all the time.
    """

    def __init__(self, battery: BatterySettings, charge: Charge) -> None:
        """Continue from `charge`."""
        self._charge = charge
        self._nameplate_ah = battery.capacity_ah or 0.0
        self._idle_a = battery.idle_a
        self._tail_a = battery.tail_a
        self._present_a: float | None = None
        self._beside_s = self._beside_as = 0.0  # time beside the mean, and what has flowed in it

    def apply(self, current_a: float, step_s: float) -> None:
        """Add a current that has flowed for `step_s`."""
        charge = self._charge
        self._present_a = smooth(self._present_a, current_a, step_s / PRESENT_S)
        if charge.mean_s:
            off_a = self._present_a - self.mean_a
            least_a = max(SWINGS * charge.swing_a, STEP_SHARE * charge.mean_a, self._idle_a)
            charge.swing_a += (abs(off_a) - charge.swing_a) * min(1.0, step_s / SWING_S)
            if abs(off_a) > least_a:
                self._beside_s += step_s
                self._beside_as += current_a * step_s
            else:
                self._beside_s = self._beside_as = 0.0
        charge.mean_s = min(MEAN_S, charge.mean_s + step_s)
        known = charge.mean_s > 0
        self._set_mean(
            smooth(self.mean_a if known else None, current_a, step_s / (charge.mean_s or 1.0))
        )
        if self._beside_s >= STEP_HOLD_S:
            stepped_a = self._beside_as / self._beside_s
            charge.swing_a += SWING_PART * abs(stepped_a - self.mean_a)
            self._set_mean(stepped_a)
            charge.mean_s, self._beside_s, self._beside_as = self._beside_s, 0.0, 0.0
        if charge.mean_s < STEADY_S or self._beside_s:
            return
        if charge.charging and charge.mean_a > self._tail_a:
            charge.charge_a = smooth(charge.charge_a, charge.mean_a, step_s / TYPICAL_S)
        elif not charge.charging and charge.mean_a > self._idle_a:
            charge.load_a = smooth(charge.load_a, charge.mean_a, step_s / TYPICAL_S)

    def _set_mean(self, mean_a: float) -> None:
        self._charge.mean_a, self._charge.charging = abs(mean_a), mean_a > 0

    @property
    def mean_a(self) -> float:
        """The mean current, positive while charging."""
        return self._charge.mean_a if self._charge.charging else -self._charge.mean_a

    @property
    def mean_load_a(self) -> float | None:
        """The mean current out of the battery; None before there is one, and while none flows."""
        charge = self._charge
        if charge.charging or charge.mean_s < SHORTEST_MEAN_S or charge.mean_a < self._idle_a:
            return None
        return charge.mean_a

    @property
    def unsure_a(self) -> float:
        """How much larger than the mean load a load that lasts may be: half of its usual swing."""
        return self._charge.swing_a / 2

    @property
    def typical_charge_a(self) -> float:
        """The typical charging current; an assumption before one is known."""
        return self._charge.charge_a or self._nameplate_ah / 5

    @property
    def typical_load_a(self) -> float | None:
        """The typical load; None before one is known."""
        return self._charge.load_a


def smooth(value: float | None, target: float, part: float) -> float:
    """Return `value` moved by a part (0 to 1) of its distance to `target`; `target` at first."""
    return target if value is None else value + (target - value) * min(1.0, part)
