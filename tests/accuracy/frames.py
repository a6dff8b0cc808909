"""Accuracy of the parsers: they find every frame of a clean line and no wrong one of a damaged line.

The frames are built here from the protocols' tables, with the figures that they mean, without any
parser. A wrong value is an accepted frame whose figures are not those of a frame that was sent, in order.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, NamedTuple

from sensors import jbd_frames, pzem004t_frames, vedirect_frames, ze07co_frames
from sensors.registry import decode
from sensors.simulated.jbd import framed
from sensors.simulated.pzem004t import with_crc
from sensors.simulated.ze07co import Cell, frame
from tests.devices import Fields, block, figures, shunt_fields

#: A parser holds back fewer frames than this: each accepted frame is one of the last ones.
_HELD_BACK_FRAMES = 32

Figures = Mapping[str, Any]


class Sent(NamedTuple):
    """A frame, and what it means."""

    data: bytes
    figures: Figures


#: A device that sends for ever.
Talk = Callable[[random.Random], Iterator[Sent]]
#: Takes bytes and returns the figures of the accepted frames.
Listen = Callable[[bytes], Iterable[Figures]]

# VE.Direct, version 3.33: the fields of a block and the meaning of their labels


def smartshunt(dice: random.Random) -> Iterator[Sent]:
    while True:
        fields = shunt_fields(dice)
        yield Sent(block(fields), figures(fields))


#: Label → figure, device units per unit of the figure, lowest, highest.
_Numbers = Mapping[str, tuple[str, int, int, int]]
_BMV_HISTORY: _Numbers = {
    "H1": ("deepest_discharge_ah", 1000, -90_000, -50_000),
    "H2": ("last_discharge_ah", 1000, -50_000, 0),
    "H3": ("average_discharge_ah", 1000, -40_000, 0),
    "H4": ("charge_cycles", 1, 0, 300),
    "H5": ("full_discharges", 1, 0, 9),
    "H6": ("cumulative_drawn_ah", 1000, -10_000_000, -1_000_000),
    "H7": ("lowest_voltage_v", 1000, 9_000, 12_500),
    "H8": ("highest_voltage_v", 1000, 14_000, 15_000),
    "H9": ("seconds_since_full_s", 1, 0, 400_000),
    "H10": ("synchronisations", 1, 0, 99),
    "H11": ("low_voltage_alarms", 1, 0, 12),
    "H12": ("high_voltage_alarms", 1, 0, 12),
    "H15": ("lowest_starter_voltage_v", 1000, -30, 30),
    "H16": ("highest_starter_voltage_v", 1000, 31, 13_000),
    "H17": ("discharged_kwh", 100, 0, 9_000),
    "H18": ("charged_kwh", 100, 0, 9_000),
}
_MPPT: _Numbers = {
    "V": ("voltage_v", 1000, 11_500, 14_600),
    "I": ("charger_current_a", 1000, -900, 20_000),
    "VPV": ("panel_voltage_v", 1000, 0, 90_000),
    "PPV": ("panel_power_w", 1, 0, 300),
    "CS": ("charger_state", 1, 3, 5),
    "MPPT": ("tracker_mode", 1, 0, 2),
    "ERR": ("charger_error", 1, 0, 0),
    "IL": ("load_current_a", 1000, 0, 15_000),
    "H19": ("yield_total_kwh", 100, 9_000, 20_000),
    "H20": ("yield_today_kwh", 100, 0, 200),
    "H21": ("highest_power_today_w", 1, 0, 300),
    "H22": ("yield_yesterday_kwh", 100, 0, 200),
    "H23": ("highest_power_yesterday_w", 1, 0, 300),
    "HSDS": ("day_number", 1, 0, 364),
}


def _drawn(dice: random.Random, numbers: _Numbers) -> tuple[Fields, Figures]:
    """Return fields with random numbers, and their meaning."""
    raw = {label: dice.randint(low, high) for label, (_, _, low, high) in numbers.items()}
    return raw, {name: raw[label] / units for label, (name, units, _, _) in numbers.items()}


def bmv(dice: random.Random) -> Iterator[Sent]:
    """A BMV-712: present values and history, alternating."""
    while True:
        relay = dice.choice(("ON", "OFF"))
        present = {**shunt_fields(dice), "PID": "0xA381", "BMV": "712 Smart", "Relay": relay}
        yield Sent(block(present), {**figures(present), "relay_on": relay == "ON"})
        history, meaning = _drawn(dice, _BMV_HISTORY)
        yield Sent(block(history), meaning)


def mppt(dice: random.Random) -> Iterator[Sent]:
    """An MPPT with a load output."""
    while True:
        numbers, meaning = _drawn(dice, _MPPT)
        load, off = dice.choice(("ON", "OFF")), dice.choice((0, 1))
        fields = {"PID": "0xA053", "FW": "159", "SER#": "HQ2132ABCDE", **numbers, "LOAD": load}
        fields["OR"] = f"0x{off:08X}"
        yield Sent(block(fields), {**meaning, "load_on": load == "ON", "off_reasons": off})


def hex_frame(dice: random.Random) -> bytes:
    """Return a HEX frame as a device sends it unasked: its bytes and the command sum to 0x55."""
    body = bytes([0xA]) + dice.randbytes(2) + b"\0" + dice.randbytes(dice.choice((1, 2, 4)))
    return b":A%b%02X\n" % (body[1:].hex().upper().encode(), (0x55 - sum(body)) & 0xFF)


def with_hex(talk: Talk) -> Talk:
    """Insert one or two HEX frames after blocks, and between the fields of some blocks."""

    def talk_with_hex(dice: random.Random) -> Iterator[Sent]:
        for data, meaning in talk(dice):
            behind = b"".join(hex_frame(dice) for _ in range(dice.choice((0, 1, 1, 2))))
            if dice.random() < 0.2:
                ends = [at for at in range(len(data)) if data.startswith(b"\r\n", at)]
                at = dice.choice(ends)
                data = data[:at] + hex_frame(dice) + data[at:]
            yield Sent(data + behind, meaning)

    return talk_with_hex


# PZEM-004T v3: ten input registers behind a Modbus header, low words first


def pzem004t(dice: random.Random) -> Iterator[Sent]:
    energy_wh = dice.randint(0, 900_000)
    while True:
        energy_wh += dice.randint(0, 2)
        decivolts, milliamperes = dice.randint(1_840, 2_530), dice.randint(0, 40_000)
        percent = dice.randint(50, 100)
        deciwatts = round(decivolts * milliamperes * percent / 100_000)
        decihertz = dice.randint(450, 570)
        registers = (
            decivolts,
            *(milliamperes & 0xFFFF, milliamperes >> 16),
            *(deciwatts & 0xFFFF, deciwatts >> 16),
            *(energy_wh & 0xFFFF, energy_wh >> 16),
            *(decihertz, percent, 0),
        )
        yield Sent(
            with_crc(bytes((1, 4, 20)) + _words(registers)),
            {
                "voltage_v": decivolts / 10,
                "current_a": milliamperes / 1000,
                "power_w": deciwatts / 10,
                "energy_wh": energy_wh,
                "frequency_hz": decihertz / 10,
                "power_factor": percent / 100,
                "alarm": False,
            },
        )


# JBD: the state and the cells of one pack, alternating

_NOMINAL, _DATE, _VERSION = 10_000, 23 << 9 | 10 << 5 | 18, 0x21


def jbd(dice: random.Random) -> Iterator[Sent]:
    cycles = dice.randint(0, 300)
    while True:
        millivolts = [dice.randint(2_900, 3_500) for _ in range(4)]
        centivolts, centiamperes = round(sum(millivolts) / 10), dice.randint(-9_000, 6_000)
        charge_pct, fets = dice.randint(0, 100), dice.randint(0, 3)
        protection = dice.choice((0, 0, 0, 1 << dice.randrange(13)))
        decidegrees = [dice.randint(-150, 450) for _ in range(2)]
        remaining = charge_pct * _NOMINAL // 100
        words = [centivolts, centiamperes & 0xFFFF, remaining, _NOMINAL, cycles, _DATE]
        kelvins = [2731 + tenths for tenths in decidegrees]
        data = _words([*words, 0, 0, protection]) + bytes((_VERSION, charge_pct, fets, 4, 2))
        yield Sent(
            framed(3, 0, data + _words(kelvins)),
            {
                "voltage_v": centivolts / 100,
                "current_a": centiamperes / 100,
                "power_w": round(centivolts / 100 * (centiamperes / 100), 1),
                "charge_pct": charge_pct,
                "remaining_ah": remaining / 100,
                "nominal_ah": _NOMINAL / 100,
                "cycles": cycles,
                "protection": protection,
                "alarm": protection != 0,
                "charge_on": fets in (1, 3),
                "discharge_on": fets in (2, 3),
                "temperature_1_c": decidegrees[0] / 10,
                "temperature_2_c": decidegrees[1] / 10,
            },
        )
        volts = [n / 1000 for n in millivolts]
        yield Sent(
            framed(4, 0, _words(millivolts)),
            {f"cell_{n}_v": value for n, value in enumerate(volts, 1)}
            | {"cell_min_v": min(volts), "cell_max_v": max(volts)},
        )


def _words(numbers: Iterable[int]) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)


# ZE07-CO: one concentration a second, behind a cell that follows the air

_NOISE_PPM = 0.3


def ze07co(dice: random.Random) -> Iterator[Sent]:
    """Clean air and exhaust by turns, for 1 to 15 minutes each."""
    cell, air_ppm, left_s = Cell(), 0.0, 0
    while True:
        if not left_s:
            air_ppm = (
                0.0 if air_ppm else dice.choice((30, 50, 100, 300, 600)) * dice.uniform(0.7, 1.2)
            )
            left_s = dice.randint(60, 900)
        left_s -= 1
        cell.breathe(air_ppm, 1.0)
        yield concentration(max(0.0, cell.co_ppm + dice.gauss(0, _NOISE_PPM)))


def concentration(co_ppm: float) -> Sent:
    """Return the frame of a concentration; its full scale is 500 ppm."""
    return Sent(frame(co_ppm), {"co_ppm": min(round(co_ppm * 10), 5000) / 10})


# Parsers


def _of_vedirect() -> Listen:
    return vedirect_frames.Blocks().feed


def _of_pzem004t() -> Listen:
    return pzem004t_frames.Replies().feed


def _of_jbd() -> Listen:
    replies = jbd_frames.Replies()
    return lambda data: [r.figures for r in replies.feed(data) if r.figures is not None]


def _of_ze07co() -> Listen:
    return ze07co_frames.Frames().feed


class Line(NamedTuple):
    """A device, and a function that makes a new parser for it."""

    talk: Talk
    listener: Callable[[], Listen]
    driver: str = "vedirect"


LINES = {
    "smartshunt": Line(smartshunt, _of_vedirect),
    "bmv": Line(bmv, _of_vedirect),
    "mppt": Line(mppt, _of_vedirect),
    "bmv_and_hex": Line(with_hex(bmv), _of_vedirect),
    "pzem004t": Line(pzem004t, _of_pzem004t, "pzem004t"),
    "jbd": Line(jbd, _of_jbd, "jbd"),
    "ze07co": Line(ze07co, _of_ze07co, "ze07co"),
}

# Damage


def a_bit(dice: random.Random, byte: int) -> int:
    """Flip one bit."""
    return byte ^ 1 << dice.randrange(8)


def the_byte(dice: random.Random, byte: int) -> int:
    """Replace the byte by another."""
    return byte ^ dice.randrange(1, 256)


Corrupt = Callable[[random.Random, int], int]
Damage = Callable[[random.Random, bytes], bytes]
#: What happens to a damaged byte.
CORRUPTIONS: Mapping[str, Corrupt] = {"bits": a_bit, "bytes": the_byte}


def everywhere(share: float, corrupt: Corrupt) -> Damage:
    """Damage that share of all bytes, each independently."""
    scale = math.log(1 - share)

    def damage(dice: random.Random, data: bytes) -> bytes:
        at = int(math.log(1 - dice.random()) / scale)  # bytes to skip before the next damaged one
        if at >= len(data):
            return data
        corrupted = bytearray(data)
        while at < len(data):
            corrupted[at] = corrupt(dice, data[at])
            at += 1 + int(math.log(1 - dice.random()) / scale)
        return bytes(corrupted)

    return damage


def in_each(most: int, corrupt: Corrupt) -> Damage:
    """Damage one to `most` bytes of each frame."""

    def damage(dice: random.Random, data: bytes) -> bytes:
        corrupted = bytearray(data)
        for at in dice.sample(range(len(data)), dice.randint(1, most)):
            corrupted[at] = corrupt(dice, data[at])
        return bytes(corrupted)

    return damage


def one_in(number: int, damage: Damage) -> Damage:
    """Damage the first of every `number` frames."""
    counted = count()

    def damage_some(dice: random.Random, data: bytes) -> bytes:
        return data if next(counted) % number else damage(dice, data)

    return damage_some


# Measurement


#: Frames that were sent and not yet accepted: the meaning, and whether the frame was undamaged.
Due = deque[tuple[Figures, bool]]


@dataclass
class Outcome:
    """Result of one line; `undamaged_accepted` of the `undamaged` frames were accepted."""

    sent: int = 0
    undamaged: int = 0
    undamaged_accepted: int = 0
    wrong: int = 0

    def take(self, found: Figures, due: Due, within: int = _HELD_BACK_FRAMES) -> None:
        """Match an accepted frame with the next one due of the same meaning; those before it are lost."""
        ahead = enumerate(islice(due, within))
        lost = next((n for n, (meaning, _) in ahead if meaning == found), None)
        if lost is None:
            self.wrong += 1
            return
        for _ in range(lost):
            due.popleft()
        self.undamaged_accepted += due.popleft()[1]

    @property
    def accepted_pct(self) -> float:
        """Share of the undamaged frames that were accepted, in percent."""
        return round(100 * self.undamaged_accepted / max(1, self.undamaged), 2)


def damaged(line: Line, damage: Damage, frames: int, seed: int) -> Outcome:
    """Parse `frames` frames of a damaged line."""
    dice = random.Random(seed)
    listen, outcome = line.listener(), Outcome(sent=frames)
    due: Due = deque(maxlen=_HELD_BACK_FRAMES)
    for data, meaning in islice(line.talk(dice), frames):
        received = damage(dice, data)
        outcome.undamaged += received == data
        due.append((meaning, received == data))
        for found in listen(received):
            outcome.take(found, due)
    return outcome


def recorded(line: Line, damage: Damage, recordings: int, frames: int, seed: int) -> Outcome:
    """Decode recordings of a damaged line, each of `frames` frames."""
    dice = random.Random(seed)
    outcome = Outcome(sent=recordings * frames)
    for _ in range(recordings):
        due: Due = deque()
        recording = bytearray()
        for sent in islice(line.talk(dice), frames):
            received = damage(dice, sent.data)
            due.append((sent.figures, received == sent.data))
            outcome.undamaged += received == sent.data
            recording += received
        for found in decode(line.driver, bytes(recording)).frames:
            outcome.take(found, due, within=frames)
    return outcome


def clean(line: Line, frames: int, seed: int) -> Outcome:
    """Parse a clean line from the middle of a frame on, with `frames` complete frames after it.

    The bytes arrive in pieces of random size.
    """
    dice = random.Random(seed)
    first, *sent = islice(line.talk(dice), frames + 1)
    stream = first.data[dice.randrange(1, len(first.data)) :]
    stream += b"".join(data for data, _ in sent)
    listen, outcome = line.listener(), Outcome(frames, undamaged=frames)
    due: Due = deque((meaning, True) for _, meaning in sent)
    at = 0
    while at < len(stream):
        size = dice.randint(1, 300)
        for found in listen(stream[at : at + size]):
            outcome.take(found, due)
        at += size
    return outcome


def held_back(noise_ppm: float, frames: int, seed: int) -> int:
    """Return how many frames of a ZE07-CO's clean line give no value, in even noise around 20 ppm."""
    dice, listen = random.Random(seed), _of_ze07co()
    sent = (concentration(20 + dice.uniform(-noise_ppm, noise_ppm)) for _ in range(frames))
    return frames - sum(len([*listen(data)]) for data, _ in sent)


def delays(
    air_ppm: float, levels_ppm: Iterable[float], *, is_clean: bool
) -> dict[float, int | None]:
    """Return for each level by how many frames the parser is late after a step from clean air."""
    cell, listen = Cell(), _of_ze07co()
    if not is_clean:
        listen(bytes(len(frame(0.0))))
    believed_ppm = 0.0
    for _ in range(5):
        listen(frame(believed_ppm))
    sent, believed = [], []
    for _ in range(300):
        cell.breathe(air_ppm, 1.0)
        data, meaning = concentration(cell.co_ppm)
        for some in listen(data):
            believed_ppm = some["co_ppm"]
        sent.append(meaning["co_ppm"])
        believed.append(believed_ppm)

    def reached(values: list[float], level_ppm: float) -> int | None:
        return next((n for n, value in enumerate(values) if value >= level_ppm), None)

    found: dict[float, int | None] = {}
    for level_ppm in levels_ppm:
        true, late = reached(sent, level_ppm), reached(believed, level_ppm)
        found[level_ppm] = None if true is None or late is None else late - true
    return found
