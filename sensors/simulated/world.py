"""A small world: people come and go, mains follows a blackout schedule, a generator, a battery, the air.

The seed determines everything. The world moves the simulated devices only. It reports what truly
happened to `truth`, so that the unit's reports can be compared with it.
"""

import heapq
import itertools
import random
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from sensors.clock import Monotonic
from sensors.simulated.air import Air
from sensors.simulated.hardware import SimulatedHardware

#: Arrivals an hour, by hour of the day: few in curfew hours, a peak in the evening; 280 a day.
ARRIVALS_PER_HOUR = (
    2, 2, 1, 1, 1, 3, 7, 11, 14, 15, 16, 16, 17, 17, 16, 16, 18, 21, 24, 22, 17, 12, 7, 4,
)  # fmt: skip
MEAN_STAY_S = 2700.0
BEAM_SPACING_M, BODY_M = 0.15, 0.3
SHORTEST_GAP_S = 0.5
#: Share of passages before which somebody turns back in the door, before which somebody waves a hand in
#: a beam, and during which somebody hesitates.
TURNING_BACK, WAVING, HESITATING = 0.03, 0.02, 0.05

CAPACITY_AH = 200.0
GENERATOR_CHARGER_A, MAINS_CHARGER_A = 38.0, 25.0
INTERNAL_OHMS = 0.012

#: The generator's tank, and what it burns: a straight line over its load, the charger's power behind it.
TANK_L = 10.0
NO_LOAD_L_H, FULL_LOAD_L_H, FULL_LOAD_W = 0.35, 0.85, 600.0
#: A canister's marks are read to this part of what was poured.
MARKS_SHARE = 0.02

#: The truth of the air and of the fuel is reported at this interval.
AIR_S = 60.0


class Truth(Protocol):
    """Takes a fact."""

    def __call__(self, at_s: float, what: str, /, **values: float) -> None:
        """Take what has happened at `at_s` on the world's clock, and the values that belong to it."""


