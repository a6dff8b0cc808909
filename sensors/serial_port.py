"""A serial port for drivers: opened exclusively, read with a deadline, interruptible."""

import errno
import os
import termios
from threading import Lock
from typing import Any

from sensors.hardware import DENIED_CURE
from sensors.reading import SensorError
from sensors.trouble import BUS, SENSOR, declare, marked

MISSING = declare(
    "serial.missing",
    marked("{port} is not there"),
    marked("plug the cable in; then compare port in the configuration with ls /dev/serial/by-id"),
    concerns=BUS,
)
DENIED = declare(
    "serial.denied",
    marked("{port} may not be opened by this user"),
    DENIED_CURE,
    concerns=BUS,
)
BUSY = declare(
    "serial.busy",
    marked("another program has {port}"),
    marked(
        "stop that program: sudo fuser -v {port} shows it (a console, ModemManager, a second tentwatch)"
    ),
    concerns=BUS,
)
NO_PORT = declare(
    "serial.no_port",
    marked("{port} is not a serial port"),
    marked("compare port in the configuration with ls /dev/serial/by-id"),
    concerns=BUS,
)
UNUSABLE = declare(
    "serial.unusable",
    marked("{port} cannot be used ({why})"),
    marked("compare port in the configuration with ls /dev/serial/by-id"),
    concerns=BUS,
)
GONE = declare(
    "serial.gone",
    marked("{port} went away while it was used"),
    marked("the cable was pulled or has a loose contact: plug it in firmly, or replace it"),
    concerns=BUS,
)
#: A device whose replies are not those of its protocol.
GARBLED = declare(
    "serial.garbled",
    marked("what comes from {port} makes no sense ({flaw})"),
    marked(
        "another device is on this port, or two on one line: compare port with ls /dev/serial/by-id, "
        "check address and driver in the configuration; a worn cable: replace it"
    ),
    concerns=SENSOR,
)
#: Why a port cannot be opened, by the kernel's number.
_REFUSALS = {
    **dict.fromkeys((errno.ENOENT, errno.ENODEV, errno.ENXIO), MISSING),
    **dict.fromkeys((errno.EACCES, errno.EPERM), DENIED),
    **dict.fromkeys((errno.EAGAIN, errno.EBUSY), BUSY),  # EAGAIN: it is locked
    errno.ENOTTY: NO_PORT,
}


class SerialPort:
    """A serial device with 8 data bits, no parity and one stop bit.

    Its waits are in real seconds: the line is real however fast a simulation runs.
    """

    def __init__(self, path: str, baud: int) -> None:
        self.path = path
        self._baud = baud
        self._serial: Any = None
        # `interrupt` comes from another thread; the descriptor may have been closed and reused meanwhile.
        self._closing = Lock()

    def open(self) -> None:
        """Open the port. Raises SensorError."""
        import serial

        try:
            self._serial = serial.Serial(
                self.path, self._baud, timeout=0, write_timeout=1.0, exclusive=True
            )
        except (OSError, ValueError, termios.error) as error:
            raise _refusal(self.path, error) from error

    def read(self, wait_s: float) -> bytes:
        """Wait for a byte, at most `wait_s`; return the received bytes. Raises SensorError."""
        port = self._serial
        try:
            if port.timeout != wait_s:
                port.timeout = wait_s
            data: bytes = port.read(1)
            if data and port.in_waiting:
                data += port.read(port.in_waiting)
        except (OSError, ValueError, termios.error) as error:
            raise SensorError(GONE, port=self.path) from error
        return data

    def ask(self, request: bytes) -> None:
        """Send a request, and drop bytes received before it. Raises SensorError."""
        try:
            self._serial.reset_input_buffer()
            self._serial.write(request)
        except (OSError, ValueError, termios.error) as error:
            raise SensorError(GONE, port=self.path) from error

    def interrupt(self) -> None:
        """End a waiting read."""
        with self._closing:
            if self._serial is not None:
                self._serial.cancel_read()

    def close(self) -> None:
        """Close the port; harmless if it is not open. Raises SensorError if it has vanished."""
        with self._closing:
            port, self._serial = self._serial, None
            try:
                if port is not None:
                    port.close()
            except OSError as error:
                raise SensorError(GONE, port=self.path) from error


def _refusal(path: str, error: Exception) -> SensorError:
    number = getattr(error, "errno", None)
    if isinstance(error.__context__, termios.error):  # pyserial does not pass its number on
        number = error.__context__.args[0]
    if number in _REFUSALS:
        return SensorError(_REFUSALS[number], port=path)
    # pyserial's own text has the path twice more.
    return SensorError(UNUSABLE, port=path, why=os.strerror(number) if number else str(error))
