"""Who passes a door with light beams: the rules, with plain numbers for times."""

import random
from collections.abc import Iterable
from math import inf
from typing import NamedTuple

import pytest

from sensors.passage import (
    ALONE_S,
    END_S,
    FAILED_S,
    FAILED_TIMES,
    INNER,
    MOST_BREAKS,
    OBSTRUCTED_S,
    OUTER,
    REBREAK_S,
    Failure,
    Passages,
    Traffic,
    Way,
)
from tests.accuracy import door as accuracy

SPACING_M, BODY_M = 0.15, 0.3
PULSE_S = 0.0001


class Door(NamedTuple):
    """When each beam changes from free to broken or back; both are free at first.

    A disturbance is a pair of changes more, wherever it falls.
    """

    outer: list[float]
    inner: list[float]

    def with_pulse(self, at_s: float, *, outer: bool, inner: bool) -> "Door":
        pulse = [at_s, at_s + PULSE_S]
        return Door(self.outer + pulse * outer, self.inner + pulse * inner)

    def followed_by(self, other: "Door") -> "Door":
        return Door(self.outer + other.outer, self.inner + other.inner)


def passing(way: Way, at_s: float = 0.0, speed: float = 1.2, body_m: float = BODY_M) -> Door:
    first = [at_s, at_s + body_m / speed]
    second = [s + SPACING_M / speed for s in first]
    return Door(first, second) if way is Way.IN else Door(second, first)


def turning_back(way: Way, depth_m: float, at_s: float = 0.0, speed: float = 1.2) -> Door:
    """Someone comes `depth_m` past the first beam, heading `way`, stands a second, walks backwards."""
    back_s = at_s + 2 * depth_m / speed + 1.0

    def broken(beam_m: float) -> list[float]:
        edges = [beam_m / speed] if depth_m > beam_m else []
        edges += [(beam_m + BODY_M) / speed] if depth_m > beam_m + BODY_M else []
        return [at_s + s for s in edges] + [back_s - s for s in reversed(edges)]

    first, second = broken(0.0), broken(SPACING_M)
    return Door(first, second) if way is Way.IN else Door(second, first)


def changes_of(door: Door) -> list[tuple[float, int, bool]]:
    """Return each change's time, its beam, and whether it is broken from then on."""
    blocked = [False, False]
    found = []
    for at_s, beam in sorted([(s, OUTER) for s in door.outer] + [(s, INNER) for s in door.inner]):
        blocked[beam] = not blocked[beam]
        found.append((at_s, beam, blocked[beam]))
    return found


def counted(door: Door, passages: Passages | None = None) -> list[tuple[float, Way]]:
    """Return when and which way people were counted, and let time pass after the last change."""
    passages = passages or free_door()
    found = []
    changes = changes_of(door)
    for number, (at_s, beam, blocked) in enumerate(changes):
        assert passages.change(at_s, beam, blocked) == [], "a tick in time tells of everybody"
        next_s = changes[number + 1][0] if number + 1 < len(changes) else inf
        while (due_s := passages.due_s) is not None and due_s < next_s:
            found += [(due_s, way) for way in passages.tick(due_s)]
    return found


def ways(door: Door) -> list[Way]:
    return [way for _, way in counted(door)]


def free_door() -> Passages:
    return Passages((False, False), -10.0)


def mirrored(door: Door, way: Way) -> Door:
    """Return a door that was thought of for the way in as it is for `way`."""
    return door if way is Way.IN else Door(door.inner, door.outer)


BOTH_WAYS = pytest.mark.parametrize("way", [Way.IN, Way.OUT])


@BOTH_WAYS
@pytest.mark.parametrize("speed", [0.3, 0.6, 1.2, 2.0, 4.0])
def test_a_person_counts_once_in_the_right_direction_at_any_speed(way: Way, speed: float) -> None:
    assert ways(passing(way, speed=speed)) == [way]


@BOTH_WAYS
def test_a_person_counts_as_soon_as_the_door_is_known_to_be_free(way: Way) -> None:
    door = passing(way)
    [(at_s, _)] = counted(door)
    assert at_s - max(door.outer + door.inner) == pytest.approx(END_S)


@BOTH_WAYS
def test_without_a_tick_a_person_counts_when_the_next_one_comes(way: Way) -> None:
    door = passing(way).followed_by(passing(way, at_s=5.0))
    passages = Passages((False, False), -1.0)
    found = [passages.change(*change) for change in changes_of(door)]
    assert found == [[], [], [], [], [way], [], [], []]
    assert passages.tick(6.0) == [way]


@BOTH_WAYS
@pytest.mark.parametrize("depth_m", [0.05, 0.14, 0.16, 0.29, 0.31, 0.44])
def test_who_turns_back_is_not_counted(way: Way, depth_m: float) -> None:
    assert ways(turning_back(way, depth_m)) == []


