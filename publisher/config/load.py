"""The configuration file: read, and checked completely, so that all faults are named at once."""

import dataclasses
import math
import re
import tomllib
import types
import zlib
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from publisher.config import faults, zones
from publisher.config.autonomy import AutonomySettings
from publisher.config.battery import BatterySettings
from publisher.config.climate import ClimateSettings
from publisher.config.co import CoSettings
from publisher.config.door import DoorSettings
from publisher.config.faults import ConfigError, Fault, described, shown, wrong_value
from publisher.config.generator import GeneratorSettings
from publisher.config.sections import (
    SECTIONS,
    BrokerSettings,
    ReportSettings,
    StoreSettings,
    TentSettings,
)
from sensors.json_in import LARGEST_EXACT
from sensors.registry import DRIVERS, SENSORS, config_class, serving, traits
from sensors.settings import Rule
from sensors.traits import Traits
from sensors.trouble import Trouble

#: A battery is charged at this share of its nominal voltage: 14 V at 12 V.
CHARGED = 14 / 12
#: The place of a fault in `tomllib`'s message.
_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)$")
#: What is often wrong in a line that is not TOML.
_MISTAKES = (
    (re.compile(r"[^\"'#]*=\s*[“”„‟«»‘’‚]"), faults.WRONG_QUOTES),
    (re.compile(r"[^\"'#]*=\s*[+-]?\d+,\d+\s*(#|$)"), faults.DECIMAL_COMMA),
    # Neither the name of a section, nor a key and what may follow it.
    (re.compile(r"\s*[\w-]+\s*([^\s=.\w-]|\s[\w-]|$)"), faults.NO_EQUALS),
)
#: Keys outside the sections of sensors, rules and limits may be a misplaced secret.
_WITH_SECRETS = ("", "broker.")
_PASSWORD_KEYS = ("password", "passwd", "pass", "passwort", "passphrase", "secret", "пароль")
_PLAIN_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class SensorSettings:
    """`[sensors.<name>]`: one device; `config` holds the keys of its driver."""

    name: str
    driver: str
    config: Any

    @property
    def traits(self) -> Traits:
        """The driver's traits."""
        return traits(self.driver)


@dataclass(frozen=True)
class Config:
    """A valid configuration; `digest` changes with the file's text."""

    tent: TentSettings
    broker: BrokerSettings
    report: ReportSettings
    generator: GeneratorSettings
    battery: BatterySettings
    door: DoorSettings
    autonomy: AutonomySettings
    climate: ClimateSettings
    co: CoSettings
    store: StoreSettings
    sensors: tuple[SensorSettings, ...]
    digest: str
    #: What works and should be changed, each with its key.
    warnings: tuple[Fault, ...] = ()

    def sensor(self, name: str) -> SensorSettings | None:
        """Return a sensor's settings, None if it is not fitted."""
        return next((sensor for sensor in self.sensors if sensor.name == name), None)


def load(path: Path) -> Config:
    """Read and check a file. Raises ConfigError with everything that is wrong with it."""
    return parse(text_of(path), str(path))


def text_of(path: Path) -> str:
    """Return a file's text. Raises ConfigError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors write a mark before the text
    except FileNotFoundError:
        trouble = Trouble(faults.NO_FILE)
    except UnicodeDecodeError as error:
        trouble = faults.not_utf8(error)
    except OSError as error:
        trouble = Trouble(faults.UNREADABLE, error=error.strerror)
    raise ConfigError(str(path), [("file", trouble)])


def document_of(text: str, where: str) -> dict[str, Any]:
    """Return a text's tables and keys. Raises ConfigError if it is not TOML."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # including too long numbers and too deep nesting
        raise ConfigError(where, [("syntax", _not_toml(error, text))]) from None


def _not_toml(error: Exception, text: str) -> Trouble:
    """Return the fault that `tomllib` has found in a text.

    `tomllib` has no codes, and its message quotes the text: only line and column are repeated, and never
    text of the line, which may be a password.
    """
    if not isinstance(error, tomllib.TOMLDecodeError):
        return Trouble(faults.ENDLESS)
    words = str(error)
    place = _PLACE.search(words)
    if words.startswith(("Cannot", "Duplicate")):
        return Trouble(faults.TWICE, line=int(place[1]) if place else text.count("\n") + 1)
    if place is None:
        return Trouble(faults.UNFINISHED)
    line, column = int(place[1]), int(place[2])
    wrong = text.split("\n")[line - 1]
    kind = next((kind for way, kind in _MISTAKES if way.match(wrong)), faults.NOT_TOML)
    return Trouble(kind, line=line, column=column)


