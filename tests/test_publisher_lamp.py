"""The lamp, the buzzer and the button: the meaning of each pattern, and the unit's use of their lines."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gpiozero
import pytest

from publisher.unit import buzzer, lamp
from publisher.unit.buzzer import SILENCE_S, SILENCED, SILENT, Buzzer
from publisher.unit.lamp import (
    CO_ALARM,
    DARK,
    IDENTIFY,
    NO_LINK,
    NOTED,
    SENSOR_FAULT,
    STARTING,
    WORKING,
)
from publisher.unit.panel import Panel
from sensors.clock import Monotonic
from sensors.gpio import UNUSABLE, Output
from sensors.simulated.hardware import LAMP_GPIO, SimulatedHardware
from tests.conftest import Broker, Subscriber, Unit, all_well, is_connected, wait_for
from tests.devices import simulated

BUTTON_GPIO, BUZZER_GPIO = 25, 16
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("qualities", "connected", "tried", "pattern"),
    [
        (["ok", "ok"], True, True, WORKING),
        (["ok", "estimated"], True, True, WORKING),
        ([], True, True, WORKING),
        (["ok"], False, True, NO_LINK),
        (["ok"], False, False, STARTING),
        (["ok", "starting"], True, True, STARTING),
        (["starting", "fault"], False, False, SENSOR_FAULT),
        (["ok", "stale"], True, True, SENSOR_FAULT),
        (["ok", "fault"], False, True, SENSOR_FAULT),
    ],
)
def test_a_pattern_stands_for_what_can_be_mended_first(
    qualities: list[str], connected: bool, tried: bool, pattern: str
) -> None:
    assert lamp.state_pattern(qualities, connected=connected, tried=tried) == pattern


def test_patterns_differ_by_the_number_of_their_flashes() -> None:
    flashes = {name: len(steps_s) // 2 for name, steps_s in lamp.STEPS_S.items()}
    assert (flashes[WORKING], flashes[NO_LINK], flashes[SENSOR_FAULT]) == (1, 2, 3)
    for name in (WORKING, NO_LINK, SENSOR_FAULT):
        lit, dark = lamp.STEPS_S[name][::2], lamp.STEPS_S[name][1::2]
        assert max(lit) <= 0.3, "short flashes"
        assert all(pause_s >= 4 * max(lit, default=0) for pause_s in dark[-1:])
        assert dark[-1] > 5 * max(dark[:-1], default=0.0), "groups stand apart"
    for name in (STARTING, IDENTIFY):
        lit_s, dark_s = lamp.STEPS_S[name]
        assert lit_s == dark_s, "even"
    assert lamp.STEPS_S[STARTING][0] >= 5 * lamp.STEPS_S[IDENTIFY][0], "slow and fast"
    assert len(set(lamp.STEPS_S.values())) == len(lamp.STEPS_S)


def test_the_page_has_every_pattern() -> None:
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    table = text.partition("### Lamp and button")[2].partition("###")[0]
    status = (ROOT / "docs" / "status.md").read_text(encoding="utf-8")
    for pattern in (*lamp.STEPS_S, *buzzer.STEPS_S):
        assert f"| {pattern} |" in table, pattern
        assert f"`{pattern}`" in status, pattern


class Witness(Monotonic):
    """A clock a thousand times as fast that notes the lamp's level during each wait."""

    def __init__(self) -> None:
        super().__init__(1000.0)
        self.waits: list[tuple[bool, float]] = []
        self.hardware: SimulatedHardware | None = None

    def real_s(self, interval_s: float) -> float:
        if self.hardware is not None:
            self.waits.append((self.hardware.pins.is_high(LAMP_GPIO), interval_s))
        return super().real_s(interval_s)


@pytest.mark.parametrize("pattern", [WORKING, NO_LINK, SENSOR_FAULT, STARTING, IDENTIFY, CO_ALARM])
def test_the_line_follows_the_pattern(tmp_path: Path, pattern: str) -> None:
    clock = Witness()
    clock.hardware = SimulatedHardware(tmp_path, clock)
    steps_s = lamp.STEPS_S[pattern]
    shown = Output(LAMP_GPIO, clock.hardware, clock, "lamp")
    shown.show(steps_s)
    wait_for(lambda: len(clock.waits) > 2 * len(steps_s), "two rounds")
    shown.close()
    expected = [(number % 2 == 0, step_s) for number, step_s in enumerate(steps_s)]
    assert clock.waits[: 2 * len(steps_s)] == expected * 2
    assert not clock.hardware.pins.is_high(LAMP_GPIO), "it goes out"
    clock.hardware.close()


