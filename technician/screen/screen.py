"""What `tentwatch status` shows: the tables of people, power, sensors and link."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from publisher.config.co import ALARM
from technician.screen.air import air_text
from technician.screen.air import notice as air_notice
from technician.words import _, counted, in_words
from technician.words.contract import word
from technician.words.printable import all_printable

_COLOURS = {
    "ok": "green",
    "estimated": "yellow",
    "starting": "cyan",
    "stale": "red",
    "fault": "red",
}
Rows = list[tuple[str, str | Text]]


def status_screen(found: Mapping[str, Any], *, is_brief: bool = False) -> Group:
    """Return what `tentwatch status` shows: the most important comes last, next to the prompt.

    A brief one leaves out the unit's own state. Where carbon monoxide is at the level of alarm, what must
    be done comes first, with little else.
    """
    status = all_printable(found)
    name = f"{status['name']} ({status['id']})" if status["name"] else status["id"]
    parts: list[RenderableType] = [Text(f"{name} · {head_text(status)}")]
    notice, air = air_notice(status), air_text(status)
    if notice is not None:
        parts.insert(0, notice.banner())
    if ALARM not in status["alerts"]:
        parts += [sensors_and_link(status)] if is_brief else [
            unit_panel(status), sensors_and_link(status),
        ]  # fmt: skip
    parts.append(faults(status))
    if air is not None:
        parts.append(air)
    parts.append(people_and_power(status))
    return Group(*parts)


def head_text(status: dict[str, Any]) -> str:
    """Return the unit's time, and whether the tent is open where somebody has said so."""
    is_open = status.get("open")
    if is_open is None:
        return clock_text(status)
    told = _("open") if is_open else _("closed")
    return f"{clock_text(status)} · {told}"


def clock_text(status: dict[str, Any]) -> str:
    """Return the unit's time for people."""
    if status["ts"] is None:
        return _("time not known")
    text = str(status["ts"])[:19].replace("T", " ") + " UTC"
    return text if status["clock"] == "synced" else _("{time} (not checked)").format(time=text)


def shown(value: object, unit: str = "") -> str:
    """Return a value for people; an unknown one is a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, float):
        return f"{value:.1f}{unit}"
    return f"{value}{unit}"


def quality_text(quality: str) -> Text:
    """Return a quality in its colour."""
    return Text(word(quality), style=_COLOURS.get(quality, ""))


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
    """Return what is wrong, one paragraph per fault over the full width, folded and never cut."""
    return Group(*fault_texts(status))


def fault_texts(status: dict[str, Any]) -> list[Text]:
    """Return what is wrong, one text per fault."""
    found = [
        (s["name"], in_words(s.get("trouble"), s["error"])) for s in status["sensors"] if s["error"]
    ]
    if error := status["link"]["error"]:
        found.append((_("link"), in_words(status["link"].get("trouble"), error)))
    for name, text in (("lamp", _("lamp")), ("buzzer", _("buzzer"))):
        if trouble := status.get(f"{name}_trouble"):
            found.append((text, in_words(trouble, trouble["code"])))
    store = status["store"]
    if error := store["error"]:
        found.append((_("store"), in_words(store.get("trouble"), error)))
    if error := store["second_place"]:
        found.append((_("second place"), in_words(store.get("second_place_trouble"), error)))
    return [Text.assemble((f"{name}: ", "red"), error, overflow="fold") for name, error in found]


def facts(rows: Rows) -> Table:
    """Return names and values in two columns."""
    table = Table.grid(padding=(0, 1))
    for name, value in rows:
        # As text, not as markup: a tent's name or an error may hold brackets.
        text = Text(value) if isinstance(value, str) else value
        text.overflow = "fold"
        table.add_row(Text(name, style="dim"), text)
    return table


def _facts(title: str, rows: Rows) -> Panel:
    return Panel(facts(rows), title=title, title_align="left")


def _people(status: dict[str, Any]) -> Panel:
    return _facts(_("People"), people_rows(status))


def people_rows(status: dict[str, Any]) -> Rows:
    """Return what is known about the people, by name and value."""
    capacity = status.get("capacity")
    if capacity is None:
        return [(_("no door sensor"), "")]
    free = _("{free} of {seats}").format(free=shown(capacity["free"]), seats=capacity["seats"])
    return [
        (_("inside"), Text(shown(capacity["people"]), style="bold")),
        (_("free places"), free),
        (_("today"), _today(capacity)),
        (_("may be off by"), shown(capacity["uncertainty"])),
        (_("quality"), quality_text(capacity["quality"])),
    ]


def _today(capacity: dict[str, Any]) -> str:
    if capacity["entered_total"] is None:  # one beam
        return _("{passed} passed the door").format(passed=shown(capacity["passed_today"]))
    entered, left = shown(capacity["entered_today"]), shown(capacity["left_today"])
    return _("{entered} in, {left} out").format(entered=entered, left=left)


def _power(status: dict[str, Any]) -> Panel:
    alerts = ", ".join(map(word, status["alerts"])) or _("none")
    return _facts(_("Power"), [*power_rows(status), (_("alerts"), Text(alerts))])


def power_rows(status: dict[str, Any]) -> Rows:
    """Return what is known about the power, by name and value."""
    power = status["power"]
    rows: Rows = [(_("source"), Text(word(power["source"]) + _left(power), style="bold"))]
    if (mains := power.get("mains")) is not None:
        text = _("{present}, {hours} h today").format(
            present=shown(mains["present"]), hours=shown(mains["hours_today"])
        )
        rows.append((_("mains"), text))
    if (generator := power.get("generator")) is not None:
        rows.append((_("generator"), _generator(generator)))
    if (battery := power.get("battery")) is not None:
        rows.append((_("battery"), f"{charge(battery)}, {shown(battery['current_a'], ' A')}"))
        if left := time_left(battery):
            rows[-1] = (_("battery"), f"{rows[-1][1]}, {left}")
    rows.append((_("quality"), quality_text(power["quality"])))
    return rows


def _left(power: dict[str, Any]) -> str:
    """Return in how many hours it will be dark, behind a comma; empty where that is not known."""
    likely_min, low_min = power.get("dark_in_min"), power.get("dark_in_min_low")
    if likely_min is None or low_min is None:
        return ""
    text = _("{hours} h left, {low} at least")
    return ", " + text.format(hours=f"{likely_min / 60:.1f}", low=f"{low_min / 60:.1f}")


def _generator(generator: dict[str, Any]) -> str:
    """Return the generator's state, and its fuel; its hours where nobody has told of fuel."""
    state, current = word(generator["state"]), shown(generator["current_a"], " A")
    if (fuel_l := generator.get("fuel_l")) is not None:
        text = _("{state}, {current}, {litres} l")
        return text.format(state=state, current=current, litres=f"{fuel_l:.1f}")
    text = _("{state}, {current}, {hours} h in all")
    return text.format(state=state, current=current, hours=shown(generator["hours_total"]))


