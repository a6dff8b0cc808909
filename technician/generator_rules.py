"""The generator's rules in words, with the numbers of a configuration, as `check-config` prints them."""

from typing import NamedTuple

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
from publisher.rules.eco_idle import LIGHT_W
from technician.words import Marked, marked


class GeneratorRule(NamedTuple):
    """When a state or an alert (`name`) is entered, and when it is left; no `leaves` if it never is on."""

    name: str
    enters: Marked
    leaves: Marked | None = None


def rules(settings: GeneratorSettings) -> list[GeneratorRule]:
    """Return the rule of each state and alert."""
    values = {**vars(settings), "stopped_a": settings.stopped_a}
    return [
        *_states(values),
        *_overload(settings, values),
        *_frequency(settings, values),
        _service(settings, values),
        *_fuel(settings),
    ]


def _states(values: dict[str, object]) -> list[GeneratorRule]:
    return [
        GeneratorRule(
            marked("running (AC meter)"),
            marked(
                "at least {running_v:g} V and {running_low_hz:g} to {running_high_hz:g} Hz for "
                "{start_hold_s:g} s",
                **values,
            ),
            marked("below {stopped_v:g} V for {stop_hold_s:g} s", **values),
        ),
        GeneratorRule(
            marked("running (DC meter)"),
            marked("at least {running_a:g} A for {running_hold_s:g} s", **values),
            marked("below {stopped_a:g} A for {running_hold_s:g} s", **values),
        ),
        GeneratorRule(
            marked("stopped"),
            marked(
                "running has ended, or the AC-present contact is dead for {line_dead_hold_s:g} s",
                **values,
            ),
            marked(
                "it runs; or there are {stopped_v:g} V for {unknown_after_s:g} s and it does not count as "
                "running: unknown",
                **values,
            ),
        ),
        GeneratorRule(
            marked("unknown (AC meter)"),
            marked(
                "no voltage read for {unknown_after_s:g} s while the AC-present contact is live or not "
                "fitted",
                **values,
            ),
            marked(
                "{good_readings} readings in a row agree that it runs or that it does not", **values
            ),
        ),
        GeneratorRule(
            marked("unknown (DC meter)"),
            marked(
                "the current is not known while the AC-present contact is live or not fitted; or the "
                "contact is live and no current flows for {unknown_after_s:g} s",
                **values,
            ),
            marked(
                "a reading with a current, or without one and no live contact; for {running_hold_s:g} s "
                "where it contradicts what was known last",
                **values,
            ),
        ),
    ]


def _overload(settings: GeneratorSettings, values: dict[str, object]) -> list[GeneratorRule]:
    if settings.rated_w is None:
        never = marked("never: rated_w is not set")
        return [GeneratorRule(OVERLOAD_WARNING, never), GeneratorRule(OVERLOAD, never)]
    leaves = marked(
        "below {overload_clear_pct:g} % of {rated_w:g} W for {overload_clear_hold_s:g} s, or stopped",
        **values,
    )
    return [
        GeneratorRule(
            OVERLOAD_WARNING,
            marked(
                "above {overload_warning_pct:g} % of {rated_w:g} W for {overload_warning_hold_s:g} s",
                **values,
            ),
            leaves,
        ),
        GeneratorRule(
            OVERLOAD,
            marked(
                "above {overload_pct:g} % of {rated_w:g} W for {overload_hold_s:g} s in all; a second above "
                "is forgotten in {overload_forget_s:g} s below",
                **values,
            ),
            leaves,
        ),
    ]


def _frequency(settings: GeneratorSettings, values: dict[str, object]) -> list[GeneratorRule]:
    if settings.inverter:
        never = marked("never: an inverter holds its frequency")
        return [
            GeneratorRule(name, never)
            for name in (FREQUENCY_WARNING, FREQUENCY, OVERSPEED, FUEL_SUSPECTED)
        ]
    judged = marked(
        "not judged in the first {settle_s:g} s and while it falls by more than "
        "{stopping_hz_per_s:g} Hz/s, nor where {light} are drawn and it has been steady for "
        "{idle_steady_s:g} s: so an inverter idles",
        **values,
        light=_light(settings, values),
    )
    leaves = marked("above {sag_clear_hz:g} Hz for {sag_clear_hold_s:g} s, or stopped", **values)
    return [
        GeneratorRule(
            FREQUENCY_WARNING,
            marked(
                "below {sag_warning_hz:g} Hz for {sag_warning_hold_s:g} s; {judged}",
                **values,
                judged=judged,
            ),
            leaves,
        ),
        GeneratorRule(
            FREQUENCY,
            marked("below {sag_hz:g} Hz for {sag_hold_s:g} s; {judged}", **values, judged=judged),
            leaves,
        ),
        GeneratorRule(
            OVERSPEED,
            marked(
                "above {overspeed_hz:g} Hz for {overspeed_hold_s:g} s; not judged in the first "
                "{settle_s:g} s",
                **values,
            ),
            marked(
                "below {overspeed_clear_hz:g} Hz for {overspeed_clear_hold_s:g} s, or stopped",
                **values,
            ),
        ),
        GeneratorRule(
            FUEL_SUSPECTED,
            marked("{falls}; or {sinks}; or {hunts}; {not_judged}", **_of_fuel(values)),
            marked(
                "less than {fuel_steady_hz:g} Hz lower for {fuel_clear_hold_s:g} s, or stopped",
                **values,
            ),
        ),
    ]


def _light(settings: GeneratorSettings, values: dict[str, object]) -> Marked:
    if settings.rated_w is None:
        return marked("less than {watts:g} W", watts=LIGHT_W)
    return marked("less than {idle_pct:g} % of {rated_w:g} W", **values)


def _of_fuel(values: dict[str, object]) -> dict[str, Marked]:
    return {
        "falls": marked(
            "more than {fuel_swing_hz:g} Hz lower than in the {fuel_window_s:g} s before, though power "
            "has not risen by more than {fuel_flat_pct:g} %, and so again {fuel_hold_s:g} s later",
            **values,
        ),
        "sinks": marked(
            "its mean as much lower than in the {fuel_slow_window_s:g} s before at such a power",
            **values,
        ),
        "hunts": marked(
            "it swings by more than {hunting_hz:g} Hz for {hunting_hold_s:g} s under the same load",
            **values,
        ),
        "not_judged": marked(
            "not judged in the first {settle_s:g} s (falls and swings: {warm_up_s:g} s), below "
            "{running_low_hz:g} Hz, and for {load_step_settle_s:g} s after a change of power by "
            "{load_step_pct:g} % or an overload",
            **values,
        ),
    }


def _service(settings: GeneratorSettings, values: dict[str, object]) -> GeneratorRule:
    if settings.service_every_h is None:
        return GeneratorRule(SERVICE_DUE, marked("never: service_every_h is not set"))
    return GeneratorRule(
        SERVICE_DUE,
        marked("{service_every_h:g} engine hours since the last service", **values),
        marked("the service is noted"),
    )


def _fuel(settings: GeneratorSettings) -> list[GeneratorRule]:
    if settings.full_load is None or settings.no_load is None:
        return []
    burns = marked(
        "the engine is taken to burn {no_load:g} l/h without a load and {full_load:g} l/h at rated_w, until "
        "the unit has learnt better",
        no_load=settings.no_load,
        full_load=settings.full_load,
    )
    found = [GeneratorRule("fuel_l", burns)]
    if settings.tank_l is not None:
        holds = marked("the tank holds {tank_l:g} litres", tank_l=settings.tank_l)
        found.append(GeneratorRule("fuel_l", holds))
    return found
