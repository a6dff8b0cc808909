"""The unit's password, certificates and trust: the files that `[broker]` names."""

import ssl
from pathlib import Path

from publisher.config.sections import BrokerSettings
from publisher.link.troubles import FILES_CHECK, Denied, Unusable
from sensors.trouble import declare, marked

FILE_UNUSABLE = declare(
    "link.file_unusable",
    marked("{file} cannot be read ({reason})"),
    marked("put it where {key} in [broker] says: owner tentwatch, mode 0600, and not under /home"),
    concerns=FILES_CHECK,
)
FILE_NO_TEXT = declare(
    "link.file_no_text",
    marked("{file} is no text"),
    marked("write the password alone into that file"),
    concerns=FILES_CHECK,
)
FILE_NO_CERTIFICATE = declare(
    "link.file_no_certificate",
    marked("{file} holds nothing that TLS can use ({reason})"),
    marked("fetch the file for {key} in [broker] anew from the centre"),
    concerns=FILES_CHECK,
)


def check_files(broker: BrokerSettings) -> None:
    """Raise Unusable if a file that the configuration names cannot be read."""
    read_password(broker)
    for key in ("ca_file", "cert_file", "key_file"):
        name = getattr(broker, key)
        if name is not None:
            _read(key, name)


def read_password(broker: BrokerSettings) -> str | None:
    """Return the password, None if none is configured. Raises Unusable."""
    name = broker.password_file
    if name is None:
        return None
    try:
        # Some editors put a byte order mark before the text.
        return _read("password_file", name).decode("utf-8-sig").strip()
    except UnicodeDecodeError:  # whose own text quotes the content
        raise Unusable(FILE_NO_TEXT, file=name, key="password_file") from None


def _read(key: str, name: str) -> bytes:
    """Return a file's content; ssl would not name an unreadable file. Raises Unusable."""
    try:
        if not Path(name).is_file():  # reading a FIFO could wait for ever
            reason = marked("there is no such file")
            raise Unusable(FILE_UNUSABLE, file=name, key=key, reason=reason)
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        kind_of_error = Denied if isinstance(error, PermissionError) else Unusable
        raise kind_of_error(FILE_UNUSABLE, file=name, key=key, reason=why) from error


def tls_context(broker: BrokerSettings) -> ssl.SSLContext:
    """Return the TLS context with the unit's trust and certificate. Raises Unusable."""
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
    except OSError as error:  # of which SSLError is one
        raise _no_certificate("ca_file", broker.ca_file, error) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 refuses authorities without all extensions of RFC 5280, which many home-made ones
    # lack. A certificate that works on Debian 12 must work on Debian 13.
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
