"""What the documentation names exists, and what exists is named."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sensors.registry import DRIVERS

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
    assert table == {(s, name) for name, entry in DRIVERS.items() for s in entry.serves}


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
