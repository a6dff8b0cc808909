"""Which source feeds the tent, and whether the generator runs."""

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """What feeds the tent; the words are the contract's."""

    MAINS = "mains"
    GENERATOR = "generator"
    BATTERY = "battery"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one power sensor says: whether there is such a sensor, and True, False or None (unknown)."""

    fitted: bool
    on: bool | None


def source(mains: Seen, generator: Seen, battery: Seen) -> Source:
    """Say what feeds the tent; unknown wherever an answer would rest on a sensor that is silent.

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


class MainsVoltage:
    """Whether mains is there, from its voltage: where no contact but a meter is fitted."""

    #: EN 50160 allows 10 % above and below 230 V; blackouts' ends and brown-outs lie between.
    PRESENT_V, LOST_V = 180.0, 140.0

    def __init__(self) -> None:
        self._on = False

    def apply(self, voltage_v: float | None) -> bool | None:
        """Take a voltage and say whether mains is there; None (not known) where that is None."""
        if voltage_v is None:
            return None
        self._on = voltage_v >= (self.LOST_V if self._on else self.PRESENT_V)
        return self._on
