"""Records that the broker has: how long they are kept, which go first, and how they are found again."""

import contextlib
import random
import shutil
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from publisher.clock import Now
from publisher.store import journal
from publisher.store.file import FILE
from publisher.store.journal import MAX_MISSING, Found, Missing, Pair
from publisher.store.outbox import PRUNE_ROWS, PRUNE_S
from publisher.store.rows import Row
from publisher.store.store import KEEP_S, Store
from publisher.store.troubles import StoreTrouble
from tests.test_publisher_store import Unit, at, cut_power, records, sql

HELD = "SELECT id FROM outbox ORDER BY id"
DAY_S = 86_400.0


def held(unit: Unit) -> list[int]:
    return [row_id for (row_id,) in unit.sql(HELD)]


def ids(rows: list[Row]) -> list[int]:
    return [row.id for row in rows]


def confirmed(unit: Unit, count: int, *, size: int = 0) -> list[Row]:
    """Record, and let the broker confirm; the next record marks."""
    rows = unit.append(count, size=size)
    unit.store.confirm(ids(rows))
    return rows


def found(unit: Unit, first: tuple[int, int], last: tuple[int, int]) -> Found:
    return unit.store.search(Pair(*first), Pair(*last))


def seqs(unit: Unit, what: Found) -> list[tuple[int, int]]:
    """Return boot and seq of all records that were found."""
    numbers = []
    for first, last in what.spans:
        numbers += [(row.boot, row.id) for row in unit.store.held_rows(first - 1, last, 1 << 30)]
    assert len(numbers) == what.count
    return numbers


# How long


