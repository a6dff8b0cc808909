"""Driver: a dry contact that says whether mains is present (a relay across the mains feed)."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensors.capture import no_tap
from sensors.clock import Monotonic
from sensors.gpio import HIGHEST_GPIO, Inputs
from sensors.hardware import Hardware
from sensors.reading import Measurement, SensorError
from sensors.settings import setting

HEARTBEAT_S = 1.0
#: A contact that has not come to rest after this long is no bouncing contact but a fault.
LONGEST_BOUNCE_S = 1.0


@dataclass(frozen=True)
class Config:
    """Keys of a sensor with `driver = "contact"`."""

    gpio: int = setting(doc="GPIO number of the line (BCM)", low=0, high=HIGHEST_GPIO)
    present_level: str = setting(
        "low",
        doc="level while mains is present; with 'low' a cut cable reads as no mains",
        choices=("low", "high"),
    )
    settle_s: float = setting(
        0.003,
        doc="a level counts when it has stood this long; longer than the relay bounces",
        low=0.0,
        high=1.0,
    )


class Contact:
    """A contact between a line and ground; gives present, at once and once a second."""

    period_s = 0.0

    def __init__(self, config: Config, hardware: Hardware, clock: Monotonic) -> None:
        self.tap = no_tap
        self._config = config
        self._hardware = hardware
        self._clock = clock
        self._inputs: Inputs | None = None
        self._reported_s: float | None = None

    def open(self) -> None:
        """Take the line. Raises SensorError."""
        self._inputs = Inputs((self._config.gpio,), self._hardware)
        self._reported_s = None

    def read(self) -> Sequence[Measurement]:
        """Wait for the contact to change and settle, or for the next heartbeat."""
        inputs, clock = self._inputs, self._clock
        assert inputs is not None, "read before open"
        if self._reported_s is not None:
            due_s = self._reported_s + HEARTBEAT_S
            if inputs.next_edge(clock.real_s(due_s - clock.now_s())) is not None:
                self._settle(inputs)
        self._reported_s = clock.now_s()
        present = inputs.is_high(self._config.gpio) == (self._config.present_level == "high")
        return (Measurement("present", present),)

    def _settle(self, inputs: Inputs) -> None:
        limit_s = self._clock.now_s() + LONGEST_BOUNCE_S
        while inputs.next_edge(self._clock.real_s(self._config.settle_s)) is not None:
            if self._clock.now_s() > limit_s:
                raise SensorError(
                    f"GPIO {self._config.gpio} does not come to rest: check the relay and its cable"
                )

    def interrupt(self) -> None:
        """End a waiting read."""
        inputs = self._inputs  # once: the sensor's own thread may be closing it
        if inputs is not None:
            inputs.interrupt()

    def close(self) -> None:
        """Give the line back."""
        inputs, self._inputs = self._inputs, None
        if inputs is not None:
            inputs.close()
