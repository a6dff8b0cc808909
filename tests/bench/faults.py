"""Hours of random faults between a unit and its centre: what is lost, disordered or leaked.

The unit is the real agent in a process of its own, in the demonstration's world at 100 times real speed.
It speaks TLS through a simulated wire to a real mosquitto. The network runs in real time: at this speed
a snapshot comes every 0.6 s, while connecting, keepalive and waits take as long as ever. The checker
subscribes on a listener of its own, beyond the wire, with a persistent session.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from technician.demo.mosquitto import free_port, serves
from tests.bench.stage import PATIENCE_S, Failed, Unit
from tests.wires import Wire

SPEED = 100.0
#: Seconds from the last kill of the unit to the first measurement of its process.
SETTLE_S = 5.0
CENTRE = "centre"
#: Topic on which the checker publishes to itself.
MARK = "tents/v1/checker/mark"


class Centre:
    """A mosquitto with users, one TLS listener for the unit and a plain one for the checker."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tls_port, self.port = free_port(), free_port()
        self.persistent = True
        self.largest_packet = 0  # in bytes; 0 is no limit
        self.ca = directory / "broker.crt"
        self._passwords = directory / "passwords"
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(
            ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost", "-keyout", str(directory / "broker.key"), "-out", str(self.ca)],
            check=True, capture_output=True,
        )  # fmt: skip
        self._passwords.touch()
        self.set_password(CENTRE, CENTRE)
        self.set_password("demo", "first")

    def set_password(self, user: str, password: str) -> None:
        command = ["mosquitto_passwd", "-b", str(self._passwords), user, password]
        subprocess.run(command, check=True, capture_output=True)
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def start(self) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            raise Failed("mosquitto is not installed")
        config = self.directory / "mosquitto.conf"
        keeping = "persistence false"
        if self.persistent:
            keeping = (
                f"persistence true\npersistence_location {self.directory}/\nautosave_interval 1"
            )
        config.write_text(
            f"user root\nallow_anonymous false\npassword_file {self._passwords}\n{keeping}\n"
            # The broker passes each record on at once: a killed broker holds no record that only it
            # has.
            + (f"max_packet_size {self.largest_packet}\n" if self.largest_packet else "")
            + "max_queued_messages 100000\nmax_inflight_messages 0\nset_tcp_nodelay true\n"
            f"listener {self.port} 127.0.0.1\n"
            f"listener {self.tls_port} 127.0.0.1\ncertfile {self.ca}\n"
            f"keyfile {self.directory / 'broker.key'}\n"
        )
        with (self.directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
        limit_s = time.monotonic() + PATIENCE_S
        while not (serves(self.port) and serves(self.tls_port)):
            if time.monotonic() > limit_s:
                raise Failed("mosquitto does not start")
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait()


class Checker:
    """Records every message in the order of arrival."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, bool, Any]] = []
        self.subscribed = threading.Event()
        self._marks, self._marked, self._caught_up = 0, 0, threading.Condition()
        client = self._client = Client(CallbackAPIVersion.VERSION2, "checker", protocol=MQTTv5)
        client.username_pw_set(CENTRE, CENTRE)
        client.on_connect = lambda client, *_: client.subscribe("tents/v1/#", 1)
        client.on_subscribe = lambda *_: self.subscribed.set()
        client.on_disconnect = lambda *_: self.subscribed.clear()
        client.on_message = self._take
        client.reconnect_delay_set(1, 1)
        session: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 0xFFFFFFFF  # never expires
        client.connect("127.0.0.1", port, clean_start=False, properties=session)
        client.loop_start()
        self.await_subscription()

    def _take(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        if message.topic == MARK:
            with self._caught_up:
                self._marked = max(self._marked, int(message.payload))
                self._caught_up.notify_all()
        elif message.payload:
            kind = message.topic.rpartition("/")[2]
            self.messages.append((kind, message.retain, json.loads(message.payload)))

    def await_subscription(self) -> None:
        if not self.subscribed.wait(PATIENCE_S):
            raise Failed("the checker has no subscription")

    def catch_up(self) -> None:
        """Wait until every message has arrived that the broker had confirmed before the call.

        The broker delivers messages in the order in which it received them; a mark of ours is the last.
        """
        self._marks += 1
        limit_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < limit_s:
            self._client.publish(MARK, str(self._marks), qos=1)
            with self._caught_up:
                if self._caught_up.wait_for(lambda: self._marked >= self._marks, PATIENCE_S / 10):
                    return
        raise Failed("the checker does not get what the broker has")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@dataclass
class Storm:
    """All faults, one after the other."""

    centre: Centre
    wire: Wire
    checker: Checker
    password_file: Path
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)

    def faults(self) -> list[Callable[[], None]]:
        return [
            self.cut, self.reset, self.half_close, self.frozen_wire, self.swallowing_wire,
            self.slow_wire, self.narrow_wire, self.damaged_wire, self.refusal, self.frozen_broker,
            self.killed_broker, self.forgetful_broker, self.stopped_broker, self.new_password,
            self.twin,
        ]  # fmt: skip

    def rage(self, seconds: float) -> None:
        """Cause all faults about equally often, with undisturbed periods between them."""
        until_s = time.monotonic() + seconds
        queue: list[Callable[[], None]] = []
        while time.monotonic() < until_s:
            if not queue:
                queue = self.faults()
                self.chance.shuffle(queue)
            fault = queue.pop()
            fault()
            self.done[fault.__name__] += 1
            time.sleep(self.chance.uniform(0.2, 2.5))

    def _last(self, least_s: float, most_s: float) -> None:
        time.sleep(self.chance.uniform(least_s, most_s))

    @contextmanager
    def _wire(self, **changes: Any) -> Any:
        before = {name: getattr(self.wire, name) for name in changes}
        for name, value in changes.items():
            setattr(self.wire, name, value)
        yield
        for name, value in before.items():
            setattr(self.wire, name, value)

    # The wire

    def cut(self) -> None:
        self.wire.cut()

    def reset(self) -> None:
        self.wire.cut(reset=True)

    def half_close(self) -> None:
        self.wire.half_close()

    def frozen_wire(self) -> None:
        with self._wire(frozen=True):
            self._last(0.5, 6.0)

    def swallowing_wire(self) -> None:
        with self._wire(swallows=True):
            self._last(0.5, 6.0)
        self.wire.cut()  # dropped bytes are missing: TLS would notice sooner or later

    def slow_wire(self) -> None:
        with self._wire(delay_s=self.chance.uniform(0.05, 0.4)):
            self._last(1.0, 4.0)

    def narrow_wire(self) -> None:
        with self._wire(bytes_per_s=self.chance.uniform(2_000, 20_000)):
            self._last(1.0, 6.0)

    def damaged_wire(self) -> None:
        def flip(from_unit: bool, content: bytes) -> bytes:
            damaged = bytearray(content)
            damaged[self.chance.randrange(len(damaged))] ^= 1 << self.chance.randrange(8)
            return bytes(damaged)

        with self._wire(tamper=flip):
            self._last(0.5, 3.0)

    def refusal(self) -> None:
        with self._wire(refuses=True):
            self.wire.cut()
            self._last(0.5, 3.0)

    # The broker

    def frozen_broker(self) -> None:
        self.centre.send(signal.SIGSTOP)
        self._last(0.5, 6.0)
        self.centre.send(signal.SIGCONT)

    def killed_broker(self) -> None:
        self._replace(signal.SIGKILL, persistent=True)

    def forgetful_broker(self) -> None:
        """Restart the broker without its retained messages and without the checker's session."""
        self._replace(signal.SIGKILL, persistent=False)

    def stopped_broker(self) -> None:
        self._replace(signal.SIGTERM, persistent=True)

    def _replace(self, number: signal.Signals, *, persistent: bool) -> None:
        # The broker must have passed its messages on to the checker before it dies: later losses are
        # not the unit's.
        if not self.wire.freeze(PATIENCE_S):
            raise Failed("the wire does not freeze")
        self.checker.catch_up()
        self.centre.end(number)
        self.wire.refuses, self.wire.frozen = True, False
        self.wire.cut()
        self.checker.subscribed.clear()
        if not persistent:
            (self.centre.directory / "mosquitto.db").unlink(missing_ok=True)
        self.centre.persistent = persistent
        self._last(0.0, 2.0)
        self.centre.start()
        self.checker.await_subscription()
        self.wire.refuses = False

    # People

    def new_password(self) -> None:
        password = f"{self.chance.random()}"
        self.centre.set_password("demo", password)
        self.wire.cut()
        self._last(1.0, 3.0)
        self.password_file.write_text(password)

    def twin(self) -> None:
        """Connect another unit with the same name for a while."""
        twin = Client(CallbackAPIVersion.VERSION2, "demo", reconnect_on_failure=False)
        twin.username_pw_set("demo", self.password_file.read_text())
        twin.connect("127.0.0.1", self.centre.port)
        twin.loop_start()
        self._last(0.5, 2.0)
        twin.disconnect()
        twin.loop_stop()


def run(work: Path, seconds: float, kills: int, seed: int) -> dict[str, Any]:
    """Cause faults for `seconds` real seconds; kill the unit in the first third of them."""
    chance = random.Random(seed)
    with ExitStack() as stack:
        centre = Centre(work)
        centre.start()
        stack.callback(lambda: centre.end(signal.SIGKILL))
        checker = Checker(centre.port)
        stack.callback(checker.close)
        wire = stack.enter_context(Wire(centre.tls_port))
        password_file = work / "password"
        password_file.write_text("first")
        storm = Storm(centre, wire, checker, password_file, chance)
        state_dir = work / "state"

        def unit() -> Unit:
            settings = {
                "host": "localhost", "tls": True, "ca_file": str(centre.ca), "username": "demo",
                "password_file": str(password_file), "keepalive_s": 2, "longest_wait_s": 2.0,
                "spread_s": 0.5,
            }  # fmt: skip
            return Unit(state_dir, wire.port, speed=SPEED, world=seed, broker=settings)

        began_s = time.monotonic()
        for _ in range(kills):
            killed = unit()
            try:
                storm.rage(seconds / 3 / kills)
            finally:
                killed.send(signal.SIGKILL)
                killed.wait()
        last = stack.enter_context(unit())
        last.wait_until(lambda status: bool(status["link"]["connected"]))
        time.sleep(SETTLE_S)
        before = _spent(last)
        storm.rage(began_s + seconds - time.monotonic())
        last.wait_until(_is_calm)
        after = _spent(last)
        link = last.status()["link"]
        lasted_s = time.monotonic() - began_s
        last.send(signal.SIGTERM)
        last.wait()
        late = _retained(centre.port)
        limit_s = time.monotonic() + PATIENCE_S
        while not _has_ended(checker) and time.monotonic() < limit_s:
            time.sleep(0.05)
    return {
        "hours": round(lasted_s * SPEED / 3600, 2),
        "faults": sum(storm.done.values()) + kills,
        "kinds": dict(sorted(storm.done.items())) | {"killed_unit": kills},
        "sessions_of_last_unit": link["sessions"],
        "restarts_of_link": link["restarts"],
        **_judge(state_dir, checker.messages, late),
        **{f"{name}_before": value for name, value in before.items()},
        **{f"{name}_after": value for name, value in after.items()},
    }


def _is_calm(status: dict[str, Any]) -> bool:
    return bool(status["link"]["connected"]) and status["buffer"]["rows"] == 0


def _has_ended(checker: Checker) -> bool:
    return any(
        kind == "link" and "ts" in content and not content["online"]
        for kind, _, content in checker.messages[-5:]
    )


def _spent(unit: Unit) -> dict[str, Any]:
    """Return the process's resources while it is connected and resolves no name."""
    found = []
    for _ in range(20):
        unit.wait_until(_is_calm)
        found.append((unit.threads(), unit.descriptors(), unit.memory_mib()[0]))
        time.sleep(0.05)
    threads, descriptors, memory_mib = (min(column) for column in zip(*found, strict=True))
    return {"threads": threads, "descriptors": descriptors, "memory_mib": memory_mib}


def _retained(port: int) -> dict[str, Any]:
    """Return the retained messages that a late subscriber receives."""
    found: dict[str, Any] = {}
    all_there = threading.Event()

    def take(client: Client, userdata: Any, message: MQTTMessage) -> None:
        found[message.topic.rpartition("/")[2]] = json.loads(message.payload)
        if len(found) == 3:
            all_there.set()

    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.username_pw_set(CENTRE, CENTRE)
    client.on_connect = lambda client, *_: client.subscribe("tents/v1/#", 1)
    client.on_message = take
    client.connect("127.0.0.1", port)
    client.loop_start()
    all_there.wait(PATIENCE_S)
    client.disconnect()
    client.loop_stop()
    return found


def _judge(
    state_dir: Path, messages: list[tuple[str, bool, Any]], late: dict[str, Any]
) -> dict[str, Any]:
    """Compare the records that have arrived with the numbers in the unit's store."""
    with closing(sqlite3.connect(f"file:{state_dir}/tentwatch.db?mode=ro", uri=True)) as store:
        ledger = json.loads(store.execute("SELECT body FROM ledger").fetchone()[0])
        left = store.execute("SELECT count(*) FROM outbox WHERE confirmed IS NULL").fetchone()[0]
    got: dict[tuple[int, int], dict[str, Any]] = {}
    again = ambiguous = disordered = stale = in_history = 0
    newest = {"history": (0, 0), "state": (0, 0)}
    for kind, retained, content in messages:
        if retained:
            continue
        for record in content.get("records", [content]):
            if "seq" not in record:
                continue
            key = record["boot"], record["seq"]
            if key in got:
                again += 1
                ambiguous += record != got[key]
                continue
            got[key] = record
            if kind in newest:
                is_late = key < newest[kind]
                disordered += is_late and kind == "history"
                stale += is_late and kind == "state"
                newest[kind] = max(newest[kind], key)
            in_history += kind == "history"
    made = {(ledger["boot"], seq) for seq in range(1, ledger["seq"] + 1)}
    return {
        "made": len(made),
        "lost": len(made - {*got}) - ledger["dropped"],
        "dropped": ledger["dropped"],
        "never_made": len({*got} - made),
        "ambiguous": ambiguous,
        "disordered": disordered,
        "stale_states": stale,
        "in_history": in_history,
        "sent_again": again,
        "left_in_store": left,
        "retained_is_newest": {*late} == {"link", "about", "state", "days"}
        and not late["link"]["online"]
        and (late["state"]["boot"], late["state"]["seq"]) == newest["state"],
    }


def is_well(found: dict[str, Any]) -> bool:
    """Say whether nothing was lost, disordered, or leaked."""
    nothing = ("lost", "dropped", "never_made", "ambiguous", "disordered", "stale_states")
    return (
        not any(found[name] for name in (*nothing, "left_in_store", "restarts_of_link"))
        and found["retained_is_newest"]
        and found["threads_after"] <= found["threads_before"]
        and found["descriptors_after"] <= found["descriptors_before"]
    )


def log_of(work: Path) -> str:
    """Return the end of the unit's log, for a failure's report."""
    with (work / "state" / "log").open("rb") as file:
        file.seek(-min(file.seek(0, os.SEEK_END), 4000), os.SEEK_END)
        return file.read().decode(errors="replace")
