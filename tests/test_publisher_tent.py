"""The tent's fold: readings and time in, happenings and snapshots out. Plain values only."""

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from publisher.config.door import DoorSettings
from publisher.rules.occupancy import Occupancy
from publisher.rules.totals import Totals
from sensors.reading import ERRORS, FAULT, READ_DURATION_S, READS, Quality, Value
from tests.tents import ALL_WELL, NOON, SENSORS, STALE_S, Unit, alive, config, trouble


@pytest.fixture
def unit() -> Unit:
    return Unit(config())


@pytest.fixture
def well() -> Unit:
    """A unit on mains with readings of every sensor."""
    unit = Unit(config())
    for sensor, values in ALL_WELL.items():
        unit.hear(sensor, **values)
    return unit


def readings_of(block: dict[str, Any]) -> dict[str, Any]:
    """Return the measured values of a block: without counters, names and quality."""
    kept = "quality seats method hours_today hours_total entered_today left_today entered_total"
    kept += " left_total passed_today passed_total state starts_total hours_since_service"
    kept += " dark_in_min dark_in_min_low"
    return {key: value for key, value in block.items() if key not in kept.split()}


# People


def test_people_come_and_go(well: Unit) -> None:
    well.hear("door", obstructed=False, entered=3)
    well.hear("door", obstructed=False, left=1, entered=2)
    capacity = well.snapshot()["capacity"]
    assert capacity["people"] == 4
    assert capacity["free"] == 6
    assert (capacity["entered_today"], capacity["left_today"]) == (5, 1)
    assert (capacity["entered_total"], capacity["left_total"]) == (5, 1)
    assert capacity["quality"] == "ok"


def test_there_are_never_fewer_than_no_people_and_never_less_than_no_room(well: Unit) -> None:
    well.hear("door", left=2)
    assert well.snapshot()["capacity"]["people"] == 0
    well.hear("door", entered=12)
    capacity = well.snapshot()["capacity"]
    assert (capacity["people"], capacity["free"]) == (12, 0)
    assert (capacity["entered_total"], capacity["left_total"]) == (12, 2)


def test_a_headcount_corrects_the_people_and_never_the_totals(well: Unit) -> None:
    well.hear("door", entered=40, left=7)
    assert well.headcount(30) == ["headcount_set"]
    assert well.details("headcount_set") == [
        {"people": 30, "counted": 33, "correction": -3, "by": "person"}
    ]
    capacity = well.snapshot()["capacity"]
    assert capacity["people"] == 30
    assert (capacity["entered_total"], capacity["left_total"]) == (40, 7)
    assert (capacity["entered_today"], capacity["left_today"]) == (40, 7)


def test_a_tent_is_open_or_closed_once_somebody_has_said_so(well: Unit) -> None:
    assert well.snapshot()["capacity"]["open"] is None
    before = well.tent.fingerprint()
    assert well.set_open(True) == ["opened"]
    assert well.snapshot()["capacity"]["open"] is True
    assert well.tent.fingerprint() != before, "a snapshot is due"
    assert well.set_open(True) == [], "that was known"
    assert well.set_open(False) == ["closed"]
    assert well.details("closed") == [{"by": "person"}]
    assert well.snapshot()["capacity"]["open"] is False
    again = well.restart()
    again.hear("door", obstructed=False)
    assert again.snapshot()["capacity"]["open"] is False


def test_a_tent_without_a_door_remembers_that_it_is_closed_and_has_no_block_for_it() -> None:
    unit = Unit(config("mains"))
    assert unit.set_open(False) == ["closed"]
    assert "capacity" not in unit.snapshot()
    assert unit.restart().tent.totals.is_open is False


def test_the_uncertainty_grows_with_passages_until_somebody_counts(well: Unit) -> None:
    assert well.snapshot()["capacity"]["uncertainty"] == 0
    well.hear("door", entered=50, left=51)
    # With 5.3 missed passages in 106 the mean difference is 0.05, with a deviation of 2.4.
    assert well.snapshot()["capacity"]["uncertainty"] == 5
    well.headcount(0)
    assert well.snapshot()["capacity"]["uncertainty"] == 0


def test_after_a_restart_the_people_are_an_estimate_until_somebody_counts(well: Unit) -> None:
    well.hear("door", entered=4)
    again = well.restart()
    again.hear("door", obstructed=False)
    capacity = again.snapshot()["capacity"]
    assert (capacity["people"], capacity["quality"]) == (4, "estimated")
    assert capacity["entered_total"] == 4
    again.headcount(5)
    assert again.snapshot()["capacity"]["quality"] == "ok"


def test_where_the_totals_were_lost_the_people_are_an_estimate(unit: Unit) -> None:
    unit.hear("door", obstructed=False)
    assert unit.snapshot()["capacity"]["quality"] == "ok"
    lost = Unit(config(), {})
    lost.hear("door", obstructed=False)
    assert lost.snapshot()["capacity"]["quality"] == "estimated"


