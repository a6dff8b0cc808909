"""`install.sh` under systemd: a unit that reports, upgrades that fail, cuts in the middle, removal."""

import os
import shutil
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import bundle, contract
from tests.install.conftest import only_on
from tests.install.machine import Done, Machine, Release, finished, put_bundle, until

ID = "UA-32-0417"
#: What `tentwatch setup` would write; its one sensor is not plugged in here.
CONFIGURATION = f"""
[tent]
id = "{ID}"
seats = 60
[broker]
host = "127.0.0.1"
[report]
interval_s = 1.0
[sensors.battery]
driver = "vedirect"
port = "/dev/ttyUSB0"
"""


@pytest.fixture(scope="module")
def folder(machine: Machine, release: Release, bundles: dict[Release, Path]) -> Path:
    return put_bundle(bundles[release], machine.root)


def changed(machine: Machine, folder: Path, name: str, change: Callable[[Path], None]) -> Path:
    """Return a copy of the bundle with another wheel of the project, and the sums that fit."""
    copy = folder.with_name(name)
    outside = machine.root / copy.relative_to("/")
    shutil.copytree(machine.root / folder.relative_to("/"), outside)
    change(next(outside.glob("wheels/tentwatch-*")))
    bundle.add_sums(outside)
    return copy


def crash_at_start(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {file: archive.read(file) for file in archive.namelist()}
    files["publisher/agent.py"] += b'\nraise RuntimeError("this version crashes")\n'
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)


def cut_short(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-1000])


def newest_state(machine: Machine) -> dict[str, Any]:
    """Return the next state that the centre gets, held against the contract."""
    topic = f"tents/v1/{ID}/state"
    said = machine.run(f"mosquitto_sub -h 127.0.0.1 -t {topic} -R -C 1 -W 60")
    return contract.check(topic, said)


def number_of(state: dict[str, Any]) -> tuple[int, int]:
    return state["boot"], state["seq"]


def in_use(machine: Machine) -> str:
    return (machine.root / "opt/tentwatch").readlink().name


def process(machine: Machine) -> str:
    return machine.run("systemctl show --value -p MainPID tentwatch")


#: What those who add a user leave beside the files that they change.
OF_ACCOUNTS = {"etc/.pwd.lock", *(f"etc/{f}-" for f in ("passwd", "shadow", "group", "gshadow"))}


def files(root: Path) -> set[str]:
    """Return what an installation leaves behind, or takes away."""
    return {
        str(path.relative_to(root))
        for part in ("boot", "etc", "opt", "usr/local", "var/lib/tentwatch")
        for path in (root / part).rglob("*")
    }


@pytest.fixture(scope="module")
def untouched(machine: Machine) -> set[str]:
    return files(machine.root)


def test_from_a_clean_debian_to_a_reporting_unit(
    machine: Machine,
    untouched: set[str],
    release: Release,
    folder: Path,
    figures: dict[str, str],
) -> None:
    began_s = time.monotonic()
    said = machine.run(f"{folder}/install.sh --offline")
    assert "Next: sudo tentwatch setup" in said
    machine.run(
        f"cat >/etc/tentwatch/tentwatch.toml <<'END'\n{CONFIGURATION}END\n"
        "systemctl restart tentwatch"
    )
    assert newest_state(machine)["id"] == ID
    took_s = time.monotonic() - began_s
    figures[f"Debian {release.number}: from clean to the first report"] = f"{took_s:.0f} s"
    assert "max 100" in machine.run("journalctl -o cat -u systemd-journald")


def test_what_was_installed_by_hand_is_taken_over(
    machine: Machine, release: Release, folder: Path
) -> None:
    only_on(release, 12)
    machine.run(
        f"{folder}/install.sh --uninstall && cd {folder} &&"
        " python3 -m venv --system-site-packages /opt/tentwatch &&"
        " /opt/tentwatch/bin/pip install -q --no-index --no-deps wheels/*.whl &&"
        " cp systemd/tentwatch.service /etc/systemd/system/ &&"
        " systemctl daemon-reload && systemctl enable --now tentwatch"
    )
    before = number_of(newest_state(machine))
    machine.run(f"{folder}/install.sh --offline")
    assert in_use(machine) == "tentwatch-b"
    assert number_of(newest_state(machine)) > before
    assert machine.run(
        "/opt/tentwatch-a/bin/tentwatch status --json"
    )  # the version before is whole