@BOTH_WAYS
def test_who_hesitates_counts_once(way: Way) -> None:
    """To and fro between the beams before going on: 1 3 1 3 2 3 2 on the way in."""
    first, second = [0.0, 2.0, 2.3, 2.6], [0.4, 0.8, 1.2, 3.2]
    assert ways(Door(first, second) if way is Way.IN else Door(second, first)) == [way]


@BOTH_WAYS
def test_who_stands_in_the_door_for_a_while_counts(way: Way) -> None:
    first, second = [0.0, 25.0], [0.2, 25.5]
    assert ways(Door(first, second) if way is Way.IN else Door(second, first)) == [way]


@pytest.mark.parametrize("beams", [(True, False), (False, True), (True, True)])
@BOTH_WAYS
def test_a_glitch_changes_nothing_whenever_it_comes(way: Way, beams: tuple[bool, bool]) -> None:
    outer, inner = beams
    clean = passing(way)
    for step in range(-100, 600):
        door = clean.with_pulse(step / 1000 + 0.00003, outer=outer, inner=inner)
        assert ways(door) == [way], f"glitch at {step} ms"


@pytest.mark.parametrize("beams", [(True, False), (False, True), (True, True)])
def test_glitches_at_a_free_door_count_nobody(beams: tuple[bool, bool]) -> None:
    door = Door([], [])
    for number in range(200):
        door = door.with_pulse(number * 0.037, outer=beams[0], inner=beams[1])
    assert ways(door) == []


@BOTH_WAYS
@pytest.mark.parametrize("edge", range(4))
@pytest.mark.parametrize("bounces", [1, 3, 5])
def test_bouncing_at_an_edge_changes_nothing(way: Way, edge: int, bounces: int) -> None:
    door = passing(way)
    at_s = sorted(door.outer + door.inner)[edge]
    pulses = [at_s + 0.0007 * n for n in range(1, 2 * bounces + 1)]
    bouncing = Door(
        door.outer + pulses * (at_s in door.outer), door.inner + pulses * (at_s in door.inner)
    )
    assert ways(bouncing) == [way]


@BOTH_WAYS
def test_bouncing_at_every_edge_changes_nothing(way: Way) -> None:
    door = passing(way)
    bouncing = Door(*([s + d for s in beam for d in (0, 0.001, 0.003)] for beam in door))
    assert ways(bouncing) == [way]


@BOTH_WAYS
def test_a_thin_body_that_never_breaks_both_beams_counts(way: Way) -> None:
    assert ways(passing(way, body_m=0.08)) == [way]


@BOTH_WAYS
def test_a_thin_body_counts_in_spite_of_a_glitch(way: Way) -> None:
    for step in range(-20, 250):
        door = passing(way, body_m=0.08).with_pulse(step / 1000 + 3e-5, outer=True, inner=False)
        assert ways(door) == [way], f"glitch at {step} ms"


def test_a_hand_in_either_beam_counts_nobody() -> None:
    assert ways(Door([0.0, 0.2, 1.0, 1.2], [])) == []
    assert ways(Door([], [0.0, 0.2, 1.0, 1.2])) == []
    assert ways(Door([0.0, 0.2], [0.6, 0.8])) == [], "too far apart to be one body"


def test_both_beams_at_once_count_nobody() -> None:
    assert ways(Door([0.0, 0.3], [0.0, 0.3])) == []


@BOTH_WAYS
@pytest.mark.parametrize("speed", [0.3, 1.2, 2.0])
def test_two_people_half_a_metre_apart_are_two(way: Way, speed: float) -> None:
    """From front to front, so that 20 cm are free between them."""
    second = passing(way, at_s=0.5 / speed, speed=speed)
    assert ways(passing(way, speed=speed).followed_by(second)) == [way, way]


def test_someone_leaves_right_after_another_has_come() -> None:
    assert ways(passing(Way.IN).followed_by(passing(Way.OUT, at_s=0.5))) == [Way.IN, Way.OUT]


def test_whoever_stands_in_the_door_at_the_start_is_not_counted() -> None:
    for outer, inner in ((True, False), (False, True), (True, True)):
        passages = Passages(outer, inner, 0.0)
        assert passages.change(1.0, inner=False, blocked=False) is None
        assert passages.change(1.2, inner=True, blocked=False) is None
        assert passages.tick(2.0) is None
        assert [way for _, way in counted(passing(Way.IN, at_s=3.0), passages)] == [Way.IN]


