"""The thorax as signed distances: rib cage, diaphragm, mediastinum, lungs and fissures.

The profile along the body axis was measured on one CT of an adult in inspiration and rounded; depths of the
fissures and the shape of the diaphragm follow what its lobe masks show. All of it scales.
Coordinates: RAS+ mm, zero in front of the fourth thoracic vertebra, 7 mm above the carina.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nomina.phantoms.lung_growth import Push
from nomina.phantoms.lung_lattice import Lattice, as_distance
from nomina.phantoms.lung_plan import ThoraxShape
from nomina.phantoms.lung_solids import Solid, union_distance
from nomina.phantoms.shapes import Field, blend_max, blend_min

PROFILE_MM = np.array(
    [
        # height, half width, back, front
        (-225, 134, -76, 96),
        (-180, 137, -84, 100),
        (-148, 139, -88, 103),
        (-118, 136, -90, 103),
        (-88, 132, -92, 102),
        (-58, 127, -91, 100),
        (-28, 123, -86, 92),
        (2, 117, -78, 82),
        (17, 112, -72, 75),
        (32, 104, -66, 66),
        (47, 93, -60, 55),
        (62, 80, -54, 38),
        (77, 63, -45, 22),
        (90, 42, -34, 8),
        (100, 14, -20, -6),
    ],
    dtype=float,
)
"""Inner surface of the rib cage: half width, back and front at each height [measured on one CT]."""

SPINE_FRONT_MM = np.array(
    [
        (-225, -20),
        (-180, -23),
        (-150, -28),
        (-105, -34),
        (-45, -34),
        (2, -26),
        (32, -19),
        (62, -10),
        (100, 2),
    ],
    dtype=float,
)
"""Front of the vertebral bodies at each height [measured on one CT]."""

INSIDE_MM = 7.0
"""Branches nearer to a lobe's surface than this are pushed inwards [choice]."""
INSIDE_WEIGHT = 1.3
"""Strength of that push at the surface, against the unit direction of growth [choice]."""

LOBES = (
    *("right upper lobe", "right middle lobe", "right lower lobe"),
    *("left upper lobe", "left lower lobe"),
)


def spine_front_mm(z: Field) -> Field:
    """Front of the vertebral bodies (A) in the standard thorax."""
    return np.interp(z, SPINE_FRONT_MM[:, 0], SPINE_FRONT_MM[:, 1]).astype(np.float32)


def cage_section(z: Field) -> tuple[Field, Field, Field]:
    """Half width, centre (A) and half depth of the rib cage at each height of the standard thorax."""
    half_width, back, front = (
        np.interp(z, PROFILE_MM[:, 0], PROFILE_MM[:, column]).astype(np.float32) for column in (1, 2, 3)
    )
    return half_width, (front + back) / 2, (front - back) / 2


