"""The configuration file: all faults are named at once, each with its key and fix."""

import random
import sys
import sysconfig
import zoneinfo
from collections.abc import Iterator
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import pytest

from publisher.config import zones
from publisher.config.faults import ConfigError
from publisher.config.load import Config, keys_of, load, parse
from publisher.config.sections import SECTIONS
from sensors.registry import DRIVERS, config_class

MINIMAL = '[tent]\nid = "UA-32-0417"\nseats = 60\n[broker]\nhost = "broker.example"\n'

FULL = """\
[tent]
id = "UA-32-0417"
seats = 60
name = "Bucha, sports centre"
latitude = 50.5469
longitude = 30
region = "UA-32"
lamp_gpio = 22

[broker]
host = "broker.example"
port = 8883
protocol = "3.1.1"
username = "UA-32-0417"
password_file = "/etc/tentwatch/password"
tls = true
ca_file = "/etc/tentwatch/ca.pem"

[report]
interval_s = 30
ttl_s = 120

[generator]
rated_w = 5000
overload_hold_s = 20

[battery]
low_pct = 25.5

[door]
auto_zero_at = "23:30"

[store]
max_rows = 5000

[sensors.mains]
driver = "contact"
gpio = 17

[sensors.generator]
driver = "ina219"
shunt_ohms = 0.0015
max_current_a = 50

[sensors.battery]
driver = "vedirect"
port = "/dev/ttyUSB0"

[sensors.door]
driver = "beams"
outer_gpio = 5
inner_gpio = 6
"""


#: Sections with the drivers that the text above lacks.
OTHER = """\
[tent]
id = "t"
seats = 60
[broker]
host = "b"

[sensors.generator]
driver = "pzem004t"
port = "/dev/ttyUSB1"

[sensors.battery]
driver = "jbd"
port = "/dev/ttyUSB0"

[sensors.door]
driver = "beam"
gpio = 5

[sensors.outside]
driver = "sht4x"

[sensors.inside]
driver = "ds18b20"
device = "28-00000a3c51f2"

[sensors.co]
driver = "ze07co"
port = "/dev/ttyUSB2"
"""


def faults(text: str) -> dict[str, str]:
    """Return key → fix of each fault."""
    try:
        parse(text)
    except ConfigError as error:
        assert str(error).count("\n") == len(error.faults) - 1
        return {key: str(trouble) for key, trouble in error.faults}
    return {}


def with_line(line: str, after: str, text: str = FULL) -> str:
    """Return a text with a line inserted below a section's head, or its key's line replaced."""
    head, _, tail = text.partition(f"[{after}]\n")
    own, bracket, rest = tail.partition("\n[")
    key = line.partition("=")[0].strip()
    own = "\n".join(have for have in own.split("\n") if have.partition("=")[0].strip() != key)
    return f"{head}[{after}]\n{line}\n{own}{bracket}{rest}"


# Valid files


def test_the_least_that_is_needed_is_an_id_seats_and_a_broker(tmp_path: Path) -> None:
    path = tmp_path / "tentwatch.toml"
    path.write_text(MINIMAL)
    config = load(path)
    assert (config.tent.id, config.tent.seats) == ("UA-32-0417", 60)
    assert config.broker.host == "broker.example"
    assert config.tent.timezone == "Europe/Kyiv"
    assert (config.report.interval_s, config.report.ttl_s) == (60.0, 180)
    assert config.sensors == ()


def test_a_full_configuration_is_taken_as_written() -> None:
    config = parse(FULL)
    assert config.tent.longitude == 30.0
    assert isinstance(config.tent.longitude, float)
    assert config.battery.low_pct == 25.5
    assert config.generator.rated_w == 5000.0
    assert config.door.auto_zero_at == "23:30"
    assert [(s.name, s.driver) for s in config.sensors] == [
        ("mains", "contact"),
        ("generator", "ina219"),
        ("battery", "vedirect"),
        ("door", "beams"),
    ]
    assert config.sensors[3].config.outer_gpio == 5


def test_the_digest_tells_texts_apart_and_is_the_same_for_the_same_text() -> None:
    assert parse(FULL).digest == parse(FULL).digest
    assert parse(FULL).digest != parse(FULL + "# moved\n").digest
    assert len(parse(FULL).digest) == 8


