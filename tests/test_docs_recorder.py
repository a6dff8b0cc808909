"""What docs/topics.md says to those who write a recorder, on a real broker."""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.conftest import Broker, Unit, command, is_connected, wait_for

PAGE = (Path(__file__).parent.parent / "docs" / "topics.md").read_text(encoding="utf-8")
CHAPTER = PAGE.partition("## For a recorder\n")[2].partition("\n## ")[0]
BLOCKS = [block for _, block in re.findall(r"  ```(sh)?\n(.*?)  ```", CHAPTER, re.DOTALL)]


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that holds 20 messages for a client that is away."""
    broker = Broker(
        tmp_path_factory.mktemp("small"), "allow_anonymous true\nmax_queued_messages 20"
    )
    yield broker.start()
    broker.stop()


def create_session(port: int) -> None:
    """Follow the page, at a broker without TLS and users."""
    there = ("--cafile ca/ca.crt", '-u recorder -P "$password"', "-h broker.example.org", "-p 8883")
    text = BLOCKS[0].replace("\\\n", " ")
    for part in there:
        assert part in text
        text = text.replace(part, "")
    done = subprocess.run(
        [*shlex.split(text), "-h", "127.0.0.1", "-p", str(port)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


class Recorder:
    """A recorder as the page describes it."""

    def __init__(self, port: int) -> None:
        self.messages: list[MQTTMessage] = []
        self._client = Client(CallbackAPIVersion.VERSION2, "recorder", protocol=MQTTv5)
        self._client.on_message = lambda _, __, message: self.messages.append(message)
        session: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 604800
        self._client.connect("127.0.0.1", port, clean_start=False, properties=session)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def publish(port: int, topic: str, messages: int) -> list[str]:
    """Publish numbers; return what the broker says to each, in order."""
    said: list[str] = []
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.on_publish = lambda _, __, ___, reason, ____: said.append(str(reason))
    client.connect("127.0.0.1", port)
    client.loop_start()
    for number in range(messages):
        client.publish(topic, b"%d" % number, qos=1)
    wait_for(lambda: len(said) == messages, "the PUBACKs")
    client.disconnect()
    client.loop_stop()
    return said


def test_a_session_that_was_created_before_has_every_record(
    make_unit: Callable[..., Unit], broker: Broker
) -> None:
    create_session(broker.port)
    unit = make_unit(broker.port, speed=20.0).reporting(interval_s=1.0, ttl_s=10).start()
    wait_for(lambda: len(unit.sent) > 30, "records")
    unit.stop()
    confirmed = [payload for topic, payload in unit.sent if topic.endswith(("/state", "/event"))]
    recorder = Recorder(broker.port)
    wait_for(lambda: len(recorder.messages) >= len(confirmed), "the records")
    recorder.close()
    assert {payload.encode() for payload in confirmed} <= {m.payload for m in recorder.messages}
    assert not [m for m in recorder.messages if m.retain], "no Retain As Published"


def test_the_line_to_alarm_on_and_what_is_dropped(small: Broker) -> None:
    create_session(small.port)
    topic = "tents/v1/demo/event"
    assert set(publish(small.port, topic, 40)) == {"Success"}, "the tents are not told"
    line = BLOCKS[1].strip()
    log = (small.directory / "mosquitto.log").read_text()
    assert log.count(line) == 1
    recorder = Recorder(small.port)
    wait_for(lambda: len(recorder.messages) >= 20, "what the broker has held")
    recorder.close()
    assert [int(m.payload) for m in recorder.messages] == [*range(20)]


def test_a_record_that_goes_to_nobody_is_a_success_with_a_code(broker: Broker) -> None:
    assert publish(broker.port, "tents/v1/demo/event", 1) == ["No matching subscribers"]


def test_an_answer_below_res_is_where_it_was_asked_for(unit: Unit, broker: Broker) -> None:
    unit.start()
    wait_for(lambda: is_connected(unit), "the connection")
    topic, payload = command("report", "a1")
    asked: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    asked.ResponseTopic = "tents/v1/demo/res/mine"
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()

    def is_answered() -> bool:
        client.publish(topic, payload, qos=1, properties=asked)
        return asked.ResponseTopic in [topic for topic, _ in unit.sent]

    wait_for(is_answered, "the answer")
    client.disconnect()
    client.loop_stop()
