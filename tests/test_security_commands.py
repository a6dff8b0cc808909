"""Hostile commands: a refused one changes nothing, and none is carried out twice."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from publisher import commands, control, messages
from publisher.agent import Agent
from publisher.clock import Clock
from publisher.commanding import CHECKS, COMMAND_SPAN_S, COMMANDS, MAX_COMMANDS, REMOTE_CHECKS
from publisher.commands import MAX_BYTES, Refused, from_broker, from_unit
from publisher.link.requests import Request
from publisher.store.store import Store
from sensors.simulated.hardware import SimulatedHardware
from technician.demo.demo import configuration
from tests import contract
from tests.conftest import Subscriber, Unit, all_well, command, wait_for
from tests.tents import NOON
from tests.tents import Unit as Values
from tests.tents import config as plain_config

CONFIG = plain_config()
SEATS = CONFIG.tent.seats

PAIR = '{"boot":1,"seq":1}'
# Odd payloads. As text, because a JSON writer would refuse some of them and clean up the others.
ODD = [
    "null", "true", "[]", "{}", "0", "-0", "-1", "1e0", "4.0", "0.5", "1e400", "-1e400", "NaN", "Infinity",
    "43", "600", "601", "1795371000", "9" * 25, "-" + "9" * 200, "9" * 3900,
    '""', '"a1"', '"generator"', '"a/b"', '"#"', '"+"', '"$SYS"', '"' + "x" * 65 + '"', '"\\u0000"', '"\\n"',
    '"\\ud800"', '"\\udfff\\ud800"', '"\u200b"', '"\ufffe"', '"\u0664"', '"\uff14"',
    '"2026-11-22T18:10:00Z"', '"9999-12-31T23:59:59Z"', '"\u0662\u0660\u0662\u0667-11-22T18:10:00Z"',
    '"2027-11-22"', '"2027-11-22T18:10:00+99:99"', '"2027-W01-1T00:00:00Z"',
    PAIR, '{"boot":9007199254740991,"seq":9007199254740991}', '{"boot":1.0,"seq":1}', '{"boot":true,"seq":1}',
    '{"boot":0,"seq":1}', '{"boot":1}', '{"boot":"1","seq":-1}', '{"boot":1e400,"seq":1}',
    "[" * 500 + "]" * 500, '{"a":' * 300 + "1" + "}" * 300,
]  # fmt: skip
KEYS = [
    "cid",
    "expires",
    "people",
    "open",
    "by",
    "seconds",
    "sensor",
    "command",
    "v",
    "ok",
    "error",
    "from",
    "to",
    "",
    "\\u0063id",
]
GOOD = [
    '"cid":"a1"', '"expires":"2027-11-22T18:10:00Z"', '"people":43', '"seconds":5',
    f'"from":{PAIR}', f'"to":{PAIR}',
]  # fmt: skip
PAIRS = st.one_of(
    st.sampled_from(GOOD),
    st.builds('"{}":{}'.format, st.sampled_from(KEYS), st.sampled_from(ODD)),
)
TEXTS = st.one_of(
    # Duplicate keys, too: the last one counts, for cid and argument alike.
    st.lists(PAIRS, max_size=8).map(lambda pairs: "{" + ",".join([*GOOD, *pairs]) + "}"),
    st.lists(PAIRS, max_size=8).map(lambda pairs: "{" + ",".join(pairs) + "}"),
    st.sampled_from(ODD),
)
PAYLOADS = st.one_of(
    TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    TEXTS.map(lambda text: text.encode("utf-16", "surrogatepass")),
    TEXTS.map(lambda text: b"\xef\xbb\xbf" + text.encode("utf-8", "surrogatepass")),
    st.tuples(TEXTS, st.integers(0, 70_000)).map(lambda t: t[0].encode() + b" " * t[1]),
    st.binary(max_size=300),
)
NAMES = st.sampled_from([*COMMANDS, "", "restart", "x" * 3000, "\u202e", "a\nb", "cmd", "%s%n"])


def check_refusal(refusal: Refused) -> None:
    assert 0 < len(str(refusal)) < 200
    assert str(refusal).isprintable()
    if refusal.cid:
        contract.check(f"tents/v1/t/res/{refusal.cid}", messages.refusal(refusal.cid, "x", refusal))


def check_taken(command: commands.Command) -> None:
    limits = {"headcount": (0, 10 * SEATS), "identify": (1, 600)}
    argument = command.argument
    if command.name in ("headcount", "open"):
        argument, by = argument
        assert 0 < len(by) <= 40 and by.isprintable()
    if command.name in limits:
        low, high = limits[command.name]
        assert type(argument) is int
        assert low <= argument <= high
    elif command.name == "open":
        assert type(argument) is bool
    elif command.name == "resend":
        first, last = argument
        assert (1, 1) <= first <= last
        assert {type(n) for n in (*first, *last)} == {int}
    else:
        assert (argument is None) == (command.name not in ("zero", "log", "backlog"))


@given(NAMES, PAYLOADS, st.booleans())
def test_whatever_the_broker_sends_is_a_command_or_a_refusal(
    name: str, payload: bytes, retained: bool
) -> None:
    now = Values(plain_config()).now()
    try:
        taken = from_broker(name, payload, REMOTE_CHECKS, CONFIG, retained=retained, now=now)
    except Refused as refusal:
        check_refusal(refusal)
    else:
        assert not retained
        assert len(payload) <= MAX_BYTES
        check_taken(taken)
        contract.check(f"tents/v1/t/res/{taken.cid}", messages.answer(taken.cid, taken.name))


@given(TEXTS)
def test_whatever_the_control_socket_brings_is_a_command_or_a_refusal(text: str) -> None:
    request = control._request(text.encode("utf-8", "surrogatepass"))
    try:
        taken = from_unit(request, CHECKS, CONFIG)
    except Refused as refusal:
        check_refusal(refusal)
    else:
        check_taken(taken)


def test_a_number_beyond_all_bounds_keeps_nobody_from_an_answer() -> None:
    now = Values(plain_config()).now()
    for digits in ("9" * 3000, "-" + "9" * 3000, "9" * 20_000):
        with pytest.raises(Refused) as caught:
            payload = f'{{"cid":"a1","expires":"2027-11-22T18:10:00Z","people":{digits}}}'.encode()
            from_broker("headcount", payload, REMOTE_CHECKS, CONFIG, retained=False, now=now)
        assert caught.value.cid == "a1"


# The agent, with its own store


class Idle:
    """An agent that gets commands from the test; its link has no broker."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        hardware = SimulatedHardware(directory, Clock())
        self.agent = Agent(
            configuration(hardware, {"host": "127.0.0.1", "port": 9}, 1.0),
            directory,
            hardware,
            Clock(),
        )
        self.now_s = 1000.0
        self.said: list[tuple[Request, str, str]] = []
        # With a broker it would publish the answer.
        self.agent._link.respond = (  # type: ignore[method-assign]
            lambda request, cid, answer: self.said.append((request, cid, answer))
        )

    def serve(self, name: str, payload: bytes, **how: Any) -> list[tuple[Request, str, str]]:
        """Let a minute pass, pass a command to the agent, and return its answer."""
        self.now_s += 60
        now = replace(self.agent._clock.now(), monotonic_s=self.now_s, wall=NOON, synced=True)
        request = Request(name, payload, how.pop("retained", False), None, how.pop("data", None))
        self.agent._commands.serve(request, now)
        return self.answers()

    def answers(self) -> list[tuple[Request, str, str]]:
        said, self.said = self.said, []
        return said

    def totals(self) -> str:
        return json.dumps(self.agent.tent.totals.as_dict(), sort_keys=True)


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Idle]:
    idle = Idle(tmp_path / "state")
    yield idle
    idle.agent.stop()
    idle.agent.run()


