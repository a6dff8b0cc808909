"""Fuel: what people fill in, less what the engine burns; over restarts, and with what is not known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from publisher.clock import Now
from publisher.config.generator import GeneratorSettings
from publisher.rules.tank import Fuel, Tank

#: 3 l/h at full load, 1 l/h without one.
SETTINGS = GeneratorSettings(rated_w=5000, tank_l=15, full_load_l_h=3, no_load_l_h=1)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR_S = 3600


class Shed:
    """A generator with its tank; a restart of the unit keeps the fuel only."""

    def __init__(self, settings: GeneratorSettings = SETTINGS) -> None:
        self.settings = settings
        self.fuel = Fuel()
        self.at_s = 1000.0
        self.boot = 1
        self.booted_s = 0.0
        self.synced = True
        self.tank = Tank(settings, self.fuel, self.boot)

    @property
    def now(self) -> Now:
        wall = NOON + timedelta(seconds=self.at_s)
        return Now(self.at_s, self.at_s - self.booted_s, wall if self.synced else None, self.synced)

    def run(self, hours: float, load_pct: float | None = 50.0, running: bool | None = True) -> None:
        self.tank.apply(running, load_pct, self.now)
        for _ in range(round(hours * HOUR_S / 20)):
            self.at_s += 20
            self.tank.apply(running, load_pct, self.now)

    def stand(self, hours: float) -> None:
        self.run(hours, running=False)

    def restart(self, off_h: float, *, reboot: bool) -> None:
        self.at_s += off_h * HOUR_S
        if reboot:
            self.boot += 1
            self.booted_s = self.at_s - 20
        self.tank = Tank(self.settings, self.fuel, self.boot)


@pytest.fixture
def shed() -> Shed:
    return Shed()


def test_nothing_is_known_before_somebody_has_told_it(shed: Shed) -> None:
    shed.run(1)
    assert (shed.tank.litres, shed.tank.litres_low, shed.tank.hours) == (None, None, None)


def test_fuel_is_burnt_by_load(shed: Shed) -> None:
    shed.tank.refuel(None, full=True)
    shed.run(1, 0.0)
    assert shed.tank.litres == pytest.approx(14, abs=0.05)
    shed.run(1, 100.0)
    assert shed.tank.litres == pytest.approx(11, abs=0.05)
    shed.stand(5)
    assert shed.tank.litres == pytest.approx(11, abs=0.05)


def test_hours_are_those_at_the_present_load(shed: Shed) -> None:
    shed.tank.refuel(None, full=True)
    shed.run(1, 100.0)
    assert shed.tank.hours == pytest.approx(12 / 3, rel=0.02)
    shed.run(1.5, 0.0)
    assert shed.tank.hours == pytest.approx(10.5 / 1, rel=0.05)
    shed.stand(1)
    assert shed.tank.hours == pytest.approx(10.5 / 1, rel=0.05), "as it ran last"


def test_the_low_twin_is_lower_and_opens_with_what_is_burnt(shed: Shed) -> None:
    shed.tank.refuel(None, full=True)
    spread = []
    for _ in range(3):
        shed.run(1, 100.0)
        assert shed.tank.litres is not None
        assert shed.tank.litres_low is not None
        spread.append(shed.tank.litres - shed.tank.litres_low)
    assert 0 < spread[0] < spread[1] < spread[2]


def test_litres_are_added_to_what_is_there_and_never_more_than_the_tank_holds(shed: Shed) -> None:
    shed.tank.refuel(5.0, full=False)
    assert shed.tank.litres == 5.0
    shed.run(1, 100.0)
    shed.tank.refuel(4.0, full=False)
    assert shed.tank.litres == pytest.approx(6, abs=0.05)
    shed.tank.refuel(12.0, full=False)
    assert shed.tank.litres == 15


def test_an_engine_that_runs_on_more_than_was_told_makes_the_level_unknown(shed: Shed) -> None:
    shed.tank.refuel(2.0, full=False)
    shed.run(1, 100.0)
    assert (shed.tank.litres, shed.tank.litres_low) == (None, 0)
    assert (shed.tank.hours, shed.tank.hours_low) == (None, 0)
    shed.tank.refuel(4.0, full=False)
    assert shed.tank.litres == 4.0


# Learning


@pytest.mark.parametrize("truth", [0.7, 1.3])
@pytest.mark.parametrize("at_once", [True, False])
def test_from_full_to_full_it_learns_what_the_engine_burns(
    shed: Shed, truth: float, *, at_once: bool
) -> None:
    shed.tank.refuel(None, full=True)
    errors = []
    for _ in range(4):
        shed.run(4, 50.0)  # 8 l by the settings
        burnt_l = 8 * truth
        assert shed.tank.litres is not None
        errors.append(abs(shed.tank.litres - (15 - burnt_l)))
        if at_once:
            shed.tank.refuel(burnt_l, full=True)
        else:  # the litres first, and a moment later that it is full
            shed.tank.refuel(burnt_l, full=False)
            shed.tank.refuel(None, full=True)
    assert errors[0] == pytest.approx(2.4, abs=0.1)
    assert errors[-1] < errors[0] / 4
    assert shed.fuel.scale_var < 0.06**2


@pytest.mark.parametrize(
    "between",
    [
        lambda shed: shed.tank.refuel(None, full=True),  # nobody has measured what was filled in
        lambda shed: (shed.run(1, running=None), shed.tank.refuel(8.0, full=True)),
        lambda shed: (
            shed.tank.refuel(2.0, full=False),
            shed.run(1),
            shed.tank.refuel(None, full=True),
        ),
    ],
)
def test_what_is_not_known_teaches_nothing(shed: Shed, between: object) -> None:
    shed.tank.refuel(None, full=True)
    shed.run(4, 50.0)
    assert callable(between)
    between(shed)
    assert shed.fuel.scale == 1.0
    assert shed.tank.litres == pytest.approx(15, abs=0.1)


def test_a_mistyped_number_teaches_nothing(shed: Shed) -> None:
    shed.tank.refuel(None, full=True)
    shed.run(4, 50.0)
    shed.tank.refuel(0.8, full=True)
    assert shed.fuel.scale == 1.0


def test_another_generator_begins_anew(shed: Shed) -> None:
    shed.fuel.scale, shed.fuel.scale_var, shed.fuel.generator = 1.4, 0.001, "another"
    assert Tank(SETTINGS, shed.fuel, 1) is not None
    assert shed.fuel.scale == 1.0


# Restarts


def test_a_restart_within_one_boot_burns_exactly_what_was_burnt(shed: Shed) -> None:
    shed.tank.refuel(None, full=True)
    shed.run(1, 50.0)
    shed.restart(0.5, reboot=False)
    shed.run(0.1, 50.0)
    assert shed.tank.litres == pytest.approx(15 - 1.6 * 2, abs=0.05)
    assert shed.fuel.doubt_l == 0


@pytest.mark.parametrize("running", [True, False])
def test_over_a_power_cut_half_may_have_been_burnt(shed: Shed, *, running: bool) -> None:
    shed.tank.refuel(None, full=True)
    shed.run(1, 50.0)
    shed.restart(2, reboot=True)
    shed.run(0.01, 50.0, running=running)
    most_l, least_l = 13.0, 9.0
    assert shed.tank.litres == pytest.approx((most_l + least_l) / 2, abs=0.1)
    assert shed.tank.litres_low is not None
    assert shed.tank.litres_low < least_l


def test_a_stopped_engine_burns_nothing_over_a_power_cut(shed: Shed) -> None:
    shed.tank.refuel(None, full=True)
    shed.stand(1)
    shed.restart(20, reboot=True)
    shed.stand(0.01)
    assert shed.tank.litres == 15


def test_without_a_clock_nothing_is_known_until_it_is_set(shed: Shed) -> None:
    shed.tank.refuel(None, full=True)
    shed.run(1, 50.0)
    shed.restart(1, reboot=True)
    shed.synced = False
    shed.run(0.5, 50.0)
    assert (shed.tank.litres, shed.tank.litres_low) == (None, None)
    shed.synced = True
    shed.run(0.01, 50.0)
    assert shed.tank.litres == pytest.approx(15 - 2 - 1.5, abs=0.1)


def test_a_clock_that_was_set_back_does_not_fill_the_tank(shed: Shed) -> None:
    shed.tank.refuel(None, full=True)
    shed.run(1, 50.0)
    shed.restart(-10, reboot=True)
    shed.run(0.01, 50.0)
    assert shed.tank.litres is None


@pytest.mark.parametrize(
    ("settings", "full_l_h", "no_load_l_h"),
    [
        (GeneratorSettings(), None, None),
        (GeneratorSettings(rated_w=5000), 3.0, 1.05),
        (GeneratorSettings(rated_w=1800, inverter=True), 1.08, 0.216),
        (GeneratorSettings(rated_w=5000, full_load_l_h=2), 2.0, 0.7),
    ],
)
def test_consumption_goes_by_the_rated_power_where_it_is_not_given(
    settings: GeneratorSettings, full_l_h: float | None, no_load_l_h: float | None
) -> None:
    assert settings.full_load == pytest.approx(full_l_h)
    assert settings.no_load == pytest.approx(no_load_l_h)


def test_a_load_that_is_not_measured_is_half_of_the_rated_one() -> None:
    shed = Shed(replace(SETTINGS, rated_w=None))
    shed.tank.refuel(None, full=True)
    shed.run(1, None)
    assert shed.tank.litres == pytest.approx(13, abs=0.05)
