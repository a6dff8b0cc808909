"""The checks of the power-cut test (`tests/vm`, `make vm-test`), on small logs without a machine."""

import io
import random
import struct
from dataclasses import replace
from typing import Any

import pytest

from tests.vm import cut_log
from tests.vm.cut_log import Disk, Entry
from tests.vm.cut_witness import Found, Shown, decode, encode, names_of, totals_in, totals_of

SECTOR = cut_log.SECTOR
FLUSH = Entry(0, b"", is_flush=True)


def sectors(letters: str) -> bytes:
    return b"".join(letter.encode() * SECTOR for letter in letters)


def log_of(*entries: Entry, sector: int = SECTOR) -> bytes:
    """Write a log as the kernel's documentation says."""
    blocks = [struct.pack("<QQQI", 0x6A736677736872, 1, len(entries), sector)]
    for offset, data, is_flush, forced in entries:
        flags = is_flush * 1 + forced * 2
        blocks.append(struct.pack("<QQQQ", offset // sector, len(data) // sector, flags, 0))
        if data:
            blocks.append(data)
    return b"".join(b.ljust(-(-len(b) // sector) * sector, b"\0") for b in blocks)


def write(at: int, letters: str, *, forced: bool = False) -> Entry:
    return Entry(at * SECTOR, sectors(letters), forced=forced)


# The log


def test_a_log_is_read_as_it_was_written() -> None:
    entries = [write(3, "ab"), FLUSH, write(0, "c", forced=True), Entry(0, b"", True, True)]
    assert cut_log.read(io.BytesIO(log_of(*entries))) == entries
    assert cut_log.read(io.BytesIO(log_of(*entries) + bytes(10 * SECTOR))) == entries


def test_a_log_with_larger_sectors_is_read_too() -> None:
    entries = [Entry(4096, bytes(range(256)) * 16), FLUSH]
    assert cut_log.read(io.BytesIO(log_of(*entries, sector=4096))) == entries


def test_a_log_that_breaks_off_ends_with_its_last_whole_entry() -> None:
    entries = [write(3, "ab"), write(7, "cd")]
    log = log_of(*entries)
    for size in range(SECTOR, len(log)):
        assert cut_log.read(io.BytesIO(log[:size])) == entries[: size >= 4 * SECTOR]


@pytest.mark.parametrize("log", [b"", bytes(SECTOR), log_of()[:20], b"x" * 4096])
def test_what_is_no_log_is_refused(log: bytes) -> None:
    with pytest.raises(ValueError, match="log of writes"):
        cut_log.read(io.BytesIO(log))


def test_a_discard_is_refused_and_not_taken_for_a_write() -> None:
    log = bytearray(log_of(write(0, "a")))
    struct.pack_into("<Q", log, SECTOR + 16, 4)
    with pytest.raises(ValueError, match="discard"):
        cut_log.read(io.BytesIO(bytes(log)))


# The disk


def outcomes(entries: list[Entry], after: int, first: str = "....") -> set[str]:
    """Return all disks that 200 cuts leave."""
    found = set()
    for seed in range(200):
        left = Disk(sectors(first), entries).cut(after, random.Random(seed))
        assert len(left) == len(first) * SECTOR
        found.add("".join(chr(left[at]) for at in range(0, len(left), SECTOR)))
        assert left == sectors("".join(chr(left[at]) for at in range(0, len(left), SECTOR)))
    return found


def test_what_was_flushed_is_there_and_each_later_sector_by_chance() -> None:
    entries = [write(0, "ab"), FLUSH, write(1, "cd")]
    assert outcomes(entries, 0) == {"...."}
    assert outcomes(entries, 1) == {"....", "a...", ".b..", "ab.."}
    assert outcomes(entries, 2) == {"ab.."}
    assert outcomes(entries, 3) == {"ab..", "ac..", "ab" + "d.", "acd."}


def test_a_forced_write_is_there_and_brings_no_other_along() -> None:
    entries = [write(0, "a"), write(1, "b", forced=True)]
    assert outcomes(entries, 2) == {"ab..", ".b.."}


def test_writes_of_one_sector_keep_their_order() -> None:
    assert outcomes([write(0, "a"), FLUSH, write(0, "b"), FLUSH, write(0, "c")], 5) == {
        "b...",
        "c...",
    }
    assert outcomes([write(0, "a"), write(0, "b")], 2) == {"....", "a...", "b..."}


def test_cuts_in_rising_order_leave_what_each_alone_leaves() -> None:
    entries = [write(0, "a"), FLUSH, write(1, "b"), write(2, "c"), FLUSH, write(0, "d"), FLUSH]
    disk = Disk(sectors("...."), entries)
    for after in (1, 2, 2, 4, 5, 7):
        alone = Disk(sectors("...."), entries).cut(after, random.Random(7))
        assert disk.cut(after, random.Random(7)) == alone


def test_what_lies_behind_the_file_system_is_left_out() -> None:
    entries = [write(4, "x"), FLUSH, write(5, "y"), write(3, "a", forced=True)]
    assert outcomes(entries, 4) == {"...a"}


def test_a_cut_is_tried_just_before_each_change() -> None:
    entries = [write(9, "x"), write(0, "a"), write(9, "x"), write(9, "x"), FLUSH, write(9, "x")]
    assert cut_log.moments(entries, 4 * SECTOR) == [1, 4, 6]


# Shown data


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = {"what": "received", "t": 1.5, "records": [[1, 2]], "more": "x" * 600}
    assert len(encode(mark)) == 2 * SECTOR
    assert decode(encode(mark)) == mark
    for other in (b"", bytes(SECTOR), sectors("a"), b"tent"):
        assert decode(other) is None


NONE = {"entered": 0, "left": 0, "generator_h": 0.0, "generator_starts": 0}


def found(**changes: Any) -> Found:
    return replace(Found(8, dict(NONE), set(), set(), {"boot": 7}), **changes)


def shown(*marks: dict[str, Any]) -> Shown:
    """Return the data shown by second 10 of boot 7."""
    known = Shown()
    for mark in ({"what": "up", "boot": 7, "entered": 0, "left": 0}, *marks, {"what": "time"}):
        known.take({"t": 10.0, "cuts": [], "totals": {}, **mark})
    return known


def told(*records: tuple[int, int], cuts: tuple[int, ...] = (), **totals: float) -> dict[str, Any]:
    return {"what": "received", "records": records, "cuts": cuts, "totals": [totals]}


def test_a_total_that_was_shown_may_not_shrink() -> None:
    by_status = {"what": "status", "totals": {"entered": 5}}
    for known in (shown(told((7, 1), entered=5)), shown(by_status), shown(by_status, told())):
        assert known.lost(found(totals=NONE | {"entered": 5}, waiting={(7, 1)})) == []
        assert known.lost(found(totals=NONE | {"entered": 6}, waiting={(7, 1)})) == []
        (fault,) = known.lost(found(totals=NONE | {"entered": 4}, waiting={(7, 1)}))
        assert "entered was shown as 5 and is 4" in fault


def test_a_record_that_nobody_has_is_lost() -> None:
    confirmed = {"what": "confirmed", "records": [(7, 2)]}
    assert shown(told((7, 1), (7, 4)), confirmed).lost(found(waiting={(7, 3)})) == []
    (fault,) = shown(told((7, 1), (7, 4)), confirmed).lost(found())
    assert "[(7, 3)]" in fault
    (fault,) = shown().lost(found(waiting={(7, 3), (7, 1)}))
    assert "[(7, 2)]" in fault
    assert shown(told((7, 1))).lost(found()) == [], "records that were never shown may go"


def test_a_boot_may_not_come_twice() -> None:
    assert shown(told((7, 1))).lost(found(boot=8)) == []
    assert shown(told((7, 1))).lost(found(boot=7)) == ["boot 7 has been before"]


def test_passages_are_lost_from_the_newest_on_and_their_age_is_that_at_the_cut() -> None:
    passed = [{"what": "passed", "way": w, "at": at} for w, at in (("entered", 8.0), ("left", 9.5))]
    known = shown(*passed)
    assert known.lost_passages(found(totals=NONE | {"entered": 1, "left": 1})) == (0, 0.0)
    assert known.lost_passages(found(totals=NONE | {"entered": 1})) == (1, 0.5)
    assert known.lost_passages(found(totals=NONE | {"left": 1})) == (1, 2.0)
    assert known.lost_passages(found()) == (2, 2.0)


def test_a_restart_without_a_cut_loses_and_makes_up_nothing() -> None:
    passed = {"what": "passed", "way": "entered", "at": 8.0}
    again = {"what": "up", "boot": 7, "left": 0}
    assert shown(passed, again | {"entered": 1}).is_running
    for counted in (0, 2):
        with pytest.raises(ValueError, match="after a restart"):
            shown(passed, again | {"entered": counted})


def test_a_power_cut_must_be_reported_while_the_unit_runs() -> None:
    running, stopped = shown(), shown({"what": "stopping"})
    assert running.power_cut_fault(found()) is None
    assert running.power_cut_fault(found(power_cut=None)) == "the power cut is not reported"
    assert "boot 6" in str(running.power_cut_fault(found(power_cut={"boot": 6})))
    for power_cut in (None, {"boot": 7}):
        assert stopped.power_cut_fault(found(power_cut=power_cut)) is None


def test_after_a_cut_everything_that_was_left_must_stay() -> None:
    passed = [{"what": "passed", "way": "entered", "at": at} for at in (8.0, 9.5)]
    left = found(totals=NONE | {"entered": 1})
    waking = shown(*passed, told((7, 1))).wake(left)
    assert waking.lost_passages(left) == (0, 0.0)
    assert waking.lost_passages(found())[1] > 1e9
    waking.take({"what": "up", "t": 2.0, "boot": 8, "entered": 1, "left": 0})
    assert waking.boot == 8


def test_a_cut_before_anybody_was_told_of_the_last_one_may_not_hide_it() -> None:
    waking = shown().wake(found())
    assert waking.power_cut_fault(found()) is None
    hidden = found(power_cut={"boot": 8})
    assert "ended boot 7" in str(waking.power_cut_fault(hidden))
    assert waking.power_cut_fault(replace(hidden, reported={7})) is None
    waking.take({"t": 1.0, **told((8, 1), cuts=(7,))})
    waking.take({"what": "up", "t": 2.0, "boot": 8, "entered": 0, "left": 0})
    assert waking.power_cut_fault(hidden) is None
    assert "boot 7" in str(waking.power_cut_fault(found())), "boot 8 has ended"


def test_totals_of_a_state_and_of_a_store_are_comparable() -> None:
    generator = {"hours_total": 1.23, "starts_total": 4}
    state = {
        "capacity": {"entered_total": 5, "left_total": 3},
        "power": {"generator": generator},
    }
    saved = {
        "occupancy": {"entered_total": 5, "left_total": 3},
        "generator_s": 1.2345 * 3600,
        "generator_starts": 4,
    }
    assert totals_of(state) == totals_in(saved)


def test_reports_of_cuts_are_found_among_records() -> None:
    cut = {"boot": 8, "seq": 1, "event": "power_cut", "detail": {"boot": 7}}
    assert names_of([cut, {"boot": 8, "seq": 2}]) == {"records": [(8, 1), (8, 2)], "cuts": [7]}
