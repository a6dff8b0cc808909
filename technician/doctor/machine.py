"""Doctor's checks of the computer: supply, heat, clock, disk, store, files of secrets, the service.

The running unit's status is used for what the unit knows better.
"""

import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from publisher.clock import Clock
from publisher.config.sections import BrokerSettings
from publisher.control import BUSY, FORBIDDEN, NO_ANSWER, NONSENSE, STOPPING, ControlError
from publisher.link.credentials import check_files, tls_context
from publisher.link.troubles import Denied, Unusable
from publisher.status import Status
from publisher.store.at_rest import inspect
from publisher.store.file import FILE
from publisher.store.ledger import SecondPlace
from publisher.unit.board import HOT_C, LOW_DISK_MB, Board, Look
from technician.doctor.findings import (
    Finding,
    failure,
    not_tried,
    of_status,
    of_trouble,
    unknown,
    warning,
    well,
)
from technician.secrets import CREDENTIALS, OWNER, exposed, goes_in_the_clear
from technician.service import ServiceState, properties
from technician.words import marked

#: Folders that the service's sandbox hides from it (ProtectHome=).
HIDDEN = ("/home", "/root", "/run/user")
#: Longest time for reading a store that no service has open.
READ_LIMIT_S = 3.0
#: Less free space than this counts as none.
FULL_MB = 10
#: Age of the oldest record, in seconds, from which there must be a reason.
LONG_WAIT_S = 600
#: Number of restarts from which there must be a reason.
MANY_RESTARTS = 3


# The computer


def computer(state_dir: Path, root: Path, clock: Clock, status: Status | None) -> Iterator[Finding]:
    """Judge supply, heat, clock and disk; lamp and buzzer where they fail."""
    board = Board(state_dir, root)
    board.look(clock.now_s())
    unit: Mapping[str, Any] = {} if status is None else status["unit"]
    yield _supply(board.seen, unit)
    yield _heat(board.seen)
    yield _clock(clock, root, status)
    yield from _disk(state_dir, board.seen)
    for name in ("lamp", "buzzer"):
        trouble: Any = None if status is None else status.get(f"{name}_trouble")
        if found := of_status(trouble):
            yield found._replace(key=name)


def _supply(seen: Look, unit: Mapping[str, Any]) -> Finding:
    key = "power.undervoltage"
    cure = marked(
        "another adapter or converter (5.1 V), a shorter and thicker cable, fewer devices on the Pi's USB "
        "ports: too low a voltage damages cards and files"
    )
    times = unit.get("undervoltages") or 0
    if seen.undervoltage:
        return failure(key, marked("the Pi's supply is too low now"), cure)
    if times:
        seen_text = marked(
            "the Pi's supply was too low {times} times since the service was started"
        )
        return warning(key, seen_text, cure, times=times)
    if seen.undervoltage is None:
        return not_tried(key, marked("this computer does not report on its supply"))
    return well(key, marked("the supply is high enough"))


def _heat(seen: Look) -> Finding:
    key = "power.heat"
    cure = marked("shade, air or a heat sink for the Pi: from 80 °C on it slows itself down")
    if seen.cpu_c is None:
        return not_tried(key, marked("this computer does not report its temperature"))
    if seen.cpu_c >= HOT_C:
        return failure(key, marked("the processor has {celsius:.0f} °C"), cure, celsius=seen.cpu_c)
    if seen.throttled and not seen.undervoltage:
        slowed = marked("the processor has {celsius:.0f} °C and is slowed down")
        return warning(key, slowed, cure, celsius=seen.cpu_c)
    return well(key, marked("the processor has {celsius:.0f} °C"), celsius=seen.cpu_c)


def _clock(clock: Clock, root: Path, status: Status | None) -> Finding:
    key, now = "clock.synced", clock.now()
    if now.synced or (status is not None and status["clock"] == "synced"):
        return well(key, marked("set by a time server"))
    if (root / "run/systemd/system").is_dir():
        shown = properties("timedatectl", "show", "-p", "NTP") or {}
        if shown.get("NTP") == "no":
            return warning(
                key,
                marked("no time server sets this clock: synchronisation is switched off"),
                marked("sudo timedatectl set-ntp true"),
            )
    return warning(
        key,
        marked("no time server has set this clock since the start"),
        marked(
            "the time comes with the internet; if it does not, UDP port 123 is blocked: name a "
            "time server of this network as NTP= in /etc/systemd/timesyncd.conf. The unit goes "
            "on counting"
        ),
    )


