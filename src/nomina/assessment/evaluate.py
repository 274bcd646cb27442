"""Score a predicted label map against a reference: per structure, by name, and without names."""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Integer

from nomina.anatomy.schemes import partly_visible, present_values
from nomina.anatomy.sides import sides_of
from nomina.anatomy.structures import Structure, vocabulary
from nomina.assessment.metrics.empty_masks import EmptyPolicy, check_policy, found_in
from nomina.assessment.metrics.identification import identified_vertebrae
from nomina.assessment.metrics.label_free import label_free_scores
from nomina.assessment.metrics.naming import name_levels
from nomina.assessment.metrics.overlap import count_overlaps, ranked
from nomina.assessment.metrics.surface import (
    VOXEL_UNITS,
    asd,
    distances_between,
    hd95,
    joint_box,
    label_boxes,
    nsd,
    surface_voxels,
)
from nomina.assessment.scores import CaseScores, StructureScore
from nomina.assessment.spine_levels import spine_rank
from nomina.assessment.tree_scores import tree_scores
from nomina.errors import GridMismatchError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap

MAX_LEVEL = 8
"""Highest SPIDER number scored by default: L5 to T10 and their discs [choice: few scans show more]."""


def evaluate(
    prediction: LabelMap,
    reference: LabelMap,
    *,
    policy: EmptyPolicy = "penalise",
    max_level: int | None = MAX_LEVEL,
    asked: Collection[str] | None = None,
    case: str = "",
) -> CaseScores:
    """Score one predicted label map.

    Structures are matched by name, so the two maps may follow different label schemes. Left out of the
    comparison by name are: voxels whose reference value is ignored (partly visible vertebrae, levels above
    `max_level`), in both maps; predicted values without a name; and predicted structures that the reference's
    scheme cannot name. Where one map names a vessel as a whole and the other its parts alone ("left pulmonary
    artery", "pulmonary trunk"), the whole is compared. What a prediction marks as partly visible counts as
    the structure: the reference alone says what is not judged. Label-free scores use the maps as they are.

    Args:
        prediction: Predicted label map.
        reference: Reference label map: the same voxels, in any axis order.
        policy: How a structure that only one map has enters averages; scores themselves do not change.
        max_level: Highest SPIDER number that is scored (5 = L1, 8 = T10); None: all. For "spider" only.
        asked: Names of what the prediction was made for: the reference's other structures are background,
            neither missed nor judged. A vessel is asked for with its parts, and by both of its sides. None:
            all of the reference's structures.
        case: Name of the case, kept in the result.

    Raises:
        GridMismatchError: The maps do not cover the same voxels.
        ConfigError: The policy is unknown.
    """
    check_policy(policy)
    prediction, reference = prediction.canonical(), reference.canonical()
    _check_same_grid(prediction.grid, reference.grid, case)
    if reference.scheme != "spider":
        max_level = None
    extent = np.array(reference.grid.shape) - 1.0
    image_diagonal_mm = float(np.linalg.norm(extent * reference.grid.spacing_mm))
    if asked is not None:
        reference = _only_asked(reference, asked)
    prediction, reference = _cropped(prediction, reference)
    equally_fine, reference_so_fine = _equally_fine(_with_partial(prediction), reference)
    compared = _comparable(equally_fine, reference_so_fine, max_level)
    compared_prediction, compared_reference, not_scored = compared
    unjudged = np.isin(reference.array, list(reference.ignored))
    return CaseScores(
        structures=_structure_scores(compared_prediction, compared_reference, not_scored),
        naming=name_levels(compared_prediction, compared_reference),
        label_free=label_free_scores(prediction, reference),
        image_diagonal_mm=image_diagonal_mm,
        image_diagonal_px=float(np.linalg.norm(extent)),
        policy=policy,
        max_level=max_level,
        not_scored=not_scored,
        asked=None if asked is None else tuple(asked),
        case=case,
        identified=identified_vertebrae(compared_prediction, compared_reference),
        trees=tree_scores(equally_fine, compared_reference, unjudged),
    )


