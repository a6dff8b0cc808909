"""Where the visitor log and the backlog come from: the running agent, or the store where none runs."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from publisher.clock import Clock
from publisher.config.load import Config
from publisher.config.sections import TentSettings
from publisher.control import NotRunning
from publisher.link.stamps import Stamps
from publisher.rules import day
from publisher.rules.totals import Totals
from publisher.store.at_rest import AtRest
from technician import client

#: Later than any day: a log from here on has no closed day.
NO_DAYS = "9999"


@dataclass
class Log:
    """The visitor log: lines as `day.line` makes them; those of older versions have fewer keys.

    `today` is the open day's line so far, and `undated` the line of what has no day yet; either may be
    None.
    """

    id: str
    name: str
    timezone: str
    days: list[dict[str, Any]] = field(default_factory=list)
    today: dict[str, Any] | None = None
    undated: dict[str, Any] | None = None


class Source(Protocol):
    """See the module. Both methods raise what `source` does."""

    is_running: bool

    def log(self, since: str = "") -> Log:
        """Return the visitor log from the day `since` (ISO) on."""
        ...

    def records(self) -> Iterator[str]:
        """Yield the records that wait for the broker, oldest first, each as it would go out now."""
        ...


@contextlib.contextmanager
def source(state_dir: Path, config: Config | None) -> Iterator[Source]:
    """Yield the source for the unit whose state is in `state_dir`.

    `config` is what it would run with, if that can be read. Raises ControlError where an agent runs and
    does not answer, Unreadable where none runs and the store cannot be read.
    """
    unit = RunningUnit(state_dir)
    try:
        unit.log(NO_DAYS)
    except NotRunning:
        with contextlib.closing(AtRest(state_dir)) as store:
            yield StoreAtRest(store, config)
    else:
        yield unit


class RunningUnit:
    """The running agent, asked over its control socket."""

    is_running = True

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def log(self, since: str = "") -> Log:
        """Return the visitor log. Raises ControlError."""
        lines: dict[str, dict[str, Any]] = {}
        while True:
            answer = client.log_page(self._state_dir, since)
            lines |= _lines(answer["days"])
            if not answer["more"]:
                break
            since = answer["days"][-1][0]
        today, undated = answer["today"], answer["undated"]
        days = _closed(lines, today)
        return Log(answer["id"], answer["name"], answer["timezone"], days, today, undated)

    def records(self) -> Iterator[str]:
        """Yield the backlog as it is now. Raises ControlError."""
        after: int = 0
        until: int | None = None
        while True:
            answer = client.backlog_page(self._state_dir, after, until)
            if not answer["records"]:
                return
            yield from answer["records"]
            after, until = answer["after"], answer["until"]


class StoreAtRest:
    """The store, read where no agent runs."""

    is_running = False

    def __init__(self, store: AtRest, config: Config | None) -> None:
        self._store = store
        self._config = config
        self.boot = store.ledger.boot

    def log(self, since: str = "") -> Log:
        """Return the visitor log as it was last written. Raises Unreadable."""
        config = self._config
        lines = _lines(self._store.days(since))
        totals = Totals.restore(self._store.ledger.totals or {})
        if config is not None:
            door = config.sensor("door")
            shape = {
                "both_ways": door is not None and door.traits.tells_way,
                "mains": config.sensor("mains") is not None,
                "door": door is not None,
            }
        else:  # as it was on the last day that was closed
            last = [*_lines(self._store.days()).values()][-1:] or [{"entered": 0, "outages": 0}]
            shape = {
                "both_ways": last[0]["entered"] is not None,
                "mains": last[0].get("outages") is not None,
                "door": last[0].get("watched_h", 0.0) is not None,
            }
        zone = TentSettings.timezone if config is None else config.tent.timezone
        today, undated = totals.open_lines(ZoneInfo(zone), **shape)
        tent_id, name = ("", "") if config is None else (config.tent.id, config.tent.name)
        return Log(tent_id, name, zone, _closed(lines, today), today, undated)

    def records(self) -> Iterator[str]:
        """Yield the backlog. Raises Unreadable."""
        clock = Clock()
        clock.hold(self._store.began(self._store.boot))
        stamps = Stamps(self._store, clock)
        return map(stamps.stamp, self._store.rows())


def _lines(pairs: list[Any]) -> dict[str, dict[str, Any]]:
    found = {date: day.read_line(text, date) for date, text in pairs}
    return {date: line for date, line in found.items() if line is not None}


def _closed(lines: dict[str, dict[str, Any]], today: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the lines of closed days; one that is open again counts as it is now."""
    return [line for date, line in lines.items() if today is None or date != today["date"]]
