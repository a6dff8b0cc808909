"""The visitor log as `tentwatch log` prints it: of the running unit, and of a store at rest."""

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from publisher.clock import boot_id
from publisher.rules.day import Day, line
from publisher.rules.totals import Totals
from publisher.store.at_rest import AtRest, inspect
from publisher.store.file import FILE
from publisher.store.ledger import FILE as LEDGER
from publisher.store.store import Store
from publisher.store.troubles import Unreadable
from technician import cli
from technician.records import visitor_log
from technician.records.source import Log
from technician.terminal import DONE, FAILED, USAGE
from tests.conftest import Unit, wait_for
from tests.test_publisher_clock_days import KYIV
from tests.test_publisher_store import at, sql
from tests.test_technician_cli import MINIMAL

Print = Callable[..., str]


def day(date: str, **counted: Any) -> dict[str, Any]:
    both_ways, mains = counted.pop("both_ways", True), counted.pop("mains", True)
    return line(Day(date=date, **counted), KYIV, both_ways=both_ways, mains=mains)


def older(found: dict[str, Any]) -> dict[str, Any]:
    """Return a line of an older version, which counted no outages."""
    return {key: value for key, value in found.items() if key != "outages"}


FIRST = day("2026-11-20", entered=10, left=9, peak=8, mains_s=36_000.0, outages=2)
SECOND = day("2026-11-21", entered=5, left=6, peak=20, battery_s=3600.0, outages=1)
TODAY = day("2026-11-22", entered=1, left=0, peak=3, estimated=True)


def log(*days: dict[str, Any], **more: Any) -> Log:
    return Log("t", "Bucha", "Europe/Kyiv", list(days), **more)


def test_the_table_fits_a_terminal_and_ends_with_the_sums() -> None:
    undated = day("", entered=2, left=1, peak=4)
    printed = list(visitor_log.table(log(FIRST, SECOND, today=TODAY, undated=undated)))
    assert max(map(len, printed)) <= 80
    assert printed[0] == "Bucha (t)"
    rows = [row.split() for row in printed]
    assert ["2026-11-20", "10", "9", "8", "10.0", "0.0", "0.0", "2"] in rows
    assert ["~2026-11-22", "1", "0", "3", "0.0", "0.0", "0.0", "0", "so", "far"] in rows
    assert ["no", "date", "2", "1", "4", "0.0", "0.0", "0.0", "0"] in rows
    assert ["in", "all", "18", "16", "20", "10.0", "0.0", "1.0", "3"] in rows
    assert printed[-2].startswith("~ some of it may belong to another day")
    assert printed[-1].startswith("no date: counted while the clock was not set")


def test_crowds_that_no_tent_holds_still_fit() -> None:
    crowd = {"entered": 12_345, "left": 12_345, "peak": 12_345, "passed": 12_345}
    wide = dict.fromkeys(("mains_s", "generator_s", "battery_s"), 24 * 3600.0)
    mixed = log(day("2026-11-20", **crowd, **wide), today=day("2026-11-21", both_ways=False))
    assert max(len(row) for row in visitor_log.table(mixed)) <= 80
    measured = {"inside_min_c": -25.4, "co_max_ppm": 512.0}
    mixed = log(
        day("2026-11-20", **crowd, **wide), today=day("2026-11-21", both_ways=False, **measured)
    )
    assert max(len(row) for row in visitor_log.table(mixed)) <= 80


def test_the_lowest_temperature_and_the_highest_carbon_monoxide_are_shown_where_measured() -> None:
    cold = day("2026-11-21", entered=1, inside_min_c=-0.4, co_max_ppm=12.6, estimated=True)
    found = log(FIRST, cold, today=day("2026-11-22", inside_min_c=-20.2, co_max_ppm=3.0))
    printed = list(visitor_log.table(found))
    rows = [row.split() for row in printed]
    assert max(map(len, printed)) <= 80
    assert printed[1].split()[-2:] == ["min", "CO"]
    assert printed[2].split()[-2:] == ["°C", "ppm"]
    assert rows[3][-2:] == ["–", "–"]
    assert rows[4][-2:] == ["0", "13"]
    assert rows[5][-4:] == ["-20", "3", "so", "far"]
    assert rows[6][-2:] == ["-20", "13"]
    total = json.loads(visitor_log.as_json(found))["sum"]
    assert (total["inside_min_c"], total["co_max_ppm"]) == (-20.2, 12.6)
    line = list(csv.DictReader(io.StringIO(visitor_log.as_csv(found))))[1]
    assert (line["inside_min_c"], line["co_max_ppm"]) == ("-0.4", "12.6")
    assert not {"°C", "ppm"} & set(list(visitor_log.table(log(FIRST)))[2].split())


