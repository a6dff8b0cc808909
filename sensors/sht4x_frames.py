"""Answers of an SHT4x: two words, each with its checksum (Sensirion, SHT4x, version 6.5, section 4)."""

from typing import NamedTuple

#: Bytes of an answer: a word, the high byte first, and its CRC-8; then the same again.
LENGTH = 6
#: What the chip can measure (section 2.2). Its words reach further.
LOWEST_C, HIGHEST_C = -40.0, 125.0
_POLYNOMIAL, _LARGEST = 0x31, 0xFFFF


class Air(NamedTuple):
    """Temperature in °C and relative humidity in percent; None is what the chip cannot have measured."""

    temperature_c: float | None
    humidity_pct: float | None


def crc8(data: bytes) -> int:
    """Return the CRC-8 of `data`: polynomial 0x31, started at 0xFF; 0x92 for BE EF (section 4.4)."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ (_POLYNOMIAL if crc & 0x80 else 0)
        crc &= 0xFF
    return crc


def words(answer: bytes) -> tuple[int, int] | None:
    """Return the two words of an answer, or None if it is damaged."""
    if len(answer) != LENGTH or crc8(answer[:2]) != answer[2] or crc8(answer[3:5]) != answer[5]:
        return None
    return int.from_bytes(answer[:2], "big"), int.from_bytes(answer[3:5], "big")


def air(temperature: int, humidity: int) -> Air:
    """Return the meaning of the words of a measurement (section 4.6).

    Humidity that the formula puts below 0 or above 100 % is cut off there, as the datasheet asks. The
    ends of a word are no measurement, and a humidity is corrected by the chip's own temperature: it means
    nothing where that is impossible.
    """
    celsius = -45 + 175 * temperature / _LARGEST
    if not LOWEST_C <= celsius <= HIGHEST_C:
        return Air(None, None)
    percent = None
    if 0 < humidity < _LARGEST:
        percent = round(min(100.0, max(0.0, -6 + 125 * humidity / _LARGEST)), 1)
    return Air(round(celsius, 2), percent)
