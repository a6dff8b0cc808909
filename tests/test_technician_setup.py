"""`tentwatch setup` with simulated devices under the real search, and a technician who types."""

import codecs
import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from publisher.config import load as config
from sensors.clock import Monotonic
from sensors.finding import waving
from sensors.serial_port import SerialPort
from sensors.simulated.ds18b20 import Probe
from sensors.simulated.hardware import INNER_GPIO, OUTER_GPIO, SimulatedHardware
from sensors.simulated.jbd import Bms
from sensors.simulated.pzem004t import Line, Meter
from sensors.simulated.sht4x import Thermometer
from technician import cli
from technician.setup import setup
from tests.conftest import PATIENCE_S, wait_for
from tests.test_sensors_chips import KINDS, Registers
from tests.test_technician_cli import MINIMAL, TENTWATCH

BY_ID = "usb-VictronEnergy_BV_VE_Direct_cable_VE46V0KL-if00-port0"
BASIC = ("--id", "UA-1", "--host", "broker.example.org")
LAST = waving.GPIOS[-1]
SECRET = "gr0ße Tanne"


class Place:
    """A unit below a folder: its devices, its configuration and its systemctl."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.root = root
        self.config = root / "etc/tentwatch/tentwatch.toml"
        self.hardware = SimulatedHardware(root, Monotonic())
        self.hardware.root = root
        self.capsys = capsys
        self._patch = monkeypatch
        self._devices: list[Any] = []
        (root / "dev/serial/by-id").mkdir(parents=True)
        self._patch.setattr(
            "technician.setup.fitting.WAVE_S", 5.0
        )  # what fails shall not take long
        self._patch.setattr("technician.setup.fitting.WARM_S", 5.0)
        self._patch.setattr("socket.gethostname", lambda: "raspberrypi")

    def plug_monitor(self) -> None:
        """Plug in a Victron cable, whose device speaks all the time."""
        (self.root / "dev/ttyUSB0").symlink_to(self.hardware.port)
        (self.root / "dev/serial/by-id" / BY_ID).symlink_to("../../ttyUSB0")
        over = threading.Event()

        def speak() -> None:
            while not over.wait(0.05):
                self.hardware.monitor.report(13.2, -4.0, 71.5, 600)

        thread = threading.Thread(target=speak, daemon=True)
        thread.start()
        self._devices.append((over.set, thread.join))

    def plug(self, kind: Callable[[Path], Any], name: str) -> Any:
        device = kind(self.root / "dev" / name)
        self._devices.append((device.close,))
        return device

    def plug_thermometers(self, *names: str) -> None:
        self.thermometers = {name: Probe(self.root, name, 18.0) for name in names}

    def warm(self, name: str) -> Callable[[], str]:
        """Return an answer "f" that warms a thermometer as soon as setup has looked at it."""

        one = self.thermometers[name]

        def warm_it() -> None:
            wait_for(one.is_being_read, "a look")
            one.end_conversion()
            one.set_temperature(21.5)

        def find() -> str:
            one.begin_conversion()
            threading.Thread(target=warm_it, daemon=True).start()
            return "f"

        return find

    def has_i2c(self) -> None:
        (self.root / "dev/i2c-1").touch()

    def has_systemd(self, *, running: bool = True, broken: str = "") -> Path:
        """Install a systemctl that records its arguments; it fails at `broken`."""
        (self.root / "run/systemd/system").mkdir(parents=True)
        log, state = self.root / "systemctl.log", self.root / "is-running"
        if running:
            state.touch()
        program = self.root / "bin/systemctl"
        program.parent.mkdir()
        program.write_text(
            f"""#!/bin/sh
