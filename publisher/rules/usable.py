"""Saved totals that a tent can go on from, whatever damage they have."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from publisher.clock import EPOCH, Now
from publisher.config.load import Config
from publisher.rules.tent import Tent

log = logging.getLogger("tentwatch.agent")


def usable(
    saved: dict[str, Any] | None, config: Config, now: Now, *, boot: int
) -> dict[str, Any] | None:
    """Return saved totals without the values that a tent cannot go on from; each of these is logged.

    `Totals.restore` leaves out what cannot be. Here a tent tries the rest, now and with a clock that is
    set: totals on which it fails would make it fail at each start.
    """
    if saved is None or _fault(saved, config, now, boot) is None:
        return saved
    found: dict[str, Any] = {}
    for key, value in saved.items():
        fault = _fault(found | {key: value}, config, now, boot)
        if fault is None:
            found[key] = value
        else:
            log.error("the totals' %.40a cannot be used (%a): left out", key, fault)
    return found


def _fault(saved: Mapping[str, Any], config: Config, now: Now, boot: int) -> Exception | None:
    """Return what goes wrong with a tent that begins with these totals."""
    try:
        tent = Tent(config, now, dict(saved), boot=boot)
        tent.tick(now)
        tent.tick(replace(now, wall=now.wall or EPOCH, synced=True))
        tent.zeros(), tent.snapshot(), tent.totals.as_dict()
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        return error
    return None
