"""Accuracy of the time until it is dark: days of random tents through the rules, against what would come.

The model is independent of the rules: its engine burns along a curve, not a straight line; its charger slows
down as the battery fills; and the truth is what this model does with the loads that follow, if nobody does
anything from that moment on.
"""

import argparse
import json
import math
import random
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Any, NamedTuple

from publisher.config.generator import L_H_PER_KW, NO_LOAD_SHARE
from publisher.config.load import Config, parse
from sensors.reading import Value
from tests.tents import SENSORS, Unit

STEP_S = 30.0
HOUR_S, DAY_S = 3600.0, 86_400.0
TENTS, DAYS, AHEAD_DAYS = 20, 3, 4
JUDGE_S = HOUR_S
CHARGE_V, REST_V = 13.8, 13.0


class Machine(NamedTuple):
    """A generator with its charger, and a battery, as they truly are; the unit knows the nameplates."""

    rated_w: float
    tank_l: float
    full_l_h: float
    no_load_share: float
    bend: float  # exponent of the load: 1 is a straight line
    charger_a: float
    battery_ah: float

    def rate_l_h(self, feed_a: float) -> float:
        """Return what it burns while the charger gives `feed_a`."""
        load = feed_a * CHARGE_V / self.rated_w
        burnt = self.no_load_share + (1 - self.no_load_share) * math.pow(load, self.bend)
        return self.full_l_h * burnt


@dataclass
class Stock:
    """What is left."""

    fuel_l: float
    charge_ah: float

    def step(self, machine: Machine, load_a: float, *, running: bool) -> float:
        """Let a step pass; return what the charger gives."""
        feed_a = 0.0
        if running:
            room = 1 - self.charge_ah / machine.battery_ah
            taken_a = machine.charger_a * min(1.0, max(0.0, room / 0.08))
            feed_a = min(machine.charger_a, load_a + taken_a)
            self.fuel_l -= machine.rate_l_h(feed_a) * STEP_S / HOUR_S
        charge_ah = self.charge_ah + (feed_a - load_a) * STEP_S / HOUR_S
        self.charge_ah = min(machine.battery_ah, charge_ah)
        return feed_a


def machine(dice: random.Random) -> Machine:
    """Return a generator that burns up to 20 % more or less than its size says, and what is behind it."""
    charger_a = dice.uniform(20, 45)
    rated_w = charger_a * CHARGE_V / dice.uniform(0.5, 0.95)
    return Machine(
        rated_w=rated_w,
        tank_l=dice.uniform(4, 12),
        full_l_h=L_H_PER_KW * rated_w / 1000 * dice.uniform(0.8, 1.2),
        no_load_share=NO_LOAD_SHARE * dice.uniform(0.8, 1.2),
        bend=dice.uniform(0.7, 1.4),
        charger_a=charger_a,
        battery_ah=dice.uniform(100, 300),
    )


def loads(dice: random.Random, start_h: float) -> list[float]:
    """Return a tent's load for each step, in amperes: base, day, evening, a fan that switches, a kettle."""
    base_a, day_a, dark_a = dice.uniform(2, 5), dice.uniform(0, 4), dice.uniform(0, 5)
    fan_a, fan_s = dice.uniform(0, 3), dice.uniform(120, 1800)
    found, burst_a, burst_s = [], 0.0, 0.0
    for n in range(round((DAYS + AHEAD_DAYS) * DAY_S / STEP_S)):
        at_s = n * STEP_S
        hour = (start_h + at_s / HOUR_S) % 24
        if n % round(DAY_S / STEP_S) == 0:
            today = dice.uniform(0.8, 1.2)
        if burst_s <= 0:
            burst_a = 0.0
            if 7 < hour < 22 and dice.random() < STEP_S / 7200:
                burst_a, burst_s = dice.uniform(3, 15), dice.uniform(60, 600)
        burst_s -= STEP_S
        people_a = day_a * max(0.0, math.sin(math.tau * (hour - 7) / 28))
        lights_a = dark_a if hour < 7 or hour > 17 else 0.0
        fan = fan_a if at_s % (2 * fan_s) < fan_s else 0.0
        found.append(today * (base_a + people_a + lights_a + fan) + burst_a)
    return found


def configuration(machine: Machine) -> Config:
    """Return what the unit is told: nameplates, and no consumption."""
    return parse(
        '[tent]\nid = "t"\nseats = 10\n[broker]\nhost = "b"\n[report]\nstale_after_s = 120\n'
        f"[generator]\nrated_w = {machine.rated_w:.0f}\ntank_l = {machine.tank_l:.1f}\n"
        f'[battery]\nchemistry = "lifepo4"\ncapacity_ah = {machine.battery_ah:.0f}\n'
        + "".join(SENSORS[name] for name in ("mains", "generator", "battery"))
    )


class Moment(NamedTuple):
    """What was told at one moment, and the truth, in minutes."""

    on_generator: bool
    true_min: float
    likely_min: float | None
    low_min: float | None


