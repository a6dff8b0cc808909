"""The store on real disks: a full one, a read-only one, and one that fails to read."""

import fcntl
import os
import random
import struct
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from publisher.store.file import FILE
from publisher.store.out_of_reach import MAX_REFUSALS
from tests.test_publisher_store import Unit, cut_power, failure, number

SIZE = 4 << 20


def command(*words: str | Path) -> None:
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The directory of a small ext4 of its own."""
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    try:
        command("mkfs.ext4", "-q", "-m", "0", image)
        command("mount", "-o", "loop", image, place)
    except (AssertionError, OSError) as error:
        warnings.warn(f"NOT TESTED on a real disk, which needs root: {error}", stacklevel=1)
        pytest.skip(f"a disk cannot be mounted: {error}")
    (place / "state").mkdir()
    yield place / "state"
    command("umount", "-l", place)


def fill(disk: Path, spare: int = 0) -> Path:
    """Fill the disk up to `spare` free bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
        if spare:
            file.truncate(max(0, file.tell() - spare))
        os.fsync(file.fileno())
    return ballast


def test_a_full_disk(disk: Path) -> None:
    unit = Unit(disk)
    rows = unit.append(20, size=500)
    boot = unit.store.boot
    ballast = fill(disk, 64 * 1024)
    for _ in range(400):
        rows += unit.append(size=2000)
        if unit.store.failure is not None:
            break
    assert failure(unit) == "store.full"
    assert unit.store.boot > boot
    rows += unit.append(3)
    assert unit.retry() is None
    assert unit.store.failure is not None
    ballast.unlink()
    unit.retry()
    assert unit.store.failure is None
    assert unit.waiting() == rows
    assert unit.store.set_aside() == []
    unit.close()
    again = Unit(disk, "boot-b", second=10_000)
    assert again.totals == unit.totals == {"n": len(rows)}
    assert again.waiting() == rows
    again.close()


def test_a_unit_that_dies_with_its_disk_full_has_its_totals(disk: Path) -> None:
    unit = Unit(disk)
    ballast = fill(disk, 64 * 1024)
    while unit.store.failure is None:
        unit.append(size=2000)
    unit.append(5)
    counted, boot = unit.totals["n"], unit.store.boot
    del unit  # its data in memory is gone
    again = Unit(disk, "boot-b", second=10_000)
    assert again.opened.totals == {"n": counted}
    assert again.store.boot > boot
    again.append()
    ballast.unlink()
    again.retry()
    assert again.store.failure is None
    again.close()
    third = Unit(disk, "boot-c", second=20_000)
    assert third.opened.totals == {"n": counted + 1}
    third.close()


def test_a_first_start_on_a_full_disk(disk: Path) -> None:
    ballast = fill(disk)
    unit = Unit(disk)
    assert unit.store.failure is not None
    rows = unit.append(3)
    ballast.unlink()
    unit.retry()
    assert unit.store.failure is None
    assert unit.waiting() == rows
    assert unit.store.set_aside() == []
    unit.close()


def test_damage_found_on_a_full_disk_waits_for_room(disk: Path) -> None:
    unit = Unit(disk)
    rows = unit.append(300, size=900)
    unit.close()
    with (disk / FILE).open("r+b") as file:
        file.seek((disk / FILE).stat().st_size // 2)
        file.write(random.Random(5).randbytes(8192))
    ballast = fill(disk)
    unit = Unit(disk, "boot-b", second=1000)
    new = unit.append(2)
    assert unit.store.failure is not None
    ballast.unlink()
    unit.retry()
    assert unit.store.failure is None
    assert unit.waiting() == [], "now the damage is found"
    ballast = fill(disk)
    for _ in range(3):
        unit.retry()
        assert unit.store.failure is not None
    assert unit.store.set_aside() == []
    ballast.unlink()
    unit.retry()
    assert unit.store.failure is None
    assert unit.store.set_aside() == ["tentwatch.corrupt-1"]
    found = unit.waiting()
    assert found[-2:] == new
    assert len(found) > 100
    assert unit.buffer()["dropped"] == 300 - len(found[:-2])
    assert [row for row in found if row in rows] == found[:-2]
    assert unit.opened.totals == {"n": 300}
    unit.close()


def test_a_disk_that_is_read_only_at_the_start(disk: Path) -> None:
    unit = Unit(disk)
    rows = unit.append(10)
    unit.close()
    command("mount", "-o", "remount,ro", disk.parent)
    unit = Unit(disk, second=1000)
    assert unit.store.failure is not None
    assert unit.opened.totals == {"n": 10}
    new = unit.append(3)
    for _ in range(MAX_REFUSALS + 3):  # a file is not set aside because of its disk
        assert unit.retry() is None
        assert unit.store.failure is not None
    assert unit.store.set_aside() == []
    command("mount", "-o", "remount,rw", disk.parent)
    unit.retry()
    assert unit.store.failure is None
    assert unit.store.set_aside() == []
    found = unit.waiting()
    assert found == rows + new
    assert len({number(row) for row in found}) == 13
    unit.close()
    again = Unit(disk, "boot-b", second=2000)
    assert again.totals == {"n": 13}
    again.close()


def test_a_disk_that_fails_and_comes_back(disk: Path) -> None:
    """Unflushed data is lost, and each access fails, until the disk is mounted again."""
    unit = Unit(disk)
    rows = unit.append(10)
    boot = unit.store.boot
    _shut_down(disk)
    rows += unit.append(2)
    assert unit.store.failure is not None
    assert unit.store.boot > boot
    unit.retry()
    assert unit.store.failure is not None
    rows += unit.append(2)
    command("umount", "-l", disk.parent)
    command("mount", "-o", "loop", disk.parent.with_name("disk.img"), disk.parent)
    unit.retry()
    assert unit.store.failure is None
    assert unit.waiting() == rows
    assert unit.store.set_aside() == []
    again = Unit(cut_power(unit), "boot-b", second=2000)
    assert again.totals == {"n": 14}
    unit.close()


def _shut_down(disk: Path) -> None:
    """Make the file system fail from now on (EXT4_IOC_SHUTDOWN without flushing its journal)."""
    directory = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(directory, 0x8004587D, struct.pack("I", 2))
    finally:
        os.close(directory)
