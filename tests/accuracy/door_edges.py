"""The door, model "edges": times of edges drawn from distributions; nothing has a place or a body.

The figures are those of people at a door (1.2 m/s, 0.3 m deep, spread as people are) and of a tent's
canvas in the wind (waves of 2 to 6 m/s, breaks of 40 to 60 ms, 40 gusts an hour of 2 to 20 s).
"""

import random
from collections.abc import Iterator

from sensors.crossing import Way
from sensors.passage import INNER, OUTER
from tests.accuracy.door_scenes import BEAMS, SPACING_M, Scene

HOUR_S = 3600.0
GUSTS_AN_HOUR = 40
#: What is not people: how an hour of each is made.
NUISANCES = (
    "flap_in_one_beam", "swaying", "waves_10_pct", "waves_all", "flicker", "rain",
)  # fmt: skip
#: What people do that is hard to judge.
EVENTS = ("leading_arm", "hand_twice", "meeting", "chat", "u_turn", "tailgating", "single_file")


def nuisance(kind: str, dice: random.Random, length_s: float = HOUR_S) -> Scene:
    """Return a time with nobody at the door, and one thing that is not people."""
    scene = Scene()
    if kind == "flicker":
        _flicker(scene, dice, length_s)
    elif kind == "rain":
        at_s = 0.0
        while (at_s := at_s + dice.expovariate(3.0)) < length_s:
            scene.break_beam(dice.choice(BEAMS), at_s, at_s + dice.uniform(0.0005, 0.008))
    else:
        for start_s, end_s in gusts(dice, length_s):
            _gust(scene, kind, dice, start_s, end_s)
    return scene


def gusts(dice: random.Random, length_s: float) -> Iterator[tuple[float, float]]:
    """Yield the gusts of a time."""
    at_s = dice.uniform(0, 20)
    while at_s < length_s:
        end_s = at_s + dice.uniform(2.0, 20.0)
        yield at_s, min(end_s, length_s)
        at_s = end_s + dice.expovariate(1 / (HOUR_S / GUSTS_AN_HOUR - 11.0))


def _gust(scene: Scene, kind: str, dice: random.Random, start_s: float, end_s: float) -> None:
    beam = dice.choice(BEAMS)
    beat_s = dice.uniform(0.6, 1.6) if kind == "swaying" else dice.uniform(0.15, 0.5)
    travelling = {"waves_10_pct": 0.1, "waves_all": 1.0}.get(kind, 0.0)
    at_s = start_s
    while at_s < end_s:
        if kind == "swaying":
            length_s = dice.uniform(0.08, 0.6)
            scene.break_beam(beam, at_s, at_s + length_s)
            if dice.random() < 0.15:  # far enough to touch the other beam
                lag_s = dice.uniform(0.03, 0.2) * min(1.0, length_s / 0.3)
                scene.break_beam(1 - beam, at_s + lag_s, at_s + max(lag_s + 0.02, length_s - lag_s))
        elif dice.random() < travelling:
            lag_s = SPACING_M / dice.uniform(2.0, 6.0)
            for number, which in enumerate((beam, 1 - beam)):
                from_s = at_s + number * lag_s + dice.gauss(0, 0.003)
                scene.break_beam(which, from_s, from_s + dice.uniform(0.04, 0.06))
        else:
            scene.break_beam(beam, at_s, at_s + dice.uniform(0.04, 0.06))
        at_s += beat_s * dice.uniform(0.6, 1.5)


def _flicker(scene: Scene, dice: random.Random, length_s: float) -> None:
    """Low sun behind moving leaves: each receiver is dazzled by itself, or both together."""
    at_s = 0.0
    while (at_s := at_s + dice.expovariate(1 / 60.0)) < length_s:
        end_s = at_s + dice.uniform(3.0, 40.0)
        beams = dice.choice(((OUTER,), (INNER,), BEAMS))
        for beam in beams:
            now_s = at_s
            while now_s < end_s:
                dark_s = min(dice.expovariate(1 / 0.06) + 0.005, 0.5)
                scene.break_beam(beam, now_s, now_s + dark_s)
                now_s += dark_s + dice.expovariate(1 / 0.25) + 0.01
        at_s = end_s


