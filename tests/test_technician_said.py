"""Messages of the unit in the terminal's language: each is known, and as the unit says it."""

import ast
import re
import string
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from technician.words import said as module
from technician.words.said import MESSAGES, said

ROOT = Path(__file__).parent.parent


def nodes() -> Iterator[ast.AST]:
    files = [
        f for room in ("sensors", "publisher", "technician") for f in (ROOT / room).rglob("*.py")
    ]
    assert files
    for file in files:
        if file.name != "said.py" and file.parent.name != "simulated":
            yield from ast.walk(ast.parse(file.read_text(encoding="utf-8")))


def template(node: ast.AST) -> str | None:
    """Return a text of the source with `{}` for each value in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
        return "".join(map(str, parts))
    return None


@pytest.fixture
def shouted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Have every message translated: into itself in capitals."""

    def shout(text: str) -> str:
        parts = string.Formatter().parse(text)
        return "".join(p.upper() + ("" if name is None else f"{{{name}}}") for p, name, *_ in parts)

    monkeypatch.setattr(module, "_", shout)
    module._patterns.cache_clear()
    yield shout
    module._patterns.cache_clear()


def test_each_message_says_what_the_source_says() -> None:
    texts = [text for node in nodes() if (text := template(node))]
    for message in MESSAGES:
        # Some are put together there.
        for part in re.split(r"\{\w+\}|(?<=:) |[()]|, not |must be ", message):
            assert any(part in text for text in texts), f"nobody says {part!r}"


@pytest.mark.parametrize("message", MESSAGES)
def test_the_values_stay_as_they_are_in_the_message_that_fits_best(
    message: str, shouted: Callable[[str], str]
) -> None:
    names = [name for _, name, *_ in string.Formatter().parse(message) if name is not None]
    values = {name: f"{name} n° {number}: {{x}}" for number, name in enumerate(names)}
    assert said(message.format(**values)) == shouted(message).format(**values)


def test_in_english_and_where_nothing_fits_a_text_stays() -> None:
    for text in (
        "too many commands: try again in two minutes",
        "",
        "anything\nelse",
    ):
        assert said(text) == text
