"""The agent's inbox: sensors, link, control socket and button put news in, and do not wait.

News is dated when it comes in: the loop may get to it much later, after a slow flush of the store.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from publisher.link.requests import Request
from sensors.reading import Reading

#: Readings that come in within this time are handled together.
TOGETHER_S = 0.1


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


class Arrived(NamedTuple):
    """News, and the monotonic second at which it came in."""

    at_s: float
    news: News


class Inbox:
    """News in the order in which it came."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """`now_s` is the monotonic clock, in seconds."""
        self._now_s = now_s
        self._queue: SimpleQueue[Arrived] = SimpleQueue()
        #: The largest number of news taken at once.
        self.most = 0

    def __len__(self) -> int:
        """Return how much news waits."""
        return self._queue.qsize()

    def put(self, news: News) -> None:
        """Add news; may be called from any thread, and from a signal's handler."""
        self._queue.put(Arrived(self._now_s(), news))

    def take(self, wait_s: float = 0.0) -> list[Arrived]:
        """Return all waiting news; wait up to `wait_s` real seconds for the first.

        Consecutive readings of different sensors become one piece of news, if they came within
        TOGETHER_S: the rules run once for it.
        """
        found: list[Arrived] = []
        try:
            if wait_s > 0:
                found.append(self._queue.get(timeout=wait_s))
            while True:
                found.append(self._queue.get_nowait())
        except Empty:
            self.most = max(self.most, len(found))
            return _joined(found)


def _joined(arrived: list[Arrived]) -> list[Arrived]:
    """Return the news; readings of different sensors that came together become one piece."""
    found: list[Arrived] = []
    for at_s, news in arrived:
        before = found[-1] if found else None
        last = None if before is None or at_s - before.at_s > TOGETHER_S else before.news
        if isinstance(news, Heard) and isinstance(last, Heard) and not last.has_sensor_of(news):
            found[-1] = Arrived(at_s, Heard((*last.readings, *news.readings)))
        else:
            found.append(Arrived(at_s, news))
    return found
