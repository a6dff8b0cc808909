"""Doctor's own look at the sensors while no service runs: all real drivers at once, for some seconds.

Nothing is counted, and nothing is kept: the tent that makes sense of the readings ends with the look.
"""

import dataclasses
import time
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, cast

from publisher.clock import Clock
from publisher.config.load import Config, SensorSettings
from publisher.recording import usable_totals
from publisher.rules.tent import Tent
from sensors import registry
from sensors.finding import chips
from sensors.hardware import Hardware
from sensors.reading import HasZero, Reading, SensorError
from sensors.sensor import Sensor

#: Length of a look. The generator's state needs some readings; a longer look would show no more.
LEAST_S, LONGEST_S = 4.0, 5.5
#: A serial device has failed after this silence, even if the configuration allows more.
SILENCE_S = 3.0
STOP_S = 0.3
#: Longest time for trying the addresses of a bus.
SCAN_S = 1.0


class Looked(NamedTuple):
    """The result of a look: a status as `tentwatch status` has it, its length, and what else was seen."""

    status: dict[str, Any]
    seconds: float
    broken: tuple[tuple[str, int], ...]
    answering: dict[str, tuple[int, ...]]


def look(config: Config, hardware: Hardware, clock: Clock, saved: dict[str, Any] | None) -> Looked:
    """Open, read and close every sensor; `saved` are the totals of an earlier run."""
    began_s, now = time.monotonic(), clock.now()
    tent = Tent(config, now, usable_totals(saved, config, now, boot=0))
    heard: SimpleQueue[tuple[Reading, ...]] = SimpleQueue()
    taps: dict[str, list[bytes]] = {}
    zeros = tent.zeros()
    sensors = []
    for fitted in config.sensors:
        settings = fitted.config
        if hasattr(settings, "silence_s"):
            settings = dataclasses.replace(settings, silence_s=min(settings.silence_s, SILENCE_S))
        driver = registry.build(fitted.driver, settings, hardware, clock)
        if fitted.traits.broken_beams is not None:
            driver.tap = taps.setdefault(fitted.name, []).append
        if fitted.name in zeros:
            cast(HasZero, driver).set_zero(zeros[fitted.name])
        sensors.append(
            Sensor(fitted.name, driver, clock, lambda readings: heard.put(tuple(readings)))
        )
    for sensor in sensors:
        sensor.start()
    try:
        while (passed_s := time.monotonic() - began_s) < LONGEST_S:
            try:
                tent.apply(heard.get(timeout=0.25), clock.now())
            except Empty:
                tent.tick(clock.now())
            states = tent.sensors(clock.now())
            is_known = all(s["error"] or s["quality"] == "ok" for s in states)
            if passed_s >= LEAST_S and is_known:
                break
    finally:
        for sensor in sensors:
            sensor.stop()
        limit_s = time.monotonic() + STOP_S
        for sensor in sensors:
            sensor.join(max(0.0, limit_s - time.monotonic()))
    now = clock.now()
    status = {
        "sensors": tent.sensors(now),
        "since_headcount": tent.since_headcount(),
        **tent.snapshot(),
    }
    return Looked(
        status,
        time.monotonic() - began_s,
        tuple(
            beam
            for sensor in config.sensors
            if sensor.traits.broken_beams is not None
            for beam in sensor.traits.broken_beams(b"".join(taps[sensor.name]))
        ),
        _answering(config, hardware, status),
    )


def _answering(
    config: Config, hardware: Hardware, status: dict[str, Any]
) -> dict[str, tuple[int, ...]]:
    """Return the other addresses at which a missing sensor's chip answers, by sensor."""
    codes = {s["name"]: s["trouble"]["code"] for s in status["sensors"] if s["trouble"]}
    missed, used = list[SensorSettings](), set[tuple[int, int]]()
    for sensor in config.sensors:
        chip, silent = sensor.traits.chip, sensor.traits.silent
        if chip is None:
            continue
        if silent is not None and codes.get(sensor.name) == silent.code:
            missed.append(sensor)
        else:
            used.add((sensor.config.bus, sensor.config.address))
    limit_s = time.monotonic() + SCAN_S
    return {
        sensor.name: _scan(hardware, sensor, used, limit_s)
        for sensor in missed
        if time.monotonic() < limit_s
    }


def _scan(
    hardware: Hardware, sensor: SensorSettings, used: set[tuple[int, int]], limit_s: float
) -> tuple[int, ...]:
    chip, number, found = sensor.traits.chip, sensor.config.bus, list[int]()
    assert chip is not None, "only sensors with a chip are looked for"
    try:
        bus = hardware.i2c(number)
    except SensorError:
        return ()
    try:
        for address in chip.addresses:
            if time.monotonic() > limit_s:
                break  # the whole bus hangs: each transfer takes a second
            if (number, address) not in used and chips.is_at(chip, bus, address):
                found.append(address)
    finally:
        bus.deinit()
    return tuple(found)
