"""The tent: a pure fold over readings. It knows every rule, and no clock, thread or file.

`apply` takes readings, `tick` lets time pass, `headcount` takes a person's word; each returns what
happened. `snapshot` is what the contract's `state` says of the tent now.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from datetime import date, timedelta
from typing import Any, NamedTuple, get_type_hints
from zoneinfo import ZoneInfo

from publisher.clock import Now, timestamp
from publisher.config import Config
from publisher.occupancy import Occupancy
from publisher.power import Running, Seen, Source, source
from sensors.reading import ERRORS, FAULT, READ_DURATION_S, READS, Quality, Reading, Value

#: The charge must rise this far above the warning level before the warning goes.
BATTERY_HYSTERESIS_PCT = 5.0
#: Load at which the generator's overload is raised, and below which it is cleared, in percent.
OVERLOAD_PCT, OVERLOAD_CLEAR_PCT = 100.0, 80.0
#: No quantity comes near: a driver that hands over more, or NaN, has measured nothing.
LARGEST_VALUE = 1e9
#: Characters kept of what a driver says of its failure, so that records stay small.
LONGEST_DETAIL = 300
#: Larger saved numbers than JSON readers hold exactly are damage.
LARGEST_TOTAL = 1 << 53

#: The day on which summer time ends. A day that a wrong clock has stretched says no more than this.
LONGEST_DAY_S = 25 * 3600.0

#: From best to worst; a block is as good as the worst sensor it rests on.
_WORSE = (Quality.OK, Quality.ESTIMATED, Quality.STARTING, Quality.STALE, Quality.FAULT)


class Happening(NamedTuple):
    """One of the contract's events, with what there is to say about it."""

    event: str
    detail: dict[str, Any]


@dataclass(slots=True)
class Day:
    """One day's line of the visitor log; `date` is the tent's own, empty until it is known."""

    date: str = ""
    entered: int = 0
    left: int = 0
    peak: int = 0
    mains_s: float = 0.0
    generator_s: float = 0.0
    battery_s: float = 0.0


@dataclass(slots=True)
class Totals:
    """All that must survive a power cut."""

    occupancy: Occupancy = field(default_factory=Occupancy)
    estimated: bool = False  # people may have passed while the unit was off
    day: Day = field(default_factory=Day)
    generator_s: float = 0.0
    source: str = Source.UNKNOWN.value
    since: str | None = None
    mains_on: bool | None = None
    generator_on: bool | None = None
    alerts: list[str] = field(default_factory=list)

    @classmethod
    def restore(cls, saved: dict[str, Any]) -> "Totals":
        """Build totals from `as_dict` of older ones.

        Keys that this version lacks are left out, and so are values that cannot be: what is left of
        a damaged ledger is worth more than a unit that does not start.
        """
        totals = cls()
        _fill(totals, saved)
        return totals

    def add(self, saved: dict[str, Any]) -> None:
        """Add what an earlier run had counted and this one could not read when it began."""
        earlier = Totals.restore(saved)
        mine, theirs = self.occupancy, earlier.occupancy
        if self.estimated:  # a headcount in this run knows better than both
            mine.people = max(0, theirs.people + mine.entered_total - mine.left_total)
            mine.passages_since_headcount += theirs.passages_since_headcount
        mine.entered_total += theirs.entered_total
        mine.left_total += theirs.left_total
        self.generator_s += earlier.generator_s
        if earlier.day.date == self.day.date:
            for name in ("entered", "left", "mains_s", "generator_s", "battery_s"):
                setattr(self.day, name, getattr(self.day, name) + getattr(earlier.day, name))
            self.day.peak = max(self.day.peak, earlier.day.peak)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        # By hand: `asdict` copies deeply, which a record a second feels.
        saved = {name: getattr(self, name) for name in self.__slots__}
        for name in ("occupancy", "day"):
            part = saved[name]
            saved[name] = {inner: getattr(part, inner) for inner in part.__slots__}
        saved["alerts"] = list(self.alerts)
        return saved


