"""Faults of a link: refusals, twins, narrow wires, dead threads."""

import contextlib
import ctypes
import json
import math
import random
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from publisher import agent as agent_module
from publisher.link import link, requests, session, sizes
from publisher.store.file import FILE
from publisher.store.rows import Row
from publisher.store.store import Store
from tests.conftest import (
    Broker,
    Subscriber,
    Unit,
    assert_gapless,
    backlog_event,
    command,
    fill,
    is_connected,
    recorded,
    trouble_of,
    values_of,
    wait_for,
)
from tests.wires import Wire, refusing

RETAINED = ("link", "about", "state", "days")


@pytest.fixture
def wire(broker: Broker) -> Iterator[Wire]:
    with Wire(broker.port) as wire:
        yield wire


@pytest.fixture
def make_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Broker]]:
    """Makes brokers with settings of their own."""
    brokers: list[Broker] = []

    def make(settings: str) -> Broker:
        directory = tmp_path_factory.mktemp("own")
        # With 0 (no limit) mosquitto 2.0.11 disconnects after each message that it refuses.
        own = f"max_queued_messages 100000\nallow_anonymous true\n{settings}"
        brokers.append(Broker(directory, own))
        return brokers[-1].start()

    yield make
    for broker in brokers:
        broker.stop()


def rows(unit: Unit) -> int:
    return int(unit.status()["buffer"]["rows"])


def history(subscriber: Subscriber) -> list[dict[str, Any]]:
    return [
        record
        for message in subscriber.received()
        if message.topic.endswith("/history")
        for record in message.content["records"]
    ]


def in_history(subscriber: Subscriber) -> list[int]:
    return [record["seq"] for record in history(subscriber)]


def assert_drained_in_order(unit: Unit, subscriber: Subscriber) -> None:
    wait_for(lambda: rows(unit) == 0, "the backlog to drain")
    unit.stop()
    subscriber.next("link", lambda m: not m["online"])
    assert_gapless(subscriber.records())
    order = [*dict.fromkeys(in_history(subscriber))]
    assert order == sorted(order)


def link_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name in ("link", "lookup")]


# Twins


def test_a_twin_is_named_by_what_the_broker_says(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber
) -> None:
    unit = make_unit(wire.port).start()
    subscriber.next("state")
    wire.inject(b"\xe0\x01\x8e")  # DISCONNECT, session taken over
    wait_for(lambda: trouble_of(unit) == "link.taken_over", "the twin to be named")
    assert values_of(unit) == {"where": f"127.0.0.1:{wire.port}", "id": "demo"}
    wait_for(lambda: is_connected(unit), "the unit to have its turn again")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_twin_is_guessed_where_the_broker_only_hangs_up(
    make_unit: Callable[..., Unit], broker: Broker, wire: Wire, protocol: str
) -> None:
    """Newer ones say that the session was taken over: the wire keeps that to itself."""
    wire.edit = lambda from_unit, packet: b"" if not from_unit and packet[0] == 0xE0 else packet
    unit = make_unit(wire.port, protocol=protocol).start()

    def is_guessed() -> bool:
        if is_connected(unit):
            twin = Client(CallbackAPIVersion.VERSION2, "demo", reconnect_on_failure=False)
            twin.connect("127.0.0.1", broker.port)
            twin.loop()
            twin.disconnect()
        return trouble_of(unit) == "link.lost_again"

    wait_for(is_guessed, "the guess")
    wait_for(lambda: is_connected(unit), "the unit to have its turn again")


# Order


