"""`python -m tests.bench.recorder_away [--days N]`: a recorder that is away for days, and then asks again.

The demonstration runs at 600 times real speed against a mosquitto that holds 1,000 messages for a client
that is away. The recorder comes back after the days, finds the gaps in `seq` from the first record that it
has seen, and asks for them with `resend` until it has every record. Prints one JSON object.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.conftest import Broker, wait_for
from tests.test_publisher_resend import Recorder

SPEED = 600
HELD = 1000
#: Longest wait for the records of one answer, 5,000 at most.
PATIENCE_S = 300.0
#: Time before the first `resend` in which live records are timed, too.
BASELINE_S = 20.0
Pair = tuple[int, int]
#: The unit's time runs ahead of ours: a command is good for longer than any such run.
GOOD_FOR_MIN = 60 * 24 * 365.0


class Away(Recorder):
    """A recorder that notes how late live records come, by the unit's own time."""

    def __init__(self, port: int) -> None:
        #: Arrival and uptime of each live record, in seconds.
        self.live: list[tuple[float, float]] = []
        super().__init__(port)

    def _take(self, client: Any, userdata: Any, message: Any) -> None:
        """Take a message; unlike in the tests unchecked, because that takes longer than the unit to send."""
        kind, content = message.topic.rpartition("/")[2], json.loads(message.payload)
        if kind == "history":
            self.records += content["records"]
        elif kind in ("state", "event"):
            if not message.retain:
                self.records.append(content)
                self.live.append((time.monotonic(), content["uptime_s"]))
        elif kind != "about":
            self.answers[content["cid"]] = content

    def gaps_behind(
        self, earlier: list[dict[str, Any]], lost: set[Pair]
    ) -> list[tuple[Pair, Pair]]:
        """Return ranges that neither this recorder nor the one before it has, and that are not lost."""
        seen = sorted({*self.pairs, *lost, *((r["boot"], r["seq"]) for r in earlier)})
        return [
            ((a[0], a[1] + 1), (b[0], b[1] - 1))
            for a, b in pairwise(seen)
            if a[0] == b[0] and b[1] > a[1] + 1
        ]


def lateness_s(live: list[tuple[float, float]]) -> list[float]:
    """Return how much later each record came than the quickest one, in real seconds."""
    if not live:
        return []
    ages = [at_s - uptime_s / SPEED for at_s, uptime_s in live]
    return sorted(age - min(ages) for age in ages)


def summary(late_s: list[float]) -> dict[str, float] | None:
    """Return the median and the worst; None of none."""
    if not late_s:
        return None
    return {"median": round(statistics.median(late_s), 3), "worst": round(late_s[-1], 3)}


def measure(days: float, directory: Path) -> dict[str, Any]:
    broker = Broker(directory, f"allow_anonymous true\nmax_queued_messages {HELD}").start()
    first = Away(broker.port)
    program = str(Path(sys.executable).with_name("tentwatch"))
    demo = [program, "demo", "--broker", f"127.0.0.1:{broker.port}"]
    demo += ["--speed", str(SPEED), "--state-dir", str(directory / "unit")]
    with subprocess.Popen(demo, stdout=subprocess.DEVNULL) as unit:
        wait_for(lambda: len(first.records) > 5, "records")
        first.close()
        time.sleep(days * 86_400 / SPEED)
        back = Away(broker.port)
        before = first.records
        wait_for(lambda: len(back.records) >= HELD, "what the broker held")
        time.sleep(2)  # live records come behind them
        back.live.clear()
        time.sleep(BASELINE_S)
        usual_s, asked = lateness_s(back.live), 0
        lost: set[Pair] = set()
        missing = sum(b[1] - a[1] + 1 for a, b in back.gaps_behind(before, lost))
        back.live.clear()
        begun = time.monotonic()
        while gaps := back.gaps_behind(before, lost):
            asked += 1
            answer = back.ask(f"a{asked}", *gaps[0], minutes=GOOD_FOR_MIN)
            if not answer["ok"]:  # the records before are still on their way
                time.sleep(0.2)
                continue
            for gone in answer["missing"]:
                lost |= {(gone["boot"], seq) for seq in range(gone["from"], gone["to"] + 1)}
            until = answer["until"]
            wanted = {(until["boot"], seq) for seq in range(gaps[0][0][1], until["seq"] + 1)}
            until_s = time.monotonic() + PATIENCE_S
            while not wanted <= {*back.pairs, *lost}:
                if time.monotonic() > until_s:
                    raise TimeoutError(f"{gaps[0]} did not come")
                time.sleep(0.1)
        took_s = time.monotonic() - begun
        late_s = lateness_s(back.live)
        unit.terminate()
    back.close()
    broker.stop()
    times = Counter([*back.pairs, *((r["boot"], r["seq"]) for r in before)])
    return {
        "days": days,
        "records": len(times),
        "missed_by_the_broker": missing,
        "not_healed": len(lost),
        "came_twice": sum(n > 1 for n in times.values()),
        "asked": asked,
        "resent_in_s": round(took_s, 1),
        "live_records_meanwhile": len(late_s),
        "live_later_than_the_quickest_s": summary(late_s),
        "the_same_before_s": summary(usual_s),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=6.0)
    days = parser.parse_args().days
    with TemporaryDirectory() as directory:
        print(json.dumps(measure(days, Path(directory)), indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
