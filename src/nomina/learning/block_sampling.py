"""Which block of a chest to look at next: drawn from an explicit generator, apart from how it is cut out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int8, Integer
from scipy import ndimage

from nomina.config import config
from nomina.errors import ConfigError
from nomina.learning.prepared import PreparedEntry
from nomina.learning.validity import Answer

NUM_POINTS = 20_000
"""Voxels kept per class and case to centre blocks on [choice: more than a training draws]."""


@config
class BlockSamplingConfig:
    """How blocks are drawn; the defaults are the authors' release."""

    block_size: tuple[int, int, int] = (96, 96, 96)
    """Voxels along R, A, S [authors' release]."""
    vessel_share: float = 2 / 3
    """Share of blocks centred on a voxel of a class; the rest are centred on any voxel that is not air
    [authors' release: foreground to background as 2 to 1]."""
    distal_share: float = 0.0
    """Share of the vessel blocks that are centred on a thin vessel: by number of voxels, trunk and hilum
    outweigh all twigs [choice]."""
    tile_overlap: float = 0.5
    """Share of its side by which tiles overlap in validation and at inference [authors' release]."""

    def __post_init__(self) -> None:
        if min(self.block_size) < 8:
            raise ConfigError(f"block_size must be at least 8 along every axis, got {self.block_size}")
        if not 0 <= self.vessel_share <= 1 or not 0 <= self.distal_share <= 1:
            raise ConfigError(
                f"vessel_share and distal_share must lie in 0 to 1, got {self.vessel_share} and "
                f"{self.distal_share}"
            )
        if not 0 <= self.tile_overlap < 1:
            raise ConfigError(f"tile_overlap must be 0 or more and less than 1, got {self.tile_overlap}")


@dataclass(frozen=True)
class BlockPlan:
    """Where one training block comes from."""

    case: int
    """Index into the training cases."""
    start: tuple[int, int, int]
    """First voxel of the block; a scan smaller than the block starts below 0."""
    seed: int
    """Seed of the augmentation."""


@dataclass(frozen=True, eq=False)
class ChestIndex:
    """What the sampler must know about one chest: where its classes are, and what is known of it."""

    entry: PreparedEntry
    table: Int8[np.ndarray, "256 3 n"]
    """What is known of each class by label value and half of the chest (`validity.answer_table`)."""
    points: tuple[Integer[np.ndarray, "_ 3"], ...]
    """For each class a sample of its voxels; empty when it is absent."""
    distal: tuple[Integer[np.ndarray, "_ 3"], ...]
    """The same of its thin parts."""
    tissue: Integer[np.ndarray, "p 3"]
    """A sample of the voxels that are not air."""

    @cached_property
    def present(self) -> Integer[np.ndarray, " c"]:
        """Indices of the classes that the chest shows."""
        return np.flatnonzero([len(points) > 0 for points in self.points])


def index_chest(entry: PreparedEntry, table: Int8[np.ndarray, "256 3 n"]) -> ChestIndex:
    """Scan a prepared chest once."""
    labels, halves = np.asarray(entry.labels()), np.asarray(entry.halves())
    rng = np.random.default_rng(0)
    labelled = np.flatnonzero(labels)
    known = table[labels.ravel()[labelled], halves.ravel()[labelled]]
    points, distal = [], []
    for index in range(table.shape[2]):
        found = labelled[known[:, index] == Answer.there]
        points.append(_sample(found, labels.shape, rng))
        distal.append(_sample(_thin(found, labels.shape), labels.shape, rng))
    image = np.asarray(entry.image())[::2, ::2, ::2]
    tissue = 2 * _sample(np.flatnonzero(image > 0), image.shape, rng)
    return ChestIndex(entry, table, tuple(points), tuple(distal), tissue)


def draw_block(
    cases: Sequence[ChestIndex],
    case_weights: Float[np.ndarray, " cases"],
    cfg: BlockSamplingConfig,
    rng: np.random.Generator,
) -> BlockPlan:
    """Draw one block: a case by weight, then a centre; it is moved into the scan where it reaches beyond."""
    case = int(rng.choice(len(cases), p=case_weights))
    index = cases[case]
    pool = index.tissue
    is_vessel, is_distal = rng.random() < cfg.vessel_share, rng.random() < cfg.distal_share
    if is_vessel and len(index.present):
        wanted = int(rng.choice(index.present))
        pool = index.distal[wanted] if is_distal and len(index.distal[wanted]) else index.points[wanted]
    shape = index.entry.shape
    centre = pool[rng.integers(len(pool))] if len(pool) else [rng.integers(size) for size in shape]
    i, j, k = (
        _start(int(at), side, size) for at, side, size in zip(centre, cfg.block_size, shape, strict=True)
    )
    return BlockPlan(case, (i, j, k), seed=int(rng.integers(2**31)))


def _start(centre: int, side: int, size: int) -> int:
    if size <= side:
        return -((side - size) // 2)
    return min(max(0, centre - side // 2), size - side)


def _sample(
    flat: Integer[np.ndarray, " n"], shape: tuple[int, ...], rng: np.random.Generator
) -> Integer[np.ndarray, "p 3"]:
    if len(flat) > NUM_POINTS:
        flat = rng.choice(flat, NUM_POINTS, replace=False)
    return np.stack(np.unravel_index(flat, shape), axis=1).astype(np.int32)


def _thin(flat: Integer[np.ndarray, " n"], shape: tuple[int, ...]) -> Integer[np.ndarray, " m"]:
    """The voxels of a class whose 5×5×5 neighbourhood is mostly something else: no wide vessel."""
    if not len(flat):
        return flat
    places = np.stack(np.unravel_index(flat, shape), axis=1)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    mask = np.zeros(high - low, dtype=np.float32)
    local = tuple((places - low).T)
    mask[local] = 1
    share = ndimage.uniform_filter(mask, 5, mode="constant")
    return flat[share[local] < 0.3]
