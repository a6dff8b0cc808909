"""The client of the control socket: the unit's answers, and those of other versions and programs."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from publisher import control
from publisher.clock import Clock
from publisher.commands import OUT_OF_RANGE, TOO_MANY
from publisher.control import NONSENSE, BacklogPage, Control, ControlError, LogPage
from publisher.status import Status
from publisher.unit.hour import LastHour
from sensors.simulated.hardware import SimulatedHardware
from technician import cli, client
from technician.client import Refusal
from technician.doctor.examination import examine
from technician.terminal import FAILED
from technician.words import translated
from tests.conftest import Unit, all_well, wait_for
from tests.test_technician_cli import MINIMAL

Place = tuple[str | int, ...]
Answer = Callable[[Any], dict[str, Any]]


@contextmanager
def answering(directory: Path, answer: Answer) -> Iterator[None]:
    """Have another program, or an agent of another version, listen in a state directory."""
    served = Control(directory, answer)
    served.start()
    yield
    served.close()


@pytest.fixture
def answers(unit: Unit) -> dict[str, dict[str, Any]]:
    """What a whole unit answers, by command."""
    unit.start()
    wait_for(lambda: all_well(unit.status()), "all sensors")
    requests: dict[str, dict[str, Any]] = {
        "status": {},
        "recent": {},
        "log": {"since": ""},
        "backlog": {"after": 0, "until": None},
    }
    found = {
        name: control.ask(unit.state_dir, {"command": name, **arguments})
        for name, arguments in requests.items()
    }
    unit.stop()
    return found


def places(value: Any, kind: Any, place: Place = ()) -> Iterator[Place]:
    """Yield where an answer has the keys that its kind requires."""
    if is_typeddict(kind):
        for key, inner in get_type_hints(kind).items():
            if key in kind.__required_keys__:
                yield (*place, key)
            if key in value:
                yield from places(value[key], inner, (*place, key))
    elif get_origin(kind) is list and value:
        yield from places(value[0], get_args(kind)[0], (*place, 0))


def changed(answer: dict[str, Any], place: Place, change: Callable[[Any, Any], None]) -> Any:
    """Return an answer in which `change` was applied to the key at a place."""
    answer = copy.deepcopy(answer)
    part: Any = answer
    for key in place[:-1]:
        part = part[key]
    change(part, place[-1])
    return answer


def put(value: object, part: Any, key: Any) -> None:
    part[key] = value


def named(place: Place) -> str:
    """Return a place as the trouble names it."""
    return ".".join(map(str, place)).replace(".0", "[]")


KINDS: list[tuple[str, Any, Callable[[Path], object], int]] = [
    ("status", Status, client.status, 100),
    ("recent", LastHour, client.last_hour, 10),
    ("log", LogPage, lambda directory: client.log_page(directory, ""), 7),
    ("backlog", BacklogPage, lambda directory: client.backlog_page(directory, 0, None), 3),
]


def test_a_whole_unit_answers_what_is_expected_and_each_missing_key_is_named(
    answers: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    sent: dict[str, Any] = {}
    with answering(tmp_path, lambda _: sent):
        for command, kind, ask, least in KINDS:
            sent = answers[command]
            assert ask(tmp_path) == sent
            required = [*places(sent, kind)]
            assert len(required) >= least
            for place in required:
                sent = changed(answers[command], place, lambda part, key: part.pop(key))
                with pytest.raises(ControlError) as caught:
                    ask(tmp_path)
                assert caught.value.kind == NONSENSE
                assert caught.value.values["flaw"] == named(place)


def test_values_of_another_type_are_named(
    answers: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    sent: dict[str, Any] = {}
    with answering(tmp_path, lambda _: sent):
        for place, value in (
            (("id",), None),
            (("uptime_s",), True),
            (("buffer",), []),
            (("buffer", "rows"), 1.5),
            (("sensors",), {}),
            (("sensors", 0), "battery"),
            (("link", "puback_s"), "0.1"),
            (("power", "battery"), None),
        ):
            sent = changed(answers["status"], place, partial(put, value))
            with pytest.raises(ControlError) as caught:
                client.status(tmp_path)
            assert caught.value.values["flaw"] == named(place)


@pytest.mark.parametrize(
    "command",
    [
        ("status",), ("status", "--json"), ("watch", "--once"), ("log",), ("headcount", "3"),
        ("open",), ("close",), ("zero", "battery"), ("serviced",),
    ],
)  # fmt: skip
def test_a_foreign_answer_is_a_trouble_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    with answering(tmp_path, lambda _: {"ok": True}):
        assert cli.main([*command, "--state-dir", str(tmp_path)]) == FAILED
    seen = capsys.readouterr()
    assert "makes no sense" in seen.err
    assert "sudo systemctl restart tentwatch" in seen.err
    assert not seen.out


def test_with_a_foreign_answer_an_export_has_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, stick = tmp_path / "state", tmp_path / "stick"
    state.mkdir()
    stick.mkdir()
    with answering(state, lambda _: {"ok": True}):
        assert cli.main(["export", str(stick), "--state-dir", str(state)]) == FAILED
    assert "makes no sense" in capsys.readouterr().err
    [folder] = stick.iterdir()
    assert (folder / "diagnosis" / "versions.json").exists()


def test_doctor_names_an_agent_of_another_version(tmp_path: Path) -> None:
    file, state = tmp_path / "tentwatch.toml", tmp_path / "state"
    file.write_text(MINIMAL.format(port=1, more=""))
    state.mkdir()
    hardware = SimulatedHardware(tmp_path, Clock())
    hardware.root = tmp_path
    with answering(state, lambda _: {"ok": True, "software": "0.0.1"}):
        report = examine(file, state, hardware, Clock())
    hardware.close()
    running = next(f for f in report.findings if f.key == "service.running")
    assert running.cure is not None
    assert "of another version" in running.cure.here()


def test_a_refusal_is_reported_in_the_terminals_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Refusal(OUT_OF_RANGE, key="people", low=0, high=600)
    with answering(tmp_path, lambda _: control.refusal(refused)), pytest.raises(Refusal) as caught:
        client.headcount(tmp_path, 601)
    assert (caught.value.kind, caught.value.values) == (refused.kind, refused.values)
    refused = Refusal(TOO_MANY)
    with answering(tmp_path, lambda _: control.refusal(refused)), pytest.raises(Refusal) as caught:
        client.headcount(tmp_path, 6)
    monkeypatch.setattr("technician.words._", str.upper)
    assert translated(caught.value) == "TOO MANY COMMANDS: TRY AGAIN IN TWO MINUTES"


@pytest.mark.parametrize(
    "trouble",
    [
        None,
        "a text",
        {},
        {"code": "command.of_a_later_version", "values": {}},
        {"code": "command.out_of_range", "values": {}},
        {"code": "command.out_of_range"},
        {"code": ["command.expired"], "values": {}},
    ],
)
def test_a_refusal_that_is_not_known_here_is_reported_in_english(
    tmp_path: Path, trouble: object
) -> None:
    answer = {"ok": False, "error": "no {such} thing", "trouble": trouble}
    with answering(tmp_path, lambda _: answer), pytest.raises(Refusal) as caught:
        client.ask(tmp_path, "report")
    assert translated(caught.value) == "no {such} thing"


@pytest.mark.parametrize("answer", [{}, {"ok": False}, {"ok": 1}, {"ok": False, "error": ""}])
def test_a_refusal_without_a_reason_makes_no_sense(tmp_path: Path, answer: dict[str, Any]) -> None:
    with answering(tmp_path, lambda _: answer), pytest.raises(ControlError) as caught:
        client.ask(tmp_path, "report")
    assert caught.value.kind == NONSENSE
