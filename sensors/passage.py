"""Light beams across a door: timed changes in, people who passed and failed beams out.

With two beams, the first one broken and the last one freed give the direction: outer, then inner is in.
A person who turns back frees last the beam that was broken first, from any depth. Everything between two
moments at which the door is free is evaluated as a whole, END_S after the door is free: earlier, a
flicker cannot be distinguished from the end.
"""

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import ClassVar, NamedTuple

#: Breaks and gaps shorter than this are electrical noise: bounce, glitches, a loose contact.
GLITCH_S = 0.01
#: Seconds for which the beams must be free; receivers flicker for less than half a millisecond.
END_S = 0.004
#: Shortest time from beam to beam. A runner at 4 m/s needs 37 ms for 15 cm.
LEAST_LAG_S = 0.02
#: Two people may follow so closely that the door is never free between them. One person who steps back and
#: on again breaks the beams in the same order. The times of fronts and backs from beam to beam distinguish
#: the two cases. For two people, the first one's back and the second one's front need about the same time
#: (within the factor PACE), and at least one person walks evenly: front and back need the same (within EVEN).
PACE, EVEN = 3.0, 1.5
#: A thin body never breaks both beams at once. It must reach the second beam within this time …
THIN_LAG_S = 0.3
#: … break each for this long, be this deep (1 is the distance between the beams) …
THIN_BREAK_S = 0.03
THIN_DEPTH = 0.4
#: … and come alone: repeatedly it is a waving hand, and beside a person it is an arm or a bag …
ALONE_S = 0.3
#: … which reaches the second beam within this time: 15 cm at 0.3 m/s.
ARM_LAG_S = 0.5
#: A single beam that is broken again within this time is broken by the same body (arms, a bag) …
REBREAK_S = 0.08
#: … which breaks it for at least this long: 0.25 m at 4 m/s.
BODY_S = 0.06
#: A beam that has been broken for this long is obstructed; the count stops.
OBSTRUCTED_S = 30.0
#: One that has been broken for this long has failed …
FAILED_S = 300.0
#: … and so has one of two that is broken this many times in a row without the other.
FAILED_TIMES = 20
#: Most breaks of a beam that are kept; more of them without a free door are a fault.
MOST_BREAKS = 400

OUTER, INNER = 0, 1


class Way(StrEnum):
    """The direction of a person, named like the measured quantity."""

    IN = "entered"
    OUT = "left"
    UNKNOWN = "passed"


class Failure(NamedTuple):
    """The failed beams; `alone` if one is repeatedly broken without the other, else broken for good."""

    beams: tuple[int, ...]
    alone: bool


class Break(NamedTuple):
    """A period in which a beam was broken, in seconds."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Length of the break."""
        return self.end_s - self.start_s


class _Beam:
    """One beam's breaks since the door was last free, without the gaps that are shorter than `gap_s`."""

    def __init__(self, blocked: bool, at_s: float, gap_s: float) -> None:
        self.blocked = blocked
        self.breaks = [Break(at_s, at_s)] if blocked else []
        self._gap_s = gap_s

    @property
    def since_s(self) -> float:
        """Start of the present break."""
        return self.breaks[-1].start_s

    def change(self, at_s: float) -> None:
        breaks = self.breaks
        self.blocked = not self.blocked
        if not self.blocked:
            breaks[-1] = breaks[-1]._replace(end_s=at_s)
            return
        gap_s = at_s - breaks[-1].end_s if breaks else self._gap_s
        if gap_s >= GLITCH_S and breaks and breaks[-1].length_s < GLITCH_S:
            breaks[-1] = Break(at_s, at_s)  # the previous one was a glitch, not part of this one
        elif gap_s >= self._gap_s:
            breaks.append(Break(at_s, at_s))

    def take(self) -> list[Break]:
        """Return the breaks that were not glitches, and clear them."""
        found = [b for b in self.breaks if b.length_s >= GLITCH_S]
        self.breaks = []
        return found


