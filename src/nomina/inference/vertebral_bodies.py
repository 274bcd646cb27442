"""Which vertebra a piece of bone in front of the canal is: the one between the discs around it."""

from dataclasses import dataclass

import cc3d
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from scipy.interpolate import make_interp_spline

DOMINANT_SHARE = 0.65
"""A piece of bone in one slice belongs to one level when this share of it is of that level; below that it may
be two vertebrae that touch, at a facet joint or where a disc is gone [choice]."""

EXTENT_PERCENT = (2.0, 98.0)
"""How far a disc reaches to the front and back, without its few outermost voxels [choice]."""


@dataclass(frozen=True)
class _Column:
    """Discs from bottom to top without gaps, and one more at either end; places in mm along A and S."""

    ranks: Integer[np.ndarray, " n"]
    centres: Float[np.ndarray, "i n 2"]
    """Middle of each disc in each slice."""
    upwards: Float[np.ndarray, "n 2"]
    """Direction of the spine at each disc, of length 1."""
    extents: Float[np.ndarray, "n 2"]
    """How far each disc reaches backwards (negative) and forwards of its middle."""


def body_ranks(
    bones: Bool[np.ndarray, "i j k"],
    discs: UInt8[np.ndarray, "i j k"],
    spacing_mm: tuple[float, float, float],
) -> UInt8[np.ndarray, "i j k"]:
    """Rank of the vertebra whose body each voxel of bone belongs to.

    A body lies between two discs, no further to the front or back than they reach; above the highest disc
    and below the lowest one there is room for one more. Where a disc was missed its place is interpolated.

    Args:
        bones: Voxels of vertebrae on a canonical (RAS) grid.
        discs: Rank of each disc voxel (1: the disc under L5), 0 elsewhere.
        spacing_mm: Voxel size along R, A, S.

    Returns:
        0 where a voxel is no bone, lies behind the bodies (arches, processes) or beyond the column, and
        everywhere where fewer than two discs are known.
    """
    ranks = np.zeros(bones.shape, dtype=np.uint8)
    column = _column(discs, np.array(spacing_mm[1:]))
    if column is None:
        return ranks
    for index, plane in enumerate(bones):
        pixels = np.argwhere(plane)
        if len(pixels):
            places = pixels * np.array(spacing_mm[1:])
            ranks[index][tuple(pixels.T)] = _between(places, column, index)
            ranks[index] = one_rank_per_piece(ranks[index])
    return ranks


def one_rank_per_piece(ranks: Integer[np.ndarray, "j k"]) -> Integer[np.ndarray, "j k"]:
    """Each connected piece of bone in a slice takes the rank that dominates it, where one does."""
    pieces = cc3d.connected_components(ranks > 0, connectivity=4)
    num_pieces, num_ranks = int(pieces.max()) + 1, int(ranks.max()) + 1
    pairs = pieces.ravel().astype(np.int64) * num_ranks + ranks.ravel()
    votes = np.bincount(pairs, minlength=num_pieces * num_ranks).reshape(num_pieces, num_ranks)
    dominant, share = votes.argmax(axis=1), votes.max(axis=1) / votes.sum(axis=1)
    return np.where((share >= DOMINANT_SHARE)[pieces] & (pieces > 0), dominant[pieces], ranks)


def _column(discs: UInt8[np.ndarray, "i j k"], in_plane_mm: Float[np.ndarray, " 2"]) -> _Column | None:
    slices, *in_plane = np.nonzero(discs)
    found = discs[slices, in_plane[0], in_plane[1]]
    places = np.stack(in_plane, axis=1) * in_plane_mm
    known: list[int] = []
    centres: list[Float[np.ndarray, "i 2"]] = []
    for rank in np.unique(found).tolist():
        centre = _centres(slices[found == rank], places[found == rank], len(discs))
        # A disc under the lumbar ones bears a number past all others (`levels._numbers`).
        if not centres or centre[:, 1].mean() > centres[-1][:, 1].mean():
            known.append(rank)
            centres.append(centre)
    if len(known) < 2:
        return None
    # One more disc than is known at either end, as far off as the last gap: bodies end there.
    ranks = np.arange(known[0] - 1, known[-1] + 2)
    whole = make_interp_spline(known, np.stack(centres, axis=1), k=1, axis=1)(ranks)
    upwards = np.gradient(whole.mean(axis=0), axis=0)
    upwards /= np.linalg.norm(upwards, axis=1, keepdims=True)
    extents = []
    for rank in known:
        own, n = found == rank, rank - known[0] + 1
        along = (places[own] - whole[slices[own], n]) @ _forwards(upwards[n])
        extents.append(np.percentile(along, EXTENT_PERCENT))
    reach = np.stack([np.interp(ranks, known, side) for side in np.array(extents).T], axis=1)
    return _Column(ranks, whole, upwards, reach)


def _centres(
    slices: Integer[np.ndarray, " p"], places: Float[np.ndarray, "p 2"], num_slices: int
) -> Float[np.ndarray, "i 2"]:
    """Middle of one disc in each slice; where it does not show, that in the nearest slice where it does."""
    counts = np.bincount(slices, minlength=num_slices)
    sums = np.stack([np.bincount(slices, axis, num_slices) for axis in places.T], axis=1)
    shown = np.flatnonzero(counts)
    nearest = shown[np.abs(np.arange(num_slices)[:, None] - shown).argmin(axis=1)]
    return sums[nearest] / counts[nearest][:, None]


def _between(places: Float[np.ndarray, "p 2"], column: _Column, index: int) -> Integer[np.ndarray, " p"]:
    """Rank of the disc below each place of a slice, where that place can be of a body; else 0."""
    centres = column.centres[index]
    heights = places @ column.upwards.T - (centres * column.upwards).sum(axis=1)
    lower = np.cumprod(heights > 0, axis=1).sum(axis=1) - 1
    is_inside = (lower >= 0) & (lower < len(column.ranks) - 1)
    lower = lower.clip(0, len(column.ranks) - 2)
    rows = np.arange(len(places))
    below, above = heights[rows, lower], heights[rows, lower + 1]
    share = (below / np.maximum(below - above, 1e-6))[:, None]
    middle, upwards, extents = (
        (1 - share) * values[lower] + share * values[lower + 1]
        for values in (centres, column.upwards, column.extents)
    )
    along = np.einsum("pd,pd->p", places - middle, _forwards(upwards))
    is_body = is_inside & (along >= extents[:, 0]) & (along <= extents[:, 1])
    return np.where(is_body, np.maximum(column.ranks[lower], 0), 0)


def _forwards(upwards: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
    """The direction towards the front, at right angles to one upwards; both as A and S."""
    return np.stack([upwards[..., 1], -upwards[..., 0]], axis=-1)
