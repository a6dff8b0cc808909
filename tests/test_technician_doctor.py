"""`tentwatch doctor` on a unit with a fault: each is induced for real, and named with its cure.

Whole units are made one a case, and looked at side by side, as each look takes some seconds.
"""

import dataclasses
import fcntl
import itertools
import json
import os
import random
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from gpiozero import InputDevice

from publisher import control
from publisher.agent import Agent
from publisher.clock import Clock, DemoClock, Now, boot_id
from publisher.config.load import load, parse
from publisher.config.sections import BrokerSettings
from publisher.control import (
    FORBIDDEN,
    NO_ANSWER,
    NO_SOCKET,
    NONSENSE,
    ControlError,
    NotRunning,
)
from publisher.store.file import FILE
from publisher.store.store import Store
from sensors.reading import Quality
from sensors.simulated.ds18b20 import Probe
from sensors.simulated.hardware import I2C_ADDRESS, SHUNT_OHMS, SimulatedHardware
from sensors.simulated.ina219 import Chip
from sensors.simulated.jbd import Bms
from sensors.simulated.pzem004t import Line, Meter
from sensors.simulated.sht4x import Thermometer
from technician.doctor import broker_check, doctor, examination, machine, plausible, probe
from technician.doctor.examination import Report, examine
from technician.doctor.findings import Finding, Verdict
from technician.service import Service
from tests.conftest import Broker, wait_for
from tests.devices import block
from tests.tents import Unit, config, with_air
from tests.test_publisher_board import Pi
from tests.test_sensors_chips import KINDS, Registers

WALKED = {"entered_total": 20, "left_total": 18, "passed_total": 0, "people": 2}

BACKWARDS = {"entered_total": 5, "left_total": 60, "people": 0}

TENT = """
[tent]
id = "{id}"
seats = 60
[broker]
host = "127.0.0.1"
port = {port}
spread_s = 0
{broker}
[battery]
{battery}
"""
SENSORS = {
    "mains": 'driver = "contact"\ngpio = 17\n',
    "generator": f'driver = "ina219"\nshunt_ohms = {SHUNT_OHMS}\nmax_current_a = 50\n',
    "battery": 'driver = "vedirect"\nport = "{tty}"\n',
    "door": 'driver = "beams"\nouter_gpio = 23\ninner_gpio = 24\n',
}


#: All units are on one broker, and no two may have one id.
_IDS = (f"unit-{number}" for number in itertools.count())


class Unset(DemoClock):
    """A clock that no time server has set."""

    def _read(self) -> Now:
        return dataclasses.replace(super()._read(), synced=False)


class Patient:
    """A unit in a directory: its configuration on file, its devices, its computer, its store."""

    def __init__(self, directory: Path, port: int, speed: float = 1.0) -> None:
        self.directory = directory
        self.state_dir = directory / "state"
        self.root = directory / "root"
        for place in (self.state_dir, self.root):
            place.mkdir(parents=True)
        self.port = port
        self.clock: Clock = DemoClock(speed)
        self.hardware = SimulatedHardware(directory, self.clock)
        self.hardware.root = self.root
        self.pi = Pi(self.root, self.state_dir)
        self.sensors = dict(SENSORS)
        self.broker = self.battery = ""
        self.file = directory / "tentwatch.toml"
        self.hardware.set_mains(True)
        self.hardware.set_generator(0.0, 13.0)
        self.says: Callable[[], bytes] = lambda: b""
        self.report(13.1, -5.0, 80.0)
        self.cables: list[Meter | Bms] = []
        self.threads: list[threading.Thread] = []
        self.over = threading.Event()
        self.agent: Agent | None = None
        self.walked: dict[str, int] = WALKED
        self.does_in_background(self._speak, 0.5 / speed)

    def report(self, voltage_v: float, current_a: float, charge_pct: float | None) -> None:
        """What the battery monitor says from now on."""
        said = block(
            {
                "PID": "0xA389",
                "V": round(voltage_v * 1000),
                "I": round(current_a * 1000),
                "P": round(voltage_v * current_a),
                "SOC": "---" if charge_pct is None else round(charge_pct * 10),
                "TTG": -1,
                "Alarm": "OFF",
            }
        )
        self.says = lambda: said

    def _speak(self) -> None:
        self.hardware.monitor.send(self.says())

    def does_in_background(self, work: Callable[[], object], every_s: float) -> None:
        def run() -> None:
            while not self.over.wait(every_s):
                work()

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def meter(self, name: str = "generator") -> Meter:
        """Put an AC meter in the place of a sensor."""
        meter = Meter(self.directory / f"tty-{name}", address=1)
        meter.line = Line(voltage_v=231.4, current_a=3.0, power_factor=0.97, frequency_hz=49.9)
        self.sensors[name] = f'driver = "pzem004t"\nport = "{self.directory}/tty-{name}"\n'
        self.cables.append(meter)
        return meter

    def bms(self) -> Bms:
        """Put a BMS in the place of the monitor."""
        bms = Bms(self.directory / "tty-bms")
        self.sensors["battery"] = f'driver = "jbd"\nport = "{self.directory}/tty-bms"\n'
        self.cables.append(bms)
        return bms

    def write(self) -> "Patient":
        """Write the configuration, and a store in which people have been counted."""
        text = TENT.format(id=next(_IDS), port=self.port, broker=self.broker, battery=self.battery)
        for name, keys in self.sensors.items():
            text += f"[sensors.{name}]\n{keys.replace('{tty}', str(self.hardware.port))}"
        self.file.write_text(text)
        store = Store(self.state_dir, 1000, 1 << 22)
        now = self.clock.now()
        store.open(boot_id(), now)
        totals = {"occupancy": self.walked}
        store.save(totals, now)
        store.close(now, totals)
        return self

    def start(self) -> "Patient":
        """Start the agent."""
        self.agent = Agent(load(self.file), self.state_dir, self.hardware, self.clock)
        self.threads.append(threading.Thread(target=self.agent.run, daemon=True))
        self.threads[-1].start()
        return self

    def status(self) -> dict[str, Any]:
        assert self.agent is not None
        return self.agent.status()

    def sensor(self, name: str) -> dict[str, Any]:
        return next(s for s in self.status()["sensors"] if s["name"] == name)

    def examine(self) -> Report:
        return examine(self.file, self.state_dir, self.hardware, self.clock)

    def close(self) -> None:
        self.over.set()
        if self.agent is not None:
            self.agent.stop()
        for thread in self.threads:
            thread.join(20.0)
        for cable in self.cables:
            cable.close()
        self.hardware.close()