@dataclass(frozen=True, eq=False)
class Thorax:
    """Signed distances on a lattice, mm, negative inside."""

    lattice: Lattice
    cage: Field
    """The rib cage's inner surface."""
    below_diaphragm: Field
    """Negative below the diaphragm."""
    right_lung: Field
    left_lung: Field
    oblique: tuple[Field, Field]
    """Right and left oblique fissure: negative in the lower lobe."""
    horizontal: Field
    """Horizontal fissure of the right lung: negative in the middle lobe (and in the lower one)."""

    def lung_box_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the box around both lungs."""
        inside = np.argwhere((self.right_lung < 0) | (self.left_lung < 0))
        step, origin = self.lattice.step_mm, self.lattice.origin_mm
        return origin + step * (inside.min(0) - 0.5), origin + step * (inside.max(0) + 0.5)

    def lobe_fields(self) -> tuple[Field, ...]:
        """Signed distance of each lobe, in the order of `LOBES`."""
        right_upper = np.maximum(np.maximum(self.right_lung, -self.oblique[0]), -self.horizontal)
        middle = np.maximum(np.maximum(self.right_lung, -self.oblique[0]), self.horizontal)
        return (
            right_upper,
            middle,
            np.maximum(self.right_lung, self.oblique[0]),
            np.maximum(self.left_lung, -self.oblique[1]),
            np.maximum(self.left_lung, self.oblique[1]),
        )


def build_thorax(shape: ThoraxShape, heart: tuple[Solid, ...], hilum: tuple[Solid, ...]) -> Thorax:
    """The thorax of a drawn shape.

    Args:
        shape: Sizes and angles.
        heart: Solids of heart and great vessels, in mm of the drawn body; the lungs make way for them.
        hilum: Bronchi and vessels at the roots of the lungs, which sit in a little fat.
    """
    lattice = Lattice.over(*shape.box_mm())
    x, y, z = shape.standard(*lattice.coordinates())
    ones = np.ones(lattice.shape, dtype=np.float32)
    half_width, middle, half_depth = cage_section(z)
    level = (np.abs(x / half_width) ** 2.3 + np.abs((y - middle) / half_depth) ** 2.3) ** (1 / 2.3) - 1
    above_apex = ((z - 101) / 30 + 0 * x + 0 * y).astype(np.float32)
    cage = as_distance(np.maximum(level * ones, above_apex), lattice.step_mm)
    below = as_distance(z - diaphragm_mm(x, y, shape) * ones, lattice.step_mm)
    core = _mediastinum(lattice, (x, y, z), shape, heart, hilum)
    lung = blend_max(blend_max(cage, -below, 5.0), -core, 5.0)
    right, left = np.maximum(lung, -(x + 2) * ones), np.maximum(lung, (x + 2) * ones)
    return Thorax(
        lattice=lattice,
        cage=cage,
        below_diaphragm=below,
        right_lung=right.astype(np.float32),
        left_lung=left.astype(np.float32),
        oblique=(_oblique(x, y, z, shape, 0) * ones, _oblique(x, y, z, shape, 1) * ones),
        horizontal=_horizontal(x, y, z, shape) * ones,
    )


def diaphragm_mm(x: Field, y: Field, shape: ThoraxShape) -> Field:
    """Height of the diaphragm in the standard thorax: two domes, steep at back and sides."""
    heights = []
    for side, top in ((1.0, shape.right_dome_mm), (-1.0, shape.left_dome_mm)):
        along = side * x - 62
        lateral = np.where(along > 0, 78 * (along / 76) ** 2, 6 * (along / 62) ** 2)
        forward = y - 28
        depth = np.where(forward > 0, 30 * (forward / 75) ** 2, 92 * (forward / 112) ** 2)
        heights.append(top - lateral - depth)
    right, left = heights
    share = 1 / (1 + np.exp(-x / 6))
    return (right * share + left * (1 - share)).astype(np.float32)


def _oblique(x: Field, y: Field, z: Field, shape: ThoraxShape, side: int) -> Field:
    """Negative below and behind the fissure, which falls forward and bulges slightly."""
    slope = np.radians(shape.oblique_deg[side])
    bulge = 5 * np.sin((np.abs(x) - 30) / 30) + 4 * np.cos(y / 28)
    height = z - shape.oblique_mm[side] - bulge
    return (height * np.cos(slope) + (y + 60) * np.sin(slope)).astype(np.float32)


def _horizontal(x: Field, y: Field, z: Field, shape: ThoraxShape) -> Field:
    bulge = 4 * np.cos((x - 70) / 30) + 3 * np.sin(y / 25)
    return (z - shape.horizontal_mm - bulge - 0.12 * (y - 40)).astype(np.float32)


def _mediastinum(
    lattice: Lattice,
    standard: tuple[Field, Field, Field],
    shape: ThoraxShape,
    heart: tuple[Solid, ...],
    hilum: tuple[Solid, ...],
) -> Field:
    """What the lungs make way for: column, heart, great vessels, hila and the fat between them."""
    x, y, z = standard
    front = spine_front_mm(z)
    behind = front - y
    column = np.abs(x) - (16 + 0.45 * np.clip(behind, 0, 55)) + np.maximum(6 - behind, 0) * 2.2
    # Between the great vessels of the upper mediastinum; thin behind the sternum, where lungs almost meet.
    width = np.interp(z, (-120, -60, -20, 10, 40, 100), (6, 8, 13, 17, 20, 24)).astype(np.float32)
    forward = np.clip((y - 34) / 30, 0, 1)
    slab = np.abs(x + 2) - np.maximum(width * (1 - forward), 2.0)
    core = blend_min(column.astype(np.float32), slab.astype(np.float32) + 0 * y, 10.0)
    for solids, margin in ((heart, 3.0), (hilum, 1.5)):
        core = blend_min(core, union_distance(lattice, solids) - np.float32(margin), 6.0)
    return core


def lung_volume_ml(thorax: Thorax, side: int) -> float:
    """Volume of a lung: side -1 is the left one."""
    field = thorax.left_lung if side < 0 else thorax.right_lung
    return float((field < 0).sum() * thorax.lattice.step_mm**3 / 1000)


def inwards(thorax: Thorax, field: Field) -> Push:
    """A push that keeps growing branches away from the surface of a solid, on its inner side."""

    def push(points: np.ndarray) -> np.ndarray:
        slope = thorax.lattice.gradient_at(field, points)
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
        nearness = np.clip(1 + thorax.lattice.at(field, points) / INSIDE_MM, 0, 1.5)
        return -INSIDE_WEIGHT * nearness[:, None] * slope

    return push


def jittered_points(
    thorax: Thorax, field: Field, spacing_mm: float, depth_mm: float, rng: np.random.Generator
) -> Float[np.ndarray, "n 3"]:
    """Evenly spread random points at least `depth_mm` inside a solid."""
    lattice = thorax.lattice
    size = np.array(lattice.shape) * lattice.step_mm
    counts = np.ceil(size / spacing_mm).astype(int)
    cells = np.stack(np.meshgrid(*[np.arange(n) for n in counts], indexing="ij"), axis=-1).reshape(-1, 3)
    points = lattice.origin_mm + spacing_mm * (cells + 0.5 + rng.uniform(-0.45, 0.45, cells.shape))
    return points[lattice.at(field, points) < -depth_mm]
