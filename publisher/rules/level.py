"""Charge and capacity of the battery: a Kalman filter of two numbers.

Counted ampere-hours move the charge. Where the battery shows its charge, the count is corrected, and
the size of the correction teaches the capacity. The sensor's offset and the losses of charging are not
estimated: what they can have done since the last correction is part of the uncertainty. A gain error
needs no care, because the capacity is learned in the ampere-hours of the same sensor.
"""

import math

from publisher.config.battery import BatterySettings
from publisher.rules.charge_state import Charge

#: The reported uncertainty in standard deviations: the truth lies inside 95 % of the time.
SIGMAS = 2.0
#: The assumed capacity as a share of the nameplate, until it is learned, and its standard deviation: makers
#: state 10 % too little, and 10 % too much (a real pack of 90 Ah held 82). Shares outside the limits are
#: not learned.
ASSUMED_SHARE, SHARE_SIGMA = 1.0, 0.085
SMALLEST_SHARE, LARGEST_SHARE = 0.4, 1.25
#: The smallest standard deviation of a learned capacity, and its growth in a day: warmth and age
#: change a capacity.
KNOWN_SIGMA, DAILY_SIGMA = 0.03, 0.01
#: The largest standard deviation of a capacity that contradicts what the battery shows.
DOUBTED_SIGMA = 0.5
#: Standard deviation of the sensor's offset: 83 mA is an INA219's worst on 1.5 mΩ.
OFFSET_SIGMA_A = 0.065
#: Standard deviation of an unknown charge, and the smallest that is believed.
UNKNOWN_SIGMA, SMALLEST_SIGMA = 0.29, 0.003
#: A level is vague above this. A vague level that runs over was wrong; it teaches no capacity.
VAGUE_SIGMA = 0.1
#: Standard deviation of a bound that a voltage sets.
BOUND_SIGMA = 0.05


