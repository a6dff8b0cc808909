"""The command `resend`: a recorder that was away gets what the broker could not hold for it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from publisher.clock import boot_id
from publisher.store.store import Store
from tests import contract
from tests.conftest import (
    Broker,
    Subscriber,
    Unit,
    backlog_event,
    command,
    fill,
    is_connected,
    wait_for,
)
from tests.test_publisher_store import connection

HELD = 20  # messages that the small broker holds for a client that is away


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(
        tmp_path_factory.mktemp("small"), f"allow_anonymous true\nmax_queued_messages {HELD}"
    )
    yield broker.start()
    broker.stop()


class Recorder:
    """A recorder with a session that the broker keeps while it is away."""

    def __init__(self, port: int) -> None:
        self.records: list[dict[str, Any]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.previous: Any = None
        self.late = 0  # records that came as history
        self._client = Client(CallbackAPIVersion.VERSION2, "recorder", protocol=MQTTv5)
        self._client.on_message = self._take
        self._is_subscribed = False
        self._client.on_subscribe = self._note
        session: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 604800
        self._client.connect("127.0.0.1", port, clean_start=False, properties=session)
        self._client.loop_start()
        topics = ("state", "event", "history", "about", "res/+")
        self._client.subscribe([(f"tents/v1/demo/{topic}", 1) for topic in topics])
        wait_for(lambda: self._is_subscribed, "the subscription")

    def _note(self, *_: Any) -> None:
        self._is_subscribed = True

    def _take(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        content = contract.check(message.topic, bytes(message.payload))
        kind = contract.kind_of(message.topic)
        if kind == "about":
            self.previous = content.get("unit", {}).get("previous")
        elif kind in ("state", "event") and not message.retain:
            self.records.append(content)
        elif kind == "history":
            self.records += content["records"]
            self.late += len(content["records"])
        elif kind not in ("state", "event"):
            self.answers[content["cid"]] = content

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return [(record["boot"], record["seq"]) for record in self.records]

    def gaps(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Return ranges that are missing between the first and the last record seen."""
        seen = sorted(set(self.pairs))
        return [
            ((a[0], a[1] + 1), (b[0], b[1] - 1))
            for a, b in pairwise(seen)
            if a[0] == b[0] and b[1] > a[1] + 1
        ]

    def wait_for_range(self, first: tuple[int, int], last: tuple[int, int]) -> None:
        wanted = {(first[0], seq) for seq in range(first[1], last[1] + 1)}
        wait_for(lambda: wanted <= set(self.pairs), "the records")

    def ask(
        self, cid: str, first: tuple[int, int], last: tuple[int, int], minutes: float = 5
    ) -> dict[str, Any]:
        pairs: Any = {k: {"boot": p[0], "seq": p[1]} for k, p in (("from", first), ("to", last))}
        topic, payload = command("resend", cid, minutes, **pairs)
        self._client.publish(topic, payload, qos=1)
        wait_for(lambda: cid in self.answers, "the answer")
        return self.answers[cid]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def of_kind(unit: Unit, *kinds: str) -> list[dict[str, Any]]:
    return [json.loads(p) for topic, p in unit.sent if contract.kind_of(topic) in kinds]


def test_a_recorder_that_was_away_gets_every_record_once(
    make_unit: Callable[..., Unit], small: Broker
) -> None:
    recorder = Recorder(small.port)
    unit = make_unit(small.port, speed=20.0).reporting(interval_s=1.0, ttl_s=10).start()
    wait_for(lambda: len(recorder.records) > 5, "records")
    recorder.close()
    wait_for(lambda: len(of_kind(unit, "state", "event")) > 8 * HELD, "records meanwhile")
    before = recorder.records
    recorder = Recorder(small.port)
    recorder.records = before + recorder.records
    wait_for(lambda: bool(recorder.gaps()), "live records behind those that were held")
    cids = (f"a{number}" for number in count())
    while True:
        # A broker this small also drops live records where this machine is slow: they make new gaps.
        last = max(recorder.pairs)
        gaps = [gap for gap in recorder.gaps() if gap[1] < last]
        if not gaps:
            break
        answer = recorder.ask(next(cids), *gaps[0])
        if answer.get("code") == "command.resending":  # its last PUBACK is still on the way
            continue
        assert (answer["ok"], answer["missing"]) == (True, [])
        assert answer["sent"] == gaps[0][1][1] - gaps[0][0][1] + 1
        recorder.wait_for_range(*gaps[0])
    unit.stop()
    boot = recorder.pairs[0][0]
    late = [record for message in of_kind(unit, "history") for record in message["records"]]
    made = {(r["boot"], r["seq"]) for r in [*of_kind(unit, "state", "event"), *late]}
    assert made == {(boot, seq + 1) for seq in range(len(made))}
    recorder.close()
    times = Counter(recorder.pairs)
    assert {pair: times[pair] for pair in made if pair <= last} == {
        pair: 1 for pair in made if pair <= last
    }
    assert recorder.late >= 6 * HELD


