"""Driver: a door with one light beam, which sees people pass but not which way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

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

    gpio: int = setting(doc="GPIO number (BCM) of the beam", low=0, high=HIGHEST_GPIO)
    blocked_level: str = setting(
        "high",
        doc="level while the beam is broken; with 'high' a cut cable reads as broken, not as free",
        choices=("low", "high"),
    )


class Beam(Doorway):
    """One beam; gives passed (people since the last reading), obstructed and blind_s.

    Traffic only: half of it is no occupancy, since people come in and go out unevenly.
    """

    driver = "beam"
    beams: ClassVar[Mapping[str, str]] = {"gpio": marked("the beam")}
    rules = Traffic


TRAITS = Traits(
    driver=Beam,
    serves={"door": marked("one light beam")},
    connection=Connection.GPIO,
    lines=Beam.beams,
)


def decode(capture: bytes) -> Decoded:
    """Return who passed in a capture, and when the door was obstructed."""
    return Beam.decode(capture)
