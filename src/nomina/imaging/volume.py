"""An array travels with its grid: `Volume` (intensities) and `LabelMap` (named integers)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Integer, Real

from nomina.errors import GridMismatchError, SchemeError, VolumeError
from nomina.imaging.grid import Grid, canonical_axes, reoriented_affine

MOST_LISTED = 50
"""Label maps have fewer unknown values than this; scans have thousands of values [choice]."""

_Gridded = TypeVar("_Gridded", bound="_GriddedArray")  # not Self: beartype cannot check it method by method


@dataclass(frozen=True, eq=False)
class _GriddedArray:
    array: Real[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"]
    """Voxels; axes follow the columns of `grid.affine`."""
    grid: Grid
    """Where the voxels are."""

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise GridMismatchError(f"array of shape {self.array.shape} does not fit grid {self.grid}")

    def canonical(self: _Gridded) -> _Gridded:
        """The same voxels at the same places with axes nearest to R, A, S (a view where possible)."""
        order, flips = canonical_axes(self.grid.affine)
        array = self.array.transpose(order)[tuple(slice(None, None, -1 if flip else None) for flip in flips)]
        affine = reoriented_affine(self.grid.affine, self.grid.shape, order, flips)
        return replace(self, array=array, grid=Grid(array.shape, affine))

    def cropped(self: _Gridded, box: tuple[slice, ...]) -> _Gridded:
        """The voxels of a box at the same places, a view; see `Grid.cropped`."""
        return replace(self, array=self.array[box], grid=self.grid.cropped(box))

    def reoriented_like(self: _Gridded, grid: Grid) -> _Gridded:
        """The same voxels in the axis order and direction of `grid`: undoes `canonical` exactly.

        Raises:
            GridMismatchError: `grid` is not a permutation or reversal of this one's axes.
        """
        canonical = self.canonical()
        order, flips = canonical_axes(grid.affine)
        array = canonical.array[tuple(slice(None, None, -1 if flip else None) for flip in flips)]
        array = array.transpose(np.argsort(order))
        affine = reoriented_affine(grid.affine, grid.shape, order, flips)
        if array.shape != grid.shape or not Grid(canonical.array.shape, affine).matches(canonical.grid):
            raise GridMismatchError(f"{self.grid} is not a re-orientation of {grid}; resample instead")
        return replace(self, array=array, grid=grid)


@dataclass(frozen=True, eq=False)
class Volume(_GriddedArray):
    """Intensities of one scan on its grid.

    Raises:
        VolumeError: The array holds NaN or infinity, complex numbers or text.
    """

    modality: str | None = None
    """DICOM modality ("MR", "CT") where the file says it."""
    sequence: str | None = None
    """MR weighting ("T1", "T2", "STIR", "PD") where the file says it."""
    notes: tuple[str, ...] = ()
    """How the file had to be interpreted, one sentence each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.array.dtype.kind not in "iufb":
            raise VolumeError(f"voxels must be real numbers, got {self.array.dtype}", code="not-grey-values")
        if self.array.dtype.kind == "f" and not np.isfinite(self.array).all():
            bad = int((~np.isfinite(self.array)).sum())
            raise VolumeError(f"{bad} voxels are NaN or infinite; replace them before use", code="not-finite")


@dataclass(frozen=True, eq=False)
class LabelMap(_GriddedArray):
    """One integer per voxel: 0 is background, every other value is named in `names`.

    Raises:
        SchemeError: The array is not of integers, or holds a value without a name.
    """

    array: Integer[np.ndarray, "i j k"]
    """Label values; 0 is background."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Structure name (as in the vocabulary, e.g. "L4 vertebra") of each label value."""
    scheme: str | None = None
    """Name of the label scheme that the values follow, e.g. "spider"."""
    ignored: frozenset[int] = frozenset()
    """Values that are neither background nor a structure to be scored (e.g. partly visible vertebrae)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.array.dtype.kind not in "iu":
            raise SchemeError(f"label values must be integers, got {self.array.dtype}")
        values = {int(v) for v in np.unique(self.array)}
        unnamed = sorted(values - {0} - set(self.names) - set(self.ignored))
        if unnamed:
            scheme = f" in scheme {self.scheme!r}" if self.scheme else ""
            listed = ", ".join(map(str, unnamed[:MOST_LISTED]))
            if len(unnamed) > MOST_LISTED:
                raise SchemeError(
                    f"{len(unnamed)} label values have no name{scheme} ({listed}, …); this looks like a scan "
                    f"and not like a label map"
                )
            raise SchemeError(
                f"label values [{listed}] have no name{scheme}; name the scheme that this file follows"
            )

    def value_of(self, name: str) -> int:
        """Label value of a structure.

        Raises:
            SchemeError: No label has that name.
        """
        for value, known in self.names.items():
            if known == name:
                return value
        raise SchemeError(f"no label is named {name!r}; known: {', '.join(self.names.values())}")

    def mask(self, name: str) -> "np.ndarray":
        """Boolean mask of one structure."""
        return self.array == self.value_of(name)

    def present(self) -> tuple[str, ...]:
        """Names of the structures that have at least one voxel, by label value."""
        values = np.unique(self.array)
        return tuple(self.names[int(v)] for v in values if int(v) in self.names)
