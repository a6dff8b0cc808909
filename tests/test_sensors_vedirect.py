"""VE.Direct: blocks in bytes of any grouping, with anything between them."""

import random
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from sensors.line_trust import TOLERATED, WINDOW
from sensors.reading import Driver
from sensors.vedirect import GARBLED, decode
from sensors.vedirect_frames import (
    HISTORY,
    LONGEST_BLOCK,
    Blocks,
    Figures,
    measurements,
)
from tests.devices import (
    INVERTER,
    Fields,
    VeDirectDevice,
    block,
    block_ending_with,
    figures,
    flipped,
    raises,
    shunt_fields,
    simulated,
)

HEX = b":A8DED00341247\n"
HISTORY_FIELDS: Fields = {"H1": -149_322, "H2": -82_854, "H6": -5_526_294, "H9": 368_003}
MPPT_FIELDS: Fields = {
    "PID": "0xA053", "FW": "159", "SER#": "HQ00000TEST", "V": 13_310, "I": -120, "VPV": 33_950,
    "PPV": 162, "CS": 3, "MPPT": 2, "OR": "0x00000001", "ERR": 0, "LOAD": "ON", "IL": 900,
    "H19": 10_206, "H20": 14, "H21": 166, "H22": 40, "H23": 158, "HSDS": 312,
}  # fmt: skip


def texts(fields: Fields) -> dict[str, str]:
    return {label: str(value) for label, value in fields.items()}


def meaning(fields: Fields) -> Figures:
    return measurements(texts(fields)).figures


@pytest.fixture
def stream() -> tuple[bytes, list[Figures]]:
    """Some blocks as one stream, and their figures."""
    dice = random.Random(11)
    blocks = [shunt_fields(dice) for _ in range(3)]
    return b"".join(map(block, blocks)), [figures(b) for b in blocks]


# Blocks in bytes


def test_blocks_come_out_whole_however_the_bytes_arrive(
    stream: tuple[bytes, list[Figures]],
) -> None:
    data, blocks = stream
    for size in range(1, len(data) + 1):
        parser = Blocks()
        found = [b for at in range(0, len(data), size) for b in parser.feed(data[at : at + size])]
        assert found == blocks, f"in chunks of {size}"
        assert parser.bad == 0


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_a_truncated_first_block_is_passed_over(
    stream: tuple[bytes, list[Figures]], cut: int
) -> None:
    data, blocks = stream
    assert decode(data[cut:]) == (blocks[1:], 1)


def test_a_truncated_first_block_is_passed_over_even_where_its_sum_fits() -> None:
    whole: Fields = {"V": 12_800, "FILL": "aa"}
    for tail in range(1, 256):
        rest = block_ending_with(tail)[len("\r\nV\t1") :]
        fitting = rest[:-1] + bytes([(256 - sum(rest[:-1]) % 256) % 256])
        assert decode(fitting + block(whole)) == ([meaning(whole)], 1)


@pytest.mark.parametrize("frames", [1, 2])
def test_hex_frames_after_the_checksum_are_passed_over(frames: int) -> None:
    fields = shunt_fields(random.Random(3))
    assert decode((block(fields) + HEX * frames) * 3) == ([figures(fields)] * 3, 0)


def test_hex_frames_between_two_fields_are_passed_over() -> None:
    data, true = block(MPPT_FIELDS), meaning(MPPT_FIELDS)
    ends = [at for at in range(len(data)) if data.startswith(b"\r\n", at)]
    for at in ends:
        assert decode(data[:at] + HEX * 2 + data[at:]) == ([true], 0), at


def test_hours_of_hex_frames_alone_are_no_damage() -> None:
    fields = shunt_fields(random.Random(3))
    parser = Blocks()
    for _ in range(1000):
        assert parser.feed(HEX * 10) == []
    assert parser.feed(block(fields)) == [figures(fields)]
    assert parser.bad == 0


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_the_checksum_may_be_any_byte(frames: int) -> None:
    for checksum in range(256):
        data = block_ending_with(checksum)
        assert data[-1] == checksum
        found = decode(data + HEX * frames + block({"V": 12_345}))
        assert found == ([{"voltage_v": 12.8}, {"voltage_v": 12.345}], 0), f"{checksum:#04x}"


