"""What many lives of a unit have done to its records and totals: lost, ambiguous, misdated, disordered."""

import bisect
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from publisher.clock import END, EPOCH
from tests.bench.kernel import Kernel

Number = tuple[int, int]  # boot and seq

#: Largest error of a record's time, in seconds: a boot's start is written again from 1 s on.
STAMP_S = 1.5
#: How late a change of mains may be dated, in seconds of the unit: 0.3 real ones, on a busy machine.
MAINS_S = 30.0
#: A passage is counted at most this much after it, in seconds of the unit, and at most this much before.
COUNT_S, EARLY_S = 30.0, 2.0
#: How old the totals may be after damage and a kill, in seconds.
OLD_S = 300.0
#: Findings that must be zero.
BAD = (
    "lost", "skipped", "ambiguous", "boots_reused", "boots_fallen", "misdated", "mains_misdated",
    "disordered", "stale_states", "totals_wrong", "counts_wrong",
)  # fmt: skip
#: Of these, what a busy machine can cause, too.
TIMED = {"mains_misdated", "counts_wrong"}
#: What the unit allows at most for a packet's bytes besides its only record, see `publisher.link.backlog`.
AROUND_BYTES = 300
#: Keys that a record gets later than it is made: see `messages.stamped`.
LATER_KEYS = ("ts", "clock", "ts_estimated")


@dataclass
class Life:
    """One process of the agent, from its start to its end."""

    kernel: Kernel
    truth: Path
    before: str  # what happened to the state directory before it
    errors_s: list[float] = field(default_factory=list)  # that the kernel's time had
    found: dict[str, Any] | None = None  # the ledger in the file before it
    ledger: dict[str, Any] | None = None  # as it was left in the file

    def has_opened(self) -> bool:
        """Say whether it lived until it had a number: its store writes what it begins with."""
        ledger = self.ledger
        is_own = ledger is not None and ledger["boot_id"] == self.kernel.boot_id
        return is_own and ledger != self.found

    def made(self) -> Iterator[Number]:
        """Yield the numbers of the records that its store has made in its last boot."""
        if self.ledger is not None:
            yield from ((self.ledger["boot"], seq) for seq in range(1, self.ledger["seq"] + 1))

    def has_world(self) -> bool:
        """Say whether its world has begun: the first fact is of before."""
        return self.truth.exists() and self.truth.read_text().count("\n") >= 2

    def facts(self) -> list[tuple[float, str]]:
        """Return what truly happened, with its uptime."""
        if not self.truth.exists():
            return []
        lines = (json.loads(line) for line in self.truth.read_text().splitlines())
        return [(line["uptime_s"], line["what"]) for line in lines]


@dataclass
class Limit:
    """The largest packet that the broker took for a while."""

    packet_bytes: int
    after: int  # number of records that had arrived before
    until_s: float = float("inf")  # real monotonic second

    def excuses(self, arrival: int, record: Mapping[str, Any], made_s: float) -> bool:
        """Say whether a record may be late for its size; `arrival` is its number in the order of arrival."""
        is_large = _size_bytes(record) + AROUND_BYTES > self.packet_bytes
        return is_large and arrival >= self.after and made_s < self.until_s