def test_what_is_refused_changes_nothing(idle: Idle) -> None:
    carried_out = sent = 0

    @given(NAMES, PAYLOADS, st.booleans())
    def check(name: str, payload: bytes, retained: bool) -> None:
        nonlocal carried_out, sent
        sent += 1
        payload = payload.replace(b'"a1"', b'"a%d"' % sent)  # a used cid serves no other command
        before, rows = idle.totals(), idle.agent._store.last_id()
        lamp_until_s, known = (
            idle.agent._panel.identify_until_s,
            dict(idle.agent._commands._answers),
        )
        answers = idle.serve(name, payload, retained=retained)
        assert len(answers) <= 1
        for _, cid, text in answers:
            answer = contract.check(f"tents/v1/demo/res/{cid}", text)
            # A payload may have its cid in another key, too: then it may be a used one.
            if answer["ok"] and not retained and "again" not in answer:
                carried_out += 1
                assert idle.agent._commands._answers[cid].answer == text
                return
        assert idle.totals() == before
        assert idle.agent._store.last_id() == rows
        assert idle.agent._panel.identify_until_s == lamp_until_s
        assert {c for c in idle.agent._commands._answers if c not in known} <= {
            c for _, c, _ in answers
        }

    check()
    assert carried_out > 5


def test_more_commands_than_a_card_should_bear_are_refused_and_may_come_again(idle: Idle) -> None:
    def send(number: int, later_s: float) -> dict[str, Any]:
        body = {"cid": f"c{number}", "expires": "2027-11-22T18:10:00Z", "people": number}
        now = replace(idle.agent._clock.now(), monotonic_s=later_s, wall=NOON, synced=True)
        request = Request("headcount", json.dumps(body).encode(), False, None, None)
        idle.agent._commands.serve(request, now)
        return contract.check(f"tents/v1/demo/res/c{number}", idle.answers()[0][2])

    said = [send(n, 5000 + n / 100) for n in range(MAX_COMMANDS + 5)]
    assert [answer["ok"] for answer in said] == [True] * MAX_COMMANDS + [False] * 5
    assert "again in two minutes" in said[-1]["error"]
    assert idle.agent.tent.totals.occupancy.people == MAX_COMMANDS - 1
    assert send(3, 5001)["people"] == 3, "what was carried out is answered all the same"
    assert send(MAX_COMMANDS, 5000 + COMMAND_SPAN_S)["people"] == MAX_COMMANDS


