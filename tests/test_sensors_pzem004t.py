"""PZEM-004T: frames in bytes of any grouping, and a driver for which silence is no error."""

import random
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sensors.clock import Monotonic
from sensors.framing import FrameError
from sensors.hardware import Hardware
from sensors.pzem004t import SILENT, Config, Pzem004t, decode
from sensors.pzem004t_frames import (
    GENERAL_ADDRESS,
    QUANTITIES,
    Figures,
    Replies,
    crc,
    measurements,
    request,
)
from sensors.reading import Measurement, Quality
from sensors.serial_port import GONE, MISSING
from sensors.simulated.pzem004t import Line, Meter, with_crc
from sensors.trouble import Trouble
from tests.devices import raises, within_patience

#: The manual's example: 220.0 V, 1.000 A, 220.0 W, 0 Wh, 50.0 Hz, 1.00, no alarm.
EXAMPLE = with_crc(bytes.fromhex("01 04 14 0898 03E8 0000 0898 0000 0000 0000 01F4 0064 0000"))
FIGURES: Figures = {
    "voltage_v": 220.0,
    "current_a": 1.0,
    "power_w": 220.0,
    "energy_wh": 0.0,
    "frequency_hz": 50.0,
    "power_factor": 1.0,
    "alarm": False,
}
ASK = bytes.fromhex("01 04 00 00 00 0A 70 0D")
REFUSAL = with_crc(bytes.fromhex("01 84 02"))


def reply(address: int = 1, **registers: int) -> bytes:
    """Return the example with some registers changed, and the right CRC."""
    names = ("volts", "amps", "amps_high", "watts", "watts_high", "wh", "wh_high", "hertz", "factor",
             "alarm")  # fmt: skip
    data = bytearray(EXAMPLE[:-2])
    data[0] = address
    for name, value in registers.items():
        at = 3 + 2 * names.index(name)
        data[at : at + 2] = value.to_bytes(2, "big")
    return with_crc(bytes(data))


def stream(count: int) -> tuple[bytes, list[Figures]]:
    """Return some different replies as one stream, and their figures."""
    data = b"".join(reply(wh=number) for number in range(count))
    return data, [FIGURES | {"energy_wh": float(number)} for number in range(count)]


# Frames


def test_the_requests_are_those_of_the_manual() -> None:
    assert request(1) == ASK
    assert request(GENERAL_ADDRESS) == bytes.fromhex("F8 04 00 00 00 0A 64 64")
    assert crc(bytes.fromhex("01 42")) == bytes.fromhex("80 11")


def test_a_reply_means_what_the_manual_says() -> None:
    assert measurements(EXAMPLE) == FIGURES
    assert tuple(FIGURES) == QUANTITIES
    large = measurements(
        with_crc(bytes.fromhex("01 04 14 04D5 659C 0001 9BD1 0000 1EA9 0002 0257 0023 FFFF"))
    )
    assert (large["current_a"], large["power_w"], large["energy_wh"]) == (91.548, 3988.9, 138_921.0)
    assert large["alarm"] is True


@pytest.mark.parametrize("size", [1, 2, 3, 7, 24, 25, 26, 60, 1000])
def test_replies_come_out_whole_however_the_bytes_arrive(size: int) -> None:
    data, figures = stream(6)
    replies = Replies()
    found = [f for at in range(0, len(data), size) for f in replies.feed(data[at : at + size])]
    assert found == figures
    assert replies.bad == 0


@pytest.mark.parametrize("cut", range(1, 25))
def test_a_reply_that_is_heard_from_the_middle_on_is_passed_over(cut: int) -> None:
    data, figures = stream(3)
    replies = Replies()
    assert replies.feed(data[cut:]) == figures[1:]
    assert replies.bad == (cut <= 20)  # fewer than five bytes cannot be a frame


@pytest.mark.parametrize("length", range(25))
def test_no_good_reply_is_lost_behind_one_that_is_cut_short(length: int) -> None:
    data, figures = stream(2)
    replies = Replies()
    found = replies.feed(data[:25] + EXAMPLE[:length] + data[25:]) + replies.end()
    assert found == figures
    assert replies.bad == (length >= 3)  # too short for the beginning of a frame: noise


