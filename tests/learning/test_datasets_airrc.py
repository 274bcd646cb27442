"""AirRC's masks on their own grid, beside the scans of LUNA16, on files made in that layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nomina.errors import CaseError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import Volume
from nomina.learning.datasets.airrc import airrc_cases
from nomina.learning.read_case import read_case

UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.109002525524522225658609808059"


def airways(chest: Any) -> np.ndarray:
    labels = chest.vessels.copy()
    labels[16:18, 15:17, 20:24] = 4
    labels[16, 15, 20:24] = 3
    return labels


def crop(image: Volume) -> Volume:
    """Without the outer two voxels, and half a voxel finer along the first axis: a grid of its own."""
    affine = np.array(image.grid.affine)
    affine[:3, 3] += affine[:3, :3] @ (2, 2, 2)
    affine[:3, 0] /= 2
    shape = (2 * (image.array.shape[0] - 4), image.array.shape[1] - 4, image.array.shape[2] - 4)
    array = np.repeat(image.array[2:-2, 2:-2, 2:-2], 2, axis=0)
    return Volume(array, Grid(shape, affine))


def test_a_mask_meets_its_scan_by_series_uid(tmp_path: Path) -> None:
    for name in (f"labelsTr/{UID}.nii.gz", f"luna16/subset3/{UID}.mhd", "labelsTr/1.2.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    first, second = airrc_cases(tmp_path)
    assert (first.id, first.volume_path, first.subset) == ("1.2", tmp_path / "luna16" / "1.2.mhd", None)
    assert (second.volume_path, second.subset) == (tmp_path / f"luna16/subset3/{UID}.mhd", "subset3")
    assert second.annotated == ("pulmonary artery", "pulmonary vein", "airway", "airway wall")
    assert airrc_cases(tmp_path, tmp_path / "luna16")[1].volume_path == second.volume_path
    with pytest.raises(CaseError, match=r"scan is missing: expected .*1\.2\.mhd"):
        read_case(first)


def test_left_is_left_and_the_scan_lies_under_its_mask_in_every_axis_order(
    tmp_path: Path, chest: Any
) -> None:
    for number, (order, flips) in enumerate(chest.orders):
        mask = crop(chest.stored(airways(chest), order, flips))
        chest.write(tmp_path / "labelsTr" / f"{UID}.nii.gz", mask)
        other = chest.orders[-1 - number]
        chest.write(tmp_path / "luna16" / "subset0" / f"{UID}.mhd", chest.stored(chest.volume.array, *other))
        volume, label_map = read_case(*airrc_cases(tmp_path))
        assert volume.grid.matches(label_map.grid)
        x_mm = label_map.grid.to_world(np.argwhere(label_map.mask("pulmonary artery")))[:, 0]
        assert (x_mm < 0).sum() == 2 * 60
        assert (x_mm > 0).sum() == 2 * 80
        assert set(label_map.present()) == {"pulmonary artery", "pulmonary vein", "airway", "airway wall"}
        canonical = volume.canonical()
        spine = canonical.grid.to_world(np.argwhere(canonical.array > 300))
        assert spine[:, 1].max() < -50  # bone, by world coordinates, lies behind
        assert np.abs(spine[:, 0]).max() < 20


def test_a_mask_of_one_lung_is_refused(tmp_path: Path, chest: Any) -> None:
    half = np.where(np.arange(34)[:, None, None] < 17, airways(chest), 0)
    chest.write(tmp_path / "labelsTr" / f"{UID}.nii.gz", Volume(half, chest.grid))
    chest.write(tmp_path / "subset0" / f"{UID}.mhd", chest.volume)
    with pytest.raises(CaseError, match=r"right pulmonary artery is stated annotated but has 0 voxels"):
        read_case(*airrc_cases(tmp_path))


def test_a_scan_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for name in (f"labelsTr/{UID}.nii.gz", f"subset3/{UID}.mhd", f"subset4/{UID}.mhd"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(CaseError, match="remove one"):
        airrc_cases(tmp_path)


def test_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="holds no labelsTr"):
        airrc_cases(tmp_path)
