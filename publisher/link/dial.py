"""The way to the broker: its name, its addresses, TCP and TLS, and in plain words why there is none.

Nothing here blocks for longer than it is told to: whoever waits does so in `wait`, which belongs to
the caller and ends at once when the unit stops.
"""

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from publisher.clock import Clock, Now
from publisher.config.sections import BrokerSettings

CONNECT_LIMIT_S = 10.0
#: Addresses of one name that are tried in turn; more may come from a resolver that lies.
MOST_ADDRESSES = 8
#: A resolver may try several servers for tens of seconds: the unit has better things to do.
LOOKUP_LIMIT_S = 10.0
#: TCP gives up on unacknowledged bytes after this time (tcp(7), TCP_USER_TIMEOUT).
TCP_LIMIT_S = 20.0

#: Waits for poll(2) events on a socket (or for a call of `wake` only) until a moment of
#: time.monotonic(). Raises TimeoutError, and InterruptedError where the unit stops.
Wait = Callable[[socket.socket | None, int, float], None]

_Address = tuple[Any, ...]  # as getaddrinfo(3) gives them

# OpenSSL's reasons (x509_vfy.h) for not trusting a certificate.
_NOT_YET_VALID, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64


class Unusable(Exception):
    """There is no connection; the message says why, and what to do."""


