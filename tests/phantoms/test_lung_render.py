"""The chest phantom as CT: attenuation, contrast, noise, partial volume."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage as ndi

from nomina.errors import ConfigError
from nomina.phantoms.lung_render import Tomograph, render_lung
from nomina.phantoms.lung_tissues import CHEST_INDEX, CHEST_TISSUES, hu_ranges, known_contrasts
from nomina.phantoms.lung_vessels import LungPhantom

QUIET = Tomograph(blur_mm=0.3, sharpening=0.0, noise_hu=1.0, noise_mm=0.5, slice_mm=1.0)
LARGE = (
    *("lung", "muscle", "subcutaneous fat", "mediastinal fat", "right heart", "left heart", "aorta"),
    *("superior vena cava", "liver", "airway lumen", "artery"),
)
"""Tissues with voxels far from any border."""


def deep_inside(chest: LungPhantom, tissue: str) -> np.ndarray:
    mask = chest.tissues == CHEST_INDEX[tissue]
    return ndi.binary_erosion(mask, iterations=2)


@pytest.mark.parametrize("contrast", known_contrasts())
def test_every_large_tissue_lies_within_its_stated_range(chest: LungPhantom, contrast: str) -> None:
    volume = render_lung(chest, 1, contrast, QUIET)
    assert volume.modality == "CT"
    ranges = hu_ranges(contrast)
    num_checked = 0
    for tissue in LARGE:
        inside = deep_inside(chest, tissue)
        if inside.sum() < 30:
            continue
        low, high = ranges[tissue]
        # The lung is denser at the back; texture has a mean of zero only over many features.
        slack = 30 if tissue == "lung" else 0.1 * (high - low) + 12
        assert low - slack <= volume.array[inside].mean() <= high + slack, tissue
        num_checked += 1
    assert num_checked >= 9


def test_contrast_decides_which_blood_is_bright(chest: LungPhantom) -> None:
    def mean(contrast: str, tissue: str) -> float:
        return float(render_lung(chest, 2, contrast, QUIET).array[deep_inside(chest, tissue)].mean())

    assert mean("arterial", "right heart") > mean("arterial", "left heart") + 60
    assert mean("mixed", "left heart") > 200
    assert abs(mean("plain", "right heart") - mean("plain", "left heart")) < 20
    assert mean("plain", "right heart") < 70


def test_the_same_seeds_give_the_same_scan_and_others_do_not(chest: LungPhantom) -> None:
    first, again, other = (render_lung(chest, seed).array for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_noise_has_the_wanted_size_and_is_correlated_in_the_plane(chest: LungPhantom) -> None:
    blank = replace(QUIET, noise_hu=0.001)
    noisy = replace(QUIET, noise_hu=20.0, noise_mm=1.8)
    noise = (
        render_lung(chest, 5, "plain", noisy).array.astype(float)
        - render_lung(chest, 5, "plain", blank).array
    )
    noise = noise[deep_inside(chest, "muscle") | deep_inside(chest, "liver")]
    assert noise.std() == pytest.approx(20, rel=0.1)
    field = render_lung(chest, 5, "plain", noisy).array.astype(float)
    field -= render_lung(chest, 5, "plain", blank).array
    inside = chest.tissues == CHEST_INDEX["liver"]
    along_i = field[1:][inside[1:] & inside[:-1]] @ field[:-1][inside[1:] & inside[:-1]]
    along_k = (
        field[..., 1:][inside[..., 1:] & inside[..., :-1]]
        @ field[..., :-1][inside[..., 1:] & inside[..., :-1]]
    )
    power = (field[inside] ** 2).sum()
    assert along_i / power > 0.3
    assert abs(along_k / power) < 0.1


def test_borders_are_mixtures(chest: LungPhantom) -> None:
    hu = np.zeros(len(CHEST_TISSUES))
    hu[CHEST_INDEX["artery"]] = 400.0
    hu[CHEST_INDEX["lung"]] = -800.0
    mixed = chest.canvas.mean_hu(hu)
    rim = (
        (chest.canvas.tissues == CHEST_INDEX["artery"])
        & (chest.canvas.shares < 250)
        & (chest.canvas.shares > 5)
    )
    rim &= chest.canvas.beneath == CHEST_INDEX["lung"]
    assert rim.sum() > 500
    expected = -800 + 1200 * (chest.canvas.shares[rim] / 255)
    np.testing.assert_allclose(mixed[rim], expected, atol=0.1)


def test_hu_fit_twelve_bits_with_air_around(chest: LungPhantom) -> None:
    array = render_lung(chest, 7, "arterial").array
    assert array.dtype == np.int16
    assert array.min() >= -1024
    assert array.max() <= 3071


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_contrast_is_refused(chest: LungPhantom) -> None:
    with pytest.raises(ConfigError, match="'t1'"):
        render_lung(chest, 0, "t1")  # type: ignore[arg-type]
