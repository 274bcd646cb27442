"""`render`: a spine phantom as an MR scan of a given or random contrast.

Order of the physics: tissue means → texture → partial volume across thick slices → coil sensitivity →
k-space (limited resolution with Gibbs ringing, complex noise) → magnitude (Rician noise) → gamma.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import get_args

import numpy as np
import scipy.fft
from jaxtyping import Float

from nomina.errors import ConfigError
from nomina.imaging.volume import LabelMap, Volume
from nomina.phantoms.contrasts import (
    RANDOM_SHARES,
    Contrast,
    arbitrary_means,
    texture_amplitudes,
    tissue_means,
)
from nomina.phantoms.noise import smooth_noise
from nomina.phantoms.plan import DEFAULT_CONFIG, SpineConfig
from nomina.phantoms.spine import SpinePhantom, sample_spine
from nomina.phantoms.tissues import CANAL, INDEX

RENDERING_STREAM = 1
"""Second word of the seed; geometry draws from stream 0, so one spine can have several renderings."""
SLICE_PROFILE = (0.28, 0.44, 0.28)
"""Weights of the three layers of a thick slice: a rounded excitation profile [choice]."""


SATURATION_FROM_CANAL_MM = 60.0
"""The front of most bodies lies less than this in front of the mean canal [choice]."""


@dataclass(frozen=True)
class Scanner:
    """What varies from one scan to the next, apart from the contrast."""

    noise: float
    """SD of each noise channel, relative to the brightest tissue mean under even sensitivity."""
    resolution: tuple[float, float]
    """Share of k-space that is acquired along j and k."""
    apodisation: float
    """0: sharp edge of k-space (Gibbs ringing); 1: full Hann window (blur)."""
    coil_falloff: float
    """Logarithm of the sensitivity's ratio between the skin of the back and a place 200 mm in front of it."""
    coil_ends_mm: float
    """Length over which the signal falls at the upper and lower end of the coil; 0 for none."""
    saturation: tuple[float, float]
    """Saturation band in front of the column: distance of its border from the bodies in mm, and the share of
    the signal that it leaves (1 for none)."""
    unevenness: float
    """SD of the logarithm of the smooth rest of the bias field."""
    gamma: float
    peak: float
    """Value of the 99.9th percentile of the scan."""


def sample_scanner(rng: np.random.Generator) -> Scanner:
    """Draw a scanner; every range is a choice made by comparing with SPIDER scans."""
    return Scanner(
        noise=float(np.exp(rng.uniform(np.log(0.004), np.log(0.05)))),
        resolution=(rng.uniform(0.6, 1.0), rng.uniform(0.55, 1.0)),
        apodisation=rng.uniform(0.0, 0.9),
        coil_falloff=rng.uniform(0.0, 1.6),
        coil_ends_mm=rng.uniform(15, 70) * (rng.random() < 0.6),
        saturation=(rng.uniform(5.0, 45.0), rng.uniform(0.1, 0.5) if rng.random() < 0.5 else 1.0),
        unevenness=rng.uniform(0.03, 0.25),
        gamma=float(np.exp(rng.normal(0, 0.13))),
        peak=rng.uniform(400, 3500),
    )


def render(
    phantom: SpinePhantom, seed: int, contrast: Contrast = "random", scanner: Scanner | None = None
) -> Volume:
    """The phantom as an MR scan.

    Args:
        phantom: A spine from `sample_spine`.
        seed: Any integer from 0; independent of the phantom's own.
        contrast: A known one, or "random": a known one or arbitrary tissue means.
        scanner: Resolution, noise, coil; drawn from the seed where it is None.

    Returns:
        uint16 voxels on the phantom's grid; `sequence` is None for arbitrary tissue means.

    Raises:
        ConfigError: The contrast is not known.
    """
    if contrast not in get_args(Contrast):
        raise ConfigError(f"contrast must be one of {', '.join(get_args(Contrast))}, got {contrast!r}")
    rng = np.random.default_rng([seed, RENDERING_STREAM])
    drawn = sample_scanner(rng)
    scanner = scanner or drawn
    sequence, means = _draw_contrast(contrast, rng)
    signal = _signal(phantom, means, rng)
    signal *= _sensitivity(phantom, scanner, rng)
    magnitude = _acquire(signal, scanner, float(means.max()), rng)
    brightness = magnitude / np.float32(max(np.percentile(magnitude[:, ::4, ::4], 99.9), 1e-6))
    voxels = np.minimum(brightness, 4) ** np.float32(scanner.gamma) * np.float32(scanner.peak)
    return Volume(np.rint(voxels).astype(np.uint16), phantom.grid, modality="MR", sequence=sequence)


def phantom_case(
    seed: int,
    contrast: Contrast = "random",
    config: SpineConfig = DEFAULT_CONFIG,
    *,
    missing: Set[int] = frozenset(),
) -> tuple[Volume, LabelMap]:
    """A scan and its reference, both from one seed, less vertebrae of `missing` ranks; see `sample_spine`."""
    phantom = sample_spine(seed, config, missing=missing)
    return render(phantom, seed, contrast), phantom.label_map


