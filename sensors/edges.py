"""Edges of GPIO lines, and recordings of them: what `gpio.Inputs` tells its tap, read again. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from sensors.capture import Decoded, lines, number


class Edge(NamedTuple):
    """A change of a line: time (the pin factory's ticks, in seconds), line, new level."""

    at_s: float
    gpio: int
    high: bool


class Start(NamedTuple):
    """The start of a recording: time, settings, and the level of each line."""

    at_s: float
    settings: Mapping[str, Any]
    high: dict[int, bool]


class Judge(Protocol):
    """Interprets edges."""

    def until(self, at_s: float, edge: Edge | None = None) -> list[dict[str, Any]]:
        """Let time pass and then apply an edge; return the findings as frames."""


def decode(capture: bytes, begin: Callable[[Start], Judge | None], afterwards_s: float) -> Decoded:
    """Decode a recording of `Inputs`; `begin` makes a judge for each start, or None for bad settings.

    A recording ends `afterwards_s` after its last line.
    """
    frames: list[dict[str, Any]] = []
    judge: Judge | None = None
    bad, at_s = 0, 0.0
    for moment in recorded(capture):
        if isinstance(moment, Start):
            if judge is not None:
                frames += judge.until(at_s + afterwards_s)
            judge, at_s = begin(moment), moment.at_s
        elif moment is not None and judge is not None:
            at_s = moment.at_s if isinstance(moment, Edge) else moment
            frames += judge.until(at_s, moment if isinstance(moment, Edge) else None)
        bad += moment is None or judge is None
    if judge is not None:
        frames += judge.until(at_s + afterwards_s)
    return Decoded(frames, bad)


def recorded(capture: bytes) -> Iterator[Start | Edge | float | None]:
    """Return starts, edges, and times until which nothing happened; None for invalid lines.

    Time never goes back after a start.
    """
    start: Start | None = None
    before_s = 0.0
    for record in lines(capture):
        found: Start | Edge | float | None = None
        at_s = _at_s(record)
        if record is None or at_s is None:
            pass
        elif isinstance(record.get("high"), dict):
            found = start = _start(at_s, record)
        elif start is not None and at_s >= before_s:
            gpio, high = record.get("gpio"), record.get("high")
            if gpio is None and high is None:
                found = at_s
            elif isinstance(gpio, int) and gpio in start.high and isinstance(high, bool):
                found = Edge(at_s, gpio, high)
        if found is not None and at_s is not None:
            before_s = at_s
        yield found


def _start(at_s: float, record: dict[str, Any]) -> Start | None:
    levels = record["high"]
    for gpio, high in levels.items():
        if len(gpio) > 2 or not gpio.isdecimal() or not isinstance(high, bool):
            return None
    return Start(at_s, record, {int(gpio): high for gpio, high in levels.items()})


def _at_s(record: dict[str, Any] | None) -> float | None:
    try:
        return None if record is None else number(record, "at_s")
    except ValueError:
        return None
