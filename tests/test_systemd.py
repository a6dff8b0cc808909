"""The files in systemd/ and docs/install.md, checked against systemd and against the code."""

import ast
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import MISSING
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from publisher import control
from publisher.config import load as config
from publisher.config.battery import CHEMISTRIES
from publisher.config.sections import SECTIONS
from publisher.in_memory import in_memory
from sensors import registry
from technician import cli
from tests.conftest import PATIENCE_S, Broker, wait_for

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "systemd" / "tentwatch.service"
SAMPLE = ROOT / "systemd" / "tentwatch.toml"
INSTALL = ROOT / "docs" / "install.md"
SYMPTOMS = ROOT / "docs" / "symptoms.md"
PROGRAM = Path(sys.executable).with_name("tentwatch")

Settings = dict[str, list[str]]


def run(*command: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **how)


# The unit


def unit_here(directory: Path, text: str) -> Path:
    """Write a unit that starts this machine's program instead of the one in /opt."""
    text, changed = re.subn(
        r"^ExecStart=/opt/tentwatch/bin/tentwatch run$",
        f"ExecStart={PROGRAM} run",
        text,
        flags=re.M,
    )
    assert changed == 1
    unit = directory / UNIT.name
    unit.write_text(text)
    return unit


def complaints(unit: Path) -> str:
    """Return systemd's complaints about a unit; it ends with 0 although it ignores a key."""
    done = run("systemd-analyze", "verify", unit)
    return done.stderr or (f"exit code {done.returncode}" if done.returncode else "")


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    assert complaints(unit_here(tmp_path, UNIT.read_text())) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("WatchdogSec=", "WachtdogSec=", "WachtdogSec"),
        ("clock_adjtime\n", "clock_ajdtime\n", "clock_ajdtime"),
        ("Restart=always", "Restart=allways", "allways"),
    ],
)
def test_a_misspelling_in_the_unit_is_found(
    tmp_path: Path, right: str, wrong: str, named: str
) -> None:
    text = UNIT.read_text().replace("clock_adjtime clock_adjtime64", "clock_adjtime")
    assert text.count(right) == 1
    assert named in complaints(unit_here(tmp_path, text.replace(right, wrong)))


def test_the_unit_exposes_little(tmp_path: Path) -> None:
    unit = unit_here(tmp_path, UNIT.read_text())
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= 2.0, done.stdout


def settings(unit: Path = UNIT) -> Settings:
    """Return the settings of the section [Service], each with its values in order."""
    found: Settings = {}
    section = unit.read_text().partition("[Service]\n")[2].partition("[Install]\n")[0]
    for key, value in re.findall(r"^(\w+)=(.*)$", section, re.M):
        found.setdefault(key, []).append(value)
    return found


def test_the_unit_has_a_place_in_memory_that_outlives_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    place = in_memory(tmp_path)
    assert place is not None
    place.rmdir()
    if os.geteuid() == 0:
        assert place.parent == Path("/run") / settings()["RuntimeDirectory"][0]
    assert settings()["RuntimeDirectoryPreserve"] == ["yes"]


# The sandbox: the unit's system call filter and its memory protection, set up as by systemd


@cache
def system_call_sets() -> dict[str, list[str]]:
    sets: dict[str, list[str]] = {}
    for line in run("systemd-analyze", "syscall-filter").stdout.splitlines():
        if line.startswith("@"):
            members = sets.setdefault(line.strip(), [])
        elif line.startswith("    ") and not line.strip().startswith("#"):
            members.append(line.strip())
    return sets


def system_calls(items: list[str]) -> Iterator[str]:
    for item in items:
        if item.startswith("@"):
            yield from system_calls(system_call_sets()[item])
        else:
            yield item


