"""`[co]`: the age and the test of the sensor of carbon monoxide. The alarm's times are fixed."""

from dataclasses import dataclass
from datetime import date

from publisher.config.faults import NO_SUCH_DATE, Fault, shown
from sensors.settings import setting
from sensors.trouble import Trouble, marked

WARNING, ALARM = "co_warning", "co_alarm"
SENSOR_OLD, SENSOR_TEST = "co_sensor_old", "co_sensor_test"


@dataclass(frozen=True)
class CoSettings:
    """`[co]`: when its sensor is too old, and when it asks to be tested."""

    fitted: str | None = setting(
        None,
        doc=marked("day on which the sensor was fitted new, as 2026-11-22"),
        pattern=r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    )
    life_years: float = setting(
        5.0, doc=marked("years after which the sensor is too old"), low=1, high=10
    )
    test_after_days: float = setting(
        7.0, doc=marked("days with the same reading after which to ask for a test"), low=1, high=365
    )

    def faults(self) -> list[Fault]:
        """Return the fault that the date is none."""
        if self.fitted is None or self.fitted_on is not None:
            return []
        return [("fitted", Trouble(NO_SUCH_DATE, date=shown(self.fitted)))]

    @property
    def fitted_on(self) -> date | None:
        """The day on which the sensor was fitted; None where nobody has said it."""
        try:
            return None if self.fitted is None else date.fromisoformat(self.fitted)
        except ValueError:
            return None
