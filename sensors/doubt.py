"""Whether a door sees people at all, or canvas in the wind, the low sun, or legs. Pure.

What is no person and comes again and again is a *stir*: a break of a beam that is part of nobody. A hand
waves a few times, a person's arms move beside a body; canvas and sun go on.
"""

from collections import deque

#: A longer break of a beam is somebody, or something, that stands there.
STIR_S = 0.6
#: Stirs this close to a body, in seconds, are its arms, its bag, its hands while it talks.
NEAR_S = 1.5
#: Stirs with longer gaps between them are of different runs.
RUN_S = 2.5
#: From this stir of a run on the door sees wind (a hand is waved less often) …
WINDY = 4
#: … for this long after the last one.
CALM_S = 3.0
#: The door is doubted after this many stirs that each came late in a run, within this time …
STIRS, WITHIN_S = 8, 180.0
#: … or when it has seen this many more limbs than bodies: a beam is too low …
LIMBS = 6
#: … until nothing of this kind has come for this long.
CLEAR_S = 600.0


class Doubt:
    """The signs that the door sees what is not people."""

    def __init__(self) -> None:
        """Begin without a doubt."""
        self.doubtful = False
        self._run: deque[float] = deque(maxlen=WINDY)
        self._run_length = 0
        self._late: deque[float] = deque(maxlen=STIRS)  # stirs late in a run
        self._body_s: float | None = None
        self._limbs = 0
        self._sign_s = 0.0  # the last sign

    @property
    def run_length(self) -> int:
        """Number of stirs in the run that was last heard of."""
        return self._run_length

    def is_windy(self, now_s: float) -> bool:
        """Say whether the door sees wind now."""
        return self._run_length >= WINDY and now_s - self._run[-1] < CALM_S

    def stir(self, at_s: float) -> None:
        """Note a break that is part of nobody."""
        if self._body_s is not None and 0 <= at_s - self._body_s < NEAR_S:
            return
        if not self._run or at_s - self._run[-1] >= RUN_S:
            self._run.clear()
            self._run_length = 0
        self._run.append(at_s)
        self._run_length += 1
        if self._run_length > WINDY:
            self._late.append(at_s)
            if len(self._late) == STIRS and at_s - self._late[0] <= WITHIN_S:
                self._raise(at_s)

    def body(self, start_s: float, end_s: float) -> None:
        """Note a body in the beams; the stirs beside it are its own."""
        self._body_s = end_s
        for stirs in (self._run, self._late):
            while stirs and stirs[-1] > start_s - NEAR_S:
                stirs.pop()
                if stirs is self._run:
                    self._run_length -= 1
        if not self._run:
            self._run_length = 0

    def limb(self, at_s: float, *, lean: bool) -> None:
        """Note who passed: something as lean as a limb, or a body."""
        self._limbs = min(LIMBS, self._limbs + 1) if lean else max(0, self._limbs - 1)
        if self._limbs == LIMBS:
            self._raise(at_s)

    def tick(self, now_s: float) -> None:
        """Let time pass."""
        if self.doubtful and now_s >= self._sign_s + CLEAR_S:
            self.doubtful, self._limbs = False, 0

    @property
    def due_s(self) -> float | None:
        """When the doubt goes, if nothing comes."""
        return self._sign_s + CLEAR_S if self.doubtful else None

    def _raise(self, at_s: float) -> None:
        self.doubtful, self._sign_s = True, at_s
