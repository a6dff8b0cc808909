"""Driver: a door with two light beams, one behind the other; counts people in and out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sensors.capture import Decoded
from sensors.doorway import Doorway
from sensors.gpio import HIGHEST_GPIO
from sensors.passage import SPACING_M, Passages
from sensors.settings import setting
from sensors.traits import Connection, Traits
from sensors.trouble import CONFIG, Trouble, declare, marked

SAME_LINE = declare(
    "beams.same_line",
    marked("is the same line as outer_gpio"),
    marked("give each beam its own"),
    concerns=CONFIG,
)


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "beams"`."""

    outer_gpio: int = setting(
        doc=marked("GPIO number (BCM) of the beam outside"), low=0, high=HIGHEST_GPIO
    )
    inner_gpio: int = setting(
        doc=marked("GPIO number (BCM) of the beam inside"), low=0, high=HIGHEST_GPIO
    )
    blocked_level: str = setting(
        "high",
        doc=marked(
            "level while a beam is broken; with 'high' a cut cable reads as broken, not as free"
        ),
        choices=("low", "high"),
    )
    spacing_m: float = setting(
        SPACING_M,
        doc=marked("distance from beam to beam in metres, by which a person's pace is judged"),
        low=0.08,
        high=0.3,
    )

    def faults(self) -> list[tuple[str, Trouble]]:
        """Return each fault between several keys."""
        if self.outer_gpio == self.inner_gpio:
            return [("inner_gpio", Trouble(SAME_LINE))]
        return []


class Beams(Doorway):
    """Two beams; reports entered and left (people since the last reading), obstructed and blind_s."""

    driver = "beams"
    beams: ClassVar[Mapping[str, str]] = {
        "outer_gpio": marked("the outer beam"),
        "inner_gpio": marked("the inner beam"),
    }

    @classmethod
    def begin(cls, blocked: Sequence[bool], at_s: float, settings: Mapping[str, Any]) -> Passages:
        """Return the rules of two beams."""
        # Recordings of version 0.1 have no spacing.
        return Passages(blocked, at_s, settings.get("spacing_m", SPACING_M))


TRAITS = Traits(
    driver=Beams,
    serves={"door": marked("two light beams")},
    connection=Connection.GPIO,
    lines=Beams.beams,
    broken_beams=Beams.broken_beams,
    tells_way=True,
)


def decode(capture: bytes) -> Decoded:
    """Return the passages in and out in a capture, and when the door was obstructed."""
    return Beams.decode(capture)
