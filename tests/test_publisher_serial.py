"""The unit's serial: it stays as long as the totals go on, and tells when they begin anew."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from publisher.clock import timestamp
from publisher.in_memory import forget
from publisher.store.file import FILE
from publisher.store.ledger import FILE as LEDGER
from tests.conftest import Broker, Subscriber, all_well
from tests.conftest import Unit as Whole
from tests.test_publisher_store import Unit, at, cut_power, ledger, mend, write_ledger


@pytest.fixture
def unreadable(tmp_path: Path) -> Path:
    """A state directory whose file cannot be opened, after a boot that recorded 5."""
    unit = Unit(tmp_path)
    unit.store.reset()
    unit.append(5)
    unit.close()
    (tmp_path / FILE).rename(tmp_path / "away")
    (tmp_path / FILE).mkdir()
    return tmp_path


def lose_totals(directory: Path) -> None:
    """Damage both places of the totals."""
    (directory / FILE).write_bytes(b"this is no database" * 1000)
    (directory / LEDGER).write_bytes(b"this is no ledger" * 1000)


def test_a_new_unit_has_a_serial_and_says_once_that_it_counts_from_nothing(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    assert unit.store.reset() == "new_unit"
    assert unit.store.reset() is None, "the caller knows"
    unit.append()
    serial = unit.store.serial
    unit.close()
    for boot in ("boot-a", "boot-b"):
        again = Unit(tmp_path, boot, second=100)
        assert again.store.serial == serial
        assert again.store.reset() is None
        again.close()
    assert Unit(tmp_path / "other").store.serial != serial


def test_a_power_cut_before_the_first_record_does_not_hide_that_counts_begin(
    tmp_path: Path,
) -> None:
    unit = Unit(tmp_path)
    assert unit.store.reset() == "new_unit"
    again = Unit(cut_power(unit), "boot-b", second=100)
    assert again.store.serial == unit.store.serial
    assert again.store.reset() == "new_unit"
    again.append()
    assert Unit(cut_power(again), "boot-c", second=200).store.reset() is None


def test_a_store_that_is_lost_in_both_places_is_another_unit(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append()
    unit.close()
    lose_totals(tmp_path)
    again = Unit(tmp_path, "boot-b", second=100)
    assert again.opened.totals == {}
    assert again.store.serial != unit.store.serial
    assert again.store.reset() == "store_lost"
    assert again.store.installed == timestamp(at(101).wall)


@pytest.mark.parametrize("damaged", [FILE, LEDGER])
def test_totals_that_are_taken_over_keep_their_serial(tmp_path: Path, damaged: str) -> None:
    unit = Unit(tmp_path)
    unit.store.reset()
    unit.append()
    unit.close()
    (tmp_path / damaged).write_bytes(b"damage" * 1000)
    again = Unit(tmp_path, "boot-b", second=100)
    assert again.opened.totals == {"n": 1}
    assert again.store.serial == unit.store.serial
    assert again.store.installed == unit.store.installed
    assert again.store.reset() is None


def test_a_file_that_is_deleted_under_a_running_unit_changes_no_serial(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append()
    serial = unit.store.serial
    (tmp_path / FILE).unlink()
    unit.append()
    assert unit.store.serial == serial
    assert Unit(cut_power(unit), "boot-b", second=100).store.serial == serial


def test_installed_is_the_first_certain_time_and_stays(tmp_path: Path) -> None:
    unit = Unit(tmp_path, now=lambda second: at(second, wall=False, synced=False))
    unit.append()
    assert unit.store.installed is None
    unit.make_now = lambda second: at(second, synced=False)
    unit.append()
    assert unit.store.installed is None, "nobody vouches for an unsynchronised clock"
    unit.make_now = at
    unit.append()
    installed = unit.store.installed
    assert installed == timestamp(at(unit.second).wall)
    unit.append()
    unit.close()
    assert Unit(tmp_path, "boot-b", second=500).store.installed == installed


def test_the_totals_of_an_earlier_version_get_a_serial_and_are_not_reset(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append()
    unit.close()
    body = ledger(tmp_path)
    for name in ("serial", "installed", "reset"):
        del body[name]
    write_ledger(tmp_path, json.dumps(body))
    (tmp_path / LEDGER).unlink()
    again = Unit(tmp_path, "boot-b", second=100)
    assert again.opened.totals == {"n": 1}
    assert again.store.serial
    assert again.store.reset() is None
    assert again.store.installed == timestamp(at(-20).wall), "when its first boot began"


# In memory


def test_a_run_that_reads_the_second_place_has_the_unit_s_serial(unreadable: Path) -> None:
    unit = Unit(unreadable, "boot-b", second=100)
    serial = unit.store.serial
    unit.append()
    mend(unreadable)
    unit.retry()
    assert unit.store.failure is None
    assert unit.store.serial == serial
    unit.close()
    assert ledger(unreadable)["serial"] == serial
    assert Unit(unreadable, "boot-c", second=200).store.reset() is None


def test_a_run_that_can_read_neither_place_is_another_unit_until_the_file_is_read(
    unreadable: Path,
) -> None:
    """Its totals begin at 0: under the unit's serial they would have fallen."""
    (unreadable / LEDGER).unlink()
    unit = Unit(unreadable, "boot-b", second=100)
    stand_in = unit.store.serial
    unit.append(2)
    assert unit.store.reset() is None, "the totals may still be there"
    mend(unreadable)
    assert unit.retry() is not None
    serial = unit.store.serial
    assert stand_in and serial != stand_in
    assert unit.store.reset() is None
    unit.totals = {"n": 7}
    unit.append()
    again = Unit(cut_power(unit), "boot-b", second=200)
    assert (again.store.serial, again.totals) == (serial, {"n": 8})


