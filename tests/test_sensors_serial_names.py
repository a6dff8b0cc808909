"""Serial ports by stable names; the ports are pseudo-terminals in a folder of their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensors.finding.serial_names import Port, is_same, ports
from sensors.simulated.serial_cable import Cable

VICTRON = "serial/by-id/usb-VictronEnergy_BV_VE_Direct_cable_VE46V0KL-if00-port0"
CHEAP = "serial/by-id/usb-1a86_USB_Serial-if00-port0"


class Computer:
    """A folder with `dev`, and with udev's database in `run`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dev = root / "dev"
        self.dev.mkdir()
        self.cables: list[Cable] = []

    def plug(self, name: str) -> Path:
        self.cables.append(Cable(self.dev / name))
        return self.dev / name

    def link(self, name: str, device: Path) -> Path:
        link = self.dev / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(device, link.parent))
        return link

    def claim(self, device: Path, *names: str) -> None:
        number = device.stat().st_rdev
        database = self.root / "run/udev/data"
        database.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"S:{name}\n" for name in names)
        (database / f"c{os.major(number)}:{os.minor(number)}").write_text(f"I:1\n{lines}E:ID=x\n")


@pytest.fixture
def computer(tmp_path: Path) -> Iterator[Computer]:
    computer = Computer(tmp_path)
    yield computer
    for cable in computer.cables:
        cable.close()


def test_a_cable_with_a_serial_number_has_it_in_its_name(computer: Computer) -> None:
    device = computer.plug("ttyUSB0")
    link = computer.link(VICTRON, device)
    computer.link("serial/by-path/platform-usb-0:1.2:1.0-port0", device)
    computer.claim(device, VICTRON, "serial/by-path/platform-usb-0:1.2:1.0-port0")
    assert ports(computer.root) == [Port(str(link), True)]
    assert is_same(str(link), str(device))


def test_two_cables_that_would_have_one_name_are_told_by_their_sockets(computer: Computer) -> None:
    """udev gives the name to only one of them, and after a restart perhaps to the other."""
    victron, one, other = (computer.plug(f"ttyUSB{n}") for n in range(3))
    by_id = computer.link(VICTRON, victron)
    computer.link(CHEAP, one)
    by_path = computer.link("serial/by-path/platform-usb-0:1.3:1.0-port0", one)
    by_rule = computer.link("tentwatch/usb-left-upper", other)
    computer.link("serial/by-path/platform-usb-0:1.4:1.0-port0", other)
    for device in (one, other):
        computer.claim(device, CHEAP)
    computer.claim(victron, VICTRON)
    names = [str(by_id), str(by_path), str(by_rule)]
    assert ports(computer.root) == [Port(name, True) for name in names]


def test_a_cable_without_any_other_name_is_told_to_have_none(computer: Computer) -> None:
    device = computer.plug("ttyACM0")
    assert ports(computer.root) == [Port(str(device), False)]


@pytest.mark.parametrize(
    ("cmdline", "names"),
    [("quiet", ["serial0"]), ("console=ttyS0,115200 console=tty1", []), (None, ["serial0"])],
)
def test_the_pis_own_port_is_one_unless_it_is_the_console(
    computer: Computer, cmdline: str | None, names: list[str]
) -> None:
    own = computer.plug("serial0")
    target = own.resolve()
    if cmdline is not None:
        (computer.root / "proc").mkdir()
        cmdline = cmdline.replace("ttyS0", target.name)
        (computer.root / "proc/cmdline").write_text(cmdline + "\n")
    assert [Path(port.name).name for port in ports(computer.root)] == names


def test_a_computer_without_ports_has_none(tmp_path: Path) -> None:
    assert ports(tmp_path) == []
