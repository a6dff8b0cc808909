"""A flood of commands: its cost for a unit, and whether the unit keeps working. Prints one JSON object.

    python -m tests.bench.flood [--seconds N] [--rate N]

Half of the commands are valid, half are truncated.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from publisher import control
from technician.demo.mosquitto import Mosquitto

REST_S = 10.0


def usage(process: int) -> tuple[float, float]:
    """Return CPU seconds so far and memory in MiB of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    status = Path(f"/proc/{process}/status").read_text()
    rss = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return ticks / os.sysconf("SC_CLK_TCK"), int(rss.split()[1]) / 1024


def measure(seconds: float, rate: int) -> dict[str, Any]:
    with TemporaryDirectory() as name, Mosquitto(Path(name)) as broker:
        state = Path(name) / "state"
        unit = subprocess.Popen(
            [Path(sys.executable).with_name("tentwatch"), "demo", "--state-dir", state,
             "--broker", f"127.0.0.1:{broker.port}", "--seconds", str(2 * REST_S + seconds + 30)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        answers, states = 0, 0

        def count(client: Client, userdata: Any, message: Any) -> None:
            nonlocal answers, states
            answers += "/res/" in message.topic
            states += message.topic.endswith("/state")

        def ask() -> dict[str, Any]:
            return control.ask(state, {"command": "status"})

        client = Client(CallbackAPIVersion.VERSION2)
        client.on_message = count
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.subscribe("tents/v1/+/+")
        client.subscribe("tents/v1/+/res/+")
        try:
            time.sleep(REST_S)
            cpu_s, rss_mib = usage(unit.pid)
            time.sleep(REST_S)
            quiet_s = usage(unit.pid)[0] - cpu_s
            cpu_s = usage(unit.pid)[0]
            answers = states = sent = 0
            slowest_s, most_mib, began_s = 0.0, 0.0, time.monotonic()
            expires = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            while (passed_s := time.monotonic() - began_s) < seconds:
                while sent < passed_s * rate:
                    body = json.dumps({"cid": f"c{sent}", "expires": expires})
                    client.publish("tents/v1/demo/cmd/report", body if sent % 2 else body[:-1])
                    sent += 1
                asked_s = time.monotonic()
                ask()
                slowest_s = max(slowest_s, time.monotonic() - asked_s)
                most_mib = max(most_mib, usage(unit.pid)[1])
                time.sleep(0.05)
            status = ask()
            return {
                "sent": sent,
                "answered": answers,
                "states": states,
                "cpu_pct": round((usage(unit.pid)[0] - cpu_s) / passed_s * 100, 1),
                "cpu_quiet_pct": round(quiet_s / REST_S * 100, 1),
                "memory_before_mib": round(rss_mib, 1),
                "memory_most_mib": round(most_mib, 1),
                "slowest_status_s": round(slowest_s, 3),
                "sessions": status["link"]["sessions"],
                "waiting": status["buffer"]["rows"],
            }
        finally:
            client.disconnect()
            client.loop_stop()
            unit.terminate()
            unit.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=2000)
    options = parser.parse_args()
    print(json.dumps(measure(options.seconds, options.rate), indent=1))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
