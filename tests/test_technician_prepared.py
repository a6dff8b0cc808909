"""A configuration that was prepared on the boot partition, and its service."""

import csv
import ctypes
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from publisher.config import load as config
from publisher.config.faults import ConfigError
from publisher.link.credentials import tls_context
from technician.setup import prepared
from tests.test_systemd import ROOT, complaints, run, sandbox, settings
from tests.test_technician_cli import TENTWATCH, tentwatch

SECRET = "ein Löwe"
SECTIONS = """
# Of this tent alone.
[tent]
id = "UA-7"
seats = 60

[broker]
host = "broker.example.org"
tls = true
"""
GOOD = f'password = "{SECRET}"\n{SECTIONS}'
UNIT = ROOT / "systemd" / "tentwatch-prepared.service"


class Card:
    """A card with a boot partition and a configuration."""

    def __init__(self, root: Path) -> None:
        self.boot = root / "boot"
        self.boot.mkdir()
        self.file = self.boot / "tentwatch.toml"
        self.config = root / "etc/tentwatch/tentwatch.toml"

    def prepare(self, text: str) -> None:
        self.file.write_bytes(text.encode())

    def start(self) -> subprocess.CompletedProcess[str]:
        return tentwatch("setup", "--prepared", self.file, "--config", self.config)

    def names(self) -> set[str]:
        return {file.name for file in self.boot.iterdir()}

    def everything(self) -> dict[str, bytes]:
        files = [*self.boot.iterdir(), *self.config.parent.iterdir()]
        return {file.name: file.read_bytes() for file in files}


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return Card(tmp_path)


def test_a_pipe_in_its_place_holds_up_nothing(card: Card) -> None:
    os.mkfifo(card.file)
    done = card.start()
    assert done.returncode == 1
    assert "nothing to take over" in done.stderr


@pytest.mark.parametrize(
    "text", [GOOD, "\ufeff" + GOOD.replace("\n", "\r\n")], ids=["Unix", "Windows"]
)
def test_it_is_taken_over_and_the_password_leaves_the_boot_partition(card: Card, text: str) -> None:
    card.prepare(text)
    done = card.start()
    assert (done.returncode, done.stderr) == (0, "")
    found = config.load(card.config)
    password = card.config.with_name("password")
    assert (found.tent.id, found.tent.seats, found.broker.username) == ("UA-7", 60, "UA-7")
    assert found.broker.password_file == str(password)
    assert password.read_text() == SECRET + "\n"
    assert password.stat().st_mode & 0o777 == 0o600
    assert card.config.stat().st_mode & 0o777 == 0o640
    assert "# Of this tent alone." in card.config.read_text()
    assert card.names() == {"tentwatch.toml.done"}
    assert not any(SECRET.encode() in file.read_bytes() for file in card.boot.iterdir())
    assert SECRET not in done.stdout


def test_the_previous_configuration_is_kept_and_a_failure_of_before_forgotten(card: Card) -> None:
    card.prepare(GOOD.replace("UA-7", "a b"))
    assert card.start().returncode == 2
    card.config.parent.mkdir(parents=True)
    card.config.write_text(SECTIONS.replace("UA-7", "UA-6"))
    card.prepare(GOOD)
    assert card.start().returncode == 0
    old = card.config.with_name("tentwatch.toml.old-1")
    assert config.load(old).tent.id == "UA-6"
    assert config.load(card.config).tent.id == "UA-7"
    assert card.names() == {"tentwatch.toml.done", "tentwatch.toml.failed"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("UA-7", "a b"), "tent.id: is 'a b'"),
        (GOOD.replace(f'"{SECRET}"', "5"), "password: must be text in quotes"),
        (GOOD.replace(SECRET, " "), "password: must be text in quotes"),
        (GOOD.replace(SECRET, "one\\ntwo"), "password: must be text in quotes on one line"),
        (SECTIONS.replace("tls", f'password = "{SECRET}"\ntls'), "broker.password: is not a key"),
        (GOOD.replace("[broker]", "[broker"), "syntax: is not TOML"),
        (GOOD.replace("seats = 60", "seats = many"), "syntax: is not TOML"),
        (f'password = "{SECRET}"', "tent.id: is missing"),
        ("tent = 5", "tent: must be a table"),
        ("", "broker.host: is missing"),
        ("#" * (prepared.MOST_BYTES + 1), "is larger than 1024 KiB"),
    ],
)
def test_a_faulty_file_says_why_and_leaves_everything_else_as_it_was(
    card: Card, text: str, said: str
) -> None:
    card.config.parent.mkdir(parents=True)
    card.config.write_text(SECTIONS)
    card.prepare(text)
    done = card.start()
    assert done.returncode == 2
    reason = (card.boot / "tentwatch-failed.txt").read_text()
    assert said in reason
    assert said in done.stderr
    assert SECRET not in reason + done.stderr
    assert (card.boot / "tentwatch.toml.failed").read_text() == text
    assert card.names() == {"tentwatch.toml.failed", "tentwatch-failed.txt"}
    assert [file.name for file in card.config.parent.iterdir()] == ["tentwatch.toml"]
    assert card.config.read_text() == SECTIONS


