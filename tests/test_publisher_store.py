"""The store, on real files that are killed, damaged, filled up and lost."""

import contextlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from publisher import messages
from publisher.clock import Now, timestamp
from publisher.rules.happening import Happening
from publisher.store import schema
from publisher.store.boots import MAX_BOOT_STEP, MAX_BOOTS, RANDOM_BOOTS
from publisher.store.file import FILE, MEMORY_ROWS
from publisher.store.ledger import FILE as LEDGER
from publisher.store.ledger import Ledger, SecondPlace
from publisher.store.out_of_reach import MAX_REFUSALS, Unread
from publisher.store.outbox import MAX_ANSWERS
from publisher.store.rows import Records, Row
from publisher.store.store import CONN_BLOCK, MAX_CONFIRMED, Opened, Store
from tests.conftest import PATIENCE_S

WALL = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
EVERYTHING = 1 << 62


def at(second: float = 0.0, *, synced: bool = True, wall: bool = True) -> Now:
    """Return an instant, `second` seconds after the first one on every clock."""
    return Now(second, second + 20.0, WALL + timedelta(seconds=second) if wall else None, synced)


class Unit:
    """A store used as by an agent; each call is a second after the last."""

    def __init__(
        self,
        directory: Path,
        boot_id: str = "boot-a",
        *,
        second: float = 0.0,
        max_rows: int = 100_000,
        max_bytes: int = 1 << 24,
        now: Callable[[float], Now] = at,
    ) -> None:
        self.directory = directory
        self.second = second
        self.make_now = now
        self.store = Store(directory, max_rows, max_bytes)
        self.opened: Opened = self.store.open(boot_id, self.now())
        self.totals: dict[str, Any] = dict(self.opened.totals or {})

    def now(self) -> Now:
        self.second += 1.0
        return self.make_now(self.second)

    def append(self, count: int = 1, *, size: int = 0) -> list[Row]:
        now = self.now()
        self.totals["n"] = self.totals.get("n", 0) + count
        return self.store.append(records(count, now, size), self.totals, now)

    def waiting(self) -> list[Row]:
        return self.store.backlog(0, EVERYTHING, EVERYTHING)

    def numbers(self) -> list[tuple[int, int]]:
        return [number(row) for row in self.waiting()]

    def buffer(self) -> dict[str, int]:
        return self.store.buffer(self.now())

    def retry(self) -> Unread | None:
        return self.store.retry(self.now())

    def close(self) -> None:
        self.store.close(self.now(), self.totals)

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Query or change the open file, bypassing the store."""
        return self.connection.execute(statement, values).fetchall()

    @property
    def connection(self) -> sqlite3.Connection:
        return connection(self.store)


def connection(store: Store) -> sqlite3.Connection:
    """Return the open database; closing it simulates a power cut."""
    assert store._outbox is not None
    return store._outbox.db


def records(count: int, now: Now, size: int = 0) -> Records:
    def make(boot: int, seq: int) -> list[tuple[str, str]]:
        head = {"ts": timestamp(now.wall), "pad": "x" * size}
        return [
            (
                "state" if i == count - 1 else "event",
                json.dumps({"boot": boot, "seq": seq + i} | head),
            )
            for i in range(count)
        ]

    return make


def number(row: Row) -> tuple[int, int]:
    body = json.loads(row.body)
    assert body["boot"] == row.boot
    return row.boot, body["seq"]


def sql(directory: Path, statement: str, *values: Any) -> list[Any]:
    db = sqlite3.connect(directory / FILE, isolation_level=None, timeout=0.0)
    with contextlib.closing(db):
        return db.execute(statement, values).fetchall()


def cut_power(unit: Unit, copies: Iterator[int] = itertools.count(1)) -> Path:  # noqa: B008
    """Return a directory with the files that the card would have after a power cut now."""
    directory = unit.directory.parent / f"{unit.directory.name}-{next(copies)}"
    shutil.copytree(unit.directory, directory)
    return directory


def failure(unit: Unit) -> str:
    """Return the code of the store's trouble."""
    assert unit.store.failure is not None
    return unit.store.failure.code


