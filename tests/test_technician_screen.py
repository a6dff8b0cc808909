"""What `tentwatch status` and the demonstration show on the smallest terminal, 80 by 24."""

import io
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.segment import Segment

from publisher.rules import alerts, engine_alerts
from sensors.reading import Quality
from sensors.registry import SENSORS
from technician.demo.options import Options
from technician.demo.screen import Screen
from technician.screen.screen import status_screen
from technician.words.contract import DETAILS, FOR_PROGRAMS, WORDS
from tests.conftest import Unit, wait_for
from tests.test_docs import alerts_of_the_agent

WIDTH, HEIGHT = 80, 24
ERROR = (
    "GPIO 17 cannot be used (Unable to load any default pin factory!): check its number, that "
    "nothing else uses it, that python3-lgpio is installed and that this user is in group gpio"
)


@pytest.fixture
def status(unit: Unit) -> dict[str, Any]:
    """The status of a healthy unit."""
    unit.start()

    def is_well() -> bool:
        found = unit.status()
        return found["link"]["connected"] and all(s["quality"] == "ok" for s in found["sensors"])

    wait_for(is_well, "a unit that is well")
    return unit.status()


def lines_of(shown: Any) -> list[str]:
    console = Console(width=WIDTH, file=io.StringIO())
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def texts(page: list[list[Segment]]) -> list[str]:
    """Return the lines of a page without their looks."""
    return ["".join(segment.text for segment in line) for line in page]


def joined(lines: list[str]) -> str:
    """Return the text without its folds."""
    return " ".join(line.strip() for line in lines)


def fail_all(status: dict[str, Any]) -> None:
    for sensor in status["sensors"]:
        sensor.update(quality="fault", age_s=None, error=f"{sensor['name']}: {ERROR}")


def test_the_status_of_a_unit_that_is_well_fits_a_small_terminal(status: dict[str, Any]) -> None:
    lines = lines_of(status_screen(status))
    assert len(lines) < HEIGHT - 1, "the command and the next prompt need a line each"
    assert max(map(len, lines)) <= WIDTH
    assert "…" not in joined(lines)


@pytest.mark.parametrize(
    ("is_open", "end"), [(True, "UTC · open"), (False, "UTC · closed"), (None, "UTC")]
)
def test_whether_the_tent_is_open_stands_at_the_top_once_somebody_has_said_so(
    status: dict[str, Any], is_open: bool | None, end: str
) -> None:
    assert lines_of(status_screen(status | {"open": is_open}))[0].endswith(end)


def test_a_lamp_and_a_buzzer_that_fail_are_named(status: dict[str, Any]) -> None:
    trouble = {"code": "gpio.unusable", "values": {"gpio": 16, "why": "it is taken"}}
    status |= {
        "buzzer_trouble": trouble,
        "lamp_trouble": {"code": "gpio.denied", "values": {"gpio": 18}},
    }
    text = joined(lines_of(status_screen(status)))
    assert "buzzer: GPIO 16 cannot be used (it is taken)" in text
    assert "lamp: GPIO 18 may not be used" in text


def test_long_figures_need_no_second_line(status: dict[str, Any]) -> None:
    power = status["power"]
    power["generator"].update(state="running", current_a=23.4, hours_total=1234.5)
    power["battery"].update(
        charge_pct=84.5, uncertainty_pct=12.0, current_a=-5.0, time_to_empty_min=600.0
    )
    lines = joined(lines_of(status_screen(status)))
    assert "running, 23.4 A, 1234.5 h in all" in lines
    assert "84.5 ± 12 %, -5.0 A, 10.0 h left" in lines


def test_each_fault_is_reported_whole_and_people_and_power_stay_in_sight(
    status: dict[str, Any],
) -> None:
    fail_all(status)
    status["link"]["error"] = "broker.example.org is not found: check the name"
    status["store"].update(error="disk full", second_place="card gone")
    lines = lines_of(status_screen(status))
    for sensor in status["sensors"]:
        assert f"{sensor['name']}: {sensor['error']}" in joined(lines)
    assert "link: broker.example.org is not found: check the name" in lines
    assert "store: disk full" in lines
    assert "second place: card gone" in lines
    # What the unit names by a code is shown in the words of this program, in the terminal's language.
    status["link"]["trouble"] = {"code": "link.refused", "values": {"where": "a:1883"}}
    assert "link: a:1883 refuses connections: check port" in joined(lines_of(status_screen(status)))
    assert len(lines) < 40
    in_sight = joined(lines[-(HEIGHT - 1) :])
    assert "People" in in_sight and "Power" in in_sight
    assert status["sensors"][0]["error"] in in_sight, "the faults are seen as well"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (200, 60)])
def test_the_demonstrations_screen_shows_its_last_line(
    status: dict[str, Any], width: int, height: int
) -> None:
    size = os.terminal_size((width, height))
    screen = Screen(
        Options(
            {"host": "127.0.0.1", "port": 18830}, Path("/tmp/tentwatch-abcdefgh/state"), speed=60
        )
    )
    for number in range(20):
        screen.sent("tents/v1/demo/link", f'{{"number": {number}}}')
    lines = texts(screen.page(status, size))
    assert len(lines) == min(height, 32), "all of a small terminal is used"
    assert lines[-1].strip() == "Ctrl-C ends the demonstration."
    assert '{"number": 19}' in joined(lines), "the newest message"
    status["sensors"][0].update(quality="fault", error=ERROR)
    lines = texts(screen.page(status, size))
    assert len(lines) <= height
    assert lines[-1].strip() == "Ctrl-C ends the demonstration."
    assert ERROR in joined(lines)


def test_no_text_from_outside_commands_the_terminal(status: dict[str, Any]) -> None:
    for control in ("\x1b[2J", "\x9b2J", "\x07", "\u202e", "\r\n"):
        status["name"] = f"Буча{control}tent"
        status["link"].update(error=f"link{control}", broker=f"host{control}:1883")
        status["store"]["error"] = f"store{control}"
        status["sensors"][0].update(name=f"door{control}", error=f"sensor{control}")
        screen = Screen(Options({"host": "127.0.0.1", "port": 18830}, Path("state")))
        page = texts(screen.page(status, os.terminal_size((WIDTH, HEIGHT))))
        for lines in (lines_of(status_screen(status)), page):
            assert all(line.isprintable() for line in lines), repr(control)
            assert "Буча" in joined(lines)


def test_every_word_of_the_contract_is_marked_for_the_catalogues() -> None:
    schemas = files("publisher") / "schemas"
    event = json.loads((schemas / "event.json").read_text(encoding="utf-8"))
    names = set(event["properties"]["event"]["examples"])
    names |= {*Quality, "mains", "generator", "battery", "none", "unknown", *SENSORS}
    names |= alerts_of_the_agent() | set(alerts.OWN) | set(engine_alerts.ALERTS)
    assert {name.replace("_", " ") for name in names} <= set(WORDS)


def test_every_detail_of_an_event_has_a_name() -> None:
    event = json.loads((files("publisher") / "schemas" / "event.json").read_text(encoding="utf-8"))
    keys = {key for kind in event["$defs"].values() for key in kind["properties"]}
    assert keys == set(DETAILS) | set(FOR_PROGRAMS)
