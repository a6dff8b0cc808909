"""The store under any clock: what it writes it reads back, and boot numbers only grow."""

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.clock import END, EPOCH, LONGEST_UPTIME_S, Now, instant
from publisher.store.at_rest import AtRest
from publisher.store.boots import TIME_BOOT_LIMIT
from publisher.store.file import FILE
from publisher.store.ledger import FILE as LEDGER
from publisher.store.ledger import Ledger, SecondPlace
from publisher.store.rows import checksum
from publisher.store.store import Store
from tests.tents import NOON, Kernel
from tests.test_publisher_store import Unit, cut_power, number, overwrite, records, stored

ABSURD = [datetime(year, 6, 1, tzinfo=UTC) for year in (1970, 1999, 2025, 2201, 9998)]

moments = st.one_of(
    st.none(),
    st.sampled_from([EPOCH, END, END - timedelta(milliseconds=1), NOON, *ABSURD]),
    st.datetimes(timezones=st.just(UTC)),
    st.datetimes(datetime(2020, 1, 1), datetime(2210, 1, 1), timezones=st.just(UTC)),
)
kernels = st.builds(
    Now,
    st.floats(0.0, 1e9),
    st.floats(0.0, LONGEST_UPTIME_S, exclude_max=True),
    moments,
    st.booleans(),
)
#: The kernel's clock at each record of a run, whether the run ends cleanly, and whether the unit reboots.
runs = st.lists(
    st.tuples(st.lists(kernels, min_size=1, max_size=3), st.booleans(), st.booleans()),
    min_size=1,
    max_size=4,
)


def unknown(second: float) -> Now:
    return Now(second, second, None, synced=False)


