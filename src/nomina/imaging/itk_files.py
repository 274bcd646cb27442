"""Grids for SimpleITK and from it.

SimpleITK arrays are ordered z, y, x and its world is LPS; both conventions end in this file.
"""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Num

from nomina.errors import VolumeError
from nomina.imaging.grid import Grid

_LPS_RAS = np.diag([-1.0, -1.0, 1.0])


def to_sitk(array: Num[np.ndarray, "i j k"], grid: Grid) -> Any:
    """A SimpleITK image of the same voxels at the same places (a copy)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    set_sitk_geometry(image, grid)
    return image


def set_sitk_geometry(image: Any, grid: Grid) -> None:
    """Give a SimpleITK image, or a resampling filter's output, origin, spacing and direction of `grid`."""
    prefix = "Set" if isinstance(image, sitk.Image) else "SetOutput"
    directions = _LPS_RAS @ (grid.affine[:3, :3] / grid.spacing_mm)
    getattr(image, f"{prefix}Origin")((_LPS_RAS @ grid.affine[:3, 3]).tolist())
    getattr(image, f"{prefix}Spacing")(list(grid.spacing_mm))
    getattr(image, f"{prefix}Direction")(directions.ravel().tolist())


def itk_reader(path: Path, image_io: str) -> Any:
    """A SimpleITK reader that has read the header of a file.

    Raises:
        VolumeError: The header cannot be read.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise VolumeError(
            f"the header cannot be read ({last_line(error)}); export the scan again", code="damaged-header"
        ) from error
    return reader


def itk_grid(reader: Any, shape: tuple[int, ...]) -> Grid:
    """Where the voxels of a file lie, by its reader.

    Raises:
        VolumeError: Spacing or directions are impossible.
    """
    num_axes = reader.GetDimension()
    directions = np.reshape(reader.GetDirection(), (num_axes, num_axes))[:3, :3]
    spacing = np.array(reader.GetSpacing()[:3])
    if not np.isfinite(directions).all() or spacing.min() <= 0:
        raise VolumeError(
            f"voxel spacing must be positive along every axis, got {spacing.tolist()} mm; "
            f"correct the header before use",
            code="bad-spacing",
        )
    lengths = np.linalg.norm(directions, axis=0)
    if np.abs(lengths - 1).max() > 1e-3:
        raise VolumeError(
            f"the direction matrix must have columns of length 1, got {lengths.round(4).tolist()}; "
            f"put the spacing into the spacing field and normalise the columns",
            code="bad-directions",
        )
    affine = np.eye(4)
    affine[:3, :3] = _LPS_RAS @ directions * spacing
    affine[:3, 3] = _LPS_RAS @ np.array(reader.GetOrigin()[:3])
    i, j, k = shape
    return Grid((i, j, k), affine)


def last_line(error: Exception) -> str:
    """The last line of what ITK says, which names the fault."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
