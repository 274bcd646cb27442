"""A chest CT as a network of blocks sees it: canonical axes, voxels of one size, a window of HU from 0 to 1.

Training and inference call the same `normalise_ct`. It needs neither labels nor torch. The prepared grid
shares the *centre* of the scan's field of view, so that a flipped file gives the same voxels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from scipy import ndimage, sparse

from nomina.config import config
from nomina.errors import ConfigError, VolumeError
from nomina.imaging.doctor_intensity import is_hounsfield, is_offset_hounsfield, sampled
from nomina.imaging.grid import Grid
from nomina.imaging.preparation import (
    Box,
    about_centre,
    interpolation_matrix,
    largest_shares,
    reached_rows,
)
from nomina.imaging.volume import Volume

AIR_BELOW_HU = -500.0
"""A scan without any value below this shows no air: its numbers are no HU, or a window cut the lungs off."""

IGNORED = 255
"""Label value of voxels that neither loss nor metrics look at."""

SEEN_SHARE = 0.1
"""A vessel that fills this share of a voxel can be seen in it [choice]."""


@config
class CTPreparation:
    """How a CT is brought to the form that a network sees."""

    kind: Literal["ct"] = "ct"
    spacing_mm: float = 1.0
    """Voxel size along all three axes [choice: a vessel of 5 mm² is 2.5 mm wide]; 1.5 [authors' release]."""
    window_hu: tuple[float, float] = (-1000.0, 600.0)
    """HU that become 0 and 1; the rest is clipped [choice: contrast medium passes 300 HU]; -700 to 300
    [authors' release]."""

    def __post_init__(self) -> None:
        low, high = self.window_hu
        if not 0.3 <= self.spacing_mm <= 10:
            raise ConfigError(f"spacing_mm must lie in 0.3 to 10, got {self.spacing_mm}")
        if not low < high:
            raise ConfigError(f"window_hu must be a rising pair, got {self.window_hu}")


def normalise_ct(volume: Volume, preparation: CTPreparation) -> tuple[Float[np.ndarray, "i j k"], Grid]:
    """A CT resampled to cubes and scaled so that the window becomes 0 to 1.

    Args:
        volume: A CT in HU, in any orientation.
        preparation: Spacing and window.

    Returns:
        float32 array in 0 … 1 with axes R, A, S, C-contiguous; and its grid.

    Raises:
        VolumeError: The values are not Hounsfield units.
    """
    require_hounsfield(volume)
    canonical = volume.canonical()
    target = isotropic_grid(canonical.grid, preparation.spacing_mm)
    array = Resampling.between(canonical.grid, target).apply(canonical.array)
    low, high = preparation.window_hu
    np.clip(array, low, high, out=array)
    array -= np.float32(low)
    array /= np.float32(high - low)
    return array, target


def require_hounsfield(volume: Volume) -> None:
    """Refuse what is clearly no CT in Hounsfield units; doubtful scans whose header says CT pass.

    Raises:
        VolumeError: The header names another modality, or the values cannot be HU.
    """
    if volume.modality not in (None, "CT"):
        raise VolumeError(f"the scan is {volume.modality}, but a CT was expected; use a chest CT")
    sample = sampled(volume.array)
    low, high = float(sample.min()), float(sample.max())
    if is_offset_hounsfield(sample):
        raise VolumeError(
            f"the values ({low:g} to {high:g}) are Hounsfield units plus about 1000 or 1024: the rescale "
            f"intercept was not applied; convert the original DICOM series again, or add the "
            f"RescaleIntercept that its header names"
        )
    # A crop inside a lung with contrast medium has little soft tissue, but it has air.
    if is_hounsfield(sample) or (volume.modality == "CT" and low < AIR_BELOW_HU):
        return
    raise VolumeError(
        f"the values ({low:g} to {high:g}) are not Hounsfield units of a chest, with air near -1000 and soft "
        f"tissue near 0; is it an MR, or a CT that was windowed or scaled? Give an original CT "
        f"(`nomina doctor` says more)"
    )


def isotropic_grid(grid: Grid, spacing_mm: float) -> Grid:
    """Cubes of the given size about the same centre that fill the field of view of a canonical grid."""
    return about_centre(grid, spacing_mm, axes=(0, 1, 2))


def resample_labels_to_cubes(
    labels: UInt8[np.ndarray, "i j k"], source: Grid, target: Grid
) -> UInt8[np.ndarray, "i2 j2 k2"]:
    """Label values on the prepared grid: each is resampled as an image, the largest share wins.

    Where background wins over a share of `IGNORED` that can be seen in the image, the voxel is ignored too:
    vessels too thin to be labelled must not be taught as background on a coarser grid.

    Args:
        labels: Value of every voxel, on `source`; 0 is background, 255 ignored.
        source: Canonical grid of `labels`.
        target: `isotropic_grid` of `source`.
    """
    resampling = Resampling.between(source, target)
    winner = largest_shares(labels, target.shape, resampling.apply_box)
    for box in ndimage.find_objects((labels == IGNORED).astype(np.uint8)):
        share, where = resampling.apply_box(labels[box] == IGNORED, box)
        winner[where][(winner[where] == 0) & (share >= SEEN_SHARE)] = IGNORED
    return winner


@dataclass(frozen=True)
class Resampling:
    """Linear resampling between two parallel grids of one centre: a sparse matrix per axis."""

    matrices: tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]
    """One row per output voxel along i, j, k."""

    @classmethod
    def between(cls, source: Grid, target: Grid) -> "Resampling":
        """From `source` to `target`, smoothed where voxels grow so that nothing aliases."""
        i, j, k = (interpolation_matrix(source, target, axis) for axis in range(3))
        return cls((i, j, k))

    def apply(self, array: Num[np.ndarray, "i j k"]) -> Float[np.ndarray, "i2 j2 k2"]:
        """The whole array, as float32."""
        return _resampled(array, self.matrices)

    def apply_box(
        self, part: Bool[np.ndarray, "i j k"], box: Box
    ) -> tuple[Float[np.ndarray, "i2 j2 k2"], Box]:
        """Resamples a mask that is `part` inside `box` and 0 elsewhere; gives the output box it reaches."""
        i, j, k = (reached_rows(matrix, along) for matrix, along in zip(self.matrices, box, strict=True))
        rows = (i, j, k)
        cut = [matrix[r, c] for matrix, r, c in zip(self.matrices, rows, box, strict=True)]
        return _resampled(part, (cut[0], cut[1], cut[2])), rows


def _resampled(
    array: Num[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"],
    matrices: tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array],
) -> Float[np.ndarray, "i2 j2 k2"]:
    along_i, along_j, along_k = matrices
    planes = np.empty((array.shape[0], along_j.shape[0], along_k.shape[0]), dtype=np.float32)
    for index, plane in enumerate(array):
        in_j = along_j @ np.ascontiguousarray(plane, dtype=np.float32)
        planes[index] = (along_k @ np.ascontiguousarray(in_j.T)).T
    flat = along_i @ planes.reshape(len(planes), -1)
    return np.ascontiguousarray(flat.reshape(along_i.shape[0], *planes.shape[1:]), dtype=np.float32)
