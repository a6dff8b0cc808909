"""The tables of troubles in docs/symptoms.md, made from their declarations: `make symptoms` writes them.

A line `<!-- troubles: bus sensor.door -->` on the page says which troubles the table below it has: those
that concern one of these places. A trouble stands in the first table that takes it.
"""

import re
from pathlib import Path

from sensors.registry import DRIVERS, SENSORS, traits
from sensors.trouble import SENSOR, Kind
from technician.words import kinds

PAGE = Path(__file__).parent.parent / "docs" / "symptoms.md"
TABLE = re.compile(r"<!-- troubles: (.+) -->\n(?:\n\| code \|.*\n(?:\|.*\n)*)?")
HEADING = ("| code | what is seen | what to do |", "|---|---|---|")


def places(kind: Kind) -> set[str]:
    """Return where on the page a kind can stand: at its check, or at the first word of its code."""
    owner = kind.code.partition(".")[0]
    if kind.concerns != SENSOR:
        return {owner, kind.concerns}
    if owner not in DRIVERS:
        return {f"sensor.{owner}" if owner in SENSORS else SENSOR}
    if traits(owner).measures_ac:
        return {"meter"}
    return {f"sensor.{name}" for name in traits(owner).serves}


def row(kind: Kind) -> str:
    """Return a kind's row; `…` stands for each value."""
    seen, cure = (
        re.sub(r"\{[^}]*\}", "…", text).replace("|", "\\|") for text in (kind.text, kind.cure)
    )
    return f"| `{kind.code}` | {seen} | {cure or '–'} |"


def written(page: str) -> str:
    """Return the page with its tables as the declarations have them.

    Raises ValueError where a kind has no place on it.
    """
    left = {code: kind for code, kind in sorted(kinds().items()) if not code.startswith("test.")}

    def table(found: re.Match[str]) -> str:
        wanted = set(found[1].split())
        rows = [row(left.pop(code)) for code, kind in [*left.items()] if places(kind) & wanted]
        return "\n".join((f"<!-- troubles: {found[1]} -->\n", *HEADING, *rows, ""))

    page = TABLE.sub(table, page)
    if left:
        missing = {code: places(kind) for code, kind in left.items()}
        raise ValueError(f"no table of {PAGE.name} takes these troubles: {missing}")
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
