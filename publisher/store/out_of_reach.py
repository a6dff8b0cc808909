"""The file while it cannot be used: what is known of it, and what it needs when it works again."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from publisher.store import faults
from publisher.store.file import Loaded, StoreFile
from publisher.store.ledger import LOST, NEW, Ledger
from publisher.store.troubles import StoreTrouble

#: After this many retries a file that cannot be read is set aside as if it were damaged.
MAX_REFUSALS = 10


class Unread(NamedTuple):
    """Totals of a file that could not be read at the start. The present totals include `counted`."""

    totals: dict[str, Any]
    counted: dict[str, Any]


@dataclass
class OutOfReach:
    """See the module."""

    trouble: StoreTrouble
    damage: str | None  # why it is to be set aside
    rows: int  # in it, unconfirmed
    confirmed: set[int]  # rows in it that the broker has confirmed
    to_delete: set[int]  # rows in it that cannot be sent, or were written once more in memory
    memory_from: int  # the first id in memory
    stand_in: Ledger | None = None  # used instead of its own ledger, which has not been read
    refusals: int = 0  # retries in which it could not be read or written

    @property
    def reason_to_replace(self) -> str | None:
        """Why it is to be replaced although it is not known to be damaged; None while it is not."""
        if self.refusals < MAX_REFUSALS:
            return None
        return f"it could not be read {self.refusals} times"

    def confirm(self, ids: set[int]) -> set[int]:
        """Note those confirmed rows that are in the file; return the others."""
        in_file = {i for i in ids if i < self.memory_from}
        self.rows = max(0, self.rows - len(in_file - self.confirmed))
        self.confirmed |= in_file
        return ids - in_file

    def give_up(self, row_id: int) -> None:
        """Note that a row in the file cannot be sent."""
        self.rows = max(0, self.rows - (row_id not in self.to_delete))
        self.to_delete.add(row_id)

    def failed_again(self, error: Exception, file: StoreFile) -> None:
        """Note why a retry failed, and make the next one more likely to succeed."""
        self.trouble = file.trouble(error)
        if self.damage is None and faults.is_damage(error):
            self.damage = faults.reason(error)
        if file.has_other_owner():
            return
        if faults.is_refusal(error):
            self.refusals += 1
        elif faults.is_full(error):
            file.make_room()

    def reconciled(self, ledger: Ledger, loaded: Loaded) -> tuple[Unread | None, Ledger]:
        """Return the file's totals if they had not been read, and the ledger to continue with.

        `ledger` is the present one. Rows that the file has lost are counted as dropped.
        """
        found, stand_in = loaded.ledger, self.stand_in
        expected = self.rows + sum(map(loaded.outbox.is_waiting, self.confirmed | self.to_delete))
        unread = None
        boot = max(ledger.boot, loaded.newest_boot + 1)
        ledger = replace(ledger, count=max(ledger.count, found.count))
        if boot != ledger.boot:
            ledger.begin_boot()
        ledger = replace(
            ledger,
            boot=boot,
            wall=ledger.wall or found.wall,
            stand_in=None,
        )
        if stand_in is not None and found.totals is not None and stand_in.lacks(found):
            # The caller adds them up. Until then a power cut must not lose them.
            ledger.totals = found.totals
            ledger.belong_to(found)
            unread = Unread(found.totals, stand_in.totals or {})
            ledger.dropped += max(0, found.dropped - stand_in.dropped)
            expected = found.rows or 0
        elif stand_in is not None and stand_in.totals is None:
            # The totals of this run began from nothing, and now it is certain that there were no others.
            ledger.reset = LOST if ledger.set_aside else NEW
        ledger.dropped += max(0, expected - loaded.outbox.rows)
        return unread, ledger
