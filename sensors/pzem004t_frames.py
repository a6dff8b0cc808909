"""Frames of a PZEM-004T v3 AC meter: bytes in, checked figures out (its manual, V3.0, section 2).

Modbus RTU: address, function, contents, CRC-16 with the low byte first. The meter's measurements are
its input registers 0 to 9. A CRC shows damage, so an impossible figure is the meter's own: it costs nothing
but itself.
"""

from collections.abc import Iterable
from struct import Struct

from sensors.framing import Cutter, FrameError
from sensors.trouble import Marked, marked

#: A meter that is alone on the line answers to this address, and with it.
GENERAL_ADDRESS = 0xF8

_READ = 0x04  # input registers
_READ_OTHERS = 0x03  # holding registers; this and the next are for lines with other masters
_WRITE = 0x06
_REFUSED = 0x80  # added to the function
_REGISTERS = 10
_REPLY = 5 + 2 * _REGISTERS
_REQUEST = 8
_REFUSAL = 5

#: Voltage, current and power and energy with the low word first, frequency, power factor, alarm.
_FIGURES = Struct(">HHHHHHHHHH")

#: Measured quantities in the order of sending → factor, lowest, highest. The limits are those of an AC line,
#: not the meter's range (80 to 260 V, 45 to 65 Hz): a dead line has 0 V, one without its neutral 400 V, and
#: an engine that stalls or races any frequency.
_RANGES = {
    "voltage_v": (0.1, 0.0, 500.0),
    "current_a": (0.001, 0.0, 110.0),
    "power_w": (0.1, 0.0, 55_000.0),
    "energy_wh": (1.0, 0.0, 10_000_000.0),
    "frequency_hz": (0.1, 10.0, 100.0),
    "power_factor": (0.01, 0.0, 1.0),
}
#: Every quantity that `measurements` returns.
QUANTITIES = (*_RANGES, "alarm")
Figures = dict[str, float | bool | None]

#: Allowed difference between power and voltage times current times power factor. The factor is rounded to
#: 0.01, and they are not measured at exactly the same time.
_POWER_OFF_W, _POWER_OFF = 5.0, 0.05
_ALARM = {0x0000: False, 0xFFFF: True}


def crc(data: bytes) -> bytes:
    """Return the CRC-16 of Modbus as it is sent: polynomial 0xA001, from 0xFFFF, low byte first."""
    found = 0xFFFF
    for byte in data:
        found = found >> 8 ^ _CRC[(found ^ byte) & 0xFF]
    return found.to_bytes(2, "little")


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC = tuple(map(_crc_of, range(256)))


def request(address: int) -> bytes:
    """Return the request for all measurements. Nothing else is ever sent to a meter."""
    body = bytes((address, _READ, 0, 0, 0, _REGISTERS))
    return body + crc(body)


def _length(head: bytes) -> int | None:
    """Return the length of the frame that begins with these bytes: a request, a reply or a refusal."""
    if not 1 <= head[0] <= GENERAL_ADDRESS:
        return None
    function = head[1] if len(head) > 1 else _READ
    third = head[2] if len(head) > 2 else None
    if function in (_READ, _READ_OTHERS):
        if third is None:
            return 3
        if third == 0:  # the high byte of a register's number
            return _REQUEST
        return 5 + third if third <= 2 * _REGISTERS and third % 2 == 0 else None
    if function == _WRITE and not third:
        return _REQUEST
    if function in (_REFUSED | _READ, _REFUSED | _READ_OTHERS, _REFUSED | _WRITE):
        return _REFUSAL if third is None or 1 <= third <= 4 else None
    return None


def _is_whole(frame: bytes) -> bool:
    return crc(frame[:-2]) == frame[-2:]


def measurements(reply: bytes) -> Figures:
    """Return the quantities in a whole reply to `request`, by name; None for one that is impossible.

    A frequency of 0 Hz is none. Power and power factor, which the meter computes, are None where they
    contradict voltage and current. Raises FrameError if the reply has another length, or no possible
    quantity.
    """
    if len(reply) != _REPLY:
        raise FrameError(
            marked("{count} bytes in place of {wanted}", count=len(reply), wanted=_REPLY)
        )
    volts, low_a, high_a, low_w, high_w, low_wh, high_wh, hertz, factor, alarm = (
        _FIGURES.unpack_from(reply, 3)
    )
    raw = (
        volts,
        high_a << 16 | low_a,
        high_w << 16 | low_w,
        high_wh << 16 | low_wh,
        hertz,
        factor,
    )
    found: Figures = {}
    for (name, (unit, low, high)), number in zip(_RANGES.items(), raw, strict=True):
        value = round(number * unit, 3)
        found[name] = value if low <= value <= high else None
    if not any(value is not None for value in found.values()):
        raise FrameError(marked("no figure in it is possible"))
    if _is_contradicted(found):
        found["power_w"] = found["power_factor"] = None
    found["alarm"] = _ALARM.get(alarm)
    return found


def _is_contradicted(found: Figures) -> bool:
    """Say whether power and power factor do not fit voltage and current."""
    voltage_v, current_a = found["voltage_v"], found["current_a"]
    power_w, factor = found["power_w"], found["power_factor"]
    if voltage_v is None or current_a is None or power_w is None or factor is None:
        return False
    apparent_va = voltage_v * current_a
    return abs(power_w - apparent_va * factor) > _POWER_OFF_W + _POWER_OFF * apparent_va


class Replies:
    """Parses a meter's line: bytes in, checked figures out.

    `bad` counts the rejected replies. `flaw` is the last fault; its reader may clear it.
    """

    def __init__(self, address: int = GENERAL_ADDRESS) -> None:
        """Accept replies of the meter at `address`; with the general address those of any meter."""
        self.bad = 0
        self.flaw: Marked | None = None
        self._address = address
        self._cutter = Cutter(_length, _is_whole, shortest=_REFUSAL, usual=_REPLY)

    def feed(self, data: bytes) -> list[Figures]:
        """Return the figures of each reply that `data` completes."""
        return self._believed(self._cutter.feed(data))

    def end(self) -> list[Figures]:
        """Return the remaining figures at the end of the stream."""
        return self._believed(self._cutter.end())

    def _believed(self, frames: Iterable[bytes | None]) -> list[Figures]:
        believed = []
        for frame in frames:
            if frame is None:
                self._refuse(marked("a damaged reply"))
                continue
            if frame[1] & _REFUSED:
                self.flaw = marked("a refusal, exception {number}", number=frame[2])
            if len(frame) != _REPLY or frame[1] != _READ:
                continue  # a request, or about other registers
            if self._address not in (GENERAL_ADDRESS, frame[0]):
                self.flaw = marked("a reply from address 0x{address:02X}", address=frame[0])
                continue
            try:
                figures = measurements(frame)
            except FrameError as error:
                self._refuse(error.flaw)
                continue
            believed.append(figures)
        return believed

    def _refuse(self, flaw: Marked) -> None:
        self.bad += 1
        self.flaw = flaw
