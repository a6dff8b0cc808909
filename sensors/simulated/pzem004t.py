"""A PZEM-004T v3 AC meter that answers Modbus RTU on a pseudo-terminal."""

from dataclasses import dataclass
from pathlib import Path

from sensors.simulated.serial_cable import Responder

_GENERAL_ADDRESS = 0xF8
_READ_INPUT = 0x04
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS = 1, 2


def with_crc(body: bytes) -> bytes:
    """Return a frame with its CRC-16 (Modbus over Serial Line 1.02, 6.2.2), bit by bit."""
    crc = 0xFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
    return body + bytes((crc & 0xFF, crc >> 8))


@dataclass(frozen=True)
class Line:
    """The AC line that the meter measures."""

    voltage_v: float = 230.0
    current_a: float = 0.0
    power_factor: float = 1.0
    frequency_hz: float = 50.0

    @property
    def power_w(self) -> float:
        """Active power."""
        return self.voltage_v * self.current_a * self.power_factor


class Meter(Responder):
    """A meter at the far end of a serial cable."""

    FAULTS = (*Responder.FAULTS, "wrong address", "wrong function", "refusals")

    def __init__(self, path: Path, address: int = 1) -> None:
        self.address = address
        self.line = Line()
        self.energy_wh = 0
        self.alarm_w = 23_000
        self.powered = True  # by the AC that it measures
        super().__init__(path)

    def registers(self) -> list[int]:
        """Return the ten input registers (manual V3.0, section 2.3)."""
        line = self.line
        milliamperes, deciwatts = round(line.current_a * 1000), round(line.power_w * 10)
        return [
            round(line.voltage_v * 10),
            *(milliamperes & 0xFFFF, milliamperes >> 16),
            *(deciwatts & 0xFFFF, deciwatts >> 16),
            *(self.energy_wh & 0xFFFF, self.energy_wh >> 16),
            round(line.frequency_hz * 10),
            round(line.power_factor * 100),
            0xFFFF if line.power_w > self.alarm_w else 0,
        ]

    def answer(self, request: bytes) -> bytes:
        """Return the reply of a working meter; nothing for a request to another address."""
        if not self.powered or with_crc(request[:-2]) != request:
            return b""
        if request[0] not in (self.address, _GENERAL_ADDRESS):
            return b""
        function = request[1]
        first, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        registers = self.registers()
        if function != _READ_INPUT:
            return with_crc(bytes((request[0], function | 0x80, _ILLEGAL_FUNCTION)))
        if not 1 <= count <= len(registers) - first:
            return with_crc(bytes((request[0], function | 0x80, _ILLEGAL_ADDRESS)))
        data = b"".join(n.to_bytes(2, "big") for n in registers[first : first + count])
        return with_crc(bytes((request[0], function, len(data))) + data)

    def misbehave(self, reply: bytes) -> bytes:
        """Return what the device sends in place of `reply` under the present fault."""
        match self.fault:
            case "wrong address":
                return with_crc(bytes((self.address + 1,)) + reply[1:-2])
            case "wrong function":
                return with_crc(reply[:1] + b"\x03" + reply[2:-2])
            case "refusals":
                return with_crc(bytes((reply[0], _READ_INPUT | 0x80, _ILLEGAL_ADDRESS)))
        return super().misbehave(reply)
