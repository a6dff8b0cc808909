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

from publisher.store.file import FILE
from publisher.store.ledger import FILE as LEDGER
from publisher.store.rows import Row
from publisher.store.store import MAX_REFUSALS
from tests.test_publisher_store import Unit, cut_power, number

RECORDS = 12
DAYS = [("2026-11-20", '{"entered":7}'), ("2026-11-21", '{"entered":9}')]
ANSWERS = [("c1", '{"ok":true}'), ("c2", '{"ok":false}')]


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
    """A store as after a power cut, and its true content."""

    def __init__(self, directory: Path, *, in_log: bool) -> None:
        """With `in_log` all rows are still in the write-ahead log, otherwise in the database."""
        (directory / "running").mkdir()
        unit = Unit(directory / "running")
        rows = unit.append(RECORDS - 1, size=150)
        unit.store.append(lambda boot, seq: [], unit.totals, unit.now(), days=DAYS, answers=ANSWERS)
        rows += unit.append(1)
        if not in_log:
            unit.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
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

    def open_damaged(self, directory: Path, name: str, content: bytes) -> str:
        """Open a copy in which the file `name` has other content; return the outcome.

        Raises AssertionError if the store reports anything that is not true.
        """
        shutil.copytree(self.directory, directory)
        (directory / name).write_bytes(content)
        unit = Unit(directory, "boot-b", second=100)
        assert unit.opened.totals == {"n": RECORDS}, unit.opened.totals
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
        assert buffer["dropped"] >= lost, buffer
        unit.close()
        aside = sorted(directory.glob("*.corrupt-*"))
        again = Unit(directory, "boot-b", second=200)
        assert again.opened.totals == {"n": RECORDS + 3}
        assert again.store.failure is None
        assert sorted(directory.glob("*.corrupt-*")) == aside
        assert len(again.waiting()) == left
        again.close()
        is_whole = not lost and (days, answers) == (DAYS, ANSWERS) and began is not None
        return f"{outcome}, {'nothing lost' if is_whole else 'something lost'}"


def run(every: int, kinds: Iterable[str] = KINDS) -> dict[str, dict[str, int]]:
    """Damage each `every`th byte; return how often each outcome occurred."""
    came: dict[str, Counter[str]] = {}
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(dir=place) as top:
        for case in ("database", "log"):
            directory = Path(top) / case
            directory.mkdir()
            original = Original(directory, in_log=case == "log")
            for name, content in original.files.items():
                for kind in kinds:
                    outcomes = came.setdefault(f"{case}: {name}, {kind}", Counter())
                    for at_byte in range(0, len(content), every):
                        changed = KINDS[kind](content, at_byte)
                        copy = directory / "copy"
                        try:
                            outcomes[original.open_damaged(copy, name, changed)] += 1
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
