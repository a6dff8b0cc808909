"""Days by a clock that may be wrong, late or missing: each count goes to its day, once."""

import json
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from publisher.rules import day
from publisher.rules.day import MOST_SPANS, Day, Span, bounds, day_at, extend
from publisher.rules.totals import Totals
from tests.tents import NOON, Unit, config

KYIV = ZoneInfo("Europe/Kyiv")
CLEAR: dict[str, Any] = {"door": {"obstructed": False}}


def kyiv(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=KYIV).astimezone(UTC)


def boot(unit: Unit, wall: datetime | None = None, *, synced: bool = False) -> Unit:
    """Return the unit after a power cut, with a clock of its own."""
    unit.log |= unit.tent.take_lines()
    saved = json.loads(json.dumps(unit.tent.totals.as_dict()))
    log = unit.log.items()
    return Unit(unit.config, saved, wall=wall, synced=synced, boot=unit.boot + 1, log=log)


def counted(unit: Unit) -> tuple[int, int]:
    """Return how many people entered: by the days including today, and by the totals."""
    log = unit.log | dict(unit.tent.take_lines())
    unit.log = log
    lines = [json.loads(body) for date, body in log.items() if date != unit.tent.totals.day.date]
    total = sum(line["entered"] for line in lines) + unit.tent.totals.day.entered
    return total, unit.tent.totals.occupancy.entered_total


def days(unit: Unit) -> list[tuple[str, int, bool]]:
    return [(d["date"], d["entered"], d["estimated"]) for d in unit.details("day_closed")]


# When a day begins and ends


@pytest.mark.parametrize(
    ("zone", "on", "hours"),
    [
        # Of years that no new version of the zones changes.
        ("Europe/Kyiv", "2022-11-22", 24),
        ("Europe/Kyiv", "2022-03-27", 23),
        ("Europe/Kyiv", "2022-10-30", 25),
        ("Australia/Lord_Howe", "2022-04-03", 24.5),
        ("Australia/Lord_Howe", "2022-10-02", 23.5),
        ("Asia/Beirut", "2022-03-27", 23),  # no midnight: the day begins at one
        ("Asia/Beirut", "2022-10-29", 25),  # the hour before midnight comes twice
        ("America/Havana", "2022-11-06", 25),  # the hour after midnight comes twice
        (
            "America/St_Johns",
            "2006-10-29",
            25,
        ),  # a minute after midnight it is the day before again
        ("Pacific/Apia", "2011-12-30", 0),  # a skipped day
    ],
)
def test_a_day_has_the_hours_that_its_zone_gives_it(zone: str, on: str, hours: float) -> None:
    today = bounds(date.fromisoformat(on), ZoneInfo(zone))
    assert today.length_s == hours * 3600
    if hours:
        assert day_at(today.begins, ZoneInfo(zone)) == today
        assert day_at(today.ends - timedelta(microseconds=1), ZoneInfo(zone)) == today
    assert day_at(today.ends, ZoneInfo(zone)).date > on
    assert day_at(today.ends + timedelta(minutes=30), ZoneInfo(zone)).date > on


def test_the_line_of_a_long_day_has_its_hours() -> None:
    unit = Unit(config("mains"), wall=kyiv("2026-10-25T00:00:00"))
    unit.tent.totals.day.mains_s = 25 * 3600.0  # all of it
    unit.wall = kyiv("2026-10-26T00:00:00")
    unit.now_s += 25 * 3600
    unit.take()
    unit.tent.totals.day.mains_s = 0.0
    assert [d["mains_h"] for d in unit.details("day_closed")] == []
    unit = Unit(config("mains"), wall=kyiv("2026-10-25T00:00:00"))
    unit.take()
    unit.tent.totals.day.mains_s = 26 * 3600.0  # more than a day has
    unit.now_s += 25 * 3600
    assert unit.wall is not None
    unit.wall += timedelta(hours=25)
    unit.take()
    assert [d["mains_h"] for d in unit.details("day_closed")] == [25.0]


# A clock that is not set


