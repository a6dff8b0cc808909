"""`tentwatch export`: what lies on the stick, what does not, and sticks that are full, locked or pulled."""

import json
import os
import shutil
import signal
import subprocess
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from publisher import control
from publisher.clock import boot_id
from publisher.store.file import FILE
from publisher.store.store import Store
from technician import cli
from technician.records import stick
from technician.terminal import DONE, FAILED
from tests import contract
from tests.conftest import (
    PATIENCE_S,
    Broker,
    Subscriber,
    Unit,
    assert_gapless,
    backlog_event,
    wait_for,
)  # fmt: skip
from tests.test_publisher_store import at
from tests.test_publisher_store_mounts import command
from tests.test_security_secrets import KEY, PASSWORD, is_told, write
from tests.test_technician_cli import MINIMAL, TENTWATCH
from tests.test_technician_visitor_log import FIRST, SECOND, state_of, stored

HOLDS = {"SHA256SUMS", "backlog.jsonl", "diagnosis", "visitors.csv", "visitors.json"}


def configured(directory: Path, more: str = "") -> Path:
    file = directory / "tentwatch.toml"
    file.write_text(MINIMAL.format(port=1, more=more))
    return file


def export(target: Path, state_dir: Path, config: Path, expected: int = DONE) -> Path | None:
    """Run the command; return the folder that it has made."""
    before = set(target.iterdir()) if target.is_dir() else set()
    done = cli.main(["export", str(target), "--state-dir", str(state_dir), "--config", str(config)])
    assert done == expected
    made = set(target.iterdir()) - before if target.is_dir() else set()
    return made.pop() if made else None


def stopped(state_dir: Path, size: int = 0) -> Store:
    """Leave a store with some records, as a stop of the service leaves it."""
    store = Store(state_dir, 100_000, 1 << 30)
    store.open(boot_id(), at())
    store.append(
        lambda boot, seq: [("event", backlog_event(boot, seq + i)) for i in range(size)], {}, at(1)
    )
    store.close(at(2), {})
    return store


