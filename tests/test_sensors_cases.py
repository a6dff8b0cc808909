"""Captures of devices with their meaning, as data: every driver's cases go through its `decode`."""

import json
from pathlib import Path

import pytest

from sensors.registry import DRIVERS, decode

CASES = Path(__file__).parent / "cases"
EVERY_CASE = sorted(path.parent for path in CASES.glob("*/*/input.bin"))
#: Logs of whole units: `tests/test_publisher_rules_cases.py` has them.
OF_RULES = CASES / "rules"


def test_every_driver_has_cases_and_every_folder_is_one() -> None:
    assert {case.parent.name for case in EVERY_CASE} == set(DRIVERS)
    assert {case for case in CASES.glob("*/*") if case.parent != OF_RULES} == set(EVERY_CASE)


@pytest.mark.parametrize("case", EVERY_CASE, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_a_case_means_what_it_is_said_to_mean(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    assert expected["about"]
    found = decode(case.parent.name, (case / "input.bin").read_bytes())
    assert [dict(frame) for frame in found.frames] == expected["frames"]
    assert found.bad == expected["bad"]
