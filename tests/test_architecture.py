"""The import rules of docs/architecture.md, checked against the source."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = ("sensors", "publisher", "technician")
FILES = sorted(f for package in SHIPPED for f in (ROOT / package).rglob("*.py"))

#: A room → the other rooms and modules that it may import. A room includes those inside it.
MAY_KNOW: dict[str, set[str]] = {
    "sensors": set(),
    "publisher": {"sensors"},
    "publisher.config": {"sensors"},
    "publisher.rules": {"sensors", "publisher.config", "publisher.clock"},
    "publisher.store": {
        "publisher.clock", "publisher.files", "publisher.notify", "sensors.json_in", "sensors.trouble",
    },
    "publisher.link": {
        "sensors.trouble", "publisher.clock", "publisher.config", "publisher.messages",
        "publisher.store",
    },
    "publisher.unit": {
        "sensors", "publisher.clock", "publisher.config", "publisher.files", "publisher.in_memory",
        "publisher.rules.happening",
    },
    "publisher.commands": {"sensors", "publisher.clock", "publisher.config"},
    "publisher.control": {"sensors", "publisher.files", "publisher.in_memory"},
    "technician": {"sensors", "publisher"},
    # The modules that declare troubles are loaded by their names.
    "technician.words": {"sensors.registry", "sensors.trouble"},
    **{
        f"technician.{room}": {
            "sensors", "publisher", "technician.words", "technician.client", "technician.terminal",
            "technician.service", "technician.secrets", "technician.arguments",
            "technician.log_lines",
        }
        for room in ("doctor", "records", "screen", "setup")
    },
    "technician.demo": {
        "sensors", "publisher", "technician.screen", "technician.words", "technician.terminal",
        "technician.arguments", "technician.client", "technician.log_lines",
    },
}  # fmt: skip
#: Adafruit's libraries have this beginning; each belongs to the one module that imports it.
ADAFRUIT = "adafruit_"
#: A library → the modules or the room that may import it. Simulated devices may use the devices' libraries.
ONE_PLACE = {
    "gpiozero": {"sensors.gpio", "sensors.simulated.pins"},
    "paho": {"publisher.link.client"},
    "rich": {"technician"},
    "serial": {"sensors.serial_port"},
    "sqlite3": {"publisher.store"},
    "tomlkit": {"technician.setup.config_file"},
}
#: Imported only where they are used: they cost memory and start-up time.
LATE = {"gpiozero", "serial", "tomlkit"}
#: Keys of the contract that are a driver's name too, by the module that has them.
KEYS_TOO = {("publisher.replay_lines", "beam"), ("technician.decode", "beam")}
#: Pure modules: no clock, no thread, no file, no socket. The tent's rules are pure by their room, and what
#: turns a device's bytes into figures by its name.
FRAMES = sorted(f"sensors.{file.stem}" for file in (ROOT / "sensors").glob("*_frames.py"))
PURE = (
    *FRAMES,
    "publisher.rules", "publisher.commands", "publisher.messages", "publisher.replay_lines",
    "publisher.unit.buzzer",
    "publisher.unit.hour", "publisher.unit.lamp", "sensors.edges", "sensors.framing",
    "sensors.crossing", "sensors.doubt", "sensors.line_trust", "sensors.passage", "sensors.press",
    "sensors.reading", "sensors.shunt",
    "technician.doctor.plausible",
    "technician.doctor.values",
    "technician.screen.graph",
)  # fmt: skip
IMPURE = {
    "io",
    "logging",
    "os",
    "pathlib",
    "queue",
    "random",
    "socket",
    "subprocess",
    "threading",
    "time",
}


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_in(name: str, place: str) -> bool:
    """Say whether a module is `place`, or is in that room."""
    return f"{name}.".startswith(f"{place}.")


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_known(tree: ast.Module, trees: dict[str, ast.Module]) -> set[str]:
    """Return the project's modules that a module imports anywhere in it, without packages."""
    return {name for name in imports(tree) if name in trees and len(trees[name].body) > 1}


