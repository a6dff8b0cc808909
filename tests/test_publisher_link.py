"""The link with a real broker: nothing lost, nothing late sent as new, every failure named."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from publisher.link import backlog, session
from publisher.messages import HISTORY_MAX_BYTES
from tests.conftest import (
    PATIENCE_S,
    Broker,
    Subscriber,
    Unit,
    assert_gapless,
    fill,
    is_connected,
    trouble_of,
    values_of,
    wait_for,
)


def test_a_unit_introduces_itself_then_shows_its_state(unit: Unit, subscriber: Subscriber) -> None:
    unit.start()
    birth = subscriber.next("link")
    assert birth.content["online"] is True
    assert subscriber.next("about").content["seats"] == 60
    state = subscriber.next("state").content
    assert state["boot"] == birth.content["boot"]
    unit.stop()
    goodbye = subscriber.next("link").content
    assert (goodbye["online"], goodbye["conn"]) == (False, birth.content["conn"])


def test_who_subscribes_late_gets_link_about_state_and_days(unit: Unit, broker: Broker) -> None:
    unit.start()
    wait_for(lambda: any(topic.endswith("/days") for topic, _ in unit.sent), "the days")
    late = Subscriber(broker.port)
    unit.stop()
    late.next("link", lambda m: not m["online"])  # after all retained messages
    kinds = {m.topic.rpartition("/")[2] for m in late.received() if m.retained}
    assert kinds == {"link", "about", "state", "days"}
    late.close()
    late.check()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_events_and_states_flow(
    make_unit: Callable[..., Unit], broker: Broker, protocol: str
) -> None:
    subscriber = Subscriber(broker.port)
    unit = make_unit(broker.port, protocol=protocol).start()
    subscriber.next("state", lambda m: m["power"]["source"] == "mains")
    unit.hardware.set_mains(False)
    event = subscriber.next("event", lambda m: m["event"] == "mains_lost").content
    state = subscriber.next("state", lambda m: m["power"]["mains"]["present"] is False)
    assert state.content["seq"] > event["seq"]
    if protocol == "5":
        assert state.properties.ContentType == "application/json"
        assert 0 < state.properties.MessageExpiryInterval <= 7 * 86_400
    unit.stop()
    subscriber.close()
    subscriber.check()


def test_what_happened_while_the_broker_was_away_comes_as_history_in_order(
    unit: Unit, broker: Broker, subscriber: Subscriber
) -> None:
    unit.start()
    subscriber.next("state", lambda m: m["capacity"]["quality"] == "ok")
    broker.stop()
    wait_for(lambda: not is_connected(unit), "the loss of the link")
    for count in range(1, 4):
        unit.walk(inward=True)
        wait_for(lambda n=count: unit.status()["capacity"]["people"] == n, "a person counted")  # type: ignore[misc]
        wait_for(lambda n=count: unit.status()["buffer"]["rows"] >= n, "a record")  # type: ignore[misc]
    broker.start()
    subscriber.next("link", lambda m: m["online"] and m["conn"] > 1)
    first = subscriber.next("state")
    assert first.content["capacity"]["people"] == 3, "the newest state comes first"
    history = subscriber.next("history").content["records"]
    order = [(r["boot"], r["seq"]) for r in history]
    assert order == sorted(order)
    wait_for(lambda: unit.status()["buffer"]["rows"] == 0, "the backlog to drain")
    unit.stop()
    subscriber.next("link", lambda m: not m["online"])
    assert_gapless(subscriber.records())


def test_late_records_never_appear_as_state(
    unit: Unit, broker: Broker, subscriber: Subscriber
) -> None:
    unit.start()
    subscriber.next("state")
    broker.stop()
    wait_for(lambda: not is_connected(unit), "the loss of the link")
    unit.walk(inward=True)
    wait_for(lambda: unit.status()["buffer"]["rows"] >= 1, "a record")
    broker.start()
    wait_for(lambda: unit.status()["buffer"]["rows"] == 0, "the backlog to drain")
    seqs = [m.content["seq"] for m in subscriber.received() if m.topic.endswith("/state")]
    assert seqs == sorted(seqs)


def test_the_newest_state_overtakes_a_long_backlog(
    unit: Unit, broker: Broker, subscriber: Subscriber
) -> None:
    made = 3000
    fill(unit, made)
    unit.start()
    wait_for(lambda: unit.status()["buffer"]["rows"] == 0, "the backlog to drain")
    everything = set(range(1, made + 2))  # and a state
    wait_for(lambda: everything <= {r["seq"] for r in subscriber.records()}, "all records")
    kinds = [m.topic.rpartition("/")[2] for m in subscriber.received()]
    assert "history" not in kinds[: kinds.index("state")]
    order = [
        r["seq"]
        for m in subscriber.received()
        if m.topic.endswith("/history")
        for r in m.content["records"]
    ]
    assert order == sorted(order)


def test_no_history_message_is_larger_than_the_contract_allows(
    unit: Unit, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They grow to it only while the broker is quick, which a loaded machine may prevent.
    monkeypatch.setattr(backlog, "FIRST_ROOM", HISTORY_MAX_BYTES)
    fill(unit, 1000)
    unit.start()
    wait_for(lambda: len(subscriber.records()) >= 1000, "all records")
    sizes = [len(payload.encode()) for topic, payload in unit.sent if topic.endswith("/history")]
    assert 60 * 1024 < max(sizes) <= 64 * 1024


def test_a_new_link_number_and_birth_on_every_connection(
    unit: Unit, broker: Broker, subscriber: Subscriber
) -> None:
    unit.start()
    first = subscriber.next("link", lambda m: m["online"])
    broker.stop()
    broker.start()
    second = subscriber.next("link", lambda m: m["online"] and m["conn"] != first.content["conn"])
    assert second.content["conn"] > first.content["conn"]
    subscriber.next("state")


def test_a_frozen_broker_is_noticed_and_nothing_is_lost(
    unit: Unit, broker: Broker, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PUBACK_LIMIT_S", 1.0)
    monkeypatch.setattr(session, "CONNECT_LIMIT_S", 1.0)
    unit.start()
    subscriber.next("state", lambda m: m["capacity"]["quality"] == "ok")
    broker.freeze()
    unit.walk(inward=True)
    wait_for(lambda: not is_connected(unit), "the frozen broker to be noticed")
    assert trouble_of(unit) in ("link.no_puback", "link.login_unanswered")
    broker.thaw()
    subscriber.next("state", lambda m: m["capacity"]["people"] == 1)
    wait_for(lambda: unit.status()["buffer"]["rows"] == 0, "the backlog to drain")
    assert_gapless(subscriber.records())


def test_nobody_listening_is_named_and_retried(unit: Unit, broker: Broker) -> None:
    broker.stop()
    unit.start()
    wait_for(lambda: trouble_of(unit) == "link.refused", "the error")
    assert unit.status()["link"]["connected"] is False
    broker.start()
    wait_for(lambda: is_connected(unit), "the connection")
    assert unit.status()["link"]["error"] is None
    assert unit.status()["link"]["trouble"] is None
    assert unit.status()["link"]["last_trouble"]["code"] == "link.refused"


def test_an_unknown_host_is_named(
    make_unit: Callable[..., Unit],
) -> None:
    unit = make_unit(1883, host="no-such-broker.invalid").start()
    # Without a network it is the name server that is missed.
    codes = ("link.name_not_found", "link.no_name_server")
    wait_for(lambda: trouble_of(unit) in codes, "the error")
    assert values_of(unit) == {"host": "no-such-broker.invalid"}
    unit.stop()


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with one user, `demo`, who has the rights of the contract."""
    directory = tmp_path_factory.mktemp("guarded")
    passwords, rights = directory / "passwords", directory / "rights"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", passwords, "demo", "right"],
        check=True,
        capture_output=True,
    )
    topics = "".join(
        f"topic write tents/v1/demo/{kind}\n"
        for kind in ("link", "about", "state", "event", "days", "res/#")
    )
    rights.write_text(f"user demo\n{topics}topic read tents/v1/demo/cmd/#\n")
    broker = Broker(
        directory,
        f"allow_anonymous false\npassword_file {passwords}\nacl_file {rights}\n"
        # With 0 (no limit) mosquitto 2.0.11 disconnects after each message that it refuses.
        "max_queued_messages 100000",
    )
    yield broker.start()
    broker.stop()