@pytest.mark.parametrize("guess", ["none", "past", "years ahead", "right"])
def test_a_clock_that_nobody_vouches_for_closes_no_day_and_hides_today(guess: str) -> None:
    unit = Unit(config("door", "mains"))
    unit.hear("door", entered=3, obstructed=False)
    later = NOON + timedelta(hours=3)
    walls = {"past": NOON - timedelta(hours=9), "years ahead": NOON.replace(year=2099)}
    again = boot(unit, {"none": None, "right": later, **walls}[guess])
    for _ in range(3):
        assert "day_closed" not in again.hear("door", entered=1, obstructed=False)
        again.wait(60, mains={"present": True}, **CLEAR)
    state = again.snapshot()
    assert state["capacity"]["entered_today"] is None
    assert state["capacity"]["entered_total"] == 6
    assert state["power"]["mains"]["hours_today"] is None
    again.wall, again.synced = later + timedelta(seconds=180), True
    assert again.wait(1, **CLEAR) == []
    state = again.snapshot()
    assert state["capacity"]["entered_today"] == 6
    assert state["power"]["mains"]["hours_today"] == 0.05
    assert not again.tent.totals.day.estimated, "it cannot have been another day"
    assert counted(again) == (6, 6)


def test_a_clock_that_is_set_is_news() -> None:
    unit = Unit(config("door"), wall=None, synced=False)
    unit.wait(5, **CLEAR)
    before = unit.tent.fingerprint()
    unit.wait(5, **CLEAR)
    assert unit.tent.fingerprint() == before
    unit.wall, unit.synced = NOON, True
    unit.wait(1, **CLEAR)
    assert unit.tent.fingerprint() != before


def test_what_was_counted_before_the_clock_was_set_goes_to_its_days_by_the_uptime() -> None:
    unit = Unit(config("door", "mains"))
    unit.hear("door", entered=3)
    unit = boot(unit)
    for entered in (10, 20, 40):  # at 22:30, 23:30 and 00:30
        unit.wait(1800, mains={"present": True}, **CLEAR)
        unit.hear("door", entered=entered)
        unit.wait(1800, mains={"present": True}, **CLEAR)
    unit.wall, unit.synced = kyiv("2026-11-23T01:00:00"), True
    assert unit.wait(1, **CLEAR) == ["day_closed"]
    (line,) = unit.details("day_closed")
    assert (line["date"], line["entered"]) == ("2026-11-22", 33)
    assert line["mains_h"] == pytest.approx(2.0, abs=0.02)
    state = unit.snapshot()
    assert state["capacity"]["entered_today"] == 40
    assert state["power"]["mains"]["hours_today"] == pytest.approx(1.0, abs=0.02)
    assert unit.tent.totals.undated == []
    assert counted(unit) == (73, 73)


def test_days_without_a_clock_are_told_apart_when_it_is_set() -> None:
    unit = Unit(config("door"), wall=None, synced=False)
    unit.hear("door", obstructed=False)
    for _ in range(5 * 24):
        unit.now_s += 3600
        unit.hear("door", entered=1, obstructed=False)
    assert len(unit.tent.totals.undated) <= MOST_SPANS
    unit.wall, unit.synced = kyiv("2026-11-23T12:00:00"), True
    unit.take()
    told = days(unit)
    assert [date for date, _, _ in told] == [f"2026-11-{n}" for n in (18, 19, 20, 21, 22)]
    assert all(estimated for _, _, estimated in told)
    assert all(abs(entered - 24) <= 6 for _, entered, _ in told[1:]), told
    assert counted(unit) == (120, 120)


def test_a_boot_that_never_knew_the_time_is_of_the_one_day_between_two_certain_times() -> None:
    unit = Unit(config("door"))
    unit.hear("door", entered=1)
    for _ in range(3):
        unit = boot(unit)
        unit.wait(600, **CLEAR)
        unit.hear("door", entered=10)
    unit = boot(unit, NOON + timedelta(hours=5), synced=True)
    unit.hear("door", entered=100)
    assert unit.tent.totals.day.entered == 131
    unit.wall = NOON + timedelta(days=1)
    unit.take()
    assert days(unit) == [("2026-11-22", 131, True)], "the clock was stepped"


def test_where_it_may_have_been_several_days_each_says_so_and_nothing_is_lost() -> None:
    unit = Unit(config("door"))
    unit.hear("door", entered=1)
    unit = boot(unit)
    unit.wait(600, **CLEAR)
    unit.hear("door", entered=10)
    unit = boot(unit, NOON + timedelta(days=3), synced=True)
    unit.hear("door", entered=100)
    assert days(unit) == [("2026-11-22", 11, True)], "as early as can have been"
    assert unit.tent.totals.day.estimated, "it may have been today"
    assert counted(unit) == (111, 111)


