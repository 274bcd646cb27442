"""Vertebrae and discs of a label map as instances from the bottom, and whether they end on the sacrum."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import cc3d
import numpy as np
from jaxtyping import Float, Integer

from nomina.assessment.level_column import column
from nomina.assessment.level_finding import LowerEnd, SpineInstance, half_levels_mm
from nomina.assessment.spine_levels import SpineKind, spine_kind
from nomina.imaging.volume import LabelMap

SLAB_MM = 5.0
"""Height of the slabs of canal whose middles make its centreline [choice]."""

CANAL_POINTS = 5_000
"""Voxels of the canal that are looked at [choice: about 100 in each slab]."""

ARCH_ONLY = 0.6
"""What is left of a cut vertebra is no body when it is less than this share of a level above the one below
[choice]."""

LEAST_PIECE = 0.1
"""Pieces of a label below this share of it follow the nearest larger one [choice: specks]."""

BODY_DEPTH_MM = 20.0
"""A piece further behind its label's foremost piece than this is an arch, not a body [choice: the canal]."""

SEPARATE_MM = 13.0
"""Bodies of one label that are so far apart along the canal are two [choice: the lowest levels have 17]."""

ONE_LEVEL = 0.35
"""Two labels of one kind nearer than this share of a level are one vertebra or disc in two parts [choice]."""

NAMED_LAST = 0.9
"""Trust in a network that calls the lowest disc L5-S1 [choice: right in every scan looked at] ..."""

LEAST_ROOM = 0.75
"""... that goes on below it for so many times the height of a level. Nearer to the border the name is no
evidence [choice: cut off under L4-L5, that disc is called L5-S1 in three of five patients]."""

ROOM_LAST = 0.6
"""What is left of the doubt goes by this share where the scan shows no vertebra below that disc …"""

LAST_ROOM = 1.1
"""… for so many times the height of a level [choice: a level that is in view is found]."""


@dataclass(frozen=True, eq=False)
class _Part:
    """A vertebra or disc, and the label it bears."""

    value: int
    kind: SpineKind
    voxels: Integer[np.ndarray, "n 3"]
    centre_mm: Float[np.ndarray, "3"]


@dataclass(frozen=True, eq=False)
class LabelledSpine:
    """The instances of a label map and which voxels they are."""

    instances: tuple[SpineInstance, ...]
    """From the bottom."""
    values: tuple[int, ...]
    """Label value of each instance."""
    numbers: Integer[np.ndarray, "i j k"]
    """1 + number of the instance at each voxel; 0 elsewhere."""
    end: LowerEnd
    notes: tuple[str, ...] = ()
    """What is odd about the instances, one sentence each."""


