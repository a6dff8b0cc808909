"""Warmth: the block, the alert of a cold tent, and the day's lowest temperature."""

from typing import Any

import pytest

from publisher.config.load import Config
from publisher.rules import day
from publisher.rules.totals import Totals
from tests.tents import Unit, config, with_air

HOLD_S = 900.0


def fitted(*names: str, rules: str = "") -> Config:
    return with_air(config("mains", rules=rules), *(names or ("inside", "outside")))


def inside(temperature_c: float) -> dict[str, dict[str, Any]]:
    return {"inside": {"temperature_c": temperature_c}}


@pytest.fixture
def unit() -> Unit:
    return Unit(fitted())


@pytest.fixture
def cold(unit: Unit) -> Unit:
    """A unit whose alert stands."""
    unit.wait(HOLD_S + 1, **inside(5))
    assert unit.snapshot()["alerts"] == ["cold"]
    return unit


# The block


def test_the_block_shows_both_thermometers_and_the_humidity(unit: Unit) -> None:
    assert unit.snapshot()["climate"] == {
        "inside_c": None, "outside_c": None, "humidity_pct": None, "quality": "starting"
    }  # fmt: skip
    unit.hear("inside", temperature_c=18.44, humidity_pct=41.52)
    unit.hear("outside", temperature_c=-20.06)
    assert unit.snapshot()["climate"] == {
        "inside_c": 18.4, "outside_c": -20.1, "humidity_pct": 41.5, "quality": "ok"
    }  # fmt: skip


def test_the_worse_thermometer_gives_the_quality_and_the_other_one_its_value(unit: Unit) -> None:
    unit.hear("inside", temperature_c=18.4)
    unit.fail("outside")
    climate = unit.snapshot()["climate"]
    assert (climate["inside_c"], climate["outside_c"]) == (18.4, None)
    assert climate["quality"] == "fault"


@pytest.mark.parametrize("name", ["inside", "outside"])
def test_one_thermometer_is_enough_for_the_block(name: str) -> None:
    unit = Unit(fitted(name))
    unit.hear(name, temperature_c=3.0)
    climate = unit.snapshot()["climate"]
    assert (climate[f"{name}_c"], climate["quality"]) == (3.0, "ok")


def test_a_thermometer_that_is_read_every_minute_is_not_silent_in_between(unit: Unit) -> None:
    outside = unit.config.sensor("outside")
    assert outside is not None
    assert outside.config.period_s == 60
    unit.hear("outside", temperature_c=-6.0)
    unit.wait(149, **inside(18.4))
    assert unit.snapshot()["climate"]["outside_c"] == -6.0
    unit.wait(2, **inside(18.4))
    climate = unit.snapshot()["climate"]
    assert (climate["outside_c"], climate["quality"]) == (None, "stale")
    failed = {detail["sensor"]: detail["error"] for detail in unit.details("sensor_failed")}
    assert "150 s" in failed["outside"]


def test_without_thermometers_there_is_no_block_and_nothing_is_saved() -> None:
    unit = Unit(config())
    assert "climate" not in unit.snapshot()
    assert "inside_min_c" not in unit.tent.totals.as_dict()["day"]


# The alert


def test_it_is_cold_when_it_has_been_so_for_the_hold(unit: Unit) -> None:
    unit.wait(HOLD_S, **inside(13.9))
    assert unit.snapshot()["alerts"] == []
    assert unit.wait(1, **inside(13.9)) == ["alert_raised"]
    assert unit.details("alert_raised") == [{"alert": "cold"}]


def test_a_warm_moment_begins_the_hold_anew(unit: Unit) -> None:
    unit.wait(HOLD_S - 10, **inside(13.9))
    unit.wait(1, **inside(14.0))
    unit.wait(HOLD_S - 10, **inside(13.9))
    assert unit.snapshot()["alerts"] == []


def test_it_clears_a_degree_above_the_limit_after_the_same_hold(cold: Unit) -> None:
    cold.wait(2 * HOLD_S, **inside(14.9))
    assert cold.snapshot()["alerts"] == ["cold"]
    cold.wait(HOLD_S, **inside(15.0))
    assert cold.snapshot()["alerts"] == ["cold"]
    assert cold.wait(1, **inside(15.0)) == ["alert_cleared"]


def test_limit_and_hold_are_configured() -> None:
    unit = Unit(fitted(rules="[climate]\ncold_c = 18\ncold_hold_s = 60"))
    unit.wait(61, **inside(17.9))
    assert unit.snapshot()["alerts"] == ["cold"]


def test_cold_outside_is_no_alert(unit: Unit) -> None:
    unit.wait(2 * HOLD_S, inside={"temperature_c": 20.0}, outside={"temperature_c": -25.0})
    assert unit.snapshot()["alerts"] == []


def test_a_closed_tent_may_be_cold(cold: Unit) -> None:
    cold.tent.set_open(False, cold.now())
    assert cold.snapshot()["alerts"] == []
    cold.wait(2 * HOLD_S, **inside(-5))
    assert cold.snapshot()["alerts"] == []


def test_a_tent_that_opens_has_the_hold_to_become_warm(unit: Unit) -> None:
    unit.tent.set_open(False, unit.now())
    unit.wait(2 * HOLD_S, **inside(-5))
    unit.tent.set_open(True, unit.now())
    unit.wait(HOLD_S, **inside(5))
    assert unit.snapshot()["alerts"] == []
    unit.wait(2, **inside(5))
    assert unit.snapshot()["alerts"] == ["cold"]


def test_an_alert_stands_while_the_sensor_fails(cold: Unit) -> None:
    cold.fail("inside")
    cold.wait(2 * HOLD_S)
    assert cold.snapshot()["alerts"] == ["cold"]
    cold.wait(HOLD_S + 2, **inside(20))
    assert cold.snapshot()["alerts"] == []


