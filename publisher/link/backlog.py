"""The backlog on its way out: which rows of the store come next, in messages of which size, and when.

It goes out as `history`, oldest first, one message at a time. The size of the messages and the pauses
between them follow what the link bears. Nothing here knows a socket or a clock.
"""

import math
from collections.abc import Callable, Container
from typing import Protocol

from publisher import messages
from publisher.store.rows import Row

#: The pause after a history message is at least this many times as long as its PUBACK took, LONGEST_REST_S
#: at most: a centre that is busy with a thousand tents is left in peace by each of them.
REST_RATIO, LONGEST_REST_S = 2.0, 5.0
#: Bytes of a session's first history message; they grow while they are confirmed quickly. On a narrow
#: link a new state must not wait behind them.
FIRST_ROOM, LEAST_ROOM = 8 * 1024, 2 * 1024
#: Bytes of a history message besides its records, at most.
AROUND_RECORDS = 200
#: A PUBACK is quick that takes this long more than twice the quickest, and slow from SLOW_S on.
QUICK_S, SLOW_S = 0.5, 2.0
#: No MQTT packet is larger, in bytes.
NO_LIMIT = 1 << 28
#: For how long a size that was too large for the broker is remembered.
SIZE_MEMORY_S = 3600.0


class Reader(Protocol):
    """The store, as far as the backlog is read from it."""

    def backlog(self, after_id: int, until_id: int, max_bytes: int) -> list[Row]:
        """Return unconfirmed rows after `after_id` up to `until_id`, oldest first."""
        ...


class Sizes:
    """What a broker has shown of the sizes that it takes, over its sessions; for a while."""

    def __init__(self) -> None:
        self._payload = self._room = NO_LIMIT
        self._until_s = -math.inf
        self._suspects = 0

    def payload(self, now_s: float) -> int:
        """Return the largest payload that may be tried, in bytes."""
        return NO_LIMIT if now_s > self._until_s else self._payload

    def room(self, now_s: float) -> int:
        """Return the largest history message that may be tried, in bytes."""
        return NO_LIMIT if now_s > self._until_s else self._room

    def refused(self, size: int, now_s: float, *, is_divisible: bool) -> None:
        """Take note of a message that was too large for the broker; whether it can go in pieces."""
        if is_divisible:
            self._note(now_s, room=size // 2)
        else:
            self._note(now_s, payload=size - 1)

    def suspect(self, size: int, now_s: float) -> None:
        """Take note of a history message on which a session ended: twice in a row is no chance."""
        self._suspects += 1
        if self._suspects >= 2:
            self._suspects = 0
            self._note(now_s, room=max(LEAST_ROOM, size // 2))

    def acquit(self) -> None:
        """Take note of a history message that got through."""
        self._suspects = 0

    def _note(self, now_s: float, *, payload: int | None = None, room: int | None = None) -> None:
        self._payload = self.payload(now_s) if payload is None else payload
        self._room = self.room(now_s) if room is None else room
        self._until_s = now_s + SIZE_MEMORY_S


class Backlog:
    """The backlog of one session: the rows after a cursor, up to where it ends."""

    def __init__(self, bytes_per_s: float, uniform: Callable[[float, float], float]) -> None:
        """`bytes_per_s` is the pace that the configuration allows; `uniform` draws a random number."""
        self._bytes_per_s = bytes_per_s
        self._uniform = uniform
        self._cursor = 0
        self.until = 0  # the last row of it; what comes after goes live
        self.is_drained = False
        self.due_s = 0.0  # when the next message may go
        self._room = FIRST_ROOM
        self._quickest_s = math.inf  # of all PUBACKs
        self._got_through = 0  # bytes of the largest history message that was confirmed

    def begin(self, until: int, now_s: float, spread_s: float) -> None:
        """Begin with all that is not confirmed, after a random while of `spread_s` at most."""
        self.until = until
        self.start_over()
        # Units that begin together, as when the power comes back, do not all send theirs at once.
        self.due_s = now_s + self._uniform(0, spread_s)

    def start_over(self, not_before_s: float = 0.0) -> None:
        """Look for rows from the beginning again."""
        self._cursor, self.is_drained = 0, False
        self.due_s = max(self.due_s, not_before_s)

    def extend(self, until: int) -> None:
        """Take in rows that were to go live."""
        self.until, self.is_drained = max(self.until, until), False

    def rows(self, store: Reader, largest: int, taken: Container[int]) -> list[Row]:
        """Return the rows to look at next, for a message of `largest` bytes at most.

        Rows that are `taken`, since they are on their way or go live, are left out; there may be none
        left without the backlog being at its end.
        """
        room = min(self._room, largest) - AROUND_RECORDS
        found = store.backlog(self._cursor, self.until, max(0, room))
        if not found:
            self.is_drained = True
            return []
        self._cursor = found[-1].id
        return [row for row in found if row.id not in taken]

    def sent(self, size: int, now_s: float) -> None:
        """Take note of a message of `size` bytes."""
        self.due_s = now_s + size / self._bytes_per_s * self._uniform(0.75, 1.25)

    def heard(self, took_s: float) -> None:
        """Take note of how long any message's PUBACK took."""
        self._quickest_s = min(self._quickest_s, took_s)

    def confirmed(self, size: int, took_s: float, now_s: float) -> None:
        """Take note of a message of `size` bytes that was confirmed: adapt sizes and pauses."""
        self._got_through = max(self._got_through, size)
        if took_s <= 2 * self._quickest_s + QUICK_S:
            self._room = min(2 * self._room, messages.HISTORY_MAX_BYTES)
        elif took_s > 2 * self._quickest_s + SLOW_S:
            self._room = max(self._room // 2, LEAST_ROOM)
        rest_s = min(LONGEST_REST_S, REST_RATIO * took_s) * self._uniform(0.75, 1.25)
        self.due_s = max(self.due_s, now_s + rest_s)

    def is_suspect(self, size: int) -> bool:
        """Say whether a message is larger than any that got through, should a session end on it."""
        return size > self._got_through