def test_a_door_that_sees_what_is_not_people_is_doubted_and_its_count_estimated(well: Unit) -> None:
    well.hear("door", doubtful=False, obstructed=False, entered=3)
    before = well.snapshot()["capacity"]
    assert well.hear("door", doubtful=True, obstructed=False) == ["alert_raised"]
    for _ in range(10):
        well.hear("door", doubtful=True, obstructed=False, entered=2, left=2)
    state = well.snapshot()
    assert state["alerts"] == ["door_doubtful"]
    assert (state["capacity"]["people"], state["capacity"]["quality"]) == (3, "estimated")
    assert state["capacity"]["uncertainty"] > before["uncertainty"] + 2
    assert well.hear("door", doubtful=False, obstructed=False) == ["alert_cleared"]
    assert well.snapshot()["capacity"]["quality"] == "estimated", "until people are counted"


def test_behind_an_obstructed_beam_nobody_is_counted_and_the_state_says_so(well: Unit) -> None:
    well.hear("door", entered=3)
    assert well.hear("door", obstructed=True) == ["door_obstructed", "alert_raised"]
    assert well.hear("door", obstructed=True) == []
    state = well.snapshot()
    assert (state["capacity"]["people"], state["capacity"]["quality"]) == (None, "stale")
    assert state["capacity"]["entered_total"] == 3
    assert state["alerts"] == ["door_obstructed"]
    assert well.hear("door", obstructed=False) == ["door_cleared", "alert_cleared"]
    assert well.snapshot()["capacity"]["people"] == 3


# Sensors


@pytest.mark.parametrize("sensor", list(SENSORS))
def test_a_sensor_starts_is_heard_goes_stale_and_recovers(sensor: str) -> None:
    unit = Unit(config(sensor))
    block = "capacity" if sensor == "door" else sensor

    def seen() -> tuple[str, bool]:
        state = unit.snapshot()
        found = state["capacity"] if sensor == "door" else state["power"][block]
        return found["quality"], any(v is not None for v in readings_of(found).values())

    assert seen() == ("starting", False)
    assert unit.wait(STALE_S) == []
    assert seen() == ("starting", False)
    unit.hear(sensor, **ALL_WELL[sensor])
    assert seen() == ("ok", True)
    assert unit.wait(STALE_S) == []
    assert seen() == ("ok", True)
    assert unit.wait(1) == ["sensor_failed"]
    assert seen() == ("stale", False)
    assert unit.wait(60) == []
    assert unit.hear(sensor, **ALL_WELL[sensor]) == ["sensor_recovered"]
    # People may have passed while the door gave no readings.
    assert seen() == ("estimated" if sensor == "door" else "ok", True)
    (detail,) = unit.details("sensor_failed")
    assert detail["error"].startswith("nothing was heard for 15 s: check its supply")
    assert {key: value for key, value in detail.items() if key != "error"} == {
        "sensor": sensor, "quality": "stale", "code": "sensor.unheard",
    }  # fmt: skip


@pytest.mark.parametrize("sensor", list(SENSORS))
def test_a_fault_and_a_recovery_are_one_event_each(sensor: str, well: Unit) -> None:
    others = {name: values for name, values in ALL_WELL.items() if name != sensor}
    assert well.fail(sensor, "no answer") == ["sensor_failed"]
    assert well.fail(sensor, "no answer") == []
    assert well.wait(40, **others) == [], "a fault that lasts is no news, nor is its silence"
    state = well.snapshot()
    block = state["capacity"] if sensor == "door" else state["power"][sensor]
    assert block["quality"] == "fault"
    assert set(readings_of(block).values()) == {None}
    assert well.hear(sensor, **ALL_WELL[sensor]) == ["sensor_recovered"]
    assert well.details("sensor_failed") == [
        {
            "sensor": sensor,
            "quality": "fault",
            "error": "it is no answer: mend it",
            "code": "test.trouble",
        }
    ]
    assert well.details("sensor_recovered") == [{"sensor": sensor}]


def test_a_sensor_that_was_never_heard_fails_once(unit: Unit) -> None:
    heard = {name: values for name, values in ALL_WELL.items() if name != "mains"}
    assert unit.wait(60, **heard).count("sensor_failed") == 1
    assert unit.snapshot()["power"]["mains"]["quality"] == "stale"


def test_a_sensor_with_one_value_at_fault_shows_none(well: Unit) -> None:
    events = well.take(
        well.reading("generator", "current_a", None, Quality.FAULT, trouble("too large")),
        well.reading("generator", "voltage_v", 13.0),
        well.reading("generator", "power_w", None, Quality.FAULT, trouble("too large")),
    )
    assert events == ["sensor_failed"]
    block = well.snapshot()["power"]["generator"]
    assert block["quality"] == "fault"
    assert set(readings_of(block).values()) == {None}
    assert well.details("sensor_failed")[0]["error"] == "it is too large: mend it"
    assert well.hear("generator", **ALL_WELL["generator"]) == ["sensor_recovered"]


def test_a_value_that_is_no_longer_sent_is_not_shown_for_ever(well: Unit) -> None:
    some: dict[str, Value] = {"voltage_v": 13.0}
    well.wait(20, **alive(battery=some, generator=some))
    power = well.snapshot()["power"]
    assert power["battery"]["voltage_v"] == 13.0
    assert power["battery"]["charge_pct"] is None
    assert power["generator"]["running"] is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308])
