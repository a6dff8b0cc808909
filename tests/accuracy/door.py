"""Accuracy of the door's count: walkers with bodies, beams that bounce, and the people counted.

The walkers are independent of the counter's states and sequences. Each is a body that moves along a line
through two beams; the bodies' positions determine the beams. A follower keeps off the leader's back.
"""

import argparse
import json
import math
import random
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sensors.beams import Beams, Config
from sensors.clock import Monotonic
from sensors.crossing import Way
from sensors.hardware import Hardware
from sensors.passage import INNER, OUTER, Passages
from sensors.simulated.pins import Pins

SPACING_M = 0.15
STEP_S = 0.02
#: Least distance before the beams at which a walk begins, and distance behind them at which it ends.
RUN_UP_M, RUN_OUT_M = 1.0, 0.3
#: Least distance between a walker and the back of the one before.
LEAST_CLEAR_M = 0.05
#: Distance from centre to centre from which people are apart.
APART_M = 0.5
#: Visits with less time between them may look like one: a bouncing receiver can cause such a gap.
TOGETHER_S = 0.02
#: A count this long after the last visitor has left was caused by a glitch.
LATE_S = 3.0
#: Share of people who hold an arm before them; the same share has a bag behind them.
ARMS = 0.05
#: Shares of visits that are hands, of people who turn back, and of people who hesitate.
HANDS, TURNERS, HESITATING = 0.02, 0.03, 0.05

Interval = tuple[float, float]


@dataclass
class Visit:
    """A person or hand at the door: when each beam was broken, and whether the person passed."""

    kind: str  # walker, turner or hand
    way: Way
    passes: bool
    breaks: tuple[list[Interval], list[Interval]]
    apart: bool = True

    @property
    def start_s(self) -> float:
        return min(start for beam in self.breaks for start, _ in beam)

    @property
    def end_s(self) -> float:
        return max(end for beam in self.breaks for _, end in beam)


class Body(NamedTuple):
    """Parts of a body as intervals in metres behind its front; an arm may be before it (negative)."""

    depth_m: float
    parts: list[Interval]


@dataclass
class Walk:
    """Position of a body's front at each time step, in metres behind the first beam.

    `first` is the number of the time step at which `front_m` begins.
    """

    body: Body
    front_m: list[float]
    first: int = 0

    def at(self, step: int) -> float:
        """Return the position of the front; after the last step the body keeps its speed."""
        number, fronts_m = max(step - self.first, 0), self.front_m
        beyond = number - len(fronts_m) + 1
        if beyond <= 0:
            return fronts_m[number]
        return fronts_m[-1] + beyond * (fronts_m[-1] - fronts_m[-2])

    def centre(self, step: int) -> float:
        return self.at(step) - self.body.depth_m / 2

    def step_when_centre_at(self, place_m: float) -> int:
        front_m = place_m + self.body.depth_m / 2
        return self.first + next(n for n, x in enumerate(self.front_m) if x >= front_m)

    def breaks(self, beam_m: float) -> list[Interval]:
        """Return the times in which the body breaks a beam."""
        found: list[Interval] = []
        for ahead_m, behind_m in self.body.parts:
            found += self._within(beam_m + ahead_m, beam_m + behind_m)
        return _united(found)

    def _within(self, low_m: float, high_m: float) -> Iterator[Interval]:
        """Yield the times at which the front is between two places; linear between steps."""
        since: float | None = None
        before = self.front_m[0]
        for number, place in enumerate(self.front_m):
            if since is None:
                if low_m <= place <= high_m:
                    edge = low_m if before < low_m else high_m
                    since = self._time(number, before, place, edge)
                elif (before < low_m and place > high_m) or (before > high_m and place < low_m):
                    times = [self._time(number, before, place, e) for e in (low_m, high_m)]
                    yield min(times), max(times)
            elif not low_m <= place <= high_m:
                yield since, self._time(number, before, place, low_m if place < low_m else high_m)
                since = None
            before = place
        assert since is None, "everybody leaves in the end"

    def _time(self, number: int, before: float, place: float, edge: float) -> float:
        return (self.first + number - 1 + (edge - before) / (place - before)) * STEP_S


@dataclass
class Mood:
    """What somebody does on the way: where to stop, for how long, how far to step back."""

    stop_m: float = math.inf
    pause_s: float = 0.0
    back_m: float = 0.0
    turns: bool = False


