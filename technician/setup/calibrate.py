"""`tentwatch calibrate`: zero and span of a current sensor, the door's direction, the battery; and undo.

Each shows the old and the new values, asks, writes the configuration and restarts the service.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from publisher.config.load import Config, parse
from publisher.control import ControlError, NotRunning
from publisher.rules import calibration
from publisher.rules.totals import Totals
from publisher.rules.zero import zeros_of
from publisher.status import Status
from publisher.store.at_rest import AtRest
from publisher.store.troubles import Unreadable
from sensors import registry
from sensors.clock import Monotonic
from sensors.hardware import Hardware
from sensors.reading import Quality
from sensors.traits import ShuntChip
from technician import client
from technician.arguments import add_config, add_state_dir, amperes
from technician.service import NAME, Service
from technician.setup import config_file
from technician.terminal import (
    DEFAULT_CONFIG,
    DONE,
    FAILED,
    USAGE,
    complain,
    prose,
    say,
)
from technician.words import _, in_words, translated
from technician.words.printable import printable

#: Time between two requests for the newest readings, or for somebody in the door.
ASK_S = 0.25
#: Time that readings may take beyond their period, and time to walk in.
PATIENCE_S, WALK_S = 15.0, 90.0
#: How long to wait for a second passage, which would spoil the trial.
ALONE_S = 2.0
#: Time within which a restarted service answers.
RESTART_S = 30.0


class CannotCalibrate(Exception):
    """The calibration is not possible like this; the message says what to do."""


def restart_service(config: Path) -> bool:
    """Restart the service with its configuration; return False if somebody has to do that."""

    service = Service(Path("/"))
    return config == DEFAULT_CONFIG and service.is_installed() and not service.restart()


@dataclass
class Bench:
    """What a calibration works on; tests provide simulated hardware and their own restart."""

    config: Path
    state_dir: Path
    is_agreed: bool = False
    hardware: Hardware = field(default_factory=Hardware)
    restart: Callable[[Path], bool] = restart_service


@dataclass(frozen=True)
class Measured:
    """Readings of a sensor and its present zero, in amperes."""

    uncorrected_a: list[float]
    zero_a: float


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    kinds = parser.add_subparsers(dest="what", required=True, metavar=_("what"))

    def kind(name: str, text: str) -> argparse.ArgumentParser:
        added = kinds.add_parser(name, help=text, description=text)
        add_config(added)
        add_state_dir(added)
        added.add_argument("--yes", action="store_true", help=_("write it without asking"))
        return added

    zero = kind("zero", _("Write what a current sensor reads now, without a current, as its zero."))
    zero.add_argument("sensor", help=_("the sensor, such as generator or battery"))
    span = kind("span", _("Compare a current sensor with a clamp meter."))
    span.add_argument("sensor", help=_("the sensor, such as generator or battery"))
    span.add_argument("--clamp-a", type=amperes, required=True, metavar="A",
                      help=_("what the clamp meter shows at this moment, in amperes"))  # fmt: skip
    span.add_argument("--reverse", action="store_true", help=_("change the sign if it differs"))
    span.add_argument("--force", action="store_true", help=_("accept any deviation"))
    kind("door", _("Find out by walking in which beam is the outer one."))
    battery = kind("battery", _("Set the battery's kind and capacity."))
    battery.add_argument("--capacity-ah", type=amperes, metavar="AH", help=_("as on its nameplate"))
    battery.add_argument("--chemistry", choices=("lifepo4", "lead_acid"), help=_("its kind"))
    kind("undo", _("Put the previous configuration back."))


def run(options: argparse.Namespace) -> int:
    """Calibrate what the command line names."""
    return calibrate(options, Bench(options.config, options.state_dir, options.yes))


def calibrate(options: argparse.Namespace, bench: Bench) -> int:
    """Calibrate; return the exit code. Raises ConfigError, Trouble and OSError."""
    try:
        return {
            "zero": _zero, "span": _span, "door": _door, "battery": _battery, "undo": _undo,
        }[options.what](options, bench)  # fmt: skip
    except calibration.UnfitReadings as error:
        complain(f"{options.sensor}: {translated(error)}")
    except PermissionError as error:
        complain(_("{file} may not be written: use sudo").format(file=error.filename))
    except CannotCalibrate as error:
        complain(error)
    return FAILED


# A current sensor


def _zero(options: argparse.Namespace, bench: Bench) -> int:
    name = options.sensor
    config = _read(bench)
    settings = _shunt(config, name)
    prose(_("No current may flow through the shunt of {sensor} now.").format(sensor=name))
    measured = _measure(config, name, bench)
    chip = _chip(config, name)
    zero_a = calibration.zero(measured.uncorrected_a, settings.shunt_ohms, chip)
    step_a = calibration.resolution_a(settings.shunt_ohms, chip)
    text = _("It reads {a:.3f} A (one step of the chip is {step_a:.3f} A); that is its zero.")
    prose(text.format(a=zero_a, step_a=step_a))
    if zero_a == settings.zero_a:
        if _is_running(bench):
            # An earlier zero of `tentwatch zero` holds for as long as the section does not change.
            client.zero(bench.state_dir, name)
        prose(_("The configuration has this already: nothing is changed."))
        return DONE
    return _change(bench, f"sensors.{name}", {"zero_a": zero_a})


def _span(options: argparse.Namespace, bench: Bench) -> int:
    name = options.sensor
    config = _read(bench)
    settings = _shunt(config, name)
    measured = _measure(config, name, bench)
    found = calibration.span(
        measured.uncorrected_a,
        options.clamp_a,
        _chip(config, name),
        shunt_ohms=settings.shunt_ohms,
        max_current_a=settings.max_current_a,
        zero_a=measured.zero_a,
        force=options.force,
    )
    text = _("{sensor} reads {a:.3f} A, the clamp meter {clamp_a:g} A: the factor is {factor:.4f}.")
    prose(
        text.format(sensor=name, a=found.measured_a, clamp_a=options.clamp_a, factor=found.factor)
    )
    text = _(
        "The chip's steps make this uncertain by {pct:.1f} %; a larger current makes it more exact."
    )
    prose(text.format(pct=found.error_pct))
    keys: dict[str, Any] = {"shunt_ohms": found.shunt_ohms}
    if found.turned:
        prose(_("The signs differ: the shunt is wired the other way round."))
        if not options.reverse and (
            bench.is_agreed or not _agreed(_("Change the sign as well (reversed)?"))
        ):
            text = _("nothing was changed: give --clamp-a the sensor's sign, or add --reverse")
            raise CannotCalibrate(text)
        keys["reversed"] = not settings.reversed
    if found.zero_a != settings.zero_a:
        # A zero of `tentwatch zero` is gone when the section changes: write it down here.
        keys["zero_a"] = found.zero_a
    return _change(bench, f"sensors.{name}", keys)


def _shunt(config: Config, name: str) -> Any:
    for sensor in config.sensors:
        if sensor.name == name and sensor.traits.on_shunt:
            return sensor.config
    fitting = ", ".join(s.name for s in config.sensors if s.traits.on_shunt)
    text = _("{sensor} is no current sensor on a shunt; this unit has: {names}")
    raise CannotCalibrate(text.format(sensor=name, names=fitting or "–"))


def _chip(config: Config, name: str) -> ShuntChip:
    sensor = config.sensor(name)
    assert sensor is not None and sensor.traits.shunt_chip is not None, "checked by _shunt"
    return sensor.traits.shunt_chip


def _measure(config: Config, name: str, bench: Bench) -> Measured:
    """Take readings from the running unit, or from the device if none runs."""
    text = _("Taking {n} readings of {sensor} …")
    prose(text.format(n=calibration.READINGS, sensor=name))
    if _is_running(bench):
        return _ask_readings(config, name, bench)
    prose(_("The service does not run: the device itself is read."))
    settings = _shunt(config, name)
    zero_a = settings.zero_a
    with suppress(Unreadable), closing(AtRest(bench.state_dir)) as store:
        totals = Totals.restore(store.ledger.totals or {})
        zero_a = zeros_of(totals, {name: settings}).get(name, zero_a)
    return Measured(_read_device(config, name, bench.hardware), zero_a)


def _ask_readings(config: Config, name: str, bench: Bench) -> Measured:
    settings = _shunt(config, name)
    found: list[float] = []
    zero_a, reads = settings.zero_a, None
    limit_s = time.monotonic() + calibration.READINGS * settings.period_s + PATIENCE_S
    for status in _statuses(bench):
        if status["config"] != config.digest:
            text = _(
                "the service runs with another configuration than {file}: restart it first ({how})"
            )
            raise CannotCalibrate(
                text.format(file=bench.config, how=f"sudo systemctl restart {NAME}")
            )
        sensor = next((s for s in status["sensors"] if s["name"] == name), None)
        if sensor is None or time.monotonic() > limit_s:
            text = _("{sensor} has given too few good readings: {why}")
            raise CannotCalibrate(text.format(sensor=name, why=_error(status, name) or "–"))
        values = sensor["values"]
        uncorrected_a, current_a = values.get("uncorrected_a"), values.get("current_a")
        if sensor["quality"] != Quality.OK.value or uncorrected_a is None:
            found.clear()
        elif sensor["reads"] != reads:
            reads = sensor["reads"]
            found.append(float(uncorrected_a))
            if current_a:  # outside the dead band
                zero_a = round(uncorrected_a - current_a, 4)
        if len(found) == calibration.READINGS:
            break
    return Measured(found, zero_a)


def _read_device(config: Config, name: str, hardware: Hardware) -> list[float]:
    """Read the device itself. Raises SensorError."""
    sensor = next(s for s in config.sensors if s.name == name)
    clock, waiting = Monotonic(), threading.Event()
    driver = registry.build(sensor.driver, sensor.config, hardware, clock)
    found: list[float] = []
    limit_s = clock.now_s() + calibration.READINGS * driver.period_s + PATIENCE_S
    try:
        driver.open()
        while len(found) < calibration.READINGS:
            if clock.now_s() > limit_s:
                text = _("{sensor} has given too few good readings: {why}")
                raise CannotCalibrate(text.format(sensor=name, why="–"))
            waiting.wait(driver.period_s)
            for measured in driver.read():
                if measured.trouble is not None:
                    raise measured.trouble
                if measured.quantity == "uncorrected_a" and measured.value is not None:
                    found.append(float(measured.value))
    finally:
        driver.close()
    return found


def _error(status: Status, name: str) -> str | None:
    """Return what is wrong with a sensor, in the terminal's language."""
    for sensor in status["sensors"]:
        if sensor["name"] == name and sensor["error"]:
            return printable(in_words(sensor.get("trouble"), sensor["error"]))
    return None


