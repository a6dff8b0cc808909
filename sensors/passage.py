"""Two beams across a door: from timed changes to people who came in or went out.

The state is outer | inner << 1. In: 0 → 1 → 3 → 2 → 0, out: 0 → 2 → 3 → 1 → 0. A person is counted
when both beams have been free for END_S: sooner, a flicker cannot be told from the end.
"""

from enum import IntEnum
from typing import NamedTuple

#: States shorter than this are electrical noise: a runner at 4 m/s needs 37 ms from beam to beam.
GLITCH_S = 0.01
#: Both beams must be free for so long; receivers flicker for less than half a millisecond.
END_S = 0.004
#: A thin body that never breaks both beams at once must break the second within this time …
THIN_GAP_S = 0.3
#: … and each of them for at least this long.
THIN_BLOCK_S = 0.03
#: A door that has not been wholly free for this long is obstructed; the count stops.
OBSTRUCTED_S = 30.0


class Way(IntEnum):
    """Which way a person went."""

    IN = 1
    OUT = -1


class _Stay(NamedTuple):
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
        """Take one beam's change at `at_s` (seconds); return the way of a person before it."""
        bit = 2 if inner else 1
        state = self._state | bit if blocked else self._state & ~bit
        if state == self._state:
            return None
        way = self.tick(at_s)
        if self._state:
            self._note(_Stay(self._state, self._since_s, at_s))
        elif not self._may_flicker(at_s):
            self._blocked_s = at_s
        self._state, self._since_s = state, at_s
        return way

    def tick(self, now_s: float) -> Way | None:
        """Let time pass until `now_s`; return the way of a person who has passed by then."""
        if self._state:
            if now_s - self._blocked_s > OBSTRUCTED_S:
                self.obstructed = self._blind = True
                self._track.clear()
            return None
        if self._may_flicker(now_s):
            return None
        track, self._track = self._track, []
        self.obstructed = self._blind = False
        return self._judge(track)

    @property
    def due_s(self) -> float | None:
        """When both beams will have been free for long enough; None where nothing is to be told."""
        ended = not self._state and (self._track or self._blind)
        return self._since_s + END_S if ended else None

    def _may_flicker(self, now_s: float) -> bool:
        return abs(now_s - self._since_s) < END_S

    def _note(self, stay: _Stay) -> None:
        track = self._track
        if self._blind or stay.until_s - stay.since_s < GLITCH_S:
            return
        if track and track[-1].state == stay.state:
            track[-1] = track[-1]._replace(until_s=stay.until_s)
        else:
            track.append(stay)

    def _judge(self, track: list[_Stay]) -> Way | None:
        if not track:
            return None
        before, self._single = self._single, None
        first, last = track[0].state, track[-1].state
        if len(track) == 1 and first in (1, 2):
            return self._judge_thin(before, track[0])
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
