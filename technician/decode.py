"""`tentwatch decode`: reads a capture and prints one JSON object for each good frame."""

import argparse
import json
import sys
from pathlib import Path

from sensors.registry import DRIVERS, decode
from technician.terminal import DONE, FAILED, complain, say
from technician.words import _

#: Most bytes of a capture: days of any device.
LARGEST_CAPTURE = 64 << 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    drivers = ", ".join(sorted(DRIVERS))
    parser.add_argument("driver", choices=sorted(DRIVERS), metavar="DRIVER",
                        help=_("one of {drivers}").format(drivers=drivers))  # fmt: skip
    parser.add_argument("file", type=Path, metavar="FILE", help=_("the capture"))


def run(options: argparse.Namespace) -> int:
    """Print the frames, and their numbers to standard error. Raises OSError."""
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
