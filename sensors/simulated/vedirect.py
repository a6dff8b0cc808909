"""A battery monitor that speaks VE.Direct text on a pseudo-terminal."""

import contextlib
import os
import threading
import tty
from pathlib import Path

#: The fields that a SmartShunt sends in front of the battery's figures.
_PRODUCT = (("PID", "0xA389"),)


def block(fields: list[tuple[str, str]]) -> bytes:
    """Return a text block with its checksum (Victron, VE.Direct Protocol, 3.33)."""
    data = b"".join(f"\r\n{label}\t{value}".encode() for label, value in fields)
    data += b"\r\nChecksum\t"
    return data + bytes([-sum(data) & 0xFF])


class Monitor:
    """The monitor at the far end of a serial cable; `path` is where the near end is found."""

    def __init__(self, path: Path) -> None:
        """Plug the monitor in at `path`, which must not exist yet."""
        self._path = path
        self._near: int | None = None
        self._far: int | None = None
        self._lock = threading.Lock()  # who sends and who unplugs may be two
        self.plug()

    def plug(self) -> None:
        """Plug the cable in (again)."""
        with self._lock:
            if self._far is not None:
                return
            self._far, self._near = os.openpty()
            tty.setraw(self._near)
            os.set_blocking(self._far, False)
            self._path.unlink(missing_ok=True)
            self._path.symlink_to(os.ttyname(self._near))

    def unplug(self) -> None:
        """Pull the cable: the device disappears under whoever reads it."""
        with self._lock:
            ends, self._far, self._near = (self._far, self._near), None, None
            self._path.unlink(missing_ok=True)
            for end in ends:
                if end is not None:
                    os.close(end)

    def send(self, data: bytes) -> None:
        """Send raw bytes; those that nobody reads in time are lost, as on a real line."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._far is not None:
                os.write(self._far, data)

    def report(
        self, voltage_v: float, current_a: float, charge_pct: float, time_to_empty_min: int
    ) -> None:
        """Send one block of figures, as a SmartShunt does once a second; -1 min is "infinite"."""
        self.send(
            block(
                [
                    *_PRODUCT,
                    ("V", f"{voltage_v * 1000:.0f}"),
                    ("I", f"{current_a * 1000:.0f}"),
                    ("P", f"{voltage_v * current_a:.0f}"),
                    ("SOC", f"{charge_pct * 10:.0f}"),
                    ("TTG", f"{time_to_empty_min}"),
                    ("Alarm", "OFF"),
                ]
            )
        )

    def close(self) -> None:
        """Take the monitor away for good."""
        self.unplug()
