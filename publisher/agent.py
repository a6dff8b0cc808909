"""The agent: readings from the sensors' threads in, records to the store and the link out.

One loop owns the tent. Sensors, link, control socket and button put their news into the loop's inbox and
wait for nothing. In each turn the loop handles all news, lets time pass, does its chores, and makes a
record if one is due.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from publisher import messages
from publisher.clock import Clock, Now, boot_id
from publisher.commanding import Commands, Unit
from publisher.config.load import Config
from publisher.control import BUSY, STOPPING, Control, refusal
from publisher.in_memory import in_memory
from publisher.inbox import Asked, Connected, Heard, Inbox, News, Pressed, Stop
from publisher.link.link import Link
from publisher.link.requests import Request
from publisher.link.stamps import Stamps
from publisher.notify import notify
from publisher.recording import Recorder, resumed
from publisher.rules.happening import Happening
from publisher.status import CommandsStatus, Reporter, Status, software
from publisher.store.store import Store
from publisher.unit import lamp, state_directory
from publisher.unit.board import LOOK_S, Board
from publisher.unit.hour import Hour
from publisher.unit.panel import Panel
from sensors import registry
from sensors.hardware import Hardware
from sensors.reading import Reading
from sensors.sensor import Sensor
from sensors.trouble import Trouble, TroubleJson

log = logging.getLogger("tentwatch.agent")

TICK_S = 1.0
#: The loop waits this much longer for what is due, so that sensors that read at the same moment wake it:
#: one turn for both.
SLACK_S = 0.005
WATCHDOG_S = 5.0
#: `about` is sent again for its counts: soon after the start, then at this interval.
FIRST_ABOUT_S, ABOUT_S = 60.0, 3600.0
#: Commands from the broker that may wait for the loop; more at a time are a flood.
MAX_WAITING = 200
#: How long a request of the control socket waits for the loop, in real seconds.
ANSWER_S = 4.0
#: The requests that stand for the button.
BUTTON: dict[str, dict[str, Any]] = {
    "pressed": {"command": "report"},
    "held": {"command": "headcount", "people": 0},
}
STOP_LINK_S = 0.6
STOP_SENSORS_S = 0.2


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

        `on_sent` is called with each message that the broker has confirmed. Raises StartError if
        another agent uses `state_dir`.
        """
        self._config = config
        self._state_dir = state_dir
        self._clock = clock
        self._inbox = Inbox(clock.now_s)
        self._stopping = False
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)
        self._dropped = self._dropped_logged = 0  # commands dropped because too many waited
        self._button_fault: TroubleJson | None = None
        self._lock = state_directory.Lock(state_dir)
        self._lock.take()
        self._board = Board(state_dir, hardware.root)
        self._panel = Panel(config.tent, hardware, clock, lambda r: self._inbox.put(Pressed(r)))

        self._store = Store(
            state_dir,
            config.store.max_rows,
            config.store.max_mib << 20,
            in_memory(state_dir),
            keep_s=86_400 * config.store.keep_days,
        )
        opened = self._store.open(boot_id(), clock.now())
        if self._store.earliest is not None:
            clock.trust_from(self._store.earliest)
        clock.hold(self._store.began(self._store.boot))
        now, boot = clock.now(), self._store.boot
        self.tent = resumed(config, now, opened.totals, boot=boot, log=self._store.days())
        self.tent.totals.day.estimated |= opened.is_old
        self._hour = Hour(now)

        self._software = software()
        self._about = partial(
            messages.about, config, self._software, simulated=hardware.is_simulated
        )
        self._link = Link(
            config.broker,
            config.tent.id,
            self._about(),
            self._store,
            clock,
            on_up=lambda: self._inbox.put(Connected()),
            on_request=self._receive,
            on_sent=on_sent,
        )
        self._reporter = Reporter(
            config,
            self._software,
            self._inbox,
            self.tent,
            self._store,
            self._link,
            self._board,
            self._panel,
        )
        self._described = self._unit()
        self._link.describe(self._about(self._reporter.about(now)))
        self._recorder = Recorder(
            config,
            self.tent,
            self._store,
            self._link,
            self._hour,
            self._reporter,
            now,
            on_file_lost=self._listen,
        )
        if opened.power_cut is not None:
            self._recorder.note([Happening("power_cut", opened.power_cut)], now)
        if opened.unread is not None:
            self._recorder.add_unread(opened.unread, now)
        self._recorder.note_losses(self._store.buffer(now)["dropped"] - opened.lost)

        drivers = {
            s.name: registry.build(s.driver, s.config, hardware, clock) for s in config.sensors
        }
        self._sensors = [
            Sensor(name, driver, clock, lambda readings: self._inbox.put(Heard(readings)))
            for name, driver in drivers.items()
        ]
        unit = Unit(
            config,
            self.tent,
            self._store,
            self._link,
            Stamps(self._store, clock),
            self._panel,
            self._hour,
            self._recorder,
            drivers,
            self._status,
        )
        self._commands = Commands(unit)
        for name, zero_a in self.tent.zeros().items():
            unit.set_zero(name, zero_a)
        self._tick_due_s = self._look_due_s = self._reached_s = now.monotonic_s
        self._about_due_s = now.monotonic_s + FIRST_ABOUT_S
        self._watchdog_s = 0.0
        self._control: Control | None = None
        self._is_deaf = False  # in the state directory, and that has been said
        self._listen()
        self._recorder.note_set_aside(now)

    # For other threads

    def stop(self) -> None:
        """Ask `run` to end; may be called from a signal handler."""
        self._inbox.put(Stop())

    def status(self) -> dict[str, Any]:
        """Return what `tentwatch status` shows."""
        return self._ask({"command": "status"})

    def _receive(self, request: Request) -> None:
        """Put a command into the inbox; if too many wait, drop it without an answer."""
        if self._waiting.acquire(blocking=False):
            self._inbox.put(request)
        else:
            self._dropped += 1

    def _ask(self, message: object) -> dict[str, Any]:
        """Put a request of the control socket into the inbox and wait for the answer."""
        if self._stopping:
            return refusal(Trouble(STOPPING))
        answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._inbox.put(Asked(message, answers.put))
        try:
            return answers.get(timeout=ANSWER_S)
        except Empty:
            return refusal(Trouble(BUSY))

    # The loop

    def run(self) -> None:
        """Work until `stop`. Raises StartError if another agent has taken the state directory."""
        self._link.start()
        now = self._clock.now()
        self._look(now)
        self._recorder.note(self.tent.tick(now), now)
        self._recorder.record(now)
        notify("READY=1")
        for sensor in self._sensors:
            sensor.start()
        self._panel.start()
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._shut_down()

    def _turn(self) -> None:
        due_s = min(self._tick_due_s, self._recorder.due_s()) + SLACK_S
        arrived = self._inbox.take(self._clock.real_s(due_s - self._clock.now_s()))
        now = self._clock.now()
        for at_s, news in arrived:
            self._handle(news, self._instant(at_s, now))
        # Only now, after all news, can it be told what was not heard of.
        self._reached_s = now.monotonic_s
        if now.monotonic_s >= self._tick_due_s:
            self._recorder.note(self.tent.tick(now), now)
            self._tick_due_s = now.monotonic_s + TICK_S
        self._do_chores(now)
        self._recorder.record_if_due(now)

    def _instant(self, at_s: float, now: Now) -> Now:
        """Return the instant at which news came in. Time never goes back for the tent."""
        self._reached_s = min(max(at_s, self._reached_s), now.monotonic_s)
        return now.back_to(self._reached_s)

    def _handle(self, news: News, now: Now) -> None:
        """Handle news that came in at `now`."""
        match news:
            case Heard(readings):
                self._recorder.note(self.tent.apply(readings, now), now)
                self._tick_due_s = now.monotonic_s + TICK_S  # the tent has just had a tick
            case Connected():
                self._recorder.record_connected(now)
            case Request():
                self._waiting.release()
                self._commands.serve(news, now)
            case Asked(message, answer):
                answer(self._commands.answer(message, now))
            case Pressed(readings):
                self._press(readings, now)
            case Stop():
                self._stopping = True

    def _press(self, readings: Sequence[Reading], now: Now) -> None:
        """Carry out what the button stands for, by the rules of any command on the unit."""
        for reading in readings:
            trouble = reading.trouble
            if trouble is not None and trouble.as_dict() != self._button_fault:
                self._button_fault = trouble.as_dict()  # retried for ever, logged once
                log.warning("the button: %s", trouble)
            if reading.quantity not in BUTTON:
                continue
            if self._panel.silence(now.monotonic_s):  # in an alarm a hand means the noise
                log.info("the button was %s: the buzzer is silent", reading.quantity)
                continue
            answer = self._commands.answer(BUTTON[reading.quantity], now)
            log.info("the button was %s: %s", reading.quantity, answer.get("error", "done"))
            if answer["ok"] and reading.quantity == "held":
                self._panel.note(now.monotonic_s)

    # Chores

    def _do_chores(self, now: Now) -> None:
        self._panel.follow(self.tent.totals.alerts, now.monotonic_s)
        if self._hour.is_due(now):
            self._hour.look(self.tent.snapshot(), now)
        self._recorder.retry_if_due(now)
        if now.monotonic_s >= self._look_due_s:
            self._hold_state_directory()
            self._look(now)
        unit, is_due = self._unit(), now.monotonic_s >= self._about_due_s
        if is_due:
            self._about_due_s = now.monotonic_s + ABOUT_S
        if is_due or unit != self._described:
            self._described = unit
            counts = self._reporter.about(now)
            self._link.describe(self._about(counts))
        if now.uptime_s - self._watchdog_s >= WATCHDOG_S and self._link.tend():
            self._watchdog_s = now.uptime_s
            notify("WATCHDOG=1")

    def _unit(self) -> tuple[str, str | None, int]:
        """Return what identifies the unit and its boot in `about`."""
        return self._store.serial, self._store.installed, self._store.boot

    def _hold_state_directory(self) -> None:
        """Make lock and socket where there are none: the directory may not have been usable until now.

        Raises StartError if another agent has taken it meanwhile.
        """
        self._lock.take()
        self._listen()

    def _look(self, now: Now) -> None:
        """Look at the unit's own computer, and show the unit's state on the lamp."""
        self._look_due_s = now.monotonic_s + LOOK_S
        self._board.look(now.monotonic_s)
        self._recorder.note(self.tent.notice(self._board.alerts, now), now)
        health = self._link.health()
        tried = health.sessions + health.failures > 0
        state = lamp.state_pattern(self.tent.qualities(), connected=health.connected, tried=tried)
        self._panel.show_state(state, now.monotonic_s)
        if self._dropped > self._dropped_logged:
            self._dropped_logged = self._dropped
            log.warning("%d commands were dropped so far: too many at once", self._dropped)

    def _status(self, now: Now) -> Status:
        dropped = self._dropped + self._link.unanswered()
        return self._reporter.status(
            CommandsStatus(refused=self._commands.refused, dropped=dropped), now
        )

    def _listen(self) -> None:
        """Make the control socket: in the state directory, or in memory until that can hold one."""
        if self._control is not None and self._control.is_in(self._state_dir):
            return
        for place in filter(None, (self._state_dir, in_memory(self._state_dir))):
            if self._control is not None and self._control.is_in(place):
                return
            try:
                control = Control(place, self._ask)
            except OSError as error:
                if not self._is_deaf:
                    log.error("no control socket in %s: %s", place, error)
            else:
                self._close_control()
                self._control, self._is_deaf = control, place != self._state_dir
                control.start()
                return
        self._close_control()
        self._is_deaf = True

    def _close_control(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    def _shut_down(self) -> None:
        notify("STOPPING=1")
        self._panel.stop()
        for sensor in self._sensors:
            sensor.stop()
        limit_s = time.monotonic() + STOP_SENSORS_S
        for sensor in self._sensors:
            sensor.join(max(0.0, limit_s - time.monotonic()))
        now = self._clock.now()
        for at_s, news in self._inbox.take():
            match news:
                case Heard(readings):  # people who passed at the last moment count as well
                    at = self._instant(at_s, now)
                    self._recorder.note(self.tent.apply(readings, at), at)
                case Asked(_, answer):
                    answer(refusal(Trouble(STOPPING)))
        self._recorder.record_rest(now)
        self._link.stop(STOP_LINK_S)
        self._store.close(self._clock.now(), self.tent.totals.as_dict())
        self._close_control()
        self._panel.close()
        self._lock.release()
