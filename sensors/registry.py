"""Which drivers there are: one table, name → module, class, configuration, and what each measures."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sensors.capture import Decoded
from sensors.clock import Monotonic
from sensors.hardware import Hardware
from sensors.reading import Driver


@dataclass(frozen=True)
class Entry:
    """Where a driver lives and which sensors it can serve. The module holds a class `Config` too."""

    module: str
    driver: str
    serves: frozenset[str]


DRIVERS: dict[str, Entry] = {
    "beam": Entry("sensors.beam", "Beam", frozenset({"door"})),
    "beams": Entry("sensors.beams", "Beams", frozenset({"door"})),
    "contact": Entry(
        "sensors.contact", "Contact", frozenset({"mains", "mains_line", "generator_line"})
    ),
    "ina219": Entry("sensors.ina219", "Ina219", frozenset({"generator", "battery"})),
    "jbd": Entry("sensors.jbd", "Jbd", frozenset({"battery"})),
    "pzem004t": Entry("sensors.pzem004t", "Pzem004t", frozenset({"generator", "mains"})),
    "vedirect": Entry("sensors.vedirect", "VeDirect", frozenset({"battery", "charger"})),
}

#: The sensors that a tent can have; each is a section of the configuration. `mains_line` and
#: `generator_line` are contacts beside a meter, which say whether the line is alive that it measures.
SENSORS = ("mains", "mains_line", "generator", "generator_line", "battery", "charger", "door")


def config_class(driver: str) -> type[Any]:
    """Return the dataclass of a driver's keys. Raises KeyError for a name not in DRIVERS."""
    found: type[Any] = import_module(DRIVERS[driver].module).Config
    return found


def build(driver: str, config: Any, hardware: Hardware, clock: Monotonic) -> Driver:
    """Return a driver that is not open yet. Raises KeyError for a name not in DRIVERS."""
    entry = DRIVERS[driver]
    built: Driver = getattr(import_module(entry.module), entry.driver)(config, hardware, clock)
    return built


def decode(driver: str, capture: bytes) -> Decoded:
    """Return what a capture of a driver's device means. Raises KeyError for a name not in DRIVERS."""
    decoded: Decoded = import_module(DRIVERS[driver].module).decode(capture)
    return decoded
