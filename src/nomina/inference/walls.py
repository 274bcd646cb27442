"""Walls: a vertebral body ends in a dark line in front and behind; what fills a gap between discs does not.

Cortex and ligament give no signal on any MR contrast. Where a vertebra is missing between its discs, a
network that has learnt that one lies there draws one, and is as sure of it as of its neighbours; the picture
shows that no bone ends where its mask does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from scipy import ndimage

from nomina.assessment.spine_levels import spine_kind

WALL_DEPTH = 0.4
"""A line crosses a wall where the signal falls by this share of the dimmer side and rises again [choice: 0.25
finds walls in the texture of what surrounds the column]."""

REACH_MM = 1.5
"""The wall lies so near to the border of the mask [choice: masks of training patients end within 1 mm] ..."""

BESIDE_MM = 4.5
"""... and what lies on its two sides is looked for so far from it [choice: walls are 1 to 3 mm thick]."""

STEP_MM = 0.5
"""Sampling along a line [choice: finer than a voxel of most scans]."""

ALONG_MM = 3.0
"""Lines are averaged over so much of the wall's height, against noise [choice]."""

MIDDLE_PERCENT = (25.0, 75.0)
"""Lines cross this range of a body's height, away from the rims of its endplates [choice]."""

MIN_AREA_SHARE = 0.5
"""Slices that show less of a body, against the one that shows most, are its sides [choice]."""

MIN_LINES = 10
"""Fewer lines say nothing of a wall [choice: a whole body has hundreds]."""

OPEN_SHARE = 0.5
"""A body is open where its walls show less than this share of what the others' show [choice: of phantoms with
a vertebra left out (seeds from 4000) and of training patients with one painted over, what is drawn there
shows 0.43 at most; vertebrae that are there, but for the highest, show 0.55 and more, 0.61 with patients]."""

LEAST_SHOWN = 0.25
"""A scan whose walls show less is too coarse, blurred or noisy to miss those of one body [choice]."""

MIN_OTHERS = 2
"""So many other vertebrae, at least, say what walls look like in a scan [choice]."""

_PLACES_MM = np.arange(-(REACH_MM + BESIDE_MM), REACH_MM + BESIDE_MM + STEP_MM / 2, STEP_MM)
"""Along a line from inside a body to outside, 0 at the border of its mask."""


@dataclass(frozen=True)
class Walls:
    """How much of a vertebral body's wall shows as a dark line."""

    front: float
    """Share of the lines across its front that cross one."""
    back: float
    """Share of the lines across its back, towards the canal."""

    @property
    def shown(self) -> float:
        """How much of both shows."""
        return (self.front + self.back) / 2


def open_bodies(walls: Mapping[str, Walls]) -> dict[str, tuple[float, float]]:
    """Vertebrae whose bodies end in no wall, though those of the others do.

    Args:
        walls: Of each vertebra of one scan that is to show them.

    Returns:
        How much of its walls shows, and the median of the others'.
    """
    found = {}
    for name, own in walls.items():
        others = [other.shown for other_name, other in walls.items() if other_name != name]
        if len(others) < MIN_OTHERS:
            continue
        usual = float(np.median(others))
        if usual >= LEAST_SHOWN and own.shown < OPEN_SHARE * usual:
            found[name] = (own.shown, usual)
    return found