def whole(folder: Path | None) -> Path:
    """Check a folder's checksums as the recipient of the stick does."""
    assert folder is not None
    assert {path.name for path in folder.iterdir()} == HOLDS
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    files = sum(path.is_file() for path in folder.rglob("*"))
    assert checked.stdout.count(": OK\n") == files - 1, "each file but the sums has one"
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    """Return the backlog, each record checked against the contract."""
    found = []
    for row in (folder / "backlog.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(row)
        assert not list(contract.faults("event" if "event" in record else "state", record))
        found.append(record)
    return found


def key(record: dict[str, Any]) -> tuple[str, int, int]:
    return record["id"], record["boot"], record["seq"]


# A running unit


def test_the_stick_and_the_network_bring_the_same_records(
    make_unit: Callable[..., Unit],
    broker: Broker,
    subscriber: Subscriber,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("publisher.commanding.BACKLOG_BYTES", 3000)  # several answers
    broker.stop()
    target = tmp_path / "stick"
    target.mkdir()
    unit = make_unit(broker.port).start()
    wait_for(lambda: unit.status()["power"]["source"] == "mains", "mains")
    unit.walk(inward=True)
    wait_for(lambda: unit.status()["capacity"]["people"] == 1, "a person")
    for _ in range(5):
        assert control.ask(tmp_path, {"command": "report"})["ok"]
    folder = whole(export(target, tmp_path, configured(tmp_path)))
    on_stick = records(folder)
    assert_gapless(on_stick)
    assert len(on_stick) >= 5
    assert unit.status()["buffer"]["rows"] >= len(on_stick), "nothing is deleted from the unit"
    assert folder.name.startswith("tentwatch-demo-20"), "by the date, in UTC"
    assert folder.name.endswith("Z")
    assert json.loads((folder / "visitors.json").read_text())["days"][-1]["entered"] == 1
    assert (folder / "visitors.csv").read_text().startswith("date,entered,left,")
    diagnosis = folder / "diagnosis"
    assert json.loads((diagnosis / "status.json").read_text())["id"] == "demo"
    assert "paho-mqtt" in json.loads((diagnosis / "versions.json").read_text())["installed"]
    assert FILE in (diagnosis / "files.txt").read_text()

    broker.start()
    wait_for(lambda: unit.status()["buffer"]["rows"] == 0, "everything to be sent")
    by_network = {key(record): record for record in subscriber.records()}
    assert {key(record) for record in on_stick} <= by_network.keys()
    assert all(by_network[key(record)] == record for record in on_stick)
    assert_gapless(list(by_network.values()))


def test_without_a_clock_the_folder_is_named_by_boot_and_uptime(
    make_unit: Callable[..., Unit],
    closed_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "stick"
    target.mkdir()
    unit = make_unit(closed_port)
    read = unit.clock._read
    monkeypatch.setattr(unit.clock, "_read", lambda: replace(read(), wall=None, synced=False))
    unit.start()
    wait_for(lambda: unit.status()["buffer"]["rows"] >= 1, "a record")
    folder = whole(export(target, unit.state_dir, configured(tmp_path)))
    boot = unit.status()["boot"]
    assert folder.name.startswith(f"tentwatch-demo-boot{boot}-")
    assert records(folder)[0]["ts"] is None


# A store at rest


def test_what_a_power_cut_left_is_exported_and_the_store_is_not_changed(tmp_path: Path) -> None:
    running = Store(tmp_path / "running", 100_000, 1 << 30)
    running.open(boot_id(), at())
    days = [(line["date"], json.dumps(line)) for line in (FIRST, SECOND)]
    running.append(
        lambda boot, seq: [("event", backlog_event(boot, seq + i)) for i in range(2500)],
        {}, at(5), days=days,
    )  # fmt: skip
    directory = shutil.copytree(tmp_path / "running", tmp_path / "cut")
    assert (directory / f"{FILE}-wal").exists()
    before = state_of(directory)
    target = tmp_path / "stick"
    target.mkdir()
    folder = whole(export(target, directory, configured(tmp_path)))
    with (folder / "backlog.jsonl").open() as file:
        found = [json.loads(line) for line in file]
    assert_gapless(found)
    assert len(found) == 2500
    assert {record["boot"] for record in found} == {running.boot}
    assert len(json.loads((folder / "visitors.json").read_text())["days"]) == 2
    assert "status.json" in (folder / "diagnosis" / "missing.txt").read_text()
    assert state_of(directory) == before
    running.close(at(6), {})


def test_a_record_of_a_boot_whose_time_became_known_is_stamped(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", 1000, 1 << 20)
    store.open("a boot", at(synced=False, wall=False))
    now = at(10, synced=False, wall=False)
    body = json.loads(backlog_event(store.boot, 1)) | {"ts": None, "clock": "unsynced"}
    body["uptime_s"] = now.uptime_s
    store.append(lambda _b, _s: [("event", json.dumps(body))], {}, now)
    store.save({}, at(20))
    store.close(at(30), {})
    target = tmp_path / "stick"
    target.mkdir()
    [record] = records(whole(export(target, tmp_path / "state", configured(tmp_path))))
    assert (record["ts"], record["clock"]) == ("2026-11-22T18:00:10.000Z", "synced")


def test_a_store_that_cannot_be_read_leaves_a_diagnosis_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state_dir, target = tmp_path / "state", tmp_path / "stick"
    state_dir.mkdir()
    target.mkdir()
    (state_dir / FILE).write_bytes(b"nothing" * 1000)
    folder = export(target, state_dir, tmp_path / "no configuration", FAILED)
    assert folder is not None
    assert {path.name for path in folder.iterdir()} == {"SHA256SUMS", "diagnosis"}
    missing = (folder / "diagnosis" / "missing.txt").read_text()
    assert "backlog.jsonl" in missing
    assert "configuration.json" in missing
    assert "are NOT on it" in capsys.readouterr().err


# Secrets


SAYS = f"""\
Nov 28 connecting to mqtts://demo:{PASSWORD}@broker:8883
Nov 28 login demo:{PASSWORD}@broker failed
Nov 28 password={PASSWORD} is wrong, {{"password": "{PASSWORD}"}}
Nov 28 {PASSWORD}
-----BEGIN RSA PRIVATE KEY-----
{KEY}
-----END RSA PRIVATE KEY-----
Nov 28 hwmon hwmon1: Undervoltage detected! {PASSWORD} voltage
"""


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize(
    "lines",
    [
        'password_file = "{password}"\nusername = "demo"\ntls = true\n'
        'cert_file = "/etc/x.crt"\nkey_file = "{key}"',
        'password = "{secret}"\npassword_file = "{secret}"\nusername = "demo"',
        'key_file = ["{secret}"]\nhost = "mqtts://demo:{secret}@broker"',
        '# the password is {secret}\n[broker.password]\nx = "{secret}"',
        'password = "{secret}',
    ],
)
def test_no_secret_gets_onto_the_stick(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    lines: str,
    readable: bool,
) -> None:
    password, private = tmp_path / "password", tmp_path / "unit.key"
    if readable:
        write(password, f"{PASSWORD}\n")
        write(private, f"-----BEGIN KEY-----\n{KEY}\n-----END KEY-----\n")
    names = {"password": password, "key": private, "secret": PASSWORD}
    config = configured(tmp_path, lines.format(**names))
    programs, target, state_dir = (tmp_path / n for n in ("bin", "stick", "state"))
    for directory in (programs, target, state_dir):
        directory.mkdir()
    # What no pattern shows is known from the file that the configuration names, if that can be read.
    says = [row.replace(f"! {PASSWORD}", "!") for row in SAYS.splitlines() if "28 Kh7" not in row]
    if readable and "{password}" in lines:
        says = SAYS.splitlines()
    for name in ("journalctl", "dmesg"):
        (programs / name).write_text("\n".join(["#!/bin/sh", "cat <<'END'", *says, "END", ""]))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    stopped(state_dir)
    folder = whole(export(target, state_dir, config))
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    said = "".join(capsys.readouterr())
    assert not [text for text in (*texts, said) if is_told(text)]
    journal = (folder / "diagnosis" / "journal.txt").read_text()
    assert "login ***@broker failed" in journal
    assert "PRIVATE KEY" not in journal
    assert (folder / "diagnosis" / "kernel.txt").read_text().count("Undervoltage detected!") == 1


def test_the_configuration_is_there_as_far_as_it_is_good(tmp_path: Path) -> None:
    more = (
        '[sensors.generator]\ndriver = "ina219"\nshunt_ohms = 0.0015\nmax_current_a = 50\nodd = 1'
    )
    config = configured(tmp_path, more)
    target, state_dir = tmp_path / "stick", tmp_path / "state"
    target.mkdir()
    stopped(state_dir)
    diagnosis = whole(export(target, state_dir, config)) / "diagnosis"
    found = json.loads((diagnosis / "configuration.json").read_text())
    assert found["tent"] == {"id": "UA-32-0417", "seats": 60}
    assert found["sensors"]["generator"]["shunt_ohms"] == 0.0015
    assert "odd" not in found["sensors"]["generator"]
    faults = json.loads((diagnosis / "check-config.json").read_text())
    assert [fault["key"] for fault in faults["faults"]] == ["sensors.generator.odd"]


# Sticks


def test_what_is_no_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state_dir = stored(tmp_path, FIRST, closed=True)
    config = configured(tmp_path)
    for target in (tmp_path / "nowhere", config):
        export(target, state_dir, config, FAILED)
        assert f"{target} is no folder: is the stick mounted?" in capsys.readouterr().err


def test_a_folder_on_the_unit_s_own_card_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state_dir, target = stored(tmp_path, FIRST, closed=True), tmp_path / "stick"
    target.mkdir()
    whole(export(target, state_dir, configured(tmp_path)))
    said = capsys.readouterr()
    assert "lies on the unit's own card" in said.err
    assert "the stick can be pulled" not in said.out


def test_what_fails_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def cut_short() -> Iterator[str]:
        yield "one"
        raise OSError(5, "Input/output error")

    with (
        pytest.raises(stick.StickError, match="pulled too soon or is broken"),
        stick.new_folder(tmp_path, "tentwatch-t-x") as folder,
    ):
        folder.write("whole.txt", ["one"])
        folder.write("part/cut.txt", cut_short())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "tentwatch-t-x").mkdir()
    with (
        pytest.raises(stick.StickError, match="try again"),
        stick.new_folder(tmp_path, "tentwatch-t-x"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["tentwatch-t-x"]


def test_a_stick_that_does_not_keep_what_it_was_given_is_found_out(tmp_path: Path) -> None:
    with (
        pytest.raises(stick.StickError, match=r"file\.txt does not read as it was written"),
        stick.new_folder(tmp_path, "tentwatch-t-x") as folder,
    ):
        folder.write("file.txt", ["as it was"])
        [unfinished] = tmp_path.iterdir()
        (unfinished / "file.txt").write_text("as it is\n")
    assert list(tmp_path.iterdir()) == []


def test_a_stick_that_was_pulled_has_no_folder_that_looks_whole(tmp_path: Path) -> None:
    state_dir, target, programs = (tmp_path / name for name in ("state", "stick", "bin"))
    config = configured(tmp_path)
    target.mkdir()
    programs.mkdir()
    stopped(state_dir, 200)
    (programs / "journalctl").write_text("#!/bin/sh\nexec sleep 600\n")  # all else is written
    (programs / "journalctl").chmod(0o755)
    arguments = ["export", target, "--state-dir", state_dir, "--config", config]
    process = subprocess.Popen(
        [*TENTWATCH, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: any(target.glob("*.unfinished/backlog.jsonl")), "all but the end")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_S)
    assert [path.suffix for path in target.iterdir()] == [stick.UNFINISHED]
    folder = whole(export(target, state_dir, config))
    assert list(target.iterdir()) == [folder], "the next attempt takes the leftovers away"
    assert len(records(folder)) == 200


@pytest.fixture(params=["ext4", "vfat"])
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Path]]:
    """Makes and mounts a small stick with a file system of its own."""
    image, place = tmp_path / "stick.img", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(8 << 20)

    def mount() -> Path:
        try:
            command(f"mkfs.{request.param}", image)
            command("mount", "-t", request.param, "-o", "loop", image, place)
        except (AssertionError, OSError) as error:
            warnings.warn(f"NOT TESTED on a {request.param} stick: {error}", stacklevel=1)
            pytest.skip(f"a {request.param} stick cannot be mounted: {error}")
        return place

    yield mount
    if place.is_mount():
        command("umount", "-l", place)


def test_a_stick_that_is_locked_is_reported(
    tmp_path: Path, disk: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    state_dir, config = stored(tmp_path, FIRST, closed=True), configured(tmp_path)
    place = disk()
    whole(export(place, state_dir, config))
    said = capsys.readouterr()
    assert "own card" not in said.err
    assert "the stick can be pulled" in said.out
    for made in place.glob("tentwatch-*"):  # it has the same second
        shutil.rmtree(made)
    command("mount", "-o", "remount,ro", place)
    before = sorted(path.name for path in place.iterdir())
    export(place, state_dir, config, FAILED)
    assert "is read-only: look for a lock switch" in capsys.readouterr().err
    assert sorted(path.name for path in place.iterdir()) == before


def test_a_stick_that_is_full_is_reported_and_keeps_nothing_of_it(
    tmp_path: Path, disk: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    state_dir, config = tmp_path / "state", configured(tmp_path)
    stopped(state_dir, 50_000)
    place = disk()
    before = sorted(path.name for path in place.iterdir())
    export(place, state_dir, config, FAILED)
    assert "is full: make room on it" in capsys.readouterr().err
    assert sorted(path.name for path in place.iterdir()) == before
    assert shutil.disk_usage(place).free > 4 << 20
