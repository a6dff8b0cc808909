"""Batteries that are independent of the estimator: two models of each kind, of different nature.

LiFePO4: four unequal cells with an open-circuit voltage, hysteresis and two time constants
(`CellsLiFePO4`); a table of terminal voltages by rate and depth of discharge, as data sheets print them
(`TableLiFePO4`). Lead-acid: two wells, the kinetic model of Manwell and McGowan, 1993 (`WellsLeadAcid`); an
equivalent circuit whose capacity depends on current and warmth, after Ceraolo, 2000, with the charging
efficiency of CIEMAT (Copetti, 1993) (`CircuitLeadAcid`).
"""

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, NamedTuple, Protocol


class Supply(NamedTuple):
    """A charger: its largest current, and its voltage limit."""

    limit_a: float
    voltage_v: float


class Pack(Protocol):
    """A battery with its protection; current is positive while it is charged."""

    true_ah: float
    current_a: float
    voltage_v: float
    highest_cell_v: float | None

    def step(self, step_s: float, load_a: float, supply: Supply | None) -> None:
        """Simulate a step with a load and perhaps a charger on the battery's terminals."""

    def warm(self, degrees: float) -> None:
        """Set the temperature above the usual one, in °C."""

    @property
    def charge(self) -> float:
        """The true state of charge: the remaining over the full dischargeable amount."""


def _flow(load_a: float, supply: Supply | None, inner_v: float, ohms: float) -> float:
    """Return the current that a battery behind `ohms` takes from a charger beside a load."""
    if supply is None:
        return -load_a
    taken_a = (supply.voltage_v - inner_v) / ohms
    return max(-load_a, min(supply.limit_a - load_a, taken_a))


#: Open-circuit voltage of a LiFePO4 cell by its charge.
_CELL = (
    (-0.02, 2.0), (0.0, 2.62), (0.01, 2.80), (0.02, 2.91), (0.04, 3.035), (0.06, 3.11),
    (0.08, 3.165), (0.10, 3.195), (0.15, 3.222), (0.20, 3.246), (0.25, 3.263), (0.30, 3.278),
    (0.35, 3.286), (0.40, 3.290), (0.50, 3.294), (0.60, 3.303), (0.65, 3.316), (0.70, 3.327),
    (0.80, 3.331), (0.90, 3.334), (0.95, 3.339), (0.98, 3.352), (0.99, 3.39), (1.0, 3.48),
    (1.01, 3.75), (1.03, 4.3),
)  # fmt: skip
_GRID = 1000


def _tabulated() -> list[float]:
    """Return the cell's voltage for each thousandth of its charge, from -2 % to 103 %."""
    found = []
    for n in range(-20, 1031):
        x = n / _GRID
        (x0, v0), (x1, v1) = next(pair for pair in pairwise(_CELL) if x <= pair[1][0])
        found.append(v0 + (v1 - v0) * (x - x0) / (x1 - x0))
    return found


_CELL_V = _tabulated()


def cell_v(x: float) -> float:
    place = min(max(x * _GRID + 20, 0.0), len(_CELL_V) - 1.001)
    n = int(place)
    return _CELL_V[n] + (_CELL_V[n + 1] - _CELL_V[n]) * (place - n)


