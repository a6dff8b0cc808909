"""Carbon monoxide: the standard's times, a dose across restarts and silence, and its alerts."""

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from publisher.config.load import Config, SensorSettings
from publisher.recording import _durable
from publisher.rules.co import ALARM_AFTER_MIN, DOSE_FROM_PPM, Exposure, alarm_after_s
from publisher.rules.totals import Totals
from sensors import ze07co
from sensors.reading import Quality
from sensors.simulated.ze07co import Module
from tests.accuracy import co
from tests.conftest import Broker, Subscriber
from tests.conftest import Unit as Whole
from tests.tents import NOON, STALE_S, Unit, config, with_air

HOUR_S, DAY_S = 3600.0, 86_400.0


def fitted(rules: str = "") -> Config:
    return with_air(config("mains", rules=rules), "co")


def ppm(value: float) -> dict[str, dict[str, Any]]:
    return {"co": {"co_ppm": value}}


@pytest.fixture
def unit() -> Unit:
    return Unit(fitted())


def until_alarm(unit: Unit, value: float, most_s: float = 4 * HOUR_S) -> float:
    """Return the seconds of this air until the alarm comes."""
    for second in range(1, round(most_s) + 1):
        unit.wait(1, **ppm(value))
        if "co_alarm" in unit.tent.totals.alerts:
            return second
    raise AssertionError("no alarm")


def dose(unit: Unit) -> float:
    return unit.tent.totals.co.dose


# The standard's times


@pytest.mark.parametrize("error", co.ERRORS)
@pytest.mark.parametrize("steady", [50, 100, 300])
def test_the_alarm_comes_within_the_times_of_the_standard(steady: int, error: str) -> None:
    hours, earliest_min, latest_min = co.STEADY[steady]
    found = co.watch(co.steady(steady), hours, co.ERRORS[error])
    assert found.alarm_min is not None
    assert earliest_min <= found.alarm_min <= latest_min
    assert found.warning_min is not None
    assert found.warning_min < found.alarm_min


@pytest.mark.parametrize("error", co.ERRORS)
def test_nothing_is_said_at_30_ppm_for_120_minutes(error: str) -> None:
    found = co.watch(co.steady(30), 2.0, co.ERRORS[error])
    assert (found.warning_min, found.alarm_min) == (None, None)


def test_every_measured_air_is_within_the_standard_and_the_measurement_can_fail() -> None:
    rows = co.measure()
    assert {name for name, row in rows.items() if not row["within"]} == set()
    late = co.watch(co.steady(300), 1.0, gain=0.6)
    assert late.alarm_min is not None
    assert late.alarm_min > 3.0
    early = co.watch(co.steady(30), 2.0, gain=1.5)
    assert early.warning_min is not None


def test_the_time_to_the_alarm_falls_with_the_concentration() -> None:
    times = [alarm_after_s(DOSE_FROM_PPM + step) for step in range(600)]
    assert all(a > b for a, b in itertools.pairwise(times))
    for at_ppm, minutes in ALARM_AFTER_MIN:
        assert alarm_after_s(at_ppm) == pytest.approx(60 * minutes)


# Alerts and the block


def test_the_block_shows_the_air_its_peak_and_the_level(unit: Unit) -> None:
    assert unit.snapshot()["co"] == {
        "ppm": None, "peak_1h_ppm": None, "level": "none", "quality": "starting"
    }  # fmt: skip
    unit.wait(10, **ppm(40))
    unit.wait(10, **ppm(3.2))
    assert unit.snapshot()["co"] == {
        "ppm": 3.2, "peak_1h_ppm": 40.0, "level": "none", "quality": "ok"
    }  # fmt: skip
    assert "co" not in Unit(config()).snapshot()
    assert "co" not in Unit(config()).tent.totals.as_dict()


def test_the_alarm_replaces_its_warning_and_both_are_events(unit: Unit) -> None:
    until_alarm(unit, 300)
    assert unit.details("alert_raised") == [{"alert": "co_warning"}, {"alert": "co_alarm"}]
    assert unit.details("alert_cleared") == [{"alert": "co_warning"}]
    state = unit.snapshot()
    assert (state["alerts"], state["co"]["level"]) == (["co_alarm"], "alarm")


