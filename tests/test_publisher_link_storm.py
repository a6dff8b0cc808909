"""A short form of the hours of faults in `make bench`."""

from pathlib import Path

from tests.bench.faults import is_well, log_of, run


def test_a_storm_of_faults_loses_and_leaks_nothing(tmp_path: Path) -> None:
    found = run(tmp_path, seconds=15.0, kills=1, seed=2)
    assert found["faults"] >= 2, found
    assert found["made"] >= 10, found
    assert is_well(found), (found, log_of(tmp_path))
