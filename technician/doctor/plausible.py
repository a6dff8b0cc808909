"""Whether what the sensors say can be: what `tentwatch doctor` tells of each from its live values.

Pure: a configuration and what `tentwatch status` prints go in, findings come out. It is the same whether
a running unit was asked or doctor has looked at the devices itself.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from publisher.config.battery import BatterySettings
from publisher.config.load import Config, SensorSettings
from publisher.rules.calibration import LARGEST_ZERO_V
from publisher.rules.occupancy import Occupancy
from sensors.doorway import BLOCKED_CURE
from sensors.traits import Connection
from sensors.trouble import BUS
from technician.doctor.findings import Finding, Text, failure, not_tried, of_trouble, warning, well
from technician.words import kinds, marked

#: Reads of which more than this share fails come over a loose wire.
LARGEST_ERROR_SHARE, LEAST_ERRORS = 0.05, 3
#: … and so do those of which so many have failed within the seconds of a look.
LEAST_FRESH = 2
#: So many more people out than in are a chance.
LEAST_BACKWARDS = 3
#: Volts of a battery with a nominal voltage of 12 V, outside of which something else is connected.
LOWEST_V, HIGHEST_V = 10.0, 15.5
#: A 12 V battery above this is being charged, or was until just now (a full LiFePO4 rests at 13.6 V).
CHARGING_V, DISCHARGING_A = 13.7, -1.0
#: What a grid and a generator can have (EN 50160 allows 207 to 253 V; a weak grid in winter has less).
LOWEST_AC_V, HIGHEST_AC_V = 190.0, 260.0
LOWEST_HZ, HIGHEST_HZ = 47.0, 52.0
#: Below this an AC line is dead.
DEAD_AC_V = 50.0

#: Alerts that say more than the values: the sensor that they are of, what is seen, and the cure.
ALERTS = {
    "generator_overload": (
        "generator",
        marked("the generator is overloaded"),
        marked("switch off heaters or other large loads; check rated_w in [generator]"),
    ),
    "generator_overload_warning": (
        "generator",
        marked("the generator is close to its rated power"),
        marked("switch off heaters or other large loads; check rated_w in [generator]"),
    ),
    "generator_frequency": (
        "generator",
        marked("the generator's frequency is too low"),
        marked("take load off it, then look at its fuel, air filter and governor"),
    ),
    "generator_frequency_warning": (
        "generator",
        marked("the generator's frequency is low"),
        marked("take load off it, then look at its fuel, air filter and governor"),
    ),
    "generator_fuel_suspected": (
        "generator",
        marked("the generator runs as if its fuel were running out"),
        marked("refuel it; where there is fuel, look at its filter and carburettor"),
    ),
    "generator_service_due": (
        "generator",
        marked("the generator's service is due"),
        marked("change its oil, and say so: sudo tentwatch serviced"),
    ),
    "battery_low": (
        "battery",
        marked("the battery is low"),
        marked("start the generator, or take load off the battery"),
    ),
    "battery_alarm": (
        "battery",
        marked("the battery's own monitor raises an alarm"),
        marked("its display or app says which: too low a voltage, too cold, a cell out of line"),
    ),
}


def sensors(
    config: Config,
    status: Mapping[str, Any],
    *,
    looked_s: float | None = None,
    before: Mapping[str, int] | None = None,
    broken: tuple[tuple[str, int], ...] = (),
    answering: Mapping[int, tuple[int, ...]] = {},
) -> tuple[list[Finding], list[Finding]]:
    """Return what is found of the buses and ports that have failed, and of each sensor.

    `status` is what the running unit says; with `looked_s` it comes from a look of so many seconds at
    devices that nobody else uses. `before` is how many reads of each had failed some seconds ago, `broken`
    are beams (name and GPIO number) that were broken during all of that, and `answering` the addresses
    at which chips answer that could be a sensor's, by bus.
    """
    of_buses: list[Finding] = []
    of_sensors: list[Finding] = []
    told = {sensor["name"]: sensor for sensor in status.get("sensors", ())}
    for sensor in config.sensors:
        key = f"sensor.{sensor.name}"
        said = told.get(sensor.name)
        if said is None:
            of_sensors.append(
                warning(
                    key,
                    marked(
                        "the running unit does not know this sensor: its configuration is older"
                    ),
                    marked("sudo systemctl restart tentwatch"),
                )
            )
            continue
        if said.get("error") and not _is_asleep(sensor, told):
            concerns, found = _explained(sensor, told, answering)
            if concerns == BUS:
                of_buses.append(found._replace(key=bus_key(sensor)))
                of_sensors.append(
                    not_tried(key, marked("{bus} does not work"), bus=bus_key(sensor))
                )
            else:
                of_sensors.append(found)
            continue
        found_here = [*_unheard(key, sensor, said, looked_s)] or [
            *_implausible(key, sensor, config, status, told, broken, before or {})
        ]
        if found_here:
            worst = next((f for f in found_here if f.verdict == "fail"), found_here[0])
            of_sensors.append(worst)
        else:
            of_sensors.append(well(key, "{values}", values=_values(sensor, said, status)))
    return of_buses, of_sensors


def bus_key(sensor: SensorSettings) -> str:
    """Return the key of the check of what a sensor hangs on."""
    match sensor.traits.connection:
        case Connection.I2C:
            return f"bus.i2c-{sensor.config.bus}"
        case Connection.SERIAL:
            return f"bus.serial.{sensor.name}"
    return "bus.gpio"


def _explained(
    sensor: SensorSettings, told: Mapping[str, Any], answering: Mapping[int, tuple[int, ...]]
) -> tuple[str, Finding]:
    """Return what a sensor's trouble concerns (SENSOR or BUS), and the finding."""
    key, trouble = f"sensor.{sensor.name}", told[sensor.name].get("trouble") or {}
    kind = kinds().get(trouble.get("code", ""))
    if kind is None:  # of a unit that runs another version
        seen, cure = "{error}", marked("journalctl -u tentwatch -n 50 shows more")
        return "", failure(key, seen, cure, error=told[sensor.name]["error"])
    is_silent = kind == sensor.traits.silent
    if is_silent and sensor.traits.measures_ac:
        line = _line(sensor, told)
        if line is None:
            return kind.concerns, warning(
                key,
                marked("the meter on {port} does not answer: there is no AC, or its cable is cut"),
                marked(
                    "look again while there is AC. If it is silent then, check TX, RX, 5 V and ground of its "
                    "serial side, and its address. A contact beside it tells the two apart"
                ),
                port=sensor.config.port,
            )
        return kind.concerns, failure(
            key,
            marked("the meter on {port} does not answer, and its line is alive"),
            marked("check TX, RX, 5 V and ground of its serial side, its address and its fuse"),
            port=sensor.config.port,
        )
    others: list[int] = []
    if is_silent and sensor.traits.chip is not None:
        possible = {*sensor.traits.chip.addresses} - {sensor.config.address}
        others = sorted(possible & {*answering.get(sensor.config.bus, ())})
    if others:
        return kind.concerns, failure(
            key,
            marked("no chip answers at {address}, but one does at {others}"),
            marked(
                "set address = {first} in [sensors.{name}], or change its address by the bridges on its board"
            ),
            address=f"0x{sensor.config.address:02X}",
            others=", ".join(f"0x{other:02X}" for other in others),
            first=f"0x{others[0]:02X}",
            name=sensor.name,
        )
    return kind.concerns, of_trouble(key, kind, trouble["values"])


