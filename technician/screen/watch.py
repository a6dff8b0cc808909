"""`tentwatch watch`: the unit live in the terminal, asked once a second."""

import argparse
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.segment import Segment
from rich.text import Text

from publisher.control import ControlError
from technician import client
from technician.arguments import add_state_dir
from technician.screen import air, graph, screen
from technician.screen.live import Live, printed, takes_pages, this_display
from technician.terminal import DONE, FAILED, complain, say
from technician.words import _, counted, outline, translated
from technician.words.contract import FOR_PROGRAMS, detail_text, word
from technician.words.printable import all_printable

ASK_S = 1.0
#: Age from which an answer is shown as old.
OLD_S = 3.5
#: Least width in letters for two columns, and the width of a page that is printed to a file.
TWO_COLUMNS, PRINTED_COLUMNS = 70, 100
#: Points of a whole hour, one per minute.
HOUR_MIN = 60
#: Most lines of a page that is printed rather than fitted to a terminal.
NO_LIMIT = 10_000
Line = list[Segment]
Form = list[Line]


class _Row(NamedTuple):
    """A graph of the last hour, from `low` to `top`."""

    name: str
    scale: str
    values: Sequence[float | None]
    top: float
    low: float = 0.0


class Answers(NamedTuple):
    """The unit's last answers, and when it gave them (monotonic seconds); why it gives none now."""

    at_s: float
    status: dict[str, Any] | None
    recent: dict[str, Any] | None
    trouble: ControlError | None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_state_dir(parser)
    parser.add_argument("--once", action="store_true", help=_("print it once"))


def run(options: argparse.Namespace) -> int:
    """Show the running unit until q or Ctrl-C; once with `--once` and where there is no terminal."""
    display = this_display()
    if options.once or not takes_pages():
        seen = _ask(options.state_dir, None)
        if seen.status is None:
            complain(seen.trouble or "")
            return FAILED
        width = Console().width if sys.stdout.isatty() else PRINTED_COLUMNS
        for line in Page(width, NO_LIMIT, blocks=display.blocks).lines(seen, 0.0):
            say(printed(line, display))
        return DONE
    with Live(display) as live:
        asking = _Asking(options.state_dir, live.wake)
        asking.start()
        while not live.over:
            seen, now_s = asking.seen, time.monotonic()
            size = live.size()
            page = Page(size.columns, size.lines, blocks=display.blocks, keys=_("q ends"))
            live.show(page.lines(seen, now_s - seen.at_s))
            live.wait(2 * ASK_S)  # nearly always an answer ends it sooner
        asking.stop()
    return DONE


def _ask(state_dir: Path, before: Answers | None) -> Answers:
    try:
        status, recent = client.status(state_dir), client.last_hour(state_dir)
    except ControlError as trouble:
        if before is None:
            return Answers(time.monotonic(), None, None, trouble)
        return before._replace(trouble=trouble)
    return Answers(time.monotonic(), all_printable(status), all_printable(recent), None)


class _Asking(threading.Thread):
    """Asks the unit once a second, so that a slow answer does not delay the keys."""

    def __init__(self, state_dir: Path, on_seen: Callable[[], None]) -> None:
        super().__init__(name="asking", daemon=True)
        self._state_dir = state_dir
        self._on_seen = on_seen
        self._over = threading.Event()
        self.seen = Answers(time.monotonic(), None, None, None)

    def run(self) -> None:
        while not self._over.is_set():
            self.seen = _ask(self._state_dir, self.seen)
            self._on_seen()
            self._over.wait(ASK_S)

    def stop(self) -> None:
        self._over.set()


