"""The registers of an INA219, on an I2C bus that CircuitPython's libraries accept."""

import errno
import threading
from collections.abc import Callable
from typing import Protocol

#: Conversion time of each averaging code, seconds (datasheet SBOS448G, table 5).
_CONVERSION_S = {0x8: 532e-6, 0x9: 1.06e-3, 0xA: 2.13e-3, 0xB: 4.26e-3, 0xC: 8.51e-3}
_CONVERSION_S |= {0xD: 17.02e-3, 0xE: 34.05e-3, 0xF: 68.1e-3}
_POWER_ON = 0x399F


class Chip:
    """One INA219. `measure` sets its input; its answers follow the datasheet."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """`now_s` is the clock that times the conversions, in seconds."""
        self._now_s = now_s
        self._shunt_v = 0.0
        self._bus_v = 0.0
        self.supply_dips = False  # while set, the chip restarts after each write
        self.brown_out()

    def brown_out(self) -> None:
        """Restart the chip: every register returns to its power-on value."""
        self._configuration = _POWER_ON
        self._calibration = 0
        self._pointer = 0
        self._ready_s = self._now_s() + self._conversion_s()

    def measure(self, shunt_v: float, bus_v: float) -> None:
        """Set the voltage across the shunt and from the bus pin to ground, in volts."""
        self._shunt_v, self._bus_v = shunt_v, bus_v

    def _conversion_s(self) -> float:
        codes = (self._configuration >> 7 & 0xF, self._configuration >> 3 & 0xF)
        return sum(_CONVERSION_S.get(code, 532e-6) for code in codes)

    def _shunt(self) -> int:
        limit = 4000 << (self._configuration >> 11 & 0x3)  # ±40 mV at 10 µV a bit, doubled by PG
        return max(-limit, min(limit, round(self._shunt_v / 1e-5)))

    def _current(self) -> int:
        return max(-0x8000, min(0x7FFF, self._shunt() * self._calibration // 4096))

    def _register(self) -> int:
        converted = self._now_s() >= self._ready_s
        if self._pointer == 0:
            return self._configuration
        if self._pointer == 5:
            return self._calibration
        if not converted:
            return 0
        if self._pointer == 1:
            return self._shunt() & 0xFFFF
        if self._pointer == 2:
            return max(0, min(0x1FFF, round(self._bus_v / 0.004))) << 3 | 0x2
        if self._pointer == 3:
            return abs(self._current()) * max(0, round(self._bus_v / 0.004)) // 5000 & 0xFFFF
        return self._current() & 0xFFFF if self._pointer == 4 else 0

    def write(self, data: bytes) -> None:
        """Accept what the master writes: a register pointer and perhaps a word."""
        if data:
            self._pointer = data[0]
        if len(data) < 3:
            return
        word = data[1] << 8 | data[2]
        if self._pointer == 0 and word & 0x8000:
            self.brown_out()
        elif self._pointer == 0:
            self._configuration = word
            self._ready_s = self._now_s() + self._conversion_s()
        elif self._pointer == 5:
            self._calibration = word & 0xFFFE
        if self.supply_dips:
            self.brown_out()

    def read(self, length: int) -> bytes:
        """Return `length` bytes of the register under the pointer, high byte first."""
        return (self._register().to_bytes(2, "big") * (length // 2 + 1))[:length]


class Device(Protocol):
    """A device at an I2C address."""

    def write(self, data: bytes) -> None:
        """Accept what the master writes."""

    def read(self, length: int) -> bytes:
        """Return `length` bytes."""


class Bus:
    """An I2C bus with chips on it. The next `naks` transfers fail as if no chip had answered.

    A transfer is whole, as the kernel makes it, whichever threads use the bus at the same time.
    While `stuck` is set, the data line stays at that level, and so do all bits that are read. `users`
    is the number of users that have opened the bus and not closed it.
    """

    def __init__(self) -> None:
        self.chips: dict[int, Device] = {}
        self.naks = 0
        self.stuck: bool | None = None
        self.users = 0
        self._transfer = threading.Lock()

    def open(self) -> "Bus":
        """Count one more user."""
        self.users += 1
        return self

    def try_lock(self) -> bool:
        """Lock the bus; always succeeds, because each user of a real one opens it for itself."""
        return True

    def unlock(self) -> None:
        """Unlock the bus."""

    def deinit(self) -> None:
        """Count one user less; the bus stays usable."""
        self.users -= 1

    def _chip(self, address: int) -> Device:
        if self.naks > 0:
            self.naks -= 1
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        if address not in self.chips:
            raise OSError(errno.ENXIO, "No such device or address")
        return self.chips[address]

    def writeto(
        self, address: int, buffer: bytes, *, start: int = 0, end: int | None = None
    ) -> None:
        """Write `buffer[start:end]` to a chip. Raises OSError where none answers."""
        with self._transfer:
            self._chip(address).write(bytes(buffer[start:end]))

    def readfrom_into(
        self, address: int, buffer: bytearray, *, start: int = 0, end: int | None = None
    ) -> None:
        """Read into `buffer[start:end]`. Raises OSError where no chip answers."""
        length = len(buffer[start:end])
        with self._transfer:
            buffer[start : start + length] = self._read(self._chip(address), length)

    def _read(self, chip: Device, length: int) -> bytes:
        data = chip.read(length)
        return data if self.stuck is None else (b"\xff" if self.stuck else b"\0") * length

    def writeto_then_readfrom(
        self,
        address: int,
        buffer_out: bytes,
        buffer_in: bytearray,
        *,
        out_start: int = 0,
        out_end: int | None = None,
        in_start: int = 0,
        in_end: int | None = None,
    ) -> None:
        """Write, then read in the same transfer. Raises OSError where no chip answers."""
        length = len(buffer_in[in_start:in_end])
        with self._transfer:
            chip = self._chip(address)
            chip.write(bytes(buffer_out[out_start:out_end]))
            buffer_in[in_start : in_start + length] = self._read(chip, length)
