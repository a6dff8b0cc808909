"""How many people are in the tent, and how far the count can have drifted."""

import math
from dataclasses import dataclass

#: Share of passages that two beams miss, in each direction, until the door's own rates are known.
MISS_RATE = 0.03


@dataclass(slots=True)
class Occupancy:
    """People inside and the totals since installation; `apply` and `headcount` change it."""

    people: int = 0
    entered_total: int = 0
    left_total: int = 0
    passages_since_headcount: int = 0

    def apply(self, entered: int, left: int) -> None:
        """Count people who came in and went out; fewer than nobody is a missed arrival."""
        self.entered_total += entered
        self.left_total += left
        self.passages_since_headcount += entered + left
        self.people = max(0, self.people + entered - left)

    def headcount(self, people: int) -> None:
        """Take a person's count for the truth; the totals stay as they were counted."""
        self.people = people
        self.passages_since_headcount = 0

    @property
    def uncertainty(self) -> int:
        """How many people the count may be off: missed passages since the last headcount."""
        return math.ceil(MISS_RATE * self.passages_since_headcount)
