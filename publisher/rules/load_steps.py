"""Changes of load that disturb an engine for a moment, however healthy it is."""

from publisher.config.generator import GeneratorSettings

#: Smaller changes of power do not change a generator's frequency, whatever their share of its power.
LEAST_CHANGE_W = 50.0


class LoadSteps:
    """Whether the load has changed so much that the engine is still busy with it."""

    def __init__(self, settings: GeneratorSettings) -> None:
        """Begin without a power."""
        self._settings = settings
        self._power_w: float | None = None
        self._until_s: float | None = None

    def forget(self) -> None:
        """Forget the power and the last step."""
        self._power_w = self._until_s = None

    def apply(self, power_w: float, at_s: float) -> bool:
        """Take a power read at the monotonic second `at_s`; return whether the engine is disturbed."""
        before_w, self._power_w = self._power_w, power_w
        if before_w is not None and self._is_step(before_w, power_w):
            self.disturb(at_s)
        if self._until_s is not None and at_s >= self._until_s:
            self._until_s = None
        return self._until_s is not None

    def disturb(self, at_s: float) -> None:
        """Note that something disturbs the engine now."""
        self._until_s = at_s + self._settings.load_step_settle_s

    def _is_step(self, before_w: float, power_w: float) -> bool:
        share_w = self._settings.load_step_pct / 100 * max(before_w, power_w)
        return abs(power_w - before_w) > max(LEAST_CHANGE_W, share_w)