@pytest.mark.parametrize("sensor", list(SENSORS))
def test_what_no_device_can_measure_is_a_fault_and_null(
    sensor: str, value: float, well: Unit
) -> None:
    well.hear("door", entered=2)
    before = well.tent.totals.as_dict()["occupancy"]
    assert well.hear(sensor, **dict.fromkeys(ALL_WELL[sensor], value)) == ["sensor_failed"]
    assert well.hear("door", entered=value, left=value)[:1] in ([], ["sensor_failed"])
    state = well.snapshot()
    block = state["capacity"] if sensor == "door" else state["power"][sensor]
    assert block["quality"] == "fault"
    assert well.tent.totals.as_dict()["occupancy"] == before
    for quantity in (READS, ERRORS, READ_DURATION_S):
        well.take(well.reading(sensor, quantity, value))
    json.dumps(well.tent.sensors(well.now()), allow_nan=False)


def test_a_door_that_hands_over_less_than_nobody_changes_nothing(well: Unit) -> None:
    well.hear("door", entered=-5, left=-7)
    assert well.snapshot()["capacity"]["entered_total"] == 0


def test_what_a_driver_says_of_its_failure_is_kept_short_and_writable(well: Unit) -> None:
    well.fail("mains", "x" * 100_000)
    well.fail("door", "bad \udcff byte")
    errors = [detail["error"] for detail in well.details("sensor_failed")]
    assert (len(errors[0]), errors[1]) == (300, "it is bad ? byte: mend it")
    troubles = {sensor["name"]: sensor["trouble"] for sensor in well.tent.sensors(well.now())}
    assert troubles["mains"] == {"code": "test.trouble", "values": {"why": "x" * 100}}
    assert troubles["door"] == {"code": "test.trouble", "values": {"why": "bad ? byte"}}


def test_a_driver_that_does_not_say_why_has_failed_all_the_same(well: Unit) -> None:
    well.take(well.reading("battery", FAULT, None, Quality.FAULT))
    well.take(well.reading("generator", "current_a", None, Quality.FAULT))
    assert [failed["code"] for failed in well.details("sensor_failed")] == 2 * ["sensor.failed"]
    assert well.snapshot()["power"]["battery"]["quality"] == "fault"


def test_people_see_how_each_sensor_does(well: Unit) -> None:
    well.take(
        well.reading("mains", READS, 7),
        well.reading("mains", ERRORS, 2),
        well.reading("mains", READ_DURATION_S, 0.75),
        well.reading("mains", READ_DURATION_S, 0.25),
    )
    well.wait(3)
    well.fail("door", "taken")
    found = {sensor["name"]: sensor for sensor in well.tent.sensors(well.now())}
    assert found["mains"] == {
        "name": "mains",
        "driver": "contact",
        "quality": "ok",
        "age_s": 3.0,
        "error": None,
        "trouble": None,
        "reads": 7,
        "errors": 2,
        "read_duration_s": 0.25,
        "read_duration_mean_s": 0.5,
        "read_duration_max_s": 0.75,
        "values": {"present": True},
        "ages_s": {"present": 3.0},
    }
    assert (found["door"]["quality"], found["door"]["error"]) == ("fault", "it is taken: mend it")
    assert Unit(config()).tent.sensors(well.now())[0]["age_s"] is None


def test_a_quantity_that_no_longer_comes_is_not_shown_under_its_neighbours_age(well: Unit) -> None:
    well.hear("battery", voltage_v=13.1, charge_pct=80.0)
    well.wait(16, battery={"voltage_v": 13.2})
    battery = next(s for s in well.tent.sensors(well.now()) if s["name"] == "battery")
    assert (battery["quality"], battery["age_s"]) == ("ok", 0.0)
    assert (battery["values"]["voltage_v"], battery["ages_s"]["voltage_v"]) == (13.2, 0.0)
    assert (battery["values"]["charge_pct"], battery["ages_s"]["charge_pct"]) == (None, 16.0)


def test_only_the_blocks_of_fitted_sensors_are_there() -> None:
    state = Unit(config("mains")).snapshot()
    assert "capacity" not in state
    dark_in = {"dark_in_min", "dark_in_min_low"}
    assert set(state["power"]) == {"source", "since", *dark_in, "quality", "mains"}


def keys_of(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}.{key}"
            yield from keys_of(inner, f"{path}.{key}")


def test_no_key_is_missing_in_any_state() -> None:
    unit = Unit(config(), wall=None, synced=False)
    expected = set(keys_of(unit.tent.snapshot()))
    assert ".power.battery.uncertainty_pct" in expected
    steps: list[Callable[[], object]] = [
        lambda: [unit.hear(sensor, **values) for sensor, values in ALL_WELL.items()],
        lambda: [unit.fail(sensor) for sensor in SENSORS],
        lambda: unit.hear("battery", **dict.fromkeys(ALL_WELL["battery"])),
        lambda: [unit.wait(60)],
        lambda: [unit.headcount(3)],
    ]
    for step in steps:
        step()
        assert set(keys_of(unit.snapshot())) >= expected


# Power


def test_the_source_follows_the_sensors(well: Unit) -> None:
    def source() -> str:
        state: str = well.snapshot()["power"]["source"]
        return state

    assert source() == "mains"
    well.hear("mains", present=False)
    assert source() == "battery"
    well.hear("generator", current_a=12.0)
    assert source() == "battery", "a start must last before it counts"
    well.wait(3, **alive(mains={"present": False}, generator={"current_a": 12.0}))
    assert source() == "generator"
    well.hear("mains", present=True)
    assert source() == "mains"
    well.fail("mains")
    assert source() == "generator"
    well.wait(3, **alive(mains={}, generator={"current_a": 0.0}))
    assert source() == "unknown"
    well.hear("mains", present=False)
    well.hear("battery", charge_pct=0.0)
    assert source() == "battery", "it delivers a current all the same"
    well.hear("battery", charge_pct=0.0, current_a=0.0)
    assert source() == "none"


