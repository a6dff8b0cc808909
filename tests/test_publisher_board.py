"""The unit's own computer: the kernel's files are simulated, the code that reads them is real."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from publisher import control
from publisher.agent import FIRST_ABOUT_S
from publisher.clock import DemoClock
from publisher.unit.board import (
    CALM_S,
    DISK_LOW,
    OVERHEATING,
    SEARCH_S,
    SLOW_LOOK_S,
    UNDERVOLTAGE,
    Board,
    Look,
)
from tests.conftest import Broker, Subscriber, Unit, wait_for


class Pi:
    """The kernel's files of a Raspberry Pi, below a directory."""

    FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"

    def __init__(self, root: Path, state_dir: Path) -> None:
        self.root = root
        self.hwmon = root / "sys/class/hwmon/hwmon1"
        self.firmware = root / self.FIRMWARE
        self.zone = root / "sys/class/thermal/thermal_zone0"
        self.io = root / "proc/self/io"
        number = state_dir.stat().st_dev
        self.block = root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
        card = root / "sys/devices/platform/emmc2bus/fe340000.mmc/mmc0:aaaa/block/mmcblk0"
        self.card = card
        part = card / "mmcblk0p2"
        firmware, thermal = self.firmware.parent, root / "sys/devices/virtual/thermal"
        for directory in (self.io.parent, part):
            directory.mkdir(parents=True)
        other = root / "sys/class/hwmon/hwmon0"
        for name, device in (
            (self.hwmon, firmware / "raspberrypi-hwmon/hwmon/hwmon1"),
            (other, thermal / "thermal_zone0/hwmon0"),
            (self.zone, thermal / "thermal_zone0"),
            (self.block, part),
        ):
            device.mkdir(parents=True, exist_ok=True)
            name.parent.mkdir(parents=True, exist_ok=True)
            name.symlink_to(os.path.relpath(device, name.parent))
        (other / "name").write_text("cpu_thermal\n")
        (part / "partition").write_text("2\n")
        (part / "stat").write_text(stat(written=1))
        (self.hwmon / "name").write_text("rpi_volt\n")
        (self.zone / "type").write_text("cpu-thermal\n")
        self.io.write_text(
            "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6400000\n"
            "cancelled_write_bytes: 7\n"
        )
        self.is_well()

    @property
    def alarm(self) -> Path:
        return self.hwmon / "in0_lcrit_alarm"

    def is_well(self) -> None:
        self.alarm.write_text("0\n")
        self.firmware.write_text("0\n")
        (self.zone / "temp").write_text("48686\n")
        (self.card / "stat").write_text(stat(written=1_585_938))

    def sags(self) -> None:
        """Simulate a drop of the voltage: the firmware throttles as well."""
        self.alarm.write_text("1\n")
        self.firmware.write_text("50005\n")


def stat(written: int) -> str:
    """Return a block device's `stat` with a number of written sectors, padded as by the kernel."""
    fields = 70967, 10741, 3587121, 61790, 86848, 38456, written, 145, 0, 12903, 7980
    return " ".join(f"{field:8d}" for field in fields) + "\n"


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path / "root", tmp_path)


@pytest.fixture
def board(pi: Pi, tmp_path: Path) -> Board:
    return Board(tmp_path, pi.root)


def look(board: Board, now_s: float = 0.0) -> Look:
    board.look(now_s)
    return board.seen


def test_a_pi_that_is_well(board: Board) -> None:
    found = look(board)
    assert found.undervoltage is found.throttled is False
    assert found.cpu_c == 48.7
    assert found.disk_written_mb == 812, "of the whole card: 1585938 sectors of 512 bytes"
    assert board.own_written_mb() == 6.4
    assert found.disk_free_mb is not None and found.disk_free_mb > 0
    assert not any(board.alerts.values())
    assert (board.undervoltages, board.throttlings) == (0, 0)


