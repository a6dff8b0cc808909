"""Driver: DC current and voltage by an INA219 on a shunt of any size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sensors import shunt
from sensors.capture import no_tap
from sensors.clock import Monotonic
from sensors.hardware import Hardware, I2CBus
from sensors.reading import Measurement, Quality, SensorError
from sensors.settings import setting

BUS_LSB_V = 0.004  # bus register, bits 15-3 (datasheet SBOS448G, 8.6.3.2)


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "ina219"`."""

    shunt_ohms: float = setting(doc="resistance of the shunt", low=1e-5, high=1.0)
    max_current_a: float = setting(doc="largest current to be measured", low=0.1, high=1000.0)
    bus: int = setting(1, doc="number of the I2C bus, as in /dev/i2c-1", low=0, high=255)
    address: int = setting(0x40, doc="I2C address of the chip", low=0x40, high=0x4F)
    period_s: float = setting(1.0, doc="time between two readings", low=0.1, high=60.0)
    zero_a: float = setting(0.0, doc="what it reads when no current flows", low=-10.0, high=10.0)
    dead_band_a: float = setting(0.1, doc="smaller currents count as none", low=0.0, high=10.0)

    def faults(self) -> list[tuple[str, str]]:
        """Return (key, what to do) of each fault that no single key shows."""
        try:
            shunt.gain_for(self.max_current_a, self.shunt_ohms)
        except ValueError as error:
            return [("max_current_a", str(error))]
        return []


class Ina219:
    """An INA219, read every `period_s`; gives current_a, voltage_v and power_w."""

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        self.period_s = config.period_s
        self.tap = no_tap
        self._config = config
        self._hardware = hardware
        self._gain = shunt.gain_for(config.max_current_a, config.shunt_ohms)
        self._bus: I2CBus | None = None
        self._chip: Any = None

    def open(self) -> None:
        """Find the chip and set it up. Raises SensorError."""
        from adafruit_ina219 import INA219
        from adafruit_register.i2c_struct import UnaryStruct

        class Chip(INA219):  # type: ignore[misc]  # the library carries no types
            configuration = UnaryStruct(0x00, ">H")  # the whole word at once, to read it back

        self._bus = self._hardware.i2c(self._config.bus)
        try:
            self._chip = Chip(self._bus, self._config.address)
            self._set_up()
        except (OSError, ValueError) as error:
            self.close()
            raise self._silent(error) from error

    def _set_up(self) -> None:
        self._chip.configuration = shunt.configuration(self._gain)

    def read(self) -> Sequence[Measurement]:
        """Return current, voltage and power, or nothing while the first conversion runs."""
        config, chip = self._config, self._chip
        try:
            ready = chip.conversion_ready
            raw_shunt, raw_bus = chip.raw_shunt_voltage, chip.raw_bus_voltage
            # Read back last: a chip that restarted in between has spoilt the values above.
            configuration = chip.configuration
            if configuration != shunt.configuration(self._gain):
                self._set_up()
        except OSError as error:
            raise self._silent(error) from error
        if configuration != shunt.configuration(self._gain):
            raise SensorError(
                f"{self._where()} had lost its settings (0x{configuration:04X}) and was set up "
                f"anew: check its supply"
            )
        if not ready:
            return ()
        voltage_v = round(raw_bus * BUS_LSB_V, 3)
        if shunt.is_clipped(raw_shunt, self._gain):
            detail = (
                f"{self._where()} is at the end of its range: the current is more than "
                f"{shunt.FULL_SCALE_V[self._gain] / config.shunt_ohms:.1f} A; raise max_current_a"
            )
            return (
                Measurement("current_a", None, Quality.FAULT, detail),
                Measurement("voltage_v", voltage_v),
                Measurement("power_w", None, Quality.FAULT, detail),
            )
        current_a = shunt.current_a(raw_shunt, config.shunt_ohms) - config.zero_a
        if abs(current_a) < config.dead_band_a:
            current_a = 0.0
        return (
            Measurement("current_a", round(current_a, 3)),
            Measurement("voltage_v", voltage_v),
            Measurement("power_w", round(current_a * voltage_v, 1)),
        )

    def interrupt(self) -> None:
        """Do nothing: a read never waits."""

    def close(self) -> None:
        """Close the bus."""
        bus, self._bus, self._chip = self._bus, None, None
        if bus is not None:
            bus.deinit()

    def _silent(self, error: Exception) -> SensorError:
        return SensorError(f"{self._where()} does not answer ({error}): check its wiring")

    def _where(self) -> str:
        return f"INA219 at 0x{self._config.address:02X} on I2C bus {self._config.bus}"
