"""Commands: which are carried out, which are refused, and where the answer goes."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from publisher.clock import Now
from publisher.commanding import CHECKS, REMOTE_CHECKS
from publisher.commands import (
    CLOCK_NOT_SET,
    EXPIRED,
    MAX_BYTES,
    NO_CID,
    NO_EXPIRY,
    NO_NAME,
    NOT_YES_OR_NO,
    READABLE_BYTES,
    RETAINED,
    TOO_LARGE,
    UNKNOWN,
    Command,
    Refused,
    from_broker,
    from_unit,
)  # fmt: skip
from publisher.config.load import parse

WALL = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
NOW = Now(100.0, 100.0, WALL, synced=True)
CONFIG = parse('[tent]\nid = "t"\nseats = 60\n[broker]\nhost = "b"\n')
GOOD = {"cid": "a1", "expires": "2026-11-22T18:10:00Z"}


def take(name: str, payload: bytes, *, retained: bool = False, now: Now = NOW) -> Command:
    return from_broker(name, payload, REMOTE_CHECKS, CONFIG, retained=retained, now=now)


def send(name: str, *, now: Now = NOW, retained: bool = False, **content: Any) -> Command:
    return take(name, json.dumps(GOOD | content).encode(), retained=retained, now=now)


def refusal(name: str = "report", payload: bytes | None = None, **how: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        if payload is None:
            send(name, **how)
        else:
            take(name, payload, **how)
    assert 0 < len(str(caught.value)) < 200
    return caught.value


# Accepted commands


def test_each_command_is_taken_with_its_argument() -> None:
    assert send("headcount", people=43) == Command("headcount", "a1", (43, "person"))
    named = send("headcount", people=43, by=" Olena ")
    assert named == Command("headcount", "a1", (43, "Olena"))
    assert send("open", open=True) == Command("open", "a1", (True, "person"))
    assert send("open", open=False, by="Olena") == Command("open", "a1", (False, "Olena"))
    assert send("identify", seconds=30) == Command("identify", "a1", 30)
    assert send("report") == Command("report", "a1")
    assert send("serviced") == Command("serviced", "a1")
    assert send("zero", sensor="generator") == Command("zero", "a1", "generator")


@pytest.mark.parametrize("sensor", [None, 1, "", "Generator", "a b", "x" * 41, "../x", ["battery"]])
def test_a_zero_of_what_can_be_no_sensor_is_refused(sensor: Any) -> None:
    assert refusal("zero", sensor=sensor).cid == "a1"


def test_keys_that_nobody_knows_are_passed_over() -> None:
    assert send("report", reason="curious") == Command("report", "a1")


@pytest.mark.parametrize("people", [0, 1, 600])
def test_people_up_to_ten_times_the_seats(people: int) -> None:
    assert send("headcount", people=people).argument[0] == people


@pytest.mark.parametrize("people", [-1, 601, 43.0, "43", None, True, False, [43], {}, 10**100])
def test_people_out_of_bounds_or_of_another_kind_are_refused(people: Any) -> None:
    refused = refusal("headcount", people=people)
    assert refused.cid == "a1"
    assert refused.values == {"key": "people", "low": 0, "high": 600}


@pytest.mark.parametrize("is_open", [None, 0, 1, "true", [], {}])
def test_a_tent_is_open_or_it_is_not(is_open: Any) -> None:
    refused = refusal("open", open=is_open)
    assert (refused.cid, refused.kind, refused.values) == ("a1", NOT_YES_OR_NO, {"key": "open"})


@pytest.mark.parametrize(
    "by", [None, 7, True, [], "x" * 41, "a\nb", "\x1b[2J", "a\u202eb", "\ud800"]
)
def test_a_name_that_nobody_can_have_is_refused(by: Any) -> None:
    for name, argument in (("headcount", {"people": 1}), ("open", {"open": True})):
        assert refusal(name, **argument, by=by).kind == NO_NAME


@pytest.mark.parametrize("seconds", [0, 601, True, "5", None])
def test_seconds_out_of_bounds_or_of_another_kind_are_refused(seconds: Any) -> None:
    values = refusal("identify", seconds=seconds).values
    assert values == {"key": "seconds", "low": 1, "high": 600}


def test_an_argument_that_is_missing_is_refused() -> None:
    assert refusal("headcount").cid == "a1"


@pytest.mark.parametrize(
    "name", ["", "restart", "Headcount", "x" * 10_000, "\ud800", "head\0count"]
)
def test_a_command_that_nobody_knows_is_refused(name: str) -> None:
    refused = refusal(name)
    assert refused.cid == "a1"
    assert refused.kind == UNKNOWN
    assert (
        refused.values["known"]
        == "headcount, open, report, identify, zero, serviced, resend, refuelled"
    )
    str(refused).encode()


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - REMOTE_CHECKS.keys()))
def test_what_only_the_unit_itself_may_ask_is_unknown_to_the_broker(name: str) -> None:
    asked: dict[str, Any] = {"since": "", "after": 0, "until": None}
    assert from_unit({"command": name, **asked}, CHECKS, CONFIG).name == name
    assert refusal(name, **asked).kind == UNKNOWN


# Where the answer goes


def test_a_retained_command_is_refused_and_answered() -> None:
    refused = refusal("headcount", people=4, retained=True)
    assert refused.cid == "a1"
    assert refused.kind == RETAINED


@pytest.mark.parametrize("cid", ["a", "x" * 64, "a b", "a.b-c_d:e", "Київ", "$x", "0"])
def test_a_cid_is_one_level_of_a_topic(cid: str) -> None:
    assert send("report", cid=cid).cid == cid


@pytest.mark.parametrize(
    "cid",
    ["", "x" * 65, "a/b", "+", "#", "a\0", "a\n", "\ud800", "\u200b", 5, None, True, ["a"], {}],
)
def test_without_a_proper_cid_there_is_nobody_to_answer(cid: Any) -> None:
    refused = refusal("report", cid=cid)
    assert refused.cid is None
    assert refused.kind == NO_CID


# Bytes


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"null",
        b"5",
        b'"report"',
        b"[]",
        b"\xff\xfe",
        b"\x80abc",
        b'{"cid": "a1", "expires": "2026-11-22T18:10:00Z"',
        b"[" * MAX_BYTES,
        b"[" * READABLE_BYTES,
        b'{"a":' * (MAX_BYTES // 5),
        b'{"cid":"a1","x":' + b"9" * (MAX_BYTES - 20) + b"}",
    ],
)
def test_what_is_no_json_object_is_refused_without_an_answer(payload: bytes) -> None:
    if payload.startswith(b'{"cid":"a1","x":9'):
        assert refusal("report", payload).cid == "a1"
    else:
        assert refusal("report", payload).cid is None


def padded(size: int) -> bytes:
    text = json.dumps(GOOD)
    return (text[:-1] + " " * (size - len(text)) + "}").encode()


def test_a_payload_is_taken_up_to_4_kib_and_refused_beyond() -> None:
    assert take("report", padded(MAX_BYTES)) == Command("report", "a1")
    for size in (MAX_BYTES + 1, READABLE_BYTES):
        refused = refusal("report", padded(size))
        assert (refused.cid, refused.kind) == ("a1", TOO_LARGE)


def test_a_payload_that_nobody_should_read_is_refused_unread() -> None:
    assert refusal("report", padded(READABLE_BYTES + 1)).cid is None


# Time


@pytest.mark.parametrize(
    "expires",
    [
        "2026-11-22T18:00:00.001Z",
        "2026-11-22T18:00:01+00:00",
        "2026-11-22T20:00:01+02:00",
        "2026-11-22T13:30:01-04:30",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_a_command_that_has_not_expired(expires: str) -> None:
    assert send("report", expires=expires).name == "report"


@pytest.mark.parametrize(
    "expires",
    [
        "2026-11-22T18:00:00Z",
        "2026-11-22T17:59:59.999Z",
        "2026-11-22T19:59:59+02:00",
        "2026-11-22T18:10:00+02:00",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_a_command_that_has_expired(expires: str) -> None:
    refused = refusal("headcount", people=4, expires=expires)
    assert (refused.cid, refused.kind) == ("a1", EXPIRED)


@pytest.mark.parametrize(
    "expires",
    [
        None, "", "soon", "2026-11-22T18:10:00", "2026-11-22", "2026-13-22T18:10:00Z", "18:10:00Z",
        "2026-11-22T18:10:00+99:00", "2026-11-22T18:10:00\ud800Z", 1795371000, True, [], {}, "9" * 3000,
    ],
)  # fmt: skip
def test_an_expiry_that_is_no_time_is_refused(expires: Any) -> None:
    refused = refusal("headcount", people=4, expires=expires)
    assert refused.cid == "a1"
    assert refused.kind == NO_EXPIRY


def test_an_expiry_that_is_missing_is_refused() -> None:
    assert refusal("report", b'{"cid": "a1"}').kind == NO_EXPIRY


def test_before_the_time_of_day_is_known_nothing_is_carried_out() -> None:
    refused = refusal("report", now=Now(1.0, 1.0, None, synced=False))
    assert (refused.cid, refused.kind) == ("a1", CLOCK_NOT_SET)


def test_an_estimated_time_of_day_judges_expiry_as_well_as_it_can() -> None:
    estimate = Now(1.0, 1.0, WALL, synced=False)
    assert send("report", now=estimate).name == "report"
    late = Now(1.0, 1.0, WALL + timedelta(hours=1), synced=False)
    assert refusal("report", now=late).kind == EXPIRED


# Random input


def test_whatever_bytes_come_they_are_carried_out_or_refused() -> None:
    chance = random.Random(4)
    good = json.dumps(GOOD | {"people": 43, "seconds": 5}).encode()
    names = ("headcount", "identify", "report", "zero", "")
    taken = 0
    for _ in range(5000):
        if chance.random() < 0.3:
            payload = chance.randbytes(chance.randrange(200))
        else:
            damaged = bytearray(good)
            for _ in range(chance.randrange(3)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            payload = bytes(damaged)
        try:
            command = take(chance.choice(names), payload)
        except Refused as refused:
            str(refused).encode()
        else:
            taken += 1
            assert command.name in names[:3]
            assert (command.argument is None) == (command.name == "report")
    assert taken > 100


# From the unit itself


def test_a_command_from_the_unit_needs_neither_cid_nor_expiry() -> None:
    command = from_unit({"command": "headcount", "people": 7}, CHECKS, CONFIG)
    assert command == Command("headcount", "", (7, "person"))


@pytest.mark.parametrize(
    "message", [None, 5, "report", [], {}, {"command": 5}, {"command": "headcount", "people": True}]
)
def test_a_request_from_the_unit_that_is_no_command_is_refused(message: object) -> None:
    with pytest.raises(Refused):
        from_unit(message, CHECKS, CONFIG)