@pytest.mark.parametrize("at", range(25))
def test_no_good_reply_is_lost_behind_a_damaged_one(at: int) -> None:
    data, figures = stream(2)
    for bit in range(8):
        hurt = bytearray(EXAMPLE)
        hurt[at] ^= 1 << bit
        replies = Replies()
        assert replies.feed(data[:25] + bytes(hurt) + data[25:]) + replies.end() == figures
        assert replies.bad == 1 or (at == 2 and replies.bad == 2)  # a wrong length


@pytest.mark.parametrize(
    "other",
    [
        ASK,
        REFUSAL,
        with_crc(bytes.fromhex("F8 04 00 00 00 0A")),
        with_crc(bytes.fromhex("01 03 00 01 00 02")),
        with_crc(bytes.fromhex("01 03 04 59D8 0001")),
        with_crc(bytes.fromhex("01 06 00 02 00 05")),
        with_crc(bytes.fromhex("01 04 00 00 00 01")),
        with_crc(bytes.fromhex("01 04 02 0898")),
    ],
    ids=lambda frame: frame.hex(" "),
)
def test_what_is_no_reply_to_the_request_is_neither_good_nor_bad(other: bytes) -> None:
    decoded = decode(other + EXAMPLE + other + EXAMPLE + other)
    assert decoded.frames == [FIGURES] * 2
    assert decoded.bad == 0


def test_a_few_stray_bytes_are_no_frame() -> None:
    decoded = decode((b"\x00\xff" + EXAMPLE) * 5)
    assert decoded.frames == [FIGURES] * 5
    assert decoded.bad == 0


def test_only_the_meter_that_is_asked_is_heard() -> None:
    both = reply(address=1, wh=1) + reply(address=2, wh=2)
    replies = Replies(2)
    assert [f["energy_wh"] for f in replies.feed(both)] == [2.0]
    assert replies.bad == 0
    assert len(Replies().feed(both + reply(address=GENERAL_ADDRESS))) == 3


@pytest.mark.parametrize(
    ("registers", "unknown"),
    [
        ({"volts": 5001}, ["voltage_v"]),
        ({"amps_high": 2}, ["current_a"]),
        ({"watts_high": 9}, ["power_w"]),
        ({"wh_high": 153}, ["energy_wh"]),
        ({"hertz": 0}, ["frequency_hz"]),
        ({"hertz": 99}, ["frequency_hz"]),
        ({"hertz": 1001}, ["frequency_hz"]),
        ({"factor": 101}, ["power_factor"]),
        ({"alarm": 1}, ["alarm"]),
        ({"alarm": 0xFFFE}, ["alarm"]),
        ({"watts": 2000}, ["power_w", "power_factor"]),
        ({"watts": 2400}, ["power_w", "power_factor"]),
        ({"factor": 80}, ["power_w", "power_factor"]),
        ({"hertz": 0xFFFF, "alarm": 5}, ["frequency_hz", "alarm"]),
    ],
    ids=str,
)
def test_a_figure_that_is_impossible_is_unknown_and_the_rest_counts(
    registers: dict[str, int], unknown: list[str]
) -> None:
    found = decode(reply(**registers))
    assert found == ([FIGURES | dict.fromkeys(unknown)], 0)


def test_a_reply_without_a_possible_figure_is_refused() -> None:
    nonsense = with_crc(b"\x01\x04\x14" + b"\xff" * 20)
    with pytest.raises(FrameError):
        measurements(nonsense)
    assert decode(nonsense) == ([], 1)


@pytest.mark.parametrize("data", [b"", b"\x01\x04\x14", EXAMPLE + b"\x00"])
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        measurements(data)


@pytest.mark.parametrize(
    ("volts", "hertz"), [(0, 0), (312, 0), (599, 482), (1150, 380), (4000, 500), (2400, 723)]
)
def test_a_line_far_from_230_v_and_50_hz_is_measured(volts: int, hertz: int) -> None:
    """Dead, a brown-out, an engine that stalls, a lost neutral, an engine that races."""
    (found,) = decode(reply(volts=volts, amps=0, watts=0, factor=0, hertz=hertz)).frames
    assert found["voltage_v"] == volts / 10
    assert found["frequency_hz"] == (hertz / 10 or None)


def test_the_power_of_a_small_load_may_be_rounded() -> None:
    """Figures of meters in use: volts, milliamperes, tenths of a watt, hundredths."""
    for volts, amps, watts, factor in (
        (2259, 35, 5, 6), (2319, 212, 7, 1), (2218, 41, 5, 5), (2257, 108, 244, 100), (2214, 0, 0, 0),
    ):  # fmt: skip
        measurements(reply(volts=volts, amps=amps, watts=watts, factor=factor))


