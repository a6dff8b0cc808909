"""A DS18B20 under the real driver: its bytes, its faults, and how setup finds it."""

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sensors.clock import Monotonic
from sensors.ds18b20 import (
    DAMAGED,
    DENIED,
    IMPOSSIBLE,
    MISSING,
    NO_BUS,
    POWER_ON,
    SILENT,
    Config,
    Ds18b20,
)
from sensors.ds18b20_frames import JUMP_C, Fault, Temperatures, crc8
from sensors.finding import one_wire
from sensors.finding.one_wire import Found
from sensors.hardware import Hardware
from sensors.sensor import TOLERATED_FAILURES, Sensor
from sensors.simulated.ds18b20 import Probe, scratchpad, shown
from sensors.trouble import Kind
from tests.conftest import wait_for
from tests.devices import PATIENCE_S, Listener, raises

INSIDE, OUTSIDE = "28-00000a3c51f2", "28-00000a3c7b2e"
#: Reads of a damaged line.
READS = 30_000


@pytest.fixture
def hardware(tmp_path: Path) -> Hardware:
    hardware = Hardware()
    hardware.root = tmp_path
    return hardware


@pytest.fixture
def thermometer(tmp_path: Path) -> Probe:
    return Probe(tmp_path, INSIDE, 21.5)


def driver_of(hardware: Hardware, device: str = INSIDE) -> Ds18b20:
    driver = Ds18b20(Config(device), hardware, Monotonic(100.0))
    driver.open()
    return driver


def degrees(driver: Ds18b20) -> float:
    ((quantity, value, _quality, _trouble),) = driver.read()
    assert quantity == "temperature_c"
    assert type(value) is float
    return value


# Bytes


@pytest.mark.parametrize(
    ("raw", "celsius"),
    [
        (0x07D0, 125.0),
        (0x0550, 85.0),
        (0x0191, 25.0625),
        (0x00A2, 10.125),
        (0x0008, 0.5),
        (0x0000, 0.0),
        (0xFFF8, -0.5),
        (0xFF5E, -10.125),
        (0xFE6F, -25.0625),
        (0xFC90, -55.0),
    ],
)
def test_temperatures_are_those_of_the_datasheets_table(raw: int, celsius: float) -> None:
    data = raw.to_bytes(2, "little") + scratchpad(celsius)[2:-1]
    assert Temperatures().take(shown(data + bytes((crc8(data),)))) == celsius


def test_the_kernels_own_lines_are_read() -> None:
    """Copied from a Pi: a usual one, and the one after power-on."""
    text = (
        b"72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n"
        b"72 01 4b 46 7f ff 0e 10 57 t=23125\n"
    )  # fmt: skip
    assert Temperatures().take(text) == 23.125
    text = (
        b"50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n"
        b"50 05 4b 46 7f ff 0c 10 1c t=85000\n"
    )  # fmt: skip
    assert Temperatures().take(text) is Fault.POWER_ON


def test_the_bytes_of_an_earlier_read_are_not_taken_for_this_one() -> None:
    good = scratchpad(20.0)
    hurt = bytes((good[0] ^ 1,)) + good[1:]
    text = shown(hurt, good)
    assert text.endswith(b"t=20000\n")
    assert Temperatures().take(text) is Fault.DAMAGED


@pytest.mark.parametrize("verdict", ["YES", "NO"])
def test_neither_the_kernels_verdict_nor_the_checksum_is_believed_alone(verdict: str) -> None:
    good = scratchpad(20.0)
    hurt = good if verdict == "NO" else bytes((good[0] ^ 1,)) + good[1:]
    text = f"{hurt.hex(' ')} : crc=00 {verdict}\n{hurt.hex(' ')} t=20000\n".encode()
    assert Temperatures().take(text) is Fault.DAMAGED


