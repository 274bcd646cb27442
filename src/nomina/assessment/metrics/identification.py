"""Vertebrae that are where their name says, by their centres: the identification rate of VerSe."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.ndimage import center_of_mass

from nomina.assessment.metrics.surface import label_boxes
from nomina.assessment.spine_levels import spine_kind
from nomina.imaging.volume import LabelMap

TOLERANCE_MM = 20.0
"""Largest distance between the two centres (Sekuboyina et al., Med Image Anal 73:102166, 2021)."""


def identified_vertebrae(prediction: LabelMap, reference: LabelMap) -> Mapping[str, bool]:
    """For each vertebra of the reference whether the prediction has it in its place.

    That is so when the centre of the predicted vertebra of that name lies within 20 mm of the reference's
    and no other reference vertebra is nearer to it. VerSe's centres are those of bodies; ours are those of
    the labels, with their arches, in both maps.

    Args:
        prediction: Predicted label map; values in `prediction.ignored` do not count.
        reference: Reference label map on the same grid; values in `reference.ignored` are not judged.
    """
    predicted, centres = _centres_mm(prediction), _centres_mm(reference)
    if not centres:
        return {}
    places = np.array(list(centres.values()))
    identified = {}
    for index, name in enumerate(centres):
        if name not in predicted:
            identified[name] = False
            continue
        distances_mm = np.linalg.norm(places - predicted[name], axis=1)
        identified[name] = bool(distances_mm[index] <= min(TOLERANCE_MM, distances_mm.min()))
    return identified


def _centres_mm(label_map: LabelMap) -> dict[str, Float[np.ndarray, "3"]]:
    """Centre of each vertebra, in RAS+ mm."""
    centres = {}
    for value, box in label_boxes(label_map.array).items():
        name = label_map.names.get(value, "")
        if value in label_map.ignored or spine_kind(name) != "vertebra":
            continue
        inside = np.array(center_of_mass(label_map.array[box] == value)) + [axis.start for axis in box]
        centres[name] = label_map.grid.to_world(inside[None])[0]
    return centres