def test_steady_light_and_darkness_need_no_thread(tmp_path: Path) -> None:
    with simulated(tmp_path) as (hardware, clock):
        shown = Output(LAMP_GPIO, hardware, clock, "lamp")
        for steps_s, lit in (((1.0,), True), ((), False), (lamp.STEPS_S[IDENTIFY], None)):
            shown.show(steps_s)
            if lit is not None:
                assert hardware.pins.is_high(LAMP_GPIO) is lit
                assert shown._thread is None
        shown.show(())
        assert shown._thread is None
        assert not hardware.pins.is_high(LAMP_GPIO)
        shown.close()


def make_panel(
    unit: Unit, hardware: SimulatedHardware, clock: Monotonic, **changes: object
) -> Panel:
    tent = replace(unit.config.tent, **changes)  # type: ignore[arg-type]
    return Panel(tent, hardware, clock, lambda _: None)


def test_commands_come_before_the_state_and_end(unit: Unit) -> None:
    panel = make_panel(unit, unit.hardware, unit.clock)
    panel.start()
    assert panel.lamp.pattern == STARTING
    panel.show_state(WORKING, 10.0)
    assert panel.lamp.pattern == WORKING
    panel.identify(5, 10.0)
    panel.show_state(NO_LINK, 12.0)
    assert panel.lamp.pattern == IDENTIFY
    panel.note(13.0)
    assert panel.lamp.pattern == NOTED
    panel.tend(13.0 + lamp.NOTED_S)
    assert panel.lamp.pattern == NO_LINK, "both are over"
    panel.close()
    assert panel.lamp.pattern is None


def test_a_lamp_for_identify_only_is_dark_otherwise(unit: Unit) -> None:
    panel = make_panel(unit, unit.hardware, unit.clock, lamp="identify")
    panel.start()
    panel.show_state(SENSOR_FAULT, 10.0)
    assert panel.lamp.pattern == DARK
    panel.identify(5, 10.0)
    assert panel.lamp.pattern == IDENTIFY
    panel.tend(15.0)
    assert panel.lamp.pattern == DARK
    panel.close()


