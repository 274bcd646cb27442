import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from nomina.assessment.metrics.surface import (
    VOXEL_UNITS,
    SurfaceDistances,
    asd,
    hd95,
    hd95_pooled,
    joint_box,
    label_boxes,
    nsd,
    surface_distances,
    surface_voxels,
)
from nomina.errors import GridMismatchError

masks = arrays(np.bool_, (4, 5, 3))
spacings = st.tuples(*[st.floats(0.3, 4.0)] * 3)


def cube(start: int = 3, size: int = 5, shape: tuple[int, int, int] = (16, 16, 16)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[start : start + size, start : start + size, start : start + size] = True
    return mask


def brute_force_surface(mask: np.ndarray, neighbours: int) -> list[tuple[int, ...]]:
    padded = np.pad(mask, 1)
    offsets = [o for o in np.ndindex(3, 3, 3) if neighbours == 26 or sum(abs(n - 1) for n in o) <= 1]
    return [
        tuple(int(n) for n in index)
        for index in np.argwhere(mask)
        if not all(padded[tuple(index + offset)] for offset in np.array(offsets))
    ]


def brute_force_distances(
    first: np.ndarray, second: np.ndarray, spacing: tuple[float, float, float]
) -> tuple[list[float], list[float]]:
    ones = [np.array(p) * spacing for p in brute_force_surface(first, 6)]
    twos = [np.array(p) * spacing for p in brute_force_surface(second, 6)]
    there = [min(float(np.linalg.norm(a - b)) for b in twos) for a in ones]
    back = [min(float(np.linalg.norm(a - b)) for a in ones) for b in twos]
    return there, back


def test_the_surface_of_a_cube_is_its_shell() -> None:
    assert len(surface_voxels(cube(size=5))) == 5**3 - 3**3
    assert len(surface_voxels(cube(size=5), neighbours=26)) == 5**3 - 3**3


def test_what_lies_beyond_the_array_counts_as_outside() -> None:
    assert len(surface_voxels(np.ones((4, 4, 4), dtype=bool))) == 4**3 - 2**3


def test_a_missing_corner_makes_its_diagonal_neighbour_surface_only_with_26_neighbours() -> None:
    mask = cube(size=5)
    mask[3, 3, 3] = False
    inner = [4, 4, 4]
    assert inner not in surface_voxels(mask, neighbours=6).tolist()
    assert inner in surface_voxels(mask, neighbours=26).tolist()


@settings(max_examples=30, deadline=None)
@given(masks, st.sampled_from([6, 26]))
def test_surface_voxels_agree_with_brute_force(mask: np.ndarray, neighbours: int) -> None:
    found = [tuple(point) for point in surface_voxels(mask, neighbours=neighbours).tolist()]  # type: ignore[arg-type]
    assert found == brute_force_surface(mask, neighbours)


@settings(max_examples=40, deadline=None)
@given(masks, masks, spacings)
def test_distances_agree_with_brute_force(
    prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    if not (prediction.any() and reference.any()):
        return
    there, back = brute_force_distances(prediction, reference, spacing)
    distances = surface_distances(prediction, reference, spacing=spacing)
    np.testing.assert_allclose(distances.from_prediction, there, atol=1e-9)
    np.testing.assert_allclose(distances.from_reference, back, atol=1e-9)
    assert asd(distances) == pytest.approx(np.mean(there + back))
    assert hd95_pooled(distances) == pytest.approx(np.percentile(there + back, 95))
    tolerance = 1.0 + 1e-7  # not a distance that rounding could move across
    assert nsd(distances, tolerance=tolerance) == np.mean(np.array(there + back) <= tolerance)


@pytest.mark.parametrize(("axis", "spacing_along"), [(0, 1.5), (1, 0.5), (2, 4.0)])
@pytest.mark.parametrize("shift", [1, 2])
def test_a_slab_shifted_by_k_voxels_is_k_spacings_away(axis: int, spacing_along: float, shift: int) -> None:
    slab = np.zeros((20, 20, 20), dtype=bool)
    slab[tuple(slice(6, 7) if a == axis else slice(None) for a in range(3))] = True
    distances = surface_distances(np.roll(slab, shift, axis=axis), slab, spacing=(1.5, 0.5, 4.0))
    for value in (hd95(distances), hd95_pooled(distances), asd(distances)):
        assert value == pytest.approx(shift * spacing_along)


def test_distances_in_voxels_do_not_depend_on_the_spacing_of_the_grid() -> None:
    slab = np.zeros((10, 10, 10), dtype=bool)
    slab[:, :, 2] = True
    assert hd95(surface_distances(np.roll(slab, 3, axis=2), slab, spacing=VOXEL_UNITS)) == 3.0


def test_hd95_is_the_larger_directed_percentile_and_the_pooled_form_is_smaller() -> None:
    # 100 voxels at distance 0 one way; the other way 10 of 100 lie 7 away.
    distances = SurfaceDistances(np.zeros(100), np.array([0.0] * 90 + [7.0] * 10))
    assert hd95(distances) == 7.0
    assert hd95_pooled(distances) == pytest.approx(0.35)  # between ranks 189 (0) and 190 (7) of 200
    assert asd(distances) == 0.35


def test_nsd_counts_surface_voxels_within_the_tolerance_and_includes_it() -> None:
    distances = SurfaceDistances(np.array([0.0, 1.0, 1.5]), np.array([2.0, 3.0]))
    assert nsd(distances, tolerance=1.0) == 2 / 5
    assert nsd(distances, tolerance=2.0) == 4 / 5


@pytest.mark.parametrize("spacing", [1.0, 1.0 + 2e-16, float(np.float32(1.0000001)), 0.2, 0.333334])
def test_nsd_does_not_hang_on_the_rounding_of_the_spacing(spacing: float) -> None:
    """A surface moved by 1 mm is within 1 mm, also where the header's spacing is not exact."""
    mask = cube()
    moved = np.roll(mask, round(1 / spacing), axis=0)
    distances = surface_distances(moved, mask, spacing=(spacing, 9.0, 9.0))
    assert nsd(distances, tolerance=1.0) == 1.0
    assert nsd(distances, tolerance=0.99) < 1.0


def test_identical_masks_are_perfect() -> None:
    distances = surface_distances(cube(), cube(), spacing=(0.9, 0.5, 0.5))
    assert (hd95(distances), hd95_pooled(distances), asd(distances), nsd(distances, tolerance=0.0)) == (
        0,
        0,
        0,
        1,
    )


def test_empty_masks_give_nan_when_both_and_the_worst_value_when_one() -> None:
    empty = np.zeros((16, 16, 16), dtype=bool)
    both = surface_distances(empty, empty, spacing=VOXEL_UNITS)
    for value in (hd95(both), hd95_pooled(both), asd(both), nsd(both, tolerance=1.0)):
        assert math.isnan(value)
    for one in (
        surface_distances(cube(), empty, spacing=VOXEL_UNITS),
        surface_distances(empty, cube(), spacing=VOXEL_UNITS),
    ):
        assert hd95(one) == hd95_pooled(one) == asd(one) == math.inf
        assert nsd(one, tolerance=100.0) == 0.0


@pytest.mark.usefixtures("unchecked")
def test_masks_of_different_shape_are_refused() -> None:
    with pytest.raises(GridMismatchError, match="one grid"):
        surface_distances(cube(), cube()[1:], spacing=VOXEL_UNITS)


def test_hd95_asd_and_nsd_agree_with_monai() -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    generator = np.random.default_rng(3)
    spacing = (3.0, 0.7, 1.1)
    for _ in range(4):
        prediction = generator.random((9, 10, 8)) < 0.2
        reference = np.roll(cube(2, 4, (9, 10, 8)), 1, axis=0) | (generator.random((9, 10, 8)) < 0.03)
        tensors = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (prediction, reference)]
        ours = surface_distances(prediction, reference, spacing=spacing)
        hausdorff = metrics.compute_hausdorff_distance(
            *tensors, include_background=True, percentile=95, spacing=spacing
        )
        average = metrics.compute_average_surface_distance(
            *tensors, include_background=True, symmetric=True, spacing=spacing
        )
        share = metrics.compute_surface_dice(*tensors, [2.0], include_background=True, spacing=spacing)
        assert hd95(ours) == pytest.approx(float(hausdorff), rel=1e-5)
        assert asd(ours) == pytest.approx(float(average), rel=1e-5)
        assert nsd(ours, tolerance=2.0) == pytest.approx(float(share), rel=1e-5)


def test_boxes_enclose_each_label_exactly() -> None:
    array = np.zeros((6, 7, 8), dtype=np.int16)
    array[1:3, 2:5, 3:4] = 205
    array[5, 6, 7] = 1
    boxes = label_boxes(array)
    assert boxes == {1: np.s_[5:6, 6:7, 7:8], 205: np.s_[1:3, 2:5, 3:4]}
    assert joint_box(boxes[1], boxes[205]) == np.s_[1:6, 2:7, 3:8]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.3, 0.6, 0.8)])
