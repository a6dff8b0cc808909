"""Fixtures of the installation's tests: the bundles, the machines, and the figures."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import bundle
from tests.install.machine import RELEASES, Machine, Release, clean_root, prepare
from tests.vm.image import Unavailable

#: The short form: all of one release; of the other only that a bundle installs and the unit reports.
QUICK = bool(os.environ.get("QUICK"))

_figures: dict[str, str] = {}
_not_tested: list[str] = []


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with this checkout's bundles."""
    folder = tmp_path_factory.mktemp("bundles")
    bundle.main(["--output", str(folder)])
    return folder


@pytest.fixture(scope="session")
def bundles(archives: Path) -> dict[Release, Path]:
    """Return this machine's bundle for each release."""
    try:
        prepare()
    except Unavailable as reason:
        _not_tested.append(str(reason))
        pytest.skip(f"there is no Debian to install on: {reason}")
    return {
        release: archives / f"{bundle.Target('x86_64', release.python).name}.tar.gz"
        for release in RELEASES
    }


@pytest.fixture(scope="module", params=RELEASES, ids=lambda release: release.name)
def release(request: pytest.FixtureRequest) -> Release:
    """Return each release in turn."""
    found: Release = request.param
    return found


@pytest.fixture(scope="module")
def root(release: Release, bundles: dict[Release, Path]) -> Iterator[Path]:
    """A clean root."""
    with clean_root(release) as root:
        yield root


@pytest.fixture(scope="module")
def machine(root: Path) -> Iterator[Machine]:
    """The clean root, started."""
    with Machine(root) as machine:
        machine.start()
        yield machine


def only_on(release: Release, number: int) -> None:
    """Skip a test that does not depend on the release on all others: each installation takes time."""
    if release.number != number:
        pytest.skip(f"is tried on Debian {number}")


#: Marks tests that the short form leaves out.
long = pytest.mark.skipif(QUICK, reason="not in the short form")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the short form, test on Debian 12 only that a bundle installs and the unit reports."""
    for item in items:
        if "bookworm" in item.name and "from_a_clean_debian" not in item.name:
            item.add_marker(long)


@pytest.fixture(scope="session")
def figures() -> dict[str, str]:
    """The measured figures by name; they are printed at the end."""
    return _figures


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures, and what was not tested."""
    if _figures:
        terminalreporter.section("what the installation showed")
        for name, value in _figures.items():
            terminalreporter.write_line(f"{name}: {value}")
    for reason in _not_tested:
        terminalreporter.section("NOT TESTED", "!", red=True)
        terminalreporter.write_line(f"NOT TESTED: the installation on a clean Debian: {reason}")
