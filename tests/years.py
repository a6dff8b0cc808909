"""A year of boots without a clock chip: the unit's clock, tent, store and stamps in a simulated world.

    python -m tests.years [--seeds N] [--first N] [--days N]

prints one JSON object a year and exits with 1 if a promise is broken. Only time and the kernel's clock
status are simulated; the rest is the unit's own code, connected as in the agent.
"""

import argparse
import bisect
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import date as calendar
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from publisher import messages
from publisher.clock import EPOCH, Clock, Now
from publisher.config.load import Config, parse
from publisher.link.stamps import Stamps
from publisher.rules.day import SECONDS, Day, bounds, day_at, from_line
from publisher.rules.happening import Happening
from publisher.rules.tent import Tent
from publisher.store.rows import Row
from publisher.store.store import Store
from sensors.reading import Quality, Reading, Value
from tests import contract
from tests.test_publisher_store import connection

START = datetime(2026, 1, 7, 9, 30, tzinfo=UTC)
#: Zones with summer time of an hour and of half an hour, at midnight and at night, and with changing rules.
ZONES = (
    "Europe/Kyiv", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Beirut", "America/Havana",
    "Africa/Cairo",
)  # fmt: skip
#: Longest time between two steps of the unit, and the age from which a contact's reading is stale.
STEP_S, STALE_S = 1800.0, 3600.0
#: Largest error of a synchronised clock in this world, and of a stamp (and a date) in consequence.
OFF_S, STAMP_S = 0.3, 1.0

CONFIG = """
[tent]
id = "t"
seats = 60
timezone = "{zone}"
[broker]
host = "b"
[report]
stale_after_s = 3600
[door]
auto_zero_at = "23:30"
[sensors.mains]
driver = "contact"
gpio = 17
[sensors.door]
driver = "beams"
outer_gpio = 5
inner_gpio = 6
"""


@dataclass(frozen=True)
class Boot:
    """One boot: its time in true seconds since START, the error of its clock, and when the clock is set."""

    at_s: float
    until_s: float
    guess_s: float  # the kernel's time at uptime 0, minus the true time
    right_s: float  # uptime from which its time is right
    synced_s: float  # uptime from which it says so
    unsynced_s: float  # uptime from which it no longer says so, with a time that somebody has set
    off_s: float  # error of a synchronised time
    lie_s: float  # error until `lie_until_s`, because its time service is wrong
    lie_until_s: float
    linked: bool  # whether records can be sent
    restart_s: float  # uptime at which the agent alone is restarted
    clean: bool  # shut down, no power cut


class WorldClock(Clock):
    """The real clock on a simulated kernel."""

    def __init__(self, world: "World", boot: Boot) -> None:
        super().__init__()
        self._world = world
        self._boot = boot

    def _read(self) -> Now:
        boot, at_s = self._boot, self._world.now_s
        uptime_s = at_s - boot.at_s
        synced = boot.synced_s <= uptime_s < boot.unsynced_s
        error_s = boot.off_s
        if uptime_s < boot.right_s:
            error_s = boot.guess_s
        elif uptime_s >= boot.unsynced_s:
            error_s = 40_000.0
        elif uptime_s < boot.lie_until_s:
            error_s = boot.lie_s
        wall = START + timedelta(seconds=at_s + error_s)
        return Now(uptime_s + 3.0, uptime_s, wall, synced)


