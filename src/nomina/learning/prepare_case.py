"""One scan and its label map → arrays as a network sees them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, UInt8

from nomina.assessment.lung_halves import find_lungs, lung_halves
from nomina.errors import CaseError
from nomina.imaging.ct_preparation import CTPreparation
from nomina.imaging.grid import Grid
from nomina.imaging.preparations import prepare_image, prepare_labels
from nomina.imaging.volume import LabelMap, Volume
from nomina.learning.prepared import IGNORED, PrepareConfig

GRID_TOLERANCE = 0.1
"""Scan and label map belong together when no corner is further off than this share of the smallest spacing
[choice: headers of two file formats round differently; a tenth of a voxel moves no label]."""


@dataclass(frozen=True)
class PreparedCase:
    """One case as arrays."""

    image: Float16[np.ndarray, "i j k"]
    labels: UInt8[np.ndarray, "i j k"]
    """Class index per voxel."""
    grid: Grid
    halves: UInt8[np.ndarray, "i j k"] | None = None
    """Half of the chest of each voxel (`nomina.assessment.lung_halves`); None where the scan is no CT."""


def prepare_case(
    volume: Volume, label_map: LabelMap, config: PrepareConfig, *, lungs: LabelMap | None = None
) -> PreparedCase:
    """A scan and its label map as a network sees them.

    Args:
        volume: The scan, in any orientation.
        label_map: Its labels on the same voxels.
        config: What to prepare them to.
        lungs: Lungs or lobes of a chest CT where they are known; None: they are looked for.

    Raises:
        VolumeError: The scan does not suit the preparation: it is not sagittal, has no contrast, or is not
            in HU.
        CaseError: The label map lies elsewhere.
    """
    image, grid = prepare_image(volume, config.image)
    halves = None
    if isinstance(config.image, CTPreparation):
        known = find_lungs(volume) if lungs is None else lungs.canonical()
        halves = lung_halves(known, grid)
    labels = label_map.canonical()
    source = volume.canonical().grid
    _require_same_place(source, labels.grid)
    classes = _class_indices(labels, config.structures)
    prepared = prepare_labels(classes, source, config.image)
    return PreparedCase(image.astype(np.float16), prepared, grid, halves)


def _class_indices(label_map: LabelMap, structures: tuple[str, ...]) -> UInt8[np.ndarray, "i j k"]:
    """Label values → class indices; labelled things that are no class become `IGNORED`."""
    array = label_map.array
    lowest = int(array.min())
    class_of_value = np.full(int(array.max()) - lowest + 1, IGNORED, dtype=np.uint8)
    if lowest <= 0 <= int(array.max()):
        class_of_value[-lowest] = 0
    for value, name in label_map.names.items():
        if name in structures and 0 <= value - lowest < len(class_of_value):
            class_of_value[value - lowest] = 1 + structures.index(name)
    return class_of_value[array - lowest if lowest else array]


def _require_same_place(volume: Grid, labels: Grid) -> None:
    if volume.shape != labels.shape:
        raise CaseError(
            f"the label map has {labels.shape} voxels along R, A, S, the scan {volume.shape}; give the label "
            f"map of this scan, or resample it onto the scan's grid"
        )
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in volume.shape])).reshape(3, -1).T
    gap_mm = float(np.abs(volume.to_world(corners) - labels.to_world(corners)).max())
    if gap_mm > GRID_TOLERANCE * min(volume.spacing_mm):
        raise CaseError(f"the label map lies up to {gap_mm:.2f} mm off the scan; correct its header")
