"""Commands: bytes from the broker or the control socket in, a checked command or a refusal out. Pure."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from publisher.clock import Now
from publisher.config.load import Config
from sensors.json_in import LARGEST_EXACT, parsed
from sensors.trouble import Kind, Trouble, declare, marked

#: A larger payload is refused (contract, Commands). Up to the second size its cid is still read.
MAX_BYTES = 4096
READABLE_BYTES = 64 * 1024
#: An answer's topic ends with the cid, so a cid must be one topic level.
MAX_CID = 64
#: Most digits of a whole number that are converted: enough to see that it is out of range.
DIGITS = 30
#: Most characters of the name of the person who says something, and who it is without a name.
MAX_BY = 40
#: Litres of fuel that somebody can fill in: at most those of the configuration's largest tank.
MIN_LITRES, MAX_LITRES = 0.1, 10_000
SOMEBODY = "person"
_SENSOR = re.compile(r"[a-z][a-z0-9_]{0,39}")
#: A date as ISO writes it, or its beginning. An empty text comes before all dates.
_SINCE = re.compile(r"[0-9-]{0,10}", re.ASCII)

TOO_LARGE = declare("command.too_large", marked("the command is larger than {bytes} bytes"))
NOT_JSON = declare("command.not_json", marked("the command is not JSON"))
NOT_AN_OBJECT = declare("command.not_an_object", marked("the command is not a JSON object"))
NO_CID = declare("command.no_cid", marked("no cid (1 to 64 printable characters without / + #)"))
RETAINED = declare(
    "command.retained",
    marked("retained commands are refused"),
    marked("publish it without the retain flag"),
)
NO_EXPIRY = declare(
    "command.no_expiry", marked("expires must be a time such as 2026-11-22T18:10:00Z")
)
CLOCK_NOT_SET = declare(
    "command.clock_not_set",
    marked("the unit's clock is not set yet"),
    marked("send it again in a minute"),
)
EXPIRED = declare("command.expired", marked("expired"))
CID_USED = declare(
    "command.cid_used",
    marked("another command had this cid"),
    marked("choose a new cid for each command"),
)
NO_RANGE = declare(
    "command.no_range",
    marked("from and to must be numbers of records, each with boot and seq, the earlier one first"),
)
RESENDING = declare(
    "command.resending",
    marked("records are being sent again already: {left} are left"),
    marked("ask again later"),
)
TOO_MANY = declare(
    "command.too_many", marked("too many commands"), marked("try again in two minutes")
)
UNKNOWN = declare("command.unknown", marked("unknown command {name}"), marked("known are {known}"))
OUT_OF_RANGE = declare(
    "command.out_of_range", marked("{key} must be a whole number from {low} to {high}")
)
NO_SENSOR_NAME = declare(
    "command.no_sensor_name",
    marked("sensor must be the name of a sensor, such as generator"),
)
NOT_YES_OR_NO = declare("command.not_yes_or_no", marked("{key} must be true or false"))
NO_NAME = declare(
    "command.no_name", marked("by must be a name: at most {most} printable characters")
)
NO_LITRES = declare(
    "command.no_litres",
    marked("litres must be a number from {least} to {most}, or full must be true, or both"),
)
NO_DATE = declare("command.no_date", marked("since must be a date such as 2026-11-22"))
NO_RECORD_IDS = declare("command.no_record_ids", marked("after and until must be ids of records"))

#: Checks the arguments of a command and returns them. Raises Refused.
Check = Callable[[Mapping[str, Any], Config], Any]


@dataclass(frozen=True, slots=True)
class Command:
    """A command with valid arguments. `cid` is empty for one from the control socket."""

    name: str
    cid: str
    argument: Any = None

    @property
    def asked(self) -> str:
        """What it asks for, as text: equal for the same command with the same arguments."""
        return json.dumps([self.name, self.argument])


class Refused(Trouble):
    """A refused command; `cid` is None if no answer can be sent.

    `command` is there if only its time is wrong.
    """

    def __init__(
        self,
        kind: Kind,
        cid: str | None = None,
        command: Command | None = None,
        **values: str | float | None,
    ) -> None:
        super().__init__(kind, **values)
        self.cid = cid
        self.command = command


def from_broker(
    name: str,
    payload: bytes,
    checks: Mapping[str, Check],
    config: Config,
    *,
    retained: bool,
    now: Now,
    is_large: bool = False,
) -> Command:
    """Check a command that came over MQTT.

    `checks` are those of all remote commands, by name. `is_large` means that a property of the message
    is too large. Raises Refused.
    """
    message = _object(payload)
    cid = message.get("cid")
    if not isinstance(cid, str) or not _is_topic_level(cid):
        raise Refused(NO_CID)
    try:
        if is_large or len(payload) > MAX_BYTES:
            raise Refused(TOO_LARGE, bytes=MAX_BYTES)
        if retained:
            raise Refused(RETAINED)
        command = Command(name, cid, _checked(name, checks, message, config))
        _check_expiry(message.get("expires"), command, now)
        return command
    except Refused as refusal:
        refusal.cid = cid
        raise


def from_unit(message: object, checks: Mapping[str, Check], config: Config) -> Command:
    """Check a command that came over the control socket. Raises Refused."""
    if not isinstance(message, dict) or not isinstance(message.get("command"), str):
        raise Refused(NOT_AN_OBJECT)
    name = message["command"]
    return Command(name, "", _checked(name, checks, message, config))


def _object(payload: bytes) -> dict[str, Any]:
    if len(payload) > READABLE_BYTES:
        raise Refused(TOO_LARGE, bytes=MAX_BYTES)
    try:
        message = parsed(payload, parse_int=lambda digits: int(digits[:DIGITS]))
    except ValueError:
        raise Refused(NOT_JSON) from None
    if not isinstance(message, dict):
        raise Refused(NOT_AN_OBJECT)
    return message


def _is_topic_level(cid: str) -> bool:
    return 0 < len(cid) <= MAX_CID and cid.isprintable() and not set(cid) & set("/+#")


def _check_expiry(expires: object, command: Command, now: Now) -> None:
    try:
        at = datetime.fromisoformat(expires) if isinstance(expires, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Refused(NO_EXPIRY)
    if now.wall is None:
        raise Refused(CLOCK_NOT_SET, command=command)
    if at <= now.wall:
        raise Refused(EXPIRED, command=command)


def _checked(
    name: str, checks: Mapping[str, Check], message: Mapping[str, Any], config: Config
) -> Any:
    check = checks.get(name)
    if check is None:
        raise Refused(UNKNOWN, name=repr(name[:40]), known=", ".join(checks))
    return check(message, config)


# Arguments


def nothing(message: Mapping[str, Any], config: Config) -> None:
    """Take no argument."""


def people(message: Mapping[str, Any], config: Config) -> tuple[int, str]:
    """Return a number of people that may be in this tent, and who says so. Raises Refused."""
    return _whole_number(message, "people", 0, 10 * config.tent.seats), _by(message)


def opening(message: Mapping[str, Any], config: Config) -> tuple[bool, str]:
    """Return whether the tent takes people in, and who says so. Raises Refused."""
    value = message.get("open")
    if type(value) is not bool:
        raise Refused(NOT_YES_OR_NO, key="open")
    return value, _by(message)


def filling(message: Mapping[str, Any], config: Config) -> tuple[float | None, bool]:
    """Return the litres filled into the tank (None: not told), and whether it is full. Raises Refused."""
    litres, full = message.get("litres"), message.get("full", False)
    if type(full) is bool:
        if litres is None and full:
            return None, full
        if (
            isinstance(litres, int | float)
            and litres is not True
            and MIN_LITRES <= litres <= MAX_LITRES
        ):
            return float(litres), full
    raise Refused(NO_LITRES, least=MIN_LITRES, most=MAX_LITRES)


def seconds(message: Mapping[str, Any], config: Config) -> int:
    """Return the number of seconds. Raises Refused."""
    return _whole_number(message, "seconds", 1, 600)


def sensor(message: Mapping[str, Any], config: Config) -> str:
    """Return a possible name of a sensor. Raises Refused."""
    name = message.get("sensor")
    if not isinstance(name, str) or not _SENSOR.fullmatch(name):
        raise Refused(NO_SENSOR_NAME)
    return name


def since(message: Mapping[str, Any], config: Config) -> str:
    """Return the first day (ISO); empty for all days. Raises Refused."""
    text = message.get("since")
    if not isinstance(text, str) or not _SINCE.fullmatch(text):
        raise Refused(NO_DATE)
    return text


def record_range(
    message: Mapping[str, Any], config: Config
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the numbers (boot, seq) of the first and the last record. Raises Refused."""
    first, last = _record(message, "from"), _record(message, "to")
    if first > last:
        raise Refused(NO_RANGE)
    return first, last


