"""How many people are in the tent, and by how many the count may be wrong."""

import math
from dataclasses import dataclass

from publisher.config.door import DoorSettings

#: Standard deviations that the reported uncertainty covers: 95 % of all cases.
COVERED_SIGMA = 2.0


@dataclass(slots=True)
class Occupancy:
    """People inside and the totals since installation; `apply` and `headcount` change it."""

    people: int = 0
    entered_total: int = 0
    left_total: int = 0
    passed_total: int = 0  # people whose direction is unknown: all of them with a single beam
    entered_since: int = 0  # since the last headcount
    left_since: int = 0

    def apply(self, entered: int, left: int, passed: int = 0) -> None:
        """Count people who came in, went out or passed. Below 0 an arrival was missed: 0 it is."""
        self.entered_total += entered
        self.left_total += left
        self.passed_total += passed
        self.entered_since += entered
        self.left_since += left
        self.people = max(0, self.people + entered - left)

    def headcount(self, people: int) -> None:
        """Set the people inside to a person's count; the totals stay as they were counted."""
        self.people = people
        self.entered_since = self.left_since = 0

    def uncertainty(self, door: DoorSettings) -> int:
        """Return the largest error of the count, in people, that 95 % of all cases stay within.

        If a share p of the passages is missed, n counted ones come with n·p/(1−p) missed ones on
        average, and a variance of n·p/(1−p)² (the negative binomial distribution). Missed arrivals and
        missed departures cancel on average, but their variances add up.
        """
        drift, variance = 0.0, 0.0
        for counted, share, sign in (
            (self.entered_since, door.missed_in, 1),
            (self.left_since, door.missed_out, -1),
        ):
            drift += sign * counted * share / (1 - share)
            variance += counted * share / (1 - share) ** 2
        return math.ceil(abs(drift) + COVERED_SIGMA * math.sqrt(variance))