def test_a_flood_on_the_unit_itself_wears_no_card_either(idle: Idle) -> None:
    now = idle.agent._clock.now()

    def send(people: int, second: float) -> dict[str, Any]:
        request = {"command": "headcount", "people": people}
        return idle.agent._commands.answer(request, replace(now, monotonic_s=second))

    said = [send(n, 5000 + n / 100) for n in range(MAX_COMMANDS + 5)]
    assert [answer["ok"] for answer in said] == [True] * MAX_COMMANDS + [False] * 5
    assert "again in two minutes" in said[-1]["error"]
    assert idle.agent.tent.totals.occupancy.people == MAX_COMMANDS - 1
    assert idle.agent._commands.answer({"command": "status"}, now)["ok"]
    body = json.dumps({"cid": "a1", "expires": "2027-11-22T18:10:00Z", "people": 9}).encode()
    [(_, _, answer)] = idle.serve("headcount", body)
    assert json.loads(answer)["ok"], "the broker's commands count apart"
    assert send(7, 5000 + COMMAND_SPAN_S)["people"] == 7


@pytest.mark.parametrize(
    "request_",
    [
        {"command": "backlog", "after": 1 << 70, "until": None},
        {"command": "backlog", "after": 0, "until": 1 << 70},
        {"command": "backlog", "after": -(1 << 70), "until": 5},
        {"command": "backlog", "after": True, "until": 5},
        {"command": "backlog", "after": 0, "until": 1e400},
        {"command": "backlog"},
        {"command": "log", "since": "\ud800"},
        {"command": "log", "since": "\0"},
        {"command": "log", "since": ["2026-11-22"]},
        {"command": "log"},
    ],
)
def test_what_no_store_can_be_asked_is_refused_and_no_fault_of_the_store(
    idle: Idle, request_: dict[str, Any]
) -> None:
    answer = idle.agent._commands.answer(request_, idle.agent._clock.now())
    assert not answer["ok"]
    assert "must be" in answer["error"]
    assert idle.agent._store.failure is None
    assert idle.agent._commands.answer({"command": "log", "since": ""}, idle.agent._clock.now())[
        "ok"
    ]


