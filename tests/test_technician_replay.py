"""`tentwatch replay`: a log in, states and events out, in a process of its own."""

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests import contract

ROOT = Path(__file__).parent.parent
TENTWATCH = str(Path(sys.executable).parent / "tentwatch")
PAGE = (ROOT / "docs/replay.md").read_text(encoding="utf-8")


def replay(*arguments: object, log: str | bytes = b"") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [TENTWATCH, "replay", *map(str, arguments)],
        input=log.encode() if isinstance(log, str) else log,
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr
    return done


def printed(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for line in found:
        if "state" in line:
            assert not list(contract.faults("state", line["state"]))
    return found


def lines(*found: dict[str, Any]) -> str:
    return "".join(json.dumps(line) + "\n" for line in found)


def example(name: str) -> str:
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```json\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


def test_the_example_of_the_page_gives_what_the_page_shows(tmp_path: Path) -> None:
    (tmp_path / "tent.jsonl").write_text(example("tent.jsonl"), encoding="utf-8")
    command = re.search(r"`tentwatch (replay --every .*?)` prints", PAGE)
    assert command
    done = subprocess.run(
        [TENTWATCH, *command[1].split()], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    expected = example("output").splitlines()
    found = done.stdout.splitlines()
    assert len(found) == len(expected)
    for line, shown in zip(found, expected, strict=True):
        beginning, more, _ = shown.partition("…")
        assert line.startswith(beginning) if more else line == shown


READING = {"t": 1, "sensor": "battery", "values": {"current_a": -4.2, "voltage_v": 13.1}}


def test_a_bad_line_is_named_after_the_output_of_the_lines_before(tmp_path: Path) -> None:
    log = tmp_path / "a.jsonl"
    log.write_text(lines(READING, {"t": 61}) + "nonsense\n" + lines({"t": 200}))
    done = replay(log)
    assert done.returncode == 2
    assert [line["t"] for line in printed(done) if "state" in line] == [60, 61]
    assert done.stderr.decode().startswith(f"tentwatch: {log}:3: ")


@pytest.mark.parametrize(
    ("line", "about"),
    [
        (b"nonsense", "no JSON"),
        (b'{"t":1', "no JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b"\0\0\0\0", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"[" * 60_000, "no JSON"),
        (b'{"t":' + b"1" * 5000 + b"}", "no JSON"),
        (b'{"t":2,"x":"' + b"a" * 70_000 + b'"}', "longer than"),
        (b"{}", "t is missing"),
        (b'{"t":null}', "t must be a number"),
        (b'{"t":true}', "t must be a number"),
        (b'{"t":"2"}', "t must be a number"),
        (b'{"t":NaN}', "a number that JSON does not know"),
        (b'{"t":1e999}', "t must be a number"),
        (b'{"t":-1}', "t must be a number"),
        (b'{"t":0.5}', "t falls"),
        (b'{"t":1e9}', "leaps"),
        (b'{"t":1e300}', "t must be a number"),
        (b'{"t":2,"speed":1}', "no key"),
        (b'{"t":2,"sensor":"battery","values":{"current_a":1},"door":"door"}', "no key"),
        (b'{"t":2,"sensor":"battery"}', "values must be"),
        (b'{"t":2,"sensor":"battery","values":{}}', "values must be"),
        (b'{"t":2,"sensor":"battery","values":[1]}', "values must be"),
        (b'{"t":2,"sensor":7,"values":{"current_a":1}}', "sensor must be a name"),
        (b'{"t":2,"sensor":"oven","values":{"current_a":1}}', "no sensor oven"),
        (b'{"t":2,"sensor":"battery","values":{"current_a":true}}', "current_a must be a number"),
        (b'{"t":2,"sensor":"battery","values":{"current_a":"1"}}', "current_a must be a number"),
        (b'{"t":2,"sensor":"battery","values":{"current_a":{}}}', "current_a must be a number"),
        (b'{"t":2,"sensor":"battery","values":{"current_a":-Infinity}}', "that JSON does not know"),
        (b'{"t":2,"sensor":"battery","values":{"current_a":1e999}}', "that JSON does not know"),
        (b'{"t":2,"sensor":"battery","values":{"":1}}', "must be a name"),
        (b'{"t":2,"sensor":"mains","values":{"present":1}}', "present must be true, false or null"),
        (b'{"t":2,"door":"door","beam":"middle","blocked":true}', "no beam middle"),
        (b'{"t":2,"door":"battery","beam":"outer","blocked":true}', "no door battery"),
        (b'{"t":2,"door":"door","beam":"outer","blocked":1}', "blocked must be true or false"),
        (b'{"t":2,"door":"door","beam":"outer"}', "blocked must be true or false"),
        (b'{"t":2,"command":"dance"}', "unknown command"),
        (b'{"t":2,"command":"status"}', "unknown command"),
        (b'{"t":2,"command":7}', "command must be a name"),
        (b'{"t":2,"command":"headcount"}', "people must be a whole number"),
        (b'{"t":2,"command":"headcount","people":true}', "people must be a whole number"),
        (b'{"t":2,"command":"headcount","people":-1}', "people must be a whole number"),
        (b'{"t":2,"command":"open","open":"yes"}', "open must be true or false"),
        (b'{"t":2,"command":"zero","sensor":""}', "name of a sensor"),
        (b'{"t":2,"restart":true}', "restart must be"),
        (b'{"t":2,"restart":{}}', "off_s is missing"),
        (b'{"t":2,"restart":{"off_s":-1}}', "off_s must be a number"),
        (b'{"t":2,"restart":{"off_s":1,"reboot":1}}', "reboot must be"),
        (b'{"t":2,"restart":{"off_s":1,"reboot":true}}', "synced must be"),
        (b'{"t":2,"restart":{"off_s":1,"sync":true}}', "no key"),
        (b'{"t":2,"wall":"yesterday"}', "wall must be a time"),
        (b'{"t":2,"wall":1763834400}', "wall must be a time"),
        (b'{"t":2,"wall":"2026-11-22T18:00:00"}', "wall must be a time"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_line_is_said(line: bytes, about: str) -> None:
    others = ({"t": 0, "sensor": "mains", "values": {"present": True}},
              {"t": 0, "door": "door", "beam": "outer", "blocked": False}, READING)  # fmt: skip
    done = replay("-", log=lines(*others).encode() + line + b"\n")
    assert done.returncode == 2
    assert about in done.stderr.decode()
    assert done.stderr.decode().startswith("tentwatch: -:4: ")
    assert [line["t"] for line in printed(done)] == [1]


@pytest.mark.parametrize("log", [b"", b"\n\n"])
def test_an_empty_log_is_said_to_be_one(log: bytes) -> None:
    done = replay("-", log=log)
    assert (done.returncode, done.stdout) == (2, b"")
    assert "has no line" in done.stderr.decode()


def test_a_reader_that_goes_away_makes_no_traceback(tmp_path: Path) -> None:
    log = tmp_path / "long.jsonl"
    log.write_text(lines(READING, {"t": 200_000}))
    shell = f"{TENTWATCH} replay --every 1 {log} | head -n 1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


# Captures as logs

CAPTURES = sorted((ROOT / "tests/cases").glob("*/*/input.bin"))


def decoded(capture: Path, *more: str) -> tuple[bytes, list[dict[str, Any]]]:
    command = [TENTWATCH, "decode", capture.parts[-3], str(capture), "--replay", *more]
    done = subprocess.run(command, capture_output=True, check=True)
    return done.stdout, [json.loads(line) for line in done.stdout.splitlines()]


def known(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a frame or a reading measures."""
    others = {"at_s", "detail"}
    found = {q: v for q, v in values.items() if q not in others and v is not None}
    return {quantity: value for quantity, value in found.items() if not isinstance(value, str)}


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: "-".join(path.parts[-3:-1]))
def test_a_capture_becomes_lines_that_replay_reads(capture: Path) -> None:
    log, said = decoded(capture)
    frames = json.loads((capture.parent / "expected.json").read_text(encoding="utf-8"))["frames"]
    done = replay("-", log=log)
    assert done.returncode == (0 if said else 2), done.stderr
    found = printed(done)
    if any("door" in line for line in said):
        people = {way: sum(f.get(way, 0) for f in frames) for way in ("entered", "left", "passed")}
        capacity = found[-1]["state"]["capacity"]
        assert capacity["passed_total"] == sum(people.values())
        if capacity["entered_total"] is not None:
            assert capacity["entered_total"] == people["entered"]
            assert capacity["left_total"] == people["left"]
    elif capture.parts[-3] != "contact":  # whose state is repeated
        told = [*filter(None, (known(line["values"]) for line in said))]
        assert told == [*filter(None, map(known, frames))]


def test_times_come_from_the_capture_or_from_the_devices_period() -> None:
    _, ina219 = decoded(ROOT / "tests/cases/ina219/charger-50a/input.bin")
    assert [line["t"] for line in ina219[:3]] == [1.05, 2.05, 3.05]
    bmv = ROOT / "tests/cases/vedirect/bmv-hex/input.bin"  # sends two kinds of blocks in turn
    _, found = decoded(bmv)
    assert [line["t"] for line in found[:4]] == [0, 0, 1, 1]
    _, found = decoded(bmv, "--period", "2.5")
    assert [line["t"] for line in found[:4]] == [0, 0, 2.5, 2.5]


def test_a_device_is_taken_for_what_it_says_or_for_what_is_named() -> None:
    meter = ROOT / "tests/cases/pzem004t/clean/input.bin"
    assert decoded(meter)[1][0]["sensor"] == "generator"
    assert decoded(meter, "--sensor", "mains")[1][0]["sensor"] == "mains"
    assert decoded(ROOT / "tests/cases/vedirect/mppt-day/input.bin")[1][0]["sensor"] == "charger"
    command = [TENTWATCH, "decode", "pzem004t", str(meter), "--replay", "--sensor", "door"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def test_a_contacts_state_is_told_once_a_second() -> None:
    _, said = decoded(ROOT / "tests/cases/contact/mains-for-half-a-minute/input.bin")
    states = [line["values"]["present"] for line in said if line["t"] % 1 < 0.01]
    assert states.count(True) >= 29
    steps = [b["t"] - a["t"] for a, b in pairwise(said)]
    assert max(steps) <= 1.01


def test_the_command_of_the_page_turns_a_capture_into_a_log(tmp_path: Path) -> None:
    command = re.search(r"\n(tentwatch decode .*? \| tentwatch replay .*?)\n", PAGE)
    assert command
    capture = (ROOT / "tests/cases/vedirect/smartshunt-clean/input.bin").read_bytes()
    (tmp_path / "battery.bin").write_bytes(capture)
    (tmp_path / "tentwatch.toml").write_text(
        '[tent]\nid = "a"\nseats = 1\n[broker]\nhost = "h"\n'
        '[sensors.battery]\ndriver = "vedirect"\nport = "/dev/x"\n'
    )
    run = command[1].replace("tentwatch decode", f"{TENTWATCH} decode")
    run = run.replace("tentwatch replay", f"{TENTWATCH} replay")
    done = subprocess.run(["bash", "-c", run], cwd=tmp_path, capture_output=True, check=True)
    assert printed(done)[-1]["state"]["power"]["battery"]["charge_pct"] is not None
