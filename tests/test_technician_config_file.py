"""Changing the configuration: checked, whole or not at all, and taken back."""

import os
from pathlib import Path

import pytest

from publisher.config.faults import ConfigError
from technician.setup import config_file
from tests.test_technician_cli import MINIMAL

GOOD = MINIMAL.format(port=1883, more="")


def kept(path: Path) -> list[str]:
    return [file.read_text() for file in config_file.previous(path)]


def test_the_previous_ones_are_kept_and_can_be_put_back(tmp_path: Path) -> None:
    path = tmp_path / "tentwatch.toml"
    assert config_file.write(path, GOOD) is None
    assert config_file.write(path, GOOD + "# 1\n") == tmp_path / "tentwatch.toml.old-1"
    config_file.write(path, GOOD + "# 2\n")
    assert kept(path) == [GOOD, GOOD + "# 1\n"]
    assert config_file.undo(path) == tmp_path / "tentwatch.toml.old-2"
    assert path.read_text() == GOOD + "# 1\n"
    assert (tmp_path / "tentwatch.toml.undone").read_text() == GOOD + "# 2\n"
    config_file.undo(path)
    assert path.read_text() == GOOD
    assert config_file.undo(path) is None
    assert path.read_text() == GOOD


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "tentwatch.toml"
    for number in range(15):
        config_file.write(path, f"{GOOD}# {number}\n")
    assert [text.splitlines()[-1] for text in kept(path)] == [f"# {n}" for n in range(5, 14)]


def test_what_is_no_configuration_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tentwatch.toml"
    config_file.write(path, GOOD)
    for text in ("seats = ", GOOD.replace("seats", "seets"), ""):
        with pytest.raises(ConfigError, match=str(path)):
            config_file.write(path, text)
    assert [file.name for file in tmp_path.iterdir()] == ["tentwatch.toml"]
    assert path.read_text() == GOOD


def test_mode_and_link_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "real.toml", tmp_path / "tentwatch.toml"
    path.write_text(GOOD)
    path.chmod(0o604)
    link.symlink_to(path)
    config_file.write(link, GOOD + "#\n")
    assert link.is_symlink()
    assert path.read_text() == GOOD + "#\n"
    assert path.stat().st_mode & 0o777 == 0o604
    fresh = tmp_path / "fresh.toml"
    config_file.write(fresh, GOOD)
    assert fresh.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_oserror(tmp_path: Path) -> None:
    path = tmp_path / "tentwatch.toml"
    config_file.write(path, GOOD)
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError):
        config_file.write(path, GOOD + "#\n")
    tmp_path.chmod(0o755)
    assert path.read_text() == GOOD


def test_comments_survive_a_change_of_a_key(tmp_path: Path) -> None:
    path = tmp_path / "tentwatch.toml"
    config_file.write(path, GOOD + "# of the technician\n")
    document = config_file.document(path)
    document["tent"]["seats"] = 61
    config_file.write(path, document.as_string())
    assert "# of the technician" in path.read_text()
    assert "seats = 61" in path.read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "does not exist"), (b"\xff", "is not UTF-8"), (b"a = \n", "is not TOML")],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "tentwatch.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        config_file.document(path)
