"""The link to the broker: one thread, MQTT by paho, nothing lost and nothing old called new.

The thread owns the client and the socket. Everybody else only puts work in its queue. A session is
one connection: `link` and `about` first, then the newest state, then the backlog as `history`,
oldest first; new records go out live beside it. A row is confirmed to the store on PUBACK only.
"""

import contextlib
import logging
import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from publisher import messages
from publisher.clock import Clock, timestamp
from publisher.config import Broker
from publisher.messages import Topics
from publisher.store import Row, Store

log = logging.getLogger("tentwatch.link")

#: Messages that may wait for their PUBACK; more is slower (measured), and less is lost to a cut.
WINDOW = 10
HISTORY_WINDOW = 2
#: Least time between two history messages, so that many tents coming back do not drown the centre.
HISTORY_PAUSE_S = 0.05
#: A message without PUBACK for so long means that the link is dead, whatever TCP says.
PUBACK_LIMIT_S = 20.0
CONNECT_LIMIT_S = 10.0
#: What a broker may send us at once, in bytes; commands are far smaller.
LARGEST_PACKET = 64 * 1024
#: TCP gives up on unacknowledged bytes after this time (tcp(7), TCP_USER_TIMEOUT).
TCP_LIMIT_S = 20.0
#: Live rows that may queue behind a slow link before the session is given up for the backlog.
MOST_LIVE = 200
STATE_EXPIRY_S = 7 * 86_400
WILL_DELAY_S = 5
FIRST_WAIT_S = 1.0
#: A session that lasted so long was a good one: the next wait begins small again.
GOOD_SESSION_S = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """A command as it came in, and where its answer goes."""

    command: str
    payload: bytes
    retained: bool
    response_topic: str | None
    correlation: bytes | None


@dataclass(frozen=True, slots=True)
class Health:
    """How the link does, for people."""

    broker: str
    connected: bool
    error: str | None
    sessions: int
    failures: int
    queued: int = 0
    in_flight: int = 0


class _Ended(Exception):
    """The session is over; the message says why."""


class Link:
    """Publishes rows and answers; tells `on_up` when a fresh state is wanted, `on_request` of commands."""

    def __init__(
        self,
        broker: Broker,
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
        self._broker = broker
        self._id = tent_id
        self._topics = Topics(broker.prefix, tent_id)
        self._about = about
        self._store = store
        self._clock = clock
        self._on_up = on_up
        self._on_request = on_request
        self._on_sent = on_sent
        self._v5 = broker.protocol == "5"
        self._stopping = threading.Event()
        self._work: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._health = Health(f"{broker.host}:{broker.port}", False, None, 0, 0)
        self._queues = 0, 0
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    # For other threads

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, rows: Sequence[Row]) -> None:
        """Send stored rows now if the link is up; otherwise they wait in the store."""
        self._post("rows", tuple(rows))

    def look_again(self) -> None:
        """Send rows of the store that were out of reach before."""
        self._post("again", None)

    def respond(self, request: Request, cid: str, answer: str) -> None:
        """Answer a command."""
        self._post("answer", (request, cid, answer))

    def describe(self, about: str) -> None:
        """Send a new `about` if the link is up, and from now on with every connection."""
        self._about = about
        self._post("about", None)

    def health(self) -> Health:
        """Return how the link does."""
        queued, in_flight = self._queues
        return replace(self._health, queued=queued, in_flight=in_flight)

    def is_alive(self) -> bool:
        """Say whether the thread runs; it must, from `start` to `stop`."""
        return self._thread.is_alive()

    def stop(self, timeout_s: float) -> None:
        """Say goodbye to the broker and end the thread, within `timeout_s`."""
        self._stopping.set()
        self._wake()
        self._thread.join(timeout_s)

    def _post(self, what: str, thing: Any) -> None:
        self._work.put((what, thing))
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is awake already
            self._wake_out.send(b"x")

    # The thread

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            began_s = time.monotonic()
            session = _Session(self, first=self._health.sessions == 0)
            try:
                session.run()
                error = None
            except _Ended as end:
                error = str(end)
            except Exception as fault:  # paho raises what it likes on bytes that are not MQTT
                error = explain(fault, self._broker)
            was_up = session.is_up
            session.close()
            self._queues = 0, 0
            self._note(connected=False, error=error, failed=error is not None)
            if self._stopping.is_set():
                return
            if was_up and time.monotonic() - began_s > GOOD_SESSION_S:
                attempt = 0
            # Full jitter: a thousand tents that lost the same broker come back one by one.
            wait_s = random.uniform(0, min(self._broker.longest_wait_s, FIRST_WAIT_S * 2**attempt))
            attempt = min(attempt + 1, 16)
            log.warning("%s; trying again in %.1f s", error, wait_s)
            self._stopping.wait(wait_s)

    def _note(self, *, connected: bool, error: str | None, failed: bool = False) -> None:
        old = self._health
        self._health = Health(
            old.broker,
            connected,
            error,
            old.sessions + connected,
            old.failures + failed,
        )


