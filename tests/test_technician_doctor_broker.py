"""`tentwatch doctor` on the way to the broker: each fault induced on a real one, and named with its cure."""

import dataclasses
import itertools
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from publisher.clock import Clock, DemoClock
from publisher.config.load import Config
from sensors.simulated.hardware import SimulatedHardware
from technician.demo.demo import configuration
from technician.doctor import broker_check
from technician.doctor.broker_check import Way
from technician.doctor.examination import examine
from technician.doctor.findings import Finding
from tests.conftest import Broker, Subscriber, Unit, is_connected, trouble_of, wait_for
from tests.test_publisher_broker_rules import TENT, Centre, chapters
from tests.test_publisher_dial import DAY, NOW, Authority
from tests.test_technician_doctor import Found, Unset, not_well
from tests.wires import Wire

#: The login, and what comes behind it.
BEHIND = ("broker.publish", "broker.commands", "broker.round_trip")
STEPS = ("broker.name", "broker.tcp", "broker.tls", "broker.login", *BEHIND)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow slow answers: this machine may be busy."""
    monkeypatch.setattr(broker_check, "LIMIT_S", 60.0)
    monkeypatch.setattr(broker_check, "STEP_S", 20.0)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    hardware = SimulatedHardware(tmp_path_factory.mktemp("devices"), DemoClock(1.0))
    hardware.close()
    return configuration(hardware, {"host": "127.0.0.1", "port": 1883}, 1.0)


Walk = Callable[..., list[Finding]]


@pytest.fixture
def walk(config: Config) -> Walk:
    def walk(clock: Clock | None = None, **broker: Any) -> list[Finding]:
        settings = dataclasses.replace(config.broker, **broker)
        there = dataclasses.replace(config, broker=settings)
        return Way(there, clock or DemoClock(1.0), lambda: None, lambda: None, lambda: None).walk()

    return walk


def assert_stops_at(findings: list[Finding], key: str, words: str, *, tls: bool = False) -> None:
    """Check that one step fails: those before it pass, those after it are not tried."""
    assert [finding.key for finding in findings] == [*STEPS]
    at = STEPS.index(key)
    verdicts = {finding.key: finding.verdict.value for finding in findings}
    expected = dict.fromkeys(STEPS[:at], "pass") | dict.fromkeys(STEPS[at:], "not_tried")
    if not tls and at > STEPS.index("broker.tls"):
        expected["broker.tls"] = "not_tried"
    assert verdicts == expected | {key: "fail"}, [f.as_json() for f in findings]
    cure = findings[at].cure
    assert cure is not None
    assert words in cure.english()
    for finding in findings[at + 1 :]:
        assert key in finding.seen.english()


# Name and TCP


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (socket.EAI_NONAME, "check host in [broker] for a misspelling"),
        (socket.EAI_AGAIN, "start the modem anew"),
    ],
)
def test_a_name_that_is_not_found(
    walk: Walk, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    def getaddrinfo(host: str, *args: Any, **how: Any) -> Any:
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert_stops_at(walk(host="broker.test"), "broker.name", words)


def test_what_cannot_be_a_name(walk: Walk) -> None:
    assert_stops_at(walk(host="x" * 64), "broker.name", "write the broker's name")


def test_a_resolver_that_swallows_the_question(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_check, "STEP_S", 0.3)
    answer = threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **how: Any) -> Any:
        if host == "broker.test" and not how.get("flags"):
            answer.wait(20.0)
        return (
            real("127.0.0.1", *args, **how)
            if host == "broker.test" and not how.get("flags")
            else real(host, *args, **how)
        )

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert_stops_at(walk(host="broker.test"), "broker.name", "start the modem anew")
    answer.set()
    wait_for(lambda: "lookup" not in [t.name for t in threading.enumerate()], "the thread's end")


def test_a_port_on_which_nobody_listens(walk: Walk, broker: Broker) -> None:
    broker.stop()
    assert_stops_at(walk(port=broker.port), "broker.tcp", "check port in [broker]")


def test_a_host_that_answers_nothing(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_check, "STEP_S", 0.3)
    with socket.socket() as server:  # its queue of connections is full
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(server.getsockname())
        found = walk(port=server.getsockname()[1])
        for other in others:
            other.close()
    assert_stops_at(found, "broker.tcp", "check the modem and its credit")


# TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "authority").mkdir()
    return Authority(tmp_path / "authority")


@pytest.fixture
def tls(
    authority: Authority, tmp_path: Path
) -> Iterator[Callable[[datetime, datetime], dict[str, Any]]]:
    """Return a function that starts a broker with a certificate for some time; it returns its settings."""
    place = tmp_path / "tls"
    place.mkdir()
    broker = Broker(
        place,
        f"allow_anonymous true\ncertfile {authority.path('broker.crt')}\n"
        f"keyfile {authority.path('broker.key')}",
    )

    def start(since: datetime, until: datetime) -> dict[str, Any]:
        authority.sign(since, until)
        broker.start()
        return {
            "host": "localhost", "port": broker.port, "tls": True, "ca_file": authority.path("ca.crt")
        }  # fmt: skip

    yield start
    broker.stop()


Start = Callable[[datetime, datetime], dict[str, Any]]


def test_tls_that_is_well(walk: Walk, tls: Start) -> None:
    assert not not_well(walk(**tls(NOW - DAY, NOW + DAY)))


def test_a_certificate_that_has_expired(walk: Walk, tls: Start) -> None:
    found = walk(**tls(NOW - 9 * DAY, NOW - 2 * DAY))
    assert_stops_at(found, "broker.tls", "must be renewed at the centre", tls=True)
    assert f"{NOW - 2 * DAY:%Y-%m-%d}" in found[2].seen.english()


def test_a_certificate_that_has_expired_or_a_clock_that_is_wrong(walk: Walk, tls: Start) -> None:
    found = walk(Unset(1.0), **tls(NOW - 9 * DAY, NOW - 2 * DAY))
    assert_stops_at(found, "broker.tls", "see that clock.synced is ok", tls=True)


def test_a_certificate_of_tomorrow_is_a_clock_that_is_not_set(walk: Walk, tls: Start) -> None:
    found = walk(Unset(1.0), **tls(NOW + 9 * DAY, NOW + 20 * DAY))
    assert_stops_at(found, "broker.tls", "see that clock.synced is ok", tls=True)


def test_the_certificate_of_another_authority(walk: Walk, tls: Start, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    found = walk(**tls(NOW - DAY, NOW + DAY) | {"ca_file": other.path("ca.crt")})
    assert_stops_at(found, "broker.tls", "fetch the ca.crt of this broker anew", tls=True)


def test_a_certificate_for_another_name(walk: Walk, tls: Start) -> None:
    found = walk(**tls(NOW - DAY, NOW + DAY) | {"host": "127.0.0.1"})
    assert_stops_at(
        found, "broker.tls", "write a name that is in the broker's certificate", tls=True
    )


def test_tls_on_a_port_without_it(walk: Walk, broker: Broker) -> None:
    found = walk(port=broker.port, tls=True)
    assert_stops_at(found, "broker.tls", "tls and port in [broker] must go together", tls=True)


def test_no_tls_on_a_port_with_it(walk: Walk, tls: Start) -> None:
    port = tls(NOW - DAY, NOW + DAY)["port"]
    assert_stops_at(walk(port=port), "broker.login", "check tls, port and protocol")


# The login, and what the user may do: the shipped broker


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
        for tent in (TENT, "UA-32-0418"):
            centre.follow(*page["Add a tent"], tent=tent)
        yield centre
        centre.stop()


def login(
    centre: Centre, directory: Path, user: str, password: str | None = None
) -> dict[str, Any]:
    file = directory / "password"
    file.write_text(password or centre.passwords[user])
    file.chmod(0o600)
    return {
        "host": "localhost", "port": centre.port, "tls": True, "ca_file": str(centre.ca_file),
        "username": user, "password_file": str(file),
    }  # fmt: skip


def test_the_shipped_broker_is_well(walk: Walk, centre: Centre, tmp_path: Path) -> None:
    assert not not_well(walk(**login(centre, tmp_path, TENT)))


def test_a_wrong_password(walk: Walk, centre: Centre, tmp_path: Path) -> None:
    found = walk(**login(centre, tmp_path, TENT, "wrong"))
    assert_stops_at(found, "broker.login", "check username and the password", tls=True)


def test_a_user_who_may_not_write_there(walk: Walk, centre: Centre, tmp_path: Path) -> None:
    found = not_well(walk(**login(centre, tmp_path, "UA-32-0418")))
    assert set(found) == {"broker.publish"}
    verdict, cure = found["broker.publish"]
    assert verdict == "fail"
    assert "id in [tent] must be the broker's user" in cure


def test_an_older_protocol_does_not_tell(walk: Walk, broker: Broker) -> None:
    found = walk(port=broker.port, protocol="3.1.1")
    assert not_well(found) == {"broker.tls": ("not_tried", ""), "broker.publish": ("not_tried", "")}
    assert "3.1.1" in found[4].seen.english()


def test_a_user_who_may_not_hear_commands(walk: Walk, broker: Broker) -> None:
    with Wire(broker.port) as wire:
        wire.edit = (
            lambda from_unit, packet: (  # SUBACK, not authorized
                packet[:-1] + b"\x87" if not from_unit and packet[0] == 0x90 else packet
            )
        )
        found = not_well(walk(port=wire.port))
    assert set(found) == {"broker.tls", "broker.commands"}
    assert found["broker.commands"][0] == "warning"
    assert "must let this user read tents/v1/demo/cmd/#" in found["broker.commands"][1]


def test_a_look_disturbs_no_dashboard(walk: Walk, broker: Broker, subscriber: Subscriber) -> None:
    assert set(not_well(walk(port=broker.port))) == {"broker.tls"}
    heard = [m.topic for m in subscriber.received() if not m.topic.endswith("/res/doctor")]
    assert not heard


# The login is the unit's


@pytest.fixture
def make_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Broker]]:
    """Makes brokers with settings of their own."""
    brokers: list[Broker] = []

    def make(settings: str) -> Broker:
        directory = tmp_path_factory.mktemp("own")
        brokers.append(Broker(directory, f"allow_anonymous true\n{settings}"))
        return brokers[-1].start()

    yield make
    for broker in brokers:
        broker.stop()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_doctor_sends_the_login_of_the_unit(
    walk: Walk, make_unit: Callable[..., Unit], broker: Broker, protocol: str
) -> None:
    """Only the numbers of the connection and the unit's serial differ, in the will."""
    logins: list[bytes] = []

    def edit(from_unit: bool, packet: bytes) -> bytes:
        if from_unit and packet[0] == 0x10:
            # What stands before the will is its length.
            body = packet[3 if packet[1] > 127 else 2 :]
            head, will, tail = re.split(rb"..(\{.*\})", body, flags=re.DOTALL)
            will = re.sub(rb'"serial":"\w+",', b"", will)
            logins.append(head + re.sub(rb'("boot"|"conn"):\d+', rb"\1", will) + tail)
        return packet

    with Wire(broker.port) as wire:
        wire.edit = edit
        unit = make_unit(wire.port, protocol=protocol).start()
        wait_for(lambda: is_connected(unit), "the connection")
        unit.stop()
        assert set(not_well(walk(port=wire.port, protocol=protocol))) <= {
            "broker.tls", "broker.publish"
        }  # fmt: skip
    assert len(logins) == 2
    assert logins[0] == logins[1]
    assert b"tents/v1/demo/link" in logins[0]


