"""Accuracy of the battery's charge, on battery models that are independent of the estimator.

The LiFePO4 pack has four unequal cells with a tabulated voltage, hysteresis and two time constants,
and a protection that cuts off on a single cell. The lead-acid battery has two wells (the kinetic
model of Manwell and McGowan, 1993), gassing and a slow polarisation. Both have a temperature.
"""

import argparse
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product
from statistics import fmean
from typing import NamedTuple, Protocol

from publisher.config.battery import BatterySettings
from publisher.rules.charge import Estimator
from publisher.rules.charge_state import Charge

NAMEPLATE_AH = 200.0
#: The nameplate states 10 % more than the true capacity.
TRUE_AH = NAMEPLATE_AH / 1.1
STEP_S = 5.0
DAYS = 7
HOUR_S, DAY_S = 3600.0, 86_400.0
SAVE_S, JUDGE_S = 60.0, 60.0
RESTARTS, SHORTEST_OFF_S, LONGEST_OFF_S = 30, 60.0, 7200.0
CHEMISTRIES = ("lifepo4", "lead_acid")
#: Signs of the sensor's gain error and offset.
SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


class Supply(NamedTuple):
    """A charger: its largest current, and its voltage limit."""

    limit_a: float
    voltage_v: float


class Pack(Protocol):
    """A battery with its protection; current is positive while it is charged."""

    current_a: float
    voltage_v: float
    highest_cell_v: float | None

    def step(self, step_s: float, load_a: float, supply: Supply | None) -> None:
        """Simulate a step with a load and perhaps a charger on the battery's terminals."""

    def warm(self, degrees: float) -> None:
        """Set the temperature above the usual one, in °C."""

    @property
    def charge(self) -> float:
        """The true state of charge: the remaining over the full dischargeable amount."""


def _flow(load_a: float, supply: Supply | None, inner_v: float, ohms: float) -> float:
    """Return the current that a battery behind `ohms` takes from a charger beside a load."""
    if supply is None:
        return -load_a
    taken_a = (supply.voltage_v - inner_v) / ohms
    return max(-load_a, min(supply.limit_a - load_a, taken_a))


#: Open-circuit voltage of a LiFePO4 cell by its charge.
_CELL = (
    (-0.02, 2.0), (0.0, 2.62), (0.01, 2.80), (0.02, 2.91), (0.04, 3.035), (0.06, 3.11),
    (0.08, 3.165), (0.10, 3.195), (0.15, 3.222), (0.20, 3.246), (0.25, 3.263), (0.30, 3.278),
    (0.35, 3.286), (0.40, 3.290), (0.50, 3.294), (0.60, 3.303), (0.65, 3.316), (0.70, 3.327),
    (0.80, 3.331), (0.90, 3.334), (0.95, 3.339), (0.98, 3.352), (0.99, 3.39), (1.0, 3.48),
    (1.01, 3.75), (1.03, 4.3),
)  # fmt: skip
_GRID = 1000


def _tabulated() -> list[float]:
    """Return the cell's voltage for each thousandth of its charge, from -2 % to 103 %."""
    found = []
    for n in range(-20, 1031):
        x = n / _GRID
        (x0, v0), (x1, v1) = next(pair for pair in pairwise(_CELL) if x <= pair[1][0])
        found.append(v0 + (v1 - v0) * (x - x0) / (x1 - x0))
    return found


_CELL_V = _tabulated()


def cell_v(x: float) -> float:
    place = min(max(x * _GRID + 20, 0.0), len(_CELL_V) - 1.001)
    n = int(place)
    return _CELL_V[n] + (_CELL_V[n + 1] - _CELL_V[n]) * (place - n)