class _Session:
    """One connection, from TCP to its end; used by the link's thread only."""

    def __init__(self, link: Link, *, first: bool) -> None:
        self._link = link
        self._first = first
        self._client: Client | None = None
        self._conn = 0
        self._ended: str | None = None
        self._birth_s: float | None = None
        self.is_up = False  # the broker has accepted us
        self._born = False  # link and about are out
        self._state_sent = False  # the newest state is out: the backlog may follow
        self._live: deque[Row] = deque()
        self._late: deque[Row] = deque()
        self._in_flight: dict[int, _Sent] = {}
        self._cursor = 0
        self._until = 0
        self._drained = False
        self._history_s = 0.0
        # Made once: to make and fill one takes paho as long as to send it.
        self._of_state, self._of_others = self._properties(), self._properties()
        if self._of_state is not None:
            self._of_state.MessageExpiryInterval = STATE_EXPIRY_S

    def run(self) -> None:
        """Connect and serve until asked to stop. Raises _Ended, or whatever connecting raises."""
        link = self._link
        client = self._client = self._make_client()
        client.connect(
            link._broker.host,
            link._broker.port,
            keepalive=link._broker.keepalive_s,
            properties=self._connect_properties(),
        )
        limit_s = time.monotonic() + CONNECT_LIMIT_S
        while not link._stopping.is_set():
            self._serve()
            now_s = time.monotonic()
            if self._ended is not None:
                raise _Ended(self._ended)
            if not self.is_up and now_s > limit_s:
                raise _Ended(f"{link._health.broker} accepts connections but does not speak MQTT")
            self._be_born(now_s)
            self._take_work()
            self._pump(now_s)
            link._queues = len(self._live) + len(self._late), len(self._in_flight)
            self._check_progress(now_s)
        self._say_goodbye()

    def close(self) -> None:
        """Let go of the socket; rows in flight stay in the store and go again."""
        client, self._client = self._client, None
        if client is not None:
            client.on_disconnect = None
            sock = client.socket()
            if sock is not None:
                sock.close()

    def _make_client(self) -> Client:
        link = self._link
        broker = link._broker
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=link._id,
            protocol=MQTTv5 if link._v5 else MQTTv311,
            **({} if link._v5 else {"clean_session": True}),  # type: ignore[arg-type]
        )
        client.suppress_exceptions = False
        client.connect_timeout = CONNECT_LIMIT_S
        client.max_inflight_messages_set(WINDOW)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._confirmed
        client.on_message = self._arrived
        client.on_subscribe = self._subscribed
        client.on_socket_open = _limit_tcp
        for key in ("password_file", "ca_file", "cert_file", "key_file"):
            _check_file(key, getattr(broker, key))
        if broker.username is not None:
            password = None
            if broker.password_file is not None:
                password = Path(broker.password_file).read_text(encoding="utf-8").strip()
            client.username_pw_set(broker.username, password)
        if broker.tls:
            context = ssl.create_default_context(cafile=broker.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            # Python 3.13 began to refuse authorities without all extensions of RFC 5280, which many
            # home-made ones lack: a certificate that serves on Debian 12 must serve on Debian 13.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if broker.cert_file is not None:
                context.load_cert_chain(broker.cert_file, broker.key_file)
            client.tls_set_context(context)
        self._conn = link._store.next_conn(link._clock.now())
        will: Any = _properties(PacketTypes.WILLMESSAGE) if link._v5 else None
        if will is not None:
            will.WillDelayInterval = WILL_DELAY_S
            will.ContentType = "application/json"
        client.will_set(
            link._topics.of("link"),
            messages.link(False, link._store.boot, self._conn, None),
            qos=1,
            retain=True,
            properties=will,
        )
        return client

    def _connect_properties(self) -> Any:
        if not self._link._v5:
            return None
        properties = _properties(PacketTypes.CONNECT)
        properties.MaximumPacketSize = LARGEST_PACKET  # nobody may fill our memory
        return properties

    def _serve(self) -> None:
        """Move bytes until something is to be done."""
        client = self._client
        assert client is not None
        sock = client.socket()
        if sock is None:
            raise _Ended(self._ended or "the connection was lost")
        wake = self._link._wake_in
        wait_s = self._wait_s()
        readable, writable, _ = select.select(
            [sock, wake], [sock] if client.want_write() else [], [], wait_s
        )
        if wake in readable:
            with contextlib.suppress(BlockingIOError):
                wake.recv(4096)
        if sock in readable:
            client.loop_read()
            # TLS may hold decrypted bytes that select cannot see.
            while client.socket() is sock and isinstance(sock, ssl.SSLSocket) and sock.pending():
                client.loop_read()
        if sock in writable:
            client.loop_write()
        client.loop_misc()

    def _wait_s(self) -> float:
        is_waiting = not self.is_up or bool(self._in_flight)
        wait_s = 1.0 if is_waiting else self._link._broker.keepalive_s / 4
        now_s = time.monotonic()
        if self._birth_s is not None and not self._born:
            return max(0.0, min(wait_s, self._birth_s - now_s))
        if self._has_history() and len(self._in_flight) < HISTORY_WINDOW:
            return max(0.0, min(wait_s, self._history_s - now_s))
        return wait_s

    def _be_born(self, now_s: float) -> None:
        """Say who we are, after a random while on a reconnect, and ask for a fresh state."""
        if not self.is_up or self._born or self._birth_s is None or now_s < self._birth_s:
            return
        link = self._link
        self._born = True
        # What is recorded from here on goes live; what stands before it is the backlog.
        self._until = link._store.last_id()
        now = link._clock.now()
        birth = messages.link(True, link._store.boot, self._conn, now)
        self._publish("link", birth, retain=True)
        self._publish("about", link._about, retain=True)
        link._on_up()

    def _take_work(self) -> None:
        work = self._link._work
        while True:
            try:
                what, thing = work.get_nowait()
            except Empty:
                return
            if what == "rows":
                if self._born:
                    self._live.extend(row for row in thing if row.id > self._until)
            elif what == "again":
                self._cursor, self._drained = 0, False
            elif what == "about":
                if self._born:
                    self._publish("about", self._link._about, retain=True)
            elif self.is_up:
                self._answer(*thing)

    def _answer(self, request: Request, cid: str, answer: str) -> None:
        properties = self._properties()
        if properties is not None and request.correlation is not None:
            properties.CorrelationData = request.correlation
        topics = self._link._topics
        topic = request.response_topic or ""
        # Whoever commands does not get to speak in a tent's name, nor to upset the broker.
        is_tents = topic.startswith(topics.prefix + "/") and not topic.startswith(topics.of("res/"))
        is_odd = len(topic) > 200 or topic.count("/") > 20 or set(topic) & set("+#")
        if not topic or is_tents or is_odd:
            topic = topics.of(f"res/{cid}")
        self._send(topic, answer, (), is_answer=True, properties=properties)

    def _pump(self, now_s: float) -> None:
        """Send what the window has room for: live rows, then a piece of the backlog."""
        if not self._born:
            return
        if len(self._live) > MOST_LIVE:
            raise _Ended("the link is too slow for what there is to say: beginning again")
        newest_state = max((row.id for row in self._live if row.kind == "state"), default=0)
        while self._live and len(self._in_flight) < WINDOW:
            row = self._live.popleft()
            if row.kind == "state" and row.id < newest_state:
                self._late.append(row)  # overtaken: it is history now
                continue
            self._state_sent = self._state_sent or row.kind == "state"
            self._publish(row.kind, row.body, (row,), retain=row.kind == "state")
        if self._state_sent and self._has_history() and now_s >= self._history_s:
            in_history = sum(sent.history for sent in self._in_flight.values())
            if in_history < HISTORY_WINDOW and len(self._in_flight) < WINDOW:
                self._publish_history()
                self._history_s = now_s + HISTORY_PAUSE_S

    def _has_history(self) -> bool:
        return self._state_sent and (not self._drained or bool(self._late))

    def _publish_history(self) -> None:
        link = self._link
        room = messages.HISTORY_MAX_BYTES - 200
        rows = link._store.backlog(self._cursor, self._until, room)
        if rows:
            self._cursor = rows[-1].id
        else:
            self._drained = True
            while self._late and (room := room - self._late[0].room) >= 0:
                rows.append(self._late.popleft())
        if rows:
            records = [self._stamp(row) for row in rows]
            self._publish("history", messages.history(link._id, records), rows, history=True)

    def _stamp(self, row: Row) -> str:
        """Return a row's body, with its time where this boot's clock has been set since."""
        if row.stamped or row.boot != self._link._store.boot:
            return row.body
        now = self._link._clock.now()
        if not now.synced or now.wall is None:
            return row.body
        at = now.wall - timedelta(seconds=now.uptime_s - row.uptime_s)
        return messages.stamped(row.body, str(timestamp(at)))

    def _publish(
        self,
        what: str,
        payload: str,
        rows: Sequence[Row] = (),
        *,
        retain: bool = False,
        history: bool = False,
    ) -> None:
        properties = self._of_state if what == "state" else self._of_others
        topic = self._link._topics.of(what)
        self._send(topic, payload, rows, retain=retain, history=history, properties=properties)

    def _properties(self) -> Any:
        if not self._link._v5:
            return None
        properties = _properties(PacketTypes.PUBLISH)
        properties.ContentType = "application/json"
        return properties

    def _send(
        self,
        topic: str,
        payload: str,
        rows: Sequence[Row],
        *,
        retain: bool = False,
        history: bool = False,
        is_answer: bool = False,
        properties: Any,
    ) -> None:
        assert self._client is not None
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        ids = tuple(row.id for row in rows)
        self._in_flight[info.mid] = _Sent(topic, payload, ids, history, is_answer, time.monotonic())

    def _check_progress(self, now_s: float) -> None:
        oldest = next(iter(self._in_flight.values()), None)
        if oldest is not None and now_s - oldest.at_s > PUBACK_LIMIT_S:
            raise _Ended(
                f"{self._link._health.broker} has confirmed nothing for {PUBACK_LIMIT_S:.0f} s"
            )

    def _say_goodbye(self) -> None:
        """Publish `online: false` and leave, waiting for the broker's word half a second at most."""
        client, link = self._client, self._link
        assert client is not None
        if not self.is_up:
            return
        goodbye = messages.link(False, link._store.boot, self._conn, link._clock.now())
        self._take_work()
        self._pump(time.monotonic())
        self._publish("link", goodbye, retain=True)
        limit_s = time.monotonic() + 0.5
        while self._in_flight and client.socket() is not None and time.monotonic() < limit_s:
            sock: Any = client.socket()
            if select.select([sock], [], [], 0.05)[0]:
                client.loop_read()
            if client.want_write():
                client.loop_write()
        client.disconnect()

    # paho's callbacks, which run inside loop_read and loop_misc

    def _connected(
        self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        link = self._link
        if reason.is_failure:
            self._ended = _refusal(reason, link._broker)
            return
        self.is_up = True
        link._note(connected=True, error=None)
        log.info("connected to %s", link._health.broker)
        spread_s = 0.0 if self._first else link._broker.spread_s
        self._birth_s = time.monotonic() + random.uniform(0, spread_s)
        topic = link._topics.of("cmd/+")
        if link._v5:
            # Retained flags as published: a command to be refused must show what it is.
            client.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=True))
        else:
            client.subscribe(topic, qos=1)

    def _subscribed(
        self, client: Client, userdata: Any, mid: int, reasons: Any, properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            log.warning(
                "%s lets this user receive no commands: allow it to read %s",
                self._link._health.broker,
                self._link._topics.of("cmd/#"),
            )

    def _disconnected(
        self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if self._ended is None:
            self._ended = f"the connection to {self._link._health.broker} was lost ({reason})"

    def _confirmed(
        self, client: Client, userdata: Any, mid: int, reason: Any, properties: Any
    ) -> None:
        sent = self._in_flight.pop(mid, None)
        if sent is None:
            return
        if reason.is_failure and sent.is_answer:
            log.warning("the broker refused an answer on %s (%s)", sent.topic, reason)
            return
        if reason.is_failure:
            self._ended = (
                f"{self._link._health.broker} refused a message on {sent.topic} ({reason}): "
                f"check the user's rights there"
            )
            return
        if self._link._on_sent is not None:  # it hears before the row can go
            self._link._on_sent(sent.topic, sent.payload)
        if sent.ids:
            self._link._store.confirm(sent.ids)

    def _arrived(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        name = message.topic.rpartition("/")[2]
        properties = message.properties
        self._link._on_request(
            Request(
                name,
                bytes(message.payload),
                message.retain,
                getattr(properties, "ResponseTopic", None),
                getattr(properties, "CorrelationData", None),
            )
        )


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message that waits for its PUBACK."""

    topic: str
    payload: str
    ids: tuple[int, ...]
    history: bool
    is_answer: bool
    at_s: float


def _check_file(key: str, name: str | None) -> None:
    """Raise _Ended where a file that the configuration names cannot be used: ssl does not say which."""
    if name is None:
        return
    try:
        if not Path(name).is_file():  # a FIFO would keep us waiting for ever
            raise OSError("there is no such file")
        content = Path(name).read_bytes()
        if key == "password_file":
            content.decode()
    except (OSError, ValueError) as error:
        raise _Ended(
            f"{name} cannot be used ({error}): check {key} in [broker], and the file's rights"
        ) from error


def _properties(packet: int) -> Any:
    return Properties(packet)  # type: ignore[no-untyped-call]


def _limit_tcp(client: Client, userdata: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(TCP_LIMIT_S * 1000))


def _refusal(reason: Any, broker: Broker) -> str:
    text = str(reason)
    fix = "check [broker] in the configuration"
    if "auth" in text.lower() or "password" in text.lower():
        fix = "check username and password_file, and that the broker knows this user"
    elif "protocol" in text.lower():
        fix = 'try protocol = "3.1.1"'
    return f"{broker.host}:{broker.port} refused the login ({text}): {fix}"


def explain(error: Exception, broker: Broker) -> str:
    """Return what a failure to connect means, and what to do about it."""
    where = f"{broker.host}:{broker.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"{where} has a certificate that cannot be trusted ({error.verify_message}): check "
            f"ca_file, that host is the name in the certificate, and this unit's clock"
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"{where} does not agree on TLS ({error.reason or error}): check tls, port, cert_file"
        )
    if isinstance(error, socket.gaierror):
        return f"{broker.host} is not found: check the name and that this network has a DNS server"
    if isinstance(error, ConnectionRefusedError):
        return f"{where} refuses connections: is the broker running, and is the port right?"
    if isinstance(error, TimeoutError):
        return f"{where} does not answer: check the network and the broker's firewall"
    if isinstance(error, UnicodeError):
        return f"{broker.host!r} is no name of a host: check host"
    if isinstance(error, ConnectionResetError) and broker.tls:
        return f"{where} does not agree on TLS (it hung up): check tls, port, cert_file"
    if isinstance(error, OSError):
        return f"{where} cannot be reached ({error})"
    return f"{where} does not speak MQTT as it should ({type(error).__name__}: {error})"
