"""`install.sh` under systemd: a unit that reports, upgrades that fail, cuts in the middle, removal."""

import json
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
from tests.install.conftest import long, only_on
from tests.install.machine import Done, Machine, Release, finished, put_bundle, until

ID = "UA-32-0417"
SETUP = (
    f"tentwatch setup --yes --id {ID} --seats 60 --host 127.0.0.1 --port 1883 --no-tls --username ''"
    " --set report.interval_s=1"
)
#: A SmartShunt on its cable, a pseudo-terminal of the machine's own. Setup finds it.
SHUNT = """
import os, pathlib, shutil, time
from sensors.simulated.vedirect import Monitor
port = pathlib.Path("/dev/ttyUSB0")
monitor = Monitor(port)
shutil.chown(port, group="dialout")
os.chmod(port, 0o660)
while True:
    monitor.report(13.2, -4.1, 87.1, 960)
    time.sleep(1)
"""
PREPARED = f"""
password = "of this tent alone"
[tent]
id = "{ID}"
seats = 80
[broker]
host = "127.0.0.1"
[report]
interval_s = 1.0
[sensors.door]
driver = "beams"
outer_gpio = 23
inner_gpio = 24
"""
#: From a clean Debian to a reporting unit, in seconds of machine time.
BAR_S = 180.0


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
    """Return the next state that the centre receives, checked against the contract."""
    topic = f"tents/v1/{ID}/state"
    said = machine.run(f"mosquitto_sub -h 127.0.0.1 -t {topic} -R -C 1 -W 60")
    return contract.check(topic, said)


def number_of(state: dict[str, Any]) -> tuple[int, int]:
    return state["boot"], state["seq"]


def in_use(machine: Machine) -> str:
    return (machine.root / "opt/tentwatch").readlink().name


def process(machine: Machine) -> str:
    return machine.run("systemctl show --value -p MainPID tentwatch")


#: Files that adding a user leaves beside the changed ones.
OF_ACCOUNTS = {"etc/.pwd.lock", *(f"etc/{f}-" for f in ("passwd", "shadow", "group", "gshadow"))}


def files(root: Path) -> set[str]:
    """Return the files that an installation may add or remove."""
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
    plug_in_a_shunt(machine)
    said = machine.run(SETUP)
    assert "a Victron battery monitor, 13.2 V" in said
    assert "Next: sudo tentwatch doctor" in said
    assert until(lambda: newest_state(machine)["power"]["battery"]["charge_pct"] == 87.1)
    took_s = time.monotonic() - began_s
    figures[f"Debian {release.number}: from clean to the first report (the bar: {BAR_S:.0f} s)"] = (
        f"{took_s:.0f} s"
    )
    assert took_s <= BAR_S
    assert "max 100" in machine.run("journalctl -o cat -u systemd-journald")


def plug_in_a_shunt(machine: Machine) -> None:
    python = f"/opt/{in_use(machine)}/bin/python3"
    machine.run(f"systemd-run --quiet --unit shunt {python} -c '{SHUNT}'")
    assert until(lambda: machine.attempt("test -e /dev/ttyUSB0").code == 0)


def failing(machine: Machine) -> set[str]:
    """Return the failed checks of `tentwatch doctor`; its exit code must fit."""
    done = machine.attempt("tentwatch doctor --json")
    checks = json.loads(done.output)["checks"]
    found = {check["key"] for check in checks if check["verdict"] == "fail"}
    assert done.code == bool(found)
    return found


def test_doctor_finds_nothing_but_the_cable_that_is_not_there(
    machine: Machine, release: Release
) -> None:
    only_on(release, 13)
    assert failing(machine) == set()
    machine.run("systemctl kill -s KILL shunt && rm /dev/ttyUSB0")
    assert until(lambda: failing(machine) == {"bus.serial.battery"})


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
    )  # the previous version is complete


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
    assert "this version crashes" in done.output  # from the journal
    assert "The previous version runs again." in done.output
    assert in_use(machine) == used
    assert number_of(newest_state(machine)) > before


@long
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
                "technician/cli.py",
                'def main():\n    import sys\n    sys.exit("--help" not in sys.argv)',
            )

    newer = changed(machine, folder, "newer", demand_more)
    done = machine.attempt(f"{newer}/install.sh --offline")
    assert done.code == 1, done.output
    assert "does not accept this unit's configuration" in done.output
    assert (in_use(machine), process(machine)) == (used, running)


@long
@pytest.mark.parametrize(
    ("at", "cut"),
    [("Building version", False), ("Starting version", True), ("Putting version", False)],
)
def test_an_installation_that_is_cut_off_leaves_a_unit_that_reports(
    machine: Machine, folder: Path, release: Release, at: str, cut: bool
) -> None:
    """Cut off by a kill, or by a power cut."""
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
    # It also starts from the installed unit.
    machine.run("systemctl restart tentwatch && tentwatch status --json")


def test_a_prepared_file_is_taken_over_when_the_unit_starts(
    machine: Machine, release: Release
) -> None:
    only_on(release, 13)
    machine.cut()
    boot = machine.root / "boot/firmware"
    boot.mkdir(parents=True)
    (boot / "tentwatch.toml").write_text(PREPARED)
    machine.start()
    assert newest_state(machine)["capacity"]["seats"] == 80
    assert [file.name for file in boot.iterdir()] == ["tentwatch.toml.done"]
    assert "of this tent alone" not in (boot / "tentwatch.toml.done").read_text()
    machine.run("! systemctl is-failed tentwatch-prepared && rm -r /boot/firmware")


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