def _disk(state_dir: Path, seen: Look) -> Iterator[Finding]:
    key = "disk.space"
    if seen.disk_free_mb is None:
        yield not_tried(key, marked("{directory} is not there"), directory=state_dir)
        yield not_tried("disk.writable", marked("{directory} is not there"), directory=state_dir)
        return
    cure = marked("free space: sudo du -xh / | sort -h | tail shows what fills the card")
    free = marked("{megabytes} MB are free")
    if seen.disk_free_mb < FULL_MB:
        yield failure(key, free, cure, megabytes=seen.disk_free_mb)
    elif seen.disk_free_mb < LOW_DISK_MB:
        yield warning(key, free, cure, megabytes=seen.disk_free_mb)
    else:
        yield well(key, free, megabytes=seen.disk_free_mb)
    key = "disk.writable"
    try:
        is_readonly = bool(os.statvfs(state_dir).f_flag & os.ST_RDONLY)
    except OSError:
        is_readonly = True
    if is_readonly:
        yield failure(
            key,
            marked("{directory} is read-only: the card has failed, or is mounted read-only"),
            marked("reboot the Pi; if it happens again, replace the card"),
            directory=state_dir,
        )
    else:
        yield well(key, marked("its file system can be written"))


# The store


def store(state_dir: Path, status: Status | None, *, may_read: bool) -> Iterator[Finding]:
    """Judge the store; without a status the file is read if `may_read`, and never changed."""
    key = "store.file"
    if status is not None:
        found = _of_store(key, status, "error", "trouble")
    elif state_dir.exists() and not os.access(state_dir, os.R_OK | os.X_OK):
        yield not_tried(key, marked("this user may not look"), marked("use sudo"))
        return
    elif not may_read:
        yield not_tried(key, marked("the service has it, and does not answer"))
        return
    elif not (state_dir / FILE).exists():
        yield not_tried(key, marked("there is none yet: the service makes it"))
        return
    else:
        trouble = inspect(state_dir, READ_LIMIT_S)
        found = None if trouble is None else of_trouble(key, trouble.kind, trouble.values)
    yield found or well(key, marked("in order"))
    yield _second_place(state_dir, status)
    yield _set_aside(state_dir)
    yield _backlog(state_dir, status)


def _of_store(key: str, status: Status | None, text: str, trouble: str) -> Finding | None:
    """Return the finding of a fault of the store in the unit's status, from the keys of its text and code."""
    report: Mapping[str, Any] = {} if status is None else status["store"]
    error = report.get(text)
    return (of_status(report.get(trouble)) or unknown(key, error)) if error else None


def _second_place(state_dir: Path, status: Status | None) -> Finding:
    key = "store.second_place"
    found = _of_store(key, status, "second_place", "second_place_trouble")
    if found is not None:
        return found
    if status is None and SecondPlace(state_dir).read() is None:
        return warning(
            key,
            marked("the totals have no second place"),
            marked("nothing to do: the service writes it when it starts"),
        )
    return well(key, marked("in order"))


def _set_aside(state_dir: Path) -> Finding:
    key = "store.set_aside"
    names = sorted(
        path.name
        for shape in ("tentwatch.corrupt-*", "tentwatch.version-*")
        for path in state_dir.glob(shape)
        if not path.name.endswith(("-wal", "-shm"))
    )
    if not names:
        return well(key, marked("no damaged store was set aside"))
    return warning(
        key,
        marked("set aside: {names}"),
        marked(
            "what could be read is in the present store: copy the files away to find the cause, "
            "then sudo rm {directory}/tentwatch.corrupt-*. If it happens again, replace the card"
        ),
        names=", ".join(names),
        directory=state_dir,
    )


def _backlog(state_dir: Path, status: Status | None) -> Finding:
    key = "store.backlog"
    if status is None:
        ledger = SecondPlace(state_dir).read()
        rows, oldest_s, dropped = (ledger.rows or 0, 0, ledger.dropped) if ledger else (0, 0, 0)
    else:
        buffer = status["buffer"]
        rows, oldest_s, dropped = buffer["rows"], buffer["oldest_s"], buffer["dropped"]
    if dropped:
        return warning(
            key,
            marked("{rows} records wait, {dropped} were dropped: the store was full"),
            marked(
                "they are lost, the totals are not; mend the link, and raise max_rows in [store]"
            ),
            rows=rows,
            dropped=dropped,
        )
    if oldest_s > LONG_WAIT_S:
        return warning(
            key,
            marked("{rows} records wait, the oldest for {minutes:.0f} minutes"),
            marked("nothing is lost: they go out when the checks of the broker are in order"),
            rows=rows,
            minutes=oldest_s / 60,
        )
    return well(key, marked("{rows} records wait"), rows=rows)


# The files of the configuration


def configuration(file: Path) -> Finding:
    """Judge a valid configuration: whether the service can read it as well."""
    return _beyond_reach("config.file", file) or well(
        "config.file", marked("{file} is in order"), file=file
    )


def _beyond_reach(key: str, file: Path) -> Finding | None:
    """Return the finding that the service cannot read a file, by its mode and its place."""
    try:
        user = pwd.getpwnam(OWNER)
        file, found = file.resolve(), file.stat()
        groups = os.getgrouplist(OWNER, user.pw_gid)
    except (KeyError, OSError, RuntimeError):
        return None  # no such user: nothing is installed here
    if any(file.is_relative_to(place) for place in HIDDEN):
        return failure(
            key,
            marked("{file} lies where the service cannot see it"),
            marked("move it to /etc/tentwatch, and change the configuration that names it"),
            file=file,
        )
    bit = 0o400 if found.st_uid == user.pw_uid else 0o040 if found.st_gid in groups else 0o004
    if found.st_mode & bit or file.is_relative_to(CREDENTIALS):
        return None
    return failure(
        key,
        marked("{file} cannot be read by the service"),
        marked("sudo chown {user}: {file}, then sudo systemctl restart tentwatch"),
        file=file,
        user=OWNER,
    )


def secrets(broker: BrokerSettings) -> Iterator[Finding]:
    """Judge the files that `[broker]` names: whether they can be used, and who can read them."""
    key = "config.secrets"
    try:
        check_files(broker)
        if broker.tls:
            tls_context(broker)
    except Denied:
        yield not_tried(key, marked("this user may not read them"), marked("use sudo"))
        return
    except Unusable as error:
        yield of_trouble(key, error.kind, error.values)
        return
    if broker.password_file and not Path(broker.password_file).read_bytes().strip():
        yield failure(
            key,
            marked("{file} is empty"),
            marked("write the password that the centre has given into it: sudo nano {file}"),
            file=broker.password_file,
        )
        return
    names = (
        getattr(broker, name) for name in ("password_file", "ca_file", "cert_file", "key_file")
    )
    for name in filter(None, names):
        if hidden := _beyond_reach(key, Path(name)):
            yield hidden
            return
    faults = exposed(broker)
    if faults:
        _key, trouble = faults[0]
        yield of_trouble(key, trouble.kind, trouble.values)
    elif goes_in_the_clear(broker):
        yield warning(
            key,
            marked("the password crosses the network in the clear: others can read it"),
            marked("set tls = true in [broker], and the broker's port for it (8883)"),
        )
    else:
        yield well(key, marked("nobody else can read them"))


# The service


def service(
    state: ServiceState | None, status: Status | None, why: ControlError | None, installed: str
) -> Iterator[Finding]:
    """Judge the service; `why` it did not answer, `installed` is this version."""
    key = "service.enabled"
    if state is None:
        yield not_tried(key, marked("systemd does not run this machine"))
    elif state.load == "not-found":
        yield failure(
            key,
            marked("it is not installed"),
            marked(
                "sudo ./install.sh in the bundle's folder; by hand: put tentwatch.service into "
                "/etc/systemd/system, then sudo systemctl daemon-reload and sudo systemctl enable --now "
                "tentwatch"
            ),
        )
    elif state.enabled in ("enabled", "enabled-runtime"):
        yield well(key, marked("it starts with the Pi"))
    else:
        yield failure(
            key,
            marked("it does not start with the Pi ({state})"),
            marked("sudo systemctl enable tentwatch"),
            state=state.enabled or state.load,
        )
    yield _running(state, status, why)
    yield _version(status, installed)


def _running(
    state: ServiceState | None, status: Status | None, why: ControlError | None
) -> Finding:
    key = "service.running"
    restarts = 0 if state is None else state.restarts
    if status is not None:
        if restarts >= MANY_RESTARTS:
            return warning(
                key,
                marked("it runs, and has restarted {times} times"),
                marked("journalctl -u tentwatch -n 100 shows why; please report it"),
                times=restarts,
            )
        return well(key, marked("it runs and answers"))
    if why is not None and why.kind == FORBIDDEN:
        return not_tried(key, marked("this user may not ask it"), marked("use sudo"))
    if why is not None and why.kind == NONSENSE:
        return of_trouble(key, why.kind, why.values)
    if why is not None and why.kind in (NO_ANSWER, STOPPING, BUSY):
        return failure(
            key,
            marked("it runs and does not answer"),
            marked(
                "wait for a minute: systemd restarts it. If it hangs again, journalctl -u "
                "tentwatch shows where; please report it"
            ),
        )
    if restarts >= MANY_RESTARTS or (state is not None and state.active == "activating"):
        return failure(
            key,
            marked("it keeps restarting ({times} times)"),
            marked("journalctl -u tentwatch -n 20 shows why; mend what the checks above name"),
            times=restarts,
        )
    return failure(key, marked("it does not run"), marked("sudo systemctl start tentwatch"))


def _version(status: Status | None, installed: str) -> Finding:
    key = "service.version"
    if status is None:
        return well(key, marked("{version} is installed"), version=installed)
    if status["software"] != installed:
        return failure(
            key,
            marked("{running} runs, and {installed} is installed"),
            marked("sudo systemctl restart tentwatch"),
            running=status["software"],
            installed=installed,
        )
    return well(key, marked("{version} is installed and runs"), version=installed)
