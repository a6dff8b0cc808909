"""The agent's inbox: sensors, link, control socket and button put news in, and do not wait."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from publisher.link.requests import Request
from sensors.reading import Reading


@dataclass(frozen=True, slots=True)
class Heard:
    """The readings of one sensor, or of several sensors together."""

    readings: Sequence[Reading]

    def has_sensor_of(self, other: "Heard") -> bool:
        """Say whether both have readings of one sensor. Then the rules must see each by itself."""
        sensors = {reading.sensor for reading in self.readings}
        return any(reading.sensor in sensors for reading in other.readings)


@dataclass(frozen=True, slots=True)
class Pressed:
    """A press or hold of the button."""

    readings: Sequence[Reading]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the control socket. `answer` wakes the waiting thread."""

    message: object
    answer: Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Connected:
    """The link is up and wants a fresh snapshot."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The agent is to end."""


#: A Request is a command from the broker.
News = Heard | Pressed | Request | Asked | Connected | Stop


class Inbox:
    """News in the order in which it came."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[News] = SimpleQueue()
        #: The largest number of news taken at once.
        self.most = 0

    def __len__(self) -> int:
        """Return how much news waits."""
        return self._queue.qsize()

    def put(self, news: News) -> None:
        """Add news; may be called from any thread, and from a signal's handler."""
        self._queue.put(news)

    def take(self, wait_s: float = 0.0) -> list[News]:
        """Return all waiting news; wait up to `wait_s` real seconds for the first.

        Consecutive readings of different sensors become one piece of news: the rules run once for it.
        """
        found: list[News] = []
        try:
            if wait_s > 0:
                found.append(self._queue.get(timeout=wait_s))
            while True:
                found.append(self._queue.get_nowait())
        except Empty:
            self.most = max(self.most, len(found))
            return _joined(found)


def _joined(arrived: list[News]) -> list[News]:
    """Return the news; readings of different sensors that follow each other become one piece."""
    found: list[News] = []
    for news in arrived:
        last = found[-1] if found else None
        if isinstance(news, Heard) and isinstance(last, Heard) and not last.has_sensor_of(news):
            found[-1] = Heard((*last.readings, *news.readings))
        else:
            found.append(news)
    return found
