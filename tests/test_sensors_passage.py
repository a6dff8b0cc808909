"""The rules of doors with light beams, with plain numbers for times."""

import random
from collections.abc import Iterable
from itertools import pairwise
from math import inf
from typing import NamedTuple

import pytest

from sensors.crossing import Way
from sensors.passage import (
    ALONE_S,
    END_S,
    FAILED_S,
    FAILED_TIMES,
    INNER,
    LONE_S,
    MOST_BREAKS,
    OUTER,
    REBREAK_S,
    Failure,
    Passages,
    Traffic,
)
from tests.accuracy import door as accuracy

SPACING_M, BODY_M = 0.15, 0.3
PULSE_S = 0.0001


class Door(NamedTuple):
    """The times at which each beam changes; both are free at first.

    A disturbance is an additional pair of changes at any time.
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
    """Someone walks `depth_m` past the first beam, heading `way`, waits a second, walks backwards."""
    back_s = at_s + 2 * depth_m / speed + 1.0

    def broken(beam_m: float) -> list[float]:
        edges = [beam_m / speed] if depth_m > beam_m else []
        edges += [(beam_m + BODY_M) / speed] if depth_m > beam_m + BODY_M else []
        return [at_s + s for s in edges] + [back_s - s for s in reversed(edges)]

    first, second = broken(0.0), broken(SPACING_M)
    return Door(first, second) if way is Way.IN else Door(second, first)


def edges_of(path: list[tuple[float, float]], beam_m: float) -> list[float]:
    """Return a beam's changes while a body's front moves between places with given times."""
    return [
        from_s + (edge_m - from_m) / (to_m - from_m) * (to_s - from_s)
        for (from_s, from_m), (to_s, to_m) in pairwise(path)
        for edge_m in sorted((beam_m, beam_m + BODY_M), reverse=to_m < from_m)
        if min(from_m, to_m) < edge_m < max(from_m, to_m)
    ]


def changes_of(door: Door) -> list[tuple[float, int, bool]]:
    """Return each change's time, its beam, and whether the beam is then broken."""
    blocked = [False, False]
    found = []
    for at_s, beam in sorted([(s, OUTER) for s in door.outer] + [(s, INNER) for s in door.inner]):
        blocked[beam] = not blocked[beam]
        found.append((at_s, beam, blocked[beam]))
    return found


def counted(door: Door, passages: Passages | None = None) -> list[tuple[float, Way]]:
    """Return when and in which direction people were counted; let time pass after the last change."""
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
    """Return a door described for the way in, mirrored for `way` if needed."""
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
    """Back and forth between the beams before going on: 1 3 1 3 2 3 2 on the way in."""
    assert ways(mirrored(Door([0.0, 2.0, 2.3, 2.6], [0.4, 0.8, 1.2, 3.2]), way)) == [way]


@BOTH_WAYS
def test_who_stands_in_the_door_for_a_while_counts(way: Way) -> None:
    assert ways(mirrored(Door([0.0, 25.0], [0.2, 25.5]), way)) == [way]


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


@BOTH_WAYS
def test_a_thin_body_that_does_not_come_alone_is_an_arm_or_a_bag(way: Way) -> None:
    bag = passing(way, body_m=0.08)
    assert ways(passing(way, at_s=-0.6).followed_by(bag)) == [way]
    assert ways(bag.followed_by(passing(way, at_s=0.3))) == [way]


@BOTH_WAYS
@pytest.mark.parametrize("speed", [0.5, 1.2, 2.0])
@pytest.mark.parametrize("ahead_m", [-0.2, -0.15, 0.35, 0.5])
def test_an_arm_or_a_bag_is_part_of_its_body(way: Way, speed: float, ahead_m: float) -> None:
    arm = passing(way, at_s=ahead_m / speed, speed=speed, body_m=0.1)
    assert ways(passing(way, speed=speed).followed_by(arm)) == [way]


