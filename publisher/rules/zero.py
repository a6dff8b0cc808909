"""Zeros of current sensors: found by command while no current flows, and kept in the totals."""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from publisher.config.load import SensorSettings
from publisher.rules import calibration
from publisher.rules.sensed import ZERO_READINGS, Sensed
from publisher.rules.totals import Totals
from sensors.reading import Quality
from sensors.trouble import Trouble, declare, marked

NO_ZERO = declare(
    "command.no_zero", marked("{sensor} is no sensor of this unit whose zero can be set")
)
TOO_FEW_READINGS = declare(
    "command.too_few_readings",
    marked("{sensor} has not been read well for long enough"),
    marked("try again in a minute"),
)
CURRENT_FLOWS = declare(
    "command.current_flows",
    marked("{sensor} reads {a:g} A, so a current flows"),
    marked("disconnect all loads and sources first"),
)


class Zeros:
    """The zeros of a unit's current sensors."""

    def __init__(self, totals: Totals, sensors: Iterable[SensorSettings]) -> None:
        """Continue from `totals`; of the `sensors` those on a shunt have a zero."""
        self._totals = totals
        fitted = [(sensor, sensor.traits.shunt_chip) for sensor in sensors]
        self._chips = {sensor.name: chip for sensor, chip in fitted if chip is not None}
        self._shunts = {sensor.name: sensor.config for sensor, chip in fitted if chip is not None}

    def find(self, name: str, sensor: Sensed | None) -> float:
        """Find the zero of a sensor in amperes from its last readings, and keep it.

        Raises Trouble where that is not possible.
        """
        settings = self._shunts.get(name)
        if sensor is None or settings is None:
            raise Trouble(NO_ZERO, sensor=name)
        found = [float(r.value) for r in sensor.uncorrected if r.value is not None]
        if sensor.quality is not Quality.OK or len(found) < ZERO_READINGS:
            raise Trouble(TOO_FEW_READINGS, sensor=name)
        try:
            zero_a = calibration.zero(found, settings.shunt_ohms, self._chips[name])
        except calibration.UnfitReadings as refusal:
            raise Trouble(CURRENT_FLOWS, sensor=name, a=refusal.values["a"]) from refusal
        self._totals.zeros[name] = [zero_a, _checksum(settings)]
        return zero_a

    def valid(self) -> dict[str, float]:
        """Return the zeros that hold, by sensor."""
        return zeros_of(self._totals, self._shunts)


def zeros_of(totals: Totals, shunts: Mapping[str, Any]) -> dict[str, float]:
    """Return the zeros of those sensors whose settings are still those that the zero was found with."""
    return {
        name: zero_a
        for name, (zero_a, checksum) in totals.zeros.items()
        if name in shunts and checksum == _checksum(shunts[name])
    }


def _checksum(settings: object) -> int:
    return zlib.crc32(repr(settings).encode())
