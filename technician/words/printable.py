"""Text from outside (a tent's name, a device's or a broker's words) as a terminal may show it."""

from typing import Any


def printable(text: str) -> str:
    """Return the text on one line, without what commands a terminal or turns its letters round."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def all_printable(found: Any) -> Any:
    """Return a JSON value with each text in it made printable."""
    if isinstance(found, str):
        return printable(found)
    if isinstance(found, list):
        return [all_printable(value) for value in found]
    if isinstance(found, dict):
        return {all_printable(key): all_printable(value) for key, value in found.items()}
    return found
