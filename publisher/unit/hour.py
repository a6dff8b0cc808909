"""The last hour, a point a minute, and the last events, for a screen. Pure.

It is in memory only and begins anew with the agent.
"""

from collections import deque
from datetime import timedelta
from typing import Any, NotRequired, TypedDict, cast

from publisher.clock import Now, timestamp
from publisher.rules.happening import Happening

POINTS, STEP_S = 60, 60.0
MAX_EVENTS = 20
#: What a point holds: its name → block and key of the snapshot. None stands for unknown.
_SHOWN = {
    "people": ("capacity", "people"),
    "source": ("power", "source"),
    "generator_w": ("generator", "power_w"),
    "generator_a": ("generator", "current_a"),
    "battery_pct": ("battery", "charge_pct"),
    "inside_c": ("climate", "inside_c"),
    "co_ppm": ("co", "ppm"),
}


class Points(TypedDict):
    """The points by what they hold, the newest last."""

    people: list[int | None]
    source: list[str | None]
    generator_w: list[float | None]
    generator_a: list[float | None]
    battery_pct: list[float | None]
    inside_c: NotRequired[list[float | None]]
    co_ppm: NotRequired[list[float | None]]


class Event(TypedDict):
    """Something that happened, and when."""

    ts: str | None
    uptime_s: float
    event: str
    detail: dict[str, Any]


class LastHour(TypedDict):
    """Since when there are points, one every `step_s`, and the last events."""

    since: str | None
    since_uptime_s: float
    step_s: float
    points: Points
    events: list[Event]


class Hour:
    """Points and events, the newest last. A minute without a look is a gap."""

    def __init__(self, now: Now) -> None:
        self._since_s = now.uptime_s
        self._minute = int(now.monotonic_s // STEP_S)
        self._points: deque[tuple[Any, ...]] = deque(maxlen=POINTS)
        self._events: deque[tuple[float, Happening]] = deque(maxlen=MAX_EVENTS)

    def is_due(self, now: Now) -> bool:
        """Say whether a minute is over: then `look` needs a snapshot."""
        return int(now.monotonic_s // STEP_S) > self._minute

    def look(self, snapshot: dict[str, Any], now: Now) -> None:
        """Add the point of the minute that is over, from a snapshot of this moment."""
        minute = int(now.monotonic_s // STEP_S)
        missed = min(minute - self._minute - 1, POINTS)
        self._points.extend([(None,) * len(_SHOWN)] * missed)
        self._minute = minute
        power = snapshot["power"]
        blocks = {**snapshot, **power}
        found = ((blocks.get(block) or {}).get(key) for block, key in _SHOWN.values())
        self._points.append(tuple(None if value == "unknown" else value for value in found))

    def add(self, happening: Happening, now: Now) -> None:
        """Add an event that happened at `now`."""
        self._events.append((now.uptime_s, happening))

    def report(self, now: Now) -> LastHour:
        """Return all of it; the clock as it is now gives the times of day."""

        def at(uptime_s: float) -> str | None:
            if now.wall is None:
                return None
            return timestamp(now.wall - timedelta(seconds=now.uptime_s - uptime_s))

        columns = {name: [p[i] for p in self._points] for i, name in enumerate(_SHOWN)}
        return {
            "since": at(self._since_s),
            "since_uptime_s": round(self._since_s, 1),
            "step_s": STEP_S,
            "points": cast(Points, columns),
            "events": [
                {"ts": at(s), "uptime_s": round(s, 1), "event": h.event, "detail": h.detail}
                for s, h in self._events
            ],
        }
