"""Whether the generator runs, from what its meter and its AC-present contact say.

Times are those of the readings: a rule is decided when a reading shows that it has held long enough,
never by the mere passing of time over an old value.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from publisher.config.generator import GeneratorSettings
from publisher.rules.engine_alerts import EngineAlerts
from publisher.rules.held import Held


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


class Engine:
    """The generator's state, and its alerts while it runs.

    After a restart nothing is known. The first reading of a DC meter decides, unless it contradicts the
    state that was known last: then it must hold. Of an AC meter the first `good_readings` that agree
    decide. So a running engine is known to run within seconds, and a single odd reading starts none.
    Alerts that stood before stay until the opposite is known.

    An AC meter lives on the line that it measures. Its silence says nothing, unless the contact says
    that the line is dead. If the contact is dead while the meter goes on measuring a live line, the
    contact's cable is cut, and the contact is not believed. Behind a DC meter's shunt other sources may
    charge; there the contact is believed. The contact alone never says that the engine runs. But beside
    a DC meter without a current, a live line is not called stopped either: the battery may be full.
    """

    def __init__(
        self,
        rules: GeneratorSettings,
        raised: Iterable[str] = (),
        *,
        ac: bool,
        was_running: bool | None = None,
    ) -> None:
        """Continue with the alerts that were `raised` before; `ac` says if the meter measures AC.

        `was_running` is the state that was known last, None where none was.
        """
        self._last = was_running
        self._rules = rules
        self._ac = self.is_ac = ac
        self._alerts = EngineAlerts(rules, raised, ac=ac)
        self.state = State.UNKNOWN
        self.load_pct: float | None = None
        #: Watts that can be added before it is overloaded; None if not known.
        self.headroom_w: float | None = None
        self._runs = (
            Held(rules.start_hold_s, rules.stop_hold_s)
            if ac
            else Held(rules.running_hold_s, rules.running_hold_s, bool(was_running))
        )
        self._read_s: float | None = None
        self._known_s = 0.0  # when the state last rested on what was seen
        self._dead_since_s: float | None = None
        self._agreed: State | None = None
        self._agreeing = 0

    @property
    def alerts(self) -> frozenset[str]:
        """The alerts that stand, but for the service's (`GeneratorSettings.service_due`)."""
        return self._alerts.standing

    @property
    def running(self) -> bool | None:
        """Whether it runs; None where that is not known."""
        return None if self.state is State.UNKNOWN else self.state is State.RUNNING

    def apply(self, seen: Metered, at_s: float) -> None:
        """Take what is seen at the monotonic second `at_s`; call it about once a second."""
        rules = self._rules
        # A shunt that was wired the wrong way round does not hide an overload.
        power_w = None if seen.power_w is None else abs(seen.power_w)
        self.load_pct = (
            None if power_w is None or rules.rated_w is None else 100 * power_w / rules.rated_w
        )
        self.headroom_w = None
        if power_w is not None and rules.rated_w is not None:
            most_w = rules.rated_w * rules.overload_warning_pct / 100
            self.headroom_w = max(0.0, most_w - power_w)
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
        if read_s is None:
            return
        if self.state is State.RUNNING:
            self._alerts.apply(self.load_pct, power_w, seen.voltage_v, seen.frequency_hz, read_s)
        elif (
            self.state is State.UNKNOWN
            and self._is_live(seen.voltage_v)
            and seen.frequency_hz is not None
        ):  # a line whose frequency is too high for a start
            self._alerts.judge_speed(seen.frequency_hz, read_s)

    def _is_live(self, voltage_v: float | None) -> bool:
        return voltage_v is not None and voltage_v >= self._rules.running_v

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
                return  # it contradicts the state that was known last, so it must hold
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
        if off or self.state is State.RUNNING:  # a voltage does not show that an engine stands
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
            self._alerts.begin(at_s)
        elif state is State.STOPPED:
            self._alerts.end()
        else:
            self._alerts.forget()
