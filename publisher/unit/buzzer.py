"""The buzzer's patterns: which one an alert of carbon monoxide sounds, and how. Pure."""

from collections.abc import Collection

from publisher.config.co import ALARM, WARNING

#: Patterns, as `tentwatch status` names them.
SILENT = "silent"
SILENCED = "silenced"
CO_WARNING = "co warning"
CO_ALARM = "co alarm"

#: How long a press of the button silences the buzzer, in seconds.
SILENCE_S = 300.0
#: The alarm is one long tone after the other, because it must wake people. The warning is two short ones
#: now and then.
LONG_S, BREATH_S = 2.0, 0.5
SHORT_S, GAP_S, PAUSE_S = 0.2, 0.3, 30.0

#: Each pattern as seconds of sound, seconds of silence, and so on; it repeats.
STEPS_S: dict[str, tuple[float, ...]] = {
    SILENT: (),
    SILENCED: (),
    CO_WARNING: (SHORT_S, GAP_S, SHORT_S, PAUSE_S),
    CO_ALARM: (LONG_S, BREATH_S),
}


class Buzzer:
    """What the buzzer sounds: the standing alert, unless a hand has silenced it a short time ago."""

    def __init__(self) -> None:
        self._due = SILENT
        self._silenced = SILENT  # the pattern that a hand has silenced
        self._until_s = 0.0

    def follow(self, alerts: Collection[str]) -> None:
        """Take the standing alerts. Once none sounds, the next one is not silenced."""
        self._due = SILENT
        if WARNING in alerts:
            self._due = CO_WARNING
        if ALARM in alerts:
            self._due = CO_ALARM
        if self._due == SILENT:
            self._silenced = SILENT

    def pattern(self, now_s: float) -> str:
        """Return the pattern that is due now."""
        if self._due == SILENT:
            return SILENT
        # A silenced warning that has become the alarm sounds again; a silenced alarm silences both.
        is_silenced = now_s < self._until_s and self._silenced in (self._due, CO_ALARM)
        return SILENCED if is_silenced else self._due

    def silence(self, now_s: float) -> bool:
        """Silence what sounds now for SILENCE_S; say whether anything did."""
        sounds = self.pattern(now_s)
        if not STEPS_S[sounds]:
            return False
        self._silenced, self._until_s = sounds, now_s + SILENCE_S
        return True
