"""GPIO lines by gpiozero: inputs that report each edge with its time; outputs of a lamp or a buzzer."""

import errno
import gc
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from queue import Empty, SimpleQueue
from typing import Any

from sensors.capture import Tap, line, no_tap
from sensors.clock import Monotonic
from sensors.edges import Edge
from sensors.hardware import DENIED_CURE, Hardware
from sensors.reading import SensorError
from sensors.trouble import BUS, declare, marked

log = logging.getLogger("tentwatch.sensors")

NO_LIBRARY = declare(
    "gpio.no_library",
    marked("no library for the GPIO lines works here"),
    marked(
        "sudo apt-get install python3-lgpio; /opt/tentwatch must have been made with "
        "--system-site-packages; by hand use sudo"
    ),
    concerns=BUS,
)
DENIED = declare(
    "gpio.denied",
    marked("GPIO {gpio} may not be used by this user"),
    DENIED_CURE,
    concerns=BUS,
)
UNUSABLE = declare(
    "gpio.unusable",
    marked("GPIO {gpio} cannot be used ({why})"),
    marked(
        "see that no other program holds this line (sudo gpioinfo shows who does), and that the "
        "number in the configuration is right"
    ),
    concerns=BUS,
)

HIGHEST_GPIO = 27  # the 40-pin header carries GPIO 0 to 27

#: Sensors open their lines at the same time; without the lock gpiozero would build a pin factory for each.
_opening = threading.Lock()


@contextmanager
def _explained(gpio: int) -> Iterator[None]:
    """Turn any exception of the GPIO libraries into a SensorError."""
    from gpiozero import GPIOZeroError

    try:
        yield
    except ImportError as error:  # gpiozero's BadPinFactory is one, too
        raise SensorError(NO_LIBRARY) from error
    except (GPIOZeroError, OSError, *_lgpio_errors()) as error:
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
            raise SensorError(DENIED, gpio=gpio) from error
        raise SensorError(UNUSABLE, gpio=gpio, why=str(error)) from error


def _lgpio_errors() -> tuple[type[Exception], ...]:
    # gpiozero passes on lgpio's exception, which is not an OSError. lgpio is loaded on a Pi only.
    lgpio = sys.modules.get("lgpio")
    return () if lgpio is None else (lgpio.error,)


