"""Accuracy of the generator's alerts: faults that must be told, and healthy days that must be silent.

Two models of a generator, different in kind. `Governed` is mechanics: a governor with droop and lag, an
engine, a flywheel and an alternator, integrated in steps of 40 ms. `Empirical` has no mechanics: it adds
the published response to a load step (ISO 8528-5, class G2: a droop of 5 %, a band of 1.5 %, -10 % / +12 %
after a full step, back within 5 s) to the steady frequency, or behaves as an inverter with an eco mode.
Neither knows the rules. A meter as the PZEM-004T reads them about once a second.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from publisher.config.generator import GeneratorSettings
from publisher.rules.generator import Engine, Metered

RATED_W = 5000.0
NOMINAL_HZ, NOMINAL_V = 50.0, 230.0
#: The meter's frequency is a mean over this time; a swing as fast as that is hardly seen.
MEAN_S = 0.4
DAY_S = 86_400.0

#: What the load, the swing … are at a second of a run.
Course = Callable[[float], float]


def nothing(_: float) -> float:
    return 0.0


def steady(value: float) -> Course:
    return lambda _: value


@dataclass(frozen=True)
class Plan:
    """What happens to a generator that is started at second 0; loads are shares of the rated power."""

    load: Course
    swing_hz: Course = nothing  # half the width of a swing that the engine makes by itself
    swing_s: float = 4.0
    offset_hz: Course = nothing  # what is wrong with the speed
    fuel: Course = field(default_factory=lambda: steady(2.0))  # largest power, as a share


class Instant(NamedTuple):
    """What is on the line."""

    voltage_v: float
    power: float
    frequency_hz: float


class Machine(Protocol):
    """A generator: what is on its line from second 0 on, every STEP_S."""

    def runs(self, plan: Plan) -> Iterator[Instant]: ...


STEP_S = 0.04


class Governed:
    """Governor, engine, flywheel and alternator; in units of the rated power and speed."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.inertia_s = dice.uniform(0.5, 1.2)  # kinetic energy over rated power
        self.droop = dice.uniform(0.03, 0.05)
        self.lag_s = dice.uniform(0.08, 0.18)
        self.friction = dice.uniform(0.10, 0.18)
        self.regulated = dice.random() < 0.5  # else its voltage follows its speed
        self.noise_hz = dice.uniform(0.03, 0.12)

    def runs(self, plan: Plan) -> Iterator[Instant]:
        dice = self._dice
        speed, drive = 1.0 + self.droop / 2, self.friction + plan.load(0.0)
        rough, step = 0.0, 0
        while True:
            at_s = step * STEP_S
            step += 1
            sunk = min(1.0, speed / 0.95) if self.regulated else speed
            volts = max(0.0, min(sunk, 1.15))
            power = max(0.0, plan.load(at_s)) * volts**2
            if step % 5 == 0:
                rough += (dice.gauss(0, self.noise_hz) - rough) * 5 * STEP_S / 0.7
            set_speed = 1 + self.droop / 2 + plan.offset_hz(at_s) / NOMINAL_HZ
            wanted = self.friction + 0.5 + (set_speed - speed) / self.droop
            wanted = max(0.0, min(wanted, 1.3, plan.fuel(at_s) + self.friction))
            drive += (wanted - drive) * STEP_S / self.lag_s
            surplus = drive - power - self.friction * speed
            speed = max(0.0, speed + surplus * STEP_S / (2 * self.inertia_s))
            own_hz = 2 * rough + plan.swing_hz(at_s) * math.sin(2 * math.pi * at_s / plan.swing_s)
            yield Instant(NOMINAL_V * volts, power, NOMINAL_HZ * speed + own_hz if speed else 0.0)


