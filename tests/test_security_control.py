"""The control socket: who may use it, and peers that are hostile or idle."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from publisher import control
from publisher.control import MAX_BYTES, MAX_PEERS, Control, ControlError
from tests.conftest import PATIENCE_S, wait_for

STRANGERS_GROUP = 64_321


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """A directory with a control socket that returns each request."""
    served = Control(tmp_path, lambda request: {"ok": True, "asked": request})
    served.start()
    yield tmp_path
    served.close()
    assert not served._thread.is_alive()


def peer_of(directory: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(PATIENCE_S)
    peer.connect(str(directory / control.FILE))
    return peer


def said_by(peer: socket.socket) -> bytes:
    said = b""
    while piece := peer.recv(65536):
        said += piece
    return said


def ask(directory: Path) -> Any:
    return control.ask(directory, {"command": "status"})["asked"]


def test_idle_peers_delay_nobody(served: Path) -> None:
    """Waiting for each of them would take seconds, and a queue of them would shut others out."""
    idle = [peer_of(served) for _ in range(MAX_PEERS)]
    for peer in idle[::2]:
        peer.sendall(b'{"command": "sta')
    for _ in range(3):
        assert ask(served) == {"command": "status"}
    assert idle[0].recv(1) == b"", "the one who has hesitated longest is hung up on"
    idle[-1].sendall(b'"late"\n')
    assert json.loads(said_by(idle[-1])) == {"ok": True, "asked": "late"}
    for peer in idle:
        peer.close()


def test_one_who_asks_and_never_reads_delays_nobody(served: Path) -> None:
    deaf = [peer_of(served) for _ in range(4)]
    for peer in deaf:
        peer.sendall(json.dumps({"x": "y" * 3000}).encode() + b"\n")
    assert ask(served) == {"command": "status"}
    for peer in deaf:
        peer.close()


def test_a_request_in_pieces_is_a_request(served: Path) -> None:
    peer = peer_of(served)
    for byte in b'{"command": "status"}\n':
        peer.sendall(bytes([byte]))
    assert json.loads(said_by(peer))["asked"] == {"command": "status"}


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{\n",
        b"\xff\n",
        b"NaN\n",
        b"[" * (MAX_BYTES - 1) + b"\n",
        b"9" * (MAX_BYTES * 3),
        b"x" * MAX_BYTES,
        b'{"a": "\\ud800"}\n',
        b"\0" * 100 + b"\n",
    ],
)
def test_nonsense_is_answered_or_hung_up_on(served: Path, line: bytes) -> None:
    with peer_of(served) as peer:
        peer.sendall(line)
        try:
            said = said_by(peer)
        except ConnectionResetError:  # it sent more than the server reads
            said = b""
    if said:
        json.loads(said)
    assert ask(served) == {"command": "status"}


def test_half_a_line_and_a_hang_up_is_no_matter(served: Path) -> None:
    for half in (b"", b"{", b'{"command": "status"}'):
        with peer_of(served) as peer:
            peer.sendall(half)
    assert ask(served) == {"command": "status"}


def test_a_hundred_at_once_are_all_served_or_told(served: Path) -> None:
    found: list[str] = []

    def one() -> None:
        try:
            found.append(ask(served)["command"])
        except ControlError as error:
            found.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(found) == 100
    assert found.count("status") > MAX_PEERS


def test_an_agent_that_hangs_is_named_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "TIMEOUT_S", 0.2)
    hung = threading.Event()

    def hang(request: Any) -> dict[str, Any]:
        hung.wait(PATIENCE_S)
        return {}

    served = Control(tmp_path, hang)
    served.start()
    with pytest.raises(ControlError, match="if it hangs, it is started again"):
        ask(tmp_path)
    hung.set()
    served.close()


# Permissions


ASK = """
import os, sys
from pathlib import Path
from publisher import control# while its files can still be read
os.setgroups([int(group) for group in sys.argv[2].split()])
os.setgid(65534)
os.setuid(65534)
try:
    print(control.ask(Path(sys.argv[1]), {"command": "status"}))
except control.ControlError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TRIED: only root can act as another user")
def test_the_group_may_ask_and_nobody_else() -> None:
    """With the unit's modes: StateDirectoryMode=0750, group of the service; peers are user nobody."""
    with tempfile.TemporaryDirectory(prefix="tentwatch-control-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        state = directory / "state"
        state.mkdir(mode=0o750)
        os.chown(state, 0, STRANGERS_GROUP)
        served = Control(state, lambda _: {"ok": True})
        os.chown(state / control.FILE, 0, STRANGERS_GROUP)
        served.start()

        def ask_as(groups: str) -> str:
            done = subprocess.run(
                [sys.executable, "-c", ASK, state, groups],
                capture_output=True, text=True, check=True, timeout=PATIENCE_S,
            )  # fmt: skip
            return done.stdout

        try:
            assert ask_as(str(STRANGERS_GROUP)) == "{'ok': True}\n"
            assert "use sudo, or join group tentwatch" in ask_as("")
            state.chmod(0o755)  # with the directory open to all, the socket's own mode protects it
            assert "use sudo, or join group tentwatch" in ask_as("")
        finally:
            served.close()
    wait_for(lambda: not served._thread.is_alive(), "the end of the thread")


def test_a_directory_in_the_sockets_place_is_set_aside(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / control.FILE / "x").mkdir(parents=True)
        served = Control(tmp_path, lambda request: {"asked": request})
        served.start()
        assert ask(tmp_path) == {"command": "status"}
        served.close()
        assert (tmp_path / f"{control.FILE}.odd-{number}" / "x").is_dir()


def test_an_answer_of_any_length_arrives_whole(tmp_path: Path) -> None:
    """It is sent as fast as the peer reads; a peer that does not read delays nobody."""
    served = Control(tmp_path, lambda request: {"asked": "x" * 3_000_000})
    served.start()
    deaf = peer_of(tmp_path)
    deaf.sendall(b'{"command": "status"}\n')
    assert ask(tmp_path) == "x" * 3_000_000
    assert json.loads(said_by(deaf))["asked"] == "x" * 3_000_000
    deaf.close()
    served.close()