def _record(message: Mapping[str, Any], key: str) -> tuple[int, int]:
    pair = message.get(key)
    if not isinstance(pair, dict):
        raise Refused(NO_RANGE)
    boot, seq = pair.get("boot"), pair.get("seq")
    if type(boot) is not int or type(seq) is not int:
        raise Refused(NO_RANGE)
    if not (0 < boot <= LARGEST_EXACT and 0 < seq <= LARGEST_EXACT):
        raise Refused(NO_RANGE)
    return boot, seq


def record_ids(message: Mapping[str, Any], config: Config) -> tuple[int, int | None]:
    """Return the ids after which and until which to read; None for the newest. Raises Refused."""
    after, until = message.get("after"), message.get("until")
    if type(after) is not int or not (until is None or type(until) is int):
        raise Refused(NO_RECORD_IDS)
    return after, until


def _by(message: Mapping[str, Any]) -> str:
    """Return who says so; SOMEBODY where the message has no name. Raises Refused."""
    name = message.get("by", "")
    if not isinstance(name, str) or len(name) > MAX_BY or not name.isprintable():
        raise Refused(NO_NAME, most=MAX_BY)
    return name.strip() or SOMEBODY


def _whole_number(message: Mapping[str, Any], key: str, low: int, high: int) -> int:
    value = message.get(key)
    if type(value) is not int or not low <= value <= high:
        raise Refused(OUT_OF_RANGE, key=key, low=low, high=high)
    return value