def keep(unit: Unit, records: int) -> int:
    """Put records into a unit's store that the broker has already; return their boot."""
    store = Store(unit.state_dir, 100_000, 1 << 30)
    now = unit.clock.now()
    store.open(boot_id(), now)
    rows = store.append(
        lambda boot, seq: [("event", backlog_event(boot, seq + i)) for i in range(records)], {}, now
    )
    store.confirm(row.id for row in rows)
    store.close(now, {})
    return store.boot


def test_it_goes_on_after_a_reconnect_behind_what_is_live_and_only_one_at_a_time(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, history_kib_per_s=16)
    boot = keep(unit, 800)
    unit.start()
    wait_for(lambda: is_connected(unit), "the connection")
    recorder = Recorder(broker.port)
    answer = recorder.ask("a1", (boot, 1), (boot, 800))
    assert (answer["ok"], answer["sent"], answer["missing"]) == (True, 800, [])
    other = recorder.ask("a2", (boot, 1), (boot, 2))
    assert (other["ok"], other["code"]) == (False, "command.resending")
    again = recorder.ask("a1", (boot, 1), (boot, 800))
    assert again["ok"], "the same command is answered and not carried out again"
    wait_for(lambda: recorder.late > 50, "the first of them")
    states = len(of_kind(unit, "state"))
    subscriber.send(*command("report", "r1"))
    wait_for(lambda: len(of_kind(unit, "state")) > states, "a live state meanwhile")
    assert recorder.late < 800, "what is live does not wait behind it"
    recorder.close()
    broker.stop()
    broker.start()
    recorder = Recorder(broker.port)
    wait_for(lambda: is_connected(unit), "the connection")

    def seqs() -> list[int]:
        late = [r for message in of_kind(unit, "history") for r in message["records"]]
        return [r["seq"] for r in late if r["boot"] == boot and r["seq"] <= 800]

    wait_for(lambda: set(seqs()) == set(range(1, 801)), "all of them")
    assert seqs() == sorted(seqs())
    assert unit.status()["buffer"]["rows"] <= 2
    assert unit.status()["buffer"]["dropped"] == 0
    recorder.close()
    subscriber.check()


def late_seqs(unit: Unit, boot: int) -> list[int]:
    """Return the numbers of all records of a boot that the broker has got as history, in order."""
    late = [r for message in of_kind(unit, "history") for r in message["records"]]
    return [r["seq"] for r in late if r["boot"] == boot]


def test_what_waits_for_the_broker_goes_first(
    make_unit: Callable[..., Unit], broker: Broker
) -> None:
    unit = make_unit(broker.port, history_kib_per_s=32)
    boot = keep(unit, 50)
    fill(unit, 300)
    recorder = Recorder(broker.port)
    unit.start()
    wait_for(lambda: is_connected(unit), "the connection")
    answer = recorder.ask("a1", (boot, 1), (boot, 350))
    assert answer["missing"] == []
    assert 50 <= answer["sent"] < 350, "what the broker has by now, and not what waits"
    recorder.wait_for_range((boot, 1), (boot, 350))
    wait_for(lambda: len(late_seqs(unit, boot)) >= 300 + answer["sent"], "all of them")
    seqs = [seq for seq in late_seqs(unit, boot) if seq <= 350]
    assert seqs[:300] == [*range(51, 351)]
    assert seqs[300:] == [*range(1, answer["sent"] + 1)]
    recorder.close()


