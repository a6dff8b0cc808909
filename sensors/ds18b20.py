"""Driver: the temperature of the air by a DS18B20, through the kernel's files for the 1-Wire bus."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sensors.capture import Decoded, line, lines, no_tap, number
from sensors.clock import Monotonic
from sensors.ds18b20_frames import Fault, Temperatures
from sensors.hardware import ONE_WIRE_BUSES, ONE_WIRE_DEVICES, Hardware
from sensors.reading import Measurement, SensorError
from sensors.settings import setting
from sensors.traits import Connection, Traits
from sensors.trouble import BUS, SENSOR, declare, marked

NO_BUS = declare(
    "ds18b20.no_bus",
    marked("there is no 1-Wire bus for {device}"),
    marked(
        "sudo raspi-config nonint do_onewire 0, then reboot the Pi: ls /sys/bus/w1/devices must show "
        "w1_bus_master1"
    ),
    concerns=BUS,
)
DENIED = declare(
    "ds18b20.denied",
    marked("the kernel's file of {device} may not be read by this user"),
    marked("install tentwatch.service again; by hand use sudo"),
    concerns=BUS,
)
MISSING = declare(
    "ds18b20.missing",
    marked("{device} is not on the 1-Wire bus"),
    marked(
        "check its data wire (GPIO 4), 3.3 V, ground and the resistor of 4.7 kΩ; "
        "ls /sys/bus/w1/devices shows what answers. After an exchange: sudo tentwatch setup"
    ),
    concerns=SENSOR,
)
SILENT = declare(
    "ds18b20.silent",
    marked("{device} does not answer"),
    marked("check its data wire, 3.3 V and ground, at the Pi and at every joint of its cable"),
    concerns=SENSOR,
)
DAMAGED = declare(
    "ds18b20.damaged",
    marked("the data of {device} arrive damaged"),
    marked(
        "lay its cable away from power cables; of a cable longer than 10 m replace the resistor of 4.7 kΩ "
        "by one of 2.2 kΩ; several sensors go along one cable, not on arms of a star"
    ),
    concerns=SENSOR,
)
IMPOSSIBLE = declare(
    "ds18b20.impossible",
    marked("{device} sends what no DS18B20 can measure"),
    marked("its data wire touches ground or 3.3 V, or the sensor is broken: replace it"),
    concerns=SENSOR,
)
POWER_ON = declare(
    "ds18b20.power_on",
    marked("{device} loses its supply while it measures (85 °C)"),
    marked("connect its supply wire to 3.3 V, not to ground, and tighten both"),
    concerns=SENSOR,
)
_KINDS = {
    Fault.SILENT: SILENT,
    Fault.DAMAGED: DAMAGED,
    Fault.IMPOSSIBLE: IMPOSSIBLE,
    Fault.POWER_ON: POWER_ON,
}

#: The family code of the chip, with which its name begins.
_FAMILY = "28"
_MOST_BYTES = 4096
#: What the kernel reports when the file goes away: before or while it is read.
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO)


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "ds18b20"`."""

    device: str = setting(
        doc=marked("name of the sensor on the 1-Wire bus, as in /sys/bus/w1/devices: 28-…"),
        pattern=r"28-[0-9a-f]{12}",
    )
    period_s: float = setting(60.0, doc=marked("time between two readings"), low=1.0, high=300.0)


class Ds18b20:
    """A DS18B20, read every `period_s`; gives temperature_c.

    A read lasts as long as the kernel waits for the conversion: 750 ms. Nothing can shorten it. The kernel
    makes each of its 230 bits by spinning for 70 µs: 17 ms of processor time a read, 1 s an hour at a
    reading a minute.
    """

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        self.period_s = config.period_s
        self.tap = no_tap
        self._device = config.device
        self._folder = hardware.root / ONE_WIRE_DEVICES
        self._file = str(self._folder / config.device / "w1_slave")
        self._clock = clock
        self._temperatures = Temperatures()

    def open(self) -> None:
        """Look for the sensor; its file is opened for each read. Raises SensorError."""
        if not Path(self._file).exists():
            raise self._missing()
        self._temperatures = Temperatures()
        if self.tap is not no_tap:
            self.tap(line({"driver": "ds18b20", "device": self._device}))

    def read(self) -> Sequence[Measurement]:
        """Let the sensor measure, and return its temperature. Raises SensorError."""
        try:
            file = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                text = os.read(file, _MOST_BYTES)  # one call is one conversion
            finally:
                os.close(file)
        except OSError as error:
            if error.errno in _GONE:
                raise self._missing() from error
            denied = error.errno in (errno.EACCES, errno.EPERM)
            raise SensorError(DENIED if denied else SILENT, device=self._device) from error
        if self.tap is not no_tap:
            at_s = round(self._clock.now_s(), 3)
            self.tap(line({"at_s": at_s, "w1_slave": text.decode("ascii", "replace")}))
        found = self._temperatures.take(text)
        if isinstance(found, Fault):
            raise SensorError(_KINDS[found], device=self._device)
        return (Measurement("temperature_c", found),)

    def interrupt(self) -> None:
        """Do nothing: a read ends with its conversion."""

    def close(self) -> None:
        """Do nothing: between two reads nothing is open."""

    def _missing(self) -> SensorError:
        has_bus = any(self._folder.glob(ONE_WIRE_BUSES))
        return SensorError(MISSING if has_bus else NO_BUS, device=self._device)


TRAITS = Traits(
    driver=Ds18b20,
    serves=dict.fromkeys(("inside", "outside"), marked("a DS18B20")),
    connection=Connection.ONE_WIRE,
    silent=SILENT,
    changes_slowly=True,
    one_wire_family=_FAMILY,
)


def decode(capture: bytes) -> Decoded:
    """Return the temperatures in a capture; other lines and failed reads count as bad."""
    frames, bad, temperatures = [], 0, Temperatures()
    for said in lines(capture):
        if said is not None and said.get("driver") == "ds18b20":
            temperatures = Temperatures()
            continue
        try:
            if said is None:
                raise ValueError("no JSON object")
            found = temperatures.take(said["w1_slave"].encode())
            if isinstance(found, Fault):
                raise ValueError(found.value)
            frames.append({"at_s": number(said, "at_s"), "temperature_c": found})
        except (AttributeError, TypeError, KeyError, ValueError):
            bad += 1
    return Decoded(frames, bad)
