"""The door, model "bodies": what hangs, walks and waves has a place.

It is sampled a thousand times a second. A body is a set of intervals along the way through the door, at
beam height; it breaks a beam while one of them covers the beam's place. Canvas is a sheet that a gust moves:
a pendulum, or a wave that runs along it. The wind rises and falls, so no two beats are alike.
"""

import math
import random
from collections.abc import Callable, Iterator

from sensors.crossing import Way
from sensors.passage import OUTER
from tests.accuracy.door_scenes import BEAMS, SPACING_M, Scene

STEP_S = 0.001
PLACES_M = (0.0, SPACING_M)
NUISANCES = ("flap_in_one_beam", "swaying", "waves_10_pct", "waves_all", "flicker")
EVENTS = (
    "swinging_arms", "leading_arm", "hand_twice", "meeting", "chat", "u_turn", "tailgating",
    "single_file", "dog", "legs",
)  # fmt: skip
#: Mean time between gusts, and their lengths.
CALM_S, GUST_S = 80.0, (2.0, 20.0)

Intervals = list[tuple[float, float]]
#: The intervals that a body covers at a time.
Body = Callable[[float], Intervals]


def sample(scene: Scene, body: Body, start_s: float, end_s: float) -> None:
    """Add the breaks that a body causes from `start_s` to `end_s`."""
    since: list[float | None] = [None, None]
    for step in range(int((end_s - start_s) / STEP_S) + 1):
        at_s = start_s + step * STEP_S
        covered = body(at_s)
        for beam in BEAMS:
            place_m = PLACES_M[beam]
            broken = any(low <= place_m <= high for low, high in covered)
            from_s = since[beam]
            if broken and from_s is None:
                since[beam] = at_s
            elif not broken and from_s is not None:
                scene.break_beam(beam, from_s, at_s)
                since[beam] = None
    for beam in BEAMS:
        from_s = since[beam]
        if from_s is not None:
            scene.break_beam(beam, from_s, end_s)


# Canvas, sun


def nuisance(kind: str, dice: random.Random, length_s: float = 3600.0) -> Scene:
    """Return a time with nobody at the door, and one thing that is not people."""
    scene = Scene()
    at_s = dice.uniform(0, 30)
    while at_s < length_s:
        end_s = at_s + dice.uniform(*GUST_S)
        if kind == "flicker":
            _sun(scene, dice, at_s, end_s)
        elif kind == "swaying":
            _pendulum(scene, dice, at_s, end_s)
        else:
            travelling = {"waves_10_pct": 0.1, "waves_all": 1.0}.get(kind, 0.0)
            _waves(scene, dice, at_s, end_s, travelling)
        at_s = end_s + dice.expovariate(1 / CALM_S)
    return scene


def _pendulum(scene: Scene, dice: random.Random, start_s: float, end_s: float) -> None:
    """A flap that hangs beside the beams swings into the nearer one, in a strong gust to the other."""
    side = dice.choice((1.0, -1.0))
    rest_m = (-dice.uniform(0.05, 0.15)) if side > 0 else SPACING_M + dice.uniform(0.05, 0.15)
    swing_hz, thick_m = dice.uniform(0.5, 1.1), dice.uniform(0.04, 0.12)
    push_m, phase = dice.uniform(0.08, 0.3), dice.uniform(0, 6)
    length_s = end_s - start_s

    def sheet(at_s: float) -> Intervals:
        strength = math.sin(math.pi * (at_s - start_s) / length_s)
        turn = math.tau * swing_hz * at_s + phase
        wobble = 0.3 * math.sin(2.7 * turn)
        place_m = rest_m + side * push_m * strength * (0.5 + 0.5 * math.sin(turn + wobble))
        return [(place_m - thick_m / 2, place_m + thick_m / 2)]

    sample(scene, sheet, start_s, end_s)


def _waves(
    scene: Scene, dice: random.Random, start_s: float, end_s: float, travelling: float
) -> None:
    """A loose edge beats into one beam; of these beats a share runs along the canvas through both."""
    at_s = start_s
    near = dice.choice(BEAMS)
    rate_hz = dice.uniform(2.0, 6.0)
    while at_s < end_s:
        speed = dice.uniform(2.0, 6.0)
        crest_m = speed * dice.uniform(0.035, 0.065)
        if dice.random() < travelling:
            from_m = 0.0 if near == OUTER else SPACING_M
            heading = 1.0 if near == OUTER else -1.0
            quickening = dice.uniform(-3.0, 3.0)
            for beam in BEAMS:
                way_m = abs(PLACES_M[beam] - from_m)
                # The wave may become quicker or slower on its way by up to 3 m/s a second.
                reaches_s = way_m / max(1.0, speed + heading * quickening * 0.02)
                broken_s = crest_m / speed * dice.uniform(0.9, 1.1)
                scene.break_beam(beam, at_s + reaches_s, at_s + reaches_s + broken_s)
        else:
            scene.break_beam(near, at_s, at_s + crest_m / speed)
        at_s += dice.uniform(0.5, 1.6) / rate_hz