def judge(
    lives: Sequence[Life],
    records: Sequence[tuple[Number, str, dict[str, Any]]],
    excused: set[Number],
    limits: Sequence[Limit],
) -> dict[str, Any]:
    """Return the findings; `records` are in the order of arrival, with the kind of message each came in.

    A record in `excused` may be lost: its directory was. One that waited while it was larger than one of the
    broker's `limits` may be late.
    """
    kernels = _kernels(lives)
    first: dict[Number, dict[str, Any]] = {}
    examples: dict[str, list[Any]] = {}

    def bad(what: str, example: Any) -> None:
        examples.setdefault(what, []).append(example)

    newest: dict[tuple[str, int], Number] = {}  # by kind of message and boot
    came: dict[str, set[Number]] = {"history": set(), "state": set()}
    again = late_by_size = 0
    for arrival, (number, kind, record) in enumerate(records):
        is_again = number in first
        if is_again:
            again += 1
            if _core(record) != _core(first[number]):
                bad("ambiguous", (number, _difference(first[number], record)))
        else:
            first[number] = record
        if kind not in came:
            continue
        came[kind].add(number)
        before = newest.setdefault((kind, number[0]), number)
        if number >= before:
            newest[kind, number[0]] = number
        elif kind == "state":
            bad("stale_states", (number, before))
        elif is_again:
            pass  # from a copy that was put back, or after a PUBACK that was lost: it has come before
        elif any(limit.excuses(arrival, record, _made_s(record, kernels)) for limit in limits):
            late_by_size += 1
        else:
            bad("disordered", (number, before))
    made = {number for life in lives for number in life.made()}
    for number in sorted(made - first.keys() - excused):
        bad("lost", number)
    _judge_numbers(lives, first, excused | made, bad)
    unknown = {boot for boot, _ in first} - kernels.keys()
    for number, _, record in records:
        if number[0] in kernels:
            _judge_time(number, record, kernels[number[0]], bad)
    _judge_mains(first, kernels, bad)
    alarms = [r for r in first.values() if r.get("event") == "sensor_failed"]
    _judge_totals(lives, first, bad)
    return {
        "made": len(made | first.keys()),
        "boots": len({boot for boot, _ in first}),
        "in_history": len(came["history"]),
        "sent_again": again,
        "excused": len(excused - first.keys()),
        "late_by_size": late_by_size,
        "boots_of_memory": len(unknown),
        "sensor_failed": len(alarms),
        **{what: len(examples.get(what, ())) for what in BAD},
        "bad": {what: found[:5] for what, found in examples.items()},
        "alarms": [(r["boot"], r["seq"], r["uptime_s"], r["detail"]) for r in alarms[:5]],
    }


