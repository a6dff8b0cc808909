"""The unit's lamp, buzzer and button: how it is seen, heard and operated without a terminal.

All three are optional.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from publisher.config.co import ALARM
from publisher.config.sections import TentSettings
from publisher.unit import buzzer, lamp
from publisher.unit.buzzer import Buzzer
from sensors.button import Button
from sensors.clock import Monotonic
from sensors.gpio import Output
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
    """Shows on the lamp what matters most now, and sounds the buzzer while carbon monoxide does."""

    def __init__(
        self,
        tent: TentSettings,
        hardware: Hardware,
        clock: Monotonic,
        on_button: Callable[[Sequence[Reading]], None],
    ) -> None:
        """`on_button` gets `pressed`, `held` and the button's faults, in the button's thread."""
        self._tent = tent
        self._clock = clock
        self.lamp = Signal("lamp", tent.lamp_gpio, lamp.STEPS_S, hardware, clock)
        self.buzzer = Signal("buzzer", tent.buzzer_gpio, buzzer.STEPS_S, hardware, clock)
        self._state = lamp.STARTING
        self._co_alarm = False
        self._sound = Buzzer()
        self._noted_until_s: float | None = None
        #: End of an `identify` in monotonic seconds; None without one.
        self.identify_until_s: float | None = None
        self._button: Sensor | None = None
        if tent.button_gpio is not None:
            button = Button(tent.button_gpio, hardware, clock)
            self._button = Sensor("button", button, clock, on_button)

    def start(self) -> None:
        """Light the lamp and start the button's thread."""
        if self._button is not None:
            self._button.start()
        self.tend(self._clock.now_s())

    def identify(self, seconds: int, now_s: float) -> None:
        """Have the lamp show which unit this is. Raises Trouble without a lamp, or where it fails."""
        if self._tent.lamp_gpio is None:
            raise Trouble(NO_LAMP)
        before, self.identify_until_s = self.identify_until_s, now_s + seconds
        try:
            self.lamp.show(self._wanted(now_s))
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

    def follow(self, alerts: Collection[str], now_s: float) -> None:
        """Show and sound the tent's standing alerts; to be called in each turn of the loop."""
        self._co_alarm = ALARM in alerts
        self._sound.follow(alerts)
        self.tend(now_s)

    def silence(self, now_s: float) -> bool:
        """Silence the buzzer for a while; say whether it sounded."""
        if self._tent.buzzer_gpio is None or not self._sound.silence(now_s):
            return False
        self.tend(now_s)
        return True

    def tend(self, now_s: float) -> None:
        """Show and sound what is due now."""
        self.lamp.try_to_show(self._wanted(now_s))
        self.buzzer.try_to_show(self._sound.pattern(now_s))

    def _wanted(self, now_s: float) -> str:
        """Return the lamp's pattern: what matters most comes last."""
        if self.identify_until_s is not None and now_s >= self.identify_until_s:
            self.identify_until_s = None
        if self._noted_until_s is not None and now_s >= self._noted_until_s:
            self._noted_until_s = None
        wanted = self._state if self._tent.lamp == "status" else lamp.DARK
        if self.identify_until_s is not None:
            wanted = lamp.IDENTIFY
        if self._noted_until_s is not None:
            wanted = lamp.NOTED
        return lamp.CO_ALARM if self._co_alarm else wanted

    def stop(self) -> None:
        """Ask the button's thread to end; returns at once."""
        if self._button is not None:
            self._button.stop()

    def close(self) -> None:
        """Put the lamp out and the buzzer off."""
        if self._button is not None:
            self._button.join(STOP_S)
        self.lamp.close()
        self.buzzer.close()


class Signal:
    """The lamp or the buzzer: its line, which pattern it shows, and what is wrong with it."""

    def __init__(
        self,
        name: str,
        gpio: int | None,
        steps_s: Mapping[str, Sequence[float]],
        hardware: Hardware,
        clock: Monotonic,
    ) -> None:
        """Without a `gpio` it shows nothing. `steps_s` has the steps of each pattern (`Output.show`)."""
        self._name = name
        self._gpio = gpio
        self._steps_s = steps_s
        self._hardware = hardware
        self._clock = clock
        self._output: Output | None = None
        self._tried: str | None = None
        self._trouble: Trouble | None = None
        #: The pattern that it shows; None without a line.
        self.pattern: str | None = None

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong with its line; None if it works."""
        if self._trouble is None and self._output is not None:
            return self._output.trouble
        return self._trouble

    def show(self, pattern: str) -> None:
        """Show a pattern. Raises SensorError if the line fails."""
        if self._gpio is None or (pattern == self.pattern and self.trouble is None):
            return
        self._tried = pattern
        try:
            if self._output is None:
                self._output = Output(self._gpio, self._hardware, self._clock, self._name)
            self._output.show(self._steps_s[pattern])
        except SensorError as error:
            # A new one: the traceback of the error would keep a line alive that was opened half-way.
            self._trouble, self.pattern = Trouble(error.kind, **error.values), None
            raise
        self._trouble, self.pattern = None, pattern

    def try_to_show(self, pattern: str) -> None:
        """Show a pattern. Where that fails, it is tried again with the next one, and logged once."""
        if pattern == self._tried:
            return
        before = self._trouble
        try:
            self.show(pattern)
        except SensorError as error:
            if before is None or before.as_dict() != error.as_dict():
                log.warning("the %s: %s", self._name, self._trouble)

    def close(self) -> None:
        """Switch it off."""
        if self._output is not None:
            self._output.close()
            self._output = self.pattern = self._tried = None
