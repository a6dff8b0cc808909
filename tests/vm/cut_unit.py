"""The unit under power cuts: the real agent in a busy tent, and marks of what truly happens.

Runs in the virtual machine: `python -m tests.vm.cut_unit STATE_DIR PORT DEVICE OFFSET SECONDS END SEED`.
It ends by `stop`, as the service does, or by `kill`, at a quiet moment in which everything is stored.
So the totals must match exactly what happened.
"""

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from publisher.agent import Agent
from publisher.clock import DemoClock
from sensors.simulated.hardware import SimulatedHardware
from technician.demo.demo import configuration
from tests.vm.cut_witness import Marks, names_of, records_in, totals_of

#: Seconds between the edges of a passage: outer blocked, inner blocked, outer free, inner free.
STRIDES_S = (0.09, 0.1, 0.09)
SETTLE_LIMIT_S = 60.0


class Tent:
    """The world around the unit: far busier than any tent, so that something changes all the time."""

    def __init__(
        self, hardware: SimulatedHardware, marks: Marks, seed: int, now_s: Callable[[], float]
    ) -> None:
        self._hardware = hardware
        self._now_s = now_s
        self._marks = marks
        self._seed = seed
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._door, self._power)]
        self.passed = {"entered": 0, "left": 0}

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _door(self) -> None:
        chance = random.Random(self._seed)
        while not self._hardware.is_watched():
            if self._closing.wait(0.05):
                return
        people = 0
        while not self._closing.wait(chance.uniform(0.1, 1.1)):
            inward = people < 3 or (people < 50 and chance.random() < 0.5)
            people += 1 if inward else -1
            edges = ((not inward, True), (inward, True), (not inward, False), (inward, False))
            step_s = self._now_s()
            for (inner, blocked), stride_s in zip(edges, (*STRIDES_S, 0.0), strict=True):
                # The planned time, even if a busy emulator is late: nobody stands still in the door.
                self._hardware.set_beam(inner=inner, blocked=blocked, at_s=step_s)
                at_s = time.monotonic()
                step_s += stride_s
                threading.Event().wait(stride_s)
            way = "entered" if inward else "left"
            self.passed[way] += 1
            self._marks.write("passed", way=way, at=round(at_s, 4))

    def _power(self) -> None:
        chance = random.Random(self._seed + 1)
        mains, current_a = True, 0.0
        mains_s = generator_s = 0.0
        while True:
            now_s = time.monotonic()
            if now_s >= mains_s:
                self._hardware.set_mains(mains)
                mains, mains_s = not mains, now_s + chance.uniform(1.0, 5.0)
            if now_s >= generator_s:
                self._hardware.set_generator(current_a, 13.2)
                current_a, generator_s = 30.0 - current_a, now_s + chance.uniform(3.0, 10.0)
            self._hardware.monitor.report(13.1, -5.0, chance.uniform(30, 90), 600)
            if self._closing.wait(0.5):
                return


def main() -> None:
    state_dir, port, device, offset, seconds, end, seed = sys.argv[1:]
    marks = Marks(Path(device), int(offset))
    clock = DemoClock(1.0)
    work = Path(tempfile.mkdtemp(dir="/run"))
    hardware = SimulatedHardware(work, clock)
    config = configuration(hardware, {"host": "127.0.0.1", "port": int(port)}, 1.0)
    config = replace(config, broker=replace(config.broker, spread_s=0.5, longest_wait_s=1.0))

    def confirmed(topic: str, payload: str) -> None:
        if records := records_in(json.loads(payload)):
            marks.write("confirmed", **names_of(records))

    agent = Agent(config, Path(state_dir), hardware, clock, on_sent=confirmed)
    before = agent.tent.totals.occupancy
    base = {"entered": before.entered_total, "left": before.left_total}
    tent = Tent(hardware, marks, int(seed), clock.now_s)
    thread = threading.Thread(target=agent.run, daemon=True)  # a failure here ends it too
    thread.start()
    marks.write("up", boot=agent.status()["boot"], **base)
    tent.start()
    threading.Event().wait(float(seconds))
    tent.close()
    expected = {way: base[way] + count for way, count in tent.passed.items()}
    settle(agent, expected)
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    marks.write("stopping")
    agent.stop()
    thread.join()
    hardware.close()


def settle(agent: Agent, expected: dict[str, int]) -> None:
    """Wait until everybody is counted and stored, as `status` shows."""
    limit_s = time.monotonic() + SETTLE_LIMIT_S
    while True:
        counted = totals_of(agent.status())
        if all(counted[way] == count for way, count in expected.items()):
            return
        if time.monotonic() > limit_s:
            raise SystemExit(f"{expected} happened, and counted were {counted}")
        threading.Event().wait(0.1)


if __name__ == "__main__":
    main()
