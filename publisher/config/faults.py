"""Faults of a configuration: each is a key with a trouble of one of these kinds.

A sentence continues the key (`tent.id: is missing: …`). It never repeats text that may be a secret: a
wrong value or an unknown key may be the secret itself, and so may a line that is not TOML.
"""

import re
from typing import Any

from sensors.settings import Rule
from sensors.trouble import Marked, Severity, Trouble, declare, marked

#: A key and its trouble; the keys `file` and `syntax` stand for the whole file.
Fault = tuple[str, Trouble]

#: Most characters of a wrong value in a message.
LONGEST_SHOWN = 60
_HIDDEN = marked("something that is not repeated here")
_LIST, _TABLE = marked("a list"), marked("a table")
_SECRET_WORDS = re.compile(r"pass|secret|token|парол", re.I)
_ENDLESS = marked("something too long to be repeated")
#: Names of types in messages.
_WANTED = {
    str: marked("text in quotes"),
    int: marked("a whole number"),
    float: marked("a number"),
    bool: marked("true or false"),
}

# The file

NO_FILE = declare(
    "config.no_file",
    marked("does not exist"),
    marked("sudo tentwatch setup makes it; by hand: copy the sample configuration there"),
)
UNREADABLE = declare(
    "config.unreadable",
    marked("cannot be read ({error})"),
    marked("use sudo, or check its path and its rights"),
)
NOT_UTF8 = declare(
    "config.not_utf8", marked("is not UTF-8 in line {line}"), marked("save it as such")
)
TOO_LARGE = declare("config.too_large", marked("is larger than {kib} KiB: it is no configuration"))
NOT_TOML = declare(
    "config.not_toml",
    marked("is not TOML"),
    marked(
        "correct line {line} at column {column}: text stands in quotes, the name of a section in brackets"
    ),
)
NO_EQUALS = declare(
    "config.no_equals",
    marked("is not TOML"),
    marked("correct line {line} at column {column}: = is missing between a key and its value"),
)
WRONG_QUOTES = declare(
    "config.wrong_quotes",
    marked("is not TOML"),
    marked("correct line {line} at column {column}: these quotes are not the straight ones"),
)
DECIMAL_COMMA = declare(
    "config.decimal_comma",
    marked("is not TOML"),
    marked("correct line {line} at column {column}: a number has a point, not a comma"),
)
TWICE = declare(
    "config.twice",
    marked("is not TOML"),
    marked("line {line} begins a key or a section that stands above already: remove one"),
)
UNFINISHED = declare(
    "config.unfinished",
    marked("is not TOML"),
    marked("complete its end: a value, a quotation mark or a bracket is missing there"),
)
ENDLESS = declare(
    "config.endless",
    marked("is not TOML"),
    marked("remove the number that is too long, or the brackets inside too many others"),
)

# The password's own file

NO_TEXT = declare("config.no_text", marked("is no UTF-8 text"), marked("save it as such"))
NOT_ONE_LINE = declare("config.not_one_line", marked("must hold one line: the password"))

# A certificate authority of one's own

NO_CERTIFICATE = declare(
    "config.no_certificate",
    marked("is no certificate"),
    marked("copy the centre's ca.crt there anew, or remove it where the broker needs none"),
)
NO_AUTHORITY = declare(
    "config.no_authority",
    marked("is the certificate of a broker, not of a certificate authority"),
    marked("copy the certificate with which the centre has signed the broker's"),
)
PRIVATE_KEY = declare(
    "config.private_key",
    marked("holds a private key"),
    marked("copy the certificate alone: whoever has the key can pose as the broker"),
)

# Keys and tables

NOT_A_TABLE = declare("config.not_a_table", marked("must be a table of keys"))
NO_SENSOR_TABLES = declare(
    "config.no_sensor_tables", marked("must hold one table per sensor, such as [sensors.mains]")
)
MISSPELT = declare(
    "config.misspelt", marked("is not a key"), marked("remove it (did you mean {near}?)")
)
NOT_A_KEY = declare(
    "config.not_a_key", marked("is not a key"), marked("remove it (known here: {known})")
)
UNKNOWN_KEY = declare(
    "config.unknown_key",
    marked("has a key that is not known in line {line}"),
    marked("remove it (known here: {known})"),
)
SECRET_KEY = declare(
    "config.secret_key",
    marked("is not a key"),
    marked(
        "remove it (a secret never stands here: write it to a file and name that in password_file)"
    ),
)
MISSING = declare("config.missing", marked("is missing"), "{meaning}")
NO_DRIVER = declare("config.no_driver", marked("is missing"), marked("one of {choices}"))
WRONG_DRIVER = declare("config.wrong_driver", marked("is {value}"), marked("one of {choices}"))

