"""Driver: a door with two light beams, one behind the other; counts people in and out."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensors.capture import no_tap
from sensors.clock import Monotonic
from sensors.gpio import HIGHEST_GPIO, Edge, Inputs
from sensors.hardware import Hardware
from sensors.passage import Passages, Way
from sensors.reading import Measurement
from sensors.settings import setting

HEARTBEAT_S = 1.0


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "beams"`."""

    outer_gpio: int = setting(doc="GPIO number (BCM) of the beam outside", low=0, high=HIGHEST_GPIO)
    inner_gpio: int = setting(doc="GPIO number (BCM) of the beam inside", low=0, high=HIGHEST_GPIO)
    blocked_level: str = setting(
        "high",
        doc="level while a beam is broken; with 'high' a cut cable reads as broken, not as free",
        choices=("low", "high"),
    )

    def faults(self) -> list[tuple[str, str]]:
        """Return (key, what to do) of each fault that no single key shows."""
        if self.outer_gpio == self.inner_gpio:
            return [("inner_gpio", "is the same line as outer_gpio: give each beam its own")]
        return []


class Beams:
    """Two beams; gives entered and left (people since the last reading) and obstructed."""

    period_s = 0.0

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        self.tap = no_tap
        self._config = config
        self._hardware = hardware
        self._clock = clock
        self._inputs: Inputs | None = None
        self._passages = Passages(False, False, 0.0)
        self._reported_s: float | None = None

    def open(self) -> None:
        """Take both lines. Raises SensorError."""
        config = self._config
        inputs = Inputs((config.outer_gpio, config.inner_gpio), self._hardware)
        self._inputs = inputs
        self._passages = Passages(
            self._is_blocked(inputs.is_high(config.outer_gpio)),
            self._is_blocked(inputs.is_high(config.inner_gpio)),
            inputs.now_s(),
        )
        self._reported_s = None

    def _is_blocked(self, high: bool) -> bool:
        return high == (self._config.blocked_level == "high")

    def read(self) -> Sequence[Measurement]:
        """Wait for people or for the next heartbeat."""
        inputs = self._inputs
        assert inputs is not None, "read before open"
        ways: list[Way | None] = []
        # Take everything that is there, then report: a crowd costs one report, not one a person.
        while (edge := inputs.next_edge(0.0 if any(ways) else self._wait_s(inputs))) is not None:
            ways.append(self._change(edge))
        if not any(ways):  # lines that fail now must not cost the people counted above
            ways += self._catch_up(inputs)
        self._reported_s = self._clock.now_s()
        found = [Measurement("obstructed", self._passages.obstructed)]
        for quantity, way in (("entered", Way.IN), ("left", Way.OUT)):
            if way in ways:
                found.append(Measurement(quantity, ways.count(way)))
        return found

    def _catch_up(self, inputs: Inputs) -> list[Way | None]:
        """Let time pass, and look at the levels, where an edge that got lost shows."""
        now_s = inputs.now_s()
        levels = inputs.levels()
        if not levels:  # edges have come meanwhile: they are first
            return []
        ways = [self._change(Edge(now_s, gpio, high)) for gpio, high in levels.items()]
        return [*ways, self._passages.tick(now_s)]

    def _wait_s(self, inputs: Inputs) -> float:
        """Return for how many real seconds there is nothing to do unless an edge comes."""
        if self._reported_s is None:
            return 0.0
        wait_s = self._reported_s + HEARTBEAT_S - self._clock.now_s()
        if self._passages.due_s is not None:
            wait_s = min(wait_s, self._passages.due_s - inputs.now_s())
        return self._clock.real_s(wait_s)

    def _change(self, edge: Edge) -> Way | None:
        inner = edge.gpio == self._config.inner_gpio
        return self._passages.change(edge.at_s, inner=inner, blocked=self._is_blocked(edge.high))

    def interrupt(self) -> None:
        """End a waiting read."""
        inputs = self._inputs  # once: the sensor's own thread may be closing it
        if inputs is not None:
            inputs.interrupt()

    def close(self) -> None:
        """Give the lines back."""
        inputs, self._inputs = self._inputs, None
        if inputs is not None:
            inputs.close()
