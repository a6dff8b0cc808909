"""Calibrating: the arithmetic, and each command on the real agent with simulated devices."""

import io
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from publisher import control
from publisher.config.load import load
from publisher.rules import calibration
from publisher.rules.calibration import UnfitReadings
from sensors import registry
from sensors.clock import Monotonic
from sensors.reading import Measurement
from sensors.simulated.hardware import INNER_GPIO, MAINS_GPIO, OUTER_GPIO
from sensors.traits import ShuntChip
from sensors.trouble import Kind
from technician import cli
from technician.setup import calibrate, config_file
from technician.setup.calibrate import Bench
from technician.terminal import DONE, FAILED, USAGE
from tests.conftest import Unit, wait_for
from tests.test_systemd import SAMPLE

OHMS = 0.0015
CHIP = cast(ShuntChip, registry.traits("ina219").shunt_chip)
STEP_A = calibration.resolution_a(OHMS, CHIP)
SETTINGS: dict[str, Any] = {"shunt_ohms": OHMS, "max_current_a": 50.0, "zero_a": 0.0}


def steady(current_a: float, scatter_a: float = 0.0) -> list[float]:
    return [current_a + scatter_a * (i % 2 - 0.5) for i in range(calibration.READINGS)]


# The arithmetic


def test_a_zero_is_the_mean_and_no_more_than_an_offset() -> None:
    assert calibration.zero(steady(0.08, 0.02), OHMS, CHIP) == 0.08
    assert calibration.zero(steady(-0.3), OHMS, CHIP) == -0.3
    for readings in (steady(0.34), steady(-5.0), steady(0.0, 0.4)):
        with pytest.raises(UnfitReadings, match="a current flows"):
            calibration.zero(readings, OHMS, CHIP)


def test_a_span_is_the_ratio_to_the_clamp_meter_after_the_zero() -> None:
    found = calibration.span(steady(22.1), 20.0, CHIP, **SETTINGS | {"zero_a": 0.1})
    assert found.measured_a == pytest.approx(22.0)
    assert found.factor == pytest.approx(1.1)
    assert found.shunt_ohms == 0.00165
    assert found.zero_a == pytest.approx(0.1 / 1.1, abs=1e-4), "the same voltage"
    assert not found.turned
    assert found.error_pct == pytest.approx(100 * STEP_A / 22.0)


def test_a_sign_that_differs_is_reported_and_turns_the_zero_too() -> None:
    found = calibration.span(steady(-19.9), 20.0, CHIP, **SETTINGS | {"zero_a": 0.1})
    assert found.turned
    assert (found.shunt_ohms, found.zero_a) == (OHMS, -0.1)
    assert not calibration.span(steady(-20.0), -20.0, CHIP, **SETTINGS).turned


@pytest.mark.parametrize(
    ("readings", "clamp_a", "kind"),
    [
        (steady(2.4), 2.4, calibration.TOO_LITTLE),  # 5 % of 50 A
        (steady(20.0), 0.0, calibration.TOO_LITTLE),
        (steady(20.0, 0.5), 20.0, calibration.UNSTEADY),
        (steady(20.0), 9.0, calibration.FAR_OFF),
        (steady(20.0), 41.0, calibration.FAR_OFF),
    ],
)
def test_a_comparison_that_says_too_little_is_refused(
    readings: list[float], clamp_a: float, kind: Kind
) -> None:
    with pytest.raises(UnfitReadings) as caught:
        calibration.span(readings, clamp_a, CHIP, **SETTINGS)
    assert caught.value.kind == kind


def test_too_few_steps_are_refused_however_small_the_largest_current_is() -> None:
    with pytest.raises(UnfitReadings, match=r"let .* A flow at least"):
        calibration.span(steady(0.06), 0.06, CHIP, **SETTINGS | {"max_current_a": 0.5})


def test_force_allows_any_factor() -> None:
    found = calibration.span(steady(20.0), 5.0, CHIP, **SETTINGS, force=True)
    assert found.shunt_ohms == 0.006


# The configuration's text


