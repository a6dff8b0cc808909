"""Files that survive a power cut, and foreign files in their place."""

import contextlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

log = logging.getLogger("tentwatch.files")


def make_way(path: Path, is_ours: Callable[[int], bool] = stat.S_ISREG) -> None:
    """Rename anything of another kind in a file's place: a directory, a pipe, a device.

    `is_ours` takes a file's mode (`stat`) and says whether it is of our kind. Raises OSError.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not is_ours(mode):
        move_away(path)


def move_away(path: Path) -> None:
    """Rename a file of any kind. Raises OSError."""
    number = 1
    while os.path.lexists(away := path.with_name(f"{path.name}.odd-{number}")):
        number += 1
    path.rename(away)
    log.warning("%s cannot be used: renamed to %s", path, away.name)


def beginning(path: Path, most: int) -> bytes:
    """Return the first bytes of a file, at most `most`. Raises OSError if it is not a regular file."""
    if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe could wait for ever
        raise OSError(f"{path} is no file")
    with path.open("rb") as file:
        return file.read(most)


def sync_directory(directory: Path) -> None:
    """Flush new and changed names in a directory to the disk. Raises OSError."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def written(path: Path, text: str, dress: Callable[[int], None]) -> Iterator[Path]:
    """Write and flush the replacement of `path`; yield the path of the new file.

    Only its writer may read it until `dress`, called with the open file, changes its owner or mode. A
    file that was not moved is removed at the end. Raises OSError.
    """
    new = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()  # left by a power cut
    number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            dress(number)
            os.fsync(number)
        yield new
    finally:
        with contextlib.suppress(OSError):  # it exists only after a failure
            new.unlink()
