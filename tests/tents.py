"""A tent for the tests of its rules: plain values in and out, and clocks that the test moves."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from publisher import messages
from publisher.clock import Clock, Now
from publisher.config.load import Config, parse
from publisher.rules.happening import Happening
from publisher.rules.tent import Tent
from sensors.reading import FAULT, Quality, Reading, Value
from sensors.trouble import Kind, Trouble
from tests import contract

NOON = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)  # 12:00 in Kyiv, winter time
STALE_S = 15.0

SENSORS = {
    "mains": '[sensors.mains]\ndriver = "contact"\ngpio = 17\n',
    "generator": '[sensors.generator]\ndriver = "ina219"\nshunt_ohms = 0.0015\nmax_current_a = 50\n',
    "battery": '[sensors.battery]\ndriver = "vedirect"\nport = "/dev/ttyUSB0"\n',
    "door": '[sensors.door]\ndriver = "beams"\nouter_gpio = 5\ninner_gpio = 6\n',
}


#: Sensors of warmth and air.
AIR = {
    "inside": '[sensors.inside]\ndriver = "sht4x"\n',
    "outside": '[sensors.outside]\ndriver = "ds18b20"\ndevice = "28-00000a3c51f2"\n',
    "co": '[sensors.co]\ndriver = "ze07co"\nport = "/dev/ttyUSB1"\n',
}


def with_air(config: Config, *names: str) -> Config:
    """Return a configuration with sensors of warmth and air, all of them if none is named."""
    tent = '[tent]\nid = "t"\nseats = 10\n[broker]\nhost = "b"\n'
    more = parse(tent + "".join(AIR[name] for name in names or AIR)).sensors
    return replace(config, sensors=(*config.sensors, *more))


def config(*sensors: str, rules: str = "[generator]\nrated_w = 1000") -> Config:
    return parse(
        '[tent]\nid = "t"\nseats = 10\n[broker]\nhost = "b"\n'
        f"[report]\nstale_after_s = {STALE_S}\n{rules}\n"
        + "".join(SENSORS[name] for name in sensors or SENSORS)
    )


class Kernel(Clock):
    """The unit's clock on a simulated kernel."""

    def __init__(self, says: Now) -> None:
        super().__init__()
        self.says = says

    def _read(self) -> Now:
        return self.says


def trouble(why: str) -> Trouble:
    """Return a trouble of no kind that is declared."""
    return Trouble(Kind("test.trouble", "it is {why}", "mend it"), why=why)


class Unit:
    """A tent and its clocks, which the test moves."""

    def __init__(
        self,
        config: Config,
        saved: dict[str, Any] | None = None,
        *,
        wall: datetime | None = NOON,
        synced: bool = True,
        boot: int = 1,
        now_s: float = 1000.0,
        log: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.config = config
        self.now_s = now_s
        self.wall = wall
        self.synced = synced
        self.held = False
        self.boot = boot
        self.happened: list[Happening] = []
        self._unchecked: list[Happening] = []
        self.log = dict(log)  # the visitor log, as the store keeps it
        self.tent = Tent(config, self.now(), saved, boot=boot, log=self.log.items())

    def now(self) -> Now:
        return Now(self.now_s, self.now_s + 5.0, self.wall, self.synced, self.held)

    def reading(
        self,
        sensor: str,
        quantity: str,
        value: Value,
        quality: Quality = Quality.OK,
        trouble: Trouble | None = None,
    ) -> Reading:
        return Reading(sensor, quantity, value, quality, self.now_s, trouble)

    def hear(self, sensor: str, **values: Value) -> list[str]:
        return self.take(*(self.reading(sensor, q, v) for q, v in values.items()))

    def fail(self, sensor: str, why: str = "unplugged") -> list[str]:
        return self.take(self.reading(sensor, FAULT, None, Quality.FAULT, trouble(why)))

    def take(self, *readings: Reading) -> list[str]:
        return self._note(self.tent.apply(readings, self.now()))

    def headcount(self, people: int) -> list[str]:
        return self._note(self.tent.headcount(people, self.now()))

    def set_open(self, is_open: bool) -> list[str]:
        return self._note(self.tent.set_open(is_open, self.now()))

    def wait(self, seconds: float, **heard: dict[str, Value]) -> list[str]:
        """Let time pass as the agent does: a tick a second, with readings of each sensor in `heard`."""
        events = []
        left = seconds
        while left > 0:
            step = min(1.0, left)
            left -= step
            self.now_s += step
            if self.wall is not None:
                self.wall += timedelta(seconds=step)
            for sensor, values in heard.items():
                events += self.hear(sensor, **values)
            events += self._note(self.tent.tick(self.now()))
        return events

    def _note(self, happened: list[Happening]) -> list[str]:
        self.happened += happened
        self._unchecked += happened
        return [happening.event for happening in happened]

    def details(self, event: str) -> list[dict[str, Any]]:
        return [happening.detail for happening in self.happened if happening.event == event]

    def snapshot(self) -> dict[str, Any]:
        """Return the tent's part of a state, checked against the contract."""
        buffer = {"rows": 0, "oldest_s": 0, "dropped": 0}
        body = messages.state(self.config, 1, 1, self.now(), self.tent.snapshot(), buffer)
        for happening in self._unchecked:
            event = messages.event("t", 1, 1, self.now(), happening)
            contract.check("tents/v1/t/event", event)
        self._unchecked.clear()
        return contract.check("tents/v1/t/state", body)

    def stored(self) -> str:
        """Return the totals as a record stores them."""
        return json.dumps(self.tent.totals.as_dict())

    def restart(
        self,
        *,
        sensors: Config | None = None,
        off_s: float = 0.0,
        reboot: bool = True,
        stored: str | None = None,
    ) -> "Unit":
        """Return the unit after `off_s` seconds without power, or of the service's restart in this boot.

        It has the totals that it had, read back from JSON, or those `stored` in a record before.
        """
        self.log |= self.tent.take_lines()
        off = timedelta(seconds=off_s)
        again = Unit(
            sensors or self.config,
            json.loads(stored or self.stored()),
            wall=None if self.wall is None else self.wall + off,
            synced=self.synced,
            boot=self.boot + reboot,
            now_s=1000.0 if reboot else self.now_s + off_s,
            log=self.log.items(),
        )
        again.tent.tick(again.now())
        return again


ALL_WELL: dict[str, dict[str, Value]] = {
    "mains": {"present": True},
    "generator": {"current_a": 0.0, "voltage_v": 13.0, "power_w": 0.0},
    "battery": {
        "charge_pct": 80.0,
        "voltage_v": 13.1,
        "current_a": -4.0,
        "power_w": -52.0,
        "time_to_empty_min": 600.0,
    },
    "door": {"obstructed": False},
}


def alive(**changed: dict[str, Value]) -> dict[str, dict[str, Value]]:
    return ALL_WELL | changed