def test_a_new_key_comes_below_the_line_that_shows_its_default(tmp_path: Path) -> None:
    path = tmp_path / "tentwatch.toml"
    path.write_text(SAMPLE.read_text())
    keys = {"zero_a": 0.083, "shunt_ohms": 0.00165}
    text = config_file.with_keys(config_file.document(path), "sensors.generator", keys)
    before, after = SAMPLE.read_text().splitlines(), text.splitlines()
    assert after[after.index("#zero_a = 0.0") + 1] == "zero_a = 0.083"
    assert set(before) - set(after) == {"shunt_ohms = 0.0015"}, "no comment is lost"
    assert len(after) == len(before) + 1
    assert config_file.changes(SAMPLE.read_text(), text) == [
        ("sensors.generator.shunt_ohms", 0.0015, 0.00165),
        ("sensors.generator.zero_a", None, 0.083),
    ]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("[battery]\n# of next\n[door]\n", "[battery]\nlow_pct = 5\n# of next\n[door]\n"),
        ("[battery]\nx = 1 # why\n\n[door]", "[battery]\nx = 1 # why\nlow_pct = 5\n\n[door]\n"),
        ("[battery]\nlow_pct = 9  # why\n", "[battery]\nlow_pct = 5  # why\n"),
        ("[tent]\nid = 1\n", "[tent]\nid = 1\n\n[battery]\nlow_pct = 5\n"),
        ("battery = {low_pct = 9}\n", "battery = {low_pct = 5}\n"),
        ("battery = {x = 1}\n", "battery = {x = 1,low_pct = 5}\n"),
    ],
)
def test_a_key_finds_its_section(tmp_path: Path, text: str, after: str) -> None:
    path = tmp_path / "tentwatch.toml"
    path.write_text(text)
    found = config_file.with_keys(config_file.document(path), "battery", {"low_pct": 5})
    assert found.replace("\n\n", "\n") == after.replace("\n\n", "\n")


# The commands


CONFIG = f"""\
[tent]
id = "demo"
seats = 60
[broker]
host = "127.0.0.1"
port = 9
# of the technician
[sensors.mains]
driver = "contact"
gpio = {MAINS_GPIO}
[sensors.generator]
driver = "ina219"
shunt_ohms = 0.0015
max_current_a = 50
period_s = 0.1
#zero_a = 0.0
[sensors.door]
driver = "beams"
outer_gpio = {{outer}}
inner_gpio = {{inner}}
"""


class Technician:
    """A technician at a unit whose shunt differs from the configuration."""

    def __init__(self, unit: Unit, path: Path, *, swapped: bool = False) -> None:
        self.unit, self.path = unit, path
        gpios = (INNER_GPIO, OUTER_GPIO) if swapped else (OUTER_GPIO, INNER_GPIO)
        path.write_text(CONFIG.format(outer=gpios[0], inner=gpios[1]))
        self.real_ohms, self.offset_v = OHMS, 0.0
        self.is_on = False

    def start(self) -> "Technician":
        self.unit.config = replace(load(self.path), broker=self.unit.config.broker)
        self.unit.start()
        self.is_on = True
        return self

    def restart(self, path: Path) -> bool:
        if self.is_on:
            self.unit.stop()
            self.start()
        return self.is_on

    def flow(self, current_a: float) -> None:
        self.unit.hardware.chip.measure(current_a * self.real_ohms + self.offset_v, 13.0)
        if self.is_on:
            self.wait_reads(3)

    def wait_reads(self, more: int) -> None:
        before = self._generator()["reads"]
        wait_for(lambda: self._generator()["reads"] >= before + more, "readings")

    def _generator(self) -> dict[str, Any]:
        [found] = [s for s in self.unit.status()["sensors"] if s["name"] == "generator"]
        return dict(found)

    def shows(self, current_a: float) -> float:
        """Return what the unit, or the driver with the file's settings, shows of a current."""
        self.flow(current_a)
        if self.is_on:
            return float(self._generator()["values"]["current_a"])
        [sensor] = [s for s in load(self.path).sensors if s.name == "generator"]
        driver = registry.build("ina219", sensor.config, self.unit.hardware, Monotonic())
        driver.open()
        found: list[Measurement] = []

        def has_read() -> bool:
            found.extend(driver.read())
            return bool(found)

        wait_for(has_read, "a conversion")
        driver.close()
        return next(float(m.value or 0.0) for m in found if m.quantity == "current_a")

    def do(self, *words: str, yes: bool = True) -> int:
        arguments = ["calibrate", *words, *(["--yes"] if yes else [])]
        options = cli.parsed(arguments)
        assert options is not None
        bench = Bench(self.path, self.unit.state_dir, options.yes, self.unit.hardware, self.restart)
        return cli.exit_code(lambda: calibrate.calibrate(options, bench))

    @property
    def section(self) -> dict[str, Any]:
        found: Any = config_file.document(self.path)
        return dict(found["sensors"]["generator"])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "ASK_S", 0.05)
    monkeypatch.setattr(calibrate, "ALONE_S", 0.5)


@pytest.fixture
def technician(make_unit: Callable[..., Unit], closed_port: int, tmp_path: Path) -> Technician:
    return Technician(make_unit(closed_port), tmp_path / "tentwatch.toml")


