"""Accuracy of the battery's charge: days of a tent on the models of `packs.py`, and discharges to the end."""

import argparse
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from statistics import fmean, median
from typing import Any, NamedTuple

from publisher.config.battery import BatterySettings
from publisher.rules.battery import USELESS_PCT
from publisher.rules.charge import Estimator
from publisher.rules.charge_state import Charge
from tests.accuracy.packs import KINDS, Kind, Pack, Supply

STEP_S = 10.0
DAYS = 5
HOUR_S, DAY_S = 3600.0, 86_400.0
SAVE_S, JUDGE_S = 60.0, 60.0
RESTARTS, SHORTEST_OFF_S, LONGEST_OFF_S = 3, 30.0, 3600.0
#: What the nameplate says, as a share of the true capacity.
NAMEPLATES = (0.9, 1.0, 1.1)
#: Signs of the sensor's gain error and offset.
SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
#: Shares of a discharge's ampere-hours left at which the time to empty is compared with the truth.
LEFT = (0.75, 0.5, 0.25)


@dataclass
class Charger:
    """Constant current, then constant voltage for a while, then a lower one."""

    absorb_v: float
    absorb_s: float
    float_v: float
    _held_s: float = 0.0

    def supply(self, limit_a: float, voltage_v: float) -> Supply | None:
        """Return its present supply at `voltage_v` on its terminals; None without a source."""
        if not limit_a:
            self._held_s = 0.0
            return None
        if voltage_v >= self.absorb_v - 0.05:
            self._held_s += STEP_S
        done = self._held_s >= self.absorb_s
        return Supply(limit_a, self.float_v if done else self.absorb_v)


class Shunt:
    """The readings of an INA219 on 1.5 mΩ: gain, offset, steps, noise."""

    def __init__(self, dice: random.Random, gain_sign: int, offset_sign: int) -> None:
        self._dice = dice
        self._gain = 1 + 0.02 * gain_sign
        self._offset_a = 0.08 * offset_sign
        self._volts = dice.uniform(0.995, 1.005)

    @property
    def gain(self) -> float:
        """Its amperes for one ampere."""
        return self._gain

    def current_a(self, current_a: float) -> float:
        seen_a = current_a * self._gain + self._offset_a + self._dice.gauss(0, 0.015)
        return round(round(seen_a / 0.00667) * 0.00667, 3)

    def voltage_v(self, voltage_v: float) -> float:
        return (
            max(0.0, round((voltage_v * self._volts + self._dice.gauss(0, 0.004)) / 0.004)) * 0.004
        )


class Span(NamedTuple):
    """A time with mains, in seconds from the start."""

    begin_s: float
    end_s: float


def mains(dice: random.Random) -> list[Span]:
    """Return when mains is there: by day, with cuts; one day in five has none."""
    spans = [Span(0.0, 9 * HOUR_S)]  # the first full charge
    for day in range(1, DAYS + 1):
        if dice.random() < 0.2:
            continue
        at_s = day * DAY_S + dice.uniform(5, 9) * HOUR_S
        end_s = day * DAY_S + dice.uniform(17, 23) * HOUR_S
        while at_s < end_s:
            until_s = min(end_s, at_s + dice.uniform(1.5, 8) * HOUR_S)
            spans.append(Span(at_s, until_s))
            at_s = until_s + dice.uniform(0.5, 4) * HOUR_S
    return spans


def loads(dice: random.Random, share: float) -> Iterator[float]:
    """Yield a tent's load for each step, 1 to 50 A: base, lights, a kettle, a fan that switches."""
    base_a, burst_a, burst_s, at_s = dice.uniform(1.0, 3.5) * share, 0.0, 0.0, 0.0
    fan_a, on_s, off_s = dice.uniform(0, 4) * share, dice.uniform(60, 900), dice.uniform(60, 1800)
    while True:
        hour = at_s / HOUR_S % 24
        if burst_s <= 0:
            burst_a = 0.0
            if dice.random() < STEP_S / 7200:
                burst_a = dice.choice((dice.uniform(3, 10), dice.uniform(10, 45) * min(1.0, share)))
                burst_s = dice.uniform(60, 600)
        dark_a = 2.5 * share if hour < 7 or hour > 17 else 0.0
        fan = fan_a if at_s % (on_s + off_s) < on_s else 0.0
        yield min(50.0, max(1.0, base_a + dark_a + fan + burst_a + dice.gauss(0, 0.2)))
        burst_s -= STEP_S
        at_s += STEP_S


def cuts(
    dice: random.Random, begin_s: float, end_s: float, number: int
) -> list[tuple[float, float]]:
    """Return when the unit loses power and when it starts again; half of the times off are short."""
    while True:
        begins = sorted(dice.uniform(begin_s, end_s) for _ in range(number))
        found = []
        for begin in begins:
            longest = math.log(LONGEST_OFF_S / SHORTEST_OFF_S)
            short_s = SHORTEST_OFF_S * math.exp(dice.uniform(0, longest))
            found.append((begin, begin + dice.choice((short_s, dice.uniform(60, LONGEST_OFF_S)))))
        if all(end + 300 < begin for (_, end), (begin, _) in pairwise(found)):
            return found


