"""Light beams across a door: timed changes in, people who passed and failed beams out.

With two beams, the first one broken and the last one freed give the direction: outer, then inner is in.
A person who turns back frees last the beam that was broken first, from any depth. Everything between two
moments at which the door is free is evaluated as a whole, END_S after the door is free: earlier, a
flicker cannot be distinguished from the end.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from sensors.crossing import BODY_S, Break, Crossing, Found, Way, is_body
from sensors.doubt import STIR_S, Doubt

#: Breaks and gaps shorter than this are electrical noise: bounce, glitches, a loose contact.
GLITCH_S = 0.01
#: Seconds for which the beams must be free; receivers flicker for less than half a millisecond.
END_S = 0.004
#: Distance from beam to beam, in metres, where the configuration does not say another.
SPACING_M = 0.15
#: An arm before its body, or a bag behind it, is this close …
ALONE_S = 0.3
#: … and a thin body, or one that is quicker than people walk, must come alone for longer: repeatedly it is a
#: waving hand, or canvas.
LONE_S = 1.5
#: Most stirs in a run with them: two children may run one behind the other.
MOST_LONE = 3
#: A single beam that is broken again within this time is broken by the same body (arms, a bag).
REBREAK_S = 0.08
#: A beam that has been broken for this long is obstructed; the count stops.
OBSTRUCTED_S = 30.0
#: One that has been broken for this long has failed …
FAILED_S = 300.0
#: … and so has one of two that is broken this many times in a row without the other, by what may be people:
#: each time for long enough, and not as often as canvas beats.
FAILED_TIMES = 20
FAILED_BREAK_S, FAILED_EVERY_S = 0.1, 0.9
#: Most breaks of a beam that are kept; more of them without a free door are a fault.
MOST_BREAKS = 400

OUTER, INNER = 0, 1


class Failure(NamedTuple):
    """The failed beams; `alone` if one is repeatedly broken without the other, else broken for good."""

    beams: tuple[int, ...]
    alone: bool


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
        #: Whether the door sees what is not people; None where the rules cannot tell.
        self.doubtful: bool | None = None
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

    def __init__(self, blocked: Sequence[bool], at_s: float, spacing_m: float = SPACING_M) -> None:
        """Begin at `at_s`; a person in the door at that moment is not counted.

        The beams are `spacing_m` metres apart.
        """
        super().__init__(blocked, at_s)
        self._crossing = Crossing(spacing_m)
        self._doubt = Doubt()
        self.doubtful = False
        # Breaks of a moment ago that were nobody by themselves, and people directly after them.
        self._held: tuple[list[Break], list[Break]] = ([], [])
        self._waiting: list[Way] = []
        self._lone: list[Way] = []  # who counts only if nothing of the kind comes before or after
        self._counted_s = at_s
        self._alone = OUTER  # the last beam that was broken without the other
        self._alone_times = 0  # number of times in a row
        self._alone_since_s = self._alone_s = at_s  # since then; the last time

    def tick(self, now_s: float) -> list[Way]:
        """Let time pass until `now_s`; return the people who have passed by then."""
        ways = super().tick(now_s)
        if any(self._held) and (self._ignoring or self._is_quiet(now_s, ALONE_S)):
            late = self._waiting or self._judge_held()
            if late:
                self._doubt.body(_start_s(*self._held), self._free_s)
            ways += late
            self._held, self._waiting = ([], []), []
        if self._lone and (self._ignoring or self._is_quiet(now_s, LONE_S)):
            if self._doubt.run_length <= MOST_LONE:
                ways += self._lone
            self._lone = []
        if ways:
            self._counted_s = self._free_s
        self._doubt.tick(now_s)
        self.doubtful = self._doubt.doubtful
        return ways

    @property
    def due_s(self) -> float | None:
        """When a tick without an edge can change something; None if never."""
        due_s = super().due_s
        if due_s is not None or any(b.blocked for b in self._beams):
            return due_s
        if any(self._held):
            return self._free_s + ALONE_S
        return self._free_s + LONE_S if self._lone else self._doubt.due_s

    def _is_quiet(self, now_s: float, for_s: float) -> bool:
        busy = any(b.blocked or b.breaks for b in self._beams)
        return not busy and self._is_free(now_s, for_s)

    def _judge(self, breaks: list[list[Break]]) -> list[Way]:
        outer, inner = breaks
        if not outer and not inner:
            return []
        self._compare(outer, inner)
        is_windy = self._doubt.is_windy(_start_s(outer, inner))
        judged = self._people(outer, inner, windy=is_windy)
        found = [] if judged.doubtful else judged.ways
        before, self._waiting = self._waiting, []
        if is_windy:  # what comes close together belongs together no more
            self._held = [], []
            return before + found
        together = self._held[0] + outer, self._held[1] + inner
        if before and found:
            self._held = [], []
            return before + found
        if before:
            came_back = (
                self._crossing.single(*together) != before[-1:]
            )  # an arm, and part of its body
            self._held = together if came_back else (outer, inner)
            return [] if came_back else before
        if judged.doubtful and not self._crossing.stream(*together, with_arms=True):
            self._lone += judged.ways
            self._held = [], []
            return []
        if any(self._held):
            # An arm before a body, or a bag after it, can only be interpreted with the body.
            self._waiting = self._crossing.stream(*together, with_arms=True) or found
            found = []
        if not found:
            self._held = together[0][-MOST_BREAKS:], together[1][-MOST_BREAKS:]
        return found

    def _people(self, outer: list[Break], inner: list[Break], *, windy: bool) -> Found:
        """Return who passed between two moments with a free door, and note what the door sees."""
        start_s, end_s, doubt = _start_s(outer, inner), self._free_s, self._doubt
        found = self._crossing.people(outer, inner, windy=windy)
        if found.ways and not found.doubtful:
            doubt.body(start_s, end_s)
            doubt.limb(end_s, lean=False)
            return found
        if max(b.length_s for b in outer + inner) > STIR_S or is_body(outer, inner):
            doubt.body(start_s, end_s)
        else:
            for _ in range(max(len(outer), len(inner))):
                doubt.stir(end_s)
        if found.lean:
            doubt.limb(end_s, lean=True)
        return found

    def _judge_held(self) -> list[Way]:
        """Return the one person in what is held, by all of it together; a thin one must stay alone."""
        outer, inner = self._held
        is_alone = _start_s(outer, inner) - self._counted_s >= ALONE_S
        if self._ignoring:
            return []
        thin = self._crossing.thin(outer, inner)
        if thin.lean:
            self._doubt.limb(self._free_s, lean=True)
            self._lone += thin.ways * is_alone
            return []
        if thin.ways:  # not thinner than people are, but than the distance of the beams
            return thin.ways * is_alone
        return self._crossing.with_arms(outer, inner) if is_alone else []

    def _see(self) -> None:
        super()._see()
        self._alone_times = 0

    def _compare(self, outer: list[Break], inner: list[Break]) -> None:
        """Count how often one beam was broken without the other."""
        if outer and inner:
            self._see()
            return
        alone = OUTER if outer else INNER
        found = outer or inner
        if max(b.length_s for b in found) < FAILED_BREAK_S:
            return
        if alone != self._alone or not self._alone_times:
            self._alone, self._alone_times, self._alone_since_s = alone, 0, self._free_s
        elif self._free_s - self._alone_s < FAILED_EVERY_S:
            return
        self._alone_s = self._free_s
        self._alone_times += 1
        if self._alone_times >= FAILED_TIMES:
            self.failure = Failure((alone,), alone=True)
            self._blind_from_s = self._alone_since_s


def _start_s(outer: list[Break], inner: list[Break]) -> float:
    return min(b.start_s for b in outer + inner)