def test_what_a_restart_has_cut_off_is_asked_for_again(
    make_unit: Callable[..., Unit], broker: Broker
) -> None:
    unit = make_unit(broker.port, history_kib_per_s=16)
    boot = keep(unit, 600)
    recorder = Recorder(broker.port)
    unit.start()
    wait_for(lambda: is_connected(unit), "the connection")
    assert recorder.ask("a1", (boot, 1), (boot, 600))["sent"] == 600
    wait_for(lambda: recorder.late > 50, "the first of them")
    unit.stop()
    got = max(seq for b, seq in recorder.pairs if b == boot and seq <= 600)
    assert got < 600
    unit.start()
    wait_for(lambda: is_connected(unit), "the connection")
    answer = recorder.ask("a2", (boot, got + 1), (boot, 600))
    assert (answer["sent"], answer["missing"]) == (600 - got, [])
    recorder.wait_for_range((boot, 1), (boot, 600))
    recorder.close()


def test_a_flood_of_wide_ranges_stops_nothing(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port)
    boot = keep(unit, 200)
    recorder = Recorder(broker.port)
    unit.start()
    wait_for(lambda: is_connected(unit), "the connection")
    ends: Any = {"from": {"boot": 1, "seq": 1}, "to": {"boot": 2**53 - 1, "seq": 2**53 - 1}}
    for number in range(1000):
        subscriber.send(*command("resend", f"f{number}", **ends))
    unit.hardware.set_mains(False)
    subscriber.next("event", lambda m: m["event"] == "mains_lost")
    wait_for(lambda: {*range(1, 201)} <= {*late_seqs(unit, boot)}, "the records")
    assert is_connected(unit)
    assert unit.status()["link"]["sessions"] == 1
    answers = [a for cid, a in recorder.answers.items() if cid.startswith("f")]
    assert {a.get("code") for a in answers if not a["ok"]} <= {
        "command.resending",
        "command.too_many",
    }
    assert 0 < len([a for a in answers if a["ok"]]) < 100
    recorder.close()


def test_while_the_store_is_out_of_reach_it_is_refused(
    make_unit: Callable[..., Unit], broker: Broker
) -> None:
    unit = make_unit(broker.port)
    boot = keep(unit, 10)
    recorder = Recorder(broker.port)
    unit.start()
    wait_for(lambda: is_connected(unit), "the connection")
    assert unit.agent is not None
    connection(unit.agent._store).execute("PRAGMA max_page_count = 1")  # as on a full disk
    unit.hardware.set_mains(False)
    wait_for(lambda: any(r.get("event") == "mains_lost" for r in recorder.records), "the event")
    answer = recorder.ask("a1", (boot, 1), (boot, 10))
    assert not answer["ok"]
    assert answer["code"].startswith("store.")
    recorder.close()


def test_what_a_unit_does_not_have_is_said(
    make_unit: Callable[..., Unit], broker: Broker, tmp_path: Path
) -> None:
    unit = make_unit(broker.port)
    boot = keep(unit, 10)
    unit.start()
    wait_for(lambda: is_connected(unit), "the connection")
    recorder = Recorder(broker.port)
    answer = recorder.ask("a1", (boot - 5, 7), (boot, 3))
    assert answer["missing"] == [{"boot": boot - 5, "from": 7, "to": None}]
    assert (answer["sent"], answer["until"]) == (3, {"boot": boot, "seq": 3})
    refused = recorder.ask("a2", (boot, 3), (boot, 2))
    assert (refused["ok"], refused["code"]) == (False, "command.no_range")
    recorder.close()


def test_the_end_of_a_boot_is_seen_in_about(
    make_unit: Callable[..., Unit], broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = make_unit(broker.port)
    with monkeypatch.context() as earlier:
        earlier.setattr("tests.test_publisher_resend.boot_id", lambda: "the boot before")
        boot = keep(unit, 10)
    recorder = Recorder(broker.port)
    unit.start()
    wait_for(lambda: recorder.previous is not None, "the boot before")
    assert recorder.previous == {"boot": boot, "seq": 10}
    answer = recorder.ask("a1", (boot, 4), (boot, 10))
    assert (answer["sent"], answer["missing"]) == (7, [])
    wait_for(lambda: (boot, 10) in recorder.pairs, "the records")
    assert [pair for pair in recorder.pairs if pair[0] == boot] == [
        (boot, seq) for seq in range(4, 11)
    ]
    recorder.close()