@dataclass
class Tally:
    """The errors of some runs in points, compared with the stated uncertainty."""

    judged: int = 0
    told: int = 0
    squares: float = 0.0
    inside: int = 0
    stated: list[float] = field(default_factory=list)
    worst: float = 0.0
    capacity_pct: list[float] = field(default_factory=list)  # errors of the capacity at the end

    def judge(self, estimator: Estimator, true_pct: float) -> None:
        self.judged += 1
        found_pct, around_pct = estimator.charge_pct, estimator.uncertainty_pct
        if found_pct is None or around_pct is None or around_pct > USELESS_PCT:
            return
        off_pct = found_pct - true_pct
        self.told += 1
        self.squares += off_pct**2
        self.inside += abs(off_pct) <= around_pct
        self.stated.append(around_pct)
        self.worst = max(self.worst, abs(off_pct))

    def add(self, other: "Tally") -> None:
        self.judged, self.told = self.judged + other.judged, self.told + other.told
        self.squares, self.inside = self.squares + other.squares, self.inside + other.inside
        self.stated += other.stated
        self.worst = max(self.worst, other.worst)
        self.capacity_pct += other.capacity_pct

    @property
    def rms(self) -> float:
        """RMS error where the charge is told."""
        return math.sqrt(self.squares / max(1, self.told))

    def figures(self) -> dict[str, Any]:
        return {
            "rms_points": round(self.rms, 2),
            "inside_share": round(self.inside / max(1, self.told), 3),
            "median_stated_points": round(median(self.stated), 2) if self.stated else None,
            "told_share": round(self.told / max(1, self.judged), 3),
            "worst_points": round(self.worst, 1),
            "capacity_rms_pct": round(math.sqrt(fmean(e * e for e in self.capacity_pct)), 2),
        }


class Bench:
    """A pack, its charger, the sensor, and the unit that may lose power."""

    def __init__(
        self,
        kind: Kind,
        dice: random.Random,
        nameplate: float,
        signs: tuple[int, int],
        start: float,
    ) -> None:
        self._dice = dice
        self.pack: Pack = kind.model(dice, kind.true_ah, start, dice.choice((0.0, 0.01, 0.03)))
        lead = kind.chemistry == "lead_acid"
        self.charger = Charger(14.4, (6 if lead else 1.5) * HOUR_S, 13.6 if lead else 13.5)
        self.shunt = Shunt(dice, *signs)
        self._with_cells = dice.random() < 0.5
        self.battery = BatterySettings(kind.chemistry, round(nameplate * kind.true_ah))
        self.estimator: Estimator | None = Estimator(self.battery, Charge())
        self._charge = self._saved = Charge()
        self.estimator = Estimator(self.battery, self._charge)
        self._saved_s = self.at_s = 0.0
        self._told_s, self._off_s = math.inf, 0.0
        self._swing, self._phase = dice.uniform(1, 5), dice.uniform(0, 24)

    def step(self, load_a: float, limit_a: float, *, off: bool = False) -> None:
        """Let a step pass; with `off` the unit has no power."""
        self.at_s += STEP_S
        if round(self.at_s / STEP_S) % 60 == 0:
            hours = self.at_s / HOUR_S + self._phase
            self.pack.warm(self._swing * math.sin(hours * math.tau / 24))
        self.pack.step(STEP_S, load_a, self.charger.supply(limit_a, self.pack.voltage_v))
        if off:
            self.estimator = None
            return
        if self.estimator is None:
            self._wake()
        estimator = self.estimator
        assert estimator is not None
        if self.at_s >= self._told_s:
            estimator.tell_off(self._off_s)
            self._told_s = math.inf
        estimator.apply(
            self.shunt.current_a(self.pack.current_a),
            self.shunt.voltage_v(self.pack.voltage_v),
            self.at_s + self._dice.uniform(-1, 1),
            self.pack.highest_cell_v if self._with_cells else None,
        )
        if self.at_s >= self._saved_s + SAVE_S:
            self._saved, self._saved_s = replace(self._charge), self.at_s

    def _wake(self) -> None:
        """Boot: the time of day is known at once, a few minutes later, or never."""
        self._charge = replace(self._saved)
        self.estimator = Estimator(self.battery, self._charge)
        off_s, fate = self.at_s - self._saved_s - 30.0, self._dice.random()
        self.estimator.resume(30.0, off_s if fate < 0.4 else None)
        if fate > 0.7:
            self._told_s, self._off_s = self.at_s + self._dice.uniform(60, 900), off_s

    @property
    def capacity_pct(self) -> float:
        """The error of the capacity, as this sensor measures ampere-hours."""
        assert self.estimator is not None
        true_ah = self.shunt.gain * self.pack.true_ah
        return 100 * (self.estimator.capacity_ah / true_ah - 1)


