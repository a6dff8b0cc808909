"""A wire between a unit and its broker that can be cut, frozen, narrowed, and tampered with."""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

#: Takes (whether from the unit, bytes) and returns the bytes to pass on instead. `Wire.tamper` gets pieces
#: of the stream as they come, `Wire.edit` whole MQTT packets.
Tamper = Callable[[bool, bytes], bytes]

CHUNK = 4096


class Wire:
    """Forwards every connection to its port to another port of this machine.

    Its attributes say what it does to the connections; they may change at any time.
    """

    def __init__(self, to_port: int) -> None:
        self.to_port = to_port
        self.refuses = False  # closes each new connection at once
        self.frozen = False  # accepts no more bytes, and passes none on
        self.swallows = False  # accepts bytes and drops them
        self.delay_s = 0.0
        self.bytes_per_s = 0.0  # in each direction; 0 is no limit
        self.tamper: Tamper | None = None
        self.edit: Tamper | None = None  # for connections that begin from now on, without TLS
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="wire", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and the listener."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        self._thread.join()

    def cut(self, *, reset: bool = False) -> None:
        """End the connections, with a FIN or a reset."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.end(reset=reset)

    def freeze(self, timeout_s: float) -> bool:
        """Freeze, and wait until nothing is in transit; return whether that was reached."""
        self.frozen = True
        with self._lock:
            pairs = [*self._pairs]
        return all(pair.await_still(timeout_s) for pair in pairs)

    def half_close(self) -> None:
        """Close one direction only: for the unit the broker has ended its stream."""
        with self._lock:
            for pair in self._pairs:
                with contextlib.suppress(OSError):
                    pair.unit.shutdown(socket.SHUT_WR)

    def inject(self, packet: bytes) -> None:
        """Send the unit bytes of our own."""
        with self._lock:
            for pair in self._pairs:
                with contextlib.suppress(OSError):
                    pair.unit.sendall(packet)

    def _accept(self) -> None:
        while True:
            try:
                unit, _ = self._server.accept()
            except OSError:
                return
            if self.refuses:
                unit.close()
                continue
            try:
                broker = socket.create_connection(("127.0.0.1", self.to_port), timeout=5.0)
            except OSError:
                unit.close()
                continue
            pair = _Pair(self, unit, broker)
            with self._lock:
                self._pairs = [p for p in self._pairs if not p.ended.is_set()]
                self._pairs.append(pair)
            pair.start()


class _Pair:
    """One connection: two sockets, and a thread for each direction."""

    def __init__(self, wire: Wire, unit: socket.socket, broker: socket.socket) -> None:
        self.unit, self.broker = unit, broker
        self._wire = wire
        self._edit = wire.edit
        self._still = {True: threading.Event(), False: threading.Event()}
        self.ended = threading.Event()
        self._is_reset = False
        self._threads = [
            threading.Thread(target=self._pass_on, args=(from_unit,), daemon=True)
            for from_unit in (True, False)
        ]
        for sock in (unit, broker):
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        threading.Thread(target=self._close, daemon=True).start()

    def end(self, *, reset: bool = False) -> None:
        self._is_reset = reset
        self.ended.set()

    def _close(self) -> None:
        for thread in self._threads:
            thread.join()
        for sock in (self.unit, self.broker):
            if self._is_reset:
                linger = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            sock.close()

    def _pass_on(self, from_unit: bool) -> None:
        wire = self._wire
        source, sink = (self.unit, self.broker) if from_unit else (self.broker, self.unit)
        still, rest = self._still[from_unit], b""
        with contextlib.suppress(OSError, ValueError), self._ending(still):
            while not self.ended.is_set():
                still.clear()
                if wire.frozen:
                    still.set()
                    self.ended.wait(0.02)
                    continue
                if not select.select([source], [], [], 0.05)[0]:
                    continue
                content = source.recv(CHUNK)
                if not content:
                    break
                if wire.swallows:
                    continue
                if wire.delay_s:
                    self.ended.wait(wire.delay_s)
                if wire.bytes_per_s:
                    self.ended.wait(len(content) / wire.bytes_per_s)
                tamper, edit = wire.tamper, self._edit
                if tamper is not None:
                    content = tamper(from_unit, content)
                if edit is not None:
                    whole, rest = packets(rest + content)
                    content = b"".join(edit(from_unit, packet) for packet in whole)
                sink.sendall(content)

    @contextlib.contextmanager
    def _ending(self, still: threading.Event) -> Iterator[None]:
        """Release all waits for a direction that has ended, for any reason."""
        try:
            yield
        finally:
            still.set()
            self.ended.set()

    def await_still(self, timeout_s: float) -> bool:
        """Wait until a frozen wire has passed on everything that it had accepted before."""
        return all(still.wait(timeout_s) for still in self._still.values())


def packets(stream: bytes) -> tuple[list[bytes], bytes]:
    """Return the complete MQTT packets at the beginning of a stream, and the rest of it."""
    found: list[bytes] = []
    at = 0
    while True:
        size, shift, end = 0, 0, at + 1
        while end < len(stream) and stream[end] & 0x80:
            size |= (stream[end] & 0x7F) << shift
            shift, end = shift + 7, end + 1
        if end >= len(stream):
            return found, stream[at:]
        end += 1 + (size | stream[end] << shift)
        if end > len(stream):
            return found, stream[at:]
        found.append(stream[at:end])
        at = end


def refusing(code: int, condition: Callable[[], bool] = lambda: True) -> Tamper:
    """Return an edit that turns successful PUBACKs into errors (MQTT 5) while `condition` holds."""

    def edit(from_unit: bool, packet: bytes) -> bytes:
        if from_unit or packet[0] != 0x40 or not condition():
            return packet
        return b"\x40\x03" + packet[2:4] + bytes([code])

    return edit


class Refuser:
    """A broker that answers every login with the same packet."""

    def __init__(self, connack: bytes) -> None:
        self._connack = connack
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._answer, name="refuser", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Refuser":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _answer(self) -> None:
        while True:
            try:
                unit, _ = self._server.accept()
            except OSError:
                return
            with unit, contextlib.suppress(OSError):
                unit.recv(CHUNK)
                unit.sendall(self._connack)
                unit.recv(CHUNK)  # until the unit disconnects
