"""What an error of SQLite means: the file is damaged, or it cannot be read or written now.

SQLite's error code and errno decide, never the words of a message.
"""

import errno
import sqlite3


class Damaged(Exception):
    """The file can be read, and its content makes no sense."""


#: Errors of reading and writing a database that the file can cause. SQLite quotes names in its messages:
#: a damaged name causes a UnicodeDecodeError.
FAULTS = (sqlite3.Error, UnicodeDecodeError, Damaged)
#: Errors that only a mistake in this program can cause. They never count as damage: the file stays as it is.
MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)

#: Codes that do not mean damage: the file cannot be read or written now, or the call was wrong.
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
#: Those that would mean damage if they lasted: on a healthy disk a new file can be made.
_REFUSALS = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
}


def code(error: BaseException) -> int | None:
    """Return SQLite's primary error code; None if the error has none."""
    found = getattr(error, "sqlite_errorcode", None)
    return None if found is None else found & 0xFF


def is_damage(error: BaseException) -> bool:
    """Return whether the error means that the file is damaged.

    Our statements are always the same. If SQLite rejects one (a table is missing, a key comes twice), the
    file is not as we made it.
    """
    if isinstance(error, sqlite3.Error):
        return code(error) not in {None, *_NO_DAMAGE}
    return isinstance(error, Damaged | UnicodeDecodeError)


def is_held(error: BaseException) -> bool:
    """Return whether another program holds the file."""
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_full(error: BaseException) -> bool:
    """Return whether the disk is full."""
    return code(error) == sqlite3.SQLITE_FULL or _errno(error) in (errno.ENOSPC, errno.EDQUOT)


def is_read_only(error: BaseException) -> bool:
    """Return whether the disk refuses writes or fails."""
    is_refused = code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)
    return is_refused or _errno(error) in (errno.EROFS, errno.EIO)


def is_refusal(error: BaseException) -> bool:
    """Return whether the file could not be read or written, which would mean damage if it lasted."""
    return code(error) in _REFUSALS


def is_interrupted(error: BaseException) -> bool:
    """Return whether our own time limit ended the reading."""
    return code(error) == sqlite3.SQLITE_INTERRUPT


def reason(error: BaseException) -> str:
    """Return an error's text in printable form, since SQLite quotes the file's content."""
    text = getattr(error, "strerror", None) or str(error)
    return text if text.isprintable() else ascii(text)


def _errno(error: BaseException) -> int | None:
    """Return the errno of an error or of its cause."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return cause.errno if isinstance(cause, OSError) else None