# Values

WRONG_TYPE = declare("config.wrong_type", marked("must be {wanted}, not {value}"), "{meaning}")
OUT_OF_RANGE = declare("config.out_of_range", marked("is {value}"), "{meaning}")
NOT_A_CHOICE = declare("config.not_a_choice", marked("is {value}"), "{meaning}")
WRONG_FORM = declare("config.wrong_form", marked("is {value}"), "{meaning}")
WRONG_PASSWORD = declare(
    "config.wrong_password", marked("must be text in quotes on one line, and not empty")
)
WRONG_NAME = declare(
    "config.wrong_name",
    marked("must be at most {most} characters in one line, all of which can be seen"),
)
LONG_PREFIX = declare(
    "config.long_prefix",
    marked("is too long for a topic: at most {letters} letters and {levels} levels"),
)
WRONG_HOST = declare(
    "config.wrong_host",
    marked("must be the broker's name or address, and nothing else"),
    marked("write it like broker.example.org or 192.0.2.10"),
)
HOST_WITH_PORT = declare(
    "config.host_with_port",
    marked("must be the broker's name or address, and nothing else"),
    marked("leave out : and the number behind it, and write that as port beside it"),
)
HOST_WITH_SCHEME = declare(
    "config.host_with_scheme",
    marked("must be the broker's name or address, and nothing else"),
    marked(
        "leave out what stands before and with ://; mqtts:// and ssl:// mean tls = true; MQTT over "
        "WebSockets (ws://, https://) is not possible"
    ),
)
HOST_WITH_LOGIN = declare(
    "config.host_with_login",
    marked("must be the broker's name or address, and nothing else"),
    marked(
        "leave out what stands before and with @: the user is username, and the password stands in a "
        "file that password_file names"
    ),
)
HOST_WITH_PATH = declare(
    "config.host_with_path",
    marked("must be the broker's name or address, and nothing else"),
    marked("leave out the / and what stands behind it"),
)
BLANKS = declare(
    "config.blanks",
    marked("has a blank or an invisible character where none can be"),
    marked("write it again without"),
)
EMPTY = declare("config.empty", marked("is empty"), marked("write a value, or remove the key"))
OLD_ZONE = declare(
    "config.old_zone",
    marked("{zone} is an old name, which this system does not know: the unit uses {present}"),
    marked('write timezone = "{present}"'),
    severity=Severity.WARNING,
)
NO_SUCH_ZONE = declare(
    "config.no_such_zone", marked("{zone} is not known"), marked("use one like Europe/Kyiv")
)
NO_ZONES = declare(
    "config.no_zones",
    marked("{zone} cannot be looked up: this system has no time zones"),
    marked("sudo apt install tzdata"),
)
NO_SUCH_DATE = declare(
    "config.no_such_date",
    marked("is {date}: there is no such day"),
    marked("write year, month and day, as 2026-11-22"),
)
WRONG_NOMINAL = declare("config.wrong_nominal", marked("must be 12, 24, 36 or 48"))
WRONG_VOLTAGE = declare(
    "config.wrong_voltage",
    marked("must be {low_v:g} to {high_v:g} for a battery of {nominal_v:g} V"),
)

# Values that do not go together