def body_walls(
    image: Shaped[np.ndarray, "i j k"],
    classes: UInt8[np.ndarray, "i j k"],
    structures: Sequence[str],
    spacing_mm: tuple[float, float, float],
) -> dict[str, Walls]:
    """The walls of each vertebra whose body shows; empty where no canal tells bodies from arches.

    Args:
        image: The scan on canonical (RAS) axes; any unit.
        classes: Class of each voxel on the same grid.
        structures: Names of classes 1…n−1.
        spacing_mm: Voxel size along R, A, S.
    """
    if "spinal canal" not in structures:
        return {}
    canal = (classes == structures.index("spinal canal") + 1).any(axis=0)
    rows = np.flatnonzero(canal.any(axis=0))
    if not len(rows):
        return {}
    places = np.arange(canal.shape[0])
    known = (canal[:, rows] * places[:, None]).sum(axis=0) / canal[:, rows].sum(axis=0)
    middle = np.interp(np.arange(canal.shape[1]), rows, known)
    walls = {}
    for index, box in enumerate(ndimage.find_objects(classes), start=1):
        if box is None or index > len(structures) or spine_kind(structures[index - 1]) != "vertebra":
            continue
        body = (classes[box] == index) & (places[box[1]][:, None] > middle[box[2]])
        slab = (box[0], slice(None), box[2])
        lines = [_lines(image[slab], body, box[1].start, spacing_mm, side) for side in ("front", "back")]
        if min(map(len, lines)) >= MIN_LINES:
            walls[structures[index - 1]] = Walls(*(float(_is_walled(found).mean()) for found in lines))
    return walls


def _lines(
    image: Shaped[np.ndarray, "i all k"],
    body: Bool[np.ndarray, "i j k"],
    first: int,
    spacing_mm: tuple[float, float, float],
    side: str,
) -> Float[np.ndarray, "n places"]:
    """Signal along the lines from the inside of a body over its front or its back.

    Args:
        image: The scan over the slices and rows of `body`, whole from front to back.
        body: The body's voxels, from `first` on along A.
        first: See `body`.
        spacing_mm: Voxel size along R, A, S.
        side: "front" or "back".
    """
    areas = body.sum(axis=(1, 2))
    found = []
    for index in np.flatnonzero(areas >= max(1.0, MIN_AREA_SHARE * areas.max(initial=0))):
        found += list(_lines_of_slice(image[index], body[index], first, spacing_mm, side))
    return np.array(found).reshape(-1, len(_PLACES_MM))


def _lines_of_slice(
    plane: Shaped[np.ndarray, "all k"],
    body: Bool[np.ndarray, "j k"],
    first: int,
    spacing_mm: tuple[float, float, float],
    side: str,
) -> Iterator[Float[np.ndarray, " places"]]:
    low, high = np.percentile(np.nonzero(body)[1], MIDDLE_PERCENT).astype(int)
    columns = [row for row in range(low, high + 1) if body[:, row].any()]
    lines = []
    for row in columns:
        inside = np.flatnonzero(body[:, row]) + first
        border, outwards = (inside[-1] + 0.5, 1) if side == "front" else (inside[0] - 0.5, -1)
        where = border + outwards * _PLACES_MM / spacing_mm[1]
        lines.append(np.interp(where, np.arange(len(plane)), plane[:, row].astype(np.float32)))
    half = max(1, round(ALONG_MM / 2 / spacing_mm[2]))
    smooth = ndimage.uniform_filter1d(np.array(lines), 2 * half + 1, axis=0)
    # Neighbouring averages share most of their rows; the outermost ones would repeat the end.
    yield from smooth[half : len(smooth) - half : half]


def _is_walled(lines: Float[np.ndarray, "n places"]) -> Bool[np.ndarray, " n"]:
    """Which lines cross a dark wall: lower near the border than the inside and than what follows outside."""
    near = np.abs(_PLACES_MM) <= REACH_MM
    darkest = np.flatnonzero(near)[lines[:, near].argmin(axis=1)]
    reach = round(BESIDE_MM / STEP_MM)
    beside = darkest[:, None] + np.arange(reach + 1)
    rows = np.arange(len(lines))[:, None]
    inside = np.median(lines[rows, beside - reach], axis=1)
    outside = lines[rows, beside].max(axis=1)
    lowest = lines[rows[:, 0], darkest]
    return np.asarray(lowest < (1 - WALL_DEPTH) * np.minimum(inside, outside))
