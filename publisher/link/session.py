"""One connection to the broker, from the login to its end.

`link` and `about` are sent first, then the newest state, then the backlog as `history`, oldest first; new
records are sent live beside it. A row is confirmed to the store only on PUBACK. Behind the backlog comes what
a receiver has asked for once more.
"""

import logging
import math
import random
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from publisher import messages
from publisher.clock import Clock
from publisher.config.sections import BrokerSettings
from publisher.link import refusals
from publisher.link.backlog import AROUND_RECORDS, Backlog
from publisher.link.client import AROUND_PAYLOAD, Arrived, Client, Welcome
from publisher.link.credentials import check_files
from publisher.link.dial import CONNECT_LIMIT_S, Dial
from publisher.link.in_flight import InFlight, Sent
from publisher.link.mailbox import Answer, LookAgain, Mailbox, NewAbout, NewDays, Offered
from publisher.link.refusals import Reason
from publisher.link.requests import MOST_COMMANDS, Allowance, Request, answer_topic
from publisher.link.resending import Resending
from publisher.link.sizes import NO_LIMIT, Sizes
from publisher.link.stamps import Stamps
from publisher.link.trial import explained
from publisher.link.troubles import (
    DEAF,
    NO_LOGIN,
    NO_PUBACK,
    NOT_MQTT,
    TOO_LARGE,
    Ended,
    LinkTrouble,
)
from publisher.messages import Topics
from publisher.store.rows import Row
from publisher.store.store import Store
from sensors.trouble import marked

log = logging.getLogger("tentwatch.link")

#: Messages that may wait for their PUBACK. More is slower (measured), and would lose more at a cut.
WINDOW = 10
#: A message without PUBACK for this long means that the link is dead, whatever TCP says.
PUBACK_LIMIT_S = 20.0
#: Live rows that may queue behind a slow link before they become backlog.
MOST_LIVE = 50
#: The broker forgets a state that is this old: a tent that is gone.
STATE_EXPIRY_S = 7 * 86_400
#: The first wait after the broker has refused a record; it doubles with each refusal.
REFUSED_WAIT_S = 2.0
MOST_DOUBLINGS = 15
#: Seconds without commands after the broker has delivered too large ones; it delivers a retained one at each
#: subscription.
DEAF_S = 3600.0
#: Seconds that a stop waits for the last PUBACKs.
GOODBYE_S = 0.5
#: Longest wait in seconds; the broker may set a keepalive of up to 18 hours.
LONGEST_WAIT_S = 15.0


class LinkContext:
    """Shared by all sessions of one link: its settings, and what sessions have learned."""

    def __init__(
        self,
        broker: BrokerSettings,
        tent_id: str,
        about: str,
        store: Store,
        clock: Clock,
        on_up: Callable[[], None],
        on_request: Callable[[Request], None],
        on_sent: Callable[[str, str], None] | None,
    ) -> None:
        self.broker = broker
        self.where = f"{broker.host}:{broker.port}"
        self.id = tent_id
        self.topics = Topics(broker.prefix, tent_id)
        self.commands = self.topics.of("cmd/+")
        self.about = about
        self.store = store
        self.clock = clock
        self.stamps = Stamps(store, clock)
        self.on_up = on_up
        self.on_request = on_request
        self.on_sent = on_sent
        self.dial = Dial(broker, clock)
        self.sizes = Sizes()
        self.deaf_until_s = 0.0  # until then the unit does not subscribe to commands
        self._flooded_s = -math.inf  # when a command was too large
        self.resending: Resending | None = None  # records that a receiver has asked for
        self.unanswered = 0  # commands without an answer: too many answers were waiting

    def flooded(self, now_s: float) -> None:
        """Note a session that a too large command has ended; the second one in a row may be retained."""
        if now_s < self._flooded_s + 2 * DEAF_S:
            self.deaf_until_s = now_s + DEAF_S
        self._flooded_s = now_s


