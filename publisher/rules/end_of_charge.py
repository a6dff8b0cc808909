"""The end of a charge: the moment at which a battery is known to be full."""

from publisher.config.battery import BatterySettings
from publisher.rules.charge_state import Charge

#: A protection has ended the charge when no current has flowed for this time, after this many
#: readings with a high voltage: one reading proves nothing.
CUT_OFF_HOLD_S, RIPE_READINGS = 10.0, 3
#: The voltage of the highest cell of a LiFePO4 battery at which a protection ends the charge, and a
#: voltage that no cell has.
FULL_CELL_V, IMPOSSIBLE_CELL_V = 3.60, 4.5
#: A protection may end the charge of a 12 V battery this many volts below `charged_v`, if one cell is full
#: first. Soon afterwards the voltage is still that high; at rest only a full battery has such a voltage.
RIPE_BELOW_V = 0.2


class EndOfCharge:
    """Detects the end of a charge: by itself, or cut off by a protection.

    By itself: the voltage is high, and for a while no more than the tail current has flowed. Cut off: a
    real charging current has stopped suddenly. Before that the highest cell was at its top, or the
    voltage was high and stays high. The end of a load shows neither. Nor does a charger that is switched
    off earlier: then the voltage falls.
    """

    def __init__(self, battery: BatterySettings, charge: Charge) -> None:
        """Continue from `charge`."""
        self._charge = charge
        self._cuts_off = battery.kind.cut_off
        self._hold_s = battery.full_hold_s
        self._idle_a = battery.idle_a
        self._tail_a = battery.tail_a
        self._charged_v = battery.effective("charged_v")
        self._ripe_v = self._charged_v - RIPE_BELOW_V * (battery.nominal_v / 12)
        self._real_s: float | None = None  # when a real charging current last flowed
        self._tail_s = self._cut_s = 0.0
        self._tops = 0  # consecutive readings of charge with a cell at its top

    def apply(
        self,
        current_a: float,
        voltage_v: float | None,
        cell_max_v: float | None,
        at_s: float,
        step_s: float,
    ) -> bool:
        """Apply the measurements at `at_s`, `step_s` after the last; return whether the battery is full."""
        charge, flows = self._charge, current_a > self._idle_a
        idle = abs(current_a) <= self._idle_a
        high = voltage_v is not None and voltage_v >= self._charged_v
        near = voltage_v is not None and voltage_v >= self._ripe_v
        if flows and step_s > 0:
            top = cell_max_v is not None and FULL_CELL_V <= cell_max_v < IMPOSSIBLE_CELL_V
            self._tops = self._tops + 1 if top else 0
            charge.ripe = min(RIPE_READINGS, charge.ripe + 1) if near or top else 0
        elif not flows and not idle:
            self._tops = charge.ripe = 0
        ripe = charge.ripe >= RIPE_READINGS
        if current_a > self._tail_a:
            self._real_s = at_s
        ending = high and ((idle and ripe) or (flows and current_a <= self._tail_a))
        self._tail_s = self._tail_s + step_s if ending else 0.0
        stopped = idle and ((ripe and near) or self._tops >= RIPE_READINGS)
        self._cut_s = self._cut_s + step_s if stopped else 0.0
        if self._tail_s >= self._hold_s:
            return True
        if not self._cuts_off or self._real_s is None or self._cut_s < CUT_OFF_HOLD_S:
            return False
        return at_s - self._real_s <= self._cut_s + CUT_OFF_HOLD_S

    def interrupt(self) -> None:
        """Forget conclusions that need an unbroken series of currents."""
        self._real_s = None
        self._tail_s = self._cut_s = 0.0
        self._tops = 0

    def ripen(self) -> None:
        """Note that a charge may be about to end: the battery may have become full unseen."""
        self._charge.ripe = RIPE_READINGS
