"""`tentwatch status`: the running unit's status, once."""

import argparse
import json
import sys

from technician import client
from technician.arguments import add_json, add_state_dir
from technician.terminal import DONE, say

#: Columns where the output is no terminal.
FILE_COLUMNS = 100
#: Lines of the command and of the prompt after it.
PROMPT_LINES = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_state_dir(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the tables, or one JSON document. Raises ControlError."""
    status = client.status(options.state_dir)
    if options.json:
        say(json.dumps(status, ensure_ascii=False, indent=2))
        return DONE
    from rich.console import Console

    from technician.screen.screen import status_screen

    if not sys.stdout.isatty():
        Console(width=FILE_COLUMNS).print(status_screen(status))
        return DONE
    console, page = Console(), status_screen(status)
    if len(console.render_lines(page)) > console.height - PROMPT_LINES:
        page = status_screen(status, is_brief=True)
    console.print(page)
    return DONE