class LiFePO4:
    """Four cells in series and their protection."""

    HYSTERESIS_V = 0.012
    CELL_TOP_V, CELL_BOTTOM_V = 3.65, 2.60
    OWN_A = 0.02  # consumption of the protection, and leakage
    EFFICIENCY = 0.996
    PER_DEGREE = 0.004

    def __init__(self, dice: random.Random, charge: float, spread: float) -> None:
        """`spread` is how much the cells differ in capacity and charge."""
        sizes = [dice.uniform(1.0, 1.0 + spread) for _ in range(4)]
        tilt = [dice.uniform(0.0, spread) for _ in range(4)]
        # The pack's capacity is what the weakest cell gives between the fullest one's top and its own bottom.
        held = min(sizes) * charge
        scale = 1.0
        for _ in range(30):
            self._sizes = [TRUE_AH * scale * s for s in sizes]
            self._held = [TRUE_AH * scale * (held + t) for t in tilt]
            self._locked = 0.0
            scale *= TRUE_AH / self._capacity()
        shift = charge * self._capacity() - min(self._held)
        self._held = [h + shift for h in self._held]
        self._fast_v = self._slow_v = 0.0
        self._lag = -1.0
        self._stopped = self._empty = False
        self._ohms = 0.005
        self.current_a, self.voltage_v = 0.0, 13.2
        self.highest_cell_v: float | None = 3.3

    def _capacity(self) -> float:
        low = min(self._held) - self._locked
        return low + min(s - h for s, h in zip(self._sizes, self._held, strict=True))

    @property
    def charge(self) -> float:
        return min(1.0, max(0.0, (min(self._held) - self._locked) / self._capacity()))

    def warm(self, degrees: float) -> None:
        self._locked = -self.PER_DEGREE * degrees * TRUE_AH
        self._ohms = 0.005 * 2 ** (-degrees / 20)

    def step(self, step_s: float, load_a: float, supply: Supply | None) -> None:
        locked = self._locked
        bent_v = self._lag * self.HYSTERESIS_V
        cells = [
            cell_v((h - locked) / (s - locked)) + bent_v
            for h, s in zip(self._held, self._sizes, strict=True)
        ]
        still_v = sum(cells) + self._fast_v + self._slow_v
        current_a = _flow(load_a, supply, still_v, self._ohms)
        if supply is not None:
            self._empty = False
        if (self._stopped and current_a > 0) or (self._empty and current_a < 0):
            current_a = 0.0
        each_v = (self._fast_v + self._slow_v + current_a * self._ohms) / 4
        highest_v, lowest_v = max(cells) + each_v, min(cells) + each_v
        if highest_v > self.CELL_TOP_V:
            self._stopped = True
        elif highest_v < 3.38 or current_a < 0:
            self._stopped = False
        if lowest_v < self.CELL_BOTTOM_V and supply is None:
            self._empty = True
        moved = (current_a * (self.EFFICIENCY if current_a > 0 else 1) - self.OWN_A) * step_s / 3600
        for n in range(4):
            self._held[n] += moved
        if current_a:
            toward = 1.0 if current_a > 0 else -1.0
            turned = abs(moved) / (0.03 * TRUE_AH)
            self._lag += (toward - self._lag) * min(1.0, turned)
        self._fast_v += (current_a * 0.002 - self._fast_v) * step_s / 30
        self._slow_v += (current_a * 0.004 - self._slow_v) * step_s / 1500
        self.current_a = current_a
        self.highest_cell_v = highest_v
        if self._empty:
            self.voltage_v = 0.0
        elif self._stopped and supply is not None:
            self.voltage_v = supply.voltage_v
        else:
            self.voltage_v = still_v + current_a * self._ohms


