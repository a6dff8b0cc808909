"""The serial ports of this computer, each by a name that stays the same after the next start."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

#: Folders of names that udev makes, the best first: by the cable's own serial number; by the rules
#: of this project; by the USB port that the cable is in.
_FOLDERS = ("serial/by-id", "tentwatch", "serial/by-path")
#: USB adapters; and the port on the Pi's own pins, where it is switched on.
_USB = ("ttyUSB*", "ttyACM*")
_OWN = "serial0"


class Port(NamedTuple):
    """A serial port. A name that is not stable may be another port's after the next start."""

    name: str
    is_stable: bool


def ports(root: Path) -> list[Port]:
    """Return the serial ports that a sensor may be on; `root` is where `dev` and `run` are.

    The kernel's console on the Pi's own pins is none of them.
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
    """Say whether two names are of one device."""
    return Path(one).resolve() == Path(other).resolve()


def _stable_name(dev: Path, device: Path, claimed: Counter[str]) -> Path | None:
    for folder in _FOLDERS:
        for link in sorted((dev / folder).glob("*")):
            if link.resolve() == device.resolve() and claimed[f"{folder}/{link.name}"] < 2:
                return link
    return None


def _claims(root: Path, device: Path) -> list[str]:
    """Return the names below /dev that udev would give a device (its database, lines `S:`).

    Two cables without serial numbers claim the same name, and only one of them gets it: which, may
    be otherwise after the next start.
    """
    try:
        number = device.stat().st_rdev
        file = root / "run/udev/data" / f"c{os.major(number)}:{os.minor(number)}"
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line[2:] for line in lines if line.startswith("S:")]


def _is_console(root: Path, own: Path) -> bool:
    """Say whether the kernel talks to a console there (`console=` of its command line)."""
    try:
        words = (root / "proc/cmdline").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    names = {own.name, own.resolve().name}
    return any(
        word.startswith("console=") and word[8:].partition(",")[0] in names for word in words
    )
