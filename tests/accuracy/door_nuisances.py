"""The door among people and what is not people, in two models that share nothing but the rules."""

import argparse
import json
import random
from types import ModuleType
from typing import Any

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
