"""The outbox and the totals: one SQLite file that survives power cuts.

A record and the totals that it changes are committed together. A row that the broker has confirmed is
marked in the transaction of the next record: a quiet unit writes once per record and not twice. It is kept
for some days, for those who ask for it again. All methods may be called from any thread.

If the file cannot be written (disk full, card read-only) the store goes on in memory and tries the file
again later; meanwhile `failure` says why. After a crash the numbers given in memory could be given again, so
they belong to a boot number of their own.

A damaged file is set aside. Whatever can be read of it and has a right checksum goes into a new one. The
totals have a second place outside of the file (`publisher.store.ledger`). The newer of the two counts, as a
whole. The second place is written at start and stop, at the end of a day, when a person has seen or changed
the totals (`back_up`), every five minutes, and with every record while the file cannot be written. So the
totals of a lost file may be five minutes old.
"""

import logging
import math
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from publisher.clock import Now, instant, timestamp
from publisher.store import boots, faults, journal
from publisher.store.faults import FAULTS, MISTAKES, Damaged
from publisher.store.file import StoreFile
from publisher.store.journal import Found, Pair
from publisher.store.ledger import LOST, NEW, Ledger, SecondPlace
from publisher.store.out_of_reach import OutOfReach, Unread
from publisher.store.outbox import Limits, Outbox
from publisher.store.rows import NO_ROWS, KeyedRows, Records, Row, upsert
from publisher.store.trace import Trace
from publisher.store.troubles import MISTAKE, StoreTrouble

T = TypeVar("T")

log = logging.getLogger("tentwatch.store")

#: Ids in memory begin at the boot number times this: above all ids in the file.
IDS_PER_BOOT = 1 << 30
#: How long a confirmed row is kept, unless it is configured, in seconds.
KEEP_S = 7 * 86_400.0
#: From this many on, confirmed rows are marked without waiting for the next record.
MAX_CONFIRMED = 500
#: How far the totals' second place may be behind the file, in monotonic seconds.
SECOND_PLACE_S = 300.0
#: Bytes of chance in a unit's serial: two units never have the same.
SERIAL_BYTES = 8
#: Connection numbers are reserved in blocks, so that a connection costs no write.
CONN_BLOCK = 1000


class Opened(NamedTuple):
    """What opening the store found: the totals, and what there is to report.

    Totals are None if there never were any, and empty if they are lost or cannot be read. `lost` is the
    number of waiting records that are gone or above the limits. With `is_old` the totals may be five minutes
    old, and how many records are lost is not known. `unread` is what the totals lack, because an earlier
    run could not read the file: the caller must add it and `save` the sum. Nothing is written before.
    """

    totals: dict[str, Any] | None
    power_cut: dict[str, Any] | None
    lost: int = 0
    is_old: bool = False
    unread: Unread | None = None


