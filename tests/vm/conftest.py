"""Fixtures of the tests in the virtual machine: its image, the tent in it, and the figures."""

import os
from collections.abc import Iterator

import pytest

from tests.vm.image import Image, Unavailable, prepare
from tests.vm.tent import Tent

#: The short form leaves out tests that take long and seldom fail.
QUICK = bool(os.environ.get("QUICK"))

_figures: dict[str, str] = {}
_not_tested: list[str] = []


@pytest.fixture(scope="session")
def image() -> Image:
    """Return the image of this checkout; without one all tests here are skipped, with the reason."""
    try:
        return prepare()
    except Unavailable as reason:
        _not_tested.append(str(reason))
        pytest.skip(f"there is no virtual machine: {reason}")


@pytest.fixture(scope="module")
def tent(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tent]:
    """A tent that has been switched on."""
    tent = Tent(image, tmp_path_factory.mktemp("tent"))
    try:
        tent.start()
        yield tent
    finally:
        tent.close()


@pytest.fixture(scope="session")
def figures() -> dict[str, str]:
    """The measured figures by name; they are printed at the end."""
    return _figures


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures, and what was not tested."""
    if _figures:
        terminalreporter.section("what the virtual machine showed")
        for name, value in _figures.items():
            terminalreporter.write_line(f"{name}: {value}")
    for reason in _not_tested:
        terminalreporter.section("NOT TESTED", "!", red=True)
        terminalreporter.write_line(f"NOT TESTED: the unit in a virtual machine: {reason}")
