"""The spinal canal: epidural fat, dural sac with CSF, cord down to the conus, cauda equina below it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from nomina.phantoms.canvas import Canvas, Frame
from nomina.phantoms.column import SacralSegment, Vertebra
from nomina.phantoms.sacrum import as_vertebra, sacral_canal
from nomina.phantoms.shapes import capsule, ellipse

STEP_MM = 2.5
"""Length of the pieces that a tube is painted in."""
CANAL_LABEL = 100


@dataclass(frozen=True)
class CanalShape:
    """What varies from one canal to the next."""

    sac_share: float
    """Depth of the dural sac as a share of the bony canal's."""
    conus_rank: float
    """Where the cord ends, in ranks from the bottom (5.0 is the middle of the fifth lowest vertebra)."""
    sac_end: float
    """Where the sac ends: 1.0 middle of S1, 2.0 middle of S2, 3.0 middle of S3."""
    cord_radius_mm: float
    num_roots: int


@dataclass(frozen=True)
class Station:
    """Bony canal and sac at one height of the column."""

    place: float
    """Ranks from the bottom; sacral segments are 0, -1, -2 …"""
    centre_mm: np.ndarray
    right: np.ndarray
    canal: tuple[float, float]
    """Half width and half depth of the bony canal."""
    sac: tuple[float, float]
    """Half width and half depth of the dural sac."""
    sac_forward_mm: float
    """How far the centre of the sac lies in front of that of the bony canal."""


def canal_stations(
    vertebrae: Sequence[Vertebra], sacrum: Sequence[SacralSegment], shape: CanalShape
) -> list[Station]:
    """Stations from S5 up: one behind each body, one behind each disc."""
    stations = []
    for segment in reversed(sacrum):
        width, depth = sacral_canal(segment)
        place = 1.0 - segment.rank
        stations.append(_station(place, as_vertebra(segment), 0.0, (width / 2, depth / 2), shape))
    for vertebra in vertebrae:
        half = (vertebra.size.canal_width_mm / 2, vertebra.size.canal_depth_mm / 2)
        low = -vertebra.size.height_mm / 2 - vertebra.disc_height_mm / 2
        stations.append(_station(vertebra.rank - 0.5, vertebra, low, half, shape))
        stations.append(_station(float(vertebra.rank), vertebra, 0.0, half, shape))
    return stations


def _station(
    place: float, vertebra: Vertebra, z: float, canal: tuple[float, float], shape: CanalShape
) -> Station:
    at_disc = z != 0.0
    stenosis = 0.55 * vertebra.bulge_mm * at_disc
    canal_depth = canal[1] - stenosis / 2
    back = vertebra.back_mm - (stenosis if at_disc else -0.8)
    # The sac hangs close behind the bodies; at L5-S1 fat parts them.
    gap = 1.0 + 2.5 * np.clip(1.0 - abs(place - 0.2), 0, 1)
    sac_depth = max(min(canal[1] * shape.sac_share, canal_depth - gap / 2), 2.0)
    return Station(
        place=place,
        centre_mm=vertebra.frame.at(0, back - canal_depth, z),
        right=vertebra.frame.axes[:, 0],
        canal=(canal[0], canal_depth),
        sac=(canal[0] * 0.80 - 0.5 * stenosis, sac_depth),
        sac_forward_mm=canal_depth - gap - sac_depth,
    )


class _Tube:
    """Smooth curves through the stations, sampled every `STEP_MM`."""

    def __init__(self, stations: Sequence[Station]) -> None:
        centres = np.array([s.centre_mm for s in stations])
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(centres, axis=0), axis=1))])
        num_steps = max(int(length[-1] / STEP_MM), 2)
        along = np.linspace(0, length[-1], num_steps + 1)

        def smooth(values: list[float] | list[np.ndarray]) -> np.ndarray:
            return PchipInterpolator(length, np.array(values))(along)

        self.place = smooth([s.place for s in stations])
        self.centre = smooth([s.centre_mm for s in stations])
        self.canal = smooth([np.array(s.canal) for s in stations])
        self.sac = smooth([np.array(s.sac) for s in stations])
        up = np.gradient(self.centre, axis=0)
        up /= np.linalg.norm(up, axis=1, keepdims=True)
        right = smooth([s.right for s in stations])
        right -= (right * up).sum(1, keepdims=True) * up
        right /= np.linalg.norm(right, axis=1, keepdims=True)
        self.axes = np.stack([right, np.cross(up, right), up], axis=-1)
        forward = smooth([s.sac_forward_mm for s in stations])
        self.sac_centre = self.centre + forward[:, None] * self.axes[:, :, 1]

    def frame(self, index: int, of_sac: bool) -> Frame:
        return Frame((self.sac_centre if of_sac else self.centre)[index], self.axes[index])


def paint_canal(
    canvas: Canvas, stations: Sequence[Station], shape: CanalShape, rng: np.random.Generator
) -> None:
    """Paint epidural fat, then the dural sac with its contents (label 100)."""
    tube = _Tube(stations)
    for index in range(len(tube.place)):
        _paint_piece(canvas, tube.frame(index, of_sac=False), tuple(tube.canal[index]), "epidural fat", None)
    sac_end = 1.0 - shape.sac_end
    # The sac tapers over its last segment.
    taper = np.sqrt(np.clip((tube.place - sac_end) / 0.9, 0, 1))
    for index in np.flatnonzero(taper > 0.15).tolist():
        half = tuple(tube.sac[index] * taper[index])
        _paint_piece(canvas, tube.frame(index, of_sac=True), half, "csf", CANAL_LABEL)
    _paint_cord(canvas, tube, shape)
    _paint_roots(canvas, tube, shape, rng)