class Store:
    """See the module. `open` comes first; then `append`, `backlog` and `confirm`."""

    def __init__(
        self,
        directory: Path,
        max_rows: int,
        max_bytes: int,
        in_memory: Path | None = None,
        *,
        keep_s: float = KEEP_S,
    ) -> None:
        """Use `directory`, which is created if it can be; keep `max_rows` and `max_bytes` of records.

        A record is kept for `keep_s` after it is noted that the broker has it.

        `in_memory` is a directory in memory for the trace, by which an older copy of `directory` is
        recognised that is put back within a boot.
        """
        self._lock = threading.RLock()
        self._file = StoreFile(directory, Limits(max_rows, max_bytes, keep_s))
        self._second = SecondPlace(directory)
        self._trace = None if in_memory is None else Trace(in_memory)
        self._outbox: Outbox | None = None  # of the file, or in memory while that cannot be used
        self._out_of_reach: OutOfReach | None = None
        self._ledger = Ledger()
        self._conn = 0  # the last connection number that was given
        self._boots: set[int] = set()  # the numbers that this boot of the unit has had
        self._backed_up = 0  # the count of the ledger in the second place
        self._back_up_due_s = -math.inf
        self._reported = 0  # how many of the files set aside, from the first, the caller knows
        self._is_reset_known = False  # whether the caller knows that the totals began anew
        self._now: Now | None = None

    def open(self, boot_id: str, now: Now) -> Opened:
        """Open the file, or begin one; read the totals, and choose this boot's number."""
        with self._lock:
            self._now = now
            second = self._second.read() or Ledger()
            found, newest_boot, failed = self._load(second)
            is_anew, is_damaged = bool(self._file.set_aside), any(self._file.set_aside)
            inside = second if second.is_newer_than(found) else found
            trace = self._read_trace()
            has_lost_trace = found.traced and trace.boot_id != boot_id
            is_emptied = not (inside.count or is_damaged or failed)
            is_behind = trace.is_newer_than(inside) and not is_emptied
            if is_behind and not failed:
                log.error(
                    "%s is older than what this unit has sent: a copy was put back", self._file.path
                )
            # Another unit's directory keeps its totals.
            is_blank = not inside.count and trace.boot_id == boot_id
            if is_behind and (is_blank or inside.serial == trace.serial):
                second = trace
            is_in_file = not second.is_newer_than(found)
            before = found if is_in_file else second
            ledger = replace(before, count=max(found.count, second.count))
            self._ledger = ledger
            self._note_set_aside()
            totals = ledger.totals
            if totals is None and (is_anew or failed):
                totals = {}
            is_old = bool(is_anew or failed) and not is_in_file and not before.clean
            is_old = (is_old or is_behind) and second is not trace  # which is exact
            began_with, unread = second.began_with(), None
            is_complete = before.clean or second is trace or (is_in_file and not is_anew)
            if failed:
                if not (before.clean or second is trace):
                    ledger.begin_boot(is_certain=False)
                ledger.boot = max(ledger.boot, trace.boot)
                self._move_to_memory(failed, began_with or second)  # which takes a fresh boot
            else:
                assert self._outbox is not None
                known = max(newest_boot, second.boot, trace.boot)
                is_same_boot = (
                    is_in_file
                    and not (is_anew or has_lost_trace)
                    and (found.boot_id, found.boot) == (boot_id, known)
                )
                is_suspect = is_in_file and not (before.clean or is_anew)
                if is_suspect and not self._file.is_complete(
                    self._outbox.db, lost_power=before.boot_id != boot_id
                ):
                    # The second place may lack the lost transactions too: their numbers must not be given
                    # again.
                    log.error("%s lacks its last transactions: they are lost", self._file.path)
                    is_old, is_same_boot = True, False
                expected = ledger.rows or 0
                if is_in_file or began_with is None:
                    pass
                elif began_with.lacks(found):
                    unread = Unread(found.totals or {}, began_with.totals or {})
                    ledger.belong_to(found)
                    ledger.dropped += max(0, found.dropped - began_with.dropped)
                    expected += (found.rows or 0) - (began_with.rows or 0)
                elif began_with.totals is None:  # and there never were any in the file
                    ledger.reset = LOST if is_anew else NEW
                if not is_old:
                    ledger.dropped += max(0, expected - self._outbox.rows)
                ledger.stand_in = None
                if not is_same_boot:
                    ledger.begin_boot(is_certain=is_complete and not is_old)
                ledger.boot = boots.boot_at_start(
                    known,
                    now,
                    is_unit_new=not second.boot and (is_anew or not known),
                    is_same_boot=is_same_boot,
                )
                self._conn = ledger.conn
            # An earlier power cut stays here until a record reports it: this one must not hide it.
            was_cut = before.boot and before.boot_id != boot_id and not before.clean
            if before.cut is None and was_cut:
                self._ledger.cut = boots.power_cut(before, self.began(before.boot), now)
            self._identify(is_anew=is_anew)
            self._ledger.boot_id = boot_id
            self._ledger.clean = False
            cut = self._ledger.cut
            if unread is None:
                self._write(now, None, sync=True)
            return Opened(totals, cut, self._ledger.dropped - before.dropped, is_old, unread)

    def _load(self, second: Ledger) -> tuple[Ledger, int, Exception | None]:
        """Open the file; return its ledger, its highest boot, and the error if it cannot be used."""
        self._file.is_expected = second.boot > 0
        try:
            self._outbox, found, newest_boot = self._file.load(second)
        except (*FAULTS, *MISTAKES) as error:
            _log_mistake(error)
            return Ledger(), 0, error
        if not self._file.set_aside and not found.boot and self._file.is_expected:
            log.error("%s was gone or empty: begun anew", self._file.path)
            self._file.set_aside.append(None)
        return found, newest_boot, None

    def _identify(self, *, is_anew: bool) -> None:
        """Give the unit a serial where its totals begin; it stays as long as they go on."""
        ledger = self._ledger
        if ledger.serial:
            return
        ledger.serial = secrets.token_hex(SERIAL_BYTES)
        if ledger.totals is not None:  # of a version without serials
            ledger.installed = timestamp(self._read(lambda box: boots.first_began(box.db), None))
        elif self._out_of_reach is None:  # else the totals may be in the file, with their serial
            ledger.reset = LOST if is_anew else NEW

    def _read_trace(self) -> Ledger:
        """Return the trace, blank if there is none."""
        return (None if self._trace is None else self._trace.read()) or Ledger()

    @property
    def failure(self) -> StoreTrouble | None:
        """Why the file cannot be used; None if it can."""
        return None if self._out_of_reach is None else self._out_of_reach.trouble

    @property
    def second_failure(self) -> StoreTrouble | None:
        """Why the totals' second place cannot be written."""
        return self._second.failure

    def set_aside(self) -> list[str | None]:
        """Return the names of damaged files that were set aside, each once; None for one that was gone.

        The next record must report them. If a power cut comes first, the next run gets them again.
        """
        with self._lock:
            news = self._ledger.set_aside[self._reported :]
            self._reported = len(self._ledger.set_aside)
            return news

    def reset(self) -> str | None:
        """Return why the totals have begun anew, once: NEW or LOST. The next record must report it.

        If a power cut comes first, the next run gets it again.
        """
        with self._lock:
            if self._is_reset_known:
                return None
            self._is_reset_known = self._ledger.reset is not None
            return self._ledger.reset

    @property
    def serial(self) -> str:
        """The unit's serial: another one means other totals."""
        return self._ledger.serial

    @property
    def installed(self) -> str | None:
        """The first certain time of day since the totals began (UTC); None before there was one."""
        return self._ledger.installed

    @property
    def boot(self) -> int:
        """The number of this boot."""
        return self._ledger.boot

    @property
    def previous(self) -> dict[str, int] | None:
        """The last pair (`boot`, `seq`) of the boot before; None where it is not certain."""
        return self._ledger.previous

    @property
    def earliest(self) -> datetime | None:
        """The newest time of day ever recorded: it is later than that now."""
        return instant(self._ledger.wall or "")

    def next_conn(self, now: Now) -> int:
        """Return a connection number that this boot has not used."""
        with self._lock:
            if self._conn >= self._ledger.conn:
                self._ledger.conn = self._conn + CONN_BLOCK
                self._write(now, None)
            self._conn += 1
            return self._conn

    def append(
        self,
        records: Records,
        totals: dict[str, Any],
        now: Now,
        *,
        days: Sequence[tuple[str, str]] = (),
        answers: Sequence[tuple[str, str]] = (),
    ) -> list[Row]:
        """Number records, and write them and the totals in one transaction.

        The same transaction writes lines of the visitor log (date, JSON) and answers to commands (cid,
        JSON). They replace older ones of the same day or command.
        """
        with self._lock:
            self._ledger.totals = totals
            return self._write(now, records, {"days": days, "answers": answers})

    def save(self, totals: dict[str, Any], now: Now) -> None:
        """Write the totals alone."""
        with self._lock:
            self._ledger.totals = totals
            self._write(now, None)

    def back_up(self) -> None:
        """Bring the totals' second place up to date, after a person has seen or changed the totals."""
        with self._lock:
            if self._outbox is not None and self._backed_up < self._ledger.count:
                self._write_second_place(sync=False)

    def days(self, since: str = "") -> list[tuple[str, str]]:
        """Return the visitor log from the day `since` (ISO) on, oldest first: (date, JSON)."""
        return self._read(lambda box: box.pairs("days", "WHERE date >= ? ORDER BY date", since), [])

    def answers(self) -> list[tuple[str, str]]:
        """Return the newest answers to commands, oldest first: (cid, JSON)."""
        return self._read(lambda box: box.pairs("answers", "ORDER BY rowid"), [])

    def began(self, boot: int) -> datetime | None:
        """Return the time of day at uptime 0 of a boot; None where its clock was never set."""
        return self._read(lambda box: boots.began(box.db, boot), None)

    def began_after(self, boot: int) -> datetime | None:
        """Return the time of day at uptime 0 of the first later boot whose clock was set, if any."""
        return self._read(lambda box: boots.began_after(box.db, boot), None)

    def backlog(self, after_id: int, until_id: int, max_bytes: int) -> list[Row]:
        """Return unconfirmed rows after `after_id` up to `until_id`, oldest first.

        Their bodies fill at most `max_bytes`, but one row is returned whatever its size.
        """
        return self._read(lambda box: box.backlog(after_id, until_id, max_bytes), [])

    def search(self, first: Pair, last: Pair) -> Found:
        """Look for the records from one number to another. Raises StoreTrouble while the file is not used."""
        with self._lock:
            ledger = self._ledger
            ends = {ledger.boot: ledger.seq}
            if ledger.previous is not None:
                ends[ledger.previous["boot"]] = ledger.previous["seq"]

            def look(box: Outbox) -> Found | None:
                return journal.search(box.db, first, last, ends, box.confirmed)

            found = None if self._out_of_reach is not None else self._read(look, None)
            if found is None:
                assert self.failure is not None, "the store is closed"
                raise self.failure
            return found

    def held_rows(self, after_id: int, until_id: int, max_bytes: int) -> list[Row]:
        """Return rows in ]after_id, until_id], confirmed or not, as `backlog` does."""
        return self._read(lambda box: box.held_rows(after_id, until_id, max_bytes), [])

    def confirm(self, ids: Iterable[int]) -> None:
        """Note that the broker has confirmed these rows; the next record's transaction marks them."""
        with self._lock:
            if self._outbox is None:
                return
            sent = set(ids)
            if self._out_of_reach is not None:
                sent = self._out_of_reach.confirm(sent)
            self._outbox.confirmed |= sent
            if len(self._outbox.confirmed) >= MAX_CONFIRMED:
                self._write(self._now, None)

    def give_up(self, row_id: int) -> None:
        """Note that a row cannot be sent; the next record's transaction deletes it. It counts as dropped."""
        with self._lock:
            if self._out_of_reach is not None and row_id < self._out_of_reach.memory_from:
                self._ledger.dropped += 1
                self._out_of_reach.give_up(row_id)
            elif self._outbox is not None:
                self._outbox.give_up(row_id)

    def last_id(self) -> int:
        """Return the id of the newest record."""
        return 0 if self._outbox is None else self._outbox.next_id - 1

    def buffer(self, now: Now) -> dict[str, int]:
        """Return the contract's `buffer`: how much waits for the broker, and how much was given up."""
        with self._lock:
            oldest = self.backlog(0, self.last_id(), 0) if self._waiting() else []
            if self._waiting() and not oldest and self._out_of_reach is None:
                self._move_to_memory(Damaged("records have vanished from the file"))
            count = self._waiting() + (0 if self._out_of_reach is None else self._out_of_reach.rows)
            oldest_s = 0
            if oldest and oldest[0].boot == self.boot:
                oldest_s = max(0, round(now.uptime_s - oldest[0].uptime_s))
            elif oldest:
                oldest_s = boots.age_s(oldest[0], self.began(oldest[0].boot), now)
            given_up = 0 if self._outbox is None else self._outbox.given_up
            dropped = self._ledger.dropped + given_up
            return {"rows": count, "oldest_s": oldest_s if count else 0, "dropped": dropped}

    def close(self, now: Now, totals: dict[str, Any]) -> None:
        """Write the last totals, mark the stop as clean, and close the file."""
        with self._lock:
            if self._outbox is None:
                return
            self._ledger.clean = True
            self._ledger.totals = totals
            self._write(now, None, sync=True)
            self._second.close()
            if self._trace is not None:
                self._trace.close()
            self._outbox.close()
            self._outbox = None

    def retry(self, now: Now) -> Unread | None:
        """Try the file again after a failure; if it works, `failure` is None afterwards.

        Returns the file's totals if they had not been read: the caller must add what they count in
        addition to the present ones.
        """
        with self._lock:
            self._now = now
            if self._out_of_reach is None:
                return None
            unread = self._try_file(now, self._out_of_reach.damage)
            if self._out_of_reach is not None and self._out_of_reach.reason_to_replace:
                # Perhaps the file is bad and not the disk: then a new file can be made.
                unread = self._try_file(now, self._out_of_reach.reason_to_replace)
            return unread

    # Reading

    def _waiting(self) -> int:
        return 0 if self._outbox is None else self._outbox.waiting

    def _read(self, read: Callable[[Outbox], T], nothing: T) -> T:
        """Return the result of `read`, or `nothing` if the file cannot be read."""
        with self._lock:
            if self._outbox is None:
                return nothing
            try:
                return read(self._outbox)
            except FAULTS as error:
                if self._out_of_reach is not None:
                    raise
                self._move_to_memory(error)
                return nothing

    # Writing

    def _write(
        self,
        now: Now | None,
        records: Records | None,
        keyed: KeyedRows = NO_ROWS,
        *,
        sync: bool = False,
    ) -> list[Row]:
        """Commit records, ledger and deletions; if the file refuses, in memory."""
        self._now = now or self._now
        if self._out_of_reach is None and not self._file.is_in_place():
            self._replace_lost()
        rows = self._number(records)
        try:
            self._commit(rows, keyed, sync=sync)
        except FAULTS as error:
            if self._out_of_reach is not None:
                raise
            away = self._move_to_memory(error)
            # A commit whose fsync failed may be in the file nevertheless.
            away.to_delete.update(row.id for row in rows)
            rows = self._number(records)
            self._commit(rows, keyed)
        return rows

    def _number(self, records: Records | None) -> list[Row]:
        if records is None:
            return []
        assert self._now is not None and self._outbox is not None, "the store is not open"
        now, boot, next_id = self._now, self._ledger.boot, self._outbox.next_id
        return [
            Row(next_id + i, kind, boot, now.uptime_s, int(now.synced), body)
            for i, (kind, body) in enumerate(records(boot, self._ledger.seq + 1))
        ]

    def _commit(self, new: list[Row], keyed: KeyedRows, *, sync: bool = False) -> None:
        assert self._now is not None and self._outbox is not None, "the store is not open"
        before = self._ledger
        ledger = self._dated(
            self._now,
            replace(
                before,
                seq=before.seq + len(new),
                cut=None if new else before.cut,
                set_aside=before.set_aside[self._reported :] if new else before.set_aside,
                reset=None if new and self._is_reset_known else before.reset,
            ),
        )
        self._boots.add(ledger.boot)
        self._ledger = self._outbox.commit(ledger, new, self._now, self._boots, keyed)
        self._leave_trace()
        self._reported = 0 if new else self._reported
        self._is_reset_known &= not new
        has_reported = new and (
            before.cut is not None
            or before.set_aside != ledger.set_aside
            or before.reset != ledger.reset
        )
        if (
            sync
            or self._out_of_reach is not None
            or self._second.failure is not None
            or has_reported
            or keyed.get("days")
            or self._now.monotonic_s >= self._back_up_due_s
        ):
            self._write_second_place(sync=sync)
        self._file.is_expected |= self._out_of_reach is None

    def _dated(self, now: Now, ledger: Ledger) -> Ledger:
        """Return the ledger for the next transaction, with its instant."""
        is_certain = now.is_certain and now.wall is not None
        return replace(
            ledger,
            count=ledger.count + 1,
            traced=self._trace is not None,
            installed=ledger.installed or (timestamp(now.wall) if is_certain else None),
            uptime_s=round(now.uptime_s, 3),
            wall=now.wall.isoformat() if is_certain and now.wall is not None else ledger.wall,
        )

    def _write_second_place(self, *, sync: bool) -> None:
        assert self._now is not None, "the store is not open"
        self._second.write(self._text(), sync=sync)
        if self._second.failure is None:
            self._backed_up = self._ledger.count
            self._back_up_due_s = self._now.monotonic_s + SECOND_PLACE_S

    def _leave_trace(self) -> None:
        """Bring the trace up to date, after the transaction and before anybody sees what was written."""
        if self._trace is not None:
            self._trace.write(self._text(), sync=False)

    def _text(self) -> str:
        """Return the ledger for a place outside of the file."""
        in_file = 0 if self._out_of_reach is None else self._out_of_reach.rows
        return self._ledger.text(rows=(self._ledger.rows or 0) + in_file)

    # Failure

    def _replace_lost(self) -> None:
        """Begin a new file in place of the open one, which was deleted and can still be read."""
        lost = self._outbox
        assert lost is not None, "the store is closed"
        try:
            found = self._file.begin_anew("it was deleted", lost.db, self._ledger).outbox
        except FAULTS as error:
            self._move_to_memory(error)
        else:
            self._ledger.dropped += max(0, lost.rows - found.rows)
            found.take_over(lost)
            self._outbox = found
            self._second.close()  # it may be gone, too
            self._back_up_due_s = -math.inf
        self._note_set_aside()

    def _move_to_memory(self, error: Exception, stand_in: Ledger | None = None) -> OutOfReach:
        """Go on in memory, under a boot number of its own.

        `stand_in` is the ledger that is used instead of the file's, if that was not read.
        """
        assert self._now is not None, "the store is not open"
        file, before, ledger = self._file, self._outbox, self._ledger
        if faults.is_full(error):
            file.make_room()
        fresh = boots.fresh_boot(ledger.boot, self._now)
        ledger.begin_boot()
        ledger.boot, self._conn = fresh, 0
        ledger.count += 1
        memory = file.in_memory()
        memory.next_id = ledger.boot * IDS_PER_BOOT
        waiting = 0 if stand_in is None else stand_in.rows or 0
        confirmed: set[int] = set()
        to_delete: set[int] = set()
        if before is not None:
            waiting, confirmed, to_delete = before.waiting, before.confirmed, before.to_delete
            memory.next_id = max(memory.next_id, before.next_id)
            ledger.dropped += before.given_up
            for table, pairs in before.keyed_rows().items():
                upsert(memory.db, table, pairs)
            before.close()
        self._outbox, ledger.rows = memory, 0
        ledger.stand_in = None if stand_in is None else stand_in.standing_in()
        self._out_of_reach = OutOfReach(
            trouble=file.trouble(error),
            damage=faults.reason(error) if faults.is_damage(error) else None,
            rows=waiting,
            confirmed=confirmed,
            to_delete=to_delete,
            memory_from=memory.next_id,
            stand_in=stand_in,
        )
        self._write_second_place(sync=True)
        return self._out_of_reach

    def _try_file(self, now: Now, damage: str | None) -> Unread | None:
        memory, away, file = self._outbox, self._out_of_reach, self._file
        assert memory is not None and away is not None
        records = memory.all()
        loaded = None
        try:
            loaded = file.load(damage=damage)
            if not file.set_aside and not loaded.ledger.boot and file.is_expected:
                log.error("%s was gone: begun anew", file.path)
                file.set_aside.append(None)
                file.is_expected = False  # that is reported once, however often it is tried
            self._note_set_aside()
            unread, ledger = away.reconciled(self._ledger, loaded)
            loaded.outbox.take_over(memory)
            loaded.outbox.confirmed = away.confirmed | memory.confirmed
            loaded.outbox.to_delete = set(away.to_delete)
            boots_had = self._boots | {ledger.boot}
            ledger = loaded.outbox.commit(
                self._dated(now, ledger), records, now, boots_had, memory.keyed_rows()
            )
        except (*FAULTS, *MISTAKES) as error:
            if loaded is not None:
                loaded.outbox.close()
            self._note_set_aside()
            if away.trouble.kind is not MISTAKE:  # once, however often it is tried
                _log_mistake(error)
            away.failed_again(error, file)
            return None
        memory.close()
        self._outbox, self._out_of_reach = loaded.outbox, None
        self._ledger, self._boots = ledger, boots_had
        file.is_expected = True
        self._second.close()  # it may have gone with the file
        self._write_second_place(sync=True)
        self._leave_trace()
        return unread

    def _note_set_aside(self) -> None:
        """Take over the names of files that were set aside, for the next record to report."""
        news, self._file.set_aside = self._file.set_aside, []
        self._ledger.set_aside = [*self._ledger.set_aside, *news]
        if news and self._out_of_reach is not None:
            self._out_of_reach.damage = None


def _log_mistake(error: Exception) -> None:
    """Log an error that is a mistake in this program and not the file's fault."""
    if not isinstance(error, FAULTS):
        log.error(
            "a mistake in tentwatch, please report it; the store's file stays as it is",
            exc_info=error,
        )
