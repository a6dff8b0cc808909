"""The promises of every driver, alone and in a Sensor; a new driver is tested without changes here."""

import dataclasses
import errno
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import serial

from sensors import gpio, registry
from sensors.clock import Monotonic
from sensors.hardware import BUS_DENIED, Hardware
from sensors.reading import (
    ERRORS,
    FAULT,
    READ_DURATION_S,
    READS,
    Driver,
    Measurement,
    Quality,
    Reading,
    SensorError,
)
from sensors.sensor import TOLERATED_FAILURES, UNEXPECTED, Sensor
from sensors.serial_port import BUSY, DENIED, MISSING, NO_PORT, UNUSABLE
from sensors.simulated.hardware import MAINS_GPIO, SimulatedHardware
from sensors.traits import Connection
from sensors.trouble import BUS, SENSOR, Kind
from technician.words import kinds
from tests.devices import (
    DEVICES,
    PATIENCE_S,
    Device,
    Listener,
    MakeDevice,
    descriptors,
    making_devices,
    raises,
    refusal,
    speaking,
    within_patience,
)

HEALTH = {FAULT, READS, ERRORS, READ_DURATION_S}
EVERY_FAULT = [(name, fault) for name in DEVICES for fault in DEVICES[name].faults]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeDevice]:
    with making_devices(tmp_path) as make:
        yield make


every_driver = pytest.mark.parametrize("name", registry.DRIVERS)


def heard(driver: Driver, device: Device, quantity: str) -> list[Measurement]:
    """Read until a quantity comes; return all measurements."""
    found: list[Measurement] = []

    def read() -> None:
        with speaking(device):
            while quantity not in [m.quantity for m in found]:
                with suppress(SensorError):  # a busy machine can keep the device silent
                    found.extend(driver.read())

    within_patience(read)
    return found


def is_released(device: Device) -> bool:
    """Say whether the device is released: whether another driver can open it."""
    other = device.build()
    other.open()
    other.close()
    return device.hardware.bus.users == 0


def test_every_driver_has_a_device_here() -> None:
    assert set(DEVICES) == set(registry.DRIVERS)
    assert {s for name in registry.DRIVERS for s in registry.traits(name).serves} == set(
        registry.SENSORS
    )


@every_driver
def test_traits_fit_the_keys_of_the_configuration(name: str) -> None:
    traits, config = registry.traits(name), registry.config_class(name)
    keys = {field.name for field in dataclasses.fields(config)}
    assert traits.serves
    assert {*traits.connection.keys, *traits.lines} <= keys
    assert bool(traits.lines) == (traits.connection is Connection.GPIO)
    if traits.on_shunt:
        assert {"shunt_ohms", "max_current_a", "zero_a", "dead_band_a", "reversed"} <= keys
        assert hasattr(traits.driver, "set_zero")


# A driver on its own


@every_driver
def test_closing_what_is_not_open_is_harmless(name: str, make: MakeDevice) -> None:
    device = make(name)
    driver = device.build()
    driver.close()
    driver.open()
    driver.close()
    driver.close()
    assert is_released(device)


@every_driver
def test_interrupting_what_is_not_open_is_harmless(name: str, make: MakeDevice) -> None:
    driver = make(name).build()
    driver.interrupt()
    driver.open()
    driver.close()
    driver.interrupt()


@every_driver
def test_a_driver_can_be_opened_again_and_again(name: str, make: MakeDevice) -> None:
    device = make(name)
    driver = device.build()
    for _ in range(3):
        driver.open()
        assert heard(driver, device, next(iter(device.quantities)))
        driver.close()
        assert is_released(device)


@every_driver
def test_a_device_that_is_not_there_is_named_and_nothing_stays_open(
    name: str, make: MakeDevice
) -> None:
    device = make(name)
    driver = device.build()
    device.unplug()
    refused = refusal(driver)
    assert device.name in str(refused)
    assert refused.kind.cure, "it says what to do"
    device.plug()
    assert is_released(device), "without a close"
    driver.close()
    driver.open()
    driver.close()


