"""Lungs and halves of the chest lie where the world says, however the file is stored."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nomina.anatomy.structures import structure
from nomina.assessment.lung_halves import (
    MIDDLE_MM,
    around_lungs,
    find_lungs,
    lung_box,
    lung_halves,
    lung_tissue,
)
from nomina.assessment.measurements.lungs import LEFT, OUTSIDE, RIGHT
from nomina.imaging.grid import Grid
from nomina.imaging.read import read_volume
from nomina.imaging.volume import LabelMap, Volume

BoxChest = Callable[..., tuple[Volume, LabelMap]]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_left_lung_is_on_the_left_in_all_48_axis_orders(
    box_chest: BoxChest, stored_as: Callable[..., Volume], order: tuple[int, int, int]
) -> None:
    volume, _ = box_chest()
    for flips in itertools.product((False, True), repeat=3):
        lungs = find_lungs(stored_as(volume, order, flips))
        assert lungs is not None
        middle = {name: np.argwhere(lungs.mask(name)).mean(axis=0) for name in lungs.present()}
        x = {name: lungs.grid.to_world(place[None])[0, 0] for name, place in middle.items()}
        # Left at index 4 to 17, right at 26 to 39 of 4 mm from x = -90.
        assert x == pytest.approx({"left lung": -48, "right lung": 40}, abs=3)


def test_lungs_that_meet_in_front_are_parted(box_chest: BoxChest) -> None:
    volume, _ = box_chest()
    joined = np.where(volume.array > 200, -850, volume.array)  # without vessels, which would part boxes
    joined[17:27, 19:23, 8:20] = -850
    lungs = find_lungs(replace(volume, array=joined))
    assert lungs is not None
    left, right = (np.argwhere(lungs.mask(f"{side} lung"))[:, 0] for side in ("left", "right"))
    assert left.max() <= 22 <= right.min() + 1
    assert len(left) == pytest.approx(len(right), rel=0.1)


def test_a_scan_without_two_lungs_has_no_halves(box_chest: BoxChest) -> None:
    volume, _ = box_chest()
    one = volume.array.copy()
    one[26:40] = 40
    assert find_lungs(replace(volume, array=one)) is None
    assert not lung_halves(None, volume.grid).any()


def test_lung_tissue_is_measured_with_two_lungs_one_and_none(box_chest: BoxChest) -> None:
    volume, _ = box_chest()
    lungs = volume.array < -500
    assert _tissue_ml(volume) == pytest.approx(lungs.sum() * 0.064, rel=0.08)
    one, none = volume.array.copy(), np.where(lungs, 40, volume.array)
    one[26:40] = 40
    assert _tissue_ml(replace(volume, array=one)) == pytest.approx((one < -500).sum() * 0.064, rel=0.08)
    assert lung_tissue(replace(volume, array=none)) is None
    none[:, 26:] = -1000  # air around the body
    none[10:20, 8:18, 6:20] = -975  # gas in the bowel
    assert lung_tissue(replace(volume, array=none)) is None


def _tissue_ml(volume: Volume) -> float:
    found = lung_tissue(volume)
    assert found is not None
    return int(found.array.sum()) * found.grid.voxel_volume_ml


def test_a_tight_crop_keeps_its_lungs_and_outside_air_is_none(box_chest: BoxChest) -> None:
    volume, _ = box_chest()
    crop = volume.array[4:40]
    lungs = find_lungs(Volume(np.ascontiguousarray(crop), Grid(crop.shape, volume.grid.affine), "CT"))
    assert lungs is not None
    aired = volume.array.copy()
    aired[:, 26:] = -1000
    found = find_lungs(replace(volume, array=aired))
    assert found is not None
    assert not found.array[:, 26:].any()


def test_every_voxel_takes_the_nearer_lung_and_the_middle_none(box_chest: BoxChest) -> None:
    volume, truth = box_chest()
    halves = lung_halves(find_lungs(volume), volume.grid)
    for side, number in (("left", LEFT), ("right", RIGHT)):
        for kind in ("artery", "vein"):
            assert (halves[truth.mask(f"{side} pulmonary {kind}")] == number).all()
    line = halves[:, 14, 14]
    assert (line[0], line[-1]) == (LEFT, RIGHT)
    # Between index 17 and 26 the distances differ by 8 mm per voxel: within MIDDLE_MM for three of them.
    middle = np.flatnonzero(line == OUTSIDE)
    assert middle.tolist() == [21, 22]
    assert MIDDLE_MM == 10


def test_the_box_holds_the_lungs_and_the_margin(box_chest: BoxChest) -> None:
    volume, _ = box_chest()
    lungs = find_lungs(volume)
    assert lungs is not None
    # 8 mm are two voxels of 4 mm; a turned patient has as much room.
    found = np.argwhere(lungs.array != 0)
    box = tuple(
        slice(max(0, low - 3), min(size, high + 4))
        for low, high, size in zip(found.min(axis=0), found.max(axis=0), volume.grid.shape, strict=True)
    )
    assert lung_box(lungs, volume.grid, 8.0) == box
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", (10, -15, 20), degrees=True).as_matrix()
    grids = [Grid(grid.shape, turned @ grid.affine) for grid in (lungs.grid, volume.grid)]
    assert lung_box(replace(lungs, grid=grids[0]), grids[1], 8.0) == box


def test_real_lungs_are_side_by_side_also_where_air_surrounds_a_coarse_scan(shared_data: Path) -> None:
    """In this scan the two lungs hang together, and the air around it is as large and as dark as they are."""
    volume = read_volume(shared_data / "chest" / "cip_ct64" / "ct-64.nrrd")
    lungs = find_lungs(volume)
    assert lungs is not None
    volumes_ml = {name: lungs.mask(name).sum() * lungs.grid.voxel_volume_ml for name in lungs.present()}
    assert volumes_ml == pytest.approx({"left lung": 2140, "right lung": 2450}, rel=0.05)
    x = {
        name: lungs.grid.to_world(np.argwhere(lungs.mask(name)).mean(axis=0)[None])[0, 0]
        for name in volumes_ml
    }
    assert x["right lung"] - x["left lung"] > 100


def test_vessels_can_be_in_between_and_beside_the_lungs_and_not_in_the_chest_wall() -> None:
    labels = np.zeros((60, 40, 12), dtype=np.uint8)
    labels[8:22, 10:30, 2:10] = structure("left lung").label
    labels[38:52, 10:30, 2:10] = structure("right lung").label
    labels[50, 5, 3] = structure("right lung").label
    labels[[20, 21, 22], [10, 11, 12], 11] = structure("left lung").label
    grid = Grid(labels.shape, np.diag([3.0, 3.0, 3.0, 1.0]))
    lungs = LabelMap(
        labels,
        grid,
        names={structure(name).label: name for name in ("left lung", "right lung")},
        scheme="nomina",
    )
    around = around_lungs(lungs, grid, 6.0)
    assert around[30, 20, 6]  # between them
    assert around[7, 20, 6]  # beside one
    assert around[6, 20, 6]
    assert not around[5, 20, 6]  # 9 mm off
    assert not around[30, 33, 6]  # in front of both
    assert not around[30, 20, 0]  # below them
    # The hull of a plane is its own: only in plane 3 does a lung reach further back.
    assert around[45, 8, 3]
    assert not around[45, 6, 6]
