"""`tentwatch demo`: the agent on simulated devices, with a broker of its own if need be."""

import argparse
import contextlib
import logging
import sys
import tempfile
from pathlib import Path

from technician.arguments import number, seconds
from technician.demo.demo import print_messages
from technician.demo.mosquitto import BrokerError, Mosquitto
from technician.demo.options import Options
from technician.log_lines import to_stderr
from technician.terminal import DONE, FAILED, complain
from technician.words import _


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--broker", type=_host_port, metavar="HOST:PORT",
                        help=_("use this broker (default: a mosquitto of its own)"))  # fmt: skip
    parser.add_argument("--state-dir", type=Path, metavar="DIR",
                        help=_("keep counts here (default: a temporary directory)"))  # fmt: skip
    parser.add_argument("--seconds", type=seconds, metavar="N", help=_("end after N seconds"))
    parser.add_argument("--speed", type=number(1, 600), default=1.0, metavar="N",
                        help=_("let the simulated time pass N times as fast, 1 to 600"))  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, metavar="N",
                        help=_("another number makes another day"))  # fmt: skip
    parser.add_argument("--truth", type=Path, metavar="FILE",
                        help=_("write what really happens, one JSON object a line"))  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Run it until its time is over or Ctrl-C. Raises Trouble if the agent cannot start."""
    # The page shows everything that is logged.
    to_stderr(logging.CRITICAL if sys.stdout.isatty() else logging.WARNING)
    try:
        with contextlib.ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tentwatch-")))
            broker = options.broker
            if broker is None:
                broker = "127.0.0.1", stack.enter_context(Mosquitto(work)).port
            _show(
                Options(
                    broker=broker,
                    state_dir=options.state_dir or work / "state",
                    seconds=options.seconds,
                    speed=options.speed,
                    seed=options.seed,
                    truth=options.truth,
                )
            )
    except BrokerError as error:
        complain(error)
        return FAILED
    except OSError as error:
        complain(_("the demonstration cannot run: {error}").format(error=error))
        return FAILED
    return DONE


def _show(options: Options) -> None:
    """Run the demonstration: pages on a terminal, else lines."""
    if sys.stdout.isatty():  # only a terminal needs the library that draws, which takes 4 MB
        from technician.demo.pages import show_pages
        from technician.screen.live import takes_pages

        if takes_pages():
            show_pages(options)
            return
    print_messages(options)


def _host_port(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        why = _("{text} is not HOST:PORT, such as localhost:1883").format(text=repr(text))
        raise argparse.ArgumentTypeError(why)
    return host, int(port)
