"""Warmth and carbon monoxide on the screen: a line in normal times, on top where they matter."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from technician.screen import air
from tests.conftest import Unit, all_well, wait_for
from tests.terminals import Terminal
from tests.test_technician_client import answering

COLUMNS, LINES = 80, 24
LANGUAGES = ("en", "uk")
#: By language: the alarm's headline, the last words of what to do, and the last line of a watched page.
ALARM = {
    "en": ("DANGER: CARBON MONOXIDE, 320 ppm", "no certified alarm", "q ends"),
    "uk": ("НЕБЕЗПЕКА: ЧАДНИЙ ГАЗ, 320 ppm", "не замінює сертифікованого", "q: вийти"),
}

#: The end of a printed status.
END = "╯\n*$"


def quiet() -> dict[str, Any]:
    """Return what a status has of a warm tent with clean air."""
    return {
        "climate": {"inside_c": 18.2, "outside_c": -6.0, "humidity_pct": 41.0, "quality": "ok"},
        "co": {"ppm": 0.0, "peak_1h_ppm": 0.0, "level": "none", "quality": "ok"},
        "sensors": [{"name": name} for name in ("inside", "outside", "co")],
        "alerts": [],
    }


def line(**changes: Any) -> str:
    text = air.air_text(quiet() | changes)
    return "" if text is None else text.plain


def test_in_normal_times_there_is_one_line() -> None:
    assert line() == "inside 18.2 °C, outside −6.0 °C, humidity 41 %, CO 0 ppm"
    assert air.notice(quiet()) is None


def test_only_what_is_fitted_is_on_it() -> None:
    assert air.air_text({"sensors": [], "alerts": []}) is None
    co_alone = {"sensors": [{"name": "co"}], "co": quiet()["co"], "alerts": []}
    text = air.air_text(co_alone)
    assert text is not None and text.plain == "CO 0 ppm"
    inside = {"inside_c": 18.2, "outside_c": None, "humidity_pct": None, "quality": "ok"}
    assert line(climate=inside, sensors=[{"name": "inside"}]) == "inside 18.2 °C, CO 0 ppm"


def test_what_is_not_measured_is_a_dash_with_its_reason() -> None:
    climate = {"inside_c": None, "outside_c": -6.0, "humidity_pct": None, "quality": "fault"}
    co = {"ppm": None, "peak_1h_ppm": None, "level": "none", "quality": "starting"}
    assert line(climate=climate, co=co) == "inside –, outside −6.0 °C, fault, CO –, starting"


@pytest.mark.parametrize(
    ("alerts", "headline"),
    [
        (["cold"], "It is cold inside: 18.2 °C"),
        (["cold", "co_warning"], "Warning: carbon monoxide, 0 ppm now"),
        (["co_alarm", "cold", "co_warning"], "DANGER: CARBON MONOXIDE, 0 ppm"),
        (["battery_low"], None),
    ],
)
def test_the_most_urgent_comes_alone(alerts: list[str], headline: str | None) -> None:
    found = air.notice(quiet() | {"alerts": alerts})
    assert (found and found.headline) == headline


def test_an_alarm_that_stands_while_the_sensor_is_silent_is_shown() -> None:
    status = {"sensors": [], "alerts": ["co_alarm"]}
    found = air.notice(status)
    assert found is not None and found.headline == "DANGER: CARBON MONOXIDE, –"


def test_carbon_monoxide_is_never_shown_without_what_it_does_not_replace() -> None:
    for alert in ("co_alarm", "co_warning"):
        found = air.notice(quiet() | {"alerts": [alert]})
        assert found is not None and "replaces no certified alarm" in found.advice


# In a terminal


@pytest.fixture
def answers(unit: Unit) -> dict[str, dict[str, Any]]:
    """What a unit with every sensor answers to `status` and `recent`."""
    unit.start()
    wait_for(lambda: all_well(unit.status()), "all sensors")
    assert unit.agent is not None
    found = {
        "status": unit.status() | {"climate": quiet()["climate"], "co": quiet()["co"]},
        "recent": unit.agent._ask({"command": "recent"}),
    }
    unit.stop()
    [mains, *_] = found["status"]["sensors"]
    found["status"]["sensors"] += [{**mains, "name": n} for n in ("inside", "outside", "co")]
    points = found["recent"]["points"]
    for name in points:
        points[name] = [None] * 60
    points["co_ppm"] = [5.0 * n for n in range(60)]
    points["inside_c"] = [n / 3 - 5.0 for n in range(60)]
    return found


@contextmanager
def terminal(
    directory: Path, answers: dict[str, dict[str, Any]], command: str, language: str, lines: int
) -> Iterator[Terminal]:
    with answering(directory, lambda request: answers[request["command"]]):
        shown = Terminal(COLUMNS, lines, command, "--state-dir", str(directory), LANGUAGE=language)
        try:
            yield shown
        finally:
            shown.close()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("command", ["watch", "status"])
def test_the_alarm_stands_on_top_across_the_page_and_whole(
    tmp_path: Path, answers: dict[str, dict[str, Any]], command: str, language: str
) -> None:
    answers["status"]["alerts"] = ["co_alarm", "cold", "generator_overload"]
    answers["status"]["co"].update(ppm=320.0, peak_1h_ppm=410.0, level="alarm")
    headline, advice, foot = ALARM[language]
    with terminal(tmp_path, answers, command, language, LINES) as shown:
        shown.wait_for(f"(?s)CO 320 ppm.*{foot if command == 'watch' else END}")
        assert shown.lines()[0] == headline, "nothing has scrolled away"
        said = " ".join(shown.lines())
        assert advice in said
        assert "101" in said and "112" in said
        row = shown.screen.buffer[0]
        assert {row[column].reverse for column in range(COLUMNS)} == {True}
        assert {row[column].fg for column in range(COLUMNS)} == {"red"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("command", ["watch", "status"])
def test_a_tent_with_every_sensor_fits_a_small_terminal(
    tmp_path: Path, answers: dict[str, dict[str, Any]], command: str, language: str
) -> None:
    with terminal(tmp_path, answers, command, language, LINES) as shown:
        shown.wait_for(f"(?s)CO 0 ppm.*{ALARM[language][2] if command == 'watch' else END}")
        assert "demo" in shown.lines()[0], "nothing has scrolled away"
        assert (
            "18.2 °C" in shown.text() and "−6.0 °C" in shown.text() and "CO 0 ppm" in shown.text()
        )


def test_the_last_hour_of_carbon_monoxide_and_warmth_is_drawn(
    tmp_path: Path, answers: dict[str, dict[str, Any]]
) -> None:
    with terminal(tmp_path, answers, "watch", "en", 50) as shown:
        shown.wait_for(r"CO +[▁▂▃▄▅▆▇█]+ 0–295 ppm")
        shown.wait_for(r"inside +[▁▂▃▄▅▆▇█]+ −5–25 °C")
