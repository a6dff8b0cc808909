"""Devices for the tests of the drivers: a battery monitor's bytes, and each driver's device and faults."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

import pytest

from sensors import registry
from sensors.clock import Monotonic
from sensors.reading import Driver, Reading, SensorError
from sensors.simulated.ds18b20 import Probe
from sensors.simulated.hardware import (
    I2C_ADDRESS,
    INNER_GPIO,
    MAINS_GPIO,
    OUTER_GPIO,
    SHUNT_OHMS,
    SimulatedHardware,
)
from sensors.simulated.jbd import Bms
from sensors.simulated.pzem004t import Line, Meter
from sensors.simulated.sht4x import Thermometer
from sensors.simulated.ze07co import Module, frame
from sensors.trouble import Kind

#: Longest wait in seconds; only a failed test reaches it.
PATIENCE_S = 60.0

# Bytes of a battery monitor

Fields = Mapping[str, str | int]


def block(fields: Fields) -> bytes:
    """Return a text block as a Victron monitor sends it: its bytes sum to a multiple of 256."""
    lines = [f"\r\n{label}\t{value}" for label, value in fields.items()]
    body = "".join([*lines, "\r\nChecksum\t"]).encode("ascii")
    return body + bytes([(256 - sum(body) % 256) % 256])


def block_ending_with(checksum: int) -> bytes:
    """Return a block of V and some filler whose checksum byte is `checksum`."""
    for length in range(512):
        # Each 'a' lowers the checksum by 97, which is coprime to 256, so every value can be reached.
        found = block({"V": 12_800, "FILL": "a" * length})
        if found[-1] == checksum:
            return found
    raise AssertionError("no filler gives this checksum")


def shunt_fields(dice: random.Random) -> Fields:
    """Return the fields of a SmartShunt's first block with consistent random figures."""
    volts, amperes = dice.randint(11_500, 14_600), dice.randint(-60_000, 40_000)
    return {
        "PID": "0xA389",
        "V": volts,
        "VS": dice.randint(0, 50),
        "I": amperes,
        "P": round(volts * amperes / 1e6),
        "CE": -dice.randint(0, 90_000),
        "SOC": dice.randint(150, 1000),
        "TTG": dice.randint(30, 9_000) if amperes < 0 else -1,
        "Alarm": "OFF",
        "AR": 0,
        "BMV": "SmartShunt 500A/50mV",
        "FW": "0419",
        "MON": 0,
    }


def figures(fields: Fields) -> dict[str, float | bool | None]:
    """Return the meaning of the fields of a SmartShunt's first block."""
    minutes = float(fields["TTG"])
    return {
        "voltage_v": round(float(fields["V"]) * 0.001, 3),
        "starter_voltage_v": round(float(fields["VS"]) * 0.001, 3),
        "current_a": round(float(fields["I"]) * 0.001, 3),
        "power_w": float(fields["P"]),
        "consumed_ah": round(float(fields["CE"]) * 0.001, 3),
        "charge_pct": round(float(fields["SOC"]) * 0.1, 3),
        "time_to_empty_min": None if minutes < 0 else minutes,
        "alarm": fields["Alarm"] == "ON",
        "alarm_reasons": float(fields["AR"]),
        "monitor_mode": float(fields["MON"]),
    }


def flipped(dice: random.Random, data: bytes) -> bytes:
    """Return `data` with a few of its bits flipped."""
    hurt = bytearray(data)
    for at in dice.sample(range(len(hurt)), dice.randint(1, 4)):
        hurt[at] ^= 1 << dice.randrange(8)
    return bytes(hurt)


# Each driver's device


