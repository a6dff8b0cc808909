"""What happened in a tent: one of the contract's events."""

from typing import Any, NamedTuple


class Happening(NamedTuple):
    """An event of the contract (`docs/topics.md`) with its details, as JSON holds them."""

    event: str
    detail: dict[str, Any]
