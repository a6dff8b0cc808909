"""Secrets: no fault reveals one of them."""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from publisher.config.faults import ConfigError
from publisher.config.load import parse
from publisher.config.sections import BrokerSettings as Settings
from technician import cli
from technician.records import support_bundle
from technician.secrets import Redactor, exposed, goes_in_the_clear
from technician.terminal import DONE, USAGE
from tests.conftest import PATIENCE_S, Broker, Subscriber, Unit, wait_for
from tests.test_systemd import SAMPLE

PASSWORD = "Kh7-tell-nobody"
KEY = "MIIE-tell-nobody"
HEAD = '[tent]\nid = "demo"\nseats = 60\n[sensors.mains]\ndriver = "contact"\ngpio = 17\n'
PROGRAM = Path(sys.executable).with_name("tentwatch")


def is_told(text: str) -> bool:
    return "tell-nobody" in text


# The configuration


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        (f'password = "{PASSWORD}"', "name that in password_file"),
        (f'Passwort = "{PASSWORD}"', "name that in password_file"),
        (f'secret = ["{PASSWORD}"]', "name that in password_file"),
        (f'password_file = "{PASSWORD}"', "whole path"),
        (f'password_file = ["{PASSWORD}"]', "whole path"),
        (f'key_file = "-----BEGIN KEY-----{KEY}"', "whole path"),
        (f'host = "mqtts://demo:{PASSWORD}@broker"', "and nothing else"),
        (f'host = ["demo:{PASSWORD}@broker"]', "and nothing else"),
        (f"password = {PASSWORD}", "is not TOML"),
        (f'password = "{PASSWORD}', "is not TOML"),
        (f'host = "b" {PASSWORD}', "is not TOML"),
        (f'password "{PASSWORD}"', "= is missing between a key and its value"),
        (f'password: "{PASSWORD}"', "= is missing between a key and its value"),
        (f"password {PASSWORD}", "= is missing between a key and its value"),
        (PASSWORD, "= is missing between a key and its value"),
        (f"password = “{PASSWORD}”", "these quotes are not the straight ones"),
        (f"{PASSWORD} = 1", "a key that is not known in line 8"),
        (f'"{PASSWORD}" = "x"', "a key that is not known in line 8"),
        (f"password-{PASSWORD} = 1", "a key that is not known in line 8"),
        (f"[{PASSWORD}]", "a key that is not known in line 8"),
        (f"[[{PASSWORD}]]", "a key that is not known in line 8"),
        (f"[broker.{PASSWORD}]", "a key that is not known in line 8"),
        (f"[sensors.{PASSWORD}]", "a key that is not known in line 8"),
        (f'username = ["u", "{PASSWORD}"]', "not a list"),
        (f'username = {{ a = "{PASSWORD}" }}', "not a table"),
        (f'port = "{PASSWORD}"', "must be a whole number"),
        (f'host = "b {PASSWORD}"', "a blank or an invisible character"),
        (f"host = '''b\npassword = {PASSWORD}'''", "a blank or an invisible character"),
        (f'protocol = """5\npassword = {PASSWORD}"""', "one of 5, 3.1.1"),
        (f'prefix = "tents/#/{PASSWORD}"', "first levels"),
        (f'[broker.password]\nx = "{PASSWORD}"', "name that in password_file"),
        (f'[broker."{PASSWORD}"]\n[broker."{PASSWORD}"]', "stands above already"),
        (f'password = {{a = 1, "{PASSWORD}" = 1, "{PASSWORD}" = 2}}', "stands above already"),
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: str, hint: str
) -> None:
    file = tmp_path / "tentwatch.toml"
    file.write_text(f"{HEAD}[broker]\n{lines}\n")
    for arguments in ([], ["--json"]):
        assert cli.main(["check-config", "--config", str(file), *arguments]) == USAGE
        said = "".join(capsys.readouterr())
        assert hint in said
        assert not is_told(said)
    with pytest.raises(ConfigError) as caught:
        parse(file.read_text())
    assert not is_told(repr([(key, str(t), t.as_dict()) for key, t in caught.value.faults]))


