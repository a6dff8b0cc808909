"""What an error of SQLite's means: the file is damaged, or it only cannot be read or written now.

They are told apart by SQLite's error codes and by errno, never by words.
"""

import errno
import sqlite3


class Damaged(Exception):
    """The file can be read, and what it says makes no sense."""


#: What reading and writing a database raises on account of the file. A UnicodeDecodeError comes of a
#: damaged name that SQLite quotes in a message.
FAULTS = (sqlite3.Error, UnicodeDecodeError, Damaged)
#: What only a mistake of this program raises. It is never taken for damage: the file stays as it is.
MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)

#: What does not mean that the file is damaged: it cannot be read or written now, or was asked wrongly.
_NO_DAMAGE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_ABORT,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_RANGE,
}
#: Of these what would mean damage if it lasted: on a disk that is well a new file can be made.
_REFUSALS = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
}


def code(error: BaseException) -> int | None:
    """Return SQLite's primary error code; None where the error is not SQLite's own."""
    found = getattr(error, "sqlite_errorcode", None)
    return None if found is None else found & 0xFF


def is_damage(error: BaseException) -> bool:
    """Tell a damaged file from one that only cannot be read or written now.

    Our statements are always the same: one that makes no sense to SQLite (a table is missing, a key
    comes twice) meets a file that is not as it was made.
    """
    if isinstance(error, sqlite3.Error):
        return code(error) not in {None, *_NO_DAMAGE}
    return isinstance(error, Damaged | UnicodeDecodeError)


def is_held(error: BaseException) -> bool:
    """Say whether another program has the file."""
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_full(error: BaseException) -> bool:
    """Say whether the disk is full."""
    return code(error) == sqlite3.SQLITE_FULL or _errno(error) in (errno.ENOSPC, errno.EDQUOT)


def is_read_only(error: BaseException) -> bool:
    """Say whether the card refuses what is written, or fails to."""
    is_refused = code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)
    return is_refused or _errno(error) in (errno.EROFS, errno.EIO)


def is_refusal(error: BaseException) -> bool:
    """Say whether the file could not be read or written, which would mean damage if it lasted."""
    return code(error) in _REFUSALS


def is_interrupted(error: BaseException) -> bool:
    """Say whether reading took longer than it was allowed to."""
    return code(error) == sqlite3.SQLITE_INTERRUPT


def what(error: BaseException) -> str:
    """Return an error's text as a log can show it: SQLite quotes what lies in the file."""
    text = getattr(error, "strerror", None) or str(error)
    return text if text.isprintable() else ascii(text)


def _errno(error: BaseException) -> int | None:
    """Return the operating system's code of an error, or of its cause."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return cause.errno if isinstance(cause, OSError) else None
