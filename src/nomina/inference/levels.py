"""One name per level: the network names each slice by itself; the scan as a whole decides.

Discs are compact and lie apart, so each is one instance whatever it was named, and `assessment.level_finding`
names them all at once. A vertebral body is the one between two discs (`vertebral_bodies`); in each slice
arches and processes follow the body that bore their number, or the disc where no body did, and a piece of
bone that is mostly one level is that level. Works on names only: no border moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cc3d
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from scipy import ndimage, spatial

from nomina.anatomy.levels import LEVELS_UPWARDS
from nomina.assessment.level_finding import (
    Given,
    LevelFinding,
    LevelFindings,
    LowerEnd,
    SpineInstance,
    decided_by,
    identify_levels,
)
from nomina.assessment.level_instances import scan_end
from nomina.assessment.spine_levels import spine_kind, spine_rank
from nomina.imaging.lookup import looked_up
from nomina.inference.vertebral_bodies import body_ranks, one_rank_per_piece

MIN_INSTANCE_SHARE = 0.2
"""Pieces smaller than this share of the median disc are not discs of their own [choice]."""

SPLIT_GAP = 0.5
"""Two pieces of one name that are nearer than this share of the median gap are one disc, and as far does a
renamed disc take smaller pieces with it [choice]."""

BONE_BELOW = 0.5
"""A vertebra lies below the lowest disc where there is so much bone under its front half, against its own
size [choice]."""


@dataclass(frozen=True)
class LevelNaming:
    """Classes with consistent level names, and how clear the decision was."""

    classes: UInt8[np.ndarray, "i j k"]
    agreement: float
    """Share of disc voxels whose own name was kept; 1 when every slice agreed."""
    levels: Mapping[str, LevelFinding] = field(default_factory=dict)
    """How sure the name of each disc is, by structure."""
    reason: str = ""
    """What decided the names, as a sentence without its full stop."""


def consistent_levels(
    classes: UInt8[np.ndarray, "i j k"],
    structures: Sequence[str],
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    lowest_row: int = 0,
) -> LevelNaming:
    """Rename levels so that discs count up from the bottom without gaps or repeats.

    Args:
        classes: Class of each voxel on a canonical (RAS) grid.
        structures: Names of classes 1…n−1.
        spacing_mm: Voxel size along R, A, S.
        lowest_row: First index along S that holds image content.

    Returns:
        The same borders; names beyond the known levels become background, and so do pieces too small for a
        disc that lie far from all of them, once any disc is renamed. Unchanged when fewer than two discs are
        found.
    """
    disc_ranks, vertebra_ranks = (_rank_table(structures, kind) for kind in ("disc", "vertebra"))
    said = looked_up(disc_ranks.astype(np.uint8), classes)
    discs = _disc_instances(said, spacing_mm)
    if len(discs.order) < 2:
        return LevelNaming(classes, 1.0)
    is_vertebra = looked_up((vertebra_ranks > 0).astype(np.uint8), classes).astype(bool)
    end = _lower_end(discs, said, is_vertebra, spacing_mm, lowest_row)
    found = identify_levels(_as_instances(discs, said), Given(end, extras=frozenset()))
    numbers = _numbers(discs, found, int(disc_ranks.max()))
    true = looked_up(numbers.astype(np.uint8), discs.labels)
    known = true > 0
    agreement = float((said[known] == true[known]).mean())
    disc_class, vertebra_class = _class_table(disc_ranks), _class_table(vertebra_ranks)
    renamed = classes.copy()
    renamed[known] = disc_class[np.minimum(true[known], len(disc_class) - 1)]
    if agreement < 1:
        # A piece that kept its own name would now lie under another level than the disc that it belongs to.
        # Where no disc is renamed, the network's names stand, those of such pieces as well.
        small = (discs.labels > 0) & ~known
        ranks = _ranks_of_small_pieces(discs, true, spacing_mm)
        renamed[small] = disc_class[np.minimum(ranks[discs.labels[small]], len(disc_class) - 1)]
    bodies = body_ranks(is_vertebra, true, spacing_mm)
    for index in range(len(classes)):
        # Ranks may fall below 0 on the way, which one byte cannot hold.
        here = (plane[index].astype(np.int64) for plane in (bodies, said, true))
        named = _rename_vertebrae(vertebra_ranks[classes[index]], *here)
        bones = vertebra_ranks[classes[index]] > 0
        named = one_rank_per_piece(np.where(bones, np.clip(named, 0, len(vertebra_class) - 1), 0))
        renamed[index][bones] = vertebra_class[named[bones]]
    levels = {level.name: level for level in found.levels}
    reason = "; ".join(decided_by(end, found))
    return LevelNaming(renamed, agreement, levels, reason)


@dataclass(frozen=True)
class _Discs:
    labels: Integer[np.ndarray, "i j k"]
    """Piece number of each disc voxel; 0 elsewhere and for pieces that are too small."""
    order: tuple[int, ...]
    """Piece numbers from bottom to top."""
    centres_mm: Float[np.ndarray, "n 3"]
    """Middle of each of these, on axes along the grid's."""
    gaps_mm: tuple[float, ...]
    """Distance from each of these to the next one above."""


