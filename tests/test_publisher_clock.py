"""The time of day: when it is trusted, and how it is reported before."""

import ctypes
import struct
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher import clock
from publisher.clock import (
    END,
    EPOCH,
    LONGEST_UPTIME_S,
    Clock,
    DemoClock,
    Now,
    boot_id,
    kernel_is_synced,
    timestamp,
)
from technician.screen.screen import clock_text
from tests.tents import NOON, Kernel


def test_the_monotonic_clock_and_the_uptime_are_the_kernels() -> None:
    earlier_s, earlier_up_s = time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)
    now = Clock().now()
    assert earlier_s <= now.monotonic_s <= time.monotonic()
    assert earlier_up_s <= now.uptime_s <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_it_never_goes_back() -> None:
    clock = Clock()
    seen = [clock.now() for _ in range(1000)]
    assert [now.monotonic_s for now in seen] == sorted(now.monotonic_s for now in seen)
    assert [now.uptime_s for now in seen] == sorted(now.uptime_s for now in seen)


class Adjtimex:
    """The kernel's side of adjtimex(2)."""

    def __init__(self, *, maxerror_us: int, status: int, returns: int = 0) -> None:
        self._maxerror_us, self._status, self._returns = maxerror_us, status, returns

    def adjtimex(self, timex: Any) -> int:
        timex._obj.maxerror, timex._obj.status = self._maxerror_us, self._status
        return self._returns


STA_PLL, STA_UNSYNC, TIME_ERROR = 0x0001, 0x0040, 5  # linux/timex.h