class _Door:
    """Common rules of doors: stuck beams, and no counting until the door is free again."""

    #: Shortest gap in a beam, and seconds for which all beams must be free before the evaluation.
    _gap_s: ClassVar[float]
    _end_s: ClassVar[float]

    def __init__(self, blocked: Sequence[bool], at_s: float) -> None:
        """Begin at `at_s`; a person in the door at that moment is not counted."""
        self._beams = [_Beam(b, at_s, self._gap_s) for b in blocked]
        self._free_s = at_s
        self._ignoring = any(blocked)
        self._blind_from_s: float | None = None
        self.obstructed = False
        self.failure: Failure | None = None
        #: Seconds for which people could pass uncounted until just now; its reader resets it to None.
        self.blind_s: float | None = None

    def change(self, at_s: float, beam: int, blocked: bool) -> list[Way]:
        """Apply a beam's change at `at_s` (seconds); return the people who had passed before it."""
        changed = self._beams[beam]
        if changed.blocked == blocked:
            return []
        ways = self.tick(at_s)
        changed.change(at_s)
        if len(changed.breaks) > MOST_BREAKS:
            self._ignore(changed.breaks[0].start_s)
            del changed.breaks[:-1]
        if not any(b.blocked for b in self._beams):
            self._free_s = at_s
        return ways

    def tick(self, now_s: float) -> list[Way]:
        """Let time pass until `now_s`; return the people who have passed by then."""
        if any(b.blocked for b in self._beams):
            self._watch(now_s)
            return []
        if not self._is_free(now_s, self._end_s) or not (self._ignoring or self._has_breaks()):
            return []
        breaks = [beam.take() for beam in self._beams]
        if not self._ignoring:
            return self._judge(breaks)
        self._ignoring = self.obstructed = False
        if self.failure is None or not self.failure.alone:  # seen with both beams only
            self._see()
        return []

    @property
    def due_s(self) -> float | None:
        """When a tick without an edge can change something; None if never."""
        blocked = [n for n, b in enumerate(self._beams) if b.blocked]
        if not blocked:
            return self._free_s + self._end_s if self._ignoring or self._has_breaks() else None
        failed = self.failure.beams if self.failure and not self.failure.alone else ()
        waits = [self._beams[n].since_s + FAILED_S for n in blocked if n not in failed]
        if not self.obstructed:
            waits += [self._beams[n].since_s + OBSTRUCTED_S for n in blocked]
        return min(waits, default=None)

    def _has_breaks(self) -> bool:
        return any(b.breaks for b in self._beams)

    def _is_free(self, now_s: float, for_s: float) -> bool:
        # A time before the last edge comes from another clock; it must not cause an endless wait.
        return not self._free_s - for_s < now_s < self._free_s + for_s

    def _watch(self, now_s: float) -> None:
        blocked = [n for n, b in enumerate(self._beams) if b.blocked]
        for n in blocked:
            if now_s >= self._beams[n].since_s + OBSTRUCTED_S:
                self.obstructed = True
                self._ignore(self._beams[n].since_s)
        stuck = tuple(n for n in blocked if now_s >= self._beams[n].since_s + FAILED_S)
        if stuck:
            self.failure = Failure(stuck, alone=False)

    def _ignore(self, from_s: float) -> None:
        self._ignoring = True
        self._blind_from_s = from_s if self._blind_from_s is None else self._blind_from_s

    def _see(self) -> None:
        """Note that the door works again, and how long it did not."""
        if self._blind_from_s is not None:
            self.blind_s = (self.blind_s or 0.0) + self._free_s - self._blind_from_s
        self._blind_from_s = self.failure = None

    def _judge(self, breaks: list[list[Break]]) -> list[Way]:
        """Return the people who passed, from each beam's breaks between two moments with a free door."""
        raise NotImplementedError


class Traffic(_Door):
    """A door with one beam: it counts people without their direction."""

    _gap_s = _end_s = REBREAK_S

    def _judge(self, breaks: list[list[Break]]) -> list[Way]:
        return [Way.UNKNOWN for b in breaks[0] if b.length_s >= BODY_S]


