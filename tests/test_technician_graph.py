"""Graphs of letters."""

import pytest

from technician.screen.graph import BLOCKS, LETTERS, bars


@pytest.mark.parametrize("blocks", [True, False])
def test_a_graph_rises_with_its_values(blocks: bool) -> None:
    levels = BLOCKS if blocks else LETTERS
    assert bars([0, 1, 2, 3, 4, 5, 6, 7], 0, 7, blocks=blocks) == [levels]


def test_what_is_unknown_is_a_gap_and_zero_is_none() -> None:
    assert bars([None, 0, None, 60], 0, 60) == [" ▁ █"]


def test_values_beyond_the_scale_stay_on_it() -> None:
    assert bars([-5, 200], 0, 100) == ["▁█"]
    assert bars([0, 5], 0, 0) == ["▁▁"]


def test_a_higher_graph_has_finer_steps() -> None:
    top, bottom = bars([None, 0, 50, 100], 0, 100, lines=2)
    assert bottom == " ▁██"
    assert top[:2] == "  "
    assert top[2] in " ▁"
    assert top[3] == "█"


def test_nothing_gives_nothing() -> None:
    assert bars([], 0, 1, lines=2) == ["", ""]
