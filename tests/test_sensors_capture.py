"""Captures of devices without a byte stream: a line needs a time that is a number."""

import re
from pathlib import Path

import pytest

from sensors import registry

CASES = Path(__file__).parent / "cases"
#: What JSON may hold in the place of a time: no number, and numbers that no clock gives.
NO_TIMES = [b"null", b"true", b'"1.5"', b"[1]", b"{}", b"NaN", b"Infinity", b"1e999", b"9" * 400]


@pytest.mark.parametrize("no_time", NO_TIMES)
@pytest.mark.parametrize("driver", ["contact", "ds18b20", "ina219", "sht4x"])
def test_a_line_without_a_time_is_bad(driver: str, no_time: bytes) -> None:
    case = sorted((CASES / driver).iterdir())[0] / "input.bin"
    last = [text for text in case.read_bytes().splitlines(True) if b'"at_s":' in text][-1]
    said = registry.decode(driver, case.read_bytes())
    damaged = re.sub(rb'"at_s":[0-9.]+', b'"at_s":' + no_time, last)
    assert damaged != last
    found = registry.decode(driver, case.read_bytes() + damaged)
    assert (found.bad, list(found.frames)) == (said.bad + 1, list(said.frames))
