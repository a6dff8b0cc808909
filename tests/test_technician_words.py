"""What stands on the screen, in other languages: whole, with the same values in it, and compiled."""

import gettext
import os
import string
import subprocess
from pathlib import Path
from typing import cast

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from technician.words import CATALOGUES, DOMAIN
from tests.test_technician_cli import TENTWATCH

ROOT = Path(__file__).parent.parent
SOURCES = [str(ROOT / room) for room in ("sensors", "publisher", "technician")]
LANGUAGES = sorted(path.name for path in CATALOGUES.iterdir() if path.is_dir())
KEYWORDS = {"_": None, "marked": None, "counted": (1, 2)}


def texts() -> set[str]:
    """Return the texts that `make words` finds in the source; of a plural the first form."""
    methods = [("**.py", "python")]
    ids = (row[2] for d in SOURCES for row in extract_from_dir(d, methods, keywords=KEYWORDS))
    return {text if isinstance(text, str) else text[0] for text in ids}


def forms(text: object) -> list[str]:
    """Return the forms of a text: one, or where a number is in it several."""
    return [text] if isinstance(text, str) else list(cast("tuple[str, ...]", text or ()))


def values(text: str) -> set[str]:
    return {name for _, name, *_ in string.Formatter().parse(text) if name is not None}


def test_there_is_ukrainian() -> None:
    assert "uk" in LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_with_its_values(language: str) -> None:
    path = CATALOGUES / language / "LC_MESSAGES" / f"{DOMAIN}.po"
    with path.open("rb") as file:
        catalogue = read_po(file, locale=language)
    compiled = gettext.translation(DOMAIN, CATALOGUES, [language])
    known = set()
    for message in catalogue:
        if not message.id:
            continue
        english, other = forms(message.id), forms(message.string)
        known.add(english[0])
        assert other and all(other), f"make words, and translate: {english[0]}"
        for form in other:
            assert values(form) == values(english[-1]), f"{english[0]!r}: {form!r}"
        told = (
            compiled.ngettext(english[0], english[-1], 1)
            if english[1:]
            else compiled.gettext(english[0])
        )
        assert told == other[0], f"make words: it is compiled anew ({english[0]})"
    assert texts() == known, "make words"


def test_the_terminals_language_is_spoken_and_the_journal_stays_english(tmp_path: Path) -> None:
    def complaint(language: str) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
        done = subprocess.run(
            [*TENTWATCH, "status", "--state-dir", tmp_path],
            env=environment | {"LANG": language, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 1
        return done.stderr

    assert "tentwatch не запущено" in complaint("uk_UA.UTF-8")
    assert "tentwatch is not running" in complaint("C.UTF-8")
    assert "tentwatch is not running" in complaint("xx_YY")
