"""The state directory: one agent at a time uses it."""

import contextlib
import fcntl
import logging
import os
from pathlib import Path

from publisher.files import make_way
from publisher.in_memory import in_memory, places
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


class Lock:
    """Keeps other agents out of a state directory, by a lock in it and one in its place in memory.

    Either is enough. A directory that is missing or cannot be written may be able to hold one later.
    """

    def __init__(self, directory: Path) -> None:
        """Lock nothing yet."""
        self._directory = directory
        self._in_memory: Path | None = None
        self._held: dict[Path, int] = {}
        self._has_warned = False

    def take(self) -> None:
        """Take each of the two locks that can be had and is not held yet. The directory is made if it can be.

        Raises StartError if another agent holds one.
        """
        self._in_memory = self._in_memory or in_memory(self._directory)
        failed = None
        for place in (self._directory, self._in_memory):
            try:
                if place is not None and not self._holds(place):
                    self._release(place)
                    place.mkdir(parents=True, exist_ok=True)
                    self._held[place] = _locked(place, self._directory)
            except OSError as error:
                failed = error
        if not self._held and not self._has_warned:
            self._has_warned = True
            log.error(
                "no lock in %s (%s): nothing keeps a second tentwatch out", self._directory, failed
            )

    def release(self) -> None:
        """Let other agents in."""
        for place in list(self._held):
            self._release(place)

    def _holds(self, place: Path) -> bool:
        """Return whether the file that is locked is still the one with this name."""
        with contextlib.suppress(OSError):
            file = self._held.get(place)
            return file is not None and os.path.samestat(os.fstat(file), (place / FILE).stat())
        return False

    def _release(self, place: Path) -> None:
        file = self._held.pop(place, None)
        if file is not None:
            os.close(file)


def _locked(place: Path, directory: Path) -> int:
    """Return the open and locked file in a place. Raises OSError, and StartError if another agent has it."""
    make_way(place / FILE)
    try:
        file = os.open(place / FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    except OSError:  # a file that cannot be written can be locked all the same
        file = os.open(place / FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise StartError(TAKEN, directory=str(directory)) from None
    except OSError:
        os.close(file)
        raise
    return file


def is_locked(directory: Path) -> bool:
    """Return whether an agent uses the directory, as far as this user can tell. Changes nothing."""
    if _is_locked(directory / FILE, unknown=True):
        return True
    return any(_is_locked(place / FILE, unknown=False) for place in places(directory))


def _is_locked(path: Path, *, unknown: bool) -> bool:
    """Return whether a file is locked; `unknown` if it cannot be opened."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return unknown
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
