"""A broker's refusals: each reason code as paho reports it, and the right cure."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from publisher.clock import Clock, boot_id
from publisher.config.sections import BrokerSettings
from publisher.link.link import Link
from publisher.store.store import Store
from tests.conftest import Broker, Subscriber, Unit, is_connected, trouble_of, values_of, wait_for
from tests.wires import Refuser, Wire, refusing

#: CONNACK, MQTT 5, table 3.2.2.2: the name there, and the word that the cure must have.
LOGIN = {
    0x80: ("Unspecified error", "link.login_failed", "ask the centre"),
    0x81: ("Malformed packet", "link.protocol_unknown", 'protocol = "3.1.1"'),
    0x82: ("Protocol error", "link.protocol_unknown", 'protocol = "3.1.1"'),
    0x83: ("Implementation specific error", "link.login_failed", "ask the centre"),
    0x84: ("Unsupported protocol version", "link.protocol_unknown", 'protocol = "3.1.1"'),
    0x85: ("Client identifier not valid", "link.id_refused", "another id in [tent]"),
    0x86: ("Bad user name or password", "link.login_refused", "password_file"),
    0x87: ("Not authorized", "link.login_refused", "password_file"),
    0x88: ("Server unavailable", "link.unavailable", "goes on trying"),
    0x89: ("Server busy", "link.unavailable", "goes on trying"),
    0x8A: ("Banned", "link.banned", "lift the ban"),
    0x8C: ("Bad authentication method", "link.login_method", "the centre must allow"),
    0x90: ("Topic name invalid", "link.topic_invalid", "prefix in [broker]"),
    0x95: ("Packet too large", "link.login_too_large", "max_packet_size"),
    0x97: ("Quota exceeded", "link.quota", "the broker is full"),
    0x99: ("Payload format invalid", "link.login_failed", "ask the centre"),
    0x9A: (
        "Retain not supported",
        "link.no_retained",
        "turn them on there (retain_available true)",
    ),
    0x9B: ("QoS not supported", "link.no_qos_1", "turn QoS 1 on there (max_qos 1)"),
    0x9C: ("Use another server", "link.moved", "host in [broker]"),
    0x9D: ("Server moved", "link.moved", "host in [broker]"),
    0x9F: ("Connection rate exceeded", "link.unavailable", "goes on trying"),
}
#: CONNACK, MQTT 3.1.1, table 3.1.
LOGIN_3 = {
    1: ("link.protocol_unknown", 'protocol = "5"'),
    2: ("link.id_refused", "another id in [tent]"),
    3: ("link.unavailable", "goes on trying"),
    4: ("link.login_refused", "password_file"),
    5: ("link.login_refused", "password_file"),
}
#: PUBACK, MQTT 5, table 3.4.2.1, without the one for too large packets.
MESSAGE = {
    0x80: "link.message_refused",
    0x83: "link.message_refused",
    0x87: "link.not_allowed",
    0x90: "link.not_allowed",
    0x91: "link.message_refused",
    0x97: "link.message_quota",
    0x99: "link.message_refused",
}

Refused = Callable[..., Any]


@pytest.fixture
def refused(tmp_path: Path) -> Iterator[Refused]:
    """Let a link log in where it is refused; return its condition."""
    store = Store(tmp_path, 10, 1 << 20)
    clock = Clock()
    store.open(boot_id(), clock.now())

    def refused(connack: bytes, failures: int = 1, **settings: Any) -> Any:
        with Refuser(connack) as broker:
            link = Link(
                BrokerSettings("127.0.0.1", port=broker.port, **settings), "demo", "{}", store,
                clock, on_up=lambda: None, on_request=lambda request: None,
            )  # fmt: skip
            link.start()
            wait_for(lambda: link.health().failures >= failures, "the refusal")
            health = link.health()
            link.stop(5.0)
        return health

    yield refused
    store.close(clock.now(), {})


@pytest.mark.parametrize("code", LOGIN, ids=hex)
def test_each_refusal_of_the_login_says_what_to_do(refused: Refused, code: int) -> None:
    name, kind, cure = LOGIN[code]
    health = refused(bytes([0x20, 3, 0, code, 0]))
    assert health.trouble["code"] == kind
    assert health.trouble["values"]["reason"] == name
    assert health.trouble["values"]["reason_code"] == code
    assert cure in health.error
    assert not health.connected


@pytest.mark.parametrize("code", LOGIN_3)
def test_each_refusal_of_mqtt_3_says_what_to_do(refused: Refused, code: int) -> None:
    kind, cure = LOGIN_3[code]
    health = refused(bytes([0x20, 2, 0, code]), protocol="3.1.1")
    assert health.trouble["code"] == kind
    assert cure in health.error


@pytest.mark.parametrize(
    ("server", "said"),
    [("b.example.org", "b.example.org"), ("\x1b[31m", "it does not say which"),
     ("", "it does not say which")],
)  # fmt: skip
def test_a_broker_that_has_moved_says_where_to(refused: Refused, server: str, said: str) -> None:
    reference = b"\x1c" + len(server).to_bytes(2) + server.encode()  # Server Reference, 3.2.2.3.16
    content = bytes([0, 0x9D, len(reference)]) + reference
    health = refused(bytes([0x20, len(content)]) + content)
    assert health.trouble["values"]["server"] == said
    assert said in health.error


@pytest.mark.parametrize(
    ("limit", "code"), [(b"\x25\x00", 0x9A), (b"\x24\x00", 0x9B)], ids=["retain", "qos"]
)
def test_a_broker_that_welcomes_us_without_what_we_need_refuses_us(
    refused: Refused, limit: bytes, code: int
) -> None:
    """Retain Available and Maximum QoS in the CONNACK, 3.2.2.3.4 and .5."""
    name, kind, cure = LOGIN[code]
    health = refused(b"\x20\x05\x00\x00\x02" + limit)
    assert health.trouble["code"] == kind
    assert health.trouble["values"]["reason"] == name
    assert cure in health.error
    assert not health.sessions


@pytest.mark.parametrize(
    ("code", "kind"),
    [(0x80, "link.ended"), (0x87, "link.ended"), (0x89, "link.unavailable"), (0x8B, "link.ended"),
     (0x97, "link.quota"), (0x9A, "link.no_retained"), (0x9B, "link.no_qos_1"), (0x9D, "link.moved")],
)  # fmt: skip
def test_the_reason_that_a_broker_gives_for_the_end_is_not_replaced_by_a_guess(
    refused: Refused, code: int, kind: str
) -> None:
    """As three short sessions in a row without a reason would be."""
    health = refused(b"\x20\x03\x00\x00\x00\xe0\x01" + bytes([code]), failures=4)
    assert health.last_trouble["code"] == kind


def test_a_code_that_no_standard_knows_is_no_mqtt(refused: Refused) -> None:
    assert refused(b"\x20\x03\x00\xf0\x00").trouble["code"] == "link.hung_up"


@pytest.mark.parametrize("code", MESSAGE, ids=hex)
def test_each_refusal_of_a_message_is_named_and_nothing_is_lost(
    make_unit: Callable[..., Unit], broker: Broker, subscriber: Subscriber, code: int
) -> None:
    with Wire(broker.port) as wire:
        wire.edit = refusing(code)
        unit = make_unit(wire.port).start()
        wait_for(lambda: trouble_of(unit) == MESSAGE[code], "the refusal")
        assert values_of(unit)["reason_code"] == code
        assert is_connected(unit)
        assert unit.status()["buffer"]["rows"] >= 1
        unit.stop()
