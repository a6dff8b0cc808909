"""Times without a current: how much charge may have flowed unseen, and how far that can be wrong.

Within one boot the uptime measures a gap. After a boot the time off is known once the time of day is.
Until then it counts as a usual one, and the uncertainty covers much longer ones; what was assumed is
kept, and replaced when the time is known.
"""

import math
from typing import NamedTuple

from publisher.config.battery import BatterySettings
from publisher.rules.charge_state import Charge
from publisher.rules.currents import Currents
from publisher.rules.level import SIGMAS, UNKNOWN_SIGMA, Level

#: A current stands for the time since the one before. A longer time is a gap.
LONGEST_STEP_S = 60.0
#: A gap of this length may have hidden a whole charge or blackout; while it lasts, a shorter one.
HIDING_H, HIDING_YET_H = 16.0, 2.0
#: Assumed time off, and the longest that the uncertainty covers, before usual ones are known: the
#: median and the end of lengths from half a minute to an hour, each order of magnitude as likely.
USUAL_OFF_S, LONG_OFF_S = 300.0, 3600.0
#: The uncertainty covers this many times the usual time off.
OFF_SPREAD = 3.0
#: A battery that feeds the unit may have been empty when the unit died, if this charge was possible then.
#: Its charge was then the first, give or take the standard deviation.
MAY_DIE, DEAD_LEVEL, DEAD_SIGMA = 0.1, 0.02, 0.03


class Gap(NamedTuple):
    """A time without a current, and the charge that is assumed to have flowed in it.

    `off_s` is None where its length is unknown. The charge has moved by `moved_pct` points, which is
    at most `bound_pct` points wrong.
    """

    off_s: float | None
    moved_pct: float
    bound_pct: float