def test_the_source_is_as_good_as_the_sensors_that_hide_it(well: Unit) -> None:
    well.fail("mains")
    power = well.snapshot()["power"]
    assert (power["source"], power["since"], power["quality"]) == ("unknown", None, "fault")
    unfitted = Unit(config("battery"))
    unfitted.hear("battery", **ALL_WELL["battery"])
    power = unfitted.snapshot()["power"]
    assert (power["source"], power["quality"]) == ("unknown", "estimated")
    assert Unit(config("door")).snapshot()["power"]["quality"] == "estimated"


def test_since_is_when_the_source_changed(well: Unit) -> None:
    assert well.snapshot()["power"]["since"] == "2026-11-22T10:00:00.000Z"
    well.wait(30, **alive())
    well.hear("mains", present=False)
    well.wait(30, **alive(mains={"present": False}))
    assert well.snapshot()["power"]["since"] == "2026-11-22T10:00:30.000Z"
    again = well.restart()
    again.wait(10, **alive(mains={"present": False}))
    assert again.snapshot()["power"]["since"] == "2026-11-22T10:00:30.000Z"


def test_since_is_told_when_the_clock_is_set_and_follows_it() -> None:
    unit = Unit(config("mains"), wall=None, synced=False)
    unit.hear("mains", present=False)
    unit.hear("mains", present=True)
    unit.wait(10, mains={"present": True})
    assert unit.snapshot()["power"]["since"] is None
    unit.wall = NOON - timedelta(days=3)  # a guess
    unit.wait(10, mains={"present": True})
    assert unit.snapshot()["power"]["since"] is None
    unit.wall, unit.synced = NOON, True
    unit.hear("mains", present=True)
    assert unit.snapshot()["power"]["since"] == "2026-11-22T09:59:40.000Z"
    unit.wall = NOON + timedelta(hours=5)  # the clock steps: the event was 20 s ago
    unit.hear("mains", present=True)
    assert unit.snapshot()["power"]["since"] == "2026-11-22T14:59:40.000Z"


def test_mains_lost_and_restored_are_told_once() -> None:
    unit = Unit(config("mains"))
    assert unit.hear("mains", present=True) == [], "the first state ever seen is no change"
    assert unit.hear("mains", present=False) == ["mains_lost"]
    assert unit.wait(5, mains={"present": False}) == []
    assert unit.hear("mains", present=True) == ["mains_restored"]
    assert unit.wait(5, mains={"present": True}) == []


def test_a_sensor_that_fails_in_between_neither_hides_nor_repeats_a_change() -> None:
    unit = Unit(config("mains"))
    unit.hear("mains", present=True)
    unit.fail("mains")
    assert unit.hear("mains", present=True) == ["sensor_recovered"]
    unit.fail("mains")
    assert unit.hear("mains", present=False) == ["sensor_recovered", "mains_lost"]


def test_what_changed_while_the_unit_was_off_is_told_once_after_the_restart() -> None:
    unit = Unit(config("mains"))
    unit.hear("mains", present=True)
    again = unit.restart()
    assert again.hear("mains", present=False) == ["mains_lost"]
    third = again.restart()
    assert third.hear("mains", present=False) == []
    assert third.hear("mains", present=True) == ["mains_restored"]


def test_a_generator_starts_and_stops_when_it_has_lasted(well: Unit) -> None:
    on = alive(generator={"current_a": 12.0})
    assert well.wait(1, **on) == []
    assert well.wait(1, **on) == []
    assert well.wait(1, **on) == ["generator_started"]
    assert well.wait(9, **on) == []
    assert well.wait(2, **alive()) == []
    assert well.snapshot()["power"]["generator"]["running"] is True
    assert well.wait(1, **alive()) == ["generator_stopped"]
    again = well.restart()
    assert again.hear("generator", current_a=12.0) == [], "it stood when it was last seen"
    assert again.snapshot()["power"]["generator"]["state"] == "unknown"
    assert again.wait(2, **on) == ["generator_started"]
    once_more = again.restart()
    assert once_more.hear("generator", current_a=0.8) == []
    assert once_more.snapshot()["power"]["generator"]["state"] == "running", "by its hysteresis"


def test_the_load_is_power_by_rated_power_whichever_way_round_the_shunt_is(well: Unit) -> None:
    well.hear("generator", current_a=40.0, power_w=540.0)
    assert well.snapshot()["power"]["generator"]["load_pct"] == 54
    well.hear("generator", current_a=-40.0, power_w=-540.0)
    assert well.snapshot()["power"]["generator"]["load_pct"] == 54
    unrated = Unit(config(rules=""))
    unrated.hear("generator", current_a=40.0, power_w=540.0)
    assert unrated.snapshot()["power"]["generator"]["load_pct"] is None


# Hours


def test_hours_are_booked_on_what_ran_in_them(well: Unit) -> None:
    well.wait(600, **alive())
    well.wait(360, **alive(mains={"present": False}))
    well.wait(722, **alive(mains={"present": False}, generator={"current_a": 12.0}))
    day = well.tent.totals.day
    assert day.mains_s == pytest.approx(600, abs=1.01)
    assert day.battery_s == pytest.approx(360 + 3, abs=1.01)
    assert day.generator_s == pytest.approx(720, abs=1.01)
    power = well.snapshot()["power"]
    assert power["mains"]["hours_today"] == 0.17
    assert power["generator"]["hours_total"] == 0.2


