"""Doctor's checks in their order, made by asking the running unit.

If none runs, doctor opens the devices itself, all at once, and reads the store without changing it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from publisher.clock import Clock
from publisher.config.faults import ConfigError
from publisher.config.load import Config, load
from publisher.control import FORBIDDEN, ControlError, NotRunning
from publisher.status import Status, software
from publisher.store.ledger import SecondPlace
from publisher.unit.state_directory import is_locked
from sensors.hardware import Hardware
from technician import client
from technician.doctor import machine, plausible
from technician.doctor.broker_check import Way, untried
from technician.doctor.findings import Finding, Text, Verdict, failure, not_tried, of_trouble
from technician.doctor.probe import look
from technician.service import Service
from technician.terminal import DONE, FAILED, USAGE
from technician.words import marked

#: Longest wait for checks in another thread. Each has limits of its own; this one is for a check that hangs.
HANGS_S = 9.0
#: Time after which a running unit is asked for its sensors again.
AGAIN_S = 2.5


class Report(NamedTuple):
    """All findings in order, and the installed version."""

    findings: list[Finding]
    software: str
    is_configured: bool

    @property
    def is_well(self) -> bool:
        """Whether no check failed."""
        return self.code == DONE

    @property
    def code(self) -> int:
        """The exit code."""
        if not self.is_configured:
            return USAGE
        return FAILED if any(f.verdict is Verdict.FAIL for f in self.findings) else DONE


def examine(config_file: Path, state_dir: Path, hardware: Hardware, clock: Clock) -> Report:
    """Make every check; leave nothing behind."""
    installed = software()
    config, faults = _configuration(config_file)
    unit = _Unit(state_dir)
    way = _Background(lambda: _way(config, clock, unit))
    status, why = unit.status(), unit.why
    is_free = status is None and why is not None and unit.is_gone()

    def computer() -> Iterator[Finding]:
        yield from machine.computer(state_dir, hardware.root, clock, status)
        yield from machine.store(state_dir, status, may_read=is_free)

    around = _Background(computer)
    service = _Background(
        lambda: machine.service(Service(hardware.root).state(), status, why, installed)
    )
    of_sensors = [*_sensors(config, state_dir, hardware, clock, unit)]
    findings = around.findings() + faults
    if config is not None:
        findings += machine.secrets(config.broker)
    findings += of_sensors
    findings += way.findings() or untried(marked("it takes too long"))
    findings += service.findings()
    return Report(findings, installed, config is not None)


def _way(config: Config | None, clock: Clock, unit: "_Unit") -> list[Finding]:
    if config is None:
        return untried(marked("the configuration cannot be used"))
    return Way(config, clock, unit.now, unit.report, unit.why_silent).walk()


class _Unit:
    """The running unit, asked over its socket."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._first: Status | None = None
        self._lock = threading.Lock()  # the checks of the broker ask in another thread
        #: Why it did not answer, if it did not.
        self.why: ControlError | None = None

    def status(self) -> Status | None:
        """Return its first status; None if there was none."""
        with self._lock:
            if self._first is None and self.why is None:
                self._first = self._ask()
            return self._first

    def is_gone(self) -> bool:
        """Say whether no agent holds devices and store: no lock, and no answer on the socket."""
        return isinstance(self.why, NotRunning) and not is_locked(self._state_dir)

    def why_silent(self) -> tuple[str, str | None] | None:
        """Return why a unit that runs does not answer, and the cure; None if none runs."""
        if self.is_gone():
            return None
        if self.why is not None and self.why.kind == FORBIDDEN:
            return marked("this user may not ask the service"), marked("use sudo")
        return marked("the service has the devices, and does not answer"), None

    def now(self) -> Status | None:
        """Return its status now."""
        return None if self.status() is None else self._ask()

    def report(self) -> bool:
        """Have it publish a snapshot; return whether it agrees."""
        try:
            client.ask(self._state_dir, "report")
        except ControlError as trouble:
            self.why = trouble
            return False
        return True

    def _ask(self) -> Status | None:
        try:
            return client.status(self._state_dir)
        except ControlError as trouble:
            self.why = trouble
            return None


class _Background:
    """Checks in a thread, beside others: all must be done within ten seconds."""

    def __init__(self, make: Callable[[], Iterable[Finding]]) -> None:
        self._make = make
        self._found: list[Finding] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._found = [*self._make()]

    def findings(self) -> list[Finding]:
        """Wait for the checks and return their findings."""
        self._thread.join(HANGS_S)
        return self._found


def _configuration(file: Path) -> tuple[Config | None, list[Finding]]:
    """Read the configuration; return it and its findings, one for each fault."""
    try:
        config = load(file)
        warnings = [of_trouble(f"config.{key}", t.kind, t.values) for key, t in config.warnings]
        return config, [machine.configuration(file), *warnings]
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
) -> Iterator[Finding]:
    """Judge each bus and each sensor, from the running unit's status or by opening them."""
    if config is None:
        yield not_tried("sensor", marked("the configuration cannot be used"))
        return
    status = unit.status()
    if status is not None:
        time.sleep(AGAIN_S)  # what fails now and then may fail in this time
        before = {sensor["name"]: sensor["errors"] for sensor in status["sensors"]}
        of_buses, of_sensors = plausible.sensors(config, unit.now() or status, before=before)
    elif (silent := unit.why_silent()) is None:
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
        seen, cure = silent
        for sensor in config.sensors:
            yield not_tried(f"sensor.{sensor.name}", seen, cure)
        return
    failed = {finding.key: finding for finding in reversed(of_buses)}
    for key in dict.fromkeys(plausible.bus_key(sensor) for sensor in config.sensors):
        yield failed.get(key) or Finding(key, Verdict.PASS, Text(marked("works")))
    yield from of_sensors
