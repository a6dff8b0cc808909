"""The simulated world: determined by its seed, consistent at every instant, read correctly."""

import threading
from collections import Counter
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import NamedTuple

import pytest

from sensors.beams import Beams
from sensors.beams import Config as BeamsConfig
from sensors.clock import Monotonic
from sensors.contact import Config as ContactConfig
from sensors.contact import Contact
from sensors.simulated.hardware import INNER_GPIO, MAINS_GPIO, OUTER_GPIO, SimulatedHardware
from sensors.simulated.world import CAPACITY_AH, FULL_LOAD_L_H, NO_LOAD_L_H, TANK_L, World
from tests.devices import PATIENCE_S, simulated

DAY_S = 86_400.0
#: A speed at which the world is always late and goes from event to event without waiting.
AT_ONCE = 1e7

Fact = tuple[float, str]


class Town(NamedTuple):
    """The initial conditions of a world."""

    seed: int = 1
    seats: int = 60
    people: int = 10
    hour_of_day: float = 8.0
    fuel_l: float = TANK_L


class Playing:
    """A world that ends when the first person after `until_s` has passed the door.

    Then nobody is in the door, and every fact has been reported.
    """

    def __init__(
        self,
        hardware: SimulatedHardware,
        clock: Monotonic,
        town: Town,
        until_s: float,
        watch: Callable[[World], None] = lambda _: None,
    ) -> None:
        self.facts: list[Fact] = []
        self.fuel: list[tuple[float, str, float]] = []  # what is in the tank, and what was poured
        self.people: Counter[str] = Counter()
        self._hardware = hardware
        self._watch = watch
        self._until_s = until_s
        self._start_s: float | None = None
        self._over = threading.Event()
        self.world = World(hardware, clock, self._hear, step_s=60.0, **town._asdict())
        self.world.start()

    def _hear(self, at_s: float, what: str, /, **values: float) -> None:
        if self._start_s is None:
            self._start_s = at_s  # mains is present at the start
        at_s -= self._start_s
        self.facts.append((at_s, what))
        if what in ("fuel", "refuelled"):
            self.fuel.append((at_s, what, values["litres"]))
        self._watch(self.world)
        if what in ("entered", "left"):
            self.people[what] += 1
            if at_s >= self._until_s:
                self.world.stop()
                self._over.set()

    def is_over(self) -> bool:
        return self._over.is_set()

    def wait(self) -> None:
        assert self._over.wait(PATIENCE_S), f"the world is only at {self.facts[-1:]}"
        self.world.stop()


def facts(directory: Path, town: Town, until_s: float = DAY_S) -> list[Fact]:
    with simulated(directory, AT_ONCE) as (hardware, clock):
        playing = Playing(hardware, clock, town, until_s)
        playing.wait()
        return playing.facts


def alternate(found: list[Fact], first: str, second: str) -> bool:
    mine = [what for _, what in found if what in (first, second)]
    return len(mine) > 1 and all(
        what == (first, second)[number % 2] for number, what in enumerate(mine)
    )


def test_a_seed_gives_the_same_day_each_time(tmp_path: Path) -> None:
    once = facts(tmp_path, Town(seed=7))
    again = facts(tmp_path, Town(seed=7))
    assert [what for _, what in once] == [what for _, what in again]
    assert [at_s for at_s, _ in once] == pytest.approx([at_s for at_s, _ in again], abs=0.01)
    assert len(once) > 300


def test_another_seed_gives_another_day(tmp_path: Path) -> None:
    assert facts(tmp_path, Town(seed=7)) != facts(tmp_path, Town(seed=8))


@pytest.mark.parametrize(("seats", "people"), [(12, 0), (12, 12), (60, 30)])
def test_there_is_never_less_than_nobody_nor_more_than_the_seats(
    tmp_path: Path, seats: int, people: int
) -> None:
    inside = people
    counts = set()
    for _, what in facts(tmp_path, Town(seed=3, seats=seats, people=people), 2 * DAY_S):
        inside += {"entered": 1, "left": -1}.get(what, 0)
        assert 0 <= inside <= seats
        counts.add(inside)
    assert 0 in counts, "the tent is empty at times"
    if seats == 12:
        assert seats in counts, "and full at others"


def test_facts_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    times = [at_s for at_s, _ in facts(tmp_path, Town())]
    assert times == sorted(times)


def test_mains_and_the_generator_come_and_go_in_turn(tmp_path: Path) -> None:
    found = facts(tmp_path, Town(), 4 * DAY_S)
    assert alternate(found, "mains_restored", "mains_lost")
    assert alternate(found, "generator_started", "generator_stopped")
    mains = False
    for _, what in found:
        mains = {"mains_restored": True, "mains_lost": False}.get(what, mains)
        assert not (what == "generator_started" and mains)


