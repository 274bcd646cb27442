"""What lies around the column: skin, fat, muscles, great vessels, abdomen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nomina.phantoms.canvas import Canvas, Frame
from nomina.phantoms.column import SacralSegment, Vertebra
from nomina.phantoms.noise import smooth_noise
from nomina.phantoms.sacrum import as_vertebra
from nomina.phantoms.tissues import INDEX

SKIN_MM = 2.0
"""Thickness of the skin of the trunk [choice]."""


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
        layer = _Layer(canvas.tissues[i], x - profile.x, y, profile, streaks[i], blobs[i], coarse[i])
        layer.tissues[:] = INDEX["visceral fat"]
        _put_abdomen(layer, shape)
        _put_psoas(layer)
        surface = layer.profile.tips - shape.muscle_mm * np.clip(np.abs(layer.x) / 25, 0, 1)
        _put_back_muscles(layer, shape, surface)
        _put_back_surface(layer, shape, surface)
    _paint_vessels(canvas, vertebrae, rng)


@dataclass(frozen=True)
class _Layer:
    """One sagittal layer on its way: arrays over j and k."""

    tissues: np.ndarray
    x: np.ndarray
    """mm to the right of the column."""
    y: np.ndarray
    """RAS+ mm."""
    profile: _Profile
    streaks: np.ndarray
    """Noise drawn out along the muscles' fibres."""
    blobs: np.ndarray
    """Noise of the size of bowel loops."""
    coarse: np.ndarray
    """Noise of the size of organs."""

    def put(self, mask: np.ndarray, tissue: str) -> None:
        self.tissues[mask] = INDEX[tissue]


def _profile(vertebrae: Sequence[Vertebra], sacrum: Sequence[SacralSegment], z: np.ndarray) -> _Profile:
    places = [
        *((as_vertebra(segment), 1.0 - segment.rank, 28 - 3 * segment.rank) for segment in reversed(sacrum)),
        *((v, float(v.rank), v.size.canal_depth_mm + v.size.spinous_length_mm + 2) for v in vertebrae),
    ]
    front = np.array([v.frame.at(0, -v.back_mm, 0) for v, _, _ in places])
    arch = np.array([v.frame.at(0, v.back_mm - v.size.canal_depth_mm - 6, -8) for v, _, _ in places])
    tips = np.array([v.frame.at(0, v.back_mm - behind, -10) for v, _, behind in places])

    def along(points: np.ndarray, values: np.ndarray) -> np.ndarray:
        order = np.argsort(points[:, 2])
        return np.interp(z, points[order, 2], values[order]).astype(np.float32)

    return _Profile(
        x=along(front, front[:, 0]),
        front=along(front, front[:, 1]),
        arch=along(arch, arch[:, 1]),
        tips=along(tips, tips[:, 1]),
        rank=along(front, np.array([rank for _, rank, _ in places])),
    )


def _put_abdomen(layer: _Layer, shape: BodyShape) -> None:
    """Bowel and organs in front of the retroperitoneal fat, then the abdominal wall and the air before it."""
    ahead = layer.y - layer.profile.front
    blobs = layer.blobs
    deep = ahead > shape.front_fat_mm + 6 * layer.coarse
    layer.put(deep & (blobs > -0.35), "bowel")
    layer.put(deep & (blobs > 1.1), "bowel fluid")
    layer.put(deep & (blobs > 0.1) & (blobs < 0.3), "visceral fat")
    layer.put(deep & (blobs < -1.75), "air")
    layer.put(deep & (layer.coarse > 0.2) & (layer.profile.rank > 4.5), "organ")
    wall = ahead - shape.abdomen_mm - 8 * np.sin(layer.profile.rank)
    front_fat_mm = 0.7 * shape.back_fat_mm
    layer.put(wall > -14, "muscle")
    layer.put(wall > 0, "subcutaneous fat")
    layer.put(wall > front_fat_mm, "skin")
    layer.put(wall > front_fat_mm + SKIN_MM, "air")


def _put_psoas(layer: _Layer) -> None:
    """The psoas beside the lumbar bodies; it grows from T12 down."""
    rank = layer.profile.rank
    half = np.clip(8 + 3.0 * (5.5 - rank), 2, 22)
    aside = np.abs(layer.x) - 24 - half
    psoas = (aside / half) ** 2 + ((layer.y - layer.profile.front + 24) / (1.1 * half)) ** 2 < 1
    layer.put(psoas & (rank < 6.2), "muscle")


def _put_back_muscles(layer: _Layer, shape: BodyShape, surface: np.ndarray) -> None:
    """Erector spinae and multifidus with streaks of fat, and the ligament between the spinous processes."""
    aside, streaks = np.abs(layer.x), layer.streaks
    muscle = (layer.y < layer.profile.arch + 12 + 4 * layer.coarse) & (layer.y > surface)
    layer.put(muscle, "muscle")
    threshold = 1.9 - 3.2 * shape.fat_infiltration
    layer.put(muscle & (streaks > threshold), "fatty muscle")
    layer.put(muscle & (streaks > threshold + 0.8), "visceral fat")
    near_arch = muscle & (layer.y > layer.profile.arch - 7 + 3 * streaks) & (aside > 7)
    layer.put(near_arch & (layer.blobs > 0.2), "visceral fat")
    between = muscle & (aside < 3.5)
    layer.put(between, "fatty muscle")
    layer.put(between & (streaks > 0.3), "visceral fat")
    layer.put(between & (streaks < -0.6), "ligament")


def _put_back_surface(layer: _Layer, shape: BodyShape, surface: np.ndarray) -> None:
    """Thoracolumbar fascia with the supraspinous ligament, subcutaneous fat, skin and air."""
    fascia = surface - 2.0 - 1.5 * (np.abs(layer.x) < 3)
    swell = shape.back_fat_mm * (1 + 0.35 * np.cos((layer.profile.rank - 0.5) * 0.7)) + 1.5 * layer.coarse
    skin = surface - 2.0 - np.maximum(swell, 3.0)
    layer.put(layer.y < surface, "ligament")
    layer.put(layer.y < fascia, "subcutaneous fat")
    layer.put(layer.y < skin, "skin")
    layer.put(layer.y < skin - SKIN_MM, "air")


def _paint_vessels(canvas: Canvas, vertebrae: Sequence[Vertebra], rng: np.random.Generator) -> None:
    """Aorta left of the midline down to the fourth lumbar vertebra, vena cava right of it."""
    ranks = np.array([v.rank for v in vertebrae], dtype=float)
    for side, radius, lowest in ((-1.0, rng.uniform(7.5, 10.5), 1.8), (1.0, rng.uniform(8.5, 11.5), 1.4)):
        centres = np.array(
            [
                v.frame.at(
                    side * (9.0 + rng.normal(0, 1.0)), -v.back_mm + radius + 3.0 + rng.normal(0, 0.7), 0
                )
                for v in vertebrae
            ]
        )
        for rank in np.arange(lowest, ranks[-1], 0.1):
            centre = np.array([np.interp(rank, ranks, centres[:, axis]) for axis in range(3)])
            box = canvas.box(Frame(centre, np.eye(3)), (-radius, -radius, -2.5), (radius, radius, 2.5))
            if box is not None:
                canvas.paint(box, (box.x**2 + box.y**2 < radius**2) & (np.abs(box.z) < 2.5), "vessel")
