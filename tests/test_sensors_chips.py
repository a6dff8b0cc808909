"""Chips on an I2C bus: INA219 and SHT4x are found, and no other chip is mistaken for one."""

import errno
import itertools
from pathlib import Path

import pytest

from sensors.clock import Monotonic
from sensors.finding import chips
from sensors.finding.chips import Found
from sensors.ina219 import Config, Ina219
from sensors.reading import SensorError
from sensors.registry import DRIVERS, traits
from sensors.simulated.hardware import I2C_ADDRESS, SimulatedHardware
from sensors.simulated.ina219 import Bus, Chip, Device
from sensors.simulated.sht4x import Thermometer


class Registers:
    """A chip with registers of two bytes; all others read as `other`. It records writes."""

    def __init__(self, registers: dict[int, int], other: int = 0) -> None:
        self.registers = registers
        self.written: list[bytes] = []
        self._other = other
        self._pointer = 0

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self._pointer = data[0]

    def read(self, length: int) -> bytes:
        word = self.registers.get(self._pointer, self._other).to_bytes(2, "big")
        return (word * length)[:length]


class Drifting(Registers):
    """A thermometer that once happens to read the value of an INA219's configuration."""

    def read(self, length: int) -> bytes:
        word = super().read(length)
        self.registers[0] += 1
        return word


KINDS = {
    "INA226": {0x00: 0x4127, 0xFE: 0x5449, 0xFF: 0x2260},
    "INA260": {0x00: 0x6127, 0xFE: 0x5449, 0xFF: 0x2270},
    "INA3221": {0x00: 0x7127, 0xFE: 0x5449, 0xFF: 0x3220},
    "INA228": {0x00: 0x0000, 0x3E: 0x5449, 0x3F: 0x2281},
    "INA238": {0x00: 0x0000, 0x3E: 0x5449, 0x3F: 0x2381},
    "PCA9685": {0x00: 0x1111, 0x02: 0xE2E2, 0x05: 0xE0E0},
    "": {0x00: 0x0190},  # a thermometer
}


def test_other_chips_are_named_and_nothing_is_written_to_them() -> None:
    bus, devices = Bus(), {}
    for address, (_, registers) in enumerate(KINDS.items(), 0x40):
        devices[address] = bus.chips[address] = Registers(registers)
    found = chips.search(1, bus.open())
    assert found == [Found(1, a, name) for a, name in enumerate(KINDS, 0x40)]
    for address, name in enumerate(KINDS, 0x40):
        assert all(len(said) == 1 for said in devices[address].written), name
    # A register's number can be a command to another chip (0xFE resets some), so it must not be sent there.
    sent = {said[0] for said in devices[0x46].written}
    assert not sent & {0xFE, 0xFF}


def test_an_ina219_is_found_fresh_and_in_use(tmp_path: Path) -> None:
    clock = Monotonic()
    hardware = SimulatedHardware(tmp_path, clock)
    fresh, other = Chip(clock.now_s), Chip(clock.now_s)
    other.write(bytes((0, 0x19, 0x9F)))  # set up by another program
    hardware.bus.chips |= {0x45: fresh, 0x4F: other}
    driver = Ina219(Config(0.0015, 50), hardware, clock)
    driver.open()
    hardware.set_generator(12.0, 13.8)
    found = chips.search(1, hardware.i2c(1))
    assert found == [
        Found(1, I2C_ADDRESS, "INA219", "ina219"),
        Found(1, 0x45, "INA219", "ina219"),
        Found(1, 0x4F, ""),
    ]
    values: dict[str, object] = {}
    while not values:
        values = {m.quantity: m.value for m in driver.read()}
    assert values["current_a"] == 12.0, "the service has noticed nothing"
    driver.close()
    hardware.close()


def test_what_is_an_ina219_by_chance_is_none() -> None:
    bus = Bus()
    bus.chips[0x48] = Drifting({0: 0x399F})
    bus.chips[0x49] = Registers({0: 0x399F}, other=0xFFFF)
    assert [chip.name for chip in chips.search(1, bus.open())] == ["", ""]


class Listed(Chip):
    """An INA219 that lists what is written to it."""

    def __init__(self, clock: Monotonic) -> None:
        self.written: list[bytes] = []
        super().__init__(clock.now_s)

    def write(self, data: bytes) -> None:
        self.written.append(data)
        super().write(data)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("kinds", [*itertools.product(("INA219", "SHT4x", None), repeat=3)])
def test_an_sht4x_and_an_ina219_are_told_apart_at_the_same_addresses(
    kinds: tuple[str | None, ...], order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever driver asks first."""
    monkeypatch.setattr(chips, "DRIVERS", dict(list(DRIVERS.items())[::order]))
    clock, bus = Monotonic(), Bus()
    expected, shunts = [], []
    for address, kind in enumerate(kinds, 0x44):
        if kind == "SHT4x":
            bus.chips[address] = Thermometer(clock)
        elif kind == "INA219":
            bus.chips[address] = shunt = Listed(clock)
            shunts.append(shunt)
        if kind is not None:
            expected.append(Found(1, address, kind, kind.lower()))
    assert chips.search(1, bus.open()) == expected
    for shunt in shunts:
        assert all(len(written) <= 1 for written in shunt.written), "only numbers of registers"


@pytest.mark.parametrize("address", [0x44, 0x45, 0x46])
@pytest.mark.parametrize(("name", "registers"), KINDS.items())
def test_no_other_chip_is_taken_for_an_sht4x(
    name: str, registers: dict[int, int], address: int
) -> None:
    bus = Bus()
    for other in (0x0000, 0x2B2B, 0xFFFF):
        bus.chips[address] = chip = Registers(registers, other)
        assert [found.driver for found in chips.search(1, bus.open())] == [""], name
        assert all(len(written) == 1 for written in chip.written)


def test_an_sht4x_that_measures_for_the_service_is_found() -> None:
    clock, bus = Monotonic(), Bus()
    bus.chips[0x44] = thermometer = Thermometer(clock)
    thermometer.write(b"\xfd")
    assert chips.search(1, bus.open()) == [Found(1, 0x44, "SHT4x", "sht4x")]


def test_a_bus_that_is_held_low_is_no_bus_full_of_chips() -> None:
    bus = Bus()
    bus.chips |= {address: Registers({}) for address in chips.addresses()}
    bus.stuck = False
    with pytest.raises(SensorError, match="I2C bus 3 is disturbed"):
        chips.search(3, bus.open())


class Hanging(Bus):
    """A bus on which every transfer lasts until the kernel gives up, after a second."""

    transfers = 0

    def _chip(self, address: int) -> Device:
        self.transfers += 1
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")


def test_a_bus_that_hangs_is_tried_once_at_each_address() -> None:
    bus = Hanging()
    assert chips.search(1, bus.open()) == []
    assert bus.transfers == len(chips.addresses())
    for driver in ("ina219", "sht4x"):
        chip = traits(driver).chip
        assert chip is not None
        before = bus.transfers
        assert not chips.is_at(chip, bus, 0x44)
        assert bus.transfers == before + 1


def test_an_empty_bus_is_empty() -> None:
    assert chips.search(1, Bus().open()) == []


def test_buses_are_the_kernels(tmp_path: Path) -> None:
    assert chips.buses(tmp_path) == []
    (tmp_path / "dev").mkdir()
    for name in ("i2c-20", "i2c-1", "i2c-x", "spidev0.0"):
        (tmp_path / "dev" / name).touch()
    assert chips.buses(tmp_path) == [1, 20]