@contextlib.contextmanager
def no_room(size: int) -> Iterator[None]:
    """Make the kernel refuse writes beyond `size` bytes in any file; Python ignores SIGXFSZ."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill_disk(unit: Unit) -> None:
    """Let the open file not grow any more; a new connection has space again."""
    unit.connection.execute("PRAGMA max_page_count = 1")


# Records


def test_records_are_numbered_and_come_back_in_order(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    boot = unit.store.boot
    first, second = unit.append(3), unit.append(1)
    assert [number(row) for row in first + second] == [(boot, seq) for seq in (1, 2, 3, 4)]
    assert [row.kind for row in first] == ["event", "event", "state"]
    assert unit.waiting() == first + second
    assert unit.store.last_id() == second[0].id
    assert [row.id for row in first + second] == sorted({row.id for row in first + second})
    assert {row.stamped for row in first} == {1}
    assert first[0].uptime_s == 22.0


def test_records_of_a_clock_that_is_not_set_are_marked(tmp_path: Path) -> None:
    unit = Unit(tmp_path, now=lambda second: at(second, synced=False))
    assert unit.append()[0].stamped == 0
    unit.make_now = at
    assert unit.append()[0].stamped == 1


def test_a_record_that_cannot_be_made_changes_nothing(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append()

    def fails(boot: int, seq: int) -> list[tuple[str, str]]:
        return [("state", messages.encode({"value": float("nan")}))]

    with pytest.raises(ValueError, match="JSON"):
        unit.store.append(fails, {"n": 99}, unit.now())
    assert unit.numbers() == [(unit.store.boot, 1)]
    assert [number(row) for row in unit.append()] == [(unit.store.boot, 2)]
    assert unit.store.failure is None


def test_rows_are_marked_when_confirmed_with_the_next_record(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(5)
    unit.store.confirm([rows[1].id, rows[3].id])
    assert [row.id for row in unit.waiting()] == [rows[i].id for i in (0, 2, 4)]
    waiting = "SELECT id FROM outbox WHERE confirmed IS NULL ORDER BY id"
    assert len(unit.sql(waiting)) == 5, "marking now would cost a write"
    (last,) = unit.append()
    assert unit.sql(waiting) == [(rows[i].id,) for i in (0, 2, 4)] + [(last.id,)]
    assert unit.sql("SELECT count(*) FROM outbox") == [(6,)]


def test_many_confirmed_rows_do_not_wait_for_a_record(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(MAX_CONFIRMED)
    unit.store.confirm(row.id for row in rows)
    assert unit.sql("SELECT count(*) FROM outbox WHERE confirmed IS NULL") == [(0,)]
    assert unit.waiting() == []


def test_what_is_confirmed_twice_or_was_never_there_does_no_harm(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(3)
    unit.store.confirm([rows[0].id, 999])
    unit.append()
    unit.store.confirm([rows[0].id])
    unit.append()
    assert unit.buffer()["rows"] == 4
    assert len(unit.waiting()) == 4


def test_the_backlog_is_cut_by_ids_and_bytes(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(6, size=1000)
    size = len(rows[0].body.encode()) + 1
    backlog = unit.store.backlog
    assert backlog(rows[0].id, rows[4].id, EVERYTHING) == rows[1:5]
    assert backlog(0, EVERYTHING, 3 * size) == rows[:3]
    assert backlog(0, EVERYTHING, 3 * size - 1) == rows[:2]
    assert backlog(0, EVERYTHING, 1) == rows[:1], "a row that is too large is not held up for ever"
    assert backlog(rows[5].id, EVERYTHING, EVERYTHING) == []
    unit.store.confirm([rows[0].id])
    assert backlog(0, EVERYTHING, 2 * size) == rows[1:3]


def test_bytes_are_counted_as_they_are_sent(tmp_path: Path) -> None:
    unit = Unit(tmp_path)

    def cyrillic(boot: int, seq: int) -> list[tuple[str, str]]:
        return [
            ("state", messages.encode({"boot": boot, "seq": seq + i, "x": "ї" * 500}))
            for i in (0, 1)
        ]

    unit.store.append(cyrillic, {}, unit.now())
    assert len(unit.store.backlog(0, EVERYTHING, 1500)) == 1


@pytest.mark.parametrize("pad", [0, 900])
def test_a_history_is_under_64_kib_even_when_its_records_are_stamped_late(
    tmp_path: Path, pad: int
) -> None:
    unset = at(1.0, synced=False, wall=False)
    unit = Unit(tmp_path)
    tent_id = "i" * 64

    def make(boot: int, seq: int) -> list[tuple[str, str]]:
        happening = Happening("door_cleared", {"pad": "x" * pad} if pad else {})
        return [
            ("event", messages.event(tent_id, boot, seq + i, unset, happening)) for i in range(900)
        ]

    unit.store.append(make, {}, unset)
    rows = unit.store.backlog(0, EVERYTHING, messages.HISTORY_MAX_BYTES - 200)
    stamped = [messages.stamped(row.body, datetime(2026, 11, 22, 18, tzinfo=UTC)) for row in rows]
    history = messages.history(tent_id, stamped)
    assert len(json.loads(history)["records"]) == len(rows) > 50
    assert 0.85 * messages.HISTORY_MAX_BYTES < len(history.encode()) <= messages.HISTORY_MAX_BYTES


def test_the_buffer_tells_how_much_waits_and_for_how_long(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    assert unit.buffer() == {"rows": 0, "oldest_s": 0, "dropped": 0}
    rows = unit.append(2)
    unit.second += 40
    assert unit.buffer() == {"rows": 2, "oldest_s": 41, "dropped": 0}
    unit.append()
    unit.store.confirm(row.id for row in rows)
    assert unit.buffer() == {"rows": 1, "oldest_s": 1, "dropped": 0}
    unit.close()
    unit = Unit(tmp_path, "boot-b", second=1000)  # ages by time across boots
    assert unit.buffer()["oldest_s"] == pytest.approx(957, abs=2)
    unit.make_now = lambda second: at(second, synced=False, wall=False)  # at least since this boot
    assert unit.buffer() == {"rows": 1, "oldest_s": pytest.approx(1023, abs=2), "dropped": 0}


# Space


def test_above_the_most_rows_the_oldest_go_and_are_counted(tmp_path: Path) -> None:
    unit = Unit(tmp_path, max_rows=10)
    rows = unit.append(8) + unit.append(5)
    assert unit.waiting() == rows[3:]
    assert unit.buffer()["dropped"] == 3
    rows += unit.append(30)
    assert unit.waiting() == rows[-10:]
    assert unit.buffer() == {"rows": 10, "oldest_s": 1, "dropped": 33}
    unit.close()
    assert Unit(tmp_path, second=100).buffer()["dropped"] == 33


def test_above_the_most_bytes_the_oldest_go_and_are_counted(tmp_path: Path) -> None:
    unit = Unit(tmp_path, max_bytes=10_000)
    rows = [row for _ in range(20) for row in unit.append(size=900)]
    size = len(rows[-1].body)
    assert unit.waiting() == rows[-(10_000 // size) :]
    assert unit.buffer()["dropped"] == 20 - 10_000 // size
    rows += unit.append(size=50_000)
    assert unit.waiting() == rows[-1:], "one row is kept whatever its size"


def test_what_was_confirmed_makes_room_before_anything_is_dropped(tmp_path: Path) -> None:
    unit = Unit(tmp_path, max_rows=10)
    rows = unit.append(10)
    unit.store.confirm(row.id for row in rows[5:])
    rows += unit.append(5)
    assert unit.waiting() == rows[:5] + rows[10:]
    assert unit.buffer()["dropped"] == 0


def test_room_is_reckoned_anew_after_a_restart(tmp_path: Path) -> None:
    unit = Unit(tmp_path, max_rows=10)
    rows = unit.append(8)
    unit.close()
    unit = Unit(tmp_path, max_rows=10, second=100)
    rows += unit.append(4)
    assert unit.waiting() == rows[2:]


# Boots and connections


def test_a_restart_within_a_boot_goes_on_numbering(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    assert unit.opened == Opened(None, None)
    boot = unit.store.boot
    unit.append(3)
    unit.close()
    again = Unit(tmp_path, second=100)
    assert again.opened == Opened({"n": 3}, None)
    assert [number(row) for row in again.append(2)] == [(boot, 4), (boot, 5)]


def test_a_new_boot_counts_up_and_numbers_from_1(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    boot = unit.store.boot
    unit.append(3)
    unit.close()
    again = Unit(tmp_path, "boot-b", second=100)
    assert again.opened == Opened({"n": 3}, None)
    assert boot < again.store.boot < boot + MAX_BOOT_STEP
    assert [number(row) for row in again.append()] == [(again.store.boot, 1)]
    assert len(again.waiting()) == 4


def test_a_card_that_has_forgotten_a_boot_does_not_give_its_number_again(tmp_path: Path) -> None:
    (tmp_path / "card").mkdir()
    Unit(tmp_path / "card").close()
    boots: list[int] = []
    for _ in range(4):  # all are equal by chance once in a thousand million
        shutil.copytree(tmp_path / "card", copy := tmp_path / f"copy-{len(boots)}")
        unit = Unit(copy, "boot-b", second=100)
        boots.append(unit.store.boot)
        unit.close()
    assert len(set(boots)) > 1


def test_a_new_card_some_hours_later_counts_on(tmp_path: Path) -> None:
    unit = Unit(tmp_path, now=lambda second: replace(at(second), synced=False))
    (tmp_path / "new").mkdir()
    again = Unit(tmp_path / "new", "boot-b", second=RANDOM_BOOTS)
    assert again.store.boot > unit.store.boot


def test_a_power_cut_is_told_by_the_boot_that_follows_it(tmp_path: Path) -> None:
    unit = Unit(tmp_path, second=100)
    boot = unit.store.boot
    unit.append()
    again = Unit(cut_power(unit), "boot-b", second=399)
    assert again.opened.power_cut == {
        "boot": boot,
        "uptime_s": 122.0,
        "last": "2026-11-22T18:01:42.000Z",
        "off_s": 298,
    }
    again.append()
    third = Unit(cut_power(again), "boot-b", second=500)
    assert third.opened.power_cut is None, "the agent was restarted, the unit was not"
    third.close()
    assert Unit(tmp_path / third.directory, "boot-c", second=600).opened.power_cut is None


def test_a_power_cut_is_told_though_another_comes_before_the_first_record(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append()
    second = Unit(cut_power(unit), "boot-b", second=100)
    report = second.opened.power_cut
    assert report is not None
    second.store.append(lambda boot, seq: (), second.totals, second.now())
    third = Unit(cut_power(second), "boot-c", second=200)
    assert third.opened.power_cut == report
    killed = Unit(cut_power(third), "boot-c", second=210)
    assert killed.opened.power_cut == report
    killed.append()
    again = Unit(cut_power(killed), "boot-c", second=220)
    assert again.opened.power_cut is None, "a record has told"
    last = Unit(cut_power(again), "boot-d", second=300).opened.power_cut
    assert last is not None
    assert last["boot"] == again.store.boot


def test_how_long_the_power_was_off_is_told_only_by_clocks_that_are_set(tmp_path: Path) -> None:
    def unset(second: float) -> Now:
        return at(second, synced=False)

    unit = Unit(tmp_path)
    cut = Unit(cut_power(unit), "boot-b", second=100, now=unset).opened.power_cut
    assert cut is not None
    assert (cut["last"], cut["off_s"]) == ("2026-11-22T18:00:01.000Z", None)
    (tmp_path / "other").mkdir()
    unit = Unit(tmp_path / "other", now=unset)
    cut = Unit(cut_power(unit), "boot-b", second=100).opened.power_cut
    assert cut is not None
    assert (cut["last"], cut["off_s"]) == (None, None)


def test_the_last_time_that_was_sure_is_remembered(tmp_path: Path) -> None:
    unit = Unit(tmp_path, now=lambda second: at(second, synced=False))
    unit.append()
    assert unit.store.earliest is None
    unit.make_now = at
    unit.append()
    unit.make_now = lambda second: at(second + 9999, synced=False)
    unit.append()
    assert Unit(cut_power(unit)).store.earliest is not None
    unit = Unit(cut_power(unit), now=lambda second: at(second, synced=False))
    assert unit.store.earliest == WALL + timedelta(seconds=3)


def test_connections_are_numbered_upwards_across_restarts(tmp_path: Path) -> None:
    seen = []
    unit = Unit(tmp_path)
    for _ in range(3):
        seen += [unit.store.next_conn(unit.now()) for _ in range(3)]
        unit = Unit(cut_power(unit), second=unit.second)
        seen.append(unit.store.next_conn(unit.now()))
        unit.close()
        unit = Unit(unit.directory, second=unit.second)
    assert seen == sorted(set(seen))


def test_a_connection_costs_a_write_only_once_in_a_while(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    written = commits(unit)
    for _ in range(CONN_BLOCK + 1):
        unit.store.next_conn(unit.now())
    assert len(written) == 2


# Transactions


def commits(unit: Unit) -> list[str]:
    """Return a list to which each commit of the store is added."""
    found: list[str] = []
    unit.connection.set_trace_callback(lambda s: found.append(s) if s == "COMMIT" else None)
    return found


def test_a_record_its_totals_and_the_deletions_are_one_transaction(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    written = commits(unit)
    rows = unit.append(5)
    assert len(written) == 1
    unit.store.confirm(row.id for row in rows)
    unit.waiting()
    unit.buffer()
    assert len(written) == 1
    unit.append()
    assert len(written) == 2


def test_the_file_is_safe_against_power_cuts_and_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        unit = Unit(tmp_path)
        unit.append()
    finally:
        os.umask(before)
    assert unit.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert unit.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [LEDGER, FILE, f"{FILE}-wal"]
    for name in files:
        assert (tmp_path / name).stat().st_mode & 0o022 == 0, "only its owner may write"


def test_a_clean_stop_leaves_one_file(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append()
    unit.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [LEDGER, FILE]
    unit.close()  # harmless
    unit.store.confirm([1])
    assert unit.waiting() == []


WRITER = """
import sys
from pathlib import Path
from tests.test_publisher_store import Unit
unit = Unit(Path(sys.argv[1]), sys.argv[2], second=float(sys.argv[3]))
while True:
    rows = unit.append(1 + unit.totals.get("n", 0) % 3, size=700)
    print(*(f"{row.boot} {row.id}" for row in rows), unit.totals["n"], sep=",", flush=True)
    if unit.totals["n"] % 4 == 0:
        unit.store.confirm([rows[0].id])
        print("sent", rows[0].id, flush=True)
