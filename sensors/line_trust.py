"""Trust in a line: its recent frames show whether a short checksum can be relied on.

A plain sum misses two errors that cancel. One such frame looks like a true one. But a line that damages
frames that much also makes many plainly bad ones. So a frame that passed its checks is accepted only
while few of its neighbours are bad. Frames before the first one count as good, because a stream may begin
in the middle of a frame. A frame that passed its checks counts as good even if it was not accepted;
otherwise trust would never come back.

An odd value in a frame with a right sum is damage or the device's own: see `OwnOddities`.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

#: Number of frames considered, the newest included, and how many of them may be bad.
WINDOW, TOLERATED = 30, 5

Result = TypeVar("Result")


class Trust(Protocol):
    """Follows a line's frames in order."""

    def good(self) -> bool:
        """Note a frame that passed its checks; say whether it can be trusted."""

    def bad(self) -> None:
        """Note a frame that did not."""

    def is_spotless(self) -> bool:
        """Say whether none of the neighbours of the last frame was bad."""


class LineTrust:
    """Trust in a live line, by its last frames."""

    def __init__(self, window: int = WINDOW, tolerated: int = TOLERATED) -> None:
        self._mask = (1 << window) - 1
        self._tolerated = tolerated
        self._bad = 0  # one bit per frame, 1 for a bad one; the newest is the lowest bit

    def good(self) -> bool:
        """Note a frame that passed its checks; say whether it can be trusted."""
        self._hear(0)
        return self._bad.bit_count() <= self._tolerated

    def bad(self) -> None:
        """Note a frame that did not."""
        self._hear(1)

    def is_spotless(self) -> bool:
        """Say whether none of the last frames was bad."""
        return not self._bad

    def _hear(self, bad: int) -> None:
        self._bad = (self._bad << 1 | bad) & self._mask


class OwnOddities:
    """Tells a device's own odd values from damage that a short checksum has missed.

    On a spotless line they are the device's own. On another line they are if they come again: damage hits the
    same value twice only where it is so frequent that no frame is believed.
    """

    def __init__(self, trust: Trust, window: int = WINDOW) -> None:
        self._trust = trust
        self._recent: deque[frozenset[str]] = deque(maxlen=window)

    def include(self, odd: frozenset[str]) -> bool:
        """Note what is odd about the next frame, by name; say whether all of it is the device's own."""
        own = not odd or self._trust.is_spotless() or any(odd <= one for one in self._recent)
        self._recent.append(odd)
        return own


class Hindsight:
    """Trust in a recorded line; at its beginning it uses the frames that follow.

    It is for a second pass over a recording, after a first one.
    """

    def __init__(self, heard: list[bool], window: int, tolerated: int) -> None:
        """`heard` has for each frame of the first pass, in order, whether it passed its checks."""
        self._heard = heard
        self._window = window
        self._tolerated = tolerated
        self._taken = 0

    def good(self) -> bool:
        """Note a frame that passed its checks; say whether it can be trusted."""
        self._taken += 1
        return self._bad() <= self._tolerated

    def bad(self) -> None:
        """Note a frame that did not."""
        self._taken += 1

    def is_spotless(self) -> bool:
        """Say whether none of the frames considered for the last one was bad."""
        return not self._bad()

    def _bad(self) -> int:
        first = max(0, self._taken - self._window)
        return self._heard[first : first + self._window].count(False)


class _Listener(LineTrust):
    """Records the first pass."""

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
    """Decode a recording twice; return the result of the second pass, which knows the first one."""
    listener = _Listener()
    read(listener)
    return read(Hindsight(listener.heard, window, tolerated))
