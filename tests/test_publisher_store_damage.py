"""The store with damage in any place of its files; `python -m tests.bench.damage` tries every byte."""

import contextlib
import errno
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from publisher.store.file import FILE, MAX_SET_ASIDE, Loaded, StoreFile
from publisher.store.ledger import BOOT_FILE, SLOT_BYTES, Ledger, SecondPlace
from publisher.store.ledger import FILE as LEDGER
from publisher.store.out_of_reach import MAX_REFUSALS
from publisher.store.rows import BATCH_ROWS
from publisher.store.troubles import trouble_of
from tests.bench import damage
from tests.test_publisher_store import Unit, cut_power, failure, number, overwrite, stored


def test_damage_in_any_place_costs_records_at_most_and_is_never_believed() -> None:
    came = damage.run(every=997)
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
    assert unit.store.set_aside() == []
    unit.close()
    assert Unit(tmp_path, second=100).store.set_aside() == []


def test_a_file_that_was_deleted_while_nobody_looked_is_missed(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append(5)
    unit.close()
    (tmp_path / FILE).unlink()
    unit = Unit(tmp_path, second=100)
    assert unit.store.set_aside() == [None]
    assert unit.store.set_aside() == [], "it is reported once"
    assert unit.opened.totals == {"n": 5}
    assert unit.buffer()["dropped"] == unit.opened.lost == 5


def test_only_the_newest_damaged_files_are_kept(tmp_path: Path) -> None:
    later = tmp_path / "tentwatch.version-9-1"
    later.write_text("the program that made it may come back")
    for i in range(MAX_SET_ASIDE + 3):
        stored(tmp_path, 3)
        overwrite(tmp_path / FILE, 0, b"damage")
        Unit(tmp_path, second=100 * i).close()
    kept = sorted(path.name for path in tmp_path.glob("*.corrupt-*"))
    assert len(kept) == MAX_SET_ASIDE
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
    unit.append(3 * BATCH_ROWS)
    unit.append(1)
    unit.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        overwrite(tmp_path / FILE, 60, b"\x7f")  # of the version
        unit = Unit(tmp_path, second=100)
        assert len(unit.waiting()) == 3 * BATCH_ROWS + 1
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
    assert unit.store.set_aside() == [aside]
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
    assert unit.store.set_aside() == [None]
    assert unit.waiting() == rows
    assert unit.buffer()["dropped"] == 5
    assert Unit(cut_power(unit), "boot-b", second=100).totals == {"n": 7}


# Reports


def test_a_file_set_aside_is_told_until_a_record_tells_it(tmp_path: Path) -> None:
    stored(tmp_path, 3)
    overwrite(tmp_path / FILE, 0, bytes(100))
    unit = Unit(tmp_path, second=100)
    assert unit.store.set_aside() == ["tentwatch.corrupt-1"]
    unit.append(0)  # no record: nothing is reported
    unit = Unit(cut_power(unit), "boot-b", second=200)
    (unit.directory / FILE).unlink()
    unit.append(1)  # which finds it gone, and was made before that was known
    unit = Unit(cut_power(unit), "boot-c", second=300)
    assert unit.store.set_aside() == ["tentwatch.corrupt-1", None]
    unit.append(1)
    assert Unit(cut_power(unit), "boot-d", second=400).store.set_aside() == []


def test_a_file_set_aside_after_a_failure_is_told_until_a_record_tells_it(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append(3)
    unit.sql("DELETE FROM outbox")  # behind the store's back
    unit.buffer()
    unit.append(2)
    unit.retry()
    assert unit.store.set_aside() == ["tentwatch.corrupt-1"]
    unit = Unit(cut_power(unit), "boot-b", second=100)
    assert unit.store.set_aside() == ["tentwatch.corrupt-1"]


def test_each_failure_has_its_own_code(tmp_path: Path) -> None:
    first = Unit(tmp_path)
    first.append(3)
    assert failure(Unit(tmp_path)) == "store.busy"
    first.sql("DELETE FROM outbox")
    first.buffer()
    assert failure(first) == "store.damaged"
    first.retry()
    first.append()
    first.connection.execute("PRAGMA max_page_count = 1")
    first.append(size=9000)
    assert failure(first) == "store.full"
    first.retry()
    first.connection.execute("PRAGMA query_only = ON")
    first.append()
    assert failure(first) == "store.read_only"
    (tmp_path / "in the way").write_text("a file")
    state = tmp_path / "in the way" / "state"
    trouble = Unit(state).store.failure
    assert trouble is not None
    assert trouble.code == "store.unusable"
    assert f"may write in {state}" in str(trouble)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "store.full"),
        (errno.EDQUOT, "store.full"),
        (errno.EROFS, "store.read_only"),
        (errno.EIO, "store.read_only"),
        (errno.EACCES, "store.unusable"),
    ],
)
def test_an_error_of_the_operating_system_is_known_by_its_number(number: int, code: str) -> None:
    assert trouble_of(OSError(number, "whatever it says"), Path(FILE)).code == code


