"""A scan as a network sees it: canonical axes, sagittal slices of one spacing, one intensity scale.

Training and inference call the same `normalise`: a network never meets a scan prepared in another way. It
needs neither labels nor torch.

Conventions: axes i j k are R, A, S after canonicalisation; i counts the sagittal slices and is never
resampled. In-plane grids share the *centre* of the field of view: a flipped file gives the same voxels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from scipy import ndimage, sparse

from nomina.config import config
from nomina.errors import ConfigError, VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import Volume

SLICE_MARGIN = 1.5
"""A scan counts as not sagittal when its coarsest axis exceeds the left-right spacing by this factor [choice:
isotropic scans pass, thick axial and coronal slices do not]."""
AIR_SHARE = 0.15
"""Share of a scan's mean that counts as even background when its shading is taken out [choice]."""

Box = tuple[slice, slice, slice]
"""Part of an array, half open along i, j, k."""


@config
class ImagePreparation:
    """How a scan is brought to the form that a network sees."""

    kind: Literal["mr"] = "mr"
    in_plane_spacing_mm: float = 0.6
    """Distance of pixels along A and S after resampling [choice: between SPIDER's 0.33 and 0.90 mm]."""
    clip_percentiles: tuple[float, float] = (0.5, 99.5)
    """Percentiles of all voxels at which intensities are clipped [choice: usual for MR, which has no absolute
    scale]."""
    shading_mm: float | None = None
    """Reach over which the scan is made even: each voxel is divided by the mean about it, so that tissue near
    a surface coil is no brighter than the same tissue far from it. None leaves the shading [choice]."""

    def __post_init__(self) -> None:
        low, high = self.clip_percentiles
        if self.shading_mm is not None and not self.shading_mm >= 5:
            raise ConfigError(f"shading_mm must be at least 5 or null, got {self.shading_mm}")
        if not 0.05 <= self.in_plane_spacing_mm <= 10:
            raise ConfigError(f"in_plane_spacing_mm must lie in 0.05 to 10, got {self.in_plane_spacing_mm}")
        if not 0 <= low < high <= 100:
            raise ConfigError(f"clip_percentiles must rise within 0 to 100, got {self.clip_percentiles}")


def normalise(volume: Volume, preparation: ImagePreparation) -> tuple[Float[np.ndarray, "i j k"], Grid]:
    """A scan resampled, clipped and scaled to mean 0 and standard deviation 1.

    Percentiles are those of the scan's own voxels; mean and deviation those of the whole resampled scan.

    Args:
        volume: A sagittal or isotropic scan in any orientation.
        preparation: Spacing and clipping.

    Returns:
        float32 array with axes R (slices), A, S, C-contiguous; and its grid.

    Raises:
        VolumeError: The slices are not sagittal, or all voxels have one value.
    """
    canonical = volume.canonical()
    target = prepared_grid(canonical.grid, preparation)
    low, high = _percentiles(canonical.array, preparation.clip_percentiles)
    if not high > low:
        raise VolumeError(
            f"the scan has no contrast: percentiles {preparation.clip_percentiles} are both {low:g}; "
            f"check that the file holds an image"
        )
    resampled = _InPlane.between(canonical.grid, target).apply(
        canonical.array, clip=(np.float32(low), np.float32(high))
    )
    if preparation.shading_mm is not None:
        resampled = _even(resampled - np.float32(low), target, preparation.shading_mm)
    mean = float(resampled.mean(dtype=np.float64))
    deviation = _deviation(resampled, mean)
    resampled -= np.float32(mean)
    resampled /= np.float32(deviation)
    return resampled, target


def _percentiles(array: Num[np.ndarray, "i j k"], percentiles: tuple[float, float]) -> tuple[float, float]:
    """Both percentiles of all voxels; of copies of the scan only one is made, and reordered in place."""
    copy = array.astype(np.float32).ravel(order="K")
    low, high = np.percentile(copy, percentiles, overwrite_input=True)
    return float(low), float(high)


