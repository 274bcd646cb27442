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
    resample_labels_to_cubes,
)
from nomina.imaging.grid import Grid
from nomina.imaging.preparation import ImagePreparation, normalise, prepared_grid, resample_classes
from nomina.imaging.volume import Volume


def _kind(value: Any) -> str:
    """Tag of a preparation; configs written before there were two kinds have none and are MR."""
    kind = value.get("kind", "mr") if isinstance(value, dict) else getattr(value, "kind", "mr")
    return str(kind)


Preparation = Annotated[
    Annotated[ImagePreparation, Tag("mr")] | Annotated[CTPreparation, Tag("ct")], Discriminator(_kind)
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
