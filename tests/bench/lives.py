"""`python -m tests.bench.lives --rounds N --seed N`: many lives of a unit, each with faults and an end.

The storm of `tests.bench.faults`, and beside it: a time service that lies, flushes that take seconds, a state
directory that is put back from a copy or damaged while the unit is dead, a broker that refuses by size for
a while, and reboots. A round is one life of the agent's process, up to its kill or stop. Its findings are
printed as JSON; those of `BAD` must be zero.

With an odd seed the wire carries TLS and the broker's limit of size is its own; with an even one it carries
none, nobody damages its bytes, and PUBACKs refuse.
"""

import argparse
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.faults import SPEED, Centre, Checker, Storm
from tests.bench.faults import _is_calm as is_calm
from tests.bench.judge import Life, Limit, judge
from tests.bench.kernel import JUMPS_S, Kernel, absurd_error_s
from tests.bench.stage import PATIENCE_S, Failed, Unit
from tests.wires import Wire

#: Shares of the rounds that begin with a reboot, that end with a clean stop, and in which the kill comes
#: while a fault lasts.
REBOOTS, STOPS, EARLY_KILLS = 0.4, 0.15, 0.35
#: Shares of the rounds before which a copy is made, one is put back, and the file is damaged.
COPIES, PUT_BACKS, DAMAGES = 0.35, 0.2, 0.06
#: Reason codes of PUBACK: "quota exceeded" and "packet too large".
REFUSALS = (0x97, 0x95)
STORE = "tentwatch.db"


