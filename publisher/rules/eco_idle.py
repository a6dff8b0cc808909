"""An inverter's eco mode: where little is drawn, its engine idles and its frequency is low and steady."""

from collections import deque

from publisher.config.generator import GeneratorSettings

#: Where the rated power is not known, less than this is little.
LIGHT_W = 750.0
#: An inverter's frequency comes from a crystal: it moves less than this. An engine's moves more.
STEADY_HZ = 0.2
#: Time for which the frequency is steady before an idle begins.
EDGE_AFTER_S = 3.0
#: The frequency then falls by more than this …
EDGE_HZ = 1.0
#: … within this time.
EDGE_WITHIN_S = 4.5
#: The fall ends within this time; then the frequency is steady for `idle_steady_s`.
CHANGE_S = 6.0
#: Readings that follow closer upon one another are not remembered.
SPACING_S = 0.25


class EcoIdle:
    """Whether a low frequency under a light load is an eco mode's.

    Only an inverter falls at once from one steady frequency to another while little is drawn; an engine
    that lacks fuel sinks slowly or swings. After such a fall it is undecided until the frequency has been
    steady for `idle_steady_s`, or clearly is not.
    """

    def __init__(self, settings: GeneratorSettings) -> None:
        """Begin with nothing read."""
        self._settings = settings
        rated_w = settings.rated_w
        self._light_w = LIGHT_W if rated_w is None else settings.idle_pct / 100 * rated_w
        self.forget()

    def forget(self) -> None:
        """Forget all readings."""
        self._past: deque[tuple[float, float]] = deque()
        self._left: tuple[float, float] | None = (
            None  # when it was steady last, and at what frequency
        )
        self._edge_s: float | None = None
        #: Whether it idles.
        self.on = False
        #: Whether the last readings may turn out to be an idle's beginning.
        self.is_undecided = False

    def apply(self, frequency_hz: float, power_w: float, at_s: float) -> bool:
        """Take a reading of the monotonic second `at_s`; return whether a load has just ended an idle."""
        settings, past = self._settings, self._past
        if power_w >= self._light_w:
            ended = self.on or self.is_undecided
            self.forget()
            return ended
        if not past:
            self._edge_s = at_s  # the load has just gone
        if not past or at_s - past[-1][0] >= SPACING_S:
            past.append((at_s, frequency_hz))
        while len(past) > 1 and at_s - past[1][0] >= settings.idle_steady_s:
            past.popleft()
        is_steady = self._is_steady(settings.idle_steady_s, at_s)
        if self._left is not None:
            left_s, left_hz = self._left
            if at_s - left_s <= EDGE_WITHIN_S and left_hz - frequency_hz > EDGE_HZ:
                self._edge_s, self._left = left_s, None
        if self.on and not is_steady:
            self._edge_s = at_s  # it moves a little, or wakes
        if self._is_steady(EDGE_AFTER_S, at_s):
            self._left = at_s, frequency_hz
        is_low = frequency_hz < settings.sag_clear_hz
        waits_s = settings.idle_steady_s + CHANGE_S
        waits = self._edge_s is not None and at_s - self._edge_s <= waits_s
        self.on = is_low and is_steady
        self.is_undecided = is_low and not is_steady and waits
        return False

    def _is_steady(self, for_s: float, at_s: float) -> bool:
        """Say whether the frequency has hardly moved in the last `for_s` seconds."""
        if at_s - self._past[0][0] < for_s:
            return False
        late = [hz for when_s, hz in self._past if at_s - when_s <= for_s]
        return max(late) - min(late) < STEADY_HZ + 0.01  # tenths are not exact
