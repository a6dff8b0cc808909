"""`tentwatch check-config`: the faults of a configuration, or the generator's rules in it."""

import argparse
import json

from publisher.config.faults import ConfigError, Fault, fault_json
from publisher.config.load import load
from technician.arguments import add_config, add_json
from technician.secrets import exposed
from technician.terminal import DONE, USAGE, complain_of, say
from technician.words import _


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_config(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Check the configuration and print what is wrong with it, or its rules."""
    faults: list[Fault] = []
    rules: list[tuple[str, str, str]] = []
    try:
        loaded = load(options.config)
        rules, faults = loaded.rules(), exposed(loaded.broker)
    except ConfigError as error:
        faults = error.faults
    if options.json:
        document = {
            "file": str(options.config),
            "ok": not faults,
            "faults": [fault_json(*fault) for fault in faults],
            "rules": [
                {"name": n, "enters": enters, "leaves": leaves} for n, enters, leaves in rules
            ],
        }
        say(json.dumps(document, ensure_ascii=False))
    elif faults:
        complain_of(ConfigError(str(options.config), faults))
    else:
        for name, enters, leaves in rules:
            say(f"{name}\n    when   {enters}" + (f"\n    until  {leaves}" if leaves else ""))
        say(_("{file} is in order").format(file=options.config))
    return USAGE if faults else DONE
