"""Records that are sent once more because a receiver lacks them: what is left of them, oldest first."""

from collections.abc import Iterable
from typing import Protocol

from publisher.store.rows import Row


class Reader(Protocol):
    """The part of the store that they are read from."""

    def held_rows(self, after_id: int, until_id: int, max_bytes: int) -> list[Row]:
        """Return rows after `after_id` up to `until_id`, oldest first, confirmed or not."""
        ...


class Resending:
    """It outlives a session: what the broker has not confirmed is sent again in the next one."""

    def __init__(self, spans: Iterable[tuple[int, int]], count: int) -> None:
        """`spans` are ids of rows, each a first and a last one; together they are `count` records."""
        self._spans = list(spans)
        self._after_id = -1
        self.left = count

    def rows(self, store: Reader, max_bytes: int) -> list[Row]:
        """Return the next rows; none at the end. Rows that are no longer in the store are left out."""
        while self._spans:
            first, last = self._spans[0]
            found = store.held_rows(max(self._after_id, first - 1), last, max_bytes)
            if found:
                return found
            del self._spans[0]
        return []

    def passed(self, until_id: int, count: int) -> None:
        """Note that `count` records up to this id are confirmed, or cannot be sent."""
        self._after_id = until_id
        self.left = max(0, self.left - count)
