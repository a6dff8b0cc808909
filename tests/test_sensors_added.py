"""The sensor that docs/architecture.md adds as an example: it touches what the page says, and works."""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import publisher.rules
import sensors
import sensors.simulated
from publisher.config.load import parse
from sensors.reading import FAULT, Quality
from sensors.registry import DRIVERS, SENSORS, decode, serving
from sensors.trouble import KINDS, Trouble
from technician import words
from technician.doctor import plausible
from technician.words import kinds
from tests import devices, test_sensors_contract
from tests.devices import DEVICES, MakeDevice, making_devices
from tests.tents import Unit

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CHAPTER = PAGE.partition("## To add a sensor\n")[2].partition("\n## ")[0]
LIST, _, DIFF = CHAPTER.partition("```diff\n")
DRIVER = "pcf8574"
CONFIG = """
[tent]
id = "UA-1"
seats = 60
[broker]
host = "broker.example.org"
"""


def added() -> dict[str, list[str]]:
    """Return the lines that the example adds, by file."""
    files: dict[str, list[str]] = {}
    for line in DIFF.partition("```")[0].splitlines():
        if line.startswith("+++ b/"):
            lines = files.setdefault(line.removeprefix("+++ b/"), [])
        elif line.startswith("+"):
            lines.append(line[1:])
    return files


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The house with the example in it."""
    files = added()
    for room in (sensors, sensors.simulated):
        place = tmp_path.joinpath(*room.__name__.split("."))
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{DRIVER}.py").write_text(
            "\n".join(files[f"{room.__name__.replace('.', '/')}/{DRIVER}.py"])
        )
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(place)])
    (line,) = files["sensors/registry.py"]
    for name, module in ast.literal_eval(f"{{{line}}}").items():
        monkeypatch.setitem(DRIVERS, name, module)
    expander = importlib.import_module(f"sensors.simulated.{DRIVER}").Expander
    names = {**vars(devices), "Expander": expander}
    exec("\n".join(files["tests/devices.py"]), names)
    monkeypatch.setitem(devices.DEVICES, DRIVER, names["Pcf8574Device"])
    words.kinds.cache_clear()
    yield
    words.kinds.cache_clear()
    for code in [code for code in kinds() if code.startswith(DRIVER)]:
        del KINDS[code]
    for name in (f"sensors.{DRIVER}", f"sensors.simulated.{DRIVER}"):
        sys.modules.pop(name, None)
        vars(sensors if name.count(".") == 1 else sensors.simulated).pop(DRIVER, None)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeDevice]:
    with making_devices(tmp_path) as make:
        yield make


def test_the_example_touches_what_the_page_lists_and_nothing_else() -> None:
    listed = re.findall(r"`([\w<>./-]+)`", LIST.partition("\nNo other module")[0])
    patterns = [
        re.escape(path).replace("<name>", DRIVER).replace("<case>", ".+") for path in listed
    ]
    assert len(added()) > 5
    for path in added():
        assert any(re.fullmatch(f"{pattern}.*", path) for pattern in patterns), path


def test_the_files_of_the_real_one_are_there_and_listed() -> None:
    """The files of the first table are those of the list; the second has what was mended for all."""
    chapter = CHAPTER.partition("### A real one")[2]
    own, _, mended = chapter.partition("Some things had to be mended")
    driver = "ze07co"
    listed = re.findall(r"`([\w<>./-]+)`", LIST.partition("\nSetup finds")[0])
    patterns = [
        re.escape(path).replace("<name>", driver).replace("<case>/", ".*") for path in listed
    ]

    def files_of(table: str) -> list[str]:
        rows = re.findall(r"^\| (`.*?`) \|", table, re.M)
        return [path for row in rows for path in re.findall(r"`([^`]+)`", row)]

    files = files_of(own)
    assert len(files) > 10
    for path in files:
        assert (ROOT / path).exists(), path
        assert any(re.match(pattern, path) for pattern in patterns), path
    assert len(files_of(mended)) > 3
    for path in files_of(mended):
        assert driver not in (ROOT / path).read_text(encoding="utf-8"), path


def contract() -> list[str]:
    """Return the tests of every driver that need its name and its device alone."""
    found = vars(test_sensors_contract).items()
    return [
        name
        for name, test in found
        if name.startswith("test_") and [*inspect.signature(test).parameters] == ["name", "make"]
    ]


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize("test", contract())
def test_it_keeps_the_contract(test: str, make: MakeDevice) -> None:
    assert len(contract()) > 10
    getattr(test_sensors_contract, test)(DRIVER, make)


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize("fault", ["unplugged", "naks"])
def test_it_fails_and_recovers_as_any_sensor(fault: str, make: MakeDevice) -> None:
    run = test_sensors_contract.test_a_sensor_tells_of_a_failure_and_recovers_when_the_device_does
    run(DRIVER, fault, make)
    raises = test_sensors_contract.test_a_failing_device_raises_or_tells_and_no_value_is_made_up
    raises(DRIVER, fault, make)


@pytest.mark.usefixtures("house")
def test_the_house_knows_it_by_its_traits() -> None:
    section = "\n".join(added()["systemd/tentwatch.toml"]).replace("##", "")
    config = parse(CONFIG + section)
    assert DRIVER in serving("mains")
    unit = Unit(config)
    unit.hear("mains", present=True)
    assert unit.snapshot()["power"]["source"] == "mains"
    trouble = Trouble(kinds()["pcf8574.silent"], address="0x20", bus=1)
    unit.take(unit.reading("mains", FAULT, None, Quality.FAULT, trouble))
    status = {"sensors": unit.tent.sensors(unit.now()), **unit.snapshot()}
    assert plausible.bus_key(config.sensors[0]) == "bus.i2c-1"
    (found,) = plausible.sensors(config, status)[1]
    assert found.seen.english() == "no PCF8574 answers at 0x20 on I2C bus 1"
    assert found.cure is not None
    assert "i2cdetect" in found.cure.english()


def test_the_page_lists_the_quantities_that_the_rules_use() -> None:
    after = LIST.partition("The tent uses these quantities:\n")[2]
    listed = after.partition("\nOther quantities")[0]
    named = {q for line in listed.splitlines() for q in re.findall(r"`(\w+)`", line)} - {*SENSORS}
    rules = {
        node.value
        for file in Path(publisher.rules.__path__[0]).glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert named <= rules
    given = {quantity for device in DEVICES.values() for quantity in device.quantities}
    assert given & rules <= named


@pytest.mark.usefixtures("house")
def test_its_captures_can_be_decoded(make: MakeDevice) -> None:
    driver = make(DRIVER).build()
    said: list[bytes] = []
    driver.tap = said.append
    driver.open()
    driver.read()
    driver.close()
    found = decode(DRIVER, b"".join(said) + b"noise\n")
    assert ([frame["present"] for frame in found.frames], found.bad) == ([False, False], 1)