@every_driver
def test_no_descriptor_is_leaked_whether_opening_succeeds_or_fails(
    name: str, make: MakeDevice
) -> None:
    device = make(name)
    driver = device.build()
    driver.open()  # so that imports and caches do not count below
    driver.close()
    device.unplug()
    before = descriptors()
    for _ in range(10):
        refusal(driver)
        driver.close()
    assert descriptors() == before
    device.plug()
    before = descriptors()
    for _ in range(10):
        driver.open()
        driver.close()
    assert descriptors() == before


@every_driver
def test_readings_are_known_quantities_of_the_right_type(name: str, make: MakeDevice) -> None:
    device = make(name)
    driver = device.build()
    driver.open()
    try:
        found = [m for q in device.quantities for m in heard(driver, device, q)]
    finally:
        driver.close()
    for measurement in found:
        assert measurement.quality is Quality.OK
        assert type(measurement.value) in (device.quantities[measurement.quantity], type(None))
    assert {m.quantity for m in found if m.value is not None} == set(device.quantities)


@every_driver
def test_a_read_of_a_silent_device_ends_by_itself(name: str, make: MakeDevice) -> None:
    driver = make(name).build()
    driver.open()

    def read() -> None:
        for _ in range(3):
            with suppress(SensorError):  # that it is silent
                driver.read()

    try:
        within_patience(read)
    finally:
        driver.close()


@every_driver
def test_a_waiting_read_can_be_interrupted(name: str, make: MakeDevice) -> None:
    """A read of one second takes a quarter of an hour on this clock."""
    driver = make(name, speed=0.001).build()
    driver.open()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            driver.read()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    over.set()
    driver.interrupt()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    driver.close()


@pytest.mark.parametrize(("name", "fault"), EVERY_FAULT)
def test_a_failing_device_raises_or_tells_and_no_value_is_made_up(
    name: str, fault: str, make: MakeDevice
) -> None:
    device = make(name)
    driver = device.build()
    driver.open()
    heard(driver, device, next(iter(device.quantities)))
    device.fail(fault)
    with speaking(device):
        said: list[str] = []
        told: list[Measurement] = []
        made_up: list[Measurement] = []

        def read() -> None:
            while len(said) < 5:
                try:
                    found = driver.read()
                except SensorError as error:
                    said.append(str(error))
                    continue
                unknown = [m for m in found if m.quality is Quality.FAULT]
                if not unknown:
                    made_up.extend(found if said else ())  # some may still have been in transit
                    continue
                said.extend({str(m.trouble) for m in unknown})
                told.extend(found)

        within_patience(read)
    assert made_up == []
    assert all((m.value, m.quality) == (None, Quality.FAULT) for m in told), told
    expected = set(device.quantities) if fault in device.told_by_values else set()
    assert {m.quantity for m in told} == expected
    assert all(device.name in message for message in said), said
    driver.close()


# A driver at work in a Sensor


def is_value(reading: Reading) -> bool:
    return reading.quantity not in HEALTH and reading.quality is not Quality.FAULT


def is_fault(reading: Reading) -> bool:
    return reading.quality is Quality.FAULT


def at_work(device: Device, listener: Listener) -> Sensor:
    sensor = Sensor("it", device.build(), device.clock, listener)
    sensor.start()
    return sensor


def ended(sensor: Sensor) -> bool:
    sensor.stop()
    return sensor.join(PATIENCE_S)


@pytest.mark.parametrize(("name", "fault"), EVERY_FAULT)
def test_a_sensor_tells_of_a_failure_and_recovers_when_the_device_does(
    name: str, fault: str, make: MakeDevice
) -> None:
    device, listener = make(name), Listener()
    sensor = at_work(device, listener)
    with speaking(device):
        healthy = listener.until(is_value)[-1]
        assert (healthy.sensor, healthy.quality) == ("it", Quality.OK)
        for _ in range(2):
            device.fail(fault)
            told = listener.until(is_fault)[-1]
            assert (told.value, told.quality) == (None, Quality.FAULT)
            assert (told.quantity == FAULT) == (fault not in device.told_by_values)
            assert device.name in str(told.trouble)
            assert told.trouble is not None
            assert told.trouble.kind is not UNEXPECTED
            assert kinds()[told.trouble.code].cure, "doctor has a cure for it"
            assert told.trouble.kind.concerns in (SENSOR, BUS)
            meanwhile = listener.until(is_fault)
            assert not list(filter(is_value, meanwhile)), "no value is made up"
            device.mend()
            assert listener.until(is_value)[-1].quality is Quality.OK
        assert ended(sensor)
    assert is_released(device)


