"""What feeds the tent, and since when."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from publisher.clock import Now, instant, timestamp
from publisher.rules.day import Counts
from publisher.rules.happening import Happening
from publisher.rules.totals import Totals


class Source(StrEnum):
    """What feeds the tent; the words are the contract's."""

    MAINS = "mains"
    GENERATOR = "generator"
    BATTERY = "battery"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether a kind of power is watched (`fitted`), and whether it is there; None if unknown."""

    fitted: bool
    on: bool | None


def source(mains: Seen, generator: Seen, battery: Seen) -> Source:
    """Return what feeds the tent; unknown where the answer depends on a sensor that is silent.

    `battery.on` says whether it holds a charge.
    """
    if mains.on:
        return Source.MAINS
    if generator.on:
        return Source.GENERATOR
    for seen in (mains, generator, battery):
        if seen.fitted and seen.on is None:
            return Source.UNKNOWN
    if not mains.fitted:
        return Source.UNKNOWN  # it may well be there
    return Source.BATTERY if battery.on else Source.NONE


class Supply:
    """The tent's source of power. What survives a power cut is in totals."""

    def __init__(self, totals: Totals, boot: int) -> None:
        """Continue from `totals` in the boot with the number `boot`."""
        self._totals = totals
        self._boot = boot
        if instant(totals.since or "") is None:
            totals.since, totals.since_estimated = None, False
        self.source = Source.UNKNOWN

    def forget_since(self, wall: datetime) -> None:
        """Note that the time of day was set again: `since` is computed again from it."""
        totals = self._totals
        if totals.since_boot == self._boot or (totals.since or "") > str(timestamp(wall)):
            totals.since = None

    def apply(
        self,
        mains: Seen,
        generator: Seen,
        battery: Seen,
        now: Now,
        *,
        began: datetime | None,
        counts: Counts,
    ) -> list[Happening]:
        """Apply the present sources; return the sources that have come or gone.

        `began` is the time of day at uptime 0, None while it is not certain. Outages are counted in
        `counts`.
        """
        totals = self._totals
        self.source = source(mains, generator, battery)
        if self.source is not Source.UNKNOWN:
            if self.source.value != totals.source:
                totals.source, totals.since = self.source.value, None
                totals.since_estimated = False
                totals.since_boot, totals.since_s = self._boot, now.uptime_s
            if totals.since is None and began is not None:
                self._date(began)
        happened = []
        if mains.on is not None and mains.on != totals.mains_on:
            if totals.mains_on is not None:  # the first state ever seen is no change
                happened.append(self._changed("mains_restored" if mains.on else "mains_lost"))
                counts.outages += not mains.on
            totals.mains_on = mains.on
        if generator.on is not None and generator.on != totals.generator_on:
            if totals.generator_on is not None:
                name = "generator_started" if generator.on else "generator_stopped"
                happened.append(self._changed(name))
                totals.generator_starts += generator.on
            totals.generator_on = generator.on
        return happened

    def _changed(self, event: str) -> Happening:
        return Happening(event, {"source": self.source.value})

    def _date(self, began: datetime) -> None:
        """Set since when the source is what it is, now that the time of day is certain."""
        totals = self._totals
        totals.since_estimated = totals.since_boot != self._boot
        # In a boot that never knew the time: then or earlier, but not later than this boot began.
        at_s = 0.0 if totals.since_estimated else totals.since_s
        totals.since = timestamp(began + timedelta(seconds=at_s))


class MainsVoltage:
    """Whether mains is there by its voltage, where a meter is fitted and no contact."""

    #: EN 50160 allows 10 % above and below 230 V; the ends of blackouts and brown-outs lie between.
    PRESENT_V, LOST_V = 180.0, 140.0

    def __init__(self) -> None:
        self._on = False

    def apply(self, voltage_v: float | None) -> bool | None:
        """Take a voltage and return whether mains is there; None where the voltage is None."""
        if voltage_v is None:
            return None
        self._on = voltage_v >= (self.LOST_V if self._on else self.PRESENT_V)
        return self._on
