"""The alerts of a running generator: load, frequency, fuel. Each condition must persist for a while."""

from collections.abc import Iterable

from publisher.config.generator import (
    FREQUENCY,
    FREQUENCY_WARNING,
    FUEL_SUSPECTED,
    OVERLOAD,
    OVERLOAD_WARNING,
    SERVICE_DUE,
    GeneratorSettings,
)
from publisher.rules.fuel import Fuel
from publisher.rules.held import Held

#: All alerts of the generator. While an alarm stands, its warning is not shown.
ALERTS = (
    OVERLOAD_WARNING, OVERLOAD, FREQUENCY_WARNING, FREQUENCY, FUEL_SUSPECTED, SERVICE_DUE,
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
        self._overload = Held(settings.overload_hold_s, clear_s, OVERLOAD in of_load)
        clear_s = settings.sag_clear_hold_s
        self._sag_warning = Held(
            settings.sag_warning_hold_s, clear_s, FREQUENCY_WARNING in of_frequency
        )
        self._sag = Held(settings.sag_hold_s, clear_s, FREQUENCY in of_frequency)
        self._no_fuel = Held(0.0, settings.fuel_clear_hold_s, FUEL_SUSPECTED in of_frequency)
        self._fuel = Fuel(settings)
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
        self._frequency = None
        self._fuel.forget()
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
        if self._has_frequency and read_s - self._running_since_s >= self._settings.settle_s:
            if frequency_hz is None or voltage_v is None or voltage_v < self._settings.stopped_v:
                self._frequency = None  # it is stopping
                self._sag_warning.forget()
                self._sag.forget()
            else:
                self._judge_frequency(frequency_hz, read_s)
                self._judge_fuel(load_pct, power_w, frequency_hz, read_s)
        self.standing = self._standing()

    def _conditions(self) -> tuple[Held, ...]:
        return (
            self._overload_warning, self._overload, self._sag_warning, self._sag, self._no_fuel,
        )  # fmt: skip

    def _standing(self) -> frozenset[str]:
        standing = []
        if self._overload.on or self._overload_warning.on:
            standing.append(OVERLOAD if self._overload.on else OVERLOAD_WARNING)
        if self._sag.on or self._sag_warning.on:
            standing.append(FREQUENCY if self._sag.on else FREQUENCY_WARNING)
        if self._no_fuel.on:
            standing.append(FUEL_SUSPECTED)
        return frozenset(standing)

    def _judge_load(self, load_pct: float | None, read_s: float) -> None:
        settings = self._settings
        if load_pct is None:
            self._overload_warning.forget()
            self._overload.forget()
            return
        clear = load_pct < settings.overload_clear_pct
        self._overload_warning.apply(load_pct > settings.overload_warning_pct, clear, read_s)
        self._overload.apply(load_pct > settings.overload_pct, clear, read_s)

    def _judge_frequency(self, hz: float, read_s: float) -> None:
        settings = self._settings
        before, self._frequency = self._frequency, (read_s, hz)
        falls = before is not None and before[1] - hz > settings.stopping_hz_per_s * (
            read_s - before[0]
        )
        clear = hz > settings.sag_clear_hz
        self._sag_warning.apply(hz < settings.sag_warning_hz, clear, read_s, wait=falls)
        self._sag.apply(hz < settings.sag_hz, clear, read_s, wait=falls)

    def _judge_fuel(
        self, load_pct: float | None, power_w: float | None, hz: float, read_s: float
    ) -> None:
        settings = self._settings
        if power_w is None or hz < settings.running_low_hz:  # at this speed it may be stopping
            return
        overloaded = load_pct is not None and load_pct > settings.overload_warning_pct
        verdict = self._fuel.apply(read_s, hz, power_w, overloaded=overloaded)
        if verdict is not None:
            self._no_fuel.apply(verdict.is_suspected, verdict.is_steady, read_s)