class Device:
    """One driver's device on simulated hardware: working at first, failing on request."""

    driver: ClassVar[str]
    #: The quantities that the driver measures, with the type of each value.
    quantities: ClassVar[Mapping[str, type]]
    #: The ways in which the device can fail while a driver has it open.
    faults: ClassVar[Sequence[str]] = ("unplugged",)
    #: Faults that the driver reports as values of quality `fault`; for the others it raises.
    told_by_values: ClassVar[Sequence[str]] = ()
    #: The device's name in messages, for the person who must find it.
    name: str

    def __init__(self, hardware: SimulatedHardware, clock: Monotonic) -> None:
        self.hardware = hardware
        self.clock = clock
        self.fault = ""

    def settings(self) -> dict[str, Any]:
        raise NotImplementedError

    def build(self) -> Driver:
        config = registry.config_class(self.driver)(**self.settings())
        return registry.build(self.driver, config, self.hardware, self.clock)

    def speak(self) -> None:
        """Do what the device does once a second by itself."""

    def fail(self, fault: str) -> None:
        assert fault in self.faults
        self.fault = fault
        if fault == "unplugged":
            self.unplug()

    def mend(self) -> None:
        if self.fault == "unplugged":
            self.plug()
        self.fault = ""

    def unplug(self) -> None:
        raise NotImplementedError

    def plug(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Remove the device from the hardware."""


class _Lines(Device):
    """A device on GPIO lines. `unplugged` fails the whole GPIO chip, because a cut cable is no fault."""

    def unplug(self) -> None:
        self.hardware.pins.failure = OSError("the GPIO chip is gone")

    def plug(self) -> None:
        self.hardware.pins.failure = None


class ContactDevice(_Lines):
    driver = "contact"
    quantities: ClassVar[Mapping[str, type]] = {"present": bool}
    name = f"GPIO {MAINS_GPIO}"

    def settings(self) -> dict[str, Any]:
        return {"gpio": MAINS_GPIO}

    def speak(self) -> None:
        self.hardware.set_mains(self.hardware.pins.is_high(MAINS_GPIO))


class BeamsDevice(_Lines):
    driver = "beams"
    quantities: ClassVar[Mapping[str, type]] = {
        "obstructed": bool, "doubtful": bool, "entered": int, "left": int,
    }  # fmt: skip
    name = f"GPIO {OUTER_GPIO}"

    def settings(self) -> dict[str, Any]:
        return {"outer_gpio": OUTER_GPIO, "inner_gpio": INNER_GPIO}

    def speak(self) -> None:
        now_s = self.clock.now_s()
        walk(self.hardware, now_s, inward=True)
        walk(self.hardware, now_s + 0.5, inward=False)


class BeamDevice(_Lines):
    driver = "beam"
    quantities: ClassVar[Mapping[str, type]] = {"obstructed": bool, "passed": int}
    name = f"GPIO {OUTER_GPIO}"

    def settings(self) -> dict[str, Any]:
        return {"gpio": OUTER_GPIO}

    def speak(self) -> None:
        walk(self.hardware, self.clock.now_s(), inward=True)


class Ina219Device(Device):
    driver = "ina219"
    quantities: ClassVar[Mapping[str, type]] = {
        "current_a": float,
        "voltage_v": float,
        "power_w": float,
        "uncorrected_a": float,
    }
    faults = ("unplugged", "naks", "stuck low", "stuck high", "supply dips")
    name = f"0x{I2C_ADDRESS:02X}"

    def settings(self) -> dict[str, Any]:
        return {"shunt_ohms": SHUNT_OHMS, "max_current_a": 50, "address": I2C_ADDRESS}

    def fail(self, fault: str) -> None:
        super().fail(fault)
        bus, chip = self.hardware.bus, self.hardware.chip
        if fault == "naks":
            bus.naks = 1_000_000
        elif fault == "supply dips":
            chip.supply_dips = True
            chip.brown_out()
        elif fault.startswith("stuck"):
            bus.stuck = fault == "stuck high"

    def mend(self) -> None:
        super().mend()
        self.hardware.bus.naks = 0
        self.hardware.bus.stuck = None
        self.hardware.chip.supply_dips = False

    def unplug(self) -> None:
        del self.hardware.bus.chips[I2C_ADDRESS]

    def plug(self) -> None:
        self.hardware.bus.chips[I2C_ADDRESS] = self.hardware.chip


class Sht4xDevice(Device):
    driver = "sht4x"
    quantities: ClassVar[Mapping[str, type]] = {"temperature_c": float, "humidity_pct": float}
    told_by_values = ("values outside",)
    faults = (
        "unplugged", "naks", "stuck low", "stuck high", "wrong checksums", *told_by_values,
    )  # fmt: skip
    name = "0x44"

    def __init__(self, hardware: SimulatedHardware, clock: Monotonic) -> None:
        super().__init__(hardware, clock)
        self.chip = Thermometer(clock)
        self.plug()

    def settings(self) -> dict[str, Any]:
        return {}

    def fail(self, fault: str) -> None:
        super().fail(fault)
        if fault == "naks":
            self.hardware.bus.naks = 1_000_000
        elif fault.startswith("stuck"):
            self.hardware.bus.stuck = fault == "stuck high"
        self.chip.is_damaged = fault == "wrong checksums"
        if fault == "values outside":
            self.chip.temperature_c = -45.0

    def mend(self) -> None:
        super().mend()
        self.hardware.bus.naks = 0
        self.hardware.bus.stuck = None
        self.chip.is_damaged = False
        self.chip.temperature_c = 18.4

    def unplug(self) -> None:
        del self.hardware.bus.chips[0x44]

    def plug(self) -> None:
        self.chip.power_on()
        self.hardware.bus.chips[0x44] = self.chip


#: A Phoenix inverter's block (Victron, VE.Direct Protocol, 3.33).
INVERTER: Fields = {
    "PID": "0xA231", "FW": "0119", "SER#": "HQ00000TEST", "MODE": 2, "CS": 9, "AC_OUT_V": 23_000,
    "AC_OUT_I": 12, "AC_OUT_S": 276, "V": 12_730, "AR": 0, "WARN": 0, "OR": "0x00000000",
}  # fmt: skip


class VeDirectDevice(Device):
    driver = "vedirect"
    quantities: ClassVar[Mapping[str, type]] = {
        **dict.fromkeys(
            ("voltage_v", "starter_voltage_v", "current_a", "power_w", "consumed_ah", "charge_pct",
             "time_to_empty_min", "alarm_reasons", "monitor_mode"),
            float,
        ),
        "alarm": bool,
    }  # fmt: skip
    faults = (
        "unplugged", "silent", "garbage", "bad checksums", "bit flips", "no figures", "inverter",
    )  # fmt: skip

    def __init__(self, hardware: SimulatedHardware, clock: Monotonic) -> None:
        super().__init__(hardware, clock)
        self._dice = random.Random(7)
        self.name = str(hardware.port)

    def settings(self) -> dict[str, Any]:
        return {"port": str(self.hardware.port)}

    def speak(self) -> None:
        fields = shunt_fields(self._dice)
        good = block(fields)
        said = {
            "silent": b"",
            "garbage": self._dice.randbytes(len(good)),
            "bad checksums": good[:-1] + bytes([good[-1] ^ 0x20]),
            "bit flips": flipped(self._dice, good),
            "no figures": block({"H1": -1200, "H2": -15}),
            "inverter": block(INVERTER),
        }
        self.hardware.monitor.send(said.get(self.fault, good))

    def unplug(self) -> None:
        self.hardware.monitor.unplug()

    def plug(self) -> None:
        self.hardware.monitor.plug()


class _Asked(Device):
    """A device on a serial line of its own that answers requests."""

    cable: Meter | Bms

    def __init__(self, hardware: SimulatedHardware, clock: Monotonic) -> None:
        super().__init__(hardware, clock)
        self.name = str(hardware.port.with_name(f"tty-{self.driver}"))

    def settings(self) -> dict[str, Any]:
        return {"port": self.name}

    def fail(self, fault: str) -> None:
        super().fail(fault)
        if fault in self.cable.FAULTS:
            self.cable.fault = fault

    def mend(self) -> None:
        super().mend()
        self.cable.fault = ""

    def unplug(self) -> None:
        self.cable.unplug()

    def plug(self) -> None:
        self.cable.plug()

    def close(self) -> None:
        self.cable.close()


class Pzem004tDevice(_Asked):
    driver = "pzem004t"
    quantities: ClassVar[Mapping[str, type]] = {
        **dict.fromkeys(
            ("voltage_v", "current_a", "power_w", "energy_wh", "frequency_hz", "power_factor"),
            float,
        ),
        "alarm": bool,
    }
    told_by_values = (
        "no AC", "silent", "short replies", "bit flips", "garbage", "wrong address",
        "wrong function", "refusals",
    )  # fmt: skip
    faults = ("unplugged", *told_by_values)
    _LINE = Line(voltage_v=231.4, current_a=11.8, power_factor=0.97, frequency_hz=49.9)

    def __init__(self, hardware: SimulatedHardware, clock: Monotonic) -> None:
        super().__init__(hardware, clock)
        self.cable: Meter = Meter(Path(self.name), address=1)
        self.cable.line = self._LINE

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"address": self.cable.address}

    def fail(self, fault: str) -> None:
        super().fail(fault)
        self.cable.powered = fault != "no AC"

    def mend(self) -> None:
        super().mend()
        self.cable.powered = True


class JbdDevice(_Asked):
    driver = "jbd"
    quantities: ClassVar[Mapping[str, type]] = {
        **dict.fromkeys(
            ("voltage_v", "current_a", "power_w", "charge_pct", "remaining_ah", "nominal_ah",
             "cell_min_v", "cell_max_v", "temperature_1_c", "temperature_2_c"),
            float,
        ),
        **dict.fromkeys(("cycles", "protection"), int),
        **dict.fromkeys(("alarm", "charge_on", "discharge_on"), bool),
    }  # fmt: skip
    faults = (
        "unplugged", "silent", "short replies", "bit flips", "garbage", "wrong code", "refusals",
    )  # fmt: skip

    def __init__(self, hardware: SimulatedHardware, clock: Monotonic) -> None:
        super().__init__(hardware, clock)
        self.cable: Bms = Bms(Path(self.name))


class Ze07CoDevice(Device):
    driver = "ze07co"
    quantities: ClassVar[Mapping[str, type]] = {"co_ppm": float}
    told_by_values = ("failed cell",)
    faults = (
        "unplugged", "silent", "garbage", "bad checksums", "bit flips", "lost bytes", "another scale",
        "another protocol", *told_by_values,
    )  # fmt: skip

    def __init__(self, hardware: SimulatedHardware, clock: Monotonic) -> None:
        super().__init__(hardware, clock)
        self._dice = random.Random(7)
        self.name = str(hardware.port.with_name("tty-co"))
        self.module = Module(Path(self.name))

    def settings(self) -> dict[str, Any]:
        return {"port": self.name, "warm_up_s": 0.0}

    def speak(self) -> None:
        self.module.cell.breathe(30.0, 1.0)
        good = self.module.says()
        hurt = bytearray(good)
        hurt[self._dice.randrange(len(hurt))] ^= 1 << self._dice.randrange(8)
        lost = self._dice.randrange(len(good))
        said = {
            "silent": b"",
            "garbage": self._dice.randbytes(len(good)),
            "bad checksums": good[:-1] + bytes([good[-1] ^ 0x20]),
            "bit flips": bytes(hurt),
            "lost bytes": good[:lost] + good[lost + 1 :],
            "another scale": frame(self.module.cell.co_ppm, scale_ppm=1000.0),
            "another protocol": block(shunt_fields(self._dice)),
            "failed cell": frame(0.0, failed=True),
        }
        self.module.send(said.get(self.fault, good))

    def unplug(self) -> None:
        self.module.unplug()

    def plug(self) -> None:
        self.module.plug()

    def close(self) -> None:
        self.module.close()


class Ds18b20Device(Device):
    driver = "ds18b20"
    quantities: ClassVar[Mapping[str, type]] = {"temperature_c": float}
    faults = ("unplugged", "no bus", *Probe.FAULTS)

    def __init__(self, hardware: SimulatedHardware, clock: Monotonic) -> None:
        super().__init__(hardware, clock)
        hardware.root = hardware.port.parent
        self.probe = Probe(hardware.root)
        self.name = self.probe.device

    def settings(self) -> dict[str, Any]:
        return {"device": self.name}

    def fail(self, fault: str) -> None:
        super().fail(fault)
        if fault == "no bus":
            self.probe.remove_bus()
        elif fault in Probe.FAULTS:
            self.probe.fault = fault

    def mend(self) -> None:
        if self.fault == "no bus":
            self.plug()
        super().mend()
        self.probe.fault = ""

    def unplug(self) -> None:
        self.probe.unplug()

    def plug(self) -> None:
        self.probe.plug()


DEVICES = {
    device.driver: device
    for device in (
        ContactDevice, BeamDevice, BeamsDevice, Ds18b20Device, Ina219Device, JbdDevice,
        Pzem004tDevice, Sht4xDevice, VeDirectDevice, Ze07CoDevice,
    )
}  # fmt: skip


def walk(hardware: SimulatedHardware, at_s: float, *, inward: bool) -> None:
    """Simulate one person passing the door: 1.2 m/s, 15 cm from beam to beam, 30 cm of body."""
    for offset_s, second, blocked in (
        (0.0, False, True),
        (0.125, True, True),
        (0.25, False, False),
        (0.375, True, False),
    ):
        hardware.set_beam(inner=second == inward, blocked=blocked, at_s=at_s + offset_s)


@contextmanager
def simulated(directory: Path, speed: float = 1.0) -> Iterator[tuple[SimulatedHardware, Monotonic]]:
    clock = Monotonic(speed)
    hardware = SimulatedHardware(directory, clock)
    try:
        yield hardware, clock
    finally:
        hardware.close()


MakeDevice = Callable[..., Device]


@contextmanager
def making_devices(directory: Path) -> Iterator[MakeDevice]:
    """Give what makes a driver's device, on a clock of some speed; close all of them at the end."""
    with ExitStack() as stack:

        def make(driver: str, speed: float = 100.0) -> Device:
            hardware, clock = stack.enter_context(simulated(directory, speed))
            device = DEVICES[driver](hardware, clock)
            stack.callback(device.close)
            return device

        yield make


@contextmanager
def speaking(device: Device) -> Iterator[None]:
    """Make a device send once a second of its clock."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(device.clock.real_s(1.0)):
            device.speak()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Listener:
    """Receives the readings of a Sensor."""

    def __init__(self) -> None:
        self._readings: SimpleQueue[Reading] = SimpleQueue()

    def __call__(self, readings: Sequence[Reading]) -> None:
        for reading in readings:
            self._readings.put(reading)

    def until(self, wanted: Callable[[Reading], bool]) -> list[Reading]:
        """Return the readings up to and including the first wanted one."""
        passed: list[Reading] = []
        limit_s = time.monotonic() + PATIENCE_S
        with suppress(Empty):
            while (left_s := limit_s - time.monotonic()) > 0:
                passed.append(self._readings.get(timeout=left_s))
                if wanted(passed[-1]):
                    return passed
        raise AssertionError(f"waited in vain; last heard: {passed[-5:]}")


def within_patience(work: Callable[[], Any]) -> None:
    """Do `work` in a thread; it must end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "it never ended"


def refusal(driver: Driver) -> SensorError:
    """Return the error of a driver that cannot open its device.

    It is a copy: the traceback of the original would keep the device's objects alive.
    """
    try:
        driver.open()
    except SensorError as error:
        return SensorError(error.kind, **error.values)
    raise AssertionError("the device could be opened")


@contextmanager
def raises(kind: Kind, **values: object) -> Iterator[None]:
    """Expect a SensorError of a kind, with these values among its own."""
    with pytest.raises(SensorError) as failure:
        yield
    assert failure.value.kind == kind
    assert {**failure.value.values, **values} == failure.value.values


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a Path would be opened in between