def test_the_alarm_clears_in_clean_air_after_a_while_and_then_the_warning(unit: Unit) -> None:
    until_alarm(unit, 300)
    unit.wait(299, **ppm(0))
    assert unit.snapshot()["co"]["level"] == "alarm"
    unit.wait(600, **ppm(0))
    assert unit.snapshot()["alerts"] == ["co_warning"]
    unit.wait(1.5 * HOUR_S, **ppm(0))
    assert unit.snapshot()["alerts"] == []


def test_air_that_is_not_clean_clears_nothing(unit: Unit) -> None:
    until_alarm(unit, 300)
    unit.wait(3 * HOUR_S, **ppm(26))
    assert dose(unit) < 0.5
    assert unit.snapshot()["co"]["level"] == "alarm"


def test_a_short_breath_of_clean_air_does_not_clear_and_the_dose_is_no_more_than_the_alarm_s(
    unit: Unit,
) -> None:
    until_alarm(unit, 300)
    for _ in range(5):
        unit.wait(200, **ppm(0))
        unit.wait(200, **ppm(150))
    assert unit.snapshot()["co"]["level"] == "alarm"
    assert unit.details("alert_cleared") == [{"alert": "co_warning"}]
    assert dose(unit) <= 1.0


def test_gas_that_returns_after_the_alarm_raises_it_sooner(unit: Unit) -> None:
    first_s = until_alarm(unit, 100)
    unit.wait(1200, **ppm(0))
    assert "co_alarm" not in unit.tent.totals.alerts
    assert until_alarm(unit, 100) < first_s / 2


def test_the_dose_halves_in_an_hour_of_clean_air(unit: Unit) -> None:
    unit.wait(600, **ppm(100))
    before = dose(unit)
    unit.wait(HOUR_S, **ppm(5))
    assert dose(unit) == pytest.approx(before / 2, rel=0.01)


def test_a_sensor_that_fails_leaves_the_level_as_it_was(unit: Unit) -> None:
    until_alarm(unit, 300)
    unit.fail("co")
    block = unit.snapshot()["co"]
    assert block == {"ppm": None, "peak_1h_ppm": None, "level": "alarm", "quality": "fault"}
    unit.wait(HOUR_S)
    assert unit.snapshot()["alerts"] == ["co_alarm"]


def test_a_sensor_that_warms_up_says_so_and_measures_nothing(unit: Unit) -> None:
    unit.take(unit.reading("co", "co_ppm", None, Quality.STARTING))
    block = unit.snapshot()["co"]
    assert block == {"ppm": None, "peak_1h_ppm": None, "level": "none", "quality": "starting"}
    unit.wait(1, **ppm(2))
    assert unit.snapshot()["co"]["quality"] == "ok"


def test_a_sensor_that_is_taken_out_takes_its_alerts_with_it(unit: Unit) -> None:
    until_alarm(unit, 300)
    bare = unit.restart(sensors=config("mains"))
    state = bare.snapshot()
    assert state["alerts"] == []
    assert "co" not in state


# Restarts


@pytest.mark.parametrize("steady", [50, 100, 300])
def test_restarts_of_the_service_hardly_delay_the_alarm(steady: int) -> None:
    hours = co.STEADY[steady][0]
    smooth, broken = (
        co.watch(co.steady(steady), hours, breaks=breaks).alarm_min for breaks in ((), co.RESTARTS)
    )
    assert smooth is not None
    assert broken is not None
    assert smooth <= broken <= smooth + 0.5


def test_a_restart_keeps_dose_and_alarm(unit: Unit) -> None:
    unit.wait(600, **ppm(100))
    before = dose(unit)
    again = unit.restart(off_s=40, reboot=False)
    assert dose(again) == before
    again.wait(1, **ppm(100))
    assert dose(again) == pytest.approx(before + 41 / alarm_after_s(100))
    until_alarm(again, 100)
    once_more = again.restart(off_s=40, reboot=False)
    assert once_more.snapshot()["co"]["level"] == "alarm"
    assert once_more.details("alert_raised") == []


def test_the_uptime_tells_the_length_of_a_restart_without_a_clock() -> None:
    unit = Unit(fitted(), wall=None, synced=False)
    unit.wait(600, **ppm(100))
    before = dose(unit)
    again = unit.restart(off_s=40, reboot=False)
    again.wait(1, **ppm(100))
    assert dose(again) == pytest.approx(before + 41 / alarm_after_s(100))