class Gaps:
    """Accounts for gaps in a battery's level.

    What survives a power cut is in the `Charge` that it is given.
    """

    def __init__(
        self, battery: BatterySettings, charge: Charge, level: Level, currents: Currents
    ) -> None:
        """Continue from `charge`."""
        self._charge = charge
        self._level = level
        self._currents = currents
        self._nameplate_ah = battery.capacity_ah or 0.0
        self._longest_s = battery.longest_gap_s
        self._efficiency = battery.effective("efficiency")
        self._full = battery.kind.full
        self._feeds_unit = battery.feeds_unit
        #: The last gap since it was full.
        self.last: Gap | None = None
        self._seen_s = 0.0  # the part of `last` whose length was known at once

    def resume(self, on_s: float, off_s: float | None) -> None:
        """Note `on_s` seconds unwatched with power, and `off_s` without; None where not known yet."""
        charge = self._charge
        charge.blind_s += on_s
        if self._feeds_unit and off_s != 0:
            # The battery's load was cut off with the unit.
            self._judge_dead()
            return
        if off_s is None:
            charge.blind_longer = True
            return
        charge.blind_s += off_s
        if off_s:
            self._learn_usual(off_s)

    def tell_off(self, off_s: float) -> bool:
        """Note that the times off that were not known were `off_s` seconds in all.

        Return whether they came after the last full charge.
        """
        charge, level = self._charge, self._level
        if self._feeds_unit:
            return True
        self._learn_usual(off_s)
        if charge.blind_longer:
            charge.blind_longer = False
            charge.blind_s += max(0.0, off_s - charge.guess_s)
            charge.guess_s = charge.guess_bound_ah = 0.0
            return True
        if not charge.guess_s or not level.is_known:
            return False
        assumed_s, left = charge.guess_s, charge.guess_left
        mean_a = charge.guess_a if charge.guess_charging else -charge.guess_a
        load_a = self._currents.typical_load_a or self._nameplate_ah / 20
        moved_ah = self._moved(mean_a, (off_s - assumed_s) / 3600)
        bound_ah = self._bound(mean_a, charge.guess_swing_a, load_a, off_s / 3600, HIDING_H)
        level.move(left * moved_ah)
        level.blur_again(left * charge.guess_bound_ah, left * bound_ah)
        level.confine(0.0, 1.0)
        if self.last is not None and self.last.off_s is None:
            all_ah = self._moved(mean_a, off_s / 3600)
            self._note(self._seen_s + off_s, all_ah, bound_ah)
        charge.guess_s = charge.guess_bound_ah = 0.0
        return True

    def lengthen(self, step_s: float) -> bool:
        """Let time pass without a current; return whether this is a gap by now."""
        self._charge.blind_s += step_s
        return self._charge.blind_s > LONGEST_STEP_S

    def end(self, blind_s: float, after_a: float) -> bool:
        """Account for `blind_s` seconds that end with a current of `after_a`.

        Return whether the battery may have become full meanwhile.
        """
        charge, level = self._charge, self._level
        charge.blind_s = blind_s
        longer = charge.blind_longer
        if not level.is_known or not (charge.blind_s or longer):
            return False
        moved_ah, bound_ah = self._flow(after_a, blind_s)
        if longer:
            unseen_ah, unseen_bound_ah = self._flow_of_unknown(after_a)
            self._guess(unseen_bound_ah, after_a)
            moved_ah, bound_ah = moved_ah + unseen_ah, math.hypot(bound_ah, unseen_bound_ah)
        if longer or blind_s > LONGEST_STEP_S:
            self._seen_s = blind_s
            self._note(None if longer else blind_s, moved_ah, bound_ah)
        if not longer and bound_ah >= level.capacity_ah / 2:
            level.set_level(0.5, UNKNOWN_SIGMA**2)
            return False
        level.move(moved_ah)
        level.blur(bound_ah)
        may_be_full = level.value + SIGMAS * math.sqrt(level.variance) >= self._full
        level.confine(0.0, 1.0)
        return may_be_full

    def close(self) -> None:
        """Note that all time up to now is accounted for."""
        self._charge.blind_s, self._charge.blind_longer = 0.0, False

    def forget(self) -> None:
        """Forget the gaps so far: the battery has shown its charge."""
        self.last, self._charge.guess_s, self._charge.guess_bound_ah = None, 0.0, 0.0

    def unseen(self) -> tuple[float, float]:
        """Return ampere-hours that may have flowed in the gap that lasts, and how far off they may be."""
        charge = self._charge
        moved_ah = bound_ah = 0.0
        if charge.blind_s:
            moved_ah, bound_ah = self._flow(None, charge.blind_s)
        if charge.blind_longer:
            unseen_ah, unseen_bound_ah = self._flow_of_unknown(None)
            moved_ah, bound_ah = moved_ah + unseen_ah, math.hypot(bound_ah, unseen_bound_ah)
        return moved_ah, bound_ah

    # How much has flowed

    def _between(self, after_a: float | None) -> tuple[float, float, float]:
        """Return the current assumed in a gap, how far it may swing, and the usual load.

        It is the mean of those before and after, because the change may have come at any time. A single
        load after the gap says less than the usual one.
        """
        before_a, usual_load_a = self._currents.mean_a, self._currents.typical_load_a
        last_a = before_a if after_a is None else after_a
        if after_a is not None and after_a < 0 and usual_load_a is not None:
            last_a = -usual_load_a
        load_a = usual_load_a or self._nameplate_ah / 20
        return (before_a + last_a) / 2, abs(last_a - before_a) / 2, load_a

    def _flow(self, after_a: float | None, blind_s: float) -> tuple[float, float]:
        """Return ampere-hours that have flowed in `blind_s` seconds, and how far off they may be."""
        mean_a, swing_a, load_a = self._between(after_a)
        hours = blind_s / 3600
        hiding_h = HIDING_YET_H if after_a is None else HIDING_H
        return self._moved(mean_a, hours), self._bound(mean_a, swing_a, load_a, hours, hiding_h)

    def _flow_of_unknown(self, after_a: float | None) -> tuple[float, float]:
        """Return the same for a time off of unknown length."""
        mean_a, swing_a, load_a = self._between(after_a)
        hours = self._usual_s / 3600
        usual_s = self._charge.usual_off_s
        long_s = LONG_OFF_S if usual_s is None else OFF_SPREAD * usual_s
        long_h = min(self._longest_s, long_s) / 3600
        bound_ah = self._bound(mean_a, swing_a, load_a, hours, HIDING_H)
        return self._moved(mean_a, hours), bound_ah + (abs(mean_a) + swing_a / 4) * long_h

    def _moved(self, mean_a: float, hours: float) -> float:
        return mean_a * hours * (self._efficiency if mean_a > 0 else 1.0)

    def _bound(
        self, mean_a: float, swing_a: float, load_a: float, hours: float, hiding_h: float
    ) -> float:
        """Return how far off `_moved` may be.

        The load may have been another one. The longer the gap, the more of a whole charge or blackout
        may have hidden in it.
        """
        bound_a = swing_a + 0.25 * max(load_a, abs(mean_a))
        bound_a += (load_a + self._currents.typical_charge_a) * min(1.0, hours / hiding_h)
        return bound_a * hours

    # Times off of unknown length

    @property
    def _usual_s(self) -> float:
        usual_s = self._charge.usual_off_s
        return min(self._longest_s, USUAL_OFF_S if usual_s is None else usual_s)

    def _learn_usual(self, off_s: float) -> None:
        usual_s = self._usual_s
        self._charge.usual_off_s = usual_s + 0.2 * (min(off_s, self._longest_s) - usual_s)

    def _guess(self, bound_ah: float, after_a: float) -> None:
        """Remember what is assumed of a time off, together with earlier ones that are not known."""
        charge, usual_s = self._charge, self._usual_s
        mean_a, swing_a, _ = self._between(after_a)
        earlier_a = charge.guess_a if charge.guess_charging else -charge.guess_a
        all_s = charge.guess_s + usual_s
        mean_a = (earlier_a * charge.guess_s + mean_a * usual_s) / all_s
        charge.guess_swing_a = max(swing_a, charge.guess_swing_a if charge.guess_s else 0.0)
        charge.guess_s, charge.guess_a, charge.guess_charging = all_s, abs(mean_a), mean_a > 0
        charge.guess_bound_ah = math.hypot(charge.guess_bound_ah, bound_ah)
        charge.guess_left = 1.0

    def _judge_dead(self) -> None:
        """Use that the unit has lost power: the battery that feeds it was empty, or was disconnected."""
        level = self._level
        if level.is_known and level.value - SIGMAS * math.sqrt(level.variance) < MAY_DIE:
            level.measure(DEAD_LEVEL, DEAD_SIGMA**2)

    def _note(self, off_s: float | None, moved_ah: float, bound_ah: float) -> None:
        per_ah = 100 / self._level.capacity_ah
        off_s = None if off_s is None else round(off_s)
        self.last = Gap(off_s, round(moved_ah * per_ah, 1), round(min(100, bound_ah * per_ah), 1))
