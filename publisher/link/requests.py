"""Commands from the broker: what came in, where the answer goes, and how many are listened to."""

from dataclasses import dataclass

from publisher.messages import Topics

#: Commands that are taken at once, and how many a second from then on: more than a script sends, so that
#: faulty commands keep nobody from being answered, and fewer than would hold us up.
MOST_COMMANDS, COMMANDS_PER_S = 200, 50.0
#: Characters and levels of a topic that an answer may be asked to.
LONGEST_TOPIC, MOST_LEVELS = 200, 20


@dataclass(frozen=True, slots=True)
class Request:
    """A command as it came in, and where its answer goes."""

    command: str
    payload: bytes
    retained: bool
    response_topic: str | None
    correlation: bytes | None


def answer_topic(request: Request, cid: str, topics: Topics) -> str:
    """Return where an answer goes: where it was asked to, or else to the tent's own topic.

    Whoever sends commands does not get to speak in a tent's name, nor to upset the broker.
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
    """How many commands are listened to: MOST_COMMANDS at once, then COMMANDS_PER_S."""

    def __init__(self, now_s: float) -> None:
        self._left = float(MOST_COMMANDS)
        self._at_s = now_s
        self.is_used_up = False  # some have been ignored since it was last full

    def take(self, now_s: float) -> bool:
        """Say whether one more command is listened to."""
        self._left = min(MOST_COMMANDS, self._left + (now_s - self._at_s) * COMMANDS_PER_S)
        self._at_s = now_s
        if self._left < 1:
            self.is_used_up = True
            return False
        self.is_used_up = self.is_used_up and self._left < MOST_COMMANDS
        self._left -= 1
        return True
