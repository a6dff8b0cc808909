"""A terminal that shows a page: only changes are sent, and the terminal is left in order in the end.

For slow links only the part of each line is sent that differs from what the terminal shows already.
"""

import codecs
import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TextIO

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style

Line = Sequence[Segment]
#: Bytes written at a time: signals are handled in between.
PIECE_BYTES = 256
#: How long to wait, in the end, for a terminal that accepts no bytes.
LEAVE_S = 1.0
#: Assumed size of a terminal that does not know its own, such as a serial console.
USUAL_SIZE = os.terminal_size((80, 24))
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # a screen of its own, no cursor, no lines that wrap
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_CLEAR = "\x1b[0m\x1b[H\x1b[2J"
_KEYS_THAT_END = {"q", "Q", "й", "Й"}  # the same key on a Ukrainian keyboard
_REDRAW = {"r", "R", "к", "К", "\x0c"}
#: ASCII characters in place of others.
_PLAIN = str.maketrans({"·": "-", "–": "-", "─": "-", "…": "~", "±": "~", "°": " "})


class Cell(NamedTuple):
    """One character with its combining marks, and its style."""

    text: str
    style: Style | None


def has_ascii_only(stream: TextIO) -> bool:
    """Say whether a terminal certainly shows ASCII only.

    In the locale C Python writes UTF-8 all the same. It also does so where this system lacks the
    locale: SSH often brings the name of the technician's own.
    """
    if sys.flags.utf8_mode and "PYTHONUTF8" not in os.environ:
        # Python itself has set LC_CTYPE.
        named = os.environ.get("LC_ALL") or os.environ.get("LANG") or "C"
        return "utf" not in named.lower()
    return codecs.lookup(stream.encoding or "ascii").name != "utf-8"


class Display(NamedTuple):
    """What a terminal can show: escape codes, colours, characters beyond ASCII, block characters."""

    codes: bool
    colours: ColorSystem | None
    ascii_only: bool
    blocks: bool


def this_display() -> Display:
    """Return what this process's terminal can show; a file gets no escape codes."""
    console = Console()
    system = console.color_system
    colours = None if system is None or console.no_color else ColorSystem.STANDARD
    ascii_only = has_ascii_only(sys.stdout)
    blocks = not ascii_only and os.environ.get("TERM") != "linux"  # its fonts lack most of them
    return Display(system is not None, colours, ascii_only, blocks)


