"""How long the tent will last: the battery alone, and until it is dark if nobody does anything."""

from typing import NamedTuple

from publisher.config.autonomy import AutonomySettings
from publisher.rules.currents import smooth
from publisher.rules.power import Source
from publisher.rules.tank import MORE_LOAD, Tank
from publisher.rules.totals import Totals

#: Share of the power that is left behind a charger and behind an inverter. Small ones are at 80 to 90 %.
CHARGER_SHARE, INVERTER_SHARE = 0.85, 0.85
#: The typical load looks back over this much time on the battery; the present one over this.
TYPICAL_S, PRESENT_S = 6 * 3600.0, 600.0
#: The alert clears at this multiple of its limit.
CLEAR_SHARE = 1.25
#: The load's mean begins anew after a step that exceeds both: this share of the mean, and this current.
STEP_SHARE, STEP_A = 0.3, 1.0


class Span(NamedTuple):
    """Minutes, and how many it will be in 19 of 20 cases at least; None where not known."""

    likely_min: float | None = None
    low_min: float | None = None

    def and_then(self, other: "Span") -> "Span":
        """Return this span and `other` after it. Without the likely length of one there is none."""
        likely, low = (
            None if mine is None or theirs is None else mine + theirs
            for mine, theirs in zip(self, other, strict=True)
        )
        return Span(likely, low)


class Seen(NamedTuple):
    """What the battery's sensor and the AC meters say now; None is what is not known.

    The current is positive while charging. `feed_a` is what a DC meter between charger and battery sees,
    and `feed_w` an AC meter. `time_to_empty` is what monitor or estimator make of it.
    """

    current_a: float | None = None
    voltage_v: float | None = None
    feed_a: float | None = None
    feed_w: float | None = None
    left_ah: Span | None = None
    time_to_empty: Span = Span()


class Autonomy:
    """How long the tent will last. What survives a power cut is in the totals given."""

    def __init__(self, settings: AutonomySettings, totals: Totals, *, has_battery: bool) -> None:
        """Continue with the load as it was last known."""
        self._settings = settings
        self._totals = totals
        self._has_battery = has_battery
        self._present_a: float | None = None
        self._at_s: float | None = None
        #: How long the battery alone would carry the present load.
        self.reserve = Span()
        #: When it is dark, if nobody does anything and mains does not come.
        self.dark_in = Span()

    def apply(self, seen: Seen, source: Source, tank: Tank | None, at_s: float) -> None:
        """Take what is seen at the monotonic second `at_s`."""
        self._follow(seen, source, at_s)
        self.reserve = self._reserve(seen, source) if self._has_battery else Span(0.0, 0.0)
        self.dark_in = self._dark_in(source, tank)

    def is_low(self, source: Source, *, was_low: bool) -> bool | None:
        """Return whether AUTONOMY_LOW stands; None if that is not known."""
        if source is Source.MAINS:
            return False
        low_min = self.dark_in.low_min
        if low_min is None:
            return None
        return low_min < self._settings.low_min * (CLEAR_SHARE if was_low else 1.0)

    def _follow(self, seen: Seen, source: Source, at_s: float) -> None:
        """Follow the load on the battery, present and typical."""
        step_s = 0.0 if self._at_s is None else max(0.0, at_s - self._at_s)
        self._at_s = at_s
        load_a = self._load_a(seen, source)
        if load_a is None:
            self._present_a = None
            return
        if self._present_a is None or abs(load_a - self._present_a) > max(
            STEP_A, STEP_SHARE * self._present_a
        ):
            self._present_a = load_a
        self._present_a = smooth(self._present_a, load_a, step_s / PRESENT_S)
        if step_s:
            self._totals.typical_load_a = smooth(
                self._totals.typical_load_a, load_a, step_s / TYPICAL_S
            )

    def _load_a(self, seen: Seen, source: Source) -> float | None:
        """Return what the battery has to give, or would have to; None if that is not known."""
        if seen.current_a is None or not seen.voltage_v:
            return None
        if source is Source.BATTERY:
            return max(0.0, -seen.current_a)
        if seen.feed_a is not None:
            return max(0.0, seen.feed_a - seen.current_a)
        if seen.feed_w is None:
            return None
        battery_w = seen.current_a * seen.voltage_v
        others_w = max(0.0, seen.feed_w - max(0.0, battery_w) / CHARGER_SHARE)
        return (others_w / INVERTER_SHARE + max(0.0, -battery_w)) / seen.voltage_v

    def _reserve(self, seen: Seen, source: Source) -> Span:
        if source is Source.BATTERY and seen.time_to_empty.likely_min is not None:
            return seen.time_to_empty
        load_a = self._present_a
        if load_a is None:
            load_a = self._totals.typical_load_a
        if not load_a or seen.left_ah is None:
            return Span()
        left_ah, low_ah = seen.left_ah
        high_a = MORE_LOAD * max(load_a, self._totals.typical_load_a or 0.0)
        return Span(
            None if left_ah is None else 60 * left_ah / load_a,
            None if low_ah is None else 60 * low_ah / high_a,
        )

    def _dark_in(self, source: Source, tank: Tank | None) -> Span:
        match source:
            case Source.NONE:
                return Span(0.0, 0.0)
            case Source.BATTERY:
                return self.reserve
            case Source.GENERATOR if tank is not None:
                hours, low_h = tank.hours, tank.hours_low
                fuel = Span(
                    None if hours is None else 60 * hours, None if low_h is None else 60 * low_h
                )
                return fuel.and_then(self.reserve)
            case _:
                return Span()
