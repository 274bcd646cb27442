"""What was annotated, against what the label map holds."""

from typing import Any

import numpy as np
import pytest

from nomina.errors import CaseError
from nomina.imaging.volume import LabelMap
from nomina.learning.annotated import annotation_faults, require_annotated

WHOLE = ("pulmonary artery", "pulmonary vein")
LA_CAF = {
    1: "left pulmonary artery",
    2: "left pulmonary vein",
    3: "right pulmonary artery",
    4: "right pulmonary vein",
}


def test_a_case_that_is_labelled_in_full_has_no_fault(chest: Any) -> None:
    for labels, names in ((chest.vessels, None), (chest.sided, LA_CAF)):
        for annotated in (None, WHOLE):
            assert annotation_faults(chest.label_map(labels, names), annotated, chest.volume) == ()


@pytest.mark.parametrize("annotated", [None, WHOLE])
def test_one_lung_that_is_declared_full_is_found_with_and_without_sides_in_the_labels(
    chest: Any, annotated: tuple[str, ...] | None
) -> None:
    for labels, names in ((chest.vessels, None), (chest.sided, LA_CAF)):
        half = np.where(np.arange(len(labels))[:, None, None] < 17, labels, 0)
        faults = annotation_faults(chest.label_map(half, names), annotated, chest.volume)
        assert len(faults) == 2
        assert faults[0].startswith("right pulmonary artery ")
        assert "has 0 voxels while left pulmonary artery has 60" in faults[0]
        assert faults[1].startswith("right pulmonary vein ")
        assert annotation_faults(chest.label_map(half, names), tuple(LA_CAF.values())[:2], chest.volume) == ()


def test_a_trunk_beyond_the_midline_does_not_make_a_lung(chest: Any) -> None:
    half = np.where(np.arange(34)[:, None, None] >= 17, chest.vessels, 0)
    half[15:17, 14, 14:18] = 1  # 8 of 88 voxels of the right side's tree lie left of the midline
    (fault,) = annotation_faults(chest.label_map(half), ("pulmonary artery",), chest.volume)
    assert fault.startswith("left pulmonary artery ")
    assert annotation_faults(chest.label_map(half), ("right pulmonary artery",), chest.volume) == ()


def test_arteries_alone_are_found_unless_they_are_all_that_was_stated(chest: Any) -> None:
    arteries = np.where(chest.vessels == 1, 1, 0)
    for annotated in (None, WHOLE):
        faults = annotation_faults(chest.label_map(arteries), annotated, chest.volume)
        assert [fault.split(" vein")[0] for fault in faults] == ["left pulmonary", "right pulmonary"]
    assert annotation_faults(chest.label_map(arteries), ("pulmonary artery",), chest.volume) == ()


def test_a_few_voxels_of_a_counterpart_prove_nothing(chest: Any) -> None:
    speck = np.zeros_like(chest.vessels)
    speck[8, 9, 12] = 1  # 1 ml
    assert annotation_faults(chest.label_map(speck), WHOLE, chest.volume) == ()


def test_a_scan_without_hounsfield_units_gives_no_midline(chest: Any) -> None:
    half = np.where(np.arange(34)[:, None, None] < 17, chest.vessels, 0)
    mr = type(chest.volume)(np.abs(chest.volume.array), chest.grid)
    assert annotation_faults(chest.label_map(half), WHOLE, mr) == ()


def test_the_midline_is_that_of_the_body_in_the_world(chest: Any) -> None:
    """The whole body 200 mm to the right: array and world both lie right of x = 0."""
    affine = np.array(chest.grid.affine)
    affine[0, 3] += 200
    grid = type(chest.grid)(chest.shape, affine)
    volume = type(chest.volume)(chest.volume.array, grid)
    label_map = LabelMap(chest.vessels, grid, names=chest.names)
    assert annotation_faults(label_map, WHOLE, volume) == ()


def test_names_without_a_label_are_refused() -> None:
    require_annotated(("left pulmonary artery",), ("pulmonary artery",), "x")
    require_annotated(("pulmonary artery",), ("left pulmonary artery",), "x")
    with pytest.raises(CaseError, match=r"x: .*'pulmonary vein', for which there is no label"):
        require_annotated(("pulmonary vein",), ("pulmonary artery",), "x")
    with pytest.raises(CaseError, match=r"'pulmonary arteri'; nearest structures: .*'pulmonary artery'"):
        require_annotated(("pulmonary arteri",), ("pulmonary artery",), "x")
