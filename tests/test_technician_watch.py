"""`tentwatch watch` in real pseudo-terminals, and its page for tents of all kinds."""

import contextlib
import os
import re
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from publisher.control import DEAF, ControlError
from technician.screen.live import cells, update
from technician.screen.watch import NO_LIMIT, Answers, Line, Page
from technician.words.contract import word
from tests.conftest import Broker, Unit, wait_for
from tests.terminals import PROGRAM, Terminal

ERROR = ("GPIO 17 cannot be used: check its number, that nothing else uses it, and " * 3)[:200]
SILENT = ControlError(DEAF, path="/var/lib/tentwatch/control.sock", error=ERROR)
LONG_NAME = "Пункт незламності, спортивний центр імені Олександра Довженка, другий поверх" * 2
ALERTS = [
    "battery_alarm", "battery_low", "door_obstructed", "generator_frequency",
    "generator_frequency_warning", "generator_fuel_suspected", "generator_overload", "generator_overspeed",
    "generator_service_due", "store_failed", "unit_disk_low", "unit_overheating",
    "unit_undervoltage",
]  # fmt: skip
SIZES = [(80, 24), (40, 10), (200, 60), (79, 23), (69, 24), (24, 8), (12, 3), (1, 1), (100, 12)]
BLOCKS = {
    (80, 24): ("People", "Power", "Alerts", "Sensors", "Link", "vents", "Last hour", "q ends"),
    (40, 10): (
        "People:",
        "Power:",
        "Alerts:",
        "Sensors:",
        "Link:",
        "counts reset",
        "people",
        "q ends",
    ),
    (200, 60): ("People", "Power", "Alerts", "Sensors", "Link", "vents", "Last hour", "q ends"),
}


# In a terminal


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    """A healthy unit on mains, shared by all tests that do not change it."""
    broker = Broker(tmp_path_factory.mktemp("broker")).start()
    unit = Unit(tmp_path_factory.mktemp("unit"), broker.port).start()
    wait_for(lambda: is_well(unit), "a unit that is well")
    yield unit
    unit.close()
    broker.stop()


def is_well(unit: Unit) -> bool:
    found = unit.status()
    return found["link"]["connected"] and all(s["quality"] == "ok" for s in found["sensors"])


@pytest.fixture
def watch() -> Iterator[Callable[..., Terminal]]:
    """Watches a unit in a terminal of a size."""
    opened: list[Terminal] = []

    def start(unit: Unit, columns: int = 80, lines: int = 24, **environment: str) -> Terminal:
        arguments = "watch", "--state-dir", str(unit.state_dir)
        opened.append(Terminal(columns, lines, *arguments, **environment))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def once(unit: Unit, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [PROGRAM, "watch", "--once", "--state-dir", str(unit.state_dir)],
        capture_output=True, check=False,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environment},
    )  # fmt: skip


@pytest.mark.parametrize(("columns", "lines"), BLOCKS)
def test_all_blocks_are_on_terminals_of_all_sizes(
    running: Unit, watch: Callable[..., Terminal], columns: int, lines: int
) -> None:
    terminal = watch(running, columns, lines)
    for block in BLOCKS[columns, lines]:
        terminal.wait_for(block)
    assert terminal.lines()[0].startswith("demo · ")
    terminal.type("q")
    assert terminal.wait() == 0
    assert terminal.is_in_order()


def test_it_follows_the_unit_and_sends_only_what_has_changed(
    running: Unit, watch: Callable[..., Terminal]
) -> None:
    terminal = watch(running)
    terminal.wait_for(r"source +mains")
    terminal.wait_for(r"door +ok")
    first = len(terminal.raw)
    at_s = terminal.lines()[0][-12:]
    wait_for(lambda: terminal.lines()[0][-12:] != at_s, "the next second")
    assert len(terminal.raw) - first < first / 2, "no page as a whole"
    running.hardware.set_mains(False)
    terminal.wait_for(r"source +battery")
    terminal.wait_for(r"mains lost: source battery")
    running.hardware.set_mains(True)
    terminal.wait_for(r"mains restored")
    assert terminal.screen.display[0].startswith("demo")


