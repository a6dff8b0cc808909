"""Whether a line can be trusted: what a short checksum cannot say of one frame, its neighbours can."""

#: How many frames are looked at, the newest included, and how many of them may be bad.
WINDOW = 30
TOLERATED = 5


class LineTrust:
    """Hears of a line's frames in order; on a line that is damaged often, nothing is believed.

    A plain sum lets through what two errors do that cancel. One such frame cannot be told from a true
    one, but it seldom comes alone: where the line damages frames that much, most others are plainly
    bad. So a frame that passed its checks is believed while at most five of the last thirty are bad.
    Frames not heard yet count as good: a stream may begin in the middle of a frame. A frame that passed
    its checks counts as good even where it was not believed, or trust would never come back.
    """

    def __init__(self) -> None:
        self._bad = 0  # a bit a frame, 1 for a bad one; the newest is the lowest

    def good(self) -> bool:
        """Take a frame that passed its checks; say whether it can be believed."""
        self._hear(0)
        return self._bad.bit_count() <= TOLERATED

    def is_spotless(self) -> bool:
        """Say whether none of the last frames was bad."""
        return not self._bad

    def bad(self) -> None:
        """Take a frame that did not."""
        self._hear(1)

    def _hear(self, bad: int) -> None:
        self._bad = (self._bad << 1 | bad) & ((1 << WINDOW) - 1)
