"""What regions must be before the network runs: named, on the scan, and on the right side of it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nomina.anatomy.resolve import resolve_targets
from nomina.errors import GridMismatchError, PromptError, SchemeError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.regions import on_grid, require_named, require_sides, values_used

LOBES = {14: "right lower lobe", 13: "right middle lobe"}


def chest_lobes() -> LabelMap:
    """A lower lobe and the middle lobe above it, not symmetrical about any plane."""
    array = np.zeros((20, 20, 20), dtype=np.uint16)
    array[4:16, 4:15, 1:9] = 14
    array[4:16, 4:15, 9:] = 13
    grid = Grid(array.shape, np.diag([5.0, 5.0, 5.0, 1.0]))
    return LabelMap(array, grid, names=LOBES, scheme="totalsegmentator")


def test_regions_are_turned_to_the_axes_of_the_scan_and_never_resampled() -> None:
    lobes = chest_lobes()
    affine = lobes.grid.affine[:, [2, 0, 1, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * 19
    affine[:3, 0] *= -1
    affine[0, 3] += 0.002  # a rounded header
    turned = np.ascontiguousarray(lobes.array.transpose(2, 0, 1)[::-1])
    back = on_grid(LabelMap(turned, Grid(turned.shape, affine), names=LOBES), lobes.grid)
    np.testing.assert_array_equal(back.array, lobes.array)
    assert back.grid is lobes.grid
    moved = lobes.grid.affine.copy()
    moved[0, 3] += 0.5
    with pytest.raises(GridMismatchError, match=r"Corners of scan and label map lie up to 0.5 mm apart"):
        on_grid(replace(lobes, grid=Grid(lobes.grid.shape, moved)), lobes.grid)
    finer = np.repeat(lobes.array, 2, axis=0)
    fine = LabelMap(finer, Grid(finer.shape, np.diag([2.5, 5.0, 5.0, 1.0])), names=LOBES)
    with pytest.raises(GridMismatchError, match="nearest neighbour"):
        on_grid(fine, lobes.grid)


def test_regions_must_be_given_named_and_asked_for() -> None:
    targets = resolve_targets(["right lower lobe arteries"])
    with pytest.raises(PromptError, match=r"within right lower lobe' needs a label map .*--regions"):
        require_named(targets, None)
    with pytest.raises(SchemeError, match="no value for right lower lobe, only for left lung"):
        require_named(targets, ["left lung"])
    with pytest.raises(PromptError, match="leave the regions out"):
        require_named(resolve_targets(["pulmonary artery"]), LOBES.values())
    with pytest.raises(PromptError, match=r"share voxels.*two runs"):
        require_named(resolve_targets(["RLL arteries; right pulmonary artery"]), LOBES.values())
    require_named(resolve_targets(["RLL arteries; right pulmonary vein"]), LOBES.values())
    require_named(resolve_targets(["pulmonary artery"]), None)
    assert values_used(chest_lobes(), targets) == {
        "scheme": "totalsegmentator",
        "values": {"right lower lobe": 14},
    }


def test_a_right_lobe_in_the_left_lung_is_refused(box_chest: Callable[..., tuple[Volume, LabelMap]]) -> None:
    volume, _ = box_chest()
    array = np.zeros(volume.grid.shape, dtype=np.uint8)
    array[26:40, 4:24, 3:12] = 14
    right = LabelMap(array, volume.grid, names=LOBES, scheme="totalsegmentator")
    targets = resolve_targets(["RLL arteries"])
    require_sides(right, targets, volume)
    left = replace(right, array=array[::-1].copy())
    with pytest.raises(
        SchemeError, match=r"call right lower lobe lies in the left lung .*'totalsegmentator'"
    ):
        require_sides(left, targets, volume)
    # Where the scan shows no lungs, nothing can be said.
    require_sides(left, targets, replace(volume, array=np.full_like(volume.array, 40)))