@pytest.mark.parametrize(
    "body",
    [
        b"\r\nV\t12800\r\nV\t12900",
        b"\r\nV\t12800\r\nI 500",
        b"\r\nV\t12800\r\nI\t5\x8000",
        b"\r\nV\t12800\r\nI\t5\x0100",
        b"\r\nV\t12800\r\n7\t500",
        b"\r\nV\t12800\r\n\t500",
        b"\r\nV\t12800\r\n",
        b"x\r\nV\t12800",
        b"",
    ],
)
def test_a_block_with_a_line_that_is_no_field_is_bad_whatever_its_sum(body: bytes) -> None:
    body += b"\r\nChecksum\t"
    assert decode(body + bytes([(256 - sum(body) % 256) % 256])) == ([], 1)


def test_a_block_longer_than_any_is_bad_whatever_its_sum_and_however_it_arrives() -> None:
    longest = {f"V{number}": "a" * 50 for number in range(18)}
    data = block(longest)
    assert LONGEST_BLOCK - 100 < len(data) < LONGEST_BLOCK
    assert decode(data) == ([{}], 0)
    data = block(longest | {"Vx": "a" * 100})
    assert len(data) > LONGEST_BLOCK
    good: Fields = {"V": 12_800}
    for size in (1, 7, 500, 2000):
        parser = Blocks()
        whole = data + block(good)
        found = [b for at in range(0, len(whole), size) for b in parser.feed(whole[at : at + size])]
        assert found == [meaning(good)], f"in chunks of {size}"
        assert parser.bad == 1


@pytest.mark.parametrize(
    "noise", [b"A", b"\r\nX\tY", b"\r\n", b":", b":154\n", b"\t", b"\r\nChecksum\t", b"Checksum"]
)
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
    good: Fields = {"V": 12_800}
    for _ in range(WINDOW):  # the first may be lost to the noise, others to lost trust
        parser.feed(block(good))
    assert parser.feed(block(good)) == [meaning(good)]


def test_what_damage_teaches_is_forgotten() -> None:
    """Unknown labels are remembered, because a newer device may have them, but only a few of them."""
    parser = Blocks()
    tracemalloc.start()
    try:
        for number in range(3000):
            parser.feed(block({f"X{number}": "a" * 500}))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 20 * LONGEST_BLOCK


def test_random_bytes_raise_nothing() -> None:
    dice = random.Random(5)
    alphabets = [bytes(range(256)), b"\r\n\t:-0123456789VIP", b"\r\n\tCheksumSOCTTG-0123456789"]
    parser = Blocks()
    for number in range(600):
        data = bytes(dice.choices(alphabets[number % 3], k=500))
        parser.feed(data)
        # The same with a correct checksum, so that every field is parsed.
        body = data.replace(b":", b";") + b"\r\nChecksum\t"
        decode(body + bytes([(256 - sum(body) % 256) % 256]))
    assert parser.bad > 0


# The meaning of a block


def test_a_monitors_figures() -> None:
    fields = {
        **shunt_fields(random.Random(4)),
        "VM": 6_390, "DM": -2, "T": -7, "Relay": "ON", "Alarm": "ON", "AR": 5,
    }  # fmt: skip
    assert meaning(fields) == figures(fields) | {
        "midpoint_voltage_v": 6.39,
        "midpoint_deviation_pct": -0.2,
        "temperature_c": -7.0,
        "relay_on": True,
    }


def test_a_monitors_history() -> None:
    fields: Fields = {
        "H1": -149_322, "H2": -82_854, "H3": -12_000, "H4": 33, "H5": 2, "H6": -5_526_294,
        "H7": 11_733, "H8": 16_161, "H9": 368_003, "H10": 26, "H11": 1, "H12": 3, "H13": 4,
        "H14": 5, "H15": -22, "H16": 12_100, "H17": 6_843, "H18": 8_527,
    }  # fmt: skip
    found = meaning(fields)
    assert found == {
        "deepest_discharge_ah": -149.322,
        "last_discharge_ah": -82.854,
        "average_discharge_ah": -12.0,
        "charge_cycles": 33.0,
        "full_discharges": 2.0,
        "cumulative_drawn_ah": -5526.294,
        "lowest_voltage_v": 11.733,
        "highest_voltage_v": 16.161,
        "seconds_since_full_s": 368_003.0,
        "synchronisations": 26.0,
        "low_voltage_alarms": 1.0,
        "high_voltage_alarms": 3.0,
        "low_starter_voltage_alarms": 4.0,
        "high_starter_voltage_alarms": 5.0,
        "lowest_starter_voltage_v": -0.022,
        "highest_starter_voltage_v": 12.1,
        "discharged_kwh": 68.43,
        "charged_kwh": 85.27,
    }
    assert found.keys() <= HISTORY


