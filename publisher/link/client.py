"""The MQTT client: paho's, on a socket that is connected already. No other module imports paho.

It speaks MQTT 5 or 3.1.1 as the configuration says, with a clean session, and sends with QoS 1. The
broker's packets go to a `Listener`, in the thread that calls `serve`.
"""

import select
import socket
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from paho.mqtt.client import Client as Paho
from paho.mqtt.client import MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from publisher.config.sections import BrokerSettings
from publisher.link.credentials import read_password
from publisher.link.refusals import (
    NO_QOS_1_CODE,
    NO_RETAIN_CODE,
    PACKET_TOO_LARGE,
    PAYLOAD_INVALID,
    Reason,
)
from publisher.link.troubles import FLOODED, IT_HUNG_UP, LOST, NOT_MQTT, Ended, Flooded
from publisher.messages import Topics
from sensors.trouble import marked

#: The first byte of each packet that a broker may send us, but for messages (MQTT 5, table 2.2).
_CONNACK, _PUBACK, _SUBACK, _PINGRESP, _DISCONNECT = 0x20, 0x40, 0x90, 0xD0, 0xE0
#: In the first byte of a message: its kind, and that it has QoS 2.
_PUBLISH, _QOS_2 = 0x30, 0x04
#: Largest packet that a broker may send us, in bytes; commands are far smaller.
LARGEST_PACKET = 64 * 1024
#: Bytes of a packet besides payload and topic: header, id, properties.
AROUND_PAYLOAD = 48
#: Most packets read in a row, so that a flood from the broker does not stop all other work.
MOST_READS = 100
WILL_DELAY_S = 5
# What a broker may not send.
QOS_2 = marked("it sends with QoS 2, which nobody asked for")
UNASKED = marked("it sends a packet that nobody asked for")
TOO_LONG = marked("it sends a packet longer than it may be")
CONTENT_TYPE = "application/json"

# Mosquitto refuses a message above its message_size_limit with "Packet too large", which the standard does
# not allow there. paho does not know "Payload format invalid" as an answer to the login. It would treat
# either as a broken packet and disconnect.
for _code, _name, _packet in (
    (PACKET_TOO_LARGE, "Packet too large", PacketTypes.PUBACK),
    (PAYLOAD_INVALID, "Payload format invalid", PacketTypes.CONNACK),
):
    if _packet not in ReasonCode.names[_code][_name]:
        ReasonCode.names[_code][_name].append(_packet)
#: The byte after the number in a successful PUBACK, if there is one: "Success", or "No matching subscribers".
_TAKEN = (b"\x00", b"\x10")
_SUCCESS = ReasonCode(PacketTypes.PUBACK)

#: Waits for poll(2) events on a socket, at most the given seconds; returns the events that have occurred.
Poll = Callable[[socket.socket, int, float], int]


class Welcome(NamedTuple):
    """The broker's limits when it accepts the login; None where it states none."""

    most_in_flight: int | None
    largest_packet: int | None


class Arrived(NamedTuple):
    """A message from the broker."""

    topic: str
    payload: bytes
    retained: bool
    response_topic: str | None
    correlation: bytes | None


class Listener(Protocol):
    """Receives the broker's packets. The methods run within `Client.serve`."""

    def welcomed(self, welcome: Welcome) -> None:
        """The broker has accepted the login."""

    def refused(self, reason: Reason) -> None:
        """The broker has refused the login, or it lacks retained messages or QoS 1."""

    def acknowledged(self, number: int, reason: Reason | None) -> None:
        """The broker has accepted a message (None), or has refused it, by a PUBACK."""

    def subscribed(self, reason: Reason | None) -> None:
        """The broker has granted a subscription (None), or has refused it."""

    def arrived(self, message: Arrived) -> None:
        """A message has come."""

    def disconnected(self, reason: Reason, *, by_broker: bool) -> None:
        """The connection has ended; `by_broker`: with the broker's own reason."""


