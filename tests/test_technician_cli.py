"""The command line as a technician meets it: in a process of its own, with its exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sensors.clock import Monotonic
from sensors.registry import DRIVERS
from sensors.simulated.vedirect import Monitor
from sensors.simulated.world import TANK_L
from technician import cli, run
from technician.demo.mosquitto import Mosquitto, serves
from technician.terminal import DONE
from tests import contract
from tests.conftest import PATIENCE_S, Broker, Subscriber, wait_for
from tests.terminals import Terminal

TENTWATCH = [str(Path(sys.executable).parent / "tentwatch")]

MINIMAL = """
[tent]
id = "UA-32-0417"
seats = 60

[broker]
host = "127.0.0.1"
port = {port}
{more}
"""


def tentwatch(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*TENTWATCH, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr + done.stdout
    return done


def started(*arguments: object, log: Path, **more: str) -> subprocess.Popen[str]:
    """Start a command; `more` is added to its environment."""
    with log.open("a") as output:
        return subprocess.Popen(
            [*TENTWATCH, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=output, text=True, env=os.environ | more,
        )  # fmt: skip


def ended(process: subprocess.Popen[str], log: Path) -> int:
    process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in log.read_text()
    return process.returncode


def test_without_a_command_all_commands_are_shown() -> None:
    asked, unasked = tentwatch("--help"), tentwatch()
    assert (asked.returncode, unasked.returncode) == (0, 2)
    for command in ("run", "demo", "status", "headcount", "check-config"):
        assert command in asked.stdout
    assert unasked.stderr == asked.stdout


def test_check_config_names_every_fault_with_its_key(tmp_path: Path) -> None:
    file = tmp_path / "tentwatch.toml"
    file.write_text(
        '[tent]\nid = "a b"\nseets = 5\n[broker]\nport = 0\n[sensors.door]\ndriver = "x"\n'
    )
    done = tentwatch("check-config", "--config", file)
    assert done.returncode == 2
    for key in (
        "tent.id",
        "tent.seats",
        "tent.seets",
        "broker.host",
        "broker.port",
        "sensors.door.driver",
    ):
        assert f"{file}: {key}: " in done.stderr
    assert "did you mean seats?" in done.stderr
    as_json = tentwatch("check-config", "--json", "--config", file)
    found = json.loads(as_json.stdout)
    assert as_json.returncode == 2
    assert found["ok"] is False
    assert len(found["faults"]) == len(done.stderr.splitlines())


def test_under_systemd_a_faulty_configuration_is_waited_with_until_it_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a start every other second would fill the journal."""
    file, looks = tmp_path / "tentwatch.toml", []

    def somebody_writes_it(_seconds: float) -> None:
        looks.append(file.exists())
        if len(looks) == 3:
            file.write_text("[tent")

    monkeypatch.setattr(run, "FAULTY_S", 1e9)
    monkeypatch.setattr("technician.run.time.sleep", somebody_writes_it)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert cli.main(["run", "--config", str(file)]) == 2
    assert not looks
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "systemd"))
    assert cli.main(["run", "--config", str(file)]) == 2
    assert looks == [False] * 3
    assert "does not exist" in capsys.readouterr().err


def test_a_faulty_configuration_that_nobody_changes_is_read_again_in_the_end(
    tmp_path: Path,
) -> None:
    class Stopped(Monotonic):
        """A clock that goes on only while somebody sleeps."""

        passed_s = 0.0

        def now_s(self) -> float:
            return self.passed_s

        def sleep(self, seconds: float) -> None:
            self.passed_s += seconds

    clock = Stopped()
    run.wait_for_change(tmp_path / "tentwatch.toml", clock, clock.sleep)
    assert clock.passed_s == run.FAULTY_S


