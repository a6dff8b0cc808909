"""How long the tent will last: on the battery, behind the generator, on mains; and when nobody can tell."""

import pytest

from sensors.reading import Value
from sensors.trouble import Trouble
from tests.tents import Unit, config

LASTING = (
    "[generator]\nrated_w = 1000\nrunning_hold_s = 0\ntank_l = 10\nfull_load_l_h = 1.0\nno_load_l_h = 0.5\n"
    "[battery]\ncapacity_ah = 100\nchemistry = 'lifepo4'\n"
)


def lasting(*sensors: str) -> Unit:
    return Unit(config(*sensors, rules=LASTING))


def on_battery(amperes: float, charge_pct: float = 70.0) -> dict[str, Value]:
    left_min = 60 * charge_pct / amperes if amperes else -1
    return {
        "current_a": -amperes, "voltage_v": 13.0, "power_w": -13.0 * amperes, "charge_pct": charge_pct,
        "time_to_empty_min": left_min,
    }  # fmt: skip


CHARGING: dict[str, Value] = {
    "current_a": 20.0,
    "voltage_v": 13.5,
    "power_w": 270.0,
    "charge_pct": 70.0,
}
ENGINE: dict[str, Value] = {"current_a": 30.0, "voltage_v": 13.5, "power_w": 405.0}


def test_on_the_battery_it_is_dark_when_the_battery_is_empty() -> None:
    unit = lasting("mains", "battery")
    unit.wait(60, mains={"present": False}, battery=on_battery(10))
    power = unit.snapshot()["power"]
    assert power["source"] == "battery"
    assert power["dark_in_min"] == power["battery"]["reserve_min"] == 420
    assert 300 < power["dark_in_min_low"] < 420


def test_on_mains_nobody_knows_when_it_is_dark_but_the_reserve_is_known() -> None:
    unit = lasting("mains", "battery")
    unit.wait(600, mains={"present": False}, battery=on_battery(10))
    unit.wait(60, mains={"present": True}, battery=CHARGING)
    power = unit.snapshot()["power"]
    assert (power["dark_in_min"], power["dark_in_min_low"]) == (None, None)
    assert power["battery"]["reserve_min"] == pytest.approx(390, abs=45), "at the load of before"


def test_behind_the_generator_comes_the_battery() -> None:
    unit = lasting("mains", "generator", "battery")
    unit.wait(60, mains={"present": False}, generator=ENGINE, battery=CHARGING)
    power = unit.snapshot()["power"]
    assert power["source"] == "generator"
    assert power["dark_in_min"] is None, "nobody has said what is in the tank"
    assert power["battery"]["reserve_min"] == pytest.approx(60 * 60 / 10, rel=0.2), "30 A less 20 A"
    assert unit._note(unit.tent.refuelled(None, unit.now(), full=True)) == ["refuelled"]
    unit.wait(60, mains={"present": False}, generator=ENGINE, battery=CHARGING)
    power = unit.snapshot()["power"]
    fuel_h = 10 / (0.5 + 0.5 * 0.405)
    assert power["generator"]["fuel_h"] == pytest.approx(fuel_h, rel=0.02)
    assert power["dark_in_min"] == pytest.approx(
        60 * fuel_h + power["battery"]["reserve_min"], rel=0.02
    )
    assert power["dark_in_min_low"] < power["dark_in_min"]
    assert power["generator"]["headroom_w"] == 495


def test_without_fuel_the_dark_is_not_known_after_a_power_cut_without_a_clock() -> None:
    unit = lasting("mains", "generator", "battery")
    unit._note(unit.tent.refuelled(None, unit.now(), full=True))
    unit.wait(60, mains={"present": False}, generator=ENGINE, battery=CHARGING)
    again = unit.restart()
    again.wall, again.synced = None, False
    again.wait(60, mains={"present": False}, generator=ENGINE, battery=CHARGING)
    power = again.snapshot()["power"]
    assert (power["generator"]["fuel_l"], power["dark_in_min"]) == (None, None)


@pytest.mark.parametrize("litres", [10.1, 5000.0])
def test_a_tank_cannot_take_more_than_it_holds(litres: float) -> None:
    unit = lasting("generator")
    with pytest.raises(Trouble, match="holds 10"):
        unit.tent.refuelled(litres, unit.now(), full=False)
    assert unit.snapshot()["power"]["generator"]["fuel_l"] is None


def test_who_has_no_tank_cannot_fill_it_up() -> None:
    unit = Unit(config("generator"))
    with pytest.raises(Trouble, match="does not know how much"):
        unit.tent.refuelled(None, unit.now(), full=True)
    with pytest.raises(Trouble, match="no generator"):
        lasting("battery").tent.refuelled(3.0, unit.now(), full=False)


def test_the_alert_comes_when_it_may_soon_be_dark_and_goes_with_mains() -> None:
    unit = lasting("mains", "battery")
    unit.wait(10, mains={"present": False}, battery=on_battery(10, charge_pct=60))
    assert "autonomy_low" not in unit.snapshot()["alerts"]
    unit.wait(10, mains={"present": False}, battery=on_battery(30, charge_pct=60))
    assert "autonomy_low" in unit.snapshot()["alerts"]
    unit.wait(10, mains={"present": False}, battery=on_battery(22, charge_pct=60))
    assert "autonomy_low" in unit.snapshot()["alerts"], "163 min, 130 at least: not well yet"
    unit.wait(10, mains={"present": True}, battery=CHARGING)
    assert "autonomy_low" not in unit.snapshot()["alerts"]


def test_who_has_no_power_sensor_has_no_forecast() -> None:
    power = Unit(config("door")).snapshot()["power"]
    assert (power["dark_in_min"], power["dark_in_min_low"]) == (None, None)
