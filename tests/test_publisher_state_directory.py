"""One agent at a time, whatever the state directory can hold; and copies of it that are put back."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.in_memory import in_memory
from publisher.store.file import FILE
from publisher.store.ledger import FILE as LEDGER
from publisher.store.store import Opened, Store
from publisher.unit.state_directory import Lock, StartError, is_locked
from tests.test_publisher_store import EVERYTHING, at, number, overwrite, records

WAL = f"{FILE}-wal"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


class Run:
    """A run of the store as an agent has it, with its place in memory."""

    seconds = 0.0

    def __init__(self, state: Path, boot_id: str = "boot-a") -> None:
        self.state = state
        self.store = Store(state, 10_000, 1 << 24, in_memory(state))
        self.opened: Opened = self.store.open(boot_id, self.now())
        self.totals: dict[str, Any] = dict(self.opened.totals or {})

    def now(self) -> Any:
        Run.seconds += 1.0
        return at(Run.seconds)

    def append(self, count: int = 1) -> dict[tuple[int, int], str]:
        """Return the records that were made, by their numbers."""
        made: dict[tuple[int, int], str] = {}
        for _ in range(count):
            now = self.now()
            self.totals["n"] = self.totals.get("n", 0) + 1
            rows = self.store.append(records(1, now), self.totals, now)
            made |= {number(row): row.body for row in rows}
        return made

    def stop(self) -> None:
        self.store.close(self.now(), self.totals)

    def kill(self) -> None:
        """End as SIGKILL does: nothing more is written, and the log stays."""
        assert self.store._outbox is not None
        kept = {path: path.read_bytes() for path in self.state.iterdir()}
        self.store._outbox.db.close()
        for path, content in kept.items():
            path.write_bytes(content)


# Copies that are put back


def copy_by_cp(source: Path, target: Path) -> None:
    subprocess.run(("cp", "-a", f"{source}/.", target), check=True)


def copy_by_tar(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    packed = subprocess.run(("tar", "-C", source, "-c", "."), check=True, capture_output=True)
    subprocess.run(("tar", "-C", target, "-xp"), input=packed.stdout, check=True)


def copy_in_place(source: Path, target: Path) -> None:
    """As `rsync --inplace` does: contents and times as they were, in the same files."""
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        with (target / path.name).open("r+b" if (target / path.name).exists() else "wb") as file:
            file.write(path.read_bytes())
            file.truncate()
        shutil.copystat(path, target / path.name)


def replace_whole(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


TOOLS = [copy_by_cp, copy_by_tar, copy_in_place, replace_whole]
tools = pytest.mark.parametrize("copy", TOOLS)
ends = pytest.mark.parametrize("end", [Run.stop, Run.kill], ids=["stopped", "killed"])


@tools
@ends
@pytest.mark.parametrize("is_live", [True, False], ids=["copied live", "copied at rest"])
def test_a_copy_that_is_put_back_gets_a_boot_of_its_own_and_takes_nothing_back(
    state: Path,
    tmp_path: Path,
    copy: Callable[[Path, Path], None],
    end: Callable[[Run], None],
    is_live: bool,
) -> None:
    backup = tmp_path / "backup"
    run = Run(state)
    known = run.append(10)
    if is_live:
        copy_by_cp(state, backup)
    else:
        end(run)
        copy_by_cp(state, backup)
        run = Run(state)
    known |= run.append(15)
    before = run.store.boot
    end(run)
    (state / WAL).unlink(missing_ok=True)
    copy(backup, state)

    again = Run(state)
    assert again.store.boot > before
    made = again.append(20)
    assert list(made) == [(again.store.boot, seq) for seq in range(1, 21)]
    assert not made.keys() & known.keys()
    assert again.opened.totals == {"n": 25}
    assert not again.opened.is_old
    assert again.store.set_aside() == []
    held = again.store.backlog(0, EVERYTHING, EVERYTHING)
    assert all(known[number(row)] == row.body for row in held if number(row) in known)
    again.stop()


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.booleans(), st.booleans(), st.none() | st.integers(0, 9)),
        min_size=2,
        max_size=6,
    )
)
def test_whatever_is_put_back_no_number_comes_twice_and_none_is_skipped(
    turns: list[tuple[int, bool, bool, int | None]],
) -> None:
    """Each turn: how many records, whether killed, whether rebooted, and which copy is put back."""
    with tempfile.TemporaryDirectory() as directory:
        state, known, boot_id = Path(directory) / "state", 0, 0
        numbers: list[tuple[int, int]] = []
        copies: list[Path] = []
        for count, is_killed, reboots, put_back in turns:
            run = Run(state, f"boot {boot_id}")
            assert run.opened.totals == ({"n": known} if known else None)
            assert not run.opened.is_old
            numbers += run.append(count)
            known = run.totals["n"]
            (run.kill if is_killed else run.stop)()
            copies.append(Path(directory) / f"copy {len(copies)}")
            replace_whole(state, copies[-1])
            if put_back is not None and copies[put_back % len(copies) :][1:]:
                replace_whole(copies[put_back % len(copies)], state)
            boot_id += reboots
    assert numbers == sorted(set(numbers))
    for boot in {boot for boot, _ in numbers}:
        seqs = [seq for number, seq in numbers if number == boot]
        assert seqs == list(range(1, len(seqs) + 1))


@ends
def test_a_restart_without_a_copy_goes_on_in_its_boot(
    state: Path, end: Callable[[Run], None]
) -> None:
    run = Run(state)
    boot = run.store.boot
    made = list(run.append(5))
    for _ in range(4):
        end(run)
        run = Run(state)
        made += run.append(5)
    assert made == [(boot, seq) for seq in range(1, 26)]
    run.stop()


def test_a_kill_between_the_transaction_and_its_trace_changes_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(state)
    made = run.append(5)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_leave_trace", lambda _: None)
        made |= run.append()
    run.kill()
    again = Run(state)
    assert list(again.append()) == [(run.store.boot, 7)]
    assert again.opened.totals == {"n": 6}
    again.stop()


def test_a_copy_at_another_place_gets_a_boot_of_its_own(state: Path, tmp_path: Path) -> None:
    run = Run(state)
    run.append(5)
    run.stop()
    copy_by_cp(state, tmp_path / "other")
    other = Run(tmp_path / "other")
    assert other.store.boot > run.store.boot
    assert other.opened.totals == {"n": 5}
    other.stop()


def test_a_trace_that_was_lost_or_is_damaged_costs_a_boot_number(state: Path) -> None:
    place = in_memory(state)
    assert place is not None
    boots = []
    spoils: list[Callable[[], None]] = [
        lambda: None,
        (place / LEDGER).unlink,
        lambda: spoil_both(place),
    ]
    for spoil in spoils:
        run = Run(state)
        boots.append(run.store.boot)
        run.append(3)
        run.stop()
        spoil()
    run = Run(state)
    assert len({*boots, run.store.boot}) == 3, "the first two runs had the same"
    assert run.opened.totals == {"n": 9}
    run.stop()


def spoil_both(place: Path) -> None:
    for slot in (0, 8192):
        overwrite(place / LEDGER, slot, b"damage")


def test_a_directory_that_was_emptied_begins_anew_above_its_last_boot(state: Path) -> None:
    """Somebody wants that. A damaged one is another case."""
    run = Run(state)
    run.append(5)
    run.stop()
    for path in state.iterdir():
        path.unlink()
    again = Run(state)
    assert again.opened.totals is None
    assert not again.opened.is_old
    assert again.store.boot > run.store.boot
    again.stop()


def test_after_damage_in_both_places_and_a_kill_the_trace_has_the_totals(state: Path) -> None:
    run = Run(state)
    run.append(5)
    run.kill()
    (state / WAL).unlink()
    overwrite(state / FILE, 0, bytes(4096))
    spoil_both(state)
    again = Run(state)
    assert again.opened.totals == {"n": 5}
    assert not again.opened.is_old
    assert again.store.boot > run.store.boot
    again.stop()


def test_the_directory_of_another_unit_keeps_its_totals(state: Path, tmp_path: Path) -> None:
    """A computer was replaced: its state directory moves to the new one, which has counted already."""
    old = Run(tmp_path / "old", "the old computer's boot")
    old.append(9)
    old.stop()
    new = Run(state)
    new.append(2)
    new.stop()
    replace_whole(tmp_path / "old", state)
    moved = Run(state)
    assert moved.opened.totals == {"n": 9}
    assert moved.store.boot > max(old.store.boot, new.store.boot)
    moved.stop()


def test_what_was_counted_in_memory_survives_a_kill(state: Path) -> None:
    """The file could not be written, nor the second place beside it."""
    run = Run(state)
    run.append(3)
    assert run.store._outbox is not None
    run.store._outbox.db.execute("PRAGMA query_only = ON")
    kept = {path: path.read_bytes() for path in state.iterdir()}
    given = run.append(4)
    assert run.store.failure is not None
    for path, content in kept.items():
        path.write_bytes(content)
    again = Run(state)
    assert again.opened.totals == {"n": 7}
    assert again.store.boot > run.store.boot
    assert not given.keys() & again.append(4).keys()
    again.stop()


# The lock


@pytest.fixture
def lock(state: Path) -> Lock:
    return Lock(state)


def refused(state: Path) -> bool:
    other = Lock(state)
    try:
        other.take()
    except StartError:
        return True
    finally:
        other.release()
    return False


def test_a_second_agent_is_refused_until_the_first_has_gone(state: Path, lock: Lock) -> None:
    assert not is_locked(state)
    lock.take()
    lock.take()
    assert is_locked(state)
    assert refused(state)
    lock.release()
    assert not is_locked(state)
    assert not refused(state)


def test_a_directory_that_can_hold_no_lock_is_locked_in_memory(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file in the way")
    state = tmp_path / "blocked" / "state"
    lock = Lock(state)
    lock.take()
    assert is_locked(state)
    assert refused(state)
    (tmp_path / "blocked").unlink()
    assert refused(state), "the directory can be made now, and is still in use"
    lock.take()
    assert (state / "lock").exists()
    shutil.rmtree(in_memory(state) or "")
    assert refused(state), "either lock is enough"
    lock.release()


def test_a_lock_that_was_deleted_is_taken_again(state: Path, lock: Lock) -> None:
    lock.take()
    (state / "lock").unlink()
    lock.take()
    shutil.rmtree(in_memory(state) or "")
    assert refused(state)
    lock.release()


def test_an_agent_that_comes_second_to_a_lock_is_told(
    state: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither place could hold a lock when it started."""
    with monkeypatch.context() as patch:
        patch.setattr("publisher.unit.state_directory.in_memory", lambda _: None)
        shutil.rmtree(state)
        state.write_text("in the way")
        lock.take()
        lock.take()
        assert caplog.text.count("nothing keeps a second tentwatch out") == 1
        state.unlink()
        first = Lock(state)
        first.take()
        with pytest.raises(StartError, match="another tentwatch"):
            lock.take()
        first.release()
    lock.release()


def test_a_place_that_another_user_has_made_is_not_used(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)  # as /dev/shm
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(shared / "own"))
    place = in_memory(state)
    assert place is not None
    assert place.parent == shared / "own"
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    try:
        assert in_memory(state) is None
    finally:
        shutil.rmtree("/dev/shm/tentwatch-12345", ignore_errors=True)
