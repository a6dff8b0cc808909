"""The tent's calendar: which day it is, where counts go, and the visitor log."""

import json
import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from publisher.clock import Now, instant, timestamp
from publisher.rules import day
from publisher.rules.day import Counts, Day
from publisher.rules.happening import Happening
from publisher.rules.totals import Totals

#: A time of day that moves by more than this against the uptime was set anew. (A leap second is one.)
STEP_S = 2.0
#: The certain time of day is saved this often.
SAVE_S = 1.0


class Calendar:
    """Days in the tent's zone. What survives a power cut is in `day`, `undated` and `saved` of totals.

    While the time of day is not certain, counts go to spans of uptime. They get their days when the
    clock is set.
    """

    def __init__(
        self,
        totals: Totals,
        zone: ZoneInfo,
        now: Now,
        *,
        boot: int,
        log: Iterable[tuple[str, str]],
        both_ways: bool,
        mains: bool,
        door: bool,
    ) -> None:
        """Continue from `totals` and the visitor log so far: (date, what `take_lines` gave for it).

        `both_ways` says whether the door tells which way people go, `mains` and `door` whether they are
        watched.
        """
        self._totals = totals
        self._zone = zone
        self._boot = boot
        self._log = dict(log)
        self._fitted = {"both_ways": both_ways, "mains": mains, "door": door}
        self._new_lines: dict[str, str] = {}  # of the log, for the next `take_lines`
        self._uptime_s = now.uptime_s
        self._save_due_s = -math.inf
        self._began: datetime | None = None  # as it was when the time of day was last found
        self._today: day.Bounds | None = None
        self._is_leap = False  # the open day was begun by a step of the clock
        #: Where to count what happens now.
        self.counts: Counts = totals.day
        #: Seconds that today has lasted; None while the date is not known.
        self.today_s: float | None = None
        #: Whether the last `advance` found the time of day (again), and whether it had been set anew.
        self.was_found = self.was_set = False

    @property
    def began(self) -> datetime | None:
        """The time of day at uptime 0; None while it is not certain."""
        return None if self.today_s is None else self._began

    def advance(
        self,
        now: Now,
        people: int,
        *,
        mains_s: float,
        generator_s: float,
        battery_s: float,
        watched_s: float,
    ) -> list[Happening]:
        """Let time pass up to `now`; return the days that have been closed.

        The seconds are those since the last call with mains, the generator running, the battery as the
        source, and the door seen. `people` are inside now.
        """
        counts, began = self.counts, now.began
        if began is None:
            counts = self.counts = day.extend(
                self._totals.undated, self._boot, self._uptime_s, now.uptime_s, people
            )
        counts.mains_s += mains_s
        counts.generator_s += generator_s
        counts.battery_s += battery_s
        counts.watched_s += watched_s
        self._uptime_s = now.uptime_s
        self.was_found = self.was_set = False
        if now.wall is None or began is None:
            self.today_s = None
            return []
        happened = self._keep_days(now.wall, began, people)
        if now.monotonic_s >= self._save_due_s:
            self._totals.saved = timestamp(now.wall)
            self._save_due_s = now.monotonic_s + SAVE_S
        return happened

    def add(self, other: Day) -> list[Happening]:
        """Add a day that an earlier run had counted; return it if the visitor log has changed."""
        if not day.is_date(other.date):
            return []
        earlier = self._line_of(other.date)
        if earlier is not None:
            other.add(day.from_line(earlier))
        return self._close_day(other)

    # The visitor log

    def has_lines(self) -> bool:
        """Say whether `take_lines` has something."""
        return bool(self._new_lines)

    def take_lines(self) -> list[tuple[str, str]]:
        """Return the new lines of the visitor log: (date, JSON, in place of an earlier one)."""
        lines, self._new_lines = self._new_lines, {}
        return list(lines.items())

    def open_lines(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return today's line so far, and one of the counts without a day; None where there is none."""
        return self._totals.open_lines(self._zone, **self._fitted)

    def newest_lines(self, most: int) -> list[dict[str, Any]]:
        """Return the lines of the last `most` closed days and of the running one, oldest first.

        Each says whether it is `closed`. Values that an earlier version did not note are None.
        """
        running, _ = self.open_lines()
        open_date = "" if running is None else running["date"]
        dates = sorted(date for date in self._log if date != open_date)[-most:]
        found = [(date, self._line_of(date), True) for date in dates]
        found.append((open_date, running, False))
        keys = day.line(Day(), self._zone, **self._fitted)
        return [
            {"date": date, "closed": closed} | {key: line.get(key) for key in keys}
            for date, line, closed in sorted(found, key=lambda one: one[0])
            if line is not None
        ]

    def _keep_line(self, kept: Day, *, reported: bool) -> dict[str, Any]:
        line = day.line(kept, self._zone, **self._fitted)
        self._log[kept.date] = self._new_lines[kept.date] = json.dumps({**line, "told": reported})
        return line

    def _line_of(self, date: str) -> dict[str, Any] | None:
        """Return the day's line in the visitor log; None if there is none that makes sense."""
        return day.read_line(self._log.get(date, ""), date)

    def _was_reported(self, date: str) -> bool:
        line = self._line_of(date)
        return line is not None and line.get("told") is True

    # Days

    def _keep_days(self, wall: datetime, began: datetime, people: int) -> list[Happening]:
        """Begin a new day if it is one, and give their days to counts that had none."""
        totals, happened = self._totals, []
        self._check_clock(wall, began)
        if totals.undated:
            for piece in day.dated(
                totals.undated, self._boot, began, instant(totals.saved or ""), self._zone
            ):
                happened += self._turn_to(piece.date, people)
                totals.day.add(piece.counts)
                totals.day.estimated |= not piece.sure
            totals.undated.clear()
        today = self._today
        if today is None or not today.begins <= wall < today.ends:
            today = self._today = day.day_at(wall, self._zone)
        if today.date != totals.day.date:
            happened += self._turn_to(today.date, people)
        self.counts = totals.day
        self.today_s = (wall - today.begins).total_seconds()
        return happened

    def _check_clock(self, wall: datetime, began: datetime) -> None:
        """See whether the time of day is new, and whether it contradicts an earlier one."""
        if self._began is None:
            last = instant(self._totals.saved or "")
            self.was_set = last is not None and (last - wall).total_seconds() > STEP_S
            self.was_found = True
        elif abs((began - self._began).total_seconds()) > STEP_S:
            self.was_set = self.was_found = True
        if self.was_found:
            self._began = began
            self._today = None

    def _turn_to(self, today: str, people: int) -> list[Happening]:
        """Make `today` the open day: close the one before it, or reopen one that was closed."""
        before = self._totals.day
        if today == before.date:
            return []
        if not before.date:
            before.date = today
            return []
        before.estimated |= self.was_set
        happened, moved = [], None
        if today > before.date:
            happened = self._close_day(before)
            self._is_leap = self.was_set
        elif self._is_leap and before.date not in self._log:
            # The step that began this day is undone: what was counted since is of the day before.
            moved, self._is_leap = before, False
        else:  # one of the two clocks was wrong, and nobody can tell which: each day keeps its own
            self._keep_line(before, reported=self._was_reported(before.date))
        self._totals.day = self._open_day(today, people)
        self._totals.day.estimated |= self.was_set
        if moved is not None:
            self._totals.day.add(moved)
        return happened

    def _open_day(self, today: str, people: int) -> Day:
        """Return the day as it stands in the visitor log, else a new one."""
        earlier = self._line_of(today)
        return Day(date=today, peak=people) if earlier is None else day.from_line(earlier)

    def _close_day(self, closed: Day) -> list[Happening]:
        """Put a day into the visitor log and report it; again only if it differs."""
        again = self._was_reported(closed.date)
        earlier = self._line_of(closed.date)
        line = self._keep_line(closed, reported=True)
        if again and earlier is not None and not day.differ(earlier, line):
            return []
        return [Happening("day_closed", {**line, "again": again})]