def test_a_confirmed_record_is_kept_for_its_days_and_no_longer(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    old = confirmed(unit, 3)
    unit.append()
    unit.second = KEEP_S - 100
    middle = confirmed(unit, 2)
    unit.append()
    assert set(ids(old)) <= set(held(unit))
    unit.second = KEEP_S + 2 * PRUNE_S
    unit.append()
    assert not set(ids(old)) & set(held(unit))
    assert set(ids(middle)) <= set(held(unit))
    assert unit.buffer()["dropped"] == 0
    assert unit.buffer()["rows"] == len(unit.waiting()) == 3


def test_what_waits_is_kept_for_ever(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(3)
    unit.store.confirm([rows[1].id])
    unit.append()
    unit.second = 10 * KEEP_S
    unit.append()
    assert held(unit) == [rows[0].id, rows[2].id, rows[2].id + 1, rows[2].id + 2]
    assert unit.buffer()["dropped"] == 0


def test_many_old_ones_go_in_batches(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    for _ in range(4):
        confirmed(unit, PRUNE_ROWS - 10)
    unit.append()
    unit.second = KEEP_S + DAY_S
    for batch in range(1, 5):
        before = len(held(unit))
        unit.append()
        assert before + 1 - len(held(unit)) <= PRUNE_ROWS, batch
    assert unit.sql("SELECT count(*) FROM outbox WHERE confirmed IS NOT NULL") == [(0,)]


def test_a_mark_of_an_unknown_time_is_no_old_mark(tmp_path: Path) -> None:
    """After a long power cut records are confirmed before the clock is set."""
    unit = Unit(tmp_path, now=lambda s: at(s, synced=False))
    early = confirmed(unit, 3)
    unit.append()
    unit.make_now = lambda s: at(s + 100 * DAY_S)
    unit.second += 2 * PRUNE_S
    late = confirmed(unit, 1)
    unit.append()
    assert set(ids(early + late)) <= set(held(unit))
    unit.second += KEEP_S + PRUNE_S
    unit.append()
    assert not set(ids(early + late)) & set(held(unit))


def test_a_clock_that_was_ahead_keeps_records_until_the_limits(tmp_path: Path) -> None:
    unit = Unit(tmp_path, max_rows=10)
    unit.make_now = lambda s: at(s + 1000 * DAY_S)
    ahead = confirmed(unit, 3)
    unit.append()
    unit.make_now = at
    unit.second = KEEP_S * 2
    unit.append()
    assert set(ids(ahead)) <= set(held(unit))
    unit.append(6)
    assert len(held(unit)) == 10
    assert unit.buffer()["dropped"] == 0


# Which go first


def test_above_the_limit_confirmed_ones_go_first_and_do_not_count(tmp_path: Path) -> None:
    unit = Unit(tmp_path, max_rows=6)
    rows = unit.append(5)
    unit.store.confirm(ids(rows[2:4]))
    rows += unit.append(3)
    assert held(unit) == ids([*rows[:2], *rows[4:]])
    assert unit.buffer()["dropped"] == 0
    rows += unit.append(2)
    assert held(unit) == ids(rows[4:])
    buffer = unit.buffer()
    assert (buffer["rows"], buffer["dropped"]) == (6, 2)


def test_the_same_by_size(tmp_path: Path) -> None:
    unit = Unit(tmp_path, max_bytes=5000)
    rows = unit.append(4, size=1000)
    unit.store.confirm(ids(rows[1:3]))
    rows += unit.append(2, size=1000)
    assert held(unit) == ids([rows[0], *rows[3:]])
    assert unit.buffer()["dropped"] == 0


def test_the_counts_agree_with_the_file_whatever_happens(tmp_path: Path) -> None:
    chance = random.Random(7)
    unit = Unit(tmp_path / "a", max_rows=40, max_bytes=30_000)
    for turn in range(300):
        unit.append(chance.randrange(3), size=chance.randrange(2000))
        unit.store.confirm(ids([row for row in unit.waiting() if chance.random() < 0.6]))
        if turn % 40 == 39:
            unit = Unit(
                cut_power(unit), f"boot-{turn}", second=unit.second, max_rows=40, max_bytes=30_000
            )
        if turn % 70 == 69:
            unit.second += KEEP_S * 1.1
        box = unit.store._outbox
        assert box is not None
        [(waiting, kept, size, first)] = unit.sql(
            "SELECT count(*) - count(confirmed), count(confirmed), coalesce(sum(length(body)), 0),"
            " min(CASE WHEN confirmed IS NULL THEN id END) FROM outbox"
        )
        assert (box.held.rows, box.held.kept, box.held.size) == (waiting, kept, size)
        assert first is None or box.held.first == first
        assert waiting + kept <= 40


# Through failures


def test_marks_survive_damage_memory_and_a_restart(tmp_path: Path) -> None:
    unit = Unit(tmp_path / "a")
    sent = confirmed(unit, 3)
    rows = unit.append(2)
    unit.connection.execute("PRAGMA max_page_count = 1")
    in_memory = unit.append(2, size=9000)
    assert unit.store.failure is not None
    unit.store.confirm([rows[0].id, in_memory[0].id])
    with pytest.raises(StoreTrouble):
        found(unit, (1, 1), (unit.store.boot, 9))
    more = unit.append()
    unit.retry()
    assert unit.store.failure is None
    assert ids(unit.waiting()) == ids([rows[1], in_memory[1], *more])
    assert unit.buffer()["rows"] == 3
    unit.append()
    marked = "SELECT id FROM outbox WHERE confirmed IS NOT NULL ORDER BY id"
    assert unit.sql(marked) == [(i,) for i in ids([*sent, rows[0], in_memory[0]])]
    left = cut_power(unit)
    sql(left, "UPDATE ledger SET crc = 0")
    again = Unit(left, "boot-b", second=100)
    assert again.store.set_aside() == ["tentwatch.corrupt-1"]
    assert again.sql(marked) == unit.sql(marked)
    assert ids(again.waiting()) == ids(unit.waiting())
    assert again.buffer()["dropped"] == 0


def test_a_mark_that_has_flipped_is_seen(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(3)
    unit.sql("UPDATE outbox SET confirmed = 5 WHERE id = ?", rows[1].id)
    unit.append()
    assert found(unit, (unit.store.boot, 1), (unit.store.boot, 4)).missing == [
        Missing(unit.store.boot, 2, 2)
    ]


# Found again


def test_a_range_is_found_with_what_is_missing(tmp_path: Path) -> None:
    first = Unit(tmp_path)
    boot = first.store.boot
    sent = confirmed(first, 10)
    first.append()
    first.sql("DELETE FROM outbox WHERE id IN (?, ?, ?)", *ids([sent[3], sent[4], sent[7]]))
    what = found(first, (boot, 2), (boot, 9))
    assert seqs(first, what) == [(boot, sent[i].id) for i in (1, 2, 5, 6, 8)]
    assert what.missing == [Missing(boot, 4, 5), Missing(boot, 8, 8)]
    assert what.until == (boot, 9)
    assert found(first, (boot, 50), (boot + 1, 1)) == Found(Pair(boot, 11))
    everything = found(first, (1, 5), (boot + 9, 9))
    assert everything.missing[0] == Missing(1, 5, None), "nobody knows how many that boot had"
    assert everything.until == (boot, 11)


def test_a_record_that_waits_is_neither_sent_again_nor_missing(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(5)
    unit.store.confirm(ids([rows[0], rows[1], rows[3]]))
    what = found(unit, (unit.store.boot, 1), (unit.store.boot, 5))
    assert (what.count, what.missing) == (3, [])
    assert what.spans == [(rows[0].id, rows[1].id), (rows[3].id, rows[3].id)]
    unit.append()
    assert found(unit, (unit.store.boot, 1), (unit.store.boot, 5)) == what


def test_a_range_over_boots_and_through_memory(tmp_path: Path) -> None:
    unit = Unit(tmp_path / "a")
    one = (unit.store.boot, 4)
    confirmed(unit, 4)
    unit.append(1)
    unit = Unit(cut_power(unit), "boot-b", second=100)
    assert unit.store.previous == {"boot": one[0], "seq": 5}
    two = unit.store.boot
    confirmed(unit, 3)
    unit.append()
    unit.connection.execute("PRAGMA max_page_count = 1")
    unit.append(2, size=9000)
    unit.retry()
    three = unit.store.boot
    assert unit.store.previous == {"boot": two, "seq": 4}
    unit.append()
    unit.store.confirm(ids(unit.waiting()))
    unit.append()
    what = found(unit, (one[0], 3), (three, 2))
    assert (what.count, what.missing) == (3 + 4 + 2, [])
    unit.sql("DELETE FROM outbox WHERE boot = ? AND id > 7", two)
    assert found(unit, (one[0], 3), (three, 2)).missing == [Missing(two, 3, 4)], "its end is known"


def test_too_many_gaps_cut_the_answer_off(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    boot = unit.store.boot
    rows = confirmed(unit, 400)
    unit.append()
    unit.sql("DELETE FROM outbox WHERE id % 2 = 0 AND id < ?", rows[-1].id)
    asked, numbers = (boot, 1), 0
    for _ in range(10):
        what = found(unit, asked, (boot, 400))
        assert len(what.missing) <= MAX_MISSING
        numbers += what.count
        if what.until == (boot, 400):
            break
        asked = (boot, what.until.seq + 1)
    assert what.until == (boot, 400)
    assert numbers == len(unit.sql("SELECT 1 FROM outbox WHERE id <= ?", rows[-1].id))


def test_a_long_range_is_answered_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_LOOKED_AT", 100)
    unit = Unit(tmp_path)
    boot = unit.store.boot
    confirmed(unit, 250)
    unit.append()
    parts = [found(unit, (1, 1), (1 << 53, 1 << 53))]
    while parts[-1].until < (boot, 251):
        parts.append(found(unit, (boot, parts[-1].until.seq + 1), (1 << 53, 1 << 53)))
    assert [part.until for part in parts] == [(boot, 100), (boot, 200), (boot, 251)]
    assert [part.count for part in parts] == [100, 100, 50]
    assert [m for part in parts for m in part.missing] == [Missing(1, 1, None)]


def test_what_a_copy_that_was_put_back_lacks_is_missing(tmp_path: Path) -> None:
    def opened(second: float) -> Store:
        store = Store(tmp_path / "state", 1000, 1 << 20, in_memory=tmp_path / "run")
        store.open("boot-a", at(second))
        return store

    store = opened(1)
    boot = store.boot
    rows = store.append(records(4, at(2)), {}, at(2))
    store.confirm(ids(rows))
    store.append(records(1, at(3)), {}, at(3))
    store.close(at(3), {})
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    store = opened(4)
    store.append(records(3, at(5)), {}, at(5))
    store.close(at(5), {})
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "copy").rename(tmp_path / "state")
    store = opened(6)
    assert store.boot > boot
    assert store.previous == {"boot": boot, "seq": 8}
    store.append(records(1, at(7)), {}, at(7))
    what = store.search(Pair(boot, 1), Pair(store.boot, 1))
    assert (what.count, what.missing) == (4, [Missing(boot, 6, 8)])


@pytest.mark.parametrize("page_bytes", [1024, 2048, 4096])
def test_a_file_keeps_the_pages_that_it_was_begun_with(tmp_path: Path, page_bytes: int) -> None:
    dump = Path(__file__).parent / "stores" / "version-2.sql"
    with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {page_bytes}")
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(dump.read_text())
        [(waiting,)] = db.execute("SELECT count(*) FROM outbox")
    unit = Unit(tmp_path, "boot-b", second=1000)
    assert len(unit.waiting()) == waiting > 0
    confirmed(unit, 40, size=1000)
    rows = unit.append(40, size=1000)
    again = Unit(cut_power(unit), "boot-b", second=2000)
    assert again.sql("PRAGMA page_size") == [(page_bytes,)]
    assert again.opened.lost == 0
    assert ids(again.waiting())[-40:] == ids(rows)
    assert len(again.waiting()) == waiting + 40
    assert again.sql("PRAGMA integrity_check") == [("ok",)]


# The boot before


def test_the_last_number_of_the_boot_before_is_known(tmp_path: Path) -> None:
    unit = Unit(tmp_path / "a")
    assert unit.store.previous is None
    unit.append(7)
    boot = unit.store.boot
    unit.close()
    same = Unit(tmp_path / "a", second=50)
    assert same.store.previous is None
    same.append(1)
    other = Unit(cut_power(same), "boot-b", second=100)
    assert other.store.previous == {"boot": boot, "seq": 8}
    other.append(1)
    assert Unit(cut_power(other), "boot-b", second=200).store.previous == {"boot": boot, "seq": 8}
    silent = Unit(cut_power(other), "boot-c", second=300)
    assert silent.store.previous == {"boot": other.store.boot, "seq": 1}


def test_after_damage_it_is_not_known(tmp_path: Path) -> None:
    unit = Unit(tmp_path / "a")
    unit.append(7)
    left = cut_power(unit)
    sql(left, "UPDATE ledger SET crc = 0")
    assert Unit(left, "boot-b", second=100).store.previous is None


def test_a_time_that_cannot_be_marks_nothing_as_old(tmp_path: Path) -> None:
    def early(second: float) -> Now:
        now = at(second)
        assert now.wall is not None
        return replace(now, wall=now.wall - timedelta(days=20_000))

    unit = Unit(tmp_path, now=early)
    rows = confirmed(unit, 3)
    unit.append()
    unit.make_now = at
    unit.second += PRUNE_S * 2
    unit.append()
    assert set(ids(rows)) <= set(held(unit))
