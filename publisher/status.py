"""What the unit reports of itself: `tentwatch status`, and parts of the topics `state` and `about`.

`docs/status.md` says what each key means.
"""

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, cast

from publisher.clock import Now, timestamp
from publisher.config.load import Config
from publisher.link.link import Link
from publisher.rules.tent import Tent
from publisher.store.store import Store
from publisher.unit.board import Board
from publisher.unit.panel import Panel
from sensors.trouble import TroubleJson


class LinkStatus(TypedDict):
    """How the link does. `trouble` says the same as `error`, in code and values."""

    broker: str
    connected: bool
    error: str | None
    trouble: TroubleJson | None
    sessions: int
    failures: int
    restarts: int
    queued: int
    in_flight: int
    confirmed: int
    puback_s: float | None
    last_error: str | None
    last_trouble: TroubleJson | None
    last_error_age_s: float | None


class UnitState(TypedDict):
    """The block `unit` of the topic `state`."""

    undervoltage: bool | None
    throttled: bool | None
    cpu_c: float | None
    disk_free_mb: int | None
    disk_written_mb: int | None
    queue: int
    reconnects: int


class UnitCounts(TypedDict):
    """The block `unit` of the topic `about`."""

    boot: int
    uptime_s: float
    undervoltages: int | None
    throttlings: int | None
    own_written_mb: float | None
    inbox_most: int
    connections: int
    failures: int


class UnitStatus(UnitState, UnitCounts):
    """Both, and what waits for the agent."""

    inbox: int


class CommandsStatus(TypedDict):
    """Commands from the broker that were not carried out."""

    refused: int
    dropped: int


class StoreStatus(TypedDict):
    """How the store does. `trouble` says the same as `error`, in code and values."""

    error: str | None
    trouble: NotRequired[TroubleJson | None]
    second_place: str | None


class SensorStatus(TypedDict):
    """How a sensor does (`Tent.sensors`). `trouble` says the same as `error`, in code and values."""

    name: str
    driver: str
    quality: str
    age_s: float | None
    error: str | None
    trouble: NotRequired[TroubleJson | None]
    reads: int
    errors: int
    read_duration_s: float | None
    read_duration_mean_s: float | None
    read_duration_max_s: float | None
    values: dict[str, float | None]


class Status(TypedDict):
    """The answer to `tentwatch status`."""

    ok: bool
    id: str
    name: str
    software: str
    config: str
    boot: int
    uptime_s: float
    ts: str | None
    clock: str
    topics: str
    lamp: str | None
    link: LinkStatus
    unit: UnitStatus
    commands: CommandsStatus
    buffer: dict[str, int]
    store: StoreStatus
    sensors: list[SensorStatus]
    since_headcount: dict[str, int]
    capacity: NotRequired[dict[str, Any]]
    power: dict[str, Any]
    alerts: list[str]


@dataclass(frozen=True, slots=True)
class Work:
    """What the agent has counted of its own work."""

    inbox: int  # news that waits now, and the most that was taken in at once
    inbox_most: int
    refused: int  # commands from the broker
    dropped: int


@dataclass(frozen=True, slots=True)
class Reporter:
    """Puts together what the unit's parts say of themselves."""

    config: Config
    software: str
    tent: Tent
    store: Store
    link: Link
    board: Board
    panel: Panel

    def state(self, inbox: int) -> UnitState:
        """Return the block `unit` of `state`; `inbox` is how much news waits for the agent."""
        seen, health = self.board.seen, self.link.health()
        return {
            "undervoltage": seen.undervoltage,
            "throttled": seen.throttled,
            "cpu_c": seen.cpu_c,
            "disk_free_mb": seen.disk_free_mb,
            "disk_written_mb": seen.disk_written_mb,
            "queue": inbox + health.queued + health.in_flight,
            "reconnects": max(0, health.sessions - 1),
        }

    def counts(self, inbox_most: int, now: Now) -> UnitCounts:
        """Return the block `unit` of `about`."""
        board, health = self.board, self.link.health()
        return {
            "boot": self.store.boot,
            "uptime_s": round(now.uptime_s, 3),
            "undervoltages": board.undervoltages,
            "throttlings": board.throttlings,
            "own_written_mb": board.own_written_mb(),
            "inbox_most": inbox_most,
            "connections": health.sessions,
            "failures": health.failures,
        }

    def about(self, inbox_most: int, now: Now) -> dict[str, Any]:
        """Return what `about` reports of the work since the agent's start."""
        counted = (
            "name", "driver", "reads", "errors", "read_duration_mean_s", "read_duration_max_s",
        )  # fmt: skip
        return {
            "sensors": [{key: s[key] for key in counted} for s in self.tent.sensors(now)],
            "unit": self.counts(inbox_most, now),
        }

    def status(self, work: Work, now: Now) -> Status:
        """Return what `tentwatch status` shows."""
        tent = self.config.tent
        status = {
            "ok": True,
            "id": tent.id,
            "name": tent.name,
            "software": self.software,
            "config": self.config.digest,
            "boot": self.store.boot,
            "uptime_s": round(now.uptime_s, 1),
            "ts": timestamp(now.wall),
            "clock": "synced" if now.synced else "unsynced",
            "topics": f"{self.config.broker.prefix}/{tent.id}/#",
            "lamp": self.panel.pattern,
            "link": self._link(),
            "unit": {
                **self.state(work.inbox),
                **self.counts(work.inbox_most, now),
                "inbox": work.inbox,
            },
            "commands": CommandsStatus(refused=work.refused, dropped=work.dropped),
            "buffer": self.store.buffer(now),
            "store": self._store(),
            "sensors": self.tent.sensors(now),
            "since_headcount": self.tent.since_headcount(),
            **self.tent.snapshot(),  # a block only of what is fitted
        }
        return cast(Status, status)

    def _link(self) -> LinkStatus:
        health = self.link.health()
        return {
            "broker": health.broker,
            "connected": health.connected,
            "error": health.error,
            "trouble": health.trouble,
            "sessions": health.sessions,
            "failures": health.failures,
            "restarts": health.restarts,
            "queued": health.queued,
            "in_flight": health.in_flight,
            "confirmed": health.confirmed,
            "puback_s": health.puback_s,
            "last_error": health.last_error,
            "last_trouble": health.last_trouble,
            "last_error_age_s": health.last_error_age_s,
        }

    def _store(self) -> StoreStatus:
        return {"error": self.store.failure, "second_place": self.store.second_failure}
