"""Power cuts: shown data is not lost; with less syncing in the store it would be."""

from pathlib import Path

import pytest

from tests.vm import cuts
from tests.vm.conftest import QUICK
from tests.vm.image import Image

CUTS, SECONDS = (100, 40.0) if QUICK else (400, 150.0)


@pytest.fixture(scope="module")
def recording(image: Image, tmp_path_factory: pytest.TempPathFactory) -> cuts.Recording:
    """A recording of a unit from its first start on."""
    folder = tmp_path_factory.mktemp("cuts") / "first"
    return cuts.record(image, folder, cuts.empty_disk(), SECONDS, seed=1)


def test_no_power_cut_takes_what_has_been_shown(
    recording: cuts.Recording, figures: dict[str, str]
) -> None:
    found = cuts.try_cuts(recording, CUTS, seed=1)
    figures["power cuts"] = str(found)
    assert found.faults == []


@pytest.mark.skipif(QUICK, reason="not in the short form")
def test_nor_does_one_while_the_unit_wakes_from_another(
    image: Image, tmp_path: Path, recording: cuts.Recording, figures: dict[str, str]
) -> None:
    left, shown = cuts.wake(recording, seed=2)
    second = cuts.record(image, tmp_path / "second", left, SECONDS / 2, seed=2)
    found = cuts.try_cuts(second, CUTS // 2, seed=2, begin=shown)
    figures["power cuts after a power cut"] = str(found)
    assert found.faults == []


def test_a_store_that_syncs_less_fails_this_test(
    image: Image, tmp_path: Path, figures: dict[str, str]
) -> None:
    control = cuts.record(
        image, tmp_path / "control", cuts.empty_disk(), 25.0, seed=3, synchronous="NORMAL"
    )
    found = cuts.try_cuts(control, 30 if QUICK else 60, seed=3, agent_every=0)
    figures["power cuts, synchronous=NORMAL"] = str(found)
    assert found.losing + found.unreadable > 0
