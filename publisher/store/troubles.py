"""What a person may see of the store's troubles.

StoreTrouble      the file cannot be used
└── Unreadable    … as it lies there while no agent runs
"""

from pathlib import Path

from publisher.store import faults
from sensors.trouble import Severity, Trouble, declare, marked

#: The checks of `tentwatch doctor` that the store's troubles concern.
FILE_CHECK, SECOND_PLACE_CHECK = "store.file", "store.second_place"


class StoreTrouble(Trouble):
    """The store's file, or the totals' second place, cannot be used."""


class Unreadable(StoreTrouble):
    """The store cannot be read as it lies there."""


BUSY = declare(
    "store.busy",
    marked("another program has {file} open"),
    marked(
        "stop that program (sudo fuser -v {directory}/*); the unit takes the file again in a minute"
    ),
    concerns=FILE_CHECK,
)
FULL = declare(
    "store.full",
    marked("the disk is full"),
    marked("free space: sudo du -xh / | sort -h | tail shows what fills the card"),
    concerns=FILE_CHECK,
)
READ_ONLY = declare(
    "store.read_only",
    marked("the card cannot be written ({reason})"),
    marked("replace the card: copy {directory} to the new one if it can still be read"),
    concerns=FILE_CHECK,
)
DAMAGED = declare(
    "store.damaged",
    marked("{file} is damaged ({reason})"),
    marked(
        "nothing at once: the service begins it anew with what can be read of it; give the number of "
        "people (sudo tentwatch headcount N). Where it happens again, replace the card"
    ),
    concerns=FILE_CHECK,
)
OTHER_OWNER = declare(
    "store.other_owner",
    marked("files of the store belong to another user"),
    marked("sudo chown -R tentwatch: {directory}"),
    concerns=FILE_CHECK,
)
UNUSABLE = declare(
    "store.unusable",
    marked("the store cannot be used ({reason})"),
    marked("see that the user tentwatch may write in {directory}, or replace the card"),
    concerns=FILE_CHECK,
)
MISTAKE = declare(
    "store.mistake",
    marked("this version of tentwatch cannot work with {file} ({reason})"),
    marked("the file stays as it is; journalctl -u tentwatch -n 50 shows more; please report this"),
    concerns=FILE_CHECK,
)
ABSENT = declare(
    "store.absent",
    marked("{file} does not exist"),
    marked("tentwatch has not run yet, or --state-dir is another"),
    concerns=FILE_CHECK,
)
DENIED = declare(
    "store.denied", marked("{file} may not be read"), marked("use sudo"), concerns=FILE_CHECK
)
UNREADABLE = declare(
    "store.unreadable",
    marked("{file} cannot be read ({reason})"),
    marked("start tentwatch, which saves what can be read of a damaged store"),
    concerns=FILE_CHECK,
)
SECOND_PLACE = declare(
    "store.second_place",
    marked("the totals' second place cannot be written ({reason})"),
    marked(
        "see that {directory}/ledger belongs to the user tentwatch and that the card has space: "
        "until then the totals do not survive a damaged store"
    ),
    concerns=SECOND_PLACE_CHECK,
    severity=Severity.WARNING,
)


def trouble_of(error: Exception, path: Path) -> StoreTrouble:
    """Return what an error means that the file at `path` has raised."""
    if faults.is_held(error):
        kind = BUSY
    elif faults.is_full(error):
        kind = FULL
    elif faults.is_read_only(error):
        kind = READ_ONLY
    elif faults.is_damage(error):
        kind = DAMAGED
    elif isinstance(error, (*faults.FAULTS, OSError)):
        kind = UNUSABLE
    else:
        kind = MISTAKE
    return StoreTrouble(
        kind, file=path.name, directory=str(path.parent), reason=faults.reason(error)
    )
