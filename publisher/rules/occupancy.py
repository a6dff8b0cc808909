"""How many people are in the tent, and by how many the count may be wrong."""

import math
from dataclasses import dataclass

from publisher.config.door import DoorSettings

#: Standard deviations that the reported uncertainty covers: 95 % of all cases.
COVERED_SIGMA = 2.0
#: The same where the deviation is learned from a few days only.
LEARNED_SIGMA = 2.3
#: The configured shares weigh as much as this many lessons.
PRIOR_LESSONS = 0.2
#: With fewer passages nothing is learned. More lessons than this are forgotten, the oldest first.
LEAST_PASSAGES, MOST_LESSONS = 100, 20
#: While the door is doubted, the variance of the count grows by this with each person and each hour.
DOUBT_PERSON, DOUBT_HOUR = 0.1, 2.0


@dataclass(slots=True)
class Occupancy:
    """People inside and the totals since installation; `apply` and `headcount` change it."""

    people: int = 0
    entered_total: int = 0
    left_total: int = 0
    passed_total: int = 0  # people whose direction is unknown: all of them with a single beam
    entered_since: int = 0  # since the last headcount
    left_since: int = 0
    #: What has passed since the number inside was last known: by a headcount, or because the tent was empty.
    entered_lately: int = 0
    left_lately: int = 0
    known: int = 0  # people inside at that time
    offset: int = 0  # by how many the count was above it then
    doubted: float = 0.0  # variance from times in which the door was doubted since
    #: What the door's balances have shown: the number of lessons, and the sum of error² / passages.
    lessons: float = 0.0
    errors: float = 0.0

    def apply(self, entered: int, left: int, passed: int = 0) -> None:
        """Count people who came in, went out or passed. Below 0 an arrival was missed: 0 it is."""
        self.entered_total += entered
        self.left_total += left
        self.passed_total += passed
        self.entered_since += entered
        self.left_since += left
        self.entered_lately += entered
        self.left_lately += left
        self.people = max(0, self.people + entered - left)

    def headcount(self, people: int) -> None:
        """Set the people inside to a person's count; the totals stay as they were counted."""
        self._learn(people)
        self.people = people
        self.entered_since = self.left_since = self.offset = 0

    def learn_from_quiet(self) -> None:
        """Learn from the balance of a day at whose end the tent is quiet, so probably empty.

        The count stays as it is, and counts as wrong by itself: those inside may be asleep.
        """
        if self.entered_lately + self.left_lately >= LEAST_PASSAGES:
            self._learn(0)
            self.offset = self.people

    def doubt(self, passed_s: float = 0.0, people: int = 0) -> None:
        """Note a time, or people counted, while the door saw what is not people."""
        self.doubted += DOUBT_HOUR * passed_s / 3600 + DOUBT_PERSON * people

    def _learn(self, people: int) -> None:
        """Learn by how much the count since then was wrong; there are `people` inside now."""
        passages = self.entered_lately + self.left_lately
        if passages >= LEAST_PASSAGES and not self.doubted:
            error = self.known + self.entered_lately - self.left_lately - people
            kept = min(1.0, (MOST_LESSONS - 1) / max(1.0, self.lessons))
            self.lessons = self.lessons * kept + 1
            self.errors = self.errors * kept + error * error / passages
        self.known, self.entered_lately, self.left_lately, self.doubted = people, 0, 0, 0.0

    def uncertainty(self, door: DoorSettings) -> int:
        """Return the largest error of the count, in people, that 95 % of all cases stay within.

        If a share p of the passages is missed, n counted ones come with n·p/(1−p) missed ones on
        average, and a variance of n·p/(1−p)² (the negative binomial distribution). Missed arrivals and
        missed departures cancel on average, but their variances add up. The balance at the end of each day
        shows the variance that the door really has: it is a mean of both, by what each is worth.
        """
        drift, variance = 0.0, 0.0
        for counted, share, sign in (
            (self.entered_lately, door.missed_in, 1),
            (self.left_lately, door.missed_out, -1),
        ):
            drift += sign * counted * share / (1 - share)
            variance += counted * share / (1 - share) ** 2
        sigma, weight = COVERED_SIGMA, 1.0
        if self.lessons:
            sigma, weight = LEARNED_SIGMA, PRIOR_LESSONS / (PRIOR_LESSONS + self.lessons)
            learned = (self.entered_lately + self.left_lately) * self.errors / self.lessons
            variance = weight * variance + (1 - weight) * learned
        spread = sigma * math.sqrt(variance + self.doubted)
        return math.ceil(weight * abs(drift) + math.hypot(spread, self.offset))
