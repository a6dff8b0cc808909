"""The drivers: one table, name → module. A module has `Config`, `decode` and `TRAITS`.

Modules are loaded when they are needed: a unit uses a few of the drivers.
"""

from importlib import import_module
from typing import Any

from sensors.capture import Decoded
from sensors.clock import Monotonic
from sensors.hardware import Hardware
from sensors.reading import Driver
from sensors.traits import Connection, Traits

DRIVERS = {
    "beam": "sensors.beam",
    "beams": "sensors.beams",
    "contact": "sensors.contact",
    "ds18b20": "sensors.ds18b20",
    "ina219": "sensors.ina219",
    "jbd": "sensors.jbd",
    "pzem004t": "sensors.pzem004t",
    "sht4x": "sensors.sht4x",
    "vedirect": "sensors.vedirect",
    "ze07co": "sensors.ze07co",
}

#: The sensors that a tent can have; each is a section of the configuration. `mains_line` and
#: `generator_line` are contacts beside a meter, which show whether the line that it measures is live.
#: `inside` and `outside` are the air's temperature, `co` is its carbon monoxide.
SENSORS = (
    "mains", "mains_line", "generator", "generator_line", "battery", "charger", "door",
    "inside", "outside", "co",
)  # fmt: skip


def traits(driver: str) -> Traits:
    """Return a driver's traits. Raises KeyError for a name not in DRIVERS."""
    found: Traits = import_module(DRIVERS[driver]).TRAITS
    return found


def serving(sensor: str, connection: Connection | None = None) -> list[str]:
    """Return the drivers that can be a sensor, those with a connection only if one is given."""
    return [
        driver
        for driver in DRIVERS
        if sensor in traits(driver).serves and connection in (None, traits(driver).connection)
    ]


def served_by(driver: str) -> tuple[str, ...]:
    """Return the sensors that a driver can be. Raises KeyError for a name not in DRIVERS."""
    return tuple(name for name in SENSORS if name in traits(driver).serves)


def config_class(driver: str) -> type[Any]:
    """Return the dataclass of a driver's keys. Raises KeyError for a name not in DRIVERS."""
    found: type[Any] = import_module(DRIVERS[driver]).Config
    return found


def build(driver: str, config: Any, hardware: Hardware, clock: Monotonic) -> Driver:
    """Return a driver that is not open yet. Raises KeyError for a name not in DRIVERS."""
    return traits(driver).driver(config, hardware, clock)


def decode(driver: str, capture: bytes) -> Decoded:
    """Decode a capture of a driver's device. Raises KeyError for a name not in DRIVERS."""
    decoded: Decoded = import_module(DRIVERS[driver]).decode(capture)
    return decoded
