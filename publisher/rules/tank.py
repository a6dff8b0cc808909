"""The fuel in the generator's tank: what people say they have filled in, less what the engine has burnt.

Consumption is a straight line over the load, from `no_load_l_h` to `full_load_l_h`, times a scale that is
learnt: from one full tank to the next, the engine has burnt what was filled in.
"""

import math
from dataclasses import dataclass

from publisher.clock import Now, timestamp
from publisher.config.generator import GeneratorSettings
from publisher.rules.elapsed import elapsed_s

#: Standard deviations that a normal value exceeds its mean by in 1 of 20 cases.
ONE_IN_TWENTY = 1.645
#: Standard deviation of the scale where the consumption is a default for `rated_w`, and where both figures
#: are given. Engines of one size differ by a third; a data sheet is of a new engine, warm and at sea level.
DEFAULT_SIGMA, GIVEN_SIGMA = 0.2, 0.1
#: By how much the scale may move from one full tank to the next: cold, wear, another fuel.
DRIFT_SIGMA = 0.03
#: "Full" is meant to this part of the tank, and a number of litres to this part of itself.
FULL_SIGMA, LITRES_SIGMA = 0.03, 0.05
#: A stretch between two full tanks teaches something if at least this part of the tank was burnt in it, and
#: the scale that it says is possible.
LEAST_BURNT = 0.2
SMALLEST_SCALE, LARGEST_SCALE = 0.3, 3.0
#: A load above this share of `rated_w` is one that the engine does not carry for long.
LARGEST_LOAD = 1.3
#: Load that is assumed where it is not measured.
USUAL_LOAD = 0.5
#: The rate is a mean over this time of running.
RATE_MEAN_S = 900.0
#: By how much more fuel than now the engine may need later: people plug things in.
MORE_LOAD = 1.15
#: The engine's time is counted in steps of at least this; a longer one than the second is a gap.
STEP_S, LONGEST_STEP_S = 1.0, 60.0


@dataclass(slots=True)
class Fuel:
    """What is known of the fuel and survives a power cut."""

    #: Litres in the tank when they were last known or added to; None where nobody has said so.
    filled_l: float | None = None
    filled_var: float = 0.0  # its variance, in square litres
    burnt_l: float = 0.0  # burnt since then, by the settings' line: times `scale` in truth
    doubt_l: float = (
        0.0  # of these and of the unseen ones, litres that may or may not have been burnt
    )
    #: Litres added since the tank was last full; None where it never was, or not all are known.
    added_l: float | None = None
    line_l: float = 0.0  # burnt since it was full, by the settings' line
    scale: float = 1.0
    scale_var: float = 0.0
    rate_l_h: float | None = None  # mean of the line while it ran last
    ran: bool = False  # whether the engine ran when it was last seen …
    boot: int | None = (
        None  # … and when that was: the boot, the uptime in it, the certain time of day
    )
    uptime_s: float = 0.0
    seen: str | None = None
    generator: str = ""  # the settings that the scale belongs to


