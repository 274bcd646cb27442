import itertools

import cc3d
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, label

from nomina.assessment.thinning import _may_go, thin, wall_distances

MM = (1.0, 1.0, 1.0)
ALL = np.ones((3, 3, 3))


def is_simple_by_definition(block: np.ndarray) -> bool:
    """Simple point by counting pieces of a 3×3×3 block around it."""
    around = block.copy()
    around[1, 1, 1] = False
    num_pieces = label(around, structure=ALL)[1]
    corner = np.abs(np.indices((3, 3, 3)) - 1).sum(axis=0)
    outside, num_outside = label(~around & (corner <= 2) & (corner > 0))
    at_faces = set(outside[(corner == 1) & ~around].tolist())
    return num_pieces == 1 and len(at_faces) == 1 and num_outside >= 1


def code_of(block: np.ndarray) -> int:
    bits = np.delete(block.reshape(-1), 13)
    return int((bits * (1 << np.arange(26))).sum())


@pytest.mark.parametrize("slab_voxels", [1, 700, 10**6])
def test_distances_slab_by_slab_are_those_of_the_whole(slab_voxels: int) -> None:
    spacing_mm = (0.7, 1.1, 2.0)
    i, j, k = np.indices((60, 24, 20))
    wide = (i - 30) ** 2 / 28**2 + (j - 12) ** 2 / 11**2 + (k - 10) ** 2 / 9**2 < 1
    filled = np.ones((40, 6, 6), dtype=bool)
    filled[0] = False
    for mask in (wide, filled, np.random.default_rng(0).random((60, 24, 20)) < 0.8):
        whole = distance_transform_edt(mask, sampling=spacing_mm)[mask]
        found = wall_distances(mask, spacing_mm=spacing_mm, slab_voxels=slab_voxels)
        np.testing.assert_array_equal(found, whole)


def test_a_voxel_may_go_exactly_when_it_is_simple_and_no_end() -> None:
    generator = np.random.default_rng(0)
    blocks = [generator.random((3, 3, 3)) < p for p in (0.1, 0.3, 0.5, 0.7, 0.9) for _ in range(200)]
    codes = np.array([code_of(block) for block in blocks], dtype=np.int32)
    expected = [
        is_simple_by_definition(block) and np.delete(block.reshape(-1), 13).sum() > 1 for block in blocks
    ]
    assert _may_go(codes).tolist() == expected
    assert 100 < sum(expected) < 900


@pytest.mark.parametrize(("wide", "tall"), [(2, 2), (2, 3), (4, 4), (4, 6), (3, 3)])
def test_a_bar_of_any_width_keeps_its_length(wide: int, tall: int) -> None:
    # scikit-image's thinning leaves nothing of a bar of 4 × 4 voxels (its issue 3757).
    mask = np.zeros((40, 10, 10), dtype=bool)
    mask[5:35, 2 : 2 + wide, 2 : 2 + tall] = True
    voxels, _ = thin(mask, spacing_mm=MM)
    assert np.ptp(voxels[:, 0]) >= 29 - max(wide, tall)


def test_the_pieces_and_loops_of_a_mask_stay() -> None:
    i, j, k = np.indices((40, 40, 12)) - np.array([20, 20, 6])[:, None, None, None]
    ring = (np.hypot(i, j) - 12) ** 2 + k**2 <= 9
    ball = i**2 + j**2 + k**2 <= 16
    voxels, _ = thin(ring | ball, spacing_mm=MM)
    thinned = np.zeros(ring.shape, dtype=np.uint8)
    thinned[tuple(voxels.T)] = 1
    pieces = cc3d.connected_components(thinned, connectivity=26)
    sizes = np.bincount(pieces.ravel())[1:]
    # The ring's 75 mm, obliquely at most √2 mm a voxel, and few spurs.
    assert len(sizes) == 2
    assert 53 <= sizes.max() <= 110
    assert sizes.min() <= 5
    holes = cc3d.connected_components(1 - thinned[:, :, 5:8].max(axis=2), connectivity=4)
    assert holes.max() >= 2


def test_no_voxel_that_is_left_could_go() -> None:
    generator = np.random.default_rng(1)
    mask = generator.random((16, 16, 16)) < 0.6
    voxels, _ = thin(mask, spacing_mm=(1.0, 0.7, 2.0))
    thinned = np.zeros(np.array(mask.shape) + 2, dtype=bool)
    thinned[tuple((voxels + 1).T)] = True
    codes = [code_of(thinned[i : i + 3, j : j + 3, k : k + 3]) for i, j, k in voxels.tolist()]
    assert not _may_go(np.array(codes, dtype=np.int32)).any()


def test_distances_to_the_wall_are_in_mm() -> None:
    mask = np.zeros((9, 9, 30), dtype=bool)
    mask[3:6, 3:6, 5:25] = True
    voxels, distance_mm = thin(mask, spacing_mm=(2.0, 2.0, 0.5))
    middle = (voxels == [4, 4, 15]).all(axis=1)
    assert distance_mm[middle].tolist() == [4.0]


@pytest.mark.parametrize("at", list(itertools.product((0, 4), repeat=3))[:3])
def test_a_single_voxel_stays_also_at_the_border(at: tuple[int, int, int]) -> None:
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[at] = True
    voxels, distance_mm = thin(mask, spacing_mm=(1.0, 0.5, 2.0))
    assert voxels.tolist() == [list(at)]
    assert distance_mm.tolist() == [0.5]


def test_nothing_thins_to_nothing() -> None:
    voxels, distance_mm = thin(np.zeros((3, 3, 3), dtype=bool), spacing_mm=MM)
    assert voxels.shape == (0, 3)
    assert distance_mm.shape == (0,)