def test_large_correlation_data_is_refused_and_not_sent_back(idle: Idle) -> None:
    body = json.dumps({"cid": "a1", "expires": "2027-11-22T18:10:00Z", "people": 9}).encode()
    request, _, answer = idle.serve("headcount", body, data=b"x" * (MAX_BYTES + 1))[0]
    assert request.correlation is None
    assert json.loads(answer)["ok"] is False
    request, _, answer = idle.serve("headcount", body, data=b"x" * MAX_BYTES)[0]
    assert request.correlation == b"x" * MAX_BYTES
    assert json.loads(answer)["ok"] is True


HEADCOUNT = {"cid": "a1", "expires": "2027-11-22T18:10:00Z", "people": 9}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("headcount", {"people": 10}),
        ("headcount", {"by": "Olena"}),
        ("identify", {"seconds": 5}),
        ("report", {}),
        ("headcount", {"people": 10, "expires": "2025-11-22T18:10:00Z"}),
    ],
)
def test_a_used_cid_serves_no_other_command(idle: Idle, name: str, changes: dict[str, Any]) -> None:
    """Whoever sent it would believe that it was carried out."""
    [(_, _, answer)] = idle.serve("headcount", json.dumps(HEADCOUNT).encode())
    assert json.loads(answer)["ok"]
    before, rows = idle.totals(), idle.agent._store.last_id()
    [(_, cid, answer)] = idle.serve(name, json.dumps(HEADCOUNT | changes).encode())
    refused = contract.check(f"tents/v1/demo/res/{cid}", answer)
    assert (refused["ok"], refused["code"], refused["command"]) == (False, "command.cid_used", name)
    assert (idle.totals(), idle.agent._store.last_id()) == (before, rows)
    [(_, _, answer)] = idle.serve("headcount", json.dumps(HEADCOUNT).encode())
    assert json.loads(answer)["people"] == 9, "the first command still has its answer"


def test_the_same_command_is_answered_again_after_it_has_expired_too(idle: Idle) -> None:
    [(_, _, first)] = idle.serve("headcount", json.dumps(HEADCOUNT).encode())
    assert json.loads(first) == {
        "v": 1, "cid": "a1", "command": "headcount", "ok": True, "people": 9,
    }  # fmt: skip
    for expires in ("2027-11-22T18:10:00Z", "2027-11-22T18:20:00Z", "2025-11-22T18:10:00Z"):
        body = json.dumps(HEADCOUNT | {"expires": expires}).encode()
        [(_, _, answer)] = idle.serve("headcount", body)
        assert json.loads(answer) == json.loads(first) | {"again": True}


def test_a_command_that_had_expired_is_a_new_one_with_a_new_time(idle: Idle) -> None:
    body = json.dumps(HEADCOUNT | {"expires": "2025-11-22T18:10:00Z"}).encode()
    [(_, _, answer)] = idle.serve("headcount", body)
    assert json.loads(answer)["code"] == "command.expired"
    [(_, _, answer)] = idle.serve("headcount", json.dumps(HEADCOUNT).encode())
    assert json.loads(answer) == {
        "v": 1, "cid": "a1", "command": "headcount", "ok": True, "people": 9,
    }  # fmt: skip


def test_an_answer_that_an_older_version_stored_is_given_again(tmp_path: Path) -> None:
    store = Store(tmp_path, 1000, 1 << 20)
    now = Clock().now()
    store.open("a boot", now)
    old = '{"v":1,"cid":"a1","ok":true,"people":9}'
    store.append(lambda *_: [], {}, now, answers=[("a1", old)])
    store.close(now, {})
    idle = Idle(tmp_path)
    [(_, _, answer)] = idle.serve("headcount", json.dumps(HEADCOUNT).encode())
    assert json.loads(answer) == json.loads(old) | {"again": True}
    idle.agent.stop()
    idle.agent.run()


# The whole unit


