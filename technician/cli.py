"""The command line: `tentwatch <command>`. Exit codes: 0 done, 1 it failed, 2 usage or configuration."""

import argparse
import contextlib
import io
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from sensors.registry import DRIVERS
from sensors.trouble import Trouble
from technician.terminal import (
    DEFAULT_CONFIG,
    DEFAULT_STATE_DIR,
    DONE,
    FAILED,
    USAGE,
    complain,
    complain_of,
    say,
)
from technician.words import _, told
from technician.words.printable import printable

#: So long a faulty configuration is waited with: systemd starts the service again at once, and each
#: start takes some 6 kB of the journal.
FAULTY_S = 20.0

#: Bytes of a capture that are decoded at once: days of any device.
LARGEST_CAPTURE = 64 << 20


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a letter gets another
            stream.reconfigure(errors="replace")
    if sys.stdout is None:  # started with its output closed
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    parser = _parser()
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    command = {
        "run": _run,
        "demo": _demo,
        "status": _status,
        "watch": _watch,
        "doctor": _doctor,
        "headcount": _headcount,
        "report": _report,
        "identify": _identify,
        "zero": _zero,
        "serviced": _serviced,
        "log": _log,
        "export": _export,
        "calibrate": _calibrate,
        "check-config": _check_config,
        "record": _record,
        "decode": _decode,
        "setup": _setup,
    }[options.command]
    try:
        return command(options)
    except KeyboardInterrupt:
        return FAILED
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Trouble as trouble:
        complain(trouble)
        return FAILED
    except OSError as error:
        named = error.filename is not None and error.strerror
        complain(f"{error.filename}: {error.strerror}" if named else str(error))
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tentwatch",
        description=_("Reports a relief tent's capacity and power state over MQTT."),
    )
    commands = parser.add_subparsers(dest="command", metavar=_("command"))

    def command(name: str, text: str, *, state: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        if state:
            state_dir(added)
        return added

    def state_dir(added: argparse.ArgumentParser) -> None:
        default = os.environ.get("STATE_DIRECTORY") or DEFAULT_STATE_DIR
        added.add_argument(
            "--state-dir", type=Path, default=Path(default), metavar="DIR",
            help=_("where counts and unsent messages are kept (default: %(default)s)"),
        )  # fmt: skip

    def config(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE",
            help=_("the configuration (default: %(default)s)"),
        )  # fmt: skip

    config(command("run", _("Run the agent, as the service does.")))

    demo = command("demo", _("Run the agent on simulated devices."), state=False)
    demo.add_argument("--broker", type=_host_port, metavar="HOST:PORT",
                      help=_("use this broker (default: a mosquitto of its own)"))  # fmt: skip
    demo.add_argument("--state-dir", type=Path, metavar="DIR",
                      help=_("keep counts here (default: a temporary directory)"))  # fmt: skip
    demo.add_argument("--seconds", type=_positive, metavar="N", help=_("end after N seconds"))
    demo.add_argument("--speed", type=_speed, default=1.0, metavar="N",
                      help=_("let the simulated time pass N times as fast, 1 to 600"))  # fmt: skip
    demo.add_argument("--seed", type=int, default=1, metavar="N",
                      help=_("another number makes another day"))  # fmt: skip
    demo.add_argument("--truth", type=Path, metavar="FILE",
                      help=_("write what really happens, a JSON object a line"))  # fmt: skip

    status = command("status", _("Show how the running unit does."))
    status.add_argument("--json", action="store_true", help=_("print one JSON document"))
    watch = command("watch", _("Show how the running unit does, live."))
    watch.add_argument("--once", action="store_true", help=_("print it once"))
    doctor = command("doctor", _("Check everything, and say what to do about what is wrong."))
    config(doctor)
    doctor.add_argument("--json", action="store_true", help=_("print one JSON document"))
    headcount = command("headcount", _("Tell the unit how many people are inside now."))
    headcount.add_argument("people", type=int)
    command("report", _("Have the unit publish a snapshot now."))
    identify = command("identify", _("Light the unit's lamp."))
    identify.add_argument("seconds", type=int, nargs="?", default=30)
    zero = command(
        "zero", _("Take what a current sensor reads now, without a current, for its zero.")
    )
    zero.add_argument("sensor", help=_("the sensor, such as generator or battery"))
    command("serviced", _("Tell the unit that the generator has been serviced."))
    log = command(
        "log", _("Print the visitor log: people, hours of power and outages, day by day.")
    )
    config(log)
    log.add_argument("--since", metavar="DAY",
                     help=_("from this day on: 2026-11-22, or 7d for the last seven"))  # fmt: skip
    form = log.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help=_("print CSV with a header"))
    form.add_argument("--json", action="store_true", help=_("print one JSON document"))
    export = command("export", _("Write visitor log, unsent records and a diagnosis onto a stick."))
    config(export)
    export.add_argument("directory", type=Path, metavar="DIR", help=_("where the stick is mounted"))
    calibrate = command("calibrate", _("Calibrate sensors, and write what is found."), state=False)
    kinds = calibrate.add_subparsers(dest="what", required=True, metavar=_("what"))

    def kind(name: str, text: str) -> argparse.ArgumentParser:
        added = kinds.add_parser(name, help=text, description=text)
        config(added)
        state_dir(added)
        added.add_argument("--yes", action="store_true", help=_("write it without asking"))
        return added

    zero = kind("zero", _("What a current sensor reads now, without a current, is its zero."))
    zero.add_argument("sensor", help=_("the sensor, such as generator or battery"))
    span = kind("span", _("Compare a current sensor with a clamp meter."))
    span.add_argument("sensor", help=_("the sensor, such as generator or battery"))
    span.add_argument("--clamp-a", type=_ampere, required=True, metavar="A",
                      help=_("what the clamp meter shows at this moment, in amperes"))  # fmt: skip
    span.add_argument("--reverse", action="store_true", help=_("turn the sign where it differs"))
    span.add_argument("--force", action="store_true", help=_("however much it is off"))
    kind("door", _("Find out by walking in which beam is the outer one."))
    battery = kind("battery", _("Say which battery it is."))
    battery.add_argument("--capacity-ah", type=_ampere, metavar="AH", help=_("as on its nameplate"))
    battery.add_argument("--chemistry", choices=("lifepo4", "lead_acid"), help=_("its kind"))
    kind("undo", _("Put the previous configuration back."))
    check = command("check-config", _("Check a configuration."), state=False)
    config(check)
    check.add_argument("--json", action="store_true", help=_("print one JSON document"))
    drivers = ", ".join(sorted(DRIVERS))
    record = command("record", _("Capture what a device says, as it says it."), state=False)
    record.add_argument("driver", choices=sorted(DRIVERS), metavar="DRIVER",
                        help=_("one of {drivers}").format(drivers=drivers))  # fmt: skip
    config(record)
    record.add_argument("--sensor", metavar="NAME",
                        help=_("which sensor, where several have this driver"))  # fmt: skip
    record.add_argument("--port", metavar="DEVICE",
                        help=_("a serial device, in place of the configuration"))  # fmt: skip
    record.add_argument("--seconds", type=_positive, default=60.0, metavar="N",
                        help=_("end after N seconds (default: %(default)g)"))  # fmt: skip
    record.add_argument("-o", "--output", type=Path, required=True, metavar="FILE",
                        help=_("a new file for the capture"))  # fmt: skip
    decode = command("decode", _("Read a capture: a JSON object a good frame."), state=False)
    decode.add_argument("driver", choices=sorted(DRIVERS), metavar="DRIVER",
                        help=_("one of {drivers}").format(drivers=drivers))  # fmt: skip
    decode.add_argument("file", type=Path, metavar="FILE", help=_("the capture"))
    setup = command(
        "setup", _("Find what is connected, ask the rest, write the configuration."), state=False
    )
    config(setup)
    for flag, text in (
        ("id", _("the tent's id")), ("name", _("its name for people")), ("seats", _("people it is for")),
        ("latitude", _("degrees north")), ("longitude", _("degrees east")),
        ("region", _("ISO 3166-2 code of its region")), ("timezone", _("IANA name of its zone")),
        ("host", _("the broker")), ("port", _("its TCP port")),
        ("ca-file", _("its certificate authority")), ("username", _("this unit's user there")),
    ):  # fmt: skip
        setup.add_argument(f"--{flag}", metavar=flag.upper().replace("-", "_"), help=text)
    setup.add_argument("--tls", action=argparse.BooleanOptionalAction, default=None,
                       help=_("encrypt, and check the broker's certificate"))  # fmt: skip
    setup.add_argument("--password-file", metavar="FILE",
                       help=_("take the broker's password from a file; - is standard input"))  # fmt: skip
    setup.add_argument("--sensor", type=_sensor, action="append", default=[],
                       metavar="NAME=DRIVER[,KEY=VALUE…]",
                       help=_("fit a sensor, such as door=beams,outer_gpio=23,inner_gpio=24; "
                              "NAME=none takes it out"))  # fmt: skip
    setup.add_argument("--set", type=_assignment, action="append", default=[],
                       metavar="SECTION.KEY=VALUE",
                       help=_("set any other key, such as battery.capacity_ah=100"))  # fmt: skip
    setup.add_argument("--no-search", action="store_true", help=_("do not look for devices"))
    setup.add_argument("--yes", action="store_true", help=_("ask nothing: take flags and defaults"))
    setup.add_argument("--dry-run", action="store_true", help=_("show, and change nothing"))
    setup.add_argument("--prepared", type=Path, nargs="?", const=False, metavar="FILE",
                       help=_("take over what lies prepared on the boot partition"))  # fmt: skip
    return parser


