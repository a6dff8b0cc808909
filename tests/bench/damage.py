"""`python -m tests.bench.damage`: damage at every byte of a store's files, and the results.

A small store with every kind of content is left as after a power cut: database, write-ahead log and
ledger. Then a copy is damaged at each byte in turn and opened. The results are counted and printed as
JSON. A store that raises, accepts a wrong value or uses a number again ends the run with an error.
"""

import argparse
import json
import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from publisher.store.file import FILE, FRAME_HEADER_BYTES, LOG_HEADER_BYTES
from publisher.store.ledger import FILE as LEDGER
from publisher.store.out_of_reach import MAX_REFUSALS
from publisher.store.rows import Row
from tests.test_publisher_store import Unit, cut_power, number

RECORDS = 12
DAYS = [("2026-11-20", '{"entered":7}'), ("2026-11-21", '{"entered":9}')]
ANSWERS = [("c1", '{"ok":true}'), ("c2", '{"ok":false}')]
PAGE_BYTES = 2048
#: The boot in which the store was used, and the one after a power cut.
SAME_BOOT, NEXT_BOOT = "boot-a", "boot-b"
#: Whether all rows are still in the log; whether the second place is behind; the boot of the opening.
CASES = {
    "database": (False, False, NEXT_BOOT),
    "log": (True, False, NEXT_BOOT),
    "database, second place behind": (False, True, NEXT_BOOT),
    "log, second place behind": (True, True, NEXT_BOOT),
    "database, second place behind, same boot": (False, True, SAME_BOOT),
    "log, second place behind, same boot": (True, True, SAME_BOOT),
}


def flip(content: bytes, at_byte: int) -> bytes:
    """Flip one bit; which one depends on the byte's position."""
    return content[:at_byte] + bytes([content[at_byte] ^ 1 << at_byte % 8]) + content[at_byte + 1 :]