def test_a_unit_that_goes_away_makes_the_page_an_old_one_until_it_is_back(
    unit: Unit, watch: Callable[..., Terminal]
) -> None:
    unit.start()
    terminal = watch(unit)
    terminal.wait_for(r"door +ok")
    unit.stop()
    terminal.wait_for(r"OLD: these values are \d+ s old\.")
    terminal.wait_for(r"not\s+running")
    terminal.wait_for(r"door +stale")  # nothing of it is well any more
    terminal.wait_for(r"link +–")
    unit.start()
    terminal.wait_for(r"door +ok")
    assert "OLD" not in terminal.text()
    terminal.type("\x03")
    assert terminal.wait() == 0
    assert terminal.is_in_order()


def test_it_waits_for_a_unit_that_does_not_run_yet(
    unit: Unit, watch: Callable[..., Terminal]
) -> None:
    terminal = watch(unit)
    terminal.wait_for(r"does\s+not\s+exist")
    assert "People" not in terminal.text()
    unit.start()
    terminal.wait_for("People")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_however_it_is_ended_the_terminal_is_in_order(
    running: Unit, watch: Callable[..., Terminal], number: signal.Signals
) -> None:
    terminal = watch(running)
    terminal.wait_for("People")
    terminal.process.send_signal(number)
    assert terminal.wait() == 0
    assert terminal.is_in_order()


def test_one_that_is_killed_leaves_its_page_all_the_same(
    running: Unit, watch: Callable[..., Terminal]
) -> None:
    terminal = watch(running)
    terminal.wait_for("People")
    terminal.process.kill()
    assert terminal.wait() == -signal.SIGKILL
    termios.tcsetattr(terminal.line, termios.TCSANOW, terminal.settings)  # as every shell does
    assert terminal.is_in_order()


def test_it_lets_go_of_the_terminal_while_it_is_stopped(
    running: Unit, watch: Callable[..., Terminal]
) -> None:
    terminal = watch(running)
    terminal.wait_for("People")
    terminal.process.send_signal(signal.SIGTSTP)
    assert terminal.is_in_order()
    with terminal._lock:
        terminal.screen.reset()
    terminal.process.send_signal(signal.SIGCONT)
    terminal.wait_for("People")
    terminal.type("q")
    assert terminal.wait() == 0
    assert terminal.is_in_order()


def test_a_terminal_that_is_closed_ends_it(running: Unit, watch: Callable[..., Terminal]) -> None:
    terminal = watch(running)
    terminal.wait_for("People")
    terminal.hang_up()
    assert terminal.wait() == 0


@pytest.mark.parametrize("how", ["q", "SIGTERM"])
def test_a_terminal_that_takes_nothing_does_not_keep_it(
    running: Unit, watch: Callable[..., Terminal], how: str
) -> None:
    terminal = watch(running)
    terminal.wait_for("People")
    terminal.type("\x13")  # Ctrl-S
    running.hardware.set_mains(False)
    wait_for(lambda: running.status()["power"]["source"] == "battery", "something to show")
    if how == "q":
        terminal.type("q")
    else:
        terminal.process.terminate()
    assert terminal.wait() == 0
    terminal.type("\x11")
    assert termios.tcgetattr(terminal.line) == terminal.settings
    running.hardware.set_mains(True)
    wait_for(lambda: running.status()["power"]["source"] == "mains", "mains")


def test_a_terminal_may_change_its_size(running: Unit, watch: Callable[..., Terminal]) -> None:
    terminal = watch(running)
    terminal.wait_for("Last hour")
    for columns, lines in ((5, 2), (1, 1), (0, 0), (40, 10)):
        terminal.resize(max(columns, 1), max(lines, 1))
        if columns == 0:
            terminal._set_size(0, 0)
    terminal.wait_for("People: ")
    terminal.resize(80, 24)
    terminal.wait_for("Last hour")
    terminal.wait_for("q ends")


