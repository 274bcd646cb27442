"""The files of a `Case` → a scan and its label map, checked.

Whatever reads labelled cases goes through `read_case`: what is not said in words here would be trained on.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, UInt8

from nomina.anatomy.schemes import read_label_map
from nomina.assessment.scheme_check import check_label_map
from nomina.errors import CaseError
from nomina.imaging.grid import Grid
from nomina.imaging.read import read_label_array, read_volume
from nomina.imaging.resample import resample_volume
from nomina.imaging.volume import LabelMap, Volume
from nomina.learning.annotated import annotation_faults
from nomina.learning.cases import Case

OVERLAP = 255
"""Label value of voxels that two mask files claim; neither background nor a structure."""

MAX_OVERLAP = 0.05
"""Share of the smaller mask that another may claim too [choice: HiPaS overlaps in 1 to 2 percent]."""


def read_case(case: Case) -> tuple[Volume, LabelMap]:
    """Scan and label map of a case, each in its own file's axis order.

    Raises:
        CaseError: A file is missing, the label map does not follow its scheme, or a structure that is said to
            be annotated is empty while its counterpart is not.
        NominaError: A file cannot be read.
    """
    for what, path in (
        ("scan", case.volume_path),
        ("label map", case.label_map_path),
        *(("file", path) for path in case.more_paths),
    ):
        if not path.is_file():
            raise CaseError(f"{what} is missing: expected {path}")
    volume, label_map = read_pair(case) if case.load is None else case.load(case)
    faults = (*check_label_map(label_map), *annotation_faults(label_map, case.annotated, volume))
    if faults:
        raise CaseError("; ".join(faults))
    return volume, label_map


def read_pair(case: Case) -> tuple[Volume, LabelMap]:
    """The scan and the label map of a case as they are stored, unchecked."""
    volume = read_volume(case.volume_path)
    if case.labels is None:
        return volume, read_label_map(case.label_map_path, scheme=case.scheme)
    array, grid = read_label_array(case.label_map_path)
    names = {value: name for name, value in case.labels.items()}
    return volume, LabelMap(array, grid, names=names, scheme=case.scheme)


def on_label_grid(volume: Volume, label_map: LabelMap) -> Volume:
    """A scan brought onto the grid of its label map, which may be a resampled crop of it.

    Linear between voxel centres, as nothing else is known about how the label map's own grid was made.

    Raises:
        CaseError: Labelled voxels lie outside the scan.
    """
    labelled = np.argwhere(label_map.array != 0)
    at = volume.grid.to_voxels(label_map.grid.to_world(labelled))
    outside = int(((at < -0.5) | (at > np.array(volume.grid.shape) - 0.5)).any(axis=1).sum())
    if outside:
        raise CaseError(
            f"{outside} of {len(labelled)} labelled voxels lie outside the scan, so the label map belongs to "
            f"another one, or a header is wrong; download both again"
        )
    moved = resample_volume(volume, label_map.grid)
    note = "Resampled onto the grid of its label map."
    return replace(moved, notes=(*moved.notes, note))


def joined_masks(
    masks: Mapping[str, Bool[np.ndarray, "i j k"]], grid: Grid, scheme: str
) -> tuple[LabelMap, int]:
    """One label map from a binary mask per structure, numbered from 1 in the order given.

    Voxels that several masks claim become `OVERLAP`, which is ignored: nothing tells which mask is right.

    Returns:
        The label map, and how many voxels are claimed more than once.

    Raises:
        CaseError: The masks overlap in more than `MAX_OVERLAP` of the smallest.
    """
    claims = np.zeros(grid.shape, dtype=np.uint8)
    array: UInt8[np.ndarray, "i j k"] = np.zeros(grid.shape, dtype=np.uint8)
    for value, mask in enumerate(masks.values(), start=1):
        array[mask] = value
        claims += mask
    num_twice = int((claims > 1).sum())
    smallest = min(int(mask.sum()) for mask in masks.values())
    if num_twice > MAX_OVERLAP * smallest:
        raise CaseError(
            f"{num_twice} voxels belong to several of the masks {', '.join(masks)}, more than "
            f"{MAX_OVERLAP:.0%} of the smallest ({smallest} voxels); decide for each of them, or leave the "
            f"case out"
        )
    array[claims > 1] = OVERLAP
    names = dict(enumerate(masks, start=1))
    return LabelMap(array, grid, names=names, scheme=scheme, ignored=frozenset({OVERLAP})), num_twice


def on_one_grid(case: Case) -> tuple[Volume, LabelMap]:
    """The scan resampled onto the label map's grid, and the label map: for `Case.load`."""
    volume, label_map = read_pair(case)
    return on_label_grid(volume, label_map), label_map
