"""This process's log, on standard error: for the journal, or for whoever runs a command."""

import logging
import os
import sys

from technician.words.printable import printable


def to_stderr(level: int) -> None:
    """Write what is logged from a level on; the journal adds its own time."""
    form = "%(message)s" if os.environ.get("JOURNAL_STREAM") else "%(asctime)s %(message)s"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(form))
    logging.basicConfig(level=level, handlers=[handler])


class _OneLine(logging.Formatter):
    """A message is one line and cannot command the terminal, whatever a device has said."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))
