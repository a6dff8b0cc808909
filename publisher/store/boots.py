"""Boots: their numbers, the time of day at which each began, and the report of a power cut.

No number is used twice, whatever is lost: `(boot, seq)` identifies a record.
"""

import contextlib
import random
import sqlite3
from collections.abc import Set
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from publisher.clock import EPOCH, Now, instant, timestamp
from publisher.store import rows
from publisher.store.faults import FAULTS
from publisher.store.ledger import LEDGER, Ledger, boot_in
from publisher.store.rows import BOOT_LIMIT, Row, pairs, upsert

#: Size of the range from which a boot number is drawn where the time of day cannot decide.
RANDOM_BOOTS = 10_000
#: Largest step from one boot number to the next; the step is random. With steps of one, a card that has lost
#: its last boots (worn out, or restored from an image) would use the same numbers again.
MAX_BOOT_STEP = 1000
#: Numbers from the time of day are below this, the year 2094: a clock that is far ahead must not use them up.
TIME_BOOT_LIMIT = 1 << 31
#: Number of boots whose start is remembered after their records are gone.
MAX_BOOTS = 1000
#: A boot's start is written again if it has changed by more than this many seconds.
BEGAN_TOLERANCE_S = 1.0


# Numbers


def next_boot(known: int, now: Now) -> int:
    """Return the number of the boot that follows `known`.

    It is at least the time of day in seconds, where that is known: a card that was restored from an old
    image then gets a number above those that it has forgotten.
    """
    return min(max(known + random.randrange(1, MAX_BOOT_STEP), _since(now)), BOOT_LIMIT - 1)


def fresh_boot(known: int, now: Now) -> int:
    """Return an unused boot number: larger than `known` and than any earlier one.

    It is taken from the time of day in seconds, so that a unit whose card was replaced does not use its
    old numbers again. An unsynchronised clock may repeat a past second, and numbers counted from `known`
    may reach a near one: the random part makes a collision unlikely.
    """
    if known < _since(now):
        return _since(now)
    guess = _seconds(now)
    return min(max(known, guess) + random.randrange(1, RANDOM_BOOTS), BOOT_LIMIT - 1)


def _since(now: Now) -> int:
    """Return the seconds since EPOCH; 0 if the time of day is not certain."""
    return _seconds(now) if now.synced else 0


def _seconds(now: Now) -> int:
    """Return the seconds since EPOCH; 0 if they are unknown or make no number of a boot."""
    found = 0 if now.wall is None else int((now.wall - EPOCH).total_seconds())
    return found if 0 <= found < TIME_BOOT_LIMIT else 0


def newest_boot(db: sqlite3.Connection) -> int:
    """Return the highest boot number that can be read in a database; 0 if there is none."""
    last = rows.salvaged(db, "ORDER BY id DESC LIMIT 1")
    of_record = max((row.boot for row, crc in last if rows.is_whole(row, crc)), default=0)
    of_ledger = max((boot_in(*found) for found in rows.readable(db, LEDGER)), default=0)
    of_start = 0
    with contextlib.suppress(*FAULTS):
        found = pairs(db, "boots", "ORDER BY boot DESC LIMIT 1")
        of_start = max((boot for boot, _ in found if 0 < boot < BOOT_LIMIT), default=0)
    return max(of_record, of_ledger, of_start)


def boot_at_start(known: int, now: Now, *, is_unit_new: bool, is_same_boot: bool) -> int:
    """Return the boot number of a start; `known` is the highest number that was found anywhere.

    It stays the same for a restart within a boot of the unit, unless a number could come twice.
    """
    if is_unit_new:
        return fresh_boot(known, now)
    return known if is_same_boot else next_boot(known, now)


# Starts


class Noted(NamedTuple):
    """The start of this boot as written in a database, and the numbers that it is written under."""

    began: datetime
    boots: Set[int]


def began(db: sqlite3.Connection, boot: int) -> datetime | None:
    """Return the time of day at uptime 0 of a boot; None if its clock was never set.

    Raises one of FAULTS.
    """
    found = pairs(db, "boots", "WHERE boot = ?", boot)
    return instant(found[0][1]) if found else None


def began_after(db: sqlite3.Connection, boot: int) -> datetime | None:
    """Return the time of day at uptime 0 of the first later boot whose clock was set, if any.

    Raises one of FAULTS.
    """
    found = pairs(db, "boots", "WHERE boot > ? ORDER BY boot LIMIT 1", boot)
    return instant(found[0][1]) if found else None


def first_began(db: sqlite3.Connection) -> datetime | None:
    """Return the time of day at uptime 0 of the first boot that is remembered, if any.

    Raises one of FAULTS.
    """
    found = pairs(db, "boots", "ORDER BY boot LIMIT 1")
    return instant(found[0][1]) if found else None


def note_began(
    db: sqlite3.Connection, boots: Set[int], now: Now, noted: Noted | None
) -> Noted | None:
    """Write the start of this boot under all its numbers, if it has changed.

    `noted` is the present content of the database; returns the new content.
    """
    if not now.synced or now.wall is None:
        return noted
    at = now.wall.astimezone(UTC) - timedelta(seconds=now.uptime_s)
    if instant(at.isoformat()) is None:
        return noted  # no reader would believe it
    if noted is not None and noted.boots >= boots:
        off_s = abs((at - noted.began).total_seconds())
        if off_s <= BEGAN_TOLERANCE_S:
            return noted
    upsert(db, "boots", [(boot, at.isoformat()) for boot in sorted(boots)])
    db.execute(
        "DELETE FROM boots WHERE boot <="
        " (SELECT boot FROM boots ORDER BY boot DESC LIMIT 1 OFFSET ?)"
        " AND boot < coalesce((SELECT boot FROM outbox ORDER BY id LIMIT 1), boot + 1)",
        (MAX_BOOTS,),
    )
    return Noted(at, frozenset(boots))


# Reports


def power_cut(before: Ledger, began: datetime | None, now: Now) -> dict[str, Any]:
    """Return the detail of `power_cut`: the last sign of life, and how long ago it was.

    `began` is the time of day at uptime 0 of the boot that ended, if its clock was ever set.
    """
    last = None if began is None else began + timedelta(seconds=before.uptime_s)
    if last is not None and instant(last.isoformat()) is None:
        last = None
    off_s = None
    if last is not None and now.is_certain and now.wall is not None:
        off_s = max(0, round((now.wall - last).total_seconds()))
    return {
        "boot": before.boot,
        "uptime_s": before.uptime_s,
        "last": timestamp(last),
        "off_s": off_s,
    }


def age_s(row: Row, began: datetime | None, now: Now) -> int:
    """Return the age of a record of an earlier boot; if unknown, the age of this boot."""
    if began is not None and now.wall is not None:
        at = began + timedelta(seconds=row.uptime_s)
        return max(0, round((now.wall - at).total_seconds()))
    return round(now.uptime_s)