Found = dict[str, tuple[str, str]]  # key → verdict, and words of the cure


class Case(NamedTuple):
    """A fault: how it is caused, and the findings that it adds to a healthy unit's."""

    induce: Callable[[Patient], object]
    expected: Mapping[str, tuple[str, str]] = MappingProxyType({})
    code: int = 1
    speed: float = 1.0


def unplug_chip(patient: Patient) -> None:
    del patient.hardware.bus.chips[I2C_ADDRESS]


def move_chip(patient: Patient) -> None:
    patient.hardware.bus.chips[0x41] = patient.hardware.bus.chips.pop(I2C_ADDRESS)


def swap_chip(patient: Patient) -> None:
    unplug_chip(patient)
    patient.hardware.bus.chips[0x48] = Registers(KINDS["INA226"])


def hang_thermometer(patient: Patient, address: int | None) -> Thermometer:
    """Fit an SHT4x that the configuration has at 0x44."""
    patient.sensors["inside"] = 'driver = "sht4x"\n'
    thermometer = Thermometer(patient.clock)
    if address is not None:
        patient.hardware.bus.chips[address] = thermometer
    return thermometer


def hang_probe(patient: Patient, temperature_c: float, fault: str = "") -> Probe:
    """Fit a DS18B20."""
    probe = Probe(patient.root, temperature_c=temperature_c)
    probe.fault = fault
    patient.sensors["outside"] = f'driver = "ds18b20"\ndevice = "{probe.device}"\n'
    return probe


def wet(patient: Patient, name: str = "inside", humidity_pct: float = 104.0) -> None:
    hang_thermometer(patient, 0x44).humidity_pct = humidity_pct
    patient.sensors[name] = patient.sensors.pop("inside")


def hang_nothing(patient: Patient) -> None:
    hang_thermometer(patient, None)
    patient.hardware.bus.chips[0x45] = Chip(patient.clock.now_s)


def hang_another(patient: Patient) -> None:
    hang_thermometer(patient, None)
    patient.hardware.bus.chips[0x44] = Chip(patient.clock.now_s)


def dip(patient: Patient) -> None:
    patient.hardware.chip.supply_dips = True
    patient.hardware.chip.brown_out()


def garble(patient: Patient) -> None:
    dice = random.Random(1)
    patient.says = lambda: dice.randbytes(200)


def hush(patient: Patient) -> None:
    patient.says = lambda: b""


