"""The whole unit on simulated devices, as a dashboard and a technician see it."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from publisher import control
from publisher.agent import Agent
from publisher.rules.sensed import ZERO_READINGS
from publisher.store.store import Store
from publisher.unit.state_directory import Lock, StartError
from tests.conftest import (
    PATIENCE_S,
    Broker,
    Subscriber,
    Unit,
    all_well,
    command,
    recorded,
    wait_for,
)
from tests.test_publisher_store import connection
from tests.wires import Wire


def test_people_who_pass_the_door_are_reported(unit: Unit, subscriber: Subscriber) -> None:
    unit.start()
    subscriber.next("state", all_well)
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    unit.walk(inward=True)
    state = subscriber.next("state", lambda m: m["capacity"]["people"] == 2).content
    assert state["capacity"]["free"] == 58
    unit.walk(inward=False)
    state = subscriber.next("state", lambda m: m["capacity"]["people"] == 1).content
    assert (state["capacity"]["entered_total"], state["capacity"]["left_total"]) == (2, 1)


def test_a_power_cut_takes_back_nothing_that_status_has_shown(
    make_unit: Callable[..., Unit],
    closed_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "publisher.recording.CHANGE_PAUSE_S", 3600.0
    )  # so that no other record comes
    unit = make_unit(closed_port).start()
    wait_for(lambda: all_well(unit.status()), "all sensors")
    for _ in range(3):
        unit.walk(inward=True)
    wait_for(lambda: unit.status()["capacity"]["entered_total"] == 3, "three people")
    unit.hardware.set_mains(False)
    wait_for(lambda: unit.status()["power"]["mains"]["present"] is False, "mains to be lost")
    left = tmp_path / "left"
    left.mkdir()
    for part in ("tentwatch.db", "tentwatch.db-wal"):
        shutil.copy(tmp_path / part, left)
    store = Store(left, 1000, 1 << 20)
    opened = store.open("the boot after the cut", unit.clock.now())
    bodies = [json.loads(row.body) for row in store.backlog(0, store.last_id(), 1 << 20)]
    store.close(unit.clock.now(), opened.totals or {})
    assert opened.totals is not None
    assert opened.totals["occupancy"]["entered_total"] == 3
    events = [body["event"] for body in bodies if "event" in body]
    assert events == ["counts_reset", "mains_lost"]


def test_the_source_follows_mains_generator_and_battery(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, speed=5).start()
    subscriber.next("state", lambda m: m["power"]["source"] == "mains" and all_well(m))
    unit.hardware.set_mains(False)
    assert subscriber.next("event").content["event"] == "mains_lost"
    subscriber.next("state", lambda m: m["power"]["source"] == "battery")
    unit.hardware.set_generator(12.0, 13.8)
    assert subscriber.next("event").content["event"] == "generator_started"
    state = subscriber.next("state", lambda m: m["power"]["source"] == "generator").content
    generator = state["power"]["generator"]
    assert generator["running"] is True
    assert generator["current_a"] == pytest.approx(12.0, abs=0.01)
    assert generator["voltage_v"] == pytest.approx(13.8, abs=0.01)
    assert generator["frequency_hz"] is None
    unit.hardware.set_mains(True)
    assert subscriber.next("event").content["event"] == "mains_restored"
    subscriber.next("state", lambda m: m["power"]["source"] == "mains")


@pytest.mark.parametrize("sensor", ["battery", "generator"])
def test_a_device_that_goes_and_comes_back(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber, sensor: str
) -> None:
    unit = make_unit(broker.port, speed=5).start()
    subscriber.next("state", all_well)
    if sensor == "battery":
        unit.hardware.monitor.unplug()
    else:
        unit.hardware.bus.chips.clear()
    failed = subscriber.next("event", lambda m: m["event"] == "sensor_failed").content
    assert failed["detail"]["sensor"] == sensor
    state = subscriber.next("state", lambda m: m["power"][sensor]["quality"] == "fault").content
    block = state["power"][sensor]
    assert block["voltage_v"] is None and block["current_a"] is None
    assert state["power"]["mains"]["quality"] == state["capacity"]["quality"] == "ok"
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    if sensor == "battery":
        unit.hardware.monitor.plug()
    else:
        unit.hardware.bus.chips[0x40] = unit.hardware.chip
    recovered = subscriber.next("event", lambda m: m["event"] == "sensor_recovered").content
    assert recovered["detail"]["sensor"] == sensor
    subscriber.next("state", all_well)
    unit.stop()
    events = [r["event"] for r in subscriber.records() if "event" in r]
    assert events.count("sensor_failed") == events.count("sensor_recovered") == 1


def test_a_silent_monitor_becomes_a_fault_and_never_keeps_its_last_value(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, speed=20).start()
    subscriber.next("state", all_well)
    unit._talking.set()
    state = subscriber.next("state", lambda m: m["power"]["battery"]["quality"] != "ok").content
    measured = {
        k: v for k, v in state["power"]["battery"].items() if k not in ("quality", "method")
    }
    assert set(measured.values()) == {None}
    assert "silent" in next(s for s in unit.status()["sensors"] if s["name"] == "battery")["error"]
    unit.stop()


def test_a_device_that_hangs_for_ever_harms_no_other_sensor_and_no_stop(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, speed=20).start()
    subscriber.next("state", all_well)
    for_ever = threading.Event()

    def hang() -> bool:
        for_ever.wait()
        return True

    unit.hardware.bus.try_lock = hang  # type: ignore[method-assign]
    state = subscriber.next(
        "state", lambda m: m["power"]["generator"]["quality"] == "stale"
    ).content
    assert state["power"]["generator"]["current_a"] is None
    assert state["power"]["generator"]["running"] is None
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    assert state["power"]["mains"]["quality"] == state["power"]["battery"]["quality"] == "ok"
    unit.stop()
    for_ever.set()


def test_counts_and_hours_survive_a_restart(unit: Unit, subscriber: Subscriber) -> None:
    unit.start()
    subscriber.next("state", all_well)
    unit.walk(inward=True)
    before = subscriber.next("state", lambda m: m["capacity"]["people"] == 1).content
    unit.stop()
    unit.start()
    after = subscriber.next(
        "state", lambda m: m["seq"] > before["seq"] and m["capacity"]["people"] is not None
    ).content
    assert after["boot"] == before["boot"]
    assert after["capacity"]["people"] == 1
    assert after["capacity"]["entered_total"] == 1
    assert after["capacity"]["quality"] == "estimated", "who passed meanwhile was not seen"


def test_two_agents_never_share_a_state_directory(unit: Unit) -> None:
    unit.start()
    with pytest.raises(StartError, match="another tentwatch"):
        Agent(unit.config, unit.state_dir, unit.hardware, unit.clock)
    assert unit.status()["ok"]


# Commands


def test_a_headcount_over_mqtt_corrects_people_and_not_the_totals(
    unit: Unit, subscriber: Subscriber
) -> None:
    unit.start()
    subscriber.next("state", all_well)
    subscriber.send(*command("headcount", "c1", people=23))
    assert subscriber.next("answer").content == {
        "v": 1, "cid": "c1", "command": "headcount", "ok": True, "people": 23,
    }  # fmt: skip
    event = recorded(subscriber, "headcount_set")
    assert event["detail"] == {"people": 23, "counted": 0, "correction": 23, "by": "person"}
    wait_for(lambda: unit.status()["capacity"]["people"] == 23, "the headcount")
    assert unit.status()["capacity"]["entered_total"] == 0


def test_who_opens_the_tent_stands_in_the_event_and_a_restart_forgets_nothing(
    unit: Unit, subscriber: Subscriber
) -> None:
    unit.start()
    assert subscriber.next("state", all_well).content["capacity"]["open"] is None
    subscriber.send(*command("open", "o1", open=True, by="Olena"))
    assert subscriber.next("answer").content == {
        "v": 1, "cid": "o1", "command": "open", "ok": True, "open": True,
    }  # fmt: skip
    assert recorded(subscriber, "opened")["detail"] == {"by": "Olena"}
    wait_for(lambda: unit.status()["capacity"]["open"] is True, "the word")
    subscriber.send(*command("headcount", "o2", people=3, by="Olena"))
    assert recorded(subscriber, "headcount_set")["detail"]["by"] == "Olena"
    unit.stop()
    unit.start()
    assert unit.status()["open"] is True
    subscriber.next("state", lambda m: m["capacity"]["people"] == 3 and m["capacity"]["open"])


def test_a_command_is_run_once_and_answered_as_often_as_it_comes(
    unit: Unit, subscriber: Subscriber
) -> None:
    unit.start()
    subscriber.next("state", all_well)
    message = command("headcount", "again", people=5)
    subscriber.send(*message)
    first = subscriber.next("answer").content
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 6)
    subscriber.send(*message)
    assert subscriber.next("answer").content == first | {"again": True}
    assert unit.status()["capacity"]["people"] == 6


def test_response_topic_and_correlation_data_are_honoured(
    unit: Unit, subscriber: Subscriber
) -> None:
    unit.start()
    subscriber.next("state")
    properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ResponseTopic = "tents/v1/demo/res/mine"
    properties.CorrelationData = b"42"
    subscriber.send(*command("report", "c2"), properties=properties)
    answer = subscriber.next("answer")
    assert answer.topic == "tents/v1/demo/res/mine"
    assert answer.properties.CorrelationData == b"42"


@pytest.mark.parametrize("topic", ["tents/v1/demo/state", "tents/v1/other/+", "tents/#"])
def test_an_answer_never_goes_where_it_could_mislead(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber, topic: str
) -> None:
    """A broker may refuse wildcards there by itself: here they are put in behind it."""
    harmless = topic.replace("#", "X").replace("+", "X")
    with Wire(broker.port) as wire:
        wire.edit = lambda _from_unit, packet: packet.replace(harmless.encode(), topic.encode())
        unit = make_unit(wire.port).start()
        subscriber.next("state")
        properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = harmless
        subscriber.send(*command("report", "c9"), properties=properties)
        assert subscriber.next("answer").topic == "tents/v1/demo/res/c9"
        unit.stop()


def test_a_report_brings_a_snapshot_at_once(unit: Unit, subscriber: Subscriber) -> None:
    unit.reporting(interval_s=3600.0, ttl_s=7200).start()
    seq = subscriber.next("state", all_well).content["seq"]
    subscriber.send(*command("report", "c3"))
    subscriber.next("state", lambda m: m["seq"] > seq)


def test_identify_lights_the_lamp_for_its_time(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, speed=10).start()
    subscriber.next("state")
    subscriber.send(*command("identify", "c4", minutes=60, seconds=5))
    assert subscriber.next("answer").content["ok"] is True
    lamp = unit.config.tent.lamp_gpio
    assert lamp is not None
    assert unit.status()["lamp"] == "identify"
    wait_for(lambda: unit.hardware.pins.is_high(lamp), "the lamp to be lit")
    wait_for(lambda: unit.status()["lamp"] == "working", "the lamp to show the unit's state again")
    unit.stop()
    assert not unit.hardware.pins.is_high(lamp)


def reads_of(unit: Unit, sensor: str) -> int:
    return int(next(s["reads"] for s in unit.status()["sensors"] if s["name"] == sensor))


def test_a_zero_is_found_at_work_and_kept(make_unit: Callable[..., Unit], broker: Broker) -> None:
    def reads(true_a: float) -> Callable[[], bool]:
        def is_read() -> bool:
            current_a = unit.status()["power"]["generator"]["current_a"]
            return current_a is not None and abs(current_a - true_a) < 0.007

        return is_read

    unit = make_unit(broker.port, speed=5)
    unit.hardware.set_generator(0.3, 13.2)  # an amplifier with an offset
    unit.start()
    wait_for(reads(0.3), "the offset")
    wait_for(lambda: reads_of(unit, "generator") > ZERO_READINGS, "readings enough for a zero")
    assert control.ask(unit.state_dir, {"command": "zero", "sensor": "generator"})["ok"]
    wait_for(reads(0.0), "the zero")
    unit.stop()
    unit.hardware.set_generator(10.3, 13.2)
    unit.start()
    wait_for(reads(10.0), "a current without the offset")


def test_a_zero_is_refused_while_a_current_flows(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, speed=5)
    unit.hardware.set_generator(12.0, 13.2)
    unit.start()
    subscriber.next("state", all_well)

    def refusal(sensor: str) -> str:
        answer = control.ask(unit.state_dir, {"command": "zero", "sensor": sensor})
        assert not answer["ok"]
        return str(answer["error"])

    wait_for(lambda: reads_of(unit, "generator") > ZERO_READINGS, "readings enough")
    assert "a current flows" in refusal("generator")
    assert "no sensor of this unit" in refusal("battery")
    subscriber.send(*command("zero", "z1", sensor="door"))
    assert subscriber.next("answer").content["ok"] is False


def test_a_service_is_noted(unit: Unit, subscriber: Subscriber) -> None:
    unit.start()
    subscriber.next("state", all_well)
    subscriber.send(*command("serviced", "s1"))
    answer = subscriber.next("answer").content
    assert (answer["ok"], answer["hours_total"]) == (True, 0.0)


def test_bad_commands_change_nothing(unit: Unit, subscriber: Subscriber) -> None:
    unit.start()
    subscriber.next("state", all_well)
    before = unit.status()["capacity"]
    topic, good = command("headcount", "c5", people=9)
    for payload in (
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"nul" * 9000,
        b'{"people":9}',
        good[:-1].encode(),
    ):
        subscriber.send(topic, payload)
    for name, cid, minutes, argument, code in (
        ("headcount", "e1", -1, {"people": 9}, "command.expired"),
        ("headcount", "e2", 5, {"people": -1}, "command.out_of_range"),
        ("headcount", "e3", 5, {"people": 601}, "command.out_of_range"),
        ("headcount", "e4", 5, {"people": True}, "command.out_of_range"),
        ("explode", "e5", 5, {}, "command.unknown"),
        ("zero", "e6", 5, {"sensor": "door"}, "command.no_zero"),
    ):
        subscriber.send(*command(name, cid, minutes, **argument))
        answer = subscriber.next("answer").content
        assert (answer["cid"], answer["ok"], answer["code"]) == (cid, False, code)
        assert answer["error"]
    assert unit.status()["capacity"] == before


def test_a_retained_command_is_refused_whenever_it_arrives(
    unit: Unit, broker: Broker, subscriber: Subscriber
) -> None:
    topic, payload = command("headcount", "ghost", people=9)
    subscriber.send(topic, payload, retain=True)
    unit.start()
    assert subscriber.next("answer").content["ok"] is False
    assert unit.status()["capacity"]["entered_total"] == 0
    subscriber.send(topic, payload, retain=True)
    assert subscriber.next("answer").content["ok"] is False
    assert unit.status()["capacity"]["people"] == 0


def test_commands_over_the_control_socket(unit: Unit, subscriber: Subscriber) -> None:
    unit.start()
    subscriber.next("state", all_well)
    assert control.ask(unit.state_dir, {"command": "headcount", "people": 7})["ok"]
    subscriber.next("state", lambda m: m["capacity"]["people"] == 7)
    assert not control.ask(unit.state_dir, {"command": "headcount", "people": "7"})["ok"]
    assert not control.ask(unit.state_dir, {"command": "format"})["ok"]
    assert control.ask(unit.state_dir, {"command": "identify", "seconds": 1})["ok"]
    status = control.ask(unit.state_dir, {"command": "status"})
    assert status["link"]["connected"] is True
    assert {s["name"] for s in status["sensors"]} == {"mains", "generator", "battery", "door"}


def test_the_control_socket_is_for_owner_and_group_only(unit: Unit) -> None:
    unit.start()
    assert (unit.state_dir / control.FILE).stat().st_mode & 0o777 == 0o660


def test_nobody_to_ask_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(control.ControlError, match="not running"):
        control.ask(tmp_path, {"command": "status"})
    stale = control.Control(tmp_path, lambda _: {})
    stale._socket.close()  # as after a power cut: a file without a listener
    with pytest.raises(control.ControlError, match="does not answer"):
        control.ask(tmp_path, {"command": "status"})
    control.Control(tmp_path, lambda _: {}).close()


# The store


def refuse_writes(unit: Unit) -> None:
    """Make the open file fail as on a card that has become read-only."""
    assert unit.agent is not None
    with unit.agent._store._lock:
        connection(unit.agent._store).execute("PRAGMA query_only = ON")


def test_with_a_store_that_cannot_be_written_the_unit_reports_live_and_says_so(
    unit: Unit, subscriber: Subscriber
) -> None:
    unit.start()
    boot = subscriber.next("state", all_well).content["boot"]
    refuse_writes(unit)
    unit.walk(inward=True)
    state = subscriber.next("state", lambda m: m["capacity"]["people"] == 1).content
    assert state["boot"] > boot, "numbers that are not stored must not come again"
    subscriber.next("state", lambda m: "store_failed" in m["alerts"])
    assert "readonly" in unit.status()["store"]["error"]


def test_when_the_store_can_be_written_again_nothing_is_lost_and_the_alert_goes(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, speed=30).start()
    subscriber.next("state", all_well)
    refuse_writes(unit)
    unit.walk(inward=True)
    subscriber.next("state", lambda m: "store_failed" in m["alerts"])
    subscriber.next("state", lambda m: "store_failed" not in m["alerts"])
    unit.stop()
    unit.start()
    state = subscriber.next("state", lambda m: m["capacity"]["quality"] == "estimated").content
    assert state["capacity"]["entered_total"] == 1
    unit.stop()


def test_a_state_directory_that_cannot_be_used_stops_nothing(
    make_unit: Callable[..., Unit], tmp_path: Path, broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port)
    unit.state_dir = tmp_path / "in-the-way" / "state"
    (tmp_path / "in-the-way").write_text("a file where a directory should be")
    unit.start()
    subscriber.next(
        "state",  # estimated, because earlier counts cannot be read
        lambda m: m["alerts"] == ["store_failed"] and m["capacity"]["quality"] == "estimated",
    )
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    unit.stop()


def test_a_state_directory_that_becomes_usable_gets_socket_and_lock(
    make_unit: Callable[..., Unit], tmp_path: Path, broker: Broker, subscriber: Subscriber
) -> None:
    unit = make_unit(broker.port, speed=30)
    unit.state_dir = tmp_path / "in-the-way" / "state"
    (tmp_path / "in-the-way").write_text("a file where a directory should be")
    unit.start()
    subscriber.next("state", lambda m: m["alerts"] == ["store_failed"])
    with pytest.raises(StartError, match="another tentwatch"):
        Agent(unit.config, unit.state_dir, unit.hardware, unit.clock)
    asked = control.ask(unit.state_dir, {"command": "status"})
    assert asked["store"]["error"], "the socket is in memory meanwhile"
    (tmp_path / "in-the-way").unlink()
    wait_for((unit.state_dir / control.FILE).exists, "the control socket")
    assert control.ask(unit.state_dir, {"command": "status"})["ok"]
    wait_for((unit.state_dir / "lock").exists, "the lock")
    with pytest.raises(StartError, match="another tentwatch"):
        Agent(unit.config, unit.state_dir, unit.hardware, unit.clock)
    subscriber.next("state", lambda m: "store_failed" not in m["alerts"])
    (unit.state_dir / control.FILE).unlink()
    wait_for((unit.state_dir / control.FILE).exists, "a new control socket")
    assert control.ask(unit.state_dir, {"command": "status"})["store"]["error"] is None
    unit.stop()


def test_an_agent_whose_directory_another_has_taken_stops(
    make_unit: Callable[..., Unit],
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Neither place could hold its lock when it started."""
    unit = make_unit(closed_port, speed=30)
    monkeypatch.setattr("publisher.unit.state_directory.in_memory", lambda _: None)
    state = tmp_path / "in-the-way" / "state"
    (tmp_path / "in-the-way").write_text("a file where a directory should be")
    agent = Agent(unit.config, state, unit.hardware, unit.clock)
    (tmp_path / "in-the-way").unlink()
    first = Lock(state)
    first.take()
    with pytest.raises(StartError, match="another tentwatch"):
        agent.run()
    first.release()


