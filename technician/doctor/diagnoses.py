"""What messages of drivers, link and store mean for `tentwatch doctor`: which check they belong to, what
was seen, and the cure in the words of docs/symptoms.md.

The drivers know no other language than English, and the log keeps theirs; here each message is known by
its shape, and told anew.
"""

import re
from typing import NamedTuple

from technician.doctor.findings import Finding, Text, Verdict, failure, warning
from technician.words import marked


class Diagnosis(NamedTuple):
    """A message's shape, whose named groups are values of the texts."""

    shape: str
    check: str
    seen: str
    cure: str
    verdict: Verdict = Verdict.FAIL


OF_THE_STORE = (
    Diagnosis(
        r"another program has (?P<file>.+) open",
        "store.file",
        marked("another program has {file} open"),
        marked(
            "stop that program (sudo fuser -v {directory}/*); the unit takes the file again in a minute"
        ),
    ),
    Diagnosis(
        r"the disk is full",
        "store.file",
        marked("the disk is full"),
        marked("free space: sudo du -xh / | sort -h | tail shows what fills the card"),
    ),
    Diagnosis(
        r"the card cannot be written \((?P<why>.*)\)",
        "store.file",
        marked("the card cannot be written ({why})"),
        marked("replace the card: copy {directory} to the new one if it can still be read"),
    ),
    Diagnosis(
        r"(?P<file>.+) is damaged \((?P<why>.*)\)",
        "store.file",
        marked("{file} is damaged ({why})"),
        marked(
            "nothing at once: the service begins it anew with what can be read of it; give the number of "
            "people (sudo tentwatch headcount N). Where it happens again, replace the card"
        ),
    ),
    Diagnosis(
        r"(?P<why>.*files belong to another user.*)",
        "store.file",
        marked("files of the store belong to another user"),
        marked("sudo chown -R tentwatch: {directory}"),
    ),
    Diagnosis(
        r"(?P<why>.*)",
        "store.file",
        marked("the store cannot be used ({why})"),
        marked("see that the user tentwatch may write in {directory}, or replace the card"),
    ),
)


def diagnose(
    message: str, table: tuple[Diagnosis, ...], key: str | None = None, **values: object
) -> tuple[str, Finding] | None:
    """Return which check a message belongs to, and the finding; None where nobody knows it.

    The finding's key is `key`, or else the check's own.
    """
    for row in table:
        found = re.match(row.shape, message, re.DOTALL)
        if found is not None:
            made = failure if row.verdict is Verdict.FAIL else warning
            texts = {**values, **{k: v or "" for k, v in found.groupdict().items()}}
            return row.check, made(key or row.check, row.seen, row.cure, **texts)
    return None


def unknown(key: str, message: str) -> Finding:
    """Return the finding of a message that nobody has foreseen: its own words."""
    seen, _, cure = message.rpartition(": ")
    if not seen:
        seen, cure = message, ""
    if cure:
        return Finding(
            key, Verdict.FAIL, Text("{said}", {"said": seen}), Text("{said}", {"said": cure})
        )
    return failure(
        key,
        "{said}",
        marked("journalctl -u tentwatch -n 50 shows more; please report this"),
        said=seen,
    )