GOES_WITH = declare(
    "config.goes_with", marked("needs {other} beside it"), marked("give both or neither")
)
NOT_LESS = declare("config.not_less", marked("must be less than {other} ({limit:g})"))
TOO_SMALL = declare("config.too_small", marked("must be at least {other} ({limit:g})"))
NO_EFFECT = declare(
    "config.no_effect", marked("must be true for ca_file and cert_file to have an effect")
)
NO_USER = declare("config.no_user", marked("is missing: a password alone is not sent"))
NO_CHEMISTRY = declare(
    "config.no_chemistry", marked("is missing"), marked("lifepo4 or lead_acid, with capacity_ah")
)
NO_CAPACITY = declare(
    "config.no_capacity",
    marked("is missing: without it no charge can be told from the battery's current"),
)
GPIO_TAKEN = declare(
    "config.gpio_taken",
    marked("is GPIO {gpio}, which {other} has taken"),
    marked("give each its own line"),
)
DEVICE_TAKEN = declare(
    "config.device_taken", marked("is the device of {other}, too"), marked("give each its own")
)
LINE_WITHOUT_METER = declare(
    "config.line_without_meter",
    marked("needs a meter in [sensors.{name}]"),
    marked("name this one {name}"),
)
RUNNING_CURRENT = declare(
    "config.running_current",
    marked("must lie between dead_band_a ({low_a:g}) and max_current_a ({high_a:g}) of {sensor}"),
)
TOO_HIGH_A_VOLTAGE = declare(
    "config.too_high_a_voltage",
    marked(
        "is too high for its sensor: {device} stands {most_v:g} V, and such a battery is charged at "
        "{charged_v:g} V"
    ),
)


class ConfigError(Exception):
    """The configuration `where` cannot be used; `faults` lists all its faults."""

    def __init__(self, where: str, faults: list[Fault]) -> None:
        self.where = where
        self.faults = faults
        super().__init__("\n".join(f"{where}: {key}: {trouble}" for key, trouble in faults))


def fault_json(key: str, trouble: Trouble) -> dict[str, Any]:
    """Return a fault as JSON has it."""
    return {"key": key, **trouble.as_dict(), "fix": str(trouble)}


def not_utf8(error: UnicodeDecodeError) -> Trouble:
    """Return the fault that a file is not UTF-8, with the line."""
    return Trouble(NOT_UTF8, line=error.object[: error.start].count(b"\n") + 1)


def wrong_value(value: object, wanted: type, rule: Rule) -> Trouble | None:
    """Return why a key of type `wanted` cannot have a value; None if it can."""
    values: dict[str, str] = {}
    if type(value) is not wanted:
        kind, values = WRONG_TYPE, {"wanted": _WANTED[wanted]}
    elif not _is_in_range(value, rule):
        return Trouble(
            OUT_OF_RANGE,
            value=shown(value, rule),
            meaning=described(rule),
            low=rule.low,
            high=rule.high,
        )
    elif rule.choices and value not in rule.choices:
        kind, values = NOT_A_CHOICE, {"choices": ", ".join(rule.choices)}
    elif rule.pattern and not re.fullmatch(rule.pattern, str(value)):
        kind = WRONG_FORM
    else:
        return rule.check(value) if rule.check is not None and isinstance(value, str) else None
    return Trouble(kind, value=shown(value, rule), meaning=described(rule), **values)


def wrong_text(text: str) -> Trouble | None:
    """Return what is wrong with a text that a person has copied; None if nothing is."""
    if not text:
        return Trouble(EMPTY)
    return None if text == text.strip() and text.isprintable() else Trouble(BLANKS)


def _is_in_range(value: object, rule: Rule) -> bool:
    """Say whether a number is between its limits; other values are."""
    if not isinstance(value, int | float):
        return True
    return (rule.low is None or value >= rule.low) and (rule.high is None or value <= rule.high)


def shown(value: object, rule: Rule | None = None) -> str:
    """Return a value as messages show it: shortened, and hidden if it may hold a secret."""
    if isinstance(value, list | dict):
        return _LIST if isinstance(value, list) else _TABLE
    try:
        text = repr(value)
    except ValueError:  # a number of too many digits
        return _ENDLESS
    is_private = rule is not None and (rule.secret or (rule.private and isinstance(value, str)))
    if is_private or (isinstance(value, str) and may_be_secret(value)):
        return _HIDDEN
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def may_be_secret(text: str) -> bool:
    """Say whether a text of a configuration may hold a secret by its looks.

    Such are a login in an address (mqtt://user:password@host) and a text that runs on into other lines.
    """
    return "@" in text or "\n" in text or _SECRET_WORDS.search(text) is not None


def described(rule: Rule) -> Marked:
    """Return a key's meaning and its possible values."""
    if rule.choices:
        return marked(
            "{meaning} (one of {choices})", meaning=rule.doc, choices=", ".join(rule.choices)
        )
    if rule.low is not None and rule.high is not None:
        return marked(
            "{meaning} ({low:g} to {high:g})", meaning=rule.doc, low=rule.low, high=rule.high
        )
    return rule.doc
