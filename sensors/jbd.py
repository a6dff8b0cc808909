"""Driver: a JBD battery management system (JBD, LLT, Overkill Solar, Xiaoxiang) on its serial port."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensors.capture import Decoded, no_tap
from sensors.clock import Monotonic
from sensors.hardware import Hardware
from sensors.jbd_frames import CELLS, STATE, TOLERATED, WINDOW, Replies, Reply, request
from sensors.line_trust import Trust, in_hindsight
from sensors.reading import Measurement, SensorError
from sensors.serial_port import GARBLED, SerialPort
from sensors.settings import WHOLE_PATH, setting
from sensors.traits import Answers, Connection, Figures, Traits
from sensors.trouble import SENSOR, declare, marked

SILENT = declare(
    "jbd.silent",
    marked("the BMS on {port} does not answer"),
    marked(
        "exchange TX and RX at its plug; a BMS that sleeps wakes up with a load or a charger; end a "
        "phone's Bluetooth connection to it"
    ),
    concerns=SENSOR,
)

BAUD = 9600  # fixed by the BMS

# Both in real seconds: the line is real however fast a simulation runs.
REPLY_S = 0.4  # it answers within 0.3 s
REST_S = 0.1  # time to wait for the rest of wrong data

#: The reported quantities of a reply to CELLS; a capture has each cell.
_OF_CELLS = ("cell_min_v", "cell_max_v")


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "jbd"`."""

    port: str = setting(
        doc=marked("serial device, best by its stable name under /dev/serial/by-id"),
        pattern=WHOLE_PATH,
    )
    period_s: float = setting(1.0, doc=marked("time between two readings"), low=0.2, high=60.0)
    silence_s: float = setting(
        10.0,
        doc=marked("time without a good reply after which the BMS counts as failed"),
        low=2,
        high=600,
    )


class Jbd:
    """A BMS, read every `period_s`: the pack's state, then its cells. Nothing is ever written to it.

    Its figures are reported as sent; the current is positive while the battery charges.
    """

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        self.period_s = config.period_s
        self.tap = no_tap
        self._config = config
        self._clock = clock
        self._port = SerialPort(config.port, BAUD)
        # Kept across reopening: a bad line stays bad.
        self._replies = Replies()
        self._good_s = 0.0

    def open(self) -> None:
        """Open the port. Raises SensorError."""
        self._port.open()
        self._good_s = self._clock.now_s()

    def read(self) -> Sequence[Measurement]:
        """Ask the BMS; return the pack's figures and its lowest and highest cell.

        A missed reply returns nothing: a sleeping BMS misses the first request. Raises SensorError if
        the port is gone, and after `silence_s` without a reply.
        """
        state = self._ask(STATE)
        flaw = self._replies.flaw
        cells = self._ask(CELLS) if state else None
        now_s = self._clock.now_s()
        if state and state.figures:
            self._good_s = now_s
            figures = dict(state.figures)
            if cells and cells.figures:
                figures |= {name: cells.figures[name] for name in _OF_CELLS}
            return [Measurement(name, value) for name, value in figures.items()]
        if now_s - self._good_s > self._config.silence_s:
            if flaw:
                raise SensorError(GARBLED, port=self._config.port, flaw=flaw)
            raise SensorError(SILENT, port=self._config.port)
        return ()

    def _ask(self, code: int) -> Reply | None:
        self._replies.flaw = None
        self._port.ask(request(code))
        until_s = self._clock.now_s() + REPLY_S * self._clock.speed
        while left_s := self._clock.real_s(until_s - self._clock.now_s()):
            data = self._port.read(min(left_s, REST_S) if self._replies.flaw else left_s)
            self.tap(data)
            for reply in self._replies.feed(data) if data else self._replies.end():
                if reply.code == code:
                    return reply
            if not data:  # silent, or interrupted
                break
        return None

    def interrupt(self) -> None:
        """End a waiting read."""
        self._port.interrupt()

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def _understand(data: bytes) -> Figures | None:
    replies = Replies().feed(data)
    return next((r.figures for r in replies if r.code == STATE and r.figures), None)


TRAITS = Traits(
    driver=Jbd,
    serves={"battery": marked("a battery's BMS (JBD)")},
    connection=Connection.SERIAL,
    silent=SILENT,
    answers=Answers(BAUD, request(STATE), REPLY_S, _understand),
)


def decode(capture: bytes) -> Decoded:
    """Return a BMS's figures in a capture of its bytes; requests in between are skipped."""

    def read(trust: Trust) -> Decoded:
        replies = Replies(trust)
        found = replies.feed(capture) + replies.end()
        return Decoded([reply.figures for reply in found if reply.figures is not None], replies.bad)

    return in_hindsight(read, WINDOW, TOLERATED)
