"""The battery's charge from current and voltage: each rule with plain numbers, then whole weeks."""

import json
import math
import random
from dataclasses import asdict, fields
from typing import Any

import pytest

from publisher.config.battery import BatterySettings
from publisher.rules.charge import Estimator
from publisher.rules.charge_state import Charge
from publisher.rules.gaps import Gap
from tests.accuracy.battery import days
from tests.accuracy.packs import KINDS

HOUR_S, DAY_S = 3600.0, 86_400.0
LIFEPO4, LEAD = BatterySettings("lifepo4", 100.0), BatterySettings("lead_acid", 100.0)
BOTH = pytest.mark.parametrize("battery", [LIFEPO4, LEAD], ids=lambda b: b.chemistry)


def known(
    battery: BatterySettings, level: float, sigma: float = 0.01, capacity_ah: float = 100.0
) -> Charge:
    """Return the saved state of a battery with a known charge."""
    return Charge(
        battery=f"{battery.chemistry} {battery.capacity_ah:g} Ah",
        level=level,
        level_var=sigma**2,
        capacity_ah=capacity_ah,
        share_var=0.0009,
    )


class Bench:
    """A battery whose measurements the test sets."""

    def __init__(self, battery: BatterySettings = LIFEPO4, charge: Charge | None = None) -> None:
        self.battery = battery
        self.charge = charge or Charge()
        self.estimator = Estimator(battery, self.charge)
        self.at_s = 1000.0

    def run(
        self,
        current_a: float | None,
        voltage_v: float | None = 13.2,
        seconds: float = 0.0,
        *,
        step_s: float = 10.0,
        cell_v: float | None = None,
    ) -> "Bench":
        """Measure the same values for some seconds; once for 0 s."""
        for _ in range(max(1, round(seconds / step_s))):
            if seconds:
                self.at_s += step_s
            self.estimator.apply(current_a, voltage_v, self.at_s, cell_v)
        return self

    def restart(self, off_s: float | None) -> "Bench":
        """Lose power, and start again with the saved state, read back from JSON."""
        self.charge = Charge(**json.loads(json.dumps(asdict(self.charge))))
        self.estimator = Estimator(self.battery, self.charge)
        self.at_s = 50.0
        self.estimator.resume(0.0, off_s)
        return self

    def fill(self) -> "Bench":
        """Charge until it is full."""
        return self.run(1.0, 14.4, 300.0)

    @property
    def pct(self) -> float:
        assert self.estimator.charge_pct is not None
        return self.estimator.charge_pct

    @property
    def around(self) -> float:
        assert self.estimator.uncertainty_pct is not None
        return self.estimator.uncertainty_pct

    @property
    def gap(self) -> Gap:
        assert self.estimator.gap is not None
        return self.estimator.gap


def at(level: float, battery: BatterySettings = LIFEPO4, sigma: float = 0.01) -> Bench:
    """Return a battery of 100 Ah with a known charge and no current."""
    return Bench(battery, known(battery, level, sigma)).run(0.0)


# Counting


def test_nothing_is_known_before_the_first_reading() -> None:
    estimator = Bench().estimator
    assert estimator.charge_pct is None
    assert estimator.uncertainty_pct is None
    assert estimator.time_to_empty_min is None
    assert estimator.since_full_s is None
    assert not estimator.synchronised


def test_without_a_capacity_nothing_is_ever_known() -> None:
    bench = Bench(BatterySettings("lifepo4")).run(-5.0, 13.0, HOUR_S).fill()
    assert bench.estimator.charge_pct is None
    assert bench.estimator.capacity_ah == 0
    assert not bench.estimator.synchronised


def test_ampere_hours_are_counted() -> None:
    assert at(0.8).run(-10.0, 13.1, HOUR_S).pct == pytest.approx(70, abs=0.05)


def test_a_part_of_what_is_charged_is_lost() -> None:
    assert at(0.5).run(10.0, 13.4, HOUR_S).pct == pytest.approx(59.9, abs=0.05)
    lossy = BatterySettings("lead_acid", 100.0, efficiency=0.85)
    assert at(0.5, lossy).run(10.0, 13.4, HOUR_S).pct == pytest.approx(58.5, abs=0.05)


def test_a_large_current_takes_more_than_its_ampere_hours() -> None:
    """Peukert: 20 A at a rated 5 A and k = 1.2 count 4^0.2 = 1.32 times."""
    lead = BatterySettings("lead_acid", 100.0, peukert=1.2, rated_hours=20.0)
    assert at(0.9, lead).run(-20.0, 12.2, HOUR_S).pct == pytest.approx(90 - 26.39, abs=0.1)


@pytest.mark.parametrize("current_a", [-5.0, -1.0])
def test_a_small_current_takes_no_less_than_its_ampere_hours(current_a: float) -> None:
    lead = BatterySettings("lead_acid", 100.0, peukert=1.2, rated_hours=20.0)
    bench = at(0.9, lead).run(current_a, 12.6, HOUR_S)
    assert bench.pct == pytest.approx(90 + current_a, abs=0.05)