def test_a_silence_is_no_hold(unit: Unit) -> None:
    unit.wait(5, **inside(5))
    unit.wait(2 * HOLD_S)
    unit.wait(5, **inside(5))
    assert unit.snapshot()["alerts"] == []


def test_an_alert_stands_across_a_restart_and_clears_after_it(cold: Unit) -> None:
    again = cold.restart()
    assert again.snapshot()["alerts"] == ["cold"]
    again.wait(HOLD_S + 2, **inside(20))
    assert again.details("alert_raised") == []
    assert again.details("alert_cleared") == [{"alert": "cold"}]


def test_without_its_sensor_the_alert_goes(cold: Unit) -> None:
    assert cold.restart(sensors=fitted("outside")).snapshot()["alerts"] == []


# The day's lowest temperature


def lowest(unit: Unit) -> float | None:
    today, undated = unit.tent.open_lines()
    line = today or undated
    assert line is not None
    found: float | None = line["inside_min_c"]
    return found


def test_frost_survives_a_restart(unit: Unit) -> None:
    unit.wait(2, **inside(-20.04))
    unit.wait(2, **inside(-3.0))
    assert lowest(unit) == -20.0
    again = unit.restart()
    assert lowest(again) == -20.0
    again.wait(2, **inside(7.0))
    assert lowest(again) == -20.0


def test_where_nothing_was_measured_the_day_has_none(unit: Unit) -> None:
    unit.wait(2)
    assert lowest(unit) is None


def test_a_new_day_begins_with_its_own_readings(unit: Unit) -> None:
    unit.wait(2, **inside(-20.0))
    unit.wait(12 * 3600, **inside(5.0))
    assert unit.details("day_closed")[0]["inside_min_c"] == -20.0
    assert lowest(unit) == 5.0


def test_frost_before_the_clock_is_set_goes_to_its_day() -> None:
    unit = Unit(fitted(), wall=None, synced=False)
    unit.wait(2, **inside(-20.0))
    assert lowest(unit) == -20.0
    again = unit.restart()
    again.wait(2, **inside(4.0))
    assert lowest(again) == -20.0
    again.wall, again.synced = Unit(fitted()).wall, True
    again.wait(2, **inside(4.0))
    assert lowest(again) == -20.0
    assert again.tent.totals.undated == []


def test_spans_keep_extremes_and_those_of_the_version_before_have_none() -> None:
    old = [2, 1, 0, 5, 10.0, 0.0, 3.0, 7, 1.0, 2.0]
    span = day.Span.restore(old)
    assert span is not None
    assert (span.inside_min_c, span.co_max_ppm) == (None, None)
    assert span.as_list() == old
    span.note("inside_min_c", -4.56)
    assert span.as_list() == [*old, 0, -4.6, None]
    assert day.Span.restore(span.as_list()) == span
    span.note("co_max_ppm", 0.0)
    assert day.Span.restore(span.as_list()) == span
    for damaged in (-300.0, "cold", True, float("nan")):
        assert day.Span.restore([*old, 0, damaged, None]) is None
    assert day.Span.restore([*old, 0, None, -1.0]) is None


def test_a_part_of_a_day_has_the_whole_day_s_extremes() -> None:
    whole = day.Counts(inside_min_c=-3.0, co_max_ppm=9.0)
    taken = whole.take_share(0.4)
    assert (taken.inside_min_c, taken.co_max_ppm) == (-3.0, 9.0)
    assert (whole.inside_min_c, whole.co_max_ppm) == (-3.0, 9.0)
    whole.subtract(taken)
    assert (whole.inside_min_c, whole.co_max_ppm) == (-3.0, 9.0)
    whole.add(day.Counts(inside_min_c=-4.0, co_max_ppm=2.0))
    whole.add(day.Counts())
    assert (whole.inside_min_c, whole.co_max_ppm) == (-4.0, 9.0)


def test_a_line_of_the_version_before_is_continued_and_a_damaged_one_is_not(unit: Unit) -> None:
    line: dict[str, Any] = {"date": "2026-11-22", "entered": 3, "left": 3, "passed": 6, "peak": 2}
    assert day.from_line(line).inside_min_c is None
    later = line | {"inside_min_c": -7.5, "co_max_ppm": 12.0}
    continued = day.from_line(later)
    assert (continued.inside_min_c, continued.co_max_ppm) == (-7.5, 12.0)
    for damaged in (-300, "x", [1]):
        text = f'{{"date": "2026-11-22", "inside_min_c": {damaged!r}}}'.replace("'", '"')
        assert day.read_line(text, "2026-11-22") is None
    assert day.read_line('{"date": "2026-11-22", "inside_min_c": -20}', "2026-11-22") is not None
    assert not day.differ(line, later)


def test_totals_that_could_not_be_read_give_their_extremes() -> None:
    mine, earlier = Totals(), Totals()
    mine.day.date = earlier.day.date = "2026-11-22"
    mine.day.note("inside_min_c", 4.0)
    earlier.day.note("inside_min_c", -9.0)
    earlier.day.note("co_max_ppm", 30.0)
    mine.add(earlier.as_dict())
    assert (mine.day.inside_min_c, mine.day.co_max_ppm) == (-9.0, 30.0)


def test_no_other_number_of_the_totals_may_be_negative() -> None:
    damaged = {"generator_s": -1.0, "day": {"inside_min_c": -300.0, "mains_s": -1.0}}
    totals = Totals.restore(damaged)
    assert (totals.generator_s, totals.day.inside_min_c, totals.day.mains_s) == (0.0, None, 0.0)
