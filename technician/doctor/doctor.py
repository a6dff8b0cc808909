"""`tentwatch doctor`: one line per check, in the order of a search for a fault, with what to do."""

import argparse
import json
import logging
import os
import sys
import tempfile
import textwrap
from collections.abc import Iterator

from publisher.clock import Clock
from sensors.hardware import Hardware
from technician.arguments import add_config, add_json, add_state_dir
from technician.doctor.examination import Report, examine
from technician.doctor.findings import Verdict
from technician.log_lines import to_stderr
from technician.terminal import complain, say
from technician.words import _, counted, marked

#: Columns if the terminal's width is not known, and the smallest width of lines.
WIDTH = 100
LEAST_WIDTH = 40

#: Verdicts as the terminal shows them, readable without colour, and their ANSI colours.
SHOWN = {
    Verdict.PASS: (marked("ok"), "32"),
    Verdict.WARNING: (marked("WARN"), "33"),
    Verdict.FAIL: (marked("FAIL"), "31"),
    Verdict.NOT_TRIED: ("–", "2"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_state_dir(parser)
    add_config(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Examine this unit and print the findings."""
    to_stderr(logging.CRITICAL + 1)  # the findings say everything
    is_shown = sys.stdout.isatty() and not options.json
    if is_shown:
        print(_("Checking; this takes up to 10 s …"), end="\r", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="tentwatch-") as place:
        os.environ.setdefault("LG_WD", place)  # lgpio leaves a pipe in its working directory
        report = examine(options.config, options.state_dir, Hardware(), Clock())
    if options.json:
        document = {
            "ok": report.is_well,
            "software": report.software,
            "checks": [finding.as_json() for finding in report.findings],
        }
        say(json.dumps(document, ensure_ascii=False, indent=2))
        return report.code
    if is_shown:
        print("\033[K", end="")  # noqa: T201
    is_coloured = is_shown and not os.environ.get("NO_COLOR")
    for line in lines(report, _width(), is_coloured=is_coloured):
        say(line)
    if os.geteuid() != 0 and any(finding.cure for finding in report.findings):
        complain(_("without sudo some things cannot be seen: sudo tentwatch doctor"))
    return report.code


def _width() -> int:
    try:
        return max(LEAST_WIDTH, os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):
        return WIDTH


def lines(report: Report, width: int, *, is_coloured: bool) -> Iterator[str]:
    """Yield the report's lines: verdict, key, what was seen, and below them the cure."""
    words = {verdict: _(word) for verdict, (word, _colour) in SHOWN.items()}
    first = max(map(len, words.values())) + 1
    second = max(len(finding.key) for finding in report.findings) + 1
    indent = " " * (first + second)
    if len(indent) > width // 2:
        indent = " " * first
    for finding in report.findings:
        word = words[finding.verdict].ljust(first)
        head = f"{word}{finding.key.ljust(second)}"
        rows = textwrap.wrap(
            head + finding.seen.here(), width, subsequent_indent=indent, break_on_hyphens=False
        )
        if is_coloured and rows:
            rows[0] = f"\033[{SHOWN[finding.verdict][1]}m{rows[0][:first]}\033[0m{rows[0][first:]}"
        yield from rows
        if finding.cure is not None:
            start = " " * first + "→ "
            yield from textwrap.wrap(
                finding.cure.here(), width, initial_indent=start, subsequent_indent=" " * len(start),
                break_on_hyphens=False, break_long_words=False,
            )  # fmt: skip
    failed = [f.key for f in report.findings if f.verdict is Verdict.FAIL]
    warned = [f.key for f in report.findings if f.verdict is Verdict.WARNING]
    # A small screen shows the last lines only: they name what to look for above.
    for summary, keys in (
        (counted("{n} check failed", "{n} checks failed", len(failed)), failed),
        (counted("{n} warning", "{n} warnings", len(warned)), warned),
    ):
        if keys:
            yield from textwrap.wrap(
                f"{summary}: {', '.join(keys)}", width, subsequent_indent=" " * first
            )
    if not failed and not warned:
        yield _("all is well")
