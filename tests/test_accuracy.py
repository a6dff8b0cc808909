"""The short form of `make accuracy` meets its bars, and the measurement itself finds faults."""

import json
import random
from collections.abc import Callable, Iterator

import pytest

from publisher.config.door import DoorSettings
from sensors.simulated.jbd import framed
from sensors.simulated.pzem004t import with_crc
from tests.accuracy import frames, occupancy, shunt
from tests.accuracy.__main__ import main
from tests.accuracy.door_nuisances import MODELS
from tests.accuracy.frames import CORRUPTIONS, LINES, Figures, Line, Listen, Sent

VEDIRECT = ("smartshunt", "bmv", "mppt", "bmv_and_hex")


# Frames


@pytest.mark.parametrize("line", VEDIRECT)
def test_every_block_of_a_clean_line_is_found_and_nothing_else(line: str) -> None:
    outcome = frames.clean(LINES[line], 500, seed=1)
    assert (outcome.undamaged_accepted, outcome.wrong) == (500, 0)


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("line", LINES)
def test_nothing_wrong_is_accepted_where_one_byte_of_a_hundred_is_damaged(
    line: str, kind: str
) -> None:
    outcome = frames.damaged(LINES[line], frames.everywhere(0.01, CORRUPTIONS[kind]), 2000, seed=1)
    assert outcome.wrong == 0
    assert 0.1 * outcome.sent < outcome.undamaged < 0.95 * outcome.sent


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("line", ["pzem004t", "jbd"])
def test_no_reply_is_accepted_where_each_is_damaged(line: str, kind: str) -> None:
    outcome = frames.damaged(LINES[line], frames.in_each(3, CORRUPTIONS[kind]), 2000, seed=1)
    assert (outcome.undamaged, outcome.wrong) == (0, 0)


@pytest.mark.parametrize("line", LINES)
def test_a_line_with_little_damage_loses_little(line: str) -> None:
    outcome = frames.damaged(LINES[line], frames.everywhere(0.0001, frames.a_bit), 1000, seed=1)
    assert outcome.wrong == 0
    # After a bad frame, a small change of the gas must come twice before it is believed.
    assert outcome.accepted_pct > (50 if line == "ze07co" else 98)


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("every", [1, 10, 100])
def test_no_concentration_is_wrong_whatever_share_of_the_frames_is_damaged(
    every: int, kind: str
) -> None:
    damage = frames.one_in(every, frames.in_each(3, CORRUPTIONS[kind]))
    outcome = frames.damaged(LINES["ze07co"], damage, 10_000, seed=1)
    assert outcome.wrong == 0
    assert outcome.undamaged == 10_000 - 10_000 // every
    assert (outcome.accepted_pct > 40) == (every == 100), "a bad line is not believed at all"


def test_a_concentration_is_late_by_one_frame_and_none_is_held_back_for_noise() -> None:
    assert frames.held_back(1.0, 1000, seed=1) == 2
    assert set(frames.delays(300.0, (30.0, 100.0, 270.0), is_clean=True).values()) == {1}


def count(dice: random.Random) -> Iterator[Sent]:
    for number in range(1 << 16):
        yield Sent(number.to_bytes(2, "big"), {"number": number})


def credulous() -> Listen:
    return lambda data: [{"number": int.from_bytes(data, "big")}]


def repeating() -> Listen:
    return lambda data: [{"number": int.from_bytes(data, "big")}] * 2


def backwards() -> Listen:
    kept: list[Figures] = []

    def listen(data: bytes) -> list[Figures]:
        kept.append({"number": int.from_bytes(data, "big")})
        return [kept.pop(), kept.pop()] if len(kept) == 2 else []

    return listen


def test_a_parser_that_accepts_everything_is_found_out() -> None:
    damage = frames.in_each(1, frames.the_byte)
    assert frames.damaged(Line(count, credulous), damage, 100, seed=1).wrong > 50
    spare = frames.everywhere(1e-12, frames.a_bit)
    outcome = frames.damaged(Line(count, credulous), spare, 100, seed=1)
    assert (outcome.undamaged_accepted, outcome.wrong) == (100, 0)
    for listener in (repeating, backwards):
        assert frames.damaged(Line(count, listener), spare, 100, seed=1).wrong >= 50


def test_a_parser_that_loses_or_repeats_a_block_of_a_clean_line_is_found_out() -> None:
    def listener(times: int) -> Callable[[], Listen]:
        listen = LINES["smartshunt"].listener()
        return lambda: lambda data: [f for f in listen(data) for _ in range(times)]

    for times, accepted, wrong in ((0, 0, 0), (1, 100, 0), (2, 100, 100)):
        outcome = frames.clean(Line(frames.smartshunt, listener(times)), 100, seed=1)
        assert (outcome.undamaged_accepted, outcome.wrong) == (accepted, wrong)


