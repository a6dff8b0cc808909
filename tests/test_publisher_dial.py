"""Connecting to the broker: names that are not found, dead addresses, expired certificates."""

import contextlib
import errno
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from publisher.clock import DemoClock, Now
from publisher.config.sections import BrokerSettings
from publisher.link import dial, session
from publisher.link.certificates import validity
from publisher.link.troubles import Unusable
from sensors.trouble import Kind
from tests.conftest import Broker, Unit, is_connected, trouble_of, values_of, wait_for

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


# Certificates


class Authority:
    """Signs certificates for any time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "index").touch()
        (directory / "serial").write_text("01\n")
        (directory / "settings").write_text(
            f"[ca]\ndefault_ca = ca\n[ca]\ndatabase = {directory}/index\nserial = {directory}/serial\n"
            f"new_certs_dir = {directory}\ndefault_md = sha256\npolicy = any\nunique_subject = no\n"
            "copy_extensions = copy\n[any]\ncommonName = supplied\n"
        )
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self._openssl("req", "-x509", *key, "-days", "3650", "-subj", "/CN=authority",
                      "-keyout", self.path("ca.key"), "-out", self.path("ca.crt"))  # fmt: skip
        self._openssl("req", *key, "-subj", "/CN=localhost",
                      "-addext", "subjectAltName=DNS:localhost",
                      "-keyout", self.path("broker.key"), "-out", self.path("broker.csr"))  # fmt: skip

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def sign(self, since: datetime, until: datetime) -> None:
        dates = [
            text
            for option, date in (("-startdate", since), ("-enddate", until))
            for text in (option, f"{date:%Y%m%d%H%M%SZ}")
        ]
        self._openssl("ca", "-batch", "-config", self.path("settings"), *dates,
                      "-cert", self.path("ca.crt"), "-keyfile", self.path("ca.key"),
                      "-in", self.path("broker.csr"), "-out", self.path("broker.crt"))  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tls_broker(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Callable[[datetime, datetime], Broker]]:
    """Starts a broker whose certificate is valid from one time until another."""
    broker = Broker(
        tmp_path_factory.mktemp("tls"),
        f"allow_anonymous true\ncertfile {authority.path('broker.crt')}\n"
        f"keyfile {authority.path('broker.key')}",
    )

    def start(since: datetime, until: datetime) -> Broker:
        authority.sign(since, until)
        return broker.start()

    yield start
    broker.stop()


def trusting(authority: Authority) -> dict[str, Any]:
    return {"host": "localhost", "tls": True, "ca_file": authority.path("ca.crt")}


class Unset(DemoClock):
    """A clock that no time server has set."""

    def now(self) -> Now:
        return replace(super().now(), synced=False)


def test_an_expired_certificate_is_named_with_its_date(
    make_unit: Callable[..., Unit], authority: Authority, tls_broker: Callable[..., Broker]
) -> None:
    broker = tls_broker(NOW - 9 * DAY, NOW - 2 * DAY)
    unit = make_unit(broker.port, **trusting(authority)).start()
    wait_for(lambda: trouble_of(unit) == "link.tls_expired", "the error")
    assert values_of(unit)["day"] == f"{NOW - 2 * DAY:%Y-%m-%d}"
    broker.stop()
    authority.sign(NOW - DAY, NOW + 9 * DAY)
    broker.start()
    wait_for(lambda: is_connected(unit), "the connection")


def test_before_a_certificates_time_the_clock_is_named(
    make_unit: Callable[..., Unit], authority: Authority, tls_broker: Callable[..., Broker]
) -> None:
    broker = tls_broker(NOW + 2 * DAY, NOW + 9 * DAY)
    unit = make_unit(broker.port, **trusting(authority)).start()
    wait_for(lambda: trouble_of(unit) == "link.tls_not_yet_valid", "the error")
    assert values_of(unit)["since"] == f"{NOW + 2 * DAY:%Y-%m-%d}"


def test_an_expired_certificate_is_doubted_by_a_unit_without_time(
    make_unit: Callable[..., Unit], authority: Authority, tls_broker: Callable[..., Broker]
) -> None:
    broker = tls_broker(NOW - 9 * DAY, NOW - 2 * DAY)
    unit = make_unit(broker.port, **trusting(authority))
    unit.clock = Unset(1.0)
    unit.start()
    wait_for(lambda: trouble_of(unit) == "link.tls_expired_or_clock", "the error")
    assert values_of(unit)["day"] == f"{NOW - 2 * DAY:%Y-%m-%d}"


def test_the_dates_of_a_certificate(authority: Authority) -> None:
    for since, until in ((NOW, NOW + DAY), (NOW, datetime(2051, 2, 3, 4, 5, 6, tzinfo=UTC))):
        authority.sign(since, until)
        der = subprocess.run(
            ["openssl", "x509", "-in", authority.path("broker.crt"), "-outform", "DER"],
            check=True, capture_output=True,
        ).stdout  # fmt: skip
        assert validity(der) == (since, until)
        for length in range(len(der) // 2):
            with pytest.raises((ValueError, IndexError)):
                validity(der[:length][:60])


def test_a_broker_that_never_ends_its_sentence_does_not_hold_the_thread(
    make_unit: Callable[..., Unit], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each TLS record ends in the middle of a packet, so more data is always pending."""
    monkeypatch.setattr(session, "PUBACK_LIMIT_S", 0.5)
    authority.sign(NOW - DAY, NOW + DAY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.path("broker.crt"), authority.path("broker.key"))

    def talk(server: socket.socket) -> None:
        while True:
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                peer, _ = server.accept()
                with context.wrap_socket(peer, server_side=True) as tls:
                    tls.recv(4096)
                    tls.sendall(b"\x20\x03\x00\x00\x00\xd0")
                    while True:
                        tls.sendall(b"\x00" + b"\xd0\x00" * 8000 + b"\xd0")

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            with contextlib.suppress(OSError):  # the test has ended
                talk(server)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        unit = make_unit(port, **trusting(authority)).start()
        wait_for(lambda: trouble_of(unit) == "link.no_puback", "the end of the session")
        unit.stop()
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


