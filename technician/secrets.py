"""The files that hold a unit's secrets, and who can read them besides the agent."""

import contextlib
import json
import os
import pwd
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from publisher.config.faults import Fault
from publisher.config.load import keys_of
from publisher.config.sections import BrokerSettings
from publisher.files import sync_directory, written
from sensors.trouble import Trouble, declare, marked

#: The service's user, who owns the secrets.
OWNER = "tentwatch"
#: Where systemd keeps credentials; it guards them by means that modes do not show.
CREDENTIALS = Path("/run/credentials")
#: Usual places of secrets, whatever the configuration says.
USUAL_PLACES = (
    "/etc/tentwatch/password",
    "/etc/credstore/tentwatch.password",
    "/etc/credstore/tentwatch.key",
)
#: Most bytes that are read of a file of secrets.
LARGEST_SECRET = 64 << 10
#: Text in place of a secret.
HIDDEN = "***"
_FILES = re.compile(r"""(?:password|key)_file\s*=\s*["']([^"']+)["']""")
_KEY_BEGINS, _KEY_ENDS = re.compile("-----BEGIN [A-Z ]*KEY"), re.compile("-----END [A-Z ]*KEY")
#: A word before an @, and in it the beginning of a user with a password. Both begin at one place of a word at
#: most and never go back: otherwise a long line would take hours.
_BEFORE_AT = re.compile(r"(?<![^\s@\"'])[^\s@\"']++@")
_LOGIN = re.compile(r"(?<![^/:])[^/:]++:(?!@)")
_PATTERNS = (
    (re.compile(r"//[^\s/]*@"), f"//{HIDDEN}@"),  # a login in an address
    (_BEFORE_AT, lambda word: _hide_login(word.group())),
    (
        re.compile(
            r"\b(pass(?:word|wd|phrase|wort)?|пароль|secret|token|psk)\b(\W{0,2}\s*[=:]\s*)[^\s,;}]+",
            re.I,
        ),
        rf"\1\2{HIDDEN}",
    ),
)


def _hide_login(word: str) -> str:
    """Return a word that ends with an @ without the login in it."""
    login = _LOGIN.search(word)
    return word if login is None else f"{word[: login.start()]}{HIDDEN}@"


EXPOSED = declare(
    "config.exposed",
    marked("{file} can be read by others than its owner (mode {mode})"),
    marked("sudo chmod 600 {file}"),
)


def goes_in_the_clear(broker: BrokerSettings) -> bool:
    """Say whether anybody who listens in on the network can read the password."""
    is_near = broker.host in ("localhost", "::1") or broker.host.startswith("127.")
    return broker.password_file is not None and not broker.tls and not is_near


def exposed(broker: BrokerSettings) -> list[Fault]:
    """Return each key whose secret can be read by others than its owner.

    Files that are missing or hidden from the caller are passed over.
    """
    found: list[Fault] = []
    for key, _, rule in keys_of(BrokerSettings):
        name = getattr(broker, key)
        if not rule.secret or name is None or is_credential(Path(name)):
            continue
        try:
            mode = stat.S_IMODE(Path(name).stat().st_mode)
        except (OSError, ValueError):
            continue
        if mode & 0o077:
            found.append((f"broker.{key}", Trouble(EXPOSED, file=name, mode=f"{mode:04o}")))
    return found


def keep(path: Path, secret: str) -> None:
    """Write a secret for the service's user alone, whole or not at all. Raises OSError."""

    def dress(number: int) -> None:
        with contextlib.suppress(KeyError, PermissionError):  # no such user, or not root
            owner = pwd.getpwnam(OWNER)
            os.fchown(number, owner.pw_uid, owner.pw_gid)

    with written(path, f"{secret}\n", dress) as new:
        new.replace(path)
    sync_directory(path.parent)


def is_credential(path: Path) -> bool:
    """Say whether a file is one of systemd's credentials: `..` and links may lead out of them."""
    try:
        return path.resolve().is_relative_to(CREDENTIALS.resolve())
    except (OSError, RuntimeError, ValueError):
        return False


class Redactor:
    """Removes secrets from text: known ones anywhere, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            for text in (secret, *secret.splitlines()):
                text = text.strip()
                # Also as JSON writes them.
                forms |= {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        known = [f for f in sorted(forms, key=len, reverse=True) if f and not f.startswith("-----")]
        # A short one may be part of any word.
        parts = [re.escape(f) if len(f) >= 8 else rf"(?<!\w){re.escape(f)}(?!\w)" for f in known]
        self._known = re.compile("|".join(parts)) if parts else None

    def text(self, text: str) -> str:
        """Return one line of text without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def lines(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield lines without secrets; a whole private key is one line."""
        in_key = False
        for line in lines:
            begins, ends = _KEY_BEGINS.search(line), _KEY_ENDS.search(line)
            if begins and not in_key:
                yield HIDDEN
            elif not in_key:
                yield self.text(line)
            in_key = (in_key or begins is not None) and ends is None


def known_secrets(configuration: str) -> list[str]:
    """Return the contents of the files that a configuration names for secrets, and of the usual ones.

    The text need not be a valid configuration, nor TOML. Files that the caller may not read are passed
    over.
    """
    found = []
    for name in {*_FILES.findall(configuration), *USUAL_PLACES}:
        with contextlib.suppress(OSError, ValueError):
            path = Path(name)
            if stat.S_ISREG(path.stat().st_mode):
                with path.open("rb") as file:
                    found.append(file.read(LARGEST_SECRET).decode(errors="replace"))
    return found
