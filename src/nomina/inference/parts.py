"""Parts of structures: "canal at L3" is the canal between the top and the bottom of the L3 vertebra.

"Arteries in the right lower lobe" are the voxels of the pulmonary artery that lie in that lobe, as a label
map of the user's gives it (see `nomina.inference.regions`).

Heights are measured along the patient's axis from feet to head (S of RAS+ mm), in whatever direction the
voxels lie. Of a vertebra only what lies in front of the middle of the canal counts, where a canal is at its
height: the spinous process hangs down to the next vertebra.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from nomina.anatomy.resolve import Target
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap

CANAL = "spinal canal"

ROUNDING_MM = 1e-6
"""Two heights that differ by less are the same."""

UNKNOWN_SCORE = 0.5
"""The most that a part scores whose height was not found, or of which the mask of the whole ends short
[choice: nothing says whether it is in the scan, so either is as likely]."""

LEAST_INSIDE_ML = 1.0
"""Vessels inside a region count as found there from this volume on [choice: a lobe's arteries have several
ml; less is what a misplaced region, or one that leaves its vessels out, cuts off]."""


def needed_structures(targets: Iterable[Target], known: Collection[str]) -> tuple[str, ...]:
    """Names of what must be segmented: the structures asked for, and what gives the height of their parts.

    Args:
        targets: What is asked for.
        known: Names of the structures that the model knows; where the canal is among them, it is added to
            what gives a height.
    """
    asked = list(targets)
    names = [target.structure.name for target in asked]
    heights = [name for target in asked for name in target.at]
    canal = [CANAL] if heights and CANAL in known else []
    return tuple(dict.fromkeys([*names, *heights, *canal]))


def height_mm(label_map: LabelMap, names: Sequence[str]) -> tuple[float, float] | None:
    """Lowest and highest S of some structures together, at the centres of their voxels.

    Returns:
        None where one of them has no voxel.

    Raises:
        SchemeError: The label map has no label of such a name.
    """
    ends = [_height_of_one(label_map, name) for name in names]
    known = [end for end in ends if end is not None]
    if not known or len(known) < len(ends):
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def part_at(
    mask: Bool[np.ndarray, "i j k"], grid: Grid, low_mm: float, high_mm: float
) -> Bool[np.ndarray, "i j k"]:
    """The voxels of a mask whose centres lie at S (of RAS+) from `low_mm` to `high_mm`, both included."""
    i, j, k = np.ogrid[tuple(slice(size) for size in grid.shape)]
    row = grid.affine[2]
    s_mm = row[0] * i + row[1] * j + row[2] * k + row[3]
    return np.asarray(mask & (s_mm >= low_mm - ROUNDING_MM) & (s_mm <= high_mm + ROUNDING_MM))


def only_asked(
    segmentation: Segmentation, targets: Sequence[Target], regions: LabelMap | None = None
) -> Segmentation:
    """A segmentation of all that is needed, less what was not asked for: other structures, and other parts.

    A structure that is asked for in several parts has all of them under its one label; one that is asked for
    as a whole and in parts is whole.

    Args:
        segmentation: Masks and verdicts of `needed_structures`.
        targets: What is asked for.
        regions: What parts lie inside of, on the same grid, as `nomina.inference.regions` lets them pass.

    Returns:
        The same grid; a verdict for each asked structure, in the order asked; a note for each structure that
        is given in part, and for each part of a structure that is given whole.
    """
    source = segmentation.label_map
    array = np.zeros_like(source.array)
    of = {verdict.structure: verdict for verdict in segmentation.verdicts}
    verdicts: list[Verdict] = []
    notes = list(segmentation.provenance.get("notes", ()))
    asked = tuple(dict.fromkeys(target.structure.name for target in targets))
    for name in asked:
        parts = [target for target in targets if target.structure.name == name]
        mask, verdict = source.mask(name), of[name]
        if all(part.is_part for part in parts):
            mask, verdict = _parts(source, parts, of, regions)
            notes.append(f"{name} is given in part: {', '.join(part.place for part in parts)}")
        else:
            notes += [
                f"'{target}' lies within {name!r}, which was asked too; it has no value of its own"
                for target in dict.fromkeys(parts)
                if target.is_part
            ]
        array[mask] = source.value_of(name)
        verdicts.append(verdict)
    return replace(
        segmentation,
        label_map=replace(source, array=array, names={source.value_of(name): name for name in asked}),
        verdicts=tuple(verdicts),
        provenance={**segmentation.provenance, "notes": notes},
    )


def _parts(
    label_map: LabelMap, parts: Sequence[Target], of: Mapping[str, Verdict], regions: LabelMap | None
) -> tuple[Bool[np.ndarray, "i j k"], Verdict]:
    """The parts of one structure together, and the verdict on them."""
    name = parts[0].structure.name
    whole = label_map.mask(name)
    mask, missing, is_cut = np.zeros_like(whole), [], False
    for part in parts:
        if part.inside:
            place = _region(regions, part.inside)
            missing += [] if place.any() else [part.inside]
            mask |= whole & place
            is_cut |= of[name].is_partial and _touches_border(place)
        elif (ends := height_mm(label_map, part.at)) is None:
            missing += [other for other in part.at if not label_map.mask(other).any()]
        else:
            mask |= part_at(whole, label_map.grid, *ends)
    volume_ml = float(mask.sum()) * label_map.grid.voxel_volume_ml
    if all(part.inside for part in parts):
        return mask, _verdict_inside(
            of[name], [part.inside for part in parts], missing, volume_ml, is_cut=is_cut
        )
    return mask, _verdict(of[name], [of[other] for part in parts for other in part.at], missing, volume_ml)


def _region(regions: LabelMap | None, name: str) -> Bool[np.ndarray, "i j k"]:
    if regions is None:
        raise AssertionError(f"nothing gives {name}: `require_named` comes before the network runs")
    return regions.mask(name)


def _touches_border(mask: Bool[np.ndarray, "i j k"]) -> bool:
    """Whether a region goes on to an outermost plane of the scan, so that it may be cut there."""
    return any(bool(plane.any()) for axis in range(3) for plane in np.moveaxis(mask, axis, 0)[[0, -1]])


def _height_of_one(label_map: LabelMap, name: str) -> tuple[float, float] | None:
    points = label_map.grid.to_world(np.argwhere(label_map.mask(name)))
    if not len(points):
        return None
    if name.endswith(" vertebra") and CANAL in label_map.names.values():
        canal = label_map.grid.to_world(np.argwhere(label_map.mask(CANAL)))
        front = points[_in_front(points, canal)]
        points = front if len(front) else points
    return float(points[:, 2].min()), float(points[:, 2].max())


def _in_front(points: Float[np.ndarray, "n 3"], canal: Float[np.ndarray, "m 3"]) -> Bool[np.ndarray, " n"]:
    """Which points lie in front of the middle of the canal at their height; all where there is no canal."""
    low, high = points[:, 2].min(), points[:, 2].max()
    canal = canal[(canal[:, 2] >= low) & (canal[:, 2] <= high)]
    if not len(canal):
        return np.ones(len(points), dtype=bool)
    # Along 1 mm of height the canal moves less than a voxel forwards or backwards.
    floor = np.floor(canal[:, 2]).astype(int)
    heights, rows = np.unique(floor, return_inverse=True)
    middle = np.bincount(rows, weights=canal[:, 1]) / np.bincount(rows)
    return np.asarray(points[:, 1] > np.interp(points[:, 2], heights + 0.5, middle))


def _verdict(whole: Verdict, ends: Sequence[Verdict], missing: Sequence[str], volume_ml: float) -> Verdict:
    """The verdict on a structure that is asked for in part."""
    # The least of several scores is not the probability that all of them are right.
    part = replace(
        whole,
        volume_ml=volume_ml,
        is_partial=volume_ml > 0 and any(end.is_partial for end in ends),
        is_calibrated=False,
    )
    if whole.volume_ml == 0:
        # What is not in the scan is at no height of it, so no height makes this less sure.
        return replace(part, reason=f"of the whole: {whole.reason}")
    unknown = min(whole.score, UNKNOWN_SCORE)
    if missing:
        lost = ", ".join(dict.fromkeys(missing))
        reason = f"{lost} was not found, so the part of {whole.structure} at its height is not known"
        return replace(part, presence="uncertain", score=unknown, reason=reason)
    if volume_ml == 0:
        # The score of the whole says where its mask lies, not that none of the structure lies elsewhere.
        reason = "its mask does not reach the height asked for, which may be the mask's fault"
        return replace(part, presence="uncertain", score=unknown, reason=reason)
    is_doubtful = any(end.presence == "uncertain" for end in ends)
    return replace(
        part,
        presence="uncertain" if is_doubtful else whole.presence,
        score=min(whole.score, *(end.score for end in ends)),
        reason=f"{volume_ml:.1f} ml at the height asked for; of the whole: {whole.reason}",
    )


def _verdict_inside(
    whole: Verdict, places: Sequence[str], missing: Sequence[str], volume_ml: float, *, is_cut: bool
) -> Verdict:
    """The verdict on a structure that is asked for inside regions of the user's."""
    part = replace(whole, volume_ml=volume_ml, is_partial=volume_ml > 0 and is_cut, is_calibrated=False)
    if whole.volume_ml == 0:
        return replace(part, reason=f"of the whole: {whole.reason}")
    doubt = replace(part, presence="uncertain", score=min(whole.score, UNKNOWN_SCORE))
    if missing:
        # Nothing says whether it was removed, lies outside the scan, or was not segmented.
        lost = ", ".join(dict.fromkeys(missing))
        return replace(doubt, reason=f"the regions hold no {lost}, so what lies within it is not known")
    inside = f"{volume_ml:.1f} ml within {', '.join(dict.fromkeys(places))}"
    if volume_ml < LEAST_INSIDE_ML:
        reason = f"{inside}, less than {LEAST_INSIDE_ML:g} ml; see that the regions do not leave vessels out"
        return replace(doubt, reason=reason)
    return replace(part, reason=f"{inside}; of the whole: {whole.reason}")
