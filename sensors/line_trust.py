"""Whether a line can be trusted: what a short checksum cannot say of one frame, its neighbours can.

A plain sum lets through what two errors do that cancel. One such frame cannot be told from a true one,
but it seldom comes alone: where the line damages frames that much, most others are plainly bad. So a
frame that passed its checks is believed while few of its neighbours are bad. Frames that nobody has
heard count as good: a stream may begin in the middle of a frame. A frame that passed its checks counts
as good even where it was not believed, or trust would never come back.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

#: How many frames are looked at, the one in question included, and how many of them may be bad.
WINDOW, TOLERATED = 30, 5

Result = TypeVar("Result")


class Trust(Protocol):
    """Hears of a line's frames in order."""

    def good(self) -> bool:
        """Take a frame that passed its checks; say whether it can be believed."""

    def bad(self) -> None:
        """Take a frame that did not."""

    def is_spotless(self) -> bool:
        """Say whether none of the neighbours of the frame taken last was bad."""


class LineTrust:
    """Trust in a line while it is heard: by the last frames."""

    def __init__(self, window: int = WINDOW, tolerated: int = TOLERATED) -> None:
        self._mask = (1 << window) - 1
        self._tolerated = tolerated
        self._bad = 0  # a bit a frame, 1 for a bad one; the newest is the lowest

    def good(self) -> bool:
        """Take a frame that passed its checks; say whether it can be believed."""
        self._hear(0)
        return self._bad.bit_count() <= self._tolerated

    def bad(self) -> None:
        """Take a frame that did not."""
        self._hear(1)

    def is_spotless(self) -> bool:
        """Say whether none of the last frames was bad."""
        return not self._bad

    def _hear(self, bad: int) -> None:
        self._bad = (self._bad << 1 | bad) & self._mask


class Hindsight:
    """Trust in a line that was recorded: at its beginning, by the frames that follow.

    It is for a second reading of what a first one has `heard`.
    """

    def __init__(self, heard: list[bool], window: int, tolerated: int) -> None:
        """`heard` says of each frame, in order, whether it passed its checks."""
        self._heard = heard
        self._window = window
        self._tolerated = tolerated
        self._taken = 0

    def good(self) -> bool:
        """Take a frame that passed its checks; say whether it can be believed."""
        self._taken += 1
        return self._bad() <= self._tolerated

    def bad(self) -> None:
        """Take a frame that did not."""
        self._taken += 1

    def is_spotless(self) -> bool:
        """Say whether none of the frames by which the last one is judged was bad."""
        return not self._bad()

    def _bad(self) -> int:
        first = max(0, self._taken - self._window)
        return self._heard[first : first + self._window].count(False)


class _Listener(LineTrust):
    """Takes note of what is heard."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[bool] = []

    def good(self) -> bool:
        self.heard.append(True)
        return super().good()

    def bad(self) -> None:
        self.heard.append(False)
        super().bad()


def in_hindsight(read: Callable[[Trust], Result], window: int, tolerated: int) -> Result:
    """Read a recording twice, and return what the second time gives, with what is known by then."""
    listener = _Listener()
    read(listener)
    return read(Hindsight(listener.heard, window, tolerated))
