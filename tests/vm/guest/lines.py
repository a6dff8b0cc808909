"""In the guest: the GPIO lines as the tent's wiring drives them, on the kernel's gpio-sim.

lines.py make                 the chip, with mains there and both beams free
lines.py remove               the chip goes, as if it had never been
lines.py set 17=low 23=high   drive lines
lines.py walk in 3            three people go in, one after the other (or: out)
"""

import sys
import time
from pathlib import Path

CHIP = Path("/sys/kernel/config/gpio-sim/pi")
BANK = CHIP / "bank0"
MAINS, OUTER, INNER = 17, 23, 24
STEP_S = 0.15


def make() -> None:
    BANK.mkdir(parents=True)
    (BANK / "num_lines").write_text("28")
    (BANK / "label").write_text("pinctrl-bcm2711")
    (CHIP / "live").write_text("1")
    for gpio in (MAINS, OUTER, INNER):
        drive(gpio, "low")


def drive(gpio: int, level: str) -> None:
    device, chip = ((CHIP / "dev_name").read_text(), (BANK / "chip_name").read_text())
    lines = Path("/sys/devices/platform", device.strip(), chip.strip())
    (lines / f"sim_gpio{gpio}" / "pull").write_text({"low": "pull-down", "high": "pull-up"}[level])


def walk(direction: str, people: int) -> None:
    first, second = (OUTER, INNER) if direction == "in" else (INNER, OUTER)
    for _ in range(people):
        for gpio, level in ((first, "high"), (second, "high"), (first, "low"), (second, "low")):
            drive(gpio, level)
            time.sleep(STEP_S)
        time.sleep(2 * STEP_S)


def main(what: str, *arguments: str) -> None:
    if what == "make":
        make()
    elif what == "set":
        for argument in arguments:
            gpio, _, level = argument.partition("=")
            drive(int(gpio), level)
    elif what == "walk":
        walk(arguments[0], int(arguments[1]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
