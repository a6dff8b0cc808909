"""Frames of a JBD battery management system: bytes in, checked figures out (JBD's serial protocol, V4).

A request is `DD A5 code length data checksum 77`, a reply `DD code status length data checksum 77`.
The bytes from the third to the last of the data, plus the checksum, sum to 0 modulo 65536. So a reply's
code is not covered by its checksum.
"""

from collections import deque
from collections.abc import Iterable
from operator import ne
from struct import Struct
from typing import Any, NamedTuple

from sensors.framing import Checked, Cutter, FrameError
from sensors.line_trust import LineTrust, OwnOddities, Trust
from sensors.trouble import Marked, marked

#: Request codes: the battery's state, the voltage of each cell, the name of the hardware.
STATE, CELLS, HARDWARE = 0x03, 0x04, 0x05

_START, _END = 0xDD, 0x77
_REQUESTS = (0xA5, 0x5A)  # read and write; this driver only reads
_DONE = 0x00
_REFUSALS = range(0x80, 0x84)
_AROUND = 7  # bytes of a frame that are not its data
_MOST_DATA = 64  # 32 cells
_USUAL = 40  # typical bytes of a reply

#: Voltage, current, remaining and nominal capacity, cycles, date, balancing (2), protection,
#: version, charge, FETs, cells, temperature sensors.
_STATE = Struct(">HhHHHHHHHBBBBB")
#: Newer boards add data after the temperatures (9 bytes: humidity, warnings, learned capacity …).
_MOST_EXTRA = 16
_WORD = Struct(">H")

_MOST_CELLS = 32
#: Usual voltages of a cell. A dead one may have 0 V, and drags its pack below the usual; more is impossible.
_CELL_V = (0.5, 5.0)
#: Allowed difference between the cells' sum and the pack's voltage: the load may change between two replies.
_SUM_OFF_V, _SUM_OFF = 0.1, 0.05
_CHARGE_FET, _DISCHARGE_FET = 1, 2
_ZERO_C = 2731  # 0 °C in tenths of a kelvin, as the BMS rounds it
_TEMPERATURE_C = (-60.0, 150.0)

#: Places in the data of STATE that stay the same for months: nominal capacity, date of production,
#: version, numbers of cells and temperature sensors. Damage changes a byte or two; a change is accepted
#: when it comes again. If more bytes have changed, it is another BMS.
_CELLS_AT = 21
_FIXED = (6, 7, 10, 11, 18, _CELLS_AT, 22)
_FEW_BYTES = 2

#: Two bits that flip in opposite directions leave the sum unchanged: of the replies with two flips, about one
#: in a hundred passes all checks. So this line must be better, and for longer, than others to be trusted.
WINDOW, TOLERATED = 60, 4

Figures = dict[str, float | bool | None]


def request(code: int) -> bytes:
    """Return the request to read STATE, CELLS or HARDWARE. Nothing is ever written to a BMS."""
    body = bytes((code, 0))
    return bytes((_START, _REQUESTS[0])) + body + checksum(body) + bytes((_END,))


def checksum(body: bytes) -> bytes:
    """Return the checksum of `body`, the bytes from the third to the last of the data."""
    return (-sum(body) & 0xFFFF).to_bytes(2, "big")


def _length(head: bytes) -> int | None:
    """Return the length of the frame that begins with these bytes, in bytes."""
    if head[0] != _START:
        return None
    if len(head) < 4:
        return 4
    _, code, status, size = head
    if code not in _REQUESTS and status != _DONE and status not in _REFUSALS:
        return None
    return _AROUND + size if size <= _MOST_DATA else None


def _is_whole(frame: bytes) -> bool:
    return frame[-1] == _END and checksum(frame[2:-3]) == frame[-3:-1]


def state(data: bytes) -> Checked:
    """Return the quantities in a reply to STATE; a temperature without a sensor is None, and not odd.

    Raises FrameError if the reply is too short.
    """
    if len(data) < _STATE.size:
        raise FrameError(marked("{count} bytes are too few", count=len(data)))
    (
        centivolts, centiamperes, remaining, nominal, cycles, _, _, _, protection,
        _, charge_pct, fets, cell_count, sensors,
    ) = _STATE.unpack_from(data)  # fmt: skip
    odd = set()
    if not 1 <= cell_count <= _MOST_CELLS:
        odd.add("cell_count")
        cell_count = _MOST_CELLS
    voltage_v, current_a = centivolts / 100, centiamperes / 100
    if voltage_v < _CELL_V[0] * cell_count and "cell_count" not in odd:
        odd.add("voltage_v")
    is_voltage = 0 < voltage_v <= _CELL_V[1] * cell_count
    found: Figures = {
        "voltage_v": voltage_v if is_voltage else None,
        "current_a": current_a,
        "power_w": round(voltage_v * current_a, 1) if is_voltage else None,
        "charge_pct": float(charge_pct) if charge_pct <= 100 else None,
        "remaining_ah": remaining / 100,
        "nominal_ah": nominal / 100,
        "cycles": cycles,
        "protection": protection,
        "alarm": protection != 0,
        "charge_on": bool(fets & _CHARGE_FET),
        "discharge_on": bool(fets & _DISCHARGE_FET),
    }
    odd |= {name for name, value in found.items() if value is None}
    if not 0 <= len(data) - _STATE.size - 2 * sensors <= _MOST_EXTRA:
        odd.add("temperatures")
        sensors = 0  # it is unknown where they stand
    for number in range(sensors):
        name = f"temperature_{number + 1}_c"
        (kelvin,) = _WORD.unpack_from(data, _STATE.size + 2 * number)
        celsius = round((kelvin - _ZERO_C) / 10, 1)
        is_possible = _TEMPERATURE_C[0] <= celsius <= _TEMPERATURE_C[1]
        found[name] = celsius if is_possible else None
        if kelvin and not is_possible:
            odd.add(name)
    return Checked(found, frozenset(odd))


