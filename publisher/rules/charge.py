"""The battery's charge from its current and voltage, and how far that can be wrong.

Ampere-hours are counted. The count is corrected where the battery shows its charge: when it is full,
at its low-voltage floor, or where a voltage rules something out. The size of the corrections teaches
the capacity.
"""

import math
from dataclasses import fields

from publisher.config.battery import BatterySettings
from publisher.rules.charge_state import Charge
from publisher.rules.currents import MEAN_S, Currents
from publisher.rules.end_of_charge import EndOfCharge
from publisher.rules.gaps import LONGEST_STEP_S, Gap, Gaps
from publisher.rules.level import (
    KNOWN_SIGMA,
    LARGEST_SHARE,
    SHARE_SIGMA,
    SIGMAS,
    SMALLEST_SHARE,
    SMALLEST_SIGMA,
    UNKNOWN_SIGMA,
    Level,
)
from publisher.rules.voltage import Voltage

#: Largest possible current, as a multiple of the capacity an hour.
LARGEST_C = 50
#: Standard deviations below the mean that 19 of 20 cases exceed.
ONE_SIDED = 1.65
#: Lowest and highest possible voltage, as factors of the nominal one.
LOWEST_V_SHARE, HIGHEST_V_SHARE = 0.75, 1.4
#: A voltage below this factor of the nominal one is that of a battery that is cut off.
GONE_V_SHARE = 0.5


class Estimator:
    """The charge of one battery. Its state is in the given `Charge`.

    Without a capacity the charge stays unknown.
    """

    def __init__(self, battery: BatterySettings, charge: Charge) -> None:
        """Continue from `charge`, without impossible values and those of another battery."""
        _repair(charge, battery)
        self._battery = battery
        self._charge = charge
        self._nameplate_ah = battery.capacity_ah or 0.0
        self._idle_a = battery.idle_a
        self._tail_a = battery.tail_a
        self._charged_v = battery.effective("charged_v")
        self._floor = battery.effective("floor_pct") / 100
        self._level = Level(battery, charge)
        self._currents = Currents(battery, charge)
        self._gaps = Gaps(battery, charge, self._level, self._currents)
        self._end = EndOfCharge(battery, charge)
        self._voltage = Voltage(battery, charge, self._level)
        self._at_s: float | None = None
        self._current_a: float | None = None  # None in a gap
        self._is_full = False
        #: Whether a full charge was observed since the unit started.
        self.synchronised = False

    # Input

    def resume(self, on_s: float, off_s: float | None) -> None:
        """Note a time without measurements: `on_s` seconds with power, and `off_s` without.

        `off_s` is None if no clock has measured it; `tell_off` takes it when it is known. The charge that
        may have flowed is bounded by the currents before and after, and by the typical load and charging
        current.
        """
        self._gaps.resume(on_s, off_s)
        self._age(on_s + (off_s or 0.0))

    def tell_off(self, off_s: float) -> None:
        """Note that the unit was off for `off_s` seconds where that was not known."""
        if self._gaps.tell_off(off_s):
            self._age(off_s)

    def _age(self, passed_s: float) -> None:
        if self._charge.since_full_s is not None:
            self._charge.since_full_s += passed_s

    def apply(
        self,
        current_a: float | None,
        voltage_v: float | None,
        at_s: float,
        cell_max_v: float | None = None,
    ) -> None:
        """Apply the measurements of the monotonic second `at_s`; None for those not measured.

        The current is positive while charging. `cell_max_v` is the voltage of the highest cell.
        """
        if not self._nameplate_ah:
            return
        charge = self._charge
        step_s = 0.0 if self._at_s is None else max(0.0, at_s - self._at_s)
        self._at_s = at_s if self._at_s is None else max(at_s, self._at_s)
        self._age(step_s)
        if current_a is None or not abs(current_a) <= LARGEST_C * self._nameplate_ah:
            if self._gaps.lengthen(step_s):
                self._interrupt()
            return
        is_gone = voltage_v is not None and 0 <= voltage_v < GONE_V_SHARE * self._battery.nominal_v
        voltage_v = self._possible(voltage_v)
        if abs(current_a) < self._battery.dead_band_a:
            current_a = 0.0
        step_s = self._count(current_a, voltage_v, step_s + charge.blind_s)
        self._currents.apply(current_a, step_s)
        self._current_a = current_a
        if not self._level.is_known and voltage_v is not None:
            self._level.begin()
        if current_a > self._tail_a:
            charge.low_told = False  # from here on it may reach the floor again
        if self._end.apply(current_a, voltage_v, cell_max_v, at_s, step_s):
            self._set_full()
            return
        self._is_full = False
        if not self._level.is_known:
            return
        if voltage_v is not None:
            self._voltage.apply(current_a, voltage_v, step_s)
        else:
            if is_gone and abs(current_a) <= self._idle_a:
                self._voltage.lose()
            self._voltage.interrupt()

    def _possible(self, voltage_v: float | None) -> float | None:
        """Return a voltage if this battery can have it, else None."""
        if voltage_v is None:
            return None
        share = voltage_v / self._battery.nominal_v
        return voltage_v if LOWEST_V_SHARE < share < HIGHEST_V_SHARE else None

    def _count(self, current_a: float, voltage_v: float | None, step_s: float) -> float:
        """Count the time since the last current; return the number of seconds counted."""
        if self._current_a is not None and step_s <= LONGEST_STEP_S:
            self._level.count(current_a, step_s)
        else:
            self._interrupt()
            if abs(current_a) <= self._idle_a and (voltage_v or 0.0) >= self._charged_v:
                # A charger is connected and has finished.
                current_a = self._currents.typical_charge_a
            if self._gaps.end(step_s, current_a):
                self._end.ripen()
            step_s = 0.0
        self._gaps.close()
        return step_s

    def _interrupt(self) -> None:
        self._current_a = None
        self._end.interrupt()
        self._voltage.interrupt()

    def _set_full(self) -> None:
        self._level.set_full(again=self._is_full)
        self._gaps.forget()
        self._charge.since_full_s, self._charge.low_told = 0.0, False
        self.synchronised = self._is_full = True

    # Output

    @property
    def charge_pct(self) -> float | None:
        """The charge in percent; None before anything is known."""
        found = self._outlook()
        return None if found is None else round(100 * found[0], 2)

    @property
    def uncertainty_pct(self) -> float | None:
        """The error of the charge in points that is not exceeded in 95 % of cases."""
        found = self._outlook()
        if found is None:
            return None
        level, sigma = found
        return round(100 * min(SIGMAS * sigma, max(level, 1 - level)), 2)

    @property
    def time_to_empty_min(self) -> float | None:
        """Minutes until it is empty at the mean load since the load's last step.

        None while charging, at rest, in a gap, and before there is a mean.
        """
        return self.minutes_at(self.load_a)

    @property
    def time_to_empty_min_low(self) -> float | None:
        """Minutes for which it lasts in 19 of 20 cases: until `floor_pct`, see `minutes_at_low`."""
        load_a = self.load_a
        return self.minutes_at_low(None if load_a is None else load_a + self._currents.unsure_a)

    @property
    def load_a(self) -> float | None:
        """The mean net current out of the battery since the load's last step.

        None while charging, at rest, in a gap, and before there is a mean.
        """
        return None if self._current_a is None else self._currents.mean_load_a

    @property
    def usable_ah(self) -> tuple[float, float] | None:
        """Ampere-hours left, and the least left above `floor_pct` in 19 of 20 cases.

        They are given up to the rated current; `rate_factor` says how much more a larger one takes.
        None before anything is known.
        """
        found = self._outlook()
        if found is None:
            return None
        level, sigma = found
        least = max(0.0, level - ONE_SIDED * sigma - self._floor)
        return level * self.capacity_ah, least * self._level.least_capacity_ah(ONE_SIDED)

    def minutes_at(self, load_a: float | None) -> float | None:
        """Return the minutes for which it carries a load; None where either is unknown."""
        return self._minutes(load_a, 0)

    def minutes_at_low(self, load_a: float | None) -> float | None:
        """Return the minutes for which it carries a load in 19 of 20 cases."""
        return self._minutes(load_a, 1)

    def _minutes(self, load_a: float | None, which: int) -> float | None:
        usable_ah = self.usable_ah
        if usable_ah is None or not load_a:
            return None
        return round(60 * usable_ah[which] / (load_a * self.rate_factor(load_a)), 1)

    def rate_factor(self, load_a: float) -> float:
        """Return how much more a load takes than its ampere-hours (Peukert); 1 up to the rated current."""
        return self._level.rate_factor(load_a)

    @property
    def capacity_ah(self) -> float:
        """The capacity as learned so far; 0 where no nameplate is given."""
        return self._level.capacity_ah

    @property
    def rated_hours(self) -> float:
        """Hours of a discharge to which `capacity_ah` refers; a quicker one gives less (Peukert)."""
        return self._battery.effective("rated_hours")

    @property
    def since_full_s(self) -> float | None:
        """Seconds since it was last full, without gaps of unknown length; None if it never was."""
        return self._charge.since_full_s

    @property
    def gap(self) -> Gap | None:
        """The last time without a current since it was full."""
        return self._gaps.last

    def _outlook(self) -> tuple[float, float] | None:
        """Return level and standard deviation, including a present gap."""
        if not self._level.is_known:
            return None
        moved_ah, bound_ah = self._gaps.unseen()
        level = self._level.value + moved_ah / self.capacity_ah
        var = self._level.variance + self._level.spread(bound_ah)
        return min(1.0, max(0.0, level)), math.sqrt(var)


