"""Bring volumes and label maps onto another grid by physical position."""

from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Num

from nomina.imaging.grid import Grid
from nomina.imaging.itk_files import set_sitk_geometry, to_sitk
from nomina.imaging.volume import LabelMap, Volume

_INTERPOLATORS = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}


def resample_volume(volume: Volume, grid: Grid, *, order: int = 1) -> Volume:
    """Intensities at the voxel centres of another grid.

    Between the outermost voxel centres and the edge of the field of view the nearest intensity holds. Nothing
    is smoothed first: going to much larger voxels picks single values.

    Args:
        volume: Intensities.
        grid: Where they are wanted; any position, spacing and direction.
        order: 0 nearest neighbour, 1 linear, 3 cubic B-spline.

    Returns:
        The volume on `grid`: in its own type for order 0, otherwise float32 (float64 from float64); the
        minimum of the volume outside its field of view.

    Raises:
        ValueError: `order` is not 0, 1 or 3.
    """
    if order not in _INTERPOLATORS:
        raise ValueError(f"order must be 0, 1 or 3, got {order}")
    array = volume.array
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if order and array.dtype != np.float64:
        array = array.astype(np.float32)
    result = _resampled(
        array, volume.grid, grid, interpolator=_INTERPOLATORS[order], outside=float(array.min())
    )
    if volume.array.dtype.kind == "b" and order == 0:
        result = result.astype(bool)
    return replace(volume, array=result, grid=grid)


def resample_labels(label_map: LabelMap, grid: Grid) -> LabelMap:
    """The label at the voxel centres of another grid, by nearest neighbour; 0 outside.

    Only for reading reference files: predictions are brought back as probabilities.
    """
    result = _resampled(
        label_map.array, label_map.grid, grid, interpolator=sitk.sitkNearestNeighbor, outside=0.0
    )
    return replace(label_map, array=result, grid=grid)


def _resampled(
    array: Num[np.ndarray, "i j k"], source: Grid, target: Grid, *, interpolator: Any, outside: float
) -> Num[np.ndarray, "i2 j2 k2"]:
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(target.shape)
    set_sitk_geometry(resampler, target)
    resampler.SetInterpolator(interpolator)
    resampler.SetDefaultPixelValue(outside)
    return sitk.GetArrayFromImage(resampler.Execute(to_sitk(array, source))).transpose(2, 1, 0)