def test_a_jump_counts_when_the_next_reading_says_the_same() -> None:
    temperatures = Temperatures()
    cold, warm = shown(scratchpad(-3.0)), shown(scratchpad(21.0))
    assert temperatures.take(cold) == -3.0
    assert temperatures.take(warm) is Fault.DAMAGED
    assert temperatures.take(cold) == -3.0, "one damaged reading costs one reading"
    assert temperatures.take(warm) is Fault.DAMAGED
    assert temperatures.take(warm) == 21.0


@pytest.mark.parametrize("share", [1, 10], ids="one in {}".format)
def test_no_damaged_bytes_become_a_wrong_temperature(share: int) -> None:
    """The worst case: the kernel says YES to all of them, and so does the checksum now and then."""
    dice = random.Random(share)
    temperatures, now_c, accepted, right_sums = Temperatures(), 4.0, 0, 0
    assert temperatures.take(shown(scratchpad(now_c))) == now_c
    for number in range(READS):
        now_c = min(30.0, max(-20.0, now_c + dice.choice((-0.0625, 0.0, 0.0625))))
        data = bytearray(scratchpad(now_c))
        if number % share == 0:
            for at in dice.sample(range(len(data)), dice.randint(1, 3)):
                data[at] ^= dice.randint(1, 255)
            right_sums += crc8(bytes(data[:-1])) == data[-1]
        found = temperatures.take(f"{data.hex(' ')} : crc=00 YES\n".encode())
        if not isinstance(found, Fault):
            accepted += 1
            assert abs(found - now_c) <= 2 * JUMP_C, number
    assert right_sums, "else nothing was tested"
    assert accepted >= READS * (1 - 1 / share) * 0.99


# The device


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("no answer", SILENT),
        ("input/output error", SILENT),
        ("all FF", SILENT),
        ("all zero", IMPOSSIBLE),
        ("CRC NO", DAMAGED),
        ("cut off", DAMAGED),
        ("85 at power-on", POWER_ON),
        ("-127", IMPOSSIBLE),
        ("127.9", POWER_ON),
    ],
)
def test_each_fault_is_named_by_its_cause(
    fault: str, kind: Kind, hardware: Hardware, thermometer: Probe
) -> None:
    driver = driver_of(hardware)
    assert degrees(driver) == 21.5
    thermometer.fault = fault
    with raises(kind, device=INSIDE):
        driver.read()
    thermometer.fault = ""
    assert degrees(driver) == 21.5


def test_every_fault_of_the_simulated_device_is_tried_here() -> None:
    (tried,) = (m for m in test_each_fault_is_named_by_its_cause.pytestmark)  # type: ignore[attr-defined]
    assert {fault for fault, _ in tried.args[1]} == set(Probe.FAULTS)


def test_a_real_85_degrees_is_a_temperature(hardware: Hardware, thermometer: Probe) -> None:
    thermometer.set_temperature(85.0)
    assert degrees(driver_of(hardware)) == 85.0


def test_a_bus_that_is_switched_off_is_told_from_a_missing_sensor(
    hardware: Hardware, thermometer: Probe
) -> None:
    driver = driver_of(hardware)
    thermometer.unplug()
    for act in (driver.open, driver.read):
        with raises(MISSING, device=INSIDE):
            act()
    thermometer.remove_bus()
    for act in (driver.open, driver.read):
        with raises(NO_BUS, device=INSIDE):
            act()
    thermometer.plug()
    assert degrees(driver) == 21.5, "the kernel has found it again"


def test_a_file_that_may_not_be_read_is_no_broken_line(
    hardware: Hardware, thermometer: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = driver_of(hardware)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "said in any language")

    monkeypatch.setattr("sensors.ds18b20.os.open", refuse)
    with raises(DENIED, device=INSIDE):
        driver.read()


