"""Finds the sensors on the 1-Wire bus, and tells them apart while somebody warms one in the hand."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event
from typing import NamedTuple

from sensors.clock import Monotonic
from sensors.hardware import ONE_WIRE_BUSES, ONE_WIRE_DEVICES, Hardware
from sensors.reading import Driver, SensorError
from sensors.registry import DRIVERS, build, config_class, traits

#: A hand has warmed the one that has risen by this much in °C, and by this much more than any other.
WARMER_C, MORE_C = 2.0, 1.5
#: Pause between two looks; a sensor itself needs 750 ms.
_PAUSE_S = 0.2


class Found(NamedTuple):
    """A sensor on the bus: its name there, and its driver."""

    name: str
    driver: str


def has_bus(root: Path) -> bool:
    """Say whether there is a 1-Wire bus; `root` is where `sys` is."""
    return any((root / ONE_WIRE_DEVICES).glob(ONE_WIRE_BUSES))


def devices(root: Path) -> list[Found]:
    """Return the sensors on the bus that a driver knows; `root` is where `sys` is."""
    folder = root / ONE_WIRE_DEVICES
    return sorted(
        Found(path.name, driver)
        for driver in DRIVERS
        if (family := traits(driver).one_wire_family)
        for path in folder.glob(f"{family}-*")
    )


def wait_for_warmth(
    found: Sequence[Found],
    hardware: Hardware,
    clock: Monotonic,
    limit_s: float,
    show: Callable[[Mapping[str, float]], None],
) -> str | None:
    """Return the name of the sensor that gets warm; None if none does within `limit_s`.

    `show` gets the present temperatures in °C by name, after each look.
    """
    first_c: dict[str, float] = {}
    until_s = clock.now_s() + limit_s
    with ExitStack() as stack:
        drivers = {}
        for device in found:
            config = config_class(device.driver)(device=device.name)
            drivers[device.name] = driver = build(device.driver, config, hardware, clock)
            stack.callback(driver.close)
            with suppress(SensorError):  # it may come back
                driver.open()
        while clock.now_s() < until_s:
            now_c = {name: c for name, one in drivers.items() if (c := _read(one)) is not None}
            show(now_c)
            first_c = now_c | first_c
            rises = sorted(((now_c[name] - first_c[name]), name) for name in now_c)
            *others, (rise_c, name) = rises or [(0.0, "")]
            if rise_c >= WARMER_C and all(rise_c - other >= MORE_C for other, _ in others):
                return name
            Event().wait(clock.real_s(_PAUSE_S))
    return None


def _read(driver: Driver) -> float | None:
    with suppress(SensorError):
        for measurement in driver.read():
            if measurement.quantity == "temperature_c" and measurement.value is not None:
                return float(measurement.value)
    return None
