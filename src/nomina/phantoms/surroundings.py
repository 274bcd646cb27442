"""What lies around the column: skin, fat, muscles, great vessels, abdomen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nomina.phantoms.canvas import Canvas, Frame
from nomina.phantoms.column import SacralSegment, Vertebra
from nomina.phantoms.noise import smooth_noise
from nomina.phantoms.tissues import INDEX


@dataclass(frozen=True)
class BodyShape:
    """What varies in the soft tissues from one person to the next."""

    back_fat_mm: float
    """Subcutaneous fat behind the spinous processes at mid-lumbar level."""
    fat_infiltration: float
    """Share of the back muscles' section that is fat, 0 to 1."""
    abdomen_mm: float
    """From the front of the bodies to the front of the abdominal wall."""
    front_fat_mm: float
    """Retroperitoneal fat between the column and the first bowel."""
    muscle_mm: float
    """Depth of the erector spinae beside the spinous processes, over what the processes take up."""


@dataclass(frozen=True)
class _Profile:
    """Places along the column as functions of height, one value per voxel row k."""

    x: np.ndarray
    front: np.ndarray
    arch: np.ndarray
    """Back of the laminae."""
    tips: np.ndarray
    """Back of the spinous processes."""
    rank: np.ndarray
    """Ranks from the bottom; sacral segments are 0, -1 …"""


