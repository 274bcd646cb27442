"""What a network sees: geometry, intensity scale and classes after preparation."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from nomina.errors import ConfigError, VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.preparation import AIR_SHARE, ImagePreparation, normalise, prepared_grid, resample_classes
from nomina.imaging.volume import Volume

PREPARATION = ImagePreparation(in_plane_spacing_mm=0.6)


def sagittal_grid(
    shape: tuple[int, int, int] = (5, 40, 50), spacing_mm: tuple[float, ...] = (4.0, 0.47, 0.33)
) -> Grid:
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = (-7.0, 12.0, 300.0)
    return Grid(shape, affine)


def world(grid: Grid) -> np.ndarray:
    indices = np.stack(np.meshgrid(*[np.arange(size) for size in grid.shape], indexing="ij"), axis=-1)
    return grid.to_world(indices.reshape(-1, 3)).reshape(*grid.shape, 3)


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(4, 6), st.integers(24, 60), st.integers(24, 60)),
    spacing_mm=st.tuples(st.floats(2, 6), st.floats(0.25, 1.5), st.floats(0.25, 1.5)),
    axis=st.integers(0, 2),
)
def test_a_ramp_in_world_coordinates_stays_the_same_ramp(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], axis: int
) -> None:
    """Each voxel holds its world coordinate, before and after; two even slices tell scale and zero."""
    grid = sagittal_grid(shape, spacing_mm)
    ramp = world(grid)[..., axis].astype(np.float32)
    low, high = float(ramp.min()), float(ramp.max())
    ramp[0], ramp[1] = low, high
    image, prepared = normalise(Volume(ramp, grid), ImagePreparation(clip_percentiles=(0, 100)))
    zero, one = float(image[0].mean()), float(image[1].mean())
    seen_mm = low + (image[2:].astype(np.float64) - zero) / (one - zero) * (high - low)
    inner = (slice(None), slice(3, -3), slice(3, -3))  # the filter repeats border pixels
    error_mm = np.abs(seen_mm - world(prepared)[2:, ..., axis])[inner].max()
    assert error_mm < 0.1 * spacing_mm[axis]  # a triangle sampled at pixels is centred to 0.086 of a pixel


def test_the_prepared_grid_keeps_slices_and_the_centre_of_the_field_of_view() -> None:
    grid = sagittal_grid()
    prepared = prepared_grid(grid, PREPARATION)
    assert prepared.spacing_mm == pytest.approx((4.0, 0.6, 0.6), abs=1e-9)
    assert prepared.shape == (5, round(40 * 0.47 / 0.6), round(50 * 0.33 / 0.6))
    centres = [(np.array(g.shape)[None] - 1) / 2 for g in (grid, prepared)]
    np.testing.assert_allclose(grid.to_world(centres[0]), prepared.to_world(centres[1]), atol=1e-9)
    np.testing.assert_allclose(
        grid.to_world(np.array([[3.0, *centres[0][0, 1:]]])),
        prepared.to_world(np.array([[3.0, *centres[1][0, 1:]]])),
    )


def test_intensities_have_mean_0_and_deviation_1_and_one_hot_pixel_changes_nothing() -> None:
    array = np.random.default_rng(0).normal(100, 20, (5, 40, 50)).astype(np.float32)
    image, _ = normalise(Volume(array, sagittal_grid()), PREPARATION)
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    assert float(image.mean()) == pytest.approx(0, abs=1e-5)
    assert float(image.std()) == pytest.approx(1, abs=1e-5)
    hot = array.copy()
    hot[2, 20, 25] = array.max() * 1e6
    spoiled, _ = normalise(Volume(hot, sagittal_grid()), PREPARATION)
    assert np.abs(spoiled - image).mean() < 1e-2


def test_gain_and_offset_of_the_scanner_do_not_matter() -> None:
    array = np.random.default_rng(1).normal(100, 20, (5, 40, 50)).astype(np.float32)
    one, _ = normalise(Volume(array, sagittal_grid()), PREPARATION)
    other, _ = normalise(Volume(array * 37 + 1000, sagittal_grid()), PREPARATION)
    np.testing.assert_allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("shading_mm", [None, 8.0])
def test_every_orientation_of_one_scan_gives_identical_voxels_at_the_same_places(
    shading_mm: float | None,
) -> None:
    preparation = ImagePreparation(in_plane_spacing_mm=0.6, shading_mm=shading_mm)
    array = np.random.default_rng(2).integers(0, 255, (5, 40, 50)).astype(np.uint8)
    grid = sagittal_grid()
    expected, expected_grid = normalise(Volume(array, grid), preparation)
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            affine = grid.affine[:, [*order, 3]].copy()
            turned = array.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
            for axis, flip in enumerate(flips):
                if flip < 0:
                    affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
                    affine[:3, axis] *= -1
            image, prepared = normalise(Volume(turned, Grid(turned.shape, affine)), preparation)
            np.testing.assert_array_equal(image, expected)
            assert prepared.matches(expected_grid)


def spine_phantom() -> tuple[np.ndarray, Grid]:
    """Body 160 × 220 mm with a column of vertebrae (150) and discs (60) and a bright canal, over dark air."""
    spacing_mm = (4.0, 1.6, 1.7)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = (-16.0, -95.2, -126.65)
    grid = Grid((9, 120, 150), affine)
    a, s = world(grid)[..., 1], world(grid)[..., 2]
    body = (np.abs(a) < 80) & (np.abs(s) < 110)
    scan = np.where(body, 100.0, 2.0)
    scan[body & (np.abs(a) < 16)] = np.where((s + 1000) % 36 < 26, 150, 60)[body & (np.abs(a) < 16)]
    scan[body & (np.abs(a + 30) < 8)] = 200
    noise = np.random.default_rng(0).normal(0, 3, grid.shape)
    return np.clip(scan + noise, 0, None), grid


@pytest.mark.parametrize("axis", [1, 2], ids=["front to back", "along the spine"])
def test_a_coil_field_of_factor_4_hardly_changes_an_evened_scan(axis: int) -> None:
    """Differences in standard deviations of the body, 30 mm and more from its rim, where air weighs in."""
    scan, grid = spine_phantom()
    place = world(grid)[..., axis]
    coil = 4 ** ((place - place.min()) / np.ptp(place) - 0.5)

    def difference(shading_mm: float | None) -> np.ndarray:
        preparation = ImagePreparation(in_plane_spacing_mm=1.6, shading_mm=shading_mm)
        even, prepared = normalise(Volume(scan, grid), preparation)
        shaded, _ = normalise(Volume(scan * coil, grid), preparation)
        core = (np.abs(world(prepared)[..., 1]) < 50) & (np.abs(world(prepared)[..., 2]) < 80)
        return np.abs(shaded - even)[core] / even[core].std()

    left, evened = difference(None), difference(30.0)
    assert left.mean() > 0.35
    assert evened.mean() < 0.18
    assert np.percentile(evened, 95) < 0.45 < 0.6 < np.percentile(left, 95)
    assert evened.mean() < left.mean() / 2


def test_evening_out_keeps_vertebrae_apart_from_discs() -> None:
    scan, grid = spine_phantom()
    preparation = ImagePreparation(in_plane_spacing_mm=1.6, shading_mm=30.0)
    image, prepared = normalise(Volume(scan, grid), preparation)
    a, s = world(prepared)[..., 1], world(prepared)[..., 2]
    column = (np.abs(a) < 13) & (np.abs(s) < 100)
    phase = (s + 1000) % 36
    vertebra, disc = image[column & (phase > 3) & (phase < 23)], image[column & (phase > 29) & (phase < 33)]
    assert vertebra.min() > disc.max() + 0.5


def test_a_mirrored_patient_gives_a_mirrored_image() -> None:
    scan, grid = spine_phantom()
    preparation = ImagePreparation(in_plane_spacing_mm=1.3, shading_mm=30.0)
    image, _ = normalise(Volume(scan, grid), preparation)
    for axis in range(3):
        mirrored, _ = normalise(Volume(np.flip(scan, axis), grid), preparation)
        np.testing.assert_allclose(np.flip(mirrored, axis), image, atol=1e-3)


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((2, 201, 201), dtype=np.float32)  # an odd side: samples fall on stripes, not between
    stripes[:, ::2] = 1.0
    stripes[1] += 5.0
    grid = sagittal_grid(stripes.shape, (4.0, 0.2, 0.2))
    image, _ = normalise(Volume(stripes, grid), ImagePreparation(clip_percentiles=(0, 100)))
    step = image[1].mean() - image[0].mean()  # 5 in the scan's units
    assert image[0, 3:-3, 3:-3].std() / step * 5 < 0.1


@pytest.mark.parametrize(
    ("spacing_mm", "word"),
    [((0.5, 0.5, 4.0), "axial"), ((0.5, 4.0, 0.5), "coronal")],
    ids=["axial", "coronal"],
)
def test_scans_that_are_not_sagittal_are_refused_by_name(
    spacing_mm: tuple[float, float, float], word: str
) -> None:
    volume = Volume(np.random.default_rng(0).random((6, 6, 6)), sagittal_grid((6, 6, 6), spacing_mm))
    with pytest.raises(VolumeError, match=word):
        normalise(volume, PREPARATION)


def test_isotropic_scans_are_taken_slice_by_slice_like_thick_ones() -> None:
    array = np.random.default_rng(0).random((6, 7, 8))
    isotropic, thick = (
        normalise(Volume(array, sagittal_grid(array.shape, (width_mm, 0.9, 0.9))), PREPARATION)[0]
        for width_mm in (0.9, 4.0)
    )
    assert isotropic.shape == (6, 10, 12)
    np.testing.assert_array_equal(isotropic, thick)


def test_a_scan_of_one_value_is_refused() -> None:
    with pytest.raises(VolumeError, match="no contrast"):
        normalise(Volume(np.full((5, 40, 50), 7), sagittal_grid()), PREPARATION)


@pytest.mark.parametrize("wrong", [{"in_plane_spacing_mm": 0.0}, {"clip_percentiles": (99.5, 0.5)}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ImagePreparation(**wrong)


def blobs(shape: tuple[int, int, int]) -> np.ndarray:
    """Three touching ellipsoids (classes 1, 2, 255), smooth at the scale of a pixel."""
    i, j, k = np.meshgrid(*[np.arange(size) for size in shape], indexing="ij")
    classes = np.zeros(shape, dtype=np.uint8)
    for label, centre in ((1, 0.25), (2, 0.5), (255, 0.75)):
        inside = ((i - 2) / 3) ** 2 + ((j / shape[1] - 0.5) / 0.3) ** 2 + (
            (k / shape[2] - centre) / 0.13
        ) ** 2 < 1
        classes[inside] = label
    return classes


@pytest.mark.parametrize("spacing_mm", [(4.0, 0.47, 0.47), (4.0, 0.33, 0.9), (4.0, 1.1, 0.61)])
def test_structures_keep_their_place_and_size(spacing_mm: tuple[float, float, float]) -> None:
    grid = sagittal_grid((5, 90, 120), spacing_mm)
    classes = blobs(grid.shape)
    prepared = prepared_grid(grid, PREPARATION)
    result = resample_classes(classes, grid, prepared)
    assert set(np.unique(result)) == {0, 1, 2, 255}
    for label in (1, 2, 255):
        before, after = classes == label, result == label
        gap_mm = np.abs(world(grid)[before].mean(axis=0) - world(prepared)[after].mean(axis=0))
        assert gap_mm.max() < 0.1
        volumes_ml = before.sum() * grid.voxel_volume_ml, after.sum() * prepared.voxel_volume_ml
        assert volumes_ml[1] == pytest.approx(volumes_ml[0], rel=0.02)


def test_classes_on_the_same_spacing_come_back_unchanged() -> None:
    grid = sagittal_grid((5, 90, 120), (4.0, 0.6, 0.6))
    classes = np.random.default_rng(0).integers(0, 4, grid.shape).astype(np.uint8)
    np.testing.assert_array_equal(resample_classes(classes, grid, prepared_grid(grid, PREPARATION)), classes)


def test_the_class_with_the_largest_share_wins() -> None:
    grid = sagittal_grid((2, 30, 31), (4.0, 0.9, 1.2))
    prepared = prepared_grid(grid, PREPARATION)
    classes = np.random.default_rng(3).integers(0, 4, grid.shape).astype(np.uint8)
    at = [
        grid.to_voxels(world(prepared)[0].reshape(-1, 3))[:, axis].reshape(prepared.shape[1:])
        for axis in (1, 2)
    ]
    rows, columns = at[0][:, 0], at[1][0]
    shares = []
    for label in range(4):
        masks = (classes == label).astype(np.float64)
        along_j = np.apply_along_axis(lambda line: np.interp(rows, np.arange(30), line), 1, masks)
        shares.append(np.apply_along_axis(lambda line: np.interp(columns, np.arange(31), line), 2, along_j))
    ranked = np.sort(shares, axis=0)
    is_clear = ranked[-1] - ranked[-2] > 1e-4
    result = resample_classes(classes, grid, prepared)
    assert is_clear.mean() > 0.8
    np.testing.assert_array_equal(result[is_clear], np.argmax(shares, axis=0)[is_clear])


def test_shading_is_taken_out_over_the_reach_that_the_config_states() -> None:
    """At a step from 0 to 200 the smooth part is a Gaussian's integral; another width would not fit."""
    shape, reach_mm = (4, 241, 6), 20.0
    volume = Volume(
        np.where(np.arange(shape[1]) > 120, 200.0, 0.0)[None, :, None] * np.ones(shape),
        Grid(shape, np.diag([4.0, 1.0, 1.0, 1.0])),
    )
    preparation = ImagePreparation(
        in_plane_spacing_mm=1.0, clip_percentiles=(0.0, 100.0), shading_mm=reach_mm
    )
    from_step_mm = np.arange(shape[1]) - 120.5
    expected = (from_step_mm > 0) * 200 / (200 * ndtr(from_step_mm / reach_mm) + AIR_SHARE * 200 * 120 / 241)
    expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(normalise(volume, preparation)[0][2, :, 3], expected, atol=0.05)
