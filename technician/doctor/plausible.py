"""What `tentwatch doctor` finds of each sensor: its trouble, its silence, its live values.

Pure: it turns a configuration and the output of `tentwatch status` into findings. The source of the
status does not matter: a running unit, or doctor's own look at the devices.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from publisher.config.load import Config, SensorSettings
from sensors.traits import Connection
from sensors.trouble import BUS, SENSOR
from technician.doctor import values
from technician.doctor.findings import (
    Finding,
    Verdict,
    failure,
    not_tried,
    of_status,
    of_trouble,
    unknown,
    warning,
    well,
)
from technician.words import marked

#: A sensor has a loose wire if more than this share of its reads has failed, and at least this many …
LARGEST_ERROR_SHARE, LEAST_ERRORS = 0.05, 3
#: … or if at least this many have failed within the seconds of a look.
LEAST_FRESH = 2

#: Alerts that say more than the values. Each has its sensor, what is seen, and the cure.
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
    "generator_overspeed": (
        "generator",
        marked("the generator runs too fast"),
        marked("switch off what could break, then look at its governor and its 50/60 Hz switch"),
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
    "door_doubtful": (
        "door",
        marked("what the beams see is not people"),
        marked(
            "tie the canvas so that the wind does not move it into the beams, shade the receivers from the "
            "low sun, and mount both beams 1.0 to 1.2 m high. Then count the people inside: sudo tentwatch "
            "headcount N"
        ),
    ),
    "autonomy_low": (
        "generator",
        marked("the tent may soon be dark"),
        marked(
            "refuel the generator and say so (sudo tentwatch refuelled), or start it; the limit is low_min "
            "in [autonomy]"
        ),
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
    "cold": (
        "inside",
        marked("it has been too cold inside for a while"),
        marked(
            "look at the heater and its fuel, and close the door; the limit is cold_c in [climate]"
        ),
    ),
    "co_alarm": (
        "co",
        marked("there is a dangerous amount of carbon monoxide in the tent"),
        marked(
            "everybody out; open the tent; stop generator and stoves; get a doctor for anybody who feels ill"
        ),
    ),
    "co_warning": (
        "co",
        marked("there is too much carbon monoxide in the tent"),
        marked(
            "open the tent, and find where it comes from: a stove, a generator too near, a heater's chimney"
        ),
    ),
    "co_sensor_old": (
        "co",
        marked("the sensor of carbon monoxide is past its life"),
        marked("replace it, and write the day as fitted in [co]"),
    ),
    "co_sensor_test": (
        "co",
        marked("its reading has not changed for days: a dead sensor reads as clean air does"),
        marked(
            "hold a match below it that has just been blown out: it must show more than 1 ppm within a "
            "minute. If it does not, replace it"
        ),
    ),
}


def sensors(
    config: Config,
    status: Mapping[str, Any],
    *,
    looked_s: float | None = None,
    before: Mapping[str, int] | None = None,
    broken: tuple[tuple[str, int], ...] = (),
    answering: Mapping[str, tuple[int, ...]] = {},
) -> tuple[list[Finding], list[Finding]]:
    """Return the findings of the buses and ports that have failed, and of each sensor.

    `status` is the running unit's. With `looked_s` it comes from a look of this many seconds at devices
    that nobody else uses. `before` has the number of failed reads of each sensor some seconds ago.
    `broken` are the beams (name and GPIO number) that were broken during the whole look. `answering` has
    the other addresses at which a silent sensor's chip answers, by sensor.
    """
    of_buses: list[Finding] = []
    of_sensors: list[Finding] = []
    states = {sensor["name"]: sensor for sensor in status.get("sensors", ())}
    for sensor in config.sensors:
        key = f"sensor.{sensor.name}"
        state = states.get(sensor.name)
        if state is None:
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
        if state.get("error") and not _is_asleep(sensor, states):
            found = _explained(sensor, states, answering)
            if found.key == BUS:
                of_buses.append(found._replace(key=bus_key(sensor)))
                found = not_tried(key, marked("{bus} does not work"), bus=bus_key(sensor))
            of_sensors.append(found._replace(key=key))
            continue
        odd = [*_unheard(key, state, looked_s)] or [
            *values.judge(key, sensor, config, status, broken),
            *_alerts(key, sensor, status),
            *_unsteady(key, sensor, state, (before or {}).get(sensor.name, 0)),
        ]
        if odd:
            of_sensors.append(next((f for f in odd if f.verdict is Verdict.FAIL), odd[0]))
        else:
            shown = values.shown(sensor, state, status)
            of_sensors.append(well(key, "{values}", values=shown))
    return of_buses, of_sensors


def bus_key(sensor: SensorSettings) -> str:
    """Return the key of the check of a sensor's bus or port."""
    match sensor.traits.connection:
        case Connection.I2C:
            return f"bus.i2c-{sensor.config.bus}"
        case Connection.SERIAL:
            return f"bus.serial.{sensor.name}"
        case Connection.ONE_WIRE:
            return "bus.1-wire"
        case Connection.GPIO:
            return "bus.gpio"