def test_a_current_in_the_dead_band_is_none() -> None:
    assert at(0.5).run(-0.09, 13.2, 10 * HOUR_S).pct == 50


def test_a_capacity_that_was_learned_is_counted_with() -> None:
    bench = Bench(LIFEPO4, known(LIFEPO4, 0.8, capacity_ah=80.0)).run(0.0)
    assert bench.run(-8.0, 13.1, HOUR_S).pct == pytest.approx(70, abs=0.05)


def test_until_then_a_battery_holds_what_its_nameplate_says() -> None:
    assert Bench().estimator.capacity_ah == 100


@pytest.mark.parametrize("back_s", [0.0, 5.0])
def test_a_reading_that_is_told_twice_counts_once(back_s: float) -> None:
    bench, twice = at(0.8), at(0.8)
    for _ in range(360):
        bench.run(-10.0, 13.1, 10.0)
        twice.run(-10.0, 13.1, 10.0)
        twice.estimator.apply(-10.0, 13.1, twice.at_s - back_s)
    assert twice.pct == bench.pct


# Full


def test_full_is_a_high_voltage_with_a_tail_current_for_a_while() -> None:
    bench = at(0.7).run(1.9, 14.3, 170.0)
    assert not bench.estimator.synchronised
    bench.run(1.9, 14.3, 20.0)
    assert bench.estimator.synchronised
    assert (bench.pct, bench.around) == (100, 3)
    assert bench.estimator.since_full_s == 0


def test_a_lead_acid_battery_takes_its_last_percents_after_that() -> None:
    bench = at(0.7, LEAD).run(1.9, 14.3, 190.0)
    assert bench.estimator.synchronised
    first = bench.pct
    assert 95 < first < 99
    assert first < bench.run(1.5, 14.3, HOUR_S).pct < 100
    assert bench.run(1.5, 14.3, 3 * HOUR_S).pct == 100


@BOTH
@pytest.mark.parametrize(
    ("current_a", "voltage_v"),
    [(2.5, 14.4), (1.0, 13.9), (-1.0, 14.4), (None, 14.4), (1.0, None)],
    ids=["too much current", "too low", "discharging", "no current", "no voltage"],
)
def test_anything_else_is_not_full(
    battery: BatterySettings, current_a: float | None, voltage_v: float | None
) -> None:
    assert not at(0.9, battery).run(current_a, voltage_v, HOUR_S).estimator.synchronised


@BOTH
def test_the_tail_must_last(battery: BatterySettings) -> None:
    bench = at(0.9, battery)
    for _ in range(20):
        bench.run(1.0, 14.3, 170.0).run(5.0, 14.3, 10.0)
        bench.run(1.0, 14.3, 170.0).run(1.0, 13.9, 10.0)
    assert not bench.estimator.synchronised


@pytest.mark.parametrize(
    ("voltage_v", "cell_v", "after_v"),
    [(13.83, 3.685, 13.6), (14.1, None, 14.4), (13.9, None, 13.87), (None, 3.62, None)],
    ids=["by a cell", "the charger stays on", "the charger goes", "cells alone"],
)
def test_full_is_a_charge_that_a_protection_cuts_off(
    voltage_v: float | None, cell_v: float | None, after_v: float | None
) -> None:
    bench = at(0.7).run(34.0, voltage_v, 60.0, step_s=1.0, cell_v=cell_v)
    bench.run(0.0, after_v, 9.0, step_s=1.0, cell_v=3.5)
    assert not bench.estimator.synchronised
    bench.run(0.0, after_v, 2.0, step_s=1.0, cell_v=3.5)
    assert bench.estimator.synchronised
    assert bench.pct == 100


def test_a_charge_that_is_interrupted_for_moments_is_not_cut_off() -> None:
    bench = at(0.7)
    for _ in range(30):
        bench.run(34.0, 14.1, 10.0, step_s=1.0, cell_v=3.61).run(0.0, 14.0, 2.0, step_s=1.0)
    assert not bench.estimator.synchronised