def test_a_damaged_store_is_set_aside_and_reported(unit: Unit, subscriber: Subscriber) -> None:
    (unit.state_dir / "tentwatch.db").write_bytes(b"this is not a database" * 300)
    unit.start()
    event = recorded(subscriber, "store_quarantined")
    assert (unit.state_dir / event["detail"]["file"]).exists()


def test_a_slow_flush_misdates_nothing_and_no_sensor_fails_in_it(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    """While the store waits for a slow card, readings wait too; each is judged by its own time."""
    unit = make_unit(broker.port, speed=5).start()
    subscriber.next("state", all_well)
    agent = unit.agent
    assert agent is not None
    append, waits, over = agent._store.append, threading.Event(), threading.Event()

    def slow(*args: Any, **kwargs: Any) -> Any:
        waits.set()
        assert over.wait(PATIENCE_S)
        return append(*args, **kwargs)

    agent._store.append = slow  # type: ignore[method-assign]
    unit.walk(inward=True)
    assert waits.wait(PATIENCE_S)
    before_s = unit.clock.now().uptime_s
    count = len(agent._inbox)
    unit.hardware.set_mains(False)
    wait_for(lambda: len(agent._inbox) > count + 10, "the reading, and others after it")
    after_s = unit.clock.now().uptime_s
    unit.walk(inward=True)
    end_s = after_s + 2 * unit.config.report.stale_after_s
    wait_for(lambda: unit.clock.now().uptime_s > end_s, "the slow flush")
    over.set()
    subscriber.next("state", lambda m: m["capacity"]["people"] == 2 and all_well(m))
    unit.stop()
    events = [r for r in subscriber.records() if "event" in r]
    assert [event["event"] for event in events] == ["counts_reset", "mains_lost"]
    assert before_s <= events[1]["uptime_s"] <= after_s
