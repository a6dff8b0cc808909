"""Frames out of a stream of bytes, for protocols whose frames tell by their first bytes how long they are."""

from collections.abc import Callable

#: So many bytes tell how long a frame is, in every protocol that is cut here.
HEAD = 4


class FrameError(ValueError):
    """A frame is damaged, or holds what cannot be."""


class Cutter:
    """Cuts a stream into frames. Any bytes may be fed; less than one frame is kept of them.

    What begins like a frame and is none is a bad one, and so are bytes that no frame begins with, as
    many as a frame has. A few (fewer than `shortest`) are passed over: a line that is switched
    between sending and receiving adds some. After damage the search goes on at the next byte, so that
    no good frame is lost behind it.
    """

    def __init__(
        self,
        length: Callable[[bytes], int | None],
        is_whole: Callable[[bytes], bool],
        shortest: int,
        usual: int,
    ) -> None:
        """`length` takes the first bytes, at most HEAD, and returns how many the frame has.

        It returns None where no frame begins so, and more than it got where it cannot tell yet.
        `is_whole` checks the checksum. `usual` is how many bytes a frame has as a rule.
        """
        self._length = length
        self._is_whole = is_whole
        self._shortest = shortest
        self._usual = usual
        self._pending = b""
        self._spare = shortest  # so many bytes outside a frame make the next bad one

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the frames that `data` completes, in order; None stands for a bad one."""
        return self._cut(self._pending + data, more=True)

    def end(self) -> list[bytes | None]:
        """Return what is left where nothing more follows."""
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
            if length and self._spare <= self._shortest:  # not within one that is counted
                found.append(None)
                self._spare = length + self._shortest
            self._spare -= 1
            if not self._spare:
                found.append(None)
                self._spare = self._usual
            at += 1
        self._pending = data[at:]
        return found
