"""The control socket: how commands on the unit itself reach the agent. One JSON line each way."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = "control.sock"
MAX_BYTES = 4096
TIMEOUT_S = 5.0


class ControlError(Exception):
    """The agent cannot be asked; the message says what to do."""


class Control:
    """Listens in the state directory; whoever may open the socket (owner, group) may ask."""

    def __init__(self, directory: Path, handle: Callable[[Any], dict[str, Any]]) -> None:
        """`handle` gets each request and returns its answer; it is called from this thread.

        Raises OSError where the socket cannot be made.
        """
        self._path = directory / FILE
        self._handle = handle
        self._path.unlink(missing_ok=True)  # a power cut left it
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(str(self._path))
            self._path.chmod(0o660)
            self._socket.listen(4)
        except OSError:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with contextlib.suppress(OSError):  # on a card gone read-only it stays, and is replaced
            self._path.unlink()

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                peer.settimeout(TIMEOUT_S)
                self._serve(peer)

    def _serve(self, peer: socket.socket) -> None:
        with peer.makefile("rwb") as stream:
            line = stream.readline(MAX_BYTES)
            try:
                request = json.loads(line)
            except (ValueError, RecursionError):
                request = None
            stream.write(json.dumps(self._handle(request)).encode() + b"\n")


def ask(directory: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the agent whose state is in `directory`. Raises ControlError where it does not answer."""
    path = directory / FILE
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(TIMEOUT_S)
            peer.connect(str(path))
            with peer.makefile("rwb") as stream:
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                answer = json.loads(stream.readline())
    except FileNotFoundError:
        raise ControlError(
            f"{path} does not exist: tentwatch is not running, or --state-dir is another"
        ) from None
    except PermissionError:
        raise ControlError(f"{path} may not be opened: use sudo, or join group tentwatch") from None
    except (OSError, ValueError) as error:
        raise ControlError(f"{path} does not answer ({error}): is tentwatch running?") from error
    if not isinstance(answer, dict):
        raise ControlError(f"{path} gave no answer that makes sense")
    return answer
