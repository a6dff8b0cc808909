"""Builds the bundles that install a Pi without internet: `make bundle` puts the archives into dist/.

`tentwatch-<version>-<arch>-<python>.tar.gz` unpacks into a folder of that name:

- `wheels/`: the project and its dependencies, as pinned by systemd/requirements.lock, without lgpio, which
  is Debian's.
- `systemd/`: units, user, udev rules, journald's limits, sample configuration
- `docs/`: installation with its drawings, symptoms and cures, the card to print
- `install.sh`, `made-for` (the bundle's target, as shell variables), `SHA256SUMS` (of all other files)

Two builds from one commit on one release of Python are identical to the byte.
"""

import argparse
import configparser
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
SYSTEMD = ROOT / "systemd"
BUILD_LOCK, LOCK = SYSTEMD / "build.lock", SYSTEMD / "requirements.lock"
#: Published as source only, in pure Python: its wheel is built here and fits everywhere.
SOURCE_ONLY = "adafruit-extended-bus"
#: Endings of the files in systemd/ that go into a bundle.
SHIPPED = (".service", ".sysusers", ".rules", ".toml", ".conf")
#: Pages for a technician without internet.
PAGES = ("install.md", "symptoms.md", "card.html", "wiring")
#: Time of files where there is no commit: zip cannot store a time before 1980.
EARLIEST_S = 315532800
#: C library versions that a wheel may require: Debian 12 has 2.36.
GLIBC = ("2014", *(f"_2_{minor}" for minor in range(17, 37)))


class Target(NamedTuple):
    """The target of a bundle."""

    arch: str  # as in `uname -m` and in the tags of wheels
    python: str  # such as 3.11

    @property
    def tag(self) -> str:
        """Return Python's part of the tags of wheels, such as cp311."""
        return f"cp{self.python.replace('.', '')}"

    @property
    def name(self) -> str:
        """Return the name of the bundle's folder, and of its archive without the ending."""
        return f"tentwatch-{version()}-{self.arch}-{self.tag}"

    @property
    def debian_arch(self) -> str:
        """Return the architecture as Debian calls it."""
        return {"aarch64": "arm64", "x86_64": "amd64"}[self.arch]

    @property
    def platforms(self) -> list[str]:
        """Return the platforms of wheels that fit."""
        return [f"manylinux{glibc}_{self.arch}" for glibc in GLIBC]


#: Debian 12 has Python 3.11, Debian 13 has 3.13. The tests are run on x86_64.
TARGETS = [Target(arch, python) for arch in ("aarch64", "x86_64") for python in ("3.11", "3.13")]


def main(argv: list[str] | None = None) -> None:
    """Build the bundles, and print their names."""
    parser = argparse.ArgumentParser(prog="python -m tests.bundle", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="DIR")
    options = parser.parse_args(argv)
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for folder in make(Path(scratch), *TARGETS):
            print(pack(folder, options.output))  # noqa: T201


def make(scratch: Path, *targets: Target) -> list[Path]:
    """Make the folder of each target's bundle in `scratch`."""
    built = scratch / "built"
    folders = []
    with tools() as pip:
        build_wheels(built, pip)
        for target in targets:
            folder = scratch / target.name
            shutil.copytree(built, folder / "wheels")
            fetch_wheels(folder / "wheels", target, pip)
            add_files(folder, target)
            add_sums(folder)
            folders.append(folder)
    return folders


def version() -> str:
    """Return the project's version."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return setup["metadata"]["version"]


def made_s() -> int:
    """Return the time of the files in the bundle, in seconds since 1970: that of the commit."""
    if shutil.which("git") is None:
        return EARLIEST_S
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else EARLIEST_S


# The wheels

Pip = Callable[..., None]


@contextmanager
def tools() -> Iterator[Pip]:
    """Yield a pip with the build tools that systemd/build.lock pins."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, "-m", "venv", scratch], check=True)
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(made_s())}

        def pip(*arguments: str | Path) -> None:
            command = [Path(scratch, "bin", "pip"), "-q", "--disable-pip-version-check", *arguments]
            subprocess.run(command, check=True, env=environment)

        pip("install", "--require-hashes", "--only-binary=:all:", "-r", BUILD_LOCK)
        yield pip


