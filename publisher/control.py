"""The control socket: commands on the unit itself to the agent. One JSON line each way."""

import contextlib
import json
import selectors
import socket
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from publisher.files import make_way
from publisher.in_memory import places
from sensors.json_in import parsed
from sensors.trouble import Trouble, declare, marked

FILE = "control.sock"
#: Largest request in bytes; a longer one is answered like an invalid one.
MAX_BYTES = 4096
#: Seconds that a peer may take to send its request, and that a client waits for the answer.
TIMEOUT_S = 5.0
#: Seconds that a stop waits for a pending answer.
STOP_S = 1.0
#: Most peers at a time; another one closes the connection that has been open longest.
MAX_PEERS = 16


class HeadcountAnswer(TypedDict):
    """The answer to `headcount`."""

    people: int


class OpenAnswer(TypedDict):
    """The answer to `open`."""

    open: bool


class IdentifyAnswer(TypedDict):
    """The answer to `identify`."""

    seconds: int


class ZeroAnswer(TypedDict):
    """The answer to `zero`."""

    sensor: str
    zero_a: float


class ServicedAnswer(TypedDict):
    """The answer to `serviced`."""

    hours_total: float


class RefuelledAnswer(TypedDict):
    """The answer to `refuelled`."""

    fuel_l: float | None


#: A record's number, `boot` and `seq`.
Number = dict[str, int]


class ResendAnswer(TypedDict):
    """The answer to `resend`: how many records follow, and ranges of those that the unit does not have.

    A range has `boot`, `from` and `to`, which is None where the boot's last record is not known. `until` is
    the last record that the answer is about.
    """

    sent: int
    missing: list[dict[str, int | None]]
    until: Number


class LogPage(TypedDict):
    """The answer to `log`: lines of the visitor log, each with its date, as JSON."""

    id: str
    name: str
    timezone: str
    days: list[tuple[str, str]]
    more: bool  # whether there are more days than these
    today: dict[str, Any] | None
    undated: dict[str, Any] | None


class BacklogPage(TypedDict):
    """The answer to `backlog`: records as JSON, and the ids between which the next ones are."""

    records: list[str]
    after: int
    until: int


class ControlError(Trouble):
    """The agent cannot be asked."""


class NotRunning(ControlError):
    """No agent listens on the socket."""


NO_SOCKET = declare(
    "service.no_socket",
    marked("{path} does not exist"),
    marked("tentwatch is not running, or --state-dir is another"),
)
FORBIDDEN = declare(
    "service.forbidden",
    marked("{path} may not be opened"),
    marked("use sudo, or join group tentwatch"),
)
NO_ANSWER = declare(
    "service.no_answer",
    marked("tentwatch runs and has not answered for {seconds:.0f} s"),
    marked(
        "if it hangs, it is started again within a minute; journalctl -u tentwatch says where it hung"
    ),
)
DEAF = declare(
    "service.deaf", marked("{path} does not answer ({error})"), marked("is tentwatch running?")
)
STOPPING = declare(
    "service.stopping", marked("tentwatch is stopping"), marked("try again in a minute")
)
BUSY = declare("service.busy", marked("the agent is busy"), marked("try again in a minute"))
NONSENSE = declare(
    "service.nonsense",
    marked("what {path} answers makes no sense ({flaw})"),
    marked("the service may be of another version: sudo systemctl restart tentwatch"),
)


def refusal(trouble: Trouble) -> dict[str, Any]:
    """Return the answer to a request that is not carried out."""
    return {"ok": False, "error": str(trouble), "trouble": trouble.as_dict()}


