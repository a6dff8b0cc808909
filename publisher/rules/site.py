"""Where the tent stands, what it is called, and how many it is meant for, as the configuration says."""

from dataclasses import asdict, dataclass

from publisher.config.sections import TentSettings
from publisher.rules.happening import Happening


@dataclass(slots=True)
class Site:
    """What the event `moved` reports a change of; degrees north and east. `seats` is None if not known."""

    name: str = ""
    latitude: float | None = None
    longitude: float | None = None
    region: str | None = None
    seats: int | None = None

    @classmethod
    def of(cls, tent: TentSettings) -> "Site":
        """Return the site of a configured tent."""
        return cls(tent.name, tent.latitude, tent.longitude, tent.region, tent.seats)

    def moved_from(self, before: "Site") -> list[Happening]:
        """Return the event if this is another site than `before`; an unknown one is none."""
        if before.seats is None or before == self:
            return []
        return [Happening("moved", {**asdict(self), "before": asdict(before)})]
