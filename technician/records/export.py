"""`tentwatch export DIR`: writes visitor log, backlog and a support bundle to a stick."""

import argparse
import contextlib
from datetime import UTC
from pathlib import Path

from publisher.clock import Clock, instant
from publisher.config.load import Config
from publisher.control import ControlError
from publisher.status import Status
from publisher.store.troubles import Unreadable
from technician.arguments import add_config, add_state_dir
from technician.records import support_bundle, visitor_log
from technician.records.source import Source, StoreAtRest, source
from technician.records.stick import Folder, StickError, is_on_card, new_folder
from technician.terminal import DONE, FAILED, complain, prose
from technician.words import _, counted


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_state_dir(parser)
    add_config(parser)
    parser.add_argument("directory", type=Path, metavar="DIR", help=_("where the stick is mounted"))


def run(options: argparse.Namespace) -> int:
    """Write everything into a new folder in a directory."""
    stick, state_dir = options.directory, options.state_dir
    config = visitor_log.config_or_none(options.config)
    status = support_bundle.ask_status(state_dir)
    missing: list[str] = []
    unreadable = on_card = False
    try:
        with contextlib.suppress(OSError):
            on_card = stick.is_dir() and is_on_card(stick, state_dir)
            if on_card:
                text = _("{dir} lies on the unit's own card, not on a stick: is it mounted there?")
                complain(text.format(dir=stick))
        with contextlib.ExitStack() as stack:
            unit: Source | None = None
            try:
                unit = stack.enter_context(source(state_dir, config))
            except (Unreadable, ControlError) as error:
                unreadable = True
                complain(error)
                missing += [f"visitors.csv, visitors.json, backlog.jsonl: {error}"]
            name = _name(unit, config, status)
            folder = stack.enter_context(new_folder(stick, name))
            if unit is not None:
                _write_records(folder, unit)
            for part in support_bundle.parts(state_dir, options.config, status):
                if part.missing:
                    missing.append(f"{part.name}: {part.missing}")
                    complain(_("{file} is missing: {why}").format(file=part.name, why=part.missing))
                else:
                    folder.write(f"diagnosis/{part.name}", part.lines)
            folder.write("diagnosis/missing.txt", missing)
    except (StickError, ControlError, Unreadable) as error:
        complain(error)
        return FAILED
    megabytes = f"{folder.size_bytes / 1e6:.1f}"
    text = _("{folder}: {megabytes} MB, and its checksums in SHA256SUMS")
    prose(text.format(folder=stick / name, megabytes=megabytes))
    if unreadable:
        complain(_("the visitor log and the unsent records are NOT on it"))
    if on_card:
        prose(
            _("Everything is written, but to the unit's own card: copy it to a stick from there.")
        )
    else:
        prose(_("Everything is written: the stick can be pulled."))
    return FAILED if unreadable else DONE


def _write_records(folder: Folder, unit: Source) -> None:
    log = unit.log()
    folder.write("visitors.csv", visitor_log.as_csv(log).splitlines())
    folder.write("visitors.json", visitor_log.as_json(log).splitlines())
    days = len(visitor_log.lines(log))
    prose(counted("visitor log: {n} day", "visitor log: {n} days", days))
    records = folder.write("backlog.jsonl", unit.records())
    prose(
        counted(
            "waiting for the broker: {n} record; it stays on the unit until the broker has it",
            "waiting for the broker: {n} records; they stay on the unit until the broker has them",
            records,
        )
    )


def _name(unit: Source | None, config: Config | None, status: Status | None) -> str:
    """Return a name that any file system accepts; it has no date if the clock is not set."""
    if status is not None:
        tent_id, ts = status["id"], status["ts"]
        at = instant(ts) if ts is not None and status["clock"] == "synced" else None
        boot, uptime_s = status["boot"], status["uptime_s"]
    else:
        now = Clock().now()
        tent_id = "unit" if config is None else config.tent.id
        at, boot, uptime_s = (now.wall if now.synced else None), 0, now.uptime_s
        if isinstance(unit, StoreAtRest):
            boot = unit.boot
    if at is not None:
        return f"tentwatch-{tent_id}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    return f"tentwatch-{tent_id}-boot{boot}-{uptime_s:.0f}s"
