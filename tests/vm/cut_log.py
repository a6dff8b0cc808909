"""The content of a disk after a power cut, from the log of its writes and flushes.

The log's format is that of Linux's dm-log-writes (Documentation/admin-guide/device-mapper/
log-writes.rst), which QEMU's `blklogwrites` writes too: a sector with the header, then for each
write or flush, in the order of completion, a sector that describes it and the sectors written.
"""

import random
import struct
from collections.abc import Sequence
from typing import IO, NamedTuple

#: Bytes that a disk writes completely or not at all.
SECTOR = 512
_MAGIC = 0x6A736677736872
_HEADER = struct.Struct("<QQQI")  # magic, version, entries at the last flush, bytes of a sector
_ENTRY = struct.Struct("<QQQQ")  # first sector, sectors, flags, bytes of a mark
_FLUSH, _FUA, _DISCARD, _MARK = 1, 2, 4, 8


class Entry(NamedTuple):
    """A write of `data` at `offset` (bytes), or a flush; `forced` is a write that is its own flush."""

    offset: int
    data: bytes
    is_flush: bool = False
    forced: bool = False


def read(log: IO[bytes]) -> list[Entry]:
    """Return the entries of a log; if it was cut off within an entry, it ends before that entry.

    Raises ValueError if it is not such a log, or has an entry of an unknown kind.
    """
    head = log.read(_HEADER.size)
    if len(head) < _HEADER.size:
        raise ValueError("it is too short for a log of writes")
    magic, version, _, sector = _HEADER.unpack(head)
    if (magic, version) != (_MAGIC, 1) or sector < _ENTRY.size:
        raise ValueError(f"it is no log of writes: {magic:#x}, version {version}")
    log.seek(sector)
    entries: list[Entry] = []
    while len(block := log.read(sector)) == sector:
        first, count, flags, _ = _ENTRY.unpack_from(block)
        if not count and not flags:
            break
        if flags & (_DISCARD | _MARK):
            raise ValueError(f"entry {len(entries)} is a discard or a mark: these disks do neither")
        data = log.read(count * sector)
        if len(data) < count * sector:
            break
        entries.append(Entry(first * sector, data, bool(flags & _FLUSH), bool(flags & _FUA)))
    return entries


class Disk:
    """A disk under power cuts; they must be requested in ascending order."""

    def __init__(self, first: bytes, entries: Sequence[Entry]) -> None:
        """Begin with the contents `first`, before all entries; writes beyond its end are ignored."""
        self._entries = entries
        self._flushed = bytearray(first)  # the flushed content
        self._until = 0  # number of entries in it

    def cut(self, after: int, chance: random.Random) -> bytearray:
        """Return the disk's content after a cut behind a number of entries.

        Everything up to the last flush is there. Each sector written since is there at random: a disk
        keeps it in its cache and writes it in any order.
        """
        entries = self._entries
        for i in range(after - 1, self._until - 1, -1):
            if entries[i].is_flush:
                for offset, data, _, _ in entries[self._until : i]:
                    if offset < len(self._flushed):
                        self._flushed[offset : offset + len(data)] = data
                self._until = i
                break
        left = bytearray(self._flushed)
        for offset, data, _, forced in entries[self._until : after]:
            for at in range(0, len(data) if offset < len(left) else 0, SECTOR):
                if forced or chance.random() < 0.5:
                    left[offset + at : offset + at + SECTOR] = data[at : at + SECTOR]
        return left


def moments(entries: Sequence[Entry], size: int) -> list[int]:
    """Return the numbers of entries after which a cut is worth testing.

    There the next entry changes the first `size` bytes of the disk or flushes it. Between two such
    entries every cut leaves the same, and after the last one most data has been shown.
    """
    found = [
        i
        for i, entry in enumerate(entries)
        if entry.is_flush or (entry.data and entry.offset < size)
    ]
    return [*found, len(entries)]
