"""This process's log on standard error: for the journal, or for a person at a terminal."""

import logging
import os
import sys

from technician.words.printable import printable


def to_stderr(level: int) -> None:
    """Log to standard error from a level on; the journal adds its own time."""
    form = "%(message)s" if os.environ.get("JOURNAL_STREAM") else "%(asctime)s %(message)s"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(form))
    logging.basicConfig(level=level, handlers=[handler])


class _OneLine(logging.Formatter):
    """Each message is one line without control characters, whatever a device has sent."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))
