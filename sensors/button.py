"""The button at the unit: a contact between a GPIO line and ground, closed by a hand."""

from collections.abc import Sequence

from sensors.capture import no_tap
from sensors.clock import Monotonic
from sensors.gpio import Inputs
from sensors.hardware import Hardware
from sensors.press import Press
from sensors.reading import Measurement

#: Seconds between two reads of the level, because edges can get lost.
LOOK_S = 10.0


class Button:
    """Reports `pressed` and `held` (`sensors.press`); a Sensor uses it like a driver.

    Unlike a driver's, its `read` waits for up to LOOK_S, because nobody needs heartbeats of a button.
    """

    period_s = 0.0

    def __init__(self, gpio: int, hardware: Hardware, clock: Monotonic) -> None:
        self.tap = no_tap
        self._gpio = gpio
        self._hardware = hardware
        self._clock = clock
        self._inputs: Inputs | None = None
        self._press = Press(0.0, closed=True)

    def open(self) -> None:
        """Open the line. Raises SensorError."""
        self._inputs = Inputs((self._gpio,), self._hardware)
        self._press = Press(self._inputs.now_s(), closed=not self._inputs.high[self._gpio])

    def read(self) -> Sequence[Measurement]:
        """Return the presses and holds; wait for the next edge, LOOK_S at most.

        Raises SensorError.
        """
        inputs, press = self._inputs, self._press
        assert inputs is not None, "read before open"
        now_s = inputs.now_s()
        due_s = min(now_s + LOOK_S, now_s + LOOK_S if press.due_s is None else press.due_s)
        edge = inputs.next_edge(self._clock.real_s(due_s - now_s))
        if edge is not None:
            done = press.until(edge.at_s, closed=not edge.high)
        else:
            now_s = inputs.now_s()
            done = []
            for lost in inputs.lost_edges(now_s) or []:
                done += press.until(lost.at_s, closed=not lost.high)
            done += press.until(now_s)
        return [Measurement(what, True) for what in done]

    def interrupt(self) -> None:
        """End a waiting read."""
        inputs = self._inputs  # read once: the sensor's own thread may be closing it
        if inputs is not None:
            inputs.interrupt()

    def close(self) -> None:
        """Release the line."""
        inputs, self._inputs = self._inputs, None
        if inputs is not None:
            inputs.close()
