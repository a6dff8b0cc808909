"""A sensor at work: one thread that owns one driver and retries for ever."""

import logging
import threading
from collections.abc import Callable, Sequence

from sensors.clock import Monotonic
from sensors.reading import (
    ERRORS,
    FAULT,
    READ_DURATION_S,
    READS,
    Driver,
    Measurement,
    Quality,
    Reading,
    SensorError,
)
from sensors.trouble import SENSOR, Trouble, declare, marked

log = logging.getLogger("tentwatch.sensors")

UNEXPECTED = declare(
    "sensor.unexpected",
    marked("the program failed in a way that nobody has foreseen ({error})"),
    marked("please report this; journalctl -u tentwatch -n 50 shows more"),
    concerns=SENSOR,
)

#: Failed reads in a row after which the device counts as failed and is reopened.
TOLERATED_FAILURES = 3
#: A failed read is repeated after this time, if the device is read less often: its last value would
#: otherwise be old before the next one comes.
AGAIN_S = 1.0
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0


class Sensor:
    """Opens its driver, reads it, delivers Readings, and reopens it after a failure, for ever.

    Every exception of the driver stays in this thread and becomes a reading of quality `fault`.
    """

    def __init__(
        self,
        name: str,
        driver: Driver,
        clock: Monotonic,
        deliver: Callable[[Sequence[Reading]], None],
    ) -> None:
        self.name = name
        self._driver = driver
        self._clock = clock
        self._deliver = deliver
        self._stopping = threading.Event()
        self._reads = 0
        self._errors = 0
        self._thread = threading.Thread(target=self._run, name=f"sensor-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; returns at once."""
        self._stopping.set()
        self._driver.interrupt()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread, at most `timeout_s`; say whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._stopping.is_set():
            reads_before = self._reads
            try:
                self._driver.open()
                self._read_until_it_fails()
            except Exception as error:  # the only broad one: no device may stop the unit
                self._report_failure(error)
            finally:
                self._close()
            if self._reads > reads_before:
                wait_s = FIRST_WAIT_S
            self._stopping.wait(self._clock.real_s(wait_s))
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    def _read_until_it_fails(self) -> None:
        failures = 0
        due_s = self._clock.now_s()
        while not self._stopping.is_set():
            now_s = self._clock.now_s()
            if due_s > now_s and self._stopping.wait(self._clock.real_s(due_s - now_s)):
                return
            began_s = self._clock.now_s()
            if self._driver.period_s:  # reads missed on a slow bus are not made up for
                due_s = self._clock.beat_after(began_s, self._driver.period_s)
            try:
                found = self._driver.read()
            except SensorError as error:
                failures += 1
                if failures >= TOLERATED_FAILURES:
                    raise
                self._errors += 1
                log.warning("%s: %s", self.name, error)
                due_s = min(due_s, self._clock.beat_after(began_s, AGAIN_S))
                continue
            failures = 0
            if found:
                self._report(found, began_s)

    def _report(self, found: Sequence[Measurement], began_s: float) -> None:
        now_s = self._clock.now_s()
        self._reads += 1
        readings = [
            Reading(self.name, m.quantity, m.value, m.quality, now_s, m.trouble) for m in found
        ]
        readings.append(Reading(self.name, READS, self._reads, Quality.OK, now_s))
        if self._driver.period_s:  # a read that waits for the device has no useful duration
            readings.append(Reading(self.name, READ_DURATION_S, now_s - began_s, Quality.OK, now_s))
        readings.append(Reading(self.name, ERRORS, self._errors, Quality.OK, now_s))
        self._deliver(readings)

    def _report_failure(self, error: Exception) -> None:
        self._errors += 1
        now_s = self._clock.now_s()
        self._deliver(
            (
                Reading(self.name, FAULT, None, Quality.FAULT, now_s, _trouble(error)),
                Reading(self.name, ERRORS, self._errors, Quality.OK, now_s),
            )
        )

    def _close(self) -> None:
        try:
            self._driver.close()
        except Exception as error:  # a vanished port may even fail to close
            self._report_failure(error)


def _trouble(error: Exception) -> Trouble:
    """Return an exception's trouble without its traceback, which would keep the device's objects alive."""
    if isinstance(error, Trouble):
        return Trouble(error.kind, **error.values)
    return Trouble(UNEXPECTED, error=f"{type(error).__name__}: {error}")
