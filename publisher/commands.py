"""Commands: bytes from the broker or the control socket in, a checked command or a refusal out."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from publisher.clock import Now
from sensors.json_in import parsed

NAMES = ("headcount", "report", "identify", "zero", "serviced")
#: A larger payload is refused (contract, Commands); it is still read for its cid, up to a limit.
MAX_BYTES = 4096
MOST_READ_BYTES = 64 * 1024
#: An answer's topic ends with the cid, so a cid must be one topic level.
MAX_CID = 64
_SENSOR = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Command:
    """A command whose arguments are in order. `cid` is empty for one from the control socket."""

    name: str
    cid: str
    argument: int | str | None = None


class Refused(Exception):
    """A command that changes nothing; `cid` is None where there is nobody to answer."""

    def __init__(self, cid: str | None, error: str) -> None:
        self.cid = cid
        self.error = error
        super().__init__(error)


def from_broker(
    name: str,
    payload: bytes,
    *,
    retained: bool,
    seats: int,
    now: Now,
    is_large: bool = False,
) -> Command:
    """Check a command that came over MQTT; `is_large` where what came with it is too large.

    Raises Refused.
    """
    if len(payload) > MOST_READ_BYTES:
        raise Refused(None, f"larger than {MAX_BYTES} bytes")
    try:
        message = parsed(payload, parse_int=_int)
    except ValueError:
        raise Refused(None, "not JSON") from None
    if not isinstance(message, dict):
        raise Refused(None, "not a JSON object")
    cid = message.get("cid")
    if not isinstance(cid, str) or not _is_level(cid):
        raise Refused(None, "no cid (1 to 64 printable characters without / + #)")
    if is_large or len(payload) > MAX_BYTES:
        raise Refused(cid, f"larger than {MAX_BYTES} bytes")
    if retained:
        raise Refused(cid, "retained commands are refused: publish it without the retain flag")
    _check_expiry(cid, message.get("expires"), now)
    return _checked(name, cid, message, seats)


def from_unit(message: object, *, seats: int) -> Command:
    """Check a command that came over the control socket. Raises Refused."""
    if not isinstance(message, dict) or not isinstance(message.get("command"), str):
        raise Refused("", "not a command")
    return _checked(message["command"], "", message, seats)


def _check_expiry(cid: str, expires: object, now: Now) -> None:
    try:
        at = datetime.fromisoformat(expires) if isinstance(expires, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Refused(cid, "expires must be a time such as 2026-11-22T18:10:00Z")
    if now.wall is None:
        raise Refused(cid, "the unit's clock is not set yet: send it again in a minute")
    if at <= now.wall:
        raise Refused(cid, "expired")


def _checked(name: str, cid: str, message: dict[str, Any], seats: int) -> Command:
    if name == "headcount":
        return Command(name, cid, _whole_number(cid, message, "people", 0, 10 * seats))
    if name == "identify":
        return Command(name, cid, _whole_number(cid, message, "seconds", 1, 600))
    if name == "zero":
        sensor = message.get("sensor")
        if not isinstance(sensor, str) or not _SENSOR.fullmatch(sensor):
            raise Refused(cid, "sensor must be the name of a sensor, such as generator")
        return Command(name, cid, sensor)
    if name in ("report", "serviced"):
        return Command(name, cid)
    raise Refused(cid, f"unknown command {name[:40]!r}: known are {', '.join(NAMES)}")


def _whole_number(cid: str, message: dict[str, Any], key: str, low: int, high: int) -> int:
    value = message.get(key)
    if type(value) is not int or not low <= value <= high:
        raise Refused(cid, f"{key} must be a whole number from {low} to {high}")
    return value


def _int(digits: str) -> int:
    """Return a JSON integer; of one that is out of all bounds no more than shows that it is."""
    return int(digits[:30])


def _is_level(cid: str) -> bool:
    return 0 < len(cid) <= MAX_CID and cid.isprintable() and not set(cid) & set("/+#")
