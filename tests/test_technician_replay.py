"""`tentwatch replay`: a log in, states and events out, in a process of its own."""

import json
import re
import subprocess
import sys
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