def locked() -> dict[str, str]:
    """Return the lock file's entries by name, each with its version and hashes."""
    lock = LOCK.read_text(encoding="utf-8")
    found = re.findall(r"(?m)^([a-z][\w.-]*)(==.*(?:\n    --hash=.*)*)$", lock)
    return {name: name + rest for name, rest in found}


#: pip accepts only files with a hash of the lock file.
HASHED = ("--no-deps", "--require-hashes")


def build_wheels(folder: Path, pip: Pip) -> None:
    """Build the wheels that fit everywhere: the project's, from this checkout, and SOURCE_ONLY's."""
    with tempfile.TemporaryDirectory() as scratch:
        lock = Path(scratch, "lock")
        lock.write_text(locked()[SOURCE_ONLY] + "\n", encoding="utf-8")
        pip("wheel", *HASHED, "--no-build-isolation", "-w", folder, "-r", lock)
        source = copied_source(Path(scratch))
        pip("wheel", "--no-deps", "--no-build-isolation", "-w", folder, source)


def copied_source(folder: Path) -> Path:
    """Return a copy of this checkout: setuptools leaves a folder there and reuses old files from it."""
    copy = folder / "source"
    left_out = (".*", "build", "dist", "tests", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*left_out))
    return copy


def fetch_wheels(folder: Path, target: Target, pip: Pip) -> None:
    """Put the other wheels of the lock file into a folder, those that fit the target."""
    entries = locked()
    del entries[SOURCE_ONLY]
    fits = [f"--platform={platform}" for platform in target.platforms]
    fits += [f"--python-version={target.python}", "--implementation=cp"]
    with tempfile.TemporaryDirectory() as scratch:
        lock = Path(scratch, "lock")
        lock.write_text("\n".join(entries.values()) + "\n", encoding="utf-8")
        pip("download", *HASHED, "--only-binary=:all:", *fits, "-d", folder, "-r", lock)


# The bundle


def add_files(folder: Path, target: Target) -> None:
    """Add everything but the wheels and the sums."""
    (folder / "systemd").mkdir(parents=True)
    for file in sorted(SYSTEMD.iterdir()):
        if file.name.endswith(SHIPPED):
            shutil.copyfile(file, folder / "systemd" / file.name)
    for name in PAGES:
        page = ROOT / "docs" / name
        if page.is_dir():
            shutil.copytree(page, folder / "docs" / name)
        else:
            (folder / "docs").mkdir(exist_ok=True)
            shutil.copyfile(page, folder / "docs" / name)
    shutil.copyfile(SYSTEMD / "install.sh", folder / "install.sh")
    (folder / "install.sh").chmod(0o755)
    (folder / "made-for").write_text(
        f"version={version()}\narch={target.arch}\ndebian_arch={target.debian_arch}\n"
        f"python={target.python}\n",
        encoding="ascii",
    )


def add_sums(folder: Path) -> None:
    """Write each file's hash in the format of `sha256sum -c`."""
    sums = folder / "SHA256SUMS"
    sums.unlink(missing_ok=True)
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}\n"
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    ]
    sums.write_text("".join(lines), encoding="ascii")


def pack(folder: Path, output: Path) -> Path:
    """Pack a bundle's folder into an archive in `output`; return the archive."""
    archive = output / f"{folder.name}.tar.gz"
    unfinished = archive.with_suffix(".unfinished")
    time_s = made_s()

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = time_s
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with (
        unfinished.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=time_s) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in [folder, *sorted(folder.rglob("*"))]:
            name = path.relative_to(folder.parent).as_posix()
            tar.add(path, name, recursive=False, filter=plain)
    return unfinished.replace(archive)


if __name__ == "__main__":
    main()