def _sun(scene: Scene, dice: random.Random, start_s: float, end_s: float) -> None:
    """Leaves move before a low sun: the light on both receivers is nearly the same."""
    waves = [(dice.uniform(0.7, 9.0), dice.uniform(0, 6), dice.random()) for _ in range(5)]
    limit = dice.uniform(0.6, 1.6)
    offsets_s = (0.0, dice.uniform(-0.05, 0.05))
    dazzled: list[float | None] = [None, None]
    for step in range(int((end_s - start_s) / 0.002)):
        at_s = start_s + step * 0.002
        for beam in BEAMS:
            light = sum(
                a * math.sin(math.tau * hz * (at_s + offsets_s[beam]) + p) for hz, p, a in waves
            )
            from_s = dazzled[beam]
            if light > limit and from_s is None:
                dazzled[beam] = at_s
            elif light <= limit and from_s is not None:
                scene.break_beam(beam, from_s, at_s)
                dazzled[beam] = None


# People and animals


def _walk(
    dice: random.Random,
    at_s: float,
    way: Way,
    speed: float,
    *,
    depth_m: float,
    arms_m: float = 0.0,
    lead_m: float = 0.0,
) -> Iterator[tuple[Body, float, float]]:
    """Yield the body of somebody whose front reaches the first beam at `at_s`, from when to when."""
    step_hz = 0.8 * math.sqrt(speed) + 0.1
    phase = dice.uniform(0, 6)
    uneven = dice.uniform(0.0, 0.12)

    def front_m(now_s: float) -> float:
        turn = 2 * math.tau * step_hz
        return speed * (now_s - at_s) + uneven * speed * math.sin(turn * now_s + phase) / turn

    def intervals(now_s: float) -> Intervals:
        front = front_m(now_s)
        parts = [(front - depth_m, front)]
        if lead_m:
            parts.append((front + lead_m, front + lead_m + 0.07))
        if arms_m:
            for sign in (1.0, -1.0):
                hand = (
                    front
                    - depth_m / 2
                    + sign * arms_m * math.sin(math.tau * step_hz * now_s + phase)
                )
                parts.append((hand - 0.045, hand + 0.045))
        return parts if way is Way.IN else [(SPACING_M - b, SPACING_M - a) for a, b in parts]

    reach_m = max(arms_m, lead_m + 0.07) + 0.1
    yield (
        intervals,
        at_s - reach_m / speed,
        at_s + (depth_m + SPACING_M + reach_m + 0.1) / (speed * 0.85),
    )


def walker(
    dice: random.Random,
    at_s: float,
    way: Way | None = None,
    speed: float | None = None,
    **body: float,
) -> Scene:
    """Return somebody who passes."""
    way = way or dice.choice((Way.IN, Way.OUT))
    speed = speed or min(2.4, max(0.4, dice.gauss(1.15, 0.3)))
    scene = Scene()
    body = {"depth_m": dice.uniform(0.2, 0.42), **body}
    for moving, from_s, to_s in _walk(dice, at_s, way, speed, **body):
        sample(scene, moving, from_s, to_s)
    scene.passed.append((at_s + (body["depth_m"] + SPACING_M) / speed, way))
    return scene


def event(kind: str, dice: random.Random, at_s: float = 0.0) -> Scene:
    """Return something that people or animals do at the door."""
    way = dice.choice((Way.IN, Way.OUT))
    scene = Scene()
    if kind == "swinging_arms":
        return walker(dice, at_s, way, arms_m=dice.uniform(0.18, 0.35))
    if kind == "leading_arm":
        return walker(dice, at_s, way, lead_m=dice.uniform(0.02, 0.3))
    if kind == "dog":  # a large one, at the height of its back; nobody passes
        scene = walker(dice, at_s, way, dice.uniform(0.8, 2.5), depth_m=dice.uniform(0.5, 0.9))
        scene.passed.clear()
    elif kind == "hand_twice":
        _hand(scene, dice, at_s)
    elif kind == "meeting":
        scene.add(walker(dice, at_s, Way.IN))
        scene.add(walker(dice, at_s + dice.uniform(-0.3, 0.6), Way.OUT))
    elif kind == "chat":
        _chat(scene, dice, at_s)
    elif kind == "u_turn":
        _u_turn(scene, dice, at_s, way)
    elif kind == "legs":
        _legs(scene, dice, at_s, way)
    elif kind == "tailgating":
        speed = dice.uniform(0.6, 1.5)
        for _ in range(2):
            depth_m = dice.uniform(0.24, 0.34)
            scene.add(walker(dice, at_s, way, speed, depth_m=depth_m))
            at_s += (depth_m + dice.uniform(0.1, 0.2)) / speed
    else:
        speed = dice.uniform(0.5, 1.9)
        for _ in range(dice.randint(1, 5)):
            scene.add(walker(dice, at_s, way, speed))
            at_s += dice.uniform(0.5, 2.0) / speed + 0.1 + 0.25 / speed
    return scene