class Client:
    """One connection of a tent to its broker, from the login to its end; used by one thread only.

    All logins of a tent are the same: a broker may refuse its id, its will, or that this is retained.
    """

    def __init__(
        self, broker: BrokerSettings, tent_id: str, will: str, listener: Listener, *, window: int
    ) -> None:
        """`will` is published as the tent's `link` when the connection is lost. Raises Unusable.

        `window`: messages that may wait for their PUBACK.
        """
        self._broker = broker
        self._listener = listener
        self._where = f"{broker.host}:{broker.port}"
        self._v5 = broker.protocol == "5"
        self._packed: dict[int | None, _Packed] = {}
        self._subscription: int | None = None  # the number of its packet
        self._paho = paho = _Paho(
            CallbackAPIVersion.VERSION2,
            client_id=tent_id,
            protocol=MQTTv5 if self._v5 else MQTTv311,
            reconnect_on_failure=False,
            **({} if self._v5 else {"clean_session": True}),  # type: ignore[arg-type]
        )
        paho.suppress_exceptions = False
        paho.max_inflight_messages_set(window)
        if broker.username is not None:
            paho.username_pw_set(broker.username, read_password(broker))
        paho.will_set(
            Topics(broker.prefix, tent_id).of("link"),
            will,
            qos=1,
            retain=True,
            properties=_of_will() if self._v5 else None,
        )
        paho.on_connect = self._on_connect
        paho.on_disconnect = self._on_disconnect
        paho.on_publish = self._on_publish
        paho.on_subscribe = self._on_subscribe
        paho.on_message = self._on_message

    def log_in(self, sock: socket.socket) -> None:
        """Begin the login on a connected socket, which the client then owns."""
        properties: Any = None
        if self._v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = LARGEST_PACKET  # so that no broker can fill our memory
        self._paho.dialled = sock
        broker = self._broker
        self._paho.connect(
            broker.host, broker.port, keepalive=broker.keepalive_s, properties=properties
        )

    @property
    def keepalive_s(self) -> int:
        """Seconds between pings, 0 for none: our setting, or the broker's instead."""
        return self._paho.keepalive

    def is_open(self) -> bool:
        """Say whether there is a connection."""
        return self._paho.socket() is not None

    def allow(self, window: int) -> None:
        """Limit the messages that wait for their PUBACK, as the broker requests at the login."""
        self._paho.allow(window)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry_s: int | None = None,
        correlation: bytes = b"",
    ) -> int:
        """Send a message; return the number by which it is acknowledged.

        With MQTT 5 the broker forgets it after `expiry_s`.
        """
        properties: Any = self._properties(expiry_s, correlation) if self._v5 else None
        return self._paho.publish(topic, payload, 1, retain, properties).mid

    def subscribe(self, topic: str) -> None:
        """Subscribe; with MQTT 5 retained messages are marked as such."""
        self._paho.subscribed = topic.rstrip("+#").encode()
        if self._v5:
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            _, self._subscription = self._paho.subscribe(topic, options=options)
        else:
            _, self._subscription = self._paho.subscribe(topic, qos=1)

    def serve(self, poll: Poll, wait_s: float) -> None:
        """Read and write until a packet has arrived, at most `wait_s`. Raises Ended."""
        paho = self._paho
        sock: Any = paho.socket()
        if sock is None:
            raise Ended(LOST, where=self._where, reason=IT_HUNG_UP)
        events = select.POLLIN | (select.POLLOUT if paho.want_write() else 0)
        is_pending = _holds_bytes(sock)
        found = poll(sock, events, 0.0 if is_pending else wait_s)
        try:
            if is_pending or found & ~select.POLLOUT:
                self._read(sock)
            if found & select.POLLOUT:
                paho.loop_write()
            paho.loop_misc()
        except _TooLargeError as error:
            raise Flooded(FLOODED, where=self._where, size=error.size) from None
        except _BreachError as error:
            raise Ended(NOT_MQTT, where=self._where, flaw=str(error)) from None
        except Ended:
            raise
        except OSError as error:
            reason = error.strerror or str(error)
            raise Ended(LOST, where=self._where, reason=reason) from error
        except Exception as error:  # paho raises various exceptions on bytes that are not MQTT
            flaw = f"{type(error).__name__}: {error}"
            raise Ended(NOT_MQTT, where=self._where, flaw=flaw) from error

    def _read(self, sock: Any) -> None:
        paho = self._paho
        for _ in range(MOST_READS):
            paho.loop_read()
            if paho.socket() is not sock or not _holds_bytes(sock):
                break

    def log_out(self) -> None:
        """Disconnect in order, so that the broker publishes no will. `disconnected` is not called."""
        self._paho.on_disconnect = None
        self._paho.disconnect()

    def close(self) -> None:
        """Close the socket."""
        paho = self._paho
        paho.on_disconnect = None
        for sock in (paho.socket(), paho.dialled):
            if sock is not None:
                sock.close()

    def _properties(self, expiry_s: int | None, correlation: bytes) -> "_Packed":
        """Return a message's properties as bytes, packed once: packing costs as much as sending."""
        packed = None if correlation else self._packed.get(expiry_s)
        if packed is None:
            properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ContentType = CONTENT_TYPE
            if expiry_s is not None:
                properties.MessageExpiryInterval = expiry_s
            if correlation:
                properties.CorrelationData = correlation
            packed = _Packed(properties.pack())
            if not correlation:
                self._packed[expiry_s] = packed
        return packed

    # paho's callbacks, which run inside loop_read and loop_misc

    def _on_connect(self, _: Any, __: Any, ___: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._listener.refused(_reason(reason, properties))
            return
        # A broker may take the login although it has not what all messages of ours need.
        if getattr(properties, "RetainAvailable", 1) == 0:
            self._listener.refused(Reason(NO_RETAIN_CODE, "Retain not supported"))
            return
        if getattr(properties, "MaximumQoS", 1) == 0:
            self._listener.refused(Reason(NO_QOS_1_CODE, "QoS not supported"))
            return
        most = getattr(properties, "ReceiveMaximum", None)
        largest = getattr(properties, "MaximumPacketSize", None)
        self._listener.welcomed(Welcome(most, largest))

    def _on_publish(self, _: Any, __: Any, number: int, reason: Any, ___: Any) -> None:
        self._listener.acknowledged(number, _reason(reason) if reason.is_failure else None)

    def _on_subscribe(self, _: Any, __: Any, number: int, reasons: Any, ___: Any) -> None:
        if number != self._subscription or not reasons:
            return
        refused = [reason for reason in reasons if reason.is_failure]
        self._listener.subscribed(_reason(refused[0]) if refused else None)

    def _on_disconnect(self, _: Any, __: Any, flags: Any, reason: Any, properties: Any) -> None:
        by_broker = flags.is_disconnect_packet_from_server
        self._listener.disconnected(_reason(reason, properties), by_broker=by_broker)

    def _on_message(self, _: Any, __: Any, message: MQTTMessage) -> None:
        properties = message.properties
        self._listener.arrived(
            Arrived(
                message.topic,
                bytes(message.payload),
                message.retain,
                getattr(properties, "ResponseTopic", None),
                getattr(properties, "CorrelationData", None),
            )
        )


class _Paho(Paho):
    """paho's client with our own socket and limits."""

    dialled: socket.socket | None = None
    #: How the topics that we subscribe to begin; None before the subscription.
    subscribed: bytes | None = None

    def _create_socket(self) -> Any:
        return self.dialled

    def allow(self, messages: int) -> None:
        self._max_inflight_messages = messages

    def _sock_recv(self, bufsize: int) -> bytes:
        packet = self._in_packet
        if not packet["have_remaining"] or packet["remaining_length"] <= LARGEST_PACKET:
            return super()._sock_recv(bufsize)
        # MQTT 3.1.1 cannot forbid it to the broker. Bytes that are no MQTT can look like it: read on until
        # the topic proves that it is a command.
        if packet["command"] & 0xF0 != _PUBLISH or self.subscribed is None:
            raise _BreachError(TOO_LONG)
        missing = 2 + len(self.subscribed) - len(packet["packet"])  # 2 bytes: the topic's length
        data = super()._sock_recv(missing)
        topic = (packet["packet"] + data)[2:]
        if not self.subscribed.startswith(topic):
            raise _BreachError(TOO_LONG)
        if topic == self.subscribed:
            raise _TooLargeError(packet["remaining_length"])
        return data

    def _packet_handle(self) -> Any:
        # paho takes a PUBCOMP, or a PUBREC and a PUBCOMP, for the confirmation of a QoS 1 message. It keeps
        # messages of QoS 2 without a limit.
        first = self._in_packet["command"]
        if first & 0xF0 == _PUBLISH:
            if first & _QOS_2:
                raise _BreachError(QOS_2)
        elif first not in (_CONNACK, _PUBACK, _SUBACK, _PINGRESP, _DISCONNECT):
            raise _BreachError(UNASKED)
        return super()._packet_handle()

    def _handle_connack(self) -> Any:
        # paho does not report MQTT 3.1.1's "unacceptable protocol version".
        if self._protocol == MQTTv311 and self._in_packet["packet"][1:2] == b"\x01":
            unknown = ReasonCode(PacketTypes.CONNACK, "Unsupported protocol version")
            on_connect: Any = self.on_connect
            on_connect(self, None, None, unknown, None)
        return super()._handle_connack()

    def _handle_pubackcomp(self, cmd: Any) -> Any:
        # paho makes objects for an acknowledgement that cost a sixth of a message's time.
        packet = self._in_packet["packet"]
        is_v5_success = self._protocol == MQTTv5 and packet[2:] in _TAKEN
        if len(packet) != 2 and (len(packet) != 3 or not is_v5_success):
            return super()._handle_pubackcomp(cmd)
        number = int.from_bytes(packet[:2])
        with self._out_message_mutex:
            if number in self._out_messages:
                nothing: Any = None
                return self._do_on_publish(number, _SUCCESS, nothing)
        return MQTTErrorCode.MQTT_ERR_SUCCESS


class _BreachError(Exception):
    """The broker sends what MQTT does not allow it to send us; its text says what."""


class _TooLargeError(Exception):
    """The broker sends a command of more bytes than any command has."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class _Packed:
    """Properties as bytes."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def pack(self) -> bytes:
        return self._packed


def _of_will() -> Any:
    properties: Any = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
    properties.WillDelayInterval = WILL_DELAY_S
    properties.ContentType = CONTENT_TYPE
    return properties


def _reason(reason: Any, properties: Any = None) -> Reason:
    return Reason(reason.value, str(reason), getattr(properties, "ServerReference", ""))


def _holds_bytes(sock: object) -> bool:
    """Say whether TLS has decrypted bytes that poll cannot see."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