def test_an_energy_that_was_set_back_is_believed() -> None:
    assert [f["energy_wh"] for f in decode(reply(wh=5000) + reply(wh=2)).frames] == [5000.0, 2.0]


def test_on_a_line_that_damages_every_other_reply_the_crc_tells_the_good_ones() -> None:
    hurt = EXAMPLE[:-1] + bytes([EXAMPLE[-1] ^ 1])
    assert decode((EXAMPLE + hurt) * 100) == ([FIGURES] * 100, 100)


def test_endless_noise_takes_little_memory_and_is_forgotten() -> None:
    dice = random.Random(2)
    for noise in (b"\x01", b"\x01\x04", EXAMPLE[:24], ASK[:7], dice.randbytes(64)):
        replies = Replies()
        chunk = noise * (4096 // len(noise))
        tracemalloc.start()
        try:
            for _ in range(10):
                replies.feed(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 50_000
        assert replies.bad > 500
        replies.end()
        assert replies.feed(EXAMPLE) == [FIGURES]


def test_any_bytes_may_be_fed() -> None:
    dice = random.Random(6)
    alphabets = [bytes(range(256)), b"\x01\xf8\x04\x14\x00\x0a\x84\x03\x06", EXAMPLE]
    for number in range(600):
        replies = Replies()
        for _ in range(4):
            replies.feed(bytes(dice.choices(alphabets[number % 3], k=dice.randrange(200))))
        replies.end()
        body = bytes(dice.choices(alphabets[number % 3], k=20))
        assert decode(with_crc(b"\x01\x04\x14" + body)).bad in (0, 1)


# The driver


class HandClock(Monotonic):
    """A clock that stands still until it is set."""

    at_s = 100.0

    def now_s(self) -> float:
        return self.at_s


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Meter]:
    meter = Meter(tmp_path / "tty", address=1)
    meter.line = Line(voltage_v=231.4, current_a=2.0, power_factor=0.9, frequency_hz=49.8)
    meter.energy_wh = 70_000
    yield meter
    meter.close()


@pytest.fixture
def driver(meter: Meter, clock: HandClock, tmp_path: Path) -> Iterator[Pzem004t]:
    driver = Pzem004t(Config(port=str(tmp_path / "tty"), address=1), Hardware(), clock)
    driver.open()
    yield driver
    driver.close()


def values(found: Sequence[Measurement]) -> dict[str, object]:
    assert all(m.quality is Quality.OK for m in found)
    return {m.quantity: m.value for m in found}


def unknown(found: Sequence[Measurement]) -> str:
    """Return the readings of measurements that are all unknown."""
    assert {m.quantity for m in found} == set(QUANTITIES)
    assert {(m.value, m.quality) for m in found} == {(None, Quality.FAULT)}
    (said,) = {str(m.trouble) for m in found}
    return said


TRUE = {
    "voltage_v": 231.4,
    "current_a": 2.0,
    "power_w": 416.5,
    "energy_wh": 70_000.0,
    "frequency_hz": 49.8,
    "power_factor": 0.9,
    "alarm": False,
}


def test_a_meter_is_read(driver: Pzem004t) -> None:
    assert values(driver.read()) == TRUE
    assert driver.period_s == 1.0


def test_a_dead_line_is_measured_by_a_meter_that_has_another_supply(
    driver: Pzem004t, meter: Meter
) -> None:
    meter.line = Line(voltage_v=0.0, power_factor=0.0, frequency_hz=0.0)
    found = values(driver.read())
    assert (found["voltage_v"], found["current_a"], found["frequency_hz"]) == (0.0, 0.0, None)


def test_a_meter_of_any_address_is_read_by_the_general_one(
    meter: Meter, clock: HandClock, tmp_path: Path
) -> None:
    meter.address = 77
    driver = Pzem004t(Config(port=str(tmp_path / "tty")), Hardware(), clock)
    driver.open()
    assert values(driver.read()) == TRUE
    driver.close()


def test_an_echo_and_a_reply_in_pieces_do_no_harm(driver: Pzem004t, meter: Meter) -> None:
    meter.echoes = True
    assert values(driver.read()) == TRUE
    meter.fault = "in pieces"
    for _ in range(5):
        assert values(driver.read()) == TRUE


def test_a_missed_reply_says_nothing_and_a_silent_meter_that_nothing_is_known(
    driver: Pzem004t, meter: Meter, clock: HandClock, tmp_path: Path
) -> None:
    driver.read()
    meter.powered = False
    clock.at_s += 10.0
    assert driver.read() == ()
    clock.at_s += 0.1
    silent = str(Trouble(SILENT, port=str(tmp_path / "tty")))
    assert unknown(driver.read()) == silent
    assert unknown(driver.read()) == silent, "each time"
    meter.powered = True
    assert values(driver.read()) == TRUE
    meter.powered = False
    assert driver.read() == ()


def test_a_meter_that_was_never_heard_is_silent_since_the_port_was_opened(
    meter: Meter, clock: HandClock, tmp_path: Path
) -> None:
    meter.powered = False
    driver = Pzem004t(Config(port=str(tmp_path / "tty"), silence_s=5), Hardware(), clock)
    clock.at_s += 1000
    driver.open()
    clock.at_s += 5
    assert driver.read() == ()
    clock.at_s += 0.1
    unknown(driver.read())
    driver.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("garbage", "damaged"),
        ("short replies", "damaged"),
        ("wrong address", "from address 0x02"),
        ("refusals", "exception 2"),
    ],
)
def test_what_comes_instead_of_a_reply_is_told(
    driver: Pzem004t, meter: Meter, clock: HandClock, fault: str, said: str
) -> None:
    meter.fault = fault
    assert driver.read() == ()
    clock.at_s += 11
    assert said in unknown(driver.read())


