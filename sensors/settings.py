"""How a configuration key is declared: one dataclass field with its meaning and its limits."""

from dataclasses import MISSING, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rule:
    """What a key means and which values it takes; `low` and `high` are inclusive."""

    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    #: The key names a file that holds a secret: a value that is wrong may be the secret itself.
    secret: bool = False


def setting(
    default: Any = MISSING,
    *,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    pattern: str = "",
    secret: bool = False,
) -> Any:
    """Declare a key of a configuration dataclass; without a default it must be given."""
    return field(default=default, metadata={"rule": Rule(doc, low, high, choices, pattern, secret)})
