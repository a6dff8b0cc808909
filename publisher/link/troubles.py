"""The link's troubles: their tree, and the kinds of a session.

    LinkTrouble
    ├── Unusable      there is no connection (dial.py), or a file that it needs cannot be used
    │   └── Denied      this user may not read that file
    └── Ended         a session is over
        ├── TakenOver   another client has connected with this unit's id
        └── Flooded     the broker sent more at once than the unit can hold

The kinds of connecting are in dial.py, those of a broker's refusals in refusals.py.
"""

from sensors.trouble import Severity, Trouble, declare, marked

#: Checks of `tentwatch doctor` that the link's troubles concern.
FILES_CHECK, NAME_CHECK, TCP_CHECK, TLS_CHECK = (
    "config.secrets",
    "broker.name",
    "broker.tcp",
    "broker.tls",
)
LOGIN_CHECK, PUBLISH_CHECK, COMMANDS_CHECK = "broker.login", "broker.publish", "broker.commands"
ROUND_TRIP_CHECK = "broker.round_trip"


class LinkTrouble(Trouble):
    """Something is wrong with the link to the broker."""


class Unusable(LinkTrouble):
    """There is no connection."""


class Denied(Unusable):
    """This user may not read a file that the connection needs."""


class Ended(LinkTrouble):
    """The session is over."""


class TakenOver(Ended):
    """Another client has connected with this unit's id."""


class Flooded(Ended):
    """The broker sent more at once than the unit can hold."""


# The session's end

IT_HUNG_UP = marked("it hung up")
HUNG_UP = declare(
    "link.hung_up",
    marked("{where} hangs up at the login ({reason})"),
    marked(
        "the broker is full, wants TLS, or does not know MQTT {protocol}: check tls, port and "
        "protocol in [broker]"
    ),
    concerns=LOGIN_CHECK,
)
NO_LOGIN = declare(
    "link.login_unanswered",
    marked("{where} takes the connection and does not answer the login"),
    marked(
        "the broker hangs, or another service is on this port: check port, then tell the centre"
    ),
    concerns=LOGIN_CHECK,
)
NOT_MQTT = declare(
    "link.not_mqtt",
    marked("{where} does not speak MQTT as it should ({flaw})"),
    marked(
        "the broker hangs, or another service is on this port: check port, then tell the centre"
    ),
    concerns=LOGIN_CHECK,
)
LOST = declare(
    "link.lost",
    marked("the connection to {where} was lost ({reason})"),
    marked(
        "the way there breaks: look at the modem's signal; where it happens often, tell the centre"
    ),
    concerns=LOGIN_CHECK,
)
ENDED = declare(
    "link.ended",
    marked("{where} has ended the connection ({reason})"),
    marked("the broker's log tells why: ask the centre"),
    concerns=LOGIN_CHECK,
)
LOST_AGAIN = declare(
    "link.lost_again",
    marked(
        "the connection to {where} was lost {times} times in a row soon after the login; another unit "
        "may have the id {id}"
    ),
    marked(
        "where two units have one id, give each its own id in [tent] and its own user; else the broker "
        "may take no messages as large as this unit's: raise max_packet_size there"
    ),
    concerns=LOGIN_CHECK,
)
TAKEN_OVER = declare(
    "link.taken_over",
    marked("another unit is connected to {where} as {id}"),
    marked("two units have one id: give each its own id in [tent] and its own user"),
    concerns=LOGIN_CHECK,
)
NO_PUBACK = declare(
    "link.no_puback",
    marked("{where} has confirmed nothing for {seconds} s"),
    marked(
        "the broker hangs or the way there loses too much: look at the modem's signal, then tell the "
        "centre. Nothing is lost meanwhile"
    ),
    concerns=ROUND_TRIP_CHECK,
)
FLOODED = declare(
    "link.packet_too_large",
    marked("{where} sent a command of {size} bytes, and no command is as large"),
    marked(
        "delete the large retained command at the broker: the second one makes the unit deaf for an hour"
    ),
    concerns=COMMANDS_CHECK,
)

# During a session

DEAF = declare(
    "link.deaf",
    marked("a command was too large: none are heard for an hour"),
    marked("delete the retained message on {topic} at the broker"),
    concerns=COMMANDS_CHECK,
    severity=Severity.WARNING,
)
TOO_LARGE = declare(
    "link.too_large",
    marked("{where} takes no messages as large as this unit's ({size} bytes)"),
    marked(
        "raise max_packet_size or message_size_limit on the broker; until then they wait in the store"
    ),
    concerns=PUBLISH_CHECK,
    severity=Severity.WARNING,
)

# The link's own thread

DIED = declare(
    "link.thread_died",
    marked("the link's thread has died ({reason})"),
    marked("it has begun anew by itself; please report this"),
    concerns=LOGIN_CHECK,
)
STUCK = declare(
    "link.thread_stuck",
    marked("the link's thread has not moved for {seconds} s"),
    marked("it has begun anew by itself; please report this"),
    concerns=LOGIN_CHECK,
)
FAILED = declare(
    "link.failed",
    marked("the link has failed ({reason})"),
    marked("it begins again by itself; please report this"),
    concerns=LOGIN_CHECK,
)
