"""The best names that a whole-number shift of all levels could give: what naming by one wrong count costs.

The shift is chosen with the *reference*, so a score after it is an upper bound, never a result. It needs no
words: what it gains is what any perfect anchor for the levels would gain.
"""

from dataclasses import replace

import numpy as np

from nomina.assessment.metrics.overlap import count_overlaps
from nomina.assessment.spine_levels import spine_kind, spine_rank
from nomina.imaging.volume import LabelMap

MAX_SHIFT = 3
"""Levels by which names are moved up and down at most [choice]."""


def shift_names(label_map: LabelMap, step: int, names: tuple[str, ...]) -> dict[int, str | None]:
    """Name of each label value after a shift by `step` levels (+, towards the head).

    Args:
        label_map: Only its names are read.
        step: Levels.
        names: Structures that can be named; a level that has no name after the shift gets None.
    """
    by_place = {(spine_kind(name), spine_rank(name)): name for name in names if spine_rank(name) is not None}
    shifted: dict[int, str | None] = {}
    for value, name in label_map.names.items():
        rank = spine_rank(name)
        shifted[value] = name if rank is None else by_place.get((spine_kind(name), rank + step))
    return shifted


def best_shift(prediction: LabelMap, reference: LabelMap, names: tuple[str, ...]) -> tuple[LabelMap, int]:
    """The prediction under the shift of all levels that agrees best with the reference.

    Args:
        prediction: Predicted label map.
        reference: Reference label map on the same grid and in the same axis order.
        names: Structures that a prediction can name; levels moved beyond them become background.

    Returns:
        The prediction with voxels under the values of their new names, and the shift in levels (+, towards
        the head): that of the highest mean Dice over vertebrae and discs, of equals the least.

    Raises:
        GridMismatchError: The arrays differ in shape.
    """
    overlaps = count_overlaps(prediction.array, reference.array)
    levels = {
        value: name
        for value, name in reference.names.items()
        if spine_rank(name) is not None and value not in reference.ignored
    }
    present = [value for value in levels if overlaps.num_reference(value)]

    def agreement(step: int) -> float:
        value_of = {name: value for value, name in shift_names(prediction, step, names).items() if name}
        scores = [
            overlaps.dice(value, value_of[levels[value]]) if levels[value] in value_of else 0.0
            for value in present
        ]
        return float(np.mean(scores)) if scores else 0.0

    steps = sorted(range(-MAX_SHIFT, MAX_SHIFT + 1), key=lambda step: (abs(step), step))
    best = max(steps, key=agreement)
    return _renamed(prediction, shift_names(prediction, best, names)), best


def _renamed(label_map: LabelMap, new_names: dict[int, str | None]) -> LabelMap:
    value_of = {name: value for value, name in label_map.names.items()}
    array = np.zeros_like(label_map.array)
    for value, name in new_names.items():
        if name is not None and name in value_of:
            array[label_map.array == value] = value_of[name]
    return replace(label_map, array=array)
