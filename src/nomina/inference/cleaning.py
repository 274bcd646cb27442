"""Islands: pieces of a structure too small to be part of it are taken off."""

from collections.abc import Sequence

import cc3d
import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from nomina.imaging.lookup import looked_up

MIN_SHARE = 0.05
"""Pieces smaller than this share of the structure's largest piece are islands [choice]: in a thin sagittal
slab a spinous process is a piece of its own, with a tenth of the body's volume or more."""

MAX_GAP_MM = 40.0
"""Pieces whose bounding box is further than this from that of the largest piece are islands [choice]: between
a body and its spinous process lies the canal, about 20 mm."""


def without_islands(
    classes: UInt8[np.ndarray, "i j k"], spacing_mm: tuple[float, float, float]
) -> UInt8[np.ndarray, "i j k"]:
    """Class indices with small and far pieces (26-connected) of each class set to background."""
    cleaned = classes.copy()
    for index, box in enumerate(ndimage.find_objects(classes), start=1):
        if box is None:
            continue
        # A border of background: cc3d 4.1 fails on masks of a few voxels that fill their array.
        pieces = cc3d.connected_components(np.pad(classes[box] == index, 1), connectivity=26)
        statistics = cc3d.statistics(pieces)
        sizes = statistics["voxel_counts"].astype(np.int64)
        sizes[0] = 0
        islands = (sizes < MIN_SHARE * sizes.max()) & (sizes > 0)
        islands |= _gaps_mm(statistics["bounding_boxes"], int(sizes.argmax()), spacing_mm) > MAX_GAP_MM
        islands[0] = False
        cleaned[box][looked_up(islands, pieces[1:-1, 1:-1, 1:-1])] = 0
    return cleaned


def _gaps_mm(
    boxes: Sequence[tuple[slice, slice, slice]], largest: int, spacing_mm: tuple[float, float, float]
) -> Float[np.ndarray, " pieces"]:
    """Distance of each bounding box from that of the largest piece."""
    starts = np.array([[axis.start for axis in box] for box in boxes])
    stops = np.array([[axis.stop for axis in box] for box in boxes])
    apart = np.maximum(starts - stops[largest], starts[largest] - stops).clip(min=0)
    return np.linalg.norm(apart * np.asarray(spacing_mm), axis=1)