class Inputs:
    """Some input lines with pull-ups; one queue holds their edges in order.

    The lines float high when a cable is cut. gpiozero's own bounce filter would drop edges, so it is
    off: the caller filters the edges by their times.
    """

    def __init__(
        self,
        gpios: tuple[int, ...],
        hardware: Hardware,
        tap: Tap = no_tap,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """`tap` receives the `settings` and then every edge. Raises SensorError if a line fails."""
        self._tap = tap
        self._edges: SimpleQueue[Edge | None] = SimpleQueue()
        self._lines: dict[int, Any] = {}
        self._watchers: list[_Watcher] = []  # gpiozero keeps only weak references to its callbacks
        #: The level of each line after the edges returned so far.
        self.high: dict[int, bool] = {}
        with _opening, ExitStack() as undo:
            undo.callback(self.close)
            for gpio in gpios:
                with _explained(gpio):
                    taken = self._lines[gpio] = _take_line(gpio, hardware)
                    watcher = _Watcher(gpio, self._edges)
                    self._watchers.append(watcher)
                    taken.pin.bounce = None
                    taken.pin.edges = "both"
                    taken.pin.when_changed = watcher.changed
            self.high = {gpio: self.is_high(gpio) for gpio in gpios}
            self._record({**(settings or {}), "high": self.high})
            undo.pop_all()

    def is_high(self, gpio: int) -> bool:
        """Read the level of a line now. Raises SensorError."""
        with _explained(gpio):
            return bool(self._lines[gpio].pin.state)

    def now_s(self) -> float:
        """Return the present on the clock of the edges' times."""
        assert self._lines, "closed"
        return float(next(iter(self._lines.values())).pin_factory.ticks())

    def next_edge(self, wait_s: float) -> Edge | None:
        """Return the next edge, or None after `wait_s` real seconds or an interruption."""
        try:
            edge = self._edges.get(timeout=wait_s) if wait_s > 0 else self._edges.get_nowait()
        except Empty:
            return None
        return None if edge is None else self._hand_over(edge)

    def lost_edges(self, now_s: float) -> list[Edge] | None:
        """Return the edges that got lost, as of `now_s`; None while edges wait, which are more exact.

        To be called from time to time. Raises SensorError.
        """
        levels = {gpio: self.is_high(gpio) for gpio in self._lines}
        if not self._edges.empty():
            return None
        changed = [gpio for gpio, high in levels.items() if high != self.high[gpio]]
        return [self._hand_over(Edge(now_s, gpio, levels[gpio])) for gpio in changed]

    def _hand_over(self, edge: Edge) -> Edge:
        is_new = edge.high != self.high[edge.gpio]  # otherwise `lost_edges` has returned it already
        self.high[edge.gpio] = edge.high
        if is_new and self._tap is not no_tap:
            self._tap(line({**edge._asdict(), "at_s": round(edge.at_s, 6)}))
        return edge

    def _record(self, what: Mapping[str, Any]) -> None:
        if self._tap is not no_tap:
            self._tap(line({"at_s": round(self.now_s(), 6), **what}))

    def interrupt(self) -> None:
        """Make a waiting `next_edge` return None."""
        self._edges.put(None)

    def close(self) -> None:
        """Release the lines."""
        taken, was_open = self._lines, bool(self.high)
        with ExitStack() as closing:  # closes each of them, even if one fails
            closing.callback(taken.clear)
            for one in taken.values():
                closing.callback(one.close)
            self.high = {}
            if was_open:
                self._record({})


class OnLines:
    """What the drivers of GPIO lines share: the lines, which they have while they are open."""

    period_s = 0.0  # a read waits for an edge

    def __init__(
        self,
        gpios: tuple[int, ...],
        hardware: Hardware,
        clock: Monotonic,
        settings: Mapping[str, Any] = {},
    ) -> None:
        """`settings` is what a recording of the lines begins with."""
        self.tap = no_tap
        self._gpios = gpios
        self._hardware = hardware
        self._clock = clock
        self._settings = settings
        self._taken: Inputs | None = None

    def open(self) -> None:
        """Take the lines. Raises SensorError."""
        self._taken = Inputs(self._gpios, self._hardware, self.tap, self._settings)

    @property
    def _inputs(self) -> Inputs:
        assert self._taken is not None, "read before open"
        return self._taken

    def interrupt(self) -> None:
        """End a waiting read."""
        inputs = self._taken  # once: the sensor's own thread may be closing it
        if inputs is not None:
            inputs.interrupt()

    def close(self) -> None:
        """Give the lines back."""
        inputs, self._taken = self._taken, None
        if inputs is not None:
            inputs.close()


def _take_line(gpio: int, hardware: Hardware) -> Any:
    from gpiozero import InputDevice

    return _taken(lambda: InputDevice(gpio, pull_up=True, pin_factory=hardware.pin_factory()))


def _taken(take: Callable[[], Any]) -> Any:
    """Return the line that `take` opens."""
    from gpiozero import GPIOPinInUse, PinFactoryFallback

    # Without lgpio gpiozero tries other libraries, and warns each time in a dozen lines.
    warnings.filterwarnings("ignore", category=PinFactoryFallback)
    with suppress(GPIOPinInUse):
        return take()
    # Our own last attempt may have failed half-way. gpiozero frees its line only when the object is
    # collected, and the traceback of its exception can delay that.
    gc.collect()
    return take()


class _Watcher:
    """Puts the edges of one line into the queue; runs in the pin factory's thread."""

    def __init__(self, gpio: int, edges: "SimpleQueue[Edge | None]") -> None:
        self._gpio = gpio
        self._edges = edges

    def changed(self, ticks: float, state: int) -> None:
        self._edges.put(Edge(ticks, self._gpio, bool(state)))


class Output:
    """A lamp or a buzzer on a GPIO line, on while the line is high; a thread repeats its pattern."""

    def __init__(self, gpio: int, hardware: Hardware, clock: Monotonic, name: str) -> None:
        """`name` is the thread's. Raises SensorError if the line cannot be opened."""
        from gpiozero import DigitalOutputDevice

        self._gpio = gpio
        self._clock = clock
        self._name = name
        #: Why the line could not be switched the last time; None if it could.
        self.trouble: SensorError | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        with _opening, _explained(gpio):
            self._line = _taken(
                lambda: DigitalOutputDevice(gpio, pin_factory=hardware.pin_factory())
            )

    def show(self, steps_s: Sequence[float]) -> None:
        """Repeat a pattern: on for the first of `steps_s` in seconds, off for the second, and so on.

        One step alone is steadily on, no step is off. Raises SensorError.
        """
        self._hold()
        self._switch(bool(steps_s))
        if len(steps_s) > 1:
            self._over = threading.Event()
            self._thread = threading.Thread(
                target=self._repeat, args=(steps_s, self._over), name=self._name, daemon=True
            )
            self._thread.start()

    def _repeat(self, steps_s: Sequence[float], over: threading.Event) -> None:
        on = True
        for step_s in cycle(steps_s):
            if over.wait(self._clock.real_s(step_s)):
                return
            on = not on
            try:
                self._switch(on)
            except SensorError as error:
                if self.trouble is None:
                    log.warning("the %s: %s", self._name, error)
                self.trouble = error  # the next step may succeed

    def _switch(self, on: bool) -> None:
        with _explained(self._gpio):
            self._line.value = on
        self.trouble = None

    def _hold(self) -> None:
        self._over.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """Switch it off and release the line."""
        self._hold()
        self._line.close()
