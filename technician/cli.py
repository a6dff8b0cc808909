"""The command line: `tentwatch <command>`. Exit codes: 0 done, 1 failed, 2 usage or configuration.

A command's module has `arguments(parser)` and `run(options) -> exit code`, and is loaded when it is named.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from publisher.config.faults import ConfigError
from sensors.trouble import Trouble
from technician.terminal import FAILED, USAGE, complain, complain_of
from technician.words import _, marked


class ListedCommand(NamedTuple):
    """A command in the table: its module, and what it does in one sentence."""

    module: str
    text: str


COMMANDS = {
    "run": ListedCommand("technician.run", marked("Run the agent, as the service does.")),
    "demo": ListedCommand("technician.demo.command", marked("Run the agent on simulated devices.")),
    "status": ListedCommand("technician.screen.status", marked("Show the running unit's status.")),
    "watch": ListedCommand(
        "technician.screen.watch", marked("Show the running unit's status, live.")
    ),
    "doctor": ListedCommand(
        "technician.doctor.doctor",
        marked("Check everything, and say how to mend what is wrong."),
    ),
    "headcount": ListedCommand(
        "technician.requests", marked("Tell the unit how many people are inside now.")
    ),
    "open": ListedCommand("technician.requests", marked("Say that the tent takes people in.")),
    "close": ListedCommand(
        "technician.requests", marked("Say that the tent takes in nobody for now.")
    ),
    "report": ListedCommand("technician.requests", marked("Have the unit publish a snapshot now.")),
    "identify": ListedCommand("technician.requests", marked("Flash the unit's lamp.")),
    "zero": ListedCommand(
        "technician.requests",
        marked("Set a current sensor's zero to what it reads now, without a current."),
    ),
    "serviced": ListedCommand(
        "technician.requests", marked("Tell the unit that the generator has been serviced.")
    ),
    "refuelled": ListedCommand(
        "technician.requests", marked("Tell the unit what was filled into the generator's tank.")
    ),
    "log": ListedCommand(
        "technician.records.visitor_log",
        marked("Print the visitor log: people, hours of power and outages, day by day."),
    ),
    "export": ListedCommand(
        "technician.records.export",
        marked("Write visitor log, unsent records and a diagnosis onto a stick."),
    ),
    "calibrate": ListedCommand(
        "technician.setup.calibrate", marked("Calibrate sensors, and write what is found.")
    ),
    "check-config": ListedCommand("technician.check_config", marked("Check a configuration.")),
    "record": ListedCommand(
        "technician.record", marked("Capture what a device sends, byte for byte.")
    ),
    "decode": ListedCommand(
        "technician.decode", marked("Read a capture: one JSON object for each good frame.")
    ),
    "replay": ListedCommand(
        "technician.replay", marked("Let a log live through the shipped rules.")
    ),
    "setup": ListedCommand(
        "technician.setup.setup",
        marked("Find what is connected, ask the rest, write the configuration."),
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # for terminals that lack a character
            stream.reconfigure(errors="replace")
    if sys.stdout is None:  # it was started with its output closed
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    options = parsed(sys.argv[1:] if argv is None else argv)
    if options is None:
        return USAGE
    module = import_module(COMMANDS[options.command].module)
    return exit_code(lambda: module.run(options))


def exit_code(command: Callable[[], int]) -> int:
    """Carry out a command and return its exit code; print what is wrong where it raises."""
    try:
        return command()
    except KeyboardInterrupt:
        return FAILED
    except BrokenPipeError:  # nobody reads the output any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ConfigError as error:
        complain_of(error)
        return USAGE
    except Trouble as trouble:
        complain(trouble)
        return FAILED
    except OSError as error:
        named = error.filename is not None and error.strerror
        complain(f"{error.filename}: {error.strerror}" if named else error)
        return FAILED


def parsed(argv: list[str]) -> argparse.Namespace | None:
    """Return the options of the command that is named; without one print the help and return None.

    Raises SystemExit if they are wrong, and after `--help`.
    """
    parser = argparse.ArgumentParser(
        prog="tentwatch",
        description=_("Reports a relief tent's capacity and power state over MQTT."),
    )
    commands = parser.add_subparsers(dest="command", metavar=_("command"))
    name = next((argument for argument in argv if not argument.startswith("-")), None)
    for known, command in COMMANDS.items():
        if name in (None, known) or name not in COMMANDS:
            text = _(command.text)
            of_command = commands.add_parser(known, help=text, description=text)
            of_command.set_defaults(command=known)
            if name == known:
                import_module(command.module).arguments(of_command)
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help(sys.stderr)
        return None
    return options
