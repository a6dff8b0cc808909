"""`[generator]`: thresholds of its state and alerts."""

from dataclasses import dataclass

from publisher.config.faults import NOT_LESS, Fault
from sensors.settings import setting
from sensors.trouble import Trouble, marked

OVERLOAD_WARNING, OVERLOAD = "generator_overload_warning", "generator_overload"
FREQUENCY_WARNING, FREQUENCY = "generator_frequency_warning", "generator_frequency"
OVERSPEED = "generator_overspeed"
FUEL_SUSPECTED = "generator_fuel_suspected"
SERVICE_DUE = "generator_service_due"

#: Litres of petrol an hour for each kilowatt of rated power at full load, and the share of it that the engine
#: burns without a load. The first and the inverter's share are those of the maker's figures for the EU2200i
#: (tank 3.6 l, 8.1 h at a quarter of 1.8 kW and 3.2 h at full load: 0.44 and 1.13 l/h). An engine that holds
#: its speed burns more when idle; its share is our estimate. A diesel engine needs about half of it all.
L_H_PER_KW = 0.6
NO_LOAD_SHARE, INVERTER_NO_LOAD_SHARE = 0.35, 0.2

#: Pairs of keys: the first must be less than the second.
_ASCENDING = (
    ("stopped_v", "running_v"),
    ("running_low_hz", "running_high_hz"),
    ("start_hold_s", "unknown_after_s"),
    ("overload_clear_pct", "overload_warning_pct"),
    ("overload_warning_pct", "overload_pct"),
    ("sag_hz", "sag_warning_hz"),
    ("sag_warning_hz", "sag_clear_hz"),
    ("sag_clear_hz", "running_high_hz"),
    ("sag_clear_hz", "overspeed_clear_hz"),
    ("overspeed_clear_hz", "overspeed_hz"),
    ("fuel_steady_hz", "fuel_swing_hz"),
)


