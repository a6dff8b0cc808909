"""A JBD battery management system that answers on a pseudo-terminal."""

import random
from dataclasses import dataclass
from pathlib import Path

from sensors.simulated.serial_cable import Cable

_STATE, _CELLS, _HARDWARE = 0x03, 0x04, 0x05
_UNKNOWN_COMMAND = 0x80

#: 18 October 2023: day, month << 5, year since 2000 << 9.
_DATE = 18 | 10 << 5 | 23 << 9
_VERSION = 0x21


def framed(second: int, third: int, data: bytes = b"") -> bytes:
    """Return a frame: what stands between its second byte and its checksum sums to 0 with that."""
    body = bytes((third, len(data))) + data
    return bytes((0xDD, second)) + body + (0x10000 - sum(body)).to_bytes(3, "big")[1:] + b"\x77"


@dataclass(frozen=True)
class Pack:
    """A battery; its current is positive while it charges. Without a sensor a temperature is None."""

    cells_v: tuple[float, ...] = (3.302, 3.305, 3.301, 3.304)
    current_a: float = -5.0
    remaining_ah: float = 71.0
    nominal_ah: float = 100.0
    cycles: int = 12
    protection: int = 0
    charge_on: bool = True
    discharge_on: bool = True
    temperatures_c: tuple[float | None, ...] = (18.2, 19.0)
    extra: bytes = b""  # what newer boards say behind the temperatures

    @property
    def voltage_v(self) -> float:
        """Voltage of all cells."""
        return sum(self.cells_v)


class Bms(Cable):
    """A BMS at the far end of a serial cable. It takes each piece that it hears for one frame.

    `fault` is how it misbehaves, one of FAULTS. With `echoes`, the line gives back what is sent.
    """

    FAULTS = (
        "silent",
        "short replies",
        "bit flips",
        "garbage",
        "wrong code",
        "refusals",
        "in pieces",
    )

    def __init__(self, path: Path, name: str = "JBD-SP04S034-L4S-200A-B-U") -> None:
        self.pack = Pack()
        self.name = name
        self.echoes = False
        self.fault = ""
        self._dice = random.Random(5)
        super().__init__(path, self._hear)

    def state(self) -> bytes:
        """Return the data of the state (JBD's serial protocol V4, command 0x03)."""
        pack = self.pack
        words = (
            round(pack.voltage_v * 100),
            round(pack.current_a * 100) & 0xFFFF,
            round(pack.remaining_ah * 100),
            round(pack.nominal_ah * 100),
            pack.cycles,
            _DATE,
            0,  # no cell is balanced
            0,
            pack.protection,
        )
        charge_pct = min(100, round(100 * pack.remaining_ah / pack.nominal_ah))
        fets = pack.charge_on | pack.discharge_on << 1
        kelvins = [0 if t is None else round(t * 10) + 2731 for t in pack.temperatures_c]
        return (
            _words(*words)
            + bytes((_VERSION, charge_pct, fets, len(pack.cells_v), len(kelvins)))
            + _words(*kelvins)
            + pack.extra
        )

    def answer(self, request: bytes) -> bytes:
        """Return the reply of a BMS that is well; nothing to what is no request."""
        if len(request) < 7 or request != framed(0xA5, request[2], request[4:-3]):
            return b""
        code = request[2]
        if code == _STATE:
            return framed(code, 0, self.state())
        if code == _CELLS:
            return framed(code, 0, _words(*(round(v * 1000) for v in self.pack.cells_v)))
        if code == _HARDWARE:
            return framed(code, 0, self.name.encode("ascii"))
        return framed(code, _UNKNOWN_COMMAND)

    def _hear(self, request: bytes) -> bytes:
        reply = self.answer(request)
        if reply:
            reply = self._misbehave(reply)
        return request + reply if self.echoes else reply

    def _misbehave(self, reply: bytes) -> bytes:
        match self.fault:
            case "silent":
                return b""
            case "short replies":
                return reply[:12]
            case "bit flips":
                hurt = bytearray(reply)
                hurt[self._dice.randrange(len(hurt))] ^= 1 << self._dice.randrange(8)
                return bytes(hurt)
            case "garbage":
                return self._dice.randbytes(len(reply))
            case "wrong code":
                return framed(0xAA, 0, reply[4:-3])
            case "refusals":
                return framed(reply[1], _UNKNOWN_COMMAND)
            case "in pieces":
                for byte in reply:
                    self.send(bytes((byte,)))
                return b""
        return reply


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)
