"""The SHT4x: its words against the datasheet, and the driver with the real library on a simulated bus."""

import itertools
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sensors import ina219, sht4x_frames
from sensors.clock import Monotonic
from sensors.reading import Driver, Measurement, Quality, Reading, Value
from sensors.sensor import Sensor
from sensors.sht4x import DAMAGED, IMPOSSIBLE, SILENT, Config, Sht4x, decode
from sensors.simulated.hardware import SHUNT_OHMS, SimulatedHardware
from sensors.simulated.ina219 import Bus, Chip
from sensors.simulated.sht4x import Thermometer, with_crc
from tests.devices import PATIENCE_S, Listener, raises, refusal, simulated

ADDRESS = 0x44
MEASURE, SERIAL_NUMBER, RESET = b"\xfd", b"\x89", b"\x94"


class Recorded(Bus):
    """A bus that lists what is sent and read, and lets others use it before a chip's answer is read."""

    def __init__(self) -> None:
        super().__init__()
        self.transfers: list[tuple[int, bytes]] = []  # address and the bytes sent; none: a reading
        self.before_answer: list[bytes] = []  # what another program sends to the chip meanwhile
        self.meanwhile: Callable[[], object] | None = None  # before and after an answer is read

    def writeto(
        self, address: int, buffer: bytes, *, start: int = 0, end: int | None = None
    ) -> None:
        super().writeto(address, buffer, start=start, end=end)
        self.transfers.append((address, bytes(buffer[start:end])))

    def readfrom_into(
        self, address: int, buffer: bytearray, *, start: int = 0, end: int | None = None
    ) -> None:
        for sent in self.before_answer:
            super().writeto(address, sent)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        super().readfrom_into(address, buffer, start=start, end=end)
        if meanwhile is not None:
            meanwhile()
        self.meanwhile = meanwhile
        self.transfers.append((address, b""))

    def writeto_then_readfrom(
        self,
        address: int,
        buffer_out: bytes,
        buffer_in: bytearray,
        *,
        out_start: int = 0,
        out_end: int | None = None,
        in_start: int = 0,
        in_end: int | None = None,
    ) -> None:
        super().writeto_then_readfrom(
            address, buffer_out, buffer_in,
            out_start=out_start, out_end=out_end, in_start=in_start, in_end=in_end,
        )  # fmt: skip
        self.transfers.append((address, bytes(buffer_out[out_start:out_end])))


class Bench:
    """A chip on a recorded bus."""

    def __init__(self, hardware: SimulatedHardware, clock: Monotonic) -> None:
        self.hardware, self.clock = hardware, clock
        self.bus = Recorded()
        self.bus.chips = hardware.bus.chips
        hardware.bus = self.bus
        self.chip = Thermometer(clock)
        self.bus.chips[ADDRESS] = self.chip

    def driver(self, config: Config | None = None) -> Sht4x:
        return Sht4x(config or Config(), self.hardware, self.clock)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with simulated(tmp_path) as (hardware, clock):
        yield Bench(hardware, clock)


def values(driver: Sht4x) -> dict[str, Value]:
    return {m.quantity: m.value for m in driver.read()}


# The words


def test_the_checksum_is_the_datasheets() -> None:
    assert sht4x_frames.crc8(b"\xbe\xef") == 0x92
    for word in random.Random(1).sample(range(0x10000), 500):
        assert with_crc(word)[2] == sht4x_frames.crc8(with_crc(word)[:2])


def test_up_to_three_flipped_bits_in_a_word_are_always_seen() -> None:
    whole = with_crc(0x5E2A) + with_crc(0x93C1)
    assert sht4x_frames.words(whole) == (0x5E2A, 0x93C1)
    for first in (0, 24):
        for flips in range(1, 4):
            for bits in itertools.combinations(range(first, first + 24), flips):
                mask = sum(1 << bit for bit in bits)
                hurt = (int.from_bytes(whole, "big") ^ mask).to_bytes(6, "big")
                assert sht4x_frames.words(hurt) is None, bits


def test_an_answer_of_another_length_is_none() -> None:
    whole = with_crc(1) + with_crc(2)
    for length in range(6):
        assert sht4x_frames.words(whole[:length]) is None
    assert sht4x_frames.words(whole + b"\0") is None


