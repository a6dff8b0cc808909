"""Finds the chips on an I2C bus, at the addresses where a sensor's chip can be.

The registers below are those of the datasheets: TI SBOS547 (INA226), SBOS656 (INA260), SBOS576
(INA3221), SLYS021 (INA228 and its family); NXP PCA9685, rev. 4, table 4.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
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

    It writes into no register. A running service may use a chip at the same time: its own readings are
    single transfers, which the kernel does not interrupt, or are checked by their driver. Raises
    SensorError if the bus is disturbed.
    """
    possible = addresses()
    with _locked(bus):
        named = []
        for address in possible:
            with contextlib.suppress(TimeoutError):  # it takes a second each time
                named.append((address, _identify(_Asked(bus, address))))
    found = [Found(number, address, *names) for address, names in named if names is not None]
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


def is_at(chip: Chip, bus: I2CBus, address: int) -> bool:
    """Say whether a driver's chip is at an address, as `search` does."""
    with _locked(bus), contextlib.suppress(TimeoutError):
        return chip.is_it(_Asked(bus, address))
    return False


@dataclass(frozen=True)
class _Asked:
    """An address on an open bus. One byte is sent, never more: registers keep what they hold.

    Register 0 is read first: its number is not a command to any known chip at these addresses. Other
    registers are read only from chips that seem to have them. Raises TimeoutError if the bus hangs.
    """

    bus: I2CBus
    address: int

    def register(self, number: int) -> int | None:
        word = bytearray(2)
        try:
            self.bus.writeto_then_readfrom(self.address, bytes((number,)), word)
        except TimeoutError:
            raise
        except OSError:
            return None
        return int.from_bytes(word, "big")

    def command(self, code: int, length: int, wait_s: float) -> bytes | None:
        answer = bytearray(length)
        for _ in range(2):  # a chip that measures for a running service acknowledges nothing
            try:
                self.bus.writeto(self.address, bytes((code,)))
                time.sleep(wait_s)
                self.bus.readfrom_into(self.address, answer)
            except TimeoutError:
                raise
            except OSError:
                time.sleep(wait_s)
            else:
                return bytes(answer)
        return None


def _identify(at: _Asked) -> tuple[str, str] | None:
    """Return a chip's name and its driver, each empty if unknown; None if no chip answers."""
    for driver, chip in _chips().items():
        if at.address in chip.addresses and chip.is_it(at):
            return chip.name, driver
    word = at.register(_CONFIGURATION)
    return None if word is None else (_name_of_another(at, word), "")


def _name_of_another(at: _Asked, configuration: int) -> str:
    if configuration & 0x4000 and at.register(_OLDER[0]) == _TI:
        return _OLDER_KINDS.get(at.register(_OLDER[1]) or 0, "")
    if not configuration & 0xF and at.register(_NEWER[0]) == _TI:
        return f"INA{(at.register(_NEWER[1]) or 0) >> 4:03X}"
    if all((at.register(r) or 0) >> 8 == byte for r, byte in _PCA9685.items()):
        return "PCA9685"
    return ""