class Level:
    """The filter. Its state is in the given `Charge` and survives with it."""

    def __init__(self, battery: BatterySettings, charge: Charge) -> None:
        """Continue from `charge`."""
        self._charge = charge
        self._kind = battery.kind
        self._nameplate_ah = battery.capacity_ah or 0.0
        self._share = 1 / ASSUMED_SHARE  # nameplate over capacity
        if charge.capacity_ah is not None:
            self._share = self._nameplate_ah / charge.capacity_ah
        self._efficiency = battery.effective("efficiency")
        self._peukert = battery.effective("peukert")
        self._rated_a = self._nameplate_ah / battery.effective("rated_hours")

    @property
    def is_known(self) -> bool:
        """Whether there is a level at all."""
        return self._charge.level is not None

    @property
    def value(self) -> float:
        """The charge as a share of the capacity. Only where it is known."""
        level = self._charge.level
        assert level is not None
        return level

    @property
    def variance(self) -> float:
        """The variance of the level, including the effect of offset and losses."""
        charge = self._charge
        drift = charge.drifted * OFFSET_SIGMA_A
        loss = charge.charged * self._kind.efficiency_sigma
        return charge.level_var + drift * drift + loss * loss

    @property
    def capacity_ah(self) -> float:
        """The capacity as learned so far; 0 where no nameplate is given."""
        return self._nameplate_ah / self._share

    def least_capacity_ah(self, sigmas: float) -> float:
        """Return the capacity with a level's share of it that many standard deviations too low."""
        return self._nameplate_ah / (self._share + sigmas * math.sqrt(self._charge.share_var))

    def rate_factor(self, load_a: float) -> float:
        """Return how much more a load takes than its ampere-hours: 1 up to the rated current.

        Peukert's law: a current I takes I·(I/I_rated)^(k-1).
        """
        if load_a <= self._rated_a:
            return 1.0
        return float((load_a / self._rated_a) ** (self._peukert - 1))

    # Counting

    def begin(self) -> None:
        """Begin with a battery about which nothing is known."""
        self._charge.level, self._charge.level_var = 0.5, UNKNOWN_SIGMA**2

    def count(self, current_a: float, step_s: float) -> None:
        """Count a current (positive while charging) that has flowed for `step_s`."""
        charge, hours = self._charge, step_s / 3600
        if charge.level is not None:
            if current_a > 0:
                self.move(current_a * hours * self._efficiency)
            elif current_a < 0:
                self.move(current_a * hours * self.rate_factor(-current_a))
            charge.drifted += hours / self.capacity_ah
            if not 0 <= charge.level <= 1:
                self._handle_overrun()
        aged_var = charge.share_var + DAILY_SIGMA**2 * hours / 24
        charge.share_var = min(max(SHARE_SIGMA**2, charge.share_var), aged_var)

    def move(self, moved_ah: float) -> None:
        """Move the level; the uncertainty of the capacity adds to that of the level."""
        charge = self._charge
        assert charge.level is not None
        part, covariance = moved_ah / self._nameplate_ah, self._covariance()
        var = charge.level_var + 2 * part * covariance + part * part * charge.share_var
        charge.level_var = max(SMALLEST_SIGMA**2, var)
        self._set_covariance(covariance + part * charge.share_var)
        step = part * self._share
        if step > 0:
            # The count goes beyond full until the battery shows that it is full.
            charge.level = min(1.2, charge.level + step)
            charge.charged += step
        else:
            charge.level = min(1.0, charge.level) + step

    def spread(self, bound_ah: float) -> float:
        """Return the variance of a level that is known within `bound_ah`."""
        return (bound_ah / self.capacity_ah / SIGMAS) ** 2

    def blur(self, bound_ah: float) -> None:
        """Add the uncertainty of a movement that is known within `bound_ah`."""
        self._charge.level_var += self.spread(bound_ah)

    def blur_again(self, was_ah: float, bound_ah: float) -> None:
        """Replace the uncertainty that `blur` added for `was_ah` by that for `bound_ah`."""
        charge, was, now = self._charge, self.spread(was_ah), self.spread(bound_ah)
        charge.level_var = max(SMALLEST_SIGMA**2, charge.level_var + now - was)

    def _handle_overrun(self) -> None:
        """Correct a battery that delivers although it should be empty, or accepts although it is full."""
        total = self.variance
        if total > VAGUE_SIGMA**2:
            self.confine(0.0, 1.0)
        elif self.value < 0:
            # Its capacity or charge was larger than assumed. Charge accepted beyond full is often lost.
            self.set_level(0.0, total, learn=total / (total + BOUND_SIGMA**2))

    # Learning

    def measure(self, level: float, var: float, *, learn: bool = True) -> None:
        """Correct the level by one that the battery shows, with its variance.

        `learn` says whether that also teaches the capacity.
        """
        charge, total, off = self._charge, self.variance, level - self.value
        gain = total / (total + var)
        if off * off <= 16 * (total + var):
            self.set_level(self.value + gain * off, gain * var, learn=float(learn))
        else:
            # They cannot both be right. If the capacity is wrong, the next correction will teach it.
            self.set_level(level, var)
            if learn:
                charge.share_var = min(DOUBTED_SIGMA**2, 4 * charge.share_var)

    def confine(self, least: float, most: float) -> None:
        """Correct the level by bounds that the battery shows.

        The new level has the mean and the variance of the normal distribution that is truncated at
        both bounds. It teaches no capacity: a bound is repeated as long as it holds, and always has the same
        error.
        """
        total = self.variance
        sigma = math.sqrt(total)
        low, high = (least - self.value) / sigma, (most - self.value) / sigma
        inside = _normal_cdf(high) - _normal_cdf(low)
        if inside > 0.9:
            return
        if inside < 0.02:
            # Something was wrong, by an unknown amount.
            self.set_level(least if low > 0 else most, max(total, BOUND_SIGMA**2))
            return
        shift = (_normal_pdf(low) - _normal_pdf(high)) / inside
        tails = (low * _normal_pdf(low) if math.isfinite(low) else 0.0) - (
            high * _normal_pdf(high) if math.isfinite(high) else 0.0
        )
        var = total * (1 + tails / inside - shift * shift)
        var = min(total, max(self._kind.full_sigma**2, var))
        self.set_level(self.value + sigma * shift, var)

    def set_full(self, *, again: bool) -> None:
        """Correct the level by a full charge; `again` where it was full a moment ago as well."""
        charge, kind = self._charge, self._kind
        if not again:
            if charge.level is not None:
                # What goes into a nearly full lead-acid battery is partly lost, and teaches nothing.
                is_loss = not kind.cut_off and self.value > kind.full
                self.measure(kind.full, kind.full_sigma**2, learn=not is_loss)
            charge.level = kind.full
        charge.level = min(1.0, max(kind.full, self.value))
        charge.level_var = kind.full_sigma**2
        charge.shared = charge.drifted = charge.charged = 0.0

    def set_level(self, level: float, var: float, *, learn: float = 0.0) -> None:
        """Set level and variance, and correct the capacity by the difference.

        `learn` (0 to 1) is the part of the difference that the capacity may have caused.
        """
        charge, total = self._charge, self.variance
        slope = self._covariance() / total
        if learn and slope:
            share = self._share + learn * slope * (level - self.value)
            self._share = min(1 / SMALLEST_SHARE, max(1 / LARGEST_SHARE, share))
            charge.capacity_ah = self.capacity_ah
            share_var = charge.share_var - slope * slope * (total - var)
            charge.share_var = max(KNOWN_SIGMA**2, share_var)
        self._set_covariance(slope * min(var, total))
        charge.level, charge.level_var = level, var
        charge.drifted = charge.charged = 0.0
        charge.guess_left *= min(1.0, var / total)

    def _covariance(self) -> float:
        """Return the covariance of level and share."""
        return -self._charge.shared if self._charge.opposed else self._charge.shared

    def _set_covariance(self, covariance: float) -> None:
        self._charge.shared, self._charge.opposed = abs(covariance), covariance < 0


def _normal_cdf(x: float) -> float:
    """Return the share of a standard normal distribution that lies below `x`."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _normal_pdf(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
