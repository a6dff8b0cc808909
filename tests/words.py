"""Compiles the catalogues of technician/words/locale; the last step of `make words`.

`pybabel compile` takes the "% o" of "above {share:g} % of the load" for a placeholder of Python's old
format, which no text here is written in. So the checks here are of what the texts do have: values in
braces, and forms of the plural.
"""

import string
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from technician.words import CATALOGUES


def forms(text: object) -> list[str]:
    """Return the forms of a text: one, or where a number is in it several."""
    return [text] if isinstance(text, str) else list(cast("tuple[str, ...]", text or ()))


def values(text: str) -> set[str]:
    """Return the names of the values in a text."""
    return {name for _, name, *_ in string.Formatter().parse(text) if name is not None}


def catalogue(path: Path) -> Catalog:
    """Return a catalogue's texts."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3])


def faults(texts: Catalog) -> Iterator[str]:
    """Yield what is wrong with each translation that is there; one that is missing is no fault."""
    for message in texts:
        english, other = forms(message.id), forms(message.string)
        if not message.id or not any(other):
            continue
        if len(english) > 1 and len(other) != texts.num_plurals:
            yield f"{message.lineno}: {english[0]!r}: {len(other)} forms, not {texts.num_plurals}"
        for form in other:
            try:
                same = values(form) == values(english[-1])
            except ValueError as error:
                yield f"{message.lineno}: {form!r}: {error}"
                continue
            if not same:
                yield f"{message.lineno}: {form!r} has other values than {english[-1]!r}"


def main() -> int:
    """Compile each catalogue that is right; return 1 where one is not."""
    wrong = 0
    for path in sorted(CATALOGUES.glob("*/LC_MESSAGES/*.po")):
        texts = catalogue(path)
        found = [f"{path}:{fault}" for fault in faults(texts)]
        if found:
            print(*found, sep="\n", file=sys.stderr)  # noqa: T201
            wrong = 1
            continue
        with path.with_suffix(".mo").open("wb") as file:
            write_mo(file, texts)
        if missing := sum(1 for m in texts if m.id and not all(forms(m.string) or [""])):
            print(f"{path}: {missing} texts to translate", file=sys.stderr)  # noqa: T201
    return wrong


if __name__ == "__main__":
    sys.exit(main())
