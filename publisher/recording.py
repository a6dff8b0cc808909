"""Records: events and snapshots, stored in one transaction and then offered to the link."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from publisher import messages
from publisher.clock import Now
from publisher.config.load import Config
from publisher.link.link import Link
from publisher.rules.happening import Happening
from publisher.rules.tent import Tent
from publisher.rules.usable import usable
from publisher.status import Reporter
from publisher.store.out_of_reach import Unread
from publisher.store.store import Store
from publisher.unit.hour import Hour

log = logging.getLogger("tentwatch.agent")

#: Least time between two snapshots that are made because something has changed (contract, `state`).
CHANGE_PAUSE_S = 1.0
STORE_RETRY_S = 60.0
#: The topic `days` has this many closed days. While the running day changes it is sent this often.
CLOSED_DAYS, DAYS_S = 14, 3600.0
#: Keys of the blocks of `power` that come from the totals.
DURABLE_KEYS = (
    "hours_today",
    "hours_total",
    "hours_since_service",
    "starts_total",
    "charge_pct",
    "uncertainty_pct",
    "capacity_ah",
    "capacity_rate_h",
    "synchronised",
    "since_full_h",
    "gap",
    "fuel_l",
    "fuel_l_low",
    "fuel_h",
    "fuel_h_low",
)


class Recorder:
    """Makes the records of one unit. A snapshot is due every `interval_s`, and soon after a change."""

    def __init__(
        self,
        config: Config,
        tent: Tent,
        store: Store,
        link: Link,
        hour: Hour,
        reporter: Reporter,
        now: Now,
        *,
        on_file_lost: Callable[[], None],
    ) -> None:
        """Begin with nothing to record. `on_file_lost` is called when the store's file was gone."""
        self._config = config
        self._tent = tent
        self._store = store
        self._link = link
        self._hour = hour
        self._reporter = reporter
        self._on_file_lost = on_file_lost
        self._pending: list[tuple[Now, Happening]] = []  # each with its instant
        self._answers: list[tuple[str, str]] = []  # to commands: (cid, JSON), for the next record
        self._fingerprint, self._recorded = tent.fingerprint(), tent.snapshot()
        self._lines: object = None  # the visitor log's open lines when they were last shown
        self._interval_due_s = self._retry_due_s = self._days_due_s = now.monotonic_s
        self._days = ""  # as they were sent last
        self._change_s = now.monotonic_s - CHANGE_PAUSE_S
        self._dropped = 0  # rows whose loss was recorded
        self._was_failed = False

    def note(self, happened: list[Happening], now: Now) -> None:
        """Log what happened at `now`, and add it to the next record."""
        for happening in happened:
            self._pending.append((now, happening))
            detail = ", ".join(f"{key} {value}" for key, value in happening.detail.items())
            log.info("%s%s", happening.event, f": {detail}" if detail else "")

    def note_answer(self, cid: str, answer: str) -> None:
        """Store the answer to a command with the next record."""
        self._answers.append((cid, answer))

    def note_losses(self, dropped: int) -> None:
        """Note that the loss of `dropped` rows is recorded already."""
        self._dropped = dropped

    def has_changed(self) -> bool:
        """Say whether anything has changed since the last record."""
        return (
            bool(self._pending)
            or self._tent.has_lines()
            or self._tent.fingerprint() != self._fingerprint
        )

    def due_s(self) -> float:
        """Return when the next record is due, in monotonic seconds."""
        if self.has_changed():
            return min(self._interval_due_s, self._change_s + CHANGE_PAUSE_S)
        return self._interval_due_s

    def record_if_due(self, now: Now) -> None:
        """Make a record if one is due."""
        if now.monotonic_s >= self._interval_due_s:
            self.record(now)
        elif now.monotonic_s >= self._change_s + CHANGE_PAUSE_S and self.has_changed():
            self._change_s = now.monotonic_s
            self.record(now)

    def record(self, now: Now) -> None:
        """Store the events and a snapshot in one transaction, and offer them to the link."""
        tent, config = self._tent, self._config
        happened = [(_dated(at, now), happening) for at, happening in self._pending]
        self._pending = []
        answers, self._answers = self._answers, []
        for at, happening in happened:
            self._hour.add(happening, at)
        self._fingerprint, self._recorded = tent.fingerprint(), tent.snapshot()
        self._interval_due_s = float(round(now.monotonic_s + config.report.interval_s))
        buffer = self._store.buffer(now)
        blocks = {**self._recorded, "unit": self._reporter.unit_state()}

        def records(boot: int, seq: int) -> list[tuple[str, str]]:
            tent_id, serial = config.tent.id, self._store.serial
            made = [
                ("event", messages.event(tent_id, boot, seq + i, at, happening, serial=serial))
                for i, (at, happening) in enumerate(happened)
            ]
            last = seq + len(made)
            state = messages.state(config, boot, last, now, blocks, buffer, serial=serial)
            return [*made, ("state", state)]

        lines = tent.take_lines()
        rows = self._store.append(records, tent.totals.as_dict(), now, days=lines, answers=answers)
        self._link.offer(rows)
        if lines or now.monotonic_s >= self._days_due_s:
            self._show_days(now)
        self._look_after_store(buffer["dropped"], now)

    def record_connected(self, now: Now) -> None:
        """Make the record of a new connection; the broker may have lost the days as well."""
        self._days, self._days_due_s = "", now.monotonic_s
        self.record(now)

    def _show_days(self, now: Now) -> None:
        """Send the newest lines of the visitor log, which are stored by now, if they have changed."""
        self._days_due_s = now.monotonic_s + DAYS_S
        days = messages.days(self._config, self._tent.newest_lines(CLOSED_DAYS))
        if days != self._days:
            self._days = days
            self._link.show_days(days)

    def record_rest(self, now: Now) -> None:
        """Record all unrecorded changes before the end."""
        if self._store.failure is not None:  # a store in memory would be lost
            self._retry_store(now)
        if self.has_changed() or self._answers:
            self.record(now)

    def store_shown(self, now: Now) -> None:
        """Store the values that `status` is about to show, with their events: no power cut may revert them.

        Values that are stored already are not written again: asking every second must not wear the card.
        """
        shown = self._tent.snapshot()
        if self.has_changed():
            self.record(now)
        elif _durable(shown) != _durable(self._recorded):
            self._store.save(self._tent.totals.as_dict(), now)
            self._recorded = shown
        self._store.back_up()

    def store_lines(self, lines: object, now: Now) -> None:
        """Store the visitor log's open lines before they are shown, as `store_shown` does."""
        if self.has_changed():
            self.record(now)
        elif lines != self._lines:
            self._store.save(self._tent.totals.as_dict(), now)
        self._lines = lines
        self._store.back_up()

    # The store's file

    def retry_if_due(self, now: Now) -> None:
        """Try again to write the file, from time to time, while it cannot be written."""
        if self._store.failure is not None and now.monotonic_s >= self._retry_due_s:
            self._retry_store(now)

    def note_set_aside(self, now: Now) -> bool:
        """Note which files were set aside, and whether counts begin anew; return whether one was gone."""
        files, reset = self._store.set_aside(), self._store.reset()
        self.note([Happening("store_quarantined", {"file": file}) for file in files], now)
        if reset is not None:
            self.note([Happening("counts_reset", {"reason": reset})], now)
        return None in files

    def _retry_store(self, now: Now) -> None:
        self._retry_due_s = now.monotonic_s + STORE_RETRY_S
        unread = self._store.retry(now)
        if unread is not None:
            self._add(unread, now)
        self._look_after_file(now)
        if self._store.failure is None:
            log.warning("the store can be written again")
            self.record(now)
            self._link.look_again()

    def add_unread(self, unread: Unread, now: Now) -> None:
        """Add what an earlier run could not read of the totals, and store the sum."""
        self._add(unread, now)
        self._store.save(self._tent.totals.as_dict(), now)
        self._store.back_up()

    def _add(self, unread: Unread, now: Now) -> None:
        boot = self._store.boot
        saved, counted = (usable_totals(t, self._config, now, boot=boot) or {} for t in unread)
        self.note(self._tent.add(saved, counted), now)

    def _look_after_store(self, dropped: int, now: Now) -> None:
        failure = self._store.failure
        if failure is not None and not self._was_failed:
            log.error("%s; going on in memory meanwhile", failure)
            self._retry_due_s = now.monotonic_s + STORE_RETRY_S
        self._was_failed = failure is not None
        self._look_after_file(now)
        self.note(self._tent.notice({"store_failed": self._was_failed}, now), now)
        if dropped > self._dropped:
            lost, self._dropped = dropped - self._dropped, dropped
            self.note([Happening("records_dropped", {"records": lost})], now)

    def _look_after_file(self, now: Now) -> None:
        if self.note_set_aside(now):
            self._on_file_lost()


