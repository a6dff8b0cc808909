"""The drawings in docs/wiring, the wiring table, the sample configuration and the header agree."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from gpiozero import PiBoardInfo

from sensors.registry import DRIVERS, traits

ROOT = Path(__file__).parent.parent
DRAWINGS = sorted((ROOT / "docs" / "wiring").glob("*.svg"))
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
WIRING = INSTALL.partition("## Wiring\n")[2].partition("\n## ")[0]
SVG = "{http://www.w3.org/2000/svg}"
LARGEST_BYTES = 15_000

#: A 3B+, a 4B, a 5 and a Zero 2 W, by the revision codes of their boards.
BOARDS = (0xA020D3, 0xC03111, 0xC04170, 0x902120)


every_drawing = pytest.mark.parametrize("file", DRAWINGS, ids=lambda file: file.stem)

#: Pins by number and function, in gpiozero's names: GPIO17, GND, 3V3.
Pins = set[tuple[int, str]]


@dataclass(frozen=True)
class Wire:
    """A pin in a drawing: its data attributes, its label, and the place of its circle."""

    pin: int
    name: str
    key: str | None
    text: str
    x: float
    y: float


def drawn(file: Path) -> list[Wire]:
    wires = []
    for group in ElementTree.parse(file).iter(f"{SVG}g"):
        circle = group.find(f"{SVG}circle")
        assert circle is not None
        pin, name, key = (group.get(f"data-{what}") for what in ("pin", "is", "key"))
        assert pin is not None and name is not None
        text = " ".join("".join(group.itertext()).split())
        x, y = float(circle.get("cx", "")), float(circle.get("cy", ""))
        wires.append(Wire(int(pin), name, key, text, x, y))
    return wires


def pins(file: Path) -> Pins:
    return {(wire.pin, wire.name) for wire in drawn(file)}


def words(file: Path) -> str:
    """Return all text of a drawing, its description included."""
    root = ElementTree.parse(file).getroot()
    tags = (f"{SVG}text", f"{SVG}title", f"{SVG}desc")
    return "\n".join(node.text or "" for node in root.iter() if node.tag in tags)


def in_words(name: str) -> str:
    return {"GND": "ground", "3V3": "3.3 V"}.get(name) or name.replace("GPIO", "GPIO ")


def named(text: str) -> Pins:
    """Return the pins in a text such as "14 and 20 (ground)"."""
    found = set()
    for numbers, what in re.findall(
        r"((?:\d+(?:, | and ))*\d+) \((ground|3\.3 V|GPIO \d+)\)", text
    ):
        name = {"ground": "GND", "3.3 V": "3V3"}.get(what) or what.replace(" ", "")
        found |= {(int(number), name) for number in re.findall(r"\d+", numbers)}
    return found


def table() -> Pins:
    rows = re.findall(r"^\|[^|]*\|[^|]*\|([^|]*)\|[^|]*\|$", WIRING, re.M)
    found = {pin for row in rows for pin in named(row)}
    assert len(found) > 10
    return found


def test_every_sensor_of_the_readme_has_a_drawing() -> None:
    served = [ElementTree.parse(file).getroot().get("data-serves") for file in DRAWINGS]
    shown = {tuple(one.split()) for serves in served if serves for one in serves.split(", ")}
    assert shown == {(sensor, name) for name in DRIVERS for sensor in traits(name).serves}


def test_the_instructions_show_every_drawing_and_no_other() -> None:
    shown = re.findall(r"!\[.+?\]\(wiring/([\w-]+\.svg)\)", WIRING)
    assert sorted(shown) == [file.name for file in DRAWINGS]


@pytest.mark.parametrize("board", BOARDS, ids=hex)
def test_pins_are_what_the_header_has(board: int) -> None:
    header = PiBoardInfo.from_revision(board).headers["J8"]
    for pin, name in table().union(*map(pins, DRAWINGS), named(WIRING)):
        assert header.pins[pin].name == name, pin


def test_drawings_and_table_have_the_same_pins() -> None:
    header = ROOT / "docs" / "wiring" / "header.svg"
    assert pins(header) == table()
    assert table() == set().union(*(pins(file) for file in DRAWINGS if file != header))


def test_the_header_is_drawn_as_it_lies() -> None:
    """Each row of the board is a row of the drawing, with the odd pin on the left."""
    header = PiBoardInfo.from_revision(BOARDS[0]).headers["J8"]
    wires = drawn(ROOT / "docs" / "wiring" / "header.svg")
    columns = {header.pins[wire.pin].col: wire.x for wire in wires}
    rows = {header.pins[wire.pin].row: wire.y for wire in wires}
    for wire in wires:
        pin = header.pins[wire.pin]
        assert (wire.x, wire.y) == (columns[pin.col], rows[pin.row]), wire
    assert columns[1] < columns[2]
    assert [rows[row] for row in sorted(rows)] == sorted(rows.values())


@every_drawing
def test_what_is_written_at_a_pin_is_what_it_is(file: Path) -> None:
    for wire in drawn(file):
        assert re.match(rf"{wire.pin} {re.escape(in_words(wire.name))}\b", wire.text), wire


@every_drawing
def test_the_words_name_pins_that_are_drawn(file: Path) -> None:
    text, here = words(file), pins(file)
    assert named(text) <= here
    assert {int(pin) for pin in re.findall(r"\bpin (\d+)", text)} <= {pin for pin, _ in here}
    assert {f"GPIO{gpio}" for gpio in re.findall(r"\bGPIO (\d+)", text)} <= {n for _, n in here}


def sample() -> Iterator[tuple[str, str]]:
    """Yield each key of the sample configuration with its section, and its value."""
    section = ""
    text = (ROOT / "systemd" / "tentwatch.toml").read_text(encoding="utf-8")
    for line in text.splitlines():
        if head := re.fullmatch(r"(?:##)?\[([\w.]+)\]", line):
            section = head[1]
        elif found := re.fullmatch(r"#*(\w+) = (.*)", line):
            yield f"{section}.{found[1]}", found[2]


def test_lines_are_those_of_the_sample_configuration() -> None:
    values = set(sample())
    keyed = {
        (w.key, w.name.removeprefix("GPIO")) for file in DRAWINGS for w in drawn(file) if w.key
    }
    configured = {(key, value) for key, value in values if key.endswith("gpio")}
    assert keyed == configured


@every_drawing
def test_keys_in_the_words_have_the_value_of_the_sample_configuration(file: Path) -> None:
    values = {(key.rpartition(".")[2], value) for key, value in sample()}
    assert set(re.findall(r"\b(\w+) = ([\w.\"]*[\w\"])", words(file))) <= values


@every_drawing
def test_quantities_in_the_words_are_those_of_the_instructions(file: Path) -> None:
    unit = r"\d[\d.]* (?:to [\d.]+ )?(?:cm|m|mV|V|A|Ω)\b"
    told = set(re.findall(unit, " ".join(WIRING.split())))
    assert set(re.findall(unit, words(file))) <= told


@every_drawing
def test_a_drawing_is_small_black_and_white_and_needs_no_other_file(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.encode()) <= LARGEST_BYTES
    assert ElementTree.parse(file).getroot().find(f"{SVG}title") is not None
    assert ElementTree.parse(file).getroot().find(f"{SVG}desc") is not None
    assert not re.search(r"href|url\(|@import|<image|<script|@font-face", text)
    assert set(re.findall(r"#[0-9a-f]{3,6}\b", text)) == {"#000", "#fff"}
