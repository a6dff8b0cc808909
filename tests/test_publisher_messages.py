"""Messages in the contract's format."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from publisher import messages
from publisher.clock import Now
from publisher.commands import EXPIRED, Refused
from publisher.config.load import parse
from publisher.messages import Topics
from publisher.rules.happening import Happening
from publisher.rules.tent import Tent
from publisher.store.rows import STAMP_BYTES
from tests import contract

CONFIG = parse("""\
[tent]
id = "UA-32-0417"
seats = 60
name = "Буча, «спортзал»"
latitude = 50.5469
longitude = 30.212
region = "UA-32"

[broker]
host = "b"

[sensors.door]
driver = "beams"
outer_gpio = 5
inner_gpio = 6

[sensors.mains]
driver = "contact"
gpio = 17
""")
WALL = datetime(2026, 11, 22, 18, 4, 10, 120_499, tzinfo=UTC)
SYNCED = Now(8000.0, 8123.4567, WALL, synced=True)
ESTIMATED = Now(8000.0, 8123.0, WALL, synced=False)
UNKNOWN = Now(8000.0, 8123.0, None, synced=False)
TOPICS = Topics("tents/v1", "UA-32-0417")
BUFFER = {"rows": 3, "oldest_s": 40, "dropped": 1}


def checked(what: str, text: str) -> dict[str, Any]:
    assert "\n" not in text
    return contract.check(TOPICS.of(what), text)


def state(now: Now, seq: int = 1893) -> str:
    return messages.state(CONFIG, 412, seq, now, Tent(CONFIG, now).snapshot(), BUFFER)


def test_topics() -> None:
    assert TOPICS.of("state") == "tents/v1/UA-32-0417/state"
    assert TOPICS.of("res/a1") == "tents/v1/UA-32-0417/res/a1"


def test_the_birth() -> None:
    assert checked("link", messages.link(True, 412, 7, SYNCED)) == {
        "v": 1,
        "online": True,
        "boot": 412,
        "conn": 7,
        "ts": "2026-11-22T18:04:10.120Z",
        "clock": "synced",
    }


def test_the_will_has_no_time() -> None:
    will = checked("link", messages.link(False, 412, 7, None))
    assert will == {"v": 1, "online": False, "boot": 412, "conn": 7}


def test_who_knows_the_unit_names_it_and_who_does_not_leaves_it_out() -> None:
    will = checked("link", messages.link(False, 412, 7, None, serial="7c1e5a90"))
    assert will == {"v": 1, "serial": "7c1e5a90", "online": False, "boot": 412, "conn": 7}
    blocks = Tent(CONFIG, SYNCED).snapshot()
    text = messages.state(CONFIG, 412, 1, SYNCED, blocks, BUFFER, serial="7c1e5a90")
    assert list(checked("state", text))[:4] == ["v", "id", "serial", "boot"]
    happening = Happening("door_cleared", {})
    text = messages.event("UA-32-0417", 412, 1, SYNCED, happening, serial="7c1e5a90")
    assert checked("event", text)["serial"] == "7c1e5a90"


def test_about() -> None:
    assert checked("about", messages.about(CONFIG, "1.0.0")) == {
        "v": 1,
        "id": "UA-32-0417",
        "name": "Буча, «спортзал»",
        "seats": 60,
        "latitude": 50.5469,
        "longitude": 30.212,
        "region": "UA-32",
        "timezone": "Europe/Kyiv",
        "software": "1.0.0",
        "config": CONFIG.digest,
        "ttl_s": 180,
        "simulated": False,
        "sensors": [
            {"name": "door", "driver": "beams"},
            {"name": "mains", "driver": "contact"},
        ],
    }


def test_a_state_begins_with_who_and_when_and_ends_with_the_buffer() -> None:
    message = checked("state", state(SYNCED))
    assert list(message)[:8] == ["v", "id", "boot", "seq", "ts", "clock", "uptime_s", "ttl_s"]
    assert (message["id"], message["boot"], message["seq"]) == ("UA-32-0417", 412, 1893)
    assert message["ts"] == "2026-11-22T18:04:10.120Z"
    assert message["uptime_s"] == 8123.457
    assert message["buffer"] == BUFFER
    assert set(message) >= {"capacity", "power", "alerts"}


def test_times_that_are_not_sure_say_so() -> None:
    message = checked("state", state(ESTIMATED))
    assert (message["ts"], message["ts_estimated"]) == ("2026-11-22T18:04:10.120Z", True)
    assert message["clock"] == "unsynced"
    message = checked("state", state(UNKNOWN))
    assert (message["ts"], message["clock"]) == (None, "unsynced")
    assert "ts_estimated" not in message
    assert "ts_estimated" not in checked("state", state(SYNCED))


def test_an_event() -> None:
    happening = Happening("mains_lost", {"source": "generator"})
    message = checked("event", messages.event("UA-32-0417", 412, 1894, SYNCED, happening))
    assert message == {
        "v": 1,
        "id": "UA-32-0417",
        "boot": 412,
        "seq": 1894,
        "ts": "2026-11-22T18:04:10.120Z",
        "clock": "synced",
        "uptime_s": 8123.457,
        "event": "mains_lost",
        "detail": {"source": "generator"},
    }


def test_answers() -> None:
    good = checked("res/a1", messages.answer("a1", "headcount", people=43))
    assert good == {"v": 1, "cid": "a1", "command": "headcount", "ok": True, "people": 43}
    bad = checked("res/a1", messages.refusal("a1", "headcount", Refused(EXPIRED)))
    assert bad == {
        "v": 1, "cid": "a1", "command": "headcount", "ok": False, "error": "expired",
        "code": "command.expired",
    }  # fmt: skip


def test_text_is_compact_and_as_people_write_it() -> None:
    assert messages.encode({"a": [1, "Київ"], "b": None}) == '{"a":[1,"Київ"],"b":null}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_does_not_know_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        messages.encode({"deep": [{"down": value}]})


# Late records


def test_a_history_holds_its_records_as_they_are() -> None:
    happening = Happening("door_obstructed", {})
    event = messages.event("UA-32-0417", 412, 2, SYNCED, happening)
    records = [state(SYNCED, 1), event, state(UNKNOWN, 3)]
    message = checked("history", messages.history("UA-32-0417", records))
    assert (message["v"], message["id"]) == (1, "UA-32-0417")
    assert message["records"] == [json.loads(record) for record in records]


def test_a_history_adds_little_to_its_records() -> None:
    """The link reserves enough space for it, even for the longest id."""
    assert len(messages.history("i" * 64, []).encode()) <= 200
    assert len(messages.history("t", ["{}"] * 50)) == len(messages.history("t", [])) + 50 * 3 - 1


def test_a_record_is_stamped_with_the_time_that_it_is_now_known_to_have_had() -> None:
    at, began = "2026-11-22T17:00:00.000Z", datetime(2026, 11, 22, 14, 44, 37, tzinfo=UTC)
    for now in (UNKNOWN, ESTIMATED):
        body = state(now)  # of uptime 2:15:23
        before = json.loads(body)
        after = checked("state", messages.stamped(body, began))
        assert (after["ts"], after["clock"]) == (at, "synced")
        kept = [key for key in before if key not in ("ts", "clock", "ts_estimated")]
        assert [key for key in after if key not in ("ts", "clock")] == kept
        assert all(after[key] == before[key] for key in kept)
        grown = len(messages.stamped(body, began).encode()) - len(body.encode())
        assert grown <= STAMP_BYTES, "the store allows for no more"


def test_times_are_written_in_utc_with_milliseconds_whatever_zone_they_come_in() -> None:
    kyiv = timezone(timedelta(hours=2))
    now = Now(1.0, 1.0, datetime(2026, 11, 22, 20, 4, 10, tzinfo=kyiv), synced=True)
    assert json.loads(messages.link(True, 1, 1, now))["ts"] == "2026-11-22T18:04:10.000Z"
