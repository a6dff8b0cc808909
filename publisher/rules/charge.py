"""How full the battery is, from its current and its voltage, and how far that can be wrong.

Ampere-hours are counted, and set right where the battery shows where it stands: full, at its
low-voltage floor, or where a voltage rules something out. How far the count was off then teaches the
capacity: it is a Kalman filter of two numbers, charge and capacity. What a sensor's offset and the
losses of charging can have done since the last correction is not estimated, but is part of the
uncertainty. A gain error needs no care: the capacity is learned in the ampere-hours of the same sensor.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from publisher.config.battery import CHEMISTRIES, NO_MOST, Battery

#: The uncertainty that is told is twice the standard deviation: the truth is inside 95 % of the time.
SIGMAS = 2.0
#: A battery is taken to hold this share of its nameplate until it is learned (a real pack of 90 Ah
#: held 82), give or take a standard deviation. Shares outside the limits are not learned.
ASSUMED_SHARE, SHARE_SIGMA = 0.94, 0.055
SMALLEST_SHARE, LARGEST_SHARE = 0.4, 1.25
#: A capacity is never known better than this, and less every day: warmth and age change it.
KNOWN_SIGMA, DAILY_SIGMA = 0.02, 0.01
#: Standard deviation of a capacity that does not fit what the battery shows, at most.
DOUBTED_SIGMA = 0.5
#: Standard deviation of the sensor's offset: 83 mA is an INA219's worst on 1.5 mΩ.
OFFSET_SIGMA_A = 0.05
#: Standard deviation of a charge of which nothing is known, and the smallest that is believed.
UNKNOWN_SIGMA, SMALLEST_SIGMA = 0.29, 0.003
#: A level is vague from here on: that it runs over says where it was, not what the battery holds.
VAGUE_SIGMA = 0.1
#: A current stands for the time since the one before; a longer time is a gap.
LONGEST_STEP_S = 60.0
#: The current's mean looks back so far, and is told from so much on.
MEAN_S, SHORTEST_MEAN_S = 720.0, 180.0
#: The typical load and charge look back over so much time with a load or a charge.
TYPICAL_S = 6 * 3600.0
#: A gap of this length may have hidden a whole charge or blackout; while it lasts, a shorter one.
HIDING_H, HIDING_YET_H = 16.0, 2.0
#: A protection has ended the charge when no current has flowed for so long, after so many readings
#: with a high voltage: one proves nothing.
CUT_OFF_HOLD_S, RIPE_READINGS = 10.0, 3
#: The highest cell of a LiFePO4 battery at which a protection ends the charge, in volts.
FULL_CELL_V = 3.60
#: So much below `charged_v` a 12 V battery's voltage may be when a protection ends the charge, one
#: cell being full before the others, and soon after that. At rest only a full one has as much.
RIPE_BELOW_V = 0.2
#: The voltage is smoothed over this time, and asked this often what it rules out.
SMOOTH_S, HINT_S = 60.0, 60.0
#: After a larger load the voltage recovers for so long.
RECOVERY_S = 300.0
#: A voltage at rest tells after so long, and so exactly.
REST_S, REST_BOUND = 4 * 3600.0, 0.12
#: How exact the bounds are that a voltage sets.
BOUND_SIGMA = 0.05


@dataclass(slots=True)
class Charge:
    """What is known of the battery and survives a power cut; no number is negative.

    `level` is the charge as a share of the capacity. `level_var`, `share_var` and `shared` are the
    covariance of `level` and of nameplate over capacity; `shared` is negative where `opposed`.
    """

    battery: str = ""  # which one all this is about
    level: float | None = None
    capacity_ah: float | None = None  # as learned, in ampere-hours of the sensor
    level_var: float = 0.0
    share_var: float = 0.0
    shared: float = 0.0
    opposed: bool = False
    drifted: float = 0.0  # by how much an ampere of offset has moved `level` since it was set right
    charged: float = 0.0  # what was charged since then, as a share of the capacity
    since_full_s: float | None = None
    charging: bool = False
    mean_a: float = 0.0  # into the battery while charging, else out of it
    mean_s: float = 0.0  # how far back it looks
    load_a: float | None = None  # typical
    charge_a: float | None = None  # typical
    off_s: float | None = None  # typical time for which the unit is off
    ripe: int = 0  # readings of charge at a voltage at which it may end, one after the other
    low_told: bool = False  # the floor was reached since the last charge
    blind_s: float = 0.0  # without a current, and not accounted for
    blind_longer: bool = False  # … and for a time on top that nobody knows


class Gap(NamedTuple):
    """A time without a current, and what is taken to have happened in it.

    `off_s` is None where nobody knows how long it was. The charge is taken to have moved by
    `moved_pct` points, and this to be at most `bound_pct` wrong.
    """

    off_s: float | None
    moved_pct: float
    bound_pct: float


class _Guess(NamedTuple):
    """A gap of unknown length as it was accounted for; `weight` is what is left of that."""

    before_a: float
    after_a: float
    blind_s: float
    moved_ah: float
    bound_ah: float
    weight: float = 1.0


class Estimator:
    """The charge of one battery; keeps what it knows in `charge`.

    With no capacity given it knows nothing, whatever it is told.
    """

    def __init__(self, battery: Battery, charge: Charge) -> None:
        """Go on from `charge`; what cannot be, or is about another battery, is forgotten."""
        self._battery = battery
        self._charge = charge
        _mend(charge, battery)
        kind = self._kind = CHEMISTRIES[battery.chemistry or "lifepo4"]
        nameplate_ah = self._nameplate_ah = battery.capacity_ah or 0.0
        self._share = 1 / ASSUMED_SHARE  # nameplate over capacity
        if charge.capacity_ah is not None:
            self._share = nameplate_ah / charge.capacity_ah
        self._scale = battery.nominal_v / 12
        self._efficiency = battery.effective("efficiency")
        self._peukert = battery.effective("peukert")
        self._rated_a = nameplate_ah / battery.effective("rated_hours")
        self._charged_v = battery.effective("charged_v")
        self._floor_v = battery.effective("floor_v")
        self._floor = battery.effective("floor_pct") / 100
        self._tail_a = nameplate_ah * battery.tail_pct / 100
        self._idle_a = max(2 * battery.dead_band_a, 0.0015 * nameplate_ah)
        self._calm_a = kind.calm_c * nameplate_ah

        self.synchronised = False  # seen full since the unit began
        self.gap: Gap | None = None  # the last one since it was full
        self._at_s: float | None = None
        self._current_a: float | None = None  # None in a gap
        self._full = False
        self._real_s: float | None = None  # when a real charging current last flowed
        self._tail_s = self._cut_s = 0.0
        self._tops = 0  # readings of charge with a cell at its top, one after the other
        self._smooth_v: float | None = None
        self._calm_s = self._rest_s = self._low_s = self._high_s = self._hint_s = 0.0
        self._off_known = self._off_awaited = False
        self._guess: _Guess | None = None

    # What comes in

    def resume(self, off_s: float | None) -> None:
        """Take note that the unit was off for `off_s` seconds since `charge` was saved.

        None where no clock tells; call again when one does. What has flowed is bounded by the
        currents before and after, by the typical load and charge, and by `longest_gap_s`.
        """
        charge = self._charge
        if self._off_known:
            return
        if off_s is None or not 0 <= off_s < math.inf:
            self._off_awaited = charge.blind_longer = True
            return
        self._off_known = True
        longest_s = self._battery.longest_gap_s
        usual_s = longest_s / 4 if charge.off_s is None else charge.off_s
        charge.off_s = usual_s + 0.2 * (min(off_s, longest_s) - usual_s)
        if not self._off_awaited:
            charge.blind_s += off_s
        elif charge.blind_longer:
            charge.blind_s, charge.blind_longer = charge.blind_s + off_s, False
        elif self._guess is not None:
            self._correct(self._guess, off_s)
            self._guess = None
        else:
            return  # it has been full since, or anything was possible anyway
        if charge.since_full_s is not None:
            charge.since_full_s += off_s

    def apply(
        self,
        current_a: float | None,
        voltage_v: float | None,
        at_s: float,
        cell_max_v: float | None = None,
    ) -> None:
        """Take what was measured at the monotonic second `at_s`; None is what was not.

        The current is positive while charging; `cell_max_v` is the voltage of the highest cell.
        """
        if not self._nameplate_ah:
            return
        charge = self._charge
        step_s = 0.0 if self._at_s is None else max(0.0, at_s - self._at_s)
        self._at_s = at_s if self._at_s is None else max(at_s, self._at_s)
        if charge.since_full_s is not None:
            charge.since_full_s += step_s
        if current_a is None or not abs(current_a) <= 50 * self._nameplate_ah:
            charge.blind_s += step_s
            if charge.blind_s > LONGEST_STEP_S:
                self._interrupt()
            return
        if voltage_v is not None and not 0.75 < voltage_v / self._battery.nominal_v < 1.4:
            voltage_v = None  # whatever that is, it is not this battery's
        if abs(current_a) < self._battery.dead_band_a:
            current_a = 0.0
        step_s += charge.blind_s
        if self._current_a is None or step_s > LONGEST_STEP_S:
            charge.blind_s = step_s
            self._interrupt()
            self._bridge(current_a, voltage_v)
            step_s = 0.0
        else:
            self._count(current_a, step_s)
        charge.blind_s, charge.blind_longer = 0.0, False
        self._average(current_a, step_s)
        self._current_a = current_a
        if charge.level is None and voltage_v is not None:
            charge.level, charge.level_var = 0.5, UNKNOWN_SIGMA**2
        if self._is_full(current_a, voltage_v, cell_max_v, at_s, step_s):
            self._set_full()
            return
        self._full = False
        if charge.level is not None and voltage_v is not None:
            if current_a > self._idle_a:
                self._listen_charging(voltage_v, step_s)
            else:
                self._listen_calm(current_a, voltage_v, step_s)

    # What goes out

    @property
    def charge_pct(self) -> float | None:
        """The charge in percent; None before anything is known."""
        found = self._outlook()
        return None if found is None else round(100 * found[0], 2)

    @property
    def uncertainty_pct(self) -> float | None:
        """By how many points the charge may be off; it is less in 95 % of cases."""
        found = self._outlook()
        if found is None:
            return None
        level, sigma = found
        return round(100 * min(SIGMAS * sigma, max(level, 1 - level)), 2)

    @property
    def time_to_empty_min(self) -> float | None:
        """Minutes to `floor_pct` at the mean load of the last minutes.

        None while charging, at rest, in a gap, and before there is a mean.
        """
        charge, found = self._charge, self._outlook()
        if found is None or self._current_a is None or self._current_a > self._idle_a:
            return None
        if charge.mean_s < SHORTEST_MEAN_S or charge.mean_a < self._idle_a:
            return None
        left_ah = max(0.0, found[0] - self._floor) * self.capacity_ah
        return round(60 * left_ah / (charge.mean_a * self._rate_factor(charge.mean_a)), 1)

    @property
    def capacity_ah(self) -> float:
        """The capacity that is counted with, as learned so far; 0 where none is given."""
        return self._nameplate_ah / self._share

    @property
    def since_full_s(self) -> float | None:
        """Seconds since it was last full, without gaps of unknown length; None where it never was."""
        return self._charge.since_full_s

    def _outlook(self) -> tuple[float, float] | None:
        """Return level and standard deviation, with what may be flowing unseen at the moment."""
        charge = self._charge
        if charge.level is None:
            return None
        level, var = charge.level, self._var()
        if charge.blind_s or charge.blind_longer:
            moved_ah, bound_ah = self._unseen(
                self._mean_a(), None, charge.blind_s, charge.blind_longer
            )
            level += moved_ah / self.capacity_ah
            var += (bound_ah / self.capacity_ah / SIGMAS) ** 2
        return min(1.0, max(0.0, level)), math.sqrt(var)

    # Counting

    def _count(self, current_a: float, step_s: float) -> None:
        charge, hours = self._charge, step_s / 3600
        if charge.level is not None:
            if current_a > 0:
                self._move(current_a * hours * self._efficiency)
            elif current_a < 0:
                self._move(current_a * hours * self._rate_factor(-current_a))
            charge.drifted += hours / self.capacity_ah
            if not 0 <= charge.level <= 1:
                self._overrun()
        aged_var = charge.share_var + DAILY_SIGMA**2 * hours / 24
        charge.share_var = min(max(SHARE_SIGMA**2, charge.share_var), aged_var)

    def _overrun(self) -> None:
        """See a battery give where nothing should be left, or take where it should be full."""
        level, total = self._charge.level, self._var()
        if total > VAGUE_SIGMA**2:
            self._confine(0.0, 1.0, learn=False)
        elif level is not None and level < 0:
            # It holds more than was thought, or was fuller. What it takes beyond full is often lost.
            self._settle(0.0, total, learn=total / (total + BOUND_SIGMA**2))

    def _rate_factor(self, load_a: float) -> float:
        """Return how much more a load takes than its ampere-hours (Peukert); 1 up to the rated one."""
        if load_a <= self._rated_a:
            return 1.0
        return float((load_a / self._rated_a) ** (self._peukert - 1))

    def _move(self, moved_ah: float) -> None:
        """Move the level, and with it what is not known of it."""
        charge = self._charge
        assert charge.level is not None
        part, shared = moved_ah / self._nameplate_ah, self._shared()
        var = charge.level_var + 2 * part * shared + part * part * charge.share_var
        charge.level_var = max(SMALLEST_SIGMA**2, var)
        self._share_out(shared + part * charge.share_var)
        step = part * self._share
        if step > 0:
            # Beyond full it counts on until it is full: so much more there was to be charged.
            charge.level = min(1.2, charge.level + step)
            charge.charged += step
        else:
            charge.level = min(1.0, charge.level) + step

    def _average(self, current_a: float, step_s: float) -> None:
        """Follow the mean current since the battery was last switched to charge, or from it."""
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
            charge.charge_a = _toward(charge.charge_a, charge.mean_a, step_s / TYPICAL_S)
        elif not charging and charge.mean_a > self._idle_a:
            charge.load_a = _toward(charge.load_a, charge.mean_a, step_s / TYPICAL_S)

    def _mean_a(self) -> float:
        """Return the mean current, positive while charging."""
        return self._charge.mean_a if self._charge.charging else -self._charge.mean_a

    def _charge_a(self) -> float:
        """Return the typical charging current, or a likely one."""
        return self._charge.charge_a or self._nameplate_ah / 5

    # What was not seen

    def _interrupt(self) -> None:
        """Forget what only an unbroken row of currents shows."""
        self._current_a = self._real_s = self._smooth_v = None
        self._tail_s = self._cut_s = 0.0
        self._tops = 0  # readings of charge with a cell at its top, one after the other
        self._calm_s = self._rest_s = self._low_s = self._high_s = 0.0

    def _unseen(
        self, before_a: float, after_a: float | None, blind_s: float, longer: bool
    ) -> tuple[float, float]:
        """Return the ampere-hours that have flowed in a gap, and how far off they may be.

        The current is taken for the mean of those before and after (the change may have come at any
        time); the load may have been another, and the longer the gap, the more of a whole charge or
        blackout may have hidden in it. A time that nobody knows is taken for the usual one.
        """
        charge = self._charge
        load_a = charge.load_a or self._nameplate_ah / 20
        charge_a = self._charge_a()
        last_a = before_a if after_a is None else after_a
        if after_a is not None and after_a < 0 and charge.load_a is not None:
            last_a = -charge.load_a  # a single load says less than the usual one
        mean_a, swing_a = (before_a + last_a) / 2, abs(last_a - before_a) / 2
        hours, spread_h = blind_s / 3600, 0.0
        if longer:
            longest_h = self._battery.longest_gap_s / 3600
            usual_h = longest_h / 4 if charge.off_s is None else charge.off_s / 3600
            hours += usual_h
            spread_h = min(1.5 * usual_h, longest_h)
        hiding_h = HIDING_YET_H if after_a is None else HIDING_H
        bound_a = swing_a + 0.25 * max(load_a, abs(mean_a))
        bound_a += (load_a + charge_a) * min(1.0, hours / hiding_h)
        moved_ah = mean_a * hours * (self._efficiency if mean_a > 0 else 1.0)
        return moved_ah, bound_a * hours + (abs(mean_a) + swing_a / 4) * spread_h

    def _bridge(self, after_a: float, voltage_v: float | None) -> None:
        """Account for the gap that ends with a current of `after_a`."""
        charge, longer = self._charge, self._charge.blind_longer
        if charge.level is None or not (charge.blind_s or longer):
            return
        if abs(after_a) <= self._idle_a and voltage_v is not None and voltage_v >= self._charged_v:
            after_a = self._charge_a()  # a charger is there, and has done its work
        before_a = self._mean_a()
        moved_ah, bound_ah = self._unseen(before_a, after_a, charge.blind_s, longer)
        if longer or charge.blind_s > LONGEST_STEP_S:
            self._tell_gap(None if longer else charge.blind_s, moved_ah, bound_ah)
        if bound_ah >= self.capacity_ah / 2:
            self._settle(0.5, UNKNOWN_SIGMA**2)
            return
        if longer:
            self._guess = _Guess(before_a, after_a, charge.blind_s, moved_ah, bound_ah)
        self._move(moved_ah)
        charge.level_var += (bound_ah / self.capacity_ah / SIGMAS) ** 2
        if charge.level + SIGMAS * math.sqrt(self._var()) >= self._kind.full:
            charge.ripe = RIPE_READINGS  # it may have become full unseen
        self._confine(0.0, 1.0, learn=False)

    def _correct(self, guess: _Guess, off_s: float) -> None:
        """Put what is now known of a gap in the place of what was guessed."""
        charge, blind_s = self._charge, guess.blind_s + off_s
        moved_ah, bound_ah = self._unseen(guess.before_a, guess.after_a, blind_s, False)
        self._tell_gap(blind_s, moved_ah, bound_ah)
        self._move(guess.weight * (moved_ah - guess.moved_ah))
        was, now = (
            (guess.weight * ah / self.capacity_ah / SIGMAS) ** 2
            for ah in (guess.bound_ah, bound_ah)
        )
        charge.level_var = max(self._kind.full_sigma**2, charge.level_var + now - was)
        self._confine(0.0, 1.0, learn=False)

    def _tell_gap(self, off_s: float | None, moved_ah: float, bound_ah: float) -> None:
        per_ah = 100 / self.capacity_ah
        off_s = None if off_s is None else round(off_s)
        self.gap = Gap(off_s, round(moved_ah * per_ah, 1), round(min(100, bound_ah * per_ah), 1))

    # What the battery shows

    def _is_full(
        self,
        current_a: float,
        voltage_v: float | None,
        cell_max_v: float | None,
        at_s: float,
        step_s: float,
    ) -> bool:
        """Say whether a charge has come to its end: by itself, or cut off by a protection.

        By itself: the voltage is high, and no more than the tail current has flowed for a while. Cut
        off: a real charging current has stopped at once, and the highest cell was at its top before,
        or the voltage was high before and stays so. A load that ends does neither, nor does a charger
        that is switched off earlier: the voltage falls.
        """
        charge, flows = self._charge, current_a > self._idle_a
        idle = abs(current_a) <= self._idle_a
        high = near = False
        if voltage_v is not None:
            high = voltage_v >= self._charged_v
            near = voltage_v >= self._charged_v - RIPE_BELOW_V * self._scale
        if flows and step_s > 0:
            top = cell_max_v is not None and FULL_CELL_V <= cell_max_v < 4.5
            self._tops = self._tops + 1 if top else 0
            charge.ripe = min(RIPE_READINGS, charge.ripe + 1) if near or top else 0
        elif not flows and not idle:
            self._tops = charge.ripe = 0
        ripe = charge.ripe >= RIPE_READINGS
        if current_a > self._tail_a:
            self._real_s, charge.low_told = at_s, False
        ending = high and ((idle and ripe) or (flows and current_a <= self._tail_a))
        self._tail_s = self._tail_s + step_s if ending else 0.0
        stopped = idle and ((ripe and near) or self._tops >= RIPE_READINGS)
        self._cut_s = self._cut_s + step_s if stopped else 0.0
        if self._tail_s >= self._battery.full_hold_s:
            return True
        if not self._kind.cut_off or self._real_s is None or self._cut_s < CUT_OFF_HOLD_S:
            return False
        return at_s - self._real_s <= self._cut_s + CUT_OFF_HOLD_S

    def _set_full(self) -> None:
        charge, kind = self._charge, self._kind
        if not self._full:
            if charge.level is not None:
                self._measure(kind.full, kind.full_sigma**2)
            charge.level = kind.full
        assert charge.level is not None
        charge.level = min(1.0, max(kind.full, charge.level))
        charge.level_var = kind.full_sigma**2
        charge.shared = charge.drifted = charge.charged = 0.0
        charge.since_full_s, charge.low_told = 0.0, False
        self.synchronised = self._full = True
        self.gap = self._guess = None

    def _listen_charging(self, voltage_v: float, step_s: float) -> None:
        """Hear that a battery takes little at a high voltage: it is nearly full."""
        self._smooth_v = None
        self._calm_s = self._rest_s = self._low_s = 0.0
        self._high_s = self._high_s + step_s if voltage_v >= self._charged_v else 0.0
        if self._high_s >= self._battery.full_hold_s:
            self._high_s = 0.0
            least = _on(self._kind.ending, self._charge.mean_a / self._nameplate_ah)
            self._confine(least, NO_MOST, learn=True)

    def _listen_calm(self, current_a: float, voltage_v: float, step_s: float) -> None:
        """Hear what the voltage rules out at rest and under a moderate load."""
        charge, kind = self._charge, self._kind
        self._high_s = 0.0
        self._smooth_v = _toward(self._smooth_v, voltage_v, step_s / (SMOOTH_S + step_s))
        rests, calm = current_a >= -self._idle_a, current_a >= -self._calm_a
        self._rest_s = self._rest_s + step_s if rests else 0.0
        self._calm_s = (
            self._calm_s + step_s if calm else min(self._calm_s, kind.calm_s - RECOVERY_S)
        )
        low = calm and self._smooth_v <= self._floor_v
        self._low_s = self._low_s + step_s if low else 0.0
        if self._low_s >= SMOOTH_S and not charge.low_told:
            charge.low_told = True
            self._measure(self._floor, kind.floor_sigma**2)
        self._hint_s += step_s
        if self._hint_s < HINT_S or self._calm_s < kind.calm_s:
            return
        self._hint_s = 0.0
        volts = self._smooth_v / self._scale
        eased_v = volts - current_a * kind.ohm_ah / self._nameplate_ah
        self._confine(_on(kind.least, volts), _on(kind.most, eased_v), learn=True)
        if kind.rest and self._rest_s >= REST_S:
            level = _on(kind.rest, volts)
            self._confine(level - REST_BOUND, level + REST_BOUND, learn=True)

    # What is learned from it

    def _var(self) -> float:
        """Return the variance of the level, with what offset and losses add to it."""
        charge = self._charge
        drift = charge.drifted * OFFSET_SIGMA_A
        loss = charge.charged * self._kind.efficiency_sigma
        return charge.level_var + drift * drift + loss * loss

    def _shared(self) -> float:
        """Return the covariance of level and share."""
        return -self._charge.shared if self._charge.opposed else self._charge.shared

    def _share_out(self, shared: float) -> None:
        self._charge.shared, self._charge.opposed = abs(shared), shared < 0

    def _measure(self, level: float, var: float) -> None:
        """Take the level that the battery shows, with its variance."""
        charge = self._charge
        assert charge.level is not None
        total, off = self._var(), level - charge.level
        gain = total / (total + var)
        if off * off <= 9 * (total + var):
            self._settle(charge.level + gain * off, gain * var, learn=1.0)
        else:
            # They cannot both be right. Where it is the capacity, the next time will teach it.
            self._settle(level, var)
            charge.share_var = min(DOUBTED_SIGMA**2, 4 * charge.share_var)

    def _confine(self, least: float, most: float, *, learn: bool) -> None:
        """Take bounds of the level: what they leave of its distribution is the new one."""
        charge, total = self._charge, self._var()
        assert charge.level is not None
        sigma = math.sqrt(total)
        low, high = (least - charge.level) / sigma, (most - charge.level) / sigma
        inside = _below(high) - _below(low)
        if inside > 0.9:
            return
        if inside < 0.02:
            # Something was wrong, and who knows how far.
            self._settle(least if low > 0 else most, max(total, BOUND_SIGMA**2))
            return
        # Mean and variance of a normal distribution that is cut off on both sides.
        shift = (_density(low) - _density(high)) / inside
        tails = (low * _density(low) if math.isfinite(low) else 0.0) - (
            high * _density(high) if math.isfinite(high) else 0.0
        )
        var = total * (1 + tails / inside - shift * shift)
        var = min(total, max(self._kind.full_sigma**2, var))
        self._settle(charge.level + sigma * shift, var, learn=float(learn))

    def _settle(self, level: float, var: float, *, learn: float = 0.0) -> None:
        """Set level and variance; learn from the difference what it says of the capacity.

        `learn` is the part of it that the capacity may be to blame for, 0 to 1.
        """
        charge, total = self._charge, self._var()
        assert charge.level is not None
        slope = self._shared() / total
        if learn and slope:
            share = self._share + learn * slope * (level - charge.level)
            self._share = min(1 / SMALLEST_SHARE, max(1 / LARGEST_SHARE, share))
            charge.capacity_ah = self.capacity_ah
            share_var = charge.share_var - slope * slope * (total - var)
            charge.share_var = max(KNOWN_SIGMA**2, share_var)
        self._share_out(slope * min(var, total))
        charge.level, charge.level_var = level, var
        charge.drifted = charge.charged = 0.0
        if self._guess is not None:
            weight = self._guess.weight * min(1.0, var / total)
            self._guess = self._guess._replace(weight=weight)


def _below(x: float) -> float:
    """Return how much of a standard normal distribution lies below `x`."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _toward(value: float | None, target: float, part: float) -> float:
    return target if value is None else value + (target - value) * min(1.0, part)


def _on(curve: Sequence[tuple[float, float]], x: float) -> float:
    """Return what a piecewise straight curve has at `x`; beyond its ends, what it has there."""
    place = bisect_right(curve, (x, math.inf))
    if place in (0, len(curve)):
        return curve[max(0, place - 1)][1]
    (x0, y0), (x1, y1) = curve[place - 1 : place + 1]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def _mend(charge: Charge, battery: Battery) -> None:
    """Put back to its default what cannot be, and all of it where it is about another battery."""
    fresh = Charge(battery=f"{battery.chemistry} {battery.capacity_ah or 0:g} Ah")
    nameplate_ah = battery.capacity_ah or 1.0
    amperes = (0.0, 50 * nameplate_ah)
    limits = {
        "level": (0.0, 1.2),
        "capacity_ah": (SMALLEST_SHARE * nameplate_ah, LARGEST_SHARE * nameplate_ah),
        "level_var": (SMALLEST_SIGMA**2, 1.0),
        "share_var": (KNOWN_SIGMA**2, 1.0),
        "mean_s": (0.0, MEAN_S),
        "mean_a": amperes,
        "load_a": amperes,
        "charge_a": amperes,
        "off_s": (0.0, battery.longest_gap_s),
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
