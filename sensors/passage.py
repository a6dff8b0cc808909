"""Two beams across a door: from timed changes to people who came in or went out.

The state is outer | inner << 1. In: 0 → 1 → 3 → 2 → 0, out: 0 → 2 → 3 → 1 → 0. A person is counted
on the return to 0, at once, so that nobody waits for a filter: the times that decide whether it was
a person all lie in the past by then.
"""

from dataclasses import dataclass
from enum import IntEnum

#: States shorter than this are electrical noise: a runner at 4 m/s needs 37 ms from beam to beam.
GLITCH_S = 0.01
#: A thin body that never breaks both beams at once must break the second within this time …
THIN_GAP_S = 0.3
#: … and each of them for at least this long.
THIN_BLOCK_S = 0.03
#: A beam that has been broken for this long is obstructed; the count stops.
OBSTRUCTED_S = 30.0


class Way(IntEnum):
    """Which way a person went; OUT is negative so that ways add up to people."""

    IN = 1
    OUT = -1


@dataclass(slots=True)
class _Stay:
    state: int
    since_s: float
    until_s: float


class Passages:
    """The door's state; fed with changes of either beam in the order of their times."""

    def __init__(self, outer_blocked: bool, inner_blocked: bool, at_s: float) -> None:
        """Begin at `at_s`; whoever stands in the door now is not counted."""
        self._state = outer_blocked | inner_blocked << 1
        self._since_s = at_s
        self._blocked_s = at_s
        self._track: list[_Stay] = []
        self._blind = self._state != 0
        self._single: _Stay | None = None
        self.obstructed = False

    def change(self, at_s: float, *, inner: bool, blocked: bool) -> Way | None:
        """Take one beam's change at `at_s` (seconds); return the way of a person it completes."""
        bit = 2 if inner else 1
        state = self._state | bit if blocked else self._state & ~bit
        if state == self._state:
            return None
        if self._state:
            self._track.append(_Stay(self._state, self._since_s, at_s))
        else:
            self._blocked_s = at_s
        self._state, self._since_s = state, at_s
        if state:
            return None
        self.tick(at_s)
        track, self._track = self._track, []
        blind, self._blind = self._blind, False
        self.obstructed = False
        return None if blind else self._judge(track)

    def tick(self, now_s: float) -> None:
        """Notice a beam that stays broken."""
        if self._state and now_s - self._blocked_s > OBSTRUCTED_S:
            self.obstructed = self._blind = True
            self._track.clear()

    def _judge(self, track: list[_Stay]) -> Way | None:
        before, self._single = self._single, None
        stays: list[_Stay] = []
        for stay in track:
            if stay.until_s - stay.since_s < GLITCH_S:
                continue
            if stays and stays[-1].state == stay.state:
                stays[-1].until_s = stay.until_s
            else:
                stays.append(stay)
        if not stays:
            self._single = before
            return None
        if {stay.state for stay in stays} == {1} or {stay.state for stay in stays} == {2}:
            return self._judge_thin(before, stays[0])
        first, last = stays[0].state, stays[-1].state
        if (first, last) == (1, 2):
            return Way.IN
        if (first, last) == (2, 1):
            return Way.OUT
        return None  # came back, or both beams at once: no way is known

    def _judge_thin(self, before: _Stay | None, stay: _Stay) -> Way | None:
        if stay.until_s - stay.since_s < THIN_BLOCK_S:
            return None
        if (
            before is not None
            and before.state != stay.state
            and stay.since_s - before.until_s <= THIN_GAP_S
        ):
            return Way.IN if stay.state == 2 else Way.OUT
        self._single = stay
        return None
