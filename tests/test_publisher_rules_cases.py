"""Logs through the rules, as data: `tests/cases/rules/<case>/`, each let live by `tentwatch replay`.

`input.jsonl` is the log, `config.toml` the unit. `expected.json` says what it shows (`about`), how often a
state comes out (`every_s`), and what must come of it (`expected`, see `fault`). Where the rules do not reach
that today, `fails` says why: such a case must fail, so that whoever mends the rules takes `fails` away.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from technician import cli
from technician.terminal import DONE
from tests import contract

CASES = sorted(
    path.parent for path in (Path(__file__).parent / "cases/rules").glob("*/input.jsonl")
)


def expected(case: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    assert found["about"]
    return found


def fits(value: Any, wanted: Any) -> bool:
    """Say whether a value is as wanted: of an object the keys that are named, of a number a range."""
    match wanted:
        case {"from": low, "to": high}:
            if value is None:
                return wanted.get("or_null") is True
            return isinstance(value, int | float) and low <= value <= high
        case {"has": name}:
            return name in value
        case {"lacks": name}:
            return name not in value
        case {"one_of": names}:
            return value in names
        case dict():
            return isinstance(value, dict) and all(
                key in value and fits(value[key], inner) for key, inner in wanted.items()
            )
        case _:
            return bool(value == wanted)


def state_at(printed: list[dict[str, Any]], t: float) -> dict[str, Any]:
    [found] = [line["state"] for line in printed if line["t"] == t and "state" in line]
    assert isinstance(found, dict)
    return found


def value_at(printed: list[dict[str, Any]], t: float, path: str) -> float | None:
    value: Any = state_at(printed, t)
    for key in path.split("."):
        value = value[key]
    assert value is None or isinstance(value, int | float)
    return value


def fault(printed: list[dict[str, Any]], wanted: dict[str, Any]) -> str | None:
    """Return what is not as wanted in the printed lines, or None."""
    match wanted:
        case {"t": t, "state": state}:
            found = state_at(printed, t)
            return None if fits(found, state) else f"at {t}: {found}"
        case {"change": path, "from_t": before, "to_t": after, "at_most": most}:
            one, other = value_at(printed, before, path), value_at(printed, after, path)
            is_small = one is not None and other is not None and abs(other - one) <= most
            return None if is_small else f"{path}: {one} at {before}, {other} at {after}"
        case {"event": name, "from_t": low, "to_t": high}:
            events = [line for line in printed if line.get("event") == name]
            detail = wanted.get("detail", {})
            there = [e for e in events if low <= e["t"] <= high and fits(e["detail"], detail)]
            return None if there else f"{name} {detail} from {low} to {high}: {events}"
        case {"no_event": name}:
            events = [line for line in printed if line.get("event") == name]
            return f"{events}" if events else None
    raise AssertionError(f"no such expectation: {wanted}")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=case.name,
            marks=[pytest.mark.xfail(strict=True, reason=why)]
            if (why := expected(case).get("fails"))
            else [],
        )
        for case in CASES
    ],
)
def test_a_log_comes_to_what_it_should(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = expected(case)
    options = ["--config", str(case / "config.toml"), "--every", str(wanted["every_s"])]
    assert cli.main(["replay", *options, str(case / "input.jsonl")]) == DONE
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in printed:
        if "state" in line:
            assert not list(contract.faults("state", line["state"]))
    faults = [found for one in wanted["expected"] if (found := fault(printed, one))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("wanted", "is_fault"),
    [
        ({"t": 60, "state": {"a": {"b": {"from": 1, "to": 3}}}}, False),
        ({"t": 60, "state": {"a": {"b": {"from": 3, "to": 4}}}}, True),
        ({"t": 60, "state": {"a": {"c": 1}}}, True),
        ({"t": 60, "state": {"n": {"from": 0, "to": 1, "or_null": True}}}, False),
        ({"t": 60, "state": {"n": {"from": 0, "to": 1}}}, True),
        ({"t": 60, "state": {"alerts": {"has": "x"}}}, False),
        ({"t": 60, "state": {"alerts": {"lacks": "x"}}}, True),
        ({"change": "a.b", "from_t": 60, "to_t": 120, "at_most": 1}, False),
        ({"change": "a.b", "from_t": 60, "to_t": 120, "at_most": 0.5}, True),
        ({"change": "n", "from_t": 60, "to_t": 120, "at_most": 9}, True),
        ({"event": "e", "from_t": 5, "to_t": 7}, False),
        ({"event": "e", "detail": {"d": {"one_of": [2]}}, "from_t": 5, "to_t": 7}, True),
        ({"event": "e", "from_t": 7, "to_t": 9}, True),
        ({"no_event": "f"}, False),
        ({"no_event": "e"}, True),
    ],
)
def test_what_is_not_as_expected_is_found(wanted: dict[str, Any], is_fault: bool) -> None:
    printed: list[dict[str, Any]] = [
        {"t": 6, "event": "e", "detail": {"d": 1}},
        {"t": 60, "state": {"a": {"b": 2}, "n": None, "alerts": ["x"]}},
        {"t": 120, "state": {"a": {"b": 3}, "n": 1, "alerts": []}},
    ]
    assert (fault(printed, wanted) is not None) == is_fault
