"""Islands: pieces of a structure too small to be part of it are taken off, and it is said how much."""

import cc3d
import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

MIN_SHARE = 0.05
"""Pieces smaller than this share of the structure's largest piece are islands [choice]: in a thin sagittal
slab a spinous process is a piece of its own, with a tenth of the body's volume or more."""


def without_islands(classes: UInt8[np.ndarray, "i j k"]) -> UInt8[np.ndarray, "i j k"]:
    """Class indices with small pieces (26-connected) set to background."""
    cleaned = classes.copy()
    for index, box in enumerate(ndimage.find_objects(classes), start=1):
        if box is None:
            continue
        pieces = cc3d.connected_components(classes[box] == index, connectivity=26)
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        small = (sizes < MIN_SHARE * sizes.max()) & (sizes > 0)
        cleaned[box][small[pieces]] = 0
    return cleaned
