"""How often the true number of people is within the stated uncertainty, at a door that misses some.

Visitors come at a tent's usual hours, alone or with others, and stay for a random time. Each passage is
missed at random.
"""

import random
from dataclasses import dataclass

from publisher.config.door import DoorSettings
from publisher.rules.occupancy import Occupancy

#: Number of people in a day; each passes twice.
VISITORS = 300
OPEN_H, CLOSED_H = 8.0, 22.0
#: Hours around which arrivals cluster.
_RUSHES_H = (9.0, 13.0, 18.0)


@dataclass
class Tally:
    """Over all days: how often the truth was within the stated uncertainty."""

    days: int = 0
    right_at_end: int = 0
    passages: int = 0
    right: int = 0
    stated: int = 0

    def figures(self) -> dict[str, float]:
        return {
            "at_the_end_of_the_day": round(self.right_at_end / self.days, 4),
            "at_every_passage": round(self.right / self.passages, 4),
            "mean_uncertainty": round(self.stated / self.passages, 1),
        }


def passages(dice: random.Random) -> list[tuple[float, bool]]:
    """Return a day's passages in order: the hour, and whether somebody enters."""
    found: list[tuple[float, bool]] = []
    while len(found) < 2 * VISITORS:
        rush_h = dice.choice(_RUSHES_H)
        hour = dice.gauss(rush_h, 1.5) if dice.random() < 0.5 else dice.uniform(OPEN_H, CLOSED_H)
        stay_h = dice.lognormvariate(0.3, 0.8)
        if not OPEN_H <= hour < CLOSED_H - 0.1:
            continue
        for _ in range(min(dice.choice((1, 1, 1, 2, 3, 5)), VISITORS - len(found) // 2)):
            comes_h = hour + dice.uniform(0, 0.01)
            leaves_h = min(comes_h + stay_h, CLOSED_H - dice.uniform(0, 0.05))
            found += [(comes_h, True), (leaves_h + dice.uniform(0, 0.01), False)]
    return sorted(found)


def watch(days: int, missed_in: float, missed_out: float, door: DoorSettings, seed: int) -> Tally:
    """Simulate days that begin with an empty tent, at a door that misses these shares of the people."""
    dice = random.Random(seed)
    tally = Tally(days)
    for _ in range(days):
        occupancy, inside = Occupancy(), 0
        is_right = True
        for _, enters in passages(dice):
            inside += 1 if enters else -1
            if dice.random() >= (missed_in if enters else missed_out):
                occupancy.apply(int(enters), int(not enters))
            stated = occupancy.uncertainty(door)
            is_right = abs(occupancy.people - inside) <= stated
            tally.passages += 1
            tally.right += is_right
            tally.stated += stated
        tally.right_at_end += is_right
    return tally


def measure(days: int = 1000, seed: int = 1) -> dict[str, dict[str, float]]:
    """Return the shares for a door with configured rates, and for one with the default rates."""
    configured = DoorSettings(missed_in=0.05, missed_out=0.08)
    return {
        "configured": watch(days, 0.05, 0.08, configured, seed).figures(),
        "as_it_comes": watch(days, 0.05, 0.05, DoorSettings(), seed).figures(),
    }


def quiet_days(series: int, seed: int, days: int = 4) -> dict[str, float]:
    """Return the interval at the end of the last day, and how often the truth was inside on it.

    Each series is a door that miscounts one passage in 100 to 1000, as often too much as too little, and
    a tent that empties each night without anybody saying so.
    """
    dice, door = random.Random(seed), DoorSettings()
    widths: list[int] = []
    inside_at_passages = passed = 0
    for _ in range(series):
        occupancy, share = Occupancy(), dice.uniform(0.001, 0.01)
        for day in range(days):
            inside = 0
            for _, enters in passages(dice):
                inside += 1 if enters else -1
                times = dice.choice((0, 2)) if dice.random() < share else 1
                occupancy.apply(times * enters, times * (not enters))
                if day == days - 1:
                    passed += 1
                    error = abs(occupancy.people - inside)
                    inside_at_passages += error <= occupancy.uncertainty(door)
            if day == days - 1:
                widths.append(occupancy.uncertainty(door))
            occupancy.learn_from_quiet()
    widths.sort()
    return {
        "median_uncertainty": widths[len(widths) // 2],
        "p90_uncertainty": widths[int(len(widths) * 0.9)],
        "inside": round(inside_at_passages / passed, 4),
    }
