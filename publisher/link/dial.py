"""Connecting to the broker: its name, its addresses, TCP and TLS, and why a step fails.

Nothing here blocks by itself. All waiting is done in the caller's `wait`, which ends at once when the
unit stops.
"""

import contextlib
import functools
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from publisher.clock import Clock
from publisher.config.sections import BrokerSettings
from publisher.link.certificates import Dates, validity, without_tls
from publisher.link.credentials import tls_context
from publisher.link.troubles import NAME_CHECK, TCP_CHECK, TLS_CHECK, Unusable
from sensors.trouble import declare, marked

CONNECT_LIMIT_S = 10.0
#: Most addresses of one name that are tried; a hostile resolver may return more.
MOST_ADDRESSES = 8
#: Seconds that a lookup may take; a resolver may try several servers for tens of seconds.
LOOKUP_LIMIT_S = 10.0
#: TCP closes the connection if bytes are unacknowledged for this long (tcp(7), TCP_USER_TIMEOUT).
TCP_LIMIT_S = 20.0

#: Waits for poll(2) events on a socket (or for a call of `wake` only) until a moment of
#: time.monotonic(). Raises TimeoutError, and InterruptedError if the unit stops.
Wait = Callable[[socket.socket | None, int, float], None]

_Address = tuple[Any, ...]  # as returned by getaddrinfo(3)

NAME_NOT_FOUND = declare(
    "link.name_not_found",
    marked("the name {host} is not found"),
    marked(
        "check host in [broker] for a misspelling, and that this network has internet (ping {host})"
    ),
    concerns=NAME_CHECK,
)
NO_NAME_SERVER = declare(
    "link.no_name_server",
    marked("no name server answers when asked for {host}"),
    marked(
        "this network's name server is dead or the modem has no internet: start the modem anew, try "
        "ping 1.1.1.1, then ping {host}"
    ),
    concerns=NAME_CHECK,
)
HOST_INVALID = declare(
    "link.host_invalid",
    marked("{host} cannot be the name of a host"),
    marked("write the broker's name or address as host in [broker], and nothing else"),
    concerns=NAME_CHECK,
)
REFUSED = declare(
    "link.refused",
    marked("{where} refuses connections"),
    marked("check port in [broker] (8883 with TLS, 1883 without), and that the broker runs"),
    concerns=TCP_CHECK,
)
NO_ANSWER = declare(
    "link.no_answer",
    marked("{where} does not answer"),
    marked(
        "check the modem and its credit; a firewall may drop this port: ask who runs the network"
    ),
    concerns=TCP_CHECK,
)
UNREACHABLE = declare(
    "link.unreachable",
    marked("{where} cannot be reached ({reason})"),
    marked("this network has no way there: check the network cable or Wi-Fi, and the modem"),
    concerns=TCP_CHECK,
)


