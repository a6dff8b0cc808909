"""The alerts of a running generator: load, speed, fuel. Each condition must persist for a while."""

from collections.abc import Iterable

from publisher.config.generator import (
    FREQUENCY,
    FREQUENCY_WARNING,
    FUEL_SUSPECTED,
    OVERLOAD,
    OVERLOAD_WARNING,
    OVERSPEED,
    SERVICE_DUE,
    GeneratorSettings,
)
from publisher.rules.dose import Dose
from publisher.rules.eco_idle import EcoIdle
from publisher.rules.fuel import Fuel
from publisher.rules.held import Held
from publisher.rules.load_steps import LoadSteps

#: All alerts of the generator. While an alarm stands, its warning is not shown.
ALERTS = (
    OVERLOAD_WARNING, OVERLOAD, FREQUENCY_WARNING, FREQUENCY, OVERSPEED, FUEL_SUSPECTED, SERVICE_DUE,
)  # fmt: skip


class EngineAlerts:
    """The alerts that are on, except the service's (`GeneratorSettings.service_due`)."""

    def __init__(self, settings: GeneratorSettings, raised: Iterable[str], *, ac: bool) -> None:
        """Continue with the alerts that were `raised` before; `ac` says if the meter measures Hz."""
        self._settings = settings
        self._has_frequency = ac and not settings.inverter
        stood = frozenset(raised)
        of_load = stood if settings.rated_w is not None else frozenset()
        of_frequency = stood if self._has_frequency else frozenset()
        clear_s = settings.overload_clear_hold_s
        self._overload_warning = Held(
            settings.overload_warning_hold_s, clear_s, OVERLOAD_WARNING in of_load
        )
        self._overload = Held(0.0, clear_s, OVERLOAD in of_load)
        self._excess = Dose(settings.overload_hold_s, settings.overload_forget_s)
        clear_s = settings.sag_clear_hold_s
        self._sag_warning = Held(
            settings.sag_warning_hold_s, clear_s, FREQUENCY_WARNING in of_frequency
        )
        self._sag = Held(settings.sag_hold_s, clear_s, FREQUENCY in of_frequency)
        self._overspeed = Held(
            settings.overspeed_hold_s, settings.overspeed_clear_hold_s, OVERSPEED in of_frequency
        )
        self._no_fuel = Held(0.0, settings.fuel_clear_hold_s, FUEL_SUSPECTED in of_frequency)
        self._fuel = Fuel(settings)
        self._steps = LoadSteps(settings)
        self._idle = EcoIdle(settings)
        self._recovers_until_s: float | None = None
        self._running_since_s = 0.0
        self._frequency: tuple[float, float] | None = None  # the last one: when, hertz
        #: The alerts that stand.
        self.standing = self._standing()

    def begin(self, at_s: float) -> None:
        """Note that the engine runs since `at_s`."""
        self._running_since_s = at_s
        self.forget()

    def end(self) -> None:
        """Note that the engine has stopped: all alerts clear."""
        self.forget()
        for condition in self._conditions():
            condition.set(False)
        self.standing = self._standing()

    def forget(self) -> None:
        """Forget pending conditions. Alerts that are on stay on."""
        self._frequency = self._recovers_until_s = None
        self._fuel.forget()
        self._steps.forget()
        self._idle.forget()
        self._excess.forget()
        for condition in self._conditions():
            condition.forget()

    def apply(
        self,
        load_pct: float | None,
        power_w: float | None,
        voltage_v: float | None,
        frequency_hz: float | None,
        read_s: float,
    ) -> None:
        """Apply a reading of a running engine, read at the monotonic second `read_s`."""
        self._judge_load(load_pct, read_s)
        if self._has_frequency:
            ran_s = read_s - self._running_since_s
            if frequency_hz is None or voltage_v is None or voltage_v < self._settings.stopped_v:
                self._frequency = None  # it is stopping
                for condition in (self._sag_warning, self._sag, self._overspeed):
                    condition.forget()
            else:
                disturbed = self._is_disturbed(load_pct, power_w, frequency_hz, read_s)
                if ran_s >= self._settings.settle_s:
                    self.judge_speed(frequency_hz, read_s)
                    self._judge_sag(frequency_hz, read_s, disturbed=disturbed)
                    self._judge_fuel(power_w, frequency_hz, read_s, disturbed=disturbed)
        self.standing = self._standing()

    def judge_speed(self, frequency_hz: float, read_s: float) -> None:
        """Apply the frequency of a live line alone, also where it is too high to count as running."""
        if not self._has_frequency:
            return
        settings = self._settings
        self._overspeed.apply(
            frequency_hz > settings.overspeed_hz, frequency_hz < settings.overspeed_clear_hz, read_s
        )
        self.standing = self._standing()

    def _conditions(self) -> tuple[Held, ...]:
        return (
            self._overload_warning, self._overload, self._sag_warning, self._sag, self._overspeed,
            self._no_fuel,
        )  # fmt: skip

    def _standing(self) -> frozenset[str]:
        standing = []
        if self._overload.on or self._overload_warning.on:
            standing.append(OVERLOAD if self._overload.on else OVERLOAD_WARNING)
        if self._sag.on or self._sag_warning.on:
            standing.append(FREQUENCY if self._sag.on else FREQUENCY_WARNING)
        if self._overspeed.on:
            standing.append(OVERSPEED)
        if self._no_fuel.on:
            standing.append(FUEL_SUSPECTED)
        return frozenset(standing)

    def _judge_load(self, load_pct: float | None, read_s: float) -> None:
        settings = self._settings
        if load_pct is None:
            self._overload_warning.forget()
            self._overload.forget()
            self._excess.skip()
            return
        clear = load_pct < settings.overload_clear_pct
        self._overload_warning.apply(load_pct > settings.overload_warning_pct, clear, read_s)
        was_on = self._overload.on
        full = self._excess.apply(load_pct > settings.overload_pct, read_s)
        self._overload.apply(full, clear, read_s)
        if was_on and not self._overload.on:
            self._excess.forget()

    def _is_disturbed(
        self, load_pct: float | None, power_w: float | None, hz: float, read_s: float
    ) -> bool:
        """Say whether a step or an overload keeps the engine busy; notice an eco mode too."""
        if power_w is None:
            return False
        if self._idle.apply(hz, power_w, read_s):  # it speeds up
            self._recovers_until_s = read_s + self._settings.load_step_settle_s
        if load_pct is not None and load_pct > self._settings.overload_warning_pct:
            self._steps.disturb(read_s)
        return self._steps.apply(power_w, read_s)

    def _judge_sag(self, hz: float, read_s: float, *, disturbed: bool) -> None:
        settings = self._settings
        before, self._frequency = self._frequency, (read_s, hz)
        moves = False
        if before is not None:
            falls = before[1] - hz > settings.stopping_hz_per_s * (read_s - before[0])
            moves = falls or (disturbed and hz > before[1])
        if self._recovers_until_s is not None and read_s < self._recovers_until_s:
            moves = True
        idle = self._idle
        clear = hz > settings.sag_clear_hz or idle.on
        for condition, limit_hz in (
            (self._sag_warning, settings.sag_warning_hz),
            (self._sag, settings.sag_hz),
        ):
            condition.apply(
                hz < limit_hz and not idle.on, clear, read_s, wait=moves or idle.is_undecided
            )

    def _judge_fuel(
        self, power_w: float | None, hz: float, read_s: float, *, disturbed: bool
    ) -> None:
        settings = self._settings
        if power_w is None or hz < settings.running_low_hz:  # at this speed it may be stopping
            return
        verdict = self._fuel.apply(
            read_s,
            hz,
            power_w,
            disturbed=disturbed,
            warm=read_s - self._running_since_s >= settings.warm_up_s,
            idle=self._idle,
        )
        if verdict is not None:
            self._no_fuel.apply(verdict.is_suspected, verdict.is_steady, read_s)