class Dial:
    """Connects to one broker, by whichever of its addresses answers."""

    def __init__(self, broker: BrokerSettings, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._where = f"{broker.host}:{broker.port}"
        self._lookup: _Lookup | None = None
        self._good: _Address | None = None

    def connect(self, wait: Wait, wake: Callable[[], None]) -> socket.socket:
        """Return a connected socket that does not block.

        `wake` ends a wait without a socket. Raises Unusable, InterruptedError, or another OSError
        for which `explain` has the words.
        """
        context = self._context() if self._broker.tls else None
        addresses = self._addresses(wait, wake)
        limit_s = time.monotonic() + CONNECT_LIMIT_S
        errors: list[OSError] = []
        while addresses and (not errors or time.monotonic() < limit_s):
            # One address that swallows everything must not keep us from the next.
            share_s = (limit_s - time.monotonic()) / len(addresses)
            address = addresses.pop(0)
            try:
                sock = self._open(address, context, wait, max(1.0, share_s))
            except InterruptedError:
                raise
            except OSError as error:
                errors.append(error)
                continue
            self._good = address
            return sock
        raise next(
            (e for kind in (ssl.SSLError, ConnectionError) for e in errors if isinstance(e, kind)),
            errors[-1],
        )

    # Names

    def _addresses(self, wait: Wait, wake: Callable[[], None]) -> list[_Address]:
        host, port = self._broker.host, self._broker.port
        with contextlib.suppress(socket.gaierror):
            return socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        try:
            found = self._look_up(wait, wake)
        except (socket.gaierror, TimeoutError) as error:
            if self._good is None:
                if isinstance(error, TimeoutError):
                    raise Unusable(
                        f"{host} is not found: no DNS server answers; check this network"
                    ) from error
                raise
            return [self._good]  # names fail more often than brokers move
        # The address that worked last time goes first.
        return sorted(found, key=lambda address: address != self._good)[:MOST_ADDRESSES]

    def _look_up(self, wait: Wait, wake: Callable[[], None]) -> list[_Address]:
        """Ask for the name in a thread: getaddrinfo(3) can hang, and there is at most one that does."""
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
        sock = _reach(address, wait, limit_s)
        if context is None:
            return sock
        try:
            return _shake_hands(sock, context, self._broker.host, wait, limit_s)
        except ssl.SSLCertVerificationError as error:
            if error.verify_code not in (_NOT_YET_VALID, _EXPIRED):
                raise
            dates = self._validity(address, wait)
            raise Unusable(_explain_dates(error, self._where, dates, self._clock.now())) from error

    def _context(self) -> ssl.SSLContext:
        broker = self._broker
        context = ssl.create_default_context(cafile=broker.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 began to refuse authorities without all extensions of RFC 5280, which many
        # home-made ones lack: a certificate that serves on Debian 12 must serve on Debian 13.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if broker.cert_file is not None:
            # A key with a passphrase is an error: OpenSSL would ask at the terminal and wait.
            context.load_cert_chain(broker.cert_file, broker.key_file, password="")
        return context

    def _validity(self, address: _Address, wait: Wait) -> tuple[datetime, datetime] | None:
        """Return from when until when the broker's certificate holds; nothing is sent to it."""
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
    """One question to the resolver."""

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
        except (OSError, UnicodeError) as error:  # the latter for what is no name at all
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


# Words


def check_file(key: str, name: str | None) -> None:
    """Raise Unusable where a file that the configuration names cannot be used: ssl says not which."""
    if name is None:
        return
    try:
        if not Path(name).is_file():  # a FIFO would keep us waiting for ever
            raise OSError("there is no such file")
        content = Path(name).read_bytes()
        if key == "password_file":
            content.decode()
    except UnicodeDecodeError as error:  # whose own text quotes the content
        raise Unusable(f"{name} is not UTF-8 text: check {key} in [broker]") from error
    except (OSError, ValueError) as error:
        raise Unusable(
            f"{name} cannot be used ({error}): check {key} in [broker], and the file's rights"
        ) from error


def explain(error: Exception, broker: BrokerSettings) -> str:
    """Return what a failure to connect means, and what to do about it."""
    where = f"{broker.host}:{broker.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error, where)
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
    return f"the link failed ({type(error).__name__}: {error}): it begins again"


def _explain_certificate(error: ssl.SSLCertVerificationError, where: str) -> str:
    if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        return (
            f"{where} has a certificate for another name ({error.verify_message}): write a name "
            f"that is in the certificate as host"
        )
    return (
        f"{where} has a certificate that cannot be trusted ({error.verify_message}): check ca_file"
    )


def _explain_dates(
    error: ssl.SSLCertVerificationError,
    where: str,
    dates: tuple[datetime, datetime] | None,
    now: Now,
) -> str:
    """Tell a certificate that is out of date from a clock that is."""
    says = "" if now.wall is None else f" (it says {now.wall:%Y-%m-%d})"
    if error.verify_code == _NOT_YET_VALID:
        since = "" if dates is None else f" that holds from {dates[0]:%Y-%m-%d} on"
        return (
            f"{where} has a certificate{since}: this unit's clock is not set yet{says}; the link "
            f"comes by itself when a time server has set it"
        )
    what = "a certificate that has expired, or one above it has"
    if dates is not None and (now.wall is None or now.wall > dates[1]):
        what = f"a certificate that has expired on {dates[1]:%Y-%m-%d}"
    if now.synced:
        return f"{where} has {what}: renew it on the broker"
    return (
        f"{where} has {what}, if this unit's clock is right, which is not set yet{says}: wait for "
        f"a time server, then renew it"
    )


def validity(certificate: bytes) -> tuple[datetime, datetime]:
    """Return from when until when a certificate (DER) holds: RFC 5280, 4.1.2.5.

    Raises ValueError or IndexError where it is none.
    """
    whole = _parts(_parts(_parts(certificate)[0][1])[0][1])
    if whole[0][0] == 0xA0:  # the version, which version 1 leaves out
        whole = whole[1:]
    begin, end = _parts(whole[3][1])[:2]
    return _moment(*begin), _moment(*end)


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """Return (tag, content) of each value that stands one behind the other in `der`."""
    found, at = [], 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:
            width = size & 0x7F
            size, at = int.from_bytes(der[at : at + width]), at + width
        found.append((tag, der[at : at + size]))
        at += size
    return found


def _moment(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == 0x17:  # UTCTime has two digits for the year: 50 to 99 are of the last century
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.fromisoformat(f"{text[:8]}T{text[8:]}")
