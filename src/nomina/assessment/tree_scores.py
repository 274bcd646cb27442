"""Is the vascular tree whole, and is it the right one? Dice, clDice, length, branches, swaps of lung vessels.

All arteries of a label map are one tree, all veins another, whatever sides and parts its scheme tells apart
(`nomina.assessment.tree_mask`).

A branch that a reference ignores (in a phantom: one too thin for the grid) has no border that could be met:
what a prediction has in it or within one voxel of it is not judged, unless the reference has a vessel there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation, generate_binary_structure

from nomina.assessment.artery_vein import centreline_classes
from nomina.assessment.metrics.empty_masks import Average, FoundIn, average
from nomina.assessment.metrics.topology import (
    CentrelineOverlap,
    islands_voxels,
    share_inside,
    tree_detection,
)
from nomina.assessment.tree_mask import Tree, tree_mask
from nomina.assessment.vessel_tree import vessel_graph
from nomina.imaging.volume import LabelMap

TREES: tuple[Tree, Tree] = ("artery", "vein")
"""In the order of every table."""

TREE_METRICS = (
    *("dice", "cldice", "centreline_recall", "centreline_precision"),
    *("length_detected", "branches_detected", "swap_rate"),
)
"""Scores of one tree, in the order of every table; the last is better when lower."""


@dataclass(frozen=True)
class TreeScore:
    """How much of one reference tree a prediction has; shares from 0 to 1."""

    tree: str
    """"artery" or "vein"."""
    dice: float
    """Of all voxels of the tree, whatever sides and parts the two maps tell apart."""
    cldice: float
    """Harmonic mean of the next two; 0 where the prediction has nothing of the tree."""
    centreline_recall: float
    """Share of the reference's centreline inside the prediction."""
    centreline_precision: float
    """Share of the prediction's centreline inside the reference; `nan` without one."""
    length_detected: float
    """Share of the reference's length in mm inside the prediction."""
    branches_detected: float
    """Share of the reference's branches of which four fifths are inside the prediction."""
    swap_rate: float
    """Share of the reference's length that is predicted as the other tree."""
    num_islands: int
    """Pieces of the prediction besides its largest, of those that hold a judged voxel."""


def tree_scores(
    prediction: LabelMap, reference: LabelMap, ignored: Bool[np.ndarray, "i j k"] | None = None
) -> tuple[TreeScore, ...]:
    """Scores of every tree that the reference has; empty for label maps without vessels.

    Args:
        prediction: Predicted label map.
        reference: Reference on the same voxels, background where it is ignored.
        ignored: Voxels that the reference ignores; None: none.
    """
    spacing_mm = reference.grid.spacing_mm
    predicted = {tree: tree_mask(prediction, tree) for tree in TREES}
    truths = {tree: tree_mask(reference, tree) for tree in TREES}
    judged = _judged(truths, ignored)
    scores = []
    for tree, other in (TREES, TREES[::-1]):
        truth = truths[tree]
        if not truth.any():
            continue
        graph = vessel_graph(truth, spacing_mm=spacing_mm)
        # Of the whole prediction: what is judged of it alone may be a shell around what is not.
        found_graph = vessel_graph(predicted[tree], spacing_mm=spacing_mm)
        found = predicted[tree] & judged
        overlap = CentrelineOverlap(
            recall=share_inside(graph, found), precision=share_inside(found_graph, truth, judged)
        )
        detection = tree_detection(found, graph, spacing_mm=spacing_mm)
        classes = centreline_classes(found, predicted[other], graph, spacing_mm=spacing_mm)
        scores.append(
            TreeScore(
                tree=tree,
                dice=2 * int((truth & found).sum()) / (int(truth.sum()) + int(found.sum())),
                cldice=overlap.cldice,
                centreline_recall=overlap.recall,
                centreline_precision=overlap.precision,
                length_detected=detection.length_detected,
                branches_detected=detection.branches_detected,
                swap_rate=classes.swap_rate,
                num_islands=len(islands_voxels(predicted[tree], judged)),
            )
        )
    return tuple(scores)


def _judged(
    truths: Mapping[Tree, Bool[np.ndarray, "i j k"]], ignored: Bool[np.ndarray, "i j k"] | None
) -> Bool[np.ndarray, "i j k"]:
    """Voxels that are judged: not ignored, and beside nothing ignored unless they are vessel."""
    is_vessel = truths["artery"] | truths["vein"]
    if ignored is None:
        return np.ones_like(is_vessel)
    return is_vessel | ~binary_dilation(ignored, generate_binary_structure(3, 3))


def tree_values(
    cases: Sequence[Sequence[TreeScore]],
) -> dict[str, Float[np.ndarray, "cases metrics"]]:
    """For each tree that a reference has, a row per case in the order of `TREE_METRICS`; `nan` without it."""
    tables: dict[str, Float[np.ndarray, "cases metrics"]] = {}
    for tree in TREES:
        table = np.full((len(cases), len(TREE_METRICS)), np.nan)
        for row, case in enumerate(cases):
            for score in case:
                if score.tree == tree:
                    table[row] = [getattr(score, metric) for metric in TREE_METRICS]
        if any(score.tree == tree for case in cases for score in case):
            tables[tree] = table
    return tables


def average_tree_scores(cases: Sequence[Sequence[TreeScore]]) -> dict[str, dict[str, Average]]:
    """For each tree that a reference has and each metric the mean over its cases, and how many entered it.

    No policy applies: a tree that is not predicted scores 0. It has no precision, which is left out and
    counted.
    """
    averages: dict[str, dict[str, Average]] = {}
    for tree in TREES:
        scores = [score for case in cases for score in case if score.tree == tree]
        presence: list[FoundIn] = [
            "reference" if math.isnan(score.centreline_precision) else "both" for score in scores
        ]
        if scores:
            averages[tree] = {
                metric: average([getattr(score, metric) for score in scores], presence)
                for metric in TREE_METRICS
            }
    return averages