def test_the_frames_built_here_follow_the_protocols() -> None:
    assert with_crc(bytes.fromhex("01040000000a")) == bytes.fromhex("01040000000a700d")
    assert framed(0xA5, 0x03) == bytes.fromhex("dda50300fffd77")
    dice = random.Random(1)
    for _ in range(100):
        body = bytes.fromhex("0" + frames.hex_frame(dice)[1:-1].decode())
        assert sum(body) % 256 == 0x55


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_damage_has_its_stated_rate_and_kind(kind: str) -> None:
    dice = random.Random(1)
    data = bytes(200_000)
    found = frames.everywhere(0.01, CORRUPTIONS[kind])(dice, data)
    assert len(found) == len(data)
    assert 0.009 < sum(byte != 0 for byte in found) / len(data) < 0.011
    bits = max(byte.bit_count() for byte in found)
    assert bits == 1 if kind == "bits" else bits > 1
    counts = {
        sum(map(bool, frames.in_each(3, CORRUPTIONS[kind])(dice, bytes(25)))) for _ in range(100)
    }
    assert counts == {1, 2, 3}


# Shunt


def test_the_current_is_right_to_one_bit_and_every_unknown_reading_is_detected() -> None:
    found = shunt.measure(step_a=0.25, times=300)
    assert found["largest_error_lsb"] <= 1
    assert found["clipped"] > 1000
    assert (found["clipped_detected"], found["false_alarms_within_the_range"]) == (1.0, 0)
    assert found["restarts_detected"] == 1.0


def test_without_its_zero_the_current_is_off_by_the_offset() -> None:
    """The test above proves something: the offset is there."""
    bench = shunt.Bench(shunt.OFFSET_V)
    bench.flow(0.0)
    assert bench.read() == pytest.approx(shunt.OFFSET_V / shunt.OHMS, abs=shunt.LSB_A)


# Occupancy


def test_the_true_number_is_within_what_is_stated_at_the_end_of_most_days() -> None:
    found = occupancy.measure(days=100)
    for door in found.values():
        assert door["at_the_end_of_the_day"] >= 0.95
        assert door["at_every_passage"] >= 0.95
        assert door["mean_uncertainty"] < 15


def test_a_door_that_misses_far_more_than_configured_is_found_out() -> None:
    tally = occupancy.watch(20, 0.05, 0.25, DoorSettings(), seed=1)
    assert tally.figures()["at_the_end_of_the_day"] < 0.5


def test_a_day_has_its_passages_and_nobody_leaves_who_has_not_come() -> None:
    dice = random.Random(1)
    for _ in range(20):
        inside, most = 0, 0
        for _, enters in (day := occupancy.passages(dice)):
            inside += 1 if enters else -1
            assert inside >= 0
            most = max(most, inside)
        assert (len(day), inside) == (2 * occupancy.VISITORS, 0)
        assert most > 20


# The document


def test_one_json_document_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--only", "ina219", "--only", "occupancy"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert set(figures) == {"ina219_error_lsb", "ina219_detected", "occupancy"}
    assert all({"bar", "met", "how"} <= found.keys() for found in figures.values())


def test_the_figures_of_what_is_not_people_are_printed_whether_or_not_an_aim_is_missed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--quick", "--only", "door_nuisances"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert set(figures) == {"door_nuisances", "door_doubt_s", "door_events"}
    falsely, doubts = figures["door_nuisances"], figures["door_doubt_s"]
    for model, kinds in ((name, module.NUISANCES) for name, module in MODELS.items()):
        names = [f"{model}.{kind}" for kind in kinds]
        assert falsely.keys() - {"bar", "met", "how"} >= set(names)
        assert falsely[f"{model}.flap_in_one_beam"] == 0, "one beam alone is nobody"
    assert falsely["met"] == all(n <= 1 for name, n in falsely.items() if "." in name)
    assert doubts["edges.rain"] == [None]
    assert figures["door_events"]["bodies.single_file"]["events_right_pct"] == 100


def test_behind_the_generator_the_low_time_until_it_is_dark_holds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--quick", "--only", "dark_in"]) == 0
    found = json.loads(capsys.readouterr().out)["figures"]["dark_in"]
    assert found["all"]["told_share"] == 1.0
    assert found["generator"]["moments"] > 100
    assert found["generator"]["low_held_share"] >= 0.95
