"""A DS18B20 as Linux shows it: files below the root of the computer's files."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from sensors.ds18b20_frames import crc8
from sensors.hardware import ONE_WIRE_DEVICES

#: Alarm limits (75 and 70 °C), 12 bits, and a reserved byte, as delivered.
_AS_DELIVERED = bytes((0x4B, 0x46, 0x7F, 0xFF))
_POWER_ON_C, _BROKEN_C, _NONE_C = 85.0, -127.0, 127.9375
_POWER_ON, _RESERVED = 0x0C, 0x10


def scratchpad(temperature_c: float, count: int | None = None) -> bytes:
    """Return the nine bytes; `count` is byte 6, by default that of a conversion."""
    raw = (round(temperature_c * 16) & 0xFFFF).to_bytes(2, "little")
    if count is None:
        count = 0x10 - (raw[0] & 0x0F)
    data = raw + _AS_DELIVERED + bytes((count, _RESERVED))
    return data + bytes((crc8(data),))


def shown(data: bytes, before: bytes | None = None) -> bytes:
    """Return `w1_slave` after a read of nine bytes, and after the last good one `before` that."""
    good = crc8(data[:-1]) == data[-1]
    last = data if good or before is None else before
    thousandths = int.from_bytes(last[:2], "little", signed=True) * 1000 // 16
    verdict = "YES" if good else "NO"
    return (
        f"{data.hex(' ')} : crc={crc8(data[:-1]):02x} {verdict}\n{last.hex(' ')} t={thousandths}\n"
    ).encode()


class Probe:
    """A DS18B20 on the 1-Wire bus of a computer whose files stand below `root`."""

    #: What it can do while its file stays there.
    FAULTS = (
        "no answer", "input/output error", "all FF", "all zero", "CRC NO", "cut off", "85 at power-on",
        "-127", "127.9",
    )  # fmt: skip

    def __init__(
        self, root: Path, device: str = "28-00000a3c51f2", temperature_c: float = 20.0
    ) -> None:
        """Plug it in."""
        self.device = device
        self.directory = root / ONE_WIRE_DEVICES / device
        self._temperature_c = temperature_c
        self._fault = ""
        self._reading: int | None = None
        self.plug()

    def set_temperature(self, temperature_c: float) -> None:
        """Let the air have this temperature in °C; the chip shows the next sixteenth of a degree."""
        self._temperature_c = temperature_c
        if self.directory.exists():
            self._show()

    @property
    def fault(self) -> str:
        """One of FAULTS; empty while it works."""
        return self._fault

    @fault.setter
    def fault(self, fault: str) -> None:
        self._fault = fault
        self._show()

    def plug(self) -> None:
        """Connect it; the kernel finds it."""
        (self.directory.parent / "w1_bus_master1").mkdir(parents=True, exist_ok=True)
        self.directory.mkdir(exist_ok=True)
        self._show()

    def unplug(self) -> None:
        """Take it away until `plug`; the kernel has noticed that it is missing."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def remove_bus(self) -> None:
        """Take the whole bus away until `plug`."""
        shutil.rmtree(self.directory.parent, ignore_errors=True)

    def begin_conversion(self) -> None:
        """Let a read wait until `end_conversion`."""
        new = self.directory / "new"
        os.mkfifo(new)
        new.replace(self._file)

    def is_being_read(self) -> bool:
        """Say whether a read waits for the conversion."""
        if self._reading is None:
            with suppress(OSError):  # nobody reads
                self._reading = os.open(self._file, os.O_WRONLY | os.O_NONBLOCK)
        return self._reading is not None

    def end_conversion(self) -> None:
        """Give the read that waits (`is_being_read`) its temperature; later ones do not wait."""
        assert self._reading is not None, "nobody reads"
        self._show()
        os.write(self._reading, self._text())
        os.close(self._reading)
        self._reading = None

    @property
    def _file(self) -> Path:
        return self.directory / "w1_slave"

    def _show(self) -> None:
        """Put the file there at once, so that no read sees half of it."""
        new = self.directory / "new"
        if self._fault == "input/output error":
            new.symlink_to("/proc/self/mem")  # whose first byte nobody can read: EIO
        else:
            new.write_bytes(self._text())
        new.replace(self._file)

    def _text(self) -> bytes:
        good = scratchpad(self._temperature_c)
        match self._fault:
            case "no answer":
                return b""
            case "all FF":
                return shown(b"\xff" * 9, good)
            case "all zero":
                return shown(bytes(9))
            case "CRC NO":
                return shown(good[:1] + bytes((good[1] ^ 0x20,)) + good[2:], good)
            case "cut off":
                return shown(good)[:20]
            case "85 at power-on":
                return shown(scratchpad(_POWER_ON_C, _POWER_ON))
            case "-127":
                return shown(scratchpad(_BROKEN_C))
            case "127.9":
                return shown(scratchpad(_NONE_C, _POWER_ON))
        return shown(good)