class LeadAcid:
    """Two wells: the current comes from the first, and the second refills it."""

    SHARE, PER_HOUR = 0.45, 0.8
    #: Share of its content that a full battery gives in 20 hours: the closed form at 20 h.
    IN_20_H = PER_HOUR * SHARE * 20 / (1 + SHARE * (PER_HOUR * 20 - 1))
    CUT_OFF_V = 10.6
    PER_DEGREE = 0.006

    def __init__(self, dice: random.Random, charge: float, spread: float) -> None:
        """`spread` is named as for the LiFePO4 pack; here it is wear."""
        self._all = TRUE_AH / self.IN_20_H
        held = self._all - TRUE_AH * (1 - charge)
        self._first, self._second = held * self.SHARE, held * (1 - self.SHARE)
        self._wear = 1 + 4 * spread + dice.uniform(0.0, 0.2)
        self._locked = 0.0
        self._tension_v = 0.0
        self._warmth = 0.0
        self._empty = False
        self.current_a, self.voltage_v = 0.0, 12.5
        self.highest_cell_v: float | None = None

    @property
    def charge(self) -> float:
        out = self._all - self._first - self._second
        return min(1.0, max(0.0, 1 - out / (TRUE_AH - self._locked)))

    def warm(self, degrees: float) -> None:
        self._warmth = degrees
        self._locked = -self.PER_DEGREE * degrees * TRUE_AH

    def step(self, step_s: float, load_a: float, supply: Supply | None) -> None:
        hours = step_s / 3600
        level = self._first / self.SHARE
        x = (level - self._locked) / (self._all - self._locked)
        still_v = 11.9 + 0.85 * x
        if x < 0.12:
            still_v -= 110 * (0.12 - x) ** 2
        ohms = 0.007 * self._wear * (1.8 - 0.8 * x) * (1 - 0.01 * self._warmth)
        if supply is None:
            current_a = 0.0 if self._empty else -load_a
        else:
            self._empty = False
            top_v = 0.02 * math.exp(min(6.0, 400 * (x - 0.99)))
            current_a = _flow(
                load_a, supply, still_v + self._tension_v + top_v, ohms + 0.012 * self._wear
            )
            if current_a < 0:  # no charging resistance
                current_a = min(0.0, _flow(load_a, supply, still_v + self._tension_v, ohms))
        self.voltage_v = still_v + self._tension_v + current_a * ohms
        if supply is not None and current_a > 0:
            self.voltage_v = min(
                supply.voltage_v, self.voltage_v + top_v + current_a * 0.012 * self._wear
            )
        wanted_v = 0.2 + 0.6 * max(0.0, x) ** 6 if current_a > 0 else 0.0
        self._tension_v += (wanted_v - self._tension_v) * step_s / (60 if current_a > 0 else 900)
        stored_a = current_a
        if current_a > 0:
            gas_a = 0.002 * self._all * math.exp(5 * (self.voltage_v - 14.4))
            stored_a = current_a * (0.985 if x < 0.8 else 0.96) - min(current_a, gas_a)
        across = (
            self.PER_HOUR
            * self.SHARE
            * (1 - self.SHARE)
            * (self._second / (1 - self.SHARE) - level)
        )
        self._first = min(self._all * self.SHARE, self._first + (stored_a - 0.01 + across) * hours)
        self._second = self._second - across * hours
        if supply is None and self.voltage_v < self.CUT_OFF_V:
            self._empty = True
        if self._empty:
            self.voltage_v = 0.0
        self.current_a = current_a


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
    """The readings of an INA219 on 1.5 mΩ: gain, offset, steps, noise, dead band."""

    def __init__(self, dice: random.Random, gain_sign: int, offset_sign: int) -> None:
        self._dice = dice
        self._gain = 1 + 0.02 * gain_sign
        self._offset_a = 0.08 * offset_sign
        self._volts = dice.uniform(0.995, 1.005)

    def current_a(self, current_a: float) -> float:
        seen_a = current_a * self._gain + self._offset_a + self._dice.gauss(0, 0.015)
        seen_a = round(seen_a / 0.00667) * 0.00667
        return 0.0 if abs(seen_a) < 0.1 else round(seen_a, 3)

    def voltage_v(self, voltage_v: float) -> float:
        return (
            max(0.0, round((voltage_v * self._volts + self._dice.gauss(0, 0.004)) / 0.004)) * 0.004
        )


class Span(NamedTuple):
    """A period with a source, in seconds from the start."""

    begin_s: float
    end_s: float
    limit_a: float


def sources(dice: random.Random, from_s: float) -> list[Span]:
    """Return when mains or a generator feeds the charger; days differ, and some have neither."""
    mains_a, generator_a = dice.uniform(28, 42), 38.0
    dark_from = dice.randrange(1, DAYS - 1) if dice.random() < 0.6 else DAYS
    spans = []
    for day in range(DAYS):
        if dark_from <= day < dark_from + 2:
            continue
        midnight_s = from_s + day * DAY_S
        if dice.random() < 0.25:  # a long night
            begin_s = midnight_s + dice.uniform(0, 2) * HOUR_S
            spans.append(Span(begin_s, begin_s + dice.uniform(5, 9) * HOUR_S, mains_a))
        else:
            begin_s = midnight_s + dice.uniform(0, 8) * HOUR_S
            spans.append(Span(begin_s, begin_s + dice.uniform(2, 3) * HOUR_S, mains_a))
        if dice.random() < 0.8:
            begin_s = midnight_s + dice.uniform(12, 20) * HOUR_S
            spans.append(Span(begin_s, begin_s + dice.uniform(2, 3) * HOUR_S, mains_a))
        if dice.random() < 0.5:
            begin_s = midnight_s + dice.uniform(8, 18) * HOUR_S
            spans.append(Span(begin_s, begin_s + dice.uniform(1, 6) * HOUR_S, generator_a))
    return spans


