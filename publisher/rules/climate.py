"""Warmth: the day's lowest temperature inside, and whether it has been too cold for a while."""

from publisher.config.climate import ClimateSettings
from publisher.rules.day import Counts
from publisher.rules.held import Held
from sensors.reading import Reading

#: The sensors of this rule.
INSIDE, OUTSIDE = "inside", "outside"
#: The temperature must rise this far above the limit before the alert clears.
HYSTERESIS_C = 1.0


class Climate:
    """Whether it is cold inside. An alert that stands is all that survives a power cut."""

    def __init__(self, settings: ClimateSettings, stale_after_s: float, *, was_cold: bool) -> None:
        """Continue with the alert as it stood; a silence of `stale_after_s` ends what is pending."""
        self._settings = settings
        self._stale_after_s = stale_after_s
        self._cold = Held(settings.cold_hold_s, settings.cold_hold_s, was_cold)
        self._read_s: float | None = None

    def take(self, reading: Reading, counts: Counts) -> None:
        """Take a reading of the sensor inside, and note the day's lowest temperature in `counts`."""
        inside_c = reading.number("temperature_c")
        if inside_c is None:
            return
        counts.note("inside_min_c", inside_c)
        if self._read_s is not None and reading.at_s - self._read_s > self._stale_after_s:
            self._cold.forget()
        self._read_s = reading.at_s
        cold_c = self._settings.cold_c
        self._cold.apply(inside_c < cold_c, inside_c >= cold_c + HYSTERESIS_C, reading.at_s)

    def judge(self, is_open: bool | None) -> bool:
        """Return whether the alert stands. It ends while the tent is known to be closed."""
        if is_open is False:
            self._cold.set(False)
        return self._cold.on
