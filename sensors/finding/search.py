"""Finds the device on a serial port: first by listening, then by asking, with the drivers' own parsers.

It sends only requests to read, the same as the drivers.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from queue import Empty, SimpleQueue

from sensors.clock import Monotonic
from sensors.reading import SensorError, Value
from sensors.registry import DRIVERS, served_by, traits
from sensors.serial_port import BUSY, SerialPort
from sensors.traits import Answers, Figures, Speaks
from sensors.trouble import BUS, Trouble, declare, marked

HANGS = declare(
    "serial.hangs",
    marked("{port} hangs"),
    marked("pull its plug for a moment"),
    concerns=BUS,
)

#: Seconds to listen. A monitor sends once a second, and the first block may be incomplete.
LISTEN_S = 2.5
#: Seconds to listen to a device that sends: some blocks may be damaged, or have no figures.
LISTEN_LONGER_S = 5.0
#: Number of times that each request is sent: a sleeping BMS misses the first one.
ROUNDS = 2
#: A port whose search takes longer than this hangs.
LONGEST_S = 20.0
#: Seconds between two checks whether the search was cancelled.
_LOOK_S = 0.1


class State(Enum):
    """The result of the search on a port."""

    RECOGNISED = auto()
    SILENT = auto()
    GARBLED = auto()  # a device sends, but nothing that a driver knows
    BUSY = auto()  # another program has it
    FAILED = auto()


@dataclass(frozen=True)
class AtPort:
    """A finding on a port: the driver that can read the device, and the sensors that it can be.

    `figures` are some of the device's values; `trouble` says why a port failed.
    """

    port: str
    state: State
    driver: str = ""
    serves: tuple[str, ...] = ()
    figures: Figures = field(default_factory=dict)
    trouble: Trouble | None = None


def search(
    ports: Sequence[str], clock: Monotonic, tell: Callable[[AtPort], None] = lambda _: None
) -> list[AtPort]:
    """Search all ports in parallel; call `tell` with each finding at once.

    Returns the findings in the order of `ports`.
    """
    found: dict[str, AtPort] = {}
    news: SimpleQueue[AtPort] = SimpleQueue()
    over = threading.Event()
    threads = [
        threading.Thread(target=lambda p=port: news.put(recognise(p, clock, over)), daemon=True)
        for port in ports
    ]
    until_s = clock.now_s() + LONGEST_S
    try:
        for thread in threads:
            thread.start()
        while len(found) < len(set(ports)):
            try:
                heard = news.get(timeout=clock.real_s(until_s - clock.now_s()))
            except Empty:
                break
            found[heard.port] = heard
            tell(heard)
    finally:
        over.set()  # cancelled: the ports are released
        for thread in threads:
            thread.join(2 * _LOOK_S)
    for port in ports:
        if port not in found:
            found[port] = AtPort(port, State.FAILED, trouble=Trouble(HANGS, port=port))
            tell(found[port])
    return [found[port] for port in ports]


def recognise(port: str, clock: Monotonic, over: threading.Event) -> AtPort:
    """Listen on a port, then ask, each at one baud rate after the other; `over` cancels it."""
    state = State.SILENT
    try:
        for attempt in _attempts():
            found = attempt(port, clock, over)
            if found.state is State.RECOGNISED or over.is_set():
                return found
            if found.state is State.GARBLED:
                state = State.GARBLED
    except SensorError as error:
        state = State.BUSY if error.kind == BUSY else State.FAILED
        return AtPort(port, state, trouble=error)
    return AtPort(port, state)


def _attempts() -> Iterator[Callable[[str, Monotonic, threading.Event], AtPort]]:
    known = {driver: traits(driver) for driver in DRIVERS}
    speaks = {driver: found.speaks for driver, found in known.items() if found.speaks}
    answers = {driver: found.answers for driver, found in known.items() if found.answers}
    for baud in sorted({way.baud for way in speaks.values()}):
        yield partial(_listen, baud, {d: way for d, way in speaks.items() if way.baud == baud})
    for baud in sorted({way.baud for way in answers.values()}):
        yield partial(_ask, baud, {d: way for d, way in answers.items() if way.baud == baud})


def _listen(
    baud: int, possible: Mapping[str, Speaks], name: str, clock: Monotonic, over: threading.Event
) -> AtPort:
    """Wait for devices that send by themselves."""
    port = SerialPort(name, baud)
    parsers = {driver: speaks.parser(name) for driver, speaks in possible.items()}
    figures: dict[str, dict[str, Value]] = {}
    state = State.SILENT
    port.open()
    try:
        begin_s = clock.now_s()
        until_s = begin_s + LISTEN_S
        while (left_s := until_s - clock.now_s()) > 0 and not over.is_set():
            data = port.read(min(_LOOK_S, clock.real_s(left_s)))
            if data:
                state, until_s = State.GARBLED, begin_s + LISTEN_LONGER_S
            for driver, parse in parsers.items():
                for some in parse(data):
                    figures.setdefault(driver, {}).update(some)
                for sensor, sign in possible[driver].signs.items():
                    if sign in figures.get(driver, ()):
                        found = figures[driver]
                        return AtPort(name, State.RECOGNISED, driver, (sensor,), found)
    finally:
        port.close()
    for driver, found in figures.items():
        if found:
            return AtPort(name, State.RECOGNISED, driver, served_by(driver), found)
    return AtPort(name, state)


def _ask(
    baud: int, possible: Mapping[str, Answers], name: str, clock: Monotonic, over: threading.Event
) -> AtPort:
    """Send each driver's request, more than once."""
    port = SerialPort(name, baud)
    state = State.SILENT
    port.open()
    try:
        for driver, answers in ROUNDS * [*possible.items()]:
            reply = b""
            port.ask(answers.request)
            until_s = clock.now_s() + answers.reply_s
            while (left_s := until_s - clock.now_s()) > 0 and not over.is_set():
                data = port.read(min(_LOOK_S, clock.real_s(left_s)))
                reply += data
                if data and (figures := answers.understand(reply)):
                    return AtPort(name, State.RECOGNISED, driver, served_by(driver), figures)
            if reply:
                state = State.GARBLED
    finally:
        port.close()
    return AtPort(name, state)
