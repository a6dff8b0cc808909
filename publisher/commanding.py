"""Carrying out commands: what each does, and who may give it. `COMMANDS` has them all.

A command's effect and its answer are committed together; the answer is sent afterwards. A command that
is repeated after a power cut is either known or has had no effect.
"""

import json
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, cast

from publisher import commands, messages
from publisher.clock import Now
from publisher.commands import Check, Command, Refused
from publisher.config.load import Config
from publisher.control import (
    BacklogPage,
    HeadcountAnswer,
    IdentifyAnswer,
    LogPage,
    OpenAnswer,
    RefuelledAnswer,
    ResendAnswer,
    ServicedAnswer,
    ZeroAnswer,
    refusal,
)
from publisher.link.link import Link
from publisher.link.requests import Request
from publisher.link.stamps import Stamps
from publisher.recording import Recorder
from publisher.rules.happening import Happening
from publisher.rules.tent import Tent
from publisher.status import Status
from publisher.store.journal import Pair
from publisher.store.outbox import MAX_ANSWERS
from publisher.store.rows import ID_LIMIT
from publisher.store.store import Store
from publisher.unit.hour import Hour, LastHour
from publisher.unit.panel import Panel
from sensors.json_in import parsed
from sensors.reading import Driver, HasZero
from sensors.trouble import Trouble

log = logging.getLogger("tentwatch.agent")

#: At most MAX_COMMANDS are carried out in COMMAND_SPAN_S: each writes to the card, as a change does.
MAX_COMMANDS = 100
COMMAND_SPAN_S = 100.0
#: Least seconds between two logged refusals: a flood must not fill the journal.
REFUSAL_LOG_S = 1.0
#: Most characters of a command's name in its refusal.
LONGEST_NAME = 40
#: Days of the visitor log in one answer, and bytes of the backlog.
LOG_DAYS, BACKLOG_BYTES = 400, 256 << 10

Result = Mapping[str, Any]


class Inside(Protocol):
    """The parts of a unit that a command uses which changes the tent: those of a replayed unit, too."""

    @property
    def tent(self) -> Tent:
        """The tent."""

    def note(self, happened: list[Happening], now: Now) -> None:
        """Record what happened at `now`."""

    def set_zero(self, sensor: str, zero_a: float) -> None:
        """Let a sensor's driver subtract `zero_a` from its readings."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The parts that commands use."""

    config: Config
    tent: Tent
    store: Store
    link: Link
    stamps: Stamps
    panel: Panel
    hour: Hour
    recorder: Recorder
    drivers: Mapping[str, Driver]
    status: Callable[[Now], Status]

    def note(self, happened: list[Happening], now: Now) -> None:
        """Add what happened at `now` to the next record."""
        self.recorder.note(happened, now)

    def set_zero(self, sensor: str, zero_a: float) -> None:
        """Let a sensor's driver subtract `zero_a` from its readings."""
        driver = cast(HasZero, self.drivers[sensor])  # the tent has checked that it has a zero
        driver.set_zero(zero_a)


# What each does. It returns the values of the answer, and raises Trouble where it cannot be done.


def headcount(unit: Inside, told: tuple[int, str], now: Now) -> HeadcountAnswer:
    """Set the number of people inside to a person's count."""
    people, by = told
    unit.note(unit.tent.headcount(people, now, by), now)
    return {"people": unit.tent.totals.occupancy.people}


def set_open(unit: Inside, told: tuple[bool, str], now: Now) -> OpenAnswer:
    """Note whether the tent takes people in."""
    is_open, by = told
    unit.note(unit.tent.set_open(is_open, now, by), now)
    return {"open": is_open}


def report(unit: Unit, _: None, now: Now) -> Result:
    """Do nothing more: a record follows each command that is `recorded`."""
    return {}


def identify(unit: Unit, seconds: int, now: Now) -> IdentifyAnswer:
    """Flash the lamp to identify this unit."""
    unit.panel.identify(seconds, now.monotonic_s)
    return {"seconds": seconds}


def zero(unit: Inside, sensor: str, now: Now) -> ZeroAnswer:
    """Take the present reading of a current sensor as its zero."""
    zero_a = unit.tent.zero(sensor)
    unit.set_zero(sensor, zero_a)
    return {"sensor": sensor, "zero_a": zero_a}


def serviced(unit: Inside, _: None, now: Now) -> ServicedAnswer:
    """Record that the generator has been serviced."""
    unit.note(unit.tent.serviced(now), now)
    return {"hours_total": unit.tent.snapshot()["power"]["generator"]["hours_total"]}


