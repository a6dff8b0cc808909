"""What is held of a range of records, for a receiver that lacks them."""

import contextlib
import re
import sqlite3
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from publisher.store import rows
from publisher.store.rows import Row

#: Most missing ranges in one answer: it has room for them.
MAX_MISSING = 50
#: Most runs of records between which others wait for the broker.
MAX_SPANS = 1000
#: Most records that are looked at for one answer: each is read whole, meanwhile nothing is recorded.
MAX_LOOKED_AT = 5000
_SEQ = re.compile(r'"seq":\s?([0-9]{1,16})')


class Pair(NamedTuple):
    """The number of a record."""

    boot: int
    seq: int


class Missing(NamedTuple):
    """Numbers of a boot that the store does not have; `until` is None where the boot's last is not known."""

    boot: int
    first: int
    until: int | None


@dataclass
class Found:
    """The records of a range that the broker has and that are kept.

    `until` is the last pair that was looked at: a range that is too long, or has too many gaps, is cut off
    there. Records that wait for the broker are in neither list.
    """

    until: Pair
    spans: list[tuple[int, int]] = field(default_factory=list)  # of ids: the first and the last
    count: int = 0
    missing: list[Missing] = field(default_factory=list)
    looked_at: int = 0

    @property
    def is_full(self) -> bool:
        """Return whether no more can be answered at once."""
        return (
            len(self.missing) >= MAX_MISSING
            or len(self.spans) >= MAX_SPANS
            or self.looked_at >= MAX_LOOKED_AT
        )


def search(
    db: sqlite3.Connection,
    first: Pair,
    last: Pair,
    ends: Mapping[int, int],
    confirmed: Container[int],
) -> Found:
    """Look for the records from `first` to `last`. Raises one of FAULTS.

    `ends` has the last `seq` of boots, as far as known, that of the present one included. `confirmed` are
    the ids of rows that will be marked.
    """
    newest = max(Pair(boot, seq) for boot, seq in ends.items())
    last = min(last, newest)
    found = Found(last)
    if first > last:
        return found
    boot, due, has_rows = first.boot, first.seq, False
    is_in_span = False
    with contextlib.closing(rows.records(db, _lower_bound(db, first) - 1)) as records:
        for row, is_whole in records:
            pair = pair_of(row) if is_whole else None
            if pair is None:
                continue  # a gap
            if pair > last:
                break
            if pair.boot != boot:
                _end(found, boot, due, ends.get(boot), has_rows=has_rows)
                boot, due = pair.boot, 1
            has_rows = True
            found.looked_at += 1
            if pair.seq > due:
                found.missing.append(Missing(boot, due, pair.seq - 1))
            due = pair.seq + 1
            is_kept = row.confirmed_s is not None or row.id in confirmed
            if is_kept:
                begin = found.spans.pop()[0] if is_in_span else row.id
                found.spans.append((begin, row.id))
                found.count += 1
            is_in_span = is_kept
            if found.is_full:
                found.until = pair
                return found
    if boot < last.boot:
        _end(found, boot, due, ends.get(boot), has_rows=has_rows)
        boot, due = last.boot, 1
    _end(found, boot, due, min(last.seq, ends.get(boot, last.seq)), has_rows=True)
    return found


def pair_of(row: Row) -> Pair | None:
    """Return a record's number; None if it has none."""
    found = _SEQ.search(row.body)
    return None if found is None else Pair(row.boot, int(found[1]))


def _end(found: Found, boot: int, due: int, end: int | None, *, has_rows: bool) -> None:
    """Note what is missing at the end of a boot. One of which there is nothing may have had any number."""
    if (end is None and not has_rows) or (end is not None and end >= due):
        found.missing.append(Missing(boot, due, end))


def _lower_bound(db: sqlite3.Connection, first: Pair) -> int:
    """Return an id that all records from `first` on have at least: ids and pairs grow together."""
    [(low, high)] = db.execute("SELECT coalesce(min(id), 0), coalesce(max(id), 0) + 1 FROM outbox")
    while low < high:
        middle = (low + high) // 2
        row_id, pair = _next(db, middle)
        if pair is None or pair >= first:
            high = middle
        else:
            low = row_id + 1
    return int(low)


def _next(db: sqlite3.Connection, row_id: int) -> tuple[int, Pair | None]:
    """Return id and number of the first intact record from an id on; None if there is none."""
    with contextlib.closing(rows.records(db, row_id - 1)) as records:
        for row, is_whole in records:
            pair = pair_of(row) if is_whole else None
            if pair is not None:
                return row.id, pair
    return row_id, None
