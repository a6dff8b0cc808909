"""Text from outside (a tent's name, a device's or a broker's words), made safe for a terminal."""

from typing import Any


def printable(text: str) -> str:
    """Return the text on one line, without control characters and changes of direction."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def all_printable(found: Any) -> Any:
    """Return a JSON value with every text in it made printable."""
    if isinstance(found, str):
        return printable(found)
    if isinstance(found, list):
        return [all_printable(value) for value in found]
    if isinstance(found, dict):
        return {all_printable(key): all_printable(value) for key, value in found.items()}
    return found
