"""Files that survive a power cut, and what lies in their place."""

import contextlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

log = logging.getLogger("tentwatch.files")


def make_way(path: Path, is_ours: Callable[[int], bool] = stat.S_ISREG) -> None:
    """Rename whatever lies in a file's place and is of another kind: a directory, a pipe, a device.

    `is_ours` says of a file's mode (`stat`) whether it is of our kind. Raises OSError.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not is_ours(mode):
        move_away(path)


def move_away(path: Path) -> None:
    """Rename whatever lies there. Raises OSError."""
    number = 1
    while os.path.lexists(away := path.with_name(f"{path.name}.odd-{number}")):
        number += 1
    path.rename(away)
    log.warning("%s cannot be used: renamed to %s", path, away.name)


def beginning(path: Path, most: int) -> bytes:
    """Return the first bytes of a file, at most so many. Raises OSError where it is no file."""
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, for ever
        raise OSError(f"{path} is no file")
    with path.open("rb") as file:
        return file.read(most)


def sync_directory(directory: Path) -> None:
    """Have new and changed names written to the disk. Raises OSError."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def written(path: Path, text: str, dress: Callable[[int], None]) -> Iterator[Path]:
    """Write what is to take the place of `path`, to the card, and hand over where it is.

    It is its writer's alone until `dress`, which is given the open file, makes it others'. What is
    not moved from there is removed in the end. Raises OSError.
    """
    new = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()  # of a power cut
    number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            dress(number)
            os.fsync(number)
        yield new
    finally:
        with contextlib.suppress(OSError):  # it is there only where something went wrong
            new.unlink()