class World:
    """Moves `hardware` on `clock` from a thread of its own, and calls `truth` for each fact."""

    def __init__(
        self,
        hardware: SimulatedHardware,
        clock: Monotonic,
        truth: Truth,
        *,
        seed: int,
        seats: int,
        hour_of_day: float,
        people: int = 0,
        step_s: float = 1.0,
        fuel_l: float = TANK_L,
        await_drivers: bool = False,
    ) -> None:
        """Begin at `hour_of_day` (0 to 24) with `people` in the tent and `fuel_l` in the generator's tank.

        With `await_drivers` nothing happens until the drivers watch the door, so nobody comes unseen.
        """
        self._hardware = hardware
        self._clock = clock
        self._truth = truth
        self._random = random.Random(seed)
        self._moods = random.Random(seed + 1)  # hesitations change nothing else
        self._air = Air(random.Random(seed + 2), hour_of_day)
        self._air_due_s = 0.0
        self._show_air(0.0)  # before the drivers look
        self._seats = seats
        self._start_s = self._door_free_s = 0.0
        self._start_hour = hour_of_day
        self._step_s = step_s
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self.mains = False
        self.generator = False
        self.charge_ah = CAPACITY_AH * self._random.uniform(0.6, 0.9)
        self.fuel_l = fuel_l
        self._pouring = random.Random(seed + 3)  # fuel changes neither people nor mains
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="world", daemon=True)

        self._people = people
        self._await_drivers = await_drivers

    def start(self) -> None:
        """Let time pass."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the world. Return when it has stopped, or at once if `truth` calls this."""
        self._stopping.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _plan(self, at_s: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self._agenda, (at_s, next(self._order), what))

    def _begin(self) -> None:
        self._start_s = self._door_free_s = self._clock.now_s()
        for _ in range(self._people):
            self._plan(self._start_s + self._stay_s(), self._leave)
        self._plan(self._start_s + self._random.uniform(1, 4), self._arrive)
        self._plan_mains()
        self._plan(self._start_s, self._physics)

    def _run(self) -> None:
        while self._await_drivers and not self._hardware.is_watched():
            if self._stopping.wait(0.01):
                return
        self._begin()
        while self._agenda:
            at_s, _, what = heapq.heappop(self._agenda)
            self._hardware.pins.horizon_s = at_s
            wait_s = self._clock.real_s(at_s - self._clock.now_s())
            if (wait_s > 0 and self._stopping.wait(wait_s)) or self._stopping.is_set():
                return
            what(at_s)

    def _hour(self, at_s: float) -> float:
        return (self._start_hour + (at_s - self._start_s) / 3600) % 24

    # People

    def _stay_s(self) -> float:
        return min(6 * 3600.0, max(60.0, self._random.lognormvariate(0, 0.8) * MEAN_STAY_S * 0.73))

    def _arrive(self, at_s: float) -> None:
        rate_per_s = ARRIVALS_PER_HOUR[int(self._hour(at_s))] / 3600
        self._plan(at_s + self._random.expovariate(rate_per_s), self._arrive)
        if self._people < self._seats:  # people who find the tent full go elsewhere
            self._people += 1
            self._walk(at_s, inward=True)
            self._plan(at_s + self._stay_s(), self._leave)

    def _leave(self, at_s: float) -> None:
        self._people -= 1
        self._walk(at_s, inward=False)

    def _walk(self, at_s: float, *, inward: bool) -> None:
        speed, moods = self._random.uniform(0.6, 1.6), self._moods
        begin_s = max(at_s, self._door_free_s)
        if moods.random() < TURNING_BACK:
            depth_m = moods.uniform(0.02, BEAM_SPACING_M + BODY_M - 0.02)
            stay_s = moods.uniform(0.0, 2.0)
            begin_s = self._move(begin_s, inward, speed, [(depth_m, stay_s), (-0.01, 0.0)])
        if moods.random() < WAVING:
            begin_s = self._wave(begin_s, inner=moods.random() < 0.5)
        stops = []
        if moods.random() < HESITATING:
            place_m, back_m = moods.uniform(0.02, 0.44), moods.choice([0.0, 0.1, 0.2, 0.3])
            stops = [(place_m, moods.uniform(0.5, 3.0)), (place_m - back_m, 0.5)]
        end_s = self._move(begin_s, inward, speed, [*stops, (BEAM_SPACING_M + BODY_M + 0.01, 0.0)])
        self._plan(end_s - SHORTEST_GAP_S, lambda t: self._pass(t, inward=inward))

    def _pass(self, at_s: float, *, inward: bool) -> None:
        self._air.open_door()
        self._truth(at_s, "entered" if inward else "left")

    def _move(
        self, begin_s: float, inward: bool, speed: float, stops: Sequence[tuple[float, float]]
    ) -> float:
        """Let somebody walk from stop to stop (metres behind the first beam, seconds to stay there).

        Return the time from which the door is free for the next person.
        """
        from_m, at_s = -0.01, begin_s
        for to_m, stay_s in stops:
            for second, beam_m in ((False, 0.0), (True, BEAM_SPACING_M)):
                for place_m, is_front in ((beam_m, True), (beam_m + BODY_M, False)):
                    if min(from_m, to_m) < place_m <= max(from_m, to_m):
                        edge_s = at_s + abs(place_m - from_m) / speed
                        blocked = is_front == (to_m > from_m)
                        self._plan(edge_s, self._beam(inner=second == inward, blocked=blocked))
            at_s += abs(to_m - from_m) / speed + stay_s
            from_m = to_m
        self._door_free_s = at_s + SHORTEST_GAP_S
        return self._door_free_s

    def _wave(self, begin_s: float, *, inner: bool) -> float:
        """Let somebody wave in a beam; return the time from which the door is free for the next person."""
        at_s = begin_s
        for _ in range(self._moods.randint(1, 3)):
            for blocked in (True, False):
                self._plan(at_s, self._beam(inner=inner, blocked=blocked))
                at_s += self._moods.uniform(0.05, 0.5)
        self._door_free_s = at_s + SHORTEST_GAP_S
        return self._door_free_s

    def _beam(self, *, inner: bool, blocked: bool) -> Callable[[float], None]:
        return lambda t: self._hardware.set_beam(inner=inner, blocked=blocked, at_s=t)

    # Power

    def _plan_mains(self) -> None:
        """Plan mains for 2 to 3 hours, then none for 8 to 11, for ever; begin with mains on."""
        self._plan(self._start_s, self._mains_on)
        self._plan(self._start_s + self._random.uniform(600, 2400), self._mains_off)

    def _mains_on(self, at_s: float) -> None:
        self.mains = True
        self._hardware.set_mains(True, at_s)
        self._truth(at_s, "mains_restored")
        if self.generator:
            self._plan(at_s + self._random.uniform(30, 90), self._generator_off)

    def _mains_off(self, at_s: float) -> None:
        self.mains = False
        self._hardware.set_mains(False, at_s)
        self._truth(at_s, "mains_lost")
        self._plan(at_s + self._random.uniform(20, 120), self._generator_on)
        on_s = at_s + self._random.uniform(8, 11) * 3600
        self._plan(on_s, self._mains_on)
        self._plan(on_s + self._random.uniform(2, 3) * 3600, self._mains_off)

    def _generator_on(self, at_s: float) -> None:
        if self.mains or self.generator or self.fuel_l <= 0:
            return
        self.generator = True
        self._truth(at_s, "generator_started")
        self._plan(at_s + self._random.uniform(4, 6) * 3600, self._refuel)

    def _generator_off(self, at_s: float) -> None:
        if self.generator:
            self.generator = False
            self._truth(at_s, "generator_stopped")

    def _refuel(self, at_s: float) -> None:
        """Stop for fuel; the battery carries the tent meanwhile."""
        if self.generator and not self.mains:
            self._generator_off(at_s)
            self._fill_up(at_s)
            self._plan(at_s + self._random.uniform(300, 900), self._generator_on)

    def _fill_up(self, at_s: float) -> None:
        """Fill the tank; somebody reads off the canister how many litres it took."""
        error = self._pouring.uniform(-MARKS_SHARE, MARKS_SHARE)
        litres = min(TANK_L, round((TANK_L - self.fuel_l) * (1 + error), 1))
        self.fuel_l = TANK_L
        self._truth(at_s, "refuelled", litres=litres, full=1)

    def _burn(self, at_s: float, power_w: float) -> None:
        """Burn a step's fuel; without any the engine stops, and somebody comes with a canister."""
        rate_l_h = NO_LOAD_L_H + (FULL_LOAD_L_H - NO_LOAD_L_H) * power_w / FULL_LOAD_W
        self.fuel_l = max(0.0, self.fuel_l - rate_l_h * self._step_s / 3600)
        if self.fuel_l <= 0:
            self._truth(at_s, "fuel_out")
            self._generator_off(at_s)
            filled_s = at_s + self._pouring.uniform(600, 1800)
            self._plan(filled_s, self._fill_up)
            self._plan(filled_s + self._pouring.uniform(60, 300), self._generator_on)

    def _physics(self, at_s: float) -> None:
        self._plan(at_s + self._step_s, self._physics)
        dark = not 7 <= self._hour(at_s) < 17
        load_a = 5.5 + 0.08 * self._people + (4.0 if dark else 0.0) + self._random.gauss(0, 0.2)
        full = self.charge_ah / CAPACITY_AH
        taper = max(0.03, min(1.0, (1.0 - full) / 0.08))
        limit_a = GENERATOR_CHARGER_A if self.generator else MAINS_CHARGER_A if self.mains else 0.0
        charger_a = min(limit_a, load_a + limit_a * taper)
        current_a = charger_a - load_a
        if self.charge_ah <= 0 and current_a < 0:
            current_a = 0.0
        self.charge_ah = min(
            CAPACITY_AH, max(0.0, self.charge_ah + current_a * self._step_s / 3600)
        )
        rest_v = 12.8 + 0.6 * full + (0.4 * (full - 0.95) / 0.05 if full > 0.95 else 0.0)
        if full < 0.1:
            rest_v -= (0.1 - full) * 20
        voltage_v = rest_v + current_a * INTERNAL_OHMS
        self._hardware.set_generator(charger_a if self.generator else 0.0, voltage_v)
        if self.generator:
            self._burn(at_s, charger_a * voltage_v)
        minutes = -1 if current_a >= 0 else round(self.charge_ah / -current_a * 60)
        self._hardware.monitor.report(voltage_v, current_a, full * 100, minutes)
        self._change_air(at_s, powered=self.mains or self.generator or self.charge_ah > 0)

    # Air

    def _change_air(self, at_s: float, *, powered: bool) -> None:
        air = self._air
        happened = air.pass_time(
            self._step_s,
            self._hour(at_s),
            self._people,
            powered=powered,
            generator=self.generator,
        )
        for what in happened:
            self._truth(at_s, what)
        if happened or at_s >= self._air_due_s:
            self._air_due_s = at_s + AIR_S
            self._truth(
                at_s,
                "air",
                inside_c=round(air.inside_c, 2),
                outside_c=round(air.outside_c, 2),
                humidity_pct=round(air.humidity_pct, 1),
                co_ppm=round(air.co_ppm, 1),
            )
            self._truth(at_s, "fuel", litres=round(self.fuel_l, 3))
        self._show_air(self._step_s)

    def _show_air(self, for_s: float) -> None:
        """Let the devices be in this air for some seconds."""
        air = self._air
        if self._hardware.air is not None:
            self._hardware.air.change(
                air.inside_c, air.outside_c, air.humidity_pct, air.co_ppm, for_s
            )
