"""The service on this unit, by systemctl: its state, stopping and starting it."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from technician.words import _

NAME = "tentwatch"
#: Longest wait for systemctl; a stop takes 10 s at most (`systemd/tentwatch.service`).
TIMEOUT_S = 60.0
#: Longest wait for an answer of systemctl or timedatectl, which usually comes at once.
ASK_LIMIT_S = 2.0


class ServiceState(NamedTuple):
    """The service's state in systemd's own words; empty where it gives none."""

    load: str
    enabled: str
    active: str
    restarts: int


class Service:
    """The service, where systemd runs; `root` is where `run` is."""

    def __init__(self, root: Path) -> None:
        self._is_there = (root / "run/systemd/system").is_dir()

    def is_active(self) -> bool:
        """Say whether it runs or is starting."""
        return self._is_there and not _systemctl("is-active", "--quiet")

    def is_installed(self) -> bool:
        """Say whether systemd knows it."""
        return self._is_there and not _systemctl("cat")

    def stop(self) -> str:
        """Stop it; return why that fails, empty on success."""
        return _systemctl("stop")

    def restart(self) -> str:
        """Start or restart it; return why that fails, empty on success."""
        return _systemctl("restart")

    def state(self) -> ServiceState | None:
        """Return its state; None if systemd does not run this machine or does not answer."""
        names = "LoadState,UnitFileState,ActiveState,NRestarts"
        shown = properties("systemctl", "show", NAME, "-p", names) if self._is_there else None
        if shown is None:
            return None
        load, enabled, active, restarts = (shown.get(name, "") for name in names.split(","))
        return ServiceState(load, enabled, active, int(restarts) if restarts.isdecimal() else 0)


def properties(*command: str) -> dict[str, str] | None:
    """Return what systemctl or timedatectl prints as KEY=VALUE lines; None if it fails."""
    done = _run(*command, limit_s=ASK_LIMIT_S)
    if isinstance(done, str) or done.returncode:
        return None
    lines = (line.partition("=") for line in done.stdout.splitlines())
    return {key: value for key, _equals, value in lines}


def _systemctl(*what: str) -> str:
    """Run systemctl for the service; return why that fails, empty on success."""
    done = _run("systemctl", *what, NAME, limit_s=TIMEOUT_S)
    if isinstance(done, str):
        return done
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    if lines:
        return lines[-1]
    return _("systemctl {what} failed ({code})").format(what=what[0], code=done.returncode)


def _run(*command: str, limit_s: float) -> "subprocess.CompletedProcess[str] | str":
    """Run a command; return the finished process, or why it could not be run."""
    program = shutil.which(command[0])
    if program is None:
        return _("{program} is not installed").format(program=command[0])
    try:
        return subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
