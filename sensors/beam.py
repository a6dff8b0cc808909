"""Driver: a door with one light beam, which counts people but not their direction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sensors.capture import Decoded
from sensors.doorway import Doorway
from sensors.gpio import HIGHEST_GPIO
from sensors.passage import Traffic
from sensors.settings import setting
from sensors.traits import Connection, Traits
from sensors.trouble import marked


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "beam"`."""

    gpio: int = setting(doc=marked("GPIO number (BCM) of the beam"), low=0, high=HIGHEST_GPIO)
    blocked_level: str = setting(
        "high",
        doc=marked(
            "level while the beam is broken; with 'high' a cut cable reads as broken, not as free"
        ),
        choices=("low", "high"),
    )


class Beam(Doorway):
    """One beam; reports passed (people since the last reading), obstructed and blind_s.

    It counts traffic only. Half the traffic is not the occupancy, because entries and exits are uneven.
    """

    driver = "beam"
    beams: ClassVar[Mapping[str, str]] = {"gpio": marked("the beam")}

    @classmethod
    def begin(cls, blocked: Sequence[bool], at_s: float, settings: Mapping[str, Any]) -> Traffic:
        """Return the rules of one beam."""
        return Traffic(blocked, at_s)


TRAITS = Traits(
    driver=Beam,
    serves={"door": marked("one light beam")},
    connection=Connection.GPIO,
    lines=Beam.beams,
    broken_beams=Beam.broken_beams,
)


def decode(capture: bytes) -> Decoded:
    """Return the passages in a capture, and when the door was obstructed."""
    return Beam.decode(capture)