def compiled(directory: Path) -> Path:
    """Return the library that makes flushes slow."""
    library = directory / "slow_flush.so"
    source = Path(__file__).with_name("slow_flush.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


class Narrow:
    """Refuses the unit's messages above a size, as a broker does that answers them with an error."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.limit, self.code = 0, REFUSALS[0]

    def __call__(self, from_unit: bool, packet: bytes) -> bytes:
        """Pass a packet on, or answer it in the broker's place."""
        if not from_unit or packet[0] >> 4 != 3 or not 0 < self.limit < len(packet):
            return packet
        at = 1
        while packet[at] & 0x80:
            at += 1
        topic_bytes = int.from_bytes(packet[at + 1 : at + 3], "big")
        number = packet[at + 3 + topic_bytes : at + 5 + topic_bytes]
        self._wire.inject(b"\x40\x03" + number + bytes([self.code]))
        return b""


@dataclass
class Lives(Storm):
    """The storm's faults and those of clock, card and sizes; and the unit that lives through them."""

    work: Path = field(kw_only=True)
    seed: int = field(kw_only=True)
    narrow: Narrow | None = field(kw_only=True)  # None: with TLS
    lives: list[Life] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    excused: set[tuple[int, int]] = field(default_factory=set)  # records that went with a directory
    copied_in: str = ""  # the boot's name
    _unit: Unit | None = None
    _mains: bool = True
    _queue: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state_dir, self.run_dir = self.work / "state", self.work / "run"
        self.copy = self.work / "copy"
        self.flush_file, self.kernel_file = self.work / "flush", self.work / "kernel.json"
        self.library = compiled(self.work)
        self.kernel = Kernel.first(SPEED)
        self.kernel.write(self.kernel_file)

    def faults(self) -> list[Callable[[], None]]:
        """Return all faults of one turn."""
        wire = super().faults()
        if self.narrow is not None:
            wire.remove(self.damaged_wire)
        mine = [
            self.lying_clock,
            self.slow_flush,
            self.small_broker,
            self.slow_flush,
            self.lying_clock,
        ]
        return [*wire, *mine, self.small_broker, self.nothing]

    def _last(self, least_s: float, most_s: float) -> None:
        super()._last(least_s / 2, most_s / 2)

    def nothing(self) -> None:
        """Leave the unit alone."""
        self._last(0.5, 4.0)

    # Clock, card and sizes

    def _set(self, **changes: Any) -> None:
        self.kernel = replace(self.kernel, **changes)
        self.kernel.write(self.kernel_file)
        self._note_error()

    def _note_error(self) -> None:
        self.lives[-1].errors_s.append(self.kernel.error_s)

    def lying_clock(self) -> None:
        """Let the time service be wrong for a while, or until the next reboot."""
        if self.chance.random() < 0.6:
            error_s = absurd_error_s(self.kernel, self.chance)
        else:
            error_s = self.chance.choice(JUMPS_S)
        self._set(error_s=error_s, synced=True)
        self._move_mains()
        self._last(0.3, 3.0)
        match self.chance.randrange(4):
            case 0:
                self._set(synced=False)  # and the time stays wrong
            case 1:
                pass
            case _:
                self._set(error_s=0.0, synced=True)

    def slow_flush(self) -> None:
        """Let each flush take up to two seconds."""
        self.flush_file.write_text(str(self.chance.randrange(200, 2000)))
        try:
            for _ in range(self.chance.randrange(1, 4)):
                self._last(0.2, 1.5)
                self._move_mains()
            self._last(0.2, 2.0)
        finally:
            self.flush_file.write_text("0")

    def small_broker(self) -> None:
        """Let the broker refuse what is larger than a limit."""
        packet_bytes = self.chance.choice((400, 900, 1500, 3000))
        limit = Limit(packet_bytes, len([*records_of(self.checker.messages)]))
        self.limits.append(limit)
        if self.narrow is None:
            self.centre.largest_packet = packet_bytes
            self._replace(signal.SIGTERM, persistent=True)
            self._move_mains()
            self._last(0.5, 4.0)
            self.centre.largest_packet = 0
            self._replace(signal.SIGTERM, persistent=True)
        else:
            self.narrow.limit, self.narrow.code = packet_bytes, self.chance.choice(REFUSALS)
            self._move_mains()
            self._last(0.5, 4.0)
            self.narrow.limit = 0
        limit.until_s = time.monotonic()

    def _move_mains(self) -> None:
        with suppress(Failed, BrokenPipeError):  # it may have been killed
            if self._unit is not None and self.lives[-1].has_world():
                self._unit.tell(f"mains {int(not self._mains)}")
                self._mains = not self._mains

    # Lives

    def round(self) -> None:
        """Let the unit live once, with faults."""
        before = self._between()
        truth = self.work / f"truth-{len(self.lives)}"
        self.lives.append(Life(self.kernel, truth, before, found=self._ledger()))
        self._note_error()
        unit = self._start()
        timer = None
        try:
            if self.chance.random() < 0.85:
                self._await_world()
            ending = self.chance.random()
            for left in reversed(range(self.chance.randrange(1, 4))):
                if not left and ending < EARLY_KILLS:
                    timer = threading.Timer(
                        self.chance.uniform(0, 2.0), unit.send, (signal.SIGKILL,)
                    )
                    timer.start()
                if not self._queue:
                    self._queue = self.faults()
                    self.chance.shuffle(self._queue)
                fault = self._queue.pop()
                fault()
                self.done[fault.__name__] += 1
                if self.chance.random() < 0.4:
                    self._move_mains()
                self._last(0.0, 1.0)
        finally:
            if timer is not None:
                timer.join()
            is_stop = timer is None and ending > 1 - STOPS
            unit.send(signal.SIGTERM if is_stop else signal.SIGKILL)
            unit.wait()
            self._unit = None
        self.done["stopped_unit" if is_stop else "killed_unit"] += 1
        self.lives[-1].ledger = self._ledger()

    def last_life(self) -> None:
        """Let the unit live once more in peace, until everything is sent, and stop it."""
        self._set_right()
        self.lives.append(Life(self.kernel, self.work / f"truth-{len(self.lives)}", ""))
        self._note_error()
        unit = self._start()
        try:
            unit.wait_until(is_calm)
        finally:
            unit.send(signal.SIGTERM)
            unit.wait()
        self.lives[-1].ledger = self._ledger()
        self.checker.catch_up()

    def note(self) -> None:
        """Leave behind what the judge sees, for `again`."""
        with (self.work / "lives.jsonl").open("w") as file:
            for life in self.lives:
                line = {**asdict(life), "truth": life.truth.name}
                file.write(json.dumps(line) + "\n")
        with (self.work / "messages.jsonl").open("w") as file:
            for message in self.checker.messages:
                file.write(json.dumps(message) + "\n")
        excuses = {
            "excused": sorted(self.excused),
            "limits": [asdict(limit) for limit in self.limits],
        }
        (self.work / "excuses.json").write_text(json.dumps(excuses))

    def _set_right(self) -> None:
        self.kernel = replace(self.kernel, error_s=0.0, synced=True)
        self.kernel.write(self.kernel_file)

    def _start(self) -> Unit:
        settings = {
            "host": "localhost", "username": "demo", "password_file": str(self.password_file),
            "keepalive_s": 2, "longest_wait_s": 2.0, "spread_s": 0.5,
        }  # fmt: skip
        if self.narrow is None:
            settings |= {"tls": True, "ca_file": str(self.centre.ca)}
        self._mains = True  # the world begins with it
        self._unit = Unit(
            self.state_dir,
            self.wire.port,
            speed=SPEED,
            world=self.seed * 1000 + len(self.lives),
            broker=settings,
            more=(f"--kernel={self.kernel_file}", f"--truth={self.lives[-1].truth}"),
            environment={"LD_PRELOAD": str(self.library), "SLOW_FLUSH": str(self.flush_file)},
        )
        return self._unit

    def _await_world(self) -> None:
        limit_s = time.monotonic() + PATIENCE_S
        while not self.lives[-1].has_world():
            if time.monotonic() > limit_s:
                raise Failed(f"the unit does not start: {self._log()}")
            time.sleep(0.02)

    def _log(self) -> str:
        return (self.state_dir / "log").read_text(errors="replace")[-3000:]

    def _ledger(self) -> dict[str, Any] | None:
        """Return the ledger in the dead unit's file."""
        with TemporaryDirectory(dir=self.work) as place, suppress(sqlite3.DatabaseError, TypeError):
            for path in self.state_dir.glob(f"{STORE}*"):
                shutil.copy(path, place)
            with closing(sqlite3.connect(Path(place) / STORE)) as store:
                ledger = json.loads(store.execute("SELECT body FROM ledger").fetchone()[0])
                assert isinstance(ledger, dict)
                return ledger
        return None

    # While the unit is dead

    def _between(self) -> str:
        """Reboot, copy, put back, damage; return what happened to the state directory."""
        is_reboot = bool(self.lives) and self.chance.random() < REBOOTS
        if is_reboot:
            self._reboot()
        if not self.lives:
            return ""
        what = self.chance.random()
        if what < PUT_BACKS and self.copy.exists():
            self._excuse()
            self._put_back()
            self.done["put_back" + ("_and_reboot" if is_reboot else "")] += 1
            is_blind = self.copied_in != self.kernel.boot_id
            # A copy of an earlier boot is recognised as long as this boot has a trace.
            return (
                "copy" if is_reboot or (is_blind and not self._has_trace()) else "copy, same boot"
            )
        if what < PUT_BACKS + DAMAGES:
            self._excuse()
            self._damage()
            self.done["damage"] += 1
            return "damage"
        if self.chance.random() < COPIES:
            shutil.rmtree(self.copy, ignore_errors=True)
            subprocess.run(["cp", "-a", str(self.state_dir), str(self.copy)], check=True)
            self.copied_in = self.kernel.boot_id
        return "reboot" if is_reboot else ""

    def _has_trace(self) -> bool:
        return any(path.is_file() for path in self.run_dir.rglob("*"))

    def _reboot(self) -> None:
        self.kernel = self.kernel.booted_again(len(self.lives), self.chance.uniform(1000, 20_000))
        match self.chance.randrange(4):
            case 0:  # no time service, and a clock that shows the time of the last shutdown
                self.kernel = replace(
                    self.kernel, error_s=-self.chance.uniform(0, 1e6), synced=False
                )
            case 1:
                error_s = absurd_error_s(self.kernel, self.chance)
                self.kernel = replace(self.kernel, error_s=error_s, synced=True)
            case _:
                self.kernel = replace(self.kernel, error_s=0.0, synced=True)
        self.kernel.write(self.kernel_file)
        shutil.rmtree(self.run_dir)
        self.done["reboot"] += 1

    def _excuse(self) -> None:
        """Excuse records that only the present directory holds: it is about to be lost."""
        self.checker.catch_up()
        got = {key for key, *_ in records_of(self.checker.messages)}
        made = {key for life in self.lives for key in life.made()}
        self.excused |= made - got

    def _put_back(self) -> None:
        log = (self.state_dir / "log").read_bytes()
        shutil.rmtree(self.state_dir)
        if self.chance.random() < 0.5:
            subprocess.run(["cp", "-a", str(self.copy), str(self.state_dir)], check=True)
        else:
            packed = self.work / "copy.tar"
            tar = ["tar", "-C", str(self.copy), "--exclude=*.sock", "-cf", str(packed), "."]
            subprocess.run(tar, check=True, stderr=subprocess.DEVNULL)
            self.state_dir.mkdir()
            subprocess.run(["tar", "-C", str(self.state_dir), "-xf", str(packed)], check=True)
        (self.state_dir / "log").write_bytes(log)

    def _damage(self) -> None:
        """Overwrite a sector of the database, or of its log, with noise."""
        paths = [p for p in self.state_dir.glob(f"{STORE}*") if p.suffix in (".db", ".db-wal")]
        path = self.chance.choice(sorted(p for p in paths if p.stat().st_size))
        with path.open("r+b") as file:
            file.seek(512 * self.chance.randrange(max(1, path.stat().st_size // 512)))
            file.write(self.chance.randbytes(512))


def records_of(
    messages: Iterable[tuple[str, bool, Any]],
) -> Iterator[tuple[tuple[int, int], str, Any]]:
    """Yield all records that came live or in history: number, kind of message, content."""
    for kind, retained, content in messages:
        if retained:
            continue
        for record in content.get("records", [content]):
            if "seq" in record:
                yield (record["boot"], record["seq"]), kind, record


@contextmanager
def prepared(work: Path, seed: int) -> Iterator[Lives]:
    """Set up broker, wire and checker."""
    with ExitStack() as stack:
        centre = Centre(work)
        centre.start()
        stack.callback(lambda: centre.end(signal.SIGKILL))
        checker = Checker(centre.port)
        stack.callback(checker.close)
        is_plain = seed % 2 == 0
        wire = stack.enter_context(Wire(centre.port if is_plain else centre.tls_port))
        narrow = Narrow(wire) if is_plain else None
        wire.edit = narrow
        password_file = work / "password"
        password_file.write_text("first")
        chance = random.Random(seed)
        yield Lives(
            centre, wire, checker, password_file, chance, work=work, seed=seed, narrow=narrow
        )


def run(work: Path, rounds: int, seed: int, until_s: float = float("inf")) -> dict[str, Any]:
    """Live up to `rounds` times, until the monotonic second `until_s`; return the findings."""
    with prepared(work, seed) as lives:
        for _ in range(rounds):
            if time.monotonic() > until_s:
                break
            lives.round()
        lives.last_life()
        lives.note()
        found = again(work)
        kinds: Counter[str] = lives.done
        return {
            "seed": seed,
            "rounds": len(lives.lives) - 1,
            "faults": dict(sorted(kinds.items())),
        } | found


def again(work: Path) -> dict[str, Any]:
    """Judge what was left behind there."""
    lines = map(json.loads, (work / "lives.jsonl").read_text().splitlines())
    lives = [
        Life(**line | {"kernel": Kernel(**line["kernel"]), "truth": work / line["truth"]})
        for line in lines
    ]
    messages = map(json.loads, (work / "messages.jsonl").read_text().splitlines())
    excuses = json.loads((work / "excuses.json").read_text())
    excused = {(boot, seq) for boot, seq in excuses["excused"]}
    return judge(
        lives, [*records_of(messages)], excused, [Limit(**limit) for limit in excuses["limits"]]
    )


def main() -> int:
    """Print the findings; return 1 if one is bad."""
    parser = argparse.ArgumentParser(prog="tests.bench.lives", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no round after")
    parser.add_argument("--keep", type=Path, help="work here, and leave everything behind")
    parser.add_argument("--again", type=Path, help="judge what an earlier run has left there")
    options = parser.parse_args()
    if options.again:
        print(json.dumps(again(options.again), indent=1))  # noqa: T201
        return 0
    with ExitStack() as stack:
        work = options.keep or Path(stack.enter_context(TemporaryDirectory(prefix="lives-")))
        work.mkdir(exist_ok=True)
        found = run(work, options.rounds, options.seed, time.monotonic() + options.seconds)
    print(json.dumps(found, indent=1))  # noqa: T201
    return bool(found["bad"])


if __name__ == "__main__":
    sys.exit(main())
