"""Blood volume of pulmonary arteries and veins, in all and in small vessels (BV5), per lung.

**One algorithm.** BV5 of healthy people is 2 % to 62 % of the vessel volume, depending on the method
(Chest Imaging Platform's scale-space particles, opening by a ball, sections along the centreline, and on how
small the vessels of the mask are). So there is one method here, numbers made with another are not comparable,
and cut-offs from the literature do not apply.

1. Every voxel of a tree goes to the point of its centreline whose inscribed ball it lies deepest in.
2. The section at a point is volume over length: of the voxels that went to points of its branch within
   `WINDOW_MM`, over the length of those points. Points that lie inside a wider vessel (the first stretch of a
   twig) and those within 1.5 radii of a free end (which is rounded) are left out of both and take the section
   of the nearest that is not. A branch without any other point takes π r² with the distance to the wall as r.
3. A voxel's blood is in a vessel of less than 5 mm², of 5 to 10 or of 10 mm² and more by the section at its
   point. The three add up to the volume of the tree.

Volume over length, unlike π r² with a distance transform's r, does not depend on where the axis falls between
voxels: on tubes of 4 to 30 mm² at any angle it is right within 10 % on a 0.7 mm grid
(tests/assessment/measurements/test_lung_vessels.py), where π r² errs by up to half.

**Bias and limits.** At a fork, voxels of the twig near its origin count as the wider vessel's. A vessel of
2 mm whose mask is a voxel of 0.7 mm too thick all around has three times its section: BV5 depends on how
generous the mask is. Grids coarser than `MAX_SPACING_MM` give `nan`: a vessel of 5 mm² is 2.5 mm wide.
The diameter of the pulmonary trunk is not measured: a mask does not say where the trunk ends, and many masks
stop at the hilum.
"""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Integer

from nomina.anatomy.schemes import partly_visible, present_values
from nomina.assessment.artery_vein import nearest_points
from nomina.assessment.measurements.lungs import LEFT, OUTSIDE, RIGHT, lung_sides
from nomina.assessment.measurements.measurement import PARTIAL, Measurement
from nomina.assessment.tree_mask import WHOLE, Tree, tree_mask, tree_of, tree_sides
from nomina.assessment.vessel_tree import Branch, VesselGraph, vessel_graph
from nomina.imaging.volume import LabelMap

SECTION_LIMITS_MM2 = (5.0, 10.0)
"""Sections that part small, middle and large vessels (San José Estépar et al., Chest 143:1539-1548, 2013)."""

WINDOW_MM = 5.0
"""Half length of the piece of branch that a section is taken over [choice: the whole is four diameters of a
5 mm² vessel, so that the steps of the wall average out; most branches are about as long]."""

END_RADII = 1.5
"""Stretch at a free end that no section is taken from, in radii [choice: the rounded end and half a ball]."""

MAX_SPACING_MM = 1.25
"""Coarsest grid for BV5 [choice: half the diameter of a 5 mm² vessel]."""

BLOOD = ("bv5_ml", "bv5_10_ml", "bv10_ml")
"""Quantities by section: below 5 mm², 5 to 10 mm², 10 mm² and more."""

IN_WORDS: Mapping[Tree, str] = {"artery": "arteries", "vein": "veins"}
"""What reasons call the trees."""

PLACES: Mapping[str, tuple[int, ...]] = {
    "total": (LEFT, RIGHT, OUTSIDE),
    "left lung": (LEFT,),
    "right lung": (RIGHT,),
    "outside the lungs": (OUTSIDE,),
}


