"""The source that feeds the tent, and mains present by its voltage."""

from itertools import product

import pytest

from publisher.rules.power import MainsVoltage, Seen, Source, source

ABSENT = Seen(False, None)
ON, OFF, SILENT = Seen(True, True), Seen(True, False), Seen(True, None)
STATES = (ABSENT, ON, OFF, SILENT)


@pytest.mark.parametrize(
    ("mains", "generator", "battery", "expected"),
    [
        (ON, OFF, ON, Source.MAINS),
        (ON, ON, ON, Source.MAINS),
        (ON, SILENT, SILENT, Source.MAINS),
        (ON, ABSENT, ABSENT, Source.MAINS),
        (OFF, ON, ON, Source.GENERATOR),
        (OFF, ON, SILENT, Source.GENERATOR),
        (OFF, OFF, ON, Source.BATTERY),
        (OFF, ABSENT, ON, Source.BATTERY),
        (OFF, OFF, OFF, Source.NONE),
        (OFF, OFF, ABSENT, Source.NONE),
        (OFF, ABSENT, ABSENT, Source.NONE),
        (OFF, SILENT, ON, Source.UNKNOWN),
        (OFF, OFF, SILENT, Source.UNKNOWN),
        (SILENT, OFF, ON, Source.UNKNOWN),
        (ABSENT, OFF, ON, Source.UNKNOWN),
        (ABSENT, ABSENT, ABSENT, Source.UNKNOWN),
    ],
)
def test_source(mains: Seen, generator: Seen, battery: Seen, expected: Source) -> None:
    assert source(mains, generator, battery) is expected


def test_mains_and_then_the_generator_go_before_all_others() -> None:
    for generator, battery in product(STATES, repeat=2):
        assert source(ON, generator, battery) is Source.MAINS
    for mains, battery in product((ABSENT, OFF, SILENT), STATES):
        assert source(mains, ON, battery) is Source.GENERATOR


def test_battery_and_none_are_said_only_where_every_fitted_sensor_speaks() -> None:
    for seen in product(STATES, repeat=3):
        if source(*seen) in (Source.BATTERY, Source.NONE):
            assert seen[0].fitted
            assert SILENT not in seen


def mains(*volts: float | None) -> bool | None:
    voltage = MainsVoltage()
    on = None
    for voltage_v in volts:
        on = voltage.apply(voltage_v)
    return on


@pytest.mark.parametrize(
    ("volts", "on"),
    [
        ((230.0,), True),
        ((180.0,), True),
        ((179.9,), False),
        ((230.0, 140.0), True),
        ((230.0, 139.9), False),
        ((230.0, 139.9, 179.9), False),
        ((230.0, None), None),
        ((230.0, None, 150.0), True),
        ((None,), None),
    ],
)
def test_mains_by_its_voltage(volts: tuple[float | None, ...], on: bool | None) -> None:
    assert mains(*volts) is on
