"""A limit that is exceeded again and again: the time above it adds up."""


class Dose:
    """Seconds above a limit, less what the time below it makes up for.

    A short excess is forgotten. Pulses add up if they come faster than they are forgotten. Only the time
    between two readings that both exceed the limit counts, so a motor that starts counts hardly at all.
    """

    def __init__(self, limit_s: float, forget_s: float) -> None:
        """Be full at `limit_s` seconds; `forget_s` seconds below the limit make up for one above."""
        self._limit_s = limit_s
        self._forget_s = forget_s
        self._sum_s = 0.0
        self._last: tuple[float, bool] | None = None

    def apply(self, is_above: bool, at_s: float) -> bool:
        """Take a reading of the monotonic second `at_s` and return whether the dose is full."""
        if self._last is not None:
            last_s, was_above = self._last
            if is_above and was_above:
                self._sum_s = min(self._limit_s, self._sum_s + at_s - last_s)
            elif not is_above:
                self._sum_s = max(0.0, self._sum_s - (at_s - last_s) / self._forget_s)
        self._last = (at_s, is_above)
        return is_above and self._sum_s >= self._limit_s

    def skip(self) -> None:
        """Note that the next reading does not follow upon the last: the time between does not count."""
        self._last = None

    def forget(self) -> None:
        """Begin anew."""
        self._sum_s, self._last = 0.0, None
