"""A login on trial: what a broker answers to it.

Doctor tries the unit's login where the unit is not connected. Both try MQTT 5 at a broker that hangs up at a
login with MQTT 3.1.1, which has no code for what the broker lacks.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import replace

from publisher import messages
from publisher.config.sections import BrokerSettings
from publisher.link.client import Arrived, Client, Welcome
from publisher.link.mailbox import Mailbox
from publisher.link.refusals import NO_QOS_1_CODE, NO_RETAIN_CODE, Reason, of_login
from publisher.link.troubles import HUNG_UP, Ended, Unusable

#: The will of a login on trial: true while the unit is not connected, and older than any of its own.
WILL = messages.link(False, 1, 1, None)
#: Longest wait for the broker's answer, in seconds.
ANSWER_S = 2.0


class Heard:
    """The broker's packets so far."""

    def __init__(self) -> None:
        self.is_welcome = False
        self.refusal: Reason | None = None  # of the login
        self.end: tuple[Reason, bool] | None = None  # with whether the broker gave the reason
        self.confirmed_s: float | None = None  # when it confirmed our message
        self.message_refusal: Reason | None = None
        self.is_subscribed = False  # it has answered the subscription
        self.commands_refusal: Reason | None = None

    def has_ended(self) -> bool:
        """Say whether nothing more can come."""
        return self.refusal is not None or self.end is not None

    def welcomed(self, welcome: Welcome) -> None:
        """The broker has accepted the login."""
        self.is_welcome = True

    def refused(self, reason: Reason) -> None:
        """The broker has refused the login."""
        self.refusal = reason

    def acknowledged(self, number: int, reason: Reason | None) -> None:
        """The broker has accepted or refused our message."""
        self.confirmed_s, self.message_refusal = time.monotonic(), reason

    def subscribed(self, reason: Reason | None) -> None:
        """The broker has granted or refused the subscription to commands."""
        self.is_subscribed, self.commands_refusal = True, reason

    def arrived(self, message: Arrived) -> None:
        """A command for the running unit has come: it is not ours."""

    def disconnected(self, reason: Reason, *, by_broker: bool) -> None:
        """The connection has ended."""
        self.end = reason, by_broker


def explained(
    trouble: Ended,
    broker: BrokerSettings,
    tent_id: str,
    dial: Callable[[], socket.socket],
    mailbox: Mailbox,
) -> Ended:
    """Return what a broker lacks that hangs up at the login with MQTT 3.1.1; `trouble` if it does not tell.

    `dial` makes another connection. Raises InterruptedError if the unit stops.
    """
    if trouble.kind is not HUNG_UP or broker.protocol == "5":
        return trouble
    heard = Heard()
    client = Client(replace(broker, protocol="5"), tent_id, WILL, heard, window=1)
    try:
        client.log_in(dial())
        limit_s = time.monotonic() + ANSWER_S
        while not (heard.is_welcome or heard.has_ended() or mailbox.stopping.is_set()):
            if (left_s := limit_s - time.monotonic()) <= 0:
                break
            client.serve(mailbox.poll, left_s)
        client.log_out()
    except (Ended, Unusable):
        return trouble
    finally:
        client.close()
    if heard.refusal is None or heard.refusal.code not in (NO_RETAIN_CODE, NO_QOS_1_CODE):
        return trouble
    return of_login(heard.refusal, broker, tent_id)