def _rank_table(structures: Sequence[str], kind: str) -> Integer[np.ndarray, " n"]:
    """Rank from the bottom of each class that is of this kind, else 0."""
    return np.array([0] + [(spine_rank(name) or 0) if spine_kind(name) == kind else 0 for name in structures])


def _disc_instances(ranks: Integer[np.ndarray, "i j k"], spacing_mm: tuple[float, float, float]) -> _Discs:
    pieces = cc3d.connected_components(ranks > 0, connectivity=6)
    statistics = cc3d.statistics(pieces)
    sizes = statistics["voxel_counts"].astype(np.int64)
    sizes[0] = 0
    centres = statistics["centroids"] * np.array(spacing_mm)
    if not sizes.any():
        return _Discs(pieces, (), centres[:0], ())
    median = np.median(sizes[sizes > MIN_INSTANCE_SHARE * sizes.max()])
    kept = np.flatnonzero(sizes >= MIN_INSTANCE_SHARE * median)
    order = [int(piece) for piece in kept[np.argsort(centres[kept, 2])]]
    names = {piece: int(np.bincount(ranks[pieces == piece]).argmax()) for piece in order}
    gaps = _gaps_mm(order, centres)
    joined = order[:1]
    for piece, gap in zip(order[1:], gaps, strict=True):
        below = joined[-1]
        if names[piece] == names[below] and gap < SPLIT_GAP * np.median(gaps):
            pieces[pieces == piece] = below
        else:
            joined.append(piece)
    return _Discs(pieces, tuple(joined), centres[joined], tuple(_gaps_mm(joined, centres)))


def _gaps_mm(order: Sequence[int], centres_mm: Float[np.ndarray, "pieces 3"]) -> list[float]:
    """Distance in the sagittal plane from each piece to the next one above."""
    return [
        float(np.linalg.norm(centres_mm[above, 1:] - centres_mm[below, 1:]))
        for below, above in pairwise(order)
    ]


def _as_instances(discs: _Discs, ranks: Integer[np.ndarray, "i j k"]) -> list[SpineInstance]:
    """Each disc with the share of its voxels that bear each name."""
    instances = []
    for piece, centre_mm in zip(discs.order, discs.centres_mm, strict=True):
        votes = np.bincount(ranks[discs.labels == piece])
        scores = {_disc_name(rank): float(n / votes.sum()) for rank, n in enumerate(votes) if n}
        # In the sagittal plane: which slices show a disc moves its middle to the left or right.
        instances.append(SpineInstance("disc", centre_mm * (0, 1, 1), float(votes.sum()), scores))
    return instances


def _disc_name(rank: int) -> str:
    bottom = LEVELS_UPWARDS.index("L5") - 1
    return f"{LEVELS_UPWARDS[bottom + rank]}-{LEVELS_UPWARDS[bottom + rank - 1]} disc"


def _lower_end(
    discs: _Discs,
    ranks: Integer[np.ndarray, "i j k"],
    bones: Bool[np.ndarray, "i j k"],
    spacing_mm: tuple[float, float, float],
    lowest_row: int,
) -> LowerEnd:
    """What speaks for the lowest disc lying on the sacrum."""
    disc = discs.labels == discs.order[0]
    _, depths, rows = np.nonzero(disc)
    below = int((bones[:, int(depths.mean()) : depths.max() + 1, : rows.min()]).sum())
    votes = np.bincount(ranks[disc])
    room_mm = (float(rows.mean()) - lowest_row) * spacing_mm[2]
    return scan_end(
        {_disc_name(1): float(votes[1] / votes.sum())},
        room_mm,
        discs.gaps_mm[0],
        has_bone_below=below > BONE_BELOW * len(rows),
    )


def _numbers(discs: _Discs, found: LevelFindings, max_rank: int) -> Integer[np.ndarray, " pieces"]:
    """Rank of each piece; 0 for what is no disc."""
    result = np.zeros(discs.labels.max() + 1, dtype=int)
    for piece, level in zip(discs.order, found.levels, strict=True):
        rank = spine_rank(level.name) or 0
        # Numbers past the known levels are kept apart from 0, which is a piece that is no disc.
        result[piece] = rank if rank >= 1 else max_rank + 1
    return result


