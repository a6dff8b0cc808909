"""The search on serial ports, with simulated devices at their real baud rates."""

import os
import random
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sensors import jbd_frames, pzem004t_frames
from sensors.clock import Monotonic
from sensors.finding import search
from sensors.finding.search import AtPort, State
from sensors.serial_port import GONE, MISSING, SerialPort
from sensors.simulated.jbd import Bms
from sensors.simulated.pzem004t import Line, Meter
from sensors.simulated.serial_cable import Cable
from sensors.simulated.ze07co import Module
from sensors.vedirect import INVERTER
from tests import devices
from tests.devices import Fields, block, flipped, shunt_fields

DICE = random.Random(11)
CHARGER: Fields = {
    "PID": "0xA053",
    "V": 13_500,
    "I": 2_000,
    "VPV": 31_000,
    "PPV": 28,
    "CS": 3,
    "ERR": 0,
}
HISTORY: Fields = {"H1": -12_000, "H2": -1_500, "H3": -3_000, "H4": 12}


def speed_of(path: Path) -> int:
    """Return the speed to which a port is set."""
    number = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return int(termios.tcgetattr(number)[4])
    finally:
        os.close(number)


class SlowMeter(Meter):
    """A meter that receives and sends nonsense at another speed than its own."""

    def misbehave(self, reply: bytes) -> bytes:
        right = speed_of(self._path) == termios.B9600
        return super().misbehave(reply) if right else DICE.randbytes(len(reply))


class SlowBms(Bms):
    def misbehave(self, reply: bytes) -> bytes:
        right = speed_of(self._path) == termios.B9600
        return super().misbehave(reply) if right else DICE.randbytes(len(reply))


class Sleeper(SlowBms):
    """A BMS that the first request only wakes up."""

    is_awake = False

    def misbehave(self, reply: bytes) -> bytes:
        was_awake, self.is_awake = self.is_awake, True
        return super().misbehave(reply) if was_awake else b""


class Listener(Cable):
    """A device that records everything and sends nothing."""

    def __init__(self, path: Path) -> None:
        self.heard: list[bytes] = []
        super().__init__(path, self._hear)

    def _hear(self, request: bytes) -> bytes:
        self.heard.append(request)
        return b""