def test_so_it_is_when_the_file_is_read_by_a_later_run(unreadable: Path) -> None:
    (unreadable / LEDGER).unlink()
    first = Unit(unreadable, "boot-b", second=100)
    first.append(2)
    first.close()
    second = Unit(unreadable, "boot-c", second=200)
    assert second.store.serial == first.store.serial, "the counts of the first run go on"
    second.close()
    mend(unreadable)
    third = Unit(unreadable, "boot-d", second=300)
    assert third.opened.unread is not None
    assert third.store.serial != first.store.serial
    assert third.store.reset() is None


def test_a_file_that_can_never_be_read_ends_the_doubt(unreadable: Path) -> None:
    (unreadable / LEDGER).unlink()
    unit = Unit(unreadable, "boot-b", second=100)
    serial = unit.store.serial
    unit.append()
    while unit.store.failure is not None:
        assert unit.store.reset() is None
        unit.retry()
    assert unit.store.serial == serial
    assert unit.store.reset() == "store_lost"
    unit.append()
    assert Unit(cut_power(unit), "boot-c", second=200).store.reset() is None


def test_a_new_unit_whose_card_works_only_later(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    unit = Unit(tmp_path)
    serial = unit.store.serial
    unit.append()
    (tmp_path / FILE).rmdir()
    unit.retry()
    assert unit.store.serial == serial
    assert unit.store.reset() == "new_unit"


def test_no_serial_is_ever_that_of_other_totals(tmp_path: Path) -> None:
    """The same boot and seq may come again from a card that was set up twice; the serial differs."""
    unit = Unit(tmp_path / "card")
    unit.append()
    shutil.rmtree(tmp_path / "card")
    again = Unit(tmp_path / "card", now=at)
    assert again.store.boot == unit.store.boot, "begun in the same second"
    assert again.store.serial != unit.store.serial


# The whole unit


def test_link_about_state_and_event_name_the_unit(unit: Whole, subscriber: Subscriber) -> None:
    unit.start()
    subscriber.next("state", all_well)
    serial = unit.status()["unit"]["serial"]
    unit.stop()
    kinds = set()
    for topic, payload in unit.sent:
        message, kind = json.loads(payload), topic.rpartition("/")[2]
        if kind == "days":
            continue  # it says what its records say
        for record in message.get("records", [message]):
            named = record["unit"] if kind == "about" else record
            assert named["serial"] == serial, kind
        kinds.add(kind)
    assert kinds >= {"link", "about", "state"}
    records = [
        r for _, text in unit.sent for r in json.loads(text).get("records", [json.loads(text)])
    ]
    assert [r["detail"] for r in records if r.get("event") == "counts_reset"] == [
        {"reason": "new_unit"}
    ]


def test_a_serial_that_is_read_late_ends_the_session_of_the_other_unit(
    make_unit: Callable[..., Whole], broker: Broker, subscriber: Subscriber
) -> None:
    """A broken connection must not tell of a unit that is no longer there."""
    unit = make_unit(broker.port, speed=30).start()
    subscriber.next("state", all_well)
    serial = unit.status()["unit"]["serial"]
    unit.stop()
    file = unit.state_dir / FILE
    file.rename(unit.state_dir / "away")
    file.mkdir()
    (unit.state_dir / LEDGER).unlink()
    forget(unit.state_dir)  # as a boot does
    unit.start()
    other = subscriber.next("link", lambda m: m["online"] and m["serial"] != serial).content
    file.rmdir()
    (unit.state_dir / "away").rename(file)
    subscriber.next("link", lambda m: not m["online"] and m["serial"] == other["serial"])
    subscriber.next("link", lambda m: m["online"] and m["serial"] == serial)
    subscriber.next("about", lambda m: m["unit"]["serial"] == serial)
    unit.stop()
