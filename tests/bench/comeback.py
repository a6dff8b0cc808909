"""Many tents with a backlog that reconnect at the same moment: delays at each tent and at the broker."""

import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from publisher.clock import Clock, boot_id
from publisher.config.sections import BrokerSettings
from publisher.link.link import Link
from publisher.messages import encode
from publisher.store.store import Store

PROCESSES = 4
LIMIT_S = 300.0


class Tent:
    """A store and a link, without a tent."""

    def __init__(self, directory: Path, name: str, port: int, backlog: int, record: str) -> None:
        directory.mkdir()
        self._record = record
        self._clock = Clock()
        self._store = Store(directory, 1_000_000, 1 << 30)
        self._store.open(boot_id(), self._clock.now())
        self._append(backlog)
        self.state_s = 0.0
        self._up_s = 0.0
        self.drained = threading.Event()
        self.link = Link(
            BrokerSettings(host="127.0.0.1", port=port), name, "{}", self._store, self._clock,
            on_up=self._up, on_request=lambda request: None, on_sent=self._sent,
        )  # fmt: skip
        self._left = backlog

    def _append(self, number: int) -> Any:
        return self._store.append(
            lambda boot, seq: [("state", self._record)] * number, {}, self._clock.now()
        )

    def _up(self) -> None:
        self._up_s = time.monotonic()
        self.link.offer(self._append(1))

    def _sent(self, topic: str, payload: str) -> None:
        if topic.endswith("/state"):
            self.state_s = time.monotonic() - self._up_s
        elif topic.endswith("/history"):
            self._left -= payload.count('"seq"')
            if self._left <= 0:
                self.drained.set()


def _some(arguments: tuple[Path, int, int, int, int, float]) -> list[float]:
    """Let some tents reconnect; return how long each one's newest state took, in seconds."""
    directory, first, number, port, backlog, at_s = arguments
    record = encode({"v": 1, "seq": 1, "filling": "x" * 1100})
    tents = [
        Tent(directory / f"{i}", f"tent-{i}", port, backlog, record)
        for i in range(first, first + number)
    ]
    threading.Event().wait(max(0.0, at_s - time.monotonic()))
    for tent in tents:
        tent.link.start()
    for tent in tents:
        tent.drained.wait(LIMIT_S)
    for tent in tents:
        tent.link.stop(0.6)
    return [tent.state_s if tent.drained.is_set() else LIMIT_S for tent in tents]


def run(work: Path, port: int, tents: int, backlog: int) -> dict[str, Any]:
    """Let `tents` tents with `backlog` records each reconnect to a broker on `port`."""
    each = tents // PROCESSES
    at_s = time.monotonic() + 2.0 + tents * backlog / 20_000  # by then all are ready
    jobs = [(work, each * i, each, port, backlog, at_s) for i in range(PROCESSES)]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        took_s = sorted(state_s for found in pool.map(_some, jobs) for state_s in found)
    lasted_s = time.monotonic() - at_s
    return {
        "tents": len(took_s),
        "records_each": backlog,
        "state_median_s": round(took_s[len(took_s) // 2], 3),
        "state_worst_s": round(took_s[-1], 3),
        "drained_s": round(lasted_s, 1),
        "records_per_s": round(len(took_s) * backlog / lasted_s),
    }
