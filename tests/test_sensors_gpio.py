"""The drivers on GPIO lines: edges and levels, bounce, lost edges, and libraries that fail."""

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import gpiozero
import pytest

from sensors import capture, registry
from sensors.beam import Beam
from sensors.beam import Config as BeamConfig
from sensors.beams import Beams
from sensors.beams import Config as BeamsConfig
from sensors.clock import Monotonic
from sensors.contact import RESTLESS, Contact
from sensors.contact import Config as ContactConfig
from sensors.doorway import BLOCKED, OTHER_SEES_NOTHING, Doorway
from sensors.edges import Edge
from sensors.gpio import NO_LIBRARY, UNUSABLE, Inputs, Output
from sensors.hardware import Hardware
from sensors.passage import FAILED_TIMES
from sensors.reading import Driver, Measurement, Quality, SensorError
from sensors.simulated.hardware import (
    INNER_GPIO,
    LAMP_GPIO,
    MAINS_GPIO,
    OUTER_GPIO,
    SimulatedHardware,
)
from sensors.simulated.pins import Pins
from tests.devices import PATIENCE_S, raises, simulated, walk, within_patience

BEAMS = BeamsConfig(outer_gpio=OUTER_GPIO, inner_gpio=INNER_GPIO)


class Tent:
    """Simulated lines, and drivers on them that are closed in the end."""

    def __init__(self, hardware: SimulatedHardware, clock: Monotonic) -> None:
        self.hardware = hardware
        self.clock = clock
        self.close: list[Callable[[], None]] = []

    def contact(self, config: ContactConfig | None = None) -> Contact:
        contact = Contact(config or ContactConfig(gpio=MAINS_GPIO), self.hardware, self.clock)
        contact.open()
        self.close.append(contact.close)
        return contact

    def beams(self, config: BeamsConfig = BEAMS) -> Beams:
        beams = Beams(config, self.hardware, self.clock)
        beams.open()
        self.close.append(beams.close)
        return beams

    def beam(self) -> Beam:
        beam = Beam(BeamConfig(gpio=OUTER_GPIO), self.hardware, self.clock)
        beam.open()
        self.close.append(beam.close)
        return beam

    def inputs(self, *gpios: int) -> Inputs:
        inputs = Inputs(gpios, self.hardware)
        self.close.append(inputs.close)
        return inputs


@pytest.fixture
def at_speed(tmp_path: Path) -> Iterator[Callable[[float], Tent]]:
    contexts, tents = [], []

    def at_speed(speed: float) -> Tent:
        context = simulated(tmp_path, speed)
        contexts.append(context)
        tents.append(Tent(*context.__enter__()))
        return tents[-1]

    yield at_speed
    for close in [c for tent in tents for c in tent.close]:
        close()
    for context in contexts:
        context.__exit__(None, None, None)


@pytest.fixture
def tent(at_speed: Callable[[float], Tent]) -> Tent:
    return at_speed(100.0)


def present(contact: Contact) -> object:
    [measurement] = contact.read()
    assert measurement.quantity == "present"
    return measurement.value


def people(beams: Doorway, reads: int = 5) -> Counter[str]:
    """Return how many people were counted in some reads."""
    found: Counter[str] = Counter()
    for _ in range(reads):
        for quantity, value, *_ in beams.read():
            if quantity not in ("doubtful", "obstructed", "blind_s"):
                found[quantity] += int(value or 0)
    return found


def until(beams: Doorway, wanted: Callable[[Measurement], bool]) -> list[Measurement]:
    """Read until a measurement is wanted; return all up to there."""
    found: list[Measurement] = []

    def read() -> None:
        while not any(map(wanted, found)):
            found.extend(beams.read())

    within_patience(read)
    return found


# Lines


def test_edges_come_with_their_line_level_and_time(tent: Tent) -> None:
    inputs = tent.inputs(5, 6)
    for gpio, high, at_s in ((5, False, 1.5), (6, False, 1.6), (5, True, 1.7)):
        tent.hardware.pins.set_cable(gpio, high, at_s)
    assert [inputs.next_edge(PATIENCE_S) for _ in range(3)] == [
        Edge(1.5, 5, False),
        Edge(1.6, 6, False),
        Edge(1.7, 5, True),
    ]
    assert inputs.next_edge(0.0) is None


