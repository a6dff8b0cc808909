"""Messages that wait for their PUBACK, oldest first."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that waits for its PUBACK."""

    kind: str  # as the contract names it; of an answer to a command, "res"
    topic: str
    payload: str
    size_bytes: int  # of the payload
    ids: tuple[int, ...]  # of the rows in it
    at_s: float


class InFlight:
    """What waits for its PUBACK. Answers, which others cause, are counted apart from our own messages."""

    def __init__(self) -> None:
        self._sent: dict[int, Sent] = {}
        self._answers = 0

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._sent)

    @property
    def answers(self) -> int:
        """How many answers wait."""
        return self._answers

    @property
    def own(self) -> int:
        """How many messages wait that are no answers."""
        return len(self._sent) - self._answers

    def add(self, number: int, sent: Sent) -> None:
        """Take in a message under the number by which it is acknowledged."""
        self._sent[number] = sent
        self._answers += sent.kind == "res"

    def take(self, number: int) -> Sent | None:
        """Return a message that was acknowledged, which waits no more; None for what was never sent."""
        sent = self._sent.pop(number, None)
        if sent is not None:
            self._answers -= sent.kind == "res"
        return sent

    def messages(self) -> Collection[Sent]:
        """Return all, oldest first."""
        return self._sent.values()

    def history(self) -> Sent | None:
        """Return the message of the backlog that waits, if one does."""
        return next((sent for sent in self._sent.values() if sent.kind == "history"), None)

    def ids(self) -> set[int]:
        """Return the ids of all rows that are on their way."""
        return {row_id for sent in self._sent.values() for row_id in sent.ids}

    def waits_s(self, now_s: float) -> float:
        """Return for how long the oldest has waited; 0 if none does."""
        oldest = next(iter(self._sent.values()), None)
        return 0.0 if oldest is None else now_s - oldest.at_s