# The door


def _door(options: argparse.Namespace, bench: Bench) -> int:
    config = _read(bench)
    door = config.sensor("door")
    if door is None or not door.traits.tells_way:
        raise CannotCalibrate(
            _("this unit has no door with two beams: there is no direction to swap")
        )
    is_right = _walk_in(bench)
    if is_right:
        prose(_("It counted as coming in: the beams are the right way round. Nothing is changed."))
    else:
        prose(
            _("It counted as going out: outer and inner beam are exchanged in the configuration.")
        )
        keys = {"outer_gpio": door.config.inner_gpio, "inner_gpio": door.config.outer_gpio}
        done = _change(bench, "sensors.door", keys)
        if done != DONE:
            return done
        if _runs_with(bench):
            prose(_("Once more, to be sure:"))
            if not _walk_in(bench):
                text = _("it counts as going out again: check the beams and their cables")
                raise CannotCalibrate(text)
            prose(_("It counted as coming in: the beams are the right way round now."))
    prose(
        _(
            "Each trial was counted like any visitor, and totals are never corrected. Say how many "
            "people are inside: sudo tentwatch headcount N"
        )
    )
    return DONE


def _walk_in(bench: Bench) -> bool:
    """Wait for one person; return whether that counted as coming in."""
    limit_s = time.monotonic() + WALK_S
    before: tuple[int, int] | None = None
    alone_s: float | None = None
    for status in _statuses(bench):
        capacity = status.get("capacity")
        quality = None if capacity is None else capacity["quality"]
        if capacity is None or quality in ("fault", "stale"):
            text = _("the door cannot be counted: {why}")
            raise CannotCalibrate(text.format(why=_error(status, "door") or quality))
        now = capacity["entered_total"] or 0, capacity["left_total"] or 0
        if before is None:
            before = now
            prose(_("Walk in through the door now: once, alone, from outside. (Ctrl-C ends.)"))
        came, went = now[0] - before[0], now[1] - before[1]
        if came + went > 1:
            text = _("{n} people have passed: try again when nobody else is in the door")
            raise CannotCalibrate(text.format(n=came + went))
        now_s = time.monotonic()
        if came + went == 1 and alone_s is None:
            alone_s = now_s + ALONE_S
        if alone_s is not None and now_s >= alone_s:
            return bool(came)
        if alone_s is None and now_s > limit_s:
            break
    raise CannotCalibrate(_("nobody was counted: check the beams with tentwatch status"))