def test_one_beam_shows_who_passed_and_no_more() -> None:
    one = log(day("2026-11-20", passed=12, both_ways=False, mains=False))
    printed = list(visitor_log.table(one))
    assert printed[3].split() == ["2026-11-20", "12", "0.0", "0.0", "0.0", "–"]
    assert "inside" not in " ".join(printed)


def test_what_an_older_version_did_not_count_is_unknown_and_so_is_its_sum() -> None:
    found = log(older(FIRST), SECOND)
    printed = [row.split() for row in visitor_log.table(found)]
    assert printed[3][-1] == "–"
    assert printed[4][-1] == "1"
    assert printed[5][-1] == "–"
    document = json.loads(visitor_log.as_json(found))
    assert [entry["outages"] for entry in document["days"]] == [None, 1]
    assert document["sum"]["outages"] is None
    assert document["sum"]["entered"] == 15


def test_an_empty_log_says_so() -> None:
    assert list(visitor_log.table(log()))[1:] == ["The visitor log has no day yet."]
    assert json.loads(visitor_log.as_json(log()))["sum"]["entered"] is None
    assert visitor_log.as_csv(log()).count("\n") == 1


def test_the_csv_has_a_header_and_leaves_empty_what_is_not_known() -> None:
    text = visitor_log.as_csv(log(older(FIRST), today=TODAY, undated=day("", entered=2)))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(visitor_log.COLUMNS)
    assert [row["date"] for row in rows] == ["2026-11-20", "2026-11-22", ""]
    assert [row["outages"] for row in rows] == ["", "0", "0"]
    assert [row["estimated"] for row in rows] == ["false", "true", "false"]
    assert [row["open"] for row in rows] == ["false", "true", "true"]
    assert rows[0]["mains_h"] == "10.0"


@pytest.mark.parametrize(
    ("text", "good"),
    [("2026-11-01", True), ("7d", True), ("0d", True), ("99999d", True), ("", False),
     ("2026-02-30", False), ("20261101", False), ("7", False), ("-7d", False), ("d", False)],
)  # fmt: skip
def test_since_is_a_date_or_days(text: str, good: bool) -> None:
    assert visitor_log.is_since(text) is good


# A store at rest


@pytest.fixture
def show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Print:
    """Runs `tentwatch log` on a state directory; gives its output, checks its exit code."""
    config = tmp_path / "tentwatch.toml"
    door = '[sensors.door]\ndriver = "beams"\nouter_gpio = 5\ninner_gpio = 6\n'
    mains = '[sensors.mains]\ndriver = "contact"\ngpio = 17\n'
    config.write_text(MINIMAL.format(port=1, more=door + mains))

    def run(state_dir: Path, *options: str, expected: int = DONE) -> str:
        capsys.readouterr()
        done = cli.main(["log", "--state-dir", str(state_dir), "--config", str(config), *options])
        said = capsys.readouterr()
        assert done == expected, said
        return said.out if expected == DONE else said.err

    return run


def stored(directory: Path, *days: dict[str, Any], closed: bool = False) -> Path:
    """Leave a store with days and an open day, as a power cut or a stop leaves it."""
    store = Store(directory / "running", 100_000, 1 << 30)
    store.open(boot_id(), at())
    totals = Totals()
    totals.day = Day(date="2026-11-22", entered=4, left=1, peak=3, outages=1)
    lines = [(found["date"], json.dumps({**found, "told": True})) for found in days]
    store.append(lambda boot, seq: [("event", "{}")], totals.as_dict(), at(1), days=lines)
    if closed:
        store.close(at(2), totals.as_dict())
    return shutil.copytree(directory / "running", directory / "cut")


def state_of(directory: Path) -> dict[str, tuple[str, int]]:
    return {
        file.name: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in directory.iterdir()
    }


@pytest.mark.parametrize("closed", [False, True])
def test_a_store_at_rest_is_read_and_not_changed(tmp_path: Path, show: Print, closed: bool) -> None:
    directory = stored(tmp_path, FIRST, SECOND, closed=closed)
    assert (directory / f"{FILE}-wal").exists() is not closed
    before = state_of(directory)
    document = json.loads(show(directory, "--json"))
    assert [entry["date"] for entry in document["days"]] == [
        "2026-11-20", "2026-11-21", "2026-11-22",
    ]  # fmt: skip
    assert [entry["open"] for entry in document["days"]] == [False, False, True]
    assert document["days"][2]["outages"] == 1
    assert document["sum"]["entered"] == 19
    assert document["id"] == "UA-32-0417"
    assert [row.split()[0] for row in show(directory).splitlines()[3:5]] == [
        "2026-11-20", "2026-11-21",
    ]  # fmt: skip
    assert state_of(directory) == before