def resend(unit: Unit, which: tuple[tuple[int, int], tuple[int, int]], now: Now) -> ResendAnswer:
    """Send records once more that the broker has, behind everything else."""
    left = unit.link.resending()
    if left:
        raise Trouble(commands.RESENDING, left=left)
    first, last = which
    found = unit.store.search(Pair(*first), Pair(*last))
    unit.link.resend(found.spans, found.count)
    return {
        "sent": found.count,
        "missing": [{"boot": m.boot, "from": m.first, "to": m.until} for m in found.missing],
        "until": found.until._asdict(),
    }


def refuelled(unit: Inside, told: tuple[float | None, bool], now: Now) -> RefuelledAnswer:
    """Note that the generator's tank has been filled, or filled up."""
    litres, full = told
    unit.note(unit.tent.refuelled(litres, now, full=full), now)
    return {"fuel_l": unit.tent.snapshot()["power"]["generator"]["fuel_l"]}


def status(unit: Unit, _: None, now: Now) -> Status:
    """Return the unit's status."""
    unit.recorder.store_shown(now)
    return unit.status(now)


def recent(unit: Unit, _: None, now: Now) -> LastHour:
    """Return the last hour."""
    return unit.hour.report(now)


def visitor_log(unit: Unit, since: str, now: Now) -> LogPage:
    """Return the visitor log from the day `since` on, at most LOG_DAYS of it."""
    lines = unit.tent.open_lines()
    unit.recorder.store_lines(lines, now)
    days = unit.store.days(since)
    today, undated = lines
    tent = unit.config.tent
    return {
        "id": tent.id,
        "name": tent.name,
        "timezone": tent.timezone,
        "days": days[:LOG_DAYS],
        "more": len(days) > LOG_DAYS,
        "today": today,
        "undated": undated,
    }


def backlog(unit: Unit, ids: tuple[int, int | None], now: Now) -> BacklogPage:
    """Return records that wait for the broker, as they would be sent now.

    `ids` are those after which and until which to read; without the second up to the newest record. An answer
    without records is the last one.
    """
    after, until = ids
    last_id = unit.store.last_id() if until is None else until
    # A number that SQLite cannot hold would end the loop, or look like a fault of the store.
    if not all(-1 <= record_id < ID_LIMIT for record_id in (after, last_id)):
        raise Refused(commands.NO_RECORD_IDS)
    rows = unit.store.backlog(after, last_id, BACKLOG_BYTES)
    return {
        "records": [unit.stamps.stamp(row) for row in rows],
        "after": rows[-1].id if rows else after,
        "until": last_id,
    }


class Task(NamedTuple):
    """What a command takes and does.

    A `remote` command may come from the broker and from the control socket. The others only ask, and come
    from the socket alone. A snapshot follows at once after a command that is `recorded`. One that
    `changes_tent` uses what stands in `Inside` only, and can be replayed.
    """

    check: Check
    do: Callable[
        [Any, Any, Now], Result
    ]  # the first is an Inside where it changes the tent, else a Unit
    remote: bool = True
    recorded: bool = True
    changes_tent: bool = False


COMMANDS: dict[str, Task] = {
    "headcount": Task(commands.people, headcount, changes_tent=True),
    "open": Task(commands.opening, set_open, changes_tent=True),
    "report": Task(commands.nothing, report),
    "identify": Task(commands.seconds, identify, recorded=False),
    "zero": Task(commands.sensor, zero, changes_tent=True),
    "serviced": Task(commands.nothing, serviced, changes_tent=True),
    "resend": Task(commands.record_range, resend, recorded=False),
    "refuelled": Task(commands.filling, refuelled, changes_tent=True),
    "status": Task(commands.nothing, status, remote=False, recorded=False),
    "recent": Task(commands.nothing, recent, remote=False, recorded=False),
    "log": Task(commands.since, visitor_log, remote=False, recorded=False),
    "backlog": Task(commands.record_ids, backlog, remote=False, recorded=False),
}
#: The checks of arguments: of the broker's commands, and of all.
REMOTE_CHECKS = {name: task.check for name, task in COMMANDS.items() if task.remote}
CHECKS = {name: task.check for name, task in COMMANDS.items()}


