"""Days in the tent's zone, their lines of the visitor log, and counts whose day is not known yet.

A unit has no clock chip: what it counts after a boot, before its clock is set, has an uptime and no
date. Spans keep such counts until the time of day is certain. Then they go to their days.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo

from publisher.clock import FIRST_YEAR, YEAR_LIMIT
from sensors.json_in import LARGEST_EXACT, parsed

#: Length of a span at first: with short spans little is divided at a midnight.
SPAN_S = 900.0
#: The most spans: beyond it the shortest are joined, because every record saves them all.
MOST_SPANS = 24
#: Longest time of all spans together, in seconds: ten years.
LONGEST_UNDATED_S = 3.2e8

#: A difference of hours up to this does not cause a second report of a day.
REPORTED_DIFFERENCE_H = 0.1

ABSOLUTE_ZERO_C = -273.15

PEOPLE = ("entered", "left", "passed")
POWER = ("mains_s", "generator_s", "battery_s")
SECONDS = (*POWER, "watched_s")
#: Counts in whole numbers.
WHOLE = (*PEOPLE, "outages")
#: Extreme readings, by what makes one of two; None where there was none.
EXTREMES: dict[str, Callable[[float, float], float]] = {"inside_min_c": min, "co_max_ppm": max}
#: The order in which a span is saved. The last ones, which earlier versions lack, are saved if there is
#: something in them.
_SPAN_FIELDS = (
    *PEOPLE, "peak", *POWER, "boot", "begin_s", "end_s", "outages", *EXTREMES, "watched_s",
)  # fmt: skip
_ALWAYS_SAVED = _SPAN_FIELDS.index("outages")


@dataclass(slots=True)
class Counts:
    """People, seconds of each kind of power, how often mains was lost, and extreme readings.

    `peak` is the largest number of people inside at once, `watched_s` how long the door was seen.
    """

    entered: int = 0
    left: int = 0
    passed: int = 0
    peak: int = 0
    mains_s: float = 0.0
    generator_s: float = 0.0
    battery_s: float = 0.0
    watched_s: float = 0.0
    outages: int = 0
    inside_min_c: float | None = None
    co_max_ppm: float | None = None

    def note(self, name: str, value: float | None) -> None:
        """Note a reading, to one decimal, if it is more extreme than those before; `name` is of EXTREMES."""
        if value is None:
            return
        before, value = getattr(self, name), round(value, 1)
        setattr(self, name, value if before is None else EXTREMES[name](before, value))

    def add(self, other: "Counts") -> None:
        """Add what was counted at another time."""
        for name in (*WHOLE, *SECONDS):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.peak = max(self.peak, other.peak)
        for name in EXTREMES:
            self.note(name, getattr(other, name))

    def subtract(self, known: "Counts") -> None:
        """Subtract what is known already; no count falls below 0, and extremes stay."""
        for name in (*WHOLE, *SECONDS):
            setattr(self, name, max(0, getattr(self, name) - getattr(known, name)))

    def take_share(self, share: float) -> "Counts":
        """Move a share (0 to 1) out of these counts and return it."""
        extremes = {name: getattr(self, name) for name in EXTREMES}
        taken = Counts(peak=self.peak, **extremes)
        for name in (*WHOLE, *SECONDS):
            whole = getattr(self, name)
            part = round(whole * share) if name in WHOLE else whole * share
            setattr(taken, name, part)
            setattr(self, name, whole - part)
        return taken


@dataclass(slots=True)
class Day(Counts):
    """The counts of one day; `date` is in the tent's zone, and empty until it is known."""

    date: str = ""
    estimated: bool = False  # some of it may belong to another day, or some may be missing


