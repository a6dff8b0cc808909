"""A started machine leaves nothing behind on the host."""

from pathlib import Path

from tests.install.conftest import only_on
from tests.install.machine import Machine, Release

TOP = Path("/sys/fs/cgroup")


def cgroups() -> set[Path]:
    """Return the cgroups that systemd on a host may have."""
    return {path for top in (TOP, TOP / "systemd", TOP / "unified") for path in top.glob("*/")}


def test_the_hosts_cgroups_are_as_before(release: Release, root: Path) -> None:
    only_on(release, 13)
    own = Path("/proc/self/cgroup")
    before, there = own.read_text(), cgroups()
    with Machine(root) as machine:
        machine.start()
        made = machine.cgroups
        assert made
        assert all(any(path.rglob("cgroup.procs")) for path in made)
        assert own.read_text() == before
    assert own.read_text() == before
    assert not any(path.exists() for path in made)
    assert not {path for path in cgroups() - there if path.name in ("payload", "supervisor")}
