"""Common base of the light-beam drivers: lines whose edges `sensors.passage` turns into people."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from sensors.capture import Decoded
from sensors.clock import Monotonic
from sensors.crossing import Way
from sensors.edges import Edge, Start, decode, recorded
from sensors.gpio import Inputs, OnLines
from sensors.hardware import Hardware
from sensors.passage import FAILED_S, SPACING_M, Failure, Passages, Traffic
from sensors.reading import Measurement, Quality
from sensors.traits import Traits
from sensors.trouble import SENSOR, Trouble, declare, marked

#: Cure for a beam that stays broken.
BLOCKED_CURE = marked(
    "take away what stands in the beam (a bag, a curtain, frost), align the lenses, check supply "
    "and cable of the receiver: a cut cable looks like a broken beam"
)
BLOCKED = declare(
    "door.blocked",
    marked("{beam} (GPIO {gpio}): broken for more than {minutes:g} minutes, nothing is counted"),
    BLOCKED_CURE,
    concerns=SENSOR,
)
BOTH_BLOCKED = declare(
    "door.both_blocked",
    marked("both beams: broken for more than {minutes:g} minutes, nothing is counted"),
    BLOCKED_CURE,
    concerns=SENSOR,
)
OTHER_SEES_NOTHING = declare(
    "door.one_alone",
    marked("{beam} (GPIO {gpio}) is broken again and again, and the other beam never"),
    marked(
        "one of the two beams sees nothing: clean and align the lenses of both, check their supply and "
        "cables, and see that nothing hangs in the door"
    ),
    concerns=SENSOR,
)

HEARTBEAT_S = 1.0
#: A recording ends this many seconds after its last line: people in the door have passed by then.
AFTERWARDS_S = 1.0


class Doorway(OnLines):
    """Beams in a door; reports people since the last reading and, once a second, obstructed.

    Two beams also report doubtful: they see what is not people. With a failed beam obstructed has quality
    fault. Once people can be counted again, blind_s is the number of seconds for which they could not.
    """

    #: The driver's name, and the keys of its lines with each beam's name in messages.
    driver: ClassVar[str]
    beams: ClassVar[Mapping[str, str]]

    @classmethod
    def begin(
        cls, blocked: Sequence[bool], at_s: float, settings: Mapping[str, Any]
    ) -> Passages | Traffic:
        """Return the rules of such a door, whose beams are `blocked` or free at `at_s`."""
        raise NotImplementedError

    def __init__(self, config: Any, hardware: Hardware, clock: Monotonic) -> None:
        settings = {"driver": self.driver, **asdict(config)}
        gpios = tuple(settings[key] for key in self.beams)
        super().__init__(gpios, hardware, clock, settings)
        self._watch: Watch | None = None
        self._reported_s: float | None = None

    def open(self) -> None:
        """Open the lines. Raises SensorError."""
        super().open()
        inputs = self._inputs
        self._watch = Watch(type(self), Start(inputs.now_s(), self._settings, inputs.high))
        self._reported_s = None

    def read(self) -> Sequence[Measurement]:
        """Wait for people or for the next heartbeat."""
        inputs, watch = self._inputs, self._watch
        assert watch is not None, "read before open"
        ways: list[Way] = []
        # Handle all waiting edges before reporting: a crowd causes one report, not one per person.
        while (edge := inputs.next_edge(0.0 if ways else self._wait_s(inputs, watch))) is not None:
            ways += watch.change(edge)
        if not ways:  # a failure of the lines must not lose the people counted above
            now_s = inputs.now_s()
            lost = inputs.lost_edges(now_s)
            if lost is not None:
                ways += [way for edge in lost for way in watch.change(edge)] + watch.tick(now_s)
        self._reported_s = self._clock.now_s()
        return watch.measured(ways)

    def _wait_s(self, inputs: Inputs, watch: "Watch") -> float:
        """Return the real seconds until something is due without an edge."""
        if self._reported_s is None:
            return 0.0
        wait_s = self._clock.beat_after(self._reported_s, HEARTBEAT_S) - self._clock.now_s()
        if watch.due_s is not None:
            wait_s = min(wait_s, watch.due_s - inputs.now_s())
        return self._clock.real_s(wait_s)

    @classmethod
    def watching(cls, config: Any, blocked: Sequence[bool], at_s: float) -> "Watch":
        """Return the rules for a door whose `beams` are, in their order, `blocked` or free at `at_s`."""
        settings = {"driver": cls.driver, **asdict(config)}
        blocked_high = settings["blocked_level"] == "high"
        gpios = [settings[key] for key in cls.beams]
        high = {gpio: b == blocked_high for gpio, b in zip(gpios, blocked, strict=True)}
        return Watch(cls, Start(at_s, settings, high))

    @classmethod
    def beam_names(cls) -> tuple[str, ...]:
        """Return the beams' names in a log: `outer` for the key `outer_gpio`; empty for the only beam."""
        return tuple(key.removesuffix("gpio").removesuffix("_") for key in cls.beams)

    @classmethod
    def decode(cls, capture: bytes) -> Decoded:
        """Return the people and the obstructions in a capture, each with its time."""
        return decode(
            capture, lambda start: Watch(cls, start) if _fits(cls, start) else None, AFTERWARDS_S
        )

    @classmethod
    def turns(cls, capture: bytes) -> Iterator[tuple[float, dict[str, bool]]]:
        """Return the moments of a capture, in seconds, and which beams were broken or freed then, by name."""
        blocked = dict.fromkeys(cls.beam_names(), False)
        start: Start | None = None
        for moment in recorded(capture):
            if isinstance(moment, Start):
                start = moment if _fits(cls, moment) else None
            if moment is None or start is None:
                continue
            high = {moment.gpio: moment.high} if isinstance(moment, Edge) else {}
            if isinstance(moment, Start):
                high = moment.high
            now = {
                name: high[gpio] == (start.settings["blocked_level"] == "high")
                for name, key in zip(blocked, cls.beams, strict=True)
                if (gpio := start.settings[key]) in high
            }
            turned = {name: is_so for name, is_so in now.items() if is_so != blocked[name]}
            blocked |= turned
            yield moment if isinstance(moment, float) else moment.at_s, turned

    @classmethod
    def broken_beams(cls, capture: bytes) -> tuple[tuple[str, int], ...]:
        """Return the beams (name, GPIO number) that were broken from a capture's start to its end."""
        found: dict[int, str] = {}
        for moment in recorded(capture):
            if isinstance(moment, Start) and _fits(cls, moment):
                blocked = moment.settings["blocked_level"] == "high"
                beams = {moment.settings[key]: name for key, name in cls.beams.items()}
                found = {g: name for g, name in beams.items() if moment.high[g] == blocked}
            elif isinstance(moment, Edge):
                found.pop(moment.gpio, None)
        return tuple((name, gpio) for gpio, name in found.items())


