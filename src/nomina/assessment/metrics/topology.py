"""Is the tree whole? Centreline overlap, length and branches detected, islands, places where trees touch."""

from dataclasses import dataclass

import cc3d
import numpy as np
from jaxtyping import Bool
from scipy.ndimage import binary_dilation, generate_binary_structure

from nomina.assessment.metrics.overlap import check_shapes
from nomina.assessment.vessel_tree import VesselGraph, vessel_graph

DETECTED_SHARE = 0.8
"""A branch is detected when this share of its length is [choice: as in the ATM'22 airway challenge]."""

_ALL_NEIGHBOURS = generate_binary_structure(3, 3)


@dataclass(frozen=True)
class CentrelineOverlap:
    """How much of each centreline lies in the other mask, in voxels of the centreline."""

    recall: float
    """Share of the reference's centreline inside the prediction (topology sensitivity); `nan` without one."""
    precision: float
    """Share of the prediction's centreline inside the reference (topology precision); `nan` without one."""

    @property
    def cldice(self) -> float:
        """Harmonic mean of both; `nan` if both masks are empty, 0 if one is or nothing overlaps."""
        values = [value for value in (self.recall, self.precision) if not np.isnan(value)]
        if not values:
            return float("nan")
        if len(values) == 1 or sum(values) == 0:
            return 0.0
        return 2 * self.recall * self.precision / (self.recall + self.precision)


@dataclass(frozen=True)
class TreeDetection:
    """How much of a reference tree a prediction has."""

    length_mm: float
    """Length of the reference tree."""
    detected_length_mm: float
    """Length of its centreline inside the prediction."""
    num_branches: int
    """Branches of the reference tree."""
    num_detected_branches: int
    """Branches of which at least `DETECTED_SHARE` of the length is inside the prediction."""

    @property
    def length_detected(self) -> float:
        """Share of the length, 0 to 1; `nan` when the reference tree has none."""
        return self.detected_length_mm / self.length_mm if self.length_mm else float("nan")

    @property
    def branches_detected(self) -> float:
        """Share of the branches, 0 to 1; `nan` when the reference tree has none."""
        return self.num_detected_branches / self.num_branches if self.num_branches else float("nan")


def centreline_overlap(
    prediction: Bool[np.ndarray, "i j k"],
    reference: Bool[np.ndarray, "i j k"],
    *,
    spacing_mm: tuple[float, float, float],
) -> CentrelineOverlap:
    """The two halves of clDice (Shit et al., CVPR 2021): how much of each centreline the other mask covers.

    Voxels of the centrelines are counted, as in the publication; `tree_detection` measures length in mm. The
    centreline is that of `vessel_graph`, without spurs.

    Args:
        prediction: Predicted mask.
        reference: Reference mask on the same grid.
        spacing_mm: Voxel size along i, j, k; it decides where the centrelines lie.

    Raises:
        GridMismatchError: The masks differ in shape.
    """
    check_shapes(prediction, reference)
    return CentrelineOverlap(
        recall=share_inside(vessel_graph(reference, spacing_mm=spacing_mm), prediction),
        precision=share_inside(vessel_graph(prediction, spacing_mm=spacing_mm), reference),
    )


def tree_detection(
    prediction: Bool[np.ndarray, "i j k"],
    reference: Bool[np.ndarray, "i j k"] | VesselGraph,
    *,
    spacing_mm: tuple[float, float, float],
) -> TreeDetection:
    """Length and branches of a reference tree that a prediction has.

    Args:
        prediction: Predicted mask.
        reference: Reference mask on the same grid, or its graph where it is at hand.
        spacing_mm: Voxel size along i, j, k.

    Raises:
        GridMismatchError: The masks differ in shape.
    """
    if not isinstance(reference, VesselGraph):
        check_shapes(prediction, reference)
        reference = vessel_graph(reference, spacing_mm=spacing_mm)
    detected_mm = [
        float(branch.point_lengths_mm[prediction[tuple(branch.voxels.T)]].sum())
        for branch in reference.branches
    ]
    # A lone voxel has no length; it is no branch.
    lengths_mm = [branch.length_mm for branch in reference.branches]
    return TreeDetection(
        length_mm=float(sum(lengths_mm)),
        detected_length_mm=float(sum(detected_mm)),
        num_branches=sum(length > 0 for length in lengths_mm),
        num_detected_branches=sum(
            length > 0 and found >= DETECTED_SHARE * length
            for length, found in zip(lengths_mm, detected_mm, strict=True)
        ),
    )


def islands_voxels(
    mask: Bool[np.ndarray, "i j k"], judged: Bool[np.ndarray, "i j k"] | None = None
) -> tuple[int, ...]:
    """Voxels of each connected piece (26 neighbours) but the largest, from the largest on.

    Args:
        mask: The pieces.
        judged: Pieces without a voxel of it are no islands; None: all are.
    """
    pieces = cc3d.connected_components(mask, connectivity=26)
    numbers = np.unique(pieces if judged is None else pieces[judged])
    counts = np.bincount(pieces.ravel())[numbers[numbers > 0]]
    return tuple(sorted(counts.tolist(), reverse=True)[1:])


def num_touching_places(first: Bool[np.ndarray, "i j k"], second: Bool[np.ndarray, "i j k"]) -> int:
    """Places where two trees touch or overlap.

    A place is a connected set (26 neighbours) of voxels of either tree that have a voxel of the other among
    themselves and their 26 neighbours: where a network, or a reader, crosses from artery to vein.

    Raises:
        GridMismatchError: The masks differ in shape.
    """
    check_shapes(first, second)
    contact = (first & binary_dilation(second, _ALL_NEIGHBOURS)) | (
        second & binary_dilation(first, _ALL_NEIGHBOURS)
    )
    return int(cc3d.connected_components(contact, connectivity=26).max())


def share_inside(
    graph: VesselGraph, inside: Bool[np.ndarray, "i j k"], judged: Bool[np.ndarray, "i j k"] | None = None
) -> float:
    """Share of the voxels of a centreline that lie inside a mask; `nan` when there are none.

    Args:
        graph: The centreline.
        inside: The mask.
        judged: Voxels that count; None: all.
    """
    voxels = np.unique(graph.voxels, axis=0)
    if judged is not None:
        voxels = voxels[judged[tuple(voxels.T)]]
    return float(inside[tuple(voxels.T)].mean()) if len(voxels) else float("nan")
