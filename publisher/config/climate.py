"""`[climate]`: from which temperature on, and after which time, the tent is too cold."""

from dataclasses import dataclass

from sensors.settings import setting
from sensors.trouble import marked

#: The alert of a tent that is too cold.
COLD = "cold"


@dataclass(frozen=True)
class ClimateSettings:
    """`[climate]`: when the tent is too cold."""

    cold_c: float = setting(
        14.0, doc=marked("temperature inside below which the tent is cold"), low=-30, high=30
    )
    cold_hold_s: float = setting(
        900.0, doc=marked("time below cold_c until the alert, and above it until the alert clears"),
        low=0, high=86_400,
    )  # fmt: skip
