"""Cuts a stream of bytes into frames whose first bytes give their length."""

from collections.abc import Callable
from typing import NamedTuple

from sensors.trouble import Marked

#: Number of first bytes that give a frame's length, in every protocol that uses this.
HEAD = 4


class FrameError(ValueError):
    """A frame is damaged, or has an impossible value: `flaw` says what, for a terminal to translate."""

    def __init__(self, flaw: Marked) -> None:
        self.flaw = flaw
        super().__init__(flaw)


class Checked(NamedTuple):
    """What a frame with a right checksum says: its figures, None for one that is unknown or impossible.

    `odd` names what no frame usually has: an impossible figure, or one that does not fit the others.
    """

    figures: dict[str, float | bool | None]
    odd: frozenset[str]


class Cutter:
    """Cuts a stream into frames. It accepts any bytes, and holds back less than one frame.

    Bytes that begin like a frame but are not one count as a bad frame. So does each frame's worth of
    bytes that cannot begin a frame. A few such bytes (fewer than `shortest`) are skipped: a line that
    switches between sending and receiving adds some. After damage the search continues at the next
    byte, so that no good frame after it is lost.
    """

    def __init__(
        self,
        length: Callable[[bytes], int | None],
        is_whole: Callable[[bytes], bool],
        shortest: int,
        usual: int,
    ) -> None:
        """`length` takes the first bytes, at most HEAD, and returns the frame's number of bytes.

        It returns None if no frame begins like this, and more than it got if it needs more bytes.
        `is_whole` checks the checksum. `usual` is the usual number of bytes of a frame.
        """
        self._length = length
        self._is_whole = is_whole
        self._shortest = shortest
        self._usual = usual
        self._pending = b""
        self._spare = shortest  # this many more bytes outside a frame count as a bad one

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the frames that `data` completes, in order; None for a bad one."""
        return self._cut(self._pending + data, more=True)

    def end(self) -> list[bytes | None]:
        """Return the remaining frames at the end of the stream."""
        found = self._cut(self._pending, more=False)
        self._spare = self._shortest
        return found

    def _cut(self, data: bytes, more: bool) -> list[bytes | None]:
        found: list[bytes | None] = []
        at = 0
        while at < len(data):
            length = self._length(data[at : at + HEAD])
            frame = data[at : at + (length or 0)]
            if length and len(frame) < length:
                if more:
                    break
                length = None  # cut off
            if length and self._is_whole(frame):
                found.append(frame)
                self._spare = self._shortest
                at += length
                continue
            if length and self._spare <= self._shortest:  # not within a frame that has been counted
                found.append(None)
                self._spare = length + self._shortest
            self._spare -= 1
            if not self._spare:
                found.append(None)
                self._spare = self._usual
            at += 1
        self._pending = data[at:]
        return found
