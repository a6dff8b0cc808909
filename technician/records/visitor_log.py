"""`tentwatch log`: the visitor log, one line per day, on the screen, as CSV or as JSON."""

import argparse
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

from publisher.config.faults import ConfigError
from publisher.config.load import Config, load
from publisher.control import ControlError
from publisher.rules.day import EXTREMES
from publisher.store.troubles import Unreadable
from technician.arguments import add_config, add_json, add_state_dir
from technician.records.source import NO_DAYS, Log, Source, source
from technician.terminal import DONE, FAILED, USAGE, complain, say
from technician.words import _
from technician.words.printable import printable

#: The columns of the CSV; `open` is true for a day that may still grow.
COLUMNS = (
    "date", "entered", "left", "passed", "peak", "mains_h", "generator_h", "battery_h", "outages",
    "watched_h", *EXTREMES, "estimated", "open",
)  # fmt: skip
ADDED = ("entered", "left", "passed", "mains_h", "generator_h", "battery_h", "outages")
#: The table's columns stand closer where it would not fit.
COLUMNS_OF_SCREEN = 80
_DAYS = re.compile(r"([0-9]{1,5})d")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_state_dir(parser)
    add_config(parser)
    parser.add_argument("--since", metavar="DAY",
                        help=_("from this day on: 2026-11-22, or 7d for the last seven"))  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help=_("print CSV with a header"))
    add_json(form)


def run(options: argparse.Namespace) -> int:
    """Print the visitor log."""
    if options.since is not None and not is_since(options.since):
        complain(_("--since takes a date such as 2026-11-22, or days such as 7d"))
        return USAGE
    try:
        with source(options.state_dir, config_or_none(options.config)) as unit:
            log = since(unit, options.since)
            if not unit.is_running:
                complain(_("the service does not run: this is what it stored last"))
    except (ControlError, Unreadable) as error:
        complain(error)
        return FAILED
    if options.json:
        say(as_json(log))
    elif options.csv:
        say(as_csv(log).rstrip("\n"))
    else:
        for line in table(log):
            say(line)
    return DONE


def config_or_none(path: Path) -> Config | None:
    """Return the configuration; None if it cannot be used, which this command does not report."""
    try:
        return load(path)
    except ConfigError:
        return None


def is_since(text: str) -> bool:
    """Say whether a text is an ISO date, or a number of days such as 7d."""
    if _DAYS.fullmatch(text):
        return True
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def since(unit: Source, text: str | None) -> Log:
    """Return the log from a date on, or of the last days up to the newest one.

    Raises what `source` does.
    """
    begin = text or ""
    if text is not None and (days := _DAYS.fullmatch(text)):
        today = unit.log(NO_DAYS).today  # the machine's own clock may not be set
        begin = ""
        if today is not None:
            newest, back = date.fromisoformat(today["date"]), max(0, int(days[1]) - 1)
            begin = (newest - timedelta(min(back, newest.toordinal() - 1))).isoformat()
    log = unit.log(begin)
    if log.today is not None and log.today["date"] < begin:
        log.today = None
    return log


def lines(log: Log) -> list[dict[str, Any]]:
    """Return all lines, oldest first, each with all COLUMNS; counts without a day have no date."""
    found = [(line, False) for line in log.days]
    found += [(line, True) for line in (log.today, log.undated) if line is not None]
    return [
        {key: line.get(key) for key in COLUMNS} | {"date": line["date"] or None, "open": is_open}
        for line, is_open in found
    ]


def summed(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums over lines, and the largest peak; None if one value is unknown.

    Of the extreme readings it is the most extreme one that is known.
    """
    sums: dict[str, Any] = {}
    for key in (*ADDED, "peak"):
        values = [line[key] for line in found]
        known = bool(values) and None not in values
        total = max(values) if known and key == "peak" else sum(values) if known else None
        sums[key] = round(total, 2) if isinstance(total, float) else total
    for key, most in EXTREMES.items():
        readings = [line[key] for line in found if line[key] is not None]
        sums[key] = reduce(most, readings) if readings else None
    return sums


def as_json(log: Log) -> str:
    """Return one JSON document."""
    found = lines(log)
    document = {
        "id": log.id,
        "name": log.name,
        "timezone": log.timezone,
        "days": found,
        "sum": summed(found),
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def as_csv(log: Log) -> str:
    """Return a header and one line per day; unknown values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for line in lines(log):
        row = {k: str(v).lower() if isinstance(v, bool) else v for k, v in line.items()}
        writer.writerow(row)
    return text.getvalue()


def table(log: Log) -> Iterator[str]:
    """Yield the lines of a table that fits 80 columns, with sums at the end."""
    found = lines(log)
    if log.id:
        yield printable(f"{log.name} ({log.id})" if log.name else log.id)
    if not found:
        yield _("The visitor log has no day yet.")
        return
    heads = {
        "date": _("\ndate"),
        "entered": _("\nin"),
        "left": _("\nout"),
        "passed": _("\npassed"),
        "peak": _("most\ninside"),
        "mains_h": _("mains\nhours"),
        "generator_h": _("gener.\nhours"),
        "battery_h": _("battery\nhours"),
        "outages": _("mains\nlost"),
        "inside_min_c": _("min\n°C"),
        "co_max_ppm": _("CO\nppm"),
    }
    ways = {line["entered"] is not None for line in found}
    left_out = () if len(ways) > 1 else ("passed",) if True in ways else ("entered", "left", "peak")
    measured = {key for key in EXTREMES for line in found if line[key] is not None}
    keys = [
        key for key in heads if key not in left_out and (key not in EXTREMES or key in measured)
    ]
    rows = [_cells(line, keys) for line in found]
    sums = _cells({**summed(found), "date": _("in all"), "estimated": False}, keys)
    head = [heads[key].partition("\n") for key in keys]
    columns = zip(*rows, sums, *zip(*((above, below) for above, _n, below in head), strict=True),
                  strict=True)  # fmt: skip
    widths = [max(map(len, column)) for column in columns]
    so_far = _("so far")
    gap = "  " if sum(widths) + 2 * len(widths) + len(so_far) <= COLUMNS_OF_SCREEN else " "

    def laid_out(cells: Sequence[str], note: str = "") -> str:
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return gap.join([first, *others, note]).rstrip()

    yield laid_out([above for above, _n, below in head])
    yield laid_out([below for above, _n, below in head])
    for line, cells in zip(found, rows, strict=True):
        yield laid_out(cells, so_far if line["open"] and line["date"] else "")
    yield laid_out(sums)
    if any(line["estimated"] and line["date"] for line in found):
        yield _("~ some of it may belong to another day: the clock was not set for a while")
    if log.undated is not None:
        yield _("no date: counted while the clock was not set; dated once the clock is set")


def _cells(line: dict[str, Any], keys: Sequence[str]) -> list[str]:
    return [
        _date(line) if key == "date" else _number(line[key], whole=key in EXTREMES) for key in keys
    ]


def _date(line: dict[str, Any]) -> str:
    if line["date"] is None:
        return _("no date")
    return f"~{line['date']}" if line["estimated"] else str(line["date"])


def _number(value: float | None, *, whole: bool) -> str:
    if value is None:
        return "–"
    if whole:
        return str(round(value))
    return f"{value:.1f}" if isinstance(value, float) else str(value)
