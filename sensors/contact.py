"""Driver: a dry contact that says whether a line is alive (of a relay across mains, for example)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sensors import edges
from sensors.capture import Decoded, no_tap
from sensors.clock import Monotonic
from sensors.edges import Edge, Start
from sensors.gpio import HIGHEST_GPIO, Inputs, OnLines
from sensors.hardware import Hardware
from sensors.reading import Measurement, SensorError
from sensors.settings import setting
from sensors.traits import Connection, Traits
from sensors.trouble import SENSOR, declare, marked

RESTLESS = declare(
    "contact.restless",
    marked("the contact on GPIO {gpio} opens and closes without coming to rest"),
    marked(
        "tighten the wires at the relay and at the Pi; a relay that hums or chatters: replace it"
    ),
    concerns=SENSOR,
)

HEARTBEAT_S = 1.0
#: A contact that has not come to rest after this long is no bouncing contact but a fault.
LONGEST_BOUNCE_S = 1.0


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "contact"`."""

    gpio: int = setting(doc=marked("GPIO number of the line (BCM)"), low=0, high=HIGHEST_GPIO)
    present_level: str = setting(
        "low",
        doc=marked("level while mains is present; with 'low' a cut cable reads as no mains"),
        choices=("low", "high"),
    )
    settle_s: float = setting(
        0.003,
        doc=marked("a level counts when it has stood this long; longer than the relay bounces"),
        low=0.0,
        high=1.0,
    )


class Contact(OnLines):
    """A contact between a line and ground; gives present, at once and once a second."""

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        settings = {"driver": "contact", **asdict(config)}
        super().__init__((config.gpio,), hardware, clock, settings)
        self._config = config
        self._reported_s: float | None = None

    def open(self) -> None:
        """Open the line. Raises SensorError."""
        super().open()
        self._reported_s = None

    def read(self) -> Sequence[Measurement]:
        """Wait for the contact to change and settle, or for the next heartbeat."""
        inputs, clock = self._inputs, self._clock
        if self._reported_s is not None:
            due_s = clock.beat_after(self._reported_s, HEARTBEAT_S)
            if inputs.next_edge(clock.real_s(due_s - clock.now_s())) is not None:
                self._settle(inputs)
        self._reported_s = clock.now_s()
        if self.tap is not no_tap:
            inputs.lost_edges(inputs.now_s())  # a recording has them, too
        present = inputs.is_high(self._config.gpio) == (self._config.present_level == "high")
        return (Measurement("present", present),)

    def _settle(self, inputs: Inputs) -> None:
        limit_s = self._clock.now_s() + LONGEST_BOUNCE_S
        while inputs.next_edge(self._clock.real_s(self._config.settle_s)) is not None:
            if self._clock.now_s() > limit_s:
                raise SensorError(RESTLESS, gpio=self._config.gpio)


TRAITS = Traits(
    driver=Contact,
    serves=dict.fromkeys(("mains", "mains_line", "generator_line"), marked("a relay contact")),
    connection=Connection.GPIO,
    lines={"gpio": marked("the contact")},
    unsteady=RESTLESS,
)


def decode(capture: bytes) -> Decoded:
    """Return when mains was present in a capture; None stands for a contact that never settled."""
    return edges.decode(
        capture, lambda start: _Recorded(start) if _fits(start) else None, LONGEST_BOUNCE_S
    )


def _fits(start: Start) -> bool:
    settings = start.settings
    settle_s = settings.get("settle_s")
    return (
        settings.get("driver") == "contact"
        and settings.get("present_level") in ("low", "high")
        and isinstance(settle_s, int | float)
        and 0 <= settle_s <= LONGEST_BOUNCE_S
        and list(start.high) == [settings.get("gpio")]
    )


class _Recorded:
    """A contact as its edges tell: a level counts when it has stood for long enough."""

    def __init__(self, start: Start) -> None:
        settings = start.settings
        self._settle_s = float(settings["settle_s"])
        self._present_high = settings["present_level"] == "high"
        self._high = start.high[settings["gpio"]]
        self._edge_s: float | None = start.at_s - self._settle_s
        self._bounces_since_s = self._edge_s
        self._reported: bool | str | None = "nothing"

    def until(self, at_s: float, edge: Edge | None = None) -> list[dict[str, Any]]:
        """Let time pass, and at its end take an edge; return the states that are new, as frames."""
        frames = []
        if self._edge_s is not None and at_s >= self._edge_s + self._settle_s:
            frames = self._tell(self._edge_s + self._settle_s, self._high == self._present_high)
            self._edge_s = None
        if edge is not None:
            if self._edge_s is None:
                self._bounces_since_s = edge.at_s
            elif edge.at_s - self._bounces_since_s > LONGEST_BOUNCE_S:
                frames = self._tell(edge.at_s, None)
            self._edge_s, self._high = edge.at_s, edge.high
        return frames

    def _tell(self, at_s: float, present: bool | None) -> list[dict[str, Any]]:
        before, self._reported = self._reported, present
        return [] if before is present else [{"at_s": round(at_s, 3), "present": present}]
