"""The agent: readings from the sensors' threads in, records to the store and the link out.

One loop owns the tent. Everything else (sensors, link, control socket) puts its news into the loop's
inbox and waits for nothing.
"""

import contextlib
import fcntl
import logging
import os
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeGuard

from publisher import commands, messages
from publisher.clock import EPOCH, Clock, Now, boot_id
from publisher.commands import Command, Refused
from publisher.config.load import Config
from publisher.control import Control
from publisher.files import make_way
from publisher.link.link import Link
from publisher.link.session import Request
from publisher.link.stamps import Stamps
from publisher.notify import notify
from publisher.rules.happening import Happening
from publisher.rules.tent import Tent
from publisher.status import Reporter, Status, Work
from publisher.store.outbox import MAX_ANSWERS
from publisher.store.rows import ID_LIMIT, Row
from publisher.store.store import Store
from publisher.unit import lamp
from publisher.unit.board import LOOK_S, Board
from publisher.unit.hour import Hour
from publisher.unit.panel import Panel
from sensors import registry
from sensors.hardware import Hardware
from sensors.reading import Quality, Reading, SensorError
from sensors.sensor import Sensor

log = logging.getLogger("tentwatch.agent")

TICK_S = 1.0
#: Snapshots for the sake of a change come at most this often (contract, `state`).
CHANGE_PAUSE_S = 1.0
STORE_RETRY_S = 60.0
WATCHDOG_S = 5.0
#: `about` is sent again for its counts: soon after the start, then so often.
FIRST_ABOUT_S, ABOUT_S = 60.0, 3600.0
#: Commands from the broker that may wait for the loop; more at a time are a flood.
MOST_WAITING = 200
#: Commands that are carried out in COMMAND_SPAN_S at most: each is a write to the card, of which
#: changes may cause one a second as well.
MOST_COMMANDS = 100
COMMAND_SPAN_S = 100.0
#: Refusals are logged at most this often.
REFUSAL_LOG_S = 1.0
#: What the blocks of `power` show of the totals.
KEPT = (
    "hours_today",
    "hours_total",
    "hours_since_service",
    "starts_total",
    "charge_pct",
    "uncertainty_pct",
    "capacity_ah",
    "synchronised",
    "since_full_h",
    "gap",
)
#: What the button asks for.
BUTTON: dict[str, dict[str, Any]] = {
    "pressed": {"command": "report"},
    "held": {"command": "headcount", "people": 0},
}
STOPPING = {"ok": False, "error": "tentwatch is stopping: try again in a minute"}
#: Days of the visitor log in one answer, and bytes of the backlog.
MOST_DAYS, BACKLOG_BYTES = 400, 256 << 10
#: A date as ISO writes it, or how one begins; empty is before all.
_SINCE = re.compile(r"[0-9-]{0,10}", re.ASCII)
STOP_LINK_S = 0.6
STOP_SENSORS_S = 0.2


class StartError(Exception):
    """The agent cannot start; the message says what to do."""


def software() -> str:
    """Return the version of what is installed."""
    try:
        return version("tentwatch")
    except PackageNotFoundError:
        return "0"