def measure_lung_vessels(label_map: LabelMap, lungs: LabelMap | None = None) -> tuple[Measurement, ...]:
    """Volumes, artery-vein ratio and blood by section, in total and per lung.

    For each tree: `volume_ml`, `bv5_ml`, `bv5_10_ml`, `bv10_ml` and `bv5_share` (of the volume); for arteries
    also `artery_vein_ratio`, their volume over that of the veins, where the map shows the same sides of both.
    A tree of which a structure is marked as only partly visible gets a reason instead of values.

    Args:
        label_map: Holds arteries or veins; which structures are a tree, `nomina.assessment.tree_mask` says.
        lungs: Label map of the lungs or lobes on the same grid; without it there are totals only.

    Raises:
        GridMismatchError: The lungs lie on another grid.
        CaseError: The lung mask does not tell the lungs apart.
    """
    label_map = label_map.canonical()
    lungs = lungs.canonical() if lungs is not None else None
    too_coarse = max(label_map.grid.spacing_mm) > MAX_SPACING_MM
    volumes: dict[tuple[str, str], float] = {}
    results: list[Measurement] = []
    cut = _cut_trees(label_map)
    known = cut | {tree_of(name) for name in label_map.names.values()}
    for tree, structure in WHOLE.items():
        if tree not in known:
            continue
        if tree in cut:
            for place in ("total",) if lungs is None else PLACES:
                volumes[structure, place] = math.nan
                quantities = ("volume_ml", *BLOOD, "bv5_share")
                results += [Measurement.missing(structure, q, PARTIAL, place) for q in quantities]
            continue
        mask = tree_mask(label_map, tree)
        voxels = np.argwhere(mask)
        sides = None if lungs is None else lung_sides(voxels, lungs, like=label_map)
        sections = None if too_coarse else voxel_sections_mm2(mask, voxels, label_map.grid.spacing_mm)
        for place in ("total",) if sides is None else PLACES:
            here = np.ones(len(voxels), dtype=bool) if sides is None else np.isin(sides, PLACES[place])
            volumes[structure, place] = float(here.sum()) * label_map.grid.voxel_volume_ml
            results.append(Measurement(structure, "volume_ml", volumes[structure, place], place))
            results += _blood(
                structure, place, None if sections is None else sections[here], label_map.grid.voxel_volume_ml
            )
    return (*results, *_ratios(volumes, {tree: tree_sides(label_map, tree) for tree in WHOLE}))


def voxel_sections_mm2(
    mask: Bool[np.ndarray, "i j k"],
    voxels: Integer[np.ndarray, "n 3"],
    spacing_mm: tuple[float, float, float],
) -> Float[np.ndarray, " n"]:
    """For each voxel of a tree the section of its vessel; the algorithm is on top of this file."""
    if not len(voxels):
        return np.zeros(0)
    graph = vessel_graph(mask, spacing_mm=spacing_mm)
    points = nearest_points(graph, voxels)
    volumes_mm3 = np.bincount(points, minlength=len(graph.voxels)) * float(np.prod(spacing_mm))
    is_own = graph.branch_indices[nearest_points(graph, graph.voxels)] == graph.branch_indices
    sections = np.concatenate(
        [
            _branch_sections_mm2(branch, volumes_mm3[at], is_own[at])
            for branch, at in zip(graph.branches, _slices(graph), strict=True)
        ]
    )
    return sections[points]