def usable_totals(
    saved: dict[str, Any] | None, config: Config, now: Now, *, boot: int
) -> dict[str, Any] | None:
    """Return saved totals without the values that a tent cannot go on from; log each of these."""
    totals, left_out = usable(saved, config, now, boot=boot)
    for key, fault in left_out.items():
        log.error("the totals' %.40a cannot be used (%a): left out", key, fault)
    return totals


def resumed(
    config: Config,
    now: Now,
    saved: dict[str, Any] | None,
    *,
    boot: int,
    log: Iterable[tuple[str, str]],
) -> Tent:
    """Return a tent that goes on from the totals `saved` by an earlier run and the visitor log so far."""
    return Tent(config, now, usable_totals(saved, config, now, boot=boot), boot=boot, log=log)


def _dated(at: Now, now: Now) -> Now:
    """Return the instant of a happening, with the time of day that is known now if it was not known then."""
    return now.back_to(at.monotonic_s) if now.synced and not at.synced else at


def _durable(blocks: dict[str, Any]) -> list[Any]:
    """Return the values of a snapshot that come from the totals and must survive a power cut once shown."""
    power = blocks["power"]
    parts = [power[name] for name in ("mains", "generator", "battery") if name in power]
    return [
        blocks.get("capacity"),
        power["since"],
        blocks.get("co", {}).get("peak_1h_ppm"),
        *(part.get(key) for part in parts for key in DURABLE_KEYS),
    ]
