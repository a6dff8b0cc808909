"""`install.sh` in a chroot without systemd: its refusals, and an installation."""

import shutil
from pathlib import Path

import pytest

from tests import bundle
from tests.install.conftest import only_on
from tests.install.machine import Release, in_chroot, put_bundle


@pytest.fixture(scope="module")
def folder(release: Release, root: Path, bundles: dict[Release, Path]) -> Path:
    return put_bundle(bundles[release], root)


def outside(root: Path, folder: Path) -> Path:
    return root / folder.relative_to("/")


def other(root: Path, folder: Path, name: str) -> Path:
    """Return a copy of the bundle that a test may change."""
    copy = folder.with_name(name)
    shutil.rmtree(outside(root, copy), ignore_errors=True)
    shutil.copytree(outside(root, folder), outside(root, copy))
    return copy


def listing(root: Path) -> list[str]:
    """Return everything on the disk that an installation could touch."""
    return sorted(
        str(path)
        for part in ("etc", "opt", "usr/local", "var/lib")
        for path in (root / part).rglob("*")
    )


def refused(root: Path, folder: Path, *because: str, before: str = "") -> None:
    was = listing(root)
    done = in_chroot(root, "sh", "-c", f"{before} {folder}/install.sh --offline")
    assert done.code == 1, done.output
    for words in (*because, "othing was changed"):
        assert words in done.output
    assert listing(root) == was


def test_a_damaged_bundle_is_refused(root: Path, folder: Path) -> None:
    copy = other(root, folder, "damaged")
    wheel = next(outside(root, copy).glob("wheels/tentwatch*"))
    wheel.write_bytes(wheel.read_bytes()[:-1])
    refused(root, copy, "damaged or incomplete", wheel.name)
    wheel.unlink()
    refused(root, copy, "damaged or incomplete", wheel.name)


def test_another_machines_bundle_is_refused(root: Path, folder: Path, release: Release) -> None:
    copy = other(root, folder, "other")
    made_for = outside(root, copy) / "made-for"
    text = made_for.read_text()
    for part, wrong in (("amd64", "arm64"), (f"python={release.python}", "python=3.12")):
        made_for.write_text(text.replace(part, wrong))
        bundle.add_sums(outside(root, copy))
        refused(root, copy, "This bundle is for")


def test_too_little_space_is_told(root: Path, folder: Path) -> None:
    small = "mount -t tmpfs -o size=90M tmpfs /opt;"
    refused(root, folder, "Only 90 MB are free", before=small)


def test_only_root_installs(root: Path, folder: Path) -> None:
    (root / "root").chmod(0o755)
    done = in_chroot(root, "runuser", "-u", "nobody", "--", f"{folder}/install.sh")
    assert done.code == 1
    assert "Only root can do this: sudo" in done.output


def test_what_is_missing_of_debian_is_named(root: Path, folder: Path, release: Release) -> None:
    venv, away = root / f"usr/lib/python{release.python}/ensurepip", root / "root/away"
    shutil.move(venv, away)  # an overlay cannot rename a directory of its lower layer
    refused(root, folder, "sudo apt-get install python3-venv")
    shutil.move(away, venv)
    # On a Pi lgpio is needed as well; other machines have no GPIO lines.
    refused(root, folder, "sudo apt-get install python3-lgpio", before=A_PI)


A_PI = (
    "mount -t tmpfs tmpfs /sys; mkdir -p /sys/firmware/devicetree/base;"
    "printf 'Raspberry Pi 4' >/sys/firmware/devicetree/base/model;"
)
#: Creates an lgpio where Debian's would be.
LGPIO = "touch /usr/lib/python3/dist-packages/lgpio.py;"
#: Files in the folder and variables of a root shell that must have no effect.
ASTRAY = (
    "echo 'raise SystemExit(9)' >{folder}/venv.py; touch {folder}/wheels/old-1-py3-none-any.whl;"
    "export CDPATH=/tmp;"
)


def test_it_installs_on_a_pi_where_systemd_does_not_run(
    root: Path, folder: Path, release: Release
) -> None:
    only_on(release, 13)
    boot = root / "boot/firmware"
    boot.mkdir(parents=True)
    (boot / "config.txt").write_text("#dtparam=i2c_arm=on\n[cm4]\notg_mode=1")
    astray = ASTRAY.format(folder=folder)
    done = in_chroot(root, "sh", "-c", f"{A_PI} {LGPIO} {astray} {folder}/install.sh --offline")
    assert done.code == 0, done.output
    assert "Next: sudo tentwatch setup" in done.output

    text = (boot / "config.txt").read_text()
    assert text == "#dtparam=i2c_arm=on\n[cm4]\notg_mode=1\n[all]\ndtparam=i2c_arm=on\n"
    assert "sudo reboot" in done.output
    units = {file.name for file in bundle.SYSTEMD.glob("*.service")}
    assert {
        f.name for f in (root / "etc/systemd/system/multi-user.target.wants").iterdir()
    } >= units
    sample = "/etc/tentwatch/tentwatch.toml.sample"
    assert in_chroot(root, "tentwatch", "decode", "jbd", "/dev/null").code == 0
    assert (root / sample[1:]).read_text() == (bundle.SYSTEMD / "tentwatch.toml").read_text()
    assert "i2c-dev" in (root / "etc/modules-load.d/tentwatch.conf").read_text()


def test_every_library_of_the_lock_is_in_the_environment(root: Path, release: Release) -> None:
    only_on(release, 13)
    pip = "/opt/tentwatch/bin/python3 $(echo /usr/share/python-wheels/pip-*.whl)/pip"
    done = in_chroot(root, "sh", "-c", f"{pip} list --local --format=freeze")
    pinned = {entry.split()[0] for entry in bundle.locked().values()}
    there = done.output.lower().replace("_", "-").splitlines()
    assert pinned <= set(there), done.output
    done = in_chroot(root, "sh", "-c", f"{pip} check")
    assert done.code == 0, done.output


def test_the_udev_rules_are_sound(root: Path, release: Release) -> None:
    only_on(release, 13)  # Debian 12's udevadm cannot verify
    done = in_chroot(root, "udevadm", "verify", "/etc/udev/rules.d/70-tentwatch.rules")
    assert done.code == 0, done.output
