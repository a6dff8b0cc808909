"""JBD: frames in bytes of any grouping, two replies that must be consistent, and the driver."""

import random
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sensors.clock import Monotonic
from sensors.framing import FrameError
from sensors.hardware import Hardware
from sensors.jbd import SILENT, Config, Jbd, decode
from sensors.jbd_frames import CELLS, HARDWARE, STATE, Replies, cells, hardware, request, state
from sensors.reading import Measurement, Quality, SensorError
from sensors.serial_port import GONE
from sensors.simulated.jbd import Bms, Pack, framed
from tests.devices import raises, within_patience

#: 13.21 V, -4.20 A, 71.00 of 100.00 Ah, 12 cycles, 28 March 2022, version 2.1, 71 %, both FETs on,
#: 4 cells, 2 sensors at 18.2 and 19.0 °C.
STATE_DATA = bytes.fromhex("0529 FE5C 1BBC 2710 000C 2C7C 0000 0000 0000 21 47 03 04 02 0B61 0B69")
CELLS_DATA = bytes.fromhex("0CE7 0CE6 0CE8 0CE5")
STATE_REPLY, CELLS_REPLY = framed(STATE, 0, STATE_DATA), framed(CELLS, 0, CELLS_DATA)
STATE_FIGURES = {
    "voltage_v": 13.21,
    "current_a": -4.2,
    "power_w": -55.5,
    "charge_pct": 71.0,
    "remaining_ah": 71.0,
    "nominal_ah": 100.0,
    "cycles": 12,
    "protection": 0,
    "alarm": False,
    "charge_on": True,
    "discharge_on": True,
    "temperature_1_c": 18.2,
    "temperature_2_c": 19.0,
}
CELLS_FIGURES = {
    "cell_1_v": 3.303,
    "cell_2_v": 3.302,
    "cell_3_v": 3.304,
    "cell_4_v": 3.301,
    "cell_min_v": 3.301,
    "cell_max_v": 3.304,
}
BOTH = STATE_REPLY + CELLS_REPLY
BOTH_FIGURES: list[dict[str, Any]] = [STATE_FIGURES, CELLS_FIGURES]


def changed(data: bytes, at: int, to: str) -> bytes:
    """Return `data` with other bytes at `at`."""
    new = bytes.fromhex(to)
    return data[:at] + new + data[at + len(new) :]


# Frames


def test_the_requests_are_those_of_the_protocol() -> None:
    assert request(STATE) == bytes.fromhex("DD A5 03 00 FF FD 77")
    assert request(CELLS) == bytes.fromhex("DD A5 04 00 FF FC 77")
    assert request(HARDWARE) == bytes.fromhex("DD A5 05 00 FF FB 77")


def test_the_replies_mean_what_the_protocol_says() -> None:
    assert STATE_REPLY[-3:] == bytes.fromhex("FB 4A 77")
    assert state(STATE_DATA) == (STATE_FIGURES, frozenset())
    assert cells(CELLS_DATA, (13.21, 4)) == (CELLS_FIGURES, frozenset())
    assert hardware(b"JBD-SP04S034") == {"hardware": "JBD-SP04S034"}
    assert decode(BOTH) == (BOTH_FIGURES, 0)


def test_protection_and_switches_are_bits() -> None:
    found = state(changed(changed(STATE_DATA, 16, "1003"), 20, "02")).figures
    assert (found["protection"], found["alarm"]) == (0x1003, True)
    assert (found["charge_on"], found["discharge_on"]) == (False, True)


def test_a_temperature_without_a_sensor_is_not_known() -> None:
    found, odd = state(changed(STATE_DATA, 25, "0000"))
    assert not odd
    assert (found["temperature_1_c"], found["temperature_2_c"]) == (18.2, None)


def test_newer_boards_may_say_more_and_all_may_have_more_left_than_is_nominal() -> None:
    more = changed(STATE_DATA, 4, "2763") + bytes.fromhex("00 0000 2774 2763 0000")
    assert state(more) == (STATE_FIGURES | {"remaining_ah": 100.83}, frozenset())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 15, 33, 34, 35, 60, 1000])
def test_replies_come_out_whole_however_the_bytes_arrive(size: int) -> None:
    data = BOTH * 4
    replies = Replies()
    found = [r for at in range(0, len(data), size) for r in replies.feed(data[at : at + size])]
    assert [reply.figures for reply in found] == BOTH_FIGURES * 4
    assert replies.bad == 0


