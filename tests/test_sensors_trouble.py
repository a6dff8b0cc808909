"""Troubles: one declaration gives the journal's sentence, the terminal's texts and the JSON."""

import gettext
import json
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from publisher.commands import OUT_OF_RANGE
from publisher.config.faults import LINE_WITHOUT_METER, wrong_value
from sensors.registry import DRIVERS
from sensors.serial_port import GARBLED
from sensors.settings import Rule
from sensors.trouble import KINDS, Kind, Trouble, declare, marked, values_in
from technician.doctor.findings import failure, of_status
from technician.words import DECLARING, in_words, kinds, outline, translated
from tests import symptoms

ROOT = Path(__file__).parent.parent
BROKEN = Kind("test.broken", "{lamp} is broken", "change {lamp}")


@pytest.fixture
def declared() -> Iterator[Kind]:
    """A kind that is declared during one test."""
    kind = declare("test.declared", "{lamp:.1f} is broken", "change it")
    yield kind
    del KINDS[kind.code]


def test_a_trouble_is_its_sentence_its_code_and_its_values() -> None:
    trouble = Trouble(BROKEN, lamp="lamp 3")
    assert str(trouble) == "lamp 3 is broken: change lamp 3"
    assert trouble.as_dict() == {"code": "test.broken", "values": {"lamp": "lamp 3"}}


def test_a_terminal_has_it_in_its_own_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("technician.words._", str.upper)
    kind = Kind("test.plain", "it is broken", "change it")
    assert translated(Trouble(kind)) == "IT IS BROKEN: CHANGE IT"


def test_a_terminal_translates_only_texts_that_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, a section or a sensor may be called like a word of the catalogue, and stays as it is."""
    monkeypatch.setenv("LANGUAGE", "uk")
    meter = Trouble(LINE_WITHOUT_METER, name="mains")
    assert "[sensors.mains]" in translated(meter)
    assert translated(meter).endswith(" mains")
    people = Trouble(OUT_OF_RANGE, key="people", low=0, high=100)
    assert translated(people).startswith("people ")
    finding = failure("key", marked("{sensor} works"), marked("change {sensor}"), sensor="mains")
    assert "mains" in finding.seen.here()


def test_the_cure_of_a_wrong_value_is_translated_with_its_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LANGUAGE", "uk")
    seats = Rule(marked("number of people that the tent is meant for"), low=1, high=10_000)
    wrong = wrong_value(0, int, seats)
    assert wrong is not None
    assert translated(wrong).endswith(": на скільки людей розрахований намет (від 1 до 10000)")


def test_a_marked_text_among_the_values_survives_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    garbled = Trouble(
        GARBLED, port="/dev/ttyUSB0", flaw=marked("{n} is {x}", n="SOC", x=marked("y"))
    )
    document = json.loads(json.dumps(garbled.as_dict()))
    assert document["values"] == {"port": "/dev/ttyUSB0", "flaw": "SOC is y"}
    assert values_in(document) == garbled.values
    words = {"{n} is {x}": "{n}: {x}", "y": "так"}
    monkeypatch.setattr("technician.words._catalogue", lambda: Words(words))
    assert "(SOC: так)" in in_words(document, "?")
    assert "(SOC: так)" in translated(garbled)
    named = of_status(document)
    assert named is not None
    assert "(SOC: так)" in named.seen.here()


class Words(gettext.NullTranslations):
    """A catalogue of a few texts."""

    def __init__(self, words: dict[str, str]) -> None:
        super().__init__()
        self._words = words

    def gettext(self, message: str) -> str:
        """Return the text's translation, if there is one."""
        return self._words.get(message, message)


def test_one_code_has_one_kind(declared: Kind) -> None:
    assert declare(declared.code, declared.text, declared.cure) == declared  # loaded once more
    with pytest.raises(ValueError, match=declared.code):
        declare(declared.code, "another")


def test_what_status_says_is_put_into_words(declared: Kind) -> None:
    said = {"code": declared.code, "values": {"lamp": 3}}
    assert in_words(said, "?") == "3.0 is broken: change it"
    assert in_words(None, "no code") == "no code"


@pytest.mark.parametrize(
    "said",
    [
        {"code": "test.of_a_later_version", "values": {}},
        {"code": "test.declared", "values": {}},
        {"code": "test.declared", "values": {"lamp": "lamp 3"}},
        {"code": "test.declared"},
    ],
)
@pytest.mark.usefixtures("declared")
def test_what_another_version_says_stays_as_it_says_it(said: dict[str, object]) -> None:
    assert in_words(said, "lamp 3 is broken") == "lamp 3 is broken"


def test_an_event_which_has_a_code_only_is_put_into_words_without_values(declared: Kind) -> None:
    assert outline(declared.code, "?") == "… is broken"
    assert outline("test.of_a_later_version", "lamp 3 is broken") == "lamp 3 is broken"


def test_every_module_that_declares_troubles_is_known() -> None:
    declaring = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for room in ("sensors", "publisher", "technician")
        for file in (ROOT / room).rglob("*.py")
        if "= declare(" in file.read_text(encoding="utf-8")
    }
    assert set(DECLARING) <= declaring
    assert declaring - set(DECLARING) <= set(DRIVERS.values())


def test_the_page_of_symptoms_has_every_trouble_as_it_is_declared() -> None:
    page = symptoms.PAGE.read_text(encoding="utf-8")
    assert page == symptoms.written(page), "make symptoms"


@pytest.mark.usefixtures("declared")
def test_a_trouble_that_the_page_has_no_place_for_is_named() -> None:
    KINDS["lost.key"] = Kind("lost.key", "a key is lost")
    try:
        with pytest.raises(ValueError, match=r"lost\.key.*lost"):
            symptoms.written("")
    finally:
        del KINDS["lost.key"]


def test_what_is_declared_can_be_told() -> None:
    for kind in kinds().values():
        for text in (kind.text, kind.cure):
            assert not text.endswith((".", ":")), kind.code
            assert all(name != "" for _, name, *_ in string.Formatter().parse(text)), kind.code
