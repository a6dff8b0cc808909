"""The sections of the configuration besides the sensors' own."""

import re
from dataclasses import dataclass
from typing import Any

from publisher.config import zones
from publisher.config.autonomy import AutonomySettings
from publisher.config.battery import BatterySettings
from publisher.config.climate import ClimateSettings
from publisher.config.co import CoSettings
from publisher.config.door import DoorSettings
from publisher.config.faults import (
    BLANKS,
    EMPTY,
    GOES_WITH,
    GPIO_TAKEN,
    HOST_WITH_LOGIN,
    HOST_WITH_PATH,
    HOST_WITH_PORT,
    HOST_WITH_SCHEME,
    LONG_PREFIX,
    NO_EFFECT,
    NO_SUCH_ZONE,
    NO_USER,
    NO_ZONES,
    TOO_SMALL,
    WRONG_HOST,
    WRONG_NAME,
    Fault,
    shown,
    wrong_text,
)
from publisher.config.generator import GeneratorSettings
from sensors.gpio import HIGHEST_GPIO
from sensors.settings import WHOLE_PATH, setting
from sensors.trouble import Trouble, marked

#: Pattern of a prefix: MQTT levels without wildcards.
_PREFIX = r"[^+#/\x00$][^+#/\x00]*(/[^+#/\x00]+)*"
MOST_PORT = 65_535
#: Most characters of the tent's name, which is part of every `status`.
LONGEST_NAME = 200
#: Most characters and levels of `prefix`; a topic adds more of both.
LONGEST_PREFIX = 200, 20


@dataclass(frozen=True)
class TentSettings:
    """`[tent]`: the tent's identity, and the unit's lamp, buzzer and button."""

    id: str = setting(
        doc=marked("the tent's id: 1 to 64 of A-Z a-z 0-9 - _"), pattern=r"[A-Za-z0-9_-]{1,64}"
    )
    seats: int = setting(
        doc=marked("number of people that the tent is meant for"), low=1, high=10_000
    )
    name: str = setting("", doc=marked("name for people, such as a place"))
    latitude: float | None = setting(None, doc=marked("degrees north"), low=-90, high=90)
    longitude: float | None = setting(None, doc=marked("degrees east"), low=-180, high=180)
    region: str | None = setting(
        None,
        doc=marked("ISO 3166-2 code of the region, such as UA-32"),
        pattern=r"[A-Z]{2}-[A-Z0-9]{1,3}",
    )
    timezone: str = setting(
        "Europe/Kyiv", doc=marked("time zone of the visitor log's days, by its IANA name")
    )
    lamp_gpio: int | None = setting(
        None, doc=marked("GPIO number (BCM) of the unit's lamp"), low=0, high=HIGHEST_GPIO
    )
    lamp: str = setting(
        "status",
        doc=marked("what the lamp shows: the unit's state, or on request where the unit is"),
        choices=("status", "identify"),
    )
    button_gpio: int | None = setting(
        None, doc=marked("GPIO number (BCM) of the unit's button"), low=0, high=HIGHEST_GPIO
    )
    buzzer_gpio: int | None = setting(
        None,
        doc=marked("GPIO number (BCM) of the buzzer that sounds the alarm of carbon monoxide"),
        low=0,
        high=HIGHEST_GPIO,
    )

    def faults(self) -> list[Fault]:
        """Return each fault between several keys."""
        found: list[Fault] = []
        if len(self.name) > LONGEST_NAME or not self.name.isprintable():
            found.append(("name", Trouble(WRONG_NAME, most=LONGEST_NAME)))
        if zones.usable(self.timezone) is None:
            kind = NO_SUCH_ZONE if zones.is_known("Europe/London") else NO_ZONES
            found.append(("timezone", Trouble(kind, zone=shown(self.timezone))))
        if (self.latitude is None) != (self.longitude is None):
            found.append(("latitude", Trouble(GOES_WITH, other="longitude")))
        lines: dict[int, str] = {}
        for key in ("lamp_gpio", "button_gpio", "buzzer_gpio"):
            gpio = getattr(self, key)
            if gpio is not None and (other := lines.setdefault(gpio, key)) != key:
                found.append((key, Trouble(GPIO_TAKEN, gpio=gpio, other=other)))
        return found


#: A name of a computer, by its labels (RFC 1123, 2.1); other letters than a to z are looked up as IDNA.
_HOST_NAME = re.compile(r"(?=.{1,253}$)(?!-)[\w-]{1,63}(?<!-)(\.(?!-)[\w-]{1,63}(?<!-))*\.?")
_IPV4 = re.compile(r"((25[0-5]|2[0-4]\d|1?\d?\d)(\.(?!$)|$)){4}")


def wrong_host(host: str) -> Trouble | None:
    """Return what keeps a text from being a computer's name or address; None if nothing does."""
    name, colon, port = host.rpartition(":")
    if not host:
        return Trouble(EMPTY)
    if "@" in host:
        return Trouble(HOST_WITH_LOGIN)
    if "://" in host:
        return Trouble(HOST_WITH_SCHEME)
    if "/" in host:
        return Trouble(HOST_WITH_PATH)
    if not host.isprintable() or any(map(str.isspace, host)):
        return Trouble(BLANKS)
    if _is_address(host) or (_HOST_NAME.fullmatch(host) and not re.fullmatch(r"[\d.]+", host)):
        return None
    is_port = port.isdecimal() and int(port) <= MOST_PORT and len(port) <= len(str(MOST_PORT))
    if colon and is_port and wrong_host(name.removeprefix("[").removesuffix("]")) is None:
        return Trouble(HOST_WITH_PORT)
    return Trouble(WRONG_HOST)