@pytest.mark.parametrize("cut", range(1, 34))
def test_a_reply_that_is_heard_from_the_middle_on_is_passed_over(cut: int) -> None:
    rest = STATE_REPLY[cut:]
    assert decode(rest + BOTH) == (BOTH_FIGURES, len(rest) >= 7)  # fewer cannot be a frame


@pytest.mark.parametrize("length", range(34))
def test_no_good_reply_is_lost_behind_one_that_is_cut_short(length: int) -> None:
    # Once the length is known it is a frame; before that, it is noise.
    assert decode(BOTH + STATE_REPLY[:length] + BOTH) == (BOTH_FIGURES * 2, length >= 4)


@pytest.mark.parametrize("at", range(34))
def test_no_good_reply_is_lost_behind_a_damaged_one(at: int) -> None:
    for bit in range(8):
        hurt = bytearray(STATE_REPLY)
        hurt[at] ^= 1 << bit
        found = decode(BOTH + bytes(hurt) + BOTH)
        assert found.frames == BOTH_FIGURES * 2
        # The code is outside the checksum: another code makes it another command's reply.
        assert found.bad == (at != 1) or (at in (1, 3) and found.bad <= 2)


def test_a_good_reply_within_what_looks_like_a_longer_one_is_found_at_the_end() -> None:
    replies = Replies()
    assert replies.feed(bytes.fromhex("DD 04 00 40") + STATE_REPLY) == []
    assert [reply.figures for reply in replies.end()] == [STATE_FIGURES]
    assert replies.bad == 0


@pytest.mark.parametrize(
    "other",
    [
        request(STATE),
        request(CELLS),
        bytes.fromhex("DD 5A E1 02 00 00 FF 1D 77"),
        bytes.fromhex("DD E1 00 00 00 00 77"),
        bytes.fromhex("DD 06 80 00 FF 80 77"),
        bytes.fromhex("DD 04 80 00 FF 80 77"),
        framed(0xAA, 0, bytes(24)),
    ],
    ids=lambda frame: frame[:4].hex(" "),
)
def test_what_is_no_reply_to_the_requests_is_neither_good_nor_bad(other: bytes) -> None:
    data = other + STATE_REPLY + other + CELLS_REPLY + other
    assert decode(data) == (BOTH_FIGURES, 0)


def test_a_few_stray_bytes_are_no_frame() -> None:
    assert decode((b"\x00\xff\x00" + BOTH) * 5) == (BOTH_FIGURES * 5, 0)


@pytest.mark.parametrize(
    ("at", "to", "figures"),
    [
        (0, "0000", {"voltage_v": None, "power_w": None}),
        (0, "2529", {"voltage_v": None, "power_w": None}),
        (0, "0050", {"voltage_v": 0.8, "power_w": -3.4}),  # four cells that are nearly dead
        (19, "65", {"charge_pct": None}),
        (19, "FF", {"charge_pct": None}),
        (21, "00", {}),
        (21, "21", {}),
        (23, "0001", {"temperature_1_c": None}),
        (25, "FFFF", {"temperature_2_c": None}),
        (23, "0800", {"temperature_1_c": None}),
    ],
)
def test_an_odd_figure_is_unknown_by_itself_and_the_rest_of_the_state_counts(
    at: int, to: str, figures: dict[str, float | None]
) -> None:
    odd = framed(STATE, 0, changed(STATE_DATA, at, to))
    assert decode(odd) == ([STATE_FIGURES | figures], 0)
    # An odd pack goes with no cells that are known to be those of another one.
    assert decode(odd + odd + CELLS_REPLY).bad == 0


def test_temperatures_that_do_not_fit_the_reply_are_not_read() -> None:
    figures = {k: v for k, v in STATE_FIGURES.items() if not k.startswith("temperature")}
    for data in (STATE_DATA[:-1], STATE_DATA[:-2], STATE_DATA + bytes(17)):
        assert decode(framed(STATE, 0, data)) == ([figures], 0)


@pytest.mark.parametrize("data", [b"", STATE_DATA[:22]], ids=len)
def test_a_state_that_is_too_short_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        state(data)
    assert decode(framed(STATE, 0, data)) == ([], 1)