@pytest.mark.parametrize(
    ("temperature", "humidity", "air"),
    [
        (0x6666, 0x8000, (25.0, 56.5)),
        (0x6666, 0x0001, (25.0, 0.0)),
        (0x6666, 0xFFFE, (25.0, 100.0)),
        (0x6666, 0x0000, (25.0, None)),
        (0x6666, 0xFFFF, (25.0, None)),
        (1873, 0x8000, (-40.0, 56.5)),
        (1872, 0x8000, (None, None)),
        (0x0000, 0x8000, (None, None)),
        (63662, 0x8000, (125.0, 56.5)),
        (63663, 0x8000, (None, None)),
        (0xFFFF, 0x8000, (None, None)),
    ],
)
def test_words_mean_what_the_datasheet_says(
    temperature: int, humidity: int, air: tuple[float | None, float | None]
) -> None:
    assert sht4x_frames.air(temperature, humidity) == air


def test_the_meaning_is_the_librarys(bench: Bench) -> None:
    from adafruit_sht4x import SHT4x

    library = SHT4x(bench.bus)
    for celsius, percent in ((-39.9, 0.0), (-12.3, 99.9), (0.0, 31.0), (61.7, 100.0)):
        bench.chip.temperature_c, bench.chip.humidity_pct = celsius, percent
        driver = bench.driver()
        driver.open()
        found = values(driver)
        expected = dict(zip(("temperature_c", "humidity_pct"), library.measurements, strict=True))
        assert found == pytest.approx(expected, abs=0.05)
        assert found == pytest.approx(
            {"temperature_c": celsius, "humidity_pct": percent}, abs=0.051
        )
        driver.close()


# The driver


def test_nothing_is_sent_but_reset_serial_number_and_measurement_without_the_heater(
    bench: Bench,
) -> None:
    driver = bench.driver()
    driver.open()
    driver.read()
    driver.read()
    driver.close()
    sent = [data for address, data in bench.bus.transfers if address == ADDRESS and data]
    assert sent == [RESET, SERIAL_NUMBER, MEASURE, MEASURE]


def test_a_serial_number_that_another_program_asked_for_is_no_temperature(bench: Bench) -> None:
    driver = bench.driver()
    driver.open()
    bench.bus.before_answer = [SERIAL_NUMBER]
    with raises(DAMAGED, bus=1, address="0x44"):
        driver.read()
    bench.bus.before_answer = []
    assert values(driver)["temperature_c"] == pytest.approx(18.4, abs=0.01)
    driver.close()


def test_a_reset_during_the_wait_is_silence(bench: Bench) -> None:
    driver = bench.driver()
    driver.open()
    bench.bus.before_answer = [RESET]
    with raises(SILENT, bus=1, address="0x44"):
        driver.read()
    driver.close()


def test_an_ina219_at_its_address_is_none_and_keeps_its_registers(bench: Bench) -> None:
    other = Chip(bench.clock.now_s)
    other.write(bytes((0, 0x2F, 0xFF)))
    other.write(bytes((5, 0x12, 0x34)))
    bench.bus.chips[0x45] = other
    driver = bench.driver(Config(address=0x45))
    for _ in range(2):
        refused = refusal(driver)
        assert (refused.kind, refused.values) == (DAMAGED, {"bus": 1, "address": "0x45"})
    assert bench.bus.users == 0
    for register, word in ((0, b"\x2f\xff"), (5, b"\x12\x34")):
        other.write(bytes((register,)))
        assert other.read(2) == word


@pytest.mark.parametrize("celsius", [-45.0, 126.0, 130.0])
def test_what_the_chip_cannot_have_measured_is_unknown(bench: Bench, celsius: float) -> None:
    driver = bench.driver()
    driver.open()
    bench.chip.temperature_c = celsius
    found = driver.read()
    assert [(m.value, m.quality) for m in found] == [(None, Quality.FAULT)] * 2
    troubles = [m.trouble for m in found if m.trouble is not None]
    assert [t.kind for t in troubles] == [IMPOSSIBLE] * 2
    assert [t.values for t in troubles] == [{"bus": 1, "address": "0x44"}] * 2
    driver.close()


def test_a_humidity_that_cannot_be_leaves_the_temperature(bench: Bench) -> None:
    driver = bench.driver()
    driver.open()
    bench.chip.humidity_pct = 119.0
    temperature, humidity = driver.read()
    assert (temperature.value, temperature.quality) == (18.4, Quality.OK)
    assert (humidity.value, humidity.quality) == (None, Quality.FAULT)
    driver.close()


def test_a_capture_means_what_the_driver_said(bench: Bench) -> None:
    said: list[bytes] = []
    driver = bench.driver()
    driver.tap = said.append
    driver.open()
    heard = []
    for celsius in (-7.5, 21.0, 126.0):
        bench.chip.temperature_c = celsius
        heard.append(values(driver))
    bench.chip.is_damaged = True
    with raises(DAMAGED, bus=1, address="0x44"):
        driver.read()
    driver.close()
    noise = b'noise\n[1]\n{}\n{"at_s":NaN,"answer":"666693666693"}\n{"at_s":1,"answer":"zz"}\n'
    found = decode(b"".join(said) + noise)
    assert [{k: v for k, v in frame.items() if k != "at_s"} for frame in found.frames] == heard
    assert found.bad == 6


