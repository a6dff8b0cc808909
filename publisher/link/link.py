"""The link to the broker: one thread that runs sessions; nothing is lost, nothing late is sent as new.

The thread owns the client and the socket. Other threads only put work into its mailbox. It runs one
session (`publisher/link/session.py`) after the other, with growing waits between them.
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
from publisher.link.mailbox import Answer, LookAgain, Mailbox, NewAbout, NewDays, Offered
from publisher.link.requests import Request
from publisher.link.resending import Resending
from publisher.link.session import LinkContext, Session
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

#: Seconds to wait after the first failure; doubles with each further one.
FIRST_WAIT_S = 1.0
#: After a session of at least this many seconds the next wait is short again.
GOOD_SESSION_S = 30.0
#: Seconds to wait after another unit has taken our id: two units must not fight over it at full speed.
TWIN_WAIT_S = 10.0
#: After this many seconds without another unit the wait is short again.
TWIN_MEMORY_S = 100.0
MOST_DOUBLINGS = 16
#: This many short sessions in a row have a common cause, probably another unit with the same id.
SHORT_SESSIONS = 3
#: A thread without a sign of life for this many seconds hangs.
STUCK_S = 120.0
#: Most restarts of the thread within RESTARTS_S; after them the service manager restarts the agent.
MOST_RESTARTS, RESTARTS_S = 3, 600.0


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the link, for people.

    There can be an error while it is connected, if the broker refuses some messages. `trouble` is the
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
    """Publishes rows and answers; calls `on_up` to get a fresh state, and `on_request` with commands."""

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

        `on_sent` is called with each message (topic, payload) that the broker has confirmed.
        """
        self._context = LinkContext(
            broker, tent_id, about, store, clock, on_up, on_request, on_sent
        )
        self._health = Health(self._context.where, False, None, None, 0, 0, 0)
        self._failed_s: float | None = None  # when the last attempt or connection failed
        self._restarts_s: deque[float] = deque(maxlen=MOST_RESTARTS)
        self._stuck: _Thread | None = None
        self._thread = _Thread(self, self._context)

    # For other threads

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, rows: Sequence[Row]) -> None:
        """Send stored rows now if the link is up; otherwise they wait in the store."""
        if self._health.connected:  # otherwise they are part of the next session's backlog
            self._thread.mailbox.post(Offered(tuple(rows)))

    def look_again(self) -> None:
        """Read the store again: it has rows that could not be read before."""
        if self._health.connected:
            self._thread.mailbox.post(LookAgain())

    def respond(self, request: Request, cid: str, answer: str) -> None:
        """Answer a command."""
        if self._health.connected:
            self._thread.mailbox.post(Answer(request, cid, answer))

    def resend(self, spans: Sequence[tuple[int, int]], count: int) -> None:
        """Send `count` stored rows once more, behind the backlog; `spans` are their ids."""
        if count:
            self._context.resending = Resending(spans, count)
            self._thread.mailbox.wake()

    def resending(self) -> int:
        """Return how many of these are left."""
        resending = self._context.resending
        return 0 if resending is None else max(1, resending.left)

    def describe(self, about: str) -> None:
        """Send a new `about` if the link is up, and from now on with every connection."""
        self._context.about = about
        if self._health.connected:
            self._thread.mailbox.post(NewAbout())

    def show_days(self, days: str) -> None:
        """Send new `days` if the link is up; `on_up` asks for them with every connection."""
        if self._health.connected:
            self._thread.mailbox.post(NewDays(days))

    def health(self) -> Health:
        """Return the state of the link."""
        mailbox, failed_s = self._thread.mailbox, self._failed_s
        return replace(
            self._health,
            queued=mailbox.queued,
            in_flight=mailbox.in_flight,
            confirmed=mailbox.confirmed,
            puback_s=None if mailbox.puback_s is None else round(mailbox.puback_s, 4),
            last_error_age_s=None if failed_s is None else round(time.monotonic() - failed_s, 1),
        )

    def unanswered(self) -> int:
        """Return how many commands got no answer because too many answers were waiting."""
        return self._context.unanswered

    def tend(self) -> bool:
        """Restart the thread if it has died or hangs; to be called every few seconds.

        Returns False if that no longer helps and the whole agent should be restarted.
        """
        thread, now_s = self._thread, time.monotonic()
        if not thread.is_alive():
            trouble = LinkTrouble(DIED, reason=thread.fate)
        elif now_s > thread.mailbox.beat_s + STUCK_S:
            trouble = LinkTrouble(STUCK, seconds=round(now_s - thread.mailbox.beat_s))
        else:
            return True
        restarts_s = self._restarts_s
        if len(restarts_s) == MOST_RESTARTS and now_s - restarts_s[0] < RESTARTS_S:
            return False
        if thread.is_alive():
            if self._stuck is not None and self._stuck.is_alive():
                return False  # hung threads must not pile up
            self._stuck = thread
        log.error("%s", trouble)
        restarts_s.append(now_s)
        thread.mailbox.leave()
        self._health = replace(
            self._health,
            connected=False,
            error=str(trouble),
            trouble=trouble.as_dict(),
            restarts=self._health.restarts + 1,
        )
        self._thread = _Thread(self, self._context)
        self._thread.start()
        return True

    def stop(self, timeout_s: float) -> None:
        """Disconnect from the broker and end the thread, within `timeout_s`."""
        self._thread.mailbox.leave()
        self._thread.join(timeout_s)