class Quitter(Cable):
    """A device whose cable is pulled at the first request."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, lambda _: b"")

    def send(self, data: bytes) -> None:
        self.unplug()


@contextmanager
def speaking(
    cable: Cable, says: Callable[[], bytes], speed: int = termios.B19200
) -> Iterator[None]:
    """Make a device send all the time; at another speed than its own it sends nonsense."""
    over = threading.Event()

    def speak() -> None:
        while not over.wait(0.1):
            said = says()
            is_right = speed_of(cable._path) == speed
            cable.send(said if is_right else DICE.randbytes(len(said)))

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def monitor_says() -> bytes:
    return block(shunt_fields(DICE))


def damaged() -> bytes:
    good = monitor_says()
    return good[:-1] + bytes([good[-1] ^ 0x20])


def test_every_device_is_recognised_by_what_it_says(tmp_path: Path) -> None:
    told: list[AtPort] = []
    paths = {n: tmp_path / n for n in ("monitor", "charger", "meter", "bms", "sleeper", "both")}
    with ExitStack() as stack:
        for name, says in (
            ("monitor", monitor_says),
            ("charger", lambda: block(CHARGER)),
            # A BMV sends its history in a block of its own, and a bad cable damages every other block.
            ("both", lambda: DICE.choice((block(HISTORY), flipped(DICE, monitor_says())))
             + monitor_says()),
        ):  # fmt: skip
            cable = Cable(paths[name])
            stack.callback(cable.close)
            stack.enter_context(speaking(cable, says))
        meter, bms, sleeper = (
            SlowMeter(paths["meter"]), SlowBms(paths["bms"]), Sleeper(paths["sleeper"])
        )  # fmt: skip
        meter.line = Line(current_a=4.0)
        for device in (meter, bms, sleeper):
            stack.callback(device.close)
        found = search.search([str(p) for p in paths.values()], Monotonic(), told.append)
    assert [(Path(h.port).name, h.state, h.driver, h.serves) for h in found] == [
        ("monitor", State.RECOGNISED, "vedirect", ("battery",)),
        ("charger", State.RECOGNISED, "vedirect", ("charger",)),
        ("meter", State.RECOGNISED, "pzem004t", ("mains", "generator")),
        ("bms", State.RECOGNISED, "jbd", ("battery",)),
        ("sleeper", State.RECOGNISED, "jbd", ("battery",)),
        ("both", State.RECOGNISED, "vedirect", ("battery",)),
    ]
    assert found[1].figures["voltage_v"] == 13.5
    assert found[2].figures["power_w"] == 920.0
    assert found[3].figures["charge_pct"] == 71.0
    assert sorted(told, key=str) == sorted(found, key=str)


def test_a_gas_module_is_recognised_by_listening_and_nothing_is_sent_to_it(tmp_path: Path) -> None:
    module = Module(tmp_path / "gas")
    module.cell.breathe(40.0, 600.0)
    with speaking(module, module.says, termios.B9600):
        (found,) = search.search([str(tmp_path / "gas")], Monotonic())
    module.close()
    assert (found.state, found.driver, found.serves) == (State.RECOGNISED, "ze07co", ("co",))
    assert found.figures == {"co_ppm": 40.0}
    assert module.heard == b""


def test_what_is_no_known_device_is_told_apart(tmp_path: Path) -> None:
    """Silence, nonsense, damage, a port in use, a cable that is pulled, no port: all at once."""
    names = ("silent", "noise", "damage", "busy", "pulled", "short", "inverter")
    paths = [tmp_path / name for name in names]
    with ExitStack() as stack:
        silent, quitter, short = Listener(paths[0]), Quitter(paths[4]), SlowBms(paths[5])
        short.fault = "short replies"
        for device in (silent, quitter, short):
            stack.callback(device.close)
        for path, says in (
            (paths[1], lambda: DICE.randbytes(60)),
            (paths[2], damaged),
            (paths[6], lambda: block(devices.INVERTER)),
        ):
            cable = Cable(path)
            stack.callback(cable.close)
            stack.enter_context(speaking(cable, says))
        busy, user = Cable(paths[3]), SerialPort(str(paths[3]), 19200)
        stack.callback(busy.close)
        user.open()
        stack.callback(user.close)
        found = search.search([*map(str, paths), str(tmp_path / "none")], Monotonic())
        heard = b"".join(silent.heard)
    assert [h.state for h in found] == [
        State.SILENT, State.GARBLED, State.GARBLED, State.BUSY, State.FAILED, State.GARBLED,
        State.FAILED, State.FAILED,
    ]  # fmt: skip
    assert found[4].trouble is not None and found[4].trouble.kind is GONE
    assert found[6].trouble is not None and found[6].trouble.kind is INVERTER
    assert found[7].trouble is not None and found[7].trouble.kind is MISSING
    # Only requests to read: a meter has commands that would spoil its calibration.
    meter, bms = pzem004t_frames.request(0xF8), jbd_frames.request(jbd_frames.STATE)
    assert heard == search.ROUNDS * (bms + meter)
    assert (meter[1], bms[1]) == (0x04, 0xA5)


def test_a_search_that_is_given_up_lets_go_of_the_ports(tmp_path: Path) -> None:
    silent = Listener(tmp_path / "silent")

    def give_up(_: AtPort) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search.search([str(tmp_path / "none"), str(tmp_path / "silent")], Monotonic(), give_up)
    assert silent.heard == []
    port = SerialPort(str(tmp_path / "silent"), 9600)
    port.open()
    port.close()
    silent.close()


def test_without_a_port_nothing_is_searched() -> None:
    assert search.search([], Monotonic()) == []
