"""The tent: a pure fold over readings. It knows every rule, and no clock, thread or file.

`apply` takes readings, `tick` lets time pass, `headcount` and `set_open` take a person's word; each
returns what happened. `snapshot` is what the contract's `state` says of the tent now.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from publisher.clock import Now
from publisher.config.autonomy import AUTONOMY_LOW
from publisher.config.climate import COLD
from publisher.config.co import ALARM, SENSOR_OLD, SENSOR_TEST, WARNING
from publisher.config.generator import SERVICE_DUE
from publisher.config.load import Config
from publisher.rules import blocks
from publisher.rules.alerts import (
    BATTERY_ALARM,
    BATTERY_LOW,
    DOOR_DOUBTFUL,
    DOOR_OBSTRUCTED,
    Alerts,
    Change,
    is_low,
)
from publisher.rules.autonomy import Autonomy, Span
from publisher.rules.autonomy import Seen as Fed
from publisher.rules.battery import Battery
from publisher.rules.calendar import Calendar
from publisher.rules.climate import INSIDE, OUTSIDE, Climate
from publisher.rules.co import CarbonMonoxide
from publisher.rules.door import Door
from publisher.rules.generator import Engine, Metered
from publisher.rules.happening import Happening
from publisher.rules.power import MainsVoltage, Seen, Source, Supply
from publisher.rules.sensed import Sensors
from publisher.rules.site import Site
from publisher.rules.tank import Tank
from publisher.rules.totals import Totals
from publisher.rules.zero import Zeros
from sensors.reading import Quality, Reading
from sensors.trouble import Trouble, declare, marked

#: What the blocks show of a sensor's quantities.
AC_QUANTITIES = ("voltage_v", "current_a", "power_w", "frequency_hz")
ENGINE_QUANTITIES = ("current_a", "voltage_v", "power_w", "frequency_hz")
BATTERY_QUANTITIES = ("voltage_v", "current_a", "power_w", "time_to_empty_min")
CHARGER_QUANTITIES = ("voltage_v", "charger_current_a", "panel_power_w")

NO_GENERATOR = declare("command.no_generator", marked("this unit has no generator sensor"))
NO_TANK = declare(
    "command.no_tank",
    marked("this unit does not know how much the tank holds"),
    marked("set tank_l in [generator], or give the litres"),
)
TOO_MUCH = declare("command.too_much_fuel", marked("the tank holds {litres} litres only"))


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
        self._stale_after_s = config.report.stale_after_s
        sensors = self._sensors = Sensors(config.sensors, self._stale_after_s, now.monotonic_s)
        totals = self.totals = Totals.restore(saved or {})
        if saved is not None:
            totals.estimated = True
        site = Site.of(config.tent)
        self._moved = site.moved_from(totals.site)  # for the next `apply`
        totals.site = site
        zone = ZoneInfo(config.tent.timezone)
        door, generator = config.sensor("door"), config.sensor("generator")
        both_ways = door is not None and door.traits.tells_way
        self._door = Door(config.door, totals, sensors, zone, both_ways=both_ways)
        self._engine = Engine(
            config.generator,
            totals.alerts,
            ac=generator is not None and generator.traits.measures_ac,
            was_running=totals.generator_on,
        )
        self._tank: Tank | None = None
        if generator is not None:
            self._tank = Tank(config.generator, totals.fuel, boot)
        self._engine_news: tuple[object, ...] = ()
        self._battery = Battery(
            config.battery,
            totals.charge,
            sensors,
            now,
            boot=boot,
            resumes=saved is not None,
        )
        self._autonomy = Autonomy(config.autonomy, totals, has_battery=self._battery.is_fitted)
        self._mains_voltage = MainsVoltage()
        self._mains = Seen("mains" in sensors, None)
        self._supply = Supply(totals, boot)
        self._calendar = Calendar(
            totals,
            zone,
            now,
            boot=boot,
            log=log,
            both_ways=self._door.both_ways,
            mains="mains" in sensors,
            door=self._door.is_fitted,
        )
        alerts = self._alerts = Alerts(totals.alerts)
        totals.alerts = alerts.as_list()
        self._thermometers = [name for name in (INSIDE, OUTSIDE) if name in sensors]
        self._climate: Climate | None = None
        if INSIDE in sensors:
            self._climate = Climate(
                config.climate, sensors[INSIDE].stale_after_s, was_cold=COLD in alerts
            )
        self._co: CarbonMonoxide | None = None
        if "co" in sensors:
            self._co = CarbonMonoxide(
                config.co,
                totals.co,
                boot=boot,
                was_warning=WARNING in alerts,
                was_alarm=ALARM in alerts,
            )
        self._has_air = self._climate is not None or self._co is not None
        self._zeros = Zeros(totals, config.sensors)

    # Input

    def apply(self, readings: Iterable[Reading], now: Now) -> list[Happening]:
        """Take readings; return what happened."""
        happened = self._pass_time(now)
        for reading in readings:
            measured = self._sensors[reading.sensor].take(reading)
            if measured is None:
                continue
            if reading.sensor == "door":
                self._door.count(measured, self._calendar.counts)
            elif self._has_air:
                self._take_air(measured, now)
        return happened + self._run_rules(now)

    def tick(self, now: Now) -> list[Happening]:
        """Let time pass; return what happened."""
        return self.apply((), now)

    def headcount(self, people: int, now: Now, by: str = "person") -> list[Happening]:
        """Take a person's count of the people inside; the raw totals stay. `by` is who has counted."""
        happened = self._pass_time(now)
        return [*happened, self._door.set_people(people, by), *self._run_rules(now)]

    def set_open(self, is_open: bool, now: Now, by: str = "person") -> list[Happening]:
        """Note that the tent takes people in, or none; `by` is who says so.

        What is known already is no event.
        """
        happened = self._pass_time(now)
        if self.totals.is_open != is_open:
            self.totals.is_open = is_open
            happened.append(Happening("opened" if is_open else "closed", {"by": by}))
        return happened + self._run_rules(now)

    def serviced(self, now: Now) -> list[Happening]:
        """Note that the generator has been serviced now. Raises Trouble without a generator."""
        if "generator" not in self._sensors:
            raise Trouble(NO_GENERATOR)
        happened = self._pass_time(now)
        self.totals.serviced_s = self.totals.generator_s
        return [*happened, *self._run_rules(now)]

    def refuelled(self, litres: float | None, now: Now, *, full: bool) -> list[Happening]:
        """Note that somebody has filled `litres` into the generator's tank (None: not measured).

        `full` says whether the tank is full now. Raises Trouble without a generator, and where the tank
        cannot be as it is said to be.
        """
        tank_l = self._config.generator.tank_l
        if self._tank is None:
            raise Trouble(NO_GENERATOR)
        if full and tank_l is None:
            raise Trouble(NO_TANK)
        if litres is not None and tank_l is not None and litres > tank_l:
            raise Trouble(TOO_MUCH, litres=tank_l)
        happened = self._pass_time(now)
        self._tank.refuel(litres, full=full)
        happened.append(Happening("refuelled", {"litres": litres, "full": full}))
        return [*happened, *self._run_rules(now)]

    def notice(self, noticed: Mapping[str, bool], now: Now) -> list[Happening]:
        """Raise (True) or clear alerts that something outside the tent's rules has noticed."""
        return self.tick(now) if self._alerts.notice(noticed) else []

    def add(self, saved: dict[str, Any], counted: dict[str, Any] | None = None) -> list[Happening]:
        """Add what an earlier run had counted and this one could not read; return what happened.

        `counted` of it was known when this run began.
        """
        other = self.totals.add(saved, counted)
        if self._co is not None:
            self._co.stand(Totals.restore(saved).alerts)
        happened = [] if other is None else self._calendar.add(other)
        if Totals.restore(counted or {}).site.seats is None:  # else it is reported already
            happened += self.totals.site.moved_from(Totals.restore(saved).site)
        return happened

    def zero(self, name: str) -> float:
        """Find the zero of a current sensor, in amperes, while no current flows, and keep it.

        Raises Trouble where that is not possible.
        """
        return self._zeros.find(name, self._sensors.get(name))

    # The rules

    def _take_air(self, reading: Reading, now: Now) -> None:
        """Take a reading if it is one of warmth or carbon monoxide."""
        if reading.sensor == INSIDE and self._climate is not None:
            self._climate.take(reading, self._calendar.counts)
        elif reading.sensor == "co" and self._co is not None:
            self._co.take(reading, now, self._calendar.counts)

    def _pass_time(self, now: Now) -> list[Happening]:
        """Book the time since the last call on what ran in it, and begin a new day if it is one."""
        # A state is believed for as long as a value is, whatever has kept the caller.
        passed_s = min(max(0.0, now.monotonic_s - self._sensors.at_s), self._stale_after_s)
        generator_s = passed_s if self._engine.running else 0.0
        self.totals.generator_s += generator_s
        calendar = self._calendar
        happened = calendar.advance(
            now,
            self.totals.occupancy.people,
            mains_s=passed_s if self._mains.on else 0.0,
            generator_s=generator_s,
            battery_s=passed_s if self._supply.source is Source.BATTERY else 0.0,
            watched_s=passed_s if self._door.is_seen else 0.0,
        )
        self._sensors.at_s = now.monotonic_s
        self._door.learn()
        if now.wall is None or calendar.today_s is None:
            return happened
        if calendar.was_found:
            self._supply.forget_since(now.wall)
        if calendar.was_set:  # the hour that it was is no longer certain
            self._door.forget_quiet()
        return happened + self._door.close(now.wall)

    def _run_rules(self, now: Now) -> list[Happening]:
        """Judge sensors, sources and alerts as of `now`; return what happened."""
        happened, self._moved = self._moved, []
        happened += self._sensors.judge()
        if "door" in self._sensors.recovered:  # who passed meanwhile was not seen
            self.totals.estimated = True
        self._run_engine(now)
        self._battery.apply(now)
        self._mains = Seen(self._mains.fitted, self._see_mains())
        counts = self._calendar.counts
        happened += self._supply.apply(
            self._mains,
            Seen("generator" in self._sensors, self._engine.running),
            Seen(self._battery.is_fitted, self._battery.has_charge),
            now,
            began=self._calendar.began,
            counts=counts,
        )
        self._foresee(now)
        counts.peak = max(counts.peak, self.totals.occupancy.people)
        return happened + self._run_alerts(now)

    def _run_engine(self, now: Now) -> None:
        if "generator" not in self._sensors:
            return
        meter, contact = self._sensors["generator"], self._sensors.get("generator_line")
        news = (
            meter.readings_taken,
            meter.quality,
            None if contact is None else (contact.readings_taken, contact.quality),
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

    def _see_mains(self) -> bool | None:
        """Return whether mains is there, by its sensor and the contact beside it; None if unknown."""
        sensors = self._sensors
        if "mains" not in sensors:
            return None
        present = sensors.value("mains", "present")
        if present is not None:
            return bool(present)
        line = sensors.line("mains")
        measured = self._mains_voltage.apply(sensors.number("mains", "voltage_v"))
        if line is False and measured is not None:
            # The contact is the quicker one. But a meter that goes on measuring has mains: then the
            # contact's cable is cut.
            return measured and sensors["mains"].contradicts_line("voltage_v")
        return line if measured is None else measured

    def _foresee(self, now: Now) -> None:
        """Work out how long fuel and battery will last."""
        sensors, battery = self._sensors, self._battery
        feed_a = feed_w = None
        if self._tank is not None:
            self._tank.apply(self._engine.running, self._engine.load_pct, now)
            if self._engine.running:
                metered = sensors.numbers("generator", "current_a", "power_w")
                if self._engine.is_ac:
                    feed_w = metered["power_w"]
                else:
                    feed_a = metered["current_a"]
        if self._mains.on and feed_a is None and feed_w is None:
            feed_w = sensors.number("mains", "power_w")
        left_ah = battery.left_ah
        seen = Fed(
            sensors.number("battery", "current_a"),
            sensors.number("battery", "voltage_v"),
            None if feed_a is None else abs(feed_a),
            None if feed_w is None else abs(feed_w),
            None if left_ah is None else Span(*left_ah),
            Span(*battery.time_to_empty_min),
        )
        self._autonomy.apply(seen, self._supply.source, self._tank, now.monotonic_s)

    def _run_alerts(self, now: Now) -> list[Happening]:
        battery, door, totals = self._battery, self._door, self.totals
        own: dict[str, bool | None] = {}
        if battery.is_fitted:
            own[BATTERY_LOW] = is_low(
                battery.charge_pct,
                battery.uncertainty_pct,
                self._config.battery.low_pct,
                was_low=BATTERY_LOW in self._alerts,
            )
            own[BATTERY_ALARM] = battery.alarm
        if door.is_fitted:
            own[DOOR_OBSTRUCTED] = door.is_obstructed
            own[DOOR_DOUBTFUL] = door.is_doubtful
        if "generator" in self._sensors or battery.is_fitted:
            own[AUTONOMY_LOW] = self._autonomy.is_low(
                self._supply.source, was_low=AUTONOMY_LOW in self._alerts
            )
        if self._has_air:
            own |= self._air_alerts(now)
        others: set[str] = set()
        if "generator" in self._sensors:
            others.update(self._engine.alerts)
            if self._config.generator.service_due(totals.since_service_h):
                others.add(SERVICE_DUE)
        change = self._alerts.apply(own, others)
        if change is None:
            return []
        totals.alerts = self._alerts.as_list()
        return [
            *self._explain(change),
            *(Happening("alert_raised", {"alert": alert}) for alert in change.raised),
            *(Happening("alert_cleared", {"alert": alert}) for alert in change.cleared),
        ]

    def _air_alerts(self, now: Now) -> dict[str, bool | None]:
        own: dict[str, bool | None] = {}
        if self._climate is not None:
            own[COLD] = self._climate.judge(self.totals.is_open)
        if self._co is not None:
            own |= {
                WARNING: self._co.level == "warning",
                ALARM: self._co.level == "alarm",
                SENSOR_OLD: self._co.is_old(now),
                SENSOR_TEST: self._co.needs_test,
            }
        return own

    def _explain(self, change: Change) -> list[Happening]:
        """Return the events of their own that some alerts have."""
        happened, charge = [], {"charge_pct": self._battery.charge_pct}
        if BATTERY_LOW in change.raised:
            happened.append(Happening("battery_low", charge))
        elif BATTERY_LOW in change.cleared:
            happened.append(Happening("battery_ok", charge))
        if DOOR_OBSTRUCTED in change.raised:
            happened.append(Happening("door_obstructed", {}))
        elif DOOR_OBSTRUCTED in change.cleared:
            happened.append(Happening("door_cleared", {"blind_s": self._door.blind_s}))
            self._door.blind_s = None
        return happened

    # Output

    def snapshot(self) -> dict[str, Any]:
        """Return the blocks of what is fitted and `alerts`, as the contract's `state` has them.

        They are of the instant of the last `apply` or `tick`.
        """
        snapshot: dict[str, Any] = {}
        sensors = self._sensors
        if self._door.is_fitted:
            snapshot["capacity"] = blocks.capacity(
                self.totals.occupancy,
                None if self._calendar.today_s is None else self.totals.day,
                self._door.quality,
                seats=self._config.tent.seats,
                settings=self._config.door,
                both_ways=self._door.both_ways,
                is_open=self.totals.is_open,
            )
        snapshot["power"] = self._power()
        if self._thermometers:
            snapshot["climate"] = blocks.climate(
                sensors.number(INSIDE, "temperature_c"),
                sensors.number(OUTSIDE, "temperature_c"),
                sensors.number(INSIDE, "humidity_pct"),
                [sensors[name].quality for name in self._thermometers],
            )
        if self._co is not None:
            snapshot["co"] = blocks.co(
                self._co, sensors.number("co", "co_ppm"), sensors["co"].quality
            )
        snapshot["alerts"] = list(self.totals.alerts)
        return snapshot

    def _power(self) -> dict[str, Any]:
        sensors, totals, today_s = self._sensors, self.totals, self._calendar.today_s
        qualities = [sensors[n].quality for n in ("mains", "generator", "battery") if n in sensors]
        power = blocks.source(self._supply.source, totals, self._autonomy.dark_in, qualities)
        if "mains" in sensors:
            power["mains"] = blocks.mains(
                self._mains.on,
                sensors.numbers("mains", *AC_QUANTITIES),
                None if today_s is None else blocks.hours(min(totals.day.mains_s, today_s)),
                sensors["mains"].quality,
            )
        if self._tank is not None:
            power["generator"] = blocks.generator(
                self._engine,
                self._tank,
                totals,
                sensors.numbers("generator", *ENGINE_QUANTITIES),
                sensors["generator"].quality,
            )
        if "battery" in sensors:
            power["battery"] = blocks.battery(
                self._battery,
                self._autonomy.reserve,
                sensors.numbers("battery", *BATTERY_QUANTITIES),
                sensors["battery"].quality,
            )
        if "charger" in sensors:
            power["charger"] = blocks.charger(
                sensors.numbers("charger", *CHARGER_QUANTITIES), sensors["charger"].quality
            )
        return power

    def fingerprint(self) -> tuple[object, ...]:
        """Return what makes a snapshot due at once when it changes (contract, `state`)."""
        occupancy = self.totals.occupancy
        return (
            self._supply.source,
            self._engine.running,
            self._alerts.standing,
            self._sensors.qualities,
            self.totals.estimated,
            self.totals.is_open,
            self._calendar.today_s is not None,
            occupancy.people,
            occupancy.entered_total,
            occupancy.left_total,
            occupancy.passed_total,
            None if self._co is None else self._co.dose_step,
        )

    def qualities(self) -> tuple[Quality, ...]:
        """Return how far each sensor can be believed, as of the last `apply` or `tick`."""
        return self._sensors.qualities

    def sensors(self, now: Now) -> list[dict[str, Any]]:
        """Return the state of each sensor, for people (`docs/status.md`)."""
        return [sensor.describe(name, now.monotonic_s) for name, sensor in self._sensors.items()]

    def since_headcount(self) -> dict[str, int]:
        """Return how many have come in and gone out since the people were last counted."""
        occupancy = self.totals.occupancy
        return {"entered": occupancy.entered_since, "left": occupancy.left_since}

    def zeros(self) -> dict[str, float]:
        """Return the zeros that were found and still hold, in amperes, by sensor."""
        return self._zeros.valid()

    def has_lines(self) -> bool:
        """Say whether `take_lines` has something."""
        return self._calendar.has_lines()

    def take_lines(self) -> list[tuple[str, str]]:
        """Return the new lines of the visitor log: (date, JSON, in place of an earlier one).

        They are to be stored together with the totals.
        """
        return self._calendar.take_lines()

    def open_lines(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return today's line so far, and one of the counts without a day; None where there is none."""
        return self._calendar.open_lines()

    def newest_lines(self, most: int) -> list[dict[str, Any]]:
        """Return the lines of the last `most` closed days and of the running one, oldest first."""
        return self._calendar.newest_lines(most)
