"""The configuration file: read, and checked whole, so that all its faults are named at once."""

import math
import re
import tomllib
import types
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from publisher.config.battery import BatterySettings
from publisher.config.door import DoorSettings
from publisher.config.generator import GeneratorSettings
from publisher.config.sections import (
    SECTIONS,
    BrokerSettings,
    ReportSettings,
    StoreSettings,
    TentSettings,
)
from sensors.registry import DRIVERS, SENSORS, config_class
from sensors.settings import Rule

#: Characters of a wrong value that a message repeats.
LONGEST_SHOWN = 60


@dataclass(frozen=True)
class SensorSettings:
    """`[sensors.<name>]`: one device; `config` holds the keys of its driver."""

    name: str
    driver: str
    config: Any


@dataclass(frozen=True)
class Config:
    """A whole configuration, checked; `digest` changes when the file's text does."""

    tent: TentSettings
    broker: BrokerSettings
    report: ReportSettings
    generator: GeneratorSettings
    battery: BatterySettings
    door: DoorSettings
    store: StoreSettings
    sensors: tuple[SensorSettings, ...]
    digest: str

    def rules(self) -> list[tuple[str, str, str]]:
        """Return (state or alert, when it comes, until when it stands) of the generator, if fitted."""
        fitted = any(sensor.name == "generator" for sensor in self.sensors)
        return self.generator.rules() if fitted else []


class ConfigError(Exception):
    """The configuration cannot be used; `faults` lists every (key, what to do)."""

    def __init__(self, where: str, faults: list[tuple[str, str]]) -> None:
        self.where = where
        self.faults = faults
        super().__init__("\n".join(f"{where}: {key}: {fix}" for key, fix in faults))


def load(path: Path) -> Config:
    """Read and check a file. Raises ConfigError with everything that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark before the text
    except FileNotFoundError:
        raise ConfigError(
            str(path), [("file", "does not exist: copy the sample configuration there")]
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            str(path), [("file", f"is not UTF-8: save it as such ({error})")]
        ) from None
    except OSError as error:
        fix = f"cannot be read ({error.strerror}): check its path and its rights"
        raise ConfigError(str(path), [("file", fix)]) from error
    return parse(text, str(path))


def parse(text: str, where: str = "configuration") -> Config:
    """Check a configuration's text. Raises ConfigError with everything that is wrong with it."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers and nesting beyond all bounds included
        raise ConfigError(where, [("syntax", f"is not TOML: {error}")]) from error
    reader = _Reader()
    sections = {
        name: reader.section(kind, document.pop(name, {}), name) for name, kind in SECTIONS.items()
    }
    sensors = reader.sensors(document.pop("sensors", {}))
    for name in document:
        reader.unknown(name, (*sections, "sensors"), "")
    reader.compare(sections["report"], sections["generator"], sections["battery"], sensors)
    if reader.faults:
        raise ConfigError(where, reader.faults)
    return Config(**sections, sensors=sensors, digest=f"{zlib.crc32(text.encode()):08x}")


