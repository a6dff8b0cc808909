"""The command line: `tentwatch <command>`. Exit codes: 0 done, 1 it failed, 2 usage or configuration."""

import argparse
import contextlib
import io
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from publisher.printable import printable
from publisher.terminal import DONE, FAILED, USAGE, ask, complain, say
from sensors.registry import DRIVERS

DEFAULT_CONFIG = Path("/etc/tentwatch/tentwatch.toml")
DEFAULT_STATE_DIR = Path("/var/lib/tentwatch")

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
    except OSError as error:
        named = error.filename is not None and error.strerror
        complain(f"{error.filename}: {error.strerror}" if named else str(error))
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tentwatch", description="Reports a relief tent's capacity and power state over MQTT."
    )
    commands = parser.add_subparsers(dest="command", metavar="command")

    def command(name: str, text: str, *, state: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        if state:
            state_dir(added)
        return added

    def state_dir(added: argparse.ArgumentParser) -> None:
        default = os.environ.get("STATE_DIRECTORY") or DEFAULT_STATE_DIR
        added.add_argument(
            "--state-dir", type=Path, default=Path(default), metavar="DIR",
            help="where counts and unsent messages are kept (default: %(default)s)",
        )  # fmt: skip

    def config(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE",
            help="the configuration (default: %(default)s)",
        )  # fmt: skip

    config(command("run", "Run the agent, as the service does."))

    demo = command("demo", "Run the agent on simulated devices.", state=False)
    demo.add_argument("--broker", type=_host_port, metavar="HOST:PORT",
                      help="use this broker (default: a mosquitto of its own)")  # fmt: skip
    demo.add_argument("--state-dir", type=Path, metavar="DIR",
                      help="keep counts here (default: a temporary directory)")  # fmt: skip
    demo.add_argument("--seconds", type=_positive, metavar="N", help="end after N seconds")
    demo.add_argument("--speed", type=_speed, default=1.0, metavar="N",
                      help="let the simulated time pass N times as fast, 1 to 600")  # fmt: skip
    demo.add_argument("--seed", type=int, default=1, metavar="N",
                      help="another number makes another day")  # fmt: skip
    demo.add_argument("--truth", type=Path, metavar="FILE",
                      help="write what really happens, a JSON object a line")  # fmt: skip

    status = command("status", "Show how the running unit does.")
    status.add_argument("--json", action="store_true", help="print one JSON document")
    watch = command("watch", "Show how the running unit does, live.")
    watch.add_argument("--once", action="store_true", help="print it once")
    doctor = command("doctor", "Check everything, and say what to do about what is wrong.")
    config(doctor)
    doctor.add_argument("--json", action="store_true", help="print one JSON document")
    headcount = command("headcount", "Tell the unit how many people are inside now.")
    headcount.add_argument("people", type=int)
    command("report", "Have the unit publish a snapshot now.")
    identify = command("identify", "Light the unit's lamp.")
    identify.add_argument("seconds", type=int, nargs="?", default=30)
    zero = command("zero", "Take what a current sensor reads now, without a current, for its zero.")
    zero.add_argument("sensor", help="the sensor, such as generator or battery")
    command("serviced", "Tell the unit that the generator has been serviced.")
    log = command("log", "Print the visitor log: people, hours of power and outages, day by day.")
    config(log)
    log.add_argument("--since", metavar="DAY",
                     help="from this day on: 2026-11-22, or 7d for the last seven")  # fmt: skip
    form = log.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV with a header")
    form.add_argument("--json", action="store_true", help="print one JSON document")
    export = command("export", "Write visitor log, unsent records and a diagnosis onto a stick.")
    config(export)
    export.add_argument("directory", type=Path, metavar="DIR", help="where the stick is mounted")
    calibrate = command("calibrate", "Calibrate sensors, and write what is found.", state=False)
    kinds = calibrate.add_subparsers(dest="what", required=True, metavar="what")

    def kind(name: str, text: str) -> argparse.ArgumentParser:
        added = kinds.add_parser(name, help=text, description=text)
        config(added)
        state_dir(added)
        added.add_argument("--yes", action="store_true", help="write it without asking")
        return added

    zero = kind("zero", "What a current sensor reads now, without a current, is its zero.")
    zero.add_argument("sensor", help="the sensor, such as generator or battery")
    span = kind("span", "Compare a current sensor with a clamp meter.")
    span.add_argument("sensor", help="the sensor, such as generator or battery")
    span.add_argument("--clamp-a", type=_ampere, required=True, metavar="A",
                      help="what the clamp meter shows at this moment, in amperes")  # fmt: skip
    span.add_argument("--reverse", action="store_true", help="turn the sign where it differs")
    span.add_argument("--force", action="store_true", help="however much it is off")
    kind("door", "Find out by walking in which beam is the outer one.")
    battery = kind("battery", "Say which battery it is.")
    battery.add_argument("--capacity-ah", type=_ampere, metavar="AH", help="as on its nameplate")
    battery.add_argument("--chemistry", choices=("lifepo4", "lead_acid"), help="its kind")
    kind("undo", "Put the previous configuration back.")
    check = command("check-config", "Check a configuration.", state=False)
    config(check)
    check.add_argument("--json", action="store_true", help="print one JSON document")
    record = command("record", "Capture what a device says, as it says it.", state=False)
    record.add_argument("driver", choices=sorted(DRIVERS), metavar="DRIVER",
                        help=f"one of {', '.join(sorted(DRIVERS))}")  # fmt: skip
    config(record)
    record.add_argument("--sensor", metavar="NAME",
                        help="which sensor, where several have this driver")  # fmt: skip
    record.add_argument("--port", metavar="DEVICE",
                        help="a serial device, in place of the configuration")  # fmt: skip
    record.add_argument("--seconds", type=_positive, default=60.0, metavar="N",
                        help="end after N seconds (default: %(default)g)")  # fmt: skip
    record.add_argument("-o", "--output", type=Path, required=True, metavar="FILE",
                        help="a new file for the capture")  # fmt: skip
    decode = command("decode", "Read a capture: a JSON object a good frame.", state=False)
    decode.add_argument("driver", choices=sorted(DRIVERS), metavar="DRIVER",
                        help=f"one of {', '.join(sorted(DRIVERS))}")  # fmt: skip
    decode.add_argument("file", type=Path, metavar="FILE", help="the capture")
    setup = command(
        "setup", "Find what is connected, ask the rest, write the configuration.", state=False
    )
    config(setup)
    for flag, text in (
        ("id", "the tent's id"), ("name", "its name for people"), ("seats", "people it is for"),
        ("latitude", "degrees north"), ("longitude", "degrees east"),
        ("region", "ISO 3166-2 code of its region"), ("timezone", "IANA name of its zone"),
        ("host", "the broker"), ("port", "its TCP port"),
        ("ca-file", "its certificate authority"), ("username", "this unit's user there"),
    ):  # fmt: skip
        setup.add_argument(f"--{flag}", metavar=flag.upper().replace("-", "_"), help=text)
    setup.add_argument("--tls", action=argparse.BooleanOptionalAction, default=None,
                       help="encrypt, and check the broker's certificate")  # fmt: skip
    setup.add_argument("--password-file", metavar="FILE",
                       help="take the broker's password from a file; - is standard input")  # fmt: skip
    setup.add_argument("--sensor", type=_sensor, action="append", default=[],
                       metavar="NAME=DRIVER[,KEY=VALUE…]",
                       help="fit a sensor, such as door=beams,outer_gpio=23,inner_gpio=24; "
                       "NAME=none takes it out")  # fmt: skip
    setup.add_argument("--set", type=_assignment, action="append", default=[],
                       metavar="SECTION.KEY=VALUE",
                       help="set any other key, such as battery.capacity_ah=100")  # fmt: skip
    setup.add_argument("--no-search", action="store_true", help="do not look for devices")
    setup.add_argument("--yes", action="store_true", help="ask nothing: take flags and defaults")
    setup.add_argument("--dry-run", action="store_true", help="show, and change nothing")
    setup.add_argument("--prepared", type=Path, nargs="?", const=False, metavar="FILE",
                       help="take over what lies prepared on the boot partition")  # fmt: skip
    return parser


def _assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _sensor(text: str) -> tuple[str, dict[str, str]]:
    name, driver = _assignment(text)
    driver, *keys = driver.split(",")
    return name, {"driver": driver, **dict(map(_assignment, keys))}


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as localhost:1883")
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
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
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
    from publisher.config import ConfigError, load
    from publisher.secrets import exposed, goes_in_the_clear

    try:
        config = load(options.config)
    except ConfigError as error:
        complain(str(error))
        return USAGE
    _log_to_stderr(logging.INFO)
    log = logging.getLogger("tentwatch")
    for key, fix in exposed(config.broker):  # no reason not to report
        log.warning("%s: %s", key, fix)
    if goes_in_the_clear(config.broker):
        log.warning("broker.tls: whoever listens in can read the password: set tls = true")
    os.umask(os.umask(0) | 0o027)  # what the tent counts is for its user and group at most
    from publisher.agent import Agent, StartError
    from publisher.clock import Clock
    from sensors.hardware import Hardware

    try:
        agent = Agent(config, options.state_dir, Hardware(), Clock())
    except StartError as error:
        complain(str(error))
        return FAILED
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: agent.stop())
    agent.run()
    return DONE


