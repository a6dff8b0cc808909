"""Output of all commands: messages, complaints, exit codes."""

import os
import sys
import textwrap
from pathlib import Path

from publisher.config.faults import ConfigError
from sensors.trouble import Trouble
from technician.words import translated
from technician.words.printable import printable

DEFAULT_CONFIG = Path("/etc/tentwatch/tentwatch.toml")
DEFAULT_STATE_DIR = Path("/var/lib/tentwatch")
#: Exit codes: done, failed, usage or configuration.
DONE, FAILED, USAGE = 0, 1, 2


def say(text: str) -> None:
    """Print to standard output."""
    print(text)  # noqa: T201


def complain(what: str | Exception) -> None:
    """Print to standard error what went wrong, without control characters."""
    text = translated(what) if isinstance(what, Trouble) else str(what)
    lines = "\n".join(printable(line) for line in text.split("\n"))
    print(f"tentwatch: {lines}", file=sys.stderr)  # noqa: T201


def complain_of(error: ConfigError) -> None:
    """Print what is wrong with a configuration, one line per fault."""
    complain("\n".join(f"{error.where}: {key}: {translated(fault)}" for key, fault in error.faults))


def prose(text: str) -> None:
    """Print a text, folded between words if the output is a terminal."""
    if sys.stdout.isatty():
        width = os.get_terminal_size(sys.stdout.fileno()).columns
        text = textwrap.fill(text, max(20, width), break_long_words=False, break_on_hyphens=False)
    say(text)