def _deviation(array: Float[np.ndarray, "i j k"], mean: float) -> float:
    """Standard deviation, by slices: NumPy would square a float64 copy of the whole."""
    total = 0.0
    for plane in array:
        distances = plane.astype(np.float64)
        distances -= mean
        total += float(np.square(distances, out=distances).sum())
    return float(np.sqrt(total / array.size))


def _even(array: Float[np.ndarray, "i j k"], grid: Grid, shading_mm: float) -> Float[np.ndarray, "i j k"]:
    """A scan, 0 or more, divided by its smooth part; `shading_mm` is the deviation of the smoothing kernel.

    A share of the scan's mean is added below, so that noise in air is not raised to the level of tissue.
    """
    # Three running means are close to a Gaussian and take the same time at any width; their variances add up.
    width_mm = 2 * shading_mm
    sizes = [2 * round((width_mm / spacing_mm - 1) / 2) + 1 for spacing_mm in grid.spacing_mm]
    smooth = array
    for _ in range(3):
        smooth = ndimage.uniform_filter(smooth, size=[max(1, size) for size in sizes], mode="nearest")
    return array / (smooth + np.float32(AIR_SHARE * array.mean(dtype=np.float64)))


def prepared_grid(grid: Grid, preparation: ImagePreparation) -> Grid:
    """The grid that `normalise` gives for a scan on a canonical grid.

    Slices stay where they are; A and S get `in_plane_spacing_mm` about the same centre.

    Raises:
        VolumeError: The slices are not sagittal.
    """
    require_sagittal(grid)
    return about_centre(grid, preparation.in_plane_spacing_mm, axes=(1, 2))


def about_centre(grid: Grid, spacing_mm: float, axes: Sequence[int]) -> Grid:
    """Voxels of one size along some axes, about the same centre, that fill the field of view.

    Args:
        grid: The field of view.
        spacing_mm: Distance between voxel centres along `axes`.
        axes: Which axes change.
    """
    shape, affine = list(grid.shape), np.array(grid.affine)
    for axis in axes:
        old_mm = grid.spacing_mm[axis]
        shape[axis] = max(1, round(grid.shape[axis] * old_mm / spacing_mm))
        affine[:3, axis] *= spacing_mm / old_mm
        first = (grid.shape[axis] - 1) / 2 - (shape[axis] - 1) / 2 * spacing_mm / old_mm
        affine[:3, 3] += first * grid.affine[:3, axis]
    return Grid((shape[0], shape[1], shape[2]), affine)


def resample_classes(
    classes: UInt8[np.ndarray, "i j k"], source: Grid, target: Grid
) -> UInt8[np.ndarray, "i2 j2 k2"]:
    """Class indices on the prepared grid: each class is resampled as an image, the largest share wins.

    Borders stay where linear interpolation puts them, where nearest neighbour moves them by up to half a
    voxel.

    Args:
        classes: Class index of every voxel, on `source`; 0 is background.
        source: Canonical grid of `classes`.
        target: `prepared_grid` of `source`.
    """
    return largest_shares(classes, target.shape, _InPlane.between(source, target).apply_box)


def largest_shares(
    labels: UInt8[np.ndarray, "i j k"],
    shape: tuple[int, int, int],
    apply_box: Callable[[Bool[np.ndarray, "i j k"], Box], tuple[Float[np.ndarray, "i2 j2 k2"], Box]],
) -> UInt8[np.ndarray, "i2 j2 k2"]:
    """Of all values of a label map, each resampled as an image, the one with the largest share.

    Args:
        labels: Values; 0 is background.
        shape: Of the result.
        apply_box: Resamples a mask that is empty outside a box; gives its shares and the box that they reach.
    """
    winner = np.zeros(shape, dtype=np.uint8)
    best, total = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        share, where = apply_box(labels[box] == value, box)
        total[where] += share
        ahead = share > best[where]
        winner[where][ahead] = value
        best[where][ahead] = share[ahead]
    winner[best <= 1 - total] = 0
    return winner