class CellsLiFePO4:
    """Four cells in series and their protection."""

    HYSTERESIS_V = 0.012
    CELL_TOP_V, CELL_BOTTOM_V = 3.65, 2.60
    OWN_A = 0.02  # consumption of the protection, and leakage
    EFFICIENCY = 0.996
    PER_DEGREE = 0.004

    def __init__(self, dice: random.Random, true_ah: float, charge: float, spread: float) -> None:
        """`spread` is how much the cells differ in capacity and charge."""
        self.true_ah = true_ah
        sizes = [dice.uniform(1.0, 1.0 + spread) for _ in range(4)]
        tilt = [dice.uniform(0.0, spread) for _ in range(4)]
        # The pack's capacity is what the weakest cell gives between the fullest one's top and its own bottom.
        held = min(sizes) * charge
        scale = 1.0
        for _ in range(30):
            self._sizes = [self.true_ah * scale * s for s in sizes]
            self._held = [self.true_ah * scale * (held + t) for t in tilt]
            self._locked = 0.0
            scale *= self.true_ah / self._capacity()
        shift = charge * self._capacity() - min(self._held)
        self._held = [h + shift for h in self._held]
        self._fast_v = self._slow_v = 0.0
        self._lag = -1.0
        self._stopped = self._empty = False
        self._scale = 182.0 / true_ah  # of the resistances, which are those of 182 Ah
        self._ohms = 0.005 * self._scale
        self.current_a, self.voltage_v = 0.0, 13.2
        self.highest_cell_v: float | None = 3.3

    def _capacity(self) -> float:
        low = min(self._held) - self._locked
        return low + min(s - h for s, h in zip(self._sizes, self._held, strict=True))

    @property
    def charge(self) -> float:
        return min(1.0, max(0.0, (min(self._held) - self._locked) / self._capacity()))

    def warm(self, degrees: float) -> None:
        self._locked = -self.PER_DEGREE * degrees * self.true_ah
        self._ohms = 0.005 * self._scale * 2 ** (-degrees / 20)

    def step(self, step_s: float, load_a: float, supply: Supply | None) -> None:
        locked = self._locked
        bent_v = self._lag * self.HYSTERESIS_V
        cells = [
            cell_v((h - locked) / (s - locked)) + bent_v
            for h, s in zip(self._held, self._sizes, strict=True)
        ]
        still_v = sum(cells) + self._fast_v + self._slow_v
        current_a = _flow(load_a, supply, still_v, self._ohms)
        if supply is not None:
            self._empty = False
        if (self._stopped and current_a > 0) or (self._empty and current_a < 0):
            current_a = 0.0
        each_v = (self._fast_v + self._slow_v + current_a * self._ohms) / 4
        highest_v, lowest_v = max(cells) + each_v, min(cells) + each_v
        if highest_v > self.CELL_TOP_V:
            self._stopped = True
        elif highest_v < 3.38 or current_a < 0:
            self._stopped = False
        if lowest_v < self.CELL_BOTTOM_V and supply is None:
            self._empty = True
        moved = (current_a * (self.EFFICIENCY if current_a > 0 else 1) - self.OWN_A) * step_s / 3600
        for n in range(4):
            self._held[n] += moved
        if current_a:
            toward = 1.0 if current_a > 0 else -1.0
            turned = abs(moved) / (0.03 * self.true_ah)
            self._lag += (toward - self._lag) * min(1.0, turned)
        self._fast_v += (current_a * 0.002 * self._scale - self._fast_v) * step_s / 30
        self._slow_v += (current_a * 0.004 * self._scale - self._slow_v) * step_s / 1500
        self.current_a = current_a
        self.highest_cell_v = highest_v
        if self._empty:
            self.voltage_v = 0.0
        elif self._stopped and supply is not None:
            self.voltage_v = supply.voltage_v
        else:
            self.voltage_v = still_v + current_a * self._ohms