def takes_pages() -> bool:
    """Say whether standard output is a terminal whose lines can be changed."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def cells(line: Line, *, ascii_only: bool) -> list[Cell]:
    """Return a line character by character."""
    found: list[Cell] = []
    for segment in line:
        for letter in segment.text.translate(_PLAIN) if ascii_only else segment.text:
            if ascii_only and not letter.isascii():
                found += [Cell("?", segment.style)] * cell_len(letter)
            elif cell_len(letter) == 0 and found:
                found[-1] = Cell(found[-1].text + letter, found[-1].style)
            else:
                found.append(Cell(letter, segment.style))
    while found and found[-1].text == " " and not (found[-1].style and found[-1].style.reverse):
        found.pop()
    return found


def rendered(line: Sequence[Cell], colours: ColorSystem | None) -> str:
    """Return cells with escape codes for their styles; without colours bold and reverse remain."""
    parts: list[str] = []
    at = 0
    while at < len(line):
        end = at
        while end < len(line) and line[end].style == line[at].style:
            end += 1
        text, style = "".join(cell.text for cell in line[at:end]), line[at].style
        if style is not None and colours is None:
            style = style.without_color
        system = colours or ColorSystem.STANDARD
        parts.append(text if style is None else style.render(text, color_system=system))
        at = end
    return "".join(parts)


def printed(line: Line, display: Display) -> str:
    """Return a line of a page for printing it once."""
    letters = cells(line, ascii_only=display.ascii_only)
    return rendered(letters, display.colours) if display.codes else "".join(c.text for c in letters)


def update(old: Sequence[Cell], new: Sequence[Cell], row: int, colours: ColorSystem | None) -> str:
    """Return what turns a line of the terminal (`row`, from 1) into another."""
    if list(old) == list(new):
        return ""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end, shorter = len(new), _width(new) < _width(old)
    if _width(old) == _width(new):  # then the rest is in its place already
        back = 0
        while back < min(len(old), len(new)) - start and old[-1 - back] == new[-1 - back]:
            back += 1
        end -= back
    column = _width(new[:start]) + 1
    rest = "\x1b[K" if shorter else ""
    return f"\x1b[{row};{column}H{rendered(new[start:end], colours)}{rest}"


def _width(line: Sequence[Cell]) -> int:
    return cell_len("".join(cell.text for cell in line))


class _Guard:
    """A second process, which leaves the page if this one cannot: after SIGKILL.

    The shell restores the terminal's settings then, as it is at its prompt by that time.
    """

    def __init__(self, screen: int) -> None:
        """Fork; call it before starting any thread."""
        alive, self._tell = os.pipe()
        self._process = os.fork()
        if self._process:
            os.close(alive)
            return
        try:
            os.close(self._tell)
            for number in (*_ENDS, signal.SIGTSTP, signal.SIGTTOU):
                signal.signal(number, signal.SIG_IGN)
            last = b""
            while received := os.read(alive, 64):
                last = received[-1:]
            if last == b"+":
                os.write(screen, _LEAVE.encode())
        finally:
            os._exit(0)

    def tell(self, *, entered: bool) -> None:
        """Tell it whether there is a page to leave."""
        os.write(self._tell, b"+" if entered else b"-")

    def end(self) -> None:
        """End it."""
        os.close(self._tell)
        os.waitpid(self._process, 0)


class Live:
    """This process's terminal while the context is open.

    It is `over` after Ctrl-C, the key q, SIGTERM or SIGHUP, and when the terminal is gone. Ctrl-Z
    releases the terminal until the process continues.
    """

    def __init__(self, display: Display) -> None:
        self.over = False
        self._colours = display.colours
        self._ascii_only = display.ascii_only
        self._screen = sys.stdout.fileno()
        self._keys: int | None = sys.stdin.fileno() if sys.stdin and sys.stdin.isatty() else None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._shown: list[list[Cell]] | None = None
        self._size = USUAL_SIZE
        self._suspended = False
        self._settings: list[Any] = []
        self._handlers: dict[int, Any] = {}
        self._woken, self._waker = os.pipe()
        self._is_shown = False

    def __enter__(self) -> "Live":
        """Take over the terminal."""
        self._guard = _Guard(self._screen)
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        handlers: dict[int, Callable[..., None]] = dict.fromkeys(_ENDS, self._end)
        handlers |= {signal.SIGTSTP: self._suspend, signal.SIGWINCH: lambda *_: None}
        for number, handler in handlers.items():
            if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGWINCH:
                self._handlers[number] = signal.signal(number, handler)
        self._enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the terminal."""
        self._leave()
        self._guard.end()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._woken)
        waker, self._waker = self._waker, -1
        os.close(waker)

    def wake(self) -> None:
        """End a `wait`; from any thread."""
        with contextlib.suppress(OSError):
            os.write(self._waker, b"\0")

    def wait(self, timeout_s: float) -> None:
        """Wait for a key, a signal or `wake`, at most `timeout_s`."""
        if self._suspended:
            self._sleep()
            return
        self._heed(select.select(self._heard(), [], [], timeout_s)[0])

    def _heard(self) -> list[int]:
        return [self._woken] if self._keys is None else [self._woken, self._keys]

    def _heed(self, ready: Sequence[int]) -> None:
        if self._woken in ready:
            self._drain()
        if self._keys is not None and self._keys in ready:
            self._take_keys(self._keys)

    def size(self) -> os.terminal_size:
        """Return columns and lines as they are now."""
        with contextlib.suppress(OSError):
            found = os.get_terminal_size(self._screen)
            if found.columns > 0 and found.lines > 0:
                return found
        return USUAL_SIZE

    def show(self, lines: Sequence[Line]) -> None:
        """Show a page; it must fit the terminal's `size`."""
        if self.over or self._suspended:
            return
        size = self.size()
        text = ""
        if self._shown is None or size != self._size:
            text, self._shown, self._size = _CLEAR, [], size
        new = [cells(line, ascii_only=self._ascii_only) for line in lines[: size.lines]]
        old = self._shown
        for row in range(max(len(new), len(old))):
            before = old[row] if row < len(old) else []
            after = new[row] if row < len(new) else []
            text += update(before, after, row + 1, self._colours)
        self._shown = new
        self._put(text)

    def _enter(self) -> None:
        if self._keys is not None:
            with contextlib.suppress(termios.error):
                self._settings = termios.tcgetattr(self._keys)
                # At once: a terminal that accepts no bytes at the moment must not delay this.
                tty.setcbreak(self._keys, termios.TCSANOW)
        self._shown, self._is_shown = None, True
        self._guard.tell(entered=True)
        self._put(_ENTER)

    def _leave(self) -> None:
        if self._is_shown:
            self._is_shown = False
            self._put(_LEAVE, LEAVE_S)
            self._guard.tell(entered=False)
        if self._keys is not None and self._settings:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._keys, termios.TCSANOW, self._settings)

    def _put(self, text: str, limit_s: float | None = None) -> None:
        """Write to the terminal in pieces; without a limit, until it is `over`."""
        data = text.encode()
        try:
            while data:
                heard = self._heard() if limit_s is None else []
                ready, free, _ = select.select(heard, [self._screen], [], limit_s)
                self._heed(ready)
                if (self.over and limit_s is None) or not (ready or free):
                    return
                if free:
                    data = data[os.write(self._screen, data[:PIECE_BYTES]) :]
        except OSError:  # the terminal has gone
            self.over = True

    def _take_keys(self, keys: int) -> None:
        try:
            data = os.read(keys, 64)
        except OSError:
            data = b""
        if not data:  # the terminal has gone
            self.over = True
        typed = set(self._decoder.decode(data))
        if typed & _KEYS_THAT_END:
            self.over = True
        if typed & _REDRAW:
            self._shown = None

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 64):
                pass

    def _end(self, *_: object) -> None:
        self.over = True

    def _suspend(self, *_: object) -> None:
        self._suspended = True

    def _sleep(self) -> None:
        """Release the terminal and stop until the shell continues this process."""
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._suspended = False
        self._enter()
