"""The state directory: one agent at a time uses it."""

import fcntl
import logging
import os
from pathlib import Path

from publisher.files import make_way
from sensors.trouble import Trouble, declare, marked

log = logging.getLogger("tentwatch.agent")

FILE = "lock"

TAKEN = declare(
    "service.taken",
    marked("another tentwatch already uses {directory}"),
    marked("stop it first, or choose another --state-dir"),
)


class StartError(Trouble):
    """The agent cannot start."""


def lock(directory: Path) -> int | None:
    """Make the directory and keep other agents out of it; return the open lock file.

    None where it cannot hold one. Raises StartError where another agent uses it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        make_way(directory / FILE)
        file = os.open(directory / FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    except OSError as error:
        log.error("no lock in %s (%s): nothing keeps a second tentwatch out", directory, error)
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise StartError(TAKEN, directory=str(directory)) from None
    return file


def is_locked(directory: Path) -> bool:
    """Say whether an agent uses the directory, as far as this user can tell. Changes nothing."""
    try:
        file = os.open(directory / FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
