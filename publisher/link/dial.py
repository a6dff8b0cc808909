"""The way to the broker: its name, its addresses, TCP and TLS, and why there is none.

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
from publisher.link.troubles import FILES, NAME, TCP, TLS, Unusable
from sensors.trouble import declare, marked

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


FILE_UNUSABLE = declare(
    "link.file_unusable",
    marked("{file} cannot be read ({reason})"),
    marked("put it where {key} in [broker] says: owner tentwatch, mode 0600, and not under /home"),
    concerns=FILES,
)
FILE_NO_TEXT = declare(
    "link.file_no_text",
    marked("{file} is no text"),
    marked("write the password alone into that file"),
    concerns=FILES,
)
FILE_NO_CERTIFICATE = declare(
    "link.file_no_certificate",
    marked("{file} holds nothing that TLS can use ({reason})"),
    marked("fetch the file for {key} in [broker] anew from the centre"),
    concerns=FILES,
)
NAME_NOT_FOUND = declare(
    "link.name_not_found",
    marked("the name {host} is not found"),
    marked(
        "check host in [broker] for a misspelling, and that this network has internet (ping {host})"
    ),
    concerns=NAME,
)
NO_NAME_SERVER = declare(
    "link.no_name_server",
    marked("no name server answers when asked for {host}"),
    marked(
        "this network's name server is dead or the modem has no internet: start the modem anew, try "
        "ping 1.1.1.1, then ping {host}"
    ),
    concerns=NAME,
)
HOST_INVALID = declare(
    "link.host_invalid",
    marked("{host} cannot be the name of a host"),
    marked("write the broker's name or address as host in [broker], and nothing else"),
    concerns=NAME,
)
REFUSED = declare(
    "link.refused",
    marked("{where} refuses connections"),
    marked("check port in [broker] (8883 with TLS, 1883 without), and that the broker runs"),
    concerns=TCP,
)
NO_ANSWER = declare(
    "link.no_answer",
    marked("{where} does not answer"),
    marked(
        "check the modem and its credit; a firewall may drop this port: ask who runs the network"
    ),
    concerns=TCP,
)
UNREACHABLE = declare(
    "link.unreachable",
    marked("{where} cannot be reached ({reason})"),
    marked("this network has no way there: check the network cable or Wi-Fi, and the modem"),
    concerns=TCP,
)
TLS_SILENT = declare(
    "link.tls_silent",
    marked("{where} takes the connection and does not answer in TLS"),
    marked(
        "the broker hangs, or this port is one without TLS: check port and tls in [broker], then tell "
        "the centre"
    ),
    concerns=TLS,
)
TLS_FAILED = declare(
    "link.tls_failed",
    marked("{where} does not speak TLS with this unit ({reason})"),
    marked(
        "tls and port in [broker] must go together (8883 with TLS, 1883 without); some brokers want "
        "cert_file and key_file"
    ),
    concerns=TLS,
)
IT_HUNG_UP = marked("it hung up")
TLS_OTHER_NAME = declare(
    "link.tls_other_name",
    marked("the certificate of {where} is for another name ({reason})"),
    marked("write a name that is in the broker's certificate as host in [broker]"),
    concerns=TLS,
)
TLS_UNTRUSTED = declare(
    "link.tls_untrusted",
    marked("the certificate of {where} cannot be trusted ({reason})"),
    marked(
        "fetch the ca.crt of this broker anew from the centre, and name it as ca_file in [broker]"
    ),
    concerns=TLS,
)
TLS_NOT_YET_VALID = declare(
    "link.tls_not_yet_valid",
    marked("the certificate of {where} holds from {since} on, and this unit's clock says {today}"),
    marked(
        "see that clock.synced is ok, then the link comes by itself; where it is, the centre must renew "
        "the certificate"
    ),
    concerns=TLS,
)
TLS_EXPIRED = declare(
    "link.tls_expired",
    marked("the certificate of {where} has expired on {day}"),
    marked("the broker's certificate must be renewed at the centre, for all tents"),
    concerns=TLS,
)
TLS_EXPIRED_OR_CLOCK = declare(
    "link.tls_expired_or_clock",
    marked(
        "the certificate of {where} has expired on {day}, if this unit's clock is right, which is not "
        "set yet and says {today}"
    ),
    marked("see that clock.synced is ok; then the certificate must be renewed at the centre"),
    concerns=TLS,
)
TLS_CHAIN_EXPIRED = declare(
    "link.tls_chain_expired",
    marked("the certificate of {where} has expired, or one above it"),
    marked("see that clock.synced is ok; then the certificate must be renewed at the centre"),
    concerns=TLS,
)
NO_DAY = marked("an unknown day")


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

        `wake` ends a wait without a socket. Raises Unusable, and InterruptedError where the unit
        stops.
        """
        context = tls_context(self._broker) if self._broker.tls else None
        addresses = self._addresses(wait, wake)
        limit_s = time.monotonic() + CONNECT_LIMIT_S
        troubles: list[Unusable] = []
        while addresses and (not troubles or time.monotonic() < limit_s):
            # One address that swallows everything must not keep us from the next.
            share_s = (limit_s - time.monotonic()) / len(addresses)
            address = addresses.pop(0)
            try:
                sock = self._open(address, context, wait, max(1.0, share_s))
            except Unusable as trouble:
                troubles.append(trouble)
                continue
            self._good = address
            return sock
        # Of several, the one that got the furthest tells the most.
        raise next(
            (t for t in troubles if t.kind.concerns == TLS),
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
        except (socket.gaierror, TimeoutError) as error:
            if self._good is None:
                # EAI_AGAIN: no server has answered, or one that cannot ask further.
                is_unanswered = isinstance(error, TimeoutError) or error.errno == socket.EAI_AGAIN
                kind = NO_NAME_SERVER if is_unanswered else NAME_NOT_FOUND
                raise Unusable(kind, host=host) from error
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
            raise self._untrusted(error, address, wait) from error

    def _unreachable(self, error: OSError) -> Unusable:
        """Return why there is no TCP connection."""
        if isinstance(error, ConnectionRefusedError):
            return Unusable(REFUSED, where=self._where)
        if isinstance(error, TimeoutError):  # ours, or ETIMEDOUT
            return Unusable(NO_ANSWER, where=self._where)
        return Unusable(UNREACHABLE, where=self._where, reason=error.strerror or str(error))

    def _untrusted(self, error: OSError, address: _Address, wait: Wait) -> Unusable:
        """Return why there is no TLS on a connection."""
        where = self._where
        if isinstance(error, ssl.SSLCertVerificationError):
            if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
                dates = self._validity(address, wait)
                return _out_of_date(error.verify_code, where, dates, self._clock.now())
            is_other = error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS)
            kind = TLS_OTHER_NAME if is_other else TLS_UNTRUSTED
            return Unusable(kind, where=where, reason=error.verify_message)
        if isinstance(error, TimeoutError):
            return Unusable(TLS_SILENT, where=where)
        if isinstance(error, ConnectionError):
            return Unusable(TLS_FAILED, where=where, reason=IT_HUNG_UP)
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        return Unusable(TLS_FAILED, where=where, reason=reason or str(error))

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