"""


def test_killed_at_any_moment_it_has_lost_nothing_it_had_promised(tmp_path: Path) -> None:
    chance = random.Random(9)
    promised: dict[int, int] = {}  # id → boot
    sent: set[int] = set()
    for kill in range(8):
        boot_id = f"boot-{kill // 3}"
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), boot_id, str(1000 * kill)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        assert writer.stdout is not None
        # Only a failed test reaches it; the signal makes it fail.
        overdue = threading.Timer(PATIENCE_S, writer.terminate)
        overdue.start()
        total = 0
        stop_after = chance.randrange(1, 120)
        for count, line in enumerate(writer.stdout):
            if count == stop_after:
                writer.send_signal(signal.SIGKILL)  # while it is writing
            if not line.endswith("\n"):
                break
            if line.startswith("sent"):
                sent.add(int(line.split()[1]))
                continue
            *rows, total_text = line.strip().split(",")
            for row in rows:
                boot, row_id = map(int, row.split())
                assert row_id not in promised or row_id in sent, "an id came twice"
                promised[row_id] = boot
            total = int(total_text)
        overdue.cancel()
        assert writer.wait(PATIENCE_S) == -signal.SIGKILL

        unit = Unit(tmp_path, boot_id, second=1000 * kill + 900)
        waiting = {row.id: row for row in unit.waiting()}
        assert set(promised) - sent <= set(waiting)
        assert total <= unit.totals["n"] <= total + 3, "at most one record was not yet promised"
        numbers = [number(row) for row in waiting.values()]
        assert len(set(numbers)) == len(numbers)
        assert numbers == sorted(numbers)
        gone = set(promised) - set(waiting)
        assert gone <= sent
        newest = max(waiting)
        assert len([i for i in waiting if i not in promised]) <= 3
        # The totals count every record ever made, so each of them is waiting or was sent.
        assert len(waiting) + len(gone) == unit.totals["n"], newest
        promised |= {row.id: row.boot for row in waiting.values()}
        unit.close()
    assert len(promised) > 100


def test_several_threads_may_use_it_at_once(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    done = threading.Event()
    given: list[Row] = []
    sent: set[int] = set()

    def record() -> None:
        for i in range(400):
            given.extend(unit.append(1 + i % 3))
        done.set()

    def send() -> int:
        conns = 0
        while not done.is_set():
            rows = unit.store.backlog(0, EVERYTHING, 2000)
            ids = [row.id for row in rows if row.id % 5]
            sent.update(ids)
            unit.store.confirm(ids)
            unit.store.buffer(at(500))
            conns = unit.store.next_conn(at(500))
        return conns

    with ThreadPoolExecutor(4) as pool:
        work: list[Future[Any]] = [pool.submit(record), *(pool.submit(send) for _ in range(3))]
        for future in work:
            future.result()
    assert [number(row) for row in given] == [(unit.store.boot, i + 1) for i in range(len(given))]
    assert {row.id for row in unit.waiting()} == {row.id for row in given} - sent
    assert unit.buffer()["rows"] == len(unit.waiting())
    unit.append()
    unmarked = unit.sql("SELECT count(*) FROM outbox WHERE confirmed IS NULL")
    assert unmarked == [(len(unit.waiting()),)]


# Numbers are never used twice


def test_a_store_that_was_lost_uses_no_number_again(tmp_path: Path) -> None:
    used: set[int] = set()
    second = 0.0
    for loss in range(6):
        directory = tmp_path / str(loss)
        directory.mkdir()
        unit = Unit(directory, "same boot", second=second)
        assert unit.store.boot not in used
        assert unit.store.boot > max(used, default=0)
        used.add(unit.store.boot)
        unit.append()
        second = unit.second


@pytest.mark.parametrize("wall", [True, False])
def test_without_the_time_a_lost_store_has_chance_on_its_side(tmp_path: Path, wall: bool) -> None:
    boots = set()
    for loss in range(4):  # two are equal once in 1,700 times, all of them never
        directory = tmp_path / str(loss)
        directory.mkdir()
        unit = Unit(directory, now=lambda second: at(second, synced=False, wall=wall))
        boots.add(unit.store.boot)
    assert len(boots) >= 3
    assert min(boots) > 0


def test_a_clock_that_is_absurd_makes_no_absurd_boot(tmp_path: Path) -> None:
    for year in (1970, 9999):
        (tmp_path / str(year)).mkdir()
        wall = datetime(year, 1, 2, tzinfo=UTC)
        unit = Unit(tmp_path / str(year), now=lambda second, wall=wall: Now(1, 1, wall, False))  # type: ignore[misc]
        fill_disk(unit)
        unit.append(3, size=5000)
        assert 0 < unit.store.boot < 1 << 33
        assert unit.store.failure is not None


@pytest.mark.parametrize("known", [True, False])
def test_what_was_numbered_in_memory_is_not_numbered_again_after_a_crash(
    tmp_path: Path, known: bool
) -> None:
    """With or without the time of day."""

    def now(second: float) -> Now:
        return at(second, synced=known, wall=known)

    unit = Unit(tmp_path, now=now)
    boots = {unit.store.boot}
    for restart in range(4):
        fill_disk(unit)
        unit.append(size=5000)
        assert unit.store.failure is not None
        assert unit.store.boot not in boots
        boots.add(unit.store.boot)
        unit = Unit(cut_power(unit), f"boot-{restart}", second=unit.second, now=now)
        assert unit.store.boot not in boots
        boots.add(unit.store.boot)


# Failure


def test_with_a_full_disk_it_goes_on_in_memory_under_a_boot_of_its_own(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    old = unit.append(3)
    fill_disk(unit)
    new = unit.append(2, size=5000)
    assert failure(unit) == "store.full"
    assert unit.store.boot > old[0].boot
    assert [number(row) for row in new] == [(unit.store.boot, 1), (unit.store.boot, 2)]
    new += unit.append(1)
    assert number(new[-1]) == (unit.store.boot, 3)
    assert min(row.id for row in new) > max(row.id for row in old)
    assert unit.waiting() == new
    assert unit.buffer()["rows"] == 6, "those in the file wait as well"
    assert unit.store.next_conn(unit.now()) > 0


def test_when_there_is_room_again_nothing_is_lost_nor_renumbered(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(3)
    fill_disk(unit)
    rows += unit.append(2, size=5000)
    rows += unit.append(2)
    unit.store.confirm([rows[4].id])
    boot = unit.store.boot
    assert unit.retry() is None
    assert unit.store.failure is None
    rows += unit.append()
    assert unit.store.boot == boot
    del rows[4]
    assert unit.waiting() == rows
    assert unit.numbers()[-1] == (boot, 5)
    assert unit.buffer()["rows"] == len(rows)
    again = Unit(cut_power(unit), second=100)
    assert again.waiting() == rows
    assert again.totals == unit.totals == {"n": 8}
    assert number(again.append()[0]) == (boot, 6)


def test_what_the_broker_confirmed_meanwhile_is_not_sent_again(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    old = unit.append(4)
    unit.store.confirm([old[0].id])
    fill_disk(unit)
    unit.append(1, size=5000)
    unit.store.confirm([old[1].id])  # it was in flight when the disk was full
    unit.append()
    unit.retry()
    assert [row.id for row in unit.waiting()][:2] == [old[2].id, old[3].id]


def test_a_backlog_in_the_file_outlives_a_failure_whatever_its_length(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(MEMORY_ROWS + 500)
    fill_disk(unit)
    rows += unit.append(1, size=9000)
    unit.retry()
    assert unit.store.failure is None
    assert unit.waiting() == rows
    assert unit.buffer()["dropped"] == 0


def test_memory_is_bounded_and_what_goes_is_counted(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    fill_disk(unit)
    rows = unit.append(MEMORY_ROWS, size=10)
    rows += unit.append(7)
    assert unit.waiting() == rows[7:]
    assert unit.buffer() == {"rows": MEMORY_ROWS, "oldest_s": 2, "dropped": 7}
    unit.retry()
    assert unit.waiting() == rows[7:]
    assert unit.buffer()["dropped"] == 7


def test_a_retry_that_fails_changes_nothing_however_often(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append(2)
    fill_disk(unit)
    rows = unit.append(2, size=5000)
    rows += unit.append(3)
    unit.store.confirm([rows[1].id])
    del rows[1]
    boot, before = unit.store.boot, unit.store.buffer(at(500))
    with no_room(0):
        for _ in range(3):
            assert unit.retry() is None
            assert unit.store.failure is not None
            assert unit.waiting() == rows
            assert unit.store.buffer(at(500)) == before
            assert unit.store.boot == boot
        rows += unit.append()
    unit.retry()
    assert unit.store.failure is None
    assert unit.waiting()[2:] == rows


def test_a_write_that_the_kernel_refuses_is_survived(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append(20, size=1000)
    with no_room(8192):
        unit.append(3, size=9000)
    assert unit.store.failure is not None
    unit.append()
    unit.retry()
    assert unit.store.failure is None
    assert len(unit.waiting()) == 24
    assert len(set(unit.numbers())) == 24


def test_a_start_on_a_full_disk_has_the_totals_and_writes_them_later(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(5)
    unit.close()
    with no_room(0):
        unit = Unit(tmp_path, "boot-b", second=100)
        assert unit.store.failure is not None
        assert unit.opened.totals == {"n": 5}
        new = unit.append(2)
    assert unit.retry() is None
    assert unit.store.failure is None
    assert unit.waiting() == rows + new
    assert Unit(cut_power(unit), "boot-b", second=200).totals == {"n": 7}


def test_retrying_what_works_does_nothing(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(2)
    assert unit.retry() is None
    assert unit.store.failure is None
    assert unit.waiting() == rows


@pytest.fixture
def unreadable(tmp_path: Path) -> Path:
    """A state directory whose file cannot be opened, after a boot that recorded 5."""
    unit = Unit(tmp_path, max_rows=4)
    unit.append(5)
    unit.close()
    (tmp_path / FILE).rename(tmp_path / "away")
    (tmp_path / FILE).mkdir()
    return tmp_path


def mend(directory: Path) -> None:
    (directory / FILE).rmdir()
    (directory / "away").rename(directory / FILE)


def test_a_file_that_cannot_be_opened_is_read_later_and_nothing_counts_twice(
    unreadable: Path,
) -> None:
    unit = Unit(unreadable, "boot-b", second=100)
    assert unit.opened == Opened({"n": 5}, None), "from the second place"
    assert unit.store.failure is not None
    assert unit.buffer()["rows"] == 4
    rows = unit.append(2)
    assert unit.retry() is None
    assert unit.store.failure is not None
    mend(unreadable)
    with no_room(0):
        for _ in range(3):
            assert unit.retry() is None
            assert unit.store.failure is not None
    assert unit.retry() is None, "there was nothing in it that was not known"
    assert unit.store.failure is None
    assert unit.store.set_aside() == []
    assert unit.waiting()[4:] == rows
    assert len(unit.waiting()) == 6
    assert unit.buffer()["dropped"] == 1, "counted once, however often it was tried"
    assert Unit(cut_power(unit), "boot-b", second=200).totals == {"n": 7}


def test_totals_out_of_reach_in_both_places_come_back(unreadable: Path) -> None:
    """With a lost second place, and with one that is older than the file."""
    newest = (unreadable / LEDGER).read_bytes()
    for case, second in (
        ("none", b""),
        ("older", newest.replace(b'"n": 5', b'"n": 2')),
    ):
        directory = unreadable.with_name(f"{unreadable.name}-{case}")
        shutil.copytree(unreadable, directory)
        if second:
            older = Ledger(boot=5, boot_id="boot-a", count=1, dropped=1, totals={"n": 2})
            place = SecondPlace(directory)
            (directory / LEDGER).unlink()
            place.write(older.text(), sync=True)
            place.close()
        else:
            (directory / LEDGER).unlink()
        unit = Unit(directory, "boot-b", second=100)
        assert unit.opened.totals == ({"n": 2} if second else {})
        unit.append(2)
        mend(directory)
        with no_room(0):
            assert unit.retry() is None
        assert unit.retry() == Unread({"n": 5}, {"n": 2} if second else {})
        assert unit.buffer()["dropped"] == 1
        again = Unit(cut_power(unit), "boot-b", second=200)
        assert again.totals == {"n": 5}, "no less than it was, until the sum is recorded"
        unit.totals = {"n": 7}
        unit.append(0)
        assert Unit(cut_power(unit), "boot-b", second=200).totals == {"n": 7}


def test_a_file_that_can_never_be_read_is_set_aside_in_the_end(unreadable: Path) -> None:
    unit = Unit(unreadable, "boot-b", second=100)
    rows = unit.append(3)
    for _ in range(MAX_REFUSALS):
        assert unit.store.failure is not None
        unit.retry()
    unit.retry()
    assert unit.store.failure is None
    assert unit.store.set_aside() == ["tentwatch.corrupt-1"]
    assert unit.waiting() == rows
    assert unit.buffer()["dropped"] == 1 + 4
    assert Unit(cut_power(unit), "boot-b", second=200).totals == {"n": 8}


def test_a_file_that_cannot_be_opened_twice_mixes_up_no_rows(unreadable: Path) -> None:
    first = Unit(unreadable, "boot-b", second=100, max_rows=50)
    rows = first.append(2)
    mend(unreadable)
    first.retry()
    first.close()
    (unreadable / FILE).rename(unreadable / "away")
    (unreadable / FILE).mkdir()
    second = Unit(unreadable, "boot-c", second=200)
    rows += second.append(3)
    mend(unreadable)
    second.retry()
    assert second.store.failure is None
    assert second.waiting()[4:] == rows
    assert second.numbers() == sorted(set(second.numbers()))


def test_a_first_start_without_a_usable_card_has_a_store_once_it_is_usable(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    unit = Unit(tmp_path)
    rows = unit.append(2)
    (tmp_path / FILE).rmdir()
    assert unit.retry() is None
    assert unit.store.failure is None
    assert unit.waiting() == rows
    assert Unit(cut_power(unit)).totals == {"n": 2}


def test_a_directory_that_does_not_exist_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "none").write_text("a file in the way")
    unit = Unit(tmp_path / "none")
    assert unit.store.failure is not None
    rows = unit.append(2)
    (tmp_path / "none").unlink()
    unit.retry()
    assert unit.store.failure is None
    assert unit.waiting() == rows


# Damage


def stored(directory: Path, rows: int = 300) -> tuple[int, list[tuple[int, int]]]:
    """Fill a file and close it; return its boot and the numbers in it."""
    unit = Unit(directory)
    unit.append(rows, size=1000)
    numbers = unit.numbers()
    unit.close()
    return unit.store.boot, numbers


def overwrite(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def ledger(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sql(directory, "SELECT body FROM ledger")[0][0])
    return found


def write_ledger(directory: Path, body: str | bytes) -> None:
    """Write another ledger with a correct checksum."""
    raw = body if isinstance(body, bytes) else body.encode()
    crc = zlib.crc32(raw.decode("utf-8", "replace").encode())
    sql(directory, "UPDATE ledger SET body = ?, crc = ?", body, crc)


def check_begun_anew(unit: Unit, old_boot: int, old: Path, kept: list[tuple[int, int]]) -> None:
    """Check that the totals and a number of readable records were recovered."""
    assert unit.store.failure is None
    assert unit.store.set_aside() == [old.name]
    assert old.exists()
    assert unit.opened.totals == {"n": 300}
    assert unit.store.boot > old_boot
    assert unit.numbers() == kept
    assert unit.buffer()["dropped"] == unit.opened.lost == 300 - len(kept)
    assert number(unit.append()[0]) == (unit.store.boot, 1)
    again = Unit(cut_power(unit), "boot-z", second=unit.second)
    assert again.opened.totals == {"n": 301}
    assert len(again.waiting()) == len(kept) + 1
    assert again.store.set_aside() == []


@pytest.mark.parametrize("header", [bytes(100), b"x" * 100, random.Random(1).randbytes(4096)])
def test_a_file_without_its_header_is_set_aside(tmp_path: Path, header: bytes) -> None:
    boot, _ = stored(tmp_path)
    overwrite(tmp_path / FILE, 0, header)
    damaged = (tmp_path / FILE).read_bytes()
    unit = Unit(tmp_path, second=100)
    check_begun_anew(unit, boot, tmp_path / "tentwatch.corrupt-1", [])
    assert (tmp_path / "tentwatch.corrupt-1").read_bytes() == damaged
    unit.close()
    overwrite(tmp_path / FILE, 0, header)
    (tmp_path / LEDGER).unlink()
    again = Unit(tmp_path, second=100 + MAX_BOOT_STEP)
    assert again.store.set_aside() == ["tentwatch.corrupt-2"]
    assert again.opened.totals == {}, "there were some: they are lost in both places"
    assert again.store.boot > unit.store.boot


def read_all(unit: Unit) -> None:
    """Read the backlog as the link does; if that fails, let the store try the file again."""
    unit.waiting()
    unit.buffer()
    unit.retry()


def test_of_a_file_whose_end_is_damaged_the_beginning_and_the_totals_are_kept(
    tmp_path: Path,
) -> None:
    boot, numbers = stored(tmp_path)
    size = (tmp_path / FILE).stat().st_size
    overwrite(tmp_path / FILE, size // 2, random.Random(2).randbytes(size - size // 2))
    unit = Unit(tmp_path, "boot-b", second=100)
    read_all(unit)
    assert unit.store.failure is None
    assert unit.store.set_aside() == ["tentwatch.corrupt-1"]
    assert unit.opened.totals == {"n": 300}
    assert unit.store.boot > boot
    kept = len(unit.waiting())
    assert unit.numbers() == numbers[:kept]
    assert kept > 50
    assert unit.buffer() == {"rows": kept, "oldest_s": 102, "dropped": 300 - kept}
    unit.append()
    assert Unit(cut_power(unit), "boot-b", second=200).opened.totals == {"n": 301}


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_a_file_that_is_cut_short_is_set_aside(tmp_path: Path, part: float) -> None:
    _, numbers = stored(tmp_path)
    os.truncate(tmp_path / FILE, int((tmp_path / FILE).stat().st_size * part))
    unit = Unit(tmp_path, second=100)
    read_all(unit)
    assert unit.store.failure is None
    assert unit.store.set_aside() == [None if part == 0.0 else "tentwatch.corrupt-1"]
    assert unit.opened.totals == {"n": 300}
    kept = unit.numbers()
    assert kept == [n for n in numbers if n in kept]
    assert unit.buffer()["dropped"] == 300 - len(kept)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no JSON",
        "[]",
        "null",
        "5",
        '{"boot": "x"}',
        '{"boot": true}',
        '{"boot": 5, "seq": 1.5}',
        '{"boot": 5, "totals": [1]}',
        '{"boot": 5, "wall": 7}',
        '{"boot": 5, "conn": null}',
        '{"boot": 5, "set_aside": [1]}',
        b"\xff\xfe\x00",
    ],
)
def test_a_ledger_that_makes_no_sense_is_set_aside(tmp_path: Path, body: str | bytes) -> None:
    boot, numbers = stored(tmp_path)
    write_ledger(tmp_path, body)
    check_begun_anew(Unit(tmp_path, second=100), boot, tmp_path / "tentwatch.corrupt-1", numbers)


def test_a_ledger_of_another_version_is_taken_as_far_as_it_is_known(tmp_path: Path) -> None:
    boot, numbers = stored(tmp_path)
    write_ledger(tmp_path, json.dumps(ledger(tmp_path) | {"later": 5, "uptime_s": 7}))
    unit = Unit(tmp_path, second=100)
    assert unit.store.set_aside() == []
    assert unit.store.boot == boot
    assert unit.numbers() == numbers


@pytest.mark.parametrize("body", ["", "{", "no JSON", "[]", b"\xff\xfe", "x" * 500])
def test_a_record_that_nobody_could_read_is_dropped_and_counted(
    tmp_path: Path, body: str | bytes
) -> None:
    _, numbers = stored(tmp_path, 5)
    sql(tmp_path, "UPDATE outbox SET body = ? WHERE id IN (1, 3)", body)
    unit = Unit(tmp_path, second=100)
    assert unit.numbers() == [numbers[i] for i in (1, 3, 4)]
    assert unit.buffer()["rows"] == 3
    unit.append()
    again = Unit(cut_power(unit), second=200)
    assert len(again.waiting()) == 4
    assert again.buffer()["dropped"] == 2


@pytest.mark.parametrize("letter", [b"\xff", b"y"])
def test_a_record_with_a_wrong_letter_is_not_believed(tmp_path: Path, letter: bytes) -> None:
    _, numbers = stored(tmp_path, 3)
    content = (tmp_path / FILE).read_bytes()
    overwrite(tmp_path / FILE, content.rindex(b"xxxx") + 1, letter)
    unit = Unit(tmp_path, second=100)
    assert set(unit.numbers()) < set(numbers)
    assert len(unit.numbers()) == 2
    assert unit.buffer() == {"rows": 2, "oldest_s": 100, "dropped": 1}


def test_a_wrong_digit_in_the_totals_is_not_believed(tmp_path: Path) -> None:
    boot, numbers = stored(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    overwrite(tmp_path / FILE, content.rindex(b'"n": 300') + 5, b"9")
    check_begun_anew(Unit(tmp_path, second=100), boot, tmp_path / "tentwatch.corrupt-1", numbers)


def test_whatever_is_damaged_it_opens_works_and_uses_no_number_again(tmp_path: Path) -> None:
    chance = random.Random(77)
    original = tmp_path / "original"
    original.mkdir()
    _, numbers = stored(original)
    size = (original / FILE).stat().st_size
    outcomes = set()
    for trial in range(120):
        directory = tmp_path / str(trial)
        shutil.copytree(original, directory)
        for _ in range(chance.choice((1, 1, 3, 20))):
            length = chance.choice((1, 2, 16, 512, 4096))
            noise = chance.choice((chance.randbytes(length), bytes(length), b"\xff" * length))
            start = chance.choice((chance.randrange(size), chance.randrange(8192)))
            overwrite(directory / FILE, start, noise[: size - start])
        unit = Unit(directory, chance.choice(("boot-a", "boot-b")), second=100)
        assert unit.opened.totals is not None
        rows = unit.append(3)
        unit.buffer()
        for row in unit.waiting():
            assert isinstance(json.loads(row.body), dict)
        unit.store.confirm(row.id for row in unit.waiting())
        rows += unit.append()
        unit.retry()
        rows += unit.append()
        new = [number(row) for row in rows]
        assert len(set(new)) == 5
        is_anew = bool(unit.store.set_aside())
        if is_anew or unit.store.failure is not None:
            assert not set(new) & set(numbers)
        outcomes.add((is_anew, unit.store.failure is not None))
        unit.close()
    assert (True, False) in outcomes
    assert (False, False) in outcomes


def test_damage_that_shows_later_costs_the_rows_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unit = Unit(tmp_path)
    old = unit.append(3000, size=400)
    unit.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (tmp_path / FILE).stat().st_size
    overwrite(tmp_path / FILE, 20_000, random.Random(3).randbytes(size - 20_000))
    assert unit.waiting() == [], "the link gets nothing, and no exception"
    assert unit.store.failure is not None
    new = unit.append(2)
    assert unit.store.boot > old[0].boot
    assert unit.retry() is None
    assert unit.store.failure is None
    assert (tmp_path / "tentwatch.corrupt-1").exists()
    assert "tentwatch.corrupt-1" in caplog.text
    assert unit.waiting() == new
    assert unit.buffer() == {"rows": 2, "oldest_s": 2, "dropped": 3000}
    new += unit.append()
    again = Unit(cut_power(unit), second=9000)
    assert again.waiting() == new
    assert again.totals == {"n": 3003}


def test_a_boot_used_in_memory_is_never_followed_by_a_lower_one(tmp_path: Path) -> None:
    """A killed run that worked in memory leaves a file without its boot."""
    now = Now(10.0, 10.0, datetime(2026, 11, 22, tzinfo=UTC), synced=False)
    store = Store(tmp_path, 1000, 1 << 20)
    store.open("boot-a", now)
    first = store.boot
    connection(store).execute("PRAGMA query_only = ON")
    store.append(lambda boot, seq: [("event", "{}")], {}, now)
    in_memory = store.boot
    assert in_memory > first
    again = Store(tmp_path, 1000, 1 << 20)  # the first one was killed, so it never closed
    again.open("boot-a", now)
    assert again.boot > in_memory
    connection(again).close()
    (tmp_path / FILE).write_bytes(b"garbage" * 1000)
    last = Store(tmp_path, 1000, 1 << 20)
    last.open("boot-a", now)
    assert last.boot > again.boot


# Versions


def of_version_1(directory: Path) -> Path:
    """Put a file of the store's first version in place, as after a kill."""
    return of_version(1, directory)


