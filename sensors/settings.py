"""Declaration of a configuration key: one dataclass field with its meaning and its limits."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from typing import Any

from sensors.trouble import Marked, Trouble


@dataclass(frozen=True)
class Rule:
    """A key's meaning and its allowed values; `low` and `high` are inclusive."""

    doc: Marked
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    #: The key names a file with a secret. A wrong value may be the secret itself, so it is not repeated.
    secret: bool = False
    #: A wrong text may hold a secret, as a pasted address with a login does: it is not repeated either.
    private: bool = False
    #: Returns what is wrong with a text of the right type, with its own cure; None if nothing is.
    check: Callable[[str], Trouble | None] | None = None


#: Pattern of a whole path, which does not end with a blank.
WHOLE_PATH = r"/(?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?"


def setting(
    default: Any = MISSING,
    *,
    doc: Marked,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    pattern: str = "",
    secret: bool = False,
    private: bool = False,
    check: Callable[[str], Trouble | None] | None = None,
) -> Any:
    """Declare a key of a configuration dataclass; without a default it is required."""
    rule = Rule(doc, low, high, choices, pattern, secret, private, check)
    return field(default=default, metadata={"rule": rule})
