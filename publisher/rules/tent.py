"""The tent: a pure fold over readings. It knows every rule, and no clock, thread or file.

`apply` takes readings, `tick` lets time pass, `headcount` takes a person's word; each returns what
happened. `snapshot` is what the contract's `state` says of the tent now.
"""

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from publisher.clock import Now, instant, timestamp
from publisher.config.generator import SERVICE_DUE
from publisher.config.load import Config
from publisher.rules import calibration, day
from publisher.rules.charge import Estimator
from publisher.rules.day import Counts, Day
from publisher.rules.generator import Engine, Metered
from publisher.rules.happening import Happening
from publisher.rules.power import MainsVoltage, Seen, Source, source
from publisher.rules.sensed import ZERO_READINGS, Sensors
from publisher.rules.totals import Totals
from sensors.reading import Quality, Reading, Value

#: The charge must rise this far above the warning level before the warning goes.
BATTERY_HYSTERESIS_PCT = 5.0
#: A time of day that moves by more than this against the uptime was set anew. (A leap second is one.)
STEP_S = 2.0

#: A count of the battery's charge that may be off by more than this many points is an estimate.
CERTAIN_PCT = 10.0
#: … and one that may be off by more than this many is not told at all.
USELESS_PCT = 40.0
#: How long after closing time a tent that becomes quiet still counts as empty.
CLOSING_S = 3 * 3600.0
AC_METERS = {"pzem004t"}
#: Drivers that see people pass and not which way.
ONE_BEAM = {"beam"}

DOOR_RECOVERED = Happening("sensor_recovered", {"sensor": "door"})

#: The qualities of what is known.
KNOWN = (Quality.OK, Quality.ESTIMATED)
ENGINE_QUANTITIES = ("current_a", "voltage_v", "power_w", "frequency_hz")

#: From best to worst; a block is as good as the worst sensor it rests on.
_WORSE = (Quality.OK, Quality.ESTIMATED, Quality.STARTING, Quality.STALE, Quality.FAULT)