class _Reader:
    """Turns tables into dataclasses and gathers what does not fit."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str]] = []
        self._lines: dict[int, str] = {}  # GPIO number → the key that has taken it

    def unknown(self, key: str, known: tuple[str, ...], path: str) -> None:
        near = get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        if re.search("pass|secret", key, re.I) and path == "broker.":
            hint = "a secret never stands here: write it to a file and name that in password_file"
        shown = key if key.isprintable() else ascii(key)
        self.faults.append((path + shown, f"is not a key: remove it ({hint})"))

    def section(self, kind: type[Any], table: object, path: str) -> Any:
        """Return a `kind` from `table`, or None where there were faults."""
        if not isinstance(table, Mapping):
            self.faults.append((path, "must be a table of keys"))
            return None
        before = len(self.faults)
        known = {f.name: f for f in fields(kind)}
        hints = get_type_hints(kind)
        values: dict[str, Any] = {}
        for key in table:
            if key not in known:
                self.unknown(str(key), tuple(known), f"{path}.")
        for key, declared in known.items():
            rule: Rule = declared.metadata["rule"]
            if key in table:
                values[key] = self._value(table[key], hints[key], rule, f"{path}.{key}")
            elif declared.default is MISSING:
                self.faults.append((f"{path}.{key}", f"is missing: {_describe(rule)}"))
        if len(self.faults) > before:
            return None
        built = kind(**values)
        check = getattr(built, "faults", None)
        if check is not None:
            self.faults += [(f"{path}.{key}", fix) for key, fix in check()]
        return built

    def _value(self, value: object, hint: Any, rule: Rule, path: str) -> Any:
        kind = _plain_type(hint)
        if kind is float and type(value) is int and abs(value) < 1 << 53:
            value = float(value)
        if type(value) is not kind:
            wanted = {str: "text in quotes", int: "a whole number", bool: "true or false"}
            shown = _shown(value, rule)
            fix = f"must be {wanted.get(kind, 'a number')}, not {shown}: {_describe(rule)}"
            self.faults.append((path, fix))
            return value
        if (
            isinstance(value, int | float)
            and not (
                (rule.low is None or value >= rule.low)
                and (rule.high is None or value <= rule.high)
            )
        ) or (
            isinstance(value, str)
            and (
                (rule.choices and value not in rule.choices)
                or (rule.pattern and not re.fullmatch(rule.pattern, value))
            )
        ):
            self.faults.append((path, f"is {_shown(value, rule)}: {_describe(rule)}"))
        elif path.endswith("gpio") and isinstance(value, int):
            self._take_line(value, path)
        return value

    def _take_line(self, gpio: int, path: str) -> None:
        """Note who uses a GPIO line. Two keys of one section are that section's own matter."""
        other = self._lines.setdefault(gpio, path)
        if other.rpartition(".")[0] != path.rpartition(".")[0]:
            fix = f"is GPIO {gpio}, which {other} has taken: give each its own line"
            self.faults.append((path, fix))

    def compare(
        self,
        report: ReportSettings | None,
        generator: GeneratorSettings | None,
        battery: BatterySettings | None,
        sensors: tuple[SensorSettings, ...],
    ) -> None:
        """Find what no single section shows."""
        drivers = {sensor.name: sensor.driver for sensor in sensors}
        self._compare_devices(sensors)
        for name in ("mains", "generator"):
            line = f"{name}_line"
            if line in drivers and drivers.get(name, "contact") == "contact":
                fix = f"goes with a meter in [sensors.{name}]: name this one {name}"
                self.faults.append((f"sensors.{line}", fix))
        shunt = next((s.config for s in sensors if s.name == "generator" and s.config), None)
        if generator and shunt is not None and drivers["generator"] == "ina219":
            low_a, high_a = shunt.dead_band_a, shunt.max_current_a
            if not low_a < generator.running_a <= high_a:
                fix = f"must lie between dead_band_a ({low_a:g}) and max_current_a ({high_a:g})"
                self.faults.append(("generator.running_a", f"{fix} of sensors.generator"))
        if battery and battery.capacity_ah is None and drivers.get("battery") == "ina219":
            fix = "is missing: without it no charge can be told from the battery's current"
            self.faults.append(("battery.capacity_ah", fix))
        if battery and battery.nominal_v > 12 and drivers.get("battery") == "ina219":
            fix = "must be 12: an INA219 stands 26 V, and a 24 V battery is charged at 28 V"
            self.faults.append(("battery.nominal_v", fix))
        for sensor in sensors:
            period_s = getattr(sensor.config, "period_s", 0.0)
            if report is not None and period_s >= report.stale_after_s:
                fix = f"must be less than report.stale_after_s ({report.stale_after_s:g})"
                self.faults.append((f"sensors.{sensor.name}.period_s", fix))
            silence_s = math.inf if generator is None else generator.unknown_after_s
            is_meter = (sensor.name, sensor.driver) == ("generator", "pzem004t")
            if is_meter and period_s >= silence_s:
                fix = f"must be less than generator.unknown_after_s ({silence_s:g})"
                self.faults.append((f"sensors.{sensor.name}.period_s", fix))

    def _compare_devices(self, sensors: tuple[SensorSettings, ...]) -> None:
        taken: dict[tuple[Any, ...], str] = {}
        for sensor in sensors:
            for keys in (("port",), ("bus", "address")):
                device = tuple(getattr(sensor.config, key, None) for key in keys)
                other = taken.setdefault(device, sensor.name)
                if None not in device and other != sensor.name:
                    fix = f"is the device of sensors.{other}, too: give each its own"
                    self.faults.append((f"sensors.{sensor.name}.{keys[-1]}", fix))

    def sensors(self, tables: object) -> tuple[SensorSettings, ...]:
        if not isinstance(tables, Mapping):
            self.faults.append(("sensors", "must hold a table a sensor, such as [sensors.mains]"))
            return ()
        found = []
        for name, table in tables.items():
            path = f"sensors.{name}"
            if name not in SENSORS:
                self.unknown(str(name), SENSORS, "sensors.")
                continue
            if not isinstance(table, Mapping):
                self.faults.append((path, "must be a table of keys"))
                continue
            fitting = sorted(d for d, entry in DRIVERS.items() if name in entry.serves)
            keys = dict(table)
            driver = keys.pop("driver", None)
            if driver not in fitting:
                problem = "is missing" if driver is None else f"is {_shown(driver)}"
                self.faults.append((f"{path}.driver", f"{problem}: one of {', '.join(fitting)}"))
                continue
            config = self.section(config_class(str(driver)), keys, path)
            found.append(SensorSettings(str(name), str(driver), config))
        return tuple(found)


def _plain_type(hint: Any) -> type:
    """Return the type of a value that is there: `int` of `int | None`."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(t for t in get_args(hint) if t is not type(None))
    assert isinstance(hint, type)
    return hint


def _shown(value: object, rule: Rule | None = None) -> str:
    """Return a value as a message shows it, however large it is; what may be a secret is not."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"this {type(value).__name__}"
    if (rule is not None and rule.secret) or "@" in text:  # as in mqtt://user:password@host
        return "something that is not repeated here"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _describe(rule: Rule) -> str:
    if rule.choices:
        return f"{rule.doc} (one of {', '.join(rule.choices)})"
    if rule.low is not None and rule.high is not None:
        return f"{rule.doc} ({rule.low:g} to {rule.high:g})"
    return rule.doc


def value_of(kind: type[Any], key: str, typed: str) -> Any:
    """Return what a text that somebody typed is as a value of a key, or the text where it is none.

    Whether it is a value that the key may have is for `parse` to say.
    """
    wanted = _plain_type(get_type_hints(kind).get(key, str))
    text = typed.strip()
    try:
        if wanted is bool:
            return {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False}[
                text.lower()
            ]
        if wanted is int:
            return int(text, 16 if text.lower().startswith("0x") else 10)
        if wanted is float:
            return float(text.replace(",", "."))  # as in much of Europe
    except (ValueError, KeyError):
        pass
    return text


def keys_of(kind: type[Any]) -> list[tuple[str, Field[Any], Rule]]:
    """Return each key of a section with its declaration, for the documentation's tests."""
    return [(f.name, f, f.metadata["rule"]) for f in fields(kind)]
