"""The scratchpad of a DS18B20 as Linux prints it in `w1_slave` (Maxim DS18B20, 19-7487, memory map).

    72 01 4b 46 7f ff 0e 10 57 : crc=57 YES
    72 01 4b 46 7f ff 0e 10 57 t=23125

The bytes are temperature (2, low byte first, sixteenths of a degree), alarm limits (2), resolution, three
reserved ones and the CRC. After a failed read (NO) the second line has the bytes of an earlier one, so
only the first line counts.
"""

import re
from enum import Enum

_FIRST_LINE = re.compile(rb"((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (YES|NO)\n")
_STEPS_PER_C = 16
#: The range of the chip in °C. Outside it nothing was measured: −127 and 127.9 are usual.
LOWEST_C, HIGHEST_C = -55.0, 125.0
#: Temperatures before the first conversion: 85 °C, and 127.94 °C on some chips.
_UNCONVERTED = (0x0550, 0x07FF)
#: The byte 6 that goes with them. After a conversion it is 0x10 − (low byte & 0x0F): 0x10 at a real 85 °C.
_POWER_ON = 0x0C
#: The polynomial of Maxim's CRC-8 (x⁸ + x⁵ + x⁴ + 1), lowest bit first.
_POLYNOMIAL = 0x8C
#: The air changes by no more than this between two reads. A larger jump may be damage, because a CRC of 8
#: bits lets one damaged read of 256 pass: it is believed when the next read says the same.
JUMP_C = 5.0


class Fault(Enum):
    """Why a text holds no temperature."""

    SILENT = "silent"  # nobody has pulled the line low
    DAMAGED = "damaged"
    IMPOSSIBLE = "impossible"
    POWER_ON = "power on"  # the chip has been without supply, and has not measured yet


class Temperatures:
    """Takes the texts of one chip, in order."""

    def __init__(self) -> None:
        self._believed_c: float | None = None
        self._doubted_c: float | None = None

    def take(self, text: bytes) -> float | Fault:
        """Return the temperature in °C, or why there is none."""
        found = _measured(text)
        if isinstance(found, Fault):
            return found
        near = [self._believed_c, self._doubted_c]
        if self._believed_c is None or any(
            one is not None and abs(found - one) <= JUMP_C for one in near
        ):
            self._believed_c, self._doubted_c = found, None
            return found
        self._doubted_c = found
        return Fault.DAMAGED


def _measured(text: bytes) -> float | Fault:
    if not text:
        return Fault.SILENT  # the kernel has got no answer at all
    found = _FIRST_LINE.match(text)
    if found is None:
        return Fault.DAMAGED
    data = bytes.fromhex(found[1].decode())
    if data == b"\xff" * len(data):
        return Fault.SILENT
    if found[2] != b"YES" or crc8(data[:-1]) != data[-1]:
        return Fault.DAMAGED
    if not any(data):
        return Fault.IMPOSSIBLE  # the CRC of zeros is 0, so a line that is stuck low passes it
    raw = int.from_bytes(data[:2], "little", signed=True)
    if raw in _UNCONVERTED and data[6] == _POWER_ON:
        return Fault.POWER_ON
    found_c = raw / _STEPS_PER_C
    return found_c if LOWEST_C <= found_c <= HIGHEST_C else Fault.IMPOSSIBLE


def crc8(data: bytes) -> int:
    """Return Maxim's CRC-8 of some bytes (application note 27)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc
