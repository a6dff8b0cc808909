"""Files from which the centre can find out what is wrong with a unit; they hold no secrets."""

import json
import os
import platform
import re
import stat
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

from publisher.config.faults import ConfigError, fault_json, may_be_secret
from publisher.config.load import keys_of, load
from publisher.config.sections import SECTIONS
from publisher.control import ControlError
from publisher.status import Status
from sensors.hardware import ONE_WIRE_DEVICES
from sensors.registry import DRIVERS, config_class
from sensors.settings import Rule
from technician import client
from technician.secrets import Redactor, exposed, known_secrets
from technician.service import NAME

#: Part of the journal: days, newest lines, and bytes of these.
JOURNAL_DAYS, JOURNAL_LINES, JOURNAL_BYTES = 7, 10_000, 4 << 20
COMMAND_S = 60.0
#: Messages of the kernel about a weak supply, a failing card or bus.
_KERNEL = re.compile(r"voltage|I/O error|EXT4-fs (error|warning)|mmc\d.*error", re.I)
_DEVICES = (
    "dev/gpiochip*", "dev/i2c-*", "dev/serial/by-id/*", "dev/ttyUSB*", "dev/ttyACM*",
    "dev/ttyAMA*", "dev/ttyS0", "dev/serial[0-9]", f"{ONE_WIRE_DEVICES}/*",
)  # fmt: skip
_NAMES_PI = Path("/proc/device-tree/model")


class Part(NamedTuple):
    """A file of the bundle; `missing` says why there is none."""

    name: str
    lines: Iterable[str] = ()
    missing: str = ""


def parts(state_dir: Path, config: Path, status: Status | None) -> Iterator[Part]:
    """Yield all parts; `status` is the running unit's, None if none runs."""
    text = _text_of(config)
    redactor = Redactor(known_secrets(text))
    made = (
        _status(status),
        _configuration(text),
        Part("check-config.json", _json(_faults(config))),
        Part("versions.json", _json(_versions())),
        _journal(),
        _kernel(),
        Part("devices.txt", _devices(Path("/"))),
        Part("files.txt", _files(state_dir)),
        _disks(),
    )
    for part in made:
        yield part._replace(lines=redactor.lines(part.lines), missing=redactor.text(part.missing))


def ask_status(state_dir: Path) -> Status | None:
    """Return the running unit's status; None if it does not answer."""
    try:
        return client.status(state_dir)
    except ControlError:
        return None


def _status(status: Status | None) -> Part:
    if status is None:
        return Part("status.json", missing="the service does not answer")
    return Part("status.json", _json(status))


def _text_of(config: Path) -> str:
    try:
        return config.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


def _configuration(text: str) -> Part:
    """Return known keys with valid values; a wrong key or value may be a secret."""
    name = "configuration.json"
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        return Part(name, missing="it is not TOML: see check-config.json")
    if not document:
        return Part(name, missing="there is none, or it may not be read")
    found: dict[str, Any] = {
        section: _values(document[section], kind)
        for section, kind in SECTIONS.items()
        if section in document
    }
    sensors = document.get("sensors")
    for sensor, table in sensors.items() if isinstance(sensors, Mapping) else ():
        driver = table.get("driver") if isinstance(table, Mapping) else None
        if isinstance(driver, str) and driver in DRIVERS:
            values = {"driver": driver, **_values(table, config_class(driver))}
            found.setdefault("sensors", {})[sensor] = values
    return Part(name, _json(found))


def _values(table: object, kind: type[Any]) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        return {}
    return {key: _shown(table[key], rule) for key, _, rule in keys_of(kind) if key in table}


def _shown(value: object, rule: Rule) -> object:
    if rule.secret:
        return "(is set)"
    is_good = isinstance(value, bool | int | float)
    if isinstance(value, str):
        is_good = value.isprintable() and not may_be_secret(value)
        is_good = is_good and (not rule.pattern or re.fullmatch(rule.pattern, value) is not None)
    return value if is_good else "(left out: it is not valid)"


def _faults(config: Path) -> dict[str, Any]:
    try:
        faults = exposed(load(config).broker)
    except ConfigError as error:
        faults = error.faults
    return {
        "file": str(config),
        "ok": not faults,
        "faults": [fault_json(*fault) for fault in faults],
    }


def _versions() -> dict[str, Any]:
    system = ""
    for line in _text_of(Path("/etc/os-release")).splitlines():
        if line.startswith("PRETTY_NAME="):
            system = line.partition("=")[2].strip('"')
    installed = {str(d.metadata["Name"]): d.version for d in distributions()}
    return {
        "tentwatch": installed.get("tentwatch"),
        "python": platform.python_version(),
        "system": system,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "board": _text_of(_NAMES_PI).strip("\0") or None,
        "uptime": _text_of(Path("/proc/uptime")).partition(" ")[0],
        "installed": dict(sorted(installed.items(), key=lambda item: item[0].lower())),
    }


def _journal() -> Part:
    name = "journal.txt"
    command = (
        "journalctl", "--unit", NAME, "--since", f"-{JOURNAL_DAYS}days", "--lines",
        str(JOURNAL_LINES), "--output", "short-iso", "--no-pager", "--quiet",
    )  # fmt: skip
    lines, why = _output(*command)
    if not lines:
        return Part(name, missing=why or "it has no lines of the service that this user may read")
    size, first = 0, len(lines)
    while first and (size := size + len(lines[first - 1]) + 1) <= JOURNAL_BYTES:
        first -= 1
    return Part(name, lines[first:])  # the newest lines


def _kernel() -> Part:
    lines, why = _output("dmesg", "--time-format", "iso")
    if why:
        return Part("kernel.txt", missing=why)
    return Part("kernel.txt", [line for line in lines if _KERNEL.search(line)])


def _disks() -> Part:
    lines, why = _output("df", "-k", "-T")
    return Part("disks.txt", lines, why)


def _devices(root: Path) -> Iterator[str]:
    for pattern in _DEVICES:
        for path in sorted(root.glob(pattern)):
            yield _listed(path)


def _files(state_dir: Path) -> Iterator[str]:
    try:
        found = sorted(state_dir.iterdir())
    except OSError as error:
        yield f"{state_dir}: {error.strerror}"
        return
    yield from map(_listed, found)


def _listed(path: Path) -> str:
    try:
        status = path.lstat()
        target = f" -> {os.readlink(path)}" if path.is_symlink() else ""  # noqa: PTH115 # as text
    except OSError as error:
        return f"{path}: {error.strerror}"
    owner = f"{status.st_uid}:{status.st_gid}"
    return f"{stat.filemode(status.st_mode)} {owner} {status.st_size:>12} {path}{target}"


def _output(*command: str) -> tuple[list[str], str]:
    """Return a program's output in lines, and why it failed, empty on success."""
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=COMMAND_S, check=False, env=environment
        )
    except FileNotFoundError:
        return [], f"{command[0]} is not there"
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"{command[0]}: {error}"
    lines = done.stdout.decode(errors="replace").splitlines()
    wrong = done.stderr.decode(errors="replace").strip().replace("\n", " ")
    return lines, f"{command[0]}: {wrong or done.returncode}" if done.returncode else ""


def _json(value: object) -> list[str]:
    return json.dumps(value, ensure_ascii=False, indent=2).splitlines()