def test_bytes_that_are_no_text_are_a_fault(card: Card) -> None:
    card.file.write_bytes(b"id = \xff")
    assert card.start().returncode == 2
    assert "is not UTF-8" in (card.boot / "tentwatch-failed.txt").read_text()


def test_without_a_file_it_says_so(card: Card) -> None:
    done = card.start()
    assert done.returncode == 1
    assert "does not exist" in done.stderr


def test_it_lies_in_one_of_two_places(tmp_path: Path) -> None:
    for place in reversed(prepared.PLACES):
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        assert prepared.find(tmp_path) == file


# The broker's certificate authority


class Signed(NamedTuple):
    """An authority and a certificate that it has signed, all PEM; the authority's key is in `key`."""

    authority: str
    broker: str
    key: str


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    folder = tmp_path_factory.mktemp("ca")

    def openssl(*arguments: str) -> None:
        done = run("openssl", *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        "req",
        "-x509",
        *key,
        "-days",
        "1",
        "-subj",
        "/CN=Tents",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    )
    openssl("req", *key, "-subj", "/CN=broker.example.org", "-keyout", "b.key", "-out", "b.csr")
    (folder / "leaf").write_text("basicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "b.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "1", "-extfile", "leaf", "-out", "b.crt")  # fmt: skip
    return Signed(*((folder / name).read_text() for name in ("ca.crt", "b.crt", "ca.key")))


def as_written(text: str) -> bytes:
    return text.encode()


@pytest.mark.parametrize(
    "written",
    [
        as_written,
        lambda pem: b"\xef\xbb\xbf" + "Центр\r\n".encode() + pem.replace("\n", "\r\n").encode(),
        ssl.PEM_cert_to_DER_cert,
        lambda pem: (pem + pem).encode(),
    ],
    ids=["PEM", "Windows", "DER", "two"],
)
@pytest.mark.parametrize(
    "text", [GOOD, GOOD.replace("tls = true", 'tls = true\nca_file = "ca.crt"')]
)
def test_an_authority_beside_it_is_installed_and_used(
    card: Card, signed: Signed, written: Callable[[str], bytes], text: str
) -> None:
    card.prepare(text)
    (card.boot / "ca.crt").write_bytes(written(signed.authority))
    done = card.start()
    assert (done.returncode, done.stderr) == (0, "")
    own = card.config.with_name("ca.crt")
    assert own.stat().st_mode & 0o777 == 0o644
    broker = config.load(card.config).broker
    assert broker.ca_file == str(own)
    (trusted, *_) = tls_context(broker).get_ca_certs()
    assert trusted["subject"] == ((("commonName", "Tents"),),)
    assert card.names() == {"tentwatch.toml.done", "ca.crt"}