# Names and addresses


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A simulated resolver: its first item is a list of addresses, an error, or an event to wait for."""
    real = socket.getaddrinfo
    answers: list[Any] = []

    def getaddrinfo(host: str, port: int, *args: Any, **how: Any) -> Any:
        if how.get("flags", 0) & socket.AI_NUMERICHOST:
            return real(host, port, *args, **how)
        answer = answers[0]
        if isinstance(answer, threading.Event):
            answer.wait()
            answer = socket.gaierror(socket.EAI_AGAIN, "no server answers")
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answers
    for answer in answers:
        if isinstance(answer, threading.Event):
            answer.set()


def at(port: int, host: str = "127.0.0.1") -> Any:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))


def test_a_resolver_that_hangs_holds_up_nobody(
    make_unit: Callable[..., Unit], broker: Broker, resolver: list[Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr(dial, "LOOKUP_LIMIT_S", 0.2)
    hang = threading.Event()
    resolver.append(hang)
    unit = make_unit(broker.port, host="broker.test").start()
    wait_for(lambda: trouble_of(unit) == "link.no_name_server", "the error")
    wait_for(lambda: unit.status()["link"]["failures"] >= 3, "more attempts")
    assert [t.name for t in threading.enumerate()].count("lookup") == 1
    assert unit.agent is not None
    assert unit.agent._link.tend()
    resolver.insert(0, [at(broker.port)])
    hang.set()
    wait_for(lambda: is_connected(unit), "the connection")
    wait_for(lambda: "lookup" not in [t.name for t in threading.enumerate()], "the thread's end")


def test_a_stop_does_not_wait_for_the_resolver(
    make_unit: Callable[..., Unit], resolver: list[Any]
) -> None:
    resolver.append(threading.Event())
    unit = make_unit(1883, host="broker.test").start()
    wait_for(lambda: "lookup" in [t.name for t in threading.enumerate()], "the question")
    assert unit.agent is not None
    thread = unit.agent._link._thread
    unit.stop()
    assert not thread.is_alive()


def test_a_name_that_was_known_serves_while_no_resolver_answers(
    make_unit: Callable[..., Unit], broker: Broker, resolver: list[Any]
) -> None:
    resolver.append([at(broker.port)])
    unit = make_unit(broker.port, host="broker.test").start()
    wait_for(lambda: is_connected(unit), "the connection")
    resolver.insert(0, socket.gaierror(socket.EAI_AGAIN, "no server answers"))
    broker.stop()
    wait_for(lambda: not is_connected(unit), "the loss of the link")
    broker.start()
    wait_for(lambda: is_connected(unit), "the connection")


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that never answers: its queue of connections is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for other in others:
            other.close()


def test_of_several_addresses_dead_ones_are_passed_over(
    make_unit: Callable[..., Unit], broker: Broker, resolver: list[Any], black_hole: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(dial, "CONNECT_LIMIT_S", 3.0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        resolver.append([at(black_hole), at(nobody.getsockname()[1]), at(broker.port)])
        unit = make_unit(broker.port, host="broker.test").start()
        wait_for(lambda: is_connected(unit), "the connection")
        # From now on the working address comes first.
        resolver.insert(0, [at(black_hole), at(broker.port)])
        broker.stop()
        wait_for(lambda: not is_connected(unit), "the loss of the link")
        broker.start()
        wait_for(lambda: is_connected(unit), "the connection")
        assert unit.agent is not None
        assert unit.agent._link._context.dial._good == at(broker.port)
        resolver.insert(0, [at(black_hole), at(nobody.getsockname()[1])])
        broker.stop()
        wait_for(lambda: trouble_of(unit) == "link.refused", "the telling one of two errors")


def test_a_host_that_answers_nothing_is_named(
    make_unit: Callable[..., Unit], black_hole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "CONNECT_LIMIT_S", 0.5)
    unit = make_unit(black_hole).start()
    wait_for(lambda: trouble_of(unit) == "link.no_answer", "the error")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(), dial.REFUSED),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), dial.NO_ANSWER),
        (TimeoutError(), dial.NO_ANSWER),
        (OSError(errno.EHOSTUNREACH, "No route to host"), dial.UNREACHABLE),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), dial.UNREACHABLE),
        (OSError(errno.EPERM, "Operation not permitted"), dial.UNREACHABLE),
    ],
)
def test_a_way_that_ends_at_tcp_is_known_by_its_error(
    black_hole: int, error: OSError, kind: Kind
) -> None:
    def wait(sock: socket.socket | None, events: int, until_s: float) -> None:
        raise error

    way = dial.Dial(BrokerSettings("127.0.0.1", port=black_hole), DemoClock(1.0))
    with pytest.raises(Unusable) as raised:
        way.connect(wait, lambda: None)
    assert raised.value.kind is kind
    assert kind.concerns == "broker.tcp"


@pytest.mark.parametrize(("limit_s", "tries"), [(10.0, dial.MOST_ADDRESSES), (0.0, 1)])
def test_of_a_great_many_dead_addresses_some_are_tried_while_there_is_time(
    resolver: list[Any], black_hole: int, monkeypatch: pytest.MonkeyPatch, limit_s: float,
    tries: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(dial, "CONNECT_LIMIT_S", limit_s)
    resolver.append([at(black_hole) for _ in range(200)])
    tried = 0

    def wait(sock: socket.socket | None, events: int, until_s: float) -> None:
        nonlocal tried
        if sock is not None:
            tried += 1
            raise TimeoutError

    way = dial.Dial(BrokerSettings("broker.test"), DemoClock(1.0))
    with pytest.raises(Unusable) as raised:
        way.connect(wait, lambda: None)
    assert raised.value.kind is dial.NO_ANSWER
    assert tried == tries
