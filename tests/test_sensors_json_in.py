"""JSON from outside: the limits are ours, whatever Python's own parser accepts."""

import ast
from pathlib import Path

import pytest

from sensors.json_in import MOST_LEVELS, parsed

ROOT = Path(__file__).parent.parent


def nested(levels: int, *, of_objects: bool) -> str:
    opening, closing = ('{"a":', "}") if of_objects else ("[", "]")
    return opening * levels + "1" + closing * levels


@pytest.mark.parametrize("of_objects", [True, False])
def test_what_is_nested_as_deep_as_may_be_is_read(*, of_objects: bool) -> None:
    value = parsed(nested(MOST_LEVELS, of_objects=of_objects))
    for _ in range(MOST_LEVELS):
        value = value["a"] if of_objects else value[0]
    assert value == 1


@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 5_000, 500_000])
@pytest.mark.parametrize("of_objects", [True, False])
def test_what_is_nested_deeper_is_refused(levels: int, *, of_objects: bool) -> None:
    with pytest.raises(ValueError, match="nested"):
        parsed(f'[1, {{"a": 2}}, {nested(levels - 1, of_objects=of_objects)}]')


def test_what_is_wide_is_not_deep() -> None:
    assert parsed("[" + "[1]," * 10_000 + "[1]]") == [[1]] * 10_001


@pytest.mark.parametrize("text", ["", "{", "nonsense", b"\xff\xfe", "[" * 5_000])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # the words are Python's
        parsed(text)


def test_nobody_else_parses_json() -> None:
    for room in ("sensors", "publisher", "technician"):
        for file in (ROOT / room).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
            if file != ROOT / "sensors/json_in.py":
                assert not calls & {"json.loads", "json.load"}, file
