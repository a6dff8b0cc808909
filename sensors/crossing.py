"""Breaks of two light beams: who has crossed them, by the shape of the breaks alone.

A person is a body of a certain depth at a possible speed. Canvas in the wind, a dazzled receiver and a
hand break the beams, too; they are too quick, too thin or in no order.
"""

from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

#: Nobody is quicker than this through a door: a runner at 4 m/s, measured with bouncing receivers.
FASTEST_M_S = 4.5
#: What is quicker than this, or breaks a beam for less than SHORT_S, may be canvas in the wind …
BRISK_M_S = 2.8
#: … which breaks a beam for 40 to 60 ms. A body 0.22 m deep breaks it for 80 ms at 2.8 m/s.
SHORT_S = 0.08
#: A body breaks a beam for at least this long: 0.25 m at 4 m/s.
BODY_S = 0.06
#: In a wind a body must break both beams for this long, be this deep, and keep its pace within this factor.
WINDY_BODY_S = 0.13
WINDY_DEPTH_M = (0.2, 1.5)
WINDY_PACE = 2.0
#: Less deep than this, in metres, is a limb, at the height of a person's chest or belly.
LEAN_M = 0.17
#: Two people may follow so closely that the door is never free between them. One person who steps back and
#: on again breaks the beams in the same order. The times of fronts and backs from beam to beam distinguish
#: the two cases. For two people, the first one's back and the second one's front need about the same time
#: (within the factor PACE), and at least one person walks evenly: front and back need the same (within EVEN).
PACE, EVEN = 3.0, 1.5
#: A thin body never breaks both beams at once. It must not be slower than this …
SLOWEST_THIN_M_S = 0.5
#: … and be this deep (1 is the distance between the beams).
THIN_DEPTH = 0.4
#: An arm is not slower than this.
SLOWEST_ARM_M_S = 0.3

#: A body with swinging arms has at most this many breaks in both beams, with a free door between them for no
#: longer than this, and passes within this time.
MOST_PARTS = 6
ARM_GAP_S = 0.2
ARMED_S = 2.5
#: A body breaks both beams at once for at least this long: 0.25 m at 1.2 m/s.
BOTH_S = 0.08


class Way(StrEnum):
    """The direction of a person, named like the measured quantity."""

    IN = "entered"
    OUT = "left"
    UNKNOWN = "passed"


class Break(NamedTuple):
    """A period in which a beam was broken, in seconds."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Length of the break."""
        return self.end_s - self.start_s


class Found(NamedTuple):
    """The people in some breaks: `doubtful` if too quick or too lean to be certain."""

    ways: list[Way]
    doubtful: bool = False
    lean: bool = False


class _Lag(NamedTuple):
    """Delay of a body's front and back from the first to the second beam, in seconds."""

    front_s: float
    back_s: float


