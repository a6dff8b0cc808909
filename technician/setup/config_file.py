"""Changes of the configuration file: each is checked first, and written whole or not at all.

Previous files stay beside it as `<name>.old-N`, the newest with the highest number.
"""

import contextlib
import grp
import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from publisher.config import load
from publisher.config.faults import ENDLESS, ConfigError
from publisher.config.load import parse, text_of
from publisher.files import sync_directory, written
from sensors.trouble import Trouble

if TYPE_CHECKING:
    import tomlkit

#: Number of previous configurations that stay.
MOST_KEPT = 9
#: Mode and group of a new file: the service must be able to read it.
MODE, GROUP = 0o640, "tentwatch"


def document(path: Path) -> "tomlkit.TOMLDocument":
    """Read a file for changing single keys: comments and order stay.

    Raises ConfigError if it is missing, cannot be read or is not TOML.
    """
    return document_of(text_of(path), str(path))


def with_keys(document: "tomlkit.TOMLDocument", section: str, keys: Mapping[str, Any]) -> str:
    """Return the text of a document with some keys of a section (such as `sensors.battery`) set.

    A new key comes below the comment line that shows its default, or else below the last key:
    comments further down belong to the next section.
    """
    import tomlkit

    table: Any = document
    for part in section.split("."):
        if part not in table:
            table[part] = tomlkit.table()
        table = table[part]
    new = {key: value for key, value in keys.items() if key not in table}
    for key, value in keys.items():
        if key not in new:
            table[key] = value
    lines = document.as_string().splitlines()
    head = re.compile(rf"\s*\[\s*{re.escape(section)}\s*\]")
    begin = next((i for i, line in enumerate(lines) if head.match(line)), None)
    if begin is None:  # it has no heading of its own
        for key, value in new.items():
            table[key] = value
        return document.as_string()
    for key, value in new.items():
        others = (i for i in range(begin + 1, len(lines)) if lines[i].lstrip().startswith("["))
        end = next(others, len(lines))
        shown = re.compile(rf"\s*#\s*{re.escape(key)}\s*=")
        is_key = re.compile(r"\s*[^#\s]")
        below = [i for i in range(begin, end) if shown.match(lines[i])]
        below = below or [i for i in range(begin, end) if is_key.match(lines[i])]
        lines.insert(below[-1] + 1, f"{key} = {tomlkit.item(value).as_string()}")
    return "\n".join(lines) + "\n"


def changes(before: str, after: str) -> list[tuple[str, Any, Any]]:
    """Return (key, old value, new value) of each difference; None stands for no value."""
    old, new = (dict(_flat(tomllib.loads(text))) for text in (before, after))
    keys = [*old, *(key for key in new if key not in old)]
    return [(k, old.get(k), new.get(k)) for k in keys if old.get(k) != new.get(k)]


def _flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield path + key, value


def document_of(text: str, where: str) -> "tomlkit.TOMLDocument":
    """Parse a text for changing single keys. Raises ConfigError if it is not TOML."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    load.document_of(text, where)
    try:
        return tomlkit.parse(text)
    except (ValueError, RecursionError, TOMLKitError):
        raise ConfigError(where, [("syntax", Trouble(ENDLESS))]) from None


def write(path: Path, text: str) -> Path | None:
    """Write a configuration; return the previous one's new path, None if there was none.

    Raises ConfigError if the text is no configuration, OSError if it cannot be written; then the
    present file does not change.
    """
    parse(text, str(path))
    path = path.resolve()  # a link goes on pointing to the file
    before = _status(path)

    def dress(number: int) -> None:
        if before is not None:
            os.fchown(number, before.st_uid, before.st_gid)
            os.fchmod(number, before.st_mode & 0o777)
        else:
            with contextlib.suppress(KeyError, PermissionError):
                os.fchown(number, -1, grp.getgrnam(GROUP).gr_gid)
            os.fchmod(number, MODE)

    with written(path, text, dress) as new:
        old = None if before is None else _keep(path)
        new.replace(path)
    sync_directory(path.parent)
    return old


def undo(path: Path) -> Path | None:
    """Restore the newest previous configuration; return its old path, None if there is none.

    The present file stays as `<name>.undone`. Raises OSError.
    """
    path = path.resolve()
    if not (kept := previous(path)):
        return None
    if path.exists():
        path.replace(path.with_name(f"{path.name}.undone"))
    kept[-1].replace(path)
    sync_directory(path.parent)
    return kept[-1]


def previous(path: Path) -> list[Path]:
    """Return the previous configurations, the oldest first."""
    found = []
    for file in path.parent.glob(f"{path.name}.old-*"):
        number = file.name.rpartition("-")[2]
        if number.isdecimal():
            found.append((int(number), file))
    return [file for _, file in sorted(found)]


def _keep(path: Path) -> Path:
    """Keep the present file under a second name; remove the oldest ones."""
    kept = previous(path)
    if kept and kept[-1].samefile(path):
        return kept[-1]  # a power cut came before the new file had replaced it
    number = int(kept[-1].name.rpartition("-")[2]) + 1 if kept else 1
    old = path.with_name(f"{path.name}.old-{number}")
    try:
        os.link(path, old)
    except OSError:  # a file system without links
        shutil.copy2(path, old)
    for file in kept[: max(0, len(kept) + 1 - MOST_KEPT)]:
        file.unlink(missing_ok=True)
    return old


def _status(path: Path) -> Any:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