class WellsLeadAcid:
    """Two wells: the current comes from the first, and the second refills it."""

    SHARE, PER_HOUR = 0.45, 0.8
    #: Share of its content that a full battery gives in 20 hours: the closed form at 20 h.
    IN_20_H = PER_HOUR * SHARE * 20 / (1 + SHARE * (PER_HOUR * 20 - 1))
    CUT_OFF_V = 10.6
    PER_DEGREE = 0.006

    def __init__(self, dice: random.Random, true_ah: float, charge: float, spread: float) -> None:
        """`spread` is named as for the LiFePO4 pack; here it is wear."""
        self.true_ah = true_ah
        self._all = self.true_ah / self.IN_20_H
        held = self._all - self.true_ah * (1 - charge)
        self._first, self._second = held * self.SHARE, held * (1 - self.SHARE)
        self._wear = (1 + 4 * spread + dice.uniform(0.0, 0.2)) * 182.0 / true_ah
        self._locked = 0.0
        self._tension_v = 0.0
        self._warmth = 0.0
        self._empty = False
        self.current_a, self.voltage_v = 0.0, 12.5
        self.highest_cell_v: float | None = None

    @property
    def charge(self) -> float:
        out = self._all - self._first - self._second
        return min(1.0, max(0.0, 1 - out / (self.true_ah - self._locked)))

    def warm(self, degrees: float) -> None:
        self._warmth = degrees
        self._locked = -self.PER_DEGREE * degrees * self.true_ah

    def step(self, step_s: float, load_a: float, supply: Supply | None) -> None:
        hours = step_s / 3600
        level = self._first / self.SHARE
        x = (level - self._locked) / (self._all - self._locked)
        still_v = 11.9 + 0.85 * x
        if x < 0.12:
            still_v -= 110 * (0.12 - x) ** 2
        ohms = 0.007 * self._wear * (1.8 - 0.8 * x) * (1 - 0.01 * self._warmth)
        if supply is None:
            current_a = 0.0 if self._empty else -load_a
        else:
            self._empty = False
            top_v = 0.02 * math.exp(min(6.0, 400 * (x - 0.99)))
            current_a = _flow(
                load_a, supply, still_v + self._tension_v + top_v, ohms + 0.012 * self._wear
            )
            if current_a < 0:  # no charging resistance
                current_a = min(0.0, _flow(load_a, supply, still_v + self._tension_v, ohms))
        self.voltage_v = still_v + self._tension_v + current_a * ohms
        if supply is not None and current_a > 0:
            self.voltage_v = min(
                supply.voltage_v, self.voltage_v + top_v + current_a * 0.012 * self._wear
            )
        wanted_v = 0.2 + 0.6 * max(0.0, x) ** 6 if current_a > 0 else 0.0
        self._tension_v += (wanted_v - self._tension_v) * step_s / (60 if current_a > 0 else 900)
        stored_a = current_a
        if current_a > 0:
            gas_a = 0.002 * self._all * math.exp(5 * (self.voltage_v - 14.4))
            stored_a = current_a * (0.985 if x < 0.8 else 0.96) - min(current_a, gas_a)
        across = (
            self.PER_HOUR
            * self.SHARE
            * (1 - self.SHARE)
            * (self._second / (1 - self.SHARE) - level)
        )
        self._first = min(self._all * self.SHARE, self._first + (stored_a - 0.01 + across) * hours)
        self._second = self._second - across * hours
        if supply is None and self.voltage_v < self.CUT_OFF_V:
            self._empty = True
        if self._empty:
            self.voltage_v = 0.0
        self.current_a = current_a


#: Terminal voltage of a LiFePO4 cell by its depth of discharge at 0.2 C, 0.5 C and 1 C and 25 °C, as the
#: data sheets of prismatic cells of 100 to 300 Ah print it; and while it is charged at 0.5 C.
_DEPTHS = (
    0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6,
    0.7, 0.8, 0.9, 0.95, 0.97, 0.985, 1.0,
)  # fmt: skip
_AT_02 = (
    3.42, 3.335, 3.320, 3.312, 3.305, 3.298, 3.284, 3.274, 3.268,
    3.260, 3.236, 3.195, 3.10, 3.00, 2.82, 2.5,
)  # fmt: skip
_AT_05 = (
    3.37, 3.300, 3.286, 3.278, 3.270, 3.262, 3.248, 3.238, 3.231,
    3.220, 3.196, 3.148, 3.03, 2.90, 2.66, 2.2,
)  # fmt: skip
_AT_10 = (
    3.32, 3.240, 3.224, 3.216, 3.208, 3.199, 3.186, 3.176, 3.168,
    3.154, 3.128, 3.070, 2.93, 2.76, 2.44, 1.9,
)  # fmt: skip
_RATES, _AT_RATE = (0.2, 0.5, 1.0), (_AT_02, _AT_05, _AT_10)
_CHARGED = (
    3.65, 3.50, 3.43, 3.405, 3.392, 3.380, 3.366, 3.356, 3.350,
    3.342, 3.328, 3.290, 3.24, 3.20, 3.15, 3.05,
)  # fmt: skip


