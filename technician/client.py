"""The running unit, asked over its control socket: answers with types, and one tree of troubles.

All functions raise ControlError: NotRunning where no agent listens, Refusal where the unit refuses,
and a plain one where it does not answer, or answers what makes no sense to this version.
"""

from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

from publisher import control
from publisher.control import (
    BacklogPage,
    ControlError,
    HeadcountAnswer,
    LogPage,
    OpenAnswer,
    RefuelledAnswer,
    ServicedAnswer,
    ZeroAnswer,
)  # fmt: skip
from publisher.status import Status
from publisher.unit.hour import LastHour
from sensors.trouble import Kind, values_in
from technician.words import kinds

T = TypeVar("T")


class Refusal(ControlError):
    """The unit does not carry out what it is asked for."""


def ask(state_dir: Path, command: str, **arguments: object) -> dict[str, Any]:
    """Have the unit carry out a command; return its answer."""
    answer = control.ask(state_dir, {"command": command, **arguments})
    if answer.get("ok") is not True:
        raise _refusal(state_dir, answer)
    return answer


def headcount(state_dir: Path, people: int, by: str = "") -> int:
    """Set the number of people inside; return it. `by` is the name of who has counted."""
    answer = ask(state_dir, "headcount", people=people, by=by)
    return _checked(state_dir, answer, HeadcountAnswer)["people"]


def set_open(state_dir: Path, is_open: bool, by: str = "") -> bool:
    """Note whether the tent takes people in; return it. `by` is the name of who says so."""
    return _checked(state_dir, ask(state_dir, "open", open=is_open, by=by), OpenAnswer)["open"]


def zero(state_dir: Path, sensor: str) -> float:
    """Have a sensor's zero found; return it in amperes."""
    return _checked(state_dir, ask(state_dir, "zero", sensor=sensor), ZeroAnswer)["zero_a"]


def serviced(state_dir: Path) -> float:
    """Note that the generator was serviced; return how many hours it had run."""
    return _checked(state_dir, ask(state_dir, "serviced"), ServicedAnswer)["hours_total"]


def refuelled(state_dir: Path, litres: float | None, *, full: bool) -> float | None:
    """Note that the generator's tank was filled; return how many litres are in it, None if not known."""
    arguments: dict[str, object] = {"full": full}
    if litres is not None:
        arguments["litres"] = litres
    return _checked(state_dir, ask(state_dir, "refuelled", **arguments), RefuelledAnswer)["fuel_l"]


def status(state_dir: Path) -> Status:
    """Return the unit's status."""
    return _checked(state_dir, ask(state_dir, "status"), Status)


def last_hour(state_dir: Path) -> LastHour:
    """Return the unit's last hour."""
    return _checked(state_dir, ask(state_dir, "recent"), LastHour)


def log_page(state_dir: Path, since: str) -> LogPage:
    """Return lines of the visitor log from the day `since` (ISO) on."""
    return _checked(state_dir, ask(state_dir, "log", since=since), LogPage)


def backlog_page(state_dir: Path, after: int, until: int | None) -> BacklogPage:
    """Return records that wait for the broker, by their ids: those in ]after, until]."""
    answer = ask(state_dir, "backlog", after=after, until=until)
    return _checked(state_dir, answer, BacklogPage)


def _refusal(state_dir: Path, answer: dict[str, Any]) -> ControlError:
    """Return why the unit refuses; a trouble that is not known here has its English text only."""
    error, trouble = answer.get("error"), answer.get("trouble")
    if not isinstance(error, str) or not error:
        return _nonsense(state_dir, "error")
    try:
        return Refusal(kinds()[trouble["code"]], **values_in(trouble))  # type: ignore[index,arg-type]
    except (KeyError, ValueError, TypeError):
        return Refusal(Kind("service.other_version", "{error}"), error=error)


def _nonsense(state_dir: Path, key: str) -> ControlError:
    path = str(state_dir / control.FILE)
    return ControlError(control.NONSENSE, path=path, flaw=key)


def _checked(state_dir: Path, answer: dict[str, Any], kind: type[T]) -> T:
    """Return the answer if it has all keys of its kind, each with a value of the right type."""
    if flaw := _flaw(answer, kind, ""):
        raise _nonsense(state_dir, flaw)
    return cast(T, answer)


def _flaw(value: object, kind: Any, path: str) -> str | None:
    """Return the path of the first part of `value` that is missing or of another type."""
    arguments = get_args(kind)
    if kind is Any:
        return None
    if is_typeddict(kind):
        if not isinstance(value, dict):
            return path
        prefix = f"{path}." if path else ""
        for key, inner in get_type_hints(kind).items():
            if key in value:
                if flaw := _flaw(value[key], inner, prefix + key):
                    return flaw
            elif key in kind.__required_keys__:
                return prefix + key
        return None
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        flaws = [_flaw(value, one, path) for one in arguments]
        return None if None in flaws else flaws[0]
    if origin is list:
        if not isinstance(value, list):
            return path
        return next((f for one in value if (f := _flaw(one, arguments[0], f"{path}[]"))), None)
    if origin is tuple:
        if not isinstance(value, list) or len(value) != len(arguments):
            return path
        pairs = zip(value, arguments, strict=True)
        return next((f for one, kind in pairs if (f := _flaw(one, kind, f"{path}[]"))), None)
    if origin is dict:
        if not isinstance(value, dict):
            return path
        flaws = [_flaw(one, arguments[1], f"{path}.{key}") for key, one in value.items()]
        return next((flaw for flaw in flaws if flaw), None)
    if kind is float:
        return None if type(value) in (int, float) else path
    return None if type(value) is kind else path
