"""What messages of drivers, link and store mean for `tentwatch doctor`: which check they belong to, what
was seen, and the cure in the words of docs/symptoms.md.

The drivers know no other language than English, and the log keeps theirs; here each message is known by
its shape, and told anew.
"""

import re
from typing import NamedTuple

from technician.doctor.findings import Finding, Text, Verdict, failure, warning
from technician.words import marked

#: Checks that a driver's message belongs to: the sensor's own, or the bus or port on which it hangs.
SENSOR, BUS = "sensor", "bus"

#: What to do about a beam that stays broken.
BLOCKED = marked(
    "take away what stands in the beam (a bag, a curtain, frost), align the lenses, check supply "
    "and cable of the receiver: a cut cable looks like a broken beam"
)


class Diagnosis(NamedTuple):
    """A message's shape, whose named groups are values of the texts."""

    shape: str
    check: str
    seen: str
    cure: str
    verdict: Verdict = Verdict.FAIL


_DENIED = marked(
    "the service is in the groups gpio, i2c and dialout by tentwatch.service: install that file again; "
    "by hand use sudo"
)

OF_DRIVERS = (
    # GPIO
    Diagnosis(
        r"GPIO (?P<gpio>\d+) does not come to rest",
        SENSOR,
        marked("the contact on GPIO {gpio} opens and closes without coming to rest"),
        marked(
            "tighten the wires at the relay and at the Pi; a relay that hums or chatters: replace it"
        ),
    ),
    Diagnosis(
        r".*GPIO \d+ cannot be used \(.*(pin factory|No module named)",
        BUS,
        marked("the library for the GPIO lines is not there"),
        marked(
            "sudo apt-get install python3-lgpio; /opt/tentwatch must have been made with "
            "--system-site-packages"
        ),
    ),
    Diagnosis(
        r"(?P<what>.*GPIO \d+) cannot be used \((?P<why>.*)\): check its number",
        BUS,
        marked("{what} cannot be used ({why})"),
        marked(
            "see that no other program holds this line (sudo gpioinfo shows who does), and that the "
            "number in the configuration is right"
        ),
    ),
    # Beams
    Diagnosis(
        r"(?P<which>.*) was broken \d+ times in a row without the other",
        SENSOR,
        marked("{which} is broken again and again, and the other beam never"),
        marked(
            "one of the two beams sees nothing: clean and align the lenses of both, check their supply and "
            "cables, and see that nothing hangs in the door"
        ),
    ),
    Diagnosis(
        r"(?P<which>.*): broken for more than (?P<minutes>\d+) minutes",
        SENSOR,
        marked("{which}: broken for more than {minutes} minutes, nothing is counted"),
        BLOCKED,
    ),
    # INA219
    Diagnosis(
        r"INA219 at (?P<address>0x\w+) on I2C bus (?P<bus>\d+) does not answer",
        SENSOR,
        marked("no INA219 answers at {address} on I2C bus {bus}"),
        marked(
            "check VCC (3.3 V), ground, SDA and SCL at the board and at the Pi; sudo i2cdetect -y {bus} "
            "shows what answers"
        ),
    ),
    Diagnosis(
        r"INA219 at (?P<address>0x\w+) on I2C bus \d+ had lost its settings",
        SENSOR,
        marked("the INA219 at {address} has restarted by itself"),
        marked("its supply fails for moments: tighten VCC and ground, then SDA and SCL"),
    ),
    Diagnosis(
        r"INA219 at (?P<address>0x\w+) on I2C bus \d+ is at the end of its range: "
        r"the current is more than (?P<amperes>[\d.]+) A",
        SENSOR,
        marked("the current is more than the {amperes} A that can be measured"),
        marked(
            "raise max_current_a as far as the shunt allows, or fit a larger shunt and set shunt_ohms"
        ),
    ),
    Diagnosis(
        r"I2C bus (?P<bus>\d+) cannot be opened \(.*[Pp]ermission denied",
        BUS,
        marked("/dev/i2c-{bus} may not be opened by this user"),
        _DENIED,
    ),
    Diagnosis(
        r"I2C bus (?P<bus>\d+) cannot be opened",
        BUS,
        marked("there is no I2C bus {bus}"),
        marked(
            "sudo raspi-config nonint do_i2c 0, then start the Pi anew: ls /dev/i2c-{bus} must show it; or "
            "bus in the configuration has the wrong number"
        ),
    ),
    # Serial ports
    Diagnosis(
        r"(?P<port>.+) cannot be opened \(.*(lock|[Bb]usy)",
        BUS,
        marked("another program has {port}"),
        marked(
            "stop that program: sudo fuser -v {port} shows it (a console, ModemManager, a second tentwatch)"
        ),
    ),
    Diagnosis(
        r"(?P<port>.+) cannot be opened \(.*[Pp]ermission denied",
        BUS,
        marked("{port} may not be opened by this user"),
        _DENIED,
    ),
    Diagnosis(
        r"(?P<port>.+) cannot be opened \(.*(No such file|No such device)",
        BUS,
        marked("{port} is not there"),
        marked(
            "plug the cable in; then compare port in the configuration with ls /dev/serial/by-id"
        ),
    ),
    Diagnosis(
        r"(?P<port>.+) cannot be opened \((?P<why>.*)\): check the cable",
        BUS,
        marked("{port} is no serial port that can be used ({why})"),
        marked("compare port in the configuration with ls /dev/serial/by-id"),
    ),
    Diagnosis(
        r"(?P<port>.+) is gone \(",
        BUS,
        marked("{port} went away while it was used"),
        marked("the cable was pulled or has a loose contact: plug it in firmly, or replace it"),
    ),
    # What hangs on them
    Diagnosis(
        r"(?P<port>.+) has been silent for (?P<seconds>[\d.]+) s",
        SENSOR,
        marked("nothing came from {port} for {seconds} s"),
        marked(
            "plug the VE.Direct cable into the device, and see that the device has its supply (its lamp, or "
            "Bluetooth)"
        ),
    ),
    Diagnosis(
        r"(?P<port>.+) sends nothing that can be believed \((?P<flaw>.*) in [\d.]+ s\)",
        SENSOR,
        marked("what comes from {port} is no VE.Direct ({flaw})"),
        marked(
            "another device is on this port, or the device is not in text mode: compare port with "
            "ls /dev/serial/by-id; a cable along inverter cables: lay it apart"
        ),
    ),
    Diagnosis(
        r"(?P<port>.+) gives nothing that can be believed for [\d.]+ s \((?P<flaw>.*)\): check",
        SENSOR,
        marked("what comes from {port} makes no sense ({flaw})"),
        marked(
            "another device is on this port, or two on one line: compare port with ls /dev/serial/by-id, "
            "check address and driver in the configuration; a worn cable: replace it"
        ),
    ),
    Diagnosis(
        r"the BMS on (?P<port>.+) has not answered",
        SENSOR,
        marked("the BMS on {port} does not answer"),
        marked(
            "exchange TX and RX at its plug; a BMS that sleeps wakes up with a load or a charger; end a "
            "phone's Bluetooth connection to it"
        ),
    ),
    Diagnosis(
        r"the meter on (?P<port>.+) has not answered",
        SENSOR,
        marked("the meter on {port} does not answer"),
        marked(
            "it answers only with AC at its terminals: if there is AC, check TX, RX, 5 V and ground of its "
            "serial side, and its address"
        ),
    ),
    Diagnosis(
        r"(?P<what>.*) is .*, which cannot be",
        SENSOR,
        marked("{what} has a value that cannot be"),
        marked("check the wiring of the sensor, and report this with a capture (tentwatch record)"),
    ),
)

