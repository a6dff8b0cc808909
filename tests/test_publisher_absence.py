"""How long a counted battery was not watched, and what that does to its charge."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from publisher.config.load import parse
from tests.tents import Unit

CONFIG = """
[tent]
id = "t"
seats = 10
[broker]
host = "b"
[sensors.battery]
driver = "ina219"
shunt_ohms = 0.0015
max_current_a = 50
[battery]
capacity_ah = 100
chemistry = "lifepo4"
"""


#: Uptime at which the service starts in a boot.
BOOTED_S = 30.0


class Tent(Unit):
    """A unit with a battery of 100 Ah, and the true time of day, which it may not know."""

    def flow(self, seconds: int, current_a: float = -20.0, voltage_v: float = 13.1) -> "Tent":
        self.wait(seconds, battery={"current_a": current_a, "voltage_v": voltage_v})
        return self

    def learn_time(self, true: datetime) -> "Tent":
        self.wall, self.synced = true, True
        return self.flow(2)

    @property
    def block(self) -> dict[str, Any]:
        block: dict[str, Any] = self.snapshot()["power"]["battery"]
        return block

    @property
    def pct(self) -> float:
        pct: float = self.block["charge_pct"]
        return pct

    @property
    def around(self) -> float:
        around: float = self.block["uncertainty_pct"]
        return around

    def again(self, off_s: float, *, reboot: bool, knows: bool) -> "Tent":
        """Return the unit after `off_s` seconds without power (and a boot), or without its service."""
        passed = timedelta(seconds=off_s + (BOOTED_S if reboot else 0.0))
        return Tent(
            self.config,
            json.loads(self.stored()),
            wall=self.wall + passed if knows and self.wall is not None else None,
            synced=knows,
            boot=self.boot + reboot,
            now_s=BOOTED_S - 5.0 if reboot else self.now_s + off_s,  # the uptime is 5 s more
        ).flow(5)


def counted(more: str = "") -> Tent:
    """Return a unit whose battery was full, and has given 20 Ah at 20 A since."""
    return Tent(parse(CONFIG + more)).flow(300, 1.0, 14.3).flow(3600)


def drawn(seconds: float) -> float:
    """Return the points that 20 A draw."""
    return 20.0 * seconds / 3600


@pytest.mark.parametrize("knows", [True, False])
def test_within_one_boot_the_uptime_measures_the_gap(knows: bool) -> None:
    unit = counted()
    again = unit.again(40.0, reboot=False, knows=knows)
    assert again.pct == pytest.approx(unit.pct - drawn(45), abs=0.1)
    assert again.around == pytest.approx(unit.around, abs=0.1)


def test_a_boot_with_a_clock_knows_it_at_once() -> None:
    unit = counted()
    again = unit.again(1800.0, reboot=True, knows=True)
    assert again.block["gap"]["off_s"] == pytest.approx(1830, abs=5)
    assert again.pct == pytest.approx(unit.pct - 10.3, abs=0.5)


def test_a_boot_without_a_clock_moves_the_charge_little_and_says_how_far_it_may_be_off() -> None:
    unit = counted()
    again = unit.again(40.0, reboot=True, knows=False)
    assert again.block["gap"]["off_s"] is None
    assert unit.pct - 2.5 < again.pct < unit.pct
    assert 19 < again.around <= 25


@pytest.mark.parametrize("off_s", [40.0, 1800.0])
@pytest.mark.parametrize("reboot", [None, False, True], ids=["", "service restarted", "booted"])
def test_a_clock_that_comes_later_tells_the_length(off_s: float, reboot: bool | None) -> None:
    """Also where the service was restarted meanwhile, or the unit has booted once more."""
    unit = counted()
    start = unit.wall
    assert start is not None
    again = unit.again(off_s, reboot=True, knows=False).flow(60)
    passed_s = off_s + BOOTED_S + 65
    if reboot is not None:
        again = again.again(20.0, reboot=reboot, knows=False)
        passed_s += 25.0 + reboot * BOOTED_S
    assert again.around > unit.around + 10
    again.learn_time(start + timedelta(seconds=passed_s))
    assert again.pct == pytest.approx(unit.pct - drawn(passed_s + 2), abs=0.5)
    assert again.around < unit.around + 4


def test_a_unit_that_hangs_on_the_battery_knows_that_nothing_flowed_without_it() -> None:
    unit = counted("feeds_unit = true\n")
    again = unit.again(7200.0, reboot=True, knows=False)
    assert again.pct == pytest.approx(unit.pct - drawn(35), abs=0.2)
    assert again.around == pytest.approx(unit.around, abs=0.2)


def test_a_unit_that_died_with_its_battery_knows_that_it_was_empty() -> None:
    unit = counted("feeds_unit = true\n").flow(3600 * 3 + 2400, voltage_v=12.9)
    assert unit.pct > 5
    assert unit.again(7200.0, reboot=True, knows=False).pct < 7


def test_the_same_uptime_in_another_boot_measures_nothing() -> None:
    unit = counted()
    again = Tent(
        unit.config,
        json.loads(unit.stored()),
        wall=None,
        synced=False,
        boot=7,
        now_s=unit.now_s + 40,
    )
    assert again.flow(5).block["gap"]["off_s"] is None