@dataclass(frozen=True)
class GeneratorSettings:
    """`[generator]`: thresholds of its state and alerts. The defaults fit a 230 V, 50 Hz generator.

    ISO 8528-5, class G2, allows a droop of 5 %, a band of 1.5 % (0.75 Hz) under a steady load, dips of
    10 % and overshoots of 12 % for up to 5 s. The alerts are outside these limits. Without a load even
    class G1 (droop 8 %) stays below 54 Hz.
    """

    rated_w: float | None = setting(
        None,
        doc=marked("rated power at the point of measurement; gives load_pct"),
        low=10,
        high=1e6,
    )
    inverter: bool = setting(
        False, doc=marked("an inverter holds the frequency: no alerts about frequency and fuel")
    )
    service_every_h: float | None = setting(
        None,
        doc=marked("engine hours between two services; without it no alert"),
        low=1,
        high=100_000,
    )

    tank_l: float | None = setting(
        None,
        doc=marked("litres in a full tank; needed to say that it is full"),
        low=0.5,
        high=10_000,
    )
    full_load_l_h: float | None = setting(
        None,
        doc=marked("litres an hour at rated_w; without it 0.6 for each kW of rated_w"),
        low=0.05,
        high=1000,
    )
    no_load_l_h: float | None = setting(
        None,
        doc=marked(
            "litres an hour without a load; without it 35 % of full_load_l_h, 20 % of an inverter's"
        ),
        low=0.01,
        high=1000,
    )

    running_a: float = setting(
        1.0, doc=marked("DC meter: current from which it counts as running"), low=0.05, high=500
    )
    stopped_pct: float = setting(
        70.0,
        doc=marked("DC meter: part of running_a below which it counts as stopped"),
        low=1,
        high=95,
    )
    running_hold_s: float = setting(
        2.0, doc=marked("DC meter: time that a start or stop must last to count"), low=0, high=600
    )

    running_v: float = setting(
        184.0, doc=marked("AC meter: voltage from which it counts as running"), low=50, high=500
    )
    running_low_hz: float = setting(
        45.0, doc=marked("AC meter: lowest frequency at which a start counts"), low=20, high=70
    )
    running_high_hz: float = setting(
        57.0, doc=marked("AC meter: highest frequency at which a start counts"), low=20, high=80
    )
    start_hold_s: float = setting(
        5.0, doc=marked("AC meter: time that a start must last to count"), low=0, high=600
    )
    stopped_v: float = setting(
        115.0, doc=marked("AC meter: voltage below which it counts as stopped"), low=10, high=500
    )
    stop_hold_s: float = setting(
        3.0, doc=marked("AC meter: time that a stop must last to count"), low=0, high=600
    )
    unknown_after_s: float = setting(
        10.0, doc=marked("silence of the meter after which its state is unknown"), low=1, high=60
    )
    good_readings: int = setting(
        3,
        doc=marked("AC meter: readings in a row that must agree before its state is known"),
        low=1,
        high=60,
    )
    line_dead_hold_s: float = setting(
        3.0,
        doc=marked("time for which the AC-present contact must be open to count"),
        low=0,
        high=60,
    )

    overload_warning_pct: float = setting(
        90.0, doc=marked("load above which to warn, of rated_w"), low=1, high=500
    )
    overload_warning_hold_s: float = setting(
        60.0, doc=marked("time above overload_warning_pct"), low=0, high=3600
    )
    overload_pct: float = setting(
        100.0, doc=marked("load above which it is overloaded, of rated_w"), low=1, high=500
    )
    overload_hold_s: float = setting(10.0, doc=marked("time above overload_pct"), low=0, high=3600)
    overload_forget_s: float = setting(
        50.0,
        doc=marked("time below overload_pct that makes up for a second above it; pulses add up"),
        low=1,
        high=3600,
    )
    overload_clear_pct: float = setting(
        80.0, doc=marked("load below which warning and alarm clear, of rated_w"), low=1, high=500
    )
    overload_clear_hold_s: float = setting(
        60.0, doc=marked("time below overload_clear_pct"), low=0, high=3600
    )

    settle_s: float = setting(
        10.0, doc=marked("time after a start in which frequency is ignored"), low=0, high=600
    )
    stopping_hz_per_s: float = setting(
        2.0, doc=marked("fall of frequency in a second that may be a stop; no sag is reported meanwhile"),
        low=0.1, high=100,
    )  # fmt: skip
    sag_warning_hz: float = setting(
        47.5, doc=marked("frequency below which to warn"), low=20, high=70
    )
    sag_warning_hold_s: float = setting(
        3.0, doc=marked("time below sag_warning_hz"), low=0, high=600
    )
    sag_hz: float = setting(
        46.0, doc=marked("frequency below which to raise the alarm"), low=20, high=70
    )
    sag_hold_s: float = setting(1.0, doc=marked("time below sag_hz"), low=0, high=600)
    sag_clear_hz: float = setting(
        48.5, doc=marked("frequency above which warning and alarm clear"), low=20, high=70
    )
    sag_clear_hold_s: float = setting(30.0, doc=marked("time above sag_clear_hz"), low=0, high=3600)

    overspeed_hz: float = setting(
        55.0, doc=marked("frequency above which it runs too fast"), low=45, high=80
    )
    overspeed_hold_s: float = setting(5.0, doc=marked("time above overspeed_hz"), low=0, high=600)
    overspeed_clear_hz: float = setting(
        54.0, doc=marked("frequency below which that clears"), low=45, high=80
    )
    overspeed_clear_hold_s: float = setting(
        30.0, doc=marked("time below overspeed_clear_hz"), low=0, high=3600
    )

    idle_pct: float = setting(
        15.0,
        doc=marked("load below which a steady low frequency is an eco mode's, of rated_w"),
        low=0,
        high=100,
    )
    idle_steady_s: float = setting(
        8.0, doc=marked("time for which it must be steady for that"), low=3, high=60
    )

    warm_up_s: float = setting(
        90.0, doc=marked("time after a start in which a cold engine may hunt"), low=0, high=1800
    )
    fuel_swing_hz: float = setting(
        2.0,
        doc=marked("fall of frequency without more load that suggests a lack of fuel"),
        low=0.2,
        high=20,
    )
    fuel_window_s: float = setting(
        30.0, doc=marked("time within which such a fall counts"), low=5, high=600
    )
    fuel_slow_window_s: float = setting(
        300.0, doc=marked("time within which such a fall of the mean counts"), low=30, high=3600
    )
    fuel_hold_s: float = setting(
        3.0, doc=marked("time for which such falls must persist"), low=0, high=600
    )
    fuel_steady_hz: float = setting(
        1.0, doc=marked("falls below this count as steady"), low=0.1, high=20
    )
    fuel_clear_hold_s: float = setting(
        60.0, doc=marked("time for which it must be steady to clear the alert"), low=0, high=3600
    )
    fuel_flat_pct: float = setting(
        5.0, doc=marked("largest rise of power that does not explain a fall"), low=0, high=100
    )
    hunting_hz: float = setting(
        1.0,
        doc=marked(
            "width of a swing under the same load that suggests a lack of fuel if it goes on"
        ),
        low=0.2,
        high=20,
    )
    hunting_hold_s: float = setting(
        10.0, doc=marked("time for which it must go on"), low=0, high=600
    )
    load_step_pct: float = setting(
        30.0,
        doc=marked("change of power between two readings that disturbs any engine"),
        low=1,
        high=100,
    )
    load_step_settle_s: float = setting(
        5.0, doc=marked("time that an engine needs to recover from it"), low=0, high=60
    )

    def faults(self) -> list[Fault]:
        """Return each fault between several keys."""
        found = [
            (lower, Trouble(NOT_LESS, other=upper, limit=getattr(self, upper)))
            for lower, upper in _ASCENDING
            if not getattr(self, lower) < getattr(self, upper)
        ]
        no_load, full_load = self.no_load, self.full_load
        if no_load is not None and full_load is not None and no_load >= full_load:
            found.append(("no_load_l_h", Trouble(NOT_LESS, other="full_load_l_h", limit=full_load)))
        return found

    @property
    def full_load(self) -> float | None:
        """Consumption at full load in litres an hour, as given or by `rated_w`; None where neither is."""
        if self.full_load_l_h is not None or self.rated_w is None:
            return self.full_load_l_h
        return L_H_PER_KW * self.rated_w / 1000

    @property
    def no_load(self) -> float | None:
        """Consumption without a load in litres an hour, as given or by that at full load."""
        if self.no_load_l_h is not None or self.full_load is None:
            return self.no_load_l_h
        return self.full_load * (INVERTER_NO_LOAD_SHARE if self.inverter else NO_LOAD_SHARE)

    @property
    def consumption_is_given(self) -> bool:
        """Whether the consumption is this generator's own, not one of its size."""
        return self.full_load_l_h is not None and self.no_load_l_h is not None

    @property
    def stopped_a(self) -> float:
        """Current below which a generator on a DC meter counts as stopped."""
        return self.running_a * self.stopped_pct / 100

    def service_due(self, since_service_h: float) -> bool:
        """Say whether SERVICE_DUE is on after a number of engine hours since the last service."""
        return self.service_every_h is not None and since_service_h >= self.service_every_h