def test_help_names_every_command_and_loads_none() -> None:
    program = """
import sys
from technician import cli
try:
    cli.main(["--help"])
except SystemExit:
    pass
print(sorted({c.module for c in cli.COMMANDS.values()} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    listed = re.findall(r"(?m)^    ([a-z-]+)(?: |$)", done.stdout)
    assert listed == list(cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_command_is_known_by_its_name_and_its_sentence(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == DONE
    told = " ".join(capsys.readouterr().out.split())
    assert told.startswith(f"usage: tentwatch {command} ")
    assert cli.COMMANDS[command].text in told


def test_check_config_is_content_with_a_good_file(tmp_path: Path) -> None:
    file = tmp_path / "tentwatch.toml"
    file.write_text(MINIMAL.format(port=1883, more=""))
    done = tentwatch("check-config", "--config", file)
    assert (done.returncode, done.stderr) == (0, "")


def test_check_config_prints_the_generators_rules_with_their_numbers(tmp_path: Path) -> None:
    file = tmp_path / "tentwatch.toml"
    meter = "[generator]\nrated_w = 4200\nsag_hz = 45.5\n[sensors.generator]\n"
    file.write_text(MINIMAL.format(port=1883, more=meter + 'driver = "pzem004t"\nport = "/p"'))
    done = tentwatch("check-config", "--config", file)
    assert "above 90 % of 4200 W for 60 s" in done.stdout
    assert "below 45.5 Hz for 1 s" in done.stdout
    assert done.stdout.endswith(f"{file} is in order\n")
    found = json.loads(tentwatch("check-config", "--json", "--config", file).stdout)
    names = [rule["name"] for rule in found["rules"]]
    assert "generator_fuel_suspected" in names
    assert all(rule["enters"] for rule in found["rules"])


# Captures


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    """A battery monitor on a serial port, which speaks all the time."""
    device = Monitor(tmp_path / "tty")
    over = threading.Event()

    def speak() -> None:
        while not over.wait(0.02):
            device.report(13.2, -4.0, 71.5, 600)

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    yield device
    over.set()
    thread.join()
    device.close()


def test_what_is_recorded_can_be_decoded(tmp_path: Path, monitor: Monitor) -> None:
    capture, port = tmp_path / "capture.bin", tmp_path / "tty"
    record = ("record", "vedirect", "--port", port, "--seconds", "0.5", "-o", capture)
    done = tentwatch(*record)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(capture.stat().st_size) in done.stdout
    decoded = tentwatch("decode", "vedirect", capture)
    assert decoded.returncode == 0
    frames = [json.loads(line) for line in decoded.stdout.splitlines()]
    assert frames
    for frame in frames:
        assert (frame["voltage_v"], frame["charge_pct"]) == (13.2, 71.5)
    good, bad = map(int, re.findall(r"[0-9]+", decoded.stderr))
    assert good == len(frames)
    assert bad <= 1, "it may begin in the middle of a block"
    again = tentwatch(*record)
    assert again.returncode == 1, "no capture is written over"
    assert "exists" in again.stderr


def test_recording_takes_the_device_from_the_configuration(
    tmp_path: Path, monitor: Monitor
) -> None:
    file, capture = tmp_path / "tentwatch.toml", tmp_path / "capture.bin"
    sensor = '[sensors.{}]\ndriver = "vedirect"\nport = "{}"\n'
    one = sensor.format("battery", tmp_path / "tty")
    file.write_text(MINIMAL.format(port=1883, more=one))
    record = ("record", "vedirect", "--config", file, "--seconds", "0.3", "-o", capture)
    assert tentwatch(*record).returncode == 0
    capture.unlink()
    file.write_text(MINIMAL.format(port=1883, more=one + sensor.format("charger", "/dev/nowhere")))
    refused = tentwatch(*record)
    assert refused.returncode == 2
    assert "battery, charger" in refused.stderr
    assert tentwatch(*record, "--sensor", "battery").returncode == 0
    assert tentwatch("record", "jbd", "--config", file, "-o", tmp_path / "x").returncode == 2


def test_what_cannot_be_recorded_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    capture = tmp_path / "capture.bin"
    done = tentwatch("record", "jbd", "--port", tmp_path / "none", "-o", capture)
    assert done.returncode == 1
    assert str(tmp_path / "none") in done.stderr
    assert "stop it first" in done.stderr
    assert not capture.exists()
    for wrong in (
        ("record", "beams", "--port", "p", "-o", capture),
        ("record", "toaster", "-o", capture),
        ("record", "jbd", "--config", tmp_path / "none.toml", "-o", capture),
    ):
        assert tentwatch(*wrong).returncode == 2


def test_a_device_that_says_nothing_leaves_no_capture_behind(tmp_path: Path) -> None:
    device, capture = Monitor(tmp_path / "tty"), tmp_path / "capture.bin"
    for _ in range(2):
        done = tentwatch(
            "record", "vedirect", "--port", tmp_path / "tty", "--seconds", "0.2", "-o", capture
        )
        assert done.returncode == 1
        assert "sent nothing: check" in done.stderr
        assert not capture.exists()
    device.close()
    nowhere = tmp_path / "none" / "capture.bin"
    done = tentwatch("record", "vedirect", "--port", "p", "-o", nowhere)
    assert done.returncode == 1
    assert f"{nowhere} cannot be written" in done.stderr
    done = tentwatch("record", "jbd", "--port", "p", "--sensor", "battery", "-o", capture)
    assert done.returncode == 2


def test_noise_is_decoded_to_nothing_and_a_missing_file_is_named(tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(bytes(range(256)) * 20)
    for driver in DRIVERS:
        done = tentwatch("decode", driver, noise)
        assert (done.returncode, done.stdout) == (0, ""), driver
        assert done.stderr.startswith("0 good and ")
    done = tentwatch("decode", "vedirect", tmp_path / "none")
    assert done.returncode == 1
    assert "none" in done.stderr


def test_a_zone_by_its_old_name_is_a_warning_and_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian 13 has no old names, unless somebody installs them."""
    file, kyiv = tmp_path / "tentwatch.toml", tmp_path / "zones/Europe/Kyiv"
    text = MINIMAL.format(port=1883, more="")
    file.write_text(text.replace("seats", 'timezone = "Europe/Kiev"\nseats', 1))
    kyiv.parent.mkdir(parents=True)
    kyiv.write_bytes(Path("/usr/share/zoneinfo/Europe/Kyiv").read_bytes())
    monkeypatch.setenv("PYTHONTZPATH", str(tmp_path / "zones"))
    done = tentwatch("check-config", "--config", file)
    assert done.returncode == 0
    assert 'write timezone = "Europe/Kyiv"' in done.stderr
    assert "is in order" in done.stdout
    found = json.loads(tentwatch("check-config", "--json", "--config", file).stdout)
    assert (found["ok"], found["faults"]) == (True, [])
    ((warning),) = found["warnings"]
    assert (warning["key"], warning["code"]) == ("tent.timezone", "config.old_zone")


