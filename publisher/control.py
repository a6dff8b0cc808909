"""The control socket: how commands on the unit itself reach the agent. One JSON line each way."""

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sensors.json_in import parsed

FILE = "control.sock"
#: A longer request is answered as no command.
MAX_BYTES = 4096
#: Time that a peer has to say what it wants, and that one who asks waits for an answer.
TIMEOUT_S = 5.0
#: Time that a stop waits for an answer that is being made.
STOP_S = 1.0
#: Peers that may hesitate at a time; for one more the one who has done so longest is hung up on.
MOST_PEERS = 16


class ControlError(Exception):
    """The agent cannot be asked; the message says what to do."""


class NotRunning(ControlError):
    """No agent listens there."""


class Control:
    """Listens in the state directory; whoever may open the socket (owner, group) may ask.

    One thread, which waits for all peers at once: one that says nothing, or half a line, or never
    reads its answer, delays nobody.
    """

    def __init__(self, directory: Path, handle: Callable[[Any], dict[str, Any]]) -> None:
        """`handle` gets each request and returns its answer; it is called from this thread.

        Raises OSError where the socket cannot be made.
        """
        self._path = directory / FILE
        self._handle = handle
        self._closing = False
        self._peers: dict[socket.socket, tuple[float, bytearray]] = {}  # limit, what was said
        self._unsent: dict[socket.socket, bytes] = {}  # what is left of a long answer
        _make_way(self._path)
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(str(self._path))
            self._path.chmod(0o660)
            self._socket.listen()
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # which wakes the thread
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        self._socket.close()
        with contextlib.suppress(OSError):  # on a card gone read-only it stays, and is replaced
            self._path.unlink()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while not self._closing:
                limit_s = min((at_s for at_s, _ in self._peers.values()), default=None)
                wait_s = None if limit_s is None else max(0.0, limit_s - time.monotonic())
                for key, _ in selector.select(wait_s):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock is self._socket:
                        self._greet(selector)
                    elif sock in self._unsent:
                        self._say(selector, sock, self._unsent[sock])
                    elif sock in self._peers:
                        self._hear(selector, sock)
                now_s = time.monotonic()
                for peer in [p for p, (at_s, _) in self._peers.items() if at_s <= now_s]:
                    self._leave(selector, peer)
            for peer in list(self._peers):
                self._leave(selector, peer)

    def _greet(self, selector: selectors.BaseSelector) -> None:
        try:
            peer, _ = self._socket.accept()
        except OSError:
            return
        peer.setblocking(False)
        if len(self._peers) >= MOST_PEERS:
            self._leave(selector, next(iter(self._peers)))
        self._peers[peer] = (time.monotonic() + TIMEOUT_S, bytearray())
        selector.register(peer, selectors.EVENT_READ)

    def _hear(self, selector: selectors.BaseSelector, peer: socket.socket) -> None:
        said = self._peers[peer][1]
        with contextlib.suppress(OSError):
            piece = peer.recv(MAX_BYTES)
            said += piece
            if piece and b"\n" not in said and len(said) < MAX_BYTES:
                return  # there is more to come
            line = bytes(said[:MAX_BYTES]).partition(b"\n")[0]
            if line:
                answer = json.dumps(self._handle(_request(line))).encode() + b"\n"
                self._say(selector, peer, answer)
                return
        self._leave(selector, peer)

    def _say(self, selector: selectors.BaseSelector, peer: socket.socket, answer: bytes) -> None:
        """Send what the socket's buffer takes, nearly always all; the rest when the peer has read."""
        with contextlib.suppress(OSError):
            rest = answer[peer.send(answer) :]
            if rest:
                self._unsent[peer] = rest
                selector.modify(peer, selectors.EVENT_WRITE)
                return
        self._leave(selector, peer)

    def _leave(self, selector: selectors.BaseSelector, peer: socket.socket) -> None:
        del self._peers[peer]
        self._unsent.pop(peer, None)
        selector.unregister(peer)
        peer.close()


def _make_way(path: Path) -> None:
    """Remove a socket that a power cut left; what is none, and in its way, is set aside.

    Raises OSError.
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    number = 1
    while (aside := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    path.rename(aside)


def _request(line: bytes) -> Any:
    try:
        return parsed(line)
    except ValueError:
        return None


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
                answer = parsed(stream.readline())
    except FileNotFoundError:
        raise NotRunning(
            f"{path} does not exist: tentwatch is not running, or --state-dir is another"
        ) from None
    except PermissionError:
        raise ControlError(f"{path} may not be opened: use sudo, or join group tentwatch") from None
    except (TimeoutError, BlockingIOError):
        raise ControlError(
            f"tentwatch runs and has not answered for {TIMEOUT_S:.0f} s: if it hangs, it is started "
            f"again within a minute; journalctl -u tentwatch says where it hung"
        ) from None
    except (OSError, ValueError) as error:
        kind = NotRunning if isinstance(error, ConnectionRefusedError) else ControlError
        raise kind(f"{path} does not answer ({error}): is tentwatch running?") from error
    if not isinstance(answer, dict):
        raise ControlError(f"{path} gave no answer that makes sense")
    return answer