@pytest.mark.parametrize("running", [True, False])
def test_a_shunt_that_is_ten_percent_off_reads_right_afterwards(
    technician: Technician, capsys: pytest.CaptureFixture[str], running: bool
) -> None:
    technician.real_ohms, technician.offset_v = 1.1 * OHMS, 125e-6
    if running:
        technician.start()
    assert technician.shows(40.0) == pytest.approx(44.08, abs=0.01)
    technician.flow(0.0)
    assert technician.do("zero", "generator") == DONE
    assert "sensors.generator.zero_a: not set → 0.08" in capsys.readouterr().out
    assert technician.shows(0.0) == 0.0
    technician.flow(40.0)
    assert technician.do("span", "generator", "--clamp-a", "40") == DONE
    said = capsys.readouterr().out
    assert "sensors.generator.shunt_ohms: 0.0015 → 0.00165" in said
    assert ("has been restarted" in said) is running
    for current_a in (45.0, 20.0, 5.0, 0.5, -10.0):
        # Half a step each of the zero and of the reading, and as much again for the comparison.
        shown_a = technician.shows(current_a)
        assert abs(shown_a - current_a) <= 1.5 * calibration.resolution_a(
            technician.real_ohms, CHIP
        )
    assert "# of the technician" in technician.path.read_text()
    assert technician.path.read_text().count("zero_a = ") == 2, "below the comment, once"


def test_a_zero_found_by_command_is_not_lost_with_the_span(technician: Technician) -> None:
    technician.offset_v = 125e-6
    technician.start().flow(0.0)
    technician.wait_reads(6)
    assert control.ask(technician.unit.state_dir, {"command": "zero", "sensor": "generator"})["ok"]
    technician.flow(30.0)
    assert technician.do("span", "generator", "--clamp-a", "33") == DONE
    assert technician.section["zero_a"] == pytest.approx(125e-6 / (OHMS / 1.1), abs=0.01)
    assert technician.shows(0.0) == 0.0
    assert technician.shows(30.0) == pytest.approx(33.0, abs=2 * STEP_A)


def test_at_rest_a_zero_found_by_command_counts_too(technician: Technician) -> None:
    technician.offset_v = 125e-6
    technician.start().flow(0.0)
    technician.wait_reads(6)
    assert control.ask(technician.unit.state_dir, {"command": "zero", "sensor": "generator"})["ok"]
    technician.unit.stop()
    technician.is_on = False
    technician.flow(30.0)
    assert technician.do("span", "generator", "--clamp-a", "33") == DONE
    assert technician.section["zero_a"] == pytest.approx(125e-6 / (OHMS / 1.1), abs=0.01)


def test_a_zero_that_the_file_has_already_takes_the_place_of_one_found_by_command(
    technician: Technician,
) -> None:
    technician.start()
    technician.offset_v = 120e-6  # within the dead band: shown as none
    technician.flow(0.0)
    technician.wait_reads(6)
    assert control.ask(technician.unit.state_dir, {"command": "zero", "sensor": "generator"})["ok"]
    technician.offset_v = 0.0
    technician.flow(0.0)
    technician.wait_reads(6)
    assert technician.do("zero", "generator") == DONE
    assert "zero_a" not in technician.section
    assert technician.shows(20.0) == pytest.approx(20.0, abs=STEP_A)