OF_THE_STORE = (
    Diagnosis(
        r"another program has (?P<file>.+) open",
        "store.file",
        marked("another program has {file} open"),
        marked(
            "stop that program (sudo fuser -v {directory}/*); the unit takes the file again in a minute"
        ),
    ),
    Diagnosis(
        r"the disk is full",
        "store.file",
        marked("the disk is full"),
        marked("free space: sudo du -xh / | sort -h | tail shows what fills the card"),
    ),
    Diagnosis(
        r"the card cannot be written \((?P<why>.*)\)",
        "store.file",
        marked("the card cannot be written ({why})"),
        marked("replace the card: copy {directory} to the new one if it can still be read"),
    ),
    Diagnosis(
        r"(?P<file>.+) is damaged \((?P<why>.*)\)",
        "store.file",
        marked("{file} is damaged ({why})"),
        marked(
            "nothing at once: the service begins it anew with what can be read of it; give the number of "
            "people (sudo tentwatch headcount N). Where it happens again, replace the card"
        ),
    ),
    Diagnosis(
        r"(?P<why>.*files belong to another user.*)",
        "store.file",
        marked("files of the store belong to another user"),
        marked("sudo chown -R tentwatch: {directory}"),
    ),
    Diagnosis(
        r"(?P<why>.*)",
        "store.file",
        marked("the store cannot be used ({why})"),
        marked("see that the user tentwatch may write in {directory}, or replace the card"),
    ),
)


def diagnose(
    message: str, table: tuple[Diagnosis, ...], key: str | None = None, **values: object
) -> tuple[str, Finding] | None:
    """Return which check a message belongs to, and the finding; None where nobody knows it.

    The finding's key is `key`, or else the check's own.
    """
    for row in table:
        found = re.match(row.shape, message, re.DOTALL)
        if found is not None:
            made = failure if row.verdict is Verdict.FAIL else warning
            texts = {**values, **{k: v or "" for k, v in found.groupdict().items()}}
            return row.check, made(key or row.check, row.seen, row.cure, **texts)
    return None


def unknown(key: str, message: str) -> Finding:
    """Return the finding of a message that nobody has foreseen: its own words."""
    seen, _, cure = message.rpartition(": ")
    if not seen:
        seen, cure = message, ""
    if cure:
        return Finding(
            key, Verdict.FAIL, Text("{said}", {"said": seen}), Text("{said}", {"said": cure})
        )
    return failure(
        key,
        "{said}",
        marked("journalctl -u tentwatch -n 50 shows more; please report this"),
        said=seen,
    )
