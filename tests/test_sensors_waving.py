"""Finding lines by waving hands and switching relays, on simulated pins under the real inputs."""

import math
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensors.clock import Monotonic
from sensors.finding.waving import GPIOS, Line, free_lines, wait_for_wave
from sensors.gpio import UNUSABLE, Inputs
from sensors.simulated.hardware import INNER_GPIO, MAINS_GPIO, OUTER_GPIO, SimulatedHardware
from tests.conftest import wait_for
from tests.devices import raises

#: Seconds of a simulation at a hundred times real speed.
LIMIT_S = 2000.0
Changes = list[tuple[float, int, bool]]


@pytest.fixture
def hardware(tmp_path: Path) -> Iterator[SimulatedHardware]:
    hardware = SimulatedHardware(tmp_path, Monotonic(100.0))
    yield hardware
    hardware.close()


def waved(hardware: SimulatedHardware, changes: Changes, limit_s: float = LIMIT_S) -> list[Line]:
    """Return the findings for these changes of lines: (seconds from now, GPIO, level)."""
    inputs = Inputs(free_lines(hardware), hardware)
    pins = hardware.pins
    begin_s = pins.ticks()

    def change() -> None:
        for after_s, gpio, high in changes:
            at_s = pins.horizon_s = begin_s + after_s
            wait_for(lambda: pins.ticks() >= pins.horizon_s, "the simulated time")
            pins.set_cable(gpio, high, at_s)
        pins.horizon_s = math.inf

    thread = threading.Thread(target=change)
    thread.start()
    try:
        return wait_for_wave(inputs, Monotonic(100.0), limit_s)
    finally:
        thread.join()
        inputs.close()


def pulse(gpio: int, at_s: float, for_s: float, away: bool = True) -> Changes:
    return [(at_s, gpio, away), (at_s + for_s, gpio, not away)]


def test_a_hand_in_a_beam_shows_its_line_and_its_level(hardware: SimulatedHardware) -> None:
    assert waved(hardware, pulse(INNER_GPIO, 1.0, 0.2)) == [Line(INNER_GPIO, True)]


def test_a_receiver_that_is_low_when_its_beam_is_broken(hardware: SimulatedHardware) -> None:
    hardware.pins.set_cable(OUTER_GPIO, True)
    assert waved(hardware, pulse(OUTER_GPIO, 1.0, 0.2, False)) == [Line(OUTER_GPIO, False)]


def test_a_relay_that_bounces_and_is_off_for_long(hardware: SimulatedHardware) -> None:
    hardware.set_mains(True)
    bounces = [(0.5 + n / 1000, MAINS_GPIO, n % 2 == 0) for n in range(5)]
    back = [(20 + n / 1000, MAINS_GPIO, n % 2 == 1) for n in range(5)]
    assert waved(hardware, bounces + back) == [Line(MAINS_GPIO, True)]


def test_a_disturbance_is_no_hand(hardware: SimulatedHardware) -> None:
    noise = [c for n in range(10) for c in pulse(5, 0.5 + n, 0.005, False)]
    found = waved(hardware, sorted(noise + pulse(OUTER_GPIO, 3.2, 0.2)))
    assert found == [Line(OUTER_GPIO, True)]


def test_two_lines_at_once_are_both_told(hardware: SimulatedHardware) -> None:
    both = pulse(OUTER_GPIO, 1.0, 0.4) + pulse(INNER_GPIO, 1.1, 0.2)
    assert waved(hardware, sorted(both)) == [Line(OUTER_GPIO, True), Line(INNER_GPIO, True)]


def test_a_line_that_does_not_come_back_is_not_taken(hardware: SimulatedHardware) -> None:
    assert waved(hardware, [(1.0, OUTER_GPIO, True)], 20.0) == []
    hardware.pins.set_cable(OUTER_GPIO, False)
    assert waved(hardware, [], 5.0) == []


def test_edges_that_got_lost_are_made_up_for(hardware: SimulatedHardware) -> None:
    hardware.pins.deaf = True
    assert waved(hardware, pulse(OUTER_GPIO, 20.0, 100.0)) == [Line(OUTER_GPIO, True)]


def test_lines_that_others_use_are_left_to_them(hardware: SimulatedHardware) -> None:
    others = Inputs((MAINS_GPIO, 5), hardware)
    assert free_lines(hardware) == tuple(g for g in GPIOS if g not in (MAINS_GPIO, 5))
    others.close()
    assert free_lines(hardware) == GPIOS


def test_without_gpio_it_is_told_why(hardware: SimulatedHardware) -> None:
    hardware.pins.failure = OSError("no chip")
    with raises(UNUSABLE, why="no chip"):
        free_lines(hardware)
