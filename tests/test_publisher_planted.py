"""Foreign values in the state directory count as damage and never stop the unit."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from publisher.recording import usable_totals
from publisher.rules.totals import Totals
from publisher.store.faults import Damaged
from publisher.store.ledger import FILE as LEDGER
from publisher.store.ledger import Ledger
from publisher.store.rows import ID_LIMIT, Row, checksum
from tests.tents import NOON, config
from tests.tents import Unit as Tent
from tests.test_publisher_store import Unit, sql, stored


def change_ledger(directory: Path, **changed: Any) -> None:
    [(body,)] = sql(directory, "SELECT body FROM ledger")
    text = json.dumps(json.loads(body) | changed)
    sql(directory, "UPDATE ledger SET body = ?, crc = ?", text, checksum(text))
    (directory / LEDGER).unlink()


def plant(directory: Path, table: str, key: Any, text: Any) -> None:
    crc = checksum(table, key, text)
    sql(directory, f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", key, text, crc)


def plant_row(directory: Path, *values: Any) -> None:
    row = Row(*values)
    columns = "id, kind, boot, uptime_s, stamped, body, confirmed, crc"
    sql(directory, f"INSERT INTO outbox ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row, row.crc)


def set_aside(directory: Path) -> list[str]:
    return [path.name for path in directory.glob("*.corrupt-?")]


DEEP = "[" * 5000 + "]" * 5000
CUT = {"boot": 1, "uptime_s": 1.0, "last": None, "off_s": None}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("boot", 10**30),
        ("boot", -5),
        ("uptime_s", float("nan")),
        ("uptime_s", 1e300),
        ("uptime_s", -1.0),
        ("dropped", -50),
        ("rows", 10**30),
        ("size", 1 << 63),
        ("seq", -50),
        ("wall", 5),
        ("cut", {"\x1b[31m": 1}),
        ("cut", CUT | {"last": 5}),
        ("cut", CUT | {"off_s": 10**30}),
    ],
)
def test_a_ledger_that_cannot_be_is_damage(tmp_path: Path, name: str, value: Any) -> None:
    text = Ledger(boot=1).text(**{name: value})
    with pytest.raises(Damaged, match=f"damaged: {name} is"):
        Ledger.parse(text, checksum(text))
    boot, _ = stored(tmp_path, 3)
    change_ledger(tmp_path, **{name: value})
    unit = Unit(tmp_path, "boot-b", second=100)
    assert unit.store.boot > boot
    assert len(set_aside(tmp_path)) == 1
    assert unit.buffer()["rows"] == 3
    assert unit.append()
    unit.close()


def test_a_ledger_without_end_is_damage(tmp_path: Path) -> None:
    text = f'{{"totals": {{"x": {DEEP}}}}}'
    with pytest.raises(Damaged, match="nested"):
        Ledger.parse(text, checksum(text))
    Ledger.parse(good := Ledger(boot=1, cut=CUT).text(), checksum(good))


@pytest.mark.parametrize(
    "began", ["nonsense", "2026-11-01T00:00:00", "9999-12-31T23:59:59+00:00", 12]
)
@pytest.mark.parametrize("boot_id", ["boot-a", "boot-b"])
def test_a_beginning_that_cannot_be_is_none(tmp_path: Path, began: Any, boot_id: str) -> None:
    unit = Unit(tmp_path)
    unit.append()
    boot = unit.store.boot
    unit.close()
    plant(tmp_path, "boots", boot, began)
    plant(tmp_path, "boots", boot + 1, began)
    change_ledger(tmp_path, clean=False, uptime_s=1e6)
    unit = Unit(tmp_path, boot_id, second=100)
    assert unit.store.began(boot + 1) is None
    assert unit.store.began_after(boot) is None or boot_id == "boot-b"
    assert unit.buffer()["rows"] == 1
    unit.close()


@pytest.mark.parametrize("row_id", [ID_LIMIT, (1 << 63) - 1])
def test_an_id_after_which_none_comes_is_damage(tmp_path: Path, row_id: int) -> None:
    _, kept = stored(tmp_path, 3)
    plant_row(tmp_path, row_id, "event", 1, 1.0, 1, "{}")
    unit = Unit(tmp_path, "boot-b", second=100)
    assert len(set_aside(tmp_path)) == 1
    assert unit.numbers() == kept
    assert unit.append()
    unit.close()


@pytest.mark.parametrize(
    "values",
    [(9, "event", 1, 1e300, 0), (9, "event", 1, -1.0, 0), (9, "event", 1 << 60, 1.0, 0)],
)
def test_a_record_that_cannot_be_is_left_out(tmp_path: Path, values: tuple[Any, ...]) -> None:
    _, kept = stored(tmp_path, 3)
    plant_row(tmp_path, *values, '{"ts": null}')
    unit = Unit(tmp_path, "boot-b", second=100)
    assert unit.numbers() == kept
    unit.buffer()
    unit.close()


@pytest.mark.parametrize(
    "body", ["not json", "5", '{"a":NaN}', "{" * 5, DEEP, '{"a":' + DEEP + "}"]
)
def test_a_record_that_is_no_json_object_is_dropped_and_counted(tmp_path: Path, body: str) -> None:
    _, kept = stored(tmp_path, 3)
    plant_row(tmp_path, 9, "event", 1, 1.0, 1, body)
    unit = Unit(tmp_path, "boot-b", second=100)
    dropped = unit.buffer()["dropped"]
    assert unit.numbers() == kept
    assert unit.buffer()["dropped"] == dropped + 1
    unit.close()


def test_a_record_without_a_checksum_is_dropped(tmp_path: Path) -> None:
    _, kept = stored(tmp_path, 3)
    plant_row(tmp_path, 9, "event", 1, 1.0, 1, "{}")
    sql(tmp_path, "UPDATE outbox SET crc = NULL WHERE id = 9")
    unit = Unit(tmp_path, "boot-b", second=100)
    assert unit.numbers() == kept
    unit.close()


def test_what_lies_beside_the_records_has_its_own_kind(tmp_path: Path) -> None:
    stored(tmp_path)
    for table, key, text in (
        ("days", "2026-11-01", b"5"),
        ("days", b"x", "y"),
        ("answers", "q", b"5"),
    ):
        plant(tmp_path, table, key, text)
    unit = Unit(tmp_path, "boot-b", second=100)
    assert unit.store.days() == unit.store.answers() == []
    unit.close()


ENDLESS = "WITH RECURSIVE c(a, b, crc) AS (SELECT 1, 2, 3 UNION ALL SELECT a + 1, 2, 3 FROM c)"
ODD = {
    "days": f"CREATE VIEW days AS {ENDLESS} SELECT a AS date, b AS body, crc FROM c",
    "boots": f"CREATE VIEW boots AS {ENDLESS} SELECT a AS boot, b AS began, crc FROM c",
    "ledger": f"CREATE VIEW ledger AS {ENDLESS} SELECT a AS one, b AS body, crc FROM c WHERE a < 0",
    "": "CREATE TRIGGER t AFTER INSERT ON outbox BEGIN DELETE FROM outbox; END",
    "answers": "CREATE VIEW answers AS SELECT 1 AS '\x1b[31m'",
}


@pytest.mark.parametrize("table", ODD)
def test_what_is_no_table_is_damage_and_is_never_asked(
    tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    stored(tmp_path, 3)
    if table:
        sql(tmp_path, f"DROP TABLE {table}")
    sql(tmp_path, ODD[table])
    unit = Unit(tmp_path, "boot-b", second=100)
    assert "no table" in caplog.text
    assert len(set_aside(tmp_path)) == 1
    assert unit.opened.totals == {"n": 3}, "of the second place"
    unit.append()
    assert len(unit.waiting()) == 1
    unit.close()


def test_what_the_file_says_of_itself_goes_into_no_log_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored(tmp_path)
    sql(tmp_path, 'CREATE TABLE "a\x1b[31m" (b)')
    sql(tmp_path, "DROP TABLE days")
    sql(tmp_path, 'ALTER TABLE "a\x1b[31m" RENAME TO "days"')
    sql(tmp_path, 'ALTER TABLE days RENAME b TO "\x1b[31m"')
    sql(tmp_path, 'CREATE VIEW "\x1b[31m" AS SELECT 1')
    Unit(tmp_path, "boot-b", second=100).close()
    assert "no table" in caplog.text
    assert "\x1b" not in caplog.text


def odd_file(directory: Path) -> None:
    """A file with an unforeseen fault: SQLite's own column does not hold a number."""
    sql(directory, "DROP TABLE outbox")
    sql(directory, "CREATE TABLE outbox (id, kind, boot, uptime_s, stamped, body, crc)")
    sql(directory, "INSERT INTO outbox VALUES ('x', 1, 2, 3, 4, 5, 6)")


