"""The time of a record whose clock was set late, in some boots, or never."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from publisher import messages
from publisher.agent import Agent
from publisher.clock import DemoClock, Now, timestamp
from publisher.link.stamps import Stamps
from publisher.rules.happening import Happening
from publisher.store.store import Store
from tests import contract
from tests.conftest import Broker, Subscriber, Unit
from tests.tents import NOON, Kernel
from tests.test_publisher_store import connection


class Boots:
    """A store and the boots that use it: each has a record at 10 s and loses power at 20 s."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.number = 0

    def boot(self, guess: datetime | None, right: datetime | None) -> None:
        """Begin a boot whose clock shows `guess`, and is set at 20 s: the boot then began at `right`."""
        self.number += 1
        self.clock = Kernel(self.at(5.0, guess))
        self.store = Store(self.directory, 1000, 1 << 20)
        self.opened = self.store.open(f"boot {self.number}", self.clock.now())
        if self.store.earliest is not None:
            self.clock.trust_from(self.store.earliest)
        if self.opened.power_cut is not None:
            self.record(5.0, guess, Happening("power_cut", self.opened.power_cut))
        self.record(10.0, guess, Happening("sensor_recovered", {"sensor": "door"}))
        if right is not None:
            self.clock.says = self.at(20.0, right + timedelta(seconds=20), synced=True)
            self.store.append(lambda boot, seq: (), {}, self.clock.now())

    def record(self, uptime_s: float, guess: datetime | None, happening: Happening) -> None:
        self.clock.says = self.at(uptime_s, guess)
        now = self.clock.now()
        self.store.append(
            lambda boot, seq: [("event", messages.event("t", boot, seq, now, happening))], {}, now
        )

    @staticmethod
    def at(uptime_s: float, wall: datetime | None, *, synced: bool = False) -> Now:
        return Now(uptime_s, uptime_s, wall, synced)

    def cut(self) -> None:
        connection(self.store).close()

    def sent(self) -> list[dict[str, Any]]:
        """Return the records that would be sent now, checked against the contract."""
        stamps = Stamps(self.store, self.clock)
        rows = self.store.backlog(0, self.store.last_id(), 1 << 20)
        return [contract.check("tents/v1/t/event", stamps.stamp(row)) for row in rows]


@pytest.fixture
def boots(tmp_path: Path) -> Iterator[Boots]:
    boots = Boots(tmp_path)
    yield boots
    boots.cut()


def test_a_record_waits_for_the_clock_of_its_own_boot(boots: Boots) -> None:
    boots.boot(None, right=None)
    (message,) = boots.sent()
    assert (message["ts"], message["clock"]) == (None, "unsynced")
    boots.clock.says = boots.at(20.0, NOON, synced=True)
    (message,) = boots.sent()
    assert (message["ts"], message["clock"]) == ("2026-11-22T09:59:50.000Z", "synced")
    boots.clock.says = boots.at(30.0, NOON.replace(year=1970))  # its time service is gone
    assert boots.sent() == [message]


def test_an_event_is_dated_by_its_own_uptime_and_not_by_that_of_its_transaction(
    boots: Boots,
) -> None:
    """A flush of the record before may have taken long."""
    boots.boot(None, right=None)
    happened, recorded = boots.at(12.0, None), boots.at(31.8, None)
    happening = Happening("sensor_recovered", {"sensor": "mains"})
    boots.store.append(
        lambda boot, seq: [("event", messages.event("t", boot, seq, happened, happening))],
        {},
        recorded,
    )
    boots.clock.says = boots.at(60.0, NOON, synced=True)
    assert boots.sent()[-1]["ts"] == "2026-11-22T09:59:12.000Z"


@pytest.mark.parametrize("guess", [None, NOON - timedelta(days=2), NOON.replace(year=2099)])
def test_what_a_boot_has_learned_of_the_time_its_records_have_after_a_cut(
    boots: Boots, guess: datetime | None
) -> None:
    boots.boot(guess, right=NOON)
    boots.cut()
    boots.boot(None, right=None)
    first, cut, second = boots.sent()
    assert (first["ts"], first["clock"]) == ("2026-11-22T10:00:10.000Z", "synced")
    assert "ts_estimated" not in first
    assert (cut["ts"], second["ts"]) == (None, None)