def days(
    kind: Kind,
    dice: random.Random,
    nameplate: float,
    signs: tuple[int, int],
    restarts: int = RESTARTS,
) -> Tally:
    """Run a tent for DAYS; judge it from the first full charge on."""
    bench = Bench(kind, dice, nameplate, signs, dice.uniform(0.2, 0.9))
    spans, load = mains(dice), loads(dice, kind.true_ah / 100)
    limit_a = dice.uniform(0.2, 0.4) * kind.true_ah
    end_s = DAYS * DAY_S
    gaps = cuts(dice, 10 * HOUR_S, end_s, restarts)
    tally, judge_s, full = Tally(), 0.0, False
    for _ in range(int(end_s / STEP_S)):
        at_s = bench.at_s
        live_a = limit_a if any(s.begin_s <= at_s < s.end_s for s in spans) else 0.0
        off = any(begin <= at_s < end for begin, end in gaps)
        bench.step(next(load), live_a, off=off)
        if bench.estimator is None:
            continue
        full = full or bench.estimator.synchronised
        if full and at_s >= judge_s:
            judge_s = at_s + JUDGE_S
            tally.judge(bench.estimator, 100 * bench.pack.charge)
    return tally


class Moment(NamedTuple):
    """What was forecast at one moment of a discharge."""

    at_s: float
    out_ah: float
    value: float | None
    low: float | None


class Forecast(NamedTuple):
    """The error of the time to empty as a share of the time left, and whether the low one held."""

    left: float
    error: float
    held: bool


def discharge(
    kind: Kind, dice: random.Random, nameplate: float, signs: tuple[int, int]
) -> tuple[list[Forecast], float]:
    """Run one full cycle, then a discharge to the end; return the forecasts, and the capacity's error."""
    bench = Bench(kind, dice, nameplate, signs, 0.5)
    limit_a = 0.3 * kind.true_ah
    usual_a = kind.true_ah * dice.uniform(0.05, 0.2)
    for _ in range(2):
        _fill(bench, limit_a)
        told = _empty(bench, dice, usual_a * dice.uniform(0.75, 1.35))
    found = []
    end = told[-1]
    for left in LEFT:
        at = next(moment for moment in told if moment.out_ah >= (1 - left) * end.out_ah)
        true_min = (end.at_s - at.at_s) / 60
        error = 1.0 if at.value is None else at.value / true_min - 1
        found.append(Forecast(left, error, at.low is not None and at.low <= true_min))
    return found, bench.capacity_pct


def _fill(bench: Bench, limit_a: float) -> None:
    for _ in range(int(14 * HOUR_S / STEP_S)):
        bench.step(1.0, limit_a)


def _empty(bench: Bench, dice: random.Random, mean_a: float) -> list[Moment]:
    """Discharge until the battery gives no more; return what was forecast meanwhile."""
    told: list[Moment] = []
    fan_s, swing = dice.uniform(20, 600), dice.choice((0.0, 0.3, 0.8))
    out_ah = 0.0
    for n in range(int(40 * HOUR_S / STEP_S)):
        on = n * STEP_S % (2 * fan_s) < fan_s
        bench.step(mean_a * (1 + (swing if on else -swing)), 0.0)
        estimator = bench.estimator
        assert estimator is not None
        out_ah -= bench.pack.current_a * STEP_S / 3600
        low = estimator.time_to_empty_min_low
        told.append(Moment(bench.at_s, out_ah, estimator.time_to_empty_min, low))
        if n > 10 and bench.pack.voltage_v == 0:
            break
    for _ in range(30):  # it stays dead for a while
        bench.step(1.0, 0.0)
    return told


def measure(seed: int = 1, nameplates: Sequence[float] = NAMEPLATES) -> dict[str, dict[str, Any]]:
    """Run each kind of battery with each nameplate and each sign of the sensor's errors."""
    tallies: dict[str, Tally] = {}
    forecasts: dict[str, list[Forecast]] = {}
    for name, nameplate, signs in product(KINDS, nameplates, SIGNS):
        dice = random.Random(f"{seed} {name} {nameplate} {signs}")
        tally = days(KINDS[name], dice, nameplate, signs)
        told, capacity_pct = discharge(KINDS[name], dice, nameplate, signs)
        tally.capacity_pct.append(capacity_pct)
        for key in (name, f"{KINDS[name].chemistry}_nameplate_{nameplate:g}", "all"):
            tallies.setdefault(key, Tally()).add(tally)
            forecasts.setdefault(key, []).extend(told)
    return {key: tallies[key].figures() | _forecast(forecasts[key]) for key in sorted(tallies)}


def _forecast(found: Sequence[Forecast]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        f"time_to_empty_rms_pct_at_{100 * left:g}": round(
            100 * math.sqrt(fmean(f.error**2 for f in found if f.left == left)), 1
        )
        for left in LEFT
    }
    return figures | {"low_held_share": round(fmean(f.held for f in found), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.accuracy.battery", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(measure(options.seed), indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
