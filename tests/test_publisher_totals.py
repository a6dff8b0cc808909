"""Totals that could not be read come back: once, plus the counts made meanwhile."""

from publisher.config.load import parse
from publisher.recording import DURABLE_KEYS
from publisher.rules.day import Day, Span
from publisher.rules.occupancy import Occupancy
from publisher.rules.totals import Totals
from tests.tents import SENSORS, Unit


def earlier(**more: int) -> Totals:
    """Return the totals at the end of a run: `more` of each than at the last copy."""
    entered, generator_s, starts = (more.get(k, 0) for k in ("entered", "generator_s", "starts"))
    return Totals(
        occupancy=Occupancy(
            people=10 + entered,
            entered_total=50 + entered,
            left_total=40,
            entered_since=5 + entered,
        ),
        day=Day(date="2026-11-22", entered=20 + entered, peak=12 + entered, mains_s=100.0),
        undated=[Span(entered=3, boot=1, end_s=10.0), Span(entered=entered, boot=2, end_s=5.0)],
        generator_s=3600.0 + generator_s,
        generator_starts=4 + starts,
        serviced_s=1800.0,
        zeros={"generator": [0.1, 1.0]},
    )


def restored(totals: Totals) -> Totals:
    return Totals.restore(totals.as_dict())


def test_what_was_known_of_them_counts_once() -> None:
    known, newest = earlier(), earlier(entered=3, generator_s=60, starts=1)
    mine = restored(known)
    mine.estimated = True
    mine.occupancy.apply(2, 1)
    mine.generator_s += 30.0
    mine.day.entered += 2
    mine.day.mains_s += 7.0
    mine.zeros["battery"] = [0.2, 2.0]
    assert mine.add(newest.as_dict(), known.as_dict()) is None
    assert mine.occupancy.entered_total == 50 + 3 + 2
    assert mine.occupancy.left_total == 40 + 1
    assert mine.occupancy.people == 13 + 2 - 1
    assert mine.occupancy.entered_since == 5 + 3 + 2
    assert mine.generator_s == 3600.0 + 60 + 30
    assert mine.generator_starts == 5
    assert mine.serviced_s == 1800.0
    assert (mine.day.entered, mine.day.mains_s, mine.day.peak) == (25, 107.0, 15)
    assert mine.zeros == {"generator": [0.1, 1.0], "battery": [0.2, 2.0]}


def test_nothing_new_in_them_changes_nothing() -> None:
    mine = restored(earlier(entered=3))
    mine.estimated = True
    before, undated = mine.as_dict(), sum(span.entered for span in mine.undated)
    mine.add(earlier(entered=3).as_dict(), earlier(entered=3).as_dict())
    assert sum(span.entered for span in mine.undated) == undated == 6
    assert mine.as_dict() | {"undated": []} == before | {"undated": []}


def test_a_headcount_made_meanwhile_stands() -> None:
    known, newest = earlier(), earlier(entered=3)
    mine = restored(known)
    mine.occupancy.headcount(7)
    mine.add(newest.as_dict(), known.as_dict())
    assert mine.occupancy.people == 7
    assert mine.occupancy.entered_total == 53


def test_what_was_said_last_of_the_tent_stands() -> None:
    for mine_says, known_says, earlier_said, stands in (
        (None, None, True, True),  # said after the second place was written
        (True, True, False, False),
        (False, True, True, False),  # said in this run
        (True, None, False, True),
    ):
        known, newest = earlier(), earlier()
        known.is_open, newest.is_open = known_says, earlier_said
        mine = restored(known)
        mine.is_open = mine_says
        mine.add(newest.as_dict(), known.as_dict())
        assert mine.is_open is stands


def test_a_service_noted_meanwhile_counts_from_its_own_hour() -> None:
    known, newest = earlier(), earlier(generator_s=60)
    mine = restored(known)
    mine.serviced_s = mine.generator_s
    mine.add(newest.as_dict(), known.as_dict())
    assert mine.serviced_s == mine.generator_s == 3660.0


def test_every_key_that_comes_from_the_totals_is_stored_before_it_is_shown() -> None:
    """Two units with the same readings differ in what one of them remembers, and nowhere else."""
    counted = parse(
        '[tent]\nid = "t"\nseats = 10\n[broker]\nhost = "b"\n[generator]\nrunning_hold_s = 0\n'
        '[battery]\ncapacity_ah = 100\nchemistry = "lead_acid"\n'
        + SENSORS["mains"]
        + SENSORS["generator"]
        + SENSORS["generator"].replace("generator", "battery")
        + "address = 0x41\n"
    )

    def live(unit: Unit, seconds: float, battery_a: float, battery_v: float) -> None:
        engine_a = 10.0 if battery_a > 0 else 0.0
        unit.wait(
            seconds,
            mains={"present": True},
            generator={"current_a": engine_a, "voltage_v": 13.0, "power_w": 13.0 * engine_a},
            battery={"current_a": battery_a, "voltage_v": battery_v},
        )

    unit = Unit(counted)
    hours = ((60, -5.0, 12.5), (3600, 10.0, 14.4), (7200, 0.4, 14.4), (600, -5.0, 12.5))
    for seconds, battery_a, battery_v in hours:
        live(unit, seconds, battery_a, battery_v)
    remembers = unit.restart()
    knows_nothing = Unit(counted, wall=remembers.wall)
    for either in (remembers, knows_nothing):
        live(either, 30, -5.0, 12.5)
    some, others = remembers.snapshot()["power"], knows_nothing.snapshot()["power"]
    differ = {
        key
        for block in ("mains", "generator", "battery")
        for key, value in some[block].items()
        if value != others[block][key]
    }
    assert {"hours_today", "starts_total", "charge_pct"} <= differ
    # These follow from the charge and from what is measured now.
    assert differ - {
        "time_to_empty_min", "time_to_empty_min_low", "reserve_min", "reserve_min_low", "quality"
    } <= {*DURABLE_KEYS}  # fmt: skip