class Empirical:
    """The response to load steps that class G2 allows, added to what is steady."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.no_load_hz = NOMINAL_HZ + dice.uniform(1.2, 2.5)
        self.droop_hz = dice.uniform(1.2, 2.5)
        self.dip_hz = dice.uniform(2.5, 5.0)  # at a step from nothing to rated power
        self.rise_hz = dice.uniform(3.0, 6.0)
        self.recovery_s = dice.uniform(1.5, 5.0)  # until 95 % are gone
        self.ringing_s = dice.uniform(1.5, 4.0)
        self.band_hz = dice.uniform(0.2, 0.75)  # steady: the width of what it does by itself
        self.band_s = dice.uniform(1.3, 15.0)
        self.voltage_v = dice.uniform(222, 238)

    def runs(self, plan: Plan) -> Iterator[Instant]:
        dice, step = self._dice, 0
        load, dent, dent_hz = plan.load(0.0), -1e6, 0.0
        rough, phase = 0.0, dice.uniform(0, 6.28)
        share = dice.uniform(0.2, 0.7)  # of the band that is regular
        while True:
            at_s = step * STEP_S
            step += 1
            before, load = load, max(0.0, plan.load(at_s))
            age_s, dented_hz = at_s - dent, 0.0
            fading = math.exp(-3 * age_s / self.recovery_s) if age_s < 20 else 0.0
            if abs(load - before) > 0.01:
                change = load - before
                dent_hz = dent_hz * fading - change * (self.dip_hz if change > 0 else self.rise_hz)
                dent, age_s, fading = at_s, 0.0, 1.0
            if fading:  # the engine takes 0.3 s to be dragged down, and rings as it comes back
                ring = math.cos(math.pi * age_s / self.ringing_s / 2)
                dented_hz = dent_hz * min(1.0, age_s / 0.3) * fading * ring
            if step % 5 == 0:
                rough = 0.9 * rough + dice.gauss(0, 0.45) * self.band_hz / 4 * (1 - share)
            own_hz = share * self.band_hz / 2 * math.sin(2 * math.pi * at_s / self.band_s + phase)
            hz = self.no_load_hz - self.droop_hz * load + dented_hz + own_hz + rough
            hz += plan.offset_hz(at_s)
            hz += plan.swing_hz(at_s) * math.sin(2 * math.pi * at_s / plan.swing_s)
            if plan.fuel(at_s) < load:
                hz = 0.0
            volts = self.voltage_v * (1 + 0.004 * dented_hz)
            yield Instant(volts if hz else 0.0, load * (volts / NOMINAL_V) ** 2, max(0.0, hz))


class Inverter:
    """An inverter: 50 Hz whatever the load, and less where an eco mode finds that little is drawn."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.idle_hz = dice.uniform(45.4, 47.3)
        self.light = dice.uniform(0.06, 0.14)
        self.patience_s = dice.uniform(2, 30)
        self.down_hz_per_s = dice.uniform(0.8, 4)
        self.up_hz_per_s = dice.uniform(1.2, 5)
        self.hesitates_s = dice.uniform(0, 1.5)

    def runs(self, plan: Plan) -> Iterator[Instant]:
        dice, step, hz = self._dice, 0, NOMINAL_HZ
        light_since, heavy_since = 0.0, -math.inf
        wander, wakes = 0.0, True
        while True:
            at_s = step * STEP_S
            step += 1
            load = max(0.0, plan.load(at_s))
            if load < self.light:
                heavy_since = at_s
            else:
                light_since = at_s
            if at_s - light_since > self.patience_s:
                hz, wakes = max(self.idle_hz, hz - self.down_hz_per_s * STEP_S), False
            elif wakes or at_s - heavy_since >= self.hesitates_s:
                wakes = True
                hz = min(NOMINAL_HZ, hz + self.up_hz_per_s * STEP_S)
            if step % 5 == 0:
                wander = 0.95 * wander + dice.gauss(0, 0.009)
            yield Instant(NOMINAL_V + 20 * wander, load, hz + wander)


def readings(
    machine: Machine, plan: Plan, until_s: float, dice: random.Random
) -> Iterator[Metered]:
    """Read a line as a PZEM-004T does: means, steps of 0.1 Hz, 0.1 V and 0.1 W, once in a while nothing.

    The registers are not of one instant: power is up to 0.6 s older than frequency, or younger.
    """
    lags_s = dice.uniform(-0.6, 0.6)
    past: list[Instant] = []
    keep, mean = round(1.2 / STEP_S), round(MEAN_S / STEP_S)
    at_s, due_s = 0.0, 2.0
    shift = round(abs(lags_s) / STEP_S)
    for now in machine.runs(plan):
        at_s += STEP_S
        past.append(now)
        if at_s < due_s:
            continue
        if at_s > until_s:
            return
        due_s = at_s + 1.0 + dice.uniform(-0.06, 0.06)
        del past[:-keep]
        newest, older = past[-mean:], past[-mean - shift : len(past) - shift]
        of_power, of_speed = (older, newest) if lags_s > 0 else (newest, older)
        volts = sum(i.voltage_v for i in of_power) / len(of_power)
        if volts < 60:
            continue  # the meter has no supply
        if dice.random() < 0.003:
            continue
        watts = RATED_W * sum(i.power for i in of_power) / len(of_power)
        hz = sum(i.frequency_hz for i in of_speed) / len(of_speed)
        yield Metered(
            at_s,
            voltage_v=round(volts * dice.gauss(1, 0.001), 1),
            current_a=round(watts / volts, 3),
            power_w=round(watts * dice.gauss(1, 0.002), 1),
            frequency_hz=round(hz, 1),
        )


