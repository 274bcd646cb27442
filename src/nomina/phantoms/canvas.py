"""`Canvas`: the voxels that parts are painted on; `Frame`: the local axes that parts are described in."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nomina.imaging.grid import Grid
from nomina.phantoms.noise import SmoothField
from nomina.phantoms.shapes import Field
from nomina.phantoms.tissues import INDEX

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Frame:
    """A place and an orientation: x to the right, y to anterior, z to superior of the part."""

    origin_mm: np.ndarray
    """Position of the frame's zero in RAS+ mm."""
    axes: np.ndarray
    """Columns are the unit vectors x, y, z of the frame in RAS+."""

    def at(self, x: float, y: float, z: float) -> np.ndarray:
        """RAS+ position of a local point."""
        return self.origin_mm + self.axes @ np.array([x, y, z])

    @staticmethod
    def turned(
        origin_mm: np.ndarray, tilt_deg: float, lean_deg: float = 0.0, turn_deg: float = 0.0
    ) -> "Frame":
        """A frame tilted forward (about x), leaning to the right (about y) and turned (about its own z)."""
        t, n, r = np.radians([tilt_deg, lean_deg, turn_deg])
        tilt = np.array([[1, 0, 0], [0, np.cos(t), np.sin(t)], [0, -np.sin(t), np.cos(t)]])
        lean = np.array([[np.cos(n), 0, np.sin(n)], [0, 1, 0], [-np.sin(n), 0, np.cos(n)]])
        turn = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
        return Frame(np.asarray(origin_mm, dtype=float), lean @ tilt @ turn)


@dataclass(frozen=True)
class Box:
    """The voxels of a canvas around a part, with their coordinates in the part's frame (mm)."""

    window: tuple[slice, slice, slice]
    x: Field
    y: Field
    z: Field


class Warp:
    """Small smooth displacements within the sagittal plane, so that no bone is a perfect solid.

    Args:
        grid: Where it acts.
        amplitude_mm: SD of the displacement along each of the two axes.
        scale_mm: Distance of the lattice points that are displaced at random.
        rng: Where the displacements come from.
    """

    def __init__(self, grid: Grid, amplitude_mm: float, scale_mm: float, rng: np.random.Generator) -> None:
        self._fields = [SmoothField(grid.shape, grid.spacing_mm, scale_mm, rng) for _ in range(2)]
        self._amplitude_mm = np.float32(amplitude_mm)

    def __call__(self, window: tuple[slice, slice, slice]) -> tuple[Field, Field]:
        """Displacements to anterior and to superior in mm."""
        anterior, superior = (self._amplitude_mm * field(window) for field in self._fields)
        return anterior, superior


@dataclass
class Canvas:
    """Tissue and label of every voxel; both start as 0 (air, background)."""

    grid: Grid
    warp: Warp | None = None
    tissues: np.ndarray = field(init=False)
    labels: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.tissues = np.zeros(self.grid.shape, dtype=np.uint8)
        self.labels = np.zeros(self.grid.shape, dtype=np.uint8)

    def box(
        self, frame: Frame, low_mm: tuple[float, float, float], high_mm: tuple[float, float, float]
    ) -> Box | None:
        """The voxels that can lie between two corners given in `frame`; None where the canvas has none."""
        corners = np.array(np.meshgrid(*zip(low_mm, high_mm, strict=True))).reshape(3, -1).T
        voxels = self.grid.to_voxels(frame.origin_mm + corners @ frame.axes.T)
        start = np.clip(np.floor(voxels.min(0)), 0, self.grid.shape).astype(int)
        stop = np.clip(np.ceil(voxels.max(0)) + 1, 0, self.grid.shape).astype(int)
        if (stop <= start).any():
            return None
        window = (slice(start[0], stop[0]), slice(start[1], stop[1]), slice(start[2], stop[2]))
        return Box(window, *self.coordinates(frame, window))

    def coordinates(self, frame: Frame, window: tuple[slice, slice, slice]) -> tuple[Field, Field, Field]:
        """Coordinates of a window's voxels in `frame`, in mm."""
        steps = frame.axes.T @ self.grid.affine[:3, :3]
        zero = frame.axes.T @ (self.grid.affine[:3, 3] - frame.origin_mm)
        i, j, k = (np.arange(s.start, s.stop) for s in window)
        x, y, z = (
            ((offset + a * i)[:, None, None] + (b * j)[None, :, None]).astype(np.float32)
            + (c * k).astype(np.float32)[None, None, :]
            for offset, (a, b, c) in zip(zero, steps, strict=True)
        )
        if self.warp is None:
            return x, y, z
        anterior, superior = self.warp(window)
        turn = frame.axes.astype(np.float32)
        for axis, coordinate in enumerate((x, y, z)):
            coordinate += turn[1, axis] * anterior + turn[2, axis] * superior
        return x, y, z

    def paint(self, box: Box, mask: Mask, tissue: str, label: int | None = None) -> None:
        """Give the voxels of a mask a tissue, and a label unless it is None (which keeps what is there)."""
        self.tissues[box.window][mask] = INDEX[tissue]
        if label is not None:
            self.labels[box.window][mask] = label

    def stamp(self, points_mm: np.ndarray, radius_mm: float, tissue: str, *, over: str) -> None:
        """Paint a thin thread along densely sampled points, only where the canvas holds the tissue `over`."""
        spacing = np.array(self.grid.spacing_mm)
        reach = np.maximum(np.floor(radius_mm / spacing), 0).astype(int)
        offsets = np.array(np.meshgrid(*[np.arange(-r, r + 1) for r in reach])).reshape(3, -1).T
        offsets = offsets[np.linalg.norm(offsets * spacing, axis=1) <= radius_mm]
        voxels = np.rint(self.grid.to_voxels(points_mm)).astype(int)
        voxels = np.unique((voxels[:, None] + offsets[None]).reshape(-1, 3), axis=0)
        voxels = voxels[((voxels >= 0) & (voxels < self.grid.shape)).all(1)]
        index = tuple(voxels.T)
        keep = self.tissues[index] == INDEX[over]
        self.tissues[tuple(axis[keep] for axis in index)] = INDEX[tissue]