@pytest.mark.parametrize("data", ["", "0CE7 0CE6 0CE8 0C", "FFFF FFFF"])
def test_what_is_no_cell_voltage_is_refused(data: str) -> None:
    with pytest.raises(FrameError):
        cells(bytes.fromhex(data))


def test_a_dead_cell_is_told_whatever_the_pack_says() -> None:
    """A dead cell, and a sense wire that is cut: the BMS switches off for both."""
    dead = framed(CELLS, 0, bytes.fromhex("0CE7 0CE6 0CE8 0000"))
    figures = CELLS_FIGURES | {"cell_4_v": 0.0, "cell_min_v": 0.0}
    for centivolts in ("03DF", "0529"):
        pack = framed(STATE, 0, changed(STATE_DATA, 0, centivolts))
        found = decode((pack + dead) * 40)
        assert found.bad == 0
        assert found.frames[1::2] == [figures] * 40


def test_an_impossible_cell_is_unknown_and_the_others_count() -> None:
    wide = framed(CELLS, 0, changed(CELLS_DATA, 2, "FFFF"))
    figures = CELLS_FIGURES | {"cell_2_v": None}
    assert decode(STATE_REPLY + wide) == ([STATE_FIGURES, figures], 0)


@pytest.mark.parametrize(
    ("odd", "figures"),
    [
        (framed(STATE, 0, changed(STATE_DATA, 19, "65")), STATE_FIGURES | {"charge_pct": None}),
        (framed(CELLS, 0, changed(CELLS_DATA, 2, "FFFF")), CELLS_FIGURES | {"cell_2_v": None}),
        (
            framed(CELLS, 0, changed(CELLS_DATA, 0, "10E7")),
            CELLS_FIGURES | {"cell_1_v": 4.327, "cell_max_v": 4.327},
        ),
    ],
    ids=["charge", "cell", "sum"],
)
def test_on_a_line_that_has_been_bad_what_is_odd_must_come_twice(
    odd: bytes, figures: dict[str, Any]
) -> None:
    hurt = STATE_REPLY[:-2] + bytes([STATE_REPLY[-2] ^ 1]) + STATE_REPLY[-1:]
    found = decode(BOTH + hurt + BOTH + odd + BOTH * 20 + odd + BOTH + odd)
    assert found == (BOTH_FIGURES * 22 + [figures] + BOTH_FIGURES + [figures], 2)


@pytest.mark.parametrize("between", [0, 3, 5, 10, 29, 31])
def test_a_figure_that_is_odd_now_and_then_costs_no_trust_in_the_line(between: int) -> None:
    """On a line that was bad once it must not keep the line bad for ever."""
    hurt = STATE_REPLY[:-2] + bytes([STATE_REPLY[-2] ^ 1]) + STATE_REPLY[-1:]
    odd = framed(STATE, 0, changed(STATE_DATA, 23, "FFFF"))
    replies = Replies()
    found = replies.feed(hurt + (BOTH * between + odd) * 20)
    assert len(found) >= 20 * (2 * between + 1) - 1
    assert all(reply.figures is not None for reply in found)


@pytest.mark.parametrize("data", [b"", b"JBD\x00", b"JBD\xb0"])
def test_a_name_that_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        hardware(data)


def test_cells_that_do_not_add_up_to_the_voltage_of_the_state_are_odd() -> None:
    wrong = changed(CELLS_DATA, 0, "10E7")  # one volt more
    assert cells(wrong, (13.21, 4)).odd == {"cell_sum"}
    assert not cells(wrong).odd, "nothing is known of the pack yet"
    assert not cells(wrong, (52.84, 16)).odd, "the cells of another part of the pack"
    sagged = bytes.fromhex("0CB7 0CB6 0CB8 0CB5")  # a load came on
    assert not cells(sagged, (13.21, 4)).odd


def test_what_never_changes_is_believed_when_it_has_changed_twice() -> None:
    """A nominal capacity of 140.80 Ah instead of 100.00 Ah, with a correct sum."""
    other = framed(STATE, 0, changed(STATE_DATA, 6, "3700"))
    assert decode(BOTH + other + BOTH) == (BOTH_FIGURES * 2, 1)
    found = decode(STATE_REPLY + other * 3)
    assert [frame["nominal_ah"] for frame in found.frames] == [100.0, 140.8, 140.8]
    assert found.bad == 1


