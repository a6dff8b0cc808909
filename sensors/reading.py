"""A sensor's reading: one value of one quantity, its quality, and its time."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from sensors.trouble import Trouble


class Quality(StrEnum):
    """How far to trust a value; the words are the contract's."""

    OK = "ok"
    ESTIMATED = "estimated"
    STALE = "stale"
    FAULT = "fault"
    STARTING = "starting"


Value = float | bool | None


class SensorError(Trouble):
    """A device cannot be read."""


class Measurement(NamedTuple):
    """One value of a driver; `value` is None exactly when it is unknown.

    With quality `fault`, `trouble` says why.
    """

    quantity: str
    value: Value
    quality: Quality = Quality.OK
    trouble: Trouble | None = None


class Reading(NamedTuple):
    """A measurement with its sensor's name and the monotonic second at which it was made."""

    sensor: str
    quantity: str
    value: Value
    quality: Quality
    at_s: float
    trouble: Trouble | None = None

    def number(self, quantity: str) -> float | None:
        """Return the value, if it is a good one of this quantity."""
        is_good = self.quantity == quantity and self.quality is Quality.OK
        return float(self.value) if is_good and self.value is not None else None


#: Quantity of the reading that reports that the whole sensor cannot be read.
FAULT = "fault"
#: Quantities that each sensor reports about itself after every attempt.
READS, ERRORS, READ_DURATION_S = "reads", "errors", "read_duration_s"


class Driver(Protocol):
    """One device. A driver is used by one thread only, except for `interrupt`."""

    #: Seconds between two reads; 0 if `read` itself blocks until the device sends.
    period_s: float
    #: Receives the device's data before it is parsed (`sensors.capture`).
    tap: Callable[[bytes], None]

    def open(self) -> None:
        """Open the device. Raises SensorError. It may be called again after close."""

    def read(self) -> Sequence[Measurement]:
        """Return new measurements, after a second at the latest; empty if there are none.

        Raises SensorError if the device cannot be read.
        """

    def interrupt(self) -> None:
        """Make a `read` that waits in another thread return soon."""

    def close(self) -> None:
        """Close the device; harmless if it is not open."""


class HasZero(Protocol):
    """A driver of a current sensor (`Traits.on_shunt`)."""

    def set_zero(self, zero_a: float) -> None:
        """Set the reading without a current to `zero_a`; any thread may call it."""