@dataclass
class World:
    """What truly happens."""

    chance: random.Random
    days: int
    lies: bool
    now_s: float = 0.0

    def boots(self) -> Iterator[Boot]:
        chance, at_s = self.chance, 0.0
        while at_s < self.days * 86_400:
            on_s = chance.choice((120.0, 3600.0, 18_000.0, 30_000.0, 90_000.0)) * chance.uniform(
                0.3, 1.5
            )
            off_s = chance.choice((20.0, 1800.0, 7200.0, 7200.0, 30_000.0)) * chance.uniform(
                0.3, 1.5
            )
            if chance.random() < 0.02:
                off_s += chance.uniform(1, 6) * 86_400
            if chance.random() < 0.02:
                on_s += chance.uniform(1, 5) * 86_400
            never = float("inf")
            synced_s = chance.choice((8.0, 8.0, 40.0, 40.0, 40.0, 900.0, 9000.0, 50_000.0, never))
            synced_s *= chance.uniform(0.5, 2.0)
            if synced_s > on_s:
                synced_s = never
            right_s = synced_s * chance.choice((1.0, 1.0, 0.4)) if synced_s < never else never
            lie_s, lie_until_s = 0.0, 0.0
            if self.lies and chance.random() < 0.05:
                lie_s = chance.choice((-1, 1)) * chance.choice((3600.0, 86_400.0, 30 * 86_400.0))
                lie_until_s = synced_s + chance.choice((600.0, 20_000.0, never))
            yield Boot(
                at_s=at_s,
                until_s=at_s + on_s,
                guess_s=chance.choice(
                    (-at_s - 5e7, -off_s - chance.uniform(0, 3600), -off_s, 0.0, 3e7, 2000.0, 4e5)
                ),
                right_s=right_s,
                synced_s=synced_s,
                unsynced_s=synced_s
                + (never if chance.random() < 0.8 else chance.uniform(0, 30_000)),
                off_s=chance.uniform(-OFF_S, OFF_S),
                lie_s=lie_s,
                lie_until_s=lie_until_s,
                linked=chance.random() < 0.7,
                restart_s=chance.uniform(0, on_s) if chance.random() < 0.1 else never,
                clean=chance.random() < 0.3,
            )
            at_s += on_s + off_s

    def moments(self, boot: Boot, zone: ZoneInfo) -> list[tuple[float, str]]:
        """Return the happenings of a boot in order: (true second, what)."""
        chance, found = self.chance, []
        at_s = boot.at_s + 2.0
        while at_s < boot.until_s:
            found.append((at_s, "look"))
            at_s += STEP_S
        length_s = boot.until_s - boot.at_s
        for _ in range(int(length_s / 5000 * chance.uniform(0, 2) + chance.random())):
            found.append((chance.uniform(boot.at_s + 2.0, boot.until_s), "door"))
        for _ in range(int(length_s / 20_000 * chance.uniform(0, 2) + chance.random())):
            found.append((chance.uniform(boot.at_s + 2.0, boot.until_s), "mains"))
        at = START + timedelta(seconds=boot.at_s)
        while (at := day_at(at, zone).ends) < START + timedelta(seconds=boot.until_s):
            midnight_s = (at - START).total_seconds()
            found += [(midnight_s - STAMP_S, "look"), (midnight_s + STAMP_S, "look")]
        for uptime_s in (boot.synced_s, boot.restart_s):
            if uptime_s + boot.at_s < boot.until_s:
                found.append(
                    (boot.at_s + uptime_s, "restart" if uptime_s == boot.restart_s else "look")
                )
        return sorted(found)


@dataclass
class Truth:
    """The visitor log by a clock that is always right."""

    zone: ZoneInfo
    people: dict[str, list[int]] = field(default_factory=dict)  # entered, left by date
    mains_s: dict[str, float] = field(default_factory=dict)
    passages: list[tuple[float, int, int]] = field(default_factory=list)
    records: dict[tuple[int, int], float] = field(default_factory=dict)  # when each was made
    #: Periods (from, to) in true seconds without a certain time of day.
    unknown: list[tuple[float, float]] = field(default_factory=list)

    def date(self, at_s: float) -> str:
        return day_at(START + timedelta(seconds=at_s), self.zone).date

    def passed(self, at_s: float, entered: int, left: int) -> None:
        day = self.people.setdefault(self.date(at_s), [0, 0])
        day[0] += entered
        day[1] += left
        self.passages.append((at_s, entered, left))

    def had_mains(self, from_s: float, until_s: float) -> None:
        while from_s < until_s:
            today = day_at(START + timedelta(seconds=from_s), self.zone)
            end_s = min(until_s, (today.ends - START).total_seconds())
            self.mains_s[today.date] = self.mains_s.get(today.date, 0.0) + end_s - from_s
            from_s = end_s