def not_full() -> dict[str, Bench]:
    """Return batteries that could be mistaken for full ones."""
    spike = at(0.5).run(30.0, 13.5, 600.0, step_s=1.0)
    spike.run(30.0, 14.8, 1.0, step_s=1.0, cell_v=3.9).run(0.0, 13.3, 600.0, step_s=1.0)
    refused, stopped, absorbing = at(0.5), at(0.5), at(0.7, LEAD)
    stopped.run(20.0, 13.5, HOUR_S).run(20.0, 14.1, 10.0)
    fading = at(0.5).run(20.0, 13.9, 600.0).run(1.0, 13.9, 600.0)
    absorbing.run(15.0, 14.4, HOUR_S)
    for n in range(60):  # the voltage decays after the charger
        absorbing.run(0.0, 14.2 - min(1.2, n * 0.1), 10.0)
    return {
        "a spike of the voltage": spike,
        "spikes while nothing flows": at(0.5).run(0.0, 14.6, 10.0).run(0.0, 13.2, HOUR_S),
        "a load that ends": at(0.5).run(-20.0, 12.9, 600.0).run(0.0, 13.3, HOUR_S),
        "a load that ends beside a charger": at(0.5).run(5.0, 13.4, 600.0).run(25.0, 13.6, 600.0),
        "a charger that is switched off": at(0.5).run(30.0, 13.6, 600.0).run(0.0, 13.3, HOUR_S),
        "a protection that refuses the cold": refused.run(0.0, 14.4, HOUR_S),
        "a protection that stops in the middle": stopped.run(0.0, 14.4, HOUR_S),
        "a lead-acid battery whose charger goes": absorbing,
        "a charge that fades away too low": fading.run(0.0, 13.85, 600.0),
    }


@pytest.mark.parametrize("what", not_full())
def test_no_false_full(what: str) -> None:
    bench = not_full()[what]
    assert not bench.estimator.synchronised
    assert bench.pct < 95


def test_a_tail_that_a_restart_interrupts_is_seen_after_it() -> None:
    bench = at(0.9).run(20.0, 14.2, 600.0).restart(60.0).run(0.0, 14.4, 300.0)
    assert bench.estimator.synchronised


@pytest.mark.parametrize(("level", "full"), [(0.8, True), (0.3, False)])
def test_a_battery_may_have_become_full_in_a_gap(level: float, full: bool) -> None:
    """The charger holds the voltage high, no current flows, and the gap was long enough."""
    bench = at(level).run(20.0, 13.5, HOUR_S / 2).run(-5.0, 13.2, 600.0)
    bench.restart(HOUR_S).run(0.0, 14.4, 300.0)
    assert bench.estimator.synchronised is full


def test_what_goes_in_beyond_full_does_not_come_out_again() -> None:
    bench = at(0.99).run(10.0, None, HOUR_S)
    assert bench.pct == 100
    assert bench.run(-10.0, None, HOUR_S).pct == pytest.approx(90, abs=0.1)


def test_voltages_are_those_of_the_battery() -> None:
    half = BatterySettings("lifepo4", 100.0, nominal_v=24.0)
    assert not at(0.7, half).run(1.0, 27.9, HOUR_S).estimator.synchronised
    assert at(0.7, half).run(1.0, 28.1, HOUR_S).estimator.synchronised
    assert not at(0.7, half).run(1.0, 14.4, HOUR_S).estimator.synchronised


# Nearly full, low, and other conclusions from the voltage


@BOTH
def test_a_battery_that_takes_little_at_a_high_voltage_is_nearly_full(
    battery: BatterySettings,
) -> None:
    bench = at(0.3, battery, sigma=0.25).run(4.0, 14.2, 1200.0)
    assert bench.pct > 75
    assert not bench.estimator.synchronised


@pytest.mark.parametrize(("battery", "floor_v", "left"), [(LIFEPO4, 11.9, 4), (LEAD, 10.7, 3)])
def test_a_battery_under_load_at_its_floor_is_as_good_as_empty(
    battery: BatterySettings, floor_v: float, left: float
) -> None:
    bench = at(0.3, battery, sigma=0.15).run(-5.0, floor_v + 0.3, 600.0)
    assert bench.pct > 20
    bench.run(-5.0, floor_v, 300.0)
    assert bench.pct == pytest.approx(left, abs=2)
    assert bench.around < 7


@pytest.mark.parametrize(
    ("current_a", "voltage_v", "seconds"),
    [(-5.0, 10.9, 60.0), (-40.0, 11.8, 600.0), (10.0, 11.8, 600.0), (-5.0, 0.0, 600.0)],
    ids=["for a moment", "under a large load", "while charging", "cut off"],
)
def test_a_low_voltage_may_mean_nothing(current_a: float, voltage_v: float, seconds: float) -> None:
    bench = at(0.5, sigma=0.05).run(-2.0, 13.1, 60.0).run(current_a, voltage_v, seconds)
    assert bench.pct > 40


def test_the_floor_is_seen_again_after_a_slow_charge() -> None:
    bench = at(0.1).run(-5.0, 11.9, 300.0).run(1.0, None, 50 * HOUR_S).fill()
    assert bench.run(-5.0, None, 10 * HOUR_S).run(-5.0, 11.9, 300.0).pct < 10


def test_a_voltage_that_recovers_from_a_large_load_is_not_believed() -> None:
    bench = at(0.6, sigma=0.05).run(-2.0, 13.1, 2 * HOUR_S).run(-40.0, 12.2, 120.0)
    assert bench.run(-2.0, 12.5, 240.0).pct > 50


