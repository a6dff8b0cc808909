"""`tentwatch setup`: finds what is connected, asks what it cannot know, writes the configuration."""

import argparse
import contextlib
import os
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from publisher.config.faults import NO_TEXT, NOT_ONE_LINE, UNREADABLE, ConfigError, Fault
from publisher.config.load import parse
from sensors.hardware import Hardware
from sensors.registry import DRIVERS, config_class
from sensors.trouble import Trouble
from technician import secrets
from technician.arguments import add_config
from technician.service import Service
from technician.setup import config_file
from technician.setup.dialogue import Cancelled, Dialogue, shown
from technician.setup.draft import Draft, value_of
from technician.setup.fitting import Fitting
from technician.setup.questions import BATTERY, BROKER, QUESTIONS, TENT, Question, flag, usual
from technician.terminal import DONE, FAILED, USAGE, complain, say
from technician.words import _, translated
from technician.words.printable import printable

#: In place of a driver: the sensor is removed.
NO_DRIVER = "none"
#: The password's file, beside the configuration.
PASSWORD = "password"
_PASSWORD_FLAG = "--password-file"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_config(parser)
    for name, text in (
        ("id", _("the tent's id")), ("name", _("its name for people")), ("seats", _("people it is for")),
        ("latitude", _("degrees north")), ("longitude", _("degrees east")),
        ("region", _("ISO 3166-2 code of its region")), ("timezone", _("IANA name of its zone")),
        ("host", _("the broker")), ("port", _("its TCP port")),
        ("ca-file", _("its certificate authority")), ("username", _("this unit's user there")),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", metavar=name.upper().replace("-", "_"), help=text)
    parser.add_argument("--tls", action=argparse.BooleanOptionalAction, default=None,
                        help=_("encrypt, and check the broker's certificate"))  # fmt: skip
    parser.add_argument(
        "--password-file", metavar="FILE",
        help=_("take the broker's password from a file; - is standard input"),
    )  # fmt: skip
    parser.add_argument("--sensor", type=_sensor, action="append", default=[],
                        metavar="NAME=DRIVER[,KEY=VALUE…]",
                        help=_("fit a sensor, such as door=beams,outer_gpio=23,inner_gpio=24; "
                               "NAME=none takes it out"))  # fmt: skip
    parser.add_argument("--set", type=_assignment, action="append", default=[],
                        metavar="SECTION.KEY=VALUE",
                        help=_("set any other key, such as battery.capacity_ah=100"))  # fmt: skip
    parser.add_argument("--no-search", action="store_true", help=_("do not look for devices"))
    parser.add_argument("--yes", action="store_true",
                        help=_("ask nothing: take flags and defaults"))  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help=_("show, and change nothing"))
    parser.add_argument("--prepared", type=Path, nargs="?", const=False, metavar="FILE",
                        help=_("use the configuration that lies prepared on the boot partition"))  # fmt: skip


def _assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        # The text may be a password.
        raise argparse.ArgumentTypeError(_("= is missing between a key and its value"))
    return key, value


def _sensor(text: str) -> tuple[str, dict[str, str]]:
    name, driver = _assignment(text)
    driver, *keys = driver.split(",")
    return name, {"driver": driver, **dict(map(_assignment, keys))}