def _branch_sections_mm2(
    branch: Branch, volumes_mm3: Float[np.ndarray, " n"], is_own: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Section at each point of a branch."""
    lengths_mm = branch.point_lengths_mm
    place_mm = np.cumsum(lengths_mm)
    counts = is_own.copy()
    # At a free end, of the branch or of the whole tree, the last whole ball collects the rounded end.
    rounded_mm = END_RADII * branch.radius_mm
    if branch.is_end:
        counts &= place_mm < place_mm[-1] - rounded_mm
    if branch.parent < 0:
        counts &= place_mm > rounded_mm
    if not (lengths_mm[counts] > 0).any():
        return math.pi * branch.radii_mm**2
    along_mm = place_mm[counts]
    volume_mm3 = np.concatenate([[0.0], np.cumsum(volumes_mm3[counts])])
    length_mm = np.concatenate([[0.0], np.cumsum(lengths_mm[counts])])
    first = np.searchsorted(along_mm, along_mm - WINDOW_MM)
    last = np.searchsorted(along_mm, along_mm + WINDOW_MM, side="right")
    measured = (volume_mm3[last] - volume_mm3[first]) / (length_mm[last] - length_mm[first])
    return np.interp(np.arange(len(lengths_mm)), np.flatnonzero(counts), measured)


def _slices(graph: VesselGraph) -> list[slice]:
    ends = np.cumsum([len(branch.voxels) for branch in graph.branches])
    return [slice(end - len(b.voxels), end) for b, end in zip(graph.branches, ends, strict=True)]


def _cut_trees(label_map: LabelMap) -> set[Tree | None]:
    """Trees of which a structure is only partly visible.

    Values that a scheme keeps for that also mark branches too thin for the grid (`nomina`: 241 to 247). Where
    the structure's own value is there as well, that is what they are.
    """
    own = set(present_values(label_map.array)) & set(label_map.names) - label_map.ignored
    whole = {label_map.names[value] for value in own}
    return {tree_of(name) for name in partly_visible(label_map).values() if name not in whole}


def _blood(
    structure: str, place: str, sections_mm2: Float[np.ndarray, " n"] | None, voxel_ml: float
) -> list[Measurement]:
    quantities = (*BLOOD, "bv5_share")
    if sections_mm2 is None:
        reason = f"the grid is coarser than {MAX_SPACING_MM} mm: vessels of 5 mm² are two voxels wide or less"
        return [Measurement.missing(structure, quantity, reason, place) for quantity in quantities]
    bins = np.bincount(np.digitize(sections_mm2, SECTION_LIMITS_MM2), minlength=3) * voxel_ml
    results = [Measurement(structure, q, float(ml), place) for q, ml in zip(BLOOD, bins, strict=True)]
    if not bins.sum():
        return [*results, Measurement.missing(structure, "bv5_share", "there is no such vessel here", place)]
    return [*results, Measurement(structure, "bv5_share", float(bins[0] / bins.sum()), place)]


def _ratios(
    volumes: Mapping[tuple[str, str], float], sides: Mapping[Tree, frozenset[str]]
) -> list[Measurement]:
    results = []
    for (structure, place), volume_ml in volumes.items():
        if structure != WHOLE["artery"]:
            continue
        veins_ml = volumes.get((WHOLE["vein"], place), 0.0)
        if math.isnan(volume_ml) or math.isnan(veins_ml):
            reason = PARTIAL if math.isnan(volume_ml) else f"{WHOLE['vein']}: {PARTIAL}"
            results.append(Measurement.missing(structure, "artery_vein_ratio", reason, place))
        elif veins_ml and volume_ml and (reason := _other_sides(sides, place)):
            results.append(Measurement.missing(structure, "artery_vein_ratio", reason, place))
        elif veins_ml and volume_ml:
            results.append(Measurement(structure, "artery_vein_ratio", volume_ml / veins_ml, place))
        else:
            what = IN_WORDS["vein" if volume_ml else "artery"]
            reason = f"there are no {what} here"
            results.append(Measurement.missing(structure, "artery_vein_ratio", reason, place))
    return results


def _other_sides(sides: Mapping[Tree, frozenset[str]], place: str) -> str:
    """Why arteries and veins of a place cannot be compared; empty where the map shows the same sides."""
    asked = {"left lung": {"left"}, "right lung": {"right"}}.get(place, {"left", "right"})
    if sides["artery"] & asked == sides["vein"] & asked:
        return ""
    return "; ".join(
        f"{what}: only the {next(iter(sides[tree]))} side is in the map"
        if sides[tree]
        else f"{what}: neither side is in the map"
        for tree, what in IN_WORDS.items()
        if len(sides[tree]) < 2
    )
