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


class Running:
    """Whether a generator runs, from a current that must stand above or below for a while."""

    def __init__(self, threshold_a: float, hold_s: float) -> None:
        """It starts at `threshold_a` and stops at 70 % of it, each held for `hold_s` seconds."""
        self._start_a = threshold_a
        self._stop_a = 0.7 * threshold_a
        self._hold_s = hold_s
        self._since_s: float | None = None
        self.on: bool | None = None

    def apply(self, current_a: float | None, at_s: float) -> None:
        """Take a current; None (not known) makes the state unknown at once."""
        if current_a is None:
            self.on, self._since_s = None, None
            return
        flows = abs(current_a) >= (self._stop_a if self.on else self._start_a)
        if self.on is None:  # after a restart or a fault the first reading decides
            self.on, self._since_s = flows, None
        elif flows == self.on:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = at_s
        if self._since_s is not None and at_s - self._since_s >= self._hold_s:
            self.on, self._since_s = flows, None
