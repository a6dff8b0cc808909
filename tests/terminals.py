"""A command in a pseudo-terminal with an emulator behind it."""

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pyte

from tests.conftest import PATIENCE_S, wait_for

PROGRAM = Path(sys.executable).parent / "tentwatch"


class Terminal:
    """A terminal of a given size that `tentwatch` runs in, as its controlling terminal."""

    def __init__(self, columns: int, lines: int, *arguments: str, **environment: str) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.raw = b""
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self.keyboard, self.line = os.openpty()
        self._set_size(columns, lines)
        self.settings = termios.tcgetattr(self.line)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", str(PROGRAM), *arguments],
            stdin=self.line, stdout=self.line, stderr=self.line,
            env={"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8", **environment},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.keyboard, 4096)
            except OSError:
                return
            with self._lock:
                self.raw += data
                self._stream.feed(data)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        with self._lock:
            self.screen.resize(lines, columns)
        self._set_size(columns, lines)

    def lines(self) -> list[str]:
        with self._lock:
            return [line.rstrip() for line in self.screen.display]

    def text(self) -> str:
        return "\n".join(self.lines())

    def wait_for(self, text: str) -> None:
        try:
            wait_for(lambda: bool(re.search(text, self.text())), text)
        except AssertionError:
            raise AssertionError(f"{text!r} is not in\n{self.text()}") from None

    def type(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def is_in_order(self) -> bool:
        """Say whether the terminal is restored: line settings, cursor, wrapping, character set."""
        wait_for(lambda: self.raw.endswith(b"\x1b[?1049l"), "the page to be left")
        # The program restores the line's settings after its last output.
        wait_for(lambda: termios.tcgetattr(self.line) == self.settings, "the line's settings")
        modes = self.screen.mode
        return pyte.modes.DECTCEM in modes and pyte.modes.DECAWM in modes

    def hang_up(self) -> None:
        """Close the terminal as a lost connection does."""
        os.close(self.line)
        keyboard, self.keyboard = self.keyboard, -1
        self.line = -1
        # The reader's `read` still holds the master open, so this sends the kernel's signal itself.
        os.close(keyboard)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        if self.line >= 0:
            os.close(self.line)
        # The reader ends when nobody holds the line open. Until then its descriptor must not be reused.
        self._reader.join(PATIENCE_S)
        assert not self._reader.is_alive(), "somebody still holds the terminal"
        if self.keyboard >= 0:
            os.close(self.keyboard)