def _repair(charge: Charge, battery: BatterySettings) -> None:
    """Reset impossible values to their defaults, and all values if they are another battery's."""
    fresh = Charge(battery=f"{battery.chemistry} {battery.capacity_ah or 0:g} Ah")
    nameplate_ah = battery.capacity_ah or 1.0
    amperes = (0.0, LARGEST_C * nameplate_ah)
    limits = {
        "level": (0.0, 1.2),
        "capacity_ah": (SMALLEST_SHARE * nameplate_ah, LARGEST_SHARE * nameplate_ah),
        "level_var": (SMALLEST_SIGMA**2, 1.0),
        "share_var": (KNOWN_SIGMA**2, 1.0),
        "mean_s": (0.0, MEAN_S),
        "mean_a": amperes,
        "load_a": amperes,
        "charge_a": amperes,
        "swing_a": amperes,
        "guess_a": amperes,
        "guess_swing_a": amperes,
        "guess_s": (0.0, 10 * battery.longest_gap_s),
        "guess_bound_ah": (0.0, 10 * nameplate_ah),
        "guess_left": (0.0, 1.0),
        "usual_off_s": (0.0, battery.longest_gap_s),
    }
    same = charge.battery == fresh.battery
    for name in (field.name for field in fields(Charge)):
        value = getattr(charge, name)
        low, high = limits.get(name, (0.0, 1e12))
        if not same or (isinstance(value, int | float) and not low <= value <= high):
            setattr(charge, name, getattr(fresh, name))
    if charge.capacity_ah is None or not charge.share_var:
        charge.capacity_ah, charge.share_var = None, SHARE_SIGMA**2
    if charge.level is None or not charge.level_var:
        charge.level_var = UNKNOWN_SIGMA**2
    if charge.shared**2 > charge.level_var * charge.share_var:
        charge.shared = 0.0