def loads(dice: random.Random) -> Iterator[float]:
    """Yield the tent's load in amperes for each step: a base, lights in the dark, bursts."""
    base_a, burst_a, burst_s, at_s = dice.uniform(4.5, 6.5), 0.0, 0.0, 0.0
    while True:
        hour = at_s / HOUR_S % 24
        if burst_s <= 0:
            burst_a = 0.0
            if dice.random() < STEP_S / 5400:
                burst_a, burst_s = dice.uniform(3, 14), dice.uniform(60, 900)
        dark_a = 2.0 if hour < 7 or hour > 17 else 0.0
        yield max(0.5, base_a + dark_a + burst_a + dice.gauss(0, 0.3))
        burst_s -= STEP_S
        at_s += STEP_S


def cuts(
    dice: random.Random, begin_s: float, end_s: float, *, long: bool
) -> list[tuple[float, float]]:
    """Return when the unit loses power and when it starts again: RESTARTS times, never overlapping.

    The length is uniform on a logarithmic scale, so most cuts are short. With `long` it is uniform from
    a minute to two hours, so the unit is off for 30 hours a week.
    """

    def off_s() -> float:
        if long:
            return dice.uniform(SHORTEST_OFF_S, LONGEST_OFF_S)
        return SHORTEST_OFF_S * math.exp(dice.uniform(0, math.log(LONGEST_OFF_S / SHORTEST_OFF_S)))

    while True:
        begins = sorted(dice.uniform(begin_s + 600, end_s) for _ in range(RESTARTS))
        found = [(b, b + off_s()) for b in begins]
        if all(end + 300 < begin for (_, end), (begin, _) in pairwise(found)):
            return found


@dataclass
class Tally:
    """The errors of one or more runs in points, compared with the stated uncertainty."""

    judged: int = 0
    squares: float = 0.0
    inside: int = 0
    stated: float = 0.0
    worst: float = 0.0
    last: float = 0.0  # the error at the end
    capacity_pct: float = 0.0  # the error of the learned capacity

    def judge(self, found_pct: float, around_pct: float, true_pct: float) -> None:
        self.last = found_pct - true_pct
        self.judged += 1
        self.squares += self.last**2
        self.inside += abs(self.last) <= around_pct
        self.stated += around_pct
        self.worst = max(self.worst, abs(self.last))