def test_a_wrong_password_is_named_and_the_right_one_then_works(
    make_unit: Callable[..., Unit], tmp_path: Path, guarded: Broker
) -> None:
    password = tmp_path / "password"
    password.write_text("wrong\n")
    unit = make_unit(guarded.port, username="demo", password_file=str(password)).start()
    wait_for(lambda: trouble_of(unit) == "link.login_refused", "the error")
    password.write_text("right\n")
    wait_for(lambda: is_connected(unit), "the connection")


def test_a_password_saved_by_a_windows_editor_works(
    make_unit: Callable[..., Unit], tmp_path: Path, guarded: Broker
) -> None:
    password = tmp_path / "password"
    password.write_bytes(b"\xef\xbb\xbfright\r\n")
    unit = make_unit(guarded.port, username="demo", password_file=str(password)).start()
    wait_for(lambda: is_connected(unit), "the connection")


def test_a_missing_password_file_is_named(
    make_unit: Callable[..., Unit], tmp_path: Path, broker: Broker
) -> None:
    missing = tmp_path / "nowhere"
    unit = make_unit(broker.port, username="demo", password_file=str(missing)).start()
    wait_for(lambda: trouble_of(unit) == "link.file_unusable", "the error")
    assert (values_of(unit)["file"], values_of(unit)["key"]) == (str(missing), "password_file")
    unit.stop()