@BOTH_WAYS
def test_an_arm_in_front_of_someone_who_turns_back_is_nobody(way: Way) -> None:
    """The arm goes all the way in, the body only half, and both come back."""
    arm_and_body = Door([0.0, 0.08, 0.2, 0.9, 1.02, 1.1], [0.12, 0.22, 0.88, 0.98])
    assert ways(mirrored(arm_and_body, way)) == []


@BOTH_WAYS
def test_after_a_hand_somebody_counts_a_moment_later_or_with_the_next(way: Way) -> None:
    hand = mirrored(Door([-0.3, -0.1], []), way)
    [(at_s, counted_way)] = counted(hand.followed_by(passing(way)))
    assert counted_way is way
    assert at_s == pytest.approx(0.375 + ALONE_S)
    times, both = zip(
        *counted(hand.followed_by(passing(way)).followed_by(passing(way, at_s=0.5))), strict=True
    )
    assert times == pytest.approx([0.875 + END_S] * 2)
    assert both == (way, way)


@BOTH_WAYS
def test_who_passed_before_an_obstruction_is_not_lost(way: Way) -> None:
    hand, box = mirrored(Door([-0.3, -0.1], []), way), mirrored(Door([0.5, 50.0], []), way)
    assert ways(hand.followed_by(passing(way)).followed_by(box)) == [way]


