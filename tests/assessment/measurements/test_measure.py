"""What a label map holds decides what is measured in it, also where it holds nothing whole."""

import numpy as np
import pytest

from nomina.anatomy.schemes import load_scheme
from nomina.assessment.measurements.measure import measure
from nomina.errors import CaseError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap


def bars(values: list[int], scheme: str, cut: frozenset[int] = frozenset()) -> LabelMap:
    """A bar of 3 × 3 × 20 voxels of 1 mm for each value of a scheme."""
    array = np.zeros((7 * len(values), 7, 24), dtype=np.uint8)
    for n, value in enumerate(values):
        array[7 * n + 2 : 7 * n + 5, 2:5, 2:22] = value
    known = load_scheme(scheme)
    grid = Grid(array.shape, np.eye(4))
    return LabelMap(array, grid, names=known.labels, scheme=scheme, ignored=known.ignored | cut)


@pytest.mark.parametrize(("values", "cut"), [([141, 144], {141, 144}), ([141, 144, 241, 244], set())])
def test_a_chest_has_no_rows_about_a_spine(values: list[int], cut: set[int]) -> None:
    found = measure(bars(values, "nomina", frozenset(cut)))
    assert {m.structure for m in found} == {"pulmonary artery", "pulmonary vein"}
    assert {m.reason for m in found if m.quantity == "volume_ml"} == (
        {"marked as only partly visible"} if cut else {""}
    )


def test_a_tree_of_which_nothing_is_whole_is_a_reason_and_no_error() -> None:
    found = measure(bars([241, 244], "nomina"))
    assert {m.structure for m in found} == {"pulmonary artery", "pulmonary vein"}
    assert {m.reason for m in found if m.quantity == "volume_ml"} == {"marked as only partly visible"}


def test_a_spine_of_which_nothing_is_whole_is_measured_with_reasons() -> None:
    found = {(m.structure, m.quantity): m.reason for m in measure(bars([101], "spider"))}
    assert found["L5 vertebra", "volume_ml"] == "marked as only partly visible"


def test_an_ignored_value_without_a_name_is_nothing_to_measure() -> None:
    with pytest.raises(CaseError, match="nothing to measure"):
        measure(bars([125], "spider"))
