"""When the alarm of carbon monoxide comes: steady air, ramps, peaks, restarts, behind a real cell.

The whole tent is under test, a reading a second. In front of it is a cell that takes 60 s to show 90 % of
a change, and may be wrong by 10 %. What the unit stores is stored as its recorder does it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

from tests.tents import Unit, config, with_air

#: Concentration in ppm, by the seconds since the beginning.
Air = Callable[[float], float]

T90_S = 60.0
ERRORS = {"10 % low": 0.9, "right": 1.0, "10 % high": 1.1}
#: EN 50291-1: minutes at a steady concentration before which no alarm may come, and until which it must.
EARLIEST_MIN = ((30.0, 120.0), (50.0, 60.0), (100.0, 10.0))
LATEST_MIN = ((50.0, 90.0), (100.0, 40.0), (300.0, 3.0))
#: A record is stored at least this often.
INTERVAL_S = 60.0
WARM_UP_S = 180.0


@dataclass(frozen=True)
class Break:
    """The unit ends `at_s` and starts `off_s` later."""

    at_s: float
    off_s: float = 40.0
    #: It loses what came after its last record.
    killed: bool = False
    #: It begins a new boot, in which the sensor warms up.
    reboots: bool = False
    #: After that reboot the time of day is not known.
    clockless: bool = False


@dataclass(frozen=True)
class Alarm:
    """After how many minutes warning and alarm came; None if not within the time."""

    warning_min: float | None
    alarm_min: float | None


class Cell:
    """A cell that approaches the truth by 90 % in T90_S, and shows a share too much or too little."""

    def __init__(self, gain: float = 1.0) -> None:
        self._gain = gain
        self._ppm = 0.0

    def read(self, air_ppm: float, step_s: float = 1.0) -> float:
        self._ppm += (air_ppm - self._ppm) * (1 - 0.1 ** (step_s / T90_S))
        return round(self._ppm * self._gain, 1)


def watch(
    air: Air,
    hours: float,
    gain: float = 1.0,
    breaks: Sequence[Break] = (),
    silent: Sequence[tuple[float, float]] = (),
) -> Alarm:
    """Let a unit live in this air until the alarm comes, or for a number of hours.

    `silent` are times (from, until) in seconds in which the sensor says nothing.
    """
    unit, cell = Unit(with_air(config("mains"), "co")), Cell(gain)
    stored, stored_s, shown = unit.stored(), 0.0, unit.tent.fingerprint()
    warned_min: float | None = None
    pauses, pending = list(silent), list(breaks)
    off_until_s = 0.0
    for second in range(1, round(3600 * hours) + 1):
        ppm = cell.read(air(second))
        if pending and second >= pending[0].at_s:
            fault = pending.pop(0)
            off_until_s = second + fault.off_s
            if fault.clockless:
                unit.wall, unit.synced = None, False
            unit = unit.restart(
                off_s=fault.off_s, reboot=fault.reboots, stored=stored if fault.killed else None
            )
            unit.now_s, unit.wall = _before(unit, 1.0)
            if fault.reboots:
                pauses.append((off_until_s, off_until_s + WARM_UP_S))
        if second < off_until_s:
            continue
        unit.now_s += 1
        if unit.wall is not None:
            unit.wall += timedelta(seconds=1)
        if not any(begin <= second < end for begin, end in pauses):
            unit.hear("co", co_ppm=ppm)
        unit.take()
        fingerprint = unit.tent.fingerprint()
        if fingerprint != shown or second - stored_s >= INTERVAL_S:
            stored, stored_s, shown = unit.stored(), second, fingerprint
        alerts = unit.tent.totals.alerts
        if "co_warning" in alerts and warned_min is None:
            warned_min = second / 60
        if "co_alarm" in alerts:
            return Alarm(warned_min, second / 60)
    return Alarm(warned_min, None)


def _before(unit: Unit, seconds: float) -> tuple[float, Any]:
    """Return a unit's clocks some seconds earlier."""
    wall = None if unit.wall is None else unit.wall - timedelta(seconds=seconds)
    return unit.now_s - seconds, wall


def steady(ppm: float) -> Air:
    return lambda _: ppm


def ramp(ppm_per_min: float) -> Air:
    return lambda second: ppm_per_min * second / 60


def peaks(ppm: float, on_min: float, off_min: float) -> Air:
    period_s = 60 * (on_min + off_min)
    return lambda second: ppm if second % period_s < 60 * on_min else 0.0


