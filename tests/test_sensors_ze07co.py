"""ZE07-CO: frames in bytes of any grouping, what damage may not do, warm-up, question-and-answer mode."""

import random
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sensors.clock import Monotonic
from sensors.line_trust import in_hindsight
from sensors.reading import Measurement, Quality, SensorError
from sensors.registry import build, config_class
from sensors.simulated.hardware import SimulatedHardware
from sensors.simulated.ze07co import Cell, Module, frame
from sensors.ze07co import CELL_FAILED, SILENT, decode
from sensors.ze07co_frames import (
    CLEAN_FRAMES,
    SEND_BY_YOURSELF,
    TOLERATED,
    WINDOW,
    WITNESSES,
    Frames,
)
from tests.devices import raises


def values(frames: Frames, sent: Iterable[bytes]) -> list[float | None]:
    return [figures["co_ppm"] for data in sent for figures in frames.feed(data)]


def settled(at_ppm: float, trusting: bool = True) -> Frames:
    """Return a parser that believes a concentration, on a clean line or one that has been bad."""
    frames = Frames()
    if not trusting:
        frames.feed(bytes(9))
    assert values(frames, [frame(at_ppm)] * 3)[-1] == at_ppm
    return frames


# Frames in bytes


def test_the_frame_of_the_manual_is_what_it_says() -> None:
    assert frame(0.5) == bytes.fromhex("FF 04 03 01 00 05 13 88 58")
    assert values(Frames(), [frame(0.5)] * 4) == [0.5, 0.5]


@pytest.mark.parametrize("size", range(1, 30))
def test_frames_come_out_whole_however_the_bytes_arrive(size: int) -> None:
    data = frame(1.2)[4:] + b"".join(frame(n / 10) for n in range(20))
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    frames = Frames()
    assert values(frames, pieces) == [0.1, *(n / 10 for n in range(3, 20))]
    assert frames.bad == 0


@pytest.mark.parametrize("at", range(9))
def test_every_byte_is_checked(at: int) -> None:
    for bit in range(8):
        hurt = bytearray(frame(30.0))
        hurt[at] ^= 1 << bit
        frames = settled(30.0)
        assert frames.feed(bytes(hurt)) == []
        assert values(frames, [frame(30.1)] * 2)[-1:] in ([30.1], [])
        assert frames.bad == 1


@pytest.mark.parametrize(
    "body",
    [
        "17 03 01 00 05 13 88",
        "04 02 01 00 05 13 88",
        "04 03 00 00 05 13 88",
        "04 03 01 00 05 27 10",
    ],
)
def test_another_gas_unit_decimal_or_scale_is_no_frame_whatever_its_sum(body: str) -> None:
    data = bytes.fromhex(body)
    frames = Frames()
    assert values(frames, [b"\xff" + data + bytes([-sum(data) & 0xFF])] * 4) == []
    assert frames.bad == 4


def test_the_whole_scale_can_be_reported() -> None:
    for number in range(0, 5001, 7):
        assert values(Frames(), [frame(number / 10)] * 3) == [number / 10]


# What is believed


def test_a_step_is_confirmed_by_the_next_frame_and_the_nearer_of_the_two_counts() -> None:
    assert values(settled(0.0), [frame(50.0), frame(80.0)]) == [50.0]
    assert values(settled(0.0), [frame(80.0), frame(50.0)]) == [50.0]
    assert values(settled(90.0), [frame(50.0), frame(80.0)]) == [80.0]


@pytest.mark.parametrize("clean", [True, False])
def test_a_frame_that_no_other_confirms_moves_nothing(clean: bool) -> None:
    for wrong in range(0, 5001, 13):
        if abs(wrong - 300) > 20:
            frames = settled(30.0, clean)
            assert values(frames, [frame(wrong / 10), frame(30.0), frame(30.0)]) == [30.0, 30.0]


def test_a_rise_is_one_frame_late_and_its_end_is_not() -> None:
    cell, frames = Cell(t90_s=60.0), settled(0.0)
    sent: list[float] = []
    for _ in range(240):
        cell.breathe(300.0, 1.0)
        sent.append(round(cell.co_ppm, 1))
    believed = [values(frames, [frame(ppm)]) for ppm in sent]
    for number in range(2, 40):
        assert believed[number] == [sent[number - 1]]
    assert believed[-1] == [sent[-1]]
    assert sum(not found for found in believed) <= 2