# Several threads on one bus


def test_other_chips_may_be_read_between_command_and_answer_and_before_its_meaning(
    bench: Bench,
) -> None:
    """The same as below with every switch of threads at the worst moment."""
    frost = Thermometer(bench.clock, serial_number=7)
    frost.temperature_c = -12.5
    bench.bus.chips[0x45] = frost
    bench.hardware.chip.measure(10.0 * SHUNT_OHMS, 13.2)
    inside, outside = bench.driver(), bench.driver(Config(address=0x45))
    shunt = ina219.Ina219(ina219.Config(SHUNT_OHMS, 50), bench.hardware, bench.clock)
    for driver in (inside, outside, shunt):
        driver.open()
    while not shunt.read():
        pass  # its first conversion runs
    others: list[list[Measurement]] = []
    bench.bus.meanwhile = lambda: others.append([*outside.read(), *shunt.read()])
    for _ in range(3):
        assert values(inside) == {"temperature_c": 18.4, "humidity_pct": 52.0}
    bench.bus.meanwhile = None
    assert len(others) == 6
    for found in others:
        assert {m.quantity: m.value for m in found} == {
            "temperature_c": -12.5, "humidity_pct": 52.0,
            "current_a": 10.0, "voltage_v": 13.2, "power_w": 132.0, "uncorrected_a": 10.0,
        }  # fmt: skip
    for driver in (inside, outside, shunt):
        driver.close()


@contextmanager
def quick_switches() -> Iterator[None]:
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)


def interleaved(transfers: list[tuple[int, bytes]]) -> int:
    """Count the answers of the first SHT4x before which INA219 were read after its command."""
    count, others = 0, False
    for address, data in transfers:
        if address in (0x40, 0x41):
            others = True
        elif address != ADDRESS:
            continue
        elif data:
            others = False
        else:
            count += others
    return count


def test_two_ina219_and_two_sht4x_share_a_bus_in_a_thread_each(tmp_path: Path) -> None:
    """INA219 are read while an SHT4x measures; each value is its own chip's, and no read fails."""
    with simulated(tmp_path, speed=50.0) as (hardware, clock), quick_switches():
        bench = Bench(hardware, clock)
        second = Chip(clock.now_s)
        frost = Thermometer(clock, serial_number=7)
        frost.temperature_c = -12.5
        bench.bus.chips |= {0x41: second, 0x45: frost}
        hardware.chip.measure(10.0 * SHUNT_OHMS, 13.2)
        second.measure(-20.0 * SHUNT_OHMS, 12.8)
        shunt = ina219.Config(SHUNT_OHMS, 50, period_s=0.1)
        drivers: dict[str, Driver] = {
            "generator": ina219.Ina219(shunt, hardware, clock),
            "battery": ina219.Ina219(replace(shunt, address=0x41), hardware, clock),
            "inside": bench.driver(Config(period_s=1.0)),
            "outside": bench.driver(Config(address=0x45, period_s=1.0)),
        }
        listener = Listener()
        sensors = [Sensor(name, driver, clock, listener) for name, driver in drivers.items()]
        for sensor in sensors:
            sensor.start()
        heard: list[Reading] = []
        for _ in range(1000):
            heard += listener.until(lambda r: r.sensor == "inside" and r.quantity == "humidity_pct")
            if interleaved(bench.bus.transfers) >= 20:
                break
        for sensor in sensors:
            sensor.stop()
        assert all(sensor.join(PATIENCE_S) for sensor in sensors)
    assert interleaved(bench.bus.transfers) >= 20
    expected = {
        ("generator", "current_a"): 10.0,
        ("generator", "voltage_v"): 13.2,
        ("battery", "current_a"): -20.0,
        ("battery", "voltage_v"): 12.8,
        ("inside", "temperature_c"): 18.4,
        ("inside", "humidity_pct"): 52.0,
        ("outside", "temperature_c"): -12.5,
    }
    for reading in heard:
        assert reading.quality is Quality.OK, reading
        if reading.quantity == "errors":
            assert reading.value == 0, reading
        right = expected.get((reading.sensor, reading.quantity))
        if right is not None:
            assert reading.value == pytest.approx(right, abs=0.01), reading
    assert {(r.sensor, r.quantity) for r in heard} >= expected.keys()
