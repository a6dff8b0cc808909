"""The last hour and the last events, with plain values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from publisher.clock import Now
from publisher.rules.happening import Happening
from publisher.unit.hour import MAX_EVENTS, POINTS, Hour
from tests.conftest import Unit, wait_for

START = Now(1_000.0, 90.0, datetime(2026, 11, 22, 18, 0, tzinfo=UTC), synced=True)


def later(seconds: float) -> Now:
    assert START.wall is not None
    return Now(
        START.monotonic_s + seconds,
        START.uptime_s + seconds,
        START.wall + timedelta(seconds=seconds),
        synced=True,
    )


def snapshot(people: int | None, source: str = "mains") -> dict[str, Any]:
    return {
        "capacity": {"people": people},
        "power": {
            "source": source,
            "generator": {"power_w": 0.0, "current_a": None},
            "battery": {"charge_pct": 71.5},
        },
        "climate": {"inside_c": -2.5},
        "co": {"ppm": 12.0},
    }


def test_a_minute_gives_one_point_and_what_is_unknown_is_a_gap() -> None:
    hour = Hour(START)
    assert not hour.is_due(later(10)), "1,020 s is the next whole minute"
    for number, people in enumerate((4, None, 0)):
        now = later(20 + 60 * number)
        assert hour.is_due(now)
        hour.look(snapshot(people, "unknown" if people is None else "mains"), now)
        assert not hour.is_due(now)
    points = hour.report(later(200))["points"]
    assert points["people"] == [4, None, 0]
    assert points["source"] == ["mains", None, "mains"]
    assert points["generator_w"] == [0.0] * 3
    assert points["generator_a"] == [None] * 3
    assert points["battery_pct"] == [71.5] * 3
    assert points["inside_c"] == [-2.5] * 3
    assert points["co_ppm"] == [12.0] * 3


def test_minutes_that_nobody_looked_at_are_gaps() -> None:
    hour = Hour(START)
    hour.look(snapshot(1), later(20))
    hour.look(snapshot(2), later(20 + 180))
    assert hour.report(later(200))["points"]["people"] == [1, None, None, 2]


def test_it_holds_an_hour_however_long_it_lasts() -> None:
    hour = Hour(START)
    for number in range(3 * POINTS):
        hour.look(snapshot(number), later(20 + 60 * number))
    assert hour.report(later(0))["points"]["people"] == list(range(2 * POINTS, 3 * POINTS))
    hour.look(snapshot(7), later(1e7))
    assert hour.report(later(0))["points"]["people"] == [None] * (POINTS - 1) + [7]


def test_what_is_not_fitted_is_a_gap() -> None:
    hour = Hour(START)
    hour.look({"power": {"source": "none"}}, later(20))
    assert {n: p for n, p in hour.report(later(20))["points"].items() if p != [None]} == {
        "source": ["none"]
    }


def test_events_have_the_time_that_is_known_by_now() -> None:
    hour = Hour(replace(START, wall=None, synced=False))
    hour.add(Happening("mains_lost", {"source": "battery"}), replace(later(10), wall=None))
    told = hour.report(replace(later(20), wall=None, synced=False))
    assert (told["since"], told["events"][0]["ts"]) == (None, None)
    assert told["events"][0]["uptime_s"] == 100.0
    told = hour.report(later(30))
    assert told["since"] == "2026-11-22T18:00:00.000Z"
    assert told["events"] == [
        {
            "ts": "2026-11-22T18:00:10.000Z", "uptime_s": 100.0, "event": "mains_lost",
            "detail": {"source": "battery"},
        }
    ]  # fmt: skip


def test_the_last_events_are_kept() -> None:
    hour = Hour(START)
    for people in range(MAX_EVENTS + 5):
        hour.add(Happening("headcount_set", {"people": people}), START)
    kept = [event["detail"]["people"] for event in hour.report(START)["events"]]
    assert kept == list(range(5, MAX_EVENTS + 5))


def test_a_unit_tells_its_last_hour(unit: Unit) -> None:
    unit.start()
    agent = unit.agent
    assert agent is not None
    wait_for(lambda: unit.status()["power"]["source"] == "mains", "mains")
    unit.hardware.set_mains(False)

    def events() -> list[str]:
        return [event["event"] for event in agent._ask({"command": "recent"})["events"]]

    wait_for(lambda: "mains_lost" in events(), "the event")


def test_a_minute_of_a_unit_is_a_point(make_unit: Any, broker: Any) -> None:
    unit: Unit = make_unit(broker.port, speed=60)
    unit.start()
    agent = unit.agent
    assert agent is not None

    def sources() -> list[str | None]:
        found: list[str | None] = agent._ask({"command": "recent"})["points"]["source"]
        return found

    wait_for(lambda: sources()[-2:] == ["mains"] * 2, "two minutes on mains")
