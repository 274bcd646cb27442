"""One name per level: the network names each slice by itself; the scan as a whole decides.

Discs are compact and lie apart, so each is one instance whatever it was named. From the bottom they are
numbered in order, with a number left out only where the gap is wide enough for a disc that was missed; of all
such numberings the one wins that agrees with most voxels. In each slice the
vertebrae then follow the discs that bore their number, and a piece of bone that is mostly one level is that
level. Works on names only: no border moves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import cc3d
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from nomina.assessment.spine_levels import spine_kind, spine_rank
from nomina.imaging.lookup import looked_up

MIN_INSTANCE_SHARE = 0.2
"""Pieces smaller than this share of the median disc are not discs of their own [choice]."""

DOMINANT_SHARE = 0.65
"""A piece of bone in one slice belongs to one level when this share of it bears its name; below that it may
be two vertebrae that touch at a facet joint [choice]."""


WIDE_GAP = 1.5
"""A gap of this many times the median one may hide a disc that was not found [choice]."""

SPLIT_GAP = 0.5
"""Two pieces of one name that are nearer than this share of the median gap are one disc [choice]."""


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
    disc_ranks, vertebra_ranks = (_rank_table(structures, kind) for kind in ("disc", "vertebra"))
    said = looked_up(disc_ranks.astype(np.uint8), classes)
    discs = _disc_instances(said)
    if len(discs.order) < 2:
        return LevelNaming(classes, 1.0)
    numbers = _number(discs, said, int(disc_ranks.max()))
    true = looked_up(numbers.astype(np.uint8), discs.labels)
    known = true > 0
    disc_class, vertebra_class = _class_table(disc_ranks), _class_table(vertebra_ranks)
    renamed = classes.copy()
    renamed[known] = disc_class[np.minimum(true[known], len(disc_class) - 1)]
    for index in range(len(classes)):
        # Ranks may fall below 0 on the way, which one byte cannot hold.
        said_here, true_here = said[index].astype(np.int64), true[index].astype(np.int64)
        named = _rename_vertebrae(vertebra_ranks[classes[index]], said_here, true_here)
        bones = vertebra_ranks[classes[index]] > 0
        named = _one_name_per_piece(np.where(bones, np.clip(named, 0, len(vertebra_class) - 1), 0))
        renamed[index][bones] = vertebra_class[named[bones]]
    return LevelNaming(renamed, float((said[known] == true[known]).mean()))


@dataclass(frozen=True)
class _Instances:
    labels: Integer[np.ndarray, "i j k"]
    """Piece number of each disc voxel; 0 elsewhere and for pieces that are too small."""
    order: tuple[int, ...]
    """Piece numbers from bottom to top."""
    gaps: tuple[float, ...]
    """Distance in pixels from each piece to the next one above."""


def _rank_table(structures: Sequence[str], kind: str) -> Integer[np.ndarray, " n"]:
    """Rank from the bottom of each class that is of this kind, else 0."""
    return np.array([0] + [(spine_rank(name) or 0) if spine_kind(name) == kind else 0 for name in structures])


def _disc_instances(ranks: Integer[np.ndarray, "i j k"]) -> _Instances:
    pieces = cc3d.connected_components(ranks > 0, connectivity=6)
    statistics = cc3d.statistics(pieces)
    sizes = statistics["voxel_counts"].astype(np.int64)
    sizes[0] = 0
    if not sizes.any():
        return _Instances(pieces, (), ())
    median = np.median(sizes[sizes > MIN_INSTANCE_SHARE * sizes.max()])
    kept = np.flatnonzero(sizes >= MIN_INSTANCE_SHARE * median)
    centres = statistics["centroids"][:, 1:]
    order = [int(piece) for piece in kept[np.argsort(centres[kept, 1])]]
    names = {piece: int(np.bincount(ranks[pieces == piece]).argmax()) for piece in order}
    gaps = _gaps(order, centres)
    joined = order[:1]
    for piece, gap in zip(order[1:], gaps, strict=True):
        below = joined[-1]
        if names[piece] == names[below] and gap < SPLIT_GAP * np.median(gaps):
            pieces[pieces == piece] = below
        else:
            joined.append(piece)
    return _Instances(pieces, tuple(joined), tuple(_gaps(joined, centres)))


def _gaps(order: Sequence[int], centres: Float[np.ndarray, "pieces 2"]) -> list[float]:
    """Distance in pixels from each piece to the next one above."""
    return [float(np.linalg.norm(centres[above] - centres[below])) for below, above in pairwise(order)]


def _number(
    instances: _Instances, ranks: Integer[np.ndarray, "i j k"], max_rank: int
) -> Integer[np.ndarray, " pieces"]:
    """Rank of each piece: rising from bottom to top, in the numbering that most voxels agree with."""
    votes = np.zeros((instances.labels.max() + 1, max_rank + 1))
    voxels = instances.labels > 0
    np.add.at(votes, (instances.labels[voxels], ranks[voxels]), 1)
    # A large disc must not outvote small ones: each piece has one vote, divided by its voxels.
    votes = votes[list(instances.order)] / votes[list(instances.order)].sum(axis=1, keepdims=True)
    best: tuple[float, int, int] | None = None
    numbers = np.zeros(len(votes), dtype=int)
    for steps in _possible_steps(instances.gaps):
        above = np.concatenate([[0], np.cumsum(steps)]).astype(int)
        for start in range(1 - int(above[-1]), max_rank + 1):
            tried = start + above
            inside = (tried >= 1) & (tried <= max_rank)
            agreement = round(float(votes[np.flatnonzero(inside), tried[inside]].sum()), 6)
            # Of equals the one with the fewest discs left out, then the highest: it leaves none at the bottom
            # without a name.
            rating = (agreement, -int(above[-1]), start)
            if best is None or rating > best:
                best, numbers = rating, tried
    result = np.zeros(instances.labels.max() + 1, dtype=int)
    # Numbers past the known levels are kept apart from 0, which is a piece that is no disc.
    result[list(instances.order)] = np.where(numbers >= 1, numbers, max_rank + 1)
    return result


def _possible_steps(gaps: Sequence[float]) -> Iterator[tuple[int, ...]]:
    """From each disc to the next one above: one number up, or two where a disc may have been missed."""
    wide = WIDE_GAP * float(np.median(gaps))
    return product(*[(1, 2) if gap >= wide else (1,) for gap in gaps])


def _rename_vertebrae(
    bones: Integer[np.ndarray, "j k"], said: Integer[np.ndarray, "j k"], true: Integer[np.ndarray, "j k"]
) -> Integer[np.ndarray, "j k"]:
    """Rank of each vertebra pixel of one slice, after the discs that had its number there.

    Args:
        bones: Rank that the network gave to each vertebra pixel, 0 elsewhere.
        said: The same for discs.
        true: Rank of the disc instances.
    """
    known = (true > 0) & (said > 0)
    moves = {int(rank): _moves(rank, said, true, known) for rank in np.unique(said[known])}
    if not moves:
        return bones
    result = bones.copy()
    heights = np.broadcast_to(np.arange(bones.shape[1]), bones.shape)
    for rank in np.unique(bones[bones > 0]):
        pixels = bones == rank
        nearest = min(moves, key=lambda other: abs(other - int(rank)))
        steps = moves[nearest]
        result[pixels] = rank + steps[0][1]
        if nearest == rank:
            # Two discs bore this number: vertebra n lies above disc n, so pixels divide at the upper disc.
            for height, step in steps[1:]:
                result[pixels & (heights > height)] = rank + step
    return result


def _moves(
    rank: int,
    said: Integer[np.ndarray, "j k"],
    true: Integer[np.ndarray, "j k"],
    known: Bool[np.ndarray, "j k"],
) -> list[tuple[float, int]]:
    """The discs that were called `rank` in one slice: mean height in pixels, and true rank − `rank`."""
    here = known & (said == rank)
    found, votes = np.unique(true[here], return_counts=True)
    kept = found[votes >= MIN_INSTANCE_SHARE * votes.max()]
    heights = [float(np.nonzero(here & (true == other))[1].mean()) for other in kept]
    return sorted((height, int(other - rank)) for height, other in zip(heights, kept, strict=True))


def _one_name_per_piece(ranks: Integer[np.ndarray, "j k"]) -> Integer[np.ndarray, "j k"]:
    """Each connected piece of bone in a slice takes the rank that dominates it, where one does."""
    pieces = cc3d.connected_components(ranks > 0, connectivity=4)
    votes = np.zeros((int(pieces.max()) + 1, int(ranks.max()) + 1))
    np.add.at(votes, (pieces.ravel(), ranks.ravel()), 1)
    dominant, share = votes.argmax(axis=1), votes.max(axis=1) / votes.sum(axis=1)
    return np.where((share >= DOMINANT_SHARE)[pieces] & (pieces > 0), dominant[pieces], ranks)


def _class_table(ranks: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, " r"]:
    """Class of each rank; background (0) for ranks that the model does not know."""
    table = np.zeros(int(ranks.max()) + 2, dtype=np.uint8)
    for index, rank in enumerate(ranks):
        if rank > 0:
            table[rank] = index
    return table