def test_the_time_up_to_a_change_is_booked_on_what_was_before_it() -> None:
    unit = Unit(config("mains", "battery"))
    unit.hear("battery", charge_pct=80.0)
    unit.hear("mains", present=True)
    for passed_s, present in ((10, False), (4, True)):
        unit.now_s += passed_s
        unit.take(
            unit.reading("battery", "charge_pct", 80.0), unit.reading("mains", "present", present)
        )
    day = unit.tent.totals.day
    assert (day.mains_s, day.battery_s) == (10, 4)


def test_each_second_is_booked_on_one_source_only(well: Unit) -> None:
    for second in range(100):
        present = second % 3 == 0
        well.wait(1, **alive(mains={"present": present}))
    day = well.tent.totals.day
    assert day.mains_s + day.battery_s == pytest.approx(100)


def test_hours_follow_the_monotonic_clock_whatever_the_time_of_day_does(well: Unit) -> None:
    generator: dict[str, Value] = {"current_a": 12.0}
    well.wait(3, **alive(generator=generator))
    begun_s = well.tent.totals.generator_s
    assert well.wall is not None
    for step_h in (-3, 5, -1):
        well.wall += timedelta(hours=step_h)
        well.wait(100, **alive(generator=generator))
    assert well.tent.totals.generator_s - begun_s == pytest.approx(300)


def test_what_is_not_known_is_not_booked(well: Unit) -> None:
    well.wait(10, **alive(generator={"current_a": 12.0}))
    well.fail("mains")
    well.fail("generator")
    before = asdict(well.tent.totals)
    well.wait(100)
    after = asdict(well.tent.totals)
    for name in ("mains_s", "generator_s", "battery_s"):
        assert after["day"][name] == before["day"][name]


def test_a_unit_that_was_held_up_books_no_more_than_a_value_is_believed() -> None:
    unit = Unit(config("mains"))
    unit.hear("mains", present=True)
    unit.now_s += 3600
    unit.hear("mains", present=True)
    assert unit.tent.totals.day.mains_s == STALE_S


def test_running_hours_survive_a_restart(well: Unit) -> None:
    well.wait(3602, **alive(generator={"current_a": 12.0}))
    again = well.restart()
    assert again.snapshot()["power"]["generator"]["hours_total"] == 1.0
    again.wait(3600, **alive(generator={"current_a": 12.0}))
    assert again.snapshot()["power"]["generator"]["hours_total"] == 2.0


# Days


