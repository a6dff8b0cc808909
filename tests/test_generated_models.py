"""What code generators make of the shipped schemas reads the messages of the unit."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from publisher.rules.happening import Happening
from tests import contract
from tests import test_contract as unit
from tests.test_contract import Message

happenings = unit.happenings

SCHEMAS = unit.ROOT / "publisher" / "schemas"
MODELINA = unit.ROOT / ".venv" / "modelina" / "node_modules"
#: What later versions may send: keys that nobody knows, and an event.
LATER = {"later": {"and": [1, None, "more"]}}


def class_name(title: str) -> str:
    return "".join(word[0].upper() + word[1:] for word in re.findall(r"\w+", title))


def name_of(kind: str) -> str:
    """Return the name of the class for a kind of message, such as `state` or `command/open`."""
    name, _, part = kind.partition("/")
    schema = contract.schema(name)
    return class_name((schema["$defs"][part] if part else schema)["title"])


def with_unknown_keys(message: Any) -> Any:
    """Return a copy of which every object has another key."""
    if isinstance(message, list):
        return [with_unknown_keys(item) for item in message]
    if not isinstance(message, dict):
        return message
    return {key: with_unknown_keys(value) for key, value in message.items()} | LATER


def leaner(kind: str, message: Message) -> Iterator[Message]:
    """Yield the message without each key that may be absent, and without all of them."""
    bare = message
    for path in unit.places(message):
        copy = unit.without(message, path)
        if not list(contract.faults(kind, copy)):
            yield copy
        try:
            without_this_too = unit.without(bare, path)
        except (KeyError, IndexError):
            continue  # its holder is gone
        if not list(contract.faults(kind, without_this_too)):
            bare = without_this_too
    yield bare


@pytest.fixture(scope="module")
def received(happenings: list[Happening]) -> list[tuple[str, Message]]:
    """Return each kind with messages of the unit: whole, leaner, and as later versions may send them."""
    found = [(unit.PREFIX + "/" + topic, message) for topic, message in unit.examples(happenings)]
    for topic, text in unit.EXAMPLE.findall(unit.PAGE):
        found.append((f"{unit.PREFIX}/{topic}", json.loads(text)))
    messages = []
    for kind, message in ((contract.kind_of(topic), message) for topic, message in found):
        messages += [(kind, message), (kind, with_unknown_keys(message))]
        messages += [(kind, lean) for lean in leaner(kind, message)]
        if kind == "state":
            messages.append((kind, {**message, "alerts": ["volcano", *message["alerts"]]}))
        if kind == "event":
            later = {**message, "event": "volcano", "detail": {"by": 7, **LATER}}
            messages.append((kind, later))
            head = {key: message[key] for key in ("v", "id")}
            messages.append(("history", {**head, "records": [message, later]}))
    for kind, message in messages:
        assert not list(contract.faults(kind, message))
    kinds = {kind.partition("/")[0] for kind, _ in messages}
    assert kinds == set(contract.KINDS)
    return messages


def known(whole: Any, read: Any) -> Any:
    """Return what is in `whole`, without the keys of later versions that `read` has dropped."""
    if isinstance(whole, list) and isinstance(read, list) and len(whole) == len(read):
        return [known(*pair) for pair in zip(whole, read, strict=True)]
    if isinstance(whole, dict) and isinstance(read, dict):
        return {
            key: known(value, read.get(key))
            for key, value in whole.items()
            if key in read or key not in LATER
        }
    return whole


# Python: datamodel-code-generator


@pytest.fixture(scope="module", params=["by_key", "by_title"])
def python(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """Yield the name of a package of models, and its directory; it can be imported meanwhile."""
    directory = tmp_path_factory.mktemp("python")
    name = f"models_{request.param}"
    options = ["--use-title-as-name"] if request.param == "by_title" else []
    subprocess.run(
        [
            *(sys.executable, "-m", "datamodel_code_generator", "--input-file-type", "jsonschema"),
            *("--output-model-type", "pydantic_v2.BaseModel", "--formatters", "builtin"),
            *("--input", str(SCHEMAS), "--output", str(directory / name), *options),
        ],
        check=True,
    )
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    yield name, directory / name
    sys.path.remove(str(directory))


def model(package: str, kind: str) -> Any:
    name, _, command = kind.partition("/")
    module: ModuleType = importlib.import_module(f"{package}.{name}")
    by_key = package.endswith("by_key")
    return getattr(module, command.capitalize() if command and by_key else name_of(kind))


def same_times(message: Any) -> Any:
    """Return a copy with one way of writing a time: pydantic writes microseconds."""
    text = json.dumps(message)
    return json.loads(re.sub(r"(:\d\d)(\.\d+)?Z", _microseconds, text))


def _microseconds(found: re.Match[str]) -> str:
    return f"{found[1]}.{(found[2] or '.')[1:]:0<6}Z"


def test_a_python_model_reads_every_message(
    python: tuple[str, Path], received: list[tuple[str, Message]]
) -> None:
    package, _ = python
    for kind, message in received:
        read = model(package, kind).model_validate(deepcopy(message))
        back = read.model_dump(mode="json", exclude_unset=True, by_alias=True)
        assert same_times(back) == same_times(known(message, back)), kind


def test_a_python_model_tells_states_from_events(
    python: tuple[str, Path], received: list[tuple[str, Message]]
) -> None:
    package, _ = python
    for kind, message in received:
        if kind != "history":
            continue
        records = model(package, "history").model_validate(message).records
        for record, read in zip(message["records"], getattr(records, "root", records), strict=True):
            assert type(read) is model(package, "event" if "event" in record else "state")


def test_no_two_classes_in_python_have_the_same_name(python: tuple[str, Path]) -> None:
    package, directory = python
    for file in directory.glob("*.py"):
        names = re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        numbered = [name for name in names if name[-1].isdecimal()]
        assert not numbered, f"{file.stem}: a second class of the same name"
    if package.endswith("by_title"):
        for schema in contract.SCHEMAS:
            module = importlib.import_module(f"{package}.{schema}")
            for title in objects(schema):
                assert hasattr(module, class_name(title)), title


def objects(name: str) -> Iterator[str]:
    """Yield the titles of the objects with keys that a schema file declares."""
    for path, node in unit.nodes(contract.schema(name)):
        if "not" not in path and node.get("type") == "object" and "properties" in node:
            yield node["title"]


# TypeScript: Modelina


@pytest.fixture(scope="module")
def typescript(
    tmp_path_factory: pytest.TempPathFactory, received: list[tuple[str, Message]]
) -> dict[str, Any]:
    """Return what tests/modelina/read.js says of the messages."""
    if not MODELINA.is_dir() or shutil.which("node") is None:
        pytest.skip("Modelina is not installed: `make test` installs it where npm is")
    script = unit.ROOT / "tests" / "modelina" / "read.js"
    directory = tmp_path_factory.mktemp("typescript")
    done = subprocess.run(
        ["node", str(script), str(SCHEMAS / "asyncapi.json"), str(directory)],
        input=json.dumps([(name_of(kind), message) for kind, message in received]),
        env={**os.environ, "NODE_PATH": str(MODELINA)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_typescript_interface_fits_every_message(typescript: dict[str, Any]) -> None:
    assert typescript["faults"] == []


def test_a_typescript_class_reads_every_message(
    typescript: dict[str, Any], received: list[tuple[str, Message]]
) -> None:
    for (kind, message), read in zip(received, typescript["read"], strict=True):
        # Modelina leaves out constants when it reads.
        wanted = {k: v for k, v in message.items() if k not in ("v", "ts_estimated")}
        assert {k: v for k, v in read.items() if k not in ("v", "ts_estimated")} == wanted, kind


def test_no_two_types_in_typescript_are_merged(typescript: dict[str, Any]) -> None:
    models = typescript["models"]
    assert len(models) == len(set(models))
    kinds = {*contract.KINDS, *(f"command/{c}" for c in unit.COMMANDS)} - {"command"}
    # The details of events are not part of the model: they depend on the event.
    nested = set(contract.KINDS) - {"command", "event"}
    assert {name_of(kind) for kind in kinds} <= set(models)
    assert {class_name(title) for name in nested for title in objects(name)} <= set(models)
    assert not [name for name in models if name.startswith(("Reserved", "Anonymous"))]