@dataclass(slots=True)
class Span(Counts):
    """Counts between two uptimes of a boot, while the date was not known."""

    boot: int = 0
    begin_s: float = 0.0
    end_s: float = 0.0

    @classmethod
    def restore(cls, saved: object) -> Self | None:
        """Build a span from `as_list`; None where that is not possible."""
        if not isinstance(saved, list) or not _ALWAYS_SAVED <= len(saved) <= len(_SPAN_FIELDS):
            return None
        values = dict(zip(_SPAN_FIELDS, saved, strict=False))
        for name, value in values.items():
            if name in EXTREMES:
                if not is_extreme(name, value):
                    return None
                continue
            declared = cls.__dataclass_fields__[name]
            kinds = (int, float) if type(declared.default) is float else (int,)
            if type(value) not in kinds or not 0 <= value <= LARGEST_EXACT:
                return None
        span = cls(**values)
        return span if span.begin_s <= span.end_s else None

    @classmethod
    def restore_all(cls, saved: object) -> list[Self]:
        """Build spans from a list of `as_list`; leave out those that are damaged."""
        found: list[Self] = []
        length_s = 0.0
        for one in saved if isinstance(saved, list) else ():
            span = cls.restore(one)
            if span is None or span.end_s > LONGEST_UNDATED_S:
                continue
            length_s += span.end_s - span.begin_s
            if length_s <= LONGEST_UNDATED_S and len(found) < 2 * MOST_SPANS:
                found.append(span)
        return found

    def as_list(self) -> list[float | None]:
        """Return plain values for JSON."""
        # Written out, because every record saves up to two dozen of them.
        people = self.entered, self.left, self.passed, self.peak
        power = round(self.mains_s, 3), round(self.generator_s, 3), round(self.battery_s, 3)
        saved: list[float | None] = [
            *people,
            *power,
            self.boot,
            round(self.begin_s, 3),
            round(self.end_s, 3),
        ]
        # An earlier version treats a longer list as damage; most spans have nothing more.
        extremes = self.inside_min_c, self.co_max_ppm
        if self.watched_s:
            return [*saved, self.outages, *extremes, round(self.watched_s, 3)]
        if extremes != (None, None):
            return [*saved, self.outages, *extremes]
        return [*saved, self.outages] if self.outages else saved


class Piece(NamedTuple):
    """Counts with their day. `sure` is False if it could have been another day."""

    date: str
    counts: Counts
    sure: bool


class Bounds(NamedTuple):
    """A day in the tent's zone, and the instants (UTC) at which it begins and ends."""

    date: str
    begins: datetime
    ends: datetime

    @property
    def length_s(self) -> float:
        """The length of the day in seconds: 23, 24 or 25 hours, in some zones others."""
        return (self.ends - self.begins).total_seconds()


def is_extreme(name: str, value: object) -> bool:
    """Say whether a saved value can be one of EXTREMES."""
    if value is None:
        return True
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return least(name) <= value <= LARGEST_EXACT


def least(name: str) -> float:
    """Return the least possible value of a number that is saved.

    Temperatures (`…_c`) may be negative, and so may a place's latitude and longitude.
    """
    if name in ("latitude", "longitude"):
        return -180.0
    return ABSOLUTE_ZERO_C if name.endswith("_c") else 0.0