def test_a_kill_loses_no_dose_if_the_gas_stays() -> None:
    unit = Unit(fitted())
    unit.wait(600, **ppm(100))
    stored, before = unit.stored(), dose(unit)
    unit.wait(59, **ppm(100))
    again = unit.restart(off_s=40, stored=stored)
    again.wait(1, **ppm(100))
    assert dose(again) == pytest.approx(before + 100 / alarm_after_s(100))


def test_a_record_is_due_whenever_the_dose_has_grown_by_a_tenth(unit: Unit) -> None:
    unit.wait(30, **ppm(0))
    shown, stored = unit.tent.fingerprint(), 0.0
    while dose(unit) < 1.0:
        unit.wait(1, **ppm(100))
        if unit.tent.fingerprint() != shown:
            shown, stored = unit.tent.fingerprint(), dose(unit)
        assert dose(unit) - stored < 0.1 + 2 / alarm_after_s(100)


def test_air_at_the_border_is_no_reason_for_a_record_each_second(unit: Unit) -> None:
    unit.wait(900, **ppm(60))
    prints = set()
    for value in (26.9, 27.1) * 600:
        unit.wait(1, **ppm(value))
        prints.add(unit.tent.fingerprint())
    assert len(prints) <= 2


def test_a_reboot_without_a_clock_adds_nothing_and_forgets_nothing(unit: Unit) -> None:
    unit.wait(600, **ppm(100))
    before = dose(unit)
    unit.wall, unit.synced = None, False
    again = unit.restart(off_s=300)
    again.wait(1, **ppm(100))
    assert dose(again) == before
    assert again.snapshot()["co"]["peak_1h_ppm"] == 100.0
    again.wait(1, **ppm(0))
    assert dose(again) == pytest.approx(before, rel=0.001)


def test_a_clock_that_is_set_back_makes_the_gap_unknown(unit: Unit) -> None:
    unit.wait(600, **ppm(100))
    before = dose(unit)
    unit.wall = NOON - timedelta(days=1)
    again = unit.restart(off_s=10)
    again.wait(1, **ppm(100))
    assert dose(again) == before


# Silence


@pytest.mark.parametrize("after", [100.0, 60.0])
def test_a_silence_counts_as_the_cleaner_air_before_or_after_it(unit: Unit, after: float) -> None:
    unit.wait(600, **ppm(100))
    before = dose(unit)
    unit.wait(500)
    unit.wait(1, **ppm(after))
    assert dose(unit) == pytest.approx(before + 501 / alarm_after_s(after))


@pytest.mark.parametrize(("air", "after"), [(100.0, 0.0), (0.0, 100.0)])
def test_a_silence_with_gas_at_one_end_only_changes_nothing(
    unit: Unit, air: float, after: float
) -> None:
    unit.wait(600, **ppm(100))
    unit.wait(1, **ppm(air))
    before = dose(unit)
    unit.wait(500)
    unit.wait(1, **ppm(after))
    assert dose(unit) == pytest.approx(before, rel=0.001)


@pytest.mark.parametrize(("air", "after"), [(100.0, 100.0), (100.0, 0.0), (0.0, 100.0)])
def test_a_long_silence_adds_nothing_and_takes_nothing_where_there_was_gas(
    unit: Unit, air: float, after: float
) -> None:
    unit.wait(600, **ppm(100))
    unit.wait(1, **ppm(air))
    before = dose(unit)
    unit.wait(700)
    unit.wait(1, **ppm(after))
    assert dose(unit) == before


def test_a_long_silence_in_clean_air_lets_the_dose_decay(unit: Unit) -> None:
    unit.wait(600, **ppm(100))
    unit.wait(1, **ppm(0))
    before = dose(unit)
    again = unit.restart(off_s=2 * HOUR_S)
    again.wait(1, **ppm(0))
    assert dose(again) == pytest.approx(before / 4, rel=0.01)


# The last hour


def test_a_peak_is_forgotten_after_an_hour_and_not_before(unit: Unit) -> None:
    unit.wait(5, **ppm(80))
    unit.wait(HOUR_S - 10, **ppm(2))
    assert unit.snapshot()["co"]["peak_1h_ppm"] == 80.0
    unit.wait(400, **ppm(2))
    assert unit.snapshot()["co"]["peak_1h_ppm"] == 2.0


