"""Why there is no TLS with a broker: its certificate, this unit's clock, or a port without TLS."""

import ssl
from collections.abc import Callable
from datetime import datetime

from publisher.clock import Now
from publisher.link.troubles import IT_HUNG_UP, TLS_CHECK, Unusable
from sensors.trouble import declare, marked

# OpenSSL's reasons (x509_vfy.h) for not trusting a certificate.
_NOT_YET_VALID, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64

#: First and last moment of a certificate's validity.
Dates = tuple[datetime, datetime]

TLS_SILENT = declare(
    "link.tls_silent",
    marked("{where} takes the connection and does not answer in TLS"),
    marked(
        "the broker hangs, or this port is one without TLS: check port and tls in [broker], then tell "
        "the centre"
    ),
    concerns=TLS_CHECK,
)
TLS_FAILED = declare(
    "link.tls_failed",
    marked("{where} does not speak TLS with this unit ({reason})"),
    marked(
        "tls and port in [broker] must go together (8883 with TLS, 1883 without); some brokers want "
        "cert_file and key_file"
    ),
    concerns=TLS_CHECK,
)
TLS_OTHER_NAME = declare(
    "link.tls_other_name",
    marked("the certificate of {where} is for another name ({reason})"),
    marked("write a name that is in the broker's certificate as host in [broker]"),
    concerns=TLS_CHECK,
)
TLS_UNTRUSTED = declare(
    "link.tls_untrusted",
    marked("the certificate of {where} cannot be trusted ({reason})"),
    marked(
        "fetch the ca.crt of this broker anew from the centre, and name it as ca_file in [broker]"
    ),
    concerns=TLS_CHECK,
)
TLS_NOT_YET_VALID = declare(
    "link.tls_not_yet_valid",
    marked("the certificate of {where} holds from {since} on, and this unit's clock says {today}"),
    marked(
        "see that clock.synced is ok, then the link comes by itself; where it is, the centre must renew "
        "the certificate"
    ),
    concerns=TLS_CHECK,
)
TLS_EXPIRED = declare(
    "link.tls_expired",
    marked("the certificate of {where} has expired on {day}"),
    marked("the broker's certificate must be renewed at the centre, for all tents"),
    concerns=TLS_CHECK,
)
TLS_EXPIRED_OR_CLOCK = declare(
    "link.tls_expired_or_clock",
    marked(
        "the certificate of {where} has expired on {day}, if this unit's clock is right, which is not "
        "set yet and says {today}"
    ),
    marked("see that clock.synced is ok; then the certificate must be renewed at the centre"),
    concerns=TLS_CHECK,
)
TLS_CHAIN_EXPIRED = declare(
    "link.tls_chain_expired",
    marked("the certificate of {where} has expired, or one above it"),
    marked("see that clock.synced is ok; then the certificate must be renewed at the centre"),
    concerns=TLS_CHECK,
)
NO_DAY = marked("an unknown day")


def without_tls(
    error: OSError, where: str, dates: Callable[[], Dates | None], now: Now
) -> Unusable:
    """Return why the handshake has failed; `dates` are the broker's certificate's, if known."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
            return _out_of_date(error.verify_code, where, dates(), now)
        is_other = error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS)
        kind = TLS_OTHER_NAME if is_other else TLS_UNTRUSTED
        return Unusable(kind, where=where, reason=error.verify_message)
    if isinstance(error, TimeoutError):
        return Unusable(TLS_SILENT, where=where)
    if isinstance(error, ConnectionError):
        return Unusable(TLS_FAILED, where=where, reason=IT_HUNG_UP)
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return Unusable(TLS_FAILED, where=where, reason=reason or str(error))


def _out_of_date(verify_code: int, where: str, dates: Dates | None, now: Now) -> Unusable:
    """Distinguish an expired certificate from a wrong clock."""
    today = NO_DAY if now.wall is None else f"{now.wall:%Y-%m-%d}"
    if verify_code == _NOT_YET_VALID:
        since = NO_DAY if dates is None else f"{dates[0]:%Y-%m-%d}"
        return Unusable(TLS_NOT_YET_VALID, where=where, since=since, today=today)
    if dates is None or (now.wall is not None and now.wall <= dates[1]):
        return Unusable(TLS_CHAIN_EXPIRED, where=where)
    kind = TLS_EXPIRED if now.synced else TLS_EXPIRED_OR_CLOCK
    return Unusable(kind, where=where, day=f"{dates[1]:%Y-%m-%d}", today=today)


def validity(certificate: bytes) -> Dates:
    """Return the validity of a certificate (DER): RFC 5280, 4.1.2.5.

    Raises ValueError or IndexError if it is not a certificate.
    """
    whole = _parts(_parts(_parts(certificate)[0][1])[0][1])
    if whole[0][0] == 0xA0:  # the version, which version 1 leaves out
        whole = whole[1:]
    begin, end = _parts(whole[3][1])[:2]
    return _moment(*begin), _moment(*end)


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """Return (tag, content) of each consecutive value in `der`."""
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
