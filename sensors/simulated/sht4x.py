"""An SHT4x on a simulated I2C bus: commands, the time that they take, and answers with checksums."""

import errno

from sensors.clock import Monotonic

#: Longest time of each command, in seconds (Sensirion, SHT4x, version 6.5, tables 5 and 8).
_MEASURE = {0xFD: 8.3e-3, 0xF6: 4.5e-3, 0xE0: 1.6e-3}
_SERIAL_NUMBER, _RESET, _RESET_S = 0x89, 0x94, 1e-3
_CRC = (0x31, 0xFF)


def with_crc(word: int) -> bytes:
    """Return a word as the chip sends it, with its checksum."""
    data = word.to_bytes(2, "big")
    polynomial, crc = _CRC
    for bit in range(16):
        top = crc >> 7 ^ word >> 15 - bit & 1
        crc = (crc << 1 & 0xFF) ^ (polynomial if top else 0)
    return data + bytes((crc,))


class Thermometer:
    """One SHT4x in air of `temperature_c` and `humidity_pct`.

    It refuses (NAK) what is no command, a command while it is busy, and a reading without an answer.
    Commands take real time at any speed of the clock, as the library's waiting does.
    """

    def __init__(self, clock: Monotonic, serial_number: int = 0x0F4A_91C3) -> None:
        self.temperature_c, self.humidity_pct = 18.4, 52.0
        self.is_damaged = False  # while set, a bit of each answer arrives wrong
        self.serial_number = serial_number
        self._clock = clock
        self.power_on()

    def power_on(self) -> None:
        """Begin anew, as after a loss of its supply."""
        self._answer = b""
        self._ready_s = self._clock.now_s()

    def write(self, data: bytes) -> None:
        """Take a command. Raises OSError where the chip would not acknowledge."""
        self._refuse_while_busy()
        if not data:  # a probe
            return
        self._answer = b""
        if len(data) > 1 or data[0] not in {*_MEASURE, _SERIAL_NUMBER, _RESET}:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        command = data[0]
        if command == _RESET:
            self._busy_for(_RESET_S)
        elif command == _SERIAL_NUMBER:
            self._answer = self._words(*divmod(self.serial_number, 0x1_0000))
        else:
            self._busy_for(_MEASURE[command])
            temperature = round((self.temperature_c + 45) / 175 * 0xFFFF)
            humidity = round((self.humidity_pct + 6) / 125 * 0xFFFF)
            self._answer = self._words(temperature, humidity)

    def read(self, length: int) -> bytes:
        """Return the answer, once. Raises OSError where there is none, or not yet."""
        self._refuse_while_busy()
        if not self._answer:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        answer, self._answer = self._answer, b""
        if self.is_damaged:
            answer = bytes((answer[0] ^ 0x04,)) + answer[1:]
        return (answer + b"\xff" * length)[:length]

    def _words(self, first: int, second: int) -> bytes:
        return with_crc(first) + with_crc(second)

    def _busy_for(self, real_s: float) -> None:
        self._ready_s = self._clock.now_s() + real_s * self._clock.speed

    def _refuse_while_busy(self) -> None:
        if self._clock.now_s() < self._ready_s:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