class Crowd:
    """Random people and hands, one after the other."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._leader: Walk | None = None
        self._leader_visit: Visit | None = None
        self._way = Way.IN
        self._free_s = 5.0

    def next(self) -> Visit:
        dice = self._dice
        visit = self._hand() if dice.random() < HANDS else self._walker()
        self._free_s = max(self._free_s, visit.end_s)
        return visit

    def _hand(self) -> Visit:
        """Somebody waves a hand through one beam or through both at once, from above."""
        dice = self._dice
        at_s = self._free_s + dice.uniform(0.1, 2.0)
        one, other = dice.sample([OUTER, INNER], 2)
        both = dice.random() < 0.3
        breaks: tuple[list[Interval], list[Interval]] = ([], [])
        for _ in range(dice.randint(1, 6)):
            end_s = at_s + dice.uniform(0.04, 0.8)
            breaks[one].append((at_s, end_s))
            if both:
                breaks[other].append((at_s + dice.uniform(0, 0.01), end_s + dice.uniform(0, 0.01)))
            at_s = end_s + dice.uniform(0.05, 0.5)
        self._leader = None
        return Visit("hand", Way.IN, False, breaks)

    def _walker(self) -> Visit:
        dice = self._dice
        turns = dice.random() < TURNERS
        mood = self._turning() if turns else self._mood()
        body = self._body()
        leader, gap_m = self._leader, dice.uniform(0.4, 3.0)
        if leader is not None and dice.random() < 0.3:
            leader = None
        if leader is None:
            self._way = dice.choice((Way.IN, Way.OUT))
        walk = self._walk(body, mood, RUN_UP_M + (gap_m if leader else 0))
        if turns:
            limit_m = SPACING_M + body.depth_m - 0.005
            while max(walk.front_m) >= limit_m or max(walk.front_m) < 0.005:
                mood = self._turning()
                walk = self._walk(body, mood, RUN_UP_M + (gap_m if leader else 0))
        if leader is not None:
            walk.first = leader.step_when_centre_at(0) - walk.step_when_centre_at(-gap_m)
            self._keep_off(walk, leader)
        else:
            begins_s = min(s for s, _ in walk.breaks(0.0))
            walk.first = math.ceil((self._free_s + dice.uniform(0.05, 2.5) - begins_s) / STEP_S)
        seen = walk.breaks(0.0), walk.breaks(SPACING_M)
        if not any(seen):  # the one before was in the way
            return self._walker()
        visit = Visit(
            "turner" if turns else "walker",
            self._way,
            not turns,
            seen if self._way is Way.IN else seen[::-1],
        )
        if leader is not None:
            self._measure_distance(walk, leader, visit)
        self._leader, self._leader_visit = (None, None) if turns else (walk, visit)
        return visit

    def _measure_distance(self, walk: Walk, leader: Walk, visit: Visit) -> None:
        """Note whether the two come close while the first is in the beams."""
        before = self._leader_visit
        assert before is not None
        steps = range(int(before.start_s / STEP_S), int(before.end_s / STEP_S) + 2)
        nearest_m = min(leader.centre(n) - walk.centre(n) for n in steps)
        if nearest_m < APART_M:
            before.apart = visit.apart = False

    def _keep_off(self, walk: Walk, leader: Walk) -> None:
        """Keep a follower behind the leader's back, and let the follower walk on until through."""
        limit_m = leader.body.depth_m + LEAST_CLEAR_M
        free = Walk(walk.body, walk.front_m[:], walk.first)
        end_m, number = walk.front_m[-1], 0
        while number < len(walk.front_m) or (end_m > 0 and walk.front_m[-1] < end_m):
            step = walk.first + number
            place = min(free.at(step), leader.at(step) - limit_m)
            walk.front_m[number : number + 1] = [place]
            number += 1

    def _body(self) -> Body:
        dice = self._dice
        depth_m = dice.uniform(0.25, 0.45)
        parts = [(0.0, depth_m)]
        extra = dice.random()
        length_m, off_m = dice.uniform(0.05, 0.12), dice.uniform(0.03, 0.25)
        if extra < ARMS:  # an arm before the body
            parts.append((-off_m - length_m, -off_m))
        elif extra < 2 * ARMS:  # a bag behind it
            parts.append((depth_m + off_m, depth_m + off_m + length_m))
        return Body(depth_m, parts)

    def _mood(self) -> Mood:
        dice = self._dice
        if dice.random() >= HESITATING:
            return Mood()
        back_m = dice.uniform(0.05, 0.3) if dice.random() < 0.5 else 0.0
        pause_s = dice.choice([dice.uniform(0, 0.5), dice.uniform(0.5, 5)])
        return Mood(dice.uniform(-0.1, 0.6), pause_s, back_m)

    def _turning(self) -> Mood:
        dice = self._dice
        return Mood(dice.uniform(0.0, 0.6), dice.choice([0.0, dice.uniform(0, 3)]), turns=True)

    def _walk(self, body: Body, mood: Mood, run_up_m: float) -> Walk:
        """Simulate a walk at an uneven speed, with braking at hesitations."""
        dice = self._dice
        cruise = dice.uniform(0.3, 2.0)
        sway, beat, phase = dice.uniform(0, 0.25), dice.uniform(1, 2) * math.tau, dice.random() * 6
        push = math.exp(dice.uniform(math.log(1.0), math.log(30.0)))  # m/s², also abruptly
        drift, kept = 1.0, 0.98
        place, speed, time_s = -run_up_m, cruise, 0.0
        end_m = SPACING_M + body.parts[-1][1] + body.depth_m + RUN_OUT_M
        stop_m, low_m, pause_s, aim = mood.stop_m, -math.inf, mood.pause_s, 1.0
        found = [place]
        while -run_up_m - 0.1 < place < end_m:
            time_s += STEP_S
            drift = kept * drift + (1 - kept) * dice.uniform(0.3, 1.7)
            wanted = cruise * drift * (1 + sway * math.sin(beat * time_s + phase)) * aim
            if aim > 0 and place + speed * speed / 2 / push >= stop_m:
                wanted = 0.0
                if abs(speed) < 0.02:
                    pause_s -= STEP_S
                    if pause_s <= 0:
                        stop_m = math.inf
                        if mood.turns or mood.back_m:
                            aim = -dice.uniform(0.3, 1.0)
                            low_m = -math.inf if mood.turns else place - mood.back_m
            elif aim < 0 and place - speed * speed / 2 / push <= low_m:
                wanted = 0.0
                if abs(speed) < 0.02:
                    aim = 1.0
            change = push * STEP_S
            speed += max(-change, min(change, wanted - speed))
            place += speed * STEP_S
            found.append(place)
        return Walk(body, found)