class Tent:
    """The state of one tent."""

    def __init__(
        self,
        config: Config,
        now: Now,
        saved: dict[str, Any] | None = None,
        *,
        boot: int = 0,
        log: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Begin with the totals `saved` by an earlier run; None where there never was one.

        Empty totals are lost ones: there may be people inside. `boot` is the number of this boot, and
        `log` the visitor log so far: (date, what `take_lines` gave for it).
        """
        self._config = config
        self._zone = ZoneInfo(config.tent.timezone)
        self._stale_after_s = config.report.stale_after_s
        self._sensors = Sensors(config.sensors, self._stale_after_s, now.monotonic_s)
        self.totals = Totals.restore(saved or {})
        if _time(self.totals.since) is None:
            self.totals.since, self.totals.since_estimated = None, False
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
        self._boot = boot
        self._log = dict(log)
        self._lines: dict[str, str] = {}  # of the log, for the next `take_lines`
        self._saved_s = -math.inf  # when the totals have taken note of the time of day
        self._clock_began: datetime | None = (
            None  # the time of day at uptime 0, while it is certain
        )
        self._today: day.Bounds | None = None
        self._today_s: float | None = (
            None  # that today has lasted; None while the date is not known
        )
        self._leapt = False  # the open day was begun by a step of the clock
        self._counts: Counts = self.totals.day  # where what is counted now goes
        self._uptime_s = now.uptime_s
        self._outside: set[str] = set()

    # What comes in

    def apply(self, readings: Iterable[Reading], now: Now) -> list[Happening]:
        """Take readings; return what happened."""
        happened = self._pass_time(now)
        for reading in readings:
            measured = self._sensors[reading.sensor].take(reading)
            if measured is not None and reading.sensor == "door":
                self._count(measured)
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
        if self._sensors[name].quality is not Quality.OK:
            found.clear()
        if len(found) < ZERO_READINGS:
            raise ValueError(
                f"{name} has not been read well for long enough: try again in a minute"
            )
        try:
            zero_a = calibration.zero(found, settings.shunt_ohms)
        except calibration.UnfitReadings as refusal:
            raise ValueError(
                f"{name} reads {refusal.values['a']:g} A: a current flows; disconnect it from the "
                f"shunt first"
            ) from refusal
        self.totals.zeros[name] = [zero_a, _checksum(settings)]
        return zero_a

    def zeros(self) -> dict[str, float]:
        """Return the zeros that were found, a sensor; none of one that was configured anew since."""
        return zeros_of(self.totals, self._shunts())

    def _shunts(self) -> dict[str, Any]:
        return {s.name: s.config for s in self._config.sensors if hasattr(s.config, "zero_a")}

    def add(self, saved: dict[str, Any], counted: dict[str, Any] | None = None) -> list[Happening]:
        """Add what an earlier run had counted and this one could not read; return what happened.

        `counted` of it was known when this run began.
        """
        other = self.totals.add(saved, counted)
        if other is None or not day.is_date(other.date):
            return []
        earlier = self._line_of(other.date)
        if earlier is not None:
            other.add(day.from_line(earlier))
        return self._close_day(other)

    def has_lines(self) -> bool:
        """Say whether `take_lines` has something."""
        return bool(self._lines)

    def take_lines(self) -> list[tuple[str, str]]:
        """Return what is new in the visitor log: (date, its line as JSON, in place of an earlier one).

        It is to be stored together with the totals.
        """
        lines, self._lines = self._lines, {}
        return list(lines.items())

    def open_lines(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return today's line of the visitor log so far, and one of what has no day yet, if any."""
        return self.totals.open_lines(self._zone, **self._shape())

    def alerts(self, noticed: Mapping[str, bool], now: Now) -> list[Happening]:
        """Raise (True) or clear alerts that something outside the tent's rules has noticed."""
        raised = {name for name, on in noticed.items() if on}
        outside = self._outside - noticed.keys() | raised
        if outside == self._outside:
            return []
        self._outside = outside
        return self.tick(now)

    def _count(self, reading: Reading) -> None:
        if reading.quantity == "blind_s":
            self._blind_s = None if reading.value is None else float(reading.value)
            self.totals.estimated = True  # who passed meanwhile was not seen
        if reading.quantity not in ("entered", "left", "passed"):
            return
        number = max(0, int(reading.value or 0))
        line, occupancy = self._counts, self.totals.occupancy
        counted = {"entered": 0, "left": 0, "passed": 0, reading.quantity: number}
        occupancy.apply(**counted)
        for name, people in counted.items():
            setattr(line, name, getattr(line, name) + people)
        if number:
            self._passed_s = reading.at_s

    # The rules

    def _settle(self, now: Now) -> list[Happening]:
        totals = self.totals
        happened = self._sensors.judge()
        if DOOR_RECOVERED in happened:  # who passed meanwhile was not seen
            totals.estimated = True
        self._settle_engine(now)
        self._settle_charge(now)
        if now.is_certain and now.monotonic_s >= self._saved_s + 1.0:
            totals.saved, self._saved_s = timestamp(now.wall), now.monotonic_s

        mains, generator, battery = self._mains(), self._generator(), self._battery()
        self._source = source(mains, generator, battery)
        if self._source is not Source.UNKNOWN and self._source.value != totals.source:
            totals.source, totals.since, totals.since_estimated = self._source.value, None, False
            totals.since_boot, totals.since_s = self._boot, now.uptime_s
        if now.is_certain and self._source is not Source.UNKNOWN and totals.since is None:
            self._date_source()
        if mains.on is not None and mains.on != totals.mains_on:
            if totals.mains_on is not None:  # the first state ever seen is no change
                name = "mains_restored" if mains.on else "mains_lost"
                happened.append(Happening(name, {"source": self._source.value}))
                self._counts.outages += not mains.on
            totals.mains_on = mains.on
        if generator.on is not None and generator.on != totals.generator_on:
            if totals.generator_on is not None:
                name = "generator_started" if generator.on else "generator_stopped"
                totals.generator_starts += generator.on
                happened.append(Happening(name, {"source": self._source.value}))
            totals.generator_on = generator.on
        self._counts.peak = max(self._counts.peak, totals.occupancy.people)
        return happened + self._settle_alerts()

    def _settle_engine(self, now: Now) -> None:
        if "generator" not in self._sensors:
            return
        meter, contact = self._sensors["generator"], self._sensors.get("generator_line")
        news = (
            meter.readings,
            self._sensors["generator"].quality,
            None
            if contact is None
            else (contact.readings, self._sensors["generator_line"].quality),
            now.monotonic_s // 1,  # time passes for it once a second
        )
        if news == self._engine_news:
            return
        self._engine_news = news
        seen = Metered(
            meter.heard_s,
            **self._sensors.numbers("generator", *ENGINE_QUANTITIES),
            line=self._sensors.line("generator"),
        )
        self._engine.apply(seen, now.monotonic_s)

    def _settle_charge(self, now: Now) -> None:
        """Count the battery's charge, where it does not tell it itself."""
        estimator = self._charge
        if estimator is None or "battery" not in self._sensors:
            return
        if self._saved is not None and now.is_certain and now.wall is not None:
            off_s = (now.wall - self._saved).total_seconds() - (now.monotonic_s - self._began_s)
            estimator.resume(max(0.0, off_s))
            self._saved = None
        if self._sensors.number("battery", "charge_pct") is not None:
            return
        reading = self._sensors["battery"].values.get("current_a")
        current_a = self._sensors.number("battery", "current_a")
        at_s = now.monotonic_s if current_a is None or reading is None else reading.at_s
        voltage_v, cell_max_v = (
            self._sensors.number("battery", q) for q in ("voltage_v", "cell_max_v")
        )
        estimator.apply(current_a, voltage_v, at_s, cell_max_v)

    def _pass_time(self, now: Now) -> list[Happening]:
        """Book the time since the last call on what ran then, and begin a new day if it is one."""
        # A state is believed for as long as a value is, whatever has kept the caller.
        spent_s = min(max(0.0, now.monotonic_s - self._sensors.at_s), self._stale_after_s)
        line, began = self._counts, now.began
        if began is None:  # what is counted now gets its day when the clock is set
            line = self._counts = day.extend(
                self.totals.undated,
                self._boot,
                self._uptime_s,
                now.uptime_s,
                self.totals.occupancy.people,
            )
        if self._mains().on:
            line.mains_s += spent_s
        if self._engine.running:
            self.totals.generator_s += spent_s
            line.generator_s += spent_s
        if self._source is Source.BATTERY:
            line.battery_s += spent_s
        self._sensors.at_s, self._uptime_s = now.monotonic_s, now.uptime_s
        if now.wall is None or began is None:
            self._today_s = None
            return []
        happened = self._keep_days(now.wall, began)
        return happened + self._close_tent(now.wall, now)

    def _keep_days(self, wall: datetime, began: datetime) -> list[Happening]:
        """Begin a new day if it is one, and give their days to what had none."""
        totals, happened = self.totals, []
        stepped = False
        if self._clock_began is None:
            last = _time(totals.saved)
            stepped = last is not None and (last - wall).total_seconds() > STEP_S
        elif abs((began - self._clock_began).total_seconds()) > STEP_S:
            stepped = True
        if self._clock_began is None or stepped:
            self._clock_began = began
            self._today = None
            if totals.since_boot == self._boot or (totals.since or "") > str(timestamp(wall)):
                totals.since = None  # it is found again, by the clock as it is now
        if totals.undated:
            for piece in day.dated(
                totals.undated, self._boot, began, _time(totals.saved), self._zone
            ):
                happened += self._turn_to(piece.date, stepped=stepped)
                totals.day.add(piece.counts)
                totals.day.estimated |= not piece.sure
            totals.undated.clear()
        today = self._today
        if today is None or not today.begins <= wall < today.ends:
            today = self._today = day.day_at(wall, self._zone)
        if today.date != totals.day.date:
            happened += self._turn_to(today.date, stepped=stepped)
        if stepped:  # the hour that it was is no longer certain: no quiet yet
            self._passed_s = self._sensors.at_s
        self._counts = totals.day
        self._today_s = (wall - today.begins).total_seconds()
        return happened

    def _turn_to(self, today: str, *, stepped: bool) -> list[Happening]:
        """Make `today` the open day: close the one before it, or go back to one that was closed."""
        before = self.totals.day
        if today == before.date:
            return []
        if not before.date:
            before.date = today
            return []
        before.estimated |= stepped
        happened, moved = [], None
        if today > before.date:
            happened = self._close_day(before)
            self._leapt = stepped
        elif self._leapt and before.date not in self._log:
            # The step that began this day is taken back: what was counted since is of the day before.
            moved, self._leapt = before, False
        else:  # one of the two clocks was wrong, and nobody can tell which: each day keeps its own
            self._keep_line(before, told=self._was_told(before.date))
        self.totals.day = self._open_day(today)
        self.totals.day.estimated |= stepped
        if moved is not None:
            self.totals.day.add(moved)
        return happened

    def _open_day(self, today: str) -> Day:
        """Return the day's line: a new one, or as it stands in the visitor log."""
        earlier = self._line_of(today)
        if earlier is not None:
            return day.from_line(earlier)
        return Day(date=today, peak=self.totals.occupancy.people)

    def _close_day(self, closed: Day) -> list[Happening]:
        """Put a day into the visitor log and tell of it, again only where it has become another."""
        again = self._was_told(closed.date)
        earlier = self._line_of(closed.date)
        line = self._keep_line(closed, told=True)
        if again and earlier is not None and not day.differ(earlier, line):
            return []
        return [Happening("day_closed", {**line, "again": again})]

    def _keep_line(self, kept: Day, *, told: bool) -> dict[str, Any]:
        line = day.line(kept, self._zone, **self._shape())
        self._log[kept.date] = self._lines[kept.date] = json.dumps({**line, "told": told})
        return line

    def _line_of(self, date: str) -> dict[str, Any] | None:
        """Return the day's line in the visitor log; None where there is none that makes sense."""
        return day.read_line(self._log.get(date, ""), date)

    def _was_told(self, date: str) -> bool:
        line = self._line_of(date)
        return line is not None and line.get("told") is True

    def _date_source(self) -> None:
        """Say since when the source is what it is, now that the time of day is certain."""
        totals = self.totals
        assert self._clock_began is not None
        totals.since_estimated = totals.since_boot != self._boot
        # In a boot that never knew the time: then or earlier, but not later than this boot began.
        at_s = 0.0 if totals.since_estimated else totals.since_s
        totals.since = timestamp(self._clock_began + timedelta(seconds=at_s))

    def _close_tent(self, wall: datetime, now: Now) -> list[Happening]:
        """Count the tent as empty where that is configured, it is time, and nobody has come by."""
        door, occupancy = self._config.door, self.totals.occupancy
        if door.auto_zero_at is None or not self._counts_both_ways():
            return []
        if self._door_quality() not in KNOWN:
            self._passed_s = now.monotonic_s  # who passes now is not seen: this is no quiet
            return []
        local = wall.astimezone(self._zone)
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
            ("door_obstructed", "door", self._sensors.value("door", "obstructed")),
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

    def _mains(self) -> Seen:
        if "mains" not in self._sensors:
            return Seen(False, None)
        present = self._sensors.value("mains", "present")
        if present is not None:
            return Seen(True, bool(present))
        sensor, line = self._sensors["mains"], self._sensors.line("mains")
        measured = self._mains_voltage.apply(self._sensors.number("mains", "voltage_v"))
        if line is False and measured is not None:
            # The contact is the quicker one, but a meter that goes on measuring has mains: then it is
            # the contact's cable that is cut.
            return Seen(True, measured and sensor.contradicts_line("voltage_v"))
        return Seen(True, line if measured is None else measured)

    def _generator(self) -> Seen:
        return Seen("generator" in self._sensors, self._engine.running)

    def _battery(self) -> Seen:
        if "battery" not in self._sensors:
            return Seen(False, None)
        charge_pct, current_a = self._charge_pct(), self._sensors.number("battery", "current_a")
        if current_a is not None and current_a < 0:  # whatever its charge is said to be
            return Seen(True, True)
        return Seen(True, None if charge_pct is None else charge_pct > 0)

    def _battery_alarm(self) -> Value:
        values = self._sensors["battery"].values if "battery" in self._sensors else {}
        if values and "alarm" not in values:
            return False  # another device, which has no alarm
        return self._sensors.value("battery", "alarm")

    def _is_counted(self) -> bool:
        """Say whether the battery's charge is counted here: it does not tell it itself."""
        return self._charge is not None and self._sensors.value("battery", "charge_pct") is None

    def _charge_pct(self) -> float | None:
        if self._charge is None or not self._is_counted():
            return self._sensors.number("battery", "charge_pct")
        # Half the battery, give or take nearly half, is no knowledge.
        uncertainty_pct = self._charge_uncertainty_pct()
        known = uncertainty_pct is not None and uncertainty_pct <= USELESS_PCT
        return self._charge.charge_pct if known else None

    def _charge_uncertainty_pct(self) -> float | None:
        if self._charge is None or not self._is_counted():
            return None
        return (
            self._charge.uncertainty_pct if self._sensors["battery"].quality is Quality.OK else None
        )

    def _load_pct(self) -> int | None:
        load_pct = self._engine.load_pct
        return None if load_pct is None else round(load_pct)

    def _since_service_h(self) -> float:
        return max(0.0, self.totals.generator_s - (self.totals.serviced_s or 0.0)) / 3600

    def _counts_both_ways(self) -> bool:
        return "door" in self._sensors and self._sensors["door"].driver not in ONE_BEAM

    def _shape(self) -> dict[str, bool]:
        """Return what a line of the visitor log is told of the sensors."""
        return {"both_ways": self._counts_both_ways(), "mains": "mains" in self._sensors}

    def _obstructed(self) -> bool:
        return "door" in self._sensors and self._sensors.value("door", "obstructed") is True

    def _door_quality(self) -> Quality:
        quality = self._sensors["door"].quality
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
            self._sensors.qualities(),
            self.totals.estimated,
            self._today_s is not None,
            self.totals.occupancy.people,
            self.totals.occupancy.entered_total,
            self.totals.occupancy.left_total,
            self.totals.occupancy.passed_total,
        )

    def qualities(self) -> tuple[str, ...]:
        """Return how far each sensor can be believed, as of the last `apply` or `tick`."""
        return self._sensors.qualities()

    def sensors(self, now: Now) -> list[dict[str, Any]]:
        """Return how each sensor does, for people."""
        return [sensor.describe(name, now.monotonic_s) for name, sensor in self._sensors.items()]

    def since_headcount(self) -> dict[str, int]:
        """Return how many have come in and gone out since the people were last counted."""
        occupancy = self.totals.occupancy
        return {"entered": occupancy.entered_since, "left": occupancy.left_since}

    def _capacity(self) -> dict[str, Any]:
        occupancy, line = self.totals.occupancy, self.totals.day
        both_ways = self._counts_both_ways()
        quality = self._door_quality()
        if not both_ways and quality is Quality.ESTIMATED:
            quality = Quality.OK  # there is no count of the people inside that could have drifted
        known = both_ways and quality in KNOWN
        today = self._today_s is not None
        seats = self._config.tent.seats
        return {
            "people": occupancy.people if known else None,
            "seats": seats,
            "free": max(0, seats - occupancy.people) if known else None,
            "entered_today": line.entered if both_ways and today else None,
            "left_today": line.left if both_ways and today else None,
            "passed_today": line.entered + line.left + line.passed if today else None,
            "entered_total": occupancy.entered_total if both_ways else None,
            "left_total": occupancy.left_total if both_ways else None,
            "passed_total": occupancy.entered_total + occupancy.left_total + occupancy.passed_total,
            "uncertainty": occupancy.uncertainty(self._config.door) if known else None,
            "quality": quality.value,
        }

    def _power(self) -> dict[str, Any]:
        known = self._source is not Source.UNKNOWN
        power_sensors = [n for n in ("mains", "generator", "battery") if n in self._sensors]
        quality = Quality.OK if known else _worst([self._sensors[n].quality for n in power_sensors])
        if not known and quality is Quality.OK:
            quality = Quality.ESTIMATED  # every sensor is well, but they do not tell enough
        blocks: dict[str, Any] = {
            "source": self._source.value,
            "since": self.totals.since if known else None,
            **({"since_estimated": True} if known and self.totals.since_estimated else {}),
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

    def _told(self, sensor: str, on: bool | None) -> str:
        """Return the quality of a block that says whether something is on."""
        quality = self._sensors[sensor].quality
        if on is not None and quality not in KNOWN:
            quality = Quality.ESTIMATED  # the contact beside a meter that fails has told it
        elif on is None and quality in KNOWN:
            quality = Quality.ESTIMATED  # what is measured does not tell it (yet)
        return quality.value

    def _mains_block(self) -> dict[str, Any]:
        present, today_s = self._mains().on, self._today_s
        return {
            "present": present,
            **self._sensors.numbers("mains", "voltage_v", "current_a", "power_w", "frequency_hz"),
            "hours_today": (
                None if today_s is None else _hours(min(self.totals.day.mains_s, today_s))
            ),
            "quality": self._told("mains", present),
        }

    def _generator_block(self) -> dict[str, Any]:
        engine, totals = self._engine, self.totals
        return {
            "running": engine.running,
            "state": engine.state.value,
            **self._sensors.numbers("generator", *ENGINE_QUANTITIES),
            "load_pct": self._load_pct(),
            "hours_total": _hours(totals.generator_s),
            "hours_since_service": round(self._since_service_h(), 2),
            "starts_total": totals.generator_starts,
            "quality": self._told("generator", engine.running),
        }

    def _battery_block(self) -> dict[str, Any]:
        quality, counted = self._sensors["battery"].quality, self._is_counted()
        block: dict[str, Any] = {
            "charge_pct": self._charge_pct(),
            "uncertainty_pct": None,
            **self._sensors.numbers(
                "battery", "voltage_v", "current_a", "power_w", "time_to_empty_min"
            ),
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
            "voltage_v": self._sensors.number("charger", "voltage_v"),
            "current_a": self._sensors.number("charger", "charger_current_a"),
            "panel_power_w": self._sensors.number("charger", "panel_power_w"),
            "quality": self._sensors["charger"].quality.value,
        }


def _worst(qualities: Sequence[Quality]) -> Quality:
    return max(qualities, key=_WORSE.index, default=Quality.OK)


def _hours(seconds: float) -> float:
    return round(seconds / 3600, 2)


def zeros_of(totals: Totals, shunts: Mapping[str, Any]) -> dict[str, float]:
    """Return the zeros that were found by command, of those sensors that are configured as they were."""
    return {
        name: zero_a
        for name, (zero_a, checksum) in totals.zeros.items()
        if name in shunts and checksum == _checksum(shunts[name])
    }


def _checksum(settings: object) -> int:
    return zlib.crc32(repr(settings).encode())


def _time(text: str | None) -> datetime | None:
    return None if text is None else instant(text)