@pytest.mark.parametrize(
    ("text", "content", "said"),
    [
        (GOOD, lambda _: b"", "ca.crt: is no certificate"),
        (GOOD, lambda _: b"\x00\xff" * 50, "ca.crt: is no certificate"),
        (GOOD, lambda _: b"0\x82\x01\x00" + b"\xff" * 256, "ca.crt: is no certificate"),
        (GOOD, lambda s: s.authority[:200].encode(), "ca.crt: is no certificate"),
        (GOOD, lambda s: s.authority.encode() * 1000, "ca.crt: is no certificate"),
        (GOOD, lambda s: s.broker.encode(), "ca.crt: is the certificate of a broker"),
        (GOOD, lambda s: (s.authority + s.key).encode(), "ca.crt: holds a private key"),
        (
            GOOD.replace("tls = true", ""),
            lambda s: s.authority.encode(),
            "broker.tls: must be true",
        ),
        (GOOD.replace("UA-7", "a b"), lambda _: b"", "tent.id: is 'a b'"),
    ],
)
def test_an_authority_that_cannot_be_used_is_a_fault_of_the_card(
    card: Card, signed: Signed, text: str, content: Callable[[Signed], bytes], said: str
) -> None:
    card.prepare(text)
    (card.boot / "ca.crt").write_bytes(content(signed))
    done = card.start()
    assert done.returncode == 2
    assert said in (card.boot / "tentwatch-failed.txt").read_text()
    assert said in done.stderr
    assert "BEGIN" not in done.stderr
    assert card.names() == {"tentwatch.toml.failed", "tentwatch-failed.txt", "ca.crt"}
    assert not card.config.parent.exists()


# Power cuts: the process ends at each of the calls that change the disk, and starts anew.

#: What changes a name on the disk, or writes its content to it.
CHANGES = ("replace", "fsync", "link", "unlink", "open")
PROGRAM = """
import os, sys
from technician import cli
from technician.setup import config_file
from technician.setup import draft
from technician.setup import prepared
from technician.setup import setup

left = 0

def cut_before(call):
    def instead(*what, **how):
        global left
        left -= 1
        if not left:
            os._exit(99)
        return call(*what, **how)
    return instead

for name in sys.argv[1].split(","):
    setattr(os, name, cut_before(getattr(os, name)))
for number, file, config in zip(sys.argv[2::3], sys.argv[3::3], sys.argv[4::3]):
    child = os.fork()
    if not child:
        sys.argv[1:] = ["setup", "--prepared", file, "--config", config]
        left = int(number)
        sys.exit(cli.main())
    print(f"exit {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}", flush=True)
"""
NEVER, MOST_CUTS = 0, 40


def start_all(cards: dict[int, Card], cuts: Callable[[int], int]) -> dict[int, int]:
    """Start units, each in a process of its own; return their exit codes, 99 for a power cut."""
    arguments = [str(a) for n, c in cards.items() for a in (cuts(n), c.file, c.config)]
    done = run(sys.executable, "-c", PROGRAM, ",".join(CHANGES), *arguments, cwd=ROOT)
    assert "Traceback" not in done.stderr
    return dict(zip(cards, map(int, re.findall(r"^exit (\d+)$", done.stdout, re.M)), strict=True))


@pytest.mark.parametrize("text", [GOOD, GOOD.replace("UA-7", "a b")], ids=["good", "faulty"])
def test_a_power_cut_at_any_step_leads_to_the_same_end(
    tmp_path: Path, signed: Signed, text: str
) -> None:
    cards: dict[int, Card] = {}
    for number in range(MOST_CUTS):
        root = tmp_path / str(number)
        root.mkdir()
        card = cards[number] = Card(root)
        card.config.parent.mkdir(parents=True)
        card.config.write_text(SECTIONS.replace("UA-7", "UA-6"))
        card.prepare(text)
        (card.boot / "ca.crt").write_text(signed.authority)

    def end(card: Card) -> dict[str, str]:
        found = {name: data.decode() for name, data in card.everything().items()}
        return {n: text.replace(str(card.config.parent), "/etc") for n, text in found.items()}

    codes = start_all(cards, lambda number: number or NEVER)
    again = {n: card for n, card in cards.items() if card.file.exists()}
    codes_again = start_all(again, lambda _: NEVER)
    code = 0 if text == GOOD else 2
    assert codes[0] == codes[MOST_CUTS - 1] == code
    assert set(codes_again.values()) == {code}
    assert list(codes.values()).count(99) >= len(again) >= 5
    for number, card in cards.items():
        assert end(card) == end(cards[0]), number


