"""Regions: a label map of the user's that says where lobes lie, checked before the network runs.

No network here names lobes, and regions are never resampled: a border that nobody saw is not made up.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from nomina.anatomy.resolve import Target, regions_needed
from nomina.anatomy.sides import SIDES
from nomina.anatomy.structures import structure
from nomina.assessment.lung_halves import find_lungs
from nomina.errors import GridMismatchError, PromptError, SchemeError
from nomina.imaging.doctor_compare import grid_differences
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume


def require_named(targets: Iterable[Target], regions: Iterable[str] | None) -> None:
    """Refuse parts whose regions have no name in what was given, and regions that nothing asks for.

    So is what shares voxels with such a part and has a label of its own: a voxel has one label.

    Args:
        targets: What is asked for.
        regions: Names of the regions given; None: no regions are.

    Raises:
        PromptError: There are no regions and some are needed, or the reverse; or a side of a structure is
            asked for beside a part of it.
        SchemeError: A region that is asked for has no value in them.
    """
    asked = list(targets)
    needed = regions_needed(asked)
    if regions is None:
        if needed:
            raise PromptError(f"'{next(target for target in asked if target.inside)}' {needed}")
        return
    if not needed:
        raise PromptError(
            "nothing that was asked for lies within a region; leave the regions out, or ask for example for "
            "'right lower lobe arteries'"
        )
    of_parts = {target.structure.name: target for target in asked if target.inside}
    for side in (target.structure for target in asked if target.structure.part_of in of_parts):
        raise PromptError(
            f"'{of_parts[str(side.part_of)]}' and '{side.name}' share voxels, and a voxel has one label; ask "
            f"for them in two runs"
        )
    names = list(regions)
    strange = [target.inside for target in asked if target.inside and target.inside not in names]
    if strange:
        known = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise SchemeError(
            f"the regions have no value for {', '.join(dict.fromkeys(strange))}, only for {known}; give a "
            f"label map of lobes, or the scheme that it follows (`--regions-scheme`)"
        )


def on_grid(regions: LabelMap, grid: Grid) -> LabelMap:
    """Regions in the scan's axis order, whatever the order in which they are stored.

    Raises:
        GridMismatchError: They do not lie on the scan voxel by voxel; they are never resampled.
    """
    faults = [found for found in grid_differences(grid, regions.grid) if found.severity != "note"]
    if faults:
        said = " ".join(found.sentence for found in faults).replace("output", "label map")
        raise GridMismatchError(
            f"the regions do not lie on the scan: {said} Make them from this scan, or resample them onto its "
            f"grid by nearest neighbour (`nomina doctor --compare` shows what differs)"
        )
    # The grids agree to the tolerance of the comparison; from here on they are the same. As volumes, because
    # every new label map looks through all its voxels.
    stored = Volume(regions.array, regions.grid).canonical()
    scan = Volume(np.broadcast_to(np.uint8(0), grid.shape), grid).canonical()
    return replace(regions, array=Volume(stored.array, scan.grid).reoriented_like(grid).array, grid=grid)


def require_sides(regions: LabelMap, targets: Iterable[Target], volume: Volume) -> None:
    """Refuse a lobe that lies in the lung of the other side, as where the scheme is that of another version.

    Args:
        regions: On the scan's grid.
        targets: What is asked for.
        volume: A CT in HU; where no two lungs are found in it, nothing is refused.

    Raises:
        SchemeError: More of a region lies in the lung of the other side than in its own.
    """
    lungs = find_lungs(volume)
    if lungs is None:
        return
    voxels = np.argwhere(lungs.array > 0)
    in_lung = lungs.array[tuple(voxels.T)]
    at = np.rint(regions.grid.to_voxels(lungs.grid.to_world(voxels))).astype(int)
    in_region = regions.array[tuple(at.T)]
    for name in dict.fromkeys(target.inside for target in targets if target.inside):
        inside = in_lung[in_region == regions.value_of(name)]
        count = {side: int((inside == lungs.value_of(f"{side} lung")).sum()) for side in SIDES}
        own = structure(name).side
        other = next(side for side in SIDES if side != own)
        if own is not None and count[other] > count[own]:
            raise SchemeError(
                f"what the regions call {name} lies in the {other} lung of the scan: their values follow "
                f"another scheme than {regions.scheme!r}, or left and right are exchanged; give the scheme "
                f"of the program and version that made them (`nomina labels list` shows the values of each)"
            )


def values_used(regions: LabelMap, targets: Iterable[Target]) -> dict[str, Any]:
    """Plain data on where regions come from: their scheme, and the values of those that were used."""
    used = {target.inside for target in targets}
    values = {name: value for value, name in regions.names.items() if name in used}
    return {"scheme": regions.scheme, "values": values}
