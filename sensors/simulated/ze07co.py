"""A ZE07-CO or ZE15-CO on a pseudo-terminal, and the electrochemical cell in it."""

import math
from pathlib import Path

from sensors.simulated.serial_cable import Cable

_TO_SEND, _TO_ANSWER = bytes.fromhex("FF0178400000000047"), bytes.fromhex("FF0178410000000046")
_QUESTION = bytes.fromhex("FF0186000000000079")
_FAILED = 0x8000


def framed(body: bytes) -> bytes:
    """Return a frame: the bytes after the first and the checksum sum to 0 modulo 256."""
    return b"\xff" + body + bytes([-sum(body) & 0xFF])


def frame(co_ppm: float, *, failed: bool = False, scale_ppm: float = 500.0) -> bytes:
    """Return what a module sends every second, the concentration in tenths of a ppm."""
    value = round(co_ppm * 10) | _FAILED * failed
    words = value.to_bytes(2, "big") + round(scale_ppm * 10).to_bytes(2, "big")
    return framed(b"\x04\x03\x01" + words)


class Cell:
    """A cell that follows the air as a first-order lag; after `t90_s` it shows 90 % of a step.

    A worn-out cell shows 0 in any air. `co_ppm` is what the cell shows.
    """

    def __init__(self, t90_s: float = 60.0) -> None:
        self.co_ppm = 0.0
        self.is_worn = False
        self._lag_s = t90_s / math.log(10)

    def breathe(self, air_ppm: float, for_s: float) -> None:
        """Let air with this concentration be at the cell for some seconds."""
        target_ppm = 0.0 if self.is_worn else air_ppm
        self.co_ppm += (target_ppm - self.co_ppm) * -math.expm1(-for_s / self._lag_s)


class Module(Cable):
    """The module at the far end of a serial cable. Call `report` once a second."""

    def __init__(self, path: Path) -> None:
        """Plug the module in at `path`, which must not exist yet."""
        self.cell = Cell()
        self.has_failed = False  # as the module itself reports it
        self.sends = True  # by itself; otherwise it waits for questions
        self.heard = b""
        super().__init__(path, self._hear)

    def says(self) -> bytes:
        """Return the frame that the module sends now."""
        return frame(self.cell.co_ppm, failed=self.has_failed)

    def report(self) -> None:
        """Send a frame, if the module sends by itself."""
        if self.sends:
            self.send(self.says())

    def _hear(self, request: bytes) -> bytes:
        self.heard += request
        if request in (_TO_SEND, _TO_ANSWER):
            self.sends = request == _TO_SEND
        if request == _QUESTION and not self.sends:
            value = self.says()[4:6]
            return framed(b"\x86" + value + b"\0\0" + value)
        return b""
