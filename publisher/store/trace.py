"""The trace: the newest ledger of this boot, outside of the state directory.

An older copy of the state directory that is put back is consistent in itself, and would number its records as
the lost ones were numbered. No fact inside the directory gives it away for certain: a tool can restore
contents and times, and may write into the files that are there. The trace lies in a directory in memory, is
written after every transaction, and is therefore never older than what the unit has sent.
"""

import contextlib
import logging
from io import FileIO

from publisher.store.ledger import SecondPlace
from publisher.store.troubles import SECOND_PLACE, StoreTrouble

log = logging.getLogger("tentwatch.ledger")


class Trace(SecondPlace):
    """A ledger in memory; one that could not be written is deleted, because an old one proves nothing."""

    def _fail(self, why: str) -> None:
        if self.failure is None:
            log.warning(
                "%s cannot be written (%s): the next start takes a new boot number",
                self._path,
                why,
            )
        self.failure = StoreTrouble(SECOND_PLACE, reason=why, directory=str(self._path.parent))
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _open(self) -> FileIO:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return super()._open()
