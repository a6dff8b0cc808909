"""What the unit reports of itself: `tentwatch status`, and parts of the topics `state` and `about`.

`docs/status.md` says what each key means.
"""

from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from publisher.clock import Now, timestamp
from sensors.trouble import TroubleJson

if TYPE_CHECKING:  # a program that only reads a status needs none of them
    from publisher.config.load import Config
    from publisher.inbox import Inbox
    from publisher.link.link import Link
    from publisher.rules.tent import Tent
    from publisher.store.store import Store
    from publisher.unit.board import Board
    from publisher.unit.panel import Panel


class LinkStatus(TypedDict):
    """The link's state. `trouble` says the same as `error`, in code and values."""

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
    """The block `unit` of the topic `about`: which unit it is, and counts."""

    serial: str
    installed: str | None
    boot: int
    previous: dict[str, int] | None
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
    """The store's state. Each trouble says the same as the text before it, in code and values."""

    error: str | None
    trouble: TroubleJson | None
    second_place: str | None
    second_place_trouble: TroubleJson | None


class Buffer(TypedDict):
    """Records that wait for the broker, and those given up, as in the topic `state`."""

    rows: int
    oldest_s: int
    dropped: int


class SinceHeadcount(TypedDict):
    """People who came in and went out since the last headcount."""

    entered: int
    left: int


class SensorStatus(TypedDict):
    """A sensor's state (`Tent.sensors`). `trouble` says the same as `error`, in code and values."""

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
    values: dict[str, float | bool | None]
    ages_s: dict[str, float]


class Capacity(TypedDict):
    """The block `capacity`, as in the topic `state`."""

    people: int | None
    seats: int
    free: int | None
    entered_today: int | None
    left_today: int | None
    passed_today: int | None
    entered_total: int | None
    left_total: int | None
    passed_total: int
    uncertainty: int | None
    open: NotRequired[bool | None]
    quality: str


class Mains(TypedDict):
    """The block `power.mains`."""

    present: bool | None
    voltage_v: float | None
    current_a: float | None
    power_w: float | None
    frequency_hz: float | None
    hours_today: float | None
    quality: str


class Generator(TypedDict):
    """The block `power.generator`."""

    running: bool | None
    state: str
    current_a: float | None
    voltage_v: float | None
    power_w: float | None
    frequency_hz: float | None
    load_pct: float | None
    headroom_w: float | None
    fuel_l: float | None
    fuel_l_low: float | None
    fuel_h: float | None
    fuel_h_low: float | None
    hours_total: float
    hours_since_service: float
    starts_total: int
    quality: str


class Battery(TypedDict):
    """The block `power.battery`."""

    charge_pct: float | None
    uncertainty_pct: float | None
    voltage_v: float | None
    current_a: float | None
    power_w: float | None
    time_to_empty_min: float | None
    time_to_empty_min_low: float | None
    reserve_min: float | None
    reserve_min_low: float | None
    capacity_ah: float | None
    capacity_rate_h: float | None
    synchronised: bool | None
    since_full_h: float | None
    gap: dict[str, Any] | None
    method: str
    quality: str


class Charger(TypedDict):
    """The block `power.charger`."""

    voltage_v: float | None
    current_a: float | None
    panel_power_w: float | None
    quality: str


class Power(TypedDict):
    """The block `power`; a block only of what is fitted."""

    source: str
    since: str | None
    since_estimated: NotRequired[bool]
    dark_in_min: float | None
    dark_in_min_low: float | None
    quality: str
    mains: NotRequired[Mains]
    generator: NotRequired[Generator]
    battery: NotRequired[Battery]
    charger: NotRequired[Charger]


class Climate(TypedDict):
    """The block `climate`, as in the topic `state`."""

    inside_c: float | None
    outside_c: float | None
    humidity_pct: float | None
    quality: str


class Co(TypedDict):
    """The block `co`, as in the topic `state`."""

    ppm: float | None
    peak_1h_ppm: float | None
    level: str
    quality: str


