"""The event `moved`: name, place or seats were changed in the configuration since the run before."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from publisher.config.load import Config
from publisher.rules.happening import Happening
from publisher.rules.tent import Tent
from tests.conftest import Broker, Subscriber, Unit, all_well, wait_for
from tests.test_contract import BARE, CONFIG, at

HERE = {
    "name": "Bucha, sports centre",
    "latitude": 50.5469,
    "longitude": 30.212,
    "region": "UA-32",
    "seats": 60,
}


def changed(**tent: Any) -> Config:
    return replace(CONFIG, tent=replace(CONFIG.tent, **tent))


def moved(happened: list[Happening]) -> list[dict[str, Any]]:
    return [h.detail for h in happened if h.event == "moved"]


def saved_by(config: Config) -> dict[str, Any]:
    tent = Tent(config, at(0))
    assert not moved(tent.tick(at(0))), "a first run has not moved"
    return tent.totals.as_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Буча, «спортзал»"},
        {"name": "x" * 200},
        {"latitude": -33.9, "longitude": -70.6},
        {"latitude": None, "longitude": None},
        {"region": None},
        {"seats": 80},
        {"seats": 80, "name": "", "latitude": 1, "longitude": 2, "region": "UA-30"},
    ],
)
def test_a_change_is_reported_once_with_old_and_new(change: dict[str, Any]) -> None:
    tent = Tent(changed(**change), at(60), saved_by(CONFIG))
    assert moved(tent.tick(at(60))) == [{**HERE, **change, "before": HERE}]
    assert not moved(tent.tick(at(61)))
    again = Tent(changed(**change), at(120), tent.totals.as_dict())
    assert not moved(again.tick(at(120)))
    back = Tent(CONFIG, at(180), again.totals.as_dict())
    assert moved(back.tick(at(180))) == [{**HERE, "before": {**HERE, **change}}]


def test_the_same_configuration_and_other_keys_are_no_move() -> None:
    for config in (CONFIG, changed(timezone="Europe/Warsaw", lamp="identify")):
        assert not moved(Tent(config, at(60), saved_by(CONFIG)).tick(at(60)))
    assert not moved(Tent(BARE, at(60), saved_by(BARE)).tick(at(60)))


def test_totals_of_an_earlier_version_and_lost_ones_do_not_say_where_the_tent_was() -> None:
    earlier = saved_by(CONFIG)
    del earlier["site"]
    damaged: list[dict[str, Any]] = [{"site": {"name": 5, "seats": "many"}}, {"site": []}]
    for totals in (earlier, {}, None, *damaged):
        assert not moved(Tent(changed(seats=80), at(60), totals).tick(at(60)))


def test_a_move_that_could_not_be_seen_is_reported_when_the_totals_are_read() -> None:
    before = saved_by(CONFIG)
    tent = Tent(changed(seats=80), at(60), {})
    assert not moved(tent.tick(at(60)))
    assert moved(tent.add(before)) == [{**HERE, "seats": 80, "before": HERE}]
    tent = Tent(changed(seats=80), at(60), before)
    assert moved(tent.tick(at(60)))
    assert not moved(tent.add(before, before)), "it was seen at the start"
    assert not moved(Tent(CONFIG, at(60), {}).add(before))


def test_the_unit_reports_it_in_the_first_record(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port).start()
    seats = subscriber.next("state", all_well).content["capacity"]["seats"]
    unit.stop()
    unit.config = replace(unit.config, tent=replace(unit.config.tent, seats=seats + 20))
    unit.start()
    wait_for(lambda: any('"moved"' in text for _, text in unit.sent), "the event")
    unit.stop()
    messages = [json.loads(text) for _, text in unit.sent]
    records = [r for m in messages for r in m.get("records", [m]) if r.get("event") == "moved"]
    assert [r["detail"]["seats"] for r in records] == [seats + 20]
    assert records[0]["detail"]["before"]["seats"] == seats