def test_all_of_a_clean_lines_noise_is_believed() -> None:
    dice, frames = random.Random(1), settled(20.0)
    sent = [round(20 + dice.uniform(-1, 1), 1) for _ in range(1000)]
    assert values(frames, map(frame, sent)) == sent


def test_after_a_bad_frame_a_small_change_needs_a_witness() -> None:
    frames = settled(20.0, trusting=False)
    assert values(frames, [frame(20.1)]) == []
    assert values(frames, [frame(20.1)]) == [20.1]
    assert values(frames, [frame(20.2), frame(20.3), frame(20.1)]) == [20.1]
    assert values(frames, [frame(20.0)] * WITNESSES + [frame(20.1)]) == [20.0] * WITNESSES
    assert values(frames, [frame(20.0)] * CLEAN_FRAMES + [frame(20.4)])[-1] == 20.4


def test_two_errors_that_cancel_are_not_believed_on_a_line_with_errors() -> None:
    hurt = bytearray(frame(2.0))
    hurt[5] += 1
    hurt[8] -= 1
    assert values(settled(2.0, trusting=False), [bytes(hurt), frame(2.0)]) == [2.0]


def test_above_the_full_scale_counts_as_the_full_scale_once_it_is_confirmed() -> None:
    assert values(settled(300.0), [frame(620.0)]) == []
    assert values(settled(300.0), [frame(620.0), frame(630.0)]) == [500.0]
    assert values(settled(300.0), [frame(620.0), frame(310.0)]) == [310.0]


def test_a_failed_cell_is_believed_when_two_frames_say_so() -> None:
    failed = frame(3.0, failed=True)
    assert values(settled(3.0), [failed, frame(3.0)]) == [3.0]
    assert values(settled(3.0), [failed] * 3) == [None, None]
    assert values(settled(3.0), [failed] * 2 + [frame(3.0)] * 3) == [None, 3.0]


def test_a_line_that_damages_many_frames_is_not_believed_until_it_is_good_again() -> None:
    frames = settled(10.0)
    for _ in range(TOLERATED + 1):
        frames.feed(bytes(9))
    assert values(frames, [frame(10.0)] * (WINDOW - 5)) == []
    assert values(frames, [frame(10.0)] * 10)


def test_a_recordings_beginning_is_judged_by_what_follows() -> None:
    capture = frame(5.0) * 5 + bytes(9 * 20) + frame(5.0) * 60
    assert len(decode(capture).frames) < len(decode(frame(5.0) * 5).frames) + 45
    assert decode(capture).bad == in_hindsight(lambda _: decode(capture), WINDOW, TOLERATED).bad
    assert decode(b"").frames == []


@pytest.mark.parametrize("every", [1, 10, 100])
@pytest.mark.parametrize("kind", ["bits", "bytes"])
def test_no_wrong_value_is_believed(every: int, kind: str) -> None:
    """The same is measured with more frames by `make accuracy`."""
    dice, frames, cell = random.Random(3), Frames(), Cell()
    sent, wrong, believed = [0.0], 0, 0
    for number in range(20_000):
        cell.breathe(0.0 if number // 300 % 2 else 300.0, 1.0)
        ppm = round(max(0.0, cell.co_ppm + dice.gauss(0, 0.3)), 1)
        data = bytearray(frame(ppm))
        if number % every == 0:
            for at in dice.sample(range(9), dice.randint(1, 3)):
                data[at] ^= 1 << dice.randrange(8) if kind == "bits" else dice.randrange(1, 256)
        else:
            sent.append(ppm)
        for value in values(frames, [bytes(data)]):
            believed += 1
            wrong += value not in sent[-3:]
    assert wrong == 0
    assert (believed > 8_000) == (every == 100), "a line with so much damage is not believed at all"


# The module


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Module]:
    module = Module(tmp_path / "co")
    yield module
    module.close()


class Hand(Monotonic):
    """A clock that moves when it is told to; the driver's waits end at once."""

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s
        self.speed = 1.0

    def now_s(self) -> float:
        return self.at_s

    def real_s(self, interval_s: float) -> float:
        return 0.05


class Bench:
    """The driver on a module, second by second."""

    def __init__(self, module: Module, up_s: float, tmp_path: Path) -> None:
        self.module = module
        self.clock = Hand(up_s)
        config = config_class("ze07co")(port=str(tmp_path / "co"))
        hardware = SimulatedHardware(tmp_path, self.clock)
        self.driver = build("ze07co", config, hardware, self.clock)
        hardware.close()

    def second(self) -> list[Measurement]:
        self.clock.at_s += 1.0
        self.module.report()
        return [*self.driver.read()]

    def seconds(self, count: int) -> list[Measurement]:
        return [measurement for _ in range(count) for measurement in self.second()]


