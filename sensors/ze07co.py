"""Driver: a Winsen ZE07-CO or ZE15-CO, a module that measures carbon monoxide, on a serial port."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sensors.capture import Decoded, no_tap
from sensors.clock import Monotonic
from sensors.hardware import Hardware
from sensors.line_trust import Trust, in_hindsight
from sensors.reading import Measurement, Quality, SensorError
from sensors.serial_port import GARBLED, SerialPort
from sensors.settings import WHOLE_PATH, setting
from sensors.traits import Connection, Figures, Speaks, Traits
from sensors.trouble import SENSOR, Trouble, declare, marked
from sensors.ze07co_frames import SEND_BY_YOURSELF, TOLERATED, WINDOW, Frames

SILENT = declare(
    "ze07co.silent",
    marked("nothing came from {port} for {seconds:g} s"),
    marked(
        "check the CO module's supply (5 V), its ground, and the wire from its TX to the adapter's RX (one "
        "in question-and-answer mode needs its RX connected too); until it sends, nothing here watches the "
        "carbon monoxide"
    ),
    concerns=SENSOR,
)
CELL_FAILED = declare(
    "ze07co.cell_failed",
    marked("the CO module on {port} reports that its cell has failed"),
    marked("replace the module; until then nothing here watches the carbon monoxide"),
    concerns=SENSOR,
)

BAUD = 9600  # fixed by the module
WAIT_S = 1.0
#: A module that sends by itself does so every second. After this much silence it is asked to.
QUIET_S = 2.5


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "ze07co"`."""

    port: str = setting(
        doc=marked("serial device, best by its stable name under /dev/serial/by-id"),
        pattern=WHOLE_PATH,
    )
    warm_up_s: float = setting(
        180.0,
        doc=marked("time after its supply comes on in which the module's values do not count"),
        low=0,
        high=600,
    )
    silence_s: float = setting(
        5.0,
        doc=marked("time without a good frame after which the module counts as failed"),
        low=4,
        high=600,
    )


class Ze07Co:
    """A module that sends every second by itself; gives the concentration of carbon monoxide in ppm.

    While the module warms up, the value is None, of quality `starting`. It warms up from the first byte
    after a silence, or after its port was gone. A module that is heard when the program starts got its
    supply with the Pi: then the monotonic clock, which counts from the Pi's start, is the time since. So
    a restart of the program does not make it blind again.
    """

    period_s = 0.0

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        self.tap = no_tap
        self._config = config
        self._clock = clock
        self._port = SerialPort(config.port, BAUD)
        self._frames = Frames()  # kept across reopening: a bad line stays bad
        self._powered_s = 0.0  # when its supply came on
        self._was_silent = False  # the next byte is the first one after a silence
        self._was_asked = False  # since the port was opened
        self._heard_s = 0.0  # its last byte
        self._good_s = 0.0  # its last good frame

    def open(self) -> None:
        """Open the port. Raises SensorError."""
        try:
            self._port.open()
        except SensorError:
            self._was_silent = True
            raise
        self._frames.start_over()
        self._was_asked = False
        self._heard_s = self._good_s = self._clock.now_s()

    def read(self) -> Sequence[Measurement]:
        """Wait for bytes; return the concentration after the frames that they complete.

        Raises SensorError if the port is gone, and after `silence_s` without a good frame.
        """
        try:
            return self._read()
        except SensorError as error:
            if error.kind is not GARBLED:
                self._was_silent = True
            raise

    def _read(self) -> Sequence[Measurement]:
        data = self._port.read(self._clock.real_s(WAIT_S))
        self.tap(data)
        now_s = self._clock.now_s()
        port, silence_s = self._config.port, self._config.silence_s
        if not data:
            quiet_s = now_s - self._heard_s
            if quiet_s > QUIET_S and not self._was_asked:
                self._was_asked = True
                self._port.ask(SEND_BY_YOURSELF)
            if quiet_s > silence_s:
                raise SensorError(SILENT, port=port, seconds=silence_s)
            return ()
        if self._was_silent:
            self._was_silent, self._powered_s = False, now_s
        self._heard_s = now_s
        good = self._frames.good
        found = self._frames.feed(data)
        if self._frames.good > good:
            self._good_s = now_s
        elif now_s - self._good_s > silence_s:
            flaw = self._frames.flaw or marked("no whole frame")
            raise SensorError(GARBLED, port=port, flaw=flaw)
        return [self._measured(figures["co_ppm"], now_s) for figures in found[-1:]]

    def _measured(self, co_ppm: float | None, now_s: float) -> Measurement:
        if now_s - self._powered_s < self._config.warm_up_s:
            return Measurement("co_ppm", None, Quality.STARTING)
        if co_ppm is None:
            failed = Trouble(CELL_FAILED, port=self._config.port)
            return Measurement("co_ppm", None, Quality.FAULT, failed)
        return Measurement("co_ppm", co_ppm)

    def interrupt(self) -> None:
        """End a waiting read."""
        self._port.interrupt()

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def _parser(_: str) -> Callable[[bytes], Sequence[Figures]]:
    return Frames().feed


TRAITS = Traits(
    driver=Ze07Co,
    serves={"co": marked("a carbon monoxide module (ZE07-CO, ZE15-CO)")},
    connection=Connection.SERIAL,
    silent=SILENT,
    speaks=Speaks(BAUD, _parser, {"co": "co_ppm"}),
)


def decode(capture: bytes) -> Decoded:
    """Return the concentrations in a capture of a module's bytes, as the driver believes them."""

    def read(trust: Trust) -> Decoded:
        frames = Frames(trust)
        return Decoded(frames.feed(capture), frames.bad)

    return in_hindsight(read, WINDOW, TOLERATED)
