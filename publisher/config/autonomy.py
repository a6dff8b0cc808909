"""`[autonomy]`: how soon the dark must come to be reported."""

from dataclasses import dataclass

from sensors.settings import setting
from sensors.trouble import marked

#: The alert of a tent that will soon be dark.
AUTONOMY_LOW = "autonomy_low"


@dataclass(frozen=True)
class AutonomySettings:
    """`[autonomy]`: when the tent will be dark too soon."""

    low_min: float = setting(
        120.0,
        doc=marked("dark_in_min_low below which the unit raises autonomy_low, in minutes"),
        low=1,
        high=10_080,
    )
