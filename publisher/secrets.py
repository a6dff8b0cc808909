"""The files that hold a unit's secrets, and who can read them besides the agent."""

import contextlib
import os
import pwd
import stat
from pathlib import Path

from publisher.config import Broker, keys_of
from publisher.config_file import written
from publisher.ledger import sync_directory

#: Whose a secret is, where there is such a user: the service's.
OWNER = "tentwatch"
#: systemd keeps a service's credentials there and guards them itself, by means that modes do not show.
CREDENTIALS = Path("/run/credentials")


def goes_in_the_clear(broker: Broker) -> bool:
    """Say whether the password can be read by whoever listens in on the network."""
    is_near = broker.host in ("localhost", "::1") or broker.host.startswith("127.")
    return broker.password_file is not None and not broker.tls and not is_near


def exposed(broker: Broker) -> list[tuple[str, str]]:
    """Return (key, what to do) of each secret that more can read than its owner.

    Files that are missing, or that the caller may not look at, are passed over.
    """
    found = []
    for key, _, rule in keys_of(Broker):
        name = getattr(broker, key)
        if not rule.secret or name is None or is_credential(Path(name)):
            continue
        try:
            mode = stat.S_IMODE(Path(name).stat().st_mode)
        except (OSError, ValueError):
            continue
        if mode & 0o077:
            fix = f"{name} can be read by others than its owner (mode {mode:04o})"
            found.append((f"broker.{key}", f"{fix}: sudo chmod 600 {name}"))
    return found


def keep(path: Path, secret: str) -> None:
    """Write a secret for the service's user alone, whole or not at all. Raises OSError."""

    def dress(number: int) -> None:
        with contextlib.suppress(KeyError, PermissionError):  # no such user, or not root
            owner = pwd.getpwnam(OWNER)
            os.fchown(number, owner.pw_uid, owner.pw_gid)

    with written(path, f"{secret}\n", dress) as new:
        new.replace(path)
    sync_directory(path.parent)


def is_credential(path: Path) -> bool:
    """Say whether a file lies where it says: `..` and links may lead out of the credentials."""
    try:
        return path.resolve().is_relative_to(CREDENTIALS.resolve())
    except (OSError, RuntimeError, ValueError):
        return False