def truth_min(
    machine: Machine, left: Stock, loads_a: list[float], n: int, *, running: bool
) -> float:
    """Return in how many minutes it is dark if nobody does anything from step `n` on."""
    stock, begin = Stock(left.fuel_l, left.charge_ah), n
    while stock.charge_ah > 0 and n < len(loads_a):
        running = running and stock.fuel_l > 0
        stock.step(machine, loads_a[n], running=running)
        n += 1
    return (n - begin) * STEP_S / 60


class Tent:
    """A tent, its people who start, stop and refuel the generator, and the unit."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._machine = machine(dice)
        self._start_h = dice.uniform(0, 24)
        self._loads = loads(dice, self._start_h)
        self._stock = Stock(0.0, self._machine.battery_ah * dice.uniform(0.4, 0.9))
        self._by_night = dice.random() < 0.5
        self._refuel_at = dice.uniform(0.1, 0.4)
        self._stands = 0  # steps until the engine that is being filled starts again
        self._charge_error_pct = dice.uniform(-3, 3)  # of the monitor
        self._config = configuration(self._machine)
        self._unit = Unit(self._config)

    def run(self) -> list[Moment]:
        """Let the days pass; return what was told each hour."""
        found = []
        self._refuel(full=True)
        for n in range(round(DAYS * DAY_S / STEP_S)):
            hour = (self._start_h + n * STEP_S / HOUR_S) % 24
            running = self._runs(hour)
            feed_a = self._stock.step(self._machine, self._loads[n], running=running)
            self._show(feed_a, self._loads[n])
            if n and n * STEP_S % JUDGE_S == 0:
                power = self._unit.tent.snapshot()["power"]
                true_min = truth_min(
                    self._machine, self._stock, self._loads, n + 1, running=running
                )
                found.append(
                    Moment(running, true_min, power["dark_in_min"], power["dark_in_min_low"])
                )
        return found

    def _runs(self, hour: float) -> bool:
        if self._stands:
            self._stands -= 1
            return False
        if self._stock.fuel_l < self._refuel_at * self._machine.tank_l:
            self._refuel(full=self._dice.random() < 0.6)
            self._stands = self._dice.randint(10, 40)
            return False
        needs = self._stock.charge_ah < 0.3 * self._machine.battery_ah
        return self._by_night or 6 <= hour < 22 or needs

    def _refuel(self, *, full: bool) -> None:
        dice, stock, tank_l = self._dice, self._stock, self._machine.tank_l
        room_l = tank_l * dice.uniform(0.97, 1.0) - stock.fuel_l
        litres = room_l if full else room_l * dice.uniform(0.4, 0.9)
        stock.fuel_l += litres
        told_l = min(self._config.generator.tank_l or 0.0, litres * dice.uniform(0.95, 1.05))
        self._unit.tent.refuelled(round(told_l, 1), self._unit.now(), full=full)

    def _show(self, feed_a: float, load_a: float) -> None:
        unit, machine, dice = self._unit, self._machine, self._dice
        current_a = feed_a - load_a
        volts = CHARGE_V if feed_a else REST_V
        charge_pct = 100 * self._stock.charge_ah / machine.battery_ah + self._charge_error_pct
        charge_pct = min(100.0, max(0.0, charge_pct))
        battery: dict[str, Value] = {
            "current_a": current_a * dice.uniform(0.99, 1.01),
            "voltage_v": volts,
            "power_w": current_a * volts,
            "charge_pct": charge_pct,
            "time_to_empty_min": None
            if current_a >= 0
            else 0.6 * charge_pct * machine.battery_ah / -current_a,
        }
        seen_a = feed_a * dice.uniform(0.99, 1.01)
        engine: dict[str, Value] = {
            "current_a": seen_a,
            "voltage_v": volts,
            "power_w": seen_a * volts,
        }
        unit.now_s += STEP_S
        assert unit.wall is not None
        unit.wall += timedelta(seconds=STEP_S)
        unit.take(
            unit.reading("mains", "present", False),
            *(unit.reading("generator", quantity, value) for quantity, value in engine.items()),
            *(unit.reading("battery", quantity, value) for quantity, value in battery.items()),
        )


def figures(found: list[Moment]) -> dict[str, Any]:
    """Return how often the low figure held, and how much of the truth it was."""
    told = [(m.low_min, m.true_min) for m in found if m.low_min is not None]
    likely = [abs(m.likely_min / m.true_min - 1) for m in found if m.likely_min and m.true_min]
    return {
        "moments": len(found),
        "told_share": round(len(told) / max(1, len(found)), 3),
        "low_held_share": round(sum(low <= true for low, true in told) / max(1, len(told)), 3),
        "median_low_of_truth": round(median(low / max(1.0, true) for low, true in told), 2),
        "median_error_of_likely_pct": round(100 * median(likely), 1),
    }


def measure(tents: int = TENTS, seed: int = 1) -> dict[str, dict[str, Any]]:
    """Run some tents; return the figures of all moments, and by what feeds the tent."""
    found = [m for n in range(tents) for m in Tent(random.Random(f"{seed} {n}")).run()]
    return {
        "all": figures(found),
        "generator": figures([m for m in found if m.on_generator]),
        "battery": figures([m for m in found if not m.on_generator]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.accuracy.autonomy", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(measure(seed=options.seed), indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
