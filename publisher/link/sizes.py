"""Which sizes of messages a broker takes, as learned from its refusals. No socket and no clock is used here.

What was learned is not believed for long, because a broker's setting may be raised at any time. It ends with
the session, or after a wait that doubles with each refusal. Only a refusal that has ended the session
outlasts it, if it was not the first one: otherwise no session would get further than that message.
"""

import math
from dataclasses import dataclass

#: Largest MQTT packet, in bytes.
NO_LIMIT = 1 << 28
#: The first wait before a refused size is tried again; it doubles with each refusal, up to LONGEST_WAIT_S.
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 3600.0
MOST_DOUBLINGS = 16
#: Seconds for which smaller history messages are sent after a larger one was refused.
ROOM_MEMORY_S = 3600.0
#: Bytes of the smallest limit that a history message gets without the broker's word.
LEAST_ROOM = 2 * 1024


@dataclass(slots=True)
class _Limit:
    """The largest payload of one kind, in bytes, until it is tried again."""

    payload: int
    again_s: float
    times: int  # refusals in a row
    ended_session: bool


class Sizes:
    """The sizes that a broker takes, by kind of message as the contract names them."""

    def __init__(self) -> None:
        self._limits: dict[str, _Limit] = {}
        self._room, self._room_until_s, self._room_ended_session = NO_LIMIT, -math.inf, False
        self._suspects = 0

    def begin(self) -> None:
        """Begin a session: forget what a broker has refused without ending one."""
        self._limits = {k: limit for k, limit in self._limits.items() if limit.ended_session}
        if not self._room_ended_session:
            self._room = NO_LIMIT

    def takes(self, kind: str, size: int, now_s: float) -> bool:
        """Say whether a payload of `size` bytes may be tried."""
        limit = self._limits.get(kind)
        return limit is None or now_s >= limit.again_s or size <= limit.payload

    def again_s(self, kind: str) -> float:
        """Return when larger payloads of this kind may be tried again."""
        limit = self._limits.get(kind)
        return -math.inf if limit is None else limit.again_s

    def room(self, now_s: float) -> int:
        """Return the largest history message that may be tried, in bytes."""
        return self._room if now_s < self._room_until_s else NO_LIMIT

    def refused(
        self, kind: str, size: int, now_s: float, *, is_divisible: bool, ended_session: bool
    ) -> None:
        """Note a message that was too large for the broker; `is_divisible`: it can be sent in pieces."""
        if is_divisible:
            self._halve(size // 2, now_s, ended_session=ended_session)
            return
        old = self._limits.get(kind)
        if old is not None and now_s < old.again_s:  # it was sent before the limit was known
            old.payload = min(old.payload, size - 1)
            return
        times = 1 if old is None else min(old.times + 1, MOST_DOUBLINGS)
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (times - 1))
        if ended_session and times == 1:
            wait_s = 0.0  # it may have been a mistake: the next session tries it once
        self._limits[kind] = _Limit(size - 1, now_s + wait_s, times, ended_session)

    def taken(self, kind: str, size: int) -> None:
        """Note a confirmed message: one above the limit ends the limit."""
        if kind == "history":
            self._suspects = 0
        limit = self._limits.get(kind)
        if limit is not None and size > limit.payload:
            del self._limits[kind]

    def suspect(self, size: int, now_s: float) -> None:
        """Note a history message with which a session ended: twice in a row is not a coincidence."""
        self._suspects += 1
        if self._suspects >= 2:
            self._suspects = 0
            self._halve(max(LEAST_ROOM, size // 2), now_s, ended_session=True)

    def _halve(self, room: int, now_s: float, *, ended_session: bool) -> None:
        self._room, self._room_until_s = room, now_s + ROOM_MEMORY_S
        self._room_ended_session = ended_session