def cells(data: bytes, pack: tuple[float, int] | None = None) -> Checked:
    """Return the voltage of each cell in a reply to CELLS, and the lowest and highest of those known.

    `pack` is the voltage and the number of cells in a reply to STATE from about the same time. Raises
    FrameError if the reply has no cells, or none with a possible voltage.
    """
    if not data or len(data) % 2:
        raise FrameError(marked("{count} bytes of cell voltages", count=len(data)))
    sent_v = [millivolts / 1000 for (millivolts,) in _WORD.iter_unpack(data)]
    known_v = [volts for volts in sent_v if volts <= _CELL_V[1]]
    if not known_v:
        raise FrameError(
            marked("cells of {low:g} to {high:g} V", low=min(sent_v), high=max(sent_v))
        )
    odd = set()
    if pack is not None:
        pack_v, number = pack
        if len(sent_v) == number and abs(sum(sent_v) - pack_v) > _SUM_OFF_V + _SUM_OFF * pack_v:
            odd.add("cell_sum")
    found: Figures = {}
    for number, volts in enumerate(sent_v, 1):
        found[f"cell_{number}_v"] = volts if volts <= _CELL_V[1] else None
        if not _CELL_V[0] <= volts <= _CELL_V[1]:
            odd.add(f"cell_{number}_v")
    found |= {"cell_min_v": min(known_v), "cell_max_v": max(known_v)}
    return Checked(found, frozenset(odd))


def hardware(data: bytes) -> dict[str, str]:
    """Return the name of the hardware in a reply to HARDWARE. Raises FrameError if it is not text."""
    if not data or not all(0x20 <= byte < 0x7F for byte in data):
        raise FrameError(marked("a name that cannot be read"))
    return {"hardware": data.decode("ascii").strip()}


class Reply(NamedTuple):
    """A reply that passed all checks: its request code and figures (a text for HARDWARE).

    The figures are None if the line is too bad to trust.
    """

    code: int
    figures: dict[str, Any] | None


class Replies:
    """Parses a BMS's line: bytes in, checked replies out.

    `bad` counts the rejected replies. `flaw` is the last fault; its reader may clear it.
    """

    def __init__(self, trust: Trust | None = None) -> None:
        self.bad = 0
        self.flaw: Marked | None = None
        self._cutter = Cutter(_length, _is_whole, shortest=_AROUND, usual=_USUAL)
        self._trust = trust or LineTrust(WINDOW, TOLERATED)
        self._oddities = OwnOddities(self._trust, WINDOW)
        self._fixed: deque[bytes] = deque(maxlen=2)  # of the last two, because one may be damaged
        self._pack: tuple[float, int] | None = None  # volts and cells of the last STATE

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that `data` completes."""
        return self._checked(self._cutter.feed(data))

    def end(self) -> list[Reply]:
        """Return the remaining replies at the end of the stream."""
        return self._checked(self._cutter.end())

    def _checked(self, frames: Iterable[bytes | None]) -> list[Reply]:
        checked = []
        for frame in frames:
            if frame is None:
                self._refuse(marked("a damaged reply"))
                continue
            code, status, data = frame[1], frame[2], frame[4:-3]
            if code in _REQUESTS:
                continue
            if status != _DONE or code not in (STATE, CELLS, HARDWARE):
                self.flaw = marked(
                    "a reply with code 0x{code:02X} and status 0x{status:02X}",
                    code=code,
                    status=status,
                )
                continue
            try:
                figures = self._figures(code, data)
            except FrameError as error:
                self._refuse(error.flaw)
                continue
            if self._trust.good():
                checked.append(Reply(code, figures))
            else:
                checked.append(Reply(code, None))
                self.bad += 1
                self.flaw = marked("too many replies are damaged to believe the others")
        return checked

    def _figures(self, code: int, data: bytes) -> dict[str, Any]:
        if code == HARDWARE:
            return hardware(data)
        figures, odd = cells(data, self._pack) if code == CELLS else state(data)
        if not self._oddities.include(odd):
            raise FrameError(
                marked("odd figures on a bad line: {names}", names=", ".join(sorted(odd)))
            )
        if code == STATE:
            self._note_state(data, figures["voltage_v"])
        return figures

    def _note_state(self, data: bytes, voltage_v: float | None) -> None:
        """Note what the next replies are compared with. Raises FrameError where a constant has changed."""
        fixed = bytes(data[at] for at in _FIXED)
        changed = [sum(map(ne, before, fixed)) for before in self._fixed]
        self._fixed.append(fixed)
        if changed and all(0 < number <= _FEW_BYTES for number in changed):
            raise FrameError(
                marked("what never changes has changed: capacity, date, version or cells")
            )
        self._pack = None if voltage_v is None else (voltage_v, data[_CELLS_AT])

    def _refuse(self, flaw: Marked) -> None:
        self._trust.bad()
        self.bad += 1
        self.flaw = flaw