def test_a_file_from_an_editor_that_marks_utf_8_and_ends_lines_its_own_way(tmp_path: Path) -> None:
    path = tmp_path / "tentwatch.toml"
    text = MINIMAL.replace("seats", 'name = "Буча"\nseats').replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load(path).tent.name == "Буча"


# Files


def file_fault(path: Path) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    ((key, trouble),) = caught.value.faults
    assert str(caught.value) == f"{path}: {key}: {trouble}"
    return key, str(trouble)


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    key, fix = file_fault(tmp_path / "none.toml")
    assert (key, "sample" in fix) == ("file", True)


def test_a_directory_instead_of_a_file(tmp_path: Path) -> None:
    key, fix = file_fault(tmp_path)
    assert (key, "directory" in fix) == ("file", True)


@pytest.mark.parametrize("content", [b'[tent]\nname = "\xe9t\xe9"\n', b"\xff\xfe[\0t\0", b"\x80"])
def test_a_file_that_is_not_utf_8(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tentwatch.toml"
    path.write_bytes(content)
    key, fix = file_fault(path)
    assert (key, "UTF-8" in fix) == ("file", True)


def test_an_empty_file_lacks_what_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "tentwatch.toml"
    path.touch()
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert {key for key, _ in caught.value.faults} == {"tent.id", "tent.seats", "broker.host"}
    assert {trouble.code for _, trouble in caught.value.faults} == {"config.missing"}


@pytest.mark.parametrize(
    "text",
    [
        "tent",
        "[tent",
        '[tent]\nid = "a"\nid = "b"',
        "[tent]\n[tent]",
        "a = " + "[" * 100_000,
        "a = " + "{a = " * 100_000,
        "a = " + "9" * 5000,
        'a = "\\ud800"',
        "a = 2026-13-45",
        "\0",
    ],
)
def test_what_is_not_toml_says_so(text: str) -> None:
    assert list(faults(text)) == ["syntax"]


@pytest.mark.parametrize(
    ("text", "code", "values"),
    [
        ("[tent]\nid = word", "config.not_toml", {"line": 2, "column": 6}),
        ("[tent]\nid = 'a'\nid = 'b'\n", "config.twice", {"line": 3}),
        ("[tent]\nid = 'a'\nid = 'b'", "config.twice", {"line": 3}),
        ("[tent]\n[tent]\nid = 'a'", "config.twice", {"line": 2}),
        ("[tent", "config.unfinished", {}),
        ('password "x"\n[tent]', "config.no_equals", {"line": 1, "column": 10}),
        ("[broker]\nhost: 'b'\n", "config.no_equals", {"line": 2, "column": 5}),
        ("[broker]\nhost b\n", "config.no_equals", {"line": 2, "column": 6}),
        ("host\n", "config.no_equals", {"line": 1, "column": 5}),
        ("[tent]\nid = “UA-7”\n", "config.wrong_quotes", {"line": 2, "column": 6}),
        ("[tent]\nlatitude = 50,45 # N\n", "config.decimal_comma", {"line": 2, "column": 14}),
        ("[tent]\nid = 'a' 'b'\n", "config.not_toml", {"line": 2, "column": 10}),
        ("[tent]\nseats = 5x\n", "config.not_toml", {"line": 2, "column": 10}),
        ("[tent]\nseats = " + "9" * 5000, "config.endless", {}),
    ],
)
def test_what_is_not_toml_has_a_code_and_a_place(
    text: str, code: str, values: dict[str, int]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    ((_key, trouble),) = caught.value.faults
    assert trouble.as_dict() == {"code": code, "values": values}


# All faults at once


def test_every_fault_is_named_with_its_key_and_its_fix() -> None:
    found = faults("""\
[tent]
id = "no spaces"
seats = true
latitude = 91.0
timezone = 3

[broker]
hots = "b"
port = 0

[report]
interval_s = nan

[battery]
low_pct = "20"

[reprot]
ttl_s = 5

[sensors.mains]
gpio = 17

[sensors.genrator]
driver = "ina219"

[sensors.battery]
driver = "bms"

[sensors.door]
driver = "beams"
outer_gpio = 28
""")
    assert set(found) == {
        "tent.id",
        "tent.seats",
        "tent.latitude",
        "tent.timezone",
        "broker.hots",
        "broker.host",
        "broker.port",
        "report.interval_s",
        "battery.low_pct",
        "reprot",
        "sensors.mains.driver",
        "sensors.genrator",
        "sensors.battery.driver",
        "sensors.door.outer_gpio",
        "sensors.door.inner_gpio",
    }
    assert "1 to 64 of A-Z a-z 0-9 - _" in found["tent.id"]
    assert "whole number" in found["tent.seats"]
    assert "-90 to 90" in found["tent.latitude"]
    assert "text in quotes" in found["tent.timezone"]
    assert "did you mean host?" in found["broker.hots"]
    assert found["broker.host"].startswith("is missing")
    assert "1 to 65535" in found["broker.port"]
    assert "1 to 3600" in found["report.interval_s"]
    assert "must be a number" in found["battery.low_pct"]
    assert "did you mean report?" in found["reprot"]
    assert "one of contact" in found["sensors.mains.driver"]
    assert "did you mean generator?" in found["sensors.genrator"]
    assert "'bms'" in found["sensors.battery.driver"]
    assert "one of ina219, jbd, vedirect" in found["sensors.battery.driver"]


@pytest.mark.parametrize(
    ("section", "line", "code", "values"),
    [
        ("tent", 'id = "a b"', "wrong_form", {"value": "'a b'"}),
        ("tent", "latitude = 91.0", "out_of_range", {"value": "91.0", "low": -90, "high": 90}),
        ("tent", 'seats = "60"', "wrong_type", {"value": "'60'", "wanted": "a whole number"}),
        ("broker", 'protocol = "4"', "not_a_choice", {"value": "'4'", "choices": "5, 3.1.1"}),
        ("broker", "hots = 1", "misspelt", {"near": "host"}),
        ("store", "qqq = 1", "not_a_key", {"known": "keep_days, max_rows, max_mib"}),
        ("report", "ttl_s = 29", "too_small", {"other": "interval_s", "limit": 30}),
        ("generator", "sag_hz = 48.0", "not_less", {"other": "sag_warning_hz", "limit": 47.5}),
    ],
)
def test_a_fault_has_a_code_and_values(
    section: str, line: str, code: str, values: dict[str, object]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(with_line(line, section))
    ((_key, trouble),) = caught.value.faults
    assert trouble.code == f"config.{code}"
    assert trouble.values == {**trouble.values, **values}


def test_the_message_has_a_line_a_fault_and_each_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tentwatch.toml"
    path.write_text("[tent]\nseats = 0\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["tent.id", "tent.seats", "broker.host"]
    assert all(line.startswith(f"{path}: ") for line in lines)


@pytest.mark.parametrize("section", [*SECTIONS, "sensors.mains", "sensors.door"])
def test_a_key_that_nobody_knows_is_refused_in_every_section(section: str) -> None:
    text = with_line("wholly_unlike = 1", section, FULL + "\n")
    if section == "broker":  # where a key may be a misplaced password
        assert "in line 11" in faults(text)["broker"]
    else:
        assert "wholly_unlike" in " ".join(faults(text)), text
    text = with_line("", section, FULL)
    assert not faults(text)


def test_a_key_that_resembles_none_is_answered_with_those_there_are() -> None:
    fix = faults(with_line("qqq = 1", "store"))["store.qqq"]
    assert "keep_days, max_rows, max_mib" in fix


# Types and ranges of every key


class Key(NamedTuple):
    """A key, and a configuration with its section."""

    section: str
    name: str
    kind: Any
    rule: Any
    text: str

    def faults(self, value: str) -> str:
        """Return the fault of this key with a value."""
        line = f"{self.name} = {value}"
        found = faults(with_line(line, self.section, self.text))
        return found.get(f"{self.section}.{self.name}", "")


def every_key() -> list[Key]:
    from publisher.config.load import plain_type

    kinds = [(section, kind, FULL) for section, kind in SECTIONS.items()]
    for text in (FULL, OTHER):
        for sensor in parse(text).sensors:
            kinds.append((f"sensors.{sensor.name}", config_class(sensor.driver), text))
    drivers = {sensor.driver for text in (FULL, OTHER) for sensor in parse(text).sensors}
    assert drivers == set(DRIVERS), "a new driver: add it to one of the configurations above"
    return [
        Key(section, name, plain_type(get_type_hints(kind)[name]), rule, text)
        for section, kind, text in kinds
        for name, _, rule in keys_of(kind)
    ]


KEYS = every_key()
NUMBERS = [key for key in KEYS if key.kind in (int, float)]


def shown(key: Key) -> str:
    return f"{key.section}.{key.name}" + ("" if key.text == FULL else "-other")


def test_every_key_says_what_it_means_and_every_number_has_bounds() -> None:
    for key in KEYS:
        assert key.rule.doc, shown(key)
        if key.kind in (int, float):
            assert key.rule.low is not None, shown(key)
            assert key.rule.high is not None, shown(key)


LITERALS = {
    "5": int,
    "5.5": float,
    "inf": float,
    "true": bool,
    '"5"': str,
    "[1]": list,
    "{a = 1}": dict,
    "2026-11-22": date,
}


@pytest.mark.parametrize("key", KEYS, ids=shown)
def test_a_value_of_another_type_is_refused(key: Key) -> None:
    for literal, its_kind in LITERALS.items():
        fits = its_kind is key.kind or (its_kind is int and key.kind is float)
        fix = key.faults(literal)
        assert (fix.startswith("must be ") and ", not " in fix) is not fits, literal


@pytest.mark.parametrize("key", KEYS, ids=shown)
def test_a_value_beyond_all_bounds_is_refused_in_few_words(key: Key) -> None:
    for literal in ("1" + "0" * 400, "0x" + "f" * 9000, "[" * 100 + "]" * 100):
        fix = key.faults(literal)
        assert fix.startswith(("must be ", "is "))
        assert len(fix) < 400


@pytest.mark.parametrize("key", NUMBERS, ids=shown)
def test_a_number_is_taken_up_to_its_bounds_and_not_beyond(key: Key) -> None:
    low, high, is_whole = key.rule.low, key.rule.high, key.kind is int

    def fix(value: float) -> str:
        return key.faults(str(int(value)) if is_whole else f"{float(value)!r}")

    step = 1 if is_whole else max(1e-9, abs(high - low) * 1e-9)
    for value in (low - step, high + step):
        assert "to" in fix(value).split()
    for value in (low, high):
        assert f"({low:g} to {high:g})" not in fix(value)
    if not is_whole:
        for literal in ("nan", "inf", "-inf", "-nan"):
            assert key.faults(literal)


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("tent", 'id = ""'),
        ("tent", f'id = "{"a" * 65}"'),
        ("tent", 'id = "a/b"'),
        ("tent", 'id = "Буча"'),
        ("tent", 'id = "a\\n"'),
        ("tent", 'region = "ua-32"'),
        ("tent", 'timezone = "Europe/Kiev/../Kyiv"'),
        ("tent", 'timezone = "../../etc/passwd"'),
        ("tent", 'timezone = "Europe"'),
        ("tent", 'timezone = ""'),
        ("tent", 'timezone = "Europe/Nowhere"'),
        ("tent", 'timezone = "a\\u0000b"'),
        ("tent", f'timezone = "{"a" * 5000}"'),
        ("tent", f'name = "{"a" * 201}"'),
        ("tent", 'name = "a\\u001b[31m"'),
        ("tent", 'name = "a\\nb"'),
        ("broker", 'host = "b\\u001b[31m"'),
        ("broker", 'prefix = "tents\\u001b"'),
        ("broker", 'host = ""'),
        ("broker", 'host = "two words"'),
        ("broker", 'prefix = ""'),
        ("broker", 'prefix = "/tents"'),
        ("broker", 'prefix = "tents/"'),
        ("broker", 'prefix = "tents//v1"'),
        ("broker", 'prefix = "tents/+"'),
        ("broker", 'prefix = "tents/#"'),
        ("broker", 'prefix = "$SYS/tents"'),
        ("broker", 'protocol = "4"'),
    ],
)
def test_text_that_does_not_fit_is_refused(section: str, line: str) -> None:
    key = f"{section}.{line.partition(' ')[0]}"
    assert list(faults(with_line(line, section))) == [key]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('host = "broker.example.org:8883"', "host_with_port"),
        ('host = "192.0.2.10:1883"', "host_with_port"),
        ('host = "[2001:db8::1]:8883"', "host_with_port"),
        ('host = "mqtts://broker.example.org:8883"', "host_with_scheme"),
        ('host = "https://broker.example.org/mqtt"', "host_with_scheme"),
        ('host = "mqtt://demo:geheim@broker.example.org"', "host_with_login"),
        ('host = "demo@broker.example.org"', "host_with_login"),
        ('host = "broker.example.org/mqtt"', "host_with_path"),
        ('host = "broker.example.org/"', "host_with_path"),
        ('host = " broker.example.org"', "blanks"),
        ('host = "broker.example.org "', "blanks"),
        ('host = "broker.example.org\\n"', "blanks"),
        ('host = "broker\\u200b.example.org"', "blanks"),
        ('host = ""', "empty"),
        ('host = "broker.example.org:"', "wrong_host"),
        ('host = "broker.example.org:99999"', "wrong_host"),
        ('host = "broker.example.org,"', "wrong_host"),
        ('host = "broker..example.org"', "wrong_host"),
        ('host = "[::1]"', "wrong_host"),
        ('host = "192.0.2"', "wrong_host"),
        ('host = "192.0.2.256"', "wrong_host"),
        ('host = "2001:db8::1::2"', "wrong_host"),
        ('host = "-b"', "wrong_host"),
        (f'host = "{"a" * 64}.org"', "wrong_host"),
        (f'host = "{"a." * 127}org"', "wrong_host"),
        ('username = ""', "empty"),
        ('username = "demo "', "blanks"),
        ('username = "demo\\n"', "blanks"),
        ('prefix = " tents/v1"', "blanks"),
        ('prefix = "tents/v1\\t"', "blanks"),
        ('ca_file = "ca.crt"', "wrong_form"),
        ('ca_file = ""', "wrong_form"),
        ('ca_file = "~/ca.crt"', "wrong_form"),
        ('ca_file = "/etc/tentwatch/ca.crt "', "wrong_form"),
        ('ca_file = """-----BEGIN CERTIFICATE-----\nMIIB"""', "wrong_form"),
        ('cert_file = "C:\\\\tent.crt"', "wrong_form"),
        ('password_file = "/etc/tentwatch/password\\n"', "wrong_form"),
    ],
)
def test_what_people_paste_into_the_keys_of_the_broker_is_refused_with_its_cure(
    line: str, code: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(with_line(line, "broker"))
    ((key, trouble),) = caught.value.faults
    assert (key, trouble.code) == (f"broker.{line.partition(' ')[0]}", f"config.{code}")
    assert "example.org" not in str(trouble).replace("like broker.example.org", "")


@pytest.mark.parametrize(
    "host",
    [
        "b",
        "localhost",
        "broker.example.org",
        "broker.example.org.",
        "tent_1.local",
        "192.0.2.10",
        "::1",
        "2001:db8::1",
        "fe80::1%wlan0",
        "брокер.укр",
        "BROKER",
        "3com.example",
        "10.example",
    ],
)
def test_a_name_or_an_address_is_a_host(host: str) -> None:
    assert parse(with_line(f'host = "{host}"', "broker")).broker.host == host


@pytest.mark.parametrize("port", ["ttyUSB0", "COM3", "/dev/ttyUSB0 ", "/dev/ttyUSB0\\n", ""])
def test_a_serial_port_is_a_whole_path(port: str) -> None:
    for text in (FULL, OTHER):
        assert faults(with_line(f'port = "{port}"', "sensors.battery", text))


def test_text_that_fits_is_taken() -> None:
    for section, line in (
        ("tent", f'id = "{"a" * 64}"'),
        ("tent", f'name = "{"ї" * 200}"'),
        ("tent", 'timezone = "UTC"'),
        ("broker", 'prefix = "a"'),
        ("broker", 'prefix = "países/ñ $/v1"'),
        ("broker", 'host = "::1"'),
    ):
        assert faults(with_line(line, section)) == {}


@pytest.mark.parametrize(
    "text",
    [
        'tent = "x"\n[broker]\nhost = "b"',
        "broker = 5\n" + MINIMAL.partition("[broker]")[0],
        "sensors = 5\n" + MINIMAL,
        "[[sensors]]\n" + MINIMAL,
        MINIMAL + "[sensors]\nmains = 5",
        MINIMAL + "[[sensors.mains]]\ndriver = 'contact'",
        MINIMAL + "[sensors.mains]\ndriver = ['contact']",
        MINIMAL + "[sensors.mains]\ndriver = {a = 1}",
        MINIMAL + "[sensors.mains]\ndriver = 'ina219'",
        MINIMAL + "[sensors.'']\ndriver = 'contact'",
        MINIMAL + "['']\n",
    ],
)
def test_tables_in_the_wrong_place_are_faults(text: str) -> None:
    assert faults(text)


# Several keys together


@pytest.mark.parametrize(
    ("section", "line", "key"),
    [
        ("broker", "tls = false", "broker.tls"),
        ("broker", 'cert_file = "c.pem"', "broker.cert_file"),
        ("broker", 'key_file = "/k.pem"', "broker.cert_file"),
        ("report", "ttl_s = 29", "report.ttl_s"),
        ("report", "interval_s = 121", "report.ttl_s"),
        ("sensors.generator", "max_current_a = 500", "sensors.generator.max_current_a"),
        ("sensors.generator", "period_s = 15", "sensors.generator.period_s"),
        ("sensors.door", "inner_gpio = 5", "sensors.door.inner_gpio"),
        ("sensors.mains", "gpio = 6", "sensors.door.inner_gpio"),
        ("sensors.mains", "gpio = 22", "sensors.mains.gpio"),
        ("tent", "lamp_gpio = 5", "sensors.door.outer_gpio"),
        ("tent", "lamp_gpio = 17", "sensors.mains.gpio"),
        ("tent", "buzzer_gpio = 22", "tent.buzzer_gpio"),
        ("tent", "button_gpio = 22", "tent.button_gpio"),
        ("tent", "buzzer_gpio = 5", "sensors.door.outer_gpio"),
    ],
)
def test_keys_that_do_not_go_together(section: str, line: str, key: str) -> None:
    assert list(faults(with_line(line, section))) == [key]


def test_a_line_that_two_use_is_told_with_both_names_beside_other_faults() -> None:
    text = with_line("settle_s = 9.0", "sensors.mains", with_line("gpio = 5", "sensors.mains"))
    found = faults(text)
    assert set(found) == {"sensors.mains.settle_s", "sensors.door.outer_gpio"}
    assert "sensors.mains.gpio" in found["sensors.door.outer_gpio"]
    assert "GPIO 5" in found["sensors.door.outer_gpio"]


def test_a_latitude_goes_with_a_longitude() -> None:
    for given in ("latitude = 50.5", "longitude = 30.2"):
        found = faults(MINIMAL.replace("seats", f"{given}\nseats"))
        assert list(found) == ["tent.latitude"]


def test_a_password_goes_with_a_user() -> None:
    found = faults(MINIMAL + 'password_file = "/etc/tentwatch/password"\n')
    assert list(found) == ["broker.username"]


# Random input


def test_a_damaged_text_is_a_configuration_error_or_a_configuration() -> None:
    chance = random.Random(417)
    pieces = [
        "[", "]", "[[", "{", "}", '"', "'''", "=", ".", "\n", "\0", "é", "nan", "inf", "-1",
        "0x" + "f" * 6000, "1e400", "true", "[]", "{}", "sensors",
        "driver", "gpio", "0", "9" * 20, "2026-11-22",
        '"\\udfff"', "[sensors.door]\n", "[tent]\n", "#", "\ufeff", "a.b.c = 1\n",
    ]  # fmt: skip
    refused = 0
    for _ in range(3000):
        text = FULL
        for _ in range(chance.randrange(1, 4)):
            start = chance.randrange(len(text))
            end = min(len(text), start + chance.choice((0, 0, 1, 3, 20)))
            text = text[:start] + chance.choice((*pieces, "")) + text[end:]
        try:
            config = parse(text)
        except ConfigError as error:
            refused += 1
            assert error.faults
            assert all(key and fix for key, fix in error.faults)
        else:
            assert isinstance(config, Config)
            assert all(getattr(config, f.name) is not None for f in fields(config))
    assert refused > 1000


def test_a_damaged_file_is_a_configuration_error_or_a_configuration(tmp_path: Path) -> None:
    chance = random.Random(32)
    path = tmp_path / "tentwatch.toml"
    for _ in range(200):
        content = bytearray(FULL.encode())
        for _ in range(chance.randrange(1, 6)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            load(path)
        except ConfigError as error:
            assert error.faults


# Combinations


def test_no_two_sensors_share_a_device() -> None:
    shunt = '[sensors.{}]\ndriver = "ina219"\nshunt_ohms = 0.0015\nmax_current_a = 50\n{}\n'
    head = MINIMAL + '[battery]\nchemistry = "lifepo4"\ncapacity_ah = 100\n'
    both = head + shunt.format("generator", "") + shunt.format("battery", "{}")
    assert "sensors.generator" in faults(both.format(""))["sensors.battery.address"]
    assert not faults(both.format("address = 0x41"))
    assert not faults(both.format("bus = 2"))
    cable = MINIMAL + OTHER[OTHER.index("[sensors.generator]") :].replace("ttyUSB1", "ttyUSB0")
    assert "sensors.generator" in faults(cable)["sensors.battery.port"]


def test_a_generator_that_could_never_count_as_running_is_refused() -> None:
    for line in ("running_a = 60", "running_a = 0.1"):
        assert "dead_band_a" in faults(with_line(line, "generator"))["generator.running_a"]
    assert not faults(with_line("running_a = 50", "generator"))


def test_a_contact_beside_a_contact_is_refused() -> None:
    text = FULL + '\n[sensors.mains_line]\ndriver = "contact"\ngpio = 4\n'
    assert "needs a meter" in faults(text)["sensors.mains_line"]


def test_a_key_with_control_characters_is_shown_without_them() -> None:
    assert "\x1b" not in str(faults(MINIMAL + '"\\u001b[31m" = 1\n'))


def test_an_ina219_is_refused_on_a_battery_that_would_destroy_it() -> None:
    text = '[battery]\nchemistry = "lead_acid"\ncapacity_ah = 100\nnominal_v = 24\n'
    text += '[sensors.battery]\ndriver = "ina219"\nshunt_ohms = 0.0015\nmax_current_a = 50\n'
    assert "26 V" in faults(MINIMAL + text)["battery.nominal_v"]


def test_a_meter_that_is_read_too_seldom_for_the_rules_is_refused() -> None:
    text = with_line("period_s = 12", "sensors.generator", OTHER)
    assert "generator.unknown_after_s" in faults(text)["sensors.generator.period_s"]


@pytest.fixture
def zone_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for this system's time zones, in which there are none."""
    monkeypatch.setitem(sys.modules, "tzdata", None)  # the package that could replace it
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    yield tmp_path
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


def put_zone(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    found = next(Path(p, name) for p in zoneinfo_paths() if Path(p, name).exists())
    (folder / name).write_bytes(found.read_bytes())


def zoneinfo_paths() -> list[str]:
    return (sysconfig.get_config_var("TZPATH") or "/usr/share/zoneinfo").split(":")


@pytest.mark.parametrize(
    ("old", "present"),
    [
        ("Europe/Kiev", "Europe/Kyiv"),
        ("Europe/Uzhgorod", "Europe/Kyiv"),
        ("Europe/Zaporozhye", "Europe/Kyiv"),
        ("Poland", "Europe/Warsaw"),
        ("US/Eastern", "America/New_York"),
        ("Asia/Calcutta", "Asia/Kolkata"),
    ],
)
def test_an_old_name_of_a_zone_that_has_gone_is_its_present_one_with_a_warning(
    zone_files: Path, old: str, present: str
) -> None:
    put_zone(zone_files, present)
    config = parse(with_line(f'timezone = "{old}"', "tent"))
    assert config.tent.timezone == present
    ((key, trouble),) = config.warnings
    assert (key, trouble.code) == ("tent.timezone", "config.old_zone")
    assert f'write timezone = "{present}"' in str(trouble)


def test_a_zone_that_this_system_knows_stays_as_it_is_named(zone_files: Path) -> None:
    put_zone(zone_files, "Europe/Kyiv")
    for name in ("Europe/Kyiv", "Europe/Kiev"):
        (zone_files / name).write_bytes((zone_files / "Europe/Kyiv").read_bytes())
        config = parse(with_line(f'timezone = "{name}"', "tent"))
        assert (config.tent.timezone, config.warnings) == (name, ())


def test_every_present_name_of_an_old_one_is_one_here() -> None:
    lines = [line.split() for line in zones._NAMES.split("\n") if line]
    assert [present for present, *_ in lines if not zones.is_known(present)] == []
    old = [name for _, *names in lines for name in names]
    assert len(old) == len(set(old)) > 100


def test_a_system_without_time_zones_is_told_what_to_install(zone_files: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(MINIMAL)
    ((key, trouble),) = caught.value.faults
    assert (key, trouble.code) == ("tent.timezone", "config.no_zones")
    assert "sudo apt install tzdata" in str(trouble)