def test_an_estimate_stands_only_between_what_is_certain(boots: Boots) -> None:
    boots.boot(None, right=NOON)
    boots.cut()
    guesses = (
        NOON - timedelta(hours=1),
        NOON + timedelta(hours=1),
        NOON + timedelta(hours=5),
        NOON.replace(year=2099),
    )
    for guess in guesses:
        boots.boot(guess, right=None)
        boots.cut()
    boots.boot(None, right=None)
    found = [m for m in boots.sent() if m["event"] == "sensor_recovered"]
    assert [m["ts"] and m["ts"][:13] for m in found] == [
        "2026-11-22T10", None, "2026-11-22T11", "2026-11-22T15", "2099-11-22T10", None,
    ]  # fmt: skip
    boots.cut()
    boots.boot(None, right=NOON + timedelta(hours=2))
    boots.cut()
    boots.boot(None, right=NOON + timedelta(hours=8))  # is not the first one after them
    found = [m for m in boots.sent() if m["event"] == "sensor_recovered"]
    assert [(m["ts"] and m["ts"][:13], m["clock"], "ts_estimated" in m) for m in found] == [
        ("2026-11-22T10", "synced", False),
        (None, "unsynced", False),
        ("2026-11-22T11", "unsynced", True),
        (None, "unsynced", False),
        (None, "unsynced", False),
        (None, "unsynced", False),
        ("2026-11-22T12", "synced", False),
        ("2026-11-22T18", "synced", False),
    ]


def test_a_power_cut_is_told_in_full_once_the_clock_is_set(boots: Boots) -> None:
    boots.boot(None, right=NOON)
    boots.cut()
    boots.boot(NOON, right=None)
    assert boots.sent()[1]["detail"] | {"boot": 0} == {
        "boot": 0, "uptime_s": 20.0, "last": "2026-11-22T10:00:20.000Z", "off_s": None,
    }  # fmt: skip
    boots.clock.says = boots.at(20.0, NOON + timedelta(seconds=3635), synced=True)
    assert boots.sent()[1]["detail"]["off_s"] == 3600  # to the record, at 5 s


def test_the_last_sign_of_life_is_of_the_boot_that_was_cut_or_not_known(boots: Boots) -> None:
    boots.boot(None, right=NOON)
    boots.cut()
    boots.boot(None, right=None)
    boots.cut()
    boots.boot(None, right=NOON + timedelta(days=1))
    assert boots.opened.power_cut is not None
    assert boots.opened.power_cut["last"] is None
    assert [m["detail"]["off_s"] for m in boots.sent() if m["event"] == "power_cut"] == [None, None]


# The agent


class Shifted(DemoClock):
    """A kernel whose time the test shifts, and whose time service the test stops and starts."""

    def __init__(self) -> None:
        super().__init__(speed=1.0)
        self._wall = NOON  # a fixed hour, so that no day ends during the test
        self.shift = timedelta()
        self.synced = True

    def _read(self) -> Now:
        now = super()._read()
        assert now.wall is not None
        return replace(now, wall=now.wall + self.shift, synced=self.synced)


def test_a_closed_day_is_stored_as_it_is_told(
    tmp_path: Path, broker: Broker, subscriber: Subscriber
) -> None:
    unit = Unit(tmp_path, broker.port)
    clock = unit.clock = Shifted()
    try:
        unit.start()
        subscriber.next("state", lambda m: m["capacity"]["quality"] == "ok")
        unit.walk(inward=True)
        state = subscriber.next("state", lambda m: m["capacity"]["people"] == 1).content
        assert state["capacity"]["entered_today"] == 1
        clock.shift = timedelta(days=1)
        closed = subscriber.next("event", lambda m: m["event"] == "day_closed").content
        unit.stop()
        assert closed["detail"]["entered"] == 1
        clock.synced = False
        clock.shift = timedelta(days=-9000)  # and the agent is restarted in the same boot
        unit.start()
        state = subscriber.next(
            "state", lambda m: m["clock"] == "unsynced" and m["capacity"]["quality"] != "starting"
        ).content
        assert state["ts_estimated"] is True
        ahead = datetime.fromisoformat(state["ts"]) - NOON
        assert timedelta(hours=23) < ahead < timedelta(hours=25)
        assert state["capacity"]["entered_today"] == 0
    finally:
        unit.close()
    store = Store(tmp_path, 1000, 1 << 20)
    store.open("another", clock.now())
    ((date, body),) = store.days()
    store.close(clock.now(), {})
    line = json.loads(body)
    assert line.pop("told") is True
    assert (date, line | {"again": False}) == (closed["detail"]["date"], closed["detail"])


def test_what_happened_just_before_the_clock_was_set_has_its_time(
    tmp_path: Path, broker: Broker
) -> None:
    unit = Unit(tmp_path, broker.port)
    clock = Shifted()
    clock.synced, clock.shift = False, timedelta(days=-9000)
    agent = Agent(unit.config, tmp_path, unit.hardware, clock)
    try:
        before = clock.now()
        assert before.wall is None
        agent._recorder.note([Happening("sensor_recovered", {"sensor": "door"})], before)
        clock.synced, clock.shift = True, timedelta()
        now = clock.now()
        agent._recorder.record(now)
        rows = agent._store.backlog(0, agent._store.last_id(), 1 << 20)
        event = next(
            m
            for m in map(json.loads, (r.body for r in rows))
            if m.get("event") == "sensor_recovered"
        )
    finally:
        agent.stop()
        agent.run()  # to its end
        unit.close()
    assert now.began is not None
    at = now.began + timedelta(seconds=before.uptime_s)
    assert (event["ts"], event["clock"]) == (timestamp(at), "synced")