def of_version(version: int, directory: Path) -> Path:
    """Put a file of an older version in place, as after a kill."""
    dump = Path(__file__).parent / "stores" / f"version-{version}.sql"
    with contextlib.closing(sqlite3.connect(directory / FILE, isolation_level=None)) as db:
        db.execute("PRAGMA page_size = 2048")
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(dump.read_text())
    return directory


def test_a_file_of_version_1_is_taken_up_with_all_that_it_holds(tmp_path: Path) -> None:
    rows = sql(of_version_1(tmp_path), "SELECT * FROM outbox ORDER BY id")
    before = ledger(tmp_path)
    unit = Unit(tmp_path, before["boot_id"], second=1000)
    assert unit.opened == Opened(before["totals"], None)
    assert [tuple(row) for row in unit.waiting()] == [(*row, None) for row in rows]
    assert unit.store.boot == before["boot"]
    assert unit.buffer()["dropped"] == before["dropped"] == 2
    assert unit.sql("PRAGMA user_version") == [(schema.newest(),)]
    assert [number(row) for row in unit.append()] == [(before["boot"], before["seq"] + 1)]
    unit.store.append(no_records, unit.totals, unit.now(), days=[("2026-11-22", "{}")])
    again = Unit(cut_power(unit), before["boot_id"], second=2000)
    assert len(again.waiting()) == len(rows) + 1
    assert again.store.days() == [("2026-11-22", "{}")]
    assert again.totals["n"] == before["totals"]["n"] + 1