def test_a_second_place_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unit = Unit(tmp_path)
    assert unit.store.second_failure is None
    unit.totals["name"] = "x" * SLOT_BYTES
    unit.append()
    unit.store.back_up()
    unit.append()
    trouble = unit.store.second_failure
    assert trouble is not None
    assert trouble.code == "store.second_place"
    assert f"which it holds {SLOT_BYTES}" in str(trouble)
    assert caplog.text.count("cannot be written") == 1
    del unit.totals["name"]
    unit.append()
    assert unit.store.second_failure is None
    (tmp_path / LEDGER).unlink()
    (tmp_path / LEDGER).mkdir()
    unit.append()
    unit.store.back_up()
    assert unit.store.second_failure is None
    assert (tmp_path / LEDGER).is_file()
    assert (tmp_path / f"{LEDGER}.odd-1").is_dir()
    assert unit.store.failure is None


def test_odd_files_in_the_place_of_the_second_one_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / BOOT_FILE).mkdir()
    unit = Unit(tmp_path)
    unit.append()
    unit.store.back_up()
    assert unit.store.second_failure is None
    (tmp_path / FILE).unlink()
    assert Unit(tmp_path, second=100).totals == {"n": 1}


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TRIED: only root can act as another user")
def test_a_second_place_of_another_user_is_replaced() -> None:
    with tempfile.TemporaryDirectory(prefix="tentwatch-store-") as name:
        state = Path(name)
        unit = Unit(state)
        unit.append(3)
        unit.close()
        for path in (state, state / FILE):
            os.chown(path, 65534, 65534)
        (state / LEDGER).chmod(0o640)
        os.seteuid(65534)
        try:
            unit = Unit(state, second=100)
            unit.append(4)
            assert unit.store.second_failure is None
            unit.close()
            overwrite(state / FILE, 0, bytes(3 * 2048))
            assert Unit(state, second=200).totals == {"n": 7}
        finally:
            os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TRIED: only root can act as another user")
def test_files_of_another_user_are_no_damage_and_come_back() -> None:
    with tempfile.TemporaryDirectory(prefix="tentwatch-store-") as name:
        state = Path(name)
        unit = Unit(state)
        rows = unit.append(3)
        unit.close()
        os.chown(state, 65534, 65534)
        for path in state.iterdir():
            path.chmod(0o600)
        os.setresuid(65534, 65534, 0)
        try:
            unit = Unit(state, "boot-b", second=100)
            for _ in range(MAX_REFUSALS + 3):
                assert unit.retry() is None
            assert str(unit.store.failure).endswith(f"sudo chown -R tentwatch: {state}")
            assert unit.store.set_aside() == []
        finally:
            os.setresuid(0, 0, 0)
        os.chown(state / FILE, 65534, 65534)
        os.setresuid(65534, 65534, 0)
        try:
            unread = unit.retry()
            assert unread is not None
            assert unread.totals == {"n": 3}
            assert unit.store.failure is None
            assert unit.waiting() == rows
        finally:
            os.setresuid(0, 0, 0)


# Mistakes of ours


@pytest.mark.parametrize("mistake", [TypeError("ours"), KeyError("ours"), ZeroDivisionError()])
def test_a_mistake_of_ours_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Exception
) -> None:
    _, numbers = stored(tmp_path, 5)

    def fails(self: StoreFile, *_: object) -> Loaded:
        raise mistake

    with monkeypatch.context() as patch:
        patch.setattr(StoreFile, "_take_up", fails)
        unit = Unit(tmp_path, "boot-b", second=100)
        assert failure(unit) == "store.mistake"
        new = unit.append(2)
        for _ in range(MAX_REFUSALS + 2):
            assert unit.retry() is None
    unit.retry()
    assert unit.store.failure is None
    assert unit.store.set_aside() == []
    assert not list(tmp_path.glob("*.corrupt-*"))
    assert unit.numbers() == [*numbers, *map(number, new)]
    assert Unit(cut_power(unit), "boot-b", second=200).totals == {"n": 7}


def test_a_record_that_no_database_can_hold_is_no_fault_of_the_file(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(2)
    with pytest.raises(UnicodeEncodeError):
        unit.store.append(lambda boot, seq: [("event", '{"x":"\udcff"}')], {}, unit.now())
    assert unit.store.failure is None
    rows += unit.append(1)
    assert unit.waiting() == rows
    assert [seq for _, seq in unit.numbers()] == [1, 2, 3]