class Fault(NamedTuple):
    """A fault: what happens from FAULT_S on, which alerts tell it, and within which time."""

    plan: Callable[[float, random.Random], Plan]  # of a load
    alerts: frozenset[str]
    within_s: float
    lowest: float = 0.08  # loads
    highest: float = 0.75


#: When a fault begins; the engine is warm then.
FAULT_S = 150.0


def since(course: Course) -> Course:
    """Return what is 0 until the fault begins."""
    return lambda at_s: course(at_s - FAULT_S) if at_s >= FAULT_S else 0.0


def pulses(high: float, on_s: float, low: float, off_s: float) -> Callable[..., Plan]:
    period_s = on_s + off_s

    def plan(_: float, __: random.Random) -> Plan:
        return Plan(
            load=lambda s: high if s >= FAULT_S and (s - FAULT_S) % period_s < on_s else low
        )

    return plan


def hunting(swing_hz: float, swing_s: float) -> Callable[..., Plan]:
    def plan(load: float, dice: random.Random) -> Plan:
        period_s = swing_s * dice.uniform(0.95, 1.05)
        return Plan(steady(load), swing_hz=since(steady(swing_hz)), swing_s=period_s)

    return plan


def sinking(by_hz: float, in_s: float) -> Callable[..., Plan]:
    """Return an engine whose speed sinks for lack of fuel, and which then stalls."""

    def plan(load: float, _: random.Random) -> Plan:
        return Plan(
            steady(load),
            offset_hz=since(lambda s: -by_hz * s / in_s),
            fuel=lambda s: 0.0 if s > FAULT_S + in_s else 2.0,
        )

    return plan


def shifted(by_hz: float, in_s: float) -> Callable[..., Plan]:
    """Return an engine whose speed goes elsewhere within a time and stays there."""
    return lambda load, _: Plan(steady(load), offset_hz=since(lambda s: by_hz * min(1.0, s / in_s)))


OVERLOAD = frozenset({"generator_overload"})
FUEL = frozenset({"generator_fuel_suspected"})
SPEED = frozenset({"generator_overspeed"})
SAG = frozenset({"generator_frequency", "generator_frequency_warning"})

FAULTS = {
    "overspeed 60 Hz": Fault(shifted(10, 3), SPEED, 12),
    "overspeed 57 Hz": Fault(shifted(7, 10), SPEED, 20),
    "overload 115 %": Fault(lambda _, __: Plan(lambda s: 1.15 if s > FAULT_S else 0.6), OVERLOAD, 15),
    "overload 115 % / 60 %, 4 s each": Fault(pulses(1.15, 4, 0.6, 4), OVERLOAD, 60),
    "overload 120 %, 5 s a minute": Fault(pulses(1.2, 5, 0.6, 55), OVERLOAD, 300),
    "sag of 4.5 Hz": Fault(shifted(-4.5, 5), SAG | FUEL, 12, lowest=0.3),
    "starved, -3 Hz in 60 s": Fault(sinking(3, 60), FUEL, 60),
    "starved, -3 Hz in 120 s": Fault(sinking(3, 120), FUEL, 120),
    "starved, -4 Hz in 15 s": Fault(sinking(4, 15), FUEL, 16, lowest=0.3),
    "hunting ±2.5 Hz, 5 s": Fault(hunting(2.5, 5), FUEL, 45),
    "hunting ±2.5 Hz, 1.7 s": Fault(hunting(2.5, 1.7), FUEL, 45),
    "hunting ±1.5 Hz, 0.8 s": Fault(hunting(1.5, 0.8), FUEL, 45),
    "hunting ±1.2 Hz, 3 s": Fault(hunting(1.2, 3), FUEL, 45),
    "hunting ±0.8 Hz, 1.6 s": Fault(hunting(0.8, 1.6), FUEL, 60),
    "hunting ±0.8 Hz, 6 s": Fault(hunting(0.8, 6), FUEL, 60),
    "hunting ±0.8 Hz, 15 s": Fault(hunting(0.8, 15), FUEL, 60),
}  # fmt: skip


def told_s(fault: Fault, seed: int, settings: GeneratorSettings) -> float | None:
    """Return how long after its beginning a fault is told; None if it is not, or was told before."""
    dice = random.Random(f"{seed}")
    machine: Machine = (Governed if seed % 2 else Empirical)(dice)
    plan = fault.plan(dice.uniform(fault.lowest, fault.highest), dice)
    engine = Engine(settings, ac=True)
    for seen in readings(machine, plan, FAULT_S + fault.within_s + 30, dice):
        assert seen.read_s is not None
        engine.apply(seen, seen.read_s)
        if seen.read_s < FAULT_S:
            if engine.alerts:
                return None
        elif engine.alerts & fault.alerts:
            return seen.read_s - FAULT_S
    return None


# Healthy days

