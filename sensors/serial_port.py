"""A serial port as drivers use it: opened for one alone, read with a deadline, interrupted."""

import os
from threading import Lock
from typing import Any

from sensors.reading import SensorError


class SerialPort:
    """A serial device with 8 data bits, no parity and one stop bit.

    Its waits are in real seconds: the line is real however fast a simulation runs.
    """

    def __init__(self, path: str, baud: int) -> None:
        self.path = path
        self._baud = baud
        self._serial: Any = None
        # `interrupt` comes from another thread: a descriptor closed meanwhile may be another's.
        self._closing = Lock()

    def open(self) -> None:
        """Open the port. Raises SensorError."""
        import termios

        import serial

        try:
            self._serial = serial.Serial(
                self.path, self._baud, timeout=0, write_timeout=1.0, exclusive=True
            )
        except (OSError, ValueError, termios.error) as error:
            raise SensorError(
                f"{self.path} cannot be opened ({_why(error)}): check the cable, the name under "
                f"/dev/serial/by-id, membership of group dialout and that nothing else uses it"
            ) from error

    def read(self, wait_s: float) -> bytes:
        """Wait for a byte, at most `wait_s`; return what has come. Raises SensorError."""
        port = self._serial
        try:
            if port.timeout != wait_s:
                port.timeout = wait_s
            data: bytes = port.read(1)
            if data and port.in_waiting:
                data += port.read(port.in_waiting)
        except (OSError, ValueError) as error:
            raise self._gone(error) from error
        return data

    def ask(self, request: bytes) -> None:
        """Send a request, and forget what came before it. Raises SensorError."""
        import termios

        try:
            self._serial.reset_input_buffer()
            self._serial.write(request)
        except (OSError, ValueError, termios.error) as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> SensorError:
        return SensorError(f"{self.path} is gone ({error}): check the cable")

    def interrupt(self) -> None:
        """End a waiting read."""
        with self._closing:
            if self._serial is not None:
                self._serial.cancel_read()

    def close(self) -> None:
        """Close the port; harmless when it is not open."""
        with self._closing:
            port, self._serial = self._serial, None
            if port is not None:
                port.close()


def _why(error: Exception) -> str:
    """Return why a port cannot be opened: pyserial's own text has the path twice more."""
    if "exclusively lock" in str(error):
        return "another program has locked it"
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)
