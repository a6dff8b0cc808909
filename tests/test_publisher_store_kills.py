"""The store, killed before every SQLite statement and every rename or removal of a file."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.test_publisher_store import Unit, number

#: A process that exercises the whole store, started once for every moment at which it can be killed. After
#: each step it writes the promises made to its callers into a file of its own.
VICTIMS = """
import itertools, json, os, shutil, signal, sqlite3, sys
from pathlib import Path
from tests.test_publisher_store import Unit, fill_disk, of_version_1, overwrite, FILE

moments, until = 0, None

def pass_moment(*_):
    global moments
    moments += 1
    if moments == until:
        os.kill(os.getpid(), signal.SIGKILL)

real_connect = sqlite3.connect
def connect(*args, **kwargs):
    db = real_connect(*args, **kwargs)
    db.set_trace_callback(pass_moment)
    return db

def audit(event, args):
    if until is not None and event in ("os.rename", "os.remove", "os.mkdir", "sqlite3.connect"):
        pass_moment()

def live(directory, case):
    promises = os.open(directory.with_suffix(".promises"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def promise(**what):
        os.write(promises, (json.dumps(what) + "\\n").encode())

    def append(count, size=0, **beside):
        rows = unit.append(count, size=size)
        promise(rows=[[r.id, r.boot, json.loads(r.body)["seq"]] for r in rows], n=unit.totals["n"],
                memory=unit.store.failure is not None)
        return rows

    def confirm(rows):
        unit.store.confirm(row.id for row in rows)
        promise(sent=[row.id for row in rows])

    if case == "version 1":
        unit = Unit(directory, "boot-b", second=1000)
    elif case == "damaged":
        overwrite(directory / FILE, 0, b"x")
        unit = Unit(directory, "boot-b", second=1000)
    else:
        unit = Unit(directory)
    first = append(3)
    unit.store.append(lambda boot, seq: [], unit.totals, unit.now(),
                      days=[("2026-11-22", "{}")], answers=[("c1", "{}")])
    confirm(first[:2])
    append(2)
    if case == "memory":
        fill_disk(unit)
        confirm(append(3, size=9000)[:1])
        append(1)
        unit.retry()
        promise(back=True)
    if case == "deleted":
        promise(gone=True)
        shutil.rmtree(directory)
        append(1)
    append(2)
    confirm(first[2:])
    append(1)
    unit.close()

top, case = Path(sys.argv[1]), sys.argv[2]
sqlite3.connect = connect
sys.addaudithook(audit)
for moment in itertools.count(1):
    directory = top / str(moment)
    directory.mkdir()
    if case == "version 1":
        of_version_1(directory)
    if case == "damaged":
        shutil.rmtree(directory)
        shutil.copytree(top / "old", directory)
    moments = 0
    child = os.fork()
    if child == 0:
        until = moment
        live(directory, case)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(moment)
        break
"""


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory: a killed process loses nothing there, and flushes are free."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


def lay_old(directory: Path) -> int:
    """Make an older store; return the highest boot in it."""
    directory.mkdir()
    unit = Unit(directory)
    unit.append(4)
    unit.close()
    return unit.store.boot


@pytest.mark.parametrize("case", ["first start", "version 1", "memory", "deleted", "damaged"])
def test_killed_before_any_statement_it_keeps_its_promises(in_memory: Path, case: str) -> None:
    if case == "damaged":
        lay_old(in_memory / "old")
    done = subprocess.run(
        [sys.executable, "-c", VICTIMS, str(in_memory), case],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,  # only a failed test reaches it
    )
    moments = int(done.stdout)
    assert moments > 50
    counted_before = {"version 1": 6, "damaged": 4}.get(case, 0)
    for moment in range(1, moments + 1):
        check(in_memory / str(moment), counted_before, f"{case}, killed at moment {moment}")


def check(directory: Path, counted_before: int, where: str) -> None:
    promised: dict[tuple[int, int], tuple[int, bool]] = {}  # number → id, whether it was in memory
    sent: set[int] = set()
    total, is_gone = counted_before, False
    for promise in read_promises(directory):
        total = promise.get("n", total)
        # From here to the next promise only the process has the rest.
        is_gone = "gone" in promise
        sent |= set(promise.get("sent", ()))
        for row_id, boot, seq in promise.get("rows", ()):
            assert (boot, seq) not in promised, where
            promised[boot, seq] = row_id, promise["memory"]
        if "back" in promise:
            promised = {key: (row_id, False) for key, (row_id, _) in promised.items()}
    directory.mkdir(exist_ok=True)
    unit = Unit(directory, "boot-z", second=5000)
    assert unit.store.failure is None, where
    assert is_gone or total <= unit.totals.get("n", 0) <= total + 3, where
    waiting = {number(row): row.id for row in unit.waiting()}
    assert len(waiting) == len(unit.waiting()) == unit.buffer()["rows"], where
    must = {key for key, (row_id, memory) in promised.items() if not memory and row_id not in sent}
    assert is_gone or must <= waiting.keys(), where
    unit.store.set_aside()
    new = {number(row) for row in unit.append(3)}
    assert not new & (promised.keys() | waiting.keys()), where
    unit.close()
    again = Unit(directory, "boot-z", second=6000)
    assert again.store.failure is None, where
    assert again.totals == unit.totals, where
    assert again.store.set_aside() == [], where
    again.close()
    assert not list(directory.glob("*-new*")), where


def read_promises(directory: Path) -> list[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError):
        text = directory.with_suffix(".promises").read_text()
        return [json.loads(line) for line in text.splitlines()]
    return []