def test_a_configured_floor_is_kept_to() -> None:
    battery = BatterySettings("lifepo4", 100.0, floor_v=12.4, floor_pct=10.0)
    bench = at(0.4, battery, sigma=0.2).run(-5.0, 12.35, 300.0)
    assert bench.pct == pytest.approx(10, abs=2)


@pytest.mark.parametrize(
    ("battery", "voltage_v", "least", "most"),
    [
        (LIFEPO4, 12.3, 0, 25),
        (LIFEPO4, 13.15, 30, 100),
        (LEAD, 12.55, 55, 100),
        (LEAD, 11.5, 0, 40),
    ],
)
@pytest.mark.parametrize("level", [0.1, 0.9])
def test_a_voltage_under_load_rules_out_what_cannot_be(
    battery: BatterySettings, voltage_v: float, least: float, most: float, level: float
) -> None:
    bench = at(level, battery, sigma=0.2).run(-2.0, voltage_v, 2 * HOUR_S)
    assert least < bench.pct < most


def test_the_flat_part_of_a_lifepo4_battery_says_nothing() -> None:
    for level in (0.4, 0.6, 0.8):
        bench = at(level, sigma=0.05).run(-2.0, 13.15, 2 * HOUR_S)
        assert bench.pct == pytest.approx(100 * level - 4, abs=0.1)


@pytest.mark.parametrize("level", [0.1, 0.9])
def test_a_lead_acid_battery_tells_its_charge_after_hours_of_rest(level: float) -> None:
    bench = at(level, LEAD, sigma=0.2).run(0.0, 12.25, 3.9 * HOUR_S)
    before = bench.around
    bench.run(0.0, 12.25, HOUR_S)
    assert bench.around < min(20, before)
    assert bench.pct == pytest.approx(53, abs=14)


def test_what_a_charger_leaves_behind_is_not_believed() -> None:
    bench = at(0.2, LEAD, sigma=0.05).run(20.0, 13.6, 600.0)
    assert bench.run(-2.0, 12.6, 2000.0).pct < 30


def test_an_unknown_battery_is_anything_at_first() -> None:
    bench = Bench().run(-2.0, 13.2)
    assert bench.pct == 50
    assert bench.around == 50


@pytest.mark.parametrize(("voltage_v", "least", "most"), [(12.5, 50, 100), (11.4, 0, 35)])
def test_the_voltage_soon_tells_more_of_an_unknown_lead_acid_battery(
    voltage_v: float, least: float, most: float
) -> None:
    bench = Bench(LEAD).run(-2.0, voltage_v, HOUR_S)
    assert least < bench.pct < most
    assert bench.around < 40


def test_an_unknown_battery_that_takes_much_was_empty_and_is_no_longer() -> None:
    bench = Bench().run(20.0, 13.4, 4 * HOUR_S)
    assert bench.pct > 70
    assert bench.around < 35


# Learning the capacity


def empty_after(bench: Bench, ampere_hours: float) -> Bench:
    """Discharge some ampere-hours at 10 A, down to the floor."""
    return bench.run(-10.0, None, ampere_hours * 360 - 120.0).run(-10.0, 11.9, 240.0)


def full_after(bench: Bench, ampere_hours: float) -> Bench:
    """Charge some ampere-hours at 10 A, until full."""
    return bench.run(10.0, None, ampere_hours / 9.9 * HOUR_S).fill()


@pytest.mark.parametrize("true_ah", [80.0, 87.0, 95.0, 105.0])
def test_the_capacity_is_learned_from_full_to_the_floor(true_ah: float) -> None:
    bench = empty_after(Bench().fill(), 0.96 * true_ah)
    assert bench.estimator.capacity_ah == pytest.approx(true_ah, rel=0.05)
    assert bench.charge.capacity_ah == bench.estimator.capacity_ah
    again = empty_after(full_after(bench, 0.96 * true_ah), 0.96 * true_ah)
    assert again.estimator.capacity_ah == pytest.approx(true_ah, rel=0.03)
    assert again.restart(0.0).estimator.capacity_ah == again.estimator.capacity_ah


@pytest.mark.parametrize("true_ah", [80.0, 95.0])
def test_the_capacity_is_learned_from_the_floor_to_full(true_ah: float) -> None:
    bench = full_after(Bench().run(-5.0, 11.9, 300.0), 0.96 * true_ah)
    assert bench.estimator.capacity_ah == pytest.approx(true_ah, rel=0.05)


@pytest.mark.parametrize("true_ah", [50.0, 65.0])
def test_the_capacity_of_an_old_battery_is_learned_in_the_end(true_ah: float) -> None:
    bench = Bench().fill()
    for _ in range(3):
        bench = empty_after(bench, 0.96 * true_ah)
        assert bench.pct == pytest.approx(4, abs=3), "whatever was counted"
        full_after(bench, 0.96 * true_ah)
    assert bench.estimator.capacity_ah == pytest.approx(true_ah, rel=0.05)


