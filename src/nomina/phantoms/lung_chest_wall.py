"""What surrounds the lungs: skin, fat, muscles, bones, diaphragm and abdomen."""

from itertools import pairwise

import numpy as np

from nomina.phantoms.lung_canvas import ChestCanvas
from nomina.phantoms.lung_lattice import as_distance
from nomina.phantoms.lung_plan import ThoraxShape
from nomina.phantoms.lung_raster import tube_shares
from nomina.phantoms.lung_solids import Ellipsoid, Solid, Tube, union_distance
from nomina.phantoms.lung_thorax import Thorax, cage_section, spine_front_mm
from nomina.phantoms.noise import smooth_noise
from nomina.phantoms.shapes import Field, blend_min, ellipse

SKIN_MM = 2.0
"""Thickness of the skin [choice]."""

VERTEBRAE_MM = (
    *(119.0, 100.0, 82.0, 62.0, 40.0, 17.0, -6.0, -30.0),
    *(-55.0, -82.0, -110.0, -139.0, -169.0, -201.0, -234.0),
)
"""Height of the middle of C7, T1 … T12, L1, L2 in the standard thorax [measured on one CT]."""

RIB_RADIUS_MM = 5.2
"""Half of a rib's mean width [choice]."""
CORTEX_MM = 1.2
"""Thickness of the cortex of ribs and vertebrae [choice]."""


def paint_body(canvas: ChestCanvas, thorax: Thorax, shape: ThoraxShape, rng: np.random.Generator) -> None:
    """Skin, fat, muscles, and the inside of the rib cage as fat."""
    lattice = thorax.lattice
    x, y, z = shape.standard(*lattice.coordinates())
    ones = np.ones(lattice.shape, dtype=np.float32)
    outline = _outline(x, y, z, shape) * ones
    outline = as_distance(outline, lattice.step_mm)
    noise = smooth_noise(lattice.shape, (lattice.step_mm,) * 3, 22.0, rng)
    outline += 1.2 * noise
    canvas.paint_field(lattice, outline, "skin")
    canvas.paint_field(lattice, outline + SKIN_MM, "subcutaneous fat")
    depth = shape.fat_mm * (1 + 0.25 * smooth_noise(lattice.shape, (lattice.step_mm,) * 3, 30.0, rng))
    canvas.paint_field(
        lattice, np.maximum(outline + SKIN_MM + depth, thorax.cage - shape.muscle_mm * 2.6), "muscle"
    )
    _paint_fat_planes(canvas, thorax, outline + SKIN_MM + depth, shape, rng)
    canvas.paint_field(lattice, thorax.cage, "mediastinal fat")


def _outline(x: Field, y: Field, z: Field, shape: ThoraxShape) -> Field:
    """Level of the trunk's surface: it follows the rib cage below and the shoulders (arms raised) above."""
    half_width, middle, half_depth = cage_section(np.minimum(z, np.float32(20)))
    wall = shape.fat_mm + shape.muscle_mm + 9
    shoulders = 46 / (1 + np.exp(-(z - 30) / 14))
    neck = np.clip((z - 70) / 60, 0, 1)
    wide = half_width + wall + shoulders - 62 * neck
    deep = half_depth + 0.85 * wall + 6 - 12 * neck
    level = (np.abs(x / wide) ** 2.4 + np.abs((y - middle + 6) / deep) ** 2.4) ** (1 / 2.4) - 1
    return np.asarray(level, dtype=np.float32)


def _paint_fat_planes(
    canvas: ChestCanvas, thorax: Thorax, inner: Field, shape: ThoraxShape, rng: np.random.Generator
) -> None:
    """Sheets of fat between the layers of muscle outside the ribs."""
    lattice = thorax.lattice
    steps = (lattice.step_mm,) * 3
    for offset in (6.5, 6.5 + 0.62 * shape.muscle_mm):
        sheet = np.abs(thorax.cage - offset - 2.2 * smooth_noise(lattice.shape, steps, 20.0, rng))
        thick = 1.3 + 0.9 * smooth_noise(lattice.shape, steps, 15.0, rng)
        canvas.paint_field(lattice, np.maximum(sheet - thick, inner).astype(np.float32), "subcutaneous fat")


def paint_abdomen(canvas: ChestCanvas, thorax: Thorax, shape: ThoraxShape) -> None:
    """Diaphragm, liver, spleen, stomach with its gas."""
    lattice = thorax.lattice
    inside = np.asarray(np.maximum(thorax.below_diaphragm, thorax.cage), dtype=np.float32)
    canvas.paint_field(lattice, inside, "muscle")
    canvas.paint_field(lattice, inside + 3.0, "mediastinal fat")
    x, y, z = shape.standard(*lattice.coordinates())
    liver = np.maximum(inside + 4.0, -(x + 34 - 0.5 * (z + 150)) * np.ones_like(inside))
    points = np.stack(np.broadcast_arrays(*lattice.coordinates()), axis=-1)
    spleen = Ellipsoid(shape.to_body(np.array([-98.0, -32.0, -172.0])), (27.0, 48.0, 46.0)).distance(points)
    stomach = Ellipsoid(shape.to_body(np.array([-62.0, 38.0, -172.0])), (46.0, 46.0, 50.0)).distance(points)
    gas = np.maximum(stomach + 5.0, (60 - y) * np.ones_like(inside))
    canvas.paint_field(lattice, np.maximum(inside + 4.0, stomach), "stomach")
    canvas.paint_field(lattice, np.maximum(inside + 6.0, gas).astype(np.float32), "air")
    canvas.paint_field(lattice, np.maximum(inside + 5.0, spleen), "spleen")
    canvas.paint_field(lattice, liver.astype(np.float32), "liver")


