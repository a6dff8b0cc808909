"""The plain commands to the running unit, from `headcount` to `refuelled`."""

import argparse

from technician import client
from technician.arguments import add_state_dir
from technician.terminal import DONE, say
from technician.words import _


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes that the parser belongs to."""
    add_state_dir(parser)
    command = parser.get_default("command")
    if command in ("headcount", "open", "close"):
        parser.add_argument(
            "--by", default="", metavar="NAME", help=_("who says so; it stands in the event")
        )
    match command:
        case "headcount":
            parser.add_argument("people", type=int)
        case "identify":
            parser.add_argument("seconds", type=int, nargs="?", default=30)
        case "refuelled":
            parser.add_argument(
                "litres", type=float, nargs="?", help=_("litres that were filled in, if measured")
            )
            parser.add_argument("--full", action="store_true", help=_("the tank is full now"))
        case "zero":
            parser.add_argument("sensor", help=_("the sensor, such as generator or battery"))


def run(options: argparse.Namespace) -> int:
    """Have the unit do it and print the result. Raises ControlError."""
    say(_done(options))
    return DONE


def _done(options: argparse.Namespace) -> str:
    unit = options.state_dir
    match options.command:
        case "headcount":
            people = client.headcount(unit, options.people, options.by)
            return _("{people} people inside: noted").format(people=people)
        case "open" | "close":
            is_open = client.set_open(unit, options.command == "open", options.by)
            return _("the tent is open: noted") if is_open else _("the tent is closed: noted")
        case "report":
            client.ask(unit, "report")
            return _("a snapshot is on its way")
        case "identify":
            client.ask(unit, "identify", seconds=options.seconds)
            return _("the lamp flashes fast for {seconds} s").format(seconds=options.seconds)
        case "zero":
            zero_a = f"{client.zero(unit, options.sensor):g}"
            text = _("the zero of {sensor} is {zero} A now")
            return text.format(sensor=options.sensor, zero=zero_a)
        case "refuelled":
            fuel_l = client.refuelled(unit, options.litres, full=options.full)
            if fuel_l is None:
                return _("noted; how much is in the tank is not known")
            return _("noted: {litres} litres are in the tank").format(litres=f"{fuel_l:g}")
        case _:
            hours = f"{client.serviced(unit):g}"
            return _("noted: the generator was serviced after {hours} hours").format(hours=hours)