class Tank:
    """The generator's tank. What survives a power cut is in the `Fuel` given."""

    def __init__(self, settings: GeneratorSettings, fuel: Fuel, boot: int) -> None:
        """Continue from `fuel` in the boot with the number `boot`."""
        self._fuel = fuel
        self._boot = boot
        self._tank_l = settings.tank_l
        full_l_h = settings.full_load
        #: Whether the consumption is known at all.
        self.is_known = full_l_h is not None
        self._full_l_h = full_l_h or 0.0
        self._no_load_l_h = settings.no_load or 0.0
        generator = f"{self._no_load_l_h:g} to {self._full_l_h:g} l/h"
        if fuel.generator != generator or not fuel.scale_var:
            fuel.generator = generator
            fuel.scale = 1.0
            fuel.scale_var = (GIVEN_SIGMA if settings.consumption_is_given else DEFAULT_SIGMA) ** 2
            fuel.added_l, fuel.rate_l_h = None, None
        self._running: bool | None = None
        self._gap_s: float | None = None  # time since it was last seen in an earlier run
        self._resumes = fuel.boot is not None

    # Input

    def apply(self, running: bool | None, load_pct: float | None, now: Now) -> None:
        """Let time pass with the engine as it is (None: unknown), at this load in percent of `rated_w`."""
        fuel = self._fuel
        self._running = running
        if not self.is_known:
            return
        if self._resumes:
            self._bridge(running, now)
            return
        if fuel.boot is None:
            self._note(running, now)
            return
        step_s = now.uptime_s - fuel.uptime_s
        if 0 <= step_s < STEP_S and running is fuel.ran:
            return
        step_s = max(0.0, step_s)
        if running:
            rate_l_h = self._rate(load_pct)
            part = min(1.0, step_s / RATE_MEAN_S)
            before = rate_l_h if fuel.rate_l_h is None else fuel.rate_l_h
            fuel.rate_l_h = before + (rate_l_h - before) * part
            self._burn(rate_l_h * step_s / 3600, sure=step_s <= LONGEST_STEP_S)
        elif running is None and fuel.ran:
            self._burn(self._last_rate * step_s / 3600, sure=False)
        self._note(running, now)

    def refuel(self, litres: float | None, *, full: bool) -> None:
        """Note that somebody has added `litres` (None: not measured), and whether the tank is `full` now."""
        fuel = self._fuel
        level_l = self._level_l()
        if litres is not None:
            fuel.filled_var = self._variance(level_l) + (LITRES_SIGMA * litres) ** 2
            fuel.filled_l = max(0.0, level_l or 0.0) + litres
            fuel.burnt_l = 0.0
            if level_l is None:
                fuel.doubt_l = 0.0
            if fuel.added_l is not None:
                fuel.added_l += litres
        if full and self._tank_l is not None:
            if litres is None and not self._is_told_already():
                fuel.added_l = None
            self._learn(self._tank_l)
            fuel.added_l, fuel.line_l = 0.0, 0.0
            self._fill(self._tank_l, FULL_SIGMA)
        elif self._tank_l is not None and (fuel.filled_l or 0.0) > self._tank_l:
            self._fill(self._tank_l, LITRES_SIGMA)  # it holds no more

    # Output

    @property
    def litres(self) -> float | None:
        """Litres in the tank; None where nobody has said so, or the engine runs on more than was said."""
        level_l = self._level_l()
        if level_l is None or self._off_is_unknown or (level_l <= 0 and self._running is not False):
            return None
        return max(0.0, level_l)

    @property
    def litres_low(self) -> float | None:
        """Litres that are in the tank in 19 of 20 cases, at least; None where nothing is known."""
        level_l = self._level_l()
        if level_l is None or self._off_is_unknown:
            return None
        sigma_l = math.sqrt(self._variance(level_l))
        return max(0.0, level_l - self._fuel.doubt_l - ONE_IN_TWENTY * sigma_l)

    @property
    def hours(self) -> float | None:
        """Hours that the fuel lasts at the load with which the engine runs, or ran last."""
        litres, rate_l_h = self.litres, self._fuel.rate_l_h
        if litres is None or rate_l_h is None:
            return None
        return litres / (rate_l_h * self._fuel.scale)

    @property
    def hours_low(self) -> float | None:
        """Hours that it lasts in 19 of 20 cases, at least."""
        rate_l_h, low_l = self._fuel.rate_l_h, self.litres_low
        if low_l is None or rate_l_h is None:
            return None
        return low_l / (rate_l_h * self._scale_high * MORE_LOAD)

    # Inside

    def _rate(self, load_pct: float | None) -> float:
        """Return the settings' consumption at a load, in litres an hour."""
        load = USUAL_LOAD if load_pct is None else min(LARGEST_LOAD, load_pct / 100)
        return self._no_load_l_h + (self._full_l_h - self._no_load_l_h) * load

    @property
    def _last_rate(self) -> float:
        rate_l_h = self._fuel.rate_l_h
        return self._rate(None) if rate_l_h is None else rate_l_h

    @property
    def _scale_high(self) -> float:
        return self._fuel.scale + ONE_IN_TWENTY * math.sqrt(self._fuel.scale_var)

    def _level_l(self) -> float | None:
        fuel = self._fuel
        return None if fuel.filled_l is None else fuel.filled_l - fuel.burnt_l * fuel.scale

    def _variance(self, level_l: float | None) -> float:
        """Return the variance of the level, in square litres."""
        fuel = self._fuel
        return 0.0 if level_l is None else fuel.filled_var + fuel.burnt_l**2 * fuel.scale_var

    def _burn(self, litres: float, *, sure: bool) -> None:
        """Burn litres of the line; half of them, give or take half, if it is not sure that it ran."""
        fuel = self._fuel
        if not sure:
            litres /= 2
            fuel.doubt_l += litres * fuel.scale
        fuel.burnt_l += litres
        fuel.line_l += litres
        if not sure:
            fuel.added_l = None  # this stretch teaches nothing

    def _bridge(self, running: bool | None, now: Now) -> None:
        """Burn what was burnt since an earlier run, once that time and the engine's state are known."""
        fuel = self._fuel
        if fuel.boot is None or running is None:
            return
        passed_s = elapsed_s(
            now, self._boot, then_boot=fuel.boot, then_uptime_s=fuel.uptime_s, then=fuel.seen
        )
        if passed_s is None and (running or fuel.ran):
            return  # until the time of day is certain, nothing is known
        if running or fuel.ran:
            sure = running and fuel.ran and fuel.boot == self._boot
            self._burn(self._last_rate * (passed_s or 0.0) / 3600, sure=sure)
        self._resumes = False
        self._note(running, now)

    @property
    def _off_is_unknown(self) -> bool:
        """Whether it is not known yet how long the engine ran while this unit was off."""
        return self._resumes and (self._fuel.ran or self._running is True)

    def _note(self, running: bool | None, now: Now) -> None:
        fuel = self._fuel
        if running is not None:
            fuel.ran = running
        fuel.boot, fuel.uptime_s = self._boot, round(now.uptime_s, 3)
        fuel.seen = timestamp(now.wall) if now.is_certain else None

    def _is_told_already(self) -> bool:
        """Whether the litres of this filling were told just before: nothing was burnt since."""
        fuel = self._fuel
        return bool(fuel.added_l) and fuel.burnt_l * fuel.scale < FULL_SIGMA * (self._tank_l or 0.0)

    def _fill(self, litres: float, sigma: float) -> None:
        fuel = self._fuel
        fuel.filled_l, fuel.filled_var = litres, (sigma * litres) ** 2
        fuel.burnt_l = fuel.doubt_l = 0.0

    def _learn(self, tank_l: float) -> None:
        """Learn the scale from the litres that were added since the tank was full before."""
        fuel = self._fuel
        if not fuel.added_l or fuel.line_l < LEAST_BURNT * tank_l:
            return
        scale = fuel.added_l / fuel.line_l
        if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
            return
        error_l2 = 2 * (FULL_SIGMA * tank_l) ** 2 + (LITRES_SIGMA * fuel.added_l) ** 2
        measured_var = error_l2 / fuel.line_l**2
        expected_var = fuel.scale_var + DRIFT_SIGMA**2
        gain = expected_var / (expected_var + measured_var)
        fuel.scale += gain * (scale - fuel.scale)
        fuel.scale_var = (1 - gain) * expected_var
