"""Commands from the broker: their content, where the answer goes, and how many are accepted."""

from dataclasses import dataclass

from publisher.messages import Topics

#: Commands accepted at once, and commands a second after that: more than a script sends, so that faulty ones
#: do not block good ones, and few enough not to delay the unit.
MOST_COMMANDS, COMMANDS_PER_S = 200, 50.0
#: Most characters and levels of a ResponseTopic.
LONGEST_TOPIC, MOST_LEVELS = 200, 20


@dataclass(frozen=True, slots=True)
class Request:
    """A command as received, and where its answer goes."""

    command: str
    payload: bytes
    retained: bool
    response_topic: str | None
    correlation: bytes | None


def answer_topic(request: Request, cid: str, topics: Topics) -> str:
    """Return the topic of an answer: the requested one, or else the tent's own.

    The sender of a command must not publish in a tent's name, nor disturb the broker.
    """
    topic = request.response_topic or ""
    is_tents = topic.startswith(topics.prefix + "/") and not topic.startswith(topics.of("res/"))
    is_odd = (
        len(topic) > LONGEST_TOPIC
        or topic.count("/") > MOST_LEVELS
        or not set(topic).isdisjoint("+#$")
        or not topic.isprintable()
    )
    return topics.of(f"res/{cid}") if not topic or is_tents or is_odd else topic


class Allowance:
    """Limits the accepted commands: MOST_COMMANDS at once, then COMMANDS_PER_S."""

    def __init__(self, now_s: float) -> None:
        self._left = float(MOST_COMMANDS)
        self._at_s = now_s
        self.is_used_up = False  # commands have been dropped since it was last full

    def take(self, now_s: float) -> bool:
        """Say whether one more command is accepted."""
        self._left = min(MOST_COMMANDS, self._left + (now_s - self._at_s) * COMMANDS_PER_S)
        self._at_s = now_s
        if self._left < 1:
            self.is_used_up = True
            return False
        self.is_used_up = self.is_used_up and self._left < MOST_COMMANDS
        self._left -= 1
        return True