def _core(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what never changes of a record."""
    core = {key: value for key, value in record.items() if key not in LATER_KEYS}
    if record.get("event") == "power_cut":
        core["detail"] = {k: v for k, v in record["detail"].items() if k != "off_s"}
    return core


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    keys = one.keys() | other.keys()
    return {k: (one.get(k), other.get(k)) for k in keys if one.get(k) != other.get(k)}


def _judge_numbers(
    lives: Sequence[Life], first: Mapping[Number, Any], known: set[Number], bad: Any
) -> None:
    """Numbers skip none, boots only grow, and none serves two boots."""
    highest: dict[int, int] = {}
    for boot, seq in first:
        highest[boot] = max(highest.get(boot, 0), seq)
    for boot, last in highest.items():
        for seq in range(1, last):
            if (boot, seq) not in first and (boot, seq) not in known:
                bad("skipped", (boot, seq))
    owner: dict[int, str] = {}
    before = 0
    unread = ""  # boot in which a copy was put back that no process has opened
    for number, life in enumerate(lives):
        if life.before == "copy" or unread not in ("", life.kernel.boot_id):
            before = 0  # nothing readable knows of the later boots: the trace is gone, too
        if life.ledger is None or not life.has_opened():
            unread = life.kernel.boot_id if life.before.startswith("copy") else unread
            continue
        unread = ""
        boot = life.ledger["boot"]
        if owner.setdefault(boot, life.kernel.boot_id) != life.kernel.boot_id:
            bad("boots_reused", (boot, number))
        if boot < before:
            bad("boots_fallen", (before, boot, number, life.before))
        before = boot


def _kernels(lives: Iterable[Life]) -> dict[int, list[Life]]:
    """Return the lives of each boot number."""
    found: dict[int, list[Life]] = {}
    by_id: dict[str, list[Life]] = {}
    for life in lives:
        by_id.setdefault(life.kernel.boot_id, []).append(life)
    for lives_of_one in by_id.values():
        for life in lives_of_one:
            if life.ledger is not None and life.ledger["boot_id"] == life.kernel.boot_id:
                found[life.ledger["boot"]] = lives_of_one
    return found


def _size_bytes(record: Mapping[str, Any]) -> int:
    return len(json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode())


def _made_s(record: Mapping[str, Any], kernels: Mapping[int, list[Life]]) -> float:
    """Return the real monotonic second at which a record was made; 0 where its boot is unknown."""
    lives = kernels.get(record["boot"])
    return lives[0].kernel.real_s(record["uptime_s"]) if lives else 0.0


def _judge_time(number: Number, record: Mapping[str, Any], lives: Sequence[Life], bad: Any) -> None:
    """A time is the true one, or what the time service claimed then and what can be, or unknown."""
    if record["ts"] is None:
        return
    at = datetime.fromisoformat(record["ts"])
    off_s = (at - lives[0].kernel.true_at(record["uptime_s"])).total_seconds()
    errors_s = {0.0, *(error_s for life in lives for error_s in life.errors_s)}
    if not EPOCH <= at < END or all(abs(off_s - error_s) > STAMP_S for error_s in errors_s):
        what = (
            number,
            record.get("event", "state"),
            record["ts"],
            record["clock"],
            round(off_s, 1),
        )
        bad("misdated", what)


def _judge_mains(
    first: Mapping[Number, dict[str, Any]], kernels: Mapping[int, list[Life]], bad: Any
) -> None:
    """Each change of mains is dated by when it was; at the start, by when it was first seen."""
    facts: dict[str, list[tuple[float, str]]] = {}
    starts: dict[str, list[tuple[float, float]]] = {}
    for lives in kernels.values():
        boot_id = lives[0].kernel.boot_id
        if boot_id in facts:
            continue
        facts[boot_id], starts[boot_id] = [], []
        for life in lives:
            of_life = life.facts()
            facts[boot_id] += of_life
            if of_life:
                world = of_life[1][0] if len(of_life) > 1 else float("inf")
                starts[boot_id].append((of_life[0][0], world + MAINS_S))
    for number, record in first.items():
        what, at_s = record.get("event"), record["uptime_s"]
        if what not in ("mains_lost", "mains_restored") or number[0] not in kernels:
            continue
        boot_id = kernels[number[0]][0].kernel.boot_id
        ages_s = [at_s - t for t, fact in facts[boot_id] if fact == what]
        is_right = any(-1.0 <= age_s <= MAINS_S for age_s in ages_s)
        if not is_right and not any(a <= at_s <= b for a, b in starts[boot_id]):
            nearest = min(ages_s, key=abs, default=None)
            bad("mains_misdated", (number, what, at_s, nearest and round(nearest, 1)))


def _judge_totals(lives: Sequence[Life], first: Mapping[Number, dict[str, Any]], bad: Any) -> None:
    """Each life goes on from the totals of the one before, and counts whoever passes."""
    states: dict[int, list[tuple[int, float, int, int, str]]] = {}
    for (boot, seq), record in sorted(first.items()):
        if "capacity" in record:
            block = record["capacity"]
            line = (seq, record["uptime_s"], block["entered_total"], block["left_total"])
            states.setdefault(boot, []).append((*line, block["quality"]))
    ends: dict[int, int] = {}  # last seq of each boot so far
    last: tuple[int, int] | None = (0, 0)
    recent: list[float] = []  # ages at its end of the last life's passages
    for number, life in enumerate(lives):
        ledger = life.ledger
        if ledger is None or not life.has_opened():
            if life.before not in ("", "reboot"):  # killed before it opened what was put there
                last = None
            continue
        boot, end = ledger["boot"], ledger["seq"]
        mine = [s for s in states.get(boot, ()) if ends.get(boot, 0) < s[0] <= end]
        ends[boot] = max(end, ends.get(boot, 0))
        expected, occupancy = last, ledger["totals"]["occupancy"]
        last = occupancy["entered_total"], occupancy["left_total"]
        if not mine:
            last = None if life.before not in ("", "reboot") else last
            continue
        passed = sorted(t for t, what in life.facts() if what in ("entered", "left"))
        begun, closed = mine[0], mine[-1]
        at_first, at_last = _counted(passed, begun[1]), _counted(passed, closed[1])
        if expected is not None and life.before != "copy":
            gained = begun[2] + begun[3] - sum(expected)  # below 0: totals that are older
            allowed = sum(age_s <= OLD_S for age_s in recent) if life.before == "damage" else 0
            is_marked = gained >= 0 or all(s[4] in ("starting", "estimated") for s in mine)
            if not -allowed <= gained <= at_first[1] or not is_marked:
                bad("totals_wrong", (number, life.before, expected, begun))
        gained = closed[2] + closed[3] - begun[2] - begun[3]
        least, most = at_last[0] - at_first[1], at_last[1] - at_first[0]
        if last == closed[2:4] and not least <= gained <= most:  # else its last state was excused
            bad("counts_wrong", (number, gained, least, most, begun[:2], closed[:2]))
        recent = [ledger["uptime_s"] - t for t in passed]


def _counted(passed: Sequence[float], at_s: float) -> tuple[int, int]:
    """Return how many of the passages a state of that uptime must and may have counted."""
    return bisect.bisect_right(passed, at_s - COUNT_S), bisect.bisect_right(passed, at_s + EARLY_S)
