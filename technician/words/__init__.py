"""Texts in the terminal's language: gettext catalogues in `locale/`.

`make words` collects the texts of the source in each catalogue and compiles it.
"""

import gettext
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from sensors.registry import DRIVERS
from sensors.trouble import KINDS, Kind, Marked, Trouble, marked, values_in

__all__ = [
    "Marked",
    "_",
    "counted",
    "here",
    "in_words",
    "kinds",
    "marked",
    "outline",
    "translated",
    "what_happened",
    "what_to_do",
]

DOMAIN = "tentwatch"
CATALOGUES = Path(__file__).with_name("locale")

#: The modules that declare troubles, besides the drivers.
DECLARING: tuple[str, ...] = (
    "publisher.commands",
    "publisher.control",
    "publisher.link.certificates",
    "publisher.link.credentials",
    "publisher.link.dial",
    "publisher.link.refusals",
    "publisher.link.troubles",
    "publisher.replay_lines",
    "publisher.store.troubles",
    "publisher.config.faults",
    "publisher.rules.calibration",
    "publisher.rules.tent",
    "publisher.rules.zero",
    "publisher.unit.panel",
    "publisher.unit.state_directory",
    "technician.secrets",
    "publisher.rules.sensed",
    "sensors.doorway",
    "sensors.finding.chips",
    "sensors.finding.search",
    "sensors.gpio",
    "sensors.hardware",
    "sensors.sensor",
    "sensors.serial_port",
)


@cache
def _catalogue() -> gettext.NullTranslations:
    # LANGUAGE, LC_ALL, LC_MESSAGES and LANG, in this order, as everywhere.
    return gettext.translation(DOMAIN, CATALOGUES, fallback=True)


def _(text: str) -> str:
    """Return a text in the terminal's language; one without a translation stays as it is."""
    if isinstance(text, Marked) and text.values:
        return _catalogue().gettext(text.template).format(**_in_language(text.values))
    return _catalogue().gettext(text)


def here(value: object) -> object:
    """Return a value in the terminal's language: marked texts and troubles; others stay as they are."""
    if isinstance(value, Trouble):
        return translated(value)
    return _(value) if isinstance(value, Marked) else value


def counted(one: str, many: str, number: int) -> str:
    """Return the singular or plural for a number; `{n}` in the text stands for the number."""
    return _catalogue().ngettext(one, many, number).format(n=number)


def what_happened(kind: Kind, values: Mapping[str, object]) -> str:
    """Return a trouble's text in the terminal's language."""
    return _(kind.text).format(**_in_language(values))


def what_to_do(kind: Kind, values: Mapping[str, object]) -> str:
    """Return a trouble's cure in the terminal's language; empty if it has none."""
    return _(kind.cure).format(**_in_language(values)) if kind.cure else ""


def translated(trouble: Trouble) -> str:
    """Return a trouble in the terminal's language: what happened, and what to do."""
    text, cure = (
        what_happened(trouble.kind, trouble.values),
        what_to_do(trouble.kind, trouble.values),
    )
    return f"{text}: {cure}" if cure else text


@cache
def kinds() -> Mapping[str, Kind]:
    """Return every kind of trouble that the unit can have, by its code."""
    for module in (*DECLARING, *DRIVERS.values()):
        import_module(module)
    return KINDS


def in_words(trouble: Mapping[str, Any] | None, english: str) -> str:
    """Return a trouble, as `tentwatch status` gives it, in the terminal's language.

    A unit of another version may have troubles that are not known here: these stay `english`.
    """
    try:
        kind = kinds()[trouble["code"]] if trouble else None
        if kind is None or trouble is None:
            return english
        return translated(Trouble(kind, **values_in(trouble)))
    except (KeyError, ValueError, TypeError):
        return english


def outline(code: str, english: str) -> str:
    """Return what happens in a kind of trouble, `…` for each value; `english` where it is not known."""
    kind = kinds().get(code)
    return english if kind is None else re.sub(r"\{[^}]*\}", "…", _(kind.text))


def _in_language(values: Mapping[str, object]) -> dict[str, object]:
    """Return values, the marked texts among them in the terminal's language."""
    return {name: here(value) for name, value in values.items()}