def test_history_waits_for_older_records_that_are_on_their_way_live(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber
) -> None:
    """If the connection ended first, the older ones would follow as history, behind the newer ones."""
    holding, held = threading.Event(), list[bytes]()

    def hold_pubacks(from_unit: bool, packet: bytes) -> bytes:
        if from_unit or packet[0] != 0x40 or not holding.is_set():
            return packet
        held.append(packet)
        return b""

    wire.edit = hold_pubacks
    unit = make_unit(wire.port).reporting(interval_s=3600.0)
    unit.start()
    wait_for(lambda: is_connected(unit) and rows(unit) == 0, "the first records to be confirmed")
    holding.set()

    def report() -> None:
        assert unit.agent is not None
        assert unit.agent._ask({"command": "report"})["ok"]

    while len(held) < session.WINDOW:
        report()
        wait_for(
            lambda: unit.status()["link"]["queued"] == 0 or len(held) == session.WINDOW, "room"
        )
    for _ in range(4):
        report()  # of those that wait for the window, all but the newest become history
    newest = max(record["seq"] for record in subscriber.records())
    wire.inject(b"".join(held[1:]))
    subscriber.next("state", lambda m: m["seq"] > newest)
    report()
    subscriber.next("state", lambda m: m["seq"] > newest + 4)
    holding.clear()
    wire.cut()
    assert_drained_in_order(unit, subscriber)


# Refusals


def test_a_broker_that_is_full_gets_everything_later_in_the_same_session(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber
) -> None:
    unit = make_unit(wire.port)
    fill(unit, 20)
    full = threading.Event()
    full.set()
    wire.edit = refusing(0x97, full.is_set)
    unit.start()
    wait_for(lambda: trouble_of(unit) == "link.message_quota", "the refusal")
    assert is_connected(unit)
    assert rows(unit) > 20
    full.clear()
    wait_for(lambda: rows(unit) == 0, "the backlog to drain")
    # The new `link` may be confirmed after the last record.
    wait_for(lambda: unit.status()["link"]["trouble"] is None, "the end of the trouble")
    link = unit.status()["link"]
    assert link["confirmed"] >= 1
    assert link["puback_s"] >= 0
    of_now = {"queued": 0, "in_flight": 0, "confirmed": 1, "puback_s": 0.1}
    assert link | of_now == of_now | {
        "broker": f"127.0.0.1:{wire.port}", "connected": True, "error": None, "trouble": None,
        "sessions": 1, "failures": 0, "restarts": 0, "last_error": None, "last_trouble": None,
        "last_error_age_s": None,
    }  # fmt: skip