class Year:
    """A unit's year."""

    def __init__(self, seed: int, directory: Path, *, days: int = 365, lies: bool = False) -> None:
        self.chance = random.Random(seed)
        self.lies = lies
        zone = ZONES[seed % len(ZONES)]
        self.config: Config = parse(CONFIG.format(zone=zone))
        self.zone = ZoneInfo(zone)
        self.world = World(self.chance, days, lies)
        self.truth = Truth(self.zone)
        self.directory = directory
        self.faults: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.closed: list[dict[str, Any]] = []
        self.figures: Counter[str] = Counter()
        self.mains = True
        self.changed_s: float | None = None  # when the unit first saw mains in its present state
        self.certain_s = 0.0  # the last true time at which the time of day was certain
        self.was_certain = False
        self.timed: set[int] = set()  # boots whose clock was set

    def run(self) -> dict[str, Any]:
        """Simulate the year, and return its figures."""
        for number, boot in enumerate(self.world.boots()):
            self.figures["boots"] += 1
            self._live(boot, f"boot-{number}")
        self._live(last_boot(boot.until_s + 5000.0), "last")
        return {
            "zone": self.zone.key,
            **self.figures,
            "faults": self.faults[:20],
        }

    # A boot

    def _live(self, boot: Boot, name: str) -> None:
        self.was_certain = False
        moments = self.world.moments(boot, self.zone)
        self._start(boot, name)
        before_s: float | None = None
        for at_s, what in moments:
            self.world.now_s = at_s
            if what == "restart":
                self._stop(clean=self.chance.random() < 0.5)
                self._start(boot, name)
                before_s = None
            now = self.clock.now()
            if before_s is not None and self.mains:
                self.truth.had_mains(before_s, at_s)
            before_s = at_s
            values: list[tuple[str, str, Value]] = []
            if what == "mains" or self.changed_s is None:
                self.mains = not self.mains
                self.changed_s = at_s
            elif what == "door":
                entered, left = self.chance.choice(((1, 0), (0, 1), (2, 0), (1, 3)))
                self.truth.passed(at_s, entered, left)
                values += [("door", "entered", entered), ("door", "left", left)]
            values += [("mains", "present", self.mains), ("door", "obstructed", False)]
            self._step(now, [Reading(s, q, v, Quality.OK, now.monotonic_s) for s, q, v in values])
            if boot.linked and self.chance.random() < 0.2:
                self._drain(at_most=self.chance.choice((1, 5000, 50_000)))
        if name == "last":
            self._drain(at_most=1 << 30)
            self._judge()
        self._stop(clean=boot.clean)

    def _start(self, boot: Boot, name: str) -> None:
        if boot.at_s > self.world.now_s:
            self.world.now_s = boot.at_s
        self.clock = WorldClock(self.world, boot)
        self.store = Store(self.directory, 1_000_000, 1 << 30)
        opened = self.store.open(name, self.clock.now())
        if self.store.earliest is not None:
            self.clock.trust_from(self.store.earliest)
        self.clock.hold(self.store.began(self.store.boot))
        now = self.clock.now()
        self.tent = Tent(
            self.config, now, opened.totals, boot=self.store.boot, log=self.store.days()
        )
        self.stamps = Stamps(self.store, self.clock)
        self.happened = [Happening("power_cut", opened.power_cut)] if opened.power_cut else []

    def _stop(self, *, clean: bool) -> None:
        if clean:
            self.store.close(self.clock.now(), self.tent.totals.as_dict())
        else:
            # Closing empties SQLite's log; a kill or a power cut leaves it as it is.
            files = {f: f.read_bytes() for f in self.directory.iterdir() if f.is_file()}
            connection(self.store).close()
            for file, content in files.items():
                file.write_bytes(content)

    def _step(self, now: Now, readings: list[Reading]) -> None:
        self.happened += self.tent.apply(readings, now)
        happened, self.happened = self.happened, []
        self.closed += [h.detail for h in happened if h.event == "day_closed"]
        blocks = self.tent.snapshot()
        self._judge_state(blocks, now)

        def records(boot: int, seq: int) -> list[tuple[str, str]]:
            made = [
                ("event", messages.event("t", boot, seq + i, now, happening))
                for i, happening in enumerate(happened)
            ]
            buffer = {"rows": 0, "oldest_s": 0, "dropped": 0}
            state = messages.state(self.config, boot, seq + len(made), now, blocks, buffer)
            made.append(("state", state))
            for i in range(len(made)):
                self.truth.records[boot, seq + i] = self.world.now_s
            return made

        lines = self.tent.take_lines()
        self.store.append(records, self.tent.totals.as_dict(), now, days=lines)
        if now.is_certain:
            self.timed.add(self.store.boot)
            if not self.was_certain:
                self.truth.unknown.append((self.certain_s, self.world.now_s))
            self.certain_s = self.world.now_s
        self.was_certain = now.is_certain

    def _drain(self, at_most: int) -> None:
        rows: list[Row] = self.store.backlog(0, self.store.last_id(), at_most)
        now = self.clock.now()
        for row in rows:
            message = json.loads(self.stamps.stamp(row))
            estimated = message.get("ts_estimated")
            if estimated and row.boot != self.store.boot and now.is_certain and not self.lies:
                at_s = (datetime.fromisoformat(message["ts"]) - START).total_seconds()
                if at_s > self.world.now_s + STAMP_S:
                    self._blame(f"an estimate of an earlier boot is in the future: {message}")
            if row.boot in self.timed and message["clock"] != "synced":
                self._blame(f"its boot knows the time, and the record has none: {message}")
            self.sent.append(message)
        self.store.confirm(row.id for row in rows)

    # The promises

    def _blame(self, fault: str) -> None:
        self.faults.append(fault)

    def _judge_state(self, blocks: dict[str, Any], now: Now) -> None:
        hours = blocks["power"]["mains"]["hours_today"]
        known = [hours, blocks["capacity"]["entered_today"], blocks["capacity"]["left_today"]]
        if any((value is None) == now.is_certain for value in known):
            self._blame(f"today is {known} where its date is certain: {now.is_certain}")
        if hours is not None and now.wall is not None:
            today = day_at(now.wall, self.zone)
            if hours * 3600 > (now.wall - today.begins).total_seconds() + 18:
                self._blame(f"{hours} h of mains by {now.wall} on {today}")

        power = blocks["power"]
        if power["since"] is not None and not self.lies and self.changed_s is not None:
            off_s = (datetime.fromisoformat(power["since"]) - START).total_seconds()
            off_s -= self.changed_s
            if off_s < -STAMP_S or (off_s > STAMP_S and not power.get("since_estimated")):
                self._blame(f"the source is the same since {power}, which is off by {off_s} s")
        self.figures["since_known"] += power["since"] is not None
        self.figures["since_estimated"] += "since_estimated" in power

    def _judge(self) -> None:
        self._judge_records()
        self._judge_days()

    def _judge_records(self) -> None:
        found = {(m["boot"], m["seq"]): m for m in self.sent}
        self.figures["records"] = len(found)
        if found.keys() != self.truth.records.keys():
            self._blame("records were lost, or invented")
        by_boot = sorted(found, key=lambda key: (key[0], found[key]["uptime_s"], key[1]))
        if by_boot != sorted(self.truth.records):
            self._blame("boot and uptime do not order as boot and seq")
        times = [self.truth.records[key] for key in by_boot if key in self.truth.records]
        if times != sorted(times):
            self._blame("boot and uptime do not order as time does")
        for key, message in found.items():
            truth_s = self.truth.records[key]
            at_s, off_s = None, 0.0
            if message["ts"] is not None:
                at_s = (datetime.fromisoformat(message["ts"]) - START).total_seconds()
                off_s = at_s - truth_s
            if message["clock"] == "synced":
                self.figures["stamped"] += 1
                if abs(off_s) > STAMP_S and not self.lies:
                    self._blame(f"a stamp is off by {off_s} s: {message}")
            elif at_s is None:
                self.figures["without_time"] += 1
            else:
                self.figures["estimates"] += 1
                if not message.get("ts_estimated"):
                    self._blame(f"an estimate is not marked: {message}")
                if off_s < 0 and not self.lies:  # never before the last certain time
                    i = bisect.bisect(self.truth.unknown, (truth_s, 0.0)) - 1
                    earliest_s = self.truth.unknown[i][0] if i >= 0 else 0.0
                    earliest_s = earliest_s or (EPOCH - START).total_seconds()
                    if at_s < earliest_s - STAMP_S:
                        self._blame(f"an estimate lies before the last certain time: {message}")
        contract_faults = [
            fault for m in self.chance.sample(self.sent, 200)
            for fault in contract.faults("event" if "event" in m else "state", m)
        ]  # fmt: skip
        self.faults += contract_faults
        for message in self.sent:
            if message.get("event") == "power_cut":
                self._judge_cut(message)

    def _judge_cut(self, message: dict[str, Any]) -> None:
        detail = message["detail"]
        cut_s = max(at_s for (boot, _), at_s in self._by_boot(detail["boot"]))
        if detail["last"] is not None and not self.lies:
            off_s = (datetime.fromisoformat(detail["last"]) - START).total_seconds() - cut_s
            if not -STAMP_S <= off_s <= STEP_S:
                self._blame(f"the last sign of life is off by {off_s} s: {message}")
        if detail["last"] is not None and message["clock"] == "synced" and detail["off_s"] is None:
            self._blame(f"the time without power is not reported: {message}")
        self.figures["cuts"] += 1
        self.figures["cuts_told"] += detail["off_s"] is not None

    def _by_boot(self, boot: int) -> list[tuple[tuple[int, int], float]]:
        if not hasattr(self, "_of_boot"):
            self._of_boot: dict[int, list[tuple[tuple[int, int], float]]] = {}
            for key, at_s in self.truth.records.items():
                self._of_boot.setdefault(key[0], []).append((key, at_s))
        return self._of_boot[boot]

    def _judge_days(self) -> None:
        truth, totals = self.truth, self.tent.totals
        log = {date: json.loads(body) for date, body in self.store.days()}
        told = [line["date"] for line in self.closed if not line["again"]]
        if len(told) != len(set(told)):
            self._blame("a day was closed twice")
        if not self.lies:
            if told != sorted(told) or any(line["again"] for line in self.closed):
                self._blame("days were closed out of order, or again")
            if set(told) != set(log):
                self._blame(f"{set(log) ^ set(told)} were not told of, or not kept")
        days = {date: from_line(line) for date, line in log.items()}
        for date, line in log.items():
            days[date].estimated = line["estimated"]
        if totals.day.date in days and not self.lies:
            self._blame("the open day is in the visitor log")
        days[totals.day.date] = totals.day
        if totals.undated:
            self._blame("something has found no day")
        self.figures["days"] = len(days)
        self.figures["estimated_days"] = sum(day.estimated for day in days.values())
        entered = sum(day.entered for day in days.values())
        left = sum(day.left for day in days.values())
        if (entered, left) != (totals.occupancy.entered_total, totals.occupancy.left_total):
            self._blame(f"the days hold {entered} and {left}")
        if (entered, left) != (
            sum(p[1] for p in truth.passages),
            sum(p[2] for p in truth.passages),
        ):
            self._blame("the totals are not what happened")
        self.figures["passed"] = entered + left
        seconds = sum(day.mains_s for day in days.values())
        if not self.lies and abs(seconds - sum(truth.mains_s.values())) > 18 * len(days):
            self._blame(f"{seconds} s of mains, {sum(truth.mains_s.values())} s in truth")
        for date, day in days.items():
            length_s = bounds(calendar.fromisoformat(date), self.zone).length_s
            if max(getattr(day, name) for name in SECONDS) > length_s + 18:
                self._blame(f"{date} has more hours than a day")
        if self.lies:
            return
        excess = 0
        for date in sorted({*days, *truth.people}):
            line, really = days.get(date, Day()), truth.people.get(date, [0, 0])
            if line.estimated:
                off = line.entered + line.left - sum(really)
                self.figures["worst_day"] = max(self.figures["worst_day"], abs(off))
                self.figures["estimated_days_right"] += [line.entered, line.left] == really
            elif date in days and [line.entered, line.left] != really:
                self._blame(f"{date} has {line}, in truth {really}, and is not marked")
            elif date in days and abs(line.mains_s - truth.mains_s.get(date, 0.0)) > 30:
                self._blame(f"{date} has {line}, in truth {truth.mains_s.get(date)} s of mains")
            # Only passages during unknown time may be on the wrong side of midnight.
            excess += line.entered + line.left - sum(really)
            end_s = (bounds(calendar.fromisoformat(date), self.zone).ends - START).total_seconds()
            room = sum(
                entered + left
                for from_s, to_s in truth.unknown
                if from_s < end_s < to_s
                for at_s, entered, left in truth.passages
                if from_s <= at_s <= to_s
            )
            if abs(excess) > room:
                self._blame(f"by the end of {date} {excess} too many, and {room} were undated")


def last_boot(at_s: float) -> Boot:
    """Return a last boot without faults, in which everything is sent."""
    never = float("inf")
    return Boot(at_s, at_s + 6000.0, 0.0, 5.0, 5.0, never, 0.0, 0.0, 0.0, True, never, True)


def live(seed: int, *, days: int = 365, lies: bool = False) -> dict[str, Any]:
    """Simulate a year on a disk in memory, where there is one; return its figures and faults."""
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="tentwatch-year-", dir=where) as directory:
        began_s = time.monotonic()
        found = Year(seed, Path(directory), days=days, lies=lies).run()
        return {"seed": seed, "lies": lies, "took_s": round(time.monotonic() - began_s, 1), **found}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.years")
    parser.add_argument("--seeds", type=int, default=6, metavar="N", help="years to live through")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="the first year's seed")
    parser.add_argument("--days", type=int, default=365, metavar="N", help="days of a year")
    options = parser.parse_args()
    bad = 0
    for seed in range(options.first, options.first + options.seeds):
        for lies in (False, True):
            found = live(seed, days=options.days, lies=lies)
            print(json.dumps(found), flush=True)  # noqa: T201
            bad += bool(found["faults"])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