def test_a_peak_survives_a_gap_of_known_length_and_no_longer_than_the_hour(unit: Unit) -> None:
    unit.wait(5, **ppm(80))
    for off_s, peak in ((40.0, 80.0), (1800.0, 80.0), (3600.0, 2.0)):
        unit = unit.restart(off_s=off_s)
        unit.wait(1, **ppm(2))
        assert unit.snapshot()["co"]["peak_1h_ppm"] == peak
    unit.wait(5, **ppm(80))
    unit.wall, unit.synced = None, False
    again = unit.restart()
    again.wait(1, **ppm(2))
    assert again.snapshot()["co"]["peak_1h_ppm"] == 2.0


def test_a_peak_is_stored_before_it_is_shown(unit: Unit) -> None:
    unit.wait(5, **ppm(2))
    before = _durable(unit.tent.snapshot())
    unit.wait(5, **ppm(2))
    assert _durable(unit.tent.snapshot()) == before
    unit.wait(1, **ppm(9))
    assert _durable(unit.tent.snapshot()) != before


# The sensor's age and its test


def live_days(unit: Unit, days: float, *values: float, step_s: float = 10.0) -> list[str]:
    """Let days pass with readings in turn; as seldom as the rule takes for continuous."""
    events = []
    for value in itertools.islice(itertools.cycle(values), round(days * DAY_S / step_s)):
        unit.now_s += step_s
        if unit.wall is not None:
            unit.wall += timedelta(seconds=step_s)
        events += unit.hear("co", co_ppm=value)
    return events


def test_a_dead_cell_asks_for_a_test_and_a_reading_that_moves_is_one() -> None:
    unit = Unit(fitted("[co]\ntest_after_days = 1"))
    live_days(unit, 0.99, 0.0, 0.1, 0.4)
    assert unit.snapshot()["alerts"] == []
    unit = unit.restart(off_s=40)
    live_days(unit, 0.02, 0.0)
    assert unit.snapshot()["alerts"] == ["co_sensor_test"]
    live_days(unit, 0.001, 2.0)
    assert unit.snapshot()["alerts"] == []


def test_a_live_cell_is_never_asked_for_a_test() -> None:
    unit = Unit(fitted("[co]\ntest_after_days = 1"))
    for _ in range(6):
        live_days(unit, 0.5, 0.2, 0.3)
        live_days(unit, 0.001, 1.4)
    assert unit.details("alert_raised") == []


def test_only_measured_time_counts_for_the_test() -> None:
    unit = Unit(fitted("[co]\ntest_after_days = 1"))
    for _ in range(3):
        live_days(unit, 0.3, 0.0)
        unit = unit.restart(off_s=DAY_S)
    assert unit.snapshot()["alerts"] == []
    live_days(unit, 0.2, 0.0)
    assert unit.snapshot()["alerts"] == ["co_sensor_test"]


def test_a_sensor_is_old_after_its_life_since_it_was_fitted() -> None:
    rules = '[co]\nfitted = "2021-11-23"'
    unit = Unit(fitted(rules), wall=datetime(2026, 11, 21, 10, tzinfo=UTC))
    unit.wait(1, **ppm(0))
    assert unit.snapshot()["alerts"] == []
    again = unit.restart(off_s=3 * DAY_S)
    assert again.snapshot()["alerts"] == ["co_sensor_old"]
    again.wall, again.synced = None, False
    clockless = again.restart()
    assert clockless.snapshot()["alerts"] == ["co_sensor_old"]
    renewed = again.restart(sensors=fitted('[co]\nfitted = "2026-11-24"'))
    renewed.wall, renewed.synced = NOON + timedelta(days=3), True
    renewed.wait(1, **ppm(0))
    assert renewed.snapshot()["alerts"] == []


def test_without_a_date_the_first_certain_day_counts() -> None:
    unit = Unit(fitted("[co]\nlife_years = 2"), wall=None, synced=False)
    unit.wait(5, **ppm(0))
    assert unit.tent.totals.co.heard is None
    unit.wall, unit.synced = NOON, True
    unit.wait(5, **ppm(0))
    assert unit.tent.totals.co.heard == "2026-11-22"
    young = unit.restart(off_s=729 * DAY_S)
    young.wait(1, **ppm(0))
    assert young.snapshot()["alerts"] == []
    old = young.restart(off_s=3 * DAY_S)
    assert old.snapshot()["alerts"] == ["co_sensor_old"]


# The whole unit


