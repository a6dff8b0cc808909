"""A tent in a virtual machine: its devices, and the messages that arrive at the centre."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sensors.simulated.vedirect import block
from tests import contract
from tests.vm.image import Image
from tests.vm.machine import Machine

CHARGE_PCT = 80.0


class Arrival(NamedTuple):
    """A message as the centre's subscriber received it."""

    kind: str
    at_s: float  # since 1970, on the machine's clock
    retained: bool
    content: dict[str, Any]


class Tent:
    """A machine with a tent's devices, and a battery monitor that sends once a second."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.machine = Machine(image, folder)
        self._received = self.machine.shared / "received.txt"
        self._read_bytes = 0
        self._arrivals: list[Arrival] = []
        self._silent = threading.Event()
        threading.Thread(target=self._monitor, name="battery monitor", daemon=True).start()

    def start(self) -> None:
        """Switch the machine on, with the battery monitor's cable in it."""
        self.machine.start()
        self.machine.cable.plug()

    def close(self) -> None:
        """Switch the machine off."""
        self._silent.set()
        self.machine.cut()

    def _monitor(self) -> None:
        fields = [("PID", "0xA389"), ("V", "13100"), ("I", "-4000"), ("P", "-52")]
        fields += [("SOC", f"{CHARGE_PCT * 10:.0f}"), ("TTG", "600"), ("Alarm", "OFF")]
        while not self._silent.wait(1.0):
            self.machine.cable.say(block(fields))

    # Devices

    def walk(self, direction: str, people: int) -> None:
        """Simulate people passing the door, `in` or `out`."""
        self._lines(f"walk {direction} {people}")

    def mains(self, present: bool) -> None:
        """Switch mains on or off."""
        self._lines(f"set 17={'low' if present else 'high'}")

    def ina219(self, *, plugged: bool) -> None:
        """Pull the INA219's wires off the I2C bus, or put them back."""
        self.machine.run(f"echo {1 - plugged} >/sys/devices/platform/ina219-sim/unplugged")

    def _lines(self, what: str) -> None:
        self.machine.run(f"python3 /usr/local/lib/vm/lines.py {what}")

    def network(self, netem: str) -> None:
        """Set the wire to the centre to these netem options, in each direction."""
        self.machine.run(
            f"tc qdisc replace dev tent root netem {netem} limit 10000 && "
            f"ip netns exec centre tc qdisc replace dev centre root netem {netem} limit 10000"
        )

    # On the unit

    def show(self, name: str) -> str:
        """Return systemd's properties of the service."""
        return self.machine.run(f"systemctl show tentwatch --value -p {name}").strip()

    def status(self) -> dict[str, Any]:
        """Return the unit's status; empty if it does not answer."""
        code, output = self.machine.attempt("tentwatch status --json")
        found: dict[str, Any] = json.loads(output) if code == 0 else {}
        return found

    # At the centre

    def arrivals(self) -> list[Arrival]:
        """Return every message so far, each checked against the contract."""
        if self._received.exists():
            with self._received.open("rb") as received:
                received.seek(self._read_bytes)
                whole, newline, _ = received.read().rpartition(b"\n")
            self._read_bytes += len(whole) + len(newline)
            for line in whole.decode().splitlines():
                topic, at_s, retained, payload = line.split(" ", 3)
                self._arrivals.append(
                    Arrival(
                        contract.kind_of(topic),
                        float(at_s),
                        retained == "1",
                        contract.check(topic, payload),
                    )
                )
        return self._arrivals

    def wait_for(
        self, kind: str, where: Callable[[dict[str, Any]], Any], what: str, after: int = 0
    ) -> dict[str, Any]:
        """Wait for a message after the first `after`; events and states in a history count, too."""
        found: list[dict[str, Any]] = []

        def has_come() -> bool:
            for arrival in self.arrivals()[after:]:
                for content in unpacked(arrival):
                    if kind_of(arrival, content) == kind and where(content):
                        found.append(content)
                        return True
            return False

        self.machine.wait_for(has_come, f"{what} at the centre")
        return found[0]

    def records(self) -> dict[int, set[int]]:
        """Return the numbers (seq) of all states and events so far, by boot."""
        found: dict[int, set[int]] = {}
        for arrival in self.arrivals():
            for content in unpacked(arrival):
                if "seq" in content:
                    found.setdefault(content["boot"], set()).add(content["seq"])
        return found

    def missing(self) -> list[int]:
        """Return the numbers that are missing between the first and the last of the newest boot."""
        records = self.records()
        seqs = records[max(records)]
        return sorted(set(range(min(seqs), max(seqs) + 1)) - seqs)

    def out_of_order(self) -> list[tuple[str, int, int]]:
        """Return the records that came after a later one of their topic (kind, boot, seq)."""
        found = []
        newest: dict[str, tuple[int, int]] = {}
        seen: set[tuple[str, int, int]] = set()
        for arrival in self.arrivals():
            for content in unpacked(arrival):
                if "seq" not in content or arrival.retained:
                    continue
                number = (content["boot"], content["seq"])
                if (arrival.kind, *number) not in seen and number < newest.get(
                    arrival.kind, (0, 0)
                ):
                    found.append((arrival.kind, *number))
                seen.add((arrival.kind, *number))  # QoS 1 may deliver it again
                newest[arrival.kind] = max(number, newest.get(arrival.kind, number))
        return found


def unpacked(arrival: Arrival) -> list[dict[str, Any]]:
    """Return the records in a history, or the message itself."""
    records: list[dict[str, Any]] = arrival.content.get("records", [arrival.content])
    return records


def kind_of(arrival: Arrival, content: dict[str, Any]) -> str:
    """Return whether a record is a state or an event, or what the message is."""
    if arrival.kind != "history":
        return arrival.kind
    return "event" if "event" in content else "state"
