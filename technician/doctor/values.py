"""Judges whether the live values of a sensor are possible, and shows them. Pure, like `plausible`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from publisher.config.battery import NOMINAL_V, BatterySettings
from publisher.config.load import Config, SensorSettings
from publisher.rules.occupancy import Occupancy
from sensors.doorway import BLOCKED_CURE
from sensors.traits import ShuntChip
from technician.doctor.findings import Finding, Text, failure, warning
from technician.words import marked

#: By chance a door may count this many more people out than in.
LEAST_BACKWARDS = 3
#: The voltage of a 12 V battery lies between these; otherwise something else is connected.
LOWEST_V, HIGHEST_V = 10.0, 15.5
#: A 12 V battery above this voltage is being charged, or was a moment ago (a full LiFePO4 rests at
#: 13.6 V). It discharges below this current.
CHARGING_V, DISCHARGING_A = 13.7, -1.0
#: Limits of a grid and of a generator (EN 50160 allows 207 to 253 V; a weak grid in winter has less).
LOWEST_AC_V, HIGHEST_AC_V = 190.0, 260.0
LOWEST_HZ, HIGHEST_HZ = 47.0, 52.0
#: Below this an AC line is dead.
DEAD_AC_V = 50.0
#: EN 50291 counts from 30 ppm of carbon monoxide, and at 100 ppm must raise the alarm within 40 minutes.
UNHEALTHY_PPM, DANGEROUS_PPM = 30.0, 100.0
#: Air in a tent and outside lies between these in °C.
LOWEST_AIR_C, HIGHEST_AIR_C = -40.0, 60.0


def judge(
    key: str,
    sensor: SensorSettings,
    config: Config,
    status: Mapping[str, Any],
    broken: tuple[tuple[str, int], ...] = (),
) -> Iterator[Finding]:
    """Return what is odd about a sensor's values. `broken` are beams that were broken all the time."""
    states = {sensor["name"]: sensor for sensor in status["sensors"]}
    state, power = states[sensor.name], status.get("power", {})
    yield from _of_another(key, sensor, state["values"])
    yield from humidity(key, sensor.name, state["values"])
    if sensor.name == "door":
        yield from _door(key, config, status, state, broken)
    elif sensor.name == "battery":
        yield from battery(
            key, sensor, config.battery, power.get("battery", {}), power, state["values"]
        )
    elif sensor.traits.shunt_chip is not None:
        chip, running_a = sensor.traits.shunt_chip, config.generator.running_a
        yield from shunt(key, chip, sensor.config, state["values"], running_a, config.battery)
    elif sensor.traits.measures_ac and not state.get("error"):
        yield from ac(key, state["values"])
    elif sensor.name == "co":
        yield from gas(key, state["values"])
    elif sensor.name.endswith("_line"):
        yield from _contradicted(key, sensor, state, states)
    elif sensor.name in ("inside", "outside"):
        yield from air(key, state["values"])


