"""From class probabilities on the prepared grid to the winning class on the scan's own grid, streaming.

Probabilities, not labels, are resampled, slice by slice; a whole scan of probabilities is never held. What a
voxel is (vertebra, disc, canal, nothing) is decided before which level it is, so that doubt between two
levels of one kind does not move the border of the bone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nomina.anatomy.structures import structure
from nomina.imaging.grid import Grid
from nomina.imaging.lookup import looked_up
from nomina.imaging.volume import LabelMap


@dataclass(frozen=True)
class ClassMap:
    """The winning class of each voxel of the canonical scan, and how sure the network was."""

    array: UInt8[np.ndarray, "i j k"]
    """Class index, 0 background."""
    grid: Grid
    """The scan's grid in canonical (RAS) order."""
    certainty: UInt8[np.ndarray, "i j k"]
    """Probability of the winning kind (any level of it) in steps of 1/255."""


def winning_classes(
    slices: Iterable[tuple[slice, Float[Tensor, "b n j k"]]],
    prepared: Grid,
    native: Grid,
    kinds: Sequence[str],
    report: Callable[[int], None] | None = None,
) -> ClassMap:
    """Resample probabilities in-plane and take the winner.

    Args:
        slices: Ranges of sagittal slices with their class probabilities on `prepared`.
        prepared: Grid of the network; shares its slices and the centre of its field of view with `native`.
        native: The scan's canonical grid.
        kinds: Kind of each class 0…n−1; classes of one kind pool their probabilities first.
        report: Called with the number of slices done.
    """
    winners, certainty = np.zeros(native.shape, dtype=np.uint8), np.zeros(native.shape, dtype=np.uint8)
    along_j, along_k = (linear_weights(prepared, native, axis) for axis in (1, 2))
    for where, probabilities in slices:
        along_j, along_k = along_j.to(probabilities.device), along_k.to(probabilities.device)
        for index, plane in zip(range(where.start, where.stop), probabilities, strict=True):
            winner, probability = _winner(along_j @ (plane @ along_k.T), kinds)
            winners[index] = winner.cpu().numpy()
            certainty[index] = (probability * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        if report:
            report(where.stop)
    return ClassMap(winners, native, certainty)


def linear_weights(source: Grid, target: Grid, axis: int) -> Float[Tensor, "t s"]:
    """Matrix of linear interpolation along one axis of two parallel grids; the border pixel repeats."""
    centre = [(size - 1) / 2 for size in target.shape]
    places = np.repeat(np.array([centre]), target.shape[axis], axis=0)
    places[:, axis] = np.arange(target.shape[axis])
    positions = source.to_voxels(target.to_world(places))[:, axis].clip(0, source.shape[axis] - 1)
    left = np.floor(positions).astype(int).clip(0, max(0, source.shape[axis] - 2))
    share = positions - left
    weights = np.zeros((target.shape[axis], source.shape[axis]), dtype=np.float32)
    rows = np.arange(target.shape[axis])
    weights[rows, left] = 1 - share
    weights[rows, np.minimum(left + 1, source.shape[axis] - 1)] += share
    return torch.from_numpy(weights)


def _winner(
    maps: Float[Tensor, "n j k"], kinds: Sequence[str]
) -> tuple[UInt8[Tensor, "j k"], Float[Tensor, "j k"]]:
    """The most probable class of the most probable kind, and the probability of that kind."""
    total = torch.zeros_like(maps[0])
    winner = torch.zeros(total.shape, dtype=torch.uint8, device=maps.device)
    for kind in dict.fromkeys(kinds):
        members = [index for index, other in enumerate(kinds) if other == kind]
        _, level = _running_maximum(maps[members])
        kind_total = maps[members].sum(dim=0)
        members_table = torch.tensor(members, dtype=torch.uint8, device=maps.device)
        winner = torch.where(kind_total > total, members_table[level.long()], winner)
        total = torch.maximum(total, kind_total)
    return winner, total


def _running_maximum(maps: Float[Tensor, "n j k"]) -> tuple[Float[Tensor, "j k"], UInt8[Tensor, "j k"]]:
    """Largest value over the first axis and where it is; on a CPU four times faster than `max(dim=0)`."""
    best = maps[0].clone()
    winner = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for index in range(1, len(maps)):
        winner.masked_fill_(maps[index] > best, index)
        torch.maximum(best, maps[index], out=best)
    return best, winner


def named_label_map(
    classes: UInt8[np.ndarray, "i j k"],
    grid: Grid,
    asked: Sequence[str],
    found: Sequence[str],
    known: Sequence[str],
) -> LabelMap:
    """The found structures under the `nomina` scheme's values; every asked one has a name."""
    values = np.zeros(len(known) + 1, dtype=np.uint8)
    for name in found:
        values[known.index(name) + 1] = structure(name).label
    return LabelMap(
        looked_up(values, classes), grid, names={structure(n).label: n for n in asked}, scheme="nomina"
    )