def parse(text: str, where: str = "configuration") -> Config:
    """Check a configuration's text. Raises ConfigError with everything that is wrong with it."""
    return checked(document_of(text, where), text, where)


def checked(document: dict[str, Any], text: str, where: str) -> Config:
    """Check the tables and keys of a `text`, and empty them. Raises ConfigError as `parse` does."""
    reader = _Reader(text)
    sections = {
        name: reader.section(kind, document.pop(name, {}), name) for name, kind in SECTIONS.items()
    }
    sensors = reader.sensors(document.pop("sensors", {}))
    for name in document:
        reader.unknown(name, (*sections, "sensors"), "")
    reader.compare(sections["report"], sections["generator"], sections["battery"], sensors)
    if reader.faults:
        raise ConfigError(where, reader.faults)
    sections["tent"], warnings = _in_present_names(sections["tent"])
    digest = f"{zlib.crc32(text.encode()):08x}"
    return Config(**sections, sensors=sensors, digest=digest, warnings=warnings)


def _in_present_names(tent: TentSettings) -> tuple[TentSettings, tuple[Fault, ...]]:
    """Replace an old name of a time zone that this system does not know; return the warning with it."""
    present = zones.usable(tent.timezone)
    if present is None or present == tent.timezone:
        return tent, ()
    old = Trouble(faults.OLD_ZONE, zone=tent.timezone, present=present)
    return dataclasses.replace(tent, timezone=present), (("tent.timezone", old),)


