"""A CT as a network of blocks sees it: cubes, a window of HU, and nothing that is no CT."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nomina.config import parse_config, to_plain
from nomina.errors import ConfigError, VolumeError
from nomina.imaging.ct_preparation import (
    CTPreparation,
    isotropic_grid,
    normalise_ct,
    resample_labels_to_cubes,
)
from nomina.imaging.grid import Grid
from nomina.imaging.preparation import ImagePreparation
from nomina.imaging.volume import LabelMap, Volume
from nomina.networks.checkpoint import CheckpointConfig
from nomina.networks.la_caf import LACAFConfig

BoxChest = Callable[..., tuple[Volume, LabelMap]]


def test_the_window_becomes_0_to_1_and_all_else_is_clipped(box_chest: BoxChest) -> None:
    volume, _ = box_chest()
    image, grid = normalise_ct(volume, CTPreparation(spacing_mm=4.0, window_hu=(-700, 300)))
    assert grid.matches(volume.grid)
    np.testing.assert_allclose(image, ((volume.array.astype(float) + 700) / 1000).clip(0, 1), atol=1e-6)
    assert image.dtype == np.float32
    assert (image.min(), image.max()) == (0, 1)


def test_cubes_share_the_centre_of_the_scan_and_interpolate_a_ramp() -> None:
    affine = np.diag([0.8, 0.7, 2.5, 1.0])
    grid = Grid((30, 40, 20), affine)
    ramp = 10.0 * np.arange(20) - 900 + np.zeros((30, 40, 1))
    cubes = isotropic_grid(grid, 1.25)
    assert cubes.shape == (19, 22, 40)
    assert cubes.spacing_mm == pytest.approx((1.25, 1.25, 1.25))
    centres = [each.to_world((np.array([each.shape]) - 1) / 2) for each in (grid, cubes)]
    np.testing.assert_allclose(*centres)
    image, _ = normalise_ct(
        Volume(ramp.astype(np.float32), grid, modality="CT"),
        CTPreparation(spacing_mm=1.25, window_hu=(-1000, 0)),
    )
    heights_mm = cubes.to_world(np.argwhere(np.ones((1, 1, 40))))[:, 2]
    expected = (10 * heights_mm / 2.5 + 100) / 1000
    np.testing.assert_allclose(image[5, 5, 2:-2], expected[2:-2], atol=1e-5)


@pytest.mark.parametrize("flips", list(itertools.product((False, True), repeat=3))[1::3])
def test_a_reoriented_file_gives_the_same_voxels(
    box_chest: BoxChest, stored_as: Callable[..., Volume], flips: tuple[bool, bool, bool]
) -> None:
    volume, _ = box_chest()
    straight, grid = normalise_ct(volume, CTPreparation(spacing_mm=3.0))
    turned, other = normalise_ct(stored_as(volume, (2, 0, 1), flips), CTPreparation(spacing_mm=3.0))
    np.testing.assert_allclose(turned, straight, atol=1e-5)
    assert other.matches(grid)


def test_labels_keep_their_volume_and_thin_things_their_place(box_chest: BoxChest) -> None:
    _, truth = box_chest()
    cubes = isotropic_grid(truth.grid, 2.0)
    labels = resample_labels_to_cubes(truth.array, truth.grid, cubes)
    for value in truth.names:
        found, expected = (labels == value).sum() * 8, (truth.array == value).sum() * 64
        assert found == pytest.approx(expected, rel=0.05)


def test_what_is_no_ct_is_refused_in_words(box_chest: BoxChest) -> None:
    volume, _ = box_chest()
    wrong = {
        "the scan is MR, but a CT was expected": replace(volume, modality="MR"),
        r"Hounsfield units plus about 1000 or 1024": replace(volume, array=volume.array + np.int16(1024)),
        "are not Hounsfield units of a chest": replace(
            volume, array=((volume.array + 1000) / 500).astype(np.float32)
        ),
    }
    for message, scan in wrong.items():
        with pytest.raises(VolumeError, match=message):
            normalise_ct(scan, CTPreparation())
    crop = replace(volume, array=np.where(volume.array > 0, 450, -850), modality="CT")
    normalise_ct(crop, CTPreparation(spacing_mm=4.0))  # little soft tissue, but air: a crop inside a lung


def test_what_is_ignored_stays_ignored_on_a_coarser_grid() -> None:
    labels = np.zeros((24, 24, 24), dtype=np.uint8)
    labels[6, 6, :] = 255  # a quarter of two cubes' section
    labels[12:16, 12:16, :] = 2
    fine = Grid(labels.shape, np.eye(4))
    found = resample_labels_to_cubes(labels, fine, isotropic_grid(fine, 2.0))
    assert (found[3, 3, :] == 255).all()
    assert (found[6:8, 6:8, :] == 2).all()
    assert ((found == 255).sum(), (found == 2).sum()) == (12, 48)


@pytest.mark.parametrize("fault", [{"spacing_mm": 0.1}, {"window_hu": (300.0, -700.0)}])
def test_settings_out_of_range_are_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        CTPreparation(**fault)  # type: ignore[arg-type]


def test_a_config_without_a_kind_is_that_of_mr() -> None:
    old = to_plain(CheckpointConfig(network=LACAFConfig()))
    del old["preparation"]["kind"]
    assert parse_config(CheckpointConfig, old, source="old").preparation == ImagePreparation()
    ct = CheckpointConfig(network=LACAFConfig(), preparation=CTPreparation(spacing_mm=1.5))
    assert parse_config(CheckpointConfig, to_plain(ct), source="new") == ct


def test_grey_values_without_a_header_are_said_to_be_perhaps_an_mr() -> None:
    grey = np.random.default_rng(0).uniform(0, 255, (8, 8, 8)).astype(np.float32)
    with pytest.raises(VolumeError, match="is it an MR, or a CT that was windowed or scaled"):
        normalise_ct(Volume(grey, Grid(grey.shape, np.eye(4))), CTPreparation())
