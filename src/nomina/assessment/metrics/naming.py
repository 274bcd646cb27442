"""Whether vertebrae and discs carry the right names.

Every vertebra and disc of the reference is matched by place alone: with the predicted structure of which all
voxels, or one connected piece, overlap it with an intersection over union above one half. The name found
there is then compared with the reference's.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cc3d
import numpy as np

from nomina.assessment.metrics.overlap import count_overlaps
from nomina.assessment.spine_levels import level_shift, spine_kind
from nomina.imaging.volume import LabelMap

IOU_THRESHOLD = 0.5
"""Structures that overlap by more are the same one; at most one name can reach it [choice, usual]."""

NameOutcome = Literal["right", "one up", "one down", "other", "missed"]
"""`one up`: named as the next level towards the head; `other`: any other wrong name; `missed`: no match."""


@dataclass(frozen=True)
class NamedStructure:
    """A vertebra or disc of the reference and the name it got."""

    structure: str
    """Name in the reference."""
    named: str | None
    """Name in the prediction; None when nothing matches."""
    iou: float
    """Largest intersection over union with a predicted structure or one piece of it."""
    outcome: NameOutcome


@dataclass(frozen=True)
class NamingScores:
    """Naming of all vertebrae and discs of one case."""

    structures: tuple[NamedStructure, ...]
    """In the order of the reference's label values."""

    def count(self, outcome: NameOutcome) -> int:
        """Structures with that outcome."""
        return sum(structure.outcome == outcome for structure in self.structures)

    @cached_property
    def all_levels_right(self) -> bool | None:
        """Every reference vertebra and disc is found under its own name; None when there are none."""
        return self.count("right") == len(self.structures) if self.structures else None

    @cached_property
    def no_level_wrong(self) -> bool | None:
        """No vertebra or disc that is found carries another name (some may be missed); None without any."""
        if not self.structures:
            return None
        return self.count("right") + self.count("missed") == len(self.structures)


def name_levels(prediction: LabelMap, reference: LabelMap) -> NamingScores:
    """Compare the names of vertebrae and discs, matched by place.

    Args:
        prediction: Predicted label map; values in `prediction.ignored` are no candidates.
        reference: Reference label map on the same grid; values in `reference.ignored` are not judged.

    Raises:
        GridMismatchError: The arrays differ in shape.
    """
    candidates = np.where(np.isin(prediction.array, list(prediction.ignored)), 0, prediction.array)
    pieces = cc3d.connected_components(candidates, connectivity=26)
    by_label = count_overlaps(candidates, reference.array)
    by_piece = count_overlaps(pieces, reference.array)
    ious = np.concatenate([by_label.ious(), by_piece.ious()], axis=1)
    value_of_piece = np.zeros(int(pieces.max()) + 1, dtype=np.int64)
    value_of_piece[pieces] = candidates
    values = np.concatenate([by_label.prediction_values, value_of_piece[by_piece.prediction_values]])
    ious[:, values == 0] = 0.0
    structures = []
    for row, value in enumerate(by_label.reference_values.tolist()):
        name = reference.names.get(value)
        if name is None or value in reference.ignored or spine_kind(name) is None:
            continue
        best = int(ious[row].argmax())
        named = prediction.names[int(values[best])] if ious[row, best] > IOU_THRESHOLD else None
        structures.append(NamedStructure(name, named, float(ious[row, best]), _outcome(name, named)))
    return NamingScores(tuple(structures))


def _outcome(reference: str, named: str | None) -> NameOutcome:
    if named is None:
        return "missed"
    if named == reference:
        return "right"
    shift = level_shift(reference, named)
    return "one up" if shift == 1 else "one down" if shift == -1 else "other"
