"""PARSE 2022's folder layout, on files made in it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nomina.anatomy.schemes import load_scheme
from nomina.errors import CaseError
from nomina.imaging.volume import Volume
from nomina.learning.datasets.parse2022 import parse2022_cases
from nomina.learning.read_case import read_case


def test_cases_are_arteries_only_and_ordered_by_number(tmp_path: Path) -> None:
    for name in (
        "train/PA000100/image/PA000100",
        "train/PA000005/label/PA000005",
        "validate/PA000002/image/PA000002",
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / f"{name}.nii.gz").touch()
    cases = parse2022_cases(tmp_path)
    assert [case.id for case in cases] == ["PA000005", "PA000100"]
    assert cases[1].label_map_path == tmp_path / "train/PA000100/label/PA000100.nii.gz"
    assert {case.annotated for case in cases} == {("pulmonary artery",)}
    assert dict(load_scheme("parse2022").labels) == {1: "pulmonary artery"}


def test_arteries_of_the_left_lung_lie_left_in_every_axis_order(tmp_path: Path, chest: Any) -> None:
    folder = tmp_path / "train" / "PA000005"
    left = (chest.vessels == 1) & (np.arange(34)[:, None, None] < 17)
    for order, flips in chest.orders:
        chest.write(folder / "image" / "PA000005.nii.gz", chest.stored(chest.volume.array, order, flips))
        chest.write(folder / "label" / "PA000005.nii.gz", chest.stored(chest.vessels == 1, order, flips))
        (case,) = parse2022_cases(tmp_path)
        volume, label_map = read_case(case)
        canonical = label_map.canonical()
        x_mm = canonical.grid.to_world(np.argwhere(canonical.array == 1))[:, 0]
        assert (x_mm < 0).sum() == left.sum() == 60
        assert (x_mm > 0).sum() == 80
        np.testing.assert_array_equal(volume.canonical().array, chest.volume.array)


def test_one_lung_alone_is_no_parse_case(tmp_path: Path, chest: Any) -> None:
    folder = tmp_path / "train" / "PA000005"
    left = (chest.vessels == 1) & (np.arange(34)[:, None, None] < 17)
    chest.write(folder / "image" / "PA000005.nii.gz", chest.volume)
    chest.write(folder / "label" / "PA000005.nii.gz", Volume(left, chest.grid))
    with pytest.raises(CaseError, match="right pulmonary artery is stated annotated but has 0 voxels"):
        read_case(*parse2022_cases(tmp_path))


def test_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="holds no train/PA"):
        parse2022_cases(tmp_path)
