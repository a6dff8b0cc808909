"""Driver: DC current and voltage by an INA219 on a shunt of any size."""

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sensors.capture import Decoded, line, lines, no_tap, number
from sensors.clock import Monotonic
from sensors.hardware import Hardware, I2CBus
from sensors.reading import Measurement, Quality, SensorError
from sensors.settings import setting
from sensors.shunt import (
    CONVERSION_READY,
    FULL_SCALE_V,
    SHUNT_LSB_V,
    Flow,
    Shunt,
    configuration,
    gain_for,
)
from sensors.traits import Address, Chip, Connection, ShuntChip, Traits
from sensors.trouble import CONFIG, SENSOR, Kind, Trouble, declare, marked

TOO_MUCH = declare(
    "ina219.too_much",
    marked(
        "{max_current_a:g} A drop {drop_mv:.0f} mV on {shunt_ohms:g} ohm, more than the chip's 320 mV"
    ),
    marked("use a smaller shunt"),
    concerns=CONFIG,
)
SILENT = declare(
    "ina219.silent",
    marked("no INA219 answers at {address} on I2C bus {bus}"),
    marked(
        "check VCC (3.3 V), ground, SDA and SCL at the board and at the Pi; sudo i2cdetect -y {bus} "
        "shows what answers"
    ),
    concerns=SENSOR,
)
RESTARTED = declare(
    "ina219.restarted",
    marked("the INA219 at {address} has lost its settings ({found})"),
    marked("its supply fails for moments: tighten VCC and ground, then SDA and SCL"),
    concerns=SENSOR,
)
CLIPPED = declare(
    "ina219.clipped",
    marked("the current is more than the {amperes} A that can be measured"),
    marked(
        "raise max_current_a as far as the shunt allows, or fit a larger shunt and set shunt_ohms"
    ),
    concerns=SENSOR,
)

#: Values of the configuration register: after power-on; after the library's setup; after this driver's.
_CONFIGURATIONS = {0x399F, 0x3EEF, *(configuration(gain) for gain in range(len(FULL_SCALE_V)))}

