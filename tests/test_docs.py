"""The documentation names what exists, and nothing else."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from publisher.rules import alerts, engine_alerts
from publisher.unit.board import Board
from sensors.registry import DRIVERS, traits
from technician.doctor.broker_check import STEPS
from tests.conftest import Unit, wait_for

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "firmware" / "README.md"])


def usage(*command: str) -> str:
    program = Path(sys.executable).parent / "tentwatch"
    done = subprocess.run([program, *command, "--help"], capture_output=True, text=True, check=True)
    return done.stdout


def commands() -> set[str]:
    return set(re.findall(r"^    ([a-z-]+)(?: |$)", usage(), re.MULTILINE))


def test_the_readme_names_every_command_and_no_other() -> None:
    assert set(re.findall(r"^\| `tentwatch ([a-z-]+)`", README, re.MULTILINE)) == commands()


def test_options_that_the_readme_names_exist() -> None:
    for line in README.splitlines():
        if found := re.match(r"\| `tentwatch ([a-z-]+)`", line):
            text = usage(found[1])
            for option in re.findall(r"--[a-z-]+", line):
                assert option in text, line


def test_the_readme_names_every_driver_with_what_it_serves() -> None:
    table = set(re.findall(r"^\| ([a-z_]+) \| `([a-z0-9]+)` \|", README, re.MULTILINE))
    assert table == {(s, name) for name in DRIVERS for s in traits(name).serves}


def test_the_first_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make ([a-z]+)", README, re.MULTILINE)
    assert targets == ["run", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_the_pages_name_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:docs|publisher|sensors|systemd|tests)/[\w./-]*\w)`", text))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    for name in named:
        assert (ROOT / name).exists() or (page.parent / name).exists(), name


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


#: Commands of the contract that the card may name before they exist.
COMING = {"calibrate", "doctor", "export", "log", "setup", "watch"}


def test_the_card_names_commands_that_exist_the_same_in_both_languages() -> None:
    english, ukrainian = page("card.html").split("</section>")[:2]
    said = [re.findall(r"<code>(.+?)</code>", one) for one in (english, ukrainian)]
    assert said[0] == said[1]
    named = {found[1] for one in said[0] if (found := re.match(r"sudo tentwatch ([a-z-]+)", one))}
    assert {"setup", "doctor", "watch", "headcount"} <= named <= commands() | COMING
    others = {one for one in said[0] if not one.startswith("sudo tentwatch ")}
    assert others == {"sudo ./install.sh"}


def test_the_card_needs_no_other_file_and_is_two_pages() -> None:
    card = page("card.html")
    assert not re.search(r"https?:|<img|<link|<script|url\(|@import", card)
    assert re.findall(r'<section lang="(\w+)">', card) == ["en", "uk"]
    sizes = [float(size) for size in re.findall(r"([\d.]+)pt", card)]
    assert sizes and min(sizes) >= 11  # to be read at arm's length


def test_the_readme_names_every_page() -> None:
    for file in ROOT.glob("docs/*.md"):
        assert f"`docs/{file.name}`" in README, file


def test_the_architecture_names_every_module() -> None:
    named = set(re.findall(r"(\w+\.py)", page("architecture.md")))
    modules = {
        file.name
        for room in ("publisher", "sensors", "technician")
        for file in (ROOT / room).rglob("*.py")
        if "simulated" not in file.parts
    } - {"__init__.py"}
    assert modules <= named


def alerts_of_the_agent() -> set[str]:
    """Names of the alerts that the agent tells the tent of, from its source."""
    source = (ROOT / "publisher/recording.py").read_text(encoding="utf-8")
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="notice"), args=[ast.Dict(keys=keys), *_]):
                found |= {str(k.value) for k in keys if isinstance(k, ast.Constant)}
    assert found
    return found


def test_the_page_of_topics_has_every_alert_and_no_other(tmp_path: Path) -> None:
    raised = alerts_of_the_agent() | set(alerts.OWN) | set(engine_alerts.ALERTS)
    raised |= set(Board(tmp_path, tmp_path).alerts)
    table = page("topics.md").partition("| alert | meaning |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == raised


def keys(value: Any, path: str = "") -> set[str]:
    """Return the paths of a status; blocks named by the contract or a driver are not taken apart."""
    whole = ("capacity", "power", "sensors[].values", "sensors[].ages_s")
    is_whole = path in whole or path.endswith("trouble")
    if isinstance(value, dict) and not is_whole:
        start = f"{path}." if path else ""
        return {p for key, inner in value.items() for p in keys(inner, start + key)}
    if path == "sensors":
        return {p for sensor in value for p in keys(sensor, "sensors[]")}
    return {path}


def test_the_page_of_the_status_has_every_key_and_no_other(unit: Unit) -> None:
    unit.start()
    wait_for(lambda: unit.status()["ok"], "the unit")
    rows = re.findall(r"^\| (`.*?) \|", page("status.md"), re.MULTILINE)
    not_fitted = {"climate", "co"}
    assert set(re.findall(r"`([^`]+)`", " ".join(rows))) == keys(unit.status()) | not_fitted


# Doctor's texts


DOCTOR = ("machine", "plausible", "values", "findings", "broker_check", "examination")


def said_of_faults() -> set[str]:
    """Return what doctor can say of what is not well, and every cure; `…` stands for what is filled in."""
    found = set()
    for module in DOCTOR:
        tree = ast.parse(
            (ROOT / "technician" / "doctor" / f"{module}.py").read_text(encoding="utf-8")
        )
        of_wellness = set()
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name("well" | "Text" | "untried"), args=args):
                    of_wellness |= {id(inner) for arg in args for inner in ast.walk(arg)}
                case ast.Call(func=ast.Name("not_tried"), args=args):
                    of_wellness |= {id(inner) for inner in ast.walk(args[1])}
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name("marked"), args=[ast.Constant(str(text))]):
                    if id(node) not in of_wellness and "{n}" not in text and len(text) > 5:
                        found.add(re.sub(r"\{[^}]*\}", "…", text))
    return found


def test_the_page_of_symptoms_has_every_fault_and_cure_of_doctor() -> None:
    text = page("symptoms.md").replace("\\|", "|")
    said = said_of_faults()
    assert len(said) > 50
    assert {words for words in said if words not in text} == set()


def test_the_page_of_symptoms_follows_the_order_of_the_checks() -> None:
    lines = " ".join(re.findall(r"^Checks: (.*)$", page("symptoms.md"), re.MULTILINE))
    named = re.findall(r"`([a-z]+\.[\w.-]+)`", lines)
    areas = [*dict.fromkeys(name.partition(".")[0] for name in named)]
    assert areas == [
        "power",
        "clock",
        "disk",
        "store",
        "config",
        "bus",
        "sensor",
        "broker",
        "service",
    ]
    steps = [name for name in named if name.startswith("broker.")]
    assert steps == list(STEPS)
