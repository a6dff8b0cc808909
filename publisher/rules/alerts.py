"""The tent's alerts: which ones stand, and with what hysteresis."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from publisher.config.autonomy import AUTONOMY_LOW
from publisher.config.climate import COLD
from publisher.config.co import ALARM, SENSOR_OLD, SENSOR_TEST, WARNING

#: The alerts that the tent's own rules raise; others come from the generator and the unit.
BATTERY_LOW, BATTERY_ALARM = "battery_low", "battery_alarm"
DOOR_OBSTRUCTED, DOOR_DOUBTFUL = "door_obstructed", "door_doubtful"
OWN = (
    BATTERY_LOW, BATTERY_ALARM, DOOR_OBSTRUCTED, DOOR_DOUBTFUL, AUTONOMY_LOW, COLD, WARNING, ALARM,
    SENSOR_OLD, SENSOR_TEST,
)  # fmt: skip

#: The charge must rise this many points above the warning level before the warning goes.
BATTERY_HYSTERESIS_PCT = 5.0


class Change(NamedTuple):
    """Alerts that were raised and cleared, each in alphabetical order."""

    raised: list[str]
    cleared: list[str]


class Alerts:
    """The alerts that stand."""

    def __init__(self, standing: Iterable[str]) -> None:
        """Continue with the alerts that stood before."""
        #: The alerts that stand.
        self.standing = frozenset(standing)
        self._noticed: frozenset[str] = frozenset()

    def __contains__(self, alert: str) -> bool:
        """Say whether an alert stands."""
        return alert in self.standing

    def notice(self, noticed: Mapping[str, bool]) -> bool:
        """Take alerts that were noticed outside the tent's rules; return whether this is new."""
        raised = {name for name, on in noticed.items() if on}
        before = self._noticed
        self._noticed = before.difference(noticed) | raised
        return self._noticed != before

    def apply(self, own: Mapping[str, bool | None], others: Iterable[str]) -> Change | None:
        """Take the tent's own alerts (None: unknown) and others that stand; return what has changed.

        Unknown is not well: an alert that stands stays while nobody can tell.
        """
        before = self.standing
        own_standing = [name for name, on in own.items() if (name in before if on is None else on)]
        standing = self._noticed.union(others, own_standing)
        if standing == before:
            return None
        self.standing = standing
        return Change(sorted(standing - before), sorted(before - standing))

    def as_list(self) -> list[str]:
        """Return the alerts that stand, in alphabetical order."""
        return sorted(self.standing)


def is_low(
    charge_pct: float | None, uncertainty_pct: float | None, low_pct: float, *, was_low: bool
) -> bool | None:
    """Return whether a battery is low; None if its charge is unknown."""
    if charge_pct is None:
        return None
    if was_low:  # what may still be low is not well
        return charge_pct < low_pct + max(BATTERY_HYSTERESIS_PCT, uncertainty_pct or 0.0)
    return charge_pct < low_pct
