"""The lock files: they name every package that a Pi installs, with its version and hashes."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = [ROOT / "systemd" / name for name in ("requirements.lock", "build.lock")]
#: Environment markers of a Pi: none of them may exclude a pin.
PIS = [
    {"python_version": python, "sys_platform": "linux", "platform_machine": "aarch64"}
    for python in ("3.11", "3.13")
]


def pins(lock: Path) -> dict[str, tuple[Requirement, list[str]]]:
    """Return each requirement of a lock file by its name, with the hashes of its files."""
    text = re.sub(r"(?m)^ *#.*\n", "", lock.read_text(encoding="utf-8")).replace("\\\n", "")
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for line in text.splitlines():
        requirement = Requirement(line.partition("--hash")[0].strip())
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})(?: |$)", line)
        assert len(hashes) == line.count("--hash"), line
        found[canonicalize_name(requirement.name)] = (requirement, hashes)
    return found


def declared() -> list[Requirement]:
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    return [Requirement(r) for r in settings["options"]["install_requires"].split("\n") if r]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_is_one_version_with_hashes_and_holds_on_a_pi(lock: Path) -> None:
    for name, (requirement, hashes) in pins(lock).items():
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), name
        assert hashes, name
        for environment in PIS:
            assert requirement.marker is None or requirement.marker.evaluate(environment), name
    assert "://" not in lock.read_text(), "it names no host: the Pi's own settings do"


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    locked = pins(LOCKS[0])
    assert len(declared()) > 3
    for requirement in declared():
        pinned = locked[canonicalize_name(requirement.name)][0]
        version = str(pinned.specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{pinned} is not {requirement}: make lock"


def test_what_builds_it_is_pinned_as_well_and_in_the_same_version() -> None:
    locked, build = pins(LOCKS[0]), pins(LOCKS[1])
    assert {"setuptools", "setuptools-scm"} <= set(build)
    for name in set(locked) & set(build):
        assert str(locked[name][0]) == str(build[name][0]), name
