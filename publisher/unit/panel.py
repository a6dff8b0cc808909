"""The unit's lamp and button: how it is seen and operated without a terminal. Both are optional."""

import logging
from collections.abc import Callable, Sequence

from publisher.config.sections import TentSettings
from publisher.unit import lamp
from sensors.button import Button
from sensors.clock import Monotonic
from sensors.gpio import Lamp
from sensors.hardware import Hardware
from sensors.reading import Reading, SensorError
from sensors.sensor import Sensor
from sensors.trouble import Trouble, declare, marked

log = logging.getLogger("tentwatch.panel")

#: How long a stop waits for the button's thread.
STOP_S = 0.2

NO_LAMP = declare(
    "command.no_lamp", marked("this unit has no lamp (lamp_gpio in [tent] is not set)")
)


class Panel:
    """Shows on the lamp what matters most now: a hold of the button, a command, the unit's state."""

    def __init__(
        self,
        tent: TentSettings,
        hardware: Hardware,
        clock: Monotonic,
        on_button: Callable[[Sequence[Reading]], None],
    ) -> None:
        """`on_button` gets `pressed`, `held` and the button's faults, in the button's thread."""
        self._tent = tent
        self._hardware = hardware
        self._clock = clock
        self._lamp: Lamp | None = None
        self._state = lamp.STARTING
        self._noted_until_s: float | None = None
        #: End of an `identify` in monotonic seconds; None without one.
        self.identify_until_s: float | None = None
        #: The pattern that the lamp shows; None without a lamp.
        self.pattern: str | None = None
        self._button: Sensor | None = None
        if tent.button_gpio is not None:
            button = Button(tent.button_gpio, hardware, clock)
            self._button = Sensor("button", button, clock, on_button)

    def start(self) -> None:
        """Light the lamp and start the button's thread. A lamp that fails is logged."""
        if self._button is not None:
            self._button.start()
        if self._tent.lamp_gpio is not None:
            try:
                self._show(self._clock.now_s())
            except SensorError as error:
                log.warning("the lamp: %s", error)

    def identify(self, seconds: int, now_s: float) -> None:
        """Have the lamp show which unit this is. Raises Trouble without a lamp, or where it fails."""
        if self._tent.lamp_gpio is None:
            raise Trouble(NO_LAMP)
        before, self.identify_until_s = self.identify_until_s, now_s + seconds
        try:
            self._show(now_s)
        except SensorError:
            self.identify_until_s = before
            raise

    def note(self, now_s: float) -> None:
        """Show that holding the button has had its effect."""
        self._noted_until_s = now_s + lamp.NOTED_S
        self.tend(now_s)

    def show_state(self, state: str, now_s: float) -> None:
        """Set the pattern for the unit's state (`publisher.unit.lamp`)."""
        self._state = state
        self.tend(now_s)

    def tend(self, now_s: float) -> None:
        """Show what is due now; to be called about once a second."""
        if self._lamp is not None:
            try:
                self._show(now_s)
            except SensorError as error:
                log.warning("the lamp: %s", error)

    def _show(self, now_s: float) -> None:
        if self.identify_until_s is not None and now_s >= self.identify_until_s:
            self.identify_until_s = None
        if self._noted_until_s is not None and now_s >= self._noted_until_s:
            self._noted_until_s = None
        wanted = self._state if self._tent.lamp == "status" else lamp.DARK
        if self.identify_until_s is not None:
            wanted = lamp.IDENTIFY
        if self._noted_until_s is not None:
            wanted = lamp.NOTED
        if self._lamp is None:
            assert self._tent.lamp_gpio is not None
            self._lamp = Lamp(self._tent.lamp_gpio, self._hardware, self._clock)
        if wanted != self.pattern:
            self.pattern = wanted  # before the attempt: a failure is reported once
            self._lamp.show(lamp.STEPS_S[wanted])

    def stop(self) -> None:
        """Ask the button's thread to end; returns at once."""
        if self._button is not None:
            self._button.stop()

    def close(self) -> None:
        """Put the lamp out."""
        if self._button is not None:
            self._button.join(STOP_S)
        if self._lamp is not None:
            self._lamp.close()
            self._lamp = self.pattern = None
