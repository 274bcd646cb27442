"""What a vessel's connectedness hangs on: its centreline, thickened to a tube, as a target for training."""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

_FACES = ndimage.generate_binary_structure(3, 1)
_CUBE = ndimage.generate_binary_structure(3, 3)

TUBE_VOXELS = 2
"""Dilations of the skeleton by the 26-neighbourhood (Kirchhoff et al., arXiv:2404.03010)."""


def tubed_skeleton(mask: Bool[np.ndarray, "i j k"]) -> Bool[np.ndarray, "i j k"]:
    """The mask's skeleton, dilated and cut to the mask: the target of skeleton recall.

    Args:
        mask: One structure; empty masks give an empty skeleton.

    Returns:
        A part of the mask. Thin vessels are covered whole, thick ones along their middle.
    """
    line = skeleton(mask)
    return ndimage.binary_dilation(line, _CUBE, iterations=TUBE_VOXELS) & mask if line.any() else line


def skeleton(mask: Bool[np.ndarray, "i j k"]) -> Bool[np.ndarray, "i j k"]:
    """Lantuéjoul's skeleton: all voxels that an erosion keeps and an opening of it loses.

    It may have gaps and spurs that a thinning would not, which a dilation covers and the mask bounds; unlike
    thinning it needs nothing beyond SciPy [choice].
    """
    found = np.zeros_like(mask)
    eroded = mask
    while eroded.any():
        inner = ndimage.binary_erosion(eroded, _FACES)
        found |= eroded & ~ndimage.binary_dilation(inner, _FACES)
        eroded = inner
    return found
