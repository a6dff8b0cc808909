"""The disk of the virtual machine: a Debian 12 with the unit installed as docs/install.md says.

It is made in two layers, each kept under its key in `$TENTWATCH_VM` (~/.cache/tentwatch-vm):

- the base: Debian, its kernel, two kernel modules that simulate a tent's devices, the virtual
  environment with the program's dependencies. Some four minutes.
- the unit: the project's own wheel, built from this checkout, and the files in systemd/. Some seconds.
"""

import fcntl
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests import bundle

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
CACHE = Path(os.environ.get("TENTWATCH_VM") or Path.home() / ".cache" / "tentwatch-vm")

#: Programs that the host needs, with the Debian package of each.
TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "gcc": "gcc",
    "make": "make",
    "xz": "xz-utils",
    "losetup": "mount",
}
PACKAGES = (
    "dbus",
    "initramfs-tools",
    "iproute2",
    "kmod",
    "linux-image-amd64",
    "mosquitto",
    "mosquitto-clients",
    "python3-venv",
    "systemd-sysv",
    "udev",
)
#: Kernel modules needed before the disk is visible; no others, so that the initial RAM disk is small.
EARLY_MODULES = ("virtio_pci", "virtio_blk", "ext4")
#: Paths that no tent has and no test needs.
LEFT_OUT = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    *(
        f"/lib/modules/*/kernel/{tree}/*"
        for tree in (
            "sound",
            "drivers/gpu",
            "drivers/infiniband",
            "drivers/media",
            "drivers/net/ethernet",
            "drivers/net/wireless",
            "drivers/scsi",
        )
    ),
)
DISK_MIB = 1600
#: Services that cost time and are not needed here.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "mosquitto.service",
    "serial-getty@ttyS0.service",
    "systemd-binfmt.service",
    "systemd-pstore.service",
)
VENV = "/opt/tentwatch"
#: Lock files of the build tools and of the dependencies.
LOCKS = (ROOT / "systemd/build.lock", ROOT / "systemd/requirements.lock")
KEPT_DAYS = 1


class Unavailable(Exception):
    """There can be no virtual machine here; the message says why."""


class Broken(Exception):
    """This checkout cannot be installed; the message says why."""


class Image(NamedTuple):
    """The files that a machine boots from: the disk (never written to), kernel, initial RAM disk."""

    disk: Path
    kernel: Path
    initrd: Path


def prepare() -> Image:
    """Return the image of this checkout, made if need be. Raises Unavailable and Broken."""
    if os.geteuid() != 0:
        raise Unavailable("it takes root to make the image of a Debian")
    install(TOOLS)
    base = cached("base", base_key(), make_base)
    try:
        unit = unit_on(base)
    except Unavailable as error:  # the host is capable: the base was made
        raise Broken(str(error)) from error
    return Image(unit / "disk.ext4", base / "vmlinux", base / "initrd.img")


def run(*command: str | Path, **how: object) -> str:
    """Run a command; return what it printed. Raises Unavailable."""
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **how,
    )
    if done.returncode:
        raise Unavailable(f"{' '.join(map(str, command))[:200]} failed:\n{done.stdout[-3000:]}")
    return str(done.stdout)


def say(what: str) -> None:
    """Print progress while an image is made."""
    print(f"vm: {what}", file=sys.stderr, flush=True)  # noqa: T201


# The host