def test_a_chargers_current_is_never_taken_for_the_batterys() -> None:
    found = meaning(MPPT_FIELDS)
    assert found == {
        "voltage_v": 13.31,
        "charger_current_a": -0.12,
        "panel_voltage_v": 33.95,
        "panel_power_w": 162.0,
        "charger_state": 3.0,
        "tracker_mode": 2.0,
        "off_reasons": 1.0,
        "charger_error": 0.0,
        "load_on": True,
        "load_current_a": 0.9,
        "yield_total_kwh": 102.06,
        "yield_today_kwh": 0.14,
        "highest_power_today_w": 166.0,
        "yield_yesterday_kwh": 0.4,
        "highest_power_yesterday_w": 158.0,
        "day_number": 312.0,
    }
    assert "power_w" not in meaning({**MPPT_FIELDS, "P": 500})


def test_a_shunt_that_meters_a_load_says_nothing_of_the_batterys_current() -> None:
    assert meaning({"PID": "0xA389", "V": 12_800, "I": -5_000, "P": -64, "MON": 2}) == {
        "voltage_v": 12.8,
        "metered_current_a": -5.0,
        "metered_power_w": -64.0,
        "monitor_mode": 2.0,
    }


def test_what_the_device_does_not_know_is_none() -> None:
    unknown: Fields = {"V": 12_800, "I": "---", "P": "---", "SOC": "---", "TTG": "---", "T": "---"}
    assert decode(block(unknown)).frames == [
        {
            "voltage_v": 12.8,
            "current_a": None,
            "power_w": None,
            "charge_pct": None,
            "time_to_empty_min": None,
            "temperature_c": None,
        }
    ]
    assert measurements({"Alarm": "---"}) == ({"alarm": None}, frozenset())


def test_an_infinite_time_to_empty_is_none_and_not_minus_one() -> None:
    assert meaning({"TTG": -1}) == {"time_to_empty_min": None}
    assert meaning({"TTG": 14_400}) == {"time_to_empty_min": 14_400.0}


@pytest.mark.parametrize(
    "fields",
    [
        {"V": 385_000, "I": 0, "P": 0},  # a BMV-700H
        {"V": 12_140, "VS": -14, "I": 0, "P": 0, "CE": 0, "SOC": 1000, "TTG": -1},
        {"V": 25_600, "I": -2_000_000, "P": -51_200},  # a SmartShunt of 2000 A
        {"H1": -1, "H7": 7, "H8": 12_180, "H15": 3, "H16": 7},
        {"H7": 0, "H8": 0, "H9": "---", "H15": -22, "H16": 0},
        {"VM": -3, "DM": -1002},  # nothing at the mid-point
        {**MPPT_FIELDS, "VPV": 447_120, "PPV": 11_480, "I": 199_800, "V": 57_600},
        {**MPPT_FIELDS, "CS": 252, "ERR": 119, "OR": "0x00000100", "I": -19_900, "PPV": 0},
    ],
)
def test_what_real_devices_say_is_accepted(fields: Fields) -> None:
    assert decode(block(fields)) == ([meaning(fields)], 0)


