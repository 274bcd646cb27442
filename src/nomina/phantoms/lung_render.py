"""`render_lung`: a chest phantom as a CT scan, plain or with contrast medium.

Order of the physics: tissue means → texture and gravity in the lung → point spread of the kernel → slice
profile → noise with the kernel's spectrum → 12 bits of HU.
"""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import scipy.ndimage as ndi

from nomina.errors import ConfigError
from nomina.imaging.volume import Volume
from nomina.phantoms.lung_tissues import (
    CHEST_INDEX,
    CHEST_TISSUES,
    TEXTURE_HU,
    ChestContrast,
    draw_hu,
    known_contrasts,
)
from nomina.phantoms.lung_vessels import LungPhantom
from nomina.phantoms.noise import smooth_noise
from nomina.phantoms.shapes import Field

LUNG_RENDERING_STREAM = 3
"""Second word of the seed; geometry draws from stream 2, so one chest can have several renderings."""
GRAVITY_HU = 45.0
"""How much denser the lung is at the back than in front, supine [choice]."""


@dataclass(frozen=True)
class Tomograph:
    """What varies from one scan to the next, apart from contrast medium."""

    blur_mm: float
    """SD of the point spread in the axial plane."""
    sharpening: float
    """Share of an unsharp mask: 0 for a soft kernel, up to 0.6 for a lung kernel."""
    noise_hu: float
    """SD of the noise."""
    noise_mm: float
    """Correlation length of the noise in the axial plane (SD of the smoothing kernel)."""
    slice_mm: float
    """Nominal slice thickness; at least the distance of the slices has an effect."""


def sample_tomograph(rng: np.random.Generator, slice_spacing_mm: float) -> Tomograph:
    """Draw a scanner and a kernel [choice: from looking at chest CT]."""
    is_sharp = rng.random() < 0.35
    return Tomograph(
        blur_mm=rng.uniform(0.35, 0.5) if is_sharp else rng.uniform(0.45, 0.7),
        sharpening=rng.uniform(0.25, 0.6) if is_sharp else 0.0,
        noise_hu=float(np.exp(rng.uniform(np.log(7), np.log(26)))) * (1.4 if is_sharp else 1.0),
        noise_mm=rng.uniform(0.3, 0.45) if is_sharp else rng.uniform(0.5, 0.8),
        slice_mm=slice_spacing_mm * rng.uniform(1.0, 1.5),
    )


def render_lung(
    phantom: LungPhantom, seed: int, contrast: ChestContrast = "random", tomograph: Tomograph | None = None
) -> Volume:
    """The phantom as a CT scan.

    Args:
        phantom: A chest from `sample_lung`.
        seed: Any integer from 0; independent of the phantom's own.
        contrast: See `ChestContrast`; "random" draws one.
        tomograph: Kernel, noise and slice thickness; drawn from the seed where it is None.

    Returns:
        int16 voxels in HU on the phantom's grid; the notes say which contrast it is.

    Raises:
        ConfigError: The contrast is not known.
    """
    if contrast not in get_args(ChestContrast):
        raise ConfigError(f"contrast must be one of {', '.join(get_args(ChestContrast))}, got {contrast!r}")
    rng = np.random.default_rng([seed, LUNG_RENDERING_STREAM])
    drawn = sample_tomograph(rng, phantom.grid.spacing_mm[2])
    tomograph = tomograph or drawn
    chosen = str(rng.choice(known_contrasts())) if contrast == "random" else contrast
    hu = draw_hu(chosen, rng)
    signal = phantom.canvas.mean_hu(hu)
    _add_texture(signal, phantom, rng)
    signal = _blurred(signal, phantom, tomograph)
    signal += _noise(signal.shape, phantom.grid.spacing_mm, tomograph, rng)
    voxels = np.clip(np.rint(signal), -1024, 3071).astype(np.int16)
    return Volume(voxels, phantom.grid, modality="CT", notes=(f"chest phantom, contrast: {chosen}",))


def _add_texture(signal: Field, phantom: LungPhantom, rng: np.random.Generator) -> None:
    """Texture of each tissue, and the lung's gradient from front to back."""
    canvas = phantom.canvas
    spacing = canvas.grid.spacing_mm
    amplitude = np.zeros(len(CHEST_TISSUES), dtype=np.float32)
    for name, sd in TEXTURE_HU.items():
        amplitude[CHEST_INDEX[name]] = sd * rng.uniform(0.6, 1.3)
    is_lung = np.zeros(len(CHEST_TISSUES), dtype=np.float32)
    is_lung[CHEST_INDEX["lung"]] = 1
    y = canvas.grid.affine[1, 3] + spacing[1] * np.arange(canvas.grid.shape[1])
    gravity = (-GRAVITY_HU * rng.uniform(0.5, 1.3) * (y / 180.0)).astype(np.float32)
    # A lattice finer than two voxels would show as a pattern.
    fine = max(rng.uniform(1.6, 2.4), 2.0 * spacing[0])
    texture = smooth_noise(canvas.grid.shape, spacing, fine, rng)
    texture += 0.8 * smooth_noise(canvas.grid.shape, spacing, rng.uniform(6.0, 11.0), rng)
    share = canvas.shares * np.float32(1 / 255)
    texture *= amplitude[canvas.tissues] * share
    signal += texture
    signal += is_lung[canvas.tissues] * share * gravity[None, :, None]


def _blurred(signal: Field, phantom: LungPhantom, tomograph: Tomograph) -> Field:
    """Point spread in the axial plane, unsharp mask of a lung kernel, then slices out of layers."""
    spacing = phantom.canvas.grid.spacing_mm
    for axis in (0, 1):
        signal = ndi.gaussian_filter1d(signal, tomograph.blur_mm / spacing[axis], axis=axis, truncate=3.0)
    if tomograph.sharpening > 0:
        soft = signal
        for axis in (0, 1):
            soft = ndi.gaussian_filter1d(soft, 1.1 / spacing[axis], axis=axis, truncate=3.0)
        signal = signal + np.float32(tomograph.sharpening) * (signal - soft)
    layers = phantom.layers_per_slice
    weights = _slice_profile(tomograph.slice_mm / spacing[2])
    signal = ndi.correlate1d(signal, weights, axis=2, mode="nearest")
    middle: Field = signal[:, :, layers // 2 :: layers]
    return np.ascontiguousarray(middle)


def _slice_profile(layers: float) -> np.ndarray:
    """Weights of neighbouring layers: a box as wide as the slice, its ends counted in part."""
    reach = int(np.ceil((layers - 1) / 2))
    weights = np.clip(layers / 2 + 0.5 - np.abs(np.arange(-reach, reach + 1)), 0, 1)
    return (weights / weights.sum()).astype(np.float32)


def _noise(
    shape: tuple[int, ...],
    spacing_mm: tuple[float, float, float],
    tomograph: Tomograph,
    rng: np.random.Generator,
) -> Field:
    """Gaussian noise, correlated in the plane; a lung kernel takes away its low frequencies."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    smooth = noise
    for axis in (0, 1):
        smooth = ndi.gaussian_filter1d(smooth, tomograph.noise_mm / spacing_mm[axis], axis=axis, truncate=3.0)
    if tomograph.sharpening > 0:
        low = smooth
        for axis in (0, 1):
            low = ndi.gaussian_filter1d(low, 1.5 / spacing_mm[axis], axis=axis, truncate=3.0)
        smooth = smooth - np.float32(tomograph.sharpening) * low
    result: Field = smooth * np.float32(tomograph.noise_hu / max(float(smooth[::3, ::3, ::3].std()), 1e-6))
    return result
