"""The lamp's patterns: which one stands for which state of the unit, and how each flashes. Pure."""

from collections.abc import Collection

#: Patterns, as `tentwatch status` names them.
DARK = "dark"
WORKING = "working"
NO_LINK = "no link"
SENSOR_FAULT = "sensor fault"
STARTING = "starting"
IDENTIFY = "identify"
NOTED = "noted"
CO_ALARM = "co alarm"

#: A flash, the gap to the next flash of its group, and the pause after a group, in seconds. This is slow
#: enough to be counted, and dark for most of the night.
FLASH_S, GAP_S, PAUSE_S = 0.2, 0.3, 4.0
#: The lamp is lit this long when the button has set the headcount to zero.
NOTED_S = 2.0


def _flashes(number: int) -> tuple[float, ...]:
    return (FLASH_S, GAP_S) * (number - 1) + (FLASH_S, PAUSE_S)


#: Each pattern as seconds lit, seconds dark, and so on; it repeats. A single number is steady light, and
#: none is darkness.
STEPS_S: dict[str, tuple[float, ...]] = {
    DARK: (),
    WORKING: _flashes(1),
    NO_LINK: _flashes(2),
    SENSOR_FAULT: _flashes(3),
    STARTING: (1.0, 1.0),
    IDENTIFY: (0.1, 0.1),
    NOTED: (NOTED_S,),
    CO_ALARM: (0.9, 0.1),
}


def state_pattern(qualities: Collection[str], *, connected: bool, tried: bool) -> str:
    """Return the pattern for a unit's state: the qualities of its sensors, and its link.

    `tried` says that an attempt to connect has ended, well or not. A fault that can be mended in the
    tent is shown before one that cannot.
    """
    if {"fault", "stale"} & set(qualities):
        return SENSOR_FAULT
    if "starting" in qualities or not (connected or tried):
        return STARTING
    return WORKING if connected else NO_LINK
