"""Questions about the tent and its broker that only the technician can answer, with usual answers."""

import re
import socket
from pathlib import Path
from typing import Any, NamedTuple

from publisher.config.load import keys_of
from publisher.config.sections import TentSettings
from technician.setup.draft import Draft
from technician.words import marked

USUAL_SEATS, USUAL_ZONE = 60, "Europe/Kyiv"
#: MQTT's ports, without and with TLS.
PORT, TLS_PORT = 1883, 8883
#: Names of computers that nobody has named.
_UNNAMED = ("raspberrypi", "localhost")


class Question(NamedTuple):
    """A question about one or more keys; each key also has a flag of its name."""

    keys: tuple[str, ...]
    text: str


TENT = (
    Question(("tent.id",), marked("Id of the tent (no two tents may share one)")),
    Question(("tent.name",), marked("Name for people, such as the place")),
    Question(("tent.seats",), marked("Seats")),
    Question(
        ("tent.latitude", "tent.longitude"),
        marked("Latitude and longitude, such as 50.4501, 30.5234; - for none"),
    ),
    Question(("tent.region",), marked("Region, such as UA-32; - for none")),
    Question(("tent.timezone",), marked("Time zone")),
)
BROKER = (
    Question(("broker.host",), marked("Name or address of the broker")),
    Question(("broker.tls",), marked("Encrypt the connection (TLS)?")),
    Question(("broker.port",), marked("Port of the broker")),
    Question(
        ("broker.ca_file",), marked("File with its certificate authority; - for the usual ones")
    ),
    Question(("broker.username",), marked("User at the broker; - for no login")),
)
QUESTIONS = TENT + BROKER
#: Asked if this unit counts the battery's charge.
BATTERY = (
    Question(("battery.chemistry",), marked("Kind of battery: lifepo4 or lead_acid")),
    Question(("battery.capacity_ah",), marked("Capacity of the battery in Ah, as on its label")),
)


def usual(key: str, draft: Draft, before: Draft, root: Path) -> Any:
    """Return the usual answer, None if there is none.

    `before` is the configuration as it was; `root` is where `etc` is.
    """
    present = draft.get(key)
    match key:
        case "tent.id":
            return present or _host_name()
        case "tent.seats":
            return present or USUAL_SEATS
        case "tent.timezone":
            return present or _zone(root) or USUAL_ZONE
        case "broker.tls":
            # A unit that already runs without this key is not encrypted: its broker may not support it.
            return before.get("broker.host") is None if present is None else present
        case "broker.port":
            is_tls, was_tls = (bool(one.get("broker.tls")) for one in (draft, before))
            if present is not None and (is_tls == was_tls or present not in (PORT, TLS_PORT)):
                return present
            return TLS_PORT if is_tls else PORT
        case "broker.username":
            is_new = before.get("broker.host") is None
            if is_new or (present is not None and present == before.get("tent.id")):
                return draft.get("tent.id")
        case "battery.chemistry":
            return present or "lifepo4"
    return present


def flag(key: str) -> str:
    """Return the flag that sets a key."""
    if any(key in question.keys for question in QUESTIONS):
        return "--" + key.rpartition(".")[2].replace("_", "-")
    if key.startswith("sensors."):
        return f"--sensor {key.split('.')[1]}=…"
    return f"--set {key}=…"


def _host_name() -> str | None:
    """Return this computer's name if somebody has named it and the name can be an id."""
    name = socket.gethostname().partition(".")[0]
    pattern = next(rule.pattern for key, _, rule in keys_of(TentSettings) if key == "id")
    return name if re.fullmatch(pattern, name) and name not in _UNNAMED else None


def _zone(root: Path) -> str | None:
    """Return this system's time zone; UTC is only the default and says nothing about the tent."""
    try:
        zone = str((root / "etc/localtime").readlink()).partition("zoneinfo/")[2]
    except OSError:
        return None
    return zone if "/" in zone and not zone.startswith("Etc/") else None