def test_the_battery_stays_between_empty_and_full(tmp_path: Path) -> None:
    charges: list[float] = []
    with simulated(tmp_path, AT_ONCE) as (hardware, clock):
        Playing(hardware, clock, Town(), 4 * DAY_S, lambda w: charges.append(w.charge_ah)).wait()
    assert all(0 <= charge_ah <= CAPACITY_AH for charge_ah in charges)
    assert max(charges) - min(charges) > 20, "it is used and charged"


def test_the_generator_burns_what_is_poured_in(tmp_path: Path) -> None:
    with simulated(tmp_path, AT_ONCE) as (hardware, clock):
        playing = Playing(hardware, clock, Town(), 4 * DAY_S)
        playing.wait()
    engine_h, started_s = 0.0, None
    for at_s, what in playing.facts:
        if what == "generator_started":
            started_s = at_s
        elif what == "generator_stopped" and started_s is not None:
            engine_h += (at_s - started_s) / 3600
            started_s = None
    levels = [litres for _, what, litres in playing.fuel if what == "fuel"]
    poured_l = sum(litres for _, what, litres in playing.fuel if what == "refuelled")
    burnt_l = TANK_L - levels[-1] + poured_l
    assert poured_l > TANK_L / 2
    assert all(0 <= level <= TANK_L for level in levels)
    assert NO_LOAD_L_H < burnt_l / engine_h < FULL_LOAD_L_H


def test_without_fuel_the_engine_stops_until_somebody_fills_the_tank(tmp_path: Path) -> None:
    with simulated(tmp_path, AT_ONCE) as (hardware, clock):
        playing = Playing(hardware, clock, Town(fuel_l=0.5), DAY_S)
        playing.wait()
    power = [what for _, what in playing.facts if what.startswith(("generator", "fuel_", "refuel"))]
    assert power[:5] == [
        "generator_started", "fuel_out", "generator_stopped", "refuelled", "generator_started",
    ]  # fmt: skip
    assert min(litres for _, what, litres in playing.fuel if what == "fuel") == 0
    [first, *_] = [litres for _, what, litres in playing.fuel if what == "refuelled"]
    assert first == pytest.approx(TANK_L, rel=0.03)


def test_fuel_changes_neither_people_nor_mains(tmp_path: Path) -> None:
    others = ("entered", "left", "mains_restored", "mains_lost")
    much = [f for f in facts(tmp_path, Town(fuel_l=TANK_L)) if f[1] in others]
    less = [f for f in facts(tmp_path, Town(fuel_l=TANK_L - 1)) if f[1] in others]
    assert [what for _, what in much] == [what for _, what in less]
    assert [at_s for at_s, _ in much] == pytest.approx([at_s for at_s, _ in less], abs=0.01)


def counted(hardware: SimulatedHardware, clock: Monotonic, town: Town, until_s: float) -> None:
    """Let the real driver count while the world runs, and compare its figures with the facts."""
    beams = Beams(BeamsConfig(OUTER_GPIO, INNER_GPIO), hardware, clock)
    edges: list[bytes] = []
    beams.tap = edges.append
    beams.open()
    found: Counter[str] = Counter()

    def read() -> None:
        for quantity, value, *_ in beams.read():
            if quantity == "obstructed":
                assert value is False
            else:
                found[quantity] += int(value or 0)

    playing = Playing(hardware, clock, town, until_s)
    while not playing.is_over():
        read()
    playing.wait()
    hardware.pins.horizon_s = inf  # time passes without further events
    for _ in range(3):
        read()
    beams.close()
    assert found == playing.people
    if found.total() > 200:
        assert len(edges) > 4.1 * found.total(), "some turn back, hesitate or wave"


@pytest.mark.parametrize("seed", range(3))
def test_the_beams_count_everybody_of_a_day_played_at_once(tmp_path: Path, seed: int) -> None:
    with simulated(tmp_path, AT_ONCE) as (hardware, clock):
        counted(hardware, clock, Town(seed=seed), DAY_S)


@pytest.mark.parametrize("speed", [300.0, 600.0])
def test_the_beams_count_everybody_at_the_demonstrations_speed(
    tmp_path: Path, speed: float
) -> None:
    """An evening: sixty people leave within hours, and others come."""
    town = Town(seed=5, seats=120, people=60, hour_of_day=17.0)
    with simulated(tmp_path, speed) as (hardware, clock):
        counted(hardware, clock, town, 2.5 * speed)


def test_the_contact_follows_the_mains(tmp_path: Path) -> None:
    with simulated(tmp_path, AT_ONCE) as (hardware, clock):
        contact = Contact(ContactConfig(gpio=MAINS_GPIO), hardware, clock)
        contact.open()
        day = Playing(hardware, clock, Town(), DAY_S)
        day.wait()
        [reading] = contact.read()
        contact.close()
    last = [what for _, what in day.facts if what.startswith("mains")][-1]
    assert reading.value is (last == "mains_restored")
