"""The centre's broker as docs/broker.md sets it up: who may publish and read what, on a real broker."""

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from publisher.messages import HISTORY_MAX_BYTES
from technician.demo.mosquitto import serves
from tests import contract
from tests.conftest import PATIENCE_S, Unit, command, reserved_port, wait_for

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "broker.md"
SETTINGS = ROOT / "systemd" / "mosquitto" / "tentwatch.conf"
#: The tent of the page's example has the name of the simulated unit.
TENT, OTHER = "demo", "UA-32-0418"
REFUSED = "Not authorized"


def chapters() -> dict[str, list[str]]:
    """Return the commands of each chapter of the page, block by block."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    found = {}
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        blocks = re.findall(r"^( *)```sh\n(.*?)^ *```$", text, re.M | re.S)
        found[title] = [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in blocks]
    return found


class Centre:
    """A machine with a broker on it, which follows the page's commands."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._reserved = reserved_port()
        self.port: int = self._reserved.getsockname()[1]
        self.passwords: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        for folder in ("etc/mosquitto/conf.d", "etc/mosquitto/certs", "data"):
            (directory / folder).mkdir(parents=True)
        if os.geteuid() == 0:
            shutil.chown(directory / "data", "mosquitto", "mosquitto")
        # As Debian's, with other paths; the log is where everybody may write it.
        self.log = directory / "mosquitto.log"
        (directory / "etc/mosquitto/mosquitto.conf").write_text(
            f"persistence true\npersistence_location {directory}/data/\nlog_dest stderr\n"
            f"include_dir {directory}/etc/mosquitto/conf.d\n"
        )

    def follow(self, block: str, *, tent: str = TENT) -> None:
        """Run a block of the page's commands with this test's paths, names and port."""
        here = block.replace("/etc/", f"{self.directory}/etc/").replace("UA-32-0417", tent)
        here = here.replace("broker.example.org", "localhost").replace("8883", str(self.port))
        here = re.sub(r"\bca/", f"{self.directory}/ca/", here).replace(" ca\n", " $ca\n", 1)
        if os.geteuid() != 0:
            here = here.replace("-o mosquitto -g mosquitto ", "")
        # Only systemctl is replaced; all other commands run unchanged.
        around = f"""
            ca={self.directory}/ca log={self.log} pid={self.process and self.process.pid}
            sudo() {{ "$@"; }}
            apt-get() {{ :; }}
            systemctl() {{
                echo "systemctl $*"
                [ "$*" = "reload mosquitto" ] || return 0
                local before=$(grep -c "Reloading config" $log)
                kill -HUP $pid
                until [ $(grep -c "Reloading config" $log) -gt $before ]; do :; done
            }}
            """
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", around + here],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S * 3,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.passwords |= dict(re.findall(r"^(\S+): ([0-9a-f]{32})$", done.stdout, re.M))
        settings = self.directory / "etc/mosquitto/conf.d/tentwatch.conf"
        if settings.exists():
            text = settings.read_text().replace(" /etc/", f" {self.directory}/etc/")
            settings.write_text(text.replace("listener 8883\n", f"listener {self.port}\n"))
        if "systemctl restart mosquitto\n" in done.stdout:
            self.start()

    def start(self) -> None:
        self.stop()
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        assert program is not None, "mosquitto is not installed"
        config = self.directory / "etc/mosquitto/mosquitto.conf"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([program, "-c", config], stdout=log, stderr=log)
        wait_for(lambda: serves(self.port), f"mosquitto: {self.log.read_text()}")

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            process.wait()

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca" / "ca.crt"