def test_another_bms_is_believed_at_once() -> None:
    sixteen = Pack(cells_v=(3.3,) * 16, nominal_ah=280.0)
    first, second = decode(STATE_REPLY + state_of(sixteen)).frames
    assert (first["nominal_ah"], second["nominal_ah"]) == (100.0, 280.0)


def state_of(pack: Pack) -> bytes:
    return framed(STATE, 0, pack_data(pack))


def pack_data(pack: Pack) -> bytes:
    bms = object.__new__(Bms)  # its frames need no cable
    bms.pack = pack
    return bms.state()


def test_on_a_line_that_damages_every_eighth_reply_none_is_believed_for_long() -> None:
    hurt = STATE_REPLY[:-2] + bytes([STATE_REPLY[-2] ^ 1]) + STATE_REPLY[-1:]
    decoded = decode((BOTH * 3 + STATE_REPLY + hurt) * 50)
    assert len(decoded.frames) < 50
    assert len(decoded.frames) + decoded.bad == 400


def test_a_bad_reply_now_and_then_costs_nothing_but_itself() -> None:
    hurt = STATE_REPLY[:-2] + bytes([STATE_REPLY[-2] ^ 1]) + STATE_REPLY[-1:]
    assert decode((BOTH * 10 + hurt) * 20) == (BOTH_FIGURES * 200, 20)


def test_endless_noise_takes_little_memory_and_is_forgotten() -> None:
    dice = random.Random(2)
    for noise in (b"\xdd", b"\xdd\x03\x00", STATE_REPLY[:20], BOTH[:40], dice.randbytes(64)):
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
        assert [reply.figures for reply in replies.feed(STATE_REPLY)] == [None], "not trusted yet"
        assert replies.feed(STATE_REPLY * 80)[-1].figures == STATE_FIGURES


def test_any_bytes_may_be_fed() -> None:
    dice = random.Random(6)
    alphabets = [bytes(range(256)), b"\xdd\x03\x04\x05\x00\x1b\x77\xa5\x80", STATE_DATA]
    for number in range(600):
        replies = Replies()
        for _ in range(4):
            replies.feed(bytes(dice.choices(alphabets[number % 3], k=dice.randrange(200))))
        replies.end()
        for code in (STATE, CELLS, HARDWARE):
            data = bytes(dice.choices(alphabets[number % 3], k=dice.randrange(64)))
            found = decode(framed(code, 0, data))
            assert len(found.frames) + found.bad == 1


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
def bms(tmp_path: Path) -> Iterator[Bms]:
    bms = Bms(tmp_path / "tty")
    bms.pack = Pack(cells_v=(3.303, 3.302, 3.304, 3.301), current_a=-4.2)
    yield bms
    bms.close()


@pytest.fixture
def driver(bms: Bms, clock: HandClock, tmp_path: Path) -> Iterator[Jbd]:
    driver = Jbd(Config(port=str(tmp_path / "tty")), Hardware(), clock)
    driver.open()
    yield driver
    driver.close()


TRUE = STATE_FIGURES | {"cell_min_v": 3.301, "cell_max_v": 3.304}


def values(found: Sequence[Measurement]) -> dict[str, object]:
    assert all(m.quality is Quality.OK for m in found)
    return {m.quantity: m.value for m in found}


def test_a_bms_is_read(driver: Jbd, bms: Bms) -> None:
    assert values(driver.read()) == TRUE
    bms.pack = replace(bms.pack, current_a=20.0, temperatures_c=(18.2, None), protection=2)
    found = values(driver.read())
    assert (found["current_a"], found["power_w"]) == (20.0, 264.2)
    assert found["temperature_2_c"] is None
    assert (found["protection"], found["alarm"]) == (2, True)


def test_a_cell_that_dies_is_told_at_once(driver: Jbd, bms: Bms) -> None:
    assert values(driver.read())["cell_min_v"] == 3.301
    bms.pack = replace(bms.pack, cells_v=(3.303, 3.302, 0.0, 3.301), protection=2)
    found = values(driver.read())
    assert (found["cell_min_v"], found["cell_max_v"]) == (0.0, 3.303)
    assert (found["voltage_v"], found["alarm"]) == (9.91, True)


