"""Driver: a Victron battery monitor (SmartShunt, BMV) or solar charger (MPPT) on its VE.Direct port."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sensors.capture import Decoded, no_tap
from sensors.clock import Monotonic
from sensors.hardware import Hardware
from sensors.line_trust import TOLERATED, WINDOW, Trust, in_hindsight
from sensors.reading import Measurement, SensorError
from sensors.serial_port import SerialPort
from sensors.settings import WHOLE_PATH, setting
from sensors.traits import Connection, Figures, Speaks, Traits
from sensors.trouble import SENSOR, declare, marked
from sensors.vedirect_frames import HISTORY, OF_INVERTERS, Blocks

SILENT = declare(
    "vedirect.silent",
    marked("nothing came from {port} for {seconds:g} s"),
    marked(
        "plug the VE.Direct cable into the device, and see that the device has its supply (its lamp, or "
        "Bluetooth)"
    ),
    concerns=SENSOR,
)
GARBLED = declare(
    "vedirect.garbled",
    marked("what comes from {port} is no VE.Direct ({flaw})"),
    marked(
        "another device is on this port, or the device is not in text mode: compare port with "
        "ls /dev/serial/by-id; a cable along inverter cables: lay it apart"
    ),
    concerns=SENSOR,
)
INVERTER = declare(
    "vedirect.inverter",
    marked("on {port} is a Victron inverter, neither a battery monitor nor a solar charger"),
    marked(
        "plug the VE.Direct cable into the battery monitor (SmartShunt, BMV) or the solar charger"
    ),
    concerns=SENSOR,
)

BAUD = 19200  # fixed by the protocol
WAIT_S = 1.0


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "vedirect"`."""

    port: str = setting(
        doc=marked("serial device, best by its stable name under /dev/serial/by-id"),
        pattern=WHOLE_PATH,
    )
    silence_s: float = setting(
        5.0,
        doc=marked("time without a good block after which the device counts as failed"),
        low=2,
        high=600,
    )


class VeDirect:
    """A device that sends about once a second, in text mode; its figures are reported as sent."""

    period_s = 0.0

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        self._config = config
        self._clock = clock
        self._port = SerialPort(config.port, BAUD)
        self.tap = no_tap
        self._blocks = Blocks()  # kept across reopening: a bad line stays bad
        self._heard_s = 0.0
        self._good_s = 0.0

    def open(self) -> None:
        """Open the port. Raises SensorError."""
        self._port.open()
        self._blocks.start_over()
        self._heard_s = self._good_s = self._clock.now_s()

    def read(self) -> Sequence[Measurement]:
        """Wait for bytes; return the figures of the blocks that they complete, but no history.

        Raises SensorError if the port is gone, after `silence_s` without a block, and on an inverter's.
        """
        data = self._port.read(self._clock.real_s(WAIT_S))
        self.tap(data)
        now_s = self._clock.now_s()
        found: dict[str, float | bool | None] = {}
        if data:
            self._heard_s = now_s
            for figures in self._blocks.feed(data):
                found |= _present(figures, self._config.port)
        if found:  # a block of history alone has no present values
            self._good_s = now_s
        port, silence_s = self._config.port, self._config.silence_s
        if now_s - self._heard_s > silence_s:
            raise SensorError(SILENT, port=port, seconds=silence_s)
        if now_s - self._good_s > silence_s:
            flaw = self._blocks.flaw or marked("no block of figures")
            raise SensorError(GARBLED, port=port, flaw=flaw)
        return [Measurement(name, value) for name, value in found.items()]

    def interrupt(self) -> None:
        """End a waiting read."""
        self._port.interrupt()

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def _parser(port: str) -> Callable[[bytes], Sequence[Figures]]:
    blocks = Blocks()
    return lambda data: [_present(figures, port) for figures in blocks.feed(data)]


def _present(figures: Figures, port: str) -> Figures:
    """Return figures without history. Raises SensorError if they are an inverter's."""
    if OF_INVERTERS in figures:
        raise SensorError(INVERTER, port=port)
    return {name: value for name, value in figures.items() if name not in HISTORY}


TRAITS = Traits(
    driver=VeDirect,
    serves={
        "battery": marked("a Victron battery monitor"),
        "charger": marked("a Victron solar charger"),
    },
    connection=Connection.SERIAL,
    silent=SILENT,
    speaks=Speaks(BAUD, _parser, {"charger": "charger_state", "battery": "charge_pct"}),
)


def decode(capture: bytes) -> Decoded:
    """Return the device's figures in a capture of its bytes."""

    def read(trust: Trust) -> Decoded:
        blocks = Blocks(trust)
        frames = blocks.feed(capture)
        return Decoded(frames, blocks.bad)

    return in_hindsight(read, WINDOW, TOLERATED)
