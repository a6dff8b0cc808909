"""The judge of `tests.bench.lives` finds each kind of fault in a short story of two boots."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.bench.judge import BAD, Life, Limit, judge
from tests.bench.kernel import Kernel

BEGAN = datetime(2026, 11, 22, 6, tzinfo=UTC)
Records = list[tuple[tuple[int, int], str, dict[str, Any]]]


def stamp(boot: int, uptime_s: float) -> str:
    """Return the true time: boot 2 begins a day after boot 1."""
    return (BEGAN + timedelta(days=boot - 1, seconds=uptime_s)).isoformat()


def state(boot: int, seq: int, uptime_s: float, entered: int) -> tuple[Any, str, dict[str, Any]]:
    capacity = {"entered_total": entered, "left_total": 0, "quality": "ok"}
    return record("state", boot, seq, uptime_s, capacity=capacity)


def record(
    kind: str, boot: int, seq: int, uptime_s: float, **more: Any
) -> tuple[Any, str, dict[str, Any]]:
    ts = stamp(boot, uptime_s)
    body = {"boot": boot, "seq": seq, "uptime_s": uptime_s, "ts": ts, "clock": "synced"}
    return (boot, seq), kind, body | more


class Story:
    """Two boots with one life each; in each, two people enter and mains is lost."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lives = [self._life(1, entered_before=0), self._life(2, entered_before=2)]
        self.records: Records = [
            entry
            for boot in (1, 2)
            for entry in (
                state(boot, 1, 21.0, 2 * boot - 2),
                record("event", boot, 2, 301.0, event="mains_lost", detail={}),
                state(boot, 3, 302.0, 2 * boot - 1),
                state(boot, 4, 400.0, 2 * boot),
            )
        ]
        self.records.insert(4, ((1, 2), "history", self.records[1][2]))  # sent again
        self.excused: set[tuple[int, int]] = set()
        self.limits: list[Limit] = []

    def _life(self, boot: int, entered_before: int) -> Life:
        truth = self.directory / f"truth-{boot}"
        facts = [(20.0, "mains_lost"), (20.5, "mains_restored"), (100.0, "entered")]
        facts += [(300.0, "mains_lost"), (350.0, "entered")]
        lines = (json.dumps({"uptime_s": at_s, "what": what}) for at_s, what in facts)
        truth.write_text("".join(line + "\n" for line in lines))
        kernel = Kernel(100.0, f"boot-{boot}", 0.0, stamp(boot, 0.0))
        occupancy = {"entered_total": entered_before + 2, "left_total": 0}
        ledger = {
            "boot": boot,
            "boot_id": kernel.boot_id,
            "seq": 4,
            "uptime_s": 400.0,
            "totals": {"occupancy": occupancy},
        }
        return Life(kernel, truth, "" if boot == 1 else "reboot", [0.0], ledger=ledger)

    def findings(self) -> dict[str, Any]:
        return judge(self.lives, self.records, self.excused, self.limits)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_a_good_story_is_good(story: Story) -> None:
    found = story.findings()
    assert not found["bad"]
    assert (found["made"], found["boots"], found["sent_again"]) == (8, 2, 1)


def loses(story: Story) -> None:
    del story.records[-1]


def skips(story: Story) -> None:
    del story.records[-2]
    story.lives[1].ledger = None  # nothing else knows of the number


def says_two_things(story: Story) -> None:
    other = copy.deepcopy(story.records[3])
    other[2]["capacity"]["entered_total"] = 7
    story.records.append(other)


def reuses_a_boot(story: Story) -> None:
    story.lives.append(replace(story.lives[1], kernel=replace(story.lives[1].kernel, boot_id="x")))
    assert story.lives[2].ledger is not None
    story.lives[2].ledger = story.lives[2].ledger | {"boot_id": "x"}


def falls_back(story: Story) -> None:
    story.lives.append(story.lives[0])


def stamps_an_absurd_time(story: Story) -> None:
    story.records[0][2]["ts"] = "1970-01-01T00:00:20+00:00"


def stamps_late(story: Story) -> None:
    story.records[0][2]["ts"] = stamp(1, 21.0 + 20.0)


def dates_mains_by_the_flush(story: Story) -> None:
    at_s = 340.0
    story.records[1][2].update(uptime_s=at_s, ts=stamp(1, at_s))


def sends_an_older_state(story: Story) -> None:
    story.records[2], story.records[3] = story.records[3], story.records[2]