[ "$1" = "{broken}" ] && {{ echo "Job failed." >&2; exit 1; }}
case $1 in
is-active) test -e {state}; exit ;;
stop) rm -f {state} ;;
restart) touch {state} ;;
cat) exit 0 ;;
esac
echo "$1" >> {log}
"""
        )
        program.chmod(0o755)
        self._patch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        return log

    def run(self, *flags: object, answers: dict[str, Any] | None = None) -> tuple[int, str, str]:
        """Run the command; `answers` are typed where a question holds the words. Else only Enter is.

        An answer may be a list, for a question that comes again; a function is called before the
        answer that it returns is typed.
        """
        arguments = ["setup", "--config", str(self.config), *map(str, flags)]
        self._patch.setattr(sys, "stdin", Technician(self.capsys, answers or {}))
        options = cli.parsed(arguments)
        assert options is not None
        code = cli.exit_code(lambda: setup.run(options, self.hardware))
        told = self.capsys.readouterr()
        technician = sys.stdin
        assert isinstance(technician, Technician)
        assert not technician.left(), "a question did not come"
        self.screen = technician.read_so_far + told.out
        return code, " ".join(self.screen.split()), told.err

    def written(self) -> dict[str, Any]:
        config.load(self.config)
        return tomllib.loads(self.config.read_text())

    def close(self) -> None:
        for steps in self._devices:
            for step in steps:
                step()
        self.hardware.close()


class Technician:
    """Standard input from a person who reads the screen."""

    def __init__(self, capsys: Any, answers: dict[str, Any]) -> None:
        self.read_so_far = ""
        self._patience = 50  # no dialogue is that long
        self._capsys = capsys
        self._answers = {k: list(v) if isinstance(v, list) else [v] for k, v in answers.items()}

    def readline(self) -> str:
        self._patience -= 1
        assert self._patience, self.read_so_far[-1000:]
        new = self._capsys.readouterr().out
        self.read_so_far += new + "\n"  # as a terminal shows what is typed
        question = " ".join(new.split())
        # The question comes last; earlier text may contain the words of another question.
        words = max(self._answers, key=question.rfind, default="")
        answers = self._answers.get(words)
        if words not in question or not answers:
            return "\n"
        answer = answers.pop(0)
        typed = answer() if callable(answer) else answer
        return "" if typed is None else f"{typed}\n"

    def left(self) -> list[str]:
        return [words for words, answers in self._answers.items() if answers]

    def isatty(self) -> bool:
        return False


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Iterator[Place]:
    place = Place(tmp_path, monkeypatch, capsys)
    yield place
    place.close()


def wave(hardware: SimulatedHardware, gpio: int, *, away: bool = True) -> Callable[[], str]:
    """Return an answer "f" that moves a hand through a beam while the lines are watched."""
    pins = hardware.pins

    def pass_hand() -> None:
        # All of them: each by itself is watched for a moment to see whether it is free.
        wait_for(lambda: pins.is_watched(gpio) and pins.is_watched(LAST), "somebody to watch")
        now_s = pins.ticks()
        pins.set_cable(gpio, away, now_s)
        pins.set_cable(gpio, not away, now_s + 0.2)

    def find() -> str:
        threading.Thread(target=pass_hand, daemon=True).start()
        return "f"

    return find


# The whole dialogue


def test_a_unit_is_set_up_from_nothing(place: Place) -> None:
    log = place.has_systemd()
    place.plug_monitor()
    place.plug(Meter, "ttyUSB1").line = Line(current_a=4.0)
    place.plug(Bms, "ttyACM0")
    place.has_i2c()
    place.hardware.bus.chips[0x41] = Registers(KINDS["PCA9685"])
    code, out, err = place.run(
        answers={
            "Stop it meanwhile": "y",
            "AC meter (PZEM-004T)? 1 mains": "1",
            "INA219 at 0x40? 1": "1",
            "Victron battery monitor: there is a device for battery": "y",
            "What sees people": "1",
            "OUTER BEAM": wave(place.hardware, OUTER_GPIO),
            "INNER BEAM": wave(place.hardware, INNER_GPIO),
            "contact on the line": "y",
            "the contact:": "27",
            "Id of": ["", "a b", "UA-32-0417"],
            "Name for": "Буча, спортзал",
            "Seats": ["many", "80"],
            "Latitude": ["50,5", "50,5469 30,2120"],
            "Name or address": ["mqtt://u:geheim@h", "broker.example.org"],
            "Password": SECRET,
        }
    )
    assert (code, err) == (0, "")
    found = place.written()
    by_id = str(place.root / "dev/serial/by-id" / BY_ID)
    assert found["tent"] == {
        "id": "UA-32-0417", "name": "Буча, спортзал", "seats": 80, "latitude": 50.5469,
        "longitude": 30.212, "timezone": "Europe/Kyiv",
    }  # fmt: skip
    password = place.config.with_name("password")
    assert found["broker"] == {
        "host": "broker.example.org", "tls": True, "port": 8883, "username": "UA-32-0417",
        "password_file": str(password),
    }  # fmt: skip
    assert found["sensors"] == {
        "mains": {"driver": "pzem004t", "port": str(place.root / "dev/ttyUSB1")},
        "battery": {"driver": "vedirect", "port": by_id},
        "generator": {"driver": "ina219", "shunt_ohms": 0.0015, "max_current_a": 50.0},
        "door": {"driver": "beams", "outer_gpio": OUTER_GPIO, "inner_gpio": INNER_GPIO,
                 "blocked_level": "high"},
        "mains_line": {"driver": "contact", "gpio": 27},
    }  # fmt: skip
    assert password.read_text() == SECRET + "\n"
    assert password.stat().st_mode & 0o777 == 0o600
    assert log.read_text().split() == ["stop", "restart"]
    assert "PCA9685 at 0x41 on I2C bus 1: left alone" in out
    assert SECRET not in out
    # Wrong answers are explained with the configuration's own words.
    for words in ("1 to 64 of A-Z a-z 0-9 - _", "people that the tent is meant for", "geheim"):
        assert (words in out) == (words != "geheim"), words
    assert max(map(len, place.screen.splitlines())) <= 80
    assert place.hardware.bus.users == 0


PREVIOUS = """\
# By hand.
[tent]
id = "UA-1"   # as on the label
seats = 60
[broker]
host = "broker.example.org"
keepalive_s = 10
username = "someone"
password_file = "/elsewhere/password"
[generator]
# It is a small one.
rated_w = 2200
running_a = 3.0
[sensors.generator]
driver = "ina219"
shunt_ohms = 0.001
max_current_a = 75
reversed = true   # wired so
[sensors.battery]
driver = "vedirect"
port = "{port}"
silence_s = 9
[sensors.charger]
driver = "vedirect"
port = "/dev/gone"
"""


def configured(place: Place, text: str) -> None:
    place.config.parent.mkdir(parents=True)
    place.config.write_text(text)


def test_what_was_configured_is_the_default_and_nothing_of_it_gets_lost(place: Place) -> None:
    configured(place, PREVIOUS.format(port=place.hardware.port))
    place.plug_monitor()
    place.has_i2c()
    before = place.config.read_text()
    answers = {"Seats [60]": "75", "What sees people": "3", "INA219 at 0x40? 1": "1"}
    code, out, _ = place.run(answers=answers)
    assert code == 0
    text = before.replace("seats = 60", "seats = 75")
    text = text.replace(str(place.hardware.port), str(place.root / "dev/serial/by-id" / BY_ID))
    # New keys come at the ends of their sections.
    lines = place.config.read_text().splitlines()
    assert [line for line in lines if line not in text.splitlines()] == [
        'timezone = "Europe/Kyiv"', "tls = false", "port = 1883",
    ]  # fmt: skip
    assert [line for line in text.splitlines() if line not in lines] == []
    assert "charger (vedirect) is in the configuration and was not found. Keep it?" in out
    kept = place.config.with_name("tentwatch.toml.old-1")
    assert kept.read_text() == before
    assert str(kept) in out.replace(" ", "")


def test_another_tent_gets_another_user(place: Place) -> None:
    configured(place, MINIMAL.format(port=1883, more='username = "UA-32-0417"\ntls = false\n'))
    assert place.run(answers={"Id of": "UA-2", "What sees people": "3"})[0] == 0
    found = place.written()
    assert (found["tent"]["id"], found["broker"]["username"]) == ("UA-2", "UA-2")
    assert (found["broker"]["tls"], found["broker"]["port"]) == (False, 1883)


def test_the_air_inside_and_outside_is_told_apart_by_the_address(place: Place) -> None:
    place.has_i2c()
    for address in (0x44, 0x45):
        place.hardware.bus.chips[address] = Thermometer(Monotonic())
    answers = {
        "INA219 at 0x40? 1": "1",
        "SHT4x at 0x44? 1 inside": "2",
        "SHT4x at 0x45? 1 inside": "1",
        "What sees people": "3",
    }
    code, out, _ = place.run(*BASIC, answers=answers)
    assert code == 0
    found = place.written()["sensors"]
    assert found["outside"] == {"driver": "sht4x"}
    assert found["inside"] == {"driver": "sht4x", "bus": 1, "address": 0x45}
    assert "SHT4x at 0x44 on I2C bus 1" in out


def test_a_battery_without_a_monitor_is_asked_for_its_capacity(place: Place) -> None:
    place.has_i2c()
    code, _, _ = place.run(
        *BASIC,
        answers={
            "INA219 at 0x40? 1": "2",
            "Amperes": ["0", "100"],
            "Millivolts": ["x", "60"],
            "Kind of battery": ["agm", "lead_acid"],
            "Capacity": ["", "120"],
            "What sees people": "2",
            "the beam": "5",
        },
    )
    assert code == 0
    found = place.written()
    assert found["battery"] == {"chemistry": "lead_acid", "capacity_ah": 120.0}
    assert found["sensors"]["battery"]["shunt_ohms"] == 0.0006
    assert found["sensors"]["battery"]["max_current_a"] == 100.0
    assert found["sensors"]["door"] == {"driver": "beam", "gpio": 5}


def test_a_device_that_says_nothing_can_be_told(place: Place) -> None:
    place.plug(Meter, "ttyUSB0").powered = False
    code, out, _ = place.run(
        *BASIC,
        answers={
            "What is on ttyUSB0?": "2",
            "AC meter (PZEM-004T)? 1": "7",
            "Type one of": "2",
            "What sees people": "3",
        },
    )
    assert code == 0
    port = str(place.root / "dev/ttyUSB0")
    assert place.written()["sensors"] == {"generator": {"driver": "pzem004t", "port": port}}
    assert "An AC meter answers only while there is AC" in out
    assert "ttyUSB0 has no name that stays the same" in out


def test_a_beam_that_is_not_the_only_one_or_the_wrong_way_round_is_asked_again(
    place: Place,
) -> None:
    place.hardware.pins.set_cable(OUTER_GPIO, True)  # a hand is in it, and is taken away

    def free() -> str:
        place.hardware.pins.set_cable(OUTER_GPIO, False)
        return "n"

    code, _, _ = place.run(
        *BASIC,
        "--no-search",
        answers={
            "What sees people": ["1", "1"],
            "OUTER BEAM": [
                wave(place.hardware, OUTER_GPIO, away=False),
                wave(place.hardware, OUTER_GPIO),
            ],
            "INNER BEAM": ["24", "28", "24"],
            "Is it meant so?": free,
        },
    )
    assert code == 0
    assert place.written()["sensors"]["door"] == {
        "driver": "beams", "outer_gpio": OUTER_GPIO, "inner_gpio": 24, "blocked_level": "high",
    }  # fmt: skip


# Thermometers

NO_DOOR = {"What sees people": "3"}


def test_two_thermometers_are_told_apart_by_the_warmth_of_a_hand(place: Place) -> None:
    place.plug_thermometers("28-00000a3c51f2", "28-00000a3c7b2e")
    code, out, _ = place.run(
        *BASIC, answers={**NO_DOOR, "Thermometer inside": place.warm("28-00000a3c7b2e")}
    )
    assert code == 0
    assert "Found: 28-00000a3c7b2e" in out
    assert place.written()["sensors"] == {
        "inside": {"driver": "ds18b20", "device": "28-00000a3c7b2e"},
        "outside": {"driver": "ds18b20", "device": "28-00000a3c51f2"},
    }
    assert max(map(len, place.screen.splitlines())) <= 80
    code, _, _ = place.run(answers=NO_DOOR)
    assert code == 0
    assert place.written()["sensors"]["inside"]["device"] == "28-00000a3c7b2e", "Enter keeps it"


def test_a_thermometer_can_be_named_or_left_out(place: Place) -> None:
    place.plug_thermometers("28-00000a3c51f2", "28-00000a3c7b2e")
    answers: dict[str, Any] = {
        **NO_DOOR,
        "Thermometer inside": ["28-000000000000", "28-00000a3c7b2e"],
        "Thermometer outside": "-",
    }
    code, out, _ = place.run(*BASIC, answers=answers)
    assert code == 0
    assert "28-000000000000 is not on the 1-Wire bus" in out
    assert place.written()["sensors"] == {
        "inside": {"driver": "ds18b20", "device": "28-00000a3c7b2e"}
    }


def test_one_thermometer_is_asked_for_its_place(place: Place) -> None:
    place.plug_thermometers("28-00000a3c51f2")
    code, _, _ = place.run(
        *BASIC, answers={**NO_DOOR, "What does this measure: 28-00000a3c51f2": "2"}
    )
    assert code == 0
    section = {"driver": "ds18b20", "device": "28-00000a3c51f2"}
    assert place.written()["sensors"] == {"outside": section}


def test_without_a_person_two_thermometers_need_a_flag(place: Place) -> None:
    place.plug_thermometers("28-00000a3c51f2", "28-00000a3c7b2e")
    code, out, _ = place.run("--yes", *BASIC)
    assert code == 0
    assert "--sensor inside=ds18b20,device=28-00000a3c51f2" in out
    assert "sensors" not in place.written()
    flag = "inside=ds18b20,device=28-00000a3c7b2e"
    code, _, _ = place.run("--yes", "--sensor", flag)
    assert code == 0
    assert place.written()["sensors"] == {
        "inside": {"driver": "ds18b20", "device": "28-00000a3c7b2e"},
        "outside": {"driver": "ds18b20", "device": "28-00000a3c51f2"},
    }


# By flags alone


def test_flags_answer_everything(place: Place) -> None:
    secret = place.root / "secret"
    secret.write_text(f"{SECRET}\r\n")
    code, out, err = place.run(
        "--yes", "--no-search", *BASIC, "--name", "Буча", "--seats", 200, "--no-tls",
        "--latitude", "50.5", "--longitude", "30", "--region", "UA-32",
        "--timezone", "Europe/Warsaw", "--port", 2883, "--username", "u",
        "--password-file", secret,
        "--sensor", "door=beams,outer_gpio=23,inner_gpio=24",
        "--sensor", "battery=ina219,shunt_ohms=0.0015,max_current_a=50,address=0x41",
        "--set", "battery.chemistry=lifepo4", "--set", "battery.capacity_ah=100",
        "--set", "report.interval_s=30",
    )  # fmt: skip
    assert (code, err) == (0, "")
    password = place.config.with_name("password")
    assert place.written() == {
        "tent": {"id": "UA-1", "name": "Буча", "seats": 200, "latitude": 50.5, "longitude": 30.0,
                 "region": "UA-32", "timezone": "Europe/Warsaw"},
        "broker": {"host": "broker.example.org", "port": 2883, "tls": False, "username": "u",
                   "password_file": str(password)},
        "battery": {"chemistry": "lifepo4", "capacity_ah": 100.0},
        "report": {"interval_s": 30.0},
        "sensors": {
            "door": {"driver": "beams", "outer_gpio": 23, "inner_gpio": 24},
            "battery": {"driver": "ina219", "shunt_ohms": 0.0015, "max_current_a": 50.0,
                        "address": 0x41},
        },
    }  # fmt: skip
    assert password.read_text() == SECRET + "\n"
    assert "can read the password; TLS prevents that" in out
    code, _, _ = place.run("--yes", "--no-search", "--sensor", "door=none", "--region", "")
    assert code == 0
    assert "door" not in place.written()["sensors"]
    assert "region" not in place.written()["tent"]
    assert password.read_text() == SECRET + "\n", "it stays"


def test_what_is_missing_or_wrong_is_named_at_once_with_its_flag(place: Place) -> None:
    log = place.has_systemd()
    code, _, err = place.run("--yes", "--seats", "many", "--sensor", "door=beam,gpio=99",
                             "--sensor", "lamp=led", "--set", "tent.seets=5")  # fmt: skip
    assert code == 2
    for text in (
        "tent.id: is missing", "(--id)", "broker.host: is missing", "(--host)",
        "tent.seats: must be a whole number, not 'many'", "(--seats)", "sensors.door.gpio: is 99",
        "(--sensor door=…)", "sensors.lamp: is not a key", "tent.seets: is not a key",
        "(--set tent.seets=…)",
    ):  # fmt: skip
        assert text in err, text
    assert not place.config.exists()
    assert not log.exists(), "the service is left running"
    place.plug_monitor()
    assert place.run("--seats", "many")[0] == 2, "nobody is asked in vain"


@pytest.mark.parametrize("port", [None, 1883, 8883])
def test_a_unit_that_runs_without_tls_stays_so(place: Place, port: int | None) -> None:
    place.config.parent.mkdir(parents=True)
    line = "" if port is None else f"port = {port}\n"
    place.config.write_text(
        f'[tent]\nid = "UA-1"\nseats = 60\n[broker]\nhost = "b.example.org"\n{line}'
    )
    code, _, err = place.run("--yes", "--no-search", "--name", "Bucha")
    assert (code, err) == (0, "")
    broker = place.written()["broker"]
    assert (broker.get("tls", False), broker.get("port", 1883)) == (False, port or 1883)
    code, _, err = place.run("--yes", "--no-search", "--tls")
    assert (code, err) == (0, "")
    broker = place.written()["broker"]
    assert (broker["tls"], broker["port"]) == (True, 8883)


def test_a_password_file_that_cannot_be_read_is_named(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "notepad.txt"
    arguments = ("--yes", "--no-search", *BASIC, "--password-file", str(file))
    code, _, err = place.run(*arguments)
    assert code == 2
    assert "--password-file: cannot be read (No such file or directory)" in err
    file.write_text("geheim", encoding="utf-16")
    code, _, err = place.run(*arguments)
    assert code == 2
    assert "--password-file: is no UTF-8 text: save it as such" in err
    file.write_text("\n")
    code, _, err = place.run(*arguments)
    assert code == 2
    assert "--password-file: must hold one line: the password" in err
    assert not place.config.exists()


def test_found_devices_are_fitted_without_a_question(place: Place) -> None:
    log = place.has_systemd()
    place.plug_monitor()
    place.has_i2c()
    code, _, err = place.run("--yes", *BASIC)
    assert (code, err) == (0, "")
    assert set(place.written()["sensors"]) == {"battery", "generator"}
    assert log.read_text().split() == ["stop", "restart"]


@pytest.mark.parametrize(
    ("host", "cure"),
    [
        ("broker.example.org:8883", "write that as port beside it (--host)"),
        ("mqtts://broker.example.org", "mean tls = true"),
        ("demo:geheim@broker.example.org", "the user is username"),
    ],
)
def test_a_host_that_cannot_work_is_refused_with_its_cure(
    place: Place, host: str, cure: str
) -> None:
    code, _, err = place.run("--yes", "--no-search", *BASIC, "--host", host)
    assert code == 2
    assert "broker.host: must be the broker's name or address" in err
    assert cure in err
    assert "geheim" not in err


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe\0", "is no UTF-8 text"),
        (b" \n", "must hold one line"),
        (b"one\ntwo\n", "must hold one line"),
    ],
)
def test_what_is_no_password_is_refused(place: Place, content: bytes, why: str) -> None:
    secret = place.root / "secret"
    secret.write_bytes(content)
    code, _, err = place.run("--yes", *BASIC, "--no-search", "--password-file", secret)
    assert code == 2
    assert f"--password-file: {why}" in err
    assert not place.config.exists()


def test_a_dry_run_changes_nothing(place: Place) -> None:
    log = place.has_systemd()
    secret = place.root / "secret"
    secret.write_text(SECRET)
    code, out, _ = place.run("--yes", "--dry-run", *BASIC, "--password-file", secret)
    assert code == 0
    assert "id UA-1" in out
    assert "Nothing is written." in out
    assert not place.config.parent.exists()
    assert not log.exists()


# What goes wrong


def leave() -> str:
    raise KeyboardInterrupt


def hang_up() -> str:
    os.kill(os.getpid(), signal.SIGHUP)
    return "never typed"


@pytest.mark.parametrize("end", [leave, hang_up, lambda: None], ids=["Ctrl-C", "hung up", "Ctrl-D"])
@pytest.mark.parametrize("question", ["What sees people", "Id of", "Password", "Write this"])
def test_whoever_leaves_has_changed_nothing(place: Place, question: str, end: Any) -> None:
    log = place.has_systemd()
    configured(place, MINIMAL.format(port=1883, more='username = "u"'))
    before = place.config.read_text()
    code, out, _ = place.run(answers={"What sees people": "3", question: end})
    assert code == 1
    assert "nothing was changed" in out
    assert [file.name for file in place.config.parent.iterdir()] == ["tentwatch.toml"]
    assert place.config.read_text() == before
    assert log.read_text().split() == ["stop", "restart"], "the tent is counted again"


def test_a_no_at_the_end_changes_nothing(place: Place) -> None:
    log = place.has_systemd()
    assert place.run(*BASIC, answers={"What sees people": "3", "Write this": "n"})[0] == 1
    assert not place.config.exists()
    assert log.read_text().split() == ["stop", "restart"]


def test_a_service_that_does_not_start_is_reported_and_the_configuration_stays(
    place: Place,
) -> None:
    place.has_systemd(running=False, broken="restart")
    code, _, err = place.run("--yes", *BASIC)
    assert code == 1
    assert "tentwatch cannot be started: Job failed." in err
    assert place.written()["tent"]["id"] == "UA-1"


def test_a_port_that_the_service_keeps_is_reported(place: Place) -> None:
    place.has_systemd()
    place.plug_monitor()
    user = SerialPort(str(place.hardware.port), 19200)
    user.open()
    code, out, _ = place.run(*BASIC, answers={"Stop it": "n", "What sees people": "3"})
    user.close()
    assert code == 0
    assert f"{BY_ID}: another program is using it" in out
    assert "sensors" not in place.written()


def test_a_configuration_that_is_no_toml_is_kept_and_begun_anew(place: Place) -> None:
    configured(place, "[tent\nid = ")
    code, out, _ = place.run("--yes", "--no-search", *BASIC)
    assert code == 0
    assert "is not TOML" in out
    assert place.config.with_name("tentwatch.toml.old-1").read_text() == "[tent\nid = "


def test_a_fault_in_a_key_that_is_not_asked_for_is_named(place: Place) -> None:
    configured(place, MINIMAL.format(port=1883, more="[store]\nmax_mib = 1\n"))
    code, _, err = place.run("--no-search", answers={"What sees people": "3"})
    assert code == 2
    assert "store.max_mib: is 1" in err


def test_an_answer_that_another_one_spoils_is_asked_for_again(place: Place) -> None:
    more = 'tls = true\ncert_file = "/c"\nkey_file = "/k"'
    configured(place, MINIMAL.format(port=1883, more=more))
    code, out, _ = place.run(
        "--no-search", answers={"What sees people": "3", "Encrypt": ["n", "y"]}
    )
    assert code == 0
    assert "must be true for ca_file and cert_file to have an effect" in out
    assert place.written()["broker"]["tls"] is True


def test_without_devices_or_gpio_it_goes_on(place: Place) -> None:
    place.hardware.pins.failure = OSError("no chip")
    answers = {"What sees people": "1", "OUTER BEAM": ["f", "23"], "INNER BEAM": "24"}
    code, out, _ = place.run(*BASIC, answers=answers)
    assert code == 0
    told = out
    assert "No sensor was recognised" in told
    assert "There is no I2C bus" in told
    assert "cannot be used (no chip)" in told
    assert place.written()["sensors"]["door"]["outer_gpio"] == 23


# In a terminal of its own


class Terminal:
    """The program in a pseudo-terminal."""

    def __init__(self, *arguments: object) -> None:
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a letter may come in two parts
        self._far, near = pty.openpty()
        self._process = subprocess.Popen(
            [*TENTWATCH, "setup", *map(str, arguments)],
            stdin=near, stdout=near, stderr=near, close_fds=True,
            env=os.environ | {"TERM": "dumb", "PATH": "/nowhere", "LANGUAGE": "en"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(near)

    def expect(self, words: str) -> None:
        """Read until the words come."""
        before = len(self.text)
        limit_s = time.monotonic() + PATIENCE_S
        while words not in self.text[before:]:
            ready, _, _ = select.select([self._far], [], [], max(0.0, limit_s - time.monotonic()))
            assert ready, f"waited in vain for {words}: {self.text}"
            self.text += self._decoder.decode(os.read(self._far, 4096))

    def answer(self, words: str, answer: str) -> None:
        self.expect(words)
        os.write(self._far, answer.encode() + b"\n")

    def leave(self) -> None:
        """Press Ctrl-C, and again where it came a moment before the program began to read."""
        for _ in range(int(PATIENCE_S)):
            with contextlib.suppress(OSError):  # it has ended
                os.write(self._far, b"\x03")
                while select.select([self._far], [], [], 1.0)[0]:
                    self.text += self._decoder.decode(os.read(self._far, 4096))
            if "nothing was changed" in self.text:
                return

    def end(self) -> int:
        with contextlib.suppress(OSError):  # the near end is closed
            while select.select([self._far], [], [], PATIENCE_S)[0]:
                self.text += self._decoder.decode(os.read(self._far, 4096))
        code = self._process.wait(PATIENCE_S)
        os.close(self._far)
        assert "Traceback" not in self.text
        return code


def test_the_dialogue_in_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "etc/tentwatch.toml"
    terminal = Terminal("--config", file, "--no-search")
    for words, answer in (
        ("Number [1]:", "1"), ("OUTER BEAM", "23"), ("INNER BEAM", "24"), ("mains is there?", "n"),
        ("Id of", "UA-5"), ("Name for", ""), ("Seats [60]:", ""), ("none:", ""), ("Region", ""),
        ("Time zone", ""), ("Name or address", "b.example.org"), ("Encrypt", ""), ("Port", ""),
        ("authority", ""), ("[UA-5]:", ""), ("Password", SECRET), ("Write this", ""),
    ):  # fmt: skip
        terminal.answer(words, answer)
    assert terminal.end() == 0
    assert SECRET not in terminal.text
    assert config.load(file).tent.id == "UA-5"
    assert (tmp_path / "etc/password").read_text() == SECRET + "\n"


@pytest.mark.parametrize("words", ["Number [1]:", "Password"])
def test_ctrl_c_in_a_terminal_ends_it(tmp_path: Path, words: str) -> None:
    file = tmp_path / "etc/tentwatch.toml"
    terminal = Terminal("--config", file, "--no-search", *BASIC)
    if words == "Password":
        terminal.answer("Number [1]:", "3")
        for question in ("mains is there", "Name for", "Seats", "none:", "Region", "Time zone",
                         "Encrypt", "Port", "authority", "User at"):  # fmt: skip
            terminal.answer(question, "")
    terminal.expect(words)
    terminal.leave()
    assert terminal.end() == 1
    assert "nothing was changed" in terminal.text
    assert not file.parent.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_sudo_it_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    program = (
        "import os; from technician import cli; from technician.setup import setup; "
        "os.setuid(65534); raise SystemExit(cli.main())"
    )
    command = [sys.executable, "-c", program, "setup", "--config", str(tmp_path / "x/y.toml")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.PIPE
    )
    assert done.returncode == 1
    assert "cannot be written: use sudo" in done.stderr
    assert done.stdout == ""
