"""`tentwatch doctor`: one line a check, in the order in which one would look, and what to do.

It asks the running unit. Where none runs it opens the devices itself, all at once, and reads the store
without changing it.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

from publisher.clock import Clock
from publisher.config.faults import ConfigError
from publisher.config.load import Config, load
from publisher.control import FORBIDDEN, ControlError, NotRunning
from publisher.unit.state_directory import is_locked
from sensors.hardware import Hardware
from technician import client
from technician.arguments import add_config, add_json, add_state_dir
from technician.doctor import machine, plausible
from technician.doctor.findings import Finding, Text, Verdict, failure, not_tried
from technician.log_lines import to_stderr
from technician.service import Service
from technician.terminal import DONE, FAILED, USAGE, complain, say
from technician.words import _, counted, marked

#: What is done beside has limits of its own; this only gives up a thread that hangs.
PATIENCE_S = 9.0
#: A running unit is asked for its sensors once more after so long.
AGAIN_S = 2.5
#: Columns of a line where it is not known how wide the terminal is.
WIDTH = 100
LEAST_WIDTH = 40

#: Verdicts as the terminal shows them, readable without colour, and their ANSI colours.
SHOWN = {
    Verdict.PASS: (marked("ok"), "32"),
    Verdict.WARNING: (marked("WARN"), "33"),
    Verdict.FAIL: (marked("FAIL"), "31"),
    Verdict.NOT_TRIED: ("–", "2"),
}


class Report(NamedTuple):
    """All findings in order, and the version that is installed."""

    findings: list[Finding]
    software: str
    is_configured: bool

    @property
    def code(self) -> int:
        """The exit code."""
        if not self.is_configured:
            return USAGE
        return FAILED if any(f.verdict is Verdict.FAIL for f in self.findings) else DONE


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_state_dir(parser)
    add_config(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Examine this unit and print what was found."""
    to_stderr(logging.CRITICAL + 1)  # what there is to say its findings tell
    is_shown = sys.stdout.isatty() and not options.json
    if is_shown:
        print(_("Looking, for some ten seconds at most …"), end="\r", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="tentwatch-") as place:
        os.environ.setdefault("LG_WD", place)  # lgpio leaves a pipe in its working directory
        report = examine(options.config, options.state_dir, Hardware(), Clock())
    if options.json:
        document = {
            "ok": report.code == DONE,
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
    if os.geteuid() != 0 and any(f.cure and "sudo" in f.cure.english() for f in report.findings):
        complain(_("without sudo some things cannot be seen: sudo tentwatch doctor"))
    return report.code


def _width() -> int:
    try:
        return max(LEAST_WIDTH, os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):
        return WIDTH


def lines(report: Report, width: int, *, is_coloured: bool) -> Iterator[str]:
    """Return the report line by line: verdict, key, what was seen, and below it the cure."""
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
    # The last lines are what is left on a small screen: they name what to look for above.
    for said, keys in (
        (counted("{n} check failed", "{n} checks failed", len(failed)), failed),
        (counted("{n} warning", "{n} warnings", len(warned)), warned),
    ):
        if keys:
            yield from textwrap.wrap(
                f"{said}: {', '.join(keys)}", width, subsequent_indent=" " * first
            )
    if not failed and not warned:
        yield _("all is well")


def examine(config_file: Path, state_dir: Path, hardware: Hardware, clock: Clock) -> Report:
    """Make every check; nothing of it is left behind."""
    from publisher.agent import software
    from technician.doctor.broker_check import untried

    installed = software()
    config, faults = _configuration(config_file)
    unit = _Unit(state_dir)
    way = _Aside(lambda: _way(config, clock, unit))
    status, why = unit.status(), unit.why
    is_free = status is None and why is not None and unit.is_gone()

    def computer() -> Iterator[Finding]:
        yield from machine.computer(state_dir, hardware.root, clock, status)
        yield from machine.store(state_dir, status, may_read=is_free)

    around = _Aside(computer)
    service = _Aside(
        lambda: machine.service(Service(hardware.root).state(), status, why, installed)
    )
    of_sensors = [*_sensors(config, state_dir, hardware, clock, unit, is_free=is_free)]
    findings = around.findings() + faults
    if config is not None:
        findings += machine.secrets(config.broker)
    findings += of_sensors
    findings += way.findings() or untried(marked("it takes too long"))
    findings += service.findings()
    return Report(findings, installed, config is not None)


def _way(config: Config | None, clock: Clock, unit: "_Unit") -> list[Finding]:
    from technician.doctor.broker_check import Way, untried

    if config is None:
        return untried(marked("the configuration cannot be used"))
    return Way(config, clock, unit.now, unit.report).walk()


class _Unit:
    """The running unit, asked by its socket."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._first: dict[str, Any] | None = None
        self._lock = threading.Lock()  # the way to the broker wants to know as well
        #: Why it did not answer, where it did not.
        self.why: ControlError | None = None

    def status(self) -> dict[str, Any] | None:
        """Return its first answer; None where there was none."""
        with self._lock:
            if self._first is None and self.why is None:
                self._first = self._ask()
            return self._first

    def is_gone(self) -> bool:
        """Say whether no agent has the devices and the store: no lock, no socket that answers."""
        return isinstance(self.why, NotRunning) and not is_locked(self._state_dir)

    def now(self) -> dict[str, Any] | None:
        """Return how it does now."""
        return None if self.status() is None else self._ask()

    def report(self) -> bool:
        """Have it publish a snapshot; return whether it does."""
        try:
            client.ask(self._state_dir, "report")
        except ControlError as trouble:
            self.why = trouble
            return False
        return True

    def _ask(self) -> dict[str, Any] | None:
        try:
            return cast(dict[str, Any], client.status(self._state_dir))
        except ControlError as trouble:
            self.why = trouble
            return None


class _Aside:
    """Checks that are made while others are: all must be done within ten seconds."""

    def __init__(self, make: Callable[[], Iterable[Finding]]) -> None:
        self._make = make
        self._found: list[Finding] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._found = [*self._make()]

    def findings(self) -> list[Finding]:
        """Wait until they are made, and return what was found."""
        self._thread.join(PATIENCE_S)
        return self._found


def _configuration(file: Path) -> tuple[Config | None, list[Finding]]:
    """Read the configuration; return it and what is found of it, a finding a fault."""
    try:
        return load(file), [machine.configuration(file)]
    except ConfigError as error:
        return None, [
            failure(
                f"config.{key}",
                marked("{file}, {wrong}: {fix}"),
                marked(
                    "sudo tentwatch setup asks for everything; by hand: sudo nano {file}, then "
                    "tentwatch check-config"
                ),
                file=file,
                wrong=key,
                fix=trouble,
            )
            for key, trouble in error.faults
        ]


def _sensors(
    config: Config | None,
    state_dir: Path,
    hardware: Hardware,
    clock: Clock,
    unit: _Unit,
    *,
    is_free: bool,
) -> Iterator[Finding]:
    """Judge each bus and each sensor, by the running unit's word or by an own look."""
    if config is None:
        yield not_tried("sensor", marked("the configuration cannot be used"))
        return
    status = unit.status()
    if status is not None:
        time.sleep(AGAIN_S)  # what fails now and then fails meanwhile
        before = {sensor["name"]: sensor["errors"] for sensor in status["sensors"]}
        of_buses, of_sensors = plausible.sensors(config, unit.now() or status, before=before)
    elif is_free:
        from publisher.store.ledger import SecondPlace
        from technician.doctor.probe import look

        ledger = SecondPlace(state_dir).read()
        looked = look(config, hardware, clock, None if ledger is None else ledger.totals)
        of_buses, of_sensors = plausible.sensors(
            config,
            looked.status,
            looked_s=looked.seconds,
            broken=looked.broken,
            answering=looked.answering,
        )
    else:
        seen, cure = marked("the service has the devices, and does not answer"), None
        if unit.why is not None and unit.why.kind == FORBIDDEN:
            seen, cure = marked("this user may not ask the service"), marked("use sudo")
        for sensor in config.sensors:
            yield not_tried(f"sensor.{sensor.name}", seen, cure)
        return
    failed = {finding.key: finding for finding in reversed(of_buses)}
    for key in dict.fromkeys(plausible.bus_key(sensor) for sensor in config.sensors):
        yield failed.get(key) or Finding(key, Verdict.PASS, Text(marked("works")))
    yield from of_sensors