def _paint_piece(
    canvas: Canvas, frame: Frame, half: tuple[float, ...], tissue: str, label: int | None
) -> None:
    reach = STEP_MM * 0.75
    box = canvas.box(frame, (-half[0], -half[1], -reach), (half[0], half[1], reach))
    if box is not None:
        inside = (ellipse(box.x, box.y, half[0], half[1]) < 0) & (np.abs(box.z) < reach)
        canvas.paint(box, inside, tissue, label)


def paint_nerve_roots(canvas: Canvas, vertebra: Vertebra) -> None:
    """The pair of roots below the pedicles, in the fat of the foramina."""
    size, back = vertebra.size, vertebra.back_mm
    side = size.canal_width_mm / 2 + size.pedicle_width_mm + 14
    box = canvas.box(
        vertebra.frame, (-side, back - 16, -size.height_mm), (side, back + 12, size.height_mm / 4)
    )
    if box is None:
        return
    start = (0.35 * size.canal_width_mm, back - 3.0, -0.05 * size.height_mm)
    ganglion = (size.canal_width_mm / 2 + 0.5 * size.pedicle_width_mm, back - 4.5, -0.32 * size.height_mm)
    end = (side - 3.0, back + 2.0, -0.75 * size.height_mm)
    aside = np.abs(box.x)
    inner = capsule(aside, box.y, box.z, start, ganglion, 1.7)
    outer = capsule(aside, box.y, box.z, ganglion, end, 2.3)
    free = canvas.labels[box.window] == 0
    fat = (np.minimum(inner, outer) < 3.5) & free
    canvas.paint(box, fat, "epidural fat")
    canvas.paint(box, (np.minimum(inner, outer) < 0) & free, "nerve root")


def paint_dorsal_fat(canvas: Canvas, vertebra: Vertebra) -> None:
    """The pad of fat behind the sac between this arch and the one below, walled by the yellow ligaments."""
    size = vertebra.size
    top = vertebra.back_mm - size.canal_depth_mm + 2.5
    low = -size.height_mm / 2 - vertebra.disc_height_mm
    box = canvas.box(vertebra.frame, (-12, top - 12, low - 4), (12, top, -0.2 * size.height_mm))
    if box is None:
        return
    behind = top - box.y
    middle = 0.5 * (low - 0.3 * size.height_mm)
    half = 0.5 * (-0.3 * size.height_mm - low)
    pad = (behind > 0) & (behind + 0.7 * np.abs(box.x) < 6.5 * (1 - ((box.z - middle) / half) ** 2))
    wall = (behind > 0) & (behind + 0.7 * np.abs(box.x) < 11.0 * (1 - ((box.z - middle) / (half + 3)) ** 2))
    free = canvas.labels[box.window] == 0
    canvas.paint(box, wall & free, "ligament")
    canvas.paint(box, pad & free, "visceral fat")


def _paint_cord(canvas: Canvas, tube: _Tube, shape: CanalShape) -> None:
    # The conus tapers over about one vertebra.
    swell = np.clip((tube.place - shape.conus_rank) / 0.9, 0, 1) ** 0.6
    for index in np.flatnonzero(swell > 0.2).tolist():
        radius = shape.cord_radius_mm * swell[index]
        half = (min(1.25 * radius, tube.sac[index, 0] - 1.5), min(radius, tube.sac[index, 1] - 1.2))
        _paint_piece(canvas, tube.frame(index, of_sac=True), half, "cord", None)


def _paint_roots(canvas: Canvas, tube: _Tube, shape: CanalShape, rng: np.random.Generator) -> None:
    """Cauda equina: threads that leave the conus, lie at the back of the sac and exit one by one."""
    start = shape.conus_rank + 1.0
    for number in range(shape.num_roots):
        side = -1.0 if number % 2 else 1.0
        exit_place = start - (0.9 + number / shape.num_roots * (start + 0.6))
        inside = (tube.place < start) & (tube.place > max(exit_place, 1.3 - shape.sac_end))
        if inside.sum() < 4:
            continue
        share = (start - tube.place[inside]) / max(start - exit_place, 0.5)
        lateral = side * (0.12 + 0.75 * share ** rng.uniform(1.0, 3.0)) + rng.normal(0, 0.04)
        dorsal = -(0.15 + rng.uniform(0.25, 0.6) * np.sin(np.pi * np.clip(share, 0, 1)) ** 0.7)
        offset = np.stack(
            [np.clip(lateral, -0.85, 0.85) * tube.sac[inside, 0], dorsal * tube.sac[inside, 1]], axis=1
        )
        points = tube.sac_centre[inside] + np.einsum("ncd,nd->nc", tube.axes[inside][:, :, :2], offset)
        dense = _resampled(points, 0.4)
        canvas.stamp(dense, rng.uniform(0.5, 0.9), "cauda equina", over="csf")


def _resampled(points: np.ndarray, step_mm: float) -> np.ndarray:
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    along = np.arange(0, length[-1], step_mm)
    return np.stack([np.interp(along, length, points[:, axis]) for axis in range(3)], axis=1)