# The service


def test_systemd_accepts_the_unit_and_it_exposes_little(tmp_path: Path) -> None:
    text = UNIT.read_text()
    here = text.replace("/opt/tentwatch/bin/tentwatch", TENTWATCH[0])
    assert here.count(TENTWATCH[0]) == 1
    unit = tmp_path / UNIT.name
    unit.write_text(here)
    assert complaints(unit) == ""
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= 1.5, done.stdout
    for place in prepared.PLACES:
        assert f"ConditionPathExists=|/{place}\n" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to lose")
def test_it_works_under_the_units_restrictions(card: Card, signed: Signed) -> None:
    """With the service's system calls and its one capability."""
    service = settings(UNIT)
    (kept,) = service["CapabilityBoundingSet"][0].split()
    assert kept == "CAP_CHOWN"
    drop, chown, last = 24, 0, 40  # PR_CAPBSET_DROP, linux/capability.h
    confine = sandbox(service)

    def lose() -> None:
        libc = ctypes.CDLL(None)
        for right in range(last + 1):
            if right != chown:
                libc.prctl(drop, right, 0, 0, 0)
        confine()

    card.prepare(GOOD)
    (card.boot / "ca.crt").write_text(signed.authority)
    card.config.parent.mkdir(parents=True)
    card.config.write_text(SECTIONS)
    program = "from technician import cli, secrets; secrets.OWNER = 'nobody'; raise SystemExit(cli.main())"
    command = [sys.executable, "-c", program, "setup", "--prepared", str(card.file)]
    command += ["--config", str(card.config)]
    done = run(*command, cwd=ROOT, preexec_fn=lose, umask=int(service["UMask"][0], 8))
    assert (done.returncode, done.stderr) == (0, "")
    password = card.config.with_name("password")
    assert password.owner() == "nobody"
    assert password.stat().st_mode & 0o777 == 0o600
    assert config.load(card.config).tent.id == "UA-7"
    authority = card.config.with_name("ca.crt")
    assert authority.read_text() == signed.authority
    assert authority.stat().st_mode & 0o777 == 0o644
    assert card.names() == {"tentwatch.toml.done", "ca.crt"}


# The instructions


def test_the_table_of_the_instructions_makes_files_that_are_in_order(
    tmp_path: Path, card: Card
) -> None:
    text = (ROOT / "docs/install.md").read_text()
    (script,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    rows: list[dict[str, Any]] = [
        {"id": f"UA-{n}", "name": 'Буча, "спортзал"', "seats": 50 + n, "password": 'a"\\b,ї'}
        for n in range(50)
    ]
    with (tmp_path / "tents.csv").open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    (tmp_path / "common.toml").write_text('[broker]\nhost = "b.example.org"\ntls = true\n')
    done = run(sys.executable, "-c", script, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "cards").iterdir())) == 50
    card.prepare((tmp_path / "cards/UA-49/tentwatch.toml").read_text())
    assert card.start().returncode == 0
    found = config.load(card.config)
    assert (found.tent.id, found.tent.seats, found.tent.name) == ("UA-49", 99, 'Буча, "спортзал"')
    assert card.config.with_name("password").read_text() == 'a"\\b,ї\n'


def test_the_example_of_the_instructions_is_in_order(card: Card) -> None:
    text = (ROOT / "docs/install.md").read_text()
    (example,) = re.findall(r"^```toml\n(.*?)^```$", text, re.M | re.S)
    card.prepare(example)
    assert card.start().returncode == 0
    with pytest.raises(ConfigError):
        config.parse(example)  # the password is no key