def test_edges_and_the_present_are_on_one_clock(tent: Tent) -> None:
    inputs = tent.inputs(5)
    before_s = inputs.now_s()
    tent.hardware.pins.set_cable(5, False)
    edge = inputs.next_edge(PATIENCE_S)
    assert edge is not None
    assert before_s <= edge.at_s <= inputs.now_s()


def test_an_unconnected_line_is_pulled_up(tent: Tent) -> None:
    tent.hardware.pins.set_cable(5, None)
    assert tent.inputs(5).is_high(5)


def test_no_edge_is_lost_or_disordered_where_many_threads_move_the_lines(tent: Tent) -> None:
    gpios, each = (5, 6, 12, 13), 500
    inputs = tent.inputs(*gpios)

    def move(gpio: int) -> None:
        for number in range(each):
            tent.hardware.pins.set_cable(gpio, number % 2 == 1, float(number))

    movers = [threading.Thread(target=move, args=(gpio,)) for gpio in gpios]
    for mover in movers:
        mover.start()
    edges = [inputs.next_edge(PATIENCE_S) for _ in range(each * len(gpios))]
    for mover in movers:
        mover.join()
    assert inputs.next_edge(0.0) is None
    for gpio in gpios:
        assert [e for e in edges if e is not None and e.gpio == gpio] == [
            Edge(float(number), gpio, number % 2 == 1) for number in range(each)
        ]


def test_edges_that_got_lost_are_found_but_not_while_others_wait(tent: Tent) -> None:
    inputs = tent.inputs(5, 6)
    tent.hardware.pins.deaf = True
    tent.hardware.pins.set_cable(6, False)
    tent.hardware.pins.deaf = False
    tent.hardware.pins.set_cable(5, False)
    assert inputs.lost_edges(7.0) is None
    assert inputs.next_edge(0.0) is not None
    assert inputs.lost_edges(8.0) == [Edge(8.0, 6, False)]
    assert inputs.lost_edges(9.0) == []


def test_an_interruption_ends_a_wait_once(tent: Tent) -> None:
    inputs = tent.inputs(5)
    inputs.interrupt()
    tent.hardware.pins.set_cable(5, False)
    assert inputs.next_edge(PATIENCE_S) is None
    assert inputs.next_edge(PATIENCE_S) is not None


def test_closed_lines_send_nothing_and_can_be_taken_again(tent: Tent) -> None:
    first = tent.inputs(5)
    first.close()
    tent.hardware.pins.set_cable(5, False)
    assert first.next_edge(0.0) is None
    with pytest.raises(AssertionError):
        first.now_s()
    second = tent.inputs(5)
    tent.hardware.pins.set_cable(5, True)
    assert second.next_edge(0.0) is not None