def test_doctor_leaves_no_will_behind(walk: Walk, broker: Broker, subscriber: Subscriber) -> None:
    """Neither with a round trip, nor where the broker ends it."""
    walk(port=broker.port, protocol="3.1.1")  # whose will has no delay
    with Wire(broker.port) as wire:
        wire.edit = lambda from_unit, packet: (
            b"\xe0\x01\x87" if not from_unit and packet[0] == 0x40 else packet
        )
        found = walk(port=wire.port)
    assert found[3].seen.english().endswith("has ended the connection (Not authorized)")
    walk(port=broker.port)
    heard = {m.topic for m in subscriber.received()}
    assert heard == {"tents/v1/demo/res/doctor"}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize(
    ("setting", "kind", "cure"),
    [
        ("retain_available false", "link.no_retained", "turn them on there"),
        ("max_qos 0", "link.no_qos_1", "turn QoS 1 on there"),
    ],
)
def test_a_broker_without_what_the_unit_needs_refuses_unit_and_doctor_alike(
    walk: Walk, make_unit: Callable[..., Unit], make_broker: Callable[[str], Broker],
    protocol: str, setting: str, kind: str, cure: str,
) -> None:  # fmt: skip
    """With MQTT 3.1.1 mosquitto only hangs up; it has a reason for MQTT 5."""
    port = make_broker(setting).port
    unit = make_unit(port, protocol=protocol).start()
    wait_for(lambda: trouble_of(unit) == kind, "the trouble")
    assert cure in unit.status()["link"]["error"]
    found = ask(unit)
    assert set(found) == {"broker.tls", "broker.login", *BEHIND}
    assert found["broker.login"][0] == "fail"
    assert cure in found["broker.login"][1]
    unit.stop()
    assert_stops_at(walk(port=port, protocol=protocol), "broker.login", cure)


