"""The service on this unit, by systemctl: whoever needs its devices stops it and starts it again."""

import shutil
import subprocess
from pathlib import Path

NAME = "tentwatch"
#: A stop takes 10 s at most (`systemd/tentwatch.service`).
TIMEOUT_S = 60.0


class Service:
    """The service, where systemd runs; `root` is where `run` is."""

    def __init__(self, root: Path) -> None:
        self._is_there = (root / "run/systemd/system").is_dir() and bool(shutil.which("systemctl"))

    def is_active(self) -> bool:
        """Say whether it runs, or is about to."""
        return self._is_there and not self._call("is-active", "--quiet")

    def is_installed(self) -> bool:
        """Say whether systemd knows it."""
        return self._is_there and not self._call("cat")

    def stop(self) -> str:
        """Stop it; return why it cannot be stopped, empty where it is."""
        return self._call("stop")

    def restart(self) -> str:
        """Start it, anew where it runs; return why that cannot be, empty where it is."""
        return self._call("restart")

    def _call(self, *what: str) -> str:
        try:
            done = subprocess.run(
                ["systemctl", *what, NAME],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode == 0:
            return ""
        said = done.stderr.strip().splitlines()
        return said[-1] if said else f"systemctl {what[0]} failed ({done.returncode})"
