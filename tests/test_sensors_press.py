"""Presses and holds of a button, with plain times."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sensors.press import BOUNCE_S, CLOSURES_S, HELD, HOLD_S, MOST_CLOSURES, PRESSED, REST_S, Press


def told(changes: list[tuple[float, bool]], until_s: float, *, closed: bool = False) -> list[str]:
    """Return the presses and holds of a contact that changes at these times, starting at 0."""
    press = Press(0.0, closed=closed)
    found: list[str] = []

    def pass_time(limit_s: float) -> None:
        while (due_s := press.due_s) is not None and due_s <= limit_s:
            found.extend(press.until(due_s))

    for at_s, level in changes:
        pass_time(at_s)
        found.extend(press.until(at_s, closed=level))
    pass_time(until_s)
    return found + press.until(until_s)


def closures(*spans: tuple[float, float]) -> list[tuple[float, bool]]:
    return [change for start, end in spans for change in ((start, True), (end, False))]


def test_a_press_counts_when_it_is_let_go_of() -> None:
    assert told(closures((1.0, 1.3)), 2.0) == [PRESSED]
    assert told([(1.0, True)], 1.3) == []


def test_a_touch_shorter_than_a_bounce_is_none() -> None:
    assert told(closures((1.0, 1.0 + BOUNCE_S / 2)), 20.0) == []


def test_a_contact_that_bounces_gives_one_press() -> None:
    bounces = [(1.0 + 0.004 * n, n % 2 == 0) for n in range(5)]
    bounces += [(1.4 + 0.004 * n, n % 2 == 1) for n in range(5)]
    assert told(bounces, 3.0) == [PRESSED]


def test_a_hold_counts_once_and_while_it_lasts() -> None:
    assert told([(1.0, True)], 1.0 + HOLD_S - 0.01) == []
    assert told([(1.0, True)], 1.0 + HOLD_S) == [HELD]
    assert told(closures((1.0, 30.0)), 40.0) == [HELD]


def test_a_hold_through_a_bounce_is_a_hold() -> None:
    assert told([(1.0, True), (3.0, False), (3.02, True)], 6.0) == [HELD]


def test_let_go_of_just_before_it_is_a_press() -> None:
    assert told(closures((1.0, 1.0 + HOLD_S - 0.1)), 20.0) == [PRESSED]


def test_one_that_is_held_at_power_on_does_nothing_until_it_is_released() -> None:
    assert told([], 1e6, closed=True) == []
    assert told([(100.0, False)], 200.0, closed=True) == []
    assert told([(100.0, False), *closures((101.0, 101.5))], 200.0, closed=True) == [PRESSED]


def test_a_stuck_button_sets_the_headcount_once() -> None:
    assert told([(1.0, True)], 1e6) == [HELD]


def test_a_wet_cable_that_closes_again_and_again_holds_once() -> None:
    wet = closures(*((10.0 * n, 10.0 * n + 8.0) for n in range(1, 1000)))
    assert told(wet, 1e5) == [HELD]


def test_a_wet_cable_that_flickers_presses_rarely() -> None:
    flicker = closures(*((0.5 * n, 0.5 * n + 0.25) for n in range(1, 1000)))
    assert len(told(flicker, 600.0)) == MOST_CLOSURES


def test_after_a_rest_a_hold_counts_again() -> None:
    first = (1.0, 8.0)
    soon, late = 8.0 + REST_S - 1.0, 8.0 + REST_S
    assert told(closures(first, (soon, soon + 6.0)), 200.0) == [HELD]
    assert told(closures(first, (late, late + 6.0)), 200.0) == [HELD, HELD]


@given(st.lists(st.floats(0.001, 30.0), max_size=60), st.booleans())
def test_whatever_a_contact_does_holds_are_a_rest_apart(spans_s: list[float], closed: bool) -> None:
    press, at_s, level = Press(0.0, closed=closed), 0.0, closed
    held_s: list[float] = []
    pressed_s: list[float] = []

    def take(done: list[str], now_s: float) -> None:
        held_s.extend(now_s for what in done if what == HELD)
        pressed_s.extend(now_s for what in done if what == PRESSED)

    for span_s in spans_s:
        end_s = at_s + span_s
        while (due_s := press.due_s) is not None and due_s <= end_s:
            take(press.until(due_s), due_s)
        at_s, level = end_s, not level
        take(press.until(at_s, closed=level), at_s)
    assert all(b - a >= REST_S for a, b in pairwise(held_s))
    for first in pressed_s:
        near = [s for s in pressed_s if first <= s < first + CLOSURES_S / 2]
        assert len(near) <= MOST_CLOSURES
