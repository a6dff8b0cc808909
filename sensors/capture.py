"""Captures: a device's raw data in a file, and the shipped parser's reading of it.

Serial devices are captured byte by byte. Devices without a byte stream (registers, GPIO lines) are
captured as text: one JSON object a line. The first one holds the driver's settings, which the others
depend on.
"""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event
from typing import Any, NamedTuple

from sensors.clock import Monotonic
from sensors.json_in import parsed
from sensors.reading import Driver, SensorError
from sensors.trouble import TroubleJson

log = logging.getLogger("tentwatch.sensors")

#: Wait in seconds after a failed read; nonsense from a device is worth capturing, too.
_FAILURE_WAIT_S = 0.5

#: Receives all data of a device before it is parsed.
Tap = Callable[[bytes], None]


class Decoded(NamedTuple):
    """The content of a capture: the good frames in order, and the number of bad ones."""

    frames: Sequence[Mapping[str, Any]]
    bad: int


def _deaf(_: bytes) -> None:
    pass


#: Drops the data: a driver's tap until somebody records.
no_tap: Tap = _deaf


def line(record: Mapping[str, Any]) -> bytes:
    """Return one line of a text capture."""
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def lines(capture: bytes) -> Iterator[dict[str, Any] | None]:
    """Return the lines of a text capture; None for each that is not a JSON object."""
    for text in capture.splitlines():
        try:
            record = parsed(text)
        except ValueError:
            record = None
        yield record if isinstance(record, dict) else None


def number(record: Mapping[str, Any], key: str) -> float:
    """Return a finite number of a line, such as its time `at_s`. Raises ValueError if there is none.

    Python's JSON also allows NaN, infinite numbers, and whole ones that no float can hold.
    """
    value = record.get(key)
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise ValueError(f"{key} is no number")


def record(driver: Driver, clock: Monotonic, seconds: float, write: Callable[[bytes], Any]) -> None:
    """Write all data that a device sends within `seconds`, valid or not.

    Raises SensorError if the device cannot be opened, and whatever `write` raises.
    """
    waiting = Event()
    end_s = clock.now_s() + seconds
    heard: list[bytes] = []
    driver.tap = heard.append
    warned: TroubleJson | None = None
    try:
        driver.open()
        while (left_s := end_s - clock.now_s()) > 0:
            wait_s = driver.period_s
            try:
                driver.read()
            except SensorError as error:
                wait_s = max(wait_s, _FAILURE_WAIT_S)
                if error.as_dict() != warned:
                    warned = error.as_dict()
                    log.warning("%s", error)
            write(b"".join(heard))
            heard.clear()
            if wait_s:
                waiting.wait(clock.real_s(min(wait_s, left_s)))
    finally:
        driver.close()
        write(b"".join(heard))