def _ranks_of_small_pieces(
    discs: _Discs, true: UInt8[np.ndarray, "i j k"], spacing_mm: tuple[float, float, float]
) -> Integer[np.ndarray, " pieces"]:
    """Rank of the disc nearest to each piece that is no disc of its own; 0 where none is within reach.

    Args:
        discs: The pieces.
        true: Rank of the disc instances.
        spacing_mm: Voxel size along R, A, S.
    """
    spacing = np.array(spacing_mm)
    reach_mm = SPLIT_GAP * float(np.median(discs.gaps_mm))
    margin = np.ceil(reach_mm / spacing).astype(int).tolist()
    ranks = np.zeros(int(discs.labels.max()) + 1, dtype=int)
    for piece, box in enumerate(ndimage.find_objects(discs.labels), start=1):
        if box is None or piece in discs.order:
            continue
        # No more of the scan than is within reach: places take 24 bytes a voxel.
        near = tuple(
            slice(max(0, axis.start - far), axis.stop + far) for axis, far in zip(box, margin, strict=True)
        )
        places = np.argwhere(true[near] > 0)
        if not len(places):
            continue
        own_mm = np.argwhere(discs.labels[near] == piece) * spacing
        away_mm, nearest = spatial.KDTree(places * spacing).query(own_mm, distance_upper_bound=reach_mm)
        closest = away_mm.argmin()
        if np.isfinite(away_mm[closest]):
            ranks[piece] = true[near][tuple(places[nearest[closest]])]
    return ranks


def _rename_vertebrae(
    bones: Integer[np.ndarray, "j k"],
    bodies: Integer[np.ndarray, "j k"],
    said: Integer[np.ndarray, "j k"],
    true: Integer[np.ndarray, "j k"],
) -> Integer[np.ndarray, "j k"]:
    """Rank of each vertebra pixel of one slice: its body's, or after what had its number there.

    Args:
        bones: Rank that the network gave to each vertebra pixel, 0 elsewhere.
        bodies: Rank of the bodies, 0 elsewhere.
        said: Rank that the network gave to each disc pixel.
        true: Rank of the disc instances.
    """
    by_body, by_disc = _moves(bones, bodies), _moves(said, true)
    result = bones.copy()
    heights = np.broadcast_to(np.arange(bones.shape[1]), bones.shape)
    for rank in np.unique(bones[bones > 0]).tolist():
        pixels = bones == rank
        if rank in by_body:
            # What belongs to a body hangs half a level lower behind it: parts divide at the lower body.
            steps = by_body[rank]
            divided = [(lower, step) for (lower, _), (_, step) in pairwise([(-1.0, 0), *steps])]
        elif by_disc:
            nearest = min(by_disc, key=lambda other: abs(other - rank))
            # Two discs bore this number: vertebra n lies above disc n, so pixels divide at the upper disc.
            steps = by_disc[nearest][: None if nearest == rank else 1]
            divided = [(-1.0, steps[0][1]), *steps[1:]]
        else:
            continue
        for height, step in divided:
            result[pixels & (heights > height)] = rank + step
    return np.where(bodies > 0, bodies, result)


def _moves(
    said: Integer[np.ndarray, "j k"], true: Integer[np.ndarray, "j k"]
) -> dict[int, list[tuple[float, int]]]:
    """By the number said in one slice, what bore it: mean height in pixels, and true rank − that number."""
    known = (true > 0) & (said > 0)
    return {rank: _moves_of(rank, said, true, known) for rank in np.unique(said[known]).tolist()}


def _moves_of(
    rank: int,
    said: Integer[np.ndarray, "j k"],
    true: Integer[np.ndarray, "j k"],
    known: Bool[np.ndarray, "j k"],
) -> list[tuple[float, int]]:
    here = known & (said == rank)
    found, votes = np.unique(true[here], return_counts=True)
    kept = found[votes >= MIN_INSTANCE_SHARE * votes.max()]
    heights = [float(np.nonzero(here & (true == other))[1].mean()) for other in kept]
    return sorted((height, int(other - rank)) for height, other in zip(heights, kept, strict=True))


def _class_table(ranks: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, " r"]:
    """Class of each rank; background (0) for ranks that the model does not know."""
    table = np.zeros(int(ranks.max()) + 2, dtype=np.uint8)
    for index, rank in enumerate(ranks):
        if rank > 0:
            table[rank] = index
    return table
