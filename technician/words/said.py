"""What the unit says of its faults, for the screen: English in the journal and over MQTT, here in the
terminal's language.

The agent makes its messages with values in them; a terminal that speaks another language finds the
message again by its pattern. One that is not listed here is shown as it is.
"""

import re
from functools import cache

from technician.words import _, marked

#: `{name}` stands for any text.
MESSAGES = (
    # the store
    marked("another program has {file} open ({error}): stop that program"),
    marked("the disk is full ({error}): free space on it"),
    marked("the card cannot be written ({error}): replace it"),
    marked("{file} is damaged ({error}): nothing to do, it is soon begun anew"),
    marked(
        "{error}: see that tentwatch may write in the state directory, or replace the card"
    ),
)  # fmt: skip


def said(text: str) -> str:
    """Return one of the unit's messages in the terminal's language."""
    for pattern, message in _patterns():
        if found := pattern.fullmatch(text):
            return _(message).format(**found.groupdict())
    return text


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return the patterns that are translated, those that say the most first."""
    found = []
    for message in MESSAGES:
        if _(message) != message:
            parts = re.split(r"\{(\w+)\}", message)
            names = (f"(?P<{name}>.*?)" for name in parts[1::2])
            texts = [re.escape(part) for part in parts[::2]]
            pattern = texts[0] + "".join(n + t for n, t in zip(names, texts[1:], strict=True))
            found.append((sum(map(len, parts[::2])), re.compile(pattern, re.S), message))
    return [(pattern, message) for _length, pattern, message in sorted(found, key=lambda f: -f[0])]
