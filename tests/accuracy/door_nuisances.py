"""The door among people and what is not people, in two models that share nothing but the rules."""

import argparse
import json
import random
from types import ModuleType
from typing import Any

from publisher.config.door import DoorSettings
from publisher.rules.occupancy import Occupancy
from sensors.crossing import Way
from tests.accuracy import door_bodies, door_edges
from tests.accuracy.door_scenes import Outcome, Scene, Score, run

MODELS: dict[str, ModuleType] = {"bodies": door_bodies, "edges": door_edges}
#: Time between two events, so that each is judged by itself.
APART_S = 30.0


def hour(model: ModuleType, kind: str, seed: int) -> tuple[Scene, Outcome]:
    """Return an hour of one nuisance, without people."""
    dice = random.Random(f"{kind} {seed}")
    scene = model.nuisance(kind, dice)
    return scene, run(scene, dice)


def events(model: ModuleType, kind: str, times: int, seed: int) -> Score:
    """Return how far one thing that people do is counted rightly."""
    dice, score = random.Random(f"{kind} {seed}"), Score()
    for _ in range(times):
        scene = model.event(kind, dice, 10.0)
        score.add(scene, run(scene, dice))
    return score


def measure(hours: int, times: int, seed: int = 1) -> dict[str, dict[str, Any]]:
    """Return the figures of both models: false counts an hour, seconds until doubt, events."""
    found: dict[str, dict[str, Any]] = {}
    for name, model in MODELS.items():
        for kind in model.NUISANCES:
            outcomes = [hour(model, kind, seed + n)[1] for n in range(hours)]
            doubts = [o.doubted_s for o in outcomes]
            found[f"{name}.{kind}"] = {
                "false_an_hour": round(sum(len(o.counted) for o in outcomes) / hours, 2),
                "doubt_after_s": [None if s is None else round(s) for s in doubts],
            }
        for kind in model.EVENTS:
            found[f"{name}.{kind}"] = events(model, kind, times, seed).figures()
    return found


def windy_hours(model: ModuleType, kind: str, hours: int, seed: int) -> dict[str, float]:
    """Return what hours with people and a nuisance do to the count and its interval."""
    dice, settings = random.Random(f"{kind} {seed} people"), DoorSettings()
    scene = model.nuisance(kind, dice, 3600.0 * hours)
    quiet = Scene()
    at_s, inside = 20.0, 0
    while (at_s := at_s + dice.expovariate(43 / 3600)) < 3600.0 * hours:
        way = Way.IN if inside == 0 or dice.random() < 0.5 else Way.OUT
        inside += 1 if way is Way.IN else -1
        quiet.add(model.person(dice, at_s, way))
        at_s += 2.0
    scene.add(quiet)
    outcome = run(scene, dice)
    occupancy, right, moments, inside, before_s = Occupancy(), 0, 0, 0, 0.0
    truth = sorted((s, way, True) for s, way in scene.passed)
    counted = [(s, way, False) for s, way in outcome.counted]
    for now_s, way, is_true in sorted([*truth, *counted]):
        is_in = way is Way.IN
        if is_true:
            inside += 1 if is_in else -1
        else:
            occupancy.apply(int(is_in), int(not is_in))
            if outcome.doubted_s is not None and now_s > outcome.doubted_s:
                occupancy.doubt(now_s - max(before_s, outcome.doubted_s), people=1)
            before_s = now_s
            moments += 1
            right += abs(occupancy.people - inside) <= occupancy.uncertainty(settings)
    score = Score()
    score.add(scene, outcome)
    return {
        "people": score.people, "missed": score.missed, "extra": score.extra,
        "inside": round(right / max(1, moments), 3), "uncertainty": occupancy.uncertainty(settings),
    }  # fmt: skip


def quiet_days(model: ModuleType, days: int, passages: int, seed: int) -> dict[str, float]:
    """Return how people are counted on quiet days, and on how many days the door was doubted."""
    score, doubts = Score(), 0
    for day in range(days):
        dice = random.Random(f"quiet {seed + day}")
        scene, at_s = Scene(), 10.0
        while len(scene.passed) < passages:
            kind = dice.choice(model.EVENTS) if dice.random() < 0.1 else "single_file"
            if kind not in ("legs", "dog", "chat", "meeting"):
                scene.add(model.event(kind, dice, at_s))
            at_s += dice.expovariate(1 / 15.0) + 12.0
        outcome = run(scene, dice)
        score.add(scene, outcome)
        doubts += outcome.doubted_s is not None
    return {"days": days, "doubted": doubts, "people": score.people, "right_pct": score.right_pct}


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.accuracy.door_nuisances", description=__doc__)
    parser.add_argument("--hours", type=int, default=5)
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for kind, figures in measure(options.hours, options.events, options.seed).items():
        print(kind, json.dumps(figures))  # noqa: T201


if __name__ == "__main__":
    main()
