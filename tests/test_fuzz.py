"""Arbitrary input: no parser loops, grows, or raises anything but its documented errors.

`make test` tries a few hundred inputs, the same ones each time. `make fuzz` tries many more, and new
ones each time. Byte parsers also get real captures with damage, which reach more code than noise.
"""

import json
import math
import pickle
import select
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher import commands, messages
from publisher.commanding import COMMANDS, REMOTE_CHECKS
from publisher.config.faults import ConfigError
from publisher.config.load import parse
from publisher.config.sections import BrokerSettings
from publisher.link.client import Client
from publisher.link.mailbox import Mailbox
from publisher.link.refusals import Reason
from publisher.link.trial import WILL, Heard
from publisher.link.troubles import Ended, Flooded
from publisher.rules.charge_state import Charge
from publisher.rules.totals import Totals
from sensors import jbd_frames, pzem004t_frames, vedirect_frames, ze07co_frames
from sensors.registry import DRIVERS, decode
from tests.tents import NOON, Unit, config
from tests.wires import packets

CASES = Path(__file__).parent / "cases"
CAPTURES = {
    driver: [path.read_bytes() for path in sorted(CASES.glob(f"{driver}/*/input.bin"))]
    for driver in sorted(DRIVERS)
}
#: Largest pickled size of a parser between two reads, in bytes: a frame or two and its counters.
MOST_KEPT = 8192


@st.composite
def damaged(draw: st.DrawFn, driver: str) -> bytes:
    """Return a piece of a real capture with bytes changed, cut out, put in or doubled."""
    data = bytearray(draw(st.sampled_from(CAPTURES[driver]))[:4096])
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(data)))
        end = at + draw(st.integers(0, 20))
        piece = draw(
            st.one_of(st.binary(max_size=20), st.just(bytes(data[at:end]) * 2), st.just(b""))
        )
        data[at:end] = piece
    return bytes(data)


def streams(driver: str) -> st.SearchStrategy[bytes]:
    return st.one_of(st.binary(max_size=2048), damaged(driver))


def is_json(frame: Any) -> bool:
    json.dumps(frame, allow_nan=False)
    return all(isinstance(name, str) for name in frame)


# Captures


@pytest.mark.parametrize("driver", sorted(DRIVERS))
def test_any_bytes_can_be_decoded(driver: str) -> None:
    @given(streams(driver))
    def check(capture: bytes) -> None:
        found = decode(driver, capture)
        assert found.bad >= 0
        assert all(map(is_json, found.frames))
        assert len(found.frames) + found.bad <= len(capture) + 1

    check()


NAMES = [
    "driver", "at_s", "gpio", "high", "shunt", "bus", "configuration", "gain", "shunt_ohms",
    "outer_gpio", "inner_gpio", "blocked_level", "present_level", "outer", "inner", "zero_a",
    "dead_band_a", "reversed", "answer", "w1_slave",
]  # fmt: skip
LINES = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(
        st.sampled_from(["beams", "beam", "contact", "ina219", "high", "low"]),
        st.integers(-5, 70_000),
        st.floats(),
        st.booleans(),
        st.none(),
        st.text(max_size=5),
    ),
)


@pytest.mark.parametrize("driver", ["beam", "beams", "contact", "ds18b20", "ina219", "sht4x"])
def test_any_lines_can_be_decoded(driver: str) -> None:
    @given(st.sampled_from(CAPTURES[driver]), st.lists(LINES, max_size=12))
    def check(capture: bytes, more: list[dict[str, Any]]) -> None:
        head = capture.partition(b"\n")[0]
        text = b"\n".join([head, *(json.dumps(line).encode() for line in more)])
        assert all(map(is_json, decode(driver, text).frames))

    check()


# Streams in pieces without end


PARSERS: dict[str, Any] = {
    "vedirect": vedirect_frames.Blocks,
    "pzem004t": pzem004t_frames.Replies,
    "jbd": jbd_frames.Replies,
    "ze07co": ze07co_frames.Frames,
}


