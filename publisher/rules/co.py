"""Carbon monoxide: a dose that grows with concentration and time, and what it warns of.

EN 50291-1 sets the times of an alarm: at 30 ppm not before 120 min, at 50 ppm between 60 and 90 min, at
100 ppm between 10 and 40 min, at 300 ppm within 3 min. ALARM_AFTER_MIN keeps them with a sensor that is
wrong by 10 % either way and takes 60 s to show 90 % of a change; it keeps the warning later than 120 min
at 30 ppm as well.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise

from publisher.clock import Now, timestamp
from publisher.config.co import ALARM, WARNING, CoSettings
from publisher.rules.day import Counts
from publisher.rules.elapsed import elapsed_s
from publisher.rules.held import Held
from sensors.reading import Reading

#: Minutes after which a steady concentration in ppm raises the alarm. Between two points, and beyond the
#: last one, the logarithm of the time is linear in that of the concentration.
ALARM_AFTER_MIN = ((30.0, 340.0), (45.0, 88.0), (100.0, 20.0), (300.0, 1.5))
#: Below this concentration the dose decays: 30 ppm less the 10 % by which a sensor may be wrong.
DOSE_FROM_PPM = 27.0
#: Half-life of the dose in clean air. Blood loses half of its carbon monoxide in 320 min at rest (Peterson
#: and Stewart, 1970); a unit that remembered as long would warn for 6 hours in clean air. A stove or a
#: generator that comes and goes does so within an hour.
HALF_LIFE_S = 3600.0
#: Smaller doses are none.
LEAST_DOSE = 0.001
#: Doses that warn and that raise the alarm; half the alarm's dose is this unit's own early word. Each clears
#: when the dose is at most CLEAR_SHARE of it and the air is below CLEAN_PPM, both for CLEAN_HOLD_S. These
#: three are our choice, so that an alert does not come and go with the wind.
WARNING_DOSE, ALARM_DOSE = 0.5, 1.0
CLEAR_SHARE = 0.9
CLEAN_PPM = 25.0
CLEAN_HOLD_S = 300.0
#: A dose that has moved by this is stored at once.
STORED_STEP = 0.1

#: A reading stands for the time since the one before it. A longer time is a gap, such as a restart of the
#: service or a module that warms up.
LONGEST_STEP_S = 10.0
LONGEST_GAP_S = 600.0

#: The last hour is kept as the highest readings of pieces of this length: 13 pieces cover 60 to 65 minutes.
PEAK_PIECE_S = 300.0
PEAK_PIECES = 13

#: A sensor whose readings stay within this band, five of its steps, may be dead: a dead one reads as clean
#: air does.
STILL_BAND_PPM = 0.5
#: No such sensor reads more.
MOST_PPM = 10_000.0
#: Readings have one decimal; this is below its rounding.
_ROUNDING_PPM = 0.01
DAY_S = 86_400.0
YEAR_DAYS = 365.25


@dataclass(slots=True)
class Exposure:
    """What is known of the carbon monoxide in a tent and survives a power cut."""

    dose: float = 0.0  # the alarm is raised at 1, and no dose is larger
    #: The last reading, and when it was: the boot, the uptime in it, and the time of day if it is certain.
    ppm: float | None = None
    boot: int | None = None
    uptime_s: float = 0.0
    read: str | None = None
    #: The highest readings of the last pieces in ppm, the present piece last.
    peaks: list[float] = field(default_factory=list)
    piece_s: float = 0.0  # time since the present piece began
    #: The readings have stayed in this band for `still_s` seconds of measured time.
    low_ppm: float = 0.0
    high_ppm: float = 0.0
    still_s: float = 0.0
    heard: str | None = None  # the first certain day on which the sensor was heard

    def add(self, earlier: "Exposure") -> None:
        """Add what an earlier run knew and this one could not read when it began."""
        self.dose = max(self.dose, earlier.dose)
        self.heard = min(filter(None, (self.heard, earlier.heard)), default=None)

    def repair(self) -> None:
        """Forget what no sensor can have read, such as a damaged ledger says. The dose stays."""
        self.dose = min(self.dose, ALARM_DOSE)
        read_ppm = (self.ppm or 0.0, self.low_ppm, self.high_ppm, *self.peaks)
        if max(read_ppm) > MOST_PPM or self.low_ppm > self.high_ppm:
            self.ppm, self.peaks = None, []
            self.low_ppm = self.high_ppm = self.still_s = 0.0


def alarm_after_s(ppm: float) -> float:
    """Return after how many seconds a steady concentration of DOSE_FROM_PPM or more raises the alarm."""
    pieces = list(pairwise(ALARM_AFTER_MIN))
    (low, low_min), (high, high_min) = next((p for p in pieces if ppm <= p[1][0]), pieces[-1])
    steepness = math.log(low_min / high_min) / math.log(high / low)
    return 60 * low_min * float((low / ppm) ** steepness)


class CarbonMonoxide:
    """The carbon monoxide in the tent. What survives a power cut is in the `Exposure` given."""

    def __init__(
        self,
        settings: CoSettings,
        exposure: Exposure,
        *,
        boot: int,
        was_warning: bool,
        was_alarm: bool,
    ) -> None:
        """Continue from `exposure` in the boot with the number `boot`, with the alerts as they stood."""
        self._settings = settings
        self._exposure = exposure
        self._boot = boot
        self._warning = Held(0.0, CLEAN_HOLD_S, was_warning or was_alarm)
        self._alarm = Held(0.0, CLEAN_HOLD_S, was_alarm)
        #: The dose as it was when it last moved by STORED_STEP.
        self.dose_step = exposure.dose

    def stand(self, alerts: Iterable[str]) -> None:
        """Let the alerts stand of an earlier run, which this one could not read when it began."""
        if ALARM in alerts:
            self._alarm.set(True)
        if ALARM in alerts or WARNING in alerts:
            self._warning.set(True)

    def take(self, reading: Reading, now: Now, counts: Counts) -> None:
        """Take a reading that has come by `now`, and note the day's highest one in `counts`."""
        ppm = reading.number("co_ppm")
        if ppm is None:
            return
        age_s = max(0.0, now.monotonic_s - reading.at_s)
        counts.note("co_max_ppm", ppm)
        passed_s = self._passed_s(now, age_s)
        self._count(ppm, passed_s)
        self._note_peak(ppm, passed_s)
        self._note_band(ppm, passed_s)
        exposure = self._exposure
        exposure.ppm, exposure.boot = ppm, self._boot
        exposure.uptime_s = round(now.uptime_s - age_s, 3)
        exposure.read = None
        if now.wall is not None and now.is_certain:
            exposure.read = timestamp(now.wall - timedelta(seconds=age_s))
            exposure.heard = exposure.heard or now.wall.date().isoformat()
        is_clean, dose = ppm < CLEAN_PPM, exposure.dose
        for held, raised_at in ((self._warning, WARNING_DOSE), (self._alarm, ALARM_DOSE)):
            held.apply(
                dose >= raised_at, is_clean and dose <= CLEAR_SHARE * raised_at, reading.at_s
            )

    def _passed_s(self, now: Now, age_s: float) -> float | None:
        """Return the seconds between the reading before and one of `age_s` ago; None if not known."""
        exposure = self._exposure
        if exposure.ppm is None or exposure.boot is None:
            return None
        return elapsed_s(
            now.back_to(now.monotonic_s - age_s),
            self._boot,
            then_boot=exposure.boot,
            then_uptime_s=exposure.uptime_s,
            then=exposure.read,
        )

    def _count(self, ppm: float, passed_s: float | None) -> None:
        """Let the dose grow or decay for a time that ends with a reading.

        A short gap counts by the lower of the readings before and after it; with clean air at one end only
        it changes nothing. A gap longer than LONGEST_GAP_S adds nothing; the dose decays over it if the
        air was clean at both ends. A gap of unknown length changes nothing.
        """
        exposure = self._exposure
        if passed_s is None or exposure.ppm is None:
            return
        if passed_s > LONGEST_GAP_S:
            ppm = max(ppm, exposure.ppm)
            if ppm >= DOSE_FROM_PPM:
                return
        elif passed_s > LONGEST_STEP_S:
            if min(ppm, exposure.ppm) < DOSE_FROM_PPM <= max(ppm, exposure.ppm):
                return
            ppm = min(ppm, exposure.ppm)
        if ppm >= DOSE_FROM_PPM:
            exposure.dose = min(ALARM_DOSE, exposure.dose + passed_s / alarm_after_s(ppm))
        else:
            exposure.dose *= 0.5 ** (passed_s / HALF_LIFE_S)
            if exposure.dose < LEAST_DOSE:
                exposure.dose = 0.0
        if abs(exposure.dose - self.dose_step) >= STORED_STEP:
            self.dose_step = exposure.dose

    def _note_peak(self, ppm: float, passed_s: float | None) -> None:
        exposure = self._exposure
        if passed_s is None or not exposure.peaks:
            exposure.peaks, exposure.piece_s = [ppm], 0.0
            return
        new, exposure.piece_s = divmod(exposure.piece_s + passed_s, PEAK_PIECE_S)
        if new:
            empty = [0.0] * int(min(new, PEAK_PIECES))
            exposure.peaks = (exposure.peaks + empty)[-PEAK_PIECES:]
        exposure.peaks[-1] = max(exposure.peaks[-1], ppm)

    def _note_band(self, ppm: float, passed_s: float | None) -> None:
        exposure = self._exposure
        low_ppm, high_ppm = min(exposure.low_ppm, ppm), max(exposure.high_ppm, ppm)
        if exposure.ppm is None or high_ppm - low_ppm > STILL_BAND_PPM + _ROUNDING_PPM:
            exposure.low_ppm = exposure.high_ppm = ppm
            exposure.still_s = 0.0
            return
        exposure.low_ppm, exposure.high_ppm = low_ppm, high_ppm
        if passed_s is not None and passed_s <= LONGEST_STEP_S:
            exposure.still_s += passed_s

    @property
    def level(self) -> str:
        """`none`, `warning` or `alarm`. While nothing is measured it stays as it was."""
        return "alarm" if self._alarm.on else "warning" if self._warning.on else "none"

    @property
    def peak_1h_ppm(self) -> float | None:
        """The highest reading of the last hour, with the last reading as the present; None if none."""
        return max(self._exposure.peaks, default=None)

    @property
    def needs_test(self) -> bool:
        """Whether the reading has been the same for so long that the sensor may be dead."""
        return self._exposure.still_s >= self._settings.test_after_days * DAY_S

    def is_old(self, now: Now) -> bool | None:
        """Return whether the sensor is past its life; None if its age or the day is not known."""
        heard = self._exposure.heard
        fitted = self._settings.fitted_on or (None if heard is None else date.fromisoformat(heard))
        if fitted is None or now.wall is None or not now.is_certain:
            return None
        return (now.wall.date() - fitted).days >= self._settings.life_years * YEAR_DAYS