def test_a_file_of_version_2_is_taken_up_with_all_that_it_holds(tmp_path: Path) -> None:
    rows = sql(
        of_version(2, tmp_path), "SELECT id, kind, boot, uptime_s, stamped, body FROM outbox"
    )
    before = ledger(tmp_path)
    unit = Unit(tmp_path, before["boot_id"], second=1000)
    assert unit.opened == Opened(before["totals"], None)
    assert unit.store.set_aside() == []
    assert [tuple(row) for row in unit.waiting()] == [(*row, None) for row in rows]
    assert unit.buffer()["rows"] == before["rows"] == len(rows) > 3
    assert unit.buffer()["dropped"] == before["dropped"] == 2
    assert [date for date, _ in unit.store.days()] == ["2026-11-21"]
    assert [cid for cid, _ in unit.store.answers()] == ["a1"]
    assert unit.store.began(before["boot"]) is not None
    unit.store.confirm([rows[0][0]])
    assert [number(row) for row in unit.append()] == [(before["boot"], before["seq"] + 1)]
    again = Unit(cut_power(unit), before["boot_id"], second=2000)
    assert len(again.waiting()) == len(rows)
    assert again.totals["n"] == before["totals"]["n"] + 1
    assert len(again.sql("SELECT id FROM outbox")) == len(rows) + 1


