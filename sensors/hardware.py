"""Where drivers find I2C buses and pins: the Pi's own here, simulated ones in `sensors.simulated`."""

import errno
from pathlib import Path
from typing import Any, Protocol

from sensors.reading import SensorError
from sensors.trouble import BUS, declare, marked

#: The kernel's folder of devices on 1-Wire buses, below `Hardware.root`, and the buses in it.
ONE_WIRE_DEVICES, ONE_WIRE_BUSES = "sys/bus/w1/devices", "w1_bus_master*"

#: Cure if this user may not open a device.
DENIED_CURE = marked(
    "the service is in the groups gpio, i2c and dialout by tentwatch.service: install that file again; "
    "by hand use sudo"
)
NO_BUS = declare(
    "i2c.missing",
    marked("there is no I2C bus {bus}"),
    marked(
        "sudo raspi-config nonint do_i2c 0, then reboot the Pi: ls /dev/i2c-{bus} must show it; or "
        "bus in the configuration has the wrong number"
    ),
    concerns=BUS,
)
BUS_DENIED = declare(
    "i2c.denied",
    marked("/dev/i2c-{bus} may not be opened by this user"),
    DENIED_CURE,
    concerns=BUS,
)


class I2CBus(Protocol):
    """The part of CircuitPython's `busio.I2C` that device libraries use."""

    def try_lock(self) -> bool:
        """Lock the bus; False if another user has it."""

    def unlock(self) -> None:
        """Unlock the bus."""

    def writeto(
        self, address: int, buffer: bytes, *, start: int = 0, end: int | None = None
    ) -> None:
        """Write `buffer[start:end]`; raises OSError where nothing answers."""

    def readfrom_into(
        self, address: int, buffer: bytearray, *, start: int = 0, end: int | None = None
    ) -> None:
        """Fill `buffer[start:end]`; raises OSError where nothing answers."""

    def writeto_then_readfrom(
        self,
        address: int,
        buffer_out: bytes,
        buffer_in: bytearray,
        *,
        out_start: int = 0,
        out_end: int | None = None,
        in_start: int = 0,
        in_end: int | None = None,
    ) -> None:
        """Write `buffer_out`, then fill `buffer_in` in the same transfer; raises OSError likewise."""

    def deinit(self) -> None:
        """Close the bus."""


class Hardware:
    """The Raspberry Pi's buses and pins."""

    #: Whether the devices are simulated.
    is_simulated = False
    #: Root of the kernel's files about the computer, `sys` and `proc`.
    root = Path("/")

    def i2c(self, bus: int) -> I2CBus:
        """Open /dev/i2c-`bus`. Raises SensorError where there is none."""
        import warnings

        from adafruit_extended_bus import ExtendedI2C

        try:
            with warnings.catch_warnings():  # Linux sets the frequency; the library warns each time
                warnings.simplefilter("ignore", RuntimeWarning)
                opened: I2CBus = ExtendedI2C(bus)
        except (ValueError, RuntimeError, OSError) as error:  # absent: no OSError
            denied = isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM)
            raise SensorError(BUS_DENIED if denied else NO_BUS, bus=bus) from error
        return opened

    def pin_factory(self) -> Any:
        """Return the gpiozero pin factory to use; None is gpiozero's own choice (lgpio on a Pi)."""
        return None