def paint_surroundings(
    canvas: Canvas,
    vertebrae: Sequence[Vertebra],
    sacrum: Sequence[SacralSegment],
    shape: BodyShape,
    rng: np.random.Generator,
) -> None:
    """Fill the whole canvas; the column is painted over it afterwards."""
    grid = canvas.grid
    spacing = grid.spacing_mm
    streaks = smooth_noise(grid.shape, spacing, (4.0, 3.0, 16.0), rng)
    blobs = smooth_noise(grid.shape, spacing, 12.0, rng)
    coarse = smooth_noise(grid.shape, spacing, 45.0, rng)
    world = Frame(np.zeros(3), np.eye(3))
    for i in range(grid.shape[0]):
        window = (slice(i, i + 1), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
        x, y, z = (c[0] for c in canvas.coordinates(world, window))
        # The profile is read at the column, so a tilted slab bends the skin a little, never the spine.
        profile = _profile(vertebrae, sacrum, z[grid.shape[1] // 2])
        canvas.tissues[i] = _slice_tissues(
            (x - profile.x, y), profile, shape, (streaks[i], blobs[i], coarse[i])
        )
    _paint_vessels(canvas, vertebrae, rng)


def _profile(vertebrae: Sequence[Vertebra], sacrum: Sequence[SacralSegment], z: np.ndarray) -> _Profile:
    points = []
    for segment in reversed(sacrum):
        half = (segment.upper_depth_mm + segment.lower_depth_mm) / 4
        points.append(
            (
                segment.frame.at(0, half, 0),
                segment.frame.at(0, -half - 16, 0),
                segment.frame.at(0, -half - 28 + 3 * segment.rank, 0),
                1.0 - segment.rank,
            )
        )
    for v in vertebrae:
        arch = v.back_mm - v.size.canal_depth_mm - 6
        tip = v.back_mm - v.size.canal_depth_mm - v.size.spinous_length_mm - 2
        points.append(
            (v.frame.at(0, -v.back_mm, 0), v.frame.at(0, arch, -8), v.frame.at(0, tip, -10), float(v.rank))
        )
    front, arch_points, tips = (np.array([p[n] for p in points]) for n in range(3))

    def along(places: np.ndarray, values: np.ndarray) -> np.ndarray:
        order = np.argsort(places[:, 2])
        return np.interp(z, places[order, 2], values[order]).astype(np.float32)

    return _Profile(
        x=along(front, front[:, 0]),
        front=along(front, front[:, 1]),
        arch=along(arch_points, arch_points[:, 1]),
        tips=along(tips, tips[:, 1]),
        rank=along(front, np.array([p[3] for p in points])),
    )


def _slice_tissues(
    place: tuple[np.ndarray, np.ndarray],
    profile: _Profile,
    shape: BodyShape,
    noise: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    x, y = place
    streaks, blobs, coarse = noise
    aside = np.abs(x)
    tissues = np.full(y.shape, INDEX["visceral fat"], dtype=np.uint8)

    def put(mask: np.ndarray, tissue: str) -> None:
        tissues[mask] = INDEX[tissue]

    # Abdomen: bowel and organs begin in front of the retroperitoneal fat.
    ahead = y - profile.front
    deep = ahead > shape.front_fat_mm + 6 * coarse
    put(deep & (blobs > -0.35), "bowel")
    put(deep & (blobs > 1.1), "bowel fluid")
    put(deep & (blobs > 0.1) & (blobs < 0.3), "visceral fat")
    put(deep & (blobs < -1.75), "air")
    put(deep & (coarse > 0.2) & (profile.rank > 4.5), "organ")
    wall = ahead - shape.abdomen_mm - 8 * np.sin(profile.rank)
    put((wall > -14) & (wall < 0), "muscle")
    put(wall > 0, "subcutaneous fat")
    put(wall > 0.7 * shape.back_fat_mm, "skin")
    put(wall > 0.7 * shape.back_fat_mm + 2, "air")

    # Muscles beside and behind the column.
    psoas_half = np.clip(8 + 3.0 * (5.5 - profile.rank), 2, 22)
    psoas = ((aside - 24 - psoas_half) / psoas_half) ** 2 + (
        (y - profile.front + 24) / (psoas_half * 1.1)
    ) ** 2 < 1
    put(psoas & (profile.rank < 6.2), "muscle")
    behind = profile.arch + 12 + 4 * coarse - y
    depth = profile.tips - shape.muscle_mm * np.clip(aside / 25, 0, 1)
    back_muscle = (behind > 0) & (y > depth)
    put(back_muscle, "muscle")
    fat_threshold = 1.9 - 3.2 * shape.fat_infiltration
    put(back_muscle & (streaks > fat_threshold), "fatty muscle")
    put(back_muscle & (streaks > fat_threshold + 0.8), "visceral fat")
    near_arch = back_muscle & (y > profile.arch - 7 + 3 * streaks) & (aside > 7)
    put(near_arch & (blobs > 0.2), "visceral fat")
    # Between the spinous processes: interspinous ligament with streaks of fat.
    between = back_muscle & (aside < 3.5)
    put(between, "fatty muscle")
    put(between & (streaks > 0.3), "visceral fat")
    put(between & (streaks < -0.6), "ligament")
    # Thoracolumbar fascia and supraspinous ligament, then fat and skin.
    put((y < depth) & (y > depth - 2.0 - 1.5 * (aside < 3)), "ligament")
    swell = shape.back_fat_mm * (1 + 0.35 * np.cos((profile.rank - 0.5) * 0.7)) + 1.5 * coarse
    skin = depth - 2 - np.maximum(swell, 3.0)
    put(y < depth - 2.0 - 1.5 * (aside < 3), "subcutaneous fat")
    put((y < skin), "skin")
    put((y < skin - 2.0), "air")
    return tissues


def _paint_vessels(canvas: Canvas, vertebrae: Sequence[Vertebra], rng: np.random.Generator) -> None:
    """Aorta left of the midline down to the fourth lumbar vertebra, vena cava right of it."""
    aorta, cava = rng.uniform(7.5, 10.5), rng.uniform(8.5, 11.5)
    top = vertebrae[-1].rank
    for side, radius, lowest in ((-1.0, aorta, 1.8), (1.0, cava, 1.4)):
        centres = [
            v.frame.at(side * (9.0 + rng.normal(0, 1.0)), -v.back_mm + radius + 3.0 + rng.normal(0, 0.7), 0)
            for v in vertebrae
        ]
        ranks = np.array([v.rank for v in vertebrae], dtype=float)
        for rank in np.arange(lowest, top, 0.1):
            centre = np.array([np.interp(rank, ranks, np.array(centres)[:, axis]) for axis in range(3)])
            box = canvas.box(Frame(centre, np.eye(3)), (-radius, -radius, -2.5), (radius, radius, 2.5))
            if box is not None:
                inside = box.x**2 + box.y**2 < radius**2
                canvas.paint(box, inside & (box.z**2 < 6.25), "vessel")
