"""The link's mailbox: other threads leave work in it, and the link's thread waits for it."""

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
    """Stored rows, to be sent now."""

    rows: tuple[Row, ...]


class LookAgain(NamedTuple):
    """The store has rows that could not be read before."""


class NewAbout(NamedTuple):
    """There is a new `about`."""


class NewDays(NamedTuple):
    """The newest `days`, which take the place of earlier ones."""

    text: str


class Answer(NamedTuple):
    """The answer to a command."""

    request: Request
    cid: str
    text: str


Work = Offered | LookAgain | NewAbout | NewDays | Answer


class Mailbox:
    """Work for the link's thread, and the thread's figures for others."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._work: SimpleQueue[Work] = SimpleQueue()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._poller = select.poll()  # select(2) cannot use descriptors above 1023
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
        """End the present wait, or else the next one."""
        with contextlib.suppress(OSError):  # it is awake already, or has ended
            self._wake_out.send(b"x")

    def leave(self) -> None:
        """Ask the thread to end."""
        self.stopping.set()
        self.wake()

    # For the link's thread

    def close(self) -> None:
        """Close the descriptors."""
        self._wake_in.close()
        self._wake_out.close()

    def work(self) -> Iterator[Work]:
        """Return all work in the mailbox."""
        with contextlib.suppress(Empty):
            while True:
                yield self._work.get_nowait()

    def pause(self, wait_s: float) -> None:
        """Wait until `stopping`; such a long wait does not count as hanging."""
        self.beat_s = time.monotonic() + wait_s
        self.stopping.wait(wait_s)

    def poll(self, sock: socket.socket | None, events: int, wait_s: float) -> int:
        """Wait for poll(2) events on a socket, or for `wake`; return the socket's events."""
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
        """Wait for an event, or without a socket for `wake`, as specified by `dial.Wait`."""
        while True:
            if self.stopping.is_set():
                raise InterruptedError
            left_s = limit_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            if self.poll(sock, events, left_s) or sock is None:
                return
