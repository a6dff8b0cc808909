"""Trust in a line that damages frames."""

import pytest

from sensors.line_trust import TOLERATED, WINDOW, LineTrust


def believed(heard: str) -> str:
    """Return a line's frames, `+` for a good one and `x` for a bad one; `?` is good but not trusted."""
    line = LineTrust()
    said = ""
    for frame in heard:
        if frame == "x":
            line.bad()
            said += "x"
        else:
            said += "+" if line.good() else "?"
    return said


def spotless(heard: str) -> str:
    """Return `+` for each frame after which the line is spotless, `-` for the others."""
    line = LineTrust()
    said = ""
    for frame in heard:
        if frame == "x":
            line.bad()
        else:
            line.good()
        said += "+" if line.is_spotless() else "-"
    return said


@pytest.mark.parametrize(
    "heard",
    [
        "+" * 60,
        "x" + "+" * 40,  # a stream that begins in the middle of a frame
        "+" * 20 + "xxxxx" + "+" * 40,  # a burst
        "+++++x" * 20,
    ],
)
def test_a_bad_frame_now_and_then_costs_nothing_but_itself(heard: str) -> None:
    assert believed(heard) == heard


def test_the_sixth_bad_frame_of_thirty_costs_trust_until_only_five_of_thirty_are_bad() -> None:
    assert believed("+++xxxxxx" + "+" * 40) == "+++xxxxxx" + "?" * 24 + "+" * 16
    assert believed("+++" + "+x" * 6 + "+" * 40) == "+++" + "+x" * 6 + "?" * 19 + "+" * 21
    assert believed("x" * 50 + "+" * 40) == "x" * 50 + "?" * 24 + "+" * 16


def test_the_frame_itself_is_one_of_the_thirty() -> None:
    assert believed("x" + "+" * 24 + "xxxxx" + "+") == "x" + "+" * 24 + "xxxxx" + "+"
    assert believed("x" + "+" * 23 + "xxxxx" + "++") == "x" + "+" * 23 + "xxxxx" + "?+"


def test_where_a_fifth_of_the_frames_are_bad_nothing_is_ever_believed() -> None:
    assert "+" not in believed("xxxxxx" + "+x" * 100)
    assert "+" not in believed("xxxxxx" + "++++x" * 40)


def test_a_line_that_was_bad_for_long_is_forgiven_as_soon_as_one_that_was_not() -> None:
    needed = WINDOW - TOLERATED
    for bad in (WINDOW, 10_000):
        assert believed("x" * bad + "+" * needed)[bad:] == "?" * (needed - 1) + "+"


def test_a_line_is_spotless_while_none_of_the_last_thirty_frames_was_bad() -> None:
    assert LineTrust().is_spotless()
    assert spotless("+" * 40) == "+" * 40
    assert spotless("+x" + "+" * 31) == "+" + "-" * 30 + "++"
    assert spotless("x" * 50 + "+" * 30) == "-" * 79 + "+"
