"""Troubles: the errors that a person may see. Each kind has a code; its sentence is made once, here.

A kind is declared in or beside the module that raises it, with its text, its cure, the check of
`tentwatch doctor` that it concerns, and its severity. The journal and the topics have its English
sentence; a terminal looks the texts up by the code, in its own language. No program reads a sentence.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypedDict


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


def marked(text: str) -> str:
    """Return a text unchanged; the call marks it for the catalogues."""
    return text


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


class TroubleJson(TypedDict):
    """A trouble in JSON."""

    code: str
    values: dict[str, str | float | None]


class Trouble(Exception):
    """An error that a person may see: of a kind, with its values.

    Values are JSON values; a text among them is translated too if the catalogues have it.
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
        return {"code": self.code, "values": dict(self.values)}


def sentence(kind: Kind, values: Mapping[str, object]) -> str:
    """Return the English text and cure, for the journal and the topics."""
    text = kind.text.format(**values)
    return f"{text}: {kind.cure.format(**values)}" if kind.cure else text