def _fits(kind: type[Doorway], start: Start) -> bool:
    settings = start.settings
    gpios = [settings.get(key) for key in kind.beams]
    return (
        settings.get("driver") == kind.driver
        and settings.get("blocked_level") in ("low", "high")
        and all(isinstance(gpio, int) and gpio in start.high for gpio in gpios)
        and len(set(gpios)) == len(gpios) == len(start.high)
        and _is_positive(settings.get("spacing_m", SPACING_M))
    )


def _is_positive(value: object) -> bool:
    return type(value) in (int, float) and 0 < float(str(value)) < math.inf


class Watch:
    """Applies the rules to lines: maps lines to beams, and makes the measurements of the door."""

    def __init__(self, kind: type[Doorway], start: Start) -> None:
        settings = start.settings
        gpios = [settings[key] for key in kind.beams]
        self._blocked = settings["blocked_level"] == "high"
        self._beam = {gpio: number for number, gpio in enumerate(gpios)}
        self._names = [*zip(kind.beams.values(), gpios, strict=True)]
        self._rules = kind.begin(
            [start.high[g] == self._blocked for g in gpios], start.at_s, settings
        )
        self._reported = self._condition()
        self._doubted = self._rules.doubtful

    @property
    def due_s(self) -> float | None:
        """When a tick without an edge can change something; None if never."""
        return self._rules.due_s

    def change(self, edge: Edge) -> list[Way]:
        """Apply a line's change; return the people who had passed before it."""
        return self.turn(edge.at_s, self._beam[edge.gpio], edge.high == self._blocked)

    def turn(self, at_s: float, beam: int, blocked: bool) -> list[Way]:
        """Apply a beam's change at `at_s` (seconds); return the people who had passed before it."""
        return self._rules.change(at_s, beam, blocked)

    def tick(self, now_s: float) -> list[Way]:
        """Let time pass until `now_s`; return the people who have passed by then."""
        return self._rules.tick(now_s)

    def measured(self, ways: Sequence[Way]) -> list[Measurement]:
        """Return what the sensor reports of these people and of the beams."""
        people = [Measurement(way.value, number) for way, number in sorted(Counter(ways).items())]
        blind_s = self.take_blind_s()
        blind = [] if blind_s is None else [Measurement("blind_s", blind_s)]
        return [*self.doubtful(), self.obstructed(), *people, *blind]

    def obstructed(self) -> Measurement:
        """Return whether something stands in the beams; a fault if a beam has failed."""
        failure = self._rules.failure
        if failure is None:
            return Measurement("obstructed", self._rules.obstructed)
        return Measurement("obstructed", None, Quality.FAULT, self._trouble(failure))

    def doubtful(self) -> list[Measurement]:
        """Return whether the door sees what is not people, if the rules can tell."""
        doubtful = self._rules.doubtful
        return [] if doubtful is None else [Measurement("doubtful", doubtful)]

    def _trouble(self, failure: Failure) -> Trouble:
        beam, gpio = self._names[failure.beams[0]]
        if failure.alone:
            return Trouble(OTHER_SEES_NOTHING, beam=beam, gpio=gpio)
        if len(failure.beams) > 1:
            return Trouble(BOTH_BLOCKED, minutes=FAILED_S / 60)
        return Trouble(BLOCKED, beam=beam, gpio=gpio, minutes=FAILED_S / 60)

    def _condition(self) -> tuple[bool, Failure | None]:
        return self._rules.obstructed, self._rules.failure

    def take_blind_s(self) -> float | None:
        """Return for how long people could pass uncounted, once; None if all is well."""
        blind_s, self._rules.blind_s = self._rules.blind_s, None
        return None if blind_s is None else round(blind_s, 1)

    def until(self, at_s: float, edge: Edge | None = None) -> list[dict[str, Any]]:
        """Let time pass and then apply an edge; return the findings as frames."""
        frames: list[dict[str, Any]] = []
        while (due_s := self.due_s) is not None and due_s <= at_s:
            frames += self._frames(due_s, self.tick(due_s))
        if edge is not None:
            frames += self._frames(at_s, self.change(edge))
        return frames

    def _frames(self, at_s: float, ways: list[Way]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{way.value: 1} for way in ways]
        if self._condition() != self._reported:
            self._reported = self._condition()
            now = self.obstructed()
            found.append({"obstructed": now.value})
            if now.trouble is not None:
                found[-1]["detail"] = str(now.trouble)
        if self._rules.doubtful != self._doubted:
            self._doubted = self._rules.doubtful
            found.append({"doubtful": self._doubted})
        blind_s = self.take_blind_s()
        if blind_s is not None:
            found.append({"blind_s": blind_s})
        return [{"at_s": round(at_s, 3), **frame} for frame in found]


def doorway(traits: Traits) -> type[Doorway] | None:
    """Return the driver with these traits if it is one of a door with beams."""
    kind = traits.driver
    return kind if isinstance(kind, type) and issubclass(kind, Doorway) else None
