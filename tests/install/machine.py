"""A clean Debian on which a bundle is installed: as a chroot, or started with its own systemd.

It has no network beyond its own loopback. The roots are kept in the cache of tests/vm/image.py.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from tests.vm.image import (
    LEFT_OUT,
    ROOT,
    VENV,
    Unavailable,
    cached,
    digest,
    install,
    pip_online,
    run,
)

#: Programs that the host needs, with the Debian package of each.
TOOLS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "ip": "iproute2"}
#: The packages of Raspberry Pi OS Lite that matter here, and a broker for the centre. Not lgpio, which Debian
#: does not have.
PACKAGES = (
    "dbus",
    "iproute2",
    "mosquitto",
    "mosquitto-clients",
    "python3-venv",
    "systemd-sysv",
    "udev",
)
#: Longest wait in seconds; only a failed test reaches it.
PATIENCE_S = 120.0
CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


class Release(NamedTuple):
    """A release of Debian."""

    name: str
    number: int
    python: str


RELEASES = (Release("bookworm", 12, "3.11"), Release("trixie", 13, "3.13"))


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    output: str


def prepare() -> None:
    """Make the roots that are missing. Raises Unavailable."""
    if os.geteuid() != 0:
        raise Unavailable("it takes root to make and start a Debian")
    install(TOOLS)
    for release in RELEASES:
        kept(release)
    with clean_root(RELEASES[-1]) as root, Machine(root) as machine:
        machine.start()


def kept(release: Release) -> Path:
    """Return the kept root of a release, made if need be. Raises Unavailable."""
    key = digest(release.name, *PACKAGES, *LEFT_OUT)

    def make(folder: Path) -> None:
        run(
            "mmdebstrap",
            "--variant=minbase",
            "--mode=root",
            f"--include={','.join(PACKAGES)}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
            release.name,
            folder / "root",
        )

    return cached(release.name, key, make) / "root"


def kept_tools(release: Release) -> Path:
    """Return the kept folder that lies over a release's root with what the tests need in it, in VENV.

    Raises Unavailable.
    """
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    needed = settings["options"]["install_requires"] + settings["options.extras_require"]["dev"]
    lower = kept(release)

    def make(folder: Path) -> None:
        upper = folder / "upper"
        upper.mkdir()
        pip = f"{VENV}/bin/pip"
        with overlay(lower, upper=upper) as root, pip_online(root) as environment:
            run("chroot", root, "python3", "-m", "venv", VENV)
            run(
                "chroot", root, pip, "install", "-q", "setuptools", *needed.split(), env=environment
            )

    return cached("tools", digest(lower.parent.name, needed), make) / "upper"


def clean_root(release: Release) -> AbstractContextManager[Path]:
    """Yield an overlay of the kept root, which stays clean. Raises Unavailable."""
    return overlay(kept(release))


@contextmanager
def overlay(*lower: Path, upper: Path | None = None) -> Iterator[Path]:
    """Yield a root of folders that lie over each other, the first on top.

    What is written goes to `upper`, or is gone in the end.
    """
    with tempfile.TemporaryDirectory(dir=upper and upper.parent) as folder:
        merged, own, work = (Path(folder, name) for name in ("merged", "upper", "work"))
        for part in (merged, own, work):
            part.mkdir()
        folders = ":".join(map(str, lower))
        layers = f"lowerdir={folders},upperdir={upper or own},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, merged)
        try:
            yield merged
        finally:
            run("umount", "--recursive", merged)


def in_chroot(root: Path, *command: str, patience_s: float = PATIENCE_S) -> Done:
    """Run a command in a chroot with no network but its own, with the usual /dev and /proc."""
    prepared = (
        'ip link set lo up; mount --rbind /dev "$0/dev"; mount -t proc proc "$0/proc"; '
        'mount -t tmpfs tmpfs "$0/run"; exec chroot "$0" "$@"'
    )
    words = ("unshare", "--net", "--mount", "sh", "-ec", prepared, str(root), *command)
    return finished(subprocess.Popen(words, env=CLEAN, **PIPES), patience_s)


PIPES: dict[str, Any] = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.STDOUT,
    "text": True,
}


def finished(process: "subprocess.Popen[str]", patience_s: float = PATIENCE_S) -> Done:
    """Wait for a command."""
    output = process.communicate(timeout=patience_s)[0]
    return Done(process.returncode, output)


class Machine:
    """A started root: systemd, journal, units and cgroups are real, the kernel is the host's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._outermost: subprocess.Popen[bytes] | None = None
        #: Its cgroups on the host while it is on.
        self.cgroups: list[Path] = []

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def start(self) -> None:
        """Switch it on. Raises Unavailable."""
        console = self.root.parent / "console"
        self.cgroups = own_cgroups()
        files = " ".join(str(cgroup / "cgroup.procs") for cgroup in self.cgroups)
        with console.open("wb") as output:
            # In a PID namespace of its own it sees no process of the host. When its first process ends,
            # the kernel ends all others.
            self._outermost = subprocess.Popen(
                ("sh", "-ec", f'for file in {files}; do echo $$ >$file; done; exec "$@"', "sh",
                 "unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
                 "systemd-nspawn", "--quiet", "--directory", self.root, "--register=no",
                 "--keep-unit", "--private-network", "--boot"),
                env={**CLEAN, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        # Services can start only after this.
        if not until(lambda: self.attempt("systemctl is-active -q multi-user.target").code == 0):
            said = console.read_text(errors="replace")[-2000:]
            self.cut()
            raise Unavailable(f"systemd does not start in a container here:\n{said}")

    def cut(self) -> None:
        """Pull the plug. All its writes so far survive, because the host's kernel has them."""
        outermost, self._outermost = self._outermost, None
        if outermost is not None:
            for nspawn in children(outermost.pid):
                os.kill(nspawn, signal.SIGKILL)  # and with it its whole namespace
            outermost.wait(PATIENCE_S)
        until(lambda: all(map(removed, self.cgroups)))

    def first(self) -> int | None:
        """Return the host's number of its first process, None where there is none."""
        found = [self._outermost.pid] if self._outermost is not None else []
        for _generation in ("systemd-nspawn", "systemd"):
            found = [child for process in found for child in children(process)]
        return next(iter(found), None)

    def begin(self, command: str, stdin: int | IO[str] = subprocess.DEVNULL) -> Any:
        """Start a shell command as root."""
        assert self._outermost is not None, "it is off"
        first = self.first()
        if first is None:
            raise ProcessLookupError("it has not begun, or has ended")
        words = ("nsenter", "--all", "-t", str(first), "sh", "-c", command)
        return subprocess.Popen(
            words, env=CLEAN, **{**PIPES, "stdin": stdin}, start_new_session=True
        )

    def attempt(self, command: str, stdin: int | IO[str] = subprocess.DEVNULL) -> Done:
        """Run a shell command as root."""
        try:
            return finished(self.begin(command, stdin))
        except ProcessLookupError as error:
            return Done(-1, str(error))

    def run(self, command: str) -> str:
        """Run a shell command as root, which must succeed; return its output."""
        done = self.attempt(command)
        assert done.code == 0, f"{command}\nended with {done.code}:\n{done.output}"
        return done.output


def own_cgroups() -> list[Path]:
    """Make a cgroup in each hierarchy that systemd may use, for systemd-nspawn's cgroups.

    Otherwise systemd-nspawn would put them below the cgroup of the tests, where two machines would share
    them, and leave them there.
    """
    top = Path("/sys/fs/cgroup")
    hierarchies = [top, top / "systemd", top / "unified"]
    name = f"machine-{uuid.uuid4().hex[:8]}"  # the same in each, as systemd-nspawn expects
    made = [path / name for path in hierarchies if (path / "cgroup.procs").exists()]
    for cgroup in made:
        cgroup.mkdir()
    return made


def removed(cgroup: Path) -> bool:
    """Remove a cgroup with those below it; return whether all were empty."""
    below = [Path(folder) for folder, _folders, _files in os.walk(cgroup, topdown=False)]
    try:
        for folder in below:
            folder.rmdir()
    except OSError:
        return False
    return True


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    try:
        return [
            int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def until(condition: Callable[[], bool], patience_s: float = 60.0) -> bool:
    """Wait until a condition holds; return whether it did."""
    deadline_s = time.monotonic() + patience_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        pause.wait(0.2)
    return True


def put_bundle(archive: Path, root: Path) -> Path:
    """Unpack a bundle in a root's home; return its folder as the root sees it."""
    home = root / "root"
    shutil.unpack_archive(archive, home, filter="data")
    return Path("/root") / archive.name.removesuffix(".tar.gz")
