"""The store with damage in any place of its files; `python -m tests.bench.damage` tries every byte."""

import contextlib
import shutil
import socket
from pathlib import Path

import pytest

from publisher.ledger import FILE as LEDGER
from publisher.ledger import SLOT_BYTES, Ledger, SecondPlace
from publisher.store import CARRIED, FILE, MOST_SET_ASIDE
from tests.bench import damage
from tests.test_publisher_store import Unit, cut_power, overwrite, stored


def test_damage_in_any_place_costs_records_at_most_and_is_never_believed() -> None:
    came = damage.run(every=331)
    outcomes = {outcome for found in came.values() for outcome in found}
    assert {"went on, nothing lost", "begun anew, something lost"} <= outcomes
    for where, found in came.items():
        if LEDGER in where:
            assert set(found) == {"went on, nothing lost"}, where


def test_whatever_is_lost_the_newest_totals_count(tmp_path: Path) -> None:
    """Of the database, and of the second place with a database that is older or newer."""
    old = tmp_path / "old"
    old.mkdir()
    stored(old, 4)
    new = tmp_path / "new"
    shutil.copytree(old, new)
    unit = Unit(new, second=100)
    unit.append(3)
    unit.close()
    for name, database, second, expected in (
        ("whole", new, new, 7),
        ("database gone", None, new, 7),
        ("second place gone", new, None, 7),
        ("database older", old, new, 7),
        ("second place older", new, old, 7),
        ("only an old one", None, old, 4),
    ):
        directory = tmp_path / name
        directory.mkdir()
        if database is not None:
            shutil.copy(database / FILE, directory)
        if second is not None:
            shutil.copy(second / LEDGER, directory)
        unit = Unit(directory, "boot-b", second=200)
        assert unit.opened.totals == {"n": expected}, name
        unit.append()
        assert Unit(cut_power(unit), "boot-b", second=300).totals == {"n": expected + 1}, name
        unit.close()


def test_what_a_unit_counted_in_memory_survives_its_death(tmp_path: Path) -> None:
    """On a full disk the second place can still be written: it has its room already."""
    unit = Unit(tmp_path)
    kept = unit.append(3)
    unit.connection.execute("PRAGMA max_page_count = 1")
    unit.append(2, size=5000)
    in_memory = unit.store.boot
    assert unit.store.failure is not None
    again = Unit(cut_power(unit), "boot-b", second=100)
    assert again.opened.totals == {"n": 5}
    assert again.opened.lost == 2
    assert again.buffer()["dropped"] == 2
    assert again.waiting() == kept
    assert again.store.boot > in_memory


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("length", [1, 20, 300, SLOT_BYTES])
def test_of_two_slots_one_is_always_whole(tmp_path: Path, slot: int, length: int) -> None:
    place = SecondPlace(tmp_path)
    for count in range(1, 6):
        place.write(Ledger(count=count, boot=7, totals={"n": count}).text(), sync=False)
    content = (tmp_path / LEDGER).read_bytes()
    overwrite(tmp_path / LEDGER, slot * SLOT_BYTES, b"\0" * length)
    found = SecondPlace(tmp_path).read()
    assert found is not None
    assert found.totals in ({"n": 4}, {"n": 5})
    assert found.count == found.totals["n"]
    (tmp_path / LEDGER).write_bytes(content)
    newest = SecondPlace(tmp_path).read()
    assert newest is not None
    assert newest.count == 5


def test_the_boot_noted_by_an_older_version_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "boot").write_text("000123456789\n")
    unit = Unit(tmp_path)
    boot = unit.store.boot
    assert boot > 123456789
    assert not (tmp_path / "boot").exists()
    (tmp_path / FILE).unlink()
    assert Unit(tmp_path, second=100).store.boot > boot