def allowed_calls(unit: Settings) -> set[str]:
    allowed = set(system_calls(["@default"]))
    for line in unit["SystemCallFilter"]:
        named = set(system_calls(line.removeprefix("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    if unit["ProtectClock"] == ["yes"]:
        allowed -= set(system_calls(["@clock"]))
    return allowed


def sandbox(unit: Settings) -> Callable[[], None]:
    """Return a `preexec_fn` that puts a new process under the unit's restrictions for good."""
    seccomp, libc = ctypes.CDLL("libseccomp.so.2"), ctypes.CDLL(None)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    permit, refuse, refused_by_number = 0x7FFF0000, 0x00050000, 1  # ALLOW, ERRNO, EPERM
    no_new_privileges, memory_protection, refuse_exec_gain = 38, 65, 1  # linux/prctl.h
    rules = ctypes.c_void_p(seccomp.seccomp_init(refuse | refused_by_number))
    assert rules.value
    numbers = [seccomp.seccomp_syscall_resolve_name(c.encode()) for c in allowed_calls(unit)]
    for number in numbers:
        if number >= 0:  # others belong to other processors
            assert seccomp.seccomp_rule_add(rules, permit, number, 0) == 0

    def confine() -> None:
        assert unit["NoNewPrivileges"] == unit["MemoryDenyWriteExecute"] == ["yes"]
        assert libc.prctl(no_new_privileges, 1, 0, 0, 0) == 0
        libc.prctl(memory_protection, refuse_exec_gain, 0, 0, 0)  # kernels before 6.3 lack it
        assert seccomp.seccomp_load(rules) == 0

    return confine


ASK_THE_CLOCK = """
import ctypes, sys
from publisher.clock import _Timex
sys.exit(ctypes.CDLL(None).adjtimex(ctypes.byref(_Timex())) < 0)
"""


def test_the_unit_lets_the_agent_ask_whether_the_clock_is_synchronised() -> None:
    ask = (sys.executable, "-c", ASK_THE_CLOCK)
    done = run(*ask, cwd=ROOT, preexec_fn=sandbox(settings()))
    assert done.returncode == 0, done.stderr
    tighter = settings() | {"ProtectClock": ["yes"]}
    assert run(*ask, cwd=ROOT, preexec_fn=sandbox(tighter)).returncode == 1


def test_the_agent_works_under_the_units_restrictions(tmp_path: Path, broker: Broker) -> None:
    text = re.sub(
        r"(?m)^(host|port|tls|username|password_file) = .*\n", "", SAMPLE.read_text(), count=5
    )
    where = f'[broker]\nhost = "localhost"\nport = {broker.port}'
    file, state = tmp_path / "tentwatch.toml", tmp_path / "state"
    file.write_text(text.replace("[broker]", where))

    def status() -> dict[str, Any]:
        return control.ask(state, {"command": "status"})

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE_S)
        manager.bind(str(tmp_path / "notify"))
        agent = subprocess.Popen(
            (PROGRAM, "run", "--config", file, "--state-dir", state),
            env={
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "RUNTIME_DIRECTORY": os.environ["RUNTIME_DIRECTORY"],
            },
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            umask=int(settings()["UMask"][0], 8),
            preexec_fn=sandbox(settings()),
        )
        try:
            assert manager.recv(64) == b"READY=1"
            assert manager.recv(64) == b"WATCHDOG=1"

            wait_for(lambda: bool(status()["link"]["connected"]), "the link")
            # There are no devices here, so each driver must have reported that.
            wait_for(lambda: all(s["error"] for s in status()["sensors"]), "the sensors")
            # Only the agent may open the files; the socket is open to its group as well.
            modes = {f.name: f.stat().st_mode & 0o777 for f in state.iterdir()}
            assert modes.pop(control.FILE) == 0o660
            assert modes
            assert not any(mode & 0o077 for mode in modes.values()), modes
            agent.send_signal(signal.SIGTERM)
            while (said := manager.recv(64)) == b"WATCHDOG=1":
                pass
            assert said == b"STOPPING=1"
            log = agent.communicate(timeout=PATIENCE_S)[1]
            assert agent.returncode == 0, log
            assert "not permitted" not in log.lower()
        finally:
            agent.kill()
            agent.communicate()


# The user


def test_sysusers_makes_the_user_and_the_groups_that_the_unit_names(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "group").write_text("root:x:0:\ndialout:x:20:\n")
    users = (ROOT / "systemd" / "tentwatch.sysusers").read_text()
    done = run("systemd-sysusers", f"--root={tmp_path}", "-", input=users)
    assert done.returncode == 0, done.stderr
    passwd = {line.split(":")[0]: line.split(":") for line in (etc / "passwd").open()}
    groups = {line.split(":")[0]: line.split(":")[2] for line in (etc / "group").open()}
    unit = settings()
    assert set(passwd) == set(unit["User"])
    assert passwd["tentwatch"][3] == groups[unit["Group"][0]]
    assert passwd["tentwatch"][6].strip() == "/usr/sbin/nologin"
    assert set(unit["SupplementaryGroups"][0].split()) <= set(groups)
    assert groups["dialout"] == "20"


# The sample configuration

#: A key of the sample: whether it is set, its name and its value.
KEY = re.compile(r"^(#?)(\w+) = (.*)$", re.M)


def uncommented() -> str:
    return KEY.sub(r"\2 = \3", SAMPLE.read_text())


def known_keys() -> dict[str, list[Any]]:
    """Return the keys of each section, as `config.keys_of` does, with those of the fitted sensors."""
    sections = dict(SECTIONS)
    for name, table in tomllib.loads(SAMPLE.read_text())["sensors"].items():
        sections[f"sensors.{name}"] = registry.config_class(table["driver"])
    return {section: config.keys_of(kind) for section, kind in sections.items()}


def blocks() -> dict[str, str]:
    """Return the text of each section of the sample."""
    parts = re.split(r"^\[([\w.]+)\]$", SAMPLE.read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def other_devices() -> list[str]:
    """Return the sections below "Other devices", without their marks."""
    lines = [line[2:] for line in SAMPLE.read_text().splitlines() if line.startswith("##")]
    return re.split(r"(?m)^(?=\[)", "\n".join(lines))[1:]


def test_the_sample_shows_every_sensor_and_every_driver() -> None:
    sensors = list(config.load(SAMPLE).sensors)
    head = '[tent]\nid = "t"\nseats = 1\n[broker]\nhost = "b"\n'
    head += '[battery]\nchemistry = "lead_acid"\ncapacity_ah = 100\n'
    meter = '[sensors.generator]\ndriver = "pzem004t"\nport = "/p"\n'
    for section in other_devices():
        beside = meter if "_line" in section else ""
        sensors += config.parse(head + beside + section).sensors
    assert {s.name for s in sensors} | {"mains_line"} == set(registry.SENSORS)
    assert {s.driver for s in sensors} == set(registry.DRIVERS)


def test_what_other_devices_show_as_a_default_is_the_default_and_no_key_is_missing() -> None:
    shown: dict[str, set[str]] = {}
    for section in other_devices():
        driver = tomllib.loads(section)["sensors"].popitem()[1]["driver"]
        keys = {key: (mark, value) for mark, key, value in KEY.findall(section) if key != "driver"}
        shown.setdefault(driver, set()).update(keys)
        for key, field, _ in config.keys_of(registry.config_class(driver)):
            mark, value = keys.get(key, ("", ""))
            if mark:
                assert tomllib.loads(f"v = {value}")["v"] == field.default, (driver, key)
    for driver, keys_shown in shown.items():
        known = {key for key, _, _ in config.keys_of(registry.config_class(driver))}
        assert keys_shown <= known
        in_use = {s.driver for s in config.load(SAMPLE).sensors}
        assert driver in in_use or keys_shown == known, driver


def test_the_sample_shows_each_key_once_and_no_other() -> None:
    assert set(blocks()) == set(known_keys())
    for section, text in blocks().items():
        shown = [key for _, key, _ in KEY.findall(text) if key != "driver"]
        assert sorted(shown) == sorted(key for key, _, _ in known_keys()[section]), section


def test_what_the_sample_shows_as_a_default_is_the_default(tmp_path: Path) -> None:
    file = tmp_path / "all.toml"
    file.write_text(uncommented())
    as_it_is, uncovered = config.load(SAMPLE), config.load(file)
    for section, keys in known_keys().items():
        hidden = {key for mark, key, _ in KEY.findall(blocks()[section]) if mark}
        for key, field, _ in keys:
            if key in hidden:
                assert getattr(part(as_it_is, section), key) == field.default, (section, key)
                if field.default is not None:
                    assert getattr(part(uncovered, section), key) == field.default, (section, key)


def part(whole: config.Config, section: str) -> Any:
    head, _, sensor = section.partition(".")
    return (
        next(s.config for s in whole.sensors if s.name == sensor)
        if sensor
        else getattr(whole, head)
    )


def test_the_sample_explains_each_key_and_says_what_holds_without_it() -> None:
    for section, keys in known_keys().items():
        for key, field, _ in keys:
            comment = comment_above(section, key)
            assert comment, (section, key)
            if field.default is None:
                assert "Not set" in comment, (section, key)
            elif field.default is not MISSING and f"#{key} = " not in blocks()[section]:
                assert f"Default: {json.dumps(field.default)}." in comment, (section, key)


def test_the_sample_says_what_is_usual_for_each_kind_of_battery() -> None:
    for key in ("efficiency", "peukert", "rated_hours", "charged_v", "floor_v", "floor_pct"):
        comment = comment_above("battery", key)
        for kind in CHEMISTRIES.values():
            assert f"{getattr(kind, key):g}" in comment.replace("14.0", "14").replace(
                "12.0", "12"
            ), key


def comment_above(section: str, key: str) -> str:
    """Return the comment above a key, or above a group of keys."""
    above = re.split(rf"^#?{key} = ", blocks()[section], flags=re.M)[0]
    above = re.sub(r"(?m)(^#?\w+ = .*\n)+\Z", "", above)
    comment = re.search(r"((?:^# .*\n)+)\Z", above, re.M)
    return "" if comment is None else comment[1]


# The instructions


def code_spans(page: Path = INSTALL) -> list[str]:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.M | re.S)
    return re.findall(r"`([^`]+)`", text)


def test_the_instructions_name_commands_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    named = set(
        re.findall(r"(?:bin/|sudo |tentwatch |`|^)tentwatch ([a-z-]+)", INSTALL.read_text(), re.M)
    )
    assert {"check-config", "status", "headcount"} <= named
    for command in named:
        with pytest.raises(SystemExit) as ended:
            cli.main([command, "--help"])
        assert ended.value.code == 0, command


def test_the_instructions_name_sections_and_keys_that_exist() -> None:
    known = known_keys()
    drivers = [config.keys_of(registry.config_class(driver)) for driver in registry.DRIVERS]
    keys = {key for section in [*known.values(), *drivers] for key, _, _ in section} | {"driver"}
    named = {span.partition(" = ")[0] for span in code_spans() if re.match(r"\w+( = .*)?$", span)}
    assert {"address", "present_level", "password_file"} <= named
    told = {
        word
        for page in ("status", "topics")
        for word in code_spans(INSTALL.with_name(f"{page}.md"))
    }
    assert named <= keys | told | {"q"}  # which ends `tentwatch watch`
    sections = {span[1:-1] for span in code_spans() if span.startswith("[")}
    assert sections
    assert sections <= set(known) | {f"sensors.{name}" for name in registry.SENSORS}


def test_the_instructions_explain_messages_that_the_code_has() -> None:
    """In the tables of messages `…` stands for a value."""
    pages = SYMPTOMS.read_text() + INSTALL.read_text()
    rows = re.findall(r"^\| `([^`]+)`[^|]* \|", pages, re.M)
    assert len(rows) > 100
    written = set(messages_of_the_code())
    for row in rows:
        said = row.removeprefix("alert ").strip("… ")  # the log has the alert's name there
        assert any(said in message for message in written), row


def test_the_cures_name_sections_and_keys_that_exist() -> None:
    known = known_keys()
    named = re.findall(r"(\w+)(?: = \S+)? in \[(\w+)\]", SYMPTOMS.read_text())
    assert {("host", "broker"), ("nominal_v", "battery")} <= set(named)
    for key, section in named:
        assert key in {name for name, _, _ in known[section]}, key


def messages_of_the_code() -> Iterator[str]:
    for file in [
        f for room in ("sensors", "publisher", "technician") for f in (ROOT / room).rglob("*.py")
    ]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "…"
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                # A line of the log, or of the screen.
                yield re.sub(r"%[sr]|\{[^}]*\}", "…", node.value)


def test_the_instructions_install_files_that_are_there() -> None:
    pages = INSTALL.read_text() + (ROOT / "docs" / "broker.md").read_text()
    named = set(re.findall(r"(?<!/)\bsystemd/[\w./-]+\w", pages))
    files = {file for file in (ROOT / "systemd").rglob("*") if file.is_file()}
    assert {ROOT / name for name in named} == files
