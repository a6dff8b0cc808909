"""One connection to the broker, MQTT by paho: who we are, the newest state, the backlog, what is new.

`link` and `about` come first, then the newest state, then the backlog as `history`, oldest first; new
records go out live beside it. A row is confirmed to the store on PUBACK only.
"""

import contextlib
import logging
import math
import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from publisher import messages
from publisher.clock import Clock
from publisher.config.sections import BrokerSettings
from publisher.link import refusals
from publisher.link.dial import CONNECT_LIMIT_S, Dial, check_files
from publisher.link.stamps import Stamps
from publisher.link.troubles import (
    DEAF,
    FLOODED,
    HUNG_UP,
    LOST,
    NO_LOGIN,
    NO_PUBACK,
    NOT_MQTT,
    TAKEN_OVER,
    TOO_LARGE,
    Ended,
    Flooded,
    LinkTrouble,
    TakenOver,
)
from publisher.messages import Topics
from publisher.store.rows import Row
from publisher.store.store import Store
from sensors.trouble import marked

log = logging.getLogger("tentwatch.link")

#: Messages that may wait for their PUBACK; more is slower (measured), and less is lost to a cut.
WINDOW = 10
#: A pause after each history message lasts at least so many times as long as its PUBACK took: a
#: centre that is busy with a thousand tents is left in peace by each of them. It lasts this long at
#: most.
HISTORY_REST, LONGEST_REST_S = 2.0, 5.0
#: The first history message of a session is small, and they grow while they are confirmed quickly:
#: on a narrow link a new state must not wait behind them.
FIRST_ROOM, LEAST_ROOM = 8 * 1024, 2 * 1024
#: What a history message carries beside its records, at most.
AROUND_RECORDS = 200
#: A message without PUBACK for so long means that the link is dead, whatever TCP says.
PUBACK_LIMIT_S = 20.0
#: What a broker may send us at once, in bytes; commands are far smaller.
LARGEST_PACKET = 64 * 1024
#: What stands around a payload in a packet, besides the topic: header, id, properties.
AROUND_PAYLOAD = 48
#: Messages that are taken for commands at once, and how many a second from then on: more than a script
#: sends, so that what is faulty keeps nobody from being answered, and less than would hold us up.
MOST_COMMANDS, COMMANDS_PER_S = 200, 50.0
#: Packets that are read at once; then it is the others' turn, however much a broker may send.
MOST_READS = 100
#: Live rows that may queue behind a slow link before they become backlog.
MOST_LIVE = 50
STATE_EXPIRY_S = 7 * 86_400
WILL_DELAY_S = 5
#: The first wait after the broker has refused a record.
REFUSED_WAIT_S = 2.0
#: For how long a size that was too large for the broker is remembered.
SIZE_MEMORY_S = 3600.0
# Mosquitto refuses a message above its message_size_limit with "Packet too large", which the standard
# does not foresee, and paho does not foresee "Payload format invalid" as an answer to the login: it would
# call either a broken packet and hang up.
for _code, _name, _packet in (
    (refusals.PACKET_TOO_LARGE, "Packet too large", PacketTypes.PUBACK),
    (refusals.PAYLOAD_INVALID, "Payload format invalid", PacketTypes.CONNACK),
):
    if _packet not in ReasonCode.names[_code][_name]:
        ReasonCode.names[_code][_name].append(_packet)


@dataclass(frozen=True, slots=True)
class Request:
    """A command as it came in, and where its answer goes."""

    command: str
    payload: bytes
    retained: bool
    response_topic: str | None
    correlation: bytes | None


