"""Lines of a log for `tentwatch replay`: a line's text in, what it says out. Pure.

`docs/replay.md` describes them. What the lines mean for a unit, `publisher.replay` knows.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from json.decoder import JSONDecoder
from typing import Any, NamedTuple

from publisher.clock import LONGEST_UPTIME_S, instant
from sensors.reading import Value
from sensors.trouble import Trouble, declare, marked

#: Most bytes of a line.
LONGEST_LINE = 64 << 10
#: Longest step from a line to the next while the unit is on: each second of it is lived through.
LONGEST_STEP_S = 31 * 86_400.0
#: Longest time for which a restart may last.
LONGEST_OFF_S = 3660 * 86_400.0
#: Most characters of a word from a line in what is said of it.
LONGEST_WORD = 40

TOO_LONG = declare("replay.too_long", marked("the line is longer than {bytes} bytes"))
NOT_UTF8 = declare("replay.not_utf8", marked("the line is no text in UTF-8"))
NOT_JSON = declare("replay.not_json", marked("the line is no JSON (column {column})"))
NOT_FINITE = declare(
    "replay.not_finite",
    marked("the line has a number that JSON does not know"),
    marked("write null for a value that is not known"),
)
NOT_AN_OBJECT = declare("replay.not_an_object", marked("the line is no JSON object"))
UNKNOWN_KEY = declare(
    "replay.unknown_key", marked("{key} is no key of such a line"), marked("known are {known}")
)
MISSING = declare("replay.missing", marked("{key} is missing"))
OUT_OF_RANGE = declare(
    "replay.out_of_range", marked("{key} must be a number of seconds from 0 to {high:.0f}")
)
FALLING = declare("replay.falling", marked("t falls: it was {before_s:g} in the line before"))
LEAP = declare(
    "replay.leap",
    marked("t leaps by more than {days:g} days"),
    marked("replay such parts one by one, or write a restart for a time in which the unit was off"),
)
NOT_A_NAME = declare("replay.not_a_name", marked("{key} must be a name such as {example}"))
NO_VALUES = declare(
    "replay.no_values",
    marked("values must be an object of quantities, such as current_a, and their values"),
)
NOT_A_NUMBER = declare("replay.not_a_number", marked("{key} must be a number or null"))
NOT_YES_OR_NO = declare("replay.not_yes_or_no", marked("{key} must be true or false"))
NOT_YES_NO_OR_NULL = declare(
    "replay.not_yes_no_or_null", marked("{key} must be true, false or null")
)
NO_RESTART = declare(
    "replay.no_restart", marked("restart must be an object with off_s, reboot and synced")
)
NO_WALL = declare("replay.no_wall", marked("wall must be a time such as 2026-11-22T18:00:00Z"))
# What the unit does not have; of a log as a whole.
UNKNOWN_SENSOR = declare(
    "replay.unknown_sensor",
    marked("the unit has no sensor {name}"),
    marked("add [sensors.{name}] to the configuration, or take out its lines; it has {known}"),
)
NOT_A_DOOR = declare(
    "replay.not_a_door",
    marked("the unit has no door {name} with light beams"),
    marked("its doors are: {known}"),
)
UNKNOWN_BEAM = declare(
    "replay.unknown_beam", marked("the door {door} has no beam {beam}"), marked("it has {known}")
)
EMPTY = declare("replay.empty", marked("the log has no line"))

_NAME = re.compile(r"[a-z][a-z0-9_.]{0,39}")
#: Quantities that are true or false, and the units of those that are numbers. Of others either may come.
_YES_OR_NO = {"present", "obstructed", "alarm"}
_MEASURED = re.compile(r".*_(a|v|w|wh|kwh|ah|hz|pct|c|ppm|s|min)")
_COUNTED = {"entered", "left", "passed"}


class Values(NamedTuple):
    """A sensor's reading: its values by quantity; None is a fault."""

    sensor: str
    values: dict[str, Value]