class Dial:
    """Connects to one broker, at any of its addresses that answers."""

    def __init__(self, broker: BrokerSettings, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._where = f"{broker.host}:{broker.port}"
        self._lookup: _Lookup | None = None
        self._good: _Address | None = None

    def connect(self, wait: Wait, wake: Callable[[], None]) -> socket.socket:
        """Return a connected socket that does not block.

        `wake` ends a wait without a socket. Raises Unusable, and InterruptedError if the unit stops.
        """
        context = tls_context(self._broker) if self._broker.tls else None
        addresses = self._addresses(wait, wake)
        limit_s = time.monotonic() + CONNECT_LIMIT_S
        troubles: list[Unusable] = []
        while addresses and (not troubles or time.monotonic() < limit_s):
            # An address that never answers must leave time for the next one.
            share_s = (limit_s - time.monotonic()) / len(addresses)
            address = addresses.pop(0)
            try:
                sock = self._open(address, context, wait, max(1.0, share_s))
            except Unusable as trouble:
                troubles.append(trouble)
                continue
            self._good = address
            return sock
        # Of several failures, the one that got furthest is the most useful.
        raise next(
            (t for t in troubles if t.kind.concerns == TLS_CHECK),
            next((t for t in troubles if t.kind is REFUSED), troubles[-1]),
        )

    # Names

    def _addresses(self, wait: Wait, wake: Callable[[], None]) -> list[_Address]:
        host, port = self._broker.host, self._broker.port
        try:
            with contextlib.suppress(socket.gaierror):
                return socket.getaddrinfo(
                    host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
                )
            found = self._look_up(wait, wake)
        except UnicodeError as error:
            raise Unusable(HOST_INVALID, host=host) from error
        except InterruptedError:
            raise
        except OSError as error:
            if self._good is None:
                # EAI_AGAIN: no server has answered, or the server cannot reach others.
                is_unanswered = isinstance(error, TimeoutError) or error.errno == socket.EAI_AGAIN
                kind = NO_NAME_SERVER if is_unanswered else NAME_NOT_FOUND
                raise Unusable(kind, host=host) from error
            return [self._good]  # names fail more often than brokers move
        # The address that worked last time goes first.
        return sorted(found, key=lambda address: address != self._good)[:MOST_ADDRESSES]

    def _look_up(self, wait: Wait, wake: Callable[[], None]) -> list[_Address]:
        """Resolve the name in a thread, at most one at a time: getaddrinfo(3) can hang."""
        if self._lookup is None:
            self._lookup = _Lookup(self._broker.host, self._broker.port)
            self._lookup.start()
        lookup = self._lookup
        lookup.wake = wake
        limit_s = time.monotonic() + LOOKUP_LIMIT_S
        while not lookup.done:
            wait(None, 0, limit_s)
        self._lookup = None
        if lookup.error is not None:
            raise lookup.error
        return lookup.found

    # TCP and TLS

    def _open(
        self, address: _Address, context: ssl.SSLContext | None, wait: Wait, share_s: float
    ) -> socket.socket:
        limit_s = time.monotonic() + share_s
        try:
            sock = _reach(address, wait, limit_s)
        except InterruptedError:
            raise
        except OSError as error:
            raise self._unreachable(error) from error
        if context is None:
            return sock
        try:
            return _shake_hands(sock, context, self._broker.host, wait, limit_s)
        except InterruptedError:
            raise
        except OSError as error:
            dates = functools.partial(self._validity, address, wait)
            raise without_tls(error, self._where, dates, self._clock.now()) from error

    def _unreachable(self, error: OSError) -> Unusable:
        """Return why there is no TCP connection."""
        if isinstance(error, ConnectionRefusedError):
            return Unusable(REFUSED, where=self._where)
        if isinstance(error, TimeoutError):  # ours, or ETIMEDOUT
            return Unusable(NO_ANSWER, where=self._where)
        return Unusable(UNREACHABLE, where=self._where, reason=error.strerror or str(error))

    def _validity(self, address: _Address, wait: Wait) -> Dates | None:
        """Return the validity of the broker's certificate; no MQTT is sent to it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        limit_s = time.monotonic() + CONNECT_LIMIT_S
        try:
            sock = _reach(address, wait, limit_s)
            with _shake_hands(sock, context, self._broker.host, wait, limit_s) as tls:
                return validity(tls.getpeercert(binary_form=True) or b"")
        except (OSError, ValueError, IndexError):
            return None


class _Lookup(threading.Thread):
    """One query to the resolver."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(name="lookup", daemon=True)
        self._host, self._port = host, port
        self.wake: Callable[[], None] | None = None
        self.done = False
        self.found: list[_Address] = []
        self.error: OSError | UnicodeError | None = None

    def run(self) -> None:
        try:
            self.found = [*socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError) as error:  # the latter for an invalid name
            self.error = error
        self.done = True
        if self.wake is not None:
            self.wake()


def _reach(address: _Address, wait: Wait, limit_s: float) -> socket.socket:
    family, kind, protocol, _, where = address
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, kind, protocol))
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(TCP_LIMIT_S * 1000))
        with contextlib.suppress(BlockingIOError):
            sock.connect(where)
        wait(sock, select.POLLOUT, limit_s)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        undo.pop_all()
    return sock


def _shake_hands(
    sock: socket.socket, context: ssl.SSLContext, host: str, wait: Wait, limit_s: float
) -> ssl.SSLSocket:
    with contextlib.ExitStack() as undo:
        undo.enter_context(sock)
        tls = undo.enter_context(
            context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        )
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                wait(tls, select.POLLIN, limit_s)
            except ssl.SSLWantWriteError:
                wait(tls, select.POLLOUT, limit_s)
        undo.pop_all()
    return tls
