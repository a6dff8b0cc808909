"""A log lived through by the shipped rules: lines in, states and events out. No device, no real time.

It is the agent without threads: the same tent, the same passing of time, the same commands, the same
totals saved and restored, with a clock that shows the log's time.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from publisher import messages
from publisher.agent import TICK_S
from publisher.clock import Clock, Now
from publisher.commanding import COMMANDS
from publisher.commands import from_unit
from publisher.config.load import Config
from publisher.recording import resumed
from publisher.replay_lines import (
    NOT_A_DOOR,
    UNKNOWN_BEAM,
    UNKNOWN_SENSOR,
    Line,
    Restart,
    Told,
    Turn,
    Values,
)
from publisher.rules.happening import Happening
from publisher.store.ledger import Ledger
from publisher.store.rows import checksum
from sensors.crossing import Way
from sensors.doorway import HEARTBEAT_S, Watch, doorway
from sensors.reading import Measurement, Quality, Reading, Value
from sensors.shunt import corrected
from sensors.trouble import Trouble

#: The commands that change the tent, and the checks of their arguments.
REPLAYED = {name: task for name, task in COMMANDS.items() if task.changes_tent}
CHECKS = {name: task.check for name, task in REPLAYED.items()}
#: A log that never tells the time of day begins at this one.
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
#: Nothing waits for a broker.
NO_BUFFER = {"rows": 0, "oldest_s": 0, "dropped": 0}
DIGITS = 6


class World:
    """What the log tells of the unit's clocks: its time of day, whether that is known, and the boot."""

    def __init__(self, t: float, *, is_known: bool) -> None:
        """Begin at `t`; `is_known` says whether the time of day is, although no line has told it yet."""
        self.t = t
        self.boot_s = 0.0  # when the boot began
        self.is_known = is_known
        self._wall_at_0 = BEGINNING - timedelta(seconds=t)

    def set_wall(self, wall: datetime) -> None:
        """Set the time of day."""
        self._wall_at_0 = wall - timedelta(seconds=self.t)

    @property
    def wall(self) -> datetime:
        """The time of day, known or not."""
        return self._wall_at_0 + timedelta(seconds=self.t)


class ReplayedClock(Clock):
    """The unit's clock in the world of a log."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def now_s(self) -> float:
        """Return the log's time, in seconds."""
        return self._world.t

    def _read(self) -> Now:
        world = self._world
        wall = world.wall if world.is_known else None
        return Now(world.t, world.t - world.boot_s, wall, world.is_known)


@dataclass
class Kept:
    """What survives the end of the service."""

    boot: int
    days: dict[str, str]  # the visitor log: what `Tent.take_lines` gave for a date
    ledger: str = ""
    began: datetime | None = None  # the time of day at uptime 0 of this boot, where it was known

    @property
    def totals(self) -> dict[str, Any] | None:
        """The totals, read back from the ledger's text; None before the first end."""
        return Ledger.parse(self.ledger, checksum(self.ledger)).totals if self.ledger else None


class _Door:
    """A door whose beams the log moves: the driver without its lines."""

    def __init__(self, watch: Watch, clock: Clock) -> None:
        self._watch = watch
        self._clock = clock
        self._beat_s = clock.now_s()

    @property
    def due_s(self) -> float:
        """When it reports, without a change."""
        due_s = self._watch.due_s
        return self._beat_s if due_s is None else min(due_s, self._beat_s)

    def turn(self, beam: int, blocked: bool) -> list[Measurement]:
        """Break or free a beam; return what the driver reports of it, if anything."""
        ways = self._watch.turn(self._clock.now_s(), beam, blocked)
        return self._report(ways) if ways else []

    def tick(self) -> list[Measurement]:
        """Return what the driver reports now that it is due."""
        return self._report(self._watch.tick(self._clock.now_s()))

    def _report(self, ways: list[Way]) -> list[Measurement]:
        self._beat_s = self._clock.beat_after(self._clock.now_s(), HEARTBEAT_S)
        return self._watch.measured(ways)


