"""The backlog without a socket: which rows come next, how large a message may be, and when it goes."""

from collections.abc import Callable

import pytest

from publisher.link import backlog as module
from publisher.link.backlog import AROUND_RECORDS, FIRST_ROOM, LEAST_ROOM, NO_LIMIT, Backlog, Sizes
from publisher.link.in_flight import InFlight, Sent
from publisher.link.link import (
    FIRST_WAIT_S,
    GOOD_SESSION_S,
    TWIN_MEMORY_S,
    TWIN_WAIT_S,
    Pauses,
)
from publisher.link.requests import COMMANDS_PER_S, MOST_COMMANDS, Allowance
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


def test_a_record_that_was_too_large_is_not_tried_again_for_an_hour() -> None:
    sizes = Sizes()
    assert (sizes.payload(0.0), sizes.room(0.0)) == (NO_LIMIT, NO_LIMIT)
    sizes.refused(5000, 10.0, is_divisible=False)
    assert (sizes.payload(11.0), sizes.room(11.0)) == (4999, NO_LIMIT)
    sizes.refused(4000, 20.0, is_divisible=True)
    assert (sizes.payload(21.0), sizes.room(21.0)) == (4999, 2000)
    later_s = 21.0 + module.SIZE_MEMORY_S
    assert (sizes.payload(later_s), sizes.room(later_s)) == (NO_LIMIT, NO_LIMIT)
    sizes.refused(4000, later_s, is_divisible=True)
    assert sizes.payload(later_s) == NO_LIMIT, "what was forgotten does not come back"


def test_sessions_that_end_on_a_message_twice_in_a_row_halve_it() -> None:
    sizes = Sizes()
    sizes.suspect(8000, 1.0)
    sizes.acquit()
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