# The battery


def _battery(options: argparse.Namespace, bench: Bench) -> int:
    keys = {
        key: value
        for key in ("capacity_ah", "chemistry")
        if (value := getattr(options, key)) is not None
    }
    if not keys:
        complain(_("give --capacity-ah or --chemistry, or both"))
        return USAGE
    config = _read(bench)
    if any(s.name == "battery" and not s.traits.on_shunt for s in config.sensors):
        prose(_("This battery's own monitor tells its charge: set its capacity there as well."))
    learned_ah = _learned_ah(bench)
    if learned_ah is not None:
        text = _("The unit has learned {ah:.1f} Ah so far; with another battery it begins again.")
        prose(text.format(ah=learned_ah))
    return _change(bench, "battery", keys)


def _learned_ah(bench: Bench) -> float | None:
    """Return the learned capacity in ampere-hours; None if there is none."""
    with suppress(Unreadable, ControlError):
        if _is_running(bench):
            battery = client.status(bench.state_dir)["power"].get("battery")
            return None if battery is None else battery["capacity_ah"]
        with closing(AtRest(bench.state_dir)) as store:
            return Totals.restore(store.ledger.totals or {}).charge.capacity_ah
    return None


# The configuration


def _undo(options: argparse.Namespace, bench: Bench) -> int:
    kept = config_file.previous(bench.config.resolve())
    if not kept:
        raise CannotCalibrate(
            _("there is no previous configuration of {file}").format(file=bench.config)
        )
    text = kept[-1].read_text(encoding="utf-8-sig")
    parse(text, str(kept[-1]))
    title = _("The previous configuration, {file}, replaces the present one:")
    prose(title.format(file=kept[-1].name))
    # Undo is often wanted just because the present file is missing or spoilt.
    try:
        _show(bench.config.read_text(encoding="utf-8-sig"), text)
    except (FileNotFoundError, ValueError, RecursionError):
        prose(_("The present file is no configuration: all of it is replaced."))
    if not (bench.is_agreed or _agreed(_("Put it back?"))):
        raise CannotCalibrate(_("nothing was changed"))
    config_file.undo(bench.config)
    _apply(bench)
    return DONE