def test_hours_that_are_undated_never_fill_a_day_with_more_than_it_has() -> None:
    unit = Unit(config("mains"), wall=kyiv("2026-11-22T00:00:00"))
    unit.wait(1, mains={"present": True})
    for _ in range(22 * 60):
        unit.now_s += 14
        unit.hear("mains", present=True)
    unit.tent.totals.day.mains_s = 22 * 3600.0
    unit.tent.totals.saved = "2026-11-22T20:00:00Z"  # 22:00 in Kyiv
    unit = boot(unit)
    for _ in range(6 * 240):
        unit.now_s += 15
        unit.hear("mains", present=True)
    unit = boot(unit, kyiv("2026-11-24T12:00:00"), synced=True)
    unit.hear("mains", present=True)
    told = {d["date"]: d["mains_h"] for d in unit.details("day_closed")}
    assert told["2026-11-22"] == pytest.approx(24.0, abs=0.05)
    assert told["2026-11-23"] == pytest.approx(4.0, abs=0.05)
    assert max(told.values()) <= 24.0


def test_a_clock_that_lost_its_time_service_goes_on_to_the_next_day() -> None:
    unit = Unit(config("door"))
    unit.hear("door", entered=2)
    unit.synced, unit.held = False, True
    unit.wall = NOON + timedelta(days=1)
    unit.now_s += 86_400
    unit.hear("door", entered=1, obstructed=False)
    assert days(unit) == [("2026-11-22", 2, False)]
    assert unit.snapshot()["capacity"]["entered_today"] == 1


@pytest.mark.parametrize("seed", range(5))
def test_however_many_boots_have_no_time_what_they_carry_stays_small(seed: int) -> None:
    chance, spans = random.Random(seed), list[Span]()
    entered, lasted_s = 0, 0.0
    for number in range(200):
        at_s = 0.0
        for _ in range(chance.randrange(1, 60)):
            step_s = chance.choice((1.0, 700.0, 2000.0))
            span = extend(spans, number, at_s, at_s + step_s, 7)
            span.entered += 3
            at_s += step_s
            entered, lasted_s = entered + 3, lasted_s + step_s
        assert len(spans) <= MOST_SPANS
    assert sum(span.entered for span in spans) == entered
    assert sum(span.end_s - span.begin_s for span in spans) == pytest.approx(lasted_s)
    assert len(json.dumps([span.as_list() for span in spans])) < 2500
    assert [Span.restore(span.as_list()) for span in spans] == spans


@pytest.mark.parametrize(
    "wrong", [None, {}, [], [1], ["a"] * 10, [1, 0, 0, 0, 0, 0, 0, 1, 5, 2], [-1] + [0] * 9,
              [0.5] + [0] * 9, [True] + [0] * 9, [0] * 4 + [float("nan")] + [0] * 5]
)  # fmt: skip
def test_a_span_that_cannot_be_is_left_out(wrong: Any) -> None:
    assert Span.restore(wrong) is None
    good = Span(entered=2, boot=3, begin_s=1.0, end_s=2.0)
    totals = Totals.restore({"undated": [wrong, good.as_list()]})
    assert totals.undated == [good]
    assert Totals.restore({"undated": wrong}).undated == []


def test_a_part_and_the_rest_are_the_whole() -> None:
    whole = day.Counts(entered=7, left=1, passed=3, peak=5, mains_s=100.0)
    taken = whole.take_share(0.3)
    assert (taken.entered + whole.entered, taken.left + whole.left) == (7, 1)
    assert (taken.entered, taken.mains_s, taken.peak, whole.peak) == (2, 30.0, 5, 5)


# A clock that is set again