class Commands:
    """Carries commands out, each once, and answers them."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._link = unit.link
        # By cid, the oldest first.
        self._answers = OrderedDict((c, _Answered.restore(t)) for c, t in unit.store.answers())
        self._from_broker = _Pace()
        # Commands on the unit count apart: a flood from the broker must not shut out a person beside it.
        self._from_unit = _Pace()
        self._refusal_log_s = 0.0
        #: Commands from the broker that were refused.
        self.refused = 0

    def serve(self, request: Request, now: Now) -> None:
        """Carry out a command from the broker, if it is valid and new, and answer it."""
        is_large = len(request.correlation or b"") > commands.MAX_BYTES
        if is_large:
            request = replace(request, correlation=None)
        try:
            command = commands.from_broker(
                request.command,
                request.payload,
                REMOTE_CHECKS,
                self._unit.config,
                retained=request.retained,
                now=now,
                is_large=is_large,
            )
            answer = self._earlier_answer(command)
            if answer is None and not self._from_broker.admits(now):
                raise Refused(commands.TOO_MANY, command.cid)
        except Refused as refused:
            self._refuse(request, refused, now)
            return
        self._link.respond(request, command.cid, answer or self._carry_out(command, now))

    def _earlier_answer(self, command: Command) -> str | None:
        """Return the answer to a command that was answered before; None for a new one.

        Raises Refused if another command had its cid.
        """
        before = self._answers.get(command.cid)
        if before is None:
            return None
        if before.asked not in ("", command.asked):
            raise Refused(commands.CID_USED, command.cid)
        return messages.repeated(before.answer)

    def answer(self, message: object, now: Now) -> dict[str, Any]:
        """Carry out a request of the control socket or the button; return the answer."""
        try:
            command = commands.from_unit(message, CHECKS, self._unit.config)
            task = COMMANDS[command.name]
            if task.remote and not self._from_unit.admits(now):
                raise Refused(commands.TOO_MANY)
            result = task.do(self._unit, command.argument, now)
        except Trouble as trouble:
            return refusal(trouble)
        if task.recorded:
            self._record(now)
        return {"ok": True, **result}

    def _carry_out(self, command: Command, now: Now) -> str:
        """Carry out a new command; return its answer, which is stored with its effect."""
        task = COMMANDS[command.name]
        is_done = False
        try:
            result = task.do(self._unit, command.argument, now)
            answer, is_done = messages.answer(command.cid, command.name, **result), True
        except Trouble as trouble:
            answer = messages.refusal(command.cid, command.name, trouble)
        answered = self._answers[command.cid] = _Answered(command.asked, answer)
        self._unit.recorder.note_answer(command.cid, answered.as_text())
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        if is_done and task.recorded:
            self._record(now)
        return answer

    def _record(self, now: Now) -> None:
        """Store a command's effect in both places, because a person relies on it."""
        self._unit.recorder.record(now)
        self._unit.store.back_up()

    def _refuse(self, request: Request, refused: Refused, now: Now) -> None:
        self.refused += 1
        if now.monotonic_s >= self._refusal_log_s:
            self._refusal_log_s = now.monotonic_s + REFUSAL_LOG_S
            log.warning("command %r refused: %s", request.command[:40], refused)
        if refused.cid is None:
            return
        answer = None
        try:  # a command that was carried out and is repeated after it has expired gets its answer
            answer = refused.command and self._earlier_answer(refused.command)
        except Refused as other:
            refused = other
        name = request.command[:LONGEST_NAME]
        answer = answer or messages.refusal(str(refused.cid), name, refused)
        self._link.respond(request, str(refused.cid), answer)


class _Answered(NamedTuple):
    """What a command asked for, and its answer as JSON. What it was is empty in older stores."""

    asked: str
    answer: str

    def as_text(self) -> str:
        """Return both as text for the store."""
        return json.dumps({"asked": self.asked, "answer": self.answer})

    @classmethod
    def restore(cls, text: str) -> "_Answered":
        """Return both from the store's text; that of an older version is the answer alone."""
        saved = parsed(text)
        return cls(saved["asked"], saved["answer"]) if "answer" in saved else cls("", text)


class _Pace:
    """Lets at most MAX_COMMANDS through in COMMAND_SPAN_S."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=MAX_COMMANDS)

    def admits(self, now: Now) -> bool:
        """Say whether one more may come now; if so, it counts."""
        times_s = self._times_s
        if len(times_s) == MAX_COMMANDS and now.monotonic_s - times_s[0] < COMMAND_SPAN_S:
            return False
        times_s.append(now.monotonic_s)
        return True
