"""Captures: what a device said, as it said it, on file, and what the shipped parser makes of it.

Serial devices are captured byte by byte. Devices that say nothing by themselves (registers, GPIO
lines) are captured as text: one JSON object a line, the first of which holds the driver's settings
that the rest is read with.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event
from typing import Any, NamedTuple

from sensors.clock import Monotonic
from sensors.json_in import parsed
from sensors.reading import Driver, SensorError

log = logging.getLogger("tentwatch.sensors")

#: Wait after a failed read; a device that says nonsense is worth a capture as well.
_FAILURE_WAIT_S = 0.5

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
            record = parsed(text)
        except ValueError:
            record = None
        yield record if isinstance(record, dict) else None


def record(driver: Driver, clock: Monotonic, seconds: float, write: Callable[[bytes], Any]) -> None:
    """Write what a device says within `seconds`, as it says it, whether it makes sense or not.

    Raises SensorError where the device cannot be opened, and whatever `write` raises.
    """
    waiting = Event()
    end_s = clock.now_s() + seconds
    said: list[bytes] = []
    driver.tap = said.append
    told = ""
    try:
        driver.open()
        while (left_s := end_s - clock.now_s()) > 0:
            wait_s = driver.period_s
            try:
                driver.read()
            except SensorError as error:
                wait_s = max(wait_s, _FAILURE_WAIT_S)
                if str(error) != told:
                    told = str(error)
                    log.warning("%s", told)
            write(b"".join(said))
            said.clear()
            if wait_s:
                waiting.wait(clock.real_s(min(wait_s, left_s)))
    finally:
        driver.close()
        write(b"".join(said))