@pytest.mark.parametrize(
    ("word", "undervoltage", "throttled"),
    [
        ("0", False, False),
        ("1", True, False),
        ("2", False, True),
        ("4", False, True),
        ("8", False, True),
        ("50005", True, True),
        ("0x50005", True, True),
        ("e0000", False, False),  # throttled before, but no longer
    ],
)
def test_the_firmwares_bits(
    pi: Pi, board: Board, word: str, undervoltage: bool, throttled: bool
) -> None:
    pi.firmware.write_text(word + "\n")
    found = look(board)
    assert (found.undervoltage, found.throttled) == (undervoltage, throttled)


def test_without_the_driver_that_renews_it_the_word_proves_trouble_and_no_health(
    pi: Pi, board: Board
) -> None:
    (pi.hwmon / "name").write_text("nvme\n")
    assert look(board)[:2] == (None, None)
    pi.firmware.write_text("50005\n")
    assert look(board)[:2] == (True, True)


def test_a_kernel_without_the_word_tells_of_the_voltage_only(pi: Pi, board: Board) -> None:
    pi.firmware.unlink()
    pi.alarm.write_text("1\n")
    assert look(board)[:2] == (True, None)


@pytest.mark.parametrize(
    "place",
    ["soc@107c000000/soc@107c000000:firmware", "soc:firmware"],
)
def test_the_word_stands_elsewhere_on_other_kernels(pi: Pi, board: Board, place: str) -> None:
    pi.firmware.unlink()
    there = pi.root / "sys/devices/platform" / place
    there.mkdir(parents=True)
    (there / "get_throttled").write_text("8\n")
    assert look(board).throttled is True


def test_a_machine_that_is_no_pi_knows_of_its_disk_at_most(tmp_path: Path) -> None:
    bare = Board(tmp_path, tmp_path / "nothing")
    assert look(bare)[:3] == (None, None, None)
    assert look(bare).disk_written_mb is bare.own_written_mb() is None
    assert (bare.undervoltages, bare.throttlings) == (None, None)
    assert not any(bare.alerts.values())
    real = look(Board(tmp_path))
    assert real.disk_free_mb and real.disk_free_mb > 0


def test_a_state_directory_that_is_gone_has_no_disk(pi: Pi, tmp_path: Path) -> None:
    found = look(Board(tmp_path / "none", pi.root))
    assert found.disk_free_mb is found.disk_written_mb is None
    assert found.cpu_c == 48.7


def test_a_disk_without_partitions_is_the_disk(pi: Pi, board: Board) -> None:
    pi.block.unlink()
    pi.block.symlink_to(os.path.relpath(pi.card, pi.block.parent))
    assert look(board).disk_written_mb == 812


def test_heat_of_something_else_is_not_the_processors(pi: Pi, board: Board) -> None:
    (pi.zone / "type").write_text("acpitz\n")
    assert look(board).cpu_c is None


def vanish(file: Path) -> None:
    file.unlink()


def become_a_directory(file: Path) -> None:
    """Make reading fail as with a failing device: open works, read does not."""
    file.unlink()
    file.mkdir()


def become_a_fifo(file: Path) -> None:
    """A plain open of a FIFO would wait for ever."""
    file.unlink()
    os.mkfifo(file)


def become_a_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def be(content: bytes) -> Callable[[Path], object]:
    def write(file: Path) -> None:
        file.write_bytes(content)

    return write


@pytest.mark.parametrize(
    "fail",
    [
        vanish,
        become_a_directory,
        become_a_fifo,
        become_a_loop,
        be(b""),
        be(b"\n"),
        be(b"-90000\n"),
        be(b"nan\n"),
        be(b"\xff\xfe\x00"),
        be(b"1 2 3"),
        be(b"Input/output error\n"),
        be(b"write_bytes: \n"),
        be(b"write_bytes: -5\n"),
        be(b"write_by"),
        be(b"x" * 100_000),
    ],
)
@pytest.mark.parametrize("found_before", [True, False])
def test_what_cannot_be_read_is_unknown_and_never_0(
    pi: Pi, board: Board, fail: Callable[[Path], object], found_before: bool
) -> None:
    if found_before:
        assert None not in look(board)
    for file in (pi.alarm, pi.firmware, pi.zone / "temp", pi.card / "stat", pi.io):
        fail(file)
    found = look(board, SLOW_LOOK_S)
    assert found == Look(disk_free_mb=found.disk_free_mb)
    assert board.own_written_mb() is None
    assert not any(board.alerts.values())