@pytest.mark.parametrize(
    "text",
    [
        f"password = {PASSWORD}\n",
        f"password = '{PASSWORD}'\npassword = '{PASSWORD}'\n",
        f"password = {{ '{PASSWORD}' = 1, '{PASSWORD}' = 2 }}\n",
        f"['{PASSWORD}']\n['{PASSWORD}']\n",
        f"password = '{PASSWORD}",
        f'password "{PASSWORD}"\n',
        f"password {PASSWORD}\n",
        f'password: "{PASSWORD}"\n',
        f"password“{PASSWORD}”\n",
        f"{PASSWORD}\n",
    ],
)
def test_setup_and_prepared_cards_repeat_nothing_of_what_is_not_toml(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    config, prepared = tmp_path / "tentwatch.toml", tmp_path / "prepared.toml"
    for file in (config, prepared):
        file.write_text(text)
    setup = ["setup", "--config", str(config), "--no-search", "--yes", "--dry-run"]
    assert cli.main(setup) == USAGE
    assert cli.main([*setup, "--prepared", str(prepared)]) == USAGE
    said = "".join(capsys.readouterr())
    assert said.count("is not TOML") == 2
    assert not is_told(said + (tmp_path / "prepared-failed.txt").read_text())


@pytest.mark.parametrize(
    "lines",
    [
        f'password "{PASSWORD}"',
        f"{PASSWORD} = 1",
        f'username = ["{PASSWORD}"]',
        f'username = """demo\npassword = {PASSWORD}"""',
        f'host = "b"\nca_file = """/ca\npassword = {PASSWORD}"""',
    ],
)
def test_agent_doctor_and_bundle_repeat_nothing_of_a_line_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: str
) -> None:
    file = tmp_path / "tentwatch.toml"
    file.write_text(f"{HEAD}[broker]\n{lines}\n")
    where = ["--config", str(file), "--state-dir", str(tmp_path / "state")]
    for command in (["run", *where], ["doctor", *where], ["doctor", "--json", *where]):
        assert cli.main(command) == USAGE
        said = "".join(capsys.readouterr())
        assert "syntax" in said or "broker" in said
        assert not is_told(said)
    for part in support_bundle.parts(tmp_path / "state", file, None):
        assert not is_told("\n".join(part.lines) + part.missing), part.name


# The files


def settings(**files: str) -> Settings:
    return Settings(host="b", username="demo", **files)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_for_its_owner_alone_is_in_order(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "password"
    file.touch()
    file.chmod(mode)
    assert exposed(settings(password_file=str(file), key_file=str(file))) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601, 0o777])
@pytest.mark.parametrize("key", ["password_file", "key_file"])
def test_a_file_that_others_can_use_is_named_with_its_cure(
    tmp_path: Path, mode: int, key: str
) -> None:
    file = tmp_path / "secret"
    file.touch()
    file.chmod(mode)
    [(where, fix)] = exposed(settings(**{key: str(file)}))
    assert where == f"broker.{key}"
    assert f"mode {mode:04o}" in str(fix)
    command = str(fix).partition("sudo ")[2]
    subprocess.run(command.split(), check=True)
    assert exposed(settings(**{key: str(file)})) == []


def test_what_cannot_be_looked_at_or_is_systemds_own_is_passed_over(tmp_path: Path) -> None:
    assert exposed(settings(password_file=str(tmp_path / "none"))) == []
    assert exposed(settings(password_file="/run/credentials/tentwatch.service/x")) == []
    assert exposed(settings()) == []


