"""Small graphs made of characters: one column per value, one or more lines high. Pure."""

from collections.abc import Sequence

#: From the lowest level to the highest; an unknown value is a blank.
BLOCKS = "▁▂▃▄▅▆▇█"
#: For terminals without blocks: more ink means more.
LETTERS = "_.:-=+*#"


def bars(
    values: Sequence[float | None], low: float, high: float, *, lines: int = 1, blocks: bool = True
) -> list[str]:
    """Return a graph of `values` from `low` to `high`, the top line first."""
    levels = BLOCKS if blocks else LETTERS
    steps = len(levels) * lines
    span = high - low
    heights = []
    for value in values:
        if value is None:
            heights.append(0)  # a gap: even the lowest value has a level
        else:
            share = (value - low) / span if span > 0 else 0.0
            heights.append(1 + round(min(1.0, max(0.0, share)) * (steps - 1)))
    found = []
    for line in reversed(range(lines)):
        parts = (min(len(levels), max(0, height - line * len(levels))) for height in heights)
        found.append("".join(levels[part - 1] if part else " " for part in parts))
    return found