def take_port(patient: Patient) -> None:
    number = os.open(patient.hardware.port, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(number, fcntl.LOCK_EX)  # as pyserial does for one program alone


def chatter(patient: Patient) -> None:
    patient.sensors["mains"] += "settle_s = 1.0\n"
    levels = iter(range(1 << 30))
    patient.does_in_background(lambda: patient.hardware.set_mains(next(levels) % 2 == 0), 0.01)


def take_line(patient: Patient) -> None:
    # This test holds it, as another program would.
    patient.line = InputDevice(17, pull_up=True, pin_factory=patient.hardware.pins)  # type: ignore[attr-defined]


def silent_meter(patient: Patient) -> None:
    patient.meter().fault = "silent"


def silent_meter_on_a_live_line(patient: Patient) -> None:
    patient.meter().fault = "silent"
    patient.sensors["generator_line"] = 'driver = "contact"\ngpio = 27\n'
    patient.hardware.pins.set_cable(27, False)


def meter_without_ac(patient: Patient) -> None:
    patient.meter().powered = False
    patient.sensors["generator_line"] = 'driver = "contact"\ngpio = 27\n'
    patient.hardware.pins.set_cable(27, True)


def low_voltage(patient: Patient) -> None:
    meter = patient.meter()
    meter.line = Line(voltage_v=170.0, current_a=3.0, power_factor=0.97, frequency_hz=50.0)


def corrupt(patient: Patient) -> None:
    file = patient.write().state_dir / FILE
    content = bytearray(file.read_bytes())
    content[100:] = bytes(len(content) - 100)
    file.write_bytes(content)


def set_clock_back(patient: Patient) -> None:
    patient.clock = Unset(1.0)


def password(patient: Patient, content: str | None, mode: int = 0o600) -> None:
    file = patient.directory / "password"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    patient.broker = f'username = "demo"\npassword_file = "{file}"'


def misspell(patient: Patient) -> None:
    patient.sensors["mains"] = 'driver = "contact"\ngpoi = 17\n'
    patient.battery = "nominal = 12"


NOT_CONFIGURED: Found = dict.fromkeys(
    (
        "sensor", "broker.name", "broker.tcp", "broker.tls", "broker.login", "broker.publish",
        "broker.commands", "broker.round_trip",
    ),
    ("not_tried", ""),
)  # fmt: skip
NO_WAY: Found = {key: found for key, found in NOT_CONFIGURED.items() if key != "sensor"}

#: Cases of a unit whose service does not run: doctor opens the devices itself.
CASES = {
    "well": Case(lambda _: None),
    "ina219 unplugged": Case(unplug_chip, {"sensor.generator": ("fail", "check VCC (3.3 V), ground")}),
    "ina219 at another address": Case(
        move_chip, {"sensor.generator": ("fail", "set address = 0x41 in [sensors.generator]")}
    ),
    "ina219 unplugged beside another chip": Case(
        swap_chip, {"sensor.generator": ("fail", "check VCC (3.3 V), ground")}
    ),
    "sht4x well": Case(lambda p: hang_thermometer(p, 0x44)),
    "sht4x at another address": Case(
        lambda p: hang_thermometer(p, 0x46),
        {"sensor.inside": ("fail", "set address = 0x46 in [sensors.inside]")},
    ),
    "water on the sht4x": Case(wet, {"sensor.inside": ("warning", "hang it where no water drips")}),
    "fog": Case(lambda p: wet(p, "outside")),
    "too dry for any air": Case(
        lambda p: wet(p, "outside", -2.0), {"sensor.outside": ("warning", "replace the sensor")}
    ),
    "sht4x unplugged beside an ina219": Case(
        hang_nothing, {"sensor.inside": ("fail", "check VCC (3.3 V), ground")}
    ),
    "ina219 for an sht4x": Case(
        hang_another, {"sensor.inside": ("fail", "sudo tentwatch setup shows which chip")}
    ),
    "ds18b20 well": Case(lambda p: hang_probe(p, -11.5)),
    "ds18b20 unplugged": Case(
        lambda p: hang_probe(p, -11.5).unplug(),
        {"sensor.outside": ("fail", "the resistor of 4.7 kΩ; ls /sys/bus/w1/devices shows")},
    ),
    "ds18b20 on two wires": Case(
        lambda p: hang_probe(p, -11.5, "85 at power-on"),
        {"sensor.outside": ("fail", "connect its supply wire to 3.3 V")},
    ),
    "ds18b20 at the flue": Case(
        lambda p: hang_probe(p, 71.0), {"sensor.outside": ("warning", "away from the heater")}
    ),
    "no 1-wire bus": Case(
        lambda p: hang_probe(p, -11.5).remove_bus(),
        {
            "bus.1-wire": ("fail", "sudo raspi-config nonint do_onewire 0"),
            "sensor.outside": ("not_tried", ""),
        },
    ),
    "ina219 restarts": Case(dip, {"sensor.generator": ("fail", "tighten VCC and ground")}),
    "shunt swapped": Case(
        lambda p: p.hardware.set_generator(-12.0, 13.9),
        {"sensor.generator": ("fail", "exchange the wires VIN+ and VIN−")},
    ),
    "current out of range": Case(
        lambda p: p.hardware.set_generator(110.0, 13.9),
        {"sensor.generator": ("fail", "raise max_current_a")},
    ),
    "shunt not connected": Case(
        lambda p: p.hardware.set_generator(0.0, 0.0),
        {"sensor.generator": ("fail", "check the wires VIN+ and VIN−")},
    ),
    "zero is off": Case(
        lambda p: p.hardware.set_generator(0.25, 13.0),
        {"sensor.generator": ("warning", "sudo tentwatch zero generator")},
    ),
    "monitor silent": Case(hush, {"sensor.battery": ("fail", "plug the VE.Direct cable")}),
    "cable not there": Case(
        lambda p: p.hardware.monitor.unplug(),
        {
            "bus.serial.battery": ("fail", "plug the cable in"),
            "sensor.battery": ("not_tried", ""),
        },
    ),
    "port busy": Case(
        take_port,
        {"bus.serial.battery": ("fail", "stop that program"), "sensor.battery": ("not_tried", "")},
    ),
    "another device on the port": Case(
        garble, {"sensor.battery": ("fail", "another device is on this port")}
    ),
    "monitor not synchronised": Case(
        lambda p: p.report(13.1, -5.0, None),
        {"sensor.battery": ("warning", "charge the battery until it is full once")},
    ),
    "battery of another voltage": Case(
        lambda p: p.report(25.6, -5.0, 70.0),
        {"sensor.battery": ("warning", "set nominal_v = 24 in [battery]")},
    ),
    "battery's shunt swapped": Case(
        lambda p: p.report(14.2, -20.0, 70.0),
        {"sensor.battery": ("fail", "exchange the two cables at the monitor's shunt")},
    ),
    "battery overcharged": Case(
        lambda p: p.report(16.9, 20.0, 100.0),
        {"sensor.battery": ("fail", "switch the charger off")},
    ),
    # Each second without rest is a failed read: quicker, so that a busy machine has several.
    "contact chatters": Case(
        chatter, {"sensor.mains": ("fail", "tighten the wires at the relay")}, speed=4.0
    ),
    "beam blocked": Case(
        lambda p: p.hardware.set_beam(inner=True, blocked=True),
        {"sensor.door": ("warning", "take away what stands in the beam")},
    ),
    "beams swapped": Case(
        lambda p: setattr(p, "walked", {**BACKWARDS, "entered_since": 5, "left_since": 60}),
        {"sensor.door": ("fail", "exchange outer_gpio and inner_gpio")},
    ),
    "beams that were swapped until a headcount": Case(
        lambda p: setattr(p, "walked", {**BACKWARDS, "entered_since": 3, "left_since": 1})
    ),
    "nobody counted": Case(
        lambda p: setattr(p, "walked", {}), {"sensor.door": ("warning", "walk in and out once")}
    ),
    "line taken": Case(
        take_line,
        {"bus.gpio": ("fail", "no other program holds this line"), "sensor.mains": ("not_tried", "")},
    ),
    "no such bus": Case(
        lambda p: p.sensors.update(generator=SENSORS["generator"] + "bus = 7\n"),
        {"bus.i2c-7": ("fail", "raspi-config nonint do_i2c 0"), "sensor.generator": ("not_tried", "")},
    ),
    "meter silent": Case(
        silent_meter, {"sensor.generator": ("warning", "look again while there is AC")}
    ),
    "meter silent on a live line": Case(
        silent_meter_on_a_live_line, {"sensor.generator": ("fail", "check TX, RX, 5 V and ground")}
    ),
    "meter without AC, as it should be": Case(meter_without_ac),
    "voltage too low": Case(
        low_voltage, {"sensor.generator": ("warning", "have its voltage set to 230 V")}
    ),
    "BMS silent": Case(
        lambda p: setattr(p.bms(), "fault", "silent"),
        {"sensor.battery": ("fail", "exchange TX and RX")},
    ),
    "BMS garbled": Case(
        lambda p: setattr(p.bms(), "fault", "garbage"),
        {"sensor.battery": ("fail", "another device is on this port, or two on one line")},
    ),
    "supply sags": Case(
        lambda p: p.pi.sags(), {"power.undervoltage": ("fail", "another adapter or converter")}
    ),
    "too hot": Case(
        lambda p: (p.pi.zone / "temp").write_text("85000\n"),
        {"power.heat": ("fail", "shade, air or a heat sink")},
    ),
    "store damaged": Case(corrupt, {"store.file": ("fail", "the service begins it anew")}),
    "damaged stores set aside": Case(
        lambda p: (p.state_dir / "tentwatch.corrupt-2").touch(),
        {"store.set_aside": ("warning", "copy the files away")},
    ),
    "clock not set": Case(set_clock_back, {"clock.synced": ("warning", "UDP port 123")}),
    "password readable": Case(
        lambda p: password(p, "secret", 0o644), {"config.secrets": ("fail", "sudo chmod 600")}
    ),
    "password missing": Case(
        lambda p: password(p, None),
        {"config.secrets": ("fail", "put it where password_file in [broker] says"), **NO_WAY},
    ),
    "password empty": Case(
        lambda p: password(p, "\n"), {"config.secrets": ("fail", "write the password")}
    ),
    "configuration faulty": Case(
        misspell,
        {
            "config.sensors.mains.gpoi": ("fail", "sudo tentwatch setup"),
            "config.sensors.mains.gpio": ("fail", "sudo tentwatch setup"),
            "config.battery.nominal": ("fail", "tentwatch check-config"),
            **NOT_CONFIGURED,
        },
        code=2,
    ),
}  # fmt: skip

#: Findings that did not pass for a healthy unit whose service does not run, without systemd.
STOPPED: Found = {
    "broker.tls": ("not_tried", ""),
    "service.enabled": ("not_tried", ""),
    "service.running": ("fail", "sudo systemctl start tentwatch"),
}


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """Allow longer times: all cases share two processors, or fewer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "LEAST_S", 5.0)
        patch.setattr(probe, "LONGEST_S", 20.0)
        patch.setattr(broker_check, "STEP_S", 20.0)
        patch.setattr(broker_check, "LIMIT_S", 60.0)
        patch.setattr(examination, "HANGS_S", 60.0)
        patch.setattr(examination, "AGAIN_S", 6.0)
        patch.setattr(control, "TIMEOUT_S", 20.0)
        yield


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker")).start()
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, centre: Broker) -> dict[str, Report]:
    """Doctor's report in every case; made in parallel, as each waits more than it works."""
    place = tmp_path_factory.mktemp("patients")

    def look(name: str) -> Report:
        directory = place / str(list(CASES).index(name))  # a socket's path is short
        patient = Patient(directory, centre.port, CASES[name].speed)
        try:
            CASES[name].induce(patient)
            if not (patient.state_dir / FILE).exists():
                patient.write()
            else:  # damaged: the configuration alone
                assert patient.file.exists()
            return patient.examine()
        finally:
            patient.close()

    with ThreadPoolExecutor(len(CASES)) as pool:
        return dict(zip(CASES, pool.map(look, CASES), strict=True))


def not_well(findings: list[Finding]) -> Found:
    """Return the findings that did not pass."""
    return {
        f.key: (f.verdict.value, "" if f.cure is None else f.cure.english())
        for f in findings
        if f.verdict != "pass"
    }


def assert_found(report: Report, expected: Found) -> None:
    """Check that a report names the expected faults with their cures, and nothing else."""
    found = not_well(report.findings)
    assert {key: verdict for key, (verdict, _) in found.items()} == {
        key: verdict for key, (verdict, _) in expected.items()
    }, [finding.as_json() for finding in report.findings if finding.key in found]
    for key, (_, words) in expected.items():
        assert words in found[key][1], key


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_named_with_its_cure(reports: dict[str, Report], name: str) -> None:
    case = CASES[name]
    assert_found(reports[name], {**STOPPED, **case.expected})
    assert reports[name].code == case.code


def test_the_checks_come_in_the_order_in_which_one_would_look(reports: dict[str, Report]) -> None:
    keys = [finding.key for finding in reports["well"].findings]
    assert keys == [
        "power.undervoltage", "power.heat", "clock.synced", "disk.space", "disk.writable",
        "store.file", "store.second_place", "store.set_aside", "store.backlog",
        "config.file", "config.secrets",
        "bus.gpio", "bus.i2c-1", "bus.serial.battery",
        "sensor.mains", "sensor.generator", "sensor.battery", "sensor.door",
        "broker.name", "broker.tcp", "broker.tls", "broker.login", "broker.publish",
        "broker.commands", "broker.round_trip",
        "service.enabled", "service.running", "service.version",
    ]  # fmt: skip


def test_values_are_live(reports: dict[str, Report]) -> None:
    seen = {f.key: f.seen.english() for f in reports["well"].findings}
    assert seen["sensor.mains"] == "the line is alive"
    assert seen["sensor.battery"] == "80 %, -5.0 A, 13.1 V"
    assert seen["sensor.door"] == "free; 20 in, 18 out since installation"
    assert seen["broker.round_trip"].startswith("a message was confirmed in ")
    air = {f.key: f.seen.english() for f in reports["sht4x well"].findings}
    assert air["sensor.inside"] == "18.4 °C, 52 %"
    frost = {f.key: f.seen.english() for f in reports["ds18b20 well"].findings}
    assert frost["sensor.outside"] == "-11.5 °C"


# The store is left as it is


def test_a_look_changes_no_file(tmp_path: Path, centre: Broker) -> None:
    patient = Patient(tmp_path / "unit", centre.port).write()
    wal = patient.state_dir / f"{FILE}-wal"
    wal.write_bytes(b"left by a power cut")
    before = {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in patient.state_dir.iterdir()}
    assert not not_well([*machine.store(patient.state_dir, None, may_read=True)])
    after = {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in patient.state_dir.iterdir()}
    patient.close()
    assert after == before


# Disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with 100 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100m", "none", place], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a disk cannot be mounted: {done.stderr!r}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def of_the_disk(disk: Path) -> Found:
    return not_well([*machine.computer(disk, Path("/nowhere"), DemoClock(1.0), None)])


def test_a_disk_that_is_nearly_full_and_one_that_is(disk: Path) -> None:
    assert of_the_disk(disk)["disk.space"][0] == "warning"
    (disk / "ballast").write_bytes(bytes(95_000_000))
    verdict, cure = of_the_disk(disk)["disk.space"]
    assert verdict == "fail"
    assert "shows what fills the card" in cure


def test_a_card_that_has_gone_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    verdict, cure = of_the_disk(disk)["disk.writable"]
    assert verdict == "fail"
    assert "replace the card" in cure


def test_a_password_in_the_clear_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    file.chmod(0o600)
    settings = BrokerSettings("192.0.2.1", username="demo", password_file=str(file))
    assert "set tls = true" in not_well([*machine.secrets(settings)])["config.secrets"][1]
    assert not not_well([*machine.secrets(dataclasses.replace(settings, tls=True))])


@pytest.mark.skipif(os.geteuid() != 0, reason="files of two users need root")
def test_files_that_the_service_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "OWNER", "nobody")
    file = tmp_path / "password"
    file.write_text("secret")
    file.chmod(0o600)
    settings = BrokerSettings("192.0.2.1", username="demo", password_file=str(file), tls=True)
    assert "sudo chown nobody:" in not_well([*machine.secrets(settings)])["config.secrets"][1]
    assert not_well([machine.configuration(file)])["config.file"][0] == "fail"
    shutil.chown(file, "nobody")
    assert not not_well([*machine.secrets(settings), machine.configuration(file)])
    monkeypatch.setattr(machine, "HIDDEN", (str(tmp_path),))  # as /home is
    assert (
        "move it to /etc/tentwatch" in not_well([*machine.secrets(settings)])["config.secrets"][1]
    )