def _explained(
    sensor: SensorSettings, states: Mapping[str, Any], answering: Mapping[str, tuple[int, ...]]
) -> Finding:
    """Return the finding of a sensor's trouble. Its key is SENSOR or BUS: what the trouble concerns."""
    state = states[sensor.name]
    found = of_status(state.get("trouble"))
    if found is None:
        return unknown(SENSOR, state["error"])
    if not _is_silent(sensor, state):
        return found
    if sensor.traits.measures_ac:
        return _silent_meter(sensor, values.line(sensor, states))
    others = [a for a in answering.get(sensor.name, ()) if a != sensor.config.address]
    return _wrong_address(sensor, others) if others else found


def _is_silent(sensor: SensorSettings, state: Mapping[str, Any]) -> bool:
    """Say whether the device does not answer at all."""
    silent, trouble = sensor.traits.silent, state.get("trouble")
    return silent is not None and trouble is not None and trouble["code"] == silent.code


def _is_asleep(sensor: SensorSettings, states: Mapping[str, Any]) -> bool:
    """Say whether a meter is silent because its line is dead, as it should be."""
    return (
        sensor.traits.measures_ac
        and _is_silent(sensor, states[sensor.name])
        and values.line(sensor, states) is False
    )


def _silent_meter(sensor: SensorSettings, line: bool | None) -> Finding:
    if line is None:
        return warning(
            SENSOR,
            marked("the meter on {port} does not answer: there is no AC, or its cable is cut"),
            marked(
                "look again while there is AC. If it is silent then, check TX, RX, 5 V and ground of its "
                "serial side, and its address. A contact beside it tells the two apart"
            ),
            port=sensor.config.port,
        )
    return failure(
        SENSOR,
        marked("the meter on {port} does not answer, and its line is alive"),
        marked("check TX, RX, 5 V and ground of its serial side, its address and its fuse"),
        port=sensor.config.port,
    )


def _wrong_address(sensor: SensorSettings, others: list[int]) -> Finding:
    return failure(
        SENSOR,
        marked("no chip answers at {address}, but one does at {others}"),
        marked(
            "set address = {first} in [sensors.{name}], or change its address by the bridges on its board"
        ),
        address=f"0x{sensor.config.address:02X}",
        others=", ".join(f"0x{other:02X}" for other in others),
        first=f"0x{others[0]:02X}",
        name=sensor.name,
    )


def _unheard(key: str, state: Mapping[str, Any], looked_s: float | None) -> Iterator[Finding]:
    if state["quality"] in ("ok", "estimated") or state.get("error"):
        return
    if state["quality"] == "starting" and state["age_s"] is not None:
        yield warning(
            key,
            marked("it warms up: its values do not count yet"),
            marked("wait for three minutes after its supply came on, and look again"),
        )
    elif state["quality"] == "starting" and looked_s is None:
        yield warning(
            key,
            marked("it has not spoken since the service was started"),
            marked("wait for half a minute, and look again"),
        )
    elif state["age_s"] is None:
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
            age=state["age_s"],
        )


def _alerts(key: str, sensor: SensorSettings, status: Mapping[str, Any]) -> Iterator[Finding]:
    for alert in status.get("alerts", ()):
        name, seen, cure = ALERTS.get(alert, ("", "", ""))
        if name == sensor.name:
            yield warning(key, seen, cure)


def _unsteady(
    key: str, sensor: SensorSettings, state: Mapping[str, Any], errors_before: int
) -> Iterator[Finding]:
    """Find a sensor whose reads sometimes fail."""
    reads, errors = state.get("reads", 0), state.get("errors", 0)
    many = errors >= LEAST_ERRORS and errors > LARGEST_ERROR_SHARE * (reads + errors)
    if errors - errors_before < LEAST_FRESH and not many:
        return
    if sensor.traits.unsteady is not None:
        yield of_trouble(key, sensor.traits.unsteady, vars(sensor.config))
        return
    yield warning(
        key,
        marked("{errors} of {reads} reads have failed"),
        marked(
            "a loose wire or a disturbed cable: tighten its plugs, lay it away from power cables"
        ),
        errors=errors,
        reads=reads + errors,
    )