def test_a_sensor_that_was_wired_the_other_way_round_is_turned_where_somebody_says_so(
    technician: Technician, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    technician.real_ohms = -OHMS
    technician.start().flow(20.0)
    assert technician.do("span", "generator", "--clamp-a", "20") == FAILED
    assert "add --reverse" in capsys.readouterr().err
    assert "reversed" not in technician.section
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\ny\n"))
    assert technician.do("span", "generator", "--clamp-a", "20", yes=False) == DONE
    assert technician.section["reversed"] is True
    assert technician.shows(20.0) == pytest.approx(20.0, abs=STEP_A)


def test_without_a_yes_nothing_is_written(
    technician: Technician, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    technician.flow(20.0)
    before = technician.path.read_text()
    for answer in ("n\n", "\n", ""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        assert technician.do("span", "generator", "--clamp-a", "22", yes=False) == FAILED
        said = capsys.readouterr()
        assert "Write it? [y/N]" in said.out
        assert "nothing was changed" in said.err
    assert technician.path.read_text() == before


def test_what_cannot_be_says_why(
    technician: Technician, capsys: pytest.CaptureFixture[str]
) -> None:
    technician.flow(20.0)
    for words, why in (
        (("zero", "generator"), "a current flows"),
        (("zero", "mains"), "this unit has: generator"),
        (("span", "generator", "--clamp-a", "1"), "let 2.5 A flow"),
        (("span", "generator", "--clamp-a", "60"), "--force"),
        (("undo",), "no previous configuration"),
        (("door",), "does not exist: tentwatch is not running"),
    ):
        assert technician.do(*words) == FAILED, words
        assert why in capsys.readouterr().err
    technician.unit.hardware.bus.naks = 100
    assert technician.do("zero", "generator") == FAILED
    assert "no INA219 answers" in capsys.readouterr().err
    technician.path.write_text("seats = ")
    assert technician.do("zero", "generator") == USAGE


def test_a_unit_that_runs_with_another_configuration_is_not_compared(
    technician: Technician, capsys: pytest.CaptureFixture[str]
) -> None:
    technician.start().flow(20.0)
    technician.path.write_text(technician.path.read_text() + "# edited\n")
    assert technician.do("span", "generator", "--clamp-a", "22") == FAILED
    assert "runs with another configuration" in capsys.readouterr().err


def test_what_was_written_is_taken_back(
    technician: Technician, capsys: pytest.CaptureFixture[str]
) -> None:
    before = technician.path.read_text()
    technician.flow(20.0)
    assert technician.do("span", "generator", "--clamp-a", "22") == DONE
    assert technician.do("battery", "--capacity-ah", "200", "--chemistry", "lifepo4") == DONE
    assert "battery.capacity_ah: not set → 200.0" in capsys.readouterr().out
    assert technician.do("undo") == DONE
    assert "battery.capacity_ah: 200.0 → not set" in capsys.readouterr().out
    assert technician.do("undo") == DONE
    assert technician.path.read_text() == before
    assert technician.do("undo") == FAILED


@pytest.mark.parametrize("spoilt", [b"[broken", b"\xff\xfe", None])
def test_what_an_editor_has_spoilt_is_taken_back(
    technician: Technician, capsys: pytest.CaptureFixture[str], spoilt: bytes | None
) -> None:
    before = technician.path.read_text()
    assert technician.do("battery", "--capacity-ah", "200", "--chemistry", "lifepo4") == DONE
    if spoilt is None:
        technician.path.unlink()
    else:
        technician.path.write_bytes(spoilt)
    assert technician.do("undo") == DONE
    assert "no configuration: all of it is replaced" in capsys.readouterr().out
    assert technician.path.read_text() == before


def test_a_battery_needs_something_to_be_said(
    technician: Technician, capsys: pytest.CaptureFixture[str]
) -> None:
    assert technician.do("battery") == USAGE
    assert technician.do("battery", "--capacity-ah", "200") == USAGE
    assert "battery.chemistry: is missing" in capsys.readouterr().err


# The door


class Screen(io.StringIO):
    """A screen, and a person who follows its instructions."""

    def __init__(self, walk: Callable[[], None]) -> None:
        super().__init__()
        self._walk = walk

    def write(self, text: str) -> int:
        if text.startswith("Walk in"):
            threading.Thread(target=self._walk, daemon=True).start()
        return super().write(text)


def test_beams_that_are_the_wrong_way_round_are_exchanged_and_tried_again(
    make_unit: Callable[..., Unit],
    closed_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unit = make_unit(closed_port)
    technician = Technician(unit, tmp_path / "tentwatch.toml", swapped=True).start()
    wait_for(lambda: unit.status()["capacity"]["quality"] == "ok", "the door")
    screen = Screen(lambda: unit.walk(inward=True))
    monkeypatch.setattr(sys, "stdout", screen)
    assert technician.do("door") == DONE
    said = screen.getvalue()
    assert f"sensors.door.outer_gpio: {INNER_GPIO} → {OUTER_GPIO}" in said
    assert said.count("Walk in") == 2
    assert "the right way round now" in said
    assert "tentwatch headcount N" in said
    capacity = unit.status()["capacity"]
    assert (capacity["entered_total"], capacity["left_total"]) == (1, 1), "both were counted"
    assert technician.do("door") == DONE
    assert "Nothing is changed" in screen.getvalue()


def test_a_crowd_in_the_door_spoils_the_trial(
    make_unit: Callable[..., Unit],
    closed_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    unit = make_unit(closed_port)
    technician = Technician(unit, tmp_path / "tentwatch.toml").start()
    wait_for(lambda: unit.status()["capacity"]["quality"] == "ok", "the door")

    monkeypatch.setattr(calibrate, "ALONE_S", 60.0)

    def two() -> None:
        unit.walk(inward=True)
        wait_for(lambda: unit.status()["capacity"]["entered_total"] == 1, "the first")
        unit.walk(inward=False)

    monkeypatch.setattr(sys, "stdout", Screen(two))
    assert technician.do("door") == FAILED
    assert "2 people have passed" in capsys.readouterr().err