def _line(sensor: SensorSettings, told: Mapping[str, Any]) -> bool | None:
    """Return what the contact beside a meter says of its line; None without one that knows."""
    contact = told.get(f"{sensor.name}_line")
    if contact is None or contact["quality"] != "ok":
        return None
    present = contact["values"].get("present")
    return None if present is None else bool(present)


def _is_asleep(sensor: SensorSettings, told: Mapping[str, Any]) -> bool:
    """Say whether a meter is silent because its line is dead, as it should be."""
    silent, trouble = sensor.traits.silent, told[sensor.name].get("trouble") or {}
    return (
        sensor.traits.measures_ac
        and silent is not None
        and trouble.get("code") == silent.code
        and _line(sensor, told) is False
    )


def _unheard(
    key: str, sensor: SensorSettings, said: Mapping[str, Any], looked_s: float | None
) -> Iterator[Finding]:
    if said["quality"] in ("ok", "estimated") or said.get("error"):
        return
    if said["quality"] == "starting" and looked_s is None:
        yield warning(
            key,
            marked("it has not spoken since the service was started"),
            marked("wait for half a minute, and look again"),
        )
    elif said["age_s"] is None:
        yield failure(
            key,
            marked("it has said nothing"),
            marked("check its supply and its cable; sudo journalctl -u tentwatch -n 50 shows more"),
        )
    else:
        yield failure(
            key,
            marked("its last value is {age:.0f} s old"),
            marked("check its supply and its cable; sudo journalctl -u tentwatch -n 50 shows more"),
            age=said["age_s"],
        )


