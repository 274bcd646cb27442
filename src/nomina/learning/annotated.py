"""What was annotated in a case: whether the statement can be true of its label map.

A case may be labelled in part: one lung, or arteries only. Background then says nothing about the rest, and a
network that is trained on it as if it did learns that arteries end at the midline. So each case states what
was annotated (`Case.annotated`), and a statement that the label map contradicts is a fault.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from nomina.anatomy.sides import sides_of
from nomina.anatomy.structures import nearest, vocabulary
from nomina.assessment.body_check import other_side
from nomina.errors import CaseError
from nomina.imaging.volume import LabelMap, Volume

MANY_ML = 2.0
"""A counterpart of this volume was drawn on purpose [choice: one lung's arteries have 30 ml and more]."""

LOPSIDED = 0.15
"""A side, told by the body's midline, is empty below this share of the other's volume [choice: vessels by
threshold in two real CTs have 0.58 and 0.39; of one lung's tree only the trunk reaches over the
midline]."""

TISSUE_HU = -300.0
"""Body without lungs and air, whose mean lies on the midline [choice]."""


class _Extent(NamedTuple):
    """How much of a structure a label map holds."""

    num_voxels: int
    is_by_midline: bool
    """True where only the whole has a label, and the side was told by the midline."""


def require_annotated(annotated: Sequence[str], labelled: Iterable[str], what: str) -> None:
    """Refuse names that no label could stand for.

    Args:
        annotated: Names of structures.
        labelled: Names that the label map's scheme has.
        what: Whose statement it is, for the message.

    Raises:
        CaseError: A name is not in the vocabulary, or neither it, its whole nor its sides have a label.
    """
    known = set(labelled)
    for name in annotated:
        if name not in vocabulary():
            near = ", ".join(map(repr, nearest(name, vocabulary())))
            raise CaseError(f"{what}: 'annotated' names {name!r}; nearest structures: {near}")
        if known.isdisjoint((name, vocabulary()[name].part_of, *sides_of(name).values())):
            raise CaseError(
                f"{what}: 'annotated' names {name!r}, for which there is no label; labelled are "
                f"{', '.join(sorted(known))}"
            )


def annotation_faults(
    label_map: LabelMap, annotated: Sequence[str] | None, volume: Volume
) -> tuple[str, ...]:
    """Half-labelled structures that are said to be annotated, one sentence each.

    A structure is half-labelled when it is empty while its counterpart, the other side's or the vein of an
    artery, has `MANY_ML`. Where a label has no side ("pulmonary artery"), sides are told by the midline of
    the body in a CT; in other scans they are not looked at.

    Args:
        label_map: The case's labels.
        annotated: As `Case.annotated`; None stands for every structure that the label map names.
        volume: The scan, on the label map's grid.

    Raises:
        CaseError: `annotated` names something that has no label.
    """
    stated = tuple(label_map.names.values()) if annotated is None else tuple(annotated)
    if annotated is not None:
        require_annotated(annotated, label_map.names.values(), "the case")
    extents = _extents(label_map, volume)
    voxel_ml = label_map.grid.voxel_volume_ml
    halves = {name: tuple(part for part in sides_of(name).values() if part in extents) for name in stated}
    names = dict.fromkeys(part for name in stated for part in halves[name] or (name,))
    found = []
    for name in names:
        fullest = max(
            (other for other in _counterparts(name) if other in extents),
            key=lambda other: extents[other].num_voxels,
            default=None,
        )
        if name not in extents or fullest is None:
            continue
        here, there = extents[name], extents[fullest]
        limit = LOPSIDED * there.num_voxels if here.is_by_midline else 0
        if here.num_voxels <= limit and there.num_voxels * voxel_ml >= MANY_ML:
            found.append(_fault(name, here.num_voxels, fullest, there.num_voxels, annotated is None))
    return tuple(found)


def _fault(name: str, num_voxels: int, other: str, num_other: int, is_default: bool) -> str:
    how = (
        "counts as annotated, since the case does not say otherwise," if is_default else "is stated annotated"
    )
    return (
        f"{name} {how} but has {num_voxels} voxels while {other} has {num_other}: the case looks labelled in "
        f"part; state what was annotated (`annotated`, in a folder's dataset.json), or leave the case out"
    )


def _extents(label_map: LabelMap, volume: Volume) -> dict[str, _Extent]:
    """Voxels of each named structure, of the wholes of named sides and of the sides of named wholes."""
    values, counts = np.unique(label_map.array, return_counts=True)
    count_of = dict(zip(values.tolist(), counts.tolist(), strict=True))
    extents = {name: _Extent(count_of.get(value, 0), False) for value, name in label_map.names.items()}
    unsided = [
        name
        for name in label_map.names.values()
        if sides_of(name) and extents.keys().isdisjoint(sides_of(name).values())
    ]
    middle_mm = _midline_mm(volume) if unsided else None
    if middle_mm is None:
        return extents
    for name in unsided:
        across_mm = label_map.grid.to_world(np.argwhere(label_map.mask(name)))[:, 0]
        num_left = int((across_mm < middle_mm).sum())
        for side, num in zip(sides_of(name).values(), (num_left, len(across_mm) - num_left), strict=True):
            extents[side] = _Extent(num, True)
    return extents


def _counterparts(name: str) -> tuple[str, ...]:
    """What is annotated together with a structure: the other side, and the vein of an artery."""
    side = other_side(name)
    swapped = name.replace("artery", "vein") if "artery" in name else name.replace("vein", "artery")
    return tuple(other for other in (side, swapped) if other and other != name and other in vocabulary())


def _midline_mm(volume: Volume) -> float | None:
    """World x of the middle of the body; None where the scan is no CT in Hounsfield units."""
    steps = [max(1, round(3.0 / spacing_mm)) for spacing_mm in volume.grid.spacing_mm]
    array = volume.array[:: steps[0], :: steps[1], :: steps[2]]
    tissue = np.argwhere(array > TISSUE_HU)
    if array.min() > 2 * TISSUE_HU or not len(tissue):
        return None
    return float(volume.grid.to_world(tissue * steps)[:, 0].mean())