def _demo(options: argparse.Namespace) -> int:
    import tempfile

    from publisher import demo
    from publisher.agent import StartError
    from publisher.mosquitto import BrokerError, Mosquitto

    # The screen shows what the log would say.
    _log_to_stderr(logging.CRITICAL if sys.stdout.isatty() else logging.WARNING)
    try:
        with contextlib.ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tentwatch-")))
            broker = options.broker
            if broker is None:
                broker = "127.0.0.1", stack.enter_context(Mosquitto(work)).port
            demo.run(
                demo.Options(
                    broker=broker,
                    state_dir=options.state_dir or work / "state",
                    seconds=options.seconds,
                    speed=options.speed,
                    seed=options.seed,
                    truth=options.truth,
                )
            )
    except (BrokerError, StartError) as error:
        complain(str(error))
        return FAILED
    except OSError as error:
        complain(f"the demonstration cannot run: {error}")
        return FAILED
    return DONE


def _status(options: argparse.Namespace) -> int:
    answer = ask(options.state_dir, {"command": "status"})
    if answer is None:
        return FAILED
    if options.json:
        say(json.dumps(answer, ensure_ascii=False, indent=2))
        return DONE
    from rich.console import Console

    from publisher.screen import status_screen

    Console(width=None if sys.stdout.isatty() else 100).print(status_screen(answer))
    return DONE


