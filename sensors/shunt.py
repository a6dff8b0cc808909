"""From an INA219's registers to amperes, for any shunt (TI datasheet SBOS448G, section 8.6)."""

#: Shunt register, 10 µV a bit whatever the gain (8.6.3.1).
SHUNT_LSB_V = 1e-5
#: Full scale of the four gain settings PG = 0 … 3, in volts (table 4).
FULL_SCALE_V = (0.04, 0.08, 0.16, 0.32)
#: What the configuration register holds after power-on (8.6.2.1).
POWER_ON_CONFIGURATION = 0x399F


def gain_for(max_current_a: float, shunt_ohms: float) -> int:
    """Return the smallest gain setting PG (0 to 3) whose range holds `max_current_a`.

    Raises ValueError where even ±320 mV is too small.
    """
    drop_v = round(max_current_a * shunt_ohms, 9)  # 3.2 A times 0.1 ohm is 0.32 V, and no more
    for gain, full_scale_v in enumerate(FULL_SCALE_V):
        if drop_v <= full_scale_v:
            return gain
    raise ValueError(
        f"{max_current_a:g} A drop {drop_v * 1000:.0f} mV on {shunt_ohms:g} ohm, more than the "
        f"chip's 320 mV: use a smaller shunt"
    )


def configuration(gain: int) -> int:
    """Return the configuration word: 32 V bus range, `gain`, 128-sample means, continuous.

    A mean of 128 samples takes 68.1 ms (table 5) and averages a charger's ripple.
    """
    return 1 << 13 | gain << 11 | 0xF << 7 | 0xF << 3 | 0x7


def current_a(raw_shunt: int, shunt_ohms: float) -> float:
    """Return the current in amperes from the signed shunt register."""
    return raw_shunt * SHUNT_LSB_V / shunt_ohms


def is_clipped(raw_shunt: int, gain: int) -> bool:
    """Say whether the shunt register stands at full scale, where the true current is unknown.

    OVF tells of arithmetic overflow only; the amplifier clips in silence (8.6.3.2).
    """
    return abs(raw_shunt) >= round(FULL_SCALE_V[gain] / SHUNT_LSB_V) - 1
