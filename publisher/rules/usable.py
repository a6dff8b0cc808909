"""Saved totals that a tent can go on from, whatever damage they have."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from publisher.clock import EPOCH, Now
from publisher.config.load import Config
from publisher.rules.tent import Tent


def usable(
    saved: dict[str, Any] | None, config: Config, now: Now, *, boot: int
) -> tuple[dict[str, Any] | None, dict[str, Exception]]:
    """Return saved totals without the values that a tent cannot go on from, and why by key.

    `Totals.restore` leaves out what cannot be. Here a tent tries the rest, now and with a clock that is
    set: totals on which it fails would make it fail at each start.
    """
    if saved is None or _fault(saved, config, now, boot) is None:
        return saved, {}
    found: dict[str, Any] = {}
    left_out: dict[str, Exception] = {}
    for key, value in saved.items():
        fault = _fault(found | {key: value}, config, now, boot)
        if fault is None:
            found[key] = value
        else:
            left_out[key] = fault
    return found, left_out


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