@pytest.mark.parametrize("command", ["run", "check-config"])
def test_a_missing_configuration_is_named(tmp_path: Path, command: str) -> None:
    done = tentwatch(command, "--config", tmp_path / "none.toml")
    assert done.returncode == 2
    assert "none.toml" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("headcount", "5"),
        ("open",),
        ("close",),
        ("report",),
        ("identify",),
        ("zero", "battery"),
        ("serviced",),
    ],
)
def test_with_no_agent_running_the_commands_say_so(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = tentwatch(*command, "--state-dir", tmp_path)
    assert done.returncode == 1
    assert "not running" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "--speed", "0"), ("demo", "--speed", "nan"), ("demo", "--broker", "nowhere"),
        ("demo", "--seconds", "-1"), ("headcount",), ("headcount", "many"), ("dance",),
    ],
)  # fmt: skip
def test_wrong_usage_is_refused(arguments: tuple[str, ...]) -> None:
    done = tentwatch(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_a_unit_whose_sensors_are_all_missing_runs_and_says_what_is_wrong(
    tmp_path: Path, broker: Broker, subscriber: Subscriber
) -> None:
    """What `run` does on a machine that is no Raspberry Pi and has nothing connected."""
    config = tmp_path / "tentwatch.toml"
    config.write_text(
        MINIMAL.format(port=broker.port, more="")
        + '[sensors.mains]\ndriver = "contact"\ngpio = 17\n'
        + '[sensors.generator]\ndriver = "ina219"\nshunt_ohms = 0.0015\nmax_current_a = 50\nbus = 99\n'
        + '[sensors.battery]\ndriver = "vedirect"\nport = "/dev/no-such-port"\n'
        + '[sensors.door]\ndriver = "beams"\nouter_gpio = 23\ninner_gpio = 24\n'
    )
    log = tmp_path / "log"
    process = started("run", "--config", config, "--state-dir", tmp_path / "state", log=log)

    def all_failed(m: dict[str, Any]) -> bool:
        blocks = [m["capacity"], *(m["power"][k] for k in ("mains", "generator", "battery"))]
        return all(block["quality"] == "fault" for block in blocks)

    state = subscriber.next("state", all_failed).content
    assert state["power"]["source"] == "unknown"
    assert state["capacity"]["people"] is None
    done = tentwatch("status", "--state-dir", tmp_path / "state")
    assert done.returncode == 0
    assert "battery: /dev/no-such-port" in re.sub(r"\s+", " ", done.stdout)
    answer = json.loads(tentwatch("status", "--json", "--state-dir", tmp_path / "state").stdout)
    errors = {s["name"]: s["error"] for s in answer["sensors"]}
    assert "/dev/no-such-port" in errors["battery"]
    assert "I2C bus 99" in errors["generator"]
    assert "GPIO lines" in errors["mains"]
    assert tentwatch("headcount", "12", "--state-dir", tmp_path / "state").returncode == 0
    refused = tentwatch("headcount", "601", "--state-dir", tmp_path / "state")
    assert refused.returncode == 1
    assert "0 to 600" in refused.stderr
    closed = tentwatch("close", "--by", "Olena", "--state-dir", tmp_path / "state")
    assert (closed.returncode, closed.stdout) == (0, "the tent is closed: noted\n")
    assert subscriber.next("event", lambda m: m["event"] == "closed").content["detail"] == {
        "by": "Olena"
    }
    assert tentwatch("open", "--state-dir", tmp_path / "state").returncode == 0
    assert subscriber.next("state", lambda m: m["capacity"]["open"] is True)
    refused = tentwatch("open", "--by", "x" * 41, "--state-dir", tmp_path / "state")
    assert (refused.returncode, "at most 40" in refused.stderr) == (1, True)
    process.send_signal(signal.SIGTERM)
    assert ended(process, log) == 0
    assert subscriber.next("link", lambda m: not m["online"])


def test_nothing_is_lost_when_the_agent_is_killed_while_the_broker_is_away(
    tmp_path: Path, broker: Broker
) -> None:
    """kill -9 in the middle of an outage; every record comes, once, in order."""
    state_dir, log = tmp_path / "state", tmp_path / "log"
    arguments = (
        "demo",
        "--broker",
        f"127.0.0.1:{broker.port}",
        "--state-dir",
        state_dir,
        "--speed",
        60,
    )
    dashboard = Subscriber(broker.port)
    process = started(*arguments, "--truth", tmp_path / "truth1", log=log)
    dashboard.next("state", lambda m: m["seq"] >= 5)
    broker.stop()

    def status() -> dict[str, Any]:
        done = tentwatch("status", "--json", "--state-dir", state_dir)
        found: dict[str, Any] = json.loads(done.stdout or '{"buffer": {"rows": 0}}')
        return found

    wait_for(lambda: status()["buffer"]["rows"] >= 5, "a backlog")
    stored = status()["buffer"]["rows"]
    process.kill()
    process.communicate()
    again = started(*arguments, "--truth", tmp_path / "truth2", log=log)
    wait_for(lambda: status()["buffer"]["rows"] > stored, "the backlog of both runs")
    broker.start()
    dashboard.next("state")
    wait_for(lambda: status()["buffer"]["rows"] <= 1, "the backlog to drain")
    again.send_signal(signal.SIGINT)
    assert ended(again, log) == 0
    dashboard.next("link", lambda m: not m["online"])
    seqs = [r["seq"] for r in dashboard.records()]
    assert seqs == list(range(1, len(seqs) + 1))
    for message in dashboard.received():
        if message.topic.endswith("/history"):
            order = [(r["boot"], r["seq"]) for r in message.content["records"]]
            assert order == sorted(order)
    dashboard.close()
    dashboard.check()


def test_a_killed_unit_is_shown_as_offline_by_its_will(tmp_path: Path, broker: Broker) -> None:
    config = tmp_path / "tentwatch.toml"
    config.write_text(MINIMAL.format(port=broker.port, more='protocol = "3.1.1"'))
    dashboard = Subscriber(broker.port)
    log = tmp_path / "log"
    process = started("run", "--config", config, "--state-dir", tmp_path / "state", log=log)
    born = dashboard.next("link").content
    process.kill()
    process.communicate()
    will = dashboard.next("link").content
    assert (will["online"], will["conn"]) == (False, born["conn"])
    assert "ts" not in will
    dashboard.close()
    dashboard.check()


def test_the_demonstration_reports_what_truly_happens(tmp_path: Path) -> None:
    """An hour and more of the simulated tent: counts and power events equal the truth."""
    truth_file = tmp_path / "truth.jsonl"
    done = tentwatch("demo", "--speed", 600, "--seconds", 7, "--seed", 3, "--truth", truth_file)
    assert done.returncode == 0, done.stderr
    truth = [json.loads(line) for line in truth_file.read_text().splitlines()]
    records: dict[int, dict[str, Any]] = {}
    for line in done.stdout.splitlines():
        topic, _, payload = line.partition(" ")
        message = contract.check(topic, payload)
        for record in message.get("records", [message]):
            if "seq" in record:
                records[record["seq"]] = record
    assert sorted(records) == list(range(1, len(records) + 1))
    last = max((r for r in records.values() if "capacity" in r), key=lambda r: r["seq"])
    happened = [t["what"] for t in truth]
    assert happened.count("entered"), "the first one comes soon, whatever the time of day"
    assert last["capacity"]["entered_total"] == happened.count("entered")
    assert last["capacity"]["left_total"] == happened.count("left")
    events = [r["event"] for r in records.values() if "event" in r]
    for name in ("mains_lost", "generator_started"):
        assert events.count(name) == happened.count(name)
    assert events.count("refuelled") == happened.count("refuelled") + 1, (
        "it begins with a full tank"
    )
    lasting = [r for r in records.values() if r.get("power", {}).get("dark_in_min") is not None]
    on_fuel = [r["power"] for r in lasting if r["power"]["source"] == "generator"]
    assert on_fuel
    for power in on_fuel:
        assert 0 < power["generator"]["fuel_l_low"] < power["generator"]["fuel_l"] <= TANK_L
        assert power["dark_in_min"] > power["battery"]["reserve_min"]
    states = [r for r in records.values() if "climate" in r and r["climate"]["quality"] == "ok"]
    assert states
    for state in states:
        check_air(state, [t for t in truth if t["what"] == "air"])


def check_air(state: dict[str, Any], truth: list[dict[str, Any]]) -> None:
    """Check a state against the air as it was while its values may have been read."""
    now_s, oldest_s = (
        state["uptime_s"],
        2 * 600 + 120,
    )  # stale_after_s at this speed, and two minutes
    air = [t for t in truth if now_s - oldest_s <= t["uptime_s"] <= now_s + 120]
    for key in ("inside_c", "outside_c", "humidity_pct"):
        values = [t[key] for t in air]
        spare = 5.0 if key == "humidity_pct" else 1.0  # somebody may have come in between
        assert min(values) - spare <= state["climate"][key] <= max(values) + spare, key
    ppm = state["co"]["ppm"]
    if ppm is not None:  # a cell lags, and shows no more than there was
        assert 0 <= ppm <= max(t["co_ppm"] for t in truth) + 1.0


def test_the_demonstration_ends_soon_after_ctrl_c(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = started("demo", "--state-dir", tmp_path / "state", log=log)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert ended(process, log) == 0
    assert not (tmp_path / "state" / "control.sock").exists()


def test_the_demonstration_in_a_terminal_leaves_its_last_page(tmp_path: Path) -> None:
    terminal = Terminal(80, 24, "demo", "--speed", "60", TMPDIR=str(tmp_path))
    try:
        terminal.wait_for(r"link +connected")
        lines = [line for line in terminal.lines() if line]
        assert lines[-1] == "Ctrl-C ends the demonstration."
        terminal.resize(100, 30)
        terminal.wait_for(r"(?m)^╭─ Last messages ─{80,}╮$")
        terminal.type("\x03")
        assert terminal.wait() == DONE
        terminal.wait_for("Ctrl-C ends the demonstration")
        assert b"\x1b[?1049l" in terminal.raw, "the page is left"
    finally:
        terminal.close()


def test_demonstrations_that_begin_at_once_have_a_broker_each(tmp_path: Path) -> None:
    one, other = Mosquitto(tmp_path), Mosquitto(tmp_path)
    assert one.port != other.port
    one.close()
    other.close()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_the_demonstrations_broker_ends_with_it(tmp_path: Path, number: signal.Signals) -> None:
    """However it ends: its terminal closes, or it is killed."""
    log = tmp_path / "log"
    process = started("demo", log=log, TMPDIR=str(tmp_path))
    assert process.stdout is not None
    process.stdout.readline()
    (config,) = tmp_path.glob("*/mosquitto.conf")
    found = re.search(r"(?m)^listener (\d+)", config.read_text())
    assert found
    port = int(found[1])
    assert serves(port)
    process.send_signal(number)
    assert ended(process, log) == (0 if number == signal.SIGHUP else -number)
    wait_for(lambda: not serves(port), "the broker to end")
    assert config.exists() == (number == signal.SIGKILL), "what ends in order leaves nothing"


def test_what_is_logged_is_one_line_that_cannot_command_the_terminal() -> None:
    program = """
import logging
from technician.log_lines import to_stderr
to_stderr(logging.INFO)
logging.getLogger("tentwatch").warning("%s", "a device\\x1b[2J says\\nso: Буча")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr
    assert done.stderr.endswith("says so: Буча\n")