def install(tools: dict[str, str]) -> None:
    """Install the packages whose programs are missing. Raises Unavailable."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = {package for tool, package in tools.items() if not shutil.which(tool, path=path)}
    if missing:
        install_packages(*sorted(missing))


def install_packages(*packages: str) -> None:
    """Install Debian packages. Raises Unavailable."""
    if shutil.which("apt-get") is None:
        raise Unavailable(f"these Debian packages are needed: {' '.join(packages)}")
    say(f"installing {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    patient = ("-o", "DPkg::Lock::Timeout=300")
    command = ("apt-get", *patient, "install", "-qq", "-y", "--no-install-recommends", *packages)
    try:
        run(*command, env=environment)
    except Unavailable:
        run("apt-get", *patient, "update", "-qq", env=environment)
        run(*command, env=environment)


# The layers


def cached(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of this kind and key; `make` fills a new one.

    One process at a time makes a layer of a kind; the others wait and then find it.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"{kind}-{key}"
    with (CACHE / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            say(f"making {folder}")
            began_s = time.monotonic()
            unfinished = CACHE / f"{kind}-unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
            say(f"that took {time.monotonic() - began_s:.0f} s; it is kept")
        os.utime(folder)
        forget_old_ones(kind)
    return folder


def forget_old_ones(kind: str) -> None:
    """Remove the layers of a kind that were unused for a long time."""
    for folder in CACHE.glob(f"{kind}-*"):
        if time.time() - folder.stat().st_mtime > KEPT_DAYS * 86400:
            shutil.rmtree(folder, ignore_errors=True)


def digest(*parts: str) -> str:
    """Return a key for these texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def texts(*folders: Path) -> Iterator[str]:
    """Return the names and contents of the files in folders."""
    for folder in folders:
        for file in sorted(f for f in folder.iterdir() if f.is_file()):
            yield file.name
            yield file.read_text()


def base_key() -> str:
    """Return the base's key, from everything that it depends on."""
    recipe = Path(__file__).read_text()
    locks = [lock.read_text() for lock in LOCKS]
    return digest(recipe, *locks, *texts(HERE / "guest", HERE / "modules"))


def build_wheel(folder: Path) -> Path:
    """Build the project's wheel from this checkout."""
    source = bundle.copied_source(folder)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source)
    return next(folder.glob("tentwatch-*.whl"))


def contents(wheel: Path) -> str:
    """Return the contents of a wheel, independent of its build time."""
    with zipfile.ZipFile(wheel) as archive:
        return "\n".join(sorted(f"{file.filename} {file.CRC}" for file in archive.infolist()))


def make_base(folder: Path) -> None:
    """Make Debian with everything but the unit."""
    root = folder / "root"
    early = "\\n".join(EARLY_MODULES)
    run(
        "mmdebstrap",
        "--variant=minbase",
        "--mode=root",
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        '--setup-hook=mkdir -p "$1"/etc/initramfs-tools/conf.d '
        '"$1"/usr/share/initramfs-tools/modules.d',
        '--setup-hook=echo MODULES=list >"$1"/etc/initramfs-tools/conf.d/vm',
        f"--setup-hook=printf '{early}\\n' >\"$1\"/usr/share/initramfs-tools/modules.d/vm",
        "bookworm",
        root,
    )
    release = next((root / "lib" / "modules").iterdir()).name
    add_kernel_modules(root, release)
    add_guest_files(root)
    add_dependencies(root)
    (folder / "vmlinux").write_bytes(unpacked((root / "boot" / f"vmlinuz-{release}").read_bytes()))
    shutil.copy(root / "boot" / f"initrd.img-{release}", folder / "initrd.img")
    run(
        "mkfs.ext4", "-q", "-F", "-L", "root", "-E", "lazy_itable_init=1", "-d", root,
        folder / "disk.ext4", f"{DISK_MIB}M",
    )  # fmt: skip
    shutil.rmtree(root)
    with mounted(folder / "disk.ext4"):
        pass  # fails early on a host that cannot mount it


def add_kernel_modules(root: Path, release: str) -> None:
    """Build the tent's devices for the image's kernel and put them into the image."""
    if not Path("/lib/modules", release, "build").exists():
        install_packages(f"linux-headers-{release}")
    series = ".".join(release.split(".")[:2])
    source = Path(f"/usr/src/linux-source-{series}.tar.xz")
    if not source.exists():
        install_packages(f"linux-source-{series}")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for file in (HERE / "modules").iterdir():
            shutil.copy(file, work)
        take_gpio_sim(source, work)
        run("make", "-s", "-C", f"/lib/modules/{release}/build", f"M={work}", "modules")
        target = root / "lib" / "modules" / release / "updates"
        target.mkdir()
        for module in work.glob("*.ko"):
            shutil.copy(module, target)
    run("chroot", root, "depmod", release)


