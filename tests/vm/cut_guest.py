"""Runs in the virtual machine while the writes of its disk are logged.

`python -m tests.vm.cut_guest STATE_DIR DEVICE OFFSET SECONDS SEED`: a broker that comes and goes, a
subscriber, repeated `status` requests, and the unit, again and again. Everything but the unit's state
is in memory.
"""

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from publisher import control
from publisher.store.file import FILE
from technician.demo.mosquitto import Mosquitto, free_port
from tests.vm.cut_witness import ROOM, Marks, names_of, records_in, totals_of

TIME_EVERY_S = 0.03
STATUS_EVERY_S = 2.0
#: Number of records in a burst, so that there are checkpoints of the WAL as well.
REPORTS = 40
BROKER_UP_S, BROKER_DOWN_S = (6.0, 15.0), (1.0, 5.0)
UNIT_S = (5.0, 18.0)


class Witness:
    """Threads that note everything that the unit shows, until it is closed."""

    def __init__(self, marks: Marks, port: int, state_dir: Path, seed: int) -> None:
        self._marks = marks
        self._port = port
        self._state_dir = state_dir
        self._chance = random.Random(seed)
        self._closing = threading.Event()
        works = (self._tell_time, self._ask_status, self._subscribe, self._upset_broker)
        self._threads = [threading.Thread(target=self._run, args=(w,), daemon=True) for w in works]
        self.failure: BaseException | None = None

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.failure = error

    def _tell_time(self) -> None:
        written = None
        while not self._closing.wait(TIME_EVERY_S):
            self._marks.write("time")
            before, written = written, self._database_written()
            if before not in (None, written):
                self._marks.write("checkpoint")

    def _database_written(self) -> int | None:
        """Return when the database itself was last written, which happens only at checkpoints of its WAL."""
        try:
            return (self._state_dir / FILE).stat().st_mtime_ns
        except OSError:
            return None

    def _ask_status(self) -> None:
        while not self._closing.wait(self._chance.uniform(0, 2 * STATUS_EVERY_S)):
            what = self._chance.random()
            if what < 0.1:
                self._ask({"command": "headcount", "people": self._chance.randrange(20)})
            elif what < 0.3:
                for _ in range(REPORTS):
                    self._ask({"command": "report"})
            else:
                self._ask({"command": "status"})

    def _ask(self, request: dict[str, Any]) -> None:
        try:
            answer = control.ask(self._state_dir, request)
        except control.ControlError:
            return  # the unit is restarting
        if "capacity" in answer:
            self._marks.write("status", boot=answer["boot"], totals=totals_of(answer))

    def _subscribe(self) -> None:
        client = Client(CallbackAPIVersion.VERSION2, client_id="dashboard", protocol=MQTTv5)
        client.on_connect = lambda client, *_: client.subscribe("tents/v1/+/+", 1)
        client.on_message = self._told
        client.reconnect_delay_set(1, 1)
        client.connect_async("127.0.0.1", self._port)
        client.loop_start()
        self._closing.wait()
        client.loop_stop()

    def _told(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        content = json.loads(message.payload)
        records = records_in(content)
        if records:
            shown = [totals_of(record) for record in records if "capacity" in record]
            self._marks.write("received", **names_of(records), totals=shown)

    def _upset_broker(self) -> None:
        with tempfile.TemporaryDirectory(dir="/run") as directory:
            broker = Mosquitto(Path(directory), self._port)
            while not self._closing.is_set():
                with broker:
                    self._closing.wait(self._chance.uniform(*BROKER_UP_S))
                self._closing.wait(self._chance.uniform(*BROKER_DOWN_S))


def main() -> None:
    state_dir, device, offset, seconds, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    port = free_port(1883)
    marks = Marks(Path(device), int(offset))
    witness = Witness(marks, port, Path(state_dir), int(seed))
    witness.start()
    end_s = time.monotonic() + float(seconds)
    number = 0
    while time.monotonic() < end_s:
        number += 1
        end = "kill" if number % 2 else "stop"
        unit = [sys.executable, "-m", "tests.vm.cut_unit", state_dir, str(port), device]
        lives_s = min(chance.uniform(*UNIT_S), max(1.0, end_s - time.monotonic()))
        unit += [str(int(offset) + ROOM), str(lives_s), end, str(int(seed) + number)]
        code = subprocess.run(unit).returncode
        if code not in ((-9,) if end == "kill" else (0,)):
            raise SystemExit(f"unit {number} ended with {code}")
    witness.close()
    marks.write("over")
    print("RECORDED", number, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