@pytest.mark.parametrize("spoil", [odd_file])
def test_a_file_of_another_make_is_damage(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    stored(tmp_path)
    spoil(tmp_path)
    unit = Unit(tmp_path, "boot-b", second=100)
    assert len(set_aside(tmp_path)) == 1
    assert unit.append()
    unit.close()


# The totals


@pytest.mark.parametrize(
    "saved",
    [
        {"day": {"date": "9999-12-31"}},
        {"day": {"date": "0001-01-01"}},
        {"since": "9999-12-31T23:59:59+00:00"},
        {"saved": "9999-12-31T23:59:59+00:00"},
        {"saved": "0001-01-01T00:00:00+23:59", "undated": [[1, 1, 1, 1, 1, 1, 1, 7, 0, 9]]},
        {"since_s": 2.0**53, "since_boot": 1, "source": "mains"},
        {"undated": [[1, 1, 1, 1, 1, 1, 1, 1, 1, 2**53]]},
        {"undated": [[1, 1, 1, 1, 1, 1, 1, 7, 0, 3e8]] * 500},
    ],
)
def test_no_saved_value_stops_a_tent(saved: dict[str, Any]) -> None:
    unit = Tent(config(), saved)
    unit.hear("mains", present=True)
    unit.wait(2)
    assert unit.tent.totals.day.date == "2026-11-22"
    assert unit.snapshot()["power"]["source"] == "mains"
    late = Tent(config(), {})
    late.tent.add(saved)
    late.wait(2)
    assert late.tent.totals.day.date == "2026-11-22"


def test_only_names_are_alerts() -> None:
    totals = Totals.restore({"alerts": ["mains_lost", "\x1b[31m", "A", "", "a" * 41, "a\n"]})
    assert totals.alerts == ["mains_lost"]
    assert Totals.restore({"source": "\x1b[31m"}).source == Totals().source


@pytest.mark.parametrize(
    "line",
    [
        '{"date": "9999-12-31"}',
        '{"date": "2026-11-22", "mains_h": "x"}',
        '{"date": "2026-11-22", "entered": -5}',
        DEEP,
    ],
)
def test_a_line_of_the_log_that_cannot_be_is_none(line: str) -> None:
    unit = Tent(config(), log=[("2026-11-22", line), ("2026-11-23", line)])
    unit.wait(2, mains={"present": True})
    unit.wall = NOON + timedelta(days=1)
    unit.wait(2)
    assert unit.tent.totals.day.date == "2026-11-23"
    assert unit.details("day_closed")[0]["entered"] == 0


class Unforeseen(list[str]):
    def __iter__(self) -> Iterator[str]:
        raise ValueError("nobody has thought of this: \x1b[31m")


def test_what_nobody_has_foreseen_costs_its_own_value(caplog: pytest.LogCaptureFixture) -> None:
    now = Tent(config()).now()
    saved = {"generator_s": 3600.0, "alerts": Unforeseen(["x"]), "generator_starts": 3}
    assert usable_totals(saved, config(), now, boot=1) == {
        "generator_s": 3600.0,
        "generator_starts": 3,
    }
    assert "the totals' 'alerts' cannot be used" in caplog.text
    assert "\x1b" not in caplog.text
    well = Tent(config()).tent.totals.as_dict()
    assert usable_totals(well, config(), now, boot=1) is well
    assert usable_totals(None, config(), now, boot=1) is None