def test_what_comes_after_a_step_back_over_midnight_is_added_to_the_days_line() -> None:
    unit = Unit(config("door"), wall=kyiv("2026-11-22T23:59:00"))
    unit.hear("door", entered=5)
    assert unit.wait(120, **CLEAR) == ["day_closed"]  # its clock was two minutes ahead
    unit.hear("door", entered=7)
    unit.wall = kyiv("2026-11-22T23:59:00")
    unit.hear("door", entered=1, obstructed=False)
    assert unit.snapshot()["capacity"]["entered_today"] == 6
    assert counted(unit) == (13, 13)
    assert unit.wait(60, **CLEAR) == ["day_closed"]
    assert unit.snapshot()["capacity"]["entered_today"] == 7
    first, again = unit.details("day_closed")
    assert (first["date"], first["entered"], first["again"]) == ("2026-11-22", 5, False)
    assert (again["date"], again["entered"], again["again"]) == ("2026-11-22", 6, True)
    assert again["estimated"]
    assert counted(unit) == (13, 13)
    unit.wall = kyiv("2026-11-24T00:00:00")
    unit.take()
    assert unit.details("day_closed")[2]["entered"] == 7
    assert not unit.details("day_closed")[2]["again"]


@pytest.mark.parametrize("away", [timedelta(days=30), timedelta(hours=20), timedelta(days=4000)])
def test_a_time_service_that_was_ahead_for_a_while_leaves_no_day_behind(away: timedelta) -> None:
    unit = Unit(config("door"))
    unit.hear("door", entered=5)
    unit.wall = NOON + away
    unit.hear("door", entered=10)
    unit.wait(60, **CLEAR)
    unit.wall = NOON + timedelta(minutes=2)
    unit.hear("door", entered=100)
    assert unit.tent.totals.day.date == "2026-11-22"
    assert unit.tent.totals.day.entered == 115
    assert counted(unit) == (115, 115)
    unit.wall = NOON + timedelta(days=1)
    unit.take()
    assert [(*line[:2], d["again"]) for line, d in zip(
        days(unit), unit.details("day_closed"), strict=True
    )] == [("2026-11-22", 5, False), ("2026-11-22", 115, True)]  # fmt: skip


def test_a_day_that_was_ahead_twice_is_counted_once() -> None:
    unit = Unit(config("door"), wall=NOON + timedelta(days=9))
    unit.hear("door", entered=10)
    for entered in (1, 2):
        unit.wall = NOON
        unit.hear("door", entered=entered)
        assert counted(unit)[0] == counted(unit)[1]
        unit.wall = NOON + timedelta(days=9)
        unit.hear("door", entered=entered * 100)
        assert counted(unit)[0] == counted(unit)[1]
    assert unit.tent.totals.day.entered == 310


def test_a_time_service_that_was_behind_for_a_while_mixes_no_days() -> None:
    unit = Unit(config("door"), wall=NOON - timedelta(days=30))
    unit.hear("door", entered=80)
    unit.wall = NOON
    unit.hear("door", entered=5)
    for wall, entered in ((NOON - timedelta(days=30), 1), (NOON + timedelta(hours=1), 2)):
        unit = unit.restart()  # the log is the store's, over power cuts too
        unit.wall = wall
        unit.hear("door", entered=entered)
        assert counted(unit)[0] == counted(unit)[1]
    assert unit.tent.totals.day.date == "2026-11-22"
    assert unit.tent.totals.day.entered == 7
    log = {date: json.loads(body)["entered"] for date, body in unit.log.items()}
    assert log["2026-10-23"] == 81


def test_a_line_of_the_log_that_is_damaged_is_begun_anew() -> None:
    for body in ("", "{", "[]", "3", '{"date": 3}', '{"entered": "x", "date": "2026-11-22"}'):
        unit = Unit(config("door"), log=[("2026-11-22", body)])
        unit.hear("door", entered=2)
        unit.wall = NOON + timedelta(days=1)
        unit.take()
        assert [d["entered"] for d in unit.details("day_closed")] == [2]