def test_a_damaged_file_of_version_2_loses_no_record_that_can_be_read(tmp_path: Path) -> None:
    of_version(2, tmp_path)
    rows = sql(tmp_path, COUNT)[0][0]
    sql(tmp_path, "UPDATE ledger SET crc = 0")
    unit = Unit(tmp_path, second=1000)
    assert unit.store.set_aside() == ["tentwatch.corrupt-1"]
    assert len(unit.waiting()) == rows


def test_a_file_of_version_1_without_room_for_the_change_stays_as_it_is(tmp_path: Path) -> None:
    of_version_1(tmp_path)
    with no_room(4096):
        unit = Unit(tmp_path, "boot-b", second=1000)
        assert unit.store.failure is not None
        new = unit.append(2)
    assert sql(tmp_path, "PRAGMA user_version") == [(1,)]
    unit.retry()
    assert unit.store.failure is None
    assert unit.waiting()[-2:] == new
    assert len(unit.waiting()) == 2 + sql(of_version_1(make(tmp_path / "other")), COUNT)[0][0]


def test_a_file_of_a_later_version_is_left_to_it_and_its_totals_go_on(tmp_path: Path) -> None:
    boot, numbers = stored(tmp_path)
    sql(tmp_path, "CREATE TABLE moods (mood TEXT)")
    sql(tmp_path, f"PRAGMA user_version = {schema.newest() + 1}")
    write_ledger(tmp_path, json.dumps(ledger(tmp_path) | {"schema": schema.newest() + 1}))
    before = (tmp_path / FILE).read_bytes()
    aside = tmp_path / f"tentwatch.version-{schema.newest() + 1}-1"
    unit = Unit(tmp_path, "boot-b", second=100)
    check_begun_anew(unit, boot, aside, numbers)
    assert aside.read_bytes() == before


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_the_next_version_takes_up_the_files_of_all_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    if version == schema.newest():
        stored(tmp_path)
    elif version:
        of_version(version, tmp_path)
    rows = sql(tmp_path, COUNT)[0][0] if version else 0
    before = ledger(tmp_path) if version else {"boot_id": "boot-a", "totals": None}
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, add_moods))
    unit = Unit(tmp_path, str(before["boot_id"]), second=1000)
    assert unit.store.failure is None
    assert unit.store.set_aside() == []
    assert unit.opened.totals == before["totals"]
    assert len(unit.waiting()) == rows
    assert unit.sql("SELECT * FROM moods") == []
    assert unit.sql("PRAGMA user_version") == [(4,)]
    unit.append()
    left = cut_power(unit)
    unit.close()
    assert len(Unit(left, "boot-b", second=2000).waiting()) == rows + 1
    monkeypatch.undo()
    older = Unit(tmp_path, "boot-b", second=3000)  # the older version finds it in the ledger
    assert older.store.set_aside() == ["tentwatch.version-4-1"]