def _implausible(
    key: str,
    sensor: SensorSettings,
    config: Config,
    status: Mapping[str, Any],
    told: Mapping[str, Any],
    broken: tuple[tuple[str, int], ...],
    before: Mapping[str, int],
) -> Iterator[Finding]:
    said = told[sensor.name]
    reads, errors = said.get("reads", 0), said.get("errors", 0)
    power = status.get("power", {})
    if sensor.name == "door":
        yield from _door(key, config, status, said, broken)
    elif sensor.name == "battery":
        yield from battery(
            key, sensor, config.battery, power.get("battery", {}), power, said["values"]
        )
    elif sensor.traits.on_shunt:
        yield from shunt(
            key, sensor.config, said["values"], config.generator.running_a, config.battery
        )
    elif sensor.traits.measures_ac and not said.get("error"):
        yield from ac(key, said["values"])
    elif sensor.name.endswith("_line"):
        yield from _contradicted(key, sensor, said, told)
    for alert in status.get("alerts", ()):
        name, seen, cure = ALERTS.get(alert, ("", "", ""))
        if name == sensor.name:
            yield warning(key, seen, cure)
    failed = errors - before.get(sensor.name, 0)
    if failed < LEAST_FRESH and not (
        errors >= LEAST_ERRORS and errors > LARGEST_ERROR_SHARE * (reads + errors)
    ):
        return
    if sensor.traits.unsteady is not None:
        yield of_trouble(key, sensor.traits.unsteady, vars(sensor.config))
    else:
        yield warning(
            key,
            marked("{errors} of {reads} reads have failed"),
            marked(
                "a loose wire or a disturbed cable: tighten its plugs, lay it away from power cables"
            ),
            errors=errors,
            reads=reads + errors,
        )


def shunt(
    key: str, settings: Any, values: Mapping[str, Any], running_a: float, pack: BatterySettings
) -> Iterator[Finding]:
    """Judge the generator's current, in amperes, and voltage on a shunt to a battery."""
    current_a, voltage_v = values.get("current_a"), values.get("voltage_v")
    if current_a is None:
        return
    offset_a = LARGEST_ZERO_V / settings.shunt_ohms  # the chip's own zero is off by less
    if current_a < -offset_a or current_a <= -running_a:
        yield failure(
            key,
            marked("the current is {amperes:.1f} A: a generator that charges reads as negative"),
            marked(
                "exchange the wires VIN+ and VIN− at the shunt, or set reversed = true in [sensors.generator]"
            ),
            amperes=current_a,
        )
    elif current_a and abs(current_a) <= offset_a and current_a < running_a:
        yield warning(
            key,
            marked("it reads {amperes:.2f} A while the generator stands"),
            marked("if no current flows now: sudo tentwatch zero {name}"),
            amperes=current_a,
            name=key.rpartition(".")[2],
        )
    if voltage_v is not None and voltage_v < 1.0:
        yield failure(
            key,
            marked("the shunt's voltage is {volts:.1f} V: its thin wires are not connected"),
            marked(
                "check the wires VIN+ and VIN− and their fuses, and that battery minus is connected to the "
                "Pi's ground"
            ),
            volts=voltage_v,
        )
    elif voltage_v is not None:
        yield from volts(key, voltage_v, pack)


