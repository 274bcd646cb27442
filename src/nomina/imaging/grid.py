"""Where voxels are: `Grid` is a shape and an affine to RAS+ millimetres."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Num

from nomina.errors import VolumeError

SHEAR_TOLERANCE = 1e-3
"""Largest |cosine| between two voxel axes that still counts as a right angle (0.06 degrees)."""

AFFINE_TOLERANCE_MM = 1e-3
"""Two grids are the same when no corner of their field of view differs by more than this."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape and affine of a 3D array.

    `affine` maps homogeneous voxel indices (i, j, k, 1) of voxel *centres* to RAS+ millimetres: x grows
    to the patient's right, y to anterior, z to superior (as in NIfTI).

    Raises:
        VolumeError: The shape is not 3D or empty, or the affine is not finite, is singular or sheared.
    """

    shape: tuple[int, int, int]
    """Number of voxels along i, j, k."""
    affine: Float[np.ndarray, "4 4"]
    """Voxel index to RAS+ mm."""

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise VolumeError(
                f"a volume needs three axes of at least 1 voxel, got shape {shape}",
                code="not-three-dimensional",
            )
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise VolumeError(
                f"the affine must be a finite 4×4 matrix, got {affine.tolist()}", code="bad-affine"
            )
        if not np.allclose(affine[3], (0, 0, 0, 1)):
            raise VolumeError(
                f"the affine's last row must be 0 0 0 1, got {affine[3].tolist()}", code="bad-affine"
            )
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if spacing.min() <= 1e-6:
            raise VolumeError(
                f"voxel spacing must be positive along every axis, got {spacing.round(6).tolist()} mm; "
                f"correct the header before use",
                code="bad-spacing",
            )
        directions = affine[:3, :3] / spacing
        cosines = np.abs(directions.T @ directions - np.eye(3))
        if cosines.max() > SHEAR_TOLERANCE:
            raise VolumeError(
                f"the affine is sheared (axes meet at a cosine of {cosines.max():.3f}, expected 0), as after "
                f"gantry tilt; resample the scan to a rectangular grid first",
                code="sheared",
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along i, j, k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @cached_property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @cached_property
    def orientation(self) -> str:
        """Nearest anatomical direction that each axis points *to*, e.g. "RAS" or "LPS"."""
        return "".join(
            "RAS"[axis] if sign > 0 else "LPI"[axis] for axis, sign in _axis_directions(self.affine)
        )

    def to_world(self, voxels: Num[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Voxel indices (may be fractional) to RAS+ mm."""
        return np.asarray(voxels, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_voxels(self, world_mm: Num[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """RAS+ mm to fractional voxel indices."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(world_mm, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3]

    def matches(self, other: "Grid") -> bool:
        """True when both grids have the same shape and put every corner at the same place."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0.0, size - 1.0) for size in self.shape])).reshape(3, -1).T
        gap = np.abs(self.to_world(corners) - other.to_world(corners)).max()
        return bool(gap <= AFFINE_TOLERANCE_MM)

    def cropped(self, box: tuple[slice, ...]) -> "Grid":
        """The grid of a box of voxels, each of which keeps its place in the world.

        Args:
            box: Half-open range of voxel indices along i, j, k; `slice(None)` for all of an axis.

        Raises:
            VolumeError: The box is empty, leaves voxels out, or has not three ranges.
        """
        if len(box) != 3:
            raise VolumeError(f"a box has 3 ranges, one along each axis, got {len(box)}")
        ranges = [range(*side.indices(size)) for side, size in zip(box, self.shape, strict=True)]
        if any(side.step != 1 for side in ranges):
            raise VolumeError(f"a box holds every voxel between its ends, got {box}; give no step")
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [side.start for side in ranges]
        i, j, k = map(len, ranges)
        return Grid((i, j, k), affine)

    def __str__(self) -> str:
        spacing = "×".join(f"{s:.3g}" for s in self.spacing_mm)
        return f"{self.shape} @ {spacing} mm {self.orientation}"


def canonical_axes(affine: Float[np.ndarray, "4 4"]) -> tuple[tuple[int, int, int], tuple[bool, ...]]:
    """How to bring an array to RAS order.

    Returns:
        `order`: `array.transpose(order)` has its axes nearest to (right, anterior, superior);
        `flips`: for each axis *after* the transpose, whether it must be reversed.
    """
    directions = _axis_directions(affine)
    world_axes = [axis for axis, _ in directions]
    order = (world_axes.index(0), world_axes.index(1), world_axes.index(2))
    flips = tuple(directions[source][1] < 0 for source in order)
    return order, flips


def reoriented_affine(
    affine: Float[np.ndarray, "4 4"],
    shape: tuple[int, int, int],
    order: tuple[int, int, int],
    flips: tuple[bool, ...],
) -> Float[np.ndarray, "4 4"]:
    """Affine of `flip(array.transpose(order))`, so that every voxel keeps its place in the world."""
    result = np.eye(4)
    result[:3, 3] = affine[:3, 3]
    for target, (source, flip) in enumerate(zip(order, flips, strict=True)):
        column = affine[:3, source]
        result[:3, target] = -column if flip else column
        if flip:
            result[:3, 3] += column * (shape[source] - 1)
    return result


def _axis_directions(affine: Float[np.ndarray, "4 4"]) -> list[tuple[int, int]]:
    """For each voxel axis: the world axis it follows best, and the sign; each world axis is used once."""
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    result: list[tuple[int, int]] = [(0, 1)] * 3
    remaining = np.abs(cosines)
    for _ in range(3):
        world, voxel = (int(n) for n in np.unravel_index(np.argmax(remaining), (3, 3)))
        result[voxel] = (world, 1 if cosines[world, voxel] > 0 else -1)
        remaining[world, :] = -1
        remaining[:, voxel] = -1
    return result