class Status(TypedDict):
    """What `tentwatch status` shows."""

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
    lamp_trouble: NotRequired[TroubleJson | None]
    buzzer: NotRequired[str | None]
    buzzer_trouble: NotRequired[TroubleJson | None]
    link: LinkStatus
    unit: UnitStatus
    commands: CommandsStatus
    buffer: Buffer
    store: StoreStatus
    sensors: list[SensorStatus]
    since_headcount: SinceHeadcount
    open: NotRequired[bool | None]
    capacity: NotRequired[Capacity]
    power: Power
    climate: NotRequired[Climate]
    co: NotRequired[Co]
    alerts: list[str]


def software() -> str:
    """Return the version of the installed program."""
    try:
        return version("tentwatch")
    except PackageNotFoundError:
        return "0"


@dataclass(frozen=True, slots=True)
class Reporter:
    """Puts together what the parts of the unit report."""

    config: "Config"
    software: str
    inbox: "Inbox"
    tent: "Tent"
    store: "Store"
    link: "Link"
    board: "Board"
    panel: "Panel"

    def unit_state(self) -> UnitState:
        """Return the block `unit` of `state`."""
        seen, health = self.board.seen, self.link.health()
        return {
            "undervoltage": seen.undervoltage,
            "throttled": seen.throttled,
            "cpu_c": seen.cpu_c,
            "disk_free_mb": seen.disk_free_mb,
            "disk_written_mb": seen.disk_written_mb,
            "queue": len(self.inbox) + health.queued + health.in_flight,
            "reconnects": max(0, health.sessions - 1),
        }

    def counts(self, now: Now) -> UnitCounts:
        """Return the block `unit` of `about`."""
        board, health = self.board, self.link.health()
        return {
            "serial": self.store.serial,
            "installed": self.store.installed,
            "boot": self.store.boot,
            "previous": self.store.previous,
            "uptime_s": round(now.uptime_s, 3),
            "undervoltages": board.undervoltages,
            "throttlings": board.throttlings,
            "own_written_mb": board.own_written_mb(),
            "inbox_most": self.inbox.most,
            "connections": health.sessions,
            "failures": health.failures,
        }

    def about(self, now: Now) -> dict[str, Any]:
        """Return what `about` reports of the work since the agent's start."""
        counted = (
            "name", "driver", "reads", "errors", "read_duration_mean_s", "read_duration_max_s",
        )  # fmt: skip
        return {
            "sensors": [{key: s[key] for key in counted} for s in self.tent.sensors(now)],
            "unit": self.counts(now),
        }

    def status(self, commands: CommandsStatus, now: Now) -> Status:
        """Return what `tentwatch status` shows."""
        tent = self.config.tent
        status = {
            "id": tent.id,
            "name": tent.name,
            "software": self.software,
            "config": self.config.digest,
            "boot": self.store.boot,
            "uptime_s": round(now.uptime_s, 1),
            "ts": timestamp(now.wall),
            "clock": "synced" if now.synced else "unsynced",
            "topics": f"{self.config.broker.prefix}/{tent.id}/#",
            **self._signals(),
            "link": self._link(),
            "unit": {**self.unit_state(), **self.counts(now), "inbox": len(self.inbox)},
            "commands": commands,
            "buffer": self.store.buffer(now),
            "store": self._store(),
            "sensors": self.tent.sensors(now),
            "since_headcount": self.tent.since_headcount(),
            "open": self.tent.totals.is_open,
            **self.tent.snapshot(),  # a block only of what is fitted
        }
        return cast(Status, status)

    def _signals(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, signal in (("lamp", self.panel.lamp), ("buzzer", self.panel.buzzer)):
            trouble = signal.trouble
            found[name] = signal.pattern
            found[f"{name}_trouble"] = None if trouble is None else trouble.as_dict()
        return found

    def _link(self) -> LinkStatus:
        return cast(LinkStatus, asdict(self.link.health()))

    def _store(self) -> StoreStatus:
        failure, second = self.store.failure, self.store.second_failure
        return {
            "error": None if failure is None else str(failure),
            "trouble": None if failure is None else failure.as_dict(),
            "second_place": None if second is None else str(second),
            "second_place_trouble": None if second is None else second.as_dict(),
        }