WARMING = Measurement("co_ppm", None, Quality.STARTING)


def test_a_module_that_is_heard_at_once_got_its_supply_with_the_pi(
    module: Module, tmp_path: Path
) -> None:
    bench = Bench(module, 100.0, tmp_path)
    bench.driver.open()
    assert bench.seconds(79) == [WARMING] * 77
    assert bench.seconds(2) == [Measurement("co_ppm", 0.0)] * 2
    again = Bench(module, bench.clock.at_s, tmp_path)
    bench.driver.close()
    again.driver.open()
    assert again.seconds(3) == [Measurement("co_ppm", 0.0)], "a new start does not make it blind"
    again.driver.close()


def test_a_module_that_comes_back_after_a_silence_warms_up(module: Module, tmp_path: Path) -> None:
    bench = Bench(module, 5000.0, tmp_path)
    bench.driver.open()
    assert bench.seconds(3) == [Measurement("co_ppm", 0.0)]
    module.sends = False
    bench.seconds(2)
    module.sends = True
    assert bench.seconds(2) == [Measurement("co_ppm", 0.0)] * 2, "a short silence is none"
    bench.clock.at_s += 6
    with raises(SILENT, port=str(tmp_path / "co")):
        bench.driver.read()
    first = bench.second()
    began_s = bench.clock.at_s
    assert first == [WARMING]
    while bench.clock.at_s < began_s + 179:
        assert bench.second() == [WARMING]
    assert bench.second() == [Measurement("co_ppm", 0.0)]
    bench.driver.close()


def test_a_module_whose_cable_was_pulled_warms_up(module: Module, tmp_path: Path) -> None:
    bench = Bench(module, 5000.0, tmp_path)
    bench.driver.open()
    bench.seconds(3)
    module.unplug()
    bench.clock.at_s += 6
    with pytest.raises(SensorError):
        bench.seconds(2)
    with suppress(SensorError):  # that the port is gone
        bench.driver.close()
    module.plug()
    bench.driver.open()
    assert bench.seconds(5) == [WARMING] * 3
    bench.driver.close()


def test_a_module_that_was_not_there_at_the_start_warms_up(module: Module, tmp_path: Path) -> None:
    bench = Bench(module, 5000.0, tmp_path)
    module.unplug()
    with pytest.raises(SensorError):
        bench.driver.open()
    module.plug()
    bench.driver.open()
    assert bench.seconds(5) == [WARMING] * 3
    bench.driver.close()


def test_a_module_that_waits_for_questions_is_asked_once_to_send(
    module: Module, tmp_path: Path
) -> None:
    module.sends = False
    bench = Bench(module, 5000.0, tmp_path)
    bench.driver.open()
    heard: list[Measurement] = []
    while not heard:
        with suppress(SensorError):  # it is silent at first
            heard = bench.second()
    assert module.heard == SEND_BY_YOURSELF
    bench.driver.close()


def test_a_module_that_sends_is_never_written_to(module: Module, tmp_path: Path) -> None:
    bench = Bench(module, 5000.0, tmp_path)
    bench.driver.open()
    bench.seconds(20)
    bench.driver.close()
    assert module.heard == b""


def test_a_worn_out_cell_reads_zero_in_any_air(module: Module, tmp_path: Path) -> None:
    """Nothing in its frames shows it; a rule asks for a test of a sensor that never changes."""
    bench = Bench(module, 5000.0, tmp_path)
    bench.driver.open()
    module.cell.is_worn = True
    module.cell.breathe(300.0, 600.0)
    assert bench.seconds(10)[-1] == Measurement("co_ppm", 0.0)
    module.cell.is_worn = False
    module.cell.breathe(300.0, 600.0)
    assert bench.seconds(10)[-1] == Measurement("co_ppm", 300.0)
    bench.driver.close()


def test_a_failed_cell_says_what_to_do(module: Module, tmp_path: Path) -> None:
    bench = Bench(module, 5000.0, tmp_path)
    bench.driver.open()
    module.has_failed = True
    (told,) = bench.seconds(3)[-1:]
    assert (told.value, told.quality) == (None, Quality.FAULT)
    assert told.trouble is not None
    assert told.trouble.kind is CELL_FAILED
    bench.driver.close()
