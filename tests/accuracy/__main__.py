"""`make accuracy`: measure how accurate the sensors are, and print one JSON document.

Only the pulses depend on the machine; otherwise the same seed gives the same figures. Progress goes to
standard error. The exit code is 0 whether or not the bars are met.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

from publisher.config.generator import GeneratorSettings
from tests.accuracy import (
    autonomy,
    battery,
    co,
    door,
    door_nuisances,
    frames,
    generator,
    occupancy,
    shunt,
)

SEED = 1
#: Frames of a recording that is decoded as a whole.
RECORDED = 200
VEDIRECT = ("smartshunt", "bmv", "mppt", "bmv_and_hex")
#: Shares of damaged bytes; the bar applies to the first.
SHARES = (0.01, 0.001, 0.0001)

Figures = dict[str, dict[str, Any]]


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


def figure(bar: str, met: bool, how: str, **values: Any) -> dict[str, Any]:
    return {**values, "bar": bar, "met": met, "how": how}


def vedirect(quick: bool) -> Figures:
    """Blocks of Victron's devices, on a clean line and on damaged lines."""
    blocks = 2_000 if quick else 20_000
    found = {}
    for line in VEDIRECT:
        outcome = frames.clean(frames.LINES[line], blocks, SEED)
        found[line] = {
            "sent": outcome.sent,
            "found": outcome.undamaged_accepted,
            "wrong": outcome.wrong,
        }
    blocks = 10_000 if quick else 100_000
    return {
        "vedirect_clean": figure(
            "all found, no other",
            all(f["found"] == f["sent"] and not f["wrong"] for f in found.values()),
            "blocks built from the protocol, received from the middle of one on, in pieces of 1 to 300 "
            "bytes",
            **found,
        ),
        "vedirect_damaged": _everywhere(VEDIRECT, blocks),
    }


def pzem004t(quick: bool) -> Figures:
    """Replies of an AC meter."""
    return _asked("pzem004t", 10_000 if quick else 100_000)


def jbd(quick: bool) -> Figures:
    """Replies of a BMS: state and cells, alternating."""
    return _asked("jbd", 10_000 if quick else 100_000)


def ze07co(quick: bool) -> Figures:
    """Frames of a carbon monoxide module, with an 8-bit sum."""
    sent = 10_000 if quick else 100_000
    line = frames.LINES["ze07co"]
    found: dict[str, dict[str, Any]] = {}
    for name, corrupt in frames.CORRUPTIONS.items():
        for every in (1, 10, 100):
            damage = frames.one_in(every, frames.in_each(3, corrupt))
            outcome = frames.damaged(line, damage, sent, SEED)
            found[f"one_in_{every}_{name}"] = {
                "wrong": outcome.wrong,
                "undamaged_accepted_pct": outcome.accepted_pct,
            }
    back = frames.held_back(1.0, sent, SEED)
    levels = (30.0, 100.0, 270.0)
    late = {
        name: frames.delays(300.0, levels, is_clean=name == "clean")
        for name in ("clean", "damaged")
    }
    return {
        "ze07co_damaged": figure(
            "0 wrong",
            not any(outcome["wrong"] for outcome in found.values()),
            f"{sent} frames each, of which all, one in ten or one in a hundred have 1 to 3 bytes with "
            f"one bit flipped, or replaced; air and exhaust by turns behind a cell of T90 60 s",
            **found,
        ),
        "ze07co_cost": figure(
            "two frames held back (the first ones), one frame late",
            back == 2 and set(late["clean"].values()) == {1},
            f"frames of {sent} on a clean line with noise of ±1 ppm that give no value; and by how many "
            f"frames 30, 100 and 270 ppm are late after a step from 0 to 300 ppm, on a clean line "
            f"and on one with a damaged frame before",
            held_back=back,
            late_frames={
                name: {f"{level:g}_ppm": frame for level, frame in by_level.items()}
                for name, by_level in late.items()
            },
        ),
    }


def _asked(line: str, replies: int) -> Figures:
    each = {
        name: frames.damaged(frames.LINES[line], frames.in_each(3, corrupt), replies, SEED).wrong
        for name, corrupt in frames.CORRUPTIONS.items()
    }
    return {
        f"{line}_each_damaged": figure(
            "0",
            not any(each.values()),
            f"wrong replies accepted of {replies}, each with 1 to 3 damaged bytes: one bit "
            f"flipped, or replaced by another byte",
            **each,
        ),
        f"{line}_damaged": _everywhere((line,), replies),
    }


