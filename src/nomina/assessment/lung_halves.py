"""Lungs found in a CT, and which half of the chest each voxel lies in: the side of whatever has no side.

Everything happens on voxels of about 3 mm: sides need no more, and a chest takes a second.
"""

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from scipy import ndimage
from scipy.spatial import ConvexHull

from nomina.anatomy.structures import structure
from nomina.assessment.measurements.lungs import LEFT, OUTSIDE, RIGHT, side_of_labels
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume

COARSE_MM = 3.0
"""Voxel size at which lungs are looked for [choice]."""

LUNG_HU = (-1100.0, -400.0)
"""Air and lung tissue; lower numbers fill what the scanner did not see [choice]."""

LEAST_LUNG_ML = 150.0
"""Smaller air is stomach or bowel; a child's lung has 200 ml and more [choice]."""

OUTSIDE_AIR_HU = -940.0
"""Air that reaches the sides of the scan is a lung, cut by a tight crop, from this median on [choice]."""

DEEPEST_MM = 30.0
"""Lungs that meet in front of the heart are parted by eroding up to this far [choice: a third of a lung]."""

LEAST_APART_MM = 40.0
"""The middles of two lungs are further apart than this [choice: 120 to 150 mm in adults]."""

HULL_SLACK = 1e-6
"""Voxels on the hull itself count as inside, whatever is lost in rounding."""

MIDDLE_MM = 10.0
"""What lies between the lungs has a side when one lung is nearer than the other by this [choice]."""


def find_lungs(volume: Volume) -> LabelMap | None:
    """Both lungs by threshold, on voxels of about 3 mm; None where no two lungs are found.

    Args:
        volume: A CT in HU, in any orientation.

    Returns:
        Canonical label map with "left lung" and "right lung" in the `nomina` scheme.
    """
    canonical = volume.canonical()
    parts, array, grid = _air(canonical)
    pieces = _both_lungs(parts, array, grid)
    if pieces is None:
        return None
    places = grid.to_world(np.argwhere(pieces > 0))[:, 0]
    is_first = pieces[pieces > 0] == 1
    first_is_right = places[is_first].mean() > places[~is_first].mean()
    names = ("right lung", "left lung") if first_is_right else ("left lung", "right lung")
    labels = [structure(name).label for name in names]
    values = np.array([0, *labels], dtype=np.uint8)[pieces]
    return LabelMap(values, grid, names=dict(zip(labels, names, strict=True)), scheme="nomina")


def lung_tissue(volume: Volume) -> LabelMap | None:
    """What looks like lung on voxels of about 3 mm, be it one lung or a piece of it; None where nothing does.

    Gas in the bowel, and air around the body, are darker than a lung.

    Args:
        volume: A CT in HU, in any orientation.
    """
    parts, array, grid = _air(volume.canonical())
    is_large = np.bincount(parts.ravel()) * grid.voxel_volume_ml >= LEAST_LUNG_ML
    is_large[0] = False
    lungs = [n for n in np.flatnonzero(is_large) if np.median(array[parts == n]) >= OUTSIDE_AIR_HU]
    if not lungs:
        return None
    return LabelMap(np.isin(parts, lungs).astype(np.uint8), grid, names={1: "lung"})


def _air(canonical: Volume) -> tuple[Integer[np.ndarray, "i j k"], np.ndarray, Grid]:
    """Connected parts of what has the HU of air and lung, by number, and the scan, on coarse voxels."""
    array, grid = _strided(canonical.array, canonical.grid)
    parts, _ = ndimage.label(ndimage.binary_opening((array > LUNG_HU[0]) & (array < LUNG_HU[1])))
    return parts, array, grid


