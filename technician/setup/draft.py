"""A configuration in the making: keys are set one by one; comments and other keys stay."""

from pathlib import Path
from typing import Any, get_type_hints

from publisher.config.faults import ConfigError, Fault
from publisher.config.load import parse, plain_type
from publisher.config.sections import SECTIONS
from sensors.registry import DRIVERS, config_class
from technician.setup.config_file import document, document_of

#: Beginning of a new file.
HEAD = """\
# The configuration of this unit. The sample configuration of Tentwatch explains every key.

[tent]

[broker]

"""


class Draft:
    """A configuration; a key is named by its path, such as `tent.id` or `sensors.door.gpio`."""

    def __init__(self, whole: Any, where: str) -> None:
        self.where = where
        self._whole = whole

    @classmethod
    def of_file(cls, path: Path) -> "Draft":
        """Begin with a file's keys, or with none if it does not exist.

        Raises ConfigError if it cannot be read or is not TOML.
        """
        if path.exists():
            return cls(document(path), str(path))
        return cls.empty(path)

    @classmethod
    def empty(cls, path: Path) -> "Draft":
        """Begin with an empty configuration."""
        return cls(document_of(HEAD, str(path)), str(path))

    def copy(self) -> "Draft":
        """Return an independent copy."""
        return Draft(document_of(self.text(), self.where), self.where)

    def text(self) -> str:
        """Return it as TOML."""
        text: str = self._whole.as_string()
        return text

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        found: dict[str, Any] = self._whole.unwrap()
        return found

    def get(self, key: str) -> Any:
        """Return a key's value or a section's table; None if it is missing."""
        found: Any = self.plain()
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def put(self, key: str, value: Any) -> None:
        """Set a key, or all keys of a section; None removes it."""
        *above, last = key.split(".")
        table: Any = self._whole
        for part in above:
            if not isinstance(table.get(part), dict):
                if value is None:
                    return
                table[part] = {}
            table = table[part]
        present = table.get(last)
        if value is None:
            table.pop(last, None)
        elif isinstance(value, dict) and isinstance(present, dict):  # comments stay
            for name in [name for name in present if name not in value]:
                present.pop(name)
            for name, one in value.items():
                self.put(f"{key}.{name}", one)
        elif last == "address" and isinstance(value, int):
            table[last] = document_of(f"as_on_the_board = 0x{value:02X}", "")["as_on_the_board"]
        elif present != value or type(present) is bool:
            table[last] = value

    def enter(self, key: str, typed: str) -> None:
        """Set a key to a typed value."""
        self.put(key, value_of(self._kind(key), key.rpartition(".")[2], typed))

    def faults(self) -> list[Fault]:
        """Return everything that is wrong with it."""
        try:
            parse(self.text(), self.where)
        except ConfigError as error:
            return error.faults
        return []

    def _kind(self, key: str) -> type[Any]:
        section, _, rest = key.partition(".")
        if section != "sensors":
            return SECTIONS.get(section, object)
        driver = str(self.get(f"sensors.{rest.partition('.')[0]}.driver"))
        return config_class(driver) if driver in DRIVERS else object


def value_of(kind: type[Any], key: str, typed: str) -> Any:
    """Return a typed text as a value of a key's type, or the text itself if it is none.

    `parse` checks whether the key may have this value.
    """
    wanted = plain_type(get_type_hints(kind).get(key, str))
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