def test_after_a_step_the_tent_must_be_quiet_again_before_it_counts_as_empty() -> None:
    rules = '[door]\nauto_zero_at = "23:30"\nauto_zero_quiet_h = 1\n'
    unit = Unit(config("door", rules=rules))
    unit.hear("door", entered=3)
    unit.wait(2 * 3600, **CLEAR)
    unit.wall = kyiv("2026-11-23T00:30:00")  # by a time service that is wrong
    assert "headcount_set" not in unit.wait(600, **CLEAR)
    unit.wall = NOON + timedelta(hours=3)
    assert "headcount_set" not in unit.wait(7200, **CLEAR)
    assert unit.tent.totals.occupancy.people == 3


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_clocks_do_each_passage_is_on_one_day(seed: int) -> None:
    chance = random.Random(seed)
    unit = Unit(config("door", "mains"), wall=None, synced=False)
    for _ in range(400):
        unit.now_s += chance.choice((1.0, 60.0, 900.0))
        if chance.random() < 0.1:
            guess = NOON + timedelta(days=chance.uniform(-40, 40))
            unit.wall = chance.choice((None, guess, guess))
            unit.synced = unit.wall is not None and chance.random() < 0.7
        elif unit.wall is not None:
            unit.wall += timedelta(seconds=60)
        unit.hear("door", entered=chance.choice((0, 1, 2)), obstructed=False)
        unit.hear("mains", present=True)
        if chance.random() < 0.1:
            before, unit = unit, unit.restart()
            unit.happened[:0] = before.happened
        unit.log |= unit.tent.take_lines()
        undated = sum(span.entered for span in unit.tent.totals.undated)
        by_day, total = counted(unit)
        assert by_day + undated == total
    first = [d["date"] for d in unit.details("day_closed") if not d["again"]]
    assert len(first) == len(set(first)) > 2


# `since`


def test_since_survives_a_restart_of_the_agent_before_the_clock_is_set() -> None:
    unit = Unit(config("mains"), wall=None, synced=False)
    unit.hear("mains", present=True)
    unit.wait(30, mains={"present": True})
    saved = json.loads(json.dumps(unit.tent.totals.as_dict()))
    again = Unit(unit.config, saved, wall=None, synced=False, boot=unit.boot)
    again.now_s = unit.now_s
    again.hear("mains", present=True)
    again.wall, again.synced = NOON, True
    again.hear("mains", present=True)
    power = again.snapshot()["power"]
    assert (power["since"], "since_estimated" in power) == ("2026-11-22T09:59:30.000Z", False)


def test_since_in_a_boot_that_never_knew_the_time_is_then_or_earlier() -> None:
    unit = Unit(config("mains"))
    unit.hear("mains", present=False)
    unit = boot(unit, NOON.replace(year=2099))
    unit.hear("mains", present=True)
    assert unit.snapshot()["power"]["since"] is None
    unit = boot(unit, NOON + timedelta(hours=2), synced=True)
    unit.hear("mains", present=True)
    power = unit.snapshot()["power"]
    began = NOON + timedelta(hours=2) - timedelta(seconds=unit.now().uptime_s)
    assert datetime.fromisoformat(power["since"]) == began
    assert power["since_estimated"] is True
    again = boot(unit, NOON + timedelta(hours=9), synced=True)
    again.hear("mains", present=True)
    assert again.snapshot()["power"]["since"] == power["since"], "it stands"
    again.hear("mains", present=False)
    again.hear("mains", present=True)
    assert "since_estimated" not in again.snapshot()["power"]


def test_since_is_never_later_than_now() -> None:
    unit = Unit(config("mains"), wall=NOON + timedelta(days=30))
    unit.hear("mains", present=True)
    again = boot(unit, NOON, synced=True)
    again.hear("mains", present=True)
    power = again.snapshot()["power"]
    assert power["since"] < "2026-11-22T10:00:00"
    assert power["since_estimated"] is True


# Totals that could not be read


def test_an_open_day_that_is_read_late_is_closed_not_lost() -> None:
    earlier = Unit(config("door"))
    earlier.hear("door", entered=5)
    unit = Unit(config("door"), {}, wall=NOON + timedelta(days=2))
    unit.hear("door", entered=1)
    (closed,) = unit.tent.add(earlier.tent.totals.as_dict())
    assert (closed.detail["date"], closed.detail["entered"]) == ("2026-11-22", 5)
    assert counted(unit) == (6, 6)


def test_a_day_that_was_closed_already_gets_what_is_read_late() -> None:
    earlier = Unit(config("door"))
    earlier.hear("door", entered=5)
    unit = Unit(config("door"), {})
    unit.hear("door", entered=2)
    unit.wall = NOON + timedelta(days=1)
    unit.hear("door", entered=1)
    (closed,) = unit.tent.add(earlier.tent.totals.as_dict())
    assert (closed.detail["entered"], closed.detail["again"]) == (7, True)
    assert counted(unit) == (8, 8)


