"""Questions to the technician: short ones, each with a default answer for Enter."""

import getpass
import sys
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeVar

from technician.setup.draft import Draft
from technician.terminal import say
from technician.words import _, translated
from technician.words.printable import printable

WIDTH = 79
Choice = TypeVar("Choice")

#: What is typed for no answer.
NOTHING = "-"


class Cancelled(Exception):
    """Nobody answers any more."""


class Dialogue:
    """Asks in the terminal; without anybody to ask, the defaults are the answers."""

    def __init__(self, is_asking: bool) -> None:
        self.is_asking = is_asking

    def tell(self, text: str, indent: str = "") -> None:
        """Print a text in lines that fit the terminal."""
        for line in text.split("\n"):
            say(
                textwrap.fill(
                    printable(line), WIDTH, initial_indent=indent, subsequent_indent=indent
                )
            )

    def ask(self, question: str, default: str = "") -> str:
        """Return what is typed, or the default. Raises Cancelled."""
        if not self.is_asking:
            return default
        shown = printable(f"{question} [{default}]: " if default else f"{question}: ")
        *above, last = textwrap.wrap(shown, WIDTH - 12, break_long_words=False) or [""]
        for line in above:
            say(line)
        try:
            typed = input(f"{last} ").strip()
        except EOFError:
            raise Cancelled from None
        return typed or default

    def ask_secret(self, question: str) -> str:
        """Return what is typed without showing it. Raises Cancelled."""
        if not sys.stdin.isatty():
            return self.ask(question)
        try:
            return getpass.getpass(f"{question}: ").strip()
        except EOFError:
            raise Cancelled from None

    def agrees(self, question: str, default: bool) -> bool:
        """Ask for yes or no. Raises Cancelled."""
        yes, no = _("yes"), _("no")
        while self.is_asking:
            typed = self.ask(f"{question} ({yes}/{no})", yes if default else no).lower()
            # English answers always work: the keyboard may have no other letters.
            for word, answer in ((yes, True), (no, False), ("yes", True), ("no", False)):
                if word.lower().startswith(typed):
                    return answer
            self.tell(_("Type {yes} or {no}.").format(yes=yes, no=no), "  ")
        return default

    def choose(
        self, question: str, choices: Sequence[tuple[Choice, str]], default: Choice
    ) -> Choice:
        """Ask for one of several values by its number. Raises Cancelled."""
        if not self.is_asking:
            return default
        self.tell(question)
        for number, (_value, word) in enumerate(choices, 1):
            self.tell(f"{number}  {word}", "  ")
        usual = next(n for n, (value, _word) in enumerate(choices, 1) if value == default)
        while True:
            typed = self.ask(_("Number"), str(usual))
            for number, (value, _word) in enumerate(choices, 1):
                if typed == str(number):
                    return value
            self.tell(_("Type one of the numbers."), "  ")

    def ask_key(self, draft: Draft, key: str, question: str, default: object) -> None:
        """Ask for a key of the configuration; after a wrong answer explain it and ask again.

        Raises Cancelled.
        """
        self.ask_keys(draft, (key,), question, (default,))

    def ask_keys(
        self, draft: Draft, keys: Sequence[str], question: str, defaults: Sequence[object]
    ) -> None:
        """Ask for keys that are typed in one line, such as two coordinates. Raises Cancelled."""
        if not self.is_asking:
            for key, default in zip(keys, defaults, strict=True):
                draft.put(key, default)
            return
        if isinstance(defaults[0], bool):
            draft.put(keys[0], self.agrees(question, defaults[0]))
            return
        usual = "" if None in defaults else " ".join(map(shown, defaults))
        while True:
            typed = self.ask(question, usual)
            answers = [typed] if len(keys) == 1 else _split(typed)
            if typed == usual and usual:
                for key, default in zip(keys, defaults, strict=True):
                    draft.put(key, default)
            else:
                for key, answer in zip_longest(keys, answers[: len(keys)], fillvalue=""):
                    if answer in ("", NOTHING):
                        draft.put(key, None)
                    else:
                        draft.enter(key, answer)
            faults = [translated(trouble) for key, trouble in draft.faults() if key in keys]
            if not faults:
                return
            for fix in faults:
                self.tell(fix, "  ")


def shown(value: object) -> str:
    """Return a value as a person types it."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _split(typed: str) -> list[str]:
    """Return the words of a line: `50.45, 30.52`, or `50,45 30,52` with decimal commas."""
    words = typed.split()
    if len(words) == 1 and "." in typed:
        words = typed.split(",")
    return [word.strip(",;") for word in words]
