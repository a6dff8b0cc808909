"""Driver: a Victron battery monitor (SmartShunt, BMV) on its VE.Direct port, in text mode."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sensors.clock import Monotonic
from sensors.hardware import Hardware
from sensors.reading import Measurement, SensorError
from sensors.settings import setting
from sensors.vedirect_frames import Blocks, FrameError, measurements

BAUD = 19200  # fixed by the protocol
WAIT_S = 1.0


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "vedirect"`."""

    port: str = setting(doc="serial device, best by its stable name under /dev/serial/by-id")
    silence_s: float = setting(
        5.0,
        doc="time without a good block after which the monitor counts as failed",
        low=2,
        high=600,
    )


class VeDirect:
    """A battery monitor that speaks about once a second; its figures are taken as sent."""

    period_s = 0.0

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        self._config = config
        self._clock = clock
        self._serial: Any = None
        # `interrupt` comes from another thread: a descriptor closed meanwhile may be another's.
        self._closing = Lock()
        self._blocks = Blocks()
        self._heard_s = 0.0
        self._good_s = 0.0
        self._flaw = ""

    def open(self) -> None:
        """Open the port. Raises SensorError."""
        import termios

        import serial

        wait_s = self._clock.real_s(WAIT_S)
        try:
            self._serial = serial.Serial(self._config.port, BAUD, timeout=wait_s, exclusive=True)
        except (OSError, ValueError, termios.error) as error:
            raise SensorError(
                f"{self._config.port} cannot be opened ({error}): check the cable, the name under "
                f"/dev/serial/by-id, membership of group dialout and that nothing else uses it"
            ) from error
        self._blocks = Blocks()
        self._heard_s = self._good_s = self._clock.now_s()
        self._flaw = ""

    def read(self) -> Sequence[Measurement]:
        """Wait for bytes; return the figures of the blocks that they complete."""
        port = self._serial
        try:
            data = port.read(1)
            if data and port.in_waiting:
                data += port.read(port.in_waiting)
        except OSError as error:
            raise SensorError(f"{self._config.port} is gone ({error}): check the cable") from error
        now_s = self._clock.now_s()
        found: dict[str, float | None] = {}
        if data:
            self._heard_s = now_s
            for block in self._blocks.feed(data):
                try:
                    figures = measurements(block)
                except FrameError as error:
                    self._flaw = str(error)
                    continue
                if figures:  # a block of history alone says nothing of the battery's state
                    found |= figures
                    self._good_s, self._flaw = now_s, ""
        silence_s = self._config.silence_s
        if now_s - self._heard_s > silence_s:
            raise SensorError(
                f"{self._config.port} has been silent for {silence_s:g} s: is the monitor powered "
                f"and the VE.Direct cable plugged in?"
            )
        if now_s - self._good_s > silence_s:
            raise SensorError(
                f"{self._config.port} sends, but nothing that makes sense ({self._flaw or 'no block'}"
                f" in {silence_s:g} s): is it a VE.Direct device in text mode?"
            )
        return [Measurement(name, value) for name, value in found.items()]

    def interrupt(self) -> None:
        """End a waiting read."""
        with self._closing:
            if self._serial is not None:
                self._serial.cancel_read()

    def close(self) -> None:
        """Close the port."""
        with self._closing:
            port, self._serial = self._serial, None
            if port is not None:
                port.close()
