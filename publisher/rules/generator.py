"""The generator: whether it runs, and what is wrong with it. Each rule needs its time to hold.

Times are those of the readings: a rule is decided when a reading shows that it has held long enough,
never by the mere passing of time over an old value.
"""

from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from publisher.config.generator import (
    FREQUENCY,
    FREQUENCY_WARNING,
    FUEL_SUSPECTED,
    OVERLOAD,
    OVERLOAD_WARNING,
    SERVICE_DUE,
    GeneratorSettings,
)
from publisher.rules.held import Held

#: All alerts of the generator. Of a warning and its alarm only the alarm is shown while it stands.
ALERTS = (
    OVERLOAD_WARNING, OVERLOAD, FREQUENCY_WARNING, FREQUENCY, FUEL_SUSPECTED, SERVICE_DUE,
)  # fmt: skip

#: Smaller changes of power move no generator's frequency, however large a share they are.
LEAST_CHANGE_W = 50.0
#: Readings that the fuel rule remembers at most; those that come faster are judged and not kept.
MOST_REMEMBERED = 120


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


class _Sinking:
    """Frequency that sinks although the load has not risen: the engine gets too little fuel.

    Under more load any engine turns slower. So a frequency is held against those of the window that
    stood at no less power, and all is forgotten at a load step, after which it overshoots. An engine
    that stalls under too much load gives ever less power too: only `rated_w` tells it from this.
    """

    def __init__(self, rules: GeneratorSettings) -> None:
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
        rules: GeneratorSettings,
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
        #: The alerts that stand; the service is not among them (`GeneratorSettings.service_due`).
        self.alerts = self._standing()

    @property
    def running(self) -> bool | None:
        """Whether it runs; None where that is not known."""
        return None if self.state is State.UNKNOWN else self.state is State.RUNNING

    def _standing(self) -> frozenset[str]:
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
        self.alerts = self._standing()

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
