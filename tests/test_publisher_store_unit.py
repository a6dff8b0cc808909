"""A whole unit with a deleted or damaged store, or another configuration."""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from publisher import control
from publisher.clock import boot_id
from publisher.store.file import FILE
from publisher.store.ledger import BOOT_FILE
from publisher.store.ledger import FILE as LEDGER
from publisher.store.store import Store
from tests.conftest import Broker, Subscriber, Unit, all_well, backlog_event, recorded, wait_for


def people(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda state: bool(state["capacity"]["people"] == count)


def test_a_state_directory_that_is_deleted_under_the_unit_is_made_again(
    unit: Unit, subscriber: Subscriber
) -> None:
    unit.state_dir = unit.state_dir / "state"
    unit.start()
    subscriber.next("state", all_well)
    unit.walk(inward=True)
    before = subscriber.next("state", people(1)).content
    shutil.rmtree(unit.state_dir)
    unit.walk(inward=True)
    after = subscriber.next("state", people(2)).content
    assert after["boot"] == before["boot"]
    assert recorded(subscriber, "store_quarantined")["detail"] == {"file": None}
    status = control.ask(unit.state_dir, {"command": "status"})
    assert status["capacity"]["entered_total"] == 2
    assert status["store"]["error"] is None
    unit.stop()
    unit.start()
    state = subscriber.next("state", lambda m: m["seq"] > after["seq"]).content
    assert state["capacity"]["entered_total"] == 2
    assert state["boot"] == before["boot"]
    unit.stop()
    events = [r for r in subscriber.records() if r.get("event") == "store_quarantined"]
    assert len(events) == 1


def test_a_database_deleted_while_the_unit_is_off_is_told_and_the_unit_starts(
    unit: Unit, subscriber: Subscriber
) -> None:
    unit.start()
    subscriber.next("state", all_well)
    unit.walk(inward=True)
    subscriber.next("state", people(1))
    unit.stop()
    (unit.state_dir / FILE).unlink()
    unit.start()
    assert recorded(subscriber, "store_quarantined")["detail"] == {"file": None}
    status = control.ask(unit.state_dir, {"command": "status"})
    assert status["capacity"]["entered_total"] == 1


def replace_by(kind: str, path: Path) -> None:
    if kind == "huge":
        with path.open("ab") as file:
            file.truncate(8 << 30)
        return
    path.unlink(missing_ok=True)
    if kind == "a directory":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/full" if kind == "a device" else "/nowhere/at/all")


@pytest.mark.parametrize(
    ("case", "entered"),
    [
        ("database and ledger gone", 0),
        ("log only", 0),
        ("old boot file only", 0),
        ("database a directory", 1),
        ("ledger a directory", 1),
        ("boot a directory", 1),
        ("lock a directory", 1),
        ("socket a directory", 1),
        ("socket a file", 1),
        ("ledger a pipe", 1),
        ("ledger a device", 1),
        ("ledger huge", 1),
        ("ledger a link that leads nowhere", 1),
        ("boot a pipe", 1),
        ("lock a pipe", 1),
        ("database a pipe", 1),
        ("database a device", 1),
    ],
)
def test_a_unit_starts_whatever_has_become_of_its_files(
    unit: Unit, subscriber: Subscriber, case: str, entered: int
) -> None:
    unit.start()
    subscriber.next("state", all_well)
    unit.walk(inward=True)
    subscriber.next("state", people(1))
    unit.stop()
    states = len(subscriber.records())
    state = unit.state_dir
    if entered == 0:
        log = (state / FILE).read_bytes()
        (state / FILE).unlink()
        (state / LEDGER).unlink()
        if case == "log only":
            (state / f"{FILE}-wal").write_bytes(log)
        elif case == "old boot file only":
            (state / BOOT_FILE).write_text("7")
    elif case == "socket a file":
        (state / control.FILE).write_text("no socket")
    else:
        names = {"database": FILE, "ledger": LEDGER, "boot": BOOT_FILE, "lock": "lock"}
        what, _, kind = case.partition(" ")
        if what == "boot":
            (state / LEDGER).unlink()  # otherwise the database is not even checked
        replace_by(kind, state / names.get(what, control.FILE))
    unit.start()
    wait_for(lambda: len(subscriber.records()) > states, "a record")
    status = unit.status()
    assert status["capacity"]["entered_total"] == entered
    # A foreign file in the database's place may be temporary, so the unit waits for it to go.
    assert (status["store"]["error"] is None) is (not case.startswith("database a "))
    assert status["store"]["second_place"] is None
    assert control.ask(state, {"command": "status"})["ok"]
    unit.stop()


def test_who_asks_for_the_status_again_and_again_does_not_wear_the_card(
    make_unit: Callable[..., Unit], broker: Broker
) -> None:
    unit = make_unit(broker.port).reporting(interval_s=3600).start()
    unit.hardware.set_mains(False)  # otherwise its hours grow
    wait_for(lambda: unit.status()["power"]["source"] == "battery", "mains to be lost")
    assert unit.agent is not None
    store = unit.agent._store

    def is_spared() -> bool:
        before = store._ledger.count
        for _ in range(5):
            unit.status()
        return store._ledger.count == before

    wait_for(is_spared, "five looks without a write")


def test_a_power_cut_takes_back_no_hour_that_status_has_shown(
    make_unit: Callable[..., Unit],
    closed_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("publisher.recording.CHANGE_PAUSE_S", 1e9)  # no record but the first
    unit = make_unit(closed_port, speed=60).reporting(interval_s=1e9).start()
    unit.hardware.set_generator(12.0, 13.8)

    def generator() -> dict[str, Any]:
        block: dict[str, Any] = unit.status()["power"]["generator"]
        return block

    monkeypatch.setattr("publisher.recording.Recorder.has_changed", lambda _: False)
    wait_for(lambda: generator()["hours_total"] >= 0.03, "the generator to run")
    left = tmp_path / "left"
    left.mkdir()
    assert unit.agent is not None
    with unit.agent._store._lock:
        shown = unit.agent._recorder._recorded["power"]["generator"]["hours_total"]
        for part in (FILE, f"{FILE}-wal"):
            shutil.copy(tmp_path / part, left)
    opened = Store(left, 1000, 1 << 20).open("the boot after the cut", unit.clock.now())
    assert opened.totals is not None
    assert round(opened.totals["generator_s"] / 3600, 2) >= max(shown, 0.03)


def test_damage_that_is_found_while_the_unit_runs_is_told_once(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, speed=30)
    store = Store(unit.state_dir, 100_000, 1 << 30)
    now = unit.clock.now()
    store.open(boot_id(), now)
    store.append(
        lambda boot, seq: [("event", backlog_event(boot, seq + i)) for i in range(3000)], {}, now
    )
    store.close(now, {})
    size = (unit.state_dir / FILE).stat().st_size
    with (unit.state_dir / FILE).open("r+b") as file:
        file.seek(size // 4)  # leaf pages only; their parent page is above the middle
        file.write(random.Random(1).randbytes(size // 10))
    unit.start()
    event = recorded(subscriber, "store_quarantined")
    assert (unit.state_dir / event["detail"]["file"]).exists()
    recorded(subscriber, "records_dropped")
    subscriber.next(
        "state", lambda m: "store_failed" not in m["alerts"] and not m["buffer"]["rows"]
    )
    unit.stop()
    events = [r["event"] for r in subscriber.records() if "event" in r]
    assert events.count("store_quarantined") == 1
    dropped = [r["detail"] for r in subscriber.records() if r.get("event") == "records_dropped"]
    kept = events.count("headcount_set")
    assert sum(detail["records"] for detail in dropped) == 3000 - kept
    assert kept > 1000


def test_another_configuration_finds_the_totals_and_sends_the_backlog(
    make_unit: Callable[..., Unit], broker: Broker
) -> None:
    broker.stop()
    unit = make_unit(broker.port).start()
    wait_for(lambda: unit.status()["capacity"]["quality"] != "starting", "the door")
    unit.walk(inward=True)
    wait_for(lambda: unit.status()["capacity"]["people"] == 1, "the passage")
    unit.stop()
    config = unit.config
    unit.config = replace(
        config,
        tent=replace(config.tent, id="moved", name="Elsewhere", seats=12),
        broker=replace(config.broker, prefix="others/v1"),
        store=replace(config.store, max_rows=5000, max_mib=1),
        sensors=tuple(s for s in config.sensors if s.name != "battery"),
    )
    broker.start()
    subscriber = Subscriber(broker.port, "others/v1/moved/#")
    unit.start()
    state = subscriber.next("state").content
    assert state["capacity"]["entered_total"] == 1
    assert "battery" not in state["power"]
    history = subscriber.next("history").content
    assert history["id"] == "moved"
    assert history["records"][0]["id"] == "demo", "whose it is"
    wait_for(lambda: unit.status()["buffer"]["rows"] == 0, "the backlog to drain")
    unit.stop()
    records = subscriber.records()
    sent = [r["seq"] for r in records if r["id"] == "demo"]
    assert sent == list(range(1, len(sent) + 1))
    # Records of the new one before it is connected go into the backlog as well, after these.
    assert {r["id"] for r in records[len(sent) :]} == {"moved"}
    subscriber.close()
    subscriber.check()