# The service, on a machine with systemd


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that makes a machine's `systemctl show` print properties, and returns its root."""

    def says(**properties: str) -> Path:
        (tmp_path / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        lines = "".join(f"echo {key}={value}\n" for key, value in properties.items())
        for name in ("systemctl", "timedatectl"):
            program = tmp_path / name
            program.write_text(f"#!/bin/sh\n{lines}")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path

    return says


WELL = {
    "LoadState": "loaded",
    "UnitFileState": "enabled",
    "ActiveState": "active",
    "NRestarts": "0",
}
SOCKET = "/var/lib/tentwatch/control.sock"
GONE = NotRunning(NO_SOCKET, path=SOCKET)
RUNNING = {"software": "1.0"}


@pytest.mark.parametrize(
    ("said", "status", "why", "expected"),
    [
        ({}, RUNNING, None, {}),
        ({"UnitFileState": "disabled"}, RUNNING, None,
         {"service.enabled": ("fail", "sudo systemctl enable tentwatch")}),
        ({"LoadState": "not-found"}, None, GONE,
         {"service.enabled": ("fail", "sudo systemctl enable --now tentwatch"),
          "service.running": ("fail", "sudo systemctl start tentwatch")}),
        ({"ActiveState": "activating", "NRestarts": "412"}, None, GONE,
         {"service.running": ("fail", "mend what the checks above name")}),
        ({"NRestarts": "9"}, RUNNING, None, {"service.running": ("warning", "journalctl -u tentwatch")}),
        ({}, {"software": "0.9"}, None,
         {"service.version": ("fail", "sudo systemctl restart tentwatch")}),
        ({}, None, ControlError(FORBIDDEN, path=SOCKET),
         {"service.running": ("not_tried", "use sudo")}),
        ({}, None, ControlError(NO_ANSWER, seconds=5.0),
         {"service.running": ("fail", "systemd restarts it")}),
        ({}, None, ControlError(NONSENSE, path=SOCKET, flaw="unit"),
         {"service.running": ("fail", "of another version: sudo systemctl restart tentwatch")}),
    ],
)  # fmt: skip
def test_the_service(
    systemd: Callable[..., Path],
    said: dict[str, str],
    status: Any,
    why: ControlError | None,
    expected: Found,
) -> None:
    state = Service(systemd(**{**WELL, **said})).state()
    assert state is not None
    found = not_well([*machine.service(state, status, why, "1.0")])
    assert {key: verdict for key, (verdict, _) in found.items()} == {
        key: verdict for key, (verdict, _) in expected.items()
    }
    for key, (_, words) in expected.items():
        assert words in found[key][1]


def test_time_servers_that_are_switched_off_are_named(
    systemd: Callable[..., Path], tmp_path: Path
) -> None:
    root = systemd(NTP="no")
    found = not_well([*machine.computer(tmp_path, root, Unset(1.0), None)])
    assert "sudo timedatectl set-ntp true" in found["clock.synced"][1]


def test_a_buzzer_and_a_lamp_that_fail_are_named(tmp_path: Path) -> None:
    status: Any = {
        "unit": {},
        "clock": "synced",
        "lamp_trouble": None,
        "buzzer_trouble": {"code": "gpio.unusable", "values": {"gpio": 16, "why": "it is taken"}},
    }
    found = not_well([*machine.computer(tmp_path, Path("/nowhere"), Unset(1.0), status)])
    assert "lamp" not in found
    verdict, cure = found["buzzer"]
    assert (verdict, "that no other program holds this line" in cure) == ("fail", True)


# The running unit is asked


def run_until(patient: Patient, condition: Callable[[Patient], bool]) -> Report:
    patient.write().start()
    try:
        wait_for(lambda: bool(patient.status()["ok"]), "the unit")
        wait_for(lambda: patient.status()["link"]["connected"], "the link")
        wait_for(lambda: condition(patient), f"the fault of {patient.directory.name}")
        return patient.examine()
    finally:
        patient.close()


def all_ok(patient: Patient) -> bool:
    return all(s["quality"] == "ok" for s in patient.status()["sensors"])


def has_error(name: str) -> Callable[[Patient], bool]:
    return lambda patient: bool(patient.sensor(name)["error"])


def break_one_beam(patient: Patient) -> None:
    """The inner beam sees nothing: a crowd breaks the outer one only."""

    def once() -> None:
        now_s = patient.clock.now_s()
        patient.hardware.set_beam(inner=False, blocked=True, at_s=now_s - 0.3)
        patient.hardware.set_beam(inner=False, blocked=False, at_s=now_s)

    patient.does_in_background(once, 0.1)


def count_undervoltage(patient: Patient) -> bool:
    unit = patient.status()["unit"]
    if unit["undervoltages"] and patient.pi.alarm.read_text() != "0\n":
        patient.pi.is_well()
    return bool(unit["undervoltages"]) and unit["undervoltage"] is False


def age(patient: Patient) -> bool:
    assert patient.agent is not None
    agent = patient.agent  # as one is that was started before the upgrade
    agent._reporter = dataclasses.replace(agent._reporter, software="0.0.9")
    return all_ok(patient)


class Asked(NamedTuple):
    """A fault of a running unit, and the condition that shows it."""

    induce: Callable[[Patient], object]
    is_seen: Callable[[Patient], bool]
    expected: Mapping[str, tuple[str, str]] = MappingProxyType({})
    speed: float = 1.0


RUN: Found = {"broker.tls": ("not_tried", ""), "service.enabled": ("not_tried", "")}
ASKED = {
    "well": Asked(lambda _: None, all_ok),
    "ina219 unplugged": Asked(
        unplug_chip, has_error("generator"), {"sensor.generator": ("fail", "check VCC (3.3 V)")}
    ),
    "shunt swapped": Asked(
        lambda p: p.hardware.set_generator(-12.0, 13.9),
        all_ok,
        {"sensor.generator": ("fail", "exchange the wires VIN+ and VIN−")},
    ),
    "monitor silent": Asked(
        hush, has_error("battery"), {"sensor.battery": ("fail", "plug the VE.Direct cable")}
    ),
    "cable pulled": Asked(
        lambda p: p.hardware.monitor.unplug(),
        has_error("battery"),
        {"bus.serial.battery": ("fail", "plug the cable in"), "sensor.battery": ("not_tried", "")},
    ),
    "line taken": Asked(
        take_line,
        has_error("mains"),
        {"bus.gpio": ("fail", "no other program holds"), "sensor.mains": ("not_tried", "")},
    ),
    "one beam dead": Asked(
        break_one_beam, has_error("door"), {"sensor.door": ("fail", "one of the two beams sees nothing")}
    ),
    "supply has sagged": Asked(
        lambda p: p.pi.sags(),
        lambda p: count_undervoltage(p) and all_ok(p),
        {"power.undervoltage": ("warning", "another adapter or converter")},
    ),
    "beam blocked for long": Asked(
        lambda p: p.hardware.set_beam(inner=False, blocked=True),
        lambda p: p.sensor("door")["values"].get("obstructed") is True,
        {"sensor.door": ("fail", "take away what stands in the beam")},
        speed=10.0,
    ),
    "contact chatters": Asked(
        chatter,
        lambda p: p.sensor("mains")["reads"] > 0,
        {"sensor.mains": ("fail", "tighten the wires at the relay")},
    ),
    "older program runs": Asked(
        lambda _: None, age, {"service.version": ("fail", "sudo systemctl restart tentwatch")}
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, centre: Broker) -> dict[str, Report]:
    place = tmp_path_factory.mktemp("asked")

    def run(name: str) -> Report:
        case = ASKED[name]
        patient = Patient(place / name.replace(" ", "-"), centre.port, case.speed)
        case.induce(patient)
        return run_until(patient, case.is_seen)

    with ThreadPoolExecutor(len(ASKED)) as pool:
        return dict(zip(ASKED, pool.map(run, ASKED), strict=True))


@pytest.mark.parametrize("name", ASKED)
def test_a_running_unit_names_its_fault(answers: dict[str, Report], name: str) -> None:
    assert_found(answers[name], {**RUN, **ASKED[name].expected})
    assert answers[name].code == (
        1 if any(v == "fail" for v, _ in ASKED[name].expected.values()) else 0
    )


def test_a_unit_that_hangs_is_named_and_its_devices_are_left_alone(
    tmp_path: Path, centre: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "TIMEOUT_S", 0.5)
    patient = Patient(tmp_path / "unit", centre.port).write()
    with socket.socket(socket.AF_UNIX) as hung:  # it takes calls and never answers
        hung.bind(str(patient.state_dir / control.FILE))
        hung.listen()
        report = patient.examine()
    patient.close()
    found = not_well(report.findings)
    assert "journalctl -u tentwatch shows where" in found["service.running"][1]
    assert found["store.file"][0] == "not_tried"
    assert {found[f"sensor.{name}"][0] for name in SENSORS} == {"not_tried"}
    assert not patient.hardware.bus.users


def test_what_a_power_cut_has_left_of_the_socket_keeps_nobody_from_looking(
    tmp_path: Path, centre: Broker
) -> None:
    patient = Patient(tmp_path / "unit", centre.port).write()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(patient.state_dir / control.FILE))
    report = patient.examine()
    patient.close()
    assert_found(report, STOPPED)


# What is printed


def test_json_is_one_document_in_english_whatever_the_terminal_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from technician import cli

    monkeypatch.setenv("LANGUAGE", "uk")
    missing = tmp_path / "none.toml"
    unit = ["--config", str(missing), "--state-dir", str(tmp_path)]
    code = cli.main(["doctor", *unit])
    assert re.search("[а-я]", capsys.readouterr().out), "the terminal is not in Ukrainian"
    assert cli.main(["doctor", "--json", *unit]) == code == 2
    printed = capsys.readouterr().out
    assert not re.search("[а-я]", printed)
    document = json.loads(printed)
    assert document["ok"] is False
    assert document["software"]
    checks = {check["key"]: check for check in document["checks"]}
    assert all(set(check) == {"key", "verdict", "seen", "cure"} for check in checks.values())
    assert "copy the sample" in checks["config.file"]["seen"]
    assert checks["disk.space"]["verdict"] == "pass"


@pytest.mark.parametrize("width", [40, 80])
def test_lines_fit_the_terminal_and_need_no_colour(reports: dict[str, Report], width: int) -> None:
    for report in reports.values():
        printed = [*doctor.lines(report, width, is_coloured=False)]
        assert max(map(len, printed)) <= width or any(
            len(word) > width - 10 for line in printed for word in line.split()
        )
        assert "\033" not in "".join(printed)
        for finding in report.findings:
            word = doctor.SHOWN[finding.verdict][0]
            assert any(line.split()[:2] == [word, finding.key] for line in printed), finding.key


def test_colour_is_of_the_verdict_only(reports: dict[str, Report]) -> None:
    coloured = [*doctor.lines(reports["too hot"], 80, is_coloured=True)]
    plain = [*doctor.lines(reports["too hot"], 80, is_coloured=False)]
    assert [line for line in coloured if line.startswith("\033[31mFAIL")]
    assert [line.replace("\033[0m", "").partition("m")[2] if "\033" in line else line
            for line in coloured] == plain  # fmt: skip


# A device of another kind


@pytest.mark.parametrize(
    ("name", "values", "seen"),
    [
        ("charger", {"charge_pct": 71.0, "current_a": -4.0}, "a Victron battery monitor"),
        ("battery", {"charger_state": 3.0, "panel_power_w": 162.0}, "a Victron solar charger"),
        ("charger", {"charger_state": 3.0, "panel_power_w": 162.0}, ""),
        ("battery", {"charge_pct": None, "current_a": -4.0}, ""),
        ("battery", {"consumed_ah": -3.0}, ""),
    ],
)
def test_doctor_names_a_device_that_is_for_another_sensor(
    name: str, values: dict[str, float | None], seen: str
) -> None:
    text = f"{TENT.format(id='ve', port=1883, broker='', battery='')}[sensors.{name}]\n"
    config = parse(f'{text}driver = "vedirect"\nport = "/dev/ttyUSB0"\n')
    unit = Unit(config)
    for quantity, value in {"voltage_v": 13.3, **values}.items():
        unit.take(unit.reading(name, quantity, value))
    status = {"sensors": unit.tent.sensors(unit.now()), **unit.snapshot()}
    texts = [found.seen.english() for found in plausible.sensors(config, status)[1]]
    assert (f"the device is {seen}" in texts) is bool(seen)


# Carbon monoxide


@pytest.mark.parametrize(
    ("co_ppm", "quality", "verdict", "seen", "cure"),
    [
        (29.9, Quality.OK, "pass", "29.9 ppm", ""),
        (30.0, Quality.OK, "warning", "30 ppm of carbon monoxide", "open the tent"),
        (100.0, Quality.OK, "fail", "100 ppm of carbon monoxide", "everybody out"),
        (None, Quality.STARTING, "warning", "it warms up", "wait for three minutes"),
    ],
)
def test_doctor_names_gas_and_a_sensor_that_warms_up(
    co_ppm: float | None, quality: Quality, verdict: str, seen: str, cure: str
) -> None:
    text = f"{TENT.format(id='gas', port=1883, broker='', battery='')}[sensors.co]\n"
    config = parse(f'{text}driver = "ze07co"\nport = "/dev/ttyUSB0"\n')
    unit = Unit(config)
    unit.take(unit.reading("co", "co_ppm", co_ppm, quality))
    status = {"sensors": unit.tent.sensors(unit.now()), **unit.snapshot()}
    (found,) = plausible.sensors(config, status)[1]
    assert found.verdict == verdict
    assert seen in found.seen.english()
    assert cure in ("" if found.cure is None else found.cure.english())


# Alerts of warmth and air


@pytest.mark.parametrize(
    ("alert", "key", "cure"),
    [
        ("cold", "sensor.inside", "look at the heater"),
        ("co_warning", "sensor.co", "open the tent"),
        ("co_alarm", "sensor.co", "everybody out"),
        ("co_sensor_old", "sensor.co", "write the day as fitted in [co]"),
        ("co_sensor_test", "sensor.co", "hold a match below it"),
    ],
)
def test_an_alert_of_warmth_or_air_is_found_at_its_sensor(alert: str, key: str, cure: str) -> None:
    fitted = with_air(config("mains"))
    tent = Unit(fitted)
    tent.wait(
        5,
        mains={"present": True},
        inside={"temperature_c": 18.0, "humidity_pct": 40.0},
        outside={"temperature_c": -5.0},
        co={"co_ppm": 0.0},
    )
    status = {"sensors": tent.tent.sensors(tent.now()), **tent.snapshot()}
    assert status["alerts"] == []
    _, well = plausible.sensors(fitted, status)
    assert {finding.verdict for finding in well} == {Verdict.PASS}
    _, found = plausible.sensors(fitted, status | {"alerts": [alert]})
    odd = {f.key: str(f.cure) for f in found if f.verdict is not Verdict.PASS}
    assert list(odd) == [key]
    assert cure in odd[key]
