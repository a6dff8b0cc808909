"""Simulated devices of a whole tent, and the sections of a configuration that fit them."""

from pathlib import Path
from typing import Any

from sensors.clock import Monotonic
from sensors.hardware import NO_BUS, Hardware, I2CBus
from sensors.reading import SensorError
from sensors.simulated.ina219 import Bus, Chip
from sensors.simulated.pins import Pins
from sensors.simulated.vedirect import Monitor

I2C_BUS, I2C_ADDRESS, SHUNT_OHMS = 1, 0x40, 0.0015
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


class SimulatedHardware(Hardware):
    """Simulated buses and pins in place of the Pi's; the monitor is a real pseudo-terminal."""

    is_simulated = True

    def __init__(self, directory: Path, clock: Monotonic) -> None:
        """Start with mains absent, the door free and no current; the tty is in `directory`."""
        self.chip = Chip(clock.now_s)
        self.bus = Bus()
        self.bus.chips[I2C_ADDRESS] = self.chip
        self.pins = Pins(clock.now_s)
        self.pins.set_cable(MAINS_GPIO, True)
        self.pins.set_cable(OUTER_GPIO, False)
        self.pins.set_cable(INNER_GPIO, False)
        self.port = directory / "ttyVEDirect"
        self.monitor = Monitor(self.port)

    def sections(self, period_s: float, silence_s: float) -> str:
        """Return the configuration's sections for these devices."""
        return _SECTIONS.format(port=self.port, period_s=period_s, silence_s=silence_s)

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
        self.monitor.close()
        self.pins.close()
