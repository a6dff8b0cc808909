"""Which source feeds the tent, and when a generator counts as running."""

from itertools import product

import pytest

from publisher.power import Running, Seen, Source, source

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


def running(*samples: tuple[float, float | None], hold_s: float = 2.0) -> Running:
    state = Running(threshold_a=1.0, hold_s=hold_s)
    for at_s, current_a in samples:
        state.apply(current_a, at_s)
    return state


def test_nothing_is_known_before_the_first_current() -> None:
    assert running().on is None


@pytest.mark.parametrize(("current_a", "expected"), [(1.0, True), (0.99, False), (-5.0, True)])
def test_the_first_current_decides_at_once(current_a: float, expected: bool) -> None:
    assert running((0, current_a)).on is expected


def test_a_start_counts_once_it_has_lasted() -> None:
    state = running((0, 0.0), (10, 5.0), (11.9, 5.0))
    assert state.on is False
    state.apply(5.0, 12.0)
    assert state.on is True


def test_a_stop_counts_once_it_has_lasted() -> None:
    state = running((0, 5.0), (10, 0.0), (11.9, 0.0))
    assert state.on is True
    state.apply(0.0, 12.0)
    assert state.on is False


def test_a_start_that_does_not_last_begins_anew() -> None:
    assert running((0, 0.0), (10, 5.0), (11, 0.0), (12, 5.0), (13.9, 5.0)).on is False


def test_between_the_levels_it_stays_what_it_was() -> None:
    assert running((0, 0.0), (10, 0.8), (99, 0.8)).on is False
    assert running((0, 5.0), (10, 0.8), (99, 0.8)).on is True
    assert running((0, 5.0), (10, 0.69), (99, 0.69)).on is False


def test_without_a_hold_each_change_counts_at_once() -> None:
    assert running((0, 0.0), (1, 5.0), hold_s=0).on is True
    assert running((0, 5.0), (1, 0.0), hold_s=0).on is False


def test_an_unknown_current_is_an_unknown_state_and_forgets_what_was_pending() -> None:
    state = running((0, 0.0), (10, 5.0), (11, None))
    assert state.on is None
    state.apply(0.0, 12)
    assert state.on is False
    state.apply(5.0, 13)
    assert state.on is False
