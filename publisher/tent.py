"""The tent: a pure fold over readings. It knows every rule, and no clock, thread or file.

`apply` takes readings, `tick` lets time pass, `headcount` takes a person's word; each returns what
happened. `snapshot` is what the contract's `state` says of the tent now.
"""

import math
import zlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from publisher.charge import Estimator
from publisher.clock import Now, timestamp
from publisher.config import Config
from publisher.generator import SERVICE_DUE, Engine, Metered
from publisher.power import MainsVoltage, Seen, Source, source
from publisher.totals import Day, Totals
from sensors.reading import ERRORS, FAULT, READ_DURATION_S, READS, Quality, Reading, Value

#: The charge must rise this far above the warning level before the warning goes.
BATTERY_HYSTERESIS_PCT = 5.0
#: No quantity comes near: a driver that hands over more, or NaN, has measured nothing.
LARGEST_VALUE = 1e9
#: Characters kept of what a driver says of its failure, so that records stay small.
LONGEST_DETAIL = 300
#: The day on which summer time ends. A day that a wrong clock has stretched says no more than this.
LONGEST_DAY_S = 25 * 3600.0

#: A count of the battery's charge that may be off by more than this many points is an estimate.
CERTAIN_PCT = 10.0
#: … and one that may be off by more than this many is not told at all.
USELESS_PCT = 40.0
#: How long after closing time a tent that becomes quiet still counts as empty.
CLOSING_S = 3 * 3600.0
#: Readings that a zero is found from. An INA219's offset is 125 µV at worst: what drops more on the
#: shunt, or comes and goes by more, is a current.
ZERO_READINGS, LARGEST_ZERO_V = 5, 0.0005
AC_METERS = {"pzem004t"}
#: A meter that lives on a line which comes alive answers after so long at the latest.
METER_WAKES_S = 10.0
#: A meter that still measures so long after the contact beside it went dead is right, and the contact
#: is not.
CONTRADICTED_S = 3.0
#: Drivers that see people pass and not which way.
ONE_BEAM = {"beam"}

#: The qualities of what is known.
KNOWN = (Quality.OK, Quality.ESTIMATED)
ENGINE_QUANTITIES = ("current_a", "voltage_v", "power_w", "frequency_hz")

#: From best to worst; a block is as good as the worst sensor it rests on.
_WORSE = (Quality.OK, Quality.ESTIMATED, Quality.STARTING, Quality.STALE, Quality.FAULT)


class Happening(NamedTuple):
    """One of the contract's events, with what there is to say about it."""

    event: str
    detail: dict[str, Any]


