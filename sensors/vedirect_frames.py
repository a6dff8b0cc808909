"""VE.Direct text blocks: bytes in, checked blocks out (Victron, VE.Direct Protocol, version 3.33).

A block is a run of `\\r\\n<label>\\t<value>` fields that ends with the field `Checksum`, whose value
is one byte of any kind; all bytes of the block, the leading line end included, sum to 0 modulo 256.
HEX frames (`:` … `\\n`) may stand between two blocks and are passed over.
"""

import re
from collections.abc import Mapping
from enum import Enum

#: No real block is longer; whatever is, is noise.
LONGEST_BLOCK = 1024

#: What an undamaged field looks like. An 8-bit sum lets some damage through, two opposite bit errors
#: for example, so a block is checked for all that is known of it.
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_#]*\t[ -~]*")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)")

#: The battery's figures: label on the wire → name here, factor, lowest, highest.
_NUMBERS: Mapping[str, tuple[str, float, float, float]] = {
    "V": ("voltage_v", 0.001, 0.0, 80.0),
    "I": ("current_a", 0.001, -2000.0, 2000.0),
    "P": ("power_w", 1.0, -100_000.0, 100_000.0),
    "SOC": ("charge_pct", 0.1, 0.0, 100.0),
    "TTG": ("time_to_empty_min", 1.0, -1.0, 14_400.0),  # the device stops at ten days
}


class FrameError(ValueError):
    """A block passed its checksum and yet holds what cannot be."""


class _At(Enum):
    NOWHERE = 0  # waiting for the line end that begins a field
    LABEL = 1
    VALUE = 2
    CHECKSUM = 3
    HEX = 4


class Blocks:
    """Cuts a stream into blocks. Any bytes may be fed; memory is bounded by LONGEST_BLOCK."""

    def __init__(self) -> None:
        self.good = 0
        self.bad = 0
        self._at = _At.NOWHERE
        self._start_over()

    def _start_over(self) -> None:
        self._sum = 0
        self._length = 0
        self._label = bytearray()
        self._value = bytearray()
        self._fields: dict[str, str] = {}
        self._flawed = False

    def feed(self, data: bytes) -> list[dict[str, str]]:
        """Return the blocks that `data` completes, each as label → text, without the checksum."""
        blocks = []
        for byte in data:
            block = self._feed(byte)
            if block is not None:
                blocks.append(block)
        return blocks

    def _feed(self, byte: int) -> dict[str, str] | None:
        if self._at is _At.HEX:
            if byte == 0x0A:
                self._at = _At.NOWHERE
            return None
        if byte == 0x3A and self._at is not _At.CHECKSUM:  # ':' begins a HEX frame
            if self._length:
                self.bad += 1
                self._start_over()
            self._at = _At.HEX
            return None
        self._sum = (self._sum + byte) & 0xFF
        self._length += 1
        if self._length > LONGEST_BLOCK:
            self.bad += 1
            self._start_over()
            self._at = _At.NOWHERE
            return None
        if self._at is _At.CHECKSUM:
            block, fits = self._fields, self._sum == 0 and not self._flawed
            self._start_over()
            self._at = _At.NOWHERE
            if not fits:
                self.bad += 1
                return None
            self.good += 1
            return block
        if byte == 0x0A:
            self._end_line()
            self._at = _At.LABEL
        elif byte == 0x0D:
            pass
        elif self._at is _At.LABEL and byte == 0x09:
            self._at = _At.CHECKSUM if self._label == b"Checksum" else _At.VALUE
        elif self._at is _At.LABEL:
            self._label.append(byte)
        elif self._at is _At.VALUE:
            self._value.append(byte)
        else:
            self._flawed = True  # begun in the middle of a block
        return None

    def _end_line(self) -> None:
        label, value = _text(self._label), _text(self._value)
        if self._at is _At.VALUE:
            if label in self._fields or not _FIELD.fullmatch(f"{label}\t{value}"):
                self._flawed = True
            self._fields[label] = value
        elif label:
            self._flawed = True
        self._label.clear()
        self._value.clear()


def _text(data: bytearray) -> str:
    return data.decode("ascii", "replace")


def measurements(block: Mapping[str, str]) -> dict[str, float | None]:
    """Return the battery's quantities in a block, by name; None where the device says `---`.

    A block without any (a BMV alternates two kinds) gives an empty dict. A time to empty of -1
    (charging, or no load) is None. Raises FrameError where a number is none, is out of range, or
    does not fit the others.
    """
    found: dict[str, float | None] = {}
    for label, (name, factor, low, high) in _NUMBERS.items():
        text = block.get(label)
        if text is None:
            continue
        if text == "---":
            found[name] = None
            continue
        if not _NUMBER.fullmatch(text):
            raise FrameError(f"{label} is {text[:20]!r}, not a number")
        value = float(text) * factor
        if not low <= value <= high:
            raise FrameError(f"{label} is {text[:20]}, out of range")
        found[name] = None if name == "time_to_empty_min" and value < 0 else round(value, 3)
    voltage_v, current_a, power_w = (found.get(k) for k in ("voltage_v", "current_a", "power_w"))
    if voltage_v is not None and current_a is not None and power_w is not None:
        product_w = voltage_v * current_a
        if abs(product_w - power_w) > 2.0 + 0.02 * abs(product_w):
            raise FrameError(f"P is {power_w:g} W where V times I is {product_w:.0f} W")
    return found
