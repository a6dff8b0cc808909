"""Where other threads leave work for the link's thread, and where that one waits for it."""

import contextlib
import math
import select
import socket
import threading
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import NamedTuple

from publisher.link.requests import Request
from publisher.store.rows import Row


class Offered(NamedTuple):
    """Rows that are stored, to be sent now."""

    rows: tuple[Row, ...]


class LookAgain(NamedTuple):
    """The store has rows that were out of reach before."""


class NewAbout(NamedTuple):
    """There is a new `about`."""


class Answer(NamedTuple):
    """The answer to a command."""

    request: Request
    cid: str
    text: str


Work = Offered | LookAgain | NewAbout | Answer


class Mailbox:
    """The link's mailbox, and what its thread shows of itself to others."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._work: SimpleQueue[Work] = SimpleQueue()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._poller = select.poll()  # select(2) knows no descriptors above 1023
        self._poller.register(self._wake_in, select.POLLIN)
        self.beat_s = time.monotonic()  # the last sign of life
        self.queued = 0  # messages that wait for their turn
        self.in_flight = 0  # messages that wait for their PUBACK
        self.confirmed = 0  # messages that the broker has confirmed
        self.puback_s: float | None = None  # how long the last of them waited for its PUBACK

    # For other threads

    def post(self, work: Work) -> None:
        """Leave work, and wake the thread."""
        self._work.put(work)
        self.wake()

    def wake(self) -> None:
        """End the wait under way, or else the next one."""
        with contextlib.suppress(OSError):  # it is awake already, or has ended
            self._wake_out.send(b"x")

    def leave(self) -> None:
        """Ask the thread to end."""
        self.stopping.set()
        self.wake()

    def waiting(self) -> int:
        """Return how much work waits."""
        return self._work.qsize()

    # For the link's thread

    def close(self) -> None:
        """Let go of the descriptors."""
        self._wake_in.close()
        self._wake_out.close()

    def work(self) -> Iterator[Work]:
        """Return the work that has been left."""
        with contextlib.suppress(Empty):
            while True:
                yield self._work.get_nowait()

    def pause(self, wait_s: float) -> None:
        """Wait until `stopping`; that long a wait does not count as standing still."""
        self.beat_s = time.monotonic() + wait_s
        self.stopping.wait(wait_s)

    def poll(self, sock: socket.socket | None, events: int, wait_s: float) -> int:
        """Wait for poll(2) events on a socket, or to be woken; return which have come to the socket."""
        self.beat_s = time.monotonic()
        if sock is not None:
            self._poller.register(sock, events)
        try:
            found = dict(self._poller.poll(math.ceil(1000 * max(0.0, wait_s))))
        finally:
            if sock is not None:
                self._poller.unregister(sock)
        if self._wake_in.fileno() in found:
            with contextlib.suppress(BlockingIOError):
                self._wake_in.recv(4096)
        return 0 if sock is None else found.get(sock.fileno(), 0)

    def wait(self, sock: socket.socket | None, events: int, limit_s: float) -> None:
        """Wait for an event, or without a socket to be woken, as `dial.Wait` says."""
        while True:
            if self.stopping.is_set():
                raise InterruptedError
            left_s = limit_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            if self.poll(sock, events, left_s) or sock is None:
                return