def _assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(_("{text} is not KEY=VALUE").format(text=repr(text)))
    return key, value


def _sensor(text: str) -> tuple[str, dict[str, str]]:
    name, driver = _assignment(text)
    driver, *keys = driver.split(",")
    return name, {"driver": driver, **dict(map(_assignment, keys))}


def _host_port(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        why = _("{text} is not HOST:PORT, such as localhost:1883").format(text=repr(text))
        raise argparse.ArgumentTypeError(why)
    return host, int(port)


def _positive(text: str) -> float:
    return _number(text, 0.001, 1e9)


def _ampere(text: str) -> float:
    return _number(text, -10_000, 10_000)


def _speed(text: str) -> float:
    return _number(text, 1, 600)


def _number(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        why = _("{text} is not a number from {low} to {high}")
        raise argparse.ArgumentTypeError(
            why.format(text=repr(text), low=f"{low:g}", high=f"{high:g}")
        )
    return value


def _log_to_stderr(level: int) -> None:
    # The journal adds its own time.
    form = "%(message)s" if os.environ.get("JOURNAL_STREAM") else "%(asctime)s %(message)s"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(form))
    logging.basicConfig(level=level, handlers=[handler])


class _OneLine(logging.Formatter):
    """A message is one line and cannot command the terminal, whatever a device has said."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))


def _run(options: argparse.Namespace) -> int:
    from publisher.config.load import ConfigError, load
    from technician.secrets import exposed, goes_in_the_clear

    try:
        config = load(options.config)
    except ConfigError as error:
        complain_of(error)
        if "NOTIFY_SOCKET" in os.environ:
            _wait_for_change(options.config)
        return USAGE
    _log_to_stderr(logging.INFO)
    log = logging.getLogger("tentwatch")
    for key, trouble in exposed(config.broker):  # no reason not to report
        log.warning("%s: %s", key, trouble)
    if goes_in_the_clear(config.broker):
        log.warning("broker.tls: whoever listens in can read the password: set tls = true")
    os.umask(os.umask(0) | 0o027)  # what the tent counts is for its user and group at most
    from publisher.agent import Agent
    from publisher.clock import Clock
    from sensors.hardware import Hardware

    agent = Agent(config, options.state_dir, Hardware(), Clock())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: agent.stop())
    agent.run()
    return DONE


def _wait_for_change(file: Path) -> None:
    """Wait until a file is another one, or has come, for FAULTY_S at most."""

    def state() -> tuple[int, int] | None:
        try:
            found = file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    before, limit_s = state(), time.monotonic() + FAULTY_S
    while state() == before and time.monotonic() < limit_s:
        time.sleep(1)


def _demo(options: argparse.Namespace) -> int:
    import tempfile

    from technician.demo import demo
    from technician.demo.mosquitto import BrokerError, Mosquitto
    from technician.demo.options import Options

    # The screen shows what the log would say.
    _log_to_stderr(logging.CRITICAL if sys.stdout.isatty() else logging.WARNING)
    try:
        with contextlib.ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tentwatch-")))
            broker = options.broker
            if broker is None:
                broker = "127.0.0.1", stack.enter_context(Mosquitto(work)).port
            demo.run(
                Options(
                    broker=broker,
                    state_dir=options.state_dir or work / "state",
                    seconds=options.seconds,
                    speed=options.speed,
                    seed=options.seed,
                    truth=options.truth,
                )
            )
    except BrokerError as error:
        complain(str(error))
        return FAILED
    except OSError as error:
        complain(_("the demonstration cannot run: {error}").format(error=error))
        return FAILED
    return DONE


def _status(options: argparse.Namespace) -> int:
    from technician import client

    status = client.status(options.state_dir)
    if options.json:
        say(json.dumps(status, ensure_ascii=False, indent=2))
        return DONE
    from rich.console import Console

    from technician.screen.screen import status_screen

    Console(width=None if sys.stdout.isatty() else 100).print(status_screen(status))
    return DONE


def _watch(options: argparse.Namespace) -> int:
    from technician.screen import watch

    return watch.run(options)


def _doctor(options: argparse.Namespace) -> int:
    from technician.doctor import doctor

    _log_to_stderr(logging.CRITICAL + 1)  # what there is to say its findings tell
    return doctor.run(options)


def _headcount(options: argparse.Namespace) -> int:
    from technician import client

    people = client.headcount(options.state_dir, options.people)
    say(_("{people} people inside: noted").format(people=people))
    return DONE


def _report(options: argparse.Namespace) -> int:
    from technician import client

    client.ask(options.state_dir, "report")
    say(_("a snapshot is on its way"))
    return DONE


def _identify(options: argparse.Namespace) -> int:
    from technician import client

    client.ask(options.state_dir, "identify", seconds=options.seconds)
    say(_("the lamp flashes fast for {seconds} s").format(seconds=options.seconds))
    return DONE


def _zero(options: argparse.Namespace) -> int:
    from technician import client

    zero_a = f"{client.zero(options.state_dir, options.sensor):g}"
    say(_("the zero of {sensor} is {zero} A now").format(sensor=options.sensor, zero=zero_a))
    return DONE


def _serviced(options: argparse.Namespace) -> int:
    from technician import client

    hours = f"{client.serviced(options.state_dir):g}"
    say(_("noted: the generator was serviced after {hours} hours").format(hours=hours))
    return DONE


def _log(options: argparse.Namespace) -> int:
    from technician.records import visitor_log

    return visitor_log.run(options)


def _export(options: argparse.Namespace) -> int:
    from technician.records import export

    return export.run(options)


def _calibrate(options: argparse.Namespace) -> int:
    from technician.setup import calibrate

    return calibrate.run(options)


def _check_config(options: argparse.Namespace) -> int:
    from publisher.config.faults import Fault, fault_json
    from publisher.config.load import ConfigError, load
    from technician.secrets import exposed

    faults: list[Fault] = []
    rules: list[tuple[str, str, str]] = []
    try:
        config = load(options.config)
        rules, faults = config.rules(), exposed(config.broker)
    except ConfigError as error:
        faults = error.faults
    if options.json:
        document = {
            "file": str(options.config),
            "ok": not faults,
            "faults": [fault_json(*fault) for fault in faults],
            "rules": [
                {"name": n, "enters": enters, "leaves": leaves} for n, enters, leaves in rules
            ],
        }
        say(json.dumps(document, ensure_ascii=False))
    elif faults:
        for key, trouble in faults:
            complain(f"{options.config}: {key}: {told(trouble)}")
    else:
        for name, enters, leaves in rules:
            say(f"{name}\n    when   {enters}" + (f"\n    until  {leaves}" if leaves else ""))
        say(_("{file} is in order").format(file=options.config))
    return USAGE if faults else DONE


def _record(options: argparse.Namespace) -> int:
    from publisher.config.load import ConfigError
    from sensors import registry
    from sensors.capture import record
    from sensors.clock import Monotonic
    from sensors.hardware import Hardware
    from sensors.reading import SensorError

    try:
        settings = _device(options)
    except ConfigError as error:
        complain_of(error)
        return USAGE
    except ValueError as error:
        complain(str(error))
        return USAGE
    _log_to_stderr(logging.WARNING)
    clock = Monotonic()
    driver = registry.build(options.driver, settings, Hardware(), clock)
    try:
        file = options.output.open("xb")
    except FileExistsError:
        complain(_("{file} exists: give a new file with -o").format(file=options.output))
        return FAILED
    except OSError as error:
        text = _("{file} cannot be written ({error}): give another file with -o")
        complain(text.format(file=options.output, error=error.strerror))
        return FAILED
    why = ""
    try:
        with file, contextlib.suppress(KeyboardInterrupt):  # what was captured is there
            record(driver, clock, options.seconds, lambda data: (file.write(data), file.flush()))
    except SensorError as error:
        held = _("a running tentwatch service has its devices to itself: stop it first")
        why = f"{told(error)} ({held})"
    except OSError as error:
        text = _("{file} cannot be written: {error}")
        why = text.format(file=options.output, error=error.strerror)
    size = options.output.stat().st_size
    if not size:
        options.output.unlink()
        why = why or _("it said nothing: check its supply and its cable")
    if why:
        complain(why)
        return FAILED
    text = _("{size} bytes in {file}; read: tentwatch decode {driver} {file}")
    say(text.format(size=size, file=options.output, driver=options.driver))
    return DONE


def _device(options: argparse.Namespace) -> Any:
    """Return the driver's settings for `record`. Raises ConfigError, and ValueError with what to do."""
    from publisher.config.load import load
    from sensors.registry import config_class

    if options.port is not None:
        kind = config_class(options.driver)
        if options.sensor is not None:
            raise ValueError(_("give --sensor, which is of the configuration, or --port, not both"))
        if "port" not in kind.__dataclass_fields__:
            text = _("{driver} is on no serial port: leave out --port")
            raise ValueError(text.format(driver=options.driver))
        return kind(port=options.port)
    fitting = [s for s in load(options.config).sensors if s.driver == options.driver]
    if options.sensor is not None:
        fitting = [s for s in fitting if s.name == options.sensor]
    if len(fitting) == 1:
        return fitting[0].config
    names = ", ".join(s.name for s in fitting) or _("none")
    text = _(
        "{file} has {n} such sensors with driver {driver} ({names}): name one with --sensor, or a "
        "serial device with --port"
    )
    raise ValueError(
        text.format(file=options.config, n=len(fitting), driver=options.driver, names=names)
    )


def _setup(options: argparse.Namespace) -> int:
    from technician.setup import setup

    return setup.run(options)


def _decode(options: argparse.Namespace) -> int:
    from sensors.registry import decode

    with options.file.open("rb") as file:
        capture = file.read(LARGEST_CAPTURE + 1)
    if len(capture) > LARGEST_CAPTURE:
        text = _("{file} is larger than {size} MiB: cut it into pieces")
        complain(text.format(file=options.file, size=LARGEST_CAPTURE >> 20))
        return FAILED
    frames, bad = decode(options.driver, capture)
    for frame in frames:
        say(json.dumps(frame, ensure_ascii=False, allow_nan=False))
    text = _("{good} good and {bad} bad frames").format(good=len(frames), bad=bad)
    print(text, file=sys.stderr)  # noqa: T201
    return DONE
