"""`python -m tests.bench.store`: the cost of the store: empty, with a week's records, with a long backlog.

Prints one JSON object. Written bytes are counted at a block device of its own (an ext4 in a file, journal
included), with everything flushed after each record as on a quiet unit; that needs root. By the clock that
the store is given, the records are as far apart as on a day with a snapshot a minute and 1,000 passages.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from publisher.clock import Now
from publisher.messages import HISTORY_MAX_BYTES
from publisher.store import store as stores
from publisher.store.file import FILE
from publisher.store.store import MAX_CONFIRMED, Store

BACKLOG = 50_000
RECORDS = 500
#: The states of such a day, and the seconds between two of them.
STATES_A_DAY = 2440
PERIOD_S = 86_400 / STATES_A_DAY
#: A week's records, which the broker has and which are kept.
KEPT = 7 * STATES_A_DAY
#: The uptime at second 0.
UPTIME_S = 8 * 86_400.0
#: Approximate size of a state of a unit with four sensors, and of its totals.
BODY_BYTES, TOTALS_BYTES = 1000, 900
MANY = 1 << 40


def at(second: float) -> Now:
    return Now(second, second + UPTIME_S, datetime.fromtimestamp(1.8e9 + second, UTC), True)


def made(count: int) -> Callable[[int, int], list[tuple[str, str]]]:
    return lambda boot, seq: [
        ("state", json.dumps({"boot": boot, "seq": seq + i, "pad": "x" * BODY_BYTES}))
        for i in range(count)
    ]


TOTALS = {"pad": "x" * TOTALS_BYTES}


def open_store(directory: Path) -> Store:
    store = Store(directory, MANY, MANY)
    store.open("boot", at(0))
    return store


def time_ms(work: Callable[[], Any], times: int = 1) -> float:
    """Return the median time of some work, in milliseconds."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return round(1000 * statistics.median(took), 3)


def backlog(directory: Path) -> dict[str, float]:
    store = open_store(directory)

    def record() -> None:
        rows = store.append(made(1), TOTALS, at(1))
        store.confirm([rows[0].id])

    found = {
        "append_ms": time_ms(record, 100),
        "buffer_ms": time_ms(lambda: store.buffer(at(2)), 100),
    }
    begun = time.perf_counter()
    for _ in range(BACKLOG // 500):
        store.append(made(500), TOTALS, at(3))
    found["fill_s"] = round(time.perf_counter() - begun, 2)
    store.close(at(4), TOTALS)
    found["mib"] = round(sum(f.stat().st_size for f in directory.iterdir()) / (1 << 20), 1)
    begun = time.perf_counter()
    store = open_store(directory)
    found["open_with_backlog_ms"] = round(1000 * (time.perf_counter() - begun), 1)
    found["append_with_backlog_ms"] = time_ms(record, 100)
    found["buffer_with_backlog_ms"] = time_ms(lambda: store.buffer(at(2)), 100)
    begun = time.perf_counter()
    cursor, rows = 0, 0
    while batch := store.backlog(cursor, MANY, HISTORY_MAX_BYTES - 200):
        cursor = batch[-1].id
        rows += len(batch)
        store.confirm(row.id for row in batch)
    store.append(made(1), TOTALS, at(5))
    found["drain_s"] = round(time.perf_counter() - begun, 2)
    assert rows == BACKLOG, rows
    assert store.buffer(at(6))["rows"] == 1
    store.close(at(7), TOTALS)
    return found


def fill_week(store: Store) -> None:
    """Fill a store with a week's confirmed records, made before second 0."""
    for number in range(0, KEPT, MAX_CONFIRMED):
        second = (number - KEPT) * PERIOD_S
        rows = store.append(made(MAX_CONFIRMED), TOTALS, at(second))
        store.confirm(row.id for row in rows)


def week(directory: Path) -> dict[str, float]:
    """Return what a store costs that keeps a week's records."""
    store = open_store(directory)
    fill_week(store)
    store.append(made(1), TOTALS, at(0))
    store.close(at(1), TOTALS)
    opened, found = (
        [],
        {"kept": KEPT, "mib": round((directory / FILE).stat().st_size / (1 << 20), 1)},
    )
    for number in range(5):
        begun = time.perf_counter()
        store = open_store(directory)
        opened.append(1000 * (time.perf_counter() - begun))
        store.close(at(2 + number), TOTALS)
    found["open_ms"] = round(statistics.median(opened), 1)
    store = open_store(directory)

    def record() -> None:
        rows = store.append(made(1), TOTALS, at(10))
        store.confirm([rows[0].id])

    found["append_ms"] = time_ms(record, 100)
    found["buffer_ms"] = time_ms(lambda: store.buffer(at(11)), 100)
    store.close(at(12), TOTALS)
    return found


def written(second_place_s: float) -> float:
    """Return the bytes written to the device per record, while a week's records are kept and old ones go.

    The totals' second place is written every `second_place_s`: 0 with every record, infinity never.
    """
    shipped_s, stores.SECOND_PLACE_S = stores.SECOND_PLACE_S, second_place_s
    with ExitStack() as stack:
        stack.callback(setattr, stores, "SECOND_PLACE_S", shipped_s)
        top = Path(stack.enter_context(TemporaryDirectory()))
        image, place = top / "disk.img", top / "disk"
        place.mkdir()
        with image.open("wb") as file:
            file.truncate(128 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, place], check=True)
        stack.callback(lambda: subprocess.run(["umount", place], check=True))
        device = place.stat().st_dev
        stat = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
        store = open_store(place)
        fill_week(store)
        before: list[int] = []
        for number in range(RECORDS + 20):
            if number == 20:  # the file system has settled
                before.append(int(stat.read_text().split()[6]))
            rows = store.append(made(1), TOTALS, at(number * PERIOD_S))
            store.confirm([rows[0].id])
            subprocess.run(["sync", "-f", place], check=True)
        sectors = int(stat.read_text().split()[6]) - before[0]
        store.close(at(RECORDS * 2 * PERIOD_S), TOTALS)
        return round(512 * sectors / RECORDS)


def main() -> None:
    figures: dict[str, Any] = {}
    with TemporaryDirectory(dir="/var/tmp") as directory:
        figures["backlog"] = {"rows": BACKLOG, **backlog(Path(directory))}
    with TemporaryDirectory(dir="/var/tmp") as directory:
        figures["a week's records"] = week(Path(directory))
    try:
        for name, second_place_s in (
            ("as shipped", stores.SECOND_PLACE_S),
            ("second place with every record", 0.0),
            ("no second place", math.inf),
        ):
            bytes_a_record = written(second_place_s)
            figures[f"written, {name}"] = {
                "bytes_a_record": bytes_a_record,
                "mb_a_day": round(bytes_a_record * STATES_A_DAY / 1e6, 1),
            }
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the bytes written were not measured: {error}", file=sys.stderr)  # noqa: T201
    print(json.dumps(figures, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
