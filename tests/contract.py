"""Checks messages against the schemas that the package ships."""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

KINDS = ("link", "about", "state", "event", "history", "days", "command", "answer")
#: Every schema file; `common` holds shared definitions.
SCHEMAS = ("common", *KINDS)


@cache
def schema(name: str) -> dict[str, Any]:
    text = files("publisher").joinpath("schemas", f"{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def validator(kind: str) -> Draft202012Validator:
    """Return the validator of a kind; a command's kind has its name too, as in `command/headcount`."""
    name, _, part = kind.partition("/")
    reference = schema(name)["$id"] + (f"#/$defs/{part}" if part else "")
    registry: Registry[Any] = Registry().with_resources(
        (schema(n)["$id"], Resource.from_contents(schema(n))) for n in SCHEMAS
    )
    return Draft202012Validator(
        {"$ref": reference}, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def kind_of(topic: str) -> str:
    """Return the name of the schema for a topic's payloads; the topic may have any prefix."""
    levels = topic.split("/")
    if levels[-2] == "res":
        return "answer"
    if levels[-2] == "cmd":
        return f"command/{levels[-1]}"
    return levels[-1]


def faults(kind: str, message: object) -> Iterator[str]:
    """Yield each fault of a message: where, and why."""
    for error in validator(kind).iter_errors(message):
        yield f"{error.json_path}: {error.message}"


def check(topic: str, payload: str | bytes) -> dict[str, Any]:
    """Return a tent's message as an object. Raises AssertionError if it breaks the contract."""
    message = json.loads(payload, parse_constant=_no_constant)
    found = list(faults(kind_of(topic), message))
    assert not found, f"{topic}: {found}\n{message}"
    assert isinstance(message, dict)
    return message


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")
