"""The battery's mean current, and its typical load and charging current."""

from publisher.config.battery import BatterySettings
from publisher.rules.charge_state import Charge

#: The mean looks back over this time, and is reported from the shorter one on.
MEAN_S, SHORTEST_MEAN_S = 720.0, 180.0
#: The typical load and charging current look back over this much time with a load or a charge.
TYPICAL_S = 6 * 3600.0


class Currents:
    """Means of the current. Their state is in the given `Charge` and survives with it."""

    def __init__(self, battery: BatterySettings, charge: Charge) -> None:
        """Continue from `charge`."""
        self._charge = charge
        self._nameplate_ah = battery.capacity_ah or 0.0
        self._idle_a = battery.idle_a
        self._tail_a = battery.tail_a

    def apply(self, current_a: float, step_s: float) -> None:
        """Add a current (positive while charging) that has flowed for `step_s`.

        The mean starts anew whenever charging starts or ends.
        """
        charge = self._charge
        charging = current_a > self._idle_a
        flow_a = current_a if charging else max(0.0, -current_a)
        if charging is not charge.charging:
            charge.charging, charge.mean_a, charge.mean_s = charging, flow_a, 0.0
        charge.mean_s = min(MEAN_S, charge.mean_s + step_s)
        if charge.mean_s:
            charge.mean_a += (flow_a - charge.mean_a) * min(1.0, step_s / charge.mean_s)
        else:
            charge.mean_a = flow_a
        if charge.mean_s < SHORTEST_MEAN_S:
            return
        if charging and charge.mean_a > self._tail_a:
            charge.charge_a = smooth(charge.charge_a, charge.mean_a, step_s / TYPICAL_S)
        elif not charging and charge.mean_a > self._idle_a:
            charge.load_a = smooth(charge.load_a, charge.mean_a, step_s / TYPICAL_S)

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
