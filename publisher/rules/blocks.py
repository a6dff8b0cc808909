"""The blocks of the contract's `state` (`docs/topics.md`) from what the rules know."""

from collections.abc import Iterable
from typing import Any

from publisher.config.door import DoorSettings
from publisher.rules.autonomy import Span
from publisher.rules.battery import Battery
from publisher.rules.co import CarbonMonoxide
from publisher.rules.day import Counts
from publisher.rules.generator import Engine
from publisher.rules.occupancy import Occupancy
from publisher.rules.power import Source
from publisher.rules.sensed import KNOWN
from publisher.rules.tank import Tank
from publisher.rules.totals import Totals
from sensors.reading import Quality

Block = dict[str, Any]
Numbers = dict[str, float | None]

#: A counted charge with an uncertainty of more points than this is an estimate.
CERTAIN_PCT = 10.0
#: From best to worst: a block is as good as the worst sensor that it depends on.
_WORSE = (Quality.OK, Quality.ESTIMATED, Quality.STARTING, Quality.STALE, Quality.FAULT)


def capacity(
    occupancy: Occupancy,
    today: Counts | None,
    quality: Quality,
    *,
    seats: int,
    settings: DoorSettings,
    both_ways: bool,
    is_open: bool | None,
) -> Block:
    """Return the block `capacity`; `today` holds today's counts, None while the date is not known.

    `is_open` says whether the tent takes people in, None where nobody has said so.
    """
    if not both_ways and quality is Quality.ESTIMATED:
        quality = Quality.OK  # there is no count of the people inside that could have drifted
    known = both_ways and quality in KNOWN
    return {
        "people": occupancy.people if known else None,
        "seats": seats,
        "free": max(0, seats - occupancy.people) if known else None,
        "entered_today": today.entered if both_ways and today else None,
        "left_today": today.left if both_ways and today else None,
        "passed_today": today.entered + today.left + today.passed if today else None,
        "entered_total": occupancy.entered_total if both_ways else None,
        "left_total": occupancy.left_total if both_ways else None,
        "passed_total": occupancy.entered_total + occupancy.left_total + occupancy.passed_total,
        "uncertainty": occupancy.uncertainty(settings) if known else None,
        "open": is_open,
        "quality": quality.value,
    }


def source(source: Source, totals: Totals, dark_in: Span, qualities: Iterable[Quality]) -> Block:
    """Return what the block `power` says of the source, and when it is dark.

    `qualities` are those of the sensors that an unknown source depends on.
    """
    known = source is not Source.UNKNOWN
    quality = Quality.OK if known else max(qualities, key=_WORSE.index, default=Quality.OK)
    if not known and quality is Quality.OK:
        quality = Quality.ESTIMATED  # every sensor is well, but they do not tell enough
    block: Block = {"source": source.value, "since": totals.since if known else None}
    if known and totals.since_estimated:
        block["since_estimated"] = True
    return {
        **block,
        "dark_in_min": _rounded(dark_in.likely_min),
        "dark_in_min_low": _rounded(dark_in.low_min),
        "quality": quality.value,
    }


def mains(
    present: bool | None, numbers: Numbers, hours_today: float | None, quality: Quality
) -> Block:
    """Return the block `mains`."""
    return {
        "present": present,
        **numbers,
        "hours_today": hours_today,
        "quality": _quality_of(present, quality).value,
    }


def generator(
    engine: Engine, tank: Tank, totals: Totals, numbers: Numbers, quality: Quality
) -> Block:
    """Return the block `generator`."""
    return {
        "running": engine.running,
        "state": engine.state.value,
        **numbers,
        "load_pct": None if engine.load_pct is None else round(engine.load_pct),
        "headroom_w": None if engine.headroom_w is None else round(engine.headroom_w),
        "fuel_l": _rounded(tank.litres),
        "fuel_l_low": _rounded(tank.litres_low),
        "fuel_h": _rounded(tank.hours),
        "fuel_h_low": _rounded(tank.hours_low),
        "hours_total": hours(totals.generator_s),
        "hours_since_service": round(totals.since_service_h, 2),
        "starts_total": totals.generator_starts,
        "quality": _quality_of(engine.running, quality).value,
    }


def battery(battery: Battery, reserve: Span, numbers: Numbers, quality: Quality) -> Block:
    """Return the block `battery`; `reserve` is how long it alone would carry the present load."""
    estimator, charge_pct = battery.estimator, battery.charge_pct
    block: dict[str, Any] = {
        "charge_pct": charge_pct,
        "uncertainty_pct": None,
        **numbers,
        "time_to_empty_min_low": None,
        "reserve_min": _rounded(reserve.likely_min),
        "reserve_min_low": _rounded(reserve.low_min),
        "capacity_ah": None,
        "capacity_rate_h": None,
        "synchronised": None,
        "since_full_h": None,
        "gap": None,
        "method": "counted" if battery.is_counted else "monitor",
    }
    if estimator is not None and battery.is_counted and quality is Quality.OK:
        since_full_s, gap = estimator.since_full_s, estimator.gap
        block |= {
            "uncertainty_pct": battery.uncertainty_pct,
            "time_to_empty_min": None if charge_pct is None else estimator.time_to_empty_min,
            "time_to_empty_min_low": (
                None if charge_pct is None else estimator.time_to_empty_min_low
            ),
            "capacity_ah": round(estimator.capacity_ah, 1),
            "capacity_rate_h": estimator.rated_hours,
            "synchronised": estimator.synchronised,
            "since_full_h": None if since_full_s is None else hours(since_full_s),
            "gap": None if gap is None else gap._asdict(),
        }
        if battery.uncertainty_pct is None or battery.uncertainty_pct > CERTAIN_PCT:
            quality = Quality.ESTIMATED
    if charge_pct is None and quality is Quality.OK:
        quality = Quality.ESTIMATED  # the sensor is well, and does not tell enough
    return {**block, "quality": quality.value}


def charger(numbers: Numbers, quality: Quality) -> Block:
    """Return the block `charger`."""
    return {
        "voltage_v": numbers["voltage_v"],
        "current_a": numbers["charger_current_a"],
        "panel_power_w": numbers["panel_power_w"],
        "quality": quality.value,
    }


def climate(
    inside_c: float | None,
    outside_c: float | None,
    humidity_pct: float | None,
    qualities: Iterable[Quality],
) -> Block:
    """Return the block `climate`; `qualities` are those of the thermometers that are fitted."""
    return {
        "inside_c": _rounded(inside_c),
        "outside_c": _rounded(outside_c),
        "humidity_pct": _rounded(humidity_pct),
        "quality": max(qualities, key=_WORSE.index).value,
    }


def co(rule: CarbonMonoxide, ppm: float | None, quality: Quality) -> Block:
    """Return the block `co`. Its level stays as it was while nothing is measured."""
    if ppm is None and quality is Quality.OK:
        quality = Quality.ESTIMATED  # the sensor speaks, and measures nothing
    return {
        "ppm": _rounded(ppm),
        "peak_1h_ppm": None if ppm is None else _rounded(rule.peak_1h_ppm),
        "level": rule.level,
        "quality": quality.value,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _quality_of(on: bool | None, quality: Quality) -> Quality:
    """Return the quality of a block that says whether something is on, by its sensor's quality."""
    if on is not None and quality not in KNOWN:
        return Quality.ESTIMATED  # the contact beside a meter that fails tells it
    if on is None and quality in KNOWN:
        return Quality.ESTIMATED  # what is measured does not tell it (yet)
    return quality


def hours(seconds: float) -> float:
    """Return seconds as hours to two decimals."""
    return round(seconds / 3600, 2)
