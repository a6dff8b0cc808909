"""`[battery]`: the fitted battery, and the defaults of its kind."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from publisher.config.faults import NO_CHEMISTRY, WRONG_NOMINAL, WRONG_VOLTAGE, Fault
from sensors.settings import setting
from sensors.trouble import Trouble, marked

NOMINAL_V = (12, 24, 36, 48)
#: Bounds of voltages that exclude no charge.
NO_LEAST, NO_MOST = -math.inf, math.inf


@dataclass(frozen=True)
class Chemistry:
    """The defaults of a kind of battery; voltages are those of a 12 V battery.

    `least` and `most` bound the charge by the voltage, at a load of at most `calm_c` times the capacity
    an hour and `calm_s` after a charge. For `most` the voltage is corrected by the load's drop on
    `ohm_ah` over the capacity. The bounds are wide: a voltage table was wrong by 28 points on a real
    LiFePO4 battery, and the voltage may be measured 0.5 % too high. `rest` has voltages after REST_S
    without current; it is empty if they tell nothing. `ending` is the least charge at which a battery at
    `charged_v` accepts no more than a share of its capacity an hour. `cut_off` means that a protection may
    end the charge; `full` is the charge at that moment. The sigmas are the standard deviations of that
    charge and of the charge at the floor; under load the floor is lower, by at least the load's drop on
    `floor_ohm_ah` over the capacity.
    """

    efficiency: float
    efficiency_sigma: float
    peukert: float
    rated_hours: float
    charged_v: float
    cut_off: bool
    full: float
    full_sigma: float
    floor_v: float
    floor_pct: float
    floor_sigma: float
    floor_ohm_ah: float
    calm_c: float
    calm_s: float
    ohm_ah: float
    least: Sequence[tuple[float, float]]
    most: Sequence[tuple[float, float]]
    rest: Sequence[tuple[float, float]]
    ending: Sequence[tuple[float, float]]


CHEMISTRIES = {
    "lifepo4": Chemistry(
        efficiency=0.99,
        efficiency_sigma=0.005,
        peukert=1.01,
        rated_hours=5.0,
        charged_v=14.0,
        cut_off=True,
        full=1.0,
        full_sigma=0.015,
        floor_v=12.0,
        floor_pct=3.0,
        floor_sigma=0.025,
        floor_ohm_ah=0.5,
        calm_c=0.2,
        calm_s=2700.0,
        ohm_ah=2.0,
        least=((12.8, NO_LEAST), (12.8, 0.03), (13.0, 0.08), (13.2, 0.22), (13.3, 0.35), (13.4, 0.5)),
        most=(
            (10.0, 0.03), (11.2, 0.06), (12.0, 0.13), (12.4, 0.2), (12.8, 0.36), (13.0, 0.6),
            (13.2, 1.0), (13.2, NO_MOST),
        ),
        rest=(),
        ending=((0.02, 0.95), (0.1, 0.9), (0.1, NO_LEAST)),
    ),
    "lead_acid": Chemistry(
        efficiency=0.965,
        efficiency_sigma=0.02,
        peukert=1.15,
        rated_hours=20.0,
        charged_v=14.0,
        cut_off=False,
        full=0.97,  # the last percents charge slowly, and are counted
        full_sigma=0.02,
        floor_v=10.8,
        floor_pct=3.0,
        floor_sigma=0.03,
        floor_ohm_ah=1.0,
        calm_c=0.1,
        calm_s=2700.0,
        ohm_ah=1.5,
        least=((12.0, NO_LEAST), (12.0, 0.05), (12.2, 0.2), (12.4, 0.4), (12.6, 0.6)),
        most=(
            (10.5, 0.1), (11.0, 0.2), (11.5, 0.35), (11.8, 0.45), (12.0, 0.6), (12.4, 1.0),
            (12.4, NO_MOST),
        ),
        rest=((11.75, 0.0), (12.7, 1.0)),
        ending=((0.02, 0.93), (0.05, 0.8), (0.1, 0.65), (0.1, NO_LEAST)),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class BatterySettings:
    """`[battery]`: the fitted battery; without a monitor the unit counts its charge."""

    chemistry: str | None = setting(
        None, doc=marked("kind of the battery"), choices=("lifepo4", "lead_acid")
    )
    capacity_ah: float | None = setting(
        None,
        doc=marked("capacity on the nameplate; without it no charge is counted"),
        low=1,
        high=10_000,
    )
    nominal_v: float = setting(
        12.0, doc=marked("nominal voltage: 12, 24, 36 or 48"), low=12, high=48
    )
    efficiency: float | None = setting(
        None,
        doc=marked("share of the charged ampere-hours that can be discharged"),
        low=0.5,
        high=1,
    )
    peukert: float | None = setting(
        None,
        doc=marked("Peukert exponent: how a large current reduces the capacity"),
        low=1,
        high=1.5,
    )
    rated_hours: float | None = setting(
        None, doc=marked("hours of discharge at which the nameplate applies"), low=1, high=100
    )
    charged_v: float | None = setting(
        None,
        doc=marked("voltage above which a charge can end, below the charger's"),
        low=10,
        high=70,
    )
    tail_pct: float = setting(
        2.0,
        doc=marked("charging current, in % of capacity_ah, below which it is full"),
        low=0.5,
        high=10,
    )
    full_hold_s: float = setting(
        180.0, doc=marked("time that voltage and tail current must last"), low=10, high=3600
    )
    floor_v: float | None = setting(
        None, doc=marked("voltage under load at which it is practically empty"), low=8, high=60
    )
    floor_pct: float | None = setting(
        None, doc=marked("charge at floor_v, at which the least time to empty ends"), low=0, high=50
    )
    dead_band_a: float = setting(0.1, doc=marked("smaller currents count as zero"), low=0, high=10)
    longest_gap_s: float = setting(
        14_400.0,
        doc=marked("longest assumed time off, where no clock measured it"),
        low=60,
        high=864_000,
    )
    feeds_unit: bool = setting(
        False, doc=marked("the unit itself runs on this battery, and dies with it")
    )
    low_pct: float = setting(20.0, doc=marked("charge below which to warn"), low=1, high=90)

    def faults(self) -> list[Fault]:
        """Return each fault between several keys."""
        found: list[Fault] = []
        if self.capacity_ah is not None and self.chemistry is None:
            found.append(("chemistry", Trouble(NO_CHEMISTRY)))
        if self.nominal_v not in NOMINAL_V:
            found.append(("nominal_v", Trouble(WRONG_NOMINAL)))
            return found
        for key, low_v, high_v in (("charged_v", 13.0, 15.0), ("floor_v", 9.0, 12.9)):
            value, scale = getattr(self, key), self.nominal_v / 12
            if value is not None and not low_v * scale <= value <= high_v * scale:
                limits = {"low_v": low_v * scale, "high_v": high_v * scale}
                found.append((key, Trouble(WRONG_VOLTAGE, nominal_v=self.nominal_v, **limits)))
        return found

    @property
    def kind(self) -> Chemistry:
        """The defaults of its chemistry; LiFePO4 if none is set."""
        return CHEMISTRIES[self.chemistry or "lifepo4"]

    @property
    def tail_a(self) -> float:
        """Charging current in amperes below which the battery is full."""
        return (self.capacity_ah or 0.0) * self.tail_pct / 100

    @property
    def idle_a(self) -> float:
        """Current in amperes, in either direction, up to which the battery counts as at rest."""
        return max(2 * self.dead_band_a, 0.0015 * (self.capacity_ah or 0.0))

    def effective(self, key: str) -> float:
        """Return a key's value, or the default of the chemistry if it is not set."""
        value = getattr(self, key)
        if value is None:
            value = getattr(self.kind, key)
            if key.endswith("_v"):
                value *= self.nominal_v / 12
        return float(value)