def require_sagittal(grid: Grid) -> None:
    """Refuse a canonical grid whose slices are thick along another axis than left-right.

    Raises:
        VolumeError: The slices are not sagittal.
    """
    coarsest = int(np.argmax(grid.spacing_mm))
    if coarsest != 0 and grid.spacing_mm[coarsest] > SLICE_MARGIN * grid.spacing_mm[0]:
        plane = ("sagittal", "coronal", "axial")[coarsest]
        spacing = " × ".join(f"{s:.3g}" for s in grid.spacing_mm)
        raise VolumeError(
            f"the scan is {plane}: its voxels measure {spacing} mm along right, anterior, superior, but "
            f"sagittal slices (coarsest axis left-right) or an isotropic scan were expected; use the "
            f"sagittal series"
        )


@dataclass(frozen=True)
class _InPlane:
    """Linear resampling along j and k as two sparse matrices (one row per output pixel)."""

    along_j: sparse.csr_array
    along_k: sparse.csr_array

    @classmethod
    def between(cls, source: Grid, target: Grid) -> "_InPlane":
        return cls(*(interpolation_matrix(source, target, axis) for axis in (1, 2)))

    def apply(
        self, array: Num[np.ndarray, "i j k"], *, clip: tuple[np.float32, np.float32]
    ) -> Float[np.ndarray, "i j2 k2"]:
        """Resamples a whole scan, its intensities clipped first, without a float32 copy of it."""
        whole = (slice(0, array.shape[0]), slice(0, array.shape[1]), slice(0, array.shape[2]))
        return self._apply(array, whole, slice(None), slice(None), clip)

    def apply_box(
        self, part: Bool[np.ndarray, "i j k"], box: Box
    ) -> tuple[Float[np.ndarray, "i j2 k2"], Box]:
        """Resamples a mask that is `part` inside `box` and 0 elsewhere; gives the output box it reaches."""
        rows_j, rows_k = reached_rows(self.along_j, box[1]), reached_rows(self.along_k, box[2])
        return self._apply(part, box, rows_j, rows_k), (box[0], rows_j, rows_k)

    def _apply(
        self,
        array: Num[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"],
        box: Box,
        rows_j: slice,
        rows_k: slice,
        clip: tuple[np.float32, np.float32] | None = None,
    ) -> Float[np.ndarray, "i j2 k2"]:
        along_j, along_k = self.along_j[rows_j, box[1]], self.along_k[rows_k, box[2]]
        result = np.empty((array.shape[0], along_j.shape[0], along_k.shape[0]), dtype=np.float32)
        for i, plane in enumerate(array):
            intensities = np.ascontiguousarray(plane, dtype=np.float32)
            in_j = along_j @ (intensities if clip is None else np.clip(intensities, *clip))
            result[i] = (along_k @ np.ascontiguousarray(in_j.T)).T
        return result


def interpolation_matrix(source: Grid, target: Grid, axis: int) -> sparse.csr_array:
    """Linear resampling along one axis of two parallel grids that share their centre: a row per output voxel.

    The triangle filter is as wide as the larger of source and target voxel, so that shrinking does not alias.
    """
    num_in, num_out = source.shape[axis], target.shape[axis]
    step = target.spacing_mm[axis] / source.spacing_mm[axis]
    centres = (np.arange(num_out) - (num_out - 1) / 2) * step + (num_in - 1) / 2
    radius = max(1.0, step)
    taps = np.floor(centres - radius)[:, None] + np.arange(int(np.ceil(2 * radius)) + 2)
    weights = np.clip(1 - np.abs(taps - centres[:, None]) / radius, 0, None)
    columns = np.clip(taps, 0, num_in - 1).astype(np.int64)  # beyond the border, the border pixel repeats
    rows = np.repeat(np.arange(num_out), taps.shape[1])
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = sparse.coo_array(
        (weights.ravel().astype(np.float32), (rows, columns.ravel())), shape=(num_out, num_in)
    ).tocsr()
    matrix.eliminate_zeros()
    return matrix


def reached_rows(matrix: sparse.csr_array, columns: slice) -> slice:
    """The rows of an interpolation matrix that some columns reach."""
    reached = np.flatnonzero(matrix[:, columns].sum(axis=1))
    return slice(int(reached[0]), int(reached[-1]) + 1) if reached.size else slice(0, 0)
