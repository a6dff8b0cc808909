"""What the unit says of its faults, for the screen: English in the journal and over MQTT, here in the
terminal's language.

The agent makes its messages with values in them; a terminal that speaks another language finds the
message again by its pattern. One that is not listed here is shown as it is.
"""

import re
from functools import cache

from technician.words import _, marked

#: `{name}` stands for any text.
MESSAGES = (
    # sensors
    marked("GPIO {gpio} does not come to rest: check the relay and its cable"),
    marked(
        "{what} cannot be used ({error}): check its number, that nothing else uses it, that "
        "python3-lgpio is installed and that this user is in group gpio"
    ),
    marked(
        "I2C bus {bus} cannot be opened ({error}): enable I2C (raspi-config, Interface Options) and "
        "see that {path} exists and this user may open it"
    ),
    marked(
        "I2C bus {bus} is disturbed, every address answers: check that SDA and SCL are not exchanged "
        "and touch nothing else"
    ),
    marked("{chip} does not answer ({error}): check its wiring"),
    marked(
        "{chip} is at the end of its range: the current is more than {most} A; raise max_current_a"
    ),
    marked("{chip} had lost its settings (0x{found}) and was set up anew: check its supply"),
    marked("{path} is gone ({error}): check the cable"),
    marked(
        "{path} cannot be opened ({error}): check the cable, the name under /dev/serial/by-id, "
        "membership of group dialout and that nothing else uses it"
    ),
    marked(
        "{path} has been silent for {seconds} s: check that the device is powered and the VE.Direct "
        "cable plugged in"
    ),
    marked(
        "{path} sends nothing that can be believed ({flaw}): check the cable, and that the device "
        "speaks VE.Direct in text mode"
    ),
    marked(
        "{path} gives nothing that can be believed for {seconds} s ({flaw}): check the cable, the "
        "meter's address (0x{address}) and that it is a PZEM-004T v3"
    ),
    marked(
        "the meter on {path} has not answered for {seconds} s: it works only while there is AC at its "
        "terminals; if there is, check its cable and its address (0x{address})"
    ),
    marked(
        "{path} gives nothing that can be believed for {seconds} s ({flaw}): check the cable, and "
        "that it leads to a JBD BMS alone"
    ),
    marked(
        "the BMS on {path} has not answered for {seconds} s: check its cable, and whether it sleeps "
        "(a load or a charger wakes it)"
    ),
    marked(
        "{beam} was broken {times} times in a row without the other: check that nothing hangs in it, "
        "and lenses, alignment and cable of both"
    ),
    marked(
        "{beam}: broken for more than {minutes} minutes: check that nothing stands in it, and its "
        "lenses, alignment, supply and cable"
    ),
    # the unit's commands
    marked("{path} does not exist: tentwatch is not running, or --state-dir is another"),
    marked("{path} may not be opened: use sudo, or join group tentwatch"),
    marked(
        "tentwatch runs and has not answered for {seconds} s: if it hangs, it is started again within "
        "a minute; journalctl -u tentwatch says where it hung"
    ),
    marked("{path} does not answer ({error}): is tentwatch running?"),
    marked("{path} gave no answer that makes sense"),
    marked("tentwatch is stopping: try again in a minute"),
    marked("the agent is busy: try again in a minute"),
    marked("too many commands: try again in two minutes"),
    marked("{key} must be a whole number from {low} to {high}"),
    marked("this unit has no generator sensor"),
    marked("{sensor} is no sensor of this unit whose zero can be set"),
    marked("{sensor} has not been read well for long enough: try again in a minute"),
    marked("{sensor} reads {current} A: a current flows; disconnect it from the shunt first"),
    marked("this unit has no lamp (lamp_gpio in [tent] is not set)"),
    marked(
        "another tentwatch already uses {path}: stop it first, or choose another --state-dir"
    ),
    # the store
    marked("another program has {file} open ({error}): stop that program"),
    marked("the disk is full ({error}): free space on it"),
    marked("the card cannot be written ({error}): replace it"),
    marked("{file} is damaged ({error}): nothing to do, it is soon begun anew"),
    marked(
        "{error}: see that tentwatch may write in the state directory, or replace the card"
    ),
)  # fmt: skip

#: What stands in a message as a part that is translated by itself.
PARTS = (marked("the outer beam"), marked("the inner beam"), marked("the beam"))


def said(text: str) -> str:
    """Return one of the unit's messages in the terminal's language."""
    for pattern, message in _patterns():
        if found := pattern.fullmatch(text):
            return _(message).format(**{k: parts(v) for k, v in found.groupdict().items()})
    return text


def parts(text: str) -> str:
    """Return a value of a message with the PARTS in it in the terminal's language."""
    for part in PARTS:
        text = text.replace(part, _(part))
    return text


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return the patterns that are translated, those that say the most first."""
    found = []
    for message in MESSAGES:
        if _(message) != message:
            parts = re.split(r"\{(\w+)\}", message)
            names = (f"(?P<{name}>.*?)" for name in parts[1::2])
            texts = [re.escape(part) for part in parts[::2]]
            pattern = texts[0] + "".join(n + t for n, t in zip(names, texts[1:], strict=True))
            found.append((sum(map(len, parts[::2])), re.compile(pattern, re.S), message))
    return [(pattern, message) for _length, pattern, message in sorted(found, key=lambda f: -f[0])]