def test_rules_by_client_id_are_no_complaint(
    walk: Walk, make_unit: Callable[..., Unit], make_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.acl"
    rules.write_text("pattern write tents/v1/%c/#\npattern read tents/v1/%c/cmd/#\n")
    rules.chmod(0o700)
    port = make_broker(f"acl_file {rules}").port
    assert set(not_well(walk(port=port))) == {"broker.tls"}
    unit = make_unit(port).start()
    wait_for(lambda: is_connected(unit), "the connection")
    assert set(ask(unit)) == {"broker.tls"}


def test_nobody_logs_in_for_a_unit_that_may_run(
    config: Config, broker: Broker, subscriber: Subscriber
) -> None:
    there = dataclasses.replace(config, broker=dataclasses.replace(config.broker, port=broker.port))
    silent = ("it does not answer", "use sudo")
    way = Way(there, DemoClock(1.0), lambda: None, lambda: None, lambda: silent)
    found = {finding.key: finding for finding in way.walk()}
    assert found["broker.tcp"].verdict == "pass"
    for key in ("broker.login", *BEHIND):
        assert found[key].verdict == "not_tried"
        assert found[key].seen.english() == "it does not answer"
        assert found[key].cure is not None
    assert not subscriber.received()


def test_a_unit_that_logs_in_meanwhile_is_asked(unit: Unit, broker: Broker) -> None:
    """Its login ends doctor's connection."""
    unit.start()
    wait_for(lambda: is_connected(unit), "the connection")
    status = unit.status()
    unit.stop()
    # As it answers: first not connected, then connected, with one message more each time.
    numbers = itertools.count()

    def answer() -> dict[str, Any]:
        number = next(numbers)
        link = status["link"] | {"connected": number > 0, "confirmed": number, "error": None}
        return status | {"link": link}

    with Wire(broker.port) as wire:
        wire.edit = lambda from_unit, packet: (
            b"\xe0\x01\x8e" if not from_unit and packet[0] == 0x40 else packet
        )
        there = dataclasses.replace(
            unit.config, broker=dataclasses.replace(unit.config.broker, port=wire.port)
        )
        found = Way(there, unit.clock, answer, lambda: None, lambda: None).walk()
    assert set(not_well(found)) == {"broker.tls"}
    assert found[3].seen.english() == "the running unit is logged in"


# Brokers that hang


def test_a_broker_that_takes_connections_and_says_nothing(
    walk: Walk, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_check, "STEP_S", 0.3)
    broker.freeze()
    found = walk(port=broker.port)
    assert_stops_at(found, "broker.login", "the broker hangs, or another service is on this port")
    found = walk(port=broker.port, tls=True)
    assert_stops_at(
        found, "broker.tls", "the broker hangs, or this port is one without TLS", tls=True
    )
    broker.thaw()


def test_a_service_that_is_no_broker(walk: Walk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            peer, _ = server.accept()
            peer.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            peer.recv(1000)
            peer.close()

        thread = threading.Thread(target=greet)
        thread.start()
        found = walk(port=server.getsockname()[1])
        thread.join()
    assert found[3].key == "broker.login"
    assert found[3].verdict == "fail"
    assert found[3].cure is not None


def test_a_broker_that_confirms_nothing(
    walk: Walk, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_check, "STEP_S", 1.0)
    with Wire(broker.port) as wire:
        wire.edit = lambda from_unit, packet: (
            b"" if not from_unit and packet[0] in (0x40, 0x90) else packet  # PUBACK, SUBACK
        )
        found = not_well(walk(port=wire.port))
    assert found["broker.round_trip"][0] == "fail"
    assert "the broker hangs or the way there loses too much" in found["broker.round_trip"][1]
    assert found["broker.publish"][0] == found["broker.commands"][0] == "not_tried"
    assert set(found) == {"broker.tls", *BEHIND}


# A running unit is asked


def ask(unit: Unit) -> Found:
    assert unit.agent is not None
    agent = unit.agent
    return not_well(
        Way(
            unit.config,
            unit.clock,
            agent.status,
            lambda: agent._ask({"command": "report"}),
            lambda: None,
        ).walk()
    )


def test_a_unit_that_is_connected_is_asked_and_not_thrown_off(
    make_unit: Callable[..., Unit], centre: Centre, tmp_path: Path
) -> None:
    """The shipped broker goes by the user's name: a second login would end the unit's connection."""
    unit = make_unit(
        centre.port, **{k: v for k, v in login(centre, tmp_path, TENT).items() if k != "port"}
    )
    unit.start()
    wait_for(lambda: is_connected(unit), "the connection")
    assert ask(unit) == {}
    assert unit.status()["link"]["sessions"] == 1


def test_what_the_broker_refuses_a_running_unit(
    make_unit: Callable[..., Unit],
    centre: Centre,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_check, "STEP_S", 0.3)  # what is refused is waited for in vain
    settings = login(centre, tmp_path, "UA-32-0418")
    settings.pop("port")
    unit = make_unit(centre.port, **settings).start()
    wait_for(lambda: is_connected(unit) and trouble_of(unit) == "link.not_allowed", "the refusal")
    found = ask(unit)
    assert found["broker.publish"][0] == "fail"
    assert "id in [tent] must be the broker's user" in found["broker.publish"][1]
    assert set(found) <= {"broker.publish", "broker.round_trip"}


def test_a_unit_that_cannot_do_what_works_here_is_reported(
    make_unit: Callable[..., Unit], broker: Broker, tmp_path: Path
) -> None:
    """Root may read the password, and the service's user may not."""
    file = tmp_path / "password"
    unit = make_unit(broker.port, username="demo", password_file=str(file))
    unit.start()
    wait_for(lambda: trouble_of(unit) == "link.file_unusable", "the error")
    status = unit.status()  # as it was then: it would soon try again
    file.write_text("secret")
    found = not_well(
        Way(unit.config, unit.clock, lambda: status, lambda: None, lambda: None).walk()
    )
    assert found["broker.login"][0] == "fail"
    assert "owner tentwatch, mode 0600" in found["broker.login"][1]
    assert set(found) == {"broker.tls", "broker.login"}


def test_two_units_with_one_id(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber
) -> None:
    with Wire(broker.port) as wire:
        unit = make_unit(wire.port).start()
        subscriber.next("state")
        wire.inject(b"\xe0\x01\x8e")  # DISCONNECT, session taken over
        wait_for(lambda: trouble_of(unit) == "link.taken_over", "the twin to be named")
        found = ask(unit)
        assert found["broker.login"][0] == "fail"
        assert "two units have one id" in found["broker.login"][1]
        wait_for(lambda: is_connected(unit), "the unit to have its turn again")
        assert "two units have one id" in ask(unit)["broker.login"][1], "reported for a while"
        unit.stop()


def test_a_broker_that_freezes_under_a_running_unit(
    unit: Unit, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit.start()
    wait_for(lambda: is_connected(unit) and not unit.status()["link"]["in_flight"], "the unit")
    monkeypatch.setattr(broker_check, "STEP_S", 0.5)
    broker.freeze()
    found = ask(unit)
    broker.thaw()
    assert set(found) == {"broker.tls", "broker.round_trip"}
    assert "the broker hangs or the way there loses too much" in found["broker.round_trip"][1]


# All of it dead


def test_everything_dead_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check ends although nothing answers; docs/figures.md has the times."""
    monkeypatch.setattr(broker_check, "STEP_S", 1.0)
    file = tmp_path / "tentwatch.toml"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        file.write_text(
            f'[tent]\nid = "dead"\nseats = 1\n[broker]\nhost = "127.0.0.1"\n'
            f"port = {silent.getsockname()[1]}\n"
            '[sensors.mains]\ndriver = "contact"\ngpio = 17\n'
            '[sensors.generator]\ndriver = "ina219"\nshunt_ohms = 0.0015\nmax_current_a = 50\n'
            f'[sensors.battery]\ndriver = "vedirect"\nport = "{tmp_path}/ttyVEDirect"\n'
            '[sensors.door]\ndriver = "beams"\nouter_gpio = 23\ninner_gpio = 24\n'
        )
        clock = DemoClock(1.0)
        hardware = SimulatedHardware(tmp_path, clock)
        hardware.bus.chips.clear()
        hardware.pins.failure = OSError("the GPIO chip is gone")
        found = not_well(examine(file, tmp_path / "state", hardware, clock).findings)
        hardware.close()
    dead = {"bus.gpio", "sensor.generator", "sensor.battery", "broker.login", "service.running"}
    assert {key for key, (verdict, _) in found.items() if verdict == "fail"} == dead