def _is_address(host: str) -> bool:
    """Say whether a text is an IPv4 or IPv6 address."""
    if ":" not in host:
        return _IPV4.fullmatch(host) is not None
    from ipaddress import IPv6Address  # rarely needed

    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class BrokerSettings:
    """`[broker]`: the broker, and how to connect to it."""

    host: str = setting(
        doc=marked("name or address of the MQTT broker, and nothing else"),
        private=True,
        check=wrong_host,
    )
    port: int = setting(
        1883, doc=marked("TCP port; 8883 is usual with TLS"), low=1, high=MOST_PORT, private=True
    )
    prefix: str = setting(
        "tents/v1",
        doc=marked("first levels of every topic, such as tents/v1"),
        pattern=_PREFIX,
        private=True,
        check=wrong_text,
    )
    protocol: str = setting("5", doc=marked("MQTT version"), choices=("5", "3.1.1"))
    username: str | None = setting(
        None,
        doc=marked("broker user; usually the tent's id"),
        private=True,
        check=wrong_text,
    )
    password_file: str | None = setting(
        None,
        doc=marked("whole path of a file with the password in it, mode 0600"),
        pattern=WHOLE_PATH,
        secret=True,
    )
    tls: bool = setting(False, doc=marked("encrypt and check the broker's certificate"))
    ca_file: str | None = setting(
        None,
        doc=marked(
            "whole path of the file with the broker's certificate authority; without it the system's own"
        ),
        pattern=WHOLE_PATH,
    )
    cert_file: str | None = setting(
        None, doc=marked("whole path of the file with this unit's certificate"), pattern=WHOLE_PATH
    )
    key_file: str | None = setting(
        None,
        doc=marked("whole path of the file with the key of cert_file, mode 0600"),
        pattern=WHOLE_PATH,
        secret=True,
    )
    keepalive_s: int = setting(
        12, doc=marked("silence after which the link is probed"), low=2, high=14
    )
    spread_s: float = setting(
        1.5, doc=marked("longest random wait before publishing after a reconnect"), low=0, high=600
    )
    longest_wait_s: float = setting(
        60.0, doc=marked("longest wait between attempts"), low=1, high=3600
    )
    history_kib_per_s: float = setting(
        2048.0, doc=marked("largest rate of the backlog in KiB a second"), low=1, high=100_000
    )

    def faults(self) -> list[Fault]:
        """Return each fault between several keys."""
        found: list[Fault] = []
        if (self.cert_file is None) != (self.key_file is None):
            found.append(("cert_file", Trouble(GOES_WITH, other="key_file")))
        if not self.tls and (self.ca_file or self.cert_file):
            found.append(("tls", Trouble(NO_EFFECT)))
        letters, levels = LONGEST_PREFIX
        if len(self.prefix) > letters or self.prefix.count("/") > levels:
            found.append(("prefix", Trouble(LONG_PREFIX, letters=letters, levels=levels)))
        if self.password_file and not self.username:
            found.append(("username", Trouble(NO_USER)))
        return found


@dataclass(frozen=True)
class ReportSettings:
    """`[report]`: the interval of snapshots, and the ages from which values are old."""

    interval_s: float = setting(60.0, doc=marked("time between snapshots"), low=1, high=3600)
    ttl_s: int = setting(
        180, doc=marked("age from which dashboards show a state as old"), low=10, high=86_400
    )
    stale_after_s: float = setting(
        15.0, doc=marked("age from which a sensor's value is no longer reported"), low=2, high=3600
    )

    def faults(self) -> list[Fault]:
        """Return each fault between several keys."""
        if self.ttl_s < self.interval_s:
            return [("ttl_s", Trouble(TOO_SMALL, other="interval_s", limit=self.interval_s))]
        return []


@dataclass(frozen=True)
class StoreSettings:
    """`[store]`: limits of the records that wait for the broker, and of those kept after it has them."""

    keep_days: float = setting(
        7.0,
        doc=marked("how long a record is kept after the broker has confirmed it"),
        low=0.0,
        high=366.0,
    )
    max_rows: int = setting(
        100_000,
        doc=marked("number of records; the oldest confirmed ones go first, then the oldest"),
        low=1000,
        high=10_000_000,
    )
    max_mib: int = setting(200, doc=marked("size of the records in MiB"), low=4, high=100_000)


#: The sections besides the sensors' own.
SECTIONS: dict[str, type[Any]] = {
    "tent": TentSettings,
    "broker": BrokerSettings,
    "report": ReportSettings,
    "generator": GeneratorSettings,
    "battery": BatterySettings,
    "autonomy": AutonomySettings,
    "door": DoorSettings,
    "climate": ClimateSettings,
    "co": CoSettings,
    "store": StoreSettings,
}
