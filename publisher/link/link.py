"""The link to the broker: one thread, nothing lost and nothing old called new.

The thread owns the client and the socket. Everybody else only puts work on its desk. It has one session
(`publisher/link/session.py`) after the other, with growing waits between them.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from publisher.clock import Clock
from publisher.config.sections import BrokerSettings
from publisher.link.session import SIZE_MEMORY_S, Desk, Line, Request, Session
from publisher.link.troubles import (
    DIED,
    FAILED,
    LOST,
    LOST_AGAIN,
    STUCK,
    Flooded,
    LinkTrouble,
    TakenOver,
)
from publisher.store.rows import Row
from publisher.store.store import Store
from sensors.trouble import TroubleJson

log = logging.getLogger("tentwatch.link")

FIRST_WAIT_S = 1.0
#: A session that lasted so long was a good one: the next wait begins small again.
GOOD_SESSION_S = 30.0
#: After another unit has taken our name: twins must not fight at full speed.
TWIN_WAIT_S = 10.0
#: So many short sessions in a row have a reason that not every broker tells.
SHORT_SESSIONS = 3
#: A thread without a sign of life for so long stands still.
STUCK_S = 120.0
#: More restarts within that time are left to the service manager.
MOST_RESTARTS, RESTARTS_S = 3, 600.0


@dataclass(frozen=True, slots=True)
class Health:
    """How the link does, for people.

    There may be an error while it is connected: the broker refuses some messages. `trouble` is the
    error's code with its values, for programs. `restarts` counts how often the link's thread was started
    again. `last_error` is why the last attempt or connection failed, and stays when the next one is good.
    """

    broker: str
    connected: bool
    error: str | None
    trouble: TroubleJson | None
    sessions: int
    failures: int
    restarts: int
    queued: int = 0
    in_flight: int = 0
    confirmed: int = 0
    puback_s: float | None = None
    last_error: str | None = None
    last_trouble: TroubleJson | None = None
    last_error_age_s: float | None = None


class Link:
    """Publishes rows and answers; tells `on_up` when a fresh state is wanted, `on_request` of commands."""

    def __init__(
        self,
        broker: BrokerSettings,
        tent_id: str,
        about: str,
        store: Store,
        clock: Clock,
        *,
        on_up: Callable[[], None],
        on_request: Callable[[Request], None],
        on_sent: Callable[[str, str], None] | None = None,
    ) -> None:
        """The callbacks run in the link's thread and must return at once.

        `on_sent` hears of each message (topic, payload) that the broker has confirmed.
        """
        self._line = Line(broker, tent_id, about, store, clock, on_up, on_request, on_sent)
        self._health = Health(self._line.where, False, None, None, 0, 0, 0)
        self._failed_s: float | None = None  # when the last attempt or connection did
        self._restarts_s: deque[float] = deque(maxlen=MOST_RESTARTS)
        self._stuck: _Thread | None = None
        self._thread = _Thread(self, self._line)

    # For other threads

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, rows: Sequence[Row]) -> None:
        """Send stored rows now if the link is up; otherwise they wait in the store."""
        if self._health.connected:  # else they are older than the next birth: its backlog
            self._thread.desk.post("rows", tuple(rows))

    def look_again(self) -> None:
        """Send rows of the store that were out of reach before."""
        if self._health.connected:
            self._thread.desk.post("again", None)

    def respond(self, request: Request, cid: str, answer: str) -> None:
        """Answer a command."""
        if self._health.connected:
            self._thread.desk.post("answer", (request, cid, answer))

    def describe(self, about: str) -> None:
        """Send a new `about` if the link is up, and from now on with every connection."""
        self._line.about = about
        if self._health.connected:
            self._thread.desk.post("about", None)

    def health(self) -> Health:
        """Return how the link does."""
        desk, failed_s = self._thread.desk, self._failed_s
        queued, in_flight = desk.queues
        return replace(
            self._health,
            queued=queued,
            in_flight=in_flight,
            confirmed=desk.confirmed,
            puback_s=None if desk.puback_s is None else round(desk.puback_s, 4),
            last_error_age_s=None if failed_s is None else round(time.monotonic() - failed_s, 1),
        )

    def unanswered(self) -> int:
        """Return how many commands got no answer since too many answers waited already."""
        return self._line.unanswered

    def tend(self) -> bool:
        """Begin the thread anew where it has died or stands still; to be called every few seconds.

        Returns False where that cannot help any more, and the whole agent should be restarted.
        """
        thread, now_s = self._thread, time.monotonic()
        if not thread.is_alive():
            trouble = LinkTrouble(DIED, reason=thread.fate)
        elif now_s > thread.desk.beat_s + STUCK_S:
            trouble = LinkTrouble(STUCK, seconds=round(now_s - thread.desk.beat_s))
        else:
            return True
        restarts_s = self._restarts_s
        if len(restarts_s) == MOST_RESTARTS and now_s - restarts_s[0] < RESTARTS_S:
            return False
        if thread.is_alive():
            if self._stuck is not None and self._stuck.is_alive():
                return False  # threads that stand still must not pile up
            self._stuck = thread
        log.error("%s", trouble)
        restarts_s.append(now_s)
        thread.desk.leave()
        self._health = replace(
            self._health,
            connected=False,
            error=str(trouble),
            trouble=trouble.as_dict(),
            restarts=self._health.restarts + 1,
        )
        self._thread = _Thread(self, self._line)
        self._thread.start()
        return True

    def stop(self, timeout_s: float) -> None:
        """Say goodbye to the broker and end the thread, within `timeout_s`."""
        self._thread.desk.leave()
        self._thread.join(timeout_s)


class _Thread(threading.Thread):
    """The link's thread: one session after the other, and the waits between them."""

    def __init__(self, link: Link, line: Line) -> None:
        super().__init__(name="link", daemon=True)
        self._link = link
        self._line = line
        self.desk = Desk()
        self.fate = "without a reason"

    def run(self) -> None:
        try:
            self._live()
        except BaseException as error:  # the agent looks after us: it is to know why
            self.fate = f"{type(error).__name__}: {error}"
        finally:
            self.desk.close()

    def _live(self) -> None:
        line, desk = self._line, self.desk
        attempt = twins = short = 0
        while not desk.stopping.is_set():
            began_s = time.monotonic()
            session = Session(line, desk, self._note, first=self._link.health().sessions == 0)
            trouble: LinkTrouble | None = None
            try:
                session.run()
            except LinkTrouble as end:
                trouble = end
                if isinstance(end, Flooded):  # it may be retained, and would come again at once
                    line.deaf_until_s = time.monotonic() + SIZE_MEMORY_S
            except Exception as fault:
                trouble = LinkTrouble(FAILED, reason=f"{type(fault).__name__}: {fault}")
            finally:
                session.close()
                desk.queues = 0, 0
            if desk.stopping.is_set():
                self._note(connected=False, trouble=None)
                return
            is_twin = isinstance(trouble, TakenOver)
            lasted_s = time.monotonic() - began_s
            if session.is_up:
                short = short + 1 if lasted_s < GOOD_SESSION_S else 0
                if short >= SHORT_SESSIONS and trouble is not None and trouble.kind is LOST:
                    trouble = LinkTrouble(LOST_AGAIN, where=line.where, times=short, id=line.id)
            if session.is_up and lasted_s > GOOD_SESSION_S:
                attempt = 0
            longest_s = line.broker.longest_wait_s
            if is_twin:
                wait_s = min(longest_s, TWIN_WAIT_S * 2**twins) * random.uniform(0.5, 1)
                twins = min(twins + 1, 16)
            else:
                # Full jitter: a thousand tents that lost the same broker come back one by one.
                wait_s = random.uniform(0, min(longest_s, FIRST_WAIT_S * 2**attempt))
            if not is_twin and lasted_s > 10 * TWIN_WAIT_S:
                twins = 0
            attempt = min(attempt + 1, 16)
            self._note(connected=False, trouble=trouble, failed=True)
            log.warning("%s; trying again in %.1f s", trouble, wait_s)
            desk.pause(wait_s)

    def _note(
        self, *, connected: bool, trouble: LinkTrouble | None, begun: int = 0, failed: int = 0
    ) -> None:
        old = self._link._health
        error = None if trouble is None else str(trouble)
        values = None if trouble is None else trouble.as_dict()
        if self._link._thread is self:  # and not one that was given up
            if failed:
                self._link._failed_s = time.monotonic()
            self._link._health = replace(
                old,
                connected=connected,
                error=error,
                trouble=values,
                sessions=old.sessions + begun,
                failures=old.failures + failed,
                last_error=error if failed else old.last_error,
                last_trouble=values if failed else old.last_trouble,
            )