def paint_lungs(canvas: ChestCanvas, thorax: Thorax) -> None:
    """Lungs and their fissures."""
    lattice = thorax.lattice
    for lung, oblique in ((thorax.right_lung, thorax.oblique[0]), (thorax.left_lung, thorax.oblique[1])):
        canvas.paint_field(lattice, lung, "lung")
        _paint_sheet(canvas, thorax, oblique, lung + 0.3)
    front = np.maximum(thorax.right_lung + 0.3, -thorax.oblique[0])
    _paint_sheet(canvas, thorax, thorax.horizontal, front)


def _paint_sheet(canvas: ChestCanvas, thorax: Thorax, middle: Field, inside: Field) -> None:
    """A fissure: a sheet 0.7 mm thick [choice]."""
    lattice = thorax.lattice
    near = np.argwhere((np.abs(middle) < lattice.step_mm) & (inside < lattice.step_mm))
    low = lattice.origin_mm + lattice.step_mm * (near.min(0) - 1)
    high = lattice.origin_mm + lattice.step_mm * (near.max(0) + 1)
    for window in canvas.slabs(low, high):
        grid = canvas.grid.cropped(window)
        gap = np.abs(lattice.onto(middle, grid)) - np.float32(0.35)
        share = np.minimum(canvas.as_share(gap), canvas.as_share(lattice.onto(inside, grid)))
        canvas.paint(window, np.minimum(share, np.float32(0.7 / canvas.voxel_mm)), "fissure")


def paint_column(canvas: ChestCanvas, shape: ThoraxShape) -> None:
    """Vertebrae with their arches, discs between them, the spinal canal, muscles of the back."""
    low, high = shape.to_body(np.array([[-46.0, -125.0, -260.0], [46.0, 30.0, 150.0]]))
    middles = np.array(VERTEBRAE_MM)[::-1]
    for window in canvas.slabs(low, high):
        x, y, z = shape.standard(*canvas.coordinates(window))
        front = spine_front_mm(z)
        nearest = np.abs(z.ravel()[:, None] - middles[None]).argmin(1)
        height = (z.ravel() - middles[nearest])[None, None, :]
        pitch = np.gradient(middles)[nearest][None, None, :]
        from_end = (0.5 * pitch - 2.6 - np.abs(height)).astype(np.float32)
        waist = 1.6 * (1 - np.abs(height) / (0.5 * pitch))
        size = np.interp(z, (-230, 110), (1.18, 0.86)).astype(np.float32)
        body = ellipse(x, y - front + 13.5 * size, 15.5 * size - waist, 13.5 * size - waist)
        canal = np.hypot(x, y - front + 35.5 * size) - 8.2
        arch = np.hypot(x * 0.9, y - front + 36.5 * size) - 13.2
        spinous = np.maximum(np.abs(x) - 3.2, np.abs(y - front + 56 * size + 0.3 * height) - 13.0)
        transverse = np.maximum(
            np.abs(y - front + 40 * size + 0.18 * np.abs(x)) - 4.6, np.maximum(np.abs(x) - 30, -1)
        )
        posterior = blend_min(blend_min(arch, spinous, 5.0), transverse, 4.0)
        posterior = np.maximum(np.maximum(posterior, -canal), np.abs(height + 3) - 0.40 * pitch)
        canvas.paint(window, canvas.as_share(np.broadcast_to(body, posterior.shape)), "cartilage")
        bone = np.minimum(np.maximum(body, -from_end), posterior).astype(np.float32)
        canvas.paint(window, canvas.as_share(bone), "cortical bone")
        canvas.paint(window, canvas.as_share(bone + np.float32(CORTEX_MM)), "trabecular bone")
        canvas.paint(
            window, canvas.as_share(np.broadcast_to(canal, bone.shape).astype(np.float32)), "spinal canal"
        )


