"""The broker's reason codes (MQTT 5, 2.4): the trouble and the cure of each.

paho translates the return codes of MQTT 3.1.1's CONNACK to those of MQTT 5.
"""

from typing import NamedTuple

from publisher.config.sections import BrokerSettings
from publisher.link.troubles import (
    COMMANDS_CHECK,
    ENDED,
    HUNG_UP,
    LOGIN_CHECK,
    LOST,
    PUBLISH_CHECK,
    TAKEN_OVER,
    Ended,
    LinkTrouble,
    TakenOver,
)
from publisher.messages import Topics
from sensors.trouble import Severity, declare, marked


class Reason(NamedTuple):
    """A reason code, its name in the standard, and the broker to use instead, if it names one."""

    code: int
    name: str
    server: str = ""


SESSION_TAKEN_OVER, PACKET_TOO_LARGE, PAYLOAD_INVALID = 0x8E, 0x95, 0x99
NO_RETAIN_CODE, NO_QOS_1_CODE = 0x9A, 0x9B

# The login

LOGIN_FAILED = declare(
    "link.login_failed",
    marked("{where} refuses the login ({reason})"),
    marked("the broker's log tells why: ask the centre"),
    concerns=LOGIN_CHECK,
)
LOGIN_REFUSED = declare(
    "link.login_refused",
    marked("{where} does not know this user or its password ({reason})"),
    marked("check username and the password in password_file; the centre must know this user"),
    concerns=LOGIN_CHECK,
)
PROTOCOL_UNKNOWN = declare(
    "link.protocol_unknown",
    marked("{where} does not know MQTT {protocol} ({reason})"),
    marked('set protocol = "{other}" in [broker]'),
    concerns=LOGIN_CHECK,
)
ID_REFUSED = declare(
    "link.id_refused",
    marked("{where} does not take {id} as the id of a client ({reason})"),
    marked(
        "set another id in [tent], which the centre must know; some brokers take 23 letters and digits "
        "at most"
    ),
    concerns=LOGIN_CHECK,
)
UNAVAILABLE = declare(
    "link.unavailable",
    marked("{where} is busy or out of service ({reason})"),
    marked("nothing to do here: the unit goes on trying; where it lasts, tell the centre"),
    concerns=LOGIN_CHECK,
)
FULL = declare(
    "link.quota",
    marked("{where} takes no more clients ({reason})"),
    marked("nothing to do here: the broker is full, and the unit goes on trying; tell the centre"),
    concerns=LOGIN_CHECK,
)
BANNED = declare(
    "link.banned",
    marked("{where} has banned this unit ({reason})"),
    marked(
        "the centre must lift the ban on this id, user or address; see that no other device uses them"
    ),
    concerns=LOGIN_CHECK,
)
OTHER_LOGIN = declare(
    "link.login_method",
    marked("{where} wants another kind of login ({reason})"),
    marked(
        "this unit has username and password_file, and cert_file and key_file: the centre must allow "
        "one of these"
    ),
    concerns=LOGIN_CHECK,
)
MOVED = declare(
    "link.moved",
    marked("{where} sends this unit to another broker ({reason}): {server}"),
    marked("write the new broker's name as host in [broker]; the centre knows it"),
    concerns=LOGIN_CHECK,
)
UNNAMED = marked("it does not say which")
#: Most characters of the other broker's name.
LONGEST_SERVER = 200
TOPIC_INVALID = declare(
    "link.topic_invalid",
    marked("{where} does not allow the topic {topic} ({reason})"),
    marked("check prefix in [broker] and id in [tent] against what the centre has given"),
    concerns=LOGIN_CHECK,
)
LOGIN_TOO_LARGE = declare(
    "link.login_too_large",
    marked("{where} takes no login as large as this unit's ({reason})"),
    marked("raise max_packet_size on the broker"),
    concerns=LOGIN_CHECK,
)
NO_RETAIN = declare(
    "link.no_retained",
    marked("{where} keeps no retained messages ({reason})"),
    marked("turn them on there (retain_available true): dashboards show a tent by them"),
    concerns=LOGIN_CHECK,
)
NO_QOS_1 = declare(
    "link.no_qos_1",
    marked("{where} does not confirm messages ({reason})"),
    marked("turn QoS 1 on there (max_qos 1): without it nobody knows what has arrived"),
    concerns=LOGIN_CHECK,
)

