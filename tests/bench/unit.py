"""The measured unit: the real agent in a process of its own, on devices that the bench moves.

It reads one command a line from standard input (`in`, `out`, `mains 0|1`, `generator AMPERES`, `co PPM`)
and answers with the moment that completed the change. The answer to `heard` is the moment at which the CO
module has sent its last frame; the answer to `simulation` is the CPU time of the threads that only
simulate, in seconds. The clock is time.monotonic(), which on Linux is the same in every process. With
--world the demonstration's world moves the devices instead, and commands may, too. SIGTERM ends it as it
ends the service; so does the end of standard input.
"""

import argparse
import itertools
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from publisher import agent as agents
from publisher.agent import Agent
from publisher.clock import Clock, DemoClock
from sensors.simulated.hardware import SimulatedHardware
from sensors.simulated.world import Truth, World
from technician.demo.demo import configuration
from tests.bench.kernel import KernelClock

#: A person at 1.2 m/s: seconds, whether it is the second beam, whether it is then broken.
PASSAGE = ((0.0, False, True), (0.12, True, True), (0.25, False, False), (0.37, True, False))


#: Names of events, by whether mains is present.
MAINS = {False: "mains_lost", True: "mains_restored"}
#: Names of the threads that only simulate devices.
SIMULATING = ("monitor", "cable")


def _cpu_s(names: Collection[str]) -> float:
    """Return the CPU time of this process's threads with these names so far, in seconds."""
    tasks = [t.native_id for t in threading.enumerate() if t.name in names]
    times_ns = (Path(f"/proc/self/task/{task}/schedstat").read_text().split()[0] for task in tasks)
    return sum(map(int, times_ns)) / 1e9


class Devices:
    """The simulated devices, and a battery monitor that sends once a second."""

    def __init__(self, directory: Path, clock: Clock, *, air: bool) -> None:
        self.hardware = SimulatedHardware(directory, clock, air=air)
        self._clock = clock
        self._co_ppm = self._sent_s = 0.0

    def start(self) -> None:
        """Begin with mains present and a monitor that sends."""
        self.hardware.set_mains(True)
        self.hardware.set_generator(0.0, 13.0)
        threading.Thread(target=self._speak, name="monitor", daemon=True).start()

    def _speak(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._clock.real_s(max(1.0, self._clock.speed / 50))):
            self.hardware.monitor.report(13.1, -5.0, 80.0, 600)
            if (air := self.hardware.air) is not None:
                air.module.cell.co_ppm = self._co_ppm
                self._sent_s = time.monotonic()
                air.module.report()

    def obey(self, command: str) -> float:
        """Carry out a command; return the moment that completed the change."""
        what, _, argument = command.partition(" ")
        if what in ("in", "out"):
            return self._walk(inward=what == "in")
        at_s = time.monotonic()
        if what == "mains":
            self.hardware.set_mains(argument == "1")
        elif what == "generator":
            self.hardware.set_generator(float(argument), 13.0)
        elif what == "co":
            self._co_ppm = float(argument)
        elif what == "heard":
            return self._sent_s
        elif what == "simulation":
            return _cpu_s(SIMULATING)
        else:
            raise ValueError(f"{command!r} is no command")
        return at_s

    def _walk(self, *, inward: bool) -> float:
        start_s = self._clock.now_s()
        at_s = 0.0
        for offset_s, second, blocked in PASSAGE:
            due_s = start_s + offset_s
            time.sleep(self._clock.real_s(due_s - self._clock.now_s()))
            at_s = time.monotonic()
            self.hardware.set_beam(inner=second == inward, blocked=blocked, at_s=due_s)
        return at_s


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.unit", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="the broker's, on this machine")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between snapshots")
    parser.add_argument("--speed", type=float, default=1.0, help="of the simulated time")
    parser.add_argument("--world", type=int, metavar="SEED", help="let a world move the devices")
    parser.add_argument("--air", action="store_true", help="with the sensors of the air")
    parser.add_argument(
        "--kernel", type=Path, help="a simulated kernel's file (tests.bench.kernel)"
    )
    parser.add_argument(
        "--truth", type=Path, help="with --kernel: add what truly happens to a file"
    )
    parser.add_argument("--broker", type=json.loads, default={}, help="keys of [broker], as JSON")
    parser.add_argument("--profile", type=Path, help="profile each thread into a file here")
    options = parser.parse_args()

    clock = Clock() if options.speed == 1 else DemoClock(options.speed)
    truth: Truth = lambda _at_s, _what, /, **_: None  # noqa: E731
    if options.kernel is not None:
        clock = KernelClock(options.kernel)
        boot = clock.kernel.boot_id
        vars(agents)["boot_id"] = lambda: boot  # of a boot that can outlast this process
        if options.truth is not None:
            truth = truth_writer(options.truth, clock)
    with TemporaryDirectory(prefix="bench-devices-") as directory:
        if options.profile is not None:
            _profile_threads(options.profile)
        devices = Devices(Path(directory), clock, air=options.air)
        config = configuration(
            devices.hardware, {"host": "127.0.0.1", "port": options.port}, options.speed
        )
        config = replace(
            config,
            report=replace(config.report, interval_s=options.interval),
            broker=replace(config.broker, **options.broker),
        )
        agent = Agent(config, options.state_dir, devices.hardware, clock)
        world = None
        if options.world is None:
            devices.start()
        else:
            world = World(
                devices.hardware,
                clock,
                truth,
                seed=options.world,
                seats=config.tent.seats,
                hour_of_day=12.0,
                people=agent.tent.totals.occupancy.people,
                step_s=max(1.0, options.speed / 50),
                await_drivers=True,
            )
            world.start()

        def stop(*_: object) -> None:
            if world is not None:
                world.stop()  # first, so that the agent reports everything that has happened
            agent.stop()

        signal.signal(signal.SIGTERM, stop)

        def listen() -> None:
            for line in sys.stdin:
                command = line.strip()
                at_s = devices.obey(command)
                if command.startswith("mains"):
                    truth(clock.now_s(), MAINS[command.endswith("1")])
                print(at_s, flush=True)  # noqa: T201
            stop()

        threading.Thread(target=listen, name="commands", daemon=True).start()
        (agent.run if options.profile is None else _profiled(agent.run, options.profile, "agent"))()
        devices.hardware.close()


def truth_writer(path: Path, clock: KernelClock) -> Truth:
    """Return a function that adds each fact to a file, with its uptime; the devices begin without mains."""
    output = path.open("a", encoding="utf-8", buffering=1)

    def truth(at_s: float, what: str, /, **_: float) -> None:
        if what != "air":
            at = round(clock.uptime_at(at_s), 3)
            output.write(json.dumps({"uptime_s": at, "what": what}) + "\n")

    truth(clock.now_s(), MAINS[False])
    return truth


def _profiled(run: Callable[[], None], directory: Path, name: str) -> Callable[[], None]:
    import cProfile  # here, so that it does not add to the measured memory

    def profiled() -> None:
        profile = cProfile.Profile(time.thread_time)
        try:
            profile.runcall(run)
        finally:
            profile.dump_stats(directory / f"{name}.prof")

    return profiled


def _profile_threads(directory: Path) -> None:
    """Make every thread started from now on write its own profile; a profile covers one thread only."""
    directory.mkdir(parents=True, exist_ok=True)
    plain, number = threading.Thread.start, itertools.count()

    def start(thread: threading.Thread) -> None:
        name = f"{thread.name}-{next(number)}"
        thread.run = _profiled(thread.run, directory, name)  # type: ignore[method-assign]
        plain(thread)

    threading.Thread.start = start  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    main()