def test_the_charge_is_right_half_way_once_the_capacity_is_learned() -> None:
    bench = Bench().fill()
    for _ in range(2):
        full_after(empty_after(bench, 0.96 * 85.0), 0.96 * 85.0)
    assert bench.run(-8.5, 13.15, 5 * HOUR_S).pct == pytest.approx(50, abs=2)


def test_what_flowed_unseen_is_not_blamed_on_the_capacity() -> None:
    seen = empty_after(Bench().fill(), 78.0)
    unseen = empty_after(Bench().fill().run(-10.0, None, HOUR_S).restart(3 * HOUR_S), 38.0)
    assert seen.estimator.capacity_ah < 85
    assert unseen.estimator.capacity_ah > 91


def test_a_partial_cycle_teaches_no_capacity() -> None:
    bench = Bench().fill()
    before = bench.estimator.capacity_ah
    bench.run(-10.0, 13.1, 2 * HOUR_S).run(10.0, 13.5, 2.02 * HOUR_S).fill()
    assert bench.estimator.capacity_ah == pytest.approx(before, rel=0.01)


def test_a_battery_that_gives_more_than_it_should_holds_more() -> None:
    bench = Bench().fill().run(-10.0, None, 11 * HOUR_S)
    assert bench.pct == 0
    assert bench.estimator.capacity_ah > 100


def test_another_battery_is_learned_anew() -> None:
    bench = empty_after(Bench().fill(), 75.0)
    other = Estimator(BatterySettings("lifepo4", 120.0), bench.charge)
    assert other.charge_pct is None
    assert other.capacity_ah > 105


# Uncertainty


def test_it_grows_since_the_last_full_charge() -> None:
    bench = Bench().fill()
    found = [bench.run(-2.0, None, 5 * HOUR_S).around for _ in range(6)]
    assert found == sorted(found)
    assert found[0] > 2
    assert found[-1] > 5
    assert bench.estimator.since_full_s == pytest.approx(30 * HOUR_S, abs=60)
    assert bench.fill().around == 3


def test_it_grows_with_time_alone() -> None:
    """A sensor with an offset misses up to 0.1 A."""
    bench = at(0.5).run(0.0, 13.2, 5 * DAY_S, step_s=60.0)
    assert bench.pct == 50
    assert 13 < bench.around < 18


def test_it_grows_with_what_charging_may_have_lost() -> None:
    bench, resting = at(0.5, LEAD), at(0.5, LEAD)
    for _ in range(8):
        bench.run(10.0, None, 2 * HOUR_S).run(-9.65, None, 2 * HOUR_S)
    resting.run(0.0, None, 32 * HOUR_S)
    assert bench.around > resting.around + 1


def test_it_is_less_once_the_capacity_is_learned() -> None:
    fresh = Bench().fill().run(-10.0, 13.1, 5 * HOUR_S)
    learned = full_after(empty_after(Bench().fill(), 85.0), 85.0).run(-10.0, 13.1, 5 * HOUR_S)
    assert learned.around < fresh.around


def test_it_never_reaches_beyond_full_and_empty() -> None:
    bench = at(0.9, sigma=0.5)
    assert bench.around == 90


# Gaps and power cuts


def test_a_short_hole_loses_nothing() -> None:
    bench = at(0.8)
    for _ in range(180):
        bench.run(-10.0, 13.1, 10.0).run(None, None, 10.0)
    bench.run(-10.0, 13.1, 10.0)
    assert bench.pct == pytest.approx(70, abs=0.1)
    assert bench.estimator.gap is None


def test_in_a_hole_the_uncertainty_grows_by_what_may_flow() -> None:
    bench = at(0.8).run(-10.0, 13.1, 600.0)
    before = bench.around
    found = [bench.run(None, None, 600.0).around for _ in range(6)]
    assert found == sorted(found)
    assert found[-1] > before + 10
    assert bench.pct == pytest.approx(80 - 1.7 - 10, abs=0.5)
    assert bench.estimator.time_to_empty_min is None
    after = bench.run(-10.0, 13.1, 10.0)
    assert after.around < found[-1]
    assert after.pct == pytest.approx(80 - 1.7 - 10, abs=0.5)
    assert after.gap.off_s == 3610


def test_a_power_cut_is_bridged_by_the_currents_before_and_after() -> None:
    bench = at(0.8).run(-6.0, 13.1, HOUR_S).restart(2 * HOUR_S)
    assert bench.around > 10
    bench.run(-6.0, 13.1)
    assert bench.pct == pytest.approx(80 - 6 - 12, abs=0.2)
    assert bench.gap.off_s == 7200
    assert bench.gap.moved_pct == pytest.approx(-12, abs=0.2)
    assert bench.gap.bound_pct > 2
    assert bench.around == pytest.approx(bench.gap.bound_pct, abs=1)


