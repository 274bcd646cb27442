"""The scanner of the spine phantom."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nomina.errors import ConfigError
from nomina.phantoms.contrasts import MEANS
from nomina.phantoms.plan import SpineConfig
from nomina.phantoms.render import Scanner, phantom_case, render
from nomina.phantoms.spine import SpinePhantom
from nomina.phantoms.tissues import INDEX, TISSUES

PLAIN = Scanner(
    noise=0.0,
    resolution=(1.0, 1.0),
    apodisation=0.0,
    coil_falloff=0.0,
    coil_ends_mm=0.0,
    saturation=(50.0, 1.0),
    unevenness=0.0,
    gamma=1.0,
    peak=1000.0,
)


def air_beyond(phantom: SpinePhantom, num_voxels: int) -> np.ndarray:
    """Air with no tissue within some voxels in the slice."""
    air = phantom.tissues == INDEX["air"]
    return ndimage.binary_erosion(air, np.ones((1, 3, 3)), iterations=num_voxels, border_value=1)


def mean_of(phantom: SpinePhantom, array: np.ndarray, tissue: str) -> float:
    return float(array[phantom.tissues == INDEX[tissue]].mean())


def test_the_same_seed_gives_the_same_scan(spine: SpinePhantom) -> None:
    np.testing.assert_array_equal(render(spine, 1).array, render(spine, 1).array)
    assert (render(spine, 1).array != render(spine, 2).array).any()


def test_volume_lies_on_the_grid_of_its_reference(spine: SpinePhantom) -> None:
    volume = render(spine, 0, "t2")
    assert volume.grid.matches(spine.label_map.grid)
    assert volume.array.dtype == np.uint16
    assert (volume.modality, volume.sequence) == ("MR", "T2")


@pytest.mark.parametrize(
    ("contrast", "bright", "dark"),
    [
        ("t2", "csf", "muscle"),
        ("t2", "csf", "cord"),
        ("t2", "subcutaneous fat", "muscle"),
        ("t1", "subcutaneous fat", "csf"),
        ("t1", "marrow", "csf"),
        ("t1", "cord", "csf"),
        ("stir", "csf", "subcutaneous fat"),
        ("stir", "muscle", "subcutaneous fat"),
        ("pd", "muscle", "ligament"),
        ("gre", "nucleus", "marrow"),
        ("gre", "muscle", "marrow"),
        ("gre", "csf", "subcutaneous fat"),
    ],
)
def test_tissues_are_as_bright_as_their_contrast_says(
    spine: SpinePhantom, contrast: str, bright: str, dark: str
) -> None:
    array = render(spine, 5, contrast, PLAIN).array  # type: ignore[arg-type]
    assert mean_of(spine, array, bright) > 1.15 * mean_of(spine, array, dark)


@pytest.mark.parametrize("contrast", list(MEANS))
def test_every_tissue_but_air_has_a_mean(contrast: str) -> None:
    assert set(MEANS[contrast]) == set(TISSUES) - {"air"}


def test_air_shows_the_noise_that_was_asked_for(spine: SpinePhantom) -> None:
    array = render(spine, 3, "t1", replace(PLAIN, noise=0.05)).array.astype(float)
    air = array[air_beyond(spine, 4)]
    assert len(air) > 500
    # Rician noise without signal has the mean sd · √(π/2).
    brightest = mean_of(spine, render(spine, 3, "t1", PLAIN).array, "subcutaneous fat")
    assert air.mean() / brightest == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.25)


def test_more_noise_moves_voxels_further_from_the_clean_scan(spine: SpinePhantom) -> None:
    clean = render(spine, 3, "t2", PLAIN).array.astype(float)
    errors = [
        np.abs(render(spine, 3, "t2", replace(PLAIN, noise=noise)).array - clean).mean()
        for noise in (0.01, 0.04)
    ]
    assert errors[1] == pytest.approx(4 * errors[0], rel=0.25)


def test_coil_makes_the_back_brighter_than_the_front(spine: SpinePhantom) -> None:
    even = render(spine, 3, "t1", PLAIN).array.astype(float)
    uneven = render(spine, 3, "t1", replace(PLAIN, coil_falloff=1.5)).array.astype(float)
    gains = [
        mean_of(spine, uneven, tissue) / mean_of(spine, even, tissue)
        for tissue in ("ligament", "csf", "vessel", "bowel")
    ]
    assert gains == sorted(gains, reverse=True)
    # The vessels lie about 50 mm in front of the canal.
    assert gains[1] / gains[2] == pytest.approx(np.exp(1.5 * 50 / 200), rel=0.15)


def test_low_resolution_blurs_edges(spine: SpinePhantom) -> None:
    sharp = render(spine, 3, "t2", PLAIN).array.astype(float)
    blurred = render(spine, 3, "t2", replace(PLAIN, resolution=(0.4, 0.4), apodisation=1.0)).array.astype(
        float
    )
    steepness = [np.percentile(np.abs(np.diff(a, axis=2)), 99.5) for a in (sharp, blurred)]
    assert steepness[1] < 0.6 * steepness[0]


def test_sharp_k_space_rings_and_apodised_does_not(spine: SpinePhantom) -> None:
    scanners = [replace(PLAIN, resolution=(0.6, 0.6), apodisation=share) for share in (0.0, 1.0)]
    near_skin = air_beyond(spine, 2) & ~air_beyond(spine, 7)
    rings = [render(spine, 3, "t1", scanner).array[near_skin].mean() for scanner in scanners]
    assert rings[0] > 1.5 * rings[1]


def test_thick_slices_mix_tissues_of_their_layers(make_spine: Callable[..., SpinePhantom]) -> None:
    phantom = make_spine(3)
    count = phantom.layered_tissues.shape[0] // phantom.grid.shape[0]
    assert count == 3
    np.testing.assert_array_equal(phantom.layered_tissues[1::3], phantom.tissues)
    array = render(phantom, 3, "stir", PLAIN).array.astype(float)
    layers = phantom.layered_tissues.reshape(phantom.grid.shape[0], 3, *phantom.grid.shape[1:])
    csf = phantom.tissues == INDEX["csf"]
    pure = csf & (layers == INDEX["csf"]).all(1)
    mixed = csf & (layers == INDEX["epidural fat"]).any(1)
    assert mixed.sum() > 50
    # On STIR fat is dark: an outer layer of it takes its 28 % of the slice profile away.
    assert array[mixed].mean() / array[pure].mean() == pytest.approx(0.76, abs=0.08)


def test_random_contrast_draws_known_and_arbitrary_ones(spine: SpinePhantom) -> None:
    sequences = {render(spine, seed, "random", PLAIN).sequence for seed in range(12)}
    assert None in sequences
    assert sequences >= {"T1", "T2"}


def test_rendering_leaves_the_phantom_alone(spine: SpinePhantom) -> None:
    before = spine.tissues.copy()
    render(spine, 9)
    np.testing.assert_array_equal(spine.tissues, before)


@pytest.mark.usefixtures("unchecked")
def test_unknown_contrast_is_refused(spine: SpinePhantom) -> None:
    with pytest.raises(ConfigError, match="t1, t2, stir, pd, gre, random"):
        render(spine, 0, "flair")  # type: ignore[arg-type]


def test_a_case_is_a_scan_with_its_reference(ordinary: SpineConfig) -> None:
    volume, reference = phantom_case(3, "t2", ordinary)
    assert volume.grid.matches(reference.grid)
    csf = volume.array[reference.array == 100].mean()
    assert csf > 2 * volume.array[reference.array == 2].mean()
