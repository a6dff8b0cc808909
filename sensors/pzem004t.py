"""Driver: a PZEM-004T v3 AC meter on a serial port (Modbus RTU)."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensors.capture import Decoded, no_tap
from sensors.clock import Monotonic
from sensors.hardware import Hardware
from sensors.pzem004t_frames import GENERAL_ADDRESS, QUANTITIES, Replies, request
from sensors.reading import Measurement, Quality
from sensors.serial_port import GARBLED, SerialPort
from sensors.settings import WHOLE_PATH, setting
from sensors.traits import Answers, Connection, Figures, Traits
from sensors.trouble import SENSOR, Trouble, declare, marked

SILENT = declare(
    "pzem004t.silent",
    marked("the meter on {port} does not answer"),
    marked(
        "it answers only with AC at its terminals: if there is AC, check TX, RX, 5 V and ground of its "
        "serial side, and its address"
    ),
    concerns=SENSOR,
)

BAUD = 9600  # fixed by the meter

# Both in real seconds: the line is real however fast a simulation runs.
REPLY_S = 0.3  # it answers within 0.1 s
REST_S = 0.1  # time to wait for the rest of wrong data


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "pzem004t"`."""

    port: str = setting(
        doc=marked("serial device, best by its stable name under /dev/serial/by-id"),
        pattern=WHOLE_PATH,
    )
    address: int = setting(
        GENERAL_ADDRESS,
        doc=marked("Modbus address of the meter; 0xF8 is any meter that is alone on its line"),
        low=0x01,
        high=GENERAL_ADDRESS,
    )
    period_s: float = setting(1.0, doc=marked("time between two readings"), low=0.2, high=60.0)
    silence_s: float = setting(
        10.0, doc=marked("time without a good reply after which nothing is known"), low=2, high=600
    )


class Pzem004t:
    """An AC meter, read every `period_s`. The driver only ever requests its measurements.

    Its measuring side is powered by the AC that it measures, so a meter without AC does not answer.
    That is not a fault of the port: each quantity is then None with quality `fault`, and nothing is
    raised. The tent's rules decide whether the AC or the meter failed.
    """

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        self.period_s = config.period_s
        self.tap = no_tap
        self._config = config
        self._clock = clock
        self._port = SerialPort(config.port, BAUD)
        self._replies = Replies(config.address)
        self._good_s = 0.0

    def open(self) -> None:
        """Open the port. Raises SensorError."""
        self._port.open()
        self._good_s = self._clock.now_s()

    def read(self) -> Sequence[Measurement]:
        """Ask the meter; return its figures, or nothing for a missed reply.

        After `silence_s` without a good reply each quantity is unknown. Raises SensorError if the port
        is gone.
        """
        figures = self._ask()
        now_s = self._clock.now_s()
        if figures is not None:
            self._good_s = now_s
            return [Measurement(name, value) for name, value in figures.items()]
        if now_s - self._good_s <= self._config.silence_s:
            return ()
        port, flaw = self._config.port, self._replies.flaw
        trouble = Trouble(GARBLED, port=port, flaw=flaw) if flaw else Trouble(SILENT, port=port)
        return [Measurement(name, None, Quality.FAULT, trouble) for name in QUANTITIES]

    def _ask(self) -> Figures | None:
        self._replies.flaw = None
        self._port.ask(request(self._config.address))
        until_s = self._clock.now_s() + REPLY_S * self._clock.speed
        found: Sequence[Figures] = ()
        while not found and (left_s := self._clock.real_s(until_s - self._clock.now_s())):
            data = self._port.read(min(left_s, REST_S) if self._replies.flaw else left_s)
            self.tap(data)
            found = self._replies.feed(data) if data else self._replies.end()
            if not data:  # silent, or interrupted
                break
        return found[-1] if found else None

    def interrupt(self) -> None:
        """End a waiting read."""
        self._port.interrupt()

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def _understand(data: bytes) -> Figures | None:
    replies = Replies().feed(data)
    return replies[-1] if replies else None


TRAITS = Traits(
    driver=Pzem004t,
    serves=dict.fromkeys(("mains", "generator"), marked("an AC meter (PZEM-004T)")),
    connection=Connection.SERIAL,
    measures_ac=True,
    silent=SILENT,
    answers=Answers(BAUD, request(GENERAL_ADDRESS), REPLY_S, _understand),
)


def decode(capture: bytes) -> Decoded:
    """Return meters' figures in a capture of their bytes; requests in between are skipped."""
    replies = Replies()
    frames = replies.feed(capture) + replies.end()
    return Decoded(frames, replies.bad)
