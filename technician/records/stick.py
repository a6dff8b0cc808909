"""A new folder on a USB stick: complete and safe to pull, or not there under its name at all."""

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from technician.words import _

SUMS = "SHA256SUMS"
#: End of a folder's name until it is complete.
UNFINISHED = ".unfinished"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM)
_GONE = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.ESTALE, errno.ENOTCONN)
_libc = ctypes.CDLL(None, use_errno=True)


class StickError(Exception):
    """Nothing was written to the stick; the message says what to do."""


class Folder:
    """The folder while it is written, through its open descriptors.

    A path would lead to the unit's own card after the stick was pulled and unmounted.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._inner: dict[str, int] = {}
        self._sums: list[tuple[str, str]] = []  # checksum and name of each file
        self.size_bytes = 0

    def write(self, name: str, lines: Iterable[str]) -> int:
        """Write a file, such as `backlog.jsonl` or `diagnosis/status.json`; return its number of lines.

        Raises OSError, and what `lines` raises.
        """
        count, sums = 0, hashlib.sha256()
        folder, _slash, file = name.rpartition("/")
        with os.fdopen(os.open(file, _NEW_FILE, 0o644, dir_fd=self._of(folder)), "wb") as out:
            for line in lines:
                data = f"{line}\n".encode(errors="replace")
                sums.update(data)
                out.write(data)
                count += 1
                self.size_bytes += len(data)
            out.flush()
            os.fsync(out.fileno())
        self._sums.append((sums.hexdigest(), name))
        return count

    def _of(self, folder: str) -> int:
        if not folder:
            return self._number
        if folder not in self._inner:
            os.mkdir(folder, dir_fd=self._number)
            self._inner[folder] = os.open(folder, _FOLDER, dir_fd=self._number)
        return self._inner[folder]

    def seal(self) -> None:
        """Write the checksums and flush everything to the stick. Raises OSError."""
        self.write(SUMS, [f"{checksum}  {name}" for checksum, name in self._sums])
        for number in (*self._inner.values(), self._number):
            _sync(number)

    def check(self, root: int, name: str, *, whole: bool) -> None:
        """Compare the folder of this name, or its checksums only, with what was written.

        Raises OSError.
        """
        for checksum, file in self._sums if whole else self._sums[-1:]:
            number = os.open(f"{name}/{file}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=root)
            with os.fdopen(number, "rb") as found:
                # Read from the stick: from memory a broken stick would look right.
                os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
                if hashlib.file_digest(found, "sha256").hexdigest() != checksum:
                    raise OSError(errno.EIO, f"{file} does not read as it was written")

    def close(self) -> None:
        """Close the folders."""
        for number in (*self._inner.values(), self._number):
            with contextlib.suppress(OSError):
                os.close(number)


@contextlib.contextmanager
def new_folder(stick: Path, name: str) -> Iterator[Folder]:
    """Yield a new folder on a stick; at the end it is flushed, checked and gets its name.

    Raises StickError; then there is no folder of this name.
    """
    try:
        root = os.open(stick, _FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        text = _("{dir} is no folder: is the stick mounted? lsblk shows where it is")
        raise StickError(text.format(dir=stick)) from None
    except OSError as error:
        raise StickError(_why(stick, error)) from error
    try:
        _forget_unfinished(root)
        with _named(root, name) as folder:
            yield folder
        if stick.stat().st_dev != os.fstat(root).st_dev:  # it was unmounted meanwhile
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    except OSError as error:
        raise StickError(_why(stick, error)) from error
    finally:
        os.close(root)


def is_on_card(stick: Path, state_dir: Path) -> bool:
    """Say whether a folder is on the unit's own disk. Raises OSError."""
    device = stick.stat().st_dev
    own = [path.stat().st_dev for path in (Path("/"), state_dir) if path.exists()]
    return device in own


@contextlib.contextmanager
def _named(root: int, name: str) -> Iterator[Folder]:
    """Yield a new folder that gets its name only if everything succeeds. Raises OSError."""
    temporary = f"{name}{UNFINISHED}"
    if name in os.listdir(root):  # a rename would replace an empty folder
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.mkdir(temporary, dir_fd=root)
    is_complete = False
    try:
        folder = Folder(os.open(temporary, _FOLDER, dir_fd=root))
        try:
            yield folder
            folder.seal()
        finally:
            folder.close()
        _sync_all(root)
        folder.check(root, temporary, whole=True)
        os.rename(temporary, name, src_dir_fd=root, dst_dir_fd=root)
        _sync_all(root)
        folder.check(root, name, whole=False)
        is_complete = True
    finally:
        if not is_complete:
            _remove(root, temporary)
            _remove(root, name)


def _forget_unfinished(root: int) -> None:
    """Remove the rests of earlier attempts, in which the stick was pulled too soon."""
    for name in os.listdir(root):  # by its descriptor
        if name.startswith("tentwatch-") and name.endswith(UNFINISHED):
            _remove(root, name)


def _remove(root: int, name: str) -> None:
    shutil.rmtree(name, ignore_errors=True, dir_fd=root)
    with contextlib.suppress(OSError):
        _sync(root)


def _sync_all(root: int) -> None:
    """Flush everything to the stick. Raises OSError."""
    _sync(root)
    if _libc.syncfs(root):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _sync(number: int) -> None:
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync folders: syncfs follows
            raise


def _why(stick: Path, error: OSError) -> str:
    if error.errno in _FULL:
        text = _("{dir} is full: make room on it, or take another stick; nothing was kept on it")
    elif error.errno == errno.EROFS:
        text = _("{dir} is read-only: look for a lock switch on the stick, or take another one")
    elif error.errno in _REFUSED:
        text = _("{dir} may not be written: use sudo")
    elif error.errno == errno.EEXIST:
        text = _("{dir} already has a folder of this name: try again in a second")
    elif error.errno in _GONE:
        text = _(
            "{dir}: the stick was pulled too soon or is broken ({why}); nothing on it is "
            "complete: plug it in, mount it and begin again, or take another one"
        )
    else:
        text = _("{dir} cannot be written ({why}): take another stick")
    return text.format(dir=stick, why=error.strerror)