def _check_same_grid(prediction: Grid, reference: Grid, case: str) -> None:
    if not prediction.matches(reference):
        raise GridMismatchError(
            f"{f'case {case}: ' if case else ''}prediction grid {prediction} and reference grid {reference} "
            f"(both brought to RAS order) do not cover the same voxels; write the prediction on the scan's "
            f"own grid, or resample it onto the reference's grid first"
        )


def _only_asked(reference: LabelMap, asked: Collection[str]) -> LabelMap:
    """A reference in which what was not asked for is background; what is not judged stays so."""
    names = {value: name for value, name in reference.names.items() if _is_asked(name, asked)}
    others = set(reference.names) - set(names) - reference.ignored
    array = np.where(np.isin(reference.array, list(others)), 0, reference.array)
    return replace(reference, array=array, names=names)


def _is_asked(name: str, asked: Collection[str]) -> bool:
    """Whether a structure of the reference was asked for: itself, what it is a part of, or both its sides."""
    known = vocabulary()
    whole: str | None = name
    while whole is not None:
        if whole in asked:
            return True
        whole = _whole_of(whole, known)
    sides = sides_of(name).values()
    return bool(sides) and all(side in asked for side in sides)


def _cropped(prediction: LabelMap, reference: LabelMap) -> tuple[LabelMap, LabelMap]:
    """Both maps on the smallest grid that holds every labelled voxel of either; only speed depends on it."""
    voxels = np.nonzero((prediction.array != 0) | (reference.array != 0))
    if not len(voxels[0]):
        return prediction, reference
    box = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in voxels)
    arrays = [np.ascontiguousarray(label_map.array[box]) for label_map in (prediction, reference)]
    grid = reference.grid.cropped(box)
    return replace(prediction, array=arrays[0], grid=grid), replace(reference, array=arrays[1], grid=grid)


def _with_partial(prediction: LabelMap) -> LabelMap:
    """The same map, in which values of partly visible structures bear the structure's name."""
    names = {**prediction.names, **partly_visible(prediction)}
    return replace(prediction, names=names, ignored=prediction.ignored - set(names))


def _equally_fine(prediction: LabelMap, reference: LabelMap) -> tuple[LabelMap, LabelMap]:
    """Both maps, in which parts bear the name of their whole where the other map knows the whole alone.

    Only parts of the whole's own kind: a spinal cord does not stand for the canal about it.
    """
    known = vocabulary()
    shown = [
        {label_map.names.get(v, "") for v in present_values(label_map.array)}
        for label_map in (prediction, reference)
    ]
    wholes = {name: whole for name in shown[0] | shown[1] if (whole := _whole_of(name, known)) is not None}
    coarse = {
        whole
        for mine, other in (shown, shown[::-1])
        for whole in mine & set(wholes.values())
        if whole not in other and not any(wholes.get(name) == whole for name in mine)
    }

    def renamed(label_map: LabelMap) -> LabelMap:
        names = {
            v: wholes[name] if wholes.get(name) in coarse else name for v, name in label_map.names.items()
        }
        return replace(label_map, names=names)

    return renamed(prediction), renamed(reference)


def _whole_of(name: str, known: Mapping[str, Structure]) -> str | None:
    """Name of the structure of the same kind that `name` is a part of."""
    whole = known[name].part_of if name in known else None
    return whole if whole is not None and known[whole].kind == known[name].kind else None


