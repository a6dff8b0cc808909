"""A scene at the door: breaks of both beams with what really happened, and what the rules make of it."""

import heapq
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sensors.crossing import Way
from sensors.passage import INNER, OUTER, Passages

#: Distance between the beams of both models.
SPACING_M = 0.15
BEAMS = (OUTER, INNER)

Interval = tuple[float, float]


@dataclass
class Scene:
    """Breaks of each beam from any number of causes, and the people who really passed."""

    breaks: tuple[list[Interval], list[Interval]] = field(default_factory=lambda: ([], []))
    passed: list[tuple[float, Way]] = field(default_factory=list)

    def add(self, other: "Scene") -> None:
        """Add what happens in another scene at the same door."""
        for beam in BEAMS:
            self.breaks[beam].extend(other.breaks[beam])
        self.passed += other.passed

    def break_beam(self, beam: int, start_s: float, end_s: float) -> None:
        """Break a beam."""
        self.breaks[beam].append((start_s, end_s))


class Outcome(NamedTuple):
    """What the rules say of a scene."""

    counted: list[tuple[float, Way]]
    doubted_s: float | None  # when the door was first doubted


def run(scene: Scene, dice: random.Random, spacing_m: float = SPACING_M) -> Outcome:
    """Let the shipped rules see a scene, with receivers that bounce for up to 3 ms."""
    door = Passages((False, False), -10.0, spacing_m)
    counted: list[tuple[float, Way]] = []
    doubted_s: float | None = None
    latest_s = 0.0
    edges = heapq.merge(*(_edges(beam, scene.breaks[beam], dice) for beam in BEAMS))
    for at_s, beam, blocked in edges:
        while (due_s := door.due_s) is not None and due_s < at_s:
            counted += [(due_s, way) for way in door.tick(due_s)]
        counted += [(at_s, way) for way in door.change(at_s, beam, blocked)]
        if doubted_s is None and door.doubtful:
            doubted_s = at_s
        latest_s = at_s
    for _ in range(100):
        if (due_s := door.due_s) is None or due_s > latest_s + 20:
            break
        counted += [(due_s, way) for way in door.tick(due_s)]
    return Outcome(counted, doubted_s)


def _edges(
    beam: int, breaks: Iterable[Interval], dice: random.Random
) -> list[tuple[float, int, bool]]:
    found: list[tuple[float, int, bool]] = []
    for start_s, end_s in united(breaks):
        for at_s, blocked in ((start_s, True), (end_s, False)):
            found.append((at_s, beam, blocked))
            bounce_s = at_s
            for _ in range(dice.choice((0, 0, 1, 2))):
                bounce_s += dice.uniform(0.0002, 0.0007)
                found.append((bounce_s, beam, not blocked))
                bounce_s += dice.uniform(0.0002, 0.0007)
                found.append((bounce_s, beam, blocked))
    return sorted(found, key=lambda edge: edge[0])


def united(intervals: Iterable[Interval]) -> list[Interval]:
    """Return intervals without overlap; gaps below 3 ms, in which bounces would overlap, are closed."""
    found: list[Interval] = []
    for start_s, end_s in sorted(intervals):
        if found and start_s <= found[-1][1] + 0.003:
            found[-1] = (found[-1][0], max(found[-1][1], end_s))
        else:
            found.append((start_s, end_s))
    return [(start_s, end_s) for start_s, end_s in found if end_s - start_s > 0.003]


@dataclass
class Score:
    """How far the counts of many events are right."""

    events: int = 0
    right: int = 0
    people: int = 0
    missed: int = 0
    extra: int = 0

    def add(self, scene: Scene, outcome: Outcome) -> None:
        """Judge the scene as one event."""
        truth = Counter(way for _, way in scene.passed)
        found = Counter(way for _, way in outcome.counted)
        self.events += 1
        self.right += truth == found
        self.people += truth.total()
        self.missed += (truth - found).total()
        self.extra += (found - truth).total()

    @property
    def right_pct(self) -> float:
        """Share of people counted in the right direction, less those counted too often, in percent."""
        wrong = self.missed + self.extra
        return round(100 * (1 - wrong / self.people), 2) if self.people else 0.0

    def figures(self) -> dict[str, float]:
        """Return the figures."""
        found: dict[str, float] = {
            "events": self.events,
            "events_right_pct": round(100 * self.right / self.events, 2),
            "wrong_an_event": round((self.missed + self.extra) / self.events, 3),
        }
        return found | {"people_right_pct": self.right_pct} if self.people else found