def test_a_damaged_ledger_gets_no_right_checksum_from_a_new_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path)
    sql(tmp_path, "UPDATE ledger SET body = replace(body, '300', '900')")
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, add_moods))
    unit = Unit(tmp_path, second=100)
    assert unit.store.set_aside() == ["tentwatch.corrupt-1"]
    assert unit.opened.totals == {"n": 300}


def test_a_wrong_number_of_the_version_is_damage(tmp_path: Path) -> None:
    for version in (0, 1, 2, schema.newest() + 1, 0x7F000002):
        directory = make(tmp_path / str(version))
        boot, numbers = stored(directory)
        sql(directory, f"PRAGMA user_version = {version}")
        unit = Unit(directory, second=100)
        check_begun_anew(unit, boot, directory / "tentwatch.corrupt-1", numbers)


def make(directory: Path) -> Path:
    directory.mkdir()
    return directory


COUNT = "SELECT count(*) FROM outbox"


def add_moods(db: sqlite3.Connection) -> None:
    """The migration step to a later version."""
    db.execute("CREATE TABLE moods (mood TEXT)")


def no_records(boot: int, seq: int) -> list[tuple[str, str]]:
    return []


def test_a_second_program_gets_no_hold_of_the_file_and_harms_nothing(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(3)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sql(tmp_path, COUNT)
    second = Unit(tmp_path, second=100)
    assert failure(second) == "store.busy"
    assert second.store.set_aside() == []
    rows += unit.append(1)
    assert unit.store.failure is None
    unit.close()
    second.retry()
    assert second.store.failure is None
    assert second.waiting() == rows
    assert not list(tmp_path.glob("*.corrupt*"))


def test_what_an_older_program_left_beside_the_file_does_no_harm(tmp_path: Path) -> None:
    """A -shm and a -wal of a program that shared the file and lost power."""
    shared = make(tmp_path / "shared")
    of_version_1(shared)
    left = make(tmp_path / "left")
    with contextlib.closing(sqlite3.connect(shared / FILE, isolation_level=None)) as db:
        db.execute("DELETE FROM outbox WHERE id = (SELECT max(id) FROM outbox)")
        for path in shared.iterdir():
            shutil.copy(path, left)
        rows = db.execute(COUNT).fetchone()[0]
    assert sorted(path.name for path in left.iterdir()) == [FILE, f"{FILE}-shm", f"{FILE}-wal"]
    unit = Unit(left, "boot-b", second=1000)
    assert len(unit.waiting()) == rows
    unit.close()
    assert sorted(path.name for path in left.iterdir()) == [LEDGER, FILE]


# Days, boots and answers


def beside(unit: Unit, **what: Any) -> None:
    unit.store.append(no_records, unit.totals, unit.now(), **what)


def test_the_visitor_log_is_kept_a_line_a_day(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    assert unit.store.days() == []
    beside(unit, days=[("2026-11-21", "old"), ("2026-11-20", '{"entered":7}')])
    beside(unit, days=[("2026-11-21", "new")])
    kept = [("2026-11-20", '{"entered":7}'), ("2026-11-21", "new")]
    assert unit.store.days() == kept
    assert unit.store.days("2026-11-21") == kept[1:]
    assert Unit(cut_power(unit), second=100).store.days() == kept
    unit.sql("UPDATE days SET body = '{\"entered\":9}' WHERE date = '2026-11-20'")
    assert unit.store.days() == kept[1:], "a line that is damaged is not shown"


def test_the_newest_answers_are_kept_in_their_order(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    for i in range(MAX_ANSWERS + 5):
        beside(unit, answers=[(f"c{i}", f"answer {i}")])
    beside(unit, answers=[("c100", "again")])
    expected = [(f"c{i}", f"answer {i}") for i in range(5, MAX_ANSWERS + 5) if i != 100]
    assert unit.store.answers() == [*expected, ("c100", "again")]
    assert Unit(cut_power(unit), second=500).store.answers()[-1] == ("c100", "again")


def test_when_a_boot_began_is_known_once_its_clock_is_set(tmp_path: Path) -> None:
    unit = Unit(tmp_path, now=lambda second: at(second, synced=False))
    unit.append()
    boot = unit.store.boot
    assert unit.store.began(boot) is None
    unit.make_now = at
    unit.append()
    began = WALL - timedelta(seconds=20)
    assert unit.store.began(boot) == began
    again = Unit(cut_power(unit), "boot-b", second=500, now=lambda s: at(s, synced=False))
    assert again.store.began(boot) == began
    assert again.store.began(again.store.boot) is None


def test_when_a_boot_began_is_written_again_only_if_it_is_another_second(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append()
    began = unit.store.began(unit.store.boot)
    assert began is not None
    for step, moved in ((0.9, 0.0), (1.5, 1.5), (-600.0, -600.0)):
        unit.make_now = lambda s, step=step: replace(at(s), wall=at(s + step).wall)  # type: ignore[misc]
        unit.append()
        assert unit.store.began(unit.store.boot) == began + timedelta(seconds=moved)


def test_old_boots_are_forgotten_unless_records_of_theirs_wait(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append()
    first = unit.store.boot
    many = range(first + 1, first + MAX_BOOTS + 50)
    unit.sql("BEGIN")
    for boot in many:
        crc = zlib.crc32(f"boots {boot} {WALL.isoformat()}".encode())
        unit.sql("INSERT INTO boots VALUES (?, ?, ?)", boot, WALL.isoformat(), crc)
    unit.sql("COMMIT")
    unit.store._ledger.boot = many[-1]
    unit.append()
    assert unit.store.began(first) is not None
    unit.sql("DELETE FROM outbox WHERE boot = ?", first)
    unit.store._ledger.boot += 1
    unit.append()
    assert unit.store.began(first) is None
    assert unit.store.began(many[-1]) is not None
    assert unit.sql("SELECT count(*) FROM boots") == [(MAX_BOOTS,)]


def test_days_boots_and_answers_go_on_in_memory_and_come_back(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    beside(unit, days=[("2026-11-20", "a")], answers=[("c1", "yes"), ("c2", "no")])
    boots = [unit.store.boot]
    fill_disk(unit)
    unit.append(1, size=9000)
    boots.append(unit.store.boot)
    assert unit.store.failure is not None
    beside(unit, days=[("2026-11-21", "b")], answers=[("c1", "once more"), ("c3", "yes")])

    def check(unit: Unit) -> None:
        assert unit.store.days() == [("2026-11-20", "a"), ("2026-11-21", "b")]
        assert unit.store.answers() == [("c2", "no"), ("c1", "once more"), ("c3", "yes")]
        for boot in boots:
            assert unit.store.began(boot) == WALL - timedelta(seconds=20)

    check(unit)
    unit.make_now = lambda second: at(second, synced=False)
    unit.retry()
    assert unit.store.failure is None
    check(unit)
    check(Unit(cut_power(unit), second=500))


# A month


def test_a_month_without_a_broker_is_kept_and_a_longer_one_drops_its_oldest(tmp_path: Path) -> None:
    unit = Unit(tmp_path, max_rows=20_000, max_bytes=1 << 24)
    for _ in range(60):
        unit.append(500, size=60)
    rows = unit.waiting()
    assert len(rows) == 20_000
    assert [row.id for row in rows] == list(range(10_001, 30_001))
    assert unit.buffer()["dropped"] == 10_000
    unit.close()
    unit = Unit(tmp_path, "boot-b", second=10_000, max_rows=100_000, max_bytes=1 << 20)
    waiting = unit.waiting()
    size = sum(len(row.body.encode()) for row in waiting)
    assert waiting == rows[-len(waiting) :]
    assert (1 << 20) - 500 < size <= 1 << 20
    assert unit.opened.lost == 20_000 - len(waiting)
    assert unit.buffer()["dropped"] == 10_000 + unit.opened.lost
    assert sql(cut_power(unit), "SELECT count(*) FROM outbox") == [(len(waiting),)]