#: Reason codes of CONNACK (MQTT 5, table 3.2.2.2), but for those that mean LOGIN_FAILED.
_OF_LOGIN = {
    0x81: PROTOCOL_UNKNOWN,  # malformed packet
    0x82: PROTOCOL_UNKNOWN,  # protocol error
    0x84: PROTOCOL_UNKNOWN,  # unsupported protocol version
    0x85: ID_REFUSED,  # client identifier not valid
    0x86: LOGIN_REFUSED,  # bad user name or password
    0x87: LOGIN_REFUSED,  # not authorized: Mosquitto's word for a wrong password
    0x88: UNAVAILABLE,  # server unavailable
    0x89: UNAVAILABLE,  # server busy
    0x8A: BANNED,  # banned
    0x8C: OTHER_LOGIN,  # bad authentication method
    0x90: TOPIC_INVALID,  # topic name invalid: the will's
    PACKET_TOO_LARGE: LOGIN_TOO_LARGE,
    0x97: FULL,  # quota exceeded
    NO_RETAIN_CODE: NO_RETAIN,  # retain not supported
    NO_QOS_1_CODE: NO_QOS_1,  # QoS not supported
    0x9C: MOVED,  # use another server
    0x9D: MOVED,  # server moved
    0x9F: UNAVAILABLE,  # connection rate exceeded
}


def of_login(reason: Reason, broker: BrokerSettings, client_id: str) -> Ended:
    """Return the trouble of a refused login."""
    where = f"{broker.host}:{broker.port}"
    kind = _OF_LOGIN.get(reason.code, LOGIN_FAILED)
    if kind is MOVED:
        return _moved(reason, where)
    return Ended(
        kind,
        where=where,
        reason=reason.name,
        reason_code=reason.code,
        id=client_id,
        topic=Topics(broker.prefix, client_id).of("link"),
        protocol=broker.protocol,
        other="3.1.1" if broker.protocol == "5" else "5",
    )


#: Reason codes of DISCONNECT (MQTT 5, table 3.14.2.1) that mean the same as in CONNACK.
_OF_END = {0x89, 0x97, NO_RETAIN_CODE, NO_QOS_1_CODE, 0x9C, 0x9D, 0x9F}


def of_end(
    reason: Reason, broker: BrokerSettings, client_id: str, *, by_broker: bool, is_up: bool
) -> Ended:
    """Return the trouble of an ended connection.

    `by_broker`: the reason is the broker's own; `is_up`: it had accepted the login.
    """
    where = f"{broker.host}:{broker.port}"
    if by_broker and reason.code == SESSION_TAKEN_OVER:
        return TakenOver(TAKEN_OVER, where=where, id=client_id)
    if by_broker and reason.code in _OF_END:
        return of_login(reason, broker, client_id)
    kind = HUNG_UP
    if is_up:
        kind = ENDED if by_broker else LOST
    return Ended(kind, where=where, reason=reason.name, protocol=broker.protocol)


def _moved(reason: Reason, where: str) -> Ended:
    server = reason.server
    if not server.isprintable() or not 0 < len(server) <= LONGEST_SERVER:
        server = UNNAMED
    return Ended(MOVED, where=where, reason=reason.name, reason_code=reason.code, server=server)


# Messages

NOT_ALLOWED = declare(
    "link.not_allowed",
    marked("{where} refuses messages on {topic} ({reason})"),
    marked(
        "id in [tent] must be the broker's user, who may write under this id only: correct one of the "
        "two, or have the centre give the rights (docs/broker.md). Nothing is lost meanwhile"
    ),
    concerns=PUBLISH_CHECK,
)
MESSAGE_QUOTA = declare(
    "link.message_quota",
    marked("{where} takes no more messages now ({reason})"),
    marked(
        "nothing to do here: the broker is full, and the unit tries again; tell the centre. Nothing is "
        "lost meanwhile"
    ),
    concerns=PUBLISH_CHECK,
)
MESSAGE_REFUSED = declare(
    "link.message_refused",
    marked("{where} does not take messages on {topic} ({reason})"),
    marked("the broker's log tells why: ask the centre. Nothing is lost meanwhile"),
    concerns=PUBLISH_CHECK,
)
NO_COMMANDS = declare(
    "link.no_commands",
    marked("{where} lets this user read no commands"),
    marked("the broker's access rules must let this user read {topic} (docs/broker.md)"),
    concerns=COMMANDS_CHECK,
    severity=Severity.WARNING,
)

#: Reason codes of PUBACK (MQTT 5, table 3.4.2.1), but for those that mean MESSAGE_REFUSED.
_OF_MESSAGE = {
    0x87: NOT_ALLOWED,  # not authorized
    0x90: NOT_ALLOWED,  # topic name invalid
    0x97: MESSAGE_QUOTA,  # quota exceeded
}


def of_message(reason: Reason, where: str, topic: str) -> LinkTrouble:
    """Return what it means that the broker has refused a message that is not too large."""
    kind = _OF_MESSAGE.get(reason.code, MESSAGE_REFUSED)
    return LinkTrouble(kind, where=where, topic=topic, reason=reason.name, reason_code=reason.code)