def kept(parser: Any) -> int:
    """Return the pickled size of a parser in bytes."""
    return len(pickle.dumps(vars(parser)))


@pytest.mark.parametrize("driver", PARSERS)
def test_a_stream_in_any_pieces_leaves_little_behind(driver: str) -> None:
    @given(st.lists(streams(driver), max_size=6), st.integers(1, 64))
    def check(pieces: list[bytes], size: int) -> None:
        parser = PARSERS[driver]()
        data = b"".join(pieces)
        for at in range(0, len(data), size):
            parser.feed(data[at : at + size])
        assert kept(parser) < MOST_KEPT

    check()


@pytest.mark.parametrize("driver", PARSERS)
def test_the_same_noise_for_ever_does_not_pile_up(driver: str) -> None:
    @given(streams(driver))
    def check(noise: bytes) -> None:
        parser = PARSERS[driver]()
        for _ in range(30):
            parser.feed(noise)
        assert kept(parser) < MOST_KEPT

    check()


@pytest.mark.parametrize("driver", PARSERS)
def test_a_stream_means_the_same_in_any_pieces(driver: str) -> None:
    @given(streams(driver), st.lists(st.integers(1, 200), min_size=1, max_size=5))
    def check(data: bytes, sizes: list[int]) -> None:
        whole, parser = PARSERS[driver](), PARSERS[driver]()
        found, at = [], 0
        while at < len(data):
            size = sizes[at % len(sizes)]
            found += parser.feed(data[at : at + size])
            at += size
        assert found == whole.feed(data)

    check()


# A broker


def packet(first: int, content: bytes) -> bytes:
    return bytes([first, len(content)]) + content


NUMBERS = st.integers(0, 6).map(lambda number: number.to_bytes(2))
#: Acknowledgements of each kind with and without codes, messages, their beginnings, and noise.
SENT = st.one_of(
    st.builds(
        lambda first, number, rest: packet(first, number + rest),
        st.sampled_from([0x40, 0x40, 0x4F, 0x50, 0x62, 0x70, 0x90, 0xB0]),
        NUMBERS,
        st.sampled_from([b"", b"\x00", b"\x10", b"\x87", b"\x00\x00", b"\x00\x01"]),
    ),
    st.builds(
        lambda first, topic: packet(first, len(topic).to_bytes(2) + topic + b"\x00\x01\x00{}"),
        st.sampled_from([0x30, 0x31, 0x32, 0x34, 0x3D]),
        st.sampled_from([b"tents/v1/demo/cmd/report", b"a", b"\xff"]),
    ),
    st.builds(
        lambda first, topic, end: b"%c\xff\xff\x7f\x00\x20%b" % (first, topic[:end]),
        st.sampled_from([0x30, 0x31, 0x40]),
        st.sampled_from([b"tents/v1/demo/cmd/report", b"tents/v1/demo/state", b"\x00" * 20]),
        st.integers(0, 24),
    ),
    st.sampled_from([b"\xd0\x00", b"\xe0\x01\x8b", b"\x20\x03\x00\x00\x00"]),
    st.binary(max_size=40),
)


