"""The ways in which a scan is brought to a network, and which of them a config names.

mr    sagittal slices, intensity by the scan's own percentiles      `preparation.ImagePreparation`
ct    cubes, intensity by a window of HU                            `ct_preparation.CTPreparation`
"""

from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, UInt8
from pydantic import Discriminator, Tag

from nomina.imaging.ct_preparation import (
    CTPreparation,
    isotropic_grid,
    normalise_ct,
    require_hounsfield,
    resample_labels_to_cubes,
)
from nomina.imaging.grid import Grid
from nomina.imaging.preparation import (
    ImagePreparation,
    normalise,
    prepared_grid,
    require_sagittal,
    resample_classes,
)
from nomina.imaging.volume import Volume


def _kind(value: Any) -> str:
    """Tag of a preparation; configs written before there were two kinds have none and are MR."""
    kind = value.get("kind", "mr") if isinstance(value, dict) else getattr(value, "kind", "mr")
    return str(kind)


Preparation = Annotated[
    Annotated[ImagePreparation, Tag("mr")] | Annotated[CTPreparation, Tag("ct")], Discriminator(_kind)
]


COARSE = 2.0
"""A scan is coarse along an axis on which its voxels measure more than so many of the network's [choice: a
vessel or a border that two voxels of the network show lies in one of the scan's]."""


def require_suited(volume: Volume, preparation: ImagePreparation | CTPreparation) -> None:
    """Refuse what clearly cannot be prepared, by header, grid and a sample of the values, at no cost.

    Raises:
        VolumeError: The slices are not sagittal, or the values are not Hounsfield units.
    """
    match preparation:
        case CTPreparation():
            require_hounsfield(volume)
        case ImagePreparation():
            require_sagittal(volume.canonical().grid)


def coarse_notes(grid: Grid, preparation: ImagePreparation | CTPreparation) -> list[str]:
    """A sentence where a scan is much coarser than the grid on which the network was trained.

    Sagittal slices are never resampled, so their distance is as the network knows it and never coarse.

    Args:
        grid: The scan's canonical grid.
        preparation: Of the network.
    """
    match preparation:
        case CTPreparation():
            prepared = isotropic_grid(grid, preparation.spacing_mm)
        case ImagePreparation():
            prepared = prepared_grid(grid, preparation)
    axes = [axis for axis in range(3) if grid.spacing_mm[axis] > COARSE * prepared.spacing_mm[axis]]
    if not axes:
        return []
    spacing = " × ".join(f"{mm:.3g}" for mm in grid.spacing_mm)
    names = ", ".join(("right", "anterior", "superior")[axis] for axis in axes)
    return [
        f"Coarse scan: its voxels measure {spacing} mm along right, anterior, superior; along {names} that "
        f"is more than {COARSE:g} times the {prepared.spacing_mm[axes[0]]:.3g} mm of the model's own voxels. "
        f"Masks and verdicts may be wrong; use a finer series where there is one."
    ]


def prepare_image(
    volume: Volume, preparation: ImagePreparation | CTPreparation
) -> tuple[Float[np.ndarray, "i j k"], Grid]:
    """A scan as a network sees it, and its grid; see `normalise` and `normalise_ct`.

    Raises:
        VolumeError: The scan does not suit the preparation.
    """
    match preparation:
        case CTPreparation():
            return normalise_ct(volume, preparation)
        case ImagePreparation():
            return normalise(volume, preparation)


def prepare_labels(
    labels: UInt8[np.ndarray, "i j k"], source: Grid, preparation: ImagePreparation | CTPreparation
) -> UInt8[np.ndarray, "i2 j2 k2"]:
    """Label values of a canonical grid on the grid that `prepare_image` gives."""
    match preparation:
        case CTPreparation():
            return resample_labels_to_cubes(labels, source, isotropic_grid(source, preparation.spacing_mm))
        case ImagePreparation():
            return resample_classes(labels, source, prepared_grid(source, preparation))