def person(
    dice: random.Random, at_s: float, way: Way | None = None, pace_m_s: float | None = None
) -> Scene:
    """Return one person who passes, the first beam being broken at `at_s`."""
    scene = Scene()
    way = way or dice.choice((Way.IN, Way.OUT))
    pace = pace_m_s or min(2.2, max(0.35, dice.lognormvariate(0.1, 0.33)))
    depth_m = min(0.5, max(0.2, dice.gauss(0.31, 0.05)))
    first, second = (OUTER, INNER) if way is Way.IN else (INNER, OUTER)
    front_s = SPACING_M / pace * dice.uniform(0.85, 1.2)
    back_s = SPACING_M / pace * dice.uniform(0.85, 1.2)
    length_s = depth_m / pace
    scene.break_beam(first, at_s, at_s + length_s)
    scene.break_beam(second, at_s + front_s, at_s + length_s + back_s)
    scene.passed.append((at_s + length_s, way))
    return scene


def event(kind: str, dice: random.Random, at_s: float = 0.0) -> Scene:
    """Return something that people do at the door."""
    way = dice.choice((Way.IN, Way.OUT))
    first, second = (OUTER, INNER) if way is Way.IN else (INNER, OUTER)
    scene = Scene()
    if kind == "leading_arm":
        pace = dice.uniform(0.6, 1.6)
        scene = person(dice, at_s + 0.5, way, pace)
        before_s = dice.uniform(0.06, 0.3) / pace
        for number, beam in enumerate((first, second)):
            if number == 0 or dice.random() < 0.7:
                from_s = at_s + 0.5 - before_s + number * SPACING_M / pace
                scene.break_beam(beam, from_s, from_s + dice.uniform(0.04, 0.1) / pace)
    elif kind == "hand_twice":
        lag_s = dice.uniform(0.06, 0.2)
        length_s = lag_s * dice.uniform(0.06, 0.14) / SPACING_M
        for _ in range(2):
            for beam in (first, second):
                scene.break_beam(beam, at_s, at_s + length_s * dice.uniform(0.9, 1.1))
                at_s += lag_s
            at_s += dice.uniform(0.2, 0.7)
            first, second = second, first
    elif kind == "meeting":
        scene.add(person(dice, at_s, Way.IN))
        scene.add(person(dice, at_s + dice.uniform(-0.4, 0.8), Way.OUT))
    elif kind == "chat":
        _chat(scene, dice, at_s)
    elif kind == "u_turn":
        stay_s, lag_s = dice.uniform(0.4, 4.0), dice.uniform(0.08, 0.3)
        scene.break_beam(first, at_s, at_s + stay_s)
        if stay_s > 0.5 + lag_s and dice.random() < 0.6:
            scene.break_beam(second, at_s + lag_s, at_s + stay_s - dice.uniform(0.08, 0.3))
    elif kind == "tailgating":
        pace = dice.uniform(0.6, 1.5)
        for _ in range(2):
            scene.add(person(dice, at_s, way, pace))
            at_s += dice.uniform(0.42, 0.5) / pace + 0.05
    else:
        pace = dice.uniform(0.5, 1.8)
        for _ in range(dice.randint(1, 5)):
            scene.add(person(dice, at_s, way, pace))
            at_s += dice.uniform(0.8, 3.0) / pace
    return scene


def _chat(scene: Scene, dice: random.Random, at_s: float) -> None:
    """Two people talk in the doorway; each comes from one side, and goes back or on."""
    end_s = at_s + dice.uniform(4.0, 30.0)
    for beam in BEAMS:
        now_s = at_s + dice.uniform(0, 1.0)
        while now_s < end_s:
            stay_s = dice.lognormvariate(0.0, 0.9)
            scene.break_beam(beam, now_s, min(end_s + dice.uniform(0, 0.3), now_s + stay_s))
            now_s += stay_s + dice.lognormvariate(0.3, 0.8)
    if dice.random() < 0.5:
        scene.add(person(dice, end_s + dice.uniform(0.3, 2.0)))
