"""Troubles: one declaration gives the journal's sentence, the terminal's texts and the JSON."""

import string
from importlib import import_module
from pathlib import Path

import pytest

from sensors.trouble import KINDS, Kind, Trouble, declare
from technician.words import told

ROOT = Path(__file__).parent.parent
BROKEN = Kind("test.broken", "{lamp} is broken", "change {lamp}")


def every_kind() -> list[Kind]:
    """Return all kinds that any module declares."""
    for room in ("sensors", "publisher", "technician"):
        for file in (ROOT / room).rglob("*.py"):
            if "declare(" in file.read_text(encoding="utf-8"):
                import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    return [kind for kind in KINDS.values() if not kind.code.startswith("test.")]


def test_a_trouble_is_its_sentence_its_code_and_its_values() -> None:
    trouble = Trouble(BROKEN, lamp="lamp 3")
    assert str(trouble) == "lamp 3 is broken: change lamp 3"
    assert trouble.as_dict() == {"code": "test.broken", "values": {"lamp": "lamp 3"}}


def test_a_terminal_has_it_in_its_own_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("technician.words._", str.upper)
    kind = Kind("test.plain", "it is broken", "change it")
    assert told(Trouble(kind)) == "IT IS BROKEN: CHANGE IT"


def test_one_code_has_one_kind() -> None:
    declare("test.once", "one")
    with pytest.raises(ValueError, match=r"test\.once"):
        declare("test.once", "another")


def test_what_is_declared_can_be_told() -> None:
    for kind in every_kind():
        for text in (kind.text, kind.cure):
            assert not text.endswith((".", ":")), kind.code
            assert all(name != "" for _, name, *_ in string.Formatter().parse(text)), kind.code