def _read(bench: Bench) -> Config:
    """Return the configuration in the file. Raises ConfigError."""
    return parse(config_file.document(bench.config).as_string(), str(bench.config))


def _change(bench: Bench, section: str, keys: dict[str, Any]) -> int:
    """Show the changes, ask, and write them."""
    document = config_file.document(bench.config)
    before = document.as_string()
    after = config_file.with_keys(document, section, keys)
    if not config_file.changes(before, after):
        prose(_("The configuration has this already: nothing is changed."))
        return DONE
    parse(after, str(bench.config))  # raises before anybody is asked
    _show(before, after)
    if not (bench.is_agreed or _agreed(_("Write it?"))):
        raise CannotCalibrate(_("nothing was changed"))
    old = config_file.write(bench.config, after)
    text = _(
        "Written to {file}; the previous one is {old}. To take it back: tentwatch calibrate undo"
    )
    prose(text.format(file=bench.config, old=old.name if old else "–"))
    _apply(bench)
    return DONE


def _show(before: str, after: str) -> None:
    for key, old, new in config_file.changes(before, after):
        shown = (_("not set") if value is None else printable(str(value)) for value in (old, new))
        say("  {}: {} → {}".format(key, *shown))


def _agreed(question: str) -> bool:
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes", "т", "так")


def _apply(bench: Bench) -> None:
    if bench.restart(bench.config):
        prose(_("The service has been restarted with it."))
    else:
        text = _("It takes effect when the service is restarted: {how}")
        prose(text.format(how=f"sudo systemctl restart {NAME}"))


def _runs_with(bench: Bench) -> bool:
    """Return whether the unit runs with the file's configuration, after the time of a restart."""
    digest = _read(bench).digest
    limit_s, waiting = time.monotonic() + RESTART_S, threading.Event()
    answered = False
    while time.monotonic() < limit_s:
        with suppress(ControlError):
            status = client.status(bench.state_dir)
            if status["config"] == digest:
                if "capacity" in status and status["capacity"]["quality"] in ("ok", "estimated"):
                    return True
            elif not answered:
                return False  # nobody has restarted it
            answered = True
        waiting.wait(ASK_S)
    return False


# The unit


def _is_running(bench: Bench) -> bool:
    try:
        client.status(bench.state_dir)
    except NotRunning:
        return False
    return True


def _statuses(bench: Bench) -> Iterator[Status]:
    """Yield the running unit's status several times a second. Raises ControlError."""
    waiting = threading.Event()
    while True:
        yield client.status(bench.state_dir)
        waiting.wait(ASK_S)
