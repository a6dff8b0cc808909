"""Too little fuel: a generator's frequency sinks or swings although its load has not risen."""

from collections import deque
from typing import NamedTuple

from publisher.config.generator import GeneratorSettings
from publisher.rules.eco_idle import EcoIdle
from publisher.rules.held import Held
from publisher.rules.hunting import Hunting
from publisher.rules.load_steps import LEAST_CHANGE_W
from publisher.rules.sinking import Sinking

#: The most readings that are remembered. Faster readings are evaluated but not remembered.
MOST_REMEMBERED = 120
#: A swing that is this much smaller than `hunting_hz` counts as steady.
STEADY_SHARE = 0.9


class Verdict(NamedTuple):
    """The conclusion from a reading: fuel suspected, or steady, or neither."""

    is_suspected: bool
    is_steady: bool


class Fuel:
    """Detects a lack of fuel from frequency and power, in three ways.

    A fall within seconds or a wide swing (`Falls`), a mean that sinks within minutes (`Sinking`), and a
    small or fast swing that goes on (`Hunting`). A cold engine hunts by itself: there only the mean is
    judged. An engine that stalls under too much load also delivers less and less power: only the rated
    power distinguishes the two. What may be an eco mode's idle is not judged before it is known.
    """

    def __init__(self, settings: GeneratorSettings) -> None:
        """Begin with nothing remembered."""
        self._settings = settings
        self._falls = Falls(settings)
        self._sinking = Sinking(settings)
        self._hunting = Hunting(settings)
        self._sunk = Held(settings.fuel_hold_s, 0.0)

    def forget(self) -> None:
        """Forget all readings."""
        self._falls.forget()
        self._sinking.forget()
        self._hunting.forget()
        self._sunk.set(False)

    def apply(
        self,
        at_s: float,
        frequency_hz: float,
        power_w: float,
        *,
        disturbed: bool,
        warm: bool,
        idle: EcoIdle,
    ) -> Verdict | None:
        """Apply a reading of the monotonic second `at_s`; None if it cannot be evaluated.

        `disturbed` says that the engine has to cope with a load step or an overload, `warm` that it has
        run for `warm_up_s`.
        """
        settings = self._settings
        if idle.on:
            self.forget()
            return Verdict(False, True)
        sunk_hz = self._sinking.apply(frequency_hz, power_w, at_s, disturbed=disturbed)
        hunts, fall = False, None
        if warm and not idle.is_undecided:
            hunts = self._hunting.apply(frequency_hz, power_w, at_s, disturbed=disturbed)
        if warm:
            fall = self._falls.apply(frequency_hz, power_w, at_s, disturbed=disturbed)
        if disturbed:
            self._sunk.forget()
            return None
        sinks = sunk_hz > settings.fuel_swing_hz
        self._sunk.apply(sinks, not sinks, at_s)
        if idle.is_undecided:
            return Verdict(False, False)
        width_hz = self._hunting.width_hz
        return Verdict(
            self._sunk.on or hunts or (fall is not None and fall.is_suspected),
            sunk_hz < settings.fuel_steady_hz
            and (fall is None or fall.is_steady)
            and (width_hz is None or width_hz < STEADY_SHARE * settings.hunting_hz),
        )


class Falls:
    """Falls within `fuel_window_s`, once or again and again.

    Every engine runs slower under more load. So a frequency is compared only with those in the window
    that were read at the same power or more. A load step clears the window, because the frequency
    overshoots after it.
    """

    def __init__(self, settings: GeneratorSettings) -> None:
        """Begin with nothing remembered."""
        self._settings = settings
        self._spacing_s = settings.fuel_window_s / MOST_REMEMBERED
        self._past: deque[tuple[float, float, float]] = deque(maxlen=MOST_REMEMBERED + 1)
        self._first_fall_s = 0.0  # start of the present series of falls
        self._last_fall_s: float | None = None

    def forget(self) -> None:
        """Clear the window."""
        self._past.clear()
        self._last_fall_s = None

    def apply(
        self, frequency_hz: float, power_w: float, at_s: float, *, disturbed: bool
    ) -> Verdict | None:
        """Apply a reading of the monotonic second `at_s`; None if the engine is disturbed."""
        settings, past = self._settings, self._past
        if disturbed:
            self.forget()  # the frequency may have been read a moment before the power
            return None
        while past and at_s - past[0][0] > settings.fuel_window_s:
            past.popleft()
        flat_w = power_w - max(LEAST_CHANGE_W, settings.fuel_flat_pct / 100 * power_w)
        fall_hz = max((f for _, f, p in past if p >= flat_w), default=frequency_hz) - frequency_hz
        if not past or at_s - past[-1][0] >= self._spacing_s:
            past.append((at_s, frequency_hz, power_w))
        falls = self._recurs(fall_hz > settings.fuel_swing_hz, at_s)
        return Verdict(falls, fall_hz < settings.fuel_steady_hz)

    def _recurs(self, is_low: bool, at_s: float) -> bool:
        """Say whether it is low now and was low some time ago: a swing is low only in its troughs."""
        if not is_low:
            return False
        if self._last_fall_s is None or at_s - self._last_fall_s > self._settings.fuel_window_s:
            self._first_fall_s = at_s
        self._last_fall_s = at_s
        return at_s - self._first_fall_s >= self._settings.fuel_hold_s