class Passages(_Door):
    """A door with two beams, OUTER and INNER."""

    _gap_s, _end_s = GLITCH_S, END_S

    def __init__(self, blocked: Sequence[bool], at_s: float) -> None:
        """Begin at `at_s`; a person in the door at that moment is not counted."""
        super().__init__(blocked, at_s)
        # Breaks of a moment ago that were nobody by themselves, and people directly after them.
        self._held: tuple[list[Break], list[Break]] = ([], [])
        self._waiting: list[Way] = []
        self._counted_s = at_s
        self._alone = OUTER  # the last beam that was broken without the other
        self._alone_times = 0  # number of times in a row
        self._alone_since_s = at_s  # since then

    def tick(self, now_s: float) -> list[Way]:
        """Let time pass until `now_s`; return the people who have passed by then."""
        ways = super().tick(now_s)
        if any(self._held) and (self._ignoring or self._is_quiet(now_s)):
            ways += self._waiting or self._thin(*self._held)
            self._held, self._waiting = ([], []), []
        if ways:
            self._counted_s = self._free_s
        return ways

    @property
    def due_s(self) -> float | None:
        """When a tick without an edge can change something; None if never."""
        due_s = super().due_s
        waits = due_s is None and any(self._held) and not any(b.blocked for b in self._beams)
        return self._free_s + ALONE_S if waits else due_s

    def _is_quiet(self, now_s: float) -> bool:
        busy = any(b.blocked or b.breaks for b in self._beams)
        return not busy and self._is_free(now_s, ALONE_S)

    def _judge(self, breaks: list[list[Break]]) -> list[Way]:
        outer, inner = breaks
        if not outer and not inner:
            return []
        self._compare(bool(outer), bool(inner))
        found = _stream(outer, inner) or _single(outer, inner)
        together = self._held[0] + outer, self._held[1] + inner
        before, self._waiting = self._waiting, []
        if before and found:
            self._held = [], []
            return before + found
        if before:
            came_back = _single(*together) != before[-1:]  # an arm, and only part of its body
            self._held = together if came_back else (outer, inner)
            return [] if came_back else before
        if any(self._held):
            # An arm before a body, or a bag after it, can only be interpreted with the body.
            self._waiting, found = _stream(*together, with_arms=True) or found, []
        if not found:
            self._held = together[0][-MOST_BREAKS:], together[1][-MOST_BREAKS:]
        return found

    def _thin(self, outer: list[Break], inner: list[Break]) -> list[Way]:
        """Return the thin body, if one broke one beam after the other and came alone."""
        way = _way(outer, inner)
        if way is None or not len(outer) == len(inner) == 1 or self._ignoring:
            return []
        first, second = (outer, inner) if way is Way.IN else (inner, outer)
        [lag] = _lags(first, second)
        is_one = (
            first[0].start_s - self._counted_s >= ALONE_S
            and max(lag) <= THIN_LAG_S
            and min(first[0].length_s, second[0].length_s) >= THIN_BREAK_S
            and _alike(*lag, PACE)
            and _depths(first, second)[0] >= THIN_DEPTH
        )
        return [way] if is_one else []

    def _see(self) -> None:
        super()._see()
        self._alone_times = 0

    def _compare(self, outer: bool, inner: bool) -> None:
        """Count how often one beam was broken without the other."""
        alone = OUTER if outer else INNER
        if outer and inner:
            self._see()
        elif alone != self._alone or not self._alone_times:
            self._alone, self._alone_times, self._alone_since_s = alone, 1, self._free_s
        else:
            self._alone_times += 1
            if self._alone_times >= FAILED_TIMES:
                self.failure = Failure((alone,), alone=True)
                self._blind_from_s = self._alone_since_s


class _Lag(NamedTuple):
    """Delay of a body's front and back from the first to the second beam, in seconds."""

    front_s: float
    back_s: float


def _lags(first: list[Break], second: list[Break]) -> list[_Lag]:
    return [
        _Lag(b.start_s - a.start_s, b.end_s - a.end_s) for a, b in zip(first, second, strict=True)
    ]


def _depths(first: list[Break], second: list[Break]) -> list[float]:
    """Return each body's depth in units of the distance between the beams, at its own pace."""
    lengths_s = [a.length_s + b.length_s for a, b in zip(first, second, strict=True)]
    lags = _lags(first, second)
    return [length_s / sum(lag) for length_s, lag in zip(lengths_s, lags, strict=True)]


def _alike(one_s: float, other_s: float, factor: float) -> bool:
    return max(one_s, other_s) <= factor * min(one_s, other_s)


def _keep_pace(lags: list[_Lag]) -> bool:
    """Say whether these delays are those of people who follow one another."""
    return all(
        _alike(one.back_s, other.front_s, PACE) and (_alike(*one, EVEN) or _alike(*other, EVEN))
        for one, other in pairwise(lags)
    )


def _way(outer: list[Break], inner: list[Break]) -> Way | None:
    """Return the direction from the beam that was broken first to the one that was freed last."""
    if not outer or not inner:
        return None
    front_s = inner[0].start_s - outer[0].start_s
    back_s = inner[-1].end_s - outer[-1].end_s
    if min(front_s, back_s) >= LEAST_LAG_S:
        return Way.IN
    if max(front_s, back_s) <= -LEAST_LAG_S:
        return Way.OUT
    return None  # turned back, or both beams at once


def _single(outer: list[Break], inner: list[Break]) -> list[Way]:
    """Return the one person who passed, however they moved in between."""
    way = _way(outer, inner)
    return [] if way is None else [way]


def _stream(outer: list[Break], inner: list[Break], *, with_arms: bool = False) -> list[Way]:
    """Return the people who passed one behind the other, if the second beam repeats the first.

    Bodies that are less deep than the distance of the beams are arms or bags. With `with_arms` there
    must be at least one.
    """
    if len(outer) != len(inner) or len(outer) < 2:
        return []
    way = _way(outer, inner)
    first, second = (outer, inner) if way is Way.IN else (inner, outer)
    lags = _lags(first, second)
    if way is None or min(map(min, lags)) < LEAST_LAG_S or not _keep_pace(lags):
        return []
    depths = _depths(first, second)
    if with_arms:
        arms_s = [max(lag) for lag, depth in zip(lags, depths, strict=True) if depth < 1]
        if not arms_s or max(arms_s) > ARM_LAG_S:
            return []
    return [way for depth in depths if depth >= 1]