def is_date(text: str) -> bool:
    """Say whether a text is an ISO date in the years that are believed."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return False
    return found.isoformat() == text and FIRST_YEAR <= found.year < YEAR_LIMIT


def bounds(day: date, zone: ZoneInfo) -> Bounds:
    """Return when a day begins and ends: at midnight, or at the next instant if a clock skips it."""
    begins, ends = (
        datetime(at.year, at.month, at.day, tzinfo=zone).astimezone(UTC)
        for at in (day, day + timedelta(days=1))
    )
    return Bounds(day.isoformat(), begins, ends)


def day_at(wall: datetime, zone: ZoneInfo) -> Bounds:
    """Return the day at an instant. A clock that is set back over midnight does not repeat a day."""
    today = bounds(wall.astimezone(zone).date(), zone)
    if wall < today.ends:
        return today
    return bounds(date.fromisoformat(today.date) + timedelta(days=1), zone)


def extend(spans: list[Span], boot: int, from_s: float, until_s: float, peak: int) -> Span:
    """Return the span for counts at the uptime `until_s` of this boot; add one to `spans` if need be.

    The time that is booked with these counts begins at the uptime `from_s`.
    """
    span = spans[-1] if spans and spans[-1].boot == boot else None
    if span is None or until_s < span.end_s or until_s - span.begin_s > SPAN_S:
        span = Span(boot=boot, begin_s=min(from_s, until_s), end_s=until_s, peak=peak)
        spans.append(span)
        _join(spans, boot)
    span.end_s = until_s
    return span


def _join(spans: list[Span], boot: int) -> None:
    """Join neighbours, the shortest pair first, until MOST_SPANS are left; the last one stays open.

    Of spans of earlier boots only the length counts.
    """
    while len(spans) > MOST_SPANS:
        pairs = [
            (b.end_s - b.begin_s + a.end_s - a.begin_s, i)
            for i, (a, b) in enumerate(pairwise(spans[:-1]))
            if (a.boot == boot) == (b.boot == boot)
        ]
        _, first = min(pairs)
        a, b = spans[first], spans.pop(first + 1)
        a.end_s = b.end_s if b.boot == boot else a.end_s + b.end_s - b.begin_s
        a.add(b)


def dated(
    spans: Sequence[Span], boot: int, began: datetime, last: datetime | None, zone: ZoneInfo
) -> Iterator[Piece]:
    """Yield the counts of spans by day, in order of time.

    `began` is the time of day at uptime 0 of this boot, which dates its own spans. Spans of earlier
    boots lie between `last`, the last certain time before them (None: there was none), and `began`. If
    that is a single day, it is theirs. Otherwise they are laid out from `last` on, as early as
    possible, and every day that they may have touched is not sure.
    """
    adrift = [span for span in spans if span.boot != boot]
    if adrift:
        first, today = day_at(last or began, zone), day_at(began, zone)
        sure = last is not None and last <= began and first.date == today.date
        latest = began - timedelta(seconds=sum(span.end_s - span.begin_s for span in adrift))
        at = latest if last is None or last > latest else last
        if not sure:
            yield Piece(min(first, day_at(at, zone)).date, Counts(), sure=False)
        for span in adrift:
            until = at + timedelta(seconds=span.end_s - span.begin_s)
            if sure:
                yield Piece(today.date, span, sure=True)
            else:
                yield from _by_day(span, at, until, zone, sure=False)
            at = until
        if not sure:
            yield Piece(today.date, Counts(), sure=False)
    for span in spans:
        if span.boot == boot:
            begin, end = (began + timedelta(seconds=s) for s in (span.begin_s, span.end_s))
            yield from _by_day(span, begin, end, zone, sure=True)


def _by_day(
    counts: Counts, begin: datetime, end: datetime, zone: ZoneInfo, *, sure: bool
) -> Iterator[Piece]:
    """Divide counts at each midnight, as if they had come evenly."""
    while end > (today := day_at(begin, zone)).ends:
        sure = False
        yield Piece(today.date, counts.take_share((today.ends - begin) / (end - begin)), sure)
        begin = today.ends
    yield Piece(today.date, counts, sure)


def line(
    day: Day, zone: ZoneInfo, *, both_ways: bool, mains: bool, door: bool = True
) -> dict[str, Any]:
    """Return a day as the contract's `day_closed` reports it; no hours exceed the day's length.

    `both_ways` says whether the door tells which way people go, `mains` and `door` whether they are watched.
    """
    length_s = bounds(date.fromisoformat(day.date), zone).length_s if day.date else math.inf
    hours = {s: round(min(getattr(day, s), length_s) / 3600, 2) for s in SECONDS}
    return {
        "date": day.date,
        "entered": day.entered if both_ways else None,
        "left": day.left if both_ways else None,
        "passed": day.entered + day.left + day.passed,
        "peak": day.peak if both_ways else None,
        "mains_h": hours["mains_s"],
        "generator_h": hours["generator_s"],
        "battery_h": hours["battery_s"],
        "outages": day.outages if mains else None,
        "watched_h": hours["watched_s"] if door else None,
        **{name: getattr(day, name) for name in EXTREMES},
        "estimated": day.estimated,
    }


def from_line(line: dict[str, Any]) -> Day:
    """Return the day of a line of the visitor log, so that counting can continue."""
    entered, left = line.get("entered") or 0, line.get("left") or 0
    return Day(
        entered=entered,
        left=left,
        passed=max(0, line.get("passed", 0) - entered - left),
        peak=line.get("peak") or 0,
        mains_s=line.get("mains_h", 0.0) * 3600,
        generator_s=line.get("generator_h", 0.0) * 3600,
        battery_s=line.get("battery_h", 0.0) * 3600,
        watched_s=(line.get("watched_h") or 0.0) * 3600,
        outages=line.get("outages") or 0,
        **{name: line.get(name) for name in EXTREMES},
        date=line["date"],
        estimated=True,
    )


def read_line(text: str, date: str) -> dict[str, Any] | None:
    """Return a saved line of the visitor log; None if it is damaged or of another date."""
    try:
        line = parsed(text)
        found = from_line(line)
        counted = [getattr(found, name) for name in (*WHOLE, "peak", *SECONDS)]
        is_sane = (
            found.date == date
            and all(0 <= n <= LARGEST_EXACT for n in counted)
            and all(is_extreme(name, getattr(found, name)) for name in EXTREMES)
        )
    except (ValueError, TypeError, AttributeError, KeyError, ArithmeticError):
        return None
    return dict(line) if is_sane else None


def differ(earlier: dict[str, Any], line: dict[str, Any]) -> bool:
    """Say whether two lines of one date differ by more than seconds."""
    return any(
        abs(earlier[key] - value) > REPORTED_DIFFERENCE_H
        if key.endswith("_h") and None not in (earlier[key], value)
        else earlier[key] != value
        for key, value in line.items()
        if key != "estimated" and key in earlier  # an earlier version's line lacks newer keys
    )
