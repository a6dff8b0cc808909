"""Driver: temperature and humidity of the air by a Sensirion SHT40, SHT41 or SHT45 on an I2C bus."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sensors import sht4x_frames
from sensors.capture import Decoded, line, lines, no_tap, number
from sensors.clock import Monotonic
from sensors.hardware import Hardware, I2CBus
from sensors.reading import Measurement, Quality, SensorError
from sensors.settings import setting
from sensors.traits import Address, Chip, Connection, Traits
from sensors.trouble import SENSOR, Kind, Trouble, declare, marked

SILENT = declare(
    "sht4x.silent",
    marked("no SHT4x answers at {address} on I2C bus {bus}"),
    marked(
        "check VCC (3.3 V), ground, SDA and SCL at the board and at the Pi; sudo i2cdetect -y {bus} "
        "shows what answers"
    ),
    concerns=SENSOR,
)
DAMAGED = declare(
    "sht4x.damaged",
    marked("the answers from {address} on I2C bus {bus} are damaged, or not those of an SHT4x"),
    marked(
        "tighten SDA and SCL, shorten the cable, lay it away from power cables; sudo tentwatch setup "
        "shows which chip has this address"
    ),
    concerns=SENSOR,
)
IMPOSSIBLE = declare(
    "sht4x.impossible",
    marked("the SHT4x at {address} on I2C bus {bus} sends what it cannot have measured"),
    marked("dry it; if that does not help, replace it"),
    concerns=SENSOR,
)

#: The command that reads the serial number (datasheet, table 8), and the library's wait for an answer.
_SERIAL_NUMBER, _WAIT_S = 0x89, 0.01


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "sht4x"`."""

    bus: int = setting(1, doc=marked("number of the I2C bus, as in /dev/i2c-1"), low=0, high=255)
    address: int = setting(0x44, doc=marked("I2C address of the chip"), low=0x44, high=0x46)
    period_s: float = setting(10.0, doc=marked("time between two readings"), low=1.0, high=300.0)


class Sht4x:
    """An SHT4x, read every `period_s`; reports temperature_c and humidity_pct.

    The library waits 10 ms between the command and the answer. Another thread may use other chips on the
    bus meanwhile: the chip holds its answer until it is asked for. The library's object has a buffer of
    its own, and each driver its own access to the bus, so that no lock is needed.
    """

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        self.period_s = config.period_s
        self.tap = no_tap
        self._config = config
        self._hardware = hardware
        self._clock = clock
        self._bus: I2CBus | None = None
        self._chip: Any = None
        self._serial_number = b""

    def open(self) -> None:
        """Find the chip, reset it, and read its serial number. Raises SensorError."""
        from adafruit_sht4x import SHT4x

        class Answering(SHT4x):  # type: ignore[misc]  # the library carries no types
            @property
            def answer(self) -> bytes:
                """The last answer, with its checksums, right or wrong."""
                return bytes(self._buffer)

        self._bus = self._hardware.i2c(self._config.bus)
        try:
            self._chip = Answering(self._bus, self._config.address)
            with suppress(RuntimeError):  # a wrong checksum, which is found below
                _ = self._chip.serial_number
            self._serial_number = self._chip.answer
            if not _is_serial_number(self._serial_number):
                raise self._error(DAMAGED)
        except (OSError, ValueError) as error:
            self.close()
            raise self._error(SILENT) from error
        except SensorError:
            self.close()
            raise

    def read(self) -> Sequence[Measurement]:
        """Measure, and return temperature and humidity. Raises SensorError."""
        try:
            with suppress(RuntimeError):  # a wrong checksum, which is found below
                _ = self._chip.measurements
        except OSError as error:
            raise self._error(SILENT) from error
        answer = self._chip.answer
        if self.tap is not no_tap:
            self.tap(line({"at_s": round(self._clock.now_s(), 3), "answer": answer.hex()}))
        words = sht4x_frames.words(answer)
        # Another program may ask for the serial number during the wait, as setup's search does.
        if words is None or answer == self._serial_number:
            raise self._error(DAMAGED)
        impossible = Trouble(IMPOSSIBLE, **self._place())
        return [
            Measurement(quantity, None, Quality.FAULT, impossible)
            if value is None
            else Measurement(quantity, value)
            for quantity, value in sht4x_frames.air(*words)._asdict().items()
        ]

    def interrupt(self) -> None:
        """Do nothing: a read takes 10 ms."""

    def close(self) -> None:
        """Close the bus."""
        bus, self._bus, self._chip = self._bus, None, None
        if bus is not None:
            bus.deinit()

    def _error(self, kind: Kind) -> SensorError:
        return SensorError(kind, **self._place())

    def _place(self) -> dict[str, int | str]:
        """Return the chip's place, as the troubles tell it."""
        return {"bus": self._config.bus, "address": f"0x{self._config.address:02X}"}


def _is_it(at: Address) -> bool:
    answer = at.command(_SERIAL_NUMBER, sht4x_frames.LENGTH, _WAIT_S)
    return answer is not None and _is_serial_number(answer)


def _is_serial_number(answer: bytes) -> bool:
    # One byte repeated, 0x2B, has the right checksums: a register of another chip could be so.
    return sht4x_frames.words(answer) is not None and len(set(answer)) > 1


TRAITS = Traits(
    driver=Sht4x,
    serves=dict.fromkeys(("inside", "outside"), marked("an SHT4x")),
    connection=Connection.I2C,
    silent=SILENT,
    changes_slowly=True,
    chip=Chip("SHT4x", range(0x44, 0x47), _is_it),
)


def decode(capture: bytes) -> Decoded:
    """Return the temperatures and humidities in a capture; damaged answers and invalid lines are bad."""
    frames, bad = [], 0
    for record in lines(capture):
        try:
            if record is None:
                raise ValueError("no JSON object")
            at_s = number(record, "at_s")
            words = sht4x_frames.words(bytes.fromhex(record["answer"]))
            if words is None:
                raise ValueError("damaged")
        except (ValueError, TypeError, KeyError):
            bad += 1
            continue
        frames.append({"at_s": at_s, **sht4x_frames.air(*words)._asdict()})
    return Decoded(frames, bad)
