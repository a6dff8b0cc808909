"""The bundles hold all wheels, for the right Python and processor, and nothing else."""

import re
import struct
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from tests import bundle

#: The processor in an ELF file: e_machine, in elf.h.
MACHINES = {"aarch64": 183, "x86_64": 62}


@pytest.fixture(params=bundle.TARGETS, ids=lambda target: f"{target.arch}-{target.tag}")
def target(request: pytest.FixtureRequest) -> bundle.Target:
    found: bundle.Target = request.param
    return found


@pytest.fixture
def wheels(archives: Path, target: bundle.Target) -> dict[str, bytes]:
    with tarfile.open(archives / f"{target.name}.tar.gz") as tar:
        return {
            Path(member.name).name: tar.extractfile(member).read()  # type: ignore[union-attr]
            for member in tar
            if member.name.endswith(".whl")
        }


def test_every_wheel_fits(wheels: dict[str, bytes], target: bundle.Target) -> None:
    major, minor = map(int, target.python.split("."))
    fits = {
        *cpython_tags((major, minor), platforms=target.platforms),
        *compatible_tags((major, minor), target.tag, target.platforms),
    }
    for name in wheels:
        assert parse_wheel_filename(name)[3] & fits, name


def test_every_requirement_is_there_in_its_version(wheels: dict[str, bytes]) -> None:
    there = {parse_wheel_filename(name)[:2] for name in wheels}
    pinned = {name: str(version) for name, version in there if name != "tentwatch"}
    found = re.findall(r"(?m)^(\S+)==(\S+)", bundle.LOCK.read_text())
    assert pinned == {canonicalize_name(name): version for name, version in found}
    assert ("tentwatch", bundle.version()) in {(name, str(version)) for name, version in there}


def test_what_is_compiled_is_for_this_processor(
    wheels: dict[str, bytes], target: bundle.Target
) -> None:
    """Except Blinka's helpers for many processors, which nothing here calls; its wheel fits all."""
    machines = set()
    for name, content in wheels.items():
        if not name.endswith("-any.whl"):
            with zipfile.ZipFile(BytesIO(content)) as archive:
                heads = [archive.read(file)[:20] for file in archive.namelist()]
            machines |= {
                struct.unpack("<H", head[18:20])[0] for head in heads if head.startswith(b"\x7fELF")
            }
    assert machines == {MACHINES[target.arch]}


def test_the_program_is_whole(wheels: dict[str, bytes]) -> None:
    content = next(wheel for name, wheel in wheels.items() if name.startswith("tentwatch-"))
    with zipfile.ZipFile(BytesIO(content)) as archive:
        there = set(archive.namelist())
    for package in ("publisher", "sensors", "technician"):
        for file in (bundle.ROOT / package).rglob("*.py"):
            assert file.relative_to(bundle.ROOT).as_posix() in there
    for pattern in ("publisher/schemas/*.json", "technician/words/locale/*/LC_MESSAGES/*.mo"):
        for file in bundle.ROOT.glob(pattern):
            assert file.relative_to(bundle.ROOT).as_posix() in there