class Pauses:
    """The waits between sessions: longer after each failure, and random."""

    def __init__(self, longest_s: float, uniform: Callable[[float, float], float]) -> None:
        self._longest_s = longest_s
        self._uniform = uniform
        self._failures = self._twins = 0

    def after(self, lasted_s: float, *, was_up: bool, is_twin: bool) -> float:
        """Return the wait after an attempt; `is_twin`: another unit has taken our id."""
        if was_up and lasted_s > GOOD_SESSION_S:
            self._failures = 0
        if is_twin:
            longest_s = min(self._longest_s, TWIN_WAIT_S * (1 << self._twins))
            wait_s = longest_s * self._uniform(0.5, 1)
            self._twins = min(self._twins + 1, MOST_DOUBLINGS)
        else:
            # Full jitter: a thousand tents that lost the same broker reconnect one by one.
            longest_s = min(self._longest_s, FIRST_WAIT_S * (1 << self._failures))
            wait_s = self._uniform(0, longest_s)
            if lasted_s > TWIN_MEMORY_S:
                self._twins = 0
        self._failures = min(self._failures + 1, MOST_DOUBLINGS)
        return wait_s


class _Thread(threading.Thread):
    """The link's thread: one session after the other, and the waits between them."""

    def __init__(self, link: Link, context: LinkContext) -> None:
        super().__init__(name="link", daemon=True)
        self._link = link
        self._context = context
        self.mailbox = Mailbox()
        self.fate = "without a reason"

    def run(self) -> None:
        try:
            self._live()
        except BaseException as error:  # for the agent, which restarts this thread
            self.fate = f"{type(error).__name__}: {error}"
        finally:
            self.mailbox.close()

    def _live(self) -> None:
        context, mailbox = self._context, self.mailbox
        pauses = Pauses(context.broker.longest_wait_s, random.uniform)
        short = 0
        while not mailbox.stopping.is_set():
            began_s = time.monotonic()
            is_first = self._link.health().sessions == 0
            session = Session(context, mailbox, self._report, first=is_first)
            trouble = self._serve(session)
            if mailbox.stopping.is_set() or trouble is None:
                self._note(None, connected=False)
                continue
            now_s = time.monotonic()
            lasted_s = now_s - began_s
            if session.is_up:
                short = short + 1 if lasted_s < GOOD_SESSION_S else 0
            if isinstance(trouble, Flooded):
                context.flooded(now_s)
            if trouble.kind is LOST and short >= SHORT_SESSIONS:
                where, tent_id = context.where, context.id
                trouble = LinkTrouble(LOST_AGAIN, where=where, times=short, id=tent_id)
            is_twin = isinstance(trouble, TakenOver)
            wait_s = pauses.after(lasted_s, was_up=session.is_up, is_twin=is_twin)
            self._note(trouble, connected=False, has_failed=True)
            log.warning("%s; trying again in %.1f s", trouble, wait_s)
            mailbox.pause(wait_s)

    def _serve(self, session: Session) -> LinkTrouble | None:
        """Run a session to its end; return why it ended, None if that was no failure."""
        try:
            session.run()
        except LinkTrouble as trouble:
            return trouble
        except Exception as error:  # the next session may succeed
            return LinkTrouble(FAILED, reason=f"{type(error).__name__}: {error}")
        finally:
            session.close()
            self.mailbox.queued = self.mailbox.in_flight = 0
        return None

    def _report(self, trouble: LinkTrouble | None) -> None:
        """Note that a session is connected, and which messages the broker refuses."""
        self._note(trouble, connected=True)

    def _note(
        self, trouble: LinkTrouble | None, *, connected: bool, has_failed: bool = False
    ) -> None:
        link = self._link
        if link._thread is not self:  # this thread has been replaced
            return
        old = link._health
        error = None if trouble is None else str(trouble)
        found = None if trouble is None else trouble.as_dict()
        health = replace(
            old,
            connected=connected,
            error=error,
            trouble=found,
            sessions=old.sessions + (connected and not old.connected),
        )
        if has_failed:
            link._failed_s = time.monotonic()
            health = replace(
                health, failures=old.failures + 1, last_error=error, last_trouble=found
            )
        link._health = health