class _Shunted:
    """A sensor on a shunt: what its driver makes of a current, by a zero that a command may set."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._zero_a: float | None = None  # None: as in the log

    def set_zero(self, zero_a: float) -> None:
        """Set the reading without a current to `zero_a`."""
        self._zero_a = zero_a

    def measured(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """Return the values with the power, the current before its zero, and the zero that was set."""
        current_a = values.get("current_a")
        if current_a is None:
            return values
        uncorrected_a = values.get("uncorrected_a")
        if uncorrected_a is None:
            uncorrected_a = current_a + self._settings.zero_a
        found = {**values, "uncorrected_a": uncorrected_a}
        if self._zero_a is not None:
            current_a = corrected(uncorrected_a, self._zero_a, self._settings.dead_band_a)
            found["current_a"] = round(current_a, DIGITS)
        voltage_v = values.get("voltage_v")
        if voltage_v is not None and ("power_w" not in values or self._zero_a is not None):
            found["power_w"] = round(current_a * voltage_v, 1)
        return found


class Replay:
    """A unit's life by the lines of a log. Each method returns the lines that it has to print."""

    def __init__(self, config: Config, t: float, every_s: float, *, has_wall: bool) -> None:
        """Start the service at `t`; a state comes out every `every_s` seconds.

        `has_wall` says whether a line of the log sets the clock: until then it is unknown.
        """
        self._config = config
        self._sensors = {sensor.name: sensor for sensor in config.sensors}
        self._every_s = every_s
        self._state_due_s = self._state_after(t)
        self._world = World(t, is_known=not has_wall)
        self._doorways = {
            sensor.name: kind
            for sensor in config.sensors
            if (kind := doorway(sensor.traits)) is not None
        }
        self._blocked = {name: [False] * len(kind.beams) for name, kind in self._doorways.items()}
        self._only_beams: dict[str, str | None] = {}  # the name that the log gives to each
        #: Why the unit has refused the last command; its reader resets it to None.
        self.refusal: Trouble | None = None
        self._kept = Kept(boot=1, days={})
        self._seq = 0
        self._printed: list[str] = []
        self._heard: list[Reading] = []  # of one instant, for the next `apply`
        self._heard_of: set[str] = set()
        self._on_s: float | None = None  # while it is off: when it starts again
        self._watched: set[str] = set()

    def start(self, doors: Iterable[str]) -> list[str]:
        """Start the service for the first time; `doors` are those whose beams the log moves."""
        self._watched = set(doors) & self._doorways.keys()
        self._start()
        return self._take_printed()

    # Input

    def take(self, line: Line) -> list[str]:
        """Let time pass up to a line, and do what it says. Raises Trouble for what the unit does not have."""
        t, what = line.t, line.what
        self._check(what)
        if t > self._world.t:
            self._pass_to(t)
        if line.wall is not None:
            self._apply_heard()
            self._world.set_wall(line.wall)
            self._world.is_known = self._world.is_known or self._on_s is None
            self._ticked_s = -1.0  # the tent has not seen it
        if isinstance(what, Turn):
            self._turn(what)
        elif self._on_s is not None:
            pass
        elif isinstance(what, Values):
            self._hear(what)
        elif isinstance(what, Told):
            self._apply_heard()
            self._carry_out(what)
        elif isinstance(what, Restart):
            self._apply_heard()
            self._stop(what)
        return self._take_printed() if self._printed else []

    def end(self) -> list[str]:
        """End the log: return what is left, and the last state."""
        if self._on_s is not None:
            self._pass_to(self._on_s)
        self._apply_heard()
        self._show()
        return self._take_printed()

    def _check(self, what: object) -> None:
        if isinstance(what, Values) and what.sensor not in self._sensors:
            known = ", ".join(self._sensors) or "–"
            raise Trouble(UNKNOWN_SENSOR, name=what.sensor, known=known)
        if isinstance(what, Turn):
            self._beam_of(what)
        elif isinstance(what, Told):
            from_unit(what.message, CHECKS, self._config)

    def _beam_of(self, turn: Turn) -> int:
        """Return the number of a beam. Raises Trouble."""
        kind = self._doorways.get(turn.door)
        if kind is None:
            raise Trouble(NOT_A_DOOR, name=turn.door, known=", ".join(self._doorways) or "–")
        names = kind.beam_names()
        if len(names) == 1:
            only = self._only_beams.setdefault(turn.door, turn.beam)
            if turn.beam == only:
                return 0
            names = (only or "–",)
        elif turn.beam in names:
            return names.index(turn.beam)
        beam = "–" if turn.beam is None else turn.beam
        raise Trouble(UNKNOWN_BEAM, door=turn.door, beam=beam, known=", ".join(names))

    # Time

    def _pass_to(self, t: float) -> None:
        """Let time pass up to `t`; what is due at `t` itself waits for the lines of that time."""
        world = self._world
        if self._on_s is not None:
            if t < self._on_s:
                world.t = t
                return
            world.t = self._on_s
            self._start()
        while True:
            if self._heard and self._door_due_s() > world.t:
                self._apply_heard()
            due_s = min(self._tick_due_s, self._state_due_s, self._door_due_s())
            if due_s < t:
                world.t = due_s
                self._do_due()
            else:
                break
        world.t = t

    def _door_due_s(self) -> float:
        return min((door.due_s for door in self._doors.values()), default=math.inf)

    def _do_due(self) -> None:
        """Do what is due now, in the agent's order: news, then time, then the record."""
        now = self._clock.now()
        for name, door in self._doors.items():
            if door.due_s <= now.monotonic_s:
                self._report(name, door.tick())
        self._apply_heard()
        if now.monotonic_s >= min(self._tick_due_s, self._state_due_s):
            self._tick(now)
        if now.monotonic_s >= self._state_due_s:
            self._show()

    def _tick(self, now: Now) -> None:
        if self._ticked_s != now.monotonic_s:
            self.note(self.tent.tick(now), now)
            self._have_ticked(now)

    def _have_ticked(self, now: Now) -> None:
        self._ticked_s = now.monotonic_s
        self._tick_due_s = now.monotonic_s + TICK_S

    # The service

    def _start(self) -> None:
        config, kept = self._config, self._kept
        self._on_s = None
        clock = self._clock = ReplayedClock(self._world)
        clock.hold(kept.began)
        now = clock.now()
        self.tent = resumed(config, now, kept.totals, boot=kept.boot, log=kept.days.items())
        self._shunts = {s.name: _Shunted(s.config) for s in config.sensors if s.traits.on_shunt}
        for name, zero_a in self.tent.zeros().items():
            self.set_zero(name, zero_a)
        self.note(self.tent.tick(now), now)
        self._have_ticked(now)
        self._doors = {
            name: _Door(
                self._doorways[name].watching(
                    self._sensors[name].config, self._blocked[name], now.monotonic_s
                ),
                clock,
            )
            for name in sorted(self._watched)
        }
        self._state_due_s = max(self._state_due_s, self._state_after(now.monotonic_s))

    def _stop(self, restart: Restart) -> None:
        """End the service as `systemctl stop` does: the totals are stored as they are."""
        kept, world, now = self._kept, self._world, self._clock.now()
        kept.ledger = Ledger(boot=kept.boot, totals=self.tent.totals.as_dict()).text()
        kept.days |= dict(self.tent.take_lines())
        kept.began = now.began
        self._on_s = world.t + restart.off_s
        if restart.reboot:
            kept.boot, kept.began, self._seq = kept.boot + 1, None, 0
            world.boot_s = self._on_s
        if restart.synced is not None:
            world.is_known = restart.synced

    def _hear(self, what: Values) -> None:
        values: Mapping[str, Value] = what.values
        shunt = self._shunts.get(what.sensor)
        if shunt is not None:
            values = shunt.measured(values)
        if what.sensor in self._heard_of:  # the rules must see each by itself
            self._apply_heard()
        self._heard_of.add(what.sensor)
        at_s, ok, fault = self._world.t, Quality.OK, Quality.FAULT
        self._heard += [
            Reading(what.sensor, quantity, value, fault if value is None else ok, at_s)
            for quantity, value in values.items()
        ]

    def _turn(self, turn: Turn) -> None:
        beam = self._beam_of(turn)
        self._blocked[turn.door][beam] = turn.blocked
        if self._on_s is None:
            self._report(turn.door, self._doors[turn.door].turn(beam, turn.blocked))

    def _report(self, name: str, found: list[Measurement]) -> None:
        if not found:
            return
        if name in self._heard_of:
            self._apply_heard()
        self._heard_of.add(name)
        at_s = self._world.t
        self._heard += [
            Reading(name, m.quantity, m.value, m.quality, at_s, m.trouble) for m in found
        ]

    def _apply_heard(self) -> None:
        if self._heard:
            now, heard = self._clock.now(), self._heard
            self._heard = []
            self._heard_of.clear()
            self.note(self.tent.apply(heard, now), now)
            self._have_ticked(now)

    def _carry_out(self, told: Told) -> None:
        command = from_unit(told.message, CHECKS, self._config)
        now = self._clock.now()
        try:
            REPLAYED[command.name].do(self, command.argument, now)
        except Trouble as trouble:
            self.refusal = trouble

    # What commands use besides the tent (`commanding.Inside`)

    def note(self, happened: list[Happening], now: Now) -> None:
        """Print what happened at `now`."""
        for happening in happened:
            self._seq += 1
            at = {"t": round(now.monotonic_s, DIGITS)}
            event = {"event": happening.event, "detail": happening.detail}
            self._printed.append(messages.encode(at | event) + "\n")

    def set_zero(self, sensor: str, zero_a: float) -> None:
        """Subtract `zero_a` from a sensor's readings."""
        self._shunts[sensor].set_zero(zero_a)

    # Output

    def _show(self) -> None:
        """Print the state as of now, as the unit would publish it."""
        now = self._clock.now()
        self._tick(now)
        self._seq += 1
        state = messages.state(
            self._config, self._kept.boot, self._seq, now, self.tent.snapshot(), NO_BUFFER
        )
        self._printed.append(f'{{"t":{round(now.monotonic_s, DIGITS)},"state":{state}}}\n')
        self._state_due_s = self._state_after(now.monotonic_s)

    def _state_after(self, t: float) -> float:
        """Return when a state is due after `t`. A multiple that is `t` itself but for rounding is not."""
        return Clock.beat_after(t + 10**-DIGITS, self._every_s)

    def _take_printed(self) -> list[str]:
        printed, self._printed = self._printed, []
        return printed
