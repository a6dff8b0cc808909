"""Accuracy of the INA219's current on a 1.5 mΩ shunt, and detection of readings that are unknown.

The chip is the register model, under the real driver and library, on a simulated clock.
"""

import random
from typing import NamedTuple

from sensors.clock import Monotonic
from sensors.hardware import Hardware, I2CBus
from sensors.ina219 import Config, Ina219
from sensors.reading import Quality, SensorError
from sensors.simulated.ina219 import Bus, Chip

#: A shunt of 50 A and 75 mV, one bit in volts and amperes, and the end of the chip's range of 80 mV.
OHMS = 0.0015
LSB_V = 1e-5
LSB_A = LSB_V / OHMS
FULL_SCALE_V = 0.08
#: Largest offset of the chip.
OFFSET_V = 125e-6
#: Number of readings without a current whose mean is the zero.
ZERO_READINGS = 20


class _Chip(Chip):
    """A chip that can restart just before a later transfer."""

    restart_in: int | None = None

    def write(self, data: bytes) -> None:
        if self.restart_in is not None:
            self.restart_in -= 1
            if self.restart_in < 0:
                self.restart_in = None
                self.brown_out()
        super().write(data)


class Bench(Hardware):
    def __init__(self, offset_v: float = 0.0) -> None:
        self.now_s = 0.0
        self.chip = _Chip(lambda: self.now_s)
        self._bus = Bus()
        self._bus.chips[0x40] = self.chip
        self._offset_v = offset_v
        self.driver = Ina219(
            Config(shunt_ohms=OHMS, max_current_a=50, dead_band_a=0.0), self, Monotonic()
        )
        self.driver.open()
        self.now_s += 1.0

    def i2c(self, bus: int) -> I2CBus:
        return self._bus.open()

    def flow(self, current_a: float) -> bool:
        """Let a current flow; return whether it is beyond the chip's range."""
        shunt_v = current_a * OHMS + self._offset_v
        self.chip.measure(shunt_v, 13.2)
        return abs(shunt_v) >= FULL_SCALE_V

    def read(self, quantity: str = "current_a") -> float | None:
        """Return a current, or None if the driver reports it as unknown."""
        found = next(m for m in self.driver.read() if m.quantity == quantity)
        if found.value is None:
            assert found.quality is Quality.FAULT
            return None
        return float(found.value)

    def set_zero(self) -> None:
        """Find the zero as a technician does, with no current."""
        self.flow(0.0)
        readings = [self.read("uncorrected_a") or 0.0 for _ in range(ZERO_READINGS)]
        self.driver.set_zero(sum(readings) / ZERO_READINGS)


class Detected(NamedTuple):
    """How many events happened, and how many of them the driver detected."""

    happened: int
    detected: int


def largest_error_lsb(offset_v: float, step_a: float) -> float:
    """Return the largest error from -53 to 53 A, after zero calibration, in bits of 6.67 mA."""
    bench = Bench(offset_v)
    bench.set_zero()
    worst_a = 0.0
    for number in range(round(-53 / step_a), round(53 / step_a) + 1):
        true_a = number * step_a
        bench.flow(true_a)
        current_a = bench.read()
        worst_a = max(worst_a, abs((current_a if current_a is not None else 1e9) - true_a))
    return round(worst_a / LSB_A, 3)


def clipped(offset_v: float, step_a: float) -> tuple[Detected, int]:
    """Return how many currents beyond the range are detected, and how many within it falsely as well.

    The steps are small around both ends of the range, larger far beyond it. Within two bits of an end
    both answers are right.
    """
    bench = Bench(offset_v)
    bench.set_zero()
    happened = detected = false_alarms = 0
    near_a = [FULL_SCALE_V / OHMS + number * step_a for number in range(-500, 501)]
    for size_a in [*near_a, 60.0, 75.0, 100.0, 213.0, 214.0, 500.0]:
        for true_a in (size_a, -size_a):
            beyond = bench.flow(true_a)
            is_unknown = bench.read() is None
            happened += beyond
            detected += beyond and is_unknown
            within = abs(true_a * OHMS + offset_v) < FULL_SCALE_V - 2 * LSB_V
            false_alarms += within and is_unknown
    return Detected(happened, detected), false_alarms


def restarts(times: int, seed: int) -> Detected:
    """Return how many restarts of the chip are detected, between readings and within them.

    The reading in which it happens must detect it, or the next one if all values had been read; those
    values are right. Half of the currents are too large, which the range after a restart hides.
    """
    dice = random.Random(seed)
    bench = Bench()
    detected = 0
    for _ in range(times):
        true_a = dice.choice((20.0, -53.0, 60.0, -150.0))
        beyond = bench.flow(true_a)
        transfers = dice.randint(0, 4)
        if transfers < 4:
            bench.chip.restart_in = transfers
        else:
            bench.chip.brown_out()
            bench.now_s += dice.choice((0.0, 0.0005, 0.05, 1.0))
        for _ in range(2):
            try:
                current_a = bench.read()
            except SensorError:
                detected += 1
                break
            assert bench.chip.restart_in == 0, "all values were read before"
            if beyond:
                assert current_a is None
            else:
                assert current_a is not None
                assert abs(current_a - true_a) <= LSB_A
        bench.now_s += 1.0
    return Detected(times, detected)


def measure(step_a: float = 0.01, times: int = 10_000, seed: int = 1) -> dict[str, float]:
    """Return the largest error of the current, and the share of unknown readings that are detected."""
    both = (OFFSET_V, -OFFSET_V)
    ends = [clipped(offset_v, 0.001) for offset_v in (0.0, *both)]
    restarted = restarts(times, seed)
    happened = sum(t.happened for t, _ in ends)
    return {
        "largest_error_lsb": max(largest_error_lsb(offset_v, step_a) for offset_v in both),
        "clipped": happened,
        "clipped_detected": sum(t.detected for t, _ in ends) / happened,
        "false_alarms_within_the_range": sum(false_alarms for _, false_alarms in ends),
        "restarts": restarted.happened,
        "restarts_detected": restarted.detected / restarted.happened,
    }
