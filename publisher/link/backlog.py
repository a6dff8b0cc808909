"""The backlog: which rows of the store are sent next, in messages of which size, and when.

It is sent as `history`, oldest first, one message at a time. Message sizes and pauses adapt to the link.
Nothing here uses a socket or a clock.
"""

import math
from collections.abc import Callable, Container
from typing import Protocol

from publisher import messages
from publisher.link.sizes import LEAST_ROOM
from publisher.store.rows import Row

#: The pause after a history message is at least this many times as long as its PUBACK took, at most
#: LONGEST_REST_S. So a thousand tents do not overload a busy centre.
REST_RATIO, LONGEST_REST_S = 2.0, 5.0
#: Bytes of a session's first history message; they grow while they are confirmed quickly. On a narrow
#: link a new state must not wait behind them.
FIRST_ROOM = 8 * 1024
#: Most bytes of a history message besides its records.
AROUND_RECORDS = 200
#: A PUBACK is quick if it takes at most this long more than twice the quickest one, and slow from SLOW_S on.
QUICK_S, SLOW_S = 0.5, 2.0


class Reader(Protocol):
    """The part of the store that the backlog is read from."""

    def backlog(self, after_id: int, until_id: int, max_bytes: int) -> list[Row]:
        """Return unconfirmed rows after `after_id` up to `until_id`, oldest first."""
        ...


class Backlog:
    """The backlog of one session: the rows after a cursor, up to where it ends."""

    def __init__(self, bytes_per_s: float, uniform: Callable[[float, float], float]) -> None:
        """`bytes_per_s` is the configured limit; `uniform` draws a random number."""
        self._bytes_per_s = bytes_per_s
        self._uniform = uniform
        self._cursor = 0
        self.until = 0  # its last row; later rows are sent live
        self.is_drained = False
        self.due_s = 0.0  # when the next message may be sent
        self._room = FIRST_ROOM
        self._quickest_s = math.inf  # of all PUBACKs
        self._got_through = 0  # bytes of the largest history message that was confirmed

    def begin(self, until: int, now_s: float, spread_s: float) -> None:
        """Begin with all unconfirmed rows, after a random delay of at most `spread_s`."""
        self.until = until
        self.start_over()
        # Units that start together, for example when the power returns, must not all send at once.
        self.due_s = now_s + self._uniform(0, spread_s)

    def start_over(self, not_before_s: float = 0.0) -> None:
        """Read rows from the beginning again."""
        self._cursor, self.is_drained = 0, False
        self.due_s = max(self.due_s, not_before_s)

    def extend(self, until: int) -> None:
        """Extend it by rows that were to be sent live."""
        self.until, self.is_drained = max(self.until, until), False

    def rows(self, store: Reader, largest: int, taken: Container[int]) -> list[Row]:
        """Return the next rows, for a message of at most `largest` bytes.

        Rows that are `taken`, because they are in flight or sent live, are left out. So the result may
        be empty before the end of the backlog.
        """
        found = store.backlog(self._cursor, self.until, self.room(largest))
        if not found:
            self.is_drained = True
            return []
        self._cursor = found[-1].id
        return [row for row in found if row.id not in taken]

    def room(self, largest: int) -> int:
        """Return how many bytes of records the next message of at most `largest` bytes takes."""
        return max(0, min(self._room, largest) - AROUND_RECORDS)

    def sent(self, size: int, now_s: float) -> None:
        """Note a sent message of `size` bytes."""
        self.due_s = now_s + size / self._bytes_per_s * self._uniform(0.75, 1.25)

    def heard(self, took_s: float) -> None:
        """Note the time of any message's PUBACK, in seconds."""
        self._quickest_s = min(self._quickest_s, took_s)

    def confirmed(self, size: int, took_s: float, now_s: float) -> None:
        """Note a confirmed message of `size` bytes: adapt sizes and pauses."""
        self._got_through = max(self._got_through, size)
        if took_s <= 2 * self._quickest_s + QUICK_S:
            self._room = min(2 * self._room, messages.HISTORY_MAX_BYTES)
        elif took_s > 2 * self._quickest_s + SLOW_S:
            self._room = max(self._room // 2, LEAST_ROOM)
        rest_s = min(LONGEST_REST_S, REST_RATIO * took_s) * self._uniform(0.75, 1.25)
        self.due_s = max(self.due_s, now_s + rest_s)

    def is_suspect(self, size: int) -> bool:
        """Say whether a message, with which a session ended, is larger than any confirmed one."""
        return size > self._got_through