class Crossing:
    """Judges breaks of two beams that are `spacing_m` apart."""

    def __init__(self, spacing_m: float) -> None:
        """Begin; `spacing_m` is the distance from beam to beam in metres."""
        self._spacing_m = spacing_m
        self._least_lag_s = spacing_m / FASTEST_M_S
        self._brisk_lag_s = spacing_m / BRISK_M_S

    def people(self, outer: list[Break], inner: list[Break], *, windy: bool) -> Found:
        """Return who passed, from the breaks between two moments with a free door."""
        if windy:
            outer, inner = _long(outer), _long(inner)
        ways = self.stream(outer, inner) or self.single(outer, inner)
        if not ways:
            return Found([])
        lag, longest_s = _around(outer, inner), _longest_s(outer, inner)
        depth_m = self._spacing_m * sum(_spans(outer, inner)) / sum(lag) / len(ways)
        lean = depth_m < LEAN_M and _alike(*lag, PACE)
        doubtful = lean or min(lag) < self._brisk_lag_s or longest_s < SHORT_S
        is_clear = not doubtful and longest_s >= WINDY_BODY_S and _alike(*lag, WINDY_PACE)
        if windy and not (is_clear and WINDY_DEPTH_M[0] <= depth_m <= WINDY_DEPTH_M[1]):
            return Found([])
        return Found(ways, doubtful, lean)

    def way(self, outer: list[Break], inner: list[Break]) -> Way | None:
        """Return the direction from the beam that was broken first to the one that was freed last."""
        if not outer or not inner:
            return None
        front_s = inner[0].start_s - outer[0].start_s
        back_s = inner[-1].end_s - outer[-1].end_s
        if min(front_s, back_s) >= self._least_lag_s:
            return Way.IN
        if max(front_s, back_s) <= -self._least_lag_s:
            return Way.OUT
        return None  # turned back, too quick, or both beams at once

    def single(self, outer: list[Break], inner: list[Break]) -> list[Way]:
        """Return the one person who passed, however they moved in between."""
        way = self.way(outer, inner)
        return [] if way is None or _longest_s(outer, inner) < BODY_S else [way]

    def stream(
        self, outer: list[Break], inner: list[Break], *, with_arms: bool = False
    ) -> list[Way]:
        """Return the people who passed one behind the other, if the second beam repeats the first.

        Bodies that are less deep than the distance of the beams are arms or bags. With `with_arms` there
        must be at least one.
        """
        if len(outer) != len(inner) or len(outer) < 2:
            return []
        way = self.way(outer, inner)
        first, second = _in_order(outer, inner)
        lags = _lags(first, second)
        if way is None or min(map(min, lags)) < self._least_lag_s or not _keep_pace(lags):
            return []
        depths = _depths(first, second)
        if with_arms:
            arms_s = [max(lag) for lag, depth in zip(lags, depths, strict=True) if depth < 1]
            if not arms_s or max(arms_s) > self._spacing_m / SLOWEST_ARM_M_S:
                return []
        bodies = [
            depth >= 1 and min(a.length_s, b.length_s) >= BODY_S
            for depth, a, b in zip(depths, first, second, strict=True)
        ]
        return [way] * sum(bodies)

    def with_arms(self, outer: list[Break], inner: list[Break]) -> list[Way]:
        """Return the one person whose arms swing so far before and behind the body that they hide its way."""
        ways = self.single(outer, inner)
        if not ways or len(outer) + len(inner) > MOST_PARTS:
            return []
        is_one = (
            max(_gaps_s(outer + inner)) <= ARM_GAP_S
            and max(_spans(outer, inner)) <= ARMED_S
            and is_body(outer, inner)
        )
        return ways if is_one else []

    def thin(self, outer: list[Break], inner: list[Break]) -> Found:
        """Return the thin body, if one broke one beam after the other."""
        way = self.way(outer, inner)
        if way is None or not len(outer) == len(inner) == 1:
            return Found([])
        first, second = _in_order(outer, inner)
        [lag] = _lags(first, second)
        is_one = (
            max(lag) <= self._spacing_m / SLOWEST_THIN_M_S
            and _longest_s(first, second) >= BODY_S
            and _alike(*lag, PACE)
            and _depths(first, second)[0] >= THIN_DEPTH
        )
        if not is_one:
            return Found([])
        lean = _depths(first, second)[0] * self._spacing_m < LEAN_M
        return Found([way], doubtful=lean, lean=lean)


def is_body(outer: list[Break], inner: list[Break]) -> bool:
    """Say whether something deep broke both beams at once, whichever way it went."""
    if not outer or not inner:
        return False
    longest = [max(breaks, key=lambda b: b.length_s) for breaks in (outer, inner)]
    return min(b.end_s for b in longest) - max(b.start_s for b in longest) >= BOTH_S


def _in_order(outer: list[Break], inner: list[Break]) -> tuple[list[Break], list[Break]]:
    return (outer, inner) if outer[0].start_s <= inner[0].start_s else (inner, outer)


def _long(breaks: list[Break]) -> list[Break]:
    return [b for b in breaks if b.length_s >= SHORT_S]


def _longest_s(one: list[Break], other: list[Break]) -> float:
    """Return the length of the longest break of each beam, whichever is shorter."""
    return min(max(b.length_s for b in breaks) for breaks in (one, other))


def _gaps_s(breaks: list[Break]) -> list[float]:
    """Return how long both beams were free between these breaks."""
    found = []
    end_s = min(breaks).start_s
    for b in sorted(breaks):
        found.append(b.start_s - end_s)
        end_s = max(end_s, b.end_s)
    return found


def _spans(outer: list[Break], inner: list[Break]) -> list[float]:
    return [breaks[-1].end_s - breaks[0].start_s for breaks in (outer, inner)]


def _around(outer: list[Break], inner: list[Break]) -> _Lag:
    """Return the delays from the first break's start and from the last one's end."""
    return _Lag(abs(inner[0].start_s - outer[0].start_s), abs(inner[-1].end_s - outer[-1].end_s))


def _lags(first: list[Break], second: list[Break]) -> list[_Lag]:
    return [
        _Lag(b.start_s - a.start_s, b.end_s - a.end_s) for a, b in zip(first, second, strict=True)
    ]


def _depths(first: list[Break], second: list[Break]) -> list[float]:
    """Return each body's depth in units of the distance between the beams, at its own pace."""
    lengths_s = [a.length_s + b.length_s for a, b in zip(first, second, strict=True)]
    lags = _lags(first, second)
    return [length_s / sum(lag) for length_s, lag in zip(lengths_s, lags, strict=True)]


def _alike(one_s: float, other_s: float, factor: float) -> bool:
    return max(one_s, other_s) <= factor * min(one_s, other_s)


def _keep_pace(lags: list[_Lag]) -> bool:
    """Say whether these delays are those of people who follow one another."""
    return all(
        _alike(one.back_s, other.front_s, PACE) and (_alike(*one, EVEN) or _alike(*other, EVEN))
        for one, other in pairwise(lags)
    )
