"""The generator: whether it runs, and what is wrong with it. Each rule needs its time to hold.

Times are those of the readings: a rule is decided when a reading shows that it has held long enough,
never by the mere passing of time over an old value.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sensors.settings import setting

OVERLOAD_WARNING, OVERLOAD = "generator_overload_warning", "generator_overload"
FREQUENCY_WARNING, FREQUENCY = "generator_frequency_warning", "generator_frequency"
FUEL_SUSPECTED = "generator_fuel_suspected"
SERVICE_DUE = "generator_service_due"
#: All alerts of the generator. Of a warning and its alarm only the alarm is shown while it stands.
ALERTS = (
    OVERLOAD_WARNING, OVERLOAD, FREQUENCY_WARNING, FREQUENCY, FUEL_SUSPECTED, SERVICE_DUE,
)  # fmt: skip

#: Smaller changes of power move no generator's frequency, however large a share they are.
LEAST_CHANGE_W = 50.0
#: Readings that the fuel rule remembers at most; those that come faster are judged and not kept.
MOST_REMEMBERED = 120

#: Pairs of keys of which the first must be less than the second.
_ASCENDING = (
    ("stopped_v", "running_v"),
    ("running_low_hz", "running_high_hz"),
    ("start_hold_s", "unknown_after_s"),
    ("overload_clear_pct", "overload_warning_pct"),
    ("overload_warning_pct", "overload_pct"),
    ("sag_hz", "sag_warning_hz"),
    ("sag_warning_hz", "sag_clear_hz"),
    ("sag_clear_hz", "running_high_hz"),
    ("fuel_steady_hz", "fuel_swing_hz"),
)


@dataclass(frozen=True)
class Generator:
    """`[generator]`: what its readings mean. The defaults are those of a 230 V, 50 Hz generator.

    ISO 8528-5, class G2, allows a droop of 5 %, dips of 10 % and overshoots of 12 % that are over in
    5 s: the alerts lie outside that.
    """

    rated_w: float | None = setting(
        None, doc="rated power at the point of measurement; gives load_pct", low=10, high=1e6
    )
    inverter: bool = setting(
        False, doc="an inverter holds the frequency: no alerts about frequency and fuel"
    )
    service_every_h: float | None = setting(
        None, doc="engine hours between two services; without it no alert", low=1, high=100_000
    )

    running_a: float = setting(
        1.0, doc="DC meter: current from which it counts as running", low=0.05, high=500
    )
    stopped_pct: float = setting(
        70.0, doc="DC meter: part of running_a below which it counts as stopped", low=1, high=95
    )
    running_hold_s: float = setting(
        2.0, doc="DC meter: time that a start or stop must last to count", low=0, high=600
    )

    running_v: float = setting(
        184.0, doc="AC meter: voltage from which it counts as running", low=50, high=500
    )
    running_low_hz: float = setting(
        45.0, doc="AC meter: lowest frequency at which a start counts", low=20, high=70
    )
    running_high_hz: float = setting(
        57.0, doc="AC meter: highest frequency at which a start counts", low=20, high=80
    )
    start_hold_s: float = setting(
        5.0, doc="AC meter: time that a start must last to count", low=0, high=600
    )
    stopped_v: float = setting(
        115.0, doc="AC meter: voltage below which it counts as stopped", low=10, high=500
    )
    stop_hold_s: float = setting(
        3.0, doc="AC meter: time that a stop must last to count", low=0, high=600
    )
    unknown_after_s: float = setting(
        10.0, doc="silence of the meter after which nothing is known", low=1, high=60
    )
    good_readings: int = setting(
        3,
        doc="AC meter: readings in a row that must agree before anything is known",
        low=1,
        high=60,
    )
    line_dead_hold_s: float = setting(
        3.0, doc="time for which the AC-present contact must be dead to count", low=0, high=60
    )

    overload_warning_pct: float = setting(
        90.0, doc="load above which to warn, of rated_w", low=1, high=500
    )
    overload_warning_hold_s: float = setting(
        60.0, doc="time above overload_warning_pct", low=0, high=3600
    )
    overload_pct: float = setting(
        100.0, doc="load above which it is overloaded, of rated_w", low=1, high=500
    )
    overload_hold_s: float = setting(10.0, doc="time above overload_pct", low=0, high=3600)
    overload_clear_pct: float = setting(
        80.0, doc="load below which warning and alarm go, of rated_w", low=1, high=500
    )
    overload_clear_hold_s: float = setting(
        60.0, doc="time below overload_clear_pct", low=0, high=3600
    )

    settle_s: float = setting(
        10.0, doc="time after a start in which frequency is not judged", low=0, high=600
    )
    stopping_hz_per_s: float = setting(
        2.0, doc="fall of frequency in a second that may be a stop; a sag waits for its end",
        low=0.1, high=100,
    )  # fmt: skip
    sag_warning_hz: float = setting(47.5, doc="frequency below which to warn", low=20, high=70)
    sag_warning_hold_s: float = setting(3.0, doc="time below sag_warning_hz", low=0, high=600)
    sag_hz: float = setting(46.0, doc="frequency below which to raise the alarm", low=20, high=70)
    sag_hold_s: float = setting(1.0, doc="time below sag_hz", low=0, high=600)
    sag_clear_hz: float = setting(
        48.5, doc="frequency above which warning and alarm go", low=20, high=70
    )
    sag_clear_hold_s: float = setting(30.0, doc="time above sag_clear_hz", low=0, high=3600)

    fuel_swing_hz: float = setting(
        2.0,
        doc="fall of frequency without more load that hints at a lack of fuel",
        low=0.2,
        high=20,
    )
    fuel_window_s: float = setting(
        30.0, doc="time within which such a fall counts", low=5, high=600
    )
    fuel_hold_s: float = setting(
        3.0, doc="time over which such falls must be seen", low=0, high=600
    )
    fuel_steady_hz: float = setting(1.0, doc="falls below this count as steady", low=0.1, high=20)
    fuel_clear_hold_s: float = setting(
        60.0, doc="time for which it must be steady to be well again", low=0, high=3600
    )
    fuel_flat_pct: float = setting(
        5.0, doc="rise of power that does not yet explain a fall", low=0, high=100
    )
    load_step_pct: float = setting(
        30.0, doc="change of power between two readings that upsets any engine", low=1, high=100
    )
    load_step_settle_s: float = setting(
        5.0, doc="time in which an engine recovers from that", low=0, high=60
    )

    def faults(self) -> list[tuple[str, str]]:
        """Return (key, what to do) of each fault that no single key shows."""
        return [
            (lower, f"must be less than {upper} ({getattr(self, upper):g})")
            for lower, upper in _ASCENDING
            if not getattr(self, lower) < getattr(self, upper)
        ]

    @property
    def stopped_a(self) -> float:
        """Current below which a generator on a DC meter counts as stopped."""
        return self.running_a * self.stopped_pct / 100

    def service_due(self, since_service_h: float) -> bool:
        """Say whether SERVICE_DUE stands after so many engine hours since the last service."""
        return self.service_every_h is not None and since_service_h >= self.service_every_h

    def rules(self) -> list[tuple[str, str, str]]:
        """Return (state or alert, enters when, leaves when) with the numbers that hold."""
        return [
            (
                "running (AC meter)",
                f"at least {self.running_v:g} V and {self.running_low_hz:g} to "
                f"{self.running_high_hz:g} Hz for {self.start_hold_s:g} s",
                f"below {self.stopped_v:g} V for {self.stop_hold_s:g} s",
            ),
            (
                "running (DC meter)",
                f"at least {self.running_a:g} A for {self.running_hold_s:g} s",
                f"below {self.stopped_a:g} A for {self.running_hold_s:g} s",
            ),
            (
                "stopped",
                f"running has ended, or the AC-present contact is dead for "
                f"{self.line_dead_hold_s:g} s",
                f"it runs; or there are {self.stopped_v:g} V for {self.unknown_after_s:g} s and it "
                f"does not count as running: unknown",
            ),
            (
                "unknown (AC meter)",
                f"no voltage read for {self.unknown_after_s:g} s while the AC-present contact is "
                f"live or not fitted",
                f"{self.good_readings} readings in a row agree that it runs or that it does not",
            ),
            (
                "unknown (DC meter)",
                f"the current is not known while the AC-present contact is live or not fitted; or "
                f"the contact is live and no current flows for {self.unknown_after_s:g} s",
                f"a reading with a current, or without one and no live contact; for "
                f"{self.running_hold_s:g} s where it contradicts what was known last",
            ),
            *self._overload_rules(),
            *self._frequency_rules(),
            (
                SERVICE_DUE,
                "never: service_every_h is not set"
                if self.service_every_h is None
                else f"{self.service_every_h:g} engine hours since the last service",
                "" if self.service_every_h is None else "the service is noted",
            ),
        ]

    def _overload_rules(self) -> list[tuple[str, str, str]]:
        if self.rated_w is None:
            return [
                (name, "never: rated_w is not set", "") for name in (OVERLOAD_WARNING, OVERLOAD)
            ]

        def share(pct: float) -> str:
            return f"{pct:g} % of {self.rated_w:g} W"

        leaves = f"below {share(self.overload_clear_pct)} for {self.overload_clear_hold_s:g} s"
        return [
            (name, f"above {share(pct)} for {hold_s:g} s", f"{leaves}, or stopped")
            for name, pct, hold_s in (
                (OVERLOAD_WARNING, self.overload_warning_pct, self.overload_warning_hold_s),
                (OVERLOAD, self.overload_pct, self.overload_hold_s),
            )
        ]

    def _frequency_rules(self) -> list[tuple[str, str, str]]:
        if self.inverter:
            never = "never: an inverter holds its frequency"
            return [(name, never, "") for name in (FREQUENCY_WARNING, FREQUENCY, FUEL_SUSPECTED)]
        judged = (
            f"not judged in the first {self.settle_s:g} s and while it falls by more than "
            f"{self.stopping_hz_per_s:g} Hz/s"
        )
        leaves = f"above {self.sag_clear_hz:g} Hz for {self.sag_clear_hold_s:g} s, or stopped"
        return [
            (
                FREQUENCY_WARNING,
                f"below {self.sag_warning_hz:g} Hz for {self.sag_warning_hold_s:g} s; {judged}",
                leaves,
            ),
            (FREQUENCY, f"below {self.sag_hz:g} Hz for {self.sag_hold_s:g} s; {judged}", leaves),
            (
                FUEL_SUSPECTED,
                f"more than {self.fuel_swing_hz:g} Hz lower than in the {self.fuel_window_s:g} s "
                f"before, though power has not risen by more than {self.fuel_flat_pct:g} %, and so "
                f"again {self.fuel_hold_s:g} s later; not judged in the first {self.settle_s:g} s, "
                f"below {self.running_low_hz:g} Hz, and for {self.load_step_settle_s:g} s after a "
                f"change of power by {self.load_step_pct:g} % or an overload",
                f"less than {self.fuel_steady_hz:g} Hz lower for {self.fuel_clear_hold_s:g} s, or "
                f"stopped",
            ),
        ]


class State(StrEnum):
    """Whether the generator runs."""

    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


class Metered(NamedTuple):
    """What meter and contact say at one instant; None is what is not known.

    `read_s` is the monotonic second of the meter's newest reading: a later one is a new reading, and
    the same one lets time pass. `line` is the AC-present contact: None where none is fitted.
    """

    read_s: float | None = None
    current_a: float | None = None
    voltage_v: float | None = None
    power_w: float | None = None
    frequency_hz: float | None = None
    line: bool | None = None


class Held:
    """A condition that comes when it has been so for a while, and goes when the opposite has."""

    def __init__(self, enter_s: float, leave_s: float, on: bool = False) -> None:
        """Begin with the condition `on`; it takes `enter_s` to come and `leave_s` to go."""
        self._enter_s = enter_s
        self._leave_s = leave_s
        self._since_s: float | None = None
        self.on = on

    def apply(self, enters: bool, leaves: bool, at_s: float, *, wait: bool = False) -> bool:
        """Take what a reading at `at_s` says and return `on`; neither keeps what was.

        `wait` puts the decision off to a later reading, while the time goes on counting.
        """
        if not (leaves if self.on else enters):
            self._since_s = None
            return self.on
        if self._since_s is None:
            self._since_s = at_s
        if not wait and at_s - self._since_s >= (self._leave_s if self.on else self._enter_s):
            self.on, self._since_s = not self.on, None
        return self.on

    def forget(self) -> None:
        """Forget what is pending: it begins anew."""
        self._since_s = None

    @property
    def is_pending(self) -> bool:
        """Whether it has begun to come or to go."""
        return self._since_s is not None

    def set(self, on: bool) -> None:
        """Decide at once."""
        self.on, self._since_s = on, None


class _Sinking:
    """Frequency that sinks although the load has not risen: the engine gets too little fuel.

    Under more load any engine turns slower. So a frequency is held against those of the window that
    stood at no less power, and all is forgotten at a load step, after which it overshoots. An engine
    that stalls under too much load gives ever less power too: only `rated_w` tells it from this.
    """

    def __init__(self, rules: Generator) -> None:
        self._rules = rules
        self._spacing_s = rules.fuel_window_s / MOST_REMEMBERED
        self._past: deque[tuple[float, float, float]] = deque(maxlen=MOST_REMEMBERED + 1)
        self._power_w: float | None = None
        self._quiet_until_s: float | None = None
        self._first_s = 0.0  # of the falls that were seen: the first and the last
        self._last_s: float | None = None

    def forget(self) -> None:
        """Begin anew."""
        self._past.clear()
        self._power_w = self._quiet_until_s = self._last_s = None

    def apply(
        self, at_s: float, frequency_hz: float, power_w: float, *, overloaded: bool
    ) -> tuple[bool, bool] | None:
        """Return whether fuel is suspected and whether all is steady; None: not to be judged."""
        rules, past = self._rules, self._past
        before_w, self._power_w = self._power_w, power_w
        if overloaded or (before_w is not None and self._is_step(before_w, power_w)):
            past.clear()
            self._last_s = None  # a reading or two may have shown the frequency before the power
            self._quiet_until_s = at_s + rules.load_step_settle_s
        if self._quiet_until_s is not None:
            if at_s < self._quiet_until_s:
                return None
            self._quiet_until_s = None
        while past and at_s - past[0][0] > rules.fuel_window_s:
            past.popleft()
        flat_w = power_w - max(LEAST_CHANGE_W, rules.fuel_flat_pct / 100 * power_w)
        fall_hz = max((f for _, f, p in past if p >= flat_w), default=frequency_hz) - frequency_hz
        if not past or at_s - past[-1][0] >= self._spacing_s:
            past.append((at_s, frequency_hz, power_w))
        return self._recurs(fall_hz > rules.fuel_swing_hz, at_s), fall_hz < rules.fuel_steady_hz

    def _is_step(self, before_w: float, power_w: float) -> bool:
        share_w = self._rules.load_step_pct / 100 * max(before_w, power_w)
        return abs(power_w - before_w) > max(LEAST_CHANGE_W, share_w)

    def _recurs(self, low: bool, at_s: float) -> bool:
        """Say whether it is low now and was so long enough ago: a swing is low in its troughs only."""
        if not low:
            return False
        if self._last_s is None or at_s - self._last_s > self._rules.fuel_window_s:
            self._first_s = at_s
        self._last_s = at_s
        return at_s - self._first_s >= self._rules.fuel_hold_s


class Engine:
    """The generator's state and alerts, from what its meter and its AC-present contact say.

    After a restart nothing is known. A DC meter's first reading decides, unless it contradicts what was
    known last: that needs its hold. The first `good_readings` of an AC meter that agree decide. So an
    engine that runs is known to run within seconds, and a single odd reading starts none. Alerts
    that stood before stay until the opposite is known.

    An AC meter lives on the line that it measures: its silence says nothing, unless the contact says
    that the line is dead. A contact that is dead while the meter goes on measuring a live line has a
    cut cable, and is not believed; behind a DC meter's shunt other sources may charge, so there the
    contact wins. The contact alone never says that the engine runs; but beside a DC
    meter without a current, a live line is not called stopped either: the battery may be full.
    """

    def __init__(
        self,
        rules: Generator,
        raised: Iterable[str] = (),
        *,
        ac: bool,
        was_running: bool | None = None,
    ) -> None:
        """Begin with the alerts that were `raised` before; `ac`: the meter measures AC and Hz.

        `was_running` is what was known last, None where nothing was.
        """
        self._last = was_running
        stood = frozenset(raised)
        self._rules = rules
        self._ac = ac
        self._has_load = rules.rated_w is not None
        self._has_frequency = ac and not rules.inverter
        loaded = stood if self._has_load else frozenset()
        turning = stood if self._has_frequency else frozenset()
        self._overload_warning = Held(
            rules.overload_warning_hold_s, rules.overload_clear_hold_s, OVERLOAD_WARNING in loaded
        )
        self._overload = Held(
            rules.overload_hold_s, rules.overload_clear_hold_s, OVERLOAD in loaded
        )
        self._sag_warning = Held(
            rules.sag_warning_hold_s, rules.sag_clear_hold_s, FREQUENCY_WARNING in turning
        )
        self._sag = Held(rules.sag_hold_s, rules.sag_clear_hold_s, FREQUENCY in turning)
        self._fuel = Held(0.0, rules.fuel_clear_hold_s, FUEL_SUSPECTED in turning)
        self._conditions = (
            self._overload_warning, self._overload, self._sag_warning, self._sag, self._fuel,
        )  # fmt: skip
        self._sinking = _Sinking(rules)

        self.state = State.UNKNOWN
        self.load_pct: float | None = None
        self._runs = (
            Held(rules.start_hold_s, rules.stop_hold_s)
            if ac
            else Held(rules.running_hold_s, rules.running_hold_s, bool(was_running))
        )
        self._read_s: float | None = None
        self._known_s = 0.0  # when the state last rested on what was seen
        self._dead_since_s: float | None = None
        self._running_since_s = 0.0
        self._agreed: State | None = None
        self._agreeing = 0
        self._frequency: tuple[float, float] | None = None  # the last one: when, hertz

    @property
    def running(self) -> bool | None:
        """Whether it runs; None where that is not known."""
        return None if self.state is State.UNKNOWN else self.state is State.RUNNING

    @property
    def alerts(self) -> frozenset[str]:
        """The alerts that stand; the service is not among them (`Generator.service_due`)."""
        standing = []
        if self._overload.on or self._overload_warning.on:
            standing.append(OVERLOAD if self._overload.on else OVERLOAD_WARNING)
        if self._sag.on or self._sag_warning.on:
            standing.append(FREQUENCY if self._sag.on else FREQUENCY_WARNING)
        if self._fuel.on:
            standing.append(FUEL_SUSPECTED)
        return frozenset(standing)

    def apply(self, seen: Metered, at_s: float) -> None:
        """Take what is seen at `at_s` (monotonic), as often as you like and about once a second."""
        rules = self._rules
        # A shunt that was wired the wrong way round does not hide an overload.
        power_w = None if seen.power_w is None else abs(seen.power_w)
        self.load_pct = (
            None if power_w is None or rules.rated_w is None else 100 * power_w / rules.rated_w
        )
        read_s = seen.read_s
        if read_s is None or (self._read_s is not None and read_s <= self._read_s):
            read_s = None  # nothing new: time passes
        else:
            self._read_s = read_s

        if self._line_is_dead(seen, read_s, at_s):
            self._become(State.STOPPED, at_s)
            self._runs.forget()
            self._known_s = at_s
        elif self._ac:
            if read_s is not None and seen.voltage_v is not None:
                self._take_ac(seen.voltage_v, seen.frequency_hz, read_s)
            self._notice_silence(seen, at_s)
        elif seen.current_a is None:
            self._become(State.UNKNOWN, at_s)
        else:
            if read_s is not None:
                self._take_dc(abs(seen.current_a), seen.line, read_s)
            self._notice_voltage(seen, at_s)
        if read_s is not None and self.state is State.RUNNING:
            self._judge_load(read_s)
            self._judge_frequency(seen, power_w, read_s)

    # The state

    def _line_is_dead(self, seen: Metered, read_s: float | None, at_s: float) -> bool:
        if seen.line is not False:
            self._dead_since_s = None
            return False
        voltage_v = seen.voltage_v if self._ac and read_s is not None else None
        live = voltage_v is not None and voltage_v >= self._rules.stopped_v
        if live or self._dead_since_s is None:
            self._dead_since_s = at_s
        return at_s - self._dead_since_s >= self._rules.line_dead_hold_s

    def _take_dc(self, current_a: float, line: bool | None, read_s: float) -> None:
        rules = self._rules
        on, off = current_a >= rules.running_a, current_a < rules.stopped_a
        if self.state is not State.UNKNOWN or self._last is not None:
            before = self._runs.on
            on = self._runs.apply(on, off, read_s)
            if self.state is State.UNKNOWN and on == before and self._runs.is_pending:
                return  # it was otherwise when it was last known: that must hold, too
        if on:
            self._become(State.RUNNING, read_s)
        elif self.state is State.STOPPED or not line:
            self._become(State.STOPPED, read_s)
        else:  # it may idle: a full battery takes no current
            self._become(State.UNKNOWN, read_s)

    def _notice_voltage(self, seen: Metered, at_s: float) -> None:
        """Doubt a stop beside a live line, once a charger has had its time to begin."""
        if self.state is not State.STOPPED or not seen.line:
            self._known_s = at_s
        elif at_s - self._known_s >= self._rules.unknown_after_s:
            self._become(State.UNKNOWN, at_s)

    def _take_ac(self, voltage_v: float, frequency_hz: float | None, read_s: float) -> None:
        rules = self._rules
        off = voltage_v < rules.stopped_v
        on = (
            voltage_v >= rules.running_v
            and frequency_hz is not None
            and rules.running_low_hz <= frequency_hz <= rules.running_high_hz
        )
        if self.state is State.UNKNOWN:
            self._known_s = read_s
            verdict = State.RUNNING if on else State.STOPPED if off else None
            self._agreeing = self._agreeing + 1 if verdict is self._agreed else 1
            self._agreed = verdict
            if verdict is not None and self._agreeing >= rules.good_readings:
                self._become(verdict, read_s)
            return
        if off or self.state is State.RUNNING:  # a voltage is no sign of an engine that stands
            self._known_s = read_s
        self._become(State.RUNNING if self._runs.apply(on, off, read_s) else State.STOPPED, read_s)

    def _notice_silence(self, seen: Metered, at_s: float) -> None:
        if seen.line is False:  # soon dead, or the meter goes on
            self._known_s = at_s
        elif at_s - self._known_s >= self._rules.unknown_after_s:
            self._become(State.UNKNOWN, at_s)
            self._agreed, self._agreeing = None, 0

    def _become(self, state: State, at_s: float) -> None:
        if state is self.state:
            return
        self.state = state
        if state is not State.UNKNOWN:
            self._last = state is State.RUNNING
        self._runs.set(bool(self._last))
        self._agreed, self._agreeing = None, 0
        self._known_s = at_s
        if state is State.RUNNING:
            self._running_since_s = at_s
        self._frequency = None
        self._sinking.forget()
        for condition in self._conditions:
            if state is State.STOPPED:
                condition.set(False)
            else:
                condition.forget()

    # The alerts

    def _judge_load(self, read_s: float) -> None:
        rules, load_pct = self._rules, self.load_pct
        if load_pct is None:
            self._overload_warning.forget()
            self._overload.forget()
            return
        well = load_pct < rules.overload_clear_pct
        self._overload_warning.apply(load_pct > rules.overload_warning_pct, well, read_s)
        self._overload.apply(load_pct > rules.overload_pct, well, read_s)

    def _judge_frequency(self, seen: Metered, power_w: float | None, read_s: float) -> None:
        rules, hz = self._rules, seen.frequency_hz
        if not self._has_frequency or read_s - self._running_since_s < rules.settle_s:
            return
        stopping = seen.voltage_v is None or seen.voltage_v < rules.stopped_v
        if hz is None or stopping:
            self._frequency = None
            self._sag_warning.forget()
            self._sag.forget()
            return
        before, self._frequency = self._frequency, (read_s, hz)
        falls = before is not None and before[1] - hz > rules.stopping_hz_per_s * (
            read_s - before[0]
        )
        well = hz > rules.sag_clear_hz
        self._sag_warning.apply(hz < rules.sag_warning_hz, well, read_s, wait=falls)
        self._sag.apply(hz < rules.sag_hz, well, read_s, wait=falls)

        if power_w is None or hz < rules.running_low_hz:  # so slow, it may be coming to a stop
            return
        overloaded = self.load_pct is not None and self.load_pct > rules.overload_warning_pct
        sinks = self._sinking.apply(read_s, hz, power_w, overloaded=overloaded)
        if sinks is not None:
            self._fuel.apply(*sinks, read_s)
