"""One name per level: the network names each slice by itself; the scan as a whole decides.

Discs are compact and lie apart, so each is one instance whatever it was named. From the bottom they are numbered in
order; of all consecutive numberings the one wins that agrees with most voxels. Slices that were numbered differently
are then renamed as a whole, discs and vertebrae together. Works on names only: no border moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from jaxtyping import Integer, UInt8

from nomina.assessment.spine_levels import spine_kind, spine_rank

MIN_INSTANCE_SHARE = 0.2
"""Pieces smaller than this share of the median disc are not discs of their own [choice]."""


@dataclass(frozen=True)
class LevelNaming:
    """Classes with consistent level names, and how clear the decision was."""

    classes: UInt8[np.ndarray, "i j k"]
    agreement: float
    """Share of disc voxels whose own name was kept; 1 when every slice agreed."""


def consistent_levels(classes: UInt8[np.ndarray, "i j k"], structures: Sequence[str]) -> LevelNaming:
    """Rename levels so that discs count up from the bottom without gaps or repeats.

    Args:
        classes: Class of each voxel on a canonical (RAS) grid.
        structures: Names of classes 1…n−1.

    Returns:
        The same borders; names beyond the known levels become background. Unchanged when fewer than two discs
        are found.
    """
    disc_rank = _rank_table(structures, "disc")
    ranks = disc_rank[classes]
    instances = _disc_instances(ranks)
    if len(instances.order) < 2:
        return LevelNaming(classes, 1.0)
    true_ranks = _number(instances, ranks, int(disc_rank.max()))
    shifts = _slice_shifts(instances, ranks, true_ranks)
    changed = sum(int(counts[shift != 0].sum()) for shift, counts in shifts)
    total = max(1, sum(int(counts.sum()) for _, counts in shifts))
    renamed = classes.copy()
    for index, (shift, _) in enumerate(shifts):
        if (shift != 0).any():
            renamed[index] = _renaming(structures, shift)[classes[index]]
    return LevelNaming(renamed, 1 - changed / total)


@dataclass(frozen=True)
class _Instances:
    labels: Integer[np.ndarray, "i j k"]
    """Piece number of each disc voxel; 0 elsewhere and for pieces that are too small."""
    order: tuple[int, ...]
    """Piece numbers from bottom to top."""


def _rank_table(structures: Sequence[str], kind: str) -> Integer[np.ndarray, " n"]:
    """Rank from the bottom of each class that is of this kind, else 0."""
    return np.array([0] + [(spine_rank(name) or 0) if spine_kind(name) == kind else 0 for name in structures])


def _disc_instances(ranks: Integer[np.ndarray, "i j k"]) -> _Instances:
    pieces = cc3d.connected_components(ranks > 0, connectivity=6)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    if not sizes.any():
        return _Instances(pieces, ())
    median = np.median(sizes[sizes > MIN_INSTANCE_SHARE * sizes.max()])
    kept = np.flatnonzero(sizes >= MIN_INSTANCE_SHARE * median)
    heights = cc3d.statistics(pieces)["centroids"][kept, 2]
    return _Instances(pieces, tuple(int(piece) for piece in kept[np.argsort(heights)]))


def _number(
    instances: _Instances, ranks: Integer[np.ndarray, "i j k"], max_rank: int
) -> Integer[np.ndarray, " pieces"]:
    """Rank of each piece: consecutive from bottom to top, at the start that most voxels agree with."""
    votes = np.zeros((instances.labels.max() + 1, max_rank + 1))
    voxels = instances.labels > 0
    np.add.at(votes, (instances.labels[voxels], ranks[voxels]), 1)
    # A large disc must not outvote small ones: each piece has one vote, divided by its voxels.
    votes = votes[list(instances.order)] / votes[list(instances.order)].sum(axis=1, keepdims=True)
    starts = range(1 - len(votes) + 1, max_rank + 1)
    score = {
        start: sum(votes[n, start + n] for n in range(len(votes)) if 1 <= start + n <= max_rank) for start in starts
    }
    best = max(score, key=lambda start: score[start])
    result = np.zeros(instances.labels.max() + 1, dtype=int)
    result[list(instances.order)] = best + np.arange(len(instances.order))
    return result


def _slice_shifts(
    instances: _Instances, ranks: Integer[np.ndarray, "i j k"], true_ranks: Integer[np.ndarray, " pieces"]
) -> list[tuple[Integer[np.ndarray, " r"], Integer[np.ndarray, " r"]]]:
    """For each slice: by how much each rank must move (index = rank said), and on how many voxels that rests."""
    max_rank = int(ranks.max())
    result = []
    for labels, said in zip(instances.labels, ranks, strict=True):
        known = true_ranks[labels] > 0
        moves, where = true_ranks[labels][known] - said[known], said[known]
        shift, counts = np.zeros(max_rank + 2, dtype=int), np.zeros(max_rank + 2, dtype=int)
        for rank in np.unique(where):
            found, votes = np.unique(moves[where == rank], return_counts=True)
            shift[rank], counts[rank] = found[votes.argmax()], votes.sum()
        result.append((_spread(shift, counts), counts))
    return result


def _spread(
    shift: Integer[np.ndarray, " r"], counts: Integer[np.ndarray, " r"]
) -> Integer[np.ndarray, " r"]:
    """Ranks without a disc in this slice move like the nearest rank that has one."""
    seen = np.flatnonzero(counts)
    if not seen.size:
        return shift
    nearest = seen[np.abs(np.arange(len(shift))[:, None] - seen).argmin(axis=1)]
    return shift[nearest]


def _renaming(structures: Sequence[str], shift: Integer[np.ndarray, " r"]) -> UInt8[np.ndarray, " n"]:
    """New class of each class under a shift of ranks."""
    table = np.arange(len(structures) + 1, dtype=np.uint8)
    for kind in ("vertebra", "disc"):
        ranks = _rank_table(structures, kind)
        class_of = {int(rank): index for index, rank in enumerate(ranks) if rank > 0}
        for rank, index in class_of.items():
            move = shift[min(rank, len(shift) - 1)]
            table[index] = class_of.get(int(rank + move), 0)
    return table