def kyiv(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_a_day_ends_at_midnight_in_kyiv_and_leaves_its_line(well: Unit) -> None:
    well.wall = kyiv("2026-11-22T23:00:00+02:00")
    well.hear("door", entered=8, left=1)
    well.hear("door", left=3)
    events = well.wait(3599, **alive())
    assert "day_closed" not in events
    before = well.snapshot()
    assert before["capacity"]["entered_today"] == 8
    assert well.wait(1, **alive()) == ["day_closed"]
    assert well.details("day_closed") == [
        {
            "date": "2026-11-22",
            "entered": 8,
            "left": 4,
            "passed": 12,
            "peak": 7,
            "mains_h": 1.0,
            "generator_h": 0.0,
            "battery_h": 0.0,
            "outages": 0,
            "watched_h": 1.0,
            "inside_min_c": None,
            "co_max_ppm": None,
            "estimated": False,
            "again": False,
        }
    ]
    state = well.snapshot()
    assert (state["capacity"]["entered_today"], state["capacity"]["left_today"]) == (0, 0)
    assert (state["capacity"]["people"], state["capacity"]["entered_total"]) == (4, 8)
    assert state["power"]["mains"]["hours_today"] == 0.0
    assert well.tent.totals.day.peak == 4, "those who stay over midnight count"


def test_who_comes_after_midnight_belongs_to_the_new_day(well: Unit) -> None:
    well.wall = kyiv("2026-11-23T00:00:00+02:00")
    assert well.hear("door", entered=2) == ["day_closed"]
    assert well.details("day_closed")[0]["entered"] == 0
    assert well.snapshot()["capacity"]["entered_today"] == 2


@pytest.mark.parametrize(
    ("before_midnight", "after_midnight"),
    [
        ("2026-03-28T23:59:59+02:00", "2026-03-29T00:00:00+02:00"),
        ("2026-03-29T23:59:59+03:00", "2026-03-30T00:00:00+03:00"),  # a day of 23 hours
        ("2026-10-24T23:59:59+03:00", "2026-10-25T00:00:00+03:00"),
        ("2026-10-25T23:59:59+02:00", "2026-10-26T00:00:00+02:00"),  # a day of 25 hours
    ],
)
def test_summer_time_does_not_move_midnight(before_midnight: str, after_midnight: str) -> None:
    unit = Unit(config("door"), wall=kyiv(before_midnight) - timedelta(hours=12))
    unit.take()
    unit.wall = kyiv(before_midnight)
    assert unit.hear("door", obstructed=False) == []
    unit.wall = kyiv(after_midnight)
    assert unit.hear("door", obstructed=False) == ["day_closed"]
    assert unit.details("day_closed")[0]["date"] == before_midnight[:10]


def test_the_hour_that_comes_twice_ends_no_day_and_counts_twice() -> None:
    unit = Unit(config("mains"), wall=kyiv("2026-10-25T02:30:00+03:00"))
    unit.wait(2 * 3600, mains={"present": True})
    assert unit.details("day_closed") == []
    assert unit.snapshot()["power"]["mains"]["hours_today"] == 2.0


def test_a_clock_that_steps_back_a_little_does_not_close_a_day_again(well: Unit) -> None:
    well.wall = kyiv("2026-11-22T23:59:59+02:00")
    well.hear("door", entered=3)
    assert well.wait(2, **alive()) == ["day_closed"]
    well.wall = kyiv("2026-11-22T23:59:30+02:00")
    assert well.wait(60, **alive()) == []
    well.hear("door", entered=5)
    assert well.snapshot()["capacity"]["entered_today"] == 5
    well.wall = kyiv("2026-11-23T23:59:59+02:00")
    assert well.wait(1, **alive()) == ["day_closed"]
    closed = well.details("day_closed")
    assert [(day["date"], day["entered"]) for day in closed] == [
        ("2026-11-22", 3),
        ("2026-11-23", 5),
    ]


def test_a_clock_that_was_far_ahead_does_not_hold_the_days_up_for_ever() -> None:
    unit = Unit(config("door"), wall=datetime(2099, 5, 1, tzinfo=UTC), synced=False)
    unit.hear("door", entered=3)
    unit.wall, unit.synced = NOON, True
    assert unit.wait(1) == []
    unit.wall = NOON + timedelta(days=1)
    assert "day_closed" in unit.wait(1)
    assert unit.details("day_closed")[0]["date"] == "2026-11-22"
    assert unit.details("day_closed")[0]["entered"] == 3


def test_before_the_date_is_known_people_are_counted_for_the_first_day() -> None:
    unit = Unit(config("door", "mains"), wall=None, synced=False)
    unit.hear("door", obstructed=False, entered=3)
    capacity = unit.snapshot()["capacity"]
    assert (capacity["entered_today"], capacity["left_today"]) == (None, None)
    assert (capacity["people"], capacity["entered_total"]) == (3, 3)
    assert unit.snapshot()["power"]["mains"]["hours_today"] is None
    unit.wall, unit.synced = NOON, True
    assert unit.hear("door", obstructed=False, entered=1) == []
    assert unit.snapshot()["capacity"]["entered_today"] == 4


def test_today_has_no_more_hours_than_have_passed_and_a_day_none_that_it_has_not() -> None:
    unit = Unit(config("mains"))
    unit.wait(30, mains={"present": True})
    unit.tent.totals.day.mains_s = 40 * 3600.0
    unit.wait(1, mains={"present": True})
    assert unit.snapshot()["power"]["mains"]["hours_today"] == 12.01
    unit.wall = kyiv("2026-11-23T00:00:00+02:00")
    unit.wait(1, mains={"present": True})
    assert unit.details("day_closed")[0]["mains_h"] == 24.0


def test_a_restart_over_midnight_does_not_lose_the_days_line(well: Unit) -> None:
    well.hear("door", entered=5)
    saved = json.loads(json.dumps(well.tent.totals.as_dict()))
    again = Unit(config(), saved, wall=NOON + timedelta(hours=20))
    assert again.wait(1) == ["day_closed"]
    assert again.details("day_closed")[0]["entered"] == 5


def test_a_restart_within_the_day_goes_on_with_it(well: Unit) -> None:
    well.hear("door", entered=5)
    again = well.restart()
    assert again.hear("door", entered=1) == []
    assert again.snapshot()["capacity"]["entered_today"] == 6


def test_days_that_the_unit_was_off_leave_one_line(well: Unit) -> None:
    well.wall = NOON + timedelta(days=9)
    assert well.wait(1) == ["day_closed"]
    assert well.tent.totals.day.date == "2026-12-01"


# Alerts


def test_a_low_battery_is_told_once_and_called_well_only_clearly_above() -> None:
    unit = Unit(config("battery"))
    assert unit.hear("battery", charge_pct=20.0) == []
    assert unit.hear("battery", charge_pct=19.9) == ["battery_low", "alert_raised"]
    assert unit.snapshot()["alerts"] == ["battery_low"]
    for charge_pct in (15.0, 20.5, 24.9, 19.0):
        assert unit.hear("battery", charge_pct=charge_pct) == []
    assert unit.hear("battery", charge_pct=25.0) == ["battery_ok", "alert_cleared"]
    assert unit.hear("battery", charge_pct=24.0) == []
    assert unit.snapshot()["alerts"] == []
    assert unit.details("battery_low") == [{"charge_pct": 19.9}]
    assert unit.details("battery_ok") == [{"charge_pct": 25.0}]


def test_an_overload_is_told_once_and_called_over_only_clearly_below() -> None:
    unit = Unit(config("generator"))

    def run(seconds: float, power_w: float) -> list[str]:
        return unit.wait(seconds, generator={"current_a": 40.0, "power_w": power_w})

    assert run(9, 1010.0) == []
    assert run(2, 1010.0) == ["alert_raised"]
    assert unit.snapshot()["alerts"] == ["generator_overload"]
    for power_w in (1500.0, 990.0, 810.0):
        assert run(65, power_w) == []
    assert run(65, 790.0) == ["alert_cleared"]
    assert unit.snapshot()["alerts"] == []


@pytest.mark.parametrize(
    ("sensor", "bad"),
    [
        ("battery", {"charge_pct": 5.0}),
        ("generator", {"current_a": 90.0, "power_w": 1200.0}),
        ("door", {"obstructed": True}),
    ],
)
def test_a_sensor_that_falls_silent_or_fails_clears_no_alert(
    sensor: str, bad: dict[str, Value], well: Unit
) -> None:
    well.wait(15, **{sensor: bad})
    (alert,) = well.snapshot()["alerts"]
    well.wait(60)
    well.fail(sensor)
    again = well.restart()
    again.wait(60)
    assert again.snapshot()["alerts"] == [alert]
    assert not again.details("alert_raised")
    again.wait(1, **{sensor: bad})
    assert not again.details("alert_raised")
    assert "alert_cleared" in again.wait(5, **{sensor: ALL_WELL[sensor]})


def test_an_alert_of_a_sensor_that_was_taken_out_goes(well: Unit) -> None:
    well.hear("battery", charge_pct=5.0)
    well.wait(15, generator={"current_a": 90.0, "power_w": 1200.0})
    assert len(well.snapshot()["alerts"]) == 2
    again = Unit(config("mains"), well.tent.totals.as_dict())
    assert again.wait(1) == ["battery_ok", "alert_cleared", "alert_cleared"]
    assert again.snapshot()["alerts"] == []


def test_others_may_raise_alerts_which_are_told_once(well: Unit) -> None:
    def store_failed(on: bool) -> list[str]:
        return [h.event for h in well.tent.notice({"store_failed": on}, well.now())]

    assert store_failed(False) == []
    assert store_failed(True) == ["alert_raised"]
    assert store_failed(True) == []
    assert well.hear("battery", charge_pct=5.0) == ["battery_low", "alert_raised"]
    assert well.snapshot()["alerts"] == ["battery_low", "store_failed"]
    assert store_failed(False) == ["alert_cleared"]


# When a snapshot is due


def test_whatever_the_contract_calls_a_change_shows_in_the_fingerprint(well: Unit) -> None:
    changes: list[Callable[[], object]] = [
        lambda: well.hear("door", entered=1),
        lambda: well.hear("door", entered=1, left=1),
        lambda: well.hear("mains", present=False),
        lambda: well.wait(3, **alive(generator={"current_a": 20.0})),
        lambda: well.hear("battery", charge_pct=3.0),
        lambda: well.fail("battery"),
        lambda: well.headcount(9),
    ]
    for change in changes:
        before = well.tent.fingerprint()
        change()
        assert well.tent.fingerprint() != before
    before = well.tent.fingerprint()
    well.wait(5, **alive(generator={"current_a": 20.0}, battery={}))
    well.hear("generator", current_a=21.0)
    assert well.tent.fingerprint() == before, "a value that merely moves waits for the interval"


# Totals


def full_totals() -> Totals:
    unit = Unit(config())
    unit.hear("mains", present=False)
    unit.hear("generator", current_a=20.0)
    unit.wait(5, **alive(mains={"present": False}, generator={"current_a": 20.0}))
    unit.hear("door", entered=7, left=2)
    unit.hear("battery", charge_pct=3.0)
    return unit.tent.totals


def test_totals_go_through_json_and_back() -> None:
    totals = full_totals()
    saved = json.loads(json.dumps(totals.as_dict(), allow_nan=False))
    assert Totals.restore(saved) == totals
    assert Totals.restore(saved) != Totals()
    assert Totals.restore({}) == Totals()


def test_totals_of_other_versions_are_taken_as_far_as_they_are_known() -> None:
    saved = full_totals().as_dict()
    saved["invented_later"] = {"a": 1}
    saved["occupancy"]["children"] = 3
    del saved["occupancy"]["entered_since"]
    del saved["day"]
    del saved["alerts"]
    restored = Totals.restore(saved)
    assert (restored.occupancy.people, restored.occupancy.entered_total) == (5, 7)
    assert restored.occupancy.entered_since == 0
    assert restored.day == Totals().day
    assert restored.alerts == []


WRONG: tuple[Any, ...] = (
    None, True, -1, 1.5, math.nan, math.inf, 10**400, "", "x", [], [1], {}, {"a": []}
)  # fmt: skip


def test_damaged_totals_never_keep_a_unit_from_starting() -> None:
    good = json.loads(json.dumps(full_totals().as_dict()))
    places = [(good, key) for key in good]
    places += [(good[part], key) for part in ("occupancy", "day") for key in good[part]]
    for table, key in places:
        for wrong in WRONG:
            kept, table[key] = table[key], wrong
            unit = Unit(config(), json.loads(json.dumps(good)))
            table[key] = kept
            unit.wait(2, **alive())
            unit.hear("door", entered=1)
            unit.headcount(2)
            unit.wall = NOON + timedelta(days=1)
            unit.wait(1, **alive())
            assert len(unit.details("day_closed")) == 1, (key, wrong)
            unit.snapshot()
            if key != "occupancy" and table is not good["occupancy"]:
                assert unit.tent.totals.occupancy.entered_total == 8, (key, wrong)


@pytest.mark.parametrize("saved", [[], "x", 3, None, {"day": None, "occupancy": 7}])
def test_totals_that_are_none_are_begun_anew(saved: Any) -> None:
    assert Totals.restore(saved) == Totals()


def test_what_an_earlier_run_had_counted_can_be_added_later() -> None:
    earlier = full_totals().as_dict()  # 7 in, 2 out, 5 inside
    unit = Unit(config(), {})
    unit.hear("door", entered=1)
    unit.hear("door", left=3)
    unit.wait(10, **alive(generator={"current_a": 20.0}))
    mine_s, theirs_s = unit.tent.totals.generator_s, earlier["generator_s"]
    unit.tent.totals.add(earlier)
    capacity = unit.snapshot()["capacity"]
    assert (capacity["entered_total"], capacity["left_total"]) == (8, 5)
    assert (capacity["entered_today"], capacity["left_today"]) == (8, 5)
    assert (capacity["people"], capacity["quality"]) == (3, "estimated")
    assert capacity["uncertainty"] == Occupancy(entered_lately=8, left_lately=5).uncertainty(
        DoorSettings()
    )
    assert mine_s > 0
    assert unit.tent.totals.generator_s == pytest.approx(mine_s + theirs_s)
    assert unit.tent.totals.day.peak == 5


def test_a_headcount_of_this_run_stands_against_what_is_added() -> None:
    unit = Unit(config(), {})
    unit.hear("door", obstructed=False, entered=1)
    unit.headcount(6)
    unit.tent.totals.add(full_totals().as_dict())
    capacity = unit.snapshot()["capacity"]
    assert (capacity["people"], capacity["entered_total"]) == (6, 8)
    assert (capacity["uncertainty"], capacity["quality"]) == (0, "ok")


def test_another_days_figures_are_not_added_to_today() -> None:
    earlier = full_totals().as_dict()
    earlier["day"]["date"] = "2026-11-20"
    unit = Unit(config(), {})
    unit.hear("door", entered=1)
    unit.tent.totals.add(earlier)
    assert unit.snapshot()["capacity"]["entered_today"] == 1
    assert unit.snapshot()["capacity"]["entered_total"] == 8


# Random sequences


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_the_state_keeps_to_the_contract(seed: int) -> None:
    chance = random.Random(seed)
    unit = Unit(config(), wall=None if seed % 2 else NOON, synced=not seed % 2)
    sane: dict[str, tuple[float, ...]] = {
        "present": (True, False),
        "obstructed": (False, False, True),
        "entered": (0, 1, 2, 5),
        "left": (0, 1, 2, 5),
        "current_a": (-5.0, 0.0, 0.8, 12.0, 90.0),
        "voltage_v": (0.0, 13.1),
        "power_w": (-60.0, 0.0, 900.0, 1200.0),
        "charge_pct": (0.0, 3.0, 22.0, 80.0, 100.0),
        "time_to_empty_min": (0.0, 412.0),
    }
    of_sensor = {name: tuple(values) for name, values in ALL_WELL.items()}
    of_sensor["door"] += ("entered", "left")
    insane = (math.nan, math.inf, -math.inf, 1e300)
    noon, entered, left = NOON, 0, 0
    value: Value
    for step in range(1500):
        unit.now_s += chance.choice((0.0, 0.3, 1.0, 1.0, 7.0, 40.0, -0.2))
        if chance.random() < 0.05:
            noon += timedelta(days=chance.choice((0, 0, 1)))
            wall = noon + timedelta(hours=chance.randrange(-20, 12))
            unit.wall = chance.choice((None, wall, wall))
            unit.synced = unit.wall is not None and chance.random() < 0.7
        readings = []
        for _ in range(chance.randrange(4)):
            sensor = chance.choice(list(SENSORS))
            quantity = chance.choice(of_sensor[sensor])
            value = chance.choice(sane[quantity] if chance.random() < 0.95 else insane)
            if quantity != "present" and chance.random() < 0.05:
                value = None  # a monitor that sends `---`; a contact has no such value
            if chance.random() < 0.05:
                quantity, value = chance.choice(((FAULT, None), (READS, 5.0), (ERRORS, math.nan)))
            reading = unit.reading(sensor, quantity, value)
            readings.append(reading)
            if isinstance(value, int | float) and abs(value) < 100:
                entered += int(value) if quantity == "entered" else 0
                left += int(value) if quantity == "left" else 0
        unit.take(*readings)
        if chance.random() < 0.02:
            unit.headcount(chance.randrange(100))
        if chance.random() < 0.01:
            before, unit = unit, unit.restart()
            unit.now_s = before.now_s
            unit.happened[:0] = before.happened
        if step % 25 == 0:
            unit.snapshot()  # checked against the contract
            unit.happened = [h for h in unit.happened if h.event == "day_closed"]
        capacity = unit.tent.snapshot()["capacity"]
        json.dumps(unit.tent.snapshot(), allow_nan=False)
        assert (capacity["entered_total"], capacity["left_total"]) == (entered, left)
        if capacity["people"] is not None:
            assert capacity["free"] == max(0, capacity["seats"] - capacity["people"])
        json.dumps(unit.tent.sensors(unit.now()), allow_nan=False)
    assert entered > 100
    assert left > 100
    days = unit.details("day_closed")
    dates = [detail["date"] for detail in days if not detail["again"]]
    assert len(dates) == len(set(dates)) > 5
    assert {detail["date"] for detail in days} == set(dates)
