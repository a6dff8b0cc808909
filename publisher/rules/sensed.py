"""The sensors' newest readings, and the quality of each sensor."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from publisher.config.load import SensorSettings
from publisher.rules.happening import Happening
from sensors.reading import ERRORS, FAULT, READ_DURATION_S, READS, Quality, Reading, Value
from sensors.trouble import SENSOR, Trouble, TroubleJson, declare, marked

IMPOSSIBLE = declare(
    "sensor.impossible",
    marked("{quantity} has a value that cannot be ({value})"),
    marked("check the wiring of the sensor, and report this with a capture (tentwatch record)"),
    concerns=SENSOR,
)
UNHEARD = declare(
    "sensor.unheard",
    marked("nothing was heard for {seconds:g} s"),
    marked("check its supply and its cable; sudo journalctl -u tentwatch -n 50 shows more"),
    concerns=SENSOR,
)
#: For a driver that gives no reason.
FAILED = declare(
    "sensor.failed",
    marked("it has failed"),
    marked("check its supply and its cable; sudo journalctl -u tentwatch -n 50 shows more"),
    concerns=SENSOR,
)

#: Larger values and NaN are not measurements: no quantity comes near this.
LARGEST_VALUE = 1e9
#: Most characters of a trouble's sentence and of each of its values, so that records stay small.
LONGEST_SENTENCE, LONGEST_VALUE = 300, 100
#: Longest time in which a meter answers after the line that powers it has become live.
METER_WAKES_S = 10.0
#: A meter that still measures this long after its contact has opened is right, and the contact is wrong.
CONTRADICTED_S = 3.0
#: Number of last readings of a current without its zero, from which a zero is found.
ZERO_READINGS = 5

#: Values of a device that measures what changes slowly are old after this many of its periods.
SLOW_PERIODS = 2.5

#: The qualities with known values.
KNOWN = (Quality.OK, Quality.ESTIMATED)


@dataclass(slots=True)
class Sensed:
    """One sensor: its newest readings, its trouble and its quality. Times are monotonic seconds."""

    driver: str
    stale_after_s: float
    fitted_s: float
    quality: Quality = Quality.STARTING  # as of the last `judge`
    failed: bool = False  # whether it has been reported as failed
    heard_s: float | None = None
    readings_taken: int = 0
    trouble: Trouble | None = None
    all_failed: bool = False  # its port works, but every quantity has failed
    warms_up: bool = False  # the device speaks, and measures nothing yet
    values: dict[str, Reading] = field(default_factory=dict)
    #: When the line that powers a meter was last dead, and when it was last not dead.
    last_dead_s: float = -math.inf
    last_not_dead_s: float = -math.inf
    health: dict[str, float] = field(default_factory=dict)
    timed_reads: int = 0  # reads with a duration, their sum, and the longest
    reading_s: float = 0.0
    longest_s: float = 0.0
    uncorrected: deque[Reading] = field(default_factory=lambda: deque(maxlen=ZERO_READINGS))

    def take(self, reading: Reading) -> Reading | None:
        """Store a reading; return the part that is valid, or None if nothing was measured."""
        if reading.value is not None and not abs(reading.value) <= LARGEST_VALUE:
            trouble = Trouble(IMPOSSIBLE, quantity=reading.quantity, value=str(reading.value))
            reading = reading._replace(value=None, quality=Quality.FAULT, trouble=trouble)
        quantity = reading.quantity
        if quantity in (READS, ERRORS, READ_DURATION_S):
            self._take_health(quantity, float(reading.value or 0))
            return None
        if quantity == FAULT:
            self.trouble, self.all_failed = reading.trouble or Trouble(FAILED), False
            self.values.clear()
            self.uncorrected.clear()
            return None
        self.heard_s = reading.at_s
        self.readings_taken += 1
        self.values[quantity] = reading
        self.warms_up = reading.value is None and reading.quality is Quality.STARTING
        if self.trouble or reading.quality is Quality.FAULT:
            failed = [r for r in self.values.values() if r.quality is Quality.FAULT]
            self.trouble = (failed[0].trouble or Trouble(FAILED)) if failed else None
            self.all_failed = len(failed) == len(self.values)
        if quantity == "uncorrected_a":
            self.uncorrected.append(reading)
        return reading

    def _take_health(self, quantity: str, value: float) -> None:
        self.health[quantity] = value
        if quantity == READ_DURATION_S:
            self.timed_reads += 1
            self.reading_s += value
            self.longest_s = max(self.longest_s, value)

    def judge(self, now_s: float) -> Quality:
        """Set and return the quality as of `now_s`."""
        if self.trouble and not (self.all_failed and now_s - self.last_dead_s <= METER_WAKES_S):
            self.quality = Quality.FAULT
        elif self.heard_s is None:
            late = now_s - self.fitted_s > self.stale_after_s
            self.quality = Quality.STALE if late else Quality.STARTING
        else:
            late = now_s - self.heard_s > self.stale_after_s
            self.quality = Quality.STALE if late else Quality.OK
            if self.warms_up and not late:
                self.quality = Quality.STARTING
        return self.quality

    def value(self, quantity: str, at_s: float) -> Value:
        """Return a value that may be shown at `at_s`; None if it is old, failed or was never there."""
        reading = self.values.get(quantity) if self.quality is Quality.OK else None
        if reading is None:
            return None
        limit_s = self.stale_after_s
        if self.last_dead_s == at_s:  # values from before the line died are no longer true
            limit_s = min(CONTRADICTED_S, limit_s)
        return None if at_s - reading.at_s > limit_s else reading.value

    def note_line(self, alive: bool | None, now_s: float) -> None:
        """Note the state of the line that powers a meter; None if unknown."""
        if alive is False:
            self.last_dead_s = now_s
        else:
            self.last_not_dead_s = now_s

    def contradicts_line(self, quantity: str) -> bool:
        """Say whether this quantity was still measured long after the contact showed a dead line."""
        return self.values[quantity].at_s - self.last_not_dead_s >= CONTRADICTED_S

    def describe(self, name: str, now_s: float) -> dict[str, Any]:
        """Return its state for people (`docs/status.md`)."""
        timed = self.timed_reads
        ages_s = {q: max(0.0, now_s - r.at_s) for q, r in self.values.items()}
        return {
            "name": name,
            "driver": self.driver,
            "quality": self.quality.value,
            "age_s": None if self.heard_s is None else round(max(0.0, now_s - self.heard_s), 1),
            "error": self.trouble and _sentence(self.trouble),
            "trouble": self.trouble and _as_json(self.trouble),
            "reads": int(self.health.get(READS, 0)),
            "errors": int(self.health.get(ERRORS, 0)),
            "read_duration_s": self.health.get(READ_DURATION_S),
            "read_duration_mean_s": round(self.reading_s / timed, 5) if timed else None,
            "read_duration_max_s": round(self.longest_s, 5) if timed else None,
            "values": {
                q: r.value if ages_s[q] <= self.stale_after_s else None
                for q, r in self.values.items()
            },
            "ages_s": {q: round(age_s, 1) for q, age_s in ages_s.items()},
        }


class Sensors(dict[str, Sensed]):
    """All sensors of a unit by name, as of one instant: the monotonic second `at_s`."""

    def __init__(
        self, fitted: Iterable[SensorSettings], stale_after_s: float, now_s: float
    ) -> None:
        """Begin with sensors without readings."""
        super().__init__(
            {s.name: Sensed(s.driver, _limit_s(s, stale_after_s), now_s) for s in fitted}
        )
        self._contacts = {name: self[f"{name}_line"] for name in self if f"{name}_line" in self}
        self._stale_after_s = stale_after_s
        self.at_s = now_s
        #: The quality of each sensor as of the last `judge`, and the names that recovered in it.
        self.qualities = tuple(sensor.quality for sensor in self.values())
        self.recovered: list[str] = []

    def judge(self) -> list[Happening]:
        """Set each sensor's quality as of `at_s`; return which have failed and which have recovered."""
        for name in self._contacts:
            self[name].note_line(self.line(name), self.at_s)
        self.recovered.clear()
        happened: list[Happening] = []
        for name, sensor in self.items():
            before = sensor.quality
            if sensor.judge(self.at_s) is not before:
                happened += self._note_change(name, sensor)
                self.qualities = tuple(sensor.quality for sensor in self.values())
        return happened

    def _note_change(self, name: str, sensor: Sensed) -> Iterator[Happening]:
        """Yield that a sensor has failed or recovered, if its new quality says so."""
        failed = sensor.quality in (Quality.FAULT, Quality.STALE)
        if failed and not sensor.failed:
            trouble = sensor.trouble or Trouble(UNHEARD, seconds=sensor.stale_after_s)
            detail = {
                "sensor": name,
                "quality": sensor.quality.value,
                "error": _sentence(trouble),
                "code": trouble.code,
            }
            yield Happening("sensor_failed", detail)
        elif sensor.failed and sensor.quality is Quality.OK:
            self.recovered.append(name)
            yield Happening("sensor_recovered", {"sensor": name})
        if failed or sensor.quality is Quality.OK:
            sensor.failed = failed

    def value(self, name: str, quantity: str) -> Value:
        """Return a value that may be shown now; None if there is none, or no such sensor."""
        sensor = self.get(name)
        return None if sensor is None else sensor.value(quantity, self.at_s)

    def number(self, name: str, quantity: str) -> float | None:
        """Return a value that may be shown now, to three decimals."""
        value = self.value(name, quantity)
        return None if value is None else round(float(value), 3)

    def numbers(self, name: str, *quantities: str) -> dict[str, float | None]:
        """Return values that may be shown now, by quantity, to three decimals."""
        sensor, at_s = self[name], self.at_s
        if sensor.quality is not Quality.OK:
            return dict.fromkeys(quantities)
        values = [(quantity, sensor.value(quantity, at_s)) for quantity in quantities]
        return {q: None if value is None else round(float(value), 3) for q, value in values}

    def line(self, name: str) -> bool | None:
        """Return whether a meter's line is live, by the contact beside it; None if unknown."""
        contact = self._contacts.get(name)
        reading = None if contact is None else contact.values.get("present")
        if reading is None or self.at_s - reading.at_s > self._stale_after_s:
            return None
        return None if reading.value is None else bool(reading.value)


def _limit_s(sensor: SensorSettings, stale_after_s: float) -> float:
    """Return the age from which a sensor's values are old."""
    if not sensor.traits.changes_slowly:
        return stale_after_s
    period_s: float = sensor.config.period_s
    return max(stale_after_s, SLOW_PERIODS * period_s)


def _sentence(trouble: Trouble) -> str:
    """Return a trouble in English, shortened, in valid UTF-8."""
    return _fit(str(trouble), LONGEST_SENTENCE)


def _as_json(trouble: Trouble) -> TroubleJson:
    """Return a trouble's code and its values, shortened, in valid UTF-8."""
    values = {
        name: _fit(value, LONGEST_VALUE) if isinstance(value, str) else value
        for name, value in trouble.values.items()
    }
    return {**trouble.as_dict(), "values": values}


def _fit(text: str, most: int) -> str:
    return text[:most].encode(errors="replace").decode()
