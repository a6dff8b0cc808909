"""What is on a serial port: found out by listening, then by asking, with the drivers' own parsers.

Nothing is sent but the requests to read that the drivers send, too.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from queue import Empty, SimpleQueue

from sensors import jbd, jbd_frames, pzem004t, pzem004t_frames, vedirect
from sensors.clock import Monotonic
from sensors.pzem004t_frames import GENERAL_ADDRESS
from sensors.reading import SensorError
from sensors.registry import DRIVERS, SENSORS
from sensors.serial_port import BUSY, SerialPort
from sensors.trouble import BUS, Trouble, declare, marked
from sensors.vedirect_frames import HISTORY, Blocks, Figures

HANGS = declare(
    "serial.hangs",
    marked("{port} hangs"),
    marked("pull its plug for a moment"),
    concerns=BUS,
)

#: A monitor speaks once a second, and we may have come in the middle of a block.
LISTEN_S = 2.5
#: Whoever speaks is heard for longer: some blocks may be damaged, or hold no figures.
LISTEN_LONGER_S = 5.0
#: Each question is put so many times: a BMS that slept does not hear the first one.
ROUNDS = 2
#: A port that takes longer than all of this hangs.
LONGEST_S = 12.0
#: How often a search looks whether it has been given up.
_LOOK_S = 0.1


class State(Enum):
    """What came of the search on a port."""

    RECOGNISED = auto()
    SILENT = auto()
    GARBLED = auto()  # something speaks, and not in a way that is known here
    BUSY = auto()  # another program has it
    FAILED = auto()


@dataclass(frozen=True)
class Heard:
    """What was found on a port: by which driver it can be read, and as which sensors.

    `figures` are some of those that the device gave; `trouble` says why a port failed.
    """

    port: str
    state: State
    driver: str = ""
    serves: tuple[str, ...] = ()
    figures: Figures = field(default_factory=dict)
    trouble: Trouble | None = None


def search(
    ports: Sequence[str], clock: Monotonic, tell: Callable[[Heard], None] = lambda _: None
) -> list[Heard]:
    """Look at all ports side by side; `tell` hears of each as soon as it is known.

    Returns what was found, in the order of `ports`.
    """
    found: dict[str, Heard] = {}
    news: SimpleQueue[Heard] = SimpleQueue()
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
        over.set()  # given up: the ports are let go of
        for thread in threads:
            thread.join(2 * _LOOK_S)
    for port in ports:
        if port not in found:
            found[port] = Heard(port, State.FAILED, trouble=Trouble(HANGS, port=port))
            tell(found[port])
    return [found[port] for port in ports]


def recognise(port: str, clock: Monotonic, over: threading.Event) -> Heard:
    """Listen on a port, then ask; `over` ends it early."""
    try:
        found = _listen(port, clock, over)
        if found.state is State.RECOGNISED or over.is_set():
            return found
        return _ask(port, clock, over, found.state)
    except SensorError as error:
        state = State.BUSY if error.kind == BUSY else State.FAILED
        return Heard(port, state, trouble=error)


def _listen(name: str, clock: Monotonic, over: threading.Event) -> Heard:
    """Wait for VE.Direct, whose devices speak by themselves."""
    port, blocks = SerialPort(name, vedirect.BAUD), Blocks()
    figures: Figures = {}
    state = State.SILENT
    port.open()
    try:
        begin_s = clock.now_s()
        until_s = begin_s + LISTEN_S
        while (left_s := until_s - clock.now_s()) > 0 and not over.is_set():
            data = port.read(min(_LOOK_S, clock.real_s(left_s)))
            if data:
                state, until_s = State.GARBLED, begin_s + LISTEN_LONGER_S
            for block in blocks.feed(data):
                figures |= {n: value for n, value in block.items() if n not in HISTORY}
            for sensor, of_it_alone in (("charger", "charger_state"), ("battery", "charge_pct")):
                if of_it_alone in figures:
                    return Heard(name, State.RECOGNISED, "vedirect", (sensor,), figures)
    finally:
        port.close()
    if figures:
        return Heard(name, State.RECOGNISED, "vedirect", _serves("vedirect"), figures)
    return Heard(name, state)


def _ask(name: str, clock: Monotonic, over: threading.Event, state: State) -> Heard:
    """Put each driver's own question, more than once."""
    assert pzem004t.BAUD == jbd.BAUD, "both are asked on a port that is opened once"
    questions: tuple[tuple[str, bytes, float, Callable[[bytes], Figures | None]], ...] = (
        ("pzem004t", pzem004t_frames.request(GENERAL_ADDRESS), pzem004t.REPLY_S, _meter_says),
        ("jbd", jbd_frames.request(jbd_frames.STATE), jbd.REPLY_S, _bms_says),
    )
    port = SerialPort(name, jbd.BAUD)
    port.open()
    try:
        for driver, request, reply_s, understand in ROUNDS * questions:
            said = b""
            port.ask(request)
            until_s = clock.now_s() + reply_s
            while (left_s := until_s - clock.now_s()) > 0 and not over.is_set():
                data = port.read(min(_LOOK_S, clock.real_s(left_s)))
                said += data
                if data and (figures := understand(said)):
                    return Heard(name, State.RECOGNISED, driver, _serves(driver), figures)
            if said:
                state = State.GARBLED
    finally:
        port.close()
    return Heard(name, state)


def _serves(driver: str) -> tuple[str, ...]:
    return tuple(name for name in SENSORS if name in DRIVERS[driver].serves)


def _meter_says(said: bytes) -> Figures | None:
    replies = pzem004t_frames.Replies().feed(said)
    return {**replies[-1]} if replies else None


def _bms_says(said: bytes) -> Figures | None:
    replies = jbd_frames.Replies().feed(said)
    return next((r.figures for r in replies if r.code == jbd_frames.STATE and r.figures), None)
