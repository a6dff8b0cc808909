"""`tentwatch run`: the agent, as the service runs it."""

import argparse
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from publisher.config.faults import ConfigError
from publisher.config.load import load
from sensors.clock import Monotonic
from technician.arguments import add_config, add_state_dir
from technician.log_lines import to_stderr
from technician.secrets import exposed, goes_in_the_clear
from technician.terminal import DONE, USAGE, complain_of

#: How long to wait for a faulty configuration to change, in seconds: systemd starts the service again at
#: once, and each start takes some 6 kB of the journal.
FAULTY_S = 20.0
LOOK_S = 1.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_state_dir(parser)
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Run the agent until SIGINT or SIGTERM. Raises ConfigError and Trouble if it cannot start."""
    try:
        loaded = load(options.config)
    except ConfigError as error:
        if "NOTIFY_SOCKET" in os.environ:
            complain_of(error)
            wait_for_change(options.config, Monotonic(), time.sleep)
            return USAGE
        raise
    to_stderr(logging.INFO)
    log = logging.getLogger("tentwatch")
    # That must not keep the unit from reporting.
    for key, trouble in [*loaded.warnings, *exposed(loaded.broker)]:
        log.warning("%s: %s", key, trouble)
    if goes_in_the_clear(loaded.broker):
        log.warning("broker.tls: anybody who listens in can read the password: set tls = true")
    os.umask(os.umask(0) | 0o027)  # what it stores is for its user and group only
    from publisher.agent import Agent
    from publisher.clock import Clock
    from sensors.hardware import Hardware

    agent = Agent(loaded, options.state_dir, Hardware(), Clock())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: agent.stop())
    agent.run()
    return DONE


def wait_for_change(file: Path, clock: Monotonic, sleep: Callable[[float], None]) -> None:
    """Wait until a file is changed or created, for FAULTY_S at most."""
    before, limit_s = _identity(file), clock.now_s() + FAULTY_S
    while _identity(file) == before and clock.now_s() < limit_s:
        sleep(LOOK_S)


def _identity(file: Path) -> tuple[int, int] | None:
    """Return a value that changes when the file is written; None if there is no file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