class Agent:
    """One tent's unit, from `run` to `stop`."""

    def __init__(
        self,
        config: Config,
        state_dir: Path,
        hardware: Hardware,
        clock: Clock,
        *,
        on_sent: Callable[[str, str], None] | None = None,
    ) -> None:
        """Open the store and set everything up; nothing runs yet.

        `on_sent` hears of each message that the broker has confirmed. Raises StartError where
        another agent uses `state_dir`.
        """
        self._config = config
        self._hardware = hardware
        self._clock = clock
        self._inbox: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._stopping = False
        self._pending: list[Happening] = []
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._commands: deque[float] = deque(maxlen=MOST_COMMANDS)  # when they were carried out
        # Those of the unit itself count apart: whoever stands beside it is not shut out from afar.
        self._unit_commands: deque[float] = deque(maxlen=MOST_COMMANDS)
        self._refused = self._turned_away = self._turned_away_told = 0
        self._refusal_log_s = 0.0
        self._new_answers: list[tuple[str, str]] = []  # they go with the next record
        self._watchdog_s = 0.0
        self._failure_told = False
        self._inbox_most = 0
        self._button_fault = ""
        self._software = software()
        self._board = Board(state_dir, hardware.root)
        self._panel = Panel(
            config.tent, hardware, clock, lambda done: self._inbox.put(("button", done))
        )
        self._state_dir = state_dir
        self._lock = _lock(state_dir)
        now = clock.now()
        store = config.store
        self._store = Store(state_dir, store.max_rows, store.max_mib << 20)
        opened = self._store.open(boot_id(), now)
        self._answers = OrderedDict(self._store.answers())  # by cid
        self._stamps = Stamps(self._store, clock)
        self._log_shown: object = None
        if self._store.earliest is not None:
            clock.trust_from(self._store.earliest)
        clock.hold(self._store.began(self._store.boot))
        now = clock.now()
        boot, days = self._store.boot, self._store.days()
        totals = usable(opened.totals, config, now, boot=boot)
        self.tent = Tent(config, now, totals, boot=boot, log=days)
        self._hour = Hour(now)
        if opened.power_cut is not None:
            self._pending.append(Happening("power_cut", opened.power_cut))
        self._dropped_told = self._store.buffer(now)["dropped"] - opened.lost
        self._fingerprint, self._recorded = self.tent.fingerprint(), self.tent.snapshot()
        self._tick_due_s = self._interval_due_s = self._retry_due_s = now.monotonic_s
        self._change_s = now.monotonic_s - CHANGE_PAUSE_S
        self._look_due_s = now.monotonic_s
        self._about_due_s = now.monotonic_s + FIRST_ABOUT_S

        self._link = Link(
            config.broker,
            config.tent.id,
            messages.about(config, self._software),
            self._store,
            clock,
            on_up=lambda: self._inbox.put(("up", None)),
            on_request=self._receive,
            on_sent=on_sent,
        )
        self._reporter = Reporter(
            config, self._software, self.tent, self._store, self._link, self._board, self._panel
        )
        self._drivers = {
            s.name: registry.build(s.driver, s.config, hardware, clock) for s in config.sensors
        }
        for name, zero_a in self.tent.zeros().items():
            self._set_zero(name, zero_a)
        self._sensors = [
            Sensor(
                s.name,
                self._drivers[s.name],
                clock,
                lambda readings: self._inbox.put(("readings", readings)),
            )
            for s in config.sensors
        ]
        self._control: Control | None = None
        self._listen()
        self._tell_set_aside()

    def _listen(self) -> None:
        try:
            self._control = Control(self._state_dir, self._ask)
        except OSError as error:
            log.error(
                "no control socket in %s (%s): status and headcount will fail",
                self._state_dir,
                error,
            )

    # For other threads

    def stop(self) -> None:
        """Ask `run` to end; may be called from a signal handler."""
        self._inbox.put(("stop", None))

    def _receive(self, request: Request) -> None:
        """Put a command to the loop; what comes while too many wait is dropped unanswered."""
        if self._waiting.acquire(blocking=False):
            self._inbox.put(("request", request))
        else:
            self._turned_away += 1

    def _ask(self, message: Any) -> dict[str, Any]:
        """Put a request of the control socket to the loop and wait for the answer."""
        if self._stopping:
            return dict(STOPPING)
        answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._inbox.put(("ask", (message, answers.put)))
        try:
            return answers.get(timeout=4.0)
        except Empty:
            return {"ok": False, "error": "the agent is busy: try again in a minute"}

    def status(self) -> dict[str, Any]:
        """Return what `tentwatch status` shows."""
        return self._ask({"command": "status"})

    # The loop

    def run(self) -> None:
        """Work until `stop`."""
        self._link.start()
        if self._control is not None:
            self._control.start()
        self._look(self._clock.now())
        self._settle(self.tent.tick(self._clock.now()))
        self._record(self._clock.now())
        notify("READY=1")
        for sensor in self._sensors:
            sensor.start()
        self._panel.start()
        try:
            while not self._stopping:
                self._step()
        finally:
            self._shut_down()

    def _step(self) -> None:
        now_s = self._clock.now_s()
        due_s = min(self._tick_due_s, self._interval_due_s)
        if self._has_changed():
            due_s = min(due_s, self._change_s + CHANGE_PAUSE_S)
        work: deque[tuple[str, Any]] = deque()
        with contextlib.suppress(Empty):
            if due_s > now_s:
                work.append(self._inbox.get(timeout=self._clock.real_s(due_s - now_s)))
            while True:
                work.append(self._inbox.get_nowait())
        self._inbox_most = max(self._inbox_most, len(work))
        now = self._clock.now()
        for what, thing in work:
            self._handle(what, thing, now)
        if now.monotonic_s >= self._tick_due_s:
            self._settle(self.tent.tick(now))
            self._tick_due_s = now.monotonic_s + TICK_S
        self._do_chores(now)
        if now.monotonic_s >= self._interval_due_s:
            self._record(now)
        elif self._has_changed() and now.monotonic_s >= self._change_s + CHANGE_PAUSE_S:
            self._change_s = now.monotonic_s
            self._record(now)

    def _handle(self, what: str, thing: Any, now: Now) -> None:
        if what == "readings":
            readings: Sequence[Reading] = thing
            self._settle(self.tent.apply(readings, now))
            self._tick_due_s = now.monotonic_s + TICK_S  # time has passed for the tent just now
        elif what == "up":
            self._record(now)
        elif what == "request":
            self._waiting.release()
            self._serve(thing, now)
        elif what == "ask":
            message, answer = thing
            answer(self._answer_unit(message, now))
        elif what == "button":
            self._heed(thing, now)
        else:
            self._stopping = True

    def _do_chores(self, now: Now) -> None:
        self._panel.tend(now.monotonic_s)
        if self._hour.is_due(now):
            self._hour.look(self.tent.snapshot(), now)
        if self._store.failure is not None and now.monotonic_s >= self._retry_due_s:
            self._retry_store(now)
        if now.monotonic_s >= self._look_due_s:
            self._look(now)
        if now.monotonic_s >= self._about_due_s:
            self._about_due_s = now.monotonic_s + ABOUT_S
            counts = self._reporter.about(self._inbox_most, now)
            about = messages.about(self._config, self._software, counts)
            self._link.describe(about)
        if now.uptime_s - self._watchdog_s >= WATCHDOG_S and self._link.tend():
            self._watchdog_s = now.uptime_s
            notify("WATCHDOG=1")

    def _look(self, now: Now) -> None:
        """See how the unit's own computer does."""
        self._look_due_s = now.monotonic_s + LOOK_S
        self._board.look(now.monotonic_s)
        self._settle(self.tent.alerts(self._board.alerts, now))
        health, qualities = self._link.health(), self.tent.qualities()
        tried = health.sessions + health.failures > 0
        state = lamp.state_pattern(qualities, connected=health.connected, tried=tried)
        self._panel.tell(state, now.monotonic_s)
        if self._turned_away > self._turned_away_told:
            self._turned_away_told = self._turned_away
            log.warning("%d commands were dropped so far: too many at once", self._turned_away)

    def _settle(self, happened: list[Happening]) -> None:
        self._pending += happened
        for happening in happened:
            detail = ", ".join(f"{key} {value}" for key, value in happening.detail.items())
            log.info("%s%s", happening.event, f": {detail}" if detail else "")

    def _has_changed(self) -> bool:
        return (
            bool(self._pending)
            or self.tent.has_lines()
            or self.tent.fingerprint() != self._fingerprint
        )

    def _record(self, now: Now) -> None:
        """Store what has happened and a snapshot, in one transaction, and offer them to the link."""
        tent, config = self.tent, self._config
        happened, self._pending = self._pending, []
        self._hour.add(happened, now)
        self._fingerprint = tent.fingerprint()
        self._interval_due_s = float(round(now.monotonic_s + config.report.interval_s))
        buffer = self._store.buffer(now)
        self._recorded = tent.snapshot()
        blocks = {**self._recorded, "unit": self._reporter.state(self._inbox.qsize())}

        def records(boot: int, seq: int) -> list[tuple[str, str]]:
            tent_id = config.tent.id
            made = [
                ("event", messages.event(tent_id, boot, seq + i, now, happening))
                for i, happening in enumerate(happened)
            ]
            last = seq + len(made)
            return [*made, ("state", messages.state(config, boot, last, now, blocks, buffer))]

        answers, self._new_answers = self._new_answers, []
        rows: list[Row] = self._store.append(
            records, tent.totals.as_dict(), now, days=tent.take_lines(), answers=answers
        )
        self._link.offer(rows)
        failed = self._store.failure is not None
        if failed and not self._failure_told:
            log.error(
                "the store cannot be used: %s; going on in memory meanwhile", self._store.failure
            )
            self._retry_due_s = now.monotonic_s + STORE_RETRY_S
        self._failure_told = failed
        self._look_after_file()
        self._settle(tent.alerts({"store_failed": failed}, now))
        if buffer["dropped"] > self._dropped_told:
            dropped, self._dropped_told = buffer["dropped"] - self._dropped_told, buffer["dropped"]
            self._settle([Happening("records_dropped", {"records": dropped})])

    def _retry_store(self, now: Now) -> None:
        self._retry_due_s = now.monotonic_s + STORE_RETRY_S
        unread = self._store.retry(now)
        if unread is not None:
            boot = self._store.boot
            saved, counted = (usable(t, self._config, now, boot=boot) or {} for t in unread)
            self._settle(self.tent.add(saved, counted))
        self._look_after_file()
        if self._store.failure is None:
            log.warning("the store can be written again")
            self._record(now)
            self._link.look_again()

    def _tell_set_aside(self) -> list[str | None]:
        files = self._store.set_aside()
        self._settle([Happening("store_quarantined", {"file": file}) for file in files])
        return files

    def _look_after_file(self) -> None:
        """Tell of files that were set aside; where one was gone, so is the socket beside it."""
        if None in self._tell_set_aside():
            if self._control is not None:
                self._control.close()
                self._control = None
            self._listen()
            if self._control is not None:
                self._control.start()

    # Commands

    def _serve(self, request: Request, now: Now) -> None:
        """Answer a command from the broker."""
        seats = self._config.tent.seats
        is_large = len(request.correlation or b"") > commands.MAX_BYTES
        if is_large:
            request = replace(request, correlation=None)
        try:
            command = commands.from_broker(
                request.command,
                request.payload,
                retained=request.retained,
                seats=seats,
                now=now,
                is_large=is_large,
            )
            if command.cid not in self._answers and _is_flooded(self._commands, now):
                raise Refused(command.cid, "too many commands: send it again in two minutes")
        except Refused as refusal:
            self._refuse(request, refusal, now)
            return
        if command.cid not in self._answers:
            self._carry_out(command, now)
        self._link.respond(request, command.cid, self._answers[command.cid])

    def _refuse(self, request: Request, refusal: Refused, now: Now) -> None:
        self._refused += 1
        if now.monotonic_s >= self._refusal_log_s:  # a flood shall not fill the journal
            self._refusal_log_s = now.monotonic_s + REFUSAL_LOG_S
            log.warning("command %r refused: %s", request.command[:40], refusal.error)
        if refusal.cid is None:
            return
        # One that was carried out and comes again, late by now, still gets its answer.
        done = None if request.retained else self._answers.get(refusal.cid)
        answer = done or messages.answer(refusal.cid, refusal.error)
        self._link.respond(request, refusal.cid, answer)

    def _answer_unit(self, message: Any, now: Now) -> dict[str, Any]:
        """Answer a request from the control socket."""
        asked = message.get("command") if isinstance(message, dict) else None
        if asked == "status":
            # No power cut may take back what somebody has seen, nor keep it without its events.
            if self._has_changed():
                self._record(now)
            elif _kept(shown := self.tent.snapshot()) != _kept(self._recorded):
                self._store.append(None, self.tent.totals.as_dict(), now)
                self._recorded = shown  # who asks every second shall not wear the card
            return {**self._describe(now)}
        if asked == "recent":
            return {"ok": True, **self._hour.told(now)}
        if asked == "log":
            return self._tell_log(message.get("since"), now)
        if asked == "backlog":
            return self._tell_backlog(message.get("after"), message.get("until"))
        try:
            command = commands.from_unit(message, seats=self._config.tent.seats)
        except Refused as refusal:
            return {"ok": False, "error": refusal.error}
        if _is_flooded(self._unit_commands, now):
            return {"ok": False, "error": "too many commands: try again in two minutes"}
        result = self._carry_out(command, now)
        return {"ok": "error" not in result, **result}

    def _tell_log(self, since: object, now: Now) -> dict[str, Any]:
        """Return the visitor log from the day `since` on, at most MOST_DAYS of it."""
        if not isinstance(since, str) or not _SINCE.fullmatch(since):
            return {"ok": False, "error": "since must be a date such as 2026-11-22"}
        shown = self.tent.open_lines()
        if self._has_changed():  # as with `status`: what is shown is stored first
            self._record(now)
        elif shown != self._log_shown:
            self._store.append(None, self.tent.totals.as_dict(), now)
        self._log_shown = shown
        days = self._store.days(since)
        today, undated = shown
        return {
            "ok": True,
            "id": self._config.tent.id,
            "name": self._config.tent.name,
            "timezone": self._config.tent.timezone,
            "days": days[:MOST_DAYS],
            "more": len(days) > MOST_DAYS,
            "today": today,
            "undated": undated,
        }

    def _tell_backlog(self, after: object, until: object) -> dict[str, Any]:
        """Return records that wait for the broker, as they would go out now: ids in ]after, until].

        An answer without records is the last one. Without `until` it is the newest one's id.
        """
        last_id = self._store.last_id() if until is None else until
        # What SQLite cannot take would end the loop, or pass for a fault of the store.
        if not _is_id(after) or not _is_id(last_id):
            return {"ok": False, "error": "after and until must be ids of records"}
        rows = self._store.backlog(after, last_id, BACKLOG_BYTES)
        return {
            "ok": True,
            "records": [self._stamps.stamp(row) for row in rows],
            "after": rows[-1].id if rows else after,
            "until": last_id,
        }

    def _carry_out(self, command: Command, now: Now) -> dict[str, Any]:
        """Do what a command asks; return its result, with an `error` where it failed.

        What it changes and what is answered go into one transaction, so that after a power cut a
        repeated command is known to have been carried out, or has not been.
        """
        result = self._do(command, now)
        if command.cid:
            answer = messages.answer(command.cid, **result)
            self._answers[command.cid] = answer
            self._new_answers.append((command.cid, answer))
            if len(self._answers) > MAX_ANSWERS:
                self._answers.popitem(last=False)
        if "error" not in result and command.name != "identify":
            self._record(now)
        return result

    def _do(self, command: Command, now: Now) -> dict[str, Any]:
        try:
            if command.name == "headcount":
                assert isinstance(command.argument, int)
                self._settle(self.tent.headcount(command.argument, now))
                return {"people": self.tent.totals.occupancy.people}
            if command.name == "serviced":
                self._settle(self.tent.serviced(now))
                hours = self.tent.snapshot()["power"]["generator"]["hours_total"]
                return {"hours_total": hours}
            if command.name == "zero":
                name = str(command.argument)
                zero_a = self.tent.zero(name)
                self._set_zero(name, zero_a)
                return {"sensor": name, "zero_a": zero_a}
        except ValueError as error:
            return {"error": str(error)}
        if command.name == "identify":
            assert isinstance(command.argument, int)
            return self._identify(command.argument, now)
        return {}  # report: the record is all

    def _set_zero(self, name: str, zero_a: float) -> None:
        driver: Any = self._drivers[name]  # one that has a zero: the tent has looked
        driver.set_zero(zero_a)

    def _identify(self, seconds: int, now: Now) -> dict[str, Any]:
        try:
            self._panel.identify(seconds, now.monotonic_s)
        except (SensorError, ValueError) as error:
            return {"error": str(error)}
        return {"seconds": seconds}

    def _heed(self, done: Sequence[Reading], now: Now) -> None:
        """Do what the button was pressed or held for; as a command on the unit, with its rules."""
        for what in done:
            if what.quality is Quality.FAULT and str(what.trouble) != self._button_fault:
                self._button_fault = str(what.trouble)  # it is tried again for ever, and told once
                log.warning("the button: %s", what.trouble)
            if what.quantity not in BUTTON:
                continue
            answer = self._answer_unit(BUTTON[what.quantity], now)
            log.info("the button was %s: %s", what.quantity, answer.get("error", "done"))
            if answer["ok"] and what.quantity == "held":
                self._panel.note(now.monotonic_s)

    def _describe(self, now: Now) -> Status:
        return self._reporter.status(
            Work(
                inbox=self._inbox.qsize(),
                inbox_most=self._inbox_most,
                refused=self._refused,
                dropped=self._turned_away + self._link.unanswered(),
            ),
            now,
        )

    def _shut_down(self) -> None:
        notify("STOPPING=1")
        self._panel.stop()
        for sensor in self._sensors:
            sensor.stop()
        limit_s = time.monotonic() + STOP_SENSORS_S
        for sensor in self._sensors:
            sensor.join(max(0.0, limit_s - time.monotonic()))
        now = self._clock.now()
        with contextlib.suppress(Empty):  # people who passed in the last moment count as well
            while True:
                what, thing = self._inbox.get_nowait()
                if what == "readings":
                    self._settle(self.tent.apply(thing, now))
                elif what == "ask":
                    thing[1](dict(STOPPING))
        if self._store.failure is not None:  # what is in memory only would be lost
            self._retry_store(now)
        if self._has_changed() or self._new_answers:
            self._record(now)
        self._link.stop(STOP_LINK_S)
        self._store.close(self._clock.now(), self.tent.totals.as_dict())
        if self._control is not None:
            self._control.close()
        self._panel.close()
        if self._lock is not None:
            os.close(self._lock)


