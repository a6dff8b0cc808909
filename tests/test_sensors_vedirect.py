"""VE.Direct: blocks out of bytes, however they arrive and whatever stands between them."""

import json
import random
import tracemalloc
from pathlib import Path

import pytest

from sensors.vedirect_frames import LONGEST_BLOCK, Blocks, FrameError, measurements
from tests.devices import Fields, block, block_ending_with, figures, shunt_fields

CASES = sorted((Path(__file__).parent / "cases" / "vedirect").iterdir())
HEX = b":A8DED00341247\n"


def texts(fields: Fields) -> dict[str, str]:
    return {label: str(value) for label, value in fields.items()}


@pytest.fixture
def stream() -> tuple[bytes, list[dict[str, str]]]:
    """Some blocks one after the other, and what is in them."""
    dice = random.Random(11)
    blocks = [shunt_fields(dice) for _ in range(3)]
    return b"".join(map(block, blocks)), [texts(b) for b in blocks]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_recorded_case_means_what_it_is_said_to_mean(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    parser = Blocks()
    found = [measurements(b) for b in parser.feed((case / "input.bin").read_bytes())]
    assert found == expected["blocks"]
    assert (parser.good, parser.bad) == (expected["good"], expected["bad"])


def test_blocks_come_out_whole_however_the_bytes_arrive(
    stream: tuple[bytes, list[dict[str, str]]],
) -> None:
    data, blocks = stream
    for size in range(1, len(data) + 1):
        parser = Blocks()
        found = [b for at in range(0, len(data), size) for b in parser.feed(data[at : at + size])]
        assert found == blocks, f"in chunks of {size}"
        assert parser.bad == 0


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_a_truncated_first_block_is_passed_over(
    stream: tuple[bytes, list[dict[str, str]]], cut: int
) -> None:
    data, blocks = stream
    parser = Blocks()
    assert parser.feed(data[cut:]) == blocks[1:]
    assert parser.bad == 1


def test_a_truncated_first_block_is_passed_over_even_where_its_sum_fits() -> None:
    whole = block({"V": 12_800, "FILL": "aa"})
    for tail in range(1, 256):
        rest = block_ending_with(tail)[len("\r\nV\t1") :]
        fitting = rest[:-1] + bytes([(256 - sum(rest[:-1]) % 256) % 256])
        assert Blocks().feed(fitting + whole) == [{"V": "12800", "FILL": "aa"}]


@pytest.mark.parametrize("frames", [1, 2])
def test_hex_frames_after_the_checksum_are_passed_over(frames: int) -> None:
    fields = shunt_fields(random.Random(3))
    parser = Blocks()
    assert parser.feed((block(fields) + HEX * frames) * 3) == [texts(fields)] * 3
    assert (parser.good, parser.bad) == (3, 0)


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_the_checksum_may_be_any_byte(frames: int) -> None:
    follower = {"V": 12_345}
    for checksum in range(256):
        data = block_ending_with(checksum) + HEX * frames + block(follower)
        assert data.count(b"Checksum\t" + bytes([checksum])) >= 1
        found = Blocks().feed(data)
        assert [b["V"] for b in found] == ["12800", "12345"], f"checksum {checksum:#04x}"


def test_the_two_blocks_of_a_bmv_give_figures_every_other_time() -> None:
    fields = shunt_fields(random.Random(4))
    found = Blocks().feed((block(fields) + block({"H1": -5_000, "H2": -12})) * 2)
    assert [measurements(b) for b in found] == [figures(fields), {}] * 2


def test_what_the_device_does_not_know_is_none() -> None:
    unknown: Fields = {"V": 12_800, "I": "---", "P": "---", "SOC": "---", "TTG": "---"}
    assert measurements(Blocks().feed(block(unknown))[0]) == {
        "voltage_v": 12.8,
        "current_a": None,
        "power_w": None,
        "charge_pct": None,
        "time_to_empty_min": None,
    }


def test_an_infinite_time_to_empty_is_none_and_not_minus_one() -> None:
    assert measurements({"TTG": "-1"}) == {"time_to_empty_min": None}
    assert measurements({"TTG": "14400"}) == {"time_to_empty_min": 14_400.0}


@pytest.mark.parametrize(
    "fields",
    [
        {"V": "12.8"},
        {"V": "12800x"},
        {"V": ""},
        {"V": "--12800"},
        {"V": "012800"},
        {"V": "1_2800"},
        {"V": "+12800"},
        {"V": "-5"},
        {"V": "81000"},
        {"V": "9" * 900},
        {"I": "2000001"},
        {"SOC": "1001"},
        {"SOC": "-1"},
        {"TTG": "-2"},
        {"TTG": "14401"},
        {"V": "12800", "I": "-10000", "P": "-140"},
        {"V": "12800", "I": "-10000", "P": "128"},
    ],
)
def test_a_block_that_cannot_be_true_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(FrameError):
        measurements(fields)


def test_power_may_be_rounded() -> None:
    for volts, amperes, watts in ((13_489, -310, -4), (26_201, 0, 0), (12_800, -150_000, -1_905)):
        measurements({"V": str(volts), "I": str(amperes), "P": str(watts)})


@pytest.mark.parametrize(
    "body",
    [
        b"\r\nV\t12800\r\nV\t12900",
        b"\r\nV\t12800\r\nI 500",
        b"\r\nV\t12800\r\nI\t5\x8000",
        b"\r\nV\t12800\r\nI\t5\x0100",
        b"\r\nV\t12800\r\n7\t500",
        b"\r\nV\t12800\r\n\t500",
        b"x\r\nV\t12800",
    ],
)
def test_a_block_with_a_line_that_is_no_field_is_bad_whatever_its_sum(body: bytes) -> None:
    body += b"\r\nChecksum\t"
    parser = Blocks()
    assert parser.feed(body + bytes([(256 - sum(body) % 256) % 256])) == []
    assert (parser.good, parser.bad) == (0, 1)


@pytest.mark.parametrize("noise", [b"A", b"\r\nX\tY", b"\r\n", b":", b"\t", b"\r\nChecksum\t"])
def test_endless_noise_takes_little_memory_and_is_forgotten(noise: bytes) -> None:
    parser = Blocks()
    chunk = noise * (4096 // len(noise))
    tracemalloc.start()
    try:
        for _ in range(10):
            parser.feed(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * LONGEST_BLOCK
    good = {"V": 12_800}
    parser.feed(b"\n" + block(good))  # may still fall to the noise before it
    assert parser.feed(block(good)) == [texts(good)]


def test_random_bytes_raise_nothing_but_frame_errors() -> None:
    dice = random.Random(5)
    alphabets = [bytes(range(256)), b"\r\n\t:-0123456789VIP", b"\r\n\tCheksumSOCTTG-0123456789"]
    parser = Blocks()
    refused = 0
    for number in range(600):
        data = bytes(dice.choices(alphabets[number % 3], k=500))
        for fields in parser.feed(data):
            try:
                measurements(fields)
            except FrameError:
                refused += 1
        # The same with the right checksum, so that every field is looked at.
        body = data.replace(b":", b";") + b"\r\nChecksum\t"
        for fields in Blocks().feed(body + bytes([(256 - sum(body) % 256) % 256])):
            try:
                measurements(fields)
            except FrameError:
                refused += 1
    assert parser.bad > 0


def damaged(dice: random.Random, data: bytes, flips: int) -> bytes:
    """Return `data` with some bytes replaced by others."""
    hurt = bytearray(data)
    for at in dice.sample(range(len(hurt)), flips):
        hurt[at] ^= dice.randrange(1, 256)
    return bytes(hurt)


def wrong_values(blocks: int, flips: int, opposite: bool, seed: int) -> int:
    """Count the damaged blocks of which a wrong value is believed."""
    dice = random.Random(seed)
    wrong = 0
    for _ in range(blocks):
        fields = shunt_fields(dice)
        data = block(fields)
        data = flipped_both_ways(dice, data) if opposite else damaged(dice, data, flips)
        for found in Blocks().feed(data):
            try:
                believed = measurements(found)
            except FrameError:
                continue
            true = figures(fields)
            wrong += any(true[name] != value for name, value in believed.items())
    return wrong


@pytest.mark.parametrize("flips", [1, 2, 3, 5, 20])
def test_no_wrong_value_is_believed_of_thousands_of_damaged_blocks(flips: int) -> None:
    assert wrong_values(3000, flips, opposite=False, seed=flips) == 0


def flipped_both_ways(dice: random.Random, data: bytes) -> bytes:
    """Return `data` with one bit set and the same bit of another byte cleared: its sum stays."""
    hurt = bytearray(data)
    while True:
        bit = 1 << dice.randrange(8)
        one, other = dice.sample(range(len(hurt)), 2)
        if not hurt[one] & bit and hurt[other] & bit:
            hurt[one] |= bit
            hurt[other] &= ~bit
            return bytes(hurt)


def test_few_wrong_values_are_believed_where_every_block_is_hurt_behind_its_sums_back() -> None:
    """Digits that trade a bit look right: what is left are digits that stay in range."""
    assert wrong_values(3000, 2, opposite=True, seed=1) < 0.05 * 3000