def test_lines_close_all_even_where_one_fails(tent: Tent, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = tent.inputs(5, 6)
    pin_class = type(tent.hardware.pins.pin("GPIO6"))
    real_close = pin_class.close

    def close(pin: object) -> None:
        real_close(pin)
        if repr(pin) == "GPIO6":
            raise OSError("it does not close")

    with monkeypatch.context() as patch:
        patch.setattr(pin_class, "close", close)
        with pytest.raises(OSError, match="it does not close"):
            inputs.close()
    assert tent.inputs(5).is_high(5)


class LgpioError(Exception):
    """As lgpio has it: neither an OSError nor one of gpiozero's."""


def test_what_lgpio_raises_is_told_as_a_line_that_cannot_be_used(
    tent: Tent, monkeypatch: pytest.MonkeyPatch
) -> None:
    lgpio = ModuleType("lgpio")
    lgpio.error = LgpioError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lgpio", lgpio)
    lamp = Output(LAMP_GPIO, tent.hardware, tent.clock, "lamp")
    inputs = tent.inputs(5)
    tent.hardware.pins.failure = LgpioError("GPIO busy")
    for use in (
        lambda: tent.inputs(6),
        lambda: Output(7, tent.hardware, tent.clock, "lamp"),
        lambda: inputs.is_high(5),
        lambda: inputs.lost_edges(1.0),
    ):
        with raises(UNUSABLE, why="GPIO busy"):
            use()
    tent.hardware.pins.failure = None
    lamp.close()


def test_two_sensors_that_open_at_once_share_one_pin_factory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a Pi, gpiozero makes the factory when it is first needed."""
    made: list[Pins] = []
    another = threading.Event()

    def default_factory() -> Pins:
        if made:
            another.set()
        made.append(Pins(Monotonic().now_s))
        another.wait(0.2)  # give another thread the time to come in here too
        return made[0]

    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    monkeypatch.setattr(gpiozero.Device, "_default_pin_factory", staticmethod(default_factory))
    opened: list[Inputs] = []
    threads = [
        threading.Thread(target=lambda gpio=gpio: opened.append(Inputs((gpio,), Hardware())))
        for gpio in (5, 6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(opened), len(made)) == (2, 1)
    for inputs in opened:
        inputs.close()


def test_off_a_pi_a_line_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "none-such")
    with raises(NO_LIBRARY):
        Inputs((5,), Hardware())


def test_a_lamp_lights_and_is_dark_when_it_is_closed(tent: Tent) -> None:
    lamp = Output(LAMP_GPIO, tent.hardware, tent.clock, "lamp")
    assert not tent.hardware.pins.is_high(LAMP_GPIO)
    lamp.show((1.0,))
    assert tent.hardware.pins.is_high(LAMP_GPIO)
    lamp.show(())
    assert not tent.hardware.pins.is_high(LAMP_GPIO)
    lamp.show((1.0,))
    lamp.close()
    assert not tent.hardware.pins.is_high(LAMP_GPIO)


# The mains contact


def test_a_contact_tells_its_state_at_once_and_once_a_second(tent: Tent) -> None:
    contact = tent.contact()
    assert [present(contact) for _ in range(3)] == [False] * 3
    tent.hardware.set_mains(True)
    assert [present(contact) for _ in range(3)] == [True] * 3


def test_a_contact_tells_of_a_change_without_waiting_for_the_second(
    at_speed: Callable[[float], Tent],
) -> None:
    """A second of this clock takes a quarter of an hour, and a millisecond one second."""
    tent = at_speed(0.001)
    contact = tent.contact(ContactConfig(gpio=MAINS_GPIO, settle_s=0.0001))
    assert present(contact) is False
    tent.hardware.set_mains(True)
    assert present(contact) is True


@pytest.mark.parametrize("bounces", [1, 2, 20])
def test_bouncing_gives_one_change(at_speed: Callable[[float], Tent], bounces: int) -> None:
    tent = at_speed(10.0)
    contact = tent.contact(ContactConfig(gpio=MAINS_GPIO, settle_s=1.0))
    told = [present(contact)]
    for closing in (True, False):
        for _ in range(bounces):
            tent.hardware.set_mains(closing)
            tent.hardware.set_mains(not closing)
        tent.hardware.set_mains(closing)
        told += [present(contact) for _ in range(2)]
    assert told == [False, True, True, False, False]


def test_a_pulse_shorter_than_it_takes_to_settle_changes_nothing(
    at_speed: Callable[[float], Tent],
) -> None:
    tent = at_speed(10.0)
    contact = tent.contact(ContactConfig(gpio=MAINS_GPIO, settle_s=1.0))
    told = [present(contact)]
    tent.hardware.set_mains(True)
    tent.hardware.set_mains(False)
    told += [present(contact) for _ in range(2)]
    assert told == [False] * 3


def test_a_contact_that_never_settles_is_a_fault_and_no_value(
    at_speed: Callable[[float], Tent],
) -> None:
    tent = at_speed(2.0)
    contact = tent.contact(ContactConfig(gpio=MAINS_GPIO, settle_s=1.0))
    assert present(contact) is False
    over = threading.Event()

    def chatter() -> None:
        while not over.wait(0.002):
            tent.hardware.set_mains(tent.hardware.pins.is_high(MAINS_GPIO))

    thread = threading.Thread(target=chatter)
    thread.start()
    said: list[SensorError] = []

    def read() -> None:
        while not said:  # a heartbeat may be due before the first edge
            try:
                contact.read()
            except SensorError as error:
                said.append(error)

    try:
        within_patience(read)
    finally:
        over.set()
        thread.join()
    [error] = said
    assert (error.kind, error.values) == (RESTLESS, {"gpio": MAINS_GPIO})
    tent.hardware.set_mains(True)
    assert present(contact) is True


def test_a_cut_cable_reads_as_no_mains(tent: Tent) -> None:
    contact = tent.contact()
    tent.hardware.set_mains(True)
    assert [present(contact) for _ in range(2)] == [True, True]
    tent.hardware.pins.set_cable(MAINS_GPIO, None)
    assert [present(contact) for _ in range(2)] == [False, False]


def test_a_contact_may_be_wired_the_other_way_round(tent: Tent) -> None:
    contact = tent.contact(ContactConfig(gpio=MAINS_GPIO, present_level="high"))
    assert present(contact) is True
    tent.hardware.set_mains(True)
    assert present(contact) is False


def test_a_change_whose_edge_is_lost_shows_within_a_second(tent: Tent) -> None:
    contact = tent.contact()
    assert present(contact) is False
    tent.hardware.pins.deaf = True
    tent.hardware.set_mains(True)
    assert present(contact) is True


# The beams


def test_people_are_counted_once_in_the_right_direction(tent: Tent) -> None:
    beams = tent.beams()
    at_s = tent.clock.now_s()
    for number, inward in enumerate((True, True, False, True, False)):
        walk(tent.hardware, at_s + number, inward=inward)
    assert people(beams, 12) == {"entered": 3, "left": 2}


def test_a_crowd_is_one_reading(tent: Tent) -> None:
    beams = tent.beams()
    beams.read()
    for number in range(50):
        walk(tent.hardware, tent.clock.now_s() - 100.0 + number, inward=True)
    tent.hardware.set_beam(inner=False, blocked=True)  # the next one, so that the last is past
    assert [(m.quantity, m.value) for m in beams.read()] == [
        ("doubtful", False), ("obstructed", False), ("entered", 50),
    ]  # fmt: skip


def test_beams_may_be_wired_the_other_way_round(tent: Tent) -> None:
    swapped = BeamsConfig(outer_gpio=INNER_GPIO, inner_gpio=OUTER_GPIO)
    beams = tent.beams(swapped)
    walk(tent.hardware, tent.clock.now_s(), inward=True)
    assert people(beams) == {"left": 1}


def test_a_level_that_means_broken_can_be_chosen(tent: Tent) -> None:
    for gpio in (OUTER_GPIO, INNER_GPIO):
        tent.hardware.pins.set_cable(gpio, True)
    beams = tent.beams(BeamsConfig(OUTER_GPIO, INNER_GPIO, blocked_level="low"))
    at_s = tent.clock.now_s()
    for offset_s, gpio, high in (
        (0.0, OUTER_GPIO, False),
        (0.1, INNER_GPIO, False),
        (0.2, OUTER_GPIO, True),
        (0.3, INNER_GPIO, True),
    ):
        tent.hardware.pins.set_cable(gpio, high, at_s + offset_s)
    assert people(beams) == {"entered": 1}


def is_obstructed(measurement: Measurement) -> bool:
    return measurement == Measurement("obstructed", True)


def is_free(measurement: Measurement) -> bool:
    return measurement == Measurement("obstructed", False)


def is_failed(measurement: Measurement) -> bool:
    return measurement.quality is Quality.FAULT


@pytest.mark.parametrize("gpio", [OUTER_GPIO, INNER_GPIO])
def test_a_cut_cable_is_an_obstruction_then_a_failure_and_never_a_person(
    at_speed: Callable[[float], Tent], gpio: int
) -> None:
    tent = at_speed(1000.0)
    beams = tent.beams()
    beams.read()
    at_s = tent.clock.now_s()
    tent.hardware.pins.set_cable(gpio, None, at_s)
    found = until(beams, is_obstructed)
    found += until(beams, is_failed)
    assert found[-1].value is None
    trouble, name = found[-1].trouble, "the outer beam" if gpio == OUTER_GPIO else "the inner beam"
    assert trouble is not None
    assert (trouble.kind, trouble.values) == (BLOCKED, {"beam": name, "gpio": gpio, "minutes": 5.0})
    assert len(str(trouble)) < 300
    mended_s = tent.clock.now_s()
    tent.hardware.pins.set_cable(gpio, False, mended_s)
    found += until(beams, is_free)
    [blind] = [m for m in found if m.quantity == "blind_s"]
    assert blind.value == pytest.approx(mended_s - at_s, abs=0.1)
    assert {m.quantity for m in found} == {"doubtful", "obstructed", "blind_s"}
    assert {m.quantity for _ in range(3) for m in beams.read()} == {"doubtful", "obstructed"}
    walk(tent.hardware, tent.clock.now_s(), inward=True)
    assert people(beams) == {"entered": 1}


def test_a_beam_broken_again_and_again_without_the_other_is_told_until_both_see(
    tent: Tent,
) -> None:
    beams = tent.beams()
    at_s = tent.clock.now_s() - 100.0
    for number in range(FAILED_TIMES):
        for blocked in (True, False):
            edge_s = at_s + number + (0.0 if blocked else 0.5)
            tent.hardware.set_beam(inner=True, blocked=blocked, at_s=edge_s)
    trouble = until(beams, is_failed)[-1].trouble
    assert trouble is not None
    assert trouble.kind is OTHER_SEES_NOTHING
    assert trouble.values == {"beam": "the inner beam", "gpio": INNER_GPIO}
    walk(tent.hardware, at_s + 50.0, inward=False)
    found = {m.quantity: m.value for m in until(beams, is_free)}
    assert found == {
        "doubtful": True,
        "obstructed": False,
        "left": 1,
        "blind_s": pytest.approx(50.4, abs=1.0),
    }


@pytest.mark.parametrize("level", ["high", "low"])
def test_a_capture_says_which_beams_were_broken_from_its_start_to_its_end(
    tent: Tent, level: str
) -> None:
    tent.hardware.set_beam(inner=True, blocked=level == "high")
    tent.hardware.set_beam(inner=False, blocked=level == "high")
    said: list[bytes] = []
    config = BeamsConfig(outer_gpio=OUTER_GPIO, inner_gpio=INNER_GPIO, blocked_level=level)
    beams = Beams(config, tent.hardware, tent.clock)
    beams.tap = said.append
    beams.open()
    tent.close.append(beams.close)
    broken_beams = registry.traits("beams").broken_beams
    assert broken_beams is not None
    outer, inner = ("the outer beam", OUTER_GPIO), ("the inner beam", INNER_GPIO)
    assert broken_beams(b"".join(said)) == (outer, inner)
    tent.hardware.set_beam(inner=False, blocked=level != "high")
    until(beams, lambda _: len(said) > 1)
    assert broken_beams(b"".join(said)) == (inner,)
    assert broken_beams(b'{"at_s": 1.0, "state": "of another driver"}\n') == ()


def test_who_stands_in_the_door_when_the_driver_opens_is_not_counted(tent: Tent) -> None:
    tent.hardware.set_beam(inner=True, blocked=True)
    beams = tent.beams()
    tent.hardware.set_beam(inner=True, blocked=False)
    assert people(beams) == {}
    walk(tent.hardware, tent.clock.now_s(), inward=False)
    assert people(beams) == {"left": 1}


def test_a_beam_whose_edge_is_lost_is_not_broken_for_ever(tent: Tent) -> None:
    beams = tent.beams()
    beams.read()
    tent.hardware.set_beam(inner=False, blocked=True)
    beams.read()
    tent.hardware.pins.deaf = True
    tent.hardware.set_beam(inner=False, blocked=False)
    tent.hardware.pins.deaf = False
    assert people(beams) == {}
    walk(tent.hardware, tent.clock.now_s(), inward=True)
    assert people(beams) == {"entered": 1}


def test_people_counted_before_the_lines_fail_are_not_lost(tent: Tent) -> None:
    beams = tent.beams()
    beams.read()
    at_s = tent.clock.now_s() - 10.0
    walk(tent.hardware, at_s, inward=True)
    walk(tent.hardware, at_s + 2.0, inward=True)
    tent.hardware.pins.failure = OSError("gone")
    found = {m.quantity: m.value for m in beams.read()}
    assert found["entered"] == 1, "the second may still turn out to be a flicker"
    with raises(UNUSABLE, why="gone"):
        beams.read()
    tent.hardware.pins.failure = None
    assert people(beams) == {"entered": 1}


def test_one_beam_tells_how_many_pass_and_never_which_way(tent: Tent) -> None:
    beam = tent.beam()
    at_s = tent.clock.now_s() - 10.0
    for number, inward in enumerate((True, False, True)):
        walk(tent.hardware, at_s + number, inward=inward)
    assert people(beam) == {"passed": 3}


def test_one_beam_that_stays_broken_is_obstructed_and_then_failed(
    at_speed: Callable[[float], Tent],
) -> None:
    tent = at_speed(1000.0)
    beam = tent.beam()
    beam.read()
    tent.hardware.set_beam(inner=False, blocked=True)
    found = until(beam, is_obstructed) + until(beam, is_failed)
    trouble = found[-1].trouble
    assert trouble is not None
    assert (trouble.kind, trouble.values["beam"]) == (BLOCKED, "the beam")
    tent.hardware.set_beam(inner=False, blocked=False)
    found += until(beam, is_free)
    assert {m.quantity for m in found} == {"obstructed", "blind_s"}


# Captures


def heard(driver: Driver, happens: Callable[[], None], reads: int = 3) -> bytes:
    """Return the data that a tap receives from a driver that is opened, read and closed."""
    said: list[bytes] = []
    driver.tap = said.append
    driver.open()
    for _ in range(6):
        driver.read()
    happens()
    for _ in range(reads):
        driver.read()
    driver.close()
    return b"".join(said)


@pytest.mark.parametrize("deaf", [False, True])
def test_a_capture_of_the_beams_means_what_they_told(tent: Tent, deaf: bool) -> None:
    """An edge that the library loses is in it as the driver found it."""
    beams = Beams(BEAMS, tent.hardware, tent.clock)

    def happens() -> None:
        at_s = tent.clock.now_s() - 4.0
        walk(tent.hardware, at_s, inward=True)
        walk(tent.hardware, at_s + 1.0, inward=False)
        tent.hardware.pins.deaf = deaf
        tent.hardware.set_beam(inner=False, blocked=True, at_s=at_s + 2.0)

    said = heard(beams, happens, reads=40)
    found = registry.decode("beams", said)
    assert found.bad == 0
    assert [dict(frame, at_s=0) for frame in found.frames] == [
        {"at_s": 0, "entered": 1},
        {"at_s": 0, "left": 1},
        {"at_s": 0, "obstructed": True},
    ]
    head, *edges, end = capture.lines(said)
    assert head is not None
    assert (head["driver"], head["outer_gpio"], head["blocked_level"]) == ("beams", 23, "high")
    assert len(edges) == 9
    assert end is not None
    assert set(end) == {"at_s"}


def test_a_capture_of_one_beam_means_what_it_told(tent: Tent) -> None:
    beam = Beam(BeamConfig(gpio=OUTER_GPIO), tent.hardware, tent.clock)
    said = heard(beam, lambda: walk(tent.hardware, tent.clock.now_s() - 2.0, inward=True))
    found = registry.decode("beam", said)
    assert ([list(frame) for frame in found.frames], found.bad) == ([["at_s", "passed"]], 0)


@pytest.mark.parametrize("deaf", [False, True])
def test_a_capture_of_the_contact_means_what_it_told(tent: Tent, deaf: bool) -> None:
    contact = Contact(ContactConfig(gpio=MAINS_GPIO), tent.hardware, tent.clock)

    def happens() -> None:
        tent.hardware.pins.deaf = deaf
        tent.hardware.set_mains(True)

    found = registry.decode("contact", heard(contact, happens))
    assert [frame["present"] for frame in found.frames] == [False, True]
    assert found.bad == 0


def test_a_driver_that_is_opened_again_begins_a_new_recording(tent: Tent) -> None:
    contact = Contact(ContactConfig(gpio=MAINS_GPIO), tent.hardware, tent.clock)
    said = heard(contact, lambda: None) + heard(contact, lambda: tent.hardware.set_mains(True))
    found = registry.decode("contact", said)
    assert [frame["present"] for frame in found.frames] == [False, False, True]
    assert found.bad == 0


def test_a_recording_whose_end_is_missing_is_read_to_its_last_edge(tent: Tent) -> None:
    beams = Beams(BEAMS, tent.hardware, tent.clock)
    said = heard(beams, lambda: walk(tent.hardware, tent.clock.now_s() - 2.0, inward=True))
    *whole, _ = said.splitlines(keepends=True)
    found = registry.decode("beams", b"".join(whole))
    assert ([list(frame) for frame in found.frames], found.bad) == ([["at_s", "entered"]], 0)


HEADS = {
    "beams": {"driver": "beams", "outer_gpio": 23, "inner_gpio": 24, "blocked_level": "high"},
    "beam": {"driver": "beam", "gpio": 23, "blocked_level": "high"},
    "contact": {"driver": "contact", "gpio": 17, "present_level": "low", "settle_s": 0.003},
}
START = {"at_s": 1.0, "high": {"23": False, "24": False}}


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"\xff\x00",
        b"[1]",
        b'"gpio"',
        b"{}",
        b'{"at_s":"now"}',
        b'{"at_s":true}',
        b'{"at_s":NaN}',
        b'{"at_s":Infinity}',
        b'{"at_s":1e999}',
        b'{"at_s":' + b"9" * 400 + b"}",
        b'{"at_s":0.5}',
        b'{"at_s":2,"gpio":23}',
        b'{"at_s":2,"gpio":23,"high":1}',
        b'{"at_s":2,"gpio":99,"high":true}',
        b'{"at_s":2,"gpio":[23],"high":true}',
        b'{"at_s":2,"high":true}',
    ],
)
def test_a_line_without_sense_is_a_bad_one_and_nothing_else(nonsense: bytes) -> None:
    start = capture.line({**HEADS["beams"], **START})
    edges = [(1.0, 23, True), (1.1, 24, True), (1.2, 23, False), (1.3, 24, False)]
    rest = b"".join(capture.line(Edge(*edge)._asdict()) for edge in edges)
    found = registry.decode("beams", start + nonsense + b"\n" + rest)
    assert found.bad == 1
    assert list(found.frames) == [{"at_s": 1.304, "entered": 1}]


@pytest.mark.parametrize(
    ("driver", "change"),
    [
        ("beams", {"driver": "beam"}),
        ("beams", {"inner_gpio": 23}),
        ("beams", {"outer_gpio": "23"}),
        ("beams", {"outer_gpio": [23]}),
        ("beams", {"blocked_level": "up"}),
        ("beams", {"high": {"23": False}}),
        ("beams", {"high": {"23": False, "24": 0}}),
        ("beams", {"high": {"23": False, "b": False}}),
        ("beams", {"high": []}),
        ("beam", {"gpio": 24}),
        ("beam", {"blocked_level": None}),
        ("contact", {"settle_s": "long"}),
        ("contact", {"settle_s": -1}),
        ("contact", {"present_level": 3}),
        ("contact", {"gpio": 18}),
    ],
)
def test_a_recording_with_settings_that_cannot_be_is_bad_to_its_end(
    driver: str, change: dict[str, object]
) -> None:
    gpio = HEADS[driver].get("gpio", 23)
    high = {"high": {str(gpio): False}} if "gpio" in HEADS[driver] else {}
    good = {**HEADS[driver], **START, **high}
    rest = capture.line({"at_s": 2, "gpio": gpio, "high": True}) + capture.line({"at_s": 60})
    assert registry.decode(driver, capture.line(good) + rest).bad == 0
    assert registry.decode(driver, capture.line({**good, **change}) + rest) == ([], 3)


@pytest.mark.parametrize("driver", HEADS)
@pytest.mark.parametrize("seed", range(20))
def test_any_edges_at_any_times_are_read(driver: str, seed: int) -> None:
    dice = random.Random(seed)
    gpios = (17,) if driver == "contact" else (23, 24) if driver == "beams" else (23,)
    times = [0.0, 1e-9, 0.004, 0.3, 30.0, 300.0, 1e6, 1e300, 1e308]
    at_s = dice.choice([-1e308, -5.0, 0.0, 1e9])
    said = capture.line({**HEADS[driver], "at_s": at_s, "high": dict.fromkeys(gpios, False)})
    for _ in range(200):
        at_s += dice.choice(times[: dice.randint(1, len(times))])
        edge = Edge(at_s, dice.choice(gpios), dice.random() < 0.5)
        said += dice.choice([capture.line(edge._asdict()), dice.randbytes(9) + b"\n"])
    found = registry.decode(driver, said)
    assert found.bad <= 200
    assert len(found.frames) <= 400
