"""The contract's words in the terminal's language: qualities, sensors, alerts, events and their details."""

from typing import NamedTuple

from technician.words import _, marked

#: The contract's words as a terminal shows them, for the catalogues.
WORDS = (
    marked("ok"), marked("estimated"), marked("starting"), marked("stale"), marked("fault"),
    marked("none"), marked("unknown"), marked("stopped"), marked("running"),
    # sensors and sources
    marked("mains"), marked("generator"), marked("battery"), marked("charger"), marked("door"),
    marked("mains line"), marked("generator line"),
    marked("inside"), marked("outside"), marked("co"),
    # alerts
    marked("battery low"), marked("battery alarm"), marked("generator overload warning"),
    marked("generator overload"), marked("generator frequency warning"),
    marked("generator frequency"), marked("generator overspeed"), marked("generator fuel suspected"),
    marked("generator service due"), marked("door obstructed"), marked("door doubtful"),
    marked("unit undervoltage"),
    marked("unit overheating"), marked("unit disk low"), marked("store failed"),
    marked("cold"), marked("co warning"), marked("co alarm"), marked("co sensor old"),
    marked("co sensor test"), marked("autonomy low"),
    # events
    marked("mains lost"), marked("mains restored"), marked("generator started"),
    marked("generator stopped"), marked("battery ok"), marked("alert raised"),
    marked("alert cleared"), marked("sensor failed"), marked("sensor recovered"),
    marked("door cleared"), marked("headcount set"), marked("opened"), marked("closed"),
    marked("refuelled"),
    marked("day closed"), marked("power cut"),
    marked("store quarantined"), marked("records dropped"),
    marked("moved"), marked("counts reset"), marked("new unit"), marked("store lost"),
    # who has set the headcount
    marked("person"), marked("closing time"),
)  # fmt: skip


class Detail(NamedTuple):
    """A detail of an event: its name (empty if the value says enough), and whether the value is a word."""

    name: str
    is_word: bool = False


#: Details of events by their keys; those of the schema that are not here are for programs.
DETAILS = {
    "alert": Detail("", is_word=True),
    "sensor": Detail("", is_word=True),
    "source": Detail(marked("source"), is_word=True),
    "quality": Detail(marked("quality"), is_word=True),
    "by": Detail(marked("by"), is_word=True),
    "error": Detail(marked("error")),
    "charge_pct": Detail(marked("charge pct")),
    "blind_s": Detail(marked("blind s")),
    "people": Detail(marked("people")),
    "counted": Detail(marked("counted")),
    "correction": Detail(marked("correction")),
    "litres": Detail(marked("litres")),
    "full": Detail(marked("full")),
    "date": Detail(marked("date")),
    "entered": Detail(marked("entered")),
    "left": Detail(marked("left")),
    "passed": Detail(marked("passed")),
    "peak": Detail(marked("peak")),
    "mains_h": Detail(marked("mains h")),
    "generator_h": Detail(marked("generator h")),
    "battery_h": Detail(marked("battery h")),
    "outages": Detail(marked("outages")),
    "watched_h": Detail(marked("watched h")),
    "inside_min_c": Detail(marked("inside min c")),
    "co_max_ppm": Detail(marked("co max ppm")),
    "estimated": Detail(marked("estimated")),
    "again": Detail(marked("sent again")),
    "boot": Detail(marked("boot")),
    "uptime_s": Detail(marked("uptime s")),
    "last": Detail(marked("last sign of life")),
    "off_s": Detail(marked("off s")),
    "file": Detail(marked("file")),
    "records": Detail(marked("records")),
    "reason": Detail("", is_word=True),
    "name": Detail(""),
    "latitude": Detail(marked("latitude")),
    "longitude": Detail(marked("longitude")),
    "region": Detail(marked("region")),
    "seats": Detail(marked("seats")),
}
#: Keys of details that are for programs.
FOR_PROGRAMS = ("code", "before")


def word(name: str) -> str:
    """Return the terminal's word for one of the contract: a quality, an alert, a sensor, an event."""
    return _(name.replace("_", " "))


def detail_text(key: str, value: str) -> str:
    """Return a detail of an event, its value as text; one of a later version stays as it is."""
    detail = DETAILS.get(key, Detail(key.replace("_", " ")))
    text = word(value) if detail.is_word else value
    return _("{name} {value}").format(name=_(detail.name), value=text) if detail.name else text
