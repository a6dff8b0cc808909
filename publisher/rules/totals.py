"""What a tent remembers across a power cut: one dataclass, and how it is saved and restored."""

import re
from dataclasses import dataclass, field, is_dataclass
from typing import Any, get_args, get_type_hints
from zoneinfo import ZoneInfo

from publisher.clock import LONGEST_UPTIME_S
from publisher.config.sections import LONGEST_NAME
from publisher.rules import day
from publisher.rules.charge_state import Charge
from publisher.rules.co import PEAK_PIECES, Exposure
from publisher.rules.day import EXTREMES, SECONDS, WHOLE, Day, Span, is_date, least
from publisher.rules.occupancy import Occupancy
from publisher.rules.site import Site
from publisher.rules.tank import Fuel
from sensors.json_in import LARGEST_EXACT

#: No text of the totals is longer, in characters.
LONGEST_TEXT = LONGEST_NAME
#: A line of the visitor log, as `day.line` makes it.
Line = dict[str, Any]
_ALERT = re.compile("[a-z_]{1,40}")

_EMPTY_CHARGE = Charge()
_EMPTY_EXPOSURE = Exposure()
_NO_FUEL = Fuel()
_NO_SITE = Site()
_DAY_FIELDS = ("date", *WHOLE, "peak", *SECONDS, "estimated")


@dataclass(slots=True)
class Totals:
    """All that must survive a power cut."""

    occupancy: Occupancy = field(default_factory=Occupancy)
    estimated: bool = False  # people may have passed while the unit was off or the door blind
    is_open: bool | None = None  # whether the tent takes people in: somebody has said so
    day: Day = field(default_factory=Day)
    undated: list[Span] = field(default_factory=list)  # counts of a time without a known date
    generator_s: float = 0.0
    generator_starts: int = 0
    serviced_s: float | None = None  # `generator_s` at the generator's last service
    charge: Charge = field(default_factory=Charge)
    co: Exposure = field(default_factory=Exposure)
    fuel: Fuel = field(default_factory=Fuel)
    typical_load_a: float | None = (
        None  # what the battery gives, or would have to give, to the tent
    )
    saved: str | None = None  # the last time of day that is certain
    source: str = "unknown"  # a value of `power.Source`
    since: str | None = None  # when the source took over
    since_estimated: bool = False  # it took over then or earlier
    since_boot: int | None = None  # the boot, and the uptime in it, at which it took over
    since_s: float = 0.0
    mains_on: bool | None = None
    generator_on: bool | None = None
    alerts: list[str] = field(default_factory=list)
    site: Site = field(default_factory=Site)  # of the last run
    #: Zeros found by command, by sensor: [the zero, the checksum of the settings it was found with].
    zeros: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def restore(cls, saved: dict[str, Any]) -> "Totals":
        """Build totals from an earlier `as_dict`.

        Unknown keys and impossible values are left out: what is left of a damaged ledger is worth more
        than a unit that does not start.
        """
        totals = cls()
        _fill(totals, saved)
        totals.alerts = [name for name in totals.alerts if _ALERT.fullmatch(name)]
        if totals.since_s > LONGEST_UPTIME_S:
            totals.since_s = 0.0
        totals.co.repair()
        if not is_date(totals.co.heard or ""):
            totals.co.heard = None
        if not is_date(totals.day.date):
            totals.day.date = ""
        return totals

    def add(self, saved: dict[str, Any], counted: dict[str, Any] | None = None) -> Day | None:
        """Add what an earlier run had counted and this run could not read when it began.

        This run began with the totals `counted`, which are older than `saved`: they are in both.
        Returns the earlier run's open day if it is not this run's.
        """
        earlier, known = Totals.restore(saved), Totals.restore(counted or {})
        mine, theirs, ours = self.occupancy, earlier.occupancy, known.occupancy
        if self.estimated:  # else there was a headcount in this run, which is better than both
            entered, left = (
                mine.entered_total - ours.entered_total,
                mine.left_total - ours.left_total,
            )
            mine.people = max(0, theirs.people + entered - left)
            mine.entered_since += theirs.entered_since - ours.entered_since
            mine.left_since += theirs.left_since - ours.left_since
            mine.entered_lately += max(0, theirs.entered_lately - ours.entered_lately)
            mine.left_lately += max(0, theirs.left_lately - ours.left_lately)
        if self.is_open == known.is_open:  # else somebody has said so in this run
            self.is_open = earlier.is_open
        mine.entered_total += theirs.entered_total - ours.entered_total
        mine.left_total += theirs.left_total - ours.left_total
        mine.passed_total += theirs.passed_total - ours.passed_total
        if self.serviced_s == known.serviced_s:
            self.serviced_s = earlier.serviced_s
        elif self.serviced_s is not None:
            self.serviced_s += earlier.generator_s - known.generator_s
        self.generator_s += earlier.generator_s - known.generator_s
        self.generator_starts += earlier.generator_starts - known.generator_starts
        zeros = {name: zero for name, zero in self.zeros.items() if known.zeros.get(name) != zero}
        self.zeros = earlier.zeros | zeros
        spans = {(span.boot, span.begin_s): span for span in known.undated}
        for span in earlier.undated:
            before = spans.get((span.boot, span.begin_s))
            if before is not None:
                span.subtract(before)
                span.begin_s = min(before.end_s, span.end_s)
        self.undated = earlier.undated + self.undated
        self.co.add(earlier.co)
        if self.fuel.filled_l is None:  # else somebody has told it in this run
            self.fuel = earlier.fuel
        if earlier.saved is not None:
            self.saved = max(self.saved or "", earlier.saved)
        if known.day.date == earlier.day.date:
            earlier.day.subtract(known.day)
        if self.day.date and earlier.day.date and earlier.day.date != self.day.date:
            return earlier.day
        self.day.date = self.day.date or earlier.day.date
        self.day.estimated |= earlier.day.estimated
        self.day.add(earlier.day)
        return None

    def open_lines(self, zone: ZoneInfo, **fitted: bool) -> tuple[Line | None, Line | None]:
        """Return today's line of the visitor log so far, and one of the counts without a day.

        Each is None where there is none. `fitted` are the keywords of `day.line`.
        """
        today = day.line(self.day, zone, **fitted) if self.day.date else None
        if not self.undated:
            return today, None
        undated = Day(estimated=True)
        for span in self.undated:
            undated.add(span)
        return today, day.line(undated, zone, **fitted)

    @property
    def since_service_h(self) -> float:
        """Engine hours of the generator since its last service."""
        return max(0.0, self.generator_s - (self.serviced_s or 0.0)) / 3600

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        # Written out, because every record saves the totals, and `asdict` copies deeply.
        saved = {name: getattr(self, name) for name in self.__slots__}
        occupancy, day = self.occupancy, self.day
        saved["occupancy"] = {inner: getattr(occupancy, inner) for inner in occupancy.__slots__}
        saved["day"] = {inner: getattr(day, inner) for inner in _DAY_FIELDS}
        for name in EXTREMES:
            if (extreme := getattr(day, name)) is not None:
                saved["day"][name] = extreme
        saved["undated"] = [span.as_list() for span in self.undated]
        # Most tents have a monitor: then the charge is as at first, and takes no room in a record.
        saved["charge"] = _changed(self.charge, _EMPTY_CHARGE)
        del saved["co"]
        if self.co != _EMPTY_EXPOSURE:
            saved["co"] = _changed(self.co, _EMPTY_EXPOSURE)
        saved["fuel"] = _changed(self.fuel, _NO_FUEL)
        saved["site"] = _changed(self.site, _NO_SITE)
        saved["alerts"] = list(self.alerts)
        saved["zeros"] = dict(self.zeros)
        return saved


