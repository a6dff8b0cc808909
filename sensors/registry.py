"""Which drivers there are: one table, name → module, class, configuration, and what each measures."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

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
    "beams": Entry("sensors.beams", "Beams", frozenset({"door"})),
    "contact": Entry("sensors.contact", "Contact", frozenset({"mains"})),
    "ina219": Entry("sensors.ina219", "Ina219", frozenset({"generator"})),
    "vedirect": Entry("sensors.vedirect", "VeDirect", frozenset({"battery"})),
}

#: The sensors that a tent can have; each is a section of the configuration.
SENSORS = ("mains", "generator", "battery", "door")


def config_class(driver: str) -> type[Any]:
    """Return the dataclass of a driver's keys. Raises KeyError for a name not in DRIVERS."""
    found: type[Any] = import_module(DRIVERS[driver].module).Config
    return found


def build(driver: str, config: Any, hardware: Hardware, clock: Monotonic) -> Driver:
    """Return a driver that is not open yet. Raises KeyError for a name not in DRIVERS."""
    entry = DRIVERS[driver]
    built: Driver = getattr(import_module(entry.module), entry.driver)(config, hardware, clock)
    return built