def test_what_the_broker_refuses_is_kept(
    make_unit: Callable[..., Unit], tmp_path: Path, guarded: Broker
) -> None:
    """The broker lets the unit log in but not publish history: the rows must stay."""
    password = tmp_path / "password"
    password.write_text("right\n")
    guarded.stop()
    unit = make_unit(guarded.port, username="demo", password_file=str(password)).start()
    wait_for(lambda: unit.status()["buffer"]["rows"] >= 1, "a backlog")
    guarded.start()
    wait_for(lambda: trouble_of(unit) == "link.not_allowed", "the refusal")
    assert unit.status()["buffer"]["rows"] >= 1
    with (guarded.directory / "rights").open("a") as rights:
        rights.write("user demo\ntopic write tents/v1/demo/history\n")
    guarded.stop()
    guarded.start()
    wait_for(lambda: unit.status()["buffer"]["rows"] == 0, "the backlog to drain")
    unit.stop()
    confirmed = {
        record["seq"]
        for message in (json.loads(payload) for _, payload in unit.sent)
        for record in message.get("records", [message])
        if "seq" in record
    }
    assert confirmed == set(range(1, len(confirmed) + 1))


# TLS


class Certificates:
    """An authority, a broker's certificate, a unit's, and a stranger authority."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for authority in ("ca", "stranger"):
            self._openssl(
                "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec",
                "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN=test {authority}",
                "-keyout", self.path(f"{authority}.key"), "-out", self.path(f"{authority}.crt"),
            )  # fmt: skip
        for name, subject in (("broker", "localhost"), ("unit", "demo")):
            self._openssl(
                "req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-subj", f"/CN={subject}", "-addext", f"subjectAltName=DNS:{subject}",
                "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.csr"),
            )  # fmt: skip
            self._openssl(
                "x509", "-req", "-days", "2", "-CAcreateserial", "-copy_extensions", "copy",
                "-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"),
                "-in", self.path(f"{name}.csr"), "-out", self.path(f"{name}.crt"),
            )  # fmt: skip

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def tls_broker(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Broker]:
    """A broker that accepts only TLS and identifies units by their certificates."""
    broker = Broker(
        tmp_path_factory.mktemp("tls"),
        f"cafile {certificates.path('ca.crt')}\ncertfile {certificates.path('broker.crt')}\n"
        f"keyfile {certificates.path('broker.key')}\nrequire_certificate true\n"
        "use_identity_as_username true\nallow_anonymous false",
    )
    yield broker.start()
    broker.stop()


def tls(
    certificates: Certificates, authority: str = "ca", unit: str | None = "unit"
) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "host": "localhost", "tls": True, "ca_file": certificates.path(f"{authority}.crt"),
    }  # fmt: skip
    if unit is not None:
        settings["cert_file"] = certificates.path(f"{unit}.crt")
        settings["key_file"] = certificates.path(f"{unit}.key")
    return settings


def test_a_unit_with_a_certificate_reports_over_tls(
    make_unit: Callable[..., Unit], tls_broker: Broker, certificates: Certificates
) -> None:
    unit = make_unit(tls_broker.port, **tls(certificates)).start()
    wait_for(lambda: any(topic.endswith("/state") for topic, _ in unit.sent), "a state")
    assert unit.status()["link"]["connected"] is True


def test_a_long_backlog_drains_over_tls(
    make_unit: Callable[..., Unit], tls_broker: Broker, certificates: Certificates
) -> None:
    unit = make_unit(tls_broker.port, **tls(certificates))
    fill(unit, 2000)
    unit.start()
    wait_for(lambda: unit.status()["buffer"]["rows"] == 0, "the backlog to drain")


def test_a_certificate_of_an_unknown_authority_is_named(
    make_unit: Callable[..., Unit], tls_broker: Broker, certificates: Certificates
) -> None:
    unit = make_unit(tls_broker.port, **tls(certificates, authority="stranger")).start()
    wait_for(lambda: trouble_of(unit) == "link.tls_untrusted", "the error")
    assert unit.status()["link"]["connected"] is False


def test_a_certificate_of_another_name_is_named(
    make_unit: Callable[..., Unit], tls_broker: Broker, certificates: Certificates
) -> None:
    unit = make_unit(tls_broker.port, **tls(certificates) | {"host": "127.0.0.1"}).start()
    wait_for(lambda: trouble_of(unit) == "link.tls_other_name", "the error")


def test_a_missing_client_certificate_is_an_error_and_not_a_crash(
    make_unit: Callable[..., Unit], tls_broker: Broker, certificates: Certificates
) -> None:
    unit = make_unit(tls_broker.port, **tls(certificates, unit=None)).start()
    wait_for(lambda: unit.status()["link"]["failures"] > 0, "the refusal")
    assert unit.status()["link"]["connected"] is False


def test_plain_mqtt_to_a_tls_port_is_an_error_and_not_a_crash(
    make_unit: Callable[..., Unit], tls_broker: Broker
) -> None:
    unit = make_unit(tls_broker.port).start()
    wait_for(lambda: unit.status()["link"]["failures"] > 0, "the failure")
    assert unit.status()["link"]["connected"] is False


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x02", b"\xff" * 50])
def test_something_else_than_a_broker_is_an_error_and_not_a_crash(
    make_unit: Callable[..., Unit], monkeypatch: pytest.MonkeyPatch, reply: bytes
) -> None:
    monkeypatch.setattr(session, "CONNECT_LIMIT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        unit = make_unit(server.getsockname()[1]).start()
        for times in (1, 2):
            peer, _ = server.accept()
            with peer:
                peer.sendall(reply)
                wait_for(lambda n=times: unit.status()["link"]["failures"] >= n, "the failure")  # type: ignore[misc]
        assert unit.status()["link"]["sessions"] == 0
        assert unit.agent is not None
        assert unit.agent._link.tend()
        assert unit.agent._link.health().restarts == 0, "it had died"
