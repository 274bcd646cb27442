"""`ChestCanvas`: each voxel is a mixture of two tissues, so that borders are smooth."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

from nomina.imaging.grid import Grid
from nomina.phantoms.lung_lattice import Lattice
from nomina.phantoms.lung_tissues import CHEST_INDEX
from nomina.phantoms.shapes import Distance, Field

Window = tuple[slice, slice, slice]

SLAB_VOXELS = 24
"""Smooth shapes are painted in slabs of so many axial layers [choice: cache]."""


@dataclass
class ChestCanvas:
    """Tissue, the tissue beneath it and the share of the former, for each voxel."""

    grid: Grid
    """Axes are R, A and S."""
    tissues: UInt8[np.ndarray, "i j k"] = field(init=False)
    beneath: UInt8[np.ndarray, "i j k"] = field(init=False)
    shares: UInt8[np.ndarray, "i j k"] = field(init=False)
    """Share of `tissues` in 255ths."""

    def __post_init__(self) -> None:
        self.tissues = np.zeros(self.grid.shape, dtype=np.uint8)
        self.beneath = np.zeros(self.grid.shape, dtype=np.uint8)
        self.shares = np.full(self.grid.shape, 255, dtype=np.uint8)

    @property
    def voxel_mm(self) -> float:
        """Edge of a cube of a voxel's volume."""
        return float(np.prod(self.grid.spacing_mm)) ** (1 / 3)

    def paint(self, window: Window, share: Float[np.ndarray, "i j k"], tissue: str) -> None:
        """Cover a share of each voxel of a window with a tissue."""
        touched = share > 0.01
        tissues, beneath, shares = (a[window] for a in (self.tissues, self.beneath, self.shares))
        # Of an old mixture the greater part stays beneath.
        np.copyto(beneath, tissues, where=touched & (shares >= 128))
        np.copyto(tissues, np.uint8(CHEST_INDEX[tissue]), where=touched)
        np.copyto(shares, (share * 255 + np.float32(0.5)).astype(np.uint8), where=touched)

    def paint_flat(self, flat: np.ndarray, share: np.ndarray, tissue: str) -> None:
        """The same for voxels given by their flat index, each once."""
        tissues, beneath, shares = (a.reshape(-1) for a in (self.tissues, self.beneath, self.shares))
        beneath[flat] = np.where(shares[flat] >= 128, tissues[flat], beneath[flat])
        tissues[flat] = CHEST_INDEX[tissue]
        shares[flat] = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)

    def paint_shares(self, shares: Field, tissue: str) -> None:
        """Cover shares given for the whole canvas."""
        flat = np.flatnonzero(shares.reshape(-1) > 0.01)
        self.paint_flat(flat, shares.reshape(-1)[flat], tissue)

    def paint_field(self, lattice: Lattice, distance: Field, tissue: str) -> None:
        """Cover a solid given by its signed distance on a lattice."""
        near = np.argwhere(distance < lattice.step_mm)
        if not len(near):
            return
        low = lattice.origin_mm + lattice.step_mm * (near.min(0) - 1)
        high = lattice.origin_mm + lattice.step_mm * (near.max(0) + 1)
        for window in self.slabs(low, high):
            values = lattice.onto(distance, self.grid.cropped(window))
            self.paint(window, self.as_share(values), tissue)

    def as_share(self, distance: Distance) -> Float[np.ndarray, "..."]:
        """Share of a voxel that lies inside, from the signed distance of its centre."""
        share = np.float32(0.5) - distance * np.float32(1 / self.voxel_mm)
        np.maximum(share, 0, out=share)
        return np.minimum(share, 1, out=share)

    def slabs(self, low_mm: np.ndarray, high_mm: np.ndarray) -> list[Window]:
        """Windows that cover a box, a few axial layers each."""
        spacing, origin = np.array(self.grid.spacing_mm), self.grid.affine[:3, 3]
        first = np.clip(np.floor((low_mm - origin) / spacing), 0, self.grid.shape).astype(int)
        last = np.clip(np.ceil((high_mm - origin) / spacing) + 1, 0, self.grid.shape).astype(int)
        if (last <= first).any():
            return []
        start, stop = first.tolist(), last.tolist()
        return [
            (slice(start[0], stop[0]), slice(start[1], stop[1]), slice(k, min(k + SLAB_VOXELS, stop[2])))
            for k in range(start[2], stop[2], SLAB_VOXELS)
        ]

    def coordinates(self, window: Window) -> tuple[Field, Field, Field]:
        """R, A and S of a window's voxels; they broadcast to its shape."""
        x, y, z = (
            (self.grid.affine[a, 3] + self.grid.spacing_mm[a] * np.arange(w.start, w.stop)).astype(np.float32)
            for a, w in enumerate(window)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def mean_hu(self, hu: Float[np.ndarray, " t"]) -> Field:
        """Attenuation of each voxel's mixture."""
        table = hu.astype(np.float32)
        share = self.shares * np.float32(1 / 255)
        result: Field = table[self.beneath]
        result += share * (table[self.tissues] - result)
        return result