def rib_lines_mm(shape: ThoraxShape) -> list[tuple[np.ndarray, int]]:
    """Axis of each rib and of its cartilage, and the number of points that are bone."""
    lines = []
    for number in range(1, 13):
        head = VERTEBRAE_MM[number]
        drop = np.interp(number, (1, 2, 4, 7, 10, 12), (30, 46, 66, 78, 62, 40))
        end_deg = np.interp(number, (1, 7, 8, 10, 11, 12), (72, 64, 48, 18, -20, -48))
        angle = np.radians(np.linspace(-72, end_deg, 18))
        share = (np.degrees(angle) + 72) / 144
        z = head + 4 - drop * share**0.9
        points = _on_cage(angle, z, outwards_mm=6.0)
        (front,) = spine_front_mm(np.array([head], dtype=np.float32))
        start = np.array([[17.0, float(front) - 26, head + 4]])
        line, bony = np.concatenate([start, points]), 19
        if number <= 7:
            sternum = np.interp(number, (1, 7), (52, -62))
            front = _on_cage(np.radians(np.array([84.0])), np.array([sternum]), outwards_mm=6.5)
            line = np.concatenate([line, [[0.5 * line[-1, 0] + 9, front[0, 1] + 2, 0.5 * (z[-1] + sternum)]]])
            line = np.concatenate([line, [[17.0, front[0, 1] + 3, sternum]]])
        for side in (1, -1):
            lines.append((shape.to_body(line * (side, 1, 1)), bony))
    return lines


def _on_cage(angle: np.ndarray, z: np.ndarray, outwards_mm: float | np.ndarray) -> np.ndarray:
    """Points outside the rib cage's inner surface; the angle is 0 at the side and 90 degrees in front."""
    half_width, middle, half_depth = cage_section(z.astype(np.float32))
    # Where the cage narrows towards the apex, the way out is longer in the axial plane.
    slope = (cage_section((z + 4).astype(np.float32))[0] - cage_section((z - 4).astype(np.float32))[0]) / 8
    outwards_mm = outwards_mm * np.sqrt(1 + slope**2)
    # Radius of the superellipse of power 2.3 along each direction.
    c, s = np.cos(angle), np.sin(angle)
    radius = (
        np.abs(c / (half_width + outwards_mm)) ** 2.3 + np.abs(s / (half_depth + outwards_mm)) ** 2.3
    ) ** (-1 / 2.3)
    return np.stack([radius * c, middle + radius * s, z], axis=1)


def paint_ribs(canvas: ChestCanvas, shape: ThoraxShape) -> None:
    """Ribs, costal cartilages, sternum, clavicles."""
    bone: list[tuple[np.ndarray, np.ndarray]] = []
    cartilage: list[tuple[np.ndarray, np.ndarray]] = []
    for line, bony in rib_lines_mm(shape):
        bone += list(pairwise(line[:bony]))
        cartilage += list(pairwise(line[bony - 1 :]))
    sternum = shape.to_body(
        np.array([(0, 62, 56), (0, 84, 20), (0, 100, -20), (0, 108, -60), (0, 108, -82)], float)
    )
    for offset in (-12.0, -8.0, -4.0, 0.0, 4.0, 8.0, 12.0):
        bone += list(pairwise(sternum + np.array([offset, 0, 0])))
    for side in (1, -1):
        clavicle = shape.to_body(
            np.array([(20, 60, 60), (50, 58, 72), (90, 30, 92), (128, 0, 104)], float) * (side, 1, 1)
        )
        bone += list(pairwise(clavicle))
    _paint_rods(canvas, cartilage, RIB_RADIUS_MM, ("cartilage", "cartilage"))
    _paint_rods(canvas, bone, RIB_RADIUS_MM, ("cortical bone", "trabecular bone"))


def _paint_rods(
    canvas: ChestCanvas,
    rods: list[tuple[np.ndarray, np.ndarray]],
    radius_mm: float,
    tissues: tuple[str, str],
) -> None:
    starts, ends = (np.array([rod[end] for rod in rods]) for end in (0, 1))
    for radius, tissue in zip((radius_mm, radius_mm - CORTEX_MM), tissues, strict=True):
        canvas.paint_shares(tube_shares(starts, ends, np.full(len(starts), radius), canvas.grid), tissue)


def paint_scapulae(canvas: ChestCanvas, thorax: Thorax, shape: ThoraxShape) -> None:
    """Shoulder blades, turned outwards by raised arms: a plate along the cage and its spine."""
    blades: list[Solid] = []
    for side in (1.0, -1.0):
        along, across = np.array([0.76 * side, 0.65, 0.0]), np.array([0.65 * side, -0.76, 0.0])
        turn = np.stack([along, across, np.array([0.0, 0.0, 1.0])], axis=1)
        centre = shape.to_body(np.array([101.0 * side, -66.0, 34.0]))
        blades.append(Ellipsoid(centre, (40.0, 4.2, 56.0), turn))
        ridge = centre + 9.0 * across
        blades.append(Tube(np.array([ridge - 22 * along + (0, 0, 12), ridge + 44 * along + (0, 0, 34)]), 5.0))
    blade = union_distance(thorax.lattice, blades, far_mm=12.0)
    canvas.paint_field(thorax.lattice, blade, "cortical bone")
    canvas.paint_field(thorax.lattice, blade + np.float32(CORTEX_MM), "trabecular bone")
