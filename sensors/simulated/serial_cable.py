"""A serial cable with a simulated device at its far end: a pseudo-terminal."""

import contextlib
import os
import random
import select
import threading
import tty
from collections.abc import Callable
from pathlib import Path

#: Seconds between two checks of a waiting device whether its cable is still plugged in.
_LOOK_S = 0.1


class Cable:
    """A cable that can be unplugged; `path` is its near end.

    With `answer`, a thread passes to it what the near end sends, and sends back what it returns.
    """

    def __init__(self, path: Path, answer: Callable[[bytes], bytes] | None = None) -> None:
        """Plug the cable in at `path`, which must not exist yet."""
        self._path = path
        self._answer = answer
        self._near: int | None = None
        self._far: int | None = None
        self._times_plugged = 0  # a descriptor's number may be reused
        self._lock = threading.Lock()  # one thread may send while another unplugs
        self.plug()

    def plug(self) -> None:
        """Plug the cable in (again)."""
        with self._lock:
            if self._far is not None:
                return
            far, self._near = os.openpty()
            self._far = far
            self._times_plugged += 1
            plugged = self._times_plugged
            tty.setraw(self._near)
            os.set_blocking(far, False)
            self._path.unlink(missing_ok=True)
            self._path.symlink_to(os.ttyname(self._near))
        if self._answer is not None:
            threading.Thread(
                target=self._serve, args=(far, plugged), name="cable", daemon=True
            ).start()

    def unplug(self) -> None:
        """Pull the cable: the device disappears, even while somebody reads from it."""
        with self._lock:
            ends, self._far, self._near = (self._far, self._near), None, None
            self._path.unlink(missing_ok=True)
            for end in ends:
                if end is not None:
                    os.close(end)

    def send(self, data: bytes) -> None:
        """Send raw bytes; bytes that are not read in time are lost, as on a real line."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._far is not None:
                os.write(self._far, data)

    def _serve(self, far: int, plugged: int) -> None:
        assert self._answer is not None
        while True:
            with contextlib.suppress(OSError, ValueError):
                select.select([far], [], [], _LOOK_S)
            with self._lock:
                if self._far is None or self._times_plugged != plugged:
                    return
                request = b""
                with contextlib.suppress(OSError):
                    request = os.read(far, 1024)
            if request:
                self.send(self._answer(request))

    def close(self) -> None:
        """Remove the cable for good."""
        self.unplug()


class Responder(Cable):
    """A device that answers requests. It takes each piece of data that it receives as one request.

    `fault` is one of FAULTS, or empty. With `echoes`, the line returns each request before the reply.
    """

    FAULTS: tuple[str, ...] = ("silent", "short replies", "bit flips", "garbage", "in pieces")

    def __init__(self, path: Path) -> None:
        """Plug the device in at `path`, which must not exist yet."""
        self.echoes = False
        self.fault = ""
        self._dice = random.Random(4)
        super().__init__(path, self._hear)

    def answer(self, request: bytes) -> bytes:
        """Return the reply of a working device; nothing for data that is not a request."""
        raise NotImplementedError

    def misbehave(self, reply: bytes) -> bytes:
        """Return what the device sends in place of `reply` under the present fault."""
        match self.fault:
            case "silent":
                return b""
            case "short replies":
                return reply[:12]
            case "bit flips":
                hurt = bytearray(reply)
                hurt[self._dice.randrange(len(hurt))] ^= 1 << self._dice.randrange(8)
                return bytes(hurt)
            case "garbage":
                return self._dice.randbytes(len(reply))
            case "in pieces":
                for byte in reply:
                    self.send(bytes((byte,)))
                return b""
        return reply

    def _hear(self, request: bytes) -> bytes:
        reply = self.answer(request)
        if reply:
            reply = self.misbehave(reply)
        return request + reply if self.echoes else reply