def blank(content: bytes, at_byte: int) -> bytes:
    """Set the rest of the 512-byte sector to zeros."""
    end = min(len(content), (at_byte // 512 + 1) * 512)
    return content[:at_byte] + bytes(end - at_byte) + content[end:]


def cut(content: bytes, at_byte: int) -> bytes:
    """Truncate the file."""
    return content[:at_byte]


KINDS: dict[str, Callable[[bytes, int], bytes]] = {"flip": flip, "blank": blank, "cut": cut}


def retry(unit: Unit) -> None:
    """Let the store try its file again as often as it takes before it replaces the file."""
    for _ in range(MAX_REFUSALS + 1):
        unit.retry()
    assert unit.store.failure is None, unit.store.failure


class Original:
    """A store as after a power cut or a kill, and its true content."""

    def __init__(self, directory: Path, *, in_log: bool, is_behind: bool) -> None:
        """With `in_log` all rows are still in the write-ahead log, otherwise in the database.

        With `is_behind` the totals' second place holds the first half of the records only.
        """
        (directory / "running").mkdir()
        unit = Unit(directory / "running")
        rows = unit.append(RECORDS // 2, size=150)
        unit.store.append(lambda boot, seq: [], unit.totals, unit.now(), days=DAYS, answers=ANSWERS)
        rows += unit.append(RECORDS // 2 - 1, size=150)
        rows += unit.append(1)
        if not is_behind:
            unit.store.back_up()
        if not in_log:
            unit.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.is_behind = is_behind
        self.totals = (RECORDS // 2, RECORDS - 1, RECORDS) if is_behind else (RECORDS,)
        self.directory = cut_power(unit)
        self.rows: dict[int, Row] = {row.id: row for row in rows}
        self.numbers = {number(row) for row in rows}
        self.boot = unit.store.boot
        self.began = unit.store.began(self.boot)
        unit.close()
        self.files = {
            name: content
            for name in (FILE, f"{FILE}-wal", LEDGER)
            if (self.directory / name).exists()
            and (content := (self.directory / name).read_bytes().rstrip(b"\0"))
        }

    def open_damaged(self, directory: Path, name: str, content: bytes, boot_id: str) -> str:
        """Open a copy in which the file `name` has other content; return the outcome.

        Raises AssertionError if the store reports anything that is not true.
        """
        shutil.copytree(self.directory, directory)
        (directory / name).write_bytes(content)
        unit = Unit(directory, boot_id, second=100)
        counted = unit.totals.get("n", 0)
        assert counted in self.totals, unit.opened
        found = unit.waiting()
        unit.buffer()
        days, answers = unit.store.days(), unit.store.answers()
        began = unit.store.began(self.boot)
        new = unit.append(2)
        retry(unit)
        found += unit.waiting()
        new += unit.append(1)
        unit.retry()
        assert unit.store.failure is None, unit.store.failure
        fresh = {number(row) for row in new}
        assert len(fresh) == 3
        assert not fresh & self.numbers, "a number came twice"
        for row in found:
            assert row == self.rows.get(row.id) or number(row) in fresh, row
        assert set(days) <= set(DAYS), days
        assert set(answers) <= set(ANSWERS), answers
        assert began in (None, self.began), began
        news = unit.store.set_aside()
        assert len(news) <= 1, news
        outcome = "begun anew" if news else "went on"
        for _ in range(5):
            found += unit.waiting()
            left = len(unit.waiting())
            if unit.buffer()["rows"] == left:
                break
            # Some rows are missing. The store notices when the others have been sent, or has them again.
            unit.store.confirm(row.id for row in unit.waiting())
            unit.append(0)
            unit.buffer()
            retry(unit)
            outcome = "begun anew later" if unit.store.set_aside() else outcome
        for row in found:
            assert row == self.rows.get(row.id) or number(row) in fresh, row
        lost = RECORDS - len({row.id for row in found} & self.rows.keys())
        buffer = unit.buffer()
        assert buffer["rows"] == left, buffer
        is_unknown = self.is_behind or unit.opened.is_old
        assert is_unknown or buffer["dropped"] >= lost, buffer
        unit.close()
        aside = sorted(directory.glob("*.corrupt-*"))
        again = Unit(directory, boot_id, second=200)
        assert again.opened.totals == {"n": counted + 3}
        if again.store.failure is None:
            assert sorted(directory.glob("*.corrupt-*")) == aside
        retry(again)  # some damage shows when a page is split
        assert len(again.waiting()) == left
        again.close()
        is_whole = not lost and (days, answers) == (DAYS, ANSWERS) and began is not None
        is_whole = is_whole and counted == RECORDS
        return f"{outcome}, {'nothing lost' if is_whole else 'something lost'}"

    def is_detectable(self, name: str, kind: str, at_byte: int, boot_id: str) -> bool:
        """Tell whether the damage leaves a trace.

        A log that ends between two transactions leaves none, unless the second place is ahead of it.
        In the next boot this does not matter.
        """
        is_between = (at_byte - LOG_HEADER_BYTES) % (FRAME_HEADER_BYTES + PAGE_BYTES) == 0
        is_cut = name.endswith("-wal") and kind == "cut" and is_between
        return not (is_cut and self.is_behind and boot_id == SAME_BOOT)


def run(every: int, kinds: Iterable[str] = KINDS) -> dict[str, dict[str, int]]:
    """Damage each `every`th byte; return how often each outcome occurred."""
    came: dict[str, Counter[str]] = {}
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(dir=place) as top:
        for case, (in_log, is_behind, boot_id) in CASES.items():
            directory = Path(top) / case
            directory.mkdir()
            original = Original(directory, in_log=in_log, is_behind=is_behind)
            for name, content in original.files.items():
                for kind in kinds:
                    outcomes = came.setdefault(f"{case}: {name}, {kind}", Counter())
                    for at_byte in range(0, len(content), every):
                        if not original.is_detectable(name, kind, at_byte, boot_id):
                            continue
                        changed = KINDS[kind](content, at_byte)
                        copy = directory / "copy"
                        try:
                            outcomes[original.open_damaged(copy, name, changed, boot_id)] += 1
                        except BaseException:
                            print(f"{case}: {name}, {kind} at byte {at_byte}", file=sys.stderr)  # noqa: T201
                            raise
                        shutil.rmtree(copy)
    return {where: dict(outcomes) for where, outcomes in came.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="damage every Nth byte only")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print(json.dumps(run(options.every, options.kinds), indent=1))  # noqa: T201
