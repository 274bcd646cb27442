"""`benchmarks/contrast_suite.py`: remaps do what they say, and what is too dear is told."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nomina.anatomy.schemes import load_scheme
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.phantoms.contrasts import MEANS

GRID = Grid((3, 40, 40), np.diag([4.0, 1.0, 1.0, 1.0]))


@pytest.fixture(scope="module")
def suite() -> Iterator[Any]:
    folder = str(Path(__file__).parents[1] / "benchmarks")
    sys.path.insert(0, folder)
    import contrast_suite

    yield contrast_suite
    sys.path.remove(folder)


def case(vertebra: int, canal: int) -> tuple[Volume, LabelMap]:
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[:, 20:35, 5:35], labels[:, 5:12, :] = 1, 100
    array = np.full(GRID.shape, 60, dtype=np.uint8)
    array[labels == 1], array[labels == 100] = vertebra, canal
    scheme = load_scheme("spider")
    return Volume(array, GRID, modality="MR", sequence="T2"), LabelMap(
        labels, GRID, scheme.names_in((1, 100)), "spider", scheme.ignored
    )


def test_every_target_names_the_tissues_of_its_curves(suite: Any) -> None:
    tissues = {*suite.POINTS, *(tissue for points in suite.POINTS_OF.values() for tissue in points)}
    assert all(tissues <= set(target) for target in suite.TARGETS.values())
    for points in (suite.POINTS, *suite.POINTS_OF.values()):
        signals = [MEANS["t2"][tissue] for tissue in points]
        assert signals == sorted(signals)


def test_a_curve_goes_through_its_tissues(suite: Any) -> None:
    signal = np.array([[[0.0, *(MEANS["t2"][tissue] for tissue in suite.POINTS), 3.0]]])
    wanted = [0.0, *(MEANS["t1"][tissue] for tissue in suite.POINTS), MEANS["t1"]["csf"]]
    np.testing.assert_allclose(suite._curve(signal, suite.POINTS, MEANS["t1"])[0, 0], wanted, rtol=1e-6)


def test_fluid_is_darker_than_bone_on_t1_and_brighter_on_tirm(suite: Any) -> None:
    volume, reference = case(vertebra=90, canal=240)
    looks = suite.looks(volume, reference, suite.LOOKS)
    bone, fluid = reference.array == 1, reference.array == 100

    def ratio(look: str) -> float:
        return float(np.median(looks[look].array[fluid]) / np.median(looks[look].array[bone]))

    assert ratio("unchanged") > 1
    assert ratio("negative") < 1
    assert ratio("reference: t1") < 1
    assert ratio("reference: tirm") > ratio("unchanged")
    assert all(look.sequence is None for name, look in looks.items() if name != "unchanged")
    assert all(look.grid is volume.grid for look in looks.values())


def test_costs_are_paired_by_scan_and_gated(suite: Any) -> None:
    def score(patient: str, look: str, dice: float) -> Any:
        return suite.Score(
            f"{patient}_t2", look, dice, dice, {"vertebrae": dice, "discs": dice, "canal": dice}
        )

    cheap = [score(p, "unchanged", 0.9) for p in "123"] + [score(p, "negative", 0.89) for p in "123"]
    dear = [score(p, "intensity: t1", 0.7) for p in "123"]
    marked = [score(p, "reference: t1", 0.1) for p in "123"]
    np.testing.assert_allclose(suite.costs_of(cheap, cheap[3:], "label_free"), 0.01)
    assert suite.too_dear(cheap + marked, ()) == []
    assert suite.too_dear(cheap + dear, ()) == ["intensity: t1 (class_wise)", "intensity: t1 (label_free)"]
    assert "0.200 (0.200 to 0.200)" in suite.table(cheap + dear, ())