@pytest.mark.parametrize(
    ("fields", "odd"),
    [
        ({"V": "12.8"}, ["voltage_v"]),
        ({"V": "12800x"}, ["voltage_v"]),
        ({"V": ""}, ["voltage_v"]),
        ({"V": "--12800"}, ["voltage_v"]),
        ({"V": "--"}, ["voltage_v"]),
        ({"V": "012800"}, ["voltage_v"]),
        ({"V": "1_2800"}, ["voltage_v"]),
        ({"V": "+12800"}, ["voltage_v"]),
        ({"V": " 12800"}, ["voltage_v"]),
        ({"V": "-5"}, ["voltage_v"]),
        ({"V": "500001"}, ["voltage_v"]),
        ({"V": "9" * 900}, ["voltage_v"]),
        ({"I": "10000001"}, ["current_a"]),
        ({"SOC": "1001"}, ["charge_pct"]),
        ({"SOC": "-1"}, ["charge_pct"]),
        ({"TTG": "-2"}, ["time_to_empty_min"]),
        ({"TTG": "14401"}, ["time_to_empty_min"]),
        ({"AR": "-1"}, ["alarm_reasons"]),
        ({"H7": "12800", "H8": "12799"}, ["lowest_voltage_v", "highest_voltage_v"]),
        ({"CS": "256"}, ["charger_state"]),
        ({"CS": "3", "PPV": "-1"}, ["panel_power_w"]),
        ({"CS": "3", "OR": "0x"}, ["off_reasons"]),
        ({"CS": "3", "OR": "0x0000000g"}, ["off_reasons"]),
        ({"CS": "3", "OR": "-0x1"}, ["off_reasons"]),
        ({"Alarm": "ONN"}, ["alarm"]),
        ({"CS": "3", "LOAD": "1"}, ["load_on"]),
        ({"V": "12800", "I": "-10000", "P": "-140"}, ["power_w"]),
        ({"V": "12800", "I": "-10000", "P": "128"}, ["power_w"]),
        ({"V": "12800", "I": "-10000", "P": "128", "MON": "2"}, ["metered_power_w"]),
    ],
)
def test_a_figure_that_is_impossible_is_unknown_and_the_rest_counts(
    fields: dict[str, str], odd: list[str]
) -> None:
    (found,) = decode(block({**fields, "CE": "-5000"})).frames
    assert [name for name, value in found.items() if value is None] == odd
    assert found["consumed_ah"] == -5.0


def test_on_a_line_that_has_been_bad_what_is_odd_must_come_twice() -> None:
    fields = shunt_fields(random.Random(6))
    good, true = block(fields), figures(fields)
    odd = block({**fields, "SOC": 1001})
    found = decode(good + hurt_sum(good) + good + odd + good * 20 + odd)
    assert found == ([true] * 22 + [true | {"charge_pct": None}], 2)


def test_text_that_is_no_number_is_damage_unless_it_comes_again() -> None:
    fields = shunt_fields(random.Random(6))
    good, true = block(fields), figures(fields)
    for odd in ({"SOC": "7l0"}, {"Alarm": "ONN"}):
        found = decode(good + block({**fields, **odd}) * 3)
        unknown = dict.fromkeys(meaning(dict.fromkeys(odd, "---")))
        assert found == ([true] + [true | unknown] * 2, 1)


def test_an_inverter_is_no_charger() -> None:
    """Its `CS` is its own state, and it knows nothing of the battery's current."""
    found = meaning(INVERTER)
    assert found["ac_output_voltage_v"] == 230.0
    assert (found["ac_output_current_a"], found["ac_output_va"]) == (1.2, 276.0)
    assert (found["inverter_state"], found["voltage_v"]) == (9.0, 12.73)
    assert not found.keys() & {"charger_state", "charger_current_a", "current_a", "charge_pct"}


def test_power_may_be_rounded() -> None:
    for volts, amperes, watts in ((13_489, -310, -4), (26_201, 0, 0), (12_800, -150_000, -1_905)):
        assert not measurements({"V": str(volts), "I": str(amperes), "P": str(watts)}).odd


def test_power_may_lag_where_the_load_steps() -> None:
    """The block of the step may have the power of before, or any value in between."""
    before: Fields = {"V": 12_800, "I": -5_000, "P": -64}
    for watts, fits in (
        (-64, True), (-500, True), (-1_210, True), (-30, False), (-1_300, False), (64, False),
    ):  # fmt: skip
        step: Fields = {"V": 12_100, "I": -100_000, "P": watts}
        found = decode(block(before) + block(HISTORY_FIELDS) + block(step))
        assert found.frames[-1]["power_w"] == (watts if fits else None)


# Trusted blocks


def test_on_a_line_that_damages_often_no_block_is_believed_until_it_does_no_more() -> None:
    fields = shunt_fields(random.Random(6))
    good, true = block(fields), figures(fields)
    bad = hurt_sum(good)
    assert decode(good + (bad + good * 5) * 20) == ([true] * 101, 20)
    found = decode(good * 30 + (bad + good) * 5 + bad + good * 30)
    assert found == ([true] * 46, 6 + 19), "nineteen good ones are withheld and count as bad"


