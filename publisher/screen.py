"""The demonstration's screen: the tent as the agent reports it, and what the broker has confirmed."""

import contextlib
import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from publisher.printable import all_printable
from publisher.said import said

if TYPE_CHECKING:
    from publisher.demo import Options

REFRESH_S = 0.5
#: Messages shown, where the rest of the screen leaves them the lines.
MOST_MESSAGES = 12
_COLOURS = {
    "ok": "green",
    "estimated": "yellow",
    "starting": "cyan",
    "stale": "red",
    "fault": "red",
}


class Screen:
    """Redraws itself twice a second from the agent's status."""

    def __init__(self, options: "Options") -> None:
        self._options = options
        self._console = Console()
        self._messages: deque[tuple[str, str]] = deque(maxlen=MOST_MESSAGES)

    def sent(self, topic: str, payload: str) -> None:
        """Take note of a message that the broker has confirmed."""
        self._messages.append((topic, payload))

    @contextlib.contextmanager
    def showing(self, status: Callable[[], dict[str, Any]]) -> Iterator[None]:
        """Show the screen while the context is open; `status` asks the agent."""
        closing = threading.Event()
        with Live(Text("starting …"), console=self._console, auto_refresh=False) as live:

            def redraw() -> None:
                while not closing.wait(REFRESH_S):
                    found = status()
                    if found.get("ok"):
                        live.update(self.render(found), refresh=True)

            thread = threading.Thread(target=redraw, name="screen", daemon=True)
            thread.start()
            try:
                yield
            finally:
                closing.set()
                thread.join(1.0)

    def render(self, status: dict[str, Any]) -> Group:
        """Return the screen for a status, with as many messages as the terminal has lines for."""
        status = all_printable(status)
        speed = (
            f", {self._options.speed:g} times as fast as life" if self._options.speed != 1 else ""
        )
        host, port = self._options.broker
        head = Text(
            f"{status['name']} ({status['id']}) · {clock_text(status)}{speed}", style="bold"
        )
        where = Text(
            f"Subscribe:  mosquitto_sub -h {host} -p {port} -t '{status['topics']}' -v\n"
            f"Ask it:     {sys.argv[0]} status --state-dir {self._options.state_dir}\n"
            f"Ctrl-C ends the demonstration.",
            style="dim",
        )
        above = Group(head, people_and_power(status), sensors_and_link(status), faults(status))
        others = len(self._console.render_lines(Group(above, where)))
        room = min(MOST_MESSAGES, self._console.height - others - 2)
        if room < 1:
            return Group(above, where)
        return Group(above, messages_panel(list(self._messages)[-room:], room), where)


def status_screen(status: dict[str, Any]) -> Group:
    """Return what `tentwatch status` shows: what matters most comes last, next to the prompt."""
    status = all_printable(status)
    name = f"{status['name']} ({status['id']})" if status["name"] else status["id"]
    parts: list[Any] = [Text(f"{name} · {clock_text(status)}")]
    if "unit" in status:  # an agent that is older than this command does not tell
        parts.append(unit_panel(status))
    parts += [sensors_and_link(status), faults(status), people_and_power(status)]
    return Group(*parts)


def clock_text(status: dict[str, Any]) -> str:
    """Return the unit's time for people."""
    if status["ts"] is None:
        return "time not known"
    doubt = "" if status["clock"] == "synced" else " (not checked)"
    return str(status["ts"])[:19].replace("T", " ") + f" UTC{doubt}"


