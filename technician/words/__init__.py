"""What a technician reads on the screen, in the terminal's language: gettext catalogues in `locale/`.

`make words` takes the texts out of the source into each catalogue and compiles it.
"""

import gettext
from functools import cache
from pathlib import Path

DOMAIN = "tentwatch"
CATALOGUES = Path(__file__).with_name("locale")


@cache
def _catalogue() -> gettext.NullTranslations:
    # LANGUAGE, LC_ALL, LC_MESSAGES and LANG, in this order, as everywhere.
    return gettext.translation(DOMAIN, CATALOGUES, fallback=True)


def _(text: str) -> str:
    """Return a text in the terminal's language; where nobody has translated it, as it is."""
    return _catalogue().gettext(text)


def counted(one: str, many: str, number: int) -> str:
    """Return the form of a text that goes with a number; `{n}` in it stands for the number."""
    return _catalogue().ngettext(one, many, number).format(n=number)


def marked(text: str) -> str:
    """Return a text as it is, so that it stands in the catalogues; `_` translates it later."""
    return text
