"""`[door]`: the accuracy of the count at the door."""

from dataclasses import dataclass

from sensors.settings import setting
from sensors.trouble import marked


@dataclass(frozen=True)
class DoorSettings:
    """`[door]`: the accuracy of the count at the door, and when it may be set to zero."""

    missed_in: float = setting(
        0.05, doc=marked("share of the people entering whom the door misses"), low=0, high=0.5
    )
    missed_out: float = setting(
        0.05, doc=marked("share of the people leaving whom the door misses"), low=0, high=0.5
    )
    auto_zero_at: str | None = setting(
        None,
        doc=marked("closing time, HH:MM in the tent's zone: after it a quiet tent counts as empty"),
        pattern=r"([01][0-9]|2[0-3]):[0-5][0-9]",
    )
    auto_zero_quiet_h: float = setting(
        2.0, doc=marked("hours without a passage after which the tent is quiet"), low=0.5, high=12
    )
    auto_zero_most: int = setting(
        10,
        doc=marked("a larger count is not set to zero: people may be asleep"),
        low=1,
        high=10_000,
    )
