"""What a sensor says: one value of one quantity, how far it can be believed, and when."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from sensors.trouble import Trouble


class Quality(StrEnum):
    """How far a value can be believed; the words are the contract's."""

    OK = "ok"
    ESTIMATED = "estimated"
    STALE = "stale"
    FAULT = "fault"
    STARTING = "starting"


Value = float | bool | None


class SensorError(Trouble):
    """A device cannot be read."""


class Measurement(NamedTuple):
    """One value as a driver hands it over; `value` is None exactly where nothing is known.

    `trouble` says why, where the quality is `fault`.
    """

    quantity: str
    value: Value
    quality: Quality = Quality.OK
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A measurement with its sensor's name and the monotonic second at which it was made."""

    sensor: str
    quantity: str
    value: Value
    quality: Quality
    at_s: float
    trouble: Trouble | None = None


#: The quantity of the reading that says that a sensor as a whole cannot be read.
FAULT = "fault"
#: What each sensor says about itself after every attempt.
READS, ERRORS, READ_DURATION_S = "reads", "errors", "read_duration_s"


class Driver(Protocol):
    """One device. A driver is used by one thread only, except for `interrupt`."""

    #: Seconds between two reads; 0 where `read` itself blocks until the device says something.
    period_s: float
    #: Hears what the device says, before it is parsed (`sensors.capture`).
    tap: Callable[[bytes], None]

    def open(self) -> None:
        """Take hold of the device. Raises SensorError; may be called again after close."""

    def read(self) -> Sequence[Measurement]:
        """Return what is new, after a second at the latest; empty where nothing is.

        Raises SensorError where the device cannot be read.
        """

    def interrupt(self) -> None:
        """Make a `read` that waits in another thread return soon."""

    def close(self) -> None:
        """Let go of the device; harmless when it is not open."""