@pytest.mark.parametrize("beams", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("wave_s", [0.02, 0.1, 0.2, 1.0])
def test_a_waving_hand_counts_nobody(beams: tuple[bool, bool], wave_s: float) -> None:
    wave = [n * wave_s for n in range(12)]
    assert ways(Door(wave * beams[0], wave * beams[1])) == []


@pytest.mark.parametrize("hand_s", [0.05, 0.2, 0.5])
def test_a_hand_that_goes_through_both_beams_and_back_counts_nobody(hand_s: float) -> None:
    to_and_fro = [0.0, hand_s, hand_s + 0.35, 2 * hand_s + 0.35]
    between = [hand_s + 0.05, hand_s + 0.15, hand_s + 0.2, hand_s + 0.3]
    for way in (Way.IN, Way.OUT):
        assert ways(mirrored(Door(to_and_fro, between), way)) == []


def test_hands_in_turn_count_nobody() -> None:
    assert ways(Door([0.0, 0.1, 0.4, 0.5], [0.2, 0.3, 0.6, 0.7])) == []
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


# People who follow so closely that the door is not free between them


@BOTH_WAYS
@pytest.mark.parametrize("speed", [0.3, 1.2, 2.0])
@pytest.mark.parametrize("gap_m", [0.05, 0.1, 0.14, 0.15])
@pytest.mark.parametrize("people", [2, 3, 7])
def test_people_on_each_others_heels_all_count(
    way: Way, speed: float, gap_m: float, people: int
) -> None:
    door = Door([], [])
    for number in range(people):
        door = door.followed_by(passing(way, number * (BODY_M + gap_m) / speed, speed))
    assert ways(door) == [way] * people


@BOTH_WAYS
def test_a_slow_one_on_the_heels_of_a_quick_one_counts(way: Way) -> None:
    quick = passing(way, speed=1.4)
    assert ways(quick.followed_by(passing(way, at_s=0.29, speed=0.9))) == [way, way]


@BOTH_WAYS
@pytest.mark.parametrize("gap_m", [0.05, 0.1, 0.14])
def test_bouncing_and_glitches_hide_nobody_in_a_queue(way: Way, gap_m: float) -> None:
    door = Door([], [])
    for number in range(3):
        door = door.followed_by(passing(way, number * (BODY_M + gap_m) / 1.2))
    bouncing = Door(*([s + d for s in beam for d in (0, 0.001, 0.003)] for beam in door))
    assert ways(bouncing) == [way] * 3
    for step in range(-20, 1200, 7):
        glitch_s = step / 1000 + 3e-5
        assert ways(door.with_pulse(glitch_s, outer=True, inner=True)) == [way] * 3, f"{step} ms"


@BOTH_WAYS
@pytest.mark.parametrize("stand_s", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("back_m", [0.2, 0.25, 0.3])
def test_who_steps_back_and_on_again_counts_once(way: Way, stand_s: float, back_m: float) -> None:
    """Past the first beam, back until the second is free, and on: two people would look similar."""
    speed, depth_m = 0.8, BODY_M + 0.02
    turn_s = (depth_m + 1.0) / speed
    back_s = turn_s + stand_s + back_m / speed
    on_s = back_s + stand_s
    path = [
        (0.0, -1.0),
        (turn_s, depth_m),
        (turn_s + stand_s, depth_m),
        (back_s, depth_m - back_m),
        (on_s, depth_m - back_m),
        (on_s + 2.0 / speed, depth_m - back_m + 2.0),
    ]
    door = Door(edges_of(path, 0.0), edges_of(path, SPACING_M))
    assert (len(door.outer), len(door.inner)) == (4, 4), "as two people would"
    assert ways(mirrored(door, way)) == [way]


@BOTH_WAYS
def test_one_who_follows_and_turns_back_is_not_counted(way: Way) -> None:
    """Nor is the person before: someone who turns back from deep in the door looks the same."""
    assert ways(mirrored(Door([0.0, 0.25, 0.33, 0.9], [0.125, 0.375]), way)) == []


@BOTH_WAYS
def test_people_who_meet_in_the_door_count_nothing_that_is_not_so(way: Way) -> None:
    """One enters and one leaves, past each other: the number of people inside stays."""
    one = passing(way)
    other = passing(Way.OUT if way is Way.IN else Way.IN, at_s=0.06)
    outer, inner = ([min(a[0], b[0]), max(a[1], b[1])] for a, b in zip(one, other, strict=True))
    assert ways(Door(outer, inner)) == []


# What is not people

MINIMAL = {
    "a wave of 6.5 m/s": ([0.0, 0.04], [0.023, 0.063], []),
    "an arm a moment before its body": ([0.063, 0.303], [0.0, 0.041, 0.056, 0.222], [Way.OUT]),
    "a hand waved twice": ([0.629, 0.722, 1.086, 1.186], [0.492, 0.587, 1.225, 1.317], []),
}


@pytest.mark.parametrize("case", MINIMAL)
def test_what_fooled_two_beams_is_counted_as_it_was(case: str) -> None:
    outer, inner, right = MINIMAL[case]
    assert ways(Door(outer, inner)) == right


def waves(number: int, every_s: float, speed: float = 4.0, broken_s: float = 0.05) -> Door:
    """Return waves that run along canvas and pass both beams."""
    starts = [n * every_s for n in range(number)]
    outer = [s + d for s in starts for d in (0, broken_s)]
    return Door(outer, [s + SPACING_M / speed for s in outer])


@pytest.mark.parametrize("every_s", [0.12, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("speed", [2.0, 4.0, 6.0])
@pytest.mark.parametrize("broken_s", [0.04, 0.06, 0.075])
def test_waves_in_a_gust_are_nobody_and_are_doubted(
    every_s: float, speed: float, broken_s: float
) -> None:
    passages = free_door()
    assert counted(waves(40, every_s, speed, broken_s), passages) == []
    assert not passages.doubtful, "calm for long enough afterwards"
    door = waves(40, every_s, speed, broken_s)
    for change in changes_of(door):
        passages.change(change[0] + 2000.0, *change[1:])
    passages.tick(2100.0)
    assert passages.doubtful


@BOTH_WAYS
def test_a_person_counts_in_a_gust_as_well(way: Way) -> None:
    gust = waves(20, 0.3)
    later = Door(*([s + 9.0 for s in beam] for beam in gust))
    found = ways(gust.followed_by(passing(way, at_s=7.5)).followed_by(later))
    assert found == [way]


@BOTH_WAYS
def test_a_runner_counts_when_nothing_of_the_kind_follows(way: Way) -> None:
    [(at_s, counted_way)] = counted(passing(way, speed=4.0))
    assert counted_way is way
    assert at_s == pytest.approx((BODY_M + SPACING_M) / 4.0 + LONE_S)


@BOTH_WAYS
@pytest.mark.parametrize("spacing_m", [0.08, 0.15, 0.22, 0.3])
@pytest.mark.parametrize("speed", [0.6, 1.2, 2.2])
def test_the_spacing_says_how_quick_somebody_is(way: Way, spacing_m: float, speed: float) -> None:
    first = [0.0, BODY_M / speed]
    second = [s + spacing_m / speed for s in first]
    door = mirrored(Door(first, second), way)
    assert [w for _, w in counted(door, Passages((False, False), -10.0, spacing_m))] == [way]


def test_hands_arms_and_talk_raise_no_doubt() -> None:
    passages = free_door()
    for minute in range(60):
        at_s = 60.0 * minute
        hand = [at_s + n * 0.2 for n in range(6)]
        counted(Door(hand, []), passages)
        counted(passing(Way.IN, at_s + 20.0), passages)
        counted(passing(Way.OUT, at_s + 30.0), passages)
        assert not passages.doubtful


def test_legs_raise_a_doubt_and_bodies_take_it_back() -> None:
    passages = free_door()
    for number in range(6):
        assert not passages.doubtful
        counted(passing(Way.IN, 10.0 * number, body_m=0.1), passages)
    assert passages.doubtful is False, "it goes by itself"
    for number in range(12):
        counted(passing(Way.IN, 5000.0 + 10.0 * number, body_m=(0.1, 0.3)[number % 2]), passages)
        assert not passages.doubtful


# Blocked and failed beams


def test_whoever_stands_in_the_door_at_the_start_is_not_counted() -> None:
    for blocked in ((True, False), (False, True), (True, True)):
        passages = Passages(blocked, 0.0)
        assert passages.change(1.0, OUTER, False) == []
        assert passages.change(1.2, INNER, False) == []
        assert passages.tick(2.0) == []
        assert passages.blind_s is None
        assert [way for _, way in counted(passing(Way.IN, at_s=3.0), passages)] == [Way.IN]


def test_an_obstruction_is_told_and_counts_nobody_when_it_is_cleared() -> None:
    passages = free_door()
    passages.change(1.0, OUTER, True)
    passages.change(1.1, INNER, True)
    passages.tick(30.9)
    assert not passages.obstructed
    assert passages.due_s == 31.0
    passages.tick(31.0)
    assert passages.obstructed
    assert passages.change(40.0, OUTER, False) == []
    assert passages.obstructed, "one beam is still broken"
    assert passages.change(40.2, INNER, False) == []
    assert passages.due_s is not None
    assert passages.tick(passages.due_s) == []
    assert not passages.obstructed
    assert passages.blind_s == pytest.approx(39.2)
    assert [way for _, way in counted(passing(Way.OUT, at_s=41.0), passages)] == [Way.OUT]


def test_an_obstruction_counts_nobody_even_where_no_tick_saw_it() -> None:
    assert ways(Door([0.0, 40.0], [0.2, 40.3])) == []


def test_a_long_queue_is_no_obstruction() -> None:
    """No beam is broken for long, although the door is never free."""
    door = Door([], [])
    for number in range(40):
        door = door.followed_by(passing(Way.IN, number * 1.4, speed=0.3))
    passages = free_door()
    assert [way for _, way in counted(door, passages)] == [Way.IN] * 40
    assert passages.blind_s is None


def test_people_who_pass_behind_an_obstructed_beam_are_not_counted() -> None:
    passages = free_door()
    passages.change(0.0, OUTER, True)
    passages.tick(31.0)
    for second in range(32, 40):
        assert passages.change(second, INNER, True) == []
        assert passages.change(second + 0.3, INNER, False) == []
    assert passages.obstructed
    assert passages.change(41.0, OUTER, False) == []
    assert passages.tick(42.0) == []
    assert passages.blind_s == pytest.approx(41.0)


def test_a_flicker_does_not_end_an_obstruction() -> None:
    passages = free_door()
    passages.change(0.0, INNER, True)
    passages.tick(31.0)
    passages.change(32.0, INNER, False)
    passages.tick(32.0 + PULSE_S / 2)
    assert passages.obstructed
    passages.change(32.0 + PULSE_S, INNER, True)
    passages.tick(33.0)
    assert passages.obstructed
    assert passages.blind_s is None


@pytest.mark.parametrize("beams", [(OUTER,), (INNER,), (OUTER, INNER)])
def test_a_beam_that_stays_broken_has_failed_until_it_is_free(beams: tuple[int, ...]) -> None:
    passages = free_door()
    for beam in beams:
        passages.change(0.0, beam, True)
    passages.tick(FAILED_S - 0.1)
    assert passages.failure is None
    passages.tick(FAILED_S)
    assert passages.failure == Failure(beams, alone=False)
    assert passages.due_s is None
    for beam in beams:
        assert passages.failure is not None
        passages.change(400.0, beam, False)
    assert passages.tick(401.0) == []
    assert (passages.failure, passages.obstructed) == (None, False)
    assert passages.blind_s == pytest.approx(400.0)


def test_a_beam_that_is_broken_again_and_again_without_the_other_has_failed() -> None:
    passages = free_door()
    for number in range(FAILED_TIMES):
        assert passages.failure is None
        assert counted(Door([number, number + 0.5], []), passages) == []
    assert passages.failure == Failure((OUTER,), alone=True)
    assert passages.blind_s is None
    at_s = float(FAILED_TIMES)
    assert [way for _, way in counted(passing(Way.OUT, at_s), passages)] == [Way.OUT]
    assert passages.failure is None, "the other beam sees, too"
    assert passages.blind_s == pytest.approx(at_s, abs=1.0)


@pytest.mark.parametrize("every", [FAILED_TIMES - 1, 1])
def test_beams_that_are_broken_in_turn_have_not_failed(every: int) -> None:
    passages = free_door()
    for number in range(3 * FAILED_TIMES):
        door = Door([number, number + 0.5], [])
        counted(mirrored(door, Way.OUT if number % (every + 1) == every else Way.IN), passages)
        assert passages.failure is None


def test_glitches_are_no_failure() -> None:
    passages = free_door()
    for number in range(10 * FAILED_TIMES):
        counted(Door([], []).with_pulse(number, outer=True, inner=False), passages)
    assert passages.failure is None


@BOTH_WAYS
@pytest.mark.parametrize("beam", [OUTER, INNER])
@pytest.mark.parametrize("cut_s", [-1.0, 0.05, 0.2, 0.3, 0.45])
@pytest.mark.parametrize("mended_s", [60.0, 600.0])
def test_a_cut_cable_is_never_a_person(way: Way, beam: int, cut_s: float, mended_s: float) -> None:
    """The cable is cut before, while or after somebody passes; then its beam stays broken."""
    passages = free_door()
    blocked = [False, False]
    found = []
    for at_s, changed, now_blocked in changes_of(passing(way)):
        if at_s > cut_s and not blocked[beam]:
            found += passages.change(cut_s, beam, True)
            blocked[beam] = True
        if changed != beam or at_s < cut_s:
            found += passages.change(at_s, changed, now_blocked)
            blocked[changed] = now_blocked
    if not blocked[beam]:
        found += passages.tick(cut_s) + passages.change(cut_s, beam, True)
    found += passages.tick(mended_s)
    assert passages.obstructed
    found += passages.change(mended_s, beam, False) + passages.tick(mended_s + 1.0)
    assert found == ([way] if cut_s > 0.4 else [])
    assert not passages.obstructed
    assert passages.blind_s is not None


def test_a_beam_that_chatters_without_end_makes_the_door_blind_and_not_the_unit_full() -> None:
    passages = free_door()
    passages.change(0.0, OUTER, True)
    for number in range(3 * MOST_BREAKS):
        assert passages.change(1.0 + number * 0.015, INNER, number % 2 == 0) == []
    passages.change(25.0, OUTER, False)
    assert passages.tick(26.0) == []
    assert passages.blind_s == pytest.approx(24.0)


def test_a_repeated_level_is_no_change() -> None:
    passages = free_door()
    for at_s, beam, blocked in ((1.0, OUTER, True), (1.125, INNER, True), (1.25, OUTER, False)):
        assert passages.change(at_s, beam, blocked) == []
        assert passages.change(at_s + 0.05, beam, blocked) == []
    passages.change(1.375, INNER, False)
    passages.change(1.38, INNER, False)
    assert passages.tick(1.4) == [Way.IN]
    assert passages.tick(1.5) == []


# One beam


def traffic(edges: list[float], until_s: float = 1000.0) -> tuple[list[float], Traffic]:
    """Return when somebody passed."""
    door = Traffic((False,), -10.0)
    found = []
    for number, (at_s, next_s) in enumerate(zip(edges, [*edges[1:], until_s], strict=True)):
        assert door.change(at_s, 0, number % 2 == 0) == []
        while (due_s := door.due_s) is not None and due_s < next_s:
            found += [due_s] * len(door.tick(due_s))
    return found, door


def test_one_beam_counts_whoever_passes_without_a_way() -> None:
    found, door = traffic([0.0, 0.25, 1.0, 1.25])
    assert found == pytest.approx([0.25 + REBREAK_S, 1.25 + REBREAK_S])
    door.change(2000.0, 0, True)
    door.change(2000.2, 0, False)
    assert door.tick(2001.0) == [Way.UNKNOWN]


def test_one_beam_takes_arms_and_legs_for_the_body_that_they_belong_to() -> None:
    assert len(traffic([0.0, 0.05, 0.12, 0.3, 0.37, 0.4])[0]) == 1


def test_one_beam_does_not_count_what_is_shorter_than_a_body() -> None:
    assert traffic([0.0, PULSE_S, 1.0, 1.05])[0] == []
    assert traffic([n * 0.04 + d for n in range(10) for d in (0, PULSE_S)])[0] == []
    assert len(traffic([s + d for s in (0.0, 0.25) for d in (0, 0.001, 0.003)])[0]) == 1


def test_one_beam_that_is_blocked_counts_nobody_and_fails_in_the_end() -> None:
    found, door = traffic([0.0, 40.0, 50.0], until_s=50.0 + FAILED_S + 0.1)
    assert found == []
    assert door.blind_s == pytest.approx(40.0)
    assert door.obstructed
    assert door.failure == Failure((0,), alone=False)
    door.change(400.0, 0, False)
    assert door.tick(401.0) == []
    assert not door.obstructed
    assert door.blind_s == pytest.approx(390.0)


class Walker(NamedTuple):
    from_s: float
    door: Door
    way: Way | None  # None turns back


def crowd(dice: random.Random, walkers: int) -> Iterable[Walker]:
    """Yield people who pass one after the other, at least half a metre apart."""
    at_s = 0.0
    for _ in range(walkers):
        way = dice.choice([Way.IN, Way.OUT])
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


def test_people_with_uneven_paces_and_bags_are_counted_as_they_should() -> None:
    """The bars for 10,000 people also hold for fewer."""
    found = accuracy.measure(passages=1500, seed=3)
    assert found["people_apart"] > 1000
    assert found["apart_right_pct"] >= 99
    assert found["close_right_pct"] >= 80
    assert found["turners"] > 30
    assert found["hands"] > 20
    assert [found[f"counted_{what}"] for what in ("turners", "hands", "glitches")] == [0, 0, 0]


def test_the_walkers_of_the_measurement_fall_the_same_for_a_seed() -> None:
    assert accuracy.measure(200, seed=4) == accuracy.measure(200, seed=4)
    assert accuracy.measure(200, seed=4) != accuracy.measure(200, seed=5)