@pytest.mark.parametrize(
    "topic",
    [
        "$SYS/broker/uptime",
        "$share/g/tents/v1/demo/res/x",
        "$CONTROL/dynamic-security/v1",
        "tents/v1/demo/cmd/headcount",
        "tents/v1/demo/res",
        "tents/v1/other/res/a1",
        "a/" * 30,
        "x" * 60_000,
    ],
)
def test_an_answer_goes_nowhere_that_it_could_harm(
    unit: Unit, subscriber: Subscriber, topic: str
) -> None:
    unit.start()
    subscriber.next("state")
    properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ResponseTopic = topic
    subscriber.send(*command("report", "c9"), properties=properties)
    assert subscriber.next("answer").topic == "tents/v1/demo/res/c9"
    assert unit.status()["link"]["sessions"] == 1


def test_a_command_is_not_run_again_after_a_restart(unit: Unit, subscriber: Subscriber) -> None:
    unit.start()
    subscriber.next("state", all_well)
    message = command("headcount", "again", people=5)
    subscriber.send(*message)
    first = subscriber.next("answer").content
    lit = command("identify", "lamp", seconds=1)
    subscriber.send(*lit)
    lamp = subscriber.next("answer").content
    unit.stop()
    unit.start()
    wait_for(lambda: unit.status()["capacity"]["quality"] == "estimated", "the door")
    unit.walk(inward=True)
    wait_for(lambda: unit.status()["capacity"]["people"] == 6, "somebody to pass")
    wait_for(lambda: unit.status()["link"]["connected"], "the link")
    subscriber.send(*message)
    assert subscriber.next("answer").content == first | {"again": True}
    subscriber.send(*lit)
    assert subscriber.next("answer").content == lamp | {"again": True}
    assert unit.status()["capacity"]["people"] == 6


def test_a_command_and_its_answer_are_one_transaction(
    unit: Unit, subscriber: Subscriber, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Once the answer has been received, both are on the card, whenever the power fails."""
    unit.start()
    subscriber.next("state", all_well)
    subscriber.send(*command("headcount", "c1", people=23))
    answer = subscriber.next("answer").content
    cut = tmp_path_factory.mktemp("cut")
    assert unit.agent is not None
    with unit.agent._store._lock:
        for file in unit.state_dir.glob("tentwatch.db*"):
            shutil.copy(file, cut)
    store = Store(cut, 1000, 1 << 20)
    opened = store.open("another boot", unit.clock.now())
    assert opened.totals is not None
    assert opened.totals["occupancy"]["people"] == 23
    [(cid, body)] = store.answers()
    assert (cid, json.loads(json.loads(body)["answer"])) == ("c1", answer)
    store.close(unit.clock.now(), opened.totals)


def test_a_flood_of_commands_drowns_nobody(unit: Unit, subscriber: Subscriber) -> None:
    unit.start()
    seq = subscriber.next("state", all_well).content["seq"]
    topic, payload = command("report", "NUMBER")
    for number in range(3000):
        body = payload.replace("NUMBER", f"c{number}")
        subscriber.client.publish(topic, body if number % 2 else body[:-1], qos=0)
    headcount = {"command": "headcount", "people": 12}  # repeated while the agent is busy
    wait_for(lambda: bool(control.ask(unit.state_dir, headcount)["ok"]), "the control socket")
    subscriber.next("state", lambda m: m["capacity"]["people"] == 12)

    def is_answered() -> bool:
        subscriber.send(*command("report", "last"))
        return any(m.content.get("cid") == "last" for m in subscriber.received())

    wait_for(is_answered, "an answer after the flood")
    status = unit.status()
    assert status["commands"]["refused"] > 0
    assert (status["link"]["sessions"], status["link"]["connected"]) == (1, True)
    # Other records may have come in between.
    last = max(record["seq"] for record in subscriber.records())
    assert last - seq < 2 * MAX_COMMANDS


def test_faulty_commands_keep_no_good_one_from_its_answer(
    unit: Unit, subscriber: Subscriber
) -> None:
    unit.start()
    subscriber.next("state", all_well)
    topic, payload = command("headcount", "good", people=7)
    for number in range(150):
        subscriber.client.publish(topic, payload[: number % len(payload)], qos=1)
    subscriber.send(topic, payload)
    assert subscriber.next("answer").content == {
        "v": 1, "cid": "good", "command": "headcount", "ok": True, "people": 7,
    }  # fmt: skip