def _changed(part: Any, empty: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that are not as in `empty`, which is of the same class."""
    if part == empty:
        return {}
    values = ((name, getattr(part, name)) for name in part.__slots__)
    return {name: value for name, value in values if value != getattr(empty, name)}


def _fill(part: Any, saved: object) -> None:
    """Set the fields of a dataclass to the values in `saved` that are possible."""
    if not isinstance(saved, dict):
        return
    for name, kind in get_type_hints(type(part)).items():
        if is_dataclass(kind):
            _fill(getattr(part, name), saved.get(name))
        elif kind == list[Span]:
            setattr(part, name, Span.restore_all(saved.get(name)))
        elif name in saved and _is_possible(name, saved[name], kind):
            setattr(part, name, saved[name])


def _is_possible(name: str, value: object, kind: Any) -> bool:
    if kind == list[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == dict[str, list[float]]:
        return isinstance(value, dict) and all(map(_is_zero, value.values()))
    if kind == list[float]:
        numbers = value if isinstance(value, list) and len(value) <= PEAK_PIECES else [None]
        return all(_is_possible(name, number, float) for number in numbers)
    kinds = get_args(kind) or (kind,)
    if type(value) not in kinds and not (type(value) is int and float in kinds):
        return False
    if isinstance(value, str):
        return len(value) <= LONGEST_TEXT and value.isprintable()
    return not isinstance(value, int | float) or least(name) <= value <= LARGEST_EXACT


def _is_zero(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(number) in (int, float) and abs(number) <= LARGEST_EXACT for number in value)
    )