class Control:
    """Listens in a directory. Everybody who may open the socket (owner, group) may ask.

    One thread serves all peers. A peer that sends nothing or half a line, or never reads its answer,
    delays nobody.
    """

    def __init__(self, directory: Path, handle: Callable[[Any], dict[str, Any]]) -> None:
        """`handle` gets each request and returns its answer; it is called from this thread.

        Raises OSError if the socket cannot be made.
        """
        self._path = directory / FILE
        self._handle = handle
        self._closing = False
        self._peers: dict[socket.socket, tuple[float, bytearray]] = {}  # time limit, bytes so far
        self._unsent: dict[socket.socket, bytes] = {}  # the rest of a long answer
        make_way(self._path, stat.S_ISSOCK)
        self._path.unlink(missing_ok=True)  # left by a power cut
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(str(self._path))
            self._path.chmod(0o660)
            self._inode = self._path.stat().st_ino
            self._socket.listen()
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def is_in(self, directory: Path) -> bool:
        """Return whether the socket is in this directory, and still has its name there."""
        with contextlib.suppress(OSError):
            path = directory / FILE
            return path == self._path and path.stat().st_ino == self._inode
        return False

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        self._socket.close()
        if self.is_in(self._path.parent):
            with contextlib.suppress(OSError):  # on a read-only card the next start replaces it
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
                        self._accept(selector)
                    elif sock in self._unsent:
                        self._send(selector, sock, self._unsent[sock])
                    elif sock in self._peers:
                        self._receive(selector, sock)
                now_s = time.monotonic()
                for peer in [p for p, (at_s, _) in self._peers.items() if at_s <= now_s]:
                    self._hang_up(selector, peer)
            for peer in list(self._peers):
                self._hang_up(selector, peer)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            peer, _ = self._socket.accept()
        except OSError:
            return
        peer.setblocking(False)
        if len(self._peers) >= MAX_PEERS:
            self._hang_up(selector, next(iter(self._peers)))
        self._peers[peer] = (time.monotonic() + TIMEOUT_S, bytearray())
        selector.register(peer, selectors.EVENT_READ)

    def _receive(self, selector: selectors.BaseSelector, peer: socket.socket) -> None:
        received = self._peers[peer][1]
        with contextlib.suppress(OSError):
            piece = peer.recv(MAX_BYTES)
            received += piece
            if piece and b"\n" not in received and len(received) < MAX_BYTES:
                return  # the request is not complete yet
            line = bytes(received[:MAX_BYTES]).partition(b"\n")[0]
            if line:
                answer = json.dumps(self._handle(_request(line))).encode() + b"\n"
                self._send(selector, peer, answer)
                return
        self._hang_up(selector, peer)

    def _send(self, selector: selectors.BaseSelector, peer: socket.socket, answer: bytes) -> None:
        """Send as much as the socket's buffer accepts, nearly always all; the rest once the peer has read."""
        with contextlib.suppress(OSError):
            rest = answer[peer.send(answer) :]
            if rest:
                self._unsent[peer] = rest
                selector.modify(peer, selectors.EVENT_WRITE)
                return
        self._hang_up(selector, peer)

    def _hang_up(self, selector: selectors.BaseSelector, peer: socket.socket) -> None:
        del self._peers[peer]
        self._unsent.pop(peer, None)
        selector.unregister(peer)
        peer.close()


def _request(line: bytes) -> Any:
    try:
        return parsed(line)
    except ValueError:
        return None


def ask(directory: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the agent whose state is in `directory`. Raises ControlError if it does not answer."""
    try:
        return _ask(directory / FILE, request)
    except ControlError as error:
        if error.kind in (NO_SOCKET, DEAF):
            for place in places(
                directory
            ):  # where it listens while the directory can hold no socket
                with contextlib.suppress(ControlError):
                    return _ask(place / FILE, request)
        raise


def _ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(TIMEOUT_S)
            peer.connect(str(path))
            with peer.makefile("rwb") as stream:
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                answer = parsed(stream.readline())
    except (FileNotFoundError, NotADirectoryError):
        raise NotRunning(NO_SOCKET, path=str(path)) from None
    except PermissionError:
        raise ControlError(FORBIDDEN, path=str(path)) from None
    except (TimeoutError, BlockingIOError):
        raise ControlError(NO_ANSWER, seconds=TIMEOUT_S) from None
    except ValueError:
        raise ControlError(NONSENSE, path=str(path), flaw=marked("it is not JSON")) from None
    except OSError as error:
        kind = NotRunning if isinstance(error, ConnectionRefusedError) else ControlError
        raise kind(DEAF, path=str(path), error=str(error)) from error
    if not isinstance(answer, dict):
        raise ControlError(NONSENSE, path=str(path), flaw=marked("it is not a JSON object"))
    return answer
