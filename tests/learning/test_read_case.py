"""From a case's files to a checked scan and label map."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nomina.errors import CaseError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.learning.cases import Case
from nomina.learning.datasets.folder import folder_cases
from nomina.learning.read_case import OVERLAP, joined_masks, on_label_grid, read_case


def write_case(folder: Path, chest: Any, labels: np.ndarray) -> Case:
    chest.write(folder / "images" / "a.nii", chest.volume)
    chest.write(folder / "labels" / "a.nii", Volume(labels, chest.grid))
    (folder / "dataset.json").write_text('{"scheme": "la_caf"}')
    (case,) = folder_cases(folder)
    return case


@pytest.mark.parametrize("lost", ["scan", "label map", "file"])
def test_a_missing_file_is_named(tmp_path: Path, chest: Any, lost: str) -> None:
    case = replace(write_case(tmp_path, chest, chest.sided), more_paths=(tmp_path / "dataset.json",))
    read_case(case)
    paths = {"scan": case.volume_path, "label map": case.label_map_path, "file": case.more_paths[0]}
    paths[lost].unlink()
    with pytest.raises(CaseError, match=f"{lost} is missing: expected .*{paths[lost].name}"):
        read_case(case)


def test_left_is_left_in_every_axis_order(tmp_path: Path, chest: Any) -> None:
    case = write_case(tmp_path, chest, chest.sided)
    for order, flips in chest.orders:
        chest.write(case.volume_path, chest.stored(chest.volume.array, order, flips))
        chest.write(case.label_map_path, chest.stored(chest.sided, order, flips))
        _, label_map = read_case(case)
        assert chest.x_mm(label_map, "left pulmonary artery") == pytest.approx(-85)
        assert chest.x_mm(label_map, "right pulmonary artery") == pytest.approx(70)


def test_a_half_labelled_case_that_is_declared_full_is_refused(tmp_path: Path, chest: Any) -> None:
    half = np.where(chest.sided > 2, 0, chest.sided)
    case = write_case(tmp_path, chest, half)
    with pytest.raises(CaseError, match=r"right pulmonary artery counts as annotated.*has 0 voxels"):
        read_case(case)
    read_case(replace(case, annotated=("left pulmonary artery", "left pulmonary vein")))


def test_voxels_of_two_masks_belong_to_neither_and_are_counted(chest: Any) -> None:
    artery, vein = chest.vessels == 1, chest.vessels == 2
    vein[7, 9, 10:13] = True
    label_map, num_twice = joined_masks({"pulmonary artery": artery, "pulmonary vein": vein}, chest.grid, "x")
    assert num_twice == 3
    expected = chest.vessels.copy()
    expected[7, 9, 10:13] = OVERLAP
    np.testing.assert_array_equal(label_map.array, expected)
    assert OVERLAP in label_map.ignored
    assert label_map.names == {1: "pulmonary artery", 2: "pulmonary vein"}


def test_masks_that_overlap_much_are_refused_with_the_count(chest: Any) -> None:
    artery = chest.vessels == 1
    vein = (chest.vessels == 2) | (artery & (np.arange(30) < 12))
    with pytest.raises(CaseError, match=r"28 voxels belong to several .*5% of the smallest \(140 voxels\)"):
        joined_masks({"pulmonary artery": artery, "pulmonary vein": vein}, chest.grid, "x")


def ramp(grid: Grid) -> np.ndarray:
    at = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    return (grid.to_world(at) @ (1.0, 2.0, 3.0)).reshape(grid.shape)


def test_a_scan_follows_its_label_map_to_another_grid() -> None:
    fine = Grid((20, 20, 20), np.diag([0.7, 0.8, 1.5, 1.0]))
    affine = np.array([[0, -1.0, 0, 9], [1.0, 0, 0, 3], [0, 0, -1.0, 21], [0, 0, 0, 1]])
    labels = LabelMap(np.ones((5, 6, 7), dtype=np.uint8), Grid((5, 6, 7), affine), names={1: "airway"})
    moved = on_label_grid(Volume(ramp(fine), fine), labels)
    assert moved.grid.matches(labels.grid)
    np.testing.assert_allclose(moved.array, ramp(labels.grid), atol=1e-4)
    assert moved.notes == ("Resampled onto the grid of its label map.",)


def test_labels_outside_the_scan_are_refused() -> None:
    small = Grid((4, 4, 4), np.eye(4))
    labels = LabelMap(np.ones((4, 4, 6), dtype=np.uint8), Grid((4, 4, 6), np.eye(4)), names={1: "airway"})
    with pytest.raises(CaseError, match="32 of 96 labelled voxels lie outside the scan"):
        on_label_grid(Volume(ramp(small), small), labels)
