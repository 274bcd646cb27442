"""Scores that do not look at names, as the official SPIDER evaluator defines them.

Every reference structure is paired with the predicted label that covers most of it, whatever its name; wrong
names cost nothing. Vertebrae and discs below Dice 0.1 count as not detected: they leave the group means and
show only in the detection rate. The canal always keeps its score. Partly visible vertebrae enter no group.
Both label maps are taken as they are: no level cut-off, no excluded voxels, no empty-mask policy.

Departures from https://github.com/DIAGNijmegen/SPIDER-Evaluation: distances use each axis's own spacing (the
evaluator hands x, y, z spacing to an array in z, y, x order), and a structure that is not detected leaves the
mean of distances as it leaves the mean of Dice (there it stays, as `nan` when nothing overlaps).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nomina.assessment.metrics.empty_masks import mean_of
from nomina.assessment.metrics.overlap import count_overlaps
from nomina.assessment.metrics.surface import asd, joint_box, label_boxes, surface_distances
from nomina.assessment.spine_levels import spine_kind
from nomina.imaging.volume import LabelMap

DETECTION_THRESHOLD = 0.1
"""A vertebra or disc below this Dice is not detected (the official evaluator's value)."""

LabelFreeGroup = Literal["vertebrae", "discs", "canal"]
GROUPS: tuple[LabelFreeGroup, ...] = ("vertebrae", "discs", "canal")


@dataclass(frozen=True)
class LabelFreeStructure:
    """A reference structure and the predicted label that covers most of it."""

    structure: str
    """Name in the reference."""
    group: LabelFreeGroup
    dice: float
    """Dice with the paired label; 0 when no predicted label touches the structure."""
    asd_mm: float
    """Average symmetric surface distance to the paired label; `inf` without one."""

    @property
    def is_detected(self) -> bool:
        """Dice of at least 0.1."""
        return self.dice >= DETECTION_THRESHOLD


@dataclass(frozen=True)
class GroupScore:
    """Means of one group of structures in one case."""

    dice: float
    """Mean over detected structures (the canal: its own score); `nan` when there are none."""
    asd_mm: float
    """Mean over detected structures; `nan` when there are none."""
    num_detected: int
    """Structures of Dice ≥ 0.1."""
    num_reference: int
    """Structures in the reference."""


@dataclass(frozen=True)
class LabelFreeScores:
    """Label-free scores of one case."""

    structures: tuple[LabelFreeStructure, ...]

    def group(self, group: LabelFreeGroup) -> GroupScore:
        """Means of vertebrae, discs or the canal."""
        members = [s for s in self.structures if s.group == group]
        detected = [s for s in members if s.is_detected]
        counted = members if group == "canal" else detected
        return GroupScore(
            dice=mean_of([s.dice for s in counted]),
            asd_mm=mean_of([s.asd_mm for s in detected]),
            num_detected=len(detected),
            num_reference=len(members),
        )


def label_free_scores(prediction: LabelMap, reference: LabelMap) -> LabelFreeScores:
    """Pair every reference structure with the predicted label that covers most of it, and score the pairs.

    Args:
        prediction: Predicted label map; all its values are candidates, names and `ignored` play no part.
        reference: Reference label map on the same grid.

    Raises:
        GridMismatchError: The arrays differ in shape.
    """
    overlaps = count_overlaps(prediction.array, reference.array)
    prediction_boxes, reference_boxes = label_boxes(prediction.array), label_boxes(reference.array)
    columns = np.flatnonzero(overlaps.prediction_values)
    structures = []
    for row, value in enumerate(overlaps.reference_values.tolist()):
        group = None if value in reference.ignored else _group(reference.names.get(value, ""))
        if group is None:
            continue
        name = reference.names[value]
        shared = overlaps.counts[row, columns]
        if not shared.any():
            structures.append(LabelFreeStructure(name, group, 0.0, math.inf))
            continue
        match = int(overlaps.prediction_values[columns[shared.argmax()]])
        box = joint_box(prediction_boxes[match], reference_boxes[value])
        distances = surface_distances(
            prediction.array[box] == match,
            reference.array[box] == value,
            spacing=reference.grid.spacing_mm,
            neighbours=26,
        )
        structures.append(LabelFreeStructure(name, group, overlaps.dice(value, match), asd(distances)))
    return LabelFreeScores(tuple(structures))


def _group(structure: str) -> LabelFreeGroup | None:
    if structure == "spinal canal":
        return "canal"
    kind = spine_kind(structure)
    return "vertebrae" if kind == "vertebra" else "discs" if kind == "disc" else None
