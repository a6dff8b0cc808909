"""The generator's rules in words: every number of the configuration is in them, in both languages."""

from dataclasses import fields, replace
from typing import Any

import pytest

from publisher.config.generator import OVERLOAD, SERVICE_DUE, GeneratorSettings
from publisher.rules.engine_alerts import ALERTS
from technician.generator_rules import rules
from technician.words import _

RULES = GeneratorSettings(rated_w=5000.0)


@pytest.mark.parametrize("key", fields(GeneratorSettings), ids=lambda key: key.name)
def test_the_rules_in_words_name_every_number(key: Any) -> None:
    fuelled = replace(RULES, tank_l=15.0, full_load_l_h=3.0, no_load_l_h=1.0)
    plain = replace(fuelled, service_every_h=100.0)
    value = getattr(plain, key.name)
    other = (not value) if isinstance(value, bool) else value + 1
    assert rules(replace(plain, **{key.name: other})) != rules(plain)


def test_the_rules_in_words() -> None:
    found = {name: (enters, leaves) for name, enters, leaves in rules(RULES)}
    assert set(ALERTS) <= set(found)
    assert found[OVERLOAD] == (
        "above 100 % of 5000 W for 10 s in all; a second above is forgotten in 50 s below",
        "below 80 % of 5000 W for 60 s, or stopped",
    )
    assert found["running (DC meter)"] == ("at least 1 A for 2 s", "below 0.7 A for 2 s")
    assert found[SERVICE_DUE][0] == "never: service_every_h is not set"
    bare = {name: enters for name, enters, _ in rules(GeneratorSettings(inverter=True))}
    assert {name for name in bare if bare[name].startswith("never")} == set(ALERTS)


def test_a_terminal_has_the_rules_in_its_own_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "uk")
    found = {rule.name: rule for rule in rules(RULES)}
    assert _(found[OVERLOAD].enters) == (
        "понад 100 % від 5000 Вт загалом 10 с; секунда понад межею забувається за 50 с нижче"
    )
    assert all(_(rule.enters) != rule.enters for rule in found.values())