def take_gpio_sim(source: Path, work: Path) -> None:
    """Copy gpio-sim from the kernel's source, changed so that it builds and works as our module."""
    wanted = {"drivers/gpio/gpio-sim.c", "drivers/gpio/gpiolib.h", "kernel/irq/irq_sim.c"}
    with tarfile.open(source) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            if name in wanted:
                file = archive.extractfile(member)
                assert file is not None
                (work / Path(name).name).write_bytes(file.read())
                wanted.remove(name)
                if not wanted:
                    break
    # The kernel does not export the lookup of a descriptor; an exported function takes the number.
    change(
        work / "irq_sim.c", r"handle_simple_irq\(irq_to_desc\((\w+)\)\)", r"generic_handle_irq(\1)"
    )
    # A wired level is stronger than the Pi's pull-up, which the unit requests.
    change(
        work / "gpio-sim.c",
        r"(case PIN_CONFIG_BIAS_PULL_\w+:\s+return) gpio_sim_apply_pull\([^;]*\);",
        r"\1 0;",
    )


def change(file: Path, pattern: str, replacement: str) -> None:
    """Replace a pattern in a text; it must occur."""
    text, changed = re.subn(pattern, replacement, file.read_text())
    assert changed, f"{pattern} is not in {file.name}"
    file.write_text(text)


def add_guest_files(root: Path) -> None:
    """Put the files of the folder guest/ into the image."""
    library, services = root / "usr/local/lib/vm", root / "etc/systemd/system"
    library.mkdir(parents=True)
    names = []
    for file in (HERE / "guest").iterdir():
        if file.suffix == ".service":
            shutil.copy(file, services)
            names.append(file.name)
        elif file.suffix == ".rules":
            shutil.copy(file, root / "etc/udev/rules.d/60-vm-devices.rules")
        elif file.is_file():
            shutil.copy(file, library)
    run("systemctl", f"--root={root}", "enable", *names)
    run("systemctl", f"--root={root}", "mask", *MASKED)
    (root / "etc/hostname").write_text("tent\n")
    (root / "host").mkdir()
    (root / "etc/fstab").write_text(
        "/dev/vda / ext4 rw,relatime 0 1\n"
        "host /host 9p trans=virtio,version=9p2000.L,msize=262144 0 0\n"
    )
    (root / "etc/modules-load.d/vm.conf").write_text("9pnet_virtio\n")
    run("chroot", root, "passwd", "-d", "root")


def add_dependencies(root: Path) -> None:
    """Make the virtual environment of the instructions, without the program itself.

    PyPI's lgpio replaces python3-lgpio, which Raspberry Pi OS has and Debian 12 lacks.
    """
    pip = ("chroot", root, f"{VENV}/bin/pip", "install", "-q")
    pinned = (*pip, "--require-hashes")
    with pip_online(root) as environment:
        run("chroot", root, "python3", "-m", "venv", "--system-site-packages", VENV)
        for lock in LOCKS:
            shutil.copy(lock, root / "tmp")
        build, requirements = (f"/tmp/{lock.name}" for lock in LOCKS)
        run(*pinned, "--only-binary=:all:", "-r", build, env=environment)
        run(*pinned, "--no-build-isolation", "-r", requirements, env=environment)
        system = "/usr/lib/python3/dist-packages"
        run(*pip, "--no-deps", "--target", system, "lgpio", env=environment)
    for lock in LOCKS:
        (root / "tmp" / lock.name).unlink()


