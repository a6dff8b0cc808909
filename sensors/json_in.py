"""JSON from outside: files, the broker, other programs."""

import json
from collections.abc import Callable
from typing import Any

#: Most levels of nesting. The limit of Python's own parser depends on its version.
MOST_LEVELS = 100
#: JSON readers hold larger numbers inexactly; in what was saved they are damage.
LARGEST_EXACT = 1 << 53


def parsed(
    text: str | bytes,
    *,
    parse_int: Callable[[str], Any] | None = None,
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:
    """Return the value of a JSON text; both functions are those of `json.loads`.

    Raises ValueError if it is not JSON, or nested deeper than `MOST_LEVELS`.
    """
    try:
        value = json.loads(text, parse_int=parse_int, parse_constant=parse_constant)
    except RecursionError:
        raise ValueError("it is nested without end") from None
    boxes = [value]
    for _level in range(MOST_LEVELS):
        boxes = [
            inner
            for box in boxes
            if isinstance(box, dict | list)
            for inner in (box.values() if isinstance(box, dict) else box)
            if isinstance(inner, dict | list)
        ]
        if not boxes:
            return value
    raise ValueError(f"it is nested deeper than {MOST_LEVELS} levels")
