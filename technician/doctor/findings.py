"""Findings of `tentwatch doctor`'s checks: a key, a verdict, what was seen, what to do.

A text is a template with values: the terminal shows it in its language, `--json` in English.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from sensors.trouble import Kind, Severity, values_in
from technician.words import _, here, kinds, marked
from technician.words.printable import printable


class Verdict(StrEnum):
    """Result of a check; the words are those of `--json`."""

    PASS = "pass"
    WARNING = "warning"
    FAIL = "fail"
    NOT_TRIED = "not_tried"


class Text(NamedTuple):
    """A sentence with `{name}` for each of its values.

    These may be texts (or marked ones) or troubles themselves; other words stay as they are.
    """

    template: str
    values: Mapping[str, object] = {}

    def english(self) -> str:
        """Return it in English."""
        values = {k: v.english() if isinstance(v, Text) else v for k, v in self.values.items()}
        return printable(self.template.format(**values))

    def here(self) -> str:
        """Return it in the terminal's language."""
        values = {k: v.here() if isinstance(v, Text) else here(v) for k, v in self.values.items()}
        return printable(_(self.template).format(**values))


class Finding(NamedTuple):
    """Finding of one check; `key` never changes, `cure` is None if nothing is wrong."""

    key: str
    verdict: Verdict
    seen: Text
    cure: Text | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            "key": self.key,
            "verdict": self.verdict.value,
            "seen": self.seen.english(),
            "cure": None if self.cure is None else self.cure.english(),
        }


def well(key: str, seen: str, **values: object) -> Finding:
    """Return the finding of a check that passed; `seen` is a template for the `values`."""
    return Finding(key, Verdict.PASS, Text(seen, values))


def warning(key: str, seen: str, cure: str, **values: object) -> Finding:
    """Return the finding of something that works and needs attention."""
    return Finding(key, Verdict.WARNING, Text(seen, values), Text(cure, values))


def failure(key: str, seen: str, cure: str, **values: object) -> Finding:
    """Return the finding of something that does not work."""
    return Finding(key, Verdict.FAIL, Text(seen, values), Text(cure, values))


def not_tried(key: str, why: str, cure: str | None = None, **values: object) -> Finding:
    """Return the finding of a check that was not possible: another failed, or there is nothing."""
    return Finding(
        key, Verdict.NOT_TRIED, Text(why, values), None if cure is None else Text(cure, values)
    )


def of_trouble(key: str, kind: Kind, values: Mapping[str, object]) -> Finding:
    """Return the finding of a trouble, as its kind declares it."""
    verdict = Verdict.FAIL if kind.severity is Severity.FAILURE else Verdict.WARNING
    cure = Text(kind.cure, values) if kind.cure else None
    return Finding(key, verdict, Text(kind.text, values), cure)


def of_status(trouble: Mapping[str, Any] | None) -> Finding | None:
    """Return the finding of a trouble in the unit's status, for the check that it concerns.

    None if there is none, or if this version does not know it.
    """
    kind = kinds().get(trouble["code"]) if trouble else None
    if kind is None or trouble is None:
        return None
    try:
        finding = of_trouble(kind.concerns, kind, values_in(trouble))
        finding.as_json()
    except (LookupError, ValueError, TypeError):
        return None
    return finding


def unknown(key: str, message: str) -> Finding:
    """Return the finding of a trouble that only the unit's version knows, from its message."""
    cure = marked("journalctl -u tentwatch -n 50 shows more; please report this")
    return failure(key, "{message}", cure, message=message)