class _Reader:
    """Turns tables into dataclasses and collects the faults."""

    def __init__(self, text: str) -> None:
        self.faults: list[Fault] = []
        self._text = text
        self._lines: dict[int, str] = {}  # GPIO number → the key that has taken it

    def unknown(self, key: str, known: tuple[str, ...], path: str) -> None:
        """Add the fault of a key that nobody knows. It is named only if it cannot be a secret."""
        may_be_secret = path in _WITH_SECRETS
        near = get_close_matches(key, known, 1)
        if key.lower() in _PASSWORD_KEYS and may_be_secret:
            self._add(path + key.lower(), Trouble(faults.SECRET_KEY))
        elif near and _PLAIN_KEY.fullmatch(key) and "pass" not in key:
            self._add(path + key, Trouble(faults.MISSPELT, near=near[0]))
        elif _PLAIN_KEY.fullmatch(key) and not may_be_secret:
            self._add(path + key, Trouble(faults.NOT_A_KEY, known=", ".join(known)))
        else:
            trouble = Trouble(faults.UNKNOWN_KEY, line=self._line_of(key), known=", ".join(known))
            self._add(path.removesuffix(".") or "file", trouble)

    def _line_of(self, key: str) -> int:
        """Return the number of the first line in which a key is set, or that has its text."""
        lines = self._text.split("\n")
        sets = re.compile(rf"""[\[\s"'\w.-]*(?<![\w-]){re.escape(key)}(?![\w-])[\s"']*[\].=]""")
        for is_it in (sets.match, re.compile(re.escape(key)).search):
            for number, line in enumerate(lines, 1):
                if is_it(line):
                    return number
        return len(lines)

    def _add(self, key: str, trouble: Trouble) -> None:
        self.faults.append((key, trouble))

    def section(self, kind: type[Any], table: object, path: str) -> Any:
        """Return a `kind` made from `table`, or None if there were faults."""
        if not isinstance(table, Mapping):
            self._add(path, Trouble(faults.NOT_A_TABLE))
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
            elif declared.default is dataclasses.MISSING:
                self._add(f"{path}.{key}", Trouble(faults.MISSING, meaning=described(rule)))
        if len(self.faults) > before:
            return None
        built = kind(**values)
        check = getattr(built, "faults", None)
        if check is not None:
            self.faults += [(f"{path}.{key}", trouble) for key, trouble in check()]
        return built

    def _value(self, value: object, hint: Any, rule: Rule, path: str) -> Any:
        kind = plain_type(hint)
        if kind is float and type(value) is int and abs(value) < LARGEST_EXACT:
            value = float(value)
        wrong = wrong_value(value, kind, rule)
        if wrong is not None:
            self._add(path, wrong)
        elif path.endswith("gpio") and isinstance(value, int):
            self._take_line(value, path)
        return value

    def _take_line(self, gpio: int, path: str) -> None:
        """Note which key uses a GPIO line. Each section compares its own keys itself."""
        other = self._lines.setdefault(gpio, path)
        if other.rpartition(".")[0] != path.rpartition(".")[0]:
            self._add(path, Trouble(faults.GPIO_TAKEN, gpio=gpio, other=other))

    def compare(
        self,
        report: ReportSettings | None,
        generator: GeneratorSettings | None,
        battery: BatterySettings | None,
        sensors: tuple[SensorSettings, ...],
    ) -> None:
        """Find faults between sections."""
        fitted = {sensor.name: sensor for sensor in sensors}
        self._compare_devices(sensors)
        for name in ("mains", "generator"):
            line, meter = f"{name}_line", fitted.get(name)
            if line in fitted and (meter is None or line in meter.traits.serves):
                self._add(f"sensors.{line}", Trouble(faults.LINE_WITHOUT_METER, name=name))
        meter = fitted.get("generator")
        if generator and meter and meter.config and meter.traits.on_shunt:
            low_a, high_a = meter.config.dead_band_a, meter.config.max_current_a
            if not low_a < generator.running_a <= high_a:
                self._add(
                    "generator.running_a",
                    Trouble(
                        faults.RUNNING_CURRENT,
                        low_a=low_a,
                        high_a=high_a,
                        sensor="sensors.generator",
                    ),
                )
        monitor = fitted.get("battery")
        if battery and monitor and monitor.traits.on_shunt and battery.capacity_ah is None:
            self._add("battery.capacity_ah", Trouble(faults.NO_CAPACITY))
        if battery and monitor and battery.nominal_v * CHARGED > monitor.traits.most_v:
            self._add(
                "battery.nominal_v",
                Trouble(
                    faults.TOO_HIGH_A_VOLTAGE,
                    device=monitor.traits.serves["battery"],
                    most_v=monitor.traits.most_v,
                    charged_v=battery.nominal_v * CHARGED,
                ),
            )
        for sensor in sensors:
            period_s = getattr(sensor.config, "period_s", 0.0)
            is_slow = sensor.traits.changes_slowly
            if report is not None and not is_slow and period_s >= report.stale_after_s:
                self._must_be_less(sensor, "report.stale_after_s", report.stale_after_s)
            silence_s = math.inf if generator is None else generator.unknown_after_s
            is_meter = sensor.name == "generator" and sensor.traits.measures_ac
            if is_meter and period_s >= silence_s:
                self._must_be_less(sensor, "generator.unknown_after_s", silence_s)

    def _must_be_less(self, sensor: SensorSettings, other: str, limit: float) -> None:
        """Add the fault that a sensor's period is not less than the key `other`."""
        trouble = Trouble(faults.NOT_LESS, other=other, limit=limit)
        self._add(f"sensors.{sensor.name}.period_s", trouble)

    def _compare_devices(self, sensors: tuple[SensorSettings, ...]) -> None:
        taken: dict[tuple[Any, ...], str] = {}
        for sensor in sensors:
            keys = sensor.traits.connection.keys
            if not keys or sensor.config is None:
                continue
            device = tuple(getattr(sensor.config, key) for key in keys)
            other = taken.setdefault(device, sensor.name)
            if other != sensor.name:
                key = f"sensors.{sensor.name}.{keys[-1]}"
                self._add(key, Trouble(faults.DEVICE_TAKEN, other=f"sensors.{other}"))

    def sensors(self, tables: object) -> tuple[SensorSettings, ...]:
        if not isinstance(tables, Mapping):
            self._add("sensors", Trouble(faults.NO_SENSOR_TABLES))
            return ()
        found = []
        for name, table in tables.items():
            path = f"sensors.{name}"
            if name not in SENSORS:
                self.unknown(str(name), SENSORS, "sensors.")
                continue
            if not isinstance(table, Mapping):
                self._add(path, Trouble(faults.NOT_A_TABLE))
                continue
            keys = dict(table)
            driver = keys.pop("driver", None)
            if (
                not isinstance(driver, str)
                or driver not in DRIVERS
                or name not in traits(driver).serves
            ):
                choices = ", ".join(sorted(serving(name)))
                if driver is None:
                    trouble = Trouble(faults.NO_DRIVER, choices=choices)
                else:
                    trouble = Trouble(faults.WRONG_DRIVER, value=shown(driver), choices=choices)
                self._add(f"{path}.driver", trouble)
                continue
            config = self.section(config_class(driver), keys, path)
            found.append(SensorSettings(str(name), driver, config))
        return tuple(found)


def plain_type(hint: Any) -> type:
    """Return the type without None: `int` for `int | None`."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(t for t in get_args(hint) if t is not type(None))
    assert isinstance(hint, type)
    return hint


def keys_of(kind: type[Any]) -> list[tuple[str, Field[Any], Rule]]:
    """Return each key of a section with its declaration and its rule."""
    return [(f.name, f, f.metadata["rule"]) for f in fields(kind)]
