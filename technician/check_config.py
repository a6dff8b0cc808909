"""`tentwatch check-config`: the faults of a configuration, or its warnings and the generator's rules."""

import argparse
import json

from publisher.config.faults import ConfigError, Fault, fault_json
from publisher.config.load import load
from technician.arguments import add_config, add_json
from technician.generator_rules import GeneratorRule, rules
from technician.secrets import exposed
from technician.terminal import DONE, USAGE, complain_of, say
from technician.words import _
from technician.words.contract import word


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_config(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Check the configuration and print what is wrong with it, or its rules."""
    faults: list[Fault] = []
    warnings: list[Fault] = []
    found: list[GeneratorRule] = []
    try:
        loaded = load(options.config)
        faults, warnings = exposed(loaded.broker), [*loaded.warnings]
        if loaded.sensor("generator"):
            found = rules(loaded.generator)
    except ConfigError as error:
        faults = error.faults
    if options.json:
        document = {
            "file": str(options.config),
            "ok": not faults,
            "faults": [fault_json(*fault) for fault in faults],
            "warnings": [fault_json(*warning) for warning in warnings],
            "rules": [
                {"name": r.name, "enters": r.enters, "leaves": r.leaves or ""} for r in found
            ],
        }
        say(json.dumps(document, ensure_ascii=False))
    elif faults:
        complain_of(ConfigError(str(options.config), faults))
    else:
        if warnings:
            complain_of(ConfigError(str(options.config), warnings))
        for rule in found:
            say(word(rule.name))
            say(_("    when   {condition}").format(condition=_(rule.enters)))
            if rule.leaves:
                say(_("    until  {condition}").format(condition=_(rule.leaves)))
        say(_("{file} is in order").format(file=options.config))
    return USAGE if faults else DONE