def test_history_that_is_refused_does_not_hold_up_the_present(
    make_unit: Callable[..., Unit], make_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    rights = tmp_path / "rights"
    allowed = "".join(f"topic write tents/v1/demo/{kind}\n" for kind in RETAINED)
    rights.write_text(f"{allowed}topic write tents/v1/demo/event\ntopic read #\n")
    rights.chmod(0o700)
    broker = make_broker(f"acl_file {rights}")
    subscriber = Subscriber(broker.port)
    unit = make_unit(broker.port)
    fill(unit, 20)
    unit.start()
    wait_for(lambda: trouble_of(unit) == "link.not_allowed", "the refusal")
    assert values_of(unit)["topic"] == "tents/v1/demo/history"
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    assert rows(unit) >= 20
    assert unit.status()["link"]["sessions"] == 1
    subscriber.close()


def test_a_broker_that_takes_no_more_clients_is_named(
    make_unit: Callable[..., Unit], wire: Wire
) -> None:
    def tamper(from_unit: bool, content: bytes) -> bytes:
        is_login = not from_unit and content[0] == 0x20
        return b"\x20\x03\x00\x97\x00" if is_login else content

    wire.tamper = tamper
    unit = make_unit(wire.port).start()
    wait_for(lambda: trouble_of(unit) == "link.quota", "the error")
    wire.tamper = None
    wait_for(lambda: is_connected(unit), "the connection")


def test_a_broker_that_hangs_up_at_the_login_is_named(
    make_unit: Callable[..., Unit], wire: Wire
) -> None:
    wire.tamper = lambda from_unit, content: content if from_unit else b""
    unit = make_unit(wire.port).start()

    def is_named() -> bool:
        wire.cut()
        return trouble_of(unit) == "link.hung_up"

    wait_for(is_named, "the error")


# Sizes


#: With MQTT 3.1.1 mosquitto confirms messages above its message_size_limit and drops them silently.
@pytest.mark.parametrize(
    ("protocol", "limit"),
    [("5", "max_packet_size"), ("3.1.1", "max_packet_size"), ("5", "message_size_limit")],
)
def test_the_backlog_fits_what_the_broker_takes(
    make_unit: Callable[..., Unit],
    make_broker: Callable[[str], Broker],
    protocol: str,
    limit: str,
) -> None:
    broker = make_broker(f"{limit} 3000")
    subscriber = Subscriber(broker.port)
    unit = make_unit(broker.port, protocol=protocol)
    fill(unit, 100)
    unit.start()
    assert_drained_in_order(unit, subscriber)
    subscriber.close()


@pytest.mark.parametrize("limit", ["max_packet_size", "message_size_limit"])
def test_a_record_that_never_fits_is_told_and_stays(
    make_unit: Callable[..., Unit], make_broker: Callable[[str], Broker], limit: str
) -> None:
    """Only states are larger than this limit."""
    broker = make_broker(f"{limit} 1000")
    subscriber = Subscriber(broker.port)
    unit = make_unit(broker.port)
    fill(unit, 5)
    unit.start()
    wait_for(lambda: {*range(1, 6)} <= {*in_history(subscriber)}, "what fits")
    wait_for(lambda: trouble_of(unit) == "link.too_large", "what is wrong")
    assert values_of(unit)["size"] > 950
    unit.hardware.set_mains(False)
    subscriber.next("event", lambda m: m["event"] == "mains_lost")
    assert is_connected(unit)
    assert unit.status()["link"]["sessions"] == 1
    assert rows(unit) >= 1
    unit.stop()
    subscriber.close()
    broker.stop()
    broker.settings = "allow_anonymous true"
    broker.start()
    subscriber = Subscriber(broker.port)
    unit.start()
    wait_for(lambda: rows(unit) == 0, "all that waited")
    wait_for(lambda: any("capacity" in r for r in history(subscriber)), "the states among it")
    subscriber.close()


class TooLarge:
    """An edit of a wire: the broker says "Packet too large" of states, `times` times.

    By PUBACK, or by DISCONNECT if `hangs_up`. Such a state does not reach the broker.
    """

    def __init__(self, times: float, *, hangs_up: bool) -> None:
        self.times = times
        self.hangs_up = hangs_up
        self.refused = 0
        self._number: bytes | None = None

    def __call__(self, from_unit: bool, packet: bytes) -> bytes:
        if from_unit:
            at = packet.find(b"/state") + len(b"/state")
            if packet[0] & 0xF0 == 0x30 and b"/state" in packet[:60] and self.refused < self.times:
                self._number = packet[at : at + 2]
                self.refused += 1
            return packet
        if self._number is None or packet[0] != 0x40 or packet[2:4] != self._number:
            return packet
        refusal = b"\xe0\x01\x95" if self.hangs_up else b"\x40\x03" + self._number + b"\x95"
        self._number = None
        return refusal


@pytest.mark.parametrize("hangs_up", [False, True])
@pytest.mark.parametrize("cut", [False, True], ids=["session", "login"])
def test_one_packet_too_large_silences_no_states(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber, monkeypatch: Any,
    hangs_up: bool, cut: bool,
) -> None:  # fmt: skip
    """Where the session lives on, its next try comes soon; and a new session forgets what was learned."""
    monkeypatch.setattr(sizes, "FIRST_WAIT_S", 3600.0 if cut else 0.5)
    wire.edit = edit = TooLarge(1, hangs_up=hangs_up)
    unit = make_unit(wire.port).start()
    wait_for(lambda: edit.refused == 1, "the refusal")
    if not hangs_up:
        wait_for(lambda: trouble_of(unit) == "link.too_large", "the trouble")
        if cut:
            wire.cut()
    subscriber.next("state", lambda m: m["capacity"]["quality"] == "ok")
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    wait_for(lambda: rows(unit) == 0, "the backlog to drain")
    wait_for(lambda: trouble_of(unit) is None, "the end of the trouble")
    assert unit.status()["link"]["sessions"] == (2 if hangs_up or cut else 1)
    assert_drained_in_order(unit, subscriber)


def test_a_broker_that_ends_the_session_at_each_state_gets_all_else(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber
) -> None:
    """Some sessions end on states; then the states wait, and the rest goes first."""
    wire.edit = edit = TooLarge(math.inf, hangs_up=True)
    unit = make_unit(wire.port)
    fill(unit, 20)
    unit.start()
    wait_for(lambda: {*range(1, 21)} <= {*in_history(subscriber)}, "what fits")
    wait_for(lambda: edit.refused >= 3, "more than a single try")
    unit.hardware.set_mains(False)
    recorded(subscriber, "mains_lost")
    wait_for(lambda: trouble_of(unit) == "link.too_large", "what is wrong")


def test_a_broker_that_takes_one_message_at_a_time_gets_one_at_a_time(
    make_unit: Callable[..., Unit], make_broker: Callable[[str], Broker]
) -> None:
    """It disconnects a client with more messages in flight than its ReceiveMaximum."""
    broker = make_broker("max_inflight_messages 1")
    subscriber = Subscriber(broker.port)
    unit = make_unit(broker.port)
    fill(unit, 300)
    unit.start()
    wait_for(lambda: rows(unit) == 0, "the backlog to drain")
    assert unit.status()["link"]["failures"] == 0
    subscriber.close()


def is_obeyed(subscriber: Subscriber, cid: str) -> bool:
    """Send a command; return whether one with this `cid` has been answered."""
    subscriber.send(*command("report", cid))
    return any(m.topic.endswith(f"/res/{cid}") and m.content["ok"] for m in subscriber.received())


def test_a_command_larger_than_any_does_not_silence_a_unit_with_mqtt_3(
    make_unit: Callable[..., Unit],
    broker: Broker,
    subscriber: Subscriber,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker would deliver it again at each login. Once it is gone, the same session hears commands."""
    monkeypatch.setattr(session, "DEAF_S", 3.0)
    subscriber.send("tents/v1/demo/cmd/report", b"x" * 200_000, retain=True)
    unit = make_unit(broker.port, protocol="3.1.1").start()
    wait_for(lambda: trouble_of(unit) == "link.deaf", "the error")
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    subscriber.send("tents/v1/demo/cmd/report", b"", retain=True)
    sessions = unit.status()["link"]["sessions"]
    wait_for(lambda: is_obeyed(subscriber, "heard"), "an answer")
    assert trouble_of(unit) is None
    assert unit.status()["link"]["sessions"] == sessions


def test_one_command_larger_than_any_makes_no_unit_deaf(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, protocol="3.1.1").start()
    subscriber.next("state")
    subscriber.send("tents/v1/demo/cmd/report", b"x" * 200_000)
    wait_for(lambda: unit.status()["link"]["sessions"] == 2, "another session")
    wait_for(lambda: is_obeyed(subscriber, "heard"), "an answer")


# Many commands


def test_a_flood_of_commands_ends_no_session(
    unit: Unit, broker: Broker, subscriber: Subscriber
) -> None:
    answers: list[str] = []
    operator = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    operator.on_connect = lambda client, *_: client.subscribe("tents/v1/demo/res/+", 1)
    operator.on_message = lambda _, __, message: answers.append(message.topic)
    operator.connect("127.0.0.1", broker.port)
    operator.loop_start()
    unit.start()
    subscriber.next("state")
    for number in range(2000):
        command = {"cid": f"c{number}", "expires": "2099-01-01T00:00:00Z"}
        operator.publish("tents/v1/demo/cmd/report", json.dumps(command), qos=1)
    wait_for(lambda: len(answers) >= requests.MOST_COMMANDS, "answers")
    before = len(answers)
    assert before < 1000
    command = {"cid": "last", "expires": "2099-01-01T00:00:00Z"}

    def is_answered() -> bool:
        operator.publish("tents/v1/demo/cmd/report", json.dumps(command), qos=1)
        return "tents/v1/demo/res/last" in answers

    wait_for(is_answered, "an answer after the flood")
    assert unit.status()["link"]["sessions"] == 1
    operator.disconnect()
    operator.loop_stop()


def test_faulty_commands_do_not_silence_a_unit_on_a_slow_wire(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber
) -> None:
    """On it more answers wait for their PUBACK than a window holds."""
    unit = make_unit(wire.port).reporting(interval_s=1.0, ttl_s=10).start()
    subscriber.next("state", lambda m: m["capacity"]["quality"] == "ok")
    wire.delay_s = 0.2
    over = threading.Event()

    def flood() -> None:
        while not over.wait(0.002):
            subscriber.send("tents/v1/demo/cmd/report", '{"cid": "faulty"}')

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    try:
        wait_for(lambda: unit.status()["commands"]["refused"] > 200, "the flood")
        unit.walk(inward=True)
        subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
        wait_for(lambda: unit.status()["commands"]["dropped"] > 0, "answers that are not sent")
        assert unit.status()["link"]["in_flight"] <= 2 * session.WINDOW + 1
        assert unit.status()["link"]["failures"] == 0
    finally:
        over.set()
        thread.join()
    wire.delay_s = 0.0


# Hostile brokers


def qos_2(number: int) -> bytes:
    """Return a PUBLISH with QoS 2 that is never released."""
    return b"\x34\x08\x00\x01a" + number.to_bytes(2) + b"\x00xx"


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"".join(qos_2(number) for number in range(1, 200)), "QoS 2"),
        (b"\x20\x03\x00\x00\x00" * 1000, "answered the login twice"),
        (b"\xf0\x02\x18\x00", "nobody asked for"),  # AUTH
        (b"\x40\xff\xff\x7f", "longer than it may be"),  # PUBACK of 2 MiB
        (b"\x4f\x02\x00\x02", "nobody asked for"),  # PUBACK with flags that it cannot have
        (b"\xe0\x01\x7f", ""),  # DISCONNECT with a reason that does not exist
        (b"\x40\x02\x00\x00" + b"\x40\x02\xea\x60", None),  # PUBACKs of what was never sent
        (b"\xd0\x00" * 20_000, None),  # PINGRESP
        (b"\x90\x04\x00\x01\x00\x87" * 2000, None),  # SUBACK: not authorized
    ],
    ids=[
        "qos2",
        "connack",
        "auth",
        "long",
        "flags",
        "disconnect",
        "puback",
        "pingresp",
        "suback",
    ],
)
def test_what_no_broker_should_send_ends_the_session_at_most(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber, sent: bytes,
    error: str | None, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    unit = make_unit(wire.port).start()
    subscriber.next("state", lambda m: m["capacity"]["quality"] == "ok")
    wire.inject(sent)
    if error is not None:
        wait_for(lambda: unit.status()["link"]["failures"] == 1, "the end of the session")
        assert error in "".join(r.getMessage() for r in caplog.records if "again" in r.getMessage())
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    assert unit.status()["link"]["failures"] == (0 if error is None else 1)
    said = [r.getMessage() for r in caplog.records if r.name == "tentwatch.link"]
    assert len(said) < 10, said
    assert_drained_in_order(unit, subscriber)


@pytest.mark.parametrize(
    "instead",
    [b"\x50\x02%b", b"\x62\x02%b", b"\x70\x02%b", b"\x90\x04%b\x00\x01", b"\xb0\x04%b\x00\x00"],
    ids=["pubrec", "pubrel", "pubcomp", "suback", "unsuback"],
)
def test_only_a_puback_confirms_a_record(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber, instead: bytes
) -> None:
    """To a PUBREL paho answers with PUBCOMP, and to a PUBREC with PUBREL."""
    acks: list[bytes] = []

    def edit(from_unit: bool, packet: bytes) -> bytes:
        if from_unit or packet[0] != 0x40:
            return packet
        acks.append(packet)
        return instead % packet[2:4]

    wire.edit = edit
    unit = make_unit(wire.port)
    fill(unit, 20)
    unit.start()
    wait_for(lambda: len(acks) >= 3, "what stands in for PUBACKs")
    assert unit.sent == []
    assert rows(unit) >= 20
    wire.edit = None
    wire.cut()
    assert_drained_in_order(unit, subscriber)


def test_bytes_that_only_look_like_a_long_command_make_no_unit_deaf(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber
) -> None:
    unit = make_unit(wire.port, protocol="3.1.1").start()
    subscriber.next("state")
    noise = random.Random(1)
    for number in range(4):
        wait_for(lambda: is_connected(unit), "the connection")
        sessions = unit.status()["link"]["sessions"]
        wire.inject(b"\x31\xff\xff\xff\x7f" + noise.randbytes(200 * number))
        if not number:
            wire.half_close()  # after the length
        wait_for(lambda n=sessions: unit.status()["link"]["sessions"] > n, "another session")  # type: ignore[misc]
    wait_for(lambda: is_obeyed(subscriber, "heard"), "an answer")


def test_a_broker_that_takes_next_to_nothing_is_named_with_a_size_that_can_be(
    make_unit: Callable[..., Unit], wire: Wire
) -> None:
    """CONNACK with a Maximum Packet Size of 1, 0x27."""
    wire.tamper = lambda from_unit, content: (
        b"\x20\x08" + content[2:4] + b"\x05\x27\x00\x00\x00\x01"
        if not from_unit and content[0] == 0x20
        else content
    )
    unit = make_unit(wire.port).start()
    wait_for(lambda: trouble_of(unit) == "link.too_large", "the error")
    assert rows(unit) >= 1


def test_refused_answers_are_told_once_and_their_topics_hold_nothing_for_a_terminal(
    make_unit: Callable[..., Unit], make_broker: Callable[[str], Broker], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    rights = tmp_path / "rights"
    allowed = "".join(f"topic write tents/v1/demo/{kind}\n" for kind in RETAINED)
    rights.write_text(f"{allowed}topic read #\n")
    rights.chmod(0o700)
    with Wire(make_broker(f"acl_file {rights}").port) as wire:
        unit = make_unit(wire.port).start()
        wait_for(lambda: any(topic.endswith("/state") for topic, _ in unit.sent), "a state")
        for number in range(5):
            command = b'{"cid":"c%d"}' % number
            properties = b"\x08\x00\x07a/\x1b[31m"  # ResponseTopic
            content = b"\x00\x06cmd/no" + bytes([len(properties)]) + properties + command
            wire.inject(b"\x30" + bytes([len(content)]) + content)
            wait_for(lambda n=number: unit.status()["commands"]["refused"] > n, "a refusal")  # type: ignore[misc]
        wait_for(lambda: unit.status()["link"]["in_flight"] == 0, "the PUBACKs")
        unit.stop()
    said = [r.getMessage() for r in caplog.records if "refused an answer" in r.getMessage()]
    assert said == ["the broker refused an answer on tents/v1/demo/res/c0 (Not authorized)"]


# Wires


def test_a_narrow_wire_shows_the_present_first(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber
) -> None:
    """The whole backlog would take 29 s, longer than the 20 s allowed for a PUBACK."""
    unit = make_unit(wire.port)
    fill(unit, 1000)
    wire.bytes_per_s = 8000
    unit.start()
    subscriber.next("state")
    subscriber.next("history")
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    assert len(in_history(subscriber)) < 1000
    wire.bytes_per_s = 0
    wait_for(lambda: rows(unit) == 0, "the backlog to drain")
    assert unit.status()["link"]["failures"] == 0
    wait_for(lambda: {*range(1, 1001)} <= {*in_history(subscriber)}, "all of it")


def test_what_a_standing_wire_cannot_take_becomes_backlog_in_the_same_session(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber
) -> None:
    unit = make_unit(wire.port, speed=50.0).reporting(interval_s=1.0, ttl_s=10).start()
    subscriber.next("state")
    wire.frozen = True
    wait_for(lambda: rows(unit) >= 3 * session.MOST_LIVE, "more than may queue")
    assert unit.status()["link"]["queued"] <= session.MOST_LIVE
    last = subscriber.records()[-1]["seq"] + 3 * session.MOST_LIVE
    wire.frozen = False
    wait_for(lambda: len([r for r in subscriber.records() if r["seq"] <= last]) == last, "all")
    assert unit.status()["link"]["sessions"] == 1
    states = [m.content["seq"] for m in subscriber.received() if m.topic.endswith("/state")]
    assert states == sorted(states)
    order = in_history(subscriber)
    assert order == sorted(order)
    assert len(order) >= session.MOST_LIVE


@pytest.mark.parametrize("how", ["swallows", "frozen"])
def test_a_dead_wire_is_noticed_and_nothing_is_lost(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber, how: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(session, "PUBACK_LIMIT_S", 1.0)
    unit = make_unit(wire.port).start()
    subscriber.next("state", lambda m: m["capacity"]["quality"] == "ok")
    setattr(wire, how, True)
    unit.walk(inward=True)
    wait_for(lambda: trouble_of(unit) == "link.no_puback", "the loss to be noticed")
    setattr(wire, how, False)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    assert_drained_in_order(unit, subscriber)


@pytest.mark.parametrize("how", ["cut", "reset", "half_close"])
def test_a_wire_that_breaks_loses_nothing(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber, how: str
) -> None:
    unit = make_unit(wire.port).start()
    subscriber.next("state", lambda m: m["capacity"]["quality"] == "ok")
    for times in (1, 2):
        {"cut": wire.cut, "reset": lambda: wire.cut(reset=True), "half_close": wire.half_close}[
            how
        ]()
        wait_for(lambda n=times: unit.status()["link"]["sessions"] > n, "another session")  # type: ignore[misc]
    assert_drained_in_order(unit, subscriber)


def test_a_packet_that_makes_no_sense_ends_the_session_and_not_the_link(
    make_unit: Callable[..., Unit], wire: Wire, subscriber: Subscriber
) -> None:
    unit = make_unit(wire.port).start()
    subscriber.next("state")
    wire.inject(b"\x40\x01\x00")
    wait_for(lambda: unit.status()["link"]["sessions"] == 2, "another session")
    wire.inject(b"\x30\xff\xff\xff\x7f\x00\x05tents")  # announces 256 MiB
    wait_for(lambda: unit.status()["link"]["sessions"] == 3, "another session")
    assert_drained_in_order(unit, subscriber)


def test_a_broker_that_has_forgotten_everything_is_told_again(
    unit: Unit, broker: Broker, subscriber: Subscriber
) -> None:
    unit.start()
    subscriber.next("state")
    broker.stop()
    (broker.directory / "mosquitto.db").unlink()
    broker.start()

    def kept() -> set[str]:
        late = Subscriber(broker.port)
        kinds = {m.topic.rpartition("/")[2] for m in late.received() if m.retained}
        late.close()
        return kinds

    wait_for(lambda: kept() == set(RETAINED), "all that is retained")


# Inside


def test_what_waits_for_a_broker_waits_on_the_disk_only(
    make_unit: Callable[..., Unit], broker: Broker
) -> None:
    broker.stop()
    unit = make_unit(broker.port, speed=20.0).reporting(interval_s=1.0, ttl_s=10).start()
    wait_for(lambda: rows(unit) >= 50, "a backlog")
    assert unit.agent is not None
    assert list(unit.agent._link._thread.mailbox.work()) == []


def test_descriptors_above_1023_serve_as_well(unit: Unit, subscriber: Subscriber) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1400:
        pytest.skip("this machine allows too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1400), hard))
    files = [Path("/dev/null").open() for _ in range(1100)]  # noqa: SIM115
    try:
        unit.start()
        subscriber.next("state")
        assert is_connected(unit)
        unit.stop()
    finally:
        for file in files:
            file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thread_that_dies_is_begun_anew(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, speed=20.0).start()
    subscriber.next("state")
    assert unit.agent is not None
    victim = unit.agent._link._thread
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    raise_in(ctypes.c_ulong(victim.ident or 0), ctypes.py_object(SystemExit))
    victim.mailbox.wake()
    wait_for(lambda: unit.status()["link"]["restarts"] == 1, "the restart")
    wait_for(lambda: is_connected(unit), "the connection")
    assert not victim.is_alive()
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    wait_for(lambda: rows(unit) == 0, "the backlog to drain")
    assert len(link_threads()) == 1


def test_a_thread_that_stands_still_is_replaced_once_and_then_left_to_the_watchdog(
    make_unit: Callable[..., Unit], broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = make_unit(broker.port, speed=20.0)
    stuck: set[threading.Thread] = set()
    go = threading.Event()
    told: list[str] = []
    monkeypatch.setattr(agent_module, "notify", told.append)

    class Sent(list[tuple[str, str]]):
        def append(self, sent: tuple[str, str]) -> None:
            stuck.add(threading.current_thread())
            go.wait()

    unit.sent = Sent()
    unit.start()
    agent = unit.agent
    assert agent is not None
    wait_for(lambda: len(stuck) == 1, "a thread to stand still")
    monkeypatch.setattr(link, "STUCK_S", 0.5)  # not before: a thread that only waits looks the same
    wait_for(lambda: unit.status()["link"]["restarts"] == 1, "the restart")
    wait_for(lambda: len(stuck) == 2, "the next one to stand still as well")
    # Then the watchdog must act.
    wait_for(lambda: not agent._link.tend(), "the link to give up")
    told.clear()
    waited_s = unit.clock.now_s() + 3 * agent_module.WATCHDOG_S
    wait_for(lambda: unit.clock.now_s() > waited_s, "the watchdog's interval")
    assert "WATCHDOG=1" not in told
    assert unit.status()["link"]["restarts"] == 1
    assert all(thread.is_alive() for thread in stuck)
    monkeypatch.undo()
    go.set()
    wait_for(lambda: len(link_threads()) == 1, "the one that was given up to end")


def test_a_keepalive_named_by_the_broker_is_kept(
    make_unit: Callable[..., Unit], wire: Wire
) -> None:
    """The wire changes the broker's CONNACK to request a ping a second: ServerKeepAlive, 0x13."""
    pings: list[bytes] = []

    def edit(from_unit: bool, packet: bytes) -> bytes:
        if from_unit and packet == b"\xc0\x00":
            pings.append(packet)
        if not from_unit and packet[0] == 0x20:
            return b"\x20\x06" + packet[2:4] + b"\x03\x13\x00\x01"
        return packet

    wire.edit = edit
    make_unit(wire.port, keepalive_s=14).start()
    # With the unit's own keepalive three would take 42 s, longer than `wait_for` waits.
    wait_for(lambda: len(pings) >= 3, "three pings")


def test_a_record_that_cannot_be_dated_holds_up_nothing(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    """The store's file says when its boot began, and its `power_cut` has no detail to be completed."""
    unit = make_unit(broker.port)
    store = Store(unit.state_dir, 100, 1 << 30)
    now = unit.clock.now()
    store.open("another boot", now)
    boot = store.boot
    bad = Row(1, "event", boot, 1.0, 0, '{"event":"power_cut"}')
    store.append(lambda boot, seq: [("event", bad.body)], {}, now)
    store.append(lambda boot, seq: [("event", backlog_event(boot, seq))], {}, now)
    store.close(now, {})
    with contextlib.closing(sqlite3.connect(unit.state_dir / FILE)) as db, db:
        db.execute(
            "UPDATE outbox SET stamped = 0, uptime_s = 1.0, crc = ? WHERE id = 1", (bad.crc,)
        )
    unit.start()
    wait_for(lambda: rows(unit) == 0, "the backlog to drain")
    assert unit.status()["buffer"]["dropped"] == 1
    assert [record["boot"] for record in history(subscriber)][:1] == [boot]
