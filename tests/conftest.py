"""Fixtures of all tests: real brokers, subscribers that check every message, whole units."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, Queue
from typing import Any, NamedTuple

import gpiozero
import hypothesis
import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from publisher.agent import Agent
from publisher.clock import Clock, DemoClock, boot_id
from publisher.config.load import Config
from publisher.config.sections import BrokerSettings, ReportSettings
from publisher.store.store import Store
from sensors.simulated.hardware import SimulatedHardware
from technician.demo.demo import configuration
from technician.demo.mosquitto import serves
from technician.words import _catalogue
from tests import contract

#: Longest wait in seconds; only a failed test reaches it.
PATIENCE_S = 60.0

# The same inputs each time, unless `make fuzz` asks for more; no deadline per input.
hypothesis.settings.register_profile("test", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("fuzz", max_examples=20_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))


def reserved_port() -> socket.socket:
    """Return a socket that keeps its port: nobody is given it, and a broker may still listen there."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


class Broker:
    """A real mosquitto that can be stopped, frozen and started again on its port."""

    def __init__(self, directory: Path, settings: str = "allow_anonymous true") -> None:
        self.directory = directory
        self.settings = settings
        self._reserved = reserved_port()
        self.port: int = self._reserved.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Broker":
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        assert program is not None, "mosquitto is not installed"
        config = self.directory / "mosquitto.conf"
        config.write_text(
            # It keeps the subscribers' sessions across a restart, so they miss nothing.
            f"user root\nlistener {self.port} 127.0.0.1\nmax_queued_messages 0\n"
            f"persistence true\npersistence_location {self.directory}/\n{self.settings}\n"
        )
        with (self.directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
        wait_for(lambda: serves(self.port), "mosquitto")
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(PATIENCE_S)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Message(NamedTuple):
    topic: str
    content: dict[str, Any]
    retained: bool
    properties: Any


class Subscriber:
    """A dashboard: receives every message, and records each one that breaks the contract.

    Its session persists while it or the broker is down.
    """

    def __init__(self, port: int, topic: str = "tents/v1/#", **login: Any) -> None:
        self.faults: list[str] = []
        self.messages: list[Message] = []
        self._arrived: Queue[Message] = Queue()
        self._seen: set[tuple[Any, Any]] = set()
        self._subscribed = threading.Event()
        name = f"dashboard-{id(self)}"
        self._mark, self._marks, self._mark_came = f"mark/{name}", 0, threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTv5)
        if login:
            self.client.username_pw_set(login["username"], login["password"])
        self.client.on_connect = lambda client, *_: client.subscribe([(topic, 1), (self._mark, 1)])
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._take
        self.client.reconnect_delay_set(1, 1)
        session: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 0xFFFFFFFF  # never expires
        self.client.connect("127.0.0.1", port, clean_start=False, properties=session)
        self.client.loop_start()
        assert self._subscribed.wait(PATIENCE_S), "no subscription"

    def _take(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        if message.topic == self._mark:
            if int(message.payload) == self._marks:
                self._mark_came.set()
            return
        if "/cmd/" in message.topic or not message.payload:
            return
        try:
            content = contract.check(message.topic, bytes(message.payload))
        except (AssertionError, ValueError) as fault:
            self.faults.append(str(fault))
            return
        found = Message(message.topic, content, message.retain, message.properties)
        if not message.retain:
            # QoS 1 may deliver twice, mostly around a restart of the broker.
            if "seq" in content and (content["boot"], content["seq"]) in self._seen:
                return
            self._seen.add((content.get("boot"), content.get("seq")))
        self.messages.append(found)
        self._arrived.put(found)

    def next(
        self,
        kind: str,
        where: Callable[[dict[str, Any]], bool] = lambda _: True,
        *,
        retained: bool = False,
    ) -> Message:
        """Return the next message of a kind that fits; those before it are skipped.

        With `retained` the broker must have retained it; otherwise it must be live.
        """
        limit_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                message = self._arrived.get(timeout=max(0.01, limit_s - time.monotonic()))
            except Empty:
                self.check()
                raise AssertionError(f"no fitting {kind} came") from None
            if (
                contract.kind_of(message.topic) == kind
                and message.retained == retained
                and where(message.content)
            ):
                return message

    def received(self) -> list[Message]:
        """Return every message so far, including all that the broker has confirmed by now.

        A PUBACK may reach the unit before the message reaches us, so this waits for a mark of our own,
        which arrives after it.
        """
        self._mark_came.clear()
        self._marks += 1
        self.send(self._mark, str(self._marks))
        assert self._mark_came.wait(PATIENCE_S), "the broker does not bring our own mark"
        return list(self.messages)

    def records(self) -> list[dict[str, Any]]:
        """Return every state and event so far, live or late, each once, by boot and seq."""
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for message in self.received():
            content = message.content
            for record in content.get("records", [content]):
                if "seq" in record:
                    found[record["boot"], record["seq"]] = record
        return [found[key] for key in sorted(found)]

    def send(self, topic: str, payload: str | bytes, **how: Any) -> None:
        self.client.publish(topic, payload, qos=1, **how)

    def check(self) -> None:
        assert not self.faults, self.faults

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Unit:
    """A whole unit: the real agent and drivers on simulated devices."""

    def __init__(self, directory: Path, port: int, speed: float = 1.0, **broker: Any) -> None:
        self.state_dir = directory
        self.clock: Clock = DemoClock(speed)
        self.hardware = SimulatedHardware(directory, self.clock)
        config = configuration(self.hardware, {"host": "127.0.0.1", "port": port}, speed)
        settings: BrokerSettings = replace(
            config.broker, spread_s=0.0, longest_wait_s=1.0, **broker
        )
        self.config: Config = replace(config, broker=settings)
        self.sent: list[tuple[str, str]] = []
        self.agent: Agent | None = None
        self._thread: threading.Thread | None = None
        self._talking = threading.Event()
        self.hardware.set_mains(True)
        self.hardware.set_generator(0.0, 13.0)
        self.charge_pct = 80.0

    def reporting(self, **changes: Any) -> "Unit":
        """Change the `[report]` section."""
        report: ReportSettings = replace(self.config.report, **changes)
        self.config = replace(self.config, report=report)
        return self

    def start(self) -> "Unit":
        self.agent = Agent(
            self.config,
            self.state_dir,
            self.hardware,
            self.clock,
            on_sent=lambda topic, payload: self.sent.append((topic, payload)),
        )
        self._thread = threading.Thread(target=self.agent.run, name="unit", daemon=True)
        self._thread.start()
        self._talking.clear()
        threading.Thread(target=self._monitor, daemon=True).start()
        return self

    def _monitor(self) -> None:
        """Make the battery monitor send once a second, as the real one does."""
        while not self._talking.wait(self.clock.real_s(1.0)):
            self.hardware.monitor.report(13.1, -5.0, self.charge_pct, 600)

    def walk(self, *, inward: bool) -> None:
        """Simulate one person passing the door, in simulated time."""
        first, second = (False, True) if inward else (True, False)
        at_s = self.clock.now_s()
        for offset_s, inner, blocked in (
            (0.0, first, True),
            (0.12, second, True),
            (0.25, first, False),
            (0.37, second, False),
        ):
            self.hardware.set_beam(inner=inner, blocked=blocked, at_s=at_s + offset_s)

    def status(self) -> dict[str, Any]:
        assert self.agent is not None
        return self.agent.status()

    def stop(self) -> None:
        self._talking.set()
        agent, self.agent = self.agent, None
        if agent is not None and self._thread is not None:
            agent.stop()
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive(), "the agent does not stop"
        for topic, payload in self.sent:
            contract.check(topic, payload)

    def close(self) -> None:
        self.stop()
        self.hardware.close()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll until `condition` holds, where no event can be waited for."""
    pause = threading.Event()
    limit_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < limit_s, f"waited in vain for {what}"
        pause.wait(0.02)


def is_connected(unit: Unit) -> bool:
    return bool(unit.status()["link"]["connected"])


def trouble_of(unit: Unit) -> str | None:
    """Return the code of what is wrong with the link."""
    trouble = unit.status()["link"]["trouble"]
    return None if trouble is None else str(trouble["code"])


def values_of(unit: Unit) -> dict[str, Any]:
    """Return the values of what is wrong with the link."""
    return dict(unit.status()["link"]["trouble"]["values"])


def assert_gapless(records: list[dict[str, Any]]) -> None:
    assert records
    assert [r["seq"] for r in records] == list(range(1, len(records) + 1))


def backlog_event(boot: int, seq: int) -> str:
    return json.dumps(
        {
            "v": 1, "id": "demo", "boot": boot, "seq": seq, "ts": "2026-11-22T10:00:00.000Z",
            "clock": "synced", "uptime_s": 1.0, "event": "headcount_set",
            "detail": {"people": 1, "counted": 0, "correction": 1},
        }
    )  # fmt: skip


def fill(unit: Unit, records: int) -> None:
    """Put a backlog into a unit's store."""
    store = Store(unit.state_dir, 100_000, 1 << 30)
    now = unit.clock.now()
    store.open(boot_id(), now)
    store.append(
        lambda boot, seq: [("event", backlog_event(boot, seq + i)) for i in range(records)], {}, now
    )
    store.close(now, {})


def all_well(state: dict[str, Any]) -> bool:
    blocks = [state["capacity"], *(state["power"][k] for k in ("mains", "generator", "battery"))]
    return all(block["quality"] == "ok" for block in blocks)


def recorded(subscriber: Subscriber, event: str) -> dict[str, Any]:
    """Return an event, whether it came live or in `history`."""

    def found() -> list[dict[str, Any]]:
        return [r for r in subscriber.records() if r.get("event") == event]

    wait_for(lambda: bool(found()), event)
    return found()[0]


def command(name: str, cid: str, minutes: float = 5, **argument: Any) -> tuple[str, str]:
    expires = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
    return f"tents/v1/demo/cmd/{name}", json.dumps({"cid": cid, "expires": expires, **argument})


#: Environment variables that change the program's behaviour and may be set where the tests are started.
ENVIRONMENT = (
    "COLUMNS", "GPIOZERO_PIN_FACTORY", "INVOCATION_ID", "JOURNAL_STREAM", "LANG", "LANGUAGE", "LC_ALL",
    "LC_MESSAGES", "LINES", "NOTIFY_SOCKET", "NO_COLOR", "PYTHONUTF8", "STATE_DIRECTORY",
)  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give all tests the same environment and signals, wherever they are started.

    `nohup` and a shell's `&` ignore signals, and every process that a test starts would inherit that. A
    handler that does nothing is not inherited by a new program.
    """
    for name in ENVIRONMENT:
        os.environ.pop(name, None)
    os.environ["LANG"] = "C.UTF-8"
    os.environ["RUNTIME_DIRECTORY"] = str(tmp_path_factory.mktemp("run"))
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Restore the process-wide state after each test: environment, language, pins."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    _catalogue.cache_clear()
    gpiozero.Device.pin_factory = None


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker")).start()
    yield broker
    broker.stop()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port on which nobody listens."""
    with reserved_port() as reserved:
        yield reserved.getsockname()[1]


@pytest.fixture
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    subscriber = Subscriber(broker.port)
    yield subscriber
    subscriber.close()
    subscriber.check()


@pytest.fixture
def make_unit(tmp_path: Path) -> Iterator[Callable[..., Unit]]:
    """Makes units as `Unit` does, and stops them afterwards."""
    units: list[Unit] = []

    def make(port: int, **settings: Any) -> Unit:
        units.append(Unit(tmp_path, port, **settings))
        return units[-1]

    yield make
    for unit in units:
        unit.close()


@pytest.fixture
def unit(make_unit: Callable[..., Unit], broker: Broker) -> Unit:
    """A unit that has not been started."""
    return make_unit(broker.port)