def test_a_first_start_begins_nothing_anew(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    assert unit.store.begun_anew() == []
    unit.close()
    assert Unit(tmp_path, second=100).store.begun_anew() == []


def test_a_file_that_was_deleted_while_nobody_looked_is_missed(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append(5)
    unit.close()
    (tmp_path / FILE).unlink()
    unit = Unit(tmp_path, second=100)
    assert unit.store.begun_anew() == [None]
    assert unit.store.begun_anew() == [], "it is told once"
    assert unit.opened.totals == {"n": 5}
    assert unit.buffer()["dropped"] == unit.opened.lost == 5


def test_only_the_newest_damaged_files_are_kept(tmp_path: Path) -> None:
    later = tmp_path / "tentwatch.version-9-1"
    later.write_text("the program that made it may come back")
    for i in range(MOST_SET_ASIDE + 3):
        stored(tmp_path, 3)
        overwrite(tmp_path / FILE, 0, b"damage")
        Unit(tmp_path, second=100 * i).close()
    kept = sorted(path.name for path in tmp_path.glob("*.corrupt-*"))
    assert len(kept) == MOST_SET_ASIDE
    assert later.exists()


def test_a_full_disk_costs_the_damaged_files_first(tmp_path: Path) -> None:
    stored(tmp_path, 3)
    overwrite(tmp_path / FILE, 0, b"damage")
    unit = Unit(tmp_path, second=100)
    assert list(tmp_path.glob("*.corrupt-*"))
    unit.connection.execute("PRAGMA max_page_count = 1")
    unit.append(size=9000)
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_the_watchdog_hears_of_a_long_salvage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = Unit(tmp_path)
    unit.append(3 * CARRIED)
    unit.append(1)
    unit.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        overwrite(tmp_path / FILE, 60, b"\x7f")  # of the version
        unit = Unit(tmp_path, second=100)
        assert len(unit.waiting()) == 3 * CARRIED + 1
        heard = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(manager.recv(100))
    assert heard == [b"WATCHDOG=1"] * (3 + 2)


# The directory is deleted under the running store


@pytest.mark.parametrize("what", ["directory", "file", "another file"])
def test_a_file_that_is_deleted_under_it_is_made_again_with_all_that_it_held(
    tmp_path: Path, what: str
) -> None:
    (tmp_path / "state").mkdir()
    unit = Unit(tmp_path / "state")
    rows = unit.append(50, size=400)
    unit.store.append(lambda boot, seq: [], unit.totals, unit.now(), days=[("2026-11-22", "{}")])
    unit.store.confirm([rows[0].id])
    del rows[0]
    boot = unit.store.boot
    if what == "directory":
        shutil.rmtree(unit.directory)
    elif what == "file":
        (unit.directory / FILE).unlink()
    else:
        (unit.directory / LEDGER).replace(unit.directory / FILE)
    rows += unit.append(2)
    assert unit.store.failure is None
    aside = "tentwatch.corrupt-1" if what == "another file" else None
    assert unit.store.begun_anew() == [aside]
    assert unit.store.boot == boot, "nothing was lost: the numbers go on"
    assert unit.waiting() == rows
    rows += unit.append(1)
    again = Unit(cut_power(unit), "boot-b", second=100)
    assert again.waiting() == rows
    assert again.totals == {"n": 53}
    assert again.store.days() == [("2026-11-22", "{}")]
    assert again.buffer()["dropped"] == 0
    (again.directory / FILE).unlink()
    assert again.append(1)
    assert Unit(cut_power(again), "boot-c", second=200).totals == {"n": 54}


def test_a_directory_that_cannot_be_made_again_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    unit = Unit(tmp_path / "state")
    unit.append(5)
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "state").write_text("a file in the way")
    rows = unit.append(2)
    assert unit.store.failure is not None
    assert unit.retry() is None
    assert unit.store.failure is not None
    (tmp_path / "state").unlink()
    unit.retry()
    assert unit.store.failure is None
    assert unit.store.begun_anew() == [None]
    assert unit.waiting() == rows
    assert unit.buffer()["dropped"] == 5
    assert Unit(cut_power(unit), "boot-b", second=100).totals == {"n": 7}
