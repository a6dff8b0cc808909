"""The place in memory that belongs to a state directory."""

import contextlib
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

#: Where systemd makes the service a directory in memory (RuntimeDirectory= in tentwatch.service).
RUNTIME = "/run/tentwatch"


def in_memory(directory: Path) -> Path | None:
    """Make and return the place in memory of a state directory; None if this user can have none.

    It is lost with the power only, it can be written when the card cannot, and nobody copies it together with
    the state directory.
    """
    for place in places(directory):
        with contextlib.suppress(OSError):
            place.parent.mkdir(mode=0o750, exist_ok=True)
            place.mkdir(mode=0o700, exist_ok=True)
            if _is_safe(place) and os.access(place, os.W_OK | os.X_OK):
                place.chmod(
                    0o750
                )  # the group may open the control socket, as in the state directory
                return place
    return None


def forget(directory: Path) -> None:
    """Delete the place in memory of a directory that is not used again. Raises nothing."""
    for place in places(directory):
        with contextlib.suppress(OSError):
            for path in place.iterdir():
                path.unlink()
            place.rmdir()


def places(directory: Path) -> Iterator[Path]:
    """Yield where the place in memory can be: for the service and root, then for any other user.

    A user who has the second one and looks for the service's agent finds it in the first.
    """
    path = directory.resolve()
    name = f"{path.name[:40]}-{zlib.crc32(os.fsencode(path)):08x}"
    yield Path(os.environ.get("RUNTIME_DIRECTORY") or RUNTIME) / name
    yield Path(f"/dev/shm/tentwatch-{os.geteuid()}") / name


def _is_safe(place: Path) -> bool:
    """Return whether no other user has made a place where everybody may make one. Raises OSError."""
    if not place.parent.parent.stat().st_mode & stat.S_ISVTX:
        return True
    return place.parent.lstat().st_uid == place.lstat().st_uid == os.geteuid()
