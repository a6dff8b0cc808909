"""What is known of the battery's charge and survives a power cut."""

from dataclasses import dataclass


@dataclass(slots=True)
class Charge:
    """What is known of one battery; no number is negative.

    `level` is the charge as a share of the capacity. `share` below is the nameplate over the
    capacity. `level_var`, `share_var` and `shared` are the covariance matrix of the two; `shared` is
    negative where `opposed`.
    """

    battery: str = ""  # the battery that all this is about
    level: float | None = None
    capacity_ah: float | None = None  # as learned, in ampere-hours of the sensor
    level_var: float = 0.0
    share_var: float = 0.0
    shared: float = 0.0
    opposed: bool = False
    drifted: float = 0.0  # how far 1 A of offset has moved `level` since its last correction
    charged: float = 0.0  # charge taken in since then, as a share of the capacity
    since_full_s: float | None = None
    charging: bool = False  # the mean current flows into the battery
    mean_a: float = 0.0  # mean current since its last step
    mean_s: float = 0.0  # time that the mean looks back
    swing_a: float = 0.0  # mean deviation of the present current from the mean
    load_a: float | None = None  # typical load
    charge_a: float | None = None  # typical charging current
    ripe: int = 0  # consecutive readings of charge at a voltage at which a charge may end
    low_told: bool = False  # the floor was reached since the last charge
    blind_s: float = 0.0  # time without a current that is not yet accounted for
    blind_longer: bool = False  # … and an unknown time on top
    # Times off whose length is not known yet, and what was assumed of them
    guess_s: float = 0.0
    guess_a: float = 0.0
    guess_charging: bool = False
    guess_swing_a: float = 0.0
    guess_bound_ah: float = 0.0
    guess_left: float = 0.0  # share of that assumption which corrections have left in `level`
    usual_off_s: float | None = None  # typical time for which the unit is off
    # When this was saved (`absence.py`)
    boot: int | None = None
    uptime_s: float = 0.0
    wall_s: float = 0.0  # the last certain time of day, in seconds since 1970
    lived_s: float = 0.0  # uptime since then
    off_untold: bool = False  # how long the unit was off since then is not known yet