@pytest.mark.parametrize("dated", ["undated", "today", "yesterday"])
def test_what_was_known_of_an_earlier_run_is_not_added_again(dated: str) -> None:
    earlier = Unit(config("door"), wall=None if dated == "undated" else NOON)
    earlier.synced = dated != "undated"
    earlier.hear("door", entered=5)
    known = json.loads(json.dumps(earlier.tent.totals.as_dict()))  # from the second place
    earlier.wait(1)
    earlier.hear("door", entered=20)
    unit = Unit(config("door"), known, wall=NOON, boot=2)
    unit.wall = NOON + timedelta(days=1 if dated == "yesterday" else 0)
    unit.hear("door", entered=100)
    happened = unit.tent.add(earlier.tent.totals.as_dict(), known)
    assert [h.detail["entered"] for h in happened] == ([25] if dated == "yesterday" else [])
    unit.hear("door", entered=1000)
    assert counted(unit) == (1125, 1125)


def test_what_is_undated_and_read_late_finds_its_day() -> None:
    earlier = Unit(config("door"), wall=None, synced=False)
    earlier.hear("door", entered=5)
    unit = Unit(config("door"), {}, wall=None, synced=False, boot=2)
    unit.hear("door", entered=1)
    assert unit.tent.add(earlier.tent.totals.as_dict()) == []
    unit.wall, unit.synced = NOON, True
    unit.hear("door", entered=1)
    assert unit.tent.totals.day.entered == 7


# Outages


def test_outages_are_counted_on_the_day_on_which_mains_was_lost() -> None:
    unit = Unit(config("mains"), wall=NOON)
    for present in (True, False, True, False):
        unit.wait(2, mains={"present": present})
    unit.wall = NOON + timedelta(days=1)
    unit.wait(1, mains={"present": False})
    assert unit.details("day_closed")[0]["outages"] == 2
    unit.wait(1, mains={"present": True})
    today, undated = unit.tent.open_lines()
    assert today is not None
    assert (today["date"], today["outages"]) == ("2026-11-23", 0)
    assert undated is None


def test_an_outage_before_the_clock_is_set_finds_its_day() -> None:
    unit = Unit(config("mains"), wall=None, synced=False)
    unit.wait(2, mains={"present": True})
    unit.wait(2, mains={"present": False})
    today, undated = unit.tent.open_lines()
    assert today is None
    assert undated is not None
    assert (undated["date"], undated["outages"]) == ("", 1)
    again = unit.restart()
    again.wall, again.synced = NOON, True
    again.wait(1, mains={"present": False})
    today, undated = again.tent.open_lines()
    assert today is not None
    assert (today["date"], today["outages"]) == ("2026-11-22", 1)
    assert undated is None


def test_where_mains_is_not_watched_outages_are_not_known() -> None:
    unit = Unit(config("door"))
    unit.hear("door", entered=1)
    today, _ = unit.tent.open_lines()
    assert today is not None
    assert today["outages"] is None


def test_spans_and_lines_of_the_version_before_are_read_without_outages() -> None:
    old = [2, 1, 0, 5, 10.0, 0.0, 3.0, 7, 1.0, 2.0]
    span = Span(entered=2, left=1, peak=5, mains_s=10.0, battery_s=3.0, boot=7, begin_s=1, end_s=2)
    assert Span.restore(old) == span
    assert span.as_list() == old, "the version before can read what lost nothing"
    span.outages = 3
    assert span.as_list() == [*old, 3]
    assert Span.restore([*old, 3]) == span
    assert Span.restore([*old, -1]) is None
    assert Span.restore([*old, 3, -4.5, 12.0, -1.0]) is None
    assert Span.restore([*old, 3, -4.5, 12.0, 900.0, 0]) is None
    line = day.line(Day(date="2026-11-22", outages=4), KYIV, both_ways=True, mains=True)
    del line["outages"]
    assert day.from_line(line).outages == 0
    assert not day.differ(line, day.line(day.from_line(line), KYIV, both_ways=True, mains=True))


def test_a_part_of_outages_and_the_rest_are_the_whole() -> None:
    whole = day.Counts(outages=5)
    taken = whole.take_share(0.4)
    assert (taken.outages, whole.outages) == (2, 3)
    whole.add(taken)
    whole.subtract(day.Counts(outages=4))
    assert whole.outages == 1