def test_an_echo_and_replies_in_pieces_do_no_harm(driver: Jbd, bms: Bms) -> None:
    bms.echoes = True
    assert values(driver.read()) == TRUE
    bms.fault = "in pieces"
    for _ in range(5):
        assert values(driver.read()) == TRUE


def test_a_bms_that_refuses_its_cells_gives_its_state(tmp_path: Path, clock: HandClock) -> None:
    class Simple(Bms):
        def answer(self, request: bytes) -> bytes:
            return framed(CELLS, 0x80) if request[2] == CELLS else super().answer(request)

    bms = Simple(tmp_path / "tty")
    driver = Jbd(Config(port=str(tmp_path / "tty")), Hardware(), clock)
    driver.open()
    found = values(driver.read())
    assert found["charge_pct"] == 71.0
    assert "cell_min_v" not in found
    driver.close()
    bms.close()


def test_a_missed_reply_says_nothing_and_a_silent_bms_has_failed(
    driver: Jbd, bms: Bms, clock: HandClock, tmp_path: Path
) -> None:
    driver.read()
    bms.fault = "silent"
    clock.at_s += 10.0
    assert driver.read() == ()
    clock.at_s += 0.1
    with raises(SILENT, port=str(tmp_path / "tty")):
        driver.read()
    bms.fault = ""
    assert values(driver.read()) == TRUE
    bms.fault = "silent"
    assert driver.read() == ()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("garbage", "damaged"),
        ("short replies", "damaged"),
        ("wrong code", "code 0xAA"),
        ("refusals", "status 0x80"),
    ],
)
def test_what_comes_instead_of_a_reply_is_told(
    driver: Jbd, bms: Bms, clock: HandClock, fault: str, said: str
) -> None:
    bms.fault = fault
    assert driver.read() == ()
    clock.at_s += 11
    with pytest.raises(SensorError) as failure:
        driver.read()
    assert said in str(failure.value)


def test_an_echo_alone_is_silence(tmp_path: Path, clock: HandClock) -> None:
    class Asleep(Bms):
        def answer(self, request: bytes) -> bytes:
            return b""

    bms = Asleep(tmp_path / "tty")
    bms.echoes = True
    driver = Jbd(Config(port=str(tmp_path / "tty")), Hardware(), clock)
    driver.open()
    clock.at_s += 11
    with raises(SILENT):
        driver.read()
    driver.close()
    bms.close()


def test_a_port_that_is_gone_is_told_at_once(driver: Jbd, bms: Bms) -> None:
    bms.unplug()
    with raises(GONE):
        driver.read()
    driver.close()
    bms.plug()
    driver.open()
    assert values(driver.read()) == TRUE


def test_a_captured_line_means_what_was_read(driver: Jbd) -> None:
    heard: list[bytes] = []
    driver.tap = heard.append
    for _ in range(3):
        driver.read()
    assert decode(b"".join(heard)) == (BOTH_FIGURES * 3, 0)


def test_nothing_is_ever_sent_but_the_two_requests(tmp_path: Path, clock: HandClock) -> None:
    asked: set[bytes] = set()

    class Attentive(Bms):
        def answer(self, request: bytes) -> bytes:
            asked.add(request)
            return super().answer(request)

    bms = Attentive(tmp_path / "tty")
    driver = Jbd(Config(port=str(tmp_path / "tty")), Hardware(), clock)
    driver.open()
    for fault in ("", "bit flips", "refusals", "wrong code", "silent"):
        bms.fault = fault
        driver.read()
    driver.close()
    bms.close()
    assert asked == {request(STATE), request(CELLS)}


class LongClock(HandClock):
    """A clock on which every wait takes a quarter of an hour."""

    def real_s(self, interval_s: float) -> float:
        return 1000.0


def test_a_waiting_read_can_be_interrupted(bms: Bms, tmp_path: Path) -> None:
    bms.fault = "silent"
    driver = Jbd(Config(port=str(tmp_path / "tty")), Hardware(), LongClock())
    driver.open()
    reading = threading.Thread(target=driver.read, daemon=True)
    reading.start()

    def interrupt() -> None:
        while reading.is_alive():
            driver.interrupt()
            reading.join(0.05)

    within_patience(interrupt)
    driver.close()