def test_without_colours_it_says_the_same(running: Unit, watch: Callable[..., Terminal]) -> None:
    coloured, plain = watch(running), watch(running, NO_COLOR="1")
    for terminal in (coloured, plain):
        terminal.wait_for("Last hour")
        terminal.wait_for(r"door +ok")
    colours = re.compile(rb"\x1b\[(?:\d+;)*[349][0-7]m")
    assert colours.search(coloured.raw)
    assert not colours.search(plain.raw)


def test_a_terminal_with_ascii_only_gets_no_other_letters(
    running: Unit, watch: Callable[..., Terminal]
) -> None:
    terminal = watch(running, LANG="C")
    terminal.wait_for("Last hour")
    terminal.wait_for(r"Power -----")
    assert terminal.raw.isascii()
    assert not set(terminal.text()) & set("?�")


def test_a_language_that_this_system_lacks_is_shown_in_its_letters(
    running: Unit, watch: Callable[..., Terminal]
) -> None:
    """SSH brings the technician's own LANG; few Pis have that locale."""
    terminal = watch(running, LANG="uk_UA.UTF-8")
    terminal.wait_for("Датчики")


def test_a_dumb_terminal_and_a_pipe_get_it_once(running: Unit) -> None:
    # Not its session's own: the end of a session throws away what its terminal has not read yet.
    keyboard, line = os.openpty()
    command = [str(PROGRAM), "watch", "--state-dir", str(running.state_dir)]
    dumb = subprocess.Popen(
        command, stdout=line, env={"PATH": os.environ["PATH"], "TERM": "dumb", "LANG": "C.UTF-8"}
    )
    os.close(line)
    raw = b""
    with contextlib.suppress(OSError):  # of a terminal at whose other end nobody is left
        while piece := os.read(keyboard, 4096):
            raw += piece
    os.close(keyboard)
    assert dumb.wait() == 0
    assert "Last hour" in raw.decode()
    assert b"\x1b" not in raw
    done = subprocess.run(
        [PROGRAM, "watch", "--state-dir", str(running.state_dir)], capture_output=True, check=False,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout
    text = done.stdout.decode()
    for block in ("People", "Power", "Alerts", "Sensors", "Link", "Last hour"):
        assert block in text
    assert max(map(len, text.splitlines())) <= 100
    assert once(running).stdout.decode().splitlines()[1:7] == text.splitlines()[1:7]
    assert once(running, LANG="C").stdout.isascii()


@pytest.mark.parametrize(
    ("minutes", "since", "title"),
    [
        (60, "2026-11-22T10:00:00.000Z", "Last hour "),
        (5, "2026-11-22T10:00:00.000Z", "Last hour (since 10:00)"),
        (5, None, "Last hour (5 min so far)"),
    ],
)
def test_an_hour_that_is_not_whole_says_so(
    unit: Unit, minutes: int, since: str | None, title: str
) -> None:
    unit.start()
    status = unit.status()
    names = ("people", "source", "generator_w", "generator_a", "battery_pct")
    points = dict.fromkeys(names, [None] * minutes)
    recent: dict[str, Any] = {
        "since": since,
        "since_uptime_s": 300.0,
        "points": points,
        "events": [],
    }
    page = Page(80, NO_LIMIT, blocks=True).lines(Answers(0.0, status, recent, None), 0.0)
    assert any(line.startswith(title) for line in shown(page))


def test_two_columns_never_touch(unit: Unit) -> None:
    unit.start()
    status = unit.status()
    for sensor in status["sensors"]:
        sensor |= {"quality": "fault", "age_s": 86400.0, "errors": 123456}
    page = shown(Page(80, NO_LIMIT, blocks=True).lines(Answers(0.0, status, None, None), 0.0))
    [first] = [line for line in page if line.startswith("Sensors")]
    at = first.index("Link")
    below = page[page.index(first) + 1 :][: len(status["sensors"])]
    assert any("broker" in line for line in below)
    assert all(line[at - 2 : at].isspace() or len(line) < at for line in below)


def test_once_without_a_unit_fails_and_says_why(unit: Unit) -> None:
    done = once(unit)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith("tentwatch: ")
    assert b"tentwatch is not running" in done.stderr
    assert b"Traceback" not in done.stderr


# The page


@pytest.fixture
def seen(running: Unit) -> Answers:
    assert running.agent is not None
    status, recent = running.status(), running.agent._ask({"command": "recent"})
    recent["events"] = [
        {
            "ts": f"2026-11-22T18:{n:02}:00.000Z", "uptime_s": 60.0 * n, "event": "sensor_failed",
            "detail": {"sensor": "door", "quality": "fault", "error": ERROR},
        }
        for n in range(20)
    ]  # fmt: skip
    recent["points"] = {
        "people": [*range(59), None],
        "source": [["mains", "generator", "battery", "none", None][n % 5] for n in range(60)],
        "generator_w": [None] * 30 + [2710.0] * 30,
        "generator_a": [None] * 60,
        "battery_pct": [float(n) for n in range(60)],
    }
    return Answers(0.0, status, recent, None)


def without(status: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the status of a tent that lacks some sensors."""
    power = {k: v for k, v in status["power"].items() if k not in names}
    found = {**status, "power": power}
    if "door" in names:
        del found["capacity"]
    found["sensors"] = [s for s in status["sensors"] if s["name"] not in names]
    return found


def in_trouble(status: dict[str, Any]) -> dict[str, Any]:
    """Return the status of a tent in which everything fails at once."""
    failing = {"quality": "fault", "age_s": None, "error": ERROR, "errors": 12345}
    return {
        **status,
        "name": LONG_NAME,
        "ts": None,
        "alerts": ALERTS,
        "sensors": [{**s, **failing} for s in status["sensors"]],
        "link": {**status["link"], "connected": False, "error": ERROR},
        "store": {"error": ERROR, "second_place": ERROR},
        "buffer": {"rows": 100_000, "oldest_s": 1e6, "dropped": 123_456},
        "capacity": {**dict.fromkeys(status["capacity"]), "seats": 60, "quality": "fault"},
    }


def poisoned(status: dict[str, Any]) -> dict[str, Any]:
    """Return the status of a cold tent with an alarm of carbon monoxide."""
    return {
        **status,
        "climate": {"inside_c": 1.0, "outside_c": -20.0, "humidity_pct": 99.0, "quality": "ok"},
        "co": {"ppm": 320.0, "peak_1h_ppm": 410.0, "level": "alarm", "quality": "ok"},
        "alerts": ["co_alarm", "cold"],
    }


TENTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "well": lambda status: status,
    "carbon monoxide": poisoned,
    "carbon monoxide and trouble": lambda status: in_trouble(status) | poisoned(status),
    "long name": lambda status: {**status, "name": LONG_NAME, "id": "x" * 64},
    "trouble": in_trouble,
    "mains only": lambda status: without(status, "door", "generator", "battery"),
    "no sensor": lambda status: without(status, "door", "generator", "battery", "mains"),
    "no door": lambda status: without(status, "door"),
    "door only": lambda status: without(status, "mains", "generator", "battery"),
}


def shown(page: list[Line]) -> list[str]:
    return ["".join(segment.text for segment in line) for line in page]


@pytest.mark.parametrize("tent", TENTS)
def test_every_page_fits_its_terminal(seen: Answers, tent: str) -> None:
    assert seen.status is not None
    status = TENTS[tent](seen.status)
    for columns, lines in SIZES:
        for recent in (seen.recent, None):
            for trouble, age_s in ((None, 0.0), (SILENT, 1e5)):
                page = Page(columns, lines, blocks=trouble is None, keys="q ends")
                told = shown(page.lines(Answers(0.0, status, recent, trouble), age_s))
                assert len(told) <= lines
                assert max(map(cell_len, told)) <= columns, (columns, lines)
                unknown = shown(page.lines(Answers(0.0, None, None, trouble), age_s))
                assert len(unknown) <= lines
                assert max(map(cell_len, unknown)) <= columns


def test_what_matters_most_is_on_a_small_terminal_in_the_worst_case(seen: Answers) -> None:
    assert seen.status is not None
    status = in_trouble(seen.status)
    told = shown(Page(80, 24, blocks=True).lines(Answers(0.0, status, seen.recent, None), 0.0))
    text = " ".join(line.strip() for line in told)
    for alert in ALERTS:
        assert word(alert) in text or re.search(r"Alerts: .*\d+ more", text), alert
    for sensor in status["sensors"]:
        assert re.search(rf"{sensor['name']} +fault", text)
        assert f"{sensor['name']}: GPIO 17 cannot be used" in text
    assert "100000 records" in text
    assert re.search(r"[Ll]ink:? +down", text)
    assert re.search(r"source +mains", text)
    assert "demo" in told[0]
    whole = shown(
        Page(80, NO_LIMIT, blocks=True).lines(Answers(0.0, status, seen.recent, None), 0.0)
    )
    text = " ".join(line.strip() for line in whole)
    assert text.count(ERROR[-60:].strip()) >= 3, "there is room for all of each"


def test_alerts_that_a_line_does_not_hold_are_counted(seen: Answers) -> None:
    assert seen.status is not None
    status = {**seen.status, "alerts": ALERTS}
    told = shown(Page(40, 10, blocks=True).lines(Answers(0.0, status, seen.recent, None), 0.0))
    line = next(line for line in told if line.startswith("Alerts"))
    named = [alert for alert in ALERTS if word(alert) in line]
    more = re.search(r"(\d+) more", line)
    assert more is not None
    assert named
    assert line.startswith("Alerts: battery alarm"), "the tent's own come first"


def test_graphs_have_gaps_where_nothing_is_known(seen: Answers) -> None:
    told = shown(Page(80, 24, blocks=True).lines(seen, 0.0))
    people = next(line for line in told if line.startswith("people"))
    generator = next(line for line in told if line.startswith("generator  ") and "kW" in line)
    source = next(line for line in told if line.startswith("source  ") and "MGB0 " in line)
    assert people.endswith("  0–60"), "the last minute is not known"
    assert generator.split() == ["generator", "█" * 30, "0–2.7", "kW"]
    assert source.endswith("MGB0") or source.endswith("MGB0 ")
    assert not set("".join(told)) & set("\x1b")


def test_more_room_shows_more(seen: Answers) -> None:
    def count(lines: int) -> int:
        told = shown(Page(80, lines, blocks=True, keys="q ends").lines(seen, 0.0))
        return sum("sensor failed" in line for line in told)

    assert count(24) < count(30) < count(60) == 20


def test_no_text_from_outside_commands_the_terminal() -> None:
    letters = cells([Segment("a\u0301b")], ascii_only=False)
    assert [cell.text for cell in letters] == ["a\u0301", "b"]
    assert [c.text for c in cells([Segment("Буча ·字")], ascii_only=True)] == [*"???? -??"]


STYLES = st.sampled_from([None, Style(bold=True), Style(color="red"), Style(reverse=True)])
TEXTS = st.lists(st.tuples(st.text(alphabet="ab 1·▁字й", max_size=6), STYLES), max_size=5)


@settings(max_examples=50)
@given(st.lists(TEXTS, min_size=2, max_size=4))
def test_what_is_sent_turns_one_line_into_the_next(
    texts: list[list[tuple[str, Style | None]]],
) -> None:
    screen = pyte.Screen(80, 3)
    stream = pyte.Stream(screen)
    before = cells([], ascii_only=False)
    for text in texts:
        line = [Segment(letters, style) for letters, style in text]
        after = cells(line, ascii_only=False)
        stream.feed(update(before, after, 2, None))
        expected = pyte.Screen(80, 3)
        pyte.Stream(expected).feed(update([], after, 2, None))
        assert screen.display == expected.display
        assert screen.display[1].rstrip() == "".join(cell.text for cell in after).rstrip()
        before = after