def charge(battery: dict[str, Any]) -> str:
    """Return a battery's charge with its uncertainty."""
    uncertainty_pct = battery["uncertainty_pct"]
    off = "" if uncertainty_pct is None else f" ± {uncertainty_pct:.0f}"
    return f"{shown(battery['charge_pct'])}{off} %"


def time_left(battery: dict[str, Any]) -> str:
    """Return how long a battery lasts; empty if that is not known."""
    left_min = battery["time_to_empty_min"]
    return "" if left_min is None else _("{hours} h left").format(hours=f"{left_min / 60:.1f}")


def _sensors(status: dict[str, Any]) -> Panel:
    return Panel(sensor_table(status, reads=True), title=_("Sensors"), title_align="left")


def sensor_table(status: dict[str, Any], *, reads: bool, older_s: float = 0.0) -> Table:
    """Return each sensor's quality and age, and with `reads` how often it was read.

    `older_s` is the age of the status itself.
    """
    table = Table.grid(padding=(0, 1))
    for sensor in status["sensors"]:
        age_s = sensor["age_s"]
        errors = counted("{n} error", "{n} errors", sensor["errors"]) if sensor["errors"] else ""
        counts = [counted("{n} read", "{n} reads", sensor["reads"])] if reads else []
        table.add_row(
            Text(sensor["name"], style="dim", overflow="fold"),
            quality_text(sensor["quality"]),
            Text("–" if age_s is None else f"{age_s + older_s:.0f} s", justify="right"),
            Text(", ".join([*counts, *([errors] if errors else [])])),
        )
    return table


def unit_panel(status: dict[str, Any]) -> Panel:
    """Return the state of the unit itself."""
    unit, link = status["unit"], status["link"]
    low, slow = unit["undervoltage"], unit["throttled"]
    supply = Text(shown(low), style="bold red" if low else "")
    if times := unit["undervoltages"]:
        text = counted("{n} since tentwatch started", "{n} since tentwatch started", times)
        supply.append(f"; {text}")
    return _facts(
        _("Unit"),
        [
            (_("undervoltage"), supply),
            (
                _("processor"),
                _("{heat}, slowed down: {slow}").format(
                    heat=shown(unit["cpu_c"], " °C"), slow=shown(slow)
                ),
            ),
            (
                _("disk"),
                _(
                    "{free} MB free; written {written} MB since boot, {own_written} by tentwatch"
                ).format(
                    free=shown(unit["disk_free_mb"]),
                    written=shown(unit["disk_written_mb"]),
                    own_written=shown(unit["own_written_mb"]),
                ),
            ),
            (
                _("queues"),
                _(
                    "{inbox} to handle (most {most}), {queued} to send, {in_flight} unconfirmed"
                ).format(
                    inbox=unit["inbox"],
                    most=unit["inbox_most"],
                    queued=link["queued"],
                    in_flight=link["in_flight"],
                ),
            ),
            (
                _("connections"),
                _("{sessions}; {failures} failed or were lost").format(
                    sessions=link["sessions"], failures=link["failures"]
                ),
            ),
        ],
    )


def _link(status: dict[str, Any]) -> Panel:
    return _facts(_("Link"), link_rows(status))


def link_rows(status: dict[str, Any]) -> Rows:
    """Return the link's state and what waits for it, by name and value."""
    return [
        (_("broker"), status["link"]["broker"]),
        (_("link"), link_text(status)),
        (_("waiting"), waiting(status)),
    ]


def link_text(status: dict[str, Any]) -> Text:
    """Return whether the link is up."""
    if status["link"]["connected"]:
        return Text(_("connected"), style="green")
    if status["link"]["connected"] is None:
        return Text(shown(None))
    return Text(_("down"), style="red")


def waiting(status: dict[str, Any]) -> str:
    """Return how many records wait for the link."""
    buffer = status["buffer"]
    rows = counted("{n} record", "{n} records", buffer["rows"])
    return _("{records}, {dropped} dropped").format(records=rows, dropped=buffer["dropped"])
