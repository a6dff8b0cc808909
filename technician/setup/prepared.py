"""A card prepared in advance: the configuration of one tent lies on the boot partition.

The file holds the sections of the configuration, and `password` before them. `ca.crt` beside it is the
certificate authority of the broker. The unit takes both over when it starts. After a power cut at any step
the files are still there, and the next start repeats all.
"""

import os
from pathlib import Path
from typing import NamedTuple

from publisher.config.faults import (
    NO_AUTHORITY,
    NO_CERTIFICATE,
    PRIVATE_KEY,
    TOO_LARGE,
    UNREADABLE,
    WRONG_PASSWORD,
    ConfigError,
    Fault,
    not_utf8,
)
from publisher.files import sync_directory, written
from sensors.trouble import Trouble
from technician import secrets
from technician.setup import config_file
from technician.setup.config_file import document_of
from technician.setup.draft import Draft
from technician.terminal import DONE, FAILED, USAGE, complain, complain_of, say
from technician.words import _

#: Places of the file: the card's first partition, which any computer can read.
PLACES = ("boot/firmware/tentwatch.toml", "boot/tentwatch.toml")
#: A prepared file's name after it was taken over, and if it is faulty.
DONE_NAME, FAILED_NAME = "{name}.done", "{name}.failed"
#: Explanation beside a faulty file, for a person who looks at the card on a computer.
REASON_NAME = "{stem}-failed.txt"
#: The certificate authority's name, on the boot partition and beside the configuration.
CA_NAME = "ca.crt"
#: Most bytes of a configuration, and of a file with certificates.
MOST_BYTES, MOST_CA_BYTES = 1 << 20, 256 << 10


class Prepared(NamedTuple):
    """What a card brings: configuration, password, certificate authority (PEM); empty where it has none."""

    draft: Draft
    password: str
    authority: str


def find(root: Path) -> Path:
    """Return the place of the prepared file, whether it exists or not; `root` is where `boot` is."""
    places = [root / place for place in PLACES]
    return next((place for place in places if place.is_file()), places[0])


def run(file: Path, config: Path) -> int:
    """Take a prepared file over; return the exit code.

    A faulty file changes nothing: it is renamed, and its faults are written beside it.
    """
    if not file.is_file():  # a pipe would delay the agent's start
        complain(_("{file} does not exist: there is nothing to take over").format(file=file))
        return FAILED
    try:
        draft, password, authority = _read(file, config)
    except ConfigError as error:
        complain_of(error)
        _set_aside(file, error)
        return USAGE
    config.absolute().parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if authority:
        own = config.absolute().with_name(CA_NAME)
        with written(own, authority, lambda number: os.fchmod(number, 0o644)) as new:
            new.replace(own)
    if password:
        secrets.keep(Path(draft.get("broker.password_file")), password)
    text = draft.text()
    try:
        is_there = config.read_text(encoding="utf-8") == text
    except (OSError, ValueError):
        is_there = False
    if not is_there:  # an earlier start may have got this far
        config_file.write(config, text)
    # The password goes last: until then the next start can repeat everything.
    with written(_named(file, DONE_NAME), text, lambda _number: None) as new:
        new.replace(_named(file, DONE_NAME))
    _named(file, REASON_NAME).unlink(missing_ok=True)
    file.unlink()
    sync_directory(file.parent)
    say(_("{config} was taken over from {file}").format(config=config, file=file))
    return DONE


def _read(file: Path, config: Path) -> Prepared:
    """Return what lies prepared. Raises ConfigError and OSError."""
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ConfigError(file.name, [("file", Trouble(TOO_LARGE, kib=MOST_BYTES >> 10))])
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(file.name, [("file", not_utf8(error))]) from None
    draft = Draft(document_of(text, file.name), file.name)
    password = draft.get("password")
    draft.put("password", None)
    faults: list[Fault] = []
    if password is not None and (
        not isinstance(password, str) or len(password.strip().splitlines()) != 1
    ):
        faults.append(("password", Trouble(WRONG_PASSWORD)))
    elif password:
        own = config.absolute().with_name("password")
        draft.put("broker.password_file", str(own))
        if draft.get("broker.username") is None:
            draft.put("broker.username", draft.get("tent.id"))
    authority = ""
    try:
        authority = _authority(file.with_name(CA_NAME))
    except OSError as error:
        faults.append((CA_NAME, Trouble(UNREADABLE, error=error.strerror)))
    except Trouble as trouble:
        faults.append((CA_NAME, trouble))
    if authority:
        draft.put("broker.ca_file", str(config.absolute().with_name(CA_NAME)))
    if faults := draft.faults() + faults:
        raise ConfigError(file.name, faults)
    return Prepared(draft, password.strip() if password else "", authority)


def _authority(file: Path) -> str:
    """Return the certificates in a file as PEM; an empty text where there is no such file.

    Its dates are not checked: the clock may not be set yet. Raises Trouble and OSError.
    """
    import ssl  # only where a card has one

    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        content = opened.read(MOST_CA_BYTES + 1)
    if len(content) > MOST_CA_BYTES:
        raise Trouble(NO_CERTIFICATE)
    if b"PRIVATE KEY-----" in content:
        raise Trouble(PRIVATE_KEY)
    if content.startswith(b"0"):  # DER, as Windows exports it
        text = ssl.DER_cert_to_PEM_cert(content)
    else:
        text = content.decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Text may stand around the certificates, but only in ASCII.
        text = text.encode("ascii", errors="replace").decode()
        context.load_verify_locations(cadata=text)
    except (OSError, ValueError):  # of which SSLError is one
        raise Trouble(NO_CERTIFICATE) from None
    if not context.cert_store_stats()["x509_ca"]:
        raise Trouble(NO_AUTHORITY)
    return text


def _set_aside(file: Path, error: ConfigError) -> None:
    lines = [
        f"{file.name} was not taken over. The unit goes on with the configuration that it had.",
        "",
        *(f"{key}: {trouble}" for key, trouble in error.faults),
        "",
        f"Correct it, and name it {file.name} again. It may hold the broker's password: where it is",
        "not needed any more, delete it.",
        "",
    ]
    reason = _named(file, REASON_NAME)
    # Windows' own editor needs these line ends.
    with written(reason, "\r\n".join(lines), lambda _number: None) as new:
        new.replace(reason)
    file.replace(_named(file, FAILED_NAME))
    sync_directory(file.parent)


def _named(file: Path, name: str) -> Path:
    return file.with_name(name.format(name=file.name, stem=file.stem))
