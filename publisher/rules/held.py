"""A condition that must hold for a while before it counts."""


class Held:
    """A condition that comes after it has held for a time, and goes after its opposite has.

    Times are monotonic seconds of readings. The condition is decided when a reading shows that it has
    held long enough, never by the mere passing of time over an old value.
    """

    def __init__(self, enter_s: float, leave_s: float, on: bool = False) -> None:
        """Start with the condition `on`; it takes `enter_s` seconds to come and `leave_s` to go."""
        self._enter_s = enter_s
        self._leave_s = leave_s
        self._since_s: float | None = None
        self.on = on

    def apply(self, enters: bool, leaves: bool, at_s: float, *, wait: bool = False) -> bool:
        """Take a reading made at `at_s` and return `on`.

        `enters` and `leaves` say whether the reading is for the condition or against it; a reading
        may be neither. `wait` defers the decision to a later reading while the time keeps counting.
        """
        if not (leaves if self.on else enters):
            self._since_s = None
            return self.on
        if self._since_s is None:
            self._since_s = at_s
        if not wait and at_s - self._since_s >= (self._leave_s if self.on else self._enter_s):
            self.on, self._since_s = not self.on, None
        return self.on

    def forget(self) -> None:
        """Forget a pending change."""
        self._since_s = None

    @property
    def is_pending(self) -> bool:
        """Whether a change has begun and has not yet held long enough."""
        return self._since_s is not None

    def set(self, on: bool) -> None:
        """Decide at once."""
        self.on, self._since_s = on, None