def test_a_way_out_of_the_credentials_is_no_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, file = tmp_path / "credentials", tmp_path / "secret"
    monkeypatch.setattr("technician.secrets.CREDENTIALS", credentials)
    credentials.mkdir()
    file.touch()
    file.chmod(0o644)
    [(key, _)] = exposed(settings(password_file=str(credentials / ".." / "secret")))
    assert key == "broker.password_file"


def test_check_config_finds_an_open_secret_and_the_service_starts_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    password, file = tmp_path / "password", tmp_path / "tentwatch.toml"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    file.write_text(
        f'{HEAD}[broker]\nhost = "127.0.0.1"\nport = 9\nusername = "demo"\n'
        f'password_file = "{password}"\n'
    )
    assert cli.main(["check-config", "--json", "--config", str(file)]) == USAGE
    [fault] = json.loads(capsys.readouterr().out)["faults"]
    assert fault["key"] == "broker.password_file"
    assert f"chmod 600 {password}" in fault["fix"]

    run = (PROGRAM, "run", "--config", file, "--state-dir", tmp_path / "state")
    agent = subprocess.Popen(run, stderr=subprocess.PIPE, text=True)
    assert agent.stderr is not None
    try:
        log = ""
        while "trying again" not in log:  # the link's thread: by now the service runs
            log += agent.stderr.readline()
    finally:
        agent.terminate()
        log += agent.communicate(timeout=PATIENCE_S)[1]
    assert agent.returncode == 0, log
    assert "can be read by others than its owner (mode 0644)" in log
    assert not is_told(log)
    password.chmod(0o600)
    assert cli.main(["check-config", "--config", str(file)]) == DONE


@pytest.mark.parametrize(
    ("host", "tls", "clear"),
    [
        ("broker.example.org", False, True),
        ("192.168.1.5", False, True),
        ("broker.example.org", True, False),
        ("127.0.0.1", False, False),
        ("localhost", False, False),
    ],
)
def test_a_password_that_goes_over_the_network_as_it_is(host: str, tls: bool, clear: bool) -> None:
    broker = Settings(host=host, tls=tls, username="demo", password_file="/p")
    assert goes_in_the_clear(broker) is clear
    assert not goes_in_the_clear(Settings(host=host, tls=tls))


# A unit whose secrets are wrong in every way


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    directory = tmp_path_factory.mktemp("guarded")
    for user in ("demo", "watcher"):
        more = [] if (directory / "passwords").exists() else ["-c"]
        made = ["mosquitto_passwd", "-b", *more, directory / "passwords", user, PASSWORD]
        subprocess.run(
            made, check=True, env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
        )
    broker = Broker(
        directory, f"allow_anonymous false\npassword_file {directory}/passwords"
    ).start()
    yield broker
    broker.stop()


def write(file: Path, content: str | bytes) -> str:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(0o600)
    return str(file)


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


#: Mistake → the settings of a unit with it, made in a directory.
MISTAKES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "wrong password": lambda d: {"password_file": write(d / "p", PASSWORD + "!")},
    "a password of several lines": lambda d: {"password_file": write(d / "p", f"{PASSWORD}\nx\n")},
    "no text": lambda d: {"password_file": write(d / "p", PASSWORD.encode() + b"\xff")},
    "a control character": lambda d: {"password_file": write(d / "p", f"x\0{PASSWORD}")},
    "too long": lambda d: {"password_file": write(d / "p", PASSWORD * 9000)},
    "a directory": lambda d: {"password_file": str(d)},
    "TLS where there is none": lambda d: {"password_file": write(d / "p", PASSWORD), "tls": True},
    "no authority": lambda d: {"tls": True, "ca_file": write(d / "ca", KEY)},
    "a key that is none": lambda d: pair(d, key=KEY),
    "a key of another": lambda d: pair(d, other=True),
    "a key with a passphrase": lambda d: pair(d, passphrase=True),
    "a certificate that is none": lambda d: pair(d, certificate=KEY),
}