@every_driver
def test_a_sensor_starts_without_its_device_and_finds_it_later(name: str, make: MakeDevice) -> None:
    device, listener = make(name), Listener()
    device.unplug()
    sensor = at_work(device, listener)
    for expected in (1, 2, 3):
        before = listener.until(is_fault)
        assert device.name in str(before[-1].trouble)
        assert listener.until(lambda r: r.quantity == ERRORS)[-1].value == expected
    device.plug()
    with speaking(device):
        listener.until(is_value)
        assert ended(sensor)


@every_driver
def test_a_sensor_that_waits_for_its_device_can_be_stopped(name: str, make: MakeDevice) -> None:
    device = make(name, speed=0.001)
    listener = Listener()
    sensor = at_work(device, listener)
    assert ended(sensor)
    assert is_released(device)


@every_driver
def test_a_sensor_that_waits_to_try_again_can_be_stopped(name: str, make: MakeDevice) -> None:
    device, listener = make(name, speed=0.001), Listener()
    device.unplug()
    sensor = at_work(device, listener)
    listener.until(is_fault)
    assert ended(sensor)


@every_driver
def test_a_sensor_counts_its_reads(name: str, make: MakeDevice) -> None:
    device, listener = make(name), Listener()
    sensor = at_work(device, listener)
    with speaking(device):
        counts = [listener.until(lambda r: r.quantity == READS)[-1].value for _ in range(3)]
        assert counts == [1, 2, 3]
        assert ended(sensor)


def test_failed_reads_are_tolerated_and_counted_and_then_told(make: MakeDevice) -> None:
    device, listener = make("ina219"), Listener()
    sensor = at_work(device, listener)
    listener.until(is_value)
    device.hardware.bus.naks = TOLERATED_FAILURES - 1
    passed = listener.until(lambda r: r.quantity == ERRORS and bool(r.value))
    assert not list(filter(is_fault, passed))
    assert passed[-1].value == TOLERATED_FAILURES - 1
    device.hardware.bus.naks = TOLERATED_FAILURES
    listener.until(is_fault)
    errors = listener.until(lambda r: r.quantity == ERRORS)[-1].value
    assert errors == 2 * TOLERATED_FAILURES - 1
    listener.until(is_value)
    assert ended(sensor)


def test_a_sensor_measures_how_long_its_reads_take(make: MakeDevice) -> None:
    device, listener = make("ina219"), Listener()
    sensor = at_work(device, listener)
    duration = listener.until(lambda r: r.quantity == READ_DURATION_S)[-1]
    assert isinstance(duration.value, float)
    assert duration.value >= 0
    assert ended(sensor)


class Moody(SimulatedHardware):
    """Hardware whose library fails in an unforeseen way."""

    failure: Exception | None = None

    def pin_factory(self) -> Any:
        if self.failure is not None:
            raise self.failure
        return super().pin_factory()


def test_an_unexpected_exception_is_contained_and_asks_to_be_reported(tmp_path: Path) -> None:
    clock = Monotonic(50)
    hardware = Moody(tmp_path, clock)
    hardware.failure = RuntimeError("the library is broken")
    device, listener = DEVICES["contact"](hardware, clock), Listener()
    sensor = at_work(device, listener)
    told = listener.until(is_fault)[-1]
    assert told.trouble is not None
    assert told.trouble.kind is UNEXPECTED
    assert told.trouble.values == {"error": "RuntimeError: the library is broken"}
    assert told.trouble.__traceback__ is None, "it would keep the device's objects alive"
    hardware.failure = None
    listener.until(is_value)
    hardware.pins.failure = ZeroDivisionError("while it reads")
    assert "ZeroDivisionError" in str(listener.until(is_fault)[-1].trouble)
    hardware.pins.failure = None
    listener.until(is_value)
    assert ended(sensor)
    hardware.close()


