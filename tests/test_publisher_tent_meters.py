"""The tent with meters beside contacts, a counted battery, one beam, and a charger."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from publisher.config.door import DoorSettings
from publisher.config.faults import ConfigError
from publisher.config.load import Config, parse
from publisher.rules.occupancy import Occupancy
from publisher.rules.totals import Totals
from sensors.reading import Quality, Value
from sensors.trouble import Trouble
from tests.tents import ALL_WELL, NOON, STALE_S, Unit, trouble

HEAD = '[tent]\nid = "t"\nseats = 10\n[broker]\nhost = "b"\n'
METER = '[sensors.{0}]\ndriver = "pzem004t"\nport = "/dev/ttyUSB-{0}"\n'
LINE = '[sensors.{}_line]\ndriver = "contact"\ngpio = {}\n'
CONTACT = '[sensors.mains]\ndriver = "contact"\ngpio = 17\n'
SHUNT = '[sensors.{}]\ndriver = "ina219"\nshunt_ohms = 0.0015\nmax_current_a = 50\n{}\n'
BEAM = '[sensors.door]\ndriver = "beam"\ngpio = 5\n'
BEAMS = '[sensors.door]\ndriver = "beams"\nouter_gpio = 5\ninner_gpio = 6\n'
MPPT = '[sensors.charger]\ndriver = "vedirect"\nport = "/dev/ttyUSB2"\n'
BATTERY = '[battery]\nchemistry = "lifepo4"\ncapacity_ah = 100\n'

AC: Mapping[str, Value] = {
    "voltage_v": 230.0, "current_a": 4.0, "power_w": 900.0, "frequency_hz": 50.0,
}  # fmt: skip


def tent(*parts: str) -> Config:
    return parse(HEAD + "".join(parts))


def hush(unit: Unit, sensor: str) -> list[str]:
    """Deliver the readings of a silent meter on a working port: None with quality `fault`."""
    return unit.take(*(unit.reading(sensor, q, None, Quality.FAULT, trouble("silent")) for q in AC))


def generator(unit: Unit) -> dict[str, Any]:
    block: dict[str, Any] = unit.snapshot()["power"]["generator"]
    return block


def run(unit: Unit, seconds: int, line: bool | None = None, **values: Value) -> list[str]:
    heard: dict[str, dict[str, Value]] = {"generator": {**AC, **values}}
    if line is not None:
        heard["generator_line"] = {"present": line}
    return unit.wait(seconds, **heard)


# The generator on an AC meter


def test_an_ac_meter_tells_state_volts_and_hertz_and_the_load() -> None:
    unit = Unit(tent(METER.format("generator"), "[generator]\nrated_w = 1000\n"))
    run(unit, 3)
    block = generator(unit)
    assert (block["running"], block["state"], block["quality"]) == (True, "running", "ok")
    assert (block["voltage_v"], block["frequency_hz"], block["load_pct"]) == (230.0, 50.0, 90)


def test_while_a_meter_does_not_tell_yet_the_state_is_unknown_and_its_figures_are_shown() -> None:
    unit = Unit(tent(METER.format("generator")))
    run(unit, 1)
    block = generator(unit)
    assert (block["running"], block["state"], block["quality"]) == (None, "unknown", "estimated")
    assert block["voltage_v"] == 230.0


def test_a_silent_meter_without_a_contact_is_a_fault_and_nothing_is_known() -> None:
    unit = Unit(tent(METER.format("generator")))
    run(unit, 5)
    assert "sensor_failed" in hush(unit, "generator")
    unit.wait(11)
    block = generator(unit)
    assert (block["running"], block["state"], block["quality"]) == (None, "unknown", "fault")
    assert block["power_w"] is None


def test_a_silent_meter_on_a_dead_line_is_a_generator_that_stands() -> None:
    unit = Unit(tent(METER.format("generator"), LINE.format("generator", 27)))
    run(unit, 5, True)
    assert generator(unit)["running"] is True
    events = unit.wait(10, generator_line={"present": False})
    for _ in range(15):
        events += hush(unit, "generator") + unit.wait(1, generator_line={"present": False})
    block = generator(unit)
    assert (block["running"], block["state"], block["quality"]) == (False, "stopped", "ok")
    assert block["power_w"] is None, "nobody has measured that it is 0"
    assert events == ["generator_stopped"], "a generator that stands is no fault of its meter"
    # The meter takes a moment to start after its line becomes live.
    assert unit.hear("generator_line", present=True) + hush(unit, "generator") + unit.wait(2) == []
    assert run(unit, 10, True) == ["generator_started"]
    assert generator(unit)["starts_total"] == 1


def test_a_silent_meter_on_a_live_line_is_a_fault() -> None:
    unit = Unit(tent(METER.format("generator"), LINE.format("generator", 27)))
    run(unit, 5, True)
    for _ in range(12):
        hush(unit, "generator")
        unit.wait(1, generator_line={"present": True})
    assert (generator(unit)["running"], generator(unit)["quality"]) == (None, "fault")


def test_a_port_that_is_gone_is_a_fault_even_on_a_dead_line() -> None:
    unit = Unit(tent(METER.format("generator"), LINE.format("generator", 27)))
    run(unit, 5, True)
    unit.hear("generator_line", present=False)
    assert "sensor_failed" in unit.fail("generator", "/dev/ttyUSB1 is gone")
    unit.wait(4, generator_line={"present": False})
    block = generator(unit)
    assert (block["running"], block["quality"]) == (False, "estimated"), "the contact has told it"


def test_figures_from_before_the_line_died_are_not_shown() -> None:
    unit = Unit(tent(METER.format("generator"), LINE.format("generator", 27)))
    run(unit, 10, True)
    unit.wait(5, generator_line={"present": False})
    block = generator(unit)
    assert (block["state"], block["voltage_v"], block["power_w"]) == ("stopped", None, None)


def test_a_sag_of_the_frequency_is_an_alert_of_the_tent() -> None:
    unit = Unit(tent(METER.format("generator")))
    run(unit, 20)
    assert run(unit, 6, frequency_hz=47.0, power_w=1100.0) == ["alert_raised"]
    assert unit.snapshot()["alerts"] == ["generator_frequency_warning"]
    again = unit.restart()
    assert again.snapshot()["alerts"] == ["generator_frequency_warning"], "unknown is not well"
    run(again, 50)
    assert again.snapshot()["alerts"] == []


def test_hours_starts_and_service_survive_power_cuts() -> None:
    unit = Unit(tent(METER.format("generator"), "[generator]\nservice_every_h = 1\n"))
    run(unit, 10, voltage_v=80.0, power_w=0.0, current_a=0.0)
    assert generator(unit)["state"] == "stopped"
    events = run(unit, 1800)
    assert events == ["generator_started"]
    again = unit.restart()
    events = run(again, 1900)
    assert events == ["alert_raised"]
    block = generator(again)
    assert block["starts_total"] == 1, "it has not stopped meanwhile, as far as anybody has seen"
    assert block["hours_total"] == pytest.approx(3695 / 3600, abs=0.01)
    assert again.snapshot()["alerts"] == ["generator_service_due"]
    again._note(again.tent.serviced(again.now()))
    block = generator(again.restart())
    assert (block["hours_since_service"], again.snapshot()["alerts"]) == (0.0, [])
    assert block["hours_total"] > 1


def test_a_service_without_a_generator_is_refused() -> None:
    with pytest.raises(Trouble, match="no generator"):
        Unit(tent(CONTACT)).tent.serviced(Unit(tent(CONTACT)).now())


# Mains on an AC meter


@pytest.mark.parametrize(
    ("volts", "present"),
    [
        ((230.0,), True),
        ((100.0,), False),
        ((160.0,), False),
        ((230.0, 160.0), True),
        ((230.0, 130.0), False),
        ((230.0, 130.0, 170.0), False),
        ((230.0, 130.0, 190.0), True),
    ],
)
def test_a_meter_tells_mains_from_its_voltage(volts: tuple[float, ...], present: bool) -> None:
    unit = Unit(tent(METER.format("mains")))
    for voltage_v in volts:
        unit.hear("mains", **{**AC, "voltage_v": voltage_v})
    state = unit.snapshot()["power"]
    assert state["mains"]["present"] is present
    assert state["mains"]["voltage_v"] == volts[-1]
    assert (state["source"] == "mains") is present


def test_mains_is_unknown_while_its_meter_is_silent_and_no_contact_tells() -> None:
    unit = Unit(tent(METER.format("mains")))
    unit.hear("mains", **AC)
    hush(unit, "mains")
    power = unit.snapshot()["power"]
    assert (power["mains"]["present"], power["mains"]["quality"]) == (None, "fault")
    assert power["source"] == "unknown"


def test_a_contact_beside_the_meter_tells_that_mains_is_gone() -> None:
    unit = Unit(tent(METER.format("mains"), LINE.format("mains", 17)))
    unit.hear("mains", **AC)
    unit.hear("mains_line", present=True)
    assert unit.snapshot()["power"]["source"] == "mains"
    assert unit.hear("mains_line", present=False) == ["mains_lost"]
    assert hush(unit, "mains") == []
    mains = unit.snapshot()["power"]["mains"]
    assert (mains["present"], mains["voltage_v"], mains["quality"]) == (False, None, "ok")


@pytest.mark.parametrize("name", ["mains", "generator"])
def test_a_contact_beside_no_meter_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"sensors.{name}_line: needs a meter"):
        tent(LINE.format(name, 4))


def test_a_contact_whose_cable_is_cut_is_not_believed_against_its_meter() -> None:
    unit = Unit(tent(METER.format("mains"), LINE.format("mains", 17)))
    unit.wait(2, mains=dict(AC), mains_line={"present": True})
    events = unit.wait(10, mains=dict(AC), mains_line={"present": False})
    assert events == ["mains_lost", "mains_restored"], (
        "the contact is the quicker one, for a moment"
    )
    mains = unit.snapshot()["power"]["mains"]
    assert (mains["present"], mains["voltage_v"], mains["quality"]) == (True, 230.0, "ok")


# A battery with a counted charge


def counted() -> Unit:
    return Unit(tent(BATTERY, SHUNT.format("battery", "")))


def battery(unit: Unit) -> dict[str, Any]:
    block: dict[str, Any] = unit.snapshot()["power"]["battery"]
    return block


def flow(unit: Unit, seconds: int, current_a: float, voltage_v: float) -> list[str]:
    return unit.wait(seconds, battery={"current_a": current_a, "voltage_v": voltage_v})


def test_a_battery_without_a_monitor_is_counted_from_full_on() -> None:
    unit = counted()
    flow(unit, 60, 20.0, 13.4)
    block = battery(unit)
    assert block["method"] == "counted"
    assert block["quality"] == "estimated"
    assert block["synchronised"] is False
    flow(unit, 300, 1.0, 14.3)
    block = battery(unit)
    assert (block["synchronised"], block["quality"]) == (True, "ok")
    assert block["charge_pct"] == pytest.approx(100, abs=2)
    flow(unit, 3600, -10.0, 13.1)
    block = battery(unit)
    assert block["charge_pct"] == pytest.approx(90, abs=2.5)
    assert block["time_to_empty_min"] == pytest.approx(540, rel=0.2)
    assert 0 < block["uncertainty_pct"] < 10
    assert block["since_full_h"] == pytest.approx(1.0, abs=0.1)


def test_a_reading_is_counted_once_however_often_time_passes_after_it() -> None:
    unit = counted()
    flow(unit, 300, 1.0, 14.3)
    flow(unit, 600, 10.0, 13.4)  # each reading is followed by a tick
    level = unit.tent.totals.charge.level
    assert level is not None
    assert level > 1.01, "the count goes beyond full until the battery shows that it is full"


def test_a_counted_charge_survives_a_power_cut_and_tells_of_the_gap() -> None:
    unit = counted()
    flow(unit, 300, 1.0, 14.3)
    flow(unit, 1800, -10.0, 13.1)
    before = battery(unit)
    unit.wall = NOON + timedelta(hours=3)
    again = unit.restart()
    assert again.wall is not None
    flow(again, 60, -10.0, 13.1)
    after = battery(again)
    assert after["synchronised"] is False
    assert after["gap"]["off_s"] == pytest.approx(3 * 3600 - 2100, abs=120)
    assert after["uncertainty_pct"] > before["uncertainty_pct"]
    assert abs(after["charge_pct"] - before["charge_pct"]) <= after["uncertainty_pct"] + 30


def test_a_low_counted_charge_is_told() -> None:
    unit = counted()
    flow(unit, 300, 1.0, 14.3)
    events = flow(unit, 9 * 3600, -10.0, 12.9)
    assert "battery_low" in events
    assert battery(unit)["charge_pct"] < 20


def test_a_charge_that_could_be_anything_is_none_and_clears_no_warning() -> None:
    unit = counted()
    flow(unit, 300, 1.0, 14.3)
    assert "battery_low" in flow(unit, 9 * 3600, -10.0, 12.9)
    unit.wall = NOON + timedelta(days=3)
    again = unit.restart()
    events = flow(again, 600, -10.0, 12.9)
    assert "battery_ok" not in events
    block = battery(again)
    assert again.snapshot()["alerts"] == ["battery_low"]
    assert block["uncertainty_pct"] is not None
    if block["uncertainty_pct"] > 40:
        assert (block["charge_pct"], block["time_to_empty_min"]) == (None, None)


def test_a_battery_that_is_met_for_the_first_time_has_no_charge_yet() -> None:
    unit = counted()
    flow(unit, 30, -5.0, 13.15)
    block = battery(unit)
    assert (block["charge_pct"], block["quality"]) == (None, "estimated")
    assert block["uncertainty_pct"] > 40


def test_while_the_shunt_fails_nothing_is_told_of_the_charge() -> None:
    unit = counted()
    flow(unit, 300, 1.0, 14.3)
    unit.fail("battery")
    block = battery(unit)
    assert (block["charge_pct"], block["uncertainty_pct"], block["quality"]) == (
        None,
        None,
        "fault",
    )
    flow(unit, 5, -1.0, 13.2)
    assert battery(unit)["charge_pct"] is not None


def test_a_shunt_on_the_battery_needs_a_capacity_and_a_chemistry() -> None:
    with pytest.raises(ConfigError, match=r"battery\.capacity_ah: is missing"):
        tent(SHUNT.format("battery", ""))
    with pytest.raises(ConfigError, match=r"battery\.chemistry: .*capacity_ah"):
        tent("[battery]\ncapacity_ah = 100\n", SHUNT.format("battery", ""))


def test_a_monitors_charge_is_taken_as_sent_whatever_is_configured() -> None:
    unit = Unit(tent(BATTERY, '[sensors.battery]\ndriver = "vedirect"\nport = "/p"\n'))
    unit.hear("battery", charge_pct=33.3, voltage_v=14.4, current_a=0.1)
    unit.wait(300, battery={"charge_pct": 33.3, "voltage_v": 14.4, "current_a": 0.1})
    block = battery(unit)
    assert (block["charge_pct"], block["method"], block["synchronised"]) == (33.3, "monitor", None)


def test_an_alarm_of_the_batterys_own_is_an_alert() -> None:
    unit = Unit(tent('[sensors.battery]\ndriver = "jbd"\nport = "/p"\n'))
    assert unit.hear("battery", charge_pct=50.0, alarm=False) == []
    assert unit.hear("battery", charge_pct=50.0, alarm=True) == ["alert_raised"]
    assert unit.snapshot()["alerts"] == ["battery_alarm"]
    other = Unit(
        tent('[sensors.battery]\ndriver = "vedirect"\nport = "/p"\n'), unit.tent.totals.as_dict()
    )
    assert other.snapshot()["alerts"] == ["battery_alarm"], "nothing is heard yet"
    assert other.hear("battery", charge_pct=50.0) == ["alert_cleared"], "it knows no alarm"


# A charger


def test_a_solar_charger_has_a_block_of_its_own() -> None:
    unit = Unit(tent(MPPT))
    assert unit.snapshot()["power"]["charger"]["quality"] == "starting"
    unit.hear("charger", voltage_v=13.4, charger_current_a=5.2, panel_power_w=71.0)
    assert unit.snapshot()["power"]["charger"] == {
        "voltage_v": 13.4, "current_a": 5.2, "panel_power_w": 71.0, "quality": "ok",
    }  # fmt: skip
    unit.wait(STALE_S + 1)
    assert unit.snapshot()["power"]["charger"]["voltage_v"] is None


# Zeros


def offset(unit: Unit, *raws_a: float) -> None:
    for raw_a in raws_a:
        unit.wait(1, generator={"uncorrected_a": raw_a, "current_a": 0.0})


@pytest.fixture
def shunt() -> Unit:
    return Unit(tent(SHUNT.format("generator", "zero_a = 0.01")))


def test_a_zero_is_the_mean_of_the_last_readings_and_survives_a_restart(shunt: Unit) -> None:
    offset(shunt, 9.0, 0.08, 0.09, 0.08, 0.07, 0.08)
    assert shunt.tent.zero("generator") == 0.08
    assert shunt.restart().tent.zeros() == {"generator": 0.08}


@pytest.mark.parametrize("change", ["zero_a = 0.05", "reversed = true", "address = 0x41"])
def test_a_zero_goes_when_its_sensor_is_configured_anew(shunt: Unit, change: str) -> None:
    offset(shunt, *[0.08] * 5)
    shunt.tent.zero("generator")
    changed = tent(SHUNT.format("generator", change))
    assert shunt.restart(sensors=changed).tent.zeros() == {}


@pytest.mark.parametrize("zero", [[10**400, 0.0], [float("nan"), 1], [1.0], "x", [True, 1], None])
def test_a_damaged_zero_is_none(shunt: Unit, zero: Any) -> None:
    saved = {**shunt.tent.totals.as_dict(), "zeros": {"generator": zero}}
    assert Unit(shunt.config, saved).tent.zeros() == {}


@pytest.mark.parametrize("since", ["yesterday", "2026-11-22T09:00:00", ""])
def test_in_place_of_a_damaged_time_of_the_source_comes_the_boots_as_an_estimate(
    since: str,
) -> None:
    config = tent(CONTACT)
    unit = Unit(config, {"source": "mains", "since": since})
    unit.hear("mains", present=True)
    power = unit.snapshot()["power"]
    assert (power["since"], power["since_estimated"]) == ("2026-11-22T09:43:15.000Z", True)


@pytest.mark.parametrize(
    ("sensor", "raws_a", "why"),
    [
        ("generator", [0.08] * 4, "not been read well"),
        ("generator", [5.0] * 5, "a current flows"),
        ("generator", [0.4] * 5, "a current flows"),  # more than an offset on 1.5 mΩ
        ("generator", [-0.4] * 5, "a current flows"),
        ("generator", [0.0, 0.4, 0.0, 0.4, 0.0], "a current flows"),
        ("mains", [0.08] * 5, "no sensor of this unit"),
        ("nonsense", [0.08] * 5, "no sensor of this unit"),
    ],
)
def test_a_zero_that_cannot_be_is_refused(
    shunt: Unit, sensor: str, raws_a: list[float], why: str
) -> None:
    offset(shunt, *raws_a)
    with pytest.raises(Trouble, match=why):
        shunt.tent.zero(sensor)
    assert shunt.tent.zeros() == {}


def test_old_readings_make_no_zero(shunt: Unit) -> None:
    offset(shunt, *[0.08] * 5)
    shunt.wait(60)
    with pytest.raises(Trouble, match="not been read well"):
        shunt.tent.zero("generator")
    offset(shunt, *[0.08] * 5)
    shunt.fail("generator")
    offset(shunt, *[0.08] * 4)
    with pytest.raises(Trouble, match="not been read well"):
        shunt.tent.zero("generator")
    offset(shunt, 0.08)
    assert shunt.tent.zero("generator") == 0.08


def test_a_saved_time_without_a_zone_is_no_time() -> None:
    unit = counted()
    flow(unit, 300, 1.0, 14.3)
    saved = unit.tent.totals.as_dict()
    again = Unit(unit.config, {**saved, "saved": "2026-11-22T09:00:00"})
    flow(again, 10, -1.0, 13.3)
    assert battery(again)["charge_pct"] is not None


def test_a_service_of_this_run_stands_against_hours_that_are_added() -> None:
    unit = Unit(tent(METER.format("generator")), {})
    unit._note(unit.tent.serviced(unit.now()))
    unit.tent.totals.add({"generator_s": 3600.0 * 300, "serviced_s": 3600.0})
    assert generator(unit)["hours_since_service"] == 0.0


# Doors


def test_one_beam_tells_how_many_pass_and_nothing_of_the_people_inside() -> None:
    unit = Unit(tent(BEAM))
    unit.hear("door", obstructed=False, passed=3)
    unit.hear("door", passed=2)
    capacity = unit.snapshot()["capacity"]
    assert (capacity["passed_today"], capacity["passed_total"]) == (5, 5)
    assert capacity["quality"] == "ok"
    for key in ("people", "free", "uncertainty", "entered_total", "left_total", "entered_today"):
        assert capacity[key] is None, key
    again = unit.restart()
    again.hear("door", obstructed=False, passed=1)
    capacity = again.snapshot()["capacity"]
    assert (capacity["passed_total"], capacity["quality"]) == (6, "ok")
    again.wall = NOON + timedelta(days=1)
    again.wait(1, door={"obstructed": False})
    (line,) = again.details("day_closed")
    assert (line["entered"], line["left"], line["peak"], line["passed"]) == (None, None, None, 6)


def test_a_passage_of_one_beam_is_stored_at_once_too() -> None:
    unit = Unit(tent(BEAM))
    unit.hear("door", obstructed=False)
    before = unit.tent.fingerprint()
    unit.hear("door", passed=1)
    assert unit.tent.fingerprint() != before


def test_two_beams_count_every_passage_as_traffic_too() -> None:
    unit = Unit(tent(BEAMS))
    unit.hear("door", obstructed=False, entered=3, left=1)
    capacity = unit.snapshot()["capacity"]
    assert (capacity["passed_today"], capacity["passed_total"]) == (4, 4)


def test_after_a_blind_time_the_count_is_an_estimate_and_the_event_tells_how_long() -> None:
    unit = Unit(tent(BEAMS))
    unit.hear("door", obstructed=False, entered=3)
    unit.hear("door", obstructed=True)
    unit.hear("door", obstructed=False, blind_s=61.5)
    assert unit.details("door_cleared") == [{"blind_s": 61.5}]
    assert unit.snapshot()["capacity"]["quality"] == "estimated"
    unit.headcount(3)
    assert unit.snapshot()["capacity"]["quality"] == "ok"


def test_a_failed_beam_is_a_failed_sensor_with_its_advice() -> None:
    unit = Unit(tent(BEAMS))
    unit.hear("door", obstructed=False, entered=3)
    why = "the inner beam is blocked: clean and align it"
    assert unit.take(unit.reading("door", "obstructed", None, Quality.FAULT, trouble(why))) == [
        "sensor_failed"
    ]
    assert unit.snapshot()["capacity"]["quality"] == "fault"
    assert unit.details("sensor_failed")[0]["error"] == f"it is {why}: mend it"


# Uncertainty of the count


@pytest.mark.parametrize(
    ("entered", "left", "missed_in", "missed_out", "uncertainty"),
    [
        (0, 0, 0.05, 0.05, 0),
        (100, 100, 0.0, 0.0, 0),
        (100, 100, 0.05, 0.05, 7),  # 2·√(200·0.05/0.95²)
        (300, 300, 0.05, 0.08, 24),  # 26.1 − 15.8, and 2·√(16.6 + 28.4)
    ],
)
def test_the_uncertainty_follows_from_the_share_that_is_missed(
    entered: int, left: int, missed_in: float, missed_out: float, uncertainty: int
) -> None:
    door = DoorSettings(missed_in=missed_in, missed_out=missed_out)
    found = Occupancy(entered_lately=entered, left_lately=left).uncertainty(door)
    assert found == uncertainty


def a_day(occupancy: Occupancy, people: int = 300, missed: int = 0) -> None:
    for number in range(people):
        occupancy.apply(1, 0)
        occupancy.apply(0, int(number >= missed))


def test_the_uncertainty_learns_from_the_balance_of_quiet_days_and_survives_a_restart() -> None:
    door, totals = DoorSettings(), Totals()
    for _ in range(3):
        a_day(totals.occupancy, missed=1)
        totals.occupancy.headcount(0)
    restored = Totals.restore(totals.as_dict()).occupancy
    a_day(restored)
    assert 1 <= restored.uncertainty(door) <= 5
    fresh = Occupancy()
    a_day(fresh)
    assert fresh.uncertainty(door) > 10


def test_a_bad_day_widens_the_uncertainty_again_and_a_doubted_one_teaches_nothing() -> None:
    door, occupancy = DoorSettings(), Occupancy()
    for _ in range(3):
        a_day(occupancy)
        occupancy.headcount(0)
    narrow = occupancy.uncertainty(door), occupancy.lessons
    a_day(occupancy, missed=40)
    occupancy.doubt(3600.0, people=20)
    before = occupancy.uncertainty(door)
    assert before > 5
    occupancy.headcount(0)
    assert (occupancy.uncertainty(door), occupancy.lessons) == narrow
    a_day(occupancy, missed=40)
    occupancy.headcount(0)
    a_day(occupancy)
    assert occupancy.uncertainty(door) > 15


# Closing time

CLOSING = '[door]\nauto_zero_at = "23:30"\nauto_zero_quiet_h = 1\nauto_zero_most = 5\n'
CLEAR: dict[str, dict[str, Value]] = {"door": {"obstructed": False}}


def evening(people: int = 3, at: str = "21:30", rules: str = CLOSING) -> Unit:
    hour, minute = map(int, at.split(":"))
    unit = Unit(
        tent(rules, BEAMS), wall=NOON.replace(hour=hour, minute=minute) - timedelta(hours=2)
    )
    unit.hear("door", obstructed=False, entered=people)
    return unit


def test_a_quiet_tent_counts_as_empty_at_closing_time_and_says_so() -> None:
    unit = evening()
    assert "headcount_set" not in unit.wait(2 * 3600 - 2, **CLEAR)
    assert unit.wait(5, **CLEAR) == ["headcount_set"]
    assert unit.details("headcount_set") == [
        {"people": 0, "counted": 3, "correction": -3, "by": "closing time"}
    ]
    capacity = unit.snapshot()["capacity"]
    assert (capacity["people"], capacity["uncertainty"]) == (0, 0)
    assert capacity["entered_total"] == 3, "the raw totals stay"
    assert "headcount_set" not in unit.wait(3600, **CLEAR), "once"


def test_a_quiet_night_teaches_without_a_closing_time_and_changes_no_count() -> None:
    unit = evening(people=0, rules="")
    for _ in range(150):
        unit.hear("door", entered=1)
        unit.hear("door", left=1)
    unit.hear("door", entered=2)
    unit.wait(2 * 3600 + 60, **CLEAR)
    occupancy = unit.tent.totals.occupancy
    assert (occupancy.people, occupancy.lessons, occupancy.offset) == (2, 1, 2)
    assert occupancy.entered_since == 152


def test_a_tent_that_becomes_quiet_soon_after_closing_time_counts_as_empty_then() -> None:
    unit = evening(at="23:10")
    assert "headcount_set" not in unit.wait(3590, **CLEAR)
    assert "headcount_set" in unit.wait(20, **CLEAR)


@pytest.mark.parametrize("why", ["not configured", "too many", "never quiet", "blind", "unsynced"])
def test_a_tent_is_not_emptied_where(why: str) -> None:
    unit = evening(
        people=6 if why == "too many" else 3, rules="" if why == "not configured" else CLOSING
    )
    unit.synced = why != "unsynced"
    for _ in range(12):
        unit.wait(1799, **({} if why == "blind" else CLEAR))
        unit.wait(1, door={"left": 1, "entered": 1} if why == "never quiet" else {})
    assert unit.details("headcount_set") == []
    assert unit.tent.totals.occupancy.people == (6 if why == "too many" else 3)


def test_closing_time_comes_to_a_tent_without_a_door_and_to_one_with_one_beam() -> None:
    for door in (CONTACT, BEAM):
        unit = Unit(tent(CLOSING, door), {}, wall=NOON.replace(hour=22))
        heard: dict[str, Value] = {"present": True} if door == CONTACT else {"passed": 0}
        unit.wait(3600 * 2, **{"mains" if door == CONTACT else "door": heard})
        assert unit.details("headcount_set") == []


def test_the_drift_of_people_who_only_left_goes_at_closing_time_too() -> None:
    unit = evening(people=0)
    unit.hear("door", left=40)
    assert unit.snapshot()["capacity"]["uncertainty"] > 0
    unit.wait(2 * 3600 + 5, **CLEAR)
    assert unit.snapshot()["capacity"]["uncertainty"] == 0


@pytest.mark.parametrize("how", ["obstructed", "failed"])
def test_a_time_in_which_nobody_can_be_seen_is_no_quiet(how: str) -> None:
    unit = evening(at="21:00")
    for _ in range(150):
        if how == "failed":
            unit.fail("door")
            unit.wait(60)
        else:
            unit.wait(60, door={"obstructed": True})
    assert "headcount_set" not in unit.wait(3590, **CLEAR)
    assert "headcount_set" in unit.wait(60, **CLEAR)


def test_everything_that_is_heard_survives_in_the_snapshot_checked_by_the_contract() -> None:
    unit = Unit(
        tent(
            METER.format("mains"), LINE.format("mains", 17), METER.format("generator"),
            LINE.format("generator", 27), BATTERY, SHUNT.format("battery", "address = 0x41"),
            MPPT, BEAM,
        )
    )  # fmt: skip
    heard: dict[str, dict[str, Value]] = {
        "mains": dict(AC), "mains_line": {"present": True}, "generator": dict(AC),
        "generator_line": {"present": True}, "battery": {"current_a": -5.0, "voltage_v": 13.0},
        "charger": {"voltage_v": 13.0, "charger_current_a": 1.0, "panel_power_w": 14.0},
        "door": {"obstructed": False, "passed": 1},
    }  # fmt: skip
    for name in [*heard, None]:
        unit.snapshot()
        unit.wait(20, **{k: v for k, v in heard.items() if k != name})
    assert ALL_WELL.keys() < heard.keys()
    state = unit.snapshot()
    assert state["power"]["source"] == "mains"
    assert state["capacity"]["passed_total"] > 60