def test_a_version_that_crashes_at_its_start_is_not_installed(
    machine: Machine, folder: Path, release: Release, figures: dict[str, str]
) -> None:
    used, before = in_use(machine), number_of(newest_state(machine))
    broken = changed(machine, folder, "crashes", crash_at_start)
    began_s = time.monotonic()
    done = machine.attempt(f"{broken}/install.sh --offline")
    took_s = time.monotonic() - began_s
    figures[f"Debian {release.number}: a version that crashes, until it is taken back"] = (
        f"{took_s:.0f} s"
    )
    assert done.code == 1, done.output
    assert "does not answer after its start" in done.output
    assert "this version crashes" in done.output  # of the journal
    assert "The version before runs again." in done.output
    assert in_use(machine) == used
    assert number_of(newest_state(machine)) > before


def test_a_damaged_wheel_does_not_even_stop_the_version_before(
    machine: Machine, folder: Path, release: Release
) -> None:
    only_on(release, 13)
    used, running = in_use(machine), process(machine)
    broken = changed(machine, folder, "damaged", cut_short)
    done = machine.attempt(f"{broken}/install.sh --offline")
    assert done.code == 1, done.output
    assert "Run install.sh again" in done.output
    assert (in_use(machine), process(machine)) == (used, running)


def test_a_configuration_that_the_new_version_refuses_keeps_the_version_before(
    machine: Machine, folder: Path, release: Release
) -> None:
    only_on(release, 12)
    used, running = in_use(machine), process(machine)

    def demand_more(wheel: Path) -> None:
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr(
                "publisher/cli.py",
                'def main():\n    import sys\n    sys.exit("--help" not in sys.argv)',
            )

    newer = changed(machine, folder, "newer", demand_more)
    done = machine.attempt(f"{newer}/install.sh --offline")
    assert done.code == 1, done.output
    assert "does not take this unit's configuration" in done.output
    assert (in_use(machine), process(machine)) == (used, running)


@pytest.mark.parametrize(
    ("at", "cut"),
    [("Building version", False), ("Starting version", True), ("Putting version", False)],
)
def test_an_installation_that_is_cut_off_leaves_a_unit_that_reports(
    machine: Machine, folder: Path, release: Release, at: str, cut: bool
) -> None:
    """Be it by a kill, or with the machine's power."""
    only_on(release, 13)
    before = number_of(newest_state(machine))
    at_work = machine.begin(f"exec {folder}/install.sh --offline")
    for line in at_work.stdout:
        if at in line:
            break
    else:
        pytest.fail("it ended")
    if cut:
        machine.cut()
        machine.start()
    else:
        os.killpg(at_work.pid, signal.SIGKILL)
    assert finished(at_work).code != 0
    assert until(lambda: machine.attempt("tentwatch status --json").code == 0)
    assert number_of(newest_state(machine)) > before


def test_after_all_that_an_upgrade_succeeds(
    machine: Machine, folder: Path, release: Release, figures: dict[str, str]
) -> None:
    only_on(release, 13)
    used, before = in_use(machine), number_of(newest_state(machine))
    began_s = time.monotonic()
    said = machine.run(f"LANG=uk_UA.UTF-8 {folder}/install.sh --offline")
    figures[f"Debian {release.number}: an upgrade"] = f"{time.monotonic() - began_s:.0f} s"
    assert "Працює: sudo tentwatch status" in said
    assert {in_use(machine), used} == {"tentwatch-a", "tentwatch-b"}
    assert number_of(newest_state(machine)) > before
    machine.run("! test -e /run/systemd/system.control/tentwatch.service")
    # As it is told to start from now on, it starts.
    machine.run("systemctl restart tentwatch && tentwatch status --json")


def test_a_removal_leaves_the_data_and_nothing_else(
    machine: Machine, untouched: set[str], folder: Path
) -> None:
    machine.run("/opt/tentwatch/install.sh --uninstall")
    left = files(machine.root) - untouched
    others = {file for file in left if not file.startswith(("etc/tentwatch", "var/lib/tentwatch"))}
    assert others <= OF_ACCOUNTS
    assert {"etc/tentwatch/tentwatch.toml", "var/lib/tentwatch/tentwatch.db"} <= left
    machine.run("! systemctl is-active tentwatch")


def purge(machine: Machine, folder: Path, answer: str) -> Done:
    """Ask for the purge on a terminal, and answer."""
    ours, its = os.openpty()
    try:
        os.write(ours, answer.encode() + b"\n")
        with os.fdopen(its) as terminal:
            return machine.attempt(f"{folder}/install.sh --purge", terminal)
    finally:
        os.close(ours)


def test_a_purge_asks(machine: Machine, folder: Path) -> None:
    data = machine.root / "etc/tentwatch", machine.root / "var/lib/tentwatch"
    for done in (machine.attempt(f"{folder}/install.sh --purge"), purge(machine, folder, "no")):
        assert done.code == 1, done.output
        assert all(folder.exists() for folder in data)
    done = purge(machine, folder, ID)
    assert done.code == 0, done.output
    assert not any(folder.exists() for folder in data)
    assert machine.attempt("id tentwatch").code == 1