def _draw_contrast(contrast: Contrast, rng: np.random.Generator) -> tuple[str | None, np.ndarray]:
    if contrast != "random":
        return contrast.upper(), tissue_means(contrast, rng)
    known = rng.choice([*RANDOM_SHARES, ""], p=[*RANDOM_SHARES.values(), 1 - sum(RANDOM_SHARES.values())])
    return (str(known).upper(), tissue_means(str(known), rng)) if known else (None, arbitrary_means(rng))


def _signal(phantom: SpinePhantom, means: np.ndarray, rng: np.random.Generator) -> Float[np.ndarray, "i j k"]:
    """Tissue means, slightly different in each vertebra and disc, averaged over layers, with texture."""
    by_label = np.ones(256, dtype=np.float32)
    by_label[1:26] += rng.normal(0, 0.05, 25)
    by_label[201:226] += rng.normal(0, 0.12, 25)
    table = means[:, None] * by_label[None, :]
    count = phantom.layered_tissues.shape[0] // phantom.grid.shape[0]
    weights = SLICE_PROFILE if count == 3 else (1.0,)
    signal = np.zeros(phantom.grid.shape, dtype=np.float32)
    flat = table.ravel()
    for layer, weight in enumerate(weights):
        index = (
            phantom.layered_tissues[layer::count].astype(np.uint16) * 256
            + phantom.layered_labels[layer::count]
        )
        signal += np.float32(weight) * flat[index]
    spacing = phantom.grid.spacing_mm
    coarse = smooth_noise(phantom.grid.shape, spacing, rng.uniform(2.5, 5.0), rng)
    fine = smooth_noise(phantom.grid.shape, spacing, rng.uniform(0.8, 1.6), rng)
    amplitude = texture_amplitudes() * rng.uniform(0.4, 1.3)
    texture = 1 + amplitude[phantom.tissues] * (0.7 * coarse + 0.7 * fine)
    return signal * np.maximum(texture, 0.05)


def _sensitivity(
    phantom: SpinePhantom, scanner: Scanner, rng: np.random.Generator
) -> Float[np.ndarray, "i j k"]:
    """Coil sensitivity, 1 at the canal: highest at the back, falling forward and beyond the coil's ends."""
    _, spacing_j, spacing_k = phantom.grid.spacing_mm
    canal = np.isin(phantom.tissues, [INDEX[name] for name in CANAL])
    j, k = (np.arange(size) for size in phantom.grid.shape[1:])
    canal_j = float((canal.sum((0, 2)) * j).sum() / max(canal.sum(), 1))
    forward = (j - canal_j) * spacing_j
    depth = -scanner.coil_falloff * forward / 200.0
    # Close to a surface coil the sensitivity rises faster than exponentially.
    depth += 0.12 * scanner.coil_falloff * (np.clip(-forward, 0, 90) / 40.0) ** 2
    ends = np.zeros(len(k))
    if scanner.coil_ends_mm > 0:
        from_end = np.minimum(k, k[::-1]) * spacing_k
        ends = -1.5 * np.exp(-from_end / (0.4 * scanner.coil_ends_mm)) * rng.uniform(0.3, 1.0)
    band = 1 / (1 + np.exp((scanner.saturation[0] + SATURATION_FROM_CANAL_MM - forward) / 4.0))
    depth += np.log(1 - band * (1 - scanner.saturation[1]))
    rest = scanner.unevenness * smooth_noise(phantom.grid.shape, phantom.grid.spacing_mm, 110.0, rng)
    return np.exp(rest + (depth[:, None] + ends[None, :]).astype(np.float32))


def _acquire(
    signal: Float[np.ndarray, "i j k"], scanner: Scanner, brightest: float, rng: np.random.Generator
) -> Float[np.ndarray, "i j k"]:
    """Magnitude of a complex acquisition with the scanner's resolution and noise, slice by slice."""
    window = _k_space_window(signal.shape[1:], scanner)
    # The window removes part of the noise power; this restores the SD that was asked for.
    sd = np.float32(scanner.noise * brightest)
    magnitude = np.empty_like(signal)
    for i in range(signal.shape[0]):
        noise = rng.standard_normal((2, *signal.shape[1:]), dtype=np.float32) * sd
        real = _filtered(signal[i] + noise[0], window)
        imaginary = _filtered(noise[1], window)
        magnitude[i] = np.hypot(real, imaginary)
    return magnitude


def _k_space_window(shape: tuple[int, ...], scanner: Scanner) -> np.ndarray:
    """Weights of the half spectrum along j (full) and k (half)."""
    axes = (np.abs(scipy.fft.fftfreq(shape[0])) * 2, scipy.fft.rfftfreq(shape[1]) * 2)
    weights = []
    for frequency, share in zip(axes, scanner.resolution, strict=True):
        inside = frequency <= share
        hann = 0.5 + 0.5 * np.cos(np.pi * np.minimum(frequency / share, 1))
        weights.append(inside * ((1 - scanner.apodisation) + scanner.apodisation * hann))
    return (weights[0][:, None] * weights[1][None, :]).astype(np.float32)


def _filtered(array: np.ndarray, window: np.ndarray) -> np.ndarray:
    return scipy.fft.irfft2(scipy.fft.rfft2(array) * window, s=array.shape)