def _at(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    place = min(max(1, bisect_right(xs, x)), len(xs) - 1)
    part = (x - xs[place - 1]) / (xs[place] - xs[place - 1])
    return ys[place - 1] + (ys[place] - ys[place - 1]) * part


class TableLiFePO4:
    """A pack that follows printed curves; between charge and discharge its voltage creeps."""

    CUT_OFF_V, TOP_V = 2.5, 3.65
    EFFICIENCY = 0.993
    PER_DEGREE = 0.003
    CREEP_S = 240.0

    def __init__(self, dice: random.Random, true_ah: float, charge: float, spread: float) -> None:
        """`spread` is how much earlier than the others the fullest cell is full."""
        self.true_ah, self._depth = true_ah, 1.0 - charge
        self._spread = spread * dice.uniform(0.3, 1.0)
        self._warmth = self._lag_c = 0.0
        self._stopped = self._empty = False
        self.current_a, self.voltage_v = 0.0, 13.2
        self.highest_cell_v: float | None = 3.3

    @property
    def charge(self) -> float:
        return min(1.0, max(0.0, 1.0 - self._depth))

    def warm(self, degrees: float) -> None:
        self._warmth = degrees

    def _cell_v(self, depth: float, rate_c: float) -> float:
        """Return the voltage at a rate, positive while charging; below 0.2 C it is between both."""
        slow_v = _at(depth, _DEPTHS, _AT_02)
        charged_v = _at(depth, _DEPTHS, _CHARGED)
        if rate_c >= 0:
            still_v = 0.62 * slow_v + 0.38 * charged_v
            return still_v + (charged_v - still_v) * math.pow(rate_c / 0.5, 0.7)
        out_c = -rate_c * (1 - 0.02 * self._warmth)
        if out_c < 0.2:
            still_v = 0.62 * slow_v + 0.38 * charged_v
            return still_v + (slow_v - still_v) * math.pow(out_c / 0.2, 0.6)
        return _at(out_c, _RATES, [_at(depth, _DEPTHS, row) for row in _AT_RATE])

    def step(self, step_s: float, load_a: float, supply: Supply | None) -> None:
        depth = self._depth * (1 - self.PER_DEGREE * self._warmth)
        if supply is None:
            current_a = -load_a
        else:
            self._empty = False
            low_a, high_a = -load_a, supply.limit_a - load_a
            if 4 * self._cell_v(depth, high_a / self.true_ah) > supply.voltage_v:
                for _ in range(12):  # the current at which the voltage is the charger's
                    middle_a = (low_a + high_a) / 2
                    over = 4 * self._cell_v(depth, middle_a / self.true_ah) > supply.voltage_v
                    low_a, high_a = (low_a, middle_a) if over else (middle_a, high_a)
            current_a = high_a
        if (self._stopped and current_a > 0) or (self._empty and current_a < 0):
            current_a = 0.0
        self._lag_c += (current_a / self.true_ah - self._lag_c) * min(1.0, step_s / self.CREEP_S)
        rate_c = 0.6 * current_a / self.true_ah + 0.4 * self._lag_c
        cell_v = self._cell_v(depth, rate_c)
        highest_v = self._cell_v(depth - self._spread, rate_c)
        if highest_v > self.TOP_V or depth < -0.01:
            self._stopped = True
        elif highest_v < 3.37 or current_a < 0:
            self._stopped = False
        if cell_v < self.CUT_OFF_V and supply is None:
            self._empty = True
        self._depth -= (
            current_a * (self.EFFICIENCY if current_a > 0 else 1) * step_s / 3600 / self.true_ah
        )
        self.current_a, self.highest_cell_v = current_a, highest_v
        if self._empty:
            self.voltage_v = 0.0
        elif self._stopped and supply is not None:
            self.voltage_v = supply.voltage_v
        else:
            self.voltage_v = 4 * cell_v if supply is None else min(supply.voltage_v, 4 * cell_v)


class CircuitLeadAcid:
    """Electromotive force, two resistances, a capacity that depends on the mean current, and gassing."""

    CUT_OFF_V = 10.5
    #: Ceraolo: C(I) = K C0 / (1 + (K - 1) (I/I20)^D)
    K, D = 1.18, 0.9
    MEAN_S = 3600.0
    PER_DEGREE: ClassVar[float] = 0.007

    def __init__(self, dice: random.Random, true_ah: float, charge: float, spread: float) -> None:
        """`spread` is named as for the LiFePO4 packs; here it is wear."""
        self.true_ah, self._out_ah = true_ah, true_ah * (1 - charge)
        self._ohms = 1.1 * (1 + 5 * spread + dice.uniform(0.0, 0.3)) / true_ah
        self._mean_a = self._slow_v = self._warmth = 0.0
        self._empty = False
        self.current_a, self.voltage_v = 0.0, 12.5
        self.highest_cell_v: float | None = None

    @property
    def charge(self) -> float:
        return min(1.0, max(0.0, 1 - self._out_ah / (self.true_ah * self._warm)))

    @property
    def _warm(self) -> float:
        return 1 + self.PER_DEGREE * self._warmth

    def warm(self, degrees: float) -> None:
        self._warmth = degrees

    def step(self, step_s: float, load_a: float, supply: Supply | None) -> None:
        rate = max(0.0, -self._mean_a) / (self.true_ah / 20)
        capacity_ah = self.K * self.true_ah * self._warm / (1 + (self.K - 1) * rate**self.D)
        filled = 1 - self._out_ah / (self.true_ah * self._warm)
        left = 1 - self._out_ah / max(capacity_ah, 1.0)
        still_v = 12.85 - 1.15 * (1 - filled)
        ohms = self._ohms * (1 + 0.35 * (1 - left)) * (1 - 0.012 * self._warmth)
        if left < 0.1:
            still_v -= 130 * (0.1 - left) ** 2
        if supply is None:
            current_a = 0.0 if self._empty else -load_a
        else:
            self._empty = False
            charging_ohms = ohms + 1.6 / self.true_ah
            risen_v = 1.56 * (max(0.0, filled) / 0.985) ** 4  # towards gassing
            top_v = still_v + self._slow_v + risen_v
            current_a = _flow(load_a, supply, top_v, charging_ohms)
            if current_a < 0:
                current_a = min(0.0, _flow(load_a, supply, still_v + self._slow_v, ohms))
            else:
                ohms, still_v = charging_ohms, still_v + risen_v
        self.voltage_v = still_v + self._slow_v + current_a * ohms
        if supply is not None:
            self.voltage_v = min(self.voltage_v, supply.voltage_v)
        wanted_v = current_a * 0.9 / self.true_ah
        self._slow_v += (wanted_v - self._slow_v) * min(1.0, step_s / 1800)
        self._mean_a += (current_a - self._mean_a) * min(1.0, step_s / self.MEAN_S)
        stored_a = current_a - 0.008
        if current_a > 0:
            tenth_a = self.true_ah / 10
            stored_a = current_a * (
                1 - math.exp(20.73 / (current_a / tenth_a + 0.55) * (min(filled, 1.0) - 1.0))
            )
        self._out_ah = max(0.0, self._out_ah - stored_a * step_s / 3600)
        if supply is None and self.voltage_v < self.CUT_OFF_V:
            self._empty = True
        if self._empty:
            self.voltage_v = 0.0
        self.current_a = current_a


class Kind(NamedTuple):
    """What a model stands for, and its true capacity."""

    chemistry: str
    model: type[CellsLiFePO4 | TableLiFePO4 | WellsLeadAcid | CircuitLeadAcid]
    true_ah: float


KINDS = {
    "lifepo4_cells": Kind("lifepo4", CellsLiFePO4, 100.0),
    "lifepo4_table": Kind("lifepo4", TableLiFePO4, 90.0),
    "lead_acid_wells": Kind("lead_acid", WellsLeadAcid, 180.0),
    "lead_acid_circuit": Kind("lead_acid", CircuitLeadAcid, 200.0),
}