def _united(intervals: list[Interval]) -> list[Interval]:
    found: list[Interval] = []
    for start_s, end_s in sorted(intervals):
        if found and start_s <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end_s))
        else:
            found.append((start_s, end_s))
    return found


def _edges(dice: random.Random, breaks: list[Interval], until_s: float) -> list[float]:
    """Return when a receiver's output changes, with bouncing of up to 5 ms and glitches of 0.1 ms."""
    found = []
    for edge_s in (s for interval in _united(breaks) for s in interval):
        found += [edge_s, *(edge_s + dice.uniform(0, 0.005) for _ in range(2 * dice.randint(0, 3)))]
    at_s = 0.0
    while (at_s := at_s + dice.expovariate(0.2)) < until_s:
        found += [at_s, at_s + 0.0001]
    return sorted(found)


def _counted(edges: tuple[list[float], list[float]]) -> list[tuple[float, Way]]:
    """Return when and in which direction the door counted people."""
    door = Passages((False, False), 0.0)
    blocked = [False, False]
    found: list[tuple[float, Way]] = []
    changes = sorted((s, beam) for beam in (OUTER, INNER) for s in edges[beam])
    for at_s, beam in [*changes, (math.inf, -1)]:
        while (due_s := door.due_s) is not None and due_s < at_s:
            found += [(due_s, way) for way in door.tick(due_s)]
        if beam >= 0:
            blocked[beam] = not blocked[beam]
            found += [(at_s, way) for way in door.change(at_s, beam, blocked[beam])]
    return found


@dataclass
class _Group:
    """Visits between which the door was never free."""

    visits: list[Visit]
    counted: Counter[Way] = field(default_factory=Counter)

    @property
    def start_s(self) -> float:
        return self.visits[0].start_s

    @property
    def end_s(self) -> float:
        return max(v.end_s for v in self.visits)

    @property
    def passed(self) -> Counter[Way]:
        return Counter(v.way for v in self.visits if v.passes)


def _groups(visits: list[Visit]) -> list[_Group]:
    found: list[_Group] = []
    end_s = -math.inf
    for visit in sorted(visits, key=lambda v: v.start_s):
        if visit.start_s > end_s + TOGETHER_S:
            found.append(_Group([]))
        found[-1].visits.append(visit)
        end_s = max(end_s, visit.end_s)
    return found


def _counted_in(groups: list[_Group], at_s: float, way: Way) -> _Group | None:
    """Return the group that a count belongs to: the last with an uncounted person, or else the last."""
    last = bisect_right(groups, at_s, key=lambda g: g.start_s) - 1
    if last < 0 or at_s > groups[last].end_s + LATE_S:
        return None
    for group in reversed(groups[max(0, last - 2) : last + 1]):
        if group.counted[way] < group.passed[way]:
            return group
    return groups[last]