def test_exhaust_raises_the_alarm_at_the_centre_and_a_restart_keeps_it(
    make_unit: Callable[..., Whole], broker: Broker, subscriber: Subscriber, tmp_path: Path
) -> None:
    whole = make_unit(broker.port, speed=20).reporting(stale_after_s=600.0)
    port = tmp_path / "tty-co"
    module = Module(port)
    settings = ze07co.Config(port=str(port), warm_up_s=0.0, silence_s=600.0)
    sensor = SensorSettings("co", "ze07co", settings)
    whole.config = replace(whole.config, sensors=(*whole.config.sensors, sensor))
    over = threading.Event()

    def send() -> None:
        while not over.wait(whole.clock.real_s(1.0)):
            module.cell.breathe(500.0, 1.0)
            module.report()

    sender = threading.Thread(target=send, daemon=True)
    whole.start()
    try:
        sender.start()
        subscriber.next("event", lambda e: e["detail"] == {"alert": "co_warning"})
        subscriber.next("event", lambda e: e["detail"] == {"alert": "co_alarm"})
        state = subscriber.next("state", lambda s: s["alerts"] == ["co_alarm"]).content
        assert state["co"]["level"] == "alarm"
        assert state["co"]["ppm"] > 300
        whole.stop()
        whole.start()
        assert whole.status()["co"]["level"] == "alarm"
        assert whole.status()["alerts"] == ["co_alarm"]
    finally:
        over.set()
        sender.join()
        whole.stop()
        module.close()


# Totals


def test_what_is_saved_comes_back_and_damage_does_not(unit: Unit) -> None:
    unit.wait(600, **ppm(100))
    saved = unit.tent.totals.as_dict()
    assert Totals.restore(saved).co == unit.tent.totals.co
    damaged = {
        "dose": 1e9, "ppm": -5, "boot": "x", "uptime_s": float("nan"), "read": 7,
        "peaks": [1, "x"], "still_s": -1, "heard": "never",
    }  # fmt: skip
    totals = Totals.restore({"co": damaged})
    assert totals.co == Exposure(dose=1.0)
    again = Unit(fitted(), {"co": damaged})
    again.wait(2, **ppm(0))
    assert again.snapshot()["co"]["ppm"] == 0.0
    assert Totals.restore({"co": {"peaks": [1.0] * 1000}}).co == Exposure()


def test_totals_that_could_not_be_read_are_added() -> None:
    mine, earlier = Totals(), Totals()
    mine.co.dose, mine.co.heard = 0.2, "2026-11-22"
    earlier.co.dose, earlier.co.heard = 0.7, "2025-01-02"
    mine.add(earlier.as_dict())
    assert (mine.co.dose, mine.co.heard) == (0.7, "2025-01-02")


def test_the_highest_reading_of_the_day_is_in_its_line(unit: Unit) -> None:
    unit.wait(5, **ppm(12.3))
    unit.wait(5, **ppm(1.0))
    unit = unit.restart(off_s=14 * HOUR_S)
    unit.wait(5, **ppm(2.0))
    assert json.loads(dict(unit.tent.take_lines())["2026-11-22"])["co_max_ppm"] == 12.3
    today, _ = unit.tent.open_lines()
    assert today is not None
    assert today["co_max_ppm"] == 2.0


def test_a_reading_older_than_the_limit_is_shown_no_longer(unit: Unit) -> None:
    unit.wait(5, **ppm(12.3))
    unit.wait(STALE_S + 1)
    block = unit.snapshot()["co"]
    assert (block["ppm"], block["quality"]) == (None, "stale")


# What an earlier run knew, and this one could not read when it began


@pytest.mark.parametrize("alert", ["co_alarm", "co_warning"])
def test_an_alert_of_a_ledger_that_is_read_late_stands_without_a_sensor(
    unit: Unit, alert: str
) -> None:
    earlier = {"alerts": sorted({alert, "co_warning"}), "co": {"dose": 0.95}}
    unit.wait(10)
    unit._note(unit.tent.add(earlier, {}))
    unit.wait(10)
    co = unit.snapshot()
    assert alert in co["alerts"]
    assert co["co"]["level"] == alert.removeprefix("co_")
    unit.wait(5000, **ppm(0))
    assert unit.snapshot()["co"]["level"] == "none"


@pytest.mark.parametrize(
    "damaged", [{"peaks": [9e15]}, {"ppm": 9e15}, {"low_ppm": 3.0, "high_ppm": 1.0, "still_s": 9e6}]
)
def test_what_no_sensor_can_have_read_is_forgotten_and_the_dose_stays(damaged: Any) -> None:
    restored = Totals.restore({"co": {"dose": 0.7, **damaged}}).co
    assert restored == Exposure(dose=0.7)