@pytest.mark.parametrize(("before_a", "after_a"), [(-6.0, 30.0), (30.0, -6.0)])
def test_a_change_in_a_power_cut_may_have_come_at_any_time(before_a: float, after_a: float) -> None:
    bench = at(0.5).run(before_a, 13.2, 600.0)
    was = bench.pct
    bench.restart(HOUR_S).run(after_a, 13.2)
    assert bench.gap.moved_pct == pytest.approx(12, abs=0.3)
    assert bench.gap.moved_pct - bench.gap.bound_pct < -6
    assert bench.gap.moved_pct + bench.gap.bound_pct > 30
    assert bench.pct == pytest.approx(was + 12, abs=0.5)


def test_the_load_in_a_power_cut_is_the_usual_one() -> None:
    bench = at(0.9).run(-5.0, 13.1, 5 * HOUR_S).restart(HOUR_S).run(-30.0, 12.9)
    assert bench.gap.moved_pct == pytest.approx(-5, abs=0.5)


def test_a_longer_gap_may_have_hidden_more() -> None:
    def bound(hours: float) -> float:
        bench = at(0.9).run(20.0, 13.4, 600.0).run(-3.0, 13.1, HOUR_S)
        return bench.restart(hours * HOUR_S).run(-3.0, 13.1).gap.bound_pct

    def bound_after(charge_a: float) -> float:
        bench = at(0.3).run(charge_a, 13.4, HOUR_S).run(-3.0, 13.1, HOUR_S)
        return bench.restart(4 * HOUR_S).run(-3.0, 13.1).gap.bound_pct

    assert bound_after(40.0) > 1.5 * bound_after(10.0)
    assert bound(0.5) < 2
    assert bound(1) > 2 * bound(0.5)
    assert bound(4) > 4 * bound(1)


def test_after_days_without_the_unit_nothing_is_known() -> None:
    bench = at(0.8).run(-6.0, 13.1, HOUR_S).restart(5 * DAY_S).run(-6.0, 13.1)
    assert bench.pct == 50
    assert bench.around == 50
    assert bench.gap.off_s == 5 * DAY_S


def test_a_gap_that_no_clock_tells_is_taken_for_a_usual_one() -> None:
    bench = at(0.8).run(-6.0, 13.1, HOUR_S).restart(None).run(-6.0, 13.1)
    assert bench.gap.off_s is None
    assert bench.gap.moved_pct == pytest.approx(-0.5, abs=0.1)
    assert 6 <= bench.gap.bound_pct < 9, "an hour's load is inside"
    short = BatterySettings("lifepo4", 100.0, longest_gap_s=600.0)
    other = at(0.8, short).run(-6.0, 13.1, HOUR_S).restart(None).run(-6.0, 13.1)
    assert other.gap.bound_pct < 2


def test_what_is_usual_is_learned() -> None:
    bench = at(0.9).run(-6.0, 13.1, HOUR_S)
    for _ in range(20):
        bench.restart(600.0).run(-6.0, 13.1, 60.0)
    before = bench.pct
    bench.restart(None).run(-6.0, 13.1)
    assert before - bench.pct == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("off_s", [120.0, 1800.0, 7200.0])
@pytest.mark.parametrize("minutes", [0.0, 10.0])
def test_a_length_that_is_known_later_counts_as_if_it_had_been_known(
    off_s: float, minutes: float
) -> None:
    def wake(told: float | None) -> Bench:
        bench = at(0.8).run(-6.0, 13.1, HOUR_S).restart(told)
        return bench.run(-6.0, 13.1).run(-6.0, 13.1, 60 * minutes + 10)

    at_once, later = wake(off_s), wake(None)
    assert later.pct != pytest.approx(at_once.pct, abs=0.1)
    later.estimator.tell_off(off_s)
    assert later.pct == pytest.approx(at_once.pct, abs=0.1)
    assert later.around == pytest.approx(at_once.around, abs=0.3)
    assert later.gap == at_once.gap


def test_a_length_that_is_known_before_the_first_current_is_in_time() -> None:
    bench = at(0.8).run(-6.0, 13.1, HOUR_S).restart(None)
    bench.estimator.tell_off(7200.0)
    assert bench.run(-6.0, 13.1).pct == pytest.approx(80 - 6 - 12, abs=0.2)


def test_a_length_is_taken_once() -> None:
    bench = at(0.8).run(-6.0, 13.1, HOUR_S).restart(7200.0).run(-6.0, 13.1)
    before = bench.pct
    bench.estimator.tell_off(7200.0)
    assert bench.run(-6.0, 13.1).pct == before


def test_a_length_that_is_known_after_a_full_charge_changes_nothing() -> None:
    bench = at(0.8).run(-6.0, 13.1, HOUR_S).restart(None).run(1.0, 14.4, 300.0)
    assert bench.estimator.gap is None
    bench.estimator.tell_off(7200.0)
    assert bench.pct == 100
    assert bench.estimator.gap is None
    assert bench.estimator.since_full_s == 0


