"""The button at the unit: a contact between a GPIO line and ground, closed by a hand."""

from collections.abc import Sequence

from sensors.clock import Monotonic
from sensors.gpio import OnLines
from sensors.hardware import Hardware
from sensors.press import Press
from sensors.reading import Measurement

#: Seconds between two reads of the level, because edges can get lost.
LOOK_S = 10.0


class Button(OnLines):
    """Reports `pressed` and `held` (`sensors.press`); a Sensor uses it like a driver.

    Unlike a driver's, its `read` waits for up to LOOK_S, because nobody needs heartbeats of a button.
    """

    def __init__(self, gpio: int, hardware: Hardware, clock: Monotonic) -> None:
        super().__init__((gpio,), hardware, clock)
        self._press = Press(0.0, closed=True)

    def open(self) -> None:
        """Open the line. Raises SensorError."""
        super().open()
        (high,) = self._inputs.high.values()
        self._press = Press(self._inputs.now_s(), closed=not high)

    def read(self) -> Sequence[Measurement]:
        """Return the presses and holds; wait for the next edge, LOOK_S at most.

        Raises SensorError.
        """
        inputs, press = self._inputs, self._press
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
