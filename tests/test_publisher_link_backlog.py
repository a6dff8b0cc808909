"""The backlog without a socket: which rows come next, how large a message may be, and when it goes."""

from collections.abc import Callable

import pytest

from publisher.link import backlog as module
from publisher.link.backlog import AROUND_RECORDS, FIRST_ROOM, Backlog
from publisher.link.in_flight import InFlight, Sent
from publisher.link.link import (
    FIRST_WAIT_S,
    GOOD_SESSION_S,
    TWIN_MEMORY_S,
    TWIN_WAIT_S,
    Pauses,
)
from publisher.link.requests import COMMANDS_PER_S, MOST_COMMANDS, Allowance
from publisher.link.sizes import FIRST_WAIT_S as FIRST_SIZE_WAIT_S
from publisher.link.sizes import LEAST_ROOM, LONGEST_WAIT_S, NO_LIMIT, ROOM_MEMORY_S, Sizes
from publisher.messages import HISTORY_MAX_BYTES
from publisher.store.rows import Row


class Rows:
    """Rows that the store holds, of 1,000 bytes each."""

    def __init__(self, *ids: int) -> None:
        self.rows = [Row(i, "event", 1, 1.0, 0, "x" * 1000) for i in ids]
        self.asked: list[int] = []

    def backlog(self, after_id: int, until_id: int, max_bytes: int) -> list[Row]:
        self.asked.append(max_bytes)
        found = [row for row in self.rows if after_id < row.id <= until_id]
        return found[: max(1, max_bytes // 1000)]


def longest(low: float, high: float) -> float:
    """Draw the largest of random numbers."""
    return high


@pytest.fixture
def backlog() -> Backlog:
    backlog = Backlog(bytes_per_s=1000.0, uniform=longest)
    backlog.begin(until=100, now_s=50.0, spread_s=10.0)
    return backlog


def ids(rows: list[Row]) -> list[int]:
    return [row.id for row in rows]


def test_it_begins_after_a_while_and_goes_on_to_its_end(backlog: Backlog) -> None:
    assert backlog.due_s == 60.0
    store = Rows(*range(1, 11), 101)
    assert ids(backlog.rows(store, NO_LIMIT, set())) == [*range(1, 8)]
    assert not backlog.is_drained
    assert ids(backlog.rows(store, NO_LIMIT, set())) == [8, 9, 10]
    assert backlog.rows(store, NO_LIMIT, set()) == []
    assert backlog.is_drained


def test_rows_that_are_on_their_way_are_left_out_and_not_the_end(backlog: Backlog) -> None:
    store = Rows(1, 2)
    assert backlog.rows(store, NO_LIMIT, {1, 2}) == []
    assert not backlog.is_drained
    backlog.start_over()
    assert ids(backlog.rows(store, NO_LIMIT, {2})) == [1]


def test_what_was_overtaken_is_taken_in(backlog: Backlog) -> None:
    store = Rows(1, 101, 102)
    assert ids(backlog.rows(store, NO_LIMIT, set())) == [1]
    assert backlog.rows(store, NO_LIMIT, set()) == []
    backlog.extend(101)
    assert not backlog.is_drained
    assert ids(backlog.rows(store, NO_LIMIT, set())) == [101]
    backlog.extend(7)
    assert backlog.until == 101, "it never shrinks"


def test_a_refusal_starts_over_and_waits(backlog: Backlog) -> None:
    store = Rows(1)
    backlog.rows(store, NO_LIMIT, set())
    backlog.start_over(not_before_s=90.0)
    assert backlog.due_s == 90.0
    assert ids(backlog.rows(store, NO_LIMIT, set())) == [1]
    backlog.start_over()
    assert backlog.due_s == 90.0


def room(backlog: Backlog, largest: int = NO_LIMIT) -> int:
    store = Rows()
    backlog.rows(store, largest, set())
    return store.asked[0]


def test_messages_grow_while_they_are_confirmed_quickly(backlog: Backlog) -> None:
    assert room(backlog) == FIRST_ROOM - AROUND_RECORDS
    backlog.heard(0.1)
    for _ in range(10):
        backlog.confirmed(8000, took_s=0.5, now_s=60.0)
    assert room(backlog) == HISTORY_MAX_BYTES - AROUND_RECORDS
    backlog.confirmed(8000, took_s=1.5, now_s=60.0)
    assert room(backlog) == HISTORY_MAX_BYTES - AROUND_RECORDS, "neither quick nor slow"
    for _ in range(10):
        backlog.confirmed(8000, took_s=9.0, now_s=60.0)
    assert room(backlog) == LEAST_ROOM - AROUND_RECORDS
    assert room(backlog, largest=100) == 0, "what the broker takes counts"


def test_its_pace_is_the_configured_one_or_what_the_broker_bears(backlog: Backlog) -> None:
    backlog.sent(4000, now_s=60.0)
    assert backlog.due_s == 60.0 + 4.0 * 1.25
    backlog.confirmed(4000, took_s=0.1, now_s=60.5)
    assert backlog.due_s == 65.0, "a quick PUBACK changes nothing"
    backlog.confirmed(4000, took_s=2.0, now_s=64.0)
    assert backlog.due_s == 64.0 + 4.0 * 1.25
    backlog.confirmed(4000, took_s=20.0, now_s=90.0)
    assert backlog.due_s == 90.0 + module.LONGEST_REST_S * 1.25


def test_only_what_is_larger_than_all_that_got_through_is_suspect(backlog: Backlog) -> None:
    assert not backlog.is_suspect(0), "nothing was on its way"
    assert backlog.is_suspect(4000)
    backlog.confirmed(4000, took_s=0.1, now_s=60.0)
    assert not backlog.is_suspect(4000)
    assert backlog.is_suspect(4001)


# What a broker takes


def refuse(sizes: Sizes, size: int, now_s: float, *, ended_session: bool = False) -> None:
    sizes.refused("state", size, now_s, is_divisible=False, ended_session=ended_session)


def test_a_refused_size_is_tried_again_after_waits_that_double() -> None:
    sizes = Sizes()
    assert sizes.takes("state", 5000, 0.0)
    now_s, waits_s = 10.0, []
    for _ in range(12):
        refuse(sizes, 5000, now_s)
        refuse(sizes, 4000, now_s)  # it was on its way
        assert not sizes.takes("state", 4000, now_s)
        assert sizes.takes("state", 3999, now_s)
        assert sizes.takes("event", 5000, now_s), "another kind"
        waits_s.append(sizes.again_s("state") - now_s)
        now_s = sizes.again_s("state")
        assert sizes.takes("state", 5000, now_s)
    assert waits_s[:3] == [FIRST_SIZE_WAIT_S, 2 * FIRST_SIZE_WAIT_S, 4 * FIRST_SIZE_WAIT_S]
    assert waits_s[-1] == LONGEST_WAIT_S


def test_a_confirmed_size_ends_its_limit() -> None:
    sizes = Sizes()
    refuse(sizes, 5000, 10.0)
    sizes.taken("state", 4999)
    sizes.taken("about", 6000)
    assert not sizes.takes("state", 5000, 10.0)
    sizes.taken("state", 5000)
    assert sizes.takes("state", 5000, 10.0)
    refuse(sizes, 5000, 20.0)
    assert sizes.again_s("state") == 20.0 + FIRST_SIZE_WAIT_S, "the first refusal again"


def test_a_limit_ends_with_its_session() -> None:
    sizes = Sizes()
    refuse(sizes, 5000, 10.0)
    sizes.refused("history", 4000, 10.0, is_divisible=True, ended_session=False)
    assert sizes.room(10.0) == 2000
    sizes.begin()
    assert sizes.takes("state", 5000, 10.0)
    assert sizes.room(10.0) == NO_LIMIT


def test_a_refusal_that_ended_the_session_is_tried_once_in_the_next_one_and_then_waits() -> None:
    sizes = Sizes()
    refuse(sizes, 5000, 10.0, ended_session=True)
    sizes.begin()
    assert sizes.takes("state", 5000, 10.0)
    refuse(sizes, 5000, 11.0, ended_session=True)
    sizes.begin()
    assert not sizes.takes("state", 5000, 11.0)
    assert sizes.takes("state", 5000, 11.0 + 2 * FIRST_SIZE_WAIT_S)
    sizes.refused("history", 4000, 12.0, is_divisible=True, ended_session=True)
    sizes.begin()
    assert sizes.room(12.0) == 2000
    assert sizes.room(12.0 + ROOM_MEMORY_S) == NO_LIMIT


def test_sessions_that_end_on_a_message_twice_in_a_row_halve_it() -> None:
    sizes = Sizes()
    sizes.suspect(8000, 1.0)
    sizes.taken("history", 10)
    sizes.suspect(8000, 2.0)
    assert sizes.room(2.0) == NO_LIMIT
    sizes.suspect(8000, 3.0)
    assert sizes.room(3.0) == 4000
    sizes.suspect(2500, 4.0)
    sizes.suspect(2500, 5.0)
    assert sizes.room(5.0) == LEAST_ROOM


# What waits for its PUBACK


def test_what_waits_is_counted_with_answers_apart() -> None:
    waiting = InFlight()
    assert (len(waiting), waiting.own, waiting.waits_s(9.0)) == (0, 0, 0.0)
    for number, kind, rows in ((1, "state", (7,)), (2, "res", ()), (3, "history", (3, 4))):
        waiting.add(number, Sent(kind, "topic", "payload", 7, rows, at_s=float(number)))
    assert (len(waiting), waiting.own, waiting.answers) == (3, 2, 1)
    assert waiting.ids() == {3, 4, 7}
    assert waiting.waits_s(9.0) == 8.0
    assert waiting.history() is not None
    assert waiting.take(9) is None, "it was never sent"
    for number in (1, 2, 3):
        assert waiting.take(number) is not None
        assert waiting.take(number) is None, "it was acknowledged already"
    assert (len(waiting), waiting.own, waiting.answers) == (0, 0, 0)
    assert waiting.history() is None


# Pauses between sessions


def after(pauses: Pauses, lasted_s: float, *, was_up: bool = False, is_twin: bool = False) -> float:
    return pauses.after(lasted_s, was_up=was_up, is_twin=is_twin)


def test_waits_double_up_to_the_longest_and_a_good_session_begins_anew() -> None:
    pauses = Pauses(60.0, longest)
    waits_s = [after(pauses, 1.0) for _ in range(8)]
    assert waits_s == [FIRST_WAIT_S * 2**n for n in range(6)] + [60.0, 60.0]
    assert after(pauses, GOOD_SESSION_S, was_up=True) == 60.0
    assert after(pauses, GOOD_SESSION_S + 1, was_up=True) == FIRST_WAIT_S


@pytest.mark.parametrize("draw", [min, max])
def test_two_units_with_one_id_do_not_fight_at_full_speed(
    draw: Callable[[float, float], float],
) -> None:
    pauses = Pauses(1000.0, draw)
    share = 0.5 if draw is min else 1.0
    for n in range(4):
        assert after(pauses, 1.0, was_up=True, is_twin=True) == share * TWIN_WAIT_S * 2**n
    after(pauses, TWIN_MEMORY_S, was_up=True)
    assert after(pauses, 1.0, is_twin=True) == share * TWIN_WAIT_S * 16
    after(pauses, TWIN_MEMORY_S + 1, was_up=True)
    assert after(pauses, 1.0, is_twin=True) == share * TWIN_WAIT_S


# Commands


def test_a_flood_of_commands_is_listened_to_in_part_and_then_again() -> None:
    allowance = Allowance(0.0)
    assert sum(allowance.take(0.0) for _ in range(1000)) == MOST_COMMANDS
    assert allowance.is_used_up
    assert sum(allowance.take(1.0) for _ in range(1000)) == COMMANDS_PER_S
    assert allowance.take(1.0 + MOST_COMMANDS / COMMANDS_PER_S)
    assert not allowance.is_used_up