def pair(
    directory: Path, *, key: str = "", certificate: str = "", other: bool = False,
    passphrase: bool = False,
) -> dict[str, Any]:  # fmt: skip
    crt, file = directory / "unit.crt", directory / "unit.key"
    make = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=demo", "-out", crt)
    openssl(*make, "-keyout", file)
    if other:
        openssl("genrsa", "-out", file, "2048")
    if passphrase:
        shutil.move(file, plain := directory / "plain.key")
        openssl("rsa", "-in", plain, "-aes128", "-passout", f"pass:{PASSWORD}", "-out", file)
    if key:
        write(file, f"-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n")
    if certificate:
        write(crt, certificate)
    return {"tls": True, "cert_file": str(crt), "key_file": str(file)}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_no_mistake_tells_a_secret(
    make_unit: Callable[..., Unit],
    guarded: Broker,
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    mistake: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    how = {"username": "demo"} | MISTAKES[mistake](tmp_path_factory.mktemp("secrets"))
    unit = make_unit(guarded.port, **how).start()
    wait_for(lambda: bool(unit.status()["link"]["error"]), "an error")
    status = json.dumps(unit.status())
    unit.stop()
    told = [status, caplog.text, *capfd.readouterr()]
    for record in caplog.records:
        told.append(f"{record.getMessage()} {record.__dict__}")
        if record.exc_info and record.exc_info[1]:
            told += traceback.format_exception(record.exc_info[1])
    assert caplog.text
    assert not [text for text in told if is_told(text)]


def test_a_unit_that_is_well_tells_no_secret(
    make_unit: Callable[..., Unit],
    guarded: Broker,
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    password = write(tmp_path_factory.mktemp("secrets") / "password", PASSWORD + "\n")
    watcher = Subscriber(guarded.port, "#", username="watcher", password=PASSWORD)
    unit = make_unit(guarded.port, username="demo", password_file=password).start()
    watcher.next("about")
    watcher.next("state")
    told = [json.dumps(unit.status()), repr(unit.agent), caplog.text]
    unit.stop()
    told += [payload for _, payload in unit.sent]
    told += [str(message) for message in watcher.messages]
    watcher.close()
    for file in unit.state_dir.rglob("*"):
        if file.is_file():
            with contextlib.suppress(OSError):
                told.append(file.read_bytes().decode("utf-8", "replace"))
    assert len(told) > 6
    assert not [text for text in told if is_told(text)]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("to mqtt://demo:Kh7-x@broker:1883", "to ***@broker:1883"),
        ("demo:Kh7-x@broker", "***@broker"),
        ("see a/b/demo:Kh:7@x and demo@broker", "see a/b/***@x and demo@broker"),
        ("at 12:30:05 a@b", "at 12:30:05 a@b"),
        ("password = Kh7-x, user = demo", "password = ***, user = demo"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(line: str, shown: str) -> None:
    assert Redactor([]).text(line) == shown


@pytest.mark.parametrize(
    "piece", ["a", "a:", "a/", "//a", "@", "a@", "password ", '"', " ", "a:b@c"]
)
def test_a_line_of_a_megabyte_is_read_in_one_pass(piece: str) -> None:
    """In time that grows with the square of its length this would take hours."""
    line = piece * (1_000_000 // len(piece))
    shown = Redactor([PASSWORD]).text(f"{line} demo:{PASSWORD}@broker")
    assert shown.endswith(" ***@broker")


def test_the_places_that_the_page_names_are_those_of_the_unit() -> None:
    unit = SAMPLE.with_name("tentwatch.service").read_text()
    named = [line.partition("=")[2] for line in unit.splitlines() if "LoadCredential=" in line]
    assert named == ["tentwatch.password", "tentwatch.key"], "a path here would be a must"
    page = (SAMPLE.parent.parent / "docs" / "install.md").read_text()
    for text in (page, SAMPLE.read_text()):
        assert f"/run/credentials/tentwatch.service/{named[0]}" in text
