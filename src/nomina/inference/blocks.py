"""Words and a chest CT → named vessels, through a network of blocks.

lungs found → box about them → cubes → tiles, blended → scan's own grid → strays off → whole branches
→ grown into their fringe → sides → verdicts

The network says artery or vein; left and right come from the lungs in world coordinates, so a file with other
axes cannot exchange them. A network whose classes have sides of their own is taken at its word.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cc3d
import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, UInt8
from scipy import ndimage
from torch import Tensor

from nomina.anatomy.structures import structure
from nomina.assessment.branch_vote import vote_on_branches
from nomina.assessment.lung_halves import (
    around_lungs,
    find_lungs,
    lung_box,
    lung_halves,
    lung_tissue,
    near_lungs,
)
from nomina.assessment.measurements.lungs import LEFT, RIGHT
from nomina.errors import CheckpointError
from nomina.imaging.ct_preparation import CTPreparation, normalise_ct
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.block_plan import BlockMemoryPlan
from nomina.inference.growing import grown
from nomina.inference.native_grid import linear_weights
from nomina.inference.provenance import provenance
from nomina.inference.vessel_verdicts import ChestInView, judge_vessel
from nomina.networks.checkpoint import Checkpoint, VesselConfig
from nomina.networks.la_caf import LACAF
from nomina.networks.predict_blocks import predict_blocks

MARGIN_MM = 15.0
"""Room around the lungs that is looked at [choice: hilum and trunk lie between them]."""

SPECK_MM3 = 30.0
"""Smaller pieces are taken off [choice: a twig of 2 mm and 10 mm length has 31]."""

_SIDES = {"left": LEFT, "right": RIGHT}


REACH_MM = 6.0
"""Pulmonary vessels lie in the lungs, this near to them or between them, and each piece reaches as near; the
rest is left out [choice: two voxels of the lung mask, whose air leaves out the vessels' own voxels]."""


@dataclass(frozen=True)
class VesselMap:
    """The winning class of each voxel of a canonical grid, 0 for none, and how sure the network was."""

    classes: UInt8[np.ndarray, "i j k"]
    certainty: UInt8[np.ndarray, "i j k"]
    """Probability of the most probable class in steps of 1/255."""
    num_overlaps: int
    """Voxels in which several classes passed the floor; the more probable one was taken."""
    fringe: Bool[np.ndarray, "i j k"] | None = None
    """Where the classes may grow, `VesselConfig.grown_to`."""


def segment_blocks(
    checkpoint: Checkpoint,
    volume: Volume,
    asked: Sequence[str] | None,
    *,
    plan: BlockMemoryPlan,
    progress: Callable[[float], None] | None = None,
) -> Segmentation:
    """Segment what is asked for in a chest CT.

    Args:
        checkpoint: Holds a network of blocks.
        volume: The scan, in any orientation.
        asked: Names, each `nameable` by the network; None for all that the model knows. Where a whole and its
            side are both asked for, a voxel has the label of the side.
        plan: What it is expected to take; provenance keeps it.
        progress: Called with the share done, 0 to 1.

    Returns:
        Label map on the scan's own grid in the `nomina` scheme, a verdict per structure, and provenance.

    Raises:
        VolumeError: The scan is no CT in Hounsfield units.
        CheckpointError: The checkpoint says nothing about blocks.
    """
    report = progress or (lambda share: None)
    asked = checkpoint.structures if asked is None else asked
    canonical = volume.canonical()
    lungs = find_lungs(canonical)
    tissue = lung_tissue(canonical) if lungs is None else lungs
    whole = tuple(slice(0, size) for size in canonical.grid.shape)
    box = whole if lungs is None else lung_box(lungs, canonical.grid, MARGIN_MM)
    part = canonical.cropped(box)
    report(0.02)
    if tissue is None:
        found, notes = _nothing(part.grid), ["No lung was found, so no vessel was looked for."]
    else:
        found = _find(checkpoint, part, lambda share: report(0.05 + 0.85 * share))
        notes = _notes(found, part.grid, has_lungs=lungs is not None)
        found, more_notes = _cleaned(checkpoint, found, part.grid, lungs, tissue)
        notes += more_notes
    report(0.95)
    chest = ChestInView(part.grid, lungs, 0.0 if tissue is None else _volume_ml(tissue))
    labels, verdicts = _labelled(asked, checkpoint, found, chest)
    array = np.zeros(canonical.grid.shape, dtype=np.uint8)
    array[box] = labels
    names = {structure(name).label: name for name in asked}
    label_map = LabelMap(array, canonical.grid, names=names, scheme="nomina")
    report(1.0)
    return Segmentation(
        label_map=label_map.reoriented_like(volume.grid),
        verdicts=tuple(verdicts[name] for name in asked),
        provenance={
            **provenance(checkpoint, "class prompts", canonical, notes),
            "memory": plan.as_dict(),
        },
    )


def _nothing(grid: Grid) -> VesselMap:
    return VesselMap(np.zeros(grid.shape, dtype=np.uint8), np.zeros(grid.shape, dtype=np.uint8), 0)


def _find(checkpoint: Checkpoint, part: Volume, report: Callable[[float], None]) -> VesselMap:
    cfg, network = checkpoint.config, checkpoint.network
    if not isinstance(network, LACAF) or not isinstance(cfg.preparation, CTPreparation):
        raise CheckpointError(f"checkpoint {checkpoint.name} holds no network of blocks for CT")
    if cfg.block_size is None:
        raise CheckpointError(f"checkpoint {checkpoint.name} states no block_size; train it anew")
    image, prepared = normalise_ct(part, cfg.preparation)
    probabilities = predict_blocks(
        network,
        image,
        checkpoint.words(),
        block_size=cfg.block_size,
        overlap=cfg.tile_overlap,
        progress=report,
    )
    return winning_vessels(probabilities, prepared, part.grid, cfg.vessels)


def _cleaned(
    checkpoint: Checkpoint, found: VesselMap, grid: Grid, lungs: LabelMap | None, tissue: LabelMap
) -> tuple[VesselMap, list[str]]:
    """The map without strays and, where the checkpoint asks for it, with whole branches and grown; notes."""
    if lungs is not None:
        # In place and plane by plane: the scan may be large, and nobody else holds these maps.
        for index, is_around in enumerate(around_lungs(lungs, grid, REACH_MM)):
            found.classes[index][~is_around] = 0
            if found.fringe is not None:
                found.fringe[index][~is_around] = False
    near = near_lungs(tissue, grid, REACH_MM)
    classes = without_strays(found.classes, SPECK_MM3 / (1000 * grid.voxel_volume_ml), near)
    notes = []
    if checkpoint.config.vessels.has_whole_branches:
        classes, note = _with_whole_branches(classes, checkpoint.structures, grid)
        notes = [note]
    if found.fringe is not None:
        classes = grown(classes, found.fringe)
    return replace(found, classes=classes, fringe=None), notes


def _labelled(
    asked: Sequence[str], checkpoint: Checkpoint, found: VesselMap, chest: ChestInView
) -> tuple[UInt8[np.ndarray, "i j k"], dict[str, Verdict]]:
    """The label of each voxel, in the `nomina` scheme, and the verdict on each structure asked for."""
    grid, calibration = chest.grid, checkpoint.config.verdicts
    halves = lung_halves(chest.lungs, grid)
    members = _members(asked, checkpoint.structures)
    class_ml = _voxels_of_classes(found.classes, members.shape[1]) * grid.voxel_volume_ml
    labels = np.zeros(grid.shape, dtype=np.uint8)
    verdicts: dict[str, Verdict] = {}
    # Sides last: they are parts of what has none.
    for index in sorted(range(len(asked)), key=lambda n: structure(asked[n]).side is not None):
        name, mask = asked[index], _mask_of(members[index], found.classes, halves)
        whole_ml = float(class_ml[members[index].any(axis=1)].sum())
        verdicts[name] = judge_vessel(name, mask, found.certainty, chest, calibration, whole_ml=whole_ml)
        if verdicts[name].volume_ml > 0:
            labels[mask] = structure(name).label
    return labels, verdicts


def _voxels_of_classes(classes: UInt8[np.ndarray, "i j k"], num_classes: int) -> Integer[np.ndarray, " n"]:
    """Voxels of each class, plane by plane: `bincount` needs 8 bytes a voxel."""
    counts = np.zeros(num_classes, dtype=np.int64)
    for plane in classes:
        counts += np.bincount(plane.ravel(), minlength=num_classes)
    return counts


def _volume_ml(lungs: LabelMap) -> float:
    return int((lungs.array != 0).sum()) * lungs.grid.voxel_volume_ml


def winning_vessels(
    probabilities: Float[Tensor, "n i j k"], prepared: Grid, native: Grid, cfg: VesselConfig
) -> VesselMap:
    """Resample probabilities plane by plane; where there is vessel, the most probable class wins.

    Args:
        probabilities: One map per class on `prepared`.
        prepared: Grid of the network.
        native: Canonical grid of the scan, with the same axes.
        cfg: Its floors decide where there is vessel and where vessels may grow.
    """
    along_i, along_j, along_k = (linear_weights(prepared, native, axis) for axis in range(3))
    classes, certainty = np.zeros(native.shape, dtype=np.uint8), np.zeros(native.shape, dtype=np.uint8)
    lower_floor = cfg.grown_to
    fringe = None if lower_floor is None else np.zeros(native.shape, dtype=bool)
    num_overlaps = 0
    for index, weights in enumerate(along_i):
        plane = torch.einsum("nsjk,s->njk", probabilities[:, weights > 0], weights[weights > 0])
        maps = along_j @ (plane @ along_k.T)
        best, winner = maps.max(dim=0)
        vessel = best if cfg.floor_of == "class" else 1 - (1 - maps).prod(dim=0)
        classes[index] = torch.where(vessel > cfg.floor, winner + 1, 0).to(torch.uint8).numpy()
        certainty[index] = (best * 255).round().clamp(0, 255).to(torch.uint8).numpy()
        if fringe is not None and lower_floor is not None:
            fringe[index] = (vessel > lower_floor).numpy()
        num_overlaps += int(((maps > cfg.floor).sum(dim=0) > 1).sum())
    return VesselMap(classes, certainty, num_overlaps, fringe)


def without_strays(
    classes: UInt8[np.ndarray, "i j k"], min_voxels: float, near: Bool[np.ndarray, "i j k"] | None
) -> UInt8[np.ndarray, "i j k"]:
    """Class indices without pieces of vessel (26-connected) that are too small or reach no voxel of `near`.

    A piece holds whatever classes touch: where a tree is torn in two classes, its parts hold each other.

    Args:
        classes: 0 is background.
        min_voxels: Smaller pieces are left out.
        near: In or beside the lungs; None: pieces may lie anywhere.
    """
    cleaned = classes.copy()
    box = next(iter(ndimage.find_objects((classes > 0).view(np.uint8))), None)
    if box is None:
        return cleaned
    # A border of background: cc3d 4.1 fails on masks of a few voxels that fill their array.
    pieces = cc3d.connected_components(np.pad(classes[box] > 0, 1), connectivity=26)[1:-1, 1:-1, 1:-1]
    # Plane by plane: numbers that count or choose take 8 bytes each.
    num_pieces = int(pieces.max()) + 1
    sizes = sum(np.bincount(plane.ravel(), minlength=num_pieces) for plane in pieces)
    is_stray = np.asarray(sizes < min_voxels)
    if near is not None:
        is_apart = np.ones(num_pieces, dtype=bool)
        for plane, near_plane in zip(pieces, near[box], strict=True):
            is_apart[plane[near_plane]] = False
        is_stray |= is_apart
    is_stray[0] = False
    for plane, cleaned_plane in zip(pieces, cleaned[box], strict=True):
        cleaned_plane[is_stray[plane]] = 0
    return cleaned


def _with_whole_branches(
    classes: UInt8[np.ndarray, "i j k"], structures: Sequence[str], grid: Grid
) -> tuple[UInt8[np.ndarray, "i j k"], str]:
    """One class for every branch, and what that changed, in words."""
    names = dict(enumerate(structures, start=1))
    kinds = {structure(name).kind for value, name in names.items() if (classes == value).any()}
    if kinds != {"artery", "vein"}:
        return classes, "Only one tree was found, so no branch was voted on."
    voted = vote_on_branches(LabelMap(classes, grid, names=names))
    return voted.label_map.array.astype(np.uint8), (
        f"Whole branches: {voted.num_changed_branches} of them, {voted.changed_length_mm:.0f} mm of their "
        f"centrelines and {voted.num_changed_voxels} voxels went from artery to vein or back."
    )


def _members(asked: Sequence[str], classes: Sequence[str]) -> Bool[np.ndarray, "a c 3"]:
    """Whether a voxel of a class in a half of the chest belongs to what is asked; class 0 is background."""
    table = np.zeros((len(asked), len(classes) + 1, 3), dtype=bool)
    for index, name in enumerate(asked):
        wanted = structure(name)
        for number, known in enumerate(map(structure, classes), start=1):
            if name in (known.name, known.part_of):
                table[index, number] = True
            elif wanted.part_of == known.name and wanted.side is not None:
                table[index, number, _SIDES[wanted.side]] = True
    return table


def _mask_of(
    member: Bool[np.ndarray, "c 3"], classes: UInt8[np.ndarray, "i j k"], halves: UInt8[np.ndarray, "i j k"]
) -> Bool[np.ndarray, "i j k"]:
    """Voxels whose class and half of the chest belong together; `member[classes, halves]` plane by plane."""
    mask = np.empty(classes.shape, dtype=bool)
    for plane, of_classes, of_halves in zip(mask, classes, halves, strict=True):
        plane[:] = member[of_classes, of_halves]
    return mask


def _notes(found: VesselMap, grid: Grid, *, has_lungs: bool) -> list[str]:
    notes = []
    if not has_lungs:
        notes.append("No two lungs were found: the whole scan was looked at, and no vessel has a side.")
    if found.num_overlaps:
        volume_ml = found.num_overlaps * grid.voxel_volume_ml
        notes.append(f"{volume_ml:.1f} ml were claimed by several classes; the more probable one was taken.")
    return notes