def sends_history_backwards(story: Story) -> None:
    late = [(number, "history", body) for number, _, body in story.records[2:4]]
    story.records[2:4] = reversed(late)


def forgets_a_passage_at_the_start(story: Story) -> None:
    for number, _, body in story.records:
        if number[0] == 2 and "capacity" in body:
            body["capacity"]["entered_total"] -= 1


def counts_nobody(story: Story) -> None:
    for number, _, body in story.records:
        if number[0] == 2 and "capacity" in body:
            body["capacity"]["entered_total"] = 2
    assert story.lives[1].ledger is not None
    story.lives[1].ledger["totals"]["occupancy"]["entered_total"] = 2
    story.records[-1][2]["uptime_s"] += 60.0  # long after the passage
    story.records[-1][2]["ts"] = stamp(2, 460.0)


FAULTS: dict[str, tuple[Callable[[Story], None], ...]] = {
    "lost": (loses,),
    "skipped": (skips,),
    "ambiguous": (says_two_things,),
    "boots_reused": (reuses_a_boot,),
    "boots_fallen": (falls_back,),
    "misdated": (stamps_an_absurd_time, stamps_late),
    "mains_misdated": (dates_mains_by_the_flush,),
    "disordered": (sends_history_backwards,),
    "stale_states": (sends_an_older_state,),
    "totals_wrong": (forgets_a_passage_at_the_start,),
    "counts_wrong": (counts_nobody,),
}


@pytest.mark.parametrize("kind", BAD)
def test_each_kind_of_fault_is_found(tmp_path: Path, kind: str) -> None:
    for number, fault in enumerate(FAULTS[kind]):
        directory = tmp_path / str(number)
        directory.mkdir()
        story = Story(directory)
        fault(story)
        assert story.findings()[kind], fault.__name__


def test_a_record_that_went_with_its_directory_is_not_lost(story: Story) -> None:
    story.excused = {(2, 4)}
    del story.records[-1]
    assert not story.findings()["bad"]


def test_a_time_service_that_lied_excuses_its_own_time_alone(story: Story) -> None:
    story.lives[0].errors_s.append(3700.0)
    story.records[0][2]["ts"] = stamp(1, 21.0 + 3700.0)
    assert not story.findings()["bad"]
    story.records[0][2]["ts"] = stamp(1, 21.0 + 3800.0)
    assert story.findings()["misdated"]


@pytest.mark.parametrize(("quality", "is_right"), [("estimated", True), ("ok", False)])
def test_after_damage_totals_may_be_five_minutes_old_if_they_say_so(
    story: Story, quality: str, is_right: bool
) -> None:
    forgets_a_passage_at_the_start(story)
    story.lives[1].before = "damage"
    for number, _, body in story.records:
        if number[0] == 2 and "capacity" in body:
            body["capacity"]["quality"] = quality
    assert (not story.findings()["totals_wrong"]) == is_right


@pytest.mark.parametrize(
    ("limit", "is_late_by_size"),
    [
        (Limit(100, after=2, until_s=5.0), True),
        (Limit(1000, after=2, until_s=5.0), False),  # large enough
        (Limit(100, after=6, until_s=5.0), False),  # when the record had arrived
        (
            Limit(100, after=2, until_s=2.0),
            False,
        ),  # over when the record was made, in real second 2.8
    ],
)
def test_only_a_limit_of_its_time_excuses_a_late_record(
    story: Story, limit: Limit, is_late_by_size: bool
) -> None:
    sends_history_backwards(story)
    story.limits = [limit]
    found = story.findings()
    assert (found["late_by_size"], found["disordered"]) == (is_late_by_size, not is_late_by_size)


def test_a_life_that_ended_before_it_opened_a_copy_has_no_number(story: Story) -> None:
    copied = story.lives[1].ledger
    later = Life(story.lives[1].kernel, story.directory / "none", "copy, same boot", [0.0])
    assert copied is not None
    story.lives[1].ledger = copied | {"boot": 3}
    later.ledger = copied
    story.lives.append(later)
    assert story.findings()["boots_fallen"]
    later.found = copied
    assert not story.findings()["boots_fallen"]
    of_copy = replace(later, before="", found=None)
    story.lives.append(of_copy)  # in the same boot, where the trace knows of boot 3
    assert story.findings()["boots_fallen"]
    of_copy.kernel = replace(later.kernel, boot_id="boot-4")
    of_copy.ledger = copied | {"boot_id": "boot-4"}
    assert not story.findings()["boots_fallen"]
