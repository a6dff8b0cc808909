"""Simulated devices of a whole tent, and the sections of a configuration that fit them."""

from pathlib import Path
from typing import Any

from sensors.clock import Monotonic
from sensors.hardware import NO_BUS, Hardware, I2CBus
from sensors.reading import SensorError
from sensors.simulated.ds18b20 import Probe
from sensors.simulated.ina219 import Bus, Chip
from sensors.simulated.pins import Pins
from sensors.simulated.sht4x import Thermometer
from sensors.simulated.vedirect import Monitor
from sensors.simulated.ze07co import Module

I2C_BUS, I2C_ADDRESS, SHUNT_OHMS, SHT4X_ADDRESS = 1, 0x40, 0.0015, 0x44
ONE_WIRE_DEVICE, ONE_WIRE_STEP_C = "28-00000a3c51f2", 1 / 16
MAINS_GPIO, OUTER_GPIO, INNER_GPIO, LAMP_GPIO = 17, 23, 24, 18

_SECTIONS = f"""
[sensors.mains]
driver = "contact"
gpio = {MAINS_GPIO}

[sensors.generator]
driver = "ina219"
bus = {I2C_BUS}
address = {I2C_ADDRESS}
shunt_ohms = {SHUNT_OHMS}
max_current_a = 50
period_s = {{period_s}}

[sensors.battery]
driver = "vedirect"
port = "{{port}}"
silence_s = {{silence_s}}

[sensors.door]
driver = "beams"
outer_gpio = {OUTER_GPIO}
inner_gpio = {INNER_GPIO}
"""
_AIR_SECTIONS = f"""
[sensors.inside]
driver = "sht4x"
bus = {I2C_BUS}

[sensors.outside]
driver = "ds18b20"
device = "{ONE_WIRE_DEVICE}"

[sensors.co]
driver = "ze07co"
port = "{{port}}"
silence_s = {{silence_s}}
"""
#: Of the computer's files, a directory for simulated 1-Wire devices has links to these.
_REAL_FILES = ("dev", "proc", "sys/block", "sys/class", "sys/dev", "sys/devices")


class AirSensors:
    """What measures the air: an SHT4x inside, a DS18B20 outside, and a ZE07-CO."""

    def __init__(self, directory: Path, bus: Bus, clock: Monotonic) -> None:
        """Connect them; the module's tty and the 1-Wire bus's files are in `directory`."""
        self.root = directory / "root"
        for name in _REAL_FILES:
            link = self.root / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path("/", name))
        self.port = directory / "ttyCO"
        self.inside = bus.chips[SHT4X_ADDRESS] = Thermometer(clock)
        self.outside = Probe(self.root, ONE_WIRE_DEVICE)
        self.module = Module(self.port)
        self._shown_c: float | None = None

    def change(
        self, inside_c: float, outside_c: float, humidity_pct: float, co_ppm: float, for_s: float
    ) -> None:
        """Let the devices be in this air for some seconds; the module sends once."""
        self.inside.temperature_c, self.inside.humidity_pct = inside_c, humidity_pct
        if self._shown_c is None or abs(outside_c - self._shown_c) >= ONE_WIRE_STEP_C:
            self._shown_c = outside_c
            self.outside.set_temperature(outside_c)
        self.module.cell.breathe(co_ppm, for_s)
        self.module.report()


class SimulatedHardware(Hardware):
    """Simulated buses and pins in place of the Pi's; the monitor is a real pseudo-terminal."""

    is_simulated = True

    def __init__(self, directory: Path, clock: Monotonic, *, air: bool = False) -> None:
        """Start with mains absent, the door free and no current; the ttys are in `directory`.

        With `air` there are also thermometers inside and outside, and a sensor of carbon monoxide.
        """
        self.chip = Chip(clock.now_s)
        self.bus = Bus()
        self.bus.chips[I2C_ADDRESS] = self.chip
        self.pins = Pins(clock.now_s)
        self.pins.set_cable(MAINS_GPIO, True)
        self.pins.set_cable(OUTER_GPIO, False)
        self.pins.set_cable(INNER_GPIO, False)
        self.port = directory / "ttyVEDirect"
        self.monitor = Monitor(self.port)
        self.air = AirSensors(directory, self.bus, clock) if air else None
        if self.air is not None:
            self.root = self.air.root

    def sections(self, period_s: float, silence_s: float) -> str:
        """Return the configuration's sections for these devices."""
        sections = _SECTIONS.format(port=self.port, period_s=period_s, silence_s=silence_s)
        if self.air is not None:
            sections += _AIR_SECTIONS.format(port=self.air.port, silence_s=silence_s)
        return sections

    def i2c(self, bus: int) -> I2CBus:
        """Return the simulated bus. Raises SensorError for another number."""
        if bus != I2C_BUS:
            raise SensorError(NO_BUS, bus=bus)
        return self.bus.open()

    def pin_factory(self) -> Any:
        """Return the simulated pins."""
        return self.pins

    def is_watched(self) -> bool:
        """Say whether drivers wait for the contact's and both beams' edges."""
        return all(map(self.pins.is_watched, (MAINS_GPIO, OUTER_GPIO, INNER_GPIO)))

    def set_mains(self, present: bool, at_s: float | None = None) -> None:
        """Close (mains present) or open the relay's contact to ground."""
        self.pins.set_cable(MAINS_GPIO, not present, at_s)

    def set_beam(self, *, inner: bool, blocked: bool, at_s: float | None = None) -> None:
        """Break or free a beam; its receiver pulls the line low while it sees light."""
        self.pins.set_cable(INNER_GPIO if inner else OUTER_GPIO, blocked, at_s)

    def set_generator(self, current_a: float, voltage_v: float) -> None:
        """Let the generator's charger deliver `current_a` through the shunt."""
        self.chip.measure(current_a * SHUNT_OHMS, voltage_v)

    def close(self) -> None:
        """Remove the devices."""
        if self.air is not None:
            self.air.module.close()
        self.monitor.close()
        self.pins.close()
