"""Beats: periodic work is due at the same moments for all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.clock import Monotonic


@pytest.mark.parametrize(
    ("at_s", "period_s", "beat_s"),
    [(0.0, 1.0, 1.0), (12.3, 1.0, 13.0), (13.0, 1.0, 14.0), (12.3, 5.0, 15.0), (12.3, 0.5, 12.5)],
)
def test_the_next_beat(at_s: float, period_s: float, beat_s: float) -> None:
    assert Monotonic.beat_after(at_s, period_s) == beat_s


@given(st.floats(0, 1e8), st.floats(0.05, 3600))
def test_the_next_beat_is_ahead_and_at_most_a_period(at_s: float, period_s: float) -> None:
    wait_s = Monotonic.beat_after(at_s, period_s) - at_s
    assert -1e-6 <= wait_s <= period_s + 1e-6
