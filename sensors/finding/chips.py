"""Finds the chips on an I2C bus, at the addresses where a sensor's chip can be.

The registers below are those of the datasheets: TI SBOS547 (INA226), SBOS656 (INA260), SBOS576
(INA3221), SLYS021 (INA228 and its family); NXP PCA9685, rev. 4, table 4.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sensors.hardware import I2CBus
from sensors.reading import SensorError
from sensors.registry import DRIVERS, traits
from sensors.traits import Chip
from sensors.trouble import BUS, declare, marked

DISTURBED = declare(
    "i2c.disturbed",
    marked("I2C bus {bus} is disturbed, every address answers"),
    marked("check that SDA and SCL are not exchanged and touch nothing else"),
    concerns=BUS,
)

_CONFIGURATION = 0x00
#: Texas Instruments' manufacturer id, and the registers of the manufacturer and of the kind of chip.
_TI = 0x5449
_OLDER, _NEWER = (0xFE, 0xFF), (0x3E, 0x3F)
_OLDER_KINDS = {0x2260: "INA226", 0x2270: "INA260", 0x3220: "INA3221"}
#: The PCA9685's own sub-addresses 1 and "all call" after power-on, in registers of a byte each.
_PCA9685 = {0x02: 0xE2, 0x05: 0xE0}


class Found(NamedTuple):
    """A chip at an address. An unknown chip has an empty name, one without a driver an empty driver."""

    bus: int
    address: int
    name: str
    driver: str = ""


def addresses() -> list[int]:
    """Return the addresses at which a sensor's chip can be."""
    return sorted({address for chip in _chips().values() for address in chip.addresses})


def _chips() -> dict[str, Chip]:
    found = {driver: traits(driver).chip for driver in DRIVERS}
    return {driver: chip for driver, chip in found.items() if chip is not None}


def buses(root: Path) -> list[int]:
    """Return the numbers of the I2C buses; `root` is where `dev` is."""
    names = [path.name.removeprefix("i2c-") for path in (root / "dev").glob("i2c-*")]
    return sorted(int(name) for name in names if name.isdecimal())


def search(number: int, bus: I2CBus) -> list[Found]:
    """Return the chips on a bus, which is opened for this and closed by the caller.

    It reads registers and writes none. A running service may use a chip at the same time: each reading
    is one transfer, which the kernel does not interrupt. Raises SensorError if the bus is disturbed.
    """
    possible = addresses()
    with _locked(bus):
        found = [
            Found(number, address, *_identify(bus, address))
            for address in possible
            if _word(bus, address, _CONFIGURATION) is not None
        ]
    if len(found) == len(possible):
        raise SensorError(DISTURBED, bus=number)
    return found


@contextlib.contextmanager
def _locked(bus: I2CBus) -> Iterator[None]:
    while not bus.try_lock():
        pass
    try:
        yield
    finally:
        bus.unlock()


def _word(bus: I2CBus, address: int, register: int) -> int | None:
    """Read a register of two bytes, the high one first; None if nothing answers.

    Only the register's number is sent. Register 0 is read first: its number is not a command to any
    known chip at these addresses. Other registers are read only from chips that seem to have them.
    """
    word = bytearray(2)
    try:
        bus.writeto_then_readfrom(address, bytes((register,)), word)
    except OSError:
        return None
    return int.from_bytes(word, "big")


def _identify(bus: I2CBus, address: int) -> tuple[str, str]:
    """Return a chip's name and its driver, each empty if unknown."""
    for driver, chip in _chips().items():
        if address in chip.addresses and chip.is_it(partial(_word, bus, address)):
            return chip.name, driver
    return _name_of_another(bus, address), ""


def _name_of_another(bus: I2CBus, address: int) -> str:
    word = _word(bus, address, _CONFIGURATION) or 0
    if word & 0x4000 and _word(bus, address, _OLDER[0]) == _TI:
        return _OLDER_KINDS.get(_word(bus, address, _OLDER[1]) or 0, "")
    if not word & 0xF and _word(bus, address, _NEWER[0]) == _TI:
        return f"INA{(_word(bus, address, _NEWER[1]) or 0) >> 4:03X}"
    if all((_word(bus, address, r) or 0) >> 8 == byte for r, byte in _PCA9685.items()):
        return "PCA9685"
    return ""