class Turn(NamedTuple):
    """A beam of a door that is broken or free from now on; `beam` is None where it has no name."""

    door: str
    beam: str | None
    blocked: bool


class Told(NamedTuple):
    """A command with its arguments, as the control socket takes it."""

    message: dict[str, Any]


class Restart(NamedTuple):
    """The end of the service, which starts again `off_s` seconds later.

    `synced` says whether the clock is known then; None: as before.
    """

    off_s: float
    reboot: bool
    synced: bool | None


class Line(NamedTuple):
    """A line: its time in seconds, the time of day at which it sets the clock, and what it says."""

    t: float
    wall: datetime | None
    what: Values | Turn | Told | Restart | None


class Lines:
    """Reads lines, one after the other."""

    def __init__(self) -> None:
        self._before_s: float | None = None
        self._on_s = 0.0  # when the service starts again, after a restart
        self._decode = JSONDecoder(parse_constant=_no_constant).raw_decode
        self._are_numbers: dict[str, bool | None] = {}

    def read(self, raw: bytes) -> Line | None:
        """Return what a line says; None for a blank one. Raises Trouble with what is wrong with it."""
        found = self._object(raw)
        if found is None:
            return None
        t = self._time(found)
        wall = _wall(found.get("wall"))
        what: Values | Turn | Told | Restart | None = None
        if "command" in found:
            what = _told(found)
        elif "restart" in found:
            _only(found, "restart")
            what = _restart(found["restart"])
            self._on_s = t + what.off_s
        elif "door" in found:
            what = _turn(found)
        elif "sensor" in found or "values" in found:
            what = self._values(found)
        else:
            _only(found)
        self._before_s = t
        return Line(t, wall, what)

    def _object(self, raw: bytes) -> dict[str, Any] | None:
        if len(raw) > LONGEST_LINE:
            raise Trouble(TOO_LONG, bytes=LONGEST_LINE)
        try:
            text = raw.decode("utf-8-sig" if self._before_s is None else "utf-8")
        except UnicodeDecodeError:
            raise Trouble(NOT_UTF8) from None
        text = text.strip(_BLANKS)
        if not text:
            return None
        try:
            found, end = self._decode(text)
        except json.JSONDecodeError as error:
            raise Trouble(NOT_JSON, column=error.colno) from None
        except (ValueError, RecursionError):  # a number of thousands of digits; nesting without end
            raise Trouble(NOT_JSON, column=1) from None
        if end != len(text):
            raise Trouble(NOT_JSON, column=end + 1)
        if not isinstance(found, dict):
            raise Trouble(NOT_AN_OBJECT)
        return found

    def _time(self, found: Mapping[str, Any]) -> float:
        if "t" not in found:
            raise Trouble(MISSING, key="t")
        t = _seconds("t", found["t"], LONGEST_UPTIME_S)
        before_s = self._before_s
        if before_s is not None:
            if t < before_s:
                raise Trouble(FALLING, before_s=before_s)
            if t - max(before_s, self._on_s) > LONGEST_STEP_S:
                raise Trouble(LEAP, days=LONGEST_STEP_S / 86_400)
        return t

    def _values(self, found: dict[str, Any]) -> Values:
        _only(found, "sensor", "values")
        sensor, values = found.get("sensor"), found.get("values")
        if type(sensor) is not str or not _is_name(sensor):
            raise Trouble(NOT_A_NAME, key="sensor", example="battery")
        if type(values) is not dict or not values:
            raise Trouble(NO_VALUES)
        numbers = self._are_numbers
        for quantity, value in values.items():
            # Most values are numbers of a quantity that came before: a week has a million.
            if type(value) is not float or not numbers.get(quantity) or not abs(value) < _INFINITY:
                self._check(quantity, value)
        return Values(sensor, values)

    def _check(self, quantity: str, value: object) -> None:
        """Raise Trouble if a quantity cannot have such a value."""
        if quantity not in self._are_numbers:
            self._are_numbers[quantity] = _is_number(quantity)
        if value is None:
            return
        kind, is_number = type(value), self._are_numbers[quantity]
        if isinstance(value, float) and not abs(value) < _INFINITY:
            raise Trouble(NOT_FINITE)
        is_right = kind in _NUMBER_KINDS if is_number else kind is bool
        if not (is_right or (is_number is None and kind in _NUMBER_KINDS)):
            raise Trouble(NOT_YES_NO_OR_NULL if is_number is False else NOT_A_NUMBER, key=quantity)


