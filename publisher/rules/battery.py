"""The battery's charge: told by its monitor, or counted here from its current."""

from publisher.clock import Now
from publisher.config.battery import BatterySettings
from publisher.rules.absence import Absence
from publisher.rules.charge import Estimator
from publisher.rules.charge_state import Charge
from publisher.rules.sensed import Sensors
from sensors.reading import Quality

#: A counted charge with an uncertainty of more points than this is not reported at all: half the
#: battery, give or take a quarter, misleads more than it tells.
USELESS_PCT = 25.0
#: Error of a monitor's charge in points that is not exceeded in 95 % of cases.
MONITOR_PCT = 5.0
#: Share of a time to empty that is reached in 19 of 20 cases.
MONITOR_SHARE = 0.8


class Battery:
    """The battery as of the last `apply`. What survives a power cut is in the `Charge` given."""

    def __init__(
        self,
        settings: BatterySettings,
        charge: Charge,
        sensors: Sensors,
        now: Now,
        *,
        boot: int,
        resumes: bool,
    ) -> None:
        """Continue from `charge` in boot number `boot`; `resumes` says if there was a run before."""
        self._sensors = sensors
        self._capacity_ah = settings.capacity_ah
        self._floor_pct = settings.effective("floor_pct")
        #: The estimator of the charge; None where no capacity is given.
        self.estimator: Estimator | None = None
        if settings.capacity_ah is not None:
            self.estimator = Estimator(settings, charge)
            self._absence = Absence(charge, now, boot)
            if resumes:
                self.estimator.resume(*self._absence.before)
        self._fed_s: float | None = None  # the time of the last reading that was given to it
        self._current_a: float | None = None
        self.is_fitted = "battery" in sensors
        #: Whether the charge is counted here, because no monitor tells it.
        self.is_counted = self.estimator is not None
        #: Charge in percent and its uncertainty in points (of a counted one); None if unknown.
        self.charge_pct: float | None = None
        self.uncertainty_pct: float | None = None

    def apply(self, now: Now) -> None:
        """Take what the sensors say now."""
        if not self.is_fitted:
            return
        sensors = self._sensors
        sensor, estimator = sensors["battery"], self.estimator
        self.charge_pct, self.uncertainty_pct = sensors.number("battery", "charge_pct"), None
        self._current_a = sensors.number("battery", "current_a")
        if estimator is None:
            return
        if (off_s := self._absence.tell_off(now)) is not None:
            estimator.tell_off(off_s)
        self._absence.live(now)
        self.is_counted = self.charge_pct is None
        if not self.is_counted:
            return
        self._feed(estimator, now.monotonic_s)
        if sensor.quality is Quality.OK:
            self.uncertainty_pct = estimator.uncertainty_pct
            if self.uncertainty_pct is not None and self.uncertainty_pct <= USELESS_PCT:
                self.charge_pct = estimator.charge_pct

    def _feed(self, estimator: Estimator, now_s: float) -> None:
        """Give the newest reading to the estimator: once, or time only while there is no current."""
        reading = self._sensors["battery"].values.get("current_a")
        at_s = now_s if self._current_a is None or reading is None else reading.at_s
        if at_s == self._fed_s:
            return
        self._fed_s = at_s
        measured = self._sensors.numbers("battery", "voltage_v", "cell_max_v")
        estimator.apply(self._current_a, measured["voltage_v"], at_s, measured["cell_max_v"])

    @property
    def left_ah(self) -> tuple[float, float] | None:
        """What it can still give, and what it can in 19 of 20 cases at least; None if not known."""
        if self.charge_pct is None or self._capacity_ah is None:
            return None
        if self.is_counted and self.estimator is not None:
            return self.estimator.usable_ah
        low_pct = max(0.0, self.charge_pct - self._floor_pct - MONITOR_PCT)
        return self.charge_pct * self._capacity_ah / 100, low_pct * self._capacity_ah / 100

    @property
    def time_to_empty_min(self) -> tuple[float | None, float | None]:
        """Minutes until it is empty, and how many in 19 of 20 cases at least; None where not known."""
        if self.is_counted and self.estimator is not None:
            if self.charge_pct is None:
                return None, None
            return self.estimator.time_to_empty_min, self.estimator.time_to_empty_min_low
        likely = self._sensors.number("battery", "time_to_empty_min")
        return likely, None if likely is None else likely * MONITOR_SHARE

    @property
    def has_charge(self) -> bool | None:
        """Whether it can feed the tent; None if unknown."""
        if self._current_a is not None and self._current_a < 0:  # whatever its charge is said to be
            return True
        return None if self.charge_pct is None else self.charge_pct > 0

    @property
    def alarm(self) -> bool | None:
        """Whether its monitor raises an alarm; None if unknown."""
        values = self._sensors["battery"].values if self.is_fitted else {}
        if values and "alarm" not in values:
            return False  # another device, which has no alarm
        alarm = self._sensors.value("battery", "alarm")
        return None if alarm is None else bool(alarm)
