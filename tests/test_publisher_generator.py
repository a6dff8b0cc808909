"""The generator's rules: sequences of readings, a physical engine model, and random readings."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import pytest

from publisher.config.generator import (
    FREQUENCY,
    FREQUENCY_WARNING,
    FUEL_SUSPECTED,
    OVERLOAD,
    OVERLOAD_WARNING,
    OVERSPEED,
    SERVICE_DUE,
    GeneratorSettings,
)
from publisher.rules.engine_alerts import ALERTS
from publisher.rules.generator import Engine, Metered, State
from publisher.rules.held import Held

RATED_W = 5000.0
RULES = GeneratorSettings(rated_w=RATED_W)
NOTHING = Metered()


class Walk:
    """An engine in simulated time, in steps of a second."""

    def __init__(
        self, rules: GeneratorSettings = RULES, raised: tuple[str, ...] = (), *, ac: bool = True
    ) -> None:
        self.engine = Engine(rules, raised, ac=ac)
        self.now_s = 0.0
        self.seen = NOTHING

    def reads(self, seconds: float = 1.0, step_s: float = 1.0, **values: Any) -> "Walk":
        """Let some seconds pass with a new reading every `step_s`, the last one at their end."""
        for _ in range(round(seconds / step_s)):
            self.now_s += step_s
            self.seen = Metered(self.now_s, **values)
            self.engine.apply(self.seen, self.now_s)
        return self

    def ac(self, seconds: float = 1.0, hz: float | None = 50.0, **values: Any) -> "Walk":
        """Let an AC meter read a healthy generator, except for the given values."""
        healthy = {"voltage_v": 230.0, "current_a": 10.0, "power_w": 2300.0, "frequency_hz": hz}
        return self.reads(seconds, **{**healthy, **values})

    def dc(self, seconds: float, current_a: float | None, **values: Any) -> "Walk":
        return self.reads(seconds, current_a=current_a, **values)

    def silent(self, seconds: float, line: bool | None = None, *, failed: bool = False) -> "Walk":
        """Let time pass without a new reading: the last one remains, or none if the sensor has failed."""
        self.seen = Metered(line=line) if failed else self.seen._replace(line=line)
        for _ in range(round(seconds)):
            self.now_s += 1.0
            self.engine.apply(self.seen, self.now_s)
        return self

    @property
    def state(self) -> State:
        return self.engine.state

    @property
    def alerts(self) -> set[str]:
        return set(self.engine.alerts)


def running(rules: GeneratorSettings = RULES, raised: tuple[str, ...] = ()) -> Walk:
    """An AC generator that has run past the settling time."""
    walk = Walk(rules, raised).ac(3)
    assert walk.state is State.RUNNING
    return walk.ac(rules.settle_s)


def warmed_up() -> Walk:
    """An AC generator that has run until it no longer counts as cold."""
    return running().ac(RULES.warm_up_s)


# A held condition


def held(enter_s: float, leave_s: float, *steps: tuple[float, int], on: bool = False) -> bool:
    """Take steps (time, 1 to enter, -1 to leave, 0 for neither)."""
    condition = Held(enter_s, leave_s, on)
    for at_s, what in steps:
        condition.apply(what > 0, what < 0, at_s)
    return condition.on


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(0, 1), (9, 1)], False),
        ([(0, 1), (9, 1), (10, 1)], True),
        ([(0, 1), (10, 1)], True),
        ([(0, 1), (5, 0), (6, 1), (15, 1)], False),
        ([(0, 1), (5, -1), (6, 1), (16, 1)], True),
        ([(0, 1), (10, 1), (11, -1), (15, -1)], True),
        ([(0, 1), (10, 1), (11, -1), (16, -1)], False),
        ([(0, 1), (10, 1), (11, -1), (14, 0), (15, -1), (19, -1)], True),
        ([(0, 1), (10, 1), (11, 0), (999, 0)], True),
    ],
)
def test_a_condition_comes_and_goes_when_it_has_held(
    steps: list[tuple[float, int]], expected: bool
) -> None:
    assert held(10, 5, *steps) is expected


def test_without_holds_a_condition_follows_at_once() -> None:
    assert held(0, 0, (0, 1)) is True
    assert held(0, 0, (0, 1), (1, -1)) is False


def test_a_decision_that_waits_is_made_by_the_next_reading() -> None:
    condition = Held(1, 1)
    assert not condition.apply(True, False, 0, wait=True)
    assert not condition.apply(True, False, 5, wait=True)
    assert condition.apply(True, False, 5.5)


# A DC meter


def test_nothing_is_known_at_first() -> None:
    for ac in (False, True):
        engine = Walk(ac=ac).silent(5).engine
        assert engine.state is State.UNKNOWN
        assert engine.running is None
        assert engine.load_pct is None
        assert engine.alerts == frozenset()


@pytest.mark.parametrize(
    ("current_a", "expected"),
    [(1.0, State.RUNNING), (0.99, State.STOPPED), (-5.0, State.RUNNING), (0.0, State.STOPPED)],
)
def test_a_dc_meters_first_reading_decides(current_a: float, expected: State) -> None:
    assert Walk(ac=False).dc(1, current_a).state is expected


def test_on_a_dc_meter_a_start_and_a_stop_count_once_they_have_lasted() -> None:
    walk = Walk(ac=False).dc(5, 0.0).dc(2, 5.0)
    assert walk.state is State.STOPPED
    assert walk.dc(1, 5.0).engine.running is True
    assert walk.dc(2, 0.0).state is State.RUNNING
    assert walk.dc(1, 0.0).engine.running is False


def test_a_start_that_does_not_last_begins_anew() -> None:
    walk = Walk(ac=False).dc(5, 0.0)
    for _ in range(10):
        assert walk.dc(2, 5.0).dc(1, 0.0).state is State.STOPPED


def test_between_its_levels_a_dc_meter_changes_nothing() -> None:
    assert Walk(ac=False).dc(1, 0.0).dc(60, 0.8).state is State.STOPPED
    assert Walk(ac=False).dc(1, 5.0).dc(60, 0.7).state is State.RUNNING
    assert Walk(ac=False).dc(1, 5.0).dc(60, 0.69).state is State.STOPPED
    tight = GeneratorSettings(running_a=1.0, stopped_pct=100)
    assert Walk(tight, ac=False).dc(1, 5.0).dc(60, 0.99).state is State.STOPPED


def test_an_old_value_decides_nothing_however_often_it_is_shown() -> None:
    walk = Walk(ac=False).dc(1, 0.0).dc(1, 5.0).silent(60)
    assert walk.state is State.STOPPED
    assert walk.dc(1, 5.0).state is State.RUNNING


def test_an_unknown_current_is_an_unknown_state_at_once_and_forgets_what_was_pending() -> None:
    walk = Walk(ac=False).dc(1, 0.0).dc(1, 5.0).silent(1, failed=True)
    assert walk.state is State.UNKNOWN
    assert walk.dc(1, 0.0).dc(2, 5.0).state is State.STOPPED
    assert walk.dc(1, None).state is State.UNKNOWN


def test_with_a_dc_meter_too_a_dead_line_is_a_stopped_generator() -> None:
    walk = Walk(ac=False).silent(3, line=False)
    assert walk.state is State.UNKNOWN
    assert walk.silent(1, line=False).state is State.STOPPED
    assert walk.silent(1, line=True).state is State.UNKNOWN


def test_beside_a_live_line_no_current_is_no_stopped_generator() -> None:
    assert Walk(ac=False).dc(60, 0.0, line=True).state is State.UNKNOWN
    walk = Walk(ac=False).dc(5, 10.0, line=True).dc(2, 0.0, line=True)
    assert walk.state is State.RUNNING
    assert walk.dc(1, 0.0, line=True).state is State.UNKNOWN  # the battery is full
    assert walk.dc(600, 0.0, line=True).state is State.UNKNOWN
    assert walk.dc(2, 5.0, line=True).state is State.UNKNOWN, "it was not so when it was last known"
    assert walk.dc(1, 5.0, line=True).state is State.RUNNING
    assert walk.dc(3, 0.0, line=True).dc(3, 0.0, line=False).state is State.STOPPED


def test_a_charger_has_its_time_to_begin() -> None:
    walk = Walk(ac=False).dc(60, 0.0, line=False).dc(9, 0.0, line=True)
    assert walk.state is State.STOPPED
    assert walk.dc(1, 0.0, line=True).state is State.UNKNOWN
    assert walk.dc(3, 5.0, line=True).state is State.RUNNING
    walk = Walk(ac=False).dc(60, 0.0, line=False).dc(6, 0.0, line=True).dc(3, 5.0, line=True)
    assert walk.state is State.RUNNING


def test_frequency_is_not_judged_on_a_dc_meter() -> None:
    walk = Walk(raised=(FREQUENCY, FUEL_SUSPECTED, OVERLOAD), ac=False)
    assert walk.alerts == {OVERLOAD}
    assert walk.dc(60, 40.0, power_w=1000.0, frequency_hz=45.0).alerts == {OVERLOAD}


# An AC meter


def test_an_ac_meters_first_readings_decide_when_they_agree() -> None:
    assert Walk().ac(2).state is State.UNKNOWN
    assert Walk().ac(3).state is State.RUNNING
    assert Walk().reads(2, voltage_v=0.0).state is State.UNKNOWN
    assert Walk().reads(3, voltage_v=0.0).state is State.STOPPED


def test_odd_readings_after_a_restart_start_nothing() -> None:
    walk = Walk()
    for _ in range(10):
        walk.ac(2).ac(1, voltage_v=150.0)
        assert walk.state is State.UNKNOWN
    assert walk.ac(3).state is State.RUNNING
    assert Walk().ac(2).reads(1, voltage_v=20.0).ac(2).state is State.UNKNOWN
    assert Walk().ac(1).silent(60).ac(2).state is State.UNKNOWN  # not in a row


def test_readings_that_cannot_be_judged_leave_it_unknown() -> None:
    assert Walk().ac(60, hz=None).state is State.UNKNOWN
    assert Walk().ac(60, hz=60.0).state is State.UNKNOWN
    assert Walk().ac(60, voltage_v=None).state is State.UNKNOWN


def test_the_same_reading_seen_again_is_not_another_good_one() -> None:
    assert Walk().ac(2).silent(8).state is State.UNKNOWN


@pytest.mark.parametrize("good_readings", [1, 5])
def test_how_many_readings_must_agree_is_configured(good_readings: int) -> None:
    rules = GeneratorSettings(good_readings=good_readings)
    assert Walk(rules).ac(good_readings - 1).state is State.UNKNOWN
    assert Walk(rules).ac(good_readings).state is State.RUNNING


def stopped() -> Walk:
    walk = Walk().reads(3, voltage_v=0.0)
    assert walk.state is State.STOPPED
    return walk


def test_a_start_counts_after_five_seconds() -> None:
    walk = stopped().ac(5)
    assert walk.state is State.STOPPED
    assert walk.ac(1).state is State.RUNNING


@pytest.mark.parametrize(
    "values",
    [
        {"voltage_v": 183.9},
        {"hz": 44.9},
        {"hz": 57.1},
        {"hz": None},
        {"voltage_v": 0.0, "hz": None},
    ],
)
def test_a_start_is_interrupted_by_whatever_is_no_running_generator(values: Any) -> None:
    walk = stopped().ac(5).ac(1, **values).reads(1, voltage_v=0.0).ac(5)
    assert walk.state is State.STOPPED
    assert walk.ac(1).state is State.RUNNING


def test_at_its_limits_it_runs() -> None:
    assert stopped().ac(6, hz=45.0, voltage_v=184.0).state is State.RUNNING
    assert stopped().ac(6, hz=57.0).state is State.RUNNING


def test_a_stop_counts_after_three_seconds_below_115_volts() -> None:
    walk = running().ac(60, voltage_v=115.0).reads(3, voltage_v=114.9)
    assert walk.state is State.RUNNING
    assert walk.reads(1, voltage_v=114.9).state is State.STOPPED


def test_a_stop_is_interrupted_by_a_voltage() -> None:
    walk = running()
    for _ in range(10):
        walk.reads(3, voltage_v=90.0).reads(1, voltage_v=120.0)
        assert walk.state is State.RUNNING


def test_a_weak_generator_runs_on() -> None:
    assert running().ac(60, voltage_v=140.0, hz=43.0).state is State.RUNNING


def test_a_voltage_that_never_counts_as_running_is_not_called_stopped() -> None:
    walk = stopped().ac(9, voltage_v=160.0)
    assert walk.state is State.STOPPED
    assert walk.ac(1, voltage_v=160.0).state is State.UNKNOWN
    assert walk.ac(600, voltage_v=160.0).state is State.UNKNOWN
    assert walk.ac(3).state is State.RUNNING


def test_a_start_and_a_stop_are_timed_by_the_clock_and_not_by_readings() -> None:
    often = stopped().reads(5, 0.25, voltage_v=230.0, frequency_hz=50.0)
    assert often.state is State.STOPPED
    assert often.reads(0.25, 0.25, voltage_v=230.0, frequency_hz=50.0).state is State.RUNNING
    seldom = stopped().reads(8, 4.0, voltage_v=230.0, frequency_hz=50.0)
    assert seldom.state is State.STOPPED
    assert seldom.reads(4, 4.0, voltage_v=230.0, frequency_hz=50.0).state is State.RUNNING


def test_a_reading_lost_in_between_does_no_harm() -> None:
    walk = stopped().ac(2).silent(1).ac(1).silent(1, failed=True)
    assert walk.state is State.STOPPED
    assert walk.ac(1).state is State.RUNNING


# Silence and the contact


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("line", [None, True])
@pytest.mark.parametrize("begin", [running, stopped])
def test_silence_is_unknown_after_ten_seconds(
    begin: Callable[[], Walk], line: bool | None, failed: bool
) -> None:
    walk = begin()
    before = walk.state
    assert walk.silent(9, line, failed=failed).state is before
    assert walk.silent(1, line, failed=failed).state is State.UNKNOWN
    assert walk.silent(3600, line, failed=failed).state is State.UNKNOWN


def test_a_meter_that_answers_without_a_voltage_is_silent() -> None:
    assert running().ac(9, voltage_v=None, hz=None).state is State.RUNNING
    assert running().ac(10, voltage_v=None, hz=None).state is State.UNKNOWN


def test_silence_ends_with_three_readings_that_agree() -> None:
    walk = running().silent(60)
    assert walk.ac(2).state is State.UNKNOWN
    assert walk.ac(1).state is State.RUNNING
    walk = running().silent(60)
    assert walk.reads(2, voltage_v=0.0).state is State.UNKNOWN
    assert walk.reads(1, voltage_v=0.0).state is State.STOPPED


@pytest.mark.parametrize("failed", [False, True])
def test_a_dead_line_is_a_stopped_generator_whatever_the_meter_said_last(failed: bool) -> None:
    walk = running().silent(3, line=False, failed=failed)
    assert walk.state is State.RUNNING
    assert walk.silent(1, line=False, failed=failed).state is State.STOPPED
    assert walk.silent(3600, line=False, failed=failed).state is State.STOPPED


def test_a_contact_that_chatters_begins_anew() -> None:
    walk = running().silent(3, line=False).silent(1, line=True).silent(3, line=False)
    assert walk.state is State.RUNNING
    assert walk.silent(1, line=False).state is State.STOPPED


def test_a_unit_that_starts_beside_a_dead_line_knows_it_after_three_seconds() -> None:
    assert Walk().silent(3, line=False).state is State.UNKNOWN
    assert Walk().silent(4, line=False).state is State.STOPPED


@pytest.mark.parametrize("line", [None, True])
def test_a_live_line_alone_is_no_running_generator(line: bool | None) -> None:
    walk = running().silent(60, line=False).silent(9, line)
    assert walk.state is State.STOPPED  # the meter has just been powered
    assert walk.silent(1, line).state is State.UNKNOWN
    assert walk.silent(3600, line).state is State.UNKNOWN
    assert Walk().silent(3600, line=True).state is State.UNKNOWN


def test_a_start_seen_by_contact_and_meter() -> None:
    walk = Walk().silent(60, line=False).silent(2, line=True).ac(5, line=True)
    assert walk.state is State.STOPPED
    assert walk.ac(1, line=True).state is State.RUNNING


def test_what_was_pending_before_the_line_went_dead_is_forgotten() -> None:
    walk = stopped().ac(2, line=True).silent(600, line=False).ac(1, line=True)
    assert walk.state is State.STOPPED


def test_a_line_that_dies_in_the_midst_of_silence_is_not_unknown_first() -> None:
    walk = running().silent(8, line=True)
    for _ in range(3):
        assert walk.silent(1, line=False).state is State.RUNNING
    assert walk.silent(1, line=False).state is State.STOPPED


def test_a_meter_that_measures_a_live_line_outweighs_a_contact_whose_cable_is_cut() -> None:
    walk = running().ac(600, line=False)
    assert walk.state is State.RUNNING
    assert walk.silent(2, line=False).state is State.RUNNING
    assert walk.silent(1, line=False).state is State.STOPPED
    assert walk.ac(6, line=False).state is State.RUNNING


# Load


def test_load_is_the_share_of_the_rated_power_whatever_its_sign() -> None:
    assert running().ac(power_w=2500.0).engine.load_pct == 50
    assert Walk(ac=False).dc(1, -10.0, power_w=-2500.0).engine.load_pct == 50
    assert running().ac(power_w=None).engine.load_pct is None
    assert running().silent(1, failed=True).engine.load_pct is None
    assert running(GeneratorSettings()).ac(power_w=2500.0).engine.load_pct is None


def loads(walk: Walk, seconds: float, load_pct: float | None) -> Walk:
    power_w = None if load_pct is None else RATED_W * load_pct / 100
    if walk.engine._ac:
        return walk.ac(seconds, power_w=power_w)
    return walk.dc(seconds, 10.0, power_w=power_w)


def each_meter() -> Iterator[Walk]:
    yield running()
    yield Walk(ac=False).dc(10, 10.0, power_w=2500.0)


@pytest.mark.parametrize("walk", list(each_meter()), ids=["ac", "dc"])
def test_overload_walked_through(walk: Walk) -> None:
    assert loads(walk, 600, 90).alerts == set()
    assert loads(walk, 60, 90.1).alerts == set()
    assert loads(walk, 1, 90.1).alerts == {OVERLOAD_WARNING}
    assert loads(walk, 600, 80).alerts == {OVERLOAD_WARNING}
    assert loads(walk, 600, 100).alerts == {OVERLOAD_WARNING}
    assert loads(walk, 10, 100.1).alerts == {OVERLOAD_WARNING}
    assert loads(walk, 1, 100.1).alerts == {OVERLOAD}  # the alarm alone
    assert loads(walk, 600, 80).alerts == {OVERLOAD}
    assert loads(walk, 60, 79.9).alerts == {OVERLOAD}
    assert loads(walk, 1, 79.9).alerts == set()


def test_overload_is_the_alarm_before_the_warning_is_due() -> None:
    walk = loads(running(), 11, 120)
    assert walk.alerts == {OVERLOAD}
    assert loads(loads(walk, 600, 95), 60, 79).alerts == {OVERLOAD}
    assert loads(walk, 1, 79).alerts == set()


def test_pulses_of_overload_add_up() -> None:
    walk = running()
    for _ in range(3):  # four seconds between five readings, less one that 50 s below make up for
        assert loads(loads(walk, 5, 120), 55, 60).alerts == set()
    assert loads(walk, 5, 120).alerts == {OVERLOAD}
    for _ in range(10):
        assert loads(loads(walk, 55, 60), 5, 120).alerts == {OVERLOAD}
    walk = running()
    for _ in range(3):
        assert loads(loads(walk, 4, 115), 4, 60).alerts == set()
    assert loads(walk, 4, 115).alerts == {OVERLOAD}


def test_motors_that_start_and_seldom_excesses_are_no_overload() -> None:
    walk = running()
    for _ in range(100):
        assert loads(loads(walk, 1, 300), 10, 60).alerts == set()
    for _ in range(20):
        assert loads(loads(walk, 9, 120), 600, 60).alerts == set()


def test_a_clearing_is_interrupted_and_forgets_the_pulses() -> None:
    walk = loads(running(), 11, 120)
    for _ in range(10):
        assert loads(loads(walk, 59, 50), 1, 85).alerts == {OVERLOAD}
    assert loads(loads(walk, 61, 50), 9, 120).alerts == set()


def test_an_unknown_load_holds_an_alert_and_its_time_counts_for_nothing() -> None:
    walk = loads(loads(loads(running(), 6, 120), 60, None), 5, 120)
    assert walk.alerts == set()
    assert loads(walk, 2, 120).alerts == {OVERLOAD}
    assert loads(loads(walk, 600, None), 60, 50).alerts == {OVERLOAD}
    assert loads(walk, 1, 50).alerts == set()
    assert loads(loads(loads(running(), 60, 95), 1, None), 60, 95).alerts == set()


def test_an_old_overload_comes_and_goes_by_no_tick() -> None:
    walk = loads(running(), 5, 120).silent(9)
    assert walk.alerts == set()
    assert loads(walk, 1, 120).alerts == {OVERLOAD}


def test_without_a_rated_power_there_is_no_overload() -> None:
    walk = running(GeneratorSettings(), (OVERLOAD, OVERLOAD_WARNING))
    assert walk.alerts == set()
    assert walk.ac(600, power_w=1e6).alerts == set()


# Alerts and the state


EACH_ALERT = [
    OVERLOAD_WARNING, OVERLOAD, FREQUENCY_WARNING, FREQUENCY, OVERSPEED, FUEL_SUSPECTED,
]  # fmt: skip


@pytest.mark.parametrize("alert", EACH_ALERT)
def test_an_alert_outlives_a_power_cut_until_the_opposite_is_known(alert: str) -> None:
    walk = Walk(raised=(alert,))
    assert walk.silent(600).alerts == {alert}
    walk.ac(3 + RULES.settle_s)
    assert walk.state is State.RUNNING
    assert walk.alerts == {alert}
    assert walk.ac(25).alerts == {alert}
    assert walk.ac(60).alerts == set()


@pytest.mark.parametrize("alert", EACH_ALERT)
def test_an_alert_goes_when_the_generator_is_known_to_stand(alert: str) -> None:
    assert Walk(raised=(alert,)).reads(2, voltage_v=0.0).alerts == {alert}
    assert Walk(raised=(alert,)).reads(3, voltage_v=0.0).alerts == set()
    assert Walk(raised=(alert,)).silent(4, line=False).alerts == set()


@pytest.mark.parametrize("alert", EACH_ALERT)
def test_an_alert_stands_while_the_state_is_unknown(alert: str) -> None:
    walk = running(raised=(alert,)).ac(10)
    assert walk.silent(3600).state is State.UNKNOWN
    assert walk.alerts == {alert}
    assert walk.ac(30).alerts == {alert}  # the ten good seconds before do not count


def test_alerts_of_others_are_none_of_its_business() -> None:
    assert Walk(raised=("battery_low", "door_obstructed", SERVICE_DUE)).alerts == set()


def test_of_a_warning_and_an_alarm_that_both_stood_the_alarm_is_shown() -> None:
    raised = (OVERLOAD_WARNING, OVERLOAD, FREQUENCY, FREQUENCY_WARNING)
    assert Walk(raised=raised).alerts == {OVERLOAD, FREQUENCY}


def test_the_service_is_due_when_its_hours_are_full() -> None:
    assert not GeneratorSettings().service_due(1e6)
    rules = GeneratorSettings(service_every_h=100)
    assert not rules.service_due(99.9)
    assert rules.service_due(100.0)


# Frequency


def test_a_sag_walked_through() -> None:
    walk = running()
    assert walk.ac(600, hz=47.5).alerts == set()
    assert walk.ac(3, hz=47.4).alerts == set()
    assert walk.ac(1, hz=47.4).alerts == {FREQUENCY_WARNING}
    assert walk.ac(20, hz=46.0).alerts == {FREQUENCY_WARNING}
    assert walk.ac(1, hz=45.9).alerts == {FREQUENCY_WARNING}
    assert walk.ac(1, hz=45.9).alerts == {FREQUENCY}
    assert walk.ac(600, hz=48.5).alerts == {FREQUENCY}
    assert walk.ac(30, hz=48.6).alerts == {FREQUENCY}
    assert walk.ac(1, hz=48.6).alerts == set()


def test_a_sag_to_the_alarm_counts_from_its_first_reading() -> None:
    walk = running().ac(hz=45.5)
    assert walk.alerts == set()
    assert walk.ac(hz=45.5).alerts == {FREQUENCY}


def test_a_dip_that_recovers_is_no_sag() -> None:
    walk = running()
    for _ in range(20):
        walk.ac(1, hz=45.5, power_w=4000.0).ac(2, hz=47.0, power_w=4000.0).ac(10)
        assert walk.alerts == set()


def test_recovery_is_interrupted() -> None:
    walk = running().ac(10, hz=45.0)
    for _ in range(5):
        assert walk.ac(30, hz=50.0).ac(1, hz=48.0).alerts >= {FREQUENCY}


def test_a_sag_is_not_judged_in_the_first_seconds() -> None:
    walk = Walk().ac(3, hz=45.5)
    assert walk.state is State.RUNNING
    assert walk.ac(10, hz=45.5).alerts == set()
    assert walk.ac(1, hz=45.5).alerts == {FREQUENCY}
    assert stopped().ac(6, hz=45.5).ac(8, hz=45.5).ac(2).alerts == set()


def test_an_engine_that_runs_down_has_no_sag() -> None:
    walk = running()
    for step in range(1, 12):
        walk.ac(hz=50.0 - 2.5 * step, voltage_v=230.0 - 10.0 * step)
        assert walk.alerts == set()
    assert walk.reads(3, voltage_v=60.0, frequency_hz=20.0).alerts == set()


def test_an_engine_that_is_dragged_down_and_stays_there_has_one() -> None:
    walk = running().ac(hz=47.0).ac(hz=44.0)
    assert walk.alerts == set()
    assert walk.ac(hz=43.0).alerts == {FREQUENCY}


def test_an_unknown_frequency_is_no_sag_and_no_recovery() -> None:
    assert not running().ac(3, hz=47.0).ac(1, hz=None).ac(3, hz=47.0).alerts & {FREQUENCY_WARNING}
    assert not running().ac(1, hz=45.5).ac(1, hz=None).ac(1, hz=45.5).alerts
    assert running().ac(10, hz=45.0).ac(600, hz=None).alerts >= {FREQUENCY}


def test_an_inverter_generator_is_not_judged_by_its_frequency() -> None:
    rules = replace(RULES, inverter=True)
    walk = Walk(rules, (FREQUENCY, FREQUENCY_WARNING, FUEL_SUSPECTED, OVERLOAD))
    assert walk.alerts == {OVERLOAD}
    walk.ac(120)
    for hz in [50.0, 46.0] * 30:
        assert walk.ac(2, hz=hz).alerts == set()


def test_overspeed_walked_through() -> None:
    walk = running()
    assert walk.ac(600, hz=55.0).alerts == set()
    assert walk.ac(5, hz=55.1).alerts == set()
    assert walk.ac(1, hz=60.0).alerts == {OVERSPEED}
    assert walk.ac(600, hz=54.0).alerts == {OVERSPEED}
    assert walk.ac(30, hz=53.9).alerts == {OVERSPEED}
    assert walk.ac(1, hz=53.9).alerts == set()


def test_an_overshoot_after_a_load_is_shed_is_no_overspeed() -> None:
    walk = warmed_up()
    for _ in range(10):
        walk.ac(20, power_w=4200.0, hz=49.5).ac(4, power_w=400.0, hz=56.0)
        assert walk.ac(60, power_w=400.0, hz=52.0).alerts == set()


def test_a_generator_that_starts_too_fast_is_told_although_it_does_not_count_as_running() -> None:
    walk = stopped().ac(12, hz=60.0)
    assert walk.state is State.UNKNOWN
    assert walk.ac(6, hz=60.0).alerts == {OVERSPEED}
    assert Walk().ac(6, hz=60.0).alerts == {OVERSPEED}
    assert Walk().ac(60, hz=60.0, voltage_v=150.0).alerts == set()
    assert Walk(replace(RULES, inverter=True)).ac(60, hz=60.0).alerts == set()


# An inverter that nobody flagged


def idles(walk: Walk, seconds: float, hz: float = 46.0, power_w: float = 300.0) -> Walk:
    for second in range(round(seconds)):
        walk.ac(hz=hz + 0.1 * (second % 3 == 1), power_w=power_w)
    return walk


def test_an_eco_idle_is_no_sag_and_no_lack_of_fuel() -> None:
    walk = warmed_up()
    for idle_hz in (46.0, 45.5, 47.0):
        for stays_s in (0, 4, 9, 30):
            walk.ac(30, power_w=2500.0)
            assert walk.ac(stays_s, power_w=300.0).alerts == set()
            assert walk.ac(hz=(50 + idle_hz) / 2, power_w=300.0).alerts == set()
            for _ in range(600):
                assert idles(walk, 1, idle_hz).alerts == set()
            assert walk.ac(2, hz=idle_hz, power_w=2500.0).ac(power_w=2500.0).alerts == set()


def test_an_inverter_that_starts_in_its_eco_mode_idles() -> None:
    walk = stopped()
    for _ in range(600):
        assert idles(walk, 1).alerts == set()


def test_a_load_that_comes_before_the_idle_is_certain_finds_no_sag() -> None:
    for seconds in range(1, 15):
        walk = warmed_up().ac(30, power_w=300.0)
        assert idles(walk, seconds, 45.5).alerts == set()
        assert walk.ac(2, hz=45.5, power_w=2500.0).ac(hz=48.0, power_w=2500.0).alerts == set()
        assert walk.ac(60, power_w=2500.0).alerts == set()


def test_a_low_frequency_under_a_load_is_no_idle() -> None:
    assert idles(warmed_up(), 30, 45.8, power_w=800.0).alerts >= {FREQUENCY}
    walk = idles(warmed_up().ac(power_w=300.0), 30, 45.8)
    assert walk.alerts == set()
    assert idles(walk, 10, 45.8, power_w=800.0).alerts >= {FREQUENCY}


def test_an_engine_that_sinks_or_swings_with_little_load_does_not_idle() -> None:
    walk = warmed_up().ac(30, power_w=300.0, hz=51.0)
    for second in range(60):
        walk.ac(hz=51.0 - 0.05 * second, power_w=300.0)
    assert FUEL_SUSPECTED in walk.alerts
    walk = warmed_up().ac(30, power_w=300.0, hz=48.0)
    for second in range(30):
        walk.ac(hz=46.0 + 0.5 * (second % 2), power_w=300.0)
    assert FREQUENCY_WARNING in walk.alerts


def test_without_a_rated_power_little_is_less_than_750_watts() -> None:
    bare = replace(RULES, rated_w=None)
    assert idles(running(bare), 60, power_w=740.0).alerts == set()
    assert idles(running(bare), 60, power_w=760.0).alerts >= {FREQUENCY_WARNING}


# Fuel, with given readings


def test_a_frequency_that_falls_under_the_same_load_suggests_a_lack_of_fuel() -> None:
    walk = warmed_up()
    for step in range(1, 12):  # 0.2 Hz a second: 2 Hz after ten
        walk.ac(hz=50.0 - 0.2 * step)
    assert walk.alerts == set()
    assert walk.ac(2, hz=47.6).alerts == set()
    assert walk.ac(1, hz=47.6).alerts == {FUEL_SUSPECTED}
    assert walk.ac(30, hz=47.6).alerts == {FUEL_SUSPECTED}


def test_what_was_before_a_silence_is_not_held_against_the_frequency() -> None:
    walk = running().ac(30, hz=50.5).silent(10).ac(60, hz=48.0)
    assert walk.state is State.RUNNING
    assert walk.alerts == set()


@pytest.mark.parametrize("falls_in_s", [60, 120, 240])
def test_a_mean_that_sinks_slowly_suggests_a_lack_of_fuel(falls_in_s: int) -> None:
    walk = running().ac(30, hz=51.0)
    for second in range(falls_in_s):
        walk.ac(hz=51.0 - 3.0 * second / falls_in_s)
        sunk_hz = 3.0 * second / falls_in_s
        if sunk_hz < 2.0:
            assert walk.alerts == set()
    assert walk.alerts == {FUEL_SUSPECTED}


def test_a_mean_that_sinks_is_seen_through_a_kettle_that_switches() -> None:
    walk = warmed_up()
    for second in range(180):
        heats = second % 30 < 15
        watts, hz = (4200.0, 50.0) if heats else (2200.0, 51.0)
        if second <= 120:
            assert walk.alerts == set()
        walk.ac(power_w=watts, hz=hz - 0.05 * max(0, second - 120))
    assert FUEL_SUSPECTED in walk.alerts


def test_a_mean_that_sinks_less_or_within_a_day_is_no_lack_of_fuel() -> None:
    walk = running()
    for second in range(300):
        assert walk.ac(hz=51.0 - 1.8 * second / 300).alerts == set()
    for second in range(3000):
        assert walk.ac(hz=49.2 + 1.8 * (1 - second / 3000) - 0.5).alerts == set()


def swings(walk: Walk, seconds: int, low_hz: float, high_hz: float, period_s: float = 4.0) -> Walk:
    middle, half = (low_hz + high_hz) / 2, (high_hz - low_hz) / 2
    for second in range(seconds):
        hz = middle + half * math.sin(2 * math.pi * (second + 0.5) / period_s)
        volts = 230.0 * hz / 50.0
        walk.ac(hz=hz, voltage_v=volts, power_w=2300.0 * (hz / 50.0) ** 2)
    return walk


@pytest.mark.parametrize("period_s", [2.7, 4.0, 9.0, 20.0])
def test_a_swing_of_more_than_two_hertz_suggests_a_lack_of_fuel(period_s: float) -> None:
    assert swings(warmed_up(), 30, 48.2, 51.8, period_s).alerts == {FUEL_SUSPECTED}
    assert swings(warmed_up(), 300, 49.6, 50.4, period_s).alerts == set()


@pytest.mark.parametrize("period_s", [1.3, 1.7, 2.7, 4.0, 9.0, 14.0])
def test_a_small_swing_that_goes_on_suggests_a_lack_of_fuel(period_s: float) -> None:
    walk = swings(warmed_up(), 10, 49.3, 50.7, period_s)
    assert walk.alerts == set()
    assert swings(walk, 50, 49.3, 50.7, period_s).alerts == {FUEL_SUSPECTED}
    assert walk.ac(90).alerts == set()


def test_a_small_swing_is_seen_between_changes_of_load() -> None:
    walk = warmed_up()
    for second in range(120):
        heats = second // 20 % 2
        swing_hz = 0.8 * math.sin(second * 2.1)
        walk.ac(power_w=4200.0 if heats else 2200.0, hz=(49.5 if heats else 51.0) + swing_hz)
    assert walk.alerts == {FUEL_SUSPECTED}


def test_a_speed_that_changes_once_is_no_swing() -> None:
    walk = warmed_up().ac(60, hz=50.8)
    assert walk.ac(15, hz=49.2).ac(60, hz=50.0).alerts == set()


def test_a_cold_engine_that_hunts_is_not_short_of_fuel() -> None:
    for period_s in (2.3, 4.0, 7.0):
        walk = stopped()
        for second in range(60):
            hz = 50.1 + 2.5 * math.sin(2 * math.pi * second / period_s)
            assert walk.ac(hz=hz).alerts == set()
        for _ in range(240):
            assert walk.ac().alerts == set()


def test_a_cold_engine_that_sinks_and_stays_low_is_short_of_fuel() -> None:
    walk = running().ac(10)
    for step in range(12):
        walk.ac(hz=50.0 - 0.2 * step)
    assert walk.ac(12, hz=47.6).alerts == {FUEL_SUSPECTED}


def test_the_suspicion_goes_after_a_minute_of_steadiness() -> None:
    walk = swings(warmed_up(), 30, 48.2, 51.8).ac(2)
    for _ in range(3):
        assert walk.ac(40).alerts == {FUEL_SUSPECTED}
        swings(walk, 8, 49.2, 51.2)  # a swing below 2 Hz, but not steady
    assert walk.ac(58).alerts == {FUEL_SUSPECTED}
    assert walk.ac(45).alerts == set()


def test_a_frequency_that_falls_because_the_load_rises_is_no_lack_of_fuel() -> None:
    walk = running(GeneratorSettings()).ac(30, power_w=1000.0, hz=51.5)
    for step in range(60):
        walk.ac(power_w=1000.0 + 60.0 * step, hz=51.5 - 0.06 * step)
        assert FUEL_SUSPECTED not in walk.alerts


def test_a_heater_that_switches_is_no_lack_of_fuel() -> None:
    walk = running()
    for _ in range(20):
        walk.ac(7, power_w=400.0, hz=51.5).ac(7, power_w=4200.0, hz=48.7)
        assert walk.alerts == set()


def test_the_overshoot_after_a_load_is_shed_is_no_lack_of_fuel() -> None:
    walk = running()
    for _ in range(10):
        walk.ac(20, power_w=4200.0, hz=49.0).ac(1, power_w=400.0, hz=55.0)
        walk.ac(2, power_w=400.0, hz=53.5).ac(40, power_w=400.0, hz=51.2)
        assert walk.alerts == set()


def test_a_frequency_that_is_read_before_the_power_is_no_lack_of_fuel() -> None:
    walk = running()
    for _ in range(10):
        walk.ac(8, power_w=400.0, hz=51.0).ac(1, power_w=400.0, hz=47.6)
        walk.ac(8, power_w=4200.0, hz=49.0)
        assert walk.alerts == set()


def test_an_overload_is_no_lack_of_fuel() -> None:
    walk = running().ac(30, power_w=4000.0)
    for step in range(40):
        walk.ac(power_w=5500.0, hz=49.0 - 0.1 * step)
    assert walk.alerts == {OVERLOAD, FREQUENCY}


def test_without_a_power_nothing_is_suspected() -> None:
    walk = running()
    for step in range(40):
        walk.ac(power_w=None, hz=50.0 - 0.1 * step)
    assert FUEL_SUSPECTED not in walk.alerts


def test_a_meter_that_reads_often_is_judged_alike_and_remembers_no_more() -> None:
    walk = warmed_up()
    for step in range(10_000):  # a hundred a second
        hz = 50.0 + 1.8 * math.sin(2 * math.pi * step / 400)
        values = {"voltage_v": 230.0, "power_w": 2000.0, "frequency_hz": hz}
        walk.reads(0.01, 0.01, **values)
    assert walk.alerts == {FUEL_SUSPECTED}
    fuel = walk.engine._alerts._fuel
    assert len(fuel._falls._past) <= 121
    assert len(fuel._hunting._past) <= 61
    assert len(fuel._sinking._now) <= 41


# Fuel and load, with the engine model


class Set:
    """A generator set: its inertia, a governor with droop and lag, a regulator, and its tank."""

    INERTIA_S = 0.6  # kinetic energy over rated power
    DROOP = 0.045
    LAG_S = 0.15
    FRICTION = 0.12  # of the rated power at rated speed
    STEP_S = 0.01

    def __init__(self, load: float, seed: int = 1) -> None:
        self.load = load  # demand at rated voltage, as a share of the rated power
        self.fuel = 1.25  # largest power, friction included, that the fuel allows
        self.speed = 1.0 + self.DROOP * (1 - load)
        self._drive = load + self.FRICTION
        self._noise = random.Random(seed)

    def second(self) -> dict[str, float]:
        """Let a second pass and return the mean values, as a meter does."""
        steps = round(1 / self.STEP_S)
        hz = volts = watts = 0.0
        for _ in range(steps):
            voltage = min(1.0, self.speed / 0.95)  # the regulator lowers the voltage below 47.5 Hz
            power = self.load * voltage**2
            wanted = self.FRICTION + (1 + self.DROOP - self.speed) / self.DROOP
            wanted = max(0.0, min(wanted, self.fuel))
            self._drive += (wanted - self._drive) * self.STEP_S / self.LAG_S
            drive = min(self._drive, self.fuel)
            surplus = drive - power - self.FRICTION * self.speed
            self.speed = max(0.0, self.speed + surplus * self.STEP_S / (2 * self.INERTIA_S))
            hz += 50 * self.speed / steps
            volts += 230 * voltage / steps
            watts += RATED_W * power / steps
        return {
            "voltage_v": round(volts + self._noise.gauss(0, 0.3), 1),
            "current_a": round(watts / max(volts, 1.0), 3),
            "power_w": round(max(0.0, watts + self._noise.gauss(0, 5)), 1),
            "frequency_hz": round(hz + self._noise.gauss(0, 0.05), 1),
        }


def runs(walk: Walk, machine: Set, seconds: float) -> set[str]:
    """Run the engine, and return every alert that occurred."""
    stood: set[str] = set()
    for _ in range(round(seconds)):
        stood |= walk.reads(1, **machine.second()).alerts
    return stood


def warm(load: float, rules: GeneratorSettings = RULES, seed: int = 1) -> tuple[Walk, Set]:
    walk, machine = Walk(rules), Set(load, seed)
    assert runs(walk, machine, 110) == set()
    assert walk.state is State.RUNNING
    return walk, machine


@pytest.mark.parametrize("rules", [RULES, GeneratorSettings()], ids=["rated", "not rated"])
def test_a_healthy_engine_raises_nothing_whatever_is_switched(rules: GeneratorSettings) -> None:
    chance = random.Random(7)
    walk, machine = warm(0.4, rules)
    for _ in range(200):
        machine.load = chance.choice([0.02, 0.1, 0.25, 0.4, 0.6, 0.75])
        stood = runs(walk, machine, chance.choice([1, 2, 3, 5, 8, 13, 30, 60]))
        assert stood == set(), (machine.load, walk.seen)


@pytest.mark.parametrize("load", [0.2, 0.5, 0.75])
@pytest.mark.parametrize("lasts_s", [240.0, 600.0])
def test_a_tank_that_runs_dry_is_suspected_before_the_engine_stops(
    load: float, lasts_s: float
) -> None:
    walk, machine = warm(load)
    stood: set[str] = set()
    for second in range(600):
        machine.fuel = max(0.0, 1.25 * (1 - second / lasts_s))
        runs(walk, machine, 1)
        assert walk.seen.voltage_v is not None
        if walk.seen.voltage_v < RULES.stopped_v:
            break
        stood |= walk.alerts
    assert FUEL_SUSPECTED in stood
    assert not stood & {OVERLOAD, OVERLOAD_WARNING}
    runs(walk, machine, 10)
    assert walk.state is State.STOPPED
    assert walk.alerts == set()


@pytest.mark.parametrize("load", [0.3, 0.6])
@pytest.mark.parametrize("period_s", [4, 7, 12])
def test_an_engine_that_surges_for_air_in_its_fuel_is_suspected(load: float, period_s: int) -> None:
    walk, machine = warm(load)
    for second in range(60):
        starved = second % period_s < period_s / 2
        machine.fuel = load + 0.06 if starved else 1.25
        runs(walk, machine, 1)
    assert FUEL_SUSPECTED in walk.alerts
    machine.fuel = 1.25
    runs(walk, machine, 100)
    assert walk.alerts == set()


@pytest.mark.parametrize("target", [1.16, 1.25, 1.4])
@pytest.mark.parametrize("steps", [1, 5, 60])
def test_an_engine_that_is_overloaded_is_not_suspected(target: float, steps: int) -> None:
    walk, machine = warm(0.6)
    stood: set[str] = set()
    for step in range(1, steps + 1):
        machine.load = 0.6 + (target - 0.6) * step / steps
        stood |= runs(walk, machine, 1)
    stood |= runs(walk, machine, 60)
    assert stood & {OVERLOAD, FREQUENCY, FREQUENCY_WARNING}
    assert FUEL_SUSPECTED not in stood


@pytest.mark.parametrize("load", [0.0, 0.1, 0.5, 0.85])
def test_an_engine_that_is_switched_off_raises_nothing(load: float) -> None:
    walk, machine = warm(load)
    machine.fuel = 0.0
    assert runs(walk, machine, 30) == set()
    assert walk.state is State.STOPPED


# Random readings


def random_rules(chance: random.Random) -> GeneratorSettings:
    return GeneratorSettings(
        rated_w=chance.choice([None, RATED_W]),
        inverter=chance.random() < 0.2,
        overload_warning_hold_s=8.0,
        overload_hold_s=3.0,
        overload_clear_hold_s=6.0,
        sag_clear_hold_s=5.0,
        settle_s=chance.choice([0.0, 4.0]),
        fuel_clear_hold_s=10.0,
        start_hold_s=chance.choice([0.0, 5.0]),
    )


def random_readings(chance: random.Random, number: int) -> Iterator[tuple[Metered, float]]:
    """Yield readings with their times: periods of one kind each, with values missing at random."""
    at_s, seen, line = 0.0, NOTHING, None
    while number:
        volts, watts, hz = (
            chance.choice([0.0, 60.0, 150.0, 230.0, 230.0, 230.0]),
            chance.choice([0.0, 1000.0, 4700.0, 6000.0]),
            chance.choice([40.0, 45.5, 47.0, 48.0, 50.0, 50.0, 60.0]),
        )
        line = chance.choice([None, None, True, False])
        for _ in range(chance.choice([1, 2, 3, 5, 10, 30])):
            at_s += chance.choice([0.1, 0.5, 1.0, 1.0, 3.0])
            mood = chance.random()
            if mood < 0.7:
                values: dict[str, Any] = {
                    "current_a": watts / 230,
                    "voltage_v": volts,
                    "power_w": watts,
                    "frequency_hz": hz,
                }
                for name in values:
                    if chance.random() < 0.03:
                        values[name] = None
                seen = Metered(at_s, **values)
            elif mood < 0.75:
                seen = NOTHING
            yield seen._replace(line=line), at_s
            number -= 1
            if not number:
                return


@pytest.mark.parametrize("ac", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_in_what_goes_out_makes_sense(seed: int, ac: bool) -> None:
    chance = random.Random(seed)
    rules = random_rules(chance)
    engine, twice = (Engine(rules, ALERTS, ac=ac) for _ in range(2))
    moods: set[State] = set()
    raised: set[str] = set()
    dead_since_s = None
    for seen, at_s in random_readings(chance, 3000):
        before, alerts_before = engine.state, engine.alerts
        engine.apply(seen, at_s)
        for _ in range(3):  # repeating it changes nothing
            twice.apply(seen, at_s)
        assert (engine.state, engine.alerts) == (twice.state, twice.alerts)

        state, alerts = engine.state, engine.alerts
        moods.add(state)
        raised |= alerts - alerts_before
        assert alerts <= set(ALERTS) - {SERVICE_DUE}
        assert not {OVERLOAD, OVERLOAD_WARNING} <= alerts
        assert not {FREQUENCY, FREQUENCY_WARNING} <= alerts
        if rules.rated_w is None:
            assert not alerts & {OVERLOAD, OVERLOAD_WARNING}
        if rules.inverter or not ac:
            assert not alerts & {FREQUENCY, FREQUENCY_WARNING, OVERSPEED, FUEL_SUSPECTED}
        if state is State.STOPPED:
            assert alerts == set()
        if state is State.UNKNOWN:
            assert alerts - {OVERSPEED} == alerts_before - {OVERSPEED}
        if seen.line is not False:
            dead_since_s = None
        elif dead_since_s is None:
            dead_since_s = at_s
        dead = dead_since_s is not None and at_s - dead_since_s >= rules.line_dead_hold_s
        volts, amperes, hz = seen.voltage_v, seen.current_a, seen.frequency_hz
        if before is not State.RUNNING and state is State.RUNNING:
            if ac:
                assert volts is not None and volts >= rules.running_v
                assert hz is not None and rules.running_low_hz <= hz <= rules.running_high_hz
            else:
                assert amperes is not None and amperes >= rules.running_a and not dead
        if before is not State.STOPPED and state is State.STOPPED and not dead:
            if ac:
                assert volts is not None and volts < rules.stopped_v
            else:
                assert amperes is not None and amperes < rules.running_a
        if state is State.UNKNOWN and not ac and not seen.line:
            assert amperes is None or before is State.UNKNOWN
    assert moods == set(State)
    assert raised or rules.rated_w is None


# The section of the configuration


def test_every_key_has_a_meaning_and_a_default_within_its_limits() -> None:
    rules = GeneratorSettings()
    assert rules.faults() == []
    for key in fields(GeneratorSettings):
        rule, value = key.metadata["rule"], getattr(rules, key.name)
        assert rule.doc
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert rule.low <= value <= rule.high, key.name


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"stopped_v": 184.0}, [("stopped_v", "must be less than running_v (184)")]),
        ({"running_low_hz": 58.0}, [("running_low_hz", "must be less than running_high_hz (57)")]),
        ({"start_hold_s": 20.0}, [("start_hold_s", "must be less than unknown_after_s (10)")]),
        (
            {"overload_warning_pct": 75.0},
            [("overload_clear_pct", "must be less than overload_warning_pct (75)")],
        ),
        (
            {"overload_warning_pct": 100.0},
            [("overload_warning_pct", "must be less than overload_pct (100)")],
        ),
        ({"sag_hz": 48.0}, [("sag_hz", "must be less than sag_warning_hz (47.5)")]),
        ({"sag_clear_hz": 47.5}, [("sag_warning_hz", "must be less than sag_clear_hz (47.5)")]),
        (
            {"sag_clear_hz": 58.0},
            [
                ("sag_clear_hz", "must be less than running_high_hz (57)"),
                ("sag_clear_hz", "must be less than overspeed_clear_hz (54)"),
            ],
        ),
        (
            {"overspeed_clear_hz": 55.0},
            [("overspeed_clear_hz", "must be less than overspeed_hz (55)")],
        ),
        ({"fuel_steady_hz": 3.0}, [("fuel_steady_hz", "must be less than fuel_swing_hz (2)")]),
    ],
)
def test_keys_that_contradict_each_other_are_named(
    values: dict[str, float], expected: list[tuple[str, str]]
) -> None:
    found = GeneratorSettings(**values).faults()  # type: ignore[arg-type]
    assert [(key, str(trouble)) for key, trouble in found] == expected