class Sizes:
    """What a broker has shown of the sizes that it takes, over its sessions; for a while."""

    def __init__(self) -> None:
        self._payload = self._room = 1 << 28  # no MQTT packet is larger
        self._until_s = 0.0
        self._suspects = 0

    def payload(self) -> int:
        """Return the largest payload that may be tried, in bytes."""
        self._forget()
        return self._payload

    def room(self) -> int:
        """Return the largest history message that may be tried, in bytes."""
        self._forget()
        return self._room

    def refused(self, sent: "_Sent") -> None:
        """Take note of a message that the broker said was too large."""
        if len(sent.ids) > 1:
            self._room = sent.size // 2
        else:
            self._payload = sent.size - 1
        self._until_s = time.monotonic() + SIZE_MEMORY_S

    def suspect(self, size: int) -> None:
        """Take note of a history message on which a session ended: twice in a row is no chance."""
        self._suspects += 1
        if self._suspects >= 2:
            self._suspects = 0
            self._room = max(LEAST_ROOM, size // 2)
            self._until_s = time.monotonic() + SIZE_MEMORY_S

    def acquit(self) -> None:
        """Take note of a history message that got through."""
        self._suspects = 0

    def _forget(self) -> None:
        if time.monotonic() > self._until_s:
            self._payload = self._room = 1 << 28


class Line:
    """What all sessions of one link share: whose they are, and what they have learned."""

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
        self.v5 = broker.protocol == "5"
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
        self.deaf_until_s = 0.0  # commands are not subscribed to
        self.unanswered = 0  # commands whose answers were not sent: too many waited already


class Desk:
    """Where other threads leave work for the link's, and where that one waits for it."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.work: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self.beat_s = time.monotonic()  # the last sign of life
        self.queues = 0, 0  # rows that wait for their turn, messages that wait for their PUBACK
        self.confirmed = 0  # messages that the broker has confirmed …
        self.puback_s: float | None = None  # … and how long the last of them waited for that

    # For other threads

    def post(self, what: str, thing: Any) -> None:
        """Leave work, and wake the thread."""
        self.work.put((what, thing))
        self.wake()

    def wake(self) -> None:
        """End the wait under way, or else the next one."""
        with contextlib.suppress(OSError):  # it is awake already, or has ended
            self._wake_out.send(b"x")

    def leave(self) -> None:
        """Ask the thread to end."""
        self.stopping.set()
        self.wake()

    # For the link's thread

    def close(self) -> None:
        """Let go of the descriptors."""
        self._wake_in.close()
        self._wake_out.close()

    def pause(self, wait_s: float) -> None:
        """Wait until `stopping`, which is no standing still."""
        self.beat_s = time.monotonic() + wait_s
        self.stopping.wait(wait_s)

    def poll(self, sock: socket.socket | None, events: int, wait_s: float) -> int:
        """Wait for events on a socket, or to be woken; return what has come to the socket."""
        poller = select.poll()  # select(2) knows no descriptors above 1023
        poller.register(self._wake_in, select.POLLIN)
        if sock is not None:
            poller.register(sock, events)
        self.beat_s = time.monotonic()
        found = dict(poller.poll(math.ceil(1000 * max(0.0, wait_s))))
        if self._wake_in.fileno() in found:
            with contextlib.suppress(BlockingIOError):
                self._wake_in.recv(4096)
        return 0 if sock is None else found.get(sock.fileno(), 0)

    def wait(self, sock: socket.socket | None, events: int, limit_s: float) -> None:
        """Wait for an event, or with no socket to be woken, as `dial` wants it."""
        while True:
            if self.stopping.is_set():
                raise InterruptedError
            left_s = limit_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            if self.poll(sock, events, left_s) or sock is None:
                return


class DialledClient(Client):
    """paho's client on a socket that is connected already."""

    dialled: socket.socket

    def _create_socket(self) -> Any:
        return self.dialled

    def allow(self, messages: int) -> None:
        """Have no more messages wait for their PUBACK: what the broker says at the login."""
        self._max_inflight_messages = messages

    def holds_any(self) -> bool:
        """Say whether paho keeps a message for the broker to release, which QoS 2 has it do."""
        return bool(self._in_messages)

    def _handle_connack(self) -> Any:
        # paho keeps MQTT 3.1.1's "unacceptable protocol version" to itself.
        if self._protocol == MQTTv311 and self._in_packet["packet"][1:2] == b"\x01":
            unknown = ReasonCode(PacketTypes.CONNACK, "Unsupported protocol version")
            on_connect: Any = self.on_connect
            on_connect(self, None, None, unknown, None)
        return super()._handle_connack()

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > LARGEST_PACKET:  # MQTT 3.1.1 cannot forbid it: nobody may fill our memory
            raise OverflowError(bufsize)
        return super()._sock_recv(bufsize)


class Session:
    """One connection, from TCP to its end; used by the link's thread only."""

    def __init__(self, line: Line, desk: Desk, note: Callable[..., None], *, first: bool) -> None:
        """`note` hears of `connected`, `error`, and of one more session `begun`."""
        self._line = line
        self._desk = desk
        self._note = note
        self._first = first
        self._client: DialledClient | None = None
        self._conn = 0
        self._ended: Ended | None = None
        self._birth_s: float | None = None
        self.is_up = False  # the broker has accepted us
        self._born = False  # link and about are out
        self._state_sent = False  # the newest state is out: the backlog may follow
        self._live: deque[Row] = deque()
        self._answers: deque[tuple[str, str, Any]] = deque()  # topic, answer, properties
        self._in_flight: dict[int, _Sent] = {}
        self._acks: list[tuple[int, Any]] = []
        # The backlog: rows after the cursor up to here that are not confirmed and not in flight.
        self._cursor = self._until = 0
        self._drained = False
        self._history_s = 0.0
        self._room = FIRST_ROOM
        self._window = WINDOW
        self._quickest_s = math.inf
        self._has_history_got_through = 0
        # What the broker has said, or shown: the largest payload.
        self._largest = 1 << 28
        self._refusals: dict[str, int] = {}
        self._complaints: dict[str, LinkTrouble] = {}
        self._warned: set[str] = set()
        self._commands = float(MOST_COMMANDS)
        self._command_s = time.monotonic()
        self._is_flooded = False
        self._of_state: Any = None
        self._of_others: Any = None
        if line.v5:
            self._of_state = _Packed(_content_type(STATE_EXPIRY_S).pack())
            self._of_others = _Packed(_content_type().pack())

    def run(self) -> None:
        """Connect and serve until asked to stop. Raises Ended, or whatever connecting raises."""
        line, desk = self._line, self._desk
        broker = line.broker
        client = self._client = self._make_client()
        client.dialled = line.dial.connect(desk.wait, desk.wake)
        client.connect(
            broker.host,
            broker.port,
            keepalive=broker.keepalive_s,
            properties=self._connect_properties(),
        )
        limit_s = time.monotonic() + CONNECT_LIMIT_S
        while not desk.stopping.is_set():
            self._serve()
            now_s = time.monotonic()
            self._settle(now_s)
            if self._ended is not None:
                raise self._ended
            if not self.is_up and now_s > limit_s:
                raise Ended(NO_LOGIN, where=line.where)
            self._be_born(now_s)
            self._take_work()
            self._pump(now_s)
            desk.queues = len(self._live) + len(self._answers), len(self._in_flight)
            self._check_progress(now_s)
        self._say_goodbye()

    def close(self) -> None:
        """Let go of the socket; rows in flight stay in the store and go again."""
        client, self._client = self._client, None
        if client is None:
            return
        client.on_disconnect = None
        dialled = getattr(client, "dialled", None)
        for sock in (client.socket(), dialled):
            if sock is not None:
                sock.close()
        history = [sent.size for sent in self._in_flight.values() if sent.history]
        if history and max(history) > self._has_history_got_through:
            self._line.sizes.suspect(max(history))

    def _make_client(self) -> DialledClient:
        line = self._line
        broker = line.broker
        client = DialledClient(
            CallbackAPIVersion.VERSION2,
            client_id=line.id,
            protocol=MQTTv5 if line.v5 else MQTTv311,
            reconnect_on_failure=False,
            **({} if line.v5 else {"clean_session": True}),  # type: ignore[arg-type]
        )
        client.suppress_exceptions = False
        client.max_inflight_messages_set(WINDOW)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = lambda client, userdata, mid, reason, _: self._acks.append(
            (mid, reason)
        )
        client.on_message = self._arrived
        client.on_subscribe = self._subscribed
        check_files(broker)
        give_login(client, broker)
        self._conn = line.store.next_conn(line.clock.now())
        will: Any = None
        if line.v5:
            will = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
            will.WillDelayInterval = WILL_DELAY_S
            will.ContentType = "application/json"
        client.will_set(
            line.topics.of("link"),
            messages.link(False, line.store.boot, self._conn, None),
            qos=1,
            retain=True,
            properties=will,
        )
        return client

    def _connect_properties(self) -> Any:
        if not self._line.v5:
            return None
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = LARGEST_PACKET  # nobody may fill our memory
        return properties

    def _serve(self) -> None:
        """Move bytes until something is to be done."""
        client = self._client
        assert client is not None
        sock: Any = client.socket()
        if sock is None:
            raise self._ended or Ended(LOST, where=self._line.where, reason=marked("it hung up"))
        events = select.POLLIN | (select.POLLOUT if client.want_write() else 0)
        is_pending = _holds_bytes(sock)
        found = self._desk.poll(sock, events, 0.0 if is_pending else self._wait_s())
        try:
            if is_pending or found & ~select.POLLOUT:
                for _ in range(MOST_READS):
                    client.loop_read()
                    if client.holds_any():  # it would keep whatever comes, without a limit
                        flaw = marked("it sends with QoS 2, which nobody asked for")
                        raise Ended(NOT_MQTT, where=self._line.where, flaw=flaw)
                    if client.socket() is not sock or not _holds_bytes(sock):
                        break
            if found & select.POLLOUT:
                client.loop_write()
            client.loop_misc()
        except Ended:
            raise
        except OSError as error:
            reason = error.strerror or str(error)
            raise Ended(LOST, where=self._line.where, reason=reason) from error
        except OverflowError as error:
            where, topic = self._line.where, self._line.commands
            raise Flooded(FLOODED, where=where, topic=topic, size=error.args[0]) from error
        except Exception as error:  # paho raises what it likes on bytes that are not MQTT
            flaw = f"{type(error).__name__}: {error}"
            raise Ended(NOT_MQTT, where=self._line.where, flaw=flaw) from error

    def _wait_s(self) -> float:
        assert self._client is not None
        is_waiting = not self.is_up or bool(self._in_flight)
        # The broker may have named a keepalive of its own, up to 18 hours; 0 is none.
        wait_s = 1.0 if is_waiting else min(self._client.keepalive or 60, 60) / 4
        now_s = time.monotonic()
        if self._birth_s is not None and not self._born:
            return min(wait_s, self._birth_s - now_s)
        if self._may_send_history():
            return min(wait_s, self._history_s - now_s)
        return wait_s

    def _be_born(self, now_s: float) -> None:
        """Say who we are, after a random while on a reconnect, and ask for a fresh state."""
        if not self.is_up or self._born or self._birth_s is None or now_s < self._birth_s:
            return
        line = self._line
        self._born = True
        # What is recorded from here on goes live; what stands before it is the backlog.
        self._until = line.store.last_id()
        self._cursor, self._drained, self._state_sent = 0, False, False
        self._live.clear()
        # Units that begin together, as when the power comes back, do not all send theirs at once.
        self._history_s = now_s + random.uniform(0, line.broker.spread_s)
        now = line.clock.now()
        birth = messages.link(True, line.store.boot, self._conn, now)
        self._publish("link", birth, retain=True)
        self._publish_about()
        line.on_up()

    def _publish_about(self) -> None:
        about = self._line.about
        if self._fits(len(about.encode())):
            self._publish("about", about, retain=True)

    def _take_work(self) -> None:
        work = self._desk.work
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
                    self._publish_about()
            elif self.is_up:
                self._answer(*thing)

    def _answer(self, request: Request, cid: str, answer: str) -> None:
        correlation = request.correlation or b""
        topics = self._line.topics
        topic = request.response_topic or ""
        # Whoever commands does not get to speak in a tent's name, nor to upset the broker.
        is_tents = topic.startswith(topics.prefix + "/") and not topic.startswith(topics.of("res/"))
        is_odd = len(topic) > 200 or topic.count("/") > 20 or set(topic) & set("+#$")
        if not topic or is_tents or is_odd or not topic.isprintable():
            topic = topics.of(f"res/{cid}")
        size = len(answer.encode()) + len(correlation) + len(topic.encode())
        if size + AROUND_PAYLOAD > self._largest:
            self._warn("large", f"an answer of {size} bytes is too large for the broker: not sent")
            return
        if len(self._answers) >= MOST_COMMANDS:
            self._line.unanswered += 1
            return
        properties = self._of_others
        if self._line.v5 and correlation:
            properties = _content_type()
            properties.CorrelationData = correlation
        self._answers.append((topic, answer, properties))

    def _pump(self, now_s: float) -> None:
        """Send what the window has room for: live rows, then a piece of the backlog.

        Answers, which others cause, have a window of their own.
        """
        while self._answers and len(self._in_flight) - self._own_in_flight() < self._window:
            topic, answer, properties = self._answers.popleft()
            self._send(topic, answer, (), is_answer=True, properties=properties)
        if not self._born:
            return
        newest = next((row.id for row in reversed(self._live) if row.kind == "state"), 0)
        if len(self._live) > MOST_LIVE:
            newest = newest or self._live[-1].id + 1
            self._backlog_until(newest - 1)
            self._live = deque(row for row in self._live if row.id >= newest)
        while self._live and self._own_in_flight() < self._window:
            row = self._live.popleft()
            if row.kind == "state" and row.id < newest:
                self._backlog_until(row.id)  # overtaken: it is history now
                continue
            self._state_sent = self._state_sent or row.kind == "state"
            if self._fits(len(row.body.encode())):
                self._publish(row.kind, row.body, (row,), retain=row.kind == "state")
        if self._may_send_history() and now_s >= self._history_s:
            self._publish_history(now_s)

    def _own_in_flight(self) -> int:
        """Return how many messages that are no answers wait for their PUBACK."""
        return sum(not sent.is_answer for sent in self._in_flight.values())

    def _backlog_until(self, row_id: int) -> None:
        self._until, self._drained = max(self._until, row_id), False

    def _may_send_history(self) -> bool:
        """Say whether there is a backlog and nothing of it under way: only so it stays in order."""
        return (
            self._state_sent
            and not self._drained
            and self._own_in_flight() < self._window
            and not any(sent.history for sent in self._in_flight.values())
        )

    def _publish_history(self, now_s: float) -> None:
        line = self._line
        room = min(self._room, line.sizes.room(), self._largest) - AROUND_RECORDS
        found = line.store.backlog(self._cursor, self._until, max(0, room))
        if not found:
            self._drained = True
            return
        self._cursor = found[-1].id
        # Rows that were overtaken lie among rows that go live.
        others = {row_id for sent in self._in_flight.values() for row_id in sent.ids}
        others.update(row.id for row in self._live)
        rows = [
            row for row in found if row.id not in others and self._fits(row.room + AROUND_RECORDS)
        ]
        records = []
        for row in [*rows]:
            try:
                record = line.stamps.stamp(row)
                record.encode()
            except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
                line.store.give_up(row.id)  # it would hold up all that come after it
                rows.remove(row)
            else:
                records.append(record)
        if not rows:
            return
        payload = messages.history(line.id, records)
        sent = self._publish("history", payload, rows, history=True)
        pace_s = sent.size / (1024 * line.broker.history_kib_per_s)
        self._history_s = now_s + pace_s * random.uniform(0.75, 1.25)

    def _fits(self, size: int) -> bool:
        """Say whether the broker takes so many bytes; a record that it never takes stays in the store."""
        largest = min(self._largest, self._line.sizes.payload())
        if size <= largest:
            return True
        self._complain("size", LinkTrouble(TOO_LARGE, where=self._line.where, size=size))
        return False

    def _publish(
        self,
        what: str,
        payload: str,
        rows: Sequence[Row] = (),
        *,
        retain: bool = False,
        history: bool = False,
    ) -> "_Sent":
        properties = self._of_state if what == "state" else self._of_others
        topic = self._line.topics.of(what)
        return self._send(
            topic, payload, rows, retain=retain, history=history, properties=properties
        )

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
    ) -> "_Sent":
        assert self._client is not None
        content = payload.encode()
        info = self._client.publish(topic, content, qos=1, retain=retain, properties=properties)
        ids = tuple(row.id for row in rows)
        sent = _Sent(topic, payload, len(content), ids, history, is_answer, time.monotonic())
        self._in_flight[info.mid] = sent
        return sent

    def _settle(self, now_s: float) -> None:
        """Do what the broker's answers to our messages ask for."""
        acks, self._acks = self._acks, []
        confirmed: list[int] = []
        for mid, reason in acks:
            sent = self._in_flight.pop(mid, None)
            if sent is None:
                continue
            if reason.is_failure:
                self._refused(sent, reason, now_s)
                continue
            confirmed += sent.ids
            took_s = now_s - sent.at_s
            self._desk.confirmed, self._desk.puback_s = self._desk.confirmed + 1, took_s
            self._quickest_s = min(self._quickest_s, took_s)
            if sent.history:
                self._adapt(sent, took_s, now_s)
            if sent.topic in self._complaints:
                self._complain(sent.topic, None)
                self._refusals.pop(sent.topic, None)
            if self._line.on_sent is not None:
                self._line.on_sent(sent.topic, sent.payload)
        if confirmed:
            self._line.store.confirm(confirmed)

    def _adapt(self, sent: "_Sent", took_s: float, now_s: float) -> None:
        """Let the size of history messages, and the pauses between them, follow what the link bears."""
        self._line.sizes.acquit()
        self._has_history_got_through = max(self._has_history_got_through, sent.size)
        if took_s <= 2 * self._quickest_s + 0.5:
            self._room = min(2 * self._room, messages.HISTORY_MAX_BYTES)
        elif took_s > 2 * self._quickest_s + 2.0:
            self._room = max(self._room // 2, LEAST_ROOM)
        rest_s = min(LONGEST_REST_S, HISTORY_REST * took_s) * random.uniform(0.75, 1.25)
        self._history_s = max(self._history_s, now_s + rest_s)

    def _refused(self, sent: "_Sent", reason: Any, now_s: float) -> None:
        """Keep what the broker has refused, say so, and try again later."""
        line = self._line
        if sent.is_answer:
            self._warn("answer", f"the broker refused an answer on {sent.topic} ({reason})")
            return
        if reason.value == refusals.PACKET_TOO_LARGE:
            line.sizes.refused(sent)
            trouble = LinkTrouble(TOO_LARGE, where=line.where, size=sent.size)
        else:
            trouble = refused_message(line.where, sent.topic, reason)
        self._complain(sent.topic, trouble)
        if not sent.ids:
            return
        if reason.value == refusals.PACKET_TOO_LARGE:
            if sent.history:  # in smaller pieces at once; what is too large alone is passed over
                self._cursor, self._drained = 0, False
            return
        times = self._refusals[sent.topic] = min(self._refusals.get(sent.topic, 0) + 1, 16)
        wait_s = min(line.broker.longest_wait_s, REFUSED_WAIT_S * 2 ** (times - 1))
        again_s = now_s + wait_s * random.uniform(0.5, 1)
        if sent.history:
            self._cursor, self._drained = 0, False
            self._history_s = max(self._history_s, again_s)
        else:
            # What goes live goes to the store as well: all of it is backlog after the next birth.
            self._born, self._birth_s = False, again_s

    def _complain(self, about: str, trouble: LinkTrouble | None) -> None:
        """Tell once what the broker does not take, or with None that it takes it now."""
        if trouble is None:
            self._complaints.pop(about, None)
        elif about not in self._complaints:
            self._complaints[about] = trouble
            log.warning("%s", trouble)
        self._note(connected=True, trouble=next(iter(self._complaints.values()), None))

    def _warn(self, about: str, text: str) -> None:
        """Log what others can cause as often as they like: once a session."""
        if about not in self._warned:
            self._warned.add(about)
            log.warning("%s", text)

    def _check_progress(self, now_s: float) -> None:
        oldest = next(iter(self._in_flight.values()), None)
        if oldest is not None and now_s - oldest.at_s > PUBACK_LIMIT_S:
            raise Ended(NO_PUBACK, where=self._line.where, seconds=round(PUBACK_LIMIT_S))

    def _say_goodbye(self) -> None:
        """Publish `online: false` and leave, waiting for the broker's word half a second at most."""
        client, line = self._client, self._line
        assert client is not None
        if not self.is_up:
            return
        goodbye = messages.link(False, line.store.boot, self._conn, line.clock.now())
        self._take_work()
        self._pump(time.monotonic())
        self._publish("link", goodbye, retain=True)
        limit_s = time.monotonic() + 0.5
        while self._in_flight and client.socket() is not None and time.monotonic() < limit_s:
            sock: Any = client.socket()
            if self._desk.poll(sock, select.POLLIN, 0.05):
                client.loop_read()
            if client.want_write():
                client.loop_write()
            self._settle(time.monotonic())
        client.disconnect()

    # paho's callbacks, which run inside loop_read and loop_misc

    def _connected(
        self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        line = self._line
        if self.is_up:
            flaw = marked("it has answered the login twice")
            self._ended = Ended(NOT_MQTT, where=line.where, flaw=flaw)
            return
        if reason.is_failure:
            self._ended = refused_login(line.broker, line.id, reason, properties)
            return
        self.is_up = True
        self._note(connected=True, trouble=None, begun=1)
        log.info("connected to %s", line.where)
        self._window = max(1, min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW)))
        assert isinstance(client, DialledClient)
        client.allow(self._window)
        packet = getattr(properties, "MaximumPacketSize", None)
        if packet is not None:
            around = AROUND_PAYLOAD + len(line.topics.of("history").encode())
            self._largest = max(0, packet - around)
        spread_s = 0.0 if self._first else line.broker.spread_s
        self._birth_s = time.monotonic() + random.uniform(0, spread_s)
        topic = line.commands
        if time.monotonic() < line.deaf_until_s:
            self._complain("commands", LinkTrouble(DEAF, topic=topic))
        elif line.v5:
            # Retained flags as published: a command to be refused must show what it is.
            client.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=True))
        else:
            client.subscribe(topic, qos=1)

    def _subscribed(
        self, client: Client, userdata: Any, mid: int, reasons: Any, properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            line = self._line
            topic = line.topics.of("cmd/#")
            self._complain("deaf", LinkTrouble(refusals.NO_COMMANDS, where=line.where, topic=topic))

    def _disconnected(
        self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if self._ended is not None:
            return
        line = self._line
        code = reason.value if flags.is_disconnect_packet_from_server else 0
        if code == refusals.SESSION_TAKEN_OVER:
            self._ended = TakenOver(TAKEN_OVER, where=line.where, id=line.id)
            return
        if code in (refusals.USE_ANOTHER_SERVER, refusals.SERVER_MOVED):
            self._ended = moved(line.where, reason, properties)
            return
        if code == refusals.PACKET_TOO_LARGE and self._in_flight:
            line.sizes.refused(max(self._in_flight.values(), key=lambda sent: sent.size))
        protocol = line.broker.protocol
        kind = LOST if self.is_up else HUNG_UP
        self._ended = Ended(kind, where=line.where, reason=str(reason), protocol=protocol)

    def _arrived(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        now_s = time.monotonic()
        passed_s, self._command_s = now_s - self._command_s, now_s
        self._commands = min(MOST_COMMANDS, self._commands + passed_s * COMMANDS_PER_S)
        if self._commands < 1:
            if not self._is_flooded:
                log.warning("more commands come than an operator sends: some are ignored")
            self._is_flooded = True
            return
        self._is_flooded = self._is_flooded and self._commands < MOST_COMMANDS
        self._commands -= 1
        name = message.topic.rpartition("/")[2]
        properties = message.properties
        self._line.on_request(
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
    """A message that waits for its PUBACK; `size` is the payload's, in bytes."""

    topic: str
    payload: str
    size: int
    ids: tuple[int, ...]
    history: bool
    is_answer: bool
    at_s: float


class _Packed:
    """Properties as bytes: to pack them again for each message takes paho as long as to send it."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def pack(self) -> bytes:
        return self._packed


def _holds_bytes(sock: object) -> bool:
    """Say whether TLS has decrypted bytes that poll cannot see."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def _content_type(expiry_s: int | None = None) -> Any:
    properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = "application/json"
    if expiry_s is not None:
        properties.MessageExpiryInterval = expiry_s
    return properties


def give_login(client: Client, broker: BrokerSettings) -> None:
    """Tell a client the user and the password. Raises OSError or UnicodeError."""
    if broker.username is None:
        return
    password = None
    if broker.password_file is not None:
        # Some editors put a mark before the text.
        password = Path(broker.password_file).read_text(encoding="utf-8-sig").strip()
    client.username_pw_set(broker.username, password)


def refused_login(broker: BrokerSettings, tent_id: str, reason: Any, properties: Any) -> Ended:
    """Return what it means that the broker has refused the login."""
    where = f"{broker.host}:{broker.port}"
    kind = refusals.of_login(reason.value)
    if kind is refusals.MOVED:
        return moved(where, reason, properties)
    return Ended(
        kind,
        where=where,
        reason=str(reason),
        reason_code=reason.value,
        id=tent_id,
        topic=Topics(broker.prefix, tent_id).of("link"),
        protocol=broker.protocol,
        other="3.1.1" if broker.protocol == "5" else "5",
    )


def moved(where: str, reason: Any, properties: Any) -> Ended:
    """Return which broker is to be used instead, where this one says so."""
    server = getattr(properties, "ServerReference", "")
    if not server.isprintable() or not 0 < len(server) <= 200:
        server = refusals.UNNAMED
    return Ended(
        refusals.MOVED, where=where, reason=str(reason), reason_code=reason.value, server=server
    )


def refused_message(where: str, topic: str, reason: Any) -> LinkTrouble:
    """Return what it means that the broker has refused a message on a topic."""
    kind = refusals.of_message(reason.value)
    return LinkTrouble(kind, where=where, topic=topic, reason=str(reason), reason_code=reason.value)
