"""`tentwatch record`: captures what a device sends, byte for byte."""

import argparse
import contextlib
import logging
from pathlib import Path
from typing import Any

from publisher.config.load import load
from sensors import registry
from sensors.capture import record
from sensors.clock import Monotonic
from sensors.hardware import Hardware
from sensors.reading import SensorError
from sensors.registry import DRIVERS, config_class
from technician.arguments import add_config, seconds
from technician.log_lines import to_stderr
from technician.terminal import DONE, FAILED, USAGE, complain, say
from technician.words import _, translated


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    drivers = ", ".join(sorted(DRIVERS))
    parser.add_argument("driver", choices=sorted(DRIVERS), metavar="DRIVER",
                        help=_("one of {drivers}").format(drivers=drivers))  # fmt: skip
    add_config(parser)
    parser.add_argument("--sensor", metavar="NAME",
                        help=_("which sensor, where several have this driver"))  # fmt: skip
    parser.add_argument("--port", metavar="DEVICE",
                        help=_("a serial device, in place of the configuration"))  # fmt: skip
    parser.add_argument("--seconds", type=seconds, default=60.0, metavar="N",
                        help=_("end after N seconds (default: %(default)g)"))  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE",
                        help=_("a new file for the capture"))  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Capture until the time is over or Ctrl-C. Raises ConfigError."""
    try:
        settings = _device(options)
    except ValueError as error:
        complain(error)
        return USAGE
    to_stderr(logging.WARNING)
    clock = Monotonic()
    driver = registry.build(options.driver, settings, Hardware(), clock)
    try:
        file = options.output.open("xb")
    except FileExistsError:
        complain(_("{file} exists: give a new file with -o").format(file=options.output))
        return FAILED
    except OSError as error:
        text = _("{file} cannot be written ({error}): give another file with -o")
        complain(text.format(file=options.output, error=error.strerror))
        return FAILED
    why = ""
    try:
        with file, contextlib.suppress(KeyboardInterrupt):  # the capture so far stays
            record(driver, clock, options.seconds, lambda data: (file.write(data), file.flush()))
    except SensorError as error:
        held = _("a running tentwatch service has its devices to itself: stop it first")
        why = f"{translated(error)} ({held})"
    except OSError as error:
        text = _("{file} cannot be written: {error}")
        why = text.format(file=options.output, error=error.strerror)
    size = options.output.stat().st_size
    if not size:
        options.output.unlink()
        why = why or _("the device sent nothing: check its supply and its cable")
    if why:
        complain(why)
        return FAILED
    text = _("{size} bytes in {file}; read: tentwatch decode {driver} {file}")
    say(text.format(size=size, file=options.output, driver=options.driver))
    return DONE


def _device(options: argparse.Namespace) -> Any:
    """Return the driver's settings. Raises ConfigError, and ValueError that says what to do."""
    if options.port is not None:
        kind = config_class(options.driver)
        if options.sensor is not None:
            raise ValueError(_("give --sensor (from the configuration) or --port, not both"))
        if "port" not in kind.__dataclass_fields__:
            text = _("{driver} is on no serial port: leave out --port")
            raise ValueError(text.format(driver=options.driver))
        return kind(port=options.port)
    fitting = [s for s in load(options.config).sensors if s.driver == options.driver]
    if options.sensor is not None:
        fitting = [s for s in fitting if s.name == options.sensor]
    if len(fitting) == 1:
        return fitting[0].config
    names = ", ".join(s.name for s in fitting) or _("none")
    text = _(
        "{file} has {n} sensors with driver {driver} ({names}): name one with --sensor, or a "
        "serial device with --port"
    )
    raise ValueError(
        text.format(file=options.config, n=len(fitting), driver=options.driver, names=names)
    )