def lung_halves(lungs: LabelMap | None, like: Grid) -> UInt8[np.ndarray, "i j k"]:
    """Half of the chest of every voxel of a grid: `LEFT`, `RIGHT`, or `OUTSIDE` in the middle.

    A voxel takes the side of the lung it lies in, else that of the lung it is nearer to; where both are
    nearly as near (the trunk, the front of the spine) it has none.

    Args:
        lungs: Canonical mask with a label per lung or per lobe; None: no voxel has a side.
        like: Canonical grid with the axes of the lungs'.

    Raises:
        CaseError: The mask does not tell the lungs apart.
    """
    if lungs is None:
        return np.full(like.shape, OUTSIDE, dtype=np.uint8)
    side_of = side_of_labels(lungs)
    array, grid = _strided(lungs.array, lungs.grid)
    gaps_mm = {}
    for side in (LEFT, RIGHT):
        mask = np.isin(array, [value for value, its in side_of.items() if its == side])
        gaps_mm[side] = ndimage.distance_transform_edt(~mask, sampling=grid.spacing_mm)
    halves = np.full(grid.shape, OUTSIDE, dtype=np.uint8)
    for side, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
        own, far = gaps_mm[side], gaps_mm[other]
        halves[(own == 0) | (own + MIDDLE_MM < far)] = side
    return _onto(halves, grid, like)


def near_lungs(lungs: LabelMap, like: Grid, within_mm: float) -> Bool[np.ndarray, "i j k"]:
    """Whether each voxel of a canonical grid lies in the lungs or within `within_mm` of them."""
    array, grid = _strided(lungs.array, lungs.grid)
    gaps_mm = ndimage.distance_transform_edt(array == 0, sampling=grid.spacing_mm)
    return _onto((gaps_mm <= within_mm).astype(np.uint8), grid, like).astype(bool)


def around_lungs(lungs: LabelMap, like: Grid, within_mm: float) -> Bool[np.ndarray, "i j k"]:
    """Whether each voxel lies in, between or within `within_mm` of the lungs, where their vessels can be.

    Between them is the convex hull of both in each axial plane: with heart, hilum and trunk, without ribs,
    sternum and muscles of the back.

    Args:
        lungs: Canonical mask of the lungs.
        like: Canonical grid that the answer is for.
        within_mm: Room around the lungs.
    """
    array, grid = _strided(lungs.array, lungs.grid)
    inside = ndimage.distance_transform_edt(array == 0, sampling=grid.spacing_mm) <= within_mm
    plane = np.indices(array.shape[:2]).reshape(2, -1)
    for k in range(array.shape[2]):
        places = np.argwhere(array[:, :, k] != 0)
        if len(places) >= 3:
            # QJ: voxels in one row have a hull too, next to nothing wide.
            sides = ConvexHull(places, qhull_options="QJ").equations
            is_in = (sides[:, :2] @ plane + sides[:, 2:] <= HULL_SLACK).all(axis=0)
            inside[:, :, k] |= is_in.reshape(array.shape[:2])
    return _onto(inside.astype(np.uint8), grid, like).astype(bool)


def lung_box(lungs: LabelMap, like: Grid, margin_mm: float) -> tuple[slice, slice, slice]:
    """The part of a canonical grid that holds the lungs and `margin_mm` around them, along its axes.

    Args:
        lungs: Canonical mask of the lungs.
        like: The grid, with the axes of the lungs'.
        margin_mm: Room on each side, as far as the grid reaches.
    """
    found = np.argwhere(lungs.array != 0)
    corners = lungs.grid.to_world(np.stack([found.min(axis=0) - 0.5, found.max(axis=0) + 0.5]))
    margin = margin_mm / np.array(like.spacing_mm)
    low, high = like.to_voxels(corners) + np.array([-margin, margin])
    start = np.clip(np.floor(low), 0, None).astype(int)
    stop = np.minimum(np.ceil(high) + 1, like.shape).astype(int)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return i, j, k


