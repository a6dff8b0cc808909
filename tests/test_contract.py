"""The schemas: they accept what the unit sends, and refuse what the contract forbids."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from publisher import messages
from publisher.clock import Now
from publisher.commanding import REMOTE_CHECKS
from publisher.commands import EXPIRED, Refused, from_broker
from publisher.config.load import Config, parse
from publisher.rules.happening import Happening
from publisher.rules.power import Source
from publisher.rules.tent import Tent
from publisher.store.file import FILE
from publisher.store.store import Store
from sensors.ina219 import CLIPPED
from sensors.reading import FAULT, Quality, Reading
from sensors.trouble import Trouble
from tests import contract
from tests.tents import trouble, with_air

Message = dict[str, Any]
Steps = tuple[str | int, ...]

ROOT = Path(__file__).parent.parent
PREFIX = "tents/v1/UA-32-0417"

#: The contract's table: schema → topic below the tent's, retained, direction.
TOPICS = {
    "link": ("link", True, "send"),
    "about": ("about", True, "send"),
    "state": ("state", True, "send"),
    "event": ("event", False, "send"),
    "history": ("history", False, "send"),
    "days": ("days", True, "send"),
    "command": ("cmd/{command}", False, "receive"),
    "answer": ("res/{cid}", False, "send"),
}
FITTED = ("mains", "generator", "battery", "door", "inside", "outside", "co")
POWER = ("mains", "generator", "battery")
COMMANDS = {"headcount", "open", "report", "identify", "zero", "serviced", "resend", "refuelled"}

CONFIG = with_air(
    parse(
        """
    [tent]
    id = "UA-32-0417"
    name = "Bucha, sports centre"
    seats = 60
    latitude = 50.5469
    longitude = 30.2120
    region = "UA-32"
    [broker]
    host = "broker.example"
    [report]
    stale_after_s = 15
    [generator]
    running_hold_s = 0
    rated_w = 2500
    tank_l = 15
    overload_hold_s = 0
    [sensors.mains]
    driver = "contact"
    gpio = 5
    [sensors.generator]
    driver = "ina219"
    shunt_ohms = 0.0015
    max_current_a = 50
    [sensors.battery]
    driver = "vedirect"
    port = "/dev/ttyUSB0"
    [sensors.door]
    driver = "beams"
    outer_gpio = 6
    inner_gpio = 7
    """
    )
)
BARE = parse('[tent]\nid = "bare"\nseats = 50\n[broker]\nhost = "broker.example"')

START = datetime(2026, 11, 22, 16, 4, 10, 120_000, tzinfo=UTC)


def at(second: float, *, known: bool = True, synced: bool = True) -> Now:
    wall = START + timedelta(seconds=second) if known else None
    return Now(1000.0 + second, 8123.0 + second, wall, synced)


def heard(second: float, **values: float | bool | None) -> list[Reading]:
    """Return readings of every sensor; `<sensor>_<quantity>` changes one of the values."""
    usual: dict[str, float | bool | None] = {
        "mains_present": False,
        "generator_current_a": 11.8,
        "generator_voltage_v": 231.0,
        "generator_power_w": 2710.0,
        "generator_frequency_hz": 49.9,
        "battery_charge_pct": 71.0,
        "battery_voltage_v": 25.9,
        "battery_current_a": -4.2,
        "battery_power_w": -108.8,
        "battery_time_to_empty_min": 412.0,
        "door_obstructed": False,
        "inside_temperature_c": 18.4,
        "inside_humidity_pct": 41.5,
        "outside_temperature_c": -6.2,
        "co_co_ppm": 3.2,
    }
    found = []
    for name, value in (usual | values).items():
        sensor, _, quantity = name.partition("_")
        found.append(Reading(sensor, quantity, value, Quality.OK, at(second).monotonic_s))
    return found


def failed(second: float) -> list[Reading]:
    at_s = at(second).monotonic_s
    return [Reading(s, FAULT, None, Quality.FAULT, at_s, trouble("silent")) for s in FITTED]


def clipped(second: float) -> list[Reading]:
    """An INA219 whose current is out of range still measures the voltage."""
    at_s, why = at(second).monotonic_s, Trouble(CLIPPED, amperes=53.3)
    return [
        Reading("generator", "current_a", None, Quality.FAULT, at_s, why),
        Reading("generator", "voltage_v", 13.1, Quality.OK, at_s),
        Reading("generator", "power_w", None, Quality.FAULT, at_s, why),
    ]


def working(second: float = 0, saved: dict[str, Any] | None = None) -> Tent:
    """Return a tent with 43 people in which every sensor works."""
    tent = Tent(CONFIG, at(second), saved)
    tent.apply(heard(second, door_entered=320, door_left=277), at(second))
    return tent


SERIAL = "7c1e5a90b3d2f468"
#: The block `unit` of `state`, and its counts in `about`.
UNIT = {
    "undervoltage": False, "throttled": False, "cpu_c": 48.7, "disk_free_mb": 24310,
    "disk_written_mb": 812, "queue": 0, "reconnects": 2,
}  # fmt: skip
READS = {
    "reads": 10880, "errors": 3, "read_duration_mean_s": 0.0021, "read_duration_max_s": 0.0447
}  # fmt: skip
COUNTS = {
    "sensors": [{"name": s.name, "driver": s.driver, **READS} for s in CONFIG.sensors],
    "unit": {
        "serial": SERIAL, "installed": "2026-11-22T16:04:10.120Z",
        "boot": 412, "uptime_s": 10922.3, "undervoltages": 0, "throttlings": 0,
        "own_written_mb": 6.4, "inbox_most": 14, "connections": 3, "failures": 5,
    },
}  # fmt: skip


def state(tent: Tent, now: Now, config: Config = CONFIG) -> Message:
    blocks = {**tent.snapshot(), "unit": UNIT}
    buffer = {"rows": 0, "oldest_s": 0, "dropped": 0}
    return as_sent("state", messages.state(config, 412, 1893, now, blocks, buffer, serial=SERIAL))


def event(happening: Happening, now: Now | None = None) -> Message:
    text = messages.event("UA-32-0417", 412, 1894, now or at(5), happening, serial=SERIAL)
    return as_sent("event", text)


def as_sent(topic: str, payload: str) -> Message:
    """Return a message of the unit. Raises AssertionError if it breaks the contract."""
    return contract.check(f"{PREFIX}/{topic}", payload)


def is_refused(topic: str, message: Message) -> bool:
    try:
        contract.check(f"{PREFIX}/{topic}", json.dumps(message))
    except AssertionError:
        return True
    return False


def qualities(message: Message) -> dict[str, str]:
    power = message["power"]
    blocks = {"door": message["capacity"], **{n: power[n] for n in POWER if n in power}}
    blocks |= {name: message[name] for name in ("climate", "co")}
    return {name: block["quality"] for name, block in blocks.items()}


# Messages of the unit


def starting() -> Message:
    tent = Tent(CONFIG, at(0))
    tent.tick(at(1))
    return state(tent, at(1))


def silent() -> Message:
    tent = working()
    tent.tick(at(60))
    return state(tent, at(60))


def failing() -> Message:
    tent = working()
    tent.apply(failed(1), at(1))
    return state(tent, at(1))


def test_a_tent_that_has_heard_nothing_yet() -> None:
    message = starting()
    assert set(qualities(message).values()) == {"starting"}
    assert message["power"]["source"] == "unknown"


def test_a_tent_in_which_all_is_well() -> None:
    message = state(working(), at(0))
    assert set(qualities(message).values()) == {"ok"}
    assert message["capacity"]["people"] == 43
    assert message["power"]["source"] == "generator"
    assert message["alerts"] == ["generator_overload"]


def test_a_tent_after_a_restart() -> None:
    message = state(working(60, working().totals.as_dict()), at(60))
    assert message["capacity"]["quality"] == "estimated"


def test_a_tent_whose_sensors_have_gone_silent() -> None:
    assert set(qualities(silent()).values()) == {"stale"}


def test_a_tent_whose_sensors_fail() -> None:
    assert set(qualities(failing()).values()) == {"fault"}


def test_a_tent_whose_door_is_obstructed() -> None:
    tent = working()
    tent.apply(heard(1, door_obstructed=True), at(1))
    message = state(tent, at(1))
    assert message["capacity"]["quality"] == "stale"
    assert "door_obstructed" in message["alerts"]


def test_a_generator_whose_current_alone_is_out_of_range() -> None:
    tent = working()
    tent.apply(clipped(1), at(1))
    assert state(tent, at(1))["power"]["generator"]["quality"] == "fault"


def test_a_battery_monitor_that_does_not_tell_everything() -> None:
    tent = Tent(CONFIG, at(0))
    tent.apply(heard(0, battery_charge_pct=None, battery_time_to_empty_min=None), at(0))
    battery = state(tent, at(0))["power"]["battery"]
    assert (battery["quality"], battery["charge_pct"]) == ("estimated", None)


def test_a_tent_with_no_sensors_has_no_blocks_of_sensors() -> None:
    message = state(Tent(BARE, at(0)), at(0), BARE)
    assert "capacity" not in message
    assert set(message["power"]) == {"source", "since", *DARK_IN, "quality"}


@pytest.mark.parametrize("known", [False, True])
def test_a_clock_that_is_not_synchronised(known: bool) -> None:
    now = at(0, known=known, synced=False)
    tent = Tent(CONFIG, now)
    tent.apply(heard(0), now)
    for message in (
        state(tent, now),
        event(Happening("door_cleared", {}), now),
        as_sent("link", messages.link(True, 412, 7, now, serial=SERIAL)),
    ):
        assert message["clock"] == "unsynced"
        assert (message["ts"] is not None) == known == message.get("ts_estimated", False)
        if "seq" in message:
            stamped = messages.stamped(json.dumps(message), datetime(2026, 11, 22, 16, tzinfo=UTC))
            assert as_sent("event" if "event" in message else "state", stamped)["clock"] == "synced"


def test_link_about_and_answers() -> None:
    will = as_sent("link", messages.link(False, 412, 7, None, serial=SERIAL))
    assert "ts" not in will and "clock" not in will
    as_sent("link", messages.link(True, 412, 7, at(0)))
    as_sent("link", messages.link(False, 412, 7, at(0)))
    as_sent("about", messages.about(CONFIG, "1.0.0"))
    assert as_sent("about", messages.about(BARE, "0"))["latitude"] is None
    as_sent("res/a1", messages.answer("a1", "report"))
    as_sent("res/a1", messages.answer("a1", "headcount", people=43))
    as_sent("res/a1", messages.refusal("a1", "headcount", Refused(EXPIRED)))


def tent_of_two_days() -> Tent:
    tent = working()
    tent.tick(at(86_400))
    return tent


def test_days_hold_the_closed_ones_and_the_running_one() -> None:
    message = as_sent("days", messages.days(CONFIG, tent_of_two_days().newest_lines(14)))
    assert [(d["date"], d["closed"], d["entered"]) for d in message["days"]] == [
        ("2026-11-22", True, 320),
        ("2026-11-23", False, 0),
    ]
    assert as_sent("days", messages.days(BARE, Tent(BARE, at(0)).newest_lines(14)))["days"] == []


def test_history_holds_states_and_events() -> None:
    records = [state(working(), at(0)), event(Happening("mains_lost", {"source": "none"}))]
    message = as_sent("history", messages.history("UA-32-0417", map(messages.encode, records)))
    assert message["records"] == records


def test_nothing_but_json_is_sent() -> None:
    with pytest.raises(ValueError):
        messages.encode({"people": float("nan")})


@pytest.fixture(scope="module")
def happenings(tmp_path_factory: pytest.TempPathFactory) -> list[Happening]:
    """Return the events of tent and store in the course of a bad day."""
    tent = working()
    found = [
        *tent.apply(
            heard(1, mains_present=True, generator_current_a=0, generator_power_w=0), at(1)
        ),
        *tent.apply(heard(2, battery_charge_pct=5.0, door_obstructed=True), at(2)),
        *tent.apply(heard(3), at(3)),
        *tent.headcount(40, at(4)),
        *tent.set_open(True, at(4), "Olena"),
        *tent.set_open(False, at(4)),
        *tent.refuelled(9.5, at(4), full=True),
        *tent.refuelled(None, at(4), full=True),
        *tent.apply(failed(5), at(5)),
        *tent.apply(heard(6), at(6)),
        *tent.tick(at(60)),
        *tent.tick(at(86_400)),
    ]
    elsewhere = replace(CONFIG, tent=replace(CONFIG.tent, latitude=-0.5, longitude=-1.0, seats=9))
    found += Tent(elsewhere, at(60), tent.totals.as_dict()).tick(at(60))
    directory = tmp_path_factory.mktemp("cut")
    running = Store(directory, 1000, 1 << 20)
    running.open("first boot", at(0))
    card = shutil.copytree(directory, tmp_path_factory.mktemp("card") / "as the cut left it")
    cut = Store(card, 1000, 1 << 20).open("second boot", at(60)).power_cut
    assert cut is not None
    found.append(Happening("power_cut", cut))
    directory = tmp_path_factory.mktemp("damaged")
    (directory / FILE).write_bytes(b"this is no database" * 1000)
    store = Store(directory, 3, 1 << 20)
    store.open("first boot", at(0))
    (file,) = store.set_aside()
    found.append(Happening("store_quarantined", {"file": file}))
    found.append(Happening("counts_reset", {"reason": store.reset()}))
    store.append(lambda boot, seq: [("event", "{}")] * 5, {}, at(1))
    found.append(Happening("records_dropped", {"records": store.buffer(at(1))["dropped"]}))
    store.close(at(2), {})
    return found


def test_every_event_follows_its_schema(happenings: list[Happening]) -> None:
    for happening in happenings:
        event(happening)
    known = contract.schema("event")["properties"]["event"]["examples"]
    assert {h.event for h in happenings} == set(known)


# Refusals of the schemas


def places(message: Any, path: Steps = ()) -> Iterator[Steps]:
    """Yield the path of every key in a message."""
    steps: Any = message.items() if isinstance(message, dict) else enumerate(message)
    for step, value in steps:
        if isinstance(message, dict):
            yield (*path, step)
        if isinstance(value, dict | list):
            yield from places(value, (*path, step))


def dotted(path: Steps) -> str:
    return ".".join(map(str, path))


def changed(message: Message, path: Steps, change: Callable[[Any, Any], object]) -> Message:
    """Return a copy that `change` has edited; it gets the holder of `path` and its last step."""
    copy = deepcopy(message)
    holder: Any = copy
    for step in path[:-1]:
        holder = holder[step]
    change(holder, path[-1])
    return copy


def value_at(message: Message, path: Steps) -> Any:
    holder: Any = message
    for step in path:
        holder = holder[step]
    return holder


def without(message: Message, path: Steps) -> Message:
    return changed(message, path, lambda holder, key: holder.pop(key))


def replaced(message: Message, path: Steps, value: Any) -> Message:
    return changed(message, path, lambda holder, key: holder.__setitem__(key, value))


def to_another_kind(holder: Any, key: Any) -> None:
    holder[key] = [] if isinstance(holder[key], dict) else {}


def examples(happenings: list[Happening]) -> list[tuple[str, Message]]:
    """Return valid messages of every kind, made by the unit; the usual one of a kind is the last."""
    return [
        ("link", as_sent("link", messages.link(True, 412, 7, at(0), serial=SERIAL))),
        ("about", as_sent("about", messages.about(BARE, "1.0.0"))),
        ("about", as_sent("about", messages.about(CONFIG, "1.0.0"))),
        ("about", as_sent("about", messages.about(CONFIG, "1.0.0", COUNTS))),
        ("state", starting()),
        ("state", silent()),
        ("state", failing()),
        ("state", state(working(), at(0))),
        ("days", as_sent("days", messages.days(CONFIG, tent_of_two_days().newest_lines(14)))),
        ("history", {"v": 1, "id": "UA-32-0417", "records": [state(working(), at(0))]}),
        (
            "res/a1",
            as_sent("res/a1", messages.answer("a1", "headcount", people=43, open=True, seconds=60)),
        ),
        ("res/a1", as_sent("res/a1", messages.refusal("a1", "headcount", Refused(EXPIRED)))),
        *(("event", event(h)) for h in happenings),
    ]


#: Forecasts: null wherever something that they need is not known.
DARK_IN, RESERVE = ("dark_in_min", "dark_in_min_low"), ("reserve_min", "reserve_min_low")
FUEL = ("headroom_w", "fuel_l", "fuel_l_low", "fuel_h", "fuel_h_low")
#: Keys that may be absent: blocks of sensors that are not fitted, and results of commands.
OPTIONAL = {
    "code", "command", "simulated",  # older versions lack them
    "serial", "unit.serial", "unit.installed",
    "capacity", "power.mains", "power.generator", "power.battery", "people", "open", "seconds",
    # … and keys added since the contract's first text, which all units of this version send.
    "capacity.passed_today", "capacity.passed_total", "capacity.open",
    *(f"power.mains.{key}" for key in ("voltage_v", "current_a", "power_w", "frequency_hz")),
    *(f"power.generator.{key}" for key in ("state", "starts_total", "hours_since_service", *FUEL)),
    *(f"power.battery.{key}" for key in RESERVE), *(f"power.{key}" for key in DARK_IN),
    *(f"power.battery.{key}" for key in ("time_to_empty_min_low", "capacity_ah", "capacity_rate_h")),
    *(f"power.battery.{key}" for key in ("synchronised", "since_full_h", "gap")),
    "detail.by", "detail.passed", "detail.blind_s", "detail.estimated", "detail.again",
    "detail.outages", "detail.watched_h", "detail.code", "detail.inside_min_c", "detail.co_max_ppm",
    "climate", "co",
    "unit", *(f"sensors.{i}.{key}" for i in range(len(FITTED)) for key in READS),
}  # fmt: skip
#: Values that may be null although the sensors work and the clock is set.
NULLABLE = {
    "about.region",
    "about.unit.installed",
    *(f"moved.detail.{at}{key}" for at in ("", "before.") for key in ("latitude", "longitude", "region")),
    "state.capacity.entered_today",
    "state.capacity.left_today",
    "state.capacity.passed_today",
    "state.capacity.open",
    "day_closed.detail.entered",
    "day_closed.detail.left",
    "day_closed.detail.peak",
    "day_closed.detail.outages",
    "day_closed.detail.inside_min_c",
    "day_closed.detail.co_max_ppm",
    "day_closed.detail.watched_h",
    *(
        f"days.days.{i}.{key}"
        for i in (0, 1)
        for key in ("entered", "left", "peak", "outages", "watched_h", "inside_min_c", "co_max_ppm")
    ),
    *(f"state.climate.{key}" for key in ("inside_c", "outside_c", "humidity_pct")),
    "state.co.peak_1h_ppm",
    "door_cleared.detail.blind_s",
    "state.power.since",
    "state.power.mains.hours_today",
    *(
        f"state.power.generator.{key}"
        for key in ("running", "current_a", "voltage_v", "frequency_hz", "load_pct")
    ),
    *(
        f"state.power.battery.{key}"
        for key in (
            "charge_pct", "uncertainty_pct", "voltage_v", "current_a", "power_w",
            "time_to_empty_min",
        )
    ),
    *(
        f"state.unit.{key}"
        for key in ("undervoltage", "throttled", "cpu_c", "disk_free_mb", "disk_written_mb")
    ),
    *(f"about.unit.{key}" for key in ("undervoltages", "throttlings", "own_written_mb")),
    *(
        f"about.sensors.{i}.read_duration_{key}_s"
        for i in range(len(FITTED))
        for key in ("mean", "max")
    ),
    *(f"state.power.{key}" for key in DARK_IN),
    *(f"state.power.battery.{key}" for key in RESERVE),
    *(f"state.power.generator.{key}" for key in FUEL),
    "refuelled.detail.litres",
    "battery_ok.detail.charge_pct",
    "store_quarantined.detail.file",
    "power_cut.detail.last",
    "power_cut.detail.off_s",
}  # fmt: skip


def test_no_key_may_be_left_out(happenings: list[Happening]) -> None:
    for topic, message in examples(happenings):
        for path in places(message):
            optional = dotted(path).removeprefix("records.0.") in OPTIONAL
            assert is_refused(topic, without(message, path)) != optional, (message, path)


def test_no_value_may_be_of_another_kind(happenings: list[Happening]) -> None:
    for topic, message in examples(happenings):
        for path in places(message):
            copy = changed(message, path, to_another_kind)
            assert is_refused(topic, copy), (message, path)


def test_only_what_may_be_unknown_may_be_null(happenings: list[Happening]) -> None:
    for topic, message in examples(happenings):
        kind = message.get("event", topic)
        for path in places(message):
            name = f"{kind}.{dotted(path)}".replace("history.records.0", "state")
            copy = replaced(message, path, None)
            nullable = name in NULLABLE or (
                # A door with one beam: neither the direction nor the number of people inside is known.
                name in ("state.capacity.entered_total", "state.capacity.left_total")
                and "capacity" in message
                and message["capacity"]["people"] is None
            )
            assert is_refused(topic, copy) != (copy == message or nullable), name


@pytest.mark.parametrize("message", [starting(), silent(), failing()])
def test_nothing_may_be_measured_without_a_working_sensor(message: Message) -> None:
    unknown = [path for path in places(message) if value_at(message, path) is None]
    # People, source, mains, generator, battery, climate, carbon monoxide.
    assert len(unknown) >= 3 + 1 + 5 + 6 + 10 + 3 + 2
    for path in unknown:
        if dotted(path) == "capacity.open":
            continue  # a person's word, which no sensor measures
        for value in (1, True, "2026-11-22T18:04:10Z"):
            kept = dotted(path) in ("power.generator.voltage_v", "power.generator.frequency_hz")
            allowed = kept and type(value) is int and qualities(message)["generator"] == "fault"
            if path[-1] in FUEL[1:]:  # people say it, and no sensor measures it
                allowed = type(value) is int
            if path[0] == "climate":  # the other thermometer may work
                allowed = type(value) is int
            assert is_refused("state", replaced(message, path, value)) != allowed, (path, value)


@pytest.mark.parametrize("kind", [*contract.KINDS, *(f"command/{c}" for c in sorted(COMMANDS))])
@pytest.mark.parametrize("message", [None, [], "text", 1, {}])
def test_a_message_is_an_object_with_something_in_it(kind: str, message: object) -> None:
    assert list(contract.faults(kind, message))


@pytest.mark.parametrize(
    ("topic", "path", "value"),
    [
        ("link", "v", 2),
        ("link", "v", True),
        ("link", "boot", 0),
        ("link", "conn", 0),
        ("link", "online", "yes"),
        ("about", "id", "a/b"),
        ("about", "id", ""),
        ("about", "id", "x" * 65),
        ("about", "seats", 0),
        ("about", "latitude", 91),
        ("about", "latitude", -91),
        ("about", "latitude", None),
        ("about", "longitude", -181),
        ("about", "longitude", 181),
        ("about", "timezone", ""),
        ("about", "software", ""),
        ("about", "region", "Kyiv"),
        ("about", "config", "none"),
        ("about", "ttl_s", 0),
        ("about", "sensors", [{"name": "door"}]),
        ("about", "sensors", ["door"]),
        ("about", "sensors", [{"name": "door", "driver": ""}]),
        ("about", "sensors", [{"name": "door", "driver": "beams"}] * 2),
        ("state", "boot", 412.5),
        ("state", "seq", 0),
        ("state", "uptime_s", -1),
        ("state", "ts", None),
        ("state", "ts", "2026-11-22T18:04:10"),
        ("state", "ts", "2026-11-22T18:04:10+02:00"),
        ("state", "ts", "2026-11-22 18:04:10Z"),
        ("state", "ts", "2026-13-22T18:04:10Z"),
        ("state", "ts", 1_795_000_000),
        ("state", "ts_estimated", True),
        ("state", "ts_estimated", False),
        ("state", "clock", "unsynced"),
        ("state", "clock", "set"),
        ("state", "ttl_s", -180),
        ("state", "capacity.people", -1),
        ("state", "capacity.people", 4.5),
        ("state", "capacity.people", "43"),
        ("state", "capacity.people", float("nan")),
        ("state", "capacity.free", -17),
        ("state", "capacity.uncertainty", -1),
        ("state", "capacity.entered_total", -1),
        ("state", "capacity.left_total", -1),
        ("state", "capacity.entered_today", -1),
        ("state", "capacity.left_today", -1),
        ("state", "capacity.seats", 0),
        ("state", "capacity.open", 1),
        ("state", "capacity.quality", "good"),
        ("state", "capacity.quality", "starting"),
        ("state", "capacity.quality", "stale"),
        ("state", "capacity.quality", "fault"),
        ("state", "power.source", "solar"),
        ("state", "power.source", "unknown"),
        ("state", "power.since", "16:04"),
        ("state", "power.quality", "fault"),
        ("state", "power.mains.present", 1),
        ("state", "power.mains.hours_today", -0.1),
        ("state", "power.mains.hours_today", 25.1),
        ("state", "power.mains.quality", "stale"),
        ("state", "power.mains.quality", "fault"),
        ("state", "power.mains.quality", "starting"),
        ("state", "power.generator.current_a", float("inf")),
        ("state", "power.generator.voltage_v", -1),
        ("state", "power.generator.frequency_hz", -50),
        ("state", "power.generator.load_pct", -1),
        ("state", "power.generator.hours_total", -1),
        ("state", "power.generator.quality", "stale"),
        ("state", "power.generator.quality", "fault"),
        ("state", "power.generator.quality", "starting"),
        ("state", "power.battery.charge_pct", 100.1),
        ("state", "power.battery.charge_pct", -1),
        ("state", "power.battery.uncertainty_pct", 101),
        ("state", "power.battery.uncertainty_pct", -1),
        ("state", "power.battery.method", ""),
        ("state", "power.battery.voltage_v", -25.9),
        ("state", "power.battery.time_to_empty_min", -1),
        ("state", "power.battery.quality", "stale"),
        ("state", "power.battery.quality", "fault"),
        ("state", "power.battery.quality", "starting"),
        ("state", "climate.inside_c", -300),
        ("state", "climate.humidity_pct", 101),
        ("state", "climate.quality", "cold"),
        ("state", "co.ppm", -0.1),
        ("state", "co.ppm", None),
        ("state", "co.level", "high"),
        ("state", "co.level", None),
        ("state", "co.quality", "starting"),
        ("state", "co.quality", "stale"),
        ("state", "alerts", ["battery_low", "battery_low"]),
        ("state", "alerts", [1]),
        ("state", "alerts", [""]),
        ("state", "unit.undervoltage", 0),
        ("state", "unit.cpu_c", 48700),
        ("state", "unit.disk_free_mb", -1),
        ("state", "unit.disk_written_mb", 0.5),
        ("state", "unit.queue", -1),
        ("state", "unit.reconnects", -1),
        ("about", "unit.undervoltages", -1),
        ("about", "unit.boot", 0),
        ("about", "unit.serial", ""),
        ("about", "unit.serial", "x" * 65),
        ("about", "unit.installed", "2026-11-22"),
        ("link", "serial", ""),
        ("days", "days.0.date", "2026-02-30"),
        ("days", "days.0.closed", None),
        ("days", "days.0.watched_h", 25.5),
        ("days", "days.0.entered", -1),
        ("state", "serial", "a/b"),
        ("about", "sensors.0.reads", -1),
        ("about", "sensors.0.errors", 0.5),
        ("about", "sensors.0.read_duration_max_s", -0.1),
        ("state", "buffer.rows", -1),
        ("state", "buffer.oldest_s", -1),
        ("state", "buffer.dropped", -1),
        ("state", "buffer.dropped", 0.5),
        ("history", "records", []),
        ("history", "records.0.capacity.people", -1),
        ("history", "records.0.event", "mains_lost"),
        ("res/a1", "ok", True),
        ("res/a1", "error", ""),
        ("res/a1", "cid", "a/1"),
        ("res/a1", "people", -1),
        ("res/a1", "people", 0.5),
        ("res/a1", "open", 1),
        ("res/a1", "seconds", 0),
        ("res/a1", "seconds", 601),
        ("res/a1", "seconds", 0.5),
    ],
)
def test_what_cannot_be_is_refused(topic: str, path: str, value: object) -> None:
    message = dict(examples([]))[topic]
    steps: Steps = tuple(int(s) if s.isdecimal() else s for s in path.split("."))
    assert not is_refused(topic, message)
    assert is_refused(topic, replaced(message, steps, value))


@pytest.mark.parametrize("source", ["unknown", "mains"])
@pytest.mark.parametrize("quality", list(Quality))
def test_an_unknown_source_is_not_ok_and_a_known_one_rests_on_a_sensor(
    source: str, quality: str
) -> None:
    message = replaced(state(working(), at(0)), ("power", "source"), source)
    message = replaced(replaced(message, ("power", "since"), None), ("power", "quality"), quality)
    wanted: dict[str, set[str]] = {
        "unknown": {q.value for q in Quality} - {"ok"},
        "mains": {"ok", "estimated"},
    }
    assert is_refused("state", message) != (quality in wanted[source])


def test_an_estimated_time_says_so_and_no_other_does() -> None:
    now = at(0, synced=False)
    message = state(Tent(CONFIG, now), now)
    assert is_refused("state", replaced(message, ("ts_estimated",), False))
    assert is_refused("state", without(message, ("ts_estimated",)))
    assert is_refused("state", replaced(message, ("ts",), None))
    assert is_refused("state", replaced(message, ("clock",), "synced"))


FAILURE = {
    "sensor": "door",
    "quality": "fault",
    "error": "the beam is broken",
    "code": "door.blocked",
}


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("Mains gone", {"source": "battery"}),
        ("mains_lost", {"source": "solar"}),
        ("battery_low", {"charge_pct": None}),
        ("battery_low", {"charge_pct": 120}),
        ("battery_low", {"charge_pct": -1}),
        ("alert_raised", {"alert": "Battery low!"}),
        ("sensor_failed", {**FAILURE, "quality": "ok"}),
        ("sensor_failed", {**FAILURE, "error": ""}),
        ("sensor_failed", {**FAILURE, "code": "no code"}),
        ("headcount_set", {"people": -1, "counted": 0, "correction": -1}),
        ("headcount_set", {"people": 0, "counted": -1, "correction": 1}),
        ("closed", {"by": ""}),
        ("store_quarantined", {"file": ""}),
        ("records_dropped", {"records": 0}),
        ("power_cut", {"boot": 411, "uptime_s": 1.0, "last": "yesterday", "off_s": 1}),
        ("power_cut", {"boot": 411, "uptime_s": 1.0, "last": None, "off_s": -1}),
    ],
)
def test_an_event_that_cannot_be_is_refused(name: str, detail: dict[str, Any]) -> None:
    message = event(Happening("door_cleared", {}))
    assert is_refused("event", {**message, "event": name, "detail": detail})


@pytest.mark.parametrize(
    "key",
    [
        "date",
        "entered",
        "left",
        "peak",
        "mains_h",
        "generator_h",
        "battery_h",
        "outages",
        "watched_h",
    ],
)
@pytest.mark.parametrize("value", ["2026-02-30", "20261122", 25.5, -1])
def test_a_day_that_cannot_be_is_refused(
    happenings: list[Happening], key: str, value: object
) -> None:
    day = next(event(h) for h in happenings if h.event == "day_closed")
    assert is_refused("event", replaced(day, ("detail", key), value))


def test_a_link_with_a_time_has_a_clock_and_only_the_will_has_neither() -> None:
    birth = as_sent("link", messages.link(True, 412, 7, at(0)))
    goodbye = {**birth, "online": False}
    assert not is_refused("link", without(without(goodbye, ("ts",)), ("clock",)))
    assert is_refused("link", without(without(birth, ("ts",)), ("clock",)))
    assert is_refused("link", without(goodbye, ("ts",)))
    assert is_refused("link", without(goodbye, ("clock",)))


def test_a_generator_may_keep_its_voltage_in_a_fault_and_nothing_else() -> None:
    tent = working()
    tent.apply(clipped(1), at(1))
    fault = replaced(state(tent, at(1)), ("power", "generator", "voltage_v"), 13.1)
    assert not is_refused("state", fault)
    for key, value in (("running", True), ("current_a", 1.0), ("power_w", 1.0), ("load_pct", 1)):
        assert is_refused("state", replaced(fault, ("power", "generator", key), value))
    for quality in ("stale", "starting"):
        assert is_refused("state", replaced(fault, ("power", "generator", "quality"), quality))


def test_keys_of_later_versions_are_no_fault(happenings: list[Happening]) -> None:
    for topic, message in examples(happenings):
        assert not is_refused(topic, {**message, "new": {"x": 1}})


# Commands: the unit carries out exactly those that the schema accepts

GOOD: dict[str, Message] = {
    "headcount": {"people": 43},
    "open": {"open": True},
    "report": {},
    "identify": {"seconds": 600},
    "zero": {"sensor": "generator"},
    "serviced": {},
    "resend": {"from": {"boot": 411, "seq": 20}, "to": {"boot": 412, "seq": 1}},
    "refuelled": {"litres": 9.5, "full": True},
}
LATER = {"cid": "a1", "expires": "2026-11-22T18:10:00Z"}


def is_carried_out(name: str, payload: Message) -> bool:
    try:
        from_broker(
            name, json.dumps(payload).encode(), REMOTE_CHECKS, CONFIG, retained=False, now=at(0)
        )
    except Refused:
        return False
    return True


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_good_command(name: str) -> None:
    assert not is_refused(f"cmd/{name}", {**LATER, **GOOD[name]})


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_good_command_is_carried_out(name: str) -> None:
    assert is_carried_out(name, {**LATER, **GOOD[name]})
    assert is_carried_out(name, {**LATER, **GOOD[name], "expires": "2026-11-22T20:10:00.5+02:00"})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("headcount", {"people": -1}),
        ("headcount", {"people": 4.5}),
        ("headcount", {"people": "43"}),
        ("headcount", {"people": True}),
        ("headcount", {"people": None}),
        ("open", {"open": None}),
        ("open", {"open": 1}),
        ("open", {"open": "yes"}),
        *(
            (name, {"by": by})
            for name in ("headcount", "open")
            for by in (None, 7, ["Olena"], "x" * 41, "a\nb", "a\x1b[2J")
        ),
        *(
            ("resend", {key: pair})
            for key in ("from", "to")
            for pair in (None, [411, 20], {"boot": 411}, {"boot": "411", "seq": 1})
        ),
        ("resend", {"from": {"boot": 0, "seq": 1}}),
        ("resend", {"from": {"boot": 1, "seq": 0}}),
        ("resend", {"to": {"boot": 412, "seq": 1.5}}),
        ("identify", {"seconds": 0}),
        ("identify", {"seconds": 601}),
        ("identify", {"seconds": 1.5}),
        ("identify", {"seconds": "60"}),
        ("zero", {"sensor": None}),
        ("zero", {"sensor": ""}),
        *(
            (name, change)
            for name in sorted(COMMANDS)
            for change in (
                {"cid": ""},
                {"cid": "a/1"},
                {"cid": "a+"},
                {"cid": "a\n1"},
                {"cid": "x" * 65},
                {"cid": 1},
                {"expires": None},
                {"expires": "soon"},
                {"expires": "2026-11-22T18:10:00"},
                {"expires": "2026-22-11T18:10:00Z"},
            )
        ),
    ],
)
def test_a_bad_command_is_refused_by_schema_and_unit(name: str, change: Message) -> None:
    payload = {**LATER, **GOOD[name], **change}
    assert is_refused(f"cmd/{name}", payload)
    assert not is_carried_out(name, payload)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_key_of_a_command_may_be_left_out(name: str) -> None:
    payload = {**LATER, **GOOD[name]}
    for key in payload:
        optional = name == "refuelled" and key in ("litres", "full")  # either is enough
        assert is_refused(f"cmd/{name}", without(payload, (key,))) != optional


@pytest.mark.parametrize("name", ["headcount", "open"])
@pytest.mark.parametrize("by", ["", "Olena Koval", "Олена", "x" * 40])
def test_who_says_so_may_be_named(name: str, by: str) -> None:
    payload = {**LATER, **GOOD[name], "by": by}
    assert not is_refused(f"cmd/{name}", payload)
    assert is_carried_out(name, payload)


# The schemas themselves


def nodes(schema: Any, path: Steps = ()) -> Iterator[tuple[Steps, dict[str, Any]]]:
    """Yield every object in a schema file with its path."""
    if isinstance(schema, dict):
        yield path, schema
        for key, value in schema.items():
            yield from nodes(value, (*path, key))
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from nodes(value, (*path, index))


def document(name: str) -> dict[str, Any]:
    text = files("publisher").joinpath("schemas", name).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def resolved(reference: str, file: str) -> Any:
    """Return the target of a `$ref` in `file`. Raises KeyError if there is none."""
    name, _, pointer = reference.partition("#")
    found: Any = document(name.removeprefix("./") or file)
    for step in pointer.split("/")[1:]:
        found = found[step]
    return found


FILES = sorted(f.name for f in (ROOT / "publisher" / "schemas").iterdir())


def test_there_is_a_file_for_each_kind() -> None:
    assert set(FILES) == {"asyncapi.json", *(f"{name}.json" for name in contract.SCHEMAS)}


@pytest.mark.parametrize("file", FILES)
def test_every_reference_leads_somewhere(file: str) -> None:
    for _, node in nodes(document(file)):
        if "$ref" in node:
            assert isinstance(resolved(node["$ref"], file), dict)


@pytest.mark.parametrize("name", contract.SCHEMAS)
def test_a_schema_is_one_and_goes_by_its_file_s_name(name: str) -> None:
    schema = contract.schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].endswith(f"/v1/{name}.json")


@pytest.mark.parametrize("name", contract.SCHEMAS)
def test_a_schema_means_the_same_to_older_tools(name: str) -> None:
    keywords = {
        "$schema", "$id", "$ref", "$defs", "title", "description", "type", "const", "enum",
        "pattern", "format", "minLength", "minimum", "maximum", "required", "properties", "items",
        "maxItems", "uniqueItems", "allOf", "anyOf", "not", "examples",
    }  # fmt: skip
    for path, node in nodes(contract.schema(name)):
        if path and path[-1] in ("properties", "$defs"):
            continue
        assert set(node) <= keywords, path
        assert "$ref" not in node or len(node) == 1, f"something stands beside a $ref in {path}"


def test_no_two_titles_are_the_same() -> None:
    """Code generators name classes by them, and merge two of the same name."""
    names: dict[str, str] = {}
    for name in contract.SCHEMAS:
        for path, node in nodes(contract.schema(name)):
            if "not" in path or not isinstance(node.get("title"), str):
                continue
            title, place = (
                "".join(re.findall(r"\w", node["title"].lower())),
                f"{name}: {dotted(path)}",
            )
            assert title not in names, f"{node['title']!r} stands in {names[title]} and {place}"
            names[title] = place


def test_every_object_says_that_it_is_one() -> None:
    """Otherwise Modelina takes the type of one of its keys for that of another."""
    for name in contract.SCHEMAS:
        for path, node in nodes(contract.schema(name)):
            if "not" not in path and isinstance(node.get("properties"), dict):
                assert node.get("type") == "object", f"{name}: {dotted(path)}"


@pytest.mark.parametrize("name", contract.SCHEMAS)
def test_every_key_is_described(name: str) -> None:
    for path, node in nodes(contract.schema(name)):
        if "not" in path:
            continue
        for key, declared in node.items() if path and path[-1] == "properties" else ():
            if "$ref" in declared:
                declared = resolved(declared["$ref"], f"{name}.json")
            assert {"title", "description"} <= set(declared), (path, key)


def test_the_words_are_those_of_the_code() -> None:
    defs = contract.schema("common")["$defs"]
    assert set(defs["quality"]["enum"]) == set(Quality)
    assert set(defs["source"]["enum"]) == set(Source)
    assert set(contract.schema("command")["$defs"]) == {"any", *COMMANDS}
    assert set(REMOTE_CHECKS) == COMMANDS


# AsyncAPI


def test_each_kind_has_a_channel_with_the_contract_s_address_and_schema() -> None:
    api = document("asyncapi.json")
    assert set(api["channels"]) == set(TOPICS) == set(contract.KINDS)
    for kind, (address, _, _) in TOPICS.items():
        channel = api["channels"][kind]
        assert channel["address"] == f"tents/v1/{{id}}/{address}"
        assert set(channel["parameters"]) == set(re.findall(r"{(\w+)}", channel["address"]))
        names = COMMANDS if kind == "command" else {kind}
        assert set(channel["messages"]) == names
        for name in names:
            message = resolved(channel["messages"][name]["$ref"], "asyncapi.json")
            part = f"#/$defs/{name}" if kind == "command" else ""
            assert message["payload"] == {"$ref": f"./{kind}.json{part}"}
            assert message["contentType"] == "application/json"
    assert set(api["channels"]["command"]["parameters"]["command"]["enum"]) == COMMANDS


def test_each_channel_has_one_operation_with_the_contract_s_retain_and_qos() -> None:
    operations = document("asyncapi.json")["operations"].values()
    found = {
        operation["channel"]["$ref"].removeprefix("#/channels/"): (
            operation["action"],
            operation["bindings"]["mqtt"]["qos"],
            operation["bindings"]["mqtt"]["retain"],
        )
        for operation in operations
    }
    assert len(operations) == len(found)
    assert found == {kind: (action, 1, kept) for kind, (_, kept, action) in TOPICS.items()}


def test_the_will_in_the_document_is_a_link() -> None:
    will = document("asyncapi.json")["servers"]["broker"]["bindings"]["mqtt"]["lastWill"]
    assert (will["topic"], will["qos"], will["retain"]) == ("tents/v1/{id}/link", 1, True)
    assert as_sent("link", will["message"]) == json.loads(
        messages.link(False, 412, 7, None, serial=SERIAL)
    )


# The page for dashboards

PAGE = (ROOT / "docs" / "topics.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"<!-- example: (\S+) -->\n```json\n(.*?)```", re.DOTALL)


def test_every_example_on_the_page_follows_the_contract() -> None:
    found = EXAMPLE.findall(PAGE)
    assert len(found) == PAGE.count("```json"), "a JSON example lacks its marker"
    for topic, text in found:
        contract.check(f"{PREFIX}/{topic}", text)
    kinds = {contract.kind_of(f"{PREFIX}/{topic}") for topic, _ in found}
    plain = set(contract.KINDS) - {"command"}
    assert kinds == plain | {f"command/{name}" for name in COMMANDS}


def test_the_page_s_table_of_topics_is_the_contract_s() -> None:
    rows = re.findall(
        r"^\| `tents/v1/<id>/(\S+)` \| (\w+) \| 1 \| .* \[(\w+)\]\((.*)\) \|$", PAGE, re.MULTILINE
    )
    assert {kind: (topic, kept) for topic, kept, kind, _ in rows} == {
        kind: (address.replace("{", "<").replace("}", ">"), "yes" if kept else "no")
        for kind, (address, kept, _) in TOPICS.items()
    }
    for *_, kind, link in rows:
        assert (ROOT / "docs" / link).resolve() == ROOT / "publisher" / "schemas" / f"{kind}.json"


def test_the_page_explains_every_key_and_every_word() -> None:
    text = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    explained = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", text))))
    for name in contract.SCHEMAS:
        for path, node in nodes(contract.schema(name)):
            words = node.get("enum", node.get("examples", ()))
            words = node if path and path[-1] == "properties" else words
            assert set(words) <= explained, f"{name}: {path}"
