"""The totals' second place: when it is written, and what a file costs that is lost when it is behind."""

import itertools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from publisher.store import schema
from publisher.store.at_rest import AtRest
from publisher.store.faults import Damaged
from publisher.store.file import FILE
from publisher.store.ledger import BOOT_FILE, Ledger, SecondPlace
from publisher.store.ledger import FILE as LEDGER
from publisher.store.out_of_reach import Unread
from publisher.store.rows import checksum
from publisher.store.store import SECOND_PLACE_S
from tests.conftest import Broker, Subscriber, all_well, wait_for
from tests.conftest import Unit as WholeUnit
from tests.test_publisher_store import Unit, cut_power, number, overwrite, stored

WAL = f"{FILE}-wal"


def second(directory: Path) -> Any:
    """Return the totals in the second place."""
    found = SecondPlace(directory).read()
    assert found is not None
    return found.totals


def lose_file(unit: Unit) -> Path:
    """Return a copy of the directory, as a kill leaves it, in which the file is damaged."""
    copy = cut_power(unit)
    (copy / WAL).unlink(missing_ok=True)
    overwrite(copy / FILE, 0, bytes(4096))
    return copy


# When it is written


def test_it_is_written_every_five_minutes_and_not_with_every_record(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    began_s = unit.second
    known = []
    while unit.second < began_s + 2 * SECOND_PLACE_S + 60:
        unit.append()
        known.append((second(tmp_path) or {}).get("n", 0))
    changes = [i for i, (n, after) in enumerate(itertools.pairwise(known)) if n != after]
    assert len(changes) == 2
    assert changes[1] - changes[0] == SECOND_PLACE_S
    assert max(i + 1 - n for i, n in enumerate(known)) < SECOND_PLACE_S


@pytest.mark.parametrize(
    "write",
    [
        lambda unit: unit.store.back_up(),
        lambda unit: unit.store.append(
            lambda boot, seq: [], unit.totals, unit.now(), days=[("2026-11-22", "{}")]
        ),
        lambda unit: unit.close(),
    ],
    ids=["for a person", "the day's end", "the stop"],
)
def test_it_is_written_for_what_matters_to_people(
    tmp_path: Path, write: Callable[[Unit], object]
) -> None:
    unit = Unit(tmp_path)
    unit.append(3)
    assert second(tmp_path) is None
    write(unit)
    assert second(tmp_path) == {"n": 3}


def test_it_is_not_written_again_while_nothing_is_new(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append(3)
    unit.store.back_up()
    before = (tmp_path / LEDGER).read_bytes()
    unit.store.back_up()
    assert (tmp_path / LEDGER).read_bytes() == before


def test_it_is_written_with_every_record_while_the_file_cannot_be(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.connection.execute("PRAGMA query_only = ON")
    for count in range(1, 4):
        unit.append()
        assert unit.store.failure is not None
        assert second(tmp_path) == {"n": count}
    unit.retry()
    assert unit.store.failure is None
    unit.append()
    assert second(tmp_path) == {"n": 3}


def test_one_that_was_deleted_with_the_file_is_there_again_at_once(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    unit = Unit(tmp_path / "state")
    unit.append(3)
    shutil.rmtree(unit.directory)
    unit.append(1)
    assert second(unit.directory) == {"n": 4}


# A file that is lost when it is behind


def test_after_damage_and_a_kill_totals_may_be_five_minutes_old_and_say_so(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append(3)
    unit.store.back_up()
    lost = unit.append(4)
    again = Unit(lose_file(unit), second=50)
    assert again.opened.totals == {"n": 3}
    assert again.opened.is_old
    assert again.store.set_aside() == ["tentwatch.corrupt-1"]
    new = again.append(5)
    assert again.store.boot > lost[0].boot
    assert not {number(row) for row in new} & {number(row) for row in lost}


@pytest.mark.parametrize("is_backed_up", [True, False])
def test_what_is_as_new_as_the_file_is_not_old(tmp_path: Path, is_backed_up: bool) -> None:
    unit = Unit(tmp_path)
    unit.append(3)
    if is_backed_up:
        unit.close()
        overwrite(tmp_path / FILE, 0, bytes(4096))
    again = Unit(tmp_path if is_backed_up else cut_power(unit), "boot-b", second=50)
    assert again.opened.totals == {"n": 3}
    assert not again.opened.is_old


def test_what_a_record_has_reported_is_not_reported_again(tmp_path: Path) -> None:
    """Neither a power cut nor a file that was set aside, though the next file is lost at once."""
    stored(tmp_path, 3)
    overwrite(tmp_path / FILE, 0, bytes(4096))
    cut = Unit(cut_power(Unit(tmp_path, second=50)), "boot-b", second=100)
    assert cut.opened.power_cut is not None
    assert cut.store.set_aside() == ["tentwatch.corrupt-1"]
    cut.append(1)
    again = Unit(lose_file(cut), "boot-b", second=150)
    assert again.opened.power_cut is None
    assert again.store.set_aside() == ["tentwatch.corrupt-2"]


def test_a_log_that_is_whole_goes_on_in_its_boot_after_a_kill(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    for _ in range(20):
        unit.append()
    again = Unit(cut_power(unit), second=50)
    assert not again.opened.is_old
    assert again.store.boot == unit.store.boot
    assert [number(row)[1] for row in again.append(2)] == [21, 22]


def truncate(log: Path) -> None:
    os.truncate(log, log.stat().st_size * 2 // 3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda log: overwrite(log, log.stat().st_size - 3000, b"\xff"),
        lambda log: overwrite(log, log.stat().st_size // 2, b"\xff" * 512),
        lambda log: overwrite(log, 16, b"\xff" * 8),
        truncate,
        lambda log: os.truncate(log, 0),
        lambda log: log.unlink(),
    ],
    ids=["its end", "its middle", "its header", "cut short", "empty", "gone"],
)
def test_a_log_that_is_damaged_costs_its_end_and_no_number_comes_twice(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """SQLite passes over it in silence, and the second place knows less still."""
    unit = Unit(tmp_path)
    unit.append()
    unit.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    given = {number(row) for _ in range(20) for row in unit.append()}
    copy = cut_power(unit)
    damage(copy / WAL)
    again = Unit(copy, second=50)
    assert again.opened.is_old
    assert again.store.boot > unit.store.boot
    new = {number(row) for row in again.append(30)}
    assert not new & given
    assert set(again.numbers()) - new <= given | {(unit.store.boot, 1)}


def test_a_log_that_was_begun_anew_is_whole(tmp_path: Path) -> None:
    """What lies behind its end is of an earlier round."""
    unit = Unit(tmp_path)
    for _ in range(20):
        unit.append()
    unit.connection.execute("PRAGMA wal_checkpoint(RESTART)")
    unit.append()
    again = Unit(cut_power(unit), second=50)
    assert again.store.boot == unit.store.boot
    assert again.totals == {"n": 21}


# The newer one counts


def test_totals_of_a_later_boot_are_newer_however_often_they_were_written(tmp_path: Path) -> None:
    """A file that was out of reach has been written more often than what stood in for it."""
    unit = Unit(tmp_path)
    unit.append()
    unit.store.back_up()
    for _ in range(20):
        unit.append()
    copy = cut_power(unit)
    (copy / FILE).rename(copy / "away")
    (copy / WAL).rename(copy / "away-wal")
    (copy / FILE).mkdir()
    stand_in = Unit(copy, second=100)
    assert stand_in.opened.is_old
    stand_in.append(2)
    left = cut_power(stand_in)
    (left / FILE).rmdir()
    (left / "away").rename(left / FILE)
    (left / "away-wal").rename(left / WAL)
    at_rest = AtRest(left)
    assert at_rest.ledger.totals == {"n": 3}
    at_rest.close()
    again = Unit(left, second=200)
    assert again.totals == {"n": 3}
    assert again.opened.unread == Unread({"n": 21}, {"n": 1})
    assert again.opened.lost == 2, "the two that were in memory"
    assert again.store.boot > stand_in.store.boot
    assert len(again.waiting()) == 21


@pytest.mark.parametrize("is_stopped", [True, False], ids=["stopped", "killed"])
@pytest.mark.parametrize("starts", [1, 2])
def test_a_run_that_could_not_read_the_file_hides_nothing_of_it(
    tmp_path: Path, starts: int, is_stopped: bool
) -> None:
    """The file's totals and those that were counted in memory since the second place are added up."""
    unit = Unit(tmp_path)
    unit.append()
    unit.store.back_up()
    unit.append(20)
    copy = cut_power(unit)
    (copy / FILE).rename(copy / "away")
    (copy / WAL).rename(copy / "away-wal")
    (copy / FILE).mkdir()
    for start in range(starts):
        stand_in = Unit(copy, second=100 * (start + 1))
        stand_in.append(2)
        if is_stopped:
            stand_in.close()
        else:
            copy = cut_power(stand_in)
    (copy / FILE).rmdir()
    (copy / "away").rename(copy / FILE)
    (copy / "away-wal").rename(copy / WAL)
    again = Unit(copy, second=300)
    assert again.opened.unread == Unread({"n": 21}, {"n": 1})
    assert again.totals == {"n": 1 + 2 * starts}
    killed = Unit(cut_power(again), second=400)
    assert killed.opened.unread == again.opened.unread, "nothing was written before it was added up"
    killed.store.save({"n": 21 + 2 * starts}, killed.now())
    last = Unit(cut_power(killed), second=500)
    assert (last.opened.totals, last.opened.unread) == ({"n": 21 + 2 * starts}, None)


def test_a_stand_in_that_cannot_be_is_damage(tmp_path: Path) -> None:
    good = Ledger(count=3, boot=7, totals={"n": 1}, stand_in=Ledger(count=2, boot=7).standing_in())
    assert Ledger.parse(good.text(), checksum(good.text())) == replace(good, schema=schema.newest())
    for change in ({"count": -1}, {"boot": "x"}, {"other": 1}, {"totals": 3}):
        text = good.text(stand_in={**(good.stand_in or {}), **change})
        with pytest.raises(Damaged):
            Ledger.parse(text, checksum(text))


def test_of_confirmed_records_none_is_lost_with_the_file(tmp_path: Path) -> None:
    """The second place may still count them as waiting."""
    unit = Unit(tmp_path)
    rows = unit.append(10)
    unit.store.back_up()
    unit.store.confirm(row.id for row in rows)
    unit.append()
    again = Unit(lose_file(unit), second=50)
    assert again.opened.is_old
    assert again.opened.lost == again.buffer()["dropped"] == 0


def test_after_a_power_cut_committed_transactions_that_are_lost_are_noticed(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    for _ in range(20):
        unit.append()
    copy = cut_power(unit)
    overwrite(copy / WAL, (copy / WAL).stat().st_size // 2, b"\xff" * 512)
    again = Unit(copy, "boot-b", second=50)
    assert again.opened.is_old
    assert again.totals["n"] < 20


@pytest.mark.parametrize("boot_id", ["boot-a", "boot-b"])
def test_a_transaction_that_was_being_written_is_no_loss(tmp_path: Path, boot_id: str) -> None:
    """Its pages are in the log, and the last of them, which commits it, is not."""
    unit = Unit(tmp_path)
    unit.append()
    unit.connection.execute("PRAGMA cache_size = 1")
    unit.connection.execute("BEGIN IMMEDIATE")
    unit.connection.execute("CREATE TABLE large (text)")
    unit.connection.executemany("INSERT INTO large VALUES (?)", [("x" * 1500,)] * 200)
    copy = cut_power(unit)
    assert (copy / WAL).stat().st_size > 200 * 1500, "its pages are in the log"
    again = Unit(copy, boot_id, second=50)
    assert not again.opened.is_old
    assert again.totals == {"n": 1}


def test_rows_that_went_out_meanwhile_are_not_counted_as_lost(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    rows = unit.append(10)
    unit.store.back_up()
    unit.store.confirm(row.id for row in rows[:7])
    unit.append()
    copy = cut_power(unit)
    (copy / FILE).rename(copy / "away")
    (copy / WAL).rename(copy / "away-wal")
    (copy / FILE).mkdir()
    again = Unit(copy, second=100)
    again.append()
    (copy / FILE).rmdir()
    (copy / "away").rename(copy / FILE)
    (copy / "away-wal").rename(copy / WAL)
    assert again.retry() == Unread({"n": 11}, {"n": 10})
    assert again.buffer()["dropped"] == 0
    assert len(again.waiting()) == 5


def test_a_boot_that_older_versions_noted_is_no_ledger(tmp_path: Path) -> None:
    boot, numbers = stored(tmp_path, 3)
    (tmp_path / LEDGER).unlink()
    (tmp_path / BOOT_FILE).write_text(f"{boot + 500}")
    assert not Ledger(boot=boot + 500).is_newer_than(Ledger(boot=boot, count=1))
    unit = Unit(tmp_path, "boot-b", second=100)
    assert unit.totals == {"n": 3}
    assert unit.numbers() == numbers
    assert unit.store.boot > boot + 500


# A whole unit


def kill(unit: WholeUnit, left: Path) -> WholeUnit:
    """Leave a copy of the unit's state as a kill does, and stop it."""
    assert unit.agent is not None
    with unit.agent._store._lock:
        for path in unit.state_dir.iterdir():
            if path.name in (FILE, WAL, LEDGER):
                shutil.copy(path, left)
    unit.stop()
    unit.state_dir = left
    return unit


@pytest.fixture
def left(tmp_path: Path) -> Path:
    (tmp_path / "left").mkdir()
    return tmp_path / "left"


def test_people_who_came_since_the_second_place_was_written_are_missed_and_estimated(
    make_unit: Callable[..., WholeUnit], broker: Broker, subscriber: Subscriber, left: Path
) -> None:
    unit = make_unit(broker.port).start()
    subscriber.next("state", all_well)
    unit.walk(inward=True)
    subscriber.next("state", lambda m: m["capacity"]["entered_total"] == 1)
    assert unit.status()["capacity"]["quality"] == "ok"
    unit.walk(inward=True)
    before = subscriber.next("state", lambda m: m["capacity"]["entered_total"] == 2).content
    kill(unit, left)
    (left / WAL).unlink()
    overwrite(left / FILE, 0, bytes(4096))
    unit.start()
    after = subscriber.next("state", lambda m: m["boot"] > before["boot"]).content
    assert after["capacity"]["entered_total"] == 1, "what a person has seen is not taken back"
    wait_for(lambda: unit.status()["capacity"]["quality"] == "estimated", "an estimate")
    assert unit.agent is not None
    today, _ = unit.agent.tent.open_lines()
    assert today is not None
    assert today["estimated"]
    unit.stop()
    records = subscriber.records()
    assert len({(r["boot"], r["seq"]) for r in records}) == len(
        {json.dumps(r, sort_keys=True) for r in records}
    ), "a number that stands for two records"


def test_a_command_on_the_unit_is_in_the_second_place_when_it_is_answered(
    make_unit: Callable[..., WholeUnit], broker: Broker, subscriber: Subscriber, left: Path
) -> None:
    unit = make_unit(broker.port).start()
    subscriber.next("state", all_well)
    assert unit.agent is not None
    assert unit.agent._ask({"command": "headcount", "people": 7})["ok"]
    kill(unit, left)
    assert second(left)["occupancy"]["people"] == 7