# Faults of some drivers only


def test_a_serial_port_in_use_is_refused_each_time_and_its_user_goes_on(make: MakeDevice) -> None:
    device = make("vedirect")
    first, second = device.build(), device.build()
    first.open()
    before = descriptors()
    for _ in range(2):
        refused = refusal(second)
        assert (refused.kind, refused.values) == (BUSY, {"port": device.name})
        second.close()
    assert descriptors() == before
    assert heard(first, device, "voltage_v")
    first.close()
    second.open()
    second.close()


@pytest.mark.parametrize(
    ("what", "kind"), [("file", NO_PORT), ("directory", UNUSABLE), ("null device", NO_PORT)]
)
def test_a_port_that_is_no_serial_port_is_refused(
    what: str, kind: Kind, make: MakeDevice, tmp_path: Path
) -> None:
    device = make("vedirect")
    port = {"file": tmp_path / "file", "directory": tmp_path, "null device": Path("/dev/null")}
    (tmp_path / "file").touch()
    config = registry.config_class("vedirect")(port=str(port[what]))
    driver = registry.build("vedirect", config, device.hardware, device.clock)
    before = descriptors()
    refused = refusal(driver)
    assert refused.kind is kind
    assert refused.values["port"] == str(port[what])
    assert descriptors() == before


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, MISSING),
        (errno.ENODEV, MISSING),
        (errno.ENXIO, MISSING),
        (errno.EACCES, DENIED),
        (errno.EPERM, DENIED),
        (errno.EBUSY, BUSY),
        (errno.EIO, UNUSABLE),
    ],
)
def test_a_port_is_refused_by_the_kernels_number(
    number: int, kind: Kind, make: MakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = make("vedirect")

    def refuse(*_: object) -> int:
        raise OSError(number, "said in any language")

    monkeypatch.setattr("serial.serialposix.os.open", refuse)
    assert refusal(device.build()).kind == kind


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_what_this_user_may_not_open_is_told_from_what_is_not_there(
    number: int, make: MakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = make("contact")
    device.hardware.pins.failure = OSError(number, "said in any language")
    assert refusal(device.build()).kind == gpio.DENIED
    device.hardware.pins.failure = None

    def refuse(*_: object) -> None:
        raise OSError(number, "said in any language")

    monkeypatch.setattr("adafruit_extended_bus.ExtendedI2C", refuse)
    with raises(BUS_DENIED, bus=1):
        Hardware().i2c(1)


def test_a_line_in_use_is_refused_and_the_other_line_given_back(make: MakeDevice) -> None:
    device = make("beams")
    config = registry.config_class("beams")(outer_gpio=5, inner_gpio=MAINS_GPIO)
    beams = registry.build("beams", config, device.hardware, device.clock)
    user = DEVICES["contact"](device.hardware, device.clock).build()
    user.open()
    for _ in range(2):
        assert refusal(beams).values["gpio"] == MAINS_GPIO
    config = registry.config_class("contact")(gpio=5)
    other = registry.build("contact", config, device.hardware, device.clock)
    other.open()
    assert other.read()
    other.close()
    user.close()
    beams.open()
    beams.close()


def test_a_port_is_not_closed_while_another_thread_interrupts_its_read(
    make: MakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interruption writes to a descriptor, which may be reused after a close."""
    inside, closed = threading.Event(), threading.Event()
    was_open: list[bool] = []
    cancel_read = serial.Serial.cancel_read

    def slow_cancel_read(port: serial.Serial) -> None:
        inside.set()
        closed.wait(0.2)
        was_open.append(port.is_open)
        cancel_read(port)

    monkeypatch.setattr(serial.Serial, "cancel_read", slow_cancel_read)
    driver = make("vedirect").build()
    driver.open()
    thread = threading.Thread(target=driver.interrupt)
    thread.start()
    assert inside.wait(PATIENCE_S)
    driver.close()
    closed.set()
    thread.join()
    assert was_open == [True]