def test_an_echo_alone_is_silence(driver: Pzem004t, meter: Meter, clock: HandClock) -> None:
    meter.echoes, meter.powered = True, False
    clock.at_s += 11
    assert "does not answer" in unknown(driver.read())


def test_a_port_that_is_gone_is_a_failure_and_not_an_unknown_value(
    driver: Pzem004t, meter: Meter, clock: HandClock
) -> None:
    clock.at_s += 11
    meter.unplug()
    with raises(GONE):
        driver.read()
    driver.close()
    with raises(MISSING):
        driver.open()
    meter.plug()
    driver.open()
    assert values(driver.read()) == TRUE


def test_a_captured_line_means_what_was_read(driver: Pzem004t) -> None:
    heard: list[bytes] = []
    driver.tap = heard.append
    found = [values(driver.read()) for _ in range(3)]
    decoded = decode(b"".join(heard))
    assert [dict(frame) for frame in decoded.frames] == found
    assert decoded.bad == 0


def test_nothing_but_the_one_request_is_ever_sent(clock: HandClock, tmp_path: Path) -> None:
    asked: set[bytes] = set()

    class Attentive(Meter):
        def answer(self, request: bytes) -> bytes:
            asked.add(request)
            return super().answer(request)

    meter = Attentive(tmp_path / "tty", address=1)
    driver = Pzem004t(Config(port=str(tmp_path / "tty"), address=1), Hardware(), clock)
    driver.open()
    for fault in ("", "bit flips", "refusals", "wrong function", "silent"):
        meter.fault = fault
        driver.read()
    driver.close()
    meter.close()
    assert asked == {ASK}


class LongClock(HandClock):
    """A clock on which every wait takes a quarter of an hour."""

    def real_s(self, interval_s: float) -> float:
        return 1000.0


def test_a_waiting_read_can_be_interrupted(meter: Meter, tmp_path: Path) -> None:
    meter.powered = False
    driver = Pzem004t(Config(port=str(tmp_path / "tty")), Hardware(), LongClock())
    driver.open()
    reading = threading.Thread(target=driver.read, daemon=True)
    reading.start()

    def interrupt() -> None:
        while reading.is_alive():
            driver.interrupt()
            reading.join(0.05)

    within_patience(interrupt)
    driver.close()


def test_a_read_ends_where_noise_never_does(meter: Meter, tmp_path: Path) -> None:
    driver = Pzem004t(Config(port=str(tmp_path / "tty")), Hardware(), Monotonic())
    driver.open()
    meter.fault = "silent"
    reading = threading.Thread(target=driver.read, daemon=True)
    reading.start()

    def noise() -> None:
        while reading.is_alive():
            meter.send(b"\x55" * 100)

    within_patience(noise)
    driver.close()