def week(
    chemistry: str,
    dice: random.Random,
    signs: tuple[int, int],
    *,
    unknown: bool = False,
    long_cuts: bool = False,
) -> Tally:
    """Run one unit for half a day of setup with a long charge, then for a week that is measured.

    `unknown` leaves out the setup: the unit knows nothing of the battery.
    """
    spread = dice.choice((0.0, 0.01, 0.03))
    start = dice.uniform(0.2, 0.9) if unknown else 0.7
    lead = chemistry == "lead_acid"
    pack: Pack
    pack = LeadAcid(dice, start, spread) if lead else LiFePO4(dice, start, spread)
    with_cells = dice.random() < 0.5
    charger = Charger(14.4, (6 if lead else 1.5) * HOUR_S, 13.6 if lead else 13.5)
    shunt = Shunt(dice, *signs)
    begin_s = 0.0 if unknown else DAY_S / 2
    end_s = begin_s + DAYS * DAY_S
    spans = sources(dice, begin_s)
    if not unknown:
        spans.append(Span(HOUR_S, 11 * HOUR_S, 38.0))
    gaps = iter([*cuts(dice, begin_s, end_s, long=long_cuts), (math.inf, math.inf)])
    dies_s, wakes_s = next(gaps)
    load = loads(dice)
    swing, phase = dice.uniform(2, 6), dice.uniform(0, 24)

    battery = BatterySettings(chemistry, NAMEPLATE_AH)
    estimator: Estimator | None = None
    charge, saved, saved_s, save_s, judge_s = Charge(), Charge(), 0.0, 0.0, begin_s
    told_s, off_s, first = math.inf, 0.0, True
    tally = Tally()
    for n in range(int(end_s / STEP_S)):
        at_s = n * STEP_S
        if n % 120 == 0:
            pack.warm(swing * math.sin((at_s / HOUR_S + phase) * math.tau / 24))
        limit_a = max((s.limit_a for s in spans if s.begin_s <= at_s < s.end_s), default=0.0)
        pack.step(STEP_S, next(load), charger.supply(limit_a, pack.voltage_v))
        if at_s >= dies_s:
            estimator = None
            if at_s < wakes_s:
                continue
            dies_s, wakes_s = next(gaps)
        if estimator is None:
            charge = replace(saved)
            estimator = Estimator(battery, charge)
            if not first:
                off_s, fate = at_s - saved_s, dice.random()
                estimator.resume(off_s if fate < 0.5 else None)
                told_s = at_s + dice.uniform(60, 900) if fate > 0.75 else math.inf
            first = False
        if at_s >= told_s:
            estimator.resume(off_s)
            told_s = math.inf
        estimator.apply(
            shunt.current_a(pack.current_a),
            shunt.voltage_v(pack.voltage_v),
            at_s + dice.uniform(-1, 1),
            pack.highest_cell_v if with_cells else None,
        )
        if at_s >= save_s:
            saved, saved_s, save_s = replace(charge), at_s, at_s + SAVE_S
        if at_s >= judge_s:
            judge_s = at_s + JUDGE_S
            found_pct, around_pct = estimator.charge_pct, estimator.uncertainty_pct
            if found_pct is not None and around_pct is not None:
                tally.judge(found_pct, around_pct, 100 * pack.charge)
    tally.capacity_pct = 100 * ((charge.capacity_ah or NAMEPLATE_AH) / TRUE_AH - 1)
    return tally


def _summary(name: str, tallies: list[Tally]) -> dict[str, float]:
    judged = sum(t.judged for t in tallies)
    each = [math.sqrt(t.squares / t.judged) for t in tallies]
    figures = {
        "rms_points": math.sqrt(sum(t.squares for t in tallies) / judged),
        "inside_share": sum(t.inside for t in tallies) / judged,
        "stated_points": sum(t.stated for t in tallies) / judged,
        "last_rms_points": math.sqrt(fmean(t.last**2 for t in tallies)),
        "worst_run_rms_points": max(each),
        "worst_points": max(t.worst for t in tallies),
        "capacity_rms_pct": math.sqrt(fmean(t.capacity_pct**2 for t in tallies)),
    }
    return {f"{name}_{key}": round(value, 3) for key, value in figures.items()}


def measure(seeds: int = 4, seed: int = 1, *, harder: bool = True) -> dict[str, float]:
    """Run weeks of both kinds of battery, `seeds` for each sign of each error of the sensor.

    `rms_points` is the error of the charge over the whole week, `inside_share` the share of time in which
    the truth was inside the stated uncertainty, `stated_points` the mean of that uncertainty. `harder`
    adds half as many weeks with an unknown battery, and half as many with long cuts.
    """
    tallies: dict[str, list[Tally]] = {"all": []}
    for n, chemistry, signs in product(range(seeds), CHEMISTRIES, SIGNS):
        kinds: dict[str, dict[str, bool]] = {chemistry: {}}
        if harder and n % 2 == 0:
            kinds |= {"from_unknown": {"unknown": True}, "long_cuts": {"long_cuts": True}}
        for name, how in kinds.items():
            dice = random.Random(f"{seed} {chemistry} {n} {signs} {name}")
            tallies.setdefault(name, []).append(week(chemistry, dice, signs, **how))
    tallies["all"] = [t for chemistry in CHEMISTRIES for t in tallies[chemistry]]
    figures: dict[str, float] = {"weeks": len(tallies["all"])}
    for name, some in tallies.items():
        figures |= _summary(name, some)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.accuracy.battery", description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(measure(options.seeds, options.seed), indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
