"""Boots without a clock chip, and the promises at their end (`tests/years.py`)."""

import pytest

from tests import years


@pytest.mark.parametrize("zone", range(len(years.ZONES)))
def test_in_a_season_of_boots_nothing_is_lost_and_no_time_is_a_lie(zone: int) -> None:
    """In each zone: every stamp and every day that is not marked is right."""
    found = years.live(zone, days=365 if years.ZONES[zone] == "Europe/Kyiv" else 110)
    assert found["faults"] == []
    assert min(found[what] for what in ("estimates", "without_time", "stamped")) > 50
    assert min(found[what] for what in ("cuts", "estimated_days", "since_estimated")) > 10
    assert found["days"] > found["estimated_days"] + 20


def test_in_a_year_with_a_time_service_that_lies_nothing_is_lost_or_counted_twice() -> None:
    found = years.live(6, lies=True)
    assert found["faults"] == []
    assert found["passed"] > 5000