class Session:
    """One connection, from TCP to its end; used by the link's thread only."""

    def __init__(
        self,
        context: LinkContext,
        mailbox: Mailbox,
        report: Callable[[LinkTrouble | None], None],
        *,
        first: bool,
    ) -> None:
        """`report` is called when the broker has accepted the login, and with its later refusals.

        The `first` session of an agent publishes at once, later ones after a random delay.
        """
        self._context = context
        self._mailbox = mailbox
        self._report = report
        self._first = first
        self._client: Client | None = None
        self._conn = 0
        self._serial = ""
        self._ended: Ended | None = None
        self.is_up = False  # the broker has accepted the login
        self._announce_s: float | None = None  # when to publish `link` and `about`
        self._subscribe_s: float | None = None  # when to subscribe to commands
        self._retry_s: float | None = None  # when to send again what was too large for the broker
        self._is_announced = False  # `link` and `about` are sent
        self._state_sent = False  # the newest state is sent, so the backlog may follow
        self._days: str | None = None  # to be sent after the newest state
        self._live: deque[Row] = deque()
        self._answers: deque[_WaitingAnswer] = deque()
        self._in_flight = InFlight()
        self._acks: list[tuple[int, Reason | None]] = []
        bytes_per_s = 1024 * context.broker.history_kib_per_s
        self._backlog = Backlog(bytes_per_s, random.uniform)
        self._window = WINDOW
        self._largest = NO_LIMIT  # largest payload in bytes that the broker accepts
        self._refusals: dict[str, int] = {}  # in a row, by topic
        self._complaints: dict[str, LinkTrouble] = {}  # refusals that are reported
        self._warned: set[str] = set()
        self._allowance = Allowance(time.monotonic())

    def run(self) -> None:
        """Connect and serve until asked to stop, or until the store knows another serial.

        Raises LinkTrouble, and InterruptedError.
        """
        context, mailbox = self._context, self._mailbox
        check_files(context.broker)
        self._conn = context.store.next_conn(context.clock.now())
        serial = self._serial = context.store.serial
        will = messages.link(False, context.store.boot, self._conn, None, serial=serial)
        client = self._client = Client(context.broker, context.id, will, self, window=WINDOW)
        client.log_in(self._dial())
        limit_s = time.monotonic() + CONNECT_LIMIT_S
        # Its will names the unit. A store that can be read only now may know another serial.
        while not mailbox.stopping.is_set() and context.store.serial == serial:
            client.serve(mailbox.poll, self._wait_s(client))
            now_s = time.monotonic()
            self._handle_acks(now_s)
            if self._ended is not None:
                raise explained(self._ended, context.broker, context.id, self._dial, mailbox)
            if not self.is_up and now_s > limit_s:
                raise Ended(NO_LOGIN, where=context.where)
            self._subscribe(client, now_s)
            self._retry(now_s)
            self._announce(now_s)
            self._take_work()
            self._send_waiting(now_s)
            mailbox.queued = len(self._live) + len(self._answers)
            mailbox.in_flight = len(self._in_flight)
            self._check_progress(now_s)
        self._say_goodbye(client)

    def _dial(self) -> socket.socket:
        return self._context.dial.connect(self._mailbox.wait, self._mailbox.wake)

    def close(self) -> None:
        """Close the socket; rows in flight stay in the store and are sent again."""
        client, self._client = self._client, None
        if client is None:
            return
        client.close()
        history = self._in_flight.history()
        if history is not None and self._backlog.is_suspect(history.size_bytes):
            self._context.sizes.suspect(history.size_bytes, time.monotonic())

    def _wait_s(self, client: Client) -> float:
        """Return how long to wait for the broker or for work, in seconds."""
        is_waiting = not self.is_up or len(self._in_flight) > 0
        wait_s = 1.0 if is_waiting else min((client.keepalive_s or 60) / 4, LONGEST_WAIT_S)
        now_s = time.monotonic()
        if self._announce_s is not None and not self._is_announced:
            return min(wait_s, self._announce_s - now_s)
        if self._retry_s is not None:
            wait_s = min(wait_s, self._retry_s - now_s)
        if self._may_send_history():
            return min(wait_s, self._backlog.due_s - now_s)
        return wait_s

    def _subscribe(self, client: Client, now_s: float) -> None:
        """Subscribe to commands; the unit may have to be deaf to them for a while."""
        if self._subscribe_s is None or now_s < self._subscribe_s:
            return
        self._subscribe_s = None
        client.subscribe(self._context.commands)
        if "commands" in self._complaints:
            self._complain("commands", None)

    def _retry(self, now_s: float) -> None:
        """Announce anew when sizes that the broker has refused may be tried again."""
        if self._retry_s is not None and now_s >= self._retry_s:
            self._retry_s = None
            self._complain("size", None)
            if self._is_announced:  # else it will be soon
                self._is_announced, self._announce_s = False, now_s

    def _announce(self, now_s: float) -> None:
        """Publish `link` and `about`, and request a fresh state; after a reconnect with a random delay."""
        if self._is_announced or self._announce_s is None or now_s < self._announce_s:
            return
        context = self._context
        self._is_announced = True
        # Later records are sent live; earlier ones are the backlog.
        self._backlog.begin(context.store.last_id(), now_s, context.broker.spread_s)
        self._state_sent = False
        self._live.clear()
        now = context.clock.now()
        boot, serial = context.store.boot, self._serial
        birth = messages.link(True, boot, self._conn, now, serial=serial)
        self._publish("link", birth, retain=True)
        self._publish_about()
        context.on_up()

    def _publish_about(self) -> None:
        about = self._context.about
        if self._fits("about", len(about.encode())):
            self._publish("about", about, retain=True)

    def _take_work(self) -> None:
        for work in self._mailbox.work():
            match work:
                case Offered(rows) if self._is_announced:
                    self._live.extend(row for row in rows if row.id > self._backlog.until)
                case LookAgain():
                    self._backlog.start_over()
                case NewAbout() if self._is_announced:
                    self._publish_about()
                case NewDays(days):
                    self._days = days
                case Answer() if self.is_up:
                    self._answer(work)
                case _:
                    pass  # it is in the store, or part of the next announcement

    def _answer(self, answer: Answer) -> None:
        context = self._context
        topic = answer_topic(answer.request, answer.cid, context.topics)
        correlation = answer.request.correlation or b""
        payload = answer.text.encode()
        size = len(payload) + len(correlation) + len(topic.encode())
        if size + AROUND_PAYLOAD > self._largest:
            self._warn("large", f"an answer of {size} bytes is too large for the broker: not sent")
        elif len(self._answers) >= MOST_COMMANDS:
            context.unanswered += 1
        else:
            self._answers.append(_WaitingAnswer(topic, answer.text, correlation))

    def _send_waiting(self, now_s: float) -> None:
        """Send as much as the window allows: live rows, then a part of the backlog.

        Answers, which others cause, have a window of their own.
        """
        while self._answers and self._in_flight.answers < self._window:
            answer = self._answers.popleft()
            self._send("res", answer.topic, answer.text, correlation=answer.correlation)
        if not self._is_announced:
            return
        newest = next((row.id for row in reversed(self._live) if row.kind == "state"), 0)
        if len(self._live) > MOST_LIVE:
            newest = newest or self._live[-1].id + 1
            self._backlog.extend(newest - 1)
            self._live = deque(row for row in self._live if row.id >= newest)
        while self._live and self._in_flight.own < self._window:
            row = self._live.popleft()
            if row.kind == "state" and row.id < newest:
                self._backlog.extend(row.id)  # too late for live: now history
                continue
            self._state_sent = self._state_sent or row.kind == "state"
            if self._fits(row.kind, len(row.body.encode())):
                self._publish(row.kind, row.body, (row,), retain=row.kind == "state")
        if self._days is not None and self._state_sent and self._in_flight.own < self._window:
            days, self._days = self._days, None
            if self._fits("days", len(days.encode())):
                self._publish("days", days, retain=True)
        if self._may_send_history() and now_s >= self._backlog.due_s:
            if self._backlog.is_drained:
                self._publish_again(now_s)
            else:
                self._publish_history(now_s)

    def _may_send_history(self) -> bool:
        """Say whether there is late data and none of it in flight: one at a time keeps the order.

        So does waiting for live rows that are older than its end: if they are refused, or the connection
        ends, they become history.
        """
        has_late = not self._backlog.is_drained or self._context.resending is not None
        return (
            self._state_sent
            and has_late
            and self._in_flight.own < self._window
            and self._in_flight.history() is None
            and not self._in_flight.has_live_until(self._backlog.until)
        )

    def _publish_history(self, now_s: float) -> None:
        context = self._context
        largest = min(context.sizes.room(now_s), self._largest)
        # Rows that became history are among rows that are sent live.
        taken = self._in_flight.ids().union(row.id for row in self._live)
        rows, records = [], []
        for row in self._backlog.rows(context.store, largest, taken):
            if not self._fits("history", row.room + AROUND_RECORDS):
                continue
            record = self._stamped(row)
            if record is None:
                context.store.give_up(row.id)  # it would block all later ones
            else:
                rows.append(row)
                records.append(record)
        if rows:
            history = messages.history(context.id, records)
            size = self._publish("history", history, rows)
            self._backlog.sent(size, now_s)

    def _publish_again(self, now_s: float) -> None:
        """Send the next of the records that a receiver has asked for; the store knows nothing of it."""
        context, resending = self._context, self._context.resending
        if resending is None:
            return
        largest = min(context.sizes.room(now_s), self._largest)
        rows = resending.rows(context.store, self._backlog.room(largest))
        if not rows:
            context.resending = None
            log.info("what was asked for is sent again, but for %d records", resending.left)
            return
        fitting = [row for row in rows if self._fits("history", row.room + AROUND_RECORDS)]
        records = [record for record in map(self._stamped, fitting) if record is not None]
        if not records:
            resending.passed(rows[-1].id, len(rows))
            return
        sent_again = (len(rows), rows[-1].id)
        topic = context.topics.of("history")
        history = messages.history(context.id, records)
        size = self._send("history", topic, history, sent_again=sent_again)
        self._backlog.sent(size, now_s)

    def _note_resent(self, sent: Sent) -> None:
        resending = self._context.resending
        if resending is None:
            return
        resending.passed(sent.resent_until, sent.resent)
        if not resending.left:
            self._context.resending = None
            log.info("what was asked for is sent again")

    def _stamped(self, row: Row) -> str | None:
        """Return a record as it is sent late; None if that is impossible."""
        try:
            record = self._context.stamps.stamp(row)
            record.encode()
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
            return None
        return record

    def _fits(self, kind: str, size: int) -> bool:
        """Say whether the broker accepts this many bytes; a record that is too large stays in the store."""
        sizes = self._context.sizes
        if size > self._largest:
            self._complain_of_size(size)
            return False
        if not sizes.takes(kind, size, time.monotonic()):
            self._complain_of_size(size)
            self._retry_by(sizes.again_s(kind))
            return False
        return True

    def _complain_of_size(self, size: int) -> None:
        self._complain("size", LinkTrouble(TOO_LARGE, where=self._context.where, size=size))

    def _retry_by(self, again_s: float) -> None:
        self._retry_s = again_s if self._retry_s is None else min(self._retry_s, again_s)

    def _publish(
        self, kind: str, payload: str, rows: Sequence[Row] = (), *, retain: bool = False
    ) -> int:
        """Send one of the contract's messages; return its size in bytes."""
        expiry_s = STATE_EXPIRY_S if kind == "state" else None
        topic = self._context.topics.of(kind)
        return self._send(kind, topic, payload, rows, retain=retain, expiry_s=expiry_s)

    def _send(
        self,
        kind: str,
        topic: str,
        payload: str,
        rows: Sequence[Row] = (),
        *,
        retain: bool = False,
        expiry_s: int | None = None,
        correlation: bytes = b"",
        sent_again: tuple[int, int] = (0, 0),
    ) -> int:
        assert self._client is not None
        content = payload.encode()
        number = self._client.publish(
            topic, content, retain=retain, expiry_s=expiry_s, correlation=correlation
        )
        ids = tuple(row.id for row in rows)
        sent = Sent(kind, topic, payload, len(content), ids, time.monotonic(), *sent_again)
        self._in_flight.add(number, sent)
        return sent.size_bytes

    def _handle_acks(self, now_s: float) -> None:
        """Confirm accepted messages to the store, and handle refused ones."""
        if not self._acks:
            return
        mailbox, on_sent = self._mailbox, self._context.on_sent
        acks, self._acks = self._acks, []
        confirmed: list[int] = []
        for number, reason in acks:
            sent = self._in_flight.take(number)
            if sent is None:
                continue
            if reason is not None:
                self._handle_refusal(sent, reason, now_s)
                continue
            confirmed += sent.ids
            took_s = now_s - sent.at_s
            mailbox.confirmed, mailbox.puback_s = mailbox.confirmed + 1, took_s
            self._backlog.heard(took_s)
            self._context.sizes.taken(sent.kind, sent.size_bytes)
            if sent.kind == "history":
                self._backlog.confirmed(sent.size_bytes, took_s, now_s)
                if sent.resent:
                    self._note_resent(sent)
            for topic, trouble in list(self._complaints.items()):
                # A broker that was full takes all kinds again; a refused event may come as history.
                if topic == sent.topic or trouble.kind is refusals.MESSAGE_QUOTA:
                    self._complain(topic, None)
                    self._refusals.pop(topic, None)
            if on_sent is not None:
                on_sent(sent.topic, sent.payload)
        if confirmed:
            self._context.store.confirm(confirmed)

    def _handle_refusal(self, sent: Sent, reason: Reason, now_s: float) -> None:
        """Keep a refused message, report it, and try again later."""
        context = self._context
        if sent.kind == "res":
            self._warn("answer", f"the broker refused an answer on {sent.topic} ({reason.name})")
            return
        if reason.code == refusals.PACKET_TOO_LARGE:
            is_divisible = sent.is_divisible
            context.sizes.refused(
                sent.kind, sent.size_bytes, now_s, is_divisible=is_divisible, ended_session=False
            )
            self._complain_of_size(sent.size_bytes)
            if not is_divisible:
                self._retry_by(context.sizes.again_s(sent.kind))
            if sent.kind == "history":
                # Try smaller messages at once; a single record that is too large is skipped.
                self._backlog.start_over()
            return
        self._complain(sent.topic, refusals.of_message(reason, context.where, sent.topic))
        if not (sent.ids or sent.resent):
            return
        times = self._refusals.get(sent.topic, 0)
        self._refusals[sent.topic] = min(times + 1, MOST_DOUBLINGS)
        wait_s = min(context.broker.longest_wait_s, REFUSED_WAIT_S * 2**times)
        again_s = now_s + wait_s * random.uniform(0.5, 1)
        if sent.kind == "history":
            self._backlog.start_over(again_s)
        else:
            # Live rows are in the store too: after the next announcement they are backlog.
            self._is_announced, self._announce_s = False, again_s

    def _complain(self, about: str, trouble: LinkTrouble | None) -> None:
        """Report a refusal once, or with None that the broker accepts the topic again."""
        if trouble is None:
            self._complaints.pop(about, None)
        elif about not in self._complaints:
            self._complaints[about] = trouble
            log.warning("%s", trouble)
        self._report(next(iter(self._complaints.values()), None))

    def _warn(self, about: str, text: str) -> None:
        """Log a warning that others can cause without limit: once a session."""
        if about not in self._warned:
            self._warned.add(about)
            log.warning("%s", text)

    def _check_progress(self, now_s: float) -> None:
        if self._in_flight.waits_s(now_s) > PUBACK_LIMIT_S:
            raise Ended(NO_PUBACK, where=self._context.where, seconds=round(PUBACK_LIMIT_S))

    def _say_goodbye(self, client: Client) -> None:
        """Publish `online: false` and disconnect, after a short wait for the broker's PUBACKs."""
        if not self.is_up:
            return
        context, mailbox = self._context, self._mailbox
        now, boot, serial = context.clock.now(), context.store.boot, self._serial
        goodbye = messages.link(False, boot, self._conn, now, serial=serial)
        self._take_work()
        self._send_waiting(time.monotonic())
        self._publish("link", goodbye, retain=True)
        limit_s = time.monotonic() + GOODBYE_S
        while len(self._in_flight) and client.is_open() and time.monotonic() < limit_s:
            client.serve(mailbox.poll, 0.05)
            self._handle_acks(time.monotonic())
        client.log_out()

    # The client's Listener

    def welcomed(self, welcome: Welcome) -> None:
        """The broker has accepted the login: set limits, and subscribe to commands."""
        context = self._context
        if self.is_up:
            flaw = marked("it has answered the login twice")
            self._ended = Ended(NOT_MQTT, where=context.where, flaw=flaw)
            return
        assert self._client is not None
        self.is_up = True
        context.sizes.begin()
        self._report(None)
        log.info("connected to %s", context.where)
        self._window = max(1, min(WINDOW, welcome.most_in_flight or WINDOW))
        self._client.allow(self._window)
        if welcome.largest_packet is not None:
            around = AROUND_PAYLOAD + len(context.topics.of("history").encode())
            self._largest = max(0, welcome.largest_packet - around)
        now_s = time.monotonic()
        self._announce_s = now_s + random.uniform(
            0, 0.0 if self._first else context.broker.spread_s
        )
        self._subscribe_s = context.deaf_until_s
        if now_s < context.deaf_until_s:
            self._complain("commands", LinkTrouble(DEAF, topic=context.commands))

    def refused(self, reason: Reason) -> None:
        """The broker has refused the login."""
        self._ended = refusals.of_login(reason, self._context.broker, self._context.id)

    def acknowledged(self, number: int, reason: Reason | None) -> None:
        """The broker has accepted or refused a message: see `_handle_acks`."""
        self._acks.append((number, reason))

    def subscribed(self, reason: Reason | None) -> None:
        """The broker has granted or refused the subscription to commands."""
        if reason is not None:
            where, topic = self._context.where, self._context.topics.of("cmd/#")
            self._complain("deaf", LinkTrouble(refusals.NO_COMMANDS, where=where, topic=topic))

    def disconnected(self, reason: Reason, *, by_broker: bool) -> None:
        """The connection has ended."""
        if self._ended is not None:
            return
        context = self._context
        self._ended = refusals.of_end(
            reason, context.broker, context.id, by_broker=by_broker, is_up=self.is_up
        )
        if by_broker and reason.code == refusals.PACKET_TOO_LARGE and len(self._in_flight):
            sent = next(iter(self._in_flight.messages()))  # brokers confirm in order
            self._ended = Ended(TOO_LARGE, where=context.where, size=sent.size_bytes)
            context.sizes.refused(
                sent.kind,
                sent.size_bytes,
                time.monotonic(),
                is_divisible=sent.is_divisible,
                ended_session=True,
            )

    def arrived(self, message: Arrived) -> None:
        """A command has arrived."""
        was_used_up = self._allowance.is_used_up
        if not self._allowance.take(time.monotonic()):
            if not was_used_up:
                log.warning("more commands come than an operator sends: some are ignored")
            return
        name = message.topic.rpartition("/")[2]
        self._context.on_request(
            Request(
                name, message.payload, message.retained, message.response_topic, message.correlation
            )
        )


@dataclass(frozen=True, slots=True)
class _WaitingAnswer:
    """An answer that waits for its turn."""

    topic: str
    text: str
    correlation: bytes
