"""A whole unit whose store is deleted, damaged, or met by another configuration."""

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from publisher import control
from publisher.clock import boot_id
from publisher.store import FILE, Store
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
        file.seek(size // 4)  # leaves only: above the middle is the page that knows where they are
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
    assert {record["id"] for record in history["records"]} == {"demo"}, "whose they are"
    wait_for(lambda: unit.status()["buffer"]["rows"] == 0, "the backlog to drain")
    unit.stop()
    subscriber.close()
    subscriber.check()
    sent = [(r["boot"], r["seq"]) for r in subscriber.records() if r["id"] == "demo"]
    assert sent
    assert [seq for _, seq in sent] == list(range(1, len(sent) + 1))