class Peer:
    """A client of the broker; `heard` has the topics and payloads that it received, in order."""

    def __init__(self, centre: Centre, user: str, **how: Any) -> None:
        self.heard: list[tuple[str, str]] = []
        self.is_lost = threading.Event()
        self.answer: str | None = None
        self._up = threading.Event()
        self._done: dict[int, str] = {}
        self.client = Client(
            CallbackAPIVersion.VERSION2, client_id=how.get("client_id", user), protocol=MQTTv5
        )
        self.client.username_pw_set(user, how.get("password", centre.passwords.get(user)))
        self.client.tls_set(str(centre.ca_file))
        if "will" in how:
            self.client.will_set(how["will"], "will", qos=1, retain=True)
        self.client.on_connect = self._connected
        self.client.on_disconnect = lambda *_: self.is_lost.set()
        self.client.on_message = self._take
        self.client.on_publish = lambda _, __, mid, reason, ___: self._note(mid, str(reason))
        self.client.on_subscribe = lambda _, __, mid, reasons, ___: self._note(mid, str(reasons))
        self.client.connect("localhost", centre.port)
        self.client.loop_start()
        assert self._up.wait(PATIENCE_S)

    def _connected(self, client: Client, userdata: Any, flags: Any, reason: Any, _: Any) -> None:
        self.answer = str(reason)
        if reason.is_failure:
            client.disconnect()  # paho would try again for ever
        self._up.set()

    def _take(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        self.heard.append((message.topic, message.payload.decode()))

    def _note(self, mid: int, said: str) -> None:
        self._done[mid] = said

    def publish(self, topic: str, payload: str = "x", *, retain: bool = False) -> str:
        """Publish, and return the broker's reason."""
        mid = self.client.publish(topic, payload, qos=1, retain=retain).mid
        wait_for(lambda: mid in self._done, f"an answer to {topic}")
        return self._done[mid]

    def subscribe(self, topic: str) -> None:
        mid = self.client.subscribe(topic, 1)[1]
        assert mid is not None
        wait_for(lambda: mid in self._done, f"a subscription to {topic}")

    def vanish(self) -> None:
        """Break the connection as a power cut does, and do not reconnect."""
        sock: Any = self.client.socket()
        self.client.on_disconnect = lambda client, *_: client.disconnect()
        sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def centre() -> Iterator[Centre]:
    # Not under pytest's own directory, which the broker's user may not enter.
    with tempfile.TemporaryDirectory(prefix="tentwatch-centre-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        centre = Centre(directory)
        page = chapters()
        for block in page["Set it up"]:
            centre.follow(block)
        for tent in (TENT, OTHER):
            centre.follow(*page["Add a tent"], tent=tent)
        yield centre
        centre.stop()


Meet = Callable[..., Peer]


@pytest.fixture
def meet(centre: Centre) -> Iterator[Meet]:
    peers: list[Peer] = []

    def meet(user: str, **how: Any) -> Peer:
        peers.append(Peer(centre, user, **how))
        return peers[-1]

    yield meet
    for peer in peers:
        peer.close()


def fence(listener: Peer, sender: Peer, topic: str) -> list[tuple[str, str]]:
    """Return all that `listener` received before a last message that it may read: order is kept."""
    assert sender.publish(topic, "fence") != REFUSED
    wait_for(lambda: (topic, "fence") in listener.heard, "the fence")
    return listener.heard[: listener.heard.index((topic, "fence"))]


OWN = ["link", "about", "state", "event", "history", "days", "res/a1"]


def test_a_tent_writes_its_own_topics_and_the_centre_hears_them(meet: Meet) -> None:
    dashboard, tent = meet("dashboard"), meet(TENT)
    dashboard.subscribe("tents/v1/#")
    for what in OWN:
        assert tent.publish(f"tents/v1/{TENT}/{what}", what) != REFUSED
    wait_for(
        lambda: {f"tents/v1/{TENT}/{w}" for w in OWN} <= {t for t, _ in dashboard.heard}, "all"
    )


NOT_OWN = [
    *(f"tents/v1/{OTHER}/{what}" for what in [*OWN, "cmd/report"]),
    *(f"tents/v1/{TENT}/{what}" for what in ("cmd/report", "state/x", "other")),
    f"tents/v1/{TENT}",
    f"tents/v2/{TENT}/state",
    f"tents/v1/x/{TENT}/state",
    f"/tents/v1/{TENT}/state",
    f"tents/v1/{TENT.upper()}/state",
    f"tents/v1//{TENT}/state",
    f"homeassistant/device/{TENT}/config",
    "$SYS/broker/uptime",
    "$CONTROL/dynamic-security/v1",
]


def test_a_tent_writes_nothing_else(meet: Meet) -> None:
    early, late, tent = meet("dashboard"), meet("operator"), meet(TENT)
    early.subscribe("tents/v1/#")
    said = {(t, r): tent.publish(t, "lie", retain=r) for t in NOT_OWN for r in (False, True)}
    assert set(said.values()) == {REFUSED}, said
    late.subscribe("tents/v1/#")
    for listener in (early, late):
        heard = fence(listener, tent, f"tents/v1/{TENT}/event")
        assert "lie" not in {payload for _, payload in heard}


@pytest.mark.parametrize(
    "wish",
    [
        f"tents/v1/{OTHER}/cmd/#",
        f"tents/v1/{OTHER}/#",
        "tents/v1/+/cmd/#",
        "tents/v1/+/state",
        "tents/#",
        "#",
        "+/+/+/+",
        f"$share/g/tents/v1/{OTHER}/cmd/#",
        "$share/g/#",
        "$SYS/#",
    ],
)
def test_a_tent_hears_nothing_of_others(meet: Meet, wish: str) -> None:
    operator, tent, other = meet("operator"), meet(TENT), meet(OTHER)
    other.subscribe(f"tents/v1/{OTHER}/cmd/#")
    other.publish(f"tents/v1/{OTHER}/state", "before", retain=True)
    tent.subscribe(f"tents/v1/{TENT}/cmd/#")
    tent.subscribe(wish)
    for what in ("state", "event", "res/a1"):
        other.publish(f"tents/v1/{OTHER}/{what}", "after")
    operator.publish(f"tents/v1/{OTHER}/cmd/report", "command")
    heard = fence(tent, operator, f"tents/v1/{TENT}/cmd/report")
    assert heard == []
    wait_for(lambda: bool(other.heard), "the command where it belongs")
    assert other.heard == [(f"tents/v1/{OTHER}/cmd/report", "command")]


def test_a_will_obeys_the_rules(meet: Meet) -> None:
    dashboard, other = meet("dashboard"), meet(OTHER)
    dashboard.subscribe("tents/v1/+/link")
    liar = meet(TENT, will=f"tents/v1/{OTHER}/link")
    if liar.answer == "Success":
        liar.vanish()
    honest = meet(OTHER, will=f"tents/v1/{OTHER}/link")
    assert other.is_lost.wait(PATIENCE_S), "the same user came twice"
    honest.vanish()
    wait_for(lambda: bool(dashboard.heard), "a will")
    assert dashboard.heard == [(f"tents/v1/{OTHER}/link", "will")]


def test_a_tent_cannot_take_anothers_place_by_its_client_id(meet: Meet) -> None:
    other, tent = meet(OTHER), meet(TENT, client_id=OTHER)
    assert tent.publish(f"tents/v1/{TENT}/event") != REFUSED
    assert other.publish(f"tents/v1/{OTHER}/event") != REFUSED
    assert not other.is_lost.is_set()


@pytest.mark.parametrize("user", ["dashboard", "recorder", "operator"])
def test_the_centre_cannot_speak_as_a_tent(meet: Meet, user: str) -> None:
    peer = meet(user)
    for name in (TENT, OTHER, "new", user):
        for what in OWN:
            assert peer.publish(f"tents/v1/{name}/{what}", "lie", retain=True) == REFUSED


def test_only_operators_give_commands(meet: Meet) -> None:
    tent = meet(TENT)
    tent.subscribe(f"tents/v1/{TENT}/cmd/#")
    assert meet("dashboard").publish(f"tents/v1/{TENT}/cmd/report", "no") == REFUSED
    assert meet(OTHER).publish(f"tents/v1/{TENT}/cmd/report", "no") == REFUSED
    assert fence(tent, meet("operator"), f"tents/v1/{TENT}/cmd/report") == []


def test_a_recorder_asks_for_records_again_and_commands_nothing_else(meet: Meet) -> None:
    tent, recorder = meet(TENT), meet("recorder")
    tent.subscribe(f"tents/v1/{TENT}/cmd/#")
    recorder.subscribe("tents/v1/#")
    for command_ in ("report", "headcount", "open", "resend/x"):
        assert recorder.publish(f"tents/v1/{TENT}/cmd/{command_}", "no") == REFUSED
    assert fence(tent, recorder, f"tents/v1/{TENT}/cmd/resend") == []
    assert tent.publish(f"tents/v1/{TENT}/history", "again") != REFUSED
    wait_for(lambda: (f"tents/v1/{TENT}/history", "again") in recorder.heard, "the records")
    assert meet("dashboard").publish(f"tents/v1/{TENT}/cmd/resend", "no") == REFUSED


@pytest.mark.parametrize(
    ("user", "password"), [("", ""), (TENT, "wrong"), (TENT, ""), ("nobody", "x"), ("+", "x")]
)
def test_without_user_and_password_nobody_comes_in(
    centre: Centre, meet: Meet, user: str, password: str
) -> None:
    assert meet(user, password=password).answer == REFUSED


def test_another_tents_password_does_not_serve(centre: Centre, meet: Meet) -> None:
    assert meet(TENT, password=centre.passwords[OTHER]).answer == REFUSED


def handshake(centre: Centre, version: ssl.TLSVersion) -> str | None:
    context = ssl.create_default_context(cafile=str(centre.ca_file))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # otherwise this side would refuse old versions
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("localhost", centre.port), PATIENCE_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                return secure.version()
        except (ssl.SSLError, ConnectionError):
            return None


@pytest.mark.filterwarnings("ignore:.*TLSVersion.*:DeprecationWarning")
def test_tls_is_1_2_at_least(centre: Centre) -> None:
    assert handshake(centre, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert handshake(centre, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert handshake(centre, ssl.TLSVersion.TLSv1_1) is None
    with socket.create_connection(("localhost", centre.port), PATIENCE_S) as plain:
        plain.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")  # CONNECT without TLS
        said = b""
        with contextlib.suppress(ConnectionError):
            said = plain.recv(4)
        assert said[:1] != b"\x20", "a CONNACK"


def test_a_dashboard_that_comes_late_gets_more_than_a_thousand_tents(meet: Meet) -> None:
    tent, topics = meet(TENT), [f"tents/v1/{TENT}/res/{n}" for n in range(1500)]
    for topic in topics[:-1]:
        tent.client.publish(topic, "kept", qos=1, retain=True)
    assert tent.publish(topics[-1], "kept", retain=True) != REFUSED
    dashboard = meet("dashboard")
    dashboard.subscribe(f"tents/v1/{TENT}/res/+")
    wait_for(lambda: {topic for topic, _ in dashboard.heard} >= set(topics), "all of them")
    for topic in topics[:-1]:
        tent.client.publish(topic, "", qos=1, retain=True)
    tent.publish(topics[-1], "", retain=True)


def test_the_largest_history_passes_and_what_is_far_larger_does_not(meet: Meet) -> None:
    tent = meet(TENT)
    assert tent.publish(f"tents/v1/{TENT}/history", "x" * HISTORY_MAX_BYTES) != REFUSED
    tent.client.publish(f"tents/v1/{TENT}/history", "x" * 4 * HISTORY_MAX_BYTES, qos=1)
    assert tent.is_lost.wait(PATIENCE_S)


def test_what_a_broken_broker_loses_is_a_matter_of_seconds() -> None:
    found = re.search(r"^autosave_interval (\d+)$", SETTINGS.read_text(), re.M)
    assert found is not None
    assert 1 <= int(found[1]) <= 60


def test_a_unit_works_under_these_rules(
    centre: Centre, meet: Meet, make_unit: Callable[..., Unit], tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(centre.passwords[TENT])
    password.chmod(0o600)
    unit = make_unit(
        centre.port, tls=True, ca_file=str(centre.ca_file), username=TENT,
        password_file=str(password), host="localhost",
    )  # fmt: skip
    dashboard, operator = meet("dashboard"), meet("operator")
    for peer in (dashboard, operator):
        peer.subscribe("tents/v1/#")
    unit.start()
    wait_for(lambda: any(t == f"tents/v1/{TENT}/state" for t, _ in dashboard.heard), "a state")
    topic, payload = command("headcount", "c1", people=23)
    dashboard.publish(topic, payload.replace("c1", "c0"))
    assert operator.publish(topic, payload) != REFUSED
    wait_for(lambda: any(t == f"tents/v1/{TENT}/res/c1" for t, _ in operator.heard), "an answer")
    assert unit.status()["capacity"]["people"] == 23
    assert f"tents/v1/{TENT}/res/c0" not in {t for t, _ in operator.heard}
    unit.stop()
    kinds = {topic.rpartition("/")[2] for topic, _ in unit.sent}
    assert {"link", "about", "state", "event", "c1"} <= kinds


def test_a_demonstration_is_a_tent_like_any_other_under_these_rules(
    centre: Centre, meet: Meet, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(centre.passwords[OTHER])
    dashboard = meet("dashboard")
    dashboard.subscribe(f"tents/v1/{OTHER}/#")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("tentwatch"), "demo", "--seconds", "4", "--speed", "60",
            "--broker", f"localhost:{centre.port}", "--ca-file", centre.ca_file,
            "--username", OTHER, "--password-file", password,
            "--id", OTHER, "--name", 'Буча, "спортзал"', "--seats", "12", "--place", "50.5469,-30.2",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S * 3,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    # Other tests have left payloads that are no JSON.
    found = {t.rpartition("/")[2]: json.loads(p) for t, p in dashboard.heard if p[:1] == "{"}
    about = contract.check(f"tents/v1/{OTHER}/about", json.dumps(found["about"]))
    assert (about["name"], about["seats"], about["simulated"]) == ('Буча, "спортзал"', 12, True)
    assert (about["latitude"], about["longitude"]) == (50.5469, -30.2)
    assert found["state"]["capacity"]["seats"] == 12
    assert found["link"]["online"] is False


def test_a_tent_that_is_given_up_is_thrown_off_and_forgotten(centre: Centre, meet: Meet) -> None:
    page = chapters()
    centre.follow(*page["Add a tent"], tent="UA-99-0001")
    tent, dashboard = meet("UA-99-0001"), meet("dashboard")
    for what in ("link", "about", "state", "days"):
        tent.publish(f"tents/v1/UA-99-0001/{what}", "kept", retain=True)
    centre.follow(*page["Remove a tent"], tent="UA-99-0001")
    assert tent.is_lost.wait(PATIENCE_S), "the old password still holds"
    dashboard.subscribe("tents/v1/UA-99-0001/#")
    dashboard.subscribe(f"tents/v1/{OTHER}/event")
    assert fence(dashboard, meet(OTHER), f"tents/v1/{OTHER}/event") == []
    assert meet("UA-99-0001").answer == REFUSED


def test_another_prefix_is_a_matter_of_the_rules_alone() -> None:
    """The page's command changes every rule and leaves none for the old prefix."""
    rules = (ROOT / "systemd" / "mosquitto" / "tentwatch.acl").read_text()
    command_line = re.search(r"sed -i '(s\|[^']*)'", PAGE.read_text())
    assert command_line is not None
    done = subprocess.run(
        ["sed", command_line[1]], input=rules, capture_output=True, text=True, check=True
    )
    kept = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert not any("tents/v1" in line for line in kept)
    assert sum("OTHER/PREFIX" in line for line in kept) == 16


def test_secrets_of_the_broker_are_its_own(centre: Centre) -> None:
    folder = centre.directory / "etc" / "mosquitto"
    for file in ("tentwatch.passwords", "tentwatch.acl", "certs/tentwatch.key"):
        assert (folder / file).stat().st_mode & 0o077 == 0, file
        if os.geteuid() == 0:
            assert (folder / file).owner() == "mosquitto", file
    written = (folder / "tentwatch.passwords").read_text()
    assert not [user for user, password in centre.passwords.items() if password in written]


def test_the_broker_has_nothing_against_its_configuration(centre: Centre) -> None:
    beginning = centre.log.read_text().partition(" running")[0]
    assert "Loading config file" in beginning
    assert not re.search(r"(?i)warning|error|deprecated|unable", beginning), beginning
