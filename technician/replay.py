"""`tentwatch replay`: a log lived through by the shipped rules, one JSON object a line in, one a line out."""

import argparse
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import IO

from publisher.config.load import Config, checked, load
from publisher.replay import Replay
from publisher.replay_lines import EMPTY, LONGEST_LINE, Line, Lines, Turn, Values
from sensors.trouble import Trouble
from technician import arguments as types
from technician.terminal import DONE, USAGE, complain
from technician.words import _, translated

#: What tells that a generator's meter measures AC.
OF_AC = "frequency_hz"
#: Lines with the same texts in quotes name the same; so many kinds of lines are remembered.
MOST_SHAPES = 1000
_WORDS = re.compile(rb'"[^"]*"')
#: A log that cannot be read twice is kept in memory up to this size, then in a file.
IN_MEMORY = 64 << 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", metavar="FILE", help=_("the log; - is the standard input"))
    parser.add_argument(
        "--config", type=Path, metavar="FILE",
        help=_("the unit's configuration (default: one with the sensors that the log names)"),
    )  # fmt: skip
    parser.add_argument(
        "--every", type=types.number(0.1, 1e9), default=60.0, metavar="S",
        help=_("seconds between two states (default: 60)"),
    )  # fmt: skip


class BadLine(Exception):
    """A line that cannot be replayed: its number, and why."""

    def __init__(self, number: int | None, trouble: Trouble) -> None:
        """`number` is None where the log as a whole is meant."""
        super().__init__(number, trouble)
        self.number = number
        self.trouble = trouble

    def place(self, file: str) -> str:
        """Return the place of the line in a file."""
        return file if self.number is None else f"{file}:{self.number}"


@dataclass
class Survey:
    """What a log names, found out beforehand: a sensor is fitted from the start, not from its first line."""

    t: float | None = None  # of the first line
    has_wall: bool = False
    doors: dict[str, set[str | None]] = field(
        default_factory=dict
    )  # those with beams, and the beams
    sensors: dict[str, set[str]] = field(default_factory=dict)  # and their quantities


def run(options: argparse.Namespace) -> int:
    """Replay the log. Raises ConfigError and OSError."""
    config = None if options.config is None else load(options.config)
    with ExitStack() as stack:
        log: IO[bytes] = sys.stdin.buffer
        if options.file != "-":
            log = stack.enter_context(Path(options.file).open("rb"))
        copy: IO[bytes] | None = None
        if not log.seekable():
            copy = stack.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY))
        begin = log.tell() if copy is None else 0
        survey = _survey(log, copy)
        log = copy or log
        log.seek(begin)
        try:
            _replay(config or usual(survey), survey, log, options)
        except BadLine as bad:
            sys.stdout.flush()
            complain(f"{bad.place(options.file)}: {translated(bad.trouble)}")
            return USAGE
    sys.stdout.flush()  # here, where a reader that has gone makes no traceback
    return DONE


def _replay(config: Config, survey: Survey, log: IO[bytes], options: argparse.Namespace) -> None:
    """Print what comes of a log. Raises BadLine."""
    write = sys.stdout.write
    if survey.t is None:
        for _number, _line in _lines(log):
            pass
        raise BadLine(None, Trouble(EMPTY))
    replay = Replay(config, survey.t, options.every, has_wall=survey.has_wall)
    write("".join(replay.start(survey.doors)))
    try:
        for number, line in _lines(log):
            try:
                printed = replay.take(line)
            except Trouble as trouble:
                raise BadLine(number, trouble) from None
            if printed:
                write("".join(printed))
            if replay.refusal is not None:
                complain(f"{options.file}:{number}: {translated(replay.refusal)}")
                replay.refusal = None
    except BadLine:
        write("".join(replay.end()))
        raise
    write("".join(replay.end()))


def _lines(log: IO[bytes]) -> Iterator[tuple[int, Line]]:
    """Return the lines of a log with their numbers. Raises BadLine."""
    read = Lines().read
    for number, raw in enumerate(_raw(log), 1):
        try:
            line = read(raw)
        except Trouble as trouble:
            raise BadLine(number, trouble) from None
        if line is not None:
            yield number, line


def _raw(log: IO[bytes]) -> Iterator[bytes]:
    return iter(partial(log.readline, LONGEST_LINE + 1), b"")


def _survey(log: IO[bytes], copy: IO[bytes] | None) -> Survey:
    """Read a log up to its end, or to a line that cannot be read, and write it to `copy`."""
    found = Survey()
    seen: set[tuple[bytes, ...]] = set()
    for raw in _raw(log):
        if copy is not None:
            copy.write(raw)
        words = tuple(_WORDS.findall(raw))
        if words in seen and len(raw) < LONGEST_LINE:
            continue  # another one of the same names
        try:
            line = Lines().read(raw)
        except Trouble:
            break
        if line is None:
            continue
        if line.wall is None and len(seen) < MOST_SHAPES:
            seen.add(words)
        if found.t is None:
            found.t = line.t
        found.has_wall = found.has_wall or line.wall is not None
        what = line.what
        if isinstance(what, Values):
            found.sensors.setdefault(what.sensor, set()).update(what.values)
        elif isinstance(what, Turn):
            found.doors.setdefault(what.door, set()).add(what.beam)
    return found


def usual(survey: Survey) -> Config:
    """Return the configuration of a unit with the sensors that a log names."""
    text = files("technician").joinpath("replay.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    sensors, instead = document["sensors"], document.pop("instead")
    if not {"outer", "inner"} & survey.doors.get("door", set()):
        sensors["door"] = instead["door"]
    if OF_AC not in survey.sensors.get("generator", set()):
        sensors["generator"] = instead["generator"]
    named = survey.sensors.keys() | survey.doors.keys()
    named |= {name.removesuffix("_line") for name in named}
    document["sensors"] = {name: sensors[name] for name in sensors if name in named}
    return checked(document, text, "replay.toml")
