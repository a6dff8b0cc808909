"""The air of the simulated tent: weather, a stove, the door, and exhaust that drifts in.

A well-mixed room: heat and gas come in and leave by first-order balances. Steps are short against all its
time constants.
"""

import math
from random import Random

#: Weather: the mean of the day and half its swing, and fronts that come and go within hours.
MEAN_C, SWING_C, COLDEST_HOUR = -4.0, 4.0, 6.0
FRONT_C, FRONT_S = 4.0, 6 * 3600.0
OUTSIDE_HUMIDITY_PCT = 85.0

#: The tent: heat capacity with what stands in it, loss through its walls, volume, and how often its leaks
#: change the air.
HEAT_J_PER_K, LOSS_W_PER_K, VOLUME_M3, LEAKS_PER_H = 1.2e6, 220.0, 150.0, 0.8
#: Air that comes in when one person passes the door, and its heat capacity.
DOOR_M3, AIR_J_PER_M3_K = 6.0, 1300.0
#: A person's heat, and the water in a person's breath.
PERSON_W, PERSON_G_PER_S = 90.0, 50.0 / 3600

#: The stove: its thermostat, its power, and how long a filling lasts and somebody takes to notice.
STOVE_ON_C, STOVE_OFF_C, STOVE_W = 18.5, 20.5, 14_000.0
FILLING_S, UNNOTICED_S = (5 * 3600.0, 8 * 3600.0), (600.0, 4500.0)
#: CO that it lets out into the tent while it burns, in ppm times cubic metres a second.
STOVE_CO = 0.15

#: Exhaust comes in from a running generator with the wind: how often, how long, and how much of it.
DRIFTS_PER_H, DRIFT_S, DRIFT_PPM = 0.12, (900.0, 3600.0), (60.0, 350.0)
#: How often it changes the air while it comes; and how often and how long the tent is aired afterwards.
DRIFT_CHANGES_PER_H, AIRING_CHANGES_PER_H, AIRING_S = 4.0, 12.0, 900.0


class Air:
    """Temperature inside and outside in °C, relative humidity inside in %, and CO in ppm."""

    def __init__(self, chance: Random, hour: float) -> None:
        """Begin at `hour` of the day with the stove burning."""
        self._chance = chance
        self._front_c = chance.gauss(0, FRONT_C)
        self.outside_c = self._weather_c(hour)
        self.inside_c = STOVE_OFF_C - 1.0
        self.co_ppm = 0.0
        self._water_g_per_m3 = 0.45 * _saturated_g_per_m3(self.inside_c)
        self._is_burning = True
        self._fuel_s = chance.uniform(*FILLING_S)  # negative while it is out: until it is lit again
        self._drift_s = self._drift_ppm = self._airing_s = 0.0

    @property
    def humidity_pct(self) -> float:
        """Relative humidity inside."""
        return min(100.0, 100.0 * self._water_g_per_m3 / _saturated_g_per_m3(self.inside_c))

    def open_door(self) -> None:
        """Let somebody through the door: cold air comes in."""
        self._exchange(DOOR_M3)

    def pass_time(
        self, step_s: float, hour: float, people: int, *, powered: bool, generator: bool
    ) -> list[str]:
        """Let `step_s` seconds pass; return what happened.

        `people` are inside; the stove's fan is `powered` or not; the `generator` runs or not.
        """
        self._front_c += -self._front_c * step_s / FRONT_S + self._chance.gauss(
            0, FRONT_C
        ) * math.sqrt(2 * step_s / FRONT_S)
        self.outside_c = self._weather_c(hour)
        happened = self._tend_stove(step_s) + self._drift(step_s, generator=generator)
        heat_w = PERSON_W * people + LOSS_W_PER_K * (self.outside_c - self.inside_c)
        self._water_g_per_m3 += PERSON_G_PER_S * people * step_s / VOLUME_M3
        if self._is_burning and self._fuel_s > 0 and powered:
            heat_w += STOVE_W
            self.co_ppm += STOVE_CO * step_s / VOLUME_M3
        self.inside_c += heat_w * step_s / HEAT_J_PER_K
        changes_per_h = LEAKS_PER_H + (AIRING_CHANGES_PER_H if self._airing_s > 0 else 0.0)
        self._airing_s = max(0.0, self._airing_s - step_s)
        self._exchange(VOLUME_M3 * changes_per_h * step_s / 3600)
        if self._drift_s > 0:
            share = 1 - math.exp(-DRIFT_CHANGES_PER_H * step_s / 3600)
            self.co_ppm += (self._drift_ppm - self.co_ppm) * share
        return happened

    def _weather_c(self, hour: float) -> float:
        swing_c = -SWING_C * math.cos((hour - COLDEST_HOUR) / 24 * math.tau)
        return MEAN_C + swing_c + self._front_c

    def _exchange(self, air_m3: float) -> None:
        """Replace air by air from outside; what stands in the tent keeps its warmth."""
        share = 1 - math.exp(-air_m3 / VOLUME_M3)
        outside_g_per_m3 = OUTSIDE_HUMIDITY_PCT / 100 * _saturated_g_per_m3(self.outside_c)
        self.inside_c += (
            (self.outside_c - self.inside_c)
            * share
            * min(1.0, VOLUME_M3 * AIR_J_PER_M3_K / HEAT_J_PER_K)
        )
        self._water_g_per_m3 += (outside_g_per_m3 - self._water_g_per_m3) * share
        self.co_ppm -= self.co_ppm * share

    def _tend_stove(self, step_s: float) -> list[str]:
        if self.inside_c < STOVE_ON_C:
            self._is_burning = True
        elif self.inside_c > STOVE_OFF_C:
            self._is_burning = False
        before_s = self._fuel_s
        if before_s <= 0:  # out, until somebody has noticed
            self._fuel_s += step_s
            if self._fuel_s > 0:
                self._fuel_s = self._chance.uniform(*FILLING_S)
                return ["stove_lit"]
        elif self._is_burning:
            self._fuel_s -= step_s
            if self._fuel_s <= 0:
                self._fuel_s = -self._chance.uniform(*UNNOTICED_S)
                return ["stove_out"]
        return []

    def _drift(self, step_s: float, *, generator: bool) -> list[str]:
        if self._drift_s > 0:
            self._drift_s -= step_s
            if self._drift_s <= 0 or not generator:
                self._drift_s, self._airing_s = 0.0, AIRING_S
                return ["exhaust_gone"]
        elif generator and self._chance.random() < -math.expm1(-DRIFTS_PER_H * step_s / 3600):
            self._drift_s = self._chance.uniform(*DRIFT_S)
            self._drift_ppm = self._chance.uniform(*DRIFT_PPM)
            return ["exhaust_drifts_in"]
        return []


def _saturated_g_per_m3(celsius: float) -> float:
    """Return the water in saturated air (Magnus formula, WMO-No. 8, annex 4.B)."""
    pressure_pa = 611.2 * math.exp(17.62 * celsius / (243.12 + celsius))
    return pressure_pa / (461.5 * (273.15 + celsius)) * 1000