def volts(key: str, voltage_v: float, pack: BatterySettings) -> Iterator[Finding]:
    """Judge a battery's voltage by its nominal one, both in volts."""
    cells = pack.nominal_v / 12
    if LOWEST_V * cells <= voltage_v <= HIGHEST_V * cells:
        return
    fits = [
        nominal_v
        for nominal_v in (12, 24, 36, 48)
        if nominal_v != pack.nominal_v and 11.0 <= voltage_v / (nominal_v / 12) <= 15.0
    ]
    if fits:
        yield warning(
            key,
            marked("{volts:.1f} V is no voltage of a battery of {nominal:g} V"),
            marked("set nominal_v = {fits} in [battery] if the battery is one of {fits} V"),
            volts=voltage_v,
            nominal=pack.nominal_v,
            fits=fits[0],
        )
    elif voltage_v < LOWEST_V * cells:
        yield warning(
            key,
            marked("{volts:.1f} V: the battery is empty, or not connected"),
            marked(
                "charge it at once; where it is charged, check its fuse and the wires of the shunt"
            ),
            volts=voltage_v,
        )
    else:
        yield failure(
            key,
            marked("{volts:.1f} V is too much for this battery"),
            marked(
                "switch the charger off, and have its settings checked: this damages battery and sensors"
            ),
            volts=voltage_v,
        )


def battery(
    key: str,
    sensor: SensorSettings,
    pack: BatterySettings,
    block: Mapping[str, Any],
    power: Mapping[str, Any],
    values: Mapping[str, Any],
) -> Iterator[Finding]:
    """Judge a battery's block of the state, with the sources around it."""
    voltage_v, current_a = values.get("voltage_v"), values.get("current_a")
    odd = [] if voltage_v is None else [*volts(key, voltage_v, pack)]
    yield from odd
    is_charged = power.get("source") in ("mains", "generator")
    if (
        voltage_v is not None
        and current_a is not None
        and is_charged
        and not odd
        and voltage_v >= CHARGING_V * pack.nominal_v / 12
        and current_a <= DISCHARGING_A
    ):
        seen = marked(
            "{amperes:.1f} A at {volts:.1f} V: a battery that is charged reads as discharging"
        )
        cure = marked(
            "exchange the two cables at the monitor's shunt: battery minus goes to its battery side"
        )
        if sensor.traits.on_shunt:
            cure = marked(
                "exchange the wires VIN+ and VIN− at the shunt, or set reversed = true in [sensors.battery]"
            )
        yield failure(key, seen, cure, amperes=current_a, volts=voltage_v)
    if block.get("charge_pct") is None and block.get("method") == "monitor":
        yield warning(
            key,
            marked("the monitor does not know the charge: it is not synchronised"),
            marked(
                "charge the battery until it is full once, or set the charge in the monitor's app"
            ),
        )
    elif block.get("method") == "counted" and not block.get("synchronised"):
        yield warning(
            key,
            marked("the charge is counted, and the battery has not been full yet: it is a guess"),
            marked(
                "charge the battery until it is full once; before that: sudo tentwatch zero battery"
            ),
        )


