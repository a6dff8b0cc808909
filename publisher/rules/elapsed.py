"""How long ago something was, over restarts too."""

from publisher.clock import Now, instant


def elapsed_s(
    now: Now, boot: int, *, then_boot: int, then_uptime_s: float, then: str | None
) -> float | None:
    """Return the seconds from an earlier instant to `now`; None if no clock can tell.

    Within one boot the uptime tells it. `boot` is the number of the present one. Over a restart of the
    computer the time of day tells it, if it is certain now and was so `then` (an ISO text).
    """
    if then_boot == boot:
        passed_s = now.uptime_s - then_uptime_s
    else:
        before = instant(then or "")
        if before is None or now.wall is None or not now.is_certain:
            return None
        passed_s = (now.wall - before).total_seconds()
    return passed_s if passed_s >= 0 else None
