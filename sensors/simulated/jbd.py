"""A JBD battery management system that answers on a pseudo-terminal."""

from dataclasses import dataclass
from pathlib import Path

from sensors.simulated.serial_cable import Responder

_STATE, _CELLS, _HARDWARE = 0x03, 0x04, 0x05
_UNKNOWN_COMMAND = 0x80

#: 18 October 2023: day, month << 5, year since 2000 << 9.
_DATE = 18 | 10 << 5 | 23 << 9
_VERSION = 0x21


def framed(second: int, third: int, data: bytes = b"") -> bytes:
    """Return a frame: the bytes from the third to the checksum, plus the checksum, sum to 0."""
    body = bytes((third, len(data))) + data
    return bytes((0xDD, second)) + body + (0x10000 - sum(body)).to_bytes(3, "big")[1:] + b"\x77"


@dataclass(frozen=True)
class Pack:
    """A battery; its current is positive while it charges. A missing temperature sensor is None."""

    cells_v: tuple[float, ...] = (3.302, 3.305, 3.301, 3.304)
    current_a: float = -5.0
    remaining_ah: float = 71.0
    nominal_ah: float = 100.0
    cycles: int = 12
    protection: int = 0
    charge_on: bool = True
    discharge_on: bool = True
    temperatures_c: tuple[float | None, ...] = (18.2, 19.0)
    extra: bytes = b""  # data of newer boards after the temperatures

    @property
    def voltage_v(self) -> float:
        """Voltage of all cells."""
        return sum(self.cells_v)


class Bms(Responder):
    """A BMS at the far end of a serial cable."""

    FAULTS = (*Responder.FAULTS, "wrong code", "refusals")

    def __init__(self, path: Path, name: str = "JBD-SP04S034-L4S-200A-B-U") -> None:
        self.pack = Pack()
        self.name = name
        super().__init__(path)

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
        """Return the reply of a working BMS; nothing for data that is not a request."""
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

    def misbehave(self, reply: bytes) -> bytes:
        """Return what the device sends in place of `reply` under the present fault."""
        match self.fault:
            case "wrong code":
                return framed(0xAA, 0, reply[4:-3])
            case "refusals":
                return framed(reply[1], _UNKNOWN_COMMAND)
        return super().misbehave(reply)


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)