def labelled_spine(label_map: LabelMap, partial: Mapping[int, str]) -> LabelledSpine:
    """Mobile vertebrae and discs of a label map; a label that covers two bodies gives two instances.

    Args:
        label_map: Any scheme; its own names are the instances' scores.
        partial: Structure of each value that marks a vertebra as only partly visible.
    """
    names = {**partial, **label_map.names}
    kinds = {value: spine_kind(name) for value, name in names.items() if not name.startswith("S")}
    mobile = {value: kind for value, kind in kinds.items() if kind is not None}
    canal = [value for value, name in names.items() if name in ("spinal canal", "spinal cord")]
    canal_voxels = np.argwhere(np.isin(label_map.array, canal))
    canal_mm = label_map.grid.to_world(canal_voxels[:: len(canal_voxels) // CANAL_POINTS + 1])
    present = [value for value in np.unique(label_map.array).tolist() if value in names]
    parts = [
        part
        for value in present
        if value in mobile
        for part in _parts(label_map, value, mobile[value], canal_mm)
    ]
    places = along_canal(np.array([part.centre_mm for part in parts]).reshape(-1, 3), canal_mm)
    parts = [parts[i] for i in np.argsort(places, kind="stable")]
    parts = _cut_on_top(parts, partial)
    numbers = np.zeros(label_map.array.shape, dtype=np.int32)
    for number, part in enumerate(parts, start=1):
        numbers[tuple(part.voxels.T)] = number
    voxel_ml = label_map.grid.voxel_volume_ml
    instances = tuple(
        SpineInstance(part.kind, part.centre_mm, len(part.voxels) * voxel_ml, {names[part.value]: 1.0})
        for part in parts
    )
    values = tuple(part.value for part in parts)
    end = _labelled_end({names[value] for value in present})
    return LabelledSpine(instances, values, numbers, end, _oddities(instances, values))


def _cut_on_top(parts: list[_Part], partial: Mapping[int, str]) -> list[_Part]:
    """The same with vertebrae that the upper border cuts on top: their arch may be all there is, far down."""
    whole = [part for part in parts if part.value not in partial]
    there = [part.centre_mm for part in whole if part.kind == "vertebra"]
    if len(there) < 2:
        return parts
    middle = np.mean(there, axis=0)[2]
    cut = [part for part in parts if part.value in partial and part.centre_mm[2] > middle]
    others = [part for part in parts if all(part is not other for other in cut)]
    ranks = {name: rank for rank, name in enumerate(column().names)}
    for part in sorted(cut, key=lambda part: ranks.get(partial[part.value], 0)):
        level_mm = there[-1] - there[-2]
        is_arch = (part.centre_mm - there[-1]) @ level_mm < ARCH_ONLY * level_mm @ level_mm
        centre_mm = there[-1] + level_mm if is_arch else part.centre_mm
        others.append(replace(part, centre_mm=centre_mm))
        there.append(centre_mm)
    return others


def along_canal(
    centres_mm: Float[np.ndarray, "n 3"], canal_mm: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, " n"]:
    """Place of points along the canal in mm upwards; along S where there is not enough canal."""
    slabs = np.floor(canal_mm[:, 2] / SLAB_MM).astype(int)
    middles = np.array([canal_mm[slabs == slab].mean(axis=0) for slab in np.unique(slabs)]).reshape(-1, 3)
    if len(middles) < 6 or len(centres_mm) == 0:
        return centres_mm[:, 2]
    smooth = np.array([middles[max(0, i - 2) : i + 3].mean(axis=0) for i in range(len(middles))])
    ends = [smooth[0] - 60 * (smooth[2] - smooth[0]) / 2, smooth[-1] + 60 * (smooth[-1] - smooth[-3]) / 2]
    line = np.concatenate([ends[:1], smooth, ends[1:]])
    steps = np.diff(line, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    starts = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    offsets = centres_mm[:, None] - line[None, :-1]
    shares = np.clip(np.einsum("nsa,sa->ns", offsets, steps) / lengths**2, 0, 1)
    apart = np.linalg.norm(offsets - shares[..., None] * steps, axis=2)
    nearest = apart.argmin(axis=1)
    rows = np.arange(len(centres_mm))
    return starts[nearest] + shares[rows, nearest] * lengths[nearest]


def scan_end(
    lowest: Mapping[str, float], room_mm: float, level_mm: float, *, has_bone_below: bool
) -> LowerEnd:
    """Whether the lowest disc that a network found lies on the sacrum.

    Args:
        lowest: Scores of that disc by structure name.
        room_mm: From that disc to the lower border of the image content.
        level_mm: Height of a level there.
        has_bone_below: Whether the network found a vertebra below it.
    """
    named = lowest.get("L5-S1 disc", 0.0) + lowest.get("L6-S1 disc", 0.0)
    has_room = room_mm >= LAST_ROOM * level_mm and not has_bone_below
    seen = f"the network calls it L5-S1 with {named:.2f}"
    below = "a vertebra was found under it" if has_bone_below else "no vertebra was found under it"
    room = f"the scan goes on for {room_mm:.0f} mm below it"
    if named <= 0.5 or room_mm < LEAST_ROOM * level_mm:
        # Less than half of a disc is what its own scores count for already.
        return LowerEnd(
            0.0, f"the sacrum is not known to lie below the lowest disc: {seen}, {below} and {room}"
        )
    confidence = 1 - (1 - NAMED_LAST * (2 * named - 1)) * (1 - ROOM_LAST * has_room)
    return LowerEnd(confidence, f"the lowest disc lies on the sacrum: {seen}, {below} and {room}")


def _parts(
    label_map: LabelMap, value: int, kind: SpineKind, canal_mm: Float[np.ndarray, "m 3"]
) -> list[_Part]:
    """The separate vertebrae or discs that one label covers."""
    voxels = np.argwhere(label_map.array == value)
    low = voxels.min(axis=0)
    box = np.zeros(voxels.max(axis=0) - low + 3, dtype=bool)
    inside = tuple((voxels - low + 1).T)
    box[inside] = True
    pieces = cc3d.connected_components(box, connectivity=26)[inside]
    points = label_map.grid.to_world(voxels)
    sizes = np.bincount(pieces)
    large = np.flatnonzero(sizes >= LEAST_PIECE * sizes.sum())
    middles = np.array([_body_mm(points[pieces == piece], kind) for piece in large])
    is_body = middles[:, 1] >= middles[:, 1].max() - BODY_DEPTH_MM
    group = _groups(along_canal(middles[is_body], canal_mm))
    centres = [middles[is_body][group == n].mean(axis=0) for n in range(group.max() + 1)]
    owner = np.zeros(len(sizes), dtype=int)
    for piece in np.flatnonzero(sizes):
        away = np.linalg.norm(np.array(centres) - points[pieces == piece].mean(axis=0), axis=1)
        owner[piece] = away.argmin()
    owner[large[is_body]] = group
    return [_Part(value, kind, voxels[owner[pieces] == n], centre) for n, centre in enumerate(centres)]


def _body_mm(points_mm: Float[np.ndarray, "n 3"], kind: SpineKind) -> Float[np.ndarray, "3"]:
    """Middle of a disc, or of the front half of a vertebra: its body."""
    if kind == "disc":
        return points_mm.mean(axis=0)
    depth = points_mm[:, 1]
    return points_mm[depth >= (depth.min() + depth.max()) / 2].mean(axis=0)


def _groups(places_mm: Float[np.ndarray, " n"]) -> Integer[np.ndarray, " n"]:
    """Number from the bottom of the body that each piece belongs to."""
    order = np.argsort(places_mm, kind="stable")
    groups = np.zeros(len(places_mm), dtype=int)
    groups[order[1:]] = np.cumsum(np.diff(places_mm[order]) >= SEPARATE_MM)
    return groups


def _labelled_end(present: Collection[str]) -> LowerEnd:
    if any(name == "sacrum" or name.startswith("S1 ") for name in present):
        return LowerEnd(0.95, "the sacrum is labelled, and the lowest disc or vertebra lies on it")
    return LowerEnd(0.0, "the sacrum is not labelled")


def _oddities(instances: Sequence[SpineInstance], values: Sequence[int]) -> tuple[str, ...]:
    """Labels that cover two bodies, and bodies that lie under two labels."""
    notes = [
        f"label {value} covers {times} separate vertebrae or discs"
        for value, times in sorted(Counter(values).items())
        if times > 1
    ]
    labelled = list(zip(instances, values, strict=True))
    for kind in ("vertebra", "disc"):
        column = [(instance, value) for instance, value in labelled if instance.kind == kind]
        level_mm = np.append(2 * half_levels_mm([instance for instance, _ in column]), np.inf)
        for (lower, below), (upper, above), level in zip(column, column[1:], level_mm, strict=False):
            apart = float(np.linalg.norm(upper.centre_mm - lower.centre_mm))
            if apart < ONE_LEVEL * level:
                notes.append(
                    f"labels {below} and {above} are only {apart:.0f} mm apart; are they one {kind}?"
                )
    return tuple(notes)
