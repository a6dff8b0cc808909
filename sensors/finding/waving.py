"""Finds a sensor's GPIO line while somebody waves a hand through the beam or switches the relay."""

from collections.abc import Sequence
from typing import NamedTuple

from sensors.clock import Monotonic
from sensors.edges import Edge
from sensors.gpio import Inputs
from sensors.hardware import Hardware
from sensors.reading import SensorError

#: The searched lines of the 40-pin header: the others belong to I2C, to the board's memory chip and to
#: the serial port.
GPIOS = (*range(4, 14), *range(16, 28))
#: A change shorter than this is a disturbance; a hand takes ten times as long.
SHORTEST_S = 0.02
#: A line must be back at rest for this long: relays bounce, and a hand has five fingers.
REST_S = 0.4
_LOOK_S = 0.1


class Line(NamedTuple):
    """A line that changed and came back; `high` is its level in between."""

    gpio: int
    high: bool


class Waves:
    """Follows lines from their levels at rest."""

    def __init__(self, rest: dict[int, bool]) -> None:
        self._rest = rest
        self._since_s: dict[int, float] = {}  # lines that are away from rest
        self._back_s: dict[int, float] = {}  # lines that were away long enough and are back

    def change(self, edge: Edge) -> None:
        """Apply an edge."""
        if edge.high != self._rest[edge.gpio]:
            self._since_s.setdefault(edge.gpio, edge.at_s)
            return
        away_s = edge.at_s - self._since_s.pop(edge.gpio, edge.at_s)
        if away_s >= SHORTEST_S or edge.gpio in self._back_s:
            self._back_s[edge.gpio] = edge.at_s

    def found(self, now_s: float) -> list[Line]:
        """Return the lines that changed, once all of them are back at rest."""
        if self._back_s.keys() & self._since_s.keys():
            return []
        if not self._back_s or now_s - max(self._back_s.values()) < REST_S:
            return []
        return [Line(gpio, not self._rest[gpio]) for gpio in sorted(self._back_s)]


def free_lines(hardware: Hardware, gpios: Sequence[int] = GPIOS) -> tuple[int, ...]:
    """Return the lines that nothing else uses. Raises SensorError if there are none."""
    found: list[int] = []
    refusal: SensorError | None = None
    for gpio in gpios:
        try:
            Inputs((gpio,), hardware).close()
            found.append(gpio)
        except SensorError as error:
            refusal = refusal or error
    if not found and refusal is not None:
        raise refusal
    return tuple(found)


def wait_for_wave(inputs: Inputs, clock: Monotonic, limit_s: float) -> list[Line]:
    """Wait until lines have changed and returned to rest; empty if none has within `limit_s`.

    With more than one the caller must repeat the search. Raises SensorError.
    """
    waves = Waves(dict(inputs.high))
    until_s = clock.now_s() + limit_s
    while (left_s := until_s - clock.now_s()) > 0:
        edge = inputs.next_edge(clock.real_s(min(_LOOK_S, left_s)))
        edges = inputs.lost_edges(inputs.now_s()) or [] if edge is None else [edge]
        for one in edges:
            waves.change(one)
        if found := waves.found(inputs.now_s() if edge is None else edge.at_s):
            return found
    return []