def shown(value: object, unit: str = "") -> str:
    """Return a value for people; what is not known is a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}{unit}"
    return f"{value}{unit}"


def quality_text(quality: str) -> Text:
    """Return a quality in its colour."""
    return Text(quality, style=_COLOURS.get(quality, ""))


def people_and_power(status: dict[str, Any]) -> Table:
    """Return people and power side by side; power needs the wider half."""
    return _side_by_side(_people(status), _power(status), 2, 3)


def sensors_and_link(status: dict[str, Any]) -> Table:
    """Return the sensors and the link side by side."""
    return _side_by_side(_sensors(status), _link(status), 1, 1)


def _side_by_side(left: Panel, right: Panel, left_share: int, right_share: int) -> Table:
    grid = Table.grid(expand=True)
    grid.add_column(ratio=left_share)
    grid.add_column(ratio=right_share)
    grid.add_row(left, right)
    return grid


def faults(status: dict[str, Any]) -> Group:
    """Return what is wrong, a paragraph a fault over the full width: folded, never cut."""
    found = [(sensor["name"], sensor["error"]) for sensor in status["sensors"] if sensor["error"]]
    if status["link"]["error"]:
        found.append(("link", status["link"]["error"]))
    if status["store"]["error"]:
        found.append(("store", status["store"]["error"]))
    if second := status["store"].get("second_place"):  # an older agent does not tell
        found.append(("second place", f"cannot be written: {second}"))
    return Group(
        *(
            Text.assemble((f"{name}: ", "red"), said(error), overflow="fold")
            for name, error in found
        )
    )


def _facts(title: str, rows: list[tuple[str, str | Text]]) -> Panel:
    table = Table.grid(padding=(0, 1))
    for name, value in rows:
        # As text, not as markup: a tent's name or an error may hold brackets.
        text = Text(value) if isinstance(value, str) else value
        text.overflow = "fold"
        table.add_row(Text(name, style="dim"), text)
    return Panel(table, title=title, title_align="left")


def _people(status: dict[str, Any]) -> Panel:
    capacity = status.get("capacity")
    if capacity is None:
        return _facts("People", [("no door sensor", "")])
    return _facts(
        "People",
        [
            ("inside", Text(shown(capacity["people"]), style="bold")),
            ("free places", f"{shown(capacity['free'])} of {capacity['seats']}"),
            ("today", _today(capacity)),
            ("may be off by", shown(capacity["uncertainty"])),
            ("quality", quality_text(capacity["quality"])),
        ],
    )


def _today(capacity: dict[str, Any]) -> str:
    if capacity["entered_total"] is None:  # one beam
        return f"{shown(capacity['passed_today'])} passed the door"
    return f"{shown(capacity['entered_today'])} in, {shown(capacity['left_today'])} out"


def _power(status: dict[str, Any]) -> Panel:
    power = status["power"]
    rows: list[tuple[str, str | Text]] = [("source", Text(power["source"], style="bold"))]
    if (mains := power.get("mains")) is not None:
        rows.append(("mains", f"{shown(mains['present'])}, {shown(mains['hours_today'])} h today"))
    if (generator := power.get("generator")) is not None:
        rows.append(
            (
                "generator",
                f"{generator['state']}, "
                f"{shown(generator['current_a'], ' A')}, {shown(generator['hours_total'])} h in all",
            )
        )
    if (battery := power.get("battery")) is not None:
        left_min = battery["time_to_empty_min"]
        left = "" if left_min is None else f", {left_min / 60:.1f} h left"
        uncertainty_pct = battery["uncertainty_pct"]
        off = "" if uncertainty_pct is None else f" ± {uncertainty_pct:.0f}"
        rows.append(
            (
                "battery",
                f"{shown(battery['charge_pct'])}{off} %, {shown(battery['current_a'], ' A')}{left}",
            )
        )
    rows.append(("quality", quality_text(power["quality"])))
    rows.append(("alerts", Text(", ".join(status["alerts"]) or "none")))
    return _facts("Power", rows)


def _sensors(status: dict[str, Any]) -> Panel:
    table = Table.grid(padding=(0, 1))
    for sensor in status["sensors"]:
        age_s = sensor["age_s"]
        table.add_row(
            Text(sensor["name"], style="dim", overflow="fold"),
            quality_text(sensor["quality"]),
            Text("–" if age_s is None else f"{age_s:.0f} s", justify="right"),
            Text(_reads(sensor)),
        )
    return Panel(table, title="Sensors", title_align="left")


def _reads(sensor: dict[str, Any]) -> str:
    errors = f", {sensor['errors']} errors" if sensor["errors"] else ""
    return f"{sensor['reads']} reads{errors}"


def unit_panel(status: dict[str, Any]) -> Panel:
    """Return how the unit itself does."""
    unit, link = status["unit"], status["link"]
    low, slow = unit["undervoltage"], unit["throttled"]
    supply = Text(shown(low), style="bold red" if low else "")
    if unit["undervoltages"]:
        supply.append(f"; {unit['undervoltages']} since tentwatch started")
    return _facts(
        "Unit",
        [
            ("undervoltage", supply),
            ("processor", f"{shown(unit['cpu_c'], ' °C')}, slowed down: {shown(slow)}"),
            (
                "disk",
                f"{shown(unit['disk_free_mb'])} MB free; written {shown(unit['disk_written_mb'])} "
                f"MB since boot, {shown(unit['own_written_mb'])} by tentwatch",
            ),
            (
                "queues",
                f"{unit['inbox']} news (most {unit['inbox_most']}), {link['queued']} to send, "
                f"{link['in_flight']} unconfirmed",
            ),
            ("connections", f"{link['sessions']}; {link['failures']} failed or were lost"),
        ],
    )


def _link(status: dict[str, Any]) -> Panel:
    link, buffer = status["link"], status["buffer"]
    connected = Text("connected", style="green") if link["connected"] else Text("down", style="red")
    rows: list[tuple[str, str | Text]] = [
        ("broker", link["broker"]),
        ("link", connected),
        ("waiting", f"{buffer['rows']} records, {buffer['dropped']} dropped"),
    ]
    return _facts("Link", rows)


def messages_panel(sent: list[tuple[str, str]], lines_shown: int) -> Panel:
    """Return the last messages, the newest last, each on one line."""
    lines = Text(no_wrap=True, overflow="ellipsis")
    for topic, payload in sent:
        lines.append(f"{topic.rpartition('/')[2]:8}", style="cyan")
        lines.append(_gist(payload) + "\n")
    lines.rstrip()
    return Panel(lines, title="Last messages", title_align="left", height=lines_shown + 2)


def _gist(payload: str) -> str:
    """Return what matters in a message on one line."""
    message = json.loads(payload)
    at = str(message.get("ts") or "")[11:19]
    if "event" in message:
        detail = ", ".join(f"{k} {shown(v)}" for k, v in message["detail"].items())
        return f"{at} #{message['seq']} {message['event']} {detail}"
    if "power" in message:
        capacity = message.get("capacity", {})
        return (
            f"{at} #{message['seq']} people {shown(capacity.get('people'))}, "
            f"free {shown(capacity.get('free'))}, {message['power']['source']}, "
            f"battery {shown(message['power'].get('battery', {}).get('charge_pct'), ' %')}"
        )
    if "records" in message:
        return f"{len(message['records'])} records that had to wait"
    return payload