@contextmanager
def pip_online(root: Path) -> Iterator[dict[str, str]]:
    """Yield the environment in which pip, in this root, reaches the index that the host uses."""
    certificates = Path(os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt")
    shutil.copy(certificates, root / "tmp/certificates")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    indexes = {
        name: value
        for name, value in os.environ.items()
        if name in ("PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT") or name.lower().endswith("_proxy")
    }
    yield {
        **indexes,
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PIP_CERT": "/tmp/certificates",
        "PIP_NO_CACHE_DIR": "1",
    }
    (root / "tmp/certificates").unlink()


def unpacked(kernel: bytes) -> bytes:
    """Return the kernel unpacked, if it is packed with xz: an emulator unpacks slowly."""
    start = kernel.find(b"\xfd7zXZ\0")
    return kernel if start < 0 else lzma.LZMADecompressor().decompress(kernel[start:])


# The unit


def unit_on(base: Path) -> Path:
    """Return the folder of this checkout's unit."""
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build_wheel(Path(scratch))
        key = digest(base.name, contents(wheel), *texts(ROOT / "systemd"), unit_recipe())
        return cached("unit", key, lambda folder: make_unit(folder, base, wheel))


def configuration() -> str:
    """Return the sample configuration with this tent's own values."""
    text = (ROOT / "systemd/tentwatch.toml").read_text()
    for key, value in SETTINGS.items():
        text, changed = re.subn(rf"(?m)^#?{key} = .*$", f"{key} = {value}", text, count=1)
        assert changed, f"{key} is not in the sample"
    for key in ("username", "password_file"):
        text = re.sub(rf"(?m)^{key} = .*\n", "", text)
    tomllib.loads(text)
    return text


SETTINGS = {
    "host": '"10.9.0.1"',
    "port": "1883",
    "tls": "false",
    "interval_s": "5.0",
}
CABLE = "/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_1-0000:00:04.0-1-if00-port0"


def unit_recipe() -> str:
    """Return the code that the unit's layer depends on, besides its files."""
    return configuration() + CABLE


def make_unit(folder: Path, base: Path, wheel: Path) -> None:
    """Install the unit as docs/install.md says, in a copy of the base."""
    disk = folder / "disk.ext4"
    run("cp", "--sparse=always", base / "disk.ext4", disk)
    with mounted(disk) as root:
        shutil.copy(wheel, root / "tmp")
        inside = ("chroot", root)
        there = f"/tmp/{wheel.name}"
        run(*inside, f"{VENV}/bin/pip", "install", "-q", "--no-index", "--no-deps", there)
        (root / "tmp" / wheel.name).unlink()
        run(*inside, "ln", "-sf", f"{VENV}/bin/tentwatch", "/usr/local/bin/tentwatch")

        put(ROOT / "systemd/tentwatch.sysusers", root / "etc/sysusers.d/tentwatch.conf")
        run("systemd-sysusers", f"--root={root}")

        etc = root / "etc/tentwatch"
        etc.mkdir(mode=0o755)
        text = re.sub(r'(?m)^port = "/dev/serial.*$', f'port = "{CABLE}"', configuration())
        (etc / "tentwatch.toml").write_text(text)
        run(*inside, "chown", "root:tentwatch", "/etc/tentwatch/tentwatch.toml")
        run(*inside, "chmod", "640", "/etc/tentwatch/tentwatch.toml")

        put(ROOT / "systemd/tentwatch.service", root / "etc/systemd/system/tentwatch.service")
        run("systemctl", f"--root={root}", "enable", "tentwatch")


def put(file: Path, target: Path) -> None:
    """Install a file that everybody may read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
    target.chmod(0o644)


@contextmanager
def mounted(disk: Path) -> Iterator[Path]:
    """Mount an image's file system within the context. Raises Unavailable."""
    with tempfile.TemporaryDirectory() as folder:
        run("mount", "-o", "loop", disk, folder)
        try:
            yield Path(folder)
        finally:
            run("umount", folder)
