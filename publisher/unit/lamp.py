"""What the lamp tells: which pattern stands for how the unit does, and how each pattern flashes. Pure."""

from collections.abc import Collection

#: Patterns, by their names in `tentwatch status`.
DARK = "dark"
WORKING = "working"
NO_LINK = "no link"
SENSOR_FAULT = "sensor fault"
STARTING = "starting"
IDENTIFY = "identify"
NOTED = "noted"

#: A flash and the pause to the next one of its group, and the pause after a group, in seconds: slow
#: enough to be counted, and dark for most of the night.
FLASH_S, GAP_S, PAUSE_S = 0.2, 0.3, 4.0
#: The lamp is lit this long when the button has set the headcount to zero.
NOTED_S = 2.0


def _flashes(number: int) -> tuple[float, ...]:
    return (FLASH_S, GAP_S) * (number - 1) + (FLASH_S, PAUSE_S)


#: How each pattern goes, again and again: seconds lit, seconds dark, and so on. One number alone is
#: steady light, and none is darkness.
STEPS_S: dict[str, tuple[float, ...]] = {
    DARK: (),
    WORKING: _flashes(1),
    NO_LINK: _flashes(2),
    SENSOR_FAULT: _flashes(3),
    STARTING: (1.0, 1.0),
    IDENTIFY: (0.1, 0.1),
    NOTED: (NOTED_S,),
}


def state_pattern(qualities: Collection[str], *, connected: bool, tried: bool) -> str:
    """Return the pattern for how a unit does: the qualities of its sensors, and its link.

    `tried` says that an attempt to connect has ended, well or not. What can be mended in the tent comes
    before what cannot.
    """
    if {"fault", "stale"} & set(qualities):
        return SENSOR_FAULT
    if "starting" in qualities or not (connected or tried):
        return STARTING
    return WORKING if connected else NO_LINK
