"""A virtual machine with the whole unit in it: QEMU without hardware virtualisation.

    machine = Machine(prepare(), folder)         # prepare: tests/vm/image.py, may raise Unavailable
    machine.start()                              # returns when the machine accepts commands
    machine.run("systemctl is-active tentwatch") # its output; Failed if it did not end with 0
    machine.cut()                                # pulls the plug: nothing more is written
    machine.start()                              # the same disk again
    machine.stop()                               # shuts it down

`folder` receives all files of the machine: its disk (its writes; the image stays unchanged),
`console.txt`, and `shared/`, which the machine sees as /host. Other disks and devices are QEMU
arguments; they are present at every start:

    Machine(image, folder, "-blockdev", "…", "-device", "virtio-blk-pci,drive=…")  # is /dev/vdb

`machine.cable` is the serial cable in the machine's USB port: plugged in, it is a /dev/ttyUSB0.
"""

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.vm.image import Image, Unavailable, run

__all__ = ["Cable", "Failed", "Machine", "Unavailable"]

MEMORY_MIB = 768
#: Longest wait in seconds, for a slow emulator on a busy host; only a failed test reaches it.
PATIENCE_S = 180.0


class Failed(AssertionError):
    """A command in the machine failed, or the machine did."""


class Machine:
    """One machine and its disk; it can be switched on and off repeatedly."""

    def __init__(self, image: Image, folder: Path, *devices: str | Path) -> None:
        """Make the machine's disk in `folder`; `devices` are more arguments for QEMU."""
        self.folder = folder
        self.shared = folder / "shared"
        self.shared.mkdir(parents=True)
        self.console = folder / "console.txt"
        self.cable = Cable(folder / "cable")
        self._image = image
        self._devices = devices
        self._disk = folder / "disk.qcow2"
        backing = ("-b", image.disk.absolute(), "-F", "raw")
        run("qemu-img", "create", "-q", "-f", "qcow2", *backing, self._disk)
        self._qemu: subprocess.Popen[bytes] | None = None
        self._shell: socket.socket | None = None
        self._shell_is_free = threading.Lock()

    def start(self, patience_s: float = PATIENCE_S) -> float:
        """Switch it on and wait until it accepts commands; return how many seconds that took."""
        assert self._qemu is None, "it is on already"
        began_s = time.monotonic()
        with self.console.open("ab") as console:
            self._qemu = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        self._shell = self._connect("shell")
        self.run("true", patience_s)
        return time.monotonic() - began_s

    def run(self, command: str, patience_s: float = PATIENCE_S) -> str:
        """Run a command with bash as root and return its output. Raises Failed."""
        code, output = self.attempt(command, patience_s)
        if code:
            raise Failed(f"{command}\nended with {code}:\n{output}")
        return output

    def attempt(self, command: str, patience_s: float = PATIENCE_S) -> tuple[int, str]:
        """Run a command with bash as root; return its exit code and output.

        Raises Failed if it does not end.
        """
        with self._shell_is_free:
            assert self._shell is not None, "it is off"
            self._shell.settimeout(patience_s)
            try:
                self._shell.sendall(json.dumps({"command": command}).encode() + b"\n")
                answer = b""
                while not answer.endswith(b"\n"):
                    more = self._shell.recv(1 << 16)
                    if not more:
                        raise Failed(f"the machine went off during: {command}\n{self.tail()}")
                    answer += more
            except OSError as error:
                raise Failed(f"{command}\n{error!r}\n{self.tail()}") from error
        result: dict[str, Any] = json.loads(answer)
        return result["code"], result["output"]

    def wait_for(
        self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S
    ) -> float:
        """Wait until `condition` holds; return how many seconds that took. Raises Failed."""
        began_s = time.monotonic()
        pause = threading.Event()
        while not condition():
            if time.monotonic() - began_s > patience_s:
                raise Failed(f"waited in vain for {what}\n{self._journal()}")
            pause.wait(0.2)
        return time.monotonic() - began_s

    def cut(self) -> None:
        """Pull the plug: unwritten data is lost."""
        if self._qemu is not None:
            self._qemu.kill()
        self._off()

    def stop(self) -> None:
        """Shut it down."""
        if self._qemu is None:
            return
        self.attempt("systemctl poweroff --no-block")
        try:
            self._qemu.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"it does not shut down\n{self.tail()}") from None
        finally:
            self.cut()

    def tail(self) -> str:
        """Return the end of the console's output."""
        return self.console.read_text(errors="replace")[-3000:]

    def _journal(self) -> str:
        try:
            return self.attempt("journalctl -b --no-pager | tail -n 40", 60.0)[1]
        except Failed as error:
            return f"(the machine does not answer either: {error})"

    def _off(self) -> None:
        self.cable.unplug()
        shell, self._shell = self._shell, None
        if shell is not None:
            shell.close()
        qemu, self._qemu = self._qemu, None
        if qemu is not None:
            qemu.wait()

    def _connect(self, name: str) -> socket.socket:
        path = self.folder / name
        deadline_s = time.monotonic() + PATIENCE_S
        pause = threading.Event()
        while True:
            peer = socket.socket(socket.AF_UNIX)
            try:
                peer.connect(str(path))
                return peer
            except OSError as error:
                peer.close()
                if self._qemu is None or self._qemu.poll() is not None:
                    self._off()
                    raise Failed(f"the emulator ended\n{self.tail()}") from error
                if time.monotonic() > deadline_s:
                    raise
            pause.wait(0.05)

    def _command(self) -> list[str]:
        for name in ("shell", "cable"):
            (self.folder / name).unlink(missing_ok=True)
        words = (
            # QEMU ends with the process that started it.
            *("setpriv", "--pdeathsig", "KILL"),
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-machine", "pc"),
            *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY_MIB),
            *("-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-kernel", self._image.kernel, "-initrd", self._image.initrd, "-append"),
            "root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off systemd.show_status=0",
            *("-drive", f"file={self._disk},format=qcow2,if=none,id=root"),
            *("-device", "virtio-blk-pci,drive=root,addr=2"),
            *("-device", "qemu-xhci,addr=4"),
            *("-chardev", f"socket,id=cable,path={self.folder / 'cable'},server=on,wait=off"),
            *("-device", "usb-serial,chardev=cable,port=1"),
            *("-device", "virtio-serial-pci,addr=5"),
            *("-chardev", f"socket,id=shell,path={self.folder / 'shell'},server=on,wait=off"),
            *("-device", "virtserialport,chardev=shell,name=tentwatch.shell"),
            *("-device", "virtio-rng-pci,addr=6"),
            "-virtfs",
            f"local,path={self.shared},mount_tag=host,security_model=none",
            *self._devices,
        )
        return [str(word) for word in words]


class Cable:
    """A USB serial cable of the machine: it is plugged in while its end is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end: socket.socket | None = None

    def plug(self) -> None:
        """Plug it in."""
        self.unplug()
        self._end = socket.socket(socket.AF_UNIX)
        self._end.connect(str(self._path))
        # A tty echoes until a program sets it up; unread echoes would block the whole emulator.
        threading.Thread(target=_hear, args=(self._end,), name="cable", daemon=True).start()

    def unplug(self) -> None:
        """Pull it out."""
        end, self._end = self._end, None
        if end is not None:
            with contextlib.suppress(OSError):  # the emulator may have ended
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def say(self, data: bytes) -> None:
        """Send data from the device at the other end; without the cable it is lost."""
        end = self._end
        if end is not None:
            try:
                end.send(data, socket.MSG_DONTWAIT)
            except OSError:  # just unplugged, or nobody reads
                return


def _hear(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while end.recv(1 << 12):
            pass
