"""`tentwatch decode`: reads a capture and prints one JSON object for each good frame."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensors import edges
from sensors.doorway import doorway
from sensors.reading import Value
from sensors.registry import DRIVERS, config_class, decode, served_by, traits
from sensors.traits import Connection
from technician import arguments as types
from technician.terminal import DONE, FAILED, USAGE, complain, say
from technician.words import _

#: Most bytes of a capture: days of any device.
LARGEST_CAPTURE = 64 << 20
#: Which sensor a device is taken for that can be several, the first of these.
USUAL = ("battery", "generator", "mains", "inside")
#: Such a device sends once a second. A contact is reported at the same interval.
USUAL_PERIOD_S = 1.0
AT = "at_s"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    drivers = ", ".join(sorted(DRIVERS))
    parser.add_argument("driver", choices=sorted(DRIVERS), metavar="DRIVER",
                        help=_("one of {drivers}").format(drivers=drivers))  # fmt: skip
    parser.add_argument("file", type=Path, metavar="FILE", help=_("the capture"))
    parser.add_argument("--replay", action="store_true",
                        help=_("print lines that tentwatch replay reads"))  # fmt: skip
    parser.add_argument("--sensor", metavar="NAME",
                        help=_("with --replay: what the device is, such as generator"))  # fmt: skip
    parser.add_argument("--period", type=types.seconds, metavar="S",
                        help=_("with --replay: seconds between two readings of a capture without times"),
                        )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Print the frames, and their numbers to standard error. Raises OSError."""
    names = served_by(options.driver)
    if options.sensor not in (None, *names):
        text = _("{driver} can be {names}, not {name}")
        complain(text.format(driver=options.driver, names=", ".join(names), name=options.sensor))
        return USAGE
    with options.file.open("rb") as file:
        capture = file.read(LARGEST_CAPTURE + 1)
    if len(capture) > LARGEST_CAPTURE:
        text = _("{file} is larger than {size} MiB: cut it into pieces")
        complain(text.format(file=options.file, size=LARGEST_CAPTURE >> 20))
        return FAILED
    frames, bad = decode(options.driver, capture)
    if options.replay:
        frames_shown = replayed(options.driver, capture, frames, options.sensor, options.period)
    else:
        frames_shown = iter(frames)
    for frame in frames_shown:
        say(json.dumps(frame, ensure_ascii=False, allow_nan=False))
    text = _("{good} good and {bad} bad frames").format(good=len(frames), bad=bad)
    print(text, file=sys.stderr)  # noqa: T201
    return DONE


def replayed(
    driver: str,
    capture: bytes,
    frames: Sequence[Mapping[str, Any]],
    sensor: str | None,
    period_s: float | None,
) -> Iterator[Mapping[str, Any]]:
    """Return the lines of `tentwatch replay` that say what a capture's frames say.

    `sensor` is what the device is, if it is not the usual one. The time is that of the capture, where it
    holds times; it goes on where they begin anew. Else a frame that repeats a quantity is `period_s` later.
    """
    name = sensor or _usual(driver, frames)
    door = doorway(traits(driver))
    if door is not None:
        yield from _in_order(
            line for at_s, turned in door.turns(capture) for line in _turns(name, at_s, turned)
        )
    elif traits(driver).connection is Connection.GPIO:
        yield from _in_order(_beaten(name, capture, frames))
    elif any(AT in frame for frame in frames):
        yield from _in_order(_line(name, frame[AT], frame, AT) for frame in frames)
    else:
        usual_s: float = getattr(config_class(driver), "period_s", USUAL_PERIOD_S)
        yield from _in_steps(name, frames, period_s or usual_s)


def _usual(driver: str, frames: Sequence[Mapping[str, Any]]) -> str:
    """Return what a device is taken for: what its own quantities say, else the usual sensor."""
    names, speaks = served_by(driver), traits(driver).speaks
    for name, quantity in speaks.signs.items() if speaks else ():
        if any(quantity in frame for frame in frames):
            return name
    return next((name for name in USUAL if name in names), names[0])


def _line(sensor: str, at_s: float, frame: Mapping[str, Any], *without: str) -> dict[str, Any]:
    values = {quantity: value for quantity, value in frame.items() if quantity not in without}
    return {"t": at_s, "sensor": sensor, "values": values}


def _turns(door: str, at_s: float, turned: Mapping[str, bool]) -> Iterator[dict[str, Any]]:
    """Return a line for each beam that was broken or freed, or one that lets time pass."""
    for beam, blocked in turned.items():
        named = {"beam": beam} if beam else {}
        yield {"t": at_s, "door": door, **named, "blocked": blocked}
    if not turned:
        yield {"t": at_s}


def _beaten(
    sensor: str, capture: bytes, frames: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Return a contact's states, and each again once a second, as its driver reports it."""
    moments = [m if isinstance(m, float) else m.at_s for m in edges.recorded(capture) if m]
    ends = [frame[AT] for frame in frames[1:]] + [max(moments, default=0.0)]
    for frame, end_s in zip(frames, ends, strict=True):
        at_s = frame[AT]
        yield _line(sensor, at_s, frame, AT)
        while (at_s := at_s + USUAL_PERIOD_S) < end_s:
            yield _line(sensor, round(at_s, 3), frame, AT)


def _in_order(found: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return the lines with times that never fall: another recording may follow in the same capture."""
    before_s = shift_s = 0.0
    is_first = True
    for line in found:
        if is_first and line["t"] < 0:
            shift_s = -line["t"]
        elif line["t"] + shift_s < before_s:
            shift_s = before_s - line["t"]
        is_first = False
        before_s = line["t"] + shift_s
        yield line | {"t": round(before_s, 6)}


def _in_steps(
    sensor: str, frames: Sequence[Mapping[str, Any]], period_s: float
) -> Iterator[dict[str, Any]]:
    """Return the readings of a capture without times: a quantity that comes again is the next reading."""
    reading = 0
    seen: set[str] = set()
    for frame in frames:
        # Text is no reading. A value that the device does not know is left out: it is no fault, unless the
        # device knows nothing at all.
        values: dict[str, Value] = {q: v for q, v in frame.items() if not isinstance(v, str)}
        known = {quantity: value for quantity, value in values.items() if value is not None}
        if not values:
            continue
        if seen & values.keys():
            reading, seen = reading + 1, set()
        seen |= values.keys()
        yield _line(sensor, round(reading * period_s, 6), known or values)