class Page:
    """A page of `width` columns and `height` lines at most.

    Each part has several forms, from one line to everything. All parts begin with the shortest form
    and grow while there is room, the most important first.
    """

    def __init__(self, width: int, height: int, *, blocks: bool, keys: str = "") -> None:
        self._width = width
        self._height = height
        self._blocks = blocks
        self._keys = keys
        self._is_wide = width >= TWO_COLUMNS
        self._console = Console(width=width, height=max(height, 1), color_system=None)

    def lines(self, seen: Answers, age_s: float) -> list[Line]:
        """Return the page for what was seen `age_s` ago."""
        status = seen.status
        banner = self._banner(seen, age_s)
        foot = [self._render(Text(self._keys, style="dim"))] if self._keys else []
        if status is None:
            return [*banner[-1], *(line for form in foot for line in form)][: self._height]
        older_s = 0.0
        if banner[-1]:
            status, older_s = _aged(status), age_s
        parts: dict[str, list[Form]] = {
            "banner": banner,
            "notice": self._notice(status),
            "head": [self._render(self._head(status))],
            "people": self._people_and_power(status) if self._is_wide else self._people(status),
            "power": [[]] if self._is_wide else self._power(status),
            "air": [self._air(status)],
            "alerts": self._alerts(status["alerts"]),
            "sensors": self._sensors(status, older_s),
            "link": [[]] if self._is_wide else self._link(status),
            "faults": self._faults(screen.fault_texts(status)),
            "events": self._events(seen.recent),
            "graphs": self._graphs(status, seen.recent),
            "foot": foot or [[]],
        }
        chosen = self._fit(parts)
        return [line for name, form in parts.items() for line in form[chosen[name]]][: self._height]

    def _fit(self, parts: dict[str, list[Form]]) -> dict[str, int]:
        """Choose each part's form."""
        chosen = dict.fromkeys(parts, 0)
        growth = (
            ("notice", 1), ("banner", 1), ("power", 9), ("people", 9), ("alerts", 9), ("faults", 1),
            ("sensors", 9), ("link", 9), ("graphs", 1), ("faults", 9), ("events", 3),
            ("graphs", 2), ("events", 5), ("graphs", 3), ("events", 12), ("graphs", 9),
            ("events", 99),
        )  # fmt: skip
        for name, most in growth:
            forms = parts[name]
            others = sum(len(parts[n][chosen[n]]) for n in parts if n != name)
            for number in range(min(most, len(forms) - 1), chosen[name], -1):
                if others + len(forms[number]) <= self._height:
                    chosen[name] = number
                    break
        return chosen

    def _render(self, shown: RenderableType, width: int | None = None) -> Form:
        """Return lines; if a width is given, all of that width."""
        options = self._console.options.update(width=width or self._width)
        return self._console.render_lines(shown, options, pad=width is not None)

    def _heading(self, text: str, width: int | None = None) -> Text:
        found = Text(text, style="bold", no_wrap=True, overflow="ellipsis")
        rest = (self._width if width is None else width) - found.cell_len - 1
        return found.append(" " + "─" * rest, style="not bold dim") if rest > 0 else found

    def _short(self, name: str, *texts: str | Text) -> Text:
        parts = [part for part in texts if part]
        joined = Text(", ").join(Text(p) if isinstance(p, str) else p for p in parts)
        return Text.assemble((f"{name}: ", "dim"), joined, overflow="fold")

    def _side_by_side(
        self, left: tuple[str, RenderableType], right: tuple[str, RenderableType]
    ) -> Form:
        gap = Segment("  ")
        width = self._width * 2 // 5 - gap.cell_length
        rest = self._width - width - gap.cell_length
        first = self._render(Group(self._heading(left[0], width), left[1]), width)
        second = self._render(Group(self._heading(right[0], rest), right[1]), rest)
        blank = [Segment(" " * width)]
        return [[*(one or blank), gap, *(other or [])] for one, other in zip_longest(first, second)]

    def _block(self, title: str, shown: RenderableType) -> Form:
        return self._render(Group(self._heading(title), shown))

    def _banner(self, seen: Answers, age_s: float) -> list[Form]:
        """Return the warning that the unit does not answer, or that the values are old."""
        why = translated(seen.trouble) if seen.trouble else _("tentwatch has not answered yet")
        if seen.status is None:
            text = _("asking the unit …") if seen.trouble is None and age_s <= OLD_S else why
            return [self._render(Text(text, style="bold reverse", overflow="fold"))]
        if seen.trouble is None and age_s <= OLD_S:
            return [[]]
        old = _("OLD: these values are {age} old").format(age=_age(age_s))
        return [
            self._render(Text(text, style="bold reverse", overflow="fold"))
            for text in (old, f"{old}. {why}")
        ]

    def _notice(self, status: dict[str, Any]) -> list[Form]:
        """Return the notice of cold or carbon monoxide: its headline, or what to do as well."""
        notice = air.notice(status)
        if notice is None:
            return [[]]
        return [self._render(notice.banner(short=short)) for short in (True, False)]

    def _head(self, status: dict[str, Any]) -> Text:
        time_text = screen.head_text(status)
        head = Text(status["id"], style="bold", overflow="fold")
        room = self._width - head.cell_len - len(time_text) - 6
        if status["name"] and room >= 8:
            name = Text(status["name"])
            name.truncate(room, overflow="ellipsis")
            head.append(" · ").append_text(name)
        return head.append(f" · {time_text}", style="not bold")

    # The parts, each from its shortest form to its longest

    def _people_and_power(self, status: dict[str, Any]) -> list[Form]:
        short = [*self._people_short(status), *self._power_short(status)]
        people, power = screen.people_rows(status), screen.power_rows(status)
        long = self._side_by_side(
            (_("People"), screen.facts(people)), (_("Power"), screen.facts(power))
        )
        return [short, long]

    def _people(self, status: dict[str, Any]) -> list[Form]:
        long = self._block(_("People"), screen.facts(screen.people_rows(status)))
        return [self._people_short(status), long]

    def _people_short(self, status: dict[str, Any]) -> Form:
        capacity = status.get("capacity")
        if capacity is None:
            return self._render(self._short(_("People"), _("no door sensor")))
        people = _("{people} inside").format(people=screen.shown(capacity["people"]))
        short = self._short(
            _("People"),
            Text(people, style="bold"),
            _("{free} of {seats} places free").format(
                free=screen.shown(capacity["free"]), seats=capacity["seats"]
            ),
            "" if capacity["quality"] == "ok" else screen.quality_text(capacity["quality"]),
        )
        return self._render(short)

    def _power(self, status: dict[str, Any]) -> list[Form]:
        long = self._block(_("Power"), screen.facts(screen.power_rows(status)))
        return [self._power_short(status), long]

    def _power_short(self, status: dict[str, Any]) -> Form:
        power = status["power"]
        battery = power.get("battery")
        short = self._short(
            _("Power"),
            Text(word(power["source"]), style="bold"),
            "" if battery is None else f"{_('battery')} {screen.charge(battery)}",
            "" if battery is None else screen.time_left(battery),
            "" if power["quality"] == "ok" else screen.quality_text(power["quality"]),
        )
        return self._render(short)

    def _air(self, status: dict[str, Any]) -> Form:
        text = air.air_text(status)
        return [] if text is None else self._render(self._short(_("Air"), text))

    def _alerts(self, alerts: Sequence[str]) -> list[Form]:
        """Return one line with as many as fit and how many more there are, or all of them."""
        if not alerts:
            return [self._render(self._short(_("Alerts"), _("none")))]
        # The unit's own alerts come after the tent's.
        names = [word(a) for a in sorted(alerts, key=lambda a: (a.startswith("unit_"), a))]
        for number in range(len(names), 0, -1):
            first = [Text(name, style="bold red") for name in names[:number]]
            more = len(names) - number
            rest = [counted("{n} more", "{n} more", more)] if more else []
            short = self._render(self._short(_("Alerts"), *first, *rest))
            if len(short) == 1 or number == 1:
                break
        whole = self._short(_("Alerts"), *(Text(name, style="bold red") for name in names))
        return [short, self._render(whole)]

    def _sensors(self, status: dict[str, Any], older_s: float) -> list[Form]:
        sensors = status["sensors"]
        well = sum(sensor["quality"] == "ok" for sensor in sensors)
        bad = [
            Text.assemble(f"{s['name']} ", screen.quality_text(s["quality"]))
            for s in sensors
            if s["quality"] != "ok"
        ]
        fine = counted("{n} ok", "{n} ok", well)
        short = self._render(self._short(_("Sensors"), *bad, *([fine] if well else [])))
        table = screen.sensor_table(status, reads=False, older_s=older_s)
        if not self._is_wide:
            return [short, self._block(_("Sensors"), table)]
        link = screen.facts(self._link_rows(status))
        long = self._side_by_side((_("Sensors"), table), (_("Link"), link))
        return [[*short, *self._link_short(status)], long]

    def _link_rows(self, status: dict[str, Any]) -> screen.Rows:
        rows = screen.link_rows(status)
        if status["buffer"]["rows"]:
            rows.append((_("the oldest"), _age(status["buffer"]["oldest_s"])))
        return rows

    def _link(self, status: dict[str, Any]) -> list[Form]:
        long = self._block(_("Link"), screen.facts(self._link_rows(status)))
        return [self._link_short(status), long]

    def _link_short(self, status: dict[str, Any]) -> Form:
        buffer = status["buffer"]
        short = self._short(
            _("Link"),
            screen.link_text(status),
            counted("{n} record waiting", "{n} records waiting", buffer["rows"]),
            _("{n} dropped").format(n=buffer["dropped"]) if buffer["dropped"] else "",
        )
        return self._render(short)

    def _faults(self, texts: list[Text]) -> list[Form]:
        """Return how many there are, the first line of each, or all in full."""
        if not texts:
            return [[]]
        more = counted(
            "{n} fault: tentwatch status shows it", "{n} faults: tentwatch status shows them",
            len(texts),
        )  # fmt: skip
        whole = [self._render(text) for text in texts]
        beginnings: Form = []
        for text in texts:
            first = text.copy()
            first.truncate(self._width, overflow="ellipsis")
            beginnings += self._render(first)
        beginnings += self._render(Text(_("tentwatch status shows them in full"), style="dim"))
        return [
            self._render(Text(more, style="bold red", overflow="fold")),
            beginnings,
            [line for lines in whole for line in lines],
        ]

    def _events(self, recent: dict[str, Any] | None) -> list[Form]:
        """Return the newest alone, then a heading and one event more in each form."""
        if recent is None:
            return [[]]
        events = list(reversed(recent["events"]))[: self._height]
        if not events:
            return [self._render(self._short(_("Events"), _("none yet")))]
        lines = [self._render(self._event(event))[:1] for event in events]
        heading = self._render(self._heading(_("Last events")))
        forms = [lines[0]]
        for number in range(1, len(lines) + 1):
            forms.append([*heading, *(line for form in lines[:number] for line in form)])
        return forms

    def _event(self, event: dict[str, Any]) -> Text:
        detail = event["detail"]
        if "code" in detail:
            detail = {**detail, "error": outline(detail["code"], detail["error"])}
        at = str(event["ts"])[11:19] if event["ts"] else _up(event["uptime_s"])
        details = [
            detail_text(key, screen.shown(value))
            for key, value in detail.items()
            if key not in FOR_PROGRAMS and value is not None and not isinstance(value, (dict, list))
        ]
        text = Text.assemble((f"{at} ", "dim"), (word(event["event"]), "bold"), no_wrap=True)
        text.append(f": {', '.join(details)}" if details else "")
        text.truncate(self._width, overflow="ellipsis")
        return text

    def _graphs(self, status: dict[str, Any], recent: dict[str, Any] | None) -> list[Form]:
        """Return none, the most important in one line, or all with 1, 2 or 3 lines each."""
        if recent is None:
            return [[]]
        points, power = recent["points"], status["power"]
        rows: list[_Row] = []
        capacity = status.get("capacity")
        if capacity is not None and capacity["entered_total"] is not None:
            top = max([capacity["seats"], *_known(points["people"])])
            rows.append(_Row(_("people"), f"0–{top:.0f}", points["people"], top))
        if "co" in status and "co_ppm" in points:
            top = max([50.0, *_known(points["co_ppm"])])
            rows.append(_Row("CO", f"0–{top:.0f} ppm", points["co_ppm"], top))
        if "climate" in status and _known(points.get("inside_c", ())):
            inside_c = _known(points["inside_c"])
            low, top = min(0.0, *inside_c), max(25.0, *inside_c)
            scale = f"{low:.0f}–{top:.0f} °C".replace("-", "−")
            rows.append(_Row(_("inside"), scale, points["inside_c"], top, low))
        if "generator" in power:
            watts, amperes = _known(points["generator_w"]), _known(points["generator_a"])
            top = max([1.0, *(watts or amperes)])
            scale = (
                f"0–{top / 1000:.1f} kW" if watts and top >= 1000
                else f"0–{top:.0f} W" if watts
                else f"0–{top:.0f} A"
            )  # fmt: skip
            values = points["generator_w"] if watts else points["generator_a"]
            rows.append(_Row(_("generator"), scale, values, top))
        if "battery" in power:
            rows.append(_Row(_("battery"), "0–100 %", points["battery_pct"], 100.0))
        names = [_("source"), *(row.name for row in rows)]
        label = max(Text(name).cell_len for name in names) + 1
        tail = max((len(row.scale) for row in rows), default=0) + 1
        room = self._width - label - tail
        if room < 8:
            return [[]]
        letters = {
            "mains": _("M mains"), "generator": _("G generator"), "battery": _("B battery"),
            "none": _("0 none"),
        }  # fmt: skip
        sources = "".join(letters.get(s, " ")[0] for s in points["source"][-room:])
        legend = ", ".join(letters[s] for s in letters if s in points["source"])
        title = _hour_title(recent) + (f"  {legend}" if legend else "")
        columns = min(60, room)

        def drawing(row: _Row, lines: int) -> list[Text]:
            values = row.values[-room:]
            drawn = graph.bars(values, row.low, row.top, lines=lines, blocks=self._blocks)
            names, scales = [""] * (lines - 1) + [row.name], [""] * (lines - 1) + [row.scale]
            return [
                Text.assemble((name.ljust(label), "dim"), line.rjust(columns), (f" {scale}", "dim"))
                for name, line, scale in zip(names, drawn, scales, strict=True)
            ]

        source = Text.assemble((names[0].ljust(label), "dim"), sources.rjust(columns))
        most = drawing(rows[0], 1) if rows else [source]
        forms: list[Form] = [[], self._render(Group(*most))]
        for lines in (1, 2, 3):
            if lines * len(rows) > self._height:
                break
            drawn = [text for row in rows for text in drawing(row, lines)]
            forms.append(self._render(Group(self._heading(title), source, *drawn)))
        return forms


def _hour_title(recent: dict[str, Any]) -> str:
    minutes = len(recent["points"]["source"])
    if minutes >= HOUR_MIN:
        return _("Last hour")
    if recent["since"]:
        return _("Last hour (since {time})").format(time=str(recent["since"])[11:16])
    return _("Last hour ({age} so far)").format(age=_age(60 * minutes))


def _aged(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status as an old one: no value counts as good any more."""
    power, old = status["power"], {"quality": "stale"}
    aged = {
        **status,
        "power": {**power, **old},
        "sensors": [{**sensor, **old} for sensor in status["sensors"]],
        "link": {**status["link"], "connected": None},
    }
    for block in ("capacity", "climate", "co"):
        if block in status:
            aged[block] = {**status[block], **old}
    return aged


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _age(seconds: float) -> str:
    """Return a duration in words."""
    if seconds < 120:
        return _("{n} s").format(n=f"{seconds:.0f}")
    if seconds < 7200:
        return _("{n} min").format(n=f"{seconds / 60:.0f}")
    return _("{n} h").format(n=f"{seconds / 3600:.0f}")


def _up(uptime_s: float) -> str:
    """Return an uptime in words, for when the time of day is not known."""
    return _("up {age}").format(age=_age(uptime_s))