def _comparable(
    prediction: LabelMap, reference: LabelMap, max_level: int | None
) -> tuple[LabelMap, LabelMap, tuple[str, ...]]:
    """Both maps without the voxels that are not compared, and the predicted structures not judged."""
    above = {name for name in reference.names.values() if _is_above(name, max_level)}
    ignored = set(reference.ignored) | {v for v, name in reference.names.items() if name in above}
    excluded = np.isin(reference.array, list(ignored))
    predicted = np.where(np.isin(prediction.array, list(prediction.ignored)), 0, prediction.array)
    kept = np.where(excluded, 0, predicted)
    truth = np.where(excluded, 0, reference.array)

    judged = set(reference.names.values()) - above
    in_reference = {reference.names[v] for v in np.unique(truth).tolist() if v}
    num_before, num_after = _voxels_by_value(predicted), _voxels_by_value(kept)
    not_scored = tuple(
        name
        for value, name in prediction.names.items()
        if num_before.get(value, 0)
        and name not in in_reference
        and (name not in judged or 2 * num_after.get(value, 0) <= num_before[value])
    )
    return replace(prediction, array=kept), replace(reference, array=truth), not_scored


def _is_above(structure: str, max_level: int | None) -> bool:
    rank = spine_rank(structure)
    return max_level is not None and rank is not None and rank > max_level


def _voxels_by_value(array: Integer[np.ndarray, "i j k"]) -> dict[int, int]:
    values, counts = np.unique(array, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _structure_scores(
    prediction: LabelMap, reference: LabelMap, not_scored: tuple[str, ...]
) -> tuple[StructureScore, ...]:
    """Scores of every judged structure that at least one map has."""
    names = [*dict.fromkeys(name for name in reference.names.values() if name not in not_scored)]
    predicted, truth = _ranked_by_name(prediction, names), _ranked_by_name(reference, names)
    overlaps = count_overlaps(predicted, truth)
    predicted_boxes, truth_boxes = label_boxes(predicted), label_boxes(truth)
    voxel_ml = reference.grid.voxel_volume_ml
    scores = []
    for rank, name in enumerate(names, start=1):
        num_prediction, num_reference = overlaps.num_prediction(rank), overlaps.num_reference(rank)
        presence = found_in(num_prediction, num_reference)
        if presence == "neither":
            continue
        distances = dict.fromkeys(("hd95_mm", "hd95_px", "asd_mm"), math.inf) | dict.fromkeys(
            ("nsd_1mm", "nsd_2mm"), 0.0
        )
        if presence == "both":
            box = joint_box(predicted_boxes[rank], truth_boxes[rank])
            distances = _surface_scores(predicted[box] == rank, truth[box] == rank, reference.grid.spacing_mm)
        scores.append(
            StructureScore(
                structure=name,
                found_in=presence,
                dice=overlaps.dice(rank, rank),
                volume_ml_prediction=num_prediction * voxel_ml,
                volume_ml_reference=num_reference * voxel_ml,
                **distances,
            )
        )
    return tuple(scores)


def _surface_scores(
    prediction: Bool[np.ndarray, "i j k"],
    reference: Bool[np.ndarray, "i j k"],
    spacing_mm: tuple[float, float, float],
) -> dict[str, float]:
    surfaces = surface_voxels(prediction), surface_voxels(reference)
    in_mm = distances_between(*surfaces, spacing=spacing_mm)
    in_px = distances_between(*surfaces, spacing=VOXEL_UNITS)
    return {
        "hd95_mm": hd95(in_mm),
        "hd95_px": hd95(in_px),
        "asd_mm": asd(in_mm),
        "nsd_1mm": nsd(in_mm, tolerance=1.0),
        "nsd_2mm": nsd(in_mm, tolerance=2.0),
    }


def _ranked_by_name(label_map: LabelMap, names: list[str]) -> Integer[np.ndarray, "i j k"]:
    """1 + the position of each voxel's structure in `names`; 0 for everything else."""
    ranks = np.zeros(label_map.array.shape, dtype=np.int16)
    foreground = label_map.array != 0
    values, positions = ranked(label_map.array[foreground])
    rank_of = {name: rank for rank, name in enumerate(names, start=1)}
    table = np.array(
        [rank_of.get(label_map.names.get(value, ""), 0) for value in values.tolist()], dtype=np.int16
    )
    ranks[foreground] = table[positions]
    return ranks
