"""What stands on the screen, in other languages: whole, with the same values in it, and compiled."""

import gettext
import os
import subprocess
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir

from technician.words import CATALOGUES, DOMAIN
from tests.test_technician_cli import TENTWATCH
from tests.words import catalogue, faults, forms

ROOT = Path(__file__).parent.parent
SOURCES = [str(ROOT / room) for room in ("sensors", "publisher", "technician")]
LANGUAGES = sorted(path.name for path in CATALOGUES.iterdir() if path.is_dir())
KEYWORDS = {"_": None, "marked": None, "counted": (1, 2)}


def texts() -> set[str]:
    """Return the texts that `make words` finds in the source; of a plural the first form."""
    methods = [("**.py", "python")]
    ids = (row[2] for d in SOURCES for row in extract_from_dir(d, methods, keywords=KEYWORDS))
    return {text if isinstance(text, str) else text[0] for text in ids}


def test_there_is_ukrainian() -> None:
    assert "uk" in LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_with_its_values(language: str) -> None:
    found = catalogue(CATALOGUES / language / "LC_MESSAGES" / f"{DOMAIN}.po")
    assert not list(faults(found))
    compiled = gettext.translation(DOMAIN, CATALOGUES, [language])
    known = set()
    for message in found:
        if not message.id:
            continue
        english, other = forms(message.id), forms(message.string)
        known.add(english[0])
        assert other and all(other), f"make words, and translate: {english[0]}"
        told = (
            compiled.ngettext(english[0], english[-1], 1)
            if english[1:]
            else compiled.gettext(english[0])
        )
        assert told == other[0], f"make words: it is compiled anew ({english[0]})"
    assert texts() == known, "make words"


@pytest.mark.parametrize(
    ("english", "other", "is_wrong"),
    [
        ("above {share:g} % of it", "понад {share:g} % від нього", False),
        ("above {share:g} % of it", "", False),
        ("above {share:g} % of it", "понад {part:g} %", True),
        ("above {share:g} % of it", "понад {share", True),
        (("{n} error", "{n} errors"), ("{n} збій", "{n} збої", "{n} збоїв"), False),
        (("{n} error", "{n} errors"), ("{n} збій", "{n} збої"), True),
        (("{n} error", "{n} errors"), ("{n} збій", "{n} збої", "збоїв"), True),
    ],
)
def test_a_translation_with_other_values_is_a_fault_and_a_percent_sign_is_none(
    english: str | tuple[str, str], other: str | tuple[str, ...], is_wrong: bool
) -> None:
    texts = Catalog(locale="uk")
    texts.add(english, other)
    assert bool(list(faults(texts))) is is_wrong


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
