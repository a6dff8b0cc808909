"""The INA219: calculations against the datasheet, and the driver on simulated registers."""

import sys
import threading
from dataclasses import replace

import pytest

from sensors import shunt
from sensors.clock import Monotonic
from sensors.hardware import NO_BUS, Hardware, I2CBus
from sensors.ina219 import CLIPPED, RESTARTED, SILENT, Config, Ina219, decode
from sensors.reading import Quality, SensorError, Value
from sensors.simulated.ina219 import Bus, Chip
from tests.devices import raises

#: A shunt of 50 A and 75 mV, the usual one on a tent's charger.
OHMS = 0.0015
LSB_A = 1e-5 / OHMS
EXACT = Config(shunt_ohms=OHMS, max_current_a=50, dead_band_a=0.0)


class Bench(Hardware):
    """A chip on a bus, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.chip = Chip(lambda: self.now_s)
        self.bus = Bus()
        self.bus.chips[0x40] = self.chip

    def i2c(self, bus: int) -> I2CBus:
        return self.bus.open()

    def flow(self, current_a: float, voltage_v: float = 13.2) -> None:
        self.chip.measure(current_a * OHMS, voltage_v)

    def driver(self, config: Config = EXACT) -> Ina219:
        """Return an open driver, after the first conversion."""
        driver = Ina219(config, self, Monotonic())
        driver.open()
        self.now_s += 1.0
        return driver


@pytest.fixture
def bench() -> Bench:
    return Bench()


#: A line with NaN, which Python's JSON accepts.
NAN = b'{"at_s":NaN,"configuration":12287,"shunt":1,"bus":26402}\n'


def values(driver: Ina219) -> dict[str, Value]:
    return {m.quantity: m.value for m in driver.read()}


def number(value: Value) -> float:
    assert value is not None
    return float(value)


# Calculations


def test_a_bit_of_a_50_ampere_shunt_is_6_67_milliamperes() -> None:
    for raw, true_a in ((1, 0.00667), (-1, -0.00667), (7_500, 50.0)):
        assert shunt.Shunt(OHMS, 1).flow(raw, 0).uncorrected_a == pytest.approx(true_a, abs=1e-4)


def test_50_amperes_on_75_millivolts_take_the_range_of_80_millivolts() -> None:
    gain = shunt.gain_for(50, OHMS)
    assert shunt.FULL_SCALE_V[gain] == 0.08
    assert shunt.FULL_SCALE_V[gain] / OHMS == pytest.approx(53.3, abs=0.05)


@pytest.mark.parametrize(
    ("max_current_a", "ohms", "gain"),
    [
        (0.4, 0.1, 0),
        (0.41, 0.1, 1),
        (0.8, 0.1, 1),
        (1.6, 0.1, 2),
        (3.2, 0.1, 3),  # the usual breakout, to the end of its range
        (26.6, OHMS, 0),
        (53.3, OHMS, 1),
        (100, 0.00075, 1),
        (213.3, OHMS, 3),
    ],
)
def test_the_smallest_range_that_holds_the_largest_current_is_taken(
    max_current_a: float, ohms: float, gain: int
) -> None:
    assert shunt.gain_for(max_current_a, ohms) == gain
    assert Config(shunt_ohms=ohms, max_current_a=max_current_a).faults() == []


def test_a_current_beyond_every_range_is_a_fault_of_the_configuration() -> None:
    [(key, what)] = Config(shunt_ohms=0.1, max_current_a=3.3).faults()
    assert key == "max_current_a"
    assert "330 mV" in str(what)


@pytest.mark.parametrize(("gain", "word"), [(0, 0x27FF), (1, 0x2FFF), (2, 0x37FF), (3, 0x3FFF)])
def test_the_configuration_word_is_the_datasheets(gain: int, word: int) -> None:
    """No reset, 32 V, the gain, 128 samples for bus and shunt, both continuously."""
    assert shunt.configuration(gain) == word
    assert word != 0x399F, "a restart must show"


@pytest.mark.parametrize(("gain", "full"), [(0, 4_000), (1, 8_000), (2, 16_000), (3, 32_000)])
def test_full_scale_is_clipped_and_what_is_below_is_not(gain: int, full: int) -> None:
    for sign in (1, -1):
        found = shunt.Shunt(OHMS, gain)
        assert found.is_clipped(sign * full)
        assert found.is_clipped(sign * (full - 1))
        assert not found.is_clipped(sign * (full - 2))
        assert found.flow(sign * full, 0x6722) == (None, 13.2, None, None)


# The driver on a chip


def test_the_current_is_right_to_one_bit_over_the_whole_range_in_both_directions(
    bench: Bench,
) -> None:
    driver = bench.driver()
    for step in range(-530, 531):
        true_a = step / 10 + 0.0123
        bench.flow(true_a)
        assert number(values(driver)["current_a"]) == pytest.approx(true_a, abs=LSB_A)


@pytest.mark.parametrize("max_current_a", [20, 50, 100, 200])
def test_the_current_is_right_in_every_range(bench: Bench, max_current_a: float) -> None:
    driver = bench.driver(replace(EXACT, max_current_a=max_current_a))
    for share in (-0.99, -0.5, 0.001, 0.33, 0.99):
        bench.flow(share * max_current_a)
        assert number(values(driver)["current_a"]) == pytest.approx(
            share * max_current_a, abs=LSB_A
        )


def test_voltage_is_right_to_one_bit_and_power_is_their_product(bench: Bench) -> None:
    driver = bench.driver()
    for tenths in range(0, 260, 7):
        bench.flow(20.0, tenths / 10)
        found = values(driver)
        assert number(found["voltage_v"]) == pytest.approx(tenths / 10, abs=0.004)
        product_w = number(found["current_a"]) * number(found["voltage_v"])
        assert number(found["power_w"]) == pytest.approx(product_w, abs=0.06)


@pytest.mark.parametrize("current_a", [53.4, 60.0, 500.0, -53.4, -60.0])
def test_a_clipped_current_is_no_value_but_a_fault(bench: Bench, current_a: float) -> None:
    driver = bench.driver()
    bench.flow(current_a, 13.2)
    found = {m.quantity: m for m in driver.read()}
    for quantity in ("current_a", "power_w"):
        assert found[quantity].value is None
        assert found[quantity].quality is Quality.FAULT
        trouble = found[quantity].trouble
        assert trouble is not None
        assert (trouble.kind, trouble.values) == (CLIPPED, {"amperes": 53.3})
    assert (found["voltage_v"].value, found["voltage_v"].quality) == (13.2, Quality.OK)
    bench.flow(10.0)
    assert number(values(driver)["current_a"]) == pytest.approx(10.0, abs=LSB_A)


def test_before_the_first_conversion_is_done_there_is_no_value(bench: Bench) -> None:
    bench.flow(10.0)
    driver = Ina219(EXACT, bench, Monotonic())
    driver.open()
    bench.now_s += 0.1  # two means of 128 samples take 136 ms
    assert values(driver) == {}
    bench.now_s += 0.04
    assert number(values(driver)["current_a"]) == pytest.approx(10.0, abs=LSB_A)


def test_a_brown_out_is_told_and_none_of_its_values_is_used(bench: Bench) -> None:
    driver = bench.driver()
    bench.flow(40.0)
    assert number(values(driver)["current_a"]) == pytest.approx(40.0, abs=LSB_A)
    bench.chip.brown_out()
    bench.now_s += 1.0  # long enough for a value in the power-on settings
    with raises(RESTARTED, address="0x40", found="0x399F"):
        driver.read()
    assert values(driver) == {}, "set up anew, and the conversion takes its time"
    bench.now_s += 1.0
    bench.flow(60.0)
    assert values(driver)["current_a"] is None, "the range is the configured one again"
    bench.flow(-7.0)
    assert number(values(driver)["current_a"]) == pytest.approx(-7.0, abs=LSB_A)


def test_the_driver_sets_the_chip_up_for_its_shunt(bench: Bench) -> None:
    bench.driver()
    bench.chip.write(b"\x00")
    assert bench.chip.read(2) == b"\x2f\xff"


def test_a_single_nak_costs_one_reading(bench: Bench) -> None:
    driver = bench.driver()
    bench.flow(5.0)
    for _ in range(3):
        bench.bus.naks = 1
        with raises(SILENT, address="0x40"):
            driver.read()
        assert bench.bus.naks == 0
        assert number(values(driver)["current_a"]) == pytest.approx(5.0, abs=LSB_A)


@pytest.mark.parametrize("stuck", [False, True])
def test_a_stuck_bus_gives_no_values(bench: Bench, stuck: bool) -> None:
    driver = bench.driver()
    bench.flow(5.0)
    bench.bus.stuck = stuck
    for _ in range(3):
        with pytest.raises(SensorError):
            driver.read()


def test_an_absent_chip_is_named_and_the_bus_is_closed_again(bench: Bench) -> None:
    bench.bus.chips.clear()
    driver = Ina219(EXACT, bench, Monotonic())
    with raises(SILENT, address="0x40", bus=1):
        driver.open()
    assert bench.bus.users == 0


def test_a_wrong_address_is_named(bench: Bench) -> None:
    with raises(SILENT, address="0x41"):
        Ina219(replace(EXACT, address=0x41), bench, Monotonic()).open()


def test_small_currents_count_as_none(bench: Bench) -> None:
    driver = bench.driver(replace(EXACT, dead_band_a=0.1))
    for true_a, said_a in ((0.0, 0.0), (0.08, 0.0), (-0.08, 0.0), (0.12, 0.12), (-0.12, -0.12)):
        bench.flow(true_a)
        found = values(driver)
        assert number(found["current_a"]) == pytest.approx(said_a, abs=LSB_A)
        assert (found["power_w"] == 0.0) == (said_a == 0.0)


def test_the_zero_is_subtracted_before_the_dead_band(bench: Bench) -> None:
    driver = bench.driver(replace(EXACT, zero_a=0.2, dead_band_a=0.1))
    for true_a, said_a in ((0.2, 0.0), (0.28, 0.0), (0.0, -0.2), (10.2, 10.0)):
        bench.flow(true_a)
        assert number(values(driver)["current_a"]) == pytest.approx(said_a, abs=LSB_A)


def test_a_shunt_that_was_wired_the_other_way_round_turns_the_sign(bench: Bench) -> None:
    driver = bench.driver(replace(EXACT, reversed=True, zero_a=0.5))
    bench.flow(-10.0)
    found = values(driver)
    assert number(found["current_a"]) == pytest.approx(9.5, abs=LSB_A)
    assert number(found["uncorrected_a"]) == pytest.approx(10.0, abs=LSB_A)
    assert number(found["power_w"]) > 0


def test_a_zero_that_is_set_takes_the_offset_away_and_leaves_the_uncorrected_current(
    bench: Bench,
) -> None:
    driver = bench.driver()
    bench.flow(0.083)
    offset_a = number(values(driver)["uncorrected_a"])
    driver.set_zero(offset_a)
    found = values(driver)
    assert abs(number(found["current_a"])) <= LSB_A
    assert found["uncorrected_a"] == offset_a
    bench.flow(20.083)
    assert number(values(driver)["current_a"]) == pytest.approx(20.0, abs=LSB_A)


def test_two_chips_in_two_threads_do_not_read_each_others_registers(bench: Bench) -> None:
    """The register library has one buffer for all chips."""
    other = Chip(lambda: bench.now_s)
    bench.bus.chips[0x41] = other
    bench.flow(10.0)
    other.measure(-20.0 * OHMS, 25.0)
    drivers = bench.driver(), bench.driver(replace(EXACT, address=0x41))
    heard: list[set[Value]] = [set(), set()]

    def read(which: int) -> None:
        for _ in range(300):
            heard[which].add(values(drivers[which])["current_a"])

    threads = [threading.Thread(target=read, args=(which,)) for which in (0, 1)]
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert [len(h) for h in heard] == [1, 1]
    assert number(heard[0].pop()) == pytest.approx(10.0, abs=LSB_A)
    assert number(heard[1].pop()) == pytest.approx(-20.0, abs=LSB_A)


def test_a_capture_means_what_the_driver_said(bench: Bench) -> None:
    said: list[bytes] = []
    driver = Ina219(replace(EXACT, zero_a=0.1), bench, Monotonic())
    driver.tap = said.append
    driver.open()
    assert driver.read() == (), "no conversion is done yet"
    heard = []
    for true_a in (5.0, -3.0, 60.0):
        bench.now_s += 1.0
        bench.flow(true_a)
        heard.append(values(driver))
    bench.chip.brown_out()
    with pytest.raises(SensorError):
        driver.read()
    found = decode(b"".join(said) + b"noise\n[1]\n{}\n" + NAN)
    assert [{k: v for k, v in frame.items() if k != "at_s"} for frame in found.frames] == heard
    assert found.bad == 5


def test_without_a_bus_the_real_hardware_says_what_to_do() -> None:
    with raises(NO_BUS, bus=250):
        Ina219(replace(EXACT, bus=250), Hardware(), Monotonic()).open()