def test_a_read_lasts_as_long_as_the_conversion_and_a_sensor_stops_after_it(
    hardware: Hardware, thermometer: Probe
) -> None:
    listener = Listener()
    thermometer.begin_conversion()
    clock = Monotonic()
    sensor = Sensor("inside", Ds18b20(Config(INSIDE), hardware, clock), clock, listener)
    sensor.start()
    wait_for(thermometer.is_being_read, "a read")
    sensor.stop()
    assert not sensor.join(0.05), "nothing can shorten a conversion"
    thermometer.end_conversion()
    assert listener.until(lambda r: r.quantity == "temperature_c")[-1].value == 21.5
    assert sensor.join(PATIENCE_S)


def test_a_failed_read_is_repeated_before_the_last_value_is_old(
    hardware: Hardware, thermometer: Probe
) -> None:
    """At the usual period three failed reads would take half a minute."""
    listener, clock = Listener(), Monotonic(100.0)
    thermometer.fault = "CRC NO"
    sensor = Sensor("inside", Ds18b20(Config(INSIDE), hardware, clock), clock, listener)
    began_s = clock.now_s()
    sensor.start()
    failed = listener.until(lambda r: r.quantity == "fault")[-1]
    assert failed.trouble is not None
    assert failed.trouble.kind is DAMAGED
    sensor.stop()
    assert sensor.join(PATIENCE_S)
    assert clock.now_s() - began_s < TOLERATED_FAILURES * Config(INSIDE).period_s


# Finding


def test_sensors_are_found_by_their_names(tmp_path: Path) -> None:
    assert not one_wire.has_bus(tmp_path)
    assert one_wire.devices(tmp_path) == []
    for name in (OUTSIDE, INSIDE, "10-000802b4a1f3"):
        Probe(tmp_path, name)
    assert one_wire.has_bus(tmp_path)
    assert one_wire.devices(tmp_path) == [Found(INSIDE, "ds18b20"), Found(OUTSIDE, "ds18b20")]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[dict[str, Probe]]:
    yield {name: Probe(tmp_path, name, 18.0) for name in (INSIDE, OUTSIDE)}


def warmed(hardware: Hardware, steps_c: Mapping[str, list[float]], looks: int) -> str | None:
    """Return what is found while temperatures change from look to look; the last ones stay."""
    clock, seen = Clock(), list[Mapping[str, float]]()
    devices = {name: Probe(hardware.root, name, steps[0]) for name, steps in steps_c.items()}

    def look(now_c: Mapping[str, float]) -> None:
        seen.append(dict(now_c))
        for name, steps in steps_c.items():
            devices[name].set_temperature(steps[min(len(seen), len(steps) - 1)])
        clock.at_s += 1.0

    return one_wire.wait_for_warmth(
        one_wire.devices(hardware.root), hardware, clock, float(looks), look
    )


class Clock(Monotonic):
    """A clock that is moved by hand; nobody waits for it."""

    at_s = 0.0

    def now_s(self) -> float:
        return self.at_s

    def real_s(self, interval_s: float) -> float:
        return 0.0


@pytest.mark.parametrize("hand", [INSIDE, OUTSIDE])
def test_the_one_in_the_hand_is_found(hand: str, hardware: Hardware) -> None:
    rest = {INSIDE: [18.0], OUTSIDE: [-4.0]}
    rising = rest[hand][0]
    steps = rest | {hand: [rising, rising + 0.5, rising + 1.5, rising + 4.0]}
    assert warmed(hardware, steps, 10) == hand


def test_a_room_that_gets_warm_is_no_hand(hardware: Hardware) -> None:
    steps = {INSIDE: [18.0, 20.0, 23.0], OUTSIDE: [18.0, 19.5, 22.0]}
    assert warmed(hardware, steps, 10) is None


def test_nothing_is_found_where_nothing_gets_warm_or_nothing_answers(
    hardware: Hardware, two: dict[str, Probe]
) -> None:
    for fault in ("", "no answer"):
        for one in two.values():
            one.fault = fault
        clock = Clock()

        def look(_: Mapping[str, float], clock: Clock = clock) -> None:
            clock.at_s += 1.0

        found = one_wire.devices(hardware.root)
        assert one_wire.wait_for_warmth(found, hardware, clock, 5.0, look) is None
