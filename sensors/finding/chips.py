"""Which chips answer on an I2C bus, where an INA219 can be.

The registers below are those of the datasheets: TI SBOS448 (INA219), SBOS547 (INA226), SBOS656
(INA260), SBOS576 (INA3221), SLYS021 (INA228 and its family); NXP PCA9685, rev. 4, table 4.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sensors.hardware import I2CBus
from sensors.reading import SensorError
from sensors.shunt import FULL_SCALE_V, configuration
from sensors.trouble import BUS, declare, marked

DISTURBED = declare(
    "i2c.disturbed",
    marked("I2C bus {bus} is disturbed, every address answers"),
    marked("check that SDA and SCL are not exchanged and touch nothing else"),
    concerns=BUS,
)

#: The addresses that an INA219 can have.
ADDRESSES = range(0x40, 0x50)

INA219 = "INA219"
#: What its configuration register holds: after power-on; as our driver sets it up; and as its
#: library does just before that.
_INA219 = {0x399F, 0x3EEF, *(configuration(gain) for gain in range(len(FULL_SCALE_V)))}
_CONFIGURATION, _CALIBRATION = 0x00, 0x05
#: Texas Instruments, as their chips say it, and the registers of that and of the kind of chip.
_TI = 0x5449
_OLDER, _NEWER = (0xFE, 0xFF), (0x3E, 0x3F)
_OLDER_KINDS = {0x2260: "INA226", 0x2270: "INA260", 0x3220: "INA3221"}
#: The PCA9685's own sub-addresses 1 and "all call" after power-on, in registers of a byte each.
_PCA9685 = {0x02: 0xE2, 0x05: 0xE0}


class Found(NamedTuple):
    """A chip at an address; its name is empty where it is not known."""

    bus: int
    address: int
    name: str


def buses(root: Path) -> list[int]:
    """Return the numbers of the I2C buses; `root` is where `dev` is."""
    names = [path.name.removeprefix("i2c-") for path in (root / "dev").glob("i2c-*")]
    return sorted(int(name) for name in names if name.isdecimal())


def search(number: int, bus: I2CBus) -> list[Found]:
    """Return the chips on a bus, which is opened for this and closed by the caller.

    Registers are read, none is written. A chip that a running service uses may be among them: each
    reading is one transfer, which the kernel lets nobody come between. Raises SensorError where
    the bus is disturbed.
    """
    with _locked(bus):
        found = [
            Found(number, address, _name(bus, address))
            for address in ADDRESSES
            if _word(bus, address, _CONFIGURATION) is not None
        ]
    if len(found) == len(ADDRESSES):
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
    """Read a register of two bytes, the high one first; None where nothing answers.

    What is sent is the register's number alone. Register 0 is asked first: its number is no command
    to any chip that is known to sit at these addresses. Others are asked only of what looks like the
    chips that have them.
    """
    said = bytearray(2)
    try:
        bus.writeto_then_readfrom(address, bytes((register,)), said)
    except OSError:
        return None
    return int.from_bytes(said, "big")


def _name(bus: I2CBus, address: int) -> str:
    word = _word(bus, address, _CONFIGURATION)
    if word is None:
        return ""
    if word in _INA219:
        # The calibration's lowest bit is always 0; and a measurement would not be the same twice.
        calibration = _word(bus, address, _CALIBRATION)
        is_steady = _word(bus, address, _CONFIGURATION) == word
        return INA219 if is_steady and calibration is not None and not calibration & 1 else ""
    if word & 0x4000 and _word(bus, address, _OLDER[0]) == _TI:
        return _OLDER_KINDS.get(_word(bus, address, _OLDER[1]) or 0, "")
    if not word & 0xF and _word(bus, address, _NEWER[0]) == _TI:
        return f"INA{(_word(bus, address, _NEWER[1]) or 0) >> 4:03X}"
    if all((_word(bus, address, r) or 0) >> 8 == byte for r, byte in _PCA9685.items()):
        return "PCA9685"
    return ""
