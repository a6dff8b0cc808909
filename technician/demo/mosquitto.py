"""The demonstration's own mosquitto, on this machine only, for as long as the demonstration runs."""

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from technician.words import _

PORT = 18830
START_LIMIT_S = 10.0
PROBE_LIMIT_S = 1.0

_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 100000
"""

#: A shell script that runs a program and ends it when the other end of standard input closes: that
#: happens however the demonstration ends, and works for a broker that has changed its user.
_TIED = 'exec 3<&0; (read -r _; kill $$) <&3 & exec "$@" </dev/null 3<&-'


class BrokerError(Exception):
    """No broker could be started; the message says what to do."""


class Mosquitto:
    """A context manager around the process; `port` is where it listens."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        """Keep configuration and log in `directory`; take `port`, or PORT or another free one."""
        self._directory = directory
        self._claim = socket.socket(socket.AF_UNIX)
        self.port = self._free_port() if port is None else port
        self._process: subprocess.Popen[bytes] | None = None

    def _free_port(self) -> int:
        """Return PORT, or another one: a demonstration that begins at the same time must not have it, too."""
        try:
            self._claim.bind(f"\0tentwatch-demo-{PORT}")
        except OSError:
            return free_port()
        return free_port(PORT)

    def __enter__(self) -> "Mosquitto":
        """Start it and wait until it is at work. Raises BrokerError."""
        # Debian keeps it in /usr/sbin, which is not on everybody's PATH.
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            raise BrokerError(_("mosquitto is not installed: sudo apt-get install mosquitto"))
        config, log = self._directory / "mosquitto.conf", self._directory / "mosquitto.log"
        config.write_text(_CONFIG.format(port=self.port))
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["sh", "-c", _TIED, "sh", program, "-c", str(config)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        limit_s = time.monotonic() + START_LIMIT_S
        while not serves(self.port):
            if self._process.poll() is not None or time.monotonic() > limit_s:
                self.close()
                why = log.read_text().strip()[-500:]
                raise BrokerError(_("mosquitto did not start: {why}").format(why=why))
            time.sleep(0.02)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.close()

    def close(self) -> None:
        """Stop it."""
        self._claim.close()
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait()


def serves(port: int) -> bool:
    """Say whether a broker is at work on this machine's `port`: it notices that we hang up.

    One that listens, and does not work yet, may miss a SIGTERM and never end.
    """
    with socket.socket() as probe:
        probe.settimeout(PROBE_LIMIT_S)
        try:
            probe.connect(("127.0.0.1", port))
            probe.shutdown(socket.SHUT_WR)
            probe.recv(1)  # nothing, or what TLS says of it
            return True
        except OSError:
            return False


def free_port(*wanted: int) -> int:
    """Return the first free port of those wanted, else any. Raises BrokerError where none is."""
    for port in (*wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise BrokerError(_("no free TCP port on this machine"))
