"""Presses and holds of a button, from the times at which its contact closes and opens. Pure."""

from collections import deque

#: A level that is stable for less than this is bouncing.
BOUNCE_S = 0.05
#: Seconds for which the button must be held to count as a hold.
HOLD_S = 5.0
#: After a hold the button must be released for this long before another hold counts: a stuck button or a wet
#: cable closes for long periods again and again.
REST_S = 60.0
#: With more closures than this in CLOSURES_S none counts: they are not a hand's.
MOST_CLOSURES, CLOSURES_S = 6, 60.0

PRESSED, HELD = "pressed", "held"


class Press:
    """Follows one contact: `pressed` when it is released, `held` once it was closed for HOLD_S.

    A contact that is closed at the start is ignored until it is released.
    """

    def __init__(self, at_s: float, *, closed: bool) -> None:
        self._raw = self._closed = closed
        self._raw_s = at_s  # time of the contact's last change
        self._closed_s = at_s
        self._counts = False  # whether this closure may be a press, and a hold
        self._may_hold = False
        self._rested_s = at_s  # holds count from this time on
        self._closures: deque[float] = deque(maxlen=MOST_CLOSURES)

    @property
    def due_s(self) -> float | None:
        """When `until` must be called again without a change; None if only a change can matter."""
        if self._raw != self._closed:
            return self._raw_s + BOUNCE_S
        return self._closed_s + HOLD_S if self._closed and self._may_hold else None

    def until(self, at_s: float, closed: bool | None = None) -> list[str]:
        """Let time pass until `at_s`, then apply the contact's level; return the presses and holds."""
        done = []
        if self._raw != self._closed and at_s >= self._raw_s + BOUNCE_S:
            self._closed = self._raw
            if self._closed:
                self._close()
            elif self._open():
                done.append(PRESSED)
        if self._closed and self._may_hold and at_s >= self._closed_s + HOLD_S:
            self._may_hold = self._counts = False
            done.append(HELD)
        if closed is not None and closed != self._raw:
            self._raw, self._raw_s = closed, at_s
        return done

    def _close(self) -> None:
        at_s = self._closed_s = self._raw_s
        full = len(self._closures) == MOST_CLOSURES
        self._counts = not (full and at_s - self._closures[0] < CLOSURES_S)
        self._closures.append(at_s)
        self._may_hold = self._counts and at_s >= self._rested_s

    def _open(self) -> bool:
        """Note the release; say whether that was a press."""
        held_s = self._raw_s - self._closed_s
        was_press = self._counts and held_s < HOLD_S
        if not was_press:  # a hold, or not a hand's
            self._rested_s = self._raw_s + REST_S
        self._counts = self._may_hold = False
        return was_press
