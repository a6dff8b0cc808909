"""GPIO lines by gpiozero: inputs that report each edge with its time, and a lamp."""

import gc
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from sensors.hardware import Hardware
from sensors.reading import SensorError

HIGHEST_GPIO = 27  # the 40-pin header carries GPIO 0 to 27

#: Sensors open their lines at the same time; gpiozero would then build a pin factory for each.
_opening = threading.Lock()


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn whatever the GPIO libraries raise into a SensorError."""
    from gpiozero import GPIOZeroError

    try:
        yield
    except (GPIOZeroError, OSError, ImportError, *_lgpio_errors()) as error:
        raise SensorError(
            f"{what} cannot be used ({error}): check its number, that nothing else uses it, that "
            f"python3-lgpio is installed and that this user is in group gpio"
        ) from error


def _lgpio_errors() -> tuple[type[Exception], ...]:
    # gpiozero lets the exception of lgpio, which it loads on a Pi, through; it is no OSError.
    lgpio = sys.modules.get("lgpio")
    return () if lgpio is None else (lgpio.error,)


class Edge(NamedTuple):
    """A line changed: when (the pin factory's ticks, in seconds), which line, to which level."""

    at_s: float
    gpio: int
    high: bool


class Inputs:
    """Some input lines with pull-ups, whose edges come out of one queue in order.

    The lines float high when a cable is cut. gpiozero's own bounce filter drops edges, so edges
    come as the pin factory saw them and the caller judges them by their times.
    """

    def __init__(self, gpios: tuple[int, ...], hardware: Hardware) -> None:
        """Raises SensorError where a line cannot be had."""
        self._edges: SimpleQueue[Edge | None] = SimpleQueue()
        self._lines: dict[int, Any] = {}
        self._watchers: list[_Watcher] = []  # gpiozero holds its callbacks weakly
        with _opening, ExitStack() as undo:
            undo.callback(self.close)
            for gpio in gpios:
                with _explained(f"GPIO {gpio}"):
                    line = self._lines[gpio] = _take_line(gpio, hardware)
                    watcher = _Watcher(gpio, self._edges)
                    self._watchers.append(watcher)
                    line.pin.bounce = None
                    line.pin.edges = "both"
                    line.pin.when_changed = watcher.changed
            undo.pop_all()

    def is_high(self, gpio: int) -> bool:
        """Read the level of a line now. Raises SensorError."""
        with _explained(f"GPIO {gpio}"):
            return bool(self._lines[gpio].pin.state)

    def now_s(self) -> float:
        """Return the present on the clock of the edges' times."""
        for line in self._lines.values():
            return float(line.pin_factory.ticks())
        raise SensorError("the GPIO lines are closed")

    def next_edge(self, wait_s: float) -> Edge | None:
        """Return the next edge, or None after `wait_s` real seconds or an interruption."""
        try:
            return self._edges.get(timeout=wait_s) if wait_s > 0 else self._edges.get_nowait()
        except Empty:
            return None

    def levels(self) -> dict[int, bool]:
        """Return the level of each line, or nothing while edges wait, which tell it better.

        An edge can get lost; whoever follows the edges compares now and then. Raises SensorError.
        """
        levels = {gpio: self.is_high(gpio) for gpio in self._lines}
        return levels if self._edges.empty() else {}

    def interrupt(self) -> None:
        """Make a waiting `next_edge` return None."""
        self._edges.put(None)

    def close(self) -> None:
        """Give the lines back."""
        lines, self._lines = self._lines, {}
        with ExitStack() as closing:  # each of them, even where one fails
            for line in lines.values():
                closing.callback(line.close)


def _take_line(gpio: int, hardware: Hardware) -> Any:
    from gpiozero import GPIOPinInUse, InputDevice, PinFactoryFallback

    # Without lgpio it tries other libraries and says so each time, in a dozen lines.
    warnings.filterwarnings("ignore", category=PinFactoryFallback)
    with suppress(GPIOPinInUse):
        return InputDevice(gpio, pull_up=True, pin_factory=hardware.pin_factory())
    # It may be our own last attempt, which failed half-way: gpiozero frees its line when it is
    # collected, and its exception's traceback can put that off.
    gc.collect()
    return InputDevice(gpio, pull_up=True, pin_factory=hardware.pin_factory())


class _Watcher:
    """Carries the edges of one line into the queue; runs in the pin factory's thread."""

    def __init__(self, gpio: int, edges: "SimpleQueue[Edge | None]") -> None:
        self._gpio = gpio
        self._edges = edges

    def changed(self, ticks: float, state: int) -> None:
        self._edges.put(Edge(ticks, self._gpio, bool(state)))


class Lamp:
    """A lamp (LED) on a GPIO line."""

    def __init__(self, gpio: int, hardware: Hardware) -> None:
        """Raises SensorError where the line cannot be had."""
        from gpiozero import LED

        self._name = f"the lamp on GPIO {gpio}"
        with _opening, _explained(self._name):
            self._led = LED(gpio, pin_factory=hardware.pin_factory())

    def light(self, on: bool) -> None:
        """Switch the lamp on or off. Raises SensorError."""
        with _explained(self._name):
            self._led.value = on

    def close(self) -> None:
        """Switch the lamp off and give the line back."""
        self._led.close()
