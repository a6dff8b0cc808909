"""The topic `days`: the visitor log's newest lines, retained and never stored."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from publisher.clock import DemoClock, Now
from publisher.rules import day
from publisher.rules.day import Day
from publisher.rules.tent import Tent
from tests.conftest import Broker, Subscriber, Unit, all_well, wait_for
from tests.test_contract import BARE, CONFIG, at, heard
from tests.test_publisher_clock_days import KYIV

DAY_S = 86_400.0


def pass_time(
    tent: Tent, from_s: float, until_s: float, step_s: float = 10.0, **values: Any
) -> None:
    second = from_s
    while second < until_s:
        second += step_s
        tent.apply(heard(second, **values), at(second))


def watched_h(tent: Tent) -> float:
    return sum(float(line["watched_h"]) for line in tent.newest_lines(14))


def closed(tent: Tent) -> list[str]:
    return [line["date"] for line in tent.newest_lines(14) if line["closed"]]


def test_the_door_is_watched_while_its_sensor_works_and_nothing_blocks_it() -> None:
    tent = Tent(CONFIG, at(0))
    tent.apply(heard(0), at(0))
    pass_time(tent, 0, 3600)
    pass_time(tent, 3600, 7200, door_obstructed=True)
    tent.tick(at(7200 + 4 * 3600))  # silent: seen until its last reading is too old
    assert watched_h(tent) == pytest.approx(1.0, abs=0.01)
    pass_time(tent, 7200 + 4 * 3600, 7200 + 4.5 * 3600)
    assert watched_h(tent) == pytest.approx(1.5, abs=0.02)


def test_a_tent_without_a_door_sensor_watches_none() -> None:
    tent = Tent(BARE, at(0))
    tent.tick(at(0))
    [line] = tent.newest_lines(14)
    assert (line["watched_h"], line["closed"]) == (None, False)


def test_the_last_fourteen_closed_days_and_the_running_one() -> None:
    tent = Tent(CONFIG, at(0))
    for number in range(20):
        tent.apply(heard(number * DAY_S, door_entered=number + 1), at(number * DAY_S))
    lines = tent.newest_lines(14)
    assert [line["closed"] for line in lines] == [True] * 14 + [False]
    assert [line["entered"] for line in lines] == [*range(6, 21)]
    assert lines == sorted(lines, key=lambda line: str(line["date"]))
    assert "told" not in lines[0]


def test_a_restart_goes_on_from_the_visitor_log() -> None:
    tent = Tent(CONFIG, at(0))
    tent.apply(heard(0, door_entered=5), at(0))
    tent.tick(at(DAY_S))
    again = Tent(CONFIG, at(DAY_S + 60), tent.totals.as_dict(), log=tent.take_lines())
    assert again.newest_lines(14) == tent.newest_lines(14)


def test_a_day_that_is_open_again_is_there_once() -> None:
    tent = Tent(CONFIG, at(0))
    tent.apply(heard(0, door_entered=5), at(0))
    tent.tick(at(DAY_S))

    def back(second: float) -> Now:
        return Now(1000.0 + second, 8123.0 + second, at(0).wall, True)

    tent.tick(back(DAY_S + 60))
    lines = tent.newest_lines(14)
    assert [(line["date"], line["closed"]) for line in lines] == [
        ("2026-11-22", False),
        ("2026-11-23", True),
    ]


def test_lines_of_an_earlier_version_have_null_for_what_it_did_not_note() -> None:
    old = day.line(Day(date="2026-11-20", entered=7), KYIV, both_ways=True, mains=True)
    for key in ("watched_h", "inside_min_c", "co_max_ppm", "outages"):
        del old[key]
    tent = Tent(CONFIG, at(0), {}, log=[("2026-11-20", json.dumps({**old, "told": True}))])
    tent.tick(at(0))
    [line, _] = tent.newest_lines(14)
    assert (line["entered"], line["watched_h"], line["inside_min_c"]) == (7, None, None)


def test_damaged_lines_are_left_out() -> None:
    tent = Tent(CONFIG, at(0), {}, log=[("2026-11-20", "{"), ("2026-11-21", "[]")])
    tent.tick(at(0))
    assert closed(tent) == []


def test_what_is_counted_without_a_date_is_in_no_line_yet() -> None:
    tent = Tent(CONFIG, at(0, known=False, synced=False))
    now = at(10, known=False, synced=False)
    tent.apply(heard(10, door_entered=5), now)
    assert tent.newest_lines(14) == []
    pass_time(tent, 10, 60)
    [line] = tent.newest_lines(14)
    assert line["entered"] == 5
    assert line["watched_h"] > 0, "the time without a date counts as well"


# On the wire


def days_in(unit: Unit) -> list[dict[str, Any]]:
    return [json.loads(text) for topic, text in list(unit.sent) if topic.endswith("/days")]


def test_they_come_after_the_state_of_each_connection_and_are_retained(
    unit: Unit, broker: Broker, subscriber: Subscriber
) -> None:
    unit.start()
    subscriber.next("state", all_well)
    wait_for(lambda: bool(days_in(unit)), "the days")
    kinds = [topic.rpartition("/")[2] for topic, _ in unit.sent]
    assert kinds.index("state") < kinds.index("days")
    late = Subscriber(broker.port)
    [running] = late.next("days", retained=True).content["days"]
    assert running["closed"] is False
    broker.stop()
    broker.start()
    wait_for(lambda: len(days_in(unit)) == 2, "the days of the next connection")


def test_a_running_day_is_sent_seldom_and_its_end_at_once(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, speed=600)
    assert isinstance(unit.clock, DemoClock)
    unit.clock._wall = unit.clock._wall.replace(hour=20, minute=30)  # 22:30 or 23:30 in Kyiv
    unit.start()
    subscriber.next("event", lambda m: m["event"] == "day_closed")
    ended = subscriber.next("days", lambda m: any(d["closed"] for d in m["days"])).content
    assert [d["closed"] for d in ended["days"]] == [True, False]
    unit.stop()
    uptimes = [
        json.loads(text)["uptime_s"] for topic, text in unit.sent if topic.endswith("/state")
    ]
    hours = (uptimes[-1] - uptimes[0]) / 3600
    assert len(days_in(unit)) <= hours + 3, "an hour apart, at the connection, at the day's end"