def test_a_length_that_is_known_after_the_floor_was_seen_changes_little() -> None:
    bench = at(0.5).run(-6.0, 13.1, HOUR_S).restart(None).run(-6.0, 11.9, 300.0)
    before = bench.pct
    bench.estimator.tell_off(2 * HOUR_S)
    assert bench.pct == pytest.approx(before, abs=2)


def test_a_full_battery_is_synchronised_until_the_next_boot() -> None:
    bench = Bench().fill().run(-6.0, 13.1, HOUR_S)
    assert bench.estimator.synchronised
    bench.restart(600.0).run(-6.0, 13.1)
    assert not bench.estimator.synchronised
    assert bench.estimator.since_full_s == pytest.approx(HOUR_S + 600, abs=20)


def test_full_through_a_power_cut_is_still_nearly_full() -> None:
    bench = Bench().fill().restart(300.0).run(0.0, 13.5)
    assert bench.pct > 98
    assert bench.around < 4


# The saved state


def saved_values(charge: Charge) -> list[float]:
    return [v for v in asdict(charge).values() if isinstance(v, int | float)]


@BOTH
def test_what_is_saved_can_always_be_saved(battery: BatterySettings) -> None:
    """No number is ever negative, infinite or NaN."""
    dice = random.Random(1)
    bench = Bench(battery)
    for _ in range(400):
        current_a = dice.choice((-30.0, -8.0, 0.0, 2.0, 25.0))
        voltage_v = dice.choice((None, 0.0, 10.9, 12.1, 13.0, 13.3, 14.3))
        bench.run(current_a, voltage_v, dice.choice((10.0, 300.0, 3600.0)))
        if dice.random() < 0.2:
            bench.restart(dice.choice((None, 60.0, 7200.0)))
        assert all(v >= 0 and math.isfinite(v) for v in saved_values(bench.charge))
        assert 0 <= bench.pct <= 100
        assert 0 < bench.around <= 100


NUMBERS = [f.name for f in fields(Charge) if f.name != "battery"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0, 1e300])
@pytest.mark.parametrize("name", NUMBERS)
def test_damage_to_what_was_saved_does_no_harm(name: str, value: Any) -> None:
    bench = at(0.8).fill().run(-6.0, 13.1, 2 * HOUR_S)
    setattr(bench.charge, name, value)
    bench.estimator = Estimator(LIFEPO4, bench.charge)
    bench.estimator.resume(0.0, 60.0)
    bench.run(-6.0, 13.1).run(-6.0, 13.1, HOUR_S)
    assert 0 <= bench.pct <= 100
    assert 0 < bench.around <= 100
    assert all(v >= 0 and math.isfinite(v) for v in saved_values(bench.charge))


def test_numbers_that_do_not_fit_together_teach_nothing() -> None:
    charge = known(LIFEPO4, 0.98)
    charge.shared = 0.5
    bench = Bench(LIFEPO4, charge).run(0.0).fill()
    assert bench.estimator.capacity_ah == pytest.approx(100, rel=0.02)


def test_nonsense_is_not_measured() -> None:
    bench = at(0.8)
    for current_a in (math.nan, math.inf, -math.inf, 1e12):
        bench.run(-6.0, 13.1, 10.0).run(current_a, 13.1, 10.0)
    for voltage_v in (math.nan, math.inf, -5.0, 400.0):
        bench.run(-6.0, voltage_v, 300.0).run(1.0, voltage_v, 300.0, cell_v=voltage_v)
    assert bench.pct == pytest.approx(80 - 2 + 0.33, abs=0.3)
    assert math.isfinite(bench.around)
    assert not bench.estimator.synchronised


# Time to empty


def test_time_to_empty_counts_down_and_its_twin_to_the_floor() -> None:
    estimator = at(0.84).run(-10.0, 13.1, 180.0).estimator
    found, low = estimator.time_to_empty_min, estimator.time_to_empty_min_low
    assert found == pytest.approx(60 * (84 - 0.5) / 10, rel=0.02)
    assert low is not None
    assert 300 < low < 60 * (84 - 0.5 - 4) / 10
    low = at(0.03).run(-10.0, 12.5, 300.0).estimator.time_to_empty_min_low
    assert low == 0


def test_the_twin_is_lower_where_less_is_known() -> None:
    sure, unsure = at(0.8, sigma=0.01), at(0.8, sigma=0.1)
    lows = [b.run(-10.0, 13.1, 300.0).estimator.time_to_empty_min_low for b in (sure, unsure)]
    assert None not in lows
    assert lows == sorted(lows, reverse=True, key=lambda low: low or 0)
    assert lows[0] != lows[1]


