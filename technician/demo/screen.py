"""The demonstration's page: the tent as the agent reports it, and the messages that it has sent."""

import os
import sys
from collections import deque
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.segment import Segment
from rich.text import Text

from sensors.json_in import parsed
from technician.demo.options import Options
from technician.screen.air import air_text
from technician.screen.air import notice as air_notice
from technician.screen.screen import (
    clock_text,
    faults,
    people_and_power,
    sensors_and_link,
    shown,
)
from technician.words import _, counted
from technician.words.contract import FOR_PROGRAMS, detail_text, word
from technician.words.printable import all_printable

#: Most messages on the page; there are fewer where the rest leaves less room.
MOST_MESSAGES = 12


class Screen:
    """Makes pages of the agent's status and of the messages that it has sent."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._messages: deque[tuple[str, str]] = deque(maxlen=MOST_MESSAGES)

    def sent(self, topic: str, payload: str) -> None:
        """Add a message that the broker has confirmed."""
        self._messages.append((topic, payload))

    def page(self, status: dict[str, Any], size: os.terminal_size) -> list[list[Segment]]:
        """Return the lines for a status, with as many messages below it as there is room for."""
        console = Console(width=size.columns, height=size.lines, color_system=None)
        status = all_printable(status)
        speed = ""
        if self._options.speed != 1:
            text = _("{n} times real time")
            speed = ", " + text.format(n=f"{self._options.speed:g}")
        host, port = self._options.broker["host"], self._options.broker["port"]
        head = Text(
            f"{status['name']} ({status['id']}) · {clock_text(status)}{speed}", style="bold"
        )
        subscribe = f"mosquitto_sub -h {host} -p {port} -t '{status['topics']}' -v"
        ask = f"{sys.argv[0]} status --state-dir {self._options.state_dir}"
        where = Text(
            "\n".join(
                (
                    _("Subscribe:  {command}").format(command=subscribe),
                    _("Ask it:     {command}").format(command=ask),
                    _("Ctrl-C ends the demonstration."),
                )
            ),
            style="dim",
        )
        notice, air = air_notice(status), air_text(status)
        top: list[RenderableType] = [
            *([notice.banner(short=True)] if notice else []),
            head,
            people_and_power(status),
            *([air] if air else []),
        ]
        wrong = faults(status)
        above = Group(*top, sensors_and_link(status), wrong)
        page = console.render_lines(Group(above, where), pad=False)
        if len(page) > size.lines:  # on a low terminal without the sensors that are well
            above = Group(*top, wrong)
            page = console.render_lines(Group(above, where), pad=False)
        room = min(MOST_MESSAGES, size.lines - len(page) - 2)
        if room < 1:
            return page
        messages = _messages_panel(list(self._messages)[-room:], room)
        return console.render_lines(Group(above, messages, where), pad=False)


def _messages_panel(sent: list[tuple[str, str]], lines_shown: int) -> Panel:
    """Return the last messages, the newest last, each on one line."""
    lines = Text(no_wrap=True, overflow="ellipsis")
    for topic, payload in sent:
        lines.append(f"{topic.rpartition('/')[2]:8}", style="cyan")
        lines.append(_gist(payload) + "\n")
    lines.rstrip()
    return Panel(lines, title=_("Last messages"), title_align="left", height=lines_shown + 2)


def _gist(payload: str) -> str:
    """Return the gist of a message on one line."""
    message = parsed(payload)
    at = str(message.get("ts") or "")[11:19]
    if "event" in message:
        details = message["detail"].items()
        texts = [detail_text(key, shown(v)) for key, v in details if key not in FOR_PROGRAMS]
        name = word(message["event"])
        return f"{at} #{message['seq']} {name}" + (f": {', '.join(texts)}" if texts else "")
    if "power" in message:
        capacity = message.get("capacity", {})
        gist = _("people {people}, free {free}, {source}, battery {charge}").format(
            people=shown(capacity.get("people")),
            free=shown(capacity.get("free")),
            source=word(message["power"]["source"]),
            charge=shown(message["power"].get("battery", {}).get("charge_pct"), " %"),
        )
        return f"{at} #{message['seq']} {gist}"
    if "records" in message:
        number = len(message["records"])
        return counted("{n} record that had to wait", "{n} records that had to wait", number)
    return payload