@given(runs)
def test_whatever_the_clock_shows_all_that_was_written_is_read_back(
    runs: list[tuple[list[Now], bool, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, count, newest, boot_id = Path(directory) / "0", 0, 0, 0
        given_numbers: set[tuple[int, int]] = set()
        for says, is_clean, reboots in runs:
            clock = Kernel(says[0])
            store = Store(path, 1000, 1 << 20)
            opened = store.open(f"boot {boot_id}", clock.now())
            assert (opened.totals or {}).get("n", 0) == count
            assert store.set_aside() == []
            assert not opened.is_old
            assert store.boot >= newest
            newest = store.boot
            if store.earliest is not None:
                clock.trust_from(store.earliest)
            clock.hold(store.began(store.boot))
            for at in says:
                clock.says = at
                now = clock.now()
                count += 1
                for row in store.append(records(1, now), {"n": count}, now):
                    assert number(row) not in given_numbers
                    given_numbers.add(number(row))
            store.back_up()
            found = SecondPlace(path).read()
            assert found is not None
            assert found.totals == {"n": count}
            if is_clean:
                store.close(clock.now(), {"n": count})
            with closing(AtRest(path)) as at_rest:
                assert at_rest.ledger.totals == {"n": count}
            if not is_clean:  # a kill
                path = Path(shutil.copytree(path, path.with_name(f"{count}")))
            boot_id += reboots


@pytest.mark.parametrize("wall", ABSURD, ids=lambda wall: str(wall.year))
def test_a_clock_that_is_absurd_wipes_no_totals_though_the_kernel_vouches_for_it(
    tmp_path: Path, wall: datetime
) -> None:
    clock = Kernel(Now(1.0, 20.0, NOON, synced=True))

    def now(second: float) -> Now:
        clock.says = replace(clock.says, monotonic_s=second, uptime_s=second + 20.0)
        return clock.now()

    unit = Unit(tmp_path, now=now)
    unit.append(4)
    boot = unit.store.boot
    clock.says = replace(clock.says, wall=wall)
    unit.append()
    unit.close()
    again = Unit(tmp_path, "boot-b", second=unit.second, now=now)
    assert again.opened.totals == {"n": 5}
    assert again.store.set_aside() == []
    assert again.store.boot > boot
    assert again.store.failure is None


@pytest.mark.parametrize("wall", [*ABSURD, "yesterday", "2026-11-22T18:00:00"], ids=str)
def test_a_time_that_an_older_version_has_written_and_cannot_be_costs_only_itself(
    tmp_path: Path, wall: datetime | str
) -> None:
    """Older versions believed a kernel that vouched for 1970 or 2201."""
    boot, numbers = stored(tmp_path, 3)
    text = wall if isinstance(wall, str) else wall.isoformat()
    cut = {"boot": 1, "uptime_s": 1.0, "last": text, "off_s": None}

    def spoilt(body: str) -> tuple[str, int]:
        changed = json.dumps(json.loads(body) | {"wall": text, "cut": cut})
        return changed, checksum(changed)

    with closing(sqlite3.connect(tmp_path / FILE)) as db, db:
        [(body,)] = db.execute("SELECT body FROM ledger")
        db.execute("UPDATE ledger SET body = ?, crc = ?", spoilt(body))
    second = SecondPlace(tmp_path)
    found = second.read()
    assert found is not None
    second.write(spoilt(found.text())[0], sync=True)
    unit = Unit(tmp_path, "boot-b", second=100)
    assert unit.store.set_aside() == []
    assert unit.opened.totals == {"n": 3}
    assert unit.opened.power_cut == cut | {"last": text if instant(text) else None}
    assert unit.numbers() == numbers
    assert unit.store.boot > boot


def test_a_boot_is_above_all_that_can_be_read_though_both_ledgers_are_damaged(
    tmp_path: Path,
) -> None:
    """The records and the starts of boots show a number as well. The time of day is not known here."""

    for what in ("records", "starts"):
        directory = tmp_path / what
        unit = Unit(directory)
        rows = unit.append(3)
        if what == "starts":
            unit.store.confirm(row.id for row in rows)
            unit.store.save(unit.totals, unit.now())
        boot = unit.store.boot
        assert boot > 10_000
        unit.close()
        with closing(sqlite3.connect(directory / FILE)) as db, db:
            db.execute("UPDATE ledger SET crc = crc + 1")
            if what == "records":
                db.execute("DELETE FROM boots")
        overwrite(directory / LEDGER, 0, bytes(4096))
        overwrite(directory / LEDGER, 8192, bytes(4096))
        again = Unit(directory, "boot-b", second=50, now=unknown)
        assert again.store.boot > boot
        again.close()


def test_a_boot_is_above_the_one_in_a_ledger_that_is_refused_for_another_value(
    tmp_path: Path,
) -> None:
    """No record and no start of a boot shows it."""
    for where in (FILE, LEDGER):
        directory = tmp_path / where
        unit = Unit(directory, now=unknown)
        unit.close()
        boot = 5_000_000
        text = Ledger(boot=boot, count=9).text(seq=-1)
        if where == FILE:
            with closing(sqlite3.connect(directory / FILE)) as db, db:
                db.execute("UPDATE ledger SET body = ?, crc = ?", (text, checksum(text)))
            (directory / LEDGER).unlink()
        else:
            (directory / FILE).unlink()
            SecondPlace(directory).write(text, sync=True)
        again = Unit(directory, "boot-b", second=50, now=unknown)
        assert again.store.boot > boot
        again.close()


def test_a_ledger_behind_the_records_beside_it_gives_no_number_again(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.append(3)
    boot = unit.store.boot
    unit.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as db, db:
        text = Ledger(boot=boot - 5, boot_id="boot-a", seq=1, count=1, totals={}).text()
        db.execute("UPDATE ledger SET body = ?, crc = ?", (text, checksum(text)))
    (tmp_path / LEDGER).unlink()
    assert Unit(tmp_path, second=50).store.boot > boot


def test_a_clock_that_is_far_ahead_uses_up_no_boot_numbers(tmp_path: Path) -> None:
    def ahead(second: float) -> Now:
        return Kernel(Now(second, second, END - timedelta(days=1), synced=True)).now()

    for start in range(5):
        unit = Unit(tmp_path, f"boot {start}", second=start * 10, now=ahead)
        assert unit.store.boot < TIME_BOOT_LIMIT
        unit.close()


def test_a_card_that_was_restored_from_an_old_image_gets_a_number_above_the_forgotten(
    tmp_path: Path,
) -> None:
    unit = Unit(tmp_path)
    unit.close()
    image = cut_power(unit)
    for start in range(3):
        unit = Unit(tmp_path, f"boot {start}", second=86_400 * (start + 1))
        unit.close()
    assert Unit(image, "after", second=86_400 * 5).store.boot > unit.store.boot
