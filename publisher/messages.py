"""The contract's messages: plain values in, JSON text out. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from publisher.clock import Now, timestamp
from publisher.config.load import Config
from publisher.rules.happening import Happening
from sensors.json_in import parsed
from sensors.trouble import Trouble

VERSION = 1
#: The largest history message, in bytes (contract, `history`).
HISTORY_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of one tent's topics."""

    prefix: str
    id: str

    def of(self, what: str) -> str:
        """Return the topic of `link`, `about`, `state`, `event`, `history`, `res/<cid>` …"""
        return f"{self.prefix}/{self.id}/{what}"


def encode(message: Mapping[str, Any]) -> str:
    """Return compact JSON. Raises ValueError for NaN, which JSON does not know."""
    return json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def link(online: bool, boot: int, conn: int, now: Now | None, *, serial: str | None = None) -> str:
    """Return a `link` message. The will has no `now`: nobody knows beforehand when it is sent.

    `serial` is the unit's; None where it is not known, as in a login on trial.
    """
    message: dict[str, Any] = {
        "v": VERSION,
        **_of_unit(serial),
        "online": online,
        "boot": boot,
        "conn": conn,
    }
    if now is not None:
        message |= _time(now, with_uptime=False)
    return encode(message)


def about(
    config: Config,
    software: str,
    counts: Mapping[str, Any] | None = None,
    *,
    simulated: bool = False,
) -> str:
    """Return the `about` message; `counts` are the unit's counts of its own work.

    `simulated` says that its devices are, and perhaps its time.
    """
    tent = config.tent
    return encode(
        {
            "v": VERSION,
            "id": tent.id,
            "name": tent.name,
            "seats": tent.seats,
            "latitude": tent.latitude,
            "longitude": tent.longitude,
            "region": tent.region,
            "timezone": tent.timezone,
            "software": software,
            "config": config.digest,
            "ttl_s": config.report.ttl_s,
            "simulated": simulated,
            "sensors": [{"name": s.name, "driver": s.driver} for s in config.sensors],
            **(counts or {}),
        }
    )


def days(config: Config, lines: Iterable[Mapping[str, Any]]) -> str:
    """Return the `days` message from lines of the visitor log."""
    tent = config.tent
    head = {"v": VERSION, "id": tent.id, "timezone": tent.timezone}
    return encode({**head, "days": list(lines)})


def state(
    config: Config,
    boot: int,
    seq: int,
    now: Now,
    blocks: Mapping[str, Any],
    buffer: Mapping[str, int],
    *,
    serial: str | None = None,
) -> str:
    """Return a `state` message from the tent's snapshot and the outbox's figures."""
    return encode(
        {
            **_head(config.tent.id, serial, boot, seq, now),
            "ttl_s": config.report.ttl_s,
            **blocks,
            "buffer": buffer,
        }
    )


def event(
    tent_id: str,
    boot: int,
    seq: int,
    now: Now,
    happening: Happening,
    *,
    serial: str | None = None,
) -> str:
    """Return an `event` message."""
    head = _head(tent_id, serial, boot, seq, now)
    return encode({**head, "event": happening.event, "detail": happening.detail})


def history(tent_id: str, records: Iterable[str]) -> str:
    """Return a `history` message around records that are JSON already."""
    return f'{{"v":{VERSION},"id":"{tent_id}","records":[{",".join(records)}]}}'


def answer(cid: str, command: str, **result: Any) -> str:
    """Return the answer to a command that was carried out."""
    return encode({"v": VERSION, "cid": cid, "command": command, "ok": True} | result)


def refusal(cid: str, command: str, trouble: Trouble) -> str:
    """Return the answer to a command that was not carried out."""
    why = {"error": str(trouble), "code": trouble.code}
    return encode({"v": VERSION, "cid": cid, "command": command, "ok": False} | why)


def repeated(answer: str) -> str:
    """Return the answer to a command that was answered before."""
    return encode(parsed(answer) | {"again": True})


def stamped(body: str, began: datetime) -> str:
    """Return a record that was made before the clock was set, with its time.

    `began`, which is known now, is the time of day at uptime 0. The record's own uptime counts: an event is
    older than the transaction that has stored it.
    """
    message = parsed(body)
    at = began + timedelta(seconds=message["uptime_s"])
    message["ts"] = timestamp(at)
    message["clock"] = "synced"
    message.pop("ts_estimated", None)
    if message.get("event") == "power_cut":
        detail = message["detail"]
        if detail.get("off_s") is None and detail.get("last") is not None:
            off = at - datetime.fromisoformat(detail["last"])
            detail["off_s"] = max(0, round(off.total_seconds()))
    return encode(message)


def bounded(body: str, latest: datetime) -> str:
    """Return a record of a boot whose clock was never set. It was made before `latest`.

    An estimate that is later is removed: the clock that gave it was wrong.
    """
    message = parsed(body)
    if message.get("ts") is None or datetime.fromisoformat(message["ts"]) <= latest:
        return body
    message["ts"] = None
    message.pop("ts_estimated", None)
    return encode(message)


def _of_unit(serial: str | None) -> dict[str, str]:
    return {} if serial is None else {"serial": serial}


def _head(tent_id: str, serial: str | None, boot: int, seq: int, now: Now) -> dict[str, Any]:
    return {
        "v": VERSION,
        "id": tent_id,
        **_of_unit(serial),
        "boot": boot,
        "seq": seq,
        **_time(now, with_uptime=True),
    }


def _time(now: Now, *, with_uptime: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "ts": timestamp(now.wall),
        "clock": "synced" if now.synced else "unsynced",
    }
    if not now.synced and now.wall is not None:
        fields["ts_estimated"] = True
    if with_uptime:
        fields["uptime_s"] = round(now.uptime_s, 3)
    return fields