@dataclass(slots=True)
class _Sensor:
    """What is known of one sensor."""

    driver: str
    fitted_s: float
    heard_s: float | None = None
    readings: int = 0
    fault: str = ""
    silent: bool = False  # its port works, and the device itself says nothing
    line_dead_s: float = -math.inf  # when the line that it lives on was last dead, and since when
    line_died_s: float = -math.inf
    failed: bool = False
    values: dict[str, Reading] = field(default_factory=dict)
    health: dict[str, float] = field(default_factory=dict)
    timed: int = 0  # reads whose duration says something: how many, and how long they took
    reading_s: float = 0.0
    longest_s: float = 0.0
    uncorrected: deque[Reading] = field(default_factory=lambda: deque(maxlen=ZERO_READINGS))

    def quality(self, now_s: float, stale_after_s: float) -> Quality:
        if self.fault and not (self.silent and now_s - self.line_dead_s <= METER_WAKES_S):
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
        self._lined = [name for name in self._sensors if f"{name}_line" in self._sensors]
        self.totals = Totals.restore(saved or {})
        if _time(self.totals.since) is None:
            self.totals.since = None
        if saved is not None:
            self.totals.estimated = True
        driver = self._sensors["generator"].driver if "generator" in self._sensors else ""
        self._engine = Engine(
            config.generator,
            self.totals.alerts,
            ac=driver in AC_METERS,
            was_running=self.totals.generator_on,
        )
        self._mains_voltage = MainsVoltage()
        self._charge: Estimator | None = None
        if config.battery.capacity_ah is not None:
            self._charge = Estimator(config.battery, self.totals.charge)
            if saved is not None:
                self._charge.resume(None)
        self._engine_news: tuple[object, ...] = ()
        self._began_s = now.monotonic_s
        self._saved = _time(self.totals.saved)  # until the time that the unit was off is known
        self._passed_s = now.monotonic_s
        self._blind_s: float | None = None
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
        return [*happened, self._set_people(people, "person"), *self._settle(now)]

    def serviced(self, now: Now) -> list[Happening]:
        """Take note that the generator has been serviced now. Raises ValueError without one."""
        if "generator" not in self._sensors:
            raise ValueError("this unit has no generator sensor")
        happened = self._pass_time(now)
        self.totals.serviced_s = self.totals.generator_s
        return [*happened, *self._settle(now)]

    def zero(self, name: str) -> float:
        """Find the zero of a current sensor, in amperes, while no current flows, and keep it.

        Raises ValueError with what to do where that cannot be.
        """
        sensor, settings = self._sensors.get(name), self._shunts().get(name)
        if sensor is None or settings is None:
            raise ValueError(f"{name!r} is no sensor of this unit whose zero can be set")
        found = [float(r.value) for r in sensor.uncorrected if r.value is not None]
        if self._qualities[name] is not Quality.OK:
            found.clear()
        if len(found) < ZERO_READINGS:
            raise ValueError(
                f"{name} has not been read well for long enough: try again in a minute"
            )
        zero_a = round(sum(found) / len(found), 3)
        largest_a = LARGEST_ZERO_V / settings.shunt_ohms
        if max(found) - min(found) > largest_a or abs(zero_a) > largest_a:
            raise ValueError(
                f"{name} reads {zero_a:g} A: a current flows; disconnect it from the shunt first"
            )
        self.totals.zeros[name] = [zero_a, _checksum(settings)]
        return zero_a

    def zeros(self) -> dict[str, float]:
        """Return the zeros that were found, a sensor; none of one that was configured anew since."""
        shunts = self._shunts()
        return {
            name: zero_a
            for name, (zero_a, checksum) in self.totals.zeros.items()
            if name in shunts and checksum == _checksum(shunts[name])
        }

    def _shunts(self) -> dict[str, Any]:
        return {s.name: s.config for s in self._config.sensors if hasattr(s.config, "zero_a")}

    def alerts(self, noticed: Mapping[str, bool], now: Now) -> list[Happening]:
        """Raise (True) or clear alerts that something outside the tent's rules has noticed."""
        raised = {name for name, on in noticed.items() if on}
        outside = self._outside - noticed.keys() | raised
        if outside == self._outside:
            return []
        self._outside = outside
        return self.tick(now)

    def _apply(self, reading: Reading) -> None:
        sensor = self._sensors[reading.sensor]
        if reading.value is not None and not abs(reading.value) <= LARGEST_VALUE:
            detail = f"{reading.quantity} is {reading.value}, which cannot be: please report this"
            reading = replace(reading, value=None, quality=Quality.FAULT, detail=detail)
        if reading.quantity in (READS, ERRORS, READ_DURATION_S):
            value = sensor.health[reading.quantity] = float(reading.value or 0)
            if reading.quantity == READ_DURATION_S:
                sensor.timed += 1
                sensor.reading_s += value
                sensor.longest_s = max(sensor.longest_s, value)
            return
        if reading.quantity == FAULT:
            sensor.fault, sensor.silent = _why(reading), False
            sensor.values.clear()
            sensor.uncorrected.clear()
            return
        sensor.heard_s = reading.at_s
        sensor.readings += 1
        sensor.values[reading.quantity] = reading
        failed = [r for r in sensor.values.values() if r.quality is Quality.FAULT]
        sensor.fault = _why(failed[0]) if failed else ""
        sensor.silent = len(failed) == len(sensor.values)
        if reading.quantity == "uncorrected_a":
            sensor.uncorrected.append(reading)
        elif reading.sensor == "door":
            self._count(reading)

    def _count(self, reading: Reading) -> None:
        if reading.quantity == "blind_s":
            self._blind_s = None if reading.value is None else float(reading.value)
            self.totals.estimated = True  # who passed meanwhile was not seen
        if reading.quantity not in ("entered", "left", "passed"):
            return
        number = max(0, int(reading.value or 0))
        day, occupancy = self.totals.day, self.totals.occupancy
        counted = {"entered": 0, "left": 0, "passed": 0, reading.quantity: number}
        occupancy.apply(**counted)
        for name, people in counted.items():
            setattr(day, name, getattr(day, name) + people)
        if number:
            self._passed_s = reading.at_s

    # The rules

    def _judge(self, now: Now) -> dict[str, Quality]:
        for name in self._lined:
            sensor, line = self._sensors[name], self._line(name)
            if line is False:
                sensor.line_dead_s = now.monotonic_s
            else:
                sensor.line_died_s = now.monotonic_s
        return {
            name: sensor.quality(now.monotonic_s, self._stale_after_s)
            for name, sensor in self._sensors.items()
        }

    def _settle(self, now: Now) -> list[Happening]:
        totals = self.totals
        happened = self._settle_sensors(now)
        self._settle_engine(now)
        self._settle_charge(now)
        if now.synced:
            totals.saved = timestamp(now.wall)

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
                totals.generator_starts += generator.on
                happened.append(Happening(name, {"source": self._source.value}))
            totals.generator_on = generator.on
        totals.day.peak = max(totals.day.peak, totals.occupancy.people)
        return happened + self._settle_alerts()

    def _settle_engine(self, now: Now) -> None:
        if "generator" not in self._sensors:
            return
        meter, contact = self._sensors["generator"], self._sensors.get("generator_line")
        news = (
            meter.readings,
            self._qualities["generator"],
            None if contact is None else (contact.readings, self._qualities["generator_line"]),
            now.monotonic_s // 1,  # time passes for it once a second
        )
        if news == self._engine_news:
            return
        self._engine_news = news
        seen = Metered(
            meter.heard_s,
            **self._numbers("generator", *ENGINE_QUANTITIES),
            line=self._line("generator"),
        )
        self._engine.apply(seen, now.monotonic_s)

    def _settle_charge(self, now: Now) -> None:
        """Count the battery's charge, where it does not tell it itself."""
        estimator = self._charge
        if estimator is None or "battery" not in self._sensors:
            return
        if self._saved is not None and now.synced and now.wall is not None:
            off_s = (now.wall - self._saved).total_seconds() - (now.monotonic_s - self._began_s)
            estimator.resume(max(0.0, off_s))
            self._saved = None
        if self._number("battery", "charge_pct") is not None:
            return
        reading = self._sensors["battery"].values.get("current_a")
        current_a = self._number("battery", "current_a")
        at_s = now.monotonic_s if current_a is None or reading is None else reading.at_s
        voltage_v, cell_max_v = (self._number("battery", q) for q in ("voltage_v", "cell_max_v"))
        estimator.apply(current_a, voltage_v, at_s, cell_max_v)

    def _pass_time(self, now: Now) -> list[Happening]:
        """Book the time since the last call on what ran then, and begin a new day if it is one."""
        # A state is believed for as long as a value is, whatever has kept the caller.
        spent_s = min(max(0.0, now.monotonic_s - self._settled_s), self._stale_after_s)
        day = self.totals.day
        if self._mains().on:
            day.mains_s += spent_s
        if self._engine.running:
            self.totals.generator_s += spent_s
            day.generator_s += spent_s
        if self._source is Source.BATTERY:
            day.battery_s += spent_s
        self._settled_s = now.monotonic_s
        if now.wall is None:
            return []
        local = now.wall.astimezone(self._zone)
        happened = self._roll_day(local.date(), now)
        return happened + (self._close_tent(local, now) if now.synced else [])

    def _roll_day(self, today: date, now: Now) -> list[Happening]:
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
                    "entered": closed.entered if self._counts_both_ways() else None,
                    "left": closed.left if self._counts_both_ways() else None,
                    "passed": closed.entered + closed.left + closed.passed,
                    "peak": closed.peak if self._counts_both_ways() else None,
                    "mains_h": _hours(min(closed.mains_s, LONGEST_DAY_S)),
                    "generator_h": _hours(min(closed.generator_s, LONGEST_DAY_S)),
                    "battery_h": _hours(min(closed.battery_s, LONGEST_DAY_S)),
                },
            )
        ]

    def _close_tent(self, local: datetime, now: Now) -> list[Happening]:
        """Count the tent as empty where that is configured, it is time, and nobody has come by."""
        door, occupancy = self._config.door, self.totals.occupancy
        if door.auto_zero_at is None or not self._counts_both_ways():
            return []
        if self._door_quality() not in KNOWN:
            self._passed_s = now.monotonic_s  # who passes now is not seen: this is no quiet
            return []
        hour, minute = map(int, door.auto_zero_at.split(":"))
        since_s = ((local.hour - hour) * 60 + local.minute - minute) * 60 % 86_400
        if (
            since_s > CLOSING_S
            or now.monotonic_s - self._passed_s < door.auto_zero_quiet_h * 3600
            or occupancy.people > door.auto_zero_most
            or not (occupancy.people or occupancy.uncertainty(door) or self.totals.estimated)
        ):
            return []
        return [self._set_people(0, "closing time")]

    def _set_people(self, people: int, by: str) -> Happening:
        occupancy = self.totals.occupancy
        before = occupancy.people
        occupancy.headcount(people)
        self.totals.estimated = False
        detail = {"people": people, "counted": before, "correction": people - before, "by": by}
        return Happening("headcount_set", detail)

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
                if name == "door":  # who passed meanwhile was not seen
                    self.totals.estimated = True
            if failed or quality is Quality.OK:
                sensor.failed = failed
        return happened

    def _settle_alerts(self) -> list[Happening]:
        raised = set(self.totals.alerts)
        charge_pct = self._charge_pct()
        was_low = "battery_low" in raised
        low_pct, low = self._config.battery.low_pct, None
        if charge_pct is not None and was_low:  # what may still be low is not well
            off_pct = max(BATTERY_HYSTERESIS_PCT, self._charge_uncertainty_pct() or 0.0)
            low = charge_pct < low_pct + off_pct
        elif charge_pct is not None:
            low = charge_pct < low_pct
        rules = (  # alert, its sensor, whether it is so (None: unknown)
            ("battery_low", "battery", low),
            ("battery_alarm", "battery", self._battery_alarm()),
            ("door_obstructed", "door", self._value("door", "obstructed")),
        )
        alerts = set(self._outside)
        for alert, sensor, on in rules:
            if sensor in self._sensors and (alert in raised if on is None else on):
                alerts.add(alert)  # unknown is not well
        if "generator" in self._sensors:
            alerts |= self._engine.alerts
            if self._config.generator.service_due(self._since_service_h()):
                alerts.add(SERVICE_DUE)
        is_low, was_obstructed = "battery_low" in alerts, "door_obstructed" in raised

        happened = []
        if is_low != was_low:
            detail = {"charge_pct": charge_pct}
            happened.append(Happening("battery_low" if is_low else "battery_ok", detail))
        if ("door_obstructed" in alerts) != was_obstructed:
            if was_obstructed:
                happened.append(Happening("door_cleared", {"blind_s": self._blind_s}))
                self._blind_s = None
            else:
                happened.append(Happening("door_obstructed", {}))
        happened += [Happening("alert_raised", {"alert": a}) for a in sorted(alerts - raised)]
        happened += [Happening("alert_cleared", {"alert": a}) for a in sorted(raised - alerts)]
        self.totals.alerts = sorted(alerts)
        return happened

    def _value(self, sensor: str, quantity: str) -> Value:
        """Return a value that may be shown: None where it is old, failed or was never there."""
        if self._qualities.get(sensor) is not Quality.OK:
            return None
        reading = self._sensors[sensor].values.get(quantity)
        if reading is None:
            return None
        # What was measured before the line died is no longer so.
        is_dead = self._sensors[sensor].line_dead_s == self._settled_s
        limit_s = min(CONTRADICTED_S, self._stale_after_s) if is_dead else self._stale_after_s
        return None if self._settled_s - reading.at_s > limit_s else reading.value

    def _number(self, sensor: str, quantity: str) -> float | None:
        value = self._value(sensor, quantity)
        return None if value is None else round(float(value), 3)

    def _line(self, name: str) -> bool | None:
        """Return what the contact beside a meter says: whether its line is alive, None if unknown."""
        sensor = self._sensors.get(f"{name}_line")
        reading = None if sensor is None else sensor.values.get("present")
        if reading is None or self._settled_s - reading.at_s > self._stale_after_s:
            return None
        return None if reading.value is None else bool(reading.value)

    def _mains(self) -> Seen:
        if "mains" not in self._sensors:
            return Seen(False, None)
        present = self._value("mains", "present")
        if present is not None:
            return Seen(True, bool(present))
        sensor, line = self._sensors["mains"], self._line("mains")
        measured = self._mains_voltage.apply(self._number("mains", "voltage_v"))
        if line is False and measured is not None:
            # The contact is the quicker one, but a meter that goes on measuring has mains: then it is
            # the contact's cable that is cut.
            read_s = sensor.values["voltage_v"].at_s
            return Seen(True, measured and read_s - sensor.line_died_s >= CONTRADICTED_S)
        return Seen(True, line if measured is None else measured)

    def _generator(self) -> Seen:
        return Seen("generator" in self._sensors, self._engine.running)

    def _battery(self) -> Seen:
        if "battery" not in self._sensors:
            return Seen(False, None)
        charge_pct, current_a = self._charge_pct(), self._number("battery", "current_a")
        if current_a is not None and current_a < 0:  # whatever its charge is said to be
            return Seen(True, True)
        return Seen(True, None if charge_pct is None else charge_pct > 0)

    def _battery_alarm(self) -> Value:
        values = self._sensors["battery"].values if "battery" in self._sensors else {}
        if values and "alarm" not in values:
            return False  # another device, which has no alarm
        return self._value("battery", "alarm")

    def _is_counted(self) -> bool:
        """Say whether the battery's charge is counted here: it does not tell it itself."""
        return self._charge is not None and self._value("battery", "charge_pct") is None

    def _charge_pct(self) -> float | None:
        if self._charge is None or not self._is_counted():
            return self._number("battery", "charge_pct")
        # Half the battery, give or take nearly half, is no knowledge.
        uncertainty_pct = self._charge_uncertainty_pct()
        known = uncertainty_pct is not None and uncertainty_pct <= USELESS_PCT
        return self._charge.charge_pct if known else None

    def _charge_uncertainty_pct(self) -> float | None:
        if self._charge is None or not self._is_counted():
            return None
        return self._charge.uncertainty_pct if self._qualities["battery"] is Quality.OK else None

    def _load_pct(self) -> int | None:
        load_pct = self._engine.load_pct
        return None if load_pct is None else round(load_pct)

    def _since_service_h(self) -> float:
        return max(0.0, self.totals.generator_s - (self.totals.serviced_s or 0.0)) / 3600

    def _counts_both_ways(self) -> bool:
        return "door" in self._sensors and self._sensors["door"].driver not in ONE_BEAM

    def _obstructed(self) -> bool:
        return "door" in self._sensors and self._value("door", "obstructed") is True

    def _door_quality(self) -> Quality:
        quality = self._qualities["door"]
        if quality is Quality.OK and self._obstructed():
            return Quality.STALE  # people pass unseen behind whatever blocks the beam
        if quality is Quality.OK and self.totals.estimated:
            return Quality.ESTIMATED
        return quality

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
            self._engine.running,
            tuple(self.totals.alerts),
            tuple(self._qualities.values()),
            self.totals.estimated,
            self.totals.occupancy.people,
            self.totals.occupancy.entered_total,
            self.totals.occupancy.left_total,
            self.totals.occupancy.passed_total,
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
                "read_duration_mean_s": (
                    round(sensor.reading_s / sensor.timed, 5) if sensor.timed else None
                ),
                "read_duration_max_s": round(sensor.longest_s, 5) if sensor.timed else None,
                "values": {q: r.value for q, r in sensor.values.items()},
            }
            for name, sensor in self._sensors.items()
        ]

    def _capacity(self) -> dict[str, Any]:
        occupancy, day = self.totals.occupancy, self.totals.day
        both_ways = self._counts_both_ways()
        quality = self._door_quality()
        if not both_ways and quality is Quality.ESTIMATED:
            quality = Quality.OK  # there is no count of the people inside that could have drifted
        known = both_ways and quality in KNOWN
        today = bool(day.date)
        seats = self._config.tent.seats
        return {
            "people": occupancy.people if known else None,
            "seats": seats,
            "free": max(0, seats - occupancy.people) if known else None,
            "entered_today": day.entered if both_ways and today else None,
            "left_today": day.left if both_ways and today else None,
            "passed_today": day.entered + day.left + day.passed if today else None,
            "entered_total": occupancy.entered_total if both_ways else None,
            "left_total": occupancy.left_total if both_ways else None,
            "passed_total": occupancy.entered_total + occupancy.left_total + occupancy.passed_total,
            "uncertainty": occupancy.uncertainty(self._config.door) if known else None,
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
        for name, block in (
            ("mains", self._mains_block),
            ("generator", self._generator_block),
            ("battery", self._battery_block),
            ("charger", self._charger_block),
        ):
            if name in self._sensors:
                blocks[name] = block()
        return blocks

    def _numbers(self, sensor: str, *quantities: str) -> dict[str, float | None]:
        return {quantity: self._number(sensor, quantity) for quantity in quantities}

    def _told(self, sensor: str, on: bool | None) -> str:
        """Return the quality of a block that says whether something is on."""
        quality = self._qualities[sensor]
        if on is not None and quality not in KNOWN:
            quality = Quality.ESTIMATED  # the contact beside a meter that fails has told it
        elif on is None and quality in KNOWN:
            quality = Quality.ESTIMATED  # what is measured does not tell it (yet)
        return quality.value

    def _mains_block(self) -> dict[str, Any]:
        day, present = self.totals.day, self._mains().on
        return {
            "present": present,
            **self._numbers("mains", "voltage_v", "current_a", "power_w", "frequency_hz"),
            "hours_today": _hours(min(day.mains_s, LONGEST_DAY_S)) if day.date else None,
            "quality": self._told("mains", present),
        }

    def _generator_block(self) -> dict[str, Any]:
        engine, totals = self._engine, self.totals
        return {
            "running": engine.running,
            "state": engine.state.value,
            **self._numbers("generator", *ENGINE_QUANTITIES),
            "load_pct": self._load_pct(),
            "hours_total": _hours(totals.generator_s),
            "hours_since_service": round(self._since_service_h(), 2),
            "starts_total": totals.generator_starts,
            "quality": self._told("generator", engine.running),
        }

    def _battery_block(self) -> dict[str, Any]:
        quality, counted = self._qualities["battery"], self._is_counted()
        block: dict[str, Any] = {
            "charge_pct": self._charge_pct(),
            "uncertainty_pct": None,
            **self._numbers("battery", "voltage_v", "current_a", "power_w", "time_to_empty_min"),
            "capacity_ah": None,
            "synchronised": None,
            "since_full_h": None,
            "gap": None,
            "method": "counted" if counted else "monitor",
        }
        if self._charge is not None and counted and quality is Quality.OK:
            since_full_s, gap = self._charge.since_full_s, self._charge.gap
            block |= {
                "uncertainty_pct": self._charge_uncertainty_pct(),
                "time_to_empty_min": (
                    None if block["charge_pct"] is None else self._charge.time_to_empty_min
                ),
                "capacity_ah": round(self._charge.capacity_ah, 1),
                "synchronised": self._charge.synchronised,
                "since_full_h": None if since_full_s is None else _hours(since_full_s),
                "gap": None if gap is None else gap._asdict(),
            }
            if block["uncertainty_pct"] is None or block["uncertainty_pct"] > CERTAIN_PCT:
                quality = Quality.ESTIMATED
        if block["charge_pct"] is None and quality is Quality.OK:
            quality = Quality.ESTIMATED  # it is well, and does not tell enough
        return {**block, "quality": quality.value}

    def _charger_block(self) -> dict[str, Any]:
        return {
            "voltage_v": self._number("charger", "voltage_v"),
            "current_a": self._number("charger", "charger_current_a"),
            "panel_power_w": self._number("charger", "panel_power_w"),
            "quality": self._qualities["charger"].value,
        }


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


def _checksum(settings: object) -> int:
    return zlib.crc32(repr(settings).encode())


def _time(text: str | None) -> datetime | None:
    try:
        time = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if time is None or time.tzinfo is None else time
