"""The count at the door: people inside, its quality, and closing time."""

from datetime import datetime
from zoneinfo import ZoneInfo

from publisher.config.door import DoorSettings
from publisher.rules.day import Counts
from publisher.rules.happening import Happening
from publisher.rules.sensed import KNOWN, Sensors
from publisher.rules.totals import Totals
from sensors.reading import Quality, Reading

#: A tent that becomes quiet within this time after closing time still counts as empty.
CLOSING_S = 3 * 3600.0
#: A longer time between two readings of the door is not known to have been doubtful.
LONGEST_BEAT_S = 10.0


class Door:
    """The door's count. What survives a power cut is in `occupancy` and `estimated` of totals."""

    def __init__(
        self,
        settings: DoorSettings,
        totals: Totals,
        sensors: Sensors,
        zone: ZoneInfo,
        *,
        both_ways: bool,
    ) -> None:
        """Continue from `totals`; `both_ways` says whether the sensor sees the direction of people."""
        self._settings = settings
        self._totals = totals
        self._sensors = sensors
        self._sensor = sensors.get("door")
        self._zone = zone
        self._passed_s = sensors.at_s  # when somebody last passed
        self._doubted_s: float | None = None  # when the door was last doubted; None if it is not
        self.is_fitted = "door" in sensors
        self.both_ways = self.is_fitted and both_ways
        #: How long the door was blind when it was last obstructed.
        self.blind_s: float | None = None

    def count(self, reading: Reading, counts: Counts) -> None:
        """Apply a reading of the door's sensor; add people to `counts` as well."""
        quantity = reading.quantity
        if quantity == "doubtful":
            self._doubt(reading)
        if quantity == "blind_s":
            self.blind_s = None if reading.value is None else float(reading.value)
            self._totals.estimated = True  # people may have passed unseen meanwhile
        if quantity not in ("entered", "left", "passed"):
            return
        people = max(0, int(reading.value or 0))
        if not people:
            return
        occupancy = self._totals.occupancy
        occupancy.apply(**{"entered": 0, "left": 0, quantity: people})
        if self._doubted_s is not None:
            occupancy.doubt(people=people)
        setattr(counts, quantity, getattr(counts, quantity) + people)
        self._passed_s = reading.at_s

    def _doubt(self, reading: Reading) -> None:
        """Note whether the door sees what is not people."""
        since_s, self._doubted_s = self._doubted_s, reading.at_s if reading.value else None
        if self._doubted_s is None:
            return
        self._totals.estimated = True
        if since_s is not None:
            passed_s = min(max(0.0, reading.at_s - since_s), LONGEST_BEAT_S)
            self._totals.occupancy.doubt(passed_s)

    def set_people(self, people: int, by: str) -> Happening:
        """Set the people inside; the raw totals stay. `by` says who has counted them."""
        occupancy = self._totals.occupancy
        before = occupancy.people
        occupancy.headcount(people)
        self._totals.estimated = False
        detail = {"people": people, "counted": before, "correction": people - before, "by": by}
        return Happening("headcount_set", detail)

    def forget_quiet(self) -> None:
        """Note that the time since the last passage does not prove a quiet tent."""
        self._passed_s = self._sensors.at_s

    def _is_quiet(self) -> bool:
        """Say whether nobody has passed for the configured time, while the door was seen."""
        if self.both_ways and self.quality not in KNOWN:
            self.forget_quiet()  # people may pass unseen now
        quiet_s = self._settings.auto_zero_quiet_h * 3600
        return self.both_ways and self._sensors.at_s - self._passed_s >= quiet_s

    def learn(self) -> None:
        """Learn from the day's balance once the tent is quiet, with few people or none inside."""
        occupancy = self._totals.occupancy
        if occupancy.people <= self._settings.auto_zero_most and self._is_quiet():
            occupancy.learn_from_quiet()

    def close(self, wall: datetime) -> list[Happening]:
        """Set the tent to empty if configured, at closing time, if nobody has passed for a while."""
        settings, occupancy = self._settings, self._totals.occupancy
        if settings.auto_zero_at is None or not self._is_quiet():
            return []
        local = wall.astimezone(self._zone)
        hour, minute = map(int, settings.auto_zero_at.split(":"))
        since_s = ((local.hour - hour) * 60 + local.minute - minute) * 60 % 86_400
        if since_s > CLOSING_S or occupancy.people > settings.auto_zero_most:
            return []
        if occupancy.people or occupancy.uncertainty(settings) or self._totals.estimated:
            return [self.set_people(0, "closing time")]
        return []

    @property
    def is_obstructed(self) -> bool | None:
        """Whether something blocks the beams; None if unknown."""
        sensor = self._sensor
        obstructed = None if sensor is None else sensor.value("obstructed", self._sensors.at_s)
        return None if obstructed is None else bool(obstructed)

    @property
    def is_doubtful(self) -> bool | None:
        """Whether the door sees what is not people; None if unknown."""
        if not self.both_ways or self._sensor is None:
            return False
        doubtful = self._sensor.value("doubtful", self._sensors.at_s)
        return None if doubtful is None else bool(doubtful)

    @property
    def is_seen(self) -> bool:
        """Whether the sensor works and nothing blocks the beams: who passes is seen."""
        sensor = self._sensor
        return sensor is not None and sensor.quality is Quality.OK and not self.is_obstructed

    @property
    def quality(self) -> Quality:
        """The quality of the number of people inside."""
        quality = self._sensors["door"].quality
        if quality is Quality.OK and self.is_obstructed:
            return Quality.STALE  # people pass unseen while a beam is blocked
        if quality is Quality.OK and self._totals.estimated:
            return Quality.ESTIMATED
        return quality