#: Watts as shares of the rated power, and how long each is on and off, in seconds.
APPLIANCES = {
    "kettle": (0.40, (120, 240), (300, 3600)),
    "fan heater": (0.30, (20, 400), (20, 900)),
    "pump": (0.10, (4, 30), (60, 900)),
    "fridge": (0.03, (300, 900), (600, 1500)),
    "chargers": (0.05, (600, 7200), (300, 3600)),
    "quick": (0.25, (2, 9), (3, 40)),  # an iron, a heat gun, a microwave by turns
}
#: What draws much for a moment as it starts: times its power, for how long at most.
INRUSH = {"pump": (6.0, 0.6), "fridge": (8.0, 0.4)}


class Loads:
    """The loads of a tent, as pieces of constant power."""

    def __init__(self, dice: random.Random, until_s: float, most: float = 0.88) -> None:
        changes: list[tuple[float, float]] = []
        used = dice.sample(sorted(APPLIANCES), dice.randint(3, len(APPLIANCES)))
        for name in used:
            share, on_s, off_s = APPLIANCES[name]
            share *= dice.uniform(0.7, 1.1)
            at_s = dice.uniform(0, off_s[1])
            while at_s < until_s:
                lasts_s = dice.uniform(*on_s)
                changes += [(at_s, share), (at_s + lasts_s, -share)]
                if name in INRUSH:
                    times, longest_s = INRUSH[name]
                    changes.append((at_s, share * (times - 1)))
                    changes.append((at_s + dice.uniform(0.2, 1) * longest_s, -share * (times - 1)))
                at_s += lasts_s + dice.uniform(*off_s)
        self._base = dice.uniform(0.01, 0.10)
        self._most = most
        self._changes = iter([*sorted(changes), (math.inf, 0.0)])
        self._next = next(self._changes)
        self._sum = 0.0

    def __call__(self, at_s: float) -> float:
        """Return the load at a second, asked in order."""
        while self._next[0] <= at_s:
            self._sum += self._next[1]
            self._next = next(self._changes)
        return min(self._most, self._base + max(0.0, self._sum))


def healthy_run(dice: random.Random, until_s: float, *, kind: str) -> Plan:
    """Return a start, cold or warm, and what is switched on afterwards."""
    loads = Loads(dice, until_s, most=1.15 if kind == "inrush" else 0.88)
    if dice.random() < 0.4 or kind == "eco":
        return Plan(loads)
    hunts_s, swing_hz = dice.uniform(40, 75), dice.uniform(1.0, 2.5)
    return Plan(
        loads,
        swing_hz=lambda s: swing_hz if s < hunts_s else 0.0,
        swing_s=dice.uniform(2, 9),
        offset_hz=lambda s: -1.0 * math.exp(-s / 60),
    )


MACHINES: dict[str, Callable[[random.Random], Machine]] = {
    "governed": Governed, "G2": Empirical, "eco": Inverter,
}  # fmt: skip


def healthy_day(kind: str, seed: int, settings: GeneratorSettings, hours: float) -> Counter[str]:
    """Return the alerts of a day in which nothing is wrong."""
    dice = random.Random(f"{kind} {seed}")
    raised: Counter[str] = Counter()
    engine = Engine(settings, ac=True)
    begins_s = 0.0
    machine = MACHINES[kind](dice)
    while begins_s < hours * 3600:
        lasts_s = min(dice.choice([300.0, 1800.0, 7200.0, 14_400.0]), hours * 3600 - begins_s)
        plan = healthy_run(dice, lasts_s, kind=kind)
        for seen in readings(machine, plan, lasts_s, dice):
            assert seen.read_s is not None
            before, at_s = engine.alerts, begins_s + seen.read_s
            engine.apply(seen._replace(read_s=at_s), at_s)
            raised.update(engine.alerts - before)
        off_s = dice.choice([60.0, 600.0, 3600.0])
        for second in range(20):  # silent; after ten seconds it is unknown
            engine.apply(Metered(), begins_s + lasts_s + 1 + second)
        begins_s += lasts_s + off_s
    return raised


def faults_told(runs: int, settings: GeneratorSettings) -> dict[str, dict[str, float | None]]:
    """Return of each fault how many runs told it in its time, and after how many seconds."""
    found: dict[str, dict[str, float | None]] = {}
    for name, fault in FAULTS.items():
        told = [told_s(fault, seed, settings) for seed in range(runs)]
        known = sorted(after_s for after_s in told if after_s is not None)
        found[name] = {
            "in_time": sum(after_s <= fault.within_s for after_s in known),
            "of": runs,
            "within_s": fault.within_s,
            "median_s": round(known[len(known) // 2], 1) if known else None,
            "slowest_s": round(known[-1], 1) if known else None,
        }
    return found
