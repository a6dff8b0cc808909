"""Frames of a Winsen ZE07-CO or ZE15-CO: bytes in, believed concentrations out (Winsen's manuals).

A frame is `FF 04 03 01 HI LO 13 88 CK`: carbon monoxide, ppm, one decimal, the value in tenths, the full
scale of 500.0 ppm. The bytes from the second to CK sum to 0 modulo 256. The highest bit of HI is the ZE15's
report that its cell has failed.

Two errors in HI, LO and CK can cancel in this sum. So a frame that fits is a witness, not a proof:

- A value within 2 ppm of the last believed one is believed at once.
- A larger step must be confirmed: it is believed when the next frame lies on the same side, and then the
  nearer of the two counts. So a rise is one frame late, and one wrong frame moves nothing.
- On a line that has damaged one of its last 300 frames, a value within 2 ppm must also have come in one of
  the eight frames before. Otherwise small errors, which no other frame contradicts, would get through.
- While more than 3 of the last 60 frames are bad, nothing is believed (`sensors/line_trust.py`).
- The first believed value is the middle one of three frames.
- A value above the full scale counts as the full scale: in much gas the alarm must not lose its value.
"""

from collections import deque

from sensors.framing import Cutter
from sensors.line_trust import LineTrust, Trust
from sensors.trouble import Marked, marked

#: The request to send a frame every second. A module in question-and-answer mode is silent without it.
SEND_BY_YOURSELF = bytes.fromhex("FF 01 78 40 00 00 00 00 47")

_HEAD, _SCALE = bytes.fromhex("FF 04 03 01"), bytes.fromhex("13 88")
_LENGTH = 9
_FAILED_BIT = 0x80
FULL_SCALE_PPM = 500.0

#: Number of frames by which the line is judged, and how many of them may be bad.
WINDOW, TOLERATED = 60, 3
#: Number of good frames after a bad one from which the line counts as clean again.
CLEAN_FRAMES = 300
#: Largest step that needs no confirmation, in tenths of a ppm: a good module's noise.
SMALL_STEP = 20
#: Number of frames before a frame, one of which must have its value if the line is not clean.
WITNESSES = 8

#: The meaning of a frame: `co_ppm`, None if the module says that its cell has failed.
Figures = dict[str, float | None]


def _length(head: bytes) -> int | None:
    """Return the length of the frame that begins with these bytes."""
    return _LENGTH if _HEAD.startswith(head) else None


def _is_whole(frame: bytes) -> bool:
    return frame[6:8] == _SCALE and not sum(frame[1:]) & 0xFF


def tenths(frame: bytes) -> int | None:
    """Return a whole frame's concentration in tenths of a ppm; None if the cell has failed."""
    high, low = frame[4], frame[5]
    return None if high & _FAILED_BIT else min(high << 8 | low, round(FULL_SCALE_PPM * 10))


class Frames:
    """Parses a module's line: any bytes in, believed concentrations out.

    `good` counts the frames that passed all checks of the frame and the line; most of them give a
    concentration. `bad` counts the others. `flaw` is the fault of the last frame, None if it was good.
    """

    def __init__(self, trust: Trust | None = None) -> None:
        self.good = self.bad = 0
        self._trust = trust or LineTrust(WINDOW, TOLERATED)
        self._good_in_a_row = CLEAN_FRAMES
        self.start_over()

    def start_over(self) -> None:
        """Forget the value, after an interruption of the line. Trust in the line stays."""
        self.flaw: Marked | None = None
        self._cutter = Cutter(_length, _is_whole, shortest=_LENGTH, usual=_LENGTH)
        self._forget()

    def feed(self, data: bytes) -> list[Figures]:
        """Return the concentrations that are believed after the frames that `data` completes."""
        found: list[Figures] = []
        for frame in self._cutter.feed(data):
            if frame is None:
                self._refuse(marked("a damaged frame"))
                self._trust.bad()
                self._good_in_a_row = 0
                continue
            self._good_in_a_row += 1
            if not self._trust.good():
                self._refuse(marked("too many frames are damaged to believe the others"))
                self._forget()
                continue
            self.flaw = None
            self.good += 1
            found += self._believed(tenths(frame))
        return found

    def _forget(self) -> None:
        # In tenths of a ppm: the last believed value, and those of the last frames, the newest last.
        self._value: int | None = None
        self._earlier: deque[int | None] = deque(maxlen=WITNESSES)

    def _believed(self, new: int | None) -> list[Figures]:
        """Return what is believed after a good frame with this value: one figure, or none yet."""
        before = self._earlier[-1] if self._earlier else new
        has_failed = new is None and before is None and len(self._earlier) > 0
        believed = None if new is None else self._value_after(new, before)
        self._earlier.append(new)
        if has_failed:
            self._value = None
            return [{"co_ppm": None}]
        if believed is None:
            return []
        self._value = believed
        return [{"co_ppm": believed / 10}]

    def _value_after(self, new: int, before: int | None) -> int | None:
        """Return which value to believe after `before` and `new`; None if the next frame must say more."""
        last = self._value
        if last is None:
            three = [*self._earlier, new][-3:]
            numbers = sorted(number for number in three if number is not None)
            return numbers[1] if len(numbers) == 3 else None
        believed = new
        if abs(new - last) > SMALL_STEP:
            if before is None or (before > last) != (new > last) or before == last:
                return None
            believed = min(before, new, key=lambda value: abs(value - last))
        if abs(believed - last) <= SMALL_STEP and not self._is_clean():
            return believed if [*self._earlier, new].count(believed) > 1 else None
        return believed

    def _is_clean(self) -> bool:
        return self._good_in_a_row >= CLEAN_FRAMES and self._trust.is_spotless()

    def _refuse(self, flaw: Marked) -> None:
        self.bad += 1
        self.flaw = flaw
