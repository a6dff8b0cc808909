"""Calibration of a current sensor on a shunt: its zero and its resistance, from readings.

The chip measures the shunt's voltage. `uncorrected_a` is that voltage divided by the configured
resistance, and the current is `uncorrected_a` minus the zero. The zero is an offset of the chip: it is
a voltage, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sensors.traits import ShuntChip
from sensors.trouble import Trouble, declare, marked

#: Readings for `tentwatch calibrate`. The command `zero` takes the last few (`sensed.py`).
READINGS = 8
#: A compared current may scatter by this share of itself, or by this many steps of the chip.
SCATTER, SCATTER_STEPS = 0.02, 4
#: A compared current must have this many steps of the chip, and this share of the largest current.
FEWEST_STEPS, SMALLEST_SHARE = 10, 0.05
#: No shunt is wrong by a larger factor: then something else is wrong.
LARGEST_FACTOR = 2.0

CURRENT_FLOWS = declare(
    "calibration.current_flows",
    marked("it reads {a:g} A, so a current flows"),
    marked("disconnect all loads and sources first"),
)
TOO_LITTLE = declare(
    "calibration.too_little",
    marked("the sensor reads {a:.2f} A and the clamp meter {clamp_a:g} A"),
    marked("let {least_a:.1f} A flow at least, better half of what it can measure"),
)
UNSTEADY = declare(
    "calibration.unsteady",
    marked("the current is not steady: it moved by {scatter_a:.2f} A around {a:.2f} A"),
    marked("switch on or off what makes it change, and try again"),
)
FAR_OFF = declare(
    "calibration.far_off",
    marked(
        "the sensor reads {a:.2f} A and the clamp meter {clamp_a:g} A: no shunt is off by that much"
    ),
    marked("look at shunt_ohms and at where the clamp is, or add --force"),
)


class UnfitReadings(Trouble):
    """No zero and no span can be found from the readings."""


@dataclass(frozen=True, slots=True)
class Span:
    """The result of a comparison with a clamp meter.

    `measured_a` is the sensor's current without the dead band, `factor` the new resistance divided by
    the old one, and `zero_a` the zero in the amperes of the new settings. `turned` means that the sign
    must be turned. `error_pct` is the largest error that the steps of the chip can have caused.
    """

    measured_a: float
    shunt_ohms: float
    zero_a: float
    factor: float
    turned: bool
    error_pct: float


def resolution_a(shunt_ohms: float, chip: ShuntChip) -> float:
    """Return one step of the chip in amperes."""
    return chip.step_v / shunt_ohms


def zero(uncorrected_a: Sequence[float], shunt_ohms: float, chip: ShuntChip) -> float:
    """Return the zero in amperes from readings without a current. Raises UnfitReadings."""
    zero_a = round(_mean(uncorrected_a), 3)
    largest_a = chip.largest_zero_v / shunt_ohms
    if max(uncorrected_a) - min(uncorrected_a) > largest_a or abs(zero_a) > largest_a:
        raise UnfitReadings(CURRENT_FLOWS, a=zero_a)
    return zero_a


def span(
    uncorrected_a: Sequence[float],
    clamp_a: float,
    chip: ShuntChip,
    *,
    shunt_ohms: float,
    max_current_a: float,
    zero_a: float,
    force: bool = False,
) -> Span:
    """Return the settings with which the sensor shows `clamp_a`. Raises UnfitReadings.

    `zero_a` is the present zero. `force` allows any factor.
    """
    measured_a = _mean(uncorrected_a) - zero_a
    step_a = resolution_a(shunt_ohms, chip)
    least_a = max(FEWEST_STEPS * step_a, SMALLEST_SHARE * max_current_a)
    if min(abs(measured_a), abs(clamp_a)) < least_a:
        raise UnfitReadings(TOO_LITTLE, a=measured_a, clamp_a=clamp_a, least_a=least_a)
    scatter_a = max(uncorrected_a) - min(uncorrected_a)
    if scatter_a > max(SCATTER * abs(measured_a), SCATTER_STEPS * step_a):
        raise UnfitReadings(UNSTEADY, scatter_a=scatter_a, a=measured_a)
    turned = (measured_a < 0) != (clamp_a < 0)
    factor = abs(measured_a / clamp_a)
    if not force and not 1 / LARGEST_FACTOR <= factor <= LARGEST_FACTOR:
        raise UnfitReadings(FAR_OFF, a=measured_a, clamp_a=clamp_a)
    new_ohms = float(f"{shunt_ohms * factor:.6g}")
    new_zero_a = zero_a * shunt_ohms / new_ohms
    return Span(
        measured_a=measured_a,
        shunt_ohms=new_ohms,
        zero_a=round(-new_zero_a if turned else new_zero_a, 4),
        factor=factor,
        turned=turned,
        error_pct=100 * step_a / abs(measured_a),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)  # `statistics` would cost the agent's memory
