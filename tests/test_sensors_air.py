"""The air of the simulated tent: it obeys its balances, and what happens in it shows in its figures."""

from pathlib import Path
from random import Random

import pytest

from sensors.clock import Monotonic
from sensors.ds18b20 import Config as Ds18b20Config
from sensors.ds18b20 import Ds18b20
from sensors.reading import Driver
from sensors.sht4x import Config as Sht4xConfig
from sensors.sht4x import Sht4x
from sensors.simulated.air import STOVE_OFF_C, STOVE_ON_C, Air
from sensors.simulated.hardware import ONE_WIRE_DEVICE, SimulatedHardware

STEP_S = 60.0
DAY = int(86_400 / STEP_S)


class Tent:
    """A tent's air, step by step; `happened` has the step at which each thing happened."""

    def __init__(self, seed: int = 1, *, people: int = 10, generator: bool = True) -> None:
        self.air = Air(Random(seed), 8.0)
        self.people = people
        self.generator = generator
        self.powered = True
        self.steps = 0
        self.happened: list[tuple[int, str]] = []

    def live(self, steps: int) -> list[tuple[float, float]]:
        """Let steps pass; return the temperature inside and the CO after each."""
        found = []
        for _ in range(steps):
            hour = (8 + self.steps * STEP_S / 3600) % 24
            news = self.air.pass_time(
                STEP_S, hour, self.people, powered=self.powered, generator=self.generator
            )
            self.steps += 1
            self.happened += [(self.steps, what) for what in news]
            found.append((self.air.inside_c, self.air.co_ppm))
        return found

    def until(self, what: str) -> list[tuple[float, float]]:
        """Let time pass until something happens; return the figures of each step."""
        found = []
        for _ in range(20 * DAY):
            found += self.live(1)
            if (self.steps, what) in self.happened:
                return found
        raise AssertionError(f"{what} has not happened in twenty days")


def test_a_burning_stove_keeps_the_tent_warm() -> None:
    tent = Tent(generator=False)
    tent.live(60)
    before = tent.until("stove_out")[60:]
    assert all(STOVE_ON_C - 2 < inside_c < STOVE_OFF_C + 2 for inside_c, _ in before)


def test_a_tent_whose_stove_is_out_gets_cold_and_warm_again() -> None:
    tent = Tent(generator=False)
    coldest_c = 100.0
    for _ in range(5):
        tent.until("stove_out")
        coldest_c = min(coldest_c, *(inside_c for inside_c, _ in tent.until("stove_lit")))
    assert coldest_c < STOVE_ON_C - 5
    assert max(inside_c for inside_c, _ in tent.live(120)) > STOVE_ON_C


def test_without_power_the_stove_heats_nothing() -> None:
    tent = Tent(people=0, generator=False)
    tent.powered = False
    tent.live(DAY)
    assert tent.air.inside_c == pytest.approx(tent.air.outside_c, abs=3)


def test_each_person_at_the_door_lets_cold_air_in() -> None:
    tent = Tent(generator=False)
    tent.live(60)
    air = tent.air
    before_c, before_pct = air.inside_c, air.humidity_pct
    for _ in range(30):
        air.open_door()
    assert air.outside_c < air.inside_c < before_c - 0.5
    assert air.humidity_pct < before_pct


def test_exhaust_drifts_in_and_is_aired_out() -> None:
    for seed in range(5):
        tent = Tent(seed)
        usual_ppm = max(ppm for _, ppm in tent.until("exhaust_drifts_in")[:-1])
        highest_ppm = max(ppm for _, ppm in tent.until("exhaust_gone"))
        after_ppm = tent.live(60)[-1][1]
        assert usual_ppm < 5 < highest_ppm < 400
        assert after_ppm < highest_ppm / 5


def test_no_exhaust_without_a_running_generator() -> None:
    tent = Tent(generator=False)
    highest_ppm = max(ppm for _, ppm in tent.live(20 * DAY))
    assert "exhaust_drifts_in" not in {what for _, what in tent.happened}
    assert highest_ppm < 10


def test_the_weather_has_days_and_fronts() -> None:
    air = Air(Random(3), 0.0)
    by_hour: dict[int, list[float]] = {}
    for step in range(60 * DAY):
        hour = step * STEP_S / 3600 % 24
        air.pass_time(STEP_S, hour, 0, powered=False, generator=False)
        by_hour.setdefault(int(hour), []).append(air.outside_c)
    mean_c = {hour: sum(found) / len(found) for hour, found in by_hour.items()}
    assert min(mean_c, key=lambda hour: mean_c[hour]) in (4, 5, 6, 7, 8)
    assert max(mean_c, key=lambda hour: mean_c[hour]) in (16, 17, 18, 19, 20)
    assert max(by_hour[12]) - min(by_hour[12]) > 8, "one noon is like another"


def test_figures_stay_possible() -> None:
    tent = Tent(9, people=60)
    for _ in range(5 * DAY):
        tent.live(1)
        tent.air.open_door()
        assert 0 <= tent.air.humidity_pct <= 100
        assert tent.air.co_ppm >= 0
        assert -40 < tent.air.inside_c < 50


def test_the_real_drivers_read_this_air(tmp_path: Path) -> None:
    clock = Monotonic()
    hardware = SimulatedHardware(tmp_path, clock, air=True)
    assert hardware.air is not None
    hardware.air.change(19.3, -6.5, 41.0, 12.0, 1.0)
    drivers: list[Driver] = [
        Sht4x(Sht4xConfig(), hardware, clock),
        Ds18b20(Ds18b20Config(ONE_WIRE_DEVICE), hardware, clock),
    ]
    found = []
    for driver in drivers:
        driver.open()
        found.append({m.quantity: m.value for m in driver.read()})
        driver.close()
    inside, outside = found
    assert inside == pytest.approx({"temperature_c": 19.3, "humidity_pct": 41.0}, abs=0.1)
    assert outside == {"temperature_c": -6.5}
    assert (hardware.root / "proc/self/io").exists(), "the computer's own files are there as well"
    hardware.close()
