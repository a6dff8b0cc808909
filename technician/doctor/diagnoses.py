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

NAME, TCP, TLS, LOGIN = "broker.name", "broker.tcp", "broker.tls", "broker.login"
PUBLISH, COMMANDS, ROUND_TRIP = "broker.publish", "broker.commands", "broker.round_trip"
FILES = "config.secrets"

OF_THE_LINK = (
    Diagnosis(
        r"(?P<host>.+) is not found: no DNS server answers",
        NAME,
        marked("no name server answers to {host}"),
        marked(
            "this network's name server is dead or the modem has no internet: start the modem anew, try "
            "ping 1.1.1.1, then ping {host}"
        ),
    ),
    Diagnosis(
        r"(?P<host>.+) is not found",
        NAME,
        marked("the name {host} is not found"),
        marked("check host in [broker] for a misspelling, and that this network has internet (ping {host})"),
    ),
    Diagnosis(
        r"(?P<host>.+) is no name of a host",
        NAME,
        marked("{host} cannot be the name of a host"),
        marked("write the broker's name or address as host in [broker], and nothing else"),
    ),
    Diagnosis(
        r"(?P<where>.+) refuses connections",
        TCP,
        marked("{where} refuses connections"),
        marked("check port in [broker] (8883 with TLS, 1883 without), and that the broker runs"),
    ),
    Diagnosis(
        r"(?P<where>.+) does not answer: check the network",
        TCP,
        marked("{where} does not answer"),
        marked("check the modem and its credit; a firewall may drop this port: ask who runs the network"),
    ),
    Diagnosis(
        r"(?P<where>.+) cannot be reached \((?P<why>.*)\)",
        TCP,
        marked("{where} cannot be reached ({why})"),
        marked("this network has no way there: check the network cable or Wi-Fi, and the modem"),
    ),
    Diagnosis(
        r"(?P<where>.+) has a certificate for another name \((?P<why>.*)\): write",
        TLS,
        marked("the certificate of {where} is for another name ({why})"),
        marked("write a name that is in the broker's certificate as host in [broker]"),
    ),
    Diagnosis(
        r"(?P<where>.+) has a certificate that cannot be trusted \((?P<why>.*)\)",
        TLS,
        marked("the certificate of {where} cannot be trusted ({why})"),
        marked("fetch the ca.crt of this broker anew from the centre, and name it as ca_file in [broker]"),
    ),
    Diagnosis(
        r"(?P<where>.+) has a certificate( that holds from (?P<day>[\d-]+) on)?: this unit's clock is not",
        TLS,
        marked("the certificate of {where} does not hold yet by this unit's clock, which is not set"),
        marked("set the clock first, see clock.synced; the link then comes by itself"),
    ),
    Diagnosis(
        r"(?P<where>.+) has a certificate that has expired on (?P<day>[\d-]+).*renew it on the broker",
        TLS,
        marked("the certificate of {where} has expired on {day}"),
        marked("the broker's certificate must be renewed at the centre, for all tents"),
    ),
    Diagnosis(
        r"(?P<where>.+) has a certificate that has expired.*(renew it on the broker|then renew it)",
        TLS,
        marked("a certificate of {where} has expired"),
        marked("see that clock.synced is ok; then the certificate must be renewed at the centre"),
    ),
    Diagnosis(
        r"(?P<where>.+) does not agree on TLS \((?P<why>.*)\)",
        TLS,
        marked("{where} does not speak TLS with this unit ({why})"),
        marked(
            "tls and port in [broker] must go together (8883 with TLS, 1883 without); some brokers want "
            "cert_file and key_file"
        ),
    ),
    Diagnosis(
        r"(?P<where>.+) refused the login \((?P<why>.*)\): (check username|check \[broker\])",
        LOGIN,
        marked("{where} refuses the login ({why})"),
        marked("check username and the password in password_file; the centre must know this user"),
    ),
    Diagnosis(
        r"(?P<where>.+) refused the login \((?P<why>.*)\): try protocol",
        LOGIN,
        marked("{where} does not know this version of MQTT ({why})"),
        marked('set protocol = "3.1.1" in [broker]'),
    ),
    Diagnosis(
        r"(?P<where>.+) refused the login \((?P<why>.*)\)",
        LOGIN,
        marked("{where} takes nobody more ({why})"),
        marked("nothing to do here: the broker is full, and the unit goes on trying; tell the centre"),
    ),
    Diagnosis(
        r"another unit has connected to (?P<where>.+) as (?P<id>.+): give",
        LOGIN,
        marked("another unit is connected to {where} as {id}"),
        marked("two units have one id: give each its own id in [tent] and its own user"),
    ),
    Diagnosis(
        r"(?P<what>.*) times in a row soon after the login: another unit may have the id (?P<id>'.*'),",
        LOGIN,
        marked("the connection is lost soon after each login; another unit may have the id {id}"),
        marked("two units have one id: give each its own id in [tent] and its own user"),
    ),
    Diagnosis(
        r"(?P<where>.+) hung up instead of answering the login \((?P<why>.*)\)",
        LOGIN,
        marked("{where} hangs up at the login ({why})"),
        marked('the broker is full, wants TLS, or does not know MQTT 5: check tls, port and protocol'),
    ),
    Diagnosis(
        r"(?P<where>.+) (accepts connections but does not speak MQTT|does not speak MQTT as it should)",
        LOGIN,
        marked("{where} takes the connection and does not answer the login"),
        marked("the broker hangs, or another service is on this port: check port, then tell the centre"),
    ),
    Diagnosis(
        r"(?P<where>.+) refused a message on (?P<topic>.+) \((?P<why>.*)\): check the user's rights",
        PUBLISH,
        marked("{where} refuses messages on {topic} ({why})"),
        marked(
            "id in [tent] must be the broker's user, who may write under this id only: correct one of the "
            "two, or have the centre give the rights (docs/broker.md). Nothing is lost meanwhile"
        ),
    ),
    Diagnosis(
        r"(?P<where>.+) (refused a message on .+ bytes are more than it takes|takes no more than)",
        PUBLISH,
        marked("{where} takes no messages as large as this unit's"),
        marked("raise max_packet_size or message_size_limit on the broker"),
        Verdict.WARNING,
    ),
    Diagnosis(
        r"(?P<where>.+) lets this user receive no commands: allow it to read (?P<topic>.+)",
        COMMANDS,
        marked("{where} lets this user read no commands"),
        marked("the broker's access rules must let this user read {topic} (docs/broker.md)"),
        Verdict.WARNING,
    ),
    Diagnosis(
        r"no commands for an hour, since one on (?P<topic>.+) was too large",
        COMMANDS,
        marked("a command was too large: none are heard for an hour"),
        marked("delete the retained message on {topic} at the broker"),
        Verdict.WARNING,
    ),
    Diagnosis(
        r"(?P<where>.+) has confirmed nothing for (?P<seconds>\d+) s",
        ROUND_TRIP,
        marked("{where} has confirmed nothing for {seconds} s"),
        marked(
            "the broker hangs or the way there loses too much: look at the modem's signal, then tell the "
            "centre. Nothing is lost meanwhile"
        ),
    ),
    Diagnosis(
        r"the connection to (?P<where>.+) was lost \((?P<why>.*)\)",
        LOGIN,
        marked("the connection to {where} was lost ({why})"),
        marked("the way there breaks: look at the modem's signal; where it happens often, tell the centre"),
    ),
    Diagnosis(
        r"(?P<file>/.+) cannot be used \((?P<why>.*)\): check (?P<name>\w+) in \[broker\]",
        FILES,
        marked("{file} cannot be read ({why})"),
        marked(
            "put it where {name} in [broker] says: owner tentwatch, mode 0600, and not under /home"
        ),
    ),
    Diagnosis(
        r"(?P<file>/.+) is not UTF-8 text: check password_file",
        FILES,
        marked("{file} is no text"),
        marked("write the password alone into that file"),
    ),
)  # fmt: skip

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