@dataclass(slots=True)
class _Sensor:
    """What is known of one sensor."""

    driver: str
    fitted_s: float
    heard_s: float | None = None
    fault: str = ""
    failed: bool = False
    values: dict[str, Reading] = field(default_factory=dict)
    health: dict[str, float] = field(default_factory=dict)

    def quality(self, now_s: float, stale_after_s: float) -> Quality:
        if self.fault:
            return Quality.FAULT
        if self.heard_s is None:
            late = now_s - self.fitted_s > stale_after_s
            return Quality.STALE if late else Quality.STARTING
        return Quality.STALE if now_s - self.heard_s > stale_after_s else Quality.OK


class Tent:
    """The state of one tent."""

    def __init__(self, config: Config, now: Now, saved: dict[str, Any] | None = None) -> None:
        """Begin with the totals `saved` by an earlier run; None where there never was one.

        Empty totals are lost ones: there may be people inside.
        """
        self._config = config
        self._zone = ZoneInfo(config.tent.timezone)
        self._stale_after_s = config.report.stale_after_s
        self._sensors = {s.name: _Sensor(s.driver, now.monotonic_s) for s in config.sensors}
        self.totals = Totals.restore(saved or {})
        if saved is not None:
            self.totals.estimated = True
        power = config.power
        self._running = Running(power.generator_running_a, power.generator_hold_s)
        self._source = Source.UNKNOWN
        self._since_s: float | None = None  # when the source changed, until the clock is set
        self._settled_s = now.monotonic_s
        self._outside: set[str] = set()
        self._qualities = self._judge(now)

    # What comes in

    def apply(self, readings: Iterable[Reading], now: Now) -> list[Happening]:
        """Take readings; return what happened."""
        happened = self._pass_time(now)
        for reading in readings:
            self._apply(reading)
        return happened + self._settle(now)

    def tick(self, now: Now) -> list[Happening]:
        """Let time pass; return what happened."""
        return self.apply((), now)

    def headcount(self, people: int, now: Now) -> list[Happening]:
        """Take a person's count of the people inside; the raw totals stay."""
        happened = self._pass_time(now)
        occupancy = self.totals.occupancy
        before = occupancy.people
        occupancy.headcount(people)
        self.totals.estimated = False
        detail = {"people": people, "counted": before, "correction": people - before}
        return [*happened, Happening("headcount_set", detail), *self._settle(now)]

    def alert(self, name: str, on: bool, now: Now) -> list[Happening]:
        """Raise or clear an alert that something outside the tent's rules has noticed."""
        if on == (name in self._outside):
            return []
        (self._outside.add if on else self._outside.discard)(name)
        return self.tick(now)

    def _apply(self, reading: Reading) -> None:
        sensor = self._sensors[reading.sensor]
        if reading.value is not None and not abs(reading.value) <= LARGEST_VALUE:
            detail = f"{reading.quantity} is {reading.value}, which cannot be: please report this"
            reading = replace(reading, value=None, quality=Quality.FAULT, detail=detail)
        if reading.quantity in (READS, ERRORS, READ_DURATION_S):
            sensor.health[reading.quantity] = float(reading.value or 0)
            return
        if reading.quantity == FAULT:
            sensor.fault = _why(reading)
            sensor.values.clear()
            return
        sensor.heard_s = reading.at_s
        sensor.values[reading.quantity] = reading
        sensor.fault = next(
            (_why(r) for r in sensor.values.values() if r.quality is Quality.FAULT), ""
        )
        if reading.sensor == "door":
            self._count(reading)
        elif reading.sensor == "generator" and reading.quantity == "current_a":
            current_a = reading.value
            self._running.apply(None if current_a is None else float(current_a), reading.at_s)

    def _count(self, reading: Reading) -> None:
        number = max(0, int(reading.value or 0))
        entered = number if reading.quantity == "entered" else 0
        left = number if reading.quantity == "left" else 0
        day, occupancy = self.totals.day, self.totals.occupancy
        occupancy.apply(entered, left)
        day.entered += entered
        day.left += left

    # The rules

    def _judge(self, now: Now) -> dict[str, Quality]:
        return {
            name: sensor.quality(now.monotonic_s, self._stale_after_s)
            for name, sensor in self._sensors.items()
        }

    def _settle(self, now: Now) -> list[Happening]:
        totals = self.totals
        happened = self._settle_sensors(now)
        if self._number("generator", "current_a") is None:
            self._running.apply(None, now.monotonic_s)

        mains, generator, battery = self._mains(), self._generator(), self._battery()
        self._source = source(mains, generator, battery)
        if self._source is not Source.UNKNOWN and self._source.value != totals.source:
            totals.source, totals.since = self._source.value, None
            self._since_s = now.monotonic_s
        if self._since_s is not None and now.wall is not None:
            ago = timedelta(seconds=now.monotonic_s - self._since_s)
            totals.since = timestamp(now.wall - ago)
            if now.synced:  # until then it is an estimate and follows the clock
                self._since_s = None
        if mains.on is not None and mains.on != totals.mains_on:
            if totals.mains_on is not None:  # the first state ever seen is no change
                name = "mains_restored" if mains.on else "mains_lost"
                happened.append(Happening(name, {"source": self._source.value}))
            totals.mains_on = mains.on
        if generator.on is not None and generator.on != totals.generator_on:
            if totals.generator_on is not None:
                name = "generator_started" if generator.on else "generator_stopped"
                happened.append(Happening(name, {"source": self._source.value}))
            totals.generator_on = generator.on
        totals.day.peak = max(totals.day.peak, totals.occupancy.people)
        return happened + self._settle_alerts()

    def _pass_time(self, now: Now) -> list[Happening]:
        """Book the time since the last call on what ran then, and begin a new day if it is one."""
        # A state is believed for as long as a value is, whatever has kept the caller.
        spent_s = min(max(0.0, now.monotonic_s - self._settled_s), self._stale_after_s)
        day = self.totals.day
        if self._mains().on:
            day.mains_s += spent_s
        if self._running.on:
            self.totals.generator_s += spent_s
            day.generator_s += spent_s
        if self._source is Source.BATTERY:
            day.battery_s += spent_s
        self._settled_s = now.monotonic_s
        return self._roll_day(now)

    def _roll_day(self, now: Now) -> list[Happening]:
        if now.wall is None:
            return []
        today = now.wall.astimezone(self._zone).date()
        closed = self.totals.day
        began = _date(closed.date)
        if began is None:  # the first day: what was counted before the clock was set is its own
            closed.date = today.isoformat()
            return []
        if today <= began:
            # A small step back does not open a day again; a day that is further ahead was opened
            # by a clock that was wrong, and would otherwise never end.
            if now.synced and began - today > timedelta(days=1):
                closed.date = today.isoformat()
            return []
        self.totals.day = Day(date=today.isoformat(), peak=self.totals.occupancy.people)
        return [
            Happening(
                "day_closed",
                {
                    "date": closed.date,
                    "entered": closed.entered,
                    "left": closed.left,
                    "peak": closed.peak,
                    "mains_h": _hours(min(closed.mains_s, LONGEST_DAY_S)),
                    "generator_h": _hours(min(closed.generator_s, LONGEST_DAY_S)),
                    "battery_h": _hours(min(closed.battery_s, LONGEST_DAY_S)),
                },
            )
        ]

    def _settle_sensors(self, now: Now) -> list[Happening]:
        happened = []
        self._qualities = self._judge(now)
        for name, quality in self._qualities.items():
            sensor = self._sensors[name]
            failed = quality in (Quality.FAULT, Quality.STALE)
            if failed and not sensor.failed:
                why = sensor.fault or f"nothing heard for {self._stale_after_s:g} s"
                detail = {"sensor": name, "quality": quality.value, "error": why}
                happened.append(Happening("sensor_failed", detail))
            elif sensor.failed and quality is Quality.OK:
                happened.append(Happening("sensor_recovered", {"sensor": name}))
            if failed or quality is Quality.OK:
                sensor.failed = failed
        return happened

    def _settle_alerts(self) -> list[Happening]:
        raised = set(self.totals.alerts)
        charge_pct, load_pct = self._number("battery", "charge_pct"), self._load_pct()
        rated = self._config.power.generator_rated_w is not None
        was_low = "battery_low" in raised
        low_pct = self._config.power.battery_low_pct + (BATTERY_HYSTERESIS_PCT if was_low else 0.0)
        over_pct = OVERLOAD_CLEAR_PCT if "generator_overload" in raised else OVERLOAD_PCT
        obstructed = self._value("door", "obstructed")
        rules = (  # alert, whether this tent can have it, whether it is so (None: unknown)
            (
                "battery_low",
                "battery" in self._sensors,
                None if charge_pct is None else charge_pct < low_pct,
            ),
            (
                "generator_overload",
                rated and "generator" in self._sensors,
                None if load_pct is None else load_pct > over_pct,
            ),
            ("door_obstructed", "door" in self._sensors, obstructed),
        )
        alerts = set(self._outside)
        for alert, can_be, on in rules:
            if can_be and (alert in raised if on is None else on):  # unknown is not well
                alerts.add(alert)
        low, was_obstructed = "battery_low" in alerts, "door_obstructed" in raised

        happened = []
        if low != was_low:
            detail = {"charge_pct": charge_pct}
            happened.append(Happening("battery_low" if low else "battery_ok", detail))
        if ("door_obstructed" in alerts) != was_obstructed:
            name = "door_cleared" if was_obstructed else "door_obstructed"
            happened.append(Happening(name, {}))
        happened += [Happening("alert_raised", {"alert": a}) for a in sorted(alerts - raised)]
        happened += [Happening("alert_cleared", {"alert": a}) for a in sorted(raised - alerts)]
        self.totals.alerts = sorted(alerts)
        return happened

    def _value(self, sensor: str, quantity: str) -> Value:
        """Return a value that may be shown: None where it is old, failed or was never there."""
        if self._qualities.get(sensor) is not Quality.OK:
            return None
        reading = self._sensors[sensor].values.get(quantity)
        if reading is None or self._settled_s - reading.at_s > self._stale_after_s:
            return None
        return reading.value

    def _number(self, sensor: str, quantity: str) -> float | None:
        value = self._value(sensor, quantity)
        return None if value is None else float(value)

    def _mains(self) -> Seen:
        present = self._value("mains", "present") if "mains" in self._sensors else None
        return Seen("mains" in self._sensors, None if present is None else bool(present))

    def _generator(self) -> Seen:
        return Seen("generator" in self._sensors, self._running.on)

    def _battery(self) -> Seen:
        if "battery" not in self._sensors:
            return Seen(False, None)
        charge_pct = self._number("battery", "charge_pct")
        return Seen(True, None if charge_pct is None else charge_pct > 0)

    def _load_pct(self) -> float | None:
        rated_w = self._config.power.generator_rated_w
        power_w = self._number("generator", "power_w")
        # A shunt that was wired the wrong way round does not hide an overload.
        return None if rated_w is None or power_w is None else round(100 * abs(power_w) / rated_w)

    def _obstructed(self) -> bool:
        return "door" in self._sensors and self._value("door", "obstructed") is True

    # What goes out

    def snapshot(self) -> dict[str, Any]:
        """Return the blocks `capacity`, `power` and `alerts` of the contract's `state`.

        They are of the instant of the last `apply` or `tick`.
        """
        blocks: dict[str, Any] = {}
        if "door" in self._sensors:
            blocks["capacity"] = self._capacity()
        blocks["power"] = self._power()
        blocks["alerts"] = list(self.totals.alerts)
        return blocks

    def fingerprint(self) -> tuple[object, ...]:
        """Return what makes a snapshot due at once when it changes (contract, `state`)."""
        return (
            self._source,
            self._running.on,
            tuple(self.totals.alerts),
            tuple(self._qualities.values()),
            self.totals.estimated,
            self.totals.occupancy.people,
            self.totals.occupancy.entered_total,
            self.totals.occupancy.left_total,
        )

    def sensors(self, now: Now) -> list[dict[str, Any]]:
        """Return how each sensor does, for people."""
        return [
            {
                "name": name,
                "driver": sensor.driver,
                "quality": self._qualities[name].value,
                "age_s": None
                if sensor.heard_s is None
                else round(max(0.0, now.monotonic_s - sensor.heard_s), 1),
                "error": sensor.fault or None,
                "reads": int(sensor.health.get(READS, 0)),
                "errors": int(sensor.health.get(ERRORS, 0)),
                "read_duration_s": sensor.health.get(READ_DURATION_S),
                "values": {q: r.value for q, r in sensor.values.items()},
            }
            for name, sensor in self._sensors.items()
        ]

    def _capacity(self) -> dict[str, Any]:
        occupancy, day = self.totals.occupancy, self.totals.day
        quality = self._qualities["door"]
        if quality is Quality.OK and self._obstructed():
            quality = Quality.STALE  # people pass unseen behind whatever blocks the beam
        if quality is Quality.OK and self.totals.estimated:
            quality = Quality.ESTIMATED
        known = quality in (Quality.OK, Quality.ESTIMATED)
        seats = self._config.tent.seats
        return {
            "people": occupancy.people if known else None,
            "seats": seats,
            "free": max(0, seats - occupancy.people) if known else None,
            "entered_today": day.entered if day.date else None,
            "left_today": day.left if day.date else None,
            "entered_total": occupancy.entered_total,
            "left_total": occupancy.left_total,
            "uncertainty": occupancy.uncertainty if known else None,
            "quality": quality.value,
        }

    def _power(self) -> dict[str, Any]:
        known = self._source is not Source.UNKNOWN
        power_sensors = [n for n in ("mains", "generator", "battery") if n in self._sensors]
        quality = Quality.OK if known else _worst([self._qualities[n] for n in power_sensors])
        if not known and quality is Quality.OK:
            quality = Quality.ESTIMATED  # every sensor is well, but they do not tell enough
        blocks: dict[str, Any] = {
            "source": self._source.value,
            "since": self.totals.since if known else None,
            "quality": quality.value,
        }
        day = self.totals.day
        if "mains" in self._sensors:
            blocks["mains"] = {
                "present": self._mains().on,
                "hours_today": _hours(min(day.mains_s, LONGEST_DAY_S)) if day.date else None,
                "quality": self._qualities["mains"].value,
            }
        if "generator" in self._sensors:
            blocks["generator"] = {
                "running": self._running.on,
                "current_a": self._number("generator", "current_a"),
                "voltage_v": self._number("generator", "voltage_v"),
                "power_w": self._number("generator", "power_w"),
                "frequency_hz": self._number("generator", "frequency_hz"),
                "load_pct": self._load_pct(),
                "hours_total": _hours(self.totals.generator_s),
                "quality": self._qualities["generator"].value,
            }
        if "battery" in self._sensors:
            blocks["battery"] = {
                "charge_pct": self._number("battery", "charge_pct"),
                "uncertainty_pct": None,
                "voltage_v": self._number("battery", "voltage_v"),
                "current_a": self._number("battery", "current_a"),
                "power_w": self._number("battery", "power_w"),
                "time_to_empty_min": self._number("battery", "time_to_empty_min"),
                "method": "monitor",
                "quality": self._qualities["battery"].value,
            }
        return blocks


def _worst(qualities: Sequence[Quality]) -> Quality:
    return max(qualities, key=_WORSE.index, default=Quality.OK)


def _hours(seconds: float) -> float:
    return round(seconds / 3600, 2)


def _why(reading: Reading) -> str:
    """Return what a driver says of its failure: never empty, not long, and fit for UTF-8."""
    return (reading.detail or "failed")[:LONGEST_DETAIL].encode(errors="replace").decode()


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _fill(part: Any, saved: object) -> None:
    """Set the fields of a dataclass to what `saved` holds of them, where it can be."""
    if not isinstance(saved, dict):
        return
    for name, kind in get_type_hints(type(part)).items():
        if is_dataclass(kind):
            _fill(getattr(part, name), saved.get(name))
        elif name in saved and _can_be(saved[name], kind):
            setattr(part, name, saved[name])


def _can_be(value: object, kind: Any) -> bool:
    if kind == list[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind is int or kind is float:
        return type(value) in (int, kind) and 0 <= value <= LARGEST_TOTAL  # type: ignore[operator]
    return isinstance(value, kind)
