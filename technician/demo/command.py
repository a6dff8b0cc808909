"""`tentwatch demo`: the agent on simulated devices, with a broker of its own if need be."""

import argparse
import contextlib
import logging
import sys
import tempfile
from pathlib import Path

from publisher.in_memory import forget
from technician.arguments import number, seconds
from technician.demo.demo import print_messages
from technician.demo.mosquitto import BrokerError, Mosquitto
from technician.demo.options import Options
from technician.log_lines import to_stderr
from technician.terminal import DONE, FAILED, complain
from technician.words import _

#: On this port brokers expect TLS (IANA: secure-mqtt).
TLS_PORT = 8883


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--broker", type=_host_port, metavar="HOST:PORT",
                        help=_("use this broker (default: a mosquitto of its own)"))  # fmt: skip
    parser.add_argument("--ca-file", type=Path, metavar="FILE",
                        help=_("use TLS and trust this authority; port 8883 uses TLS, too"))  # fmt: skip
    parser.add_argument("--username", metavar="USER", help=_("log in to the broker as this user"))
    parser.add_argument("--password-file", type=Path, metavar="FILE",
                        help=_("take the broker's password from a file"))  # fmt: skip
    parser.add_argument("--id", metavar="ID",
                        help=_("the tent's id (default: demo)"))  # fmt: skip
    parser.add_argument("--name", metavar="NAME", help=_("the tent's name"))
    parser.add_argument("--seats", type=int, metavar="N", help=_("its number of seats"))
    parser.add_argument("--place", type=_place, metavar="LAT,LON",
                        help=_("where it stands, in degrees, such as 50.45,30.52"))  # fmt: skip
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
            stack.callback(forget, work / "state")
            own_port = None
            if options.broker is None:
                own_port = stack.enter_context(Mosquitto(work)).port
            _show(
                Options(
                    broker=_broker(options, own_port),
                    tent=_tent(options),
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


def _broker(options: argparse.Namespace, own_port: int | None) -> dict[str, str | int | bool]:
    """Return the keys of `[broker]`; `own_port` is that of the demonstration's own broker."""
    host, port = ("127.0.0.1", own_port) if own_port is not None else options.broker
    keys: dict[str, str | int | bool] = {"host": host, "port": port}
    if options.ca_file is not None or port == TLS_PORT:
        keys["tls"] = True
    for key in ("ca_file", "password_file"):
        if (file := getattr(options, key)) is not None:
            keys[key] = str(file.absolute())
    if options.username is not None:
        keys["username"] = options.username
    return keys


def _tent(options: argparse.Namespace) -> dict[str, str | int | float]:
    """Return the keys of `[tent]` that the command line gives."""
    keys = {key: getattr(options, key) for key in ("id", "name", "seats")}
    if options.place is not None:
        keys["latitude"], keys["longitude"] = options.place
    return {key: value for key, value in keys.items() if value is not None}


def _show(options: Options) -> None:
    """Run the demonstration: pages on a terminal, else lines."""
    if sys.stdout.isatty():  # only a terminal needs the library that draws, which takes 4 MB
        from technician.demo.pages import show_pages
        from technician.screen.live import takes_pages

        if takes_pages():
            show_pages(options)
            return
    print_messages(options)


def _place(text: str) -> tuple[float, float]:
    try:
        latitude, longitude = map(float, text.split(","))
    except ValueError:
        why = _("{text} is not LAT,LON, such as 50.45,30.52").format(text=repr(text))
        raise argparse.ArgumentTypeError(why) from None
    return latitude, longitude


def _host_port(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        why = _("{text} is not HOST:PORT, such as localhost:1883").format(text=repr(text))
        raise argparse.ArgumentTypeError(why)
    return host, int(port)
