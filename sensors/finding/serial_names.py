"""The serial ports of this computer, each by a name that survives a restart."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

#: udev's folders of names, the best first: by the cable's own serial number; by this project's rules; by
#: the USB port that the cable is in.
_FOLDERS = ("serial/by-id", "tentwatch", "serial/by-path")
#: USB adapters; and the port on the Pi's own pins, if it is enabled.
_USB = ("ttyUSB*", "ttyACM*")
_OWN = "serial0"


class Port(NamedTuple):
    """A serial port. An unstable name may belong to another port after a restart."""

    name: str
    is_stable: bool


def ports(root: Path) -> list[Port]:
    """Return the serial ports for sensors; `root` holds `dev` and `run`.

    The kernel's console on the Pi's own pins is not among them.
    """
    dev = root / "dev"
    devices = sorted(path for pattern in _USB for path in dev.glob(pattern))
    claimed = Counter(link for device in devices for link in _claims(root, device))
    found = []
    for device in devices:
        name = _stable_name(dev, device, claimed)
        found.append(Port(str(name or device), name is not None))
    own = dev / _OWN
    if own.exists() and not _is_console(root, own):
        found.append(Port(str(own), True))
    return found


def is_same(one: str, other: str) -> bool:
    """Say whether two names belong to one device."""
    return Path(one).resolve() == Path(other).resolve()


def _stable_name(dev: Path, device: Path, claimed: Counter[str]) -> Path | None:
    for folder in _FOLDERS:
        for link in sorted((dev / folder).glob("*")):
            if link.resolve() == device.resolve() and claimed[f"{folder}/{link.name}"] < 2:
                return link
    return None


def _claims(root: Path, device: Path) -> list[str]:
    """Return the names below /dev that udev would give a device (its database, lines `S:`).

    Two cables without serial numbers claim the same name, and only one of them gets it. After a
    restart it may be the other one.
    """
    try:
        number = device.stat().st_rdev
        file = root / "run/udev/data" / f"c{os.major(number)}:{os.minor(number)}"
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line[2:] for line in lines if line.startswith("S:")]


def _is_console(root: Path, own: Path) -> bool:
    """Say whether the kernel has a console there (`console=` in its command line)."""
    try:
        words = (root / "proc/cmdline").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    names = {own.name, own.resolve().name}
    return any(
        word.startswith("console=") and word[8:].partition(",")[0] in names for word in words
    )