def _kept(blocks: dict[str, Any]) -> list[Any]:
    """Return what of a snapshot comes from the totals, and must survive a power cut once shown."""
    power = blocks["power"]
    parts = [power[name] for name in ("mains", "generator", "battery") if name in power]
    return [blocks.get("capacity"), power["since"], *(p.get(key) for p in parts for key in KEPT)]


def _is_id(value: object) -> TypeGuard[int]:
    return type(value) is int and -1 <= value < ID_LIMIT


def _is_flooded(times: deque[float], now: Now) -> bool:
    """Say whether too many commands were carried out of late; if not, this one counts."""
    if len(times) == MOST_COMMANDS and now.monotonic_s - times[0] < COMMAND_SPAN_S:
        return True
    times.append(now.monotonic_s)
    return False


def usable(
    saved: dict[str, Any] | None, config: Config, now: Now, *, boot: int
) -> dict[str, Any] | None:
    """Return saved totals without what a tent cannot go on from; each such value is logged.

    Whatever cannot be is left out where it is read. This is for what nobody has foreseen: a tent
    tries the totals, now and with a clock that is set, and one that fails would fail at each start.
    """
    if saved is None or _fault(saved, config, now, boot) is None:
        return saved
    found: dict[str, Any] = {}
    for key, value in saved.items():
        fault = _fault(found | {key: value}, config, now, boot)
        if fault is None:
            found[key] = value
        else:
            log.error("the totals' %.40a cannot be used (%a): left out", key, fault)
    return found


def _fault(saved: Mapping[str, Any], config: Config, now: Now, boot: int) -> Exception | None:
    """Return what goes wrong with a tent that begins with these totals."""
    try:
        tent = Tent(config, now, dict(saved), boot=boot)
        tent.tick(now)
        tent.tick(replace(now, wall=now.wall or EPOCH, synced=True))
        tent.zeros(), tent.snapshot(), tent.totals.as_dict()
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        return error
    return None


def _lock(state_dir: Path) -> int | None:
    """Keep other agents out of `state_dir`; None where it cannot hold a lock file.

    Raises StartError where another agent is there.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        make_way(state_dir / "lock")
        lock = os.open(state_dir / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    except OSError as error:
        log.error("no lock in %s (%s): nothing keeps a second tentwatch out", state_dir, error)
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StartError(
            f"another tentwatch already uses {state_dir}: stop it first, or choose another "
            f"--state-dir"
        ) from None
    return lock