def _everywhere(lines: Iterable[str], sent: int) -> dict[str, Any]:
    """Return the results for damage anywhere on the line."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        found[line] = {}
        for share in SHARES:
            for name, corrupt in frames.CORRUPTIONS.items():
                damage = frames.everywhere(share, corrupt)
                outcome = frames.damaged(frames.LINES[line], damage, sent, SEED)
                found[line][f"{100 * share:g}_pct_of_{name}"] = {
                    "wrong": outcome.wrong,
                    "undamaged": outcome.undamaged,
                    "undamaged_accepted_pct": outcome.accepted_pct,
                }
        for name, corrupt in frames.CORRUPTIONS.items():
            damage = frames.everywhere(SHARES[0], corrupt)
            captures = sent // RECORDED
            outcome = frames.recorded(frames.LINES[line], damage, captures, RECORDED, SEED)
            found[line][f"{100 * SHARES[0]:g}_pct_of_{name}_recorded"] = {"wrong": outcome.wrong}
    worst = f"{100 * SHARES[0]:g}_pct"
    return figure(
        f"0 wrong where {100 * SHARES[0]:g} % of the bytes are damaged",
        not any(
            outcome["wrong"]
            for line in found.values()
            for name, outcome in line.items()
            if name.startswith(f"{worst}_")
        ),
        f"a stream of {sent} frames each, in which random bytes have one bit flipped or are "
        f"replaced, and as many in recordings of {RECORDED} each; wrong is an accepted frame whose "
        f"figures are not those of a frame that was sent, in order",
        **found,
    )


def ina219(quick: bool) -> Figures:
    """Current through a shunt."""
    found = shunt.measure(0.1 if quick else 0.01, 1_000 if quick else 20_000, SEED)
    error_lsb = found["largest_error_lsb"]
    detected = found["clipped_detected"], found["restarts_detected"]
    return {
        "ina219_error_lsb": figure(
            "<= 1",
            error_lsb <= 1,
            f"largest error from -53 to 53 A on 1.5 mΩ, in bits of {1000 * shunt.LSB_A:.2f} mA, with "
            f"an offset of ±{1e6 * shunt.OFFSET_V:g} µV; the zero is the mean of "
            f"{shunt.ZERO_READINGS} readings without a current",
            value=error_lsb,
        ),
        "ina219_detected": figure(
            "1.0 of both, none within the range",
            detected == (1.0, 1.0) and not found["false_alarms_within_the_range"],
            "readings beyond the range, and restarts of the chip between and within readings: the "
            "share that is detected, so that no value is used",
            **{name: value for name, value in found.items() if name != "largest_error_lsb"},
        ),
    }


def charge(quick: bool) -> Figures:
    """State of charge of a battery."""
    found = battery.measure(SEED, nameplates=(1.0,) if quick else battery.NAMEPLATES)
    every = found["all"]
    worst = max(every[f"time_to_empty_rms_pct_at_{100 * left:g}"] for left in battery.LEFT)
    return {
        "charge": figure(
            "<= 4 points RMS, inside >= 0.95 of the time, median uncertainty <= 6; capacity <= 3 %, "
            "time to empty <= 15 % RMS",
            every["rms_points"] <= 4
            and every["inside_share"] >= 0.95
            and every["median_stated_points"] <= 6
            and every["capacity_rms_pct"] <= 3
            and worst <= 15,
            "five days of a tent from the first full charge on, on two models of each kind, with 2 % "
            "gain error and 80 mA offset of every sign, a nameplate 10 % too low, right and 10 % too "
            "high, and three restarts of up to an hour; capacity and time to empty after a full cycle",
            **found,
        )
    }


def dark(quick: bool) -> Figures:
    """Time until it is dark."""
    tents = 3 if quick else autonomy.TENTS
    found = autonomy.measure(tents, SEED)
    every = found["all"]
    return {
        "dark_in": figure(
            "the low figure holds >= 0.95 of the time, its median >= 0.7 of the truth",
            every["low_held_share"] >= 0.95 and every["median_low_of_truth"] >= 0.7,
            f"each hour of {autonomy.DAYS} days of {tents} tents: an engine that burns up to 20 % more or "
            f"less than its size says, along a curve; litres told to 5 %; a monitor's charge to 3 points; "
            f"the truth is what the loads that follow leave if nobody does anything",
            **found,
        )
    }


def passages(quick: bool) -> Figures:
    """People through a door."""
    found = door.measure(2_000 if quick else 10_000, SEED)
    ghosts = ("counted_turners", "counted_hands", "counted_glitches")
    return {
        "door": figure(
            ">= 99 % of people apart in the right direction, 0 turners, hands and glitches counted",
            found["apart_right_pct"] >= 99 and not any(found[name] for name in ghosts),
            "walkers with bodies through two beams, 0.3 to 2 m/s, some close together; "
            "receivers bounce and have glitches of 0.1 ms",
            **found,
        )
    }


def not_people(quick: bool) -> Figures:
    """What is not people at a door, and what is hard to judge there."""
    hours, times = (1, 5) if quick else (3, 200)
    found = door_nuisances.measure(hours, times, SEED)
    nuisances = {name: row for name, row in found.items() if "false_an_hour" in row}
    events = {name: row for name, row in found.items() if "events" in row}
    doubts = {name: row["doubt_after_s"] for name, row in nuisances.items()}
    # Rain breaks a beam for less than 10 ms: it is noise, and no reason for a doubt.
    rain_s = doubts["edges.rain"]
    told_s = [s for name, after in doubts.items() if name != "edges.rain" for s in after]
    models = "two models of a door with two beams that share nothing but the rules"
    return {
        "door_nuisances": figure(
            "<= 1 an hour of each",
            all(row["false_an_hour"] <= 1 for row in nuisances.values()),
            f"people counted where nobody passes, in {hours} h of each nuisance; {models}",
            **{name: row["false_an_hour"] for name, row in nuisances.items()},
        ),
        "door_doubt_s": figure(
            "<= 120 in each hour; rain raises none",
            all(s is not None and s <= 120 for s in told_s) and not any(rain_s),
            "seconds from the beginning of each of these hours until the door is doubted, null if never",
            **doubts,
        ),
        "door_events": figure(
            ">= 99 % of the events of each kind right",
            all(row["events_right_pct"] >= 99 for row in events.values()),
            f"{times} events of each kind, each by itself; right is an event in which everybody is counted "
            f"in the right direction and nobody else is; {models}",
            **events,
        ),
    }


def pulses(quick: bool) -> Figures:
    """Passages a second through the mock pins."""
    found = door.pulses_per_second()
    return {
        "pulses_per_second": figure(
            ">= 200",
            found >= 200,
            "breaks of a beam through the real driver on mock pins, nobody lost",
            value=found,
        )
    }


def people(quick: bool) -> Figures:
    """People in the tent after a day."""
    found = occupancy.measure(200 if quick else 2_000, SEED)
    return {
        "occupancy": figure(
            ">= 0.95 at the end of the day where the rates are configured",
            found["configured"]["at_the_end_of_the_day"] >= 0.95,
            f"share of days with {2 * occupancy.VISITORS} passages on which the true number is "
            f"within the stated uncertainty; the door misses 5 % in and 8 % out, or 5 % each way "
            f"with the default rates",
            **found,
        )
    }


def carbon_monoxide(quick: bool) -> Figures:
    """Times of the alarm of carbon monoxide; the short form is the whole one."""
    found = co.measure()
    return {
        "co": figure(
            "alarm within the times of EN 50291-1; no warning at 30 ppm for 120 min",
            all(row["within"] for row in found.values()),
            "minutes until warning and alarm in the whole tent, behind a cell with T90 of 60 s; the sensor "
            "is right except where said; restarts take 40 s and come every seven minutes, kills lose "
            "what came after the last record; ramps against the standard's times, interpolated and "
            "added up",
            **found,
        )
    }


def generator_faults(quick: bool) -> Figures:
    """Faults of a generator that must be told."""
    runs = 4 if quick else 40
    found = generator.faults_told(runs, GeneratorSettings(rated_w=generator.RATED_W))
    return {
        "generator_faults": figure(
            f"each told in its time, {runs} of {runs}, and nothing before it",
            all(row["in_time"] == runs for row in found.values()),
            "engines of two kinds by turns, with loads of 8 to 75 %, read about once a second as a "
            "PZEM-004T reads; seconds from the fault's beginning until an alert that tells it",
            **found,
        )
    }


def generator_days(quick: bool) -> Figures:
    """Healthy days of a generator."""
    hours = 1.0 if quick else 24.0
    settings = GeneratorSettings(rated_w=generator.RATED_W)
    found = {
        kind: dict(generator.healthy_day(kind, SEED, settings, hours))
        for kind in generator.MACHINES
    }
    return {
        "generator_false_alarms": figure(
            "0",
            not any(found.values()),
            f"alerts in {hours:g} h of each kind: cold starts that hunt for up to 75 s, kettles, heaters, "
            f"motors that start, short stops; a governed engine, class G2 at its limits, an inverter with "
            f"an eco mode that the configuration does not name",
            **found,
        )
    }


#: The first runs alone; the others run in parallel, the longest first.
MEASUREMENTS = {
    "pulses": pulses,
    "charge": charge,
    "dark_in": dark,
    "generator_days": generator_days,
    "generator_faults": generator_faults,
    "vedirect": vedirect,
    "pzem004t": pzem004t,
    "door": passages,
    "door_nuisances": not_people,
    "jbd": jbd,
    "ze07co": ze07co,
    "occupancy": people,
    "ina219": ina219,
    "co": carbon_monoxide,
}
ALONE = "pulses"


def measure(name: str, quick: bool) -> Figures:
    """Run one measurement."""
    say(f"{name} …")
    found = MEASUREMENTS[name](quick)
    for key, value in found.items():
        short = {k: v for k, v in value.items() if k not in ("how", "bar", "met")}
        say(f"{key}: {'met' if value['met'] else 'NOT MET'} {json.dumps(short)}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.accuracy", description=__doc__)
    parser.add_argument("--only", choices=MEASUREMENTS, action="append", help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="a short form; no real figures")
    options = parser.parse_args(arguments)
    names = [name for name in MEASUREMENTS if name in (options.only or MEASUREMENTS)]
    figures: Figures = {}
    if ALONE in names:
        names.remove(ALONE)
        figures |= measure(ALONE, options.quick)
    with ProcessPoolExecutor() as pool:
        for found in pool.map(measure, names, repeat(options.quick)):
            figures |= found
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "quick": options.quick,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "figures": figures,
    }
    print(json.dumps(document, ensure_ascii=False, indent=2))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
