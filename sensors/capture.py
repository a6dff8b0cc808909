"""Captures: what a device said, as it said it, on file, and what the shipped parser makes of it.

Serial devices are captured byte by byte. Devices that say nothing by themselves (registers, GPIO
lines) are captured as text: one JSON object a line, the first of which holds the driver's settings
that the rest is read with.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

#: Hears everything that a device says, before it is parsed.
Tap = Callable[[bytes], None]


class Decoded(NamedTuple):
    """What a capture holds: the good frames, in order, and how many were bad."""

    frames: Sequence[Mapping[str, Any]]
    bad: int


def _deaf(_: bytes) -> None:
    pass


#: Hears nothing: what a driver has until somebody wants to know.
no_tap: Tap = _deaf


def line(record: Mapping[str, Any]) -> bytes:
    """Return one line of a text capture."""
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def lines(capture: bytes) -> Iterator[dict[str, Any] | None]:
    """Return the lines of a text capture; None for each that is no JSON object."""
    for text in capture.splitlines():
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            record = None
        yield record if isinstance(record, dict) else None