def _hand(scene: Scene, dice: random.Random, at_s: float) -> None:
    """A hand swings to and fro through the beams, once or twice."""
    reach_m, swing_s = dice.uniform(0.18, 0.35), dice.uniform(0.7, 1.4)
    middle_m, wide_m = dice.uniform(0.03, 0.12), dice.uniform(0.06, 0.11)
    times = dice.choice((1, 2))

    def hand(now_s: float) -> Intervals:
        place = middle_m - reach_m * math.cos(math.tau * (now_s - at_s) / swing_s)
        return [(place - wide_m / 2, place + wide_m / 2)]

    sample(scene, hand, at_s, at_s + times * swing_s)


def _u_turn(scene: Scene, dice: random.Random, at_s: float, way: Way) -> None:
    depth_m, speed = dice.uniform(0.22, 0.4), dice.uniform(0.5, 1.3)
    far_m, stay_s = dice.uniform(0.03, SPACING_M + depth_m - 0.03), dice.uniform(0.2, 4.0)
    turn_s = at_s + (far_m + 0.3) / speed

    def body(now_s: float) -> Intervals:
        front = far_m - max(0.0, turn_s - now_s, now_s - turn_s - stay_s) * speed
        part = (front - depth_m, front)
        return [part] if way is Way.IN else [(SPACING_M - part[1], SPACING_M - part[0])]

    sample(scene, body, at_s, turn_s + stay_s + (far_m + 0.3) / speed)


def _chat(scene: Scene, dice: random.Random, at_s: float) -> None:
    """Somebody stands in the doorway, sways and moves the hands, then goes back where they came from."""
    depth_m, stays_s = dice.uniform(0.22, 0.38), dice.uniform(4.0, 25.0)
    stand_m = dice.uniform(-0.05, 0.3)
    sway_m, sway_hz, phase = dice.uniform(0.01, 0.08), dice.uniform(0.1, 0.4), dice.uniform(0, 6)
    gesture_hz = dice.uniform(0.3, 1.0)
    leaves_s = at_s + stays_s

    def body(now_s: float) -> Intervals:
        if now_s < at_s + 1.0:
            front = stand_m - (at_s + 1.0 - now_s)
        elif now_s > leaves_s:
            front = stand_m - (now_s - leaves_s)
        else:
            front = stand_m + sway_m * math.sin(math.tau * sway_hz * (now_s - at_s - 1.0))
        parts = [(front - depth_m, front)]
        swing = math.sin(math.tau * gesture_hz * now_s + phase) + math.sin(0.37 * now_s)
        if swing > 0.3 and at_s + 1.0 < now_s < leaves_s:
            hand = front + 0.3 * (swing - 0.3)
            parts.append((hand - 0.04, hand + 0.04))
        return parts

    sample(scene, body, at_s, leaves_s + 1.5)


def _legs(scene: Scene, dice: random.Random, at_s: float, way: Way) -> None:
    """Two legs at the height of a shin: one stands while the other swings past at twice the speed."""
    speed, wide_m = dice.uniform(0.7, 1.4), dice.uniform(0.1, 0.16)
    step_m = 0.35 + 0.25 * speed
    offset_m = dice.uniform(0, step_m)

    def legs(now_s: float) -> Intervals:
        place = speed * (now_s - at_s) - 0.8 + offset_m
        found = []
        for foot in (0.0, 1.0):
            cycles, part = divmod(place / (2 * step_m) + foot / 2, 1.0)
            along = 2 * step_m * (cycles - foot / 2 + (0.0 if part < 0.5 else (part - 0.5) * 2))
            found.append((along - wide_m / 2, along + wide_m / 2))
        return found if way is Way.IN else [(SPACING_M - b, SPACING_M - a) for a, b in found]

    sample(scene, legs, at_s, at_s + 3.2 / speed)
    scene.passed.append((at_s + 1.6 / speed, way))


#: The name that both models give it.
person = walker
