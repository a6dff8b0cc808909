"""A driver's traits, which its module declares as TRAITS beside its `Config` and its `decode`.

Other modules know drivers only by their traits; only the registry has their names.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol

from sensors.clock import Monotonic
from sensors.hardware import Hardware
from sensors.reading import Driver, Value
from sensors.trouble import Kind, Marked

#: A device's values by quantity.
Figures = Mapping[str, Value]


class Connection(Enum):
    """A device's connection; the value is the keys of its section that distinguish it from others."""

    I2C = "bus address"
    SERIAL = "port"
    ONE_WIRE = "device"
    GPIO = ""  # lines that no two sections may share

    @property
    def keys(self) -> tuple[str, ...]:
        """The names in the value. An empty tuple as a value becomes an object() in Python 3.11.2."""
        return tuple(self.value.split())


class Speaks(NamedTuple):
    """How setup recognises a device that sends by itself."""

    baud: int
    #: Makes a parser for a port: each call of it takes bytes and returns the figures that they complete. It
    #: raises SensorError for a device that is known and of no use.
    parser: Callable[[str], Callable[[bytes], Sequence[Figures]]]
    #: A sensor → the quantity that only a device for this sensor sends.
    signs: Mapping[str, str]


class Answers(NamedTuple):
    """How setup recognises a device that answers requests. The request must be one to read."""

    baud: int
    request: bytes
    reply_s: float  # it answers within this time
    #: Takes all bytes since the request, and returns the figures in them, if they are an answer.
    understand: Callable[[bytes], Figures | None]


class Address(Protocol):
    """An address on an I2C bus, to find out which chip is there. Asking changes nothing in the chip."""

    def register(self, number: int) -> int | None:
        """Read a register of two bytes, the high one first, in one transfer; None: no answer."""

    def command(self, code: int, length: int, wait_s: float) -> bytes | None:
        """Send a command of one byte, and read the answer `wait_s` later; None: no answer.

        To a chip with registers the byte is the number of one: it must be no command that sets anything
        in any chip at these addresses.
        """


class Chip(NamedTuple):
    """How setup recognises a chip on an I2C bus."""

    name: str
    addresses: range
    #: Asks at one of the addresses, and says whether this chip is there.
    is_it: Callable[[Address], bool]


class ShuntChip(NamedTuple):
    """A chip that measures a current by the voltage on a shunt."""

    #: The smallest difference that it shows, in volts.
    step_v: float
    #: A voltage larger than this, or one that varies by more, is a current and no offset of the chip.
    largest_zero_v: float
    #: The cure of a wrong sign, with {name} for the sensor's, and that of thin wires that are not connected.
    reversed_cure: Marked
    unconnected_cure: Marked


@dataclass(frozen=True)
class Traits:
    """A driver's traits."""

    #: Makes a closed driver from its `Config`, the hardware and a clock.
    driver: Callable[[Any, Hardware, Monotonic], Driver]
    #: The sensors that it can be → setup's name of the device there.
    serves: Mapping[str, str]
    connection: Connection
    #: The keys of its GPIO lines → the part connected to each.
    lines: Mapping[str, str] = field(default_factory=dict)
    #: It measures an AC line that also powers it: while the line is dead the device is silent.
    measures_ac: bool = False
    #: What it measures changes slowly, so that `period_s` may be longer than `stale_after_s`: its values
    #: are old only after two periods and a half.
    changes_slowly: bool = False
    #: Of a door: returns the beams (name, GPIO number) that were broken throughout a capture.
    broken_beams: Callable[[bytes], tuple[tuple[str, int], ...]] | None = None
    #: It sees the direction of people.
    tells_way: bool = False
    #: It measures a current on a shunt. Its zero can be found, and it does not know the charge. Its
    #: `Config` has shunt_ohms, max_current_a, zero_a, dead_band_a and reversed; its driver `set_zero`.
    shunt_chip: ShuntChip | None = None
    #: The highest voltage that it tolerates.
    most_v: float = math.inf
    #: The trouble of a device that does not answer at all.
    silent: Kind | None = None
    #: The only possible trouble if some reads fail and others do not, or None.
    unsteady: Kind | None = None
    #: How setup recognises it; for GPIO lines setup asks.
    speaks: Speaks | None = None
    answers: Answers | None = None
    chip: Chip | None = None
    #: The family code of its chip on the 1-Wire bus: its name there begins with it.
    one_wire_family: str = ""

    @property
    def on_shunt(self) -> bool:
        """Whether it measures a current on a shunt."""
        return self.shunt_chip is not None

    @property
    def is_recognised(self) -> bool:
        """Whether setup can recognise it."""
        return bool(self.speaks or self.answers or self.chip or self.one_wire_family)
