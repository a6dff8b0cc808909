"""Options that several commands share."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from technician.terminal import DEFAULT_CONFIG, DEFAULT_STATE_DIR
from technician.words import _


def add_state_dir(parser: argparse.ArgumentParser) -> None:
    """Add `--state-dir` to a command."""
    default = os.environ.get("STATE_DIRECTORY") or DEFAULT_STATE_DIR
    parser.add_argument(
        "--state-dir", type=Path, default=Path(default), metavar="DIR",
        help=_("where counts and unsent messages are kept (default: %(default)s)"),
    )  # fmt: skip


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config` to a command."""
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE",
        help=_("the configuration (default: %(default)s)"),
    )  # fmt: skip


def add_json(parser: argparse._ActionsContainer) -> None:
    """Add `--json` to a command."""
    parser.add_argument("--json", action="store_true", help=_("print one JSON document"))


def number(low: float, high: float) -> Callable[[str], float]:
    """Return a function that turns an argument into a number from `low` to `high`."""

    def of(text: str) -> float:
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

    return of


#: Types of arguments: a time in seconds; a current in amperes or a charge in ampere-hours.
seconds = number(0.001, 1e9)
amperes = number(-10_000, 10_000)