def _watch(options: argparse.Namespace) -> int:
    from publisher import watch

    return watch.run(options)


def _doctor(options: argparse.Namespace) -> int:
    from publisher import doctor

    return doctor.run(options)


def _headcount(options: argparse.Namespace) -> int:
    answer = ask(options.state_dir, {"command": "headcount", "people": options.people})
    if answer is None:
        return FAILED
    say(f"{answer['people']} people inside: noted")
    return DONE


def _report(options: argparse.Namespace) -> int:
    if ask(options.state_dir, {"command": "report"}) is None:
        return FAILED
    say("a snapshot is on its way")
    return DONE


def _identify(options: argparse.Namespace) -> int:
    if ask(options.state_dir, {"command": "identify", "seconds": options.seconds}) is None:
        return FAILED
    say(f"the lamp flashes fast for {options.seconds} s")
    return DONE


def _zero(options: argparse.Namespace) -> int:
    answer = ask(options.state_dir, {"command": "zero", "sensor": options.sensor})
    if answer is None:
        return FAILED
    say(f"the zero of {options.sensor} is {answer['zero_a']:g} A now")
    return DONE


def _serviced(options: argparse.Namespace) -> int:
    answer = ask(options.state_dir, {"command": "serviced"})
    if answer is None:
        return FAILED
    say(f"noted: the generator was serviced after {answer['hours_total']:g} hours")
    return DONE


def _log(options: argparse.Namespace) -> int:
    from publisher import visitor_log

    return visitor_log.run(options)


def _export(options: argparse.Namespace) -> int:
    from publisher import export

    return export.run(options)