#: A lock, because the register library has one buffer for all chips, and each sensor has its own thread.
_registers = threading.Lock()


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "ina219"`."""

    shunt_ohms: float = setting(doc=marked("resistance of the shunt"), low=1e-5, high=1.0)
    max_current_a: float = setting(
        doc=marked("largest current to be measured"), low=0.1, high=1000.0
    )
    bus: int = setting(1, doc=marked("number of the I2C bus, as in /dev/i2c-1"), low=0, high=255)
    address: int = setting(0x40, doc=marked("I2C address of the chip"), low=0x40, high=0x4F)
    period_s: float = setting(1.0, doc=marked("time between two readings"), low=0.1, high=60.0)
    zero_a: float = setting(
        0.0, doc=marked("what it reads when no current flows"), low=-10.0, high=10.0
    )
    dead_band_a: float = setting(
        0.1, doc=marked("smaller currents count as none"), low=0.0, high=10.0
    )
    reversed: bool = setting(
        False, doc=marked("the shunt was wired the other way round: turn the sign of its current")
    )

    def faults(self) -> list[tuple[str, Trouble]]:
        """Return each fault between several keys."""
        try:
            gain_for(self.max_current_a, self.shunt_ohms)
        except ValueError:
            return [
                (
                    "max_current_a",
                    Trouble(
                        TOO_MUCH,
                        max_current_a=self.max_current_a,
                        drop_mv=1000 * self.max_current_a * self.shunt_ohms,
                        shunt_ohms=self.shunt_ohms,
                    ),
                )
            ]
        return []


class Ina219:
    """An INA219, read every `period_s`; reports current_a, voltage_v, power_w and uncorrected_a.

    uncorrected_a is the current before zero and dead band, from which a zero can be found.
    """

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        self.period_s = config.period_s
        self.tap = no_tap
        self._config = config
        self._hardware = hardware
        self._clock = clock
        self._shunt = Shunt(
            config.shunt_ohms,
            gain_for(config.max_current_a, config.shunt_ohms),
            config.zero_a,
            config.dead_band_a,
            config.reversed,
        )
        self._configuration = configuration(self._shunt.gain)
        self._bus: I2CBus | None = None
        self._chip: Any = None

    def set_zero(self, zero_a: float) -> None:
        """Set the reading without a current to `zero_a`; any thread may call it."""
        self._shunt = replace(self._shunt, zero_a=zero_a)

    def open(self) -> None:
        """Find the chip and set it up. Raises SensorError."""
        from adafruit_ina219 import INA219
        from adafruit_register.i2c_struct import ROUnaryStruct, UnaryStruct

        class Registers(INA219):  # type: ignore[misc]  # the library carries no types
            configuration = UnaryStruct(0x00, ">H")  # the whole word at once, to read it back
            bus_register = ROUnaryStruct(0x02, ">H")  # voltage and conversion-ready flag together

        self._bus = self._hardware.i2c(self._config.bus)
        try:
            with _registers:
                self._chip = Registers(self._bus, self._config.address)
                self._chip.configuration = self._configuration
        except (OSError, ValueError) as error:
            self.close()
            raise self._error(SILENT) from error
        if self.tap is not no_tap:
            self.tap(line({"driver": "ina219", **asdict(self._shunt)}))

    def read(self) -> Sequence[Measurement]:
        """Return current, voltage and power, or nothing while the first conversion runs."""
        chip = self._chip
        try:
            with _registers:
                raw_bus, raw_shunt = chip.bus_register, chip.raw_shunt_voltage
                # Read back last: if the chip restarted in between, the values above are wrong.
                found = chip.configuration
                if found != self._configuration:
                    chip.configuration = self._configuration
        except OSError as error:
            raise self._error(SILENT) from error
        if self.tap is not no_tap:
            at_s = round(self._clock.now_s(), 3)
            record = {"at_s": at_s, "configuration": found, "shunt": raw_shunt, "bus": raw_bus}
            self.tap(line(record))
        if found != self._configuration:
            raise self._error(RESTARTED, found=f"0x{found:04X}")
        if not raw_bus & CONVERSION_READY:
            return ()
        flow = self._shunt.flow(raw_shunt, raw_bus)
        if flow.current_a is None:
            trouble = Trouble(CLIPPED, amperes=round(self._shunt.largest_a, 1))
            return [
                Measurement(quantity, None, Quality.FAULT, trouble)
                if value is None
                else Measurement(quantity, value)
                for quantity, value in flow._asdict().items()
            ]
        return [Measurement(quantity, value) for quantity, value in flow._asdict().items()]

    def interrupt(self) -> None:
        """Do nothing: a read never waits."""

    def close(self) -> None:
        """Close the bus."""
        bus, self._bus, self._chip = self._bus, None, None
        if bus is not None:
            bus.deinit()

    def _error(self, kind: Kind, **values: str) -> SensorError:
        config = self._config
        return SensorError(kind, bus=config.bus, address=f"0x{config.address:02X}", **values)


def _is_it(at: Address) -> bool:
    found = at.register(0x00)
    if found not in _CONFIGURATIONS:
        return False
    calibration = at.register(0x05)  # its lowest bit is always 0; and measurements would differ
    return at.register(0x00) == found and calibration is not None and not calibration & 1


TRAITS = Traits(
    driver=Ina219,
    serves=dict.fromkeys(("generator", "battery"), marked("an INA219")),
    connection=Connection.I2C,
    shunt_chip=ShuntChip(
        step_v=SHUNT_LSB_V,
        largest_zero_v=0.0005,  # its offset is 125 µV at worst
        reversed_cure=marked(
            "exchange the wires VIN+ and VIN− at the shunt, or set reversed = true in [sensors.{name}]"
        ),
        unconnected_cure=marked(
            "check the wires VIN+ and VIN− and their fuses, and that battery minus is connected to the "
            "Pi's ground"
        ),
    ),
    most_v=26.0,
    silent=SILENT,
    chip=Chip("INA219", range(0x40, 0x50), _is_it),
)


def decode(capture: bytes) -> Decoded:
    """Return the figures of the registers in a capture; invalid lines and restarts count as bad."""
    shunt: Shunt | None = None
    frames: list[dict[str, float | None]] = []
    bad = 0
    for record in lines(capture):
        try:
            if record is None:
                raise ValueError("no JSON object")
            if record.get("driver") == "ina219":
                shunt = _shunt(record)
                continue
            if shunt is None:
                raise ValueError("no settings yet")
            registers = [_word(record[name]) for name in ("configuration", "bus")]
            raw_shunt = _word(record["shunt"], low=-0x8000, high=0x7FFF)
            at_s = number(record, "at_s")
        except (ValueError, TypeError, KeyError):
            bad += 1
            continue
        if registers[0] != configuration(shunt.gain):
            bad += 1
        elif registers[1] & CONVERSION_READY:
            flow: Flow = shunt.flow(raw_shunt, registers[1])
            frames.append({"at_s": at_s, **flow._asdict()})
    return Decoded(frames, bad)


def _shunt(record: dict[str, Any]) -> Shunt:
    numbers = [number(record, name) for name in ("shunt_ohms", "zero_a", "dead_band_a")]
    if not (1e-5 <= numbers[0] <= 1 and abs(numbers[1]) <= 10 and 0 <= numbers[2] <= 10):
        raise ValueError("no such shunt")
    gain = _word(record["gain"], high=3)
    return Shunt(numbers[0], gain, numbers[1], numbers[2], record["reversed"] is True)


def _word(value: object, low: int = 0, high: int = 0xFFFF) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError("no register")
    return value