def limit_min(limits: Sequence[tuple[float, float]], air: Air, hours: float = 12.0) -> float:
    """Return after how many minutes the standard's times are used up in air that changes.

    Between the standard's points, and beyond them, the logarithm of the time is linear in that of the
    concentration. Below the lowest point no time is used up.
    """
    used, step_s = 0.0, 1.0
    for step in range(round(3600 * hours / step_s)):
        ppm = air(step * step_s)
        if ppm >= limits[0][0]:
            used += step_s / 60 / _minutes(limits, ppm)
        if used >= 1:
            return step * step_s / 60
    return math.inf


def _minutes(limits: Sequence[tuple[float, float]], ppm: float) -> float:
    pieces = list(pairwise(limits))
    (low, low_min), (high, high_min) = next((p for p in pieces if ppm <= p[1][0]), pieces[-1])
    share = math.log(ppm / low) / math.log(high / low)
    return math.exp(math.log(low_min) + share * math.log(high_min / low_min))


#: Steady concentrations in ppm, each with the hours to watch and the minutes between which the alarm must
#: come; at 30 ppm nothing may come before 120 min.
STEADY = {30: (2.0, 120.0, math.inf), 50: (2.0, 60.0, 90.0), 100: (1.0, 10.0, 40.0),
          300: (0.2, 0.0, 3.0)}  # fmt: skip
RAMPS_PPM_PER_MIN = (0.5, 1.0, 3.0, 10.0, 30.0)
#: Peaks in ppm, minutes on and off: their mean is 50 ppm or more, at which 90 min are the latest.
PEAKS = ((100, 15, 15), (200, 5, 10), (300, 2, 8), (150, 10, 20), (60, 50, 10))
PEAKS_UNTIL_MIN = 90.0
#: Service restarts of 40 s, every seven minutes.
RESTARTS = tuple(Break(at_s) for at_s in range(61, 10_000, 420))
KILLS = tuple(Break(at_s, killed=True) for at_s in range(61, 10_000, 420))
REBOOT = (Break(600, off_s=60.0, killed=True, reboots=True),)
CLOCKLESS = (Break(600, off_s=60.0, killed=True, reboots=True, clockless=True),)


def measure() -> dict[str, Any]:
    """Return the minutes until warning and alarm, and whether each lies within the standard's times."""
    found: dict[str, Any] = {}
    for ppm, (hours, earliest_min, latest_min) in STEADY.items():
        for error, gain in ERRORS.items():
            outcome = watch(steady(ppm), hours, gain)
            found[f"steady {ppm} ppm, sensor {error}"] = _row(outcome, earliest_min, latest_min)
    broken: dict[str, Sequence[Break]] = {"": (), ", restarts": RESTARTS, ", kills": KILLS}
    for name, breaks in broken.items():
        if name:
            for ppm in (50, 100, 300):
                hours, earliest_min, latest_min = STEADY[ppm]
                outcome = watch(steady(ppm), hours, breaks=breaks)
                found[f"steady {ppm} ppm{name}"] = _row(outcome, earliest_min, latest_min)
        for rate in RAMPS_PPM_PER_MIN:
            air = ramp(rate)
            limits = limit_min(EARLIEST_MIN, air), limit_min(LATEST_MIN, air)
            found[f"ramp {rate:g} ppm/min{name}"] = _row(watch(air, 4.0, breaks=breaks), *limits)
        for peak in PEAKS:
            air = peaks(*peak)
            outcome = watch(air, 3.0, breaks=breaks)
            label = f"peaks {peak[0]} ppm, {peak[1]} min on, {peak[2]} off{name}"
            found[label] = _row(outcome, limit_min(EARLIEST_MIN, air), PEAKS_UNTIL_MIN)
    for name, breaks in (("reboot", REBOOT), ("reboot without a clock", CLOCKLESS)):
        for ppm in (50, 100):
            hours, earliest_min, latest_min = STEADY[ppm]
            outcome = watch(steady(ppm), hours, breaks=breaks)
            found[f"steady {ppm} ppm, {name}"] = _row(outcome, earliest_min, latest_min)
    return found


def _row(outcome: Alarm, earliest_min: float, latest_min: float) -> dict[str, Any]:
    alarm_min = math.inf if outcome.alarm_min is None else outcome.alarm_min
    first_min = alarm_min if outcome.warning_min is None else outcome.warning_min
    within = earliest_min <= alarm_min <= latest_min
    if latest_min == math.inf:  # where no alarm is due, no warning may come either
        within = first_min >= earliest_min
    return {
        "warning_min": _rounded(outcome.warning_min),
        "alarm_min": _rounded(outcome.alarm_min),
        "from_min": _rounded(earliest_min),
        "until_min": _rounded(latest_min),
        "within": within,
    }


def _rounded(minutes: float | None) -> float | None:
    return None if minutes is None or minutes == math.inf else round(minutes, 1)