def test_a_large_load_empties_sooner_than_its_ampere_hours() -> None:
    lead = BatterySettings("lead_acid", 100.0, peukert=1.2, rated_hours=20.0)
    found = at(0.84, lead).run(-20.0, 12.3, 300.0).estimator.time_to_empty_min
    assert found == pytest.approx(60 * (84 - 2.2) / (20 * 4**0.2), abs=2)


def test_it_is_not_told_before_there_is_a_mean() -> None:
    assert at(0.8).run(-10.0, 13.1, 10.0).estimator.time_to_empty_min is None


@pytest.mark.parametrize("before_a", [0.0, 1.0, 20.0])
def test_it_follows_a_step_of_the_load_within_a_minute(before_a: float) -> None:
    bench = at(0.9).run(-before_a, 13.1, 1800.0, step_s=2.0).run(-50.0, 13.0, 60.0, step_s=2.0)
    load_a = 50 * bench.estimator.rate_factor(50.0)
    assert bench.estimator.time_to_empty_min == pytest.approx(60 * bench.pct / load_a, rel=0.05)


def test_a_load_that_switches_all_the_time_has_one_mean() -> None:
    bench = at(0.9)
    for _ in range(10):
        bench.run(-20.0, 13.0, 120.0).run(-2.0, 13.1, 240.0)
    found = []
    for current_a, seconds in ((-20.0, 120.0), (-2.0, 240.0)):
        bench.run(current_a, 13.1, seconds)
        found.append(bench.estimator.time_to_empty_min)
    assert found == [pytest.approx(60 * bench.pct / 8, rel=0.15)] * 2


def test_where_the_current_changes_its_sign_within_seconds_the_net_current_counts() -> None:
    bench = at(0.8)
    for _ in range(300):
        bench.run(-40.0, 13.1, 3.0, step_s=1.0).run(20.0, 13.3, 1.0, step_s=1.0)
    found = bench.estimator.time_to_empty_min
    assert found == pytest.approx(60 * bench.pct / 25, rel=0.05)


@pytest.mark.parametrize("current_a", [5.0, 0.0])
def test_there_is_none_while_charging_and_at_rest(current_a: float) -> None:
    bench = at(0.5).run(-5.0, 13.1, 600.0).run(current_a, 13.3, HOUR_S)
    assert bench.estimator.time_to_empty_min is None


def test_after_a_charge_the_mean_begins_anew() -> None:
    bench = at(0.5).run(-5.0, 13.1, 600.0).run(20.0, 13.4, 60.0)
    assert bench.estimator.time_to_empty_min is None
    found = bench.run(-20.0, 13.0, 60.0).estimator.time_to_empty_min
    assert found == pytest.approx(60 * bench.pct / 20, rel=0.05)


def test_it_is_there_at_once_after_a_power_cut() -> None:
    bench = at(0.8).run(-10.0, 13.1, 600.0).restart(300.0).run(-10.0, 13.1)
    assert bench.estimator.time_to_empty_min is not None


# The configuration


def test_what_is_not_set_is_what_is_usual() -> None:
    assert LIFEPO4.effective("charged_v") == 14.0
    assert BatterySettings("lifepo4", 100.0, nominal_v=48.0).effective("charged_v") == 56.0
    assert LEAD.effective("peukert") > LIFEPO4.effective("peukert")
    assert BatterySettings("lead_acid", 100.0, charged_v=13.6).effective("charged_v") == 13.6


@pytest.mark.parametrize(
    ("battery", "key"),
    [
        (BatterySettings(capacity_ah=100.0), "chemistry"),
        (BatterySettings("lifepo4", 100.0, nominal_v=13.0), "nominal_v"),
        (BatterySettings("lifepo4", 100.0, nominal_v=24.0, charged_v=14.0), "charged_v"),
        (BatterySettings("lifepo4", 100.0, charged_v=28.0), "charged_v"),
        (BatterySettings("lead_acid", 100.0, nominal_v=48.0, floor_v=10.8), "floor_v"),
    ],
)
def test_faults_name_the_key(battery: BatterySettings, key: str) -> None:
    assert [k for k, _ in battery.faults()] == [key]


@pytest.mark.parametrize(
    "battery",
    [
        BatterySettings(),
        LIFEPO4,
        LEAD,
        BatterySettings("lead_acid", 100.0, 24.0, charged_v=27.6, floor_v=21.6),
    ],
)
def test_a_sound_configuration_has_none(battery: BatterySettings) -> None:
    assert battery.faults() == []


# Days of a tent


@pytest.mark.parametrize("name", KINDS)
def test_days_of_a_tent(name: str) -> None:
    """One run of each model of `make accuracy`, with a shunt that reads too low and an honest nameplate."""
    found = days(KINDS[name], random.Random(f"test {name}"), 1.0, (-1, -1))
    assert found.rms <= 5
    assert found.inside / found.told >= 0.9
    assert found.told / found.judged >= 0.9, "the bars are not met by knowing nothing"