def imports_at_load(tree: ast.Module) -> set[str]:
    statements = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    return {name.partition(".")[0] for statement in statements for name in imports(statement)}


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    assert FILES
    return {name_of(file): ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def test_each_room_knows_only_what_it_may(trees: dict[str, ast.Module]) -> None:
    for name, tree in trees.items():
        for room, known in MAY_KNOW.items():
            if not is_in(name, room):
                continue
            for other in modules_known(tree, trees):
                assert any(is_in(other, place) for place in {room, *known}), (name, other)


def test_there_is_no_circle(trees: dict[str, ast.Module]) -> None:
    left = {name: modules_known(tree, trees) - {name} for name, tree in trees.items()}
    while leaves := {name for name, known in left.items() if not known & left.keys()}:
        for name in leaves:
            del left[name]
    assert not left, "a circle of modules, and what hangs on it"


def test_drivers_do_not_know_each_other(trees: dict[str, ast.Module]) -> None:
    from sensors.registry import DRIVERS

    drivers = set(DRIVERS.values())
    for driver in drivers:
        assert not set(imports(trees[driver])) & drivers - {driver}, driver


def test_no_module_knows_a_driver_but_its_own_and_the_registry(
    trees: dict[str, ast.Module],
) -> None:
    """Adding a sensor changes no other module (docs/architecture.md, "To add a sensor")."""
    from sensors.registry import DRIVERS

    for driver, module in DRIVERS.items():
        own = {module, f"{module}_frames", "sensors.registry"}
        for name, tree in trees.items():
            if name in own or is_in(name, "sensors.simulated"):
                continue
            assert module not in set(imports(tree)), (name, driver)
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    is_key = (name, node.value) in KEYS_TOO
                    assert is_key or node.value not in (driver, module), (name, driver)
                    assert f'driver = "{driver}"' not in node.value, (name, driver)


def test_only_the_demonstration_knows_simulated_devices(trees: dict[str, ast.Module]) -> None:
    for name, tree in trees.items():
        if not name.startswith("sensors.simulated") and name != "technician.demo.demo":
            assert not [i for i in imports(tree) if i.startswith("sensors.simulated")], name


def test_each_library_is_imported_in_one_place(trees: dict[str, ast.Module]) -> None:
    for library, places in ONE_PLACE.items():
        for name, tree in trees.items():
            if library in {i.partition(".")[0] for i in imports(tree)}:
                assert any(is_in(name, place) for place in places), (library, name)
    importers: dict[str, set[str]] = {}
    for name, tree in trees.items():
        for library in {i.partition(".")[0] for i in imports(tree)}:
            if library.startswith(ADAFRUIT):
                importers.setdefault(library, set()).add(name)
    assert importers
    assert all(len(names) == 1 for names in importers.values()), importers


def test_heavy_libraries_are_imported_when_they_are_needed(trees: dict[str, ast.Module]) -> None:
    for name, tree in trees.items():
        if not name.startswith("sensors.simulated"):
            late = {i for i in imports_at_load(tree) if i in LATE or i.startswith(ADAFRUIT)}
            assert not late, name


@pytest.mark.parametrize("place", PURE)
def test_pure_modules_do_no_io_and_read_no_clock(trees: dict[str, ast.Module], place: str) -> None:
    pure = {name: tree for name, tree in trees.items() if is_in(name, place)}
    assert pure, place
    for name, tree in pure.items():
        assert not {i.partition(".")[0] for i in imports(tree)} & IMPURE, name
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not calls & {"open", "print", "input", "datetime.now"}, name


def test_broad_excepts_stand_only_where_a_thread_must_survive(trees: dict[str, ast.Module]) -> None:
    def is_broad(node: ast.AST) -> bool:
        return isinstance(node, ast.ExceptHandler) and (
            node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
        )

    broad = {name for name, tree in trees.items() if any(map(is_broad, ast.walk(tree)))}
    assert broad <= {
        "sensors.sensor", "publisher.link.link", "publisher.link.client",
    }  # fmt: skip


def test_the_agents_modules_load_no_heavy_library_and_no_driver() -> None:
    """The rule holds for the modules that a new process has loaded, too."""
    import subprocess
    import sys

    from sensors.registry import DRIVERS

    code = "import sys, publisher.agent; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {name.partition(".")[0] for name in loaded} & (LATE | {"rich"})
    assert not loaded & set(DRIVERS.values())


def test_every_package_that_is_shipped_is_listed() -> None:
    from configparser import ConfigParser

    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    listed = set(settings["options"]["packages"].split())
    assert listed == {name_of(f) for f in FILES if f.name == "__init__.py"}
    for package in listed:
        importlib.import_module(package)
