"""Changing the configuration file: checked first, whole or not at all, and the previous one is kept.

The previous files lie beside it as `<name>.old-N`, the newest with the highest number.
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

#: Previous configurations that are kept.
MOST_KEPT = 9
#: A new file's mode, and its group where there is one of this name: the service must read it.
MODE, GROUP = 0o640, "tentwatch"


def document(path: Path) -> "tomlkit.TOMLDocument":
    """Read a file for changing single keys of it: comments and order stay.

    Raises ConfigError where it is missing, cannot be read or is not TOML.
    """
    return document_of(text_of(path), str(path))


def with_keys(document: "tomlkit.TOMLDocument", section: str, keys: Mapping[str, Any]) -> str:
    """Return the text of a document with some keys of a section (such as `sensors.battery`) set.

    A key that is new comes below the comment line that shows its default, if there is one, else
    below the last key: comments before the next section speak of that.
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
    """Return (key, value before, value after) of all that differs; None where there is none."""
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
    """Return a text for changing single keys of it. Raises ConfigError where it is not TOML."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    load.document_of(text, where)
    try:
        return tomlkit.parse(text)
    except (ValueError, RecursionError, TOMLKitError):
        raise ConfigError(where, [("syntax", Trouble(ENDLESS))]) from None


def write(path: Path, text: str) -> Path | None:
    """Write a configuration; return where the previous one is now, None where there was none.

    Raises ConfigError where the text is no configuration, OSError where it cannot be written; the
    present file stays as it is then.
    """
    parse(text, str(path))
    path = path.resolve()  # a link goes on pointing to it
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
    """Put the newest previous configuration back; return which it was, None where there is none.

    The one that it takes the place of is kept as `<name>.undone`. Raises OSError.
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
    """Return the previous configurations that are kept, the oldest first."""
    found = []
    for file in path.parent.glob(f"{path.name}.old-*"):
        number = file.name.rpartition("-")[2]
        if number.isdecimal():
            found.append((int(number), file))
    return [file for _, file in sorted(found)]


def _keep(path: Path) -> Path:
    """Give the present file a second name, under which it stays; forget the oldest."""
    kept = previous(path)
    if kept and kept[-1].samefile(path):
        return kept[-1]  # the power went before the new one had taken its place
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
