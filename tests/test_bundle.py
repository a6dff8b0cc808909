"""The parts of the bundle that need no network, and the source of install.sh; tests/install has the rest."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests import bundle

INSTALL = bundle.SYSTEMD / "install.sh"
TARGET = bundle.Target("aarch64", "3.13")


def install(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "install.sh", *options],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a bundle's folder, with one file in place of the wheels."""
    folder = tmp_path / TARGET.name
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "any.whl").write_bytes(b"a wheel")
    bundle.add_files(folder, TARGET)
    bundle.add_sums(folder)
    return folder


def test_every_requirement_of_the_program_is_locked_with_a_hash() -> None:
    locked = bundle.locked()
    assert {"paho-mqtt", "gpiozero", "sysv-ipc", bundle.SOURCE_ONLY} <= set(locked)
    for name, entry in locked.items():
        assert entry.startswith(f"{name}==")
        assert "--hash=sha256:" in entry
    assert "\n".join(locked.values()) in bundle.LOCK.read_text()  # every line is part of an entry


def test_the_bundle_has_what_is_in_systemd_but_the_locks(folder: Path) -> None:
    files = {file.name for file in bundle.SYSTEMD.iterdir() if file.is_file()}
    shipped = {file.name for file in (folder / "systemd").iterdir()}
    assert files - shipped == {"build.lock", "requirements.lock", "install.sh"}
    assert os.access(folder / "install.sh", os.X_OK)


def test_the_bundle_has_the_pages_with_all_that_they_show(folder: Path) -> None:
    pages = folder / "docs"
    assert (pages / "card.html").is_file()
    for page in pages.glob("*.md"):
        shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
        assert shown or page.name != "install.md"
        for name in shown:
            assert (pages / name).is_file(), f"{page.name} shows {name}"


def test_the_sums_name_every_file_and_notice_a_change(folder: Path) -> None:
    def check() -> int:
        return subprocess.run(
            ["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"],
            cwd=folder, check=False, capture_output=True,
        ).returncode  # fmt: skip

    named = [line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()]
    there = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}
    assert set(named) == there - {"SHA256SUMS"}
    assert check() == 0
    (folder / "wheels" / "any.whl").write_bytes(b"a wheeL")
    assert check() != 0


def test_an_archive_is_the_same_whenever_it_is_packed(folder: Path, tmp_path: Path) -> None:
    digests = []
    for name in ("once", "again"):
        output = tmp_path / name
        output.mkdir()
        archive = bundle.pack(folder, output)
        digests.append(hashlib.sha256(archive.read_bytes()).hexdigest())
        (folder / "systemd").chmod(0o700)
        os.utime(folder / "made-for", (1, 1))
    assert digests[0] == digests[1]
    with tarfile.open(archive) as tar:
        assert {member.name.split("/")[0] for member in tar} == {TARGET.name}
        assert {member.uname for member in tar} == {"root"}


def test_shellcheck_has_nothing_against_install_sh() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("there is no shellcheck here")
    done = subprocess.run(["shellcheck", INSTALL], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_install_sh_explains_itself_in_both_languages(folder: Path) -> None:
    english, ukrainian = install(folder, "--help"), install(folder, "--help", LANG="uk_UA.UTF-8")
    assert english.returncode == ukrainian.returncode == 0
    assert english.stdout.startswith("Usage:")
    assert ukrainian.stdout.startswith("Виклик:")
    for option in ("--offline", "--uninstall", "--purge", "--yes"):
        assert option in english.stdout
        assert option in ukrainian.stdout
    wrong = install(folder, "--ofline")
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", english.stdout)


def test_an_install_sh_that_was_cut_short_does_nothing(folder: Path) -> None:
    text = (folder / "install.sh").read_text()
    (folder / "install.sh").write_text(text[: text.rindex("main ")])
    done = install(folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_only_its_owner_can_hold_the_lock_of_install_sh(folder: Path, tmp_path: Path) -> None:
    """Locking a file takes no more than opening it."""
    lock = tmp_path / "lock"
    script = (folder / "install.sh").read_text()
    script = re.sub(r"(?m)^LOCK=.*", f"LOCK='{lock}'", script[: script.rindex("main ")])
    (folder / "install.sh").write_text(f"{script}\nukrainian=\nkeep_others_out\necho in; umask\n")
    done = install(folder)
    assert (done.returncode, done.stdout.split()) == (0, ["in", "0022"])
    assert lock.stat().st_mode & 0o077 == 0
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = install(folder)
    assert done.returncode == 1
    assert "Another install.sh is running" in done.stderr
    assert "in" not in done.stdout.split()