def test_what_comes_later_is_found_within_a_minute(pi: Pi, board: Board) -> None:
    """A driver that is loaded after the agent has started, and one that is loaded anew."""
    pi.hwmon.rename(pi.hwmon.with_name("away"))
    assert look(board, 0.0).undervoltage is None
    pi.hwmon.with_name("away").rename(pi.hwmon)
    assert look(board, SEARCH_S - 0.1).undervoltage is None
    assert look(board, SEARCH_S).undervoltage is False
    moved = pi.hwmon.with_name("hwmon2")
    pi.hwmon.rename(moved)
    pi.hwmon = moved
    pi.sags()
    assert look(board, SEARCH_S + 2).undervoltage is True, "the firmware's word is still there"
    pi.is_well()
    assert look(board, SEARCH_S + 4).undervoltage is None
    assert look(board, 2 * SEARCH_S).undervoltage is False


# Alerts


def test_undervoltage_alerts_at_once_and_until_all_has_been_well_for_a_minute(
    pi: Pi, board: Board
) -> None:
    look(board, 0.0)
    for now_s in (2.0, 30.0):  # it changes with the load
        pi.sags()
        look(board, now_s)
        assert board.alerts[UNDERVOLTAGE]
        pi.is_well()
        look(board, now_s + 2)
        assert board.alerts[UNDERVOLTAGE]
    look(board, 30.0 + CALM_S - 0.1)
    assert board.alerts[UNDERVOLTAGE]
    look(board, 30.0 + CALM_S)
    assert not board.alerts[UNDERVOLTAGE]
    assert (board.undervoltages, board.throttlings) == (2, 2)


def test_an_alert_does_not_go_because_nothing_is_known_any_more(pi: Pi, board: Board) -> None:
    pi.sags()
    look(board, 0.0)
    pi.alarm.unlink()
    pi.firmware.unlink()
    look(board, 1000.0)
    assert board.alerts[UNDERVOLTAGE]
    pi.is_well()
    look(board, 1000.0 + CALM_S)
    assert not board.alerts[UNDERVOLTAGE]


def test_heat_alerts_from_80_degrees_until_it_is_below_75(pi: Pi, board: Board) -> None:
    def at(now_s: float, celsius: float) -> bool:
        (pi.zone / "temp").write_text(f"{celsius * 1000:.0f}\n")
        look(board, now_s)
        return board.alerts[OVERHEATING]

    assert not at(0, 79.9)
    assert at(10, 80.0)
    assert at(100, 76.0)
    assert at(110, 74.0)
    assert not at(100 + CALM_S, 74.0)


