"""MRSpineSeg's folder layout and its table of labels, on files made in that layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nomina.errors import CaseError
from nomina.imaging.preparation import ImagePreparation
from nomina.learning.datasets.mrspineseg import mrspineseg_cases
from nomina.learning.prepare import prepare_cases
from nomina.learning.prepared import STRUCTURE_PRESETS, PrepareConfig

TABLE = (
    *("sacrum", "L5 vertebra", "L4 vertebra", "L3 vertebra", "L2 vertebra", "L1 vertebra"),
    *("T12 vertebra", "T11 vertebra", "T10 vertebra", "T9 vertebra"),
    *("L5-S1 disc", "L4-L5 disc", "L3-L4 disc", "L2-L3 disc", "L1-L2 disc"),
    *("T12-L1 disc", "T11-T12 disc", "T10-T11 disc", "T9-T10 disc"),
)
"""Label 1, 2, 3 … of the challenge."""


def write_case(root: Path, number: int, write_image: Callable[..., None]) -> np.ndarray:
    """Sacrum 1 at the bottom, then disc 11, vertebra 2, disc 12, vertebra 3 …; sagittal, 4 mm slices."""
    labels = np.zeros((4, 20, 120), dtype=np.uint8)
    stack = [1, *(label for n in range(9) for label in (11 + n, 2 + n))]
    for position, label in enumerate(stack):
        labels[1:3, 5:15, 6 * position : 6 * position + 6] = label
    scan = np.random.default_rng(number).integers(0, 2000, labels.shape).astype(np.int16)
    write_image(root / "train" / "MR" / f"Case{number}.nii.gz", scan, (4.0, 0.6, 0.6))
    write_image(root / "train" / "Mask" / f"mask_case{number}.nii.gz", labels, (4.0, 0.6, 0.6))
    return labels


def test_every_label_of_the_table_becomes_its_class(tmp_path: Path, write_image: Callable[..., None]) -> None:
    assert STRUCTURE_PRESETS["mrspineseg19"] == TABLE
    labels = write_case(tmp_path, 7, write_image)
    config = PrepareConfig(structures=TABLE, image=ImagePreparation(in_plane_spacing_mm=0.6))
    dataset = prepare_cases(mrspineseg_cases(tmp_path), tmp_path / "out", config)
    (case,) = dataset.cases
    assert (case.id, case.patient, case.sequence) == ("Case7", "Case7", "T2")
    np.testing.assert_array_equal(
        case.labels(), labels
    )  # same spacing; classes are in the order of the table


def test_a_structure_that_the_dataset_never_labels_is_unknown_there(
    tmp_path: Path, write_image: Callable[..., None]
) -> None:
    write_case(tmp_path, 1, write_image)
    config = PrepareConfig(structures=("L5 vertebra", "spinal canal"))
    (case,) = prepare_cases(mrspineseg_cases(tmp_path), tmp_path / "out", config).cases
    assert case.annotated == ("L5 vertebra",)


def test_cases_are_ordered_by_number_and_lost_files_are_listed(tmp_path: Path) -> None:
    for name in ("MR/Case10.nii.gz", "MR/Case9.nii.gz", "Mask/mask_case9.nii.gz", "Mask/mask_case100.nii.gz"):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [case.id for case in mrspineseg_cases(tmp_path)] == ["Case9", "Case10", "Case100"]


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="train/MR"):
        mrspineseg_cases(tmp_path)