def test_hd95_asd_and_nsd_agree_with_scipys_distance_transform(spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(4)
    for _ in range(5):
        smooth = gaussian_filter(rng.normal(size=(12, 24, 24)), 2.0)
        prediction, reference = smooth > 0.02, np.roll(smooth, 1, axis=1) > 0.0
        edges = [m & ~binary_erosion(m, border_value=0) for m in (prediction, reference)]
        to_reference, to_prediction = (distance_transform_edt(~e, sampling=spacing) for e in edges[::-1])
        directed = to_reference[edges[0]], to_prediction[edges[1]]
        pooled = np.concatenate(directed)
        found = surface_distances(prediction, reference, spacing=spacing)
        assert hd95(found) == pytest.approx(max(np.percentile(d, 95) for d in directed))
        assert hd95_pooled(found) == pytest.approx(np.percentile(pooled, 95))
        assert asd(found) == pytest.approx(pooled.mean())
        # Off the distances that occur, so that rounding decides nothing.
        assert nsd(found, tolerance=1.01) == pytest.approx((pooled <= 1.01).mean())


def ball(radius: float, moved_by: int = 0) -> np.ndarray:
    i, j, k = np.indices((40, 40, 40)) - 20
    return np.asarray((i - moved_by) ** 2 + j**2 + k**2 < radius**2)


# Named, prediction, reference, spacing; NSD at 1 and 2 mm, here and by DeepMind's surface-distance 0.1.
AREAS = [
    ("block moved", np.roll(cube(8, 12, (30, 30, 30)), 2, 0), cube(8, 12, (30, 30, 30)), (1.0, 1.0, 1.0),
     (0.7143, 1.0), (0.7150, 1.0)),
    ("block moved across slices", np.roll(cube(8, 12, (30, 30, 30)), 2, 0), cube(8, 12, (30, 30, 30)),
     (3.0, 0.5, 0.5), (0.6923, 0.7363), (0.8368, 0.8479)),
    ("ball within a ball", ball(12), ball(10), (1.0, 1.0, 1.0), (0.0, 0.7157), (0.1326, 0.9161)),
    ("ball moved", ball(10, 3), ball(10), (1.0, 1.0, 1.0), (0.4254, 0.6708), (0.5146, 0.8215)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("prediction", "reference", "spacing", "ours", "deepmind"),
    [row[1:] for row in AREAS],
    ids=[row[0] for row in AREAS],
)
def test_nsd_differs_from_deepminds_as_the_page_says(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: tuple[float, float, float],
    ours: tuple[float, float],
    deepmind: tuple[float, float],
) -> None:
    """MONAI computes DeepMind's surface elements with `use_subvoxels`; both gave these figures."""
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    tensors = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (prediction, reference)]
    distances = surface_distances(prediction, reference, spacing=spacing)
    for tolerance, our, their in zip((1.0, 2.0), ours, deepmind, strict=True):
        by_area = metrics.compute_surface_dice(
            *tensors, [tolerance], include_background=True, spacing=spacing, use_subvoxels=True
        )
        assert nsd(distances, tolerance=tolerance) == pytest.approx(our, abs=1e-4)
        assert float(by_area) == pytest.approx(their, abs=1e-4)
