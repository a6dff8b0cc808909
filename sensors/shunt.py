"""From an INA219's registers to amperes, for any shunt (TI datasheet SBOS448G, section 8.6)."""

from dataclasses import dataclass
from typing import NamedTuple

#: Shunt register, 10 µV a bit whatever the gain (8.6.3.1).
SHUNT_LSB_V = 1e-5
#: Bus register: 4 mV a bit in bits 15-3; bit 1 says that a conversion is done (8.6.3.2).
BUS_LSB_V = 0.004
CONVERSION_READY = 0x2
#: Full scale of the four gain settings PG = 0 … 3, in volts (table 4).
FULL_SCALE_V = (0.04, 0.08, 0.16, 0.32)


class Flow(NamedTuple):
    """The meaning of the registers: `current_a` and `power_w` are None if the amplifier clips."""

    current_a: float | None
    voltage_v: float
    power_w: float | None
    uncorrected_a: float | None


@dataclass(frozen=True)
class Shunt:
    """A shunt and the settings of its chip.

    `gain` is PG, 0 to 3; `zero_a` is the reading without a current; currents below `dead_band_a` count
    as zero; `reversed` means that it is wired in the opposite direction.
    """

    shunt_ohms: float
    gain: int
    zero_a: float = 0.0
    dead_band_a: float = 0.0
    reversed: bool = False

    @property
    def largest_a(self) -> float:
        """The largest current that does not clip, in amperes."""
        return FULL_SCALE_V[self.gain] / self.shunt_ohms

    def is_clipped(self, raw_shunt: int) -> bool:
        """Say whether the shunt register is at full scale, where the current is unknown.

        OVF reports arithmetic overflow only; the amplifier clips without a flag (8.6.3.2).
        """
        return abs(raw_shunt) >= round(FULL_SCALE_V[self.gain] / SHUNT_LSB_V) - 1

    def flow(self, raw_shunt: int, raw_bus: int) -> Flow:
        """Return current, voltage and power from the signed shunt and the bus register."""
        voltage_v = round((raw_bus >> 3) * BUS_LSB_V, 3)
        if self.is_clipped(raw_shunt):
            return Flow(None, voltage_v, None, None)
        sign = -1 if self.reversed else 1
        uncorrected_a = sign * raw_shunt * SHUNT_LSB_V / self.shunt_ohms
        current_a = corrected(uncorrected_a, self.zero_a, self.dead_band_a)
        power_w = round(current_a * voltage_v, 1)
        # Far finer than a bit: the mean of such values is a zero, which must not have a rounding error.
        return Flow(round(current_a, 6), voltage_v, power_w, round(uncorrected_a, 6))


def corrected(uncorrected_a: float, zero_a: float, dead_band_a: float) -> float:
    """Return a current without its zero; one within the dead band counts as none. All in amperes."""
    current_a = uncorrected_a - zero_a
    return 0.0 if abs(current_a) < dead_band_a else current_a


def gain_for(max_current_a: float, shunt_ohms: float) -> int:
    """Return the smallest gain setting PG (0 to 3) whose range holds `max_current_a`.

    Raises ValueError if even ±320 mV is too small.
    """
    drop_v = round(max_current_a * shunt_ohms, 9)  # 3.2 A times 0.1 ohm must be 0.32 V exactly
    for gain, full_scale_v in enumerate(FULL_SCALE_V):
        if drop_v <= full_scale_v:
            return gain
    raise ValueError(f"{drop_v:g} V is beyond every range")


def configuration(gain: int) -> int:
    """Return the configuration word: 32 V bus range, `gain`, 128-sample means, continuous.

    A mean of 128 samples takes 68.1 ms (table 5) and averages a charger's ripple. The word differs
    from the register's power-on value (0x399F), so a restart of the chip can be detected.
    """
    return 1 << 13 | gain << 11 | 0xF << 7 | 0xF << 3 | 0x7