def test_since_leaves_out_what_is_before(tmp_path: Path, show: Print) -> None:
    directory = stored(tmp_path, FIRST, SECOND)
    for since, dates in (
        ("2d", ["2026-11-21", "2026-11-22"]),
        ("2026-11-22", ["2026-11-22"]),
        ("2027-01-01", []),
        ("9999d", ["2026-11-20", "2026-11-21", "2026-11-22"]),
    ):
        document = json.loads(show(directory, "--json", "--since", since))
        assert [entry["date"] for entry in document["days"]] == dates
    assert "7d" in show(directory, "--since", "yesterday", expected=USAGE)


def test_a_newer_ledger_in_the_second_place_counts(tmp_path: Path, show: Print) -> None:
    directory = stored(tmp_path, FIRST, closed=True)
    [(body,)] = sql(directory, "SELECT body FROM ledger")
    (directory / FILE).unlink()
    older_one = Store(tmp_path / "older", 1000, 1 << 20)
    older_one.open("x", at())
    older_one.close(at(1), {})
    shutil.copy(tmp_path / "older" / FILE, directory / FILE)
    assert json.loads(body)["totals"]["day"]["entered"] == 4
    document = json.loads(show(directory, "--json"))
    assert [entry["entered"] for entry in document["days"]] == [4]


@pytest.mark.parametrize("damage", ["no file", "no database", "a later version"])
def test_a_store_that_cannot_be_read_says_what_to_do(
    tmp_path: Path, show: Print, damage: str
) -> None:
    directory = stored(tmp_path, FIRST, closed=True)
    if damage == "no file":
        (directory / FILE).unlink()
    elif damage == "no database":
        (directory / FILE).write_bytes(b"nothing" * 1000)
    else:
        sql(directory, "DROP TABLE days")
        (directory / LEDGER).unlink()
    said = show(directory, expected=FAILED)
    assert ("has not run yet" if damage == "no file" else "start tentwatch") in said
    assert "Traceback" not in said


def test_a_store_that_was_never_written_has_no_days(tmp_path: Path) -> None:
    Store(tmp_path, 1000, 1 << 20).open("x", at())
    shutil.copytree(tmp_path, tmp_path / "copy")
    store = AtRest(tmp_path / "copy")
    assert store.days() == []
    assert list(store.rows()) == []
    assert store.boot == 0
    store.close()
    with pytest.raises(Unreadable):
        AtRest(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal"])
def test_a_pipe_in_the_place_of_the_store_is_not_waited_for(tmp_path: Path, name: str) -> None:
    Store(tmp_path, 1000, 1 << 20).open("x", at())
    shutil.copytree(tmp_path, tmp_path / "copy")
    path = tmp_path / "copy" / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(Unreadable, match="it is no file"):
        AtRest(tmp_path / "copy")
    assert "it is no file" in str(inspect(tmp_path / "copy", 5.0))


# A running unit


def test_the_running_unit_tells_today_and_keeps_what_it_told(
    make_unit: Callable[..., Unit], closed_port: int, show: Print, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("publisher.commanding.LOG_DAYS", 2)
    unit = make_unit(closed_port)
    store = Store(unit.state_dir, 1000, 1 << 20)
    now = unit.clock.now()
    store.open(boot_id(), now)
    days = [day(f"2026-01-{number:02}", entered=number) for number in range(1, 8)]
    lines = [(found["date"], json.dumps({**found, "told": True})) for found in days]
    store.append(lambda boot, seq: [], {}, now, days=lines)
    store.close(now, {})

    unit.start()
    wait_for(lambda: unit.status()["power"]["source"] == "mains", "mains")
    unit.walk(inward=True)
    wait_for(lambda: unit.status()["capacity"]["entered_today"] == 1, "one person")
    unit.hardware.set_mains(False)
    wait_for(lambda: unit.status()["power"]["source"] != "mains", "an outage")
    document = json.loads(show(unit.state_dir, "--json"))
    cut = shutil.copytree(unit.state_dir, unit.state_dir.parent / "cut", ignore=sockets)
    assert [found["entered"] for found in document["days"]] == [*range(1, 8), 1]
    today = document["days"][-1]
    assert (today["open"], today["peak"], today["outages"]) == (True, 1, 1)
    assert document["name"] == "Demonstration tent"
    unit.stop()
    again = json.loads(show(cut, "--json"))["days"][-1]
    shown = ("date", "entered", "left", "passed", "peak", "outages")
    assert {key: again[key] for key in shown} == {key: today[key] for key in shown}
    assert all(again[key] >= today[key] for key in ("mains_h", "generator_h", "battery_h"))


def sockets(directory: str, names: list[str]) -> list[str]:
    return [name for name in names if not (Path(directory) / name).is_file()]