def _of_another(key: str, sensor: SensorSettings, values: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge whether the device is one for another sensor, by the quantities that only that one sends."""
    speaks = sensor.traits.speaks
    signs = {} if speaks is None else speaks.signs
    if sensor.name not in signs or signs[sensor.name] in values:
        return
    for other, sign in signs.items():
        if sign in values:
            yield failure(
                key,
                marked("the device is {device}"),
                marked("plug the right cable in, or name this section [sensors.{other}]"),
                device=sensor.traits.serves[other],
                other=other,
            )


def line(sensor: SensorSettings, states: Mapping[str, Any]) -> bool | None:
    """Return whether a meter's line is alive, by the contact beside it; None if that does not say."""
    contact = states.get(f"{sensor.name}_line")
    if contact is None or contact["quality"] != "ok":
        return None
    present = contact["values"].get("present")
    return None if present is None else bool(present)


def shunt(
    key: str,
    chip: ShuntChip,
    settings: Any,
    values: Mapping[str, Any],
    running_a: float,
    pack: BatterySettings,
) -> Iterator[Finding]:
    """Judge the generator's current, in amperes, and voltage on a shunt to a battery."""
    current_a, voltage_v = values.get("current_a"), values.get("voltage_v")
    if current_a is None:
        return
    name = key.rpartition(".")[2]
    offset_a = chip.largest_zero_v / settings.shunt_ohms  # an offset of the chip itself is smaller
    if current_a < -offset_a or current_a <= -running_a:
        yield failure(
            key,
            marked("the current is {amperes:.1f} A: a generator that charges reads as negative"),
            chip.reversed_cure,
            amperes=current_a,
            name=name,
        )
    elif current_a and abs(current_a) <= offset_a and current_a < running_a:
        yield warning(
            key,
            marked("it reads {amperes:.2f} A while the generator stands"),
            marked("if no current flows now: sudo tentwatch zero {name}"),
            amperes=current_a,
            name=name,
        )
    if voltage_v is not None and voltage_v < 1.0:
        yield failure(
            key,
            marked("the shunt's voltage is {volts:.1f} V: its thin wires are not connected"),
            chip.unconnected_cure,
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
        for nominal_v in NOMINAL_V
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
    """Judge a battery by its values, its block of the state and the power source."""
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
        if sensor.traits.shunt_chip is not None:
            cure = sensor.traits.shunt_chip.reversed_cure
        yield failure(key, seen, cure, amperes=current_a, volts=voltage_v, name=sensor.name)
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


def air(key: str, values: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge the temperature of the air, in °C."""
    temperature_c = values.get("temperature_c")
    if temperature_c is None or LOWEST_AIR_C <= temperature_c <= HIGHEST_AIR_C:
        return
    yield warning(
        key,
        marked("{celsius:.0f} °C is no temperature of the air"),
        marked("hang it away from the heater and its flue; if it hangs in the air, replace it"),
        celsius=temperature_c,
    )


def gas(key: str, values: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge the carbon monoxide, in ppm."""
    co_ppm = values.get("co_ppm")
    if co_ppm is None or co_ppm < UNHEALTHY_PPM:
        return
    if co_ppm >= DANGEROUS_PPM:
        yield failure(
            key,
            marked("{ppm:.0f} ppm of carbon monoxide: dangerous within minutes"),
            marked(
                "everybody out; open the tent; stop generator and stoves; get a doctor for anybody who feels "
                "ill"
            ),
            ppm=co_ppm,
        )
    else:
        yield warning(
            key,
            marked("{ppm:.0f} ppm of carbon monoxide: too much for a place where people stay"),
            marked(
                "open the tent, and look for exhaust or a stove that smokes. In clean air: take alcohol and "
                "solvents away from the module; if it stays like this for an hour, replace it"
            ),
            ppm=co_ppm,
        )


def _contradicted(
    key: str, sensor: SensorSettings, state: Mapping[str, Any], states: Mapping[str, Any]
) -> Iterator[Finding]:
    meter = states.get(sensor.name.removesuffix("_line"), {"values": {}, "quality": "fault"})
    voltage_v = meter["values"].get("voltage_v")
    is_fresh = meter["quality"] == "ok" and not meter.get("error")
    if state["values"].get("present") is False and is_fresh and (voltage_v or 0.0) > DEAD_AC_V:
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
    state: Mapping[str, Any],
    broken: tuple[tuple[str, int], ...],
) -> Iterator[Finding]:
    capacity, since = status.get("capacity", {}), status.get("since_headcount")
    if state["values"].get("obstructed") is True:
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
        # In total, because people who slept here leave in the morning; and since the last headcount,
        # because that is given after the wires were exchanged.
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
    if capacity.get("passed_total") == 0 and not broken and not state["values"].get("obstructed"):
        seen = marked("it is free, and nobody has been counted yet")
        cure = marked("walk in and out once, and look again: one in, then one out")
        yield warning(key, seen, cure)


def _runs_backwards(entered: int, left: int, config: Config) -> bool:
    """Say whether more have left than the door's usual errors explain."""
    drift = Occupancy(entered_lately=entered, left_lately=left).uncertainty(config.door)
    return left - entered > max(LEAST_BACKWARDS, drift)


def _names(beams: tuple[tuple[str, int], ...]) -> Text:
    """Return the names of one or two beams, with their lines."""
    values: dict[str, object] = {}
    for number, (beam, gpio) in enumerate(beams):
        values |= {f"name{number}": beam, f"gpio{number}": gpio}
    one = "{{name{0}}} (GPIO {{gpio{0}}})"
    return Text(" + ".join(one.format(number) for number in range(len(beams))), values)


def humidity(key: str, name: str, values: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge the humidity that the sensor `name` measures, if it does; fog makes it 100 % outside."""
    humidity_pct = values.get("humidity_pct")
    if humidity_pct is None or 0.0 < humidity_pct < 100.0:
        return
    if humidity_pct == 0.0:
        yield warning(key, marked("no air has a humidity of 0 %"), marked("replace the sensor"))
    elif name == "inside":
        yield warning(
            key,
            marked("a humidity of 100 %: there is water on the sensor"),
            marked("dry it, and hang it where no water drips and none runs down the wall"),
        )


_Shown = Callable[[Any], str]
_UNITS: tuple[tuple[str, str, _Shown], ...] = (
    ("charge_pct", "%", lambda v: f"{v:.0f}"),
    ("current_a", "A", lambda v: f"{v:.1f}"),
    ("charger_current_a", "A", lambda v: f"{v:.1f}"),
    ("voltage_v", "V", lambda v: f"{v:.1f}"),
    ("frequency_hz", "Hz", lambda v: f"{v:.1f}"),
    ("panel_power_w", "W", lambda v: f"{v:.0f}"),
    ("temperature_c", "°C", lambda v: f"{v:.1f}"),
    ("humidity_pct", "%", lambda v: f"{v:.0f}"),
    ("co_ppm", "ppm", lambda v: f"{v:.1f}"),
)


def shown(sensor: SensorSettings, state: Mapping[str, Any], status: Mapping[str, Any]) -> Text:
    """Return the live values of a sensor without findings, for people."""
    values = state["values"]
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
    if state.get("error"):
        return Text(marked("silent, since its line is dead: as it should be"))
    texts = [
        f"{show(values[name])} {unit}"
        for name, unit, show in _UNITS
        if values.get(name) is not None
    ]
    return Text("{values}", {"values": ", ".join(texts) or "–"})
