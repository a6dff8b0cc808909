"""Times without a current: how much charge may have flowed unseen, and how far that can be wrong."""

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


class Gap(NamedTuple):
    """A time without a current, and the charge that is assumed to have flowed in it.

    `off_s` is None where its length is unknown. The charge has moved by `moved_pct` points, which is
    at most `bound_pct` points wrong.
    """

    off_s: float | None
    moved_pct: float
    bound_pct: float


class _Guess(NamedTuple):
    """How a gap of unknown length was accounted for."""

    before_a: float
    after_a: float
    blind_s: float
    moved_ah: float
    bound_ah: float


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
        self._off_known = self._off_awaited = False
        self._guess: _Guess | None = None
        #: The last gap since it was full.
        self.last: Gap | None = None

    def resume(self, off_s: float | None) -> float:
        """Note that the unit was off for `off_s` seconds; None if that is not known yet.

        Return the time that this accounts for, in seconds.
        """
        charge = self._charge
        if self._off_known:
            return 0.0
        if off_s is None or not 0 <= off_s < math.inf:
            self._off_awaited = charge.blind_longer = True
            return 0.0
        self._off_known = True
        usual_s = self._longest_s / 4 if charge.off_s is None else charge.off_s
        charge.off_s = usual_s + 0.2 * (min(off_s, self._longest_s) - usual_s)
        if not self._off_awaited:
            charge.blind_s += off_s
        elif charge.blind_longer:
            charge.blind_s, charge.blind_longer = charge.blind_s + off_s, False
        elif self._guess is not None:
            self._correct(self._guess, off_s)
            self._guess = None
        else:
            return 0.0  # it has been full since, or anything was possible anyway
        return off_s

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
        before_a = self._currents.mean_a
        moved_ah, bound_ah = self._flow(before_a, after_a, charge.blind_s, longer)
        if longer or charge.blind_s > LONGEST_STEP_S:
            self._note(None if longer else charge.blind_s, moved_ah, bound_ah)
        if bound_ah >= level.capacity_ah / 2:
            level.set_level(0.5, UNKNOWN_SIGMA**2)
            return False
        if longer:
            self._guess = _Guess(before_a, after_a, charge.blind_s, moved_ah, bound_ah)
            level.uncorrected_share = 1.0
        level.move(moved_ah)
        level.blur(bound_ah)
        may_be_full = level.value + SIGMAS * math.sqrt(level.variance) >= self._full
        level.confine(0.0, 1.0, learn=False)
        return may_be_full

    def close(self) -> None:
        """Note that all time up to now is accounted for."""
        self._charge.blind_s, self._charge.blind_longer = 0.0, False

    def forget(self) -> None:
        """Forget the gaps so far: the battery has shown its charge."""
        self.last = self._guess = None

    def unseen(self) -> tuple[float, float]:
        """Return ampere-hours that may have flowed in the gap that lasts, and how far off they may be."""
        charge = self._charge
        if not (charge.blind_s or charge.blind_longer):
            return 0.0, 0.0
        return self._flow(self._currents.mean_a, None, charge.blind_s, charge.blind_longer)

    def _flow(
        self, before_a: float, after_a: float | None, blind_s: float, longer: bool
    ) -> tuple[float, float]:
        """Return ampere-hours that have flowed in a gap, and how far off they may be.

        The current is assumed to be the mean of those before and after, because the change may have
        come at any time. The load may have been another one. The longer the gap, the more of a whole
        charge or blackout may have hidden in it. An unknown time is assumed to be the usual one.
        """
        charge, currents = self._charge, self._currents
        usual_load_a, charge_a = currents.typical_load_a, currents.typical_charge_a
        load_a = usual_load_a or self._nameplate_ah / 20
        last_a = before_a if after_a is None else after_a
        if after_a is not None and after_a < 0 and usual_load_a is not None:
            last_a = -usual_load_a  # a single load says less than the usual one
        mean_a, swing_a = (before_a + last_a) / 2, abs(last_a - before_a) / 2
        hours, spread_h = blind_s / 3600, 0.0
        if longer:
            longest_h = self._longest_s / 3600
            usual_h = longest_h / 4 if charge.off_s is None else charge.off_s / 3600
            hours += usual_h
            spread_h = min(1.5 * usual_h, longest_h)
        hiding_h = HIDING_YET_H if after_a is None else HIDING_H
        bound_a = swing_a + 0.25 * max(load_a, abs(mean_a))
        bound_a += (load_a + charge_a) * min(1.0, hours / hiding_h)
        moved_ah = mean_a * hours * (self._efficiency if mean_a > 0 else 1.0)
        return moved_ah, bound_a * hours + (abs(mean_a) + swing_a / 4) * spread_h

    def _correct(self, guess: _Guess, off_s: float) -> None:
        """Replace what was guessed of a gap by what is now known of it."""
        level, blind_s = self._level, guess.blind_s + off_s
        moved_ah, bound_ah = self._flow(guess.before_a, guess.after_a, blind_s, False)
        self._note(blind_s, moved_ah, bound_ah)
        left = level.uncorrected_share
        level.move(left * (moved_ah - guess.moved_ah))
        level.blur_again(left * guess.bound_ah, left * bound_ah)
        level.confine(0.0, 1.0, learn=False)

    def _note(self, off_s: float | None, moved_ah: float, bound_ah: float) -> None:
        per_ah = 100 / self._level.capacity_ah
        off_s = None if off_s is None else round(off_s)
        self.last = Gap(off_s, round(moved_ah * per_ah, 1), round(min(100, bound_ah * per_ah), 1))