def _strided(array: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    """Every n-th voxel along each axis, about `COARSE_MM` apart."""
    steps = [max(1, round(COARSE_MM / spacing_mm)) for spacing_mm in grid.spacing_mm]
    coarse = np.ascontiguousarray(array[:: steps[0], :: steps[1], :: steps[2]])
    affine = grid.affine.copy()
    affine[:3, :3] *= steps
    return coarse, Grid(coarse.shape, affine)


def _both_lungs(
    parts: Integer[np.ndarray, "i j k"], array: np.ndarray, grid: Grid
) -> UInt8[np.ndarray, "i j k"] | None:
    """The two lungs as 1 and 2, in either order; None where no two parts can be that."""
    for is_crop in (False, True):
        lungs = np.where(_is_lung(parts, array, grid, is_crop=is_crop)[parts], parts, 0)
        pieces = _two_pieces(lungs, grid)
        if pieces is not None and _are_side_by_side(pieces, grid):
            return pieces
    return None


def _is_lung(
    parts: Integer[np.ndarray, "i j k"], array: np.ndarray, grid: Grid, *, is_crop: bool
) -> Bool[np.ndarray, " parts"]:
    """Which parts of the air are lungs: large, and away from the scan's sides unless it is a tight crop."""
    is_lung = np.bincount(parts.ravel()) * grid.voxel_volume_ml >= LEAST_LUNG_ML
    is_lung[0] = False
    for part in np.flatnonzero(is_lung):
        at_sides = any((face == part).any() for face in (parts[0], parts[-1], parts[:, 0], parts[:, -1]))
        if at_sides and not (is_crop and np.median(array[parts == part]) >= OUTSIDE_AIR_HU):
            is_lung[part] = False
    return is_lung


def _are_side_by_side(pieces: UInt8[np.ndarray, "i j k"], grid: Grid) -> bool:
    """Whether two pieces can be the two lungs: apart along R more than along any other axis."""
    first, second = (np.argwhere(pieces == piece).mean(axis=0) for piece in (1, 2))
    apart_mm = np.abs(first - second) * grid.spacing_mm
    return bool(apart_mm[0] >= LEAST_APART_MM and apart_mm[0] == apart_mm.max())


def _two_pieces(parts: Integer[np.ndarray, "i j k"], grid: Grid) -> UInt8[np.ndarray, "i j k"] | None:
    """The two lungs as 1 and 2; lungs that meet in front of the heart are parted by erosion."""
    whole = parts > 0
    seeds = parts
    for _ in range(round(DEEPEST_MM / min(grid.spacing_mm))):
        sizes = np.bincount(seeds.ravel())
        sizes[0] = 0
        first, second = (int(part) for part in np.argsort(sizes)[::-1][:2]) if len(sizes) > 2 else (0, 0)
        if second and sizes[second] >= 0.2 * sizes[first]:
            return _nearest_seed(whole, seeds, (first, second))
        if not sizes.any():
            return None
        seeds, _ = ndimage.label(ndimage.binary_erosion(seeds > 0))
    return None


def _nearest_seed(
    whole: Bool[np.ndarray, "i j k"], seeds: Integer[np.ndarray, "i j k"], two: tuple[int, int]
) -> UInt8[np.ndarray, "i j k"]:
    """Every voxel of the lungs under the number of the seed nearest to it, 1 or 2."""
    gaps: list[Float[np.ndarray, "i j k"]] = [ndimage.distance_transform_edt(seeds != seed) for seed in two]
    return np.where(whole, np.where(gaps[0] <= gaps[1], 1, 2), 0).astype(np.uint8)


def _onto(array: UInt8[np.ndarray, "i j k"], source: Grid, target: Grid) -> UInt8[np.ndarray, "i2 j2 k2"]:
    """Nearest neighbour between parallel grids; the border goes on outside."""
    indices = []
    for axis, size in enumerate(target.shape):
        voxels = np.zeros((size, 3))
        voxels[:, axis] = np.arange(size)
        nearest = np.rint(source.to_voxels(target.to_world(voxels))[:, axis]).astype(int)
        indices.append(nearest.clip(0, source.shape[axis] - 1))
    return array[np.ix_(*indices)]