def test_a_lamp_that_cannot_be_had_is_one_warning(
    unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    unit.hardware.pins.failure = OSError("the GPIO chip is gone")
    panel = make_panel(unit, unit.hardware, unit.clock)
    with caplog.at_level(logging.WARNING):
        panel.start()
        for second in range(10):
            panel.show_state(WORKING, float(second))
            panel.tend(float(second))
    assert len(caplog.records) == 1
    assert f"the lamp: GPIO {LAMP_GPIO} cannot be used" in caplog.text
    assert panel.lamp.pattern is None
    assert panel.lamp.trouble is not None and panel.lamp.trouble.kind is UNUSABLE
    unit.hardware.pins.failure = None
    panel.follow(["co_alarm"], 11.0)
    found: tuple[str | None, object] = (panel.lamp.pattern, panel.lamp.trouble)
    assert found == (CO_ALARM, None), "it is tried again"
    panel.close()


def test_a_line_that_fails_for_a_moment_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Witness()
    hardware = SimulatedHardware(tmp_path, clock)
    shown = Output(BUZZER_GPIO, hardware, clock, "buzzer")
    shown.show((0.1, 0.1))
    with caplog.at_level(logging.WARNING):
        hardware.pins.failure = OSError("the GPIO chip is gone")
        wait_for(lambda: shown.trouble is not None, "the fault")
        hardware.pins.failure = None
        wait_for(lambda: shown.trouble is None, "the next step")
    assert "the buzzer: GPIO 16 cannot be used" in caplog.text
    for high in (True, False, True):
        wait_for(lambda high=high: hardware.pins.is_high(BUZZER_GPIO) is high, "a tone")  # type: ignore[misc]
    shown.close()
    hardware.close()


# Carbon monoxide


def test_the_alarm_outranks_whatever_else_the_lamp_shows(unit: Unit) -> None:
    panel = make_panel(unit, unit.hardware, unit.clock)
    panel.start()
    panel.show_state(SENSOR_FAULT, 10.0)
    panel.identify(600, 10.0)
    panel.note(10.0)
    panel.follow(["battery_low", "co_warning"], 10.5)
    assert panel.lamp.pattern == NOTED, "a warning is for the buzzer"
    panel.follow(["battery_low", "co_alarm"], 11.0)
    assert panel.lamp.pattern == CO_ALARM
    panel.identify(5, 12.0)
    panel.note(12.0)
    assert panel.lamp.pattern == CO_ALARM
    panel.follow([], 18.0)
    assert panel.lamp.pattern == SENSOR_FAULT, "the others are over"
    panel.close()


def test_a_lamp_for_identify_only_shows_the_alarm(unit: Unit) -> None:
    panel = make_panel(unit, unit.hardware, unit.clock, lamp="identify")
    panel.follow(["co_alarm"], 10.0)
    assert panel.lamp.pattern == CO_ALARM
    panel.close()


def test_the_alarm_sounds_most_of_the_time_and_the_warning_hardly() -> None:
    def share(pattern: str) -> float:
        steps_s = buzzer.STEPS_S[pattern]
        return sum(steps_s[::2]) / sum(steps_s)

    assert share(buzzer.CO_ALARM) > 0.7
    assert max(buzzer.STEPS_S[buzzer.CO_ALARM][1::2]) < 1.0, "nobody can take a pause for the end"
    assert 0.0 < share(buzzer.CO_WARNING) < 0.05


def test_the_buzzer_sounds_the_worse_alert() -> None:
    sound = Buzzer()
    for alerts, pattern in (
        (["battery_low"], SILENT),
        (["co_warning"], buzzer.CO_WARNING),
        (["co_alarm"], buzzer.CO_ALARM),
        (["co_alarm", "co_warning"], buzzer.CO_ALARM),
        ([], SILENT),
    ):
        sound.follow(alerts)
        assert sound.pattern(10.0) == pattern


def test_a_silenced_buzzer_sounds_again_after_five_minutes() -> None:
    sound = Buzzer()
    assert not sound.silence(10.0), "nothing sounds"
    sound.follow(["co_alarm"])
    assert sound.silence(10.0)
    assert not sound.silence(20.0), "it is silent already"
    assert sound.pattern(10.0 + SILENCE_S - 0.1) == SILENCED
    assert sound.pattern(10.0 + SILENCE_S) == buzzer.CO_ALARM


def test_a_silenced_warning_is_no_silenced_alarm() -> None:
    sound = Buzzer()
    sound.follow(["co_warning"])
    assert sound.silence(10.0)
    sound.follow(["co_alarm"])
    assert sound.pattern(11.0) == buzzer.CO_ALARM
    assert sound.silence(12.0)
    sound.follow(["co_warning"])
    assert sound.pattern(13.0) == SILENCED, "what was worse is silenced"


def test_the_next_alarm_is_not_silenced() -> None:
    sound = Buzzer()
    sound.follow(["co_alarm"])
    sound.silence(10.0)
    sound.follow([])
    sound.follow(["co_alarm"])
    assert sound.pattern(11.0) == buzzer.CO_ALARM


def test_without_a_buzzer_there_is_nothing_to_silence(unit: Unit) -> None:
    panel = make_panel(unit, unit.hardware, unit.clock)
    panel.follow(["co_alarm"], 10.0)
    assert not panel.silence(11.0)
    assert panel.buzzer.pattern is None
    panel.close()


def test_lamp_and_buzzer_follow_the_tents_alerts_and_a_hand_silences_the_buzzer(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = with_button(make_unit(broker.port, speed=2))
    tent = replace(unit.config.tent, buzzer_gpio=BUZZER_GPIO)
    unit.config = replace(unit.config, tent=tent)
    unit.start()
    subscriber.next("state", all_well)
    assert unit.agent is not None
    unit.agent._ask({"command": "headcount", "people": 7})
    wait_for(lambda: lamp_of(unit) == WORKING, "a unit that works")
    assert unit.status()["buzzer"] == SILENT
    wait_for(lambda: unit.hardware.pins.is_watched(BUTTON_GPIO), "the button")
    unit.agent.tent._alerts.notice({"co_alarm": True})
    wait_for(lambda: unit.hardware.pins.is_high(BUZZER_GPIO), "the alarm")
    status = unit.status()
    assert (status["buzzer"], status["lamp"]) == (buzzer.CO_ALARM, CO_ALARM)
    assert "co_alarm" in status["alerts"]
    press(unit, closed=True)  # as people do who want the noise to stop: as long as it takes
    wait_for(lambda: unit.status()["buzzer"] == SILENCED, "silence")
    assert not unit.hardware.pins.is_high(BUZZER_GPIO)
    assert lamp_of(unit) == CO_ALARM
    assert unit.status()["capacity"]["people"] == 7, "whom rescuers look for"
    press(unit, closed=False)
    unit.agent.tent._alerts.notice({"co_alarm": False})
    wait_for(lambda: unit.status()["buzzer"] == SILENT, "the end of the alarm")
    assert lamp_of(unit) != CO_ALARM
    unit.stop()
    assert not unit.hardware.pins.is_high(BUZZER_GPIO)


def test_a_buzzer_without_a_line_is_told(unit: Unit, subscriber: Subscriber) -> None:
    other = gpiozero.InputDevice(BUZZER_GPIO, pull_up=True, pin_factory=unit.hardware.pins)
    tent = replace(unit.config.tent, buzzer_gpio=BUZZER_GPIO)
    unit.config = replace(unit.config, tent=tent)
    unit.start()
    subscriber.next("state", all_well)
    status = unit.status()
    assert (status["buzzer"], status["buzzer_trouble"]["code"]) == (None, "gpio.unusable")
    assert (status["lamp"] is not None, status["lamp_trouble"]) == (True, None)
    other.close()


def lamp_of(unit: Unit) -> str | None:
    shown: str | None = unit.status()["lamp"]
    return shown


def test_the_lamp_of_a_unit_shows_how_it_does(
    make_unit: Callable[..., Unit], broker: Broker
) -> None:
    unit = make_unit(broker.port, speed=5).start()
    wait_for(lambda: lamp_of(unit) == WORKING, "a unit that works")
    for lit in (True, False, True):
        wait_for(lambda lit=lit: unit.hardware.pins.is_high(LAMP_GPIO) is lit, "a flash")  # type: ignore[misc]
    broker.stop()
    wait_for(lambda: lamp_of(unit) == NO_LINK, "the lost link")
    bus = unit.hardware.bus
    chip = bus.chips.popitem()
    wait_for(lambda: lamp_of(unit) == SENSOR_FAULT, "the failed sensor")
    bus.chips[chip[0]] = chip[1]
    wait_for(lambda: lamp_of(unit) == NO_LINK, "the mended sensor")
    broker.start()
    wait_for(lambda: lamp_of(unit) == WORKING, "the link")
    unit.stop()
    assert not unit.hardware.pins.is_high(LAMP_GPIO), "a unit that has stopped shows nothing"


def with_button(unit: Unit) -> Unit:
    tent = replace(unit.config.tent, button_gpio=BUTTON_GPIO)
    unit.config = replace(unit.config, tent=tent)
    return unit


def press(unit: Unit, closed: bool) -> None:
    unit.hardware.pins.set_cable(BUTTON_GPIO, not closed)


def test_a_press_brings_a_snapshot(unit: Unit, subscriber: Subscriber) -> None:
    with_button(unit).reporting(interval_s=3600.0, ttl_s=7200).start()
    seq = subscriber.next("state", all_well).content["seq"]
    wait_for(lambda: unit.hardware.pins.is_watched(BUTTON_GPIO), "the button")
    at_s = unit.clock.now_s()
    unit.hardware.pins.set_cable(BUTTON_GPIO, False, at_s)
    unit.hardware.pins.set_cable(BUTTON_GPIO, True, at_s + 0.3)
    subscriber.next("state", lambda m: m["seq"] > seq)


def test_a_hold_sets_the_headcount_to_zero_once_and_is_confirmed(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = with_button(make_unit(broker.port, speed=2)).start()
    subscriber.next("state", all_well)
    assert unit.agent is not None
    unit.agent._ask({"command": "headcount", "people": 7})
    wait_for(lambda: unit.hardware.pins.is_watched(BUTTON_GPIO), "the button")
    press(unit, closed=True)
    wait_for(lambda: lamp_of(unit) == NOTED, "the lamp to confirm it")
    assert unit.status()["capacity"]["people"] == 0
    wait_for(lambda: lamp_of(unit) == WORKING, "the lamp to show the state again")
    subscriber.next("event", lambda m: m["event"] == "headcount_set" and m["detail"]["people"] == 7)
    told = subscriber.next("event", lambda m: m["event"] == "headcount_set").content["detail"]
    assert (told["people"], told["counted"], told["correction"]) == (0, 7, -7)
    press(unit, closed=False)
    unit.stop()
    sets = [r for r in subscriber.records() if r.get("event") == "headcount_set"]
    assert len(sets) == 2


def test_a_button_that_is_held_at_power_on_does_nothing(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    unit = with_button(make_unit(broker.port, speed=10))
    press(unit, closed=True)
    unit.start()
    subscriber.next("state", all_well)
    wait_for(lambda: unit.hardware.pins.is_watched(BUTTON_GPIO), "the button")
    uptime_s = unit.status()["uptime_s"]
    wait_for(lambda: unit.status()["uptime_s"] > uptime_s + 8.0, "longer than a hold")
    unit.stop()
    assert not [r for r in subscriber.records() if r.get("event") == "headcount_set"]


def test_a_button_without_a_line_is_one_warning_and_the_unit_works(
    unit: Unit, subscriber: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    with_button(unit)
    other = gpiozero.InputDevice(BUTTON_GPIO, pull_up=True, pin_factory=unit.hardware.pins)
    with caplog.at_level(logging.WARNING):
        unit.start()
        subscriber.next("state", all_well)
        wait_for(lambda: "the button: GPIO 25 cannot be used" in caplog.text, "the warning")
    assert is_connected(unit)
    other.close()