# Files


def check_files(broker: BrokerSettings) -> None:
    """Raise Unusable where a file that the configuration names cannot be used."""
    for key in ("password_file", "ca_file", "cert_file", "key_file"):
        _check_file(key, getattr(broker, key))


def _check_file(key: str, name: str | None) -> None:
    """Raise Unusable where a file cannot be read: ssl says not which."""
    if name is None:
        return
    try:
        if not Path(name).is_file():  # a FIFO would keep us waiting for ever
            raise OSError(marked("there is no such file"))
        content = Path(name).read_bytes()
        if key == "password_file":
            content.decode()
    except UnicodeDecodeError as error:  # whose own text quotes the content
        raise Unusable(FILE_NO_TEXT, file=name, key=key) from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise Unusable(FILE_UNUSABLE, file=name, key=key, reason=reason) from error


def tls_context(broker: BrokerSettings) -> ssl.SSLContext:
    """Return what this unit trusts and shows in TLS. Raises Unusable."""
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
    except OSError as error:  # of which SSLError is one
        raise _no_certificate("ca_file", broker.ca_file, error) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 began to refuse authorities without all extensions of RFC 5280, which many
    # home-made ones lack: a certificate that serves on Debian 12 must serve on Debian 13.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if broker.cert_file is not None:
        try:
            # A key with a passphrase is an error: OpenSSL would ask at the terminal and wait.
            context.load_cert_chain(broker.cert_file, broker.key_file, password="")
        except OSError as error:
            raise _no_certificate("cert_file", broker.cert_file, error) from error
    return context


def _no_certificate(key: str, name: str | None, error: OSError) -> Unusable:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return Unusable(FILE_NO_CERTIFICATE, file=name, key=key, reason=reason or str(error))


# Dates


def _out_of_date(
    verify_code: int, where: str, dates: tuple[datetime, datetime] | None, now: Now
) -> Unusable:
    """Tell a certificate that is out of date from a clock that is."""
    today = NO_DAY if now.wall is None else f"{now.wall:%Y-%m-%d}"
    if verify_code == _NOT_YET_VALID:
        since = NO_DAY if dates is None else f"{dates[0]:%Y-%m-%d}"
        return Unusable(TLS_NOT_YET_VALID, where=where, since=since, today=today)
    if dates is None or (now.wall is not None and now.wall <= dates[1]):
        return Unusable(TLS_CHAIN_EXPIRED, where=where)
    kind = TLS_EXPIRED if now.synced else TLS_EXPIRED_OR_CLOCK
    return Unusable(kind, where=where, day=f"{dates[1]:%Y-%m-%d}", today=today)


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