def test_a_recording_that_begins_on_a_bad_line_is_not_believed_from_the_start() -> None:
    fields = shunt_fields(random.Random(6))
    good, true = block(fields), figures(fields)
    noisy = good + (hurt_sum(good) + good) * 6
    assert len(Blocks().feed(noisy)) == 6, "who listens cannot know yet"
    found = decode(noisy + good * 60)
    assert found.frames == [true] * (60 - 18)


@pytest.mark.parametrize("bad", [0, 1, TOLERATED])
def test_another_name_must_be_told_twice_on_every_line(bad: int) -> None:
    dice = random.Random(7)
    first, second = shunt_fields(dice), shunt_fields(dice)
    for change in ({"PID": "0xA38A"}, {"BMV": "SmartShunt 500A/50lV"}):
        other = {**second, **change}
        parser = Blocks()
        assert parser.feed(hurt_sum(block(first)) * bad + block(first)) == [figures(first)]
        assert parser.feed(block(other)) == []
        assert next(iter(change)) in (parser.flaw or "")
        assert parser.feed(block(other)) == [figures(second)]
        assert (parser.bad, parser.flaw) == (bad + 1, None)


def test_a_label_of_no_known_device_is_believed_at_once_on_a_spotless_line_alone() -> None:
    dice = random.Random(7)
    first, second = shunt_fields(dice), shunt_fields(dice)
    other = {**second, "NEW": 5}
    assert decode(block(first) + block(other)) == ([figures(first), figures(second)], 0)
    hurt = hurt_sum(block(first))
    for since, at_once in ((1, False), (WINDOW - 2, False), (WINDOW - 1, True)):
        parser = Blocks()
        assert parser.feed(hurt + block(first) * since) == [figures(first)] * since
        assert parser.feed(block(other)) == [figures(second)] * at_once, since
        assert ("NEW" in (parser.flaw or "")) is not at_once
        assert parser.feed(block(other)) == [figures(second)]
        assert parser.flaw is None


def test_a_device_whose_other_block_has_labels_of_no_known_device_loses_none_of_them() -> None:
    dice = random.Random(9)
    newer: Fields = {"H1": -5_000, "H40": 12, "H41": 3}
    blocks = [fields for _ in range(5) for fields in (shunt_fields(dice), newer)]
    found = decode(b"".join(map(block, blocks)))
    assert found == ([meaning(fields) for fields in blocks], 0)


def test_a_new_device_after_the_line_was_interrupted_is_believed_at_once() -> None:
    fields = shunt_fields(random.Random(8))
    parser = Blocks()
    parser.feed(block(fields) + block(fields)[:70])
    parser.start_over()
    assert parser.feed(block(MPPT_FIELDS)) == [meaning(MPPT_FIELDS)]
    assert parser.bad == 0


def hurt_sum(data: bytes) -> bytes:
    """Return a block with one bit of its checksum flipped."""
    return data[:-1] + bytes([data[-1] ^ 1])


def replaced(dice: random.Random, data: bytes, flips: int) -> bytes:
    """Return `data` with some bytes replaced by others."""
    hurt = bytearray(data)
    for at in dice.sample(range(len(hurt)), flips):
        hurt[at] ^= dice.randrange(1, 256)
    return bytes(hurt)


def flipped_both_ways(dice: random.Random, data: bytes) -> bytes:
    """Return `data` with one bit set and the same bit of another byte cleared, so that the sum stays."""
    hurt = bytearray(data)
    while True:
        bit = 1 << dice.randrange(8)
        one, other = dice.sample(range(len(hurt)), 2)
        if not hurt[one] & bit and hurt[other] & bit:
            hurt[one] |= bit
            hurt[other] &= ~bit
            return bytes(hurt)


def wrong_values(
    blocks: int, seed: int, damaged: Callable[[random.Random, bytes], bytes], bad: int = 0
) -> int:
    """Count the accepted damaged blocks, each after `bad` bad ones and a good one."""
    dice = random.Random(seed)
    wrong = 0
    for _ in range(blocks):
        before, fields = shunt_fields(dice), shunt_fields(dice)
        parser = Blocks()
        parser.feed(hurt_sum(block(before)) * bad + block(before))
        wrong += parser.feed(damaged(dice, block(fields))) not in ([], [figures(fields)])
    return wrong