def ac(key: str, values: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge the voltage, in volts, and the frequency, in hertz, of an AC line that may be dead."""
    voltage_v, frequency_hz = values.get("voltage_v"), values.get("frequency_hz")
    if voltage_v is None or voltage_v < DEAD_AC_V:
        return
    if not LOWEST_AC_V <= voltage_v <= HIGHEST_AC_V:
        yield warning(
            key,
            marked("{volts:.0f} V is no voltage for this tent's devices"),
            marked(
                "of a generator: have its voltage set to 230 V; of mains: switch sensitive devices off, and "
                "tell the grid's operator"
            ),
            volts=voltage_v,
        )
    elif frequency_hz is not None and not LOWEST_HZ <= frequency_hz <= HIGHEST_HZ:
        yield warning(
            key,
            marked("{hertz:.1f} Hz is too far from 50 Hz"),
            marked("of a generator: take load off it, and have its governor set"),
            hertz=frequency_hz,
        )


def _contradicted(
    key: str, sensor: SensorSettings, said: Mapping[str, Any], told: Mapping[str, Any]
) -> Iterator[Finding]:
    meter = told.get(sensor.name.removesuffix("_line"), {"values": {}, "quality": "fault"})
    voltage_v = meter["values"].get("voltage_v")
    is_fresh = meter["quality"] == "ok" and not meter.get("error")
    if said["values"].get("present") is False and is_fresh and (voltage_v or 0.0) > DEAD_AC_V:
        yield warning(
            key,
            marked("the contact says that the line is dead, and the meter measures {volts:.0f} V"),
            marked("check the relay's coil, its contact and the cable to the Pi"),
            volts=voltage_v,
        )


def _door(
    key: str,
    config: Config,
    status: Mapping[str, Any],
    said: Mapping[str, Any],
    broken: tuple[tuple[str, int], ...],
) -> Iterator[Finding]:
    capacity, since = status.get("capacity", {}), status.get("since_headcount")
    if said["values"].get("obstructed") is True:
        yield failure(
            key,
            marked("a beam has been broken for more than half a minute: nothing is counted"),
            BLOCKED_CURE,
        )
    elif broken:
        yield warning(
            key,
            marked("{which} was broken all the time of this look"),
            BLOCKED_CURE,
            which=_names(broken),
        )
    entered, left = capacity.get("entered_total"), capacity.get("left_total")
    since = since or {"entered": entered or 0, "left": left or 0}
    if (
        entered is not None
        and left is not None
        # In all, since who has slept here goes out in the morning; and since the last headcount, which
        # comes after the cure.
        and _runs_backwards(entered, left, config)
        and _runs_backwards(since["entered"], since["left"], config)
    ):
        yield failure(
            key,
            marked("{left} people have gone out and {entered} have come in: it counts backwards"),
            marked(
                "exchange outer_gpio and inner_gpio in [sensors.door]: the outer beam is the one that "
                "people who come in break first. Then sudo tentwatch headcount N"
            ),
            left=left,
            entered=entered,
        )
    if capacity.get("passed_total") == 0 and not broken and not said["values"].get("obstructed"):
        seen = marked("it is free, and nobody has been counted yet")
        cure = marked("walk in and out once, and look again: one in, then one out")
        yield warning(key, seen, cure)


def _runs_backwards(entered: int, left: int, config: Config) -> bool:
    """Say whether more have gone out than what the door misses on the way in explains."""
    drift = Occupancy(entered_since=entered, left_since=left).uncertainty(config.door)
    return left - entered > max(LEAST_BACKWARDS, drift)


def _names(beams: tuple[tuple[str, int], ...]) -> Text:
    """Return the names of one or two beams, with their lines."""
    values: dict[str, object] = {}
    for number, (beam, gpio) in enumerate(beams):
        values |= {f"name{number}": beam, f"gpio{number}": gpio}
    one = "{{name{0}}} (GPIO {{gpio{0}}})"
    return Text(" + ".join(one.format(number) for number in range(len(beams))), values)


_Shown = Callable[[Any], str]
_UNITS: tuple[tuple[str, str, _Shown], ...] = (
    ("charge_pct", "%", lambda v: f"{v:.0f}"),
    ("current_a", "A", lambda v: f"{v:.1f}"),
    ("charger_current_a", "A", lambda v: f"{v:.1f}"),
    ("voltage_v", "V", lambda v: f"{v:.1f}"),
    ("frequency_hz", "Hz", lambda v: f"{v:.1f}"),
    ("panel_power_w", "W", lambda v: f"{v:.0f}"),
)


def _values(sensor: SensorSettings, said: Mapping[str, Any], status: Mapping[str, Any]) -> Text:
    """Return the live values of a sensor that is well."""
    values = said["values"]
    if sensor.name == "door":
        capacity = status.get("capacity", {})
        if sensor.traits.tells_way:
            return Text(
                marked("free; {entered} in, {left} out since installation"),
                {"entered": capacity.get("entered_total"), "left": capacity.get("left_total")},
            )
        return Text(
            marked("free; {passed} have passed since installation"),
            {"passed": capacity.get("passed_total")},
        )
    if "present" in values:
        return Text(
            marked("the line is alive") if values["present"] else marked("the line is dead")
        )
    if said.get("error"):
        return Text(marked("silent, since its line is dead: as it should be"))
    shown = [
        f"{show(values[name])} {unit}"
        for name, unit, show in _UNITS
        if values.get(name) is not None
    ]
    return Text("{values}", {"values": ", ".join(shown) or "–"})