def _calibrate(options: argparse.Namespace) -> int:
    from publisher import calibrate

    return calibrate.run(options)


def _check_config(options: argparse.Namespace) -> int:
    from publisher.config import ConfigError, load
    from publisher.secrets import exposed

    faults: list[tuple[str, str]] = []
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
            "faults": [{"key": key, "fix": fix} for key, fix in faults],
            "rules": [
                {"name": n, "enters": enters, "leaves": leaves} for n, enters, leaves in rules
            ],
        }
        say(json.dumps(document, ensure_ascii=False))
    elif faults:
        for key, fix in faults:
            complain(f"{options.config}: {key}: {fix}")
    else:
        for name, enters, leaves in rules:
            say(f"{name}\n    when   {enters}" + (f"\n    until  {leaves}" if leaves else ""))
        say(f"{options.config} is in order")
    return USAGE if faults else DONE


def _record(options: argparse.Namespace) -> int:
    from sensors import registry
    from sensors.capture import record
    from sensors.clock import Monotonic
    from sensors.hardware import Hardware
    from sensors.reading import SensorError

    try:
        settings = _device(options)
    except ValueError as error:
        complain(str(error))
        return USAGE
    _log_to_stderr(logging.WARNING)
    clock = Monotonic()
    driver = registry.build(options.driver, settings, Hardware(), clock)
    try:
        file = options.output.open("xb")
    except FileExistsError:
        complain(f"{options.output} exists: give a new file with -o")
        return FAILED
    except OSError as error:
        complain(
            f"{options.output} cannot be written ({error.strerror}): give another file with -o"
        )
        return FAILED
    why = ""
    try:
        with file, contextlib.suppress(KeyboardInterrupt):  # what was captured is there
            record(driver, clock, options.seconds, lambda data: (file.write(data), file.flush()))
    except SensorError as error:
        why = f"{error} (a running tentwatch service has its devices to itself: stop it first)"
    except OSError as error:
        why = f"{options.output} cannot be written: {error.strerror}"
    size = options.output.stat().st_size
    if not size:
        options.output.unlink()
        why = why or "it said nothing: check its supply and its cable"
    if why:
        complain(why)
        return FAILED
    say(
        f"{size} bytes in {options.output}; read: tentwatch decode {options.driver} {options.output}"
    )
    return DONE


def _device(options: argparse.Namespace) -> Any:
    """Return the driver's settings for `record`. Raises ValueError with what to do."""
    from publisher.config import ConfigError, load
    from sensors.registry import config_class

    if options.port is not None:
        kind = config_class(options.driver)
        if options.sensor is not None:
            raise ValueError("give --sensor, which is of the configuration, or --port, not both")
        if "port" not in kind.__dataclass_fields__:
            raise ValueError(f"{options.driver} is on no serial port: leave out --port")
        return kind(port=options.port)
    try:
        sensors = load(options.config).sensors
    except ConfigError as error:
        raise ValueError(str(error)) from error
    fitting = [s for s in sensors if s.driver == options.driver]
    if options.sensor is not None:
        fitting = [s for s in fitting if s.name == options.sensor]
    if len(fitting) == 1:
        return fitting[0].config
    names = ", ".join(s.name for s in fitting) or "none"
    raise ValueError(
        f"{options.config} has {len(fitting)} such sensors with driver {options.driver} ({names}): "
        f"name one with --sensor, or a serial device with --port"
    )


def _setup(options: argparse.Namespace) -> int:
    from publisher import setup

    return setup.run(options)


def _decode(options: argparse.Namespace) -> int:
    from sensors.registry import decode

    with options.file.open("rb") as file:
        capture = file.read(LARGEST_CAPTURE + 1)
    if len(capture) > LARGEST_CAPTURE:
        complain(f"{options.file} is larger than {LARGEST_CAPTURE >> 20} MiB: cut it into pieces")
        return FAILED
    frames, bad = decode(options.driver, capture)
    for frame in frames:
        say(json.dumps(frame, ensure_ascii=False, allow_nan=False))
    print(f"{len(frames)} good and {bad} bad frames", file=sys.stderr)  # noqa: T201
    return DONE
