"""A short form of the hours of faults in `make bench`, and of the many lives of `tests.bench.lives`."""

import shutil
from pathlib import Path

import pytest

from tests.bench import lives
from tests.bench.faults import is_well, log_of, run
from tests.bench.judge import TIMED


def test_a_storm_of_faults_loses_and_leaks_nothing(tmp_path: Path) -> None:
    found = run(tmp_path, seconds=15.0, kills=1, seed=2)
    assert found["faults"] >= 2, found
    assert found["made"] >= 10, found
    assert is_well(found), (found, log_of(tmp_path))


@pytest.mark.skipif(shutil.which("cc") is None, reason="slow flushes need a C compiler")
@pytest.mark.parametrize("seed", [1, 2])
def test_no_number_is_lost_or_given_twice_in_a_few_lives(tmp_path: Path, seed: int) -> None:
    found = lives.run(tmp_path, rounds=4, seed=seed)
    assert found["made"] >= 5, found
    assert not found["bad"].keys() - TIMED, (found, log_of(tmp_path))
