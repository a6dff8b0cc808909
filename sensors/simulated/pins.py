"""Pins whose far end is a simulated cable, with edges timed by the simulation."""

import math
from collections.abc import Callable
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPin
from gpiozero.pins.pi import PiPin


class Pin(MockPin):  # type: ignore[misc]  # the library carries no types
    """A pin that follows its cable; with the cable cut or unplugged it follows its pull resistor."""

    def __init__(self, factory: Any, info: Any) -> None:
        self.cable: bool | None = None
        self.edge_s = 0.0
        super().__init__(factory, info)

    def _set_pull(self, value: str) -> None:
        self._pull = value
        self.edge_s = self.factory.ticks()
        self.follow()

    def follow(self) -> None:
        """Take the level of the cable, or without a cable that of the pull resistor."""
        if self._function != "input":
            return
        level = self._pull == "up" if self.cable is None else self.cable
        (self.drive_high if level else self.drive_low)()

    def _get_state(self) -> bool:
        self.factory.check()
        return bool(self._state)

    def _set_state(self, value: Any) -> None:
        self.factory.check()
        super()._set_state(value)

    def _call_when_changed(self) -> None:
        with self._when_changed_lock:  # a driver may be closing the pin in another thread
            if self._when_changed is not None and not self.factory.deaf:
                PiPin._call_when_changed(self, self.edge_s, self._state)


class Pins(MockFactory):  # type: ignore[misc]
    """A pin factory on the clock `now_s`, for the drivers and for the code that moves the cables.

    While `failure` is set, every pin raises it to the drivers; while `deaf`, edges are lost.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self.horizon_s = math.inf
        self.failure: Exception | None = None
        self.deaf = False
        super().__init__(pin_class=Pin)

    def check(self) -> None:
        """Raise the failure that is set."""
        if self.failure is not None:
            # A new one each time: an exception that lives on keeps its traceback's objects alive.
            raise type(self.failure)(*self.failure.args)

    def pin(self, name: Any, *args: Any, **kwargs: Any) -> Any:
        """Return a pin for a driver. Raises the failure that is set."""
        self.check()
        return super().pin(name, *args, **kwargs)

    def ticks(self) -> float:
        """Return the present in seconds, on the clock of the edges.

        A world that moves the cables sets `horizon_s` to the time of its next event. If a busy machine
        delays that event, the pins' clock waits for it there.
        """
        return min(self._now_s(), self.horizon_s)

    def set_cable(self, gpio: int, high: bool | None, at_s: float | None = None) -> None:
        """Drive a line high or low, or cut its cable (None), at the time `at_s` (default: now)."""
        pin = super().pin(f"GPIO{gpio}")
        pin.cable = high
        pin.edge_s = self.ticks() if at_s is None else at_s
        pin.follow()

    def is_watched(self, gpio: int) -> bool:
        """Say whether a driver waits for a line's edges."""
        return super().pin(f"GPIO{gpio}").when_changed is not None

    def is_high(self, gpio: int) -> bool:
        """Return the level of a line, for example a lamp's."""
        return bool(super().pin(f"GPIO{gpio}")._state)