def run(options: argparse.Namespace, hardware: Hardware | None = None) -> int:
    """Set the unit up as the command line says; return the exit code."""
    hardware = hardware or Hardware()
    if options.prepared is not None:
        from technician.setup import prepared

        return prepared.run(options.prepared or prepared.find(hardware.root), options.config)
    service = Service(hardware.root)
    setup = _Setup(options, hardware, service)
    try:
        with _ended_by_signals():
            return setup.run()
    except (KeyboardInterrupt, Cancelled):
        say("\n" + _("Ended: nothing was changed."))
        return FAILED
    finally:
        setup.let_the_service_run()


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Treat a closed terminal like Ctrl-C, so that a stopped service is started again."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {n: signal.signal(n, give_up) for n in (signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Setup:
    """One run of setup."""

    def __init__(self, options: argparse.Namespace, hardware: Hardware, service: Service) -> None:
        self._options = options
        self._path: Path = options.config
        self._hardware = hardware
        self._service = service
        self._dialogue = Dialogue(is_asking=not options.yes)
        self._has_stopped = False
        self._secret = ""

    def run(self) -> int:
        """Return the exit code. Raises Cancelled and ConfigError."""
        if (hindrance := self._hindrance()) is not None:
            complain(hindrance)
            return FAILED
        draft = self._begin()
        before = draft.copy()
        given, fitted, faults = self._take_flags(draft)
        if not self._dialogue.is_asking:
            # Name what is missing before searching or stopping anything.
            self._ask(draft, before, given)
            of_secret = [fault for fault in faults if fault[0] == _PASSWORD_FLAG]
            faults = draft.faults() + of_secret
        if faults:
            return self._refuse(faults)
        if self._dialogue.is_asking:
            self._dialogue.tell(
                _("Enter takes the answer in brackets; Ctrl-C ends without a change.")
            )
        fitting = Fitting(draft, self._dialogue, self._hardware, fitted)
        if not self._options.no_search:
            self._take_the_devices()
            fitting.find_devices()
        fitting.find_lines()
        if self._dialogue.is_asking:
            self._ask(draft, before, given)
        while faults := draft.faults():
            again = [
                q for q in (*QUESTIONS, *BATTERY) if any(key in q.keys for key, _why in faults)
            ]
            if not again or not self._dialogue.is_asking:
                return self._refuse(faults)
            for key, trouble in faults:
                self._dialogue.tell(f"{key}: {translated(trouble)}", "  ")
            for question in again:
                self._ask_one(question, draft, before, set())
        say("")
        for line in summary(draft.plain()):
            say(line)
        self._warn(draft)
        if self._options.dry_run:
            self._dialogue.tell(_("Nothing is written."))
            return DONE
        if not self._dialogue.agrees(_("Write this configuration?"), True):
            self._dialogue.tell(_("Nothing was changed."))
            return FAILED
        return self._write(draft)

    def let_the_service_run(self) -> None:
        """Start the service again if it was stopped to free the devices."""
        if self._has_stopped:
            self._has_stopped = False
            if why := self._service.restart():
                complain(_("tentwatch cannot be started: {why}").format(why=why))

    def _hindrance(self) -> str | None:
        """Return why setup cannot begin; print what else will not work."""
        if self._options.dry_run:
            return None
        above = self._path.absolute().parent
        while not os.access(above, os.F_OK):  # missing, or hidden from this user
            above = above.parent
        if not os.access(above, os.W_OK):
            text = _("{folder} cannot be written: use sudo, or --dry-run to look only")
            return text.format(folder=above)
        if os.geteuid() != 0:
            text = _("Without sudo setup can neither stop nor start the service.")
            self._dialogue.tell(text)
        return None

    def _begin(self) -> Draft:
        """Return the present configuration. Raises ConfigError if it cannot be read."""
        try:
            return Draft.of_file(self._path)
        except ConfigError as error:
            if error.faults[0][0] != "syntax":
                raise
            for key, trouble in error.faults:
                self._dialogue.tell(f"{error.where}: {key}: {translated(trouble)}")
            self._dialogue.tell(_("It stays beside the new one, which begins empty."))
            return Draft.empty(self._path)

    def _take_flags(self, draft: Draft) -> tuple[set[str], set[str], list[Fault]]:
        """Apply the command line's flags.

        Returns the keys and the sensors that they settle, and their faults.
        """
        given: set[str] = set()
        fitted: set[str] = set()
        for question in QUESTIONS:
            for key in question.keys:
                value = getattr(self._options, key.rpartition(".")[2])
                if value is None:
                    continue
                given.add(key)
                if isinstance(value, str) and value:
                    draft.enter(key, value)
                else:
                    draft.put(key, value if isinstance(value, bool) else None)
        for name, keys in self._options.sensor:
            section = f"sensors.{name}"
            fitted.add(name)
            if keys["driver"] == NO_DRIVER:
                draft.put(section, None)
                continue
            driver = keys["driver"]
            kind = config_class(driver) if driver in DRIVERS else object
            typed = {k: value_of(kind, k, v) for k, v in keys.items() if k != "driver"}
            draft.put(section, {"driver": driver, **typed})
            given.add(section)
        for key, value in self._options.set:
            given.add(key)
            draft.enter(key, value)
        faults = [
            (key, trouble)
            for key, trouble in draft.faults()
            if any(key == one or key.startswith(f"{one}.") for one in given)
        ]
        if self._options.password_file is not None:
            try:
                self._secret = self._read_secret()
            except UnicodeError:
                faults.append((_PASSWORD_FLAG, Trouble(NO_TEXT)))
            except OSError as error:
                faults.append((_PASSWORD_FLAG, Trouble(UNREADABLE, error=error.strerror)))
            else:
                if len(self._secret.splitlines()) != 1:
                    faults.append((_PASSWORD_FLAG, Trouble(NOT_ONE_LINE)))
        return given, fitted, faults

    def _read_secret(self) -> str:
        """Return the password in --password-file. Raises OSError, and UnicodeError if it is no text."""
        name = self._options.password_file
        text = sys.stdin.readline() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
        text.encode()  # standard input passes on bytes that are no text
        return text.strip()

    def _take_the_devices(self) -> None:
        """Stop the service, which holds the devices. Raises Cancelled."""
        if self._options.dry_run or not self._service.is_active():
            return
        text = _("The service is running and has its devices to itself. Stop it meanwhile?")
        if not self._dialogue.agrees(text, True):
            return
        self._has_stopped = True  # before: Ctrl-C may come while systemctl works
        if why := self._service.stop():
            complain(_("tentwatch cannot be stopped: {why}").format(why=why))

    def _ask(self, draft: Draft, before: Draft, given: set[str]) -> None:
        """Ask for tent, broker and password. Raises Cancelled."""
        for question in TENT:
            self._ask_one(question, draft, before, given)
        for question in BROKER:
            if question.keys == ("broker.ca_file",) and not draft.get("broker.tls"):
                draft.put("broker.ca_file", None)
                continue
            self._ask_one(question, draft, before, given)
        self._ask_secret(draft)

    def _ask_one(self, question: Question, draft: Draft, before: Draft, given: set[str]) -> None:
        if given & set(question.keys):
            return
        defaults = [usual(key, draft, before, self._hardware.root) for key in question.keys]
        self._dialogue.ask_keys(draft, question.keys, _(question.text), defaults)

    def _ask_secret(self, draft: Draft) -> None:
        present = draft.get("broker.password_file")
        if draft.get("broker.username") is None:
            draft.put("broker.password_file", None)
            return
        if not self._secret and self._dialogue.is_asking:
            question = _("Password at the broker (it is not shown)")
            if present is not None:
                question = _(
                    "Password at the broker (it is not shown; Enter keeps the present one)"
                )
            self._secret = self._dialogue.ask_secret(question)
        if self._secret:
            own = self._path.absolute().with_name(PASSWORD)
            if not isinstance(present, str) or secrets.is_credential(Path(present)):
                draft.put("broker.password_file", str(own))

    def _refuse(self, faults: list[Fault]) -> int:
        """Print the faults; without questions each with the flag that sets the key."""
        for key, trouble in faults:
            is_key = key != _PASSWORD_FLAG and not self._dialogue.is_asking
            complain(f"{key}: {translated(trouble)}" + (f" ({flag(key)})" if is_key else ""))
        return USAGE

    def _warn(self, draft: Draft) -> None:
        config = parse(draft.text())
        for key, trouble in config.warnings:
            self._dialogue.tell(f"{key}: {translated(trouble)}")
        if secrets.goes_in_the_clear(config.broker):
            text = _(
                "Anybody who listens in on the network can read the password; TLS prevents that."
            )
            self._dialogue.tell(text)

    def _write(self, draft: Draft) -> int:
        """Write password and configuration, and restart the service."""
        self._path.absolute().parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        ends = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
        before = {n: signal.signal(n, signal.SIG_IGN) for n in ends}  # this takes only a moment
        try:
            if self._secret:
                secrets.keep(Path(draft.get("broker.password_file")), self._secret)
            old = config_file.write(self._path, draft.text())
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self._dialogue.tell(_("Written: {file}").format(file=self._path))
        if old is not None:
            self._dialogue.tell(_("The previous one is kept: {file}").format(file=old))
        self._has_stopped = False
        if not self._service.is_installed():
            self._dialogue.tell(_("Next: start the service, then sudo tentwatch doctor."))
            return DONE
        if why := self._service.restart():
            complain(_("tentwatch cannot be started: {why}").format(why=why))
            return FAILED
        self._dialogue.tell(_("The service runs with it."))
        self._dialogue.tell(_("Next: sudo tentwatch doctor, and sudo tentwatch watch at the door."))
        return DONE


def summary(whole: dict[str, Any]) -> list[str]:
    """Return a configuration for a terminal of 80 columns: one paragraph per section."""
    sections = {name: keys for name, keys in whole.items() if name != "sensors"}
    sections |= whole.get("sensors") or {}
    width = max((len(name) for name in sections), default=0) + 2
    found: list[str] = []
    for name, keys in sections.items():
        text = ", ".join(
            _value(key, value) if key == "driver" else f"{key} {_value(key, value)}"
            for key, value in keys.items()
        )
        found += textwrap.wrap(
            printable(text), 79, initial_indent=f"{name:{width}}", subsequent_indent=" " * width,
            break_on_hyphens=False,
        )  # fmt: skip
    return found


def _value(key: str, value: object) -> str:
    if key == "address" and isinstance(value, int):
        return f"0x{value:02X}"
    return Path(str(value)).name if key == "port" and isinstance(value, str) else shown(value)
