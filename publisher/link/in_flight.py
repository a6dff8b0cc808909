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
    resent: int = 0  # rows in it that the broker has confirmed before
    resent_until: int = 0  # the last one's id

    @property
    def is_divisible(self) -> bool:
        """Whether its records can be sent in smaller messages."""
        return max(len(self.ids), self.resent) > 1


class InFlight:
    """Messages that wait for their PUBACK. Answers, which others cause, are counted separately."""

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
        """How many messages other than answers wait."""
        return len(self._sent) - self._answers

    def add(self, number: int, sent: Sent) -> None:
        """Add a message under the number by which it will be acknowledged."""
        self._sent[number] = sent
        self._answers += sent.kind == "res"

    def take(self, number: int) -> Sent | None:
        """Remove and return an acknowledged message; None if it was never sent."""
        sent = self._sent.pop(number, None)
        if sent is not None:
            self._answers -= sent.kind == "res"
        return sent

    def messages(self) -> Collection[Sent]:
        """Return all, oldest first."""
        return self._sent.values()

    def history(self) -> Sent | None:
        """Return the waiting message of the backlog, if there is one."""
        return next((sent for sent in self._sent.values() if sent.kind == "history"), None)

    def has_live_until(self, row_id: int) -> bool:
        """Say whether a row up to this id was sent live, and waits."""
        live = (sent for sent in self._sent.values() if sent.kind != "history")
        return any(sent_id <= row_id for sent in live for sent_id in sent.ids)

    def ids(self) -> set[int]:
        """Return the ids of all rows in flight."""
        return {row_id for sent in self._sent.values() for row_id in sent.ids}

    def waits_s(self, now_s: float) -> float:
        """Return for how long the oldest has waited; 0 if none does."""
        oldest = next(iter(self._sent.values()), None)
        return 0.0 if oldest is None else now_s - oldest.at_s