@given(st.lists(SENT, max_size=6), st.sampled_from(["5", "3.1.1"]), st.integers(1, 60))
def test_whatever_a_broker_sends_only_a_puback_confirms_and_only_a_command_makes_deaf(
    sent: list[bytes], protocol: str, piece: int
) -> None:
    stream = b"".join(sent)
    mailbox = Mailbox()
    ours, brokers = socket.socketpair()
    ours.setblocking(False)
    heard = Acknowledged()
    client = Client(BrokerSettings("127.0.0.1", protocol=protocol), "demo", WILL, heard, window=10)
    try:
        client.log_in(ours)
        brokers.sendall(b"\x20\x03\x00\x00\x00" if protocol == "5" else b"\x20\x02\x00\x00")
        client.serve(mailbox.poll, 1.0)
        client.subscribe("tents/v1/demo/cmd/+")
        numbers = [client.publish("tents/v1/demo/state", b"{}") for _ in range(3)]
        for at in range(0, len(stream), piece):
            if not client.is_open():
                break
            brokers.sendall(stream[at : at + piece])
            while client.is_open() and select.select([ours], [], [], 0.0)[0]:
                client.serve(mailbox.poll, 0.0)
    except Flooded:
        assert b"tents/v1/demo/cmd/" in stream
    except Ended as ended:
        assert str(ended)
    finally:
        client.close()
        brokers.close()
        mailbox.close()
    assert heard.is_welcome
    pubacks = [p[2:4] for p in packets(stream)[0] if p[0] == 0x40]
    for number in heard.confirmed:
        assert number in numbers
        assert number.to_bytes(2) in pubacks


class Acknowledged(Heard):
    """Hears which messages are confirmed."""

    def __init__(self) -> None:
        super().__init__()
        self.confirmed: list[int] = []

    def acknowledged(self, number: int, reason: Reason | None) -> None:
        if reason is None:
            self.confirmed.append(number)


# Text from outside


@given(st.one_of(st.binary(max_size=600), st.text(max_size=200).map(str.encode)), st.booleans())
def test_any_payload_is_a_command_or_a_refusal(payload: bytes, retained: bool) -> None:
    now = Unit(config()).now()
    for name in (*COMMANDS, "nonsense"):
        try:
            commands.from_broker(name, payload, REMOTE_CHECKS, config(), retained=retained, now=now)
        except commands.Refused as refusal:
            assert str(refusal)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["cid", "expires", "people", "seconds", "sensor"]), JSON))
def test_any_object_is_a_command_or_a_refusal(message: dict[str, Any]) -> None:
    now = Unit(config()).now()
    message.setdefault("cid", "a1")
    message.setdefault("expires", (NOON.replace(year=2027)).isoformat())
    for name in COMMANDS:
        try:
            taken = commands.from_broker(
                name,
                json.dumps(message).encode(),
                REMOTE_CHECKS,
                config(),
                retained=False,
                now=now,
            )
        except commands.Refused as refusal:
            assert str(refusal)
        else:
            json.loads(messages.answer(taken.cid, taken.name))


WORDS = st.sampled_from(
    """[tent]
    [broker]
    [generator]
    [battery]
    [door]
    [sensors.door]
    [sensors.mains]
    driver = "beams"
    driver = "jbd"
    id = "t"
    seats = 5
    host = "b"
    gpio = 4
    capacity_ah = 1e999
    sag_hz = nan
    rated_w = -0.0
    auto_zero_at = "99:99"
    x = [1""".splitlines()
)


@given(st.one_of(st.text(max_size=300), st.lists(WORDS, max_size=12).map("\n".join)))
def test_any_text_is_a_configuration_or_its_faults(text: str) -> None:
    try:
        parse(text)
    except ConfigError as error:
        assert error.faults
        assert all(key and fix for key, fix in error.faults)


@given(st.data())
def test_any_saved_totals_can_be_begun_with(data: st.DataObject) -> None:
    saved = Totals().as_dict()
    saved["charge"] = dict.fromkeys(Charge.__slots__, 0.5)
    for part in (saved, saved["occupancy"], saved["day"], saved["charge"]):
        for key in data.draw(st.lists(st.sampled_from(sorted(part)), max_size=4)):
            part[key] = data.draw(JSON)
    unit = Unit(config(rules='[battery]\ncapacity_ah = 100\nchemistry = "lead_acid"'), saved)
    for current_a in (-5.0, None, 5.0):
        unit.wait(2, battery={"current_a": current_a, "voltage_v": 12.5}, door={"entered": 1})
    totals = unit.tent.totals.as_dict()
    assert not math.isnan(totals["generator_s"])
    json.dumps(totals, allow_nan=False)
    json.dumps(unit.tent.snapshot(), allow_nan=False)
