"""Troubles: the errors that a person may see. Each kind has a code; its sentence is made once, here.

A kind is declared in or beside the module that raises it, with its text, its cure, the check of
`tentwatch doctor` that it concerns, and its severity. The journal and the topics have its English
sentence; a terminal looks the texts up by the code, in its own language. No program reads a sentence.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, NotRequired, TypedDict


class Severity(StrEnum):
    """How bad a trouble is."""

    FAILURE = "failure"  # something does not work
    WARNING = "warning"  # it works, and should be looked at


class Kind(NamedTuple):
    """A kind of trouble; in its texts `{name}` stands for the value of that name.

    `concerns` is the key of the check of `tentwatch doctor` that the trouble belongs to; of a sensor's
    driver it is SENSOR, BUS or CONFIG. `cure` is empty if `text` says everything.
    """

    code: str
    text: str
    cure: str = ""
    concerns: str = ""
    severity: Severity = Severity.FAILURE


#: Values of `concerns` for a driver's trouble: the device itself, its bus, port or line, or a key of the
#: configuration.
SENSOR, BUS, CONFIG = "sensor", "bus", "config"

#: Every declared kind by its code.
KINDS: dict[str, Kind] = {}


class Marked(str):
    """An English text that terminals translate: a `template` of the catalogues with its `values`.

    Any other `str` is a name (of a key, a sensor, a file) or somebody else's text, and stays as it is.
    """

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, values: Mapping[str, object] | None = None) -> "Marked":
        """Make the text; without `values` it is the template itself."""
        text = super().__new__(cls, template.format(**values) if values else template)
        text.template, text.values = template, values or {}
        return text


def marked(template: str, /, **values: object) -> Marked:
    """Return the English text; the call marks its template for the catalogues."""
    return Marked(template, values)


def declare(
    code: str,
    text: str,
    cure: str = "",
    *,
    concerns: str = "",
    severity: Severity = Severity.FAILURE,
) -> Kind:
    """Declare a kind of trouble. Raises ValueError if the code is taken.

    Texts are given as `marked("…")`, for the catalogues.
    """
    kind = Kind(code, text, cure, concerns, severity)
    if KINDS.setdefault(code, kind) != kind:
        raise ValueError(f"{code} is declared twice")
    return kind


class TextJson(TypedDict):
    """A text in JSON that terminals translate; its values may be such texts too."""

    template: str
    values: dict[str, Any]


class TroubleJson(TypedDict):
    """A trouble in JSON; `texts` has again those of its values that terminals translate."""

    code: str
    values: dict[str, str | float | None]
    texts: NotRequired[dict[str, TextJson]]


class Trouble(Exception):
    """An error that a person may see: of a kind, with its values.

    Values are JSON values. Only those that are `marked` are translated too.
    """

    def __init__(self, kind: Kind, **values: str | float | None) -> None:
        self.kind = kind
        self.values = values
        super().__init__(sentence(kind, values))

    @property
    def code(self) -> str:
        """The kind's code."""
        return self.kind.code

    def as_dict(self) -> TroubleJson:
        """Return code and values for JSON."""
        document: TroubleJson = {"code": self.code, "values": dict(self.values)}
        texts = {k: _text_json(v) for k, v in self.values.items() if isinstance(v, Marked)}
        if texts:
            document["texts"] = texts
        return document


def sentence(kind: Kind, values: Mapping[str, object]) -> str:
    """Return the English text and cure, for the journal and the topics."""
    text = kind.text.format(**values)
    return f"{text}: {kind.cure.format(**values)}" if kind.cure else text


def values_in(trouble: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trouble's values from its JSON, with its texts. Raises LookupError, TypeError, ValueError."""
    texts = {name: _text_in(text) for name, text in (trouble.get("texts") or {}).items()}
    return {**trouble["values"], **texts}


def _text_json(text: Marked) -> TextJson:
    values = {k: _text_json(v) if isinstance(v, Marked) else v for k, v in text.values.items()}
    return {"template": text.template, "values": values}


def _text_in(text: Mapping[str, Any]) -> Marked:
    values = {k: _text_in(v) if isinstance(v, dict) else v for k, v in text["values"].items()}
    return Marked(text["template"], values)
