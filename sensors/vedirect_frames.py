"""VE.Direct text blocks: bytes in, checked figures out (Victron, VE.Direct Protocol, version 3.33).

A block is a run of `\\r\\n<label>\\t<value>` fields that ends with the field `Checksum`, whose value
is one arbitrary byte. All bytes of the block, the leading line end included, sum to 0 modulo 256. HEX
frames (`:` … `\\n`) between blocks or between the fields of a block are skipped.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from sensors.framing import Checked, FrameError
from sensors.line_trust import LineTrust, OwnOddities, Trust
from sensors.trouble import Marked, marked

#: Longest block in bytes; anything longer is noise.
LONGEST_BLOCK = 1024

#: The meaning of a block: quantity → value, None if the device does not know it.
Figures = dict[str, float | bool | None]

_END = b"Checksum\t"  # and one byte
_HEX = re.compile(rb":[0-9A-F]{3,}\n")  # at least a command and the two digits of a sum
_FIELDS = re.compile(rb"(?:\r\n[A-Za-z][A-Za-z0-9_#]*\t[ -~]*)+\r\n")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,11})|0x[0-9A-Fa-f]{1,8}")
MOST_SEEN = 50  # labels and names that are remembered; damage adds one from time to time
_UNKNOWN = "---"
_SWITCH: Mapping[str, bool | None] = {"ON": True, "OFF": False, _UNKNOWN: None}


class _Number(NamedTuple):
    """A field that holds a whole number; the limits are in the quantity's own unit.

    The limits cover the whole range of products: a value beyond them is impossible.
    """

    quantity: str
    per_unit: int  # 1000 if the field is in mV and the quantity in V
    lowest: float
    highest: float


#: The fields that are numbers, in a block of a battery monitor: the label on the wire → its meaning.
_NUMBERS: Mapping[str, _Number] = {
    "V": _Number("voltage_v", 1000, 0, 500),  # a BMV-700H accepts 385 V
    "I": _Number("current_a", 1000, -10_000, 10_000),  # the largest shunt is of 9999 A
    "P": _Number("power_w", 1, -1e6, 1e6),
    "CE": _Number("consumed_ah", 1000, -1e5, 1e5),
    "SOC": _Number("charge_pct", 10, 0, 100),
    "TTG": _Number("time_to_empty_min", 1, -1, 14_400),  # ten days at most; -1 is infinite
    "VS": _Number("starter_voltage_v", 1000, -10, 500),  # an open input reads some mV below zero
    "VM": _Number("midpoint_voltage_v", 1000, -10, 500),
    "DM": _Number("midpoint_deviation_pct", 10, -200, 200),
    "T": _Number("temperature_c", 1, -60, 150),
    "AR": _Number("alarm_reasons", 1, 0, 0xFFFF),
    "MON": _Number("monitor_mode", 1, -99, 99),
    "H1": _Number("deepest_discharge_ah", 1000, -1e5, 1e5),
    "H2": _Number("last_discharge_ah", 1000, -1e5, 1e5),
    "H3": _Number("average_discharge_ah", 1000, -1e5, 1e5),
    "H4": _Number("charge_cycles", 1, 0, 1e6),
    "H5": _Number("full_discharges", 1, 0, 1e6),
    "H6": _Number("cumulative_drawn_ah", 1000, -1e8, 1e8),
    "H7": _Number("lowest_voltage_v", 1000, -10, 500),
    "H8": _Number("highest_voltage_v", 1000, -10, 500),
    "H9": _Number("seconds_since_full_s", 1, 0, 1e9),
    "H10": _Number("synchronisations", 1, 0, 1e6),
    "H11": _Number("low_voltage_alarms", 1, 0, 1e6),
    "H12": _Number("high_voltage_alarms", 1, 0, 1e6),
    "H13": _Number("low_starter_voltage_alarms", 1, 0, 1e6),
    "H14": _Number("high_starter_voltage_alarms", 1, 0, 1e6),
    "H15": _Number("lowest_starter_voltage_v", 1000, -10, 500),
    "H16": _Number("highest_starter_voltage_v", 1000, -10, 500),
    "H17": _Number("discharged_kwh", 100, -1e7, 1e7),
    "H18": _Number("charged_kwh", 100, -1e7, 1e7),
}

#: … in a block of a charger, whose `I` is its own output, not the battery's current.
_CHARGER_NUMBERS: Mapping[str, _Number] = {
    **_NUMBERS,
    "I": _Number("charger_current_a", 1000, -1000, 1000),
    "P": _Number("charger_power_w", 1, -1e5, 1e5),
    "VPV": _Number("panel_voltage_v", 1000, -10, 1000),
    "PPV": _Number("panel_power_w", 1, 0, 1e5),
    "IL": _Number("load_current_a", 1000, -1000, 1000),
    "CS": _Number("charger_state", 1, 0, 255),
    "MPPT": _Number("tracker_mode", 1, 0, 255),
    "OR": _Number("off_reasons", 1, 0, 0x0FFFFFFF),
    "ERR": _Number("charger_error", 1, 0, 255),
    "H19": _Number("yield_total_kwh", 100, 0, 1e7),
    "H20": _Number("yield_today_kwh", 100, 0, 1e5),
    "H21": _Number("highest_power_today_w", 1, 0, 1e5),
    "H22": _Number("yield_yesterday_kwh", 100, 0, 1e5),
    "H23": _Number("highest_power_yesterday_w", 1, 0, 1e5),
    "HSDS": _Number("day_number", 1, 0, 366),
}

#: … in a block of a shunt that is set up as a meter of a load or source, not of a battery.
_METER_NUMBERS: Mapping[str, _Number] = {
    **_NUMBERS,
    "I": _Number("metered_current_a", 1000, -10_000, 10_000),
    "P": _Number("metered_power_w", 1, -1e6, 1e6),
}

#: … in a block of an inverter: `V` is its battery's, and `CS` no charger's state.
_INVERTER_NUMBERS: Mapping[str, _Number] = {
    "V": _NUMBERS["V"],
    "T": _NUMBERS["T"],
    "AR": _NUMBERS["AR"],
    "WARN": _Number("warning_reasons", 1, 0, 0xFFFF),
    "CS": _Number("inverter_state", 1, 0, 255),
    "MODE": _Number("inverter_mode", 1, 0, 255),
    "OR": _Number("off_reasons", 1, 0, 0x0FFFFFFF),
    "AC_OUT_V": _Number("ac_output_voltage_v", 100, 0, 500),
    "AC_OUT_I": _Number("ac_output_current_a", 10, -1000, 1000),
    "AC_OUT_S": _Number("ac_output_va", 1, -1e5, 1e5),
}
#: The quantity that every inverter sends, and nothing else.
OF_INVERTERS = _INVERTER_NUMBERS["AC_OUT_V"].quantity

#: The fields that are ON or OFF.
_SWITCHES: Mapping[str, str] = {"Alarm": "alarm", "Relay": "relay_on", "LOAD": "load_on"}

#: Fields that identify the device: they never change.
_NAMES = frozenset({"PID", "FW", "FWE", "BMV"})

#: Known fields without a use here, most of them other products'.
_OTHERS = frozenset(
    {"SER#", "V2", "V3", "I2", "I3", "MODE", "AC_OUT_V", "AC_OUT_I", "AC_OUT_S", "WARN"}
    | {"DC_IN_V", "DC_IN_I", "DC_IN_P"}
)
_KNOWN = _CHARGER_NUMBERS.keys() | _SWITCHES.keys() | _OTHERS

#: Quantities from the device's memory; the others are present values.
HISTORY = frozenset(n.quantity for label, n in _CHARGER_NUMBERS.items() if label.startswith("H"))

#: Allowed difference between P and V times I. P is their product rounded to a watt; the wider limit avoids
#: rejecting every block of a device.
_SLACK_W, _SLACK = 2.0, 0.02


class Blocks:
    """Cuts a stream into blocks and returns those that can be trusted.

    It accepts any bytes; LONGEST_BLOCK limits its memory. `bad` counts the rejected blocks. `flaw` is
    the fault of the last block, empty if it was accepted.
    """

    def __init__(self, trust: Trust | None = None) -> None:
        self.bad = 0
        self._trust = trust or LineTrust()
        self._oddities = OwnOddities(self._trust)
        self.start_over()

    def start_over(self) -> None:
        """Drop an unfinished block, after an interruption of the line. Trust in the line stays."""
        self.flaw: Marked | None = None
        self._rest = b""
        self._too_long = False
        self._before: Figures = {}
        self._seen: set[str] = set()

    def feed(self, data: bytes) -> list[Figures]:
        """Return the figures of the trusted blocks that `data` completes."""
        found = []
        looked = max(0, len(self._rest) - len(_END))  # the label may arrive in pieces
        rest = self._rest + data
        begin = 0
        while (at := rest.find(_END, looked)) >= 0 and (looked := at + len(_END) + 1) <= len(rest):
            figures = self._take(rest[begin:looked])
            if figures is not None:
                found.append(figures)
            begin = looked
        self._rest = rest[begin:]
        if len(self._rest) > LONGEST_BLOCK:
            self._shorten()
        return found

    def _shorten(self) -> None:
        self._rest = _HEX.sub(b"", self._rest)
        if len(self._rest) > LONGEST_BLOCK:
            if not self._too_long:
                self._refuse(marked("no end of a block"))
            self._too_long = True  # the bytes up to the next end belong to the noise
            self._rest = self._rest[-len(_END) :]

    def _take(self, block: bytes) -> Figures | None:
        if self._too_long:
            self._too_long = False
            return None
        try:
            fields = _fields(block)
            figures, odd = measurements(fields, self._before)
            if not self._oddities.include(odd):
                names = ", ".join(sorted(odd))
                raise FrameError(marked("odd figures on a bad line: {names}", names=names))
        except FrameError as error:
            self._refuse(error.flaw)
            return None
        believed = self._trust.good()
        self.flaw = self._news(fields)
        if not self.flaw and not believed:
            self.flaw = marked("too many blocks are damaged to believe the others")
        if self.flaw:
            self.bad += 1
            return None
        if "P" in fields:
            self._before = figures
        return figures

    def _news(self, fields: Mapping[str, str]) -> Marked | None:
        """Return what distinguishes a block from those before: another name, label or kind of text.

        It is accepted only when it comes twice. Most damage that passes the sum and the limits is in a
        label or a name, beside damage in a figure. On a spotless line a new label belongs to another
        block of a newer device.
        """
        seen, news = self._seen, None
        first = not seen
        for label, value in fields.items():
            is_known = label in _KNOWN
            if is_known and _is_well_formed(label, value):
                continue
            text = f"{label}\t{value}" if label in _NAMES else label
            unlike = is_known or (
                label in seen if label in _NAMES else not self._trust.is_spotless()
            )
            if text not in seen and not first and unlike:
                news = marked("{label} is new: damage, or another device", label=label[:20])
            seen |= {label, text}
        if len(seen) > MOST_SEEN:
            seen.clear()
        return news

    def _refuse(self, flaw: Marked) -> None:
        self.bad += 1
        self.flaw = flaw
        self._trust.bad()


def _fields(block: bytes) -> dict[str, str]:
    """Return the fields of a block, label → text, without the checksum. Raises FrameError."""
    if b":" in block:
        block = _HEX.sub(b"", block)
    if len(block) > LONGEST_BLOCK:
        raise FrameError(marked("no end of a block"))
    if sum(block) & 0xFF:
        raise FrameError(marked("a checksum does not fit"))
    body = block[: -len(_END) - 1]
    if not _FIELDS.fullmatch(body):
        raise FrameError(marked("a line is no field"))
    lines = body[2:-2].decode("ascii").split("\r\n")
    fields = dict(line.split("\t") for line in lines)
    if len(fields) < len(lines):
        raise FrameError(marked("a label comes twice"))
    return fields


def measurements(block: Mapping[str, str], before: Figures | None = None) -> Checked:
    """Return the quantities in a block (label → text) by name; None if the device sends `---`.

    A time to empty of -1 (charging, or no load) is None, and so is text that is no number. What is out of
    range is None, too, and a power that contradicts voltage and current: `odd` has these labels. `before`
    are the figures of an earlier block: after a load step P may still be of then.
    """
    numbers = _numbers_of(block)
    found: Figures = {}
    odd = set()
    for label, text in block.items():
        if label in numbers:
            quantity = numbers[label].quantity
            found[quantity] = _value(text, numbers[label])
            if found[quantity] is None and _NUMBER.fullmatch(text):
                odd.add(label)
        elif label in _SWITCHES:
            found[_SWITCHES[label]] = _SWITCH.get(text)
    if block.get("TTG") == "-1":
        found["time_to_empty_min"] = None
    if numbers in (_NUMBERS, _METER_NUMBERS) and _contradicts_power(found, before or {}):
        found[numbers["P"].quantity] = None
        odd.add("P")
    lowest_v, highest_v = found.get("lowest_voltage_v"), found.get("highest_voltage_v")
    if lowest_v is not None and highest_v is not None and lowest_v > highest_v:
        found["lowest_voltage_v"] = found["highest_voltage_v"] = None
        odd |= {"H7", "H8"}
    return Checked(found, frozenset(odd))


def _numbers_of(block: Mapping[str, str]) -> Mapping[str, _Number]:
    """Return the fields that are numbers in a block, by the kind of its device."""
    if "AC_OUT_V" in block and "VPV" not in block:
        return _INVERTER_NUMBERS
    if "CS" in block and "SOC" not in block:
        return _CHARGER_NUMBERS
    if block.get("MON", "0") != "0":
        return _METER_NUMBERS
    return _NUMBERS


def _is_well_formed(label: str, text: str) -> bool:
    """Say whether the text of a known field is of its kind: a number, or ON or OFF."""
    if text == _UNKNOWN or label in _OTHERS:
        return True
    return text in _SWITCH if label in _SWITCHES else _NUMBER.fullmatch(text) is not None


def _value(text: str, number: _Number) -> float | None:
    """Return a field's value, None if it is unknown or impossible."""
    if not _NUMBER.fullmatch(text):
        return None
    value = int(text, 0) / number.per_unit
    return value if number.lowest <= value <= number.highest else None


def _contradicts_power(found: Figures, before: Figures) -> bool:
    """Say whether P is neither V times I now nor between that and V times I before."""
    power_w, product_w = _known(found, "power_w", "metered_power_w"), _product_w(found)
    if power_w is None or product_w is None:
        return False
    then_w = _product_w(before)
    ends_w = (product_w, product_w if then_w is None else then_w)
    slack_w = _SLACK_W + _SLACK * abs(product_w)
    return not min(ends_w) - slack_w <= power_w <= max(ends_w) + slack_w


def _product_w(found: Figures) -> float | None:
    """Return V times I of a block; None if one is unknown."""
    voltage_v = _known(found, "voltage_v")
    current_a = _known(found, "current_a", "metered_current_a")
    return None if voltage_v is None or current_a is None else voltage_v * current_a


def _known(found: Figures, *quantities: str) -> float | None:
    """Return the first known one of several quantities."""
    return next((found[name] for name in quantities if found.get(name) is not None), None)