#: What JSON skips around a value.
_BLANKS = " \t\r\n"
_INFINITY = float("inf")
_NUMBER_KINDS = (float, int)


def _no_constant(_: str) -> None:
    raise Trouble(NOT_FINITE)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_number(quantity: str) -> bool | None:
    """Say whether a quantity is a number, or true or false; None if either may be. Raises Trouble."""
    if not _is_name(quantity):
        raise Trouble(NOT_A_NAME, key=_word(quantity), example="current_a")
    if quantity in _YES_OR_NO:
        return False
    return True if quantity in _COUNTED or _MEASURED.fullmatch(quantity) else None


def _word(text: str) -> str:
    """Return a word from a line, for a message."""
    return repr(text[:LONGEST_WORD])


def _only(found: Mapping[str, Any], *keys: str) -> None:
    """Raise Trouble if there is another key."""
    known = ("t", *keys, "wall")
    for key in found:
        if key not in known:
            more = () if keys else ("sensor", "door", "command", "restart")
            raise Trouble(UNKNOWN_KEY, key=_word(key), known=", ".join((*known, *more)))


def _seconds(key: str, value: object, high: float) -> float:
    if type(value) not in (int, float) or not 0 <= value <= high:  # type: ignore[operator]
        raise Trouble(OUT_OF_RANGE, key=key, high=high)
    return float(value)  # type: ignore[arg-type]


def _wall(value: object) -> datetime | None:
    if value is None:
        return None
    found = instant(value) if isinstance(value, str) else None
    if found is None:
        raise Trouble(NO_WALL)
    return found


def _turn(found: Mapping[str, Any]) -> Turn:
    _only(found, "door", "beam", "blocked")
    door, beam, blocked = found["door"], found.get("beam"), found.get("blocked")
    for key, name, example in (("door", door, "door"), ("beam", beam, "outer")):
        is_missing = key == "beam" and name is None
        if not (is_missing or _is_name(name)):
            raise Trouble(NOT_A_NAME, key=key, example=example)
    if type(blocked) is not bool:
        raise Trouble(NOT_YES_OR_NO, key="blocked")
    return Turn(door, beam, blocked)


def _told(found: Mapping[str, Any]) -> Told:
    message = {key: value for key, value in found.items() if key not in ("t", "wall")}
    name = message["command"]
    if type(name) is not str:
        raise Trouble(NOT_A_NAME, key="command", example="headcount")
    # As on the command line: `tentwatch open` and `tentwatch close`.
    if name == "close":
        message |= {"command": "open", "open": False}
    elif name == "open":
        message.setdefault("open", True)
    return Told(message)


def _restart(value: object) -> Restart:
    if not isinstance(value, dict):
        raise Trouble(NO_RESTART)
    for key in value:
        if key not in ("off_s", "reboot", "synced"):
            raise Trouble(UNKNOWN_KEY, key=_word(key), known="off_s, reboot, synced")
    if "off_s" not in value:
        raise Trouble(MISSING, key="off_s")
    off_s = _seconds("off_s", value["off_s"], LONGEST_OFF_S)
    reboot, synced = value.get("reboot", False), value.get("synced")
    if type(reboot) is not bool:
        raise Trouble(NOT_YES_OR_NO, key="reboot")
    if not (type(synced) is bool or (synced is None and not reboot)):
        raise Trouble(NOT_YES_OR_NO, key="synced")
    return Restart(off_s, reboot, synced)