@pytest.mark.parametrize("flips", [1, 2, 3, 5, 20])
def test_no_wrong_value_is_believed_of_thousands_of_damaged_blocks(flips: int) -> None:
    assert wrong_values(2000, flips, lambda dice, data: replaced(dice, data, flips)) == 0


@pytest.mark.parametrize(("bad", "share"), [(0, 0.1), (1, 0.02)])
def test_few_wrong_values_are_believed_where_a_block_is_hurt_behind_its_sums_back(
    bad: int, share: float
) -> None:
    """Digits that exchange a bit look right. With a damaged label only its figure is missing, and one out of
    its range is unknown.

    After one bad block an unknown label counts as damage.
    """
    assert wrong_values(3000, 1, flipped_both_ways, bad) < share * 3000


def test_nothing_wrong_is_believed_where_most_blocks_are_plainly_hurt() -> None:
    """The others have damage that the sum misses, and some of them look right."""
    dice = random.Random(2)
    parser = Blocks()
    look_right = 0
    for number in range(6000):
        data = block(shunt_fields(dice))
        plainly = number <= TOLERATED or dice.random() < 0.6
        hurt = (
            replaced(dice, data, dice.randint(1, 3)) if plainly else flipped_both_ways(dice, data)
        )
        assert parser.feed(hurt) == []
        look_right += (parser.flaw or "").startswith("too many")
    assert look_right > 30


def test_where_a_few_bits_of_each_block_flip_nothing_is_believed() -> None:
    dice = random.Random(3)
    parser = Blocks()
    believed = [
        f for _ in range(3000) for f in parser.feed(flipped(dice, block(shunt_fields(dice))))
    ]
    assert believed == []


# The driver

Hear = Callable[[bytes], Figures]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[VeDirectDevice]:
    with simulated(tmp_path) as (hardware, clock):
        yield VeDirectDevice(hardware, clock)


@pytest.fixture
def driver(device: VeDirectDevice) -> Iterator[Driver]:
    driver = device.build()
    driver.open()
    yield driver
    driver.close()


@pytest.fixture
def hear(device: VeDirectDevice, driver: Driver) -> Hear:
    """Returns a driver's measurements from some bytes of its device."""

    def hear(data: bytes) -> Figures:
        found: Figures = {}
        heard: list[bytes] = []
        driver.tap = heard.append
        device.hardware.monitor.send(data)
        while b"".join(heard) != data:
            found |= {m.quantity: m.value for m in driver.read()}
        return found

    return hear


def test_blocks_that_come_in_pieces_are_delivered_when_they_are_whole(hear: Hear) -> None:
    fields = shunt_fields(random.Random(12))
    data = block(fields)
    cuts = [0, 1, 30, len(data) - 12, len(data) - 1, len(data)]
    heard = [hear(data[begin:end]) for begin, end in pairwise(cuts)]
    assert heard == [{}] * 4 + [figures(fields)]


def test_a_charger_is_read_without_its_history(hear: Hear) -> None:
    found = hear(block(MPPT_FIELDS))
    assert found["charger_current_a"] == -0.12
    assert found["panel_power_w"] == 162.0
    assert not found.keys() & HISTORY
    assert not found.keys() & {"current_a", "power_w", "charge_pct"}


def test_a_monitors_history_is_not_delivered(hear: Hear) -> None:
    fields = shunt_fields(random.Random(13))
    assert hear(block(fields) + block(HISTORY_FIELDS)) == figures(fields)


def test_a_line_that_was_bad_is_not_trusted_because_it_was_opened_anew(
    device: VeDirectDevice, driver: Driver, hear: Hear
) -> None:
    fields = shunt_fields(random.Random(14))
    good = block(fields)
    hear(hurt_sum(good) * WINDOW)
    driver.close()
    driver.open()
    assert hear(good * (WINDOW - TOLERATED - 1)) == {}
    assert hear(good) == figures(fields)


def test_what_is_wrong_with_the_line_is_told(tmp_path: Path) -> None:
    with simulated(tmp_path, speed=20) as (hardware, clock):
        device = VeDirectDevice(hardware, clock)
        driver = device.build()
        driver.open()
        device.fail("bad checksums")
        with raises(GARBLED, flaw="a checksum does not fit"):
            while True:
                device.speak()
                driver.read()
        driver.close()
