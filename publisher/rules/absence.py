"""How long a counted battery was not watched: the unit was off, or its service did not run."""

from typing import NamedTuple

from publisher.clock import Now
from publisher.rules.charge_state import Charge


class Away(NamedTuple):
    """Seconds for which nobody watched.

    `on_s` is the time for which the unit had power, `off_s` the time for which it had none: 0 within
    one boot, None while no clock tells it.
    """

    on_s: float
    off_s: float | None


class Absence:
    """Measures it by the uptime within one boot, otherwise by the time of day.

    The charge is saved with the boot, the uptime and the last certain time of day. `lived_s` of it is
    the uptime that has passed since that time of day, in any boot: what is left of the time of day's
    difference is the time without power. Where several boots had no clock, it is that of all of them.
    """

    def __init__(self, charge: Charge, now: Now, boot: int) -> None:
        """Begin a run in boot number `boot`; what survives is in `charge`."""
        self._charge = charge
        on_s = now.uptime_s
        same = charge.boot == boot and charge.uptime_s <= now.uptime_s
        if same:
            on_s -= charge.uptime_s
        else:
            charge.off_untold = True
        charge.lived_s += on_s
        charge.boot, charge.uptime_s = boot, now.uptime_s
        off_s = 0.0 if same else self.tell_off(now)
        #: What nobody has watched before this run. Within one boot its time without power is 0.
        self.before = Away(on_s, off_s)

    def tell_off(self, now: Now) -> float | None:
        """Return the seconds without power that were unknown so far; None where nothing is new."""
        charge = self._charge
        if not now.is_certain or now.wall is None or not charge.off_untold:
            return None
        charge.off_untold = False
        if not charge.wall_s:
            return None  # no time of day was ever known
        lived_s = charge.lived_s + now.uptime_s - charge.uptime_s
        return max(0.0, now.wall.timestamp() - charge.wall_s - lived_s)

    def live(self, now: Now) -> None:
        """Note the present, as what a later run goes on from."""
        charge = self._charge
        if now.is_certain and now.wall is not None and not charge.off_untold:
            charge.wall_s, charge.lived_s = now.wall.timestamp(), 0.0
        else:
            charge.lived_s += max(0.0, now.uptime_s - charge.uptime_s)
        charge.uptime_s = now.uptime_s