@pytest.mark.parametrize(
    ("kernel", "is_synced"),
    [
        (Adjtimex(maxerror_us=9_776, status=STA_UNSYNC, returns=TIME_ERROR), True),
        (Adjtimex(maxerror_us=9_776, status=STA_PLL), True),
        (Adjtimex(maxerror_us=15_999_999, status=STA_PLL), True),
        (Adjtimex(maxerror_us=16_000_000, status=STA_UNSYNC, returns=TIME_ERROR), False),
        (Adjtimex(maxerror_us=16_000_000, status=STA_PLL), False),
        (Adjtimex(maxerror_us=0, status=STA_PLL, returns=-1), False),
    ],
    ids=["chrony without rtcsync", "timesyncd", "long ago", "never", "too long ago", "refused"],
)
def test_the_kernels_clock_is_synchronised_while_its_error_has_a_bound(
    kernel: Adjtimex, is_synced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_libc", kernel)
    assert kernel_is_synced() is is_synced


def test_the_error_is_read_where_the_kernel_writes_it() -> None:
    """struct timex: modes (int), offset, freq, maxerror (long each)."""
    told = ctypes.create_string_buffer(1024)
    assert ctypes.CDLL(None).adjtimex(told) >= 0
    [error_us] = struct.unpack_from("@I l l l", told)[3:]
    assert kernel_is_synced() is (error_us < 16_000_000)


@pytest.fixture(params=[True, False])
def synced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Set whether the kernel's clock is synchronised, in place of the test machine's."""
    is_synced: bool = request.param
    monkeypatch.setattr(clock, "kernel_is_synced", lambda: is_synced)
    return is_synced


def test_a_time_that_can_be_is_told_with_what_it_is_worth(synced: bool) -> None:
    now = Clock().now()
    assert now.wall is not None
    assert abs(now.wall - datetime.now(UTC)) < timedelta(minutes=1)
    assert now.synced is synced


def test_a_time_before_the_last_record_is_none_unless_the_kernel_vouches_for_it(
    synced: bool,
) -> None:
    clock = Clock()
    clock.trust_from(datetime.now(UTC) + timedelta(days=1))
    assert (clock.now().wall is not None) is synced
    clock.trust_from(EPOCH)  # an earlier record changes nothing
    assert (clock.now().wall is not None) is synced


def test_the_demonstrations_clock_runs_faster_from_the_present_on() -> None:
    clock = DemoClock(speed=1e6)
    first, began = clock.now(), datetime.now(UTC)
    assert first.wall is not None
    assert first.synced
    second = clock.now()
    while second.monotonic_s < first.monotonic_s + 3600:  # 3.6 ms of real time
        second = clock.now()
    assert second.wall is not None
    passed_s = second.monotonic_s - first.monotonic_s
    assert (second.wall - first.wall).total_seconds() == pytest.approx(passed_s, abs=0.01)
    assert second.uptime_s - first.uptime_s == pytest.approx(passed_s, abs=0.01)
    assert clock.uptime_at(second.monotonic_s) == pytest.approx(second.uptime_s)
    assert first.wall - began < timedelta(days=1)


class SetKernel(Kernel):
    """A kernel that begins unsynchronised; its clock is set later."""

    def __init__(self) -> None:
        super().__init__(Now(3.0, 100.0, NOON, synced=False))

    def at(self, uptime_s: float, wall: datetime, *, synced: bool) -> Now:
        self.says = Now(uptime_s - 97.0, uptime_s, wall, synced)
        return self.now()


def test_a_clock_that_is_no_longer_synchronised_counts_on_whatever_it_is_set_to() -> None:
    kernel = SetKernel()
    guess = kernel.now()
    assert (guess.is_certain, guess.began) == (False, None)
    assert kernel.at(200.0, NOON + timedelta(hours=5), synced=True).is_certain
    for set_to in (NOON - timedelta(days=9000), NOON + timedelta(days=9000)):
        now = kernel.at(260.0, set_to, synced=False)
        assert (now.synced, now.held, now.is_certain) == (False, True, True)
        assert now.wall == NOON + timedelta(hours=5, minutes=1)
        assert now.began == NOON + timedelta(hours=5, seconds=-200)
    now = kernel.at(300.0, NOON - timedelta(days=30), synced=True)  # its status counts
    assert (now.wall, now.held) == (NOON - timedelta(days=30), False)
    assert kernel.at(301.0, NOON, synced=False).wall == NOON - timedelta(days=30, seconds=-1)


def test_what_an_earlier_run_in_this_boot_knew_of_the_time_is_gone_on_with() -> None:
    kernel = SetKernel()
    kernel.hold(None)
    assert not kernel.now().is_certain
    kernel.hold(NOON - timedelta(seconds=40))
    now = kernel.now()
    assert (now.wall, now.held) == (NOON + timedelta(seconds=60), True)
    kernel.hold(None)
    assert kernel.now() == now


def test_a_guess_that_is_late_is_still_a_guess() -> None:
    kernel = SetKernel()
    kernel.trust_from(NOON)
    for years, wall in ((-10, None), (70, NOON.replace(year=2096))):
        now = kernel.at(101.0, NOON.replace(year=2026 + years), synced=False)
        assert (now.wall, now.is_certain, now.began) == (wall, False, None)


@pytest.mark.parametrize("year", [1970, 1999, 2025, 2200, 2201, 9998])
def test_a_time_that_cannot_be_is_no_time_whoever_vouches_for_it(year: int) -> None:
    kernel = SetKernel()
    absurd = datetime(year, 6, 1, tzinfo=UTC)
    now = kernel.at(200.0, absurd, synced=True)
    assert (now.wall, now.synced, now.is_certain) == (None, False, False)
    kernel.at(300.0, NOON, synced=True)
    now = kernel.at(360.0, absurd, synced=True)  # what was known goes on
    assert (now.wall, now.synced, now.held) == (NOON + timedelta(minutes=1), False, True)


@pytest.mark.parametrize("began", [EPOCH - timedelta(days=400), END - timedelta(seconds=90)])
def test_a_time_that_is_counted_on_ends_where_none_can_be(began: datetime) -> None:
    kernel = SetKernel()
    kernel.hold(began)
    now = kernel.at(200.0, NOON, synced=False)
    assert (now.wall, now.is_certain) == (NOON, False)


@given(
    st.builds(
        Now,
        st.floats(0.0, 1e9),
        st.floats(0.0, LONGEST_UPTIME_S),
        st.one_of(st.none(), st.datetimes(timezones=st.just(UTC))),
        st.booleans(),
    )
)
def test_a_time_is_none_or_can_be(says: Now) -> None:
    now = Kernel(says).now()
    assert now.wall is None or EPOCH <= now.wall < END
    assert now.synced == (says.synced and now.wall is not None)


def test_a_boot_has_one_name() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) == 36


def test_timestamps_are_utc_with_milliseconds() -> None:
    wall = datetime(2026, 11, 22, 20, 4, 10, 120_999, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(wall) == "2026-11-22T18:04:10.120Z"
    assert timestamp(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
    assert timestamp(None) is None


@pytest.mark.parametrize(
    ("ts", "clock", "text"),
    [
        (None, "unsynced", "time not known"),
        ("2026-11-22T10:00:00.000Z", "unsynced", "2026-11-22 10:00:00 UTC (not checked)"),
        ("2026-11-22T10:00:00.000Z", "synced", "2026-11-22 10:00:00 UTC"),
    ],
)
def test_a_technician_is_told_what_the_time_is_worth(ts: str | None, clock: str, text: str) -> None:
    assert clock_text({"ts": ts, "clock": clock}) == text


def test_an_earlier_instant_is_earlier_on_every_clock() -> None:
    now = Now(100.0, 500.0, datetime(2026, 11, 22, 18, tzinfo=UTC), synced=True)
    assert now.back_to(90.0) == Now(
        90.0, 490.0, datetime(2026, 11, 22, 17, 59, 50, tzinfo=UTC), synced=True
    )
    assert now.back_to(101.0) == now
    assert Now(100.0, 500.0, None, synced=False).back_to(99.0).wall is None