def test_an_obstruction_is_told_and_counts_nobody_when_it_is_cleared() -> None:
    passages = Passages(False, False, 0.0)
    passages.change(1.0, inner=False, blocked=True)
    passages.change(1.1, inner=True, blocked=True)
    passages.tick(30.9)
    assert not passages.obstructed
    passages.tick(31.1)
    assert passages.obstructed
    assert passages.change(40.0, inner=False, blocked=False) is None
    assert passages.obstructed, "one beam is still broken"
    assert passages.change(40.2, inner=True, blocked=False) is None
    assert passages.due_s is not None
    assert passages.tick(passages.due_s + 1e-9) is None
    assert not passages.obstructed
    assert [way for _, way in counted(passing(Way.OUT, at_s=41.0), passages)] == [Way.OUT]


def test_an_obstruction_counts_nobody_even_where_no_tick_saw_it() -> None:
    door = Door([0.0, 40.0], [0.2, 40.3])
    assert ways(door) == []


def test_people_who_pass_behind_an_obstructed_beam_are_not_counted() -> None:
    passages = Passages(False, False, 0.0)
    passages.change(0.0, inner=False, blocked=True)
    passages.tick(31.0)
    for second in range(32, 40):
        assert passages.change(second, inner=True, blocked=True) is None
        assert passages.change(second + 0.3, inner=True, blocked=False) is None
    assert passages.obstructed
    assert passages.change(41.0, inner=False, blocked=False) is None
    assert passages.tick(42.0) is None


def test_a_flicker_does_not_end_an_obstruction() -> None:
    passages = Passages(False, False, 0.0)
    passages.change(0.0, inner=True, blocked=True)
    passages.tick(31.0)
    passages.change(32.0, inner=True, blocked=False)
    passages.tick(32.0 + PULSE_S / 2)
    assert passages.obstructed
    passages.change(32.0 + PULSE_S, inner=True, blocked=True)
    passages.tick(33.0)
    assert passages.obstructed


def test_a_repeated_level_is_no_change() -> None:
    passages = Passages(False, False, 0.0)
    for at_s, inner, blocked in ((1.0, False, True), (1.125, True, True), (1.25, False, False)):
        assert passages.change(at_s, inner=inner, blocked=blocked) is None
        assert passages.change(at_s + 0.05, inner=inner, blocked=blocked) is None
    passages.change(1.375, inner=True, blocked=False)
    passages.change(1.38, inner=True, blocked=False)
    assert passages.tick(1.4) is Way.IN
    assert passages.tick(1.5) is None


class Walker(NamedTuple):
    from_s: float
    door: Door
    way: Way | None  # None turns back


def crowd(dice: random.Random, walkers: int) -> Iterable[Walker]:
    """Yield people who pass one after the other, each at least half a metre behind the last."""
    at_s = 0.0
    for _ in range(walkers):
        way = dice.choice(list(Way))
        speed = dice.uniform(0.3, 2.0)
        if dice.random() < 0.03:
            depth_m = dice.uniform(0.02, 0.44)
            yield Walker(at_s, turning_back(way, depth_m, at_s, speed), None)
            at_s += 2 * depth_m / speed + 1.0
        else:
            yield Walker(at_s, passing(way, at_s, speed), way)
            at_s += (SPACING_M + BODY_M) / speed
        at_s += dice.uniform(0.5, 3.0) / speed


def disturbed(dice: random.Random, beam: list[float], until_s: float) -> list[float]:
    """Add bounces to a beam's edges, and a glitch every 5 s or so."""
    found = list(beam)
    for edge_s in beam:
        found += [edge_s + dice.uniform(0, 0.005) for _ in range(2 * dice.randint(0, 3))]
    at_s = 0.0
    while (at_s := at_s + dice.expovariate(0.2)) < until_s:
        found += [at_s, at_s + PULSE_S]
    return found


@pytest.mark.parametrize("seed", range(3))
def test_in_a_crowd_99_of_100_count_right_and_nobody_who_turned_back(seed: int) -> None:
    dice = random.Random(seed)
    walkers = list(crowd(dice, 3000))
    until_s = walkers[-1].from_s + 10.0
    door = Door(
        disturbed(dice, [s for w in walkers for s in w.door.outer], until_s),
        disturbed(dice, [s for w in walkers for s in w.door.inner], until_s),
    )
    found = counted(door)
    right = 0
    for walker, next_s in zip(walkers, [*(w.from_s for w in walkers[1:]), until_s], strict=True):
        seen = [way for at_s, way in found if walker.from_s <= at_s < next_s]
        if walker.way is None:
            assert seen == [], f"turned back at {walker.from_s:.2f} s"
        right += seen == [walker.way]
    passed = sum(walker.way is not None for walker in walkers)
    assert right >= 0.99 * passed
    assert len(found) <= passed, "more were counted than passed"