def measure(passages: int = 10_000, seed: int = 1) -> dict[str, float]:
    """Simulate `passages` people and return how they were counted. Takes some seconds."""
    dice = random.Random(seed)
    crowd, visits = Crowd(dice), []
    left = passages
    while left > 0:
        visits.append(crowd.next())
        left -= visits[-1].passes
    until_s = visits[-1].end_s + 5.0
    edges = tuple(
        _edges(dice, [b for v in visits for b in v.breaks[beam]], until_s)
        for beam in (OUTER, INNER)
    )
    groups = _groups(visits)
    tally: Counter[str] = Counter()
    for at_s, way in _counted((edges[0], edges[1])):
        group = _counted_in(groups, at_s, way)
        if group is None:
            tally["glitch"] += 1
        else:
            group.counted[way] += 1
    for group in groups:
        _count_group(group, tally)
    return {
        "people_apart": tally["apart"],
        "apart_right_pct": round(100 * tally["apart_right"] / tally["apart"], 2),
        "people_close": tally["close"],
        "close_right_pct": round(100 * tally["close_right"] / max(1, tally["close"]), 2),
        "people_in_groups": tally["grouped"],
        "grouped_right_pct": round(100 * tally["grouped_right"] / max(1, tally["grouped"]), 2),
        "counted_too_often": tally["extra"],
        "turners": tally["turner"],
        "counted_turners": tally["turner_counted"],
        "hands": tally["hand"],
        "counted_hands": tally["hand_counted"],
        "counted_glitches": tally["glitch"],
    }


def _count_group(group: _Group, tally: Counter[str]) -> None:
    kinds = {v.kind for v in group.visits}
    for visit in group.visits:
        tally[visit.kind] += 1
    if "walker" not in kinds:
        tally[f"{min(kinds)}_counted"] += group.counted.total()
        return
    people = [v for v in group.visits if v.passes]
    extra = (group.counted - group.passed).total()
    # Assume that the wrong counts concern people who were apart, if there are any.
    wrong = min(len(people), (group.passed - group.counted).total() + extra)
    apart = sum(v.apart for v in people)
    wrong_apart = min(apart, wrong)
    tally["extra"] += extra
    tally["apart"] += apart
    tally["apart_right"] += apart - wrong_apart
    tally["close"] += len(people) - apart
    tally["close_right"] += len(people) - apart - (wrong - wrong_apart)
    if len(people) > 1:
        tally["grouped"] += len(people)
        tally["grouped_right"] += len(people) - wrong


# Speed of the driver

#: Breaks of a beam a second, tried in this order.
RATES = tuple(200 * 2**n for n in range(10))
BURST_S = 1.0
#: A driver that needs longer after the end of a burst does not keep up.
CATCH_UP_S = 0.5
#: Somebody at 1.2 m/s: the second at which each beam is broken or free.
PASSAGE = (
    (0.0, OUTER, True),
    (0.125, INNER, True),
    (0.25, OUTER, False),
    (0.375, INNER, False),
)
GPIOS = (23, 24)


class _Lines(Hardware):
    def __init__(self, clock: Monotonic) -> None:
        self.pins = Pins(clock.now_s)

    def pin_factory(self) -> Any:
        return self.pins


def pulses_per_second() -> float:
    """Return the highest of RATES at which the real driver on the mock pins counts everybody.

    A pulse is one break of one beam, so two edges; a passage has two pulses. Each passage takes its
    real time on a faster clock, so that the next one follows in time. Everybody must be counted half a
    second after a burst of one second.
    """
    best = 0.0
    for rate in RATES:
        if not _counts_all(rate):
            break
        best = float(rate)
    return best


def _counts_all(rate: int) -> bool:
    passages = round(rate * BURST_S / 2)
    clock = Monotonic(speed=rate / 2)  # so that a passage begins each second
    hardware = _Lines(clock)
    for gpio in GPIOS:
        hardware.pins.set_cable(gpio, False)
    beams = Beams(Config(*GPIOS), hardware, clock)
    beams.open()
    counted = 0
    over = threading.Event()

    def read() -> None:
        nonlocal counted
        while not over.is_set():
            counted += sum(int(m.value or 0) for m in beams.read() if m.quantity == Way.IN)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    start_s, begin_s, pause = time.monotonic(), clock.now_s(), threading.Event()
    for number in range(passages):
        pause.wait(max(0.0, start_s + (number + 0.5) * 2 / rate - time.monotonic()))
        for offset_s, beam, blocked in PASSAGE:
            hardware.pins.set_cable(GPIOS[beam], blocked, begin_s + number + offset_s)
    is_late = time.monotonic() > start_s + BURST_S + CATCH_UP_S
    while counted < passages and time.monotonic() < start_s + BURST_S + CATCH_UP_S:
        pause.wait(0.01)
    over.set()
    beams.interrupt()
    reader.join()
    beams.close()
    return counted == passages and not is_late


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.accuracy.door", description=__doc__)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = {**measure(options.passages, options.seed), "pulses_per_second": pulses_per_second()}
    print(json.dumps(found, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
