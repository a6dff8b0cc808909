"""The setup of the measurements: a broker, a subscriber that notes arrival times, the unit's process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from types import TracebackType
from typing import Any, NamedTuple

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from publisher import control
from technician.demo.mosquitto import Mosquitto, free_port

ROOT = Path(__file__).parents[2]
#: Longest wait in seconds; only a failed measurement reaches it.
PATIENCE_S = 120.0


class Failed(Exception):
    """The figure could not be measured."""


class Broker(Mosquitto):
    """A mosquitto that can be frozen and thawed."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        super().__init__(directory, free_port() if port is None else port)

    def __enter__(self) -> "Broker":
        super().__enter__()
        return self

    def cpu_s(self) -> float:
        """Return user and system time so far, in seconds."""
        assert self._process is not None
        return _cpu_s(Path(f"/proc/{self._process.pid}/stat").read_text())

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.thaw()  # a stopped process does not handle SIGTERM
        super().close()


def _cpu_s(stat: str) -> float:
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Message(NamedTuple):
    """A message as it arrived; `late` if the broker had retained it."""

    at_s: float
    kind: str
    late: bool
    content: dict[str, Any]


class Subscriber:
    """A dashboard that keeps every message with the moment of its arrival."""

    def __init__(self, port: int) -> None:
        self.messages: list[Message] = []
        self._arrived: SimpleQueue[Message] = SimpleQueue()
        subscribed = Event()
        client = self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._take
        client.on_connect = _subscribe
        client.connect("127.0.0.1", port)
        client.loop_start()
        if not subscribed.wait(PATIENCE_S):
            raise Failed("no subscription")

    def __enter__(self) -> "Subscriber":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, client: Client, userdata: Any, raw: MQTTMessage) -> None:
        at_s = time.monotonic()
        content = json.loads(raw.payload)
        message = Message(at_s, raw.topic.rpartition("/")[2], raw.retain, content)
        self.messages.append(message)
        self._arrived.put(message)

    def next(self, fits: Callable[[Message], bool]) -> Message:
        """Return the next message that fits; those before it are skipped."""
        limit_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                message = self._arrived.get(timeout=max(0.0, limit_s - time.monotonic()))
            except Empty:
                raise Failed("the message waited for did not come") from None
            if fits(message):
                return message

    def settled(self) -> Message:
        """Return the first live state in which every sensor has a reading."""
        return self.next(lambda m: m.kind == "state" and not m.late and _all_speak(m.content))


def _subscribe(client: Client, *_: Any) -> None:
    # With QoS 0 the broker's second message would wait for TCP's delayed acknowledgement of the first.
    client.subscribe("tents/v1/#", qos=1)


def _all_speak(state: dict[str, Any]) -> bool:
    power = state["power"]
    blocks = state["capacity"], power["mains"], power["generator"], power["battery"]
    return all(block["quality"] in ("ok", "estimated") for block in blocks)


def records(messages: list[Message]) -> Iterator[tuple[Message, dict[str, Any]]]:
    """Yield all states and events, live or in history, each with the message it came in."""
    for message in messages:
        for record in message.content.get("records", [message.content]):
            if "seq" in record:
                yield message, record


class Unit:
    """The process that runs the agent on simulated devices."""

    #: Directory for the profiles of every unit's threads; a profiled unit is slow.
    profiles: Path | None = None

    def __init__(
        self,
        state_dir: Path,
        port: int,
        *,
        interval_s: float = 60.0,
        speed: float = 1.0,
        world: int | None = None,
        air: bool = False,
        broker: dict[str, Any] | None = None,
        more: Sequence[str] = (),
        environment: Mapping[str, str] = {},
    ) -> None:
        """`more` are further arguments of the process, `environment` further variables."""
        self.state_dir = state_dir
        state_dir.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "tests.bench.unit", "--state-dir", str(state_dir)]
        command += [f"--port={port}", f"--interval={interval_s}", f"--speed={speed}"]
        if world is not None:
            command += [f"--world={world}"]
        if air:
            command += ["--air"]
        if broker is not None:
            command += [f"--broker={json.dumps(broker)}"]
        command += more
        if self.profiles is not None:
            command += ["--profile", str(self.profiles / state_dir.parent.name)]
        run = state_dir.with_name("run")  # as /run/tentwatch, but gone with the rest
        run.mkdir(exist_ok=True)
        with (state_dir / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"RUNTIME_DIRECTORY": str(run)} | dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def __enter__(self) -> "Unit":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.send(signal.SIGTERM)
        self.wait()

    def tell(self, command: str) -> float:
        """Move the devices by a command; return the moment at which it was complete."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(f"{command}\n".encode())
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise Failed(f"the unit has ended: {(self.state_dir / 'log').read_text()[-2000:]}")
        return float(answer)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # a command that came too late
                    pipe.close()

    def status(self) -> dict[str, Any]:
        return control.ask(self.state_dir, {"command": "status"})

    def wait_until(self, fits: Callable[[dict[str, Any]], bool], pause_s: float = 0.1) -> float:
        """Ask for the status until it fits; return the moment of that answer."""
        limit_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < limit_s:
            try:
                if fits(self.status()):
                    return time.monotonic()
            except control.ControlError:
                pass  # not up yet
            time.sleep(pause_s)
        raise Failed("the unit's status did not become what was waited for")

    # The kernel's figures for the process

    def cpu_s(self) -> float:
        """Return user and system time so far, in seconds."""
        return _cpu_s(self._proc("stat"))

    def memory_mib(self) -> tuple[float, float]:
        """Return the resident memory now and at its peak, in MiB."""
        status = self._table("status")
        now, peak = (int(status[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
        return round(now, 1), round(peak, 1)

    def threads(self) -> int:
        return int(self._table("status")["Threads"])

    def descriptors(self) -> int:
        return len([*Path(f"/proc/{self._process.pid}/fd").iterdir()])

    def written_bytes(self) -> int:
        """Return the number of bytes that the process has written to storage."""
        return int(self._table("io")["write_bytes"])

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    def _table(self, name: str) -> dict[str, str]:
        lines = (line.partition(":") for line in self._proc(name).splitlines())
        return {key: value.strip() for key, _, value in lines}
