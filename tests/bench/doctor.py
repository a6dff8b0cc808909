"""`tentwatch doctor` with dead sensors and a broker that accepts connections and sends nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from publisher import control
from sensors.simulated.serial_cable import Cable

PROGRAM = Path(sys.executable).with_name("tentwatch")
CONFIG = """
[tent]
id = "dead"
seats = 60
[broker]
host = "127.0.0.1"
port = {port}
tls = true
[sensors.mains]
driver = "pzem004t"
port = "{directory}/mains"
[sensors.mains_line]
driver = "contact"
gpio = 17
[sensors.generator]
driver = "ina219"
shunt_ohms = 0.0015
max_current_a = 50
[sensors.battery]
driver = "jbd"
port = "{directory}/battery"
[sensors.charger]
driver = "vedirect"
port = "{directory}/charger"
[sensors.door]
driver = "beams"
outer_gpio = 23
inner_gpio = 24
"""


@contextmanager
def dead(directory: Path) -> Iterator[list[str]]:
    """Set up a machine on which nothing answers; return the command-line arguments for it."""
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for name in ("mains", "battery", "charger"):
            stack.callback(Cable(directory / name).close)
        file = directory / "tentwatch.toml"
        file.write_text(CONFIG.format(port=silent.getsockname()[1], directory=directory))
        yield ["--config", str(file), "--state-dir", str(directory / "state")]


def look(arguments: list[str]) -> tuple[float, int]:
    """Return how long doctor took in seconds, and how many checks it made."""
    began_s = time.monotonic()
    done = subprocess.run(
        [PROGRAM, "doctor", "--json", *arguments], capture_output=True, text=True, check=False
    )
    took_s = time.monotonic() - began_s
    return took_s, len(json.loads(done.stdout)["checks"])


def run(directory: Path, times: int) -> dict[str, list[float]]:
    """Return the seconds of each run: without a service, with a running one, with one that hangs."""
    with dead(directory) as arguments:
        stopped = [look(arguments)[0] for _ in range(times)]
        with subprocess.Popen([PROGRAM, "run", *arguments], stderr=subprocess.DEVNULL) as service:
            try:
                while not (directory / "state" / control.FILE).exists():
                    time.sleep(0.1)
                time.sleep(20.0)  # until each sensor has failed
                running = [look(arguments)[0] for _ in range(times)]
                os.kill(service.pid, signal.SIGSTOP)
                hanging = [look(arguments)[0] for _ in range(times)]
            finally:
                service.kill()
    return {"stopped": stopped, "running": running, "hanging": hanging}