def test_a_disk_that_fills_up_alerts(
    pi: Pi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the kernel's answer about the file system is replaced."""
    board = Board(tmp_path, pi.root)
    real, free_mb = os.statvfs(tmp_path), 0

    def answer(path: Any) -> os.statvfs_result:
        fields = list(real)
        fields[4] = int(free_mb * 1e6 / real.f_frsize)
        return os.statvfs_result(fields)

    monkeypatch.setattr(os, "statvfs", answer)
    for now_s, free, on in ((0, 201, False), (10, 199, True), (20, 240, True), (80, 251, False)):
        free_mb = free
        look(board, now_s)
        assert board.alerts[DISK_LOW] is on, free


# On the unit


def sagging(subscriber: Subscriber, event: str) -> dict[str, Any]:
    return subscriber.next(
        "event", lambda m: m["event"] == event and m["detail"] == {"alert": UNDERVOLTAGE}
    ).content


def test_a_sagging_supply_is_reported_and_its_end_too(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber, pi: Pi
) -> None:
    unit = make_unit(broker.port, speed=20)
    unit.hardware.root = pi.root
    unit.start()
    block = subscriber.next("state").content["unit"]
    assert (block["undervoltage"], block["throttled"], block["cpu_c"]) == (False, False, 48.7)
    pi.sags()
    sagging(subscriber, "alert_raised")
    state = subscriber.next("state", lambda m: UNDERVOLTAGE in m["alerts"]).content
    assert state["unit"]["undervoltage"] is True
    pi.is_well()
    sagging(subscriber, "alert_cleared")
    assert unit.status()["unit"]["undervoltages"] == 1


def test_alerts_that_last_over_a_restart_are_neither_cleared_nor_raised_again(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber, pi: Pi
) -> None:
    unit = make_unit(broker.port)
    unit.hardware.root = pi.root
    pi.sags()
    (pi.zone / "temp").write_text("85000\n")
    unit.start()
    both = {UNDERVOLTAGE, OVERHEATING}
    seq = subscriber.next("state", lambda m: both <= set(m["alerts"])).content["seq"]
    unit.stop()
    unit.start()
    subscriber.next("state", lambda m: m["seq"] > seq + 1)
    unit.stop()
    events = [(r["event"], r["detail"]) for r in subscriber.records() if "event" in r]
    for alert in both:
        assert events.count(("alert_raised", {"alert": alert})) == 1
        assert ("alert_cleared", {"alert": alert}) not in events


class Leaping(DemoClock):
    """A clock that the test advances."""

    leap_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.leap_s


def test_about_tells_what_the_unit_has_counted(unit: Unit, subscriber: Subscriber, pi: Pi) -> None:
    clock = unit.clock = Leaping(speed=1)
    unit.hardware.root = pi.root
    unit.start()
    first = subscriber.next("about").content["unit"]
    assert first["connections"] == 0, "nothing has been counted yet"
    subscriber.next("state", lambda m: m["power"]["generator"]["quality"] == "ok")
    clock.leap_s = FIRST_ABOUT_S
    about = subscriber.next("about", lambda m: m["unit"]["connections"] > 0).content
    assert about["unit"]["connections"] == 1
    assert about["unit"]["own_written_mb"] == 6.4
    assert about["unit"]["undervoltages"] == 0
    generator = next(s for s in about["sensors"] if s["name"] == "generator")
    assert generator["reads"] > 0
    assert 0 < generator["read_duration_mean_s"] <= generator["read_duration_max_s"]


def test_what_was_counted_in_an_outage_comes_with_the_next_connection(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    broker.stop()
    unit = make_unit(broker.port, speed=60).start()
    began_s = unit.status()["uptime_s"]
    wait_for(lambda: unit.status()["uptime_s"] > began_s + FIRST_ABOUT_S + 5, "the counts")
    broker.start()
    assert subscriber.next("about").content["unit"]["failures"] >= 1


def test_reconnects_are_counted(unit: Unit, broker: Broker, subscriber: Subscriber) -> None:
    unit.start()
    assert subscriber.next("state").content["unit"]["reconnects"] == 0
    broker.stop()
    wait_for(lambda: not unit.status()["link"]["connected"], "the link to be down")
    broker.start()
    assert subscriber.next("state", lambda m: m["unit"]["reconnects"] == 1)
    assert unit.status()["link"]["failures"] >= 1


def test_the_status_shows_the_unit(unit: Unit, pi: Pi) -> None:
    from rich.console import Console

    from technician.screen.screen import unit_panel

    unit.hardware.root = pi.root
    pi.sags()
    unit.start()
    status = control.ask(unit.state_dir, {"command": "status"})
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(unit_panel(status))
    text = console.export_text()
    assert "48.7 °C" in text and "yes; 1 since" in text and "812 MB since boot" in text
    assert all(len(line) <= 80 for line in text.splitlines())
