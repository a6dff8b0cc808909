"""The time that a record is sent with: its own, or one that became known later."""

from datetime import datetime
from typing import Protocol

from publisher import messages
from publisher.clock import Clock
from publisher.store.rows import Row


class Boots(Protocol):
    """The times of the unit's boots, as the store has them, in use or at rest."""

    @property
    def boot(self) -> int:
        """The number of this boot."""
        ...

    def began(self, boot: int) -> datetime | None:
        """Return the time of day at uptime 0 of a boot; None if its clock was never set."""
        ...

    def began_after(self, boot: int) -> datetime | None:
        """Return the time of day at uptime 0 of the first later boot whose clock was set, if any."""
        ...


class Stamps:
    """Gives records their time.

    Each record has the uptime of its boot. Once the clock is set in a boot, the time of day at its uptime 0
    is known, also after a power cut, and so is the time of each of its records.
    """

    def __init__(self, store: Boots, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        #: The starts of earlier boots, and of the first later boot whose clock was set.
        self._boots: dict[int, tuple[datetime | None, datetime]] = {}

    def stamp(self, row: Row) -> str:
        """Return a record's message with the time known now."""
        if row.stamped:
            return row.body
        began, after = self._of(row.boot)
        if began is not None:
            return messages.stamped(row.body, began)
        return row.body if after is None else messages.bounded(row.body, after)

    def _of(self, boot: int) -> tuple[datetime | None, datetime | None]:
        if boot == self._store.boot:
            return self._clock.now().began, None
        if boot not in self._boots:
            began, after = self._store.began(boot), self._store.began_after(boot)
            if after is None:
                return began, None
            self._boots[boot] = began, after  # this will not change any more
        return self._boots[boot]
