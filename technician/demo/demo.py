"""The demonstration: the real agent on simulated devices, which a small world moves."""

import contextlib
import json
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO
from zoneinfo import ZoneInfo

from publisher.agent import Agent
from publisher.clock import DemoClock
from publisher.config.load import Config, parse
from sensors.simulated.hardware import (
    LAMP_GPIO,
    SimulatedHardware,
)
from sensors.simulated.world import CAPACITY_AH, TANK_L, World
from technician.demo.attendant import Attendant
from technician.demo.options import Options

#: Keys of `[tent]` where the command line gives no other values.
TENT: Mapping[str, str | int | float] = {
    "id": "demo",
    "name": "Demonstration tent",
    "seats": 60,
    "timezone": "Europe/Kyiv",
    "lamp_gpio": LAMP_GPIO,
}

#: What the data sheet says that the generator burns; in truth it is something else.
FULL_LOAD_L_H, NO_LOAD_L_H = 0.8, 0.4

_CONFIG = """\
[tent]
{tent}

[broker]
{broker}

[report]
stale_after_s = {stale_after_s}

[generator]
rated_w = 600
tank_l = {tank_l}
full_load_l_h = {full_load_l_h}
no_load_l_h = {no_load_l_h}

[battery]
chemistry = "lifepo4"
capacity_ah = {capacity_ah}

{sensors}
"""


def configuration(
    hardware: SimulatedHardware,
    broker: Mapping[str, str | int | bool],
    speed: float,
    tent: Mapping[str, str | int | float] = {},
) -> Config:
    """Return the configuration that fits the simulated devices.

    `broker` and `tent` are keys of their sections. Raises ConfigError where one is wrong.
    """
    # Devices cannot be read more often than about 50 times a real second.
    step_s = max(1.0, speed / 50)
    return parse(
        _CONFIG.format(
            tent=_lines({**TENT, **tent}),
            broker=_lines(broker),
            stale_after_s=max(15.0, 2 * speed),
            capacity_ah=CAPACITY_AH,
            tank_l=TANK_L,
            full_load_l_h=FULL_LOAD_L_H,
            no_load_l_h=NO_LOAD_L_H,
            sensors=hardware.sections(period_s=step_s, silence_s=max(5.0, speed)),
        ),
        "the demonstration's configuration",
    )


def _lines(keys: Mapping[str, str | int | float | bool]) -> str:
    """Return keys and values as lines of TOML, whose texts and numbers are those of JSON."""
    return "\n".join(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in keys.items())


@contextlib.contextmanager
def demonstration(
    options: Options, on_sent: Callable[[str, str], None]
) -> Iterator[tuple[Agent, Callable[..., None]]]:
    """Set up the world and the agent; the world moves while the context is open.

    Yields the agent and a function that stops both, which a signal handler or any thread may call.
    """
    clock = DemoClock(options.speed)
    with contextlib.ExitStack() as stack:
        devices = stack.enter_context(tempfile.TemporaryDirectory(prefix="tentwatch-demo-"))
        hardware = SimulatedHardware(Path(devices), clock, air=True)
        stack.callback(hardware.close)
        config = configuration(hardware, options.broker, options.speed, options.tent)
        agent = Agent(config, options.state_dir, hardware, clock, on_sent=on_sent)
        output: IO[str] | None = None
        if options.truth is not None:
            output = stack.enter_context(options.truth.open("w", encoding="utf-8", buffering=1))

        attendant = Attendant(options.state_dir)
        attendant.start()
        stack.callback(attendant.stop)
        attendant.has_refuelled(None)  # the world begins with a full tank

        def truth(at_s: float, what: str, /, **values: float) -> None:
            if what == "refuelled":
                attendant.has_refuelled(values["litres"])
            if output is not None:
                at = round(clock.uptime_at(at_s), 3)
                output.write(json.dumps({"uptime_s": at, "what": what, **values}) + "\n")

        wall = clock.now().wall
        assert wall is not None
        local = wall.astimezone(ZoneInfo(config.tent.timezone))
        world = World(
            hardware,
            clock,
            truth,
            seed=options.seed,
            seats=config.tent.seats,
            hour_of_day=local.hour + local.minute / 60,
            people=agent.tent.totals.occupancy.people,
            step_s=max(1.0, options.speed / 50),
            await_drivers=True,
        )
        world.start()
        stack.callback(world.stop)

        def stop(*_: object) -> None:
            world.stop()  # first, so that the agent reports everything that has happened
            agent.stop()

        if options.seconds is not None:
            timer = threading.Timer(options.seconds, stop)
            timer.daemon = True
            timer.start()
            stack.callback(timer.cancel)
        yield agent, stop


def print_messages(options: Options) -> None:
    """Print each message that the broker has confirmed, until a signal comes."""
    ends: list[Callable[..., None]] = []

    def print_line(topic: str, payload: str) -> None:
        try:
            print(topic, payload, flush=True)  # noqa: T201
        except OSError:  # nobody reads any more
            for end in ends:
                end()

    with demonstration(options, print_line) as (agent, stop):
        ends.append(stop)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup: the terminal may close
            signal.signal(signal.SIGHUP, stop)
        agent.run()
